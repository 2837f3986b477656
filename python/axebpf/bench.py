"""`Bench`: one hypervisor under test.

A bench owns a clock, CPUs, tracepoints, maps, programs, links, a trace and statistics; two benches share nothing.
"""

from __future__ import annotations

import fnmatch
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from axebpf import _native
from axebpf.btf import Codec, codec_of
from axebpf.errors import (
    AttachError,
    FieldError,
    HelperError,
    LoadError,
    NotFound,
    TracepointError,
    did_you_mean,
)
from axebpf.maps import Map, MapTable, wrap
from axebpf.trace import Event, Trace
from axebpf.tracepoint import Tracepoint, numpy_dtype
from axebpf.tracepoints import BUILTIN

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Bench",
    "Globals",
    "Link",
    "LoadedObject",
    "Program",
    "ProgramRun",
    "ProgramStats",
    "RunResult",
    "Statistics",
    "Step",
    "TracepointHandle",
]

MAX_BATCH = 1 << 16
"""Events that are handed to the core at once: what `fire_many` splits its columns into."""

CUSTOM_HELPERS = 0x10000
"""The first id for helpers of one's own."""


@dataclass(frozen=True)
class Statistics:
    """What the events of one tracepoint came to. Times are nanoseconds; None where there was no sample."""

    count: int
    """Events."""
    samples: int
    """Events with a duration."""
    total_ns: int
    """All durations together."""
    min_ns: int | None
    """The shortest duration."""
    max_ns: int | None
    """The longest."""
    avg_ns: int | None
    """The average over the samples."""
    last_timestamp_ns: int | None
    """Time of the last event."""
    p50_ns: int | None
    """Upper bound of the bucket that holds the median."""
    p90_ns: int | None
    """Upper bound of the bucket of the 90th percentile."""
    p99_ns: int | None
    """Upper bound of the bucket of the 99th percentile."""
    buckets: tuple[int, ...]
    """Samples below 1 µs, 10 µs, 100 µs, 1 ms, 10 ms, 100 ms, 1 s, and the rest."""


@dataclass(frozen=True)
class ProgramStats:
    """What a program has done."""

    runs: int
    """Runs begun."""
    misses: int
    """Events passed over because a program was running on that CPU already (recursion, as on Linux)."""
    faults: int
    """Runs that a fault stopped."""
    instructions: int
    """Instructions executed."""


@dataclass(frozen=True)
class ProgramRun:
    """What a run by hand came to."""

    r0: int
    """The return value, as an unsigned 64-bit number."""
    instructions: int
    """Instructions executed."""
    printed: tuple[str, ...]
    """Lines of `bpf_printk`."""
    ctx: bytes
    """The context after the run."""


@dataclass(frozen=True)
class Step:
    """One instruction of a run, before it was executed."""

    insn: int
    """Its slot."""
    depth: int
    """Frames in use; 1 in the program itself."""
    registers: tuple[int, ...]
    """r0 to r10."""
    source: str
    """Source line as `file:line: text`, or empty."""


@dataclass(frozen=True)
class RunResult:
    """What a workload came to."""

    events: int
    """Events fired."""
    by_tracepoint: dict[str, int]
    """Events of each tracepoint."""
    lost: int
    """Trace entries lost."""
    programs: dict[str, ProgramStats]
    """What each program did during the run, by its name (with `#id` where two share one)."""
    time_ns: int
    """Time of the last event."""


class Link:
    """A program attached to a tracepoint; also a context manager that detaches."""

    def __init__(self, native: _native.Link, program: Program, tracepoint: TracepointHandle) -> None:
        self._native = native
        self.program = program
        """The program."""
        self.tracepoint = tracepoint
        """Where it is attached."""
        self.attached = True
        """Whether it still is."""

    def detach(self) -> None:
        """Detaches the program from the next event on. Raises AttachError when that is done already."""
        self._native.detach()
        self.attached = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.attached:
            self.detach()

    def __repr__(self) -> str:
        state = "attached to" if self.attached else "detached from"
        return f"<Link: {self.program.name} {state} {self.tracepoint.name}>"


