"""The workloads' parameters, sizes and particular loads; that the seed decides; errors."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from axebpf import ExitReason
from axebpf.errors import HypervisorError
from axebpf.hypervisor import WORKLOADS, Chunk, workload

ARCHITECTURES = ["aarch64", "x86_64", "riscv64"]


def column(chunks: list[Chunk], name: str, field: str) -> np.ndarray[Any, Any]:
    """A field of all events of a tracepoint, or their times or CPUs."""
    if field in ("time_ns", "cpu"):
        index = chunks[0].names.index(name)
        return np.concatenate([getattr(chunk, field)[chunk.order == index] for chunk in chunks])
    return np.concatenate([chunk.columns[name][field] for chunk in chunks])


def enumeration_lookups(make: Callable[[], object]) -> int:
    """How often Python code of an enumeration class was run to look for an attribute of a member."""
    found = 0

    def see(frame: FrameType, event: str, _: object) -> None:
        nonlocal found
        code = frame.f_code
        found += event == "call" and code.co_name == "__getattr__" and code.co_filename.endswith("enum.py")

    sys.setprofile(see)
    try:
        make()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_numpy_is_given_no_enumeration_members(name: str, arch: str) -> None:
    # It would look for their methods and drop what is raised meanwhile: Ctrl-C would be lost now and then.
    stream = workload(name, arch=arch, duration_s=0.2)
    assert enumeration_lookups(lambda: sum(map(len, stream))) == 0


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later enumerations run no Python code there")
def test_the_test_above_can_fail() -> None:
    numbers = np.arange(3)
    assert enumeration_lookups(lambda: numbers == ExitReason.HALT) > 0


# What each is about


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_storm_is_of_one_device_and_comes_four_times_a_second(arch: str) -> None:
    chunks = list(workload("irq-storm", arch=arch, vms=1, duration_s=2.0, rate=10_000))
    times = column(chunks, "vmm:irq_handle", "time_ns").astype(np.int64) - 60_000_000_000
    storming = times % 250_000_000 > 150_000_000
    bins = np.bincount(times[storming] // 250_000_000)
    assert len(bins) == 8
    assert all(800 < n < 1200 for n in bins), "0.1 s of 10,000 a second"
    assert (~storming).sum() < 0.05 * storming.sum()
    irqs, counts = np.unique(column(chunks, "vmm:irq_handle", "irq_num"), return_counts=True)
    assert irqs[counts.argmax()] == {"aarch64": 33, "x86_64": 0x24, "riscv64": 10}[arch]
    assert counts.max() > 0.9 * counts.sum()


RATES = [
    ("irq-storm", "vmm:irq_handle", 0.4),
    ("mmio-heavy", "vmm:device_access", 1),
    ("hypercalls", "vmm:hypercall", 1),
]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("rate", [1, 3_000, 100_000])
@pytest.mark.parametrize(("name", "event", "share"), RATES)
def test_the_rate_is_kept(name: str, event: str, share: float, rate: int, arch: str) -> None:
    """At the greatest too: the vCPU keeps up, so that the events end when they should."""
    seconds = 0.5 if rate > 1 else 100.0
    chunks = list(workload(name, arch=arch, vms=1, duration_s=seconds, rate=rate))
    low = {"irq-storm": 145, "mmio-heavy": 0, "hypercalls": 0}[name] * seconds  # ticks, timers: of all times
    made = len(column(chunks, event, "time_ns")) - low
    if rate > 1:
        assert abs(made / (rate * share * seconds) - 1) < 0.15
    span = int(chunks[-1].time_ns[-1]) - int(chunks[0].time_ns[0])
    assert abs(span / 1e9 / seconds - 1) < 0.02


def test_a_higher_rate_makes_more() -> None:
    def made(name: str, rate: int) -> int:
        return sum(map(len, workload(name, vms=1, duration_s=0.3, rate=rate)))

    for name, known in WORKLOADS.items():
        if "rate" in {parameter.name for parameter in known.parameters}:
            assert made(name, 40_000) > 1.5 * made(name, 2_000)


def test_hypercalls_of_every_kind() -> None:
    chunks = list(workload("hypercalls", vms=1, duration_s=0.3))
    numbers = set(column(chunks, "vmm:hypercall", "nr").tolist())
    assert numbers == {2, 3, 4, 5, 6, 0x8400_0000, 0x8400_000A}
    assert set(column(chunks, "vmm:hypercall", "ret_val").tolist()) == {0, -1}


@pytest.mark.parametrize("reason", ["system-down", "forced", "fault", "clean"])
def test_a_shutdown_of_one_kind(reason: str) -> None:
    chunks = list(workload("shutdown", reason=reason, vcpus=2, duration_s=0.2))
    numbers = {"clean": 0, "system-down": 1, "forced": 2, "fault": 3}
    assert column(chunks, "vmm:vm_shutdown", "reason").tolist() == [numbers[reason]] * 3


def test_secondaries_interrupt_each_other_more_than_when_they_have_booted() -> None:
    def ipis(name: str) -> int:
        chunks = list(workload(name, vms=1, vcpus=4, duration_s=1.0))
        return len(column(chunks, "vmm:ipi_send", "time_ns"))

    assert ipis("smp-boot") > 2 * ipis("boot") > 0


# Chunks


def test_a_long_run_comes_in_many_full_chunks() -> None:
    sizes = [len(chunk) for chunk in workload("boot", vms=2, vcpus=4, events=400_000)]
    assert max(sizes) <= 65_536
    assert sum(sizes) / len(sizes) > 5_000


@pytest.mark.parametrize(("vms", "vcpus", "rate"), [(1, 1, 100_000), (8, 8, 1_000)])
def test_no_window_is_much_larger_than_the_others(
    monkeypatch: pytest.MonkeyPatch, vms: int, vcpus: int, rate: int
) -> None:
    """What waits to be sorted is bounded, whatever the rate: that is what bounds the memory."""
    from axebpf.hypervisor.timeline import Timeline

    waiting: list[int] = []
    take = Timeline.take

    def watched(self: Timeline, horizon: int) -> Any:
        waiting.append(sum(len(piece.time) for piece in self._waiting))
        return take(self, horizon)

    monkeypatch.setattr(Timeline, "take", watched)
    total = sum(map(len, workload("irq-storm", vms=vms, vcpus=vcpus, rate=rate, duration_s=5.0)))
    assert max(waiting) < 1.3 * (50_000 + 8_000 * vms * vcpus) < total / 2


# Parameters


def test_the_default_is_a_boot_of_two_vms_of_a_size_to_look_at() -> None:
    stream = workload("boot")
    assert dict(stream.parameters) == {
        "vms": 2,
        "vcpus": 1,
        "seed": 0,
        "arch": "aarch64",
        "duration_s": 5.8,
        "events": None,
    }
    assert 10_000 <= sum(map(len, stream)) <= 50_000
    assert stream.cpus == 2


def digest(chunks: list[Chunk]) -> list[bytes]:
    columns = [c.tobytes() for chunk in chunks for fields in chunk.columns.values() for c in fields.values()]
    return columns + [part.tobytes() for chunk in chunks for part in (chunk.order, chunk.time_ns, chunk.cpu)]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", WORKLOADS)
def test_the_seed_decides_everything(name: str, arch: str) -> None:
    def of(seed: int) -> list[bytes]:
        return digest(list(workload(name, arch=arch, vcpus=2, duration_s=0.2, seed=seed)))

    stream = workload(name, arch=arch, vcpus=2, duration_s=0.2, seed=7)
    first = digest(list(stream))
    assert digest(list(stream)) == first, "a second iteration starts anew"
    assert of(7) == first
    assert of(8) != first


SIZES = [(1, 2, 25_000), (4, 2, 100_000)]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("vms", "vcpus", "events"), SIZES)
@pytest.mark.parametrize("name", WORKLOADS)
def test_about_as_many_events_as_asked_for(name: str, arch: str, vms: int, vcpus: int, events: int) -> None:
    stream = workload(name, arch=arch, vms=vms, vcpus=vcpus, events=events)
    assert abs(sum(map(len, stream)) / events - 1) < 0.15


def test_as_few_events_as_a_single_short_boot() -> None:
    assert abs(sum(map(len, workload("boot", vms=1, events=5_000))) / 5_000 - 1) < 0.15


def test_duration_is_the_life_of_a_vm() -> None:
    chunks = list(workload("boot", duration_s=5.8))
    enters, exits = (column(chunks, f"vmm:vcpu_run_{edge}", "time_ns") for edge in ("enter", "exit"))
    entered, exited = (column(chunks, f"vmm:vcpu_run_{edge}", "vm_id") for edge in ("enter", "exit"))
    for vm in (1, 2):
        lived = int(exits[exited == vm][-1]) - int(enters[entered == vm][0])
        assert abs(lived / 1e9 - 5.8) < 0.001


def test_numpys_numbers_are_numbers() -> None:
    parameters = workload("boot", vms=np.int64(1), seed=np.uint8(3), duration_s=np.float32(0.5)).parameters
    assert (parameters["vms"], parameters["seed"], parameters["duration_s"]) == (1, 3, 0.5)
    assert type(parameters["vms"]) is int
    assert workload("boot", duration_s=1).parameters["duration_s"] == 1.0


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"vms": 0}, "vms is 0; boot takes 1 to 8"),
    ({"vms": 9}, "vms is 9; boot takes 1 to 8"),
    ({"vms": 2.0}, "vms is 2.0; boot takes 1 to 8"),
    ({"vms": True}, "vms is True; boot takes 1 to 8"),
    ({"vms": "2"}, "vms is '2'; boot takes 1 to 8"),
    ({"vms": None}, "vms is None; boot takes 1 to 8"),
    ({"vcpus": -1}, "vcpus is -1; boot takes 1 to 8"),
    ({"seed": -1}, "seed is -1; boot takes whole numbers from 0"),
    ({"seed": 0.5}, "seed is 0.5; boot takes whole numbers from 0"),
    ({"arch": "x86-64"}, "arch is 'x86-64'; boot takes aarch64, x86_64 or riscv64; did you mean x86_64?"),
    ({"arch": 64}, "arch is 64; boot takes aarch64, x86_64 or riscv64"),
    ({"duration_s": 0}, "duration_s is 0; boot takes 0.1 to 86400"),
    ({"duration_s": float("nan")}, "duration_s is nan; boot takes 0.1 to 86400"),
    ({"duration_s": 10**400}, f"duration_s is {10**400}; boot takes 0.1 to 86400"),
    ({"duration_s": "1"}, "duration_s is '1'; boot takes 0.1 to 86400"),
    ({"events": 0}, "events is 0; boot takes whole numbers from 1"),
    ({"duration_s": 1, "events": 5}, "duration_s and events both say how long boot runs; give one"),
    ({"vm": 1}, "boot has no parameter vm; did you mean vms?"),
    ({"qq": 1}, "boot has no parameter qq; it has vms, vcpus, seed, arch, duration_s, events"),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED, ids=lambda value: str(value)[:30])
def test_refused_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(HypervisorError) as caught:
        workload("boot", **parameters)
    assert str(caught.value) == message
    assert caught.value.workload == "boot"
    assert caught.value.parameter in parameters
    assert caught.value.value is parameters[caught.value.parameter]


OF_SOME: list[tuple[str, dict[str, Any], str]] = [
    ("smp-boot", {"vcpus": 1}, "vcpus is 1; smp-boot takes 2 to 8"),
    ("irq-storm", {"rate": 0}, "rate is 0; irq-storm takes 1 to 100000"),
    ("mmio-heavy", {"rate": 10**9}, f"rate is {10**9}; mmio-heavy takes 1 to 100000"),
    ("hypercalls", {"rate": 0.5}, "rate is 0.5; hypercalls takes 1 to 100000"),
    ("steady", {"rate": 5}, "steady has no parameter rate; it has vms, vcpus, seed, arch, duration_s, events"),
    ("mixed", {"duration_s": 1e6}, "duration_s is 1000000.0; mixed takes 0.1 to 86400"),
    ("shutdown", {"reason": "force"}, "reason is 'force'; shutdown takes clean, system-down, forced or fault"),
    (
        "shutdown",
        {"reason": "clean", "arch": "x86_64"},
        "reason is 'clean'; shutdown takes system-down, forced, fault with arch=x86_64",
    ),
]


@pytest.mark.parametrize(("name", "parameters", "message"), OF_SOME)
def test_refused_parameters_that_not_all_have(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(HypervisorError) as caught:
        workload(name, **parameters)
    assert str(caught.value).startswith(message)
    assert caught.value.workload == name


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("events", [10, 10**15])
def test_events_out_of_range_are_refused_by_every_workload(name: str, events: int) -> None:
    with pytest.raises(
        HypervisorError, match=rf"events is {events}; {name} takes \d+ to \d+ with vms=\d, vcpus=\d, arch="
    ):
        workload(name, events=events)


def test_events_out_of_range_name_the_range() -> None:
    with pytest.raises(HypervisorError, match=r"events is 10; boot takes \d+ to \d+ with vms=2, vcpus=1, arch=aarch64"):
        workload("boot", events=10)


def test_unknown_workloads() -> None:
    with pytest.raises(HypervisorError, match=r"no workload bot; did you mean boot\?"):
        workload("bot")
    with pytest.raises(HypervisorError, match="no workload zzz; there is boot, steady, smp-boot, irq-storm"):
        workload("zzz")


def test_every_workload_says_what_it_takes() -> None:
    for name, known in WORKLOADS.items():
        assert known.name == name
        assert known.doc
        for parameter in known.parameters:
            assert parameter.doc
            assert parameter.check(name, parameter.default) == parameter.default


def test_the_page_about_workloads_names_each_and_says_where_it_begins() -> None:
    page = (Path(__file__).parent.parent / "docs" / "workloads.md").read_text()
    rows = re.findall(r"^\| `(\S+)` \| (at power-on|running) \|", page, re.MULTILINE)
    assert [name for name, _ in rows] == list(WORKLOADS)
    for name, begins in rows:
        first = next(iter(workload(name, duration_s=0.1)))
        at_power_on = first.names[first.order[0]] == "vmm:vmm_init"
        assert begins == ("at power-on" if at_power_on else "running")


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_stream_knows_about_how_many_events_it_has(name: str) -> None:
    stream = workload(name)
    assert stream.expected == pytest.approx(sum(map(len, stream)), rel=0.1)
