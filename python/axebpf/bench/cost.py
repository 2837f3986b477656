"""`Bench.cost`: what programs cost the hypervisor at each event, in instructions, helper calls and time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.bench.feed import Feed, feed_of
from axebpf.bench.loaded import LoadedObject, programs_of
from axebpf.bench.program import Program, ProgramStats, unique_names
from axebpf.bench.twin import Twin
from axebpf.errors import AttachError, AxebpfError, LoadError, ProgramFault

if TYPE_CHECKING:
    from axebpf.bench import Bench

__all__ = ["CostReport", "ProgramCost", "cost"]

_OURS = {"target": "linux", "engine": "interpreter", "maps": "auto"}
_RBPF = {
    "axvisor": {"target": "axvisor", "engine": "auto", "maps": "auto"},
    "linux": {"target": "linux", "engine": "rbpf", "maps": "auto"},
}
"""Benches that run programs on rbpf, by target; the first that takes a program is the one that is timed."""

_PIECE = 128
"""Events that are timed together: so few that something else on the machine seldom comes between.

Measured with 14 processes on 2 CPUs: the same program took 242 to 279 ns in pieces of 128, and with one piece for all
of its 778 events -2329 to 281 ns.
"""

_ALL = 1 << 16
"""Events fired at a time where that is not timed."""


class ProgramCost(NamedTuple):
    """What one program costs at each event."""

    tracepoints: tuple[str, ...]
    """Where it is attached."""
    stats: ProgramStats
    """Its runs, instructions and helper calls on axebpf's interpreter, and the worst of them."""
    interpreter_ns: float | None
    """Nanoseconds of a run on axebpf's interpreter, on average; None where there was none."""
    rbpf_ns: float | None
    """Nanoseconds of a run on rbpf, the VM of AxVisor, on average; None where there was none, or it is refused."""
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
    """How often the events were timed, with each program and without it."""
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
    with meter.twin(programs, _OURS) as twin:
        if not twin.links:
            names = ", ".join(program.name for program in programs) or "no program"
            raise AttachError(f"{names}: attached nowhere, and the section names no tracepoint; attach it first")
        player = feed.play([twin.bench])
        events = sum(iter(lambda: player.step(_ALL), 0))
        counted = {number: made.stats for number, made in twin.programs.items()}
        places = {
            number: tuple(link.tracepoint.name for link in twin.links if link.program is made)
            for number, made in twin.programs.items()
        }
    ours = meter.times(programs, _OURS)
    refused: dict[int, dict[str, str]] = {program.id: {} for program in programs}
    on_rbpf: dict[int, tuple[str, float | None]] = {}
    for target, options in _RBPF.items():
        taken = meter.taken([p for p in programs if p.id not in on_rbpf], target, options, refused)
        times = meter.times(taken, options)
        on_rbpf |= {program.id: (target, times[program.id]) for program in taken}
    found: dict[str, ProgramCost] = {}
    for number, name in unique_names((program.id, program.name) for program in programs).items():
        rbpf_target, rbpf_ns = on_rbpf.get(number, (None, None))
        found[name] = ProgramCost(places[number], counted[number], ours[number], rbpf_ns, rbpf_target, refused[number])
    return CostReport(feed.name, events, repetitions, found)


class _Meter(NamedTuple):
    """Times programs on the same events."""

    bench: Bench
    feed: Feed
    repetitions: int

    def twin(self, programs: Sequence[Program], options: Mapping[str, str]) -> Twin:
        """A fresh bench with these programs."""
        # What a program sees must be the same each time.
        clock = {"clock": "manual"} if self.bench.clock.mode == "real" else {}
        return Twin(self.bench, programs, **options, **clock, statistics=False)

    def taken(
        self, programs: Sequence[Program], target: str, options: Mapping[str, str], refused: dict[int, dict[str, str]]
    ) -> list[Program]:
        """Those that such a bench takes, and runs to the last event; of the others, `refused` gets the reason."""
        taken = []
        for program in programs:
            try:
                self.twin([program], options).close()
            except AxebpfError as error:
                refused[program.id][target] = _reason(error, program)
            else:
                taken.append(program)
        while taken:
            with self.twin(taken, options) as twin:
                try:
                    player = self.feed.play([twin.bench])
                    while player.step(_ALL):
                        pass
                    break
                except ProgramFault as fault:
                    stopped = [program for program in taken if twin.programs[program.id].stats.faults]
                    for program in stopped:
                        refused[program.id][target] = _reason(fault, program)
                    taken = [program for program in taken if program not in stopped]
        return taken

    def times(self, programs: Sequence[Program], options: Mapping[str, str]) -> dict[int, float | None]:
        """What a run of each takes: the same events with and without it, the other programs being there both times."""
        return {program.id: self._time(program, programs, options) for program in programs}

    def _time(self, program: Program, programs: Sequence[Program], options: Mapping[str, str]) -> float | None:
        """The median difference of each piece, all added up: what disturbs one measurement does not matter so."""
        differences: list[list[int]] = []
        runs = 0
        for repetition in range(self.repetitions):
            with self.twin(programs, options) as all_of_them, self.twin(programs, options) as others:
                for link in others.links:
                    if link.program is others.programs[program.id]:
                        link.detach()
                benches = [all_of_them.bench, others.bench]
                # Who comes first finds the events in a colder cache.
                order = slice(None, None, 1 if repetition % 2 else -1)
                player = self.feed.play(benches[order], {link.tracepoint.name for link in all_of_them.links})
                differences.append([])
                before = 0
                while player.step(_PIECE):
                    with_it, without = player.spent_ns[order]
                    differences[-1].append(with_it - without - before)
                    before = with_it - without
                runs = all_of_them.programs[program.id].stats.runs
        return sum(map(statistics.median, zip(*differences, strict=True))) / runs if runs else None


def _reason(error: AxebpfError, program: Program) -> str:
    """What an error says, without the program that it is about and where that is from."""
    if isinstance(error, LoadError):
        error.file = error.section = None
    return str(error).removeprefix(f"{program.name}: ")


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
            f"{_ns(of.interpreter_ns)} on the interpreter, {_ns(of.rbpf_ns)} on rbpf"
            + (f" for target {of.rbpf_target}" if of.rbpf_target is not None else "")
        )
        for target, why in of.refused.items():
            yield f"    rbpf for target {target}: {why}"


def _ns(time: float | None) -> str:
    """A time as text; what is lost in the noise of the machine is no time.

    >>> _ns(12.3), _ns(-3.0), _ns(None)
    ('12 ns', 'too short to measure', 'unknown')
    """
    if time is None:
        return "unknown"
    return f"{time:.0f} ns" if time > 0 else "too short to measure"
