"""Rules that make events of tracepoints from recorded ones, and what applies them."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from axebpf.errors import RecordingError, did_you_mean
from axebpf.recording.ftrace import Entry
from axebpf.tracepoint import FieldType, Tracepoint

__all__ = ["Choice", "Converter", "Hex", "Known", "Made", "Rule", "Source", "Value"]

MAX_THREADS = 1 << 16
"""Threads of a recording that are told apart."""

MAX_PENDING = 1 << 10
"""Events of one vCPU that wait for its next entry into the guest."""


class Known(enum.Enum):
    """Values that come from what a recording says about threads and times, and not from the text of one event."""

    VM = enum.auto()
    """The VM that the thread belongs to: 1, 2 … in the order in which they are seen."""
    VCPU = enum.auto()
    """The vCPU that the thread is."""
    SINCE_ENTER = enum.auto()
    """Nanoseconds since this vCPU was last entered; 0 where the recording does not have that."""
    UNTIL_ENTER = enum.auto()
    """Nanoseconds until this vCPU is entered next: the event is made then, and has that time."""


@dataclass(frozen=True)
class Choice:
    """A number by what a part of the text says."""

    group: str
    """The part: a group of the rule's pattern."""
    values: Mapping[str, int]
    default: int
    """For any other text."""


@dataclass(frozen=True)
class Hex:
    """A part of the text that is hexadecimal and has no `0x`."""

    group: str
    """A group of the rule's pattern."""


Source: TypeAlias = str | int | Choice | Hex | Known
"""Where the value of a field comes from: a group of the pattern that is a number, a constant, and so on."""

Value: TypeAlias = int | bytes | list[int]


@dataclass(frozen=True)
class Rule:
    r"""What becomes of a recorded event whose text matches.

    Groups of the pattern are numbers, hexadecimal ones with `0x`. A group `vcpu` says which vCPU the thread is.

    >>> Rule("kvm_hypercall", r"nr (?P<nr>\S+)", to="vmm:hypercall",
    ...      fields={"vm_id": Known.VM, "vcpu_id": Known.VCPU, "nr": "nr", "ret_val": 0,
    ...              "duration_ns": Known.UNTIL_ENTER}).event
    'kvm_hypercall'
    """

    event: str
    """Its name, without the subsystem."""
    pattern: str = ""
    """A regular expression for the beginning of its text. Of several rules for an event the first that matches holds;
    an event with rules of which none matches is passed over, which is no error."""
    to: str = ""
    """The tracepoint, or nothing where the event only tells something about threads and times."""
    fields: Mapping[str, Source] = field(default_factory=dict)
    """A source for each field of the tracepoint."""
    unless: str = ""
    """The rule does not hold for recordings that have this event, which says the same better."""
    enters: bool = False
    """Whether the vCPU enters the guest here."""
    outside: bool = False
    """Whether a thread that is no vCPU records it: then the VM is that of its process, or else the first."""


@dataclass(slots=True)
class Made:
    """An event of a tracepoint."""

    tracepoint: str
    time_ns: int
    cpu: int
    values: list[Value]


@dataclass(slots=True)
class _Thread:
    vm: int
    vcpu: int
    entered: int | None = None
    pending: list[tuple[Made, int]] = field(default_factory=list)
    """Events that wait for the next entry, each with the place of its duration."""


class _Threads:
    """Which VM and vCPU each thread is."""

    def __init__(self) -> None:
        self._threads: dict[int, _Thread] = {}
        self._vms: list[set[int]] = []
        """The vCPUs of each VM."""
        self._free: dict[int, int] = {}
        """The vCPUs before this number are there, in each VM."""
        self._without: dict[int, int] = {}
        """The VMs before this number have a vCPU of that number."""
        self._by_process: dict[int, int] = {}

    def vm_of(self, tgid: int | None) -> int:
        """The VM of a process; the first one where it is not known."""
        return self._by_process.get(tgid, 1) if tgid is not None else 1

    def get(self, entry: Entry, vcpu: int | None) -> _Thread:
        """The thread of an entry, which may say which vCPU it is."""
        thread = self._threads.get(entry.pid)
        if thread is None:
            if len(self._threads) >= MAX_THREADS:
                message = f"more than {MAX_THREADS} threads are vCPUs; is this the recording of a hypervisor?"
                raise RecordingError(message, line=entry.line)
            vm = self._vm(entry.tgid, vcpu)
            taken = self._vms[vm - 1]
            number = self._unused(vm) if vcpu is None else vcpu
            thread = self._threads[entry.pid] = _Thread(vm, number)
            taken.add(number)
        elif vcpu is not None and vcpu != thread.vcpu:
            # Its number was a guess so far.
            self._vms[thread.vm - 1].discard(thread.vcpu)
            self._vms[thread.vm - 1].add(vcpu)
            thread.vcpu = vcpu
        return thread

    def _unused(self, vm: int) -> int:
        """A number that no vCPU of the VM has."""
        taken, free = self._vms[vm - 1], self._free.get(vm, 0)
        while free in taken:
            free += 1
        self._free[vm] = free
        return free

    def _vm(self, tgid: int | None, vcpu: int | None) -> int:
        """The VM of a new thread. Without its process: the first that has no such vCPU yet, or the last."""
        if tgid is not None:
            vm = self._by_process.get(tgid)
        elif vcpu is None:
            vm = len(self._vms) or None
        else:
            vm = self._without.get(vcpu, 1)
            while vm <= len(self._vms) and vcpu in self._vms[vm - 1]:
                vm += 1
            self._without[vcpu] = vm
            vm = vm if vm <= len(self._vms) else None
        if vm is None:
            self._vms.append(set())
            vm = len(self._vms)
        if tgid is not None:
            self._by_process[tgid] = vm
        return vm


