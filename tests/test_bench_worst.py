"""Instructions and helper calls of a program's runs: all, on average, and of the worst one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axebpf import Bench, Event, Program, ProgramFault, assemble
from axebpf.bench import ProgramStats, WorstRun
from axebpf.bench.program import Step
from axebpf.examples import available, example
from axebpf.hypervisor import Events, Workload, define

HELPER_CALL = bytes([0x85, 0])
"""RFC 9669: the code of `call`, with no source register: by the number of a helper."""

LOOPS = """
    r6 = *(u32 *)(r1 +8)
    r7 = *(u32 *)(r1 +12)
a:
    if r6 == 0 goto b
    r6 += -1
    goto a
b:
    if r7 == 0 goto out
    call bpf_get_smp_processor_id
    r7 += -1
    goto b
out:
    r0 = 0
    exit
"""
"""Turns two loops as often as the event's vm_id and vcpu_id say; the second calls a helper each time."""


def length(first: int, second: int) -> int:
    """Instructions of a run of LOOPS, by hand."""
    return 2 + (3 * first + 1) + (4 * second + 1) + 2


def loops(bench: Bench) -> tuple[Program, Callable[..., None]]:
    """LOOPS, and what fires the event that it is attached to."""
    program = bench.load_bytes(assemble(LOOPS), type="tracepoint", name="loops")
    tracepoint = bench.tracepoints["vmm:vcpu_run_enter"]
    program.attach(tracepoint)

    def fire(first: int, second: int, **at: int) -> None:
        tracepoint.fire(vm_id=first, vcpu_id=second, **at)

    return program, fire


def define_events(tracepoint: str = "vmm:vcpu_run_enter", **fields: Any) -> Workload:
    """A workload of one's own: an event a nanosecond, from 1 µs on."""
    rows = max(len(column) if isinstance(column, list) else 1 for column in fields.values())

    @define("events", cpus=1)
    def events() -> Iterator[list[Events]]:
        yield [Events(tracepoint, time_ns=[1000 + row for row in range(rows)], **fields)]

    return events


def calls_in(program: Program, steps: list[Step]) -> int:
    """Helper calls among these steps."""
    code = program._native.insns
    return sum(code[8 * s.insn] == HELPER_CALL[0] and code[8 * s.insn + 1] >> 4 == 0 for s in steps)


def test_counts_averages_and_worst_runs_are_those_of_the_paths_taken() -> None:
    program, fire = loops(Bench())
    assert program.stats == ProgramStats(0, 0, 0, 0, 0)
    assert (program.stats.instructions_per_run, program.stats.calls_per_run) == (None, None)
    assert (program.stats.worst_instructions, program.stats.worst_calls) == (0, 0)
    for time, paths in enumerate([(1, 1), (50, 0), (0, 7), (50, 0)]):
        fire(*paths, time_ns=1000 + time, cpu=time)
    stats = program.stats
    assert stats.instructions == length(1, 1) + 2 * length(50, 0) + length(0, 7)
    assert stats.calls == 8
    assert (stats.instructions_per_run, stats.calls_per_run) == (stats.instructions / 4, 2.0)
    assert stats.worst_by_instructions == WorstRun(length(50, 0), 1001, 1)
    assert stats.worst_by_calls == WorstRun(7, 1002, 2)
    assert (stats.worst_instructions, stats.worst_calls) == (156, 7)


