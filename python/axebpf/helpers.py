"""Helpers by number: what programs may call.

Numbers, names and prototypes are those of Linux (`bpf-helpers(7)`), and 100 to 102 the hypervisor's; all come from the
core's table. The number of a helper is its name in capitals. Helpers of one's own, written in Python, are made with
`Bench.helper` and are not listed here.

>>> import axebpf
>>> from axebpf import helpers
>>> helpers.BPF_MAP_LOOKUP_ELEM, helpers.BPF_GET_CURRENT_VM_ID
(1, 100)
>>> helpers.get_helper(5).prototype
'__u64 bpf_ktime_get_ns(void)'
>>> with axebpf.init():
...     helpers.get_helper(5)()
1000000000
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from axebpf import _native
from axebpf._default import kept
from axebpf._native import assemble
from axebpf.custom_helpers import CUSTOM_HELPERS
from axebpf.errors import did_you_mean

if TYPE_CHECKING:
    from axebpf.runtime import EbpfProgram

__all__ = ["CUSTOM_HELPERS", "SUPPORTED_HELPERS", "Helper", "get_helper"]

_ARGUMENTS = 5


class Helper(NamedTuple):
    """A helper that this bench offers. Calling it calls it as a program does."""

    id: int
    """Its number, the `imm` of a call."""
    name: str
    """Its name."""
    prototype: str
    """C declaration."""
    gpl_only: bool
    """Whether it is for programs of a GPL-compatible licence."""
    types: tuple[str, ...]
    """Types of the programs that may call it, by their `SEC` prefix."""

    def __call__(self, *arguments: int) -> int:
        """What r0 is after a call with these registers, by a program on the default bench; the others are 0.

        A pointer must be one of that program's memory, so a helper that takes one raises ProgramFault for any number.
        Raises NotInitialized.
        """
        if len(arguments) > _ARGUMENTS:
            raise TypeError(f"{self.name} is given {len(arguments)} arguments; a call has at most {_ARGUMENTS}")
        registers = b"".join((argument & (1 << 64) - 1).to_bytes(8, "little") for argument in arguments)
        callers = kept(_callers)
        if self.id not in callers:
            callers[self.id] = _caller(self)
        return callers[self.id].execute_with_context(bytearray(registers.ljust(8 * _ARGUMENTS, b"\0")))


def _callers() -> dict[int, EbpfProgram]:
    return {}


def _caller(helper: Helper) -> EbpfProgram:
    """A program that calls the helper with the five numbers of its context."""
    from axebpf.runtime import EbpfProgram

    loads = "\n".join(f"r{n + 1} = *(u64 *)(r6 +{8 * n})" for n in range(_ARGUMENTS))
    return EbpfProgram(assemble(f"r6 = r1\n{loads}\ncall {helper.name}#{helper.id}\nexit"), f"calls_{helper.name}")


_ROWS = _native.helpers()
_IDS = {name.upper(): id for id, name, *_ in _ROWS}
_OFFERED = {
    id: Helper(id, name, prototype, gpl_only, tuple(types))
    for id, name, prototype, gpl_only, types in _ROWS
    if prototype is not None
}

SUPPORTED_HELPERS: tuple[int, ...] = tuple(_OFFERED)
"""Numbers of all helpers that this bench offers, ascending."""


def get_helper(id: int) -> Helper | None:
    """The helper of a number; None where there is none, or this bench does not offer it.

    >>> get_helper(999) is None
    True
    """
    return _OFFERED.get(id)


def __getattr__(name: str) -> int:
    """The number of a helper, offered or not."""
    if name in _IDS:
        return _IDS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{did_you_mean(name, [*_IDS, *__all__])}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_IDS})
