# ruff: noqa: N818 (names of the field: a fault, a key not found)
"""The exceptions of axebpf, all below `AxebpfError`.

Each takes its message first and, by keyword, the place that the message is about; every attribute may be None
when the place is not known. The Rust core raises these same classes.

>>> try:
...     raise LoadError("the section ends inside an instruction", file="exits.bpf.o", section="kprobe/f", offset=12)
... except AxebpfError as error:
...     print(error)
exits.bpf.o, section kprobe/f, offset 0xc: the section ends inside an instruction
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "AlreadyInitialized",
    "AttachError",
    "AxebpfError",
    "BenchClosed",
    "ClockError",
    "DeclarationError",
    "FieldError",
    "FilterError",
    "HelperError",
    "HypervisorError",
    "InvalidName",
    "KeyNotFound",
    "LoadError",
    "MapError",
    "MapPortabilityError",
    "NotFound",
    "NotInitialized",
    "PortabilityError",
    "PortabilityWarning",
    "ProgramFault",
    "RecordingError",
    "SourceLine",
    "SymbolError",
    "TracepointError",
    "did_you_mean",
]


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest valid one, or nothing if none is near.

    >>> did_you_mean("vmm:vcpu_exit", ["vmm:vm_boot", "vmm:vcpu_run_exit"])
    '; did you mean vmm:vcpu_run_exit?'
    >>> did_you_mean("xyz", ["vmm:vm_boot"])
    ''
    """
    if name.startswith("__"):  # what Python asks every module for when something is imported from it
        return ""
    import difflib  # slow to import, and only for messages

    near = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class AxebpfError(Exception):
    """Base of every error that axebpf raises on purpose."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class SourceLine(NamedTuple):
    """A place in the source of a program, from `.BTF.ext`.

    >>> print(SourceLine("exits.bpf.c", 12, 5, "return *count;"))
    exits.bpf.c:12:5
    >>> print(SourceLine("exits.bpf.c", 0, 0, ""))
    exits.bpf.c
    """

    file: str
    """Name of the source file, as the compiler was given it."""
    line: int
    """Line, from 1; 0 for what the compiler made of no line in particular."""
    column: int
    """Column, from 1; 0 if unknown."""
    text: str
    """The line itself, without leading blanks; empty if unknown."""

    def __str__(self) -> str:
        return ":".join([self.file, *(str(number) for number in (self.line, self.column) if number)])


class LoadError(AxebpfError):
    """An object file, or raw bytecode, that cannot be loaded.

    >>> print(LoadError("not a BPF object", file="a.out"))
    a.out: not a BPF object
    """

    file: str | None
    """The object's file name."""
    section: str | None
    """The ELF section."""
    offset: int | None
    """Byte offset in the section, or in the file where there is no section."""

    def __init__(
        self, message: str, *, file: str | None = None, section: str | None = None, offset: int | None = None
    ) -> None:
        super().__init__(message)
        self.file, self.section, self.offset = file, section, offset

    def __str__(self) -> str:
        place = [self.file] if self.file is not None else []
        place += [f"section {self.section}"] if self.section is not None else []
        place += [f"offset {self.offset:#x}"] if self.offset is not None else []
        message = super().__str__()
        return f"{', '.join(place)}: {message}" if place else message


