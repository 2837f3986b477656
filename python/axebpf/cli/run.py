"""`axebpf run`: objects on a simulated hypervisor, or on the recording of a real one."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from axebpf.cli import report
from axebpf.cli.assignment import split
from axebpf.cli.bundle import bundled
from axebpf.cli.console import Screen
from axebpf.cli.cost import check_counted, check_limits, cost_table
from axebpf.cli.options import (
    AsJson,
    BenchOptions,
    CostOptions,
    Enable,
    MapNames,
    Rows,
    TraceLines,
    Variables,
    WorkloadOptions,
)
from axebpf.cli.session import MapView, Session, views
from axebpf.cli.tracepoints import find_names

__all__ = ["run", "run_and_show", "variable"]


@bundled
def run(
    files: Annotated[list[str], typer.Argument(metavar="OBJECT", help="Object files (.bpf.o).")],
    workload: WorkloadOptions,
    bench: BenchOptions,
    cost: CostOptions,
    variables: Variables = None,
    enable: Enable = None,
    trace: TraceLines = 10,
    maps: MapNames = None,
    rows: Rows = 20,
    as_json: AsJson = False,
) -> None:
    """Load objects, attach their programs where their sections say, run a workload, and show what came of it."""
    session = Session.open(workload.on, workload.parameters, seed=workload.seed or 0, **bench.options)
    run_and_show(
        session, files, variables or [], enable or [], trace, maps or [], rows, cost, bench.threads, as_json=as_json
    )


def run_and_show(
    session: Session,
    files: Sequence[str],
    variables: Sequence[str],
    enable: Sequence[str],
    trace: int,
    maps: Sequence[str],
    rows: int,
    cost: CostOptions,
    threads: int,
    *,
    as_json: bool,
) -> None:
    """Loads and attaches objects, runs the session's source, shows what came of it, and holds it to its limits."""
    if files:
        session.load(files, dict(variable(text) for text in variables))
        session.attach()
        check_counted(session, cost)
    if trace:
        for name in find_names(enable or session.places):
            session.bench.enable(name)
    if cost.cost:
        session.measure()
    session.run(threads=threads)
    chosen = views(session, maps)
    screen = Screen()
    if as_json:
        screen.json(session.json(chosen, trace))
    else:
        _show(screen, session, chosen, rows, trace)
    if session.stopped is not None:
        raise session.stopped
    check_limits(session, cost)


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


def variable(text: str) -> tuple[str, Any]:
    """`threshold_ns=5000`: a number, a text in quotes, a list; raises BadParameter."""
    name, value = split(text, option="--set", example="threshold_ns=5000")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        raise typer.BadParameter(
            f"the value of {name} is {value!r}; expected a number, a list as [1, 2], or a text in quotes",
            param_hint="--set",
        ) from None
