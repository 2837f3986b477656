"""`axebpf run`: objects on a simulated hypervisor, or on a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from axebpf.cli import options, report
from axebpf.cli.console import Screen
from axebpf.cli.session import Session, views
from axebpf.cli.tracepoints import find

__all__ = ["run", "show"]

WORKLOAD = "The workload"


def run(
    files: options.Objects,
    workload: Annotated[
        str,
        typer.Option(
            "--on", metavar="SOURCE", help="What the hypervisor does: boot; or a recording.", rich_help_panel=WORKLOAD
        ),
    ] = "boot",
    vms: Annotated[int | None, typer.Option(help="Virtual machines, 1 to 8.", rich_help_panel=WORKLOAD)] = None,
    vcpus: Annotated[int | None, typer.Option(help="vCPUs of each, 1 to 8.", rich_help_panel=WORKLOAD)] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture: aarch64 or x86_64.", rich_help_panel=WORKLOAD)] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long each VM lives, in simulated time.", rich_help_panel=WORKLOAD)
    ] = None,
    events: Annotated[
        int | None, typer.Option(help="About how many events, in place of --seconds.", rich_help_panel=WORKLOAD)
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same events and random numbers.", rich_help_panel=WORKLOAD)
    ] = 0,
    engine: options.Engine = options.EngineName.AUTO,
    variables: options.Variables = None,
    budget: options.Budget = None,
    enable: options.Enable = None,
    trace: options.TraceLines = 10,
    maps: options.ShownMaps = None,
    rows: options.Rows = 20,
    as_json: options.AsJson = False,
) -> None:
    """Load objects, attach their programs where their sections say, run a workload, and show what came of it."""
    given = {"vms": vms, "vcpus": vcpus, "arch": arch, "seed": seed, "duration_s": seconds, "events": events}
    parameters = {name: value for name, value in given.items() if value is not None}
    limits: dict[str, Any] = {} if budget is None else {"budget": budget}
    session = Session.open(workload, parameters, engine=engine.value, seed=seed, **limits)
    session.load(files, options.assignments(variables))
    session.attach()
    show(session, enable, trace, maps, rows, as_json)


def show(
    session: Session, enable: Sequence[str] | None, trace: int, maps: Sequence[str] | None, rows: int, as_json: bool
) -> None:
    """Lets a session see its events, and shows what came of it. Raises what ended it early."""
    if trace:
        for pattern in enable or session.places:
            for tracepoint in find(pattern):
                session.bench.enable(tracepoint.event_name)
    session.run()
    chosen = views(session, maps or [])
    screen = Screen()
    if as_json:
        screen.json(session.json(chosen, trace))
    else:
        report.objects(screen, session)
        report.source(screen, session)
        report.programs(screen, session)
        for view in chosen:
            report.map_table(screen, view, session.enums, rows)
        for name in session.latencies:
            if name in session.places:
                report.histogram(screen, session, name)
        report.latencies(screen, session)
        report.trace(screen, session, trace)
        report.losses(screen, session)
    if session.stopped is not None:
        raise session.stopped
