"""The events of Linux's KVM as events of the hypervisor: one table.

Texts are those that the kernel prints (`events/kvm/*/format` in tracefs; x86: Linux 6.18, and 5.10 where it differs;
arm64: `arch/arm64/kvm/trace_arm.h`, `trace_handle_exit.h`, `vgic/trace.h`; riscv: `arch/riscv/kvm/trace.h`). An exit
keeps its meaning and gets AxVisor's number; what AxVisor handles without leaving the loop is `NOTHING`, as there.

>>> [rule.becomes for rule in RULES if rule.event == "kvm:kvm_exit"][0]
'vmm:vcpu_run_exit'
"""

from __future__ import annotations

from typing import Final

from axebpf.recording.rules import VCPU, VM, Rule, Value, bits, named, place, ranges, since
from axebpf.tracepoints import AccessType, DeviceType, ExitReason

__all__ = [
    "ARM64_EXITS",
    "DEVICES",
    "PORTS",
    "RISCV_EXITS",
    "RULES",
    "SVM_EXITS",
    "USER_EXITS",
    "VMX_EXITS",
    "exit_table",
]

_E = ExitReason

VMX_EXITS: Final[dict[tuple[int, str], int | Value]] = {
    (1, "EXTERNAL_INTERRUPT"): _E.EXTERNAL_INTERRUPT,
    (2, "TRIPLE_FAULT"): _E.SYSTEM_DOWN,
    (12, "HLT"): _E.HALT,
    (18, "VMCALL"): _E.HYPERCALL,
    (30, "IO_INSTRUCTION"): bits("info1", {3: _E.IO_READ}, other=_E.IO_WRITE),
    (31, "MSR_READ"): _E.SYS_REG_READ,
    (32, "MSR_WRITE"): _E.SYS_REG_WRITE,
    (33, "INVALID_STATE"): _E.FAIL_ENTRY,
    (34, "MSR_LOAD_FAIL"): _E.FAIL_ENTRY,
    (36, "MWAIT_INSTRUCTION"): _E.HALT,
    (44, "APIC_ACCESS"): bits("info1", {12: _E.MMIO_WRITE}, other=_E.MMIO_READ),
    (48, "EPT_VIOLATION"): _E.NESTED_PAGE_FAULT,
    (49, "EPT_MISCONFIG"): _E.MMIO_READ,
    (56, "APIC_WRITE"): _E.MMIO_WRITE,
    (84, "MSR_READ_IMM"): _E.SYS_REG_READ,
    (85, "MSR_WRITE_IMM"): _E.SYS_REG_WRITE,
}
"""Exits of Intel's VMX (`isa` 1), by number and name; all others are handled in place.

KVM makes an access to an emulated device an EPT misconfiguration and does not say in its exit whether it reads or
writes: `kvm_mmio` does. (Intel SDM 3, appendix C; exit qualifications 28.2.1.)
"""

SVM_EXITS: Final[dict[tuple[int, str], int | Value]] = {
    (0x60, "interrupt"): _E.EXTERNAL_INTERRUPT,
    (0x78, "hlt"): _E.HALT,
    (0x7B, "io"): bits("info1", {0: _E.IO_READ}, other=_E.IO_WRITE),
    (0x7C, "msr"): bits("info1", {0: _E.SYS_REG_WRITE}, other=_E.SYS_REG_READ),
    (0x7F, "shutdown"): _E.SYSTEM_DOWN,
    (0x81, "hypercall"): _E.HYPERCALL,
    (0x8B, "mwait"): _E.HALT,
    (0xA6, "idle-halt"): _E.HALT,
    (0x400, "npf"): _E.NESTED_PAGE_FAULT,
    (0x401, "avic_incomplete_ipi"): _E.SEND_IPI,
    (0xFFFFFFFF, "invalid_guest_state"): _E.FAIL_ENTRY,
}
"""Exits of AMD's SVM (`isa` 2), by number and name; all others are handled in place. (AMD APM 2, appendix C, 15.10.)"""

ARM64_EXITS: Final[dict[str, int]] = {
    "WFx": _E.HALT,
    "HVC32": _E.HYPERCALL,
    "HVC64": _E.HYPERCALL,
    "SMC32": _E.HYPERCALL,
    "SMC64": _E.HYPERCALL,
    "SYS64": _E.SYS_REG_READ,
    "IABT_LOW": _E.NESTED_PAGE_FAULT,
    "DABT_LOW": _E.NESTED_PAGE_FAULT,
}
"""Exception classes of arm64 traps; all others are handled in place.

Whether a register was read or written, or memory or a device touched, is not said.
"""

