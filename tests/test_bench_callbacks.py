"""Python in the path of an event: listeners, helpers of one's own, what they raise, and events that they fire."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from axebpf import Bench, BenchClosed, HelperError, LoadError, ProgramFault, assemble
from axebpf.bench import TracepointHandle
from axebpf.trace import Event


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def boots(bench: Bench) -> TracepointHandle:
    return bench.tracepoints["vmm:vm_boot"]


def calls(helper: str, id: int) -> bytes:
    return assemble(f"call {helper}#{id}\nexit")


# Listeners


def test_a_listener_sees_each_event_with_its_fields_time_and_cpu(boots: TracepointHandle) -> None:
    seen: list[tuple[Any, ...]] = []

    @boots.on
    def listener(event: Event) -> None:
        seen.append((event.name, event.vm_id, event.duration_ns, event.time_ns, event.cpu))

    boots.fire(1, 2, time_ns=7, cpu=3)
    boots.fire_many(vm_id=[5, 6], duration_ns=[8, 9], time_ns=[10, 20])
    assert seen == [("vmm:vm_boot", 1, 2, 7, 3), ("vmm:vm_boot", 5, 8, 10, 0), ("vmm:vm_boot", 6, 9, 20, 0)]
    boots.on(lambda event: event.vcpu_id)
    with pytest.raises(AttributeError, match="vmm:vm_boot has no field vcpu_id"):
        boots.fire(1, 2)


def test_a_listener_runs_after_the_programs(bench: Bench, boots: TracepointHandle) -> None:
    counter = bench.create_map("array", 4, 8, 1, name="counter")
    code = assemble(
        """
        r1 = map[0]
        w2 = 0
        *(u32 *)(r10 -4) = r2
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        w1 = 1
        lock *(u64 *)(r0 +0) += r1
    out:
        w0 = 0
        exit
        """
    )
    counts: list[int] = []
    boots.on(lambda event: counts.append(counter[0]))
    bench.load_bytes(code, type="tracepoint", maps={0: counter}).attach(boots)
    boots.fire_many(vm_id=[1, 2, 3], duration_ns=0)
    assert counts == [1, 2, 3]


def test_an_exception_of_a_listener_comes_out_and_ends_the_batch(boots: TracepointHandle) -> None:
    def refuse(event: Event) -> None:
        if event.vm_id == 3:
            raise ZeroDivisionError("on VM 3")

    listener = boots.on(refuse)
    with pytest.raises(ZeroDivisionError, match="on VM 3"):
        boots.fire(3, 0)
    assert boots.fired == 1
    with pytest.raises(ZeroDivisionError, match="on VM 3"):
        boots.fire_many(vm_id=[1, 2, 3, 4, 5], duration_ns=0)
    assert boots.fired == 1 + 3
    assert listener.remove()
    assert not listener.remove()
    assert boots.fire_many(vm_id=[3, 3], duration_ns=0) == 2


def test_the_first_of_two_exceptions_of_one_event_comes_out(boots: TracepointHandle) -> None:
    def raising(error: Exception) -> Any:
        def listener(event: Event) -> None:
            raise error

        return listener

    boots.on(raising(KeyError("first")))
    boots.on(raising(IndexError("second")))
    for _ in range(2):
        with pytest.raises(KeyError, match="first"):
            boots.fire(1, 0)


def test_listeners_removed_or_added_while_an_event_is_on_its_way(boots: TracepointHandle) -> None:
    order: list[str] = []

    def first(event: Event) -> None:
        order.append("first")
        second.remove()
        if event.vm_id == 1:
            boots.on(lambda event: order.append(f"added sees {event.vm_id}"))

    boots.on(first)
    second = boots.on(lambda event: order.append("second"))
    boots.on(lambda event: order.append("third"))
    boots.fire(1, 0)
    assert order[:2] == ["first", "third"]
    del order[:]
    boots.fire(2, 0)
    assert order == ["first", "third", "added sees 2"]


def test_a_listener_may_fire(bench: Bench, boots: TracepointHandle) -> None:
    stops = bench.tracepoints["vmm:vm_destroy"]
    boots.on(lambda event: stops.fire(event.vm_id + 1))
    destroyed: list[int] = []
    stops.on(lambda event: destroyed.append(event.vm_id))
    boots.fire_many(vm_id=[1, 2], duration_ns=0)
    assert destroyed == [2, 3]


def test_a_listener_that_fires_its_own_event_for_ever_is_a_recursion_error(boots: TracepointHandle) -> None:
    listener = boots.on(lambda event: boots.fire(1, 0))
    with pytest.raises(RecursionError):
        boots.fire(1, 0)
    listener.remove()
    fired = boots.fired
    boots.fire(1, 0)
    assert boots.fired == fired + 1


def test_a_listener_may_attach_and_detach(bench: Bench, boots: TracepointHandle) -> None:
    program = bench.load_bytes(assemble("r0 = 0\nexit"), type="tracepoint")
    other = bench.load_bytes(assemble("r0 = 0\nexit"), type="tracepoint")
    links = [program.attach(boots)]

    def swap(event: Event) -> None:
        if event.vm_id == 2:
            links[0].detach()
            links.append(other.attach(boots))

    boots.on(swap)
    boots.fire_many(vm_id=[1, 2, 3, 4], duration_ns=0)
    assert (program.stats.runs, other.stats.runs) == (2, 2)


# Helpers


def test_a_helper_gets_numbers_and_buffers_and_writes_back(bench: Bench) -> None:
    got: list[object] = []

    @bench.helper("u64 my_helper(u32 vm, s8 small, void *buf, u32 buf__sz)", id=0x10000)
    def my_helper(vm: int, small: int, buf: bytearray) -> int:
        got.extend([vm, small, type(buf), bytes(buf)])
        buf[:4] = b"\1\2\3\4"
        return 9

    code = assemble(
        """
        r1 = 0x123456789 ll
        r2 = 0x1ff
        r3 = 0x8877665544332211 ll
        *(u64 *)(r10 -8) = r3
        r3 = r10
        r3 += -8
        r4 = 8
        call my_helper#65536
        r1 = *(u64 *)(r10 -8)
        r0 <<= 32
        r1 <<= 32
        r1 >>= 32
        r0 |= r1
        exit
        """
    )
    assert bench.load_bytes(code, type="tracepoint").run(bytes(24)).r0 == 9 << 32 | 0x04030201
    assert got == [0x23456789, -1, bytearray, bytes.fromhex("1122334455667788")]


def test_a_const_buffer_is_bytes_and_stays_as_it_is(bench: Bench) -> None:
    got: list[object] = []
    bench.helper("u64 look(const void *data, u32 data__sz)", id=0x10000)(got.append)
    code = assemble(
        """
        r1 = 0x41424344
        *(u32 *)(r10 -4) = r1
        r1 = r10
        r1 += -4
        r2 = 4
        call look#65536
        r0 = *(u32 *)(r10 -4)
        exit
        """
    )
    assert bench.load_bytes(code, type="tracepoint").run(bytes(24)).r0 == 0x41424344
    assert got == [b"DCBA"]


def test_a_buffer_outside_the_programs_memory_is_a_fault(bench: Bench) -> None:
    bench.helper("u64 look(const void *data, u32 data__sz)", id=0x10000)(lambda data: 0)
    code = assemble("r1 = r10\nr1 += -8\nr2 = 800\ncall look#65536\nexit")
    with pytest.raises(ProgramFault, match="800 bytes at stack-8") as caught:
        bench.load_bytes(code, type="tracepoint").run(bytes(24))
    assert caught.value.instruction == 3


@pytest.mark.parametrize(
    ("result", "r0"),
    [(None, 0), (True, 1), (7, 7), (-1, 2**64 - 1), (2**64 - 1, 2**64 - 1), (-(2**63), 2**63)],
)
def test_what_a_helper_returns(bench: Bench, result: object, r0: int) -> None:
    bench.helper("u64 answer(void)", id=0x10000)(lambda: result)
    assert bench.load_bytes(calls("answer", 0x10000), type="tracepoint").run(bytes(24)).r0 == r0


@pytest.mark.parametrize("result", ["1", 1.5, [1], 2**64, -(2**63) - 1])
def test_a_helper_that_returns_no_integer_of_64_bits_is_an_error(bench: Bench, result: object) -> None:
    bench.helper("u64 answer(void)", id=0x10000)(lambda: result)
    with pytest.raises(HelperError, match="a helper returns None or an integer of 64 bits, not"):
        bench.load_bytes(calls("answer", 0x10000), type="tracepoint").run(bytes(24))


@pytest.mark.parametrize(
    ("prototype", "id", "text"),
    [
        ("nonsense", 0x10000, "no C prototype, as in"),
        ("u64 f(void *p)", 0x10000, "the pointer p needs its size as a parameter p__sz"),
        ("u64 f(u33 x)", 0x10000, r"unknown type u33; did you mean u32\?"),
        ("u64 f(u32 a, u32 b, u32 c, u32 d, u32 e, u32 f)", 0x10000, "6 parameters; a helper has at most 5"),
        ("u64 f(u32)", 0x10000, "the parameter 'u32' cannot be read"),
        ("u64 f(void)", 6, "helpers of one's own have ids from 0x10000"),
        ("u64 f(void)", 1 << 31, "helpers of one's own have ids from 0x10000"),
        ("u64 f(void)", 0x10001, "the id 0x10001 is taken_before"),
    ],
)
def test_a_helper_that_cannot_be(bench: Bench, prototype: str, id: int, text: str) -> None:
    bench.helper("u64 taken_before(void)", id=0x10001)(lambda: 0)
    with pytest.raises(HelperError, match=text):
        bench.helper(prototype, id=id)


def test_an_unknown_helper_is_named(bench: Bench) -> None:
    with pytest.raises(LoadError, match="helper 0x11170, which this bench does not have"):
        bench.load_bytes(calls("nothing", 70000), type="tracepoint")
    with pytest.raises(LoadError, match="bpf_skb_adjust_room#50"):
        bench.load_bytes(calls("bpf_skb_adjust_room", 50), type="tracepoint")


def test_an_exception_of_a_helper_stops_the_run_and_comes_out(bench: Bench, boots: TracepointHandle) -> None:
    turn = itertools.count(1)

    @bench.helper("u64 second_time_fails(void)", id=0x10000)
    def second_time_fails() -> None:
        if next(turn) == 2:
            raise LookupError("the second time")

    program = bench.load_bytes(calls("second_time_fails", 0x10000), type="tracepoint")
    program.attach(boots)
    with pytest.raises(LookupError, match="the second time"):
        boots.fire_many(vm_id=[1, 2, 3], duration_ns=0)
    assert (program.stats.runs, program.stats.faults, boots.fired) == (2, 1, 2)
    boots.fire(1, 0)
    assert (program.stats.runs, program.stats.faults) == (3, 1)


# Events that a program causes: as on Linux, where tracepoint programs share a guard a CPU, and a raw tracepoint program
# is guarded by itself.


def nested(bench: Bench, boots: TracepointHandle, type: str, cpu: int | None = None) -> tuple[Any, Any]:
    """Two programs at one tracepoint, the first of which fires it again, once."""

    @bench.helper("u64 again(void)", id=0x10000)
    def again() -> None:
        if boots.fired == 1:
            boots.fire(1, 0, cpu=cpu)

    first = bench.load_bytes(calls("again", 0x10000), type=type, name="first")
    second = bench.load_bytes(assemble("r0 = 0\nexit"), type=type, name="second")
    first.attach(boots)
    second.attach(boots)
    boots.fire(1, 0)
    assert boots.fired == 2
    return first, second


@pytest.mark.parametrize("type", ["tracepoint", "axvisor"])
def test_the_nested_event_is_missed_by_all_programs_of_the_cpu(
    bench: Bench, boots: TracepointHandle, type: str
) -> None:
    for program in nested(bench, boots, type):
        assert (program.stats.runs, program.stats.misses) == (1, 1)


def test_the_nested_event_is_missed_by_a_raw_tracepoint_program_that_is_running(
    bench: Bench, boots: TracepointHandle
) -> None:
    first, second = nested(bench, boots, "raw_tracepoint")
    assert (first.stats.runs, first.stats.misses) == (1, 1)
    assert (second.stats.runs, second.stats.misses) == (2, 0)


@pytest.mark.parametrize("type", ["tracepoint", "raw_tracepoint"])
def test_a_nested_event_on_another_cpu_is_not_missed(bench: Bench, boots: TracepointHandle, type: str) -> None:
    for program in nested(bench, boots, type, cpu=1):
        assert (program.stats.runs, program.stats.misses) == (2, 0)


@pytest.mark.parametrize("type", ["tracepoint", "raw_tracepoint", "axvisor"])
def test_after_a_nested_event_programs_run_as_before(bench: Bench, boots: TracepointHandle, type: str) -> None:
    programs = nested(bench, boots, type)
    before = [program.stats for program in programs]
    assert boots.fire_many(vm_id=[1, 2, 3], duration_ns=0) == 3
    assert [program.stats.runs - old.runs for program, old in zip(programs, before, strict=True)] == [3, 3]
    assert [program.stats.misses for program in programs] == [old.misses for old in before]


def test_statistics_and_trace_have_the_missed_event_too(bench: Bench, boots: TracepointHandle) -> None:
    boots.enabled = True
    nested(bench, boots, "tracepoint")
    assert bench.stats["vmm:vm_boot"].count == 2
    assert len(bench.trace) == 2


def test_a_helper_that_closes_the_bench(bench: Bench, boots: TracepointHandle) -> None:
    bench.helper("u64 finish(void)", id=0x10000)(bench.close)
    bench.load_bytes(calls("finish", 0x10000), type="tracepoint").attach(boots)
    boots.fire(1, 0)
    with pytest.raises(BenchClosed):
        boots.fire(1, 0)
