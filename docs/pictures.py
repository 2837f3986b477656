"""Draws the pictures of the example pages: `python docs/pictures.py` writes them all anew.

A picture shows what the maps of an example hold after a run of the simulated hypervisor, as a table or a chart on a
terminal, which rich writes as SVG. The same seed gives the same run, and the same run the same picture.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from axebpf import Bench
from axebpf.cli.units import duration, number
from axebpf.examples import example
from axebpf.hypervisor import workload
from axebpf.tracepoints.definitions import AccessType, ExitReason
from rich.console import Console
from rich.table import Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

FOLDER = Path(__file__).parent / "examples" / "pictures"

PERIOD_NS, REGION_SHIFT = 10_000_000, 22
"""What is set in the examples that have something to set."""

Maps = Mapping[str, Any]
Draw = Callable[[Console, Maps], None]


@dataclass(frozen=True)
class Picture:
    """What is run, and how the maps are drawn that it leaves."""

    title: str
    draw: Draw
    workload: str = "boot"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rodata: Mapping[str, Any] = field(default_factory=dict)

    def svg(self, name: str) -> str:
        """Runs the example of this name and draws it."""
        parameters = {"vms": 2, "vcpus": 2, "seed": 7, **self.parameters}
        console = Console(
            record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False
        )
        with Bench(cpus=workload(self.workload, **parameters).cpus, seed=7) as bench:
            progs = bench.load(example(f"{name}.bpf.o"), rodata=dict(self.rodata))
            progs.attach()
            bench.run(self.workload, **parameters)
            self.draw(console, progs.maps)
        # Its title is ours to fill in: the rest of the frame's names are rich's.
        frame = FRAME.replace("TITLE", self.title).replace("MADE", made_with())
        svg = console.export_svg(title="", theme=THEME, code_format=frame, unique_id=name.replace("_", "-"))
        return re.sub(r'y="([\d.]+)" (width="[\d.]+") height="24.65" shape-rendering="crispEdges"', slim, svg)


def slim(cell: re.Match[str]) -> str:
    """Rich's cells touch those of the line below; a bar is a bit lower than its line."""
    return f'y="{float(cell[1]) + 3:g}" {cell[2]} height="19" shape-rendering="crispEdges"'


def made_with() -> str:
    """What a picture depends on outside of this project: random numbers, and how text becomes SVG."""
    return f"docs/pictures.py with NumPy {version('numpy')} and rich {version('rich')}"


# How they look

WIDTH = 92
"""Columns of text."""
ONE, TWO, QUIET = "#3aa6b9", "#f0a13a", "#8a93a3"
"""Two things that are set against each other, and what stands beside them."""
HEAT = ("#222b3a", "#2b4f72", "#2f86a6", "#57bf8f", "#c9d65b", "#f6b13d", "#ee6a3c", "#d92b4b")
"""From nothing to the most."""

THEME = TerminalTheme(
    background=(0x17, 0x1C, 0x26),
    foreground=(0xDD, 0xE3, 0xEC),
    normal=[(0xDD, 0xE3, 0xEC)] * 8,  # no picture uses a colour by its number
)

