"""What firing events from Python costs: ratios and rates of one run, best of several rounds.

    python benches/python/fire.py

`fire` is compared with the call of an empty Python function with the same four keywords; `fire_many` is in events a
second. The counting program looks up its entry of an array by exit reason and adds one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import timeit
from collections.abc import Callable

import axebpf
import numpy as np

ROUNDS = 7
CALLS = 200_000
ROWS = 2_000_000
COUNTING = """
    r6 = *(u32 *)(r1 +16)
    r1 = map[0]
    *(u32 *)(r10 -4) = r6
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    w1 = 1
    lock *(u64 *)(r0 +0) += r1
out:
    w0 = 0
    exit
"""


def empty(*, vm_id: int, vcpu_id: int, exit_reason: int, duration_ns: int) -> None:
    """The yardstick."""


def per_call(function: Callable[[], object]) -> float:
    """Nanoseconds of one call, the loop round it included."""
    return min(timeit.repeat(function, number=CALLS, repeat=ROUNDS)) / CALLS * 1e9


def bench_with(program: str | None) -> axebpf.Bench:
    """A bench with a program at `vmm:vcpu_run_exit`."""
    bench = axebpf.Bench()
    counts = bench.create_map("array", 4, 8, 16, name="counts")
    if program is not None:
        code = axebpf.assemble(program)
        bench.load_bytes(code, type="tracepoint", maps={0: counts}).attach("vmm:vcpu_run_exit")
    return bench


def main() -> None:
    """Prints the table."""
    loop = per_call(lambda: None)
    yardstick = per_call(lambda: empty(vm_id=1, vcpu_id=2, exit_reason=3, duration_ns=4)) - loop
    print(f"empty function with four keywords  {yardstick:7.1f} ns")
    reasons = np.arange(ROWS, dtype=np.uint32) % 16
    columns = {
        "vm_id": np.ones(ROWS, np.uint32),
        "vcpu_id": np.zeros(ROWS, np.uint32),
        "exit_reason": reasons,
        "duration_ns": np.arange(ROWS, dtype=np.uint64),
    }
    for name, program in [("no program", None), ("empty program", "w0 = 0\nexit"), ("counting program", COUNTING)]:
        exits = bench_with(program).tracepoints["vmm:vcpu_run_exit"]
        one = per_call(lambda exits=exits: exits.fire(vm_id=1, vcpu_id=2, exit_reason=3, duration_ns=4)) - loop
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            exits.fire_many(**columns)
            seconds.append(time.perf_counter() - start)
        many = ROWS / sorted(seconds)[ROUNDS // 2] / 1e6
        print(f"{name:<18} fire {one:7.1f} ns, {one / yardstick:5.2f} x; fire_many {many:6.1f} million events/s")
    times = []
    # As for users, who have bytecode from the second import on: the first one, which writes it, counts as one of many.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(ROUNDS):
        command = [sys.executable, "-X", "importtime", "-c", "import axebpf"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stderr.splitlines()
        times.append(int(lines[-1].split("|")[1]) / 1000)
    print(f"import axebpf      {sorted(times)[ROUNDS // 2]:.1f} ms (median)")


if __name__ == "__main__":
    main()
