"""Maps as Python sees them: mappings, queues and rings, typed by the object's BTF.

What a map is called on Linux decides its class: `HashMap`, `ArrayMap` and `PrefixMap` are mappings, `QueueMap` is a
queue or a stack, `RingBuffer` gives its records one by one, `BloomFilter` says what was surely not added. `Map` has
what all share, among it the raw operations of bpf(2), which take and give bytes and raise
`MapError` with Linux's errno.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.btf import Codec, Layout, codec_of
from axebpf.entries import Entries, PerCpu, Typed
from axebpf.errors import BenchClosed, KeyNotFound, MapError, NotFound, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from axebpf import _native
    from axebpf.array_map import ArrayMap as ArrayMap
    from axebpf.cpu_values import CpuValues
    from axebpf.map_registry import *  # noqa: F403 (its __all__ is the list, once)
    from axebpf.numbered_maps import MapOfMaps as MapOfMaps
    from axebpf.numbered_maps import ProgramArray as ProgramArray
    from axebpf.numbered_maps import Things
    from axebpf.perf_events import PerfEventArray as PerfEventArray
    from axebpf.perf_events import PerfRecord as PerfRecord
    from axebpf.queue_map import QueueMap as QueueMap
    from axebpf.ring_buffer import RingBuffer as RingBuffer
    from axebpf.snapshot import Snapshot as Snapshot

__all__ = ["Batch", "HashMap", "Map", "MapTable", "PerCpu"]

BPF_ANY, BPF_NOEXIST, BPF_EXIST = 0, 1, 2
"""Flags of `update`: create or replace, create only, replace only."""

_ENOTSUPP = 524


def _codec(layout: Layout | None, size: int) -> Codec:
    """The codec of a type; bytes where there is none, or where it contradicts the map's sizes."""
    codec = codec_of(layout) if layout is not None else None
    return codec if codec is not None and codec.size == size else codec_of(("bytes", size))


class Batch(NamedTuple):
    """Entries that a batch has read, as bytes."""

    keys: list[bytes]
    """Their keys."""
    values: list[bytes]
    """Their values; of a per-CPU map one a CPU, each padded to 8."""
    next: bytes | None
    """Where the next batch begins; None at the end of the walk. Opaque."""


def _pieces(data: bytes, count: int) -> list[bytes]:
    """Bytes in so many equal parts."""
    step = len(data) // max(count, 1)
    return [data[i * step : (i + 1) * step] for i in range(count)]


