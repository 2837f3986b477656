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
    from axebpf.pytest_plugin.fixture import TestedBench
    from axebpf.pytest_plugin.objects import ObjectFactory

__all__ = ["axebpf_engine", "bench", "bpf_object"]


_BENCH: pytest.StashKey[TestedBench] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--axebpf-engine`."""
    parser.getgroup("axebpf", "tests of tracing programs").addoption(
        "--axebpf-engine",
        action="append",
        default=[],
        metavar="NAME",
        help="run the tests that use the fixture bench on this engine only (may be given again; default: on every one)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker; and an unknown engine is refused before anything is collected."""
    config.addinivalue_line(
        "markers",
        "axebpf(**options): options of the fixture bench, those of axebpf.Bench: axebpf(cpus=2, clock=1000, seed=7)",
    )
    if config.option.axebpf_engine:
        from axebpf.pytest_plugin.fixture import chosen_engines

        chosen_engines(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `bench` runs once an engine, unless its marker names one."""
    if "axebpf_engine" in metafunc.fixturenames:
        from axebpf.pytest_plugin.fixture import engines_of

        engines = engines_of(metafunc.definition)
        if len(engines) > 1:
            metafunc.parametrize("axebpf_engine", engines)


@pytest.fixture
def axebpf_engine(request: pytest.FixtureRequest) -> str:
    """Name of the engine of `bench`."""
    from axebpf.pytest_plugin.fixture import engines_of

    return engines_of(request.node)[0]


@pytest.fixture
def bench(request: pytest.FixtureRequest, axebpf_engine: str) -> Iterator[TestedBench]:
    """A fresh `axebpf.Bench`, closed after the test. All its events enter the trace.

    Its options are those of the marker, `@pytest.mark.axebpf(cpus=2)`. A test that fails shows what happened on it.
    """
    from axebpf.pytest_plugin.fixture import open_bench

    bench = open_bench(request.node, axebpf_engine)
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
