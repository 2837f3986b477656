"""The bench of a test: its options, its engines, and what is noted for the case that the test fails."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import pytest

from axebpf.bench import ENGINES, EVERYDAY_ENGINES, Bench, LoadedObject, Program, TracepointHandle
from axebpf.bench.handle import Declared
from axebpf.errors import AxebpfError, TracepointError, did_you_mean
from axebpf.maps import Map

__all__ = ["TestedBench", "chosen_engines", "engines_of", "open_bench"]


@dataclass
class Noted:
    """What was made in a bench, unloaded or not."""

    objects: list[tuple[LoadedObject, dict[str, Any]]] = field(default_factory=list)
    """Objects, each with its global variables right after the load."""
    programs: list[Program] = field(default_factory=list)
    """Programs."""
    maps: list[Map] = field(default_factory=list)
    """Maps, without the sections that hold global variables."""


class TestedBench(Bench):
    """A bench whose events all enter the trace, and that notes what is made in it."""

    __test__ = False  # the name begins as those of pytest's classes do

    def __init__(self, **options: Any) -> None:
        self.noted = Noted()
        """For the case that the test fails."""
        super().__init__(**options)

    def define(self, declared: Declared) -> TracepointHandle:
        """As of `Bench`; the events of this tracepoint enter the trace too."""
        handle = super().define(declared)
        handle.enabled = True
        return handle

    def load(self, *args: Any, **options: Any) -> LoadedObject:
        """As of `Bench`."""
        loaded = super().load(*args, **options)
        self.noted.objects.append((loaded, dict(loaded.globals)))
        self.noted.programs += loaded.values()
        self.noted.maps += [made for name, made in loaded.maps.items() if not name.startswith(".")]
        return loaded

    def load_bytes(self, *args: Any, **options: Any) -> Program:
        """As of `Bench`."""
        program = super().load_bytes(*args, **options)
        self.noted.programs.append(program)
        return program

    def create_map(self, *args: Any, **options: Any) -> Any:
        """As of `Bench`."""
        made = super().create_map(*args, **options)
        self.noted.maps.append(made)
        return made

    def place_of(self, program: Program) -> TracepointHandle | None:
        """The tracepoint that a program's section names, if there is one of that name."""
        try:
            return None if program.target is None else self._handle(program.target)
        except TracepointError:
            return None

    def close_after(self, test: str) -> None:
        """Closes it; who uses it, or a part of it, in a later test is told where it comes from."""
        self._native.close(f"it was the fixture bench of {test}, which is over; each test takes its own")


def chosen_engines(config: pytest.Config) -> list[str]:
    """The engines that tests run on. Raises pytest.UsageError where `--axebpf-engine` names one that there is not."""
    chosen: list[str] = config.option.axebpf_engine
    for name in chosen:
        if name not in ENGINES:
            near = did_you_mean(name, ENGINES)
            raise pytest.UsageError(f"--axebpf-engine: no engine {name}; engines are {', '.join(ENGINES)}{near}")
    return [name for name in ENGINES if name in chosen] or list(EVERYDAY_ENGINES)


def engines_of(test: pytest.Item) -> list[str]:
    """The engines that a test is to run on: that of its marker, or all that were chosen."""
    options = _options(test)
    named = options.get("engine", "rbpf" if options.get("target") == "axvisor" else None)
    return chosen_engines(test.config) if named is None else [named]


def open_bench(test: pytest.Item, engine: str) -> TestedBench:
    """The bench of a test. Fails the test, without a traceback, for options that a bench cannot have."""
    chosen = chosen_engines(test.config)
    if test.config.option.axebpf_engine and engine in ENGINES and engine not in chosen:
        pytest.skip(f"is for the engine {engine}; --axebpf-engine chose {', '.join(chosen)}")
    refused = "; ".join(
        f"options go by name, such as cpus=2, not {mark.args[0]!r}" for mark in _marks(test) if mark.args
    )
    options = _options(test)
    known = inspect.signature(Bench).parameters
    for name in options:
        if name not in known:
            refused = f"no option {name}{did_you_mean(name, known) or '; options are ' + ', '.join(known)}"
    if not refused:
        try:
            return TestedBench(**{**options, "engine": engine})
        except AxebpfError as error:
            refused = str(error)
    pytest.fail(f"@pytest.mark.axebpf: {refused}", pytrace=False)


def _marks(test: pytest.Item) -> list[pytest.Mark]:
    """The markers of a test, the nearest last."""
    return list(test.iter_markers("axebpf"))[::-1]


def _options(test: pytest.Item) -> dict[str, Any]:
    """What the markers of a test say; the nearest wins."""
    return {name: value for mark in _marks(test) for name, value in mark.kwargs.items()}
