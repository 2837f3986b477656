"""`axebpf run`: objects on a simulated hypervisor, or on the recording of a real one."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from axebpf.cli import report
from axebpf.cli.assignment import split
from axebpf.cli.console import Screen
from axebpf.cli.cost import Limits, cost_table
from axebpf.cli.options import (
    Arch,
    AsJson,
    Budget,
    Cost,
    Enable,
    Engine,
    Engines,
    Events,
    MapNames,
    MaxCalls,
    MaxInsns,
    On,
    Param,
    Rows,
    Seconds,
    Seed,
    TraceLines,
    Variables,
    Vcpus,
    Vms,
    parameters,
)
from axebpf.cli.session import MapView, Session, views
from axebpf.cli.tracepoints import find_names

__all__ = ["run", "run_and_show"]


def run(
    files: Annotated[list[str], typer.Argument(metavar="OBJECT...", help="Object files (.bpf.o).")],
    on: On = "boot",
    vms: Vms = None,
    vcpus: Vcpus = None,
    arch: Arch = None,
    seconds: Seconds = None,
    events: Events = None,
    seed: Seed = None,
    param: Param = None,
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
    """Load objects, attach their programs where their sections say, run a workload, and show what came of it."""
    options: dict[str, Any] = {} if budget is None else {"budget": budget}
    given = parameters(vms, vcpus, arch, seconds, events, seed, param)
    session = Session.open(on, given, engine=engine.value, seed=seed or 0, **options)
    limits = Limits(max_insns, max_calls)
    run_and_show(
        session, files, variables or [], enable or [], trace, maps or [], rows, limits, cost=cost, as_json=as_json
    )


def run_and_show(
    session: Session,
    files: Sequence[str],
    variables: Sequence[str],
    enable: Sequence[str],
    trace: int,
    maps: Sequence[str],
    rows: int,
    limits: Limits,
    *,
    cost: bool,
    as_json: bool,
) -> None:
    """Loads and attaches objects, runs the session's source, and shows what came of it; then come the limits."""
    if files:
        session.load(files, dict(_variable(text) for text in variables))
        session.attach()
        limits.fit(session)
    if trace:
        for name in find_names(enable or session.places):
            session.bench.enable(name)
    if cost:
        session.measure()
    session.run()
    chosen = views(session, maps)
    screen = Screen()
    if as_json:
        screen.json(session.json(chosen, trace))
    else:
        _show(screen, session, chosen, rows, trace)
    if session.stopped is not None:
        raise session.stopped
    limits.check(session)


def _show(screen: Screen, session: Session, chosen: Sequence[MapView], rows: int, trace: int) -> None:
    report.objects(screen, session)
    report.source(screen, session)
    if session.attachments:
        report.programs(screen, session)
        cost_table(screen, session)
    else:
        report.statistics(screen, session, None)
    for view in chosen:
        report.map_table(screen, view, session.enums, rows)
    for name in session.latencies:
        if name in session.places:
            report.histogram(screen, session, name)
    report.latencies(screen, session)
    report.trace(screen, session, trace)
    report.losses(screen, session)


def _variable(text: str) -> tuple[str, Any]:
    """`threshold_ns=5000`: a number, a text in quotes, a list; raises BadParameter."""
    name, value = split(text, option="--set", example="threshold_ns=5000")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        raise typer.BadParameter(
            f"the value of {name} is {value!r}; expected a number, a list as [1, 2], or a text in quotes",
            param_hint="--set",
        ) from None
