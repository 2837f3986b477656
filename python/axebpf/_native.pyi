"""The compiled core.

Python code uses it through `axebpf.bench`, `axebpf.maps` and the others, which type and explain what comes from here;
this page is the reference of the binding.

Errors are the classes of `axebpf.errors`. Methods of a bench and its parts wait, without the GIL, while another thread
uses that bench, and raise `BenchClosed` once it is closed. Times are nanoseconds.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

__all__ = [
    "Bench",
    "Filter",
    "Histogram",
    "Link",
    "Map",
    "Object",
    "Program",
    "Recording",
    "Statistics",
    "SymbolTable",
    "Tracepoint",
    "TracepointSpec",
    "Values",
    "assemble",
    "disassemble",
    "gaps",
    "helpers",
    "histogram_buckets",
    "map_kinds",
]

_Layout = tuple[Any, ...]
_Finding = tuple[str | None, str, int | None, str, str, str]
_Report = tuple[str, list[_Finding]]
_Ran = tuple[int | None, BaseException | None, int | None, int, list[str], bytes]
_Worst = tuple[int, int, int]

def assemble(text: str) -> bytes:
    """Instructions, 8 bytes each, of a text in the kernel's notation, with labels.

    Helpers go by their name or as `name#id`, maps as `map[slot]`. Raises ValueError with line and column.
    """

def disassemble(code: bytes, maps: Sequence[str] = ...) -> str:
    """The text of instructions, which `assemble` reads back to the same bytes. `maps` names map slots."""

def gaps() -> list[list[str]]:
    """Each known gap between Linux and AxVisor; none where this build has no target axvisor.

    A row has name, part, effect, what it is about, what Linux does, what AxVisor does, what to do instead, version.
    """

def helpers() -> list[tuple[int, str, str | None, bool, list[str]]]:
    """Every helper that Linux names.

    A row has id, name, C prototype (None where this bench does not offer it), whether it is for GPL-compatible programs
    only, and the program types that may call it.
    """

def map_kinds() -> list[tuple[int, str, tuple[str, str, bool, list[list[str]]] | None]]:
    """Every kind of map that Linux numbers.

    A row has number and name, and where axebpf has such maps: what a person calls them, how they are keyed (`index`,
    `bytes`, `prefix`, `none`), whether each CPU has values of its own, and four lists of names: creation flags, helpers
    that they may be given to, commands of bpf(2) that not every kind has, types of program that may use them.
    """

def histogram_buckets() -> list[tuple[int, str]]:
    """Upper bound and label of each bucket of a histogram."""

@final
class TracepointSpec:
    """A tracepoint's declaration with its C layout."""

    def __new__(cls, name: str, id: int, fields: Sequence[tuple[str, str, dict[str, Any], str]]) -> TracepointSpec:
        """Lays out the fields.

        Each is a name, a type (`u32`, `char[16]`), a display (`hex`, `label`, `scale`, `suffix`) and a role (`duration`
        or empty). Raises InvalidName, DeclarationError.
        """

    @property
    def name(self) -> str:
        """`subsystem:event`."""

    @property
    def id(self) -> int:
        """`common_type` of the records."""

    @property
    def size(self) -> int:
        """Bytes of a record, common header and padding included."""

    @property
    def fields(self) -> list[tuple[str, str, int, int, bool]]:
        """Name, type, offset, bytes and signedness of each field; types in the core's notation, `[char; 16]`."""

    def format(self, target: str) -> str:
        """The text of the `format` file, of `linux` or `axvisor`."""

    def text(self, record: bytes) -> str:
        """The fields of a record as the trace shows them."""

    def trace_context(self, record: bytes, time_ns: int) -> bytes:
        """AxVisor's 64-byte TraceContext of a record."""

