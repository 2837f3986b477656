"""What differs between architectures, as data: exits, rates, latencies, devices, interrupts, memory.

Rates are per second of a vCPU's time, for a guest whose interrupts the hypervisor traps. Handler latencies are
log-normal with a tail, bounded on both sides. They are estimates for AxVisor on server-class cores, taken from
published KVM measurements of the same kinds of exit, not measurements of AxVisor.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from axebpf.tracepoints.definitions import DeviceType, ExitReason

__all__ = ["AARCH64", "ARCHITECTURES", "X86_64", "Architecture", "Cause", "DeviceRange", "HypercallKind", "Inner"]


class Cause(enum.IntEnum):
    """What ends a run of a vCPU. Several causes share an exit reason."""

    TICK = 0
    """The hypervisor's own periodic tick."""
    GUEST_TIMER = 1
    """The timer that the guest set has expired."""
    DEVICE_IRQ = 2
    """An interrupt of a device that belongs to the guest."""
    HYPERCALL = 3
    """A call that the hypervisor answers."""
    NOTHING = 4
    """Handled within the run: CPUID on x86-64, a forwarded SMC on aarch64."""
    IPI = 5
    """The guest interrupts another of its vCPUs."""
    HALT = 6
    """HLT on x86-64."""
    CPU_UP = 7
    """The guest starts a secondary vCPU."""
    SYSTEM_DOWN = 8
    """The guest switches itself off."""


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
    """A stretch of a guest's life: how long, and how often what happens in it, per second."""

    seconds: float
    exits: Mapping[Cause, float]
    inner: Mapping[Inner, float]
    hypercalls: tuple[HypercallKind, ...] = ()


@dataclass(frozen=True)
class Passthrough:
    """A device region that a VM owns; VM k has it at `base + (k-1) * stride`, and only VM 1 if the stride is 0."""

    base: int
    size: int
    stride: int


@dataclass(frozen=True)
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
    reports_vector: bool
    """Whether an ExternalInterrupt exit knows its vector; where not, it says 0."""
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
    system_off: int | None = None
    """The hypercall that switches the guest off; None where it is no hypercall."""
    tick_hz: int = 100
    """The hypervisor's tick: the default of ArceOS."""


RAM_SIZE = 256 << 20
"""Bytes of memory of each VM."""

# What both architectures share; how an IPI and a halt show, each says itself.
_REASONS = {
    Cause.TICK: ExitReason.EXTERNAL_INTERRUPT,
    Cause.GUEST_TIMER: ExitReason.EXTERNAL_INTERRUPT,
    Cause.DEVICE_IRQ: ExitReason.EXTERNAL_INTERRUPT,
    Cause.HYPERCALL: ExitReason.HYPERCALL,
    Cause.NOTHING: ExitReason.NOTHING,
    Cause.CPU_UP: ExitReason.CPU_UP,
    Cause.SYSTEM_DOWN: ExitReason.SYSTEM_DOWN,
}

_IRQ = Latency(2_200, 0.40, 900, 100_000, tail=0.004, stretch=14.0)
_HYPERCALL = Latency(1_200, 0.35, 500, 30_000, tail=0.003, stretch=8.0)
_NOTHING = Latency(900, 0.30, 400, 20_000, tail=0.002, stretch=8.0)
_IPI = Latency(1_600, 0.35, 700, 40_000, tail=0.003, stretch=10.0)
_CPU_UP = Latency(300_000, 0.45, 100_000, 1_000_000)
_SYSTEM_DOWN = Latency(20_000, 0.30, 8_000, 80_000)
_HALT = Latency(2_000_000, 0.9, 2_000, 8_000_000)
_LATENCY = {
    Cause.TICK: _IRQ,
    Cause.GUEST_TIMER: _IRQ,
    Cause.DEVICE_IRQ: _IRQ,
    Cause.HYPERCALL: _HYPERCALL,
    Cause.NOTHING: _NOTHING,
    Cause.IPI: _IPI,
    Cause.CPU_UP: _CPU_UP,
    Cause.SYSTEM_DOWN: _SYSTEM_DOWN,
}

