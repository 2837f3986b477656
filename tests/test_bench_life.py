"""A bench as a whole: names, isolation, closing, how it is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from axebpf import (
    AttachError,
    Bench,
    BenchClosed,
    ClockError,
    DeclarationError,
    InvalidName,
    LoadError,
    MapError,
    NotFound,
    Tracepoint,
    assemble,
    u32,
)
from axebpf.examples import example
from axebpf.hypervisor import workload

RETURN = assemble("r0 = 0\nexit")


class Own(Tracepoint, name="test:own", id=2000):
    """One field."""

    number: u32


def test_importing_axebpf_brings_nothing_heavy() -> None:
    heavy = ["numpy", "typer", "rich", "click", "axebpf.cli", "axebpf.hypervisor"]
    code = f"import sys, axebpf; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"engine": "jit"}, LoadError, "no engine 'jit'; engines are auto, interpreter, rbpf"),
        ({"cpus": 0}, ClockError, "cpus is 0; it takes 1 to 8192"),
        ({"cpus": 8193}, ClockError, "cpus is 8193; it takes 1 to 8192"),
        ({"cpus": -1}, ClockError, "cpus is -1"),
        ({"seed": -1}, LoadError, "seed is -1"),
        ({"trace_entries": -1}, LoadError, "trace_entries is -1"),
        ({"budget": 0}, LoadError, "budget is 0; it takes 1 to"),
        ({"clock": "sundial"}, ClockError, 'clock is "sundial"; expected "manual", "real" or a number'),
        ({"clock": -1}, ClockError, "clock is -1"),
        ({"clock": 2**64}, ClockError, "clock is 18446744073709551616"),
    ],
)
def test_a_bench_that_cannot_be(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Bench(**options)


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda bench: bench.tracepoints["vmm:vcpu_exit"], NotFound, r"did you mean vmm:vcpu_run_exit\?"),
        (lambda bench: bench.tracepoints["vcpu_run_exit"], InvalidName, "subsystem:event"),
        (lambda bench: bench.enable("vmm:vcpu_exit"), NotFound, "did you mean vmm:vcpu_run_exit"),
        (lambda bench: bench.maps["EXIT"], NotFound, r"no map EXIT; did you mean EXITS\?"),
        (lambda bench: bench.programs["on_exit"].attach("vmm:vcpu_exit"), NotFound, "did you mean vmm:vcpu_run_exit"),
        (lambda bench: bench.programs["on_exit"].attach("vcpu_exit"), NotFound, "did you mean vcpu_run_exit"),
        (lambda bench: bench.stats["vmm:vcpu_exit"], NotFound, "did you mean vmm:vcpu_run_exit"),
        (lambda bench: bench.load(example("exits.bpf.o"))["on_exits"], NotFound, r"did you mean on_exit\?"),
        (lambda bench: bench.load(example("exits.bpf.o")).globals["threshold"], NotFound, "did you mean threshold_ns"),
        (lambda bench: bench.load(example("exits.bpf.o"), only=["on_exits"]), LoadError, "no program on_exits"),
        (lambda bench: bench.load(example("exits.bpf.o"), max_entries={"EXIT": 1}), LoadError, "did you mean EXITS"),
        (
            lambda bench: bench.load(example("exits.bpf.o"), rodata={"treshold_ns": 1}),
            LoadError,
            "did you mean threshold_ns",
        ),
        (
            lambda bench: bench.create_map("hashmap", 4, 4, 1),
            MapError,
            r'no kind of map is called "hashmap"; .* mean hash\?',
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    ask: Callable[[Bench], object], error: type[Exception], text: str
) -> None:
    bench = Bench()
    bench.load(example("exits.bpf.o"))
    with pytest.raises(error, match=text):
        ask(bench)


def test_lookup_errors_are_key_errors() -> None:
    bench = Bench()
    for ask in (lambda: bench.tracepoints["vmm:nothing"], lambda: bench.maps["nothing"]):
        with pytest.raises(KeyError):
            ask()
    assert "vmm:nothing" not in list(bench.tracepoints)


def test_two_benches_share_nothing() -> None:
    one, other = Bench(), Bench()
    for bench in (one, other):
        bench.load(example("exits.bpf.o"))["on_exit"].attach()
    one.tracepoints["vmm:vcpu_run_exit"].enabled = True
    one.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 7, 500)
    one.define(Own)
    one.helper("u64 mine(void)", id=0x10000)(lambda: 5)
    one.cpu = 1
    one.clock.set(9)
    assert len(one.maps["EXITS"]) == 1
    assert len(other.maps["EXITS"]) == 0
    assert other.tracepoints["vmm:vcpu_run_exit"].fired == 0
    assert not other.tracepoints["vmm:vcpu_run_exit"].enabled
    assert len(other.trace) == 0
    assert other.stats["vmm:vcpu_run_exit"].count == 0
    assert "test:own" not in other.tracepoints
    assert (other.cpu, other.clock.now) == (0, 10**9)
    assert other.programs["on_exit"].stats.runs == 0
    code = assemble("call mine#65536\nexit")
    assert one.load_bytes(code, type="tracepoint").run(bytes(24)).r0 == 5
    with pytest.raises(Exception, match="which this bench does not have"):
        other.load_bytes(code, type="tracepoint").run(bytes(24))


def test_a_tracepoint_is_defined_once_in_a_bench() -> None:
    class SameName(Tracepoint, name="test:own", id=2001):
        """The same name."""

        number: u32

    class SameId(Tracepoint, name="test:other", id=2000):
        """The same id."""

        number: u32

    bench = Bench()
    bench.define(Own)
    for declared in (Own, SameName, SameId):
        with pytest.raises(DeclarationError, match=r"test:own|2000"):
            bench.define(declared)
    assert len(bench.tracepoints) == 30
    bench.tracepoints["test:own"].fire(number=3)
    assert bench.stats["test:own"].count == 1


def test_an_object_loaded_twice_has_maps_of_its_own_each_time() -> None:
    bench = Bench()
    one, two = bench.load(example("exits.bpf.o")), bench.load(example("exits.bpf.o"))
    two["on_exit"].attach()
    bench.tracepoints["vmm:vcpu_run_exit"].fire(1, 0, 7, 500)
    assert one.maps["EXITS"] == {}
    assert two.maps["EXITS"] == {(1, 7): (1, 500, 500)}
    with pytest.raises(
        NotFound, match=r"this bench has 2 maps EXITS: ask the object, progs.maps\['EXITS'\], or unload\(\) one"
    ):
        bench.maps["EXITS"]
    one.unload()
    assert bench.maps["EXITS"] is two.maps["EXITS"]
    assert list(bench.programs) == ["on_exit"]
    with pytest.raises(AttachError):
        two.unload()
    two.unload(force=True)
    assert "EXITS" not in bench.maps
    assert not bench.programs


def test_events_of_a_workload_need_enough_cpus() -> None:
    stream = workload("boot", vms=2, vcpus=2, duration_s=0.1)
    with pytest.raises(Exception, match="Bench\\(cpus=4\\)"):
        Bench(cpus=3).run("boot", vms=2, vcpus=2, duration_s=0.1)
    bench = Bench(cpus=stream.cpus)
    result = bench.run("boot", vms=2, vcpus=2, duration_s=0.1)
    assert result.events == sum(len(chunk) for chunk in stream) == sum(result.by_tracepoint.values())


def test_a_run_tells_how_far_it_is_after_each_chunk() -> None:
    chunks = list(workload("boot", seed=1, duration_s=0.5))
    told: list[tuple[int, int]] = []
    bench = Bench()
    result = bench.run("boot", seed=1, duration_s=0.5, progress=lambda so_far: told.append(tuple(so_far)))
    sizes = [len(chunk) for chunk in chunks]
    assert told == [(sum(sizes[: n + 1]), int(chunk.time_ns[-1])) for n, chunk in enumerate(chunks)]
    assert told[-1] == (result.events, result.time_ns)
    with pytest.raises(ZeroDivisionError):
        bench.run("boot", duration_s=0.1, progress=lambda _: 1 // 0)


# Closing

AFTER_CLOSE: dict[str, Callable[[dict[str, Any]], object]] = {
    "fire": lambda part: part["tracepoint"].fire(1, 2, 3, 4),
    "fire_many": lambda part: part["tracepoint"].fire_many(vm_id=[1], vcpu_id=0, exit_reason=0, duration_ns=0),
    "fired": lambda part: part["tracepoint"].fired,
    "enabled": lambda part: part["tracepoint"].enabled,
    "enable": lambda part: part["bench"].enable(),
    "on": lambda part: part["tracepoint"].on(print),
    "listener.remove": lambda part: part["listener"].remove(),
    "tracepoints": lambda part: part["bench"].tracepoints["vmm:vm_boot"],
    "tracepoints, all": lambda part: list(part["bench"].tracepoints),
    "define": lambda part: part["bench"].define(Own),
    "load": lambda part: part["bench"].load(example("exits.bpf.o")),
    "load_bytes": lambda part: part["bench"].load_bytes(RETURN),
    "create_map": lambda part: part["bench"].create_map("array", 4, 4, 1),
    "run a workload": lambda part: part["bench"].run("boot", duration_s=0.1),
    "clock": lambda part: part["bench"].clock.now,
    "cpu": lambda part: part["bench"].cpu,
    "stats": lambda part: part["bench"].stats["vmm:vm_boot"],
    "trace.text": lambda part: part["bench"].trace.text(),
    "trace.records": lambda part: part["bench"].trace.records(),
    "trace.clear": lambda part: part["bench"].trace.clear(),
    "len(trace)": lambda part: len(part["bench"].trace),
    "map[key]": lambda part: part["map"][1, 2],
    "map.update": lambda part: part["map"].update(bytes(8), bytes(24)),
    "len(map)": lambda part: len(part["map"]),
    "map.to_numpy": lambda part: part["map"].to_numpy(),
    "globals": lambda part: part["object"].globals["threshold_ns"],
    "program.run": lambda part: part["program"].run(bytes(32)),
    "program.stats": lambda part: part["program"].stats,
    "program.profile": lambda part: part["program"].profile(),
    "program.last_run": lambda part: part["program"].last_run,
    "program.steps": lambda part: part["program"].steps(bytes(32)),
    "program.attach": lambda part: part["program"].attach("vmm:vm_boot"),
    "program.unload": lambda part: part["program"].unload(),
    "link.detach": lambda part: part["link"].detach(),
}


@pytest.mark.parametrize("name", AFTER_CLOSE)
def test_every_part_of_a_closed_bench_says_so(name: str) -> None:
    with Bench() as bench:
        progs = bench.load(example("exits.bpf.o"))
        tracepoint = bench.tracepoints["vmm:vcpu_run_exit"]
        part = {
            "bench": bench,
            "object": progs,
            "program": progs["on_exit"],
            "link": progs["on_exit"].attach(),
            "map": bench.maps["EXITS"],
            "tracepoint": tracepoint,
            "listener": tracepoint.on(lambda event: None),
        }
        assert not bench.closed
    assert bench.closed
    with pytest.raises(BenchClosed, match="the bench is closed"):
        AFTER_CLOSE[name](part)
    bench.close()  # once more is once more


@pytest.mark.parametrize("use", [lambda tp: tp.fire(1, 0), lambda tp: tp.fire_many(vm_id=[1], duration_ns=0)])
def test_whoever_closes_a_bench_may_say_why(use: Callable[[Any], Any]) -> None:
    bench = Bench()
    tracepoint = bench.tracepoints["vmm:vm_boot"]
    bench._native.close("the party is over")
    bench.close()
    bench._native.close("another reason")
    with pytest.raises(BenchClosed, match=r"^the bench is closed: the party is over$"):
        use(tracepoint)


def test_what_belongs_to_a_closed_bench_can_still_be_shown() -> None:
    with Bench() as bench:
        progs = bench.load(example("exits.bpf.o"))
        parts = [bench, progs, progs["on_exit"], progs["on_exit"].attach(), bench.maps["EXITS"], bench.maps]
        parts += [bench.tracepoints["vmm:vm_boot"], bench.trace, bench.clock]
    for part in parts:
        assert repr(part).startswith("<")


def test_a_bench_that_a_callback_closes_calls_no_more_callbacks() -> None:
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    seen: list[int] = []

    def close(event: Any) -> None:
        seen.append(event.vm_id)
        bench.close()

    boots.on(close)
    boots.fire_many(vm_id=[1, 2, 3], duration_ns=0)
    with pytest.raises(BenchClosed):
        boots.fire(4, 0)
    assert seen == [1]
