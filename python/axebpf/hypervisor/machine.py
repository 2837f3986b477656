"""The machine under the simulated hypervisor: VMs, and vCPUs that run, exit and are handled.

A vCPU's time is simulated in stretches, as columns. Within a stretch the causes of its exits are drawn first; a run
then ends when its cause arrives, or as soon as it can where the vCPU was still busy with the one before:

    end[i] = max(arrival[i], end[i-1] + before[i]) + after[i]

where `before` is what a run needs at least (binding, entering, its inner exits) and `after` the handling of its exit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from axebpf.hypervisor.arch import RAM_SIZE, Architecture, Cause, Inner
from axebpf.hypervisor.arrivals import Arrivals, Integers, Latencies, Planned, Segment, Source, choose
from axebpf.hypervisor.timeline import Column, Piece, Times, one
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints import definitions as tp
from axebpf.tracepoints.definitions import AccessType, ShutdownReason, TimerEventType, VcpuState

__all__ = ["Guest", "Vcpu", "Vm"]

_FOREVER = 1 << 62  # a time that never comes

# Small fixed costs in ns. Events of one vCPU never share a nanosecond.
_SCHEDULE = 100  # from the end of one run's handling to the next run
_MIN_GUEST = 400  # of guest code in a run at least
_DONE = 300  # from the end of the handler to the end of the loop's turn
_STEP = (120, 420)  # binding, entering, leaving, unbinding: each a bit different each time
_GAP = (300, 1500)  # of guest code before an inner exit at least


def _idle_task(cpu: int) -> int:
    """Address of the idle task of a CPU."""
    return 0xFFFF_8000_4010_0000 + cpu * 0x400


def _vcpu_task(cpu: int) -> int:
    """Address of the vCPU's task; every vCPU has a CPU of its own."""
    return 0xFFFF_8000_4020_0000 + cpu * 0x400


@dataclass(frozen=True)
class Guest:
    """A VM as it is configured."""

    arch: Architecture
    vm_id: int
    vcpus: int

    def cpu(self, vcpu: int) -> int:
        """The physical CPU that a vCPU is bound to."""
        return (self.vm_id - 1) * self.vcpus + vcpu

    @property
    def ram(self) -> tuple[int, int]:
        """Guest-physical and host-physical address of its memory."""
        shift = (self.vm_id - 1) * RAM_SIZE
        return self.arch.ram_base + (shift if self.arch.ram_identity else 0), self.arch.host_ram_base + shift

    @property
    def passthrough(self) -> list[tuple[int, int]]:
        """Address and size of the device regions that it owns."""
        return [
            (p.base + (self.vm_id - 1) * p.stride, p.size) for p in self.arch.passthrough if p.stride or self.vm_id == 1
        ]


@dataclass
class _Runs:
    """Runs of one stretch as columns; times of the steps of each in order, `latency` its handler's."""

    cause: Integers
    nr: Integers
    ret: Integers
    ready: Times
    enter: Times
    running: Times
    left: Times
    exit: Times
    free: Times
    latency: Integers
    end: Times


@dataclass
class _InnerExits:
    """Inner exits as columns: which run, what, when it began, how long it took."""

    run: Integers
    kind: Integers
    time: Times
    latency: Integers


