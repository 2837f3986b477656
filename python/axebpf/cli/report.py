"""What came of a session, section by section."""

from __future__ import annotations

import re
from typing import Any

from rich.text import Text

from axebpf.bench import ReplayResult
from axebpf.bloom_filter import BloomFilter
from axebpf.cli.console import BAR, Column, Screen
from axebpf.cli.session import MapView, Session
from axebpf.cli.units import BUCKETS, duration, number, sparkline
from axebpf.cli.values import Enums, cell
from axebpf.entry_table import cells, leaves
from axebpf.ring_buffer import RingBuffer

__all__ = [
    "count",
    "histogram",
    "latencies",
    "losses",
    "map_table",
    "mean",
    "objects",
    "programs",
    "source",
    "statistics",
    "time",
    "trace",
]

_LINE = re.compile(r".*\[0*(?P<cpu>\d+)\] \S+ +(?P<time>[\d.]+): (?P<event>\w+)(?:: |(\())(?P<text>.*)(?(4)\))")
"""A line of the trace in Linux's form, or in AxVisor's, which has the text in parentheses."""
_WIDE = 92


def objects(screen: Screen, session: Session) -> None:
    """What was read from each object."""
    for file, loaded in session.objects.items():
        maps = [name for name in loaded.maps if not name.startswith(".")]
        note = f"{_counted(len(loaded), 'program')}, {_counted(len(maps), 'map')}, licence {loaded.license or 'none'}"
        screen.heading(file, note)
        for warning in loaded.warnings:
            screen.line(f"  passed over: {warning}", "yellow")
        if loaded.globals:
            # Formats of bpf_printk are constants that the compiler makes, `function.____fmt`.
            own = {name: v for name, v in loaded.globals.items() if not name.endswith(".____fmt")}
            values = [f"{name} = {cell(name, v, {}, pretty=False)}" for name, v in own.items()]
            if values:
                screen.line(f"  variables: {', '.join(values)}")
    screen.line()


def source(screen: Screen, session: Session) -> None:
    """What was run, or replayed."""
    screen.heading(session.source.name, session.source.note)
    result = session.result
    events = f"{number(sum(session.fired.values()))} events"
    if isinstance(result, ReplayResult):
        events += f" in {duration(max(0, result.time_ns - result.first_ns))} of the hypervisor's time"
    else:  # many workloads begin when the hypervisor has long been up
        events += f", the last {duration(session.time_ns)} after power-on"
    if isinstance(session.stopped, KeyboardInterrupt):
        events += ", then interrupted"
    elif session.stopped is not None:
        events += ", then stopped by a fault"
    screen.line(f"  {events}")
    screen.line()
    if isinstance(result, ReplayResult):
        _recording(screen, result)


def _recording(screen: Screen, result: ReplayResult) -> None:
    """What was in a recording, and what became of it."""
    fates = {name: (result.passed_over.get(name, 0), result.unmapped.get(name, 0)) for name in result.recorded}
    rows = []
    for name, seen in result.recorded.items():
        passed_over, unmapped = fates[name]
        rows.append([name, *(count(screen, n) for n in (seen, seen - passed_over - unmapped, passed_over, unmapped))])
    screen.heading("Recording", f"{_counted(result.lines, 'line')}; what its events became")
    columns = [Column("event", style="bold"), Column("lines", right=True), Column("fired", right=True)]
    screen.table([*columns, Column("passed over", right=True), Column("not mapped", right=True)], rows)
    screen.line()
    found = {
        "could not be read": _counted(result.skipped, "line") if result.skipped else "",
        "lost by the recorder": _counted(result.lost_by_recorder, "event") if result.lost_by_recorder else "",
        "earlier than the one before on its CPU": _counted(result.backwards, "event") if result.backwards else "",
        "without its beginning, so 0": _counted(result.unpaired, "duration") if result.unpaired else "",
    }
    for what, how_many in found.items():
        if how_many:
            screen.line(f"  {how_many} {what}", "yellow")
    for problem in result.problems:
        screen.line(f"  {problem}", "yellow")
    if result.problems or any(found.values()):
        screen.line()


