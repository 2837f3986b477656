"""The default bench: who makes it, who finds it."""

import axebpf
import pytest
from axebpf import AlreadyInitialized, NotInitialized


def test_without_one_it_says_what_to_call() -> None:
    axebpf.init().close()
    assert not axebpf.is_initialized()
    with pytest.raises(NotInitialized, match=r"axebpf\.init\(\)"):
        axebpf.default_bench()


def test_a_second_call_returns_the_same_bench_and_takes_no_options() -> None:
    with axebpf.init(cpus=3) as bench:
        assert axebpf.init() is bench
        assert axebpf.default_bench() is bench
        assert bench.cpus == 3
        with pytest.raises(AlreadyInitialized):
            axebpf.init(cpus=4)


def test_after_closing_it_a_new_one_is_made() -> None:
    with axebpf.init() as first:
        first.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1)
    with axebpf.init(cpus=2) as second:
        assert second is not first
        assert second.stats["vmm:vm_boot"].count == 0


def test_an_unknown_name_of_the_package_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean Bench"):
        _ = axebpf.Bensh
