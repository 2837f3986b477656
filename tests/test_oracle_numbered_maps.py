"""Objects with program arrays and maps of maps, loaded by libbpf and run by the kernel: the same results and maps."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axebpf import Bench

DATA = Path(__file__).parent / "data"


class RunOptions(ctypes.Structure):
    """`struct bpf_test_run_opts` of libbpf."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_char_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


class InKernel:
    """An object in the kernel."""

    def __init__(self, libbpf: ctypes.CDLL, path: Path) -> None:
        self._libbpf = libbpf
        self._object = libbpf.bpf_object__open_file(os.fsencode(path), None)
        assert self._object
        assert libbpf.bpf_object__load(self._object) == 0

    def run(self, program: str, context: bytes) -> int:
        """What a program returns, as BPF_PROG_TEST_RUN runs it."""
        found = self._libbpf.bpf_object__find_program_by_name(self._object, program.encode())
        options = RunOptions(sz=ctypes.sizeof(RunOptions), ctx_in=context, ctx_size_in=len(context))
        assert self._libbpf.bpf_prog_test_run_opts(self._libbpf.bpf_program__fd(found), ctypes.byref(options)) == 0
        return options.retval

    def values(self, name: str, keys: int) -> list[int]:
        """The values of an array."""
        file = self._libbpf.bpf_object__find_map_fd_by_name(self._object, name.encode())
        out = []
        for key in range(keys):
            number, value = ctypes.c_uint32(key), ctypes.c_uint64()
            assert self._libbpf.bpf_map_lookup_elem(file, ctypes.byref(number), ctypes.byref(value)) == 0
            out.append(value.value)
        return out

    def close(self) -> None:
        self._libbpf.bpf_object__close(self._object)


@pytest.fixture
def load(root_bpf: str) -> Iterator[Callable[[Path], InKernel]]:
    name = ctypes.util.find_library("bpf")
    if name is None:
        pytest.skip("libbpf is not installed (libbpf1 or libbpf-dev)")
    libbpf = ctypes.CDLL(name, use_errno=True)
    for function in ("bpf_object__open_file", "bpf_object__find_program_by_name"):
        getattr(libbpf, function).restype = ctypes.c_void_p
    libbpf.bpf_object__open_file.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    libbpf.bpf_object__load.argtypes = libbpf.bpf_object__close.argtypes = [ctypes.c_void_p]
    libbpf.bpf_program__fd.argtypes = [ctypes.c_void_p]
    for function in ("bpf_object__find_program_by_name", "bpf_object__find_map_fd_by_name"):
        getattr(libbpf, function).argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    opened: list[InKernel] = []

    def load(path: Path) -> InKernel:
        opened.append(InKernel(libbpf, path))
        return opened[-1]

    yield load
    for each in opened:
        each.close()


def context(vm_id: int, reason: int) -> bytes:
    return struct.pack("<12Q", vm_id, 0, reason, *[0] * 9)


def test_tail_calls_go_where_the_kernel_goes(load: Callable[..., InKernel], compile_bpf: Callable[..., Path]) -> None:
    path = compile_bpf("tail_calls", (DATA / "tail_calls.c").read_text())
    theirs, ours = load(path), Bench().load(path)
    for program in ("on_exit", "from_a_function", "on_itself", "on_hypercall"):
        for reason in (0, 1, 5, 7, 8, 1 << 32, (1 << 32) + 5):
            assert ours[program].run(context(1, reason)).r0 == theirs.run(program, context(1, reason)), (
                program,
                reason,
            )
    assert ours.maps["SEEN"].to_numpy()[1].tolist() == theirs.values("SEEN", 4)


def test_maps_of_maps_are_filled_as_libbpf_does(
    load: Callable[..., InKernel], compile_bpf: Callable[..., Path]
) -> None:
    path = compile_bpf("maps_of_maps", (DATA / "maps_of_maps.c").read_text())
    theirs, ours = load(path), Bench().load(path)
    for vm_id in range(6):
        for reason in (0, 3, 15, 16):
            record = context(vm_id, reason)
            assert ours["on_exit"].run(record).r0 == theirs.run("on_exit", record)
    for name in ("FIRST", "SECOND"):
        assert ours.maps[name].to_numpy()[1].tolist() == theirs.values(name, 16)
