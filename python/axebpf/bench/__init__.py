"""`Bench`: one hypervisor under test.

A bench owns a clock, CPUs, symbols, tracepoints, maps, programs, links, a trace and statistics; two benches share
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import importlib
import itertools
import os
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from axebpf import _native
from axebpf.bench.handle import Declared, Listener, TracepointHandle, TracepointTable
from axebpf.bench.loaded import Globals, LoadedObject
from axebpf.bench.origin import CodeOrigin, MapOrigin, ObjectOrigin
from axebpf.bench.program import LastRun, Link, Program, ProgramRun, ProgramStats, Step, WorstRun, unique_names
from axebpf.bench.stats import Statistics, StatisticsTable
from axebpf.btf import codec_of
from axebpf.errors import (
    AttachError,
    AxebpfError,
    BenchClosed,
    ClockError,
    HelperError,
    HypervisorError,
    LoadError,
    MapError,
    NotFound,
    PortabilityWarning,
    did_you_mean,
)
from axebpf.maps import Map, MapTable, wrap
from axebpf.trace import Trace
from axebpf.tracepoints import BUILTIN

if TYPE_CHECKING:
    from axebpf.bench.comparison import Comparison
    from axebpf.bench.cost import CostReport, ProgramCost
    from axebpf.bench.replay import ReplayResult
    from axebpf.bench.run import Progress, RunResult
    from axebpf.hypervisor import Stream, Workload
    from axebpf.numbered_maps import Things
    from axebpf.recording import Rule
    from axebpf.snapshot import Snapshots
    from axebpf.symbols import SymbolTable

__all__ = [
    "ENGINES",
    "MAP_LIBRARIES",
    "TARGETS",
    "Bench",
    "Clock",
    "Comparison",
    "CostReport",
    "Globals",
    "LastRun",
    "Link",
    "Listener",
    "LoadedObject",
    "Program",
    "ProgramCost",
    "ProgramRun",
    "ProgramStats",
    "Progress",
    "ReplayResult",
    "RunResult",
    "Statistics",
    "Step",
    "TracepointHandle",
    "WorstRun",
]


TARGETS = ("linux", "axvisor")
"""What programs can be run for, the usual one first."""

AXVISOR_ENGINE, AXVISOR_MAPS = "rbpf", "kbpf"
"""What programs run on, on target axvisor, which has nothing else."""

ENGINES = ("interpreter", AXVISOR_ENGINE)
"""What can run programs. `"auto"` chooses among them."""

EVERYDAY_ENGINES = ("interpreter",)
"""Those that take every program: tests are parametrised over them."""

MAP_LIBRARIES = (AXVISOR_MAPS,)
"""Whose maps can be chosen. `"auto"` are those that belong to the target."""

LRU_ORDERS = ("exact", "linux")
"""By which rules a full LRU map drives entries out."""

U64 = (1 << 64) - 1
"""The greatest time."""

MAX_CPUS = 8192
"""The most CPUs: Linux's largest `NR_CPUS`."""


