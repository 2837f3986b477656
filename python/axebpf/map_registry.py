"""Maps by number, as the seed has them: `axebpf.maps.create`, `lookup_elem` and so on, on the default bench.

The number of a map is its `Map.id`, and the descriptor that raw instructions of `axebpf.runtime` name. It is never
given to another map. All maps of the default bench have one, those of loaded objects too. Keys and values are bytes of
exactly the map's sizes; flags and errors are those of bpf(2).

>>> import axebpf
>>> from axebpf import maps
>>> with axebpf.init():
...     counts = maps.create(maps.MapDef(maps.MapType.ARRAY, key_size=4, value_size=8, max_entries=16))
...     maps.update_elem(counts, bytes([3, 0, 0, 0]), (12345).to_bytes(8, "little"))
...     int.from_bytes(maps.lookup_elem(counts, bytes([3, 0, 0, 0])), "little")
12345
"""

from __future__ import annotations

import enum
import errno
from typing import NamedTuple

from axebpf._default import default_bench
from axebpf.errors import MapError
from axebpf.maps import BPF_ANY, Map

__all__ = [
    "MapDef",
    "MapSizes",
    "MapType",
    "count",
    "create",
    "delete_elem",
    "destroy",
    "get_map_sizes",
    "iter_entries",
    "lookup_elem",
    "update_elem",
]


class MapType(enum.StrEnum):
    """The seed's types of map, by the kernel's names. `MapDef` takes the name of any other type too."""

    ARRAY = "array"
    HASH_MAP = "hash"
    LRU_HASH = "lru_hash"
    QUEUE = "queue"
    RING_BUF = "ringbuf"


class MapDef(NamedTuple):
    """What a map is made from."""

    map_type: MapType | str
    """Its type."""
    key_size: int
    """Bytes of a key; 4 for an array, 0 for a queue and a ring buffer."""
    value_size: int
    """Bytes of a value; 0 for a ring buffer."""
    max_entries: int
    """Entries; of a ring buffer bytes, a power of two of whole pages."""


class MapSizes(NamedTuple):
    """Bytes of a key and of a value."""

    key_size: int
    """Bytes of a key."""
    value_size: int
    """Bytes of a value."""


def create(definition: MapDef) -> int:
    """Makes a map and gives its number. Raises MapError as Linux does."""
    kind, key_size, value_size, max_entries = definition
    made: Map = default_bench().create_map(str(kind), key_size, value_size, max_entries)
    return made.id


def _map(id: int) -> Map:
    found: Map | None = default_bench().maps.by_id.get(id)
    if found is None:
        raise MapError(errno.EBADF, f"no map {id}: it was destroyed, or never made")
    return found


def lookup_elem(id: int, key: bytes) -> bytes | None:
    """The value of a key, None where there is none; of a queue, whose key is empty, the oldest value.

    Raises MapError for a key of another length.
    """
    return _map(id)._native.lookup(key)


def update_elem(id: int, key: bytes, value: bytes, flags: int = BPF_ANY) -> None:
    """Creates or replaces an entry, pushes to a queue. Raises MapError: E2BIG where it is full, EINVAL for a length."""
    _map(id)._native.update(key, value, flags)


def delete_elem(id: int, key: bytes) -> None:
    """Deletes an entry. Raises KeyNotFound where there is none, MapError for arrays and queues."""
    _map(id)._native.delete(key)


def count() -> int:
    """How many maps the default bench has."""
    return len(default_bench().maps.by_id)


def destroy(id: int) -> None:
    """Takes a map out of the bench. Programs that use it keep it; its memory is freed with the last of them."""
    default_bench().maps.destroy(_map(id))


def iter_entries(id: int) -> list[tuple[bytes, bytes]]:
    """Keys and values as they are now; of a queue its values in the order of taking, with empty keys."""
    return list(_map(id)._entries())


def get_map_sizes(id: int) -> MapSizes:
    """Bytes of a key and of a value."""
    found = _map(id)
    return MapSizes(found.key_size, found.value_size)