class Map(Typed):
    """A map of a bench: its kind and sizes, and the raw operations of bpf(2)."""

    def __init__(self, native: _native.Map, key: Layout | None, value: Layout | None, cpus: int) -> None:
        super().__init__(_codec(key, native.key_size), _codec(value, native.value_size), cpus)
        self._native = native
        self._origin: Any = None  # of `axebpf.bench.origin`: what it was made from

    @property
    def id(self) -> int:
        """Its number in the bench; never given twice."""
        return self._native.id

    @property
    def name(self) -> str:
        """Its name in the object."""
        return self._native.name

    @property
    def type(self) -> str:
        """Its kind, by the kernel's name: `hash`, `array`, `ringbuf`."""
        return self._native.kind

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return self._native.key_size

    @property
    def value_size(self) -> int:
        """Bytes of a value, without the padding of per-CPU maps."""
        return self._native.value_size

    @property
    def max_entries(self) -> int:
        """Entries that it can hold; of a ring buffer, bytes."""
        return self._native.max_entries

    @property
    def flags(self) -> int:
        """The `BPF_F_*` flags that it was created with."""
        return self._native.flags

    @property
    def extra(self) -> int:
        """`map_extra`: of a bloom filter, how many hash functions it has (0: 5)."""
        return self._native.extra

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """`BPF_MAP_LOOKUP_ELEM`: the value's bytes (of a per-CPU map one a CPU, each padded to 8), or None."""
        return self._native.lookup(key, flags)

    def update(self, key: bytes, value: bytes, flags: int = BPF_ANY) -> None:
        """`BPF_MAP_UPDATE_ELEM`. Raises MapError with Linux's errno."""
        self._native.update(key, value, flags)

    def delete(self, key: bytes) -> None:
        """`BPF_MAP_DELETE_ELEM`. Raises KeyNotFound where there is no such key."""
        self._native.delete(key)

    def next_key(self, key: bytes | None = None) -> bytes | None:
        """`BPF_MAP_GET_NEXT_KEY`: the key after this one; the first without one; None at the end."""
        return self._native.next_key(key)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes | None:
        """`BPF_MAP_LOOKUP_AND_DELETE_ELEM`: the value's bytes, or None where there is no such key."""
        return self._native.lookup_and_delete(key, flags)

    def lookup_batch(self, count: int, start: bytes | None = None, flags: int = 0) -> Batch:
        """`BPF_MAP_LOOKUP_BATCH`: the next `count` entries of a walk, or what is left of it.

        `start` is the `next` of the batch before; without it, the walk begins. Raises MapError where the kind has no
        batches (ENOTSUPP), or for flags.

        >>> import axebpf
        >>> with axebpf.Bench() as bench:
        ...     squares = bench.create_map("array", 4, 8, max_entries=5)
        ...     squares.update({n: n * n for n in range(5)})
        ...     batch = squares.lookup_batch(3)
        ...     [value[0] for value in batch.values], [value[0] for value in squares.lookup_batch(3, batch.next).values]
        ([0, 1, 4], [9, 16])
        """
        keys, values, found, next = self._native.lookup_batch(count, start, flags)
        return Batch(_pieces(keys, found), _pieces(values, found), next)

    def lookup_and_delete_batch(self, count: int, start: bytes | None = None, flags: int = 0) -> Batch:
        """`BPF_MAP_LOOKUP_AND_DELETE_BATCH`: as `lookup_batch`, and takes the entries out. Of hashes only."""
        keys, values, found, next = self._native.lookup_and_delete_batch(count, start, flags)
        return Batch(_pieces(keys, found), _pieces(values, found), next)

    def update_batch(self, entries: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]], flags: int = 0) -> None:
        """`BPF_MAP_UPDATE_BATCH`: creates or replaces entries one after the other.

        Where one fails, those before it stay: the MapError says how many in `done`.
        """
        self._native.update_batch(list(entries.items() if isinstance(entries, Mapping) else entries), flags)

    def delete_batch(self, keys: Iterable[bytes], flags: int = 0) -> None:
        """`BPF_MAP_DELETE_BATCH`: deletes entries one after the other.

        Where one fails, those before it are gone: the MapError, or KeyNotFound, says how many in `done`.
        """
        self._native.delete_batch(list(keys), flags)

    def freeze(self) -> None:
        """Refuses changes from the bench from now on; programs may go on. Raises MapError when it is frozen."""
        self._native.freeze()

    def snapshot(self) -> Any:
        """A copy of what is in it now. Raises MapError for a kind that cannot be read, or only by taking what is in it.

        `before.diff(after)` tells two of them apart.
        """
        raise MapError(_ENOTSUPP, f"a {self.type} has no snapshot: it cannot be read, or only by taking", map=self.name)

    def clear(self) -> None:
        """Empties it; of an array, sets every value to zero. Raises MapError for a kind that does not forget."""
        raise MapError(_ENOTSUPP, f"a {self.type} cannot be emptied; make another one", map=self.name)

    def _dump(self) -> tuple[bytes, bytes, int]:
        return self._native.dump()

    def _shown(self) -> tuple[Iterator[tuple[Any, Any]], int]:
        return iter(()), len(self)

    def __len__(self) -> int:
        """Entries that it holds now; of an array, all; of a ring buffer, records not yet consumed.

        Of a bloom filter, which does not know, how often something was added.
        """
        return len(self._native)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        try:
            used = f"{len(self)} of {self.max_entries}"
        except BenchClosed:
            used = "of a closed bench"
        types = f"{self.key_type.name} to {self.value_type.name}"
        return f"<{type(self).__name__} {self.name}: {self.type} of {types}, {used}>"


