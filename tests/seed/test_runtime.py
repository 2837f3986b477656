"""`axebpf.runtime`: the seed's programs by number. A test that answers one of the seed's names it."""

from __future__ import annotations

import struct
from pathlib import Path

import axebpf
import pytest
from axebpf import (
    AttachError,
    Bench,
    BenchClosed,
    LoadError,
    MapError,
    NotFound,
    NotInitialized,
    ProgramFault,
    maps,
    runtime,
)
from axebpf._default import set_default_bench
from axebpf.examples import example
from axebpf.runtime import EbpfProgram

pytestmark = pytest.mark.usefixtures("default_bench")

AXVISOR = Path(__file__).parent.parent / "fixtures" / "axvisor"
FORTY_TWO = bytes.fromhex("b7000000 2a000000 95000000 00000000")  # r0 = 42; exit
RETURN_R1 = bytes.fromhex("bf100000 00000000 95000000 00000000")  # r0 = r1; exit
UNKNOWN = 99999


def program(text: str, name: str | None = None) -> EbpfProgram:
    return EbpfProgram(axebpf.assemble(text), name)


# Making one


def test_a_program_of_whole_instructions_is_made() -> None:
    """Seed: a new program is Ok, its bytecode comes back as it was."""
    made = EbpfProgram(FORTY_TWO)
    assert made.bytecode == FORTY_TWO
    assert EbpfProgram(bytearray(FORTY_TWO)).bytecode == EbpfProgram(memoryview(FORTY_TWO)).bytecode == FORTY_TWO
    assert repr(made) == "<EbpfProgram program: 2 instructions>"


def test_no_bytes_and_seven_bytes_are_no_program() -> None:
    """Seed: an empty program and one of 7 bytes are InvalidProgram."""
    with pytest.raises(LoadError, match="no instructions"):
        EbpfProgram(b"")
    with pytest.raises(LoadError, match="7 bytes are no whole number of 8-byte instructions"):
        EbpfProgram(FORTY_TWO[:7])
    with pytest.raises(LoadError, match="data is str; expected bytes"):
        EbpfProgram("r0 = 42")  # type: ignore[arg-type]


def test_making_one_needs_no_default_bench_and_running_it_does() -> None:
    axebpf.default_bench().close()
    made = EbpfProgram(FORTY_TWO)
    for use in (made.execute, lambda: made.map_fds, lambda: runtime.load_program(made), runtime.program_count):
        with pytest.raises(NotInitialized):
            use()
    axebpf.init()
    assert made.execute() == 42


# Running one by hand


def test_r0_is_what_execute_gives() -> None:
    """Seed: execute gives 42 and 0. The legacy function `execute` is Ok."""
    assert EbpfProgram(FORTY_TWO).execute() == runtime.execute(EbpfProgram(FORTY_TWO)) == 42
    assert program("r0 = 0\nexit").execute() == 0
    assert program("r0 = -1\nexit").execute() == 2**64 - 1


def test_without_a_context_r1_is_0() -> None:
    """Seed: execute runs with r1 = 0."""
    assert EbpfProgram(RETURN_R1).execute() == 0
    assert EbpfProgram(RETURN_R1).execute_with_context(bytearray()) == 0


def test_with_a_context_r1_points_to_it() -> None:
    """Seed: a program that returns r1 is Ok on 16 bytes; the legacy function `execute_with_mem` too."""
    assert EbpfProgram(RETURN_R1).execute_with_context(bytearray(16)) != 0
    eighth = program("r0 = *(u8 *)(r1 +7)\nexit")
    assert eighth.execute_with_context(bytearray(range(16))) == 7
    assert runtime.execute_with_mem(eighth, bytearray(range(16))) == 7


def test_stores_are_found_in_the_callers_buffer_after_a_fault_too() -> None:
    """Seed: the buffer is readable and writable."""
    memory = bytearray(16)
    assert program("*(u32 *)(r1 +4) = 7\nr0 = 1\nexit").execute_with_context(memory) == 1
    assert memory == bytes([0, 0, 0, 0, 7]) + bytes(11)
    part = memoryview(bytearray(8))
    program("*(u8 *)(r1 +0) = 9\nr0 = 0\nexit").execute_with_context(part[4:])
    assert bytes(part) == bytes([0, 0, 0, 0, 9, 0, 0, 0])
    with pytest.raises(ProgramFault, match=r"store of 1 bytes at ctx\+16"):
        program("*(u8 *)(r1 +0) = 9\n*(u8 *)(r1 +16) = 9\nexit").execute_with_context(memory)
    assert memory[0] == 9


def test_a_context_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(TypeError, match="the context is bytes, which programs cannot write to; give a bytearray"):
        EbpfProgram(RETURN_R1).execute_with_context(bytes(16))  # type: ignore[arg-type]


