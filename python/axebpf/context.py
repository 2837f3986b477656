"""AxVisor's TraceContext: the context of programs of type `axvisor`, of raw instructions too.

Its 64 bytes are those that AxVisor hands its programs (revision 2383fa5), little-endian, with zeros for padding:

| offset | member | type |
| --- | --- | --- |
| 0 | tracepoint_id | u32 |
| 8 | timestamp_ns | u64 |
| 16 | vm_id | u32 |
| 20 | vcpu_id | u32 |
| 24 | arg0 to arg3 | u64 |
| 56 | probe_type | u32 |

>>> context = TraceContext(21, timestamp_ns=5).with_vm(1, 0).with_args(1200, 7)
>>> context.as_bytes()[24:32].hex()
'b004000000000000'
>>> TraceContext.from_bytes(context.as_bytes()) == context
True
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from axebpf._default import default_bench
from axebpf.btf import Layout, codec_of
from axebpf.errors import FieldError

if TYPE_CHECKING:
    from axebpf.trace import Event

__all__ = ["ARGUMENTS", "ProbeType", "TraceContext", "decoded", "encoded", "unsigned"]

ARGUMENTS = 4
"""Arguments of a context."""


class ProbeType(enum.IntEnum):
    """What fired, one numbering for contexts and events."""

    HPROBE = 0
    """Entry of a function of the hypervisor."""
    HRETPROBE = 1
    """Return from one."""
    KPROBE = 2
    """An instruction of a guest's kernel."""
    KRETPROBE = 3
    """Return from a function of one."""
    TRACEPOINT = 4
    """A tracepoint of the hypervisor."""

    @property
    def label(self) -> str:
        """Its name in lower case."""
        return self.name.lower()

    @property
    def is_guest_probe(self) -> bool:
        """Whether it is in a guest."""
        return self in (ProbeType.KPROBE, ProbeType.KRETPROBE)

    @property
    def is_return_probe(self) -> bool:
        """Whether it is at a return."""
        return self in (ProbeType.HRETPROBE, ProbeType.KRETPROBE)


def unsigned(size: int) -> Layout:
    """The type of an unsigned number of so many bytes."""
    return ("int", size, False, "number")


_U32, _U64 = unsigned(4), unsigned(8)
_CODEC = codec_of(
    (
        "struct",
        64,
        "TraceContext",
        [
            ("tracepoint_id", 0, 0, _U32),
            ("timestamp_ns", 8 * 8, 0, _U64),
            ("vm_id", 16 * 8, 0, _U32),
            ("vcpu_id", 20 * 8, 0, _U32),
            ("args", 24 * 8, 0, ("array", _U64, ARGUMENTS)),
            ("probe_type", 56 * 8, 0, _U32),
        ],
    )
)


def encoded(codec: Any, values: tuple[Any, ...]) -> bytes:
    """The bytes of a structure. Raises FieldError, which names the member, for a value that does not fit."""
    try:
        data: bytes = codec.encode(values)
    except (TypeError, ValueError) as error:
        raise FieldError(f"{codec.name}: {error}") from None
    return data


def decoded(codec: Any, data: bytes | bytearray | memoryview) -> Any:
    """The members of a structure, from its first bytes. Raises FieldError where there are too few."""
    if len(data) < codec.size:
        raise FieldError(f"{codec.name} has {codec.size} bytes, not {len(data)}")
    return codec.decode(data)


class TraceContext(NamedTuple):
    """What an `axvisor` program gets about an event.

    A member's value is checked when it becomes bytes.
    """

    tracepoint_id: int
    """Number of the tracepoint."""
    timestamp_ns: int = 0
    """Nanoseconds since boot."""
    vm_id: int = 0
    """VM, or 0."""
    vcpu_id: int = 0
    """vCPU, or 0."""
    args: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Of an event its duration, if it has one, then its other numbers in order."""
    probe_type: int = ProbeType.TRACEPOINT
    """A `ProbeType`."""

    @classmethod
    def new(cls, tracepoint_id: int) -> Self:
        """A context of now, by the clock of the default bench. Raises NotInitialized."""
        return cls(tracepoint_id, timestamp_ns=default_bench().clock.now)

    @classmethod
    def of(cls, event: Event) -> Self:
        """What programs got at an event of the default bench. Raises NotFound for one of another's tracepoints."""
        spec = default_bench().tracepoints[event.name]._spec
        return cls.from_bytes(spec.trace_context(event.record, event.time_ns))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """The context in the first 64 bytes. Raises FieldError where there are fewer."""
        tracepoint_id, timestamp_ns, vm_id, vcpu_id, args, probe_type = decoded(_CODEC, data)
        return cls(tracepoint_id, timestamp_ns, vm_id, vcpu_id, tuple(args), probe_type)

    def with_vm(self, vm_id: int, vcpu_id: int) -> Self:
        """The same of this VM and vCPU."""
        return self._replace(vm_id=vm_id, vcpu_id=vcpu_id)

    def with_args(self, arg0: int, arg1: int = 0, arg2: int = 0, arg3: int = 0) -> Self:
        """The same with these arguments."""
        return self._replace(args=(arg0, arg1, arg2, arg3))

    def with_probe_type(self, probe_type: int) -> Self:
        """The same of this type."""
        return self._replace(probe_type=probe_type)

    def as_bytes(self) -> bytes:
        """Its 64 bytes; `bytearray(context.as_bytes())` is a context to run a program on. Raises FieldError."""
        return encoded(_CODEC, self)
