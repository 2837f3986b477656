"""The values of one CPU of a per-CPU map, as `m.per_cpu(cpu)` gives them.

>>> import axebpf
>>> with axebpf.Bench(cpus=2) as bench:
...     counts = bench.create_map("percpu_array", 4, 8, max_entries=3)
...     second = counts.per_cpu(1)
...     second[2] = 7
...     second[2], second[1:], counts[2]
(7, [0, 7], (0, 7))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from axebpf.errors import MapError

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table
    from rich.text import Text

    from axebpf.maps import _Keyed

__all__ = ["CpuValues"]

_EINVAL = 22


class CpuValues(Mapping[Any, Any]):
    """A mapping of the keys of a per-CPU map to the values of one CPU. It reads and writes the map.

    Writing leaves the values of other CPUs as they are; a key that is not there comes with zeroes for them. An entry is
    deleted for all CPUs, so the map does that.
    """

    def __init__(self, of: _Keyed, cpu: int) -> None:
        if not of.is_per_cpu:
            raise MapError(_EINVAL, f"it has no values for each CPU: its type is {of.type}", map=of.name)
        if not 0 <= cpu < of._cpus:
            raise MapError(_EINVAL, f"no CPU {cpu}; this bench has {of._cpus}, from 0", map=of.name)
        self._of = of
        self.cpu = cpu
        """The CPU."""

    def __getitem__(self, key: Any) -> Any:
        """The CPU's value of a key; of an array also the list of those of a slice. Raises KeyNotFound."""
        found = self._of[key]
        return [values[self.cpu] for values in found] if isinstance(key, slice) else found[self.cpu]

    def __setitem__(self, key: Any, value: Any) -> None:
        """Sets the CPU's value of a key. Raises MapError for what the map does not take."""
        of = self._of
        data = of._encoded("value", of.value_type, value)
        of._native.update_cpu(of._encoded("key", of.key_type, key), self.cpu, data)

    update = MutableMapping.update

    def __contains__(self, key: object) -> bool:
        return key in self._of

    def __iter__(self) -> Iterator[Any]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def items(self) -> Any:
        """Keys and values, as they are when the walk begins."""
        return [(key, values[self.cpu]) for key, values in self._of.items()]

    def values(self) -> Any:
        """Values, as they are when the walk begins."""
        return [values[self.cpu] for values in self._of.values()]

    def to_dict(self) -> dict[Any, Any]:
        """A copy as a plain dictionary."""
        return dict(self.items())

    def to_numpy(self, *, copy: bool | None = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """All keys and the CPU's values, as `to_numpy` of the map has them, which says when they are copies."""
        keys, values = self._of.to_numpy(copy=copy)
        return keys, values[:, self.cpu]

    def _repr_html_(self) -> str:
        """What a notebook shows: the first entries."""
        from axebpf.entry_table import html_entries

        return html_entries(*self._table())

    def __rich__(self) -> Table | Text:
        """What `rich.print` shows: the first entries."""
        from axebpf.entry_table import rich_entries

        return rich_entries(*self._table())

    def _table(self) -> tuple[str, Iterator[tuple[Any, Any]], int]:
        _, entries, count = self._of._table()
        return repr(self)[1:-1], ((key, values[self.cpu]) for key, values in entries), count

    def __repr__(self) -> str:
        return f"<CPU {self.cpu} of {repr(self._of)[1:]}"
