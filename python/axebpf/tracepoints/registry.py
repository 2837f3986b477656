"""Names and ids of the default bench's tracepoints: the seed's `registry`.

There is one id space: these ids are `TracepointInfo.id`, `common_type` in a record and `TraceContext.tracepoint_id`.
The functions raise NotInitialized before `axebpf.init()`.

>>> import axebpf
>>> with axebpf.init() as bench:
...     get_id("vmm:vcpu_run_exit"), get_name(101), get_name(102)
(21, 'shell:shell_init', None)
"""

from __future__ import annotations

from axebpf._default import default_bench
from axebpf.tracepoint import Tracepoint

__all__ = ["get_id", "get_name", "list_all", "register"]


def register(id: int, name: str) -> None:
    """Adds a tracepoint without fields; to register what is registered already does nothing.

    `bench.define` adds one with fields. Raises InvalidName for a name that is not `subsystem:event`, DeclarationError
    for a name or an id that is taken, and for an id that is not 1 to 65535. (The seed's registry was a table beside the
    tracepoints, whose entries another call replaced.)

    >>> import axebpf
    >>> with axebpf.init() as bench:
    ...     register(200, "vmm:vm_pause")
    ...     bench.tracepoints["vmm:vm_pause"].fire()
    ...     bench.stats["vmm:vm_pause"].count
    1
    """
    bench = default_bench()
    if get_name(id) != name:

        class Registered(Tracepoint, name=name, id=id):
            """Registered by its name."""

        bench.define(Registered)


def get_name(id: int) -> str | None:
    """The name of the tracepoint with this id; None where there is none."""
    return dict(list_all()).get(id)


def get_id(name: str) -> int | None:
    """The id of the tracepoint of this name; None where there is none."""
    return {of: id for id, of in list_all()}.get(name)


def list_all() -> list[tuple[int, str]]:
    """Id and name of every tracepoint, by id."""
    return sorted((handle.id, name) for name, handle in default_bench().tracepoints.items())
