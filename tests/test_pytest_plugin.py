"""The pytest plugin, by whole runs of pytest inside this one: `bench`, marker and option, what a failing test shows."""

from __future__ import annotations

import importlib.metadata
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import axebpf.bench
import numpy as np  # noqa: F401 (what an inner run is the first to import is taken away again)
import pytest
from axebpf.examples import example
from axebpf.pytest_plugin import failure, fixture, objects  # noqa: F401 (as numpy)

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

AXVISOR = Path(__file__).parent / "fixtures" / "axvisor"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs pytest on the text of a test module, with this plugin alone, installed or not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    shutil.copy(example("exits.bpf.o"), pytester.path)
    shutil.copy(example("slow_exits.bpf.o"), pytester.path)
    shutil.copy(AXVISOR / "stats.bpf.o", pytester.path)

    def run(text: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_inner=text)
        return pytester.runpytest_inprocess("-p", "pytest_axebpf", *arguments)

    return run


def test_it_is_the_plugin_that_the_wheel_registers() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    ((name, value),) = project["project"]["entry-points"]["pytest11"].items()
    loaded = importlib.metadata.EntryPoint(name=name, value=value, group="pytest11").load()
    assert name == "axebpf"
    assert loaded.__name__ in project["tool"]["maturin"]["python-packages"]
    assert hasattr(loaded, "pytest_runtest_makereport")


def test_a_run_without_its_fixtures_does_not_load_axebpf(run: Run, pytester: pytest.Pytester) -> None:
    run("", "--co")
    pytester.makepyfile(
        test_inner="""
        import sys

        def test_fails():
            assert {1: 2} == {1: 3}

        def test_nothing_of_it_is_there():
            assert [name for name in sys.modules if name.split(".")[0] in ("axebpf", "numpy", "rich")] == []
        """
    )
    pytester.runpytest_subprocess("-p", "pytest_axebpf").assert_outcomes(passed=1, failed=1)


# The fixture bench


def test_each_test_has_a_fresh_bench_that_is_closed_after_it(run: Run) -> None:
    run(
        """
        benches = []

        def test_one(bench):
            bench.create_map("array", 4, 4, 1, name="M")
            benches.append(bench)

        def test_two(bench):
            assert list(bench.maps) == []
            assert benches[0].closed and not bench.closed
        """
    ).assert_outcomes(passed=2)


def test_all_events_enter_the_trace_those_of_own_tracepoints_too(run: Run) -> None:
    run(
        """
        from axebpf import Tracepoint, u32

        class Own(Tracepoint, name="test:own", id=2000):
            "One field."
            number: u32

        def test_it(bench):
            bench.define(Own).fire(number=1)
            bench.tracepoints["shell:shell_init"].fire(duration_ns=0)
            assert [event.name for event in bench.trace.records()] == ["test:own", "shell:shell_init"]
        """
    ).assert_outcomes(passed=1)


