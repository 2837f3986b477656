"""A simulated workload as data: what its VMs do, which parameters it has, and how long it runs for how many events."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from axebpf.errors import HypervisorError
from axebpf.hypervisor.arch import ARCHITECTURES, Architecture
from axebpf.hypervisor.guest import Guest
from axebpf.hypervisor.vm import Life
from axebpf.hypervisor.workload import Parameter

__all__ = ["Scenario", "Settings"]

_MIN_SECONDS, _MAX_SECONDS = 0.1, 86_400.0


@dataclass(frozen=True)
class Settings:
    """The parameters of a run, checked."""

    arch: Architecture
    vms: int
    vcpus: int
    seed: int
    seconds: float
    more: Mapping[str, object]
    """Those that not every workload has."""

    @property
    def rate(self) -> int:
        """How often a second what the workload is about happens on each vCPU."""
        rate = self.more["rate"]
        assert isinstance(rate, int)
        return rate

    @property
    def guests(self) -> list[Guest]:
        """The VMs."""
        return [Guest(self.arch, vm_id, self.vcpus) for vm_id in range(1, self.vms + 1)]


@dataclass(frozen=True)
class Scenario:
    """What the simulated hypervisor is made to do."""

    name: str
    doc: str
    """What happens, in a sentence or two."""
    life: Callable[[Settings, Guest, int], Life]
    """What a VM does that is seen first at a time in ns."""
    seconds: float
    """How long it runs if not told."""
    duration: str
    """What `duration_s` is from and to."""
    created: bool = False
    """Whether it begins at power-on, so that VMs are created and boot; otherwise they run already."""
    operator: bool = False
    """Whether somebody is at the shell, on a CPU of its own, while VMs run."""
    vms: int = 2
    vcpus: int = 1
    least_vcpus: int = 1
    more: tuple[Parameter, ...] = ()
    """Parameters that not every workload has."""
    check: Callable[[Settings], None] | None = None
    """Raises HypervisorError for values that do not go together."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All its parameters."""
        return (
            Parameter("vms", int, self.vms, "virtual machines", low=1, high=8),
            Parameter("vcpus", int, self.vcpus, "vCPUs of each", low=self.least_vcpus, high=8),
            Parameter("seed", int, 0, "the same seed gives the same events", low=0),
            Parameter("arch", str, "aarch64", "architecture of the machine", choices=tuple(ARCHITECTURES)),
            Parameter(
                "duration_s",
                float,
                None,
                f"seconds {self.duration}; {self.seconds:g} if not given",
                low=_MIN_SECONDS,
                high=_MAX_SECONDS,
            ),
            Parameter("events", int, None, "about how many events, in place of duration_s", low=1),
            *self.more,
        )

    def cpus(self, vms: int, vcpus: int) -> int:
        """Physical CPUs that it needs."""
        return vms * vcpus + int(self.operator)

    def settings(
        self,
        *,
        vms: int,
        vcpus: int,
        seed: int,
        arch: str,
        duration_s: float | None,
        events: int | None,
        **more: object,
    ) -> Settings:
        """The settings of these parameters. Raises HypervisorError where they do not go together."""
        if duration_s is not None and events is not None:
            message = f"duration_s and events both say how long {self.name} runs; give one"
            raise HypervisorError(message, workload=self.name, parameter="events", value=events)
        seconds = self.seconds if duration_s is None else duration_s
        settings = Settings(ARCHITECTURES[arch], vms, vcpus, seed, seconds, more)
        if self.check is not None:
            self.check(settings)
        return settings if events is None else self._for_events(settings, events)

    def _for_events(self, settings: Settings, events: int) -> Settings:
        """As long as it takes for about so many events. Raises HypervisorError where that is out of range."""

        def lasting(seconds: float) -> Settings:
            return dataclasses.replace(settings, seconds=seconds)

        low, high = _MIN_SECONDS, _MAX_SECONDS
        least, most = (self.expected(lasting(seconds)) for seconds in (low, high))
        if not least <= events <= most:
            given = {"vms": settings.vms, "vcpus": settings.vcpus, "arch": settings.arch.name, **settings.more}
            with_ = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)
            raise HypervisorError(
                f"events is {events}; {self.name} takes {least:.0f} to {most:.0f} with {with_}",
                workload=self.name,
                parameter="events",
                value=events,
            )
        while high - low > 1e-4 * low:  # halving: the number grows with the time
            middle = (low + high) / 2
            low, high = (middle, high) if self.expected(lasting(middle)) < events else (low, middle)
        return lasting(high)

    def expected(self, settings: Settings) -> float:
        """About how many events come."""
        lives = (self.life(settings, guest, 0) for guest in settings.guests)
        return sum((end - start) / 1e9 * rate for life in lives for start, end, rate in life.rates())
