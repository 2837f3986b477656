"""`axebpf replay`: the recording of a real hypervisor, through programs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from axebpf.cli.complete import tracepoint_names
from axebpf.cli.cost import Limits
from axebpf.cli.options import (
    AsJson,
    Budget,
    Cost,
    Enable,
    Engine,
    Engines,
    MapNames,
    MaxCalls,
    MaxInsns,
    Rows,
    TraceLines,
    Variables,
)
from axebpf.cli.run import run_and_show
from axebpf.cli.session import Session
from axebpf.cli.source import recording
from axebpf.recording import FORMATS

__all__ = ["replay"]

_RECORDING = "The recording"


def replay(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The recording; - is standard input.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[OBJECT]...", help="Object files (.bpf.o).", show_default=False)
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help=f"What it is written as: {' or '.join(FORMATS)}; found out if not given.", rich_help_panel=_RECORDING
        ),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            metavar="TRACEPOINT",
            help="Of which all rows are, where a table does not say.",
            rich_help_panel=_RECORDING,
            autocompletion=tracepoint_names,
        ),
    ] = None,
    engine: Engine = Engines.AUTO,
    variables: Variables = None,
    budget: Budget = None,
    enable: Enable = None,
    trace: TraceLines = 10,
    maps: MapNames = None,
    rows: Rows = 20,
    cost: Cost = False,
    max_insns: MaxInsns = None,
    max_calls: MaxCalls = None,
    as_json: AsJson = False,
) -> None:
    """Load objects, attach their programs where their sections say, replay a recording, and show what came of it.

    A recording is ftrace text (trace, trace_pipe, trace-cmd report, perf script) or a table (CSV). Events of Linux's
    KVM become those of the hypervisor. Without an object: the statistics of the recording.
    """
    options: dict[str, Any] = {} if budget is None else {"budget": budget}
    if variables and not files:
        raise typer.BadParameter("there is no object whose variable could be set", param_hint="--set")
    limits = Limits(max_insns, max_calls)
    if (cost or limits.any) and not files:
        raise typer.BadParameter("there is no object whose programs could cost anything", param_hint="OBJECT")
    session = Session.of(recording(file, format, event), engine=engine.value, **options)
    run_and_show(
        session, files or [], variables or [], enable or [], trace, maps or [], rows, limits, cost=cost, as_json=as_json
    )
