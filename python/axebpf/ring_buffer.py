"""Ring buffers (`ringbuf`): the records that programs have submitted, as bytes or typed by BTF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, overload

from axebpf.btf import Codec, Layout, codec_of
from axebpf.errors import BenchClosed, MapError
from axebpf.maps import Map

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from axebpf import _native

__all__ = ["RingBuffer"]

_EINVAL = 22

_AVAIL_DATA, _CONS_POS, _PROD_POS = 0, 2, 3
"""What `bpf_ringbuf_query` is asked."""


class RingBuffer(Map):
    r"""A `ringbuf`. Iterating consumes: each record is given once, in the order of reservation.

    Records are bytes, or values of the C type that `typed` has set. Discarded ones are passed over, and one that a
    program has reserved and not yet submitted holds back those behind it. Records may be consumed while a program runs:
    from a helper in Python, say.

    >>> from axebpf import Bench, assemble
    >>> bench = Bench()
    >>> ring = bench.create_map("ringbuf", 0, 0, 4096)
    >>> text = '''
    ... *(u64 *)(r10 -8) = 7
    ... r1 = map[1]
    ... r2 = r10
    ... r2 += -8
    ... r3 = 8
    ... r4 = 0
    ... call bpf_ringbuf_output
    ... exit'''
    >>> program = bench.load_bytes(assemble(text), type="tracepoint", maps={1: ring})
    >>> [program.run(bytes(16)).r0 for _ in range(5)]
    [0, 0, 0, 0, 0]
    >>> ring.consume()
    b'\x07\x00\x00\x00\x00\x00\x00\x00'
    >>> ring.consume(print, most=1)
    b'\x07\x00\x00\x00\x00\x00\x00\x00'
    1
    >>> ring.to_numpy("<u8")
    array([7, 7, 7], dtype=uint64)
    >>> ring.wakeups, ring.producer_position, ring.available
    (1, 80, 0)
    """

    def __init__(self, native: _native.Map, cpus: int, find_type: Callable[[str], Layout]) -> None:
        super().__init__(native, None, None, cpus)
        self._find_type = find_type
        self._record: Codec | None = None

    def typed(self, name: str) -> RingBuffer:
        """Types the records by a structure of the object's BTF. Raises NotFound for an unknown name."""
        self._record = codec_of(self._find_type(name))
        return self

    @overload
    def consume(self) -> Any: ...
    @overload
    def consume(self, callback: Callable[[Any], object], most: int | None = None) -> int: ...
    def consume(self, callback: Callable[[Any], object] | None = None, most: int | None = None) -> Any:
        """The oldest submitted record, or None. With a callback, calls it with each, and gives how many there were.

        That takes all there are, those too that come meanwhile, or at most so many. Where the callback raises, the
        record that it was called with is taken, and the rest is still there.
        """
        return self._consume(self._oldest, callback, most)

    def _next(self) -> bytes | None:
        return self._native.consume()

    def _oldest(self) -> Any:
        data = self._next()
        return data if data is None or self._record is None else self._record.decode(data)

    def _consume(self, oldest: Callable[[], Any], callback: Callable[[Any], object] | None, most: int | None) -> Any:
        if callback is None:
            return oldest()
        given = 0
        while (most is None or given < most) and (record := oldest()) is not None:
            given += 1
            callback(record)
        return given

    def __iter__(self) -> Iterator[Any]:
        while (record := self._oldest()) is not None:
            yield record

    def read(self) -> list[Any]:
        """All submitted records."""
        return list(self)

    def clear(self) -> None:
        """Takes all submitted records."""
        while self._next() is not None:
            pass

    @property
    def available(self) -> int:
        """Bytes that are not consumed, headers and reserved records among them."""
        return self._native.query(_AVAIL_DATA)

    @property
    def consumer_position(self) -> int:
        """Bytes consumed so far, headers among them; on Linux, what the consumer's page begins with."""
        return self._native.query(_CONS_POS)

    @property
    def producer_position(self) -> int:
        """Bytes reserved so far, headers among them; on Linux, what the producer's page begins with."""
        return self._native.query(_PROD_POS)

    @property
    def wakeups(self) -> int:
        """How often programs have woken the consumer, who waits with epoll on Linux; here it need not wait.

        A record that is submitted or discarded wakes it where it has consumed all before that record, with
        BPF_RB_FORCE_WAKEUP always, else with BPF_RB_NO_WAKEUP never. Raises MapError ENOTSUPP for AxVisor's, which does
        not tell.
        """
        return self._native.wakeups()

    def _take(self, size: int, name: str) -> tuple[bytes, int]:
        """The bytes of all submitted records and how many; none where one has another size, which `name` has."""
        return self._native.take(size, name)

    def _typed(self) -> Codec:
        if self._record is None:
            raise MapError(_EINVAL, "its records have no type: say which, as typed('slow_exit')", map=self.name)
        return self._record

    def to_numpy(self, dtype: npt.DTypeLike | None = None) -> np.ndarray[Any, Any]:
        """Takes all submitted records, as a read-only array of the type that `typed` has set, or of a NumPy type.

        Raises MapError without a type, and where a record has not the size of the type; then none is taken.
        """
        import numpy as np

        kind = np.dtype(self._typed().dtype if dtype is None else dtype)
        if kind.hasobject or kind.itemsize == 0:
            raise MapError(_EINVAL, f"{kind} is not the type of bytes", map=self.name)
        data, _ = self._take(kind.itemsize, self._typed().name if dtype is None else str(kind))
        return np.frombuffer(data, kind)

    def to_arrow(self) -> pa.Table:
        """Takes all submitted records, as an Arrow table with a column a member.

        Raises MapError without a type, and where a record has another size; then none is taken.
        """
        from axebpf.tables import arrow_table, columns_of

        record = self._typed()
        data, count = self._take(record.size, record.name)
        return arrow_table(columns_of(record, "value", data, count, record.size))

    def __repr__(self) -> str:
        try:
            waiting = f"{len(self)} records"
        except BenchClosed:
            waiting = "of a closed bench"
        record = self._record.name if self._record else "bytes"
        return f"<{type(self).__name__} {self.name}: {self.type} of {record}, {waiting}>"