_DEVICE = Latency(3_000, 0.45, 1_000, 60_000, tail=0.004, stretch=8.0)
_SYS_REG = Latency(1_400, 0.30, 600, 20_000, tail=0.002, stretch=6.0)
_PAGE_FAULT = Latency(5_500, 0.55, 1_500, 200_000, tail=0.01, stretch=8.0)
_INNER = {Inner.DEVICE: _DEVICE, Inner.SYS_REG: _SYS_REG, Inner.PAGE_FAULT: _PAGE_FAULT}

# AxVisor's hypercalls: 2 debug, 3 and 4 publish and subscribe a shared memory channel, 5 and 6 take that back.
# A subscription fails (-1) while its publisher has not come up.
_IVC = (
    HypercallKind(2, 0, 2.0),
    HypercallKind(3, 0, 1.0),
    HypercallKind(4, 0, 1.5),
    HypercallKind(4, -1, 0.5),
    HypercallKind(5, 0, 0.5),
    HypercallKind(6, 0, 0.5),
)
_PSCI_VERSION, _PSCI_FEATURES = 0x8400_0000, 0x8400_000A

AARCH64 = Architecture(
    name="aarch64",
    # No HALT: the hypervisor lets the guest execute WFI.
    reasons={**_REASONS, Cause.IPI: ExitReason.SEND_IPI},
    latency=_LATENCY,
    inner_latency=_INNER,
    # The hypervisor answers no PSCI call but the three that it acts on: version and features get -1.
    early=Phase(
        0.15,
        {Cause.DEVICE_IRQ: 150, Cause.HYPERCALL: 60, Cause.NOTHING: 40},
        {Inner.DEVICE: 2500, Inner.SYS_REG: 1200, Inner.PAGE_FAULT: 1500},
        (HypercallKind(_PSCI_VERSION, -1, 1.0), HypercallKind(_PSCI_FEATURES, -1, 3.0), HypercallKind(2, 0, 2.0)),
    ),
    online=Phase(0.004, {}, {Inner.DEVICE: 8000, Inner.SYS_REG: 4000, Inner.PAGE_FAULT: 2000}),
    busy=(
        Phase(
            0.45,
            {Cause.DEVICE_IRQ: 750, Cause.GUEST_TIMER: 250, Cause.HYPERCALL: 30, Cause.NOTHING: 20, Cause.IPI: 300},
            {Inner.DEVICE: 200, Inner.SYS_REG: 750, Inner.PAGE_FAULT: 500},
            (HypercallKind(2, 0, 1.0), HypercallKind(_PSCI_FEATURES, -1, 0.2)),
        ),
        Phase(
            0.40,
            {Cause.DEVICE_IRQ: 750, Cause.GUEST_TIMER: 250, Cause.HYPERCALL: 90, Cause.NOTHING: 10, Cause.IPI: 200},
            {Inner.DEVICE: 60, Inner.SYS_REG: 750, Inner.PAGE_FAULT: 120},
            _IVC,
        ),
    ),
    steady=Phase(
        0.0,
        {Cause.DEVICE_IRQ: 12, Cause.GUEST_TIMER: 20, Cause.HYPERCALL: 3, Cause.NOTHING: 1, Cause.IPI: 10},
        {Inner.DEVICE: 2, Inner.SYS_REG: 60, Inner.PAGE_FAULT: 1},
        _IVC,
    ),
    devices=(
        DeviceRange(DeviceType.GPPT_DISTRIBUTOR, 0x0800_0000, 0x1_0000, 4, 5.0),
        DeviceRange(DeviceType.GPPT_ITS, 0x0808_0000, 0x2_0000, 4, 1.0),
        DeviceRange(DeviceType.GPPT_REDISTRIBUTOR, 0x080A_0000, 0x2_0000, 4, 4.0, per_vcpu=True),
    ),
    passthrough=(Passthrough(0x0900_0000, 0x1000, 0), Passthrough(0x0A00_0000, 0x1000, 0x1000)),
    host_timer_irq=26,
    guest_timer_irq=30,
    device_irqs=(33, 48, 49),
    ipi_vectors=(0, 1, 2, 5),
    reports_vector=False,
    ram_base=0x8000_0000,
    ram_identity=True,
    host_ram_base=0x8000_0000,
    images=((12 << 20, 24 << 20), (48 << 10, 96 << 10)),
    secondary_entry=0x21_A40C,
    cpu_on=0xC400_0003,
    system_off=0x8400_0008,
)

