"""`axebpf list`, `format` and `header`: the tracepoints of AxVisor."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from axebpf import _native
from axebpf.bench import TARGETS
from axebpf.cli.complete import tracepoint_names
from axebpf.cli.console import Column, Screen
from axebpf.cli.options import one_of
from axebpf.errors import AxebpfError, NotFound, did_you_mean
from axebpf.tracepoint import Field, Tracepoint
from axebpf.tracepoints import BUILTIN
from axebpf.tracepoints.header import header

__all__ = ["find", "find_names", "format_file", "header_file", "list_tracepoints"]

Pattern = Annotated[
    str,
    typer.Argument(
        metavar="PATTERN",
        help="Names with wildcards: 'vmm:vm_*', or only 'vm_*'; all if not given.",
        show_default=False,
        autocompletion=tracepoint_names,
    ),
]


def find(pattern: str) -> list[type[Tracepoint]]:
    """The tracepoints that match a pattern, with or without subsystem. Raises NotFound with the nearest name.

    >>> [tp.event_name for tp in find("vmm:vm_b*")]
    ['vmm:vm_boot']
    """
    found = [tp for tp in BUILTIN if any(fnmatch.fnmatchcase(name, pattern) for name in (tp.event_name, tp.event))]
    if not found:
        near = did_you_mean(pattern, [name for tp in BUILTIN for name in (tp.event_name, tp.event)])
        raise NotFound(f"no tracepoint matches {pattern}{near}")
    return found


def find_names(patterns: Iterable[str]) -> list[str]:
    """The names of all tracepoints that match one of the patterns, each once. Raises NotFound as `find` does.

    >>> find_names(["vm_b*", "vmm:vm_boot"])
    ['vmm:vm_boot']
    """
    return list(dict.fromkeys(tracepoint.event_name for pattern in patterns for tracepoint in find(pattern)))


def list_tracepoints(
    pattern: Pattern = "*",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List tracepoints with their ids and fields."""
    found = find(pattern)
    screen = Screen()
    if as_json:
        screen.json([_json(tp) for tp in found])
        return
    columns = [Column("tracepoint", style="bold"), Column("id", right=True)]
    columns += [Column("fields", wrap=True), Column("meaning", wrap=True)]
    screen.table(columns, [(tp.event_name, str(tp.id), _fields(tp, screen.pretty), tp.doc) for tp in found], indent=0)


def _fields(tp: type[Tracepoint], pretty: bool) -> Text:
    """The fields with types, and what their numbers mean."""
    texts = []
    for f in tp.fields:
        meaning = f.enum.__name__ if f.enum is not None else f.unit
        text = Text(f.name).append(f":{f.type.text}", "dim" if pretty else "")
        texts.append(
            text.append(f" {meaning}", "cyan") if meaning and pretty else text.append(f"({meaning})" if meaning else "")
        )
    return Text("\n" if pretty else " ").join(texts)


def _json(tp: type[Tracepoint]) -> dict[str, object]:
    offsets = {name: (offset, size) for name, _, offset, size, _ in tp.layout().fields}
    return {
        "name": tp.event_name,
        "id": tp.id,
        "doc": tp.doc,
        "size": tp.layout().size,
        "fields": [_json_field(f, *offsets[f.name]) for f in tp.fields],
    }


def _json_field(f: Field, offset: int, size: int) -> dict[str, object]:
    values = None if f.enum is None else {member.name: member.value for member in f.enum}
    return {
        "name": f.name,
        "type": f.type.text,
        "offset": offset,
        "size": size,
        "unit": f.unit or None,
        "role": f.role or None,
        "values": values,
    }


def format_file(
    event: Annotated[
        str, typer.Argument(help="A tracepoint, such as vmm:vcpu_run_exit.", autocompletion=tracepoint_names)
    ],
    target: Annotated[str, one_of(TARGETS, "--target", "In whose form.")] = TARGETS[0],
) -> None:
    """Show the format file of a tracepoint, which tells trace-cmd and perf how to read its records."""
    specs = [_native.TracepointSpec(tp.event_name, tp.id, tp.declaration()) for tp in find(event)]
    Screen().text("\n".join(spec.format(target) for spec in specs))


def header_file(
    pattern: Pattern = "*",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to; standard output if not given.")
    ] = "",
) -> None:
    """Write the C header that a tracing program includes to read the records."""
    text = header(find(pattern))
    if not output:
        Screen().text(text)
        return
    try:
        Path(output).write_text(text)
    except OSError as error:
        raise AxebpfError(f"{output}: cannot be written: {error.strerror}") from error
