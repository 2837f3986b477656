"""Recordings become events: what a plain count of the file says, durations, rules, and input that is damaged."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, ClockError, ExitReason, RecordingError, Tracepoint, char, field, i16, i64, u8, u32, u64
from axebpf.examples import example
from axebpf.recording import KVM, Known, Recording, Rule
from axebpf.recording.rules import Choice
from hypothesis import given, settings
from hypothesis import strategies as st

DATA = Path(__file__).parent / "data" / "recordings"
REAL = ("kvm-trace.txt", "kvm-trace-pipe.txt", "kvm-trace-cmd.txt")
FORMATS = DATA / "formats.txt"


def counts(name: str) -> Counter[str]:
    """Events by name, by a plain search in the text."""
    return Counter(re.findall(r": (kvm_\w+): ", (DATA / name).read_text()))


# A real KVM guest


@pytest.mark.parametrize("name", REAL)
def test_a_real_recording_gives_the_counts_of_a_plain_count_of_its_text(name: str) -> None:
    text, plain = (DATA / name).read_text(), counts(name)
    assert plain["kvm_userspace_exit"] == 66
    bench = Bench()
    progs = bench.load(example("exits.bpf.o"))
    progs["on_exit"].attach()
    result = bench.replay(DATA / name)
    assert result.by_tracepoint == {
        "vmm:vcpu_run_enter": len(re.findall(r"kvm_fpu: +load", text)),
        "vmm:vcpu_run_exit": plain["kvm_userspace_exit"],
        "vmm:device_access": plain["kvm_pio"] + plain["kvm_mmio"] - text.count("unsatisfied-read"),
        "vmm:irq_inject": len(re.findall(r"kvm_set_irq: +gsi \d+ level 1", text)),
        "vmm:vcpu_halt": plain["kvm_vcpu_wakeup"],
    }
    exits = bench.maps["EXITS"]
    assert exits[1, ExitReason.IO_WRITE].count == text.count("reason KVM_EXIT_IO ")
    assert exits[1, ExitReason.MMIO_WRITE].count == text.count("reason KVM_EXIT_MMIO ")
    assert (result.skipped, result.lost_in_recording, result.backwards) == (0, 0, 0)
    mapped = {"kvm_fpu", "kvm_userspace_exit", "kvm_pio", "kvm_mmio", "kvm_set_irq", "kvm_vcpu_wakeup"}
    told = {"kvm_track_tsc", "kvm_write_tsc_offset"}  # which vCPU a thread is
    assert result.unmapped == {event: n for event, n in plain.items() if event not in mapped | told}


@pytest.mark.parametrize("name", REAL)
def test_each_vcpu_is_told_apart_and_its_runs_alternate(name: str) -> None:
    text = (DATA / name).read_text()
    threads = {int(pid) for pid in re.findall(r"-(\d+) .*kvm_userspace_exit", text)}
    runs: dict[int, list[str]] = {}
    bench = Bench()
    for event in ("vcpu_run_enter", "vcpu_run_exit"):
        handle = bench.tracepoints[f"vmm:{event}"]
        handle.on(lambda seen: runs.setdefault(seen.vcpu_id, []).append(seen.name))
    bench.replay(DATA / name)
    assert len(runs) == len(threads) == 2
    for events in runs.values():
        assert events == ["vmm:vcpu_run_enter", "vmm:vcpu_run_exit"] * (len(events) // 2)


def test_the_two_ways_to_read_one_run_give_the_same() -> None:
    streams = []
    for name in ("kvm-trace.txt", "kvm-trace-cmd.txt"):
        bench = Bench()
        bench.enable()
        bench.replay(DATA / name)
        streams.append(bench.trace.text())
    assert streams[0] == streams[1]


# Formats of other machines


def replayed(source: Any, **options: Any) -> tuple[list[tuple[Any, ...]], Any]:
    """Time in µs, CPU, name and fields of each event; and the result."""
    bench = Bench(cpus=4)
    bench.enable()
    result = bench.replay(source, **options)
    return [(e.time_ns // 1000, e.cpu, e.name, e.fields) for e in bench.trace.records()], result


def test_formats_of_intel_amd_arm64_and_riscv() -> None:
    events, result = replayed(FORMATS)
    R = ExitReason  # noqa: N806
    exits = [
        (time, cpu, f["vm_id"], f["vcpu_id"], f["exit_reason"], f["duration_ns"])
        for time, cpu, name, f in events
        if name == "vmm:vcpu_run_exit"
    ]
    assert exits == [
        (1000020, 0, 1, 0, R.IO_READ, 20_000),  # bit 3 of info1
        (1000053, 1, 2, 0, R.NESTED_PAGE_FAULT, 3_000),
        (1000061, 1, 2, 0, R.SYS_REG_WRITE, 1_000),
        (1000070, 1, 2, 0, R.HYPERCALL, 7_000),
        (2000010, 2, 3, 0, R.NESTED_PAGE_FAULT, 10_000),
        (2000030, 2, 3, 0, R.EXTERNAL_INTERRUPT, 10_000),
        (3000007, 3, 4, 0, R.MMIO_WRITE, 7_000),
    ]
    others = {(name, time): f for time, _, name, f in events if name not in ("vmm:vcpu_run_exit", "vmm:vcpu_run_enter")}
    # What is handled until the guest goes on is an event then, and knows how long that took.
    assert others == {
        ("vmm:page_fault", 1000060): {"vm_id": 2, "gpa": 0xFEE00000, "access_type": 2, "duration_ns": 6_000},
        ("vmm:hypercall", 1000080): {"vm_id": 2, "vcpu_id": 0, "nr": 5, "ret_val": 0, "duration_ns": 9_000},
        ("vmm:ipi_send", 1000072): {"vm_id": 2, "vcpu_id": 0, "target_cpu": 0x1F, "vector": 251},
        ("vmm:irq_inject", 1000073): {"vm_id": 2, "vcpu_id": 0, "irq_num": 0x31},
        ("vmm:page_fault", 2000020): {"vm_id": 3, "gpa": 0x9000000, "access_type": 2, "duration_ns": 9_000},
        ("vmm:device_access", 2000012): {"vm_id": 3, "device_id": 0, "addr": 0x9000000, "is_write": 1},
        ("vmm:irq_inject", 2000031): {"vm_id": 3, "vcpu_id": 0, "irq_num": 27},
    }
    assert result.by_tracepoint["vmm:vcpu_run_enter"] == FORMATS.read_text().count("kvm_entry")
    assert (result.lost_in_recording, result.skipped, result.unmapped) == (17, 0, {})


def test_every_reason_that_this_kernel_has_for_x86_is_one_of_ours() -> None:
    path = Path("/sys/kernel/tracing/events/kvm/kvm_exit/format")
    try:
        text = path.read_text()
    except OSError as error:
        pytest.skip(f"asks tracefs for the names of exit reasons: {error.strerror}")
    names = re.findall(r'\{ [0-9a-fx()]+, "([\w-]+)" \}', text)
    if not names:
        pytest.skip("this kernel's kvm_exit has no names of x86 exit reasons")
    rule = next(r for r in KVM if isinstance(r.fields.get("exit_reason"), Choice))
    choice = rule.fields["exit_reason"]
    assert isinstance(choice, Choice)
    # `io` and its like have rules of their own, because they tell the direction.
    assert set(choice.values) <= set(names)
    lines = "\n".join(f" a-1 [000] ..... 1.000000: kvm_exit: vcpu 0 reason {name} rip 0x1" for name in names)
    events, result = replayed(lines.encode())
    assert len(events) == len(names)
    assert result.skipped == 0


# Events of our own


class Odd(Tracepoint, name="vmm:odd", id=250):
    """Fields of every kind and display."""

    name_: char[16] = field(label="name")  # type: ignore[valid-type]
    small: u8
    minus: i64
    neg: i16 = field(hex=True)
    size: u64 = field(scale=1024, suffix="KB", label="size")
    list_: u32[3] = field(label="list")  # type: ignore[valid-type]
    last: char[8]  # type: ignore[valid-type]


@pytest.mark.parametrize("target", ["linux", "axvisor"])
def test_what_a_bench_shows_can_be_replayed(target: str) -> None:
    first, second = Bench(cpus=4, clock=1000), Bench(cpus=4)
    for bench in (first, second):
        bench.define(Odd)
        bench.enable()
    first.run("boot", vms=2, vcpus=2, seed=3, duration_s=0.2)
    odd = first.tracepoints["vmm:odd"]
    for n in range(5):
        time = 10**12 + n * 1000
        odd.fire(b"a b=c", n, -n, -n, 2048 * n, [n, 2, 3], b"x y" * (n % 2), time_ns=time, cpu=n % 4)
    text = first.trace.text(target=target)
    result = second.replay(text.encode())
    assert second.trace.text(target=target) == text
    assert result.events == len(text.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "vm_id=1",
        "vm_id=1 duration_ns=",
        "vm_id=1 duration_ns=2 more=3",
        "vm_id=4294967296 duration_ns=1",
        "duration_ns=1 vm_id=2",
        "vm_id=1 duration_ns=0x",
    ],
)
def test_the_text_of_an_event_that_is_not_its_own_is_skipped(text: str) -> None:
    events, result = replayed(
        f" a-1 [000] 1.000000: vm_boot: {text}\n a-1 [000] 2.000000: vm_destroy: vm_id=1\n".encode()
    )
    assert [name for _, _, name, _ in events] == ["vmm:vm_destroy"]
    assert (result.events, result.skipped) == (1, 1)


def test_a_table_of_ones_own() -> None:
    rules = [
        Rule("disk_io", r"wait (?P<ns>\d+)", to="vmm:vm_boot", fields={"vm_id": Known.VM, "duration_ns": "ns"}),
    ]
    events, result = replayed(
        b" a-1 [000] 1.000000: disk_io: wait 70\n a-1 [000] 1.0: kvm_exit: reason HLT\n", mapping=rules
    )
    assert [f for *_, f in events] == [{"vm_id": 1, "duration_ns": 70}]
    assert result.skipped == 1  # a time of one digit is none of ftrace's


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule("a", "(", to="vmm:vm_boot"), "'\\(' is no regular expression"),
        (Rule("a", to="vmm:vm_bot"), "no tracepoint vmm:vm_bot; did you mean vmm:vm_boot"),
        (Rule("a", to="vmm:vm_boot", fields={"vm_ids": 1}), "no field vm_ids; did you mean vm_id"),
        (Rule("a", to="vmm:vm_destroy"), "no source for the field vm_id of vmm:vm_destroy"),
        (Rule("a", "(?P<vm>.)", to="vmm:vm_destroy", fields={"vm_id": "vms"}), "no group vms; did you mean vm"),
    ],
)
def test_a_rule_that_cannot_be(rule: Rule, text: str) -> None:
    with pytest.raises(RecordingError, match=text):
        Recording(b"# tracer: nop\n", mapping=[rule])


# CSV


def test_csv_with_names_hexadecimal_numbers_and_columns_of_some_events() -> None:
    table = b"""time_us,cpu,event,vm_id,vcpu_id,exit_reason,duration_ns,vm_pause
