"""Tracepoints, declared once as a class; layout, C header, NumPy dtype and documentation are derived from it.

>>> import enum
>>> class Reason(enum.IntEnum):
...     CLEAN = 0
...     FAULT = 3
>>> class VmPause(Tracepoint, name="vmm:vm_pause", id=200):
...     '''A VM was paused.'''
...     vm_id: u32
...     reason: u32 = field(enum=Reason)
...     duration_ns: u64 = field(unit="ns", role="duration")
>>> VmPause.event_name, VmPause.subsystem, VmPause.event, VmPause.id
('vmm:vm_pause', 'vmm', 'vm_pause', 200)
>>> print(VmPause.c_struct())
struct vmm_vm_pause { /* A VM was paused. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 reason; /* enum vmm_reason */
    __u64 duration_ns; /* ns */
};
"""

from __future__ import annotations

import enum as _enum
import importlib
import re
import sys
import textwrap
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar, final

from axebpf.errors import DeclarationError, InvalidName, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from axebpf import init as init
    from axebpf import is_initialized as is_initialized
    from axebpf.kops import KernelTraceOps as KernelTraceOps
    from axebpf.tracepoint_manager import TracepointInfo as TracepointInfo
    from axebpf.tracepoint_manager import TracepointManager as TracepointManager

__all__ = [
    "COMMON_FIELDS",
    "Field",
    "FieldType",
    "Layout",
    "Tracepoint",
    "bool_",
    "char",
    "field",
    "i8",
    "i16",
    "i32",
    "i64",
    "numpy_dtype",
    "parse_type",
    "u8",
    "u16",
    "u32",
    "u64",
]


class _Base(typing.NamedTuple):
    """A base type: bytes, signedness, its name in C (the kernel's, which vmlinux.h has too), its NumPy code."""

    size: int
    signed: bool
    c: str
    numpy: str


_BASES = {
    "u8": _Base(1, False, "__u8", "<u1"),
    "u16": _Base(2, False, "__u16", "<u2"),
    "u32": _Base(4, False, "__u32", "<u4"),
    "u64": _Base(8, False, "__u64", "<u8"),
    "i8": _Base(1, True, "__s8", "<i1"),
    "i16": _Base(2, True, "__s16", "<i2"),
    "i32": _Base(4, True, "__s32", "<i4"),
    "i64": _Base(8, True, "__s64", "<i8"),
    "bool": _Base(1, False, "_Bool", "?"),
    "char": _Base(1, True, "char", "S"),
}
EnumClass: TypeAlias = type[_enum.IntEnum] | type[_enum.IntFlag]
_TYPE_TEXT = re.compile(r"(\w+)(?:\[(\d+)\])?\Z", re.ASCII)
_CORE_ARRAY = re.compile(r"\[(\w+); (\d+)\]\Z", re.ASCII)
_MAX_COUNT = 4096


