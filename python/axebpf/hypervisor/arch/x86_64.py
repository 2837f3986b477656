"""x86-64: a Linux guest on a PC with VMX. No PSCI: a vCPU is started by IPIs, and the machine goes off by a port."""

from __future__ import annotations

from axebpf.hypervisor.arch.axvisor import DEBUG, INNER_LATENCY, IVC, LATENCY, REASONS
from axebpf.hypervisor.arch.model import Architecture, Cause, DeviceRange, Inner, Passthrough, Phase
from axebpf.tracepoints.definitions import DeviceType, ExitReason

__all__ = ["X86_64"]

# Per vCPU and second. Thousands of CPUID and MSR exits at the start, two accesses to the serial port a character;
# the preemption timer ends 50 to 100 runs with nothing to do. Otherwise as on aarch64.
X86_64 = Architecture(
    name="x86_64",
    # An IPI is a write to an x2APIC register, which is handled within the run. What ends a VM is a guest state that
    # the hardware refuses to enter.
    reasons={
        **REASONS,
        Cause.IPI: ExitReason.NOTHING,
        Cause.HALT: ExitReason.HALT,
        Cause.FAULT: ExitReason.FAIL_ENTRY,
    },
    latency=LATENCY,
    inner_latency=INNER_LATENCY,
    early=Phase(
        0.15,
        {Cause.DEVICE_IRQ: 80, Cause.HYPERCALL: 10, Cause.NOTHING: 3500},
        {Inner.DEVICE: 1200, Inner.SYS_REG: 1500, Inner.PAGE_FAULT: 900},
        (DEBUG,),
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
            (DEBUG,),
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
            IVC,
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
        IVC,
    ),
    devices=(
        DeviceRange(DeviceType.CONSOLE, 0x3F8, 8, 1, 6.0),
        DeviceRange(DeviceType.X86_PIT, 0x40, 4, 1, 1.0),
        DeviceRange(DeviceType.X86_IO_APIC, 0xFEC0_0000, 0x1000, 16, 3.0),
    ),
    # The HPET for VM 1, a virtio BAR for each.
    passthrough=(Passthrough(0xFED0_0000, 0x1000, 0), Passthrough(0xFE00_0000, 0x4000, 0x4000)),
    # Vectors: ArceOS's timer; Linux's local timer, devices, and reschedule, call function and its single form.
    host_timer_irq=0xF0,
    guest_timer_irq=0xEC,
    device_irqs=(0x24, 0x2B, 0x31),
    ipi_vectors=(0xFB, 0xFC, 0xFD),
    vector=None,
    ram_base=0,
    ram_identity=False,
    host_ram_base=0x1_0000_0000,
    images=((8 << 20, 16 << 20), (64 << 10, 256 << 10)),
    secondary_entry=0x9_A000,
)
