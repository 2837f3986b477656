"""`axebpf.platform`: the clock and CPU of the default bench, and platforms of any bench."""

from __future__ import annotations

import axebpf
import pytest
from axebpf import Bench, ClockError, platform
from axebpf.platform import MockPlatform, PlatformOps, RealPlatform


def test_a_time_that_was_set_is_read_back() -> None:
    """Seed: mock time set to 5000."""
    platform.set_mock_time(5_000)
    assert platform.time_ns() == 5_000


def test_the_clock_advances_by_what_it_is_told() -> None:
    """Seed: mock time 5000 advanced by 1000."""
    platform.set_mock_time(5_000)
    platform.advance_mock_time(1_000)
    assert platform.time_ns() == 6_000


def test_cpus_are_read_back() -> None:
    """Seed: mock CPU 3, then 7; a bench has the CPUs that it was made with."""
    axebpf.init(cpus=8)
    for cpu in (3, 7):
        platform.set_mock_cpu_id(cpu)
        assert platform.cpu_id() == cpu


def test_it_begins_at_one_second_on_cpu_0() -> None:
    assert (platform.time_ns(), platform.cpu_id()) == (1_000_000_000, 0)
    assert platform.time_ns() == 1_000_000_000, "a mock clock stands still"


def test_advancing_wraps_at_64_bits() -> None:
    platform.set_mock_time(2**64 - 1)
    platform.advance_mock_time(3)
    assert platform.time_ns() == 2


def test_what_was_set_before_init_is_so_after_it() -> None:
    platform.set_mock_time(77)
    platform.set_mock_cpu_id(2)
    bench = axebpf.init()
    assert (bench.clock.now, bench.cpu) == (77, 2)


def test_the_next_default_bench_begins_anew() -> None:
    platform.set_mock_time(77)
    axebpf.init().close()
    assert platform.time_ns() == 1_000_000_000


def test_events_and_programs_see_it() -> None:
    bench = axebpf.init()
    code = axebpf.assemble(
        "r9 = 0\ncall bpf_ktime_get_ns\nr9 += r0\ncall bpf_get_smp_processor_id\nr9 += r0\nr0 = r9\nexit"
    )
    program = bench.load_bytes(code, type="tracepoint")
    bench.enable("vmm:vm_destroy")
    platform.set_mock_time(123_000)
    platform.set_mock_cpu_id(3)
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1)
    (event,) = bench.trace.records()
    assert (event.time_ns, event.cpu) == (123_000, 3)
    assert program.run(bytes(16)).r0 == 123_003


@pytest.mark.parametrize("cpu", [4, -1, 2**32, "1", True])
def test_a_cpu_that_there_is_not_is_refused(cpu: int) -> None:
    with pytest.raises(ClockError, match="0 to 3"):
        platform.set_mock_cpu_id(cpu)
    assert platform.cpu_id() == 0


@pytest.mark.parametrize("change", [platform.set_mock_time, platform.advance_mock_time])
@pytest.mark.parametrize("ns", [-1, 2**64, 1.5])
def test_a_time_that_is_none_is_refused(change: object, ns: int) -> None:
    with pytest.raises(ClockError, match="0 to 18446744073709551615"):
        change(ns)  # type: ignore[operator]
    assert platform.time_ns() == 1_000_000_000


def test_a_real_clock_goes_by_itself_and_cannot_be_set() -> None:
    axebpf.init(clock="real")
    assert isinstance(platform.current(), RealPlatform)
    before = platform.time_ns()
    while (now := platform.time_ns()) == before:
        pass
    assert now > before >= 1_000_000_000
    for change in (platform.set_mock_time, platform.advance_mock_time):
        with pytest.raises(ClockError, match="real clock cannot be set"):
            change(1)


def test_a_mock_platform_is_of_the_bench_it_was_given() -> None:
    bench = Bench(clock=100)
    mock = MockPlatform(bench)
    mock.set_time(1_000)
    mock.advance_time(50)
    mock.set_cpu_id(1)
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1)  # a step of 100 ns
    assert (mock.time_ns(), mock.cpu_id()) == (1_150, 1)
    assert isinstance(platform.current(), MockPlatform)
    assert platform.time_ns() == 1_000_000_000, "of the default bench, which is another"


def test_both_kinds_are_platforms_and_only_of_their_kind_of_clock() -> None:
    manual, real = Bench(), Bench(clock="real")
    assert isinstance(MockPlatform(manual), PlatformOps)
    assert isinstance(RealPlatform(real), PlatformOps)
    with pytest.raises(ClockError, match="clock='manual'"):
        RealPlatform(manual)
    with pytest.raises(ClockError, match='clock="real"'):
        MockPlatform(real)


def test_the_seeds_platform_is_reached_from_the_package() -> None:
    assert axebpf.platform is platform
    assert MockPlatform(Bench()).__repr__().startswith("<MockPlatform of <Bench")
