"""Events one by one become the columns that a bench is fed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axebpf.hypervisor.workload import CHUNK_EVENTS, Chunk
from axebpf.recording.rules import Made
from axebpf.tracepoint import Tracepoint

__all__ = ["Columns"]


class Columns:
    """Collects events, in any number, for a chunk."""

    def __init__(self, tracepoints: Mapping[str, type[Tracepoint]]) -> None:
        self._names = list(tracepoints)
        self._fields = {name: declared.fields for name, declared in tracepoints.items()}
        self._index = {name: index for index, name in enumerate(self._names)}
        self._limits = {
            name: [(f.type.minimum, f.type.maximum) if f.type.base != "char" else (0, 0) for f in fields]
            for name, fields in self._fields.items()
        }
        self._clear()

    def _clear(self) -> None:
        self._order: list[int] = []
        self._times: list[int] = []
        self._cpus: list[int] = []
        self._rows: dict[str, list[list[Any]]] = {}

    def add(self, made: Made) -> bool:
        """Takes an event; False where a value does not fit its field."""
        kinds = self._fields[made.tracepoint]
        for value, kind, (low, high) in zip(made.values, kinds, self._limits[made.tracepoint], strict=True):
            if isinstance(value, int):
                if not low <= value <= high:
                    return False
            elif isinstance(value, list):
                if len(value) != kind.type.count or not all(low <= item <= high for item in value):
                    return False
            elif len(value) > kind.type.count:
                return False
        if not 0 <= made.time_ns < 1 << 64:
            return False
        self._order.append(self._index[made.tracepoint])
        self._times.append(made.time_ns)
        self._cpus.append(made.cpu)
        self._rows.setdefault(made.tracepoint, []).append(made.values)
        return True

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        return len(self._order) >= CHUNK_EVENTS

    def take(self) -> Chunk | None:
        """The chunk of what was collected, or None for nothing."""
        import numpy as np

        if not self._order:
            return None
        columns: dict[str, dict[str, Any]] = {}
        for name, fields in self._fields.items():
            rows = self._rows.get(name, [])
            columns[name] = {
                f.name: np.array([row[place] for row in rows], np.dtype(f.type.numpy).base).reshape(
                    (len(rows), *np.dtype(f.type.numpy).shape)
                )
                for place, f in enumerate(fields)
            }
        chunk = Chunk(
            self._names,
            np.array(self._order, np.uint16),
            np.array(self._times, np.uint64),
            np.array(self._cpus, np.uint32),
            columns,
        )
        self._clear()
        return chunk
