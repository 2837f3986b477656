"""`Bench.cost`: what programs cost the hypervisor at each event, in instructions, helper calls and time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.bench.feed import Feed, feed_of
from axebpf.bench.loaded import LoadedObject, programs_of
from axebpf.bench.program import Program, ProgramStats
from axebpf.bench.twin import Twin
from axebpf.errors import AttachError, AxebpfError, ProgramFault

if TYPE_CHECKING:
    from axebpf.bench import Bench

__all__ = ["CostReport", "ProgramCost", "Time", "cost"]

_OURS = {"target": "linux", "engine": "interpreter", "maps": "auto"}
_RBPF = {
    "axvisor": {"target": "axvisor", "engine": "auto", "maps": "auto"},
    "linux": {"target": "linux", "engine": "rbpf", "maps": "auto"},
}
"""Benches that run programs on rbpf, by target; the first that takes a program is the one that is timed."""

_PIECE = 1 << 16
"""Events fired at a time."""


class Time(NamedTuple):
    """What one run of a program took, in nanoseconds, on average over the events: over all repetitions."""

    ns: float
    """The median."""
    low: float
    """The least."""
    high: float
    """The greatest. What is far from the others was disturbed by something else on this machine."""


class ProgramCost(NamedTuple):
    """What one program costs at each event."""

    tracepoints: tuple[str, ...]
    """Where it is attached."""
    stats: ProgramStats
    """Its runs, instructions and helper calls on axebpf's interpreter, and the worst of them."""
    interpreter: Time | None
    """What a run takes on axebpf's interpreter; None where there was none."""
    rbpf: Time | None
    """What a run takes on rbpf, the VM of AxVisor; None where there was none, or where it is refused."""
    rbpf_target: str | None
    """What rbpf ran it for: `axvisor`, or `linux`, with Linux's helpers and maps, where AxVisor refuses it."""
    refused: Mapping[str, str]
    """Why rbpf did not run it for these targets."""


class CostReport(NamedTuple):
    """What programs cost at each event of a workload. Prints a line for each."""

    workload: str
    """Where the events came from."""
    events: int
    """How many there were."""
    repetitions: int
    """How often each time was measured."""
    programs: Mapping[str, ProgramCost]
    """By name (with `#id` where two share one)."""

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def cost(
    bench: Bench,
    what: Program | LoadedObject | Iterable[Program | LoadedObject],
    workload: Any,
    repetitions: int,
    parameters: Mapping[str, Any],
) -> CostReport:
    """See `Bench.cost`."""
    programs = programs_of(bench, what)
    feed = feed_of(bench, workload, parameters)
    meter = _Meter(bench, feed, repetitions)
    with Twin(bench, programs, **_OURS) as twin:
        if not twin.links:
            names = ", ".join(program.name for program in programs) or "no program"
            raise AttachError(f"{names}: attached nowhere, and the section names no tracepoint; attach it first")
        events = _play(feed, [twin.bench])[0]
        counted = {number: made.stats for number, made in twin.programs.items()}
        places = {
            number: tuple(link.tracepoint.name for link in twin.links if link.program is made)
            for number, made in twin.programs.items()
        }
    ours = meter.times(programs, _OURS)
    refused: dict[int, dict[str, str]] = {program.id: {} for program in programs}
    on_rbpf: dict[int, tuple[str, Time | None]] = {}
    for target, options in _RBPF.items():
        taken = meter.taken([p for p in programs if p.id not in on_rbpf], target, options, refused)
        times = meter.times(taken, options)
        on_rbpf |= {program.id: (target, times[program.id]) for program in taken}
    found: dict[str, ProgramCost] = {}
    for program in programs:
        number = program.id
        name = program.name if program.name not in found else f"{program.name}#{number}"
        rbpf_target, rbpf = on_rbpf.get(number, (None, None))
        found[name] = ProgramCost(places[number], counted[number], ours[number], rbpf, rbpf_target, refused[number])
    return CostReport(feed.name, events, repetitions, found)


class _Meter(NamedTuple):
    """Times programs on the same events."""

    bench: Bench
    feed: Feed
    repetitions: int

    def taken(
        self, programs: Sequence[Program], target: str, options: Mapping[str, Any], refused: dict[int, dict[str, str]]
    ) -> list[Program]:
        """Those that such a bench takes, and runs to the last event; of the others, `refused` gets the reason."""
        taken = []
        for program in programs:
            try:
                Twin(self.bench, [program], **options).close()
            except AxebpfError as error:
                refused[program.id][target] = str(error)
            else:
                taken.append(program)
        while taken:
            with Twin(self.bench, taken, **options) as twin:
                try:
                    _play(self.feed, [twin.bench])
                except ProgramFault as fault:
                    stopped = [program for program in taken if twin.programs[program.id].stats.faults]
                    for program in stopped:
                        refused[program.id][target] = str(fault)
                    taken = [program for program in taken if program not in stopped]
                else:
                    break
        return taken

    def times(self, programs: Sequence[Program], options: Mapping[str, Any]) -> dict[int, Time | None]:
        """What a run of each takes: the same events with and without it, the other programs being there both times."""
        return {program.id: self._time(program, programs, options) for program in programs}

    def _time(self, program: Program, programs: Sequence[Program], options: Mapping[str, Any]) -> Time | None:
        samples = []
        for repetition in range(self.repetitions):
            with Twin(self.bench, programs, **options) as all_of_them, Twin(self.bench, programs, **options) as others:
                for link in others.links:
                    if link.program is others.programs[program.id]:
                        link.detach()
                benches = [all_of_them.bench, others.bench]
                # Who comes first finds the events in a colder cache.
                spent = _play(self.feed, benches if repetition % 2 else benches[::-1])[1]
                with_it, without = spent if repetition % 2 else spent[::-1]
                runs = all_of_them.programs[program.id].stats.runs
            if not runs:
                return None
            samples.append((with_it - without) / runs)
        return Time(statistics.median(samples), min(samples), max(samples))


def _play(feed: Feed, benches: Sequence[Bench]) -> tuple[int, list[int]]:
    """Fires all events on each bench: how many those are, and the nanoseconds that each bench took."""
    player, events = feed.play(benches), 0
    while fired := player.step(_PIECE):
        events += fired
    return events, player.spent_ns


def _lines(report: CostReport) -> Iterator[str]:
    yield f"{report.workload}: {report.events} events; the time of a run is the median of {report.repetitions}"
    for name, of in report.programs.items():
        stats = of.stats
        if not stats.runs:
            yield f"  {name}: no runs"
            continue
        yield (
            f"  {name}: {stats.runs} runs, {stats.instructions_per_run:.1f} instructions each (worst "
            f"{stats.worst_instructions}), {stats.calls_per_run:.1f} helper calls (worst {stats.worst_calls}), "
            f"{_ns(of.interpreter)} on the interpreter, {_ns(of.rbpf)} on rbpf"
            + (f" for target {of.rbpf_target}" if of.rbpf_target is not None else "")
        )
        for target, why in of.refused.items():
            yield f"    rbpf for target {target}: {why}"


def _ns(time: Time | None) -> str:
    return "unknown" if time is None else f"{time.ns:.0f} ns"
