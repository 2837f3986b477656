"""What the hypervisor itself does, one event after the other: it comes up, creates and boots VMs, and its shell.

The order is AxVisor's: the hypervisor and its CPUs come up; each VM is configured, created, given memory, images and
vCPUs; then all are booted. When they have stopped, the shell deletes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from axebpf.hypervisor.arch.axvisor import RAM_SIZE
from axebpf.hypervisor.guest import Guest
from axebpf.hypervisor.timeline import Piece, one
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints import definitions as tp
from axebpf.tracepoints.definitions import MappingFlags, VcpuState, VmCommand

__all__ = ["Lifecycle"]

_SECOND = 1_000_000_000
_MS = 1_000_000
_US = 1_000

# Least and greatest durations in ns. Those of the hypervisor's and its VMs' start are within what is estimated for
# AxVisor: 10 to 100 ms until the hypervisor is up, microseconds for the boot of a VM.
_VMM_INIT = (10 * _MS, 100 * _MS)
_VHAL_INIT = (100 * _US, 600 * _US)
_CONFIG_LOAD = (400 * _US, 3 * _MS)
_CREATE = (50 * _US, 300 * _US)
_MAP = (200 * _US, 2 * _MS)
_FIND_IMAGE = (20 * _US, 80 * _US)
_COPY = (10 / 16, 10 / 4)  # of a byte: 0.4 to 1.6 GB/s, so that 16 MiB take 10 to 40 ms
_VCPU = (10 * _US, 60 * _US)
_BOOT = (5 * _US, 60 * _US)
_WAKE = (20 * _US, 100 * _US)
_SHELL_INIT = (1 * _MS, 5 * _MS)
_TYPING = (1 * _SECOND, 4 * _SECOND)
_COMMAND = (100 * _US, 900 * _US)
_UNMAP = (20 * _US, 400 * _US)
_DESTROY = (20 * _US, 200 * _US)
_NEXT = (500, 3_000)  # from one event to the next

_RAM_FLAGS = MappingFlags.READ | MappingFlags.WRITE | MappingFlags.EXECUTE | MappingFlags.USER
_DEVICE_FLAGS = MappingFlags.READ | MappingFlags.WRITE | MappingFlags.USER | MappingFlags.DEVICE


class Lifecycle:
    """Makes these events on one CPU, from a time on."""

    def __init__(self, rng: np.random.Generator, cpu: int, time: int) -> None:
        self.time = time
        """Now, in ns."""
        self.pieces: list[Piece] = []
        """The events so far."""
        self._rng, self._cpu = rng, cpu

    def _spend(self, low: float, high: float) -> int:
        """Lets a time of between `low` and `high` ns pass, and returns it."""
        duration = int(self._rng.integers(int(low), int(high)))
        self.time += duration
        return duration

    def _event(self, tracepoint: type[Tracepoint], cpu: int | None = None, **columns: int) -> None:
        """An event now, after the time that its arguments took; the next one is a little later."""
        self.pieces.append(one(tracepoint, self.time, self._cpu if cpu is None else cpu, **columns))
        self._spend(*_NEXT)

    def initialize(self, cpus: int) -> None:
        """The hypervisor comes up, then its CPUs, each on itself."""
        self._event(tp.VmmInit, duration_ns=self._spend(*_VMM_INIT), cpu_count=cpus)
        for cpu in range(cpus):
            self._event(tp.VhalInit, duration_ns=self._spend(*_VHAL_INIT), cpu=cpu, cpu_id=cpu)

    def create(self, guest: Guest) -> None:
        """A VM is configured and made ready."""
        vm_id = guest.vm_id
        self._event(tp.ConfigLoad, duration_ns=self._spend(*_CONFIG_LOAD), vm_id=vm_id)
        self._spend(*_CREATE)
        self._event(tp.VmCreate, vm_id=vm_id, vcpu_num=guest.vcpus, memory_size=RAM_SIZE)
        gpa, hpa = guest.ram
        self._spend(*_MAP)
        self._event(tp.MemoryMap, vm_id=vm_id, gpa=gpa, hpa=hpa, size=RAM_SIZE, flags=int(_RAM_FLAGS))
        for low, high in guest.arch.images:
            size = int(self._rng.integers(low, high))
            duration = self._spend(size * _COPY[0], size * _COPY[1]) + self._spend(*_FIND_IMAGE)
            self._event(tp.ImageLoad, vm_id=vm_id, image_size=size, duration_ns=duration)
        for vcpu in range(guest.vcpus):
            self._spend(*_VCPU)
            self._event(tp.VcpuCreate, vm_id=vm_id, vcpu_id=vcpu)
        for base, size in guest.passthrough:
            self._event(tp.MemoryMap, vm_id=vm_id, gpa=base, hpa=base, size=size, flags=int(_DEVICE_FLAGS))
        for vcpu in range(guest.vcpus):
            old, new = int(VcpuState.CREATED), int(VcpuState.FREE)
            self._event(tp.VcpuStateChange, vm_id=vm_id, vcpu_id=vcpu, old_state=old, new_state=new)

    def boot(self, guests: Sequence[Guest]) -> None:
        """All VMs are booted, and the first one's task is woken."""
        for guest in guests:
            self._event(tp.VmBoot, duration_ns=self._spend(*_BOOT), vm_id=guest.vm_id)
        self._spend(*_WAKE)

    def shell(self) -> None:
        """The shell comes."""
        self._event(tp.ShellInit, duration_ns=self._spend(*_SHELL_INIT))

    def stop(self) -> None:
        """Somebody has entered `vm stop`."""
        self._event(tp.ShellCommand, duration_ns=self._spend(*_COMMAND), cmd_id=int(VmCommand.STOP))

    def delete(self, guests: Sequence[Guest]) -> None:
        """Somebody lists the VMs and deletes one after the other."""
        self._spend(*_TYPING)
        self._event(tp.ShellCommand, duration_ns=self._spend(*_COMMAND), cmd_id=int(VmCommand.LIST))
        for guest in guests:
            self._spend(*_TYPING)
            begun = self.time
            for vcpu in range(guest.vcpus):
                self._spend(*_VCPU)
                self._event(tp.VcpuDestroy, vm_id=guest.vm_id, vcpu_id=vcpu)
            for gpa, size in [(guest.ram[0], RAM_SIZE), *guest.passthrough]:
                self._spend(*_UNMAP)
                self._event(tp.MemoryUnmap, vm_id=guest.vm_id, gpa=gpa, size=size)
            self._spend(*_DESTROY)
            self._event(tp.VmDestroy, vm_id=guest.vm_id)
            duration = self.time - begun
            self._event(tp.ShellCommand, cmd_id=int(VmCommand.DELETE), duration_ns=duration)
