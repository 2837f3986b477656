"""Where commands write: tables and colours on a terminal, plain aligned text anywhere else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.bar import Bar
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

__all__ = ["BAR", "Column", "Screen"]

_PLAIN_WIDTH = 1 << 14  # lines are as long as they need to be
_PLAIN_BAR = 40
BAR = "cyan"
"""Colour of the bars of histograms."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """Its heading."""
    right: bool = False
    """Whether its cells, numbers mostly, are aligned to the right."""
    style: str = ""
    """How its cells look on a terminal."""
    wrap: bool = False
    """Whether it gives way where the terminal is too narrow for the table."""
    bar: bool = False
    """Whether it takes the rest of the line, for bars."""


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self.pretty = console.is_terminal
        """Whether a person reads it directly: then with units, colours and lines, otherwise as plain numbers."""
        if not self.pretty:
            console = Console(highlight=False, color_system=None, width=_PLAIN_WIDTH)
        self._console = console

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._console.width

    def line(self, text: str | Text = "", style: str = "") -> None:
        """A line of text; long ones are wrapped on a terminal."""
        self._console.print(text, style=style or None, markup=False)

    def text(self, text: str) -> None:
        """A text exactly as it is."""
        sys.stdout.write(text)

    def json(self, value: Any) -> None:
        """A value as JSON."""
        sys.stdout.write(json.dumps(value, indent=2) + "\n")

    def json_line(self, value: Any) -> None:
        """A value as JSON on one line, one of several."""
        sys.stdout.write(json.dumps(value) + "\n")

    def heading(self, text: str, note: str = "") -> None:
        """The title of what follows, with a remark behind it."""
        if self.pretty:
            title = Text(text, "bold cyan")
            self._console.print(title.append(f"  {note}", "not bold default dim") if note else title)
        else:
            self._console.print(f"{text}: {note}" if note else text, markup=False)

    def bar(self, value: int, largest: int) -> RenderableType:
        """A bar of `value`, where `largest` fills the column."""
        if not self.pretty:
            return "#" * -(-_PLAIN_BAR * value // largest) if largest else ""
        return Bar(largest or 1, 0, value, color=BAR)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[RenderableType]], *, indent: int = 2) -> None:
        """Rows under headings."""
        look: dict[str, Any] = {"box": box.SIMPLE_HEAD} if self.pretty else {"box": None, "pad_edge": False}
        table = Table(
            **look,
            padding=(0, 1 if self.pretty else 2, 0, 0),
            show_edge=False,
            border_style="dim" if self.pretty else "",
            header_style="dim" if self.pretty else "",
            expand=self.pretty and any(column.bar for column in columns),
        )
        for column in columns:
            table.add_column(
                column.name if self.pretty else column.name.upper(),
                justify="right" if column.right else "left",
                style=column.style if self.pretty else "",
                no_wrap=not column.wrap,
                overflow="fold" if column.wrap else "ellipsis",
                ratio=1 if column.bar and self.pretty else None,
            )
        for row in rows:
            table.add_row(*(cell if not isinstance(cell, str) else Text(cell) for cell in row))
        if self.pretty:
            self._console.print(Padding(table, (0, 0, 0, indent)))
            return
        with self._console.capture() as captured:
            self._console.print(table)
        # The last column is padded too, which is for nobody's good.
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
