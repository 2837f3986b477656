"""Maps in a process that may not have much memory: Linux's errno, or ENOMEM, and never a dead process.

Each case runs in a process of its own, with a limit to its address space.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("resource", reason="limits of a process are Unix's")

MAX = (1 << 32) - 1

HEAD = """
import errno, resource
import axebpf
from axebpf import Bench, MapError

def limit(more):
    # What the process has by now, and so much more.
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))

def lift():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def name(call):
    try:
        call()
    except MapError as error:
        return errno.errorcode.get(error.errno, "ENOTSUPP")
    return "OK"
"""


def limited(body: str) -> str:
    """What a script prints whose process is given so much memory as it asks for itself."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the limit is told by /proc")
    script = textwrap.dedent(HEAD) + textwrap.dedent(body)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"exit {ran.returncode}: {ran.stderr}"
    return ran.stdout


SPECS = [
    # What Linux 6.18 answers with memory for all of them; where it says OK or ENOMEM, there is none here.
    ("array", 4, 8, MAX, 0, "ENOMEM"),
    ("array", 4, (1 << 31) - 1, 1, 0, "ENOMEM"),
    ("array", 4, 1 << 31, 1, 0, "E2BIG"),
    ("array", 4, 65536, 65536, 0, "ENOMEM"),
    ("array", 4, 4294967288, 1, 0, "E2BIG"),
    ("percpu_array", 4, 32768, 1 << 20, 0, "ENOMEM"),
    ("percpu_array", 4, 32769, 1, 0, "E2BIG"),
    ("hash", 8, 8, MAX, 0, "E2BIG"),
    ("hash", 8, 8, MAX, 1, "E2BIG"),
    ("hash", 8, 8, 1 << 28, 0, "ENOMEM"),
    ("hash", 8, 8, (1 << 28) + 1, 0, "E2BIG"),
    ("hash", 8, 4194304, 1, 0, "E2BIG"),
    ("hash", 8, 4194240, 1, 0, "OK"),
    ("hash", 8, 4194240, 1 << 20, 0, "ENOMEM"),
    ("hash", MAX, 8, 1, 0, "E2BIG"),
    ("hash", 1048576, 8, 1 << 20, 0, "ENOMEM"),
    ("percpu_hash", 8, 32768, 1 << 20, 0, "ENOMEM"),
    ("percpu_hash", 8, 32776, 1, 0, "E2BIG"),
    ("lru_hash", 8, 8, 1 << 28, 0, "ENOMEM"),
    ("lru_hash", 8, 8, MAX, 0, "E2BIG"),
    ("lru_percpu_hash", 8, 32768, 1 << 20, 0, "ENOMEM"),
    ("queue", 0, 8, MAX, 0, "ENOMEM"),
    ("queue", 0, 4194304, 1 << 12, 0, "ENOMEM"),
    ("queue", 0, 8388608, 1, 0, "E2BIG"),
    ("stack", 0, 8, MAX, 0, "ENOMEM"),
    ("ringbuf", 0, 0, 1 << 31, 0, "ENOMEM"),
    ("bloom_filter", 0, 8, MAX, 0, "ENOMEM"),
    ("bloom_filter", 0, 8388608, 1, 0, "E2BIG"),
    ("lpm_trie", 8, 8, MAX, 1, "OK"),
    ("lpm_trie", 8, 4194025, 1, 1, "EINVAL"),
    ("prog_array", 4, 4, MAX, 0, "ENOMEM"),
    ("perf_event_array", 4, 4, MAX, 0, "ENOMEM"),
]


@pytest.mark.parametrize("lru", ["exact", "linux"])
def test_what_cannot_be_had_is_an_errno(lru: str) -> None:
    found = limited(f"""
        bench = Bench(lru={lru!r})
        limit(256 << 20)
        for kind, key, value, entries, flags, _ in {SPECS!r}:
            print(kind, key, value, entries, flags, name(lambda: bench.create_map(kind, key, value, entries, flags)))
    """)
    assert found.splitlines() == [" ".join(map(str, spec)) for spec in SPECS]


