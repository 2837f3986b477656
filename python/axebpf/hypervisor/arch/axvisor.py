"""What AxVisor does alike on every architecture: how long it takes, its hypercalls, its tick.

Handler latencies are log-normal with a tail, bounded on both sides. They are estimates for server-class cores within
the bounds that published measurements of KVM on arm64 set for the same kinds of exit (simple exits 0.7 to 2.3 µs,
emulation after an abort up to 12 µs), not measurements of AxVisor.
"""

from __future__ import annotations

from axebpf.hypervisor.arch.model import Cause, HypercallKind, Inner, Latency
from axebpf.tracepoints.definitions import ExitReason

__all__ = ["DEBUG", "INNER_LATENCY", "IVC", "LATENCY", "RAM_SIZE", "REASONS", "TICK_HZ"]

RAM_SIZE = 256 << 20
"""Bytes of memory of each VM: AxVisor's sample of a Linux guest."""
TICK_HZ = 100
"""The hypervisor's tick: the default of ArceOS."""

REASONS = {
    Cause.TICK: ExitReason.EXTERNAL_INTERRUPT,
    Cause.GUEST_TIMER: ExitReason.EXTERNAL_INTERRUPT,
    Cause.DEVICE_IRQ: ExitReason.EXTERNAL_INTERRUPT,
    Cause.HYPERCALL: ExitReason.HYPERCALL,
    Cause.NOTHING: ExitReason.NOTHING,
    Cause.CPU_UP: ExitReason.CPU_UP,
    Cause.SYSTEM_DOWN: ExitReason.SYSTEM_DOWN,
}
"""What is the same everywhere; how the others show, and whether they exist, each architecture says."""

_IRQ = Latency(2_200, 0.40, 900, 100_000, tail=0.004, stretch=14.0)  # 1 to 5 µs with a tail to 100 µs
_HYPERCALL = Latency(1_200, 0.35, 500, 30_000, tail=0.003, stretch=8.0)  # 0.5 to 3 µs
LATENCY = {
    Cause.TICK: _IRQ,
    Cause.GUEST_TIMER: _IRQ,
    Cause.DEVICE_IRQ: _IRQ,
    Cause.HYPERCALL: _HYPERCALL,
    Cause.NOTHING: Latency(900, 0.30, 400, 20_000, tail=0.002, stretch=8.0),  # a simple exit
    Cause.IPI: Latency(1_600, 0.35, 700, 40_000, tail=0.003, stretch=10.0),  # a simple exit, and a wake-up
    Cause.HALT: Latency(2_000_000, 0.9, 2_000, 8_000_000),  # an idle guest with a timer of 100 to 250 Hz
    Cause.CPU_UP: Latency(300_000, 0.45, 100_000, 1_000_000),  # a task is spawned: 0.1 to 1 ms
    Cause.CPU_DOWN: _HYPERCALL,
    Cause.SYSTEM_DOWN: Latency(20_000, 0.30, 8_000, 80_000),  # the state is set, every vCPU is told
    Cause.FAULT: Latency(20_000, 0.30, 8_000, 80_000),  # the same, and a line of the log
}
"""By cause of the exit."""
INNER_LATENCY = {
    Inner.DEVICE: Latency(3_000, 0.45, 1_000, 60_000, tail=0.004, stretch=8.0),  # 1 to 10 µs
    Inner.SYS_REG: Latency(1_400, 0.30, 600, 20_000, tail=0.002, stretch=6.0),  # a simple exit
    Inner.PAGE_FAULT: Latency(5_500, 0.55, 1_500, 200_000, tail=0.01, stretch=8.0),  # an abort, and a page found
}
"""By kind of the inner exit."""

DEBUG = HypercallKind(2, 0, 2.0)
"""Hypercall 2, which a guest uses to say something."""
IVC = (
    DEBUG,
    HypercallKind(3, 0, 1.0),
    HypercallKind(4, 0, 1.5),
    HypercallKind(4, -1, 0.5),
    HypercallKind(5, 0, 0.5),
    HypercallKind(6, 0, 0.5),
)
"""3 and 4 publish and subscribe memory shared between VMs, 5 and 6 take that back; a subscription fails while its
publisher has not come up."""
