"""The running Linux kernel as an oracle: bpf(2) through ctypes, nothing else needed.

    fd, log = prog_load(ProgType.SYSCALL, code)      # code: bytes, 8 a slot
    r0, ctx = test_run(fd, ctx=bytes(16))
    os.close(fd)

Every function raises ``OSError`` with the kernel's errno; where the verifier refused a program, the exception's ``log``
attribute holds what it said. Layouts and numbers: ``union bpf_attr`` in the UAPI header ``linux/bpf.h``, bpf(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import os
import platform
import struct
from collections.abc import Iterator

_SYSCALL_NUMBER = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_ATTR_SIZE = 160
_LOG_SIZE = 1 << 22

_libc = ctypes.CDLL(None, use_errno=True)


class ProgType(enum.IntEnum):
    """``enum bpf_prog_type``, the types that axebpf knows."""

    SOCKET_FILTER = 1
    KPROBE = 2
    TRACEPOINT = 5
    XDP = 6
    PERF_EVENT = 7
    RAW_TRACEPOINT = 17
    SYSCALL = 31


class MapType(enum.IntEnum):
    """``enum bpf_map_type``, the kinds that axebpf knows."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    QUEUE = 22
    STACK = 23
    RINGBUF = 27
    BLOOM_FILTER = 30


class _Command(enum.IntEnum):
    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    MAP_LOOKUP_AND_DELETE_ELEM = 21
    MAP_FREEZE = 22


F_SLEEPABLE = 1 << 4
"""``prog_flags``: the program may sleep; ``SYSCALL`` programs must."""


class VerifierRefused(OSError):  # noqa: N818 (it is what the verifier did)
    """PROG_LOAD failed; ``log`` is the verifier's log."""

    def __init__(self, errno_: int, log: str) -> None:
        lines = [line for line in log.splitlines() if line and not line.startswith(("processed ", "verification time"))]
        super().__init__(errno_, f"{os.strerror(errno_)}: {lines[-1] if lines else 'no log'}")
        self.log = log


def _bpf(command: _Command, attr: bytearray) -> int:
    """One bpf(2) call; ``attr`` is changed in place where the kernel answers in it."""
    number = _SYSCALL_NUMBER.get(platform.machine())
    if number is None:
        raise OSError(38, f"no syscall number of bpf(2) known for {platform.machine()}")
    attr.extend(bytes(_ATTR_SIZE - len(attr)))
    buffer = (ctypes.c_char * _ATTR_SIZE).from_buffer(attr)
    result = _libc.syscall(number, int(command), buffer, _ATTR_SIZE)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def _address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(len(data), 1))


def why_unavailable() -> str | None:
    """Why bpf(2) cannot be used here, or ``None`` where it can: the reason of a skip."""
    try:
        os.close(map_create(MapType.ARRAY, 4, 8, 1))
        # r0 = 0; exit
        fd, _ = prog_load(ProgType.SYSCALL, bytes.fromhex("b7000000000000009500000000000000"))
        os.close(fd)
    except OSError as error:
        return f"the kernel's bpf(2) is not available: {error}"
    return None


def release() -> str:
    """The kernel's release, for messages and for tables that hold for one version only."""
    return platform.release()


def prog_load(
    prog_type: int, insns: bytes, license: str = "GPL", log_level: int = 1, *, name: str = "", flags: int | None = None
) -> tuple[int, str]:
    """Loads a program; returns its descriptor and the verifier's log.

    ``log_level``: 0 none, 1 what led to a refusal, 2 every instruction that the verifier walked. ``flags`` is
    ``prog_flags``; by default 0, and ``F_SLEEPABLE`` for ``SYSCALL`` programs.
    """
    if len(insns) % 8:
        raise ValueError(f"{len(insns)} bytes of instructions are not a multiple of 8")
    code = _buffer(insns)
    licence = _buffer(license.encode() + b"\0")
    log = ctypes.create_string_buffer(_LOG_SIZE) if log_level else None
    if flags is None:
        flags = F_SLEEPABLE if prog_type == ProgType.SYSCALL else 0
    attr = bytearray(
        struct.pack(
            "<IIQQIIQII16s",
            prog_type,
            len(insns) // 8,
            _address(code),
            _address(licence),
            log_level,
            _LOG_SIZE if log_level else 0,
            _address(log),
            0,
            flags,
            name.encode()[:15],
        )
    )
    try:
        fd = _bpf(_Command.PROG_LOAD, attr)
    except OSError as error:
        text = "" if log is None else log.value.decode(errors="replace")
        raise VerifierRefused(error.errno or 0, text) from None
    return fd, "" if log is None else log.value.decode(errors="replace")


