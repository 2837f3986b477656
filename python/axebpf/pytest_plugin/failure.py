"""What a failing test shows of its bench: the last events, the end of the trace, maps that changed, lines that ran."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import axebpf
from axebpf.array_map import ArrayMap
from axebpf.bench import Program
from axebpf.bloom_filter import BloomFilter
from axebpf.cli.values import Enums
from axebpf.errors import AxebpfError, SourceLine
from axebpf.maps import HashMap, Map, PerCpu
from axebpf.pytest_plugin.fixture import TestedBench
from axebpf.pytest_plugin.text import shown, shown_field
from axebpf.queue_map import QueueMap
from axebpf.ring_buffer import RingBuffer
from axebpf.trace import Event

__all__ = ["end_in_the_test", "sections"]

EVENTS, TRACE_LINES, MAPS, ENTRIES, PROGRAMS, LINES = 10, 20, 20, 10, 4, 60
"""The most that is shown of each; of entries and lines, for one map and one program."""

LARGEST = 1 << 22
"""Bytes of a map that is looked through."""


def end_in_the_test(error: BaseException) -> None:
    """Ends the traceback of one of axebpf's errors where the test called axebpf: the message says all that there is."""
    if not isinstance(error, AxebpfError):
        return
    package = f"{Path(axebpf.__file__).parent}{os.sep}"
    last, entry = None, error.__traceback__
    while entry is not None:
        if not entry.tb_frame.f_code.co_filename.startswith(package):
            last = entry
        entry = entry.tb_next
    if last is not None:
        last.tb_next = None


def sections(bench: TestedBench) -> list[tuple[str, str]]:
    """Titles and texts, as pytest shows them below a failure; what is empty is left out."""
    if bench.closed:
        return [("axebpf", "the test has closed its bench, so nothing of it can be shown")]
    parts: list[tuple[str, Callable[[TestedBench], Iterator[str]]]] = [
        ("compared", _compared),
        ("last events", _events),
        ("trace", _trace),
        ("maps that changed", _maps),
        ("lines that ran", _programs),
    ]
    made = [(f"axebpf: {title}", "\n".join(lines(bench))) for title, lines in parts]
    return [(title, text) for title, text in made if text]


def _compared(bench: TestedBench) -> Iterator[str]:
    """The last comparison in which something differs."""
    if bench.noted.different:
        yield str(bench.noted.different[-1])


def _events(bench: TestedBench) -> Iterator[str]:
    fired = sum(tracepoint.fired for tracepoint in bench.tracepoints.values())
    # A program may print after each event; what it prints after the last is bounded as the trace is.
    events = [entry for entry in bench.trace.records(last=50 * EVENTS) if isinstance(entry, Event)][-EVENTS:]
    if fired > len(events):
        yield f"the last {len(events)} of {fired}:" if events else f"{fired} fired, none of them in the trace"
    width = max((len(event.name) for event in events), default=0)
    for event in events:
        values = event.fields
        fields = bench.tracepoints[event.name].declaration.fields
        text = " ".join(f"{field.name}={shown_field(field, values[field.name])}" for field in fields)
        yield f"{event.time_ns // 10**9}.{event.time_ns % 10**9:09} cpu{event.cpu} {event.name:{width}} {text}".rstrip()


def _trace(bench: TestedBench) -> Iterator[str]:
    if bench.trace.lost:
        yield f"{bench.trace.lost} entries lost, for want of room"
    lines = bench.trace.text().splitlines()
    if len(lines) > TRACE_LINES:
        yield f"the last {TRACE_LINES} of {len(lines)} lines:"
    yield from lines[-TRACE_LINES:]


def _maps(bench: TestedBench) -> Iterator[str]:
    enums: Enums = {
        field.name: field.enum
        for tracepoint in bench.tracepoints.values()
        if tracepoint.programs
        for field in tracepoint.declaration.fields
        if field.enum is not None
    }
    yield from _first(list(_variables(bench, enums)), MAPS)
    shown_maps: list[str] = []
    for made in bench.noted.maps:
        try:
            lines = list(_changes(made, bench.cpus, enums))
        except AxebpfError as error:  # one that only programs may read
            lines = [str(error)]
        shown_maps += ["\n".join(lines)] if lines else []
    yield from _first(shown_maps, MAPS)


