"""Tries of prefixes and bloom filters, as Python and programs see them, and batches of any map."""

from __future__ import annotations

import collections
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from axebpf import Bench, KeyNotFound, MapError
from axebpf.bench import LoadedObject
from axebpf.bloom_filter import BloomFilter
from axebpf.maps import Batch
from axebpf.prefix_map import PrefixMap

DATA = Path(__file__).parent / "data"
NO_PREALLOC = 1
EPERM, ENOENT, E2BIG, EINVAL, ENOSPC, EOPNOTSUPP, ENOTSUPP = 1, 2, 7, 22, 28, 95, 524


@pytest.fixture(scope="session")
def prefixes(compile_bpf: Callable[..., Path]) -> Path:
    return compile_bpf("prefixes", (DATA / "prefixes.c").read_text())


@pytest.fixture
def progs(prefixes: Path) -> LoadedObject:
    return Bench().load(prefixes)


def test_a_program_finds_the_longest_prefix_and_reaches_its_value(progs: LoadedObject) -> None:
    routes = progs.maps["ROUTES"]
    routes.update({"0.0.0.0/0": 1, "10.0.0.0/8": 2, "10.1.0.0/16": 3, "10.1.3.0/24": 4})
    assert progs["look"].run(b"").r0 == 0
    assert progs.globals["found"] == 3
    assert routes["10.1.0.0/16"] == 103
    assert progs.globals["answers"] == [-ENOENT, 0, 0, -EINVAL]


@pytest.mark.parametrize(
    "key",
    [
        "10.1.2.3/16",
        (16, bytes([10, 1, 2, 3])),
        (16, [10, 1, 2, 3]),
        {"prefixlen": 16, "address": bytes([10, 1, 2, 3])},
        bytes([16, 0, 0, 0, 10, 1, 2, 3]),
        ipaddress.ip_interface("10.1.2.3/16"),
    ],
)
def test_a_prefix_is_written_in_many_ways(progs: LoadedObject, key: object) -> None:
    routes = progs.maps["ROUTES"]
    routes[key] = 7
    assert routes.to_dict() == {(16, bytes([10, 1, 2, 3])): 7}
    (found,) = routes
    assert (found.prefixlen, found.address) == (16, bytes([10, 1, 2, 3]))
    assert routes["10.1.255.255"] == routes[ipaddress.ip_address("10.1.0.0")] == 7
    assert "10.2.0.0" not in routes
    del routes[16, bytes([10, 1, 9, 9])]
    assert len(routes) == 0


def test_keys_of_other_types_keep_their_members(progs: LoadedObject) -> None:
    pages = progs.maps["PAGES"]
    pages[32, 7, 0] = 70
    pages[96, 7, 0x1000] = 71
    assert pages[96, 7, 0x1000] == 71
    assert pages[96, 7, 0x2000] == 70
    assert dict(pages.items()) == {(96, 7, 0x1000): 71, (32, 7, 0): 70}
    with pytest.raises(MapError, match=r"IPv4 has 4 bytes of address, the keys of this map 12"):
        pages["10.0.0.0/8"]


