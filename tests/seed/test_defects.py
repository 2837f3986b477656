"""Defects of the seed that do not come back, one test each, named for the place where they were.

Those of helpers, maps, runtime, attach and event are in `test_defects_runtime.py`; those of filters and symbols are
tested with them.
"""

from __future__ import annotations

import logging
import struct

import axebpf
import pytest
from axebpf import Bench, Event, MapError, NotFound, Tracepoint, char, tracepoints, u8, u64
from axebpf.kops import AxKops
from axebpf.tracepoint import TracepointManager
from axebpf.tracepoints import registry, stats
from axebpf.tracepoints.histogram import LatencyHistogram
from axebpf.tracepoints.stats import StatsManager

from .conftest import Row, rows

COPY_CONTEXT = """
    r6 = r1
    r1 = map[0]
    *(u32 *)(r10 -4) = 0
    r2 = r10
    r2 += -4
    r3 = r6
    r4 = 0
    call bpf_map_update_elem
    r0 = 0
    exit
"""


def contexts(bench: Bench, name: str) -> axebpf.maps.Map:
    """A map in which an AxVisor program leaves the context of each event of a tracepoint."""
    seen: axebpf.maps.Map = bench.create_map("array", 4, 64, 1)
    program = bench.load_bytes(axebpf.assemble(COPY_CONTEXT), type="axvisor", maps={0: seen})
    program.attach(name)
    return seen


# platform.rs


def test_platform_the_mock_is_not_compiled_into_production() -> None:
    """platform.rs: a build had the mock or the real thing; here each bench of a process has its own."""
    real, mock = Bench(clock="real"), Bench()
    before = real.clock.now
    while real.clock.now == before:
        pass
    assert (mock.clock.now, real.clock.now > before) == (1_000_000_000, True)


def test_platform_the_clock_is_not_frozen() -> None:
    """platform.rs: the mock's time never moved; here events may advance it."""
    bench = Bench(clock=250)
    seen: list[Event] = []
    bench.tracepoints["vmm:vm_destroy"].on(seen.append)
    for _ in range(3):
        bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1)
    assert [event.time_ns - 1_000_000_000 for event in seen] == [250, 500, 750]


def test_platform_the_vm_and_vcpu_are_not_always_0() -> None:
    """platform.rs: current VM and vCPU were always 0; here they are the event's."""
    bench = Bench()
    seen = contexts(bench, "vmm:vcpu_halt")
    bench.tracepoints["vmm:vcpu_halt"].fire(vm_id=42, vcpu_id=7)
    assert struct.unpack_from("<II", seen.lookup(bytes(4)) or b"", 16) == (42, 7)


# tracepoint.rs; its other defect, a flag that was published too early, is in test_init.py


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.event)
def test_tracepoint_there_is_one_id_space(row: Row) -> None:
    """tracepoint.rs: two id spaces; here info, registry, record and context have the same id."""
    bench = axebpf.init()
    records: list[Event] = []
    bench.tracepoints[row.name].on(records.append)
    seen = contexts(bench, row.name)
    bench.tracepoints[row.name].fire(*[1] * len(row.fields))
    info = next(tp for tp in TracepointManager(bench).list_tracepoints() if tp.name == row.name)
    common_type = int.from_bytes(records[0].record[:2], "little")
    tracepoint_id = int.from_bytes((seen.lookup(bytes(4)) or b"")[:4], "little")
    assert [info.id, registry.get_id(row.name), common_type, tracepoint_id] == [row.id] * 4


# trace_ops.rs


def test_trace_ops_the_pid_is_not_always_0() -> None:
    """trace_ops.rs: pid always 0; here the trace shows the record's."""
    bench = Bench()
    AxKops(bench).trace_pipe_push_raw_record(struct.pack("<HBBiI", 4, 0, 0, 1234, 1))
    assert bench.trace.text().split()[0].endswith("-1234")


def test_trace_ops_events_do_not_push_the_names_of_tasks_out() -> None:
    """trace_ops.rs: each event put its task into a cache of 128 again; here each entry keeps its own."""
    bench = Bench()
    ops = AxKops(bench)
    ops.trace_cmdline_push(5, "guest")
    ops.trace_pipe_push_raw_record(struct.pack("<HBBiI", 4, 0, 0, 5, 1))
    bench.enable("vmm:vm_boot")
    bench.tracepoints["vmm:vm_boot"].fire_many(vm_id=1, duration_ns=list(range(1_000)))
    assert {entry.comm for entry in bench.trace.records()} == {"guest", "axvisor"}
    assert bench.trace.text().split()[0] == "guest-5"


