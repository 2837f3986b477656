"""What changed between two snapshots of a map, or of all maps of a bench.

>>> diff = Diff("COUNTS", added={3: 1}, removed={}, changed={2: Change(5, 8)})
>>> print(diff)
+ 3: 1
~ 2: 5 -> 8 (+3)
>>> bool(diff), diff.changed[2].delta, diff.deltas
(True, 3, {3: 1, 2: 3})
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.entries import PerCpu
from axebpf.entry_table import cell, leaves
from axebpf.errors import NotFound, did_you_mean
from axebpf.tables import HTML_ROWS, html_table, rich_table

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["Change", "Diff", "Diffs", "QueueDiff"]


_HEAD = ["", "map", "added", "removed", "changed"]
"""The columns of what changed in a bench."""


class Change(NamedTuple):
    """A value before and after."""

    old: Any
    """Before."""
    new: Any
    """After."""

    @property
    def delta(self) -> Any:
        """The new value less the old one: numbers, or structures, arrays and CPUs member by member.

        None stands for what is no number, such as text.

        >>> Change([5, b"old"], [7, b"new"]).delta
        [2, None]
        """
        return _less(self.new, self.old)


def _less(new: Any, old: Any) -> Any:
    """The difference of two values of one type, which is as deep as the type is."""
    if isinstance(new, (tuple, list)):
        parts = [_less(*pair) for pair in zip(new, old, strict=True)]
        return type(new)(*parts) if hasattr(new, "_fields") else type(new)(parts)
    return new - old if isinstance(new, (int, float)) else None


def _nothing(value: Any) -> Any:
    """The value of the same type that is all zero."""
    if isinstance(value, (tuple, list)):
        parts = [_nothing(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return 0 if isinstance(value, (int, float)) else b""


class _Shown(ABC):
    """A difference as a table, and as lines."""

    @abstractmethod
    def _lines(self) -> Iterator[str]:
        """Each thing that changed, in text."""

    @abstractmethod
    def _rows(self) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
        """Names and cells of the rows."""

    def _table(self) -> tuple[str, Sequence[str], list[Sequence[Any]], int]:
        found = list(self._rows())
        head = found[0][0] if found else []
        return repr(self)[1:-1], head, [row for _, row in found[:HTML_ROWS]], len(found)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first rows."""
        return html_table(*self._table())

    def __rich__(self) -> Table | Text:
        """What `rich.print` shows: the first rows."""
        return rich_table(*self._table())

    def __str__(self) -> str:
        lines = list(islice(self._lines(), HTML_ROWS + 1))
        return "\n".join([*lines[:HTML_ROWS], *(["…"] if len(lines) > HTML_ROWS else [])]) or "nothing changed"


class Diff(_Shown):
    """What changed in a map with keys. It is true if anything did."""

    def __init__(
        self, name: str, added: Mapping[Any, Any], removed: Mapping[Any, Any], changed: Mapping[Any, Change]
    ) -> None:
        self.name = name
        """The map's name."""
        self.added = dict(added)
        """Entries that came, with their values."""
        self.removed = dict(removed)
        """Entries that went, with the values that they had."""
        self.changed = dict(changed)
        """Entries with another value than before."""

    @property
    def deltas(self) -> dict[Any, Any]:
        """By how much each key's numbers have grown, member by member; an entry that is not there counts as zeroes.

        None stands for what is no number, such as text.
        """
        grown = {key: _less(value, _nothing(value)) for key, value in self.added.items()}
        grown |= {key: _less(_nothing(value), value) for key, value in self.removed.items()}
        return grown | {key: change.delta for key, change in self.changed.items()}

    def __len__(self) -> int:
        """Keys that are not the same."""
        return len(self.added) + len(self.removed) + len(self.changed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Diff):
            return NotImplemented
        return (self.added, self.removed, self.changed) == (other.added, other.removed, other.changed)

    __hash__ = None  # type: ignore[assignment]

    def _lines(self) -> Iterator[str]:
        yield from (f"+ {key}: {value}" for key, value in self.added.items())
        yield from (f"- {key}: {value}" for key, value in self.removed.items())
        for key, change in self.changed.items():
            parts = [
                f"{name}{' ' if name else ''}{old} -> {new}{'' if delta is None else f' ({delta:+})'}"
                for name, old, new, delta in _members(change, "")
            ]
            yield f"~ {key}: {', '.join(parts)}"

    def _rows(self) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
        changes = [("+", key, Change(None, value)) for key, value in self.added.items()]
        changes += [("-", key, Change(value, None)) for key, value in self.removed.items()]
        changes += [("~", key, change) for key, change in self.changed.items()]
        for sign, key, change in changes:
            names, keys = zip(*leaves(key, "key"), strict=True)
            for name, old, new, delta in _members(change, "value"):
                values = ["" if value is None else cell(value) for value in (old, new, delta)]
                yield ["", *names, "member", "before", "after", "delta"], [sign, *map(cell, keys), name, *values]

    def __repr__(self) -> str:
        return f"<Diff {self.name}: {len(self.added)} added, {len(self.removed)} removed, {len(self.changed)} changed>"


