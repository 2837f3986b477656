"""Batches of maps of maps and program arrays from Python.

What Linux answers is compared with the running kernel in `rust/core/tests/map_oracle`.
"""

from __future__ import annotations

import errno

import pytest
from axebpf import Bench, MapError
from axebpf.maps import Batch, Map


def raw(number: int) -> bytes:
    return number.to_bytes(4, "little")


def of_maps(kind: str) -> tuple[Map, list[Map]]:
    """A map of maps and two maps that may be in it."""
    bench = Bench()
    inner = [bench.create_map("array", 4, 8, 4, name=name) for name in "AB"]
    return bench.create_map(kind, 4, 4, 8, inner=inner[0]), inner


@pytest.mark.parametrize("kind", ["array_of_maps", "hash_of_maps"])
def test_batches_of_maps_have_their_numbers(kind: str) -> None:
    outer, (a, b) = of_maps(kind)
    outer.update_batch({raw(0): raw(a.id), raw(3): raw(b.id), raw(5): raw(a.id)})
    assert dict(outer.items()) == {0: a, 3: b, 5: a}  # type: ignore[attr-defined]
    first = outer.lookup_batch(2)
    rest = outer.lookup_batch(2, first.next)
    assert dict(zip(first.keys + rest.keys, first.values + rest.values, strict=True)) == {
        raw(0): raw(a.id),
        raw(3): raw(b.id),
        raw(5): raw(a.id),
    }
    assert rest.next is None


def test_entries_of_a_hash_of_maps_are_taken_and_deleted_in_batches() -> None:
    outer, (a, b) = of_maps("hash_of_maps")
    outer.update_batch({raw(n): raw(a.id) for n in range(4)})
    outer.delete_batch([raw(1), raw(2)])
    outer.update_batch([(raw(0), raw(b.id))])
    taken = outer.lookup_and_delete_batch(9)
    assert dict(zip(taken.keys, taken.values, strict=True)) == {raw(0): raw(b.id), raw(3): raw(a.id)}
    assert (len(outer), outer.lookup_batch(9)) == (0, Batch([], [], None))


@pytest.mark.parametrize("kind", ["array_of_maps", "hash_of_maps"])
def test_a_batch_stops_at_what_does_not_belong_there_and_says_why(kind: str) -> None:
    outer, (a, _) = of_maps(kind)
    for number, error, why in [(999, errno.EBADF, ""), (outer.id, errno.EINVAL, "this map takes maps with array")]:
        with pytest.raises(MapError) as caught:
            outer.update_batch([(raw(0), raw(a.id)), (raw(1), raw(number)), (raw(2), raw(a.id))])
        assert (caught.value.errno, caught.value.done) == (error, 1)
        assert why in str(caught.value)
        assert "after 1 of 3" in str(caught.value)
    assert len(outer) == 1


def test_arrays_of_maps_programs_and_events_lack_what_they_lack_on_linux() -> None:
    outer, _ = of_maps("array_of_maps")
    bench = Bench()
    programs, events = bench.create_map("prog_array", 4, 4, 4), bench.create_map("perf_event_array", 4, 4, 4)
    reads, writes = ["lookup_batch", "lookup_and_delete_batch"], ["update_batch", "delete_batch"]
    cases = [(outer, "lookup_and_delete_batch"), (outer, "delete_batch")]
    cases += [(table, name) for table in (programs, events) for name in reads + writes]
    arguments = {"update_batch": {raw(0): raw(0)}, "delete_batch": [raw(0)]}
    for table, name in cases:
        with pytest.raises(MapError) as caught:
            getattr(table, name)(arguments.get(name, 1))
        assert caught.value.errno == 524, (table, name)
