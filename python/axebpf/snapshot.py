"""Copies of what is in maps, and what changed between two of them.

>>> import axebpf
>>> with axebpf.Bench() as bench:
...     counts = bench.create_map("hash", 4, 8, max_entries=10, name="COUNTS")
...     counts.update({1: 5, 2: 5})
...     before = counts.snapshot()
...     counts.update({2: 8, 3: 1})
...     after = counts.snapshot()
>>> print(before.diff(after))
+ 3: 1
~ 2: 5 -> 8 (+3)
>>> (after - before).deltas
{3: 1, 2: 3}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from axebpf.difference import Change, Diff, Diffs, QueueDiff
from axebpf.entries import Entries, Typed
from axebpf.errors import KeyNotFound, MapError, NotFound, did_you_mean
from axebpf.maps import Map

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from axebpf.maps import _Keyed
    from axebpf.queue_map import QueueMap

__all__ = ["QueueSnapshot", "Snapshot", "Snapshots"]


class _Copy(Typed):
    """A map as it was."""

    def __init__(self, of: _Keyed | QueueMap) -> None:
        super().__init__(of.key_type, of.value_type, of._cpus)
        self._name, self._type = of.name, of.type
        self._data = of._dump()

    @property
    def name(self) -> str:
        """The map's name."""
        return self._name

    @property
    def type(self) -> str:
        """The map's kind, by the kernel's name."""
        return self._type

    def _dump(self) -> tuple[bytes, bytes, int]:
        return self._data

    def __len__(self) -> int:
        """Entries that the map had."""
        return self._data[2]

    def _same_types(self, other: _Copy) -> None:
        if not isinstance(other, _Copy):
            raise TypeError(f"{self.name} is compared with a snapshot or a map, not with {type(other).__name__}")
        if type(self) is not type(other) or (isinstance(self, QueueSnapshot) and self.type != other.type):
            raise TypeError(f"{self.name} is of type {self.type}, {other.name} of type {other.type}")
        for what, one, two in (
            ("keys", self.key_type, other.key_type),
            ("values", self.value_type, other.value_type),
        ):
            if one.layout != two.layout:
                raise TypeError(f"{self.name} has {what} of {one.name}, {other.name} of {two.name}")
        cpus = [side._cpus if side.is_per_cpu else 0 for side in (self, other)]
        if cpus[0] != cpus[1]:
            raise TypeError(f"{self.name} has values for {cpus[0]} CPUs, {other.name} for {cpus[1]}")


class Snapshot(_Copy, Entries):
    """The entries of a map as they were: a mapping that equals any other with the same entries. It can be pickled.

    `before.diff(after)`, which is `after - before`, tells two of them apart. Of maps and programs it has the numbers.
    """

    _index: dict[bytes, bytes] | None = None

    def __getitem__(self, key: Any) -> Any:
        """The value that a key had. Raises KeyNotFound (a KeyError) where there was none."""
        found = self._find(key)
        if found is None:
            raise KeyNotFound(2, f"no entry with the key {key!r}", map=self.name)
        return self._decode_value(found)

    def __contains__(self, key: object) -> bool:
        try:
            return self._find(key) is not None
        except MapError:
            return False

    def _find(self, key: Any) -> bytes | None:
        if self._index is None:
            self._index = dict(self._entries())
        return self._index.get(self._encoded("key", self.key_type, key))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_index"}

    def diff(self, after: Snapshot | _Keyed) -> Diff:
        """What changed from this snapshot to a later one, or to the map as it is now.

        Raises TypeError where the two have keys or values of different types.
        """
        later: Snapshot = after.snapshot() if isinstance(after, Map) else after
        self._same_types(later)
        old, new = dict(self._entries()), dict(later._entries())
        # What differs is found without Python code for each entry, then put into the order of the walk.
        differ, gone = new.items() - old.items(), old.keys() - new.keys()
        added, changed = {}, {}
        for key, value in (entry for entry in new.items() if entry in differ):
            decoded = later._decode_value(value)
            if key not in old:
                added[self._decode_key(key)] = decoded
            elif (before := self._decode_value(old[key])) != decoded:  # not only the padding of a structure
                changed[self._decode_key(key)] = Change(before, decoded)
        removed = {self._decode_key(key): self._decode_value(value) for key, value in old.items() if key in gone}
        return Diff(later.name, added, removed, changed)

    def __sub__(self, before: object) -> Diff:
        return before.diff(self) if isinstance(before, Snapshot) else NotImplemented

    def __repr__(self) -> str:
        types = f"{self.key_type.name} to {self.value_type.name}"
        return f"<Snapshot {self.name}: {self.type} of {types}, {len(self)} entries>"


