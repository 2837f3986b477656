"""Options that several commands share: what the hypervisor does, and with how many of what."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from axebpf.bench import ENGINES, MAP_LIBRARIES, TARGETS, Bench
from axebpf.cli.complete import tracepoint_names, workload_names
from axebpf.cli.workload import HELP, parameter
from axebpf.errors import did_you_mean
from axebpf.hypervisor import ARCHITECTURES

__all__ = [
    "AsJson",
    "BenchOptions",
    "CostOptions",
    "Enable",
    "MapNames",
    "Rows",
    "TraceLines",
    "Variables",
    "WorkloadOptions",
    "one_of",
]

_PANEL, _BENCH, _OUTPUT = "The workload", "The bench", "What is shown"
_LIMITS = "Limits"


def one_of(words: Sequence[str], option: str, help: str, panel: str | None = None) -> Any:
    """An option that takes one of these words; another one is misuse, and the message has the nearest."""

    def word(text: str) -> str:
        if text not in words:
            raise typer.BadParameter(
                f"{text!r} is not one of {', '.join(words)}{did_you_mean(text, words)}", param_hint=option
            )
        return text

    def begun(typed: str) -> list[str]:
        return [known for known in words if known.startswith(typed)]

    return typer.Option(
        option, parser=word, metavar="|".join(words), help=help, rich_help_panel=panel, autocompletion=begun
    )


Variables = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Sets a global variable, constants too.", rich_help_panel=_BENCH),
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


@dataclass(frozen=True)
class WorkloadOptions:
    """What the hypervisor does, and with how many of what."""

    on: Annotated[
        str,
        typer.Option(metavar="SOURCE", help=HELP, rich_help_panel=_PANEL, autocompletion=workload_names),
    ] = "boot"
    vms: Annotated[int | None, typer.Option(help="Virtual machines, 1 to 8.", rich_help_panel=_PANEL)] = None
    vcpus: Annotated[int | None, typer.Option(help="vCPUs of each, 1 to 8.", rich_help_panel=_PANEL)] = None
    arch: Annotated[
        str | None, typer.Option(help=f"Architecture: {', '.join(ARCHITECTURES)}.", rich_help_panel=_PANEL)
    ] = None
    seconds: Annotated[
        float | None, typer.Option(help="How long it lasts, in simulated time.", rich_help_panel=_PANEL)
    ] = None
    events: Annotated[
        int | None, typer.Option(help="About how many events, in place of --seconds.", rich_help_panel=_PANEL)
    ] = None
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same events and random numbers.", rich_help_panel=_PANEL)
    ] = None
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Sets another parameter of the workload, as in rate=5000.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the workload that were given."""
        given = {
            "vms": self.vms,
            "vcpus": self.vcpus,
            "arch": self.arch,
            "seed": self.seed,
            "duration_s": self.seconds,
            "events": self.events,
        }
        named = {name: value for name, value in given.items() if value is not None}
        return named | dict(map(parameter, self.param or []))


@dataclass(frozen=True)
class BenchOptions:
    """What programs are run for, and by what."""

    target: Annotated[
        str, one_of(TARGETS, "--target", "What programs are run for; the trace has its form.", _BENCH)
    ] = TARGETS[0]
    engine: Annotated[str, one_of(("auto", *ENGINES), "--engine", "What runs the programs.", _BENCH)] = "auto"
    map_library: Annotated[
        str, one_of(("auto", *MAP_LIBRARIES), "--maps", "Whose maps they use; auto: the target's.", _BENCH)
    ] = "auto"
    budget: Annotated[
        int, typer.Option(min=1, help="Instructions that one run may execute.", rich_help_panel=_BENCH)
    ] = inspect.signature(Bench).parameters["budget"].default
    threads: Annotated[
        int, typer.Option(min=1, help="Threads that fire the events, at most one a CPU.", rich_help_panel=_BENCH)
    ] = 1

    @property
    def options(self) -> dict[str, Any]:
        """Those of `axebpf.Bench`."""
        return {"target": self.target, "engine": self.engine, "maps": self.map_library, "budget": self.budget}


@dataclass(frozen=True)
class CostOptions:
    """What programs cost at each event, and may cost."""

    cost: Annotated[
        bool,
        typer.Option(
            "--cost",
            help="What each program costs at each event, with its time on axebpf's interpreter and on AxVisor's VM.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False
    max_insns: Annotated[
        int | None,
        typer.Option(
            "--max-insns-per-event",
            min=1,
            metavar="N",
            help="Exit code 1 where a program executes more instructions at any event.",
            rich_help_panel=_LIMITS,
        ),
    ] = None
    max_calls: Annotated[
        int | None,
        typer.Option(
            "--max-calls-per-event",
            min=0,
            metavar="N",
            help="Exit code 1 where a program calls more helpers at any event.",
            rich_help_panel=_LIMITS,
        ),
    ] = None

    @property
    def any(self) -> bool:
        """Whether one was given."""
        return self.cost or self.max_insns is not None or self.max_calls is not None