@pytest.mark.parametrize("name", available())
def test_the_worst_run_of_an_example_is_the_event_that_added_most(name: str) -> None:
    with Bench() as bench:
        loaded = bench.load(example(name))
        before = dict.fromkeys(loaded, (0, 0))
        worst = dict.fromkeys(loaded, (WorstRun(0, 0, 0), WorstRun(0, 0, 0)))

        def see(event: Event) -> None:
            """Once the programs have run."""
            for program in loaded:
                stats = loaded[program].stats
                now = (stats.instructions or 0, stats.calls)
                added = [WorstRun(n - b, event.time_ns, event.cpu) for n, b in zip(now, before[program], strict=True)]
                first, second = (max(a, b, key=lambda w: w.amount) for a, b in zip(worst[program], added, strict=True))
                before[program], worst[program] = now, (first, second)

        for link in loaded.attach():
            link.tracepoint.on(see)
        result = bench.run("mixed", vms=2, seed=3, duration_s=0.3)
        assert set(result.programs) <= set(loaded)
        for program, stats in result.programs.items():
            assert (stats.worst_by_instructions, stats.worst_by_calls) == worst[program]
            assert stats == loaded[program].stats
        assert any(stats.worst_calls for stats in result.programs.values())


def test_calls_and_instructions_are_those_of_single_steps_and_of_the_profile() -> None:
    for first, second in itertools.product((0, 3), (0, 1, 5)):
        program, _ = loops(Bench())
        context = bytes(8) + first.to_bytes(4, "little") + second.to_bytes(4, "little")
        steps = program.steps(context)
        assert program.stats.instructions == len(steps) == sum(count for _, count, _ in program.profile())
        assert program.stats.calls == calls_in(program, steps) == second
        ran = program.run(context)
        assert (ran.instructions, ran.calls) == (len(steps), second)


CALLBACKS = {
    "bpf_loop": """
        r1 = 3
        r2 = subprog[f]
        r3 = 0
        r4 = 0
        call bpf_loop
        exit
    f:
        call bpf_get_smp_processor_id
        call bpf_get_smp_processor_id
        r0 = 0
        exit
    """,
    "bpf_for_each_map_elem": """
        r1 = map[7]
        r2 = subprog[f]
        r3 = 0
        r4 = 0
        call bpf_for_each_map_elem
        exit
    f:
        call bpf_get_smp_processor_id
        call bpf_get_smp_processor_id
        r0 = 0
        exit
    """,
    "a local call": """
        r6 = 3
    again:
        call f
        r6 += -1
        if r6 != 0 goto again
        exit
    f:
        call bpf_get_smp_processor_id
        call bpf_get_smp_processor_id
        r0 = 0
        exit
    """,
}
"""Three times a function of four instructions that calls two helpers."""


@pytest.mark.parametrize(
    ("way", "outside", "calls"),
    [("bpf_loop", 6, 7), ("bpf_for_each_map_elem", 6, 7), ("a local call", 1 + 3 * 3 + 1, 6)],
)
def test_functions_that_are_called_back_or_called_count(way: str, outside: int, calls: int) -> None:
    bench = Bench()
    three = bench.create_map("array", 4, 8, 3)
    program = bench.load_bytes(assemble(CALLBACKS[way]), type="tracepoint", maps={7: three})
    program.run(bytes(16))
    stats = program.stats
    assert (stats.instructions, stats.calls) == (outside + 3 * 4, calls)
    assert (stats.worst_instructions, stats.worst_calls) == (outside + 3 * 4, calls)


def test_a_run_that_a_fault_stops_counts_as_far_as_it_came() -> None:
    text = "call bpf_get_smp_processor_id\nr6 = 0\ncall bpf_get_smp_processor_id\nr0 = *(u64 *)(r6 +0)\nexit"
    program = Bench().load_bytes(assemble(text), type="tracepoint")
    with pytest.raises(ProgramFault):
        program.run(bytes(16))
    assert program.stats[:5] == (1, 0, 1, 4, 2)
    assert (program.stats.worst_instructions, program.stats.worst_calls) == (4, 2)
    # The helper that stops a run was called.
    program = Bench().load_bytes(assemble("r1 = 0\nr2 = 0\ncall bpf_map_lookup_elem\nexit"), type="tracepoint")
    with pytest.raises(ProgramFault):
        program.run(bytes(16))
    assert program.stats[:5] == (1, 0, 1, 3, 1)


