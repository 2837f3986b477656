"""The program that most tests of batches run: it counts events by VM, atomically."""

from __future__ import annotations

from typing import Any

from axebpf import Bench, assemble

COUNT = """
    r6 = *(u32 *)(r1 +8)
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


def counting(bench: Bench, kind: str = "array", max_entries: int = 128) -> Any:
    """A map in which a program counts the events of vmm:vm_boot by VM."""
    counts = bench.create_map(kind, 4, 8, max_entries, name="counts")
    bench.load_bytes(assemble(COUNT), type="tracepoint", maps={0: counts}).attach("vmm:vm_boot")
    return counts
