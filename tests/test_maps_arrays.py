"""Arrays in Python: slices as of a list, NumPy arrays of the map's own memory, the values of one CPU."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axebpf import Bench, BenchClosed, KeyNotFound, MapError, PerCpu, assemble
from axebpf.bench import LoadedObject
from hypothesis import given
from hypothesis import strategies as st

CPUS = 3
SIZE = 7

BPF_F_WRONLY = 1 << 4

ADD = """
*(u32 *)(r10 -4) = 2
r2 = r10
r2 += -4
r1 = map[1]
call bpf_map_lookup_elem
if r0 == 0 goto out
r1 = 5
lock *(u64 *)(r0 +0) += r1
out:
r0 = 0
exit
"""
"""Adds 5 to entry 2."""

FIRST = """
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[1]
call bpf_map_lookup_elem
if r0 == 0 goto out
r0 = *(u8 *)(r0 +0)
out:
exit
"""
"""The first byte of entry 0."""


@pytest.fixture
def progs(types: Path) -> LoadedObject:
    return Bench(cpus=CPUS).load(types)


# Slices

bounds = st.none() | st.integers(-10, 10)
slices = st.builds(slice, bounds, bounds, bounds.filter(lambda step: step != 0))


@given(part=slices, data=st.data())
def test_a_slice_is_that_of_a_list(part: slice, data: st.DataObject) -> None:
    array = Bench().create_map("array", 4, 8, SIZE)
    expected = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=SIZE, max_size=SIZE))
    array[:] = expected
    assert array[part] == expected[part]
    new = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(expected[part]), max_size=len(expected[part])))
    for index, value in zip(range(*part.indices(SIZE)), new, strict=True):
        expected[index] = value
    array[part] = new
    assert array.values() == expected


def test_a_slice_takes_as_many_values_as_it_has_and_all_or_none(progs: LoadedObject) -> None:
    array = progs.maps["ARRAY"]
    array[1:3] = [(1, 1), {"a": 2, "b": -2}]
    assert array[:] == [(0, 0), (1, 1), (2, -2), (0, 0)]
    assert array[2:][0].b == -2
    with pytest.raises(MapError, match="ARRAY: the slice has 2 values, got 3: an array does not grow or shrink"):
        array[1:3] = [(9, 9)] * 3
    with pytest.raises(MapError, match="a: u16 holds 0 to 65535, not 65536"):
        array[1:3] = [(9, 9), (65536, 0)]
    with pytest.raises(MapError, match="slice step cannot be zero"):
        array[::0]
    assert array[1:3] == [(1, 1), (2, -2)]
    assert array[4:] == []


def test_a_key_is_no_index_of_a_list(progs: LoadedObject) -> None:
    array = progs.maps["ARRAY"]
    with pytest.raises(MapError, match="the key -1: u32 holds 0 to 4294967295, not -1"):
        array[-1]
    with pytest.raises(KeyNotFound, match="no entry with the key 4"):
        array[4]


def test_an_entry_of_an_array_cannot_be_deleted(progs: LoadedObject) -> None:
    array = progs.maps["ARRAY"]
    for delete in (
        lambda: array.__delitem__(1),
        lambda: array.pop(1),
        array.popitem,
        lambda: array.__delitem__(slice(2)),
    ):
        with pytest.raises(MapError, match=r"of an array cannot be deleted; set (it|them) to zero \(EINVAL\)"):
            delete()
    array.freeze()
    with pytest.raises(MapError, match="EPERM"):  # Linux looks at the permission first
        del array[1]


# NumPy without a copy


def test_the_values_of_an_array_are_its_own_memory_and_cannot_be_written() -> None:
    bench = Bench()
    counts = bench.create_map("array", 4, 8, 4)
    program = bench.load_bytes(assemble(ADD), type="tracepoint", maps={1: counts})
    indices, values = counts.to_numpy(copy=False)
    now, again = counts.to_numpy(copy=True)[1], counts.to_numpy()[1]
    assert np.shares_memory(values, again)
    assert not np.shares_memory(values, now)
    program.run(bytes(16))
    counts[1] = 7
    assert (indices.tolist(), values.tolist()) == ([0, 1, 2, 3], [0, 7, 5, 0])
    assert now.tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        values.flags.writeable = True
    now[0] = 1
    assert counts[0] == 0


@pytest.mark.parametrize("size", [1, 3, 4, 8, 12, 100])
def test_values_of_any_size_stand_in_their_places(size: int) -> None:
    bench = Bench(cpus=CPUS)
    for kind in ("array", "percpu_array"):
        made = bench.create_map(kind, 4, size, SIZE)
        dice = np.random.default_rng(size)
        raw = {}
        for index in range(SIZE):
            raw[index] = dice.bytes(len(made.lookup(bytes(4))))
            made.update(index.to_bytes(4, "little"), raw[index])
        values = made.to_numpy(copy=False)[1]
        stride = (size + 7) // 8 * 8
        for index, data in raw.items():
            parts = [data[cpu * stride :][:size] for cpu in range(CPUS)] if made.is_per_cpu else [data[:size]]
            assert [part.tobytes() for part in np.atleast_1d(values[index])] == parts


def test_structures_and_cpus_keep_their_types(progs: LoadedObject) -> None:
    array, each = progs.maps["ARRAY"], progs.maps["EACH"]
    view, columns = array.to_numpy(copy=False)[1], each.to_numpy(copy=False)[1]
    array[1:3] = [(5, -5), (6, -6)]
    each[1] = [(1, -1), (2, -2), (3, -3)]
    assert (view["a"].tolist(), view["b"].tolist()) == ([0, 5, 6, 0], [0, -5, -6, 0])
    assert (columns.shape, columns["b"].tolist()) == ((2, CPUS), [[0, 0, 0], [-1, -2, -3]])
    assert each.per_cpu(2).to_numpy()[1]["a"].tolist() == [0, 3]
    for _ in range(4):
        progs["count"].run(b"", cpu=1)
    assert columns["a"][:, 1].tolist() == [4, 2]


def test_what_lies_here_and_there_is_copied_or_refused(progs: LoadedObject) -> None:
    progs.maps["COLORS"][1] = 2
    progs.maps["QUEUE"].append((1, 2))
    for name in ("COLORS", "NAMES", "QUEUE"):
        with pytest.raises(ValueError, match=f"{name}: .* have to be copied"):
            progs.maps[name].to_numpy(copy=False)
    keys, values = progs.maps["COLORS"].to_numpy(copy=True)
    values[0] = 5
    assert (keys.tolist(), progs.maps["COLORS"][1]) == ([1], 2)
    assert progs.maps["QUEUE"].to_numpy()["a"].tolist() == [1]
    assert [part.shape for part in progs.maps["NAMES"].to_numpy()] == [(0,), (0, CPUS)]


def test_an_array_that_the_bench_may_not_read_has_no_view() -> None:
    hidden = Bench().create_map("array", 4, 8, 4, BPF_F_WRONLY)
    with pytest.raises(MapError, match="EPERM"):
        hidden.to_numpy()


@pytest.mark.parametrize("kind", ["array", "percpu_array"])
def test_an_array_that_the_bench_may_only_write_is_cleared(kind: str) -> None:
    bench = Bench(cpus=CPUS)
    made = bench.create_map(kind, 4, 3, 2, BPF_F_WRONLY, name="MADE")
    whole = b"abc" if kind == "array" else b"abc".ljust(8, b"\0") * CPUS
    made.update(bytes(4), whole, 0)
    program = bench.load_bytes(assemble(FIRST), type="tracepoint", maps={1: made})
    assert program.run(bytes(16)).r0 == ord("a")
    made.clear()
    assert program.run(bytes(16)).r0 == 0


def test_an_array_of_axvisors_library_is_copied() -> None:
    array = Bench(target="axvisor").create_map("array", 4, 8, 4)
    array[2] = 5
    assert array.to_numpy()[1].tolist() == [0, 0, 5, 0]
    with pytest.raises(ValueError, match="have to be copied"):
        array.to_numpy(copy=False)


def test_values_with_a_lock_are_copied_without_it(compile_bpf: Callable[..., Path]) -> None:
    text = """
    struct value { struct bpf_spin_lock lock; __u32 count; };
    struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32);
             __type(value, struct value); } LOCKED SEC(".maps");
    SEC("tracepoint") int nothing(void *ctx) { return 0; }
    """
    locked = Bench().load(compile_bpf("locked", text)).maps["LOCKED"]
    locked.update(bytes(4), bytes([9, 9, 9, 9, 5, 0, 0, 0]))
    assert locked.to_numpy()[1].tobytes() == bytes([0, 0, 0, 0, 5, 0, 0, 0, *bytes(8)])
    with pytest.raises(ValueError, match="have to be copied"):
        locked.to_numpy(copy=False)


# A bench that is closed while a view of its map is alive


def test_a_view_outlives_its_bench() -> None:
    bench = Bench()
    array = bench.create_map("array", 4, 8, 100_000)
    array[99_999] = 7
    memory = array._native.values()
    before = memoryview(memory)
    values = array.to_numpy()[1]
    gone = weakref.ref(bench)
    bench.close()
    with pytest.raises(BenchClosed):
        array.to_numpy()
    with pytest.raises(BenchClosed):
        memoryview(memory)
    del bench, array, memory
    gc.collect()
    assert gone() is None
    assert (values[99_999], values.sum(), before[799_992:].tobytes()) == (7, 7, (7).to_bytes(8, "little"))


def test_a_view_outlives_its_map_that_was_unloaded(types: Path) -> None:
    bench = Bench(cpus=CPUS)
    progs = bench.load(types)
    progs.maps["ARRAY"][3] = (7, 7)
    values = progs.maps["ARRAY"].to_numpy()[1]
    progs.unload()
    del progs
    gc.collect()
    assert values["a"].tolist() == [0, 0, 0, 7]


def test_a_view_is_read_while_another_thread_writes() -> None:
    """Eight bytes are never half old and half new."""
    code = """