class Program:
    """A program of a bench."""

    def __init__(self, bench: Bench, native: _native.Program) -> None:
        self._bench = bench
        self._native = native

    @property
    def name(self) -> str:
        """Function name."""
        return self._native.name

    @property
    def id(self) -> int:
        """Its number in the bench; never given twice."""
        return self._native.id

    @property
    def type(self) -> str | None:
        """Program type by its `SEC` prefix, such as `tracepoint`; None where the section names none."""
        return self._native.type

    @property
    def section(self) -> str:
        """ELF section."""
        return self._native.section

    @property
    def target(self) -> str | None:
        """What the section names: `vmm:vcpu_run_exit`."""
        return self._native.target

    @property
    def stats(self) -> ProgramStats:
        """What it has done so far."""
        return ProgramStats(*self._native.counts())

    def attach(self, tracepoint: str | TracepointHandle | type[Tracepoint] | None = None, *, cookie: int = 0) -> Link:
        """Runs the program at each event of a tracepoint: the one that its section names, or the one given.

        `cookie` is what `bpf_get_attach_cookie` returns. Raises AttachError as Linux refuses: a type that does not
        attach to tracepoints, the same program twice, the 65th program; NotFound for an unknown tracepoint.
        """
        if tracepoint is None:
            if self.target is None or (":" not in self.target and self.type != "raw_tracepoint"):
                raise AttachError(
                    f"section {self.section!r} names no tracepoint; say which: attach(\"vmm:vcpu_run_exit\")",
                    program=self.name,
                )
            tracepoint = self.target
        handle = self._bench._handle(tracepoint)
        try:
            return Link(handle._native.attach(self._native, cookie), self, handle)
        except AttachError as error:
            error.program, error.target = None, None
            raise

    def run(
        self,
        ctx: bytes = b"",
        *,
        time_ns: int | None = None,
        cpu: int | None = None,
        vm_id: int = 0,
        vcpu_id: int = 0,
        exit_reason: int = 0,
    ) -> ProgramRun:
        """Runs it once on a context: of a tracepoint program the record, header included; of others what r1 points to.

        `vm_id`, `vcpu_id` and `exit_reason` are what the helpers 100 to 102 answer. Raises ProgramFault.
        """
        ran = self._native.run(bytes(ctx), time_ns, cpu, (vm_id, vcpu_id, exit_reason))
        return self._finished(ran)

    def steps(self, ctx: bytes = b"", *, limit: int = 100_000, cpu: int | None = None) -> list[Step]:
        """Runs it once as `run` does, and gives each instruction with the registers before it, up to `limit`.

        A run that a fault stops gives the steps up to there; the last one is the faulting instruction.
        """
        _, steps = self._native.steps(bytes(ctx), limit, None, cpu, (0, 0, 0))
        lines = self._native.lines
        return [Step(insn, depth, registers, _source(lines, insn)) for insn, depth, registers in steps]

    def _finished(self, ran: tuple[int | None, BaseException | None, int, list[str], bytes]) -> ProgramRun:
        r0, fault, instructions, printed, ctx = ran
        if fault is not None:
            raise fault
        assert r0 is not None
        return ProgramRun(r0, instructions, tuple(printed), ctx)

    def profile(self) -> list[tuple[int, int, str]]:
        """Each instruction's slot, how often it was executed so far, and its source line."""
        lines = self._native.lines
        return [(insn, count, _source(lines, insn)) for insn, count in self._native.profile()]

    def disassemble(self) -> str:
        """The instructions in the kernel's notation."""
        return self._native.text()

    def unload(self, *, force: bool = False) -> None:
        """Takes it out of the bench. Raises AttachError while it is attached; `force=True` detaches it."""
        self._native.unload(force)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {self.type or 'no type'}, {len(self._native.insns) // 8} instructions>"


def _source(lines: list[tuple[int, str, int, int, str]], insn: int) -> str:
    found = ""
    for slot, file, line, _, text in lines:
        if slot > insn:
            break
        found = f"{file}:{line}: {text.strip()}"
    return found


class Globals(Mapping[str, Any]):
    """The global variables of an object, typed by BTF; those that are not const can be set."""

    def __init__(self, entries: list[dict[str, Any]], maps: MapTable) -> None:
        self._entries: dict[str, tuple[str, int, Codec]] = {
            entry["name"]: (entry["map"], entry["offset"], codec_of(entry["layout"])) for entry in entries
        }
        self._maps = maps

    def _find(self, name: str) -> tuple[Map, int, Codec]:
        if name not in self._entries:
            raise NotFound(f"no global variable {name}{did_you_mean(name, self._entries)}")
        section, offset, codec = self._entries[name]
        return self._maps[section], offset, codec

    def __getitem__(self, name: str) -> Any:
        """The value of a variable now. Raises NotFound, which names the nearest one."""
        section, offset, codec = self._find(name)
        data = section.lookup(bytes(4)) or b""
        return codec.decode(data[offset : offset + codec.size])

    def __setitem__(self, name: str, value: Any) -> None:
        """Sets a variable. Raises MapError EPERM for a const one: give it to `load(rodata=…)`."""
        section, offset, codec = self._find(name)
        data = bytearray(section.lookup(bytes(4)) or b"")
        data[offset : offset + codec.size] = codec.encode(value)
        section.update(bytes(4), bytes(data))

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Globals {dict(self)}>"


class LoadedObject(Mapping[str, Program]):
    """What `Bench.load` made of an object: programs by name, `maps`, `globals`."""

    def __init__(self, bench: Bench, native: _native.Object, programs: list[Program], maps: MapTable) -> None:
        self._bench = bench
        self._native = native
        self._programs = {program.name: program for program in programs}
        self.maps = maps
        """The object's maps by name, data sections among them."""
        self.globals = Globals(native.globals, maps)
        """The object's global variables."""
        self.license = native.license
        """The licence string."""
        self.warnings = native.warnings
        """What the loader passed over."""

    def __getitem__(self, name: str) -> Program:
        """A program. Raises NotFound, which names the nearest one."""
        if name not in self._programs:
            raise NotFound(f"{self._native.file} has no program {name}{did_you_mean(name, self._programs)}")
        return self._programs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs)

    def __len__(self) -> int:
        return len(self._programs)

    def attach(self) -> list[Link]:
        """Attaches every program whose section names a tracepoint."""
        return [program.attach() for program in self._programs.values() if program.target is not None]

    def __repr__(self) -> str:
        return f"<LoadedObject {self._native.file}: {', '.join(self._programs)}>"


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

    def __init__(self, bench: Bench, native: _native.Tracepoint, spec: _native.TracepointSpec, declared: type[Tracepoint]):
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

    def fire_many(
        self, table: Any = None, /, *, time_ns: Any = None, cpu: Any = None, **columns: Any
    ) -> int:
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
            for name, column in zip(
                [*self._fields, "time_ns", "cpu"], [*prepared, times, cpus], strict=True
            )
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
        """Calls a Python function with each event, after the programs. Its exceptions end the batch and come out of `fire`.

        Usable as a decorator; the returned `Listener` has `remove()`.
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


class _Tracepoints(Mapping[str, TracepointHandle]):
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


class _Stats(Mapping[str, Statistics]):
    """Statistics by tracepoint, for those that have fired."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __getitem__(self, name: str) -> Statistics:
        """The statistics of a tracepoint. Raises NotFound, which names the nearest one."""
        values = self._bench.tracepoints[name]._native.statistics()
        return Statistics(**{**values, "buckets": tuple(values["buckets"])})

    def percentile(self, name: str, percent: float) -> int | None:
        """An estimate of a percentile, interpolated inside its bucket; None without samples."""
        return self._bench.tracepoints[name]._native.interpolated(round(percent * 10_000))

    def reset(self) -> None:
        """Forgets everything."""
        self._bench._native.reset_statistics()

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._bench.tracepoints if self._bench.tracepoints[name]._native.statistics()["count"])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Clock:
    """The clock of a bench."""

    def __init__(self, native: _native.Bench) -> None:
        self._native = native

    @property
    def now(self) -> int:
        """Nanoseconds since boot."""
        return self._native.now()

    def set(self, ns: int) -> None:
        """Sets the clock, backwards too. Raises ClockError for `clock="real"`."""
        self._native.set_time(ns)

    def advance(self, ns: int) -> None:
        """Moves the clock on. Raises ClockError for `clock="real"`."""
        self._native.advance(ns)

    def __repr__(self) -> str:
        return f"<Clock at {self.now} ns>"


