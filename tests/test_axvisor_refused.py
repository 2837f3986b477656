"""What target axvisor refuses: an error that names it, nothing of the bench lost, and the bench goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axebpf import AxebpfError, Bench, LoadError, MapError, assemble
from axebpf.examples import example

EXIT = {"vm_id": 1, "vcpu_id": 0, "exit_reason": 2, "duration_ns": 3}


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench at work, which must be at work afterwards as well."""
    with Bench(target="axvisor") as bench:
        bench.load(example("exits_axvisor.bpf.o")).attach()
        kept = bench.create_map("hash", 4, 8, 4, name="KEPT")
        kept[1] = 2
        bench.tracepoints["vmm:vcpu_run_exit"].fire(**EXIT)
        before = (list(bench.maps), list(bench.programs), kept.to_dict())
        yield bench
        assert (list(bench.maps), list(bench.programs), kept.to_dict()) == before
        bench.tracepoints["vmm:vcpu_run_exit"].fire(**EXIT)
        assert bench.maps["EXITS"] == {(1, 0, 2): (2, 6, 3)}
        kept[3] = 4
        assert kept == {1: 2, 3: 4}
        assert bench.load_bytes(assemble("r0 = 5\nexit")).run(bytes(64)).r0 == 5


PROGRAMS = {
    "atomic operation": ("r2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit", 1, "XADD instructions are not supported"),
    "byte swap": ("r0 = bswap16 r0\nexit", 0, "unknown eBPF opcode 0xd7"),
    "long jump": ("r0 = 1\ngotol +1\nr0 = 2\nexit", 1, "unknown eBPF opcode 0x6"),
    "sign-extending load": ("r0 = 0\nr0 = *(s8 *)(r1 +0)\nexit", 1, "unknown eBPF opcode 0x91"),
    "may_goto": ("r0 = 1\nmay_goto +0\nexit", 1, "unknown eBPF opcode 0xe5"),
    "call by register": ("r3 = 8\ncallx r3\nexit", 1, "TAIL_CALL is not supported"),
    "address of a function": ("r0 = 6\nr3 = subprog[f]\nexit\nf:\nr0 = 1\nexit", 1, "the address of a function"),
    "endless loop": ("r0 = 1\na:\nr0 += 1\ngoto a", 2, "nothing stops rbpf"),
    "loop with a way out that is never taken": (
        "r0 = 1\na:\nif r0 != 1 goto +1\ngoto a\nexit",
        2,
        "nothing stops rbpf",
    ),
    "random numbers": ("r0 = 0\ncall bpf_get_prandom_u32\nexit", 1, "helper 7 (bpf_get_prandom_u32): AxVisor does not"),
    "tail call": ("call bpf_tail_call#12\nexit", 0, "helper 12 (bpf_tail_call): AxVisor does not have it"),
    "a helper of nobody": ("call nobody#9999\nexit", 0, "helper 9999: AxVisor does not have it; it has 1, 2, 3, 4, 5"),
}
"""What they use; the program, the instruction that is named, and what is said of it."""


@pytest.mark.parametrize("uses", PROGRAMS)
def test_programs(bench: Bench, uses: str) -> None:
    text, at, reason = PROGRAMS[uses]
    with pytest.raises(LoadError) as caught:
        bench.load_bytes(assemble(text))
    told = str(caught.value)
    assert f"instruction {at}: " in told
    assert "AxVisor" in told
    assert reason in told
    assert Bench().load_bytes(assemble("r0 = 1\nexit")).run().r0 == 1


