"""Filters from Python: what they let through, over one event and over columns, and what an error says."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import Annotated

import axebpf
import numpy as np
import pytest
from axebpf import Bench, FieldError, FilterError, NotFound, Tracepoint, assemble, bool_, char, i32, u8, u32, u64
from axebpf.filters import Filter
from axebpf.trace import Event
from axebpf.tracepoints.definitions import VcpuRunExit


class Mixed(Tracepoint, name="own:mixed", id=300):
    """A field of each kind."""

    small: u8
    delta: i32
    big: u64
    on: bool_
    who: Annotated[bytes, char[8]]
    several: Annotated[list[int], u32[2]]


def columns(rows: int) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(5)
    return {
        "small": dice.integers(0, 256, rows, np.uint8),
        "delta": dice.integers(-(2**31), 2**31, rows, np.int32),
        "big": dice.integers(0, 2**64, rows, np.uint64),
        "on": dice.integers(0, 2, rows).astype(bool),
        "who": dice.choice(np.array([b"init", b"vcpu0", b"vcpu1", b"kworker1"]), rows),
        "several": dice.integers(0, 9, (rows, 2)),
    }


EXPRESSIONS = [
    ("small >= 100 && delta < 0", lambda t: (t["small"] >= 100) & (t["delta"] < 0)),
    ("big > 0x8000000000000000 || on == 1", lambda t: (t["big"] > np.uint64(1 << 63)) | t["on"]),
    ("!(small & 6) && big & 1 == 1", lambda t: ((t["small"] & 6) == 0) & ((t["big"] & np.uint64(1)) == 1)),
    ("who ~ 'vcpu?' && who != \"vcpu1\"", lambda t: t["who"] == b"vcpu0"),
    ("delta == -5 || who == 'kworker1'", lambda t: (t["delta"] == -5) | (t["who"] == b"kworker1")),
]


@pytest.mark.parametrize(("text", "meaning"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_what_passes_is_what_numpy_says(text: str, meaning) -> None:
    table = columns(3000)
    expected = meaning(table)
    assert 0 < expected.sum() < 3000
    chosen = Filter(Mixed, text)
    mask = chosen.mask(**table)
    assert mask.dtype == np.bool_
    assert (mask == expected).all()
    assert (chosen.mask(**{name: table[name] for name in chosen.fields}) == expected).all()
    with Bench(clock=1) as bench:
        mixed = bench.define(Mixed)
        mixed.enabled, mixed.filter = True, text
        mixed.fire_many(**table)
        assert [event.big for event in bench.trace.records()] == table["big"][expected].tolist()
        assert (mixed.fired, bench.stats["own:mixed"].count) == (3000, 3000)


def test_a_table_of_whole_records_has_the_common_fields() -> None:
    records = np.zeros(3, Mixed.dtype)
    records["common_pid"] = [7, -1, 7]
    records["small"] = [1, 1, 2]
    assert Filter(Mixed, "common_pid == 7 && small == 1").mask(records).tolist() == [True, False, False]
    assert Filter(Mixed, "cpu == 1").mask(records, cpu=[0, 1, 1]).tolist() == [False, True, True]
    with pytest.raises(FieldError, match="3 records, cpu has 2"):
        Filter(Mixed, "cpu == 1").mask(records, cpu=[0, 1])
    without = np.zeros(3, [("small", "u1"), ("cpu", "u4")])
    without["small"] = [3, 4, 5]
    assert Filter(Mixed, "small > 3 && cpu == 0").mask(without, small=[9, 3, 9]).tolist() == [True, False, True]


def test_single_values_answer_for_all_rows() -> None:
    chosen = Filter(Mixed, "small == 1 && comm == 'vmm'")
    assert chosen.mask(small=1, comm="vmm").tolist() == [True]
    assert chosen.mask(small=1, delta=[1, 2, 3], comm="vmm").tolist() == [True] * 3
    assert chosen.mask(small=1, delta=[]).tolist() == []
    assert Filter(Mixed, "cpu & CPUS{1,3}").mask(cpu=[0, 1, 2, 3]).tolist() == [False, True, False, True]


def test_columns_that_do_not_fit_are_refused() -> None:
    chosen = Filter(Mixed, "small == 1 && cpu == 0")
    for given, message in [
        ({}, "no column for small, cpu, which the filter looks at"),
        ({"small": [1], "cpu": [0, 0]}, "columns of unequal length: small has 1, cpu has 2"),
        ({"small": [256], "cpu": 0}, "small is u8 and takes 0 to 255, not 256"),
        ({"smal": [1], "small": [1], "cpu": 0}, "no field smal; did you mean small"),
    ]:
        with pytest.raises(FieldError, match=message):
            chosen.mask(**given)


def test_one_event_is_asked_by_itself() -> None:
    with Bench(cpus=4) as bench:
        exits = bench.tracepoints["vmm:vcpu_run_exit"]
        exits.enabled = True
        exits.fire(vm_id=1, vcpu_id=0, exit_reason=3, duration_ns=900, cpu=2)
        (event,) = bench.trace.records()
    assert isinstance(event, Event)
    assert Filter(exits, "cpu == 2 && comm == 'axvisor' && duration_ns == 900").matches(event)
    other = Filter(VcpuRunExit, "duration_ns == 900 && cpu == 1 && comm ~ 'k*'")
    assert not other.matches(event)
    assert other.matches(event.record, cpu=1, comm="kworker")
    with pytest.raises(FieldError, match="the filter is for own:mixed"):
        Filter(Mixed, "small == 1").matches(event)
    with pytest.raises(FieldError, match="bytes, not 3"):
        other.matches(b"abc")
    with pytest.raises(ValueError, match="at most 16 bytes"):
        other.matches(event.record, comm="a" * 17)


def test_a_program_and_a_callback_have_filters_of_their_own() -> None:
    with Bench() as bench:
        boots = bench.tracepoints["vmm:vm_boot"]
        code = assemble("r0 = 0\nexit")
        program, every = (bench.load_bytes(code, type="tracepoint", name=name) for name in ("some", "every"))
        link = program.attach("vmm:vm_boot", filter="vm_id > 1")
        whole = every.attach("vmm:vm_boot")
        seen: list[int] = []
        boots.on(lambda event: seen.append(event.vm_id), filter="duration_ns == 5")
        boots.enabled, boots.filter = True, "vm_id == 9"
        for vm in range(4):
            boots.fire(vm_id=vm, duration_ns=5 * (vm != 2))
        assert (program.stats.runs, every.stats.runs) == (2, 4)
        assert seen == [0, 1, 3]
        assert len(bench.trace) == 0
        assert (link.filter, whole.filter) == ("vm_id > 1", None)
        for refused in (lambda: every.attach("vmm:vm_create", filter="x"), lambda: boots.on(print, filter="x")):
            with pytest.raises(FilterError, match="no field x"):
                refused()
        assert bench.tracepoints["vmm:vm_create"].programs == 0


def test_a_subsystem_takes_a_filter_where_it_can() -> None:
    with Bench() as bench:
        exits, boots = bench.tracepoints["vmm:vcpu_run_exit"], bench.tracepoints["vmm:vm_boot"]
        boots.filter = "vm_id == 2"
        taken = bench.set_filter("vmm:*", "exit_reason == 3")
        declared = {
            name
            for name, handle in bench.tracepoints.items()
            if name.startswith("vmm:") and any(field.name == "exit_reason" for field in handle.declaration.fields)
        }
        assert set(taken) == declared
        assert "vmm:vcpu_run_exit" in taken
        assert (exits.filter, boots.filter) == ("exit_reason == 3", "vm_id == 2")
        with pytest.raises(FilterError, match="exit_reson; did you mean exit_reason"):
            bench.set_filter("vmm:vcpu_run_exit", "exit_reson == 3")
        for wrong in ("vm:*", "vmm"):
            with pytest.raises(NotFound, match=rf"no tracepoint matches {re.escape(wrong)}; did you mean vmm:\*\?"):
                bench.set_filter(wrong, "exit_reason == 3")
        assert exits.filter == "exit_reason == 3"
        assert len(bench.set_filter("*", "0")) == len(bench.tracepoints)
        assert (exits.filter, boots.filter) == (None, None)


def test_an_error_points_at_the_place_and_changes_nothing() -> None:
    with Bench() as bench:
        exits = bench.tracepoints["vmm:vcpu_run_exit"]
        exits.filter = "vm_id == 1"
        with pytest.raises(FilterError) as caught:
            exits.filter = "comm == 'é' && durations > 5"
        error = caught.value
        assert str(error).splitlines() == [
            "vmm:vcpu_run_exit: no field durations; did you mean duration_ns?",
            "  comm == 'é' && durations > 5",
            "                 ^",
        ]
        assert (error.text, error.position, error.tracepoint) == (
            "comm == 'é' && durations > 5",
            15,
            "vmm:vcpu_run_exit",
        )
        assert exits.filter == "vm_id == 1"
        for clear in (None, "0", " 0\n"):
            exits.filter = "vm_id == 1"
            exits.filter = clear
            assert exits.filter is None


HOSTILE = {
    "nothing": "",
    "blanks": " \t\n",
    "a NUL": "vm_id == 1\0",
    "a NUL in a text": "comm == 'a\0b'",
    "an open text": "comm == 'a",
    "no field": "✓ == 1",
    "too large": "vm_id == 4294967296",
    "negative": "vm_id == -1",
    "a megabyte": "vm_id == 1 || " * 75_000,
    "a megabyte of parentheses": "(" * (1 << 20),
    "open parentheses": "(" * 200_000,
    "a long name": "x" * 300_000 + " == 1",
    "a long number": "vm_id == " + "9" * 300_000,
    "a long pattern": "comm ~ '" + "*a" * 200 + "'",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_is_an_error_and_the_bench_goes_on(text: str) -> None:
    with Bench() as bench:
        exits = bench.tracepoints["vmm:vcpu_run_exit"]
        exits.filter = "vm_id == 1"
        with pytest.raises(FilterError) as caught:
            exits.filter = text
        assert len(str(caught.value)) < 500
        assert exits.filter == "vm_id == 1"
        exits.enabled = True
        exits.fire(vm_id=1, vcpu_id=0, exit_reason=1, duration_ns=1)
        exits.fire(vm_id=2, vcpu_id=0, exit_reason=1, duration_ns=1)
        assert [event.vm_id for event in bench.trace.records()] == [1]


def test_depth_is_no_danger_to_a_thread_with_a_small_stack() -> None:
    text = "(" * 200_000 + "vm_id == 1" + ")" * 200_000
    answers: list[bool] = []

    def ask() -> None:
        answers.append(bool(Filter(VcpuRunExit, text).mask(vm_id=1)[0]))

    before = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert answers == [True]


def test_what_is_no_text_is_a_type_error() -> None:
    with Bench() as bench:
        boots = bench.tracepoints["vmm:vm_boot"]
        for wrong in (1, b"vm_id == 1", True):
            with pytest.raises(TypeError):
                boots.filter = wrong  # type: ignore[assignment]
        with pytest.raises(ValueError, match="surrogates"):
            boots.filter = "comm == '\ud800'"
        assert boots.filter is None


def test_a_filter_of_a_closed_bench_is_refused() -> None:
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    bench.close()
    with pytest.raises(axebpf.BenchClosed):
        boots.filter = "vm_id == 1"
    with pytest.raises(axebpf.BenchClosed):
        _ = boots.filter
    assert Filter(boots, "vm_id == 1").mask(vm_id=[1]).all()


def test_a_callback_may_change_the_filter_that_let_it_in() -> None:
    with Bench() as bench:
        boots = bench.tracepoints["vmm:vm_boot"]
        boots.enabled, boots.filter = True, "vm_id < 10"

        def narrow(event: Event) -> None:
            boots.filter = f"vm_id > {event.vm_id}"

        boots.on(narrow)
        boots.fire_many(vm_id=[5, 3, 4, 1, 2], duration_ns=0)
        assert [event.vm_id for event in bench.trace.records()] == [5, 4, 2]


def test_the_modules_of_filters_come_when_they_are_named() -> None:
    program = (
        "import sys, axebpf\n"
        "assert not {'axebpf.filters', 'numpy'} & set(sys.modules)\n"
        "assert axebpf.filters.Filter is sys.modules['axebpf.filters'].Filter\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
