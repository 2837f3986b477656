"""`bpf_object` of the pytest plugin: what is compiled and when, and what it says where that cannot be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from axebpf.examples import example
from axebpf.pytest_plugin import failure, fixture, objects  # noqa: F401 (so that inner runs do not load them each)

pytest_plugins = ["pytester"]

TEST = """
def test_it(bench, bpf_object):
    bench.load(bpf_object({arguments})).attach()
    bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 0, 700)
    assert bench.maps["EXITS"] == {{(1, 0): (1, 700, 700)}}
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a test that takes `bpf_object(ARGUMENTS)`, in a folder with the source of an example."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    shutil.copy(example("exits.bpf.c"), pytester.path)

    def run(arguments: str = '"exits.bpf.c"', *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_inner=TEST.format(arguments=arguments))
        return pytester.runpytest_inprocess("-p", "pytest_axebpf", *options)

    return run


class Counting:
    """A clang that keeps count of its runs."""

    def __init__(self, folder: Path, clang: str) -> None:
        self.path, self._log = folder / "counting-clang", folder / "log"
        self.path.write_text(f'#!/bin/sh\necho "$*" >> {self._log}\nexec {clang} "$@"\n')
        self.path.chmod(0o755)

    @property
    def compiled(self) -> int:
        """Objects made so far."""
        return self._log.read_text().count(" -c ") if self._log.exists() else 0

    @property
    def started(self) -> int:
        """Runs so far."""
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0


