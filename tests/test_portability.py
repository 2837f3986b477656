"""`program.portability`, the warning and the error of target axvisor, and the table of gaps from Python."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable
from pathlib import Path

import axebpf
import pytest
from axebpf import (
    Bench,
    LoadError,
    MapError,
    MapPortabilityError,
    PortabilityError,
    PortabilityWarning,
    assemble,
)
from axebpf.examples import example
from axebpf.portability import GAPS, Finding, Portability

FIXTURES = Path(__file__).parent / "fixtures" / "axvisor"

# Counts in an array, by a store through the pointer that it looked up.
COUNTS_IN_PLACE = """
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} COUNT SEC(".maps");

SEC("axvisor/vmm/vm_boot")
int in_place(void *ctx)
{
    __u32 key = 0;
    __u64 *count = bpf_map_lookup_elem(&COUNT, &key);

    if (count)
        *count += 1; /* the store */
    return 0;
}

SEC("axvisor/vmm/vm_boot")
int by_update(void *ctx)
{
    __u32 key = 0;
    __u64 *count = bpf_map_lookup_elem(&COUNT, &key);
    __u64 next = count ? *count + 1 : 1;

    bpf_map_update_elem(&COUNT, &key, &next, BPF_ANY);
    return 0;
}
"""

PER_CPU = """
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} PER_CPU SEC(".maps");