def _is_whole(value: object, maximum: int) -> bool:
    """Whether a value is an integer from 1 to `maximum`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= maximum


@final
class FieldType:
    """The type of a field: a base type, or with a count an array of it.

    >>> u64[4].text, u64[4].size, i32.minimum, i32.maximum
    ('u64[4]', 32, -2147483648, 2147483647)
    """

    base: str
    """`u8` to `u64`, `i8` to `i64`, `bool`, or `char` (only as an array: bytes up to the first NUL)."""
    count: int
    """Elements of an array; 0 for a single value."""

    __slots__ = ("base", "count")

    def __init__(self, base: str, count: int = 0) -> None:
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "count", count)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a FieldType does not change; make another one for {name}={value!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldType) and (self.base, self.count) == (other.base, other.count)

    def __hash__(self) -> int:
        return hash((self.base, self.count))

    def __reduce__(self) -> tuple[type[FieldType], tuple[str, int]]:
        return FieldType, (self.base, self.count)

    def __repr__(self) -> str:
        return f"FieldType(base={self.base!r}, count={self.count})"

    def __getitem__(self, count: int) -> FieldType:
        """The array of `count` values: `u64[4]`, `char[16]`. Raises DeclarationError for a bad count."""
        if self.count or self.base == "bool":
            raise DeclarationError(f"no arrays of {self.text}; integers and char have them, as in u64[4] or char[16]")
        if not _is_whole(count, _MAX_COUNT):
            raise DeclarationError(f"{self.base}[{count}]: the length of an array is 1 to {_MAX_COUNT}")
        return FieldType(self.base, count)

    @property
    def text(self) -> str:
        """As the core is told it: `u32`, `u64[4]`."""
        return f"{self.base}[{self.count}]" if self.count else self.base

    @property
    def size(self) -> int:
        """Bytes in the record."""
        return _BASES[self.base].size * (self.count or 1)

    @property
    def signed(self) -> bool:
        """Whether the base type is signed; `char` is, as on Linux x86-64."""
        return _BASES[self.base].signed

    @property
    def is_integer(self) -> bool:
        """A single integer: what may have an enumeration, a scale, a hexadecimal display."""
        return not self.count and self.base not in ("bool", "char")

    @property
    def minimum(self) -> int:
        """The least value of one integer."""
        return -(1 << (8 * _BASES[self.base].size - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        """The greatest value of one integer."""
        return (1 << (8 * _BASES[self.base].size - self.signed)) - 1

    @property
    def numpy(self) -> Any:
        """What `numpy.dtype` takes for it: `"<u4"`, `("<u8", 4)`, `"S16"`."""
        code = _BASES[self.base].numpy
        if not self.count:
            return code
        return f"S{self.count}" if self.base == "char" else (code, self.count)

    def c_declaration(self, name: str) -> str:
        """The member `name` of a C struct, without the semicolon.

        >>> u64[4].c_declaration("args")
        '__u64 args[4]'
        """
        return f"{_BASES[self.base].c} {name}" + (f"[{self.count}]" if self.count else "")

    @property
    def c_argument(self) -> str:
        """The C type of a function's argument that carries it; an array goes as a pointer."""
        name = _BASES[self.base].c
        return f"const {name} *" if self.count else name


if TYPE_CHECKING:
    # What a type checker sees in `vm_id: u32`.
    u8: TypeAlias = int
    u16: TypeAlias = int
    u32: TypeAlias = int
    u64: TypeAlias = int
    i8: TypeAlias = int
    i16: TypeAlias = int
    i32: TypeAlias = int
    i64: TypeAlias = int
    bool_: TypeAlias = bool
    char: TypeAlias = bytes
else:
    u8, u16, u32, u64 = FieldType("u8"), FieldType("u16"), FieldType("u32"), FieldType("u64")
    i8, i16, i32, i64 = FieldType("i8"), FieldType("i16"), FieldType("i32"), FieldType("i64")
    bool_ = FieldType("bool")
    char = FieldType("char")

_MARKERS = {("bool_" if base == "bool" else base): FieldType(base) for base in _BASES}
_FOREIGN = {int: "u64 or i64", bool: "bool_", str: "char[16]", bytes: "char[16]", float: "u64 (records have no floats)"}


def parse_type(text: str) -> FieldType:
    """The type that a text such as `u32`, `char[16]` or `bool` names. Raises DeclarationError for any other.

    The core's layouts write an array as `[char; 16]`; that is read too.

    >>> parse_type("char[16]") == parse_type("[char; 16]") == FieldType("char", 16)
    True
    """
    match = _TYPE_TEXT.match(text) or _CORE_ARRAY.match(text)
    if match is None or match[1] not in _BASES:
        raise DeclarationError(f"unknown type {text}{did_you_mean(text, _BASES)}")
    return FieldType(match[1])[int(match[2])] if match[2] else FieldType(match[1])


class Field(typing.NamedTuple):
    """One field of a tracepoint's record, as declared."""

    name: str
    """Its name in C, in filters, in columns."""
    type: FieldType
    """Its type; where it lies in the record is for `Tracepoint.layout()` to say."""
    enum: EnumClass | None = None
    """The meaning of its values."""
    unit: str = ""
    """The unit of its values, such as `ns` or `bytes`."""
    role: str = ""
    """`duration` for the field that feeds statistics and histogram, otherwise empty."""
    hex: bool = False
    """Whether the trace text shows it in hexadecimal."""
    label: str | None = None
    """What the trace text calls it, where that is not its name."""
    scale: int = 1
    """What the trace text divides it by (integer division)."""
    suffix: str = ""
    """What the trace text puts behind it."""

    @property
    def display(self) -> dict[str, Any]:
        """How the trace text shows it, as the core is told it: hex, label, scale, suffix."""
        return {"hex": self.hex, "label": self.label, "scale": self.scale, "suffix": self.suffix}


