r"""Filters: Linux's expressions about the fields of events, over one event or over columns of many.

The language is that of Linux's event filters, and of AxVisor's where that has more:

- `field op number`, with `==`, `!=`, `<`, `<=`, `>`, `>=`; numbers are decimal, hexadecimal (`0x1f`) or octal (`017`)
- `field & mask`: any of its bits is set; `field & mask op number` compares what the mask leaves
- `field op "text"` or `'text'`, with `==`, `!=`; `~` compares with a pattern of `*`, `?`, `[a-z]`, `[!a-z]`, where `\`
  takes the next character as it is and `!` in front means that the pattern must not fit; `?` is one byte
- `cpu & CPUS{0,2-3}`: one of these CPUs
- `!`, `&&` before `||`, and parentheses

Fields are the tracepoint's own, the `common_…` ones of the record's header, and `cpu` and `comm` of the event. A number
is compared with the width and the sign of its field. Stricter than Linux: a constant that the field cannot hold is an
error, and so is `&&` or `||` with nothing behind it.

>>> from axebpf.tracepoints.definitions import VcpuRunExit
>>> slow = Filter(VcpuRunExit, "duration_ns > 1000 && vm_id == 1")
>>> slow.mask(vm_id=[1, 2, 1], duration_ns=[5_000, 5_000, 10]).tolist()
[True, False, False]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from axebpf import _native
from axebpf.errors import FieldError
from axebpf.trace import Event
from axebpf.tracepoint import Tracepoint

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Filter"]


class _Handle(Protocol):
    declaration: type[Tracepoint]


class Filter:
    """A filter of the events of one tracepoint, compiled once.

    `tracepoint` is the class that declares it, or that tracepoint of a bench. Raises FilterError with the place in the
    text.
    """

    def __init__(self, tracepoint: type[Tracepoint] | _Handle, text: str) -> None:
        self.declaration: type[Tracepoint] = tracepoint if isinstance(tracepoint, type) else tracepoint.declaration
        """The class that declares the tracepoint."""
        spec = _native.TracepointSpec(self.declaration.event_name, self.declaration.id, self.declaration.declaration())
        self._native = _native.Filter(spec, text)

    @property
    def text(self) -> str:
        """The expression, as it was written."""
        return self._native.text

    @property
    def fields(self) -> tuple[str, ...]:
        """The tracepoint's own fields that it looks at, in their order."""
        return tuple(self._native.fields)

    def matches(self, event: Event | bytes, *, cpu: int = 0, comm: str = "axvisor") -> bool:
        """Whether an event of its tracepoint passes; of a bare record, `cpu` and `comm` say where it happened.

        Raises FieldError for an event of another tracepoint, and for a record that is too short.
        """
        if not isinstance(event, Event):
            return self._native.matches(bytes(event), (cpu, 0, comm.encode()))
        if event.name != self.declaration.event_name:
            raise FieldError(f"the filter is for {self.declaration.event_name}", tracepoint=event.name)
        return self._native.matches(event.record, (event.cpu, event.pid, event.comm.encode()))

    def mask(
        self, table: Any = None, /, *, cpu: Any = None, comm: str = "axvisor", **columns: Any
    ) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of many events pass, as an array of bool: one for each row of the columns.

        Columns are as `fire_many` takes them; those that the filter does not look at may be left out. A table (a
        structured NumPy array, or anything with `column_names` as Arrow's) may stand for them; of an array of whole
        records, with the dtype of the tracepoint, `common_pid` and the like are read too, and are 0 otherwise. `cpu` is
        a column too, or one number. Raises FieldError for columns of unequal length, of no field, or with values that
        their field cannot have.
        """
        import numpy as np

        from axebpf.columns import CPU, check_names, common_rows, read_column, table_columns

        name, fields = self.declaration.event_name, self.declaration.fields
        records = table if table is not None and not columns and _dtype(table) == self.declaration.dtype else None
        if table is not None and records is None:
            columns = {**table_columns(table), **columns}
            cpu = columns.pop("cpu", cpu)
            columns.pop("time_ns", None)
        check_names(name, [field.name for field in fields], columns)
        missing = [field for field in self.fields if field not in columns and records is None]
        missing += ["cpu"] if cpu is None and self._native.uses_cpu else []
        if missing:
            raise FieldError(f"no column for {', '.join(missing)}, which the filter looks at", tracepoint=name)
        given = {
            field.name: read_column(name, field.name, columns[field.name], field.type)
            for field in fields
            if field.name in columns
        }
        cpus = None if cpu is None else read_column(name, "cpu", cpu, CPU)
        stamp = (0, 0, comm.encode())
        if records is not None:
            rows = len(records)
            if cpus is not None and cpus.rows not in (None, rows):
                raise FieldError(f"columns of unequal length: {rows} records, cpu has {cpus.rows}", tracepoint=name)
            spread = None if cpus is None else cpus.spread(rows)
            passed = self._native.select_records(np.ascontiguousarray(records).tobytes(), spread, stamp)
            return np.frombuffer(passed, np.bool_)
        rows = common_rows(name, {**given, "cpu": cpus})
        used = [given[field.name].part(slice(None)) if field.name in self.fields else None for field in fields]
        passed = self._native.select(used, None if cpus is None else cpus.spread(rows), stamp)
        found = np.frombuffer(passed, np.bool_)
        # Where all columns that it looks at are single values, the answer is one for all rows.
        return found if len(found) == rows else np.repeat(found, rows)

    def __repr__(self) -> str:
        return f"<Filter of {self.declaration.event_name}: {self.text}>"


def _dtype(table: Any) -> Any:
    return getattr(table, "dtype", None)
