"""`axebpf.kops`: what a tracepoint framework asks of a kernel, answered from a bench."""

from __future__ import annotations

import struct

import axebpf
import pytest
from axebpf import Bench, BenchClosed, FieldError, NotFound, NotInitialized, kops, tracepoint
from axebpf.kops import AxKops, KernelTraceOps

VM_DESTROY = 4


def destroyed(vm_id: int, pid: int = 0) -> bytes:
    return struct.pack("<HBBiI", VM_DESTROY, 0, 0, pid, vm_id)


def test_time_cpu_and_pid_are_the_benchs() -> None:
    bench = Bench()
    ops = AxKops(bench)
    bench.clock.set(5_000)
    bench.cpu = 3
    assert (ops.time_now(), ops.cpu_id(), ops.current_pid()) == (5_000, 3, 0)


def test_it_is_a_kernel_trace_ops_and_tracepoint_names_that_too() -> None:
    assert isinstance(AxKops(Bench()), KernelTraceOps)
    assert tracepoint.KernelTraceOps is KernelTraceOps


def test_a_raw_record_enters_the_trace_and_nothing_else() -> None:
    bench = Bench()
    seen: list[object] = []
    bench.tracepoints["vmm:vm_destroy"].on(seen.append)
    bench.clock.set(2_000_000_000)
    bench.cpu = 1
    AxKops(bench).trace_pipe_push_raw_record(destroyed(7))
    (entry,) = bench.trace.records()
    assert (entry.name, entry.time_ns, entry.cpu, entry.pid, entry.comm) == (
        "vmm:vm_destroy",
        2_000_000_000,
        1,
        0,
        "axvisor",
    )
    assert bench.trace.text() == "         axvisor-0       [001] .....     2.000000: vm_destroy: vm_id=7\n"
    assert (seen, bench.tracepoints["vmm:vm_destroy"].fired, bench.stats["vmm:vm_destroy"].count) == ([], 0, 0)


def test_a_pushed_record_is_the_fired_one() -> None:
    bench = Bench()
    bench.enable("vmm:vm_destroy")
    bench.tracepoints["vmm:vm_destroy"].fire(vm_id=7)
    AxKops(bench).trace_pipe_push_raw_record(destroyed(7))
    fired, pushed = bench.trace.records()
    assert fired.record == pushed.record
    assert len(set(bench.trace.text().splitlines())) == 1


def test_padding_behind_a_record_is_cut() -> None:
    bench = Bench()
    AxKops(bench).trace_pipe_push_raw_record(destroyed(7) + b"\xff" * 4)
    assert bench.trace.records()[0].record == destroyed(7)


def test_tasks_are_called_what_was_said() -> None:
    bench = Bench()
    ops = AxKops(bench)
    ops.trace_pipe_push_raw_record(destroyed(1, pid=9))
    ops.trace_cmdline_push(9, "vcpu")
    ops.trace_cmdline_push(-1, "idle")
    ops.trace_pipe_push_raw_record(destroyed(2, pid=9))
    ops.trace_pipe_push_raw_record(destroyed(3, pid=-1))
    assert [(e.pid, e.comm) for e in bench.trace.records()] == [(9, ""), (9, "vcpu"), (-1, "idle")]
    assert [line.split("-")[0].strip() for line in bench.trace.text().splitlines()] == ["<...>", "vcpu", "idle"]


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        (b"", FieldError, "header of 8 bytes; this one has 0"),
        (destroyed(1)[:7], FieldError, "header of 8 bytes; this one has 7"),
        (destroyed(1)[:-1], FieldError, "vmm:vm_destroy has 12 bytes, not 11"),
        (bytes(8), NotFound, "no tracepoint has id 0"),
        (b"\xff" * 12, NotFound, "no tracepoint has id 65535"),
    ],
)
def test_what_is_no_record_is_refused(record: bytes, error: type[Exception], message: str) -> None:
    bench = Bench()
    with pytest.raises(error, match=message):
        AxKops(bench).trace_pipe_push_raw_record(record)
    assert len(bench.trace) == 0


def test_the_pipe_is_the_trace_of_the_default_bench() -> None:
    with pytest.raises(NotInitialized):
        _ = kops.TRACE_PIPE
    with pytest.raises(NotInitialized):
        AxKops()
    bench = axebpf.init()
    assert kops.TRACE_PIPE is bench.trace
    AxKops().trace_pipe_push_raw_record(destroyed(1))
    assert len(kops.TRACE_PIPE) == 1


def test_no_code_is_patched() -> None:
    """The seed's `write_kernel_text` has no counterpart in user space."""
    assert not hasattr(AxKops(Bench()), "write_kernel_text")
    with pytest.raises(AttributeError, match="did you mean TRACE_PIPE"):
        _ = kops.TRACE_PIP


def test_operations_on_a_closed_bench_say_so() -> None:
    bench = Bench()
    ops = AxKops(bench)
    bench.close()
    for use in (ops.time_now, ops.cpu_id, lambda: ops.trace_pipe_push_raw_record(destroyed(1))):
        with pytest.raises(BenchClosed):
            use()
