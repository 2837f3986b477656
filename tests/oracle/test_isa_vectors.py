"""The conformance vectors of ``tests/data/isa`` on the running Linux kernel.

Their format is described in ``tests/data/isa/README.md``. A vector is wrapped: a main function passes it the address
and the length of its memory, which is the value of an array map, and stores all 64 bits of its r0 in another map
(BPF_PROG_TEST_RUN gives 32).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import kernel
import pytest

DATA = Path(__file__).parent.parent / "data" / "isa"

Vector = dict[str, Any]

UNAVAILABLE = kernel.why_unavailable()

pytestmark = pytest.mark.skipif(UNAVAILABLE is not None, reason=str(UNAVAILABLE))


def vectors() -> list[Any]:
    """Every vector of every file, as pytest parameters."""
    return [
        pytest.param(vector, id=f"{path.stem}-{vector['name']}")
        for path in sorted(DATA.glob("*.json"))
        for vector in json.loads(path.read_text())["vectors"]
    ]


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One slot."""
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def value_address(register: int, map_fd: int) -> bytes:
    """``lddw`` of the address of an array map's only value (PSEUDO_MAP_VALUE)."""
    return insn(0x18, register, 2, 0, map_fd) + insn(0)


def wrapped(code: bytes, result_fd: int, memory_fd: int | None, length: int) -> bytes:
    """The program that calls ``code`` as a function and stores its r0 in a map."""
    arguments = insn(0xB7, 1) if memory_fd is None else value_address(1, memory_fd)
    arguments += insn(0xB7, 2, imm=length)
    result = value_address(1, result_fd) + insn(0x7B, 1, 0) + insn(0xB7, 0) + insn(0x95)
    return arguments + insn(0x85, 0, 1, 0, len(result) // 8) + result + code


def array(value: bytes, fds: list[int]) -> int:
    """An array map of one entry with this value."""
    fd = kernel.map_create(kernel.MapType.ARRAY, 4, len(value), 1)
    fds.append(fd)
    kernel.map_update(fd, bytes(4), value)
    return fd


def run(vector: Vector, fds: list[int]) -> tuple[int, bytes]:
    """r0 and the memory after a run. The ``linux`` field of a vector says what is special about it."""
    linux = vector.get("linux", {})
    code, memory = bytes.fromhex(vector["code"]), bytes.fromhex(vector.get("memory", ""))
    prog_type = kernel.ProgType[linux.get("type", "syscall").upper()]
    result_fd = array(bytes(8), fds)
    memory_fd = array(memory, fds) if memory else None
    if not linux.get("direct"):
        code = wrapped(code, result_fd, memory_fd, len(memory))
    prog_fd, _ = kernel.prog_load(prog_type, code)
    fds.append(prog_fd)
    # A raw tracepoint wants at least two u64 of context; no vector reads it.
    returned, _ = kernel.test_run(prog_fd, bytes(16) if prog_type == kernel.ProgType.RAW_TRACEPOINT else None)
    r0 = returned if linux.get("direct") else int.from_bytes(kernel.map_lookup(result_fd, bytes(4), 8), "little")
    return r0, b"" if memory_fd is None else kernel.map_lookup(memory_fd, bytes(4), len(memory))


@pytest.mark.parametrize("vector", vectors())
def test_vector(vector: Vector) -> None:
    linux = vector.get("linux", {})
    with kernel.descriptors() as fds:
        if "refuses" in linux:
            with pytest.raises(kernel.VerifierRefused) as refused:
                run(vector, fds)
            assert linux["refuses"] in refused.value.log
            return
        r0, memory = run(vector, fds)
        assert hex(r0) == vector["r0"]
        assert memory.hex() == vector.get("memory_after", vector.get("memory", ""))
