"""Warns of programs that target axvisor runs otherwise than Linux."""

from __future__ import annotations

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
            stacklevel=3,
        )