def _variables(bench: TestedBench, enums: Enums) -> Iterator[str]:
    """Global variables that are not what they were when the object was loaded."""
    for loaded, before in bench.noted.objects:
        for name, value in loaded.globals.items():
            if value != before[name]:
                yield f"{name}: {shown(before[name], enums, name)} -> {shown(value, enums, name)}"


def _changes(made: Map, cpus: int, enums: Enums) -> Iterator[str]:
    """What is in a map that was not when it was made: then, every map is empty or zero."""
    count, kind = len(made), made.type
    if isinstance(made, RingBuffer):
        # Reading it would take the records away from whoever looks at the failed test in a debugger.
        if count:
            yield f"{made.name} ({kind}): {count} not read yet"
        return
    if isinstance(made, BloomFilter):
        if count:
            yield f"{made.name} ({kind}): {count} added"
        return
    if count * (made.key_size + made.value_size * (cpus if made.is_per_cpu else 1)) > LARGEST:
        yield f"{made.name} ({kind}): {count} entries, too many to look through"
        return
    if isinstance(made, QueueMap):
        lines = [shown(value, enums) for value in made]
    else:
        assert isinstance(made, (ArrayMap, HashMap))
        entries = made.items()
        if isinstance(made, ArrayMap):
            kind += " without its zeros"
            zero = made.value_type.decode(bytes(made.value_size))
            nothing = PerCpu([zero] * cpus) if made.is_per_cpu else zero
            entries = [(key, value) for key, value in entries if value != nothing]
        lines = [f"{shown(key, enums)}: {shown(value, enums)}" for key, value in entries]
    if lines:
        yield f"{made.name} ({kind}, {len(lines)} of {made.max_entries}):"
        yield from _first([f"  {line}" for line in lines], ENTRIES)


def _programs(bench: TestedBench) -> Iterator[str]:
    ended = {program: last for program in bench.noted.programs if (last := program.last_run) is not None}
    ran = sorted(ended, key=lambda program: ended[program].at, reverse=True)
    if ran:
        insn, line, _ = ended[ran[0]]
        place = f"instruction {insn}" if line is None else f"{_place(line)}: {line.text}"
        yield f"last, in {ran[0].name}: {place}"
    for program in ran[:PROGRAMS]:
        yield from _lines(program)
    # Those of an engine that shows no instructions have runs and no last one.
    unseen = [program for program in bench.noted.programs if program not in ended and program.stats.runs]
    yield from _first([f"{_runs(program)}; the engine {bench.engine} shows no lines" for program in unseen], PROGRAMS)
    idle = [program for program in bench.noted.programs if program not in ended and program not in unseen]
    yield from _first([f"{program.name}: never ran{_why(bench, program)}" for program in idle], PROGRAMS)


def _lines(program: Program) -> Iterator[str]:
    """How often each source line of a program ran."""
    yield _runs(program)
    found = program.line_counts()
    width = max((len(_place(line)) for line, _ in found[:LINES]), default=0)
    yield from _first([f"{n or 'never':>8}  {_place(line):{width}}  {line.text}".rstrip() for line, n in found], LINES)


def _runs(program: Program) -> str:
    """How often a program ran."""
    stats = program.stats
    faults = f", {stats.faults} stopped by a fault" if stats.faults else ""
    return f"{program.name}: {stats.runs} run{'s' * (stats.runs != 1)}{faults}"


def _first(lines: list[str], most: int) -> list[str]:
    """The first lines, and how many more there are."""
    return lines if len(lines) <= most else [*lines[:most], f"… {len(lines) - most} more"]


def _place(line: SourceLine) -> str:
    return f"{line.file.removeprefix('./')}:{line.line}"


def _why(bench: TestedBench, program: Program) -> str:
    """Why a program has not run that its section would attach."""
    place = bench.place_of(program)
    if place is None:
        return ""
    if not place.programs:
        return f": nothing is attached to {place.name}"
    return "" if place.fired else f": {place.name} has not fired"
