"""Maps that hold maps and programs. Both have numbers in a bench, which is what such a map has for values.

In Python a value is the thing itself; the raw operations take and give its number, where Linux takes a descriptor and
gives an id.

>>> from axebpf import Bench
>>> bench = Bench()
>>> counts = bench.create_map("array", 4, 8, 1, name="COUNTS")
>>> outer = bench.create_map("array_of_maps", 4, 4, 8, inner=counts)
>>> outer[3] = counts
>>> outer[3].name, len(outer), outer.lookup(bytes([3, 0, 0, 0])) == counts.id.to_bytes(4, "little")
('COUNTS', 1, True)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.btf import Layout
from axebpf.errors import KeyNotFound, MapError
from axebpf.maps import HashMap, Map

if TYPE_CHECKING:
    from axebpf import _native

__all__ = ["MapOfMaps", "ProgramArray", "Things"]

_EBADF = 9

_NUMBER: Layout = ("int", 4, False, "number")


class Things(NamedTuple):
    """What has numbers, as a bench knows it."""

    map: Callable[[int], Map | None]
    """The map of a number; None where it is not among the bench's maps."""
    program: Callable[[int], Any]
    """The program of a number; None where there is none."""
    wrap: Callable[[_native.Map], Map]
    """The class for a map that is not among the bench's any more."""


class _Numbered(HashMap):
    """A mapping whose values are things with numbers; only the entries that are there are its keys."""

    _kind = ""

    def __init__(self, native: _native.Map, key: Layout | None, cpus: int, things: Things) -> None:
        if key is None or key[0] == "bytes":
            # An index or id whose type was not given.
            key = {4: _NUMBER, 8: ("int", 8, False, "number")}.get(native.key_size)
        super().__init__(native, key, _NUMBER, cpus)
        self._things = things

    @abstractmethod
    def _thing(self, key: bytes, number: int) -> Any:
        """The thing that has a number, which stands at a key."""

    def __getitem__(self, key: Any) -> Any:
        """The thing at a key. Raises KeyNotFound (a KeyError) where there is none."""
        raw = self._encoded("key", self.key_type, key)
        data = self.lookup(raw)
        if data is None:
            raise KeyNotFound(2, f"no entry with the key {key!r}", map=self.name)
        return self._thing(raw, int.from_bytes(data, "little"))

    def items(self) -> Any:
        """Keys and things, as they are when the walk begins."""
        return [
            (self._decode_key(key), self._thing(key, int.from_bytes(value, "little"))) for key, value in self._entries()
        ]

    def values(self) -> Any:
        """Things, as they are when the walk begins."""
        return [value for _, value in self.items()]

    def _shown(self) -> tuple[Iterator[tuple[Any, Any]], int]:
        found = self.items()
        return iter(found), len(found)

    def _encode_value(self, value: Any) -> bytes:
        known = self._known(value)
        if known is None:
            return super()._encode_value(value)
        if known is not value:
            raise MapError(_EBADF, f"{value!r} is no {self._kind} of this bench", map=self.name)
        return int(value.id).to_bytes(4, "little")

    @abstractmethod
    def _known(self, value: Any) -> Any:
        """Of a thing, what the bench has under its number, or False; of a number None."""


class MapOfMaps(_Numbered):
    """An `array_of_maps` or `hash_of_maps`: a mutable mapping of maps.

    Only maps like the one that it was created with can be put there: of the same kind, sizes and flags; MapError EINVAL
    says what differs. A map that is replaced or deleted lives on while something uses it, such as a run that has looked
    it up.
    """

    _kind = "map"

    def _thing(self, key: bytes, number: int) -> Any:
        known = self._things.map(number)
        if known is not None:
            return known
        inner = self._native.inner(key)
        if inner is None:
            raise KeyNotFound(2, f"no entry with the key {key!r} any more", map=self.name)
        return self._things.wrap(inner)

    def _known(self, value: Any) -> Any:
        if not isinstance(value, Map):
            return None
        known = self._things.map(value.id)
        return False if known is None else known  # an empty queue is false too


class ProgramArray(_Numbered):
    r"""A `prog_array`: what `bpf_tail_call` jumps to, a mutable mapping of programs by index.

    The first program, be it one that is put there or one that tail-calls through it, makes it an array for programs of
    its type; MapError EINVAL refuses others. An unloaded program is in none any more.

    >>> from axebpf import Bench, assemble
    >>> bench = Bench()
    >>> jumps = bench.create_map("prog_array", 4, 4, 4)
    >>> text = "r2 = map[1]\nr3 = 2\ncall bpf_tail_call\nr0 = 0\nexit"
    >>> caller = bench.load_bytes(assemble(text), type="tracepoint", maps={1: jumps})
    >>> caller.run(bytes(16)).r0
    0
    >>> jumps[2] = bench.load_bytes(assemble("r0 = 42\nexit"), type="tracepoint")
    >>> caller.run(bytes(16)).r0
    42
    """

    _kind = "program"

    def _thing(self, key: bytes, number: int) -> Any:
        known = self._things.program(number)
        if known is None:
            raise KeyNotFound(2, f"no entry with the key {key!r} any more", map=self.name)
        return known

    def _known(self, value: Any) -> Any:
        return (self._things.program(value.id) or False) if hasattr(value, "id") else None