def test_a_bench_used_after_its_test_names_that_test(run: Run) -> None:
    result = run(
        """
        kept = []

        def test_keeps(bench):
            kept.append(bench.create_map("array", 4, 4, 1, name="M"))

        def test_uses():
            kept[0][0]
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E *BenchClosed: the bench is closed: it was the fixture bench of test_inner.py::test_keeps, which is over; *"]
    )


def test_a_fixture_of_ones_own_may_take_its_place_and_build_on_it(run: Run) -> None:
    result = run(
        """
        import pytest

        @pytest.fixture(scope="module")
        def path(bpf_object):
            return bpf_object("exits.bpf.o")

        @pytest.fixture
        def bench(bench, path):
            bench.load(path).attach()
            return bench

        def test_it(bench):
            bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 0, 700)
            assert not bench.maps["EXITS"]
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*axebpf: maps that changed*", "  (vm_id=1, exit_reason=HYPERCALL): (count=1, *"])


# Marker and option

MARKED = """
import pytest

pytestmark = pytest.mark.axebpf(cpus=2, clock=5)

@pytest.mark.axebpf(cpus=3)
class TestClass:
    @pytest.mark.axebpf(clock=7)
    def test_nearest(self, bench):
        assert (bench.cpus, bench.clock.now) == (3, 1_000_000_000)
        bench.tracepoints["vmm:vm_boot"].fire(1, 0)
        assert bench.clock.now == 1_000_000_007

def test_module(bench):
    assert bench.cpus == 2
"""


def test_the_nearest_marker_gives_an_option(run: Run) -> None:
    run(MARKED).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("cpu=2", "no option cpu; did you mean cpus?"),
        ("colour='red'", "no option colour; options are *engine, *cpus, clock, *"),
        ("cpus=0", "cpus is 0; it takes 1 to 8192"),
        ("clock='sundial'", 'clock is "sundial"; expected *'),
        ("2", "options go by name, such as cpus=2, not 2"),
        ("engine='steam'", "no engine 'steam'; engines are auto, *"),
        ("target='axvisr'", 'target is "axvisr"; it may be linux, axvisor'),
        ("target=['linux']", "'list' object is not an instance of 'str', while processing 'target'"),
        ("target='axvisor', engine='interpreter'", "target axvisor is the engine rbpf over the maps kbpf, not interp*"),
    ],
)
def test_a_marker_that_cannot_be(run: Run, given: str, text: str) -> None:
    result = run(f"import pytest\n@pytest.mark.axebpf({given})\ndef test_it(bench):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"@pytest.mark.axebpf: {text}"])
    result.stdout.no_fnmatch_line("*Traceback*")


TWO_TESTS = """
import pytest

def test_plain(bench):
    pass

@pytest.mark.axebpf(engine="auto")
def test_marked(bench):
    pass

def test_without():
    pass
"""


@pytest.mark.parametrize(
    ("options", "passed", "skipped"),
    [
        ((), ["test_plain[[]interpreter]", "test_plain[[]auto]", "test_marked", "test_without"], []),
        (("--axebpf-engine=interpreter",), ["test_plain", "test_without"], ["test_marked"]),
        (("--axebpf-engine", "auto"), ["test_plain", "test_marked", "test_without"], []),
    ],
    ids=["all", "one", "the marked one"],
)
def test_tests_run_on_every_engine_that_is_chosen(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], passed: list[str], skipped: list[str]
) -> None:
    monkeypatch.setattr("axebpf.pytest_plugin.fixture.ENGINES", ("interpreter", "auto"))
    monkeypatch.setattr("axebpf.pytest_plugin.fixture.EVERYDAY_ENGINES", ("interpreter", "auto"))
    result = run(TWO_TESTS, "-v", "-rs", *options)
    result.assert_outcomes(passed=len(passed), skipped=len(skipped))
    result.stdout.fnmatch_lines([f"*::{name} PASSED*" for name in passed if name not in skipped])
    if skipped:
        result.stdout.fnmatch_lines(["SKIPPED * is for the engine auto; --axebpf-engine chose interpreter"])


def test_a_single_engine_is_not_in_the_name_of_a_test(run: Run) -> None:
    assert axebpf.bench.EVERYDAY_ENGINES == ("interpreter",), "this test is about the time before a second one"
    run(TWO_TESTS, "-v").stdout.fnmatch_lines(["*::test_plain PASSED*"])


def test_an_unknown_engine_is_refused_before_anything_runs(run: Run) -> None:
    result = run(TWO_TESTS, "--axebpf-engine", "interpeter")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --axebpf-engine: no engine interpeter; engines are * did you mean interpreter?"]
    )


# Targets

SIDES = """
import pytest

def test_plain(bench, axebpf_target, axebpf_engine):
    assert (bench.target, bench.engine) == (axebpf_target, axebpf_engine)

@pytest.mark.axebpf(target="axvisor")
def test_axvisor(bench, axebpf_engine):
    assert (bench.target, bench.engine, axebpf_engine) == ("axvisor", "rbpf", "rbpf")

@pytest.mark.axebpf(target="all")
class TestBoth:
    def test_it(self, bench):
        assert bench.target in ("linux", "axvisor")

    @pytest.mark.axebpf(target="linux")
    def test_nearest(self, bench):
        assert bench.target == "linux"

@pytest.mark.axebpf(engine="interpreter")
def test_engine(bench):
    assert (bench.target, bench.engine) == ("linux", "interpreter")
"""


