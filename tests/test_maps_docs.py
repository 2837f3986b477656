"""The page about maps has the table of kinds, and says of each of them what it is in Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axebpf import Bench
from axebpf.map_kinds import MAP_KINDS, MapKind, kinds_table, uses_table

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "maps.md").read_text()
OFFERED = [kind for kind in MAP_KINDS.values() if kind.offered]


@pytest.mark.parametrize("table", [kinds_table, uses_table])
def test_the_page_has_the_table(table: object) -> None:
    assert callable(table)
    assert f"\n\n{table()}\n" in PAGE


def test_the_page_names_the_kinds_that_there_are_not() -> None:
    missing = ", ".join(f"`{kind.name}`" for kind in MAP_KINDS.values() if not kind.offered)
    assert f"axebpf does not: {missing}." in PAGE


@pytest.mark.parametrize("kind", OFFERED, ids=[kind.name for kind in OFFERED])
def test_each_kind_is_in_the_section_of_its_class(kind: MapKind) -> None:
    keys = {"index": 4, "bytes": 4, "prefix": 8, "none": 0}[kind.keys]
    value, entries = (0, 4096) if kind.name == "ringbuf" else (4, 4)
    with Bench() as bench:
        inner = bench.create_map("array", 4, 8, 1) if kind.name.endswith("_of_maps") else None
        flags = 1 if kind.keys == "prefix" else 0
        made = bench.create_map(kind.name, keys, value, entries, flags, inner)
        section = re.search(rf"^## [^\n]*: `{type(made).__name__}`\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, type(made)
    assert f"`{kind.name}`" in section[1]


def test_the_page_is_in_the_book() -> None:
    assert "maps.md" in (ROOT / "mkdocs.yml").read_text()