def test_trace_ops_enabled_means_traced() -> None:
    """trace_ops.rs: after a failed patch of the code, a tracepoint read as enabled and was not."""
    bench = Bench()
    tp = bench.tracepoints["vmm:vm_destroy"]
    traced = []
    for enabled in (True, True, False, True, False, False):
        tp.enabled = enabled
        before = len(bench.trace)
        tp.fire(vm_id=1)
        traced.append(len(bench.trace) > before)
        assert tp.enabled == enabled
    assert traced == [True, True, False, True, False, False]


def test_trace_ops_what_the_trace_loses_is_counted() -> None:
    """trace_ops.rs: the pipe of 1024 records dropped the oldest without a count."""
    bench = Bench(trace_entries=10)
    bench.enable("vmm:vm_destroy")
    bench.tracepoints["vmm:vm_destroy"].fire_many(vm_id=list(range(25)))
    assert [entry.vm_id for entry in bench.trace.records()] == list(range(15, 25))  # type: ignore[union-attr]
    assert (bench.trace.lost, bench.trace.written) == (15, 25)


# tracepoints/stats.rs, vmm.rs, shell.rs


def test_stats_every_name_is_a_tracepoints() -> None:
    """stats.rs: shell:command and shell:init matched no tracepoint."""
    assert sorted(StatsManager()) == sorted(row.name for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.event)
def test_stats_firing_counts(row: Row) -> None:
    """stats.rs: the functions that fired did not feed the statistics."""
    axebpf.init()
    getattr(tracepoints, f"trace_{row.event}")(*[500] * len(row.fields))
    found = stats.stats_manager()[row.name].snapshot()
    timed = any(field == "duration_ns" for field, _, _ in row.fields)
    assert (found.count, found.total_ns) == (1, 500 if timed else 0)


def test_stats_firing_runs_the_attached_program() -> None:
    """attach.rs, vmm.rs: attaching was bookkeeping, and firing ran nothing."""
    bench = axebpf.init()
    program = bench.load_bytes(axebpf.assemble("r0 = 0\nexit"), type="tracepoint")
    program.attach("vmm:vm_boot")
    tracepoints.trace_vm_boot(1, 300)
    assert program.stats.runs == 1


def test_stats_holding_the_manager_locks_nothing() -> None:
    """stats.rs: recording while `stats_manager()` was held deadlocked."""
    axebpf.init()
    manager = stats.stats_manager()
    for name, held in manager.items():
        stats.record_hit(name, 1)
        assert held.snapshot().count == 1


def test_stats_events_are_not_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """stats.rs: a line of the log for each event."""
    caplog.set_level(logging.DEBUG)
    axebpf.init()
    tracepoints.trace_vm_boot(1, 300)
    stats.record_duration("vmm:vm_boot", 1, 300)
    assert (caplog.records, capfd.readouterr()) == ([], ("", ""))


def test_stats_a_program_sees_vm_vcpu_arguments_and_the_right_type() -> None:
    """stats.rs: VM, vCPU and arguments were lost, and one of two tables of probe types mislabelled the event."""
    bench = axebpf.init()
    seen = contexts(bench, "vmm:hypercall")
    axebpf.platform.set_mock_time(5_000)
    tracepoints.trace_hypercall(vm_id=3, vcpu_id=1, nr=6, ret_val=-1, duration_ns=900)
    tracepoint = 4
    expected = struct.pack("<IxxxxQIIQQqQII", 22, 5_000, 3, 1, 900, 6, -1, 0, tracepoint, 0)
    assert seen.lookup(bytes(4)) == expected


def test_vmm_a_disabled_tracepoint_stays_out_of_the_trace() -> None:
    """vmm.rs: events were recorded though disabled.

    That attached programs run all the same is the decision here, as on Linux: enabling is about the trace.
    """
    bench = axebpf.init()
    program = bench.load_bytes(axebpf.assemble("r0 = 0\nexit"), type="tracepoint")
    program.attach("vmm:vm_boot")
    tracepoints.trace_vm_boot(1, 300)
    assert (len(bench.trace), program.stats.runs) == (0, 1)


# tracepoints/histogram.rs


def test_histogram_an_empty_bucket_is_no_percentile() -> None:
    """histogram.rs: the floor of the rank was 0 for one duration, whose answer was the first bucket's bound."""
    histogram = LatencyHistogram()
    histogram.record(5_000)
    found = histogram.snapshot()
    assert (found.p50_ns, found.p90_ns, found.p99_ns) == (10_000, 10_000, 10_000)


# The tracepoint crate below


class Odd(Tracepoint, name="test:odd", id=3700):
    """Fields that leave gaps, and a text."""

    first: u8
    wide: u64
    text: char[5]  # type: ignore[valid-type]
    last: u8


class Full(Tracepoint, name="test:full", id=3701):
    """No gaps."""

    all: u64[8]  # type: ignore[type-arg]


