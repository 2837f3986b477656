"""The contents of one map on two sides, and which of its entries are not the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

from axebpf.array_map import ArrayMap
from axebpf.bench.comparison import MOST, MapComparison
from axebpf.bench.origin import ObjectOrigin
from axebpf.btf import codec_of, hashable
from axebpf.errors import MapError
from axebpf.maps import HashMap, Map
from axebpf.ring_buffer import RingBuffer

__all__ = ["Contents"]

_Entry = tuple[Any, Any, Any]
"""A key, and the value on each side, None where there is none."""

_Dumps = tuple[tuple[bytes, bytes, int], tuple[bytes, bytes, int]]
"""All keys, all values, and their number, on each side."""


class Contents:
    """A map on both sides.

    Nothing is taken out of a ring buffer before the end, because that would change what fits into it.
    """

    def __init__(self, name: str, left: Map, right: Map) -> None:
        self.name = name
        """What it is called in the comparison."""
        self.map = left
        """The map on the first side."""
        self._sides = (left, right)
        self.beyond: int | None = None
        """Of a ring buffer, the place of the first record that will differ, where that is known."""
        self.readable = True
        """Whether the bench may read it."""
        self._begun: _Dumps | None = None
        try:
            begun = self._dumps()
        except MapError:
            self.readable = False
            return
        if name.startswith(".") and isinstance(left._origin, ObjectOrigin):
            self._begun = begun

    def _dumps(self) -> _Dumps:
        """All keys, all values and their number, of each side; of a ring buffer the number only."""
        left, right = self._sides
        if isinstance(left, RingBuffer):
            return (b"", b"", len(left)), (b"", b"", len(right))
        return left._native.dump(), right._native.dump()

    def differ(self) -> bool:
        """Whether the sides are not the same now."""
        if not self.readable:
            return False
        left, right = self._dumps()
        if isinstance(self.map, RingBuffer):
            return left != right or (self.beyond is not None and left[2] > self.beyond)
        if left == right or self._begun == (left, right):
            return False
        # The order of a hash is the library's own.
        return not isinstance(self.map, HashMap) or next(self._raw(), None) is not None

    def entries(self) -> Iterator[_Entry]:
        """The entries that are not the same, typed. It empties a ring buffer."""
        if self._begun is not None:
            yield from self._changed_variables(self._begun)
            return
        for key, left, right in self._raw():
            yield key, *(None if value is None else self._typed(value) for value in (left, right))

    def _typed(self, value: bytes) -> Any:
        return value if isinstance(self.map, RingBuffer) else self.map._decode_value(value)

    def _raw(self) -> Iterator[tuple[Any, bytes | None, bytes | None]]:
        left, right = self._sides
        if isinstance(left, HashMap):
            mine, others = dict(left._entries()), dict(right._entries())
            for key in {**mine, **others}:
                if mine.get(key) != others.get(key):
                    yield left.key_type.decode(key), mine.get(key), others.get(key)
        elif isinstance(left, ArrayMap):
            for (key, value), (_, other) in zip(left._entries(), right._entries(), strict=True):
                if value != other:
                    yield left.key_type.decode(key), value, other
        else:
            for place, (value, other) in enumerate(zip_longest(_values(left), _values(right))):
                if value != other:
                    yield place, value, other

    def _changed_variables(self, begun: _Dumps) -> Iterator[_Entry]:
        """Variables that are not the same.

        Those are left out that both sides have left as they were: AxVisor drops the values that they begin with.
        """
        now = [values for _, values, _ in self._dumps()]
        then = [values for _, values, _ in begun]
        for entry in self.map._origin.native.globals:
            if entry["map"] != self.map.name:
                continue
            codec = codec_of(entry["layout"])
            there = slice(entry["offset"], entry["offset"] + codec.size)
            values = [data[there] for data in now]
            if values[0] != values[1] and values != [data[there] for data in then]:
                yield entry["name"], codec.decode(values[0]), codec.decode(values[1])

    def compared(self) -> MapComparison:
        """What came of it; to be asked once, at the end, because it empties a ring buffer."""
        entries = (len(self._sides[0]), len(self._sides[1]))
        keys: dict[Any, tuple[Any, Any]] = {}
        different = 0
        for key, left, right in self.entries():
            different += 1
            if different <= MOST:
                keys[hashable(key)] = (left, right)
        return MapComparison(entries, different, keys)


def _values(side: Map) -> Iterable[bytes]:
    """What is in a queue or a stack, or what a ring buffer gives."""
    if isinstance(side, RingBuffer):
        while (record := side._next()) is not None:
            yield record
    else:
        yield from (value for _, value in side._entries())
