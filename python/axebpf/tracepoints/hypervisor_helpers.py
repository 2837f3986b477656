r"""What a CPU of the hypervisor is doing, and the helpers 100 to 102, which programs ask for it.

In an event, its own fields `vm_id`, `vcpu_id` and `exit_reason` are the answer. Where an event has none of that name,
and in a run by hand, the answer is what was said here for the CPU; each CPU of the default bench has its own.

>>> import axebpf
>>> from axebpf import runtime
>>> with axebpf.init():
...     set_current_context(vm_id=4, vcpu_id=1, exit_reason=7)
...     program = runtime.EbpfProgram(axebpf.assemble("call bpf_get_current_vm_id\nexit"))
...     program.execute(), get_hypervisor_helper(BPF_GET_EXIT_REASON)()
(4, 7)
"""

from __future__ import annotations

from typing import NamedTuple

from axebpf import helpers
from axebpf._default import default_bench
from axebpf.errors import FieldError

__all__ = [
    "BPF_GET_CURRENT_VCPU_ID",
    "BPF_GET_CURRENT_VM_ID",
    "BPF_GET_EXIT_REASON",
    "HYPERVISOR_HELPERS",
    "VmContext",
    "clear_current_context",
    "current_context",
    "get_hypervisor_helper",
    "set_current_context",
]

BPF_GET_CURRENT_VM_ID: int = helpers.BPF_GET_CURRENT_VM_ID
"""Number of the helper that gives the VM."""
BPF_GET_CURRENT_VCPU_ID: int = helpers.BPF_GET_CURRENT_VCPU_ID
"""Number of the helper that gives the vCPU."""
BPF_GET_EXIT_REASON: int = helpers.BPF_GET_EXIT_REASON
"""Number of the helper that gives the reason of the exit, an `axebpf.ExitReason`."""

HYPERVISOR_HELPERS = (BPF_GET_CURRENT_VM_ID, BPF_GET_CURRENT_VCPU_ID, BPF_GET_EXIT_REASON)
"""The three numbers."""


class VmContext(NamedTuple):
    """What a CPU is doing."""

    vm_id: int
    """VM, 32 bits; 0 for none."""
    vcpu_id: int
    """vCPU, 32 bits."""
    exit_reason: int
    """Why the vCPU left guest mode, 64 bits."""


_BITS = VmContext(32, 32, 64)


def set_current_context(vm_id: int, vcpu_id: int, exit_reason: int) -> None:
    """Says what the current CPU of the default bench is doing. Raises FieldError for a number that does not fit."""
    context = VmContext(vm_id, vcpu_id, exit_reason)
    for name, value, bits in zip(VmContext._fields, context, _BITS, strict=True):
        if not 0 <= value < 1 << bits:
            raise FieldError(f"{name} is {value}; a u{bits} holds 0 to {(1 << bits) - 1}", field=name)
    bench = default_bench()
    bench._native.set_vm_context(bench.cpu, context)


def clear_current_context() -> None:
    """Says that the current CPU does nothing: VM, vCPU and reason are 0, as at first."""
    set_current_context(0, 0, 0)


def current_context() -> VmContext:
    """What the current CPU is doing."""
    bench = default_bench()
    return VmContext(*bench._native.vm_context(bench.cpu))


def get_hypervisor_helper(id: int) -> helpers.Helper | None:
    """The helper of a number, if it is one of the three; calling it calls it as a program does.

    >>> get_hypervisor_helper(1) is None
    True
    """
    return helpers.get_helper(id) if id in HYPERVISOR_HELPERS else None
