"""`bench.replay` on recordings of a real guest, and on the bench's own trace."""

from __future__ import annotations

import io
import os
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, ExitReason, RunResult, Tracepoint, char, field, i64, u8, u32, u64
from axebpf.examples import example
from axebpf.recording import Recording, Rule, place

RECORDINGS = Path(__file__).parent / "data" / "recordings"
FORMS = ["guest.trace.txt", "guest.trace_pipe.txt", "guest.report.txt", "guest.perf.txt"]

EXITS = {
    "KVM_EXIT_IO": ExitReason.IO_WRITE,
    "KVM_EXIT_MMIO": ExitReason.MMIO_WRITE,
    "KVM_EXIT_INTR": ExitReason.EXTERNAL_INTERRUPT,
    "restart": ExitReason.EXTERNAL_INTERRUPT,
    "error": ExitReason.NOTHING,
    "KVM_EXIT_UNKNOWN": ExitReason.NOTHING,
}
"""What the exits of these recordings become."""


def exits_in(text: str) -> list[tuple[str, str, str]]:
    """Thread, process (or an empty text) and reason of every exit to user space, by a plain search of the text."""
    line = r"[- ](\d+) +(?:\( *(\d+)\) )?\[\d+\].* (?:kvm:)?kvm_userspace_exit: +reason (\S+) \("
    return re.findall(line, text)


@pytest.mark.parametrize("name", FORMS)
def test_the_exits_are_those_that_a_search_of_the_text_counts(name: str) -> None:
    found = Counter(EXITS[reason] for _, _, reason in exits_in((RECORDINGS / name).read_text()))
    bench = Bench(cpus=2)
    progs = bench.load(example("exits.bpf.o"))
    progs.attach()
    result = bench.replay(RECORDINGS / name)
    assert result.by_tracepoint["vmm:vcpu_run_exit"] == found.total() > 40
    assert result.programs["on_exit"].runs == found.total()
    by_reason: Counter[int] = Counter()
    for key, value in bench.maps["EXITS"].items():
        by_reason[key.exit_reason] += value.count
    assert by_reason == found


def test_a_process_is_a_vm() -> None:
    name = "guest.trace.txt"
    by_process = Counter((process, EXITS[reason]) for _, process, reason in exits_in((RECORDINGS / name).read_text()))
    bench = Bench(cpus=2)
    bench.load(example("exits.bpf.o")).attach()
    bench.replay(RECORDINGS / name)
    of_vm: dict[int, Counter[int]] = {1: Counter(), 2: Counter()}
    for key, value in bench.maps["EXITS"].items():
        of_vm[key.vm_id][key.exit_reason] += value.count
    expected: dict[str, Counter[int]] = {}
    for (process, reason), count in by_process.items():
        expected.setdefault(process, Counter())[reason] = count
    assert sorted(expected.values(), key=repr) == sorted(of_vm.values(), key=repr)


@pytest.mark.parametrize("name", FORMS)
def test_every_event_of_the_text_is_accounted_for(name: str) -> None:
    text = (RECORDINGS / name).read_text()
    names = Counter(re.findall(r"\d: +(?:kvm:)?(\w+): ", text))
    result = Bench(cpus=2).replay(RECORDINGS / name)
    assert Counter({name.removeprefix("kvm:"): count for name, count in result.recorded.items()}) == names
    assert result.lines == text.count("\n")
    assert (result.skipped, result.lost_by_recorder, result.problems) == (0, 0, [])
    # Each line became one event, or is counted as one that did not.
    assert result.events == sum(names.values()) - sum(result.unmapped.values()) - sum(result.passed_over.values())
    assert set(result.unmapped) <= {
        f"{system}{event}"
        for system in ("", "kvm:")
        for event in (
            "kvm_update_master_clock",
            "kvm_apicv_inhibit_changed",
            "kvm_write_tsc_offset",
            "kvm_track_tsc",
            "kvm_unmap_hva_range",
        )
    }


