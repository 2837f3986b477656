"""The workload that a command is told to run: one of axebpf's by its name, or one of your own from a Python file."""

from __future__ import annotations

import ast
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from axebpf.cli.assignment import split
from axebpf.errors import HypervisorError, did_you_mean
from axebpf.hypervisor import WORKLOADS, Workload

__all__ = ["HELP", "find_workload", "parameter"]

HELP = (
    f"What the hypervisor does: {', '.join(WORKLOADS)}; one of your own, FILE.py or FILE.py:NAME; "
    "or the file of a recording."
)


def find_workload(text: str) -> str | Workload:
    """A name as it is, or the workload that a Python file defines. Raises HypervisorError where there is none."""
    file, colon, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    if not file.endswith(".py"):
        return text
    if not Path(file).is_file():
        raise HypervisorError(f"{file}: no such file", workload=text)
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))  # noqa: PTH100, PTH120 (what Python does for a script)
    found = {made.name: made for made in runpy.run_path(file).values() if isinstance(made, Workload)}
    if name in found:
        return found[name]
    if not found:
        raise HypervisorError(
            f"{file} defines no workload; axebpf.hypervisor.define makes a function one", workload=text
        )
    if colon:
        near = did_you_mean(name, found) or f"; it has {', '.join(found)}"
        raise HypervisorError(f"{file} has no workload {name}{near}", workload=text)
    if len(found) > 1:
        raise HypervisorError(f"{file} has {', '.join(found)}; say which as {file}:{next(iter(found))}", workload=text)
    return next(iter(found.values()))


def parameter(text: str) -> tuple[str, Any]:
    """`rate=5000`, `reason=forced`: a number, or a text as it is; raises BadParameter."""
    name, value = split(text, option="--param", example="rate=5000")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
