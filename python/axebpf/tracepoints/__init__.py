"""The tracepoints of AxVisor, and what is computed from tracepoints.

>>> len(BUILTIN)
29
"""

from axebpf.tracepoints.definitions import *  # noqa: F403 (its __all__ is the list, once)
from axebpf.tracepoints.definitions import __all__ as _definitions
from axebpf.tracepoints.header import header

__all__ = [*_definitions, "header"]
