"""CSV with a line an event: the column `event`, a time, `cpu` if any, and a column a field (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import IO

from axebpf.errors import RecordingError, did_you_mean
from axebpf.recording.rules import Made, Value
from axebpf.tracepoint import Field, Tracepoint

__all__ = ["is_csv", "read"]

_TIMES = {"time_ns": 1, "time_us": 10**3, "time_ms": 10**6, "time_s": 10**9}
_MAX_CELL = 1 << 16


def is_csv(line: str) -> bool:
    """Whether this may be the first line of such a table.

    >>> is_csv("time_ns,event,vm_id"), is_csv("# tracer: nop")
    (True, False)
    """
    names = [name.strip() for name in line.split(",")]
    return "event" in names and any(name in _TIMES for name in names)


def read(stream: IO[bytes], tracepoints: Mapping[str, type[Tracepoint]]) -> Iterator[tuple[int, str, Made | None]]:
    """Reads rows: the number of the line, the event's name, and the event, or None where the tracepoint is unknown.

    A field is a decimal number, a hexadecimal one with `0x`, or a name of the field's enumeration. Raises
    RecordingError for a column that nothing has, a cell that is missing or does not fit.
    """
    # `newline=""`: the reader of the standard library finds the ends of lines itself.
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
    try:
        csv.field_size_limit(_MAX_CELL)
        rows = csv.reader(text, strict=True)
        head = [name.strip() for name in next(rows, [])]
        times = [name for name in head if name in _TIMES]
        if "event" not in head or len(times) != 1:
            raise RecordingError(f"the first line needs the column event and one of {', '.join(_TIMES)}", line=1)
        fields = {f.name for declared in tracepoints.values() for f in declared.fields}
        for name in head:
            if name not in fields and name not in ("event", "cpu", *times):
                raise RecordingError(f"no tracepoint has a field {name}{did_you_mean(name, fields)}", line=1)
            if head.count(name) > 1:
                raise RecordingError(f"the column {name} is there twice", line=1)
        by_event = {declared.event: name for name, declared in tracepoints.items()}
        for row in rows:
            if not row:
                continue
            if len(row) != len(head):
                raise RecordingError(f"{len(row)} cells, the first line has {len(head)}", line=rows.line_num)
            cells = dict(zip(head, row, strict=True))
            event = cells["event"].strip()
            declared = tracepoints.get(by_event.get(event, event))
            if declared is None:
                yield rows.line_num, event, None
                continue
            yield rows.line_num, event, _made(declared, cells, times[0], rows.line_num)
    except csv.Error as error:
        raise RecordingError(f"no CSV: {error}", line=rows.line_num) from error
    finally:
        text.detach()


def _made(declared: type[Tracepoint], cells: dict[str, str], time: str, line: int) -> Made:
    def refuse(name: str, expected: str) -> RecordingError:
        if not cells.get(name):
            return RecordingError(f"{declared.event_name} has no {name}", line=line)
        return RecordingError(f"{name} of {declared.event_name} is {cells[name]!r}; expected {expected}", line=line)

    try:
        seconds = cells[time].strip()
        whole, _, fraction = seconds.partition(".")
        digits = len(str(_TIMES[time])) - 1
        ns = int(whole) * _TIMES[time] + int((fraction + "0" * digits)[:digits] or "0")
    except ValueError:
        raise refuse(time, "a time") from None
    try:
        cpu = int(cells["cpu"]) if cells.get("cpu") else 0
    except ValueError:
        raise refuse("cpu", "a number") from None
    values: list[Value] = []
    for f in declared.fields:
        try:
            values.append(_value(f, cells.get(f.name, "").strip()))
        except ValueError:
            names = f", or a name of {f.enum.__name__}" if f.enum is not None else ""
            raise refuse(f.name, f"{f.type.text}{names}") from None
    return Made(declared.event_name, ns, cpu, values)


def _value(f: Field, text: str) -> Value:
    if f.type.base == "char":
        return text.encode()
    if f.type.count:
        return [_number(item) for item in text.split()]
    if f.enum is not None and text in f.enum.__members__:
        return int(f.enum[text])
    value = _number(text)
    if not f.type.minimum <= value <= f.type.maximum:
        raise ValueError
    return value


def _number(text: str) -> int:
    if len(text) > 32:
        raise ValueError
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)
