"""Bloom filters (`bloom_filter`): sets that know what was surely not added.

>>> import axebpf
>>> with axebpf.Bench() as bench:
...     seen = bench.create_map("bloom_filter", 0, 8, max_entries=1000, extra=3)    # three hash functions
...     seen.add(0xffff)
...     0xffff in seen, 0xfffe in seen
(True, False)
"""

from __future__ import annotations

from typing import Any

from axebpf.errors import MapError
from axebpf.maps import BPF_ANY, Map

__all__ = ["BloomFilter"]


class BloomFilter(Map):
    """A `bloom_filter`: values are added and asked for, and never taken out; it cannot be walked.

    What was added is always in it. What was not is in it too now and then: the more often, the fuller it is. Which
    values those are is the same in every run, and with `BPF_F_ZERO_SEED` the same as on Linux.
    """

    def add(self, value: Any) -> None:
        """Adds a value. Raises MapError for one that the type does not hold."""
        self.push(self._encode_value(value))

    def push(self, value: bytes, flags: int = BPF_ANY) -> None:
        """`BPF_MAP_UPDATE_ELEM` of a filter: adds a value's bytes."""
        self._native.push(value, flags)

    def contains(self, value: bytes, flags: int = 0) -> bool:
        """`BPF_MAP_LOOKUP_ELEM` of a filter: whether the value may have been added."""
        return self._native.contains(value, flags)

    def __contains__(self, value: object) -> bool:
        """Whether a value may have been added; False for what cannot be one."""
        try:
            data = self._encode_value(value)
        except MapError:
            return False
        return self.contains(data)

    def __repr__(self) -> str:
        functions = self.extra or 5
        return f"<BloomFilter {self.name}: {self.value_type.name}, {self.max_entries} by {functions} hash functions>"
