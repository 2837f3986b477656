"""The table from the seed's Rust names to Python: every Python name in it exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TABLE = Path(__file__).parent.parent.parent / "docs" / "from-rust.md"
MODULES = [
    *("platform", "symbols", "tracepoint", "kops", "stats", "histogram"),
    *("hypervisor_helpers", "registry", "runtime", "maps", "helpers", "attach"),
]


def rows() -> list[list[str]]:
    """The cells of each row, without heads."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "Rust" and not row[0].startswith("---")]


def names() -> list[str]:
    """Every dotted name of the package in the second and third column."""
    return sorted({name for row in rows() for cell in row[1:] for name in re.findall(r"`(axebpf[\w.]*)`", cell)})


def resolve(name: str) -> object:
    """What a dotted name means: the longest module of it, and attributes of that."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", names())
def test_a_python_name_exists(name: str) -> None:
    assert resolve(name) is not None


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_has_a_place_or_a_reason(row: list[str]) -> None:
    rust, python, note = row
    assert "`" in rust or rust[0].isalpha()
    if python == "not here":
        assert note
    else:
        assert re.fullmatch(r"`axebpf[\w.]*`(, `axebpf[\w.]*`)*", python)


def test_every_module_of_the_seed_is_in_it() -> None:
    text = " ".join(line for line in TABLE.read_text().splitlines() if line.startswith("#"))
    for module in MODULES:
        assert re.search(rf"\b{module}\b", text), module
