"""AxVisor's 29 tracepoints and the encodings of their fields.

The ids are the one id space of axebpf: they are `TracepointInfo.id`, `common_type` in a record and
`TraceContext.tracepoint_id`. Everything else about a tracepoint is derived from its class here.

>>> VcpuRunExit.event_name, VcpuRunExit.id
('vmm:vcpu_run_exit', 21)
>>> ExitReason(7).name
'EXTERNAL_INTERRUPT'
"""

from __future__ import annotations

import enum

from axebpf.tracepoint import Tracepoint, field, i64, u32, u64

__all__ = [
    "BUILTIN",
    "AccessType",
    "ConfigLoad",
    "CpuUp",
    "DeviceAccess",
    "DeviceType",
    "ExitReason",
    "ExternalInterrupt",
    "Hypercall",
    "ImageLoad",
    "IpiSend",
    "IrqHandle",
    "IrqInject",
    "MappingFlags",
    "MemoryMap",
    "MemoryUnmap",
    "PageFault",
    "ShellCommand",
    "ShellInit",
    "ShutdownReason",
    "TaskSwitch",
    "TimerEvent",
    "TimerEventType",
    "TimerTick",
    "VcpuCreate",
    "VcpuDestroy",
    "VcpuHalt",
    "VcpuRunEnter",
    "VcpuRunExit",
    "VcpuState",
    "VcpuStateChange",
    "VhalInit",
    "VmBoot",
    "VmCommand",
    "VmCreate",
    "VmDestroy",
    "VmShutdown",
    "VmState",
    "VmmInit",
]


class ExitReason(enum.IntEnum):
    """Why a vCPU left guest mode: AxVisor's exit reasons in the order of their declaration.

    The accesses to memory, registers and ports (1 to 6), and faults that could be resolved, are handled without
    leaving the vCPU's run: they are not the reason of a `vmm:vcpu_run_exit`.
    """

    HYPERCALL = 0
    """The guest called the hypervisor."""
    MMIO_READ = 1
    """A load from an emulated device."""
    MMIO_WRITE = 2
    """A store to an emulated device."""
    SYS_REG_READ = 3
    """A read of a trapped system register (aarch64) or MSR (x86-64)."""
    SYS_REG_WRITE = 4
    """A write to a trapped system register or MSR."""
    IO_READ = 5
    """A read from an I/O port (x86-64)."""
    IO_WRITE = 6
    """A write to an I/O port (x86-64)."""
    EXTERNAL_INTERRUPT = 7
    """A physical interrupt arrived."""
    NESTED_PAGE_FAULT = 8
    """A second-stage page fault that could not be resolved."""
    HALT = 9
    """The guest waits for an interrupt (x86-64 HLT; on aarch64 WFI does not exit)."""
    CPU_UP = 10
    """The guest started another vCPU."""
    CPU_DOWN = 11
    """The vCPU switched itself off."""
    SYSTEM_DOWN = 12
    """The guest switched the machine off."""
    NOTHING = 13
    """Handled already; the loop has nothing to do."""
    FAIL_ENTRY = 14
    """The hardware refused to enter the guest."""
    SEND_IPI = 15
    """The guest interrupted another of its vCPUs."""


class VcpuState(enum.IntEnum):
    """States of a vCPU; each run goes FREE, READY, RUNNING, READY, FREE."""

    INVALID = 0
    """After an error."""
    CREATED = 1
    """Made, not set up."""
    FREE = 2
    """On no CPU."""
    READY = 3
    """Bound to a CPU, in the hypervisor."""
    RUNNING = 4
    """In guest mode."""
    BLOCKED = 5
    """Waiting; AxVisor does not use it."""


class VmState(enum.IntEnum):
    """States of a VM."""

    LOADING = 0
    """Its memory and images are being prepared."""
    LOADED = 1
    """Ready to boot."""
    RUNNING = 2
    """Booted."""
    SUSPENDED = 3
    """Paused by the shell."""
    STOPPING = 4
    """Going down; its vCPUs leave one by one."""
    STOPPED = 5
    """Its last vCPU has left."""


class ShutdownReason(enum.IntEnum):
    """Why a VM stopped."""

    CLEAN = 0
    """Its vCPUs ended by themselves."""
    SYSTEM_DOWN = 1
    """The guest switched the machine off."""
    FORCED = 2
    """The shell's `vm stop`."""
    FAULT = 3
    """A run failed."""


class AccessType(enum.IntFlag):
    """What a page fault tried."""

    READ = 1
    """A load."""
    WRITE = 2
    """A store."""
    EXECUTE = 4
    """An instruction fetch."""


class MappingFlags(enum.IntFlag):
    """Rights and kind of a mapped region: guest memory has 0xf, a passed-through device 0x1b."""

    READ = 1
    """Readable."""
    WRITE = 2
    """Writable."""
    EXECUTE = 4
    """Executable."""
    USER = 8
    """Reachable from the guest."""
    DEVICE = 16
    """Device memory: no gathering, no reordering."""
    UNCACHED = 32
    """Normal memory, not cached."""