@pytest.mark.parametrize(
    ("options", "passed", "skipped"),
    [
        (
            (),
            ["plain", "axvisor", "it[linux-interpreter]", "it[axvisor-rbpf]", "nearest", "engine"],
            {},
        ),
        (
            ("--axebpf-target=all",),
            [
                *("plain[linux-interpreter]", "plain[axvisor-rbpf]", "axvisor"),
                *("it[linux-interpreter]", "it[axvisor-rbpf]", "nearest", "engine"),
            ],
            {},
        ),
        (
            ("--axebpf-target=axvisor",),
            ["plain", "axvisor", "it"],
            {
                "nearest": "is for the target linux; --axebpf-target chose axvisor",
                "engine": "is for the engine interpreter, which target axvisor does not have",
            },
        ),
        (
            ("--axebpf-target", "linux"),
            ["plain", "it", "nearest", "engine"],
            {"axvisor": "is for the target axvisor; --axebpf-target chose linux"},
        ),
        (
            ("-o", "axebpf_target=axvisor"),
            ["plain", "axvisor", "it[linux-interpreter]", "it[axvisor-rbpf]", "nearest"],
            {"engine": "is for the engine interpreter, which target axvisor does not have"},
        ),
        (
            ("-o", "axebpf_target=axvisor", "--axebpf-target=linux"),
            ["plain", "it", "nearest", "engine"],
            {"axvisor": "is for the target axvisor; --axebpf-target chose linux"},
        ),
        (
            ("--axebpf-target=all", "--axebpf-engine=interpreter"),
            ["plain", "it", "nearest", "engine"],
            {"axvisor": "is for the engine rbpf; --axebpf-engine chose interpreter"},
        ),
        (
            ("--axebpf-target=all", "--axebpf-engine=rbpf"),
            ["plain[linux-rbpf]", "plain[axvisor-rbpf]", "axvisor", "it[linux-rbpf]", "it[axvisor-rbpf]", "nearest"],
            {"engine": "is for the engine interpreter; --axebpf-engine chose rbpf"},
        ),
    ],
    ids=lambda value: " ".join(value) or "none" if isinstance(value, tuple) else "",
)
def test_tests_run_on_every_target_that_is_chosen(
    run: Run, options: tuple[str, ...], passed: list[str], skipped: dict[str, str]
) -> None:
    result = run(SIDES, "-v", "-rs", *options)
    result.assert_outcomes(passed=len(passed), skipped=len(skipped))
    names = [line.split("::test_")[1].split()[0] for line in result.outlines if " PASSED" in line]
    assert names == passed
    for name, reason in skipped.items():
        result.stdout.fnmatch_lines([f"*::test_{name} SKIPPED *"])
        result.stdout.fnmatch_lines([f"SKIPPED * {reason}"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ("--axebpf-target", "axvisr"),
            "--axebpf-target: no target axvisr; it takes linux, axvisor, all; did you mean axv*",
        ),
        (("-o", "axebpf_target=both"), "the setting axebpf_target: no target both; it takes linux, axvisor, all"),
        (
            ("--axebpf-target=axvisor", "--axebpf-engine=interpreter"),
            "--axebpf-engine: target axvisor runs on the engine rbpf, not on interpreter",
        ),
    ],
    ids=" ".join,
)
def test_a_target_that_cannot_be_is_refused_before_anything_runs(run: Run, options: tuple[str, ...], text: str) -> None:
    result = run(SIDES, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {text}"])


def test_what_a_target_cannot_do_fails_with_the_reason_and_only_there(run: Run) -> None:
    result = run(
        """
        def test_it(bench, bpf_object):
            bench.load(bpf_object("exits.bpf.o"))
        """,
        "--axebpf-target=all",
        "-v",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*::test_it[[]linux-interpreter] PASSED*",
            "*::test_it[[]axvisor-rbpf] FAILED*",
            '>   *bench.load(bpf_object("exits.bpf.o"))',
            "E *PortabilityError: *exits.bpf.o, section * on_exit: instruction *: rbpf *, AxVisor's VM, refuses it: *",
        ]
    )


def test_a_test_that_fails_on_axvisor_shows_its_events_maps_and_runs(run: Run) -> None:
    result = run(
        """
        def test_it(bench, bpf_object):
            bench.load(bpf_object("stats.bpf.o")).attach()
            bench.load(bpf_object("stats.bpf.o"))
            bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 0, 400)
            assert bench.target == "linux"
        """,
        "--axebpf-target=axvisor",
    )
    result.stdout.fnmatch_lines(
        [
            "* vmm:vcpu_run_exit vm_id=1 *",
            "*: vcpu_run_exit(vm_id=1 *)",
            "STATS_MAP (hash, 1 of 64):",
            "stats: 1 run; the engine rbpf shows no lines",
            "stats: never ran",
        ]
    )


# What a failing test shows

