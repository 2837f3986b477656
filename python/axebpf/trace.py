"""The trace: what `cat trace` shows on Linux, as text and as records."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from axebpf.errors import NotFound, did_you_mean
from axebpf.tracepoint import FieldType, Layout, parse_type

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from axebpf import _native

__all__ = ["Event", "Printed", "Trace", "read_field"]

_CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "bool": "?"}


def _core_type(text: str) -> FieldType:
    """A type as the core writes it (`[char; 16]`), which Python and C write `char[16]`."""
    if text.startswith("["):
        element, count = text[1:-1].split(";")
        return parse_type(f"{element}[{int(count)}]")
    return parse_type(text)


def read_field(kind: FieldType, data: bytes, offset: int) -> Any:
    """The value of a field in a record: a number, a list of numbers, or a text as bytes up to its NUL."""
    if kind.base == "char":
        return data[offset : offset + kind.count].split(b"\0", 1)[0]
    code = _CODES[kind.base]
    if kind.count:
        return list(struct.unpack_from(f"<{kind.count}{code}", data, offset))
    return struct.unpack_from(f"<{code}", data, offset)[0]


class Event:
    """One event: the fields of its record as attributes, and when and where it happened.

    `event.fields` has them as a dictionary, `event.record` as bytes.
    """

    __slots__ = ("_layout", "comm", "cpu", "name", "pid", "record", "time_ns")

    name: str
    """`subsystem:event`."""
    time_ns: int
    """Nanoseconds since boot."""
    cpu: int
    """CPU."""
    pid: int
    """Thread, 0 in the hypervisor."""
    comm: str
    """Its name."""
    record: bytes
    """The record, common header included."""

    def __init__(
        self, layout: Layout, name: str, time_ns: int, cpu: int, record: bytes, pid: int = 0, comm: str = "axvisor"
    ) -> None:
        self._layout, self.name, self.time_ns, self.cpu, self.record = layout, name, time_ns, cpu, record
        self.pid, self.comm = pid, comm

    def __getattr__(self, name: str) -> Any:
        for field, kind, offset, _, _ in self._layout.fields:
            if field == name:
                return read_field(_core_type(kind), self.record, offset)
        raise AttributeError(f"{self.name} has no field {name}")

    @property
    def fields(self) -> dict[str, Any]:
        """All fields by name."""
        return {
            field: read_field(_core_type(kind), self.record, offset)
            for field, kind, offset, _, _ in self._layout.fields
        }

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"<{self.name} at {self.time_ns} ns on CPU {self.cpu}: {values}>"


class Printed:
    """A line that a program printed with `bpf_trace_printk`."""

    __slots__ = ("comm", "cpu", "pid", "text", "time_ns")

    name = "bpf_trace_printk"

    def __init__(self, text: str, time_ns: int, cpu: int, pid: int, comm: str) -> None:
        self.text, self.time_ns, self.cpu, self.pid, self.comm = text, time_ns, cpu, pid, comm

    def __repr__(self) -> str:
        return f"<printed at {self.time_ns} ns on CPU {self.cpu}: {self.text!r}>"


class Trace:
    """The trace of a bench: the last events of enabled tracepoints, and what programs printed."""

    def __init__(
        self, native: _native.Bench, layouts: dict[str, _native.TracepointSpec], target: str = "linux"
    ) -> None:
        self._native = native
        self._layouts = layouts
        self._target = target

    def text(self, *, header: bool = False, target: str | None = None) -> str:
        """The trace as `cat trace_pipe` shows it; with the header, as `cat trace`.

        `target`: `"linux"`, or `"axvisor"` for AxVisor's form, `name(text)` for Linux's `name: text`; without it, the
        bench's.
        """
        return self._native.trace_text(target or self._target, header)

    def records(self, last: int | None = None) -> list[Event | Printed]:
        """The same entries as objects, by time; with `last`, so many from the end."""
        out: list[Event | Printed] = []
        rows = self._native.trace_records()
        for time_ns, cpu, pid, comm, name, payload in rows if last is None else rows[max(0, len(rows) - last) :]:
            if name is None or isinstance(payload, str):
                out.append(Printed(str(payload), time_ns, cpu, pid, comm))
            else:
                out.append(Event(self._layouts[name], name, time_ns, cpu, payload, pid, comm))
        return out

    def to_numpy(self, name: str) -> np.ndarray[Any, Any]:
        """The records of one tracepoint as a structured array."""
        return self._records_of(self._events(name), name)

    def to_arrow(self, name: str | None = None) -> pa.Table:
        """The entries as an Arrow table, by time: `time_ns`, `cpu`, `pid`, `comm` and more.

        Of one tracepoint, its fields, one that is called as those four as `field.comm`; without a name all entries,
        with `event` and the `text` of the trace line.
        Raises NotFound for an unknown tracepoint, ImportError without pyarrow.
        """
        from axebpf.tables import arrow_table

        entries: list[Any] = self.records() if name is None else self._events(name)
        columns: dict[str, Any] = {
            what: [getattr(entry, what) for entry in entries] for what in ("time_ns", "cpu", "pid", "comm")
        }
        if name is None:
            columns["event"] = [entry.name for entry in entries]
            columns["text"] = [self._line(entry) for entry in entries]
            return arrow_table(columns)
        records = self._records_of(entries, name)
        fields = {field[0]: records[field[0]] for field in self._layouts[name].fields}
        # A field may be called `comm` too.
        return arrow_table(columns | {f"field.{n}" if n in columns else n: v for n, v in fields.items()})

    def _events(self, name: str) -> list[Event]:
        if name not in self._layouts:
            raise NotFound(f"no tracepoint {name}{did_you_mean(name, self._layouts)}")
        return [entry for entry in self.records() if isinstance(entry, Event) and entry.name == name]

    def _records_of(self, events: list[Event], name: str) -> np.ndarray[Any, Any]:
        import numpy as np

        from axebpf.tracepoint import numpy_dtype

        records = b"".join(event.record for event in events)
        return np.frombuffer(records, numpy_dtype(_PythonLayout(self._layouts[name])))

    def _line(self, entry: Event | Printed) -> str:
        return entry.text if isinstance(entry, Printed) else self._layouts[entry.name].text(entry.record)

    def _repr_html_(self) -> str:
        from axebpf.tables import HTML_ROWS, html_table

        if self._native.closed:
            return html_table(repr(self)[1:-1], [], [], 0)
        last = self.records()[-HTML_ROWS:]
        rows = [(e.time_ns, e.cpu, f"{e.comm}-{e.pid}", e.name, self._line(e)) for e in last]
        title = f"Trace: {len(self)} entries, {self.lost} lost; the last {len(rows)}"
        return html_table(title, ["time_ns", "cpu", "task", "event", "text"], rows, len(rows))

    def clear(self) -> None:
        """Forgets all entries, and the counts of written and lost ones."""
        self._native.trace_clear()

    @property
    def lost(self) -> int:
        """Entries that made room for later ones."""
        return sum(self._native.trace_counts()[2])

    @property
    def written(self) -> int:
        """Entries written, lost ones included."""
        return self._native.trace_counts()[1]

    def __len__(self) -> int:
        return self._native.trace_counts()[0]

    def __repr__(self) -> str:
        if self._native.closed:
            return "<Trace of a closed bench>"
        return f"<Trace: {len(self)} entries, {self.lost} lost>"


class _PythonLayout:
    """A layout of the core with types in Python's notation."""

    def __init__(self, layout: Layout) -> None:
        self.size = layout.size
        self.fields = [(n, _core_type(t).text, offset, size, signed) for n, t, offset, size, signed in layout.fields]