COMMON_FIELDS: tuple[tuple[str, FieldType, int], ...] = (
    ("common_type", FieldType("u16"), 0),
    ("common_flags", FieldType("u8"), 2),
    ("common_preempt_count", FieldType("u8"), 3),
    ("common_pid", FieldType("i32"), 4),
)
"""The header that every record begins with: name, type, offset; `struct trace_entry` in Linux."""


class Layout(Protocol):
    """Where the fields of a tracepoint lie: what `axebpf._native.TracepointSpec` answers."""

    @property
    def size(self) -> int:
        """Bytes of a record, the common header and the padding at its end included."""

    @property
    def fields(self) -> list[tuple[str, str, int, int, bool]]:
        """Name, type text, offset in the record, bytes, signedness of each field, in order."""


def numpy_dtype(layout: Layout) -> np.dtype[np.void]:
    """The structured dtype of a record of this layout, the common header included.

    `numpy.frombuffer(records, dtype)` reads records as the trace and the programs see them.
    """
    import numpy as np

    columns = [(name, kind.numpy, offset) for name, kind, offset in COMMON_FIELDS]
    columns += [
        (name, parse_type(text).numpy, offset)
        for name, text, offset, _, _ in layout.fields
        if not name.startswith("common_")
    ]
    names, formats, offsets = (list(part) for part in zip(*columns, strict=True))
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": layout.size})