1.5,1,vmm:vcpu_run_exit,1,0,HALT,0x10,
2,,vcpu_run_exit,2,1,3,77,

3,0,kvm:what,,,,,
"""
    with pytest.raises(RecordingError, match="line 1: no tracepoint has a field vm_pause"):
        Recording(table)
    events, result = replayed(table.replace(b"vm_pause", b"image_size"))
    assert [(time, cpu, *f.values()) for time, cpu, _, f in events] == [
        (1, 1, 1, 0, ExitReason.HALT, 16),
        (2, 0, 2, 1, 3, 77),
    ]
    assert result.unmapped == {"kvm:what": 1}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (b"time_ns,event,vm_id,vm_id\n", "line 1: the column vm_id is there twice"),
        (b"time_ns,event,vm_ids\n", "line 1: no tracepoint has a field vm_ids; did you mean vm_id"),
        (b"time_ns,time_s,event\n", "line 1: the first line needs the column event and one of time_ns"),
        (b"time_ns,event,vm_id\n1,vm_destroy\n", "line 2: 2 cells, the first line has 3"),
        (b"time_ns,event,vm_id\n1,vm_destroy,x\n", "line 2: vm_id of vmm:vm_destroy is 'x'; expected u32"),
        (b"time_ns,event,vm_id\n1,vm_destroy,-1\n", "line 2: vm_id of vmm:vm_destroy is '-1'; expected u32"),
        (b"time_ns,event,vm_id\n1,vm_destroy,\n", "line 2: vmm:vm_destroy has no vm_id"),
        (b"time_ns,event\n1,vm_destroy\n", "line 2: vmm:vm_destroy has no vm_id"),
        (b"time_ns,event,vm_id\nsoon,vm_destroy,1\n", "line 2: time_ns of vmm:vm_destroy is 'soon'; expected a time"),
        (b"time_ns,cpu,event,vm_id\n1,x,vm_destroy,1\n", "line 2: cpu of vmm:vm_destroy is 'x'; expected a number"),
        (b'time_ns,event,vm_id\n1,"vm_destroy\n', "no CSV"),
        (
            b"time_ns,event,vm_id,old_state,vcpu_id,new_state\n1,vcpu_state_change,1,REDY,0,1\n",
            "old_state of vmm:vcpu_state_change is 'REDY'; expected u32, or a name of VcpuState",
        ),
    ],
)
def test_csv_that_cannot_be(table: bytes, text: str) -> None:
    with pytest.raises(RecordingError, match=text):
        Recording(table)


# Damaged and foreign input


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "neither ftrace text nor CSV"),
        (b"hello\nworld\n", "line 1: neither ftrace text nor CSV with the column event; the first line is 'hello'"),
        (b"\x17\x08\x44tracing6\0", "is a trace.dat; make text of it: trace-cmd report"),
        (b"PERFILE2\0\0", "is a perf.data; make text of it: perf script"),
        (bytes(range(256)) * 8, "neither ftrace text nor CSV"),
    ],
)
def test_what_is_no_recording(data: bytes, text: str) -> None:
    with pytest.raises(RecordingError, match=text):
        Recording(data)


def test_a_file_that_is_not_there_and_a_format_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.txt: cannot be read: No such file"):
        Recording(tmp_path / "none.txt")
    with pytest.raises(RecordingError, match="no format ftrac; formats are ftrace and csv; did you mean ftrace"):
        Recording(b"", format="ftrac")


def test_a_line_cut_in_the_middle_is_skipped_and_said() -> None:
    text = (DATA / "kvm-trace.txt").read_bytes()
    whole = Recording(text)
    cut = text[: text.rindex(b"[000]") + 3]  # at the end of the file
    recording = Recording(cut)
    assert sum(recording.events.values()) == sum(whole.events.values()) - 1
    assert recording.skipped == 1
    assert recording.first_skipped is not None
    assert recording.first_skipped[0] == cut.count(b"\n") + 1
    middle = text.replace(b"kvm_pio: pio_write at 0x20 ", b"kvm_p\n", 1)  # and within it
    assert Recording(middle).skipped == 2  # both halves


def test_a_clock_that_goes_backwards_is_counted_by_cpu_and_times_are_kept() -> None:
    lines = [(0, "2.000000"), (1, "1.000000"), (0, "1.500000"), (1, "1.000001")]
    text = "".join(f" a-1 [{cpu:03}] ..... {time}: vm_destroy: vm_id=1\n" for cpu, time in lines)
    events, result = replayed(text.encode())
    assert result.backwards == 1
    assert sorted(time for time, *_ in events) == [1000000, 1000001, 1500000, 2000000]


def test_a_very_long_line_is_passed_over() -> None:
    long = b" a-1 [000] ..... 1.000000: kvm_exit: " + b"x" * 300_000
    _, result = replayed(long + b"\n a-1 [000] ..... 1.000000: vm_destroy: vm_id=1\n" + long)
    assert (result.events, result.skipped) == (1, 2)


def test_more_names_than_anyone_has_are_counted_together() -> None:
    text = "".join(f" a-1 [000] ..... 1.000000: e{n}: \n" for n in range(5000))
    recording = Recording(text.encode())
    assert len(recording.unmapped) == 4097
    assert recording.unmapped["other"] == 904


def test_more_threads_than_anyone_has_are_refused() -> None:
    text = "".join(f" a-{n} [000] ..... 1.000000: kvm_entry: vcpu 0\n" for n in range(65_537))
    with pytest.raises(RecordingError, match="line 65537: more than 65536 threads are vCPUs"):
        for _ in Recording(text.encode()):
            pass


def test_a_recording_of_more_cpus_than_the_bench_has_says_how_many() -> None:
    with pytest.raises(ClockError, match=r"events on 4 CPUs, this bench 2; make it with Bench\(cpus=4\)"):
        Bench(cpus=2).replay(FORMATS)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_recording_is_read_as_far_as_it_goes(data: Any) -> None:
    text = bytearray((FORMATS).read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.sampled_from(["byte", "cut", "double"]))
        if kind == "byte":
            text[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del text[place : place + data.draw(st.integers(1, 40))]
        else:
            text[place:place] = text[place : place + 80]
        if not text:
            return
    try:
        recording = Recording(bytes(text))
        events = sum(len(chunk) for chunk in recording)
    except RecordingError:
        return
    assert events + recording.skipped + recording.unfit <= 2 * (text.count(b"\n") + 1)
