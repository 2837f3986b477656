"""The terms in which an architecture is described: exits, rates, latencies, devices, interrupts, memory."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from axebpf.tracepoints.definitions import DeviceType, ExitReason

__all__ = [
    "FINAL",
    "INTERRUPTS",
    "Architecture",
    "Cause",
    "DeviceRange",
    "HypercallKind",
    "Inner",
    "Latency",
    "Passthrough",
    "Phase",
]


class Cause(enum.IntEnum):
    """What ends a run of a vCPU. Several causes share an exit reason.

    Arrays are compared with `int(Cause.TICK)`: NumPy looks for methods of a member, which is Python code here, and
    drops whatever is raised meanwhile, Ctrl-C too.
    """

    TICK = 0
    """The hypervisor's own periodic tick."""
    GUEST_TIMER = 1
    """The timer that the guest set has expired."""
    DEVICE_IRQ = 2
    """An interrupt of a device that belongs to the guest."""
    HYPERCALL = 3
    """A call that the hypervisor answers."""
    NOTHING = 4
    """Handled within the run: CPUID on x86-64, a forwarded SMC on aarch64, an SBI call on riscv64."""
    IPI = 5
    """The guest interrupts another of its vCPUs."""
    HALT = 6
    """The guest waits: HLT on x86-64, an SBI suspend on riscv64."""
    CPU_UP = 7
    """The guest starts a secondary vCPU."""
    SYSTEM_DOWN = 8
    """The guest switches itself off."""
    CPU_DOWN = 9
    """A vCPU switches itself off."""
    FAULT = 10
    """The run failed: the guest did what the hypervisor cannot go on from."""


INTERRUPTS = (Cause.TICK, Cause.GUEST_TIMER, Cause.DEVICE_IRQ)
"""What the hypervisor's own interrupt handler takes."""
FINAL = (Cause.SYSTEM_DOWN, Cause.CPU_DOWN, Cause.FAULT)
"""After these a vCPU does not run again."""


class Inner(enum.IntEnum):
    """What the hypervisor handles within a run, between its enter and its exit."""

    DEVICE = 0
    """An access to an emulated device."""
    SYS_REG = 1
    """A trapped system register or MSR; no tracepoint shows it but the vCPU's change of state."""
    PAGE_FAULT = 2
    """A second-stage page fault that is resolved."""


@dataclass(frozen=True)
class Latency:
    """A log-normal distribution with a tail: with `tail` as its probability, a sample is `stretch` times as long."""

    median_ns: int
    sigma: float
    low_ns: int
    high_ns: int
    tail: float = 0.0
    stretch: float = 1.0


@dataclass(frozen=True)
class DeviceRange:
    """The addresses of one emulated device; `per_vcpu` ones repeat, `size` bytes apart, for every vCPU."""

    device: DeviceType
    base: int
    size: int
    width: int
    """Bytes of an access; addresses are multiples of it."""
    weight: float
    """Share of the accesses."""
    per_vcpu: bool = False


@dataclass(frozen=True)
class HypercallKind:
    """A hypercall with its answer, and its share among the hypercalls of a phase."""

    nr: int
    ret: int
    weight: float


@dataclass(frozen=True)
class Phase:
    """What a guest does for a while: how often what happens on one vCPU, per second."""

    seconds: float
    """How long it lasts where a workload does not say otherwise."""
    exits: Mapping[Cause, float]
    inner: Mapping[Inner, float]
    hypercalls: tuple[HypercallKind, ...] = ()
    one_device: bool = False
    """Whether a single device makes all the interrupts."""

    def but(
        self,
        exits: Mapping[Cause, float] | None = None,
        inner: Mapping[Inner, float] | None = None,
        hypercalls: tuple[HypercallKind, ...] | None = None,
        one_device: bool = False,
    ) -> Phase:
        """The same phase with some rates set."""
        return dataclasses.replace(
            self,
            exits={**self.exits, **(exits or {})},
            inner={**self.inner, **(inner or {})},
            hypercalls=self.hypercalls if hypercalls is None else hypercalls,
            one_device=one_device,
        )


@dataclass(frozen=True)
class Passthrough:
    """A device region that a VM owns; VM k has it at `base + (k-1) * stride`, and only VM 1 if the stride is 0."""

    base: int
    size: int
    stride: int


@dataclass(frozen=True, eq=False)
class Architecture:
    """Everything that a workload needs to know of an architecture."""

    name: str
    reasons: Mapping[Cause, ExitReason]
    """The exit reason of each cause that exists here."""
    latency: Mapping[Cause, Latency]
    """How long the loop takes after the exit. For HALT: how long the guest would sleep undisturbed."""
    inner_latency: Mapping[Inner, Latency]
    early: Phase
    """The guest's first code: interrupt controller, memory, firmware calls."""
    online: Phase
    """A secondary's first milliseconds."""
    busy: tuple[Phase, ...]
    """Kernel and services starting."""
    steady: Phase
    """Booted, little to do."""
    devices: tuple[DeviceRange, ...]
    passthrough: tuple[Passthrough, ...]
    host_timer_irq: int
    guest_timer_irq: int
    device_irqs: tuple[int, ...]
    ipi_vectors: tuple[int, ...]
    vector: int | None
    """The vector that every ExternalInterrupt exit reports; None where it is the interrupt's own number."""
    ram_base: int
    """Guest-physical address of VM 1's memory."""
    ram_identity: bool
    """Whether guest-physical is host-physical, so that each VM's memory has its own address."""
    host_ram_base: int
    """Host-physical address of VM 1's memory."""
    images: tuple[tuple[int, int], ...]
    """Least and greatest size in bytes of each image that is loaded."""
    secondary_entry: int
    """Entry point of secondaries, from the start of memory."""
    cpu_on: int | None = None
    """The hypercall that starts a secondary; None where it is no hypercall."""
    cpu_off: int | None = None
    """The hypercall by which a vCPU switches itself off; None where it is no hypercall."""
    system_off: int | None = None
    """The hypercall that switches the guest off; None where it is no hypercall."""
    timer_call: bool = False
    """Whether the guest sets its timer by a call, an exit of its own after each expiry."""