MAPS: dict[str, tuple[tuple[str, int, int, int, int], int, str]] = {
    "a kind that AxVisor's loader does not take": (("percpu_array", 4, 8, 1, 0), errno.EPERM, "no percpu_array maps"),
    "a kind that kbpf-basic lacks": (("lpm_trie", 8, 8, 4, 1), errno.EPERM, "AxVisor has no lpm_trie maps"),
    "a hash without entries": (("hash", 4, 8, 0, 0), errno.EINVAL, "0 entries"),
    "an array without entries": (("array", 4, 8, 0, 0), errno.EINVAL, "0 entries"),
    "an LRU hash without entries": (("lru_hash", 4, 8, 0, 0), errno.EINVAL, "0 entries"),
    "a queue without entries": (("queue", 0, 8, 0, 0), errno.EINVAL, "0 entries"),
    "a ring buffer without bytes": (("ringbuf", 0, 0, 0, 0), errno.EINVAL, "0 entries"),
    "an array of 2^32 - 1": (("array", 4, 8, 2**32 - 1, 0), errno.ENOMEM, "is at most 4294967295 bytes"),
    "an LRU hash of 2^32 - 1": (("lru_hash", 4, 8, 2**32 - 1, 0), errno.ENOMEM, "the size of lru_hash maps"),
    "a queue of 2^32 - 1": (("queue", 0, 8, 2**32 - 1, 0), errno.ENOMEM, "the size of queue maps"),
    "a ring buffer of 2^32 - 1": (("ringbuf", 0, 0, 2**32 - 1, 0), errno.EINVAL, "refuses ringbuf maps"),
    "a size of 2^32, which is 0 in 32 bits": (("array", 4, 1 << 16, 1 << 16, 0), errno.ENOMEM, "found 4294967296"),
    "a size of 2^32 + 8, which is 8": (("array", 4, 8, (1 << 29) + 1, 0), errno.ENOMEM, "found 4294967304"),
    "a value of 2^32 - 1 bytes": (("hash", 4, 2**32 - 1, 1, 0), errno.ENOMEM, "the value of hash maps"),
    "a key of 2^32 - 1 bytes": (("hash", 2**32 - 1, 8, 1, 0), errno.ENOMEM, "the key of hash maps"),
    "unknown flags": (("hash", 4, 8, 4, 1 << 31), errno.EINVAL, "flags 0x80000000"),
}
"""What they are; the map, the errno, and what is said of it."""


@pytest.mark.parametrize("what", MAPS)
def test_maps(bench: Bench, what: str) -> None:
    sizes, code, reason = MAPS[what]
    with pytest.raises(MapError) as caught:
        bench.create_map(*sizes, name="BAD")
    assert caught.value.errno == code
    assert "BAD" in str(caught.value)
    assert "AxVisor" in str(caught.value)
    assert reason in str(caught.value)


OBJECTS: dict[str, tuple[Callable[[Bench], object], str]] = {
    "an object whose last program is refused": (
        lambda bench: bench.load(example("irq_latency.bpf.o")),
        "AxVisor's VM, refuses it: XADD",
    ),
    "an object with a map of another kind": (
        lambda bench: bench.load(example("latency.bpf.o")),
        "LATENCY: AxVisor has no percpu_array maps",
    ),
    "an object whose map is made too small": (
        lambda bench: bench.load(example("exits_axvisor.bpf.o"), max_entries={"EXITS": 0}),
        "AxVisor's, refuses hash maps",
    ),
    "a global variable that is to be set": (
        lambda bench: bench.load(example("slow_exits.bpf.o"), rodata={"threshold_ns": 1}),
        "AxVisor's loader drops what global variables hold",
    ),
}


@pytest.mark.parametrize("what", OBJECTS)
def test_objects(bench: Bench, what: str) -> None:
    load, reason = OBJECTS[what]
    with pytest.raises(AxebpfError) as caught:
        load(bench)
    assert reason in str(caught.value)


def test_a_gap_that_is_no_refusal_leaves_the_program_runnable(bench: Bench) -> None:
    programs = len(list(bench.programs))
    assert bench.load_bytes(assemble("r0 = -7\nr0 s/= 2\nexit"), name="wrong").run(bytes(64)).r0 != 2**64 - 3
    assert len(list(bench.programs)) == programs + 1
    bench.programs["wrong"].unload()


def test_the_vm_and_the_maps_alone_refuse_in_the_same_words(tmp_path: Path) -> None:
    with Bench(engine="rbpf") as bench, pytest.raises(LoadError, match=r"rbpf 0\.4\.1, AxVisor's VM, refuses it"):
        bench.load_bytes(assemble("r0 = bswap16 r0\nexit"))
    with Bench(maps="kbpf") as bench, pytest.raises(MapError, match="kbpf-basic, AxVisor's, refuses hash maps"):
        bench.create_map("hash", 4, 8, 0)
