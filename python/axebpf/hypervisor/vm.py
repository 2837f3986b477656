"""A VM's life: its vCPUs run from one time on, and it ends in one way or another, or goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from axebpf.hypervisor.arch.model import Cause
from axebpf.hypervisor.arrivals import Planned, Segment, events_per_second
from axebpf.hypervisor.guest import Guest
from axebpf.hypervisor.timeline import Piece, one
from axebpf.hypervisor.vcpu import FOREVER, Vcpu
from axebpf.tracepoints import definitions as tp
from axebpf.tracepoints.definitions import ShutdownReason

__all__ = ["Ending", "Life", "Vm"]

_MS = 1_000_000
_SPREAD = 200_000  # ns within which vCPUs that ran before have their first run seen
_NEAR = 10 * _MS  # before its end, a VM is simulated to its end
_APART = 2 * _MS  # between vCPUs that switch themselves off one by one
_QUIET = 5 * _MS  # before the first of them does, the others stop interrupting it
_PRIMARYS = {ShutdownReason.SYSTEM_DOWN: Cause.SYSTEM_DOWN, ShutdownReason.FAULT: Cause.FAULT}
"""The endings that the primary vCPU's last exit begins."""


@dataclass(frozen=True)
class Ending:
    """How a VM ends, and when that is begun in ns: by the guest, by a run that fails, or by the shell."""

    reason: ShutdownReason
    time: int


@dataclass(frozen=True)
class Life:
    """What a VM does."""

    guest: Guest
    segments: tuple[Segment, ...]
    """Phases of the VM, in order and without gaps."""
    bring_up: tuple[int, ...] | None = None
    """When the primary vCPU starts each secondary, in ns; None if all vCPUs run at the beginning already."""
    ending: Ending | None = None
    """Its end, at the end of the segments; None if it goes on."""

    @property
    def start(self) -> int:
        """When it is seen first, in ns."""
        return self.segments[0].start

    @property
    def end(self) -> int:
        """When its last phase ends, in ns."""
        return self.segments[-1].end

    def off(self, vcpu: int) -> int:
        """When a vCPU switches itself off, in ns, where they do so one by one: the primary last."""
        return self.end - vcpu * _APART

    def of(self, vcpu: int, start: int) -> list[Segment]:
        """The phases of one vCPU from its start."""
        segments = list(self.segments)
        if vcpu and self.bring_up is not None:
            phase = self.guest.arch.online
            online = Segment(start, start + int(phase.seconds * 1e9), phase, False)
            later = [s for s in segments if s.end > online.end]
            later[:1] = [dataclasses.replace(s, start=max(s.start, online.end)) for s in later[:1]]
            segments = [online, *later]
        if self.ending is not None and self.ending.reason == ShutdownReason.CLEAN and self.guest.vcpus > 1:
            segments = list(_quiet(segments, self.off(self.guest.vcpus - 1) - _QUIET))
        return segments

    def rates(self) -> Iterator[tuple[int, int, float]]:
        """From when to when, in ns, about how many events a second are to be expected."""
        known: dict[tuple[int, bool], float] = {}
        for vcpu, count in ((0, 1), (1, self.guest.vcpus - 1)):  # one secondary is about like another
            start = self.bring_up[0] if vcpu and self.bring_up else self.start
            for segment in self.of(vcpu, start) if count else ():
                key = (id(segment.phase), segment.ipis)
                if key not in known:
                    known[key] = events_per_second(self.guest.arch, segment.phase, segment.ipis)
                yield segment.start, segment.end, known[key] * count


def _quiet(segments: list[Segment], time: int) -> Iterator[Segment]:
    """The segments, without IPIs from a time on."""
    for segment in segments:
        if segment.end <= time:
            yield segment
            continue
        if segment.start < time:
            yield dataclasses.replace(segment, end=time)
        yield dataclasses.replace(segment, start=max(segment.start, time), ipis=False)


class Vm:
    """One VM from the first run of its primary vCPU until its last vCPU has left, or its life is over."""

    def __init__(self, life: Life, seed: int) -> None:
        self.stopped: int | None = None
        """When the last vCPU left, in ns; None while one lives."""
        self.finished = False
        """Whether nothing more will come."""
        self._life, self._seed = life, seed
        up = life.bring_up is None
        self._vcpus = [self._vcpu(index, life.start) for index in range(life.guest.vcpus if up else 1)]

    def _vcpu(self, index: int, start: int) -> Vcpu:
        life, guest = self._life, self._life.guest
        key = (guest.vm_id, index)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=key)))
        planned = [Planned(time, Cause.CPU_UP, k + 1) for k, time in enumerate(life.bring_up or ()) if not index]
        segments = life.of(index, start)
        ending = life.ending
        if ending is not None and ending.reason == ShutdownReason.CLEAN:
            planned.append(Planned(life.off(index), Cause.CPU_DOWN))
        elif ending is not None and ending.reason in _PRIMARYS and not index:
            planned.append(Planned(ending.time, _PRIMARYS[ending.reason]))
        elif ending is not None:  # it lives on until it learns of the end
            segments.append(Segment(life.end, FOREVER, life.segments[-1].phase, False))
        if life.bring_up is None:
            start += int(rng.integers(0, _SPREAD))
        return Vcpu(guest, index, start, segments, planned, rng, asleep=life.bring_up is not None)

    @property
    def horizon(self) -> int:
        """Nothing happens in this VM before this time that has not been handed over, in ns."""
        return FOREVER if self.finished else min(vcpu.horizon for vcpu in self._vcpus)

    def advance(self, until: int) -> list[Piece]:
        """What happens up to about `until`."""
        if self.finished:
            return []
        ending, end = self._life.ending, self._life.end
        # The others must know of the end before their own exits near it are decided.
        if ending is None or end - _NEAR < until <= end:
            until = min(until, end) if ending is None else end + 1
        off = ending.time if ending is not None and ending.reason == ShutdownReason.FORCED else None
        primary = self._vcpus[0]
        pieces = primary.advance(until, off)
        self._vcpus += [self._vcpu(k, time) for k, time in primary.handler.started[len(self._vcpus) - 1 :]]
        if ending is not None and ending.reason in _PRIMARYS:
            off = primary.last_exit
        for vcpu in self._vcpus[1:]:
            pieces += vcpu.advance(until, off)
        if ending is None:
            self.finished = until >= end
        elif all(vcpu.last_exit is not None for vcpu in self._vcpus):
            pieces.append(self._stop(ending.reason, off))
        return pieces

    def _stop(self, reason: ShutdownReason, off: int | None) -> Piece:
        last = max(self._vcpus, key=lambda vcpu: vcpu.end)
        self.finished, self.stopped = True, last.end + 200
        begun = off if off is not None else last.last_exit or 0
        vm_id, duration = self._life.guest.vm_id, self.stopped - begun
        return one(tp.VmShutdown, self.stopped, last.handler.cpu, vm_id=vm_id, reason=int(reason), duration_ns=duration)
