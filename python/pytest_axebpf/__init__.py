"""The pytest plugin of axebpf, as pytest loads it; `axebpf.pytest_plugin` says what it offers.

pytest loads this in every run, also of projects that have axebpf installed for another reason. So it stands outside
the package and imports nothing but pytest: `import axebpf` loads the core. The work is done in `axebpf.pytest_plugin`,
which comes with the first test that asks for a fixture.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from axebpf.pytest_plugin.fixture import Side, TestedBench
    from axebpf.pytest_plugin.objects import ObjectFactory

__all__ = ["axebpf_engine", "axebpf_target", "bench", "bpf_object"]


_BENCH: pytest.StashKey[TestedBench] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--axebpf-engine`, `--axebpf-target`, and the setting `axebpf_target`."""
    group = parser.getgroup("axebpf", "tests of tracing programs")
    group.addoption(
        "--axebpf-engine",
        action="append",
        default=[],
        metavar="NAME",
        help="run the tests that use the fixture bench on this engine only (may be given again; default: on every one)",
    )
    group.addoption(
        "--axebpf-target",
        metavar="NAME",
        help="run the tests that use the fixture bench on this target: linux, axvisor, or all of them "
        "(default: the setting axebpf_target, or linux)",
    )
    parser.addini("axebpf_target", "target of the fixture bench: linux, axvisor or all", default="")


def pytest_configure(config: pytest.Config) -> None:
    """The marker; and an unknown engine or target is refused before anything is collected."""
    config.addinivalue_line(
        "markers",
        "axebpf(**options): options of the fixture bench, those of axebpf.Bench: axebpf(cpus=2, clock=1000, seed=7); "
        "target may be all",
    )
    if config.option.axebpf_engine or config.option.axebpf_target or config.getini("axebpf_target"):
        from axebpf.pytest_plugin.fixture import chosen_engines, chosen_targets

        chosen_engines(config)
        chosen_targets(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `bench` runs once a target and engine, unless its marker names them."""
    if "_axebpf_side" in metafunc.fixturenames:
        from axebpf.pytest_plugin.fixture import sides_of

        sides = sides_of(metafunc.definition)
        if len(sides) > 1:
            one_target = len({side.target for side in sides}) == 1
            names = [side.engine if one_target else "-".join(side) for side in sides]
            metafunc.parametrize("_axebpf_side", sides, ids=names)


@pytest.fixture
def _axebpf_side(request: pytest.FixtureRequest) -> Side:
    """Target and engine of `bench`, where there is one of each."""
    from axebpf.pytest_plugin.fixture import sides_of

    return sides_of(request.node)[0]


@pytest.fixture
def axebpf_target(_axebpf_side: Side) -> str:
    """Name of the target of `bench`."""
    return _axebpf_side.target


@pytest.fixture
def axebpf_engine(_axebpf_side: Side) -> str:
    """Name of the engine of `bench`."""
    return _axebpf_side.engine


@pytest.fixture
def bench(request: pytest.FixtureRequest, axebpf_target: str, axebpf_engine: str) -> Iterator[TestedBench]:
    """A fresh `axebpf.Bench`, closed after the test. All its events enter the trace.

    Its options are those of the marker, `@pytest.mark.axebpf(cpus=2)`. A test that fails shows what happened on it.
    """
    from axebpf.pytest_plugin.fixture import Side, open_bench

    bench = open_bench(request.node, Side(axebpf_target, axebpf_engine))
    request.node.stash[_BENCH] = bench
    yield bench
    bench.close_after(request.node.nodeid)


@pytest.fixture(scope="module")
def bpf_object(request: pytest.FixtureRequest) -> ObjectFactory:
    """Gives the path of an object: `bpf_object("exits.bpf.c")` compiles the file beside the test, if it must.

    Further arguments go to the compiler: `bpf_object("exits.bpf.c", "-DLIMIT=5")`. An object, `exits.bpf.o`, is taken
    as it is.
    """
    from axebpf.pytest_plugin.objects import ObjectFactory

    cache = getattr(request.config, "cache", None)  # absent with -p no:cacheprovider
    kept = request.getfixturevalue("tmp_path_factory").mktemp("axebpf") if cache is None else cache.mkdir("axebpf")
    return ObjectFactory(request.path.parent, kept, request.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows its bench, and an error of axebpf in the line of the test (not with `--full-trace`)."""
    if call.excinfo is not None and "axebpf.errors" in sys.modules and not item.config.option.fulltrace:
        from axebpf.pytest_plugin.failure import end_in_the_test

        end_in_the_test(call.excinfo.value)
    report = yield
    if report.failed and call.when != "teardown" and _BENCH in item.stash:
        from axebpf.pytest_plugin.failure import sections

        report.sections.extend(sections(item.stash[_BENCH]))
    return report


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """What differs between a map, or values of one, and what was expected."""
    if op != "==" or "axebpf.maps" not in sys.modules:
        return None
    from axebpf.pytest_plugin.compare import explain

    return explain(left, right, everything=config.get_verbosity() > 1)