FAILS = """
from axebpf import ExitReason, assemble

def test_it(bench, bpf_object):
    bench.load(bpf_object("exits.bpf.o"), rodata={"threshold_ns": 1000})["on_exit"].attach()
    bench.load(bpf_object("slow_exits.bpf.o"), rodata={"threshold_ns": 0}, max_entries={"SLOW": 4096})
    for vm, ns in (1, 1200), (2, 300), (2, 5000):
        bench.tracepoints["vmm:vcpu_run_exit"].fire(vm, 0, ExitReason.CPU_DOWN, ns, time_ns=1_500_000_000, cpu=vm)
    assert False
"""


def test_a_failing_test_shows_events_trace_maps_and_lines(run: Run) -> None:
    result = run(FAILS)
    result.assert_outcomes(failed=1)
    event = "1.500000000 cpu{0} vmm:vcpu_run_exit vm_id={0} vcpu_id=0 exit_reason=CPU_DOWN duration_ns={1}"
    result.stdout.fnmatch_lines(
        [
            "*- axebpf: last events -*",
            event.format(1, 1200),
            event.format(2, 300),
            event.format(2, 5000),
            "*- axebpf: trace -*",
            "*[[]001] ..... *1.500000: vcpu_run_exit: vm_id=1 vcpu_id=0 exit_reason=* duration_ns=1200",
            "*duration_ns=5000",
            "*- axebpf: maps that changed -*",
            "EXITS (hash, 2 of 1024):",
            "  (vm_id=1, exit_reason=CPU_DOWN): (count=1, total_ns=1200, max_ns=1200)",
            "  (vm_id=2, exit_reason=CPU_DOWN): (count=1, total_ns=5000, max_ns=5000)",
            "*- axebpf: lines that ran -*",
            "last, in on_exit: exits.bpf.c:55: }",
            "on_exit: 3 runs",
            "       3  exits.bpf.c:37  if (duration < threshold_ns)",
            "       2  exits.bpf.c:49  __sync_fetch_and_add(&stat->count, 1);",
            "on_exit: never ran",
        ]
    )


def test_where_a_fault_stopped_a_program_is_its_last_line(run: Run) -> None:
    result = run(
        """
        from axebpf import assemble

        def test_it(bench):
            good = bench.load_bytes(assemble("r0 = 0\\nexit"), type="tracepoint", name="good")
            bad = bench.load_bytes(assemble("r1 = 0\\nr0 = *(u8 *)(r1 +0)\\nexit"), type="tracepoint", name="bad")
            bad.attach("vmm:vm_boot")
            good.attach("vmm:vm_destroy")
            bench.tracepoints["vmm:vm_destroy"].fire(1)
            bad.unload(force=True) if bench.tracepoints["vmm:vm_boot"].fire(1, 0) else None
        """
    )
    result.stdout.fnmatch_lines(
        ["E *ProgramFault: bad: load of 1 bytes*", "last, in bad: instruction 1", "bad: 1 run, 1 stopped by a fault"]
    )


def test_printed_lines_and_changed_variables_are_shown(run: Run) -> None:
    result = run(
        """
        from axebpf import assemble

        def test_it(bench, bpf_object):
            progs = bench.load(bpf_object("slow_exits.bpf.o"), rodata={"threshold_ns": 5}, max_entries={"SLOW": 4096})
            progs.attach()
            bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 0, 7)
            progs.globals["dropped"] = 3
            store = "r1 = 0x0a6948\\n*(u64 *)(r10 -8) = r1\\nr1 = r10\\nr1 += -8\\nw2 = 4\\n"
            prints = assemble(store + "call bpf_trace_printk\\nr0 = 0\\nexit")
            bench.load_bytes(prints, type="tracepoint").run(bytes(24))
            progs.unload(force=True)
            assert False
        """
    )
    result.stdout.fnmatch_lines(
        [
            "*axebpf: trace*",
            "*bpf_trace_printk: Hi",
            "*maps that changed*",
            "dropped: 0 -> 3",
            "SLOW (ringbuf): 1 not read yet",
        ]
    )


def test_a_program_that_never_ran_says_why(run: Run) -> None:
    result = run(
        """
        def test_unattached(bench, bpf_object):
            bench.load(bpf_object("exits.bpf.o"))
            bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 0, 7)
            assert False

        def test_not_fired(bench, bpf_object):
            bench.load(bpf_object("exits.bpf.o")).attach()
            assert False
        """
    )
    result.stdout.fnmatch_lines(
        [
            "on_exit: never ran: nothing is attached to vmm:vcpu_run_exit",
            "on_exit: never ran: vmm:vcpu_run_exit has not fired",
        ]
    )


