"""aarch64: a Linux guest on a GICv3 machine laid out as QEMU's `virt`; the hypervisor traps its interrupts.

WFI does not exit, so no vCPU halts. An ExternalInterrupt exit has vector 0: the number is read later, by the handler.
"""

from __future__ import annotations

from axebpf.hypervisor.arch.axvisor import DEBUG, INNER_LATENCY, IVC, LATENCY, REASONS
from axebpf.hypervisor.arch.model import Architecture, Cause, DeviceRange, HypercallKind, Inner, Passthrough, Phase
from axebpf.tracepoints.definitions import DeviceType, ExitReason

__all__ = ["AARCH64"]

# Of PSCI, the loop acts on CPU_ON, CPU_OFF and SYSTEM_OFF; every other call, version and features too, gets -1.
_VERSION = HypercallKind(0x8400_0000, -1, 1.0)
_FEATURES = HypercallKind(0x8400_000A, -1, 3.0)

# Per vCPU and second. Busy: about 1000 interrupts, of which 250 are the guest's timer, and three trapped registers for
# each of those. IPIs: 10 to 1000. At the start the interrupt controller takes hundreds of accesses.
AARCH64 = Architecture(
    name="aarch64",
    # A permission fault in the second stage ends the VM.
    reasons={
        **REASONS,
        Cause.IPI: ExitReason.SEND_IPI,
        Cause.CPU_DOWN: ExitReason.CPU_DOWN,
        Cause.FAULT: ExitReason.NESTED_PAGE_FAULT,
    },
    latency=LATENCY,
    inner_latency=INNER_LATENCY,
    early=Phase(
        0.15,
        {Cause.DEVICE_IRQ: 150, Cause.HYPERCALL: 60, Cause.NOTHING: 40},
        {Inner.DEVICE: 2500, Inner.SYS_REG: 1200, Inner.PAGE_FAULT: 1500},
        (_VERSION, _FEATURES, DEBUG),
    ),
    online=Phase(0.004, {}, {Inner.DEVICE: 8000, Inner.SYS_REG: 4000, Inner.PAGE_FAULT: 2000}),
    busy=(
        Phase(
            0.45,
            {Cause.DEVICE_IRQ: 750, Cause.GUEST_TIMER: 250, Cause.HYPERCALL: 30, Cause.NOTHING: 20, Cause.IPI: 300},
            {Inner.DEVICE: 200, Inner.SYS_REG: 750, Inner.PAGE_FAULT: 500},
            (DEBUG, HypercallKind(_FEATURES.nr, -1, 0.4)),
        ),
        Phase(
            0.40,
            {Cause.DEVICE_IRQ: 750, Cause.GUEST_TIMER: 250, Cause.HYPERCALL: 90, Cause.NOTHING: 10, Cause.IPI: 200},
            {Inner.DEVICE: 60, Inner.SYS_REG: 750, Inner.PAGE_FAULT: 120},
            IVC,
        ),
    ),
    steady=Phase(
        0.0,
        {Cause.DEVICE_IRQ: 12, Cause.GUEST_TIMER: 20, Cause.HYPERCALL: 3, Cause.NOTHING: 1, Cause.IPI: 10},
        {Inner.DEVICE: 2, Inner.SYS_REG: 60, Inner.PAGE_FAULT: 1},
        IVC,
    ),
    devices=(
        DeviceRange(DeviceType.GPPT_DISTRIBUTOR, 0x0800_0000, 0x1_0000, 4, 5.0),
        DeviceRange(DeviceType.GPPT_ITS, 0x0808_0000, 0x2_0000, 4, 1.0),
        DeviceRange(DeviceType.GPPT_REDISTRIBUTOR, 0x080A_0000, 0x2_0000, 4, 4.0, per_vcpu=True),
    ),
    # The PL011 for VM 1, a virtio region for each.
    passthrough=(Passthrough(0x0900_0000, 0x1000, 0), Passthrough(0x0A00_0000, 0x1000, 0x1000)),
    # INTIDs: the hypervisor's timer, the EL1 physical timer; the UART and two of virtio; SGIs as Linux uses them.
    host_timer_irq=26,
    guest_timer_irq=30,
    device_irqs=(33, 48, 49),
    ipi_vectors=(0, 1, 2, 5),
    vector=0,
    ram_base=0x8000_0000,
    ram_identity=True,
    host_ram_base=0x8000_0000,
    images=((12 << 20, 24 << 20), (48 << 10, 96 << 10)),
    secondary_entry=0x21_A40C,
    cpu_on=0xC400_0003,
    cpu_off=0x8400_0002,
    system_off=0x8400_0008,
)
