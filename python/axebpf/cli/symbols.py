"""`axebpf symbols`: what is at an address, where a name is, and symbol tables from one form into another."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from axebpf.cli.console import Column, Screen
from axebpf.cli.units import number
from axebpf.errors import AxebpfError, SymbolError
from axebpf.symbols import Symbol, SymbolTable

__all__ = ["symbols"]

_SHOWN = 40
"""Rows that a terminal is given without being asked for more."""


class Form(enum.StrEnum):
    """In what form a table is written."""

    BLOB = "blob"
    OLD_BLOB = "old-blob"
    TEXT = "text"


_STYLES = {Form.BLOB: "ksym-0.6", Form.OLD_BLOB: "ksym"}


def _address(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an address, such as 0xffff800000200000") from None


def symbols(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A kallsyms blob, text of nm or /proc/kallsyms, or an ELF file.")
    ],
    queries: Annotated[
        list[str] | None, typer.Argument(metavar="NAME|0xADDRESS", help="What to look up; everything if not given.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="PART", help="Only symbols whose name or module contains this.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"Rows at most. On a terminal {_SHOWN}, else all.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    stext: Annotated[
        int | None,
        typer.Option(metavar="ADDRESS", parser=_address, help="The first address to answer for.", show_default=False),
    ] = None,
    etext: Annotated[
        int | None,
        typer.Option(metavar="ADDRESS", parser=_address, help="One past the last address.", show_default=False),
    ] = None,
    to: Annotated[
        Form | None,
        typer.Option(
            help="Write the table: as kallsyms text, as a blob of ksym 0.6, or as the older one that AxVisor carries.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where --to writes; standard output if not given.")
    ] = "",
) -> None:
    """Look up symbols by address or name, list them, or write them in another form."""
    asked = [option for option, given in (("NAME", queries), ("--search", search is not None), ("--to", to)) if given]
    if len(asked) > 1:
        raise typer.BadParameter(f"{asked[0]} and {asked[1]} do not go together")
    if output and to is None:
        raise typer.BadParameter("-o needs --to, which says in what form")
    table = _read(file, stext, etext)
    if to is not None:
        _write(table, to, output)
        return
    screen = Screen()
    if queries:
        _look_up(screen, table, queries, as_json)
        return
    found = table if search is None else table.search(search)
    shown = limit if limit is not None else _SHOWN if screen.pretty and not as_json else len(found)
    _list(screen, table, _first(found, shown), as_json)
    if screen.pretty and shown < len(found):
        screen.line(f"{number(len(found) - shown)} more; --limit {len(found)} shows all", "dim")


def _read(file: str, stext: int | None, etext: int | None) -> SymbolTable:
    """The table of a file; on standard error, what of the file is not in it."""
    try:
        table = SymbolTable.from_file(file, stext, etext)
    except SymbolError as error:
        message = str(error)
        raise AxebpfError(message if message.startswith(file) else f"{file}: {message}") from error
    if table.skipped:
        lines = "1 line was" if table.skipped == 1 else f"{table.skipped} lines were"
        print(f"axebpf: {file}: {lines} not understood", file=sys.stderr)
    if len(table) > 1 and table[-1].addr == 0:
        hidden = "every address is 0: the kernel hides them from this user (kernel.kptr_restrict)"
        print(f"axebpf: {file}: {hidden}", file=sys.stderr)
    return table


def _first(found: Iterable[Symbol], limit: int) -> Iterator[Symbol]:
    return (symbol for symbol, _ in zip(found, range(limit), strict=False))


def _write(table: SymbolTable, to: Form, output: str) -> None:
    data = table.to_text().encode("utf-8", "surrogateescape") if to is Form.TEXT else table.to_blob(_STYLES[to])
    if not output:
        sys.stdout.buffer.write(data)
        return
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise AxebpfError(f"{output}: cannot be written: {error.strerror}") from error


def _look_up(screen: Screen, table: SymbolTable, queries: list[str], as_json: bool) -> None:
    """What each query finds; afterwards an error for those that found nothing."""
    found = {query: _answers(table, query) for query in queries}
    if as_json:
        screen.json(
            [{"query": query, "symbols": [_json(table, s) for s in answers]} for query, answers in found.items()]
        )
    elif any(found.values()):
        columns = [Column("query"), Column("address", right=True), Column("size", right=True)]
        columns += [Column("type"), Column("symbol", style="bold", wrap=True)]
        rows = [(query, *_row(table, symbol)) for query, answers in found.items() for symbol in answers]
        screen.table(columns, rows, indent=0)
    missing = [_missing(table, query) for query, answers in found.items() if not answers]
    if missing:
        raise AxebpfError("; ".join(missing))


def _answers(table: SymbolTable, query: str) -> list[Symbol]:
    address = _as_address(query)
    if address is None:
        return table.lookup_all(query)
    symbol = table.lookup_symbol(address)
    return [] if symbol is None else [symbol]


def _as_address(query: str) -> int | None:
    try:
        return int(query, 16) if query[:2].lower() == "0x" else None
    except ValueError:
        return None


def _missing(table: SymbolTable, query: str) -> str:
    if _as_address(query) is not None:
        return f"no symbol at {query}"
    near = table.nearest(query)
    return f"no symbol {_printable(query)}" + (f"; did you mean {_printable(near)}?" if near else "")


def _list(screen: Screen, table: SymbolTable, found: Iterable[Symbol], as_json: bool) -> None:
    if as_json:
        screen.json([_json(table, symbol) for symbol in found])
        return
    if screen.pretty:
        columns = [Column("address", right=True), Column("size", right=True)]
        columns += [Column("type"), Column("symbol", style="bold", wrap=True)]
        screen.table(columns, [_row(table, symbol) for symbol in found], indent=0)
        return
    # As `nm -S` prints it, so that it can be read again; a table of so many rows would take long to lay out.
    for symbol in found:
        module = table.module(symbol)
        suffix = f"\t[{module}]" if module else ""
        screen.text(f"{symbol.addr:016x} {symbol.size:016x} {symbol.type} {_printable(symbol.name)}{suffix}\n")


def _row(table: SymbolTable, symbol: Symbol) -> tuple[str | Text, ...]:
    name = Text(_printable(symbol.name)).append(f"+{symbol.offset:#x}" if symbol.offset else "", "not bold")
    module = table.module(symbol)
    if module:
        name.append(f" [{_printable(module)}]", "not bold cyan")
    return f"{symbol.addr:#x}", f"{symbol.size:#x}", _printable(symbol.type), name


def _json(table: SymbolTable, symbol: Symbol) -> dict[str, Any]:
    return {**symbol._asdict(), "module": table.module(symbol)}


def _printable(name: str) -> str:
    r"""A name without what would move a terminal's cursor: such characters, and bytes that are no text, as `\x1b`.

    >>> _printable("a\x1b[31m"), _printable("\udcff")
    ('a\\x1b[31m', '\\xff')
    """
    if name.isprintable():
        return name
    data = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in data)
