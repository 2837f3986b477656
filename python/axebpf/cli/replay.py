"""`axebpf replay`: objects on a recording."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from axebpf.cli import options
from axebpf.cli.run import show
from axebpf.cli.session import Session
from axebpf.cli.source import recording
from axebpf.recording import FORMATS

__all__ = ["replay"]

RECORDING = "The recording"


def replay(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The recording; - is standard input.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OBJECT]...", help="Object files (.bpf.o). Without one, what is in the recording."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help=f"What it is written as: {' or '.join(FORMATS)}; found out if not given.", rich_help_panel=RECORDING
        ),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            metavar="TRACEPOINT", help="Of which all rows are, where a table does not say.", rich_help_panel=RECORDING
        ),
    ] = None,
    engine: options.Engine = options.EngineName.AUTO,
    variables: options.Variables = None,
    budget: options.Budget = None,
    enable: options.Enable = None,
    trace: options.TraceLines = 10,
    maps: options.ShownMaps = None,
    rows: options.Rows = 20,
    as_json: options.AsJson = False,
) -> None:
    """Load objects, attach their programs where their sections say, replay a recording, and show what came of it.

    A recording is ftrace text (trace, trace_pipe, trace-cmd report, perf script) or a table (CSV). Events of Linux's
    KVM become those of the hypervisor.
    """
    limits: dict[str, Any] = {} if budget is None else {"budget": budget}
    session = Session.of(recording(file, format, event), engine=engine.value, **limits)
    if files:
        session.load(files, options.assignments(variables))
        session.attach()
    elif variables:
        raise typer.BadParameter("there is no object whose variable could be set", param_hint="--set")
    show(session, enable, trace, maps, rows, as_json)
