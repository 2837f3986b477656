"""Options that several commands share: what the hypervisor does, and with how many of what."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from axebpf.cli.complete import tracepoint_names, workload_names
from axebpf.cli.workload import HELP, parameter
from axebpf.hypervisor import ARCHITECTURES

__all__ = [
    "Arch",
    "AsJson",
    "Budget",
    "Cost",
    "Enable",
    "Engine",
    "Engines",
    "Events",
    "MapNames",
    "MaxCalls",
    "MaxInsns",
    "On",
    "Param",
    "Rows",
    "Seconds",
    "Seed",
    "TraceLines",
    "Variables",
    "Vcpus",
    "Vms",
    "parameters",
]

_PANEL, _BENCH, _OUTPUT = "The workload", "The bench", "What is shown"
_LIMITS = "Limits"


class Engines(enum.StrEnum):
    """What runs the programs."""

    AUTO = "auto"
    INTERPRETER = "interpreter"


On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="SOURCE",
        help=HELP,
        rich_help_panel=_PANEL,
        autocompletion=workload_names,
    ),
]
Vms = Annotated[int | None, typer.Option(help="Virtual machines, 1 to 8.", rich_help_panel=_PANEL)]
Vcpus = Annotated[int | None, typer.Option(help="vCPUs of each, 1 to 8.", rich_help_panel=_PANEL)]
Arch = Annotated[str | None, typer.Option(help=f"Architecture: {', '.join(ARCHITECTURES)}.", rich_help_panel=_PANEL)]
Seconds = Annotated[float | None, typer.Option(help="How long it lasts, in simulated time.", rich_help_panel=_PANEL)]
Events = Annotated[
    int | None, typer.Option(help="About how many events, in place of --seconds.", rich_help_panel=_PANEL)
]
Seed = Annotated[
    int | None, typer.Option(help="The same seed gives the same events and random numbers.", rich_help_panel=_PANEL)
]
Engine = Annotated[Engines, typer.Option(help="What runs the programs.", rich_help_panel=_BENCH)]
Variables = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Sets a global variable, constants too.", rich_help_panel=_BENCH),
]
Budget = Annotated[
    int | None, typer.Option(min=1, help="Instructions that one run may execute.", rich_help_panel=_BENCH)
]
Enable = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Tracepoints whose events enter the trace; those with programs if not given.",
        rich_help_panel=_OUTPUT,
        autocompletion=tracepoint_names,
    ),
]
TraceLines = Annotated[int, typer.Option("--trace", min=0, help="Lines of the trace to show.", rich_help_panel=_OUTPUT)]
MapNames = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME",
        help="Shows only this map. NAME=TYPE reads the records of a ring buffer as that C structure.",
        rich_help_panel=_OUTPUT,
    ),
]
Rows = Annotated[int, typer.Option(min=1, help="Entries of a map to show.", rich_help_panel=_OUTPUT)]
AsJson = Annotated[bool, typer.Option("--json", help="Everything as JSON.", rich_help_panel=_OUTPUT)]
Cost = Annotated[
    bool,
    typer.Option(
        "--cost",
        help="What each program costs at each event, with its time on axebpf's interpreter and on AxVisor's VM.",
        rich_help_panel=_OUTPUT,
    ),
]
MaxInsns = Annotated[
    int | None,
    typer.Option(
        "--max-insns-per-event",
        min=1,
        metavar="N",
        help="Exit code 1 where a program executes more instructions at any event.",
        rich_help_panel=_LIMITS,
    ),
]
MaxCalls = Annotated[
    int | None,
    typer.Option(
        "--max-calls-per-event",
        min=0,
        metavar="N",
        help="Exit code 1 where a program calls more helpers at any event.",
        rich_help_panel=_LIMITS,
    ),
]
Param = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="Sets another parameter of the workload, as in rate=5000.", rich_help_panel=_PANEL
    ),
]


def parameters(
    vms: int | None,
    vcpus: int | None,
    arch: str | None,
    seconds: float | None,
    events: int | None,
    seed: int | None,
    more: list[str] | None,
) -> dict[str, Any]:
    """The parameters of a workload that were given."""
    given = {"vms": vms, "vcpus": vcpus, "arch": arch, "seed": seed, "duration_s": seconds, "events": events}
    return {name: value for name, value in given.items() if value is not None} | dict(map(parameter, more or []))
