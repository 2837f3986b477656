"""Maps that hold maps and programs: from Python, from programs, and as objects ask for them.

What errno Linux answers is compared with the running kernel in `rust/core/tests/map_oracle`.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axebpf import AxebpfError, Bench, KeyNotFound, LoadError, MapError, ProgramFault, assemble
from axebpf.bench import Program

DATA = Path(__file__).parent / "data"
INNER_MAP = 1 << 12


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Number and text of the MapError that a call raises."""
    with pytest.raises(MapError) as caught:
        call()
    assert caught.value.errno is not None
    return caught.value.errno, str(caught.value)


def put(outer: Any, key: Any, value: Any) -> Callable[[], object]:
    """What puts something into a map, to be called later."""
    return lambda: outer.__setitem__(key, value)


def looking_up(bench: Bench, outer: Any, then: str) -> Program:
    """A program that looks the entry 0 of a map of maps up, and returns -1 where there is none; the map is in r6."""
    text = f"""
        r7 = r1
        *(u64 *)(r10 -8) = 0
        *(u64 *)(r10 -16) = 7
        r1 = map[1]
        r2 = r10
        r2 += -8
        call bpf_map_lookup_elem
        if r0 != 0 goto there
        r0 = -1
        exit
    there:
        r6 = r0
        {then}
        exit"""
    return bench.load_bytes(assemble(text), type="raw_tracepoint", maps={1: outer})


LOOK_UP = "r2 = r10\nr2 += -8\ncall bpf_map_lookup_elem"
KEY = "r1 = r6\nr2 = r10\nr2 += -8"
UPDATE = f"{KEY}\nr3 = r10\nr3 += -16\nr4 = 0\ncall bpf_map_update_elem"
READ = f"{KEY}\ncall bpf_map_lookup_elem\nif r0 == 0 goto +1\nr0 = *(u64 *)(r0 +0)"


def signed(number: int) -> int:
    """The number that a program meant."""
    return number - (1 << 64) if number >> 63 else number


# Maps of maps


@pytest.mark.parametrize("kind", ["array_of_maps", "hash_of_maps"])
def test_a_map_of_maps_is_a_mapping_of_maps(kind: str) -> None:
    bench = Bench()
    a, b = (bench.create_map("hash", 4, 8, 4, name=name) for name in "AB")
    outer = bench.create_map(kind, 4, 4, 3, inner=a)
    assert (list(outer), len(outer), outer.get(0)) == ([], 0, None)
    outer[0], outer[2] = a, b
    assert outer[2] is b
    assert dict(outer.items()) == {0: a, 2: b}
    assert outer.lookup(bytes([2, 0, 0, 0])) == b.id.to_bytes(4, "little")
    outer[0] = b
    del outer[2]
    assert dict(outer) == {0: b}
    with pytest.raises(KeyNotFound):
        outer[2]
    with pytest.raises(KeyNotFound):
        del outer[2]
    keys, numbers = outer.to_numpy()
    assert (keys.tolist(), numbers.tolist()) == ([0], [b.id])
    assert repr(outer).startswith(f"<MapOfMaps {outer.name}: {kind} of ")


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (("hash", 4, 8, 1), "the kind of X is hash; this map takes maps with array"),
        (("array", 4, 16, 4), "the value size of X is 16; this map takes maps with 8"),
        (("array", 4, 8, 5), "max_entries of X is 5; this map takes maps with 4, or any with BPF_F_INNER_MAP"),
        (("array", 4, 8, 4, INNER_MAP), "the flags of X is BPF_F_INNER_MAP; this map takes maps with 0x0"),
    ],
)
def test_only_maps_of_one_shape_are_put_there(other: tuple[Any, ...], text: str) -> None:
    bench = Bench()
    outer = bench.create_map("hash_of_maps", 4, 4, 4, inner=bench.create_map("array", 4, 8, 4))
    number, message = refused(put(outer, 1, bench.create_map(*other, name="X")))
    assert (number, text in message) == (errno.EINVAL, True), message
    assert len(outer) == 0


def test_an_inner_array_may_have_any_capacity_where_its_flag_says_so() -> None:
    bench = Bench()
    outer = bench.create_map("array_of_maps", 4, 4, 4, inner=bench.create_map("array", 4, 8, 4, INNER_MAP))
    outer[0] = bench.create_map("array", 4, 8, 100, INNER_MAP)
    assert outer[0].max_entries == 100


