"""Lengths and numbers that are wrong: the error names what was given and what was expected, whichever way they come."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from axebpf import Bench, MapError

CPUS = 2

KEY, VALUE = "the key has 3 bytes, this map's have 4", "the value has 5 bytes, this map's have 8"

WRONG: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "lookup": ("hash", lambda m: m.lookup(b"abc"), KEY),
    "update, key": ("hash", lambda m: m.update(b"abc", bytes(8), 0), KEY),
    "update, value": ("hash", lambda m: m.update(bytes(4), bytes(5), 0), VALUE),
    "delete": ("hash", lambda m: m.delete(b"abc"), KEY),
    "next_key": ("hash", lambda m: m.next_key(b"abc"), KEY),
    "lookup_and_delete": ("hash", lambda m: m.lookup_and_delete(b"abc"), KEY),
    "typed, key": ("hash", lambda m: m[b"abc"], "u32 has 4 bytes, not 3"),
    "typed, value": ("hash", lambda m: m.__setitem__(1, bytes(5)), "u64 has 8 bytes, not 5"),
    "a slice": ("array", lambda m: m.__setitem__(slice(0, 2), [1, bytes(5)]), "u64 has 8 bytes, not 5"),
    "all CPUs, raw": (
        "percpu_hash",
        lambda m: m.update(bytes(4), bytes(8), 0),
        "the value has 8 bytes, this map's have 16",
    ),
    "all CPUs, typed": (
        "percpu_hash",
        lambda m: m.__setitem__(1, bytes(8)),
        "the value has 8 bytes, this map's have 16: 8 for each CPU",
    ),
    "one of all CPUs": ("percpu_hash", lambda m: m.__setitem__(1, [1, bytes(5)]), "u64 has 8 bytes, not 5"),
    "one CPU": ("percpu_hash", lambda m: m.per_cpu(1).__setitem__(1, bytes(5)), "u64 has 8 bytes, not 5"),
    "a batch, key": (
        "hash",
        lambda m: m.update_batch({bytes(4): bytes(8), b"abc": bytes(8)}),
        "the key of entry 1 has 3 bytes, this map's have 4",
    ),
    "a batch, value": (
        "hash",
        lambda m: m.update_batch({bytes(4): bytes(5)}),
        "the value of entry 0 has 5 bytes, this map's have 8",
    ),
    "a batch to delete": ("hash", lambda m: m.delete_batch([b"abc"]), "the key of entry 0 has 3 bytes"),
    "where a batch begins": (
        "hash",
        lambda m: m.lookup_batch(1, b"abc"),
        "it begins at 616263, which no batch of this map has given as its next",
    ),
    "a queue": ("queue", lambda m: m.push(bytes(5)), "u64 has 8 bytes, not 5"),
    "a queue, raw": ("queue", lambda m: m.update(b"", bytes(5)), VALUE),
    "a queue with a key": ("queue", lambda m: m.lookup(b"abc"), "the key has 3 bytes, this map's have 0"),
    "a stack": ("stack", lambda m: m.append(bytes(5)), "u64 has 8 bytes, not 5"),
    "a filter": ("bloom_filter", lambda m: m.add(bytes(5)), "u64 has 8 bytes, not 5"),
    "a filter, raw": ("bloom_filter", lambda m: m.push(bytes(5)), VALUE),
    "a filter, asked": ("bloom_filter", lambda m: m.contains(bytes(5)), VALUE),
}

SIZES = {"hash": 4, "array": 4, "percpu_hash": 4, "queue": 0, "stack": 0, "bloom_filter": 0}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_length_is_refused_with_both(case: str) -> None:
    kind, use, text = WRONG[case]
    made = Bench(cpus=CPUS).create_map(kind, SIZES[kind], 8, 4, name="MADE")
    with pytest.raises(MapError) as refused:
        use(made)
    assert (refused.value.errno, refused.value.map) == (22, "MADE")
    assert text in str(refused.value)
    assert not any(made.values()) if kind == "array" else len(made) == 0


def test_what_has_no_type_is_bytes_of_the_maps_sizes() -> None:
    made = Bench().create_map("hash", 6, 12, 4)
    for key, value, text in [
        (bytes(5), bytes(12), "expected 6 bytes, got 5"),
        (bytes(6), bytes(13), "expected 12 bytes, got 13"),
        (1 << 48, bytes(12), "281474976710656 does not fit 6 bytes"),
        ("abcdef", bytes(12), "6 bytes takes bytes, not str"),
    ]:
        with pytest.raises(MapError, match=text):
            made[key] = value


@pytest.mark.parametrize(
    ("options", "number", "text"),
    [
        ({"key_size": -4}, errno.EINVAL, "key_size is -4; it takes 0 to 4294967295"),
        ({"max_entries": 1 << 32}, errno.EINVAL, "max_entries is 4294967296; it takes 0 to 4294967295"),
        ({"extra": -1}, errno.EINVAL, "extra is -1; it takes 0 to 18446744073709551615"),
        ({"extra": 1}, errno.EINVAL, "hash maps take no map_extra, found 0x1"),
        ({"type": "hash_of_maps", "inner": 5}, errno.EBADF, "inner is 5; it takes a map"),
    ],
)
def test_what_no_map_is_made_of(options: dict[str, Any], number: int, text: str) -> None:
    bench = Bench()
    with pytest.raises(MapError, match=text) as refused:
        bench.create_map(**{"type": "hash", "key_size": 4, "value_size": 4, "max_entries": 1} | options)
    assert refused.value.errno == number
    assert not bench.maps
