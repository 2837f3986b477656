"""Ring buffers (`ringbuf`): the records that programs have submitted, as bytes or typed by BTF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from axebpf.btf import Codec, Layout, codec_of
from axebpf.errors import MapError
from axebpf.maps import Map

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from axebpf import _native

__all__ = ["RingBuffer"]

_EINVAL = 22


class RingBuffer(Map):
    """A `ringbuf`. Iterating consumes: each record is given once, in the order of reservation.

    `typed("slow_exit")` makes it give values of that C type instead of bytes.
    """

    def __init__(self, native: _native.Map, cpus: int, find_type: Callable[[str], Layout]) -> None:
        super().__init__(native, None, None, cpus)
        self._find_type = find_type
        self._record: Codec | None = None

    def typed(self, name: str) -> RingBuffer:
        """Types the records by a structure of the object's BTF. Raises NotFound for an unknown name."""
        self._record = codec_of(self._find_type(name))
        return self

    def consume(self) -> Any:
        """The oldest submitted record, or None; discarded ones are passed over, a reserved one ends the reading."""
        data = self._native.consume()
        return data if data is None or self._record is None else self._record.decode(data)

    def __iter__(self) -> Iterator[Any]:
        while (record := self.consume()) is not None:
            yield record

    def read(self) -> list[Any]:
        """All submitted records."""
        return list(self)

    def _next(self) -> bytes | None:
        return self._native.consume()

    def _take(self) -> tuple[Codec, bytes, int]:
        """The type, the bytes and the number of all submitted records, each cut to the type's size."""
        if self._record is None:
            raise MapError(_EINVAL, "its records have no type: say which, as typed('slow_exit')", map=self.name)
        size = self._record.size
        records: list[bytes] = []
        while (data := self._next()) is not None:
            if len(data) < size:
                message = f"record {len(records)} has {len(data)} bytes, {self._record.name} {size}"
                raise MapError(_EINVAL, message, map=self.name)
            records.append(data[:size])
        return self._record, b"".join(records), len(records)

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Takes all submitted records, as an array of the type that `typed` has set. Raises MapError without one."""
        import numpy as np

        record, data, _ = self._take()
        return np.frombuffer(data, record.dtype)

    def to_arrow(self) -> pa.Table:
        """Takes all submitted records, as an Arrow table with a column a member. Raises MapError without a type."""
        from axebpf.tables import arrow_table, columns_of

        record, data, count = self._take()
        return arrow_table(columns_of(record, "value", data, count, record.size))
