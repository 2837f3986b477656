"""From what differs to the instruction that it came from.

The steps of a run on target linux are walked through: which helper calls and stores touched which map, and which of the
executed instructions the report on portability has a finding about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from axebpf.bench.program import Program
    from axebpf.portability import Finding

__all__ = ["Blame", "Steps", "blame_map", "blame_run"]

Steps: TypeAlias = Sequence[tuple[int, int, tuple[int, ...]]]
"""Slot, depth and r0 to r10 before each executed instruction."""

_LDDW, _CALL, _HELPER = 0x18, 0x85, 0
_MAP, _MAP_VALUE = 1, 2
"""What `lddw` loads: a map, or an address in the value of one."""
_ST, _STX, _CLASS = 2, 3, 7
_LOOKUP, _RESERVE = 1, 131
"""Helpers that return memory of the map in r1."""
_READERS = frozenset({_LOOKUP, 89, 134, 164, 195})
"""Helpers that take a map in r1 and do not change it: lookup, peek, query, for_each, lookup of another CPU."""


class Blame(NamedTuple):
    """An instruction, and the finding that explains it."""

    insn: int | None
    """Its slot."""
    reason: Finding | None
    """The finding, of this or another instruction of the run."""


def blame_run(steps: Steps, findings: Mapping[int, Finding], stopped: int | None = None) -> Blame:
    """Of a run that ended differently: `stopped` is the instruction at which one side was, if one was.

    Otherwise it is the first executed instruction with a finding, else the last one.
    """
    reason = _first(steps, findings)
    if stopped is not None:
        return Blame(stopped, findings.get(stopped, reason))
    if reason is not None:
        return Blame(reason.insn, reason)
    return Blame(steps[-1][0] if steps else None, None)


def blame_map(program: Program, steps: Steps, findings: Mapping[int, Finding], name: str) -> Blame:
    """Of a map that is not the same: the first write to it that has a finding, else the last write to it.

    What the last one wrote comes from before it: the finding that was executed last before it is the reason.
    """
    writes = [insn for insn, written in _writes(program, steps) if written == name]
    for insn in writes:
        if insn in findings:
            return Blame(insn, findings[insn])
    if not writes:
        return Blame(None, _first(steps, findings))
    executed = [insn for insn, *_ in steps]
    last = len(executed) - 1 - executed[::-1].index(writes[-1])
    return Blame(writes[-1], _first(steps[:last][::-1], findings) or _first(steps, findings))


def _first(steps: Steps, findings: Mapping[int, Finding]) -> Finding | None:
    return next((findings[insn] for insn, *_ in steps if insn in findings), None)


def _writes(program: Program, steps: Steps) -> Iterator[tuple[int, str]]:
    """Slot and map of each call and store of a run that wrote to one, or tried to."""
    code = program._native.insns
    sizes = {made.name: made.value_size for made in program.maps}
    names = program._native.maps
    handles: dict[int, str] = {}
    regions: list[tuple[int, int, str]] = []
    for place, (insn, depth, registers) in enumerate(steps):
        opcode, pair = code[8 * insn], code[8 * insn + 1]
        dst, src = pair & 15, pair >> 4
        offset = int.from_bytes(code[8 * insn + 2 : 8 * insn + 4], "little", signed=True)
        imm = int.from_bytes(code[8 * insn + 4 : 8 * insn + 8], "little")
        after = next((r for _, d, r in steps[place + 1 : place + 2] if d == depth), None)
        if opcode == _LDDW and src in (_MAP, _MAP_VALUE) and after is not None:
            if src == _MAP:
                handles[after[dst]] = names[imm]
            else:
                inside = int.from_bytes(code[8 * insn + 12 : 8 * insn + 16], "little")
                regions.append((after[dst] - inside, sizes.get(names[imm], 0), names[imm]))
        elif opcode == _CALL and src == _HELPER:
            written = handles.get(registers[1])
            if written is not None and imm in (_LOOKUP, _RESERVE) and after is not None and after[0]:
                size = registers[2] if imm == _RESERVE else sizes.get(written, 0)
                regions.append((after[0], size, written))
            if written is None:
                # A helper that takes a record or a value, such as bpf_ringbuf_submit.
                written = _region(regions, registers[1])
            if written is not None and imm not in _READERS:
                yield insn, written
        elif opcode & _CLASS in (_ST, _STX):
            written = _region(regions, registers[dst] + offset)
            if written is not None:
                yield insn, written


def _region(regions: Sequence[tuple[int, int, str]], address: int) -> str | None:
    """The map whose memory an address is, as it was handed out last."""
    return next((name for start, size, name in reversed(regions) if start <= address < start + size), None)
