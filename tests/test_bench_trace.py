"""The trace: which events enter it, as text and as records, and what is lost."""

from __future__ import annotations

import re

import numpy as np
import pytest
from axebpf import Bench, assemble
from axebpf.trace import Event, Printed


def test_only_enabled_events_enter_the_trace() -> None:
    bench = Bench()
    boots, stops = bench.tracepoints["vmm:vm_boot"], bench.tracepoints["vmm:vm_destroy"]
    boots.fire(1, 5)
    assert len(bench.trace) == 0
    assert bench.enable("vmm:vm_b*") == 1
    boots.fire(2, 5)
    stops.fire(2)
    boots.enabled = False
    boots.fire(3, 5)
    assert [(e.name, e.vm_id) for e in bench.trace.records()] == [("vmm:vm_boot", 2)]
    assert (boots.enabled, stops.enabled) == (False, False)
    assert bench.enable() == 29
    assert bench.disable("shell:*") == 2
    assert stops.enabled
    with pytest.raises(KeyError, match="no tracepoint matches kvm"):
        bench.enable("kvm:*")


def test_the_text_is_what_cat_trace_shows() -> None:
    bench = Bench(cpus=2)
    bench.enable("vmm:*")
    bench.tracepoints["vmm:vm_create"].fire(1, 2, 256 << 20, time_ns=1_234_567_891, cpu=1)
    bench.tracepoints["vmm:memory_map"].fire(1, 0x8000_0000, 0x9000_0000, 0x1000, 0xF, time_ns=2_000_000_000)
    text = bench.trace.text()
    assert text == (
        "         axvisor-0       [001] .....     1.234568: vm_create: vm_id=1 vcpus=2 memory=256MB\n"
        "         axvisor-0       [000] .....     2.000000: memory_map: "
        "vm_id=1 gpa=0x80000000 hpa=0x90000000 size=0x1000 flags=0xf\n"
    )
    head, rest = (whole := bench.trace.text(header=True))[: -len(text)], whole[-len(text) :]
    assert rest == text
    assert head.startswith("# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/2   #P:2\n")
    assert all(line.startswith("#") for line in head.splitlines())
    assert bench.trace.text(target="axvisor").splitlines()[0].endswith(": vm_create(vm_id=1 vcpus=2 memory=256MB)")
    with pytest.raises(ValueError, match='expected "linux" or "axvisor"'):
        bench.trace.text(target="windows")


def test_records_and_text_tell_the_same() -> None:
    bench = Bench(cpus=4)
    bench.enable("vmm:vm_boot")
    dice = np.random.default_rng(1)
    rows = 500
    times = np.sort(dice.integers(0, 10**11, rows)).astype(np.uint64)
    columns = {"vm_id": dice.integers(0, 2**32, rows), "duration_ns": dice.integers(0, 2**63, rows)}
    bench.tracepoints["vmm:vm_boot"].fire_many(**columns, time_ns=times, cpu=dice.integers(0, 4, rows))
    records = bench.trace.records()
    line = re.compile(r" +axvisor-0 +\[(\d+)\] \.{5} +(\d+)\.(\d{6}): vm_boot: vm_id=(\d+) duration_ns=(\d+)")
    assert len(records) == rows
    # Linux rounds to the nearest microsecond.
    for text, record in zip(bench.trace.text().splitlines(), records, strict=True):
        assert isinstance(record, Event)
        found = line.fullmatch(text)
        assert found is not None
        cpu, seconds, micros, vm, duration = map(int, found.groups())
        assert (cpu, seconds * 10**6 + micros) == (record.cpu, (record.time_ns + 500) // 1000)
        assert (vm, duration) == (record.vm_id, record.duration_ns)
    rows_of_array = bench.trace.to_numpy("vmm:vm_boot")
    assert sorted(rows_of_array["vm_id"].tolist()) == sorted(columns["vm_id"].tolist())
    assert set(rows_of_array["common_type"].tolist()) == {2}


def test_events_are_in_the_order_of_their_times_across_cpus() -> None:
    bench = Bench(cpus=3)
    bench.enable("vmm:vm_destroy")
    stops = bench.tracepoints["vmm:vm_destroy"]
    for vm, (time, cpu) in enumerate([(10, 0), (30, 0), (20, 1), (15, 2), (40, 2), (35, 1)]):
        stops.fire(vm, time_ns=time, cpu=cpu)
    assert [record.time_ns for record in bench.trace.records()] == [10, 15, 20, 30, 35, 40]


def test_the_oldest_entries_make_room_and_are_counted() -> None:
    bench = Bench(cpus=1, trace_entries=100)
    bench.enable("vmm:vm_destroy")
    bench.tracepoints["vmm:vm_destroy"].fire_many(vm_id=np.arange(250), time_ns=np.arange(250))
    records = bench.trace.records()
    kept = [record.vm_id for record in records if isinstance(record, Event)]
    assert kept == list(range(250 - len(kept), 250))
    assert len(bench.trace) == len(kept) <= 100
    assert (bench.trace.written, bench.trace.lost) == (250, 250 - len(kept))
    assert f"entries-in-buffer/entries-written: {len(kept)}/250 " in bench.trace.text(header=True)
    bench.trace.clear()
    assert (len(bench.trace), bench.trace.written, bench.trace.lost) == (0, 0, 0)
    assert bench.trace.text() == ""
    bench.tracepoints["vmm:vm_destroy"].fire(7)
    assert len(bench.trace) == 1


def test_what_a_program_prints_stands_behind_its_event() -> None:
    bench = Bench()
    bench.enable("vmm:vm_boot")
    code = assemble(
        """
        r3 = *(u32 *)(r1 +8)
        r1 = 0x75253d6d76 ll
        *(u64 *)(r10 -8) = r1
        r1 = r10
        r1 += -8
        r2 = 6
        call bpf_trace_printk
        r0 = 0
        exit
        """
    )
    bench.load_bytes(code, type="tracepoint").attach("vmm:vm_boot")
    bench.tracepoints["vmm:vm_boot"].fire(3, 9, time_ns=5_000, cpu=2)
    event, printed = bench.trace.records()
    assert isinstance(event, Event)
    assert isinstance(printed, Printed)
    assert (printed.text, printed.time_ns, printed.cpu, printed.comm) == ("vm=3", 5_000, 2, "axvisor")
    assert bench.trace.text().splitlines()[1].endswith("[002] .....     0.000005: bpf_trace_printk: vm=3")


def test_an_event_shows_its_fields() -> None:
    bench = Bench()
    bench.enable("vmm:vm_boot")
    bench.tracepoints["vmm:vm_boot"].fire(3, 9)
    (event,) = bench.trace.records()
    assert isinstance(event, Event)
    assert event.fields == {"vm_id": 3, "duration_ns": 9}
    assert len(event.record) == 24
    assert repr(event) == "<vmm:vm_boot at 1000000000 ns on CPU 0: vm_id=3, duration_ns=9>"
    with pytest.raises(AttributeError, match="has no field vcpu_id"):
        event.vcpu_id  # noqa: B018
