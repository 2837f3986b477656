"""A VM as it is configured: its vCPUs and their CPUs, its memory, the devices that it owns."""

from __future__ import annotations

from dataclasses import dataclass

from axebpf.hypervisor.arch.axvisor import RAM_SIZE
from axebpf.hypervisor.arch.model import Architecture

__all__ = ["Guest"]


@dataclass(frozen=True)
class Guest:
    """A VM as it is configured. Every vCPU has a physical CPU of its own."""

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
