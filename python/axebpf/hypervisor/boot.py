"""The workload `boot`: from power-on through the boot of every VM to the shell that deletes them.

The order is AxVisor's: the hypervisor and its CPUs come up; each VM is configured, created, given memory, images and
vCPUs; all are booted; VM k first runs 5 s after VM k-1. Each guest boots (interrupt controller, secondaries, kernel,
services), then has little to do, and switches itself off; when all have stopped, the shell deletes them.

Every vCPU has a physical CPU of its own: vCPU v of VM k is on CPU (k-1) * vcpus + v.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from axebpf.errors import HypervisorError
from axebpf.hypervisor.arch import ARCHITECTURES, RAM_SIZE, Architecture
from axebpf.hypervisor.arrivals import Segment, events_per_second
from axebpf.hypervisor.machine import Guest, Vm
from axebpf.hypervisor.timeline import Piece, Timeline, one
from axebpf.hypervisor.workload import Chunk, Parameter, Stream, Workload
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints import definitions as tp
from axebpf.tracepoints.definitions import MappingFlags, VcpuState, VmCommand

__all__ = ["BOOT"]

_SECOND = 1_000_000_000
_MS = 1_000_000
_US = 1_000
_BOOT_DELAY = 5 * _SECOND  # AxVisor holds VM k back by (k-1) times this
_DEFAULT_SECONDS = 5.8  # so that VM 2 boots while VM 1 still runs
_MIN_SECONDS, _MAX_SECONDS = 0.1, 3600.0
_BUSY_SHARE = 0.7  # of a VM's life at most: a short life has short phases
_WINDOW_EVENTS = 60_000  # simulated at a time, about
_SHORTEST_WINDOW = 20 * _MS  # has a tick of every vCPU, so that all get on

_RAM_FLAGS = MappingFlags.READ | MappingFlags.WRITE | MappingFlags.EXECUTE | MappingFlags.USER
_DEVICE_FLAGS = MappingFlags.READ | MappingFlags.WRITE | MappingFlags.USER | MappingFlags.DEVICE


@dataclass(frozen=True)
class _Plan:
    """The phases of a VM's life, in ns from its first run."""

    segments: list[Segment]
    bring_up: list[int]


def _plan(arch: Architecture, vcpus: int, first: int, seconds: float) -> _Plan:
    """Lays out a life of `seconds` that begins at `first`."""
    busy = arch.early.seconds + sum(phase.seconds for phase in arch.busy)
    scale = min(1.0, _BUSY_SHARE * seconds / busy)
    spacing = int(2 * _MS + 3 * _MS * scale)
    time = first
    segments: list[Segment] = []

    def until(end: int, index: int) -> None:
        nonlocal time
        phase = [arch.early, arch.early, *arch.busy, arch.steady][index]
        segments.append(Segment(time, end, phase, ipis=index > 1 and vcpus > 1))
        time = end

    until(time + int(arch.early.seconds * scale * _SECOND), 0)
    bring_up = [time + spacing * (1 + k) for k in range(vcpus - 1)]
    if bring_up:
        until(bring_up[-1] + 2 * _MS, 1)
    for index, phase in enumerate(arch.busy):
        until(time + int(phase.seconds * scale * _SECOND), 2 + index)
    until(first + int(seconds * _SECOND), 2 + len(arch.busy))
    return _Plan(segments, bring_up)


def _expected(arch: Architecture, vms: int, vcpus: int, seconds: float) -> float:
    """About how many events the workload has when each VM lives for `seconds`."""
    plan = _plan(arch, vcpus, 0, seconds)
    rates = [(s.end - s.start) / 1e9 * events_per_second(arch, s.phase, s.ipis) for s in plan.segments]
    early = 2 if plan.bring_up else 1  # phases that only the primary sees
    return vms * (sum(rates[:early]) + vcpus * sum(rates[early:]))


def _seconds_for(arch: Architecture, vms: int, vcpus: int, events: int) -> float:
    """How long each VM must live for about so many events. Raises HypervisorError where that is out of range."""
    low, high = _MIN_SECONDS, _MAX_SECONDS
    least, most = (_expected(arch, vms, vcpus, seconds) for seconds in (low, high))
    if not least <= events <= most:
        raise HypervisorError(
            f"events is {events}; boot takes {least:.0f} to {most:.0f} with vms={vms}, vcpus={vcpus}, arch={arch.name}",
            workload="boot",
            parameter="events",
            value=events,
        )
    for _ in range(50):  # halving: the number grows with the time
        middle = (low + high) / 2
        low, high = (middle, high) if _expected(arch, vms, vcpus, middle) < events else (low, middle)
    return high