class _Keyed(Entries, Map, MutableMapping[Any, Any]):
    """A map with keys: a mapping. Keys and values are typed by BTF; bytes of the right length are taken as they are."""

    def __getitem__(self, key: Any) -> Any:
        """The value of a key. Raises KeyNotFound (a KeyError) where there is none."""
        data = self.lookup(self._encoded("key", self.key_type, key))
        if data is None:
            raise KeyNotFound(2, f"no entry with the key {key!r}", map=self.name)
        return self._decode_value(data)

    def __contains__(self, key: object) -> bool:
        """Whether there is an entry; False for what cannot be a key."""
        try:
            return self.lookup(self._encoded("key", self.key_type, key)) is not None
        except MapError:
            return False

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, or the default; also for what cannot be a key."""
        return default if key not in self else self[key]  # noqa: SIM401 (this is get)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Creates or replaces an entry; of a per-CPU map, with one value a CPU."""
        super().update(self._encoded("key", self.key_type, key), self._encode_value(value))

    def __delitem__(self, key: Any) -> None:
        """Deletes an entry. Raises KeyNotFound where there is none, MapError for arrays."""
        self.delete(self._encoded("key", self.key_type, key))

    def pop(self, *key_and_default: Any) -> Any:
        """As of any mapping: removes a key and gives its value."""
        if not key_and_default:
            raise TypeError("pop() takes a key; popitem() removes any entry")
        return MutableMapping.pop(self, *key_and_default)

    def popitem(self) -> tuple[Any, Any]:
        """Removes the first entry of the walk, and gives its key and value. Raises KeyError when it is empty."""
        first = self.next_key()
        if first is None:
            raise KeyNotFound(2, "it is empty", map=self.name)
        key = self._decode_key(first)
        return key, self.pop(first)

    def clear(self) -> None:
        """Deletes every entry."""
        for key, _ in list(self._entries()):
            with contextlib.suppress(KeyNotFound):  # gone meanwhile
                self.delete(key)

    def update(self, *args: Any, **entries: Any) -> None:
        """As of any mapping, `update({(1, 0): 5})`; or `update(key, value, flags)` as of `Map`, with bytes."""
        if len(args) >= 2:
            super().update(*args, **entries)
        else:
            MutableMapping.update(self, *args, **entries)

    def per_cpu(self, cpu: int) -> CpuValues:
        """The values of one CPU of a per-CPU map, as a mapping that reads and writes the map.

        Raises MapError where the map has no values of their own for CPUs, or the bench no such CPU.

        >>> from axebpf import Bench
        >>> with Bench(cpus=3) as bench:
        ...     counts = bench.create_map("percpu_hash", 4, 8, max_entries=10)
        ...     counts.per_cpu(1)[7] = 5
        ...     counts[7], counts.per_cpu(1).to_dict(), counts.sum()
        ((0, 5, 0), {7: 5}, {7: 5})
        """
        from axebpf.cpu_values import CpuValues

        return CpuValues(self, cpu)

    def snapshot(self) -> Snapshot:
        """A copy of the entries as they are now: a mapping that does not change, and that can be pickled.

        >>> from axebpf import Bench
        >>> with Bench() as bench:
        ...     counts = bench.create_map("hash", 4, 8, max_entries=10, name="COUNTS")
        ...     counts.update({1: 5, 2: 5})
        ...     before = counts.snapshot()
        ...     counts.update({2: 6, 3: 1})
        >>> before == {1: 5, 2: 5}
        True
        """
        from axebpf.snapshot import Snapshot

        return Snapshot(self)


class HashMap(_Keyed):
    """A `hash`, `lru_hash` or per-CPU hash: a mutable mapping."""