GROWS = [
    # Kind, bytes of a key, of a value, flags.
    ("hash", 8, 1 << 20, 1),
    ("percpu_hash", 8, 32768, 1),
    ("lpm_trie", 8, 1 << 20, 1),
]


@pytest.mark.parametrize(("kind", "key_size", "value_size", "flags"), GROWS)
def test_growth_that_cannot_be_had_leaves_the_map_whole(kind: str, key_size: int, value_size: int, flags: int) -> None:
    limited(f"""
        bench = Bench(cpus=2)
        table = bench.create_map({kind!r}, {key_size}, {value_size}, 1 << 20, {flags})
        size = {value_size} * (2 if {kind!r} == "percpu_hash" else 1)

        def key(n):
            prefix = (32).to_bytes(4, "little") + n.to_bytes(4, "big")
            return prefix if {kind!r} == "lpm_trie" else n.to_bytes(8, "little")

        def value(n):
            return n.to_bytes(8, "little") * (size // 8)

        limit(256 << 20)
        full = None
        for n in range(1 << 20):
            try:
                table.update(key(n), value(n))
            except MapError as error:
                assert error.errno == errno.ENOMEM, error
                full = n
                break
        assert full is not None and full > 16, full
        # To look at it takes memory too.
        lift()
        for n in range(full):
            assert table.lookup(key(n)) == value(n), n
        assert table.lookup(key(full)) is None
        assert len(table) == full
        # What is given back can be had again.
        table.delete(key(3))
        table.update(key(full), value(full))
        assert table.lookup(key(full)) == value(full)
        assert table.lookup(key(3)) is None
        assert len(table) == full
    """)


def test_a_look_up_that_cannot_be_had_is_an_errno() -> None:
    found = limited("""
        bench = Bench()
        table = bench.create_map("array", 4, 256 << 20, 2)
        limit(64 << 20)
        print(name(lambda: table.lookup(bytes(4))))
        print(name(lambda: table.lookup_batch(2)))
        print(len(table))
    """)
    assert found.split() == ["ENOMEM", "ENOMEM", "2"]


KBPF = [
    # What kbpf-basic takes, and would panic or end the process at.
    ("array", 4, 8, MAX, "ENOMEM"),
    ("array", 4, 1 << 30, 1, "ENOMEM"),
    ("hash", 8, 4096, MAX, "OK"),
    ("hash", 8, 1 << 30, 1, "ENOMEM"),
    ("lru_hash", 8, 8, MAX, "ENOMEM"),
    ("queue", 0, 8, MAX, "ENOMEM"),
    ("ringbuf", 0, 0, 1 << 31, "ENOMEM"),
]


def test_maps_of_axvisor() -> None:
    found = limited(f"""
        bench = Bench(maps="kbpf")
        limit(256 << 20)
        for kind, key, value, entries, _ in {KBPF!r}:
            print(kind, key, value, entries, name(lambda: bench.create_map(kind, key, value, entries)))
    """)
    assert found.splitlines() == [" ".join(map(str, spec)) for spec in KBPF]


@pytest.mark.parametrize(("kind", "entries"), [("hash", MAX), ("lru_hash", 1 << 16), ("queue", 1 << 16)])
def test_growth_of_maps_of_axvisor(kind: str, entries: int) -> None:
    limited(f"""
        bench = Bench(maps="kbpf")
        table = bench.create_map({kind!r}, 0 if {kind!r} == "queue" else 8, 1 << 16, {entries})
        put = (lambda n: table.push(bytes(1 << 16))) if {kind!r} == "queue" else (
            lambda n: table.update(n.to_bytes(8, "little"), bytes(1 << 16)))
        limit(128 << 20)
        for n in range(1 << 14):
            try:
                put(n)
            except MapError as error:
                assert error.errno == errno.ENOMEM, error
                break
        else:
            raise AssertionError("there is no end to it")
        assert n > 500, n
        assert len(table) == n, (len(table), n)
    """)
