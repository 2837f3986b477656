"""What `assert bench.maps[...] == ...` says, in the pytest plugin: which keys, which members, by which names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axebpf import Bench, ExitReason, PerCpu
from axebpf.examples import example
from axebpf.pytest_plugin.compare import explain

HYPERCALL, CPU_DOWN = ExitReason.HYPERCALL, ExitReason.CPU_DOWN
EQUAL: dict[Any, Any] = {(1, HYPERCALL): (2, 1500, 1200), (2, CPU_DOWN): (1, 700, 700)}


@pytest.fixture
def values() -> Iterator[dict[str, Any]]:
    """Maps, and values that came from maps, by name."""
    with Bench(cpus=2) as bench:
        bench.load(example("exits.bpf.o")).attach()
        slow = bench.load(example("slow_exits.bpf.o"), rodata={"threshold_ns": 1000}, max_entries={"SLOW": 4096})
        slow.attach()
        exits = bench.tracepoints["vmm:vcpu_run_exit"]
        for vm, reason, ns in (1, HYPERCALL, 300), (1, HYPERCALL, 1200), (2, CPU_DOWN, 700):
            exits.fire(vm_id=vm, vcpu_id=4, exit_reason=reason, duration_ns=ns)
        made = {name: bench.create_map(*sizes, name=name) for name, sizes in SIZES.items()}
        made["ARRAY"][1] = 5
        made["PERCPU"][7] = [3, 4]
        made["QUEUE"].append(8)
        ring = bench.maps["SLOW"]
        unread = ring.typed("slow_exit").read()
        yield {**made, "EXITS": bench.maps["EXITS"], "stat": bench.maps["EXITS"][1, HYPERCALL], "SLOW": ring,
               "records": unread, "per CPU": made["PERCPU"][7], "number": 5}  # fmt: skip


SIZES = {"ARRAY": ("array", 4, 8, 4), "PERCPU": ("percpu_hash", 4, 8, 4), "QUEUE": ("queue", 0, 8, 4)}

NO_KEY = "struct exit_key takes a tuple of vm_id, exit_reason, a dictionary, or 8 bytes, not int"
STATS = "(count=2, total_ns=1500, max_ns=1200)", "(count=1, total_ns=700, max_ns=700)"
KEY, OTHER = "[vm_id=1, exit_reason=HYPERCALL]", "[vm_id=2, exit_reason=CPU_DOWN]"

CASES: dict[str, tuple[str, Any, list[str]]] = {
    "a member": ("EXITS", {**EQUAL, (1, HYPERCALL): (2, 1600, 1200)}, [f"{KEY}.total_ns is 1500, expected 1600"]),
    "members": (
        "EXITS",
        {**EQUAL, (1, HYPERCALL): (1, 1600, 1200)},
        [f"{KEY}.count is 2, expected 1", f"{KEY}.total_ns is 1500, expected 1600"],
    ),
    "a missing key": (
        "EXITS",
        {**EQUAL, (3, HYPERCALL): (1, 2, 3)},
        ["[vm_id=3, exit_reason=HYPERCALL]: missing, expected (count=1, total_ns=2, max_ns=3)"],
    ),
    "a key too many": (
        "EXITS",
        {(1, HYPERCALL): (2, 1500, 1200)},
        [f"{OTHER}: not expected, is (count=1, total_ns=700, max_ns=700)"],
    ),
    "keys without names": (
        "EXITS",
        {(1, 0): (2, 1500, 1200)},
        [f"[vm_id=2, exit_reason={CPU_DOWN}]: not expected, is (count=1, total_ns=700, max_ns=700)"],
    ),
    "no key of the map": (
        "EXITS",
        {**EQUAL, 1: (1, 2, 3)},
        [f"1, which cannot be a key ({NO_KEY}): missing, expected (count=1, total_ns=2, max_ns=3)"],
    ),
    "a list for a structure": (
        "EXITS",
        {**EQUAL, (1, HYPERCALL): [2, 1500, 1200]},
        [f"{KEY} is a tuple, expected a list"],
    ),
    "a dictionary for a structure": (
        "EXITS",
        {**EQUAL, (1, HYPERCALL): {"count": 2}},
        [f"{KEY} is (count=2, total_ns=1500, max_ns=1200), expected {{'count': 2}}; a structure equals a tuple"],
    ),
    "too few members": (
        "EXITS",
        {**EQUAL, (1, HYPERCALL): (2, 1500)},
        [f"{KEY} has 3 values (count, total_ns, max_ns), expected 2", f"{KEY}[2]: not expected, is 1200"],
    ),
    "no dictionary": (
        "EXITS",
        [1],
        [f"its entries: {{(vm_id=1, exit_reason=0): {STATS[0]}, (vm_id=2, exit_reason={CPU_DOWN}): {STATS[1]}}}"],
    ),
    "zeros of an array": ("ARRAY", {1: 5}, ["3 zeros not expected: an array has every index from 0 to 3"]),
    "an index of an array": ("ARRAY", {0: 0, 1: 6, 2: 0, 3: 0}, ["[1] is 5, expected 6"]),
    "an index too many": ("ARRAY", {0: 0, 2: 0, 3: 0}, ["[1]: not expected, is 5"]),
    "a CPU": ("PERCPU", {7: (3, 5)}, ["[7][cpu1] is 4, expected 5"]),
    "a list of CPUs": ("PERCPU", {7: [3, 4]}, ["[7] is a tuple, expected a list"]),
    "a key for all CPUs": ("PERCPU", {7: (3, 4), 8: (1, 1)}, ["[8]: missing, expected [cpu0=1, cpu1=1]"]),
    "one value of all CPUs": ("per CPU", (3, 5), ["[cpu1] is 4, expected 5"]),
    "one structure": ("stat", (2, 1600, 1200), ["total_ns is 1500, expected 1600"]),
    "a queue": ("QUEUE", [9], ["[0] is 8, expected 9"]),
    "a queue and no list": ("QUEUE", 9, ["its values: [8]"]),
    "a ring": ("SLOW", [], ["compare its records: .read(), which takes them"]),
    "records": (
        "records",
        [(1_000_000_000, 1200, 1, 3, CPU_DOWN, 0)],
        ["[0].vcpu_id is 4, expected 3", "[0].exit_reason is HYPERCALL, expected CPU_DOWN"],
    ),
    "records too few": (
        "records",
        [(1_000_000_000, 1200, 1, 4, 0, 0), (1,)],
        ["has 1 values, expected 2", "[1]: missing, expected (1,)"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_differences_are_explained(values: dict[str, Any], case: str) -> None:
    name, expected, lines = CASES[case]
    assert values[name] != expected
    explained = explain(values[name], expected)
    assert explained is not None
    assert explained[1:] == lines
    assert explain(expected, values[name]) == explained, "the map may stand on either side"


@pytest.mark.parametrize(("left", "right"), [(5, 6), ({1: 2}, {1: 3}), ([(1,)], [(2,)]), ((1,), (2,)), ([], [1])])
def test_what_did_not_come_from_a_map_is_left_to_pytest(left: object, right: object) -> None:
    assert explain(left, right) is None


def test_a_map_equals_what_is_not_explained(values: dict[str, Any]) -> None:
    assert values["EXITS"] == EQUAL
    assert values["PERCPU"] == {7: PerCpu([3, 4])}


def test_many_differences_are_cut_unless_everything_is_asked_for() -> None:
    with Bench() as bench:
        made = bench.create_map("hash", 4, 8, 100, name="M")
        made.update({key: key for key in range(50)})
        short, whole = explain(made, {}), explain(made, {}, everything=True)
    assert short is not None
    assert whole is not None
    assert short[-1] == "20 more; -vv shows them"
    assert (len(short), len(whole)) == (32, 51)


def test_a_map_of_a_closed_bench_says_so() -> None:
    with Bench() as bench:
        made = bench.create_map("hash", 4, 8, 100, name="M")
    explained = explain(made, {1: 2})
    assert explained is not None
    assert explained[-1] == "the bench is closed"