def wrap(
    native: _native.Map,
    key: Layout | None,
    value: Layout | None,
    cpus: int,
    find_type: Callable[[str], Layout],
    things: Callable[[], Things],
) -> Map:
    """The class for a map's kind."""
    kind = native.kind
    if kind in ("array_of_maps", "hash_of_maps", "prog_array"):
        from axebpf.numbered_maps import MapOfMaps, ProgramArray

        return (ProgramArray if kind == "prog_array" else MapOfMaps)(native, key, cpus, things())
    if kind == "perf_event_array":
        from axebpf.perf_events import PerfEventArray

        return PerfEventArray(native, cpus, find_type)
    if kind == "ringbuf":
        from axebpf.ring_buffer import RingBuffer

        return RingBuffer(native, cpus, find_type)
    if kind in ("queue", "stack"):
        from axebpf.queue_map import QueueMap

        return QueueMap(native, None, value, cpus)
    if kind == "lpm_trie":
        from axebpf.prefix_map import PrefixMap

        return PrefixMap(native, key, value, cpus)
    if kind == "bloom_filter":
        from axebpf.bloom_filter import BloomFilter

        return BloomFilter(native, None, value, cpus)
    if kind in ("array", "percpu_array"):
        from axebpf.array_map import ArrayMap

        return ArrayMap(native, key, value, cpus)
    return HashMap(native, key, value, cpus)


class MapTable(Mapping[str, Any]):
    """Maps by name. A name that two loaded objects share is refused: ask the object, `progs.maps`."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._maps: dict[str, list[Map]] = {}
        self.by_id: dict[int, Any] = {}
        """All of them by their number, those that share a name too."""

    def add(self, table_map: Map) -> None:
        """Adds a map."""
        self._maps.setdefault(table_map.name, []).append(table_map)
        self.by_id[table_map.id] = table_map

    def destroy(self, table_map: Map) -> None:
        """Takes a map out of this table and its bench; its memory is freed with the last that uses it."""
        if self.by_id.pop(table_map.id, None) is not table_map:
            return
        table_map._native.remove()
        rest = [other for other in self._maps[table_map.name] if other is not table_map]
        if rest:
            self._maps[table_map.name] = rest
        else:
            del self._maps[table_map.name]

    def __getitem__(self, name: str) -> Any:
        """The map of a name. Raises NotFound, which names the nearest one."""
        found = self._maps.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(
                f"{self._where} has {len(found)} maps {name}: ask the object, progs.maps[{name!r}], or unload() one"
            )
        raise NotFound(f"{self._where} has no map {name}{did_you_mean(name, self._maps)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)

    def _overview(self) -> tuple[str, list[str], list[tuple[Any, ...]], int]:
        maps = [table_map for same in self._maps.values() for table_map in same]
        rows = [(m.name, m.type, m.key_type.name, m.value_type.name, m.max_entries) for m in maps]
        return f"Maps of {self._where}", ["name", "type", "key", "value", "max_entries"], rows, len(rows)

    def _repr_html_(self) -> str:
        from axebpf.tables import html_table

        return html_table(*self._overview())

    def __rich__(self) -> Table | Text:
        from axebpf.tables import rich_table

        return rich_table(*self._overview())

    def __repr__(self) -> str:
        return f"<MapTable {', '.join(self._maps) or 'empty'}>"


_BY_NUMBER = frozenset(
    {
        *("MapDef", "MapSizes", "MapType", "count", "create", "delete_elem"),
        *("destroy", "get_map_sizes", "iter_entries", "lookup_elem", "update_elem"),
    }
)
"""What the seed has for maps by number; it comes when it is first named."""


_LATER = {
    "ArrayMap": "array_map",
    **dict.fromkeys(_BY_NUMBER, "map_registry"),
    **dict.fromkeys(("MapOfMaps", "ProgramArray"), "numbered_maps"),
    **dict.fromkeys(("PerfEventArray", "PerfRecord"), "perf_events"),
    "QueueMap": "queue_map",
    "RingBuffer": "ring_buffer",
    "Snapshot": "snapshot",
}
"""Names that come when they are first used, and the module of each."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"axebpf.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{did_you_mean(name, [*__all__, *_LATER])}")
