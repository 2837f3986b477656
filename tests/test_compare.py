"""`Bench.compare`: what differs between the targets, at which event, from which instruction, and why."""

from __future__ import annotations

import io
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axebpf import (
    AttachError,
    Bench,
    BenchClosed,
    HypervisorError,
    LoadError,
    ProgramFault,
    RecordingError,
    Tracepoint,
    assemble,
    u64,
)
from axebpf.bench import Program
from axebpf.bench.comparison import Difference
from axebpf.examples import example
from axebpf.hypervisor import Events, define
from axebpf.portability import GAPS
from axebpf.recording import Recording

PROGRAMS = Path(__file__).parent / "fixtures" / "axvisor"

RBPF: dict[str, Any] = {"target": "linux", "engine": "rbpf"}
KBPF: dict[str, Any] = {"target": "linux", "maps": "kbpf"}
PARTS: list[dict[str, Any]] = [RBPF, KBPF, {**RBPF, **KBPF}]
"""Sides that have a part of AxVisor, with Linux's helpers."""


def destroys(vms: Sequence[int]) -> list[Events]:
    """An event of vmm:vm_destroy for each number, 1000 ns apart; its record is one field, `vm_id`."""
    return [Events("vmm:vm_destroy", time_ns=1000 * (1 + np.arange(len(vms))), vm_id=np.asarray(vms, np.uint32))]


def attached(bench: Bench, text: str, type: str = "axvisor", name: str = "program", **maps: Any) -> Program:
    """A program on vmm:vm_destroy; `m5=a_map` is the map of descriptor 5. Type axvisor: the context is the same."""
    given = {int(fd[1:]): made for fd, made in maps.items()}
    program = bench.load_bytes(assemble(text), type=type, maps=given, name=name)
    program.attach("vmm:vm_destroy")
    return program


def known(first: Difference | None) -> Difference:
    assert first is not None
    return first


def gap(first: Difference | None) -> str | None:
    """The row of the table of gaps that explains a difference."""
    reason = known(first).reason
    assert reason is None or reason.gap in {gap.name for gap in GAPS}
    return None if reason is None else reason.gap


VM = "r6 = *(u32 *)(r1 +16)\n"
"""`vm_id` of TraceContext."""

HALVES = "r0 = -7\nr0 s/= 2\nexit"
"""-3 where division is signed, 0x7ffffffffffffffc where it is not."""

SIGNED, UNSIGNED = (1 << 64) - 3, ((1 << 64) - 7) // 2

COUNTS = """
    *(u32 *)(r10 -4) = 0
    r1 = map[5]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r1 = *(u64 *)(r0 +0)
    r1 += 1
    *(u64 *)(r0 +0) = r1
out:
    r0 = 0
    exit
"""
"""Counts through the pointer to a looked-up value: instruction 9 stores."""


def test_a_signed_division_is_found_at_the_first_event_that_runs_it() -> None:
    bench = Bench()
    program = attached(bench, HALVES, name="halve")
    found = bench.compare(program, destroys([4, 5, 6]))
    assert (bool(found), found.equal, found.events, found.sides) == (False, False, 3, ("linux", "axvisor"))
    first = known(found.first)
    assert (first.number, first.program, first.map, first.values) == (1, "halve", None, (SIGNED, UNSIGNED))
    assert first.event is not None
    assert (first.event.name, first.event.time_ns, first.event.cpu) == ("vmm:vm_destroy", 1000, 0)
    assert first.event.fields == {"vm_id": 4}
    assert (first.insn, first.text, gap(first)) == (1, "r0 s/= 2", "signed division")
    assert found.programs == {"halve": ((3, 3), (0, 0), 3)}
    text = str(found)
    for part in (
        "axvisor differs from linux at event 1 of 3",
        "vmm:vm_destroy at 1000 ns on CPU 0: vm_id=4",
        "linux returned -3, axvisor returned 0x7ffffffffffffffc",
        "instruction 1 of halve: r0 s/= 2",
        "instead: compile with -mcpu=v3",
        "halve: 3 of 3 runs differ",
    ):
        assert part in text
    assert "at event 1 of 3" in repr(found)
    assert "\n" not in repr(found)