class QueueSnapshot(_Copy, Sequence[Any]):
    """The values of a queue or a stack as they were, in the order of `pop`. It can be pickled."""

    __hash__ = None  # type: ignore[assignment]
    _key_name = "#"

    def _values(self) -> list[bytes]:
        return [value for _, value in self._entries()]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        found = self._values()[index]
        return [self._decode_value(value) for value in found] if isinstance(found, list) else self._decode_value(found)

    def __iter__(self) -> Iterator[Any]:
        return (self._decode_value(value) for _, value in self._entries())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return list(self) == list(other)

    def diff(self, after: QueueSnapshot | QueueMap) -> QueueDiff:
        """What was taken and what was pushed from this snapshot to a later one, or to the queue as it is now.

        Of all that may have happened, it tells what takes the fewest operations. Raises TypeError for values of
        different types, or a queue and a stack.
        """
        later: QueueSnapshot = after.snapshot() if isinstance(after, Map) else after
        self._same_types(later)
        old, new = self._values(), later._values()
        if self.type == "queue":
            kept = _overlap(old, new)
            taken, pushed = old[: len(old) - kept], new[kept:]
        else:
            kept = _common_end(old, new)
            taken, pushed = old[: len(old) - kept], new[: len(new) - kept]
        return QueueDiff(
            later.name,
            [later._decode_value(value) for value in pushed],
            [self._decode_value(value) for value in taken],
        )

    def __sub__(self, before: object) -> QueueDiff:
        return before.diff(self) if isinstance(before, QueueSnapshot) else NotImplemented

    def _shown(self) -> tuple[Iterator[tuple[Any, Any]], int]:
        return enumerate(self), len(self)

    def __repr__(self) -> str:
        return f"<QueueSnapshot {self.name}: {self.type} of {self.value_type.name}, {len(self)} values>"


def _common_end(old: list[bytes], new: list[bytes]) -> int:
    """How many values at their ends two lists share."""
    count = 0
    for one, two in zip(reversed(old), reversed(new), strict=False):
        if one != two:
            break
        count += 1
    return count


def _overlap(old: list[bytes], new: list[bytes]) -> int:
    """How many values the longest end of `old` has that `new` begins with, in linear time (Knuth, Morris and Pratt)."""
    if not new:
        return 0
    # borders[n]: of the first n + 1 values of `new`, how long the longest shorter end is that `new` begins with.
    borders = [0] * len(new)

    def longer(matched: int, value: bytes) -> int:
        while matched == len(new) or (matched and new[matched] != value):
            matched = borders[matched - 1]
        return matched + (new[matched] == value)

    for place in range(1, len(new)):
        borders[place] = longer(borders[place - 1], new[place])
    matched = 0
    for value in old:
        matched = longer(matched, value)
    return matched


class Snapshots(Mapping[str, Any]):
    """The maps of a bench as they were, by name: a Snapshot or a QueueSnapshot each.

    `before.diff(after)`, which is `after - before`, tells what changed.
    """

    def __init__(self, copies: Mapping[str, Snapshot | QueueSnapshot]) -> None:
        self._copies = dict(copies)

    def __getitem__(self, name: str) -> Any:
        """The copy of the map of a name. Raises NotFound, which names the nearest one."""
        if name not in self._copies:
            raise NotFound(f"no map {name}{did_you_mean(name, self._copies)}")
        return self._copies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._copies)

    def __len__(self) -> int:
        return len(self._copies)

    def diff(self, after: Snapshots) -> Diffs:
        """What changed in each map until a later snapshot. Raises TypeError for a map whose types are not the same."""
        both = [name for name in self if name in after]
        changed = {name: difference for name in both if (difference := self[name].diff(after[name]))}
        made, gone = ([name for name in one if name not in other] for one, other in ((after, self), (self, after)))
        return Diffs(changed, made, gone)

    def __sub__(self, before: object) -> Diffs:
        return before.diff(self) if isinstance(before, Snapshots) else NotImplemented

    def _repr_html_(self) -> str:
        from axebpf.tables import html_table

        return html_table(*self._overview())

    def __rich__(self) -> Table | Text:
        from axebpf.tables import rich_table

        return rich_table(*self._overview())

    def _overview(self) -> tuple[str, list[str], list[tuple[Any, ...]], int]:
        rows = [(name, m.type, m.key_type.name, m.value_type.name, len(m)) for name, m in self._copies.items()]
        return repr(self)[1:-1], ["name", "type", "key", "value", "entries"], rows, len(rows)

    def __repr__(self) -> str:
        return f"<Snapshots {', '.join(self._copies) or 'of no map'}>"
