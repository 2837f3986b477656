r"""Programs by number, as the seed has them: made from bytes, run by hand, loaded, listed and unloaded.

A program that is loaded here is a program of the default bench: its number is `Program.id`, which `axebpf.attach`
takes, and `bench.programs` has it by name. Programs that `Bench.load` has loaded have numbers too. A number is never
given to another program.

Of the seed's errors, `InvalidProgram`, `ElfParseError` and `RelocationFailed` are `LoadError`, `MapCreationFailed` is
`MapError`, `ExecutionFailed` is `ProgramFault`, and `NotFound` is `NotFound`.

>>> import axebpf
>>> bench = axebpf.init()
>>> forty_two = EbpfProgram(axebpf.assemble("r0 = 42\nexit"))
>>> forty_two.execute()
42
>>> number = load_program(forty_two)
>>> [run_program(number) for _ in range(3)]
[42, 42, 42]
>>> [(info.id == number, info.size) for info in list_programs()]
[(True, 16)]
>>> unload_program(number)
>>> bench.close()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from axebpf import _native
from axebpf._default import default_bench, kept
from axebpf.errors import LoadError, NotFound, did_you_mean

if TYPE_CHECKING:
    from axebpf.bench import Bench, Program
    from axebpf.maps import Map

__all__ = [
    "EbpfProgram",
    "ProgramInfo",
    "execute",
    "execute_with_mem",
    "get_program",
    "get_program_map_fds",
    "list_programs",
    "load_program",
    "program_count",
    "run_program",
    "unload_program",
]

_ELF = b"\x7fELF"
_FILE = "<bytes>"


class EbpfProgram:
    """A program made from bytes: an object (`.bpf.o`), of which one program is taken, or raw instructions.

    `name` is the program of the object, the first one without it; raw instructions are called so. `type` is the type
    of raw instructions, and of a program whose section names none: of an `axvisor` program the context is AxVisor's
    TraceContext, it may be attached, and it calls what tracepoint programs may.

    Making one needs no default bench. Running it does: at its first run there it gets its maps, which it keeps, and
    which all programs loaded from it use too. Raw instructions name maps by the numbers that `axebpf.maps.create` gave.

    Raises LoadError for bytes that are no program, NotFound for a name that the object does not have.

    >>> EbpfProgram(b"no program")
    Traceback (most recent call last):
    axebpf.errors.LoadError: 10 bytes are no whole number of 8-byte instructions
    """

    def __init__(self, data: bytes | bytearray | memoryview, name: str | None = None, *, type: str = "axvisor") -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise LoadError(f"data is {data.__class__.__name__}; expected bytes, as axebpf.assemble(text) gives")
        code = bytes(data)
        self._object = _native.Object(code, _FILE) if code.startswith(_ELF) else None
        self._placed: Program | None = None
        self._foreign = False
        self._type = type
        if self._object is not None:
            programs = {entry["name"]: entry for entry in self._object.programs}
            if not programs:
                raise LoadError("the object has no program", file=_FILE)
            chosen = next(iter(programs)) if name is None else name
            if chosen not in programs:
                raise NotFound(f"the object has no program {chosen}{did_you_mean(chosen, programs)}")
            self.name = chosen
            """Its name."""
            self._bytecode: bytes = programs[chosen]["insns"]
            self._typed = programs[chosen]["type"] is not None
            return
        if not code:
            raise LoadError("no bytes, so no instructions")
        if len(code) % 8:
            raise LoadError(f"{len(code)} bytes are no whole number of 8-byte instructions")
        self.name, self._bytecode = name or "program", code

    @classmethod
    def _of(cls, program: Program) -> Self:
        """What a program of a bench was made from; it uses the same maps."""
        made = cls(program._native.insns, program.name)
        made._placed, made._foreign = program._again(), True
        return made

    @property
    def bytecode(self) -> bytes:
        """Its instructions, 8 bytes each; of an object linked."""
        return self._bytecode

    @property
    def map_fds(self) -> list[tuple[str, int]]:
        """Name and number of each map that it uses, on the default bench."""
        return _map_fds(self._on_default())

    def execute(self) -> int:
        """Runs it once on the default bench, without a context: r1 is 0. Returns r0. Raises ProgramFault, LoadError."""
        return self._on_default().run().r0

    def execute_with_context(self, context: bytearray | memoryview) -> int:
        """Runs it once on the default bench. Returns r0.

        r1 points to the context: a `bytearray` or another writable buffer, in which the program's stores are found
        afterwards, also when it was stopped. Raises ProgramFault, LoadError.
        """
        return _run(self._on_default(), context)

    def _on_default(self) -> Program:
        """The program of the default bench by which this one is run; it is in no list."""
        bench = default_bench()
        if self._placed is None or self._placed._bench is not bench:
            if self._foreign:
                # Its instructions name the maps of that bench.
                raise NotFound(f"{self.name} was loaded into a bench that is no longer the default one")
            self._placed = self._place(bench)
        return self._placed

    def _place(self, bench: Bench) -> Program:
        if self._object is None:
            known = bench.maps.by_id
            maps: dict[int, Map] = {fd: known[fd] for fd in _descriptors(self._bytecode) if fd in known}
            return bench._place_bytes(self._bytecode, self._type, maps, name=self.name)
        types = None if self._typed else {self.name: self._type}
        (program,), _ = bench._place_object(self._object, types=types, only=[self.name])
        return program

    def __repr__(self) -> str:
        return f"<EbpfProgram {self.name}: {len(self._bytecode) // 8} instructions>"


class ProgramInfo(NamedTuple):
    """A loaded program."""

    id: int
    """Its number."""
    size: int
    """Bytes of its instructions."""
    name: str
    """Its name."""


def load_program(program: EbpfProgram) -> int:
    """Loads a program into the default bench and gives its number. Each load gives another one, on the same maps.

    Raises LoadError for instructions that cannot be, MapError for maps that cannot be made.
    """
    if not isinstance(program, EbpfProgram):
        raise TypeError(f"load_program takes an EbpfProgram, not {type(program).__name__}; EbpfProgram(data) makes one")
    loaded = program._on_default()._again()
    default_bench()._programs.append(loaded)
    kept(_sources)[loaded.id] = program
    return loaded.id


def get_program(id: int) -> EbpfProgram:
    """The program of a number. It can be run after it is unloaded, too. Raises NotFound."""
    sources = kept(_sources)
    loaded = _loaded(id)
    if id not in sources:
        sources[id] = EbpfProgram._of(loaded)
    return sources[id]


def unload_program(id: int, *, force: bool = False) -> None:
    """Takes a program out of the default bench; its maps stay.

    Raises NotFound, and AttachError while it is attached; `force=True` detaches it.
    """
    _loaded(id).unload(force=force)
    kept(_sources).pop(id, None)


def run_program(id: int, context: bytearray | memoryview | None = None) -> int:
    """Runs a loaded program once, as `execute` and `execute_with_context` do. Raises NotFound too."""
    loaded = _loaded(id)
    return loaded.run().r0 if context is None else _run(loaded, context)


def program_count() -> int:
    """How many programs are loaded."""
    return len(default_bench()._programs)


def list_programs() -> list[ProgramInfo]:
    """All that are loaded, by number."""
    programs = sorted(default_bench()._programs, key=lambda program: program.id)
    return [ProgramInfo(program.id, len(program._native.insns), program.name) for program in programs]


def get_program_map_fds(id: int) -> list[tuple[str, int]]:
    """Name and number of each map that a loaded program uses. Raises NotFound."""
    return _map_fds(_loaded(id))


def execute(program: EbpfProgram) -> int:
    """The same as `program.execute()`."""
    return program.execute()


def execute_with_mem(program: EbpfProgram, memory: bytearray | memoryview) -> int:
    """The same as `program.execute_with_context(memory)`."""
    return program.execute_with_context(memory)


def _sources() -> dict[int, EbpfProgram]:
    return {}


def _loaded(id: int) -> Program:
    programs = default_bench()._programs
    for program in programs:
        if program.id == id:
            return program
    raise NotFound(f"no program {id}: it was unloaded, or never loaded; there are {len(programs)}")


def _run(program: Program, context: bytearray | memoryview) -> int:
    with memoryview(context) as view:
        if view.readonly:
            raise TypeError(
                f"the context is {type(context).__name__}, which programs cannot write to; give a bytearray"
            )
        r0, fault, *_, after = program._native.run(view.tobytes())
        if view.nbytes:
            view.cast("B")[:] = after
    if fault is not None:
        raise fault
    assert r0 is not None
    return r0


def _map_fds(program: Program) -> list[tuple[str, int]]:
    return [(used.name, used.id) for used in program.maps]


def _descriptors(code: bytes) -> set[int]:
    """Numbers of the maps that instructions name: of each `lddw` (0x18) whose src says map (1) or map value (2)."""
    found, at = set(), 0
    while at < len(code):
        if code[at] == 0x18:
            if code[at + 1] >> 4 in (1, 2):
                found.add(int.from_bytes(code[at + 4 : at + 8], "little", signed=True))
            at += 8
        at += 8
    return found
