"""The running kernel's own formats, printed by libtraceevent, are read by the table of KVM's events.

Numbers of exits are Intel's and AMD's, from their manuals.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from axebpf import Bench, ExitReason
from test_oracle_traceevent import TraceEvent, traceevent  # noqa: F401 (a fixture)

EVENTS = Path("/sys/kernel/tracing/events/kvm")

# Intel SDM 3, appendix C; AMD APM 2, appendix C.
VMX = {
    1: ExitReason.EXTERNAL_INTERRUPT, 10: ExitReason.NOTHING, 12: ExitReason.HALT, 18: ExitReason.HYPERCALL,
    28: ExitReason.NOTHING, 31: ExitReason.SYS_REG_READ, 32: ExitReason.SYS_REG_WRITE, 48: ExitReason.NESTED_PAGE_FAULT,
    55: ExitReason.NOTHING,
}  # fmt: skip
SVM = {
    0x60: ExitReason.EXTERNAL_INTERRUPT, 0x72: ExitReason.NOTHING, 0x78: ExitReason.HALT, 0x81: ExitReason.HYPERCALL,
    0x400: ExitReason.NESTED_PAGE_FAULT,
}  # fmt: skip


class Kernel:
    """Records of KVM's events as the kernel lays them out, printed as it says."""

    def __init__(self, printer: TraceEvent, event: str) -> None:
        text = (EVENTS / event / "format").read_text()
        printer.parse(text, "kvm")
        self.printer, self.id = printer, int(re.findall(r"ID: (\d+)", text)[0])
        fields = re.findall(r"field:[^;]*?(\w+);\s*offset:(\d+);\s*size:(\d+);", text)
        self.fields = {name: (int(offset), int(size)) for name, offset, size in fields}

    def text(self, **values: int) -> str:
        record = bytearray(max(offset + size for offset, size in self.fields.values()))
        struct.pack_into("<H", record, 0, self.id)
        for name, value in values.items():
            offset, size = self.fields[name]
            record[offset : offset + size] = value.to_bytes(size, "little")
        return self.printer.text(bytes(record))


@pytest.fixture
def kernel(traceevent: TraceEvent) -> Callable[[str], Kernel]:  # noqa: F811
    def kernel(event: str) -> Kernel:
        if not (EVENTS / event / "format").exists():
            pytest.skip("no formats of KVM's events (root, tracefs, and the kvm module)")
        return Kernel(traceevent, event)

    return kernel


def replayed(*texts: str) -> list[dict[str, int]]:
    bench, seen = Bench(), list[dict[str, int]]()
    for tracepoint in bench.tracepoints.values():
        tracepoint.on(lambda event: seen.append(event.fields))
    lines = [f"  qemu-7  [000] ..... 1.{number:06}: {text}\n" for number, text in enumerate(texts)]
    result = bench.replay("".join(lines).encode())
    assert result.problems == []
    return seen


@pytest.mark.parametrize(("isa", "reasons"), [(1, VMX), (2, SVM)], ids=["vmx", "svm"])
def test_exits_are_read_as_the_kernel_prints_them(
    kernel: Callable[[str], Kernel], isa: int, reasons: dict[int, ExitReason]
) -> None:
    exits = kernel("kvm_exit")
    for number, reason in reasons.items():
        text = exits.text(exit_reason=number, isa=isa, vcpu_id=2, guest_rip=0xFFFF_8000_0000_1234)
        assert text.startswith("kvm_exit: ")
        found = replayed(text)[0]
        assert (found["vcpu_id"], found["exit_reason"]) == (2, reason), text


def test_the_direction_of_port_accesses_is_read(kernel: Callable[[str], Kernel]) -> None:
    exits = kernel("kvm_exit")
    # Bit 3 of VMX's exit qualification, bit 0 of SVM's EXITINFO1: set for IN.
    for isa, number, info, reason in (
        (1, 30, 0x3F8_0008, ExitReason.IO_READ), (1, 30, 0x3F8_0000, ExitReason.IO_WRITE),
        (2, 0x7B, 0x3F8_0211, ExitReason.IO_READ), (2, 0x7B, 0x3F8_0210, ExitReason.IO_WRITE),
    ):  # fmt: skip
        text = exits.text(exit_reason=number, isa=isa, info1=info)
        assert replayed(text)[0]["exit_reason"] == reason, text


def test_other_events_are_read_as_the_kernel_prints_them(kernel: Callable[[str], Kernel]) -> None:
    assert replayed(kernel("kvm_entry").text(vcpu_id=3, rip=0x1234)) == [{"vm_id": 1, "vcpu_id": 3}]
    assert replayed(kernel("kvm_pio").text(rw=1, port=0x3F8, size=1, count=1, val=0x41)) == [
        {"vm_id": 1, "device_id": 2, "addr": 0x3F8, "is_write": 1}
    ]
    assert replayed(kernel("kvm_mmio").text(type=2, len=4, gpa=0xFEC0_0010, val=1)) == [
        {"vm_id": 1, "device_id": 0x23, "addr": 0xFEC0_0010, "is_write": 1}
    ]
    assert replayed(kernel("kvm_mmio").text(type=0, len=4, gpa=0xFEC0_0010)) == []
    assert replayed(kernel("kvm_hypercall").text(nr=5))[0]["nr"] == 5
    assert replayed(kernel("kvm_inj_virq").text(vector=0x31)) == [{"vm_id": 1, "vcpu_id": 0, "irq_num": 0x31}]
    fault = kernel("kvm_page_fault").text(vcpu_id=1, fault_address=0x7000, error_code=0x1_0000_0002)
    assert replayed(fault) == [{"vm_id": 1, "gpa": 0x7000, "access_type": 2, "duration_ns": 0}]
    assert replayed(kernel("kvm_apic_ipi").text(icr_low=0x4031, dest_id=1)) == [
        {"vm_id": 1, "vcpu_id": 0, "target_cpu": 1, "vector": 0x31}
    ]
