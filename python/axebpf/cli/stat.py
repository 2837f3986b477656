"""`axebpf stat`: what the events of each tracepoint came to."""

from __future__ import annotations

from typing import Annotated

import typer

from axebpf.cli import report
from axebpf.cli.bundle import bundled
from axebpf.cli.complete import tracepoint_names
from axebpf.cli.console import Screen
from axebpf.cli.options import WorkloadOptions
from axebpf.cli.session import Session
from axebpf.cli.tracepoints import find_names

__all__ = ["stat"]


@bundled
def stat(
    workload: WorkloadOptions,
    hist: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT",
            help="Shows the histogram of this tracepoint's durations too; wildcards too.",
            autocompletion=tracepoint_names,
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the N tracepoints with the most events.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show count, times and distribution of every tracepoint that has fired, the most frequent first."""
    histograms = find_names(hist or [])
    session = Session.open(workload.on, workload.parameters, seed=workload.seed or 0)
    session.run()
    screen = Screen()
    if as_json:
        screen.json(session.statistics_json(top))
    else:
        report.source(screen, session)
        report.statistics(screen, session, top)
        for name in histograms:
            report.histogram(screen, session, name)
    if session.stopped is not None:
        raise session.stopped
