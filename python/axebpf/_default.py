"""The slot of the default bench, which `axebpf.init()` fills and the seed's module-level functions look into.

It is the one state of the process that axebpf has.
"""

from __future__ import annotations

import _thread  # `threading` is slow to import
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from axebpf.errors import NotInitialized

if TYPE_CHECKING:
    from axebpf.bench import Bench

__all__ = ["FILLING", "default_bench", "is_initialized", "kept", "set_default_bench"]

_Kept = TypeVar("_Kept")

_bench: Bench | None = None
_of_bench: dict[Callable[[], Any], Any] = {}

FILLING = _thread.allocate_lock()
"""Held by whoever fills the slot, so that threads that want a default bench at once get the same one."""


def set_default_bench(bench: Bench | None) -> None:
    """Makes a bench the default one; None takes the default one away without closing it."""
    global _bench
    _bench = bench
    _of_bench.clear()


def is_initialized() -> bool:
    """Whether there is a default bench, and it is open."""
    return _bench is not None and not _bench.closed


def default_bench() -> Bench:
    """The default bench. Raises NotInitialized where there is none, or it is closed."""
    if _bench is None or _bench.closed:
        raise NotInitialized
    return _bench


def kept(make: Callable[[], _Kept]) -> _Kept:
    """What a module of the seed keeps about the default bench: made the first time, forgotten with that bench.

    Raises NotInitialized.
    """
    default_bench()
    if make not in _of_bench:
        _of_bench[make] = make()
    found: _Kept = _of_bench[make]
    return found
