"""Entries of maps as rows of named cells: a column for each member of key and value, for terminals and notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from axebpf.entries import PerCpu
from axebpf.tables import HTML_ROWS, html_table, rich_table

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["adds", "cell", "cells", "html_entries", "leaves", "rich_entries"]

_MANY_CPUS = 8
"""CPUs that have columns of their own; of more, only the sum is shown."""


def leaves(value: Any, name: str) -> list[tuple[str, Any]]:
    """The members of a structure by name, those of structures in it as `outer.inner`; `name` for any other value.

    >>> import collections
    >>> leaves(collections.namedtuple("key", "vm_id reason")(1, 7), "key")
    [('vm_id', 1), ('reason', 7)]
    """
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        found = []
        for member, inner in zip(value._fields, value, strict=True):
            for path, leaf in leaves(inner, ""):
                found.append((f"{member}.{path}" if path else member, leaf))
        return found
    return [(name, value)]


def adds(value: PerCpu) -> bool:
    """Whether the values of all CPUs can be added: they are numbers, or structures of numbers."""
    return all(isinstance(leaf, int) for _, leaf in leaves(value[0], ""))


def cells(key: Any, value: Any, key_name: str = "key") -> list[tuple[str, Any]]:
    """One entry as named cells. Of a per-CPU map, numbers have a column a CPU and their sum, structures their sum.

    >>> cells(3, PerCpu([1, 2]))
    [('key', 3), ('cpu0', 1), ('cpu1', 2), ('sum', 3)]
    """
    keys = leaves(key, key_name)
    if not isinstance(value, PerCpu):
        return keys + leaves(value, "value")
    if len(leaves(value[0], "")) > 1 or not isinstance(value[0], int):
        return keys + (leaves(value.sum(), "sum") if adds(value) else [(f"cpu{n}", v) for n, v in enumerate(value)])
    if len(value) <= _MANY_CPUS:
        keys += [(f"cpu{number}", item) for number, item in enumerate(value)]
    return [*keys, ("sum", value.sum())]


def _rows(entries: Iterator[tuple[Any, Any]], key_name: str) -> tuple[list[str], list[list[Any]]]:
    """The names of the columns, and the cells of the first entries."""
    lines = [cells(key, value, key_name) for key, value in islice(entries, HTML_ROWS)]
    head = [name for name, _ in lines[0]] if lines else []
    return head, [[cell(value) for _, value in line] for line in lines]


def cell(value: Any) -> Any:
    """A value as a cell shows it: bytes as text or hexadecimal, what has a name by its name."""
    if isinstance(value, bytes):
        return value.decode() if all(0x20 <= byte < 0x7F for byte in value) else value.hex(" ")
    return getattr(value, "name", value)


def html_entries(title: str, entries: Iterator[tuple[Any, Any]], total: int, key_name: str = "key") -> str:
    """Entries as a table for a notebook."""
    head, rows = _rows(entries, key_name)
    return html_table(title, head, rows, total)


def rich_entries(title: str, entries: Iterator[tuple[Any, Any]], total: int, key_name: str = "key") -> Table | Text:
    """Entries as a table for a terminal."""
    head, rows = _rows(entries, key_name)
    return rich_table(title, head, rows, total)