def programs(screen: Screen, session: Session) -> None:
    """What each program did, and which were not attached and why."""
    bench = session.bench
    of_axvisor = bench.engine == "rbpf" or bench.map_library == "kbpf"
    on = f"target {bench.target}, engine {bench.engine}, maps {bench.map_library}"
    screen.heading("Programs", on if of_axvisor else "")
    columns = [Column("program", style="bold"), Column("object"), Column("attached to"), Column("runs", right=True)]
    columns += [Column("insns/run", right=True), Column("worst", right=True)]
    found = [(a, a.program.stats) for a in session.attachments]
    rows = []
    for a, s in found:
        # rbpf counts no instructions.
        worst = "-" if s.worst_instructions is None or not s.runs else count(screen, s.worst_instructions)
        insns = [mean(s.instructions_per_run), worst]
        rows.append([a.program.name, a.file, a.place or "-", count(screen, s.runs), *insns])
    # Rare, and where there is none, room for the rest; without a terminal, every output has the same columns.
    for name in ("misses", "faults"):
        numbers = [getattr(s, name) for _, s in found]
        if any(numbers) or not screen.pretty:
            columns.append(Column(name, right=True))
            rows = [[*row, count(screen, n)] for row, n in zip(rows, numbers, strict=True)]
    screen.table(columns, rows)
    for a in session.attachments:
        if a.link is None:
            screen.line(f"  {a.file}: {a.program.name} is not attached: {a.why_not}", "yellow")
    screen.line()


def map_table(screen: Screen, view: MapView, enums: Enums, rows: int) -> None:
    """A map's entries, at most `rows` of them."""
    shown = view.map
    used = f"{count(screen, len(view.entries))} of {count(screen, shown.max_entries)} entries"
    if not view.keyed:
        used = _counted(len(view.entries), "record" if isinstance(shown, RingBuffer) else "value")
    if isinstance(shown, BloomFilter):
        screen.heading(shown.name, f"{shown.type}, {count(screen, len(shown))} added, {view.file}")
        screen.line("  it does not know which values")
        screen.line()
        return
    screen.heading(shown.name, f"{shown.type}, {used}, {view.file}")
    if not view.entries:
        screen.line("  every entry is zero" if view.zeros else "  empty")
        screen.line()
        return
    lines = [_cells(view, key, value) for key, value in view.entries[:rows]]
    columns = [
        Column(
            _heading(name, screen.pretty), right=isinstance(value, int) and name not in enums, style=_style(place, view)
        )
        for place, (name, value) in enumerate(lines[0])
    ]
    screen.table(columns, [[cell(n, v, enums, pretty=screen.pretty) for n, v in line] for line in lines])
    if len(view.entries) > rows:
        screen.line(f"  {count(screen, len(view.entries) - rows)} more; --rows N shows more of them", "dim")
    if view.zeros:
        screen.line(f"  {count(screen, view.zeros)} entries are zero and left out", "dim")
    screen.line()


def _cells(view: MapView, key: Any, value: Any) -> list[tuple[str, Any]]:
    """One entry as named cells."""
    return cells(key, value, "key" if view.keyed else "#")


def _heading(name: str, pretty: bool) -> str:
    """A unit that stands in each cell is not repeated in the heading."""
    return name.removesuffix("_ns") if pretty else name


def _style(place: int, view: MapView) -> str:
    keys = len(leaves(view.entries[0][0], "key")) if view.keyed else 1
    return "bold" if place < keys else ""


def latencies(screen: Screen, session: Session) -> None:
    """Statistics of all tracepoints with a duration, a line each."""
    found = session.latencies
    if not found:
        return
    screen.heading(
        "Latency", "by tracepoint; percentiles are estimates, distribution from 1 µs to 1 s" if screen.pretty else ""
    )
    # A narrow terminal has no room for the shortest one.
    least = ("min",) if not screen.pretty or screen.width >= _WIDE else ()
    columns = [Column("tracepoint", style="bold"), Column("count", right=True)]
    columns += [Column(name, right=True) for name in (*least, "avg", "~p50", "~p99", "max")]
    columns += [Column("1µs    1s" if screen.pretty else "buckets", style=BAR)]
    rows = []
    for name, s in sorted(found.items(), key=lambda item: -item[1].count):
        middle, high = (session.bench.stats.percentile(name, p) for p in (50, 99))
        times = [s.min_ns] if least else []
        times += [s.avg_ns, middle, high, s.max_ns]
        spread = sparkline(s.buckets) if screen.pretty else " ".join(map(str, s.buckets))
        rows.append((name, count(screen, s.samples), *(time(screen, ns) for ns in times), spread))
    screen.table(columns, rows)
    screen.line()


