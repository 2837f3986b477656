"""The seed's functions of each tracepoint, made from its declaration: fire it, listen to it, listen no more."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from axebpf._default import default_bench
from axebpf.errors import NotFound, did_you_mean
from axebpf.tracepoint import Field, Tracepoint
from axebpf.tracepoints.definitions import BUILTIN

if TYPE_CHECKING:
    from axebpf import Event
    from axebpf.bench import Listener

__all__ = ["names", "trigger"]

_EVENTS = {declared.event: declared for declared in BUILTIN}


def _fire(declared: type[Tracepoint]) -> Callable[..., None]:
    def fire(*values: Any, **named: Any) -> None:
        default_bench().tracepoints[declared.event_name].fire(*values, **named)

    fields = [inspect.Parameter(f.name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for f in declared.fields]
    stamp = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in ("time_ns", "cpu")]
    fire.__signature__ = inspect.Signature([*fields, *stamp])  # type: ignore[attr-defined]
    fire.__doc__ = (
        f"Fires {declared.event_name} on the default bench: {', '.join(map(_shown, declared.fields))}.\n\n"
        f"{declared.doc} Raises NotInitialized, and what `fire` raises."
    )
    return fire


def _shown(field: Field) -> str:
    kind = f"{field.name}: {field.type.text}"
    notes = [field.enum.__name__] if field.enum else []
    notes += [field.unit] if field.unit else []
    return f"{kind} ({', '.join(notes)})" if notes else kind


def _register(declared: type[Tracepoint]) -> Callable[[Callable[[Event], object]], Listener]:
    def register(function: Callable[[Event], object]) -> Listener:
        return default_bench().tracepoints[declared.event_name].on(function)

    register.__doc__ = (
        f"Calls a function with each event of {declared.event_name} of the default bench, after the programs.\n\n"
        f"Returns what `unregister_trace_{declared.event}` takes. Raises NotInitialized."
    )
    return register


def _unregister(declared: type[Tracepoint]) -> Callable[[Listener], bool]:
    def unregister(listener: Listener) -> bool:
        if listener._native is not default_bench().tracepoints[declared.event_name]._native:
            raise NotFound(f"this listener is not one of {declared.event_name} of the default bench")
        return listener.remove()

    unregister.__doc__ = (
        f"Ends what `register_trace_{declared.event}` began; False where that was so already.\n\n"
        "Raises NotInitialized, and NotFound for a listener of another tracepoint."
    )
    return unregister


_MAKERS: dict[str, Callable[[type[Tracepoint]], Callable[..., Any]]] = {
    "trace_": _fire,
    "register_trace_": _register,
    "unregister_trace_": _unregister,
}


def names() -> list[str]:
    """The names of all these functions.

    >>> "trace_vm_boot" in names(), len(names())
    (True, 87)
    """
    return [prefix + event for event in _EVENTS for prefix in _MAKERS]


@functools.cache
def trigger(name: str) -> Callable[..., Any]:
    """The function of that name, such as `trace_vm_boot`. Raises AttributeError, which names the nearest one.

    >>> import inspect
    >>> inspect.signature(trigger("trace_vm_boot"))
    <Signature (vm_id, duration_ns, *, time_ns=None, cpu=None)>
    """
    for prefix, make in _MAKERS.items():
        declared = _EVENTS.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if declared is not None:
            function = make(declared)
            function.__name__ = function.__qualname__ = name
            function.__module__ = "axebpf.tracepoints"
            return function
    raise AttributeError(f"module 'axebpf.tracepoints' has no attribute {name!r}{did_you_mean(name, names())}")
