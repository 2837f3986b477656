"""A simulated hypervisor: workloads that make the events that AxVisor would make, and workloads of one's own.

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
from axebpf.hypervisor.arch import ARCHITECTURES
from axebpf.hypervisor.own import Events, Range, define
from axebpf.hypervisor.workload import Chunk, Parameter, Stream, Workload
from axebpf.hypervisor.workloads import WORKLOADS

__all__ = [
    "ARCHITECTURES",
    "WORKLOADS",
    "Chunk",
    "Events",
    "Parameter",
    "Range",
    "Stream",
    "Workload",
    "define",
    "workload",
]


def workload(what: str | Workload | Stream, **parameters: object) -> Stream:
    """The stream of events of a workload with these parameters; `what` is the name of one, or one of your own.

    A stream has its parameters already, and is returned as it is. Raises HypervisorError for an unknown workload or
    parameter and for a value that a parameter does not take.

    >>> workload("boot", vms=9)
    Traceback (most recent call last):
    axebpf.errors.HypervisorError: vms is 9; boot takes 1 to 8
    """
    if isinstance(what, Stream):
        if parameters:
            name = next(iter(parameters))
            message = f"this stream of {what.workload} has its parameters already; {name} is for the workload"
            raise HypervisorError(message, workload=what.workload, parameter=name, value=parameters[name])
        return what
    if isinstance(what, Workload):
        return what(**parameters)
    if what not in WORKLOADS:
        near = did_you_mean(str(what), WORKLOADS) or f"; there is {', '.join(WORKLOADS)}"
        raise HypervisorError(f"no workload {what}{near}", workload=str(what))
    return WORKLOADS[what](**parameters)
