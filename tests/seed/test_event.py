"""`axebpf.event`: AxVisor's TraceEvent (64 bytes), and the names of events."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from axebpf import Bench, FieldError, NotInitialized, Statistics
from axebpf.context import ProbeType
from axebpf.event import TraceEvent, event_name_for_id, get_event_name, register_event_name
from axebpf.trace import Event

pytestmark = pytest.mark.usefixtures("default_bench")

LAYOUT = struct.Struct("<QBBHIHBx4x4QQ")
"""The layout once more, as C writes it."""
ALL = TraceEvent(2**64 - 1, ProbeType.HRETPROBE, 2**32 - 1, 255, 65535, 65534, (1, 2, 3, 2**64 - 1), 5)


def test_it_has_64_bytes() -> None:
    """Seed: the size of the structure is 64."""
    assert len(ALL.as_bytes()) == LAYOUT.size == 64


def test_the_bytes_are_those_of_the_layout_with_zeros_between() -> None:
    """context.rs, event.rs: as_bytes exposed padding."""
    assert ALL.as_bytes() == LAYOUT.pack(2**64 - 1, 1, 255, 65535, 2**32 - 1, 65534, 4, 1, 2, 3, 2**64 - 1, 5)
    assert TraceEvent(1, 4, 2, args=(7,)).as_bytes() == LAYOUT.pack(1, 4, 0, 0, 2, 0, 1, 7, 0, 0, 0, 0)
    for event in (ALL, TraceEvent(1, 4, 2, args=(7,)), TraceEvent(1, 4, 2)):
        assert TraceEvent.from_bytes(event.as_bytes()) == event


def test_too_few_bytes_are_refused() -> None:
    """Seed: from_bytes is None for fewer than 64 bytes; here an error that says so."""
    with pytest.raises(FieldError, match="TraceEvent has 64 bytes, not 63"):
        TraceEvent.from_bytes(bytes(63))
    assert TraceEvent.from_bytes(bytes(70)) == TraceEvent(0, 0, 0)


def test_more_arguments_than_there_is_room_for() -> None:
    with pytest.raises(FieldError, match="5 arguments; an event has up to 4"):
        TraceEvent(1, 4, 2, args=(1, 2, 3, 4, 5)).as_bytes()
    wrong = bytearray(64)
    wrong[18] = 5
    with pytest.raises(FieldError, match="nr_args is 5"):
        TraceEvent.from_bytes(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_id": 0xFFFF_F800_0000_1000}, "event_id: u32 holds 0 to 4294967295, not 18446735277616533504"),
        ({"vm_id": 65536}, "vm_id: u16 holds 0 to 65535, not 65536"),
        ({"cpu_id": 256}, "cpu_id: u8 holds 0 to 255, not 256"),
        ({"probe_type": 256}, "probe_type: u8"),
        ({"name_offset": 65536}, "name_offset: u16"),
        ({"duration_ns": -1}, "duration_ns: u64"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    """event.rs: cut addresses to 32 bits, VM ids to 16 and CPUs to 8."""
    with pytest.raises(FieldError, match=message):
        TraceEvent(1, 4, 2)._replace(**change).as_bytes()


def test_what_fired_as_text() -> None:
    """Seed: probe_type_str, `unknown` otherwise. The decision: one numbering, that of the context."""
    names = [TraceEvent(0, code, 0).probe_type_str for code in range(6)]
    assert names == ["hprobe", "hretprobe", "kprobe", "kretprobe", "tracepoint", "unknown"]


def test_an_event_of_a_return_probe() -> None:
    """Seed: a hretprobe event has its type, args[0] is the value returned, its name is hretprobe.

    The address that the seed put into event_id does not fit it; a probe has its own name instead of one for all.
    """
    name = register_event_name("hretprobe:vm_exit")
    event = TraceEvent(5, ProbeType.HRETPROBE, 0, name_offset=name, args=(2**64 - 22,))
    got = TraceEvent.from_bytes(event.as_bytes())
    assert (got.probe_type_str, got.args[0], get_event_name(got.name_offset)) == (
        "hretprobe",
        2**64 - 22,
        "hretprobe:vm_exit",
    )


def test_names_have_one_number_each() -> None:
    """Seed: registering a name again gives the same number."""
    numbers = [register_event_name(name) for name in ("a", "b", "a", "c", "b")]
    assert numbers[0] == numbers[2]
    assert numbers[1] == numbers[4]
    assert len(set(numbers)) == 3
    assert [get_event_name(number) for number in numbers] == ["a", "b", "a", "c", "b"]
    assert get_event_name(3) is get_event_name(-1) is get_event_name(65535) is None


def test_names_do_not_run_over() -> None:
    """Seed: 65535 stood for "full"; here the name that finds no room is an error."""
    for number in range(65535):
        assert register_event_name(f"name {number}") == number
    with pytest.raises(FieldError, match="no number is left for the name one more: there are 65535"):
        register_event_name("one more")
    assert register_event_name("name 65534") == 65534
    assert get_event_name(65534) == "name 65534"


def test_names_are_of_their_bench(default_bench: Bench) -> None:
    register_event_name("a")
    default_bench.close()
    with pytest.raises(NotInitialized):
        get_event_name(0)


def test_the_name_of_a_tracepoint_s_number(default_bench: Bench) -> None:
    """Seed: event_name_for_id."""
    for name, handle in default_bench.tracepoints.items():
        assert event_name_for_id(handle.id) == name
    assert event_name_for_id(0) is event_name_for_id(99999) is None


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("vmm:vm_boot", (1, 700), {"event_id": 2, "vm_id": 1, "args": (700,), "duration_ns": 700}),
        ("vmm:vcpu_halt", (1, 2), {"event_id": 24, "vm_id": 1}),
        ("vmm:vcpu_run_exit", (1, 2, 7, 700), {"event_id": 21, "vm_id": 1, "args": (700, 7), "duration_ns": 700}),
        ("vmm:timer_tick", (9,), {"event_id": 60, "args": (9,)}),
        ("vmm:memory_map", (1, 2, 3, 4, 5), {"event_id": 30, "vm_id": 1, "args": (2, 3, 4, 5)}),
    ],
)
def test_made_of_an_event(default_bench: Bench, name: str, fields: tuple[int, ...], expected: dict[str, Any]) -> None:
    """Seed: an event has the registered number, the time given, and the duration, 0 where it has none."""
    events: list[Event] = []
    default_bench.tracepoints[name].on(events.append)
    default_bench.tracepoints[name].fire(*fields, time_ns=123, cpu=3)
    event = TraceEvent.of(events[0])
    assert event == TraceEvent(123, ProbeType.TRACEPOINT, 0, 3, name_offset=event.name_offset)._replace(**expected)
    assert get_event_name(event.name_offset) == name


def test_an_event_that_the_stream_cannot_hold(default_bench: Bench) -> None:
    events: list[Event] = []
    default_bench.tracepoints["vmm:vm_boot"].on(events.append)
    default_bench.tracepoints["vmm:vm_boot"].fire(vm_id=65536, duration_ns=0)
    with pytest.raises(FieldError, match="vm_id: u16"):
        TraceEvent.of(events[0])


def test_statistics_of_hits_and_durations(default_bench: Bench) -> None:
    """Seed: record(100, 0), record(200, 400) is count 2, samples 1, sum 400, average 400.

    There a duration of 0 is no sample; here an event without a duration has none, and 0 is a sample as any other
    (decision: the average is over samples).
    """
    boot, tick = default_bench.tracepoints["vmm:vm_boot"], default_bench.tracepoints["vmm:timer_tick"]
    boot.fire(vm_id=1, duration_ns=0, time_ns=100)
    boot.fire(vm_id=1, duration_ns=400, time_ns=200)
    tick.fire(timestamp=5, time_ns=300)
    stats: Statistics = default_bench.stats["vmm:vm_boot"]
    assert (stats.count, stats.samples, stats.total_ns, stats.avg_ns, stats.min_ns) == (2, 2, 400, 200, 0)
    assert (stats.max_ns, stats.last_timestamp_ns) == (400, 200)
    ticks = default_bench.stats["vmm:timer_tick"]
    assert (ticks.count, ticks.samples, ticks.avg_ns, ticks.min_ns) == (1, 0, None, None)
