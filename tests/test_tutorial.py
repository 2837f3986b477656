"""Everything in the tutorial is done as it says, from top to bottom, in an empty folder.

Blocks with a title are files. `console` blocks are commands, each with what it prints: `...` stands for anything, on a
line or as one. `sh` blocks make the environment that the tests run in.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent


class Block(NamedTuple):
    """A fenced block."""

    kind: str
    title: str
    text: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    for found in re.finditer(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2] or "", found[3], text[: found.start()].count("\n") + 1)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what it is said to print."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, said = part.partition("\n")
        yield command, said


def pattern(said: str) -> str:
    """A regular expression for what is said to be printed; blanks are as wide as they like."""
    lines = []
    for line in said.splitlines():
        text = r"\s+".join(re.escape(word) for word in line.split()).replace(r"\.\.\.", ".*")
        lines.append(r"(?:.*\n)*?" if line == "..." else rf"\s*{text}\s*\n")
    return "".join(lines)


def test_the_tutorial(tmp_path: Path, clang: str) -> None:
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("libbpf's headers are not installed")
    environment = {
        **os.environ,
        "CLANG": clang,
        "COLUMNS": "100",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "python"),
        # The plugin alone, as in a new environment, whether this one has it installed or not.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p pytest_axebpf",
    }
    done = []
    for block in blocks((ROOT / "docs" / "tutorial.md").read_text()):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
        elif block.kind == "console":
            for command, said in commands(block.text):
                ran = subprocess.run(
                    ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                printed = ran.stdout + ran.stderr
                place = f"docs/tutorial.md:{block.line}: $ {command}\n{printed}"
                assert re.fullmatch(pattern(said), printed), place
                done.append(command)
        else:
            assert block.kind == "sh"
    assert done.count("pytest -q") == 3