def test_what_cannot_be_a_map_of_maps() -> None:
    bench, other = Bench(), Bench()
    inner = bench.create_map("array", 4, 8, 1)
    outer = bench.create_map("array_of_maps", 4, 4, 1, inner=inner)
    jumps = bench.create_map("prog_array", 4, 4, 1)
    foreign = other.create_map("array", 4, 8, 1)
    cases: list[tuple[tuple[Any, ...], Any, int, str]] = [
        (("array_of_maps", 4, 4, 1), None, errno.EINVAL, "need an inner map"),
        (("array_of_maps", 4, 4, 1), outer, errno.EINVAL, "cannot be inner maps: one level is all"),
        (("hash_of_maps", 4, 4, 1), jumps, 524, "prog_array maps cannot be inner maps"),
        (
            ("hash_of_maps", 4, 8, 1),
            inner,
            errno.EINVAL,
            "value size of hash_of_maps maps must be 4, a number, found 8",
        ),
        (("hash", 4, 4, 1), inner, errno.EINVAL, "hash maps have no inner maps"),
        (("hash_of_maps", 4, 4, 1), foreign, errno.EBADF, "belongs to another bench"),
    ]
    for spec, template, number, text in cases:
        found, message = refused(lambda spec=spec, template=template: bench.create_map(*spec, inner=template))
        assert (found, text in message) == (number, True), message


def test_what_is_no_map_of_the_bench_is_not_put_there() -> None:
    bench, other = Bench(), Bench()
    inner = bench.create_map("array", 4, 8, 1)
    outer = bench.create_map("array_of_maps", 4, 4, 2, inner=inner)
    assert refused(put(outer, 0, other.create_map("array", 4, 8, 1)))[0] == errno.EBADF
    assert refused(put(outer, 0, 999))[0] == errno.EBADF
    assert refused(put(outer, 0, "map0"))[0] == errno.EINVAL
    assert refused(put(outer, 0, outer))[0] == errno.EINVAL
    assert refused(put(outer, 2, inner))[0] == errno.E2BIG
    outer[0] = inner.id
    outer.freeze()
    assert refused(put(outer, 1, inner))[0] == errno.EPERM
    assert outer[0] is inner


def test_a_map_that_left_the_bench_is_still_in_its_map_of_maps() -> None:
    bench = Bench()
    outer = bench.create_map("array_of_maps", 4, 4, 2, inner=bench.create_map("array", 4, 8, 1))
    gone = bench.create_map("array", 4, 8, 1, name="GONE")
    outer[1] = gone
    gone[0] = bytes([5, 0, 0, 0, 0, 0, 0, 0])
    bench.maps.destroy(gone)
    assert (outer[1].name, outer[1].lookup(bytes(4))) == ("GONE", (5).to_bytes(8, "little"))
    assert refused(put(outer, 0, gone))[0] == errno.EBADF


def test_a_program_uses_an_inner_map_as_any_other() -> None:
    bench = Bench()
    inner = bench.create_map("hash", 8, 8, 4)
    outer = bench.create_map("array_of_maps", 4, 4, 1, inner=inner)
    write = looking_up(bench, outer, UPDATE)
    read = looking_up(bench, outer, READ)
    delete = looking_up(bench, outer, f"{KEY}\ncall bpf_map_delete_elem")
    assert signed(write.run(bytes(8)).r0) == -1
    outer[0] = inner
    assert (write.run(bytes(8)).r0, read.run(bytes(8)).r0, inner[0]) == (0, 7, 7)
    assert (delete.run(bytes(8)).r0, len(inner)) == (0, 0)
    assert signed(delete.run(bytes(8)).r0) == -errno.ENOENT
    del outer[0]
    assert signed(read.run(bytes(8)).r0) == -1


