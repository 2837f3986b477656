"""AxVisor's TraceEvent: the 64 bytes that its trace stream has for an event, and the names of events in it.

The layout is AxVisor's (revision 2383fa5), little-endian, with zeros for padding. A number that its member cannot hold
is an error: an address does not fit `event_id`, nor VM 65536 `vm_id`.

>>> import axebpf
>>> bench = axebpf.init()
>>> seen = []
>>> listener = bench.tracepoints["vmm:vm_boot"].on(lambda event: seen.append(TraceEvent.of(event)))
>>> bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=20_000)
>>> seen[0].event_id, seen[0].vm_id, seen[0].duration_ns, seen[0].probe_type_str, get_event_name(seen[0].name_offset)
(2, 1, 20000, 'tracepoint', 'vmm:vm_boot')
>>> TraceEvent.from_bytes(seen[0].as_bytes()) == seen[0]
True
>>> bench.close()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from axebpf._default import default_bench, kept
from axebpf.btf import codec_of
from axebpf.context import ARGUMENTS, ProbeType, TraceContext, decoded, encoded, unsigned
from axebpf.errors import FieldError

if TYPE_CHECKING:
    from axebpf.trace import Event

__all__ = ["TraceEvent", "event_name_for_id", "get_event_name", "register_event_name"]

_CODEC = codec_of(
    (
        "struct",
        64,
        "TraceEvent",
        [
            ("timestamp_ns", 0, 0, unsigned(8)),
            ("probe_type", 8 * 8, 0, unsigned(1)),
            ("cpu_id", 9 * 8, 0, unsigned(1)),
            ("vm_id", 10 * 8, 0, unsigned(2)),
            ("event_id", 12 * 8, 0, unsigned(4)),
            ("name_offset", 16 * 8, 0, unsigned(2)),
            ("nr_args", 18 * 8, 0, unsigned(1)),
            ("args", 24 * 8, 0, ("array", unsigned(8), ARGUMENTS)),
            ("duration_ns", 56 * 8, 0, unsigned(8)),
        ],
    )
)

MAX_NAMES = 0xFFFF
"""Names at most; AxVisor's mark for "no room" is the one number that is left."""


class TraceEvent(NamedTuple):
    """An event of AxVisor's stream. A member's value is checked when it becomes bytes."""

    timestamp_ns: int
    """Nanoseconds since boot."""
    probe_type: int
    """A `ProbeType`, 8 bits."""
    event_id: int
    """Number of the tracepoint, 32 bits."""
    cpu_id: int = 0
    """CPU, 8 bits."""
    vm_id: int = 0
    """VM, 16 bits, or 0."""
    name_offset: int = 0
    """Number of its name, as `register_event_name` gives it."""
    args: tuple[int, ...] = ()
    """Up to four numbers."""
    duration_ns: int = 0
    """How long it took, or 0."""

    @classmethod
    def of(cls, event: Event) -> Self:
        """An event of the default bench, whose name is registered. The arguments are those of its TraceContext.

        Raises FieldError for a CPU or a VM that the members cannot hold.
        """
        handle = default_bench().tracepoints[event.name]
        context = TraceContext.of(event)
        durations = [field.name for field in handle.declaration.fields if field.role == "duration"]
        others = {field.name for field in handle.declaration.fields if not field.type.count} - {"vm_id", "vcpu_id"}
        made = cls(
            timestamp_ns=event.time_ns,
            probe_type=context.probe_type,
            event_id=context.tracepoint_id,
            cpu_id=event.cpu,
            vm_id=context.vm_id,
            name_offset=register_event_name(event.name),
            args=context.args[: len(others)],
            duration_ns=getattr(event, durations[0]) if durations else 0,
        )
        made.as_bytes()
        return made

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """The event in the first 64 bytes. Raises FieldError where there are fewer, or for more arguments than four."""
        timestamp_ns, probe_type, cpu_id, vm_id, event_id, name_offset, nr_args, args, duration_ns = decoded(
            _CODEC, data
        )
        if nr_args > ARGUMENTS:
            raise FieldError(f"nr_args is {nr_args}; an event has up to {ARGUMENTS} arguments", field="nr_args")
        return cls(timestamp_ns, probe_type, event_id, cpu_id, vm_id, name_offset, tuple(args[:nr_args]), duration_ns)

    def as_bytes(self) -> bytes:
        """Its 64 bytes. Raises FieldError for a value that a member cannot hold."""
        if len(self.args) > ARGUMENTS:
            raise FieldError(f"{len(self.args)} arguments; an event has up to {ARGUMENTS}", field="args")
        args = [*self.args, *[0] * (ARGUMENTS - len(self.args))]
        return encoded(
            _CODEC,
            (
                self.timestamp_ns,
                self.probe_type,
                self.cpu_id,
                self.vm_id,
                self.event_id,
                self.name_offset,
                len(self.args),
                args,
                self.duration_ns,
            ),
        )

    @property
    def probe_type_str(self) -> str:
        """What fired: `tracepoint`, `hprobe` and so on, or `unknown`."""
        return {int(known): known.label for known in ProbeType}.get(self.probe_type, "unknown")


def _names() -> dict[str, int]:
    return {}


def register_event_name(name: str) -> int:
    """The number of a name in the default bench's events; the same each time. Raises FieldError for the 65536th."""
    names = kept(_names)
    if name not in names and len(names) == MAX_NAMES:
        raise FieldError(f"no number is left for the name {name}: there are {MAX_NAMES}", field="name_offset")
    return names.setdefault(name, len(names))


def get_event_name(name_offset: int) -> str | None:
    """The name of a number, None where none was given."""
    names = list(kept(_names))
    return names[name_offset] if 0 <= name_offset < len(names) else None


def event_name_for_id(event_id: int) -> str | None:
    """The name of the default bench's tracepoint of this number, None where there is none."""
    handles = default_bench().tracepoints.values()
    return next((handle.name for handle in handles if handle.id == event_id), None)
