"""The examples, and AxVisor's programs: their maps against numbers computed with NumPy from the same events."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axebpf import Bench, ExitReason
from axebpf.examples import example
from axebpf.hypervisor import workload
from numpy.typing import NDArray

AXVISOR = Path(__file__).parent / "fixtures" / "axvisor"
EXITS = "vmm:vcpu_run_exit"
CPUS = 4
Columns = dict[str, NDArray[Any]]


def random_exits() -> Columns:
    """Exits with every reason, some beyond AxVisor's, and durations of all magnitudes."""
    dice = np.random.default_rng(42)
    rows = 20_000
    durations = np.exp2(dice.uniform(0, 40, rows)).astype(np.uint64)
    durations[:100] = 0
    durations[100:200] = 2**64 - 1
    return {
        "vm_id": dice.integers(1, 9, rows, dtype=np.uint32),
        "vcpu_id": dice.integers(0, 4, rows, dtype=np.uint32),
        "exit_reason": dice.integers(0, 20, rows, dtype=np.uint32),
        "duration_ns": durations,
        "time_ns": np.sort(dice.integers(0, 10**12, rows)).astype(np.uint64),
        "cpu": dice.integers(0, CPUS, rows, dtype=np.uint32),
    }


def boot_exits() -> Columns:
    """The exits of a boot of two VMs with two vCPUs each."""
    parts: dict[str, list[NDArray[Any]]] = {}
    for chunk in workload("boot", vms=2, vcpus=2, seed=11, duration_s=1.0):
        which = chunk.order == chunk.names.index(EXITS)
        for name, column in chunk.columns[EXITS].items():
            parts.setdefault(name, []).append(column)
        parts.setdefault("time_ns", []).append(chunk.time_ns[which])
        parts.setdefault("cpu", []).append(chunk.cpu[which])
    return {name: np.concatenate(columns) for name, columns in parts.items()}


@pytest.fixture(scope="module", params=["random columns", "boot"])
def events(request: pytest.FixtureRequest) -> tuple[str, Columns]:
    columns = random_exits() if request.param == "random columns" else boot_exits()
    assert len(columns["vm_id"]) > 1000
    return request.param, columns


def traced(source: str, columns: Columns, name: str, target: str = "linux", **options: Any) -> Any:
    """An example that has seen the events: as columns, or from the workload itself."""
    bench = Bench(target=target, cpus=CPUS)
    progs = bench.load(example(name), **options)
    progs.attach()
    if source == "boot":
        result = bench.run("boot", vms=2, vcpus=2, seed=11, duration_s=1.0)
        assert result.by_tracepoint[EXITS] == len(columns["vm_id"]) == result.programs["on_exit"].runs
    else:
        assert bench.tracepoints[EXITS].fire_many(**columns) == len(columns["vm_id"])
    return progs


@pytest.mark.parametrize("threshold", [0, 5_000])
def test_exits(events: tuple[str, Columns], threshold: int) -> None:
    source, columns = events
    progs = traced(source, columns, "exits.bpf.o", rodata={"threshold_ns": threshold})
    expected = {}
    long = columns["duration_ns"] >= threshold
    keys = np.stack([columns["vm_id"], columns["exit_reason"]], axis=1)[long]
    durations = columns["duration_ns"][long]
    for vm, reason in np.unique(keys, axis=0).tolist():
        mine = durations[(keys == (vm, reason)).all(axis=1)]
        with np.errstate(over="ignore"):
            expected[vm, reason] = (len(mine), int(mine.sum(dtype=np.uint64)), int(mine.max()))
    assert len(expected) >= 5
    assert progs.maps["EXITS"] == expected
    assert progs.maps["EXITS"].key_type.name == "struct exit_key"


@pytest.mark.parametrize("target", ["linux", "axvisor"])
def test_exits_axvisor(events: tuple[str, Columns], target: str) -> None:
    source, columns = events
    progs = traced(source, columns, "exits_axvisor.bpf.o", target)
    expected = {}
    keys = np.stack([columns[name] for name in ("vm_id", "vcpu_id", "exit_reason")], axis=1)
    for key in np.unique(keys, axis=0).tolist():
        mine = columns["duration_ns"][(keys == key).all(axis=1)]
        with np.errstate(over="ignore"):
            expected[tuple(key)] = (len(mine), int(mine.sum(dtype=np.uint64)), int(mine.max()))
    assert len(expected) >= 20
    assert progs.maps["EXITS"] == expected


def test_latency(events: tuple[str, Columns]) -> None:
    source, columns = events
    progs = traced(source, columns, "latency.bpf.o")
    slots, reasons = 32, len(ExitReason) + 1
    durations, cpus = columns["duration_ns"], columns["cpu"]
    # floor(log2) by comparing with every power of two: exact, as floating point is not.
    powers = np.array([1 << n for n in range(1, slots)], np.uint64)
    slot = (durations[:, None] >= powers).sum(axis=1)
    row = np.minimum(columns["exit_reason"], reasons - 1)
    expected = np.zeros((CPUS, reasons * slots), np.uint64)
    np.add.at(expected, (cpus, row * slots + slot), 1)
    keys, values = progs.maps["LATENCY"].to_numpy()
    assert keys.tolist() == list(range(reasons * slots))
    assert (values == expected.T).all()
    assert sum(progs.maps["LATENCY"].sum().values()) == len(durations)


