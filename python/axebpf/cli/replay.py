"""`axebpf replay`: the recording of a real hypervisor, through programs."""

from __future__ import annotations

from typing import Annotated

import typer

from axebpf.cli.bundle import bundled
from axebpf.cli.complete import tracepoint_names
from axebpf.cli.options import (
    AsJson,
    BenchOptions,
    CostOptions,
    Enable,
    MapNames,
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


@bundled
def replay(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The recording; - is standard input.")],
    bench: BenchOptions,
    cost: CostOptions,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="OBJECT", help="Object files (.bpf.o).", show_default=False)
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
    variables: Variables = None,
    enable: Enable = None,
    trace: TraceLines = 10,
    maps: MapNames = None,
    rows: Rows = 20,
    as_json: AsJson = False,
) -> None:
    """Load objects, attach their programs where their sections say, replay a recording, and show what came of it.

    A recording is ftrace text (trace, trace_pipe, trace-cmd report, perf script) or a table (CSV). Events of Linux's
    KVM become those of the hypervisor. Without an object: the statistics of the recording.
    """
    if variables and not files:
        raise typer.BadParameter("there is no object whose variable could be set", param_hint="--set")
    if cost.any and not files:
        raise typer.BadParameter("there is no object whose programs could cost anything", param_hint="OBJECT")
    session = Session.of(recording(file, format, event), **bench.options)
    run_and_show(
        session,
        files or [],
        variables or [],
        enable or [],
        trace,
        maps or [],
        rows,
        cost,
        bench.threads,
        as_json=as_json,
    )
