"""A vCPU's time: it runs, exits and is handled, again and again.

It is simulated in stretches, as columns. Within a stretch the causes of its exits are drawn first; a run then ends when
its cause arrives, or as soon as it can where the vCPU was still busy with the one before:

    end[i] = max(arrival[i], end[i-1] + before[i]) + after[i]

where `before` is what a run needs at least (binding, entering, its inner exits) and `after` the handling of its exit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from axebpf.hypervisor.arch.model import FINAL, Cause
from axebpf.hypervisor.arrivals import Arrivals, Integers, Latencies, Planned, Segment, Source
from axebpf.hypervisor.exits import Handler, InnerExits, Runs
from axebpf.hypervisor.guest import Guest
from axebpf.hypervisor.timeline import Piece, Times
from axebpf.tracepoints import definitions as tp
from axebpf.tracepoints.definitions import VcpuState

__all__ = ["FOREVER", "Vcpu"]

FOREVER = 1 << 62
"""A time that never comes."""

# Small fixed costs in ns, whose sum is a round trip of a simple exit. Events of one vCPU never share a nanosecond.
_SCHEDULE = 100  # from the end of one run's handling to the next run
_MIN_GUEST = 400  # of guest code in a run at least
_DONE = 300  # from the end of the handler to the end of the loop's turn
_STEP = (120, 420)  # binding, entering, leaving, unbinding: each a bit different each time
_GAP = (300, 1500)  # of guest code before an inner exit at least
_SHORTEST_HALT = 2_000


class Vcpu:
    """One vCPU from its first run to its last. Hands over what happens up to a time that it is asked for.

    `asleep` is one whose task has not run yet.
    """

    def __init__(
        self,
        guest: Guest,
        index: int,
        start: int,
        segments: Sequence[Segment],
        planned: Sequence[Planned],
        rng: np.random.Generator,
        *,
        asleep: bool,
    ) -> None:
        self.horizon = start
        """Nothing happens before this time that has not been handed over, in ns."""
        self.last_exit: int | None = None
        """When it left for good, in ns; None while it lives."""
        self.end: int = start
        """When its last turn ended, in ns."""
        self.handler = Handler(guest, index, rng)
        """What the hypervisor does about its exits."""
        self._rng, self._asleep = rng, asleep
        self._source = Source(guest.arch, segments, planned, rng)
        self._cursor = self._last_arrival = start
        self._waiting_inner = self._source.inner(start, start)
        self._latencies, self._inner_latencies = Latencies(guest.arch.latency), Latencies(guest.arch.inner_latency)

    def advance(self, until: int, stop_after: int | None = None) -> list[Piece]:
        """What happens up to about `until`. After `stop_after` its next exit is its last."""
        if self.last_exit is not None or until <= self._cursor:
            return []
        arrivals = self._source.exits(self._cursor, until)
        # An inner exit belongs to the run that the next arrival ends; one that no run has taken waits for the next.
        new = self._source.inner(self._cursor, until)
        inner_time, inner_kind = (np.concatenate(both) for both in zip(self._waiting_inner, new, strict=True))
        by_time = np.argsort(inner_time, kind="stable")
        inner_time, inner_kind = inner_time[by_time], inner_kind[by_time]
        self._cursor = until
        taken = int(np.searchsorted(inner_time, arrivals.time[-1], side="right")) if len(arrivals.time) else 0
        self._waiting_inner = inner_time[taken:], inner_kind[taken:]
        if not len(arrivals.time):
            return []
        runs, inner = self._simulate(arrivals, inner_time[:taken], inner_kind[:taken])
        self._last_arrival = int(arrivals.time[-1])
        if stop_after is not None and (runs.exit > stop_after).any():
            last = int(np.argmax(runs.exit > stop_after))
            runs = Runs(**{name: column[: last + 1] for name, column in vars(runs).items()})
            inner = InnerExits(**{name: column[inner.run <= last] for name, column in vars(inner).items()})
            self.last_exit = int(runs.exit[-1])
        elif int(runs.cause[-1]) in FINAL:
            self.last_exit = int(runs.exit[-1])
        pieces = [*self._states(runs, inner), *self.handler.runs(runs), *self.handler.inner(inner)]
        if self._asleep:
            pieces.append(self.handler.resumed(self.horizon + 20))
            self._asleep = False
        self.end = int(runs.end[-1])
        self.horizon = self.end
        if self.last_exit is not None:
            self.horizon = FOREVER
            pieces.append(self.handler.suspended(self.end + 400))
        return pieces

    def _simulate(self, arrivals: Arrivals, inner_time: Times, inner_kind: Integers) -> tuple[Runs, InnerExits]:
        """Runs that end with these arrivals, and the inner exits within them."""
        rng, count = self._rng, len(arrivals.time)
        run = np.searchsorted(arrivals.time, inner_time)
        bind, entry, leave, unbind = rng.integers(*_STEP, (4, count))
        latency = self._latencies.draw(rng, arrivals.cause)
        halts = np.flatnonzero(arrivals.cause == int(Cause.HALT))
        if len(halts):  # the next arrival wakes it
            following = np.append(arrivals.time[1:], FOREVER)[halts] - arrivals.time[halts]
            latency[halts] = np.maximum(np.minimum(latency[halts], following), _SHORTEST_HALT)
        inner_latency = self._inner_latencies.draw(rng, inner_kind)
        gap = rng.integers(*_GAP, len(run))
        cost = inner_latency + gap
        inner_cost = np.bincount(run, weights=cost, minlength=count).astype(np.int64)

        before = _SCHEDULE + bind + entry + inner_cost + _MIN_GUEST + leave
        after = unbind + latency + _DONE
        total = np.cumsum(before + after)
        lag = np.maximum.accumulate(np.append(self.horizon, arrivals.time + after - total))[1:]
        end = lag + total
        exit_ = end - after
        ready = np.append(self.horizon, end[:-1]) + _SCHEDULE
        enter = ready + bind
        running, left = enter + entry, exit_ - leave

        # Inner exits keep their share of the time between two arrivals, stretched to what the run has to spare.
        previous = np.append(self._last_arrival, arrivals.time[:-1])
        span = np.maximum(arrivals.time - previous, 1)
        share = np.clip((inner_time - previous[run]) / span[run], 0.0, 1.0)
        spare = left - running - _MIN_GUEST - inner_cost
        sums = np.cumsum(cost) - cost
        sums -= sums[np.searchsorted(run, run)]
        began = running[run] + sums + gap + (share * spare[run]).astype(np.int64)
        runs = Runs(
            arrivals.cause,
            arrivals.nr,
            arrivals.ret,
            ready,
            enter,
            running,
            left,
            exit_,
            exit_ + unbind,
            latency,
            end,
        )
        return runs, InnerExits(run, inner_kind, began, inner_latency)

    def _states(self, runs: Runs, inner: InnerExits) -> Iterator[Piece]:
        free, ready, running = VcpuState.FREE, VcpuState.READY, VcpuState.RUNNING
        # A run that fails leaves the vCPU invalid, and it is not unbound.
        whole = runs.cause != int(Cause.FAULT)
        for time, old, new in (
            (runs.ready, free, ready),
            (runs.running, ready, running),
            (inner.time, running, ready),
            (inner.time + inner.latency, ready, running),
            (runs.left[whole], running, ready),
            (runs.left[~whole], running, VcpuState.INVALID),
            (runs.free[whole], ready, free),
        ):
            yield self.handler.piece(tp.VcpuStateChange, time, old_state=int(old), new_state=int(new))
