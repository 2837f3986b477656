"""Queues and stacks: values that are pushed and taken again, as of a `collections.deque`.

>>> import axebpf
>>> with axebpf.Bench() as bench:
...     queue = bench.create_map("queue", 0, 8, max_entries=3)
...     stack = bench.create_map("stack", 0, 8, max_entries=3)
...     for both in queue, stack:
...         both.extend([1, 2, 3])
...     queue.pop(), list(queue), stack.pop(), list(stack)
(1, [2, 3], 3, [2, 1])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from axebpf.errors import MapError
from axebpf.maps import BPF_ANY, Map

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from axebpf.snapshot import QueueSnapshot

__all__ = ["QueueMap"]

_EINVAL = 22


class QueueMap(Map):
    """A `queue` or `stack`. `pop` takes the oldest value of a queue, and the newest of a stack.

    Iterating does not take: `list(q)` is what `pop` would give, one by one, and equals any sequence of the same values.
    An empty one is false, so that `while q: q.pop()` ends. Values are typed by BTF; bytes of the right length are taken
    as they are. The raw operations of bpf(2) are `update`, `lookup` and `lookup_and_delete` with an empty key.
    """

    __hash__ = None  # type: ignore[assignment]
    _key_name = "#"

    @property
    def maxlen(self) -> int:
        """Values that it can hold, which is `max_entries`."""
        return self.max_entries

    def append(self, value: Any) -> None:
        """Pushes a value. Raises MapError E2BIG when it is full."""
        self.push(value)

    def push(self, value: Any, flags: int = BPF_ANY) -> None:
        """Pushes a value; with BPF_EXIST, a full one drops its oldest value first, else it raises MapError E2BIG."""
        self._native.push(self._encode_value(value), flags)

    def extend(self, values: Iterable[Any]) -> None:
        """Pushes values one after the other. Where one is refused, those before it are in."""
        for value in values:
            self.push(value)

    def pop(self) -> Any:
        """Takes the oldest value of a queue, the newest of a stack. Raises IndexError when it is empty."""
        return self._value(self._native.pop())

    def popleft(self) -> Any:
        """As `pop` of a queue. Raises MapError for a stack, which gives only its newest value."""
        if self.type != "queue":
            raise MapError(_EINVAL, "a stack gives its newest value only: pop()", map=self.name)
        return self.pop()

    def peek(self) -> Any:
        """What `pop` would take. Raises IndexError when it is empty."""
        return self._value(self._native.peek())

    def _value(self, data: bytes | None) -> Any:
        if data is None:
            raise IndexError(f"{self.name} is empty")
        return self._decode_value(data)

    def clear(self) -> None:
        """Takes all values."""
        while self._native.pop() is not None:
            pass

    def __getitem__(self, index: int | slice) -> Any:
        """A value by its place in the order of `pop`, or a list of values; it does not take."""
        return list(self)[index]

    def __iter__(self) -> Iterator[Any]:
        return (self._decode_value(value) for _, value in self._entries())

    def __bool__(self) -> bool:
        return len(self) > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Sequence, QueueMap)) or isinstance(other, (str, bytes)):
            return NotImplemented
        return list(self) == list(other)

    def snapshot(self) -> QueueSnapshot:
        """A copy of the values as they are now: a sequence that does not change, and that can be pickled."""
        from axebpf.snapshot import QueueSnapshot

        return QueueSnapshot(self)

    def to_numpy(self, *, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The values as an array, in the order of `pop`. It always copies, so that `copy=False` raises ValueError.

        Without `copy=True` the copy is read-only.
        """
        if copy is False:
            raise ValueError(f"{self.name}: the values of a {self.type} have to be copied into their order")
        from axebpf.tables import strided

        _, values, count = self._native.dump()
        array: np.ndarray[Any, Any] = strided(self.value_type.dtype, (count,), values, (self.value_size,))
        return array.copy() if copy else array

    def to_arrow(self) -> pa.Table:
        """A copy as an Arrow table, in the order of `pop`: a column a member, else `value`."""
        from axebpf.tables import arrow_table, columns_of

        _, values, count = self._native.dump()
        return arrow_table(columns_of(self.value_type, "value", values, count, self.value_size))

    def _shown(self) -> tuple[Iterator[tuple[Any, Any]], int]:
        values = list(self._entries())
        return ((place, self._decode_value(value)) for place, (_, value) in enumerate(values)), len(values)