def test_an_inner_queue_and_an_inner_ring_buffer_work_from_a_program() -> None:
    bench = Bench()
    queues = bench.create_map("array_of_maps", 4, 4, 1, inner=bench.create_map("queue", 0, 8, 4))
    queues[0] = bench.create_map("queue", 0, 8, 2, name="Q")
    push = looking_up(bench, queues, "r1 = r6\nr2 = r10\nr2 += -16\nr3 = 0\ncall bpf_map_push_elem")
    assert [signed(push.run(bytes(8)).r0) for _ in range(3)] == [0, 0, -errno.E2BIG]
    assert [int.from_bytes(value, "little") if isinstance(value, bytes) else value for value in bench.maps["Q"]] == [
        7,
        7,
    ]

    rings = bench.create_map("array_of_maps", 4, 4, 1, inner=bench.create_map("ringbuf", 0, 0, 4096))
    rings[0] = bench.create_map("ringbuf", 0, 0, 8192, name="R")
    reserve = (
        "r1 = r6\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve\nif r0 == 0 goto out\n*(u64 *)(r0 +0) = 9\nr1 = r0\nr2 = 0"
    )
    looking_up(bench, rings, f"{reserve}\ncall bpf_ringbuf_submit\nout:\nr0 = 0").run(bytes(8))
    assert bench.maps["R"].read() == [(9).to_bytes(8, "little")]
    # A run that forgets its record is stopped, and leaves no busy one behind.
    with pytest.raises(ProgramFault, match="neither submitted nor discarded"):
        looking_up(bench, rings, f"{reserve}\nout:\nr0 = 0").run(bytes(8))
    looking_up(bench, rings, f"{reserve}\ncall bpf_ringbuf_submit\nout:\nr0 = 0").run(bytes(8))
    assert len(bench.maps["R"].read()) == 1


def test_an_inner_map_lives_until_the_run_ends_that_looked_it_up() -> None:
    bench = Bench()
    outer = bench.create_map("array_of_maps", 4, 4, 1, inner=bench.create_map("array", 4, 8, 1))
    held = bench.create_map("array", 4, 8, 1, name="HELD")
    outer[0] = held
    held[0] = 41

    @bench.helper("u64 replace(void)", id=0x10000)
    def replace() -> None:
        del outer[0]
        bench.maps.destroy(bench.maps["HELD"])

    add = "r8 = *(u64 *)(r0 +0)\nr8 += 1\n*(u64 *)(r0 +0) = r8"
    value = f"{KEY}\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\nr9 = r0\ncall replace#65536\nr0 = r9\n{add}"
    again = f"{KEY}\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\nr0 = *(u64 *)(r0 +0)\nout:"
    program = looking_up(bench, outer, f"{value}\n{again}")
    del held
    assert program.run(bytes(8)).r0 == 42
    assert signed(program.run(bytes(8)).r0) == -1


def test_a_handle_is_no_memory_and_has_a_name() -> None:
    bench = Bench()
    outer = bench.create_map("array_of_maps", 4, 4, 1, inner=bench.create_map("array", 4, 8, 1, name="INNER"))
    outer[0] = bench.maps["INNER"]
    with pytest.raises(ProgramFault, match="load of 8 bytes at the map INNER"):
        looking_up(bench, outer, "r0 = *(u64 *)(r6 +0)").run(bytes(8))
    with pytest.raises(ProgramFault, match="which is no map of this program"):
        looking_up(bench, outer, "r6 += 1\n" + READ).run(bytes(8))


def test_a_map_of_maps_is_not_changed_by_programs() -> None:
    bench = Bench()
    outer = bench.create_map("hash_of_maps", 4, 4, 1, inner=bench.create_map("array", 4, 8, 1))
    text = "*(u64 *)(r10 -8) = 0\nr1 = map[1]\nr2 = r10\nr2 += -8\nr3 = r2\nr4 = 0\ncall bpf_map_update_elem\nexit"
    with pytest.raises(
        LoadError, match=r"cannot pass map_type 13 into func bpf_map_update_elem#2: .* is a hash_of_maps"
    ):
        bench.load_bytes(assemble(text), type="raw_tracepoint", maps={1: outer})


def test_rbpf_uses_inner_maps_too() -> None:
    bench = Bench(engine="rbpf")
    outer = bench.create_map("array_of_maps", 4, 4, 1, inner=bench.create_map("array", 4, 64, 4))
    outer[0] = bench.create_map("array", 4, 64, 4, name="I")
    store = f"{KEY}\ncall bpf_map_lookup_elem\nif r0 == 0 goto +2\n*(u64 *)(r0 +56) = 3\nr0 = 5"
    assert looking_up(bench, outer, store).run(bytes(8)).r0 == 5
    assert bench.maps["I"][0] == bytes(56) + (3).to_bytes(8, "little")


