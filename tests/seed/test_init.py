"""`axebpf.init()` and `axebpf.init_with_symbols()`."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import axebpf
import pytest
from axebpf import Bench, symbols
from axebpf.tracepoint import TracepointManager


@pytest.fixture
def _threads_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_init_twice_is_init_once() -> None:
    """Seed: `init` is idempotent."""
    bench = axebpf.init(cpus=2, seed=5)
    bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1)
    assert axebpf.init() is bench
    assert bench.stats["vmm:vm_boot"].count == 1


def test_options_are_those_of_a_bench() -> None:
    assert axebpf.init(cpus=2).cpus == 2
    axebpf.default_bench().close()
    with pytest.raises(TypeError, match="cpu_count"):
        axebpf.init(cpu_count=2)
    assert not axebpf.is_initialized()


@pytest.mark.usefixtures("_threads_take_turns_often")
def test_threads_that_call_it_at_once_get_one_bench() -> None:
    """Seed's defect: tracepoint.rs published its flag before the manager existed."""
    for _ in range(20):
        together = threading.Barrier(5)
        made: list[Bench] = []
        counted: list[int] = []

        def make(together: threading.Barrier = together, made: list[Bench] = made) -> None:
            together.wait()
            made.append(axebpf.init())

        def watch(together: threading.Barrier = together, counted: list[int] = counted) -> None:
            together.wait()
            while (manager := TracepointManager.try_global()) is None:
                pass
            counted.append(manager.count())

        threads = [threading.Thread(target=make) for _ in range(4)] + [threading.Thread(target=watch)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(bench) for bench in made}) == 1
        assert counted == [29]
        made[0].close()


def test_importing_the_package_brings_nothing_that_is_slow() -> None:
    """The seed's modules, and what they need, come when they are first named."""
    slow = {"dataclasses", "difflib", "inspect", "numpy", "pathlib", "threading"}
    slow |= {f"axebpf.{name}" for name in ("kops", "platform", "tracepoint_manager", "tracepoints.stats")}
    code = f"import sys; before = set(sys.modules); import axebpf; print(*({slow!r} & set(sys.modules)) - before)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def blob() -> bytes:
    """A kallsyms blob of two symbols, without compression."""
    names = [b"T\x05\x00start", b"t\x04\x00stop"]
    out = struct.pack("<Q2Q2I2I", 2, 0x1000, 0x1040, 0, len(names[0]), 0, 1)
    out += struct.pack("<Q", len(b"".join(names))) + b"".join(names)
    out += bytes(-len(out) % 8) + struct.pack("<QQ", 0, 0)
    return out


def test_symbols_come_with_it() -> None:
    bench = axebpf.init_with_symbols(blob(), 0x1000, 0x2000, cpus=2)
    assert bench is axebpf.default_bench()
    assert bench.cpus == 2
    assert symbols.lookup_addr("stop") == 0x1040


def test_symbols_that_cannot_be_read_do_not_prevent_it() -> None:
    """Seed: an error of the symbols is logged, and the rest goes on."""
    with pytest.warns(RuntimeWarning, match="no symbols from this blob"):
        axebpf.init_with_symbols(b"\xff" * 16, 0x1000, 0x2000)
    assert axebpf.is_initialized()
    assert not symbols.is_initialized()