SEC("axvisor/vmm/vm_boot")
int of_no_map(void *ctx)
{
    return 0;
}
"""


@pytest.fixture
def counts_in_place(compile_bpf: Callable[..., Path]) -> Path:
    return compile_bpf("counts_in_place", COUNTS_IN_PLACE)


def gaps_of(report: Portability) -> set[str | None]:
    return {finding.gap for finding in report.findings}


def test_a_program_that_differs_says_where_and_why(counts_in_place: Path) -> None:
    programs = Bench().load(counts_in_place)
    report = programs["in_place"].portability["axvisor"]
    assert report.verdict == "differs"
    (finding,) = report.findings
    assert (finding.gap, finding.effect) == ("store through a looked-up value", "differs")
    assert finding.line is not None
    assert finding.line.text == "*count += 1; /* the store */"
    assert finding.instead == "store with bpf_map_update_elem"
    assert str(finding).startswith(f"{finding.line}, instruction {finding.insn}: a store through the pointer")
    assert programs["by_update"].portability["axvisor"] == Portability("runs", ())


def test_what_the_report_says_is_what_happens(counts_in_place: Path) -> None:
    for target, in_place, by_update in (("linux", 3, 6), ("axvisor", 0, 3)):
        with warnings.catch_warnings(action="ignore", category=PortabilityWarning), Bench(target=target) as bench:
            programs = bench.load(counts_in_place)
            for name, expected in (("in_place", in_place), ("by_update", by_update)):
                for _ in range(3):
                    programs[name].run(bytes(64))
                assert bench.maps["COUNT"][0] == expected, (target, name)


def test_programs_written_for_axvisor_run_there() -> None:
    for name in ("printk", "stats"):
        programs = Bench(target="axvisor").load(FIXTURES / f"{name}.bpf.o")
        assert programs[name].portability["axvisor"].verdict == "runs"
        assert programs[name].portability["linux"].verdict == "refused"  # Linux has no such type


def test_the_report_is_the_same_on_every_bench(counts_in_place: Path) -> None:
    with pytest.warns(PortabilityWarning):
        there = Bench(target="axvisor").load(counts_in_place)["in_place"].portability
    assert Bench().load(counts_in_place)["in_place"].portability == there


def test_of_linux_only_refusals_are_known() -> None:
    bench = Bench()
    unknown = bench.load_bytes(assemble("r0 = 0\nexit"), type="tracepoint").portability["linux"]
    assert unknown.verdict == "unknown"
    assert "no verifier yet" in unknown.findings[0].reason
    for text, type, license, reason in (
        ("call bpf_get_current_vm_id\nexit", "tracepoint", "GPL", "it is AxVisor's"),
        (
            "call bpf_ktime_get_ns\ncall bpf_get_prandom_u32\nr3 = 8\ncallx r3\nexit",
            "tracepoint",
            "GPL",
            "verifier refuses",
        ),
        ("r0 = 0\nexit", "axvisor", "GPL", "Linux has no programs of type axvisor"),
        ("r0 = 0\nexit", "mem", "GPL", "Linux has no programs of type mem"),
    ):
        report = bench.load_bytes(assemble(text), type=type, license=license).portability["linux"]
        assert report.verdict == "refused", text
        assert reason in report.findings[0].reason


def test_a_helper_of_ones_own_is_refused_by_both() -> None:
    bench = Bench()

    @bench.helper("u64 own(u32 vm)", id=0x10000)
    def own(vm: int) -> int:
        return vm

    report = bench.load_bytes(assemble("r1 = 1\ncall own#65536\nr0 = 0\nexit"), type="tracepoint").portability
    assert [of.verdict for of in report.values()] == ["refused", "refused"]
    assert [of.findings[0].insn for of in report.values()] == [1, 1]


def test_load_warns_once_for_each_program_that_differs(counts_in_place: Path) -> None:
    with pytest.warns(PortabilityWarning) as warned:
        Bench(target="axvisor").load(counts_in_place)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    told = str(warned[0].message)
    assert told.startswith("in_place comes to something else on AxVisor than on Linux, or may: ")
    for part in ("counts_in_place.bpf.c:", "a store through the pointer", "program.portability"):
        assert part in told


def test_a_warning_that_is_an_error_leaves_nothing(counts_in_place: Path) -> None:
    with Bench(target="axvisor") as bench:
        with warnings.catch_warnings(action="error"), pytest.raises(PortabilityWarning):
            bench.load(counts_in_place)
        assert not bench.programs
        assert not bench.maps


def test_what_is_refused_names_program_instruction_line_and_way_out() -> None:
    with Bench(target="axvisor") as bench:
        with pytest.raises(PortabilityError) as caught:
            bench.load(example("exits.bpf.o"))
        error = caught.value
        assert isinstance(error, LoadError)
        assert (error.program, error.section) == ("on_exit", "tracepoint/vmm/vcpu_run_exit")
        assert error.file is not None
        assert error.file.endswith("exits.bpf.o")
        assert error.source is not None
        assert "__sync_fetch_and_add" in error.source.text
        assert (error.gap, error.reason) == (
            "atomic operation",
            "rbpf 0.4.1, AxVisor's VM, refuses it: XADD instructions are not supported",
        )
        assert error.instead == next(gap.instead for gap in GAPS if gap.name == error.gap)
        for part in (f"instruction {error.instruction}", error.reason, error.instead, "exits.bpf.c:"):
            assert part in str(error)
        assert not bench.programs
        assert not bench.maps
        assert bench.load_bytes(assemble("r0 = 5\nexit")).run(bytes(64)).r0 == 5
    report = Bench().load(example("exits.bpf.o"))["on_exit"].portability["axvisor"]
    refused = [finding for finding in report.findings if finding.effect == "refused"]
    assert (refused[0].insn, refused[0].line, refused[0].gap) == (error.instruction, error.source, error.gap)


def test_a_map_that_is_refused_is_one_error_of_both_kinds(compile_bpf: Callable[..., Path]) -> None:
    per_cpu = compile_bpf("per_cpu", PER_CPU)
    with Bench(target="axvisor") as bench:
        with pytest.raises(
            PortabilityError, match=r"per_cpu\.bpf\.o: map PER_CPU: AxVisor has no percpu_array"
        ) as caught:
            bench.load(per_cpu)
        assert isinstance(caught.value, MapError)
        assert (caught.value.errno, caught.value.map, caught.value.gap) == (
            errno.EPERM,
            "PER_CPU",
            "other kinds of map",
        )
        with pytest.raises(MapPortabilityError):
            bench.create_map("percpu_hash", 4, 8, 1)
        assert not bench.maps
    # The object is refused, so each of its programs is.
    report = Bench().load(per_cpu)["of_no_map"].portability["axvisor"]
    assert (report.verdict, gaps_of(report)) == ("refused", {"other kinds of map"})


def test_values_of_globals_are_refused_there() -> None:
    with pytest.raises(PortabilityError, match="AxVisor's loader drops what global variables hold"):
        Bench(target="axvisor").load(example("exits.bpf.o"), rodata={"threshold_ns": 1})


def test_the_tables_rows_are_names_that_findings_have(counts_in_place: Path) -> None:
    names = [gap.name for gap in GAPS]
    assert len(set(names)) == len(names) > 35
    assert {gap.effect for gap in GAPS} == {"refused", "differs"}
    assert {gap.part for gap in GAPS} == {"vm", "maps", "helpers", "loader", "context"}
    for name in ("exits.bpf.o", "run_time.bpf.o", "latency.bpf.o"):
        for program in Bench().load(example(name)).values():
            found = program.portability["axvisor"].findings
            assert {finding.gap for finding in found} <= set(names)
            assert "record of a tracepoint" in {finding.gap for finding in found}


def test_an_unloaded_program_has_no_report() -> None:
    program = Bench().load_bytes(assemble("r0 = 0\nexit"))
    program.unload()
    with pytest.raises(axebpf.AttachError, match="has been unloaded"):
        _ = program.portability


def test_texts_say_verdict_and_findings() -> None:
    finding = Finding(None, "refused", 3, None, "a thing", "it is refused", "another one")
    assert str(finding) == "instruction 3: a thing: it is refused; instead: another one"
    assert str(Portability("refused", (finding,))) == f"refused\n  {finding}"
    assert str(Portability("runs", ())) == "runs"


@pytest.mark.axebpf(target="axvisor")
def test_the_warning_is_about_the_line_that_loads_through_the_fixture_too(bench: Bench) -> None:
    for loader in (bench, Bench(target="axvisor")):
        with pytest.warns(PortabilityWarning) as warned:
            loader.load(example("run_time.bpf.o"))
        assert {warning.filename for warning in warned} == {__file__}
