"""`axebpf doctor` and completion: what is said of this machine is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMPLETE = [sys.executable, "-c", "import sys; from axebpf.cli import main; sys.exit(main())"]


def findings(cli: Any) -> dict[str, Any]:
    return {finding["name"]: finding for finding in json.loads(cli("doctor", "--json").out)}


def test_everything_that_axebpf_needs_is_here(cli: Any) -> None:
    assert cli("doctor").code == 0
    needed = {name for name, finding in findings(cli).items() if finding["needed"]}
    assert needed == {"Python", "core", "numpy", "rich"}


def test_what_it_finds_is_there(cli: Any) -> None:
    found = findings(cli)
    assert found["KVM"]["found"] == os.access("/dev/kvm", os.R_OK | os.W_OK)
    assert found["linux/bpf.h"]["found"] == Path("/usr/include/linux/bpf.h").is_file()
    assert found["target axvisor"]["found"]
    import numpy as np

    assert found["numpy"]["detail"] == np.__version__


def test_what_is_missing_comes_with_a_command_to_get_it(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CLANG", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = findings(cli)
    missing = {name: found[name]["remedy"] for name in ("clang", "trace-cmd", "pyarrow")}
    assert missing == {
        "clang": "apt install clang",
        "trace-cmd": "apt install trace-cmd",
        "pyarrow": "pip install 'axebpf[arrow]'",
    }
    assert not any(found[name]["found"] for name in missing)
    ran = cli("doctor")
    assert ran.code == 0  # axebpf itself works without them
    assert "not found; CLANG may name one" in ran.out


def test_a_clang_that_is_named_and_not_there_is_missing(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLANG", "/nowhere/clang")
    found = findings(cli)["clang"]
    assert (found["found"], found["detail"]) == (False, "CLANG is /nowhere/clang, which is not there")


def test_without_a_package_that_it_needs_the_exit_code_is_1(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    ran = cli("doctor")
    assert ran.code == 1
    assert any(line.startswith("missing  numpy") for line in ran.out.splitlines())


def test_a_clang_without_the_bpf_target_is_not_enough(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clang = tmp_path / "clang"
    clang.write_text("#!/bin/sh\necho '  x86-64 - 64-bit X86'\n")
    clang.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CLANG", raising=False)
    assert findings(cli)["clang"]["detail"] == f"{clang} has no BPF target"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("axebpf format vmm:vm_b", ["vmm:vm_boot"]),
        ("axebpf list shell_", ["shell_init", "shell_command"]),
        ("axebpf run x.o --on bo", ["boot"]),
        ("axebpf doc", ["doctor"]),
    ],
)
def test_a_shell_completes_commands_tracepoints_and_workloads(words: str, offered: list[str]) -> None:
    environment = {
        **os.environ,
        "_AXEBPF_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    ran = subprocess.run(COMPLETE, env=environment, capture_output=True, text=True, check=False)
    assert sorted(ran.stdout.split()) == sorted(offered)