def _parts(value: Any, name: str) -> list[tuple[str, Any]]:
    """The members of a value by name, those of each CPU too."""
    if isinstance(value, PerCpu):
        found = [(cpu, leaves(part, "")) for cpu, part in enumerate(value)]
        return [(f"cpu{cpu}.{member}".rstrip("."), leaf) for cpu, inner in found for member, leaf in inner]
    return leaves(value, name)


def _members(change: Change, name: str) -> Iterator[tuple[str, Any, Any, Any]]:
    """The members that are not the same: name, before, after, and the difference of numbers."""
    if change.old is None or change.new is None:
        value = change.new if change.old is None else change.old
        for member, leaf in _parts(value, name):
            yield member, *((None, leaf, None) if change.old is None else (leaf, None, None))
        return
    for (member, old), (_, new) in zip(_parts(change.old, name), _parts(change.new, name), strict=True):
        if old != new:
            yield member, old, new, new - old if isinstance(new, (int, float)) else None


class QueueDiff(_Shown):
    """What changed in a queue or a stack, in the order of `pop`. It is true if anything did."""

    def __init__(self, name: str, added: Sequence[Any], removed: Sequence[Any]) -> None:
        self.name = name
        """The map's name."""
        self.added = list(added)
        """Values that were pushed."""
        self.removed = list(removed)
        """Values that were taken."""

    def __len__(self) -> int:
        """Values that were pushed or taken."""
        return len(self.added) + len(self.removed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QueueDiff):
            return NotImplemented
        return (self.added, self.removed) == (other.added, other.removed)

    __hash__ = None  # type: ignore[assignment]

    def _lines(self) -> Iterator[str]:
        yield from (f"- {value}" for value in self.removed)
        yield from (f"+ {value}" for value in self.added)

    def _rows(self) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
        for sign, values in (("-", self.removed), ("+", self.added)):
            for value in values:
                names, members = zip(*leaves(value, "value"), strict=True)
                yield ["", *names], [sign, *map(cell, members)]

    def __repr__(self) -> str:
        return f"<QueueDiff {self.name}: {len(self.added)} pushed, {len(self.removed)} taken>"


class Diffs(_Shown, Mapping[str, Any]):
    """What changed in the maps of a bench, by name: of each that changed, a Diff or a QueueDiff."""

    def __init__(self, changed: Mapping[str, Diff | QueueDiff], made: Sequence[str], gone: Sequence[str]) -> None:
        self._changed = dict(changed)
        self.made = list(made)
        """Names of maps that only the later snapshot has."""
        self.gone = list(gone)
        """Names of maps that only the earlier snapshot has."""

    def __getitem__(self, name: str) -> Any:
        """What changed in a map. Raises NotFound for one that did not change, or that there is not."""
        if name not in self._changed:
            raise NotFound(f"no change in a map {name}{did_you_mean(name, self._changed)}")
        return self._changed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._changed)

    def __len__(self) -> int:
        return len(self._changed)

    def __bool__(self) -> bool:
        return bool(self._changed or self.made or self.gone)

    def _lines(self) -> Iterator[str]:
        yield from (f"+ map {name}" for name in self.made)
        yield from (f"- map {name}" for name in self.gone)
        for name, difference in self._changed.items():
            yield f"{name}:"
            yield from (f"  {line}" for line in difference._lines())

    def _rows(self) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
        for name, difference in self._changed.items():
            counts = (len(difference.added), len(difference.removed), len(getattr(difference, "changed", ())))
            yield _HEAD, ["~", name, *counts]
        for sign, names in (("+", self.made), ("-", self.gone)):
            for name in names:
                yield _HEAD, [sign, name, "", "", ""]

    def __repr__(self) -> str:
        names = [*self._changed, *(f"+{name}" for name in self.made), *(f"-{name}" for name in self.gone)]
        return f"<Diffs {', '.join(names) or 'of no map'}>"
