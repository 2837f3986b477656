"""Perf event arrays: records by CPU, lost ones, and what a program is told.

How many records fit, and every errno, is compared with the running kernel in `rust/core/tests/map_oracle`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, KeyNotFound, LoadError, MapError, ProgramFault, assemble
from axebpf.bench import Program
from axebpf.maps import PerfEventArray, PerfRecord

DATA = Path(__file__).parent / "data"
CURRENT = 0xFFFF_FFFF


def writing(bench: Bench, events: Any) -> Program:
    """A program that writes a record: the first word of its context is the flags, the second the size, at most 16."""
    text = """
        r3 = *(u64 *)(r1 +0)
        r5 = *(u64 *)(r1 +8)
        *(u64 *)(r10 -16) = 1
        *(u64 *)(r10 -8) = 2
        r4 = r10
        r4 += -16
        r2 = map[1]
        call bpf_perf_event_output
        exit"""
    return bench.load_bytes(assemble(text), type="raw_tracepoint", maps={1: events})


def write(program: Program, flags: int = CURRENT, size: int = 8, **how: int) -> int:
    """What the helper returned."""
    r0 = program.run(flags.to_bytes(8, "little") + size.to_bytes(8, "little"), **how).r0
    return r0 - (1 << 64) if r0 >> 63 else r0


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def test_records_carry_cpu_and_time_and_come_in_order() -> None:
    bench = Bench(cpus=3)
    events = bench.create_map("perf_event_array", 4, 4, 3)
    program = writing(bench, events)
    for time_ns, cpu, size in ((10, 2, 16), (20, 0, 8), (15, 2, 0)):
        assert write(program, size=size, cpu=cpu, time_ns=time_ns) == 0
    assert (len(events), bool(events)) == (3, True)
    assert list(events) == [PerfRecord(2, 10, words(1, 2)), PerfRecord(0, 20, words(1)), PerfRecord(2, 15, b"")]
    assert (list(events), len(events), events.consume()) == ([], 0, None)


def test_records_of_one_cpu_leave_the_others() -> None:
    bench = Bench(cpus=2)
    events = bench.create_map("perf_event_array", 4, 4, 2)
    program = writing(bench, events)
    for cpu in (0, 1, 0):
        write(program, cpu=cpu)
    assert [record.cpu for record in events.of_cpu(0)] == [0, 0]
    assert [record.cpu for record in events.read()] == [1]


def test_what_a_program_is_told() -> None:
    bench = Bench(cpus=4)
    events = bench.create_map("perf_event_array", 4, 4, 3)
    program = writing(bench, events)
    answers = [write(program, flags) for flags in (CURRENT, 0, 1, 2, 3, 1 << 32, CURRENT + 1, 1 << 63)]
    other, too_big, invalid = -errno.EOPNOTSUPP, -errno.E2BIG, -errno.EINVAL
    assert answers == [0, 0, other, other, too_big, invalid, invalid, invalid]
    assert write(program, cpu=3) == too_big
    events.close(1)
    assert (write(program, cpu=1), events.is_open(1), events.is_open(2)) == (-errno.ENOENT, False, True)
    events.open(1, pages=1)
    assert write(program, cpu=1) == 0


def test_what_finds_no_room_is_lost_and_counted() -> None:
    bench = Bench(cpus=2)
    events = bench.create_map("perf_event_array", 4, 4, 2)
    events.open(1, pages=1)
    program = writing(bench, events)
    # As measured on Linux: 170 records of 24 bytes in a page.
    assert [write(program, cpu=1) for _ in range(173)] == [0] * 170 + [-errno.ENOSPC] * 3
    assert events.lost == {0: 0, 1: 3}
    assert len(events.read()) == 170
    assert (write(program, cpu=1), events.lost) == (0, {0: 0, 1: 3})


def test_closing_leaves_what_is_there_and_opening_again_does_not() -> None:
    bench = Bench(cpus=1)
    events = bench.create_map("perf_event_array", 4, 4, 1)
    program = writing(bench, events)
    write(program)
    events.close(0)
    with pytest.raises(KeyNotFound):
        events.close(0)
    assert len(events.read()) == 1
    events.open(0)
    write(program)
    events.open(0)
    assert len(events) == 0


@pytest.mark.parametrize("pages", [0, 3, -1, 1 << 16])
def test_a_buffer_has_a_power_of_two_of_pages(pages: int) -> None:
    events = Bench().create_map("perf_event_array", 4, 4, 4)
    with pytest.raises(MapError, match=f"{pages} pages; a buffer has a power of two"):
        events.open(0, pages)


def test_what_the_bench_may_not_write_to_has_no_reader() -> None:
    bench = Bench(cpus=2)
    read_only = bench.create_map("perf_event_array", 4, 4, 2, 8)
    assert write(writing(bench, read_only)) == -errno.ENOENT
    events = bench.create_map("perf_event_array", 4, 4, 2)
    with pytest.raises(MapError) as caught:
        events.open(2)
    assert caught.value.errno == errno.E2BIG
    with pytest.raises(MapError, match="a bench has no perf events with numbers") as caught:
        events.update(bytes(4), bytes(4))
    assert caught.value.errno == errno.EBADF


def test_a_record_that_no_reader_could_use_stops_the_run() -> None:
    bench = Bench(cpus=1)
    events = bench.create_map("perf_event_array", 4, 4, 1)
    big = bench.create_map("array", 4, 1 << 17, 1)
    text = """
        *(u32 *)(r10 -4) = 0
        r6 = r1
        r1 = map[2]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto +5
        r4 = r0
        r5 = *(u64 *)(r6 +0)
        r2 = map[1]
        r3 = 0
        call bpf_perf_event_output
        exit"""
    program = bench.load_bytes(assemble(text), type="raw_tracepoint", maps={1: events, 2: big})
    assert program.run((65516).to_bytes(8, "little")).r0 == 0
    with pytest.raises(ProgramFault, match="a record of 65517 bytes; with more than 65516"):
        program.run((65517).to_bytes(8, "little"))


def test_the_wrong_kind_of_map_is_refused() -> None:
    bench = Bench()
    with pytest.raises(LoadError, match="cannot pass map_type 27 into func bpf_perf_event_output#25: R is a ringbuf"):
        writing(bench, bench.create_map("ringbuf", 0, 0, 4096, name="R"))


@pytest.fixture(scope="session")
def long_exits(compile_bpf: Callable[..., Path]) -> Path:
    return compile_bpf("perf_events", (DATA / "perf_events.c").read_text())


def test_an_object_gets_a_buffer_for_each_cpu(long_exits: Path) -> None:
    bench = Bench(cpus=5, clock=100)
    progs = bench.load(long_exits)
    events = progs.maps["EVENTS"]
    assert isinstance(events, PerfEventArray)
    assert events.max_entries == 5
    progs.attach()
    exits = bench.tracepoints["vmm:vcpu_run_exit"]
    for cpu in (4, 1):
        exits.fire(vm_id=7, vcpu_id=0, exit_reason=2, duration_ns=900 + cpu, cpu=cpu)
    (first, second) = events.typed("long_exit")
    assert (first.cpu, first.data.vm_id, first.data.reason, first.data.duration_ns) == (4, 7, 2, 904)
    assert (second.cpu, second.time_ns - first.time_ns) == (1, 100)


def test_records_as_arrays(long_exits: Path) -> None:
    bench = Bench(cpus=2)
    progs = bench.load(long_exits)
    events = progs.maps["EVENTS"].typed("long_exit")
    program = progs["on_exit"]
    for n in range(3):
        program.run(words(n, 0, 5, 100 * n) + bytes(64), cpu=n % 2, time_ns=n)
    assert events.to_numpy()["duration_ns"].tolist() == [0, 100, 200]
    pytest.importorskip("pyarrow")
    for n in range(2):
        program.run(words(n, 0, 5, 100 * n) + bytes(64), cpu=n, time_ns=10 + n)
    table = events.to_arrow().to_pydict()
    assert (table["cpu"], table["time_ns"], table["vm_id"]) == ([0, 1], [10, 11], [0, 1])
