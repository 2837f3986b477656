"""Warns of programs that target axvisor runs otherwise than Linux."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from axebpf.errors import PortabilityWarning

if TYPE_CHECKING:
    from axebpf.bench.program import Program
    from axebpf.portability import Finding

__all__ = ["differing", "warn"]


def differing(programs: Iterable[Program]) -> Iterator[tuple[str, Finding, int]]:
    """Of each that does: a sentence that says so, the first reason, and how many more there are."""
    for program in programs:
        report = program._portability("axvisor")
        found = [finding for finding in report.findings if finding.effect == "differs"]
        if report.verdict == "differs":
            said = f"{program.name} comes to something else on AxVisor than on Linux, or may"
            yield said, found[0], len(found) - 1


def warn(programs: Iterable[Program]) -> None:
    """One PortabilityWarning for each of them, on behalf of whoever called `Bench.load`."""
    for said, first, others in differing(programs):
        more = f"; and {others} more" if others else ""
        warnings.warn(
            f'{said}: {first}{more} (program.portability["axvisor"] has all)',
            PortabilityWarning,
            stacklevel=_caller(),
        )


def _caller() -> int:
    """The `stacklevel` of the first frame that is none of axebpf's: whoever loads, through the pytest plugin too."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "axebpf":
        level, frame = level + 1, frame.f_back
    return level
