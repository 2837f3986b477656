"""What the simulated hypervisor costs: events a second and peak memory of each workload, each in a process of its own.

    python benches/python/workloads.py [EVENTS [WORKLOAD...]]

First the stream alone is made, then another one is run on a bench without programs (statistics on, trace off).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import axebpf
from axebpf.hypervisor import WORKLOADS, workload

EVENTS = 10_000_000
KIB = 1 if sys.platform != "darwin" else 1024  # macOS counts bytes


def peak_mib() -> float:
    """The most memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB / 1024


def measure(name: str, events: int) -> dict[str, float]:
    """One workload in this process."""
    found = {"before": peak_mib()}
    start = time.perf_counter()
    made = sum(map(len, workload(name, events=events)))
    found |= {"events": made, "made": time.perf_counter() - start, "peak_made": peak_mib()}
    stream = workload(name, events=events)
    bench = axebpf.Bench(cpus=stream.cpus)
    start = time.perf_counter()
    bench.run(stream)
    return found | {"run": time.perf_counter() - start, "peak": peak_mib()}


def main() -> None:
    """Prints the table."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    print(f"{'':<12} {'':>11} {'made':>22} {'run on a bench':>24}")
    print(f"{'workload':<12} {'events':>11}" + f" {'s':>6} {'M/s':>5} {'peak MiB':>9}" * 2)
    for name in sys.argv[2:] or WORKLOADS:
        command = [sys.executable, __file__, "--one", name, str(events)]
        m = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        row = f"{name:<12} {m['events']:>11,}"
        for seconds, peak in ((m["made"], m["peak_made"]), (m["run"], m["peak"])):
            row += f" {seconds:>6.2f} {m['events'] / seconds / 1e6:>5.1f} {peak:>9.0f}"
        print(row)
    print(f"a process that has imported axebpf and NumPy: {m['before']:.0f} MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
