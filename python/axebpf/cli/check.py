"""`axebpf check`: what becomes of programs on each target, without running them."""

from __future__ import annotations

import operator
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.text import Text

from axebpf.bench import TARGETS
from axebpf.cli.console import Screen
from axebpf.cli.objects import read_object
from axebpf.cli.options import one_of
from axebpf.errors import LoadError, SourceLine
from axebpf.portability import Finding, Portability, report

__all__ = ["EXIT_CODES", "HELP", "check", "finding_json", "line_json"]

HELP = """Say what becomes of the programs of object files on each target: runs, differs, refused or unknown, and \
why.

Nothing is loaded or run. Each program has a line for each target: file, program, target, verdict, and the gravest \
reason: source line, instruction, what it is about, what the target does with it, and what can be done instead. \
Further reasons follow, a line each. Of Linux only what it is known to refuse is said, because there is no verifier \
yet.

With --json, each program is one object, on a line of its own: file, section, program; verdict, which is accept, \
reject (a chosen target refuses it) or error (it cannot be read or linked); rule (the row of the table of gaps, if \
it is about one), insn, source (file, line, column, text) and message of the gravest reason why it is not accepted; \
insns_processed, which is null as long as there is no verifier; time_us; and portability, by target: verdict and \
findings (gap, effect, insn, source, what, reason, instead).
"""

EXIT_CODES = (
    "Exit codes: 0 done, every program is accepted; 1 one is refused or cannot be read; 2 usage; 130 ended with Ctrl-C."
)

_ALL = "all"
"""The word for every target."""

_STYLES = {"runs": "green", "differs": "yellow", "refused": "red", "error": "bold red"}


@dataclass(frozen=True)
class _Checked:
    """A program, or a file that is none."""

    file: str
    section: str | None = None
    program: str | None = None
    error: str | None = None
    """Why it cannot be read or linked."""
    time_us: int = 0
    portability: Mapping[str, Portability] = field(default_factory=dict)

    def refusal(self, strict: bool) -> Finding | None:
        """The first reason why it is not accepted."""
        effects = ("refused", "differs") if strict else ("refused",)
        found = [finding for of in self.portability.values() for finding in of.findings]
        return next((finding for effect in effects for finding in found if finding.effect == effect), None)

    def verdict(self, strict: bool) -> str:
        if self.error is not None:
            return "error"
        return "accept" if self.refusal(strict) is None else "reject"

    def json(self, strict: bool) -> dict[str, Any]:
        refusal = self.refusal(strict)
        why = None if refusal is None else f"{refusal.what}: {refusal.reason}"
        return {
            "file": self.file,
            "section": self.section,
            "program": self.program,
            "verdict": self.verdict(strict),
            "rule": None if refusal is None else refusal.gap,
            "insn": None if refusal is None else refusal.insn,
            "source": None if refusal is None else line_json(refusal.line),
            "message": self.error or why,
            "insns_processed": None,
            "time_us": self.time_us,
            "portability": {target: _report(of) for target, of in self.portability.items()},
        }


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Object files (.bpf.o).")],
    target: Annotated[str, one_of((*TARGETS, _ALL), "--target", "Which target's verdict counts.")] = _ALL,
    strict: Annotated[bool, typer.Option("--strict", help="A program that differs is not accepted either.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each program.")] = False,
) -> None:
    """See `HELP`."""
    targets = TARGETS if target == _ALL else (target,)
    screen = Screen()
    accepted = True
    for checked in (checked for file in files for checked in _check(file, targets)):
        accepted &= checked.verdict(strict) == "accept"
        if as_json:
            screen.json_line(checked.json(strict))
        else:
            _show(screen, checked)
    if not accepted:
        raise typer.Exit(1)


def _check(file: str, targets: tuple[str, ...]) -> Iterator[_Checked]:
    """Each program of a file."""
    try:
        found = read_object(file)
        programs = found.programs
    except LoadError as error:
        yield _Checked(file, error=str(error).removeprefix(f"{file}: "))
        return
    for index, entry in enumerate(programs):
        section, name = entry["section"], entry["name"]
        if entry["refused"] is not None:
            yield _Checked(file, section, name, error=entry["refused"].removeprefix(f"{file}: "))
            continue
        begin = time.perf_counter_ns()
        native = {target: found.portability(index, target) for target in targets}
        spent = (time.perf_counter_ns() - begin) // 1000
        portability = {target: report(of, entry["lines"]) for target, of in native.items() if of is not None}
        yield _Checked(file, section, name, None, spent, portability)


def line_json(line: SourceLine | None) -> dict[str, Any] | None:
    """A source line as JSON has it."""
    return None if line is None else line._asdict()


def finding_json(found: Finding) -> dict[str, Any]:
    """A finding as JSON has it; its line is called `source`, as elsewhere."""
    members = {"source" if name == "line" else name: value for name, value in found._asdict().items()}
    return members | {"source": line_json(found.line)}


def _report(of: Portability) -> dict[str, Any]:
    return {"verdict": of.verdict, "findings": list(map(finding_json, of.findings))}


def _show(screen: Screen, checked: _Checked) -> None:
    name = ": ".join(part for part in (checked.file, checked.program) if part is not None)
    if checked.error is not None:
        _line(screen, name, "error", checked.error)
    for target, of in checked.portability.items():
        reasons = _by_reason(of)
        if not reasons:
            _line(screen, f"{name}: {target}", of.verdict)
        for number, (first, *others) in enumerate(reasons):
            also = f" (also at instruction {', '.join(str(found.insn) for found in others)})" if others else ""
            _line(screen, f"  {target}" if number else f"{name}: {target}", first.effect, f"{first}{also}")


def _by_reason(of: Portability) -> list[list[Finding]]:
    """Findings of one reason together, and first those that the verdict is about."""
    reasons: dict[tuple[bool, str], list[Finding]] = {}
    for found in of.findings:
        of_maps = found.insn is None
        key = (found.effect != of.verdict, found.gap if found.gap and not of_maps else f"{found.what}: {found.reason}")
        reasons.setdefault(key, []).append(found)
    return [reasons[key] for key in sorted(reasons, key=operator.itemgetter(0))]


def _line(screen: Screen, name: str, verdict: str, reason: str = "") -> None:
    text = Text(f"{name}: ").append(verdict, _STYLES.get(verdict, "dim"))
    screen.line(text.append(f": {reason}") if reason else text)
