"""What the events of KVM become: a table, for x86-64, arm64 and RISC-V.

Texts are those of the `print fmt` lines of `events/kvm/*/format` in Linux's tracefs (6.18), and of libtraceevent's
plugin for KVM, which `trace-cmd report` uses. KVM leaves the guest for more than AxVisor does, so several of its
reasons are `NOTHING`: handled by the hypervisor, which goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from axebpf.recording.rules import Choice, Hex, Known, Rule, Source
from axebpf.tracepoints.definitions import AccessType, DeviceType, ExitReason

__all__ = ["KVM"]

_VMX: Mapping[str, ExitReason] = {
    "EXTERNAL_INTERRUPT": ExitReason.EXTERNAL_INTERRUPT,
    "TRIPLE_FAULT": ExitReason.SYSTEM_DOWN,
    "HLT": ExitReason.HALT,
    "VMCALL": ExitReason.HYPERCALL,
    "MSR_READ": ExitReason.SYS_REG_READ,
    "MSR_READ_IMM": ExitReason.SYS_REG_READ,
    "MSR_WRITE": ExitReason.SYS_REG_WRITE,
    "MSR_WRITE_IMM": ExitReason.SYS_REG_WRITE,
    "INVALID_STATE": ExitReason.FAIL_ENTRY,
    "MSR_LOAD_FAIL": ExitReason.FAIL_ENTRY,
    "MCE_DURING_VMENTRY": ExitReason.FAIL_ENTRY,
    "APIC_WRITE": ExitReason.MMIO_WRITE,
    "EPT_VIOLATION": ExitReason.NESTED_PAGE_FAULT,
    # An access to memory of an emulated device, whose direction this exit does not tell.
    "EPT_MISCONFIG": ExitReason.NESTED_PAGE_FAULT,
    "APIC_ACCESS": ExitReason.NESTED_PAGE_FAULT,
}
"""Intel's exit reasons (`isa` 1) by KVM's names; all others are handled by the hypervisor."""

_SVM: Mapping[str, ExitReason] = {
    "interrupt": ExitReason.EXTERNAL_INTERRUPT,
    "shutdown": ExitReason.SYSTEM_DOWN,
    "hlt": ExitReason.HALT,
    "idle-halt": ExitReason.HALT,
    "hypercall": ExitReason.HYPERCALL,
    "npf": ExitReason.NESTED_PAGE_FAULT,
    "avic_incomplete_ipi": ExitReason.SEND_IPI,
    "vmgexit_mmio_read": ExitReason.MMIO_READ,
    "vmgexit_mmio_write": ExitReason.MMIO_WRITE,
    "FAILED_VMENTRY": ExitReason.FAIL_ENTRY,
}
"""AMD's exit codes (`isa` 2) by KVM's names."""

_ARM64_CLASSES: Mapping[str, ExitReason] = {
    "WFx": ExitReason.HALT,
    "HVC32": ExitReason.HYPERCALL,
    "HVC64": ExitReason.HYPERCALL,
    # Which of the two, the text does not tell.
    "SYS64": ExitReason.SYS_REG_READ,
    "IABT_LOW": ExitReason.NESTED_PAGE_FAULT,
    "DABT_LOW": ExitReason.NESTED_PAGE_FAULT,
}
"""Exception classes of ESR_EL2 (`Arm ARM`, D24) by KVM's names."""

_RISCV_CAUSES: Mapping[str, ExitReason] = {
    "0xa": ExitReason.HYPERCALL,
    "0x14": ExitReason.NESTED_PAGE_FAULT,
    "0x15": ExitReason.MMIO_READ,
    "0x17": ExitReason.MMIO_WRITE,
    "0x8000000000000009": ExitReason.EXTERNAL_INTERRUPT,
}
"""Values of scause (RISC-V privileged architecture, hypervisor extension)."""

