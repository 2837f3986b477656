"""Random operations on AxVisor's maps, from Python and by programs, against a model of kbpf-basic.

`AXEBPF_OPERATIONS` says how many there are to be. Under AddressSanitizer (`make asan`) it shows that none of them
leaves the memory that is its own.
"""

from __future__ import annotations

import errno
import os
import random
import struct
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from axebpf import Bench, MapError, Program, ProgramFault, assemble
from axebpf.maps import Map

OPERATIONS = int(os.environ.get("AXEBPF_OPERATIONS", "20000"))
ROUND = 500
"""Operations on one bench."""

CREATION_FLAGS = 0x7FFF
"""The flags that kbpf-basic knows; a ring buffer takes BPF_F_NUMA_NODE alone."""
NUMA_NODE = 4

NOEXIST, EXIST, LOCK = 1, 2, 4
FLAGS = [0] * 6 + [NOEXIST] * 3 + [EXIST] * 3 + [3, LOCK, 5, 6, 7, 8, 1 << 32, 1 << 63, 2**64 - 1]
"""Of an update."""

FAILED = 2**64 - 1
"""What AxVisor's helpers return then."""


# The model


class RefusedError(Exception):
    """The model refuses an operation."""

    def __init__(self, errno: int) -> None:
        self.errno = errno


def refuse(errno: int) -> NoReturn:
    raise RefusedError(errno)


class Model:
    """What kbpf-basic answers; an operation that a kind does not have is refused with EPERM."""

    def __init__(self, key_size: int, value_size: int, entries: int) -> None:
        self.key_size, self.value_size, self.entries = key_size, value_size, entries
        self.data: dict[bytes, bytes] = {}

    def lookup(self, key: bytes) -> bytes | None:
        refuse(errno.EPERM)

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        refuse(errno.EPERM)

    def delete(self, key: bytes) -> None:
        refuse(errno.EPERM)

    def next_key(self, key: bytes | None) -> bytes | None:
        refuse(errno.EPERM)

    def lookup_and_delete(self, key: bytes) -> bytes | None:
        refuse(errno.EPERM)

    # Without keys, these three are an update, a lookup and a deletion with the key of no bytes.
    def push(self, value: bytes, flags: int) -> None:
        refuse(errno.EINVAL)

    def pop(self) -> bytes | None:
        refuse(errno.EINVAL)

    def peek(self) -> bytes | None:
        refuse(errno.EINVAL)

    def freeze(self) -> None:
        refuse(errno.EPERM)

    def length(self) -> int:
        return len(self.data)

    def items(self) -> list[tuple[bytes, bytes]]:
        """In the order of a walk."""
        return list(self.data.items())


class Array(Model):
    def __init__(self, key_size: int, value_size: int, entries: int) -> None:
        super().__init__(key_size, value_size, entries)
        self.data = {index.to_bytes(4, "little"): bytes(value_size) for index in range(entries)}

    def lookup(self, key: bytes) -> bytes | None:
        return self.data[key] if key in self.data else refuse(errno.EINVAL)

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        if flags >= 8 or flags & LOCK:
            refuse(errno.EINVAL)
        if flags & NOEXIST:
            refuse(errno.EEXIST)
        if key not in self.data:
            refuse(errno.EINVAL)
        self.data[key] = value

    def next_key(self, key: bytes | None) -> bytes | None:
        after = 0 if key is None else int.from_bytes(key, "little") + 1
        return after.to_bytes(4, "little") if after < self.entries else None

    def pop(self) -> bytes | None:
        refuse(errno.EPERM)

    def freeze(self) -> None:
        pass