def test_a_trie_is_a_mutable_mapping_in_linuxs_order(progs: LoadedObject) -> None:
    routes = progs.maps["ROUTES"]
    assert isinstance(routes, PrefixMap)
    assert isinstance(routes, collections.abc.MutableMapping)
    networks = ["192.168.0.0/16", "192.168.0.0/24", "192.168.128.0/24", "192.168.1.0/24"]
    for n, network in enumerate(networks):
        routes[network] = n
    # The order that Linux's documentation of the trie gives for these four.
    order = ["192.168.0.0/24", "192.168.1.0/24", "192.168.128.0/24", "192.168.0.0/16"]
    walked = [f"{ipaddress.ip_address(key.address)}/{key.prefixlen}" for key in routes]
    assert walked == order
    assert routes.lookup_batch(3).keys == [routes.next_key(), *routes.lookup_batch(2, routes.next_key()).keys]
    assert routes.pop("192.168.0.0/24") == 1
    with pytest.raises(KeyNotFound):
        del routes["192.168.0.0/24"]
    assert routes["192.168.0.1"] == 0
    routes.clear()
    assert dict(routes) == {}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("10.0.0.0/33", r"ROUTES: the key '10.0.0.0/33': .*33"),
        ("fd00::/8", "IPv6 has 16 bytes of address, the keys of this map 4"),
        ("host", "the key 'host': 'host' does not appear to be an IPv4 or IPv6"),
        ((8, b"\n"), "expected 4 bytes, got 1"),
        (8, "takes a tuple of prefixlen, address"),
    ],
)
def test_a_key_that_is_no_prefix_is_refused(progs: LoadedObject, key: object, text: str) -> None:
    with pytest.raises(MapError, match=text) as caught:
        progs.maps["ROUTES"][key] = 1
    assert caught.value.errno == EINVAL


def test_linuxs_errors_of_a_trie(progs: LoadedObject) -> None:
    routes = progs.maps["ROUTES"]
    with pytest.raises(MapError, match="EINVAL"):
        routes[33, bytes(4)] = 1
    for n in range(16):
        routes[32, bytes([0, 0, 0, n])] = n
    with pytest.raises(MapError, match="ENOSPC"):
        routes[32, bytes([0, 0, 0, 16])] = 1
    with pytest.raises(MapError, match="ENOTSUPP"):
        routes.lookup_and_delete(bytes(8))
    with pytest.raises(MapError, match="add BPF_F_NO_PREALLOC"):
        Bench().create_map("lpm_trie", 8, 8, 4)


def test_a_trie_made_by_hand_has_networks_for_keys() -> None:
    table = Bench().create_map("lpm_trie", 20, 8, 4, NO_PREALLOC)
    table["fd00::/8"] = 1
    table[0, bytes(16)] = 2
    assert (table["fd12::1"], table["::1"]) == (1, 2)
    keys, values = table.to_numpy()
    assert keys["prefixlen"].tolist() == [8, 0]
    assert values.tolist() == [1, 2]
    assert table.to_arrow().column_names == ["prefixlen", "data", "value"]
    assert "fd" in table._repr_html_()


def test_a_filter_knows_what_was_added(progs: LoadedObject) -> None:
    seen = progs.maps["SEEN"]
    assert isinstance(seen, BloomFilter)
    assert (seen.extra, (32, [10, 1, 2, 3]) in seen) == (3, False)
    assert progs["look"].run(b"").r0 == 0
    assert (32, [10, 1, 2, 3]) in seen
    seen.add((8, [1, 2, 3, 4]))
    assert (8, [1, 2, 3, 4]) in seen
    assert seen.contains(bytes([8, 0, 0, 0, 1, 2, 3, 4]))
    assert "no network" not in seen
    assert len(seen) == 2
    assert repr(seen) == "<BloomFilter SEEN: struct network, 1000 by 3 hash functions>"
    assert "2" in seen._repr_html_()


def test_linuxs_errors_of_a_filter() -> None:
    seen = Bench().create_map("bloom_filter", 0, 8, 10, name="SEEN")
    for call, name in {
        lambda: seen.lookup_and_delete(b""): "ENOTSUPP",
        seen.next_key: "EOPNOTSUPP|ENOTSUP",
        lambda: seen.push(bytes(8), 2): "EINVAL",
        lambda: seen.contains(bytes(8), 4): "EINVAL",
        lambda: seen.lookup_batch(1): "ENOTSUPP",
    }.items():
        with pytest.raises(MapError, match=rf"\((?:{name})\)"):
            call()
    with pytest.raises(MapError, match="the value has 7 bytes, this map's have 8"):
        seen.contains(bytes(7))
    with pytest.raises(MapError, match="SEEN: the value 'x'"):
        seen.add("x")
    with pytest.raises(MapError, match="at most 15"):
        Bench().create_map("bloom_filter", 0, 8, 10, extra=16)
    seen.freeze()
    with pytest.raises(MapError, match="EPERM"):
        seen.add(1)


