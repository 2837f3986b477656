"""Queues and stacks: values that are pushed and taken again, typed by BTF."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from axebpf.maps import Map

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["QueueMap"]


class QueueMap(Map):
    """A `queue` or `stack`. Iterating does not take: `list(q)` is what `pop` would give, one by one."""

    def append(self, value: Any) -> None:
        """Pushes a value. Raises MapError E2BIG when it is full."""
        self.push(self._encode_value(value))

    def take(self) -> Any:
        """Pops a value. Raises IndexError when it is empty."""
        data = self.pop()
        if data is None:
            raise IndexError(f"{self.name} is empty")
        return self._decode_value(data)

    def __iter__(self) -> Iterator[Any]:
        return (self._decode_value(value) for _, value in self._entries())

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """A copy of the values as an array, in the order of `pop`."""
        import numpy as np

        return np.frombuffer(self._native.dump()[1], self.value_type.dtype)

    def to_arrow(self) -> pa.Table:
        """A copy as an Arrow table, in the order of `pop`: a column a member, else `value`."""
        from axebpf.tables import arrow_table, columns_of

        _, values, count = self._native.dump()
        return arrow_table(columns_of(self.value_type, "value", values, count, self.value_size))

    def _html_rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        from axebpf.tables import HTML_ROWS

        return [self.value_type.name], [(value,) for value, _ in zip(self, range(HTML_ROWS), strict=False)]
