"""The tracepoints of a bench: firing, enabling, listening."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from axebpf.errors import ClockError, NotFound
from axebpf.trace import Event
from axebpf.tracepoint import Tracepoint

if TYPE_CHECKING:
    import numpy as np

    from axebpf import _native
    from axebpf.bench import Bench

__all__ = ["Declared", "Listener", "TracepointHandle", "TracepointTable"]

MAX_BATCH = 1 << 14
"""Events that are handed to the core at once: what `fire_many` splits its columns into."""

MAX_BATCH_OF_THREADS = 1 << 18
"""The same on several threads, each of which is started once a batch."""

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

    @property
    def filter(self) -> str | None:
        """Which of its events enter the trace while it is enabled: an expression, or None for all.

        The language is that of Linux's event filters; programs and callbacks have filters of their own. None clears it,
        and so does `"0"`, as on Linux. Raises FilterError with the place in the text; the filter is then as it was.

        >>> from axebpf import Bench
        >>> exits = Bench().tracepoints["vmm:vcpu_run_exit"]
        >>> exits.filter = "duration_ns > 1000 && !(exit_reason == 3)"
        >>> exits.filter = "duration > 1000"
        Traceback (most recent call last):
            ...
        axebpf.errors.FilterError: vmm:vcpu_run_exit: no field duration; did you mean duration_ns?
          duration > 1000
          ^
        >>> exits.filter
        'duration_ns > 1000 && !(exit_reason == 3)'
        """
        return self._native.filter

    @filter.setter
    def filter(self, text: str | None) -> None:
        self._native.set_filter(text)

    def format(self, target: str | None = None) -> str:
        """The text of its `format` file, in Linux's or AxVisor's form; without a target, in that of the bench's."""
        return self._spec.format(target or self._bench.target)

    def fire_many(
        self, table: Any = None, /, *, time_ns: Any = None, cpu: Any = None, threads: int = 1, **columns: Any
    ) -> int:
        """Fires one event for each row of the columns: arrays or sequences of integers, or a single one for all rows.

        A field that is an array takes a column of two dimensions, a text (`char[16]`) one of bytes or of text.

        A table (a structured NumPy array, or anything with `column_names` as Arrow's) may stand for them. `time_ns`
        and `cpu` are columns too, or single values. Returns the number of events. Raises FieldError for columns of
        unequal length or values out of range, before the first event; ProgramFault where a program was stopped.

        With `threads`, so many of them (at most one a CPU) take the events of some CPUs each, in their order; maps are
        shared. Statistics, trace and how often programs ran are those of one thread. What depends on the order of
        events of different CPUs is not: which of them finds what in a map that they share. Random numbers come from a
        stream a CPU, and are the same for any number of threads from two. Where a program is stopped, all events before
        that one have happened, and on other CPUs some behind it. Raises ThreadsError, before the first event, for none,
        and for what only one thread can do: callbacks (`on`), helpers of your own, and AxVisor's VM and maps.

        >>> from axebpf import Bench
        >>> bench = Bench(cpus=4)
        >>> exits = bench.tracepoints["vmm:vcpu_run_exit"]
        >>> reasons = range(1000)
        >>> cpus = [reason % 4 for reason in reasons]
        >>> exits.fire_many(vm_id=1, vcpu_id=0, exit_reason=reasons, duration_ns=5, cpu=cpus, threads=2)
        1000
        >>> bench.stats["vmm:vcpu_run_exit"].total_ns
        5000
        """
        from axebpf.columns import CPU, TIME, common_rows, read_column, read_columns, table_columns

        if table is not None:
            columns = {**table_columns(table), **columns}
            time_ns = columns.pop("time_ns", time_ns)
            cpu = columns.pop("cpu", cpu)
        if threads != 1:
            self._native.check_threads(threads)
        kinds = {field.name: field.type for field in self.declaration.fields}
        prepared = read_columns(self.name, kinds, columns)
        times = None if time_ns is None else read_column(self.name, "time_ns", time_ns, TIME)
        cpus = None if cpu is None else read_column(self.name, "cpu", cpu, CPU)
        rows = common_rows(self.name, {**prepared, "time_ns": times, "cpu": cpus})
        if cpus is not None and rows and cpus.greatest >= self._bench.cpus:
            raise ClockError(f"there is no CPU {cpus.greatest}: this bench has CPUs 0 to {self._bench.cpus - 1}")
        times_array = None if times is None else times.spread(rows)
        cpus_array = None if cpus is None else cpus.spread(rows)
        done, batch = 0, MAX_BATCH if threads == 1 else MAX_BATCH_OF_THREADS
        for first in range(0, rows, batch):
            part = slice(first, first + batch)
            done += self._native.fire_rows(
                [column.part(part) for column in prepared.values()],
                None if times_array is None else times_array[part],
                None if cpus_array is None else cpus_array[part],
                threads,
            )
        return done

    def on(self, function: Callable[[Event], object], *, filter: str | None = None) -> Listener:
        """Calls a Python function with each event, after the programs; with a filter, with those that pass.

        Its exceptions end the batch and come out of `fire`. Usable as a decorator; `Listener` has `remove()`. Raises
        FilterError.
        """
        layout, name = self._spec, self.name

        def call(record: bytes, time_ns: int, cpu: int) -> None:
            function(Event(layout, name, time_ns, cpu, record))

        return Listener(self._native, self._native.listen(call, filter))

    def __repr__(self) -> str:
        if self._bench.closed:
            return f"<Tracepoint {self.name}, id {self.id}, of a closed bench>"
        state = "enabled" if self.enabled else "disabled"
        return f"<Tracepoint {self.name}, id {self.id}, {state}, {self.fired} events>"


class TracepointTable(Mapping[str, TracepointHandle]):
    """The tracepoints of a bench by name, sorted by subsystem, then by event."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __getitem__(self, name: str) -> TracepointHandle:
        """A tracepoint. Raises InvalidName or NotFound, which names the nearest one."""
        try:
            slot = self._bench._native.slot(name)
        except UnicodeEncodeError:
            raise NotFound(f"no tracepoint {name!a}") from None
        return self._bench._by_slot[slot]

    def __iter__(self) -> Iterator[str]:
        return (self._bench._by_slot[slot].name for slot in self._bench._native.sorted())

    def __len__(self) -> int:
        return len(self._bench._by_slot)

    def _repr_html_(self) -> str:
        from axebpf.tables import html_table

        head = ["tracepoint", "id", "enabled", "fired", "programs", "meaning"]
        if self._bench.closed:
            return html_table("Tracepoints of a closed bench", [], [], 0)
        rows = [(name, t.id, "yes" if t.enabled else "", t.fired, t.programs, t.doc) for name, t in self.items()]
        return html_table(f"{len(rows)} tracepoints", head, rows, len(rows))

    def __repr__(self) -> str:
        return f"<{len(self)} tracepoints>"
