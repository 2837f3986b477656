"""`bench.replay`: a recording through a bench."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from axebpf import _native
from axebpf.bench.run import Progress, since, watched
from axebpf.errors import RecordingError
from axebpf.recording import Recording, Rule, kvm

if TYPE_CHECKING:
    from axebpf.bench import Bench, ProgramStats

__all__ = ["ReplayResult", "open_reader", "replay"]


class ReplayResult(NamedTuple):
    """What a replay came to: what a `RunResult` has, then what the recording had."""

    events: int
    """Events fired."""
    by_tracepoint: dict[str, int]
    """Events of each tracepoint."""
    lost: int
    """Trace entries lost."""
    programs: dict[str, ProgramStats]
    """What each program did during the replay, by its name (with `#id` where two share one)."""
    time_ns: int
    """Time of the last event of the recording."""
    first_ns: int
    """Time of its first event."""
    recorded: dict[str, int]
    """Events in the recording, by name."""
    unmapped: dict[str, int]
    """Those that nothing was made of: no rule, no tracepoint of that name, or a text of an unknown form."""
    passed_over: dict[str, int]
    """Those that the rules leave out knowingly: others say the same."""
    lines: int
    """Lines read."""
    skipped: int
    """Lines that no event could be read from; comments and empty lines do not count."""
    lost_by_recorder: int
    """Events that the recorder says it lost."""
    backwards: int
    """Events that are earlier than the one before them on their CPU. They are fired in the order of the file."""
    unpaired: int
    """Durations whose beginning is not in the recording; they are 0."""
    problems: list[str]
    """What was wrong, with its line; the first 20."""


def replay(
    bench: Bench,
    source: Any,
    format: str | None,
    mapping: Iterable[Rule] | None,
    event: str | None,
    progress: Callable[[Progress], object] | None,
    threads: int = 1,
) -> ReplayResult:
    """See `Bench.replay`."""
    bench._native.check_threads(threads)
    recording = source if isinstance(source, Recording) else Recording(source, format)
    reader, pieces = open_reader(bench, recording, mapping, event)
    natives = [handle._native for handle in bench._by_slot]
    events = 0
    with watched(bench) as then:
        for piece, last in pieces:
            try:
                reader.feed(piece, last)
            finally:
                # The events before an error did happen.
                events += bench._native.fire_recorded(natives, reader, threads=threads)
            if progress is not None:
                progress(Progress(events, reader.report()["last_ns"] or 0))
        done = since(bench, then, events, reader.report()["last_ns"] or 0)
    report, names = reader.report(), reader.names()
    more = report["more_problems"]
    problems = [f"line {line}: {what}" for line, what in report["problems"]]
    return ReplayResult(
        *done,
        first_ns=report["first_ns"] or 0,
        recorded={name: seen for name, seen, _, _ in names},
        unmapped={name: count for name, _, count, _ in names if count},
        passed_over={name: count for name, _, _, count in names if count},
        lines=report["lines"],
        skipped=report["skipped"],
        lost_by_recorder=report["lost"],
        backwards=report["backwards"],
        unpaired=report["unpaired"],
        problems=[*problems, f"and {more} more"] if more else problems,
    )


def open_reader(
    bench: Bench, recording: Recording, mapping: Iterable[Rule] | None, event: str | None
) -> tuple[_native.Recording, Iterator[tuple[bytes, bool]]]:
    """A reader that is ready to make the bench's events of a recording, and what it is to be fed.

    That is each piece, and whether it is the last one. Raises RecordingError for a recording that does not fit.
    """
    rules = kvm.RULES if mapping is None else tuple(mapping)
    if event is not None:
        event = bench.tracepoints[event].name
    specs = [handle._spec for handle in bench._by_slot]
    reader = _native.Recording(
        recording.name, specs, [rule.native() for rule in rules], recording.format == "csv", event, bench.cpus
    )
    pieces = recording.pieces()
    if recording.again:
        for piece in pieces:
            reader.survey(piece, False)
        reader.survey(b"", True)
        cpus = reader.report()["cpus"]
        if cpus > bench.cpus:
            raise RecordingError(
                f"its events are on {cpus} CPUs, this bench has {bench.cpus}; make it with Bench(cpus={cpus})",
                file=recording.name,
            )
        pieces = recording.pieces()
        first = next(pieces, b"")
    else:
        # What replaces what is decided by the first piece.
        first = next(pieces, b"")
        reader.survey(first, False)
    reader.begin()
    return reader, _marked(first, pieces)


def _marked(first: bytes, pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each piece, and at the end an empty one that is the last."""
    yield first, False
    for piece in pieces:
        yield piece, False
    yield b"", True
