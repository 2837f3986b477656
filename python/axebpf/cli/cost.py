"""What the programs of a session cost: the table of `--cost`, and the limits that a run is held to."""

from __future__ import annotations

import typer

from axebpf.bench import ProgramCost
from axebpf.bench.cost import Time
from axebpf.cli import report
from axebpf.cli.console import Column, Screen
from axebpf.cli.options import CostOptions
from axebpf.cli.session import Attachment, Session
from axebpf.errors import AxebpfError

__all__ = ["check_counted", "check_limits", "cost_table"]


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


def check_counted(session: Session, options: CostOptions) -> None:
    """Raises BadParameter where the engine does not count what is limited: any run would be within such a limit."""
    if options.max_insns is not None and any(a.program.stats.instructions is None for a in session.attached):
        raise typer.BadParameter(
            "the engine rbpf counts no instructions; leave them to the interpreter, or limit helper calls",
            param_hint="--max-insns-per-event",
        )


def check_limits(session: Session, options: CostOptions) -> None:
    """Raises AxebpfError, which names every attached program that took more, and the first event with the most."""
    told = []
    for a in session.attached:
        stats = a.program.stats
        for worst, limit, what, option in (
            (stats.worst_by_instructions, options.max_insns, "instructions", "--max-insns-per-event"),
            (stats.worst_by_calls, options.max_calls, "helper calls", "--max-calls-per-event"),
        ):
            if limit is not None and worst is not None and worst.amount > limit:
                event = f"{a.place} at {worst.time_ns / 1e9:.9f} s on CPU {worst.cpu}"
                told.append(f"{a.file}: {a.program.name}: {worst.amount} {what} at {event}, more than {option} {limit}")
    if told:
        raise AxebpfError("\n  ".join(told if len(told) == 1 else ["programs cost too much", *told]))