@final
class Bench:
    """A bench behind its lock."""

    def __new__(
        cls,
        *,
        cpus: int,
        clock: int | str,
        seed: int,
        statistics: bool,
        trace_entries: int,
        budget: int,
        target: str = "linux",
        engine: str = "auto",
        maps: str = "auto",
        lru: str = "exact",
        endless: bool = False,
    ) -> Bench:
        """`clock` is `manual`, `real`, or ns an event. Raises ClockError, LoadError."""

    def close(self, why: str | None = None) -> None:
        """From now on everything but this and `closed` raises BenchClosed, whose message ends with `why`."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    @property
    def helpers(self) -> dict[int, tuple[Callable[..., Any], list[dict[str, Any]]]]:
        """Helpers of the user's by id.

        With each function, its parameters: `{"bits", "signed"}`, or `{"size", "writable"}` with the index of the size.
        """

    def define(self, spec: TracepointSpec) -> Tracepoint:
        """Adds a tracepoint. Raises DeclarationError for a taken name or id."""

    def sorted(self) -> list[int]:
        """Slots of all tracepoints, by subsystem, then by event."""

    def slot(self, name: str) -> int:
        """The slot of a tracepoint: their order of definition. Raises InvalidName, NotFound."""

    def set_filters(self, slots: Sequence[int], text: str | None) -> list[int]:
        """Sets the filters of what enters the trace. Returns the slots that took it. Raises FilterError if none did."""

    def now(self) -> int:
        """The clock."""

    def set_time(self, ns: int) -> None:
        """Sets the clock. Raises ClockError for a real one."""

    def advance(self, ns: int) -> None:
        """Moves the clock on. Raises ClockError for a real one."""

    def cpu(self) -> int:
        """The CPU that events happen on."""

    def set_cpu(self, cpu: int) -> None:
        """Moves to another CPU. Raises ClockError."""

    def cpus(self) -> int:
        """How many CPUs there are."""

    def vm_context(self, cpu: int) -> tuple[int, int, int]:
        """VM, vCPU and exit reason of what a CPU is doing. Raises ClockError."""

    def set_vm_context(self, cpu: int, vm: tuple[int, int, int]) -> None:
        """Says so: what the helpers 100 to 102 answer where an event does not say. Raises ClockError."""

    def create_map(
        self,
        name: str,
        kind: str,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int,
        extra: int,
        inner: Map | None = None,
    ) -> Map:
        """A map that belongs to no object; `inner` is what maps in it must be like. Raises MapError as Linux does."""

    def load(
        self,
        object: Object,
        globals: Sequence[tuple[str, bytes]],
        max_entries: Sequence[tuple[str, int]],
        types: Sequence[tuple[str, str]],
        only: Sequence[str] | None,
    ) -> tuple[list[Program], list[Map]]:
        """Creates the maps of an object and loads its programs. Raises LoadError, MapError."""

    def load_bytes(
        self, name: str, code: bytes, program_type: str, license: str, maps: Sequence[tuple[int, Map]]
    ) -> Program:
        """Loads raw instructions, whose `lddw` name these descriptors. Raises LoadError."""

    def fire_mixed(
        self,
        tracepoints: Sequence[Tracepoint],
        order: Any,
        times: Any,
        cpus: Any,
        columns: Sequence[list[Any]],
        threads: int = 1,
    ) -> int:
        """Fires event `i` from the next row of tracepoint `order[i]`, at `times[i]`, on `cpus[i]`.

        Those three are buffers of u16, u64 and u32; columns are as of `Tracepoint.fire_rows`. Raises ThreadsError.
        """

    def fire_recorded(
        self, tracepoints: Sequence[Tracepoint], recording: Recording, most: int | None = None, threads: int = 1
    ) -> int:
        """Fires the events of the last piece of a recording, at most so many, which then no longer has them.

        `tracepoints` are those that it was made for, in the same order. Raises ThreadsError.
        """

    def check_threads(self, threads: int) -> None:
        """Raises ThreadsError where, as things are, not all tracepoints can be fired on so many threads."""

    def keep_runs(self, steps: int = 0) -> None:
        """From now on keeps what each run of an attached program comes to, and its first `steps` instructions.

        A fault is kept too, and no longer ends a batch.
        """

    def take_runs(
        self,
    ) -> tuple[bytes, list[tuple[int, BaseException]], list[tuple[int, list[tuple[int, int, tuple[int, ...]]]]]]:
        """The runs that were kept since the last time.

        16 bytes each: the program (u32), the kind of its fault or 0 (u32), r0 or the slot of the instruction that was
        stopped (u64). Then, by the number of the run, the first faults; and slot, depth and registers of the steps.
        """

    def trace_text(self, target: str, header: bool) -> str:
        """The trace as text."""

    def trace_records(self) -> list[tuple[int, int, int, str, str | None, bytes | str]]:
        """Time, CPU, pid, comm, and name and record, or None and a printed text, of each entry."""

    def trace_push(self, record: bytes, comm: bytes | None) -> None:
        """Adds a record as it is, now, on the current CPU; `comm` names the task, in up to 15 bytes.

        Padding behind it is cut. Raises NotFound for an unknown id, FieldError for too few bytes.
        """

    def trace_clear(self) -> None:
        """Forgets the trace."""

    def trace_counts(self) -> tuple[int, int, list[int]]:
        """Entries kept, entries written, entries lost by each CPU."""

    def reset_statistics(self) -> None:
        """Forgets the statistics."""

@final
class Tracepoint:
    """A tracepoint of a bench."""

    def fire_function(self) -> Callable[..., None]:
        """The function `fire(*fields, time_ns=None, cpu=None)`."""

    def fire_rows(self, columns: list[Any], times: Any = None, cpus: Any = None, threads: int = 1) -> int:
        """Fires an event a row, without the GIL. Raises ThreadsError.

        A column is a buffer of integers, one integer, or for an array field its bytes and their number a row.
        """

    def check_threads(self, threads: int) -> None:
        """Raises ThreadsError where, as things are, its events cannot be fired on so many threads."""

    @property
    def enabled(self) -> bool:
        """Whether its events enter the trace."""

    def set_enabled(self, enabled: bool) -> None:
        """Says whether they do."""

    @property
    def filter(self) -> str | None:
        """Which of its events enter the trace, if not all."""

    def set_filter(self, text: str | None) -> None:
        """Sets that; None and `0` clear it. Raises FilterError."""

    def counts(self) -> tuple[int, int]:
        """Events fired, programs attached."""

    def statistics(self) -> dict[str, Any]:
        """What `axebpf.bench.Statistics` is made from."""

    def recorder(self) -> Statistics:
        """The statistics themselves, to record by hand."""

    def interpolated(self, millionths: int) -> int | None:
        """An estimate of a percentile inside its bucket."""

    def attach(self, program: Program, cookie: int = 0, filter: str | None = None) -> Link:
        """Attaches a program behind the others, for the events that pass. Raises AttachError, FilterError."""

    def listen(self, function: Callable[[bytes, int, int], object], filter: str | None = None) -> int:
        """Calls `function(record, time_ns, cpu)` at each event that passes; returns the listener's number.

        Raises FilterError.
        """

    def stop_listening(self, listener: int) -> bool:
        """Ends that; False where it was done already."""

@final
class Statistics:
    """Counts and durations: of a tracepoint, or made by hand and of none."""

    def __new__(cls) -> Statistics:
        """Statistics of their own."""

    def record_hit(self, time_ns: int) -> None:
        """Counts an event without a duration."""

    def record_duration(self, time_ns: int, duration_ns: int) -> None:
        """Counts an event with a duration."""

    def values(self) -> dict[str, Any]:
        """What `axebpf.bench.Statistics` is made from."""

    def reset(self) -> None:
        """Forgets everything."""

@final
class Histogram:
    """Durations by decade."""

    def __new__(cls) -> Histogram:
        """An empty one."""

    def record(self, ns: int) -> None:
        """Counts a duration."""

    def values(self) -> dict[str, Any]:
        """`buckets`, `p50_ns`, `p90_ns`, `p99_ns`; a percentile is None without durations."""

    def reset(self) -> None:
        """Forgets everything."""

@final
class Filter:
    """A filter of the events of one tracepoint, compiled.

    A stamp is the CPU, the thread and the name of the task of an event.
    """

    def __new__(cls, spec: TracepointSpec, text: str) -> Filter:
        """Compiles an expression, whose lists of CPUs may name any that a bench can have. Raises FilterError."""

    @property
    def text(self) -> str:
        """The expression, as it was written."""

    @property
    def fields(self) -> list[str]:
        """The tracepoint's own fields that it looks at."""

    @property
    def uses_cpu(self) -> bool:
        """Whether it looks at the CPU."""

    def matches(self, record: bytes, stamp: tuple[int, int, bytes]) -> bool:
        """Whether an event passes. Raises FieldError for a record that is too short."""

    def select(self, columns: list[Any], cpus: Any, stamp: tuple[int, int, bytes]) -> bytes:
        """A byte for each row of the columns, 1 where it passes; one byte where no column has rows.

        Columns are as of `Tracepoint.fire_rows`, or None for a field that the filter does not look at; `cpus` is a
        buffer of u32, or None. Raises FieldError.
        """

    def select_records(self, records: bytes, cpus: Any, stamp: tuple[int, int, bytes]) -> bytes:
        """The same for records one behind the other."""

