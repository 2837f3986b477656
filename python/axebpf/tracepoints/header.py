"""The C header of tracepoints: what a tracing program includes to read their records.

For every tracepoint it has the record as a plain structure, and the two names under which vmlinux.h has a
tracepoint: `struct trace_event_raw_<event>` and `btf_trace_<event>`. It stands alone, and also behind a vmlinux.h
(as bpftool writes it) or `linux/types.h`, whose types it then uses.

>>> from axebpf.tracepoints.definitions import VmDestroy
>>> print(header([VmDestroy]))  # doctest: +ELLIPSIS
/* Tracepoints of a hypervisor, as BPF programs see them. Written by `axebpf header`; edits get lost. */
...
struct trace_event_raw_vm_destroy {
    struct trace_entry ent;
    __u32 vm_id;
    char __data[0];
};
typedef void (*btf_trace_vm_destroy)(void *, __u32 vm_id);
...
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable

from axebpf.errors import DeclarationError
from axebpf.tracepoint import Tracepoint, c_enum_name, c_members

__all__ = ["header"]

# bpftool's vmlinux.h guards itself with __VMLINUX_H__; linux/types.h may come before or after, since C11 allows the
# same typedef twice.
_PROLOGUE = """\
/* Tracepoints of a hypervisor, as BPF programs see them. Written by `axebpf header`; edits get lost. */
#ifndef AXEBPF_HEADER_H
#define AXEBPF_HEADER_H

/* The kernel's types, unless vmlinux.h has brought them. */
#ifndef __VMLINUX_H__
#ifndef _LINUX_TYPES_H
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
#endif

/* The header of every record. */
struct trace_entry {
    unsigned short type;
    unsigned char flags;
    unsigned char preempt_count;
    int pid;
};
#endif

/* The context of SEC("axvisor/...") programs: the tracepoint's id, its time, VM and vCPU, then arg0 = the duration
   if it has one, then its other fields in order. probe_type is 4 for a tracepoint. */
struct axvisor_trace_context {
    __u32 tracepoint_id;
    __u32 __pad;
    __u64 timestamp_ns;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 arg0;
    __u64 arg1;
    __u64 arg2;
    __u64 arg3;
    __u32 probe_type;
    __u32 __reserved;
};

/* AxVisor's helpers: what the vCPU on this CPU is doing. */
#ifdef __bpf__
static __u32 (*const bpf_get_current_vm_id)(void) __attribute__((unused)) = (void *) 100;
static __u32 (*const bpf_get_current_vcpu_id)(void) __attribute__((unused)) = (void *) 101;
static __u64 (*const bpf_get_exit_reason)(void) __attribute__((unused)) = (void *) 102;
#endif
"""


def header(tracepoints: Iterable[type[Tracepoint]]) -> str:
    """The text of a C header for these tracepoints, in the order given.

    An event name that two subsystems share is qualified with the subsystem in both (`trace_event_raw_vmm_pause`).
    Raises DeclarationError where two tracepoints, or two enumerations, would get the same name in C.
    """
    tracepoints = list(tracepoints)
    shared = Counter(tp.event for tp in tracepoints)
    parts = [_PROLOGUE, *_enums(tracepoints)]
    owners: dict[str, str] = {}
    for tp in tracepoints:
        event = tp.event if shared[tp.event] == 1 else tp.c_name()
        for name in (f"struct {tp.c_name()}", f"struct trace_event_raw_{event}"):
            if name in owners:
                raise DeclarationError(f"{tp.event_name} and {owners[name]} would both be {name} in C; rename one")
            owners[name] = tp.event_name
        raw = [f"struct trace_event_raw_{event} {{", "    struct trace_entry ent;"]
        raw += [line.split(" /*")[0] for line in c_members(tp)]
        arguments = "".join(f", {f.type.c_argument} {f.name}".replace("* ", "*") for f in tp.fields)
        parts.append(
            f"/* {tp.event_name}, id {tp.id} */\n{tp.c_struct()}\n"
            + "\n".join([*raw, "    char __data[0];", "};"])
            + f"\ntypedef void (*btf_trace_{event})(void *{arguments});\n"
        )
    return "\n".join([*parts, "#endif /* AXEBPF_HEADER_H */\n"])


def _enums(tracepoints: list[type[Tracepoint]]) -> list[str]:
    """The enumerations of the fields, each once."""
    found: dict[str, type[enum.Enum]] = {}
    for tp in tracepoints:
        for f in tp.fields:
            if f.enum is None:
                continue
            name = c_enum_name(tp, f.enum)
            if found.setdefault(name, f.enum) is not f.enum:
                raise DeclarationError(f"{tp.event_name}: two enumerations would be enum {name} in C; rename one")
    return [_enum_text(name, members) for name, members in found.items()]


def _enum_text(name: str, members: type[enum.Enum]) -> str:
    """One enumeration; flags in hexadecimal. Aliases of a member are listed too."""
    form = "#x" if issubclass(members, enum.Flag) else "d"
    values = (f"    {name.upper()}_{label} = {member.value:{form}}," for label, member in members.__members__.items())
    return "\n".join([f"enum {name} {{", *values, "};\n"])
