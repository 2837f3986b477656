"""Runs the lives of some VMs, window by window, into one stream of chunks.

A window is as long as makes about `_WINDOW_EVENTS` events, which the rates of the VMs' phases foretell: that bounds the
memory, however long the run and however different its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from axebpf.hypervisor.guest import Guest
from axebpf.hypervisor.lifecycle import Lifecycle
from axebpf.hypervisor.scenario import Scenario, Settings
from axebpf.hypervisor.timeline import Timeline
from axebpf.hypervisor.vcpu import FOREVER
from axebpf.hypervisor.vm import Life, Vm
from axebpf.hypervisor.workload import Chunk
from axebpf.tracepoints.definitions import ShutdownReason

__all__ = ["Simulation"]

_SECOND = 1_000_000_000
_BOOT_DELAY = 5 * _SECOND  # AxVisor holds VM k back by (k-1) times this
_UPTIME = 60 * _SECOND  # since power-on, where the VMs run already
_WINDOW_EVENTS = 50_000  # at a time, and
_VCPU_EVENTS = 8_000  # for each vCPU, as each costs the same for few events as for many
_STEP = 20_000_000  # ns of a window behind all phases: until the last vCPU has left


class _Pace:
    """How many events are to be expected up to which time."""

    def __init__(self, lives: Sequence[Life]) -> None:
        spans = [span for life in lives for span in life.rates()]
        starts, ends, rates = (np.array(column, dtype=float) for column in zip(*spans, strict=True))
        self._times = np.unique(np.concatenate([starts, ends]))
        change = np.zeros(len(self._times))
        np.add.at(change, np.searchsorted(self._times, starts), rates)
        np.add.at(change, np.searchsorted(self._times, ends), -rates)
        made = np.cumsum(change)[:-1] * np.diff(self._times) / _SECOND
        self._events = np.append(0.0, np.cumsum(made))

    def after(self, time: int, events: int) -> int:
        """The time until which about so many events come after `time`."""
        total = np.interp(time, self._times, self._events) + events
        if total >= self._events[-1]:
            return max(int(self._times[-1]), time) + _STEP
        return int(np.interp(total, self._events, self._times)) + 1


@dataclass(frozen=True)
class Simulation:
    """One run of a scenario with its settings."""

    scenario: Scenario
    settings: Settings

    @property
    def _operator(self) -> int:
        """The CPU of the shell: one of its own where VMs run beside it, or CPU 0, when it is free."""
        return self.settings.vms * self.settings.vcpus if self.scenario.operator else 0

    def chunks(self) -> Iterator[Chunk]:
        """Starts it."""
        scenario, settings = self.scenario, self.settings
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(settings.seed, spawn_key=(0,))))
        timeline = Timeline()
        guests = settings.guests
        first, delay = _UPTIME, 0
        if scenario.created:
            start = Lifecycle(rng, 0, 0)
            start.initialize(scenario.cpus(settings.vms, settings.vcpus))
            for guest in guests:
                start.create(guest)
            start.boot(guests)
            timeline.add(start.pieces)
            first, delay = start.time, _BOOT_DELAY
        lives = [scenario.life(settings, guest, first + k * delay) for k, guest in enumerate(guests)]
        vms = [Vm(life, settings.seed) for life in lives]
        for life in lives:
            if life.ending is not None and life.ending.reason == ShutdownReason.FORCED:
                command = Lifecycle(rng, self._operator, life.ending.time)
                command.stop()
                timeline.add(command.pieces)

        pace, until = _Pace(lives), first
        window = _WINDOW_EVENTS + _VCPU_EVENTS * settings.vms * settings.vcpus
        while not all(vm.finished for vm in vms):
            until = pace.after(until, window)
            for vm in vms:
                timeline.add(vm.advance(until))
            yield from timeline.take(min(vm.horizon for vm in vms))

        if all(vm.stopped is not None for vm in vms):
            yield from self._shell(timeline, rng, max(vm.stopped or 0 for vm in vms), guests)
        yield from timeline.take(FOREVER)

    def _shell(
        self, timeline: Timeline, rng: np.random.Generator, time: int, guests: Sequence[Guest]
    ) -> Iterator[Chunk]:
        """All VMs have stopped: the shell comes, if it was not there already, and deletes them."""
        after = Lifecycle(rng, self._operator, time)
        if not self.scenario.operator:
            after.shell()
        after.delete(guests)
        timeline.add(after.pieces)
        yield from timeline.take(FOREVER)