RISCV_EXITS: Final[dict[int, int]] = {
    10: _E.HYPERCALL,
    20: _E.NESTED_PAGE_FAULT,
    21: _E.NESTED_PAGE_FAULT,
    23: _E.NESTED_PAGE_FAULT,
    (1 << 63) + 1: _E.EXTERNAL_INTERRUPT,
    (1 << 63) + 5: _E.EXTERNAL_INTERRUPT,
    (1 << 63) + 9: _E.EXTERNAL_INTERRUPT,
}
"""`scause` of riscv64 (The RISC-V Instruction Set Manual II, hypervisor extension)."""

USER_EXITS: Final[dict[str, int]] = {
    "KVM_EXIT_IO": _E.IO_WRITE,
    "KVM_EXIT_HYPERCALL": _E.HYPERCALL,
    "KVM_EXIT_HLT": _E.HALT,
    "KVM_EXIT_MMIO": _E.MMIO_WRITE,
    "KVM_EXIT_SHUTDOWN": _E.SYSTEM_DOWN,
    "KVM_EXIT_FAIL_ENTRY": _E.FAIL_ENTRY,
    "KVM_EXIT_INTR": _E.EXTERNAL_INTERRUPT,
    "KVM_EXIT_INTERNAL_ERROR": _E.FAIL_ENTRY,
    "KVM_EXIT_SYSTEM_EVENT": _E.SYSTEM_DOWN,
    "KVM_EXIT_X86_RDMSR": _E.SYS_REG_READ,
    "KVM_EXIT_X86_WRMSR": _E.SYS_REG_WRITE,
    "restart": _E.EXTERNAL_INTERRUPT,
    "error": _E.NOTHING,
}
"""Exits to user space; all others are handled in place.

`restart` is a signal, `error` no exit at all. The direction of an access is not said: `kvm_pio` and `kvm_mmio` have it.
"""

PORTS: Final[dict[range, int]] = {
    range(0x20, 0x22): DeviceType.INTERRUPT_CONTROLLER,
    range(0xA0, 0xA2): DeviceType.INTERRUPT_CONTROLLER,
    range(0x40, 0x44): DeviceType.X86_PIT,
    range(0x3F8, 0x400): DeviceType.CONSOLE,
    range(0x2F8, 0x300): DeviceType.CONSOLE,
}
"""Devices behind the ports of a PC."""

DEVICES: Final[dict[range, int]] = {
    range(0xFEE0_0000, 0xFEE0_1000): DeviceType.INTERRUPT_CONTROLLER,
    range(0xFEC0_0000, 0xFEC0_1000): DeviceType.X86_IO_APIC,
    range(0x0800_0000, 0x0801_0000): DeviceType.GPPT_DISTRIBUTOR,
    range(0x0808_0000, 0x080A_0000): DeviceType.GPPT_ITS,
    range(0x080A_0000, 0x0900_0000): DeviceType.GPPT_REDISTRIBUTOR,
    range(0x0900_0000, 0x0900_1000): DeviceType.CONSOLE,
}
"""Devices in the memory of a PC, and of QEMU's `virt` machine for arm64."""

_VCPU_OF_VM: Final = {"vm_id": VM, "vcpu_id": VCPU}
_EXIT: Final = {**_VCPU_OF_VM, "duration_ns": since("entry")}


def _exit(text: str | tuple[str, ...], reason: Value | int) -> Rule:
    """An exit: the guest ran since the entry."""
    return Rule(
        "kvm:kvm_exit", text, "vmm:vcpu_run_exit", {**_EXIT, "exit_reason": reason}, sets="exit", clears=("entry",)
    )


def _access(event: str, text: str, device: Value | int, addr: str, write: int) -> Rule:
    """An access to an emulated device."""
    fields = {"vm_id": VM, "device_id": device, "addr": place(addr), "is_write": write}
    return Rule(event, text, "vmm:device_access", fields)


def _irq(event: str, text: str | tuple[str, ...], vcpu: Value, *, on_vcpu: bool, unless: tuple[str, ...] = ()) -> Rule:
    """An interrupt for a vCPU."""
    fields = {"vm_id": VM, "vcpu_id": vcpu, "irq_num": place("irq")}
    return Rule(event, text, "vmm:irq_inject", fields, on_vcpu=on_vcpu, unless=unless)


def _left_out(event: str, why: str, text: str | tuple[str, ...] = ()) -> Rule:
    """An event that says nothing that the others do not."""
    return Rule(event, text, why=why, on_vcpu=False)


_MODES: Final = ("Fixed", "LowPrio", "NMI", "ExtINT", "SMI")

