"""Maps as Python sees them: mappings, queues and rings, typed by the object's BTF.

What a map is called on Linux decides its class: `HashMap`, `ArrayMap` and `PrefixMap` are mappings, `QueueMap` is a
queue or a stack, `RingBuffer` gives its records one by one, `BloomFilter` says what was surely not added. `Map` has
what all share, among it the raw operations of bpf(2), which take and give bytes and raise
`MapError` with Linux's errno.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.btf import Codec, Layout, codec_of
from axebpf.errors import BenchClosed, KeyNotFound, MapError, NotFound, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from axebpf import _native
    from axebpf.map_registry import *  # noqa: F403 (its __all__ is the list, once)
    from axebpf.numbered_maps import MapOfMaps as MapOfMaps
    from axebpf.numbered_maps import ProgramArray as ProgramArray
    from axebpf.numbered_maps import Things
    from axebpf.perf_events import PerfEventArray as PerfEventArray
    from axebpf.perf_events import PerfRecord as PerfRecord
    from axebpf.queue_map import QueueMap as QueueMap
    from axebpf.ring_buffer import RingBuffer as RingBuffer

__all__ = ["ArrayMap", "Batch", "HashMap", "Map", "MapTable", "PerCpu"]

BPF_ANY, BPF_NOEXIST, BPF_EXIST = 0, 1, 2
"""Flags of `update`: create or replace, create only, replace only."""

_EINVAL = 22


class PerCpu(tuple[Any, ...]):
    """The values of one key of a per-CPU map, one a CPU.

    >>> PerCpu([3, 0, 4, 0]).sum()
    7
    """

    __slots__ = ()

    def sum(self) -> Any:
        """All values added: numbers, or structures and arrays member by member.

        >>> PerCpu([[1, [2, 3]], [4, [5, 6]]]).sum()
        [5, [7, 9]]
        """
        return _added(self)


def _added(values: Sequence[Any]) -> Any:
    """The sum of values of one type, which is as deep as the type is."""
    first = values[0]
    if isinstance(first, tuple):
        return type(first)(*(_added(members) for members in zip(*values, strict=True)))
    if isinstance(first, list):
        return [_added(members) for members in zip(*values, strict=True)]
    return sum(values)


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


class Map:
    """A map of a bench: its kind and sizes, and the raw operations of bpf(2)."""

    def __init__(self, native: _native.Map, key: Layout | None, value: Layout | None, cpus: int) -> None:
        self._native = native
        self._cpus = cpus
        self._origin: Any = None  # of `axebpf.bench.origin`: what it was made from
        self.key_type: Codec = _codec(key, native.key_size)
        """How keys are typed."""
        self.value_type: Codec = _codec(value, native.value_size)
        """How values are typed."""

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

    @property
    def per_cpu(self) -> bool:
        """Whether each CPU has a value of its own."""
        return "percpu" in self.type

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

    def push(self, value: bytes, flags: int = BPF_ANY) -> None:
        """Pushes to a queue or stack; with BPF_EXIST, a full one drops its oldest value first."""
        self._native.push(value, flags)

    def pop(self) -> bytes | None:
        """Takes from a queue (the oldest) or stack (the newest); None when it is empty."""
        return self._native.pop()

    def peek(self) -> bytes | None:
        """As `pop`, without taking."""
        return self._native.peek()

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

    def __len__(self) -> int:
        """Entries that it holds now; of an array, all; of a ring buffer, records not yet consumed.

        Of a bloom filter, which does not know, how often something was added.
        """
        return len(self._native)

    def __bool__(self) -> bool:
        return True

    def _entries(self) -> Iterator[tuple[bytes, bytes]]:
        keys, values, count = self._native.dump()
        yield from zip(_pieces(keys, count), _pieces(values, count), strict=True)

    def _decode_value(self, data: bytes | memoryview) -> Any:
        if not self.per_cpu:
            return self.value_type.decode(data)
        stride = (self.value_size + 7) // 8 * 8
        return PerCpu(self.value_type.decode(data[cpu * stride :]) for cpu in range(self._cpus))

    def _encode_value(self, value: Any) -> bytes:
        if not self.per_cpu:
            return self._encoded("value", self.value_type, value)
        stride = (self.value_size + 7) // 8 * 8
        if isinstance(value, (bytes, bytearray)) and len(value) == stride * self._cpus:
            return bytes(value)
        values = list(value) if isinstance(value, Iterable) else [value]
        if len(values) != self._cpus:
            given = f"this bench has {self._cpus} CPUs, got values for {len(values)}: give one for each"
            raise MapError(_EINVAL, given, map=self.name)
        return b"".join(self._encoded("value", self.value_type, item).ljust(stride, b"\0") for item in values)

    def _encoded(self, what: str, codec: Codec, value: Any) -> bytes:
        try:
            return codec.encode(value)
        except (TypeError, ValueError) as error:
            raise MapError(_EINVAL, f"the {what} {value!r}: {error}", map=self.name) from None

    def _repr_html_(self) -> str:
        """What a notebook shows: the first entries. A ring buffer shows none, since reading takes them."""
        from axebpf.tables import html_table

        try:
            head, rows = self._html_rows()
            return html_table(repr(self)[1:-1], head, rows, len(self))
        except BenchClosed:
            return html_table(repr(self)[1:-1], [], [], 0)

    def _html_rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        return [], []

    def __repr__(self) -> str:
        try:
            used = f"{len(self)} of {self.max_entries}"
        except BenchClosed:
            used = "of a closed bench"
        types = f"{self.key_type.name} to {self.value_type.name}"
        return f"<{type(self).__name__} {self.name}: {self.type} of {types}, {used}>"


class _Keyed(Map, MutableMapping[Any, Any]):
    """A map with keys: a mapping. Keys and values are typed by BTF; bytes of the right length are taken as they are."""

    __hash__ = None  # type: ignore[assignment]

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

    def __iter__(self) -> Iterator[Any]:
        """The keys, as they are when the walk begins."""
        return (self.key_type.decode(key) for key, _ in self._entries())

    def items(self) -> Any:
        """Keys and values, as they are when the walk begins."""
        return [(self.key_type.decode(key), self._decode_value(value)) for key, value in self._entries()]

    def values(self) -> Any:
        """Values, as they are when the walk begins."""
        return [self._decode_value(value) for _, value in self._entries()]

    def pop(self, *key_and_default: Any) -> Any:
        """As of any mapping: removes a key and gives its value."""
        if not key_and_default:
            raise TypeError("pop() takes a key; popitem() removes any entry")
        return MutableMapping.pop(self, *key_and_default)

    def update(self, *args: Any, **entries: Any) -> None:
        """As of any mapping, `update({(1, 0): 5})`; or `update(key, value, flags)` as of `Map`, with bytes."""
        if len(args) >= 2:
            super().update(*args, **entries)
        else:
            MutableMapping.update(self, *args, **entries)

    def to_dict(self) -> dict[Any, Any]:
        """A copy as a plain dictionary."""
        return dict(self.items())

    def sum(self) -> dict[Any, Any]:
        """Of a per-CPU map, each key with its values over all CPUs added; of others, the same as `to_dict`."""
        return {key: value.sum() if isinstance(value, PerCpu) else value for key, value in self.items()}

    def to_numpy(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Copies of all keys and all values as arrays, in the order of the walk.

        Of a per-CPU map, the values have a second axis, the CPUs.
        """
        import numpy as np

        keys, values, count = self._native.dump()
        shape: tuple[int, ...] = (count,)
        kind: Any = self.value_type.dtype
        if self.per_cpu:
            shape = (count, self._cpus)
            stride = (self.value_size + 7) // 8 * 8
            kind = np.dtype({"names": ["value"], "formats": [kind], "offsets": [0], "itemsize": stride})
        value_array = np.frombuffer(values, kind).reshape(shape)
        return np.frombuffer(keys, self.key_type.dtype), value_array["value"] if self.per_cpu else value_array

    def to_arrow(self) -> pa.Table:
        """A copy as an Arrow table: a column for each member of key and value, else the columns `key` and `value`.

        A per-CPU map has a row for each key and CPU, and a column `cpu`. A name that key and value share becomes
        `key.name` and `value.name`. Enumerations are their numbers. Raises ImportError without pyarrow.
        """
        import numpy as np

        from axebpf.tables import arrow_table, columns_of, joined

        keys, values, count = self._native.dump()
        key_columns = columns_of(self.key_type, "key", keys, count, self.key_size)
        if not self.per_cpu:
            return arrow_table(
                joined(key_columns, columns_of(self.value_type, "value", values, count, self.value_size))
            )
        key_columns = {name: np.repeat(column, self._cpus, axis=0) for name, column in key_columns.items()}
        key_columns["cpu"] = np.tile(np.arange(self._cpus, dtype=np.uint32), count)
        stride = (self.value_size + 7) // 8 * 8
        return arrow_table(
            joined(key_columns, columns_of(self.value_type, "value", values, count * self._cpus, stride))
        )

    def _html_rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        from axebpf.tables import HTML_ROWS

        return [self.key_type.name, self.value_type.name], self.items()[:HTML_ROWS]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.to_dict() == dict(other.items())


