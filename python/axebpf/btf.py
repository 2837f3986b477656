"""Types of BTF as Python sees them: a codec turns the bytes of a map's key or value into Python values and back.

A structure is a named tuple, so it equals the plain tuple of its members; an enumeration is an `IntEnum`; an array
of `char` is `bytes` up to the padding; other arrays are lists; a union is a named tuple of all its readings.

>>> codec = codec_of(("struct", 8, "key", [("vm_id", 0, 0, ("int", 4, False, "number")),
...                                        ("reason", 32, 0, ("int", 4, False, "number"))]))
>>> codec.decode(bytes([1, 0, 0, 0, 7, 0, 0, 0]))
key(vm_id=1, reason=7)
>>> codec.encode((1, 7)) == codec.encode({"vm_id": 1, "reason": 7}) == bytes([1, 0, 0, 0, 7, 0, 0, 0])
True
"""

from __future__ import annotations

import enum
import re
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from axebpf.errors import did_you_mean

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Codec", "Layout", "codec_of", "hashable", "members_of"]

_LOCK = "struct bpf_spin_lock"

Layout = tuple[Any, ...]
"""A type as `axebpf._native` describes it, in nested tuples."""


class Codec(ABC):
    """Bytes of one type to a Python value and back."""

    size: int
    """Bytes of a value."""
    name: str
    """The type as C writes it, such as `u32` or `struct key`."""
    layout: Layout
    """What it was made from."""

    @abstractmethod
    def decode(self, data: bytes | bytearray | memoryview) -> Any:
        """The value in the first `size` bytes."""

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """The `size` bytes of a value. Raises TypeError or ValueError, which name the type, for what does not fit."""

    @property
    @abstractmethod
    def numpy(self) -> Any:
        """What `numpy.dtype` takes for it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype, of the same size and offsets."""
        import numpy as np

        made: np.dtype[Any] = np.dtype(self.numpy)
        return made

    def _whole(self, value: bytes | bytearray) -> bytes:
        """A value that was given as its bytes."""
        if len(value) != self.size:
            raise ValueError(f"{self.name} has {self.size} bytes, not {len(value)}")
        return bytes(value)

    def __reduce__(self) -> tuple[Any, ...]:
        """What it was made from: the classes of its values are made at run time."""
        return codec_of, (self.layout,)


class _Int(Codec):
    def __init__(self, size: int, signed: bool, meaning: str) -> None:
        self.size, self.signed, self.is_bool = size, signed, meaning == "bool"
        self.name = "bool" if self.is_bool else f"{'i' if signed else 'u'}{8 * size}"

    def decode(self, data: bytes | bytearray | memoryview) -> int:
        number = int.from_bytes(data[: self.size], "little", signed=self.signed)
        return bool(number) if self.is_bool else number

    def encode(self, value: Any) -> bytes:
        if isinstance(value, (bytes, bytearray)):
            return self._whole(value)
        try:
            return int(value.__index__()).to_bytes(self.size, "little", signed=self.signed)
        except AttributeError:
            raise TypeError(f"{self.name} takes an integer, not {type(value).__name__}") from None
        except OverflowError:
            low, high = (-(1 << (8 * self.size - 1)), 0) if self.signed else (0, 1)
            high = (1 << (8 * self.size - (1 if self.signed else 0))) - 1
            raise ValueError(f"{self.name} holds {low} to {high}, not {value}") from None

    @property
    def numpy(self) -> Any:
        if self.is_bool:
            return "?"
        return f"<{'i' if self.signed else 'u'}{self.size}" if self.size <= 8 else f"V{self.size}"


class _Float(Codec):
    def __init__(self, size: int) -> None:
        self.size, self.name = size, {4: "float", 8: "double"}.get(size, f"float of {size} bytes")

    def decode(self, data: bytes | bytearray | memoryview) -> Any:
        import struct

        code = {4: "<f", 8: "<d"}.get(self.size)
        return struct.unpack(code, data[: self.size])[0] if code else bytes(data[: self.size])

    def encode(self, value: Any) -> bytes:
        import struct

        if isinstance(value, (bytes, bytearray)):
            return self._whole(value)
        code = {4: "<f", 8: "<d"}.get(self.size)
        if code is None:
            raise TypeError(f"a {self.name} takes its bytes")
        return struct.pack(code, value)

    @property
    def numpy(self) -> Any:
        return f"<f{self.size}" if self.size in (4, 8) else f"V{self.size}"


