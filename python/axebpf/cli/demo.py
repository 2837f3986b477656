"""`axebpf demo`: the main job in one command, on the examples that come with axebpf."""

from __future__ import annotations

from typing import Annotated

import typer

from axebpf.cli import report
from axebpf.cli.console import BAR, Column, Screen
from axebpf.cli.session import Session
from axebpf.cli.units import duration, number, sparkline
from axebpf.cli.values import named
from axebpf.examples import example
from axebpf.hypervisor import ARCHITECTURES
from axebpf.tracepoints.definitions import ExitReason

__all__ = ["demo"]

_SLOW_NS = 5_000_000
_SHOWN = ("vmm:vcpu_run_exit", "vmm:vm_*", "vmm:vmm_init", "shell:*")
_FIRST = 3
_TRACE_LINES = 8

_NEXT = """\
  axebpf list                       the 29 tracepoints and their fields
  axebpf header -o vmm.h            what a program of yours includes
  axebpf run my.bpf.o --on boot     the same for your program
  axebpf dump my.bpf.o              its maps and instructions, with source lines
"""


def demo(
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 7,
    arch: Annotated[str, typer.Option(help=f"Architecture of the machine: {', '.join(ARCHITECTURES)}.")] = "aarch64",
) -> None:
    """Boot two VMs under three tracing programs, and show their maps, a histogram and the trace."""
    session = Session.open("boot", {"vms": 2, "seed": seed, "arch": arch}, seed=seed)
    session.load([str(example("exits.bpf.o")), str(example("latency.bpf.o"))])
    session.load([str(example("slow_exits.bpf.o"))], {"threshold_ns": _SLOW_NS})
    session.attach()
    for pattern in _SHOWN:
        session.bench.enable(pattern)
    session.run()

    screen = Screen()
    screen.heading("axebpf demo", "two VMs boot on a simulated AxVisor; three programs trace them")
    screen.line(
        f"  {number(sum(session.fired.values()))} events in {duration(session.time_ns)} of the hypervisor's time"
    )
    screen.line()
    report.programs(screen, session)
    _exits(screen, session)
    report.histogram(screen, session, "vmm:vcpu_run_exit")
    _latency(screen, session)
    _slow(screen, session)
    report.trace(screen, session, _TRACE_LINES)
    report.losses(screen, session)
    screen.heading("Next")
    screen.line(_NEXT.rstrip("\n"))
    if session.stopped is not None:
        raise session.stopped


def _exits(screen: Screen, session: Session) -> None:
    """The map of exits.bpf.o, the most frequent reason of each VM first."""
    exits = session.bench.maps["EXITS"]
    screen.heading("EXITS", f"{exits.type} map of exits.bpf.o: exits by VM and reason")
    entries = sorted(exits.items(), key=lambda entry: (entry[0].vm_id, -entry[1].count))
    most = max((value.count for _, value in entries), default=0)
    columns = [Column("vm", right=True, style="bold"), Column("exit reason", style="bold"), Column("count", right=True)]
    columns += [Column("avg", right=True), Column("max", right=True), Column("", bar=True)]
    rows = []
    for key, value in entries:
        times = (report.time(screen, ns) for ns in (value.total_ns // value.count, value.max_ns))
        count = report.count(screen, value.count)
        rows.append((str(key.vm_id), _reason(key.exit_reason), count, *times, screen.bar(value.count, most)))
    screen.table(columns, rows)
    screen.line()


def _latency(screen: Screen, session: Session) -> None:
    """The map of latency.bpf.o: a row of powers of two for each reason."""
    latency = session.bench.maps["LATENCY"]
    slots = latency.max_entries // (len(ExitReason) + 1)
    counts = list(latency.sum().values())
    by_reason = [counts[first : first + slots] for first in range(0, len(counts), slots)]
    used = [slot for row in by_reason for slot, count in enumerate(row) if count]
    if not used:
        return
    low, high = min(used), max(used) + 1
    screen.heading(
        "LATENCY",
        f"{latency.type} map of latency.bpf.o: log2 histograms, {duration(1 << low)} to {duration(1 << high)}",
    )
    rows = []
    for reason, row in enumerate(by_reason):
        if any(row):
            part = row[low:high]
            spread = sparkline(part) if screen.pretty else " ".join(map(str, part))
            rows.append((_reason(reason), report.count(screen, sum(row)), spread))
    screen.table(
        [Column("exit reason", style="bold"), Column("count", right=True), Column("distribution", style=BAR)], rows
    )
    screen.line()


def _slow(screen: Screen, session: Session) -> None:
    """The first records in the ring of slow_exits.bpf.o."""
    ring = session.bench.maps["SLOW"]
    slow = ring.typed("slow_exit").read()
    screen.heading("SLOW", f"{ring.type} of slow_exits.bpf.o: {len(slow)} exits from {duration(_SLOW_NS)}; the first")
    columns = [Column("seconds", right=True), Column("cpu", right=True), Column("vm", right=True, style="bold")]
    columns += [Column("vcpu", right=True), Column("exit reason", style="bold"), Column("duration", right=True)]
    rows = []
    for r in slow[:_FIRST]:
        place = (f"{r.time_ns / 1e9:.6f}", str(r.cpu), str(r.vm_id), str(r.vcpu_id))
        rows.append((*place, _reason(r.exit_reason), report.time(screen, r.duration_ns)))
    screen.table(columns, rows)
    screen.line()


def _reason(value: int) -> str:
    return named(ExitReason, value) or str(value)