@pytest.fixture(scope="session")
def of_maps(compile_bpf: Callable[..., Path]) -> Path:
    return compile_bpf("maps_of_maps", (DATA / "maps_of_maps.c").read_text())


def test_an_object_fills_its_maps_of_maps(of_maps: Path) -> None:
    bench = Bench()
    progs = bench.load(of_maps)
    first, second = progs.maps["FIRST"], progs.maps["SECOND"]
    assert dict(progs.maps["BY_NUMBER"]) == {0: second, 2: first}
    assert dict(progs.maps["BY_NAME"]) == {1: first}
    progs.attach()
    exits = bench.tracepoints["vmm:vcpu_run_exit"]
    for vm_id in (0, 1, 1, 2, 3):
        exits.fire(vm_id=vm_id, vcpu_id=0, exit_reason=4, duration_ns=1)
    assert (first[4], second[4]) == (3, 1)
    mine = bench.create_map("array", 4, 8, 16, name="MINE")
    progs.maps["BY_NAME"][3] = mine
    exits.fire(vm_id=3, vcpu_id=0, exit_reason=4, duration_ns=1)
    assert mine[4] == 1
    assert refused(put(progs.maps["BY_NAME"], 4, mine))[0] == errno.E2BIG


def test_two_objects_do_not_mix_their_inner_maps(of_maps: Path) -> None:
    bench = Bench()
    one, two = bench.load(of_maps), bench.load(of_maps)
    assert one.maps["BY_NUMBER"][0] is one.maps["SECOND"]
    assert two.maps["BY_NUMBER"][0] is two.maps["SECOND"]
    one.unload()
    assert one.maps["BY_NUMBER"][0].name == "SECOND"


def test_entries_that_do_not_fit_refuse_the_object(of_maps: Path) -> None:
    bench = Bench()
    number, message = refused(lambda: bench.load(of_maps, max_entries={"BY_NUMBER": 2}))
    assert number == errno.E2BIG
    assert "the map BY_NUMBER: entry 2 cannot be FIRST" in message
    number, message = refused(lambda: bench.load(of_maps, max_entries={"FIRST": 8}))
    assert number == errno.EINVAL
    assert "max_entries of FIRST is 8; this map takes maps with 16" in message
    assert (len(bench.maps), len(bench.programs)) == (0, 0)


# Program arrays


def tail_calling(bench: Bench, jumps: Any, index: int, *, type: str = "raw_tracepoint") -> Program:
    """A program that tail-calls an index and returns 1 where it goes on itself."""
    text = f"r2 = map[1]\nr3 = {index}\ncall bpf_tail_call\nr0 = 1\nexit"
    return bench.load_bytes(assemble(text), type=type, maps={1: jumps})


def returning(bench: Bench, number: int, *, type: str = "raw_tracepoint", name: str = "program") -> Program:
    """A program that returns a number."""
    return bench.load_bytes(assemble(f"r0 = {number}\nexit"), type=type, name=name)


def test_a_program_array_is_a_mapping_of_programs() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 4)
    program = returning(bench, 5)
    jumps[1] = program
    assert (jumps[1] is program, list(jumps), len(jumps)) == (True, [1], 1)
    assert jumps.lookup(bytes([1, 0, 0, 0])) == program.id.to_bytes(4, "little")
    del jumps[1]
    with pytest.raises(KeyNotFound):
        jumps[1]
    assert refused(put(jumps, 4, program))[0] == errno.E2BIG
    assert refused(put(jumps, 0, returning(Bench(), 1)))[0] == errno.EBADF
    assert refused(put(jumps, 0, 12345))[0] == errno.EBADF
    jumps.freeze()
    assert refused(put(jumps, 0, program))[0] == errno.EPERM


def test_a_tail_call_goes_on_in_another_program_or_falls_through() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 4)
    jumps[2] = returning(bench, 42)
    assert [tail_calling(bench, jumps, index).run(bytes(8)).r0 for index in (2, 3, 4, -1)] == [42, 1, 1, 1]