class Hash(Model):
    def lookup(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        if flags >= 8 or flags & LOCK or flags & 3 == 3:
            refuse(errno.EINVAL)
        if flags & NOEXIST and key in self.data:
            refuse(errno.EEXIST)
        if flags & EXIST and key not in self.data:
            refuse(errno.ENOENT)
        self.store(key, value)

    def store(self, key: bytes, value: bytes) -> None:
        if key not in self.data and len(self.data) >= self.entries:
            refuse(errno.ENOMEM)
        self.data[key] = value

    def delete(self, key: bytes) -> None:
        self.data.pop(key, None)

    def lookup_and_delete(self, key: bytes) -> bytes | None:
        return self.data.pop(key, None)

    def items(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.data.items())

    def next_key(self, key: bytes | None) -> bytes | None:
        keys = [key for key, _ in self.items()]
        after = keys.index(key) + 1 if key in keys else 0
        return keys[after] if after < len(keys) else None


class LruHash(Hash):
    """Its dictionary has the least recently used key first."""

    def lookup(self, key: bytes) -> bytes | None:
        if key in self.data:
            self.data[key] = self.data.pop(key)
        return self.data.get(key)

    def store(self, key: bytes, value: bytes) -> None:
        self.data.pop(key, None)
        if len(self.data) >= self.entries:
            del self.data[next(iter(self.data))]
        self.data[key] = value

    def items(self) -> list[tuple[bytes, bytes]]:
        return list(self.data.items())[::-1]


class Queue(Model):
    def __init__(self, key_size: int, value_size: int, entries: int) -> None:
        super().__init__(key_size, value_size, entries)
        self.values: list[bytes] = []

    def lookup(self, key: bytes) -> bytes | None:
        return self.values[0] if self.values else None

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        if flags:
            refuse(errno.EINVAL)
        self.values = [*self.values, value][-self.entries :]

    def lookup_and_delete(self, key: bytes) -> bytes | None:
        return self.values.pop(0) if self.values else None

    def push(self, value: bytes, flags: int) -> None:
        self.update(b"", value, flags)

    def pop(self) -> bytes | None:
        return self.lookup_and_delete(b"")

    def peek(self) -> bytes | None:
        return self.lookup(b"")

    def length(self) -> int:
        return len(self.values)

    def items(self) -> list[tuple[bytes, bytes]]:
        return [(b"", value) for value in self.values]


class RingBuf(Model):
    """A program on AxVisor has no helper that puts a record into it."""

    def push(self, value: bytes, flags: int) -> None:
        refuse(errno.EPERM)

    pop = peek = Array.pop

    def items(self) -> list[tuple[bytes, bytes]]:
        refuse(errno.EPERM)


MODELS: dict[str, type[Model]] = {
    "array": Array,
    "hash": Hash,
    "lru_hash": LruHash,
    "queue": Queue,
    "ringbuf": RingBuf,
}
"""By kind: all that AxVisor has."""


def answer(call: Callable[[], Any]) -> Any:
    """What an operation gives, or its errno in words. It raises nothing else."""
    try:
        return call()
    except (MapError, RefusedError) as error:
        return errno.errorcode[error.errno or 0]


# A map beside its model


def size(dice: random.Random) -> int:
    """1 to 4096, often small, often at an edge."""
    return dice.choice([dice.randint(1, 16), dice.randint(1, 4096), 1, 4, 8, 9, 4095, 4096])


LOOKUP = """
r6 = r1
r1 = map[3]
r2 = r6
call bpf_map_lookup_elem
if r0 == 0 goto out
{then}
r3 = r0
r1 = r6
r1 += {key}
r2 = {value}
call bpf_probe_read
r0 += 1
out:
exit
"""
UPDATE = "r2 = r1\nr3 = r1\nr3 += {key}\nr4 = *(u64 *)(r1 +{flags})\nr1 = map[3]\ncall bpf_map_update_elem\nexit"
DELETE = "r2 = r1\nr1 = map[3]\ncall bpf_map_delete_elem\nexit"
"""Programs on the memory: a key, a value, 8 bytes of flags."""


class Pair:
    """A map, the model of it, and the programs that work on it."""

    def __init__(self, bench: Bench, kind: str, dice: random.Random) -> None:
        self.bench, self.dice = bench, dice
        key_size = {"array": 4, "queue": 0, "ringbuf": 0}.get(kind, size(dice))
        value_size = 0 if kind == "ringbuf" else size(dice)
        entries = dice.choice([1 << 12, 1 << 14]) if kind == "ringbuf" else dice.choice([1, 2, 3, 5, 64])
        flags = dice.choice([0, NUMA_NODE if kind == "ringbuf" else dice.randint(0, CREATION_FLAGS)])
        self.model = MODELS[kind](key_size, value_size, entries)
        self.map: Map = bench.create_map(kind, key_size, value_size, entries, flags)
        if kind == "array":
            self.keys = [index.to_bytes(4, "little") for index in [*range(entries + 2), 2**31, 2**32 - 1]]
        else:
            self.keys = [dice.randbytes(key_size) for _ in range(min(entries, 8) + 2)]
        self.layout = {"key": key_size, "value": value_size, "flags": key_size + value_size}
        self.lookup, self.update, self.delete = (
            self.program(text.format(then="", **self.layout)) for text in (LOOKUP, UPDATE, DELETE)
        )

    def program(self, text: str) -> Program:
        return self.bench.load_bytes(assemble(text), type="mem", maps={3: self.map})

    def from_python(self) -> None:
        """One operation of bpf(2), with lengths that are wrong now and then."""
        dice, map, model = self.dice, self.map, self.model
        key, value, flags = dice.choice(self.keys), dice.randbytes(self.map.value_size), dice.choice(FLAGS)
        operations: dict[str, tuple[Any, ...]] = {
            "lookup": (key,),
            "update": (key, value, flags),
            "delete": (key,),
            "next_key": (dice.choice([key, None]),),
            "lookup_and_delete": (key,),
            "push": (value, flags),
            "pop": (),
            "peek": (),
            "freeze": (),
        }
        name = dice.choices(list(operations), [6, 12, 3, 4, 3, 3, 3, 2, 1])[0]
        arguments = list(operations[name])
        operation, expected = getattr(self.map._native, name), answer(lambda: getattr(model, name)(*arguments))
        given = [place for place, argument in enumerate(arguments) if isinstance(argument, bytes)]
        assert answer(lambda: operation(*arguments)) == expected, (map, name, flags)
        if given and dice.random() < 0.05:
            wrong = dice.choice(given)
            arguments[wrong] = dice.choice([arguments[wrong] + b"\0", arguments[wrong][:-1] or b"\0\0"])
            assert answer(lambda: operation(*arguments)) == "EINVAL", (map, name)

    def by_program(self) -> None:
        """The same by a helper of AxVisor's."""
        dice, model = self.dice, self.model
        key, value, flags = dice.choice(self.keys), dice.randbytes(self.map.value_size), dice.choice(FLAGS)
        memory = key + value + struct.pack("<Q", flags)
        match dice.choice(["lookup", "update", "update", "delete"]):
            case "lookup":
                ran, held = self.lookup.run(memory), answer(lambda: model.lookup(key))
                found = held if isinstance(held, bytes) else None
                assert ran.r0 == (found is not None)
                assert ran.ctx[len(key) : len(key) + len(value)] == (value if found is None else found)
            case "update":
                done = answer(lambda: model.update(key, value, flags)) is None
                assert self.update.run(memory).r0 == (0 if done else FAILED)
            case "delete":
                done = answer(lambda: model.delete(key)) is None
                assert self.delete.run(memory).r0 == (0 if done else FAILED)

    def wild(self) -> None:
        """A program that stores and loads anywhere around a looked-up value: it runs or is stopped, no map changes."""
        dice = self.dice
        near = [0, self.map.value_size, -8, 4096]
        then = ""
        for _ in range(dice.randint(1, 3)):
            bits, at = dice.choice([8, 16, 32, 64]), dice.choice(near) + dice.randint(-9, 9)
            then += dice.choice([f"*(u{bits} *)(r0 {at:+}) = 85\n", f"r8 = *(u{bits} *)(r0 {at:+})\n"])
        program = self.program(LOOKUP.format(then=then, **self.layout))
        key = dice.choice(self.keys)
        answer(lambda: self.model.lookup(key))
        what = ""
        try:
            assert program.run(key + bytes(self.map.value_size + 8)).r0 in (0, 1)
        except ProgramFault as fault:
            what = fault.what
        assert not what or what.endswith("no live memory there")

    def check(self) -> None:
        """That the map holds what the model holds."""
        assert len(self.map) == self.model.length(), self.map
        items = answer(self.model.items)
        if items == "EPERM":
            assert answer(lambda: list(self.map._entries())) == items
            assert self.model.length() or list(self.map) == []
        else:
            assert list(self.map._entries()) == items, self.map


def refused_map(bench: Bench, dice: random.Random) -> None:
    """A map that there cannot be: the bench is as it was."""
    kind = dice.choice(list(MODELS))
    keys = {"array": 4, "queue": 0, "ringbuf": 0}.get(kind, 4)
    bad = [(keys, size(dice), 0, 0), (keys + 1 if keys == 4 and kind == "array" else keys, 0, 4, 0)]
    bad += [(keys, 8, 4, 1 << dice.randint(15, 31)), (keys, 2**32 - 1, 2**32 - 1, 0)]
    if kind in ("lru_hash", "queue"):
        bad.append((keys, size(dice), 2**32 - 1, 0))
    before = len(bench.maps)
    sizes = dice.choice(
        bad if kind != "ringbuf" else [(0, 0, 4095, 0), (0, 0, 3 << 12, 0), (0, 1, 4096, 0), (0, 0, 0, 0)]
    )
    assert answer(lambda: bench.create_map(kind, *sizes)) in ("EINVAL", "ENOMEM"), (kind, sizes)
    assert len(bench.maps) == before


@pytest.mark.parametrize("seed", range(4))
def test_maps_answer_as_the_model_whatever_is_asked_of_them(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(max(1, OPERATIONS // 4 // ROUND)):
        with Bench(target="axvisor", cpus=1) as bench:
            pairs = [Pair(bench, kind, dice) for kind in MODELS]
            for _ in range(ROUND):
                pair = dice.choice(pairs)
                dice.choices([pair.from_python, pair.by_program, pair.wild], [10, 10, 1])[0]()
                if dice.random() < 0.02:
                    pair.check()
                    refused_map(bench, dice)
            for pair in pairs:
                pair.check()
            assert bench.load_bytes(assemble("r0 = 5\nexit")).run(bytes(64)).r0 == 5


RING = 4096

OUTPUT = (
    "r6 = r1\nr1 = map[3]\nr2 = r6\nr2 += 16\nr3 = *(u64 *)(r6 +0)\nr4 = *(u64 *)(r6 +8)\ncall bpf_ringbuf_output\nexit"
)
RESERVE = """
r6 = r1
r1 = map[3]
r2 = *(u64 *)(r6 +0)
r3 = 0
call bpf_ringbuf_reserve
if r0 == 0 goto full
r7 = r0
r1 = r7
r2 = *(u64 *)(r6 +0)
r3 = r6
r3 += 16
call bpf_probe_read
r1 = r7
r2 = *(u64 *)(r6 +8)
call bpf_ringbuf_{give_up}
r0 = 1
exit
full:
exit
"""
"""Programs on the memory: 8 bytes of a size, 8 of flags, a record."""


def test_records_come_out_of_kbpf_basics_ring_as_they_went_in() -> None:
    dice = random.Random(99)
    done = 0
    while done < OPERATIONS // 4:
        with Bench(engine="rbpf", maps="kbpf", cpus=1) as bench:
            ring = bench.create_map("ringbuf", 0, 0, RING)
            output, submit, discard = (
                bench.load_bytes(assemble(text), type="mem", maps={3: ring})
                for text in (OUTPUT, RESERVE.format(give_up="submit"), RESERVE.format(give_up="discard"))
            )
            expected: list[bytes] = []
            used = [0]  # what each record takes, the discarded ones too; consuming gives it back
            for _ in range(ROUND):
                done += 1
                record = dice.randbytes(size(dice))
                flags = dice.choice([0, 0, 1, 2])
                memory = struct.pack("<QQ", len(record), flags) + record
                program = dice.choice([output, output, submit, discard])
                if dice.random() < 0.3:
                    assert list(ring) == expected
                    expected, used = [], [0]
                fits = sum(used) + (len(record) + 8 + 7) // 8 * 8 < RING
                r0 = program.run(memory).r0
                if not fits:
                    assert r0 == (2**64 - errno.EAGAIN if program is output else 0)
                    continue
                assert r0 == (0 if program is output else 1)
                used.append((len(record) + 8 + 7) // 8 * 8)
                if program is not discard:
                    expected.append(record)
                assert len(ring) == len(expected)
            assert list(ring) == expected