def test_accesses_to_devices_keep_direction_and_address() -> None:
    text = (RECORDINGS / "guest.trace_pipe.txt").read_text()
    expected = Counter(
        (int(addr, 16), int(direction == "write"))
        for direction, addr in re.findall(r"pio_(read|write) at (0x\w+)", text)
    ) + Counter(
        (int(addr, 16), int(direction == "write"))
        for direction, addr in re.findall(r"mmio (read|write) len \d gpa (0x\w+)", text)
    )
    bench, seen = Bench(cpus=2), Counter[tuple[int, int]]()
    bench.tracepoints["vmm:device_access"].on(lambda event: seen.update([(event.addr, event.is_write)]))
    bench.replay(RECORDINGS / "guest.trace_pipe.txt")
    assert seen == expected
    assert seen[0x3F8, 1] == 8  # the letters that the guest wrote
    assert seen[0xD000_0004, 0] == 8  # a read is one access, though KVM reports its request too


def test_times_cpus_and_threads_are_the_recorded_ones() -> None:
    text = (RECORDINGS / "guest.trace_pipe.txt").read_text()
    expected = re.findall(r"^ *(.*)-(\d+) +\[(\d+)\] \S+ +(\d+\.\d{6}): kvm_vcpu_wakeup", text, re.MULTILINE)
    bench = Bench(cpus=2)
    bench.enable("vmm:vcpu_halt")
    bench.replay(RECORDINGS / "guest.trace_pipe.txt")
    trace = bench.trace.text()
    assert re.findall(r"^ *(.*)-(\d+) +\[(\d+)\] \S+ +(\d+\.\d{6}): vcpu_halt", trace, re.MULTILINE) == expected
    assert {comm for comm, *_ in expected} == {"CPU 0/KVM", "CPU 1/KVM"}


def test_the_duration_of_an_exit_is_counted_from_the_beginning_of_the_run() -> None:
    began: dict[str, int] = {}
    expected = []
    for line in (RECORDINGS / "guest.trace_pipe.txt").read_text().splitlines():
        found = re.match(r" *.*-(\d+) +\[\d+\] \S+ +(\d+)\.(\d+): (kvm_fpu: load|kvm_userspace_exit)", line)
        if found:
            now = int(found[2] + found[3]) * 1000
            if found[4] == "kvm_fpu: load":
                began[found[1]] = now
            else:
                expected.append(now - began.pop(found[1]))
    bench, seen = Bench(cpus=2), list[int]()
    bench.tracepoints["vmm:vcpu_run_exit"].on(lambda event: seen.append(event.duration_ns))
    assert bench.replay(RECORDINGS / "guest.trace_pipe.txt").unpaired == 0
    assert seen == expected


def test_a_result_begins_with_what_a_run_has() -> None:
    bench = Bench(cpus=2)
    result = bench.replay(RECORDINGS / "guest.trace_pipe.txt")
    assert result._fields[: len(RunResult._fields)] == RunResult._fields
    assert result.by_tracepoint == {name: tp.fired for name, tp in bench.tracepoints.items() if tp.fired}
    assert (result.first_ns, result.time_ns) == (19_191_380_857_000, 19_191_487_783_000)


def test_a_replay_does_not_move_the_clock_of_the_bench() -> None:
    bench = Bench(cpus=2)
    before = bench.clock.now
    bench.replay(RECORDINGS / "guest.trace_pipe.txt")
    assert bench.clock.now == before


# Sources


def sources(path: Path, folder: Path) -> dict[str, Any]:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    # Opened for writing, it waits for its reader.
    threading.Thread(target=fifo.write_bytes, args=(path.read_bytes(),), daemon=True).start()
    return {
        "path": path,
        "text path": str(path),
        "bytes": path.read_bytes(),
        "memoryview": memoryview(path.read_bytes()),
        "binary file": path.open("rb"),
        "text file": path.open(),
        "BytesIO": io.BytesIO(path.read_bytes()),
        "pipe": fifo,
        "Recording": Recording(path),
    }


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    path = RECORDINGS / "guest.trace_pipe.txt"
    expected = Bench(cpus=2).replay(path)
    for kind, source in sources(path, tmp_path).items():
        assert Bench(cpus=2).replay(source) == expected, kind
        if hasattr(source, "close"):
            source.close()