class Converter:
    """Applies rules to the entries of one recording, in their order."""

    def __init__(
        self, rules: Iterable[Rule], tracepoints: Mapping[str, type[Tracepoint]], present: frozenset[str]
    ) -> None:
        """`tracepoints` are those that events may become, `present` the events of the recording.

        Raises RecordingError for a rule that names a tracepoint, a field or a group that is not there.
        """
        self._tracepoints = tracepoints
        self._threads = _Threads()
        self._rules: dict[str, list[tuple[Rule, re.Pattern[str], list[Source]]]] = {}
        self._mapped: set[str] = set()
        for rule in rules:
            compiled = self._compiled(rule)
            self._mapped.add(rule.event)
            if not rule.unless or rule.unless not in present:
                self._rules.setdefault(rule.event, []).append(compiled)
        self._own: dict[str, tuple[str, Callable[[str], list[Value] | None]]] = {}
        for name, declared in tracepoints.items():
            reader = _reader(declared)
            self._own[name] = (name, reader)
            self._own.setdefault(declared.event, (name, reader))
        self.has_entries = any(rule.enters for rules in self._rules.values() for rule, _, _ in rules)

    def _compiled(self, rule: Rule) -> tuple[Rule, re.Pattern[str], list[Source]]:
        def refuse(message: str) -> RecordingError:
            return RecordingError(f"the rule for {rule.event}: {message}")

        try:
            pattern = re.compile(rule.pattern)
        except re.error as error:
            raise refuse(f"{rule.pattern!r} is no regular expression: {error}") from error
        if not rule.to:
            return rule, pattern, []
        declared = self._tracepoints.get(rule.to)
        if declared is None:
            raise refuse(f"no tracepoint {rule.to}{did_you_mean(rule.to, self._tracepoints)}")
        names = [f.name for f in declared.fields]
        for name in rule.fields:
            if name not in names:
                raise refuse(f"{rule.to} has no field {name}{did_you_mean(name, names)}")
        sources = []
        for name in names:
            if name not in rule.fields:
                raise refuse(f"no source for the field {name} of {rule.to}")
            source = rule.fields[name]
            group = source.group if isinstance(source, (Choice, Hex)) else source
            if isinstance(group, str) and group not in pattern.groupindex:
                raise refuse(f"{rule.pattern!r} has no group {group}{did_you_mean(group, pattern.groupindex)}")
            sources.append(source)
        return rule, pattern, sources

    def knows(self, event: str) -> bool:
        """Whether there is a rule, be it one that does not hold here, or a tracepoint of this name."""
        return event in self._own or event.rpartition(":")[2] in self._mapped

    def convert(self, entry: Entry) -> Iterator[Made] | None:
        """The events that an entry makes; None where its text is not what it should be."""
        own = self._own.get(entry.event)
        if own is not None:
            name, reader = own
            values = reader(entry.text)
            return None if values is None else iter((Made(name, entry.time_ns, entry.cpu, values),))
        for rule, pattern, sources in self._rules.get(entry.event.rpartition(":")[2], ()):
            found = pattern.match(entry.text)
            if found is not None:
                return self._apply(rule, sources, entry, found.groupdict())
        return iter(())

    def _apply(
        self, rule: Rule, sources: list[Source], entry: Entry, groups: dict[str, str | None]
    ) -> Iterator[Made] | None:
        said = groups.get("vcpu")
        try:
            vcpu = None if said is None else int(said)
            if rule.outside:
                thread = _Thread(self._threads.vm_of(entry.tgid), vcpu or 0)
            else:
                thread = self._threads.get(entry, vcpu)
            made: list[Made] = []
            if rule.enters:
                self._enter(thread, entry, made)
            if rule.to:
                self._make(rule, sources, entry, groups, thread, made)
        except RecordingError:
            raise
        except ValueError:  # a group that is no number
            return None
        return iter(made)

    @staticmethod
    def _enter(thread: _Thread, entry: Entry, made: list[Made]) -> None:
        for waiting, place in thread.pending:
            waiting.values[place] = max(0, entry.time_ns - waiting.time_ns)
            waiting.time_ns, waiting.cpu = entry.time_ns, entry.cpu
            made.append(waiting)
        thread.pending.clear()
        thread.entered = entry.time_ns

    def _make(
        self,
        rule: Rule,
        sources: list[Source],
        entry: Entry,
        groups: dict[str, str | None],
        thread: _Thread,
        made: list[Made],
    ) -> None:
        values: list[Value] = []
        waits = None
        for place, source in enumerate(sources):
            if isinstance(source, str):
                values.append(_number(groups[source]))
            elif isinstance(source, int):
                values.append(source)
            elif isinstance(source, Choice):
                values.append(source.values.get(groups[source.group] or "", source.default))
            elif isinstance(source, Hex):
                values.append(int(groups[source.group] or "0", 16))
            elif source is Known.VM:
                values.append(thread.vm)
            elif source is Known.VCPU:
                values.append(thread.vcpu)
            elif source is Known.SINCE_ENTER:
                values.append(0 if thread.entered is None else max(0, entry.time_ns - thread.entered))
                thread.entered = None
            else:
                waits = place
                values.append(0)
        event = Made(rule.to, entry.time_ns, entry.cpu, values)
        if waits is not None and self.has_entries and len(thread.pending) < MAX_PENDING:
            thread.pending.append((event, waits))
        else:
            made.append(event)

    def rest(self) -> Iterator[Made]:
        """Events that still wait for an entry when the recording ends: their duration is 0."""
        for thread in self._threads._threads.values():
            for event, _ in thread.pending:
                yield event


