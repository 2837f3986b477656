"""What the report says that Linux refuses, asked of the running kernel."""

from __future__ import annotations

import os
import struct

import kernel
import pytest
from axebpf import Bench, assemble

UNAVAILABLE = kernel.why_unavailable()

pytestmark = pytest.mark.skipif(UNAVAILABLE is not None, reason=str(UNAVAILABLE))

UNSPECIFIED = 0
"""The type that libbpf has for a section that names none of Linux's."""

TYPES = {
    "tracepoint": kernel.ProgType.TRACEPOINT,
    "raw_tracepoint": kernel.ProgType.RAW_TRACEPOINT,
    "kprobe": kernel.ProgType.KPROBE,
    "perf_event": kernel.ProgType.PERF_EVENT,
    "xdp": kernel.ProgType.XDP,
    "axvisor": UNSPECIFIED,
    "mem": UNSPECIFIED,
}

OWN_HELPER = struct.pack("<BBhi", 0x85, 0, 0, 0x10000) + assemble("exit")

PROGRAMS = [
    *((assemble("r0 = 0\nexit"), type) for type in TYPES),
    *((assemble(f"call h#{id}\nr0 = 0\nexit"), type) for id in (100, 101, 102) for type in ("tracepoint", "kprobe")),
    (assemble("r3 = 8\ncallx r3\nr0 = 0\nexit"), "tracepoint"),
    (OWN_HELPER, "tracepoint"),
]


@pytest.mark.parametrize(("code", "type"), PROGRAMS)
def test_linux_refuses_what_the_report_refuses(code: bytes, type: str) -> None:
    bench = Bench()
    bench.helper("u64 own()", id=0x10000)(lambda: 0)
    report = bench.load_bytes(code, type=type).portability["linux"]
    try:
        descriptor, _ = kernel.prog_load(TYPES[type], code)
    except kernel.VerifierRefused:
        assert report.verdict == "refused"
    else:
        os.close(descriptor)
        # These are so short that nothing but a refusal of the table could be known.
        assert report.verdict == "unknown", report
