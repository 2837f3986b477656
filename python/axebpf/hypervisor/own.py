"""Workloads of one's own: a Python function that yields events.

>>> import numpy as np
>>> from typing import Annotated
>>> from axebpf import Bench
>>> from axebpf.tracepoints import VcpuRunExit, VmBoot
>>> @define(cpus=2)
... def noisy_vm(exits: Annotated[int, "exits of the VM", Range(1, 10**9)] = 1000):
...     '''A VM boots, then exits every 2 µs.'''
...     yield Events(VmBoot, time_ns=500, vm_id=1, duration_ns=20_000)
...     for first in range(0, exits, 100_000):
...         number = np.arange(first, min(first + 100_000, exits))
...         yield Events(VcpuRunExit, time_ns=1_000 + 2_000 * number, cpu=number % 2, vm_id=1,
...                      vcpu_id=number % 2, exit_reason=13, duration_ns=800 + number % 100)
>>> noisy_vm.name, noisy_vm.doc, [parameter.name for parameter in noisy_vm.parameters]
('noisy-vm', 'A VM boots, then exits every 2 µs.', ['exits'])
>>> Bench().run(noisy_vm, exits=300).by_tracepoint
{'vmm:vcpu_run_exit': 300, 'vmm:vm_boot': 1}
>>> noisy_vm(exits=0)
Traceback (most recent call last):
axebpf.errors.HypervisorError: exits is 0; noisy-vm takes 1 to 1000000000
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axebpf.columns import CPU, TIME, common_rows, read_column, read_columns
from axebpf.errors import FieldError, HypervisorError, NotFound, did_you_mean
from axebpf.hypervisor.timeline import Piece, Times, chunks, fields_of
from axebpf.hypervisor.workload import Chunk, Parameter, Stream, Workload
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints.definitions import BUILTIN

__all__ = ["Events", "Range", "define"]

_MAX_TIME = (1 << 63) - 1


@dataclass(frozen=True)
class Range:
    """What a parameter takes, in its annotation: `Annotated[int, Range(1, 8)]`; None is no bound."""

    low: float | None = None
    """Least number."""
    high: float | None = None
    """Greatest number."""


class Events:
    """Some events of one tracepoint, as columns: what a workload of one's own yields.

    `tracepoint` is a class, or the name of a built-in one. `time_ns` is in ns since power-on, `cpu` the physical CPU;
    the other arguments are the tracepoint's fields, all of them. Each is a column or one value for all; times may be
    in any order. Raises NotFound for an unknown tracepoint, FieldError for an unknown or missing field, columns of
    unequal length, and values that a field cannot hold.

    >>> from axebpf.tracepoints import VmBoot
    >>> len(Events(VmBoot, time_ns=[300, 100], vm_id=[1, 2], duration_ns=50))
    2
    >>> Events(VmBoot, time_ns=[300, 100], vm_id=[1, 2, 3], duration_ns=50)
    Traceback (most recent call last):
    axebpf.errors.FieldError: vmm:vm_boot: columns of unequal length: time_ns has 2, vm_id has 3
    """

    def __init__(self, tracepoint: type[Tracepoint] | str, *, time_ns: Any, cpu: Any = 0, **fields: Any) -> None:
        self.tracepoint = _declared(tracepoint)
        """What they are events of."""
        name = self.tracepoint.event_name
        columns = read_columns(name, {field.name: field.type for field in self.tracepoint.fields}, fields)
        times, cpus = read_column(name, "time_ns", time_ns, TIME), read_column(name, "cpu", cpu, CPU)
        rows = common_rows(name, {"time_ns": times, "cpu": cpus, **columns})
        if rows and times.greatest > _MAX_TIME:
            raise FieldError(f"time_ns takes 0 to {_MAX_TIME}, not {times.greatest}", tracepoint=name, field="time_ns")
        self.time_ns: Times = times.spread(rows).astype(np.int64)
        """When, in ns."""
        self.cpu: NDArray[Any] = cpus.spread(rows)
        """On which physical CPU."""
        self.columns: Mapping[str, NDArray[Any]] = {field: column.spread(rows) for field, column in columns.items()}
        """The fields."""

    def __len__(self) -> int:
        return len(self.time_ns)

    def __repr__(self) -> str:
        return f"<{len(self)} events of {self.tracepoint.event_name}>"


def _declared(tracepoint: type[Tracepoint] | str) -> type[Tracepoint]:
    if isinstance(tracepoint, type) and tracepoint is not Tracepoint and issubclass(tracepoint, Tracepoint):
        return tracepoint
    known = {builtin.event_name: builtin for builtin in BUILTIN}
    if tracepoint not in known:
        raise NotFound(f"no built-in tracepoint {tracepoint}{did_you_mean(str(tracepoint), known)}")
    return known[str(tracepoint)]


def define(
    name: str = "", *, cpus: int = 1
) -> Callable[[Callable[..., Iterable[Events | Sequence[Events]]]], Workload]:
    """Makes a function that yields events a workload: `bench.run(it)`, `axebpf run x.bpf.o --on its_file.py`.

    Each `yield` is a stretch of time: `Events`, or a list of them whose times may overlap. A stretch begins when the
    one before has ended, or later; so memory holds one of them. `name` is the function's, with dashes, if not given.
    `cpus` is how many CPUs the events are on: `cpu` is 0 to `cpus - 1`.

    The function's parameters are the workload's. Each has a default and is an `int`, a `float`, a `str` or a
    `Literal` of texts; `Annotated` adds its meaning as a text, and a `Range`. Raises HypervisorError for any other.
    """
    if type(cpus) is not int or cpus < 1:
        raise HypervisorError(f"cpus is {cpus!r}; a workload has whole numbers from 1", value=cpus)

    def make(function: Callable[..., Iterable[Events | Sequence[Events]]]) -> Workload:
        title = name or function.__name__.replace("_", "-")
        parameters = tuple(_parameters(title, function))

        def start(**values: object) -> Stream:
            return Stream(title, values, cpus, lambda: _chunks(title, cpus, function(**values)))

        return Workload(title, (inspect.getdoc(function) or "").partition("\n\n")[0], parameters, start)

    return make


def _parameters(workload: str, function: Callable[..., Any]) -> Iterator[Parameter]:
    for name, given in inspect.signature(function, eval_str=True).parameters.items():
        default, kind = given.default, given.annotation
        refused = HypervisorError(
            f"the parameter {name} of {workload} is {given}; expected an int, a float or a str, and a default",
            workload=workload,
            parameter=name,
        )
        notes: tuple[object, ...] = ()
        if typing.get_origin(kind) is typing.Annotated:
            kind, *more = typing.get_args(kind)
            notes = tuple(more)
        choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
        if kind is inspect.Parameter.empty or choices:
            kind = type(default)
        if default is inspect.Parameter.empty or kind not in (int, float, str):
            raise refused
        if given.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise refused
        doc = next((note for note in notes if isinstance(note, str)), "")
        of = next((note for note in notes if isinstance(note, Range)), Range())
        parameter = Parameter(name, kind, default, doc, of.low, of.high, choices)
        parameter.check(workload, default)
        yield parameter


def _chunks(workload: str, cpus: int, stretches: Iterable[Events | Sequence[Events]]) -> Iterator[Chunk]:
    """The events in order, checked."""
    last = -1
    for stretch in stretches:
        ready: dict[type[Tracepoint], list[Piece]] = {}
        first, end = _MAX_TIME, last
        for events in stretch if isinstance(stretch, (list, tuple)) else [stretch]:
            if not isinstance(events, Events):
                raise HypervisorError(
                    f"{workload} yields {type(events).__name__}; expected Events, or a list of them", workload=workload
                )
            if not len(events):
                continue
            if events.cpu.max() >= cpus:
                needed = int(events.cpu.max()) + 1
                raise HypervisorError(
                    f"{workload} has events on CPU {needed - 1} and {cpus} CPUs; define it with cpus={needed}",
                    workload=workload,
                    parameter="cpu",
                    value=needed - 1,
                )
            first, end = min(first, int(events.time_ns.min())), max(end, int(events.time_ns.max()))
            piece = Piece(events.tracepoint.event_name, events.time_ns, events.cpu, events.columns)
            ready.setdefault(events.tracepoint, []).append(piece)
        if first < last:
            raise HypervisorError(
                f"{workload} yields events at {first} ns after some at {last} ns; yield them in order, or in one list",
                workload=workload,
                parameter="time_ns",
                value=first,
            )
        last = end
        if ready:
            fields = fields_of(ready)
            yield from chunks(dict(zip(fields, ready.values(), strict=True)), fields)
