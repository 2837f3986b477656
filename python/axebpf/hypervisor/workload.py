"""What a workload is: a name, parameters with their ranges, and a stream of events in chunks of columns."""

from __future__ import annotations

import math
import numbers
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from axebpf.errors import HypervisorError, did_you_mean

if typing.TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CHUNK_EVENTS", "Chunk", "Parameter", "Stream", "Workload"]

CHUNK_EVENTS = 65_536
"""The most events that a chunk has: what bounds the memory of a run."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a stream: some thousand events in the order of time, as columns.

    `order`, `time_ns` and `cpu` have one entry an event; `columns[name][field][k]` belongs to the k-th event of that
    tracepoint in this chunk.
    """

    names: list[str]
    """The tracepoints that it may have events of; those of a simulated workload are the same in all its chunks."""
    order: NDArray[np.uint16]
    """Which tracepoint each event is of: an index into `names`."""
    time_ns: NDArray[np.uint64]
    """Nanoseconds since power-on."""
    cpu: NDArray[np.uint32]
    """The physical CPU that the event is on."""
    columns: dict[str, dict[str, NDArray[typing.Any]]]
    """By tracepoint and field; those of a tracepoint without an event in this chunk are empty."""

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True)
class Stream:
    """A workload with its parameters set. Each iteration starts it anew, with the same events."""

    workload: str
    """The workload's name."""
    parameters: Mapping[str, object]
    """All parameters, defaults included."""
    cpus: int
    """Physical CPUs that the events are spread over: their `cpu` is 0 to `cpus - 1`."""
    make: Callable[[], Iterator[Chunk]] = field(repr=False)
    """Starts it."""
    expected: int | None = None
    """About how many events it has, where that is known beforehand."""

    def __iter__(self) -> Iterator[Chunk]:
        return self.make()


@dataclass(frozen=True)
class Parameter:
    """A parameter of a workload: what it takes and means.

    >>> Parameter("vms", int, 2, "virtual machines", low=1, high=8).check("boot", 9)
    Traceback (most recent call last):
    axebpf.errors.HypervisorError: vms is 9; boot takes 1 to 8
    """

    name: str
    type: type[int] | type[float] | type[str]
    default: int | float | str | None
    """What it is when not given; None means that the workload decides."""
    doc: str = ""
    """Meaning and unit."""
    low: float | None = None
    """Least number."""
    high: float | None = None
    """Greatest number."""
    choices: tuple[str, ...] = ()
    """All values, of a text."""

    @property
    def range(self) -> str:
        """What it takes, in words."""
        if self.choices:
            return " or ".join(part for part in (", ".join(self.choices[:-1]), self.choices[-1]) if part)
        if self.type is str:
            return "a text"
        kind = "whole numbers" if self.type is int else "numbers"
        if self.low is None:
            return kind if self.high is None else f"{kind} up to {self.high:.15g}"
        return f"{kind} from {self.low:.15g}" if self.high is None else f"{self.low:.15g} to {self.high:.15g}"

    def check(self, workload: str, value: object) -> int | float | str | None:
        """The value in the parameter's type. Raises HypervisorError for any that it does not take."""
        if value is None and self.default is None:
            return None
        if self.type is str and isinstance(value, str) and (value in self.choices or not self.choices):
            return str(value)
        number = None if isinstance(value, bool) or self.type is str else _real(value, whole=self.type is int)
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if number is not None and low <= number <= high:
            return self.type(number)
        near = did_you_mean(str(value), self.choices)
        raise HypervisorError(
            f"{self.name} is {value!r}; {workload} takes {self.range}{near}",
            workload=workload,
            parameter=self.name,
            value=value,
        )


def _real(value: object, whole: bool) -> int | float | None:
    """A number of Python's or NumPy's as Python's; None for anything else."""
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not whole else None


@dataclass(frozen=True)
class Workload:
    """Something that the simulated hypervisor can be made to do."""

    name: str
    doc: str
    """What happens, in a sentence or two."""
    parameters: tuple[Parameter, ...]
    start: Callable[..., Stream] = field(repr=False)
    """Takes the checked parameters by keyword."""

    def __call__(self, **given: object) -> Stream:
        """The stream for these parameters. Raises HypervisorError for an unknown one or a value out of range."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            if name not in known:
                near = did_you_mean(name, known) or f"; it has {', '.join(known)}"
                raise HypervisorError(
                    f"{self.name} has no parameter {name}{near}", workload=self.name, parameter=name, value=value
                )
        values = {name: p.check(self.name, given.get(name, p.default)) for name, p in known.items()}
        return self.start(**values)
