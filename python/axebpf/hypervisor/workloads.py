"""The workloads: each is a scenario, put together from the phases of a guest's life.

Where VMs are created, their life is AxVisor's: VM k first runs 5 s after VM k-1, and its guest boots (interrupt
controller, secondaries, kernel, services). Where they run already, the workload is a stretch of their life as a trace
that is switched on later sees it.

Every vCPU has a physical CPU of its own: vCPU v of VM k is on CPU (k-1) * vcpus + v.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from axebpf.errors import HypervisorError
from axebpf.hypervisor.arch import Architecture, Cause, Inner, Phase
from axebpf.hypervisor.arrivals import Segment
from axebpf.hypervisor.guest import Guest
from axebpf.hypervisor.scenario import Scenario, Settings
from axebpf.hypervisor.simulation import Simulation
from axebpf.hypervisor.vm import Ending, Life
from axebpf.hypervisor.workload import Parameter, Stream, Workload
from axebpf.tracepoints.definitions import ShutdownReason

__all__ = ["WORKLOADS"]

_SECOND = 1_000_000_000
_MS = 1_000_000
_BUSY_SHARE = 0.7  # of a life that its boot takes at most: a short life has short phases
_BUSY_IPIS = 1_000  # a second of a vCPU, while a kernel starts its CPUs: the most that is usual

# How often what comes again and again does, where a run is not too long for it, and which share of the time it takes.
_MOST_CYCLES = 200
_STORMS, _STORM_SHARE = 250 * _MS, 0.4
_MIXTURES, _MIXED_SHARE = _SECOND, 0.05
_SHUTTING = 0.4  # share of its time, and seconds at most, that a guest is busy with its shutdown


class _Track:
    """The phases of one VM, as they are laid out."""

    def __init__(self, settings: Settings, time: int) -> None:
        self.time = time
        self.segments: list[Segment] = []
        self._smp = settings.vcpus > 1

    def until(self, end: int, phase: Phase, ipis: bool = True) -> None:
        """The next phase, up to a time."""
        if end > self.time:
            self.segments.append(Segment(self.time, end, phase, ipis and self._smp))
            self.time = end

    def again(self, end: int, period: int, parts: Sequence[tuple[float, Phase]]) -> None:
        """The phases, each with its share of the time, again and again about every `period` up to a time."""
        start = self.time
        count = min(max(round((end - start) / period), 1), _MOST_CYCLES)
        length = (end - start) / count
        for cycle in range(count):
            done = 0.0
            for share, phase in parts:
                done += share
                self.until(start + int(length * (cycle + done)), phase)
        self.until(end, parts[-1][1])

    def boot(self, settings: Settings, busy: Sequence[Phase]) -> tuple[int, ...]:
        """A guest's boot; when it starts each secondary."""
        arch = settings.arch
        total = arch.early.seconds + sum(phase.seconds for phase in busy)
        scale = min(1.0, _BUSY_SHARE * settings.seconds / total)
        spacing = int(2 * _MS + 3 * _MS * scale)
        self.until(self.time + int(arch.early.seconds * scale * _SECOND), arch.early, ipis=False)
        bring_up = tuple(self.time + spacing * (1 + k) for k in range(settings.vcpus - 1))
        if bring_up:
            self.until(bring_up[-1] + 2 * _MS, arch.early, ipis=False)
        for phase in busy:
            self.until(self.time + int(phase.seconds * scale * _SECOND), phase)
        return bring_up

    def life(self, guest: Guest, bring_up: tuple[int, ...] | None, reason: ShutdownReason | None) -> Life:
        """The VM's life, which ends here for this reason, or goes on."""
        return Life(guest, tuple(self.segments), bring_up, None if reason is None else Ending(reason, self.time))


def _end(settings: Settings, first: int) -> int:
    return first + int(settings.seconds * _SECOND)


