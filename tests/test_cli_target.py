"""`--target`, `--engine` and `--maps` of the commands that run programs: what they show is what such a bench gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, PortabilityWarning
from axebpf.bench import ENGINES, MAP_LIBRARIES, TARGETS
from axebpf.errors import LoadError
from axebpf.examples import example

AXVISOR = Path(__file__).parent / "fixtures" / "axvisor"
STATS = AXVISOR / "stats.bpf.o"
GUEST = Path(__file__).parent / "data" / "recordings" / "guest.trace.txt"
EXITS, RUN_TIME = example("exits.bpf.o"), example("run_time.bpf.o")
SHORT = ("--seconds", "0.5", "--seed", "5")
TERMINAL = re.compile(r"\x1b\[[0-9;]*m")


def exits_on_axvisor() -> Bench:
    """The bench on which `stats.bpf.o` waits for exits."""
    bench = Bench(target="axvisor", cpus=2, seed=5)
    bench.load(STATS).attach()
    bench.enable("vmm:vcpu_run_exit")
    return bench


@pytest.mark.parametrize(("option", "words"), [("target", TARGETS), ("maps", ("auto", *MAP_LIBRARIES))])
def test_the_words_are_those_that_a_bench_takes(option: str, words: tuple[str, ...]) -> None:
    with pytest.raises(LoadError, match=f"it may be {', '.join(words)}$"):
        Bench(**{option: "none of them"})
    for word in words:
        Bench(**{option: word}).close()


def test_run_on_axvisor_is_that_bench_s_run(cli: Any) -> None:
    bench = exits_on_axvisor()
    bench.run("boot", seed=5, duration_s=0.5)
    found = json.loads(cli("run", STATS, *SHORT, "--target", "axvisor", "--json").out)
    assert found["bench"] == {"target": "axvisor", "engine": "rbpf", "maps": "kbpf"}
    (row,) = found["maps"][0]["entries"]
    assert {row["key"]: tuple(row["value"].values())} == bench.maps["STATS_MAP"].to_dict()
    assert found["trace"]["lines"] == bench.trace.text().splitlines()[-10:]
    assert "vcpu_run_exit(vm_id=" in found["trace"]["lines"][-1]


def test_threads_change_neither_events_nor_trace(cli: Any) -> None:
    for command in (("run", EXITS, *SHORT), ("replay", GUEST, EXITS)):
        one, two = (json.loads(cli(*command, "--json", "--threads", count).out) for count in (1, 2))
        assert one["events"] > 0
        for what in ("by_tracepoint", "latency", "trace"):
            assert two[what] == one[what]
        assert two["programs"][0]["runs"] == one["programs"][0]["runs"]
    assert cli("trace", *SHORT, "--threads", 2).out == cli("trace", *SHORT).out != ""


def test_threads_that_the_target_cannot_have_are_refused(cli: Any) -> None:
    on_axvisor = ("--target", "axvisor", "--threads", 2)
    for command in (("run", STATS, *SHORT), ("replay", GUEST, STATS), ("trace", *SHORT, "--load", STATS)):
        ran = cli(*command, *on_axvisor)
        assert ran.code == 1
        assert ran.err.endswith("fire it with threads=1\n")


def test_run_says_on_what_programs_ran_where_that_is_axvisor_s(cli: Any) -> None:
    assert "\nPrograms\n" in cli("run", STATS, *SHORT).out
    for chosen, said in (
        (("--target", "axvisor"), "target axvisor, engine rbpf, maps kbpf"),
        (("--engine", "rbpf"), "target linux, engine rbpf, maps own"),
        (("--maps", "kbpf"), "target linux, engine interpreter, maps kbpf"),
    ):
        assert f"\nPrograms: {said}\n" in cli("run", STATS, *SHORT, *chosen).out


def test_instructions_that_rbpf_does_not_count_are_no_zero(cli: Any) -> None:
    (row,) = re.findall(r"^stats +stats\.bpf\.o .*$", cli("run", STATS, *SHORT, "--engine", "rbpf").out, re.MULTILINE)
    assert row.split()[3:] == [
        str(Bench(cpus=2).run("boot", seed=5, duration_s=0.5).by_tracepoint[row.split()[2]]),
        *"--00",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_the_trace_of_axvisor_is_a_table_on_a_terminal(cli: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", str(width))):
        monkeypatch.setenv(name, value)
    shown = {
        target: TERMINAL.sub("", cli("run", STATS, *SHORT, "--target", target).out).rpartition("\nTrace")[2].split()
        for target in TARGETS
    }
    events = [word for word in shown["axvisor"] if re.fullmatch(r"(vm_id|vcpu_id|exit_reason|duration_ns)=\d+", word)]
    assert len(events) == 10 * 4
    assert [word for word in shown["linux"] if "=" in word] == events


@pytest.mark.parametrize("chosen", [("--engine", "rbpf"), ("--maps", "kbpf"), ("--engine", "rbpf", "--maps", "kbpf")])
def test_vm_and_maps_of_axvisor_alone_leave_a_program_of_linux_as_it_is(cli: Any, chosen: tuple[str, ...]) -> None:
    plain, other = (json.loads(cli("run", RUN_TIME, *SHORT, *given, "--json").out)["maps"] for given in ((), chosen))
    assert plain == other
    assert plain[0]["entries"]


def test_replay_on_axvisor_is_that_bench_s_replay(cli: Any) -> None:
    bench = exits_on_axvisor()
    bench.replay(GUEST)
    found = json.loads(cli("replay", GUEST, STATS, "--target", "axvisor", "--json").out)
    (row,) = found["maps"][0]["entries"]
    assert {row["key"]: tuple(row["value"].values())} == bench.maps["STATS_MAP"].to_dict()
    assert found["trace"]["lines"] == bench.trace.text().splitlines()[-10:]
    assert json.loads(cli("replay", GUEST, STATS, "--json").out)["bench"]["target"] == "linux"


def test_trace_runs_what_it_loads_on_the_target(cli: Any) -> None:
    load = ("--load", EXITS)
    assert cli("trace", "vm_boot", *SHORT, *load).out.count("vm_boot: ") == 2
    refused = cli("trace", "vm_boot", *SHORT, *load, "--target", "axvisor")
    assert (refused.code, refused.out) == (1, "")
    assert "rbpf 0.4.1, AxVisor's VM, refuses it" in refused.err
    with_stats = cli("trace", "vm_boot", *SHORT, "--load", STATS, "--target", "axvisor")
    assert (with_stats.code, with_stats.out.count("vm_boot(vm_id=")) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((EXITS, "--target", "axvisor"), 1, f"axebpf: {EXITS}, section tracepoint/vmm/vcpu_run_exit: on_exit: instr"),
        ((EXITS, "--engine", "rbpf"), 1, "exits.bpf.c:49: __sync_fetch_and_add"),
        (
            (STATS, example("latency.bpf.o"), "--maps", "kbpf"),
            1,
            f"axebpf: {example('latency.bpf.o')}: map LATENCY: AxVisor has no percpu_array maps; its loader takes",
        ),
        ((RUN_TIME, "--target", "axvisor", "--engine", "interpreter"), 1, "engine rbpf over the maps kbpf, not interp"),
        (
            (example("slow_exits.bpf.o"), "--target", "axvisor", "--set", "threshold_ns=1"),
            1,
            "the variable threshold_ns: AxVisor's loader drops what global variables hold",
        ),
        (
            (EXITS, "--target", "axvisr"),
            2,
            "for --target: 'axvisr' is not one of linux, axvisor; did you mean axvisor?",
        ),
        ((EXITS, "--engine", "rbfp"), 2, f"is not one of auto, {', '.join(ENGINES)}; did you mean rbpf?"),
        ((EXITS, "--maps", "own"), 2, "'own' is not one of auto, kbpf"),
    ],
    ids=lambda value: " ".join(map(str, value[1:])) if isinstance(value, tuple) else "",
)
def test_what_cannot_be(cli: Any, arguments: tuple[object, ...], code: int, text: str) -> None:
    ran = cli("run", *arguments)
    assert (ran.code, ran.out) == (code, "")
    # Misuse comes in a box.
    assert text in (ran.err if code == 1 else " ".join(re.sub(r"[│╭╮╰╯─]", " ", ran.err).split()))


def test_what_differs_on_axvisor_is_said_on_standard_error_and_the_rest_runs(cli: Any) -> None:
    with pytest.warns(PortabilityWarning):
        reports = {
            name: program.portability["axvisor"].findings
            for name, program in Bench(target="axvisor").load(RUN_TIME).items()
        }
    ran = cli("run", RUN_TIME, *SHORT, "--target", "axvisor", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["programs"][0]["runs"] > 0
    assert ran.err.splitlines() == [
        line
        for name, findings in reports.items()
        for line in (
            f"axebpf: {RUN_TIME}: {name} comes to something else on AxVisor than on Linux, or may:",
            f"  {findings[0]}",
            f"  {len(findings) - 1} more; axebpf check --target axvisor has all",
        )
    ]
    assert cli("run", STATS, *SHORT, "--target", "axvisor").err == ""