def test_a_division_is_pinned_on_the_vm() -> None:
    bench = Bench()
    program = attached(bench, HALVES)
    found = [bench.compare(program, destroys([1]), **part) for part in PARTS]
    assert [of.equal for of in found] == [False, True, False]
    assert [of.sides[1] for of in found] == ["linux with rbpf", "linux with kbpf", "linux with rbpf and kbpf"]
    assert [gap(of.first) for of in found if not of] == ["signed division"] * 2


def test_a_store_through_a_looked_up_value_is_lost_by_the_helper_layer_alone() -> None:
    bench = Bench()
    counts = bench.create_map("array", 4, 8, 2, name="COUNTS")
    program = attached(bench, COUNTS, name="count", m5=counts)
    found = bench.compare(program, destroys([1, 2, 3]))
    first = known(found.first)
    # All runs return 0.
    assert found.programs["count"].different == 0
    assert (first.number, first.program, first.map, first.key, first.values) == (1, "count", "COUNTS", 0, (1, 0))
    assert (first.insn, first.text) == (9, "*(u64 *)(r0 +0) = r1")
    assert gap(first) == "store through a looked-up value"
    assert found.maps == {"COUNTS": ((2, 2), 1, {0: (3, 0)})}
    assert "COUNTS: 1 key differs\n  [0]: linux 3, axvisor 0" in str(found)
    for part in PARTS:
        same = bench.compare(program, destroys([1, 2, 3]), **part)
        assert same, same
        assert same.maps == {"COUNTS": ((2, 2), 0, {})}


PUSH = f"""
    {VM}
    *(u64 *)(r10 -8) = r6
    r1 = map[5]
    r2 = r10
    r2 += -8
    r3 = 0
    call bpf_map_push_elem
    exit
"""


def test_a_queue_that_overflows_differs_at_the_event_that_finds_it_full() -> None:
    bench = Bench()
    queue = bench.create_map("queue", 0, 8, 3, name="QUEUE")
    program = attached(bench, PUSH, m5=queue)
    assert bench.compare(program, destroys([11, 12, 13]), **KBPF)
    found = bench.compare(program, destroys([11, 12, 13, 14, 15]), **KBPF)
    first = known(found.first)
    # Linux: E2BIG. kbpf-basic drops the oldest.
    assert (first.number, first.values, gap(first)) == (4, ((1 << 64) - 7, 0), "queue full")
    assert (first.text, found.programs["program"].different) == ("call bpf_map_push_elem#87", 2)
    assert found.maps["QUEUE"] == ((3, 3), 3, {0: (11, 13), 1: (12, 14), 2: (13, 15)})
    assert bench.compare(program, destroys([11, 12, 13, 14, 15]), **RBPF)


def test_programs_that_are_written_for_axvisor_do_the_same_on_every_side() -> None:
    bench = Bench()
    loaded = bench.load(PROGRAMS / "printk.bpf.o")
    loaded["printk"].attach("vmm:vcpu_run_exit")
    for part in ({}, *PARTS):
        found = bench.compare(loaded, "boot", vms=1, duration_s=0.3, **part)
        assert found, found
        assert found.programs["printk"].runs[0] > 10
        assert found.maps["COUNTER_MAP"].entries == (1, 1)
    assert "axvisor does the same as linux" in str(bench.compare(loaded, "boot", vms=1, duration_s=0.1))


def test_the_first_of_many_events_is_found_and_all_that_differ_are_counted() -> None:
    bench = Bench()
    program = attached(bench, f"{VM} r0 = 0\nif r6 < 1000 goto +2\nr0 = -7\nr0 s/= 2\nexit", name="halve")
    vms = np.arange(70_000) % 900
    vms[[33_333, 33_334, 65_000]] = 1000
    found = bench.compare(program, destroys(vms))
    first = known(found.first)
    assert (first.number, first.event and first.event.time_ns, first.insn) == (33_334, 33_334_000, 4)
    assert found.programs["halve"] == ((70_000, 70_000), (0, 0), 3)


