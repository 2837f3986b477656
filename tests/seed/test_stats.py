"""`axebpf.tracepoints.stats`: by hand, and on the statistics that the default bench keeps."""

from __future__ import annotations

import copy
import dataclasses

import axebpf
import pytest
from axebpf import Bench, BenchClosed, FieldError, NotFound, NotInitialized, tracepoints
from axebpf.tracepoints import stats
from axebpf.tracepoints.stats import StatsManager, StatsSnapshot, TracepointStats

from .conftest import rows

NAMES = sorted(row.name for row in rows())


def of(*durations: int, hits: int = 0) -> TracepointStats:
    made = TracepointStats()
    for time in range(hits):
        made.record_hit(time)
    for ns in durations:
        made.record_duration(7, ns)
    return made


# Of one tracepoint


def test_fresh_ones_are_all_0() -> None:
    """Seed: a fresh snapshot."""
    assert of().snapshot() == StatsSnapshot(count=0, total_ns=0, min_ns=0, max_ns=0, avg_ns=0)


@pytest.mark.parametrize("hits", [1, 10])
def test_hits_are_counted_and_have_no_duration(hits: int) -> None:
    """Seed: one hit, ten hits; the average of no durations is 0."""
    assert of(hits=hits).snapshot() == StatsSnapshot(hits, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("durations", "snapshot"),
    [
        ([500], (1, 500, 500, 500, 500)),
        ([100, 200, 300], (3, 600, 100, 300, 200)),
        ([500, 100, 900], (3, 1_500, 100, 900, 500)),
        ([0], (1, 0, 0, 0, 0)),
        ([10_000_000_000], (1, 10_000_000_000, 10_000_000_000, 10_000_000_000, 10_000_000_000)),
    ],
)
def test_durations(durations: list[int], snapshot: tuple[int, ...]) -> None:
    """Seed: one duration, three, extremes, a duration of 0, ten seconds."""
    assert of(*durations).snapshot() == StatsSnapshot(*snapshot)


def test_the_average_is_over_durations() -> None:
    """The seed divided by all hits; the decision here is the events with a duration."""
    assert of(100, 200, 300, hits=10).snapshot() == StatsSnapshot(13, 600, 100, 300, 200)


def test_a_duration_of_0_is_the_shortest() -> None:
    assert of(5, 0, 9).snapshot().min_ns == 0


def test_durations_are_in_the_histogram() -> None:
    """Seed: the histogram's total is 2 after two durations."""
    found = of(500, 5_000, hits=3).histogram_snapshot()
    assert (found.total, found.buckets[:2], found.p50_ns) == (2, (1, 1), 1_000)


def test_reset_forgets() -> None:
    """Seed: reset zeroes."""
    made = of(500, hits=1)
    made.reset()
    assert made.snapshot() == of().snapshot()
    assert made.histogram_snapshot().total == 0


