"""`--cost`, `--max-insns-per-event`, `--max-calls-per-event`: what programs cost, and a run that is held to a limit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench
from axebpf.bench import ProgramStats, WorstRun
from axebpf.examples import example

EXITS, LATENCY, SLOW = (example(f"{name}.bpf.o") for name in ("exits", "latency", "slow_exits"))
GUEST = Path(__file__).parent / "data" / "recordings" / "guest.trace.txt"
SHORT = ("--seconds", "0.3", "--seed", "5")


@pytest.fixture(scope="module")
def same() -> tuple[ProgramStats, ProgramStats]:
    """What exits.bpf.o and latency.bpf.o do in the run that the tests below ask the command line for."""
    bench = Bench(seed=5)
    programs = [bench.load(file)["on_exit"] for file in (EXITS, LATENCY)]
    for program in programs:
        program.attach()
    bench.run("boot", seed=5, duration_s=0.3)
    return programs[0].stats, programs[1].stats


@pytest.fixture(scope="module")
def replayed() -> ProgramStats:
    bench = Bench(cpus=2)
    bench.load(EXITS).attach()
    return bench.replay(GUEST).programs["on_exit"]


def unboxed(text: str) -> str:
    """A message of misuse, which stands in a box, in one line."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def event(worst: WorstRun) -> str:
    return f"vmm:vcpu_run_exit at {worst.time_ns / 1e9:.9f} s on CPU {worst.cpu}"


def test_a_limit_that_is_kept_changes_nothing(cli: Any, same: tuple[ProgramStats, ProgramStats]) -> None:
    stats = same[0]
    limits = ("--max-insns-per-event", stats.worst_instructions, "--max-calls-per-event", stats.worst_calls)
    assert cli("run", EXITS, *SHORT, *limits) == cli("run", EXITS, *SHORT)


@pytest.mark.parametrize(
    ("option", "what", "of"),
    [
        ("--max-insns-per-event", "instructions", "worst_by_instructions"),
        ("--max-calls-per-event", "helper calls", "worst_by_calls"),
    ],
)
def test_beyond_a_limit_the_exit_code_is_1_and_the_message_names_program_count_event_and_limit(
    cli: Any, same: tuple[ProgramStats, ProgramStats], option: str, what: str, of: str
) -> None:
    worst: WorstRun = getattr(same[0], of)
    ran = cli("run", EXITS, *SHORT, option, worst.amount - 1)
    told = f"{worst.amount} {what} at {event(worst)}, more than {option} {worst.amount - 1}"
    assert (ran.code, ran.err) == (1, f"axebpf: exits.bpf.o: on_exit: {told}\n")
    assert ran.out == cli("run", EXITS, *SHORT).out


def test_every_program_beyond_a_limit_is_named_and_no_other(cli: Any, same: tuple[ProgramStats, ProgramStats]) -> None:
    exits, latency = (stats.worst_instructions or 0 for stats in same)
    assert 0 < exits < latency
    both = cli("run", EXITS, LATENCY, *SHORT, "--max-insns-per-event", exits - 1)
    assert both.code == 1
    first, *others = both.err.splitlines()
    assert first == "axebpf: programs cost too much"
    assert [line.split(" at ")[0] for line in others] == [
        f"  exits.bpf.o: on_exit: {exits} instructions",
        f"  latency.bpf.o: on_exit: {latency} instructions",
    ]
    one = cli("run", EXITS, LATENCY, *SHORT, "--max-insns-per-event", exits)
    assert one.code == 1
    assert one.err.startswith(f"axebpf: latency.bpf.o: on_exit: {latency} instructions at ")
    assert "exits.bpf.o" not in one.err


def test_a_replay_is_held_to_limits_too(cli: Any, replayed: ProgramStats) -> None:
    worst = replayed.worst_by_instructions
    assert worst is not None
    for command in (("replay", GUEST, EXITS), ("run", EXITS, "--on", GUEST)):
        ran = cli(*command, "--max-insns-per-event", worst.amount - 1)
        assert (ran.code, f"{worst.amount} instructions at {event(worst)}" in ran.err) == (1, True)
        assert cli(*command, "--max-insns-per-event", worst.amount).code == 0
    for option in (("--cost",), ("--max-insns-per-event", 5), ("--max-calls-per-event", 0)):
        ran = cli("replay", GUEST, *option)
        assert (ran.code, "there is no object whose programs could cost anything" in unboxed(ran.err)) == (2, True)


