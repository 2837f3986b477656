"""The kinds of maps: what there is, what it is for, and what may be done with it.

Linux numbers 33 kinds of maps (`enum bpf_map_type`); `MAP_KINDS` has them all, with what is known of those that axebpf
has. The facts are those by which the core makes maps and refuses programs; they were asked of Linux 6.18.

>>> queue = MAP_KINDS["queue"]
>>> queue.number, queue.title, queue.keys, queue.helpers
(22, 'queue', 'none', ('bpf_map_push_elem', 'bpf_map_pop_elem', 'bpf_map_peek_elem'))
>>> MAP_KINDS["arena"].offered
False
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from axebpf import _native

__all__ = ["MAP_KINDS", "MapKind", "kinds_table", "uses_table"]


class MapKind(NamedTuple):
    """A kind of map."""

    number: int
    """Its number in `enum bpf_map_type`."""
    name: str
    """What `create_map` calls it: the kernel's name in lower case."""
    offered: bool
    """Whether axebpf has such maps. Of the others nothing else is known here."""
    title: str = ""
    """What a person calls it."""
    keys: str = ""
    """How entries are found: by `index`, by `bytes`, by `prefix`; `none`: in order, or not at all."""
    per_cpu: bool = False
    """Whether each CPU has a value of its own."""
    flags: tuple[str, ...] = ()
    """Creation flags that it takes."""
    helpers: tuple[str, ...] = ()
    """Helpers that it may be given to."""
    commands: tuple[str, ...] = ()
    """Commands of bpf(2) that it has and not every kind has; others answer ENOTSUPP."""
    programs: tuple[str, ...] = ()
    """Types of program that may use it."""


def _kind(number: int, name: str, rules: tuple[str, str, bool, list[list[str]]] | None) -> MapKind:
    if rules is None:
        return MapKind(number, name, offered=False)
    title, keys, per_cpu, names = rules
    return MapKind(number, name, True, title, keys, per_cpu, *map(tuple, names))


MAP_KINDS: Mapping[str, MapKind] = MappingProxyType({row[1]: _kind(*row) for row in _native.map_kinds()})
"""Every kind by its name, in the order of the numbers."""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _names(names: Iterable[str], prefix: str = "") -> str:
    return ", ".join(f"`{name.removeprefix(prefix)}`" for name in names) or "-"


def kinds_table() -> str:
    r"""The kinds that axebpf has, and with which flags they are created, as Markdown.

    >>> print(kinds_table().splitlines()[2])
    | `hash` | hash map | bytes | no | `NO_PREALLOC`, `NUMA_NODE`, `RDONLY`, `WRONLY`, `ZERO_SEED`, `RDONLY_PROG`,
    `WRONLY_PROG` |
    """
    head = ["kind", "", "keys", "a value a CPU", "flags (`BPF_F_…`)"]
    return _table(
        head,
        (
            [f"`{kind.name}`", kind.title, kind.keys, "yes" if kind.per_cpu else "no", _names(kind.flags, "BPF_F_")]
            for kind in MAP_KINDS.values()
            if kind.offered
        ),
    )


def uses_table() -> str:
    r"""What may be done with each kind that axebpf has, as Markdown.

    >>> print(uses_table().splitlines()[-1])
    | `bloom_filter` | `map_push_elem`, `map_peek_elem` | - | no |
    """
    head = ["kind", "helpers (`bpf_…`)", "commands that not every kind has", "in `syscall` programs"]
    return _table(
        head,
        (
            [
                f"`{kind.name}`",
                _names(kind.helpers, "bpf_"),
                _names(kind.commands),
                "yes" if "syscall" in kind.programs else "no",
            ]
            for kind in MAP_KINDS.values()
            if kind.offered
        ),
    )