RULES: Final[tuple[Rule, ...]] = (
    # Entry and exit
    Rule(
        "kvm:kvm_entry", ("vcpu {vcpu}", "vcpu: {vcpu}", "PC: ", "vcpu_id={vcpu} "), "vmm:vcpu_run_enter", _VCPU_OF_VM,
        sets="entry", clears=("exit",),
    ),
    _exit(
        (
            "vcpu {vcpu} reason {reason:s} rip 0x{} info1 {info1} ",
            "vcpu {vcpu} reason {reason:s} rip 0x{} info {info1:x} ",
            "vcpu {vcpu} reason {reason:s} rip ",
            "reason {reason:s} rip 0x{} info {info1:x} ",
            "reason {reason:s} rip ",
        ),
        named("reason", {name: v for table in (VMX_EXITS, SVM_EXITS) for (_, name), v in table.items()}, _E.NOTHING),
    ),
    *(
        _exit(
            (
                f"exit_reason={{reason}} {{}}isa={isa} {{}}info1={{info1}} {{}}vcpu_id={{vcpu}} ",
                f"exit_reason={{reason}} {{}}isa={isa} {{}}info1={{info1}} ",
            ),
            named("reason", {number: value for (number, _), value in table.items()}, _E.NOTHING),
        )
        for isa, table in ((1, VMX_EXITS), ("0x1", VMX_EXITS), (2, SVM_EXITS), ("0x2", SVM_EXITS))
    ),
    _exit(("IRQ: HSR_EC: ", "IRQ: vcpu: {vcpu} HSR_EC: "), _E.EXTERNAL_INTERRUPT),
    _exit(
        ("TRAP: HSR_EC: {} ({class:s})", "TRAP: vcpu: {vcpu} HSR_EC: {} ({class:s})"),
        named("class", ARM64_EXITS, _E.NOTHING),
    ),
    _exit(("SERROR: ", "IL: ", "GONE: "), _E.NOTHING),
    _exit("SEPC:0x{}, SCAUSE:{cause}", named("cause", RISCV_EXITS, _E.NOTHING)),
    Rule(
        "kvm:kvm_exit", "{}reason EXTERNAL_INTERRUPT rip {}intr_info 0x800000{vector:x} ", "vmm:external_interrupt",
        {**_VCPU_OF_VM, "vector": place("vector")},
    ),
    Rule(
        "kvm:kvm_exit", ("{}reason interrupt rip ", "IRQ: "), "vmm:external_interrupt", {**_VCPU_OF_VM, "vector": 0}
    ),
    Rule(
        "kvm:kvm_userspace_exit", "reason {reason:s} (", "vmm:vcpu_run_exit",
        {**_VCPU_OF_VM, "exit_reason": named("reason", USER_EXITS, _E.NOTHING), "duration_ns": since("run")},
        unless=("kvm:kvm_exit",), clears=("run",),
    ),
    Rule("kvm:kvm_fpu", "load", why="the vCPU's run begins, for kvm_userspace_exit", sets="run"),
    _left_out("kvm:kvm_fpu", "the vCPU's run ends", "unload"),
    # Hypercalls and halts
    Rule(
        "kvm:kvm_hypercall", "nr {nr} ", "vmm:hypercall",
        {**_VCPU_OF_VM, "nr": place("nr"), "ret_val": 0, "duration_ns": since("exit")}, until="entry",
    ),
    Rule(
        "kvm:kvm_hvc_arm64", "HVC at 0x{} (r0: {nr}, ", "vmm:hypercall",
        {**_VCPU_OF_VM, "nr": place("nr"), "ret_val": 0, "duration_ns": since("exit")}, until="entry",
    ),
    Rule("kvm:kvm_vcpu_wakeup", ("wait time ", "poll time "), "vmm:vcpu_halt", _VCPU_OF_VM),
    _left_out("kvm:kvm_wfx_arm64", "kvm_vcpu_wakeup has its end"),
    _left_out("kvm:kvm_halt_poll_ns", "how KVM polls, nothing of the guest"),
    # Memory
    Rule(
        "kvm:kvm_page_fault",
        ("vcpu {vcpu} rip 0x{} address 0x{gpa:x} error_code {code:x}", "address {gpa:x} error_code {code:x}"),
        "vmm:page_fault",
        {
            "vm_id": VM,
            "gpa": place("gpa"),
            "access_type": bits("code", {4: AccessType.EXECUTE, 1: AccessType.WRITE}, AccessType.READ),
            "duration_ns": since("exit"),
        },
        until="entry",
    ),
    Rule(
        "kvm:kvm_guest_fault", "ipa {gpa}, hsr {hsr:x}, ", "vmm:page_fault",
        {
            "vm_id": VM,
            "gpa": place("gpa"),
            "access_type": bits("hsr", {6: AccessType.WRITE}, AccessType.READ),
            "duration_ns": since("exit"),
        },
        until="entry",
    ),
    # Devices
    _access("kvm:kvm_pio", "pio_read at {port} ", ranges("port", PORTS, DeviceType.DUMMY), "port", 0),
    _access("kvm:kvm_pio", "pio_write at {port} ", ranges("port", PORTS, DeviceType.DUMMY), "port", 1),
    _access("kvm:kvm_mmio", "mmio read len {} gpa {gpa} ", ranges("gpa", DEVICES, DeviceType.DUMMY), "gpa", 0),
    _access("kvm:kvm_mmio", "mmio write len {} gpa {gpa} ", ranges("gpa", DEVICES, DeviceType.DUMMY), "gpa", 1),
    _left_out("kvm:kvm_mmio", "the read is reported again, with its value", "mmio unsatisfied-read "),
    _access("kvm:kvm_fast_mmio", "fast mmio at gpa {gpa}", ranges("gpa", DEVICES, DeviceType.DUMMY), "gpa", 1),
    _left_out("kvm:vcpu_match_mmio", "kvm_mmio has the access"),
    _left_out("kvm:kvm_apic", "kvm_mmio or the exit has the access"),
    # Interrupts
    _irq("kvm:kvm_inj_virq", ("IRQ 0x{irq:x}", "Soft/INTn 0x{irq:x}", "irq {irq}"), VCPU, on_vcpu=True),
    _irq("kvm:kvm_apicv_accept_irq", "apicid {apic:x} vec {irq} (", place("apic"), on_vcpu=False),
    _irq(
        "kvm:kvm_apic_accept_irq", tuple(f"apicid {{apic:x}} vec {{irq}} ({mode}|" for mode in _MODES), place("apic"),
        on_vcpu=False, unless=("kvm:kvm_inj_virq", "kvm:kvm_apicv_accept_irq"),
    ),
    _left_out("kvm:kvm_apic_accept_irq", "it begins a vCPU", ("apicid {} vec {} (INIT|", "apicid {} vec {} (SIPI|")),
    _irq("kvm:vgic_update_irq_pending", "VCPU: {at}, IRQ {irq}, level: 1", place("at"), on_vcpu=False),
    _left_out("kvm:vgic_update_irq_pending", "the line goes down", "VCPU: {}, IRQ {}, level: 0"),
    Rule(
        "kvm:kvm_apic_ipi", tuple(f"dst {{target:x}} vec {{vector}} ({mode}|" for mode in _MODES), "vmm:ipi_send",
        {**_VCPU_OF_VM, "target_cpu": place("target"), "vector": place("vector")},
    ),
    Rule(
        "kvm:kvm_apic_ipi", "dst {target:x} vec {page} (SIPI|", "vmm:cpu_up",
        {"vm_id": VM, "source_vcpu": VCPU, "target_vcpu": place("target"), "entry_point": place("page", shift=12)},
    ),
    _left_out("kvm:kvm_apic_ipi", "SIPI follows", "dst {} vec {} (INIT|"),
    *(
        _left_out(f"kvm:{event}", "a line was raised; the interrupt itself is an event of its own")
        for event in ("kvm_set_irq", "kvm_msi_set_irq", "kvm_ioapic_set_irq", "kvm_pic_set_irq", "kvm_irq_line")
    ),
    *(
        _left_out(f"kvm:{event}", "the guest is done with an interrupt")
        for event in ("kvm_eoi", "kvm_pv_eoi", "kvm_ack_irq", "kvm_ioapic_delayed_eoi_inj")
    ),
    # What an exit has said already
    *(
        _left_out(f"kvm:{event}", "the exit has said it")
        for event in ("kvm_cpuid", "kvm_msr", "kvm_cr", "kvm_sys_access", "kvm_handle_sys_reg")
    ),
    _left_out("kvm:kvm_emulate_insn", "how KVM handles an exit"),
)  # fmt: skip
"""The table that `bench.replay` goes by where it is given none."""


def exit_table() -> str:
    """The exits of each kind of processor and the reasons that they become, as a Markdown table.

    >>> exit_table().splitlines()[2]
    '| x86-64 VMX | `EXTERNAL_INTERRUPT` (1) | `EXTERNAL_INTERRUPT` |'
    """

    def reason(value: int | Value) -> str:
        if isinstance(value, int):
            return f"`{ExitReason(value).name}`"
        place, ((bit, yes),), no = value.arguments
        return f"`{ExitReason(yes).name}` if bit {bit} of {place}, else `{ExitReason(no).name}`"

    rows = [("x86-64 VMX", f"`{name}` ({number})", value) for (number, name), value in VMX_EXITS.items()]
    rows += [("x86-64 SVM", f"`{name}` ({number:#x})", value) for (number, name), value in SVM_EXITS.items()]
    rows += [("arm64 trap", f"`{name}`", value) for name, value in ARM64_EXITS.items()]
    rows += [("riscv64 scause", f"{cause:#x}", value) for cause, value in RISCV_EXITS.items()]
    rows += [("to user space", f"`{name}`", value) for name, value in USER_EXITS.items()]
    lines = ["| of | exit | reason |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {kind} | {name} | {reason(value)} |" for kind, name, value in rows)])