class _Options:
    """What `field(...)` leaves in the class body until the class is made."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


def field(
    *,
    enum: EnumClass | None = None,
    unit: str = "",
    role: str = "",
    hex: bool = False,
    label: str | None = None,
    scale: int = 1,
    suffix: str = "",
) -> Any:
    """Says more about a field than its type; the arguments are the attributes of `Field`.

    What does not fit the field's type raises DeclarationError when the class is made.
    """
    return _Options(
        {"enum": enum, "unit": unit, "role": role, "hex": hex, "label": label, "scale": scale, "suffix": suffix}
    )


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*:[A-Za-z_][A-Za-z0-9_]*\Z")
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_PRINTABLE = re.compile(r"[ !#-$&-\[\]-~]*\Z")  # what a C string holds without an escape, and printf without a meaning
_C_KEYWORDS = re.compile(
    r"(auto|bool|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|"
    r"register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while)\Z"
)
# `fire` takes the first two beside the fields; `ent` heads the structure in vmlinux.h.
_RESERVED = {"time_ns": "the time of the event", "cpu": "the CPU of the event", "ent": "the header in vmlinux.h"}
_MAX_ID = 0xFFFF  # common_type is a u16

T = TypeVar("T")


class _ClassProperty(Generic[T]):
    """A property of the class itself, computed when asked for."""

    def __init__(self, compute: Callable[[type[Tracepoint]], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, instance: object, owner: type[Tracepoint]) -> T:
        return self.compute(owner)


class Tracepoint:
    """Base of all tracepoints. A subclass is a declaration: `class VmPause(Tracepoint, name="vmm:vm_pause", id=200)`.

    Its body lists the record's fields in order as `vm_id: u32` or `reason: u32 = field(enum=Reason)`; arrays are
    `char[16]`, `u64[4]` (for type checkers, which want no number there, `Annotated[bytes, char[16]]`); `ClassVar`
    annotations are no fields. The id is what `common_type` and `TraceContext.tracepoint_id` carry: 1 to 65535, and
    1 to 101 are AxVisor's. Raises InvalidName for a name that is not `subsystem:event`, DeclarationError for
    anything else that does not describe a record.

    Names that are taken: `time_ns`, `cpu`, `ent`, and all that begin with `common_`.
    """

    event_name: ClassVar[str]
    """Full name, `subsystem:event`."""
    subsystem: ClassVar[str]
    """The part before the colon."""
    event: ClassVar[str]
    """The part after the colon."""
    id: ClassVar[int]
    """The one id of the tracepoint."""
    fields: ClassVar[tuple[Field, ...]]
    """The fields in the order of the record, the common header not included."""
    doc: ClassVar[str]
    """The class's docstring, or an empty text."""

    def __init_subclass__(cls, *, name: str = "", id: int = 0, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__bases__ != (Tracepoint,):
            raise DeclarationError(f"{cls.__name__}: a tracepoint inherits from Tracepoint alone, and is not inherited")
        if not _NAME.match(str(name)):
            raise InvalidName(f"{cls.__name__}: the name {name!r} is not subsystem:event, as in vmm:vcpu_run_exit")
        if not _is_whole(id, _MAX_ID):
            raise DeclarationError(f"{name}: the id is {id!r}; it must be 1 to {_MAX_ID}")
        cls.event_name, cls.id = name, id
        cls.subsystem, cls.event = name.split(":")
        cls.doc = _clean(cls.__dict__.get("__doc__") or "")
        cls.fields = _read_fields(cls)

    @classmethod
    def layout(cls) -> Layout:
        """The record's layout, computed by the core (natural alignment, as a C compiler does it)."""
        from axebpf import _native

        return _native.TracepointSpec(cls.event_name, cls.id, cls.declaration())

    @classmethod
    def declaration(cls) -> list[tuple[str, str, dict[str, Any], str]]:
        """The fields as the core is told them: name, type text, display, role."""
        return [(f.name, f.type.text, f.display, f.role) for f in cls.fields]

    dtype = _ClassProperty(lambda cls: numpy_dtype(cls.layout()))
    """NumPy dtype of a record, with the offsets and the size of the record itself."""

    @classmethod
    def c_name(cls) -> str:
        """Name of the C struct of `c_struct()`: `vmm_vcpu_run_exit`."""
        return f"{cls.subsystem}_{cls.event}"

    @classmethod
    def c_struct(cls) -> str:
        """The record as a plain C struct, in the kernel's fixed-width types (`__u32`)."""
        lines = [f"struct {cls.c_name()} {{" + (f" /* {_comment(cls.doc)} */" if cls.doc else "")]
        lines += [f"    {kind.c_declaration(name)};" for name, kind, _ in COMMON_FIELDS]
        lines += c_members(cls)
        return "\n".join([*lines, "};"])


def c_enum_name(tracepoint: type[Tracepoint], enum: type[_enum.Enum]) -> str:
    """Name in C of an enumeration that a field of this tracepoint has: `ExitReason` of `vmm` is `vmm_exit_reason`."""
    return f"{tracepoint.subsystem}_{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', enum.__name__).lower()}"


def c_members(tracepoint: type[Tracepoint]) -> list[str]:
    """The lines of the tracepoint's own fields in a C struct, units and enumerations as comments."""
    lines = []
    for f in tracepoint.fields:
        note = f"enum {c_enum_name(tracepoint, f.enum)}" if f.enum else f.unit
        lines.append(f"    {f.type.c_declaration(f.name)};" + (f" /* {_comment(note)} */" if note else ""))
    return lines


def _comment(text: str) -> str:
    """The first line of a text, safe in a C comment."""
    return text.splitlines()[0].replace("*/", "* /").replace("/*", "/ *")


def _clean(doc: str) -> str:
    """A docstring without its indentation, as `inspect.cleandoc` has it, which is slow to import."""
    first, _, rest = doc.partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip() if rest else first.strip()


def _annotations(cls: type[Tracepoint]) -> dict[str, object]:
    """The annotations of the class itself; Python 3.14 makes them when they are asked for."""
    if sys.version_info >= (3, 14):
        return dict(cls.__annotations__)
    return dict(cls.__dict__.get("__annotations__", {}))  # noqa: RUF063 (inspect is slow to import)


def _read_fields(cls: type[Tracepoint]) -> tuple[Field, ...]:
    """The fields that a class body declares, checked; takes their `field(...)` out of the class again."""
    fields: list[Field] = []
    for name, annotation in _annotations(cls).items():
        kind = _resolve(cls, name, annotation)
        if kind is None:
            continue
        _check_name(cls, name)
        options = cls.__dict__.get(name, _Options({}))
        if not isinstance(options, _Options):
            raise DeclarationError(f"{cls.event_name}: {name} = {options!r}: a field has no default, only field(...)")
        if name in cls.__dict__:
            delattr(cls, name)
        fields.append(_checked(cls, Field(name, kind, **options.values)))
    for name, value in cls.__dict__.items():
        if isinstance(value, _Options):
            raise DeclarationError(f"{cls.event_name}: {name} has no type; write {name}: u32 = field(...)")
    durations = [f.name for f in fields if f.role]
    if len(durations) > 1:
        raise DeclarationError(f"{cls.event_name}: {' and '.join(durations)} have role duration; one field may")
    return tuple(fields)


def _resolve(cls: type[Tracepoint], name: str, annotation: object) -> FieldType | None:
    """The type that an annotation means; None for a ClassVar."""
    shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", repr(annotation))
    if isinstance(annotation, str):  # from __future__ import annotations
        try:
            module = sys.modules.get(cls.__module__)  # none for code that was compiled by hand
            annotation = eval(annotation, vars(module) if module else {}, dict(_MARKERS))
        except DeclarationError as error:  # the length of an array
            raise DeclarationError(f"{cls.event_name}: {name}: {error}") from None
        except (NameError, AttributeError, SyntaxError, TypeError):
            # A type that was imported inside a function: its last name says which.
            annotation = _by_last_name(str(annotation))
    if typing.get_origin(annotation) is ClassVar or annotation is ClassVar:
        return None
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = next((m for m in typing.get_args(annotation)[1:] if isinstance(m, FieldType)), annotation)
    if not isinstance(annotation, FieldType):
        hint = _FOREIGN.get(annotation) if isinstance(annotation, type) else None
        near = f"; did you mean {hint}?" if hint else did_you_mean(shown, _MARKERS)
        raise DeclarationError(f"{cls.event_name}: {name} has the unknown type {shown}{near}")
    if annotation.base == "char" and not annotation.count:
        raise DeclarationError(f"{cls.event_name}: {name} is a char without a length; did you mean char[16] or u8?")
    return annotation


def _by_last_name(text: str) -> object:
    """`axebpf.u32` or `tp.u64[4]` by their last name; the text itself where that is none of ours."""
    try:
        kind = parse_type(text.rsplit(".", 1)[-1].replace("bool_", "bool"))
    except DeclarationError:
        return text
    return kind


def _check_name(cls: type[Tracepoint], name: str) -> None:
    """Refuses names that cannot be a member in C, a keyword of `fire`, or a field beside the common ones."""
    if name in _RESERVED:
        raise DeclarationError(
            f"{cls.event_name}: no field may be called {name}, which is {_RESERVED[name]}; did you mean event_{name}?"
        )
    if name.startswith("common_"):
        near = name.removeprefix("common_") or "field"
        raise DeclarationError(f"{cls.event_name}: {name}: common_* are the header's fields; did you mean {near}?")
    if not _FIELD_NAME.match(name) or _C_KEYWORDS.match(name):
        near = re.sub(r"[^A-Za-z0-9_]", "", name.strip("_")) + "_value"
        raise DeclarationError(f"{cls.event_name}: {name} cannot be the name of a field in C; did you mean {near}?")


def _is_integer_enum(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, (_enum.IntEnum, _enum.IntFlag))


def _checked(cls: type[Tracepoint], f: Field) -> Field:
    """The field, if what `field(...)` said fits its type."""
    where = f"{cls.event_name}: {f.name}"
    if f.enum is not None and not _is_integer_enum(f.enum):
        raise DeclarationError(f"{where}: enum={f.enum!r} is no IntEnum or IntFlag class")
    if f.role not in ("", "duration"):
        raise DeclarationError(f"{where}: role={f.role!r}; the one role is 'duration'")
    if not _is_whole(f.scale, 2**63 - 1):
        raise DeclarationError(f"{where}: scale={f.scale!r}; it must be a whole number from 1")
    if not f.type.is_integer and (f.enum or f.hex or f.role or f.scale != 1):
        raise DeclarationError(f"{where}: enum, hex, role and scale are for single integers, not for {f.type.text}")
    if f.role and f.type.signed:
        raise DeclarationError(f"{where}: a duration is unsigned; did you mean u64?")
    for option, text in (("label", f.label), ("suffix", f.suffix), ("unit", f.unit)):
        if text is not None and not _PRINTABLE.match(str(text)):
            raise DeclarationError(f"{where}: {option}={text!r} must be ASCII without quotes, backslash and percent")
    return f


_ELSEWHERE = {
    "KernelTraceOps": "axebpf.kops",
    "TracepointInfo": "axebpf.tracepoint_manager",
    "TracepointManager": "axebpf.tracepoint_manager",
    "init": "axebpf",
    "is_initialized": "axebpf",
}
"""What the seed's `tracepoint` has too, and where it is; it comes when it is first named."""


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    near = did_you_mean(name, [*__all__, *_ELSEWHERE])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{near}")
