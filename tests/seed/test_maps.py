"""`axebpf.maps`: the seed's maps by number. A test that answers one of the seed's names it."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import axebpf
import pytest
from axebpf import Bench, KeyNotFound, LoadError, MapError, NotInitialized, maps
from axebpf.maps import MapDef, MapSizes, MapType

pytestmark = pytest.mark.usefixtures("default_bench")

NOEXIST, EXIST = 1, 2


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        (MapDef(MapType.ARRAY, 4, 8, 16), "array"),
        (MapDef(MapType.HASH_MAP, 8, 8, 64), "hash"),
        (MapDef(MapType.LRU_HASH, 8, 16, 32), "lru_hash"),
        (MapDef(MapType.QUEUE, 0, 8, 128), "queue"),
        (MapDef(MapType.RING_BUF, 0, 0, 4096), "ringbuf"),
        (MapDef("percpu_array", 4, 8, 16), "percpu_array"),
    ],
    ids=lambda value: str(getattr(value, "map_type", value)),
)
def test_created(default_bench: Bench, definition: MapDef, kind: str) -> None:
    """Seed: an array (4, 8, 16), a hash (8, 8, 64), an LRU hash (8, 16, 32), a queue (0, 8, 128) are made."""
    number = maps.create(definition)
    assert default_bench.maps.by_id[number].type == kind
    assert maps.get_map_sizes(number) == MapSizes(definition.key_size, definition.value_size)


@pytest.mark.parametrize(
    ("definition", "code"),
    [
        (MapDef(MapType.ARRAY, 8, 8, 16), errno.EINVAL),
        (MapDef(MapType.ARRAY, 4, 0, 16), errno.EINVAL),
        (MapDef(MapType.ARRAY, 4, 8, 0), errno.EINVAL),
        (MapDef(MapType.QUEUE, 4, 8, 16), errno.EINVAL),
        (MapDef(MapType.RING_BUF, 0, 0, 4097), errno.EINVAL),
        (MapDef("hsh", 4, 8, 16), errno.EINVAL),
        (MapDef(MapType.ARRAY, 4, 8, -1), errno.EINVAL),
    ],
)
def test_a_map_that_cannot_be(definition: MapDef, code: int) -> None:
    """Seed: an array with a key of 8 bytes is InvalidArgument. Seed: the other conditions of create."""
    with pytest.raises(MapError) as caught:
        maps.create(definition)
    assert caught.value.errno == code
    assert maps.count() == 0


def test_an_array_keeps_what_is_put_in() -> None:
    """Seed: array update and lookup of 12345."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 16))
    maps.update_elem(number, u32(3), u64(12345))
    assert maps.lookup_elem(number, u32(3)) == u64(12345)
    assert maps.lookup_elem(number, u32(4)) == u64(0)
    assert maps.lookup_elem(number, u32(16)) is None


def test_a_missing_key_of_a_hash() -> None:
    """Seed: lookup of a missing key is None."""
    assert maps.lookup_elem(maps.create(MapDef(MapType.HASH_MAP, 8, 8, 64)), u64(1)) is None


def test_a_deleted_key_is_gone() -> None:
    """Seed: None after delete. Deleting a missing key was Ok; the decision here is Linux's errors, ENOENT."""
    number = maps.create(MapDef(MapType.HASH_MAP, 8, 8, 64))
    maps.update_elem(number, u64(1), u64(100))
    maps.delete_elem(number, u64(1))
    assert maps.lookup_elem(number, u64(1)) is None
    with pytest.raises(KeyNotFound) as caught:
        maps.delete_elem(number, u64(1))
    assert caught.value.errno == errno.ENOENT


def test_an_entry_is_overwritten() -> None:
    """Seed: overwrite 100 by 200."""
    number = maps.create(MapDef(MapType.HASH_MAP, 8, 8, 64))
    for value in (100, 200):
        maps.update_elem(number, u64(1), u64(value))
    assert maps.iter_entries(number) == [(u64(1), u64(200))]