class _Enum(_Int):
    def __init__(self, size: int, signed: bool, name: str, values: Sequence[tuple[str, int]]) -> None:
        super().__init__(size, signed, "number")
        self.name = f"enum {name}" if name else "enum"
        mask = 0 if signed else (1 << (8 * size)) - 1
        members = {key: value & mask if mask else value for key, value in values}
        self.members: Any = enum.IntEnum(name or "anonymous", members) if members else None

    def decode(self, data: bytes | bytearray | memoryview) -> int:
        number = super().decode(data)
        try:
            return int(number) if self.members is None else self.members(number)
        except ValueError:
            return number


class _Bytes(Codec):
    def __init__(self, size: int, name: str = "") -> None:
        self.size, self.name = size, name or f"{size} bytes"

    def decode(self, data: bytes | bytearray | memoryview) -> bytes:
        return bytes(data[: self.size])

    def encode(self, value: Any) -> bytes:
        if isinstance(value, int):
            try:
                return value.to_bytes(self.size, "little")
            except OverflowError:
                raise ValueError(f"{value} does not fit {self.size} bytes") from None
        if isinstance(value, str):
            raise TypeError(f"{self.name} takes bytes, not str")
        data = bytes(value)
        if len(data) != self.size:
            raise ValueError(f"expected {self.size} bytes, got {len(data)}")
        return data

    @property
    def numpy(self) -> Any:
        return f"V{self.size}"


class _Text(_Bytes):
    """An array of `char`."""

    def decode(self, data: bytes | bytearray | memoryview) -> bytes:
        return super().decode(data).rstrip(b"\0")

    def encode(self, value: Any) -> bytes:
        data = value.encode() if isinstance(value, str) else bytes(value)
        if len(data) > self.size:
            raise ValueError(f"{data!r} has {len(data)} bytes, and is longer than {self.name}")
        return data.ljust(self.size, b"\0")

    @property
    def numpy(self) -> Any:
        return f"S{self.size}"


class _Array(Codec):
    def __init__(self, element: Codec, count: int) -> None:
        self.element, self.count = element, count
        self.size, self.name = element.size * count, f"{element.name}[{count}]"

    def decode(self, data: bytes | bytearray | memoryview) -> list[Any]:
        step = self.element.size
        return [self.element.decode(data[i * step : (i + 1) * step]) for i in range(self.count)]

    def encode(self, value: Any) -> bytes:
        if isinstance(value, (bytes, bytearray)):
            return self._whole(value)
        items = list(value)
        if len(items) != self.count:
            raise ValueError(f"{self.name} takes {self.count} values, not {len(items)}")
        return b"".join(self.element.encode(item) for item in items)

    @property
    def numpy(self) -> Any:
        return (self.element.numpy, self.count)


class _Bits(Codec):
    """A bit field, read from the structure around it: `offset` and `width` in bits, from the structure's start."""

    def __init__(self, offset: int, width: int, signed: bool) -> None:
        self.offset, self.width, self.signed = offset, width, signed
        self.size, self.name = 0, f"{'i' if signed else 'u'}:{width}"

    def decode(self, data: bytes | bytearray | memoryview) -> int:
        first, last = self.offset // 8, (self.offset + self.width + 7) // 8
        number = int.from_bytes(data[first:last], "little") >> (self.offset % 8) & ((1 << self.width) - 1)
        return number - (1 << self.width) if self.signed and number >> (self.width - 1) else number

    def store(self, value: Any, data: bytearray) -> None:
        try:
            value = int(value.__index__())
        except AttributeError:
            raise TypeError(f"{self.name} takes an integer, not {type(value).__name__}") from None
        low, high = (-(1 << (self.width - 1)), 1 << (self.width - 1)) if self.signed else (0, 1 << self.width)
        if not low <= value < high:
            raise ValueError(f"a bit field of {self.width} bits holds {low} to {high - 1}, not {value}")
        first, last = self.offset // 8, (self.offset + self.width + 7) // 8
        mask = ((1 << self.width) - 1) << (self.offset % 8)
        number = int.from_bytes(data[first:last], "little") & ~mask | value << (self.offset % 8) & mask
        data[first:last] = number.to_bytes(last - first, "little")

    def encode(self, value: Any) -> bytes:
        raise TypeError("a bit field is a part of its structure")

    @property
    def numpy(self) -> Any:
        return None


def _named_tuple(name: str, members: list[str]) -> Any:
    make: Any = namedtuple  # the members are known at run time only
    return make(name, members, rename=True)