def test_a_map_that_differs_only_for_a_while_is_found_by_a_return_value() -> None:
    # Stores the VM under the key 0 with a signed division on the way, and returns it: each event overwrites the last.
    bench = Bench()
    kept = bench.create_map("array", 4, 8, 1, name="KEPT")
    text = f"{VM} r6 -= 5\nr6 s/= 1\n*(u32 *)(r10 -4) = 0\n*(u64 *)(r10 -16) = r6\nr1 = map[5]\nr2 = r10\nr2 += -4\n"
    text += "r3 = r10\nr3 += -16\nr4 = 0\ncall bpf_map_update_elem\nr0 = r6\nexit"
    program = attached(bench, text.replace("s/= 1", "s/= 2"), m5=kept)
    found = bench.compare(program, destroys([7, 9, 3, 9]))
    assert (known(found.first).number, known(found.first).map, found.maps["KEPT"].different) == (3, None, 0)


LOOK_UP = "*(u32 *)(r10 -4) = 0\nr1 = map[5]\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\n"
"""Slots 0 to 6: r0 is the value of the first entry."""

FAULTS = {
    "of both, alike": ("r0 = 5\nr0 = *(u64 *)(r0 +0)\nexit", None),
    # rbpf looks at the first byte of an access only: 8 bytes from the fourth of a value of 8.
    "of Linux alone": (f"{LOOK_UP}r0 += 4\nr0 = *(u64 *)(r0 +0)\nout:\nr0 = 1\nexit", (8, None)),
    # A read of address 8: Linux answers -EFAULT, in the hypervisor it is a page fault.
    "of AxVisor alone": (
        "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 8\ncall bpf_probe_read\nr0 = 1\nexit",
        (4, "bpf_probe_read of a bad address"),
    ),
}
"""Programs, and where one side is stopped and why."""


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_compared_by_kind_and_place(case: str) -> None:
    text, expected = FAULTS[case]
    bench = Bench()
    program = attached(bench, text, m5=bench.create_map("array", 4, 8, 1))
    found = bench.compare(program, destroys([1, 2]))
    if expected is None:
        assert found, found
        assert found.programs["program"] == ((2, 2), (2, 2), 0)
        return
    first = known(found.first)
    assert (first.number, first.insn, gap(first)) == (1, *expected)
    side = 0 if case == "of Linux alone" else 1
    fault = first.values[side]
    assert isinstance(fault, ProgramFault)
    assert (fault.instruction, first.values[1 - side]) == (expected[0], 1)
    assert found.programs["program"] == ((2, 2), (2, 0) if side == 0 else (0, 2), 2)
    assert f"{found.sides[side]} was stopped: {fault.what} (instruction {expected[0]})" in str(found)


def test_a_program_that_one_side_refuses_is_a_result_with_the_reason() -> None:
    bench = Bench()
    counts = bench.create_map("array", 4, 8, 1)
    text = COUNTS.replace(
        "r1 = *(u64 *)(r0 +0)\n    r1 += 1\n    *(u64 *)(r0 +0) = r1", "r1 = 1\nlock *(u64 *)(r0 +0) += r1"
    )
    program = attached(bench, text, m5=counts)
    found = bench.compare(program, "boot")
    assert (bool(found), found.events, found.first, list(found.refused)) == (False, 0, None, ["axvisor"])
    refusal = found.refused["axvisor"]
    assert refusal.gap == "atomic operation"
    assert "XADD instructions are not supported" in refusal.message
    assert [(reason.gap, reason.insn) for reason in refusal.reasons] == [("atomic operation", 8)]
    for text in (str(found), repr(found)):
        assert "axvisor refuses it" in text
        assert "XADD instructions are not supported" in text
    assert list(bench.compare(program, "boot", **RBPF).refused) == ["linux with rbpf"]
    assert bench.compare(program, destroys([1]), **KBPF)


def test_a_kind_of_map_that_axvisor_lacks_and_a_global_variable_that_is_set_are_refused() -> None:
    bench = Bench(cpus=2)
    values = bench.create_map("percpu_array", 4, 8, 1)
    program = attached(bench, "r1 = map[5]\nr0 = 0\nexit", m5=values)
    assert "AxVisor has no percpu_array maps" in bench.compare(program, "boot").refused["axvisor"].message
    exits = bench.load(example("exits.bpf.o"), rodata={"threshold_ns": 5})
    assert "threshold_ns" in bench.compare(exits, "boot").refused["axvisor"].message


