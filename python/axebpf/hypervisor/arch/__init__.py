"""What differs between architectures, as data: exits, rates, latencies, devices, interrupts, memory.

>>> sorted(ARCHITECTURES)
['aarch64', 'riscv64', 'x86_64']
>>> Cause.HALT in ARCHITECTURES["aarch64"].reasons, Cause.HALT in ARCHITECTURES["riscv64"].reasons
(False, True)
"""

from __future__ import annotations

from collections.abc import Mapping

from axebpf.hypervisor.arch.aarch64 import AARCH64
from axebpf.hypervisor.arch.model import Architecture, Cause, Inner, Phase
from axebpf.hypervisor.arch.riscv64 import RISCV64
from axebpf.hypervisor.arch.x86_64 import X86_64

__all__ = ["ARCHITECTURES", "Architecture", "Cause", "Inner", "Phase"]

ARCHITECTURES: Mapping[str, Architecture] = {arch.name: arch for arch in (AARCH64, X86_64, RISCV64)}
"""By the name that a workload's `arch` parameter takes."""
