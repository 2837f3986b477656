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
from axebpf._default import FILLING, default_bench, is_initialized, set_default_bench
from axebpf._native import assemble, disassemble
from axebpf.bench import Bench, Link, LoadedObject, Program, ProgramRun, Statistics
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
    MapPortabilityError,
    NotFound,
    NotInitialized,
    PortabilityError,
    PortabilityWarning,
    ProgramFault,
    RecordingError,
    SymbolError,
    ThreadsError,
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
    "Comparison",
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
    "MapPortabilityError",
    "NotFound",
    "NotInitialized",
    "PerCpu",
    "PortabilityError",
    "PortabilityWarning",
    "Program",
    "ProgramFault",
    "ProgramRun",
    "RecordingError",
    "RunResult",
    "ShutdownReason",
    "Statistics",
    "SymbolError",
    "ThreadsError",
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
    "init_with_symbols",
    "is_initialized",
    "u8",
    "u16",
    "u32",
    "u64",
]


def init(**options: Any) -> Bench:
    """Makes the default bench, on which the seed's module-level functions work, and returns it.

    `options` are those of `Bench`: `cpus=`, `clock=`, `seed=`, `statistics=` and so on. A second call returns the same
    bench; once that is closed, a new one. Raises AlreadyInitialized where it is given options and the default bench is
    open.

    >>> bench = init(cpus=2)
    >>> init() is bench
    True
    >>> bench.close()
    """
    with FILLING:
        if not is_initialized():
            set_default_bench(Bench(**options))
        elif options:
            raise AlreadyInitialized
        return default_bench()


def init_with_symbols(blob: bytes, stext: int, etext: int, **options: Any) -> Bench:
    """As `init`, and reads the hypervisor's symbols from a kallsyms blob; its text lies from `stext` to `etext`.

    Symbols that cannot be read, or are there already, are a warning: the bench works without them.
    """
    import warnings

    from axebpf import symbols

    bench = init(**options)
    try:
        symbols.init(blob, stext, etext)
    except (SymbolError, AlreadyInitialized) as error:
        warnings.warn(f"no symbols from this blob: {error}", RuntimeWarning, stacklevel=2)
    return bench


_LAZY = frozenset(
    {
        *("attach", "context", "event", "examples", "filters", "helpers", "hypervisor", "kops", "platform"),
        *("portability", "recording", "runtime", "symbols"),
    }
)
"""Modules that `import axebpf` leaves out, so that it is quick, and that come when they are first named."""

_LAZY_NAMES = {
    "Comparison": "bench.comparison",
    "EbpfProgram": "runtime",
    "MapDef": "maps",
    "MapType": "maps",
    "RunResult": "bench.run",
    "TraceContext": "context",
}
"""Names of such modules that the package has too."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"axebpf.{name}")
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(f"axebpf.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module 'axebpf' has no attribute {name!r}{errors.did_you_mean(name, __all__)}")
