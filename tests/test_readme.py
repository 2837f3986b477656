"""Every Python block of the README runs, one after the other, and says what its comments claim."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from axebpf.tracepoints import BUILTIN, header

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_program_of_ones_own_and_its_test(tmp_path: Path, clang: str) -> None:
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("libbpf's headers are not installed")
    text = README.read_text()
    source, test = (re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0] for kind in ("c", "py"))
    (tmp_path / "calls.bpf.c").write_text(source)
    (tmp_path / "vmm.h").write_text(header(BUILTIN))
    (tmp_path / "test_calls.py").write_text(test)
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    command = [
        clang,
        "-O2",
        "-g",
        "-Wall",
        "-Werror",
        "-target",
        "bpf",
        headers,
        "-c",
        "calls.bpf.c",
        "-o",
        "calls.bpf.o",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    ran = subprocess.run([sys.executable, "-m", "pytest", "-q", "test_calls.py"], cwd=tmp_path, check=False)
    assert ran.returncode == 0


def test_the_tour_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    assert len(blocks()) >= 7
    for number, block in enumerate(blocks()):
        exec(compile(block, f"README.md, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "vcpu_run_exit: vm_id=1 vcpu_id=0 exit_reason=0 duration_ns=1200" in printed
    assert "vmm:vcpu_run_exit: vm_id is u32 and takes 0 to 4294967295, not -1" in printed
    assert "did you mean vmm:vcpu_run_exit?" in printed
    assert "struct vmm_vm_pause" in printed
