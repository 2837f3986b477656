"""The clock and the CPU that events and programs see: the seed's `platform`.

The functions work on the default bench. They make it where there is none, as `axebpf.init()` does, so that a test may
set the time first, as in the seed; `axebpf.init()` then returns that bench, time and CPU unchanged.

>>> import axebpf
>>> from axebpf.platform import cpu_id, set_mock_cpu_id, set_mock_time, time_ns
>>> time_ns(), cpu_id()
(1000000000, 0)
>>> set_mock_time(5_000)
>>> set_mock_cpu_id(2)
>>> with axebpf.init() as bench:
...     time_ns(), cpu_id(), bench.clock.now
(5000, 2, 5000)

In the seed the kind of build chose between a mock and the real thing. Here each bench has one of the two, by its
`clock=`, and a mock clock can also advance with each event. Which VM and vCPU is current is a matter of the event:
the helpers `bpf_get_current_vm_id` and `bpf_get_current_vcpu_id` tell a program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from axebpf.errors import ClockError

if TYPE_CHECKING:
    from axebpf import Bench

__all__ = [
    "MockPlatform",
    "PlatformOps",
    "RealPlatform",
    "advance_mock_time",
    "cpu_id",
    "current",
    "set_mock_cpu_id",
    "set_mock_time",
    "time_ns",
]


@runtime_checkable
class PlatformOps(Protocol):
    """What a platform tells: the time and the CPU."""

    def time_ns(self) -> int:
        """Nanoseconds since boot."""

    def cpu_id(self) -> int:
        """The CPU."""


class _Platform:
    """The clock and CPU of a bench."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def time_ns(self) -> int:
        """Nanoseconds since boot."""
        return self._bench.clock.now

    def cpu_id(self) -> int:
        """The CPU that events happen on."""
        return self._bench.cpu

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._bench!r}>"


class RealPlatform(_Platform):
    """A bench with `clock="real"`: the time is the machine's own. Raises ClockError for any other."""

    def __init__(self, bench: Bench) -> None:
        if bench.clock.mode != "real":
            raise ClockError(f'this bench has clock={bench.clock.mode!r}; a RealPlatform is of one with clock="real"')
        super().__init__(bench)


class MockPlatform(_Platform):
    """A bench whose clock does what it is told. Raises ClockError for one with `clock="real"`.

    >>> import axebpf
    >>> platform = MockPlatform(axebpf.Bench(cpus=8))
    >>> platform.set_time(5_000)
    >>> platform.advance_time(1_000)
    >>> platform.set_cpu_id(7)
    >>> platform.time_ns(), platform.cpu_id()
    (6000, 7)
    """

    def __init__(self, bench: Bench) -> None:
        if bench.clock.mode == "real":
            raise ClockError('this bench has clock="real"; a MockPlatform is of one with clock="manual" or a step')
        super().__init__(bench)

    def set_time(self, ns: int) -> None:
        """Sets the clock, backwards too. Raises ClockError for a time that is none."""
        self._bench.clock.set(ns)

    def advance_time(self, ns: int) -> None:
        """Moves the clock on; beyond 2**64 it starts again at 0. Raises ClockError for a step that is none."""
        self._bench.clock.advance(ns)

    def set_cpu_id(self, cpu: int) -> None:
        """Moves to another CPU. Raises ClockError for one that there is not."""
        self._bench.cpu = cpu


def _bench() -> Bench:
    from axebpf import init

    return init()


def current() -> MockPlatform | RealPlatform:
    """The platform of the default bench."""
    bench = _bench()
    return RealPlatform(bench) if bench.clock.mode == "real" else MockPlatform(bench)


def time_ns() -> int:
    """The default bench's time, in nanoseconds since boot; 1 s to begin with."""
    return _bench().clock.now


def cpu_id() -> int:
    """The CPU that the default bench's events happen on; 0 to begin with."""
    return _bench().cpu


def set_mock_time(ns: int) -> None:
    """Sets the default bench's clock, backwards too. Raises ClockError where it has the real one."""
    _bench().clock.set(ns)


def advance_mock_time(ns: int) -> None:
    """Moves the default bench's clock on; beyond 2**64 it starts again at 0. Raises ClockError as `set_mock_time`."""
    _bench().clock.advance(ns)


def set_mock_cpu_id(cpu: int) -> None:
    """Moves the default bench to another of its CPUs. Raises ClockError for one that there is not."""
    _bench().cpu = cpu
