"""Recordings that are damaged, strange or none at all: counted and reported, or refused; the bench works on."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, FieldError, ProgramFault, RecordingError, assemble
from axebpf.examples import example
from axebpf.recording import Recording, Rule, bits, named, place

GUEST = Path(__file__).parent / "data" / "recordings" / "guest.trace_pipe.txt"

BOOT = b"  axvisor-0       [000] .....     1.000000: vm_boot: vm_id=1 duration_ns=1500\n"


def works(bench: Bench) -> bool:
    """Whether a bench fires, counts and replays."""
    before = bench.tracepoints["vmm:vm_boot"].fired
    bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=2)
    return bench.replay(BOOT).events == 1 and bench.tracepoints["vmm:vm_boot"].fired == before + 2


def test_a_recording_that_ends_in_mid_line_loses_that_line_only() -> None:
    whole = GUEST.read_bytes()
    lines = whole.splitlines(keepends=True)
    last = lines[-1]
    for cut in (1, 2, 20, len(last) - 12):
        result = Bench(cpus=2).replay(whole[:-cut])
        assert result.skipped == 1
        assert result.problems[0].startswith(f"line {len(lines)}: is cut off, it has no end: ")
        assert sum(result.recorded.values()) == len(lines) - 1
    # A number that was cut in two would be another number.
    assert Bench().replay(BOOT + BOOT[:-3]).by_tracepoint == {"vmm:vm_boot": 1}


def test_a_line_that_is_cut_in_the_middle_of_the_file_is_reported() -> None:
    result = Bench().replay(BOOT + BOOT[:30] + b"\n" + BOOT[:65] + BOOT)
    assert result.by_tracepoint == {"vmm:vm_boot": 1}
    assert (result.skipped, result.unmapped) == (1, {"vmm:vm_boot": 1})
    assert result.problems[0] == "line 2: is no event: axvisor-0       [000] ....."
    assert result.problems[1].startswith("line 3: vmm:vm_boot has a text of an unknown form: vm_id=1 dura  axvisor-0 ")


def test_a_clock_that_goes_backwards_keeps_the_order_of_the_file() -> None:
    def line(cpu: int, us: int, vm: int) -> bytes:
        return b"  axvisor-0 [%03d] ..... 1.%06d: vm_destroy: vm_id=%d\n" % (cpu, us, vm)

    bench, seen = Bench(), list[tuple[int, int]]()
    bench.tracepoints["vmm:vm_destroy"].on(lambda event: seen.append((event.vm_id, event.time_ns)))
    # The clocks of two CPUs may differ; each counts for itself.
    result = bench.replay(line(0, 50, 1) + line(1, 10, 2) + line(0, 20, 3) + line(1, 10, 4))
    assert seen == [(1, 1_000_050_000), (2, 1_000_010_000), (3, 1_000_020_000), (4, 1_000_010_000)]
    assert (result.backwards, result.skipped) == (1, 0)
    assert result.problems == ["line 3: the clock of CPU 0 goes back by 30000 ns"]
    assert result.time_ns == 1_000_010_000


def test_durations_are_never_negative() -> None:
    text = (
        b"  q-1 [000] ..... 2.000000: kvm_entry: vcpu 0\n"
        b"  q-1 [000] ..... 1.000000: kvm_exit: reason HLT rip 0x0 info 0 0\n"
    )
    bench = Bench()
    assert bench.replay(text).unpaired == 1
    assert bench.stats["vmm:vcpu_run_exit"].max_ns == 0


def test_unknown_events_are_counted_and_listed() -> None:
    strange = b"  q-1 [000] ..... 1.000000: hello_world: a=1\n  q-1 [000] ..... 1.000000: no:such: \n"
    result = Bench().replay(strange + BOOT + strange)
    assert result.unmapped == {"hello_world": 2, "no:such": 2}
    assert result.events == 1


def test_more_names_than_are_told_apart_are_counted_together() -> None:
    text = b"".join(b"  q-1 [000] ..... 1.000000: event%d: \n" % n for n in range(10_000))
    result = Bench().replay(text)
    assert sum(result.unmapped.values()) == 10_000
    assert len(result.unmapped) < 5000
    assert result.unmapped["(other events)"] > 5000


def test_values_that_a_field_cannot_hold_are_reported() -> None:
    result = Bench().replay(BOOT.replace(b"vm_id=1", b"vm_id=4294967296") + BOOT.replace(b"=1500", b"=-1"))
    assert result.events == 0
    assert result.problems == [
        "line 1: vmm:vm_boot does not fit: vmm:vm_boot: vm_id is u32 and takes 0 to 4294967295, not 4294967296",
        "line 2: vmm:vm_boot does not fit: vmm:vm_boot: duration_ns is u64 and takes 0 to 18446744073709551615, not -1",
    ]


def test_names_and_texts_need_not_be_utf8() -> None:
    bench = Bench()
    bench.enable("vmm:vm_boot")
    result = bench.replay(b"\xff\xfe-]: x-7 [000] ..... 1.000000: vm_boot: vm_id=1 duration_ns=2\n\x80\x81\n" + BOOT)
    assert (result.events, result.skipped) == (2, 1)
    assert next((event.pid, event.comm) for event in bench.trace.records()) == (7, "\ufffd\ufffd-]: x")


def test_very_long_lines_are_passed_over() -> None:
    result = Bench().replay(BOOT + b"x" * 3_000_000 + b"\n" + BOOT + b"y" * 100_000)
    assert (result.events, result.skipped) == (2, 2)
    assert [problem.split(":")[0] for problem in result.problems] == ["line 2", "line 4"]


def test_only_the_first_problems_are_kept() -> None:
    result = Bench().replay(BOOT + b"nonsense\n" * 1000)
    assert len(result.problems) == 21
    assert result.problems[-1] == "and 980 more"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "<bytes>: no event in 0 line(s): expected ftrace text"),
        (b"\n\n", "<bytes>: no event in 2 line(s)"),
        (b"Dear sir,\nhello\n", "<bytes>, line 1: no event in 2 line(s)"),
        (b"# a comment\nint main(void) {}\n", "<bytes>, line 2: no event in 2 line(s)"),
        (random.Random(1).randbytes(10_000), "no event in "),
        (b"\x17\x08\x44tracing6\0", "<bytes>: this is a trace.dat of trace-cmd, not text; trace-cmd report FILE"),
        (b"PERFILE2\0\0", "<bytes>: this is a perf.data, not text; perf script"),
        (example("exits.bpf.o").read_bytes(), "<bytes>: this is an object file, not text; the recording comes first"),
        (gzip.compress(BOOT), "<bytes>: this is compressed with gzip, not text; gunzip it first"),
        (b"\x28\xb5\x2f\xfd\0", "<bytes>: this is compressed with zstd, not text; unzstd it first"),
    ],
    ids=["empty", "blank", "prose", "code", "random", "trace.dat", "perf.data", "object", "gzip", "zstd"],
)
def test_what_is_no_recording_is_refused(data: bytes, message: str) -> None:
    bench = Bench()
    with pytest.raises(RecordingError) as refused:
        bench.replay(data)
    assert message in str(refused.value)
    assert works(bench)


def test_a_recording_without_events_is_one() -> None:
    head = Bench().trace.text(header=True).encode()
    assert Bench().replay(head).events == 0


def test_a_large_file_that_is_no_recording_is_given_up() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return b"no\n" * (size // 3)

    with pytest.raises(RecordingError, match="no event in 1"):
        Bench().replay(Endless())


def test_a_recording_of_more_cpus_says_how_many() -> None:
    bench = Bench(cpus=2)
    with pytest.raises(RecordingError) as refused:
        bench.replay(BOOT + BOOT.replace(b"[000]", b"[006]") + BOOT.replace(b"[000]", b"[002]"))
    assert str(refused.value) == "<bytes>: its events are on 7 CPUs, this bench has 2; make it with Bench(cpus=7)"
    assert bench.tracepoints["vmm:vm_boot"].fired == 0, "nothing was fired"
    assert works(bench)


def test_a_pipe_with_more_cpus_stops_at_the_first_event_that_is_too_much() -> None:
    bench = Bench(cpus=2)
    with pytest.raises(RecordingError) as refused:
        bench.replay(io.BytesIO(BOOT + BOOT.replace(b"[000]", b"[006]") + BOOT))
    assert (refused.value.line, str(refused.value)) == (
        2,
        "<stream>, line 2: an event on CPU 6; this bench has 2: make it with Bench(cpus=7)",
    )
    assert bench.tracepoints["vmm:vm_boot"].fired == 1
    assert works(bench)


def test_numbers_without_end_are_no_event() -> None:
    for old, new in ((b"[000]", b"[99999999999]"), (b"-0 ", b"-99999999999 "), (b" 1.0", b" 99999999999999999999.0")):
        result = Bench().replay(BOOT + BOOT.replace(old, new))
        assert (result.events, result.skipped) == (1, 1)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nothing.txt: cannot be read: No such file"):
        Bench().replay(tmp_path / "nothing.txt")
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        Bench().replay(tmp_path)
    with pytest.raises(RecordingError, match="a path, bytes or a file open for reading, not int"):
        Bench().replay(7)
    with pytest.raises(RecordingError, match="can be read only once"):
        Recording(io.BytesIO(BOOT)).cpus()


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(RecordingError, match="no format 'ftrac'; did you mean ftrace"):
        Bench().replay(BOOT, format="ftrac")


def test_a_program_that_is_stopped_stops_the_replay() -> None:
    bench = Bench(cpus=2)
    program = bench.load_bytes(assemble("r1 = 0\nr0 = *(u64 *)(r1 +0)\nexit"), type="tracepoint")
    program.attach("vmm:vcpu_run_exit")
    with pytest.raises(ProgramFault):
        bench.replay(GUEST)
    assert bench.tracepoints["vmm:vcpu_run_exit"].fired == 1
    program.unload(force=True)
    assert bench.replay(GUEST).by_tracepoint["vmm:vcpu_run_exit"] == 42


def test_a_callback_that_fails_stops_the_replay() -> None:
    bench = Bench(cpus=2)

    def fails(event: Any) -> None:
        raise FieldError("no more")

    listener = bench.tracepoints["vmm:vcpu_halt"].on(fails)
    with pytest.raises(FieldError, match="no more"):
        bench.replay(GUEST)
    listener.remove()
    assert bench.replay(GUEST).by_tracepoint["vmm:vcpu_halt"] == 17


def test_a_callback_may_replay_another_recording() -> None:
    bench = Bench(cpus=2)
    bench.tracepoints["vmm:vcpu_halt"].on(lambda event: bench.replay(BOOT))
    assert bench.replay(GUEST).by_tracepoint["vmm:vm_boot"] == 17


def test_a_closed_bench_replays_nothing() -> None:
    bench = Bench()
    bench.close()
    with pytest.raises(Exception, match="the bench is closed"):
        bench.replay(BOOT)


FIELDS = {"vm_id": 1, "duration_ns": place("ns")}

RULES = {
    'the rule for a:b: the text "{ns" cannot be matched: a { without its }': Rule("a:b", "{ns", "vmm:vm_boot", FIELDS),
    'the rule for a:b: the text "ns}" cannot be matched: a } without its {': Rule("a:b", "ns}", "vmm:vm_boot", FIELDS),
    'the rule for a:b: the text "{ns:s}{x}" cannot be matched: a text needs a literal behind it, or the end': Rule(
        "a:b", "{ns:s}{x}", "vmm:vm_boot", FIELDS
    ),
    'the rule for a:b: the text "{ns:q}" cannot be matched: a place is {name}, {name:x}, {name:s} or {}': Rule(
        "a:b", "{ns:q}", "vmm:vm_boot", FIELDS
    ),
    "the rule for a:b takes duration_ns from {nss}, which its text does not have; did you mean ns?": Rule(
        "a:b", "{ns}", "vmm:vm_boot", {"vm_id": 1, "duration_ns": place("nss")}
    ),
    "the rule for a:b gives vmm:vm_boot.duration_ns 0 values; a field takes one": Rule(
        "a:b", "{ns}", "vmm:vm_boot", {"vm_id": 1}
    ),
    "the rule for a:b: vmm:vm_boot has no field duration; did you mean duration_ns?": Rule(
        "a:b", "{ns}", "vmm:vm_boot", {**FIELDS, "duration": 1}
    ),
    "the rule for a:b: no tracepoint vmm:vm_bot; did you mean vmm:vm_boot?": Rule("a:b", "{ns}", "vmm:vm_bot", FIELDS),
}


@pytest.mark.parametrize("message", RULES)
def test_a_rule_that_cannot_be_says_why(message: str) -> None:
    bench = Bench()
    with pytest.raises(RecordingError) as refused:
        bench.replay(BOOT, mapping=[RULES[message]])
    assert str(refused.value) == message
    assert works(bench)


def test_too_many_places_and_marks_are_refused() -> None:
    with pytest.raises(RecordingError, match="cannot be matched: more than 16 places"):
        Bench().replay(BOOT, mapping=[Rule("a:b", " ".join(f"{{p{n}}}" for n in range(17)))])
    with pytest.raises(RecordingError, match="17 marks; the rules may have 16"):
        Bench().replay(BOOT, mapping=[Rule("a:b", "", sets=f"mark {n}") for n in range(17)])


def test_values_of_rules_are_as_they_say() -> None:
    rule = Rule(
        "x:y",
        "{a} {b:s}, {c:x}",
        "vmm:device_access",
        {
            "vm_id": place("a", shift=4),
            "device_id": named("b", {"one": 1, "bit": bits("a", {0: 7}, other=8)}, other=9),
            "addr": place("c"),
            "is_write": bits("c", {63: 1}, other=0),
        },
        on_vcpu=False,
    )
    texts = [b"1 one, ff", b"2 bit, 0x10", b"3 bit, 8000000000000000", b"4 else, 0"]
    bench, seen = Bench(), list[tuple[int, ...]]()
    bench.tracepoints["vmm:device_access"].on(lambda event: seen.append(tuple(event.fields.values())))
    bench.replay(b"".join(b"  q-1 [000] ..... 1.000000: y: %s\n" % text for text in texts), mapping=[rule])
    assert seen == [(16, 1, 0xFF, 0), (32, 8, 0x10, 0), (48, 7, 1 << 63, 1), (64, 9, 0, 0)]


def test_examples_still_load_beside_a_refused_recording() -> None:
    bench = Bench()
    bench.load(example("exits.bpf.o")).attach()
    with pytest.raises(RecordingError):
        bench.replay(b"nothing of the kind\n")
    assert works(bench)
