"""Programs: loading raw code, attaching, running by hand, faults, counts of instructions."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from axebpf import AttachError, Bench, LoadError, ProgramFault, assemble, disassemble
from axebpf.bench import Program, TracepointHandle
from axebpf.errors import SourceLine
from axebpf.examples import example

RETURN = assemble("r0 = 0\nexit")
EXIT_RECORD = struct.pack("<HBBiIIIxxxxQ", 21, 0, 0, 0, 1, 2, 7, 5000)


@pytest.fixture
def bench() -> Bench:
    return Bench(budget=1000)


@pytest.fixture
def boots(bench: Bench) -> TracepointHandle:
    return bench.tracepoints["vmm:vm_boot"]


def load(bench: Bench, text: str, type: str = "tracepoint", name: str = "program") -> Program:
    return bench.load_bytes(assemble(text), type=type, name=name)


# Faults

FAULTS = {
    "endless": ("here:\n goto here\n exit", "ran more than 1000 instructions; an endless loop", 0),
    "falls off": ("r0 = 0", "ran off the end of the program", 0),
    "recurses": ("call f\n exit\nf:\n call f\n exit", "call stack of 9 frames is too deep; Linux allows 8", 2),
    "null": ("r1 = 0\n r0 = *(u8 *)(r1 +0)\n exit", "load of 1 bytes at 0x0: no live memory", 1),
    "wild": ("r1 += 4096\n r0 = *(u64 *)(r1 +0)\n exit", r"load of 8 bytes at ctx\+4096: no live memory", 1),
    "header": ("r0 = *(u64 *)(r1 +0)\n exit", r"load of 8 bytes at ctx\+0", 0),
    "behind the record": ("r1 += 24\n r0 = *(u64 *)(r1 +0)\n exit", r"load of 8 bytes at ctx\+24", 1),
    "across the end": ("r1 += 20\n r0 = *(u64 *)(r1 +0)\n exit", r"load of 8 bytes at ctx\+20", 1),
    "read-only record": ("*(u32 *)(r1 +8) = r1\n exit", r"store of 4 bytes at ctx\+8: this memory is read-only", 0),
    "above the stack": ("r2 = r10\n r0 = *(u64 *)(r2 +0)\n exit", r"load of 8 bytes at stack[+-]0", 1),
    "below the stack": ("r2 = r10\n r0 = *(u64 *)(r2 -520)\n exit", "load of 8 bytes at stack-520", 1),
}


@pytest.mark.parametrize("offset", [0, -4, -520, -516])
def test_an_access_beside_the_frame_is_refused_at_load(bench: Bench, offset: int) -> None:
    with pytest.raises(LoadError, match="a frame is the 512 bytes below r10"):
        load(bench, f"r0 = *(u64 *)(r10 {offset:+})\n exit")


@pytest.mark.parametrize(
    ("text", "reach"), [("r0 = *(u64 *)(r1 +24)", 32), ("r6 = r1\n r0 = *(u64 *)(r6 +4096)", 4104)]
)
def test_a_program_that_reads_beyond_the_record_is_not_attached(
    bench: Bench, boots: TracepointHandle, text: str, reach: int
) -> None:
    # Linux: EACCES at attach.
    program = load(bench, f"{text}\n exit")
    with pytest.raises(AttachError, match=f"up to byte {reach}, but vmm:vm_boot gives it 24 bytes"):
        program.attach(boots)


def test_a_raw_tracepoint_program_reads_no_more_arguments_than_there_are(bench: Bench, boots: TracepointHandle) -> None:
    # Linux: EINVAL at attach.
    load(bench, "r0 = *(u64 *)(r1 +8)\n exit", type="raw_tracepoint").attach(boots)
    with pytest.raises(AttachError, match="up to byte 24, but vmm:vm_boot gives it 16 bytes"):
        load(bench, "r0 = *(u64 *)(r1 +16)\n exit", type="raw_tracepoint").attach(boots)


@pytest.mark.parametrize("case", FAULTS)
def test_a_program_that_misbehaves_is_a_fault_and_the_bench_goes_on(
    bench: Bench, boots: TracepointHandle, case: str
) -> None:
    text, message, instruction = FAULTS[case]
    program = load(bench, text, name="culprit")
    other = load(bench, "r0 = 0\n exit")
    link = program.attach(boots)
    other.attach(boots)
    boots.enabled = True
    for fire in (lambda: boots.fire(1, 2), lambda: boots.fire_many(vm_id=[1, 2, 3], duration_ns=0)):
        with pytest.raises(ProgramFault, match=message) as caught:
            fire()
        assert (caught.value.program, caught.value.instruction) == ("culprit", instruction)
        assert str(caught.value).startswith("culprit: ")
    # Each time, the event that brought the fault went its whole way: statistics, trace, the other program.
    assert (boots.fired, bench.stats["vmm:vm_boot"].count, len(bench.trace)) == (2, 2, 2)
    assert (program.stats.runs, program.stats.faults, other.stats.runs, other.stats.faults) == (2, 2, 2, 0)
    with pytest.raises(ProgramFault, match=message):
        program.run(bytes(24))
    link.detach()
    assert boots.fire_many(vm_id=[1, 2, 3], duration_ns=0) == 3
    assert other.stats.runs == 5


def test_a_fault_of_an_object_names_the_source_line() -> None:
    program = Bench().load(example("exits.bpf.o"))["on_exit"]
    lines = example("exits.bpf.c").read_text().splitlines()
    with pytest.raises(ProgramFault) as caught:
        program.run(EXIT_RECORD[:24])  # without duration_ns
    source = caught.value.source
    assert isinstance(source, SourceLine)
    assert Path(source.file).name == "exits.bpf.c"
    assert lines[source.line - 1].strip() == source.text.strip() == "__u64 duration = ctx->duration_ns;"
    assert source.text.strip() in str(caught.value)
    assert caught.value.place == "ctx+24"


def test_the_budget_is_of_one_run(bench: Bench) -> None:
    loop = "r0 = 0\nagain:\n r0 += 1\n if r0 < {n} goto again\n exit"
    assert load(bench, loop.format(n=499)).run(bytes(24)).instructions == 2 * 499 + 2 == 1000
    with pytest.raises(ProgramFault, match="more than 1000 instructions"):
        load(bench, loop.format(n=500)).run(bytes(24))


# By hand


def test_a_run_by_hand_gives_r0_instructions_prints_and_context() -> None:
    bench = Bench()
    text = """
        r6 = r1
        r1 = 0x0a696820696820 ll
        *(u64 *)(r10 -8) = r1
        r1 = r10
        r1 += -8
        r2 = 8
        call bpf_trace_printk
        r1 = 0x55
        *(u8 *)(r6 +0) = r1
        r0 = -1
        exit
    """
    ran = load(bench, text, type="mem").run(b"\1\2\3")
    assert (ran.r0, ran.instructions, ran.ctx) == (2**64 - 1, 11, b"\x55\2\3")
    assert [line.strip() for line in ran.printed] == ["hi hi"]


def test_a_run_of_a_tracepoint_program_reads_the_record() -> None:
    bench = Bench()
    progs = bench.load(example("exits.bpf.o"))
    assert progs["on_exit"].run(EXIT_RECORD).r0 == 0
    assert progs.maps["EXITS"] == {(1, 7): (1, 5000, 5000)}
    assert bench.tracepoints["vmm:vcpu_run_exit"].fired == 0


def test_the_helpers_100_to_102_answer_what_the_run_says(bench: Bench) -> None:
    text = "call {helper}\nexit"
    for helper, r0 in ((100, 4), (101, 5), (102, 6)):
        program = load(bench, text.format(helper=f"h#{helper}"), type="axvisor")
        assert program.run(bytes(64), vm_id=4, vcpu_id=5, exit_reason=6).r0 == r0
        assert program.run(bytes(64)).r0 == 0


def test_time_and_cpu_of_a_run_by_hand(bench: Bench) -> None:
    now = load(bench, "call bpf_ktime_get_ns\nexit")
    cpu = load(bench, "call bpf_get_smp_processor_id\nexit")
    assert now.run(bytes(24), time_ns=77).r0 == 77
    assert now.run(bytes(24)).r0 == bench.clock.now
    assert (cpu.run(bytes(24), cpu=3).r0, cpu.run(bytes(24)).r0) == (3, 0)


def test_r1_and_r2_of_memory_programs(bench: Bench) -> None:
    assert load(bench, "r0 = r2\nexit", type="mem").run(bytes(5)).r0 == 5
    assert load(bench, "r0 = *(u8 *)(r1 +4)\nexit", type="mem").run(b"abcde").r0 == ord("e")
    with pytest.raises(ProgramFault, match="no live memory"):
        load(bench, "r0 = *(u8 *)(r1 +0)\nexit", type="mem").run(b"")


# Loading raw code


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda bench: bench.load_bytes(b""), "no instructions"),
        (lambda bench: bench.load_bytes(b"abc"), "3 bytes are no whole number of 8-byte instructions"),
        (lambda bench: bench.load_bytes(b"\xff" * 8), "opcode 0xff"),
        (lambda bench: bench.load_bytes(RETURN, type="nonsense"), "no program type nonsense"),
        (lambda bench: bench.load_bytes(assemble("r1 = map[3]\nexit")), "map"),
        (lambda bench: bench.load_bytes(bytes.fromhex("0500ff7f00000000") + RETURN), "jump|target"),
    ],
)
def test_code_that_cannot_be_loaded(bench: Bench, make: Callable[[Bench], Program], text: str) -> None:
    with pytest.raises(LoadError, match=text):
        make(bench)
    assert dict(bench.programs) == {}


def test_raw_code_uses_the_maps_given_by_descriptor(bench: Bench) -> None:
    one, two = (bench.create_map("array", 4, 8, 1, name=name) for name in ("one", "two"))
    one[0], two[0] = 11, 22
    text = """
        r1 = map[{fd}]
        r2 = 0
        *(u32 *)(r10 -4) = r2
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        r0 = *(u64 *)(r0 +0)
        exit
    """
    for fd, value in ((5, 11), (900, 22)):
        code = assemble(text.format(fd=fd))
        assert bench.load_bytes(code, type="tracepoint", maps={5: one, 900: two}).run(bytes(24)).r0 == value


def test_the_disassembly_assembles_to_the_same_code(bench: Bench) -> None:
    program = bench.load(example("latency.bpf.o"))["on_exit"]
    code = program._native.insns
    assert assemble(program.disassemble().replace("[LATENCY#0]", "[0]")) == code
    assert assemble(disassemble(code)) == code


# Attaching


def test_a_program_is_attached_where_its_section_says_or_where_one_says() -> None:
    bench = Bench()
    program = bench.load(example("exits.bpf.o"))["on_exit"]
    assert (program.section, program.type, program.target) == (
        "tracepoint/vmm/vcpu_run_exit",
        "tracepoint",
        "vmm:vcpu_run_exit",
    )
    with program.attach() as link:
        assert link.attached
        assert link.tracepoint is bench.tracepoints["vmm:vcpu_run_exit"]
        assert bench.tracepoints["vmm:vcpu_run_exit"].programs == 1
        bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 7, 5)
    assert not link.attached
    bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 7, 5)
    assert program.stats.runs == 1
    with pytest.raises(AttachError, match="detached already"):
        link.detach()


def test_programs_run_in_the_order_of_attaching(bench: Bench, boots: TracepointHandle) -> None:
    order: list[int] = []
    bench.helper("u64 note(u32 n)", id=0x10000)(order.append)
    for number in (3, 1, 2):
        load(bench, f"r1 = {number}\ncall note#65536\nexit").attach(boots)
    boots.fire(1, 0)
    assert order == [3, 1, 2]


def test_what_cannot_be_attached(bench: Bench, boots: TracepointHandle) -> None:
    program = load(bench, "r0 = 0\nexit", name="prog")
    program.attach(boots)
    with pytest.raises(AttachError, match=r"prog is attached to vmm:vm_boot already \(EEXIST\)"):
        program.attach("vmm:vm_boot")
    with pytest.raises(AttachError, match="names no tracepoint; say which"):
        program.attach()
    with pytest.raises(AttachError, match="of type kprobe, which does not attach to a tracepoint"):
        load(bench, "r0 = 0\nexit", type="kprobe").attach(boots)
    with pytest.raises(AttachError, match="vmm:vm_boot belongs to another bench"):
        program.attach(Bench().tracepoints["vmm:vm_boot"])
    for _ in range(63):
        load(bench, "r0 = 0\nexit").attach(boots)
    with pytest.raises(AttachError, match=r"vmm:vm_boot has 64 programs already, Linux's limit \(E2BIG\)"):
        load(bench, "r0 = 0\nexit").attach(boots)
    boots.fire(1, 0)
    assert sum(program.stats.runs for program in bench._programs) == 64


def test_a_cookie_is_what_the_helper_answers(bench: Bench, boots: TracepointHandle) -> None:
    cookies: list[int] = []
    bench.helper("u64 note(u64 n)", id=0x10000)(cookies.append)
    program = load(bench, "call bpf_get_attach_cookie\nr1 = r0\ncall note#65536\nexit")
    program.attach(boots, cookie=2**63)
    program.attach("vmm:vm_destroy")
    boots.fire(1, 0)
    bench.tracepoints["vmm:vm_destroy"].fire(1)
    assert cookies == [2**63, 0]


def test_unloading(bench: Bench, boots: TracepointHandle) -> None:
    program = load(bench, "r0 = 0\nexit", name="prog")
    program.attach(boots)
    with pytest.raises(AttachError, match="prog is still attached to 1 tracepoint"):
        program.unload()
    boots.fire(1, 0)
    program.unload(force=True)
    boots.fire(1, 0)
    assert boots.programs == 0
    assert "prog" not in bench.programs
    for use in (lambda: program.run(bytes(24)), lambda: program.attach(boots), program.unload):
        with pytest.raises(AttachError, match="has been unloaded"):
            use()
    assert load(bench, "r0 = 0\nexit").id > program.id


# Counting


def test_the_profile_counts_each_instruction(bench: Bench, boots: TracepointHandle) -> None:
    text = """
        r6 = *(u32 *)(r1 +8)
        r0 = 0
    again:
        if r0 == r6 goto out
        r0 += 1
        goto again
    out:
        exit
    """
    program = load(bench, text)
    program.attach(boots)
    boots.fire_many(vm_id=[0, 3, 10], duration_ns=0)
    rounds, runs = 13, 3
    assert [(slot, count) for slot, count, _ in program.profile()] == [
        (0, runs),
        (1, runs),
        (2, rounds + runs),
        (3, rounds),
        (4, rounds),
        (5, runs),
    ]
    assert program.stats.instructions == sum(count for _, count, _ in program.profile())


def test_the_profile_of_an_object_has_source_lines() -> None:
    bench = Bench()
    program = bench.load(example("exits.bpf.o"), rodata={"threshold_ns": 1000})["on_exit"]
    program.attach()
    exits = bench.tracepoints["vmm:vcpu_run_exit"]
    exits.fire_many(vm_id=1, vcpu_id=0, exit_reason=7, duration_ns=[10, 2000, 3000])
    by_line: dict[str, int] = {}
    for _, count, source in program.profile():
        text = source.partition(": ")[2]
        by_line[text] = max(count, by_line.get(text, 0))
    assert by_line["if (duration < threshold_ns)"] == 3
    assert by_line["__sync_fetch_and_add(&stat->count, 1);"] == 2


def test_steps_give_the_registers_before_each_instruction(bench: Bench) -> None:
    program = load(bench, "r3 = 7\ncall f\nr0 += 1\nexit\nf:\nr0 = r3\nexit")
    # r1 to r5 belong to the callee, who may read what the caller left.
    steps = program.steps(bytes(24))
    assert [(step.insn, step.depth) for step in steps] == [(0, 1), (1, 1), (4, 2), (5, 2), (2, 1), (3, 1)]
    assert steps[1].registers[3] == 7
    assert [step.registers[0] for step in steps[3:]] == [7, 7, 8]
    assert len(program.steps(bytes(24), limit=2)) == 2


def test_steps_end_with_the_instruction_that_faults(bench: Bench) -> None:
    steps = load(bench, "r0 = 1\nr1 = 0\nr2 = *(u8 *)(r1 +0)\nexit").steps(bytes(24))
    assert [step.insn for step in steps] == [0, 1, 2]
    source = Bench().load(example("exits.bpf.o"))["on_exit"].steps(EXIT_RECORD)[0].source
    assert source.endswith("key = { .vm_id = ctx->vm_id, .exit_reason = ctx->exit_reason };")


# How the latest run ended

ENDINGS = {
    "first exit": ("r0 = *(u32 *)(r1 +8)\n if r0 == 1 goto out\n r0 = 0\n exit\nout:\n exit", 4),
    "other exit": ("r0 = *(u32 *)(r1 +8)\n if r0 != 1 goto out\n r0 = 0\n exit\nout:\n exit", 3),
    "behind a subprogram": ("call f\n r0 = 0\n exit\nf:\n r0 = 1\n exit", 2),
    "behind a wide instruction": ("r0 = 0x100000000 ll\n exit", 2),
    **{name: (text, insn) for name, (text, _, insn) in FAULTS.items()},
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_latest_run_ended_at_the_last_step(bench: Bench, name: str) -> None:
    text, insn = ENDINGS[name]
    program = load(bench, text)
    assert program.last_run is None
    with contextlib.suppress(ProgramFault):
        program.run(EXIT_RECORD[:24])
    ended = program.last_run
    assert ended is not None
    assert ended == (insn, None, program.stats.instructions)
    # The observer is another way through the interpreter, and the steps are counted by it.
    assert program.steps(EXIT_RECORD[:24])[-1].insn == insn
    assert program.last_run == (insn, None, 2 * ended.at)
    program.unload()
    assert program.last_run == (insn, None, 2 * ended.at)


def test_of_two_programs_the_one_that_ended_later_has_the_greater_number(bench: Bench, boots: TracepointHandle) -> None:
    first, second = (load(bench, "r0 = 0\n exit", name=name) for name in ("first", "second"))
    second.attach(boots)
    first.attach(boots)
    boots.fire(vm_id=1, duration_ns=0)
    assert first.last_run is not None
    assert second.last_run is not None
    assert first.last_run.at > second.last_run.at


def test_lines_of_an_object_and_how_often_they_ran() -> None:
    with Bench() as bench:
        program = bench.load(example("exits.bpf.o"), rodata={"threshold_ns": 1000})["on_exit"]
        program.attach()
        exits = bench.tracepoints["vmm:vcpu_run_exit"]
        for duration_ns in (10, 1000, 5000):
            exits.fire(vm_id=1, vcpu_id=0, exit_reason=0, duration_ns=duration_ns)
        counts = {line.text: count for line, count in program.line_counts()}
        assert counts["if (duration < threshold_ns)"] == 3
        assert counts["__sync_fetch_and_add(&stat->count, 1);"] == 2
        assert counts["struct exit_stat zero = {};"] == 1
        source = example("exits.bpf.c").read_text().splitlines()
        assert all(source[line.line - 1].strip() == line.text for line, _ in program.line_counts())
        assert program.last_run is not None
        assert program.last_run.line is not None
        assert program.last_run.line.text == "}"
