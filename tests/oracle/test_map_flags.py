"""Flags of operations on maps: what the running kernel does not know, a bench refuses too, and says which it knows."""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable

import kernel
import pytest
from axebpf import Bench, MapError
from kernel import MapType

pytestmark = pytest.mark.usefixtures("root_bpf")

KINDS = {
    "hash": (MapType.HASH, 4, 8, 4, 0),
    "array": (MapType.ARRAY, 4, 8, 4, 0),
    "lru_hash": (MapType.LRU_HASH, 4, 8, 4, 0),
    "lpm_trie": (MapType.LPM_TRIE, 8, 8, 4, 1),
    "queue": (MapType.QUEUE, 0, 8, 4, 0),
    "stack": (MapType.STACK, 0, 8, 4, 0),
    "bloom_filter": (MapType.BLOOM_FILTER, 0, 8, 4, 0),
}
FLAGS = [*range(10), 16, 1 << 32, 1 << 63]


def answer(call: Callable[[], object]) -> tuple[int, str]:
    """The errno, 0 for none, and what was said."""
    try:
        call()
    except OSError as error:
        return error.errno or 0, str(error)
    return 0, ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", FLAGS)
def test_unknown_flags_of_an_update(kind: str, flags: int) -> None:
    type, *sizes = KINDS[kind]
    key = bytes(sizes[0])
    with kernel.descriptors() as fds:
        fds.append(kernel.map_create(type, *sizes))
        expected, _ = answer(lambda: kernel.map_update(fds[0], key or None, bytes(8), flags))
    ours = Bench().create_map(kind, *sizes)
    found, text = answer(lambda: ours.update(key, bytes(8), flags))
    assert found == expected
    said = re.search(r"unknown flags (\w+): an update of (\w+) maps takes (.*) \(EINVAL\)", text)
    if said is not None:
        assert (int(said[1], 16), said[2]) == (flags, kind)
        known = [int(number) for number in re.findall(r"BPF_\w+ \((\d+)\)", said[3])]
        assert flags not in known
    elif found == errno.EINVAL:
        assert "BPF_F_LOCK (4) is for values that have a bpf_spin_lock" in text


@pytest.mark.parametrize("kind", ["hash", "array", "lpm_trie"])
@pytest.mark.parametrize("flags", FLAGS)
def test_unknown_flags_of_a_look_up(kind: str, flags: int) -> None:
    type, *sizes = KINDS[kind]
    key = bytes(sizes[0])
    with kernel.descriptors() as fds:
        fds.append(kernel.map_create(type, *sizes))
        kernel.map_update(fds[0], key, bytes(8))
        expected, _ = answer(lambda: kernel.map_lookup(fds[0], key, 8, flags))
    ours = Bench().create_map(kind, *sizes)
    ours.update(key, bytes(8), 0)
    found, text = answer(lambda: ours.lookup(key, flags))
    assert found == expected
    assert (found == errno.EINVAL) == ("takes BPF_ANY (0)" in text or "bpf_spin_lock" in text)


@pytest.mark.parametrize("kind", KINDS)
def test_flags_that_the_refusal_of_others_names_are_known(kind: str) -> None:
    _, *sizes = KINDS[kind]
    key = bytes(sizes[0])
    ours = Bench().create_map(kind, *sizes)
    with pytest.raises(MapError) as refused:
        ours.update(key, bytes(8), 64)
    for flags in map(int, re.findall(r"BPF_\w+ \((\d+)\)", str(refused.value))):
        found, _ = answer(functools.partial(ours.update, key, bytes(8), flags))
        assert found != errno.EINVAL
