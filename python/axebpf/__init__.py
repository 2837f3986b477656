"""axebpf: the test bench for eBPF tracing of a hypervisor.

Give it the `.bpf.o` meant for Linux or for the AxVisor hypervisor: it attaches the program to the hypervisor's
tracepoints, feeds it events, and shows maps, trace, statistics and every executed instruction. No root, no kernel.

>>> import axebpf
>>> bench = axebpf.Bench()
>>> counter = bench.create_map("array", 4, 8, 1, name="counter")
>>> code = axebpf.assemble('''
...     r1 = map[0]
...     w2 = 0
...     *(u32 *)(r10 -4) = r2
...     r2 = r10
...     r2 += -4
...     call bpf_map_lookup_elem
...     if r0 == 0 goto out
...     w1 = 1
...     lock *(u64 *)(r0 +0) += r1
... out:
...     w0 = 0
...     exit
... ''')
>>> link = bench.load_bytes(code, type="tracepoint", maps={0: counter}).attach("vmm:vm_boot")
>>> bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=20_000)
>>> counter[0]
1
"""

from axebpf import errors
from axebpf._native import assemble, disassemble
from axebpf.bench import Bench, Link, LoadedObject, Program, ProgramRun, RunResult, Statistics
from axebpf.errors import (
    AttachError,
    AxebpfError,
    BenchClosed,
    ClockError,
    DeclarationError,
    FieldError,
    HelperError,
    HypervisorError,
    InvalidName,
    KeyNotFound,
    LoadError,
    MapError,
    NotFound,
    ProgramFault,
    TracepointError,
)
from axebpf.maps import PerCpu
from axebpf.trace import Event
from axebpf.tracepoint import Tracepoint, bool_, char, field, i8, i16, i32, i64, u8, u16, u32, u64
from axebpf.tracepoints import AccessType, ExitReason, ShutdownReason, TimerEventType, VcpuState, VmState

__all__ = [
    "AccessType",
    "AttachError",
    "AxebpfError",
    "Bench",
    "BenchClosed",
    "ClockError",
    "DeclarationError",
    "Event",
    "ExitReason",
    "FieldError",
    "HelperError",
    "HypervisorError",
    "InvalidName",
    "KeyNotFound",
    "Link",
    "LoadError",
    "LoadedObject",
    "MapError",
    "NotFound",
    "PerCpu",
    "Program",
    "ProgramFault",
    "ProgramRun",
    "RunResult",
    "ShutdownReason",
    "Statistics",
    "TimerEventType",
    "Tracepoint",
    "TracepointError",
    "VcpuState",
    "VmState",
    "assemble",
    "bool_",
    "char",
    "disassemble",
    "errors",
    "field",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
]
