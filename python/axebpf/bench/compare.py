"""`Bench.compare`: the same events on two fresh benches, run by run and map by map.

All is deterministic, so the first difference is found by beginning anew: once through all events, in long pieces; then
again up to the piece that differs, in short ones; then again up to that, event by event, with each instruction. Return
values are compared run by run, maps after each piece. So a map that differs for a while, and is the same again at the
end of a long piece, goes unseen unless a return value tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from axebpf.bench.blame import Blame, Steps, blame_map, blame_run
from axebpf.bench.comparison import Comparison, Difference, MapComparison, ProgramComparison, Refusal
from axebpf.bench.contents import Contents
from axebpf.bench.feed import Feed, feed_of
from axebpf.bench.loaded import LoadedObject, programs_of
from axebpf.bench.program import Program, unique_names
from axebpf.bench.run import Progress
from axebpf.bench.twin import Twin, bench_like
from axebpf.errors import AttachError, AxebpfError, BenchClosed, LoadError, PortabilityError, ProgramFault
from axebpf.portability import GAPS
from axebpf.ring_buffer import RingBuffer

if TYPE_CHECKING:
    from axebpf.bench import Bench
    from axebpf.portability import Finding
    from axebpf.trace import Event

__all__ = ["compare"]

PIECES = (1 << 14, 1 << 7, 1)
"""Events after which maps are compared: at first, and on the way to the one event."""

_STEPS = 20_000
"""Instructions of a run that are looked at."""

_RUN = np.dtype([("program", "<u4"), ("fault", "<u4"), ("value", "<u8")])
"""A run as `_native.Bench.take_runs` gives it."""


class _Side(NamedTuple):
    """What a bench is to be like."""

    target: str
    engine: str
    maps: str

    def has(self, part: str | None) -> bool:
        """Whether this side has the part of AxVisor that a gap is in, as `axebpf.portability.Gap` names it."""
        chosen = {"vm": self.engine == "rbpf", "maps": self.maps == "kbpf"}
        return self.target == "axvisor" or chosen.get(part or "", False)

    @property
    def name(self) -> str:
        """What it is called."""
        parts = [
            part for part, default in ((self.engine, "interpreter"), (self.maps, "")) if part not in ("auto", default)
        ]
        return self.target if self.target != "linux" or not parts else f"linux with {' and '.join(parts)}"


class _Plan(NamedTuple):
    """What is compared with what."""

    bench: Bench
    programs: list[Program]
    feed: Feed
    sides: tuple[_Side, _Side]

    def twin(self, side: _Side) -> Twin:
        options: dict[str, Any] = {**side._asdict(), "statistics": False, "trace_entries": 0}
        if self.bench.clock.mode == "real":
            options["clock"] = "manual"  # what a program sees must be the same each time
        return Twin(self.bench, self.programs, **options)

    @property
    def names(self) -> dict[int, str]:
        """What programs are called, by number."""
        return unique_names((program.id, program.name) for program in self.programs)


def compare(
    bench: Bench,
    what: Program | LoadedObject | Iterable[Program | LoadedObject],
    workload: Any,
    target: str,
    engine: str,
    maps: str,
    progress: Callable[[Progress], object] | None,
    parameters: Mapping[str, Any],
) -> Comparison:
    """See `Bench.compare`."""
    if bench.closed:
        raise BenchClosed
    sides = (_Side("linux", "interpreter", "auto"), _Side(target, engine, maps))
    # An option that cannot be is not a program that is refused.
    bench_like(bench, sides[1]._asdict()).close()
    if sides[1].name == sides[0].name:
        raise LoadError("target linux is what the other side is compared with; choose engine='rbpf' or maps='kbpf' too")
    plan = _Plan(bench, programs_of(bench, what), feed_of(bench, workload, parameters), sides)
    names = (sides[0].name, sides[1].name)
    refused = dict(_refusals(plan))
    if refused:
        return Comparison(names, plan.feed.name, 0, {}, {}, (), None, refused)
    with _Pair(plan) as pair:
        span, programs = pair.run_all(progress)
        compared = {contents.name: contents.compared() for contents in pair.contents if contents.readable}
        unread = tuple(contents.name for contents in pair.contents if not contents.readable)
        # Of global variables, only those that differ are of interest.
        maps_shown = {name: of for name, of in compared.items() if of.different or not name.startswith(".")}
        events = pair.events
        rings = _rings(pair, compared)
    first = _first(plan, span, rings, events)
    return Comparison(names, plan.feed.name, events, programs, maps_shown, unread, first, {})


def _refusals(plan: _Plan) -> Iterator[tuple[str, Refusal]]:
    """The sides that do not take the programs. Raises AttachError where none has a place."""
    for side in plan.sides:
        try:
            with plan.twin(side) as twin:
                attached = len(twin.links)
        except AxebpfError as error:
            gap = error.gap if isinstance(error, PortabilityError) else None
            yield side.name, Refusal(str(error), gap, _why_refused(plan) if side.target == "axvisor" else ())
            continue
        if not attached:
            names = ", ".join(program.name for program in plan.programs) or "no program"
            raise AttachError(f"{names}: attached nowhere, and the section names no tracepoint; attach it first")


def _why_refused(plan: _Plan) -> tuple[Finding, ...]:
    """What the report says of that, each gap once."""
    found: dict[object, Finding] = {}
    for program in plan.programs:
        for finding in program.portability["axvisor"].findings:
            if finding.effect == "refused":
                found.setdefault(finding.gap or finding, finding)
    return tuple(found.values())


class _Ended(NamedTuple):
    """A run of a program: how it ended, and its steps."""

    program: int
    """Its number in the bench that is compared."""
    same: tuple[int, int]
    """What is equal where two runs ended alike: the kind of the fault or 0, and r0 or the instruction."""
    value: int | ProgramFault
    steps: Steps


class _Pair:
    """Two twins that are fired the same events; also a context manager."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self.events = 0
        """Events so far."""
        self.event: Event | None = None
        """The last one, once `look` was called."""
        self.twins: list[Twin] = []
        try:
            for side in plan.sides:
                self.twins.append(plan.twin(side))
            self._player = plan.feed.play([twin.bench for twin in self.twins])
        except BaseException:
            self.close()
            raise
        for twin in self.twins:
            twin.bench._native.keep_runs()
        self._olds = [{new.id: old for old, new in twin.programs.items()} for twin in self.twins]
        left, right = self.twins
        names = unique_names((number, made.name) for number, made in sorted(left.maps.items()))
        self.contents = [Contents(name, left.maps[number], right.maps[number]) for number, name in names.items()]
        """Their maps."""
        self._taken = [self._take(twin) for twin in self.twins]

    @staticmethod
    def _take(twin: Twin) -> Any:
        return twin.bench._native.take_runs()

    def step(self, most: int) -> int:
        """Fires the next events; says how many, 0 at the end."""
        self.event = None
        count = self._player.step(most)
        self.events += count
        self._taken = [self._take(twin) for twin in self.twins]
        return count

    def advance(self, to: int) -> None:
        """Fires the events up to a number, and forgets them."""
        while self.events < to and self.step(min(PIECES[0], to - self.events)):
            pass

    def look(self) -> None:
        """From now on, keeps the instructions of the first side, and the event."""
        bench = self.twins[0].bench
        bench._native.keep_runs(_STEPS)

        def keep(event: Event) -> None:
            self.event = self.event or event  # a helper may fire another one meanwhile

        for tracepoint in bench.tracepoints.values():
            tracepoint.on(keep)

    @property
    def runs_differ(self) -> bool:
        """Whether a run of the last step came to something else."""
        return bool(self._taken[0][0] != self._taken[1][0])

    @property
    def differ(self) -> bool:
        """Whether a run of the last step did, or a map is not the same now."""
        return self.runs_differ or any(contents.differ() for contents in self.contents)

    def runs(self, side: int) -> list[_Ended]:
        """The runs of the last step on one side."""
        rows, faults, steps = self._taken[side]
        stopped, seen = dict(faults), dict(steps)
        found = []
        for place, (program, fault, value) in enumerate(np.frombuffer(rows, _RUN).tolist()):
            ended = stopped.get(place, ProgramFault("a fault", instruction=value)) if fault else value
            found.append(_Ended(self._olds[side][program], (fault, value), ended, seen.get(place, ())))
        return found

    def _count_differing(self, counts: dict[int, int]) -> None:
        """Adds the runs of the last step that differ, by program."""
        rows = [np.frombuffer(taken[0], _RUN) for taken in self._taken]
        for new, old in self._olds[0].items():
            left, right = (side[side["program"] == new] for side in rows)
            both = min(len(left), len(right))
            differing = int(np.count_nonzero(left[:both] != right[:both]))
            counts[old] = counts.get(old, 0) + differing + abs(len(left) - len(right))

    def run_all(
        self, progress: Callable[[Progress], object] | None
    ) -> tuple[tuple[int, int] | None, dict[str, ProgramComparison]]:
        """Fires all events. Gives the events between which the first difference is, and what programs did."""
        span = (0, 0) if self.differ else None
        counts: dict[int, int] = {}
        while count := self.step(PIECES[0]):
            if self.runs_differ:
                self._count_differing(counts)
            if span is None and self.differ:
                span = (self.events - count, self.events)
            if progress is not None:
                progress(Progress(self.events, self._player.time_ns))
        programs = {}
        for number, name in self._plan.names.items():
            left, right = (twin.programs[number].stats for twin in self.twins)
            programs[name] = ProgramComparison(
                (left.runs, right.runs), (left.faults, right.faults), counts.get(number, 0)
            )
        return span, programs

    def close(self) -> None:
        for twin in self.twins:
            twin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rings(pair: _Pair, compared: Mapping[str, MapComparison]) -> dict[str, int]:
    """Of each ring buffer whose records differ, the place of the first one that does."""
    return {
        contents.name: min(compared[contents.name].keys)
        for contents in pair.contents
        if isinstance(contents.map, RingBuffer) and contents.readable and compared[contents.name].keys
    }


