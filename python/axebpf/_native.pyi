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
    "Link",
    "Map",
    "Object",
    "Program",
    "Recording",
    "Tracepoint",
    "TracepointSpec",
    "assemble",
    "disassemble",
    "helpers",
]

_Layout = tuple[Any, ...]
_Ran = tuple[int | None, BaseException | None, int, list[str], bytes]

def assemble(text: str) -> bytes:
    """Instructions, 8 bytes each, of a text in the kernel's notation, with labels.

    Helpers go by their name or as `name#id`, maps as `map[slot]`. Raises ValueError with line and column.
    """

def disassemble(code: bytes, maps: Sequence[str] = ...) -> str:
    """The text of instructions, which `assemble` reads back to the same bytes. `maps` names map slots."""

def helpers() -> list[tuple[int, str, str | None, bool, list[str]]]:
    """Every helper that Linux names.

    A row has id, name, C prototype (None where this bench does not offer it), whether it is for GPL-compatible programs
    only, and the program types that may call it.
    """

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
    ) -> Bench:
        """`clock` is `manual`, `real`, or ns an event. Raises ClockError."""

    def close(self) -> None:
        """From now on everything but this and `closed` raises BenchClosed."""

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

    def create_map(
        self, name: str, kind: str, key_size: int, value_size: int, max_entries: int, flags: int, extra: int
    ) -> Map:
        """A map that belongs to no object. Raises MapError as Linux does."""

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
    ) -> int:
        """Fires event `i` from the next row of tracepoint `order[i]`, at `times[i]`, on `cpus[i]`.

        Those three are buffers of u16, u64 and u32; columns are as of `Tracepoint.fire_rows`.
        """

    def fire_recorded(self, tracepoints: Sequence[Tracepoint], recording: Recording) -> int:
        """Fires the events of the last piece of a recording, which then no longer has them.

        `tracepoints` are those that it was made for, in the same order.
        """

    def trace_text(self, target: str, header: bool) -> str:
        """The trace as text."""

    def trace_records(self) -> list[tuple[int, int, int, str, str | None, bytes | str]]:
        """Time, CPU, pid, comm, and name and record, or None and a printed text, of each entry."""

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

    def fire_rows(self, columns: list[Any], times: Any = None, cpus: Any = None) -> int:
        """Fires an event a row, without the GIL.

        A column is a buffer of integers, one integer, or for an array field its bytes and their number a row.
        """

    @property
    def enabled(self) -> bool:
        """Whether its events enter the trace."""

    def set_enabled(self, enabled: bool) -> None:
        """Says whether they do."""

    def counts(self) -> tuple[int, int]:
        """Events fired, programs attached."""

    def statistics(self) -> dict[str, Any]:
        """What `axebpf.bench.Statistics` is made from."""

    def interpolated(self, millionths: int) -> int | None:
        """An estimate of a percentile inside its bucket."""

    def attach(self, program: Program, cookie: int = 0) -> Link:
        """Attaches a program behind the others. Raises AttachError."""

    def listen(self, function: Callable[[bytes, int, int], object]) -> int:
        """Calls `function(record, time_ns, cpu)` at each event; returns the listener's number."""

    def stop_listening(self, listener: int) -> bool:
        """Ends that; False where it was done already."""

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

    def counts(self) -> tuple[int, int, int, int]:
        """Runs, misses, faults, instructions."""

    def profile(self) -> list[tuple[int, int]]:
        """Slot and number of executions of each instruction."""

    def reset_profile(self) -> None:
        """Forgets those counts."""

    def unload(self, force: bool = False) -> None:
        """Takes it out of the bench. Raises AttachError while it is attached and not `force`."""

    def run(
        self, ctx: bytes, time_ns: int | None = None, cpu: int | None = None, vm: tuple[int, int, int] = ...
    ) -> _Ran:
        """Runs it once: r0 or None, the ProgramFault or None, instructions, printed lines, the context afterwards."""

    def steps(
        self,
        ctx: bytes,
        limit: int,
        time_ns: int | None = None,
        cpu: int | None = None,
        vm: tuple[int, int, int] = ...,
    ) -> tuple[_Ran, list[tuple[int, int, tuple[int, ...]]]]:
        """As `run`, with slot, depth and r0 to r10 before each of the first `limit` instructions."""

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
    def object(self) -> int | None:
        """Number of the load that made it."""

    @property
    def types(self) -> tuple[int | None, int | None]:
        """BTF ids of key and value."""

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value, or None."""

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Creates or replaces."""

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

    def lookup_and_delete(self, key: bytes) -> bytes | None:
        """Takes an entry."""

    def freeze(self) -> None:
        """Refuses changes from the bench."""

    def consume(self) -> bytes | None:
        """The oldest submitted record of a ring buffer, or None."""

    def dump(self) -> tuple[bytes, bytes, int]:
        """All keys, all values, and how many."""

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

    def layout(self, name: str) -> _Layout:
        """The layout of a named type. Raises NotFound."""

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