def test_rbpf_takes_a_limit_of_calls_and_refuses_one_of_instructions(
    cli: Any, same: tuple[ProgramStats, ProgramStats]
) -> None:
    calls = same[1].worst_calls
    run = ("run", LATENCY, *SHORT, "--engine", "rbpf")
    assert cli(*run, "--max-calls-per-event", calls).code == 0
    ran = cli(*run, "--max-calls-per-event", calls - 1)
    assert (ran.code, f"{calls} helper calls at" in ran.err) == (1, True)
    ran = cli(*run, "--max-insns-per-event", 1000)
    assert (ran.code, "the engine rbpf counts no instructions" in unboxed(ran.err)) == (2, True)


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_a_limit_is_a_number(cli: Any, value: str) -> None:
    assert cli("run", EXITS, "--max-insns-per-event", value).code == 2


def test_the_programs_have_an_average_and_a_worst_run(cli: Any, same: tuple[ProgramStats, ProgramStats]) -> None:
    stats = same[0]
    lines = cli("run", EXITS, *SHORT).out.splitlines()
    head, row = (line.split() for line in lines[lines.index("Programs") + 1 :][:2])
    assert head[3:] == ["TO", "RUNS", "INSNS/RUN", "WORST", "MISSES", "FAULTS"]
    assert row[3:] == [str(stats.runs), f"{stats.instructions_per_run:.1f}", str(stats.worst_instructions), "0", "0"]


def test_json_has_counts_always_and_costs_where_asked_for(cli: Any, same: tuple[ProgramStats, ProgramStats]) -> None:
    without = json.loads(cli("run", EXITS, LATENCY, *SHORT, "--json").out)
    found = json.loads(cli("run", EXITS, LATENCY, *SHORT, "--json", "--cost").out)
    costs = found.pop("cost")
    assert found == without
    for program, stats in zip(found["programs"], same, strict=True):
        names = ("runs", "instructions", "calls", "worst_instructions", "worst_calls")
        assert [program[name] for name in names] == [getattr(stats, name) for name in names]
    for program, stats, file in zip(costs["programs"], same, ("exits", "latency"), strict=True):
        assert (program["file"], program["name"]) == (f"{file}.bpf.o", "on_exit")
        assert program["insns_per_event"] == stats.instructions_per_run
        assert program["calls_per_event"] == stats.calls_per_run
        assert (program["worst_insns"], program["worst_calls"]) == (stats.worst_instructions, stats.worst_calls)
        assert isinstance(program["interpreter_ns"], float)
    exits, latency = costs["programs"]
    assert (exits["rbpf_ns"], exits["rbpf_target"], list(exits["refused"])) == (None, None, ["axvisor", "linux"])
    assert isinstance(latency["rbpf_ns"], float)
    assert (latency["rbpf_target"] == "axvisor") == ("axvisor" not in latency["refused"])


def test_the_table_of_costs_says_which_rbpf_it_is_and_why(cli: Any, same: tuple[ProgramStats, ProgramStats]) -> None:
    ran = cli("run", EXITS, LATENCY, *SHORT, "--cost")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Cost of each event: "))
    head = ["PROGRAM", "OBJECT", "INSNS", "WORST", "CALLS", "WORST", "INTERPRETER", "RBPF", "RBPF", "FOR"]
    assert lines[start + 1].split() == head
    rows = [line.split() for line in lines[start + 2 : start + 4]]
    for stats, file, row in zip(same, ("exits", "latency"), rows, strict=True):
        counts = (f"{stats.instructions_per_run:.1f}", f"{stats.worst_instructions}", f"{stats.calls_per_run:.1f}")
        assert row[:6] == ["on_exit", f"{file}.bpf.o", *counts, str(stats.worst_calls)]
    (exits, latency) = (row[6:] for row in rows)
    number = re.compile("-?[0-9]+")
    assert number.fullmatch(exits[0])
    assert exits[1:] == ["-", "-"]
    assert number.fullmatch(latency[0])
    assert number.fullmatch(latency[1])
    assert latency[2] == "linux"
    reasons = "\n".join(lines[start + 4 :])
    assert "  exits.bpf.o: on_exit: target axvisor refuses it: instruction 34: rbpf 0.4.1" in reasons
    assert "  exits.bpf.o: on_exit: so does rbpf on target linux\n" in reasons
    assert "  latency.bpf.o: on_exit: target axvisor refuses it: map LATENCY: AxVisor has no percpu_array" in reasons


def test_a_program_that_is_stopped_is_reported_by_the_run(cli: Any, tmp_path: Path) -> None:
    ran = cli("run", SLOW, *SHORT, "--cost", "--budget", "3")
    assert ran.code == 1
    assert "Cost of each event" not in ran.out
    assert "3 instructions" in ran.err
