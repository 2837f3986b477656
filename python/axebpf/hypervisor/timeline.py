"""Many sources of events, each in its own order, become one stream in the order of time.

A source hands over pieces (columns of one tracepoint on one CPU) and a horizon: the time before which it will add
nothing more. What lies before the horizon of all sources can be sorted and leaves as chunks; the rest waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axebpf.hypervisor.workload import CHUNK_EVENTS, Chunk
from axebpf.tracepoint import Tracepoint
from axebpf.tracepoints.definitions import BUILTIN

__all__ = ["Piece", "Timeline", "chunks", "fields_of", "one"]

Times = NDArray[np.int64]
Column = NDArray[Any] | int
"""An int stands for a column of that value."""

Fields = Mapping[str, Mapping[str, np.dtype[Any]]]
"""The types of the fields of some tracepoints."""


def fields_of(tracepoints: Iterable[type[Tracepoint]]) -> Fields:
    """Their fields by name."""
    return {tp.event_name: {f.name: np.dtype(f.type.numpy) for f in tp.fields} for tp in tracepoints}


_BUILTIN = fields_of(BUILTIN)


@dataclass(frozen=True)
class Piece:
    """Events of one tracepoint, in any order."""

    name: str
    time: Times
    cpu: Column
    columns: Mapping[str, Column]

    def where(self, mask: NDArray[np.bool_]) -> Piece:
        """The events that the mask selects."""
        columns = {n: c if isinstance(c, int) else c[mask] for n, c in self.columns.items()}
        return Piece(self.name, self.time[mask], self.cpu if isinstance(self.cpu, int) else self.cpu[mask], columns)


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
            yield from chunks({name: ready[name] for name in _BUILTIN if name in ready}, _BUILTIN)


def chunks(ready: Mapping[str, Sequence[Piece]], fields: Fields) -> Iterator[Chunk]:
    """The events of these pieces by tracepoint, sorted, in chunks that have columns for all tracepoints of `fields`."""
    names = list(fields)
    index = {name: k for k, name in enumerate(names)}
    empty = {
        name: {f: np.empty((0, *dtype.shape), dtype.base) for f, dtype in of.items()} for name, of in fields.items()
    }
    times: list[Times] = []
    cpus: list[NDArray[np.uint32]] = []
    columns: dict[str, dict[str, NDArray[Any]]] = {}
    for name, pieces in ready.items():
        time = np.concatenate([piece.time for piece in pieces])
        # Stable, here and below, so that events of the same nanosecond keep one order in both.
        by_time = np.argsort(time, kind="stable")
        times.append(time[by_time])
        cpus.append(_column(pieces, [piece.cpu for piece in pieces], np.dtype(np.uint32))[by_time])
        columns[name] = {
            field: _column(pieces, [piece.columns[field] for piece in pieces], dtype)[by_time]
            for field, dtype in fields[name].items()
        }
    time = np.concatenate(times)
    by_time = np.argsort(time, kind="stable")
    time = time[by_time].astype(np.uint64)
    cpu = np.concatenate(cpus)[by_time]
    order = np.repeat([index[name] for name in ready], [len(t) for t in times]).astype(np.uint16)[by_time]
    done = dict.fromkeys(ready, 0)
    for low in range(0, len(order), CHUNK_EVENTS):
        part = slice(low, low + CHUNK_EVENTS)
        counts = np.bincount(order[part], minlength=len(names))
        taken = dict(empty)
        for name, first in done.items():
            done[name] = first + int(counts[index[name]])
            if done[name] > first:
                taken[name] = {field: column[first : done[name]] for field, column in columns[name].items()}
        yield Chunk(names, order[part], time[part], cpu[part], taken)


def _column(pieces: Sequence[Piece], parts: Sequence[Column], dtype: np.dtype[Any]) -> NDArray[Any]:
    """One column of all pieces; that of an array field has a second dimension."""
    return np.concatenate(
        [
            np.full(len(piece.time), int(part), dtype) if isinstance(part, int) else part.astype(dtype.base, copy=False)
            for piece, part in zip(pieces, parts, strict=True)
        ]
    )