def test_slow_exits(events: tuple[str, Columns]) -> None:
    source, columns = events
    threshold = int(np.sort(columns["duration_ns"])[-500])
    progs = traced(source, columns, "slow_exits.bpf.o", rodata={"threshold_ns": threshold})
    slow = columns["duration_ns"] >= threshold
    names = ("time_ns", "duration_ns", "vm_id", "vcpu_id", "exit_reason", "cpu")
    expected = list(zip(*(columns[name][slow].tolist() for name in names), strict=True))
    assert 500 <= len(expected) < 1600
    assert progs.maps["SLOW"].typed("slow_exit").read() == expected
    assert progs.globals["dropped"] == 0


def test_more_slow_exits_than_the_ring_holds(events: tuple[str, Columns]) -> None:
    source, columns = events
    progs = traced(source, columns, "slow_exits.bpf.o", rodata={"threshold_ns": 0}, max_entries={"SLOW": 8192})
    records = progs.maps["SLOW"].typed("slow_exit").read()
    assert [record.duration_ns for record in records] == columns["duration_ns"][: len(records)].tolist()
    assert len(records) + progs.globals["dropped"] == len(columns["duration_ns"])


# AxVisor's programs


def context(id: int, duration: int = 0, vm: int = 1, vcpu: int = 0) -> bytes:
    """A TraceContext, 64 bytes."""
    return struct.pack("<IIQIIQQQQII", id, 0, 10**9, vm, vcpu, duration, 0, 0, 0, 4, 0)


def test_printk_counts_by_tracepoint_id() -> None:
    progs = Bench().load(AXVISOR / "printk.bpf.o")
    ids = np.random.default_rng(1).integers(1, 60, 500)
    counts = [progs["printk"].run(context(id)).r0 for id in ids.tolist()]
    seen = np.array([(ids[: place + 1] == id).sum() for place, id in enumerate(ids)])
    assert counts == seen.tolist()
    expected = dict(zip(*(part.tolist() for part in np.unique(ids, return_counts=True)), strict=True))
    assert progs.maps["COUNTER_MAP"] == expected


def test_stats_by_tracepoint_id() -> None:
    progs = Bench().load(AXVISOR / "stats.bpf.o")
    dice = np.random.default_rng(2)
    ids, durations = dice.integers(1, 10, 500), dice.integers(0, 50, 500)
    for id, duration in zip(ids.tolist(), durations.tolist(), strict=True):
        assert progs["stats"].run(context(id, duration)).r0 == 0
    expected = {}
    for id in np.unique(ids).tolist():
        mine = durations[ids == id]
        expected[id] = (len(mine), int(mine.sum()), int(mine[mine > 0].min()), int(mine.max()))
    assert progs.maps["STATS_MAP"] == expected


def test_both_at_their_tracepoint_see_the_trace_context(events: tuple[str, Columns]) -> None:
    _, columns = events
    bench = Bench(cpus=CPUS)
    counter, stats = bench.load(AXVISOR / "printk.bpf.o"), bench.load(AXVISOR / "stats.bpf.o")
    counter.attach()
    stats.attach()
    bench.tracepoints[EXITS].fire_many(**columns)
    durations = columns["duration_ns"]
    with np.errstate(over="ignore"):
        total = int(durations.sum(dtype=np.uint64))
    positive = durations[durations > 0]
    assert counter.maps["COUNTER_MAP"] == {21: len(durations)}
    assert stats.maps["STATS_MAP"] == {21: (len(durations), total, int(positive.min()), int(durations.max()))}


def aarch64(pc: int, arguments: list[int]) -> bytes:
    registers = [0xAAAA] * 31
    registers[: len(arguments)] = arguments
    return struct.pack("<31QQQQQiI", *registers, 0xBBBB, pc, 0xCCCC, 0, 0, 0)


def x86(pc: int, arguments: list[int]) -> bytes:
    registers = [0xAAAA] * 21
    rdi, rsi, rdx, rcx, rip = 14, 13, 12, 11, 16  # in Linux's order of struct pt_regs
    for place, value in zip((rdi, rsi, rdx, rcx, rip), [*arguments, pc], strict=True):
        registers[place] = value
    return struct.pack("<21Q", *registers)


@pytest.mark.parametrize(("file", "make", "size"), [("arm64", aarch64, 288), ("x86", x86, 168)])
def test_kprobe_args_reads_the_registers(file: str, make: Any, size: int) -> None:
    progs = Bench().load(AXVISOR / f"kprobe_args.{file}.bpf.o")
    program = progs["kprobe_args"]
    assert program.type == "kprobe"
    hits = {0xFFFF_8000_1000: [[1, 2, 3, 4], [5, 6, 7, 2**64 - 1]], 0x4000: [[9, 8, 7, 6]]}
    for pc, calls in hits.items():
        for arguments in calls:
            registers = make(pc, arguments)
            assert len(registers) == size
            assert program.run(registers).r0 == 0
    expected = {pc: (pc, len(calls), *calls[-1]) for pc, calls in hits.items()}
    assert progs.maps["ARGS_MAP"] == expected
    with pytest.raises(Exception, match=r"ctx\+"):
        program.run(make(0, [1, 2, 3, 4])[:100])


def test_kprobe_simple_counts_values_of_x0() -> None:
    progs = Bench().load(AXVISOR / "kprobe_simple.bpf.o")
    values = np.random.default_rng(3).integers(0, 20, 200)
    for value in values.tolist():
        progs["kprobe_simple"].run(aarch64(0, [value]))
    expected = dict(zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True))
    assert progs.maps["X0_MAP"] == expected


def test_kprobe_noop_returns_1_in_two_instructions() -> None:
    ran = Bench().load(AXVISOR / "kprobe_noop.bpf.o")["kprobe_noop"].run(aarch64(0, []))
    assert (ran.r0, ran.instructions) == (1, 2)