def _booted(settings: Settings, guest: Guest, first: int, busy: Sequence[Phase]) -> Life:
    track = _Track(settings, first)
    bring_up = track.boot(settings, busy)
    track.until(_end(settings, first), settings.arch.steady)
    return track.life(guest, bring_up, ShutdownReason.SYSTEM_DOWN)


def _boot(settings: Settings, guest: Guest, first: int) -> Life:
    return _booted(settings, guest, first, settings.arch.busy)


def _smp_boot(settings: Settings, guest: Guest, first: int) -> Life:
    return _booted(settings, guest, first, [phase.but({Cause.IPI: _BUSY_IPIS}) for phase in settings.arch.busy])


def _storming(settings: Settings) -> Phase:
    return settings.arch.steady.but(exits={Cause.DEVICE_IRQ: settings.rate}, one_device=True)


def _accessing(settings: Settings) -> Phase:
    return settings.arch.steady.but(inner={Inner.DEVICE: settings.rate})


def _calling(settings: Settings) -> Phase:
    calls = settings.arch.early.hypercalls + settings.arch.steady.hypercalls
    return settings.arch.steady.but(exits={Cause.HYPERCALL: settings.rate}, hypercalls=calls)


def _running(settings: Settings, guest: Guest, first: int, phase: Phase) -> Life:
    track = _Track(settings, first)
    track.until(_end(settings, first), phase)
    return track.life(guest, None, None)


def _steady(settings: Settings, guest: Guest, first: int) -> Life:
    return _running(settings, guest, first, settings.arch.steady)


def _mmio_heavy(settings: Settings, guest: Guest, first: int) -> Life:
    return _running(settings, guest, first, _accessing(settings))


def _hypercalls(settings: Settings, guest: Guest, first: int) -> Life:
    return _running(settings, guest, first, _calling(settings))


def _irq_storm(settings: Settings, guest: Guest, first: int) -> Life:
    track = _Track(settings, first)
    parts = ((1 - _STORM_SHARE, settings.arch.steady), (_STORM_SHARE, _storming(settings)))
    track.again(_end(settings, first), _STORMS, parts)
    return track.life(guest, None, None)


def _reasons(arch: Architecture) -> list[ShutdownReason]:
    """The ways in which a VM can end: nowhere is a vCPU of x86-64 able to switch itself off."""
    every = [ShutdownReason.SYSTEM_DOWN, ShutdownReason.FORCED, ShutdownReason.FAULT, ShutdownReason.CLEAN]
    return [reason for reason in every if reason != ShutdownReason.CLEAN or Cause.CPU_DOWN in arch.reasons]


def _text(reason: ShutdownReason) -> str:
    return reason.name.lower().replace("_", "-")


def _shutdown(settings: Settings, guest: Guest, first: int) -> Life:
    reasons = _reasons(settings.arch)
    named = {_text(reason): reason for reason in reasons}
    reason = named.get(str(settings.more["reason"]), reasons[(guest.vm_id - 1) % len(reasons)])
    # The first to end does so after half the time, the last at its end.
    seconds = settings.seconds * (1 + (guest.vm_id / settings.vms)) / 2
    track = _Track(settings, first)
    end = first + int(seconds * _SECOND)
    track.until(end - int(min(_SHUTTING * seconds, _SHUTTING) * _SECOND), settings.arch.steady)
    track.until(end, settings.arch.busy[-1])
    return track.life(guest, None, reason)


def _check_reason(settings: Settings) -> None:
    reason, known = settings.more["reason"], [_text(reason) for reason in _reasons(settings.arch)]
    if reason is not None and reason not in known:
        raise HypervisorError(
            f"reason is {reason!r}; shutdown takes {', '.join(known)} with arch={settings.arch.name}",
            workload="shutdown",
            parameter="reason",
            value=reason,
        )


