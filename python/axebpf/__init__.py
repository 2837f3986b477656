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

import importlib
from typing import Any

from axebpf import errors
from axebpf._default import default_bench, is_initialized, set_default_bench
from axebpf._native import assemble, disassemble
from axebpf.bench import Bench, Link, LoadedObject, Program, ProgramRun, RunResult, Statistics
from axebpf.errors import (
    AlreadyInitialized,
    AttachError,
    AxebpfError,
    BenchClosed,
    ClockError,
    DeclarationError,
    FieldError,
    FilterError,
    HelperError,
    HypervisorError,
    InvalidName,
    KeyNotFound,
    LoadError,
    MapError,
    NotFound,
    NotInitialized,
    ProgramFault,
    RecordingError,
    SymbolError,
    TracepointError,
)
from axebpf.maps import PerCpu
from axebpf.trace import Event
from axebpf.tracepoint import Tracepoint, bool_, char, field, i8, i16, i32, i64, u8, u16, u32, u64
from axebpf.tracepoints import AccessType, ExitReason, ShutdownReason, TimerEventType, VcpuState, VmState

__all__ = [
    "AccessType",
    "AlreadyInitialized",
    "AttachError",
    "AxebpfError",
    "Bench",
    "BenchClosed",
    "ClockError",
    "DeclarationError",
    "Event",
    "ExitReason",
    "FieldError",
    "FilterError",
    "HelperError",
    "HypervisorError",
    "InvalidName",
    "KeyNotFound",
    "Link",
    "LoadError",
    "LoadedObject",
    "MapError",
    "NotFound",
    "NotInitialized",
    "PerCpu",
    "Program",
    "ProgramFault",
    "ProgramRun",
    "RecordingError",
    "RunResult",
    "ShutdownReason",
    "Statistics",
    "SymbolError",
    "TimerEventType",
    "Tracepoint",
    "TracepointError",
    "VcpuState",
    "VmState",
    "assemble",
    "bool_",
    "char",
    "default_bench",
    "disassemble",
    "errors",
    "field",
    "i8",
    "i16",
    "i32",
    "i64",
    "init",
    "is_initialized",
    "u8",
    "u16",
    "u32",
    "u64",
]


def init(**options: Any) -> Bench:
    """Makes the default bench, on which the seed's module-level functions work, and returns it.

    `options` are those of `Bench`. A second call returns the same bench. Raises AlreadyInitialized where it is given
    options and the default bench is open.

    >>> bench = init(cpus=2)
    >>> init() is bench
    True
    >>> bench.close()
    """
    if not is_initialized():
        set_default_bench(Bench(**options))
    elif options:
        raise AlreadyInitialized
    return default_bench()


_LAZY = frozenset({"hypervisor", "recording"})
"""Modules that `import axebpf` leaves out, so that it is quick, and that come when they are first named."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"axebpf.{name}")
    raise AttributeError(f"module 'axebpf' has no attribute {name!r}{errors.did_you_mean(name, __all__)}")
