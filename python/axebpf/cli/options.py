"""Options that several commands share, and what becomes of their values."""

from __future__ import annotations

import ast
import enum
from collections.abc import Sequence
from typing import Annotated, Any

import typer

__all__ = [
    "AsJson",
    "Budget",
    "Enable",
    "Engine",
    "EngineName",
    "Objects",
    "Rows",
    "ShownMaps",
    "TraceLines",
    "Variables",
    "assignments",
]

BENCH, OUTPUT = "The bench", "What is shown"


class EngineName(enum.StrEnum):
    """What runs the programs."""

    AUTO = "auto"
    INTERPRETER = "interpreter"


Objects = Annotated[list[str], typer.Argument(metavar="OBJECT...", help="Object files (.bpf.o).")]
Engine = Annotated[EngineName, typer.Option(help="What runs the programs.", rich_help_panel=BENCH)]
Variables = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Sets a global variable, constants too.", rich_help_panel=BENCH),
]
Budget = Annotated[
    int | None, typer.Option(min=1, help="Instructions that one run may execute.", rich_help_panel=BENCH)
]
Enable = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Tracepoints whose events enter the trace; those with programs if not given.",
        rich_help_panel=OUTPUT,
    ),
]
TraceLines = Annotated[int, typer.Option(min=0, help="Lines of the trace to show.", rich_help_panel=OUTPUT)]
ShownMaps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME",
        help="Shows only this map. NAME=TYPE reads the records of a ring buffer as that C structure.",
        rich_help_panel=OUTPUT,
    ),
]
Rows = Annotated[int, typer.Option(min=1, help="Entries of a map to show.", rich_help_panel=OUTPUT)]
AsJson = Annotated[bool, typer.Option("--json", help="Everything as JSON.", rich_help_panel=OUTPUT)]


def assignments(texts: Sequence[str] | None) -> dict[str, Any]:
    """The values of `--set`, by name: `threshold_ns=5000` is a number, a text in quotes or a list.

    Raises BadParameter.
    """
    return dict(_assignment(text) for text in texts or [])


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as in threshold_ns=5000", param_hint="--set")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        raise typer.BadParameter(
            f"the value of {name} is {value!r}; expected a number, a list as [1, 2], or a text in quotes",
            param_hint="--set",
        ) from None
