"""One use of a bench from the command line: objects loaded and attached, a workload run, and what came of it."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axebpf.array_map import ArrayMap
from axebpf.bench import Bench, CostReport, Link, LoadedObject, Program, Progress, ReplayResult, RunResult, Statistics
from axebpf.bench.differs import differing
from axebpf.bloom_filter import BloomFilter
from axebpf.cli.objects import read_object
from axebpf.cli.progress import progress
from axebpf.cli.source import Source, source
from axebpf.cli.values import Enums, plain
from axebpf.errors import AttachError, LoadError, MapError, NotFound, PortabilityWarning, ProgramFault, did_you_mean
from axebpf.maps import HashMap, Map
from axebpf.queue_map import QueueMap
from axebpf.ring_buffer import RingBuffer

__all__ = ["Attachment", "MapView", "Session", "views"]


_COUNTS = ("runs", "misses", "faults", "instructions", "calls", "worst_instructions", "worst_calls")
"""What JSON has of a program's counts."""


@dataclass(frozen=True)
class Attachment:
    """A program, and where it is attached or why it is not."""

    file: str
    """The object's file, without folders."""
    program: Program
    link: Link | None
    why_not: str = ""

    @property
    def place(self) -> str:
        """The tracepoint, or an empty text."""
        return self.link.tracepoint.name if self.link is not None else ""