def _mixed(settings: Settings, guest: Guest, first: int) -> Life:
    steady = settings.arch.steady
    track = _Track(settings, first)
    bring_up = track.boot(settings, settings.arch.busy)
    loads = [_storming(settings), _accessing(settings), _calling(settings)]
    turn = (guest.vm_id - 1) % len(loads)
    quiet = (1 - len(loads) * _MIXED_SHARE) / len(loads)
    parts = [part for load in loads[turn:] + loads[:turn] for part in ((quiet, steady), (_MIXED_SHARE, load))]
    track.again(_end(settings, first), _MIXTURES, parts)
    # The shell comes when all have ended, so none ends by its `vm stop`.
    reasons = [reason for reason in _reasons(settings.arch) if reason != ShutdownReason.FORCED]
    return track.life(guest, bring_up, reasons[(guest.vm_id - 1) % len(reasons)])


def _rate(of: str, default: int) -> Parameter:
    # At the greatest rate the hypervisor is busy for less than half the time, so that a vCPU keeps up.
    return Parameter("rate", int, default, f"{of} a second on each vCPU", low=1, high=100_000)


_LIFE = "from a VM's first run until it begins to end"
_STRETCH = "that are seen of the VMs' life"


def _scenarios() -> Iterator[Scenario]:
    yield Scenario(
        "boot",
        "VMs are created, boot 5 s apart, run for a while, switch themselves off and are deleted.",
        _boot,
        5.8,  # so that VM 2 boots while VM 1 still runs
        _LIFE,
        created=True,
    )
    yield Scenario("steady", "VMs that have booted and have little to do.", _steady, 10.0, _STRETCH)
    yield Scenario(
        "smp-boot",
        "As boot, with several vCPUs that keep interrupting each other while they start.",
        _smp_boot,
        1.2,
        _LIFE,
        created=True,
        vms=1,
        vcpus=4,
        least_vcpus=2,
    )
    yield Scenario(
        "irq-storm",
        "VMs that have little to do, but four times a second a device storms for 100 ms.",
        _irq_storm,
        1.0,
        _STRETCH,
        more=(_rate("interrupts of the device in a storm", 20_000),),
    )
    yield Scenario(
        "mmio-heavy",
        "VMs whose drivers keep accessing emulated devices.",
        _mmio_heavy,
        1.0,
        _STRETCH,
        more=(_rate("accesses", 20_000),),
    )
    yield Scenario(
        "hypercalls",
        "VMs that keep calling the hypervisor; some of the calls fail.",
        _hypercalls,
        1.0,
        _STRETCH,
        more=(_rate("hypercalls", 10_000),),
    )
    yield Scenario(
        "shutdown",
        "VMs that run end one after the other, each in another way, and are deleted by the shell on the last CPU.",
        _shutdown,
        1.0,
        "until the last VM begins to end",
        operator=True,
        vms=3,
        more=(
            Parameter(
                "reason",
                str,
                None,
                "how they end; one way after the other if not given",
                choices=tuple(_text(reason) for reason in ShutdownReason),
            ),
        ),
        check=_check_reason,
    )
    yield Scenario(
        "mixed",
        "As boot, but each VM has a storm and rushes of accesses and hypercalls every second; they end differently.",
        _mixed,
        5.8,
        _LIFE,
        created=True,
        vcpus=2,
        more=(_rate("interrupts, accesses or hypercalls in a rush", 5_000),),
    )


def _workload(scenario: Scenario) -> Workload:
    def start(**given: object) -> Stream:
        settings = scenario.settings(**given)  # type: ignore[arg-type] # checked by the parameters
        parameters = {**given, "duration_s": settings.seconds}
        cpus = scenario.cpus(settings.vms, settings.vcpus)
        expected = round(scenario.expected(settings))
        return Stream(scenario.name, parameters, cpus, Simulation(scenario, settings).chunks, expected)

    return Workload(scenario.name, scenario.doc, scenario.parameters, start)


WORKLOADS: Mapping[str, Workload] = {scenario.name: _workload(scenario) for scenario in _scenarios()}
"""The simulated workloads by name; call one with its parameters for a stream."""