def test_33_tail_calls_are_all_of_one_run() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 1)
    count = bench.create_map("array", 4, 8, 1)
    text = """
        r6 = r1
        *(u32 *)(r10 -4) = 0
        r1 = map[2]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto +2
        r1 = 1
        lock *(u64 *)(r0 +0) += r1
        r1 = r6
        r2 = map[1]
        r3 = 0
        call bpf_tail_call
        r0 = 9
        exit"""
    program = bench.load_bytes(assemble(text), type="raw_tracepoint", maps={1: jumps, 2: count})
    jumps[0] = program
    assert (program.run(bytes(8)).r0, count[0]) == (9, 34)
    # A look-up and a tail call each time, the one that is refused too.
    assert (program.stats.runs, program.stats.calls) == (1, 2 * 34)
    assert program.stats.worst_by_calls is not None
    assert program.stats.worst_by_calls.amount == 2 * 34
    # Every instruction of it ran 34 times, but for the last two.
    assert [n for _, n, _ in program.profile()] == [34] * 13 + [1, 1]


def test_profiles_are_of_the_program_whose_instructions_ran() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 1)
    callee, caller = returning(bench, 3), tail_calling(bench, jumps, 0)
    jumps[0] = callee
    run = caller.run(bytes(8))
    assert (run.r0, run.instructions) == (3, 5)
    assert [n for _, n, _ in caller.profile()] == [1, 1, 1, 0, 0]
    assert [n for _, n, _ in callee.profile()] == [1, 1]
    assert (caller.stats[:5], callee.stats[:5]) == ((1, 0, 0, 5, 1), (0, 0, 0, 0, 0))
    assert caller.last_run is not None
    assert callee.last_run is not None
    assert (caller.last_run.insn, callee.last_run.insn) == (3, 1)


def test_a_fault_in_a_tail_called_program_is_its_own() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 1)
    wild = bench.load_bytes(assemble("r1 = 0\nr0 = *(u64 *)(r1 +0)\nexit"), type="raw_tracepoint", name="wild")
    jumps[0] = wild
    caller = tail_calling(bench, jumps, 0)
    with pytest.raises(ProgramFault) as caught:
        caller.run(bytes(8))
    assert (caught.value.program, caught.value.instruction) == ("wild", 1)
    assert (caller.stats.faults, wild.stats.faults) == (1, 0)


def test_the_budget_is_that_of_the_whole_run() -> None:
    bench = Bench(budget=1000)
    jumps = bench.create_map("prog_array", 4, 4, 1)
    jumps[0] = bench.load_bytes(assemble("goto -1\nexit"), type="raw_tracepoint", name="endless")
    with pytest.raises(ProgramFault, match="more than 1000 instructions") as caught:
        tail_calling(bench, jumps, 0).run(bytes(8))
    assert caught.value.program == "endless"


def test_a_tail_called_program_has_the_context_and_maps_of_its_own() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 1)
    outer = bench.create_map("array_of_maps", 4, 4, 1, inner=bench.create_map("hash", 8, 8, 4))
    outer[0] = bench.create_map("hash", 8, 8, 4, name="I")
    jumps[0] = looking_up(bench, outer, f"{UPDATE}\nr0 = *(u64 *)(r7 +8)")
    assert tail_calling(bench, jumps, 0).run(bytes(8) + (77).to_bytes(8, "little")).r0 == 77
    assert dict(bench.maps["I"]) == {0: 7}


def test_an_array_is_for_programs_of_the_type_of_its_first() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 2, name="JUMPS")
    jumps[0] = returning(bench, 1, type="xdp")
    number, message = refused(put(jumps, 1, returning(bench, 1, name="other")))
    assert number == errno.EINVAL
    assert "other is of type raw_tracepoint; this array is for programs of type xdp" in message
    del jumps[0]
    assert refused(put(jumps, 1, returning(bench, 1)))[0] == errno.EINVAL
    with pytest.raises(
        LoadError, match=r"of type raw_tracepoint, and the program array JUMPS is for programs of type xdp"
    ):
        tail_calling(bench, jumps, 0)
    # Who tail-calls through it is the first as well.
    fresh = bench.create_map("prog_array", 4, 4, 2)
    tail_calling(bench, fresh, 0, type="tracepoint")
    assert refused(put(fresh, 0, returning(bench, 1)))[0] == errno.EINVAL


