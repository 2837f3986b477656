"""riscv64: a Linux guest on a machine laid out as QEMU's `virt`, whose SBI calls the hypervisor takes.

Most SBI calls are handled or forwarded within the run and end it with Nothing: a timer set, a character printed, an
IPI. So does the supervisor timer's interrupt. An ExternalInterrupt exit has `scause` as its vector.
"""

from __future__ import annotations

from axebpf.hypervisor.arch.axvisor import DEBUG, INNER_LATENCY, IVC, LATENCY, REASONS
from axebpf.hypervisor.arch.model import Architecture, Cause, DeviceRange, Inner, Passthrough, Phase
from axebpf.tracepoints.definitions import DeviceType, ExitReason

__all__ = ["RISCV64"]

# Per vCPU and second. Two Nothing exits a guest tick (the timer, and the call that sets it again: `timer_call`) and one
# a character on the console, of which there are most at the start. Two accesses to the PLIC (claim, complete) a device
# interrupt. Otherwise as on x86-64, but that there is no trapped register.
RISCV64 = Architecture(
    name="riscv64",
    # A load or store that cannot be decoded ends the VM.
    reasons={
        **REASONS,
        Cause.TICK: ExitReason.NOTHING,
        Cause.GUEST_TIMER: ExitReason.NOTHING,
        Cause.IPI: ExitReason.NOTHING,
        Cause.HALT: ExitReason.HALT,
        Cause.CPU_DOWN: ExitReason.CPU_DOWN,
        Cause.FAULT: ExitReason.NESTED_PAGE_FAULT,
    },
    latency=LATENCY,
    inner_latency=INNER_LATENCY,
    early=Phase(
        0.15,
        {Cause.DEVICE_IRQ: 80, Cause.HYPERCALL: 10, Cause.NOTHING: 3000},
        {Inner.DEVICE: 1500, Inner.PAGE_FAULT: 1500},
        (DEBUG,),
    ),
    online=Phase(0.004, {Cause.NOTHING: 4000}, {Inner.DEVICE: 2000, Inner.PAGE_FAULT: 2000}),
    busy=(
        Phase(
            0.45,
            {
                Cause.DEVICE_IRQ: 450,
                Cause.GUEST_TIMER: 250,
                Cause.HYPERCALL: 15,
                Cause.NOTHING: 600,
                Cause.IPI: 300,
                Cause.HALT: 40,
            },
            {Inner.DEVICE: 900, Inner.PAGE_FAULT: 400},
            (DEBUG,),
        ),
        Phase(
            0.40,
            {
                Cause.DEVICE_IRQ: 450,
                Cause.GUEST_TIMER: 250,
                Cause.HYPERCALL: 60,
                Cause.NOTHING: 200,
                Cause.IPI: 200,
                Cause.HALT: 100,
            },
            {Inner.DEVICE: 900, Inner.PAGE_FAULT: 100},
            IVC,
        ),
    ),
    steady=Phase(
        0.0,
        {
            Cause.DEVICE_IRQ: 8,
            Cause.GUEST_TIMER: 20,
            Cause.HYPERCALL: 2,
            Cause.NOTHING: 5,
            Cause.IPI: 10,
            Cause.HALT: 60,
        },
        {Inner.DEVICE: 16, Inner.PAGE_FAULT: 1},
        IVC,
    ),
    devices=(
        DeviceRange(DeviceType.PPPT_GLOBAL, 0x0C00_0000, 0x60_0000, 4, 9.0),
        DeviceRange(DeviceType.CONSOLE, 0x1000_0000, 0x100, 1, 1.0),
    ),
    # The RTC for VM 1, a virtio region for each.
    passthrough=(Passthrough(0x10_1000, 0x1000, 0), Passthrough(0x1000_1000, 0x1000, 0x1000)),
    # The supervisor timer; VSTIP's and VSSIP's bits in `hvip`; sources of the PLIC: the UART and two of virtio.
    host_timer_irq=5,
    guest_timer_irq=6,
    device_irqs=(10, 1, 2),
    ipi_vectors=(2,),
    vector=1 << 63 | 9,  # scause: an interrupt, supervisor external
    ram_base=0x8000_0000,
    ram_identity=False,
    host_ram_base=0x9000_0000,
    images=((16 << 20, 28 << 20), (8 << 10, 32 << 10)),
    secondary_entry=0x1000,
    timer_call=True,
)
