"""Every example on both targets with the same events: equal maps, or the report on portability says why not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, PortabilityError, PortabilityWarning
from axebpf.examples import available, example
from axebpf.portability import GAPS

FIXTURES = Path(__file__).parent / "fixtures" / "axvisor"

ATOMIC, PER_CPU = "atomic operation", "other kinds of map"
RECORD, STORE = "record of a tracepoint", "store through a looked-up value"

EXPECTED: dict[str, tuple[str, set[str]]] = {
    "boot_time_line.bpf.o": ("different", {RECORD, STORE}),
    "exits.bpf.o": ("refused", {ATOMIC}),
    "exits_axvisor.bpf.o": ("equal", set()),
    "hypercalls.bpf.o": ("refused", {ATOMIC}),
    "irq_latency.bpf.o": ("refused", {ATOMIC}),
    "latency.bpf.o": ("refused", {PER_CPU}),
    "page_faults.bpf.o": ("refused", {ATOMIC}),
    "run_time.bpf.o": ("different", {RECORD, STORE}),
    "slow_exits.bpf.o": ("refused", {ATOMIC}),
    "task_switches.bpf.o": ("refused", {ATOMIC, PER_CPU}),
    "timer_drift.bpf.o": ("refused", {PER_CPU}),
    "printk.bpf.o": ("equal", set()),
    "stats.bpf.o": ("equal", set()),
}
"""What becomes of each on target axvisor, and the gaps because of which; the last two are AxVisor's own programs."""


def found(name: str) -> Path:
    return FIXTURES / name if (FIXTURES / name).exists() else example(name)


def maps_after_a_boot(name: str, **side: Any) -> dict[str, Any]:
    with Bench(cpus=4, **side) as bench:
        loaded = bench.load(found(name))
        loaded.attach()
        ran = bench.run("boot", vms=2, vcpus=2, seed=7, duration_s=1.0)
        assert sum(program.runs for program in ran.programs.values()) > 5
        return {map.name: list(map) if map.type == "ringbuf" else map.to_dict() for map in loaded.maps.values()}


def test_every_example_is_among_them() -> None:
    assert [name for name in EXPECTED if found(name).parent != FIXTURES] == available()


@pytest.mark.parametrize("name", EXPECTED)
def test_maps_are_equal_on_both_targets_or_the_report_says_why_not(name: str) -> None:
    expected, gaps = EXPECTED[name]
    on_linux = maps_after_a_boot(name)
    with Bench() as bench:
        reports = [program.portability["axvisor"] for program in bench.load(found(name)).values()]
    findings = [finding for report in reports for finding in report.findings]
    told = {finding.gap for finding in findings if finding.effect == "refused" or expected != "refused"}
    assert told >= gaps
    assert all(finding.reason and (finding.line or finding.insn is None) for finding in findings)
    match expected:
        case "equal":
            assert {report.verdict for report in reports} == {"runs"}
            assert maps_after_a_boot(name, target="axvisor") == on_linux
        case "refused":
            with pytest.raises(PortabilityError) as refused:
                maps_after_a_boot(name, target="axvisor")
            assert refused.value.gap in gaps
            assert "refused" in {report.verdict for report in reports}
        case "different":
            assert {report.verdict for report in reports} == {"differs"}
            with warnings.catch_warnings(action="ignore", category=PortabilityWarning):
                assert maps_after_a_boot(name, target="axvisor") != on_linux
            # Nothing but what the report names makes the difference: AxVisor's VM and maps come to the same.
            assert {gap.part for gap in GAPS if gap.name in told} <= {"helpers", "context"}
            assert maps_after_a_boot(name, engine="rbpf", maps="kbpf") == on_linux
