"""Statistics of tracepoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from axebpf.bench import Bench

__all__ = ["Statistics", "StatisticsTable"]


class Statistics(SimpleNamespace):
    """What the events of one tracepoint came to. Times are nanoseconds; None where there was no sample."""

    count: int
    """Events."""
    samples: int
    """Events with a duration."""
    total_ns: int
    """All durations together."""
    min_ns: int | None
    """The shortest duration."""
    max_ns: int | None
    """The longest."""
    avg_ns: int | None
    """The average over the samples."""
    last_timestamp_ns: int | None
    """Time of the last event."""
    p50_ns: int | None
    """Upper bound of the bucket that holds the median."""
    p90_ns: int | None
    """Upper bound of the bucket of the 90th percentile."""
    p99_ns: int | None
    """Upper bound of the bucket of the 99th percentile."""
    buckets: tuple[int, ...]
    """Samples below 1 µs, 10 µs, 100 µs, 1 ms, 10 ms, 100 ms, 1 s, and the rest."""


class StatisticsTable(Mapping[str, Statistics]):
    """Statistics by tracepoint, for those that have fired."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __getitem__(self, name: str) -> Statistics:
        """The statistics of a tracepoint. Raises NotFound, which names the nearest one."""
        values = self._bench.tracepoints[name]._native.statistics()
        return Statistics(**{**values, "buckets": tuple(values["buckets"])})

    def percentile(self, name: str, percent: float) -> int | None:
        """An estimate of a percentile, interpolated inside its bucket; None without samples."""
        return self._bench.tracepoints[name]._native.interpolated(round(percent * 10_000))

    def reset(self) -> None:
        """Forgets everything."""
        self._bench._native.reset_statistics()

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._bench.tracepoints if self._bench.tracepoints[name]._native.statistics()["count"])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    _NUMBERS = (
        *("count", "samples", "total_ns", "min_ns", "max_ns", "avg_ns"),
        *("p50_ns", "p90_ns", "p99_ns", "last_timestamp_ns"),
    )

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """A structured array, a row a tracepoint that has fired: `name`, the numbers, `buckets`.

        A time without a sample is 0: then `samples` is 0 too.
        """
        import numpy as np

        rows = list(self.items())
        longest = max((len(name) for name, _ in rows), default=1)
        width = max((len(s.buckets) for _, s in rows), default=1)
        kinds = [("name", f"U{longest}"), *((n, "u8") for n in self._NUMBERS), ("buckets", "u8", (width,))]
        numbers = [(name, *(getattr(s, n) or 0 for n in self._NUMBERS), s.buckets) for name, s in rows]
        return np.array(numbers, np.dtype(kinds))

    def to_arrow(self) -> pa.Table:
        """As `to_numpy`, as an Arrow table; a time without a sample is null. Raises ImportError without pyarrow."""
        from axebpf.tables import arrow_table

        rows = list(self.items())
        columns: dict[str, Any] = {"name": [name for name, _ in rows]}
        columns |= {n: [getattr(s, n) for _, s in rows] for n in self._NUMBERS}
        return arrow_table(columns | {"buckets": [list(s.buckets) for _, s in rows]})

    def _repr_html_(self) -> str:
        from axebpf.tables import html_table

        if self._bench.closed:
            return html_table("Statistics of a closed bench", [], [], 0)
        # Of a tracepoint without a duration, the times stay empty.
        rows = [(name, *("" if (v := getattr(s, n)) is None else v for n in self._NUMBERS)) for name, s in self.items()]
        return html_table("Statistics, times in ns", ["tracepoint", *self._NUMBERS], rows, len(rows))
