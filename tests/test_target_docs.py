"""The page about target axvisor has the table of gaps."""

from __future__ import annotations

from pathlib import Path

import pytest
from axebpf.portability import gap_tables

PAGE = (Path(__file__).parent.parent / "docs" / "target-axvisor.md").read_text()


@pytest.mark.parametrize("part", gap_tables())
def test_the_page_has_the_gaps_of_each_part(part: str) -> None:
    assert f"\n\n{gap_tables()[part]}\n" in PAGE


def test_the_page_has_no_other_gaps() -> None:
    rows = PAGE.partition("## All gaps that are known")[2].splitlines()
    assert [row for row in rows if row.startswith("|")] == [
        row for part in ("vm", "maps", "helpers", "loader", "context") for row in gap_tables()[part].splitlines()
    ]
