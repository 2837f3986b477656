"""The page about replays has the tables of the data."""

from __future__ import annotations

from pathlib import Path

from axebpf.recording import kvm, table

PAGE = (Path(__file__).parent.parent / "docs" / "replay.md").read_text()


def test_the_page_has_the_table_of_rules() -> None:
    assert table(kvm.RULES) in PAGE


def test_the_page_has_the_table_of_exits() -> None:
    assert kvm.exit_table() in PAGE
