"""Rules: which event of a recording becomes which event of the bench, and where its fields come from.

A rule is data. Its `text` is the text of the event with places in it: `{name}` is a number (decimal, or hexadecimal
behind `0x`), `{name:x}` a hexadecimal number with or without `0x`, `{name:s}` a text up to what stands behind the
place, and `{}` is passed over. What follows the end of `text` does not matter.

>>> Rule("sched:sched_switch", "prev_comm={} prev_pid={old} {}next_pid={new} ", "vmm:task_switch",
...      {"from_task": place("old"), "to_task": place("new")}, on_vcpu=False).becomes
'vmm:task_switch'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["VCPU", "VM", "Rule", "Value", "bits", "named", "place", "ranges", "since", "table"]


@dataclass(frozen=True)
class Value:
    """Where the value of a field comes from; made by the functions of this module."""

    kind: str
    arguments: tuple[Any, ...] = ()

    def native(self) -> tuple[Any, ...]:
        """As the core takes it."""
        return (self.kind, *self.arguments)

    def __str__(self) -> str:
        """In words, for the table of rules."""
        return _WORDS[self.kind](*self.arguments)


VM = Value("vm")
"""The number of the VM, from 1: a process is a VM, in the order of appearance."""

VCPU = Value("vcpu")
"""The number of the vCPU whose thread the event happened in."""


def place(name: str, shift: int = 0) -> Value:
    """What stands in a place of the text; a number is shifted to the left by so many bits."""
    return Value("place", (name, shift))


def since(mark: str) -> Value:
    """Nanoseconds since the thread set a mark; 0, and counted as unpaired, where it did not."""
    return Value("since", (mark,))


def bits(name: str, values: Mapping[int, int], other: int) -> Value:
    """The value of the first bit that is set in the number in a place; `other` where none of them is.

    >>> print(bits("error_code", {4: 4, 1: 2}, other=1))
    4 if bit 4 of error_code, 2 if bit 1, else 1
    """
    return Value("bits", (name, [(bit, int(value)) for bit, value in values.items()], int(other)))


def named(name: str, values: Mapping[str, int | Value] | Mapping[int, int | Value], other: int | None = None) -> Value:
    """What `values` has for the text or number in a place: a number, or `bits`.

    `other` is for what `values` does not have; without it, the rule is not for such an event.
    """
    entries = [(key, value.native() if isinstance(value, Value) else int(value)) for key, value in values.items()]
    return Value("named", (name, entries, None if other is None else int(other)))


def ranges(name: str, values: Mapping[range, int], other: int) -> Value:
    """What the first range that holds the number in a place has."""
    entries = [(numbers.start, numbers.stop - 1, int(value)) for numbers, value in values.items()]
    return Value("ranges", (name, entries, int(other)))


_WORDS: dict[str, Callable[..., str]] = {
    "vm": lambda: "the VM",
    "vcpu": lambda: "the vCPU",
    "place": lambda name, shift: f"{name} << {shift}" if shift else name,
    "since": lambda mark: f"time since {mark}",
    "named": lambda name, entries, other: f"by {name}",
    "ranges": lambda name, entries, other: f"by {name}",
    "bits": lambda name, entries, other: (
        ", ".join(
            f"{value} if bit {bit}{f' of {name}' if not index else ''}" for index, (bit, value) in enumerate(entries)
        )
        + f", else {other}"
    ),
}


@dataclass(frozen=True)
class Rule:
    """One event of a recording, and the event that it becomes.

    Several rules may be for one event: each that fits counts.
    """

    event: str
    """`system:event`."""
    text: str | Sequence[str] = ()
    """Its text with places, or several forms of it: the first that fits counts. Without one, every text fits."""
    becomes: str | None = None
    """The tracepoint; None for an event that is known and left out, for the reason in `why`."""
    fields: Mapping[str, int | Value] = field(default_factory=dict)
    """A value for each field of the tracepoint."""
    why: str = ""
    """Why it is left out."""
    unless: Sequence[str] = ()
    """Events: where the recording has one of them, this rule is left out, because they say the same."""
    sets: str | None = None
    """A mark: the time of the event is remembered under this name, for its thread."""
    clears: Sequence[str] = ()
    """Marks that are forgotten."""
    until: str | None = None
    """A mark: the event waits until its thread sets it, and happens then, because what it reports ends there."""
    on_vcpu: bool = True
    """Whether it happens in the thread of a vCPU; a place `{vcpu}` then says which that is."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All forms of the text."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    def native(self) -> tuple[Any, ...]:
        """As the core takes it."""
        fields = [
            (name, value.native() if isinstance(value, Value) else ("constant", int(value)))
            for name, value in self.fields.items()
        ]
        becomes = None if self.becomes is None else (self.becomes, fields)
        return (
            self.event, list(self.texts), becomes, list(self.unless), self.sets, list(self.clears), self.until,
            self.on_vcpu,
        )  # fmt: skip


def table(rules: Iterable[Rule]) -> str:
    """Rules as a Markdown table: event, what it becomes, and the value of each field, or why it is left out.

    >>> print(table([Rule("a:b", "{x}", "vmm:vm_destroy", {"vm_id": place("x")}), Rule("a:c", why="it says nothing")]))
    | event | becomes | fields, or why not |
    | --- | --- | --- |
    | `a:b` | `vmm:vm_destroy` | vm_id: x |
    | `a:c` | - | it says nothing |
    """
    merged: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    notes: dict[tuple[str, str], str] = {}
    for rule in rules:
        # Rules of one event that become the same differ in some values only.
        row = (rule.event, rule.becomes or "")
        values = merged.setdefault(row, {})
        for name, value in rule.fields.items():
            values.setdefault(name, {})[str(value)] = None
        if rule.becomes is None:
            values.setdefault("", {})[rule.why] = None  # a dictionary, because it keeps the order
        notes[row] = f"; at the next {rule.until}" if rule.until else ""
        notes[row] += f"; not beside {', '.join(f'`{event}`' for event in rule.unless)}" if rule.unless else ""
    lines = ["| event | becomes | fields, or why not |", "| --- | --- | --- |"]
    for (event, becomes), values in merged.items():
        cells = ", ".join((f"{name}: " if name else "") + " or ".join(all_of_it) for name, all_of_it in values.items())
        target = f"`{becomes}`" if becomes else "-"
        lines.append(f"| `{event}` | {target} | {cells}{notes[event, becomes]} |")
    return "\n".join(lines)
