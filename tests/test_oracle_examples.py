"""The running kernel, through libbpf, loads every example: its verifier has nothing against any of their programs.

Only loaded, not attached: this kernel has no tracepoints of a hypervisor. It does not know the sections `axvisor/…`
either, and takes the programs in them for such of a tracepoint.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from axebpf.examples import example

OBJECTS = sorted(path.name for path in example("vmm.h").parent.glob("*.bpf.o"))

TRACEPOINT = 5
"""`BPF_PROG_TYPE_TRACEPOINT`."""

Printer = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@pytest.fixture(scope="module")
def load(root_bpf: str) -> Callable[[Path], list[str]]:
    """Loads an object into the kernel and out again; gives what libbpf had to say if it was refused."""
    name = ctypes.util.find_library("bpf")
    if name is None:
        pytest.skip("libbpf is not installed (libbpf1 or libbpf-dev)")
    libbpf, libc = ctypes.CDLL(name, use_errno=True), ctypes.CDLL(None)
    libbpf.bpf_object__open_file.restype = ctypes.c_void_p
    libbpf.bpf_object__open_file.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    libbpf.bpf_object__load.argtypes = libbpf.bpf_object__close.argtypes = [ctypes.c_void_p]
    libbpf.bpf_object__next_program.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    libbpf.bpf_object__next_program.restype = ctypes.c_void_p
    libbpf.bpf_program__section_name.argtypes = [ctypes.c_void_p]
    libbpf.bpf_program__section_name.restype = ctypes.c_char_p
    libbpf.bpf_program__set_type.argtypes = [ctypes.c_void_p, ctypes.c_int]
    libc.vsnprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]

    @Printer
    def keep(level: int, form: bytes, arguments: int) -> int:
        line = ctypes.create_string_buffer(1 << 16)
        length: int = libc.vsnprintf(line, len(line), form, arguments)
        if level < 2:  # LIBBPF_DEBUG
            said.append(line.value.decode(errors="replace"))
        return length

    said: list[str] = []

    def load(path: Path) -> list[str]:
        said.clear()
        libbpf.libbpf_set_print(keep)
        opened = libbpf.bpf_object__open_file(os.fsencode(path), None)
        assert opened, said
        program = libbpf.bpf_object__next_program(opened, None)
        while program:
            if libbpf.bpf_program__section_name(program).startswith(b"axvisor/"):
                libbpf.bpf_program__set_type(program, TRACEPOINT)
            program = libbpf.bpf_object__next_program(opened, program)
        refused = libbpf.bpf_object__load(opened)
        libbpf.bpf_object__close(opened)
        libbpf.libbpf_set_print(None)
        return said if refused else []

    return load


@pytest.mark.parametrize("name", OBJECTS)
def test_the_kernel_takes_the_example(load: Callable[[Path], list[str]], name: str) -> None:
    assert load(example(name)) == []


def test_the_kernel_refuses_a_lookup_whose_result_is_not_tested(
    load: Callable[[Path], list[str]], compile_bpf: Callable[..., Path]
) -> None:
    text = """
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, long);
} M SEC(".maps");
SEC("tracepoint/vmm/vm_boot") int unchecked(void *ctx)
{
	int key = 0;

	return *(long *)bpf_map_lookup_elem(&M, &key);
}
"""
    assert "map_value_or_null" in "".join(load(compile_bpf("unchecked", text)))