def test_a_recording_larger_than_a_piece_loses_nothing_at_the_seams(tmp_path: Path) -> None:
    text = (RECORDINGS / "guest.trace_pipe.txt").read_bytes()
    once, times = Bench(cpus=2).replay(text), 40
    assert len(text) * times > 8 * (1 << 18)
    result = Bench(cpus=2).replay(text * times)
    assert (result.events, result.lines) == (times * once.events, times * once.lines)
    assert result.unmapped == {name: times * count for name, count in once.unmapped.items()}


# The bench's own trace


class Mixed(Tracepoint, name="test:mixed", id=300):
    """Every form in which a field is shown."""

    small: u8
    name: char[16]  # type: ignore[valid-type]
    back: i64 = field(hex=True)
    size: u64 = field(label="mem", scale=1 << 20, suffix="MB")
    masks: u32[3]  # type: ignore[valid-type]
    last: char[8]  # type: ignore[valid-type]


def records(bench: Bench) -> list[tuple[Any, ...]]:
    return [(e.name, e.cpu, e.pid, e.comm, e.fields) for e in bench.trace.records()]


@pytest.mark.parametrize(("target", "rounded"), [("linux", 500), ("axvisor", 0)])
def test_the_trace_of_a_bench_replays_to_the_same_events(target: str, rounded: int) -> None:
    first, second = Bench(cpus=4, trace_entries=1 << 20), Bench(cpus=4, trace_entries=1 << 20)
    for bench in (first, second):
        bench.enable("*")
    first.run("boot", vms=2, seed=3, duration_s=0.3)
    result = second.replay(first.trace.text(target=target).encode())
    assert result.events == len(first.trace) > 500
    assert records(second) == records(first)
    assert result.unmapped == {}
    times = [(e.time_ns + rounded) // 1000 * 1000 for e in first.trace.records()]
    assert [e.time_ns for e in second.trace.records()] == times


@pytest.mark.parametrize("target", ["linux", "axvisor"])
def test_a_tracepoint_of_ones_own_is_read_back_in_every_form_of_its_fields(target: str) -> None:
    first, second = Bench(), Bench()
    for bench in (first, second):
        bench.define(Mixed).enabled = True
    fire = first.tracepoints["test:mixed"].fire
    fire(
        small=7, name=b"a b=c", back=-1, size=64 << 20, masks=[1, 0xFFFF_FFFF, 0], last=b"end of", time_ns=5_000, cpu=1
    )
    fire(small=0, name=b"", back=2**63 - 1, size=0, masks=[0, 0, 0], last=b"", time_ns=6_000, cpu=3)
    assert second.replay(first.trace.text(target=target).encode()).events == 2
    assert records(second) == records(first)


def test_what_programs_print_is_not_replayed() -> None:
    first = Bench()
    first.enable("vmm:vm_boot")
    first.load_bytes(PRINTS, type="tracepoint").attach("vmm:vm_boot")
    first.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=2)
    result = Bench().replay(first.trace.text().encode())
    assert (result.by_tracepoint, result.unmapped) == ({"vmm:vm_boot": 1}, {"bpf_trace_printk": 1})


def _prints() -> bytes:
    from axebpf import assemble

    return assemble(
        "r1 = 0x6968\n*(u64 *)(r10 -8) = r1\nr1 = r10\nr1 += -8\nw2 = 3\ncall bpf_trace_printk\nw0 = 0\nexit"
    )


PRINTS = _prints()


# Rules of one's own


def test_a_table_of_ones_own_replaces_the_one_of_kvm() -> None:
    switch = Rule(
        "sched:sched_switch",
        "prev_comm={} prev_pid={old} {}next_pid={new} ",
        "vmm:task_switch",
        {"from_task": place("old"), "to_task": place("new")},
        on_vcpu=False,
    )
    text = (
        b"  sh-1  [000] d..2. 5.000001: sched_switch: prev_comm=a b prev_pid=11 prev_prio=120 prev_state=S ==> "
        b"next_comm=x next_pid=12 next_prio=120\n"
        b"  sh-1  [000] ..... 5.000002: kvm_eoi: apicid 0 vector 1\n"
    )
    bench, seen = Bench(), list[dict[str, int]]()
    bench.tracepoints["vmm:task_switch"].on(lambda event: seen.append(event.fields))
    result = bench.replay(text, mapping=[switch])
    assert seen == [{"from_task": 11, "to_task": 12}]
    assert result.unmapped == {"kvm_eoi": 1}
