"""`TracepointManager`: lists the tracepoints of a bench and enables them; `axebpf.tracepoint` has it too.

>>> import axebpf
>>> from axebpf.tracepoint import TracepointManager
>>> with axebpf.init() as bench:
...     manager = TracepointManager.global_()
...     manager.enable("vmm:vm_create")
...     for tp in manager.list_tracepoints():
...         if tp.event.startswith("vm_"):
...             print(f"{tp.name}: {'on' if tp.enabled else 'off'}")
vmm:vm_boot: off
vmm:vm_create: on
vmm:vm_destroy: off
vmm:vm_shutdown: off
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from axebpf._default import default_bench, is_initialized
from axebpf.errors import InvalidName, NotFound, did_you_mean

if TYPE_CHECKING:
    from axebpf import Bench
    from axebpf.bench import TracepointHandle

__all__ = ["TracepointInfo", "TracepointManager"]


class TracepointInfo(NamedTuple):
    """What there was to know of a tracepoint at one moment."""

    name: str
    """Full name, `subsystem:event`."""
    subsystem: str
    """The part before the first colon."""
    event: str
    """The part behind it."""
    enabled: bool
    """Whether its events entered the trace."""
    id: int
    """The one id of the tracepoint, as in `common_type` of its records."""


class TracepointManager:
    """The tracepoints of a bench: which there are, and which enter the trace.

    Enabling is about the trace alone: programs that are attached run, and statistics count, either way.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @classmethod
    def global_(cls) -> Self:
        """That of the default bench (`global` is a keyword). Raises NotInitialized."""
        return cls(default_bench())

    @classmethod
    def try_global(cls) -> Self | None:
        """That of the default bench; None before `axebpf.init()`."""
        return cls.global_() if is_initialized() else None

    def list_tracepoints(self) -> list[TracepointInfo]:
        """All of them, by subsystem, then by event."""
        return [
            TracepointInfo(name, at.declaration.subsystem, at.declaration.event, at.enabled, at.id)
            for name, at in self._bench.tracepoints.items()
        ]

    def get(self, name: str) -> TracepointHandle:
        """The tracepoint itself: it fires, has its `format()` and its `filter`.

        Raises InvalidName for a name without a colon, NotFound for an unknown one. The first colon ends the subsystem,
        so that `vmm:a:b` is an event `a:b`, which there is not.
        """
        return self._bench.tracepoints[name]

    def enable(self, name: str) -> None:
        """Lets its events enter the trace. Raises InvalidName, NotFound."""
        self.get(name).enabled = True

    def disable(self, name: str) -> None:
        """The opposite of `enable`."""
        self.get(name).enabled = False

    def is_enabled(self, name: str) -> bool:
        """Whether its events enter the trace; False for a name that there is not, or that is none."""
        try:
            return self.get(name).enabled
        except (InvalidName, NotFound):
            return False

    def count(self) -> int:
        """How many tracepoints there are."""
        return len(self._bench.tracepoints)

    def enable_subsystem(self, subsystem: str) -> int:
        """Enables all of a subsystem; returns how many those are. Raises NotFound, which names the nearest one."""
        return self._set_subsystem(subsystem, True)

    def disable_subsystem(self, subsystem: str) -> int:
        """The opposite of `enable_subsystem`."""
        return self._set_subsystem(subsystem, False)

    def _set_subsystem(self, subsystem: str, enabled: bool) -> int:
        by_subsystem: dict[str, list[TracepointHandle]] = {}
        for at in self._bench.tracepoints.values():
            by_subsystem.setdefault(at.declaration.subsystem, []).append(at)
        if subsystem not in by_subsystem:
            raise NotFound(f"no subsystem {subsystem}{did_you_mean(subsystem, by_subsystem)}")
        for at in by_subsystem[subsystem]:
            at.enabled = enabled
        return len(by_subsystem[subsystem])

    def __repr__(self) -> str:
        return f"<TracepointManager of {self._bench!r}>"
