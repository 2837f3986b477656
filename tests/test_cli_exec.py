"""`axebpf exec`: the plugin contract of bpf_conformance."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from axebpf import LoadError, ProgramFault, assemble
from axebpf.cli.execute import run

AXEBPF = [sys.executable, "-c", "import sys; from axebpf.cli import main; sys.exit(main())"]


def axebpf(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*AXEBPF, *arguments], input=stdin, capture_output=True, text=True, check=False)


def test_every_classic_vector_has_its_result(classic_vectors: Path) -> None:
    vectors: dict[str, dict[str, str]] = json.loads(classic_vectors.read_text())
    assert len(vectors) >= 225
    wrong = {}
    for name, vector in vectors.items():
        r0 = run(vector["code"], vector["mem"], engine="interpreter")
        if r0 != int(vector["result"], 16):
            wrong[name] = (hex(r0), vector["result"])
    assert wrong == {}


def test_a_dozen_of_them_by_the_command(classic_vectors: Path) -> None:
    vectors = list(json.loads(classic_vectors.read_text()).values())
    with_memory, without = ([v for v in vectors if bool(v["mem"]) == has] for has in (True, False))
    some = with_memory[:: len(with_memory) // 6][:6] + without[:: len(without) // 6][:6]
    assert len(some) == 12
    for vector in some:
        ran = axebpf("exec", "--engine", "interpreter", vector["mem"], stdin=vector["code"])
        assert (ran.returncode, ran.stderr) == (0, "")
        assert int(ran.stdout, 16) == int(vector["result"], 16)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_rbpf_runs_in_a_process_that_a_time_limit_ends(cli: Any, stdin: Any) -> None:
    def told(text: str, *arguments: str) -> Any:
        stdin(assemble(text).hex())
        return cli("exec", "--engine", "rbpf", *arguments)

    assert told("r0 = *(u16 *)(r1 +1)\nexit", "01 02 03") == (0, "302\n", "")
    # A loop that ends, one that does not.
    assert told("r0 = 0\na:\nr0 += 1\nif r0 < 10 goto a\nexit") == (0, "a\n", "")
    code, out, error = told("a:\nr0 = 0\ngoto a\nexit", "--limit", "0.5")
    assert (code, out) == (1, "")
    assert error == "axebpf exec: it ran longer than 0.5 s on the engine rbpf; an endless loop?\n"
    for text, expected in (
        ("r0 = *(u64 *)(r1 +0)\nexit", "axebpf exec: program: load of 8 bytes at ctx+0: no live memory there"),
        ("r0 = bswap16 r0\nexit", "axebpf exec: program: instruction 0: rbpf 0.4.1, AxVisor's VM, refuses it: unknown"),
    ):
        code, out, error = told(text, "00")
        assert (code, out) == (1, "")
        assert error.startswith(expected)
    with pytest.raises(ProgramFault, match="no live memory there"):
        run(assemble("r0 = *(u64 *)(r1 +0)\nexit").hex(), engine="rbpf")
    assert cli("exec", "--limit", "0")[0] == 2


def test_r0_is_printed_in_lower_case_hexadecimal_without_a_prefix(cli: Any, stdin: Any) -> None:
    for value, text in ((0, "0\n"), (0xAB, "ab\n"), (-1, "ffffffffffffffff\n")):
        stdin(assemble(f"r0 = {value}\nexit").hex())
        assert cli("exec") == (0, text, "")


def test_blanks_anywhere_and_capital_digits_are_fine(cli: Any, stdin: Any) -> None:
    code = assemble("r0 = *(u8 *)(r1 +1)\nr2 <<= 8\nr0 |= r2\nexit").hex().upper()
    stdin(" \n" + " ".join(code[i : i + 2] for i in range(0, len(code), 2)) + "\t\n")
    assert cli("exec", "aa BB cc") == (0, "3bb\n", "")
    assert cli("exec", "") == (1, "", "axebpf exec: program: the program program has no instructions\n")


def test_memory_is_r1_and_its_length_r2() -> None:
    write = "*(u8 *)(r1 +0) = 7\nr0 = *(u16 *)(r1 +0)\nr2 <<= 32\nr0 |= r2\nexit"
    assert run(assemble(write).hex(), "ff01") == 2 << 32 | 0x0107
    assert run(assemble("r0 = r2\nexit").hex()) == 0
    with pytest.raises(ProgramFault, match="no live memory"):
        run(assemble("r0 = *(u8 *)(r1 +2)\nexit").hex(), "ff01")


@pytest.mark.parametrize(
    ("program", "memory", "text"),
    [
        ("", "", "no instructions"),
        ("95", "", "1 bytes are no whole number of 8-byte instructions"),
        ("9", "", "the program on standard input has 1 hexadecimal digits; two make a byte"),
        ("zz", "", "the program on standard input is no hexadecimal: 'z' is digit 1"),
        ("9500000000000000", "0x01", "the memory is no hexadecimal: 'x' is digit 2"),
        ("ff00000000000000", "", "opcode 0xff"),
        ("0500ffff00000000", "", "endless loop"),
        ("b700000001000000", "", "ran off the end"),
        ("7910000000000000 9500000000000000", "", "no live memory"),
    ],
)
def test_what_cannot_run_is_exit_1_and_a_message(cli: Any, stdin: Any, program: str, memory: str, text: str) -> None:
    stdin(program)
    ran = cli("exec", memory)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("axebpf exec: ")
    assert text in ran.err
    assert "Traceback" not in ran.err


def test_errors_are_exceptions_in_python() -> None:
    with pytest.raises(LoadError, match="two make a byte"):
        run("123")


@pytest.mark.parametrize("arguments", [["--engine", "warp"], ["aa", "bb"], ["--nonsense"]])
def test_usage_errors_are_exit_2(arguments: list[str]) -> None:
    ran = axebpf("exec", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "usage: axebpf exec" in ran.stderr


def test_help_has_the_contract() -> None:
    ran = axebpf("exec", "--help")
    assert ran.returncode == 0
    for text in ("MEMORY_HEX", "r1 points to it", "standard input", "Exit codes: 0", "interpreter"):
        assert text in ran.stdout


def test_it_starts_without_what_it_does_not_need() -> None:
    heavy = ["numpy", "typer", "rich", "axebpf.hypervisor", "axebpf.cli.app"]
    code = f"import sys; from axebpf.cli import main; main(['exec']); print([n for n in {heavy} if n in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], input=assemble("r0 = 1\nexit").hex(), capture_output=True, text=True, check=True
    )
    assert ran.stdout == "1\n[]\n"
