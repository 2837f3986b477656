"""What the programs and maps of a bench were made from, so that they can be made again in another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from axebpf import _native
    from axebpf.maps import Map

__all__ = ["CodeOrigin", "MapOrigin", "ObjectOrigin", "Origin"]


class ObjectOrigin:
    """A load of an object; its programs and maps share it. Two loads of one file are two origins."""

    def __init__(
        self,
        native: _native.Object,
        rodata: Mapping[str, Any] | None,
        max_entries: Mapping[str, int] | None,
        types: Mapping[str, str] | None,
    ) -> None:
        self.native = native
        """What is in the file."""
        # Copies: whoever gave them may change them.
        self.rodata = dict(rodata or {})
        """Global variables that were set."""
        self.max_entries = dict(max_entries or {})
        """Capacities of maps that were set."""
        self.types = dict(types or {})
        """Types of programs that were set."""


class CodeOrigin(NamedTuple):
    """Raw instructions."""

    code: bytes
    """The instructions, 8 bytes each."""
    type: str
    """Program type."""
    maps: Mapping[int, Map]
    """The map for each descriptor."""
    license: str
    """Licence."""
    name: str
    """Name of the program."""


class MapOrigin(NamedTuple):
    """A map that was made by hand: the arguments of `Bench.create_map`."""

    arguments: Mapping[str, Any]
    """All of them but `inner`, by name."""
    inner: Map | None
    """What its maps must be like."""


Origin: TypeAlias = ObjectOrigin | CodeOrigin
"""What a program was made from."""