def test_trace_entries_have_the_time_and_cpu_of_the_event() -> None:
    """TraceEntryParser: printed the time and the CPU of the reader."""
    bench = Bench()
    bench.enable("vmm:vm_destroy")
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1, time_ns=3_000_000, cpu=2)
    bench.clock.set(9_000_000_000)
    bench.cpu = 1
    assert bench.trace.text() == "         axvisor-0       [002] .....     0.003000: vm_destroy: vm_id=1\n"


def test_trace_entries_an_unknown_id_is_an_error() -> None:
    """TraceEntryParser: an unknown id panicked."""
    with pytest.raises(NotFound, match="no tracepoint has id 999"):
        AxKops(Bench()).trace_pipe_push_raw_record(struct.pack("<HBBiI", 999, 0, 0, 0, 1))


@pytest.mark.parametrize("skew", range(8))
def test_trace_entries_may_lie_at_any_address(skew: int) -> None:
    """TraceEntryParser: an unaligned cast."""
    bench = Bench()
    bench.define(Odd)
    record = struct.pack("<HBBi B7xQ5sB2x", Odd.id, 0, 0, 0, 200, 2**63, b"text", 9)
    around = memoryview(bytes(skew) + record)
    AxKops(bench).trace_pipe_push_raw_record(around[skew:])
    (entry,) = bench.trace.records()
    assert entry.fields == {"first": 200, "wide": 2**63, "text": b"text", "last": 9}  # type: ignore[union-attr]


def test_records_and_contexts_have_no_stray_bytes() -> None:
    """The default callback, context.rs: padding was uninitialised memory."""
    bench = Bench()
    odd = bench.define(Odd)
    seen: list[Event] = []
    odd.on(seen.append)
    seen_contexts = contexts(bench, "test:odd")
    full = {"first": 255, "wide": 2**64 - 1, "text": b"\xff" * 5, "last": 255}
    bench.define(Full).fire([2**64 - 1] * 8)
    odd.fire(**full)
    odd.fire_many(**{name: [value] for name, value in full.items()})
    expected = struct.pack("<HBBi B7xQ5sB2x", Odd.id, 0, 0, 0, *full.values())
    assert [event.record for event in seen] == [expected] * 2
    context = seen_contexts.lookup(bytes(4)) or b""
    assert (len(context), context[4:8], context[60:64]) == (64, bytes(4), bytes(4))


def test_callbacks_may_come_go_and_fire_while_one_runs() -> None:
    """Raw callbacks: a lock was held across them."""
    axebpf.init()
    heard: list[tuple[str, int]] = []

    def second(event: Event) -> None:
        heard.append(("second", event.vm_id))

    def first(event: Event) -> None:
        heard.append(("first", event.vm_id))
        if event.vm_id == 1:
            assert tracepoints.unregister_trace_vm_destroy(listener)
            tracepoints.register_trace_vm_destroy(second)
            tracepoints.trace_vm_destroy(2)

    listener = tracepoints.register_trace_vm_destroy(first)
    tracepoints.trace_vm_destroy(1)
    tracepoints.trace_vm_destroy(3)
    assert heard == [("first", 1), ("second", 2), ("second", 3)]


def test_a_trace_without_room_loses_and_counts() -> None:
    """TracePipeRaw: a capacity of 0 panicked."""
    bench = Bench(trace_entries=0)
    bench.enable()
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1)
    assert (len(bench.trace), bench.trace.lost, bench.trace.text()) == (0, 1, "")


def test_names_of_tasks_are_cut_between_characters() -> None:
    """TraceCmdLineCache: a name that was cut after 16 bytes, inside a character, panicked later."""
    bench = Bench()
    ops = AxKops(bench)
    ops.trace_cmdline_push(5, "ä" * 12)
    ops.trace_pipe_push_raw_record(struct.pack("<HBBiI", 4, 0, 0, 5, 1))
    assert bench.trace.records()[0].comm == "ä" * 7


# examples/


def test_examples_a_program_that_returns_42() -> None:
    """runtime_example.rs, first: two instructions."""
    assert Bench().load_bytes(axebpf.assemble("r0 = 42\nexit")).run(bytes(64)).r0 == 42


def test_examples_an_array_has_keys_of_4_bytes() -> None:
    """runtime_example.rs, second: panicked over an array with keys of 8 bytes, which is an error of its creation."""
    bench = Bench()
    with pytest.raises(MapError, match="EINVAL"):
        bench.create_map("array", 8, 8, 16)
    table = bench.create_map("array", 4, 8, 16)
    table[3] = 12345
    assert table[3] == 12345


def test_examples_a_program_is_loaded_run_three_times_and_unloaded() -> None:
    """runtime_example.rs, third: the registry of programs."""
    bench = Bench()
    program = bench.load_bytes(axebpf.assemble("r0 = 42\nexit"))
    assert [program.run(bytes(64)).r0 for _ in range(3)] == [42] * 3
    program.unload()
    assert (len(bench.programs), program.loaded) == (0, False)