def test_instructions_that_cannot_be_are_refused_and_faults_say_where() -> None:
    """The seed's InvalidProgram and ExecutionFailed: here the reason is kept."""
    with pytest.raises(LoadError, match="opcode 0xff"):
        EbpfProgram(b"\xff" * 8).execute()
    with pytest.raises(LoadError, match="no program type nonsense"):
        EbpfProgram(FORTY_TWO, type="nonsense").execute()
    with pytest.raises(ProgramFault, match=r"load of 8 bytes at 0x0.*instruction 0") as caught:
        program("r0 = *(u64 *)(r1 +0)\nexit", "culprit").execute()
    assert (caught.value.program, caught.value.instruction) == ("culprit", 0)


def test_the_type_of_raw_instructions() -> None:
    assert EbpfProgram(axebpf.assemble("r0 = r2\nexit"), type="mem").execute_with_context(bytearray(5)) == 5
    assert EbpfProgram(axebpf.assemble("r0 = 0\nexit"), type="tracepoint").execute_with_context(bytearray(24)) == 0


def test_a_run_leaves_nothing_among_the_loaded_programs(default_bench: Bench) -> None:
    made = EbpfProgram(FORTY_TWO)
    made.execute()
    assert (runtime.program_count(), dict(default_bench.programs)) == (0, {})


# Loading


def test_loaded_run_and_unloaded() -> None:
    """Seed: load, get, run, unload; a run after that is an error. The registry example runs one three times."""
    number = runtime.load_program(EbpfProgram(FORTY_TWO))
    assert runtime.get_program(number).bytecode == FORTY_TWO
    assert [runtime.run_program(number) for _ in range(3)] == [42, 42, 42]
    assert axebpf.default_bench().programs["program"].stats.runs == 3
    runtime.unload_program(number)
    for use in (runtime.run_program, runtime.get_program, runtime.unload_program, runtime.get_program_map_fds):
        with pytest.raises(NotFound, match=f"no program {number}: it was unloaded"):
            use(number)
    with pytest.raises(NotFound, match=f"no program {UNKNOWN}"):
        runtime.run_program(UNKNOWN)


def test_bytes_are_no_program_yet() -> None:
    with pytest.raises(TypeError, match=r"takes an EbpfProgram, not bytes; EbpfProgram\(data\) makes one"):
        runtime.load_program(FORTY_TWO)  # type: ignore[arg-type]


def test_a_loaded_program_is_run_on_a_context() -> None:
    number = runtime.load_program(program("r0 = *(u32 *)(r1 +0)\n*(u32 *)(r1 +0) = 5\nexit"))
    memory = bytearray([9, 0, 0, 0])
    assert runtime.run_program(number, memory) == 9
    assert memory == bytes([5, 0, 0, 0])


def test_counted_and_listed_by_number() -> None:
    """Seed: program_count, list_programs ascending with id and size."""
    sizes = {runtime.load_program(program("r0 = 0\n" * n + "exit", f"p{n}")): 8 * (n + 1) for n in (3, 1, 2)}
    assert runtime.program_count() == 3
    assert [(info.id, info.size) for info in runtime.list_programs()] == sorted(sizes.items())
    assert [info.name for info in runtime.list_programs()] == ["p3", "p1", "p2"]
    for number in sizes:
        runtime.unload_program(number)
    assert (runtime.program_count(), runtime.list_programs()) == (0, [])


def test_programs_of_a_bench_have_numbers_too(default_bench: Bench) -> None:
    loaded = default_bench.load(example("exits.bpf.o"))
    on_exit = loaded["on_exit"]
    assert on_exit.id in {info.id for info in runtime.list_programs()}
    got = runtime.get_program(on_exit.id)
    assert got is runtime.get_program(on_exit.id)
    assert len(got.bytecode) == next(info.size for info in runtime.list_programs() if info.id == on_exit.id)
    record = bytearray(32)
    record[16:20] = (7).to_bytes(4, "little")
    assert got.execute_with_context(record) == runtime.run_program(on_exit.id, record) == 0
    assert loaded.maps["EXITS"][0, 7].count == 2
    assert ("EXITS", loaded.maps["EXITS"].id) in got.map_fds
    loaded.unload()
    assert got.execute_with_context(record) == 0
    default_bench.close()
    axebpf.init()
    with pytest.raises(NotFound, match="on_exit was loaded into a bench that is no longer the default one"):
        got.execute_with_context(record)


def test_what_is_attached_is_not_unloaded(default_bench: Bench) -> None:
    """Decision: unload while attached is refused, or force detaches."""
    number = runtime.load_program(EbpfProgram(FORTY_TWO))
    link = default_bench.programs["program"].attach("vmm:vm_boot")
    with pytest.raises(AttachError, match="still attached"):
        runtime.unload_program(number)
    assert runtime.run_program(number) == 42
    runtime.unload_program(number, force=True)
    assert not link.attached


# Maps


def test_raw_instructions_name_maps_by_number() -> None:
    first, second = (maps.create(maps.MapDef("array", 4, 8, 1)) for _ in range(2))
    text = """
        r1 = map[{number}]
        w2 = 0
        *(u32 *)(r10 -4) = r2
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        *(u64 *)(r0 +0) = {value}
        out:
        r0 = 0
        exit
    """
    made = program(text.format(number=second, value=77))
    assert made.execute() == 0
    assert maps.iter_entries(first) == [(bytes(4), bytes(8))]
    assert maps.iter_entries(second) == [(bytes(4), (77).to_bytes(8, "little"))]
    assert made.map_fds == [("map1", second)]
    with pytest.raises(LoadError, match=r"the map with the descriptor 55 \(instruction 0\), which was not given"):
        program(text.format(number=55, value=1)).execute()