def test_a_result_has_the_worst_of_its_own_run() -> None:
    bench = Bench()
    program, fire = loops(bench)
    fire(80, 80)
    within = bench.run(define_events(vm_id=[1, 9, 3], vcpu_id=[0, 0, 2]))
    stats = within.programs["loops"]
    assert (stats.runs, stats.instructions, stats.calls) == (3, length(1, 0) + length(9, 0) + length(3, 2), 2)
    assert stats.worst_by_instructions == WorstRun(length(9, 0), 1001, 0)
    assert stats.worst_by_calls == WorstRun(2, 1002, 0)
    assert (program.stats.worst_instructions, program.stats.worst_calls) == (length(80, 80), 80)
    replayed = bench.replay(b"axvisor-0 [001] ..... 2.000000: vmm:vcpu_run_enter: vm_id=4 vcpu_id=1\n")
    assert replayed.programs["loops"].worst_by_instructions == WorstRun(length(4, 1), 2_000_000_000, 1)


def test_runs_within_a_run_have_their_own_worst_and_count_for_the_outer_one() -> None:
    bench = Bench()
    program, fire = loops(bench)
    inner = []

    def between(_: object) -> None:
        inner.append(bench.run(small).programs["loops"].worst_instructions)
        fire(30, 0)

    small = define_events(vm_id=[5, 2], vcpu_id=0)
    outer = bench.run(define_events(vm_id=10, vcpu_id=0), progress=between).programs["loops"]
    assert (inner, outer.worst_instructions) == ([length(5, 0)], length(30, 0))
    assert outer.runs == program.stats.runs == 4


def test_a_run_that_fails_leaves_the_next_result_right() -> None:
    bench = Bench(budget=200)
    loops(bench)
    with pytest.raises(ProgramFault):
        bench.run(define_events(vm_id=[1, 90], vcpu_id=0))
    stats = bench.run(define_events(vm_id=[1, 2], vcpu_id=0)).programs["loops"]
    assert (stats.faults, stats.worst_instructions) == (0, length(2, 0))


def test_a_program_that_is_loaded_meanwhile_has_done_nothing_before() -> None:
    bench = Bench()
    later = []

    def load(_: object) -> None:
        if not later:
            program, fire = loops(bench)
            later.append(program)
            fire(3, 1)

    result = bench.run(define_events(vm_id=1, vcpu_id=0), progress=load)
    assert result.programs["loops"] == later[0].stats
    assert result.programs["loops"].worst_instructions == length(3, 1)


SIDES: list[dict[str, Any]] = [
    {"engine": "rbpf"},
    {"engine": "rbpf", "maps": "kbpf"},
    {"target": "axvisor"},
]


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_rbpf_counts_helper_calls_and_no_instructions(side: dict[str, Any]) -> None:
    text = "r6 = *(u32 *)(r1 +16)\ncall bpf_get_smp_processor_id\nif r6 != 7 goto out\n"
    text += "call bpf_get_smp_processor_id\nout:\nr0 = 0\nexit"
    bench = Bench(**side)
    program = bench.load_bytes(assemble(text), type="axvisor", name="calls")
    program.attach("vmm:vm_destroy")
    destroys = define_events("vmm:vm_destroy", vm_id=[1, 7, 2])  # TraceContext has vm_id at 16
    stats = bench.run(destroys).programs["calls"]
    assert stats == program.stats
    assert (stats.runs, stats.instructions, stats.calls) == (3, None, 4)
    assert (stats.worst_instructions, stats.instructions_per_run, stats.worst_by_instructions) == (None, None, None)
    assert stats.worst_by_calls == WorstRun(2, 1001, 0)
    ran = program.run(bytes(64))
    assert (ran.instructions, ran.calls) == (None, 1)


def test_helpers_in_python_count() -> None:
    for side in ({}, {"engine": "rbpf"}):
        bench = Bench(**side)

        @bench.helper("u64 mine(u64 x)", id=0x10000)
        def mine(x: int) -> int:
            return x

        program = bench.load_bytes(assemble("r1 = 1\ncall f#65536\nr1 = 2\ncall f#65536\nexit"))
        program.run(bytes(64))
        assert program.stats.calls == 2
