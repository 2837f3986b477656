"""The tracepoints of a bench: firing, enabling, listening."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from axebpf.errors import FieldError, did_you_mean
from axebpf.trace import Event
from axebpf.tracepoint import Tracepoint

if TYPE_CHECKING:
    import numpy as np

    from axebpf import _native
    from axebpf.bench import Bench

__all__ = ["Declared", "Listener", "TracepointHandle", "TracepointTable"]

MAX_BATCH = 1 << 14
"""Events that are handed to the core at once: what `fire_many` splits its columns into."""

Declared = type[Tracepoint]
"""A class that declares a tracepoint."""


class Listener:
    """A Python function that sees the events of a tracepoint; `remove()` ends that."""

    def __init__(self, native: _native.Tracepoint, number: int) -> None:
        self._native, self._number = native, number

    def remove(self) -> bool:
        """No more calls; False where that was so already."""
        return self._native.stop_listening(self._number)


class TracepointHandle:
    """A tracepoint of a bench: fires events, enables them for the trace, shows its format."""

    fire: Callable[..., None]
    """Fires one event: every field by keyword (or in order), and optionally `time_ns` and `cpu`, which default to the
    bench's clock and CPU. Raises FieldError for a value that does not fit, a missing or an unknown field; ProgramFault
    where an attached program was stopped."""

    def __init__(
        self,
        bench: Bench,
        native: _native.Tracepoint,
        spec: _native.TracepointSpec,
        declared: Declared,
    ) -> None:
        self._bench = bench
        self._native = native
        self._spec = spec
        self._fields = [field[0] for field in spec.fields]
        self.declaration = declared
        """The class that declares it."""
        self.fire = native.fire_function()

    @property
    def name(self) -> str:
        """`subsystem:event`."""
        return self._spec.name

    @property
    def id(self) -> int:
        """`common_type` of its records."""
        return self._spec.id

    @property
    def doc(self) -> str:
        """What the event means."""
        return self.declaration.doc

    @property
    def dtype(self) -> np.dtype[np.void]:
        """NumPy dtype of a record."""
        return self.declaration.dtype

    @property
    def fired(self) -> int:
        """Events so far."""
        return self._native.counts()[0]

    @property
    def programs(self) -> int:
        """Programs attached."""
        return self._native.counts()[1]

    @property
    def enabled(self) -> bool:
        """Whether its events enter the trace."""
        return self._native.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._native.set_enabled(value)

    def format(self, target: str = "linux") -> str:
        """The text of its `format` file, in Linux's or AxVisor's form."""
        return self._spec.format(target)

    def fire_many(self, table: Any = None, /, *, time_ns: Any = None, cpu: Any = None, **columns: Any) -> int:
        """Fires one event for each row of the columns: arrays or sequences of integers, or a single one for all rows.

        A table (a structured NumPy array, or anything with `column_names` as Arrow's) may stand for them. `time_ns`
        and `cpu` are columns too, or single values. Returns the number of events. Raises FieldError for columns of
        unequal length or values out of range, before the first event; ProgramFault where a program was stopped.
        """
        if table is not None:
            columns = {**_table_columns(table), **columns}
            time_ns = columns.pop("time_ns", time_ns)
            cpu = columns.pop("cpu", cpu)
        for name in columns:
            if name not in self._fields:
                near = did_you_mean(name, self._fields)
                raise FieldError(f"no field {name}{near}", tracepoint=self.name, field=name)
        missing = [name for name in self._fields if name not in columns]
        if missing:
            raise FieldError(f"no column for {', '.join(missing)}", tracepoint=self.name)
        prepared = [_column(self.name, name, columns[name]) for name in self._fields]
        times = None if time_ns is None else _column(self.name, "time_ns", time_ns)
        cpus = None if cpu is None else _column(self.name, "cpu", cpu)
        lengths = {
            name: len(column)
            for name, column in zip([*self._fields, "time_ns", "cpu"], [*prepared, times, cpus], strict=True)
            if column is not None and not isinstance(column, int)
        }
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise FieldError(f"columns of unequal length: {text}", tracepoint=self.name)
        rows = next(iter(lengths.values()), 1)
        return self._fire_rows(rows, prepared, times, cpus)

    def _fire_rows(self, rows: int, columns: list[Any], times: Any, cpus: Any) -> int:
        import numpy as np

        self._native.check_rows([_range(column) for column in columns])

        def whole(values: Any, kind: Any) -> Any:
            if values is None:
                return None
            if isinstance(values, int):
                return np.full(rows, values, kind)
            return values.astype(kind, copy=False)

        times, cpus = whole(times, np.uint64), whole(cpus, np.uint32)
        done = 0
        for first in range(0, rows, MAX_BATCH):
            part = slice(first, first + MAX_BATCH)
            done += self._native.fire_rows(
                [column if isinstance(column, int) else column[part] for column in columns],
                None if times is None else times[part],
                None if cpus is None else cpus[part],
            )
        return done

    def on(self, function: Callable[[Event], object]) -> Listener:
        """Calls a Python function with each event, after the programs.

        Its exceptions end the batch and come out of `fire`. Usable as a decorator; `Listener` has `remove()`.
        """
        layout, name = self._spec, self.name

        def call(record: bytes, time_ns: int, cpu: int) -> None:
            function(Event(layout, name, time_ns, cpu, record))

        return Listener(self._native, self._native.listen(call))

    def __repr__(self) -> str:
        state = "enabled" if self.enabled else "disabled"
        return f"<Tracepoint {self.name}, id {self.id}, {state}, {self.fired} events>"


def _table_columns(table: Any) -> dict[str, Any]:
    """The columns of a structured array or an Arrow table."""
    names = getattr(table, "column_names", None)
    if names is None and getattr(table, "dtype", None) is not None:
        names = [name for name in table.dtype.names or () if not name.startswith("common_")]
    if names is None:
        raise TypeError(f"expected a structured array or a table with column_names, not {type(table).__name__}")
    return {name: table[name] for name in names}


def _column(tracepoint: str, name: str, values: Any) -> Any:
    """A column as a contiguous array of integers, or one integer."""
    import numpy as np

    if isinstance(values, (int, np.integer)):
        return int(values)
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    array = np.asarray(values)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype.kind not in "iu" and array.size == 0:
        array = array.astype(np.uint64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise FieldError(
            f"the column {name} is {array.dtype} of {array.ndim} dimensions; expected one dimension of integers",
            tracepoint=tracepoint,
            field=name,
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _range(column: Any) -> tuple[int, int]:
    """The least and greatest value of a column."""
    if isinstance(column, int):
        return column, column
    return (int(column.min()), int(column.max())) if len(column) else (0, 0)


class TracepointTable(Mapping[str, TracepointHandle]):
    """The tracepoints of a bench by name, sorted by subsystem, then by event."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __getitem__(self, name: str) -> TracepointHandle:
        """A tracepoint. Raises InvalidName or NotFound, which names the nearest one."""
        return self._bench._by_slot[self._bench._native.slot(name)]

    def __iter__(self) -> Iterator[str]:
        return (self._bench._by_slot[slot].name for slot in self._bench._native.sorted())

    def __len__(self) -> int:
        return len(self._bench._by_slot)

    def __repr__(self) -> str:
        return f"<{len(self)} tracepoints>"
