"""`axebpf replay`, and recordings behind `--on`: counts as in the text of the file, and what was passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from axebpf.examples import example

DATA = Path(__file__).parent / "data" / "recordings"
REAL = DATA / "kvm-trace.txt"
EXITS = example("exits.bpf.o")
TEXT = REAL.read_text()


def test_exit_counts_are_those_of_the_file(cli: Any) -> None:
    ran = cli("replay", REAL, EXITS, "--json", "--trace", 0)
    assert (ran.code, ran.err) == (0, "")
    shown = json.loads(ran.out)
    assert shown["by_tracepoint"]["vmm:vcpu_run_exit"] == TEXT.count("kvm_userspace_exit: ")
    counts = {entry["key"]["exit_reason"]: entry["value"]["count"] for entry in shown["maps"][0]["entries"]}
    assert sum(counts.values()) == TEXT.count("kvm_userspace_exit: ")
    assert shown["recording"]["unmapped"]["kvm_cpuid"] == TEXT.count("kvm_cpuid: ")


def test_it_says_what_it_read_and_what_it_passed_over(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "cut.txt"
    back = " a-1 [000] ..... 1.000000: vm_destroy: vm_id=1\n"
    file.write_text(f"{TEXT}CPU:0 [LOST 7 EVENTS]\n{back} guest-7197 [000] d..1. 18410.1")
    ran = cli("replay", file, EXITS)
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    line = file.read_text().count("\n") + 1
    assert f"1 line could not be read; the first is line {line}: guest-7197 [000] d..1. 18410.1" in lines
    assert "7 events lost by the recorder" in lines
    assert "1 event with a time before that of the one before on the same CPU" in lines
    passed = next(line for line in lines if "nothing here corresponds to" in line)
    assert f"kvm_emulate_insn {TEXT.count('kvm_emulate_insn: ')}" in passed


def test_without_an_object_it_shows_statistics(cli: Any) -> None:
    ran = cli("replay", REAL)
    rows = {line.split()[0]: line.split() for line in ran.out.splitlines() if line.startswith("vmm:")}
    assert rows["vmm:vcpu_run_exit"][1] == str(TEXT.count("kvm_userspace_exit: "))


@pytest.mark.parametrize("command", ["run", "stat", "trace"])
def test_a_recording_may_stand_where_a_workload_may(cli: Any, command: str) -> None:
    arguments = [EXITS] if command == "run" else []
    ran = cli(command, *arguments, "--on", REAL)
    assert (ran.code, ran.err) == (0, "")
    if command == "trace":
        assert ran.out.count(": vcpu_run_exit: ") == TEXT.count("kvm_userspace_exit: ")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["replay", DATA / "none.txt"], 1, "none.txt: cannot be read: No such file or directory"),
        (["replay", EXITS], 1, "neither ftrace text nor CSV"),
        (["stat", "--on", "traces.txt"], 1, "traces.txt: cannot be read: No such file or directory"),
        (["stat", "--on", REAL, "--vms", "2"], 1, "a recording has no parameter vms"),
        (["replay"], 2, "Missing argument 'FILE'"),
    ],
)
def test_what_cannot_be_replayed(cli: Any, arguments: list[Any], code: int, text: str) -> None:
    ran = cli(*arguments)
    assert ran.code == code
    assert text in ran.err