def _first(plan: _Plan, span: tuple[int, int] | None, rings: Mapping[str, int], events: int) -> Difference | None:
    """The first difference, by running again up to it."""
    if span is None and not rings:
        return None
    before, after = span or (0, events)
    # What differs in a ring buffer shows at the end only, and may be earlier than anything else.
    sizes = PIECES if rings else PIECES[1:]
    before = 0 if rings else before
    for size in sizes:
        with _Pair(plan) as pair:
            for contents in pair.contents:
                contents.beyond = rings.get(contents.name)
            pair.advance(before)
            if size == 1:
                pair.look()
            found = after == 0
            while not found and pair.events < after and pair.step(min(size, after - pair.events)):
                found = pair.differ
                before = before if found else pair.events
            after = pair.events if found else after
            if size == 1 or after == 0:
                return _described(plan, pair)
    return None


def _described(plan: _Plan, pair: _Pair) -> Difference | None:
    """What differs after the last event of a pair."""
    findings = {program.id: _findings(plan, program) for program in plan.programs}
    left, right = pair.runs(0), pair.runs(1)
    olds = {program.id: program for program in plan.programs}
    for place in range(max(len(left), len(right))):
        one = left[place] if place < len(left) else None
        other = right[place] if place < len(right) else None
        if one is not None and other is not None and one.program != other.program:
            other = None  # it did not run there
        if one is not None and other is not None and one.same == other.same:
            continue
        ended = one or other
        assert ended is not None
        values = (one.value if one is not None else None, other.value if other is not None else None)
        stopped = next((v.instruction for v in values if isinstance(v, ProgramFault)), None)
        blame = blame_run(ended.steps, findings[ended.program], stopped)
        return _difference(plan, pair, olds[ended.program], None, None, values, blame)
    for contents in pair.contents:
        entry = next(contents.entries(), None) if contents.readable else None
        if entry is None:
            continue
        key, *values_there = entry
        program, blame = None, Blame(None, None)
        for run in left:
            new = pair.twins[0].programs[run.program]
            found = blame_map(new, run.steps, findings[run.program], contents.map.name)
            if found.insn is not None or program is None:
                program, blame = olds[run.program], found
        return _difference(plan, pair, program, contents.name, key, (values_there[0], values_there[1]), blame)
    return None


def _difference(
    plan: _Plan, pair: _Pair, program: Program | None, map: str | None, key: Any, values: tuple[Any, Any], blame: Blame
) -> Difference:
    name = None if program is None else plan.names[program.id]
    text, line = "", None
    if program is not None and blame.insn is not None:
        text, line = program._instruction(blame.insn), program._line(blame.insn)
    return Difference(pair.events, pair.event, name, map, key, values, blame.insn, text, line, blame.reason)


def _findings(plan: _Plan, program: Program) -> dict[int, Finding]:
    """What is known of a program's instructions on the other side, by slot."""
    parts = {gap.name: gap.part for gap in GAPS}
    found: dict[int, Finding] = {}
    for finding in program.portability["axvisor"].findings:
        if finding.insn is None or finding.effect != "differs":
            continue
        if plan.sides[1].has(parts.get(finding.gap or "")):
            found.setdefault(finding.insn, finding)
    return found
