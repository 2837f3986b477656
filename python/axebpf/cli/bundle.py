"""Options that belong together, stated once: a dataclass whose members are options of every command that takes it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["bundled"]


def bundled(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the members of each dataclass among its parameters in that one's place.

    typer makes options of a function's parameters, and so sees all of them side by side.

    >>> @dataclasses.dataclass
    ... class Machine:
    ...     vms: int = 1
    ...     vcpus: int = 1
    >>> @bundled
    ... def show(machine: Machine, top: int = 5) -> None:
    ...     print(machine, top)
    >>> list(inspect.signature(show).parameters)
    ['vms', 'vcpus', 'top']
    >>> show(vms=3, vcpus=1, top=2)
    Machine(vms=3, vcpus=1) 2
    """
    bundles: dict[str, dict[str, inspect.Parameter]] = {}
    flat: list[inspect.Parameter] = []
    types: dict[str, Any] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        annotation = parameter.annotation
        if not (isinstance(annotation, type) and dataclasses.is_dataclass(annotation)):
            flat.append(parameter)
            continue
        types[name] = annotation
        bundles[name] = dict(inspect.signature(annotation, eval_str=True).parameters)
        flat += bundles[name].values()

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        for name, members in bundles.items():
            given[name] = types[name](**{member: given.pop(member) for member in members})
        command(**given)

    with_options.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return with_options
