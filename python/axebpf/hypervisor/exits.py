"""What the hypervisor does about a vCPU's exits, as events: calls answered, interrupts handled, devices emulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axebpf.hypervisor.arch.axvisor import RAM_SIZE
from axebpf.hypervisor.arch.model import INTERRUPTS, Cause, Inner
from axebpf.hypervisor.arrivals import Integers, choose
from axebpf.hypervisor.guest import Guest
from axebpf.hypervisor.timeline import Column, Piece, Times, one
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints import definitions as tp
from axebpf.tracepoints.definitions import AccessType, ExitReason, TimerEventType

__all__ = ["Handler", "InnerExits", "Runs"]

_ACCESSES = {AccessType.READ: 0.55, AccessType.WRITE: 0.30, AccessType.EXECUTE: 0.15}  # shares of the page faults
_WRITES = 0.55  # share of the accesses to devices
_TASK_STARTS = (2_000, 50_000)  # ns from its spawning to a task's first turn


@dataclass
class Runs:
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
class InnerExits:
    """Inner exits as columns: which run, what, when it began, how long it took."""

    run: Integers
    kind: Integers
    time: Times
    latency: Integers


class Handler:
    """Makes the events of one vCPU's exits, all on its CPU."""

    def __init__(self, guest: Guest, vcpu: int, rng: np.random.Generator) -> None:
        self.started: list[tuple[int, int]] = []
        """The secondaries that the vCPU started, and when their task may run."""
        self.cpu = guest.cpu(vcpu)
        self._guest, self._vcpu, self._rng = guest, vcpu, rng
        self._ids = {"vm_id": guest.vm_id, "vcpu_id": vcpu}
        self._idle, self._task = 0xFFFF_8000_4010_0000 + self.cpu * 0x400, 0xFFFF_8000_4020_0000 + self.cpu * 0x400
        arch = guest.arch
        self._reasons = np.zeros(len(Cause), dtype=np.int64)
        for cause, reason in arch.reasons.items():
            self._reasons[int(cause)] = int(reason)
        self._interrupts = np.isin(np.arange(len(Cause)), [int(cause) for cause in INTERRUPTS])
        self._vectors = np.array(arch.ipi_vectors, dtype=np.int64)
        self._devices = _Devices(guest, vcpu)

    def piece(self, tracepoint: type[Tracepoint], time: Times, **columns: Column) -> Piece:
        """Events of this vCPU; its VM and its number are filled in where the tracepoint has them."""
        known = {f.name: self._ids[f.name] for f in tracepoint.fields if f.name in self._ids}
        return Piece(tracepoint.event_name, time, self.cpu, {**known, **columns})

    def resumed(self, time: int) -> Piece:
        """The scheduler lets the vCPU's task run."""
        return one(tp.TaskSwitch, time, self.cpu, from_task=self._idle, to_task=self._task)

    def suspended(self, time: int) -> Piece:
        """The scheduler lets the idle task run."""
        return one(tp.TaskSwitch, time, self.cpu, from_task=self._task, to_task=self._idle)

    def runs(self, runs: Runs) -> Iterator[Piece]:
        """Each run's enter and exit, and what the loop does after it, from `free` on."""
        yield self.piece(tp.VcpuRunEnter, runs.enter)
        reason, duration = self._reasons[runs.cause], runs.exit - runs.enter
        yield self.piece(tp.VcpuRunExit, runs.exit, exit_reason=reason, duration_ns=duration)
        done = runs.free + runs.latency
        yield from self._handled(runs, done, reason)
        calls = np.flatnonzero(runs.cause == int(Cause.HYPERCALL))
        yield self._call(runs, done, calls, runs.nr[calls], runs.ret[calls])
        yield from self._power(runs, done)
        yield from self._ipis(done[runs.cause == int(Cause.IPI)])
        halts = np.flatnonzero(runs.cause == int(Cause.HALT))
        yield self.piece(tp.VcpuHalt, runs.free[halts] + 50)
        yield self.piece(tp.TaskSwitch, runs.free[halts] + 200, from_task=self._task, to_task=self._idle)
        yield self.piece(tp.TaskSwitch, done[halts], from_task=self._idle, to_task=self._task)

    def _call(self, runs: Runs, time: Times, which: NDArray[np.intp], nr: Column, ret: Column) -> Piece:
        duration = time[which] - runs.free[which]
        return self.piece(tp.Hypercall, time[which], nr=nr, ret_val=ret, duration_ns=duration)

    def _power(self, runs: Runs, done: Times) -> Iterator[Piece]:
        """VCPUs and the machine switched on and off, which are hypercalls on some architectures."""
        arch = self._guest.arch
        calls = ((Cause.CPU_UP, arch.cpu_on), (Cause.CPU_DOWN, arch.cpu_off), (Cause.SYSTEM_DOWN, arch.system_off))
        for cause, nr in calls:
            which = np.flatnonzero(runs.cause == int(cause))
            if nr is not None and len(which):
                yield self._call(runs, done + 60, which, nr, 0)
        ups = np.flatnonzero(runs.cause == int(Cause.CPU_UP))
        entry = self._guest.ram[0] + arch.secondary_entry
        yield self.piece(tp.CpuUp, done[ups], source_vcpu=self._vcpu, target_vcpu=runs.nr[ups], entry_point=entry)
        for up in ups:
            self.started.append((int(runs.nr[up]), int(done[up]) + int(self._rng.integers(*_TASK_STARTS))))

    def _handled(self, runs: Runs, done: Times, reason: Integers) -> Iterator[Piece]:
        """Interrupts: taken by the hypervisor's handler, then handed to the guest if they are its own."""
        arch, which = self._guest.arch, np.flatnonzero(self._interrupts[runs.cause])
        cause, begun, done = runs.cause[which], runs.free[which] + 60, done[which]
        tick, timer, device = (cause == int(kind) for kind in INTERRUPTS)
        irq = np.where(device, runs.nr[which], arch.host_timer_irq)
        shown = reason[which] == int(ExitReason.EXTERNAL_INTERRUPT)
        vector: Column = irq[shown] if arch.vector is None else arch.vector
        yield self.piece(tp.ExternalInterrupt, begun[shown], vector=vector)
        yield self.piece(tp.IrqHandle, done, irq_num=irq, duration_ns=done - begun)
        yield self.piece(tp.TimerTick, done[tick] + 40, timestamp=done[tick] + 40)
        yield self.piece(tp.TimerEvent, done[timer] + 40, event_type=int(TimerEventType.ONE_SHOT))
        yield self.piece(tp.IrqInject, done[timer] + 80, irq_num=arch.guest_timer_irq)
        yield self.piece(tp.IrqInject, done[device] + 80, irq_num=irq[device])

    def _ipis(self, time: Times) -> Iterator[Piece]:
        rng, others = self._rng, self._guest.vcpus - 1
        if not len(time):
            return
        target = (self._vcpu + 1 + rng.integers(0, others, len(time))) % (others + 1)
        vector = self._vectors[rng.integers(0, len(self._vectors), len(time))]
        yield self.piece(tp.IpiSend, time, target_cpu=target, vector=vector)
        yield self.piece(tp.IrqInject, time + 50, vcpu_id=target, irq_num=vector)

    def inner(self, inner: InnerExits) -> Iterator[Piece]:
        """Accesses and faults: they are seen when they have been handled, just before the guest goes on."""
        rng, seen = self._rng, inner.time + inner.latency - 100
        accesses = seen[inner.kind == int(Inner.DEVICE)]
        device, address = self._devices.draw(rng, len(accesses))
        writes = (rng.random(len(accesses)) < _WRITES).astype(np.int64)
        yield self.piece(tp.DeviceAccess, accesses, device_id=device, addr=address, is_write=writes)
        fault = inner.kind == int(Inner.PAGE_FAULT)
        faults = seen[fault]
        kinds = np.array([int(access) for access in _ACCESSES], dtype=np.int64)
        yield self.piece(
            tp.PageFault,
            faults,
            gpa=self._guest.ram[0] + 8 * rng.integers(0, RAM_SIZE // 8, len(faults)),
            access_type=kinds[choose(rng, list(_ACCESSES.values()), len(faults))],
            duration_ns=inner.latency[fault] - 100,
        )


class _Devices:
    """The emulated devices as one vCPU sees them."""

    def __init__(self, guest: Guest, vcpu: int) -> None:
        devices = guest.arch.devices
        self._weights = [device.weight for device in devices]
        self._id = np.array([int(device.device) for device in devices], dtype=np.int64)
        self._base = np.array([d.base + (vcpu * d.size if d.per_vcpu else 0) for d in devices], dtype=np.int64)
        self._width = np.array([device.width for device in devices], dtype=np.int64)
        self._places = np.array([device.size for device in devices], dtype=np.int64) // self._width

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Integers, Integers]:
        """Devices and addresses of so many accesses."""
        pick = choose(rng, self._weights, count)
        return self._id[pick], self._base[pick] + rng.integers(0, self._places[pick]) * self._width[pick]