@dataclass
class Session:
    """A bench, the objects in it, and the workload or recording that it is to see."""

    bench: Bench
    source: Source
    objects: dict[str, LoadedObject] = field(default_factory=dict)
    """By file, as given."""
    attachments: list[Attachment] = field(default_factory=list)
    stopped: BaseException | None = None
    """What ended the run early: a fault, or Ctrl-C."""
    result: RunResult | ReplayResult | None = None
    """What the run came to, if it came to its end."""
    costs: CostReport | None = None
    """What the attached programs cost, where that was measured."""

    @classmethod
    def open(cls, name: str, parameters: Mapping[str, Any], **options: Any) -> Session:
        """A session on a workload or, by its file name, on a recording; `options` are those of `Bench`.

        Raises HypervisorError, RecordingError.
        """
        return cls.of(source(name, parameters), **options)

    @classmethod
    def of(cls, events: Source, **options: Any) -> Session:
        """A session on these events: its bench has as many CPUs as they are on."""
        return cls(Bench(cpus=events.cpus, **options), events)

    def load(self, files: Sequence[str], variables: Mapping[str, Any] | None = None) -> None:
        """Loads objects; sets those global variables in each object that has them. Raises LoadError."""
        variables = variables or {}
        known: set[str] = set()
        for file in files:
            names = {entry["name"] for entry in read_object(file).globals} if variables else set()
            known |= names
            try:
                with warnings.catch_warnings(action="ignore", category=PortabilityWarning):
                    loaded = self.bench.load(file, rodata={n: v for n, v in variables.items() if n in names})
            except MapError as error:  # which of the objects it is of, it does not say
                raise LoadError(str(error), file=file) from error
            self.objects[file] = loaded
            if self.bench.target == "axvisor":
                _say_what_differs(file, loaded)
        for name in variables:
            if name not in known:
                raise LoadError(f"no global variable {name}{did_you_mean(name, known)}", file=", ".join(files))

    def attach(self) -> None:
        """Attaches every program to what its section names. Raises AttachError where that leaves none attached."""
        for file, programs in self.objects.items():
            for program in programs.values():
                link, why_not = None, ""
                try:
                    link = program.attach()
                except (AttachError, NotFound) as error:
                    # What one would write in Python is of no use here.
                    why_not = str(error).removeprefix(f"{program.name}: ").partition("; say which")[0]
                self.attachments.append(Attachment(Path(file).name, program, link, why_not))
        if not self.places:
            reasons = "".join(f"\n  {a.file}: {a.program.name}: {a.why_not}" for a in self.attachments)
            raise AttachError(f"no program is attached to a tracepoint, so there is nothing to run{reasons}")

    @property
    def places(self) -> list[str]:
        """The tracepoints that programs are attached to, each once."""
        return list(dict.fromkeys(a.place for a in self.attachments if a.link is not None))

    @property
    def attached(self) -> list[Attachment]:
        """The programs that are attached."""
        return [a for a in self.attachments if a.link is not None]

    def measure(self) -> None:
        """Measures what the attached programs cost. Where one is stopped by a fault, the run is to say so."""
        with contextlib.suppress(ProgramFault):
            self.costs = self.source.cost(self.bench, [a.program for a in self.attached])

    def run(self, tell: Callable[[Progress], object] | None = None, threads: int = 1) -> None:
        """Runs the workload or replays the recording. A fault or Ctrl-C ends it early and is kept in `stopped`.

        `tell` hears how far it has come; without one, the terminal does. Raises ThreadsError where so many threads
        cannot fire the events.
        """
        try:
            if tell is not None:
                self.result = self.source.run(self.bench, tell, threads)
                return
            with progress(self.source.expected) as told:
                self.result = self.source.run(self.bench, told, threads)
        except (ProgramFault, KeyboardInterrupt) as stopped:
            self.stopped = stopped

    # What came of it. The bench was fresh, so all its counts are of this run.

    @property
    def fired(self) -> dict[str, int]:
        """Events of each tracepoint that had any."""
        return {name: tp.fired for name, tp in self.bench.tracepoints.items() if tp.fired}

    @property
    def time_ns(self) -> int:
        """Time of the last event."""
        return max((s.last_timestamp_ns or 0 for s in self.bench.stats.values()), default=0)

    @property
    def latencies(self) -> dict[str, Statistics]:
        """Statistics of the tracepoints that have a duration."""
        return {name: s for name, s in self.bench.stats.items() if s.samples}

    def most_frequent(self, top: int | None) -> list[tuple[str, Statistics]]:
        """Statistics of the tracepoints that have fired, the most frequent first; at most `top` of them."""
        return sorted(self.bench.stats.items(), key=lambda item: -item[1].count)[:top]

    def statistics_json(self, top: int | None) -> dict[str, Any]:
        """What `axebpf stat --json` prints."""
        names = ("count", "samples", "total_ns", "min_ns", "max_ns", "avg_ns", "p50_ns", "p90_ns", "p99_ns")
        return {
            **self.source.json(),
            "statistics": {
                name: {n: getattr(s, n) for n in (*names, "last_timestamp_ns")} | {"buckets": list(s.buckets)}
                for name, s in self.most_frequent(top)
            },
        }

    @property
    def enums(self) -> Enums:
        """Meaning of numbers by name: of the fields of the tracepoints that programs are attached to."""
        fields = [f for name in self.places for f in self.bench.tracepoints[name].declaration.fields]
        return {f.name: f.enum for f in fields if f.enum is not None}

    def json(self, chosen: Sequence[MapView], trace: int) -> dict[str, Any]:
        """Everything, as `axebpf run --json` prints it."""
        bench, stopped = self.bench, self.stopped
        return {
            **self.source.json(),
            "bench": {"target": bench.target, "engine": bench.engine, "maps": bench.map_library},
            "events": sum(self.fired.values()),
            "by_tracepoint": self.fired,
            "time_ns": self.time_ns,
            "interrupted": isinstance(stopped, KeyboardInterrupt),
            "error": None if stopped is None or isinstance(stopped, KeyboardInterrupt) else str(stopped),
            "objects": [
                {"file": file, "license": loaded.license, "warnings": loaded.warnings, "globals": plain_globals(loaded)}
                for file, loaded in self.objects.items()
            ],
            "programs": [
                {
                    "file": a.file,
                    "name": a.program.name,
                    "section": a.program.section,
                    "attached": a.place or None,
                    "why_not": a.why_not or None,
                    **{name: getattr(a.program.stats, name) for name in _COUNTS},
                }
                for a in self.attachments
            ],
            **({} if self.costs is None else {"cost": self._costs_json(self.costs)}),
            "maps": [view.json() for view in chosen],
            "latency": {
                name: {f: getattr(s, f) for f in ("count", "samples", "total_ns", "min_ns", "max_ns", "avg_ns")}
                | {"buckets": list(s.buckets)}
                for name, s in self.latencies.items()
            },
            "trace": {
                "lines": bench.trace.text().splitlines()[-trace:] if trace else [],
                "written": bench.trace.written,
                "lost": bench.trace.lost,
            },
        }

    def _costs_json(self, costs: CostReport) -> dict[str, Any]:
        return {
            "repetitions": costs.repetitions,
            "programs": [
                {
                    "file": a.file,
                    "name": a.program.name,
                    "insns_per_event": of.stats.instructions_per_run,
                    "worst_insns": of.stats.worst_instructions,
                    "calls_per_event": of.stats.calls_per_run,
                    "worst_calls": of.stats.worst_calls,
                    "interpreter_ns": of.interpreter_ns,
                    "rbpf_ns": of.rbpf_ns,
                    "rbpf_target": of.rbpf_target,
                    "refused": dict(of.refused),
                }
                for a, of in zip(self.attached, costs.programs.values(), strict=True)
            ],
        }