@final
class Link:
    """An attached program."""

    @property
    def attached(self) -> bool:
        """Whether it still is."""

    def detach(self) -> None:
        """Detaches it. Raises AttachError when that is done already."""

@final
class Program:
    """A loaded program."""

    @property
    def id(self) -> int:
        """Its number in the bench."""

    @property
    def name(self) -> str:
        """Function name."""

    @property
    def section(self) -> str:
        """ELF section."""

    @property
    def type(self) -> str | None:
        """Program type."""

    @property
    def target(self) -> str | None:
        """What the section names."""

    @property
    def license(self) -> str:
        """Licence of the object."""

    @property
    def maps(self) -> list[str]:
        """Names of the maps that it uses, by slot."""

    @property
    def insns(self) -> bytes:
        """Linked instructions, 8 bytes each, with map slots for descriptors."""

    @property
    def lines(self) -> list[tuple[int, str, int, int, str]]:
        """First slot, file, line, column and text of each source line."""

    @property
    def subprograms(self) -> list[tuple[str, int]]:
        """Name and first slot of the entry and each subprogram."""

    def text(self) -> str:
        """The instructions in the kernel's notation."""

    def counts(self) -> tuple[int, int, int, int | None, int]:
        """Runs, misses, faults, instructions (None on rbpf, which counts none), helper calls."""

    def worst(self, watch: int | None = None) -> tuple[_Worst | None, _Worst | None]:
        """The runs with the most instructions and with the most helper calls, of all or of those since a watch began.

        Of each: how many, its event's time and CPU; None where no run had any.
        """

    def watch(self) -> int:
        """Begins to watch for the runs that take the most; the number of the watch."""

    def unwatch(self, watch: int) -> None:
        """Ends a watch, if that is not done already."""

    def last_run(self) -> tuple[int, int] | None:
        """Of the latest run, the slot of its last instruction, and how many the bench had executed by then."""

    def profile(self) -> list[tuple[int, int]]:
        """Slot and number of executions of each instruction."""

    def reset_profile(self) -> None:
        """Forgets those counts."""

    def portability(self, target: str) -> _Report:
        """The verdict on a target, and findings.

        A finding is row of the table of gaps, effect, instruction, what it is about, reason, what to do instead. Raises
        AttachError where the program is unloaded.
        """

    def unload(self, force: bool = False) -> None:
        """Takes it out of the bench. Raises AttachError while it is attached and not `force`."""

    def load_again(self) -> Program:
        """A second program of the same instructions, on the same maps. Raises AttachError where it is unloaded."""

    def run(
        self, ctx: bytes, time_ns: int | None = None, cpu: int | None = None, vm: tuple[int, int, int] | None = None
    ) -> _Ran:
        """Runs it once.

        r0 or None, the ProgramFault or None, instructions (None on rbpf), helper calls, printed lines, the context
        afterwards.
        """

    def steps(
        self,
        ctx: bytes,
        limit: int,
        time_ns: int | None = None,
        cpu: int | None = None,
        vm: tuple[int, int, int] | None = None,
    ) -> tuple[_Ran, list[tuple[int, int, tuple[int, ...]]]]:
        """As `run`, with slot, depth and r0 to r10 before each of the first `limit` instructions."""

