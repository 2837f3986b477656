"""`axebpf.context`: AxVisor's TraceContext (64 bytes), and the types of probes."""

from __future__ import annotations

import struct

import axebpf
import pytest
from axebpf import Bench, FieldError, NotFound, NotInitialized, Tracepoint, attach, runtime, u32
from axebpf.context import ProbeType, TraceContext
from axebpf.runtime import EbpfProgram
from axebpf.trace import Event

pytestmark = pytest.mark.usefixtures("default_bench")

LAYOUT = struct.Struct("<I4xQIIQQQQI4x")
"""The layout once more, as C writes it."""
ALL = TraceContext(21, 2**63 + 5, 2**32 - 1, 3, (1, 2**64 - 1, 3, 4), ProbeType.KRETPROBE)


def test_it_has_64_bytes() -> None:
    """Seed: the size of the structure is 64."""
    assert len(ALL.as_bytes()) == len(TraceContext(0).as_bytes()) == LAYOUT.size == 64


def test_the_bytes_are_those_of_the_layout_with_zeros_between() -> None:
    """context.rs, event.rs: as_bytes exposed padding."""
    assert ALL.as_bytes() == LAYOUT.pack(21, 2**63 + 5, 2**32 - 1, 3, 1, 2**64 - 1, 3, 4, 3)
    assert TraceContext.from_bytes(ALL.as_bytes()) == ALL
    assert TraceContext.from_bytes(bytearray(ALL.as_bytes()) + b"more") == ALL


def test_padding_is_passed_over() -> None:
    dirty = bytearray(ALL.as_bytes())
    dirty[4:8] = dirty[60:64] = b"\xff" * 4
    assert TraceContext.from_bytes(dirty).as_bytes() == ALL.as_bytes()


def test_made_step_by_step(default_bench: Bench) -> None:
    """Seed: new stamps the time; with_vm, with_args, with_probe_type."""
    default_bench.clock.set(77)
    made = TraceContext.new(21)
    assert made == TraceContext(21, 77, 0, 0, (0, 0, 0, 0), ProbeType.TRACEPOINT)
    assert made.with_vm(1, 2) == made._replace(vm_id=1, vcpu_id=2)
    assert made.with_args(1, 2, 3, 4).args == (1, 2, 3, 4)
    assert made.with_args(9).args == (9, 0, 0, 0)
    assert made.with_probe_type(ProbeType.HPROBE).probe_type == 0
    default_bench.close()
    with pytest.raises(NotInitialized):
        TraceContext.new(21)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (TraceContext(2**32), "TraceContext: tracepoint_id: u32 holds 0 to 4294967295, not 4294967296"),
        (TraceContext(1, -1), "timestamp_ns: u64 holds"),
        (TraceContext(1).with_vm(-1, 0), "vm_id: u32 holds"),
        (TraceContext(1).with_args(2**64), "args: u64 holds"),
        (TraceContext(1).with_probe_type(2**32), "probe_type: u32 holds"),
        (TraceContext(1, args=(1, 2)), "takes 4 values, not 2"),  # type: ignore[arg-type]
        (TraceContext("one"), "takes an integer, not str"),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_does_not_fit_is_refused(context: TraceContext, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        context.as_bytes()


def test_too_few_bytes_are_refused() -> None:
    with pytest.raises(FieldError, match="TraceContext has 64 bytes, not 63"):
        TraceContext.from_bytes(bytes(63))


class Many(Tracepoint, name="test:many", id=1000):
    """More numbers than a context has arguments."""

    a: u32
    b: u32
    c: u32
    d: u32
    e: u32


def test_it_is_what_programs_get_at_every_event(default_bench: Bench) -> None:
    """The core makes the same bytes: for each tracepoint a program copies its context, and Python's reading agrees."""
    default_bench.define(Many)
    copy = "".join(f"r3 = *(u64 *)(r1 +{at})\n*(u64 *)(r10 {at - 64})= r3\n" for at in range(0, 64, 8))
    ring = default_bench.create_map("ringbuf", 0, 0, 4096)
    text = f"{copy}r1 = map[{ring.id}]\nr2 = r10\nr2 += -64\nr3 = 64\nr4 = 0\ncall bpf_ringbuf_output\nexit"
    number = runtime.load_program(EbpfProgram(axebpf.assemble(text)))
    for name, handle in default_bench.tracepoints.items():
        events: list[Event] = []
        listener = handle.on(events.append)
        attach.attach(name, number)
        fields = {field.name: 3 + place for place, field in enumerate(handle.declaration.fields)}
        handle.fire(**fields, time_ns=123)
        (given,) = ring.read()
        context = TraceContext.from_bytes(given)
        assert context == TraceContext.of(events[0])
        assert context.as_bytes() == given
        duration = [fields[f.name] for f in handle.declaration.fields if f.role == "duration"]
        others = [v for name, v in fields.items() if name not in ("vm_id", "vcpu_id") and v not in duration]
        expected = [*duration, *others, 0, 0, 0, 0][:4]
        vm = (fields.get("vm_id", 0), fields.get("vcpu_id", 0))
        assert context == (handle.id, 123, *vm, tuple(expected), ProbeType.TRACEPOINT)
        attach.detach(name)
        listener.remove()


def test_an_event_of_another_bench_s_own_tracepoint(default_bench: Bench) -> None:
    events: list[Event] = []
    with Bench() as other:
        handle = other.define(Many)
        handle.on(events.append)
        handle.fire(1, 2, 3, 4, 5)
    with pytest.raises(NotFound, match="test:many"):
        TraceContext.of(events[0])


def test_one_numbering_of_probes() -> None:
    """context.rs, event.rs: the seed had two tables of codes that contradicted each other."""
    assert [(kind.label, int(kind)) for kind in ProbeType] == [
        ("hprobe", 0),
        ("hretprobe", 1),
        ("kprobe", 2),
        ("kretprobe", 3),
        ("tracepoint", 4),
    ]
    assert [kind for kind in ProbeType if kind.is_guest_probe] == [ProbeType.KPROBE, ProbeType.KRETPROBE]
    assert [kind for kind in ProbeType if kind.is_return_probe] == [ProbeType.HRETPROBE, ProbeType.KRETPROBE]
