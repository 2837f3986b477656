"""Maps, snapshots and differences as tables for terminals and notebooks: the same cells, of the first rows."""

from __future__ import annotations

import io
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench
from axebpf.bench import LoadedObject
from rich.console import Console
from rich.table import Table

CPUS = 3


@pytest.fixture
def progs(types: Path) -> LoadedObject:
    return Bench(cpus=CPUS).load(types)


def rows(thing: Any) -> list[list[str]]:
    """The heading and the rows that a terminal shows, which are those of a notebook."""
    table = thing.__rich__()
    assert isinstance(table, Table)
    head = [str(column.header) for column in table.columns]
    lines = [list(map(str, line)) for line in zip(*(column.cells for column in table.columns), strict=True)]
    html = thing._repr_html_()
    cells = [
        [unescape(cell) for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", html)
    ]
    assert [head, *lines] == cells
    return cells


def printed(thing: Any) -> str:
    """What a terminal shows."""
    console = Console(file=io.StringIO(), width=100)
    console.print(thing)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_members_are_columns(progs: LoadedObject) -> None:
    maps = progs.maps
    progs["fill"].run(b"")
    head, line = rows(maps["TABLE"])
    assert head[:5] == ["vm", "port", "nested.a", "nested.b", "comm"]
    assert line[:5] == ["7", "443", "500", "-5", "guest"]
    assert line[head.index("color")] == "GREEN"
    assert rows(maps["TABLE"].snapshot()) == [head, line]


def test_cpus_are_columns_and_structures_are_added(progs: LoadedObject) -> None:
    names, each = progs.maps["NAMES"], progs.maps["EACH"]
    names["axe"] = [1, 2, 3]
    each[0] = [(1, -1), (2, -2), (3, -3)]
    assert rows(names) == [["key", "cpu0", "cpu1", "cpu2", "sum"], ["axe", "1", "2", "3", "6"]]
    assert rows(each) == [["key", "a", "b"], ["0", "6", "-6"], ["1", "0", "0"]]
    assert rows(names.per_cpu(1)) == [["key", "value"], ["axe", "2"]]
    assert rows(each.per_cpu(1)) == [["key", "a", "b"], ["0", "2", "-2"], ["1", "0", "0"]]


def test_a_map_in_a_map_is_shown_by_name() -> None:
    bench = Bench()
    inner = bench.create_map("array", 4, 8, 4, name="INNER")
    outer = bench.create_map("hash_of_maps", 4, 4, 4, inner=inner)
    outer[7] = inner
    assert rows(outer) == [["key", "value"], ["7", "INNER"]]


def test_values_of_a_queue_have_their_place(progs: LoadedObject) -> None:
    queue = progs.maps["QUEUE"]
    queue.extend([(1, 2), (3, 4)])
    before = queue.snapshot()
    assert rows(queue) == rows(before) == [["#", "a", "b"], ["0", "1", "2"], ["1", "3", "4"]]
    queue.pop()
    queue.append((5, 6))
    assert rows(before.diff(queue)) == [["", "a", "b"], ["-", "1", "2"], ["+", "5", "6"]]


def test_a_difference_has_a_row_for_each_member(progs: LoadedObject) -> None:
    array, names = progs.maps["ARRAY"], progs.maps["NAMES"]
    names["old"] = [1, 1, 1]
    before = progs["count"]._bench.snapshot()
    array[1] = (6, -5)
    names["new"] = [0, 7, 0]
    del names["old"]
    names_then = before["NAMES"].diff(names)
    head = ["", "key", "member", "before", "after", "delta"]
    assert rows(before["ARRAY"].diff(array)) == [head, ["~", "1", "a", "0", "6", "6"], ["~", "1", "b", "0", "-5", "-5"]]
    assert [line[1:5] for line in rows(names_then)[1:4]] == [
        ["new", "cpu0", "", "0"],
        ["new", "cpu1", "", "7"],
        ["new", "cpu2", "", "0"],
    ]
    whole = progs["count"]._bench.snapshot() - before
    head = ["", "map", "added", "removed", "changed"]
    assert rows(whole) == [head, ["~", "ARRAY", "0", "0", "1"], ["~", "NAMES", "1", "1", "0"]]
    assert ["ARRAY", "array", "u32", "struct inner", "4"] in rows(before)


def test_long_tables_end_and_markup_is_text() -> None:
    bench = Bench()
    made = bench.create_map("array", 4, 8, 60, name="A[b]")
    before = made.snapshot()
    made[:] = range(1, 61)
    for shown in (made, before, before.diff(made)):
        assert len(rows(shown)) == 51
        assert "… 10 more" in shown._repr_html_()
        assert "… 10 more" in printed(shown)
        assert "A[b]" in printed(shown)
    lines = str(before.diff(made)).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (51, "~ 0: 0 -> 1 (+1)", "…")
    assert str(before.diff(before)) == "nothing changed"


def test_what_cannot_be_read_is_shown_without_entries() -> None:
    bench = Bench()
    shown = [
        bench.create_map("hash", 4, 4, 4, 1 << 4, name="HIDDEN"),
        bench.create_map("ringbuf", 0, 0, 4096, name="RING"),
        bench.create_map("bloom_filter", 0, 8, 4, name="SEEN"),
        bench.create_map("percpu_array", 4, 8, 4, name="CLOSED"),
    ]
    one_cpu = shown[-1].per_cpu(0)
    for made in shown[:-1]:
        assert made.name in printed(made)
    assert "RING" in printed(bench.maps)
    bench.close()
    for made in (*shown, one_cpu):
        assert "of a closed bench" in printed(made) or made.name == "SEEN"
        assert "closed" in made._repr_html_() or made.name == "SEEN"