class DeviceType(enum.IntEnum):
    """AxVisor's codes of emulated devices."""

    DUMMY = 0x0
    """No device."""
    INTERRUPT_CONTROLLER = 0x1
    """GICv2 (aarch64) or local APIC (x86-64)."""
    CONSOLE = 0x2
    """Serial port."""
    IVC_CHANNEL = 0xA
    """Memory shared between VMs."""
    GPPT_REDISTRIBUTOR = 0x20
    """GICv3 redistributor, partially passed through."""
    GPPT_DISTRIBUTOR = 0x21
    """GICv3 distributor, partially passed through."""
    GPPT_ITS = 0x22
    """GICv3 interrupt translation service, partially passed through."""
    X86_IO_APIC = 0x23
    """I/O APIC."""
    X86_PIT = 0x24
    """8254 timer."""
    PPPT_GLOBAL = 0x30
    """RISC-V PLIC, partially passed through."""
    VIRTIO_BLK = 0xE1
    """Virtio disk."""
    VIRTIO_NET = 0xE2
    """Virtio network card."""
    VIRTIO_CONSOLE = 0xE3
    """Virtio console."""


class TimerEventType(enum.IntEnum):
    """Kinds of timer."""

    ONE_SHOT = 0
    """Fires once, is then set again."""
    PERIODIC = 1
    """Fires by itself at every period."""


class VmCommand(enum.IntEnum):
    """The shell's `vm` commands, in the order of its help. AxVisor defines no numbers; these are axebpf's."""

    CREATE = 0
    """`vm create`"""
    START = 1
    """`vm start`"""
    STOP = 2
    """`vm stop`"""
    SUSPEND = 3
    """`vm suspend`"""
    RESUME = 4
    """`vm resume`"""
    RESTART = 5
    """`vm restart`"""
    DELETE = 6
    """`vm delete`"""
    LIST = 7
    """`vm list`"""
    SHOW = 8
    """`vm show`"""


# VM lifecycle


class VmCreate(Tracepoint, name="vmm:vm_create", id=1):
    """A VM was created."""

    vm_id: u32
    vcpu_num: u32 = field(label="vcpus")
    memory_size: u64 = field(unit="bytes", label="memory", scale=1 << 20, suffix="MB")


class VmBoot(Tracepoint, name="vmm:vm_boot", id=2):
    """A VM was booted: its primary vCPU may run."""

    vm_id: u32
    duration_ns: u64 = field(unit="ns", role="duration")


class VmShutdown(Tracepoint, name="vmm:vm_shutdown", id=3):
    """The last vCPU of a VM has left; the duration is counted from the request to stop."""

    vm_id: u32
    reason: u32 = field(enum=ShutdownReason)
    duration_ns: u64 = field(unit="ns", role="duration")


class VmDestroy(Tracepoint, name="vmm:vm_destroy", id=4):
    """A VM was deleted."""

    vm_id: u32


# vCPU lifecycle


class VcpuCreate(Tracepoint, name="vmm:vcpu_create", id=10):
    """A vCPU was created."""

    vm_id: u32
    vcpu_id: u32


class VcpuDestroy(Tracepoint, name="vmm:vcpu_destroy", id=11):
    """A vCPU was destroyed."""

    vm_id: u32
    vcpu_id: u32


class VcpuStateChange(Tracepoint, name="vmm:vcpu_state_change", id=12):
    """A vCPU went from one state to another."""

    vm_id: u32
    vcpu_id: u32
    old_state: u32 = field(enum=VcpuState, label="old")
    new_state: u32 = field(enum=VcpuState, label="new")


# vCPU runtime


class VcpuRunEnter(Tracepoint, name="vmm:vcpu_run_enter", id=20):
    """A vCPU enters guest mode."""

    vm_id: u32
    vcpu_id: u32


class VcpuRunExit(Tracepoint, name="vmm:vcpu_run_exit", id=21):
    """A vCPU left guest mode; the duration is counted from its `vcpu_run_enter`, inner exits included."""

    vm_id: u32
    vcpu_id: u32
    exit_reason: u32 = field(enum=ExitReason)
    duration_ns: u64 = field(unit="ns", role="duration")


class Hypercall(Tracepoint, name="vmm:hypercall", id=22):
    """A hypercall was handled."""

    vm_id: u32
    vcpu_id: u32
    nr: u64 = field(hex=True)
    ret_val: i64
    duration_ns: u64 = field(unit="ns", role="duration")


class ExternalInterrupt(Tracepoint, name="vmm:external_interrupt", id=23):
    """A physical interrupt took a vCPU out of guest mode (aarch64 reports vector 0)."""

    vm_id: u32
    vcpu_id: u32
    vector: u64


class VcpuHalt(Tracepoint, name="vmm:vcpu_halt", id=24):
    """A vCPU halted until the next interrupt."""

    vm_id: u32
    vcpu_id: u32


