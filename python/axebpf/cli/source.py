"""Where the events of a session come from: a workload of the simulated hypervisor, or a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from axebpf.bench import Bench, CostReport, Program, Progress, ReplayResult, RunResult
from axebpf.cli.workload import find_workload
from axebpf.errors import HypervisorError, RecordingError, did_you_mean
from axebpf.hypervisor import WORKLOADS, Stream, Workload, workload
from axebpf.recording import Recording

__all__ = ["RecordedEvents", "SimulatedEvents", "Source", "recording", "source"]


class Source(Protocol):
    """What makes the events."""

    @property
    def name(self) -> str:
        """The workload, or the recording's file."""

    @property
    def note(self) -> str:
        """What it is, in a few words."""

    @property
    def cpus(self) -> int:
        """CPUs that the events are on."""

    @property
    def expected(self) -> int | None:
        """About how many there are, where that is known."""

    @property
    def given(self) -> tuple[Stream | Recording, dict[str, Any]]:
        """What `Bench.compare` takes them as, and with which parameters."""

    def run(self, bench: Bench, tell: Callable[[Progress], object] | None, threads: int) -> RunResult | ReplayResult:
        """Fires them all on so many threads; `tell` hears how far it has come."""

    def cost(self, bench: Bench, programs: Sequence[Program]) -> CostReport:
        """What these programs of the bench cost at its events."""

    def json(self) -> dict[str, Any]:
        """What it is, as JSON has it."""


@dataclass(frozen=True)
class SimulatedEvents:
    """A workload."""

    stream: Stream

    @property
    def name(self) -> str:
        """The workload."""
        return self.stream.workload

    @property
    def note(self) -> str:
        """Its parameters."""
        given = {
            n: f"{v:.6g}" if isinstance(v, float) else v for n, v in self.stream.parameters.items() if v is not None
        }
        return ", ".join(f"{name}={value}" for name, value in given.items())

    @property
    def cpus(self) -> int:
        """Physical CPUs of the machine."""
        return self.stream.cpus

    @property
    def expected(self) -> int | None:
        """What the workload foretells."""
        return self.stream.expected

    @property
    def given(self) -> tuple[Stream, dict[str, Any]]:
        """The stream, which has its parameters."""
        return self.stream, {}

    def run(self, bench: Bench, tell: Callable[[Progress], object] | None, threads: int) -> RunResult:
        """Runs it."""
        return bench.run(self.stream, progress=tell, threads=threads)

    def cost(self, bench: Bench, programs: Sequence[Program]) -> CostReport:
        """Measures it."""
        return bench.cost(programs, self.stream)

    def json(self) -> dict[str, Any]:
        """Name and parameters."""
        return {"workload": {"name": self.name, "parameters": dict(self.stream.parameters)}}


@dataclass
class RecordedEvents:
    """A recording."""

    recording: Recording
    event: str | None = None
    """The tracepoint of a table that has no column for it."""
    cpus: int = field(init=False)
    """CPUs that the events are on."""
    result: ReplayResult | None = field(default=None, init=False)
    """What came of it, once it was replayed to its end."""

    def __post_init__(self) -> None:
        """Counts the CPUs of what can be read twice; of a pipe, there may be as many as this machine has."""
        if self.recording.again:
            self.cpus = self.recording.cpus()
        else:
            import os

            self.cpus = os.cpu_count() or 1

    @property
    def name(self) -> str:
        """The file."""
        return self.recording.name

    @property
    def note(self) -> str:
        """What it is written as."""
        return f"a recording, {self.recording.format}"

    @property
    def expected(self) -> int | None:
        """Unknown before it is read."""
        return None

    @property
    def given(self) -> tuple[Recording, dict[str, Any]]:
        """The recording, and what its rows are."""
        return self.recording, {"event": self.event}

    def run(self, bench: Bench, tell: Callable[[Progress], object] | None, threads: int) -> ReplayResult:
        """Replays it."""
        self.result = bench.replay(self.recording, event=self.event, progress=tell, threads=threads)
        return self.result

    def cost(self, bench: Bench, programs: Sequence[Program]) -> CostReport:
        """Measures it."""
        return bench.cost(programs, self.recording, event=self.event)

    def json(self) -> dict[str, Any]:
        """File, and what was read of it."""
        found: dict[str, Any] = {"file": self.name, "format": self.recording.format, "cpus": self.cpus}
        if self.result is not None:
            names = (
                "first_ns",
                "lines",
                "skipped",
                "lost_by_recorder",
                "backwards",
                "unpaired",
                "recorded",
                "unmapped",
            )
            found |= {name: getattr(self.result, name) for name in (*names, "passed_over", "problems")}
        return {"recording": found}


def recording(file: str, format: str | None = None, event: str | None = None) -> RecordedEvents:
    """A recording; `-` is standard input. Raises RecordingError."""
    if file == "-":
        import sys

        return RecordedEvents(Recording(sys.stdin.buffer, format), event)
    return RecordedEvents(Recording(file, format), event)


def source(name: str, parameters: Mapping[str, Any]) -> Source:
    """A workload with these parameters: of that name, or `FILE.py` with one of your own; or else a recording.

    Raises HypervisorError for what is neither, and RecordingError for parameters of a recording, except `seed`.
    """
    found = find_workload(name)
    if isinstance(found, Workload) or found in WORKLOADS:
        return SimulatedEvents(workload(found, **parameters))
    if name != "-" and not Path(name).exists():
        near = did_you_mean(name, WORKLOADS) or f"; the workloads are {', '.join(WORKLOADS)}."
        raise HypervisorError(f"no workload {name}{near} Nor is there a file of that name.", workload=name)
    for parameter in parameters:
        if parameter != "seed":
            raise RecordingError(f"a recording has no parameter {parameter}; workloads have", file=name)
    return recording(name)
