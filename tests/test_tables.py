"""Maps, trace and statistics as Arrow tables and as HTML: the same as what the typed Python values say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import axebpf
import numpy as np
import pytest
from axebpf import Bench, MapError, NotFound
from axebpf.bench import LoadedObject
from axebpf.examples import example

pytest.importorskip("pyarrow", reason="Arrow tables need pyarrow")

CPUS = 3
LINE = {"vcpu_id": 0, "exit_reason": 2, "duration_ns": 1500}


@pytest.fixture
def progs(types: Path) -> LoadedObject:
    return Bench(cpus=CPUS).load(types)


def plain(value: Any) -> Any:
    """A typed value as Arrow gives it: structures are dictionaries, enumerations numbers."""
    if isinstance(value, tuple):
        return {name: plain(getattr(value, name)) for name in value._fields}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_members_of_key_and_value_are_columns_bit_fields_too(progs: LoadedObject) -> None:
    table = progs.maps["TABLE"]
    progs["fill"].run(b"")
    whole = table[7, 443]
    table[8, 1] = whole._replace(low=31, mid=-64, high=0xFFFFF, minus=-5, flag=False, comm=b"", array=[0, 1, 2])
    table[9, 2] = whole._replace(low=0, mid=63, high=1, color=1)
    rows = {(row.pop("vm"), row.pop("port")): row for row in table.to_arrow().to_pylist()}
    assert rows == {key: plain(value) for key, value in table.items()}


def test_values_without_members_are_called_key_and_value(progs: LoadedObject) -> None:
    colors, recent = progs.maps["COLORS"], progs.maps["RECENT"]
    colors[1] = 2
    assert colors.to_arrow().to_pylist() == [{"key": 1, "value": 2}]
    assert recent.to_arrow().to_pylist() == []
    assert recent.to_arrow().column_names == ["key", "value"]


def test_a_per_cpu_map_has_a_row_for_each_cpu(progs: LoadedObject) -> None:
    each, names = progs.maps["EACH"], progs.maps["NAMES"]
    each[1] = [(1, -1), (2, -2), (3, -3)]
    assert each.to_arrow().to_pylist() == [
        {"key": index, "cpu": cpu, "a": index * (cpu + 1), "b": -index * (cpu + 1)}
        for index in (0, 1)
        for cpu in range(CPUS)
    ]
    names["axe"] = [1, 2, 3]
    assert names.to_arrow().to_pylist() == [{"key": b"axe", "cpu": cpu, "value": cpu + 1} for cpu in range(CPUS)]


def test_names_that_key_and_value_share_say_which_they_are(compile_bpf: Callable[..., Path]) -> None:
    source = """
struct vm { __u32 id; __u32 cpu; };
struct {
    __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, struct vm); __type(value, struct vm);
} SAME SEC(".maps");
SEC("mem/none") int none(void *ctx) { return bpf_map_lookup_elem(&SAME, &(struct vm){}) != 0; }
"""
    same = Bench().load(compile_bpf("same", source)).maps["SAME"]
    same[1, 2] = (3, 4)
    assert same.to_arrow().to_pylist() == [{"key.id": 1, "key.cpu": 2, "value.id": 3, "value.cpu": 4}]


def test_queues_and_rings_are_tables_too(progs: LoadedObject) -> None:
    queue, stack = progs.maps["QUEUE"], progs.maps["STACK"]
    queue.append((1, -2))
    queue.append((3, 4))
    stack.append(7)
    stack.append(8)
    assert queue.to_arrow().to_pylist() == [{"a": 1, "b": -2}, {"a": 3, "b": 4}]
    assert queue.to_numpy()["b"].tolist() == [-2, 4]
    assert stack.to_arrow().to_pylist() == [{"value": 8}, {"value": 7}]
    assert len(queue) == 2


@pytest.fixture
def ring_bench() -> Bench:
    bench = Bench(cpus=CPUS)
    bench.load(example("slow_exits.bpf.o"), rodata={"threshold_ns": 0})["on_exit"].attach()
    bench.tracepoints["vmm:vcpu_run_exit"].fire_many(vm_id=[1, 2], **LINE, time_ns=[5, 6], cpu=[0, 2])
    return bench


def test_a_ring_gives_its_records_once_as_arrays_or_tables(ring_bench: Bench) -> None:
    ring = ring_bench.maps["SLOW"]
    with pytest.raises(MapError, match="say which, as typed"):
        ring.to_numpy()
    assert ring.typed("slow_exit").to_numpy()["vm_id"].tolist() == [1, 2]
    assert ring.to_arrow().num_rows == 0
    ring_bench.tracepoints["vmm:vcpu_run_exit"].fire(vm_id=3, **LINE, time_ns=7, cpu=1)
    (row,) = ring.to_arrow().to_pylist()
    assert (row["vm_id"], row["duration_ns"]) == (3, 1500)


def test_a_ring_record_shorter_than_its_type_is_refused(compile_bpf: Callable[..., Path]) -> None:
    source = """