X86_64 = Architecture(
    name="x86_64",
    # An IPI is a write to an x2APIC register, which is handled within the run.
    reasons={**_REASONS, Cause.IPI: ExitReason.NOTHING, Cause.HALT: ExitReason.HALT},
    latency={**_LATENCY, Cause.HALT: _HALT},
    inner_latency=_INNER,
    early=Phase(
        0.15,
        {Cause.DEVICE_IRQ: 80, Cause.HYPERCALL: 10, Cause.NOTHING: 3500},
        {Inner.DEVICE: 1200, Inner.SYS_REG: 1500, Inner.PAGE_FAULT: 900},
        (HypercallKind(2, 0, 1.0),),
    ),
    online=Phase(0.004, {Cause.NOTHING: 6000}, {Inner.DEVICE: 1000, Inner.SYS_REG: 4000, Inner.PAGE_FAULT: 1500}),
    busy=(
        Phase(
            0.45,
            {
                Cause.DEVICE_IRQ: 450,
                Cause.GUEST_TIMER: 250,
                Cause.HYPERCALL: 15,
                Cause.NOTHING: 500,
                Cause.IPI: 300,
                Cause.HALT: 40,
            },
            {Inner.DEVICE: 600, Inner.SYS_REG: 500, Inner.PAGE_FAULT: 300},
            (HypercallKind(2, 0, 1.0),),
        ),
        Phase(
            0.40,
            {
                Cause.DEVICE_IRQ: 500,
                Cause.GUEST_TIMER: 250,
                Cause.HYPERCALL: 60,
                Cause.NOTHING: 200,
                Cause.IPI: 200,
                Cause.HALT: 100,
            },
            {Inner.DEVICE: 200, Inner.SYS_REG: 400, Inner.PAGE_FAULT: 80},
            _IVC,
        ),
    ),
    steady=Phase(
        0.0,
        {
            Cause.DEVICE_IRQ: 6,
            Cause.GUEST_TIMER: 10,
            Cause.HYPERCALL: 2,
            Cause.NOTHING: 50,
            Cause.IPI: 10,
            Cause.HALT: 60,
        },
        {Inner.DEVICE: 4, Inner.SYS_REG: 20, Inner.PAGE_FAULT: 1},
        _IVC,
    ),
    devices=(
        DeviceRange(DeviceType.CONSOLE, 0x3F8, 8, 1, 6.0),
        DeviceRange(DeviceType.X86_PIT, 0x40, 4, 1, 1.0),
        DeviceRange(DeviceType.X86_IO_APIC, 0xFEC0_0000, 0x1000, 16, 3.0),
    ),
    passthrough=(Passthrough(0xFED0_0000, 0x1000, 0), Passthrough(0xFE00_0000, 0x4000, 0x4000)),
    host_timer_irq=0xF0,
    guest_timer_irq=0xEC,
    device_irqs=(0x24, 0x2B, 0x31),
    ipi_vectors=(0xFB, 0xFC, 0xFD),
    reports_vector=True,
    ram_base=0,
    ram_identity=False,
    host_ram_base=0x1_0000_0000,
    images=((8 << 20, 16 << 20), (64 << 10, 256 << 10)),
    secondary_entry=0x9_A000,
)

ARCHITECTURES: Mapping[str, Architecture] = {arch.name: arch for arch in (AARCH64, X86_64)}
"""By the name that a workload's `arch` parameter takes."""