def test_an_unloaded_program_is_in_no_array() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 2)
    caller, callee = tail_calling(bench, jumps, 0), returning(bench, 7)
    jumps[0] = callee
    assert caller.run(bytes(8)).r0 == 7
    callee.unload()
    assert (caller.run(bytes(8)).r0, len(jumps)) == (1, 0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("r1 = r10\nr2 = map[1]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit", "it takes the context"),
        (
            # A map that it cannot be seen to be before it runs.
            f"r6 = r1\n*(u64 *)(r10 -8) = 0\nr1 = map[4]\n{LOOK_UP}\nr1 = r6\nr2 = r0\nr3 = 0\ncall jump#12\nexit",
            r"cannot pass map_type 2 into func bpf_tail_call#12: A is",
        ),
        ("r2 = 5\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit", "its second argument is 0x5, which is no map"),
        (
            "r6 = r1\nr1 = map[3]\nr2 = 8\nr3 = 0\ncall reserve#131\nr1 = r6\nr2 = map[1]\nr3 = 0\ncall jump#12\nexit",
            "neither submitted nor discarded",
        ),
    ],
)
def test_what_linux_refuses_of_a_tail_call_stops_the_run(text: str, fault: str) -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 2)
    array = bench.create_map("array", 4, 8, 1, name="A")
    outer = bench.create_map("array_of_maps", 4, 4, 1, inner=array)
    outer[0] = array
    maps = {1: jumps, 3: bench.create_map("ringbuf", 0, 0, 4096), 4: outer}
    jumps[0] = returning(bench, 7)
    with pytest.raises(ProgramFault, match=fault):
        bench.load_bytes(assemble(text), type="raw_tracepoint", maps=maps).run(bytes(8))


def test_rbpf_makes_no_tail_calls() -> None:
    bench = Bench(engine="rbpf")
    jumps = bench.create_map("prog_array", 4, 4, 2)
    with pytest.raises(LoadError, match=r"bpf_tail_call#12: rbpf .* tail calls are Linux's"):
        tail_calling(bench, jumps, 0)
    with pytest.raises(MapError, match="AxVisor has no prog_array maps"):
        Bench(target="axvisor").create_map("prog_array", 4, 4, 2)


@pytest.fixture(scope="session")
def calls(compile_bpf: Callable[..., Path]) -> Path:
    return compile_bpf("tail_calls", (DATA / "tail_calls.c").read_text())


def test_an_object_fills_its_program_array(calls: Path) -> None:
    bench = Bench()
    progs = bench.load(calls)
    jumps = progs.maps["JUMPS"]
    assert dict(jumps) == {0: progs["on_hypercall"], 5: progs["on_itself"]}
    progs["on_exit"].attach()
    exits = bench.tracepoints["vmm:vcpu_run_exit"]
    for reason in (0, 0, 5, 7, 9):
        exits.fire(vm_id=1, vcpu_id=0, exit_reason=reason, duration_ns=1)
    # Of 33 tail calls, the first went there.
    assert dict(progs.maps["SEEN"].items()) == {0: 2, 1: 33, 2: 0, 3: 2}
    assert progs["on_exit"].stats.runs == 5
    assert [progs["from_a_function"].run(bytes([*[0] * 16, reason, *[0] * 79])).r0 for reason in (0, 5, 7)] == [
        110,
        111,
        101,
    ]
    progs.unload(force=True)
    assert len(bench.programs) == 0


def test_a_program_that_is_not_loaded_is_in_no_array(calls: Path) -> None:
    bench = Bench()
    number, message = refused(lambda: bench.load(calls, only=["on_exit", "on_itself"]))
    assert number == errno.EBADF
    assert "the map JUMPS: entry 0 cannot be on_hypercall: it is not loaded" in message
    assert (len(bench.maps), len(bench.programs)) == (0, 0)


def test_programs_of_other_types_refuse_the_object(calls: Path) -> None:
    with pytest.raises(AxebpfError, match=r"on_hypercall.*of type xdp.*of type raw_tracepoint"):
        Bench().load(calls, types={"on_hypercall": "xdp"})


def test_damaged_definitions_are_refused_or_loaded_and_never_more(of_maps: Path, calls: Path) -> None:
    """Bytes changed at places that a seed chooses; what loads is run too."""
    dice = random.Random(20_000_102)
    outcomes = {"loaded": 0, "refused": 0}
    for path in (of_maps, calls):
        whole = path.read_bytes()
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(dice.choice((1, 1, 2, 8))):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            bench = Bench(budget=10_000)
            try:
                for program in bench.load(bytes(data)).values():
                    program.run(bytes(96))
                outcomes["loaded"] += 1
            except AxebpfError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 100
