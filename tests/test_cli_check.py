"""`axebpf check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench
from axebpf.bench import TARGETS
from axebpf.examples import example

FIXTURES = Path(__file__).parent / "fixtures" / "axvisor"

KEYS = [
    *("file", "section", "program", "verdict", "rule", "insn", "source", "message"),
    *("insns_processed", "time_us", "portability"),
]

OWN_SECTION = """
SEC("whatever") int of_no_type(void *ctx) { return 0; }
extern int not_there(void) __ksym;
SEC("tracepoint/vmm/vm_boot") int unlinked(void *ctx) { return not_there(); }
SEC("tracepoint/vmm/vm_boot") int plain(void *ctx) { return 0; }
"""


def objects(ran: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.out.splitlines()]


def test_a_refused_program_has_a_line_for_each_reason(cli: Any) -> None:
    ran = cli("check", "--target", "axvisor", example("exits.bpf.o"))
    assert (ran.code, ran.err) == (1, "")
    first, *others = ran.out.splitlines()
    findings = Bench().load(example("exits.bpf.o"))["on_exit"].portability["axvisor"].findings
    refused = [finding for finding in findings if finding.effect == "refused"]
    # What it is refused for comes first, in full.
    also = f" (also at instruction {refused[1].insn})"
    assert first == f"{example('exits.bpf.o')}: on_exit: axvisor: refused: {refused[0]}{also}"
    for part in ("./exits.bpf.c:", "atomic operations", "instead: use a key of its own for each CPU"):
        assert part in first
    # The other reasons stand behind it, each with all its instructions.
    assert {line[: line.index(": ", 12)] for line in others} == {"  axvisor: differs"}
    assert len(others) == len({finding.gap for finding in findings if finding.effect == "differs"}) == 3
    told = "\n".join(others)
    assert all(str(finding.insn) in told for finding in findings if finding.effect == "differs")


def test_each_map_that_is_refused_has_a_line(cli: Any) -> None:
    ran = cli("check", "--target", "axvisor", example("task_switches.bpf.o"))
    lines = [line for line in ran.out.splitlines() if ": map " in line]
    assert [line.split(": refused: ")[1].split(":")[0] for line in lines] == ["map RUNNING", "map ON_CPU_NS"]


def test_a_program_that_runs_is_one_line(cli: Any) -> None:
    stats = FIXTURES / "stats.bpf.o"
    assert cli("check", "--target", "axvisor", stats) == (0, f"{stats}: stats: axvisor: runs\n", "")


def test_all_targets_count_unless_one_is_chosen(cli: Any) -> None:
    stats = FIXTURES / "stats.bpf.o"
    ran = cli("check", stats)
    assert ran.code == 1
    assert ran.out.startswith(
        f"{stats}: stats: linux: refused: the program's type: Linux has no programs of type axvisor"
    )
    assert ran.out.splitlines()[1:] == [f"{stats}: stats: axvisor: runs"]
    linux = cli("check", "--target", "linux", example("exits.bpf.o"))
    assert linux.code == 0
    assert linux.out.startswith(f"{example('exits.bpf.o')}: on_exit: linux: unknown: the program: no verifier yet")


def test_json_is_an_object_a_program(cli: Any) -> None:
    ran = cli("check", "--json", example("exits.bpf.o"), FIXTURES / "stats.bpf.o")
    assert ran.code == 1
    refused, other = objects(ran)
    assert list(refused) == list(other) == KEYS
    assert (refused["program"], refused["section"]) == ("on_exit", "tracepoint/vmm/vcpu_run_exit")
    assert (refused["verdict"], refused["rule"], refused["insns_processed"]) == ("reject", "atomic operation", None)
    assert Path(refused["source"]["file"]).name == "exits.bpf.c"
    assert "__sync_fetch_and_add" in refused["source"]["text"]
    assert refused["message"].startswith("atomic operations")
    assert list(refused["portability"]) == list(TARGETS)
    first = next(f for f in refused["portability"]["axvisor"]["findings"] if f["effect"] == "refused")
    assert (first["gap"], first["insn"], first["source"]) == (refused["rule"], refused["insn"], refused["source"])
    assert refused["portability"]["linux"]["verdict"] == "unknown"
    assert other["portability"]["axvisor"] == {"verdict": "runs", "findings": []}


def test_an_accepted_program_has_no_message(cli: Any) -> None:
    ran = cli("check", "--json", "--target", "axvisor", FIXTURES / "stats.bpf.o")
    (found,) = objects(ran)
    assert ran.code == 0
    assert found["verdict"] == "accept"
    assert [found[name] for name in ("rule", "insn", "source", "message")] == [None] * 4


def test_what_differs_is_accepted_unless_strict(cli: Any, compile_bpf: Callable[..., Path]) -> None:
    differs = compile_bpf("reads", 'SEC("tracepoint/vmm/vm_boot") int reads(int *ctx) { return ctx[2]; }')
    ran = cli("check", "--target", "axvisor", differs)
    assert ran.code == 0
    assert ran.out.startswith(f"{differs}: reads: axvisor: differs: ")
    assert "reads.bpf.c:4:" in ran.out
    ran = cli("check", "--target", "axvisor", "--strict", "--json", differs)
    assert ran.code == 1
    assert (objects(ran)[0]["verdict"], objects(ran)[0]["rule"]) == ("reject", "record of a tracepoint")


def test_a_file_that_cannot_be_read_is_a_line_and_the_others_go_on(cli: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.bpf.o"
    text.write_text("no object")
    stats = FIXTURES / "stats.bpf.o"
    ran = cli("check", "--target", "axvisor", "nowhere.bpf.o", text, stats)
    assert (ran.code, ran.err) == (1, "")
    first, second, third = ran.out.splitlines()
    assert first == "nowhere.bpf.o: error: cannot be read: No such file or directory"
    assert second.startswith(f"{text}: error: not an ELF object")
    assert third == f"{stats}: stats: axvisor: runs"
    (found, *_) = objects(cli("check", "--json", "nowhere.bpf.o"))
    assert list(found) == KEYS
    assert (found["verdict"], found["message"]) == ("error", "cannot be read: No such file or directory")


def test_programs_that_no_bench_loads_have_a_line(cli: Any, compile_bpf: Callable[..., Path]) -> None:
    ran = cli("check", "--json", compile_bpf("own_section", OWN_SECTION))
    assert ran.code == 1
    found = {entry["program"]: entry for entry in objects(ran)}
    assert found["unlinked"]["verdict"] == "error"
    assert "not_there" in found["unlinked"]["message"]
    assert found["unlinked"]["portability"] == {}
    assert found["of_no_type"]["verdict"] == "reject"
    assert "names no type of program" in found["of_no_type"]["message"]
    assert found["of_no_type"]["portability"]["axvisor"]["verdict"] == "runs"
    assert found["plain"]["verdict"] == "accept"


@pytest.mark.parametrize("arguments", [[], ["--target", "kvm", "a.bpf.o"]], ids=" ".join)
def test_usage_errors_are_exit_2(cli: Any, arguments: list[str]) -> None:
    assert cli("check", *arguments).code == 2