def test_snapshots_are_copied_and_shown() -> None:
    """Seed: a snapshot has Clone, and Debug that says "count"; here it also cannot be changed."""
    snapshot = of(5).snapshot()
    assert copy.copy(snapshot) == snapshot
    assert "count=1" in repr(snapshot)
    assert "count=1" in repr(of(5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.count = 2  # type: ignore[misc]


@pytest.mark.parametrize("bad", [-1, 2**64, 0.5, None])
def test_what_is_no_time_is_refused(bad: int) -> None:
    made = TracepointStats()
    with pytest.raises(FieldError, match="the time is"):
        made.record_hit(bad)
    with pytest.raises(FieldError, match="the time is"):
        made.record_duration(bad, 1)
    with pytest.raises(FieldError, match="the duration is"):
        made.record_duration(1, bad)
    assert made.snapshot().count == 0


# Of all


def test_a_manager_has_every_tracepoint() -> None:
    """Seed: a new manager, and the default one, are not empty."""
    assert list(StatsManager()) == NAMES
    assert list(StatsManager(Bench())) == NAMES


@pytest.mark.parametrize("manager", [StatsManager(), StatsManager(Bench())], ids=["by hand", "of a bench"])
def test_known_names_are_found_and_unknown_ones_not(manager: StatsManager) -> None:
    """Seed: `get` of vmm:vm_create and vmm:vcpu_run_enter, and of an unknown name."""
    assert manager.get("vmm:vm_create") is not None
    assert manager.get("vmm:vcpu_run_enter") is not None
    assert manager.get("unknown:event") is None
    assert manager.get("no name") is None
    assert "no name" not in manager
    with pytest.raises(NotFound, match="did you mean vmm:vm_boot"):
        manager["vmm:vm_bot"]


def test_all_snapshots_are_by_name() -> None:
    """Seed: `all_snapshots` has vmm:vm_create and vmm:vcpu_run_enter, sorted."""
    manager = StatsManager()
    manager["vmm:vm_create"].record_hit(1)
    manager["vmm:vcpu_run_enter"].record_duration(1, 5)
    found = dict(manager.all_snapshots())
    assert list(found) == NAMES
    assert (found["vmm:vm_create"].count, found["vmm:vcpu_run_enter"].total_ns) == (1, 5)


def test_reset_all_forgets() -> None:
    """Seed: `reset_all`."""
    manager = StatsManager()
    manager["vmm:vm_create"].record_hit(1)
    manager.reset_all()
    assert {snapshot.count for _, snapshot in manager.all_snapshots()} == {0}


def test_managers_made_by_hand_share_nothing() -> None:
    first, second = StatsManager(), StatsManager()
    first["vmm:vm_boot"].record_hit(1)
    assert second["vmm:vm_boot"].snapshot().count == 0


# Of the default bench


def test_there_are_none_before_init() -> None:
    """The seed ignored what was recorded before its init; the decision here is an error."""
    for use in (stats.stats_manager, lambda: stats.record_hit("vmm:vm_boot", 1)):
        with pytest.raises(NotInitialized):
            use()
    assert len(stats.init_stats()) == 29
    assert len(stats.stats_manager()) == 29


def test_the_functions_feed_the_benchs_own_statistics() -> None:
    bench = axebpf.init()
    stats.record_hit("vmm:vm_boot", 10)
    stats.record_duration("vmm:vm_boot", 20, 500)
    found = bench.stats["vmm:vm_boot"]
    assert (found.count, found.samples, found.total_ns, found.last_timestamp_ns) == (2, 1, 500, 20)
    assert bench.tracepoints["vmm:vm_boot"].fired == 0, "recorded, not fired"
    assert stats.stats_manager()["vmm:vm_boot"].snapshot() == StatsSnapshot(2, 500, 500, 500, 500)
    stats.stats_manager().reset_all()
    assert bench.stats["vmm:vm_boot"].count == 0


def test_statistics_that_were_got_stay_up_to_date() -> None:
    axebpf.init()
    boots = stats.stats_manager()["vmm:vm_boot"]
    tracepoints.trace_vm_boot(1, 300)
    assert (boots.snapshot().total_ns, boots.histogram_snapshot().buckets[0]) == (300, 1)
    boots.reset()
    assert boots.snapshot().count == 0


def test_ones_own_tracepoints_are_there_too() -> None:
    class VmPause(axebpf.Tracepoint, name="test:vm_stopped", id=3600):
        """A tracepoint of one's own."""

    axebpf.init().define(VmPause).fire()
    assert dict(stats.stats_manager().all_snapshots())["test:vm_stopped"].count == 1


@pytest.mark.parametrize("name", ["vmm:vm_bot", "nothing", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    """The seed ignored it; the decision here is an error that names the nearest one."""
    axebpf.init()
    with pytest.raises(NotFound, match="did you mean vmm:vm_boot" if name == "vmm:vm_bot" else None):
        stats.record_hit(name, 1)
    with pytest.raises(NotFound):
        stats.record_duration(name, 1, 1)


def test_what_is_recorded_by_hand_counts_where_events_do_not() -> None:
    bench = axebpf.init(statistics=False)
    tracepoints.trace_vm_boot(1, 300)
    stats.record_duration("vmm:vm_boot", 1, 500)
    assert bench.stats["vmm:vm_boot"].total_ns == 500


def test_statistics_of_a_closed_bench_say_so() -> None:
    with axebpf.init():
        boots = stats.stats_manager()["vmm:vm_boot"]
    with pytest.raises(BenchClosed):
        boots.record_hit(1)
    with pytest.raises(BenchClosed):
        boots.snapshot()