def test_what_both_sides_refuse_is_not_equal() -> None:
    bench = Bench(target="axvisor")
    # On Linux, helper 10 is not for this type of program.
    program = attached(bench, "r1 = 3\ncall f#10\nr0 = 0\nexit")
    assert list(bench.compare(program, "boot").refused) == ["linux"]
    swap = Bench()
    raw = attached(swap, "r0 = 1\nr0 = bswap16 r0\nexit")
    assert not swap.compare(raw, "boot")


def test_without_an_event_or_a_run_nothing_differs_and_that_is_said() -> None:
    bench = Bench()
    program = attached(bench, HALVES, name="halve")
    nothing = bench.compare(program, [])
    assert (bool(nothing), nothing.events, nothing.programs) == (True, 0, {"halve": ((0, 0), (0, 0), 0)})
    assert "nothing was compared: no program ran in 0 events" in str(nothing)
    other = bench.compare(program, [Events("vmm:vm_boot", time_ns=1, vm_id=1, duration_ns=1)])
    assert "no program ran in 1 event\nhalve: never ran" in str(other)


def test_the_bench_itself_is_not_touched_and_maps_begin_with_what_they_hold() -> None:
    bench = Bench(clock=7)
    counts = bench.create_map("array", 4, 8, 1, name="COUNTS")
    program = attached(bench, COUNTS, m5=counts)
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1)
    counts[0] = 40
    before = (bench.clock.now, program.stats, bench.tracepoints["vmm:vm_destroy"].fired, len(bench.trace), bench.cpu)
    found = bench.compare(program, destroys([1, 2]))
    assert known(found.first).values == (41, 40)
    assert found.maps["COUNTS"].keys == {0: (42, 40)}
    assert counts.to_dict() == {0: 40}
    after = (bench.clock.now, program.stats, bench.tracepoints["vmm:vm_destroy"].fired, len(bench.trace), bench.cpu)
    assert after == before


RECORD = f"""
    {VM}
    r6 -= 5
    r6 s/= 2
    *(u64 *)(r10 -8) = r6
    r1 = map[5]
    r2 = r10
    r2 += -8
    r3 = 8
    r4 = 0
    call bpf_ringbuf_output
    r0 = 0
    exit
"""


def test_the_record_of_a_perf_event_array_that_differs_is_found() -> None:
    bench = Bench()
    events = bench.create_map("perf_event_array", 4, 4, 1, name="EVENTS")
    text = RECORD.replace("r1 = map[5]\n    r2 = r10\n    r2 += -8\n    r3 = 8\n    r4 = 0\n", "")
    text = text.replace("r6 -= 5", "r8 = r1\nr6 -= 5").replace(
        "call bpf_ringbuf_output",
        "r1 = r8\nr2 = map[5]\nr3 = 4294967295 ll\nr4 = r10\nr4 += -8\nr5 = 8\ncall bpf_perf_event_output",
    )
    program = attached(bench, text, m5=events)
    assert bench.compare(program, destroys([9] * 3), **RBPF)
    found = bench.compare(program, destroys([9, 3, 9]), **RBPF)
    first = known(found.first)
    assert (first.number, first.map, first.key) == (2, "EVENTS", 1)
    assert (first.values, gap(first)) == ((b"\xff" * 8, b"\xff" * 7 + b"\x7f"), "signed division")


def test_the_record_of_a_ring_buffer_that_differs_is_found_although_nobody_reads_it_meanwhile() -> None:
    bench = Bench()
    ring = bench.create_map("ringbuf", 0, 0, 4096, name="RING")
    program = attached(bench, RECORD, m5=ring)
    vms = [9] * 30
    assert bench.compare(program, destroys(vms), **RBPF)
    vms[20] = 3  # (3 - 5) / 2
    found = bench.compare(program, destroys(vms), **RBPF)
    first = known(found.first)
    minus_one, unsigned = b"\xff" * 8, b"\xff" * 7 + b"\x7f"
    assert (first.number, first.map, first.key, first.values) == (21, "RING", 20, (minus_one, unsigned))
    assert (first.text, gap(first)) == ("call bpf_ringbuf_output#130", "signed division")
    assert found.maps["RING"] == ((30, 30), 1, {20: (minus_one, unsigned)})
    assert bench.compare(program, destroys(vms), **KBPF)


