"""Perf event arrays: records that programs write with `bpf_perf_event_output`, in a buffer a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from axebpf.errors import MapError
from axebpf.ring_buffer import RingBuffer

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PerfEventArray", "PerfRecord"]

_EINVAL = 22
_PAGE = 4096


class PerfRecord(NamedTuple):
    """A record of a perf event array."""

    cpu: int
    """The CPU that wrote it."""
    time_ns: int
    """When, in nanoseconds since boot."""
    data: Any
    """What the program wrote: bytes, or a value of the type that `typed` has set.

    On Linux, up to seven bytes of padding follow.
    """


class PerfEventArray(RingBuffer):
    r"""A `perf_event_array`. Iterating consumes: each record is given once, of all CPUs in the order of writing.

    The bench is its reader: it opens a buffer of 64 pages for each CPU when the map is made, as readers on Linux do,
    and an entry is that of the CPU of its index. A record that finds no room is lost, which the program sees (ENOSPC)
    and `lost` counts. `close` and `open` show what a program does without a reader. Other than those of a ring buffer,
    records are gone also where `to_numpy` or `to_arrow` raises MapError, because one is shorter than its type.

    >>> from axebpf import Bench, assemble
    >>> bench = Bench(cpus=2)
    >>> events = bench.create_map("perf_event_array", 4, 4, 2)
    >>> text = '''
    ... *(u64 *)(r10 -8) = 7
    ... r2 = map[1]
    ... r3 = 4294967295 ll
    ... r4 = r10
    ... r4 += -8
    ... r5 = 8
    ... call bpf_perf_event_output
    ... exit'''
    >>> program = bench.load_bytes(assemble(text), type="tracepoint", maps={1: events})
    >>> program.run(bytes(16), cpu=1, time_ns=5).r0
    0
    >>> list(events)
    [PerfRecord(cpu=1, time_ns=5, data=b'\x07\x00\x00\x00\x00\x00\x00\x00')]
    """

    @overload
    def consume(self, *, cpu: int | None = None) -> PerfRecord | None: ...
    @overload
    def consume(self, callback: Callable[[Any], object], most: int | None = None, *, cpu: int | None = None) -> int: ...
    def consume(
        self, callback: Callable[[Any], object] | None = None, most: int | None = None, *, cpu: int | None = None
    ) -> Any:
        """As of a `RingBuffer`, of a CPU or of all."""
        return self._consume(lambda: self._oldest(cpu), callback, most)

    def _oldest(self, cpu: int | None = None) -> PerfRecord | None:
        record = self._native.read(cpu)
        if record is None:
            return None
        on, time_ns, data = record
        return PerfRecord(on, time_ns, data if self._record is None else self._record.decode(data))

    def of_cpu(self, cpu: int) -> Iterator[PerfRecord]:
        """The records of one CPU, consumed as they are given."""
        while (record := self._oldest(cpu)) is not None:
            yield record

    @property
    def lost(self) -> dict[int, int]:
        """How many records found no room so far, by CPU."""
        return dict(self._native.lost())

    def open(self, cpu: int, pages: int = 64) -> None:
        """Opens an empty buffer for a CPU, of so many pages, a power of two; what an older one holds is gone.

        Raises MapError: E2BIG beyond `max_entries`, EPERM for a map that the bench may not write to.
        """
        if pages < 1 or pages & (pages - 1) or pages > 1 << 15:
            raise MapError(_EINVAL, f"{pages} pages; a buffer has a power of two of them, up to 32768", map=self.name)
        self._native.open(cpu, pages * _PAGE)

    def close(self, cpu: int) -> None:
        """Closes the buffer of a CPU to programs (ENOENT for them); what it holds can still be read.

        Raises KeyNotFound where none is open.
        """
        self.delete(cpu.to_bytes(4, "little"))

    def is_open(self, cpu: int) -> bool:
        """Whether programs can write to the buffer of a CPU."""
        return self._native.is_open(cpu)

    def _next(self) -> bytes | None:
        record = self._native.read()
        return None if record is None else record[2]

    def _take(self, size: int, name: str) -> tuple[bytes, int]:
        """As of a `RingBuffer`, of records that may be longer: on Linux, padding follows."""
        records: list[bytes] = []
        while (data := self._next()) is not None:
            if len(data) < size:
                raise MapError(_EINVAL, f"record {len(records)} has {len(data)} bytes, {name} {size}", map=self.name)
            records.append(data[:size])
        return b"".join(records), len(records)

    def to_arrow(self) -> pa.Table:
        """Takes all records, as an Arrow table: `cpu`, `time_ns`, and a column a member, else `value` (bytes)."""
        from axebpf.tables import arrow_table, columns_of

        cpus, times, data = [], [], []
        while (record := self._native.read()) is not None:
            cpus.append(record[0])
            times.append(record[1])
            data.append(record[2])
        columns: dict[str, Any] = {"cpu": cpus, "time_ns": times}
        if self._record is None:
            return arrow_table(columns | {"value": data})
        size = self._record.size
        short = next((n for n, each in enumerate(data) if len(each) < size), None)
        if short is not None:
            message = f"record {short} has {len(data[short])} bytes, {self._record.name} {size}"
            raise MapError(_EINVAL, message, map=self.name)
        joined = b"".join(each[:size] for each in data)
        return arrow_table(columns | columns_of(self._record, "value", joined, len(data), size))