# Batches


def key(n: int) -> bytes:
    return n.to_bytes(4, "little")


def test_a_walk_in_batches_goes_on_where_it_was() -> None:
    table = Bench().create_map("hash", 4, 4, 10)
    table.update_batch((key(n), key(n * n)) for n in range(7))
    first = table.lookup_batch(4)
    assert first == Batch([key(n) for n in range(4)], [key(n * n) for n in range(4)], first.next)
    assert first.next is not None
    table.delete_batch([key(3), key(5)])
    rest = table.lookup_batch(4, first.next)
    assert (rest.keys, rest.next) == ([key(4), key(6)], None)
    taken = table.lookup_and_delete_batch(100)
    assert (len(taken.keys), len(table)) == (5, 0)
    assert table.lookup_batch(3) == Batch([], [], None)


def test_a_batch_of_a_per_cpu_map_has_all_cpus() -> None:
    table = Bench(cpus=2).create_map("percpu_hash", 4, 4, 10)
    table[1] = [5, 6]
    assert table.lookup_batch(9).values == [key(5).ljust(8, b"\0") + key(6).ljust(8, b"\0")]


def test_a_batch_that_stops_says_how_far_it_came() -> None:
    table = Bench().create_map("hash", 4, 4, 2)
    with pytest.raises(MapError, match=r"after 2 of 3 \(E2BIG\)") as full:
        table.update_batch({key(n): key(n) for n in range(3)})
    assert (full.value.errno, full.value.done, len(table)) == (E2BIG, 2, 2)
    with pytest.raises(KeyNotFound, match="no entry with the key 09000000, after 1") as gone:
        table.delete_batch([key(0), key(9), key(1)])
    assert (gone.value.errno, gone.value.done, len(table)) == (ENOENT, 1, 1)


def test_linuxs_errors_of_batches() -> None:
    bench = Bench()
    array = bench.create_map("array", 4, 4, 2)
    read_only = bench.create_map("hash", 4, 4, 2, 1 << 3)
    refused = {
        lambda: array.delete_batch([key(0)]): ENOTSUPP,
        lambda: array.lookup_and_delete_batch(1): ENOTSUPP,
        lambda: array.update_batch({key(0): key(0)}, 1): EINVAL,
        lambda: array.lookup_batch(1, None, 4): EINVAL,
        lambda: array.lookup_batch(1, b"?"): EINVAL,
        lambda: array.update_batch({key(2): key(0)}): E2BIG,
        lambda: read_only.update_batch({}): EPERM,
        lambda: read_only.lookup_and_delete_batch(1): EPERM,
        lambda: bench.create_map("queue", 0, 4, 2).lookup_batch(1): ENOTSUPP,
    }
    for call, errno in refused.items():
        with pytest.raises(MapError) as caught:
            call()
        assert caught.value.errno == errno
    with pytest.raises(MapError, match="the key of entry 1 has 3 bytes, this map's have 4"):
        array.delete_batch([key(0), b"abc"])
    with pytest.raises(MapError, match="the value of entry 0 has 3 bytes, this map's have 4"):
        array.update_batch({key(0): b"abc"})


def test_values_go_back_and_forth_in_batches() -> None:
    bench = Bench(cpus=2)
    for kind, flags in {"array": 0, "percpu_array": 0, "hash": 0, "percpu_hash": 1, "lru_hash": 0}.items():
        table, copy = (bench.create_map(kind, 4, 12, 20, flags) for _ in range(2))
        value = bytes(len(table.lookup(bytes(4)) or bytes(12 if "percpu" not in kind else 32)))
        for n in range(20):
            table.update(key(n), bytes([n]) * len(value))
        start: bytes | None = None
        while (batch := table.lookup_batch(6, start)).keys:
            copy.update_batch(zip(batch.keys, batch.values, strict=True))
            if (start := batch.next) is None:
                break
        assert list(copy._entries()) == list(table._entries())
