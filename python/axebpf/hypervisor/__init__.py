"""A simulated hypervisor: workloads that make the events that AxVisor would make.

The events of a workload depend on its parameters, its seed among them, and on nothing else: random numbers come from
NumPy's PCG64, one generator for each vCPU, seeded by (seed, VM, vCPU).

>>> stream = workload("boot", vms=1, duration_s=0.2)
>>> first = next(iter(stream))
>>> [first.names[k] for k in first.order[:4]]
['vmm:vmm_init', 'vmm:vhal_init', 'vmm:config_load', 'vmm:vm_create']
>>> first.columns["vmm:vm_create"]["memory_size"]
array([268435456], dtype=uint64)
"""

from __future__ import annotations

from axebpf.errors import HypervisorError, did_you_mean
from axebpf.hypervisor.workload import Chunk, Parameter, Stream, Workload
from axebpf.hypervisor.workloads import WORKLOADS

__all__ = ["WORKLOADS", "Chunk", "Parameter", "Stream", "Workload", "workload"]


def workload(name: str, **parameters: object) -> Stream:
    """The stream of events of a workload with these parameters.

    Raises HypervisorError for an unknown workload or parameter and for a value that a parameter does not take.

    >>> workload("boot", vms=9)
    Traceback (most recent call last):
    axebpf.errors.HypervisorError: vms is 9; boot takes 1 to 8
    """
    known = WORKLOADS.get(name)
    if known is None:
        near = did_you_mean(name, WORKLOADS) or f"; there is {', '.join(WORKLOADS)}"
        raise HypervisorError(f"no workload {name}{near}", workload=name)
    return known(**parameters)
