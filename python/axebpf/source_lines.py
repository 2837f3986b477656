"""The source lines of a program by instruction."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from axebpf.errors import SourceLine

__all__ = ["SourceLines"]


class SourceLines:
    """Finds the line of an instruction among those that the core gives: slot, file, line, column and text, by slot.

    >>> lines = SourceLines([(0, "a.c", 7, 1, "  x = 1;"), (4, "a.c", 8, 1, "return x;")])
    >>> lines.text(3)
    'a.c:7: x = 1;'
    """

    def __init__(self, lines: Sequence[tuple[int, str, int, int, str]]) -> None:
        self._slots = [slot for slot, *_ in lines]
        self._lines = [SourceLine(file, line, column, text.strip()) for _, file, line, column, text in lines]

    def at(self, insn: int) -> SourceLine | None:
        """The line of the instruction in a slot: the last one that begins there or before."""
        index = bisect.bisect_right(self._slots, insn)
        return self._lines[index - 1] if index else None

    def text(self, insn: int) -> str:
        """The same as `file:line: text`, or empty."""
        line = self.at(insn)
        return "" if line is None else f"{line.file}:{line.line}: {line.text}"
