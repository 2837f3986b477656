"""The 29 tracepoints against a table of their layouts that does not come from our code."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axebpf import tracepoints
from axebpf.tracepoint import Field, Tracepoint, numpy_dtype
from axebpf.tracepoints import BUILTIN

TABLE = Path(__file__).parent / "data" / "tracepoints.txt"


def rows() -> list[tuple[str, int, int, list[str]]]:
    lines = [line.split() for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    return [(name, int(id), int(size), fields) for name, id, size, *fields in lines]


ROWS = rows()
BY_NAME = {tp.event_name: tp for tp in BUILTIN}


class TableLayout:
    """The layout that a row of the table states."""

    def __init__(self, size: int, fields: list[str]) -> None:
        self.size = size
        self.fields: list[tuple[str, str, int, int, bool]] = []
        for text in fields:
            name, kind, offset = text.split("=")[0].replace("@", ":").split(":")
            self.fields.append((name, kind, int(offset), int(kind[1:]) // 8, kind[0] == "i"))


def test_the_table_and_the_definitions_list_the_same_29() -> None:
    assert len(ROWS) == 29
    assert [tp.event_name for tp in BUILTIN] == [row[0] for row in ROWS]
    assert len({tp.id for tp in BUILTIN}) == 29


@pytest.mark.parametrize(("name", "id", "size", "fields"), ROWS, ids=[row[0] for row in ROWS])
def test_id_fields_and_display(name: str, id: int, size: int, fields: list[str]) -> None:
    tp = BY_NAME[name]
    assert tp.id == id
    assert [f"{f.name}:{f.type.text}" for f in tp.fields] == [text.split("@")[0] for text in fields]
    for f, text in zip(tp.fields, fields, strict=True):
        shown = text.partition("=")[2]
        label, divisor, suffix = shown.split("/") if "/" in shown else (shown, "1", "")
        assert f.hex == (shown == "hex")
        assert f.label == (label if label not in ("", "hex") else None)
        assert (f.scale, f.suffix) == (int(divisor), suffix)
    assert tp.doc


@pytest.mark.parametrize(("name", "id", "size", "fields"), ROWS, ids=[row[0] for row in ROWS])
def test_native_layout(name: str, id: int, size: int, fields: list[str]) -> None:
    if importlib.util.find_spec("axebpf._native") is None:
        pytest.skip("the native module is not built")
    expected = TableLayout(size, fields)
    layout = BY_NAME[name].layout()
    assert layout.size == size
    assert [f for f in layout.fields if not f[0].startswith("common_")] == expected.fields
    assert BY_NAME[name].dtype == numpy_dtype(expected)


@pytest.mark.parametrize(("name", "id", "size", "fields"), ROWS, ids=[row[0] for row in ROWS])
def test_dtype_agrees_with_numpys_own_c_layout(name: str, id: int, size: int, fields: list[str]) -> None:
    """NumPy's align=True computes a C layout by itself; it and the table must meet."""
    members: list[tuple[str, Any]] = [
        ("common_type", "u2"),
        ("common_flags", "u1"),
        ("common_preempt_count", "u1"),
        ("common_pid", "i4"),
    ]
    members += [(f.name, f.type.numpy) for f in BY_NAME[name].fields]
    ours, numpys = numpy_dtype(TableLayout(size, fields)), np.dtype(members, align=True)
    assert ours.itemsize == numpys.itemsize
    assert dict(ours.fields or {}) == dict(numpys.fields or {})


def test_every_duration_is_a_duration() -> None:
    """Statistics are fed by role: each field that is called duration_ns has it, in ns, and no other field."""
    for tp in BUILTIN:
        for f in tp.fields:
            assert (f.role == "duration") == (f.name == "duration_ns"), f"{tp.event_name}.{f.name}"
            assert f.role == "" or f.unit == "ns"


ENUMS = {
    "ExitReason": "HYPERCALL MMIO_READ MMIO_WRITE SYS_REG_READ SYS_REG_WRITE IO_READ IO_WRITE EXTERNAL_INTERRUPT "
    "NESTED_PAGE_FAULT HALT CPU_UP CPU_DOWN SYSTEM_DOWN NOTHING FAIL_ENTRY SEND_IPI",
    "VcpuState": "INVALID CREATED FREE READY RUNNING BLOCKED",
    "VmState": "LOADING LOADED RUNNING SUSPENDED STOPPING STOPPED",
    "ShutdownReason": "CLEAN SYSTEM_DOWN FORCED FAULT",
    "TimerEventType": "ONE_SHOT PERIODIC",
    "VmCommand": "CREATE START STOP SUSPEND RESUME RESTART DELETE LIST SHOW",
}


@pytest.mark.parametrize("name", ENUMS)
def test_encodings_in_order(name: str) -> None:
    assert [(m.name, m.value) for m in getattr(tracepoints, name)] == [
        (member, value) for value, member in enumerate(ENUMS[name].split())
    ]


def test_encodings_with_gaps() -> None:
    assert [(m.name, m.value) for m in tracepoints.AccessType] == [("READ", 1), ("WRITE", 2), ("EXECUTE", 4)]
    assert tracepoints.MappingFlags(0x1B).name == "READ|WRITE|USER|DEVICE"
    assert tracepoints.DeviceType(0x21).name == "GPPT_DISTRIBUTOR"


FIELD_ENUMS = {
    ("vmm:vcpu_run_exit", "exit_reason"): tracepoints.ExitReason,
    ("vmm:vcpu_state_change", "old_state"): tracepoints.VcpuState,
    ("vmm:vcpu_state_change", "new_state"): tracepoints.VcpuState,
    ("vmm:vm_shutdown", "reason"): tracepoints.ShutdownReason,
    ("vmm:page_fault", "access_type"): tracepoints.AccessType,
    ("vmm:memory_map", "flags"): tracepoints.MappingFlags,
    ("vmm:device_access", "device_id"): tracepoints.DeviceType,
    ("vmm:timer_event", "event_type"): tracepoints.TimerEventType,
    ("shell:shell_command", "cmd_id"): tracepoints.VmCommand,
}


def test_which_field_has_which_encoding() -> None:
    def enums(tp: type[Tracepoint]) -> list[Field]:
        return [f for f in tp.fields if f.enum]

    assert {(tp.event_name, f.name): f.enum for tp in BUILTIN for f in enums(tp)} == FIELD_ENUMS
