r"""Maps of prefixes (`lpm_trie`): a key falls under the longest prefix that is in the map.

>>> import axebpf
>>> with axebpf.Bench() as bench:
...     routes = bench.create_map("lpm_trie", 8, 4, max_entries=16, flags=1)    # BPF_F_NO_PREALLOC, which it demands
...     routes["10.0.0.0/8"] = 1
...     routes["10.1.0.0/16"] = 2
...     routes["10.1.2.3"], routes[32, b"\x0a\x02\x00\x00"], "11.0.0.0" in routes
(2, 1, False)
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from axebpf.btf import Codec, Layout
from axebpf.errors import MapError
from axebpf.maps import HashMap

if TYPE_CHECKING:
    from axebpf import _native

__all__ = ["PrefixMap"]

_EINVAL = 22
_LENGTH = 4
"""Bytes of a key that say how many bits count."""
_BITS = 8


class PrefixMap(HashMap):
    """An `lpm_trie`: a mutable mapping whose keys are prefixes.

    A key is a pair of how many leading bits count and the bits as bytes, first bit highest; or an address or network as
    text or of `ipaddress`, where the map's keys are as long as one. What BTF says of the key names its members.

    Looking up, `in` too, finds the entry with the longest prefix that the key falls under, as a program's look-up does;
    setting and deleting mean the very prefix. Bits behind the prefix are kept as they were given, and mean nothing.
    Longer prefixes come before those that they fall under.
    """

    def __init__(self, native: _native.Map, key: Layout | None, value: Layout | None, cpus: int) -> None:
        super().__init__(native, _key_layout(key, native.key_size), value, cpus)

    def _encoded(self, what: str, codec: Codec, value: Any) -> bytes:
        if what == "key" and (isinstance(value, str) or type(value).__module__ == "ipaddress"):
            return self._network(value)
        return super()._encoded(what, codec, value)

    def _network(self, value: Any) -> bytes:
        try:
            network = ipaddress.ip_interface(str(value))
        except ValueError as error:
            raise MapError(_EINVAL, f"the key {value!r}: {error}", map=self.name) from None
        length = self.key_size - _LENGTH
        if len(network.packed) != length:
            given = f"IPv{network.version} has {len(network.packed)} bytes of address, the keys of this map {length}"
            raise MapError(_EINVAL, f"the key {value!r}: {given}", map=self.name)
        return network.network.prefixlen.to_bytes(_LENGTH, "little") + network.packed


def _key_layout(layout: Layout | None, size: int) -> Layout:
    """The key as a structure whose bits are bytes, also where BTF has them as an array, which is no key of a dict."""
    if layout is None or layout[0] != "struct" or layout[1] != size:
        bits = ("bytes", size - _LENGTH)
        members = [("prefixlen", 0, 0, ("int", _LENGTH, False, "number")), ("data", _LENGTH * _BITS, 0, bits)]
        return ("struct", size, "prefix", members)
    kind, _, name, members = layout
    return (kind, size, name, [(*member[:3], _as_bytes(member[3])) for member in members])


def _as_bytes(layout: Layout) -> Layout:
    is_bytes = layout[0] == "array" and layout[1][0] == "int" and layout[1][1] == 1
    return ("bytes", layout[2]) if is_bytes else layout
