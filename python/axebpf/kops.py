"""What the tracepoint framework asks of the kernel round it: the seed's `kops`.

`AxKops` answers from a bench: its clock, its CPU, its trace. `kops.TRACE_PIPE` is the trace of the bench that is the
default one then.

Two things of the seed have no counterpart in user space. `write_kernel_text` switched a tracepoint on by patching the
hypervisor's code; a bench patches nothing, enabling is a flag. The macros that defined a tracepoint are class
declarations, see `axebpf.Tracepoint`.

>>> import axebpf
>>> from axebpf import kops
>>> with axebpf.init() as bench:
...     ops = kops.AxKops()
...     ops.trace_cmdline_push(7, "vm1-vcpu0")
...     boot = bytes.fromhex("0200000007000000" "0100000000000000" "dc05000000000000")
...     ops.trace_pipe_push_raw_record(boot)
...     print(kops.TRACE_PIPE.text(), end="")
       vm1-vcpu0-7       [000] .....     1.000000: vm_boot: vm_id=1 duration_ns=1500
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from axebpf._default import default_bench
from axebpf.errors import did_you_mean

if TYPE_CHECKING:
    from axebpf import Bench
    from axebpf.trace import Trace

    TRACE_PIPE: Trace

__all__ = ["AxKops", "KernelTraceOps"]


@runtime_checkable
class KernelTraceOps(Protocol):
    """What a tracepoint framework asks of a kernel."""

    def time_now(self) -> int:
        """Nanoseconds since boot."""

    def cpu_id(self) -> int:
        """The CPU."""

    def current_pid(self) -> int:
        """The task."""

    def trace_pipe_push_raw_record(self, record: bytes) -> None:
        """Adds a record to the trace."""

    def trace_cmdline_push(self, pid: int, comm: str) -> None:
        """Says what a task is called."""


class AxKops:
    """These operations on a bench; without one, on the default bench. Raises NotInitialized where there is none."""

    def __init__(self, bench: Bench | None = None) -> None:
        self._bench = default_bench() if bench is None else bench
        self._comms: dict[int, bytes] = {}

    def time_now(self) -> int:
        """The time of the bench's clock, in nanoseconds."""
        return self._bench.clock.now

    def cpu_id(self) -> int:
        """The CPU that events happen on."""
        return self._bench.cpu

    def current_pid(self) -> int:
        """0: events that are fired happen in the hypervisor, which has no threads of its own."""
        return 0

    def trace_pipe_push_raw_record(self, record: bytes) -> None:
        """Adds a record, its header included, to the trace: now, on the current CPU, whether enabled or not.

        The pid is the header's; padding behind the record is cut. Programs, statistics and listeners do not see it;
        `fire` is for that. Raises NotFound for an id that no tracepoint has, FieldError for too few bytes.
        """
        pid = int.from_bytes(record[4:8], "little", signed=True)
        self._bench._native.trace_push(bytes(record), self._comms.get(pid))

    def trace_cmdline_push(self, pid: int, comm: str) -> None:
        """Says what the task of records that are pushed from now on is called, in up to 15 bytes.

        Each entry of the trace keeps the name itself, so that no event pushes another one's out.
        """
        # Not inside a character.
        self._comms[pid] = comm.encode()[:15].decode(errors="ignore").encode()

    def __repr__(self) -> str:
        return f"<AxKops of {self._bench!r}>"


def __getattr__(name: str) -> Any:
    if name == "TRACE_PIPE":
        return default_bench().trace
    near = did_you_mean(name, [*__all__, "TRACE_PIPE"])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{near}")