class CpuUp(Tracepoint, name="vmm:cpu_up", id=25):
    """A vCPU started another one of its VM."""

    vm_id: u32
    source_vcpu: u32
    target_vcpu: u32
    entry_point: u64 = field(hex=True)


class IpiSend(Tracepoint, name="vmm:ipi_send", id=26):
    """A vCPU sent an interrupt to another one of its VM."""

    vm_id: u32
    vcpu_id: u32
    target_cpu: u64
    vector: u64


# Memory


class MemoryMap(Tracepoint, name="vmm:memory_map", id=30):
    """A region was mapped into a VM."""

    vm_id: u32
    gpa: u64 = field(hex=True)
    hpa: u64 = field(hex=True)
    size: u64 = field(unit="bytes", hex=True)
    flags: u32 = field(enum=MappingFlags, hex=True)


class MemoryUnmap(Tracepoint, name="vmm:memory_unmap", id=31):
    """A region was unmapped from a VM."""

    vm_id: u32
    gpa: u64 = field(hex=True)
    size: u64 = field(unit="bytes", hex=True)


class PageFault(Tracepoint, name="vmm:page_fault", id=32):
    """A second-stage page fault was handled."""

    vm_id: u32
    gpa: u64 = field(hex=True)
    access_type: u32 = field(enum=AccessType)
    duration_ns: u64 = field(unit="ns", role="duration")


# Devices and interrupts


class DeviceAccess(Tracepoint, name="vmm:device_access", id=40):
    """A guest accessed an emulated device; the address is guest-physical, or a port number on x86-64."""

    vm_id: u32
    device_id: u32 = field(enum=DeviceType)
    addr: u64 = field(hex=True)
    is_write: u32


class IrqInject(Tracepoint, name="vmm:irq_inject", id=41):
    """A virtual interrupt was given to a vCPU."""

    vm_id: u32
    vcpu_id: u32
    irq_num: u32


class IrqHandle(Tracepoint, name="vmm:irq_handle", id=42):
    """The hypervisor handled a physical interrupt."""

    irq_num: u32
    duration_ns: u64 = field(unit="ns", role="duration")


# System initialization


class VmmInit(Tracepoint, name="vmm:vmm_init", id=50):
    """The hypervisor is initialized."""

    cpu_count: u32
    duration_ns: u64 = field(unit="ns", role="duration")


class VhalInit(Tracepoint, name="vmm:vhal_init", id=51):
    """Virtualization is on, on one CPU."""

    cpu_id: u32
    duration_ns: u64 = field(unit="ns", role="duration")


class ConfigLoad(Tracepoint, name="vmm:config_load", id=52):
    """The configuration of a VM was read."""

    vm_id: u32
    duration_ns: u64 = field(unit="ns", role="duration")


class ImageLoad(Tracepoint, name="vmm:image_load", id=53):
    """An image (kernel, device tree, ramdisk) was copied into a VM."""

    vm_id: u32
    image_size: u64 = field(unit="bytes")
    duration_ns: u64 = field(unit="ns", role="duration")


# Timer and tasks


class TimerTick(Tracepoint, name="vmm:timer_tick", id=60):
    """The hypervisor's own periodic tick."""

    timestamp: u64 = field(unit="ns")


class TimerEvent(Tracepoint, name="vmm:timer_event", id=61):
    """A timer of a VM fired."""

    event_type: u32 = field(enum=TimerEventType)
    vm_id: u32


class TaskSwitch(Tracepoint, name="vmm:task_switch", id=62):
    """The hypervisor's scheduler switched tasks; tasks are named by their address."""

    from_task: u64 = field(hex=True)
    to_task: u64 = field(hex=True)


# Shell


class ShellCommand(Tracepoint, name="shell:shell_command", id=100):
    """The shell ran a command."""

    cmd_id: u32 = field(enum=VmCommand)
    duration_ns: u64 = field(unit="ns", role="duration")


class ShellInit(Tracepoint, name="shell:shell_init", id=101):
    """The shell started."""

    duration_ns: u64 = field(unit="ns", role="duration")


BUILTIN: tuple[type[Tracepoint], ...] = (
    VmCreate,
    VmBoot,
    VmShutdown,
    VmDestroy,
    VcpuCreate,
    VcpuDestroy,
    VcpuStateChange,
    VcpuRunEnter,
    VcpuRunExit,
    Hypercall,
    ExternalInterrupt,
    VcpuHalt,
    CpuUp,
    IpiSend,
    MemoryMap,
    MemoryUnmap,
    PageFault,
    DeviceAccess,
    IrqInject,
    IrqHandle,
    VmmInit,
    VhalInit,
    ConfigLoad,
    ImageLoad,
    TimerTick,
    TimerEvent,
    TaskSwitch,
    ShellCommand,
    ShellInit,
)
"""All 29, in the order of their ids; a new bench has them defined."""
