"""What makes a vCPU exit, and when: drawn at random from the rates of the phase that its guest is in."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axebpf.hypervisor.arch.axvisor import TICK_HZ
from axebpf.hypervisor.arch.model import FINAL, INTERRUPTS, Architecture, Cause, Inner, Latency, Phase
from axebpf.hypervisor.timeline import Times
from axebpf.tracepoints.definitions import ExitReason

__all__ = ["Arrivals", "Latencies", "Planned", "Segment", "Source", "choose", "events_per_second"]

Integers = NDArray[np.int64]

# Calls and accesses come in bursts: how many on average, and the median of the gaps within in ns.
_BURST = {Cause.HYPERCALL: 2.0, Cause.NOTHING: 3.0}
_INNER_BURST = {Inner.DEVICE: 4.0, Inner.PAGE_FAULT: 3.0}
_BURST_GAP = 6_000.0
_TIMER_CALL = (4_000, 15_000)  # ns from the guest's timer to the call that sets it again

# Events beside the six of every run (four changes of state, enter, exit) and the two of every inner exit.
_EXTRA = {
    Cause.TICK: 2,
    Cause.GUEST_TIMER: 3,
    Cause.DEVICE_IRQ: 2,
    Cause.HYPERCALL: 1,
    Cause.NOTHING: 0,
    Cause.IPI: 2,
    Cause.HALT: 3,
}
_INNER_EXTRA = {Inner.DEVICE: 1, Inner.SYS_REG: 0, Inner.PAGE_FAULT: 1}


def events_per_second(arch: Architecture, phase: Phase, ipis: bool) -> float:
    """Events that one vCPU makes in a second of this phase, on average."""
    rates = {**phase.exits, Cause.TICK: TICK_HZ}
    if arch.timer_call:
        rates[Cause.NOTHING] = rates.get(Cause.NOTHING, 0) + rates.get(Cause.GUEST_TIMER, 0)
    total = sum(rate * (2 + _INNER_EXTRA[kind]) for kind, rate in phase.inner.items())
    for cause, rate in rates.items():
        if ipis or cause != Cause.IPI:
            shown = cause in INTERRUPTS and arch.reasons[cause] == ExitReason.EXTERNAL_INTERRUPT
            total += rate * (6 + _EXTRA[cause] + shown)
    return total


@dataclass(frozen=True, slots=True)
class Segment:
    """From when to when, in ns, a vCPU is in a phase; whether it interrupts others."""

    start: int
    end: int
    phase: Phase
    ipis: bool


@dataclass(frozen=True)
class Planned:
    """An exit at a set time: a secondary (`target`) started, the guest switched off."""

    time: int
    cause: Cause
    target: int = 0


@dataclass
class Arrivals:
    """Causes of exits in the order of time.

    `nr` and `ret` are the hypercall's; `nr` of a DEVICE_IRQ is its number, of a CPU_UP its target.
    """

    time: Times
    cause: Integers
    nr: Integers
    ret: Integers

    @classmethod
    def same(cls, times: Times, cause: Cause) -> Arrivals:
        """All of one cause."""
        zeros = np.zeros(len(times), dtype=np.int64)
        return cls(times, np.full_like(zeros, int(cause)), zeros, zeros.copy())

    @classmethod
    def merged(cls, parts: Sequence[Arrivals]) -> Arrivals:
        """Those of all parts, in the order of time."""
        by_time = np.argsort(np.concatenate([part.time for part in parts]), kind="stable")
        return cls(*(np.concatenate([vars(part)[name] for part in parts])[by_time] for name in vars(parts[0])))

    def before(self, time: int) -> Arrivals:
        """Those before a time."""
        return Arrivals(*(column[self.time < time] for column in vars(self).values()))


class Source:
    """Draws what arrives at one vCPU, stretch by stretch."""

    def __init__(
        self, arch: Architecture, segments: Sequence[Segment], planned: Sequence[Planned], rng: np.random.Generator
    ) -> None:
        self._arch, self._segments, self._planned, self._rng = arch, segments, list(planned), rng
        self._ends = [segment.end for segment in segments]
        self._device_irqs = np.array(arch.device_irqs, dtype=np.int64)
        # Timers of different CPUs do not fire together.
        self._tick_offset, self._timer_offset = (int(x) for x in rng.integers(0, 4_000_000, 2))

    def exits(self, start: int, end: int) -> Arrivals:
        """The causes of exits from `start` to `end`, those set for then among them; bursts may go a little beyond."""
        found = [Arrivals.same(np.empty(0, dtype=np.int64), Cause.TICK)]
        for segment, low, high in self._parts(start, end):
            found.append(Arrivals.same(_grid(low, high, 1_000_000_000 // TICK_HZ, self._tick_offset), Cause.TICK))
            for cause, rate in segment.phase.exits.items():
                if segment.ipis or cause != Cause.IPI:
                    found.append(self._exits_of(cause, rate, segment.phase, low, high))
                    if cause == Cause.GUEST_TIMER and self._arch.timer_call:
                        calls = found[-1].time + self._rng.integers(*_TIMER_CALL, len(found[-1].time))
                        found.append(Arrivals.same(calls, Cause.NOTHING))
        while self._planned and self._planned[0].time < end:
            plan = self._planned.pop(0)
            if plan.cause in FINAL:  # the vCPU's last act
                found = [part.before(plan.time) for part in found]
            special = Arrivals.same(np.array([plan.time], dtype=np.int64), plan.cause)
            special.nr[:] = plan.target
            found.append(special)
        return Arrivals.merged(found)

    def _exits_of(self, cause: Cause, rate: float, phase: Phase, low: int, high: int) -> Arrivals:
        if cause == Cause.GUEST_TIMER:
            times = _grid(low, high, int(1e9 / rate), self._timer_offset)
            times += self._rng.integers(0, 20_000, len(times))
        else:
            times = self._bursts(low, high, rate, _BURST.get(cause, 1.0))
        arrivals = Arrivals.same(times, cause)
        if cause == Cause.HYPERCALL:
            kinds = phase.hypercalls
            pick = choose(self._rng, [kind.weight for kind in kinds], len(times))
            arrivals.nr = np.array([kind.nr for kind in kinds], dtype=np.int64)[pick]
            arrivals.ret = np.array([kind.ret for kind in kinds], dtype=np.int64)[pick]
        if cause == Cause.DEVICE_IRQ:
            devices = self._device_irqs[:1] if phase.one_device else self._device_irqs
            arrivals.nr = devices[self._rng.integers(0, len(devices), len(times))]
        return arrivals

    def inner(self, start: int, end: int) -> tuple[Times, Integers]:
        """Times and kinds of the inner exits from `start` to `end`, in no order."""
        times, kinds = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for segment, low, high in self._parts(start, end):
            for kind, rate in segment.phase.inner.items():
                times.append(self._bursts(low, high, rate, _INNER_BURST.get(kind, 1.0)))
                kinds.append(np.full(len(times[-1]), int(kind), dtype=np.int64))
        return np.concatenate(times), np.concatenate(kinds)

    def _parts(self, start: int, end: int) -> Iterator[tuple[Segment, int, int]]:
        for segment in self._segments[bisect.bisect_right(self._ends, start) :]:
            low, high = max(start, segment.start), min(end, segment.end)
            if low >= end:
                break
            if low < high:
                yield segment, low, high

    def _bursts(self, low: int, high: int, rate: float, size: float) -> Times:
        """Times of a Poisson process of bursts: `rate` a second in all, `size` a burst on average."""
        rng = self._rng
        heads = rng.integers(low, high, rng.poisson(rate / size * (high - low) / 1e9))
        if size == 1.0 or not len(heads):
            return heads
        sizes = rng.geometric(1 / size, len(heads))
        gaps = (_BURST_GAP * np.exp(0.8 * rng.standard_normal(int(sizes.sum())))).astype(np.int64) + 1
        first = np.cumsum(sizes) - sizes
        gaps[first] = 0
        offsets = np.cumsum(gaps)
        times: Times = np.repeat(heads, sizes) + offsets - np.repeat(offsets[first], sizes)
        return times


class Latencies:
    """Draws the latencies of many kinds at once."""

    def __init__(self, kinds: Mapping[Cause, Latency] | Mapping[Inner, Latency]) -> None:
        self._columns = np.zeros((6, max(kinds) + 1))
        for kind, la in kinds.items():
            self._columns[:, kind] = la.median_ns, la.sigma, la.low_ns, la.high_ns, la.tail, la.stretch

    def draw(self, rng: np.random.Generator, kinds: Integers) -> Integers:
        """A latency in ns for each kind."""
        median, sigma, low, high, tail, stretch = self._columns[:, kinds]
        value = median * np.exp(sigma * rng.standard_normal(len(kinds)))
        value = np.where(rng.random(len(kinds)) < tail, value * stretch, value)
        bounded: Integers = np.clip(value, low, high).astype(np.int64)
        return bounded


def choose(rng: np.random.Generator, weights: Sequence[float], count: int) -> NDArray[np.intp]:
    """Indices, each as often as its weight says."""
    bounds = np.cumsum(weights)
    indices: NDArray[np.intp] = np.searchsorted(bounds, rng.random(count) * bounds[-1], side="right")
    return indices


def _grid(low: int, high: int, period: int, offset: int) -> Times:
    """The times `offset + k * period` from `low` to before `high`."""
    return np.arange(low + (offset - low) % period, high, period, dtype=np.int64)
