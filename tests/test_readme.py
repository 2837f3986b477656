"""Every Python block of the README runs, one after the other, and says what its comments claim."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


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