class _Struct(Codec):
    def __init__(self, kind: str, size: int, name: str, members: Iterable[tuple[str, int, int, Layout]]) -> None:
        self.size, self.name, self.is_union = size, f"{kind} {name}" if name else kind, kind == "union"
        self.members: list[tuple[str, int, Codec]] = []
        for member, bit_offset, bits, layout in members:
            codec: Codec
            if bits:
                codec = _Bits(bit_offset, bits, signed=layout[0] in ("int", "enum") and bool(layout[2]))
            else:
                codec = codec_of(layout)
            self.members.append((member, bit_offset // 8, codec))
        tag = re.sub(r"\W", "_", name) or kind
        self.tuple = _named_tuple(tag if tag.isidentifier() else kind, [member for member, _, _ in self.members])

    def decode(self, data: bytes | bytearray | memoryview) -> Any:
        return self.tuple(*(self._read(member, data) for member in self.members))

    @staticmethod
    def _read(member: tuple[str, int, Codec], data: bytes | bytearray | memoryview) -> Any:
        _, offset, codec = member
        return codec.decode(data if isinstance(codec, _Bits) else data[offset : offset + codec.size])

    def encode(self, value: Any) -> bytes:
        if isinstance(value, (bytes, bytearray)):
            return self._whole(value)
        names = [name for name, _, _ in self.members]
        if isinstance(value, Mapping):
            for name in value:
                if name not in names:
                    raise ValueError(f"{self.name} has no member {name}{did_you_mean(str(name), names)}")
            # Nobody writes a lock: what is given for it is not looked at.
            missing = [name for name, _, codec in self.members if name not in value and codec.name != _LOCK]
            if missing and not self.is_union:
                raise ValueError(f"{self.name} needs {', '.join(missing)} too")
            pairs = [(member, value[member[0]]) for member in self.members if member[0] in value]
        else:
            alone = len(names) == 1 and not isinstance(value, (tuple, list))
            if not alone and (isinstance(value, str) or not isinstance(value, Iterable)):
                kinds = f"a tuple of {', '.join(names)}, a dictionary, or {self.size} bytes"
                raise TypeError(f"{self.name} takes {kinds}, not {type(value).__name__}")
            items = [value] if alone else list(value)
            if len(items) != len(names):
                raise ValueError(f"{self.name} has {len(names)} members ({', '.join(names)}), got {len(items)} values")
            pairs = list(zip(self.members, items, strict=True))
        data = bytearray(self.size)
        for (name, offset, codec), item in pairs:
            try:
                if isinstance(codec, _Bits):
                    codec.store(item, data)
                elif not self.is_union:
                    data[offset : offset + codec.size] = codec.encode(item)
                else:
                    # Readings of the same bytes differ only where one has no bytes: behind its end, in its padding.
                    for place, byte in enumerate(codec.encode(item)):
                        data[place] |= byte
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name}: {error}") from None
        if self.is_union and len(pairs) > 1 and any(self._read(m, data) != item for m, item in pairs):
            raise ValueError(f"the readings of {self.name} are of different bytes; give one, as a dictionary")
        return bytes(data)

    @property
    def numpy(self) -> Any:
        plain = [(name, codec.numpy, offset) for name, offset, codec in self.members if codec.numpy is not None]
        if not plain:
            return f"V{self.size}"
        names, formats, offsets = (list(part) for part in zip(*plain, strict=True))
        return {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.size}


def codec_of(layout: Layout) -> Codec:
    """The codec of a type."""
    codec = _codec_of(layout)
    codec.layout = layout
    return codec


def _codec_of(layout: Layout) -> Codec:
    kind = layout[0]
    if kind == "int":
        return _Int(*layout[1:])
    if kind == "enum":
        return _Enum(layout[1], layout[2], layout[3], layout[4])
    if kind == "pointer":
        return _Int(8, False, "number")
    if kind == "float":
        return _Float(layout[1])
    if kind == "array":
        element, count = layout[1], layout[2]
        if element[0] == "int" and element[3] == "char":
            return _Text(count, f"char[{count}]")
        return _Array(codec_of(element), count)
    if kind in ("struct", "union"):
        return _Struct(kind, layout[1], layout[2], layout[3])
    return _Bytes(layout[1])


def hashable(value: Any) -> Any:
    """A value as what a dictionary takes for a key: arrays become tuples."""
    if isinstance(value, list):
        return tuple(map(hashable, value))
    if isinstance(value, tuple):
        items = map(hashable, value)
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def members_of(codec: Codec) -> list[tuple[str, int, Codec, tuple[int, int, bool] | None]]:
    """The members of a structure or union, and nothing for other types.

    Each with its name, byte offset and type; of a bit field also its offset and width in bits and whether it is signed.
    """
    members = codec.members if isinstance(codec, _Struct) else []
    return [
        (name, offset, kind, (kind.offset, kind.width, kind.signed) if isinstance(kind, _Bits) else None)
        for name, offset, kind in members
    ]
