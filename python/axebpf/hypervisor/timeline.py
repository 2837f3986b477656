"""Many sources of events, each in its own order, become one stream in the order of time.

A source hands over pieces (columns of one tracepoint on one CPU) and a horizon: the time before which it will add
nothing more. What lies before the horizon of all sources can be sorted and leaves as chunks; the rest waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axebpf.hypervisor.workload import CHUNK_EVENTS, Chunk
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints.definitions import BUILTIN

__all__ = ["Piece", "Timeline", "one"]

Times = NDArray[np.int64]
Column = NDArray[Any] | int
"""An int stands for a column of that value."""

NAMES = [tp.event_name for tp in BUILTIN]
_INDEX = {name: index for index, name in enumerate(NAMES)}
_DTYPES = {tp.event_name: {f.name: np.dtype(f.type.numpy) for f in tp.fields} for tp in BUILTIN}


_EMPTY = {name: {field: np.empty(0, dtype) for field, dtype in fields.items()} for name, fields in _DTYPES.items()}


@dataclass(frozen=True)
class Piece:
    """Events of one tracepoint on one CPU, in any order."""

    name: str
    time: Times
    cpu: int
    columns: Mapping[str, Column]

    def where(self, mask: NDArray[np.bool_]) -> Piece:
        """The events that the mask selects."""
        columns = {n: c if isinstance(c, int) else c[mask] for n, c in self.columns.items()}
        return Piece(self.name, self.time[mask], self.cpu, columns)


def one(tracepoint: type[Tracepoint], time: int, cpu: int, **columns: int) -> Piece:
    """A piece of a single event."""
    return Piece(tracepoint.event_name, np.array([time], dtype=np.int64), cpu, columns)


class Timeline:
    """Collects pieces and gives them out in order."""

    def __init__(self) -> None:
        self._waiting: list[Piece] = []

    def add(self, pieces: Iterable[Piece]) -> int:
        """Takes pieces, in any order; returns how many events they have."""
        new = [piece for piece in pieces if len(piece.time)]
        self._waiting += new
        return sum(len(piece.time) for piece in new)

    def take(self, horizon: int) -> Iterator[Chunk]:
        """Gives out, in order, all events before `horizon`; nothing that is added later may lie before it."""
        ready: dict[str, list[Piece]] = {}
        waiting: list[Piece] = []
        for piece in self._waiting:
            if int(piece.time.max()) < horizon:
                ready.setdefault(piece.name, []).append(piece)
                continue
            mask = piece.time < horizon
            if mask.any():
                ready.setdefault(piece.name, []).append(piece.where(mask))
                waiting.append(piece.where(~mask))
            else:
                waiting.append(piece)
        self._waiting = waiting
        if ready:
            yield from _chunks({name: ready[name] for name in NAMES if name in ready})


def _chunks(ready: dict[str, list[Piece]]) -> Iterator[Chunk]:
    """The events of these pieces, sorted, in chunks."""
    times: list[Times] = []
    cpus: list[NDArray[np.uint32]] = []
    columns: dict[str, dict[str, NDArray[Any]]] = {}
    for name, pieces in ready.items():
        time = np.concatenate([piece.time for piece in pieces])
        # Stable, here and below, so that events of the same nanosecond keep one order in both.
        by_time = np.argsort(time, kind="stable")
        times.append(time[by_time])
        cpus.append(np.repeat([p.cpu for p in pieces], [len(p.time) for p in pieces]).astype(np.uint32)[by_time])
        columns[name] = {
            field: np.concatenate([_full(piece, field, dtype) for piece in pieces])[by_time]
            for field, dtype in _DTYPES[name].items()
        }
    time = np.concatenate(times)
    by_time = np.argsort(time, kind="stable")
    time = time[by_time].astype(np.uint64)
    cpu = np.concatenate(cpus)[by_time]
    order = np.repeat([_INDEX[name] for name in ready], [len(t) for t in times]).astype(np.uint16)[by_time]
    done = dict.fromkeys(ready, 0)
    for low in range(0, len(order), CHUNK_EVENTS):
        part = slice(low, low + CHUNK_EVENTS)
        counts = np.bincount(order[part], minlength=len(NAMES))
        taken = dict(_EMPTY)
        for name, first in done.items():
            done[name] = first + int(counts[_INDEX[name]])
            if done[name] > first:
                taken[name] = {field: column[first : done[name]] for field, column in columns[name].items()}
        yield Chunk(NAMES, order[part], time[part], cpu[part], taken)


def _full(piece: Piece, field: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    column = piece.columns[field]
    if isinstance(column, int):
        return np.full(len(piece.time), column, dtype=dtype)
    return column.astype(dtype, copy=False)
