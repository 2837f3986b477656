"""What the programs of a session cost: the table of `--cost`, and the limits that a run is held to."""

from __future__ import annotations

from typing import NamedTuple

import typer

from axebpf.bench import ProgramCost
from axebpf.bench.cost import Time
from axebpf.bench.program import WorstRun
from axebpf.cli import report
from axebpf.cli.console import Column, Screen
from axebpf.cli.session import Attachment, Session
from axebpf.errors import AxebpfError

__all__ = ["Limits", "cost_table"]


def cost_table(screen: Screen, session: Session) -> None:
    """What each attached program costs at each event, where that was measured."""
    costs = session.costs
    if costs is None:
        return
    note = f"a run on average and at worst; times on this machine, median of {costs.repetitions}"
    screen.heading("Cost of each event", note)
    names = ("insns", "worst", "calls", "worst", "interpreter", "rbpf")
    columns = [Column("program", style="bold"), *(Column(name, right=True) for name in names), Column("rbpf is")]
    found = list(zip(session.attached, costs.programs.values(), strict=True))
    screen.table(columns, [_row(screen, a, of) for a, of in found])
    for a, of in found:
        for target, why in of.refused.items():
            what = "AxVisor does not run it" if target == "axvisor" else "nor does rbpf with Linux's helpers"
            screen.line(f"  {a.file}: {a.program.name}: {what}: {why}", "yellow")
    screen.line()


def _row(screen: Screen, a: Attachment, of: ProgramCost) -> list[str]:
    stats = of.stats
    if not stats.runs or stats.worst_instructions is None:
        return [a.program.name, *("-" for _ in range(7))]
    return [
        a.program.name,
        report.mean(stats.instructions_per_run),
        report.count(screen, stats.worst_instructions),
        report.mean(stats.calls_per_run),
        report.count(screen, stats.worst_calls),
        _time(screen, of.interpreter),
        _time(screen, of.rbpf),
        {"axvisor": "AxVisor", "linux": "with Linux's helpers", None: "-"}[of.rbpf_target],
    ]


def _time(screen: Screen, time: Time | None) -> str:
    return report.time(screen, None if time is None else round(time.ns))


class Limits(NamedTuple):
    """What a program may take at any event."""

    instructions: int | None = None
    calls: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return self.instructions is not None or self.calls is not None

    def fit(self, session: Session) -> None:
        """Raises BadParameter where the engine does not count what is limited: the limit would hold anything."""
        if self.instructions is not None and any(a.program.stats.instructions is None for a in session.attached):
            raise typer.BadParameter(
                "the engine rbpf counts no instructions; leave it to the interpreter, or limit helper calls",
                param_hint="--max-insns-per-event",
            )

    def check(self, session: Session) -> None:
        """Raises AxebpfError, which names every attached program that took more, and the first event with the most."""
        told = []
        for a in session.attached:
            stats = a.program.stats
            for worst, limit, what, option in (
                (stats.worst_by_instructions, self.instructions, "instructions", "--max-insns-per-event"),
                (stats.worst_by_calls, self.calls, "helper calls", "--max-calls-per-event"),
            ):
                if limit is not None and worst is not None and worst.amount > limit:
                    told.append(f"{a.file}: {a.program.name}: {_event(a, worst, what)}, more than {option} {limit}")
        if told:
            raise AxebpfError("\n  ".join(told if len(told) == 1 else ["programs cost too much", *told]))


def _event(a: Attachment, worst: WorstRun, what: str) -> str:
    return f"{worst.amount} {what} at {a.place} at {worst.time_ns / 1e9:.9f} s on CPU {worst.cpu}"