struct pair { __u64 a, b; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } RING SEC(".maps");
struct pair seen;
SEC("tracepoint/vmm/vm_boot") int on_boot(void *ctx) { return bpf_ringbuf_output(&RING, &seen, 8, 0); }
"""
    bench = Bench()
    bench.load(compile_bpf("short", source))["on_boot"].attach()
    bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1)
    with pytest.raises(MapError, match="record 0 of 1 has 8 bytes, struct pair 16; none was taken"):
        bench.maps["RING"].typed("pair").to_arrow()


def test_the_trace_of_one_tracepoint_and_of_all(ring_bench: Bench) -> None:
    bench = ring_bench
    bench.enable("vmm:*")
    bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=20, time_ns=10, cpu=1)
    bench.tracepoints["vmm:vcpu_run_exit"].fire(vm_id=4, **LINE, time_ns=11, cpu=2)
    (row,) = bench.trace.to_arrow("vmm:vm_boot").to_pylist()
    assert row == {"time_ns": 10, "cpu": 1, "pid": 0, "comm": "axvisor", "vm_id": 1, "duration_ns": 20}
    rows = bench.trace.to_arrow().to_pylist()
    assert [(row["time_ns"], row["event"]) for row in rows] == [(10, "vmm:vm_boot"), (11, "vmm:vcpu_run_exit")]
    assert all(row["text"] in line for row, line in zip(rows, bench.trace.text().splitlines(), strict=True))
    with pytest.raises(NotFound, match="did you mean vmm:vm_boot"):
        bench.trace.to_arrow("vmm:vm_bot")


class Named(axebpf.Tracepoint, name="vmm:named", id=260):
    """A field that is called as the task's name."""

    comm: axebpf.char[8]  # type: ignore[valid-type]


def test_a_field_does_not_hide_the_task_of_the_event() -> None:
    bench = Bench()
    bench.define(Named).fire(b"guest")
    bench.enable("vmm:named")
    bench.tracepoints["vmm:named"].fire(b"guest")
    (row,) = bench.trace.to_arrow("vmm:named").to_pylist()
    assert (row["comm"], row["field.comm"]) == ("axvisor", b"guest")


def test_statistics_have_a_row_for_each_tracepoint_that_fired() -> None:
    bench = Bench()
    assert bench.stats.to_numpy().tolist() == []
    assert bench.stats.to_arrow().num_rows == 0
    bench.tracepoints["vmm:vm_boot"].fire_many(vm_id=1, duration_ns=np.array([100, 300]))
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1, time_ns=9)
    array, table = bench.stats.to_numpy(), bench.stats.to_arrow().to_pylist()
    assert array["name"].tolist() == ["vmm:vm_boot", "vmm:vm_destroy"]
    assert array[["count", "samples", "total_ns", "min_ns", "max_ns", "avg_ns"]].tolist() == [
        (2, 2, 400, 100, 300, 200),
        (1, 0, 0, 0, 0, 0),
    ]
    assert array["buckets"].tolist() == [[2, 0, 0, 0, 0, 0, 0, 0], [0] * 8]
    assert [(row["total_ns"], row["min_ns"], row["last_timestamp_ns"]) for row in table][1] == (0, None, 9)


def test_what_arrow_gives_can_be_fired_again() -> None:
    first, second = Bench(), Bench()
    first.enable()
    first.tracepoints["vmm:vcpu_run_exit"].fire_many(vm_id=range(50), **LINE, time_ns=range(50), cpu=1)
    table = first.trace.to_arrow("vmm:vcpu_run_exit").drop_columns(["pid", "comm"])
    second.enable()
    assert second.tracepoints["vmm:vcpu_run_exit"].fire_many(table) == 50
    assert second.trace.text() == first.trace.text()


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'axebpf\[arrow\]'"):
        Bench().stats.to_arrow()


# HTML


class Cells(HTMLParser):
    """The cells of the rows of a table, and the text outside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        else:
            self.words.append(data)


def test_a_notebook_shows_maps_trace_statistics_and_tracepoints(ring_bench: Bench) -> None:
    bench = ring_bench
    bench.enable("vmm:vm_boot")
    bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=20)
    lines = Cells(bench.trace._repr_html_()).rows
    assert lines[1][3:] == ["vmm:vm_boot", "vm_id=1 duration_ns=20"]
    assert Cells(bench.stats._repr_html_()).rows[2][:4] == ["vmm:vm_boot", "1", "1", "20"]
    shown = Cells(bench.tracepoints._repr_html_()).rows
    assert len(shown) == 1 + len(bench.tracepoints)
    assert ["vmm:vm_boot", "2", "yes", "1"] in [row[:4] for row in shown]
    assert Cells(bench.maps._repr_html_()).rows[1][:2] == ["SLOW", "ringbuf"]
    assert Cells(bench.maps["SLOW"]._repr_html_()).rows == [[]]
    assert len(bench.maps["SLOW"]) == 2  # showing it took nothing


def test_html_escapes_and_says_how_many_more_there_are() -> None:
    numbers = Bench().create_map("array", 4, 1, 60, name="A<b>")
    shown = Cells(numbers._repr_html_())
    assert "A<b>" in shown.words[0]
    assert shown.words[-1] == "… 10 more"
    assert shown.rows[1] == ["0", "0"]
    assert len(shown.rows) == 51


def test_a_closed_bench_shows_that_it_is_closed() -> None:
    bench = axebpf.Bench()
    table = bench.create_map("hash", 4, 4, 4)
    parts = [bench.trace, bench.stats, bench.tracepoints, table]
    bench.close()
    for part in parts:
        assert "closed" in part._repr_html_()