def test_the_context_of_a_tracepoint_program_is_the_reason_where_it_decides_what_is_written() -> None:
    bench = Bench()
    loaded = bench.load(example("run_time.bpf.o"))
    events = [Events("vmm:vcpu_run_enter", time_ns=[5, 6], vm_id=[1, 2], vcpu_id=0)]
    found = bench.compare(loaded, events)
    first = known(found.first)
    # On Linux the key is (1, 0); in TraceContext, at the place of vm_id is the time of the event.
    assert (first.number, first.map, tuple(first.key)) == (1, "RUN_TIME", (1, 0))
    assert first.values[1] is None
    assert {tuple(key) for key in found.maps["RUN_TIME"].keys} == {(1, 0), (2, 0), (5, 0), (6, 0)}
    assert gap(first) == "record of a tracepoint"
    assert first.line is not None
    assert first.line.file.endswith("run_time.bpf.c")
    assert first.reason is not None
    assert first.reason.line is not None
    assert "ctx->vm_id" in first.reason.line.text


def test_several_programs_are_compared_with_their_places_filters_and_cookies() -> None:
    bench = Bench()
    text = "call bpf_get_attach_cookie\nr1 = 0\nr1 -= r0\nr1 s/= 2\nr0 = r1\nexit"
    one = bench.load_bytes(assemble(text), type="tracepoint", name="same")
    two = bench.load_bytes(assemble(text), type="tracepoint", name="same")
    one.attach("vmm:vm_destroy", cookie=4, filter="vm_id == 8")
    two.attach("vmm:vm_destroy", cookie=6, filter="vm_id > 6")
    found = bench.compare([one, two], destroys([1, 7, 8]), **RBPF)
    first = known(found.first)
    assert (first.number, first.program, first.values) == (2, f"same#{two.id}", ((1 << 64) - 3, (1 << 63) - 3))
    assert found.programs == {"same": ((1, 1), (0, 0), 1), f"same#{two.id}": ((2, 2), (0, 0), 2)}


GLOBALS = """
#define SEC(name) __attribute__((section(name), used))

long limit = 5, seen;

SEC("axvisor/vmm/vm_destroy")
int untouched(void *ctx) { return 0; }

SEC("axvisor/vmm/vm_destroy")
int reader(void *ctx) { return *(volatile long *)&limit; }

SEC("axvisor/vmm/vm_destroy")
int writer(unsigned int *ctx)
{
	long vm = ctx[4];

	asm volatile("%0 += -4" : "+r"(vm)); /* hides what the compiler could compare with instead */
	seen = vm == -1 ? 1 : 2;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
"""


def test_global_variables_are_compared_by_name(clang: str, tmp_path: Path) -> None:
    source, made = tmp_path / "globals.bpf.c", tmp_path / "globals.bpf.o"
    source.write_text(GLOBALS)
    subprocess.run([clang, "-O2", "-g", "-target", "bpf", "-c", source, "-o", made], check=True)
    bench = Bench()
    loaded = bench.load(made)
    # AxVisor drops what .data begins with; who does not look at it does the same.
    same = bench.compare(loaded["untouched"], destroys([3]))
    assert same, same
    assert not same.maps
    # What it would be told there is no address.
    read = bench.compare(loaded["reader"], destroys([3]))
    assert (known(read.first).values[0], gap(read.first)) == (5, "global variable")
    assert isinstance(known(read.first).values[1], ProgramFault)
    # rbpf takes r == -1 for false where r is -1.
    loaded.globals["seen"] = 7
    written = bench.compare(loaded["writer"], destroys([9, 3]), **RBPF)
    first = known(written.first)
    assert (first.number, first.map, first.key, first.values) == (2, ".bss", "seen", (1, 2))
    assert gap(first) == "64-bit jump with a negative constant"
    assert first.line is not None
    assert first.line.text.startswith("seen = ")
    assert written.maps == {".bss": ((1, 1), 1, {"seen": (1, 2)})}
    assert bench.compare(loaded["writer"], destroys([9, 3]), **KBPF)
    assert loaded.globals["seen"] == 7