# Rich's own frame loads a font from elsewhere and draws a window; this one does neither. Rich leaves 41 pixels above
# the text, where the title goes.
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<!-- MADE -->
<title>TITLE</title>
<style>
text {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="#171c26" />
<text x="{terminal_x}" y="29" fill="#8a93a3">TITLE</text>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
{matrix}
</g>
</svg>
"""


# Parts of charts. Bars are spaces with a background, which need no font.


def bar(*parts: tuple[float, str], of: float, width: int) -> Text:
    """Stretches of colour end to end, where `of` fills the width. What is not zero is seen."""
    text, end, drawn = Text(), 0.0, 0
    for value, color in parts:
        end += value
        cells = max(round(width * end / of) - drawn, int(value > 0)) if of else 0
        text.append(" " * cells, f"on {color}")
        drawn += cells
    return text


def heat(value: float, most: float) -> str:
    """The colour of a value, where `most` is the hottest."""
    if not value:
        return HEAT[0]
    return HEAT[1 + min(int((len(HEAT) - 1) * value / most), len(HEAT) - 2)]


def table(*columns: str) -> Table:
    """A table without lines; a column whose name begins with `>` is aligned to the right."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=QUIET)
    for name in columns:
        made.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    return made


def legend(*entries: tuple[str, str]) -> Text:
    """What the colours mean."""
    text = Text()
    for color, meaning in entries:
        text.append("  ", f"on {color}").append(f" {meaning}    ", QUIET)
    return text


def used(*histograms: Sequence[int]) -> range:
    """From the first slot to the last that any of them uses."""
    slots = [slot for histogram in histograms for slot, count in enumerate(histogram) if count]
    return range(min(slots), max(slots) + 1) if slots else range(0)


def added(histograms: Iterable[Sequence[int]]) -> list[int]:
    """The sum of histograms, slot by slot."""
    return [sum(counts) for counts in zip(*histograms, strict=True)]


# The pictures


def hypercalls(console: Console, maps: Maps) -> None:
    """Calls by VM and number: how many, how many failed, the slowest."""
    rows = table(">VM", ">number", ">calls", ">failed", ">slowest", "")
    calls = sorted(maps["CALLS"].items())
    most = max(call.count for _, call in calls)
    for (vm, nr), call in calls:
        parts = ((call.count - call.errors, ONE), (call.errors, TWO))
        failed = Text(number(call.errors), TWO if call.errors else QUIET)
        cells = (str(vm), f"{nr:#x}", number(call.count), failed, duration(call.max_ns))
        rows.add_row(*cells, bar(*parts, of=most, width=44))
    console.print(rows)
    console.print()
    console.print(legend((ONE, "answered"), (TWO, "failed")))


def page_faults(console: Console, maps: Maps) -> None:
    """A strip of memory for each VM and kind of access, hot where there are faults."""
    faults, across = maps["FAULTS"], 64  # cells of 4 MiB: the 256 MiB that a VM has
    most = max(stat.count for stat in faults.values())
    for vm in sorted({key.vm_id for key in faults}):
        mine = {key: stat for key, stat in faults.items() if key.vm_id == vm}
        first, step = min(key.region for key in mine), 1 << REGION_SHIFT
        console.print(Text(f"VM {vm}", "bold").append(f"   {step >> 20} MiB a cell", QUIET))
        for kind in AccessType:
            counts = [0] * across
            for key, stat in mine.items():
                if key.access_type == kind:
                    counts[(key.region - first) // step] += stat.count
            strip = Text(f"{kind.name.lower():8}", QUIET)
            for count in counts:
                strip.append(" ", f"on {heat(count, most)}")
            console.print(strip.append(f"{sum(counts):6} faults"))
        ends = [f"{first:#x}", f"{first + across * step:#x}"]
        console.print(Text(" " * 8 + ends[0] + ends[1].rjust(across - len(ends[0])), QUIET))
        console.print()
    scale = Text(" " * 8 + "0 ", QUIET)
    for color in HEAT:
        scale.append("   ", f"on {color}")
    console.print(scale.append(f" {most} faults of one kind in a region", QUIET))


def run_time(console: Console, maps: Maps) -> None:
    """The share of each vCPU's time that is spent in its guest."""
    rows = table(">VM", ">vCPU", ">runs", ">mean run", ">in the guest", ">outside", "")
    for (vm, vcpu), time in sorted(maps["RUN_TIME"].items()):
        times = (duration(ns) for ns in (time.guest_ns // time.runs, time.guest_ns, time.host_ns))
        parts = ((time.guest_ns, ONE), (time.host_ns, TWO))
        rows.add_row(
            str(vm), str(vcpu), number(time.runs), *times, bar(*parts, of=time.guest_ns + time.host_ns, width=36)
        )
    console.print(rows)
    console.print()
    console.print(legend((ONE, "in the guest"), (TWO, "outside: exits handled, halted")))


def irq_latency(console: Console, maps: Maps) -> None:
    """Two histograms side by side."""
    legs = [added(histogram.slots for histogram in maps[name].values()) for name in ("TO_INJECT", "TO_ENTER")]
    rows = table(">from", ">count", "", ">count", "")
    for slot in used(*legs):
        cells: list[str | Text] = [duration(1 << slot)]
        for leg, color in zip(legs, (ONE, TWO), strict=True):
            cells += [
                Text(number(leg[slot]), "" if leg[slot] else QUIET),
                bar((leg[slot], color), of=max(leg), width=30),
            ]
        rows.add_row(*cells)
    console.print(rows)
    console.print()
    console.print(legend((ONE, "from the interrupt to its injection"), (TWO, "from there until the guest runs")))


def timer_drift(console: Console, maps: Maps) -> None:
    """How far each CPU's ticks are off, and all of them as a histogram."""
    rows = table(">CPU", ">ticks", ">early", ">late", ">furthest off", ">lost over all")
    for cpu, drift in maps["DRIFT"].items():
        if not drift.ticks:
            continue
        lost = drift.last_ns - drift.first_ns - (drift.ticks - 1) * PERIOD_NS
        counts = (number(count) for count in (drift.ticks, drift.early, drift.late))
        rows.add_row(str(cpu), *counts, duration(drift.max_ns), duration(lost))
    console.print(rows)
    console.print()
    whole = list(maps["DEVIATION"].sum().values())
    rows = table(">off from", ">ticks", "")
    for slot in used(whole):
        rows.add_row(duration(1 << slot), number(whole[slot]), bar((whole[slot], ONE), of=max(whole), width=60))
    console.print(rows)


def task_switches(console: Console, maps: Maps) -> None:
    """Which task had which CPU for how long, and who was switched to whom."""
    rows = table(">CPU", ">task", ">on this CPU", ">switches to", "")
    for cpu in range(len(maps["RUNNING"][0])):
        times = {task: on_cpu[cpu] for task, on_cpu in sorted(maps["ON_CPU_NS"].items()) if on_cpu[cpu]}
        for place, (task, ns) in enumerate(times.items()):
            switches = sum(count for key, count in maps["SWITCHES"].items() if key.to_task == task)
            share = bar((ns, (ONE, TWO)[place % 2]), of=sum(times.values()), width=36)
            rows.add_row("" if place else str(cpu), f"{task:#x}", duration(ns), number(switches), share)
    console.print(rows)


def boot_time_line(console: Console, maps: Maps) -> None:
    """Phases as bars on a line of time; `>` stands for what is later than the last `vm_boot`."""
    phases, across = maps["PHASES"], 50
    end = max(time.end_ns for key, time in phases.items() if key.phase.name == "VM_BOOT") * 1.01
    rows = table("", "phase", ">begins", ">takes", f"0{duration(int(end)):>{across - 1}}")
    for vm in sorted({key.vm_id for key in phases}):
        for phase in sorted({key.phase for key in phases}):
            time = phases.get((vm, phase))
            if time is None:
                continue
            takes = duration(time.end_ns - time.begin_ns) if time.end_ns > time.begin_ns else ""
            color = TWO if vm else ONE
            if time.begin_ns > end:
                line = Text(">".rjust(across), f"bold {color}")
            else:
                at = min(round(across * time.begin_ns / end), across - 1)
                cells = min(max(round(across * (time.end_ns - time.begin_ns) / end), 1), across - at)
                line = Text(" " * at).append(" " * cells, f"on {color}")
            who = f"VM {vm}" if vm else "VMM"
            rows.add_row(who, phase.name.lower().replace("_", " "), duration(time.begin_ns), takes, line)
    console.print(rows)


def exits_axvisor(console: Console, maps: Maps) -> None:
    """Exits by VM and reason, added over the vCPUs, each of which has a stretch of the bar."""
    rows = table(">VM", "reason", ">exits", ">longest", "")
    kinds: dict[tuple[int, int], dict[int, Any]] = {}
    for key, stat in sorted(maps["EXITS"].items()):
        kinds.setdefault((key.vm_id, key.exit_reason), {})[key.vcpu_id] = stat
    counts = {kind: sum(stat.count for stat in stats.values()) for kind, stats in kinds.items()}
    for (vm, reason), stats in sorted(kinds.items()):
        parts = ((stat.count, (ONE, TWO)[vcpu % 2]) for vcpu, stat in stats.items())
        name, longest = ExitReason(reason).name.lower().replace("_", " "), max(stat.max_ns for stat in stats.values())
        share = bar(*parts, of=max(counts.values()), width=44)
        rows.add_row(str(vm), name, number(counts[vm, reason]), duration(longest), share)
    console.print(rows)
    console.print()
    console.print(legend((ONE, "of the first vCPU"), (TWO, "of the second")))


PICTURES = {
    "hypercalls": Picture("hypercalls.bpf.o: who calls what, and what fails", hypercalls),
    "page_faults": Picture(
        "page_faults.bpf.o: which memory faults", page_faults, rodata={"region_shift": REGION_SHIFT}
    ),
    "run_time": Picture("run_time.bpf.o: in the guest and outside", run_time, parameters={"arch": "x86_64"}),
    "irq_latency": Picture("irq_latency.bpf.o: an interrupt's way to its guest", irq_latency),
    "timer_drift": Picture("timer_drift.bpf.o: how regular the tick is", timer_drift, rodata={"period_ns": PERIOD_NS}),
    "task_switches": Picture("task_switches.bpf.o: who has the CPU", task_switches, parameters={"arch": "x86_64"}),
    "boot_time_line": Picture("boot_time_line.bpf.o: what happens until VMs run", boot_time_line),
    "exits_axvisor": Picture("exits_axvisor.bpf.o: the same on both targets", exits_axvisor),
}


def main() -> None:
    """Writes every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(picture.svg(name))


if __name__ == "__main__":
    main()
