"""Recordings of real hypervisors: ftrace text and CSV become a stream of events.

>>> text = b"  qemu-12 [001] d..1. 1.000001: kvm_exit: vcpu 0 reason HLT rip 0x5 info1 0x0000000000000000"
>>> recording = Recording(text)
>>> chunk = next(iter(recording))
>>> chunk.columns["vmm:vcpu_run_exit"]["exit_reason"], chunk.cpu, chunk.time_ns
(array([9], dtype=uint32), array([1], dtype=uint32), array([1000001000], dtype=uint64))
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, TypeAlias

from axebpf.errors import RecordingError, did_you_mean
from axebpf.hypervisor.workload import Chunk
from axebpf.recording import csv_table, ftrace
from axebpf.recording.columns import Columns
from axebpf.recording.kvm import KVM
from axebpf.recording.rules import Choice, Converter, Hex, Known, Made, Rule
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints import BUILTIN

__all__ = ["FORMATS", "KVM", "Choice", "Hex", "Known", "Recording", "Rule", "Source"]

FORMATS = ("ftrace", "csv")
"""What can be read."""

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview
"""A path, or the bytes themselves."""

MAX_NAMES = 4096
"""Names of unknown events that are told apart; what comes later counts as `other`."""

_BINARY = {
    b"\x17\x08\x44tracing": "a trace.dat; make text of it: trace-cmd report FILE > trace.txt",
    b"PERFILE2": "a perf.data; make text of it: perf script -i FILE > trace.txt",
}


class Recording:
    """A recording of a hypervisor; each iteration gives the same events in chunks of columns.

    `mapping` are rules for events that are none of the `tracepoints`, KVM's if not given. What is read is read twice:
    once to see what is there, once for the events. Raises RecordingError (file, line) for what is no recording.
    """

    def __init__(
        self,
        source: Source,
        *,
        format: str | None = None,
        mapping: Iterable[Rule] | None = None,
        tracepoints: Mapping[str, type[Tracepoint]] | None = None,
    ) -> None:
        if format not in (None, *FORMATS):
            near = did_you_mean(str(format), FORMATS)
            raise RecordingError(f"no format {format}; formats are {' and '.join(FORMATS)}{near}")
        self._source = source
        self.file = "<bytes>" if isinstance(source, (bytes, bytearray, memoryview)) else os.fspath(source)
        """Its name, for messages."""
        self._tracepoints = tracepoints if tracepoints is not None else {tp.event_name: tp for tp in BUILTIN}
        self.format: str = format or self._guess()
        """`ftrace` or `csv`."""
        self.events: Counter[str] = Counter()
        """How many events of each name it has, as it writes them."""
        self.unmapped: Counter[str] = Counter()
        """Those among them that become nothing here."""
        self.skipped = 0
        """Lines that could not be read: cut off, or with values that do not fit."""
        self.first_skipped: tuple[int, str] | None = None
        """Number and text of the first of them."""
        self.lost = 0
        """Events that the recorder says it lost."""
        self.backwards = 0
        """Events whose time is before that of the event before them on the same CPU."""
        self.first_ns, self.last_ns = 0, 0
        """The earliest time and the latest."""
        self.cpus = 1
        """One more than the highest CPU."""
        self._look()
        present = frozenset(name.rpartition(":")[2] for name in self.events)
        self._rules = tuple(KVM if mapping is None else mapping)
        converter = self._converter(present)
        self._present = present
        if self.format == "ftrace":
            self.unmapped = Counter({n: count for n, count in self.events.items() if not converter.knows(n)})

    def _converter(self, present: frozenset[str]) -> Converter:
        return Converter(self._rules, self._tracepoints, present)

    def _open(self) -> IO[bytes]:
        if isinstance(self._source, (bytes, bytearray, memoryview)):
            return io.BytesIO(self._source)
        try:
            return open(self._source, "rb")  # noqa: PTH123 (the caller closes it)
        except OSError as error:
            raise RecordingError(f"cannot be read: {error.strerror}", file=self.file) from error

    def _guess(self) -> str:
        with self._open() as stream:
            try:
                head = stream.read(1 << 12)
            except OSError as error:
                raise RecordingError(f"cannot be read: {error.strerror}", file=self.file) from error
        for magic, what in _BINARY.items():
            if head.startswith(magic):
                raise RecordingError(f"is {what}", file=self.file)
        lines = head.decode(errors="replace").splitlines() or [""]
        if csv_table.is_csv(lines[0]):
            return "csv"
        if any(ftrace.is_ftrace(line) for line in lines[:20] if line.strip()):
            return "ftrace"
        shown = lines[0][:60]
        message = f"neither ftrace text nor CSV with the column event; the first line is {shown!r}"
        raise RecordingError(message, file=self.file, line=1)

    def _look(self) -> None:
        """The first reading: which events there are, on how many CPUs, and what cannot be read."""
        last: dict[int, int] = {}
        earliest, latest = 1 << 64, 0
        with self._open() as stream:
            for item in self._read(stream):
                if isinstance(item, ftrace.Lost):
                    self.lost += item.events
                elif isinstance(item, ftrace.Skipped):
                    self._skip(item.line, item.text)
                else:
                    name, time, cpu = item
                    self.events[self._name(name)] += 1
                    self.backwards += time < last.get(cpu, 0)
                    last[cpu] = time
                    earliest, latest = min(earliest, time), max(latest, time)
        self.first_ns, self.last_ns = min(earliest, latest), latest
        self.cpus = max(last, default=0) + 1

    def _name(self, name: str) -> str:
        return name if name in self.events or len(self.events) < MAX_NAMES else "other"

    def _read(self, stream: IO[bytes]) -> Iterator[ftrace.Lost | ftrace.Skipped | tuple[str, int, int]]:
        if self.format == "ftrace":
            for entry in ftrace.read(stream):
                yield (entry.event, entry.time_ns, entry.cpu) if isinstance(entry, ftrace.Entry) else entry
            return
        for _, event, made in self._rows(stream):
            if made is None:
                self.unmapped[self._name(event)] += 1
                yield event, 0, 0
            else:
                yield event, made.time_ns, made.cpu

    def _rows(self, stream: IO[bytes]) -> Iterator[tuple[int, str, Made | None]]:
        try:
            yield from csv_table.read(stream, self._tracepoints)
        except RecordingError as error:
            raise RecordingError(str(error.args[0]), file=self.file, line=error.line) from None

    def _skip(self, line: int, text: str) -> None:
        self.skipped += 1
        if self.first_skipped is None:
            self.first_skipped = (line, text)

    def _made(self, stream: IO[bytes]) -> Iterator[tuple[int, Made | None]]:
        """Events with their lines; None for what does not become one although it should."""
        if self.format == "csv":
            for line, _, made in self._rows(stream):
                if made is not None:
                    yield line, made
            return
        converter, line = self._converter(self._present), 0
        for entry in ftrace.read(stream):
            if not isinstance(entry, ftrace.Entry):
                continue
            line = entry.line
            try:
                events = converter.convert(entry)
            except RecordingError as error:
                raise RecordingError(str(error.args[0]), file=self.file, line=error.line) from None
            if events is None:
                yield line, None
                continue
            for made in events:
                yield line, made
        for made in converter.rest():
            yield line, made

    def __iter__(self) -> Iterator[Chunk]:
        columns = Columns(self._tracepoints)
        unfit = 0
        with self._open() as stream:
            for line, made in self._made(stream):
                if made is None or not columns.add(made):
                    unfit += 1
                    if self.first_skipped is None:
                        self.first_skipped = (line, "a value that is no number, or does not fit its field")
                elif columns.full and (chunk := columns.take()) is not None:
                    yield chunk
        self.unfit = unfit
        if (chunk := columns.take()) is not None:
            yield chunk

    unfit = 0
    """Events of the last iteration whose values are no numbers or do not fit their fields."""
