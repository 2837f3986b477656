"""Completion of what is typed behind `--on` and of tracepoints' names, for `axebpf --install-completion`."""

from __future__ import annotations

__all__ = ["tracepoint_names", "workload_names"]


def tracepoint_names(typed: str) -> list[tuple[str, str]]:
    """Tracepoints whose name, with or without its subsystem, begins so, and what they mean.

    >>> [name for name, _ in tracepoint_names("vmm:vm_b")]
    ['vmm:vm_boot']
    >>> [name for name, _ in tracepoint_names("shell_i")]
    ['shell_init']
    """
    from axebpf.tracepoints import BUILTIN

    names = [(name, tp.doc) for tp in BUILTIN for name in ((tp.event_name, tp.event) if typed else (tp.event_name,))]
    return [(name, doc) for name, doc in names if name.startswith(typed)]


def workload_names(typed: str) -> list[tuple[str, str]]:
    """Workloads whose name begins so, and what happens in them.

    >>> [name for name, _ in workload_names("bo")]
    ['boot']
    """
    from axebpf.hypervisor import WORKLOADS

    return [(name, known.doc) for name, known in WORKLOADS.items() if name.startswith(typed)]
