"""Maps typed by BTF: what a program writes, Python reads, and the other way round."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axebpf import Bench, KeyNotFound, MapError, PerCpu
from axebpf.bench import LoadedObject
from axebpf.examples import example

CPUS = 3
VALUE = {
    "nested": (500, -5),
    "comm": b"guest",
    "low": 17,
    "mid": -33,
    "high": 0x54321,
    "either": {"word": 0xDEADBEEF},
    "array": [1, 2, 2**64 - 1],
    "flag": True,
    "color": 2,
    "minus": -1,
    "pointer": 0x1000,
}


@pytest.fixture
def progs(types: Path) -> LoadedObject:
    return Bench(cpus=CPUS).load(types)


def test_what_a_program_writes_is_read_by_name(progs: LoadedObject) -> None:
    assert progs["fill"].run(b"").r0 == 0
    entry = progs.maps["TABLE"][7, 443]
    assert entry.nested == (500, -5)
    assert (entry.comm, entry.flag, entry.minus, entry.pointer) == (b"guest", True, -1, 0x1000)
    assert (entry.low, entry.mid, entry.high) == (17, -33, 0x54321)
    assert entry.either.word == 0xDEADBEEF
    assert entry.either.bytes == [0xEF, 0xBE, 0xAD, 0xDE]
    assert entry.either.parts == (0xBEEF, 0xAD - 256)
    assert entry.array == [1, 2, 2**64 - 1]
    assert (entry.color, entry.color.name) == (2, "GREEN")
    assert list(progs.maps["TABLE"]) == [(7, 443)]
    assert next(iter(progs.maps["TABLE"])).port == 443


@pytest.mark.parametrize("form", ["dict", "tuple", "namedtuple", "bytes"])
def test_what_python_writes_is_read_by_a_program(progs: LoadedObject, form: str) -> None:
    table = progs.maps["TABLE"]
    table[7, 443] = VALUE
    whole = table[7, 443]
    raw = table.lookup(bytes([7, 0, 0, 0, 443 & 255, 443 >> 8]))
    del table[7, 443]
    key = {"dict": {"vm": 7, "port": 443}, "bytes": bytes([7, 0, 0, 0, 443 & 255, 443 >> 8])}.get(form, (7, 443))
    table[key] = {"dict": VALUE, "tuple": tuple(whole), "namedtuple": whole, "bytes": raw}[form]
    assert progs["read"].run(b"").r0 == 0
    seen = {name: progs.globals[name] for name in ("low", "mid", "high", "nested_b", "word", "last", "minus")}
    unsigned = 2**64
    assert seen == {
        "low": 17,
        "mid": unsigned - 33,
        "high": 0x54321,
        "nested_b": unsigned - 5,
        "word": 0xDEADBEEF,
        "last": unsigned - 1,
        "minus": unsigned - 1,
    }


def test_the_layout_is_clangs(progs: LoadedObject) -> None:
    size, comm, either, array, flag, color, minus, pointer = progs.globals["layout"]
    dtype = progs.maps["TABLE"].value_type.dtype
    assert dtype.itemsize == size == progs.maps["TABLE"].value_size
    offsets = {name: offset for name, (_, offset, *_) in dtype.fields.items()}
    expected = {"nested": 0, "comm": comm, "either": either, "array": array, "flag": flag, "color": color}
    assert offsets == {**expected, "minus": minus, "pointer": pointer}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"comm": "x" * 17}, r"comm: .* is longer than char\[16\]"),
        ({"low": 32}, "low: a bit field of 5 bits holds 0 to 31, not 32"),
        ({"mid": -65}, "mid: a bit field of 7 bits holds -64 to 63, not -65"),
        ({"mid": "x"}, "mid: .* takes an integer, not str"),
        ({"nested": (65536, 0)}, "nested: a: u16 holds 0 to 65535, not 65536"),
        ({"nested": (0, 200)}, "nested: b: i8 holds -128 to 127, not 200"),
        ({"nested": 5}, "nested: struct inner takes a tuple of a, b, a dictionary, or 4 bytes, not int"),
        ({"nested": {"a": 1}}, "nested: struct inner needs b too"),
        ({"array": [1]}, r"array: u64\[3\] takes 3 values, not 1"),
        ({"minus": 2**63}, "minus: i64 holds"),
        ({"colour": 1}, r"struct value has no member colour; did you mean color\?"),
        ({"either": (1, [2, 2, 2, 2], (3, 3))}, "the readings of union either are of different bytes; give one"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_member(progs: LoadedObject, change: dict[str, Any], text: str) -> None:
    table = progs.maps["TABLE"]
    with pytest.raises(MapError, match=text) as caught:
        table[1, 2] = {**VALUE, **change}
    assert (caught.value.map, caught.value.errno) == ("TABLE", 22)
    assert len(table) == 0


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (1, "struct key takes a tuple of vm, port, a dictionary, or 6 bytes, not int"),
        (None, "not NoneType"),
        ("ab", "not str"),
        ((1,), r"struct key has 2 members \(vm, port\), got 1 values"),
        ((1, 2, 3), "got 3 values"),
        ((2**32, 0), "vm: u32 holds 0 to 4294967295, not 4294967296"),
        ((0, -1), "port: u16 holds 0 to 65535, not -1"),
        ({"vm": 1}, "needs port too"),
        (b"12345", "struct key has 6 bytes, not 5"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(progs: LoadedObject, key: object, text: str) -> None:
    with pytest.raises(MapError, match=f"TABLE: the key .*{text}"):
        progs.maps["TABLE"][key]


def test_raw_operations_name_both_lengths(progs: LoadedObject) -> None:
    table = progs.maps["TABLE"]
    with pytest.raises(MapError, match="the key has 3 bytes, this map's have 6"):
        table.lookup(b"abc")
    with pytest.raises(MapError, match=f"the value has 3 bytes, this map's have {table.value_size}"):
        table.update(bytes(6), b"abc")


def test_a_missing_key_is_a_key_error_and_a_map_error_with_enoent(progs: LoadedObject) -> None:
    table = progs.maps["TABLE"]
    for look in (lambda: table[9, 9], lambda: table.__delitem__((9, 9)), lambda: table.pop((9, 9))):
        with pytest.raises(KeyNotFound, match="no entry with the key") as caught:
            look()
        assert isinstance(caught.value, KeyError)
        assert isinstance(caught.value, MapError)
        assert isinstance(caught.value, OSError)
        assert (caught.value.errno, caught.value.map) == (2, "TABLE")
    assert table.get((9, 9), "default") == table.pop((9, 9), "default") == "default"
    assert (9, 9) not in table


def test_a_hash_is_a_mutable_mapping(progs: LoadedObject) -> None:
    recent = progs.maps["COLORS"]
    assert isinstance(recent, collections.abc.MutableMapping)
    for key, value in {1: 2, 2: 1, 7: 9}.items():
        recent[key] = value
    assert recent == {1: 2, 2: 1, 7: 9}
    assert recent != {1: 2, 2: 1, 7: 8}
    assert recent != {1: 2, 2: 1}
    assert recent != 5
    assert sorted(recent.keys()) == [1, 2, 7]
    assert sorted(recent.values()) == [1, 2, 9]
    assert recent.pop(7) == 9
    assert recent[1].name == "GREEN"
    assert {key.name for key in recent} == {"RED", "GREEN"}
    recent.clear()
    assert len(recent) == 0
    assert recent  # a map that is there is true, however empty
    with pytest.raises(TypeError):
        hash(recent)


def test_an_array_has_all_its_indices(progs: LoadedObject) -> None:
    array = progs.maps["ARRAY"]
    assert len(array) == 4
    array[1] = (5, 6)
    assert array == {0: (0, 0), 1: (5, 6), 2: (0, 0), 3: (0, 0)}
    assert (3 in array, 4 in array, -1 in list(array)) == (True, False, False)
    array.clear()
    assert array[1] == (0, 0)
    with pytest.raises(KeyNotFound):
        array[4]
    with pytest.raises(MapError, match="E2BIG"):
        array[4] = (1, 1)
    with pytest.raises(MapError, match="EINVAL"):
        del array[1]
    with pytest.raises(MapError, match="u32 holds 0 to"):
        array[-1]


def test_a_per_cpu_map_has_a_value_a_cpu(progs: LoadedObject) -> None:
    each = progs.maps["EACH"]
    for cpu, times in ((0, 2), (2, 3)):
        for _ in range(times):
            progs["count"].run(b"", cpu=cpu)
    assert each[0] == ((2, 0), (0, 0), (3, 0))
    assert isinstance(each[0], PerCpu)
    assert each[0].sum() == (5, 0)
    assert each.sum() == {0: (5, 0), 1: (0, 0)}
    each[1] = [(1, -1), (2, -2), (3, -3)]
    assert each[1].sum() == (6, -6)
    for wrong in ([(1, 1)], [(1, 1)] * 4, 5):
        with pytest.raises(MapError, match="this bench has 3 CPUs, got values for"):
            each[1] = wrong


def test_a_per_cpu_hash_with_text_keys(progs: LoadedObject) -> None:
    names = progs.maps["NAMES"]
    names["axe"] = [1, 2, 3]
    names[b"bpf"] = names["axe"]
    assert names == {b"axe": (1, 2, 3), b"bpf": (1, 2, 3)}
    assert names.sum() == {b"axe": 6, b"bpf": 6}
    assert names.lookup(b"axe".ljust(8, b"\0")) == b"".join(n.to_bytes(8, "little") for n in (1, 2, 3))
    with pytest.raises(MapError, match=r"longer than char\[8\]"):
        names["much too long"]


def test_an_lru_hash_drops_the_oldest(progs: LoadedObject) -> None:
    recent = progs.maps["RECENT"]
    for key in (1, 2, 3):
        recent[key] = key
    assert 3 in recent
    assert len(recent) <= 2


def test_numpy_agrees_with_the_dictionary(progs: LoadedObject) -> None:
    table, each, names = (progs.maps[name] for name in ("TABLE", "EACH", "NAMES"))
    dice = np.random.default_rng(3)
    for vm in range(5):
        nested = (int(dice.integers(0, 65536)), int(dice.integers(-128, 128)))
        table[vm, vm] = {**VALUE, "nested": nested, "comm": f"vm{vm}", "minus": -vm}
    keys, values = table.to_numpy()
    assert keys.dtype.names == ("vm", "port")
    for key, value in zip(keys, values, strict=True):
        entry = table[tuple(key.item())]
        assert tuple(value["nested"].item()) == entry.nested
        assert (value["comm"], value["minus"], value["array"].tolist()) == (entry.comm, entry.minus, entry.array)
    each[1] = [(1, -1), (2, -2), (3, -3)]
    assert each.to_numpy()[1]["b"].tolist() == [[0, 0, 0], [-1, -2, -3]]
    names["a"] = [1, 2, 3]
    assert [part.tolist() for part in names.to_numpy()] == [[b"a"], [[1, 2, 3]]]
    table[0, 0] = {**VALUE, "minus": 5}
    assert values["minus"][0] == 0  # a copy


def test_a_frozen_map_is_read_only_for_the_bench_and_not_for_programs(progs: LoadedObject) -> None:
    table = progs.maps["TABLE"]
    table.freeze()
    with pytest.raises(MapError, match="EPERM"):
        table[1, 2] = VALUE
    with pytest.raises(MapError, match="EPERM"):
        table.freeze()
    assert progs["fill"].run(b"").r0 == 0
    assert (7, 443) in table


# A ring buffer


def test_a_ring_buffer_gives_each_record_once_typed_or_as_bytes() -> None:
    bench = Bench()
    progs = bench.load(example("slow_exits.bpf.o"), rodata={"threshold_ns": 100})
    progs["on_exit"].attach()
    exits = bench.tracepoints["vmm:vcpu_run_exit"]
    ring = progs.maps["SLOW"]
    fire = {"vm_id": 1, "vcpu_id": 2, "exit_reason": 7}
    exits.fire(**fire, duration_ns=99, time_ns=4, cpu=1)
    exits.fire(**fire, duration_ns=100, time_ns=5, cpu=1)
    assert len(ring) == 1
    (raw,) = ring
    assert len(raw) == 32
    assert list(ring) == []
    exits.fire_many(**fire, duration_ns=[100, 200, 300], time_ns=[6, 7, 8], cpu=3)
    records = ring.typed("slow_exit").read()
    assert records == [(6, 100, 1, 2, 7, 3), (7, 200, 1, 2, 7, 3), (8, 300, 1, 2, 7, 3)]
    assert records[2].duration_ns == 300
    assert ring.consume() is None
    with pytest.raises(KeyError, match="has no type slow_exits"):
        ring.typed("slow_exits")


def test_a_full_ring_buffer_loses_what_comes_later() -> None:
    bench = Bench()
    progs = bench.load(example("slow_exits.bpf.o"), rodata={"threshold_ns": 0}, max_entries={"SLOW": 4096})
    progs["on_exit"].attach()
    rows = 200
    bench.tracepoints["vmm:vcpu_run_exit"].fire_many(vm_id=np.arange(rows), vcpu_id=0, exit_reason=0, duration_ns=0)
    kept = [record.vm_id for record in progs.maps["SLOW"].typed("slow_exit")]
    # 4096 bytes hold 102 records of 32 bytes with their headers of 8, and one byte of a full ring stays free.
    assert kept == list(range(102))
    assert progs.globals["dropped"] == rows - 102
