"""A stream of events on its way through a bench, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf.bench.program import ProgramStats, stats_of, unique_names
from axebpf.errors import HypervisorError

if TYPE_CHECKING:
    from axebpf.bench import Bench
    from axebpf.hypervisor import Chunk, Stream, Workload

__all__ = ["Progress", "RunResult", "fire_chunk", "fire_stream", "stream_for"]


class RunResult(NamedTuple):
    """What a workload came to."""

    events: int
    """Events fired."""
    by_tracepoint: dict[str, int]
    """Events of each tracepoint."""
    lost: int
    """Trace entries lost."""
    programs: dict[str, ProgramStats]
    """What each program did during the run, by its name (with `#id` where two share one)."""
    time_ns: int
    """Time of the last event."""


class Progress(NamedTuple):
    """How far a run has come."""

    events: int
    """Events fired so far."""
    time_ns: int
    """Time of the last of them."""


class Before(NamedTuple):
    """What `since` compares with."""

    programs: dict[int, ProgramStats]
    """What each program had done, by its number."""
    watches: dict[int, int]
    """The watch for the worst runs of each."""
    fired: dict[str, int]
    """Events of each tracepoint."""
    lost: int
    """Trace entries lost."""


@contextmanager
def watched(bench: Bench) -> Iterator[Before]:
    """What a bench has counted so far; `since` says what it does from then on, until the block ends."""
    programs = list(bench._programs)
    then = Before(
        {program.id: program.stats for program in programs},
        {program.id: program._native.watch() for program in programs},
        {name: handle.fired for name, handle in bench.tracepoints.items()},
        bench.trace.lost,
    )
    try:
        yield then
    finally:
        if not bench.closed:
            for program in programs:
                program._native.unwatch(then.watches[program.id])


def since(bench: Bench, then: Before, events: int, time_ns: int) -> RunResult:
    """What has happened since `watched` began."""
    counts = {name: handle.fired - then.fired.get(name, 0) for name, handle in bench.tracepoints.items()}
    return RunResult(
        events=events,
        by_tracepoint={name: count for name, count in counts.items() if count},
        lost=bench.trace.lost - then.lost,
        programs=_program_deltas(bench, then),
        time_ns=time_ns,
    )


def fire_stream(
    bench: Bench, stream: Iterable[Chunk], progress: Callable[[Progress], object] | None, threads: int = 1
) -> RunResult:
    """Fires the events of a stream and says what became of them; tells `progress` after each chunk."""
    bench._native.check_threads(threads)
    events = last = 0
    with watched(bench) as then:
        for chunk in stream:
            events += fire_chunk(bench, chunk, threads)
            last = int(chunk.time_ns[-1]) if len(chunk.time_ns) else last
            if progress is not None:
                progress(Progress(events, last))
        return since(bench, then, events, last)


def fire_chunk(bench: Bench, chunk: Chunk, threads: int = 1) -> int:
    """Fires the events of a chunk; returns how many those are."""
    from axebpf.columns import for_core

    handles = [bench.tracepoints[name] for name in chunk.names]
    columns = [[for_core(chunk.columns[h.name][f.name], f.type) for f in h.declaration.fields] for h in handles]
    natives = [handle._native for handle in handles]
    return bench._native.fire_mixed(natives, chunk.order, chunk.time_ns, chunk.cpu, columns, threads)


def stream_for(bench: Bench, workload: str | Workload | Stream, parameters: Mapping[str, Any]) -> Stream:
    """The stream of a workload with these parameters. Raises HypervisorError, for more CPUs than the bench has too."""
    from axebpf.hypervisor import workload as make

    stream = make(workload, **parameters)
    if stream.cpus > bench.cpus:
        raise HypervisorError(
            f"{stream.workload} needs {stream.cpus} CPUs with these parameters, this bench has {bench.cpus}; "
            f"make it with Bench(cpus={stream.cpus})",
            workload=stream.workload,
        )
    return stream


def _program_deltas(bench: Bench, then: Before) -> dict[str, ProgramStats]:
    ran: dict[int, tuple[str, ProgramStats]] = {}
    for program in bench._programs:
        stats = program.stats
        # A callback may have loaded a program meanwhile: that has done nothing before.
        if (old := then.programs.get(program.id)) is not None:
            executed = None if stats.instructions is None else stats.instructions - (old.instructions or 0)
            counts = stats.runs - old.runs, stats.misses - old.misses, stats.faults - old.faults, executed
            worst = program._native.worst(then.watches[program.id])
            stats = stats_of((*counts, stats.calls - old.calls), worst)
        if stats.runs or stats.misses:
            ran[program.id] = program.name, stats
    names = unique_names((number, name) for number, (name, _) in ran.items())
    return {name: ran[number][1] for number, name in names.items()}
