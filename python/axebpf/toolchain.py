"""The compiler of tracing programs: where it is on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["clangs", "compiles_for_bpf"]


def clangs() -> Iterator[str]:
    """Every clang: that of the variable CLANG; without it `clang`, and a distribution's numbered ones, newest first."""
    if named := os.environ.get("CLANG"):
        if found := shutil.which(named):
            yield found
        return
    if found := shutil.which("clang"):
        yield found
    numbered: dict[int, str] = {}
    for folder in os.get_exec_path():
        for path in Path(folder).glob("clang-*"):
            if number := re.fullmatch(r"clang-(\d+)", path.name):
                numbered.setdefault(int(number[1]), str(path))
    yield from (numbered[number] for number in sorted(numbered, reverse=True))


def compiles_for_bpf(compiler: str) -> bool:
    """Whether it does: Apple's does not."""
    try:
        ran = subprocess.run([compiler, "--print-targets"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return re.search(r"^\s*bpfel\s", ran.stdout, re.MULTILINE) is not None
