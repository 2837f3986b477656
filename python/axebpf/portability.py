r"""What becomes of a program on each target, and the table of what AxVisor does otherwise than Linux.

`Program.portability` has a report a target, whatever the target of its bench is; `axebpf check` prints them for files.

A verdict is

- `runs`: it is loaded there, and nothing in it is known to come to something else than on Linux;
- `differs`: it is loaded and comes, or may come, to something else, or is stopped;
- `refused`: it is not loaded;
- `unknown`: this cannot be said. Of Linux only what it refuses is known, because there is no verifier yet.

What is found may be more than what a run meets: where it depends on data which way a program goes, all ways count.

>>> from axebpf import Bench, assemble
>>> program = Bench().load_bytes(assemble("r1 = 0x1280\nr0 = (s8)r1\nexit"))
>>> report = program.portability["axvisor"]
>>> report.verdict
'differs'
>>> print(report.findings[0])
instruction 1: movsx (-mcpu=v4): Linux: extends the sign of 8, 16 or 32 bits; AxVisor: moves the register as it is;
instead: compile with -mcpu=v3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from axebpf import _native
from axebpf.errors import SourceLine
from axebpf.source_lines import SourceLines

__all__ = ["GAPS", "Finding", "Gap", "Portability", "gap_tables", "report"]


class Gap(NamedTuple):
    """Something that AxVisor does otherwise than Linux."""

    name: str
    """What findings call it by."""
    part: str
    """What of AxVisor it is in: `vm`, `maps`, `helpers`, `loader` or `context`."""
    effect: str
    """What becomes of a program that meets it: `refused` or `differs`."""
    what: str
    """The instruction, call or access."""
    linux: str
    """What Linux does."""
    axvisor: str
    """What AxVisor does."""
    instead: str
    """What a program can do instead; empty where there is nothing."""
    version: str
    """The version that has it."""


GAPS = tuple(Gap(*row) for row in _native.gaps())
"""The known gaps; empty where this build has no target axvisor."""


def gap_tables() -> Mapping[str, str]:
    r"""The gaps as Markdown, a table for each part of AxVisor.

    >>> print(gap_tables()["context"].partition("\n")[0])
    | what | Linux | AxVisor | instead | of |
    """
    tables: dict[str, list[str]] = {}
    for gap in GAPS:
        head = ["| what | Linux | AxVisor | instead | of |", "| --- | --- | --- | --- | --- |"]
        cells = (gap.what, gap.linux, gap.axvisor, gap.instead or "-", gap.version)
        row = " | ".join(cell.replace("|", "\\|") for cell in cells)
        tables.setdefault(gap.part, head).append(f"| {row} |")
    return {part: "\n".join(rows) for part, rows in tables.items()}


class Finding(NamedTuple):
    """One reason why a program does not simply run on a target."""

    gap: str | None
    """The row of `GAPS` that it is about, by its name."""
    effect: str
    """What becomes of the program: `refused`, `differs` or `unknown`."""
    insn: int | None
    """Slot of the instruction; None where it is about the program or a map as a whole."""
    line: SourceLine | None
    """The source line of the instruction; None where the object has no lines."""
    what: str
    """The instruction, call, access or map."""
    reason: str
    """What the target does with it."""
    instead: str
    """What can be done instead; empty where there is nothing."""

    def __str__(self) -> str:
        place = "" if self.insn is None else f"instruction {self.insn}: "
        if self.line is not None:
            place = f"{self.line}, {place}"
        return f"{place}{self.what}: {self.reason}{f'; instead: {self.instead}' if self.instead else ''}"


class Portability(NamedTuple):
    """What becomes of a program on a target."""

    verdict: str
    """`runs`, `differs`, `refused` or `unknown`."""
    findings: tuple[Finding, ...]
    """Why, in the order of the instructions; those about maps are behind them. None where it simply runs."""

    def __str__(self) -> str:
        return "\n  ".join([self.verdict, *map(str, self.findings)])


_Line = tuple[int, str, int, int, str]
_Row = tuple[str | None, str, int | None, str, str, str]


def report(native: tuple[str, Sequence[_Row]], lines: Sequence[_Line]) -> Portability:
    """A report as the core gives it, with the source lines of the program."""
    source = SourceLines(lines)

    def finding(row: _Row) -> Finding:
        gap, effect, insn, what, reason, instead = row
        return Finding(gap, effect, insn, None if insn is None else source.at(insn), what, reason, instead)

    verdict, found = native
    return Portability(verdict, tuple(map(finding, found)))
