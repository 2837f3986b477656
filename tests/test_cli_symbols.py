"""`axebpf symbols`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from axebpf.symbols import SymbolTable

TEXT = """\
ffff800000201000 T vcpu_run
ffff800000201040 t probe
ffff800000202000 t probe\t[guest]
"""
BASE = 0xFFFF_8000_0020_1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "System.map"
    path.write_text(TEXT)
    return path


def test_the_command_is_listed_and_has_help(cli: Any) -> None:
    assert re.search(r"\bsymbols\b", cli("--help").out)
    assert "Exit codes: 0 done" in cli("symbols", "--help").out


def test_addresses_and_names_are_looked_up(cli: Any, path: Path) -> None:
    ran = cli("symbols", path, "0xffff800000201044", "probe", "--etext", "0xffff800000202100")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["QUERY", "ADDRESS", "SIZE", "TYPE", "SYMBOL"],
        ["0xffff800000201044", "0xffff800000201040", "0xfc0", "t", "probe+0x4"],
        ["probe", "0xffff800000201040", "0xfc0", "t", "probe"],
        ["probe", "0xffff800000202000", "0x100", "t", "probe", "[guest]"],
    ]


def test_what_is_not_found_is_named_with_the_nearest_and_the_rest_is_shown(cli: Any, path: Path) -> None:
    ran = cli("symbols", path, "vcpu_rum", "vcpu_run", "0x10")
    assert ran.code == 1
    assert ran.err == "axebpf: no symbol vcpu_rum; did you mean vcpu_run?; no symbol at 0x10\n"
    assert [line.split()[0] for line in ran.out.splitlines()] == ["QUERY", "vcpu_run"]
    ran = cli("symbols", path, "nothing")
    assert (ran.code, ran.out, ran.err) == (1, "", "axebpf: no symbol nothing\n")


def test_the_list_is_plain_when_piped_and_can_be_read_again(cli: Any, path: Path, tmp_path: Path) -> None:
    ran = cli("symbols", path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == "ffff800000201000 0000000000000040 T vcpu_run"
    assert list(SymbolTable.from_text(ran.out)) == list(SymbolTable.from_text(TEXT))
    assert SymbolTable.from_text(ran.out).to_text() == TEXT


def test_search_and_limit(cli: Any, path: Path) -> None:
    def names(*options: object) -> list[str]:
        return [line.split(maxsplit=3)[3] for line in cli("symbols", path, *options).out.splitlines()]

    assert names("--search", "probe") == ["probe", "probe\t[guest]"]
    assert names("--search", "[guest]") == ["probe\t[guest]"]
    assert names("--limit", 1) == ["vcpu_run"]
    assert names("--search", "probe", "--limit", 1) == ["probe"]
    assert names("--search", "nothing") == []


def test_json(cli: Any, path: Path) -> None:
    first = {"name": "vcpu_run", "addr": BASE, "size": 0x40, "offset": 0, "type": "T", "module": None}
    last = {"name": "probe", "addr": BASE + 0x1000, "size": 0, "offset": 0, "type": "t", "module": "guest"}
    found = json.loads(cli("symbols", path, "--json").out)
    assert (found[0], found[-1], len(found)) == (first, last, 3)
    assert json.loads(cli("symbols", path, "--json", "--search", "guest").out) == [last]
    ran = cli("symbols", path, "--json", hex(BASE + 8), "nothing")
    assert json.loads(ran.out) == [
        {"query": hex(BASE + 8), "symbols": [{**first, "offset": 8}]},
        {"query": "nothing", "symbols": []},
    ]
    assert ran.code == 1


@pytest.mark.parametrize("width", [60, 100])
def test_on_a_terminal_it_is_a_table_that_fits(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    path = tmp_path / "many"
    path.write_text("".join(f"{BASE + 16 * n:x} T function_{n}_{'x' * 60}\n" for n in range(100)))
    out = cli("symbols", path).out
    assert "\x1b[" in out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert max(map(len, plain.splitlines())) <= width
    assert "function_39_" in plain
    assert "function_40_" not in plain
    assert "60 more; --limit 100 shows all" in plain
    assert "more;" not in cli("symbols", path, "--limit", 100).out


def test_names_cannot_steer_the_terminal(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(SymbolTable.from_text("1000 T aXXXXXred").to_blob().replace(b"XXXXX", b"\x1b[31m"))
    assert cli("symbols", path).out.endswith(" T a\\x1b[31mred\n")
    assert "a\\x1b[31mred" in cli("symbols", path, "0x1000").out
    (tmp_path / "text").write_bytes(b"1000 T \xff\n")
    assert cli("symbols", tmp_path / "text").out.endswith(" T \\xff\n")


def test_tables_are_written_in_every_form(cli: Any, path: Path, tmp_path: Path) -> None:
    table = SymbolTable.from_text(TEXT)
    forms = {"text": TEXT.encode(), "blob": table.to_blob("ksym-0.6"), "old-blob": table.to_blob("ksym")}
    for form, data in forms.items():
        out = tmp_path / form
        assert cli("symbols", path, "--to", form, "-o", out) == (0, "", "")
        assert out.read_bytes() == data
        command = [sys.executable, "-c", "import sys; from axebpf.cli import main; sys.exit(main())"]
        ran = subprocess.run([*command, "symbols", path, "--to", form], capture_output=True, check=True)
        assert ran.stdout == data
        assert cli("symbols", out, "--to", "text").out == TEXT


def test_notes_about_the_file_are_on_standard_error(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(TEXT + "one\ntwo\n  U undefined\n")
    ran = cli("symbols", path, "vcpu_run")
    assert (ran.code, ran.err) == (0, f"axebpf: {path}: 2 lines were not understood\n")
    path.write_text("0000000000000000 T vcpu_run\n0000000000000000 t probe\n")
    ran = cli("symbols", path)
    assert (ran.code, ran.out.count("\n")) == (0, 2)
    assert "the kernel hides them from this user (kernel.kptr_restrict)" in ran.err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF\x02", "malformed ELF"),
        (b"\xff" * 4, 'line 1: no symbol in this text: "\\xff\\xff\\xff\\xff"'),
        (b"\x05" + bytes(7), "offset 0x0: 5 symbols do not fit into 8 bytes"),
    ],
)
def test_a_file_that_is_no_table_is_exit_1(cli: Any, tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    ran = cli("symbols", path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"axebpf: {path}: {message}")


def test_files_that_cannot_be_read_or_written_are_exit_1(cli: Any, path: Path) -> None:
    ran = cli("symbols", "nowhere.map")
    assert (ran.code, ran.err) == (1, "axebpf: nowhere.map cannot be read: No such file or directory\n")
    ran = cli("symbols", path, "--to", "text", "-o", "/nowhere/out")
    assert (ran.code, ran.err) == (1, "axebpf: /nowhere/out: cannot be written: No such file or directory\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["vcpu_run", "--search", "x"], "NAME and --search do not go together"),
        (["--search", "x", "--to", "text"], "--search and --to do not go together"),
        (["-o", "out"], "-o needs --to"),
        (["--to", "zip"], "zip"),
        (["--stext", "start"], "'start' is not an address"),
        (["--limit", "-1"], "greater than or equal to 0"),
    ],
    ids=lambda case: case if isinstance(case, str) else " ".join(case),
)
def test_usage_errors_are_exit_2(cli: Any, path: Path, options: list[str], message: str) -> None:
    ran = cli("symbols", path, *options)
    assert (ran.code, ran.out) == (2, "")
    assert message in " ".join(re.sub(r"[│\n]", " ", ran.err).split())