def _say_what_differs(file: str, loaded: LoadedObject) -> None:
    """On standard error, as a warning: the programs of an object that are computed differently on AxVisor."""
    for said, first, others in differing(loaded.values()):
        more = f"\n  {others} more; axebpf check --target axvisor has all" if others else ""
        print(f"axebpf: {file}: {said}:\n  {first}{more}", file=sys.stderr)


def plain_globals(loaded: LoadedObject) -> dict[str, Any]:
    """The global variables of an object as JSON has them."""
    return {name: plain(value) for name, value in loaded.globals.items()}


@dataclass(frozen=True)
class MapView:
    """A map, read once: a ring buffer is empty afterwards."""

    file: str
    map: Map
    entries: list[tuple[Any, Any]]
    """Keys and values; of queues, stacks and rings, positions and values."""
    zeros: int = 0
    """Entries of an array that are left out because they are zero."""

    @property
    def keyed(self) -> bool:
        """Whether the first of each pair is a key."""
        return isinstance(self.map, (HashMap, ArrayMap))

    def json(self) -> dict[str, Any]:
        """As JSON has it; array entries that are zero are left out."""
        entries = [{"key": plain(k), "value": plain(v)} if self.keyed else plain(v) for k, v in self.entries]
        return {"file": self.file, "name": self.map.name, "type": self.map.type, "entries": entries}


def views(session: Session, wanted: Sequence[str]) -> list[MapView]:
    """The maps to be shown: those asked for as `NAME`, or for rings `NAME=TYPE`, otherwise all of the objects' maps.

    Raises NotFound for an unknown map or type.
    """
    types = dict(name.partition("=")[::2] for name in wanted)
    found, names = [], set()
    for file, loaded in session.objects.items():
        for name, shown in loaded.maps.items():
            names.add(name)
            if (name in types) if wanted else not name.startswith("."):
                found.append(_view(Path(file).name, shown, types.get(name, "")))
    for name in types:
        if name not in names:
            raise NotFound(f"no map {name}{did_you_mean(name, names)}")
    return found


def _view(file: str, shown: Map, record: str) -> MapView:
    if record and not isinstance(shown, RingBuffer):
        raise NotFound(f"{shown.name} is no ring buffer: its values have the types of the object's BTF already")
    if isinstance(shown, RingBuffer):
        return MapView(file, shown, list(enumerate(shown.typed(record) if record else shown)))
    if isinstance(shown, QueueMap):
        return MapView(file, shown, list(enumerate(shown)))
    if isinstance(shown, BloomFilter):
        return MapView(file, shown, [])
    assert isinstance(shown, (HashMap, ArrayMap))
    entries = shown.items()
    if isinstance(shown, ArrayMap) and shown.max_entries > 1:
        entries = [(key, value) for key, value in entries if _is_set(value)]
    else:
        entries = sorted(entries, key=lambda entry: _order(entry[0]))
    return MapView(file, shown, entries, shown.max_entries - len(entries) if isinstance(shown, ArrayMap) else 0)


def _is_set(value: Any) -> bool:
    """Whether anything in a value is not zero."""
    if isinstance(value, (tuple, list)):
        return any(_is_set(item) for item in value)
    return any(value) if isinstance(value, bytes) else bool(value)


def _order(key: Any) -> Any:
    """What keys are sorted by; keys of one map have one type."""
    return tuple(_order(item) for item in key) if isinstance(key, (tuple, list)) else key
