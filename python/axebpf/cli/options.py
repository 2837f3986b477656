"""Options that several commands share: what the hypervisor does, and with how many of what."""

from __future__ import annotations

from typing import Annotated

import typer

from axebpf.cli.complete import workload_names

__all__ = ["Arch", "Events", "On", "Seconds", "Seed", "Vcpus", "Vms", "parameters"]

_PANEL = "The workload"

On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="WORKLOAD",
        help="What the hypervisor does: boot.",
        rich_help_panel=_PANEL,
        autocompletion=workload_names,
    ),
]
Vms = Annotated[int | None, typer.Option(help="Virtual machines, 1 to 8.", rich_help_panel=_PANEL)]
Vcpus = Annotated[int | None, typer.Option(help="vCPUs of each, 1 to 8.", rich_help_panel=_PANEL)]
Arch = Annotated[str | None, typer.Option(help="Architecture: aarch64 or x86_64.", rich_help_panel=_PANEL)]
Seconds = Annotated[
    float | None, typer.Option(help="How long each VM lives, in simulated time.", rich_help_panel=_PANEL)
]
Events = Annotated[
    int | None, typer.Option(help="About how many events, in place of --seconds.", rich_help_panel=_PANEL)
]
Seed = Annotated[
    int, typer.Option(help="The same seed gives the same events and random numbers.", rich_help_panel=_PANEL)
]


def parameters(
    vms: int | None, vcpus: int | None, arch: str | None, seconds: float | None, events: int | None, seed: int
) -> dict[str, int | float | str]:
    """The parameters of a workload that were given."""
    given = {"vms": vms, "vcpus": vcpus, "arch": arch, "seed": seed, "duration_s": seconds, "events": events}
    return {name: value for name, value in given.items() if value is not None}
