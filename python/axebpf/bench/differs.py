"""Warns of programs that target axvisor runs otherwise than Linux."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from axebpf.bench.program import Program
from axebpf.errors import PortabilityWarning

__all__ = ["warn"]


def warn(programs: Iterable[Program]) -> None:
    """One PortabilityWarning for each of them, on behalf of whoever called `Bench.load`."""
    for program in programs:
        report = program._portability("axvisor")
        if report.verdict != "differs":
            continue
        first, *others = [finding for finding in report.findings if finding.effect == "differs"]
        more = f"; and {len(others)} more" if others else ""
        warnings.warn(
            f"{program.name} comes to something else on AxVisor than on Linux, or may: {first}{more} "
            '(program.portability["axvisor"] has all)',
            PortabilityWarning,
            stacklevel=_caller(),
        )


def _caller() -> int:
    """The `stacklevel` of the first frame that is none of axebpf's: whoever loads, through the pytest plugin too."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "axebpf":
        level, frame = level + 1, frame.f_back
    return level
