"""The table of KVM's events: each line of every kernel becomes the right event, with durations of its own vCPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, ExitReason
from axebpf.recording import Rule, kvm
from axebpf.tracepoints import BUILTIN

LINES = Path(__file__).parent / "data" / "recordings" / "kvm_lines.txt"


def cases() -> list[tuple[str, list[str]]]:
    """Each line of the file, and what it becomes."""
    found: list[tuple[str, list[str]]] = []
    for line in LINES.read_text().splitlines():
        if line.startswith("\t"):
            found[-1][1].append(line.strip())
        elif line and not line.startswith("#"):
            found.append((line, []))
    return [(line, [event for event in events if event != "-"]) for line, events in found]


def head(ns: int, thread: int = 40, comm: str = "CPU 3/KVM", tgid: str = "") -> str:
    return f"{comm:>16}-{thread:<7} {tgid}[001] d..1. {ns / 1e9:>5.6f}: "


class Seen:
    """A bench, and what it sees: name, time, fields as the trace shows them."""

    def __init__(self, text: str, **options: Any) -> None:
        self.bench = Bench(cpus=4)
        self.bench.enable("*")
        self.result = self.bench.replay(text.encode(), **options)

    @property
    def events(self) -> list[str]:
        return [f"{e.name} {self.bench.tracepoints[e.name]._spec.text(e.record)}" for e in self.bench.trace.records()]

    @property
    def timed(self) -> list[tuple[int, str, int]]:
        """Time in µs, event, duration in µs."""
        return [
            (e.time_ns // 1000, e.name.removeprefix("vmm:"), e.fields.get("duration_ns", -1000) // 1000)
            for e in self.bench.trace.records()
        ]


@pytest.mark.parametrize(("line", "events"), cases(), ids=lambda case: str(case)[:60])
def test_a_line_becomes_its_event(line: str, events: list[str]) -> None:
    # A first event of the thread says which vCPU it is.
    first = head(1000) + "kvm_entry: vcpu 3\n"
    seen = Seen(first + head(1_000_000) + line + "\n")
    zeroed = [event.rsplit("duration_ns=", 1) for event in seen.events[1:]]
    texts = [
        " ".join([*parts[:-1], "duration_ns=0"]).replace("  ", " ") if len(parts) > 1 else parts[0] for parts in zeroed
    ]
    assert texts == [event.replace("  ", " ") for event in events]
    assert (seen.result.problems, seen.result.unmapped) == ([], {})


def test_every_rule_has_a_line_or_leaves_its_event_out() -> None:
    shown = {line.split(":")[0] for line, _ in cases()}
    made = {rule.event.removeprefix("kvm:") for rule in kvm.RULES if rule.becomes is not None}
    # These are in the recordings of the real guest, or the same as another.
    assert made - shown == {"kvm_userspace_exit", "kvm_fast_mmio"}


@pytest.mark.parametrize("rule", kvm.RULES, ids=lambda rule: f"{rule.event} {rule.texts[:1]}")
def test_a_rule_fills_the_fields_of_its_tracepoint_or_says_why_it_makes_nothing(rule: Rule) -> None:
    if rule.becomes is None:
        assert rule.why
        assert not rule.fields
    else:
        (declared,) = (tp for tp in BUILTIN if tp.event_name == rule.becomes)
        assert set(rule.fields) == {f.name for f in declared.fields}


def test_a_run_lasts_from_its_entry_to_its_exit_on_each_vcpu_of_its_own() -> None:
    text = "".join(
        head(us * 1000, thread, "qemu") + what + "\n"
        for us, thread, what in [
            (10, 40, "kvm_entry: vcpu 0"),
            (11, 41, "kvm_entry: vcpu 1"),
            (15, 40, "kvm_exit: reason HLT rip 0x0 info 0 0"),
            (17, 41, "kvm_exit: reason CPUID rip 0x0 info 0 0"),
            (20, 40, "kvm_entry: vcpu 0"),
            (90, 40, "kvm_exit: reason VMCALL rip 0x0 info 0 0"),
        ]
    )
    seen = Seen(text)
    assert seen.timed == [
        (10, "vcpu_run_enter", -1),
        (11, "vcpu_run_enter", -1),
        (15, "vcpu_run_exit", 5),
        (17, "vcpu_run_exit", 6),
        (20, "vcpu_run_enter", -1),
        (90, "vcpu_run_exit", 70),
    ]
    assert seen.events[5] == "vmm:vcpu_run_exit vm_id=1 vcpu_id=0 exit_reason=0 duration_ns=70000"


def test_an_exit_without_its_entry_has_no_duration() -> None:
    exits = "kvm_exit: reason HLT rip 0x0 info 0 0\n"
    seen = Seen(head(10_000) + "kvm_entry: vcpu 0\n" + head(15_000) + exits + head(16_000) + exits)
    assert [duration for _, name, duration in seen.timed if name == "vcpu_run_exit"] == [5, 0]
    assert seen.result.unpaired == 1


def test_a_hypercall_is_done_at_the_next_entry() -> None:
    text = "".join(
        head(us * 1000) + what + "\n"
        for us, what in [
            (10, "kvm_entry: vcpu 0"),
            (20, "kvm_exit: reason VMCALL rip 0x0 info 0 0"),
            (21, "kvm_hypercall: nr 0x5 a0 0x0 a1 0x1 a2 0x0 a3 0x0"),
            (29, "kvm_entry: vcpu 0"),
            (40, "kvm_exit: reason EPT_VIOLATION rip 0x0 info 0 0"),
            (41, "kvm_page_fault: vcpu 0 rip 0x0 address 0x1000 error_code 0x2"),
        ]
    )
    seen = Seen(text)
    assert seen.timed == [
        (10, "vcpu_run_enter", -1),
        (20, "vcpu_run_exit", 10),
        (29, "hypercall", 9),
        (29, "vcpu_run_enter", -1),
        (40, "vcpu_run_exit", 11),
        (41, "page_fault", 0),  # the recording ends before the next entry
    ]
    assert seen.result.unpaired == 1


def test_a_gap_in_the_recording_ends_what_had_begun() -> None:
    text = (
        head(10_000)
        + "kvm_entry: vcpu 0\nCPU:1 [LOST 12 EVENTS]\n"
        + head(900_000)
        + "kvm_exit: reason HLT rip 0x0 info 0 0\n"
    )
    seen = Seen(text)
    assert [duration for _, name, duration in seen.timed if name == "vcpu_run_exit"] == [0]
    assert (seen.result.lost_by_recorder, seen.result.unpaired) == (12, 1)
    assert seen.result.problems == ["line 2: the recorder lost 12 events of CPU 1"]


def test_exits_to_user_space_count_only_where_no_exits_are_recorded() -> None:
    user, own = "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)\n", "kvm_exit: reason HLT rip 0x0 info 0 0\n"
    only = Seen(head(1000) + user)
    assert only.events == ["vmm:vcpu_run_exit vm_id=1 vcpu_id=3 exit_reason=2 duration_ns=0"]
    # Wherever in the recording the exit is, and in whatever thread.
    both = Seen(head(1000) + user + head(2000, 99) + own)
    assert both.result.by_tracepoint == {"vmm:vcpu_run_exit": 1}
    assert both.result.passed_over == {"kvm:kvm_userspace_exit": 1}


def ids(text: str) -> list[tuple[int, int]]:
    """VM and vCPU of each event."""
    bench, seen = Bench(cpus=4), list[tuple[int, int]]()
    bench.tracepoints["vmm:vcpu_run_enter"].on(lambda event: seen.append((event.vm_id, event.vcpu_id)))
    bench.replay(text.encode())
    return seen


def entries(*threads: tuple[int, str, str, str]) -> str:
    return "".join(
        head(1000 * n, thread, comm, tgid) + f"kvm_entry: {text}\n"
        for n, (thread, comm, tgid, text) in enumerate(threads, 1)
    )


def test_vcpus_and_vms_are_told_apart() -> None:
    pc = "PC: 0x0"
    # By the event's own number; a second thread for a number is another VM.
    four = entries((1, "q", "", "vcpu 0"), (2, "q", "", "vcpu 1"), (3, "q", "", "vcpu 0"), (4, "q", "", "vcpu 1"))
    assert ids(four) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    # By the process, where it is recorded.
    a, b = "(      8) ", "(      9) "
    three = entries(
        (1, "q", a, "vcpu 0"), (2, "q", b, "vcpu 1"), (3, "q", a, "vcpu 2"), (4, "q", "(-------) ", "vcpu 3")
    )
    assert ids(three) == [(1, 0), (2, 1), (1, 2), (2, 3)]
    # By the thread's name: QEMU, Firecracker, crosvm.
    assert ids(entries((1, "CPU 5/KVM", "", pc), (2, "fc_vcpu 6", "", pc), (3, "crosvm_vcpu7", "", pc))) == [
        (1, 5), (1, 6), (1, 7),
    ]  # fmt: skip
    # Or by order; a thread stays who it is.
    assert ids(entries((9, "x", "", pc), (8, "x", "", pc), (9, "x", "", pc))) == [(1, 0), (1, 1), (1, 0)]
    # What an event says holds from then on.
    assert ids(entries((9, "x", "", pc), (9, "x", "", "vcpu 4"), (9, "x", "", pc))) == [(1, 0), (1, 4), (1, 4)]


def test_reasons_that_axvisor_handles_in_place_are_nothing() -> None:
    assert Seen(head(1000) + "kvm_exit: reason XSETBV rip 0x0 info 0 0\n").events == [
        f"vmm:vcpu_run_exit vm_id=1 vcpu_id=3 exit_reason={ExitReason.NOTHING} duration_ns=0"
    ]
