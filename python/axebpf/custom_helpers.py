"""Helpers written in Python: their C prototypes, and how their arguments arrive."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from axebpf.errors import HelperError, did_you_mean

__all__ = ["CUSTOM_HELPERS", "Parameter", "adapter", "parse_prototype"]

CUSTOM_HELPERS = 0x10000
"""The first id for helpers of one's own."""

_PROTOTYPE = re.compile(r"\s*(?:[A-Za-z_]\w*[\s*]+)+?(?P<name>[A-Za-z_]\w*)\s*\((?P<args>[^()]*)\)\s*;?\s*\Z", re.ASCII)
_ARGUMENT = re.compile(
    r"\s*(?P<const>const\s+)?(?P<type>[A-Za-z_]\w*(?:\s+[A-Za-z_]\w*)*?)\s*(?P<star>\*?)\s*(?P<name>[A-Za-z_]\w*)\s*\Z"
)
_BITS = {
    **{f"{sign}{bits}": (bits, sign in "is") for sign in "uis" for bits in (8, 16, 32, 64)},
    **{f"__{sign}{bits}": (bits, sign == "s") for sign in "us" for bits in (8, 16, 32, 64)},
    "int": (32, True),
    "long": (64, True),
    "unsigned int": (32, False),
    "unsigned long": (64, False),
    "bool": (8, False),
}
Parameter = tuple[dict[str, Any], bool]


def parse_prototype(prototype: str) -> tuple[str, list[Parameter]]:
    """Name and parameters of a helper's C prototype; with each, whether it is a size that only the core needs."""
    match = _PROTOTYPE.match(prototype)
    if match is None:
        raise HelperError(f'{prototype!r} is no C prototype, as in "u64 my_helper(u32 vm, void *buf, u32 buf__sz)"')
    name = match["name"]
    texts = [] if match["args"].strip() in ("", "void") else match["args"].split(",")
    if len(texts) > 5:
        raise HelperError(f"{len(texts)} parameters; a helper has at most 5", helper=name)
    arguments = []
    for text in texts:
        argument = _ARGUMENT.match(text)
        if argument is None:
            raise HelperError(f"the parameter {text.strip()!r} cannot be read", helper=name)
        arguments.append(argument)
    names = [argument["name"] for argument in arguments]
    parameters: list[Parameter] = []
    for argument in arguments:
        if argument["star"]:
            size = f"{argument['name']}__sz"
            if size not in names:
                raise HelperError(f"the pointer {argument['name']} needs its size as a parameter {size}", helper=name)
            width = " ".join(arguments[names.index(size)]["type"].split())
            bits = _BITS.get(width, (64, False))[0]
            area = {"size": names.index(size), "size_bits": bits, "writable": not argument["const"]}
            parameters.append((area, False))
            continue
        kind = " ".join(argument["type"].split())
        if kind not in _BITS:
            raise HelperError(f"unknown type {kind}{did_you_mean(kind, _BITS)}", helper=name)
        bits, signed = _BITS[kind]
        parameters.append(({"bits": bits, "signed": signed}, argument["name"].endswith("__sz")))
    return name, parameters


def adapter(function: Callable[..., Any], parameters: list[Parameter]) -> Callable[..., Any]:
    """The function without the sizes, which a `bytearray` knows by itself."""
    if not any(is_size for _, is_size in parameters):
        return function

    def call(*args: Any) -> Any:
        return function(*(arg for arg, (_, is_size) in zip(args, parameters, strict=True) if not is_size))

    return call
