"""`axebpf diff`: what it prints is what `Bench.compare` finds; its exit codes, its JSON, its misuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench
from axebpf.examples import example
from axebpf.recording import Recording

AXVISOR = Path(__file__).parent / "fixtures" / "axvisor"
STATS = AXVISOR / "stats.bpf.o"
GUEST = Path(__file__).parent / "data" / "recordings" / "guest.trace.txt"
EXITS, RUN_TIME = example("exits.bpf.o"), example("run_time.bpf.o")
SHORT = ("--on", "boot", "--vms", "1", "--seconds", "0.3", "--seed", "5")


def test_equal_is_exit_code_0(cli: Any) -> None:
    ran = cli("diff", STATS, *SHORT)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("boot: axvisor does the same as linux: ")
    assert cli("diff", EXITS, *SHORT, "--target", "linux", "--maps", "kbpf").code == 0


def test_a_difference_is_exit_code_1_and_shown_with_event_instruction_line_and_reason(cli: Any) -> None:
    bench = Bench(cpus=1, seed=5)
    found = bench.compare(bench.load(RUN_TIME), "boot", vms=1, duration_s=0.3, seed=5)
    ran = cli("diff", RUN_TIME, *SHORT)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == f"{found}\n"
    for part in (
        "vmm:vcpu_run_enter at ",
        "RUN_TIME[vm_id=1, vcpu_id=0]: linux (",
        "axvisor has none",
        "run_time.bpf.c:",
    ):
        assert part in ran.out
    assert "instead: write the program for TraceContext" in ran.out


def test_json_has_everything(cli: Any) -> None:
    ran = cli("diff", RUN_TIME, *SHORT, "--json")
    found = json.loads(ran.out)
    assert ran.code == 1
    assert (found["workload"]["name"], found["sides"], found["equal"]) == ("boot", ["linux", "axvisor"], False)
    first = found["first"]
    assert (first["program"], first["map"], first["key"]) == ("on_enter", "RUN_TIME", {"vm_id": 1, "vcpu_id": 0})
    assert (first["event"]["name"], first["event"]["fields"]) == ("vmm:vcpu_run_enter", {"vm_id": 1, "vcpu_id": 0})
    assert (first["values"][0]["runs"], first["values"][1]) == (0, None)
    assert first["source"]["file"].endswith("run_time.bpf.c")
    assert first["text"] == "call bpf_map_update_elem#2"
    assert (first["reason"]["gap"], first["reason"]["effect"]) == ("record of a tracepoint", "differs")
    assert "ctx->vm_id" in first["reason"]["source"]["text"]
    runs = found["programs"]["on_enter"]["runs"]
    assert runs[0] == runs[1] > 0
    assert found["maps"]["RUN_TIME"]["different"] == len(found["maps"]["RUN_TIME"]["keys"]) > 1
    assert (found["unread"], found["refused"]) == ([], {})


def test_what_one_target_refuses_is_exit_code_1_with_the_way_out(cli: Any) -> None:
    ran = cli("diff", EXITS, *SHORT)
    assert (ran.code, ran.err) == (1, "")
    for part in ("axvisor refuses it", "XADD instructions are not supported", "exits.bpf.c:", "instead: "):
        assert part in ran.out
    refused = json.loads(cli("diff", EXITS, *SHORT, "--json").out)["refused"]["axvisor"]
    assert refused["gap"] == "atomic operation"
    assert refused["reasons"][0]["source"]["file"].endswith("exits.bpf.c")


def test_a_recording_and_several_objects_are_taken(cli: Any) -> None:
    ran = cli("diff", STATS, RUN_TIME, "--on", GUEST, "--json")
    found = json.loads(ran.out)
    bench = Bench(cpus=Recording(GUEST).cpus())
    assert found["recording"]["file"] == str(GUEST)
    assert found["events"] == bench.replay(GUEST).events
    assert found["programs"]["stats"]["runs"] == found["programs"]["on_exit"]["runs"]
    assert (found["equal"], found["maps"]["STATS_MAP"]["entries"]) == (ran.code == 0, [1, 1])


def test_a_variable_that_is_set_is_refused_on_axvisor_and_counts_on_linux(cli: Any) -> None:
    variable = ("--set", "threshold_ns=100")
    assert "threshold_ns" in cli("diff", EXITS, *SHORT, *variable).out
    ran = cli("diff", EXITS, *SHORT, *variable, "--target", "linux", "--maps", "kbpf")
    assert ran.code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "Missing argument"),
        ((STATS, "--target", "axvisr"), 2, "did you mean axvisor"),
        ((STATS, "--maps", "own"), 2, "'own' is not one of auto, kbpf"),
        ((STATS, "--engine", "jit"), 2, "'jit' is not one of auto, rbpf"),
        ((STATS, "--on", "boott"), 1, "did you mean boot?"),
        ((STATS, "--target", "linux"), 1, "target linux is what the other side is compared with"),
        (("none.bpf.o",), 1, "none.bpf.o: cannot be read"),
        ((AXVISOR / "kprobe_noop.bpf.o",), 1, "no program is attached to a tracepoint"),
    ],
)
def test_misuse(cli: Any, arguments: tuple[Any, ...], code: int, text: str) -> None:
    ran = cli("diff", *arguments)
    assert ran.code == code
    assert text in " ".join(ran.err.replace("│", " ").split())


def test_ctrl_c_is_exit_code_130(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("axebpf.bench.feed.fire_chunk", interrupt)
    assert cli("diff", STATS, *SHORT).code == 130


def test_an_engine_alone_is_the_one_of_target_linux(cli: Any) -> None:
    # On AxVisor the program gets another context; its VM and its maps do the same as Linux's.
    for option in (("--engine", "rbpf"), ("--maps", "kbpf")):
        assert cli("diff", RUN_TIME, *SHORT, *option).code == 0, option
    assert cli("diff", RUN_TIME, *SHORT, "--target", "axvisor", "--engine", "rbpf").code == 1