@final
class Values:
    """The memory of a map's values, which gives a read-only buffer. Views of it are live, and outlive the bench.

    The value of entry `i` on CPU `c` begins at `i * stride + c * plane`.
    """

    @property
    def stride(self) -> int:
        """Bytes from one entry to the next."""

    @property
    def plane(self) -> int:
        """Bytes from one CPU to the next."""

@final
class Map:
    """The bpf(2) side of a map. Lengths are checked; what Linux refuses raises MapError with its errno."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """Its kind, by the kernel's name."""

    @property
    def key_size(self) -> int:
        """Bytes of a key."""

    @property
    def value_size(self) -> int:
        """Bytes of a value."""

    @property
    def max_entries(self) -> int:
        """Capacity."""

    @property
    def flags(self) -> int:
        """Creation flags."""

    @property
    def extra(self) -> int:
        """`map_extra`."""

    @property
    def id(self) -> int:
        """Its number in the bench."""

    @property
    def object(self) -> int | None:
        """Number of the load that made it."""

    def remove(self) -> None:
        """Takes it out of the bench. Its memory is freed with the last program or object that uses it."""

    @property
    def types(self) -> tuple[int | None, int | None]:
        """BTF ids of key and value."""

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value, or None."""

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Creates or replaces."""

    def update_cpu(self, key: bytes, cpu: int, value: bytes) -> None:
        """Sets the value of one CPU of a per-CPU map; a key that is not there comes with zeroes for the others."""

    def delete(self, key: bytes) -> None:
        """Deletes. Raises KeyNotFound."""

    def next_key(self, key: bytes | None = None) -> bytes | None:
        """The key after this one, or None at the end."""

    def push(self, value: bytes, flags: int = 0) -> None:
        """Pushes."""

    def pop(self) -> bytes | None:
        """Takes."""

    def peek(self) -> bytes | None:
        """Looks at what `pop` would take."""

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes | None:
        """Takes an entry."""

    def contains(self, value: bytes, flags: int = 0) -> bool:
        """Whether a bloom filter takes a value for present."""

    def lookup_batch(
        self, count: int, start: bytes | None = None, flags: int = 0
    ) -> tuple[bytes, bytes, int, bytes | None]:
        """Keys, values, how many, and where to go on, or None at the end."""

    def lookup_and_delete_batch(
        self, count: int, start: bytes | None = None, flags: int = 0
    ) -> tuple[bytes, bytes, int, bytes | None]:
        """As `lookup_batch`, and takes the entries out."""

    def update_batch(self, entries: Sequence[tuple[bytes, bytes]], flags: int = 0) -> None:
        """Creates or replaces entries. Raises MapError with how many were `done`."""

    def delete_batch(self, keys: Sequence[bytes], flags: int = 0) -> None:
        """Deletes entries. Raises MapError with how many were `done`."""

    def freeze(self) -> None:
        """Refuses changes from the bench."""

    def consume(self) -> bytes | None:
        """The oldest submitted record of a ring buffer, or None."""

    def take(self, size: int, name: str) -> tuple[bytes, int]:
        """All submitted records of a ring buffer, one behind the other, and how many.

        Raises MapError, and takes none, where one has not `size` bytes, which is what `name` has.
        """

    def query(self, what: int) -> int:
        """`bpf_ringbuf_query`: 0 bytes not consumed, 1 size, 2 consumer position, 3 producer position."""

    def wakeups(self) -> int:
        """How often commits to a ring buffer have woken its consumer."""

    def inner(self, key: bytes) -> Map | None:
        """Of a map of maps, the map of a key, be it in the bench or not."""

    def open(self, cpu: int, size: int = ...) -> None:
        """Of a perf event array, opens the buffer of a CPU, of so many bytes (64 pages)."""

    def is_open(self, cpu: int) -> bool:
        """Whether the buffer of a CPU is open."""

    def read(self, cpu: int | None = None) -> tuple[int, int, bytes] | None:
        """CPU, time and data of the oldest record, of a CPU or of all."""

    def lost(self) -> list[tuple[int, int]]:
        """CPU and number of the records that found no room."""

    def dump(self) -> tuple[bytes, bytes, int]:
        """All keys, all values, and how many."""

    def values(self) -> Values | None:
        """The memory of its values, where they lie in one place and are not to be copied; otherwise None."""

    def __len__(self) -> int:
        """Entries."""

