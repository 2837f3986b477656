"""`axebpf trace`: the trace, line by line, as `cat trace_pipe` shows it on Linux."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from axebpf.bench import Progress
from axebpf.cli.bundle import bundled
from axebpf.cli.complete import tracepoint_names
from axebpf.cli.console import Screen
from axebpf.cli.options import BenchOptions, WorkloadOptions
from axebpf.cli.session import Session
from axebpf.cli.tracepoints import find_names

__all__ = ["trace"]

_ROOM = 1 << 19
"""Entries between two looks at the trace: several for each event of a chunk, so that printed lines fit too."""


class _Enough(Exception):  # noqa: N818 (no error)
    """As many lines as were asked for."""


@bundled
def trace(
    workload: WorkloadOptions,
    bench: BenchOptions,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATTERN",
            help="Tracepoints, wildcards too; all if not given.",
            show_default=False,
            autocompletion=tracepoint_names,
        ),
    ] = None,
    load: Annotated[
        list[str] | None,
        typer.Option(metavar="OBJECT", help="Loads and attaches an object file, whose programs may print."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="EXPRESSION",
            help="Only events that pass: 'duration_ns > 1000 && vm_id == 1'; none of tracepoints that lack a field.",
        ),
    ] = None,
    number: Annotated[
        int | None, typer.Option("-n", "--number", min=1, metavar="N", help="Ends after N lines.")
    ] = None,
) -> None:
    """Show events as they happen, each as a line of the trace."""
    session = Session.open(
        workload.on,
        workload.parameters,
        seed=workload.seed or 0,
        statistics=False,
        trace_entries=_ROOM,
        **bench.options,
    )
    if load:
        session.load(load)
        session.attach()
    names = find_names(patterns or ["*"])
    if only is not None:
        names = session.bench.set_filter(names, only)
    for name in names:
        session.bench.enable(name)
    screen, left, lost = Screen(), number, 0

    def show(_: Progress) -> None:
        nonlocal left, lost
        shown = session.bench.trace
        lines = shown.text().splitlines(keepends=True)
        screen.text("".join(lines[:left]))
        lost += shown.lost
        shown.clear()
        if left is not None:
            left -= len(lines)
            if left <= 0:
                raise _Enough

    try:
        session.run(show, bench.threads)
    except _Enough:
        return
    if lost:
        print(f"axebpf: {lost} lines were lost: programs printed more than the trace holds", file=sys.stderr)
    if session.stopped is not None:
        raise session.stopped
