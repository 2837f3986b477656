"""Batches on several threads: `threads=` of `fire_many`, `run` and `replay`."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from axebpf import AxebpfError, Bench, ClockError, ProgramFault, ThreadsError, assemble
from axebpf.examples import example
from counting import counting

CPUS = 4
THREADS = [2, 3, 4, 100]

FAULT = """
    r6 = *(u32 *)(r1 +8)
    r0 = 0
    if r6 != 77 goto out
    r0 = *(u64 *)(r0 +0)
out:
    exit
"""


def rows(count: int) -> dict[str, Any]:
    """Columns of vmm:vm_boot on all CPUs, with times."""
    random = np.random.default_rng(5)
    return {
        "vm_id": random.integers(0, 64, count, np.uint32),
        "duration_ns": random.integers(0, 10**9, count, np.uint64),
        "time_ns": np.arange(count, dtype=np.uint64) * 10,
        "cpu": random.integers(0, CPUS, count, np.uint32),
    }


def seen(bench: Bench) -> dict[str, Any]:
    """What a bench shows of what it has done."""
    return {
        "trace": bench.trace.text(),
        "lost": bench.trace.lost,
        "statistics": {name: bench.stats[name] for name in bench.tracepoints if bench.tracepoints[name].fired},
        "programs": [(program.name, program.stats, program.profile()) for program in bench._programs],
        "maps": {name: dict(bench.maps[name].items()) for name in bench.maps if name != "EVENTS"},
        "now": bench.clock.now,
    }


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("kind", ["array", "percpu_array"])
def test_a_batch_on_several_threads_is_that_of_one(threads: int, kind: str) -> None:
    def fired(threads: int) -> dict[str, Any]:
        bench = Bench(cpus=CPUS, trace_entries=1000)
        bench.tracepoints["vmm:vm_boot"].enabled = True
        counting(bench, kind)
        assert bench.tracepoints["vmm:vm_boot"].fire_many(**rows(30_000), threads=threads) == 30_000
        return seen(bench)

    assert fired(threads) == fired(1)


@pytest.mark.parametrize("threads", THREADS)
def test_a_workload_on_several_threads_is_that_of_one(threads: int) -> None:
    def run(threads: int) -> tuple[Any, dict[str, Any]]:
        bench = Bench(cpus=CPUS)
        bench.load(example("exits.bpf.o"))["on_exit"].attach()
        return bench.run("boot", threads=threads), seen(bench)

    assert run(threads) == run(1)


@pytest.mark.parametrize("threads", THREADS)
def test_a_recording_on_several_threads_is_that_of_one(threads: int) -> None:
    lines = [
        f"vcpu{n % 3}-{n % 5}  [00{n % CPUS}] ..... {n}.5: vmm:vm_boot: vm_id={n % 7} duration_ns={n}\n"
        for n in range(3000)
    ]

    def replay(threads: int) -> tuple[Any, dict[str, Any]]:
        bench = Bench(cpus=CPUS)
        bench.tracepoints["vmm:vm_boot"].enabled = True
        counting(bench)
        return bench.replay("".join(lines).encode(), threads=threads), seen(bench)

    assert replay(threads) == replay(1)


def test_random_numbers_are_those_of_the_cpu() -> None:
    """The same for any number of threads, other ones for another seed, and for the next batch."""
    text = """
        r6 = r1
        call bpf_get_prandom_u32
        *(u32 *)(r10 -8) = r0
        *(u32 *)(r10 -4) = 0
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -8
        r1 = map[0]
        r4 = 0
        call bpf_map_update_elem
        r0 = 0
        exit
    """

    def last(seed: int, threads: int) -> list[list[int]]:
        bench = Bench(cpus=CPUS, seed=seed)
        numbers = bench.create_map("percpu_array", 4, 4, 1, name="numbers")
        bench.load_bytes(assemble(text), type="tracepoint", maps={0: numbers}).attach("vmm:vm_boot")
        found = []
        for _ in range(2):
            bench.tracepoints["vmm:vm_boot"].fire_many(**rows(1000), threads=threads)
            found.append([int(number) for number in numbers[0]])
        return found

    two = last(1, 2)
    assert two == last(1, 3) == last(1, 4)
    assert two != last(2, 2)
    assert len({number for numbers in two for number in numbers}) == 2 * CPUS


def test_a_fault_is_the_one_that_one_thread_meets() -> None:
    def fault(threads: int) -> tuple[str, int, int]:
        bench = Bench(cpus=CPUS)
        counts = counting(bench)
        bench.load_bytes(assemble(FAULT), type="tracepoint", name="fails").attach("vmm:vm_boot")
        columns = rows(20_000)
        columns["vm_id"][[12_345, 12_346, 15_000]] = 77
        with pytest.raises(ProgramFault) as raised:
            bench.tracepoints["vmm:vm_boot"].fire_many(**columns, threads=threads)
        fired = bench.tracepoints["vmm:vm_boot"].fired
        assert sum(counts.values()) == fired
        # All before it have happened.
        before, found = np.bincount(columns["vm_id"][:12_346], minlength=128), np.array(list(counts.values()))
        assert (found >= before).all()
        assert bench.tracepoints["vmm:vm_boot"].fire_many(vm_id=[1, 2], duration_ns=0, cpu=[0, 1], threads=threads) == 2
        return str(raised.value), raised.value.instruction or 0, fired

    one = fault(1)
    assert one[2] == 12_346
    for threads in THREADS:
        message, instruction, fired = fault(threads)
        assert (message, instruction) == one[:2]
        assert 12_346 <= fired <= 20_000


# What cannot be


def listened(bench: Bench) -> None:
    bench.tracepoints["vmm:vm_boot"].on(lambda event: None)


def helped(bench: Bench) -> None:
    bench.helper("u64 act(void)", id=0x10000)(lambda: 0)
    bench.load_bytes(assemble("call act#65536\nexit"), type="tracepoint", name="calls").attach("vmm:vm_boot")


def kept(bench: Bench) -> None:
    bench._native.keep_runs()


def nothing(bench: Bench) -> None:
    pass


REFUSED: list[tuple[dict[str, Any], Callable[[Bench], None], int, str]] = [
    ({}, nothing, 0, "a batch is fired on one thread or more, not on none"),
    ({}, nothing, -1, "a batch is fired on one thread or more, not on none"),
    (
        {},
        listened,
        2,
        "something listens to vmm:vm_boot, and hears its events one after the other; fire it with threads=1",
    ),
    (
        {},
        helped,
        2,
        (
            "calls, instruction 0, calls helper 0x10000, one of your own, which is called by one thread; "
            "fire it with threads=1"
        ),
    ),
    ({}, kept, 2, "what each run comes to is being kept, one after the other; fire it with threads=1"),
    (
        {"target": "axvisor"},
        nothing,
        2,
        "rbpf counts nothing and keeps what it has compiled for one thread; fire it with threads=1",
    ),
    ({"maps": "kbpf"}, nothing, 2, "kbpf-basic's maps are for one thread; fire it with threads=1"),
]


@pytest.mark.parametrize(("options", "prepare", "threads", "message"), REFUSED, ids=[case[3][:30] for case in REFUSED])
@pytest.mark.parametrize("way", ["fire_many", "run", "replay"])
def test_what_one_thread_alone_can_do_is_refused_before_the_first_event(
    options: dict[str, Any], prepare: Callable[[Bench], None], threads: int, message: str, way: str
) -> None:
    bench = Bench(cpus=CPUS, **options)
    prepare(bench)
    ways: dict[str, Callable[[], object]] = {
        "fire_many": lambda: bench.tracepoints["vmm:vm_boot"].fire_many(**rows(10), threads=threads),
        "run": lambda: bench.run("boot", threads=threads),
        "replay": lambda: bench.replay(b"v-1  [000] ..... 1.5: vmm:vm_boot: vm_id=3 duration_ns=2\n", threads=threads),
    }
    with pytest.raises(ThreadsError) as raised:
        ways[way]()
    assert str(raised.value) == message
    assert isinstance(raised.value, AxebpfError | ValueError)
    assert not any(handle.fired for handle in bench.tracepoints.values())


def test_a_callback_elsewhere_does_not_matter_to_a_batch() -> None:
    bench = Bench(cpus=CPUS)
    bench.tracepoints["vmm:vcpu_run_exit"].on(lambda event: None)
    assert bench.tracepoints["vmm:vm_boot"].fire_many(**rows(10), threads=2) == 10


def test_a_batch_within_an_event_is_not_on_several_threads() -> None:
    bench = Bench(cpus=CPUS)
    exits, boots = bench.tracepoints["vmm:vcpu_run_exit"], bench.tracepoints["vmm:vm_boot"]
    exits.on(lambda event: boots.fire_many(**rows(10), threads=2) and None)
    with pytest.raises(ThreadsError, match="from within an event or a program; fire it with threads=1"):
        exits.fire(1, 0, 7, 5)
    assert boots.fired == 0


def test_a_cpu_that_there_is_not_is_refused_before_the_first_event() -> None:
    bench = Bench(cpus=2)
    with pytest.raises(ClockError, match="there is no CPU 3"):
        bench.tracepoints["vmm:vm_boot"].fire_many(vm_id=[1, 2], duration_ns=0, cpu=[0, 3], threads=2)
    assert bench.tracepoints["vmm:vm_boot"].fired == 0


def test_no_rows_are_no_events() -> None:
    bench = Bench()
    assert bench.tracepoints["vmm:vm_boot"].fire_many(vm_id=[], duration_ns=0, threads=2) == 0


# Ctrl-C


def test_a_process_in_the_middle_of_a_batch_ends_with_ctrl_c() -> None:
    """From outside, as a person does it: the batch would last for minutes."""
    code = """
        import numpy as np
        from axebpf import Bench, assemble

        bench = Bench(cpus=4)
        boots = bench.tracepoints["vmm:vm_boot"]
        text = "r0 = 0\\nagain:\\n r0 += 1\\n if r0 < 1000000 goto again\\n exit"
        bench.load_bytes(assemble(text), type="tracepoint").attach(boots)
        cpus = np.arange(1_000_000, dtype=np.uint32) % 4
        try:
            print("begun", flush=True)
            boots.fire_many(vm_id=np.zeros(1_000_000, np.uint32), duration_ns=0, cpu=cpus, threads=3)
        except KeyboardInterrupt:
            print(boots.fired < 1_000_000, boots.fired == bench.stats["vmm:vm_boot"].count)
            print(boots.fire_many(vm_id=[1, 2], duration_ns=0, cpu=[0, 1], threads=2))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "True True\n2\n"
    assert process.returncode == 0
