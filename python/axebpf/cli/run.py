"""`axebpf run`: objects on a simulated hypervisor."""

from __future__ import annotations

import ast
import enum
from typing import Annotated, Any

import typer

from axebpf.cli import report
from axebpf.cli.console import Screen
from axebpf.cli.options import Arch, Events, On, Seconds, Seed, Vcpus, Vms, parameters
from axebpf.cli.session import Session, views
from axebpf.cli.tracepoints import find

__all__ = ["Engine", "run"]


class Engine(enum.StrEnum):
    """What runs the programs."""

    AUTO = "auto"
    INTERPRETER = "interpreter"


BENCH, OUTPUT = "The bench", "What is shown"


def run(
    files: Annotated[list[str], typer.Argument(metavar="OBJECT...", help="Object files (.bpf.o).")],
    on: On = "boot",
    vms: Vms = None,
    vcpus: Vcpus = None,
    arch: Arch = None,
    seconds: Seconds = None,
    events: Events = None,
    seed: Seed = 0,
    engine: Annotated[Engine, typer.Option(help="What runs the programs.", rich_help_panel=BENCH)] = Engine.AUTO,
    variables: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Sets a global variable, constants too.", rich_help_panel=BENCH
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Instructions that one run may execute.", rich_help_panel=BENCH)
    ] = None,
    enable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Tracepoints whose events enter the trace; those with programs if not given.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    trace: Annotated[int, typer.Option(min=0, help="Lines of the trace to show.", rich_help_panel=OUTPUT)] = 10,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="NAME",
            help="Shows only this map. NAME=TYPE reads the records of a ring buffer as that C structure.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Entries of a map to show.", rich_help_panel=OUTPUT)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.", rich_help_panel=OUTPUT)] = False,
) -> None:
    """Load objects, attach their programs where their sections say, run a workload, and show what came of it."""
    options: dict[str, Any] = {} if budget is None else {"budget": budget}
    given = parameters(vms, vcpus, arch, seconds, events, seed)
    session = Session.open(on, given, engine=engine.value, seed=seed, **options)
    session.load(files, dict(_variable(text) for text in variables or []))
    session.attach()
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
        report.workload(screen, session)
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


def _variable(text: str) -> tuple[str, Any]:
    """`threshold_ns=5000`: a number, a text in quotes, a list; raises BadParameter."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as in threshold_ns=5000", param_hint="--set")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        raise typer.BadParameter(
            f"the value of {name} is {value!r}; expected a number, a list as [1, 2], or a text in quotes",
            param_hint="--set",
        ) from None