@pytest.fixture
def counting(clang: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """That clang, in the variable CLANG."""
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("no headers of libbpf (install libbpf-dev)")
    made = Counting(tmp_path_factory.mktemp("compiler"), clang)
    monkeypatch.setenv("CLANG", str(made.path))
    return made


def test_it_compiles_beside_the_test_and_includes_the_generated_header(run: Run, counting: Counting) -> None:
    run().assert_outcomes(passed=1)
    assert counting.compiled == 1


def test_it_works_without_the_cache_of_pytest(run: Run, counting: Counting, pytester: pytest.Pytester) -> None:
    run('"exits.bpf.c"', "-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert not (pytester.path / ".pytest_cache").exists()


def touched(path: Path) -> None:
    path.write_text(path.read_text() + "/* changed */\n")


CHANGES: dict[str, tuple[Callable[[Path, Counting], object], str, int]] = {
    "nothing": (lambda folder, clang: None, '"exits.bpf.c"', 1),
    "the time of the source": (lambda folder, clang: os.utime(folder / "exits.bpf.c"), '"exits.bpf.c"', 1),
    "the source": (lambda folder, clang: touched(folder / "exits.bpf.c"), '"exits.bpf.c"', 2),
    "a header": (lambda folder, clang: touched(folder / "own.h"), '"exits.bpf.c"', 2),
    "a header beside it": (lambda folder, clang: shutil.copy(example("vmm.h"), folder), '"exits.bpf.c"', 2),
    "a header that is gone": (lambda folder, clang: (folder / "other.h").unlink(), '"exits.bpf.c"', 2),
    "the object": (lambda folder, clang: next(folder.rglob("exits.bpf.o")).unlink(), '"exits.bpf.c"', 2),
    "what was noted": (lambda folder, clang: next(folder.rglob("inputs.json")).write_text("{"), '"exits.bpf.c"', 2),
    "the flags": (lambda folder, clang: None, '"exits.bpf.c", "-DX=1"', 2),
    "the compiler": (lambda folder, clang: os.utime(clang.path, (1, 1)), '"exits.bpf.c"', 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_compiles_again_where_something_has_changed(
    run: Run, counting: Counting, pytester: pytest.Pytester, change: str
) -> None:
    make, arguments, compiled = CHANGES[change]
    source = pytester.path / "exits.bpf.c"
    source.write_text('#include "own.h"\n' + source.read_text())
    for name in ("own.h", "other.h"):
        (pytester.path / name).write_text("/* a header */\n")
    run().assert_outcomes(passed=1)
    before = counting.started
    make(pytester.path, counting)
    run(arguments).assert_outcomes(passed=1)
    assert counting.compiled == compiled
    if compiled == 1:
        assert counting.started == before, "an object that is current needs no compiler at all"


def test_a_run_compiles_a_source_once(run: Run, counting: Counting, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_other=TEST.format(arguments='"exits.bpf.c"'))
    run().assert_outcomes(passed=2)
    assert counting.started == 2  # which targets it has, and the object


def test_places_are_relative_to_the_root(run: Run, counting: Counting, pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("programs")
    shutil.move(pytester.path / "exits.bpf.c", folder)
    pytester.makeini("[pytest]")
    source = folder / "exits.bpf.c"
    source.write_text(source.read_text().replace("&stat->count, 1", "&stat->count, 2"))
    result = run('"programs/exits.bpf.c"')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*  programs/exits.bpf.c:37  if (duration < threshold_ns)"])


def test_names_may_have_blanks_and_signs(run: Run, counting: Counting, pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("my $ #1 programs")
    shutil.move(pytester.path / "exits.bpf.c", folder)
    for _ in range(2):
        run('"my $ #1 programs/exits.bpf.c"').assert_outcomes(passed=1)
    assert counting.compiled == 1


def test_errors_of_the_compiler_are_shown(run: Run, counting: Counting, pytester: pytest.Pytester) -> None:
    (pytester.path / "exits.bpf.c").write_text("int f(void)\n{\n\treturn nothing;\n}\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "exits.bpf.c does not compile:",
            "exits.bpf.c:3:9: error: use of undeclared identifier 'nothing'",
            "*return nothing;",
            "*^",
        ]
    )
    result.stdout.no_fnmatch_line("*objects.py*")


def test_missing_headers_name_their_package(run: Run, counting: Counting) -> None:
    result = run('"exits.bpf.c", "-nostdinc"')
    result.stdout.fnmatch_lines(
        [
            "exits.bpf.c:5:10: fatal error: 'linux/bpf.h' file not found",
            "<linux/...> is in the package linux-libc-dev (Fedora: kernel-headers)",
        ]
    )


# No compiler


@pytest.fixture
def no_clang(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, which is the only one on PATH."""
    folder = pytester.mkdir("bin")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CLANG", raising=False)
    return folder


INSTALL = "apt install clang libbpf-dev (Debian, Ubuntu), dnf install clang libbpf-devel (Fedora), *CLANG"


def test_a_missing_compiler_names_the_package(run: Run, no_clang: Path) -> None:
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"exits.bpf.c must be compiled, and there is no clang: {INSTALL}"])


def test_a_compiler_that_is_named_and_not_there(run: Run, no_clang: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLANG", "clang-99")
    run().stdout.fnmatch_lines([f"* and CLANG names clang-99, which there is not: {INSTALL}"])


def fake_clang(folder: Path, name: str, targets: str) -> None:
    """A program that only says which targets it has."""
    (folder / name).write_text(f"#!/bin/sh\necho '{targets}'\n")
    (folder / name).chmod(0o755)


def test_compilers_without_the_target_are_named(run: Run, no_clang: Path) -> None:
    fake_clang(no_clang, "clang", "    x86-64 - 64-bit X86")
    fake_clang(no_clang, "clang-15", "    arm - ARM")
    run().stdout.fnmatch_lines([f"* and {no_clang}/clang and {no_clang}/clang-15 cannot compile for BPF: {INSTALL}"])


def test_the_newest_compiler_with_the_target_is_taken(
    run: Run, clang: str, counting: Counting, no_clang: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{no_clang}:/bin:/usr/bin")
    fake_clang(no_clang, "clang", "    x86-64 - 64-bit X86")
    fake_clang(no_clang, "clang-998", "    bpfel - BPF")  # older than clang-999, and makes no object
    (no_clang / "clang-999").symlink_to(counting.path)
    run().assert_outcomes(passed=1)
    assert counting.compiled == 1


def test_without_a_compiler_an_object_beside_the_source_is_taken_unless_it_is_older(
    run: Run, no_clang: Path, pytester: pytest.Pytester
) -> None:
    source, beside = pytester.path / "exits.bpf.c", pytester.path / "exits.bpf.o"
    shutil.copy(example("exits.bpf.o"), beside)
    os.utime(source, (1000, 1000))
    os.utime(beside, (1000, 1000))
    run().assert_outcomes(passed=1)
    os.utime(beside, (999, 999))
    result = run()
    result.assert_outcomes(failed=1)
    older = "exits.bpf.o is older than exits.bpf.c, which cannot be compiled: there is no clang: *"
    result.stdout.fnmatch_lines([older])


# Objects, and names that are none


def test_an_object_is_taken_as_it_is(run: Run, no_clang: Path, pytester: pytest.Pytester) -> None:
    shutil.copy(example("exits.bpf.o"), pytester.path)
    run('"exits.bpf.o"').assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('"none.bpf.c"', "there is no none.bpf.c in *"),
        ('"exits.bpf.o"', "there is no exits.bpf.o in *; bpf_object('exits.bpf.c') compiles the source"),
        ('"exits.c"', "exits.c: expected the name of a source, *.bpf.c, or of an object, *.bpf.o"),
        ('"latency.bpf.o", "-DX"', "latency.bpf.o is compiled already: -DX can only go with its source"),
    ],
)
def test_names_that_cannot_be(run: Run, pytester: pytest.Pytester, arguments: str, text: str) -> None:
    shutil.copy(example("latency.bpf.o"), pytester.path)
    result = run(arguments)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([text.replace("*.bpf", "[*].bpf")])
