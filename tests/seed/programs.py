"""Programs of a few instructions, for the tests of the seed's defects."""

from __future__ import annotations

import struct

import axebpf
from axebpf.runtime import EbpfProgram


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def run(text: str, context: bytearray | None = None) -> int:
    """r0 of a program, signed."""
    made = EbpfProgram(axebpf.assemble(text))
    r0 = made.execute() if context is None else made.execute_with_context(context)
    return r0 - (1 << 64) if r0 >> 63 else r0


def lookup(number: int, key: int, at: int = -4) -> str:
    """Instructions that look a 4-byte key up and go to `out` where it is missing; the key lies on the stack."""
    return f"""
        r1 = map[{number}]
        w2 = {key}
        *(u32 *)(r10 {at:+}) = r2
        r2 = r10
        r2 += {at}
        call bpf_map_lookup_elem
        if r0 == 0 goto out
    """


def counter(number: int) -> str:
    """A program that adds 1 to entry 0 of an array."""
    return f"{lookup(number, 0)} w1 = 1\n lock *(u64 *)(r0 +0) += r1\nout:\n r0 = 0\n exit"