def test_the_write_that_has_a_finding_goes_before_a_later_one() -> None:
    bench = Bench()
    counts = bench.create_map("array", 4, 8, 2, name="COUNTS")
    update = "r3 = r2\nr4 = 0\ncall bpf_map_update_elem\n"
    text = COUNTS.replace("r0 = 0\n", f"*(u64 *)(r10 -16) = 1\nr1 = map[5]\nr2 = r10\nr2 += -16\n{update}r0 = 0\n")
    found = bench.compare(attached(bench, text, m5=counts), destroys([1]))
    assert (known(found.first).key, known(found.first).insn, gap(found.first)) == (
        0,
        9,
        "store through a looked-up value",
    )


def test_on_target_linux_only_gaps_of_the_chosen_part_are_reasons() -> None:
    bench = Bench()
    counts = bench.create_map("array", 4, 8, 1)
    program = attached(bench, COUNTS.replace("r0 = 0\n    exit", HALVES), m5=counts)
    assert gap(bench.compare(program, destroys([1])).first) == "store through a looked-up value"
    assert gap(bench.compare(program, destroys([1]), **RBPF).first) == "signed division"


def test_a_real_clock_stands_still_for_a_comparison() -> None:
    bench = Bench(clock="real")
    program = attached(bench, "call bpf_ktime_get_ns\nexit")
    found = bench.compare(program, destroys([1, 2]))
    assert found, found


@pytest.mark.parametrize("name", ["whole", "lines"])
def test_a_recording_is_compared_event_by_event(name: str, tmp_path: Path) -> None:
    lines = [f" a-1 [000] ..... {n}.000000: vmm:vm_destroy: vm_id={1000 if n == 4321 else 7}\n" for n in range(1, 5000)]
    bench = Bench()
    program = attached(bench, f"{VM} r0 = 0\nif r6 < 1000 goto +2\nr0 = -7\nr0 s/= 2\nexit")
    text = "".join(lines).encode()
    file = tmp_path / "trace.txt"
    file.write_bytes(text)
    found = bench.compare(program, {"whole": str(file), "lines": text}[name])
    first = known(found.first)
    assert (found.events, first.number) == (4999, 4321)
    assert first.event is not None
    assert (first.event.time_ns, first.event.fields) == (4321 * 10**9, {"vm_id": 1000})


def test_a_table_takes_the_event_of_its_rows() -> None:
    bench = Bench()
    program = attached(bench, HALVES)
    found = bench.compare(program, b"time_ns,vm_id\n5,1\n6,2\n", event="vmm:vm_destroy", format="csv")
    assert (found.events, known(found.first).number) == (2, 1)
    assert not bench.compare(program, Recording(b"event,time_ns,vm_id\nvmm:vm_destroy,5,1\n"))


class Sleep(Tracepoint, name="vmm:sleep", id=301):
    """A VM sleeps."""

    vm_id: u64


def test_workloads_and_tracepoints_of_ones_own_are_taken() -> None:
    bench = Bench()
    bench.define(Sleep)
    program = bench.load_bytes(assemble(HALVES), type="axvisor")
    program.attach(Sleep)

    @define()
    def sleepy(times: int = 3) -> Any:
        """A VM sleeps now and then."""
        yield Events(Sleep, time_ns=range(times), vm_id=9)

    assert bench.compare(program, sleepy, times=5).events == 5
    assert known(bench.compare(program, sleepy).first).event.fields == {"vm_id": 9}  # type: ignore[union-attr]


def test_a_helper_that_keeps_something_does_not_hide_a_difference() -> None:
    bench = Bench()
    calls = 0

    @bench.helper("u64 next()", id=0x10000)
    def next_number() -> int:
        nonlocal calls
        calls += 1
        return calls

    program = attached(bench, "call next#65536\nexit")
    found = bench.compare(program, destroys([1, 2, 3]), **RBPF)
    assert not found
    assert found.programs["program"].different == 3