@final
class Object:
    """What is in a `.bpf.o`."""

    def __new__(cls, data: bytes, file: str) -> Object:
        """Reads an object; `file` is for messages. Raises LoadError."""

    @property
    def file(self) -> str:
        """The name given."""

    @property
    def license(self) -> str:
        """Contents of the section `license`."""

    @property
    def warnings(self) -> list[str]:
        """What was passed over."""

    @property
    def maps(self) -> list[dict[str, Any]]:
        """Map definitions.

        Keys: name, section, type, type_number, key_size, value_size, max_entries, flags, key, value, data.
        """

    @property
    def globals(self) -> list[dict[str, Any]]:
        """Global variables: name, map, offset, size, layout."""

    @property
    def programs(self) -> list[dict[str, Any]]:
        """Programs.

        Keys: name, section, type, target, autoload, insns, maps, lines, subprograms, refused (why it cannot be loaded).
        """

    def portability(self, program: int, target: str) -> _Report | None:
        """As `Program.portability`, of the program at a place in `programs`; None for one that cannot be linked."""

    def layout(self, name: str) -> _Layout:
        """The layout of a named type. Raises NotFound."""

@final
class SymbolTable:
    """Symbols by address and by name; a row is name, address, size, offset, type.

    A name's bytes that are no UTF-8 are lone surrogates (`surrogateescape`).
    """

    @staticmethod
    def from_blob(data: bytes, stext: int, etext: int | None) -> SymbolTable:
        """Reads a kallsyms blob. `etext` None: there is no end. Raises SymbolError."""

    @staticmethod
    def from_text(data: bytes, stext: int, etext: int | None) -> SymbolTable:
        """Reads what nm or /proc/kallsyms print. Raises SymbolError."""

    @staticmethod
    def from_elf(data: bytes, stext: int, etext: int | None) -> SymbolTable:
        """Reads the symbols of an ELF file. Raises SymbolError."""

    @property
    def range(self) -> tuple[int, int | None]:
        """`stext` and `etext`."""

    @property
    def skipped(self) -> int:
        """Lines that were not understood."""

    @property
    def undefined(self) -> int:
        """Symbols without an address."""

    def lookup_symbol(self, addr: int) -> tuple[str, int, int, int, str] | None:
        """The row of the symbol that an address lies in."""

    def lookup_addr(self, name: str) -> int | None:
        """The lowest address of a name."""

    def named(self, name: str) -> list[tuple[str, int, int, int, str]]:
        """The rows of a name."""

    def search(self, part: str, limit: int) -> list[tuple[str, int, int, int, str]]:
        """The first rows, by address, whose name or module contains a text."""

    def module(self, name: str, addr: int) -> str | None:
        """The module of the symbol of that name and address."""

    def nearest(self, name: str) -> str | None:
        """The name that looks most like one."""

    def get(self, index: int) -> tuple[str, int, int, int, str] | None:
        """The row at a place in the order of addresses."""

    def to_blob(self, style: str) -> bytes:
        """Writes a blob, `ksym-0.6` or `ksym`. Raises SymbolError."""

    def to_text(self) -> str:
        """Writes the text of /proc/kallsyms. Raises SymbolError."""

    def __len__(self) -> int:
        """Symbols."""

@final
class Recording:
    """Reads a recording in pieces."""

    def __new__(
        cls,
        file: str,
        tracepoints: Sequence[TracepointSpec],
        rules: Sequence[tuple[Any, ...]],
        csv: bool,
        event: str | None,
        cpus: int,
    ) -> Recording:
        """`rules` are as `axebpf.recording.Rule.native` makes them. Raises RecordingError for one that cannot be."""

    def survey(self, piece: bytes, last: bool) -> None:
        """Looks through a piece for `report` and `names`. Raises RecordingError."""

    def begin(self) -> None:
        """Stands at the beginning again, and keeps in mind which events there are."""

    def feed(self, piece: bytes, last: bool) -> None:
        """Makes the events of a piece. Raises RecordingError; the events before that are made."""

    def report(self) -> dict[str, Any]:
        """What was read so far.

        Keys: lines, events, skipped, lost, backwards, unpaired, first_ns, last_ns, cpus, problems, more_problems.
        """

    def names(self) -> list[tuple[str, int, int, int]]:
        """Name, lines, lines unmapped and lines passed over of each event so far."""