def statistics(screen: Screen, session: Session, top: int | None) -> None:
    """Count and times of every tracepoint that has fired, a line each; at most `top` of them."""
    shown = session.most_frequent(top)
    rest = len(session.fired) - len(shown)
    screen.heading("Tracepoints", f"{rest} more have fired; --top shows more of them" if rest > 0 else "")
    # A narrow terminal has room for the more telling ones only.
    wide = not screen.pretty or screen.width >= _WIDE
    names = ("min", "avg", "~p50", "~p99", "max", "last at") if wide else ("avg", "~p99", "max")
    columns = [Column("tracepoint", style="bold"), Column("count", right=True)]
    columns += [Column(name, right=True) for name in names]
    rows = []
    for name, s in shown:
        middle, high = (session.bench.stats.percentile(name, p) for p in (50, 99))
        times = (
            (s.min_ns, s.avg_ns, middle, high, s.max_ns, s.last_timestamp_ns) if wide else (s.avg_ns, high, s.max_ns)
        )
        rows.append((name, count(screen, s.count), *(time(screen, ns) for ns in times)))
    screen.table(columns, rows)
    screen.line()


def histogram(screen: Screen, session: Session, name: str) -> None:
    """The latency histogram of a tracepoint."""
    statistics = session.bench.stats[name]
    if not statistics.samples:
        screen.heading(name, f"{count(screen, statistics.count)} events, none with a duration")
        screen.line()
        return
    estimates = [(p, session.bench.stats.percentile(name, p)) for p in (50, 90, 99)]
    within = ", ".join(f"~p{p} {time(screen, ns)}" for p, ns in estimates)
    screen.heading(name, f"{count(screen, statistics.samples)} durations: {within}")
    largest = max(statistics.buckets)
    used = [place for place, count in enumerate(statistics.buckets) if count]
    rows = []
    for place in range(len(BUCKETS)):
        inside = statistics.buckets[place]
        style = "" if used[0] <= place <= used[-1] else "dim"
        cells = (BUCKETS[place], count(screen, inside), f"{100 * inside / statistics.samples:.1f} %")
        rows.append((*(Text(text, style) for text in cells), screen.bar(inside, largest)))
    columns = [Column("duration", right=True), Column("count", right=True), Column("share", right=True)]
    screen.table([*columns, Column("", bar=True)], rows)
    screen.line()


def trace(screen: Screen, session: Session, lines: int) -> None:
    """The last lines of the trace."""
    kept = len(session.bench.trace)
    if not lines or not kept:
        return
    shown = min(lines, kept)
    screen.heading("Trace", f"the last {shown} of {count(screen, session.bench.trace.written)} lines")
    if not screen.pretty:
        screen.text("".join(f"{line}\n" for line in session.bench.trace.text().splitlines()[-lines:]) + "\n")
        return
    rows = [_LINE.fullmatch(line) for line in session.bench.trace.text().splitlines()[-lines:]]
    columns = [Column("seconds", right=True), Column("cpu", right=True), Column("event", style="bold")]
    screen.table([*columns, Column("", wrap=True)], [row.group("time", "cpu", "event", "text") for row in rows if row])
    screen.line()


def losses(screen: Screen, session: Session) -> None:
    """What was lost, and why."""
    lost = []
    if session.bench.trace.lost:
        lost.append(
            f"{count(screen, session.bench.trace.lost)} lines of the trace made room for later ones "
            f"(it keeps {count(screen, len(session.bench.trace))})"
        )
    for a in session.attachments:
        if a.program.stats.misses:
            lost.append(
                f"{a.file}: {a.program.name} missed {_counted(a.program.stats.misses, 'event')}: a program was running "
                "on that CPU already (recursion, as on Linux)"
            )
    if lost:
        screen.heading("Lost")
        for line in lost:
            screen.line(f"  {line}", "yellow")
        screen.line()


def mean(value: float | None) -> str:
    """An average."""
    return "-" if value is None else f"{value:.1f}"


def _counted(n: int, what: str) -> str:
    return f"{number(n)} {what}{'' if n == 1 else 's'}"


def count(screen: Screen, value: int) -> str:
    """A number: with spaces on a terminal, plain anywhere else."""
    return number(value) if screen.pretty else str(value)


def time(screen: Screen, ns: int | None) -> str:
    """A time: with its unit on a terminal, in ns anywhere else."""
    if ns is None:
        return "-"
    return duration(ns) if screen.pretty else str(ns)