def test_an_index_beyond_the_array() -> None:
    """Seed: index 3 of an array of 2 is InvalidArgument; the decision here is Linux's errors, E2BIG."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 2))
    with pytest.raises(MapError) as caught:
        maps.update_elem(number, u32(3), u64(1))
    assert caught.value.errno == errno.E2BIG


def test_an_lru_hash_evicts() -> None:
    """Seed: the third insert into an LRU hash of 2 evicts key 0."""
    number = maps.create(MapDef(MapType.LRU_HASH, 8, 8, 2))
    for key in range(3):
        maps.update_elem(number, u64(key), u64(key))
    assert maps.lookup_elem(number, u64(0)) is None
    assert sorted(maps.iter_entries(number)) == [(u64(1), u64(1)), (u64(2), u64(2))]


def test_destroyed() -> None:
    """Seed: destroy is Ok, of 9999 it is NotFound; here the errno of a bad descriptor, EBADF."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 2))
    kept = maps.create(MapDef(MapType.ARRAY, 4, 8, 2))
    maps.destroy(number)
    assert maps.count() == 1
    uses: list[Callable[[int], object]] = [
        maps.destroy,
        maps.iter_entries,
        maps.get_map_sizes,
        lambda number: maps.lookup_elem(number, u32(0)),
        lambda number: maps.update_elem(number, u32(0), u64(0)),
        lambda number: maps.delete_elem(number, u32(0)),
    ]
    for wrong in (number, 9999):
        for use in uses:
            with pytest.raises(MapError, match=f"no map {wrong}: it was destroyed") as caught:
                use(wrong)
            assert caught.value.errno == errno.EBADF
    assert maps.lookup_elem(kept, u32(0)) == u64(0)


def test_keys_and_values_of_other_lengths() -> None:
    """Seed: an 8-byte key of an array is InvalidArgument, a 16-byte value into 8 too; a 4-byte value is Ok there.

    Here a value has the map's size, as bpf(2) copies exactly that; the decision is Linux's errors.
    """
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 2))
    for key, value in ((u64(0), u64(1)), (u32(0), bytes(16)), (u32(0), u32(1)), (b"", u64(1))):
        with pytest.raises(MapError) as caught:
            maps.update_elem(number, key, value)
        assert caught.value.errno == errno.EINVAL
    assert maps.lookup_elem(number, u32(0)) == u64(0)


def test_flags_of_an_update() -> None:
    """Seed: flags were ignored at first, and checked later; here as on Linux."""
    number = maps.create(MapDef(MapType.HASH_MAP, 8, 8, 64))
    with pytest.raises(MapError) as caught:
        maps.update_elem(number, u64(1), u64(1), EXIST)
    assert caught.value.errno == errno.ENOENT
    maps.update_elem(number, u64(1), u64(1), NOEXIST)
    with pytest.raises(MapError) as caught:
        maps.update_elem(number, u64(1), u64(2), NOEXIST)
    assert caught.value.errno == errno.EEXIST


def test_a_queue_is_filled_peeked_and_drained(default_bench: Bench) -> None:
    """Seed: a full queue is NoSpace, with BPF_EXIST it drops its oldest; it had no way to drain it."""
    number = maps.create(MapDef(MapType.QUEUE, 0, 8, 2))
    assert maps.lookup_elem(number, b"") is None
    for value in (1, 2):
        maps.update_elem(number, b"", u64(value))
    assert maps.lookup_elem(number, b"") == u64(1)
    with pytest.raises(MapError) as caught:
        maps.update_elem(number, b"", u64(3))
    assert caught.value.errno == errno.E2BIG
    maps.update_elem(number, b"", u64(3), EXIST)
    assert maps.iter_entries(number) == [(b"", u64(2)), (b"", u64(3))]
    queue = default_bench.maps.by_id[number]
    assert [queue.pop(), queue.pop(), len(queue)] == [2, 3, 0]


def test_an_array_iterates_over_all_indices() -> None:
    """Seed: 0 to n - 1."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 3))
    maps.update_elem(number, u32(1), u64(7))
    assert maps.iter_entries(number) == [(u32(0), u64(0)), (u32(1), u64(7)), (u32(2), u64(0))]
    with pytest.raises(MapError):
        maps.delete_elem(number, u32(1))


def test_maps_of_the_bench_have_numbers_too(default_bench: Bench) -> None:
    table = default_bench.create_map("hash", 4, 4, 8, name="mine")
    table[1] = 2
    assert maps.iter_entries(table.id) == [(u32(1), u32(2))]
    maps.destroy(table.id)
    assert "mine" not in default_bench.maps
    assert table[1] == 2
    with pytest.raises(LoadError, match="taken out of the bench"):
        default_bench.load_bytes(axebpf.assemble("r1 = map[0]\nr0 = 0\nexit"), maps={0: table})


def test_without_a_default_bench(default_bench: Bench) -> None:
    default_bench.close()
    for use in (maps.count, lambda: maps.create(MapDef(MapType.ARRAY, 4, 8, 2)), lambda: maps.destroy(0)):
        with pytest.raises(NotInitialized):
            use()


def test_all_of_the_registry_is_in_the_module() -> None:
    from axebpf import map_registry

    assert set(map_registry.__all__) == maps._BY_NUMBER
    for name in map_registry.__all__:
        assert getattr(maps, name) is getattr(map_registry, name)


def test_an_unknown_name_of_the_module_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"did you mean lookup_elem\?"):
        _ = maps.lookup_elm
