"""Random sequences of the raw operations on every kind of map and set of flags, against plain Python (`plain_maps`).

`AXEBPF_SEQUENCES` asks for more of them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import plain_maps as plain
import pytest
from axebpf import Bench, MapError, assemble
from axebpf.map_kinds import MAP_KINDS
from axebpf.maps import Map
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

SEQUENCES = int(os.environ.get("AXEBPF_SEQUENCES", "4"))
CPUS = 2
ENTRIES = 4
FLAGS = {
    "NO_PREALLOC": plain.NO_PREALLOC,
    "NO_COMMON_LRU": plain.NO_COMMON_LRU,
    "NUMA_NODE": plain.NUMA_NODE,
    "RDONLY": plain.RDONLY,
    "WRONLY": plain.WRONLY,
    "ZERO_SEED": plain.ZERO_SEED,
    "RDONLY_PROG": plain.RDONLY_PROG,
    "WRONLY_PROG": plain.WRONLY_PROG,
    "MMAPABLE": plain.MMAPABLE,
    "INNER_MAP": plain.INNER_MAP,
}

update_flags = st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 8, 1 << 40])
read_flags = st.sampled_from([0, 0, 0, 0, 1, 4])
numbers = st.integers(0, ENTRIES + 1)


def answer(call: Callable[[], Any]) -> tuple[str, Any]:
    """What a call gives, or the errno."""
    try:
        return "gives", call()
    except MapError as error:
        return "errno", error.errno
    except plain.RefusedError as error:
        return "errno", error.number


class Both(RuleBasedStateMachine):
    """A map and its model; subclasses say which."""

    ours: Map
    model: Any

    def same(self, ours: Callable[[], Any], model: Callable[[], Any]) -> None:
        """Both give the same, or the same errno."""
        assert answer(ours) == answer(model)

    @precondition(lambda self: len(self.history) > 12)
    @rule()
    def freeze(self) -> None:
        self.same(self.ours.freeze, self.model.freeze)

    def __init__(self) -> None:
        super().__init__()
        self.history: list[None] = []

    def teardown(self) -> None:
        self.ours_bench.close()

    ours_bench: Bench


class KeyedBoth(Both):
    """A kind with keys."""

    kind = ""
    flags = 0

    def __init__(self) -> None:
        super().__init__()
        self.ours_bench = bench = Bench(cpus=CPUS)
        row = MAP_KINDS[self.kind]
        self.index, self.trie, self.of_maps = row.keys == "index", row.keys == "prefix", "_of_maps" in self.kind
        key_size = 4 if self.index or self.of_maps else 6 if self.trie else 5
        value_size = 4 if self.of_maps else 5
        self.raw_size = 8 * CPUS if row.per_cpu else value_size
        fitting = [bench.create_map("array", 4, 8, 1) for _ in range(2)] if self.of_maps else []
        other = [bench.create_map("array", 4, 16, 1)] if self.of_maps else []
        inner = fitting[0] if self.of_maps else None
        self.things = [made.id for made in fitting + other] + [10_000]
        self.ours = bench.create_map(self.kind, key_size, value_size, ENTRIES, self.flags, inner)
        if self.of_maps:
            ids = {made.id for made in fitting}, {made.id for made in other}
            self.model = plain.PlainMapOfMaps(ENTRIES, self.flags, self.index, *ids)
        elif self.index:
            self.model = plain.PlainArray(ENTRIES, self.flags, self.raw_size)
        elif self.trie:
            self.model = plain.PlainTrie(ENTRIES, self.flags)
        else:
            self.model = (plain.PlainLru if "lru" in self.kind else plain.PlainHash)(ENTRIES, self.flags)
        self.per_cpu = row.per_cpu

    def key(self, number: int) -> bytes:
        """One of few keys; of prefixes, some within others and some that cannot be."""
        if self.trie:
            length, bits = [(0, 0), (3, 0xE000), (8, 0xFF00), (16, 0xFFFF), (9, 0xFF00), (17, 0)][number]
            return length.to_bytes(4, "little") + bits.to_bytes(2, "big")
        return number.to_bytes(self.ours.key_size, "little")

    def value(self, number: int) -> bytes:
        if self.of_maps:
            return self.things[number % len(self.things)].to_bytes(4, "little")
        one = bytes([number]) * 5
        return b"".join(one.ljust(8, b"\0") for _ in range(CPUS)) if self.per_cpu else one

    @rule(number=numbers, value=numbers, flags=update_flags)
    def update(self, number: int, value: int, flags: int) -> None:
        key, data = self.key(number), self.value(value)
        self.history.append(None)
        self.same(lambda: Map.update(self.ours, key, data, flags), lambda: self.model.update(key, data, flags))

    @rule(number=numbers, flags=read_flags)
    def lookup(self, number: int, flags: int) -> None:
        key = self.key(number)
        self.same(lambda: self.ours.lookup(key, flags), lambda: self.model.lookup(key, flags))

    @rule(number=numbers)
    def delete(self, number: int) -> None:
        key = self.key(number)
        self.same(lambda: self.ours.delete(key), lambda: self.model.delete(key))

    @rule(number=numbers, flags=read_flags)
    def lookup_and_delete(self, number: int, flags: int) -> None:
        key = self.key(number)
        self.same(lambda: self.ours.lookup_and_delete(key, flags), lambda: self.model.lookup_and_delete(key, flags))

    @rule()
    def walk(self) -> None:
        def keys() -> list[bytes]:
            found = []
            key = self.ours.next_key()
            while key is not None:
                found.append(key)
                key = self.ours.next_key(key)
            assert len(set(found)) == len(found)
            return sorted(found)

        self.same(keys, lambda: sorted(self.model.keys()))

    @rule(flags=read_flags, remove=st.booleans(), step=st.integers(1, 3))
    def read_batch(self, flags: int, remove: bool, step: int) -> None:
        read = self.ours.lookup_and_delete_batch if remove else self.ours.lookup_batch

        def entries() -> dict[bytes, bytes]:
            batch = read(step, None, flags)
            found = dict(zip(batch.keys, batch.values, strict=True))
            while batch.next is not None:
                batch = read(step, batch.next, flags)
                found |= zip(batch.keys, batch.values, strict=True)
            return found

        self.same(entries, lambda: self.model.read_all(flags, remove))

    @rule(pairs=st.lists(st.tuples(numbers, numbers), max_size=4), flags=read_flags)
    def update_batch(self, pairs: list[tuple[int, int]], flags: int) -> None:
        entries = [(self.key(key), self.value(value)) for key, value in pairs]
        self.same(lambda: self.ours.update_batch(entries, flags), lambda: self.model.update_batch(entries, flags))

    @rule(keys=st.lists(numbers, max_size=4), flags=read_flags)
    def delete_batch(self, keys: list[int], flags: int) -> None:
        raw = [self.key(key) for key in keys]
        self.same(lambda: self.ours.delete_batch(raw, flags), lambda: self.model.delete_batch(raw, flags))


class OrderedBoth(Both):
    """A queue, a stack or a bloom filter."""

    kind = ""
    flags = 0

    def __init__(self) -> None:
        super().__init__()
        self.ours_bench = Bench()
        self.ours = self.ours_bench.create_map(self.kind, 0, 5, ENTRIES, self.flags)
        if self.kind == "bloom_filter":
            self.model = plain.PlainFilter(ENTRIES, self.flags)
        else:
            self.model = plain.PlainQueue(ENTRIES, self.flags, self.kind == "stack")

    @rule(value=numbers, flags=update_flags)
    def push(self, value: int, flags: int) -> None:
        data = bytes([value]) * 5
        self.history.append(None)
        self.same(lambda: self.ours._native.push(data, flags), lambda: self.model.push(data, flags))

    @precondition(lambda self: self.kind != "bloom_filter")
    @rule()
    def pop(self) -> None:
        self.same(lambda: self.ours._native.pop(), lambda: self.model.pop())

    @precondition(lambda self: self.kind != "bloom_filter")
    @rule()
    def peek(self) -> None:
        self.same(lambda: self.ours._native.peek(), lambda: self.model.peek())

    @precondition(lambda self: self.kind == "bloom_filter")
    @rule(value=numbers, flags=read_flags)
    def contains(self, value: int, flags: int) -> None:
        data = bytes([value]) * 5
        found = answer(lambda: self.ours.contains(data, flags))  # type: ignore[attr-defined]
        begun = answer(lambda: self.model.begin_lookup(flags))
        if begun[0] == "errno":
            assert found == begun
        elif data in self.model.added:
            assert found == ("gives", True)


class RingBoth(RuleBasedStateMachine):
    """A ring buffer that a program writes to: the first word of its context is the length, the second the flags."""

    flags = 0

    def __init__(self) -> None:
        super().__init__()
        self.ours_bench = Bench()
        self.ours = self.ours_bench.create_map("ringbuf", 0, 0, 4096, self.flags)
        text = """
            r3 = *(u64 *)(r1 +0)
            r4 = *(u64 *)(r1 +8)
            r2 = r1
            r1 = map[1]
            call bpf_ringbuf_output
            exit"""
        self.program = self.ours_bench.load_bytes(assemble(text), type="mem", maps={1: self.ours})
        self.model = plain.PlainRing(4096)

    @rule(length=st.sampled_from([0, 1, 8, 9, 100, 1000, 2000]), flags=st.sampled_from([0, 0, 1, 2, 3, 4]))
    def output(self, length: int, flags: int) -> None:
        context = (length.to_bytes(8, "little") + flags.to_bytes(8, "little")).ljust(2048, b"\5")
        result = self.program.run(context).r0
        result -= 1 << 64 if result >> 63 else 0
        expected = answer(lambda: self.model.output(context[:length], flags))
        assert -result == (expected[1] if expected[0] == "errno" else 0)

    @rule()
    def consume(self) -> None:
        assert self.ours.consume() == self.model.consume()

    def teardown(self) -> None:
        self.ours_bench.close()


def flag_sets(kind: str) -> list[int]:
    """No flag, and each that the kind takes; where more sequences are asked for, pairs of them too."""
    needed = plain.NO_PREALLOC if kind == "lpm_trie" else 0
    names = [name.removeprefix("BPF_F_") for name in MAP_KINDS[kind].flags]
    taken = [FLAGS[name] for name in names if name in FLAGS]
    sets = {needed, *(needed | flag for flag in taken)}
    if SEQUENCES > 4:
        sets |= {needed | a | b for a, b in itertools.combinations(taken, 2)}
    exclusive = [
        plain.RDONLY | plain.WRONLY,
        plain.RDONLY_PROG | plain.WRONLY_PROG,
        plain.NO_COMMON_LRU | plain.NUMA_NODE,
    ]
    return sorted(flags for flags in sets if not any(flags & pair == pair for pair in exclusive))


def check(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


KEYED = [name for name, row in MAP_KINDS.items() if "bpf_map_lookup_elem" in row.helpers]


@pytest.mark.parametrize("kind", KEYED)
def test_keyed(kind: str) -> None:
    for flags in flag_sets(kind):
        check(type(f"{kind}_{flags}", (KeyedBoth,), {"kind": kind, "flags": flags}))


@pytest.mark.parametrize("kind", ["queue", "stack", "bloom_filter"])
def test_in_order(kind: str) -> None:
    for flags in flag_sets(kind):
        check(type(f"{kind}_{flags}", (OrderedBoth,), {"kind": kind, "flags": flags}))


def test_ring_buffers() -> None:
    for flags in flag_sets("ringbuf"):
        check(type(f"ringbuf_{flags}", (RingBoth,), {"flags": flags}))
