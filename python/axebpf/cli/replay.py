"""`axebpf replay`: the recording of a real hypervisor, through programs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from axebpf.cli.options import (
    AsJson,
    Budget,
    Enable,
    Engine,
    Engines,
    MapNames,
    Rows,
    TraceLines,
    Variables,
)
from axebpf.cli.run import run_and_show
from axebpf.cli.session import Session

__all__ = ["replay"]


def replay(
    recording: Annotated[
        str, typer.Argument(metavar="FILE", help="ftrace text (trace, trace_pipe, trace-cmd report) or CSV.")
    ],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[OBJECT]...", help="Object files (.bpf.o).", show_default=False)
    ] = None,
    engine: Engine = Engines.AUTO,
    variables: Variables = None,
    budget: Budget = None,
    enable: Enable = None,
    trace: TraceLines = 10,
    maps: MapNames = None,
    rows: Rows = 20,
    as_json: AsJson = False,
) -> None:
    """Load objects, replay a recording of KVM or of AxVisor through them, and show what came of it.

    Says what was read, what was passed over, and why. Without an object: the statistics of the recording.
    """
    options: dict[str, Any] = {} if budget is None else {"budget": budget}
    session = Session.open_recording(recording, engine=engine.value, **options)
    run_and_show(session, files or [], variables or [], enable or [], trace, maps or [], rows, as_json=as_json)