_NUMBER = r"-?(?:0x[0-9a-fA-F]{1,16}|\d{1,20})"


def _number(text: str | None) -> int:
    if text is None:
        return 0
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def _reader(declared: type[Tracepoint]) -> Callable[[str], list[Value] | None]:
    """What reads the text of a tracepoint's own event back, in the form in which the trace shows it.

    >>> from axebpf.tracepoints.definitions import VmCreate
    >>> _reader(VmCreate)("vm_id=1 vcpus=2 memory=256MB")
    [1, 2, 268435456]
    """
    labels = [f"{f.label or f.name}=" for f in declared.fields]
    parts = []
    for place, f in enumerate(declared.fields):
        following = f" {labels[place + 1]}" if place + 1 < len(labels) else ""
        if f.type.base == "char":
            shape = None
        elif f.type.count:
            shape = re.compile(rf"\{{({_NUMBER}(?:,{_NUMBER})*)\}}")
        else:
            shape = re.compile(rf"({_NUMBER}){re.escape(f.suffix)}")
        parts.append((labels[place], shape, following, f.type, f.scale))

    def read(text: str) -> list[Value] | None:
        text, at = text.rstrip(), 0
        values: list[Value] = []
        for label, shape, following, kind, scale in parts:
            if not text.startswith(label, at):
                return None
            at += len(label)
            if shape is None:
                # A text ends where the next label stands.
                end = text.find(following, at) if following else len(text)
                part = text[at:end]
            else:
                found = shape.match(text, at)
                end, part = (found.end(), found[1]) if found is not None else (-1, "")
            if end < 0 or not text.startswith(following, end):
                return None
            values.append(_value(part, kind, scale))
            at = end + (1 if following else 0)
        return values if at == len(text) else None

    return read


def _value(text: str, kind: FieldType, scale: int) -> Value:
    if kind.base == "char":
        return text.encode(errors="replace")
    if kind.count:
        return [_wrapped(_number(item), kind) for item in text.split(",")]
    return _wrapped(_number(text) * scale, kind)


def _wrapped(number: int, kind: FieldType) -> int:
    """A hexadecimal number is shown without its sign."""
    bits = 8 * kind.size // (kind.count or 1)
    return number - (1 << bits) if kind.signed and number > kind.maximum and number < 1 << bits else number
