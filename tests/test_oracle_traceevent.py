"""libtraceevent, which trace-cmd and perf are built on, reads our `format` files and prints our records as we do."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from axebpf import Tracepoint, _native, char, field, i8, i16, i32, u8, u16, u32, u64
from axebpf.tracepoint import COMMON_FIELDS
from axebpf.tracepoints import BUILTIN


class Everything(Tracepoint, name="test:everything", id=4000):
    """Every integer type, a text, and every way to show a number."""

    tiny: u8
    small: u16
    minus_tiny: i8
    minus_small: i16
    minus: i32
    comm: char[16]  # type: ignore[valid-type]
    address: u64 = field(hex=True)
    memory: u64 = field(label="mem", scale=1 << 20, suffix="MB")
    word: u32 = field(label="renamed")


class TraceSeq(ctypes.Structure):
    """`struct trace_seq` of libtraceevent 1.x."""

    _fields_ = (
        ("buffer", ctypes.c_char_p),
        ("buffer_size", ctypes.c_uint),
        ("len", ctypes.c_uint),
        ("readpos", ctypes.c_uint),
        ("state", ctypes.c_int),
    )


class TepRecord(ctypes.Structure):
    """`struct tep_record` of libtraceevent 1.x."""

    _fields_ = (
        ("ts", ctypes.c_ulonglong),
        ("offset", ctypes.c_ulonglong),
        ("missed_events", ctypes.c_longlong),
        ("record_size", ctypes.c_int),
        ("size", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("cpu", ctypes.c_int),
        ("ref_count", ctypes.c_int),
        ("locked", ctypes.c_int),
        ("priv", ctypes.c_void_p),
    )


class TraceEvent:
    """A handle of libtraceevent."""

    def __init__(self, library: Any) -> None:
        self.library = library
        for name, result in (("tep_alloc", ctypes.c_void_p), ("tep_parse_event", ctypes.c_int)):
            getattr(library, name).restype = result
        self.handle = ctypes.c_void_p(library.tep_alloc())
        library.tep_set_long_size(self.handle, 8)

    def close(self) -> None:
        self.library.tep_free(self.handle)

    def parse(self, text: str, system: str) -> None:
        data = text.encode()
        error = self.library.tep_parse_event(self.handle, data, ctypes.c_ulong(len(data)), system.encode())
        assert error == 0, f"libtraceevent answers {error} to\n{text}"

    def text(self, record: bytes) -> str:
        """`name: fields`, as trace-cmd report prints it."""
        data = ctypes.create_string_buffer(record, len(record))
        entry = TepRecord(size=len(record), record_size=len(record), data=ctypes.cast(data, ctypes.c_void_p))
        out = TraceSeq()
        self.library.trace_seq_init(ctypes.byref(out))
        try:
            arguments = (ctypes.byref(entry), b"%s: %s", b"NAME", b"INFO")
            self.library.tep_print_event(self.handle, ctypes.byref(out), *arguments)
            self.library.trace_seq_terminate(ctypes.byref(out))
            return (out.buffer or b"").decode()
        finally:
            self.library.trace_seq_destroy(ctypes.byref(out))


@pytest.fixture(scope="module")
def traceevent() -> Iterator[TraceEvent]:
    for name in ("libtraceevent.so.1", ctypes.util.find_library("traceevent")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            break
    else:
        pytest.skip("no libtraceevent 1.x (install libtraceevent1)")
    traceevent = TraceEvent(library)
    yield traceevent
    traceevent.close()


def spec_of(tp: type[Tracepoint]) -> _native.TracepointSpec:
    return _native.TracepointSpec(tp.event_name, tp.id, tp.declaration())


def records(tp: type[Tracepoint], count: int) -> list[bytes]:
    """Records with random bytes in all fields, the ends of their ranges among them."""
    dice = np.random.default_rng(tp.id)
    rows = np.zeros(count, tp.dtype)
    rows["common_type"] = tp.id
    common = [name for name, _, _ in COMMON_FIELDS]
    for name in rows.dtype.names or ():
        if name in common:
            continue
        kind = rows.dtype[name]
        if kind.kind == "S":
            rows[name] = [b"x" * int(n) for n in dice.integers(0, kind.itemsize, count)]
            continue
        rows[name] = np.frombuffer(dice.bytes(kind.itemsize * count), kind)
        ends = np.iinfo(kind)
        rows[name][:3] = [ends.min, ends.max, 0]
        # Small numbers too: of random ones, nearly all have all their digits.
        rows[name][3 : count // 2] &= 0x7F
    return [row.tobytes() for row in rows]


@pytest.mark.parametrize("tp", [*BUILTIN, Everything], ids=lambda tp: tp.event_name)
def test_records_print_as_libtraceevent_prints_them(traceevent: TraceEvent, tp: type[Tracepoint]) -> None:
    spec = spec_of(tp)
    traceevent.parse(spec.format("linux"), tp.subsystem)
    for record in records(tp, 50):
        assert len(record) == spec.size
        assert traceevent.text(record) == f"{tp.event}: {spec.text(record)}"


def test_a_wrong_offset_would_be_seen(traceevent: TraceEvent) -> None:
    """The comparison above can fail: libtraceevent goes by the format, not by what we print."""
    (boot,) = (tp for tp in BUILTIN if tp.event_name == "vmm:vm_boot")
    other = TraceEvent(traceevent.library)
    try:
        other.parse(spec_of(boot).format("linux").replace("offset:16;", "offset:8;"), "vmm")
        record = records(boot, 10)[9]
        assert other.text(record) != f"vm_boot: {spec_of(boot).text(record)}"
    finally:
        other.close()