class Vcpu:
    """One vCPU from its first run to its last. Hands over what happens up to a time that it is asked for."""

    def __init__(
        self,
        guest: Guest,
        index: int,
        start: int,
        segments: Sequence[Segment],
        planned: Sequence[Planned],
        rng: np.random.Generator,
    ) -> None:
        self.horizon = start
        """Nothing happens before this time that has not been handed over, in ns."""
        self.last_exit: int | None = None
        """When it left for good, in ns; None while it lives."""
        self.end: int = start
        """When its last turn ended, in ns."""
        self.started: list[tuple[int, int]] = []
        """The secondaries that it started, and when their task may run."""
        self.cpu = guest.cpu(index)
        self._guest, self._index, self._rng = guest, index, rng
        self._source = Source(guest.arch, segments, planned, rng)
        self._cursor = self._last_arrival = start
        self._waiting_inner = self._source.inner(start, start)
        self._latencies, self._inner_latencies = Latencies(guest.arch.latency), Latencies(guest.arch.inner_latency)
        self._reasons = np.zeros(len(Cause), dtype=np.int64)
        for cause, reason in guest.arch.reasons.items():
            self._reasons[cause] = reason
        self._begun = False

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
            runs = _Runs(**{name: column[: last + 1] for name, column in vars(runs).items()})
            inner = _InnerExits(**{name: column[inner.run <= last] for name, column in vars(inner).items()})
            self.last_exit = int(runs.exit[-1])
        elif runs.cause[-1] == Cause.SYSTEM_DOWN:
            self.last_exit = int(runs.exit[-1])
        pieces = [*self._states(runs, inner), *self._runs(runs), *self._inner(inner), *self._handled(runs)]
        if not self._begun:
            pieces.append(self._switch(self.horizon + 20, _idle_task(self.cpu), _vcpu_task(self.cpu)))
            self._begun = True
        self.end = int(runs.end[-1])
        self.horizon = self.end
        if self.last_exit is not None:
            self.horizon = _FOREVER
            pieces.append(self._switch(self.end + 400, _vcpu_task(self.cpu), _idle_task(self.cpu)))
        return pieces

    # What becomes of it

    def _simulate(self, arrivals: Arrivals, inner_time: Times, inner_kind: Integers) -> tuple[_Runs, _InnerExits]:
        """Runs that end with these arrivals, and the inner exits within them."""
        rng, count = self._rng, len(arrivals.time)
        run = np.searchsorted(arrivals.time, inner_time)
        bind, entry, leave, unbind = rng.integers(*_STEP, (4, count))
        latency = self._latencies.draw(rng, arrivals.cause)
        halts = np.flatnonzero(arrivals.cause == Cause.HALT)
        if len(halts):  # the next arrival wakes it
            following = np.append(arrivals.time[1:], _FOREVER)[halts] - arrivals.time[halts]
            latency[halts] = np.maximum(np.minimum(latency[halts], following), 2_000)
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
        runs = _Runs(
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
        return runs, _InnerExits(run, inner_kind, began, inner_latency)

    # What is seen of it

    def _piece(self, tracepoint: type[Tracepoint], time: Times, **columns: Column) -> Piece:
        """Events of this vCPU; its VM and its number are filled in where the tracepoint has them."""
        own = {"vm_id": self._guest.vm_id, "vcpu_id": self._index}
        known = {f.name: own[f.name] for f in tracepoint.fields if f.name in own}
        return Piece(tracepoint.event_name, time, self.cpu, {**known, **columns})

    def _switch(self, time: int, from_task: int, to_task: int) -> Piece:
        return one(tp.TaskSwitch, time, self.cpu, from_task=from_task, to_task=to_task)

    def _states(self, runs: _Runs, inner: _InnerExits) -> Iterator[Piece]:
        free, ready, running = VcpuState.FREE, VcpuState.READY, VcpuState.RUNNING
        for time, old, new in (
            (runs.ready, free, ready),
            (runs.running, ready, running),
            (inner.time, running, ready),
            (inner.time + inner.latency, ready, running),
            (runs.left, running, ready),
            (runs.free, ready, free),
        ):
            yield self._piece(tp.VcpuStateChange, time, old_state=int(old), new_state=int(new))

    def _runs(self, runs: _Runs) -> Iterator[Piece]:
        yield self._piece(tp.VcpuRunEnter, runs.enter)
        reason, duration = self._reasons[runs.cause], runs.exit - runs.enter
        yield self._piece(tp.VcpuRunExit, runs.exit, exit_reason=reason, duration_ns=duration)

    def _inner(self, inner: _InnerExits) -> Iterator[Piece]:
        """Accesses and faults are seen when they have been handled, just before the guest goes on."""
        rng, seen = self._rng, inner.time + inner.latency - 100
        access = inner.kind == Inner.DEVICE
        count = int(access.sum())
        devices = self._guest.arch.devices
        pick = choose(rng, [d.weight for d in devices], count)
        base = np.array([d.base + (self._index * d.size if d.per_vcpu else 0) for d in devices], dtype=np.int64)
        width, size = (np.array([getattr(d, name) for d in devices], dtype=np.int64) for name in ("width", "size"))
        yield self._piece(
            tp.DeviceAccess,
            seen[access],
            device_id=np.array([d.device for d in devices], dtype=np.int64)[pick],
            addr=base[pick] + rng.integers(0, size[pick] // width[pick]) * width[pick],
            is_write=(rng.random(count) < 0.55).astype(np.int64),
        )
        fault = inner.kind == Inner.PAGE_FAULT
        count = int(fault.sum())
        kinds = np.array([AccessType.READ, AccessType.WRITE, AccessType.EXECUTE], dtype=np.int64)
        yield self._piece(
            tp.PageFault,
            seen[fault],
            gpa=self._guest.ram[0] + 8 * rng.integers(0, RAM_SIZE // 8, count),
            access_type=kinds[choose(rng, [0.55, 0.30, 0.15], count)],
            duration_ns=inner.latency[fault] - 100,
        )

    def _handled(self, runs: _Runs) -> Iterator[Piece]:
        """What the loop does after each exit, from `free` on."""
        done = runs.free + runs.latency

        def of(*causes: Cause) -> NDArray[np.intp]:
            return np.flatnonzero(np.isin(runs.cause, causes))

        yield from self._interrupts(runs, done, of(Cause.TICK, Cause.GUEST_TIMER, Cause.DEVICE_IRQ))
        calls, ups, down = of(Cause.HYPERCALL), of(Cause.CPU_UP), of(Cause.SYSTEM_DOWN)
        yield self._call(runs, done, calls, runs.nr[calls], runs.ret[calls])
        arch = self._guest.arch
        if arch.cpu_on is not None:
            yield self._call(runs, done + 60, ups, arch.cpu_on, 0)
        if arch.system_off is not None:
            yield self._call(runs, done, down, arch.system_off, 0)
        entry = self._guest.ram[0] + arch.secondary_entry
        yield self._piece(tp.CpuUp, done[ups], source_vcpu=self._index, target_vcpu=runs.nr[ups], entry_point=entry)
        for up in ups:
            self.started.append((int(runs.nr[up]), int(done[up]) + int(self._rng.integers(2_000, 50_000))))
        yield from self._ipis(done[of(Cause.IPI)])
        halts = of(Cause.HALT)
        task, idle = _vcpu_task(self.cpu), _idle_task(self.cpu)
        yield self._piece(tp.VcpuHalt, runs.free[halts] + 50)
        yield self._piece(tp.TaskSwitch, runs.free[halts] + 200, from_task=task, to_task=idle)
        yield self._piece(tp.TaskSwitch, done[halts], from_task=idle, to_task=task)

    def _call(self, runs: _Runs, time: Times, which: NDArray[np.intp], nr: Column, ret: Column) -> Piece:
        duration = time[which] - runs.free[which]
        return self._piece(tp.Hypercall, time[which], nr=nr, ret_val=ret, duration_ns=duration)

    def _interrupts(self, runs: _Runs, done: Times, which: NDArray[np.intp]) -> Iterator[Piece]:
        arch, cause, begun, done = self._guest.arch, runs.cause[which], runs.free[which] + 60, done[which]
        tick, timer, device = (cause == kind for kind in (Cause.TICK, Cause.GUEST_TIMER, Cause.DEVICE_IRQ))
        irq = np.full(len(which), arch.host_timer_irq, dtype=np.int64)
        irq[device] = self._rng.choice(np.array(arch.device_irqs, dtype=np.int64), int(device.sum()))
        yield self._piece(tp.ExternalInterrupt, begun, vector=irq if arch.reports_vector else 0)
        yield self._piece(tp.IrqHandle, done, irq_num=irq, duration_ns=done - begun)
        yield self._piece(tp.TimerTick, done[tick] + 40, timestamp=done[tick] + 40)
        yield self._piece(tp.TimerEvent, done[timer] + 40, event_type=int(TimerEventType.ONE_SHOT))
        yield self._piece(tp.IrqInject, done[timer] + 80, irq_num=arch.guest_timer_irq)
        yield self._piece(tp.IrqInject, done[device] + 80, irq_num=irq[device])

    def _ipis(self, time: Times) -> Iterator[Piece]:
        rng, others = self._rng, self._guest.vcpus - 1
        if not len(time):
            return
        target = (self._index + 1 + rng.integers(0, others, len(time))) % (others + 1)
        vector = rng.choice(np.array(self._guest.arch.ipi_vectors, dtype=np.int64), len(time))
        yield self._piece(tp.IpiSend, time, target_cpu=target, vector=vector)
        yield self._piece(tp.IrqInject, time + 50, vcpu_id=target, irq_num=vector)


@dataclass
class Vm:
    """One VM from the first run of its primary vCPU until its last vCPU has left."""

    guest: Guest
    segments: Sequence[Segment]
    """Phases of the VM, in order and without gaps; each secondary's own first one is put before."""
    power_off: int
    """When the guest switches itself off, in ns."""
    bring_up: Sequence[int]
    """When the primary starts each secondary, in ns."""
    seed: int
    stopped: int | None = field(default=None, init=False)
    """When the last vCPU left, in ns; None while one lives."""
    _vcpus: list[Vcpu] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        planned = [Planned(time, Cause.CPU_UP, index + 1) for index, time in enumerate(self.bring_up)]
        planned.append(Planned(self.power_off, Cause.SYSTEM_DOWN))
        self._vcpus.append(Vcpu(self.guest, 0, self.segments[0].start, self.segments, planned, self._rng(0)))

    def _rng(self, vcpu: int) -> np.random.Generator:
        key = (self.guest.vm_id, vcpu)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))

    @property
    def horizon(self) -> int:
        """Nothing happens in this VM before this time that has not been handed over, in ns."""
        return min(vcpu.horizon for vcpu in self._vcpus)

    def advance(self, until: int) -> list[Piece]:
        """What happens up to about `until`."""
        if self.stopped is not None:
            return []
        primary, *secondaries = self._vcpus
        # The others must know of the end before their own exits near it are decided.
        if self.power_off - 10_000_000 < until <= self.power_off:
            until = self.power_off + 1
        pieces = primary.advance(until)
        for index, time in primary.started[len(secondaries) :]:
            secondaries.append(self._secondary(index, time))
        self._vcpus = [primary, *secondaries]
        off = primary.last_exit
        for vcpu in secondaries:
            pieces += vcpu.advance(until, off)
        if off is not None and all(vcpu.last_exit is not None for vcpu in self._vcpus):
            last = max(self._vcpus, key=lambda vcpu: vcpu.end)
            self.stopped = last.end + 200
            pieces.append(
                one(
                    tp.VmShutdown,
                    self.stopped,
                    last.cpu,
                    vm_id=self.guest.vm_id,
                    reason=int(ShutdownReason.SYSTEM_DOWN),
                    duration_ns=self.stopped - off,
                )
            )
        return pieces

    def _secondary(self, index: int, start: int) -> Vcpu:
        online = Segment(start, start + int(self.guest.arch.online.seconds * 1e9), self.guest.arch.online, False)
        later = [Segment(max(s.start, online.end), s.end, s.phase, s.ipis) for s in self.segments if s.end > online.end]
        # It lives on until it learns that the primary has switched the machine off.
        tail = [Segment(self.power_off, _FOREVER, self.segments[-1].phase, False)]
        return Vcpu(self.guest, index, start, [online, *later, *tail], [], self._rng(index))
