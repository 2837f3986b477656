"""The same events for several benches, so many at a time: of a workload, a recording, or columns of one's own."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from axebpf.bench.replay import open_reader
from axebpf.bench.run import fire_chunk, stream_for
from axebpf.errors import HypervisorError, RecordingError, did_you_mean
from axebpf.hypervisor import WORKLOADS, Chunk, Stream, Workload, define
from axebpf.recording import Recording, Rule

if TYPE_CHECKING:
    from axebpf.bench import Bench

__all__ = ["Feed", "Player", "feed_of"]


class Player(Protocol):
    """Events on their way into some benches."""

    spent_ns: list[int]
    """Nanoseconds that firing them has taken so far on each bench."""

    @property
    def time_ns(self) -> int:
        """Time of the last event so far."""

    def step(self, most: int) -> int:
        """Fires the next events, at most so many, on each bench; says how many, 0 at the end."""


class Feed(Protocol):
    """Where events come from. They are the same each time."""

    @property
    def name(self) -> str:
        """The workload, or the recording's file."""

    def play(self, benches: Sequence[Bench], only: Collection[str] | None = None) -> Player:
        """From the first event on. Those of other tracepoints than `only` may be left out."""


def feed_of(bench: Bench, workload: Any, parameters: Mapping[str, Any]) -> Feed:
    """The feed of what `Bench.run` or `Bench.replay` takes, or of a list of `hypervisor.Events`.

    Raises HypervisorError for what is none of these, or has more CPUs than the bench; RecordingError.
    """
    if isinstance(workload, (Workload, Stream)) or (isinstance(workload, str) and workload in WORKLOADS):
        return _Streamed(stream_for(bench, workload, parameters))
    if isinstance(workload, (list, tuple)):
        return _Streamed(stream_for(bench, _own(bench, workload), parameters))
    if isinstance(workload, str) and not os.path.exists(workload):  # noqa: PTH110 (pathlib is slow to import)
        near = did_you_mean(workload, WORKLOADS) or f"; the workloads are {', '.join(WORKLOADS)}."
        raise HypervisorError(f"no workload {workload}{near} Nor is there a file of that name.", workload=workload)
    return _recorded(workload, **parameters)


def _own(bench: Bench, events: Sequence[Any]) -> Workload:
    """Events of one's own as a workload."""

    def given() -> Iterable[Sequence[Any]]:
        return [events]

    return define("events", cpus=bench.cpus)(given)


def _recorded(
    source: Any, format: str | None = None, mapping: Iterable[Rule] | None = None, event: str | None = None
) -> Feed:
    recording = source if isinstance(source, Recording) else Recording(source, format)
    if not recording.again:
        raise RecordingError(
            "this can be read only once, and its events are wanted several times; write it into a file first",
            file=recording.name,
        )
    return _Recorded(recording, None if mapping is None else tuple(mapping), event)


class _Streamed(NamedTuple):
    stream: Stream

    @property
    def name(self) -> str:
        return self.stream.workload

    def play(self, benches: Sequence[Bench], only: Collection[str] | None = None) -> Player:
        return _StreamPlayer(self.stream, benches, only)


class _StreamPlayer:
    def __init__(self, stream: Stream, benches: Sequence[Bench], only: Collection[str] | None) -> None:
        self._benches = benches
        self.spent_ns = [0] * len(benches)
        self._chunks = iter(stream) if only is None else (_of(chunk, only) for chunk in stream)
        self.time_ns = 0
        self._open(None)

    def _open(self, chunk: Chunk | None) -> None:
        self._chunk = chunk
        self._at = 0
        # Rows of each tracepoint that are behind.
        self._rows = np.zeros(len(chunk.names) if chunk is not None else 0, dtype=np.int64)

    def step(self, most: int) -> int:
        while self._chunk is None or self._at == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._open(chunk)
        part = self._part(self._chunk, min(most, len(self._chunk) - self._at))
        for place, bench in enumerate(self._benches):
            began = time.perf_counter_ns()
            fire_chunk(bench, part)
            self.spent_ns[place] += time.perf_counter_ns() - began
        self.time_ns = int(part.time_ns[-1])
        return len(part)

    def _part(self, chunk: Chunk, count: int) -> Chunk:
        """The next events of a chunk, with the columns of their tracepoints only."""
        if count == len(chunk):
            self._at = count
            return chunk
        part = slice(self._at, self._at + count)
        order = chunk.order[part]
        begin = self._rows
        end = begin + np.bincount(order, minlength=len(begin))
        there = np.flatnonzero(end > begin)
        places = np.zeros(len(begin), dtype=np.uint16)
        places[there] = np.arange(len(there))
        self._at, self._rows = self._at + count, end
        names = [chunk.names[k] for k in there]
        columns = {
            chunk.names[k]: {
                field: column[begin[k] : end[k]] for field, column in chunk.columns[chunk.names[k]].items()
            }
            for k in there
        }
        return Chunk(names, places[order], chunk.time_ns[part], chunk.cpu[part], columns)


def _of(chunk: Chunk, only: Collection[str]) -> Chunk:
    """The events of some tracepoints."""
    there = [place for place, name in enumerate(chunk.names) if name in only]
    kept = np.isin(chunk.order, there)
    places = np.zeros(len(chunk.names), dtype=np.uint16)
    places[there] = np.arange(len(there))
    names = [chunk.names[place] for place in there]
    columns = {name: chunk.columns[name] for name in names}
    return Chunk(names, places[chunk.order[kept]], chunk.time_ns[kept], chunk.cpu[kept], columns)


class _Recorded(NamedTuple):
    recording: Recording
    mapping: tuple[Rule, ...] | None
    event: str | None

    @property
    def name(self) -> str:
        return self.recording.name

    def play(self, benches: Sequence[Bench], only: Collection[str] | None = None) -> Player:
        return _RecordingPlayer(self, benches)


class _RecordingPlayer:
    def __init__(self, feed: _Recorded, benches: Sequence[Bench]) -> None:
        self._benches = benches
        self.spent_ns = [0] * len(benches)
        opened = [open_reader(bench, feed.recording, feed.mapping, feed.event) for bench in benches]
        self._readers = [reader for reader, _ in opened]
        # Each bench has a reader of its own, which gives its events away; what they read is the same.
        self._pieces = opened[0][1]

    @property
    def time_ns(self) -> int:
        return self._readers[0].report()["last_ns"] or 0

    def step(self, most: int) -> int:
        while True:
            fired = 0
            for place, (bench, reader) in enumerate(zip(self._benches, self._readers, strict=True)):
                natives = [handle._native for handle in bench._by_slot]
                began = time.perf_counter_ns()
                fired = bench._native.fire_recorded(natives, reader, most)
                self.spent_ns[place] += time.perf_counter_ns() - began
            if fired:
                return fired
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            for reader in self._readers:
                reader.feed(*piece)
