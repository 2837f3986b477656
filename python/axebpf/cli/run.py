"""`axebpf run`: objects on a simulated hypervisor."""

from __future__ import annotations

import ast
import enum
from typing import Annotated, Any

import typer

from axebpf.cli import report
from axebpf.cli.console import Screen
from axebpf.cli.session import Session, views
from axebpf.cli.tracepoints import find
from axebpf.cli.workload import HELP, find_workload, parameter
from axebpf.hypervisor import ARCHITECTURES

__all__ = ["Engine", "run"]


class Engine(enum.StrEnum):
    """What runs the programs."""

    AUTO = "auto"
    INTERPRETER = "interpreter"


WORKLOAD, BENCH, OUTPUT = "The workload", "The bench", "What is shown"


def run(
    files: Annotated[list[str], typer.Argument(metavar="OBJECT...", help="Object files (.bpf.o).")],
    workload: Annotated[str, typer.Option("--on", metavar="WORKLOAD", help=HELP, rich_help_panel=WORKLOAD)] = "boot",
    vms: Annotated[int | None, typer.Option(help="Virtual machines, 1 to 8.", rich_help_panel=WORKLOAD)] = None,
    vcpus: Annotated[int | None, typer.Option(help="vCPUs of each, 1 to 8.", rich_help_panel=WORKLOAD)] = None,
    arch: Annotated[
        str | None, typer.Option(help=f"Architecture: {', '.join(ARCHITECTURES)}.", rich_help_panel=WORKLOAD)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long it lasts, in simulated time.", rich_help_panel=WORKLOAD)
    ] = None,
    events: Annotated[
        int | None, typer.Option(help="About how many events, in place of --seconds.", rich_help_panel=WORKLOAD)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed gives the same events and random numbers.", rich_help_panel=WORKLOAD),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUE",
            help="Sets another parameter of the workload, as in rate=5000.",
            rich_help_panel=WORKLOAD,
        ),
    ] = None,
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
    given = {"vms": vms, "vcpus": vcpus, "arch": arch, "seed": seed, "duration_s": seconds, "events": events}
    parameters = {name: value for name, value in given.items() if value is not None}
    parameters |= dict(parameter(text) for text in more or [])
    options: dict[str, Any] = {} if budget is None else {"budget": budget}
    session = Session.open(find_workload(workload), parameters, engine=engine.value, seed=seed or 0, **options)
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
