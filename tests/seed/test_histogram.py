"""`axebpf.tracepoints.histogram`, against the same question put to a sorted list."""

from __future__ import annotations

import bisect
import math
import threading

import pytest
from axebpf import FieldError
from axebpf.tracepoints.histogram import BUCKET_BOUNDS_NS, BUCKET_LABELS, HistogramSnapshot, LatencyHistogram
from hypothesis import given
from hypothesis import strategies as st

DECADES = [10**n for n in range(3, 10)]


def of(*durations: int) -> HistogramSnapshot:
    histogram = LatencyHistogram()
    for ns in durations:
        histogram.record(ns)
    return histogram.snapshot()


def test_a_fresh_one_is_empty() -> None:
    """Seed: an empty histogram has total 0 and percentiles 0."""
    assert of() == HistogramSnapshot((0,) * 8, 0, 0, 0, 0)


def test_eight_bounds_that_increase_and_eight_labels_of_ten_characters() -> None:
    """Seed: number and order of the bounds, number of the labels."""
    assert list(BUCKET_BOUNDS_NS) == [*DECADES, 2**64 - 1]
    assert [len(label) for label in BUCKET_LABELS] == [10] * 8
    shown = ["0-1us", "1-10us", "10-100us", "100us-1ms", "1-10ms", "10-100ms", "100ms-1s", ">1s"]
    assert [label.strip() for label in BUCKET_LABELS] == shown


@pytest.mark.parametrize(
    ("ns", "bucket"),
    [(0, 0), (500, 0), (999, 0), (1_000, 1), (5_000, 1), (5_000_000, 4), (2_000_000_000, 7), (2**64 - 1, 7)],
)
def test_a_duration_is_in_its_bucket(ns: int, bucket: int) -> None:
    """Seed: 500, 5 us, 5 ms, 2 s; 0 and the greatest; a bound itself and one below it."""
    assert of(ns).buckets == tuple(int(n == bucket) for n in range(8))


def test_several_durations_and_the_same_ten_times() -> None:
    """Seed: several buckets at once; ten equal durations in one."""
    assert of(500, 5_000, 5_000_000, 2_000_000_000).buckets == (1, 1, 0, 0, 1, 0, 0, 1)
    assert of(*[500] * 10).buckets == (10, 0, 0, 0, 0, 0, 0, 0)


def test_percentiles_of_a_hundred_equal_durations() -> None:
    """Seed: 100 times 500 ns gives 1000 for all three."""
    found = of(*[500] * 100)
    assert (found.total, found.p50_ns, found.p90_ns, found.p99_ns) == (100, 1_000, 1_000, 1_000)


def test_percentiles_of_two_halves() -> None:
    """Seed: 50 times 500 ns and 50 times 5 us gives p50 1000 and p90 10000."""
    found = of(*[500] * 50, *[5_000] * 50)
    assert (found.p50_ns, found.p90_ns) == (1_000, 10_000)


def test_reset_forgets() -> None:
    """Seed: reset."""
    histogram = LatencyHistogram()
    histogram.record(5)
    assert "total=1" in repr(histogram)
    histogram.reset()
    assert histogram.snapshot() == of()


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 10**10), min_size=1, max_size=200))
def test_percentiles_are_the_bounds_of_the_ceiling_rank(durations: list[int]) -> None:
    """The seed took the floor of the rank; the decision here is the ceiling."""
    found = of(*durations)
    ordered = sorted(durations)
    for percent, bound in ((50, found.p50_ns), (90, found.p90_ns), (99, found.p99_ns)):
        rank = math.ceil(len(ordered) * percent / 100)
        assert bound == [*DECADES, 2**64 - 1][bisect.bisect_right(DECADES, ordered[rank - 1])]


@pytest.mark.parametrize("ns", [-1, 2**64, 1.0, None, True])
def test_what_is_no_duration_is_refused(ns: int) -> None:
    histogram = LatencyHistogram()
    with pytest.raises(FieldError, match="it takes 0 to 18446744073709551615"):
        histogram.record(ns)
    assert histogram.snapshot().total == 0


def test_threads_may_share_one() -> None:
    histogram = LatencyHistogram()
    threads = [threading.Thread(target=lambda: [histogram.record(5) for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert histogram.snapshot().total == 8_000
