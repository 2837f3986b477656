"""Entries of maps, typed: what a map with keys and a copy of one have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from axebpf.btf import Codec, hashable
from axebpf.errors import BenchClosed, MapError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from rich.table import Table
    from rich.text import Text

__all__ = ["Entries", "PerCpu", "Typed", "paired"]

_EINVAL = 22


class PerCpu(tuple[Any, ...]):
    """The values of one key of a per-CPU map, one a CPU.

    >>> PerCpu([3, 0, 4, 0]).sum()
    7
    """

    __slots__ = ()

    def sum(self) -> Any:
        """All values added: numbers, or structures and arrays member by member.

        Raises TypeError for values that are no numbers, such as text.

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
    if isinstance(first, bytes):
        raise TypeError(f"{first!r} is no number: there is no sum of values that are text or have no type")
    return sum(values)


class Typed:
    """Name, kind and types of a map or of a copy of one; turns their bytes into values and back."""

    _key_name = "key"
    """The heading of keys that are no structures."""

    def __init__(self, key: Codec, value: Codec, cpus: int) -> None:
        self._cpus = cpus
        self.key_type = key
        """How keys are typed."""
        self.value_type = value
        """How values are typed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in the object."""

    @property
    @abstractmethod
    def type(self) -> str:
        """Its kind, by the kernel's name: `hash`, `array`, `ringbuf`."""

    @abstractmethod
    def _dump(self) -> tuple[bytes, bytes, int]:
        """All keys and all values, one behind the other, and how many."""

    def _entries(self) -> Iterator[tuple[bytes, bytes]]:
        return paired(*self._dump())

    @property
    def is_per_cpu(self) -> bool:
        """Whether each CPU has a value of its own."""
        return "percpu" in self.type

    @property
    def _stride(self) -> int:
        """Bytes from the value of one CPU to that of the next."""
        return (self.value_type.size + 7) // 8 * 8

    def _decode_key(self, data: bytes | memoryview) -> Any:
        """A key as a dictionary takes it: arrays in it are tuples."""
        return hashable(self.key_type.decode(data))

    def _decode_value(self, data: bytes | memoryview) -> Any:
        if not self.is_per_cpu:
            return self.value_type.decode(data)
        return PerCpu(self.value_type.decode(data[cpu * self._stride :]) for cpu in range(self._cpus))

    def _encode_value(self, value: Any) -> bytes:
        if not self.is_per_cpu:
            return self._encoded("value", self.value_type, value)
        whole = self._stride * self._cpus
        if isinstance(value, (bytes, bytearray)):
            if len(value) != whole:
                given = f"the value has {len(value)} bytes, this map's have {whole}: {self._stride} for each CPU"
                raise MapError(_EINVAL, given, map=self.name)
            return bytes(value)
        values = list(value) if isinstance(value, Iterable) else [value]
        if len(values) != self._cpus:
            given = f"this bench has {self._cpus} CPUs, got values for {len(values)}: give one for each"
            raise MapError(_EINVAL, given, map=self.name)
        return b"".join(self._encoded("value", self.value_type, item).ljust(self._stride, b"\0") for item in values)

    def _encoded(self, what: str, codec: Codec, value: Any) -> bytes:
        try:
            return codec.encode(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise MapError(_EINVAL, f"the {what} {value!r}: {error}", map=self.name) from None

    def _shown(self) -> tuple[Iterator[tuple[Any, Any]], int]:
        """Entries for a table, and how many there are."""
        return iter(()), 0

    def _table(self) -> tuple[str, Iterator[tuple[Any, Any]], int]:
        """A title, and what `_shown` gives: nothing where it cannot be read."""
        try:
            return repr(self)[1:-1], *self._shown()
        except (BenchClosed, MapError):
            return repr(self)[1:-1], iter(()), 0

    def _repr_html_(self) -> str:
        """What a notebook shows: the first entries."""
        from axebpf.entry_table import html_entries

        return html_entries(*self._table(), self._key_name)

    def __rich__(self) -> Table | Text:
        """What `rich.print` shows: the first entries."""
        from axebpf.entry_table import rich_entries

        return rich_entries(*self._table(), self._key_name)


class Entries(Typed, Mapping[Any, Any]):
    """Entries with keys: a mapping, equal to any other mapping with the same entries."""

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Any]:
        """The keys, as they are when the walk begins."""
        return (self._decode_key(key) for key, _ in self._entries())

    def items(self) -> Any:
        """Keys and values, as they are when the walk begins."""
        return [(self._decode_key(key), self._decode_value(value)) for key, value in self._entries()]

    def values(self) -> Any:
        """Values, as they are when the walk begins."""
        return [self._decode_value(value) for _, value in self._entries()]

    def to_dict(self) -> dict[Any, Any]:
        """A copy as a plain dictionary."""
        return dict(self.items())

    def sum(self) -> dict[Any, Any]:
        """Of a per-CPU map, each key with its values over all CPUs added; of others, the same as `to_dict`."""
        return {key: value.sum() if isinstance(value, PerCpu) else value for key, value in self.items()}

    def to_numpy(self, *, copy: bool | None = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """All keys and all values as arrays, in the order of the walk. In a per-CPU map, CPUs are columns.

        It always copies, because the entries lie here and there, so that `copy=False` raises ValueError; the values of
        arrays need no copy. Without `copy=True` the copies are read-only.
        """
        if copy is False:
            raise ValueError(f"{self.name}: entries of type {self.type} have to be copied here")
        from axebpf.tables import strided

        keys, values, count = self._dump()
        key_array = strided(self.key_type.dtype, (count,), keys, (self.key_type.size,))
        size = self.value_type.size
        shape, steps = (
            ((count, self._cpus), (self._cpus * self._stride, self._stride)) if self.is_per_cpu else ((count,), (size,))
        )
        value_array = strided(self.value_type.dtype, shape, values, steps)
        return (key_array.copy(), value_array.copy()) if copy else (key_array, value_array)

    def to_arrow(self) -> pa.Table:
        """A copy as an Arrow table: a column for each member of key and value, else the columns `key` and `value`.

        A per-CPU map has a row for each key and CPU, and a column `cpu`. A name that key and value share becomes
        `key.name` and `value.name`. Enumerations are their numbers. Raises ImportError without pyarrow.
        """
        import numpy as np

        from axebpf.tables import arrow_table, columns_of, joined

        keys, values, count = self._dump()
        key_columns = columns_of(self.key_type, "key", keys, count, self.key_type.size)
        if not self.is_per_cpu:
            size = self.value_type.size
            return arrow_table(joined(key_columns, columns_of(self.value_type, "value", values, count, size)))
        key_columns = {name: np.repeat(column, self._cpus, axis=0) for name, column in key_columns.items()}
        key_columns["cpu"] = np.tile(np.arange(self._cpus, dtype=np.uint32), count)
        return arrow_table(
            joined(key_columns, columns_of(self.value_type, "value", values, count * self._cpus, self._stride))
        )

    def _shown(self) -> tuple[Iterator[tuple[Any, Any]], int]:
        keys, values, count = self._dump()
        rows = paired(keys, values, count)
        return ((self._decode_key(key), self._decode_value(value)) for key, value in rows), count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.to_dict() == dict(other.items())


def paired(keys: bytes, values: bytes, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values that lie one behind the other, one by one."""
    key, value = len(keys) // max(count, 1), len(values) // max(count, 1)
    return ((keys[n * key : (n + 1) * key], values[n * value : (n + 1) * value]) for n in range(count))
