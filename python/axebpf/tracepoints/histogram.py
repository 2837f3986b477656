"""Latency histograms of eight decades, from below a microsecond to above a second: the seed's `histogram`.

>>> histogram = LatencyHistogram()
>>> for ns in (400, 5_000, 7_000, 2_000_000_000):
...     histogram.record(ns)
>>> snapshot = histogram.snapshot()
>>> for label, count in zip(BUCKET_LABELS, snapshot.buckets):
...     print(label, count)
     0-1us 1
    1-10us 2
  10-100us 0
100us-1ms  0
   1-10ms  0
 10-100ms  0
100ms-1s   0
      >1s  1
>>> snapshot.total, snapshot.p50_ns
(4, 10000)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from axebpf import _native
from axebpf.errors import FieldError

__all__ = ["BUCKET_BOUNDS_NS", "BUCKET_LABELS", "HistogramSnapshot", "LatencyHistogram", "nanoseconds"]

BUCKET_BOUNDS_NS: tuple[int, ...] = tuple(bound for bound, _ in _native.histogram_buckets())
"""Upper bounds: a duration lies in the first bucket whose bound is above it, or else in the last."""

BUCKET_LABELS: tuple[str, ...] = tuple(label for _, label in _native.histogram_buckets())
"""What the buckets are called, ten characters each."""

_U64 = (1 << 64) - 1


def nanoseconds(what: str, value: int) -> int:
    """The number, if it is a time. Raises FieldError, which says what it was to be.

    >>> nanoseconds("the duration", -1)
    Traceback (most recent call last):
    axebpf.errors.FieldError: the duration is -1; it takes 0 to 18446744073709551615
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= value.__index__() <= _U64:
        raise FieldError(f"{what} is {value!r}; it takes 0 to {_U64}")
    return value.__index__()


@dataclass(frozen=True)
class HistogramSnapshot:
    """What a histogram held at one moment."""

    buckets: tuple[int, ...]
    """Durations in each bucket."""
    total: int
    """Durations in all."""
    p50_ns: int
    """The smallest bound below which half of the durations lie, rounded up to a whole one; 0 without durations."""
    p90_ns: int
    """The same for nine in ten."""
    p99_ns: int
    """The same for 99 in a hundred."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> HistogramSnapshot:
        """Out of what the core says of a histogram, or of statistics."""
        buckets: tuple[int, ...] = tuple(values["buckets"])
        return cls(buckets, sum(buckets), *(values[name] or 0 for name in ("p50_ns", "p90_ns", "p99_ns")))


class LatencyHistogram:
    """How many durations lie in which decade. Any thread may use it."""

    def __init__(self) -> None:
        self._native = _native.Histogram()

    def record(self, duration_ns: int) -> None:
        """Counts a duration. Raises FieldError for anything but 0 to 2**64 - 1."""
        self._native.record(nanoseconds("the duration", duration_ns))

    def snapshot(self) -> HistogramSnapshot:
        """What it holds now."""
        return HistogramSnapshot.of(self._native.values())

    def reset(self) -> None:
        """Forgets all durations."""
        self._native.reset()

    def __repr__(self) -> str:
        return f"<LatencyHistogram: {self.snapshot()}>"
