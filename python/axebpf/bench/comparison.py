"""What a comparison of two benches came to: `Bench.compare` makes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.errors import ProgramFault, SourceLine

if TYPE_CHECKING:
    from axebpf.portability import Finding
    from axebpf.trace import Event

__all__ = ["Comparison", "Difference", "MapComparison", "ProgramComparison", "Refusal", "number"]

MOST = 1000
"""Differing entries of a map that are kept."""

_SHOWN = 10
"""Those that are printed."""


def number(value: int) -> str:
    """A return value as text: small ones in decimal, negative ones too, others in hexadecimal.

    >>> number(7), number((1 << 64) - 3), number(0x7FFFFFFFFFFFFFFC)
    ('7', '-3', '0x7ffffffffffffffc')
    """
    if value < 1 << 31:
        return str(value)
    return str(value - (1 << 64)) if value >= (1 << 64) - (1 << 31) else f"{value:#x}"


class Refusal(NamedTuple):
    """Why a side did not take the programs."""

    message: str
    """What it said."""
    gap: str | None
    """The gap that this is about, where it is one that is known."""
    reasons: tuple[Finding, ...]
    """Everything that this side refuses, as the report on portability has it, each gap once."""


class ProgramComparison(NamedTuple):
    """The runs of one program on both sides."""

    runs: tuple[int, int]
    """How many there were."""
    faults: tuple[int, int]
    """How many a fault stopped."""
    different: int
    """Runs that did not come to the same."""


class MapComparison(NamedTuple):
    """The contents of one map on both sides, after the last event."""

    entries: tuple[int, int]
    """How many there were; of an array, all."""
    different: int
    """Keys whose values are not the same, or that only one side has."""
    keys: Mapping[Any, tuple[Any, Any]]
    """The first of them, with both values; None where a side has none.

    The key of an entry of a queue or a ring buffer is its place, that of a global variable its name.
    """


class Difference(NamedTuple):
    """The first thing that was not the same, and where it came from."""

    number: int
    """Which event it was, from 1; 0 where it was there before the first."""
    event: Event | None
    """The event: tracepoint, fields, time and CPU."""
    program: str | None
    """The program."""
    map: str | None
    """The map; None where a run ended differently."""
    key: Any
    """The key in that map."""
    values: tuple[Any, Any]
    """What it was on each side: a return value, a ProgramFault, or the value in the map; None where there was none."""
    insn: int | None
    """Slot of the instruction that it came from."""
    text: str
    """That instruction."""
    line: SourceLine | None
    """Its source line, where the object has lines."""
    reason: Finding | None
    """What the report on portability has found of an instruction that was executed in that event."""

    @property
    def what(self) -> str:
        """What differs."""
        if self.map is not None:
            return f"{self.map}[{_inner(self.key)}]"
        return f"the run of {self.program}"


class Comparison(NamedTuple):
    r"""The same events on two sides: target linux, and what it was compared with. True where nothing differs.

    >>> from axebpf import Bench, assemble
    >>> from axebpf.hypervisor import Events
    >>> program = Bench().load_bytes(assemble("r0 = -7\nr0 s/= 2\nexit"), type="tracepoint", name="halve")
    >>> link = program.attach("vmm:vm_destroy")
    >>> found = program._bench.compare(program, [Events("vmm:vm_destroy", time_ns=[5, 6], vm_id=1)])
    >>> bool(found), found.first.values, found.first.number, found.programs["halve"].different
    (False, (18446744073709551613, 9223372036854775804), 1, 2)
    """

    sides: tuple[str, str]
    """What was compared: `linux`, and `axvisor`, `linux with rbpf` and so on."""
    workload: str
    """Where the events came from."""
    events: int
    """How many there were."""
    programs: Mapping[str, ProgramComparison]
    """By name (with `#id` where two share one)."""
    maps: Mapping[str, MapComparison]
    """By name (with `#id` where two share one)."""
    unread: tuple[str, ...]
    """Maps that cannot be read, and so were not compared."""
    first: Difference | None
    """The first difference."""
    refused: Mapping[str, Refusal]
    """Sides that did not take the programs; then there were no events."""

    @property
    def equal(self) -> bool:
        """Whether both sides took the programs, and nothing differs."""
        runs = sum(program.different for program in self.programs.values())
        keys = sum(compared.different for compared in self.maps.values())
        return self.first is None and not self.refused and runs == keys == 0

    def __bool__(self) -> bool:
        return self.equal

    def _head(self) -> str:
        """What came of it, in a few words."""
        linux, other = self.sides
        if self.refused:
            return ", ".join(f"{side} refuses it" for side in self.refused)
        if self.equal:
            runs = sum(program.runs[0] for program in self.programs.values())
            events = _counted(self.events, "event", "events")
            if not runs:
                return f"nothing was compared: no program ran in {events}"
            return f"{other} does the same as {linux}: {events}, {_counted(runs, 'run', 'runs')}"
        differs = f"{other} differs from {linux}"
        if self.first is None:
            return f"{differs}, but not at one event each time: a helper in Python that keeps something?"
        if self.first.number == 0:
            return f"{differs} before the first event"
        return f"{differs} at event {self.first.number} of {self.events}"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.workload}: {self._head()}"
        for side, refusal in self.refused.items():
            first, *more = refusal.message.splitlines()
            yield f"  {side}: {first}"
            yield from (f"  {line}" for line in more)
            for reason in refusal.reasons:
                if reason.gap != refusal.gap:
                    yield from _reason(reason)
        if self.first is not None:
            yield from _first(self.first, self.sides)
        for name, program in self.programs.items():
            yield f"{name}: {_runs(program)}"
        for name, compared in self.maps.items():
            yield from _map(name, compared, self.sides)
        for name in self.unread:
            yield f"{name}: cannot be read, so it was not compared"

    def __repr__(self) -> str:
        text = self._head()
        if self.refused:
            refusals = [refusal.message.splitlines()[0] for refusal in self.refused.values()]
            text += f": {'; '.join(dict.fromkeys(refusals))}"
        elif self.first is not None:
            values = [_said(value, self.first.map) for value in self.first.values]
            text += f": {self.first.what}: {_both(self.sides, values)}"
            if self.first.line is not None:
                text += f", {self.first.line.file}:{self.first.line.line}"
            if self.first.reason is not None:
                text += f": {self.first.reason.what}"
        return f"<Comparison: {text}>"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _runs(program: ProgramComparison) -> str:
    if not any(program.runs):
        return "never ran"
    runs = max(program.runs)
    equal = f"{_counted(runs, 'run', 'runs')}, equal"
    text = f"{program.different} of {runs} runs differ" if program.different else equal
    return f"{text}; {program.faults[0]} and {program.faults[1]} stopped by a fault" if any(program.faults) else text


def _map(name: str, compared: MapComparison, sides: tuple[str, str]) -> Iterator[str]:
    if not compared.different:
        yield f"{name}: {_counted(compared.entries[0], 'entry', 'entries')}, equal"
        return
    yield f"{name}: {_counted(compared.different, 'key differs', 'keys differ')}"
    for key, values in islice(compared.keys.items(), _SHOWN):
        yield f"  [{_inner(key)}]: {_both(sides, [_said(value, name) for value in values])}"
    if compared.different > _SHOWN:
        yield f"  … {compared.different - _SHOWN} more"


def _both(sides: tuple[str, str], values: list[str]) -> str:
    return ", ".join(f"{side} {value}" for side, value in zip(sides, values, strict=True))


def _first(first: Difference, sides: tuple[str, str]) -> Iterator[str]:
    """The first difference: the event, the values, the instruction, the reason."""
    event = first.event
    if event is not None:
        fields = " ".join(f"{name}={_shown(value)}" for name, value in event.fields.items())
        yield f"  event {first.number}: {event.name} at {event.time_ns} ns on CPU {event.cpu}: {fields}"
    yield f"  {first.what}: {_both(sides, [_said(value, first.map) for value in first.values])}"
    if first.insn is not None:
        yield f"  from instruction {first.insn} of {first.program}: {first.text}"
        yield from _place(first.line)
    if first.reason is not None:
        yield from _reason(first.reason)


def _reason(reason: Finding) -> Iterator[str]:
    place = "" if reason.insn is None else f", instruction {reason.insn}"
    yield f"  reason: {reason.what}{place}: {reason.reason}"
    yield from _place(reason.line)
    if reason.instead:
        yield f"  instead: {reason.instead}"


def _place(line: SourceLine | None) -> Iterator[str]:
    if line is not None:
        yield f"    {line}: {line.text}" if line.text else f"    {line}"


def _said(value: Any, map: str | None) -> str:
    """How a run ended, or what a map has."""
    if map is not None:
        return "has none" if value is None else _shown(value)
    if value is None:
        return "did not run"
    if isinstance(value, ProgramFault):
        where = "" if value.instruction is None else f" (instruction {value.instruction})"
        return f"was stopped: {value.what}{where}"
    return f"returned {number(value)}"


def _inner(key: Any) -> str:
    """A key between the brackets of an index."""
    text = _shown(key)
    return text[1:-1] if isinstance(key, tuple) else text


def _shown(value: Any) -> str:
    """A value of a map or a field."""
    if isinstance(value, bytes):
        text = value.rstrip(b"\0")
        printable = text and all(0x20 <= byte < 0x7F for byte in text)
        return repr(text.decode()) if printable else value.hex(" ") or "empty"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"({', '.join(f'{n}={_shown(v)}' for n, v in zip(value._fields, value, strict=True))})"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value)
