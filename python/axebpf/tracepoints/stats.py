"""Counts and durations by tracepoint: the seed's `stats`.

The functions and `stats_manager()` work on the statistics that the default bench keeps, the same that `bench.stats`
shows. A fired event is in them already, by its field of role `duration`; `record_hit` and `record_duration` are for
what was measured elsewhere. In the seed, firing left the statistics alone, so that a hypervisor did both: here that
would count an event twice.

>>> import axebpf
>>> from axebpf.tracepoints import trace_vm_boot
>>> with axebpf.init() as bench:
...     trace_vm_boot(vm_id=1, duration_ns=300)
...     record_duration("vmm:vm_boot", 1_000, 500)
...     stats_manager()["vmm:vm_boot"].snapshot()
StatsSnapshot(count=2, total_ns=800, min_ns=300, max_ns=500, avg_ns=400)

Departures from the seed: the average is over the events with a duration, which plain hits do not dilute; an unknown
name raises NotFound, which names the nearest one, where the seed ignored it; nothing is locked while a manager is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from axebpf import _native
from axebpf._default import default_bench
from axebpf.errors import InvalidName, NotFound, did_you_mean
from axebpf.tracepoints.definitions import BUILTIN
from axebpf.tracepoints.histogram import HistogramSnapshot, nanoseconds

if TYPE_CHECKING:
    from axebpf import Bench

__all__ = [
    "StatsManager",
    "StatsSnapshot",
    "TracepointStats",
    "init_stats",
    "record_duration",
    "record_hit",
    "stats_manager",
]


@dataclass(frozen=True)
class StatsSnapshot:
    """What the events of a tracepoint came to at one moment. Times are nanoseconds, 0 where there was no duration."""

    count: int
    """Events."""
    total_ns: int
    """All durations together."""
    min_ns: int
    """The shortest duration."""
    max_ns: int
    """The longest."""
    avg_ns: int
    """The average over the events with a duration, rounded down."""


class TracepointStats:
    """Statistics of one tracepoint: of a bench's where a `StatsManager` gave them, or made by hand and of none.

    >>> stats = TracepointStats()
    >>> stats.record_hit(timestamp_ns=10)
    >>> stats.record_duration(timestamp_ns=20, duration_ns=0)
    >>> stats.snapshot()
    StatsSnapshot(count=2, total_ns=0, min_ns=0, max_ns=0, avg_ns=0)
    """

    def __init__(self, native: _native.Statistics | None = None) -> None:
        self._native = _native.Statistics() if native is None else native

    def record_hit(self, timestamp_ns: int) -> None:
        """Counts an event without a duration. Raises FieldError for a time that is none."""
        self._native.record_hit(nanoseconds("the time", timestamp_ns))

    def record_duration(self, timestamp_ns: int, duration_ns: int) -> None:
        """Counts an event with a duration, 0 among them. Raises FieldError for a time that is none."""
        self._native.record_duration(nanoseconds("the time", timestamp_ns), nanoseconds("the duration", duration_ns))

    def snapshot(self) -> StatsSnapshot:
        """What they say now."""
        values = self._native.values()
        return StatsSnapshot(*(values[field.name] or 0 for field in fields(StatsSnapshot)))

    def histogram_snapshot(self) -> HistogramSnapshot:
        """The durations by decade."""
        return HistogramSnapshot.of(self._native.values())

    def reset(self) -> None:
        """Forgets everything."""
        self._native.reset()

    def __repr__(self) -> str:
        return f"<TracepointStats: {self.snapshot()}>"


class StatsManager(Mapping[str, TracepointStats]):
    """Statistics by tracepoint: those that a bench keeps, or without a bench those of the 29 built-in ones, empty.

    >>> manager = StatsManager()
    >>> len(manager), manager.get("vmm:vm_reboot")
    (29, None)
    """

    def __init__(self, bench: Bench | None = None) -> None:
        self._bench = bench
        self._own = {} if bench is not None else {declared.event_name: TracepointStats() for declared in BUILTIN}

    def __getitem__(self, name: str) -> TracepointStats:
        """The statistics of a tracepoint. Raises NotFound, which names the nearest one; `get` gives None then."""
        if self._bench is None:
            if name not in self._own:
                raise NotFound(f"no tracepoint {name}{did_you_mean(name, self._own)}")
            return self._own[name]
        try:
            return TracepointStats(self._bench.tracepoints[name]._native.recorder())
        except InvalidName as error:
            raise NotFound(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._own if self._bench is None else self._bench.tracepoints))

    def __len__(self) -> int:
        return len(self._own if self._bench is None else self._bench.tracepoints)

    def all_snapshots(self) -> list[tuple[str, StatsSnapshot]]:
        """Name and snapshot of every tracepoint, by name."""
        return [(name, stats.snapshot()) for name, stats in self.items()]

    def reset_all(self) -> None:
        """Forgets everything."""
        for stats in self.values():
            stats.reset()

    def __repr__(self) -> str:
        return f"<StatsManager of {len(self)} tracepoints>"


def init_stats() -> StatsManager:
    """Makes the default bench where there is none, as `axebpf.init()`, and gives its statistics."""
    from axebpf import init

    return StatsManager(init())


def stats_manager() -> StatsManager:
    """The statistics of the default bench. Raises NotInitialized."""
    return StatsManager(default_bench())


def record_hit(name: str, timestamp_ns: int) -> None:
    """Counts an event without a duration on the default bench. Raises NotInitialized, NotFound, FieldError."""
    stats_manager()[name].record_hit(timestamp_ns)


def record_duration(name: str, timestamp_ns: int, duration_ns: int) -> None:
    """Counts an event with a duration on the default bench. Raises NotInitialized, NotFound, FieldError."""
    stats_manager()[name].record_duration(timestamp_ns, duration_ns)
