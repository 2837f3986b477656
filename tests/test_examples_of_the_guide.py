"""The examples that docs/examples shows: their maps against numbers computed with NumPy from the same events.

Each sees random events, in no sensible order and with values of all magnitudes, and boots of the simulated hypervisor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from axebpf import Bench
from axebpf.examples import example
from axebpf.hypervisor import workload
from axebpf.tracepoints import BUILTIN
from numpy.typing import NDArray

CPUS = 4
SLOTS = 32
Columns = dict[str, NDArray[Any]]

SIMULATED: dict[str, tuple[str, dict[str, Any]]] = {
    "boot on aarch64": ("boot", {"arch": "aarch64", "vms": 2, "vcpus": 2, "seed": 11, "duration_s": 2.0}),
    "boot on x86_64": ("boot", {"arch": "x86_64", "vms": 1, "vcpus": 4, "seed": 12, "duration_s": 2.0}),
}
"""Workloads with their parameters."""

FIELDS = {tp.event_name: {f.name: f.type.numpy for f in tp.fields} for tp in BUILTIN}


@dataclass(frozen=True)
class Events:
    """Where events come from, and all of them by tracepoint: fields, `time_ns`, `cpu`, and `place` in the order."""

    source: str
    columns: dict[str, Columns]

    def __getitem__(self, event: str) -> Columns:
        """The columns of a tracepoint."""
        return self.columns[f"vmm:{event}"]

    def in_order(self, names: Iterable[str]) -> list[tuple[str, int]]:
        """The events of these tracepoints one by one: which, and which row of its columns."""
        rows = [(place, name, row) for name in names for row, place in enumerate(self.columns[name]["place"].tolist())]
        return [(name, row) for _, name, row in sorted(rows)]

    def merged(self, *events: str) -> Columns:
        """What the tracepoints have in common, in order; `kind` says which of them each row is of."""
        parts = [self[event] for event in events]
        shared = set.intersection(*(set(part) for part in parts))
        whole = {name: np.concatenate([part[name] for part in parts]) for name in shared}
        whole["kind"] = np.repeat(np.arange(len(parts)), [len(part["place"]) for part in parts])
        order = np.argsort(whole["place"])
        return {name: column[order] for name, column in whole.items()}


# Where events come from


FEW: dict[str, list[int]] = {
    "vm_id": [1, 2, 3, 2**32 - 1],
    "vcpu_id": [0, 1, 7],
    "nr": [0, 1, 2, 3, 0xC400_0003, 2**64 - 1],
    "ret_val": [0, -1, 5, -38, 2**63 - 1, -(2**63)],
    "access_type": [1, 2, 4, 6],
    "from_task": [0x1000, 0x2000, 0x3000],
    "to_task": [0x1000, 0x2000, 0x3000],
}
"""Fields that are keys of maps, or whose edges matter."""


def random_column(dice: np.random.Generator, field: str, dtype: str, rows: int) -> NDArray[Any]:
    """Values of all magnitudes, with the edges of the type among them."""
    if field in FEW:
        return np.array(FEW[field], dtype)[dice.integers(0, len(FEW[field]), rows)]
    bits = 8 * np.dtype(dtype).itemsize
    column = np.exp2(dice.uniform(0, bits, rows)).astype(dtype)
    column[dice.random(rows) < 0.04] = 0
    column[dice.random(rows) < 0.02] = 2**bits - 1
    return column


def random_events(rows: int = 1500) -> dict[str, Columns]:
    """So many of each tracepoint, in random order."""
    dice = np.random.default_rng(42)
    places = dice.permutation(rows * len(FIELDS)).reshape(len(FIELDS), rows)
    times = np.cumsum(np.exp2(dice.uniform(0, 33, places.size)).astype(np.uint64))
    events = {}
    for name, mine in zip(FIELDS, np.sort(places), strict=True):
        cpus = dice.integers(0, CPUS, rows, dtype=np.uint32)
        columns = {field: random_column(dice, field, dtype, rows) for field, dtype in FIELDS[name].items()}
        events[name] = {**columns, "time_ns": times[mine], "cpu": cpus, "place": mine}
    return events


def simulated_events(source: str) -> dict[str, Columns]:
    parts: dict[str, dict[str, list[NDArray[Any]]]] = {}
    first = 0
    name, parameters = SIMULATED[source]
    for chunk in workload(name, **parameters):
        for index, name in enumerate(chunk.names):
            which = np.flatnonzero(chunk.order == index)
            more = {"time_ns": chunk.time_ns[which], "cpu": chunk.cpu[which], "place": first + which}
            for field, column in {**chunk.columns[name], **more}.items():
                parts.setdefault(name, {}).setdefault(field, []).append(column)
        first += len(chunk)
    return {name: {f: np.concatenate(c) for f, c in fields.items()} for name, fields in parts.items()}


@pytest.fixture(scope="module", params=["random", *SIMULATED])
def events(request: pytest.FixtureRequest) -> Events:
    source = request.param
    return Events(source, random_events() if source == "random" else simulated_events(source))


def traced(events: Events, name: str, **options: Any) -> Any:
    """An example that has seen the events."""
    bench = Bench(cpus=CPUS)
    progs = bench.load(example(name), **options)
    progs.attach()
    if events.source == "random":
        for name, place in events.in_order({f"vmm:{program.section.split('/')[-1]}" for program in progs.values()}):
            columns = events.columns[name]
            bench.tracepoints[name].fire(**{f: int(c[place]) for f, c in columns.items() if f != "place"})
    else:
        name, parameters = SIMULATED[events.source]
        bench.run(name, **parameters)
    for program in progs.values():
        assert program.stats.runs == len(events[program.section.split("/")[-1]]["place"])
    return progs


# What they come to


def by_key(columns: Columns, *keys: str) -> list[tuple[tuple[int, ...], Columns]]:
    """The rows of each combination of keys, in order."""
    table = np.stack([columns[key].astype(np.uint64) for key in keys], axis=1)
    found, which = np.unique(table, axis=0, return_inverse=True)
    groups = [np.flatnonzero(which.ravel() == n) for n in range(len(found))]
    return [
        (tuple(key), {name: column[rows] for name, column in columns.items()})
        for key, rows in zip(found.tolist(), groups, strict=True)
    ]


def total(column: NDArray[Any]) -> int:
    """Their sum in 64 bits."""
    return int(column.sum(dtype=np.uint64))


def slots(values: NDArray[Any]) -> list[int]:
    """The histogram in powers of two; by comparison with them, which is exact."""
    powers = np.array([1 << n for n in range(1, SLOTS)], np.uint64)
    return np.bincount(np.searchsorted(powers, values.astype(np.uint64), side="right"), minlength=SLOTS).tolist()


def test_hypercalls(events: Events) -> None:
    calls = events["hypercall"]
    progs = traced(events, "hypercalls.bpf.o")
    expected = {
        key: (len(mine["nr"]), int((mine["ret_val"] < 0).sum()), int(mine["duration_ns"].max()))
        for key, mine in by_key(calls, "vm_id", "nr")
    }
    assert len(expected) >= 5
    assert progs.maps["CALLS"] == expected
    failed = calls["ret_val"] < 0
    names = ("time_ns", "nr", "ret_val", "vm_id", "vcpu_id")
    records = list(zip(*(calls[name][failed].tolist() for name in names), strict=True))
    assert records
    assert progs.maps["FAILED"].typed("failed_call").read() == records
    assert dict(progs.globals.items()) == {"not_counted": 0, "dropped": 0}


def test_hypercalls_that_find_their_maps_full_are_counted(events: Events) -> None:
    calls = events["hypercall"]
    progs = traced(events, "hypercalls.bpf.o", max_entries={"CALLS": 3, "FAILED": 4096})
    first_seen = sorted(by_key(calls, "vm_id", "nr"), key=lambda group: int(group[1]["place"][0]))
    assert progs.maps["CALLS"].sum().keys() == {key for key, _ in first_seen[:3]}
    assert progs.globals["not_counted"] == sum(len(mine["place"]) for _, mine in first_seen[3:]) > 0
    failed = int((calls["ret_val"] < 0).sum())
    record = 8 + 32  # the header of each record in the ring, and struct failed_call
    assert len(progs.maps["FAILED"]) == min(failed, 4096 // record)
    assert progs.globals["dropped"] == failed - len(progs.maps["FAILED"])


@pytest.mark.parametrize("shift", [12, 21, 28])
def test_page_faults(events: Events, shift: int) -> None:
    faults = events["page_fault"]
    progs = traced(events, "page_faults.bpf.o", rodata={"region_shift": shift})
    faults = {**faults, "region": faults["gpa"] - faults["gpa"] % np.uint64(1 << shift)}
    expected = {
        key: (len(mine["gpa"]), total(mine["duration_ns"]), int(mine["duration_ns"].max()))
        for key, mine in by_key(faults, "region", "vm_id", "access_type")
    }
    assert len(expected) >= 3
    assert progs.maps["FAULTS"] == expected
    assert progs.globals["not_counted"] == 0


def test_page_faults_that_find_the_map_full_are_counted(events: Events) -> None:
    progs = traced(events, "page_faults.bpf.o", max_entries={"FAULTS": 10})
    counted = sum(stat.count for stat in progs.maps["FAULTS"].values())
    assert len(progs.maps["FAULTS"]) == 10
    assert progs.globals["not_counted"] == len(events["page_fault"]["gpa"]) - counted > 0


def test_run_time(events: Events) -> None:
    enter, leave = 0, 1
    progs = traced(events, "run_time.bpf.o")
    expected = {}
    for key, mine in by_key(events.merged("vcpu_run_enter", "vcpu_run_exit"), "vm_id", "vcpu_id"):
        kind, time = mine["kind"], mine["time_ns"]
        first = int(np.argmax(kind == enter))  # what is before it is not seen
        kind, time = kind[first:], time[first:]
        step, was, becomes = np.diff(time), kind[:-1], kind[1:]
        guest = (was == enter) & (becomes == leave)
        host = (was == leave) & (becomes == enter)
        last = [int(time[-1]), 0] if kind[-1] == enter else [0, int(time[-1])]
        expected[key] = (int(guest.sum()), total(step[guest]), total(step[host]), *last)
    assert len(expected) >= 4
    assert progs.maps["RUN_TIME"] == expected
    if events.source != "random":  # whose exits have a duration of their own
        for key, mine in by_key(events["vcpu_run_exit"], "vm_id", "vcpu_id"):
            assert progs.maps["RUN_TIME"][key].guest_ns == total(mine["duration_ns"])


def test_irq_latency(events: Events) -> None:
    arrival, inject, enter = 0, 1, 2
    progs = traced(events, "irq_latency.bpf.o")
    to_inject, to_enter = {}, {}
    for key, mine in by_key(events.merged("external_interrupt", "irq_inject", "vcpu_run_enter"), "vm_id", "vcpu_id"):
        kind, time, cpu, place = mine["kind"], mine["time_ns"], mine["cpu"], np.arange(len(mine["kind"]))
        arrived = np.maximum.accumulate(np.where(kind == arrival, place, -1))
        entered = np.maximum.accumulate(np.where(kind == enter, place, -1))
        # The first injection after an arrival, on its CPU and before the vCPU enters.
        answers = np.flatnonzero((kind == inject) & (arrived > entered) & (cpu == cpu[arrived]))
        of, first = np.unique(arrived[answers], return_index=True)
        if len(of):
            to_inject[key] = (slots(time[answers[first]] - time[of]),)
        # The first injection after an entry, and the entry after it.
        injections = np.flatnonzero(kind == inject)
        _, first = np.unique(entered[injections], return_index=True)
        injections = injections[first]
        entries = np.flatnonzero(kind == enter)
        following = np.searchsorted(entries, injections)
        ended = following < len(entries)
        if ended.any():
            to_enter[key] = (slots(time[entries[following[ended]]] - time[injections[ended]]),)
    assert len(to_inject) >= 4
    assert progs.maps["TO_INJECT"] == to_inject
    assert progs.maps["TO_ENTER"] == to_enter


@pytest.mark.parametrize("period", [10_000_000, 999_983])
def test_timer_drift(events: Events, period: int) -> None:
    progs = traced(events, "timer_drift.bpf.o", rodata={"period_ns": period})
    drift = [(0, 0, 0, 0, 0, 0)] * progs.maps["DRIFT"].max_entries
    deviation = np.zeros((CPUS, SLOTS), np.uint64)
    for (cpu,), mine in by_key(events["timer_tick"], "cpu"):
        stamps = mine["timestamp"]
        with np.errstate(over="ignore"):
            off = (np.diff(stamps) - np.uint64(period)).view(np.int64)
            size = np.where(off < 0, np.uint64(0) - off.view(np.uint64), off.view(np.uint64))
        ends = (int(stamps[0]), int(stamps[-1]))
        sides = (int((off < 0).sum()), int((off > 0).sum()))
        drift[cpu] = (len(stamps), *ends, *sides, int(size.max()))
        deviation[cpu] = slots(size)
    assert sum(row[0] for row in drift) > 500
    assert progs.maps["DRIFT"] == dict(enumerate(drift))
    assert (progs.maps["DEVIATION"].to_numpy()[1] == deviation.T).all()


def test_a_tick_on_time_is_neither_early_nor_late() -> None:
    bench = Bench()
    progs = bench.load(example("timer_drift.bpf.o"), rodata={"period_ns": 100})
    progs.attach()
    bench.tracepoints["vmm:timer_tick"].fire_many(timestamp=np.array([50, 150, 250, 346, 450], np.uint64))
    drift = progs.maps["DRIFT"][0]
    assert (drift.ticks, drift.early, drift.late, drift.max_ns) == (5, 1, 1, 4)
    assert list(progs.maps["DEVIATION"].sum().values())[:3] == [2, 0, 2]


def test_task_switches(events: Events) -> None:
    switches = events["task_switch"]
    progs = traced(events, "task_switches.bpf.o")
    counts = {key: len(mine["place"]) for key, mine in by_key(switches, "from_task", "to_task")}
    assert progs.maps["SWITCHES"] == counts
    on_cpu = {task: [0] * CPUS for task in np.unique(switches["from_task"]).tolist()}
    running = [(0, 0)] * CPUS
    known = set()
    for (cpu,), mine in by_key(switches, "cpu"):
        step = np.diff(mine["time_ns"])
        seen = mine["to_task"][:-1] == mine["from_task"][1:]
        for task in np.unique(mine["from_task"][1:][seen]).tolist():
            on_cpu[task][cpu] = total(step[seen & (mine["from_task"][1:] == task)])
            known.add(task)
        running[cpu] = (int(mine["to_task"][-1]), int(mine["time_ns"][-1]))
    assert progs.maps["ON_CPU_NS"] == {task: tuple(on_cpu[task]) for task in known}
    assert list(progs.maps["RUNNING"][0]) == running
    assert len(known) >= 3


PHASES = (
    "vmm_init",
    "vhal_init",
    "config_load",
    "vm_create",
    "memory_map",
    "image_load",
    "vcpu_create",
    "vm_boot",
    "vcpu_run_enter",
)


def test_boot_time_line(events: Events) -> None:
    progs = traced(events, "boot_time_line.bpf.o")
    expected = {}
    for phase, event in enumerate(PHASES):
        columns = events[event]
        nothing = np.zeros(len(columns["place"]), np.uint64)
        columns = {"vm_id": nothing, "duration_ns": nothing, **columns}
        for (vm,), mine in by_key(columns, "vm_id"):
            if event == "vcpu_run_enter":
                mine = {name: column[:1] for name, column in mine.items()}
            time, duration = mine["time_ns"], mine["duration_ns"]
            with np.errstate(over="ignore"):
                begin = int(time[0] - duration[0])
            expected[vm, phase] = (begin, int(time[-1]), total(duration), len(time))
    assert len(expected) >= 9
    assert progs.maps["PHASES"] == expected
    names = {key.phase.name for key in progs.maps["PHASES"]}
    assert names == {event.upper() for event in PHASES[:-1]} | {"FIRST_RUN"}
