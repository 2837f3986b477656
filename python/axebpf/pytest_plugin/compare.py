"""`assert bench.maps["EXITS"] == {...}`: what differs, key by key and member by member."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from axebpf.bloom_filter import BloomFilter
from axebpf.entries import Entries, PerCpu, Typed
from axebpf.errors import AxebpfError
from axebpf.pytest_plugin.text import shown
from axebpf.queue_map import QueueMap
from axebpf.ring_buffer import RingBuffer
from axebpf.snapshot import QueueSnapshot

__all__ = ["explain"]

MOST = 30
"""Differences that are shown without `-vv`."""


def explain(left: object, right: object, *, everything: bool = False) -> list[str] | None:
    """Why a comparison with a map, or with values that came from maps, did not hold; None for any other.

    The first line stands for the comparison; each other line is a difference.
    """
    # What came from a map may stand on either side.
    found, expected = (left, right) if _is_ours(left) else (right, left)
    if not _is_ours(found):
        return None
    try:
        title, lines = _compared(found, expected)
    except AxebpfError as error:  # a map of a closed bench, or one that only programs may read
        return [f"{shown(found)} == {shown(expected)}", str(error)]
    if not everything and len(lines) > MOST:
        lines = [*lines[:MOST], f"{len(lines) - MOST} more; -vv shows them"]
    return [title, *lines]


def _is_ours(value: object) -> bool:
    """Whether it is a map or came from one: a structure, the values of all CPUs, or a list that begins with such."""
    if isinstance(value, list):
        value = value[0] if value else None
    return isinstance(value, (Typed, PerCpu)) or (isinstance(value, tuple) and type(value).__module__ == "axebpf.btf")


def _compared(found: Any, expected: Any) -> tuple[str, list[str]]:
    """A line for the comparison, and the differences."""
    if isinstance(found, RingBuffer):
        return f"{found.name} is a ring buffer", ["compare its records: .read(), which takes them"]
    if isinstance(found, BloomFilter):
        return f"{found.name} is a bloom filter", ["ask it for one value after the other: value in filter"]
    if isinstance(found, (QueueMap, QueueSnapshot)):
        if isinstance(expected, Iterable):
            values = list(expected)
            return f"{found.name} == {shown(values)}", list(_differences("", list(found), values))
        return f"{found.name} is a {found.type}, and equals a list", [f"its values: {shown(list(found))}"]
    if isinstance(found, Entries):
        if isinstance(expected, Entries):
            return f"{found!r} == {expected!r}", list(_of_map(found, expected.to_dict()))
        if isinstance(expected, Mapping):
            return f"{found.name} == {shown(dict(expected))}", list(_of_map(found, expected))
        return f"{found.name} is a map, and equals a dictionary", [f"its entries: {shown(found.to_dict())}"]
    return f"{shown(_named(found, expected))} == {shown(expected)}", list(_differences("", found, expected))


def _of_map(found: Entries, expected: Mapping[Any, Any]) -> Iterator[str]:
    """What differs, then what is missing, then what was not expected."""
    there = found.to_dict()
    like = next(iter(expected), None)
    for key in expected:
        if key in there:
            yield from _differences(_key(found, key, like), there[key], expected[key])
    for key in expected:
        if key not in there:
            yield f"{_key(found, key, like)}: missing, expected {_value(found, expected[key])}"
    in_array = found.type in ("array", "percpu_array")
    zero = found.value_type.decode(bytes(found.value_type.size))
    zeros = 0
    for key, value in there.items():
        if key in expected:
            continue
        if in_array and (all(v == zero for v in value) if found.is_per_cpu else value == zero):
            zeros += 1
        else:
            yield f"{_key(found, key, like)}: not expected, is {shown(value)}"
    if zeros:
        yield f"{zeros} zeros not expected: an array has every index from 0 to {len(found) - 1}"


def _key(found: Entries, key: Any, like: Any) -> str:
    """A key by the members of its type, with the names of values that the expectation uses."""
    try:
        typed = found.key_type.decode(found.key_type.encode(key))
    except (TypeError, ValueError) as error:
        return f"{shown(key)}, which cannot be a key ({error})"
    text = shown(_named(_named(typed, key), like))
    return f"[{text[1:-1] if isinstance(typed, tuple) else text}]"


def _value(found: Entries, value: Any) -> str:
    """An expected value by the members of its type, where it is one of it."""
    try:
        return shown(_named(found._decode_value(found._encode_value(value)), value))
    except AxebpfError:
        return shown(value)


def _named(value: Any, like: Any) -> Any:
    """A value in which numbers are members of the enumerations that stand in the same places of another one."""
    if isinstance(like, enum.Enum) and isinstance(value, int) and not isinstance(value, enum.Enum):
        try:
            return type(like)(value)
        except ValueError:
            return value
    if isinstance(value, (tuple, list)) and isinstance(like, (tuple, list)) and len(value) == len(like):
        items = [_named(*pair) for pair in zip(value, like, strict=True)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _differences(path: str, found: Any, expected: Any) -> Iterator[str]:
    """One line for each part that differs, with the way to it."""
    if found == expected:
        return
    subject = f"{path.removeprefix('.')} " if path else ""
    if not (isinstance(found, (tuple, list)) and isinstance(expected, (tuple, list))):
        is_, want = shown(_named(found, expected)), shown(_named(expected, found))
        also = "; a structure equals a tuple" if hasattr(found, "_fields") and isinstance(expected, Mapping) else ""
        yield f"{subject}is {is_}, expected {want}{also}"
        return
    inner = [
        line
        for step, one, other in zip(_steps(found), found, expected, strict=False)
        for line in _differences(f"{path}{step}", one, other)
    ]
    yield from inner
    if len(found) != len(expected):
        members = f" ({', '.join(found._fields)})" if isinstance(found, tuple) and hasattr(found, "_fields") else ""
        yield f"{subject}has {len(found)} values{members}, expected {len(expected)}"
        for index in range(len(expected), len(found)):
            yield f"{path}[{index}]: not expected, is {shown(found[index])}"
        for index in range(len(found), len(expected)):
            yield f"{path}[{index}]: missing, expected {shown(expected[index])}"
    elif not inner:
        kinds = ["a list" if isinstance(value, list) else "a tuple" for value in (found, expected)]
        yield f"{subject}is {kinds[0]}, expected {kinds[1]}"


def _steps(found: tuple[Any, ...] | list[Any]) -> list[str]:
    """The ways to the parts of a value."""
    if isinstance(found, PerCpu):
        return [f"[cpu{cpu}]" for cpu in range(len(found))]
    if isinstance(found, tuple) and hasattr(found, "_fields"):
        return [f".{member}" for member in found._fields]
    return [f"[{index}]" for index in range(len(found))]