def test_raw_instructions_name_values_of_maps_by_number() -> None:
    maps.create(maps.MapDef("array", 4, 8, 1))
    number = maps.create(maps.MapDef("array", 4, 16, 1))
    value = struct.pack("<BBhiBBhi", 0x18, 0x21, 0, number, 0, 0, 0, 8)  # r1 = address of the value's byte 8
    made = EbpfProgram(value + axebpf.assemble("*(u64 *)(r1 +0) = 5\nr0 = 0\nexit"))
    assert made.execute() == 0
    assert maps.lookup_elem(number, bytes(4)) == struct.pack("<QQ", 0, 5)


def test_all_programs_of_one_share_its_maps(default_bench: Bench) -> None:
    """Seed: clones share maps by reference count."""
    made = EbpfProgram((AXVISOR / "printk.bpf.o").read_bytes())
    context = bytearray(64)
    assert made.execute_with_context(context) == 1
    one, two = runtime.load_program(made), runtime.load_program(made)
    assert one != two
    assert [runtime.run_program(number, context) for number in (one, two, one)] == [2, 3, 4]
    assert runtime.get_program_map_fds(one) == runtime.get_program_map_fds(two) == made.map_fds
    runtime.unload_program(one)
    assert made.execute_with_context(context) == 5
    ((name, number),) = made.map_fds
    assert name == "COUNTER_MAP"
    assert default_bench.maps.by_id[number] is default_bench.maps["COUNTER_MAP"]


# Objects


def test_a_program_of_an_object_that_does_nothing() -> None:
    """Seed: kprobe_noop.o loads, its bytecode has 16 bytes or more. It returns 1."""
    made = EbpfProgram((AXVISOR / "kprobe_noop.bpf.o").read_bytes())
    assert (len(made.bytecode) >= 16, made.name, made.map_fds) == (True, "kprobe_noop", [])
    assert made.execute() == 1


def test_a_program_of_an_object_with_maps() -> None:
    """Seed: kprobe_simple.o and kprobe_args.o have maps (the size of the one is that of its compiler)."""
    for file, name in (("kprobe_simple", "X0_MAP"), ("kprobe_args.arm64", "ARGS_MAP"), ("kprobe_args.x86", "ARGS_MAP")):
        made = EbpfProgram((AXVISOR / f"{file}.bpf.o").read_bytes())
        assert [used for used, _ in made.map_fds] == [name]
        assert len(made.bytecode) > 16


def test_an_object_is_loaded_as_a_program() -> None:
    """Seed: load_program of an object is Ok."""
    number = runtime.load_program(EbpfProgram((AXVISOR / "stats.bpf.o").read_bytes()))
    context = bytearray(axebpf.TraceContext(tracepoint_id=21).with_args(700).as_bytes())
    runtime.run_program(number, context)
    ((_, stats),) = runtime.get_program_map_fds(number)
    ((key, value),) = maps.iter_entries(stats)
    assert int.from_bytes(key, "little") == 21
    assert [int.from_bytes(value[i : i + 8], "little") for i in range(0, 32, 8)] == [1, 700, 700, 700]


def test_the_program_of_an_object_is_chosen_by_name() -> None:
    data = example("exits.bpf.o").read_bytes()
    assert EbpfProgram(data).name == EbpfProgram(data, "on_exit").name == "on_exit"
    with pytest.raises(NotFound, match=r"no program on_exits; did you mean on_exit\?"):
        EbpfProgram(data, "on_exits")


def test_damaged_objects_are_refused() -> None:
    """The seed's ElfParseError."""
    data = example("exits.bpf.o").read_bytes()
    for cut in (4, 40, 64, len(data) // 2):
        with pytest.raises(LoadError):
            EbpfProgram(data[:cut])


def test_maps_that_cannot_be_made_are_a_map_error(compile_bpf: object) -> None:
    """The seed's MapCreationFailed."""
    assert callable(compile_bpf)
    text = """
    struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1u << 31); __type(key, __u32); __type(value, __u64); }
        TOO_MANY SEC(".maps");
    SEC("axvisor") int look(void *ctx) { __u32 key = 0; return bpf_map_lookup_elem(&TOO_MANY, &key) != 0; }
    """
    made = EbpfProgram(compile_bpf("too_many", text).read_bytes())
    with pytest.raises(MapError):
        made.execute()
    assert maps.count() == 0


def test_a_closed_bench_is_no_default_bench(default_bench: Bench) -> None:
    number = runtime.load_program(EbpfProgram(FORTY_TWO))
    loaded = default_bench.programs["program"]
    default_bench.close()
    with pytest.raises(NotInitialized):
        runtime.run_program(number)
    with pytest.raises(BenchClosed):
        loaded.run()
    set_default_bench(None)
    with pytest.raises(NotInitialized):
        runtime.list_programs()
