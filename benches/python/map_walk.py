"""What a walk of a whole hash takes from Python: `to_numpy` of a million entries, in ns an entry.

    python benches/python/map_walk.py

Keys and values have 8 bytes. CPU time of the thread, median of several rounds; the arrays are new in each. In the
second hash all values were replaced in no order, so that the walk meets memory in none. Needs a release build.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

import axebpf

ROUNDS = 9
ENTRIES = 1_000_000


def number(n: int) -> bytes:
    return n.to_bytes(8, "little")


def filled(bench: axebpf.Bench) -> Any:
    hash_map = bench.create_map("hash", 8, 8, ENTRIES)
    hash_map.update_batch((number(n), number(n)) for n in range(ENTRIES))
    return hash_map


def churned(bench: axebpf.Bench) -> Any:
    """All entries are replaced, in no order: each gets the memory of the one before."""
    hash_map = filled(bench)
    keys = [number(n) for n in random.Random(1).sample(range(ENTRIES), ENTRIES)]
    hash_map.update_batch((key, key) for key in keys)
    return hash_map


def walk_ns(hash_map: Any) -> float:
    """Median time of a walk over the rounds, an entry."""
    times = []
    for _ in range(ROUNDS):
        start = time.thread_time_ns()
        keys, values = hash_map.to_numpy()
        times.append((time.thread_time_ns() - start) / ENTRIES)
        assert len(keys) == len(values) == ENTRIES
    return statistics.median(times)


def main() -> None:
    with axebpf.Bench() as bench:
        for what, make in (("in order of insertion", filled), ("replaced in no order", churned)):
            print(f"to_numpy of {ENTRIES:,} entries, {what}: {walk_ns(make(bench)):.1f} ns an entry")


if __name__ == "__main__":
    main()