def test_run(fd: int, ctx: bytes | None = None, data: bytes | None = None, repeat: int = 0) -> tuple[int, bytes]:
    """Runs a loaded program once.

    Returns the low 32 bits of r0 (the kernel gives no more) and the context, or where ``data`` was given the packet,
    as the program left it. ``SYSCALL`` and ``RAW_TRACEPOINT`` programs take ``ctx``; ``XDP`` and ``SOCKET_FILTER``
    ``data``.
    """
    ctx_buffer = None if ctx is None else _buffer(ctx)
    data_buffer = None if data is None else _buffer(data)
    out = None if data is None else ctypes.create_string_buffer(len(data) + 256)
    attr = bytearray(
        struct.pack(
            "<IIIIQQIIIIQQ",
            fd,
            0,
            len(data or b""),
            0 if out is None else len(out),
            _address(data_buffer),
            _address(out),
            repeat,
            0,
            len(ctx or b""),
            0,
            _address(ctx_buffer),
            0,
        )
    )
    _bpf(_Command.PROG_TEST_RUN, attr)
    (r0,) = struct.unpack_from("<I", attr, 4)
    if out is not None:
        (size,) = struct.unpack_from("<I", attr, 12)
        return r0, out.raw[:size]
    return r0, b"" if ctx_buffer is None else ctx_buffer.raw[: len(ctx or b"")]


test_run.__test__ = False  # type: ignore[attr-defined]  # pytest: a function of the oracle, not a test


def map_create(
    map_type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    *,
    inner_fd: int = 0,
    name: str = "",
) -> int:
    """Creates a map; returns its descriptor."""
    attr = bytearray(
        struct.pack("<IIIIIII16s", map_type, key_size, value_size, max_entries, flags, inner_fd, 0, name.encode()[:15])
    )
    return _bpf(_Command.MAP_CREATE, attr)


def _map_call(
    command: _Command, fd: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None, flags: int = 0
) -> None:
    # The buffers must outlive the call: the attributes hold their addresses only.
    key_buffer = None if key is None else _buffer(key)
    _bpf(command, bytearray(struct.pack("<IIQQQ", fd, 0, _address(key_buffer), _address(value), flags)))


def map_update(fd: int, key: bytes | None, value: bytes, flags: int = 0) -> None:
    """Sets a value (``key`` is ``None`` for queues and stacks: a push)."""
    _map_call(_Command.MAP_UPDATE_ELEM, fd, key, _buffer(value), flags)


def map_lookup(fd: int, key: bytes | None, value_size: int, flags: int = 0) -> bytes:
    """The value of a key (``None``: a peek). ``value_size``: of a per-CPU map, all CPUs' padded values together."""
    value = ctypes.create_string_buffer(value_size)
    _map_call(_Command.MAP_LOOKUP_ELEM, fd, key, value, flags)
    return value.raw


def map_delete(fd: int, key: bytes) -> None:
    """Deletes a key."""
    _map_call(_Command.MAP_DELETE_ELEM, fd, key, None)


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes:
    """The key after ``key`` (``None``: the first); ``ENOENT`` after the last."""
    following = ctypes.create_string_buffer(key_size)
    _map_call(_Command.MAP_GET_NEXT_KEY, fd, key, following)
    return following.raw


def map_lookup_and_delete(fd: int, key: bytes | None, value_size: int, flags: int = 0) -> bytes:
    """Takes a value out (``key`` is ``None`` for queues and stacks: a pop)."""
    value = ctypes.create_string_buffer(value_size)
    _map_call(_Command.MAP_LOOKUP_AND_DELETE_ELEM, fd, key, value, flags)
    return value.raw


def map_freeze(fd: int) -> None:
    """Forbids changes from user space from now on."""
    _bpf(_Command.MAP_FREEZE, bytearray(struct.pack("<I", fd)))


@contextlib.contextmanager
def descriptors() -> Iterator[list[int]]:
    """A list whose descriptors are closed at the end of the block."""
    fds: list[int] = []
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)