_USERSPACE: Mapping[str, ExitReason] = {
    "KVM_EXIT_HYPERCALL": ExitReason.HYPERCALL,
    "KVM_EXIT_HLT": ExitReason.HALT,
    "KVM_EXIT_SHUTDOWN": ExitReason.SYSTEM_DOWN,
    "KVM_EXIT_SYSTEM_EVENT": ExitReason.SYSTEM_DOWN,
    "KVM_EXIT_FAIL_ENTRY": ExitReason.FAIL_ENTRY,
    "KVM_EXIT_INTR": ExitReason.EXTERNAL_INTERRUPT,
    "KVM_EXIT_X86_RDMSR": ExitReason.SYS_REG_READ,
    "KVM_EXIT_X86_WRMSR": ExitReason.SYS_REG_WRITE,
    # Which direction, the text does not tell: `vmm:device_access` does.
    "KVM_EXIT_IO": ExitReason.IO_WRITE,
    "KVM_EXIT_MMIO": ExitReason.MMIO_WRITE,
}
"""`KVM_EXIT_*`, why KVM_RUN returned."""

_VCPU: dict[str, Source] = {"vm_id": Known.VM, "vcpu_id": Known.VCPU}


def _exit(pattern: str, reason: Choice | int, unless: str = "", event: str = "kvm_exit") -> Rule:
    fields: dict[str, Source] = {**_VCPU, "exit_reason": reason, "duration_ns": Known.SINCE_ENTER}
    return Rule(event, pattern, to="vmm:vcpu_run_exit", fields=fields, unless=unless)


def _access(event: str, pattern: str, is_write: Choice | int) -> Rule:
    fields: dict[str, Source] = {"vm_id": Known.VM, "device_id": DeviceType.DUMMY, "addr": "addr", "is_write": is_write}
    return Rule(event, pattern, to="vmm:device_access", fields=fields)


def _inject(event: str, pattern: str, unless: str = "", outside: bool = False) -> Rule:
    return Rule(event, pattern, to="vmm:irq_inject", fields={**_VCPU, "irq_num": "irq"}, unless=unless, outside=outside)


def _hypercall(event: str, pattern: str) -> Rule:
    fields: dict[str, Source] = {**_VCPU, "nr": "nr", "ret_val": 0, "duration_ns": Known.UNTIL_ENTER}
    return Rule(event, pattern, to="vmm:hypercall", fields=fields)


def _page_fault(pattern: str, access: AccessType, event: str = "kvm_page_fault") -> Rule:
    fields: dict[str, Source] = {
        "vm_id": Known.VM,
        "gpa": "gpa",
        "access_type": access,
        "duration_ns": Known.UNTIL_ENTER,
    }
    return Rule(event, pattern, to="vmm:page_fault", fields=fields)


_WHO = r"(?:vcpu (?P<vcpu>\d{1,10})(?:,? |$))?"
_INFO1 = r" .*? info1? (?:0x)?[0-9a-f]*"
"""Up to the last digit of the first word that tells more about an x86 exit."""
_DIRECTIONS = {"read": 0, "write": 1}
_IS_WRITE = Choice("direction", _DIRECTIONS, 0)
_HEX = r"0x[0-9a-fA-F]{1,16}"
_FAULT = rf"{_WHO}rip \S+ address (?P<gpa>{_HEX}) error_code "

