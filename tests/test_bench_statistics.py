"""Statistics and histogram against the same numbers computed with NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from axebpf import Bench, Tracepoint, u32
from numpy.typing import NDArray

BOUNDS = [10**n for n in range(3, 10)]


def fire(bench: Bench, durations: NDArray[np.uint64] | list[int]) -> None:
    bench.tracepoints["vmm:vm_boot"].fire_many(vm_id=1, duration_ns=np.asarray(durations, np.uint64))


def buckets(durations: NDArray[np.uint64]) -> list[int]:
    edges = [0, *BOUNDS, 2**64 - 1]
    inside = [(low <= durations) & (durations < high) for low, high in itertools.pairwise(edges)]
    inside[-1] |= durations == 2**64 - 1
    return [int(part.sum()) for part in inside]


@pytest.mark.parametrize("seed", range(4))
def test_counts_sums_extremes_and_buckets(seed: int) -> None:
    dice = np.random.default_rng(seed)
    durations = np.exp(dice.uniform(0, 24, 5000)).astype(np.uint64)
    bench = Bench()
    fire(bench, durations)
    found = bench.stats["vmm:vm_boot"]
    assert (found.count, found.samples) == (5000, 5000)
    assert found.total_ns == sum(durations.tolist())
    assert (found.min_ns, found.max_ns) == (durations.min(), durations.max())
    assert found.avg_ns == sum(durations.tolist()) // 5000
    assert list(found.buckets) == buckets(durations)
    cumulative = list(itertools.accumulate(buckets(durations)))
    for share, bound in ((0.5, found.p50_ns), (0.9, found.p90_ns), (0.99, found.p99_ns)):
        place = next(i for i, total in enumerate(cumulative) if total >= math.ceil(5000 * share))
        assert bound == [*BOUNDS, 2**64 - 1][place]


def test_an_interpolated_percentile_is_near_the_true_one() -> None:
    durations = np.random.default_rng(5).integers(0, 1000, 10_000).astype(np.uint64)
    bench = Bench()
    fire(bench, durations)
    for percent in (1, 25, 50, 90, 99, 99.9):
        estimate = bench.stats.percentile("vmm:vm_boot", percent)
        assert estimate == pytest.approx(float(np.percentile(durations, percent)), abs=15)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_belongs_to_the_bucket_above_it(bound: int) -> None:
    bench = Bench()
    fire(bench, [bound - 1, bound])
    place = BOUNDS.index(bound)
    assert bench.stats["vmm:vm_boot"].buckets[place : place + 2] == (1, 1)


def test_the_extremes_of_a_duration() -> None:
    bench = Bench()
    fire(bench, [0, 2**64 - 1])
    found = bench.stats["vmm:vm_boot"]
    assert (found.min_ns, found.max_ns, found.buckets[0], found.buckets[7]) == (0, 2**64 - 1, 1, 1)


def test_events_without_a_duration_are_counted_only() -> None:
    bench = Bench()
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1, time_ns=77)
    found = bench.stats["vmm:vm_destroy"]
    assert (found.count, found.samples, found.total_ns, found.last_timestamp_ns) == (1, 0, 0, 77)
    assert (found.min_ns, found.max_ns, found.avg_ns, found.p50_ns) == (None, None, None, None)
    assert bench.stats.percentile("vmm:vm_destroy", 50) is None


def test_the_duration_is_the_field_with_that_role() -> None:
    class Plain(Tracepoint, name="test:plain", id=3000):
        """A field that is called duration_ns, without the role."""

        duration_ns: u32

    bench = Bench()
    bench.define(Plain).fire(duration_ns=5)
    assert bench.stats["test:plain"].samples == 0


def test_only_tracepoints_that_fired_are_listed_and_reset_forgets() -> None:
    bench = Bench()
    assert list(bench.stats) == []
    assert len(bench.stats) == 0
    fire(bench, [1, 2, 3])
    bench.tracepoints["shell:shell_init"].fire(5)
    assert list(bench.stats) == ["shell:shell_init", "vmm:vm_boot"]
    bench.stats.reset()
    assert list(bench.stats) == []
    assert bench.stats["vmm:vm_boot"].count == 0
    assert bench.tracepoints["vmm:vm_boot"].fired == 3


def test_statistics_can_be_off() -> None:
    bench = Bench(statistics=False)
    fire(bench, [1, 2, 3])
    assert bench.stats["vmm:vm_boot"].count == 0
    assert bench.tracepoints["vmm:vm_boot"].fired == 3
