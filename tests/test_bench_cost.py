"""`Bench.cost`: counts that other ways of counting agree with, and times where there can be any.

Times are measurements: the tests say that there are some, and not what they are.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from axebpf import AttachError, Bench, HypervisorError, Program, ProgramFault, RecordingError, assemble
from axebpf.bench import CostReport, ProgramCost
from axebpf.examples import available, example
from axebpf.hypervisor import Events
from axebpf.recording import Recording

GUEST = Path(__file__).parent / "data" / "recordings" / "guest.trace.txt"
SHORT: dict[str, Any] = {"vms": 2, "seed": 4, "duration_s": 0.2}


def attached(bench: Bench, text: str, maps: dict[int, Any] | None = None, name: str = "program") -> Program:
    """A program at vmm:vcpu_run_exit."""
    program = bench.load_bytes(assemble(text), type="tracepoint", maps=maps, name=name)
    program.attach("vmm:vcpu_run_exit")
    return program


def exits(count: int) -> list[Events]:
    """Exits, one a microsecond."""
    times = [1000 * n for n in range(count)]
    return [Events("vmm:vcpu_run_exit", time_ns=times, vm_id=1, vcpu_id=0, exit_reason=0, duration_ns=5)]


def timed(cost: ProgramCost) -> bool:
    """Whether there are the times that there can be."""
    on_rbpf = cost.rbpf_target is not None
    assert on_rbpf == (not {"axvisor", "linux"} <= set(cost.refused))
    return cost.interpreter_ns is not None and (cost.rbpf_ns is not None) == on_rbpf


@pytest.mark.parametrize("name", available())
def test_counts_of_an_example_are_those_of_a_run(name: str) -> None:
    bench = Bench()
    loaded = bench.load(example(name))
    report = bench.cost(loaded, "mixed", repetitions=1, **SHORT)
    assert (report.workload, report.repetitions, set(report.programs)) == ("mixed", 1, set(loaded))
    other = Bench()
    links = other.load(example(name)).attach()
    result = other.run("mixed", **SHORT)
    assert report.events == result.events
    for program, cost in report.programs.items():
        assert cost.tracepoints == tuple(link.tracepoint.name for link in links if link.program.name == program)
        if program in result.programs:
            assert cost.stats == result.programs[program]
            assert timed(cost)
        else:
            assert (cost.stats.runs, cost.interpreter_ns, cost.rbpf_ns) == (0, None, None)


def test_the_bench_is_not_touched_and_its_maps_are_the_beginning() -> None:
    # A path of 8 instructions where the map holds 5, of 7 anywhere else; each run adds one to what it holds.
    text = """
        r1 = map[1]
        *(u32 *)(r10 -4) = 0
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        r1 = *(u64 *)(r0 +0)
        r2 = r1
        r2 += 1
        *(u64 *)(r0 +0) = r2
        if r1 != 5 goto out
        r1 = 0
    out:
        r0 = 0
        exit
    """
    bench = Bench()
    counter = bench.create_map("array", 4, 8, 1)
    program = attached(bench, text, {1: counter})
    for start, worst in ((3, 14), (6, 13)):
        counter[0] = start
        stats = bench.cost(program, exits(4), repetitions=1).programs["program"].stats
        assert (stats.runs, stats.worst_instructions) == (4, worst)
        assert counter[0] == start
    assert (program.stats.runs, bench.tracepoints["vmm:vcpu_run_exit"].fired, bench.trace.written) == (0, 0, 0)
    assert list(bench.programs) == ["program"]


def test_it_is_the_program_that_is_in_one_bench_and_not_in_the_other() -> None:
    """A helper in Python hears every run: once to count on each engine, and once for each repetition."""
    bench = Bench()
    heard = []

    @bench.helper("u64 hear(u64 vm)", id=0x10000)
    def hear(vm: int) -> int:
        heard.append(vm)
        return 0

    hearing = bench.load_bytes(
        assemble("r1 = *(u32 *)(r1 +8)\ncall f#65536\nr0 = 0\nexit"), type="tracepoint", name="h"
    )
    hearing.attach("vmm:vm_destroy")
    other = attached(bench, PLAIN, name="other")
    events = [Events("vmm:vm_destroy", time_ns=[n * 10 for n in range(150)], vm_id=list(range(150))), *exits(200)]
    found = bench.cost([hearing, other], events, repetitions=3).programs
    # Each repetition has it twice more, to time the other program.
    assert sorted(heard) == sorted([*range(150)] * (1 + 3 + 2 * 3) + [*range(150)] * (1 + 3))
    assert (found["h"].rbpf_target, found["other"].rbpf_target) == ("linux", "axvisor")
    assert [cost.stats.runs for cost in found.values()] == [150, 200]


RANDOM = "call bpf_get_prandom_u32\nr0 = 0\nexit"
SWAP = "r0 = 1\nr0 = bswap16 r0\nr0 = 0\nexit"
PLAIN = "r0 = 0\nexit"


def test_where_axvisor_refuses_a_program_rbpf_has_linux_helpers_or_there_is_no_time() -> None:
    bench = Bench()
    plain, random, swap = (attached(bench, t, name=n) for n, t in (("p", PLAIN), ("r", RANDOM), ("s", SWAP)))
    found = bench.cost([plain, random, swap], exits(20), repetitions=2).programs
    assert [cost.stats.worst_instructions for cost in found.values()] == [2, 3, 4]
    assert (found["p"].rbpf_target, found["p"].refused) == ("axvisor", {})
    assert timed(found["p"])
    assert found["r"].rbpf_target == "linux"
    assert timed(found["r"])
    assert list(found["r"].refused) == ["axvisor"]
    assert "bpf_get_prandom_u32" in found["r"].refused["axvisor"]
    assert (found["s"].rbpf_ns, found["s"].rbpf_target) == (None, None)
    assert list(found["s"].refused) == ["axvisor", "linux"]
    assert all("unknown eBPF opcode" in why for why in found["s"].refused.values())
    assert found["s"].interpreter_ns is not None


def test_a_program_that_axvisor_stops_is_refused_there_and_the_others_are_not() -> None:
    # At 16 the record has exit_reason, which is 0 here, and AxVisor's TraceContext vm_id, which is 1.
    text = "r6 = *(u32 *)(r1 +16)\nr0 = 0\nif r6 == 0 goto out\nr0 = *(u8 *)(r6 +0)\nout:\nexit"
    bench = Bench()
    stopped, plain = (attached(bench, t, name=n) for n, t in (("stopped", text), ("plain", PLAIN)))
    found = bench.cost([stopped, plain], exits(3), repetitions=1).programs
    assert "load of 1 bytes at" in found["stopped"].refused["axvisor"]
    assert (found["stopped"].rbpf_target, found["plain"].rbpf_target) == ("linux", "axvisor")
    assert all(timed(cost) for cost in found.values())


def test_a_program_that_a_fault_stops_here_has_no_cost() -> None:
    bench = Bench()
    program = attached(bench, "r0 = 0\nr0 = *(u64 *)(r0 +0)\nexit")
    with pytest.raises(ProgramFault, match="instruction 1"):
        bench.cost(program, exits(3))
    assert program.stats.faults == 0


def test_programs_of_one_name_are_told_apart() -> None:
    bench = Bench()
    first, second = attached(bench, PLAIN), attached(bench, "r1 = 1\nr0 = 0\nexit")
    found = bench.cost([first, second], exits(3), repetitions=1).programs
    assert list(found) == ["program", f"program#{second.id}"]
    assert [cost.stats.worst_instructions for cost in found.values()] == [2, 3]


def test_the_events_of_a_recording(tmp_path: Path) -> None:
    text = GUEST.read_bytes()
    bench = Bench(cpus=2)
    loaded = bench.load(example("exits.bpf.o"))
    reports = [bench.cost(loaded, source, repetitions=1) for source in (str(GUEST), Recording(text))]
    other = Bench(cpus=2)
    other.load(example("exits.bpf.o")).attach()
    result = other.replay(GUEST)
    for report in reports:
        assert report.events == result.events
        assert report.programs["on_exit"].stats == result.programs["on_exit"]
        assert timed(report.programs["on_exit"])


def test_it_prints_a_line_for_each_program_and_each_reason() -> None:
    bench = Bench()
    program = attached(bench, RANDOM, name="draws")
    lines = str(bench.cost(program, exits(10), repetitions=1)).splitlines()
    assert lines[0] == "events: 10 events; the time of a run is the median of 1"
    assert lines[1].startswith("  draws: 10 runs, 3.0 instructions each (worst 3), 1.0 helper calls (worst 1), ")
    assert re.search(r", (\d+ ns|too short to measure) on rbpf for target linux$", lines[1])
    assert lines[2].startswith("    rbpf for target axvisor: ")
    none = bench.cost(program, [Events("vmm:vm_destroy", time_ns=[1], vm_id=1)], repetitions=1)
    assert str(none).splitlines()[1:] == ["  draws: no runs"]


def test_whatever_the_bench_runs_programs_on_both_interpreters_are_measured() -> None:
    for side in ({}, {"engine": "rbpf"}, {"target": "axvisor"}):
        bench = Bench(**side)
        program = bench.load_bytes(assemble(PLAIN), name="plain")
        program.attach("vmm:vcpu_run_exit")
        report: CostReport = bench.cost(program, exits(5), repetitions=1)
        assert (report.programs["plain"].stats.instructions, report.programs["plain"].rbpf_target) == (10, "axvisor")
        assert timed(report.programs["plain"])


def test_what_cannot_be_measured_is_refused() -> None:
    bench = Bench()
    program = attached(bench, PLAIN)
    for repetitions in (0, 1001, True):
        with pytest.raises(HypervisorError, match=r"repetitions is .*; it takes 1 to 1000"):
            bench.cost(program, exits(1), repetitions=repetitions)
    with pytest.raises(HypervisorError, match="did you mean boot"):
        bench.cost(program, "boto")
    with pytest.raises(RecordingError, match="can be read only once"):
        bench.cost(program, io.BytesIO(GUEST.read_bytes()))
    with pytest.raises(AttachError, match="not in this bench"):
        Bench().cost(program, exits(1))
    with pytest.raises(TypeError, match="expected a program, or what load"):
        bench.cost(7, exits(1))  # type: ignore[arg-type]
    nowhere = bench.load_bytes(assemble(PLAIN), type="tracepoint", name="nowhere")
    with pytest.raises(AttachError, match="nowhere: attached nowhere"):
        bench.cost(nowhere, exits(1))
    assert bench.cost(program, exits(1), repetitions=1).events == 1