class ProgramFault(AxebpfError):
    """A program that did at run time what it must not: a bad access, an endless loop, a wrong call.

    >>> print(ProgramFault("reads 8 bytes past the value", program="on_exit", instruction=9, place="EXITS[3]+8",
    ...                    source=("exits.bpf.c", 31, 12, "return count[1];")))
    on_exit: reads 8 bytes past the value at EXITS[3]+8
      exits.bpf.c:31:12 (instruction 9)
        return count[1];
    """

    what: str
    """What the program did."""
    program: str | None
    """Name of the program."""
    instruction: int | None
    """Index of the instruction, counted in 8-byte slots from the program's start."""
    source: SourceLine | None
    """The source line of that instruction."""
    address: int | None
    """The address that was accessed."""
    place: str | None
    """The name of that address: region and offset, as `stack-16` or `EXITS[3]+8`."""

    def __init__(
        self,
        what: str,
        *,
        program: str | None = None,
        instruction: int | None = None,
        source: tuple[str, int, int, str] | None = None,
        address: int | None = None,
        place: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.program, self.instruction = what, program, instruction
        self.source = None if source is None else SourceLine(*source)
        self.address, self.place = address, place

    def __str__(self) -> str:
        text = f"{self.program}: {self.what}" if self.program is not None else self.what
        where = self.place if self.place is not None else None if self.address is None else f"{self.address:#x}"
        if where is not None and where not in self.what:
            text += f" at {where}"
        instruction = f"instruction {self.instruction}" if self.instruction is not None else ""
        if self.source is None:
            return f"{text} ({instruction})" if instruction else text
        text += f"\n  {self.source} ({instruction})" if instruction else f"\n  {self.source}"
        return f"{text}\n    {self.source.text}" if self.source.text else text


class MapError(AxebpfError, OSError):
    """An operation on a map that Linux would refuse; also an `OSError` with Linux's errno.

    >>> error = MapError(7, "the map is full", map="EXITS")
    >>> print(error)
    EXITS: the map is full (E2BIG)
    >>> error.errno, isinstance(error, OSError)
    (7, True)
    """

    map: str | None
    """Name of the map."""
    done: int | None
    """Of a batch that stopped: how many entries were done before."""

    def __init__(self, errno: int, message: str, *, map: str | None = None, done: int | None = None) -> None:
        super().__init__(errno, message)
        self.map = map
        self.done = done

    def __str__(self) -> str:
        # ENOTSUPP, 524, never reaches user space in Linux's headers but is what some map kinds answer.
        code = _errno.errorcode.get(self.errno or 0, "ENOTSUPP" if self.errno == 524 else f"errno {self.errno}")
        return f"{self.map}: {self.strerror} ({code})" if self.map is not None else f"{self.strerror} ({code})"


class PortabilityError(LoadError):
    """What target axvisor refuses: a program, a map, or values for its global variables.

    `Program.portability` says the same on another target, `axebpf check` without loading anything.

    >>> print(PortabilityError("on_exit: instruction 14: XADD instructions are not supported", file="exits.bpf.o"))
    exits.bpf.o: on_exit: instruction 14: XADD instructions are not supported
    """

    program: str | None
    """Name of the program."""
    instruction: int | None
    """Index of the instruction, counted in 8-byte slots from the program's start."""
    source: SourceLine | None
    """The source line of that instruction."""
    reason: str
    """Why it is refused."""
    instead: str
    """What can be done instead; empty where nothing is known."""
    gap: str | None
    """The row of `axebpf.portability.GAPS` that it is about, by its name."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        section: str | None = None,
        program: str | None = None,
        instruction: int | None = None,
        source: tuple[str, int, int, str] | None = None,
        reason: str | None = None,
        instead: str = "",
        gap: str | None = None,
    ) -> None:
        LoadError.__init__(self, message, file=file, section=section)
        self.program, self.instruction = program, instruction
        self.source = None if source is None else SourceLine(*source)
        self.reason = message if reason is None else reason
        self.instead, self.gap = instead, gap


class MapPortabilityError(PortabilityError, MapError):
    """A map that target axvisor refuses; also a `MapError`, with the errno.

    >>> error = MapPortabilityError(1, "map M: AxVisor has no percpu_hash maps", map="M")
    >>> print(error)
    map M: AxVisor has no percpu_hash maps (EPERM)
    >>> isinstance(error, OSError), error.errno
    (True, 1)
    """

    def __init__(
        self,
        errno: int,
        message: str,
        *,
        map: str | None = None,
        file: str | None = None,
        reason: str | None = None,
        instead: str = "",
        gap: str | None = None,
    ) -> None:
        MapError.__init__(self, errno, message, map=map)
        self.file, self.section, self.offset = file, None, None
        self.program, self.instruction, self.source = None, None, None
        self.reason = message if reason is None else reason
        self.instead, self.gap = instead, gap

    def __str__(self) -> str:
        text = f"{self.strerror} ({_errno.errorcode.get(self.errno or 0, f'errno {self.errno}')})"
        return f"{self.file}: {text}" if self.file is not None else text


class PortabilityWarning(UserWarning):
    """A program that comes, or may come, to something else on target axvisor than on Linux."""


class KeyNotFound(MapError, KeyError):
    """A key that is not in the map: errno is ENOENT, and it is a `KeyError`, as for any mapping.

    >>> try:
    ...     raise KeyNotFound(2, "no entry for key 7", map="EXITS")
    ... except KeyError as error:
    ...     print(error)
    EXITS: no entry for key 7 (ENOENT)
    """


class TracepointError(AxebpfError):
    """Base of what can go wrong with tracepoints: names, declarations, values of fields."""


class NotFound(TracepointError, KeyError):
    """No tracepoint, or no subsystem, of that name; also a `KeyError`.

    >>> print(NotFound("no tracepoint vmm:vcpu_exit" + did_you_mean("vmm:vcpu_exit", ["vmm:vcpu_run_exit"])))
    no tracepoint vmm:vcpu_exit; did you mean vmm:vcpu_run_exit?
    """


class NotInitialized(TracepointError, RuntimeError):
    """A module-level function was called before `axebpf.init()`; also a `RuntimeError`.

    >>> print(NotInitialized())
    not initialized: call axebpf.init() first
    """

    def __init__(self, message: str = "not initialized: call axebpf.init() first") -> None:
        super().__init__(message)


class AlreadyInitialized(TracepointError, RuntimeError):
    """`axebpf.init()` was given options although the default bench exists already; also a `RuntimeError`.

    >>> print(AlreadyInitialized())
    already initialized: close the default bench before axebpf.init() is given other options
    """

    def __init__(
        self,
        message: str = "already initialized: close the default bench before axebpf.init() is given other options",
    ) -> None:
        super().__init__(message)


class InvalidName(TracepointError, ValueError, KeyError):
    """A tracepoint's name that is not `subsystem:event`; also a `ValueError`, and a `KeyError` so that `in` is False.

    >>> import axebpf
    >>> "vm_boot" in axebpf.Bench().tracepoints
    False
    """


class DeclarationError(TracepointError, TypeError):
    """A `Tracepoint` class that does not describe a record: unknown type, bad or reserved name; also a `TypeError`."""


class FieldError(TracepointError, ValueError):
    """A value that a field cannot hold, a missing or an unknown field, columns of unequal length; also a `ValueError`.

    >>> print(FieldError("vm_id is 4294967296; a u32 holds 0 to 4294967295", tracepoint="vmm:vm_boot", field="vm_id"))
    vmm:vm_boot: vm_id is 4294967296; a u32 holds 0 to 4294967295
    """

    tracepoint: str | None
    """The tracepoint, as `subsystem:event`."""
    field: str | None
    """The field's name."""

    def __init__(self, message: str, *, tracepoint: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.tracepoint, self.field = tracepoint, field

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.tracepoint is None else f"{self.tracepoint}: {message}"


class FilterError(TracepointError, ValueError):
    """A filter expression that cannot be: the text, a caret under the place, and what is wrong; also a `ValueError`.

    >>> print(FilterError("no field durations; did you mean duration_ns?", text="vm_id == 1 && durations > 5",
    ...                   position=14))
    no field durations; did you mean duration_ns?
      vm_id == 1 && durations > 5
                    ^
    """

    text: str | None
    """The expression."""
    position: int | None
    """Where in it, counted in characters from 0."""
    tracepoint: str | None
    """The tracepoint, as `subsystem:event`."""

    def __init__(
        self,
        message: str,
        *,
        text: str | None = None,
        position: int | None = None,
        tracepoint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.text, self.position, self.tracepoint = text, position, tracepoint

    def __str__(self) -> str:
        message = super().__str__()
        if self.tracepoint is not None:
            message = f"{self.tracepoint}: {message}"
        if self.text is None or self.position is None:
            return message
        # Of a text of several lines, or a very long one, the part round the place.
        start = self.text.rfind("\n", 0, self.position) + 1
        line = self.text[start:].split("\n", 1)[0]
        column = self.position - start
        left = max(0, column - 60)
        shown = line[left : left + 100].replace("\t", " ")
        return f"{message}\n  {shown}\n  {' ' * (column - left)}^"


class AttachError(AxebpfError):
    """A program that cannot be attached there, or is not attached.

    >>> print(AttachError("already attached", program="on_exit", target="vmm:vcpu_run_exit"))
    on_exit to vmm:vcpu_run_exit: already attached
    """

    program: str | None
    """Name of the program."""
    target: str | None
    """What it was to be attached to, as `vmm:vcpu_run_exit`."""

    def __init__(self, message: str, *, program: str | None = None, target: str | None = None) -> None:
        super().__init__(message)
        self.program, self.target = program, target

    def __str__(self) -> str:
        place = " to ".join(part for part in (self.program, self.target) if part is not None)
        message = super().__str__()
        return f"{place}: {message}" if place else message


class BenchClosed(AxebpfError):
    """The bench, or something that belongs to it, was used after `close()`.

    >>> print(BenchClosed())
    the bench is closed
    """

    def __init__(self, message: str = "the bench is closed") -> None:
        super().__init__(message)


class ClockError(AxebpfError, ValueError):
    """A clock or CPU that cannot be: CPU 9 of 4, a real clock to be set; also a `ValueError`.

    >>> print(ClockError("there is no CPU 9: this bench has CPUs 0 to 3"))
    there is no CPU 9: this bench has CPUs 0 to 3
    """


class ThreadsError(AxebpfError, ValueError):
    """A batch that cannot be fired on several threads, or is to be on none; also a `ValueError`.

    It is raised before the first event.

    >>> print(ThreadsError("a batch is fired on one thread or more, not on none"))
    a batch is fired on one thread or more, not on none
    """


class HelperError(AxebpfError):
    """A helper that cannot be defined: a prototype that does not parse, an id that is taken or reserved.

    >>> print(HelperError("id 6 is bpf_trace_printk", helper="my_helper"))
    my_helper: id 6 is bpf_trace_printk
    """

    helper: str | None
    """Name of the helper."""

    def __init__(self, message: str, *, helper: str | None = None) -> None:
        super().__init__(message)
        self.helper = helper

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.helper is None else f"{self.helper}: {message}"


class HypervisorError(AxebpfError, ValueError):
    """A workload that does not exist, or a parameter that it cannot take; also a `ValueError`.

    >>> print(HypervisorError("vms is 0; boot takes 1 to 8", workload="boot", parameter="vms", value=0))
    vms is 0; boot takes 1 to 8
    """

    workload: str | None
    """The workload's name."""
    parameter: str | None
    """The parameter's name."""
    value: object
    """What was given for it."""

    def __init__(
        self, message: str, *, workload: str | None = None, parameter: str | None = None, value: object = None
    ) -> None:
        super().__init__(message)
        self.workload, self.parameter, self.value = workload, parameter, value


class SymbolError(AxebpfError, ValueError):
    """A symbol table that cannot be read or written; also a `ValueError`.

    >>> print(SymbolError("the names end at 64, behind the end of the blob at 40", offset=24))
    offset 0x18: the names end at 64, behind the end of the blob at 40
    """

    line: int | None
    """Line of a text, from 1."""
    offset: int | None
    """Byte offset in a blob or an ELF file."""

    def __init__(self, message: str, *, line: int | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.line, self.offset = line, offset

    def __str__(self) -> str:
        message = super().__str__()
        place = f"line {self.line}: " if self.line is not None else ""
        place += f"offset {self.offset:#x}: " if self.offset is not None else ""
        return place + message


class RecordingError(AxebpfError, ValueError):
    """A recording that cannot be read; also a `ValueError`.

    >>> print(RecordingError("no column duration_ns", file="exits.csv", line=1))
    exits.csv, line 1: no column duration_ns
    """

    file: str | None
    """The recording's file name."""
    line: int | None
    """Line of a text, from 1."""
    offset: int | None
    """Byte offset in the file."""

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, offset: int | None = None
    ) -> None:
        super().__init__(message)
        self.file, self.line, self.offset = file, line, offset

    def __str__(self) -> str:
        message = super().__str__()
        place = [self.file] if self.file is not None else []
        place += [f"line {self.line}"] if self.line is not None else []
        place += [f"offset {self.offset:#x}"] if self.offset is not None else []
        return f"{', '.join(place)}: {message}" if place else message