import threading
import numpy as np
from axebpf import Bench, assemble
bench = Bench()
counts = bench.create_map("array", 4, 8, 4)
text = TEXT.replace("r1 = 5", "r1 = 4294967297 ll")
link = bench.load_bytes(assemble(text), type="tracepoint", maps={1: counts}).attach("vmm:vm_boot")
view = counts.to_numpy(copy=False)[1]
writer = threading.Thread(target=bench.tracepoints["vmm:vm_boot"].fire_many, kwargs={
    "vm_id": np.zeros(300_000, "u4"), "duration_ns": 1})
writer.start()
seen = []
while writer.is_alive():
    seen.append(int(view[2]))
writer.join()
assert all(value >> 32 == value & 0xFFFFFFFF for value in seen), "torn"
assert seen == sorted(seen), "back"
assert view[2] == 300_000 * 4294967297
"""
    done = subprocess.run([sys.executable, "-c", code.replace("TEXT", repr(ADD))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The values of one CPU


def test_one_cpus_values_are_a_mapping_that_writes_the_map(progs: LoadedObject) -> None:
    names = progs.maps["NAMES"]
    second = names.per_cpu(1)
    assert isinstance(second, Mapping)
    second["axe"] = 5
    names["bpf"] = [1, 2, 3]
    second.update({"bpf": 9, "cpu": 1})
    assert names == {b"axe": (0, 5, 0), b"bpf": (1, 9, 3), b"cpu": (0, 1, 0)}
    assert second == {b"axe": 5, b"bpf": 9, b"cpu": 1}
    assert (second["axe"], second.get("none"), "bpf" in second, len(second)) == (5, None, True, 3)
    assert sorted(second) == [b"axe", b"bpf", b"cpu"]
    assert names.sum() == {b"axe": 5, b"bpf": 13, b"cpu": 1}
    with pytest.raises(KeyNotFound):
        second["none"]


def test_one_cpu_of_an_array_in_slices(progs: LoadedObject) -> None:
    each = progs.maps["EACH"]
    each.per_cpu(0)[1] = (3, -3)
    for _ in range(2):
        progs["count"].run(b"", cpu=2)
    assert each[:] == [PerCpu([(0, 0), (0, 0), (2, 0)]), PerCpu([(3, -3), (0, 0), (0, 0)])]
    assert (each.per_cpu(0)[:], each.per_cpu(2).values()) == ([(0, 0), (3, -3)], [(2, 0), (0, 0)])


def test_what_one_cpu_refuses(progs: LoadedObject) -> None:
    each, array, names = progs.maps["EACH"], progs.maps["ARRAY"], progs.maps["NAMES"]
    for cpu in (3, -1):
        with pytest.raises(MapError, match=f"EACH: no CPU {cpu}; this bench has 3, from 0"):
            each.per_cpu(cpu)
    with pytest.raises(MapError, match="ARRAY: it has no values for each CPU: its type is array"):
        array.per_cpu(0)
    with pytest.raises(MapError, match="a: u16 holds 0 to 65535, not 70000"):
        each.per_cpu(0)[0] = (70000, 0)
    with pytest.raises(MapError, match="u64 has 8 bytes, not 3"):
        names.per_cpu(0)["axe"] = b"abc"
    with pytest.raises(MapError, match="E2BIG"):
        each.per_cpu(0)[2] = (0, 0)
    for name in ("a", "b", "c", "d"):
        names.per_cpu(0)[name] = 1
    with pytest.raises(MapError, match="E2BIG"):
        names.per_cpu(0)["e"] = 1
    each.freeze()
    with pytest.raises(MapError, match="EPERM"):
        each.per_cpu(0)[0] = (1, 1)
    assert each.sum() == {0: (0, 0), 1: (0, 0)}


def test_text_has_no_sum() -> None:
    each = Bench(cpus=2).create_map("percpu_hash", 4, 3, 4)
    each[1] = [b"abc", b"def"]
    with pytest.raises(TypeError, match="b'abc' is no number: there is no sum"):
        each.sum()


def test_the_first_entry_is_taken_and_all_are_cleared(progs: LoadedObject) -> None:
    table: Any = progs.maps["COLORS"]
    table.update({1: 2, 2: 1, 7: 7})
    taken = dict(table.popitem() for _ in range(2))
    assert {**taken, **table} == {1: 2, 2: 1, 7: 7}
    assert len(table) == 1
    table.clear()
    with pytest.raises(KeyNotFound, match="it is empty"):
        table.popitem()