def test_what_a_helper_raises_comes_out_and_the_bench_goes_on() -> None:
    bench = Bench()

    @bench.helper("u64 fails()", id=0x10000)
    def fails() -> int:
        raise ValueError("of the test")

    program = attached(bench, "call fails#65536\nexit")
    with pytest.raises(ValueError, match="of the test"):
        bench.compare(program, destroys([1]), **RBPF)
    assert not bench.closed


def test_ctrl_c_ends_it_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    program = attached(bench, HALVES)
    made: list[weakref.ref[Bench]] = []
    begin = Bench.__init__

    def noted(self: Bench, **options: Any) -> None:
        begin(self, **options)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Bench, "__init__", noted)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.compare(program, destroys([1]), progress=interrupt)
    assert len(made) > 1
    assert all(other.closed for ref in made if (other := ref()) is not None)
    assert not bench.closed
    assert not bench.compare(program, destroys([1]))


def test_progress_hears_how_far_it_has_come() -> None:
    bench = Bench()
    program = attached(bench, "r0 = 0\nexit")
    heard: list[Any] = []
    assert bench.compare(program, destroys([1] * 20_000), progress=heard.append)
    assert heard[-1] == (20_000, 20_000_000)
    assert [so_far.events for so_far in heard] == sorted({so_far.events for so_far in heard})


def test_what_cannot_be_compared_is_refused() -> None:
    bench = Bench()
    program = attached(bench, "r0 = 0\nexit", name="it")
    with pytest.raises(LoadError, match="target linux is what the other side is compared with; choose engine='rbpf'"):
        bench.compare(program, "boot", target="linux")
    with pytest.raises(LoadError, match="no engine 'rpbf'"):
        bench.compare(program, "boot", engine="rpbf")
    with pytest.raises(
        HypervisorError, match=r"no workload boott; did you mean boot\? Nor is there a file of that name"
    ):
        bench.compare(program, "boott")
    with pytest.raises(HypervisorError, match="boot has no parameter vm"):
        bench.compare(program, "boot", vm=2)
    with pytest.raises(HypervisorError, match=r"needs 6 CPUs with these parameters, this bench has 4"):
        bench.compare(program, "boot", vms=6)
    with pytest.raises(RecordingError, match="this can be read only once, and its events are wanted several times"):
        bench.compare(program, io.BytesIO(b"x"))
    with pytest.raises(TypeError, match="expected a program, or what load"):
        bench.compare("it", "boot")  # type: ignore[arg-type]
    loose = bench.load_bytes(assemble("r0 = 0\nexit"), type="tracepoint", name="loose")
    with pytest.raises(AttachError, match="loose: attached nowhere, and the section names no tracepoint"):
        bench.compare(loose, "boot")
    with pytest.raises(AttachError, match="it: it is not in this bench"):
        Bench().compare(program, "boot")
    loose.unload()
    with pytest.raises(AttachError, match="loose: it is not in this bench"):
        bench.compare(loose, "boot")
    bench.close()
    with pytest.raises(BenchClosed):
        bench.compare(program, "boot")


def test_the_reason_is_what_ran_last_before_a_write_without_one() -> None:
    # A printed length is another number on AxVisor; what the program met before that is not why the map differs.
    code = assemble("""
        r6 = -1
        r1 = 0
        if r6 == -1 goto +1
        r6 = 0
        *(u32 *)(r10 -24) = 0x6968
        r1 = r10
        r1 += -24
        r2 = 3
        call bpf_trace_printk
        *(u64 *)(r10 -16) = r0
        *(u32 *)(r10 -4) = 0
        r1 = map[0]
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem
        r0 = 0
        exit
    """)
    with Bench() as bench:
        lengths = bench.create_map("array", 4, 8, 1, name="LENGTHS")
        program = bench.load_bytes(code, maps={0: lengths}, name="print_it")
        program.attach("vmm:vm_boot")
        found = bench.compare(program, "boot", vms=1)
    assert found.first is not None
    assert (found.first.map, found.first.values) == ("LENGTHS", (2, 0))
    assert found.first.reason is not None
    assert found.first.reason.gap == "bpf_trace_printk"