KVM: tuple[Rule, ...] = (
    # Entering and leaving the guest. Without these events, the way in and out of KVM_RUN stands for them.
    Rule("kvm_entry", _WHO, to="vmm:vcpu_run_enter", fields=_VCPU, enters=True),
    Rule("kvm_fpu", r"load", to="vmm:vcpu_run_enter", fields=_VCPU, enters=True, unless="kvm_entry"),
    # x86-64: bit 3 of Intel's qualification is set for IN; bit 0 of AMD's is set for IN, and for WRMSR.
    _exit(rf"{_WHO}reason IO_INSTRUCTION{_INFO1}[89a-f]\b", ExitReason.IO_READ),
    _exit(rf"{_WHO}reason IO_INSTRUCTION\b", ExitReason.IO_WRITE),
    _exit(rf"{_WHO}reason io{_INFO1}[13579bdf]\b", ExitReason.IO_READ),
    _exit(rf"{_WHO}reason io\b", ExitReason.IO_WRITE),
    _exit(rf"{_WHO}reason msr{_INFO1}[13579bdf]\b", ExitReason.SYS_REG_WRITE),
    _exit(rf"{_WHO}reason msr\b", ExitReason.SYS_REG_READ),
    _exit(rf"{_WHO}reason (?P<reason>\S+)", Choice("reason", {**_VMX, **_SVM}, ExitReason.NOTHING)),
    # arm64, then RISC-V
    _exit(r"IRQ: ", ExitReason.EXTERNAL_INTERRUPT),
    _exit(r"\w+: \w+_EC: \S+ \((?P<reason>\w+)\)", Choice("reason", _ARM64_CLASSES, ExitReason.NOTHING)),
    _exit(r"SEPC:\S+ SCAUSE:(?P<reason>0x[0-9a-f]+)", Choice("reason", _RISCV_CAUSES, ExitReason.NOTHING)),
    _exit(
        r"reason (?P<reason>\w+)",
        Choice("reason", _USERSPACE, ExitReason.NOTHING),
        unless="kvm_exit",
        event="kvm_userspace_exit",
    ),
    # Devices. A read that user space has yet to answer is told twice; the second time counts.
    _access("kvm_pio", rf"pio_(?P<direction>read|write) at (?P<addr>{_HEX})", _IS_WRITE),
    _access("kvm_mmio", rf"mmio (?P<direction>read|write) len \d+ gpa (?P<addr>{_HEX})", _IS_WRITE),
    _access("kvm_fast_mmio", rf"fast mmio at gpa (?P<addr>{_HEX})", 1),
    # Hypercalls. KVM does not record what they return.
    _hypercall("kvm_hypercall", rf"nr (?P<nr>{_HEX})"),
    _hypercall("kvm_hvc_arm64", rf"HVC at \S+ \(r0: (?P<nr>{_HEX})"),
    # Interrupts into a guest: where KVM injects them, or else where a device raises its line.
    _inject("kvm_inj_virq", rf"(?:IRQ|Soft/INTn|irq) (?P<irq>{_HEX}|\d{{1,10}})"),
    _inject("kvm_set_irq", r"gsi (?P<irq>\d{1,10}) level 1", unless="kvm_inj_virq", outside=True),
    _inject(
        "kvm_vgic_update_irq_pending",
        r"VCPU: (?P<vcpu>\d{1,10}), IRQ (?P<irq>\d{1,10}), level: 1",
        outside=True,
    ),
    Rule(
        "kvm_apic_ipi",
        r"dst (?P<target>[0-9a-f]{1,8}) vec (?P<vector>\d{1,10})",
        to="vmm:ipi_send",
        fields={**_VCPU, "target_cpu": Hex("target"), "vector": "vector"},
    ),
    # Page faults of the second stage: x86-64 by the bits of its error code, arm64 by those of ESR_EL2.
    _page_fault(rf"{_FAULT}0x[0-9a-f]*[13579bdf][0-9a-f]\b", AccessType.EXECUTE),
    _page_fault(rf"{_FAULT}0x[0-9a-f]*[2367abef]\b", AccessType.WRITE),
    _page_fault(_FAULT, AccessType.READ),
    _page_fault(rf"ipa (?P<gpa>{_HEX}), \w+ 0x8[0-3]", AccessType.EXECUTE, event="kvm_guest_fault"),
    _page_fault(rf"ipa (?P<gpa>{_HEX}), \w+ 0x[0-9a-f]*[4-7c-f][0-9a-f]\b", AccessType.WRITE, event="kvm_guest_fault"),
    _page_fault(rf"ipa (?P<gpa>{_HEX})", AccessType.READ, event="kvm_guest_fault"),
    Rule("kvm_vcpu_wakeup", r"(?:wait|poll) time", to="vmm:vcpu_halt", fields=_VCPU),
    # What only tells which vCPU a thread is.
    Rule("kvm_track_tsc", r"vcpu_id (?P<vcpu>\d{1,10})"),
    Rule("kvm_write_tsc_offset", r"vcpu=(?P<vcpu>\d{1,10})"),
)
"""The rules; of several for one event the first that matches holds."""
