"""The bench of a test: its options, its targets and engines, and what is noted for the case that the test fails."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from axebpf.bench import (
    AXVISOR_ENGINE,
    ENGINES,
    EVERYDAY_ENGINES,
    TARGETS,
    Bench,
    Comparison,
    LoadedObject,
    Program,
    TracepointHandle,
)
from axebpf.bench.handle import Declared
from axebpf.errors import AxebpfError, TracepointError, did_you_mean
from axebpf.maps import Map

__all__ = ["Side", "TestedBench", "chosen_engines", "chosen_targets", "open_bench", "sides_of"]

ALL = "all"
"""The word for every target."""


@dataclass
class Noted:
    """What was made in a bench, unloaded or not."""

    objects: list[tuple[LoadedObject, dict[str, Any]]] = field(default_factory=list)
    """Objects, each with its global variables right after the load."""
    programs: list[Program] = field(default_factory=list)
    """Programs."""
    maps: list[Map] = field(default_factory=list)
    """Maps, without the sections that hold global variables."""
    different: list[Comparison] = field(default_factory=list)
    """Comparisons of targets in which something differs."""


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

    def compare(self, *args: Any, **options: Any) -> Comparison:
        """As of `Bench`."""
        found = super().compare(*args, **options)
        if not found:
            self.noted.different.append(found)
        return found

    def place_of(self, program: Program) -> TracepointHandle | None:
        """The tracepoint that a program's section names, if there is one of that name."""
        try:
            return None if program.target is None else self._handle(program.target)
        except TracepointError:
            return None

    def close_after(self, test: str) -> None:
        """Closes it; who uses it, or a part of it, in a later test is told where it comes from."""
        self._native.close(f"it was the fixture bench of {test}, which is over; each test takes its own")


class Side(NamedTuple):
    """What the bench of a test is to be, apart from its other options."""

    target: str
    """A word of `axebpf.bench.TARGETS`."""
    engine: str
    """What runs its programs."""


def chosen_engines(config: pytest.Config) -> list[str]:
    """The engines that tests run on. Raises pytest.UsageError where `--axebpf-engine` names one that there is not."""
    chosen: list[str] = config.option.axebpf_engine
    for name in chosen:
        if name not in ENGINES:
            near = did_you_mean(name, ENGINES)
            raise pytest.UsageError(f"--axebpf-engine: no engine {name}; engines are {', '.join(ENGINES)}{near}")
    return [name for name in ENGINES if name in chosen] or list(EVERYDAY_ENGINES)


def chosen_targets(config: pytest.Config) -> list[str]:
    """The targets that tests run on. Raises pytest.UsageError where the option, or the setting, has another word."""
    option: str | None = config.option.axebpf_target
    chosen = option or config.getini("axebpf_target") or TARGETS[0]
    if chosen not in (*TARGETS, ALL):
        where = "--axebpf-target" if option else "the setting axebpf_target"
        raise pytest.UsageError(
            f"{where}: no target {chosen}; it takes {', '.join((*TARGETS, ALL))}{did_you_mean(chosen, (*TARGETS, ALL))}"
        )
    targets = list(TARGETS) if chosen == ALL else [chosen]
    if targets == ["axvisor"] and config.option.axebpf_engine and AXVISOR_ENGINE not in chosen_engines(config):
        raise pytest.UsageError(
            f"--axebpf-engine: target axvisor runs on the engine {AXVISOR_ENGINE}, "
            f"not on {', '.join(config.option.axebpf_engine)}"
        )
    return targets


def sides_of(test: pytest.Item) -> list[Side]:
    """The benches that a test is to run on, one after the other; at least one, which may be one to skip."""
    options = _options(test)
    target, named = options.get("target"), options.get("engine")
    targets = chosen_targets(test.config) if target is None else list(TARGETS) if target == ALL else [target]
    others = chosen_engines(test.config) if named is None else [named]
    sides = [
        Side(target, engine)
        for target in targets
        for engine in ([AXVISOR_ENGINE] if target == "axvisor" and named is None else others)
    ]
    return [side for side in sides if not _why_not(test, side)] or sides[:1]


def _why_not(test: pytest.Item, side: Side) -> str:
    """Why a test is not to run on that bench, or an empty text."""
    config = test.config
    engines, targets = chosen_engines(config), chosen_targets(config)
    if config.option.axebpf_target and side.target in TARGETS and side.target not in targets:
        return f"is for the target {side.target}; --axebpf-target chose {', '.join(targets)}"
    if config.option.axebpf_engine and side.engine in ENGINES and side.engine not in engines:
        return f"is for the engine {side.engine}; --axebpf-engine chose {', '.join(engines)}"
    # Where the marker names both, the bench refuses them.
    named = _options(test).get("target", ALL) != ALL
    if side.target == "axvisor" and side.engine in ENGINES and side.engine != AXVISOR_ENGINE and not named:
        return f"is for the engine {side.engine}, which target axvisor does not have"
    return ""


def open_bench(test: pytest.Item, side: Side) -> TestedBench:
    """The bench of a test. Fails the test, without a traceback, for options that a bench cannot have."""
    options = _options(test)
    if why_not := _why_not(test, side):
        pytest.skip(why_not)
    refused = "; ".join(
        f"options go by name, such as cpus=2, not {mark.args[0]!r}" for mark in _marks(test) if mark.args
    )
    known = inspect.signature(Bench).parameters
    for name in options:
        if name not in known:
            refused = f"no option {name}{did_you_mean(name, known) or '; options are ' + ', '.join(known)}"
    if not refused:
        try:
            return TestedBench(**{**options, **side._asdict()})
        except AxebpfError as error:
            refused = str(error)
        except TypeError as error:  # its notes say which option it is about
            refused = ", ".join([str(error), *getattr(error, "__notes__", [])])
    pytest.fail(f"@pytest.mark.axebpf: {refused}", pytrace=False)


def _marks(test: pytest.Item) -> list[pytest.Mark]:
    """The markers of a test, the nearest last."""
    return list(test.iter_markers("axebpf"))[::-1]


def _options(test: pytest.Item) -> dict[str, Any]:
    """What the markers of a test say; the nearest wins."""
    return {name: value for mark in _marks(test) for name, value in mark.kwargs.items()}