@dataclass
class _Hypervisor:
    """What the hypervisor itself does on CPU 0, one event after the other."""

    rng: np.random.Generator
    time: int = 0
    pieces: list[Piece] = field(default_factory=list)

    def spend(self, low: int, high: int) -> int:
        """Lets a time of between `low` and `high` ns pass, and returns it."""
        duration = int(self.rng.integers(low, high))
        self.time += duration
        return duration

    def event(self, tracepoint: type[Tracepoint], cpu: int = 0, **columns: int) -> None:
        """An event now; the next one is a little later."""
        self.pieces.append(one(tracepoint, self.time, cpu, **columns))
        self.spend(500, 3_000)


@dataclass(frozen=True)
class _Boot:
    """One boot with its parameters set."""

    arch: Architecture
    vms: int
    vcpus: int
    seed: int
    seconds: float

    def chunks(self) -> Iterator[Chunk]:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(0,))))
        hypervisor, timeline = _Hypervisor(rng), Timeline()
        guests = [Guest(self.arch, vm_id, self.vcpus) for vm_id in range(1, self.vms + 1)]
        self._initialize(hypervisor)
        for guest in guests:
            self._create(hypervisor, guest)
        for guest in guests:
            duration = hypervisor.spend(5 * _US, 60 * _US)
            hypervisor.event(tp.VmBoot, vm_id=guest.vm_id, duration_ns=duration)
        hypervisor.spend(20 * _US, 100 * _US)  # the first vCPU's task is woken
        vms = [self._vm(guest, hypervisor.time + (guest.vm_id - 1) * _BOOT_DELAY) for guest in guests]
        timeline.add(hypervisor.pieces)

        until, window = hypervisor.time, _SHORTEST_WINDOW
        while any(vm.stopped is None for vm in vms):
            until += window
            made = sum(timeline.add(vm.advance(until)) for vm in vms)
            yield from timeline.take(min(vm.horizon for vm in vms))
            # The next window: as long as fills it, but no longer than would if all that live then were busy.
            live = sum(vm.stopped is None and vm.segments[0].start < until + _SECOND for vm in vms)
            longest = 10 * _SECOND // (self.vcpus * max(live, 1))
            window = window * 2 if made < _WINDOW_EVENTS // 2 else window // 2 if made > _WINDOW_EVENTS else window
            window = max(min(window, longest), _SHORTEST_WINDOW)

        after = _Hypervisor(rng, time=max(vm.stopped or 0 for vm in vms))
        self._shell(after, guests)
        timeline.add(after.pieces)
        yield from timeline.take(after.time + 1)

    def _initialize(self, hypervisor: _Hypervisor) -> None:
        cpus = self.vms * self.vcpus
        duration = hypervisor.spend(10 * _MS, 100 * _MS)
        hypervisor.event(tp.VmmInit, cpu_count=cpus, duration_ns=duration)
        for cpu in range(cpus):
            duration = hypervisor.spend(100 * _US, 600 * _US)
            hypervisor.event(tp.VhalInit, cpu=cpu, cpu_id=cpu, duration_ns=duration)

    def _create(self, hypervisor: _Hypervisor, guest: Guest) -> None:
        vm_id = guest.vm_id
        duration = hypervisor.spend(400 * _US, 3 * _MS)
        hypervisor.event(tp.ConfigLoad, vm_id=vm_id, duration_ns=duration)
        hypervisor.spend(50 * _US, 300 * _US)
        hypervisor.event(tp.VmCreate, vm_id=vm_id, vcpu_num=guest.vcpus, memory_size=RAM_SIZE)
        gpa, hpa = guest.ram
        hypervisor.spend(200 * _US, 2 * _MS)
        hypervisor.event(tp.MemoryMap, vm_id=vm_id, gpa=gpa, hpa=hpa, size=RAM_SIZE, flags=int(_RAM_FLAGS))
        for low, high in guest.arch.images:
            size = int(hypervisor.rng.integers(low, high))
            # 0.4 to 1.6 GB/s, and some time to find the image.
            duration = hypervisor.spend(size * 10 // 16, size * 10 // 4) + hypervisor.spend(20 * _US, 80 * _US)
            hypervisor.event(tp.ImageLoad, vm_id=vm_id, image_size=size, duration_ns=duration)
        for vcpu in range(guest.vcpus):
            hypervisor.spend(10 * _US, 60 * _US)
            hypervisor.event(tp.VcpuCreate, vm_id=vm_id, vcpu_id=vcpu)
        for base, size in guest.passthrough:
            hypervisor.event(tp.MemoryMap, vm_id=vm_id, gpa=base, hpa=base, size=size, flags=int(_DEVICE_FLAGS))
        for vcpu in range(guest.vcpus):
            old, new = int(VcpuState.CREATED), int(VcpuState.FREE)
            hypervisor.event(tp.VcpuStateChange, vm_id=vm_id, vcpu_id=vcpu, old_state=old, new_state=new)

    def _vm(self, guest: Guest, first: int) -> Vm:
        plan = _plan(self.arch, self.vcpus, first, self.seconds)
        return Vm(guest, plan.segments, plan.segments[-1].end, plan.bring_up, self.seed)

    def _shell(self, hypervisor: _Hypervisor, guests: list[Guest]) -> None:
        duration = hypervisor.spend(1 * _MS, 5 * _MS)
        hypervisor.event(tp.ShellInit, duration_ns=duration)
        hypervisor.spend(1 * _SECOND, 4 * _SECOND)  # somebody types
        duration = hypervisor.spend(100 * _US, 900 * _US)
        hypervisor.event(tp.ShellCommand, cmd_id=int(VmCommand.LIST), duration_ns=duration)
        for guest in guests:
            hypervisor.spend(1 * _SECOND, 4 * _SECOND)
            begun = hypervisor.time
            for vcpu in range(guest.vcpus):
                hypervisor.spend(10 * _US, 60 * _US)
                hypervisor.event(tp.VcpuDestroy, vm_id=guest.vm_id, vcpu_id=vcpu)
            for gpa, size in [(guest.ram[0], RAM_SIZE), *guest.passthrough]:
                hypervisor.spend(20 * _US, 400 * _US)
                hypervisor.event(tp.MemoryUnmap, vm_id=guest.vm_id, gpa=gpa, size=size)
            hypervisor.spend(20 * _US, 200 * _US)
            hypervisor.event(tp.VmDestroy, vm_id=guest.vm_id)
            duration = hypervisor.time - begun
            hypervisor.event(tp.ShellCommand, cmd_id=int(VmCommand.DELETE), duration_ns=duration)


def _start(*, vms: int, vcpus: int, seed: int, arch: str, duration_s: float | None, events: int | None) -> Stream:
    architecture = ARCHITECTURES[arch]
    if duration_s is not None and events is not None:
        message = "duration_s and events both say how long boot runs; give one"
        raise HypervisorError(message, workload="boot", parameter="events", value=events)
    if events is not None:
        duration_s = _seconds_for(architecture, vms, vcpus, events)
    elif duration_s is None:
        duration_s = _DEFAULT_SECONDS
    boot = _Boot(architecture, vms, vcpus, seed, duration_s)
    parameters = {"vms": vms, "vcpus": vcpus, "seed": seed, "arch": arch, "duration_s": duration_s, "events": events}
    return Stream("boot", parameters, vms * vcpus, boot.chunks)


BOOT = Workload(
    name="boot",
    doc="VMs are created, boot 5 s apart, run for a while, switch themselves off and are deleted.",
    parameters=(
        Parameter("vms", int, 2, "virtual machines", low=1, high=8),
        Parameter("vcpus", int, 1, "vCPUs of each", low=1, high=8),
        Parameter("seed", int, 0, "the same seed gives the same events", low=0),
        Parameter("arch", str, "aarch64", "architecture of the machine", choices=tuple(ARCHITECTURES)),
        Parameter(
            "duration_s",
            float,
            None,
            f"seconds from a VM's first run until it switches itself off; {_DEFAULT_SECONDS} if not given",
            low=_MIN_SECONDS,
            high=_MAX_SECONDS,
        ),
        Parameter("events", int, None, "about how many events, in place of duration_s", low=1),
    ),
    start=_start,
)
"""The workload; call it with its parameters for a stream."""
