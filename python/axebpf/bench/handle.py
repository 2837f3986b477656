"""The tracepoints of a bench: firing, enabling, listening."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from axebpf.errors import ClockError, FieldError, did_you_mean
from axebpf.tables import html_table
from axebpf.trace import Event
from axebpf.tracepoint import FieldType, Tracepoint

if TYPE_CHECKING:
    import numpy as np

    from axebpf import _native
    from axebpf.bench import Bench

__all__ = ["Declared", "Listener", "TracepointHandle", "TracepointTable"]

MAX_BATCH = 1 << 14
"""Events that are handed to the core at once: what `fire_many` splits its columns into."""

_TIME, _CPU = FieldType("u64"), FieldType("u32")

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

    def format(self, target: str | None = None) -> str:
        """The text of its `format` file, in Linux's or AxVisor's form; without a target, in that of the bench's."""
        return self._spec.format(target or self._bench.target)

    def fire_many(self, table: Any = None, /, *, time_ns: Any = None, cpu: Any = None, **columns: Any) -> int:
        """Fires one event for each row of the columns: arrays or sequences of integers, or a single one for all rows.

        A field that is an array takes a column of two dimensions, a text (`char[16]`) one of bytes or of text.

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
        prepared = [
            _column(self.name, field.name, columns[field.name], field.type) for field in self.declaration.fields
        ]
        times = None if time_ns is None else _column(self.name, "time_ns", time_ns, _TIME)
        cpus = None if cpu is None else _column(self.name, "cpu", cpu, _CPU)
        every = zip([*self._fields, "time_ns", "cpu"], [*prepared, times, cpus], strict=True)
        lengths = {name: column.rows for name, column in every if column is not None and column.rows is not None}
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise FieldError(f"columns of unequal length: {text}", tracepoint=self.name)
        rows = next(iter(lengths.values()), 1)
        if cpus is not None and rows and cpus.greatest >= self._bench.cpus:
            raise ClockError(f"there is no CPU {cpus.greatest}: this bench has CPUs 0 to {self._bench.cpus - 1}")
        times_array = None if times is None else times.spread(rows)
        cpus_array = None if cpus is None else cpus.spread(rows)
        done = 0
        for first in range(0, rows, MAX_BATCH):
            part = slice(first, first + MAX_BATCH)
            done += self._native.fire_rows(
                [column.part(part) for column in prepared],
                None if times_array is None else times_array[part],
                None if cpus_array is None else cpus_array[part],
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
        if self._bench.closed:
            return f"<Tracepoint {self.name}, id {self.id}, of a closed bench>"
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


class _Column:
    """The values of one field: an array with a row an event, or one value for all."""

    def __init__(self, values: Any, kind: FieldType) -> None:
        self.values = values
        self.kind = kind

    @property
    def rows(self) -> int | None:
        """Rows; None where one value goes with any number."""
        return None if isinstance(self.values, int) else len(self.values)

    @property
    def greatest(self) -> int:
        """The greatest number."""
        return self.values if isinstance(self.values, int) else int(self.values.max())

    def spread(self, rows: int) -> Any:
        """As an array of exactly this type, with so many rows."""
        import numpy as np

        if isinstance(self.values, int):
            return np.full(rows, self.values, self.kind.numpy)
        return np.ascontiguousarray(self.values, self.kind.numpy)

    def part(self, rows: slice) -> Any:
        """Some rows, as the core takes them: integers, or for an array field its bytes with their number a row."""
        if isinstance(self.values, int):
            return self.values
        if not self.kind.count:
            return self.values[rows]
        values = self.values[rows]
        return values.tobytes(), self.kind.size


def _column(tracepoint: str, name: str, values: Any, kind: FieldType) -> _Column:
    """A column that fits its field. Raises FieldError for another shape or type, and for numbers out of range."""
    import numpy as np

    def refuse(what: str) -> FieldError:
        return FieldError(f"{name} {what}", tracepoint=tracepoint, field=name)

    if kind.count:
        if hasattr(values, "to_numpy"):
            values = values.to_numpy()
        try:
            array = np.asarray(values) if kind.base == "char" else np.asarray(values, _BASE_DTYPES[kind.base])
            if array.dtype.kind == "U":
                array = np.char.encode(array, "utf-8")
        except (TypeError, ValueError, OverflowError) as error:
            raise refuse(f"is {kind.text}, and no column of it can be made of this: {error}") from None
        if kind.base == "char":
            if array.dtype.kind != "S" or array.dtype.itemsize > kind.count:
                raise refuse(f"is {kind.text} and takes texts of so many bytes, not {array.dtype}")
            array = array.astype(kind.numpy)
        shape = (len(array),) if kind.base == "char" else (len(array), kind.count)
        if array.shape != shape:
            raise refuse(f"is {kind.text}, whose column has the shape {shape}, not {array.shape}")
        return _Column(np.ascontiguousarray(array), kind)
    if isinstance(values, (int, np.integer)):
        least = greatest = int(values)
        column = _Column(int(values), kind)
    else:
        if hasattr(values, "to_numpy"):
            values = values.to_numpy()
        array = np.asarray(values)
        if array.dtype.kind == "b":
            array = array.view(np.uint8)
        if array.dtype.kind not in "iu" and array.size == 0:
            array = array.astype(np.uint64)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            shown = f"{array.dtype} of {array.ndim} dimensions"
            raise refuse(f"has a column of {shown}; expected one dimension of integers")
        column = _Column(np.ascontiguousarray(array, array.dtype.newbyteorder("=")), kind)
        least, greatest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    low, high = (0, 1) if kind.base == "bool" else (kind.minimum, kind.maximum)
    if not (low <= least and greatest <= high):
        wrong = least if least < low else greatest
        rows = column.rows
        row = "" if rows is None else f" (row {int(np.flatnonzero(column.values == wrong)[0])})"
        raise refuse(f"is {kind.text} and takes {low} to {high}, not {wrong}{row}")
    return column


_BASE_DTYPES = {f"{sign}{8 * size}": f"<{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)}


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

    def _repr_html_(self) -> str:
        head = ["tracepoint", "id", "enabled", "fired", "programs", "meaning"]
        if self._bench.closed:
            return html_table("Tracepoints of a closed bench", [], [], 0)
        rows = [(name, t.id, "yes" if t.enabled else "", t.fired, t.programs, t.doc) for name, t in self.items()]
        return html_table(f"{len(rows)} tracepoints", head, rows, len(rows))

    def __repr__(self) -> str:
        return f"<{len(self)} tracepoints>"
