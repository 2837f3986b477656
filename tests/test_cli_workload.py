"""`--on` and `--param`: every workload by its name, and workloads of one's own out of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from axebpf.examples import example
from axebpf.hypervisor import WORKLOADS

EXITS = example("exits.bpf.o")
MINE = '''
from beside import SIZE
from axebpf.hypervisor import Events, define

@define()
def few_exits(count: int = 3):
    """A few exits."""
    yield Events("vmm:vcpu_run_exit", time_ns=range(count), vm_id=1, vcpu_id=0, exit_reason=0, duration_ns=SIZE)
'''
ANOTHER = """
@define(cpus=2)
def other_exits():
    yield Events("vmm:vcpu_run_exit", time_ns=7, cpu=1, vm_id=2, vcpu_id=0, exit_reason=0, duration_ns=SIZE)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside.py").write_text("SIZE = 5\n")
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "both.py").write_text(MINE + ANOTHER)
    (tmp_path / "none.py").write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_runs_by_its_name(cli: Any, name: str) -> None:
    ran = cli("run", EXITS, "--on", name, "--seconds", "0.1", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert (found["workload"]["name"], found["workload"]["parameters"]["duration_s"]) == (name, 0.1)
    assert found["events"] > 100


def test_the_help_names_every_workload(cli: Any) -> None:
    out = " ".join(cli("run", "--help").out.replace("│", " ").split())
    assert all(name in out for name in WORKLOADS)


def test_parameters_that_only_some_have(cli: Any) -> None:
    def events(rate: int) -> int:
        arguments = ("--on", "irq-storm", "--seconds", "0.3", "--param", f"rate={rate}", "--json")
        return int(json.loads(cli("run", EXITS, *arguments).out)["by_tracepoint"]["vmm:irq_handle"])

    assert events(20_000) > 3 * events(5_000)
    ran = cli("run", EXITS, "--on", "shutdown", "--param", "reason=forced", "--json")
    assert json.loads(ran.out)["workload"]["parameters"]["reason"] == "forced"


def test_a_workload_of_ones_own(cli: Any, mine: Path) -> None:
    ran = cli("run", EXITS, "--on", mine / "mine.py", "--param", "count=40", "--json")
    found = json.loads(ran.out)
    assert found["workload"] == {"name": "few-exits", "parameters": {"count": 40}}
    assert found["by_tracepoint"] == {"vmm:vcpu_run_exit": 40}
    ran = cli("run", EXITS, "--on", f"{mine / 'both.py'}:other-exits", "--json")
    assert json.loads(ran.out)["by_tracepoint"] == {"vmm:vcpu_run_exit": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--on", "irq-stor"], 1, "no workload irq-stor; did you mean irq-storm?"),
        (["--on", "steady", "--param", "rate=5"], 1, "steady has no parameter rate"),
        (["--on", "shutdown", "--param", "reason=force"], 1, "did you mean forced?"),
        (["--param", "rate"], 2, "'rate' is not NAME=VALUE, as in rate=5000"),
        (["--on", "absent.py"], 1, "absent.py: no such file"),
        (["--on", "none.py"], 1, "none.py defines no workload"),
        (["--on", "both.py"], 1, "both.py has few-exits, other-exits; say which as both.py:few-exits"),
        (["--on", "both.py:few-exit"], 1, "both.py has no workload few-exit; did you mean few-exits?"),
        (["--on", "mine.py:"], 1, "mine.py has no workload"),
        (["--on", "mine.py", "--vms", "2"], 1, "few-exits has no parameter vms; it has count"),
        (["--on", "mine.py", "--seed", "2"], 1, "few-exits has no parameter seed; it has count"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused(
    cli: Any, mine: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, text: str
) -> None:
    monkeypatch.chdir(mine)
    ran = cli("run", EXITS, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert text in " ".join(ran.err.replace("│", " ").split())
