"""Ctrl-C in a batch, and threads that use a bench at the same time."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from axebpf import Bench, BenchClosed, assemble
from axebpf.examples import example
from counting import counting

# Ctrl-C: raised inside the process, at a known event, so that nothing depends on time.


def by_listener(bench: Bench, act: Callable[[], None]) -> None:
    bench.tracepoints["vmm:vm_boot"].on(lambda event: act())


def by_helper(bench: Bench, act: Callable[[], None]) -> None:
    bench.helper("u64 act(void)", id=0x10000)(act)
    bench.load_bytes(assemble("call act#65536\nexit"), type="tracepoint").attach("vmm:vm_boot")


@pytest.mark.parametrize("way", [by_listener, by_helper])
def test_ctrl_c_ends_a_batch_and_the_bench_goes_on(way: Callable[[Bench, Callable[[], None]], None]) -> None:
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    turns = 0

    def at_the_hundredth() -> None:
        nonlocal turns
        turns += 1
        if turns == 100:
            signal.raise_signal(signal.SIGINT)

    way(bench, at_the_hundredth)
    with pytest.raises(KeyboardInterrupt):
        boots.fire_many(vm_id=np.zeros(1_000_000, np.uint32), duration_ns=0)
    fired = boots.fired
    assert 100 <= fired < 1_000_000
    assert turns == fired == bench.stats["vmm:vm_boot"].count
    assert boots.fire_many(vm_id=[1, 2, 3], duration_ns=0) == 3
    assert boots.fired == fired + 3


def test_ctrl_c_from_another_thread_ends_a_batch_that_runs_without_python() -> None:
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    counts = counting(bench, max_entries=16)
    rows = 1 << 16
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait()
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()

    def fire() -> None:
        begun.set()
        for _ in range(10_000):
            boots.fire_many(vm_id=np.zeros(rows, np.uint32), duration_ns=0)

    with pytest.raises(KeyboardInterrupt):
        fire()
    thread.join()
    assert counts[0] == boots.fired
    assert boots.fire_many(vm_id=[1], duration_ns=0) == 1


def test_ctrl_c_ends_a_workload() -> None:
    bench = Bench()
    exits = bench.tracepoints["vmm:vcpu_run_exit"]

    def interrupt(event: Any) -> None:
        if exits.fired == 50:
            signal.raise_signal(signal.SIGINT)

    exits.on(interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.run("boot")
    assert exits.fired == 50
    exits.fire(1, 0, 7, 5)


def test_a_process_in_the_middle_of_a_batch_ends_with_ctrl_c() -> None:
    """From outside, as a person does it: the batch would last for minutes."""
    code = """
        import sys
        import numpy as np
        from axebpf import Bench, assemble

        bench = Bench()
        boots = bench.tracepoints["vmm:vm_boot"]
        text = "r0 = 0\\nagain:\\n r0 += 1\\n if r0 < 1000000 goto again\\n exit"
        bench.load_bytes(assemble(text), type="tracepoint").attach(boots)
        try:
            print("begun", flush=True)
            boots.fire_many(vm_id=np.zeros(1_000_000, np.uint32), duration_ns=0)
        except KeyboardInterrupt:
            print(boots.fired < 1_000_000, boots.fired == bench.stats["vmm:vm_boot"].count)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "True True\n"
    assert process.returncode == 0


# Threads


def in_threads(*functions: Callable[[], object]) -> None:
    """Runs functions at the same time; an exception of one fails the test."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(functions))

    def guarded(function: Callable[[], object]) -> None:
        start.wait()
        try:
            function()
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_two_threads_fire_on_one_bench_while_a_third_reads() -> None:
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    counts = counting(bench, max_entries=16)
    rows, batches = 20_000, 10
    reads: list[int] = []

    def fire(vm: int) -> None:
        for _ in range(batches):
            assert boots.fire_many(vm_id=np.full(rows, vm, np.uint32), duration_ns=5) == rows

    def fire_one_by_one() -> None:
        for _ in range(500):
            boots.fire(3, 5)

    def read() -> None:
        while not reads or reads[-1] < 2 * rows * batches + 500:
            reads.append(sum(counts.values()))
            assert bench.stats["vmm:vm_boot"].count >= reads[-1] or counts[0] == 0

    in_threads(lambda: fire(1), lambda: fire(2), fire_one_by_one, read)
    assert (counts[1], counts[2], counts[3]) == (rows * batches, rows * batches, 500)
    assert reads == sorted(reads)
    assert bench.stats["vmm:vm_boot"].total_ns == 5 * boots.fired


def test_two_benches_run_at_the_same_time() -> None:
    benches = [Bench(), Bench()]
    for bench in benches:
        bench.load(example("exits.bpf.o"))["on_exit"].attach()
    rows = 200_000

    def fire(bench: Bench, reason: int) -> None:
        bench.tracepoints["vmm:vcpu_run_exit"].fire_many(
            vm_id=np.ones(rows, np.uint32), vcpu_id=0, exit_reason=reason, duration_ns=3
        )

    in_threads(lambda: fire(benches[0], 7), lambda: fire(benches[1], 9))
    assert benches[0].maps["EXITS"] == {(1, 7): (rows, 3 * rows, 3)}
    assert benches[1].maps["EXITS"] == {(1, 9): (rows, 3 * rows, 3)}


def test_other_threads_run_while_a_batch_is_fired() -> None:
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    counting(bench, max_entries=16)
    column = np.zeros(60_000, np.uint32)
    go, ran = threading.Event(), threading.Event()

    def run() -> None:
        go.wait()
        ran.set()

    thread = threading.Thread(target=run)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # from now on, threads change only where one lets go of the GIL
    try:
        thread.start()
        go.set()
        for _ in range(1000):
            boots.fire_many(vm_id=column, duration_ns=0)
            if ran.is_set():
                break
        assert ran.is_set()
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def test_threads_with_listeners_do_not_wait_for_each_other_for_ever() -> None:
    """A listener needs the GIL while its thread holds the bench; the other thread wants the bench and holds the GIL."""
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    seen: list[int] = []
    boots.on(lambda event: seen.append(event.vm_id))

    def fire(vm: int) -> None:
        for _ in range(50):
            boots.fire_many(vm_id=np.full(50, vm, np.uint32), duration_ns=0)
            boots.fire(vm, 0)
            len(bench.trace)

    in_threads(lambda: fire(1), lambda: fire(2), lambda: fire(3))
    assert sorted(seen) == sorted([1, 2, 3] * 50 * 51)


def test_a_bench_closed_by_another_thread() -> None:
    bench = Bench()
    boots = bench.tracepoints["vmm:vm_boot"]
    begun = threading.Event()
    listener = boots.on(lambda event: begun.set())

    def close() -> None:
        begun.wait()
        bench.close()

    def fire() -> None:
        while True:
            boots.fire_many(vm_id=[1, 2, 3], duration_ns=0)

    with pytest.raises(BenchClosed):
        in_threads(close, fire)
    assert bench.closed
    with pytest.raises(BenchClosed):
        listener.remove()