def within(error: type[AxebpfError], what: str, value: int, low: int, high: int) -> int:
    """The number, if it is one in range. Raises the error, which names what it is of."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not low <= value.__index__() <= high:
        raise error(f"{what} is {value!r}; it takes {low} to {high}")
    return value.__index__()


def no_types(name: str) -> Callable[[str], Any]:
    """What finds the types of a map that belongs to no object: none."""

    def find(wanted: str) -> Any:
        raise NotFound(f"{name} was made by hand: there is no type {wanted}")

    return find


class Clock:
    """The clock of a bench."""

    def __init__(self, native: _native.Bench, mode: str | int) -> None:
        self._native = native
        self.mode = mode
        """What moves it: `"manual"`, `"real"`, or the number of ns that each event advances it."""

    @property
    def now(self) -> int:
        """Nanoseconds since boot."""
        return self._native.now()

    def set(self, ns: int) -> None:
        """Sets the clock, backwards too. Raises ClockError for `clock="real"`."""
        self._native.set_time(within(ClockError, "the time", ns, 0, U64))

    def advance(self, ns: int) -> None:
        """Moves the clock on. Raises ClockError for `clock="real"`."""
        self._native.advance(within(ClockError, "the step", ns, 0, U64))

    def __repr__(self) -> str:
        return "<Clock of a closed bench>" if self._native.closed else f"<Clock at {self.now} ns>"


class Bench:
    """One hypervisor under test, with AxVisor's 29 tracepoints; also a context manager that closes it.

    `target`: `"linux"`, or `"axvisor"`, which runs programs as the hypervisor does: on the crate rbpf's VM, over the
    crate kbpf-basic's maps, with AxVisor's helpers (every failure is -1, a looked-up value is a copy) and its
    `TraceContext` as the context of every program. `engine`: `"auto"`, `"interpreter"` or `"rbpf"`; `maps`: `"auto"` or
    `"kbpf"`: the VM and the maps of AxVisor can each be chosen on target linux, with Linux's helpers. rbpf counts no
    instructions, and a program that it may never finish is refused; `endless=True` takes it, for a process that
    somebody else can end. `lru`: which entries a full LRU map drives out: `"exact"`, the one used least recently, or
    `"linux"`, those that Linux 6.18 would: several at a time, by lists of each CPU, so that a map may hold fewer
    entries than it has room for, and an update of a present key may drive out others. Programs that run by turns on the
    CPUs keep the same entries as there; what the bench itself updates counts as done on CPU 0, and what happens at the
    same time on several CPUs has some order there and here. `cpus`: 1 to 8192. `clock`: `"manual"` (1 s after boot,
    moves only when told), `"real"`, or the number of ns by which each event advances it. `seed` is of the random
    numbers and of the pattern in fresh stacks. `statistics`: whether events are counted and timed. `trace_entries`:
    room of the trace. `budget`: instructions that one run may execute.

    >>> with Bench() as bench:
    ...     bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1500)
    ...     bench.stats["vmm:vm_boot"].total_ns
    1500
    """

    def __init__(
        self,
        *,
        target: str = "linux",
        engine: str = "auto",
        maps: str = "auto",
        lru: str = "exact",
        cpus: int = 4,
        clock: str | int = "manual",
        seed: int = 0,
        statistics: bool = True,
        trace_entries: int = 65536,
        budget: int = 1 << 24,
        endless: bool = False,
    ) -> None:
        engines = ("auto", *ENGINES)
        if engine not in engines:
            raise LoadError(f"no engine {engine!r}; engines are {', '.join(engines)}{did_you_mean(engine, engines)}")
        on_axvisor = target == "axvisor"
        if on_axvisor and not (engine in ("auto", AXVISOR_ENGINE) and maps in ("auto", AXVISOR_MAPS)):
            raise LoadError(
                f"target axvisor is the engine {AXVISOR_ENGINE} over the maps {AXVISOR_MAPS}, not {engine} over "
                f"{maps}; each can be chosen on target linux"
            )
        if lru not in LRU_ORDERS:
            raise LoadError(
                f"no order {lru!r} of LRU maps; they are {', '.join(LRU_ORDERS)}{did_you_mean(lru, LRU_ORDERS)}"
            )
        if lru != "exact" and (on_axvisor or maps == AXVISOR_MAPS):
            raise LoadError(f"lru={lru!r} is for axebpf's own maps; those of {AXVISOR_MAPS} have an order of their own")
        if not isinstance(clock, str):
            within(ClockError, "clock", clock, 0, U64)
        within(ClockError, "cpus", cpus, 1, MAX_CPUS)
        within(LoadError, "seed", seed, 0, U64)
        within(LoadError, "trace_entries", trace_entries, 0, (1 << 32) - 1)
        within(LoadError, "budget", budget, 1, (1 << 62) - 1)
        self._options: dict[str, Any] = {
            "cpus": cpus,
            "clock": clock,
            "seed": seed,
            "statistics": statistics,
            "trace_entries": trace_entries,
            "budget": budget,
            "target": target,
            "engine": engine,
            "maps": maps,
            "lru": lru,
            "endless": endless,
        }
        self._native = _native.Bench(**self._options)
        self.target = target
        """What programs are run for: `linux` or `axvisor`."""
        self.engine = AXVISOR_ENGINE if on_axvisor else "interpreter" if engine == "auto" else engine
        """What runs them: `interpreter` or `rbpf`."""
        self.map_library = AXVISOR_MAPS if on_axvisor else "own" if maps == "auto" else maps
        """Whose maps they use: `own` or `kbpf`."""
        self._by_slot: list[TracepointHandle] = []
        self._layouts: dict[str, Any] = {}
        self._programs: list[Program] = []
        self._links: list[Link] = []
        self._helper_names: dict[int, str] = {}
        self._symbols: SymbolTable | None = None
        self._program_of: weakref.WeakValueDictionary[int, Program] = weakref.WeakValueDictionary()
        self.cpus = cpus
        """How many CPUs it has."""
        self.tracepoints: Mapping[str, TracepointHandle] = TracepointTable(self)
        """Tracepoints by name."""
        self.stats = StatisticsTable(self)
        """Statistics by tracepoint."""
        self.maps = MapTable("this bench")
        """All maps by name."""
        self.clock = Clock(self._native, clock)
        """The clock."""
        self.trace = Trace(self._native, self._layouts, target)
        """The trace."""
        for declared in BUILTIN:
            self.define(declared)

    def _things(self) -> Things:
        """What maps of maps and program arrays hold."""
        from axebpf.numbered_maps import Things

        def unnamed(native: _native.Map) -> Map:
            return wrap(native, None, None, self.cpus, no_types(native.name), self._things)

        return Things(self.maps.by_id.get, self._program_of.get, unnamed)

    # Tracepoints

    def define(self, declared: Declared) -> TracepointHandle:
        """Adds a tracepoint of one's own, equal to the built-in ones. Raises DeclarationError for a taken one."""
        spec = _native.TracepointSpec(declared.event_name, declared.id, declared.declaration())
        native = self._native.define(spec)
        handle = TracepointHandle(self, native, spec, declared)
        self._by_slot.append(handle)
        self._layouts[declared.event_name] = spec
        return handle

    def _handle(self, tracepoint: str | TracepointHandle | Declared) -> TracepointHandle:
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
        found = self._matching(pattern)
        for name in found:
            self.tracepoints[name].enabled = enabled
        return len(found)

    def _matching(self, pattern: str) -> list[str]:
        found = fnmatch.filter(self.tracepoints, pattern)
        if not found:
            subsystems = {f"{handle.declaration.subsystem}:*" for handle in self.tracepoints.values()}
            near = did_you_mean(pattern, [*sorted(subsystems), *self.tracepoints])
            raise NotFound(f"no tracepoint matches {pattern}{near}")
        return found

    def set_filter(self, pattern: str | Iterable[str], text: str | None) -> list[str]:
        """Sets the filter of all tracepoints that match (`vmm:*`), as `TracepointHandle.filter` does for one.

        `pattern` may be several.

        One that cannot have it, because it lacks a field, keeps the filter that it has. Returns the names of those that
        took it. Raises FilterError where none did; NotFound.

        >>> Bench().set_filter("vmm:vm_*", "vm_id == 1 && duration_ns > 1000")
        ['vmm:vm_boot', 'vmm:vm_shutdown']
        """
        patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        names = dict.fromkeys(name for each in patterns for name in self._matching(each))
        slots = {self._native.slot(name): name for name in names}
        return [slots[slot] for slot in self._native.set_filters(list(slots), text)]

    # Symbols

    @property
    def symbols(self) -> SymbolTable:
        """The hypervisor's symbols; an empty table until one is assigned."""
        if self.closed:
            raise BenchClosed
        if self._symbols is None:
            from axebpf.symbols import SymbolTable

            return SymbolTable()
        return self._symbols

    @symbols.setter
    def symbols(self, table: SymbolTable) -> None:
        from axebpf.symbols import SymbolTable

        if not isinstance(table, SymbolTable):
            raise TypeError(
                f"symbols is {type(table).__name__}; expected a SymbolTable, as SymbolTable.from_file gives"
            )
        if self.closed:
            raise BenchClosed
        self._symbols = table

    @property
    def has_symbols(self) -> bool:
        """Whether a table has been assigned to `symbols`, be it an empty one."""
        return self._symbols is not None

    # Programs and maps

    @property
    def programs(self) -> Mapping[str, Program]:
        """All programs that are loaded, by name; of programs that share one, the last."""
        return types.MappingProxyType({program.name: program for program in self._programs})

    def load(
        self,
        source: str | os.PathLike[str] | bytes | bytearray | memoryview,
        *,
        rodata: Mapping[str, Any] | None = None,
        max_entries: Mapping[str, int] | None = None,
        types: Mapping[str, str] | None = None,
        only: list[str] | None = None,
    ) -> LoadedObject:
        """Loads an object: creates its maps, links and checks its programs. Nothing is attached yet.

        `source` is a path or the bytes. `rodata` sets global variables by name (constants too), `max_entries` the
        capacity of maps, `types` the type of programs whose section names none, `only` which programs are loaded.
        Raises LoadError (file, section, offset) and MapError; then nothing of the object is loaded. On target axvisor,
        PortabilityError for what AxVisor refuses, and one PortabilityWarning for each program that comes, or may come,
        to something else there than on Linux; `Program.portability` says where and why.
        """
        if isinstance(source, (bytes, bytearray, memoryview)):
            data, file = bytes(source), "<bytes>"
        else:
            file = os.fspath(source)
            try:
                with open(file, "rb") as stream:  # noqa: PTH123 (pathlib is slow to import)
                    data = stream.read()
            except OSError as error:
                raise LoadError(f"cannot be read: {error.strerror}", file=file) from error
        native = _native.Object(data, file)
        programs, table = self._place_object(native, rodata, max_entries, types, only)
        self._programs.extend(programs)
        loaded = LoadedObject(native, programs, table, self.maps)
        if self.target == "axvisor":
            from axebpf.bench.differs import warn

            try:
                warn(programs)
            except PortabilityWarning:  # where warnings are errors
                loaded.unload()
                raise
        return loaded

    def _place_object(
        self,
        native: _native.Object,
        rodata: Mapping[str, Any] | None = None,
        max_entries: Mapping[str, int] | None = None,
        types: Mapping[str, str] | None = None,
        only: list[str] | None = None,
    ) -> tuple[list[Program], MapTable]:
        """As `load`, but the programs are not among `programs` yet."""
        file = native.file
        codecs = {entry["name"]: codec_of(entry["layout"]) for entry in native.globals}
        values = []
        for name, value in (rodata or {}).items():
            if name not in codecs:
                raise LoadError(f"no global variable {name}{did_you_mean(name, codecs)}", file=file)
            try:
                values.append((name, codecs[name].encode(value)))
            except (TypeError, ValueError) as error:
                raise LoadError(f"the variable {name}: {error}", file=file) from error
        for name, entries in (max_entries or {}).items():
            if not 0 <= entries < 1 << 32:
                raise LoadError(f"max_entries of {name} is {entries}; it takes 1 to {(1 << 32) - 1}", file=file)
        try:
            programs, maps = self._native.load(
                native, values, list((max_entries or {}).items()), list((types or {}).items()), only
            )
        except LoadError as error:
            error.file = error.file or file  # what refuses a program knows its section only
            raise
        origin = ObjectOrigin(native, rodata, max_entries, types)
        layouts = {entry["name"]: (entry["key"], entry["value"]) for entry in native.maps}
        table = MapTable(file)
        for native_map in maps:
            key, value = layouts[native_map.name]
            wrapped = wrap(native_map, key, value, self.cpus, native.layout, self._things)
            wrapped._origin = origin
            table.add(wrapped)
            self.maps.add(wrapped)
        return [Program(self, program, [table[name] for name in program.maps], origin) for program in programs], table

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
        `mem`. Only the first two and `axvisor` attach to tracepoints; `xdp` and `socket` programs get the bytes that
        `run` is given, there is no packet behind them. Raises LoadError; PortabilityError for what target axvisor
        refuses. Of what differs there it does not warn, as `load` does; `Program.portability` says it.
        """
        if not isinstance(code, (bytes, bytearray, memoryview)):
            raise LoadError(f"code is {code.__class__.__name__}; expected bytes, as axebpf.assemble(text) gives")
        program = self._place_bytes(bytes(code), type, maps or {}, license, name)
        self._programs.append(program)
        return program

    def _place_bytes(
        self, code: bytes, type: str, maps: Mapping[int, Map], license: str = "GPL", name: str = "program"
    ) -> Program:
        """As `load_bytes`, but the program is not among `programs` yet."""
        given = [(fd, table_map._native) for fd, table_map in maps.items()]
        origin = CodeOrigin(code, type, dict(maps), license, name)
        return Program(self, self._native.load_bytes(name, code, type, license, given), maps.values(), origin)

    def create_map(
        self,
        type: str,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        inner: Map | None = None,
        *,
        extra: int = 0,
        name: str = "",
    ) -> Any:
        """A map of its own: `type` by the kernel's name (`hash`, `percpu_array`, `ringbuf` …).

        `inner` is for `array_of_maps` and `hash_of_maps`: a map that those which are put there must be like. `extra` is
        Linux's `map_extra`: of a bloom filter, how many hash functions it has (0: 5); 0 for other kinds. Values have no
        spin lock: that takes an object, whose BTF says where in a value the `struct bpf_spin_lock` is.

        Without a name it is `map0`, `map1` …, as they come. Raises MapError as Linux does, with ENOMEM above 16 GiB.
        `BPF_F_WRONLY_PROG` is kept and not enforced yet: a program may read such a map, which Linux refuses.
        """
        name = name or next(free for n in itertools.count() if (free := f"map{n}") not in self.maps)
        sizes = {"key_size": key_size, "value_size": value_size, "max_entries": max_entries, "flags": flags}
        for what, number, most in (*((*size, (1 << 32) - 1) for size in sizes.items()), ("extra", extra, U64)):
            if not 0 <= number <= most:
                raise MapError(errno.EINVAL, f"{what} is {number}; it takes 0 to {most}", map=name)
        template = getattr(inner, "_native", None)
        if inner is not None and template is None:
            raise MapError(errno.EBADF, f"inner is {inner!r}; it takes a map", map=name)
        native = self._native.create_map(name, type, key_size, value_size, max_entries, flags, extra, template)
        integer = {size: ("int", size, False, "number") for size in (1, 2, 4, 8)}
        created = wrap(native, integer.get(key_size), integer.get(value_size), self.cpus, no_types(name), self._things)
        created._origin = MapOrigin({"type": type, **sizes, "extra": extra, "name": name}, inner)
        self.maps.add(created)
        return created

    def snapshot(self) -> Snapshots:
        """A copy of what is in all maps now, by name, global variables (`.data`, `.bss`) too.

        `after - before` of two of them tells what changed. Ring buffers, bloom filters and maps that the bench may not
        read are left out. Of maps of the same name, all but the first have their number behind it: `COUNTS#7`.

        >>> with Bench() as bench:
        ...     counts = bench.create_map("percpu_array", 4, 8, max_entries=3, name="COUNTS")
        ...     before = bench.snapshot()
        ...     counts.per_cpu(2)[1] = 5
        ...     print(bench.snapshot() - before)
        COUNTS:
          ~ 1: cpu2 0 -> 5 (+5)
        """
        from axebpf.snapshot import Snapshots

        names = unique_names((number, made.name) for number, made in self.maps.by_id.items())
        copies = {}
        for number, made in self.maps.by_id.items():
            with contextlib.suppress(MapError):  # it cannot be read
                copies[names[number]] = made.snapshot()
        return Snapshots(copies)

    def helper(self, prototype: str, *, id: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Makes a Python function a helper: `@bench.helper("u64 f(u32 vm, void *buf, u32 buf__sz)", id=0x10000)`.

        Numbers arrive as integers; a pointer `p` with a size `p__sz` behind it as a `bytearray` (of a `const` one
        `bytes`), whose contents go back to the program. The result is an integer or None. Ids begin at 0x10000. An
        exception stops the run and comes out of `fire`. A program calls it by its id, in assembler `call f#65536`.
        Raises HelperError for a prototype that cannot be read.
        """
        from axebpf.custom_helpers import CUSTOM_HELPERS, adapter, parse_prototype

        name, parameters = parse_prototype(prototype)
        if not CUSTOM_HELPERS <= id < 1 << 31:
            raise HelperError(f"the id is {id:#x}; helpers of one's own have ids from {CUSTOM_HELPERS:#x}", helper=name)
        if id in self._helper_names:
            raise HelperError(f"the id {id:#x} is {self._helper_names[id]}", helper=name)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:

            self._helper_names[id] = name
            self._native.helpers[id] = (adapter(function, parameters), [native for native, _ in parameters])
            return function

        return register

    # Events

    def run(
        self,
        workload: str | Workload | Stream,
        *,
        progress: Callable[[Progress], object] | None = None,
        threads: int = 1,
        **parameters: Any,
    ) -> RunResult:
        """Runs a simulated hypervisor: fires the events of a workload, in order, at their times.

        `workload` is a name out of `hypervisor.WORKLOADS`, such as `boot`, or one of your own, made with
        `hypervisor.define`. `progress` is called after each piece of some thousand events. Raises HypervisorError for
        an unknown workload or a parameter out of range; ProgramFault where a program was stopped.

        With `threads`, so many of them take the events of some CPUs each: see `fire_many` of a tracepoint. Raises
        ThreadsError for what only one thread can do.
        """
        from axebpf.bench.run import fire_stream, stream_for

        return fire_stream(self, stream_for(self, workload, parameters), progress, threads)

    def replay(
        self,
        source: str | os.PathLike[str] | bytes | Any,
        *,
        format: str | None = None,
        mapping: Iterable[Rule] | None = None,
        event: str | None = None,
        progress: Callable[[Progress], object] | None = None,
        threads: int = 1,
    ) -> ReplayResult:
        r"""Fires the events of a recording: in the order of the file, at its times, on its CPUs, in its threads.

        `source` is a path, bytes, a file open for reading or an `axebpf.recording.Recording`: ftrace text (`trace`,
        `trace_pipe`, `trace-cmd report`, `perf script`) or a table, whose columns are `time_ns` (or `time` in seconds),
        `event` (or `event=` for all rows), `cpu`, `pid`, `comm` and fields. `format` is `"ftrace"` or `"csv"`, and is
        found out where it is not given. Events of this bench's tracepoints are taken as they are; `mapping` says what
        others become, and is Linux's KVM (`axebpf.recording.kvm.RULES`) where it is not given. `progress` is called
        after each piece of the recording.

        Lines that cannot be read and events without a counterpart are counted in the result. Raises RecordingError for
        what is no recording, for a table that does not fit, and where its events are on more CPUs than the bench has:
        before the first event, unless it can be read only once, as a pipe. ProgramFault where a program was stopped.
        `threads` are as of `run`: the recording is read on one, and events are fired on so many.

        >>> Bench().replay(b"vcpu0-7  [000] ..... 1.500000: vmm:vm_boot: vm_id=3 duration_ns=20\n").by_tracepoint
        {'vmm:vm_boot': 1}
        """
        from axebpf.bench.replay import replay

        return replay(self, source, format, mapping, event, progress, threads)

    def compare(
        self,
        what: Program | LoadedObject | Iterable[Program | LoadedObject],
        workload: Any,
        *,
        target: str | None = None,
        engine: str = "auto",
        maps: str = "auto",
        progress: Callable[[Progress], object] | None = None,
        **parameters: Any,
    ) -> Comparison:
        r"""Runs the same events on target linux and on another one, and says what is not the same.

        `what` is a program, an object or several of them, as this bench has loaded and attached them; what is attached
        nowhere goes where its section says. `workload` is what `run` takes, what `replay` takes, or a list of
        `hypervisor.Events`; `parameters` are those of the workload, or `format`, `mapping` and `event` of a recording.
        Both sides are fresh benches (`bench.twin.Twin`), which begin with what the maps of this one hold; this one is
        not touched. The other one is target axvisor; with `engine="rbpf"`, `maps="kbpf"` or both it is target linux
        with these, which pins a difference on AxVisor's VM or on its maps.

        Compared are the return value, or the fault, of every run of every program, and the contents of all maps. The
        result is true where they are the same; otherwise it has the first difference with its event, instruction and
        reason, and prints them. A program that one side refuses is a result too. Raises AttachError where there is no
        place to attach to; HypervisorError; RecordingError; LoadError for a target, engine or maps that there are not;
        and what a helper in Python raises.

        >>> bench = Bench()
        >>> halve = _native.assemble("r0 = -7\nr0 s/= 2\nexit")
        >>> link = bench.load_bytes(halve, type="tracepoint", name="halve").attach("vmm:vm_boot")
        >>> found = bench.compare(link.program, "boot", vms=1, duration_s=0.1)
        >>> bool(found), found.first.event.name, found.first.values
        (False, 'vmm:vm_boot', (18446744073709551613, 9223372036854775804))
        """
        from axebpf.bench.compare import compare

        if target is None:
            target = "axvisor" if engine == maps == "auto" else "linux"
        return compare(self, what, workload, target, engine, maps, progress, parameters)

    def cost(
        self,
        what: Program | LoadedObject | Iterable[Program | LoadedObject],
        workload: Any,
        *,
        repetitions: int = 8,
        **parameters: Any,
    ) -> CostReport:
        r"""What programs cost the hypervisor at each event: instructions, helper calls, and time on both interpreters.

        `what` is a program, an object or several of them, as this bench has loaded and attached them; what is attached
        nowhere goes where its section says. `workload` is what `run` takes, what `replay` takes, or a list of
        `hypervisor.Events`; `parameters` are those of the workload, or `format`, `mapping` and `event` of a recording.
        All happens in fresh benches (`bench.twin.Twin`) that begin with what the maps of this one hold; this one is not
        touched, but helpers in Python are called.

        Instructions and helper calls are counted on axebpf's interpreter on target linux. Times are measured on this
        machine: the same events in a bench with the program and in one without it, by turns and `repetitions` times, a
        few events at a time; the median differences of these pieces are added up and divided by the runs. So what
        another program does differently for want of this one counts too, and a time near 0 may come out negative; it is
        printed as too short to measure. On rbpf, times are those of target axvisor, and where that refuses the program,
        of rbpf with Linux's helpers; they include the copies that keep rbpf safe here.

        Raises ProgramFault where a program is stopped on axebpf's interpreter; AttachError where there is no place to
        attach to; HypervisorError, RecordingError.

        >>> bench = Bench()
        >>> code = _native.assemble("call bpf_get_smp_processor_id\nexit")
        >>> link = bench.load_bytes(code, type="tracepoint", name="where").attach("vmm:vm_boot")
        >>> report = bench.cost(link.program, "boot", repetitions=1, vms=2, duration_s=0.1)
        >>> where = report.programs["where"]
        >>> where.stats.runs, where.stats.worst_instructions, where.stats.worst_calls, where.rbpf_target
        (2, 2, 1, 'axvisor')
        """
        from axebpf.bench.cost import cost

        return cost(self, what, workload, within(HypervisorError, "repetitions", repetitions, 1, 1000), parameters)

    @property
    def cpu(self) -> int:
        """The CPU that events happen on. Setting it raises ClockError for one that there is not."""
        return self._native.cpu()

    @cpu.setter
    def cpu(self, cpu: int) -> None:
        self._native.set_cpu(within(ClockError, "the CPU", cpu, 0, self.cpus - 1))

    # Life

    def close(self) -> None:
        """Ends the bench: whatever is done with it or its parts from now on raises BenchClosed.

        It lets go of callbacks and helpers. A bench that is never closed and whose callback refers to it is not freed.
        """
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
            f"<Bench: target {self.target}, engine {self.engine}, {self.cpus} CPUs, "
            f"{len(self.tracepoints)} tracepoints, {len(self._programs)} programs, {len(self.maps)} maps>"
        )


_LAZY_NAMES = {
    "Comparison": "comparison",
    "CostReport": "cost",
    "ProgramCost": "cost",
    "Progress": "run",
    "ReplayResult": "replay",
    "RunResult": "run",
}
"""What `import axebpf` leaves out, so that it is quick."""


def __getattr__(name: str) -> Any:
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(f"axebpf.bench.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{did_you_mean(name, __all__)}")
