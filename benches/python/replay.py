"""How fast recordings are replayed: million lines a second, median of several rounds.

    python benches/python/replay.py

The text is the recording of a guest in `tests/data/recordings`, repeated, and one of entries and exits alone; the table
has the same exits. Reading a file includes the first look through it, in which its events and CPUs are counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import axebpf
from axebpf.examples import example

ROUNDS = 5
LINES = 1_000_000
GUEST = Path(__file__).parents[2] / "tests" / "data" / "recordings" / "guest.trace_pipe.txt"


def exits() -> bytes:
    """Entries and exits of four vCPUs in turn."""
    line = "       CPU {0}/KVM-{1}   [00{0}] d..1. {2}.{3:06}: kvm_{4}\n"
    end = "info1 0x0000000000000000 info2 0x0000000000000000 intr_info 0x00000000 error_code 0x00000000"
    texts = [
        ("entry", "vcpu {0}, rip 0xffffffff81a0b7c2"),
        ("exit", f"vcpu {{0}} reason HLT rip 0xffffffff81a0b7c2 {end}"),
    ]
    lines = []
    for n in range(10_000):
        cpu, (event, text) = n // 2 % 4, texts[n % 2]
        lines.append(line.format(cpu, 4000 + cpu, 100 + n // 1000, n % 1000, f"{event}: {text.format(cpu)}"))
    return "".join(lines).encode()


def table() -> bytes:
    """Exits as a table."""
    rows = [f"vcpu_run_exit,{n},{n % 4},1,{n % 4},{n % 16},{n * 7}" for n in range(10_000)]
    return "\n".join(rows).encode() + b"\n"


def rate(path: Path, lines: int, program: bool) -> float:
    """Million lines a second."""
    seconds = []
    for _ in range(ROUNDS):
        bench = axebpf.Bench(cpus=4)
        if program:
            bench.load(example("exits.bpf.o")).attach()
        start = time.perf_counter()
        bench.replay(path)
        seconds.append(time.perf_counter() - start)
    return lines / statistics.median(seconds) / 1e6


def main() -> None:
    """Prints the table."""
    head = b"event,time_ns,cpu,vm_id,vcpu_id,exit_reason,duration_ns\n"
    sources = [
        ("guest, all of kvm", b"", GUEST.read_bytes()),
        ("entries and exits", b"", exits()),
        ("table", head, table()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, first, piece in sources:
            path = Path(folder) / "recording"
            times = -(-LINES // piece.count(b"\n"))
            path.write_bytes(first + piece * times)
            lines, size = times * piece.count(b"\n"), path.stat().st_size / 1e6
            none, counted = rate(path, lines, program=False), rate(path, lines, program=True)
            print(f"{name:<18} {size:6.0f} MB  {none:5.2f} million lines/s, {counted:5.2f} with exits.bpf.o")


if __name__ == "__main__":
    main()
