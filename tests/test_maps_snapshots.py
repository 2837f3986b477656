"""Snapshots of maps, and what changed between two of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, BenchClosed, KeyNotFound, MapError, NotFound, PerCpu
from axebpf.bench import LoadedObject
from axebpf.difference import Change
from axebpf.pytest_plugin.compare import explain
from axebpf.snapshot import Snapshot
from hypothesis import example, given
from hypothesis import strategies as st

CPUS = 3


@pytest.fixture
def progs(types: Path) -> LoadedObject:
    return Bench(cpus=CPUS).load(types)


def test_a_snapshot_stays_as_it_is_when_the_map_changes_and_the_bench_closes() -> None:
    with Bench() as bench:
        counts = bench.create_map("hash", 4, 8, 10, name="COUNTS")
        counts.update({1: 5, 2: 6})
        before = counts.snapshot()
        counts.update({1: 7, 3: 1})
        del counts[2]
        assert before != counts
        assert counts.snapshot() == counts == {1: 7, 3: 1}
    with pytest.raises(BenchClosed):
        counts.snapshot()
    assert before == {1: 5, 2: 6}
    assert (before.name, before.type, len(before), before[2], before.get(3), 3 in before) == (
        *("COUNTS", "hash", 2, 6),
        *(None, False),
    )
    with pytest.raises(KeyNotFound, match="COUNTS: no entry with the key 3"):
        before[3]
    with pytest.raises(TypeError):
        before[1] = 5  # type: ignore[index]
    assert repr(before) == "<Snapshot COUNTS: hash of u32 to u64, 2 entries>"


def test_a_snapshot_has_the_types_of_the_map_and_can_be_pickled(progs: LoadedObject) -> None:
    names, array, each = progs.maps["NAMES"], progs.maps["ARRAY"], progs.maps["EACH"]
    names["axe"] = [1, 2, 3]
    array[1] = (5, -5)
    each[1] = [(1, -1), (2, -2), (3, -3)]
    for live in (names, array, each):
        copy = live.snapshot()
        copy.get(1)  # what it looks up by is no part of it
        again = pickle.loads(pickle.dumps(copy))
        assert again == copy == live
        assert isinstance(again, Snapshot)
        assert (again.sum(), again.type) == (live.sum(), live.type)
        assert [part.tolist() for part in again.to_numpy()] == [part.tolist() for part in live.to_numpy()]
        assert again.to_arrow().equals(live.to_arrow())
    assert names.snapshot()["axe"] == PerCpu([1, 2, 3])
    assert array.snapshot()[1].b == -5


def test_what_came_went_and_changed_by_member_and_by_how_much(progs: LoadedObject) -> None:
    array, names = progs.maps["ARRAY"], progs.maps["NAMES"]
    names.update({"old": [1, 1, 1], "same": [2, 2, 2], "more": [3, 3, 3]})
    array[1] = (5, 5)
    before = names.snapshot(), array.snapshot()
    del names["old"]
    names.update({"new": [0, 0, 9], "more": [3, 13, 2]})
    array[1:3] = [(6, -5), (0, 1)]
    by_name = before[0].diff(names)
    assert by_name.added == {b"new": (0, 0, 9)}
    assert by_name.removed == {b"old": (1, 1, 1)}
    assert by_name.changed == {b"more": Change((3, 3, 3), (3, 13, 2))}
    assert by_name.changed[b"more"].delta == PerCpu([0, 10, -1])
    assert by_name.deltas == {b"new": (0, 0, 9), b"old": (-1, -1, -1), b"more": (0, 10, -1)}
    assert by_name.deltas[b"more"].sum() == 9
    by_index = array.snapshot() - before[1]
    assert (by_index.added, by_index.removed, len(by_index)) == ({}, {}, 2)
    assert by_index.changed[1].delta.b == -10
    assert by_index.deltas == {1: (1, -10), 2: (0, 1)}
    assert str(by_index) == "~ 1: a 5 -> 6 (+1), b 5 -> -5 (-10)\n~ 2: b 0 -> 1 (+1)"
    assert str(by_name) == ("+ b'new': (0, 0, 9)\n- b'old': (1, 1, 1)\n~ b'more': cpu1 3 -> 13 (+10), cpu2 3 -> 2 (-1)")
    assert repr(by_name) == "<Diff NAMES: 1 added, 1 removed, 1 changed>"


entries = st.dictionaries(st.integers(0, 6), st.integers(0, 3), max_size=6)


@given(old=entries, new=entries)
def test_a_difference_turns_one_into_the_other(old: dict[int, int], new: dict[int, int]) -> None:
    table = Bench().create_map("hash", 4, 8, 10)
    table.update(old)
    before = table.snapshot()
    table.clear()
    table.update(new)
    diff = before.diff(table.snapshot())
    built = {key: value for key, value in old.items() if key not in diff.removed} | diff.added
    for key, (was, now) in diff.changed.items():
        assert old[key] == was
        built[key] = now
    assert built == new
    assert bool(diff) == (old != new)
    assert len(diff) == sum(old.get(key) != new.get(key) for key in old.keys() | new.keys())
    assert all(new.get(key, 0) - old.get(key, 0) == delta for key, delta in diff.deltas.items())


def test_text_has_no_delta(progs: LoadedObject) -> None:
    table = progs.maps["TABLE"]
    progs["fill"].run(b"")
    before = table.snapshot()
    whole = table[7, 443]
    table[7, 443] = whole._replace(comm=b"other", minus=9)
    diff = before.diff(table)
    delta = diff.changed[7, 443].delta
    assert (delta.comm, delta.minus, delta.nested, delta.array) == (None, 10, (0, 0), [0, 0, 0])
    assert str(diff) == "~ key(vm=7, port=443): comm b'guest' -> b'other', minus -1 -> 9 (+10)"


def test_padding_is_no_difference(compile_bpf: Callable[..., Path]) -> None:
    text = """
    struct value { __u64 count; __u8 last; };
    struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32);
             __type(value, struct value); } PADDED SEC(".maps");
    SEC("tracepoint") int nothing(void *ctx) { return 0; }
    """
    padded = Bench().load(compile_bpf("padded", text)).maps["PADDED"]
    padded.update(bytes(4), bytes([1, *[0] * 7, 2, *[0] * 7]))
    before = padded.snapshot()
    padded.update(bytes(4), bytes([1, *[0] * 7, 2, *[9] * 7]))
    assert not before.diff(padded)
    assert before == padded.snapshot()


def test_a_key_may_hold_an_array(compile_bpf: Callable[..., Path]) -> None:
    text = """
    struct key { __u16 parts[2]; __u32 vm; };
    struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, struct key);
             __type(value, __u32); } BY_PARTS SEC(".maps");
    SEC("tracepoint") int nothing(void *ctx) { return 0; }
    """
    table = Bench().load(compile_bpf("by_parts", text)).maps["BY_PARTS"]
    before = table.snapshot()
    table[[1, 2], 3] = 5
    assert table == {((1, 2), 3): 5}
    assert table.to_dict()[(1, 2), 3] == table[(1, 2), 3] == 5
    assert before.diff(table).added == {((1, 2), 3): 5}


def test_only_snapshots_of_one_type_have_a_difference(progs: LoadedObject) -> None:
    maps = progs.maps
    array = maps["ARRAY"].snapshot()
    with pytest.raises(TypeError, match="ARRAY has values of struct inner, map0 of u64"):
        array.diff(Bench().create_map("array", 4, 8, 4).snapshot())
    with pytest.raises(TypeError, match="ARRAY has keys of u32, NAMES of"):
        array.diff(maps["NAMES"])
    with pytest.raises(TypeError, match="ARRAY is of type array, QUEUE of type queue"):
        array.diff(maps["QUEUE"])
    with pytest.raises(TypeError, match="QUEUE is of type queue, STACK of type stack"):
        maps["QUEUE"].snapshot().diff(maps["STACK"])
    one, two = (Bench(cpus=cpus).create_map("percpu_array", 4, 8, 4, name=f"C{cpus}") for cpus in (1, 2))
    with pytest.raises(TypeError, match="C1 has values for 1 CPUs, C2 for 2"):
        one.snapshot().diff(two)
    with pytest.raises(TypeError, match="unsupported operand"):
        array - 5
    with pytest.raises(TypeError, match="ARRAY is compared with a snapshot or a map, not with dict"):
        array.diff({})


# Queues and stacks

values = st.lists(st.integers(0, 2), max_size=5)


@pytest.mark.parametrize("kind", ["queue", "stack"])
@given(first=values, taken=st.integers(0, 5), pushed=values)
@example(first=[0, 0, 0], taken=1, pushed=[])
@example(first=[1, 0, 1, 0, 0], taken=2, pushed=[1])
def test_a_queues_difference_is_no_more_than_what_was_done(
    kind: str, first: list[int], taken: int, pushed: list[int]
) -> None:
    made: Any = Bench().create_map(kind, 0, 4, 20)
    made.extend(first)
    before = made.snapshot()
    done = [made.pop() for _ in range(min(taken, len(first)))]
    made.extend(pushed)
    diff = made.snapshot() - before
    assert len(diff) <= len(done) + len(pushed)
    # Doing what it says gives the same.
    again: Any = Bench().create_map(kind, 0, 4, 20)
    again.extend(first)
    assert [again.pop() for _ in diff.removed] == diff.removed
    again.extend(diff.added if kind == "queue" else reversed(diff.added))
    assert again == made
    assert bool(diff) == (before != made.snapshot())


def test_a_queues_snapshot_is_a_sequence(progs: LoadedObject) -> None:
    queue = progs.maps["QUEUE"]
    queue.extend([(1, 1), (2, 2)])
    before = queue.snapshot()
    queue.pop()
    queue.append((3, 3))
    assert before == [(1, 1), (2, 2)]
    assert (before[0].a, before[-1], before[1:], len(before)) == (1, (2, 2), [(2, 2)], 2)
    assert pickle.loads(pickle.dumps(before)) == before
    diff = before.diff(queue)
    assert (diff.removed, diff.added, str(diff)) == ([(1, 1)], [(3, 3)], "- inner(a=1, b=1)\n+ inner(a=3, b=3)")


# All maps of a bench


def test_a_bench_says_what_changed_in_its_maps(progs: LoadedObject, types: Path) -> None:
    bench = progs["count"]._bench
    before = bench.snapshot()
    assert set(before) == {name for name in progs.maps if name != "license"}
    progs["count"].run(b"", cpu=2)
    progs["fill"].run(b"")
    progs["read"].run(b"")
    progs.maps["QUEUE"].append((1, 2))
    changed = bench.snapshot() - before
    assert set(changed) == {"EACH", "TABLE", "QUEUE", ".bss"}
    assert changed["EACH"].deltas == {0: ((0, 0), (0, 0), (1, 0))}
    assert changed[".bss"].changed[0].delta.low == 17
    assert changed["QUEUE"].added == [(1, 2)]
    assert "EACH:\n  ~ 0: cpu2.a 0 -> 1 (+1)" in str(changed)
    with pytest.raises(NotFound, match="no change in a map EAHC; did you mean EACH"):
        changed["EAHC"]
    with pytest.raises(NotFound, match="no map TABEL; did you mean TABLE"):
        before["TABEL"]
    assert not bench.snapshot() - bench.snapshot()
    bench.create_map("ringbuf", 0, 0, 4096, name="RING")
    bench.create_map("hash", 4, 4, 4, 1 << 4, name="HIDDEN")
    made = bench.create_map("hash", 4, 4, 4, name="TABLE")
    assert bench.snapshot().diff(before).gone == (before.diff(bench.snapshot())).made == [f"TABLE#{made.id}"]
    for difference, sign in ((bench.snapshot() - before, "+"), (before - bench.snapshot(), "-")):
        assert f"<td>{sign}</td><td>TABLE#{made.id}</td>" in difference._repr_html_()
        assert repr(difference) == f"<Diffs TABLE, EACH, QUEUE, .bss, {sign}TABLE#{made.id}>"


def test_what_cannot_be_read_without_taking_has_no_snapshot() -> None:
    bench = Bench()
    kinds = {"ringbuf": (0, 0, 4096), "bloom_filter": (0, 8, 10), "perf_event_array": (4, 4, 4)}
    for kind, sizes in kinds.items():
        with pytest.raises(MapError, match=rf"a {kind} has no snapshot: .* \(ENOTSUPP\)"):
            bench.create_map(kind, *sizes).snapshot()
    with pytest.raises(MapError, match=r"a bloom_filter cannot be emptied; make another one \(ENOTSUPP\)"):
        bench.create_map("bloom_filter", 0, 8, 10).clear()


def test_maps_in_a_snapshot_are_numbers() -> None:
    bench = Bench()
    inner = bench.create_map("array", 4, 8, 4)
    outer = bench.create_map("hash_of_maps", 4, 4, 4, inner=inner)
    outer[7] = inner
    assert outer.snapshot() == {7: inner.id}


# In tests


def test_an_assertion_about_a_snapshot_says_what_differs(progs: LoadedObject) -> None:
    array = progs.maps["ARRAY"]
    array[1] = (5, 5)
    before = array.snapshot()
    array[1] = (6, 5)
    assert explain(array.snapshot(), before) == [f"{array.snapshot()!r} == {before!r}", "[1].a is 6, expected 5"]
    assert explain(array, before) == [f"{array!r} == {before!r}", "[1].a is 6, expected 5"]
    assert (explain(before, {1: (5, 5)}) or [])[1:] == ["3 zeros not expected: an array has every index from 0 to 3"]
    queue = progs.maps["QUEUE"]
    queue.append((1, 1))
    assert (explain(queue.snapshot(), [(2, 1)]) or [])[1:] == ["[0].a is 1, expected 2"]