class HashMap(_Keyed):
    """A `hash`, `lru_hash` or per-CPU hash: a mutable mapping."""


class ArrayMap(_Keyed):
    """An `array` or `percpu_array`: a mapping of all indices from 0, whose entries cannot be deleted."""

    def __iter__(self) -> Iterator[int]:
        """The indices."""
        return iter(range(self.max_entries))

    def clear(self) -> None:
        """Sets every value to zero."""
        zero = bytes(len(self.lookup(bytes(4)) or b""))
        for index in range(self.max_entries):
            self.update(index.to_bytes(4, "little"), zero, BPF_ANY)


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
    return (ArrayMap if kind in ("array", "percpu_array") else HashMap)(native, key, value, cpus)


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

    def _repr_html_(self) -> str:
        from axebpf.tables import html_table

        maps = [table_map for same in self._maps.values() for table_map in same]
        rows = [(m.name, m.type, m.key_type.name, m.value_type.name, m.max_entries) for m in maps]
        return html_table(f"Maps of {self._where}", ["name", "type", "key", "value", "max_entries"], rows, len(rows))

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
    **dict.fromkeys(_BY_NUMBER, "map_registry"),
    **dict.fromkeys(("MapOfMaps", "ProgramArray"), "numbered_maps"),
    **dict.fromkeys(("PerfEventArray", "PerfRecord"), "perf_events"),
    "QueueMap": "queue_map",
    "RingBuffer": "ring_buffer",
}
"""Names that come when they are first used, and the module of each."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"axebpf.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{did_you_mean(name, [*__all__, *_LATER])}")
