"""Typed values of maps as cells of a table and as JSON."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from axebpf.cli.units import duration, number
from axebpf.entries import PerCpu
from axebpf.entry_table import adds

__all__ = ["Enums", "cell", "named", "plain"]

Enums = Mapping[str, type[enum.IntEnum] | type[enum.IntFlag]]
"""Meaning of numbers by the name of the member that holds them."""


def cell(name: str, value: Any, enums: Enums, *, pretty: bool) -> str:
    """A value as text: with its unit on a terminal, exact anywhere else.

    >>> cell("total_ns", 12_345, {}, pretty=True), cell("total_ns", 12_345, {}, pretty=False)
    ('12.3 µs', '12345')
    """
    if isinstance(value, enum.IntEnum):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        meaning = enums.get(name.rpartition(".")[2])
        if meaning is not None:
            known = named(meaning, value)
            if known is not None:
                return known
        if not pretty:
            return str(value)
        return duration(value) if name.endswith("_ns") else number(value)
    if isinstance(value, bytes):
        text = _text(value)
        return value.hex(" ") if text is None else text
    if isinstance(value, (list, tuple)):
        return " ".join(cell(name, item, enums, pretty=pretty) for item in value)
    return str(getattr(value, "name", value))  # a map or program that is in a map


def named(meaning: type[enum.IntEnum] | type[enum.IntFlag], value: int) -> str | None:
    """The name of a value, of flags joined with `|`; None for a value that has none."""
    try:
        return meaning(value).name
    except ValueError:
        return None


def _text(data: bytes) -> str | None:
    """The bytes as text, where they are one."""
    return data.decode() if all(0x20 <= byte < 0x7F for byte in data) else None


def plain(value: Any) -> Any:
    """A value as JSON has them: structures as objects, bytes as a text or, if they are none, as `{"hex": digits}`.

    >>> plain([PerCpu([1, 2]), b"axvisor", bytes(2), True])
    [{'cpus': [1, 2], 'sum': 3}, 'axvisor', {'hex': '0000'}, True]
    """
    if isinstance(value, PerCpu):
        whole = {"cpus": [plain(item) for item in value]}
        return {**whole, "sum": plain(value.sum())} if adds(value) else whole
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        text = _text(value)
        return {"hex": value.hex()} if text is None else text
    return int(value) if isinstance(value, enum.IntEnum) else getattr(value, "name", value)