MANY = """
import numpy as np

def test_it(bench, bpf_object):
    bench.load(bpf_object("exits.bpf.o")).attach()
    bench.create_map("array", 4, 1 << 20, 1000, name="HUGE")[0] = bytes([1]) * (1 << 20)
    bench.create_map("queue", 0, 1000, 1, name="WIDE").append(bytes([1]) * 1000)
    for number in range(100):
        bench.create_map("array", 4, 4, 1, name=f"M{number}")[0] = 1
    bench.tracepoints["vmm:vcpu_run_exit"].fire_many(vm_id=np.arange(1000), vcpu_id=0, exit_reason=0, duration_ns=1)
    assert False
"""


def test_what_is_shown_is_bounded(run: Run) -> None:
    result = run(MANY)
    result.stdout.fnmatch_lines(
        [
            "the last 10 of 1000:",
            "the last 20 of 1000 lines:",
            "EXITS (hash, 1000 of 1024):",
            "… 990 more",
            "HUGE (array): 1000 entries, too many to look through",
            "M0 (array without its zeros, 1 of 1):",
            "… 83 more",
        ]
    )
    assert len(result.outlines) < 150
    assert max(map(len, result.outlines)) < 600


def test_a_failure_in_the_setup_shows_the_bench_a_pass_shows_nothing(run: Run) -> None:
    result = run(
        """
        import pytest

        @pytest.fixture
        def booted(bench):
            bench.tracepoints["vmm:vm_boot"].fire(7, 0)
            raise ValueError

        def test_setup(booted):
            pass

        def test_passes(bench):
            bench.tracepoints["vmm:vm_boot"].fire(8, 0)

        @pytest.mark.xfail
        def test_is_expected_to_fail(bench):
            bench.tracepoints["vmm:vm_boot"].fire(9, 0)
            assert False
        """,
        "-rA",
    )
    result.assert_outcomes(errors=1, passed=1, xfailed=1)
    result.stdout.fnmatch_lines(["*vmm:vm_boot vm_id=7 *"])
    result.stdout.no_fnmatch_line("*vm_id=[89]*")


def test_a_bench_that_the_test_closed(run: Run) -> None:
    result = run("def test_it(bench):\n    bench.close()\n    assert False\n")
    result.stdout.fnmatch_lines(["the test has closed its bench, so nothing of it can be shown"])


def test_a_map_that_only_programs_read_is_named_and_the_rest_is_shown(run: Run) -> None:
    result = run(
        """
        def test_it(bench):
            bench.create_map("array", 4, 4, 1, flags=1 << 4, name="WRITTEN")  # BPF_F_WRONLY
            bench.create_map("array", 4, 4, 1, name="PLAIN")[0] = 1
            assert False
        """
    )
    result.stdout.fnmatch_lines(["WRITTEN: * (EPERM)", "PLAIN (array*"])


def test_an_error_of_axebpf_ends_in_the_line_of_the_test(run: Run) -> None:
    text = 'def test_it(bench):\n    bench.maps["NONE"]\n'
    run(text).stdout.fnmatch_lines(
        ['>   *bench.maps[[]"NONE"]', "E *NotFound: *no map NONE*", "test_inner.py:2: NotFound"]
    )
    run(text, "--full-trace").stdout.fnmatch_lines(["*maps.py:*: NotFound"])


def test_a_comparison_of_targets_that_fails_prints_its_first_difference(run: Run) -> None:
    result = run(
        """
        from axebpf import assemble
        from axebpf.hypervisor import Events

        def test_it(bench):
            halve = bench.load_bytes(assemble("r0 = -7\\nr0 s/= 2\\nexit"), type="axvisor", name="halve")
            halve.attach("vmm:vm_destroy")
            events = [Events("vmm:vm_destroy", time_ns=5, vm_id=3)]
            assert bench.compare(halve, events, target="linux", maps="kbpf")
            assert bench.compare(halve, events)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * <Comparison: axvisor differs from linux at event 1 of 1: the run of halve: linux returned -3, *",
            "*axebpf: compared*",
            "  event 1: vmm:vm_destroy at 5 ns on CPU 0: vm_id=3",
            "  from instruction 1 of halve: r0 s/= 2",
            "  instead: compile with -mcpu=v3",
        ]
    )