class Bench:
    """One hypervisor under test, with AxVisor's 29 tracepoints; also a context manager that closes it.

    `engine`: `"auto"` or `"interpreter"`. `cpus`: 1 to 8192. `clock`: `"manual"` (1 s after boot, moves only when
    told), `"real"`, or the number of ns by which each event advances it. `seed` is of the random numbers and of the
    pattern in fresh stacks. `statistics`: whether events are counted and timed. `trace_entries`: room of the trace.
    `budget`: instructions that one run may execute.

    >>> with Bench() as bench:
    ...     bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1500)
    ...     bench.stats["vmm:vm_boot"].total_ns
    1500
    """

    def __init__(
        self,
        *,
        engine: str = "auto",
        cpus: int = 4,
        clock: str | int = "manual",
        seed: int = 0,
        statistics: bool = True,
        trace_entries: int = 65536,
        budget: int = 1 << 24,
    ) -> None:
        if engine not in ("auto", "interpreter"):
            raise LoadError(f"no engine {engine!r}; engines are auto and interpreter")
        self._native = _native.Bench(
            cpus=cpus, clock=clock, seed=seed, statistics=statistics, trace_entries=trace_entries, budget=budget
        )
        self._by_slot: list[TracepointHandle] = []
        self._layouts: dict[str, Any] = {}
        self._programs: list[Program] = []
        self._helper_names: dict[int, str] = {}
        self.cpus = cpus
        """How many CPUs it has."""
        self.tracepoints: Mapping[str, TracepointHandle] = _Tracepoints(self)
        """Tracepoints by name."""
        self.stats = _Stats(self)
        """Statistics by tracepoint."""
        self.maps = MapTable("this bench")
        """All maps by name."""
        self.clock = Clock(self._native)
        """The clock."""
        self.trace = Trace(self._native, self._layouts)
        """The trace."""
        for declared in BUILTIN:
            self.define(declared)

    # Tracepoints

    def define(self, declared: type[Tracepoint]) -> TracepointHandle:
        """Adds a tracepoint of one's own, equal to the built-in ones. Raises DeclarationError for a taken name or id."""
        spec = _native.TracepointSpec(declared.event_name, declared.id, declared.declaration())
        native = self._native.define(spec)
        handle = TracepointHandle(self, native, spec, declared)
        self._by_slot.append(handle)
        self._layouts[declared.event_name] = spec
        return handle

    def _handle(self, tracepoint: str | TracepointHandle | type[Tracepoint]) -> TracepointHandle:
        if isinstance(tracepoint, TracepointHandle):
            if tracepoint._bench is not self:
                raise AttachError(f"{tracepoint.name} belongs to another bench")
            return tracepoint
        if isinstance(tracepoint, type):
            return self.tracepoints[tracepoint.event_name]
        if ":" not in tracepoint:
            # A raw tracepoint is named by its event alone, as on Linux.
            found = [handle for handle in self._by_slot if handle.declaration.event == tracepoint]
            if found:
                return found[0]
            names = [handle.declaration.event for handle in self._by_slot]
            raise NotFound(f"no event {tracepoint}{did_you_mean(tracepoint, names)}")
        return self.tracepoints[tracepoint]

    def enable(self, pattern: str = "*") -> int:
        """Lets the events of all tracepoints that match (`vmm:*`) enter the trace; returns how many those are."""
        return self._set_enabled(pattern, True)

    def disable(self, pattern: str = "*") -> int:
        """The opposite of `enable`."""
        return self._set_enabled(pattern, False)

    def _set_enabled(self, pattern: str, enabled: bool) -> int:
        found = fnmatch.filter(self.tracepoints, pattern)
        if not found:
            raise NotFound(f"no tracepoint matches {pattern}{did_you_mean(pattern, self.tracepoints)}")
        for name in found:
            self.tracepoints[name].enabled = enabled
        return len(found)

    # Programs and maps

    @property
    def programs(self) -> Mapping[str, Program]:
        """All programs by name; of programs that share one, the last."""
        return types.MappingProxyType({program.name: program for program in self._programs})

    def load(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        rodata: Mapping[str, Any] | None = None,
        max_entries: Mapping[str, int] | None = None,
        types: Mapping[str, str] | None = None,
        only: list[str] | None = None,
    ) -> LoadedObject:
        """Loads an object: creates its maps, links and checks its programs. Nothing is attached yet.

        `source` is a path or the bytes. `rodata` sets global variables by name (constants too), `max_entries` the
        capacity of maps, `types` the type of programs whose section names none, `only` which programs are loaded.
        Raises LoadError (file, section, offset) and MapError; then nothing of the object is loaded.
        """
        if isinstance(source, bytes):
            data, file = source, "<bytes>"
        else:
            file = os.fspath(source)
            try:
                data = Path(file).read_bytes()
            except OSError as error:
                raise LoadError(f"cannot be read: {error.strerror}", file=file) from error
        native = _native.Object(data, file)
        codecs = {entry["name"]: codec_of(entry["layout"]) for entry in native.globals}
        values = []
        for name, value in (rodata or {}).items():
            if name not in codecs:
                raise LoadError(f"no global variable {name}{did_you_mean(name, codecs)}", file=file)
            try:
                values.append((name, codecs[name].encode(value)))
            except (TypeError, ValueError) as error:
                raise LoadError(f"the variable {name}: {error}", file=file) from error
        programs, maps = self._native.load(
            native, values, list((max_entries or {}).items()), list((types or {}).items()), only
        )
        layouts = {entry["name"]: (entry["key"], entry["value"]) for entry in native.maps}
        table = MapTable(file)
        for native_map in maps:
            key, value = layouts[native_map.name]
            wrapped = wrap(native_map, key, value, self.cpus, native.layout)
            table.add(wrapped)
            self.maps.add(wrapped)
        loaded = [Program(self, program) for program in programs]
        self._programs.extend(loaded)
        return LoadedObject(self, native, loaded, table)

    def load_bytes(
        self,
        code: bytes,
        *,
        type: str = "axvisor",
        maps: Mapping[int, Map] | None = None,
        license: str = "GPL",
        name: str = "program",
    ) -> Program:
        """Loads raw instructions, 8 bytes each. `maps` gives the map for each descriptor that `lddw` names.

        `type` is a `SEC` prefix: `tracepoint`, `raw_tracepoint`, `kprobe`, `syscall`, `xdp`, `socket`, `axvisor`,
        `mem`. Raises LoadError.
        """
        given = [(fd, table_map._native) for fd, table_map in (maps or {}).items()]
        program = Program(self, self._native.load_bytes(name, bytes(code), type, license, given))
        self._programs.append(program)
        return program

    def create_map(
        self,
        type: str,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        *,
        extra: int = 0,
        name: str = "map",
    ) -> Any:
        """A map of its own: `type` by the kernel's name (`hash`, `percpu_array`, `ringbuf` …). Raises MapError as Linux."""
        native = self._native.create_map(name, type, key_size, value_size, max_entries, flags, extra)

        def no_types(wanted: str) -> Any:
            raise NotFound(f"{name} was made by hand: there is no type {wanted}")

        integer = {size: ("int", size, False, "number") for size in (1, 2, 4, 8)}
        created = wrap(native, integer.get(key_size), integer.get(value_size), self.cpus, no_types)
        self.maps.add(created)
        return created

    def helper(self, prototype: str, *, id: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Makes a Python function a helper: `@bench.helper("u64 my_helper(u32 vm, void *buf, u32 buf__sz)", id=0x10000)`.

        Numbers arrive as integers; a pointer `p` with a size `p__sz` behind it as a `bytearray` (of a `const` one
        `bytes`), whose contents go back to the program. The result is an integer or None. Ids begin at 0x10000. An
        exception stops the run and comes out of `fire`. Raises HelperError for a prototype that cannot be read.
        """
        name, parameters = _parse_prototype(prototype)
        if not CUSTOM_HELPERS <= id < 1 << 31:
            raise HelperError(f"the id is {id:#x}; helpers of one's own have ids from {CUSTOM_HELPERS:#x}", helper=name)
        if id in self._helper_names:
            raise HelperError(f"the id {id:#x} is {self._helper_names[id]}", helper=name)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._helper_names[id] = name
            self._native.helpers[id] = (_adapter(function, parameters), [native for native, _ in parameters])
            return function

        return register

    # Events

    def run(self, workload: str, **parameters: Any) -> RunResult:
        """Runs a simulated hypervisor: fires the events of a workload (`boot`), in order, at their times.

        Raises HypervisorError for an unknown workload or a parameter out of range; ProgramFault where a program was
        stopped.
        """
        from axebpf.hypervisor import workload as make

        before = {program.id: program.stats for program in self._programs}
        fired = {name: handle.fired for name, handle in self.tracepoints.items()}
        lost = self.trace.lost
        events = last = 0
        for chunk in make(workload, **parameters):
            handles = [self.tracepoints[name] for name in chunk.names]
            columns = [[chunk.columns[h.name][field] for field in h._fields] for h in handles]
            events += self._native.fire_mixed(
                [handle._native for handle in handles], chunk.order, chunk.time_ns, chunk.cpu, columns
            )
            last = int(chunk.time_ns[-1]) if len(chunk.time_ns) else last
        counts = {name: handle.fired - fired[name] for name, handle in self.tracepoints.items()}
        return RunResult(
            events=events,
            by_tracepoint={name: count for name, count in counts.items() if count},
            lost=self.trace.lost - lost,
            programs=self._program_deltas(before),
            time_ns=last,
        )

    def _program_deltas(self, before: dict[int, ProgramStats]) -> dict[str, ProgramStats]:
        out: dict[str, ProgramStats] = {}
        for program in self._programs:
            old, new = before[program.id], program.stats
            delta = ProgramStats(
                new.runs - old.runs,
                new.misses - old.misses,
                new.faults - old.faults,
                new.instructions - old.instructions,
            )
            if delta.runs or delta.misses:
                out[program.name if program.name not in out else f"{program.name}#{program.id}"] = delta
        return out

    @property
    def cpu(self) -> int:
        """The CPU that events happen on. Setting it raises ClockError for one that there is not."""
        return self._native.cpu()

    @cpu.setter
    def cpu(self, cpu: int) -> None:
        self._native.set_cpu(cpu)

    # Life

    def close(self) -> None:
        """Ends the bench: whatever is done with it or its parts from now on raises BenchClosed."""
        self._native.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._native.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<Bench, closed>"
        return (
            f"<Bench: engine interpreter, {self.cpus} CPUs, {len(self.tracepoints)} tracepoints, "
            f"{len(self._programs)} programs, {len(self.maps)} maps>"
        )


_PROTOTYPE = re.compile(r"\s*(?:[A-Za-z_]\w*[\s*]+)+?(?P<name>[A-Za-z_]\w*)\s*\((?P<args>[^()]*)\)\s*;?\s*\Z", re.ASCII)
_ARGUMENT = re.compile(r"\s*(?P<const>const\s+)?(?P<type>[A-Za-z_]\w*(?:\s+[A-Za-z_]\w*)*?)\s*(?P<star>\*?)\s*(?P<name>[A-Za-z_]\w*)\s*\Z")
_BITS = {
    **{f"{sign}{bits}": (bits, sign in "is") for sign in "uis" for bits in (8, 16, 32, 64)},
    **{f"__{sign}{bits}": (bits, sign == "s") for sign in "us" for bits in (8, 16, 32, 64)},
    "int": (32, True),
    "long": (64, True),
    "unsigned int": (32, False),
    "unsigned long": (64, False),
    "bool": (8, False),
}
_Parameter = tuple[dict[str, Any], bool]


def _parse_prototype(prototype: str) -> tuple[str, list[_Parameter]]:
    """Name and parameters of a helper's C prototype; with each, whether it is a size that only the core needs."""
    match = _PROTOTYPE.match(prototype)
    if match is None:
        raise HelperError(f"{prototype!r} is no C prototype, as in \"u64 my_helper(u32 vm, void *buf, u32 buf__sz)\"")
    name = match["name"]
    texts = [] if match["args"].strip() in ("", "void") else match["args"].split(",")
    if len(texts) > 5:
        raise HelperError(f"{len(texts)} parameters; a helper has at most 5", helper=name)
    arguments = []
    for text in texts:
        argument = _ARGUMENT.match(text)
        if argument is None:
            raise HelperError(f"the parameter {text.strip()!r} cannot be read", helper=name)
        arguments.append(argument)
    names = [argument["name"] for argument in arguments]
    parameters: list[_Parameter] = []
    for argument in arguments:
        if argument["star"]:
            size = f"{argument['name']}__sz"
            if size not in names:
                raise HelperError(f"the pointer {argument['name']} needs its size as a parameter {size}", helper=name)
            parameters.append(({"size": names.index(size), "writable": not argument["const"]}, False))
            continue
        kind = " ".join(argument["type"].split())
        if kind not in _BITS:
            raise HelperError(f"unknown type {kind}{did_you_mean(kind, _BITS)}", helper=name)
        bits, signed = _BITS[kind]
        parameters.append(({"bits": bits, "signed": signed}, argument["name"].endswith("__sz")))
    return name, parameters


def _adapter(function: Callable[..., Any], parameters: list[_Parameter]) -> Callable[..., Any]:
    """The function without the sizes, which a `bytearray` knows by itself."""
    if not any(is_size for _, is_size in parameters):
        return function

    def call(*args: Any) -> Any:
        return function(*(arg for arg, (_, is_size) in zip(args, parameters, strict=True) if not is_size))

    return call
