"""A stream of events on its way through a bench, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from axebpf.bench.program import ProgramStats
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


Before: TypeAlias = tuple[dict[int, ProgramStats], dict[str, int], int]
"""What `since` compares with."""


def before(bench: Bench) -> Before:
    """What a bench has counted so far."""
    return (
        {program.id: program.stats for program in bench._programs},
        {name: handle.fired for name, handle in bench.tracepoints.items()},
        bench.trace.lost,
    )


def since(bench: Bench, then: Before, events: int, time_ns: int) -> RunResult:
    """What has happened since `before`."""
    programs, fired, lost = then
    counts = {name: handle.fired - fired.get(name, 0) for name, handle in bench.tracepoints.items()}
    return RunResult(
        events=events,
        by_tracepoint={name: count for name, count in counts.items() if count},
        lost=bench.trace.lost - lost,
        programs=_program_deltas(bench, programs),
        time_ns=time_ns,
    )


def fire_stream(bench: Bench, stream: Iterable[Chunk], progress: Callable[[Progress], object] | None) -> RunResult:
    """Fires the events of a stream and says what became of them; tells `progress` after each chunk."""
    then = before(bench)
    events = last = 0
    for chunk in stream:
        events += fire_chunk(bench, chunk)
        last = int(chunk.time_ns[-1]) if len(chunk.time_ns) else last
        if progress is not None:
            progress(Progress(events, last))
    return since(bench, then, events, last)


def fire_chunk(bench: Bench, chunk: Chunk) -> int:
    """Fires the events of a chunk; returns how many those are."""
    from axebpf.columns import for_core

    handles = [bench.tracepoints[name] for name in chunk.names]
    columns = [[for_core(chunk.columns[h.name][f.name], f.type) for f in h.declaration.fields] for h in handles]
    natives = [handle._native for handle in handles]
    return bench._native.fire_mixed(natives, chunk.order, chunk.time_ns, chunk.cpu, columns)


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


def _program_deltas(bench: Bench, before: dict[int, ProgramStats]) -> dict[str, ProgramStats]:
    out: dict[str, ProgramStats] = {}
    for program in bench._programs:
        # A callback may have loaded a program meanwhile.
        old, new = before.get(program.id, ProgramStats(0, 0, 0, 0)), program.stats
        delta = ProgramStats(
            new.runs - old.runs,
            new.misses - old.misses,
            new.faults - old.faults,
            new.instructions - old.instructions,
        )
        if delta.runs or delta.misses:
            out[program.name if program.name not in out else f"{program.name}#{program.id}"] = delta
    return out
