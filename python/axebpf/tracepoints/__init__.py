"""The tracepoints of AxVisor, and what is computed from tracepoints.

>>> len(BUILTIN)
29

Each has the seed's three functions, on the default bench: `trace_vm_boot(vm_id, duration_ns)` fires it,
`register_trace_vm_boot(function)` calls a function with each event, `unregister_trace_vm_boot(listener)` ends that.

>>> import axebpf
>>> from axebpf.tracepoints import register_trace_vm_boot, trace_vm_boot
>>> with axebpf.init() as bench:
...     listener = register_trace_vm_boot(print)
...     trace_vm_boot(1, 2_500)
<vmm:vm_boot at 1000000000 ns on CPU 0: vm_id=1, duration_ns=2500>
"""

import importlib
from typing import Any

from axebpf.errors import did_you_mean
from axebpf.tracepoints.definitions import *  # noqa: F403 (its __all__ is the list, once)
from axebpf.tracepoints.definitions import __all__ as _definitions
from axebpf.tracepoints.header import header

__all__ = [*_definitions, "header"]

_LAZY = frozenset({"histogram", "hypervisor_helpers", "registry", "stats"})
"""Modules that come when they are first named."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    if name.startswith(("trace_", "register_trace_", "unregister_trace_")):
        from axebpf.tracepoints.triggers import trigger

        return trigger(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    from axebpf.tracepoints.triggers import names

    return sorted({*globals(), *_LAZY, *names()})
