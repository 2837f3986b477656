"""What the programs of a session cost: the table of `--cost`, and the limits that a run is held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import typer

from axebpf.bench import ProgramCost
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
    screen.heading(
        "Cost of each event", "of a run on average and at worst; times are averages on this machine, - where too short"
    )
    names = ("insns", "worst", "calls", "worst", "interpreter", "rbpf")
    columns = [Column("program", style="bold"), Column("object"), *(Column(name, right=True) for name in names)]
    found = list(zip(session.attached, costs.programs.values(), strict=True))
    screen.table([*columns, Column("rbpf for")], [_row(screen, a, of) for a, of in found])
    for a, of in found:
        for what in _refusals(of.refused):
            screen.line(f"  {a.file}: {a.program.name}: {what}", "yellow")
    screen.line()


def _row(screen: Screen, a: Attachment, of: ProgramCost) -> list[str]:
    stats = of.stats
    counts = ["-"] * 4
    if stats.runs and stats.worst_instructions is not None:
        worst = [report.count(screen, n) for n in (stats.worst_instructions, stats.worst_calls)]
        counts = [report.mean(stats.instructions_per_run), worst[0], report.mean(stats.calls_per_run), worst[1]]
    times = [
        report.time(screen, round(ns) if ns is not None and ns > 0 else None) for ns in (of.interpreter_ns, of.rbpf_ns)
    ]
    return [a.program.name, a.file, *counts, *times, of.rbpf_target or "-"]


def _refusals(refused: Mapping[str, str]) -> Iterator[str]:
    """Why rbpf has no time for target axvisor, or none at all."""
    here, there = refused.get("linux"), refused.get("axvisor")
    if there is not None:
        yield f"target axvisor refuses it: {there}"
    if here is not None:
        # Mostly it is the same.
        same = there is not None and here.splitlines()[0] in there
        yield "so does rbpf on target linux" if same else f"rbpf on target linux refuses it: {here}"


def check_counted(session: Session, options: CostOptions) -> None:
    """Raises BadParameter where the engine does not count what is limited: any run would be within such a limit."""
    if options.max_insns is not None and any(a.program.stats.instructions is None for a in session.attached):
        raise typer.BadParameter(
            "the engine rbpf counts no instructions; limit them in a run on target linux with the engine interpreter, "
            "or limit helper calls",
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
