"""`TracepointManager`, and the functions that each tracepoint has."""

from __future__ import annotations

import copy
import inspect
import struct
from collections import Counter

import axebpf
import pytest
from axebpf import (
    AlreadyInitialized,
    Bench,
    BenchClosed,
    Event,
    FieldError,
    InvalidName,
    NotFound,
    NotInitialized,
    Tracepoint,
    TracepointError,
    tracepoint,
    tracepoints,
    u32,
)
from axebpf.tracepoint import TracepointInfo, TracepointManager

from .conftest import Row, rows

CODES = {"u32": "I", "u64": "Q", "i64": "q"}


class VmPause(Tracepoint, name="test:vm_pause", id=3500):
    """A tracepoint of one's own."""

    vm_id: u32


# The manager


def test_whether_it_is_initialized_can_be_asked() -> None:
    """Seed: the state of initialization can be called for."""
    assert not tracepoint.is_initialized()
    bench = tracepoint.init()
    assert tracepoint.is_initialized()
    assert tracepoint.init() is bench


def test_try_global_gives_none_before_init() -> None:
    """Seed: `try_global` does not panic."""
    assert TracepointManager.try_global() is None
    axebpf.init()
    manager = TracepointManager.try_global()
    assert manager is not None
    assert manager.count() == 29


def test_global_says_what_to_call_first() -> None:
    with pytest.raises(NotInitialized, match=r"not initialized.*axebpf\.init\(\)"):
        TracepointManager.global_()


def test_messages_of_the_errors() -> None:
    """Seed: each error's text has its reason."""
    axebpf.init()
    manager = TracepointManager.global_()
    assert "not initialized" in str(NotInitialized())
    assert "already initialized" in str(AlreadyInitialized())
    with pytest.raises(NotFound, match="no tracepoint vmm:vm_bot; did you mean vmm:vm_boot"):
        manager.get("vmm:vm_bot")
    with pytest.raises(InvalidName, match='"vm_boot" is no name of a tracepoint: expected subsystem:event'):
        manager.get("vm_boot")


@pytest.mark.parametrize("error", [NotInitialized(), AlreadyInitialized(), NotFound("x"), InvalidName("y")])
def test_errors_are_shown_copied_and_of_one_family(error: TracepointError) -> None:
    """Seed: errors have Debug and Clone."""
    again = copy.copy(error)
    assert (type(again), str(again)) == (type(error), str(error))
    assert type(error).__name__ in repr(error)
    assert isinstance(error, TracepointError)


def test_infos_are_shown_and_copied() -> None:
    """Seed: TracepointInfo has Debug and Clone."""
    info = TracepointInfo("vmm:vm_boot", "vmm", "vm_boot", True, 2)
    assert copy.copy(info) == info
    assert "name='vmm:vm_boot'" in repr(info)


@pytest.mark.parametrize("name", ["vmm:event:extra", "vmm:vm_boot:", "vmm:", ":vm_boot", ":", "nothing:at_all"])
def test_the_first_colon_ends_the_subsystem(name: str) -> None:
    """Seed: the rule of splitting; what is behind the first colon is the event, which there is not."""
    manager = TracepointManager(Bench())
    with pytest.raises(NotFound):
        manager.get(name)


@pytest.mark.parametrize("name", ["", "vm_boot", "vmm.vm_boot"])
def test_a_name_without_a_colon_is_none(name: str) -> None:
    """Seed: the rule of splitting; the same for enabling and disabling."""
    manager = TracepointManager(Bench())
    for use in (manager.get, manager.enable, manager.disable):
        with pytest.raises(InvalidName):
            use(name)


def test_the_list_is_by_subsystem_then_event_with_the_ids_of_the_records() -> None:
    bench = Bench()
    bench.define(VmPause)
    expected = [(row.name, *row.name.split(":"), False, row.id) for row in rows()]
    expected.append(("test:vm_pause", "test", "vm_pause", False, 3500))
    expected.sort(key=lambda row: row[1:3])
    assert TracepointManager(bench).list_tracepoints() == expected


def test_enabling_one_event() -> None:
    manager = TracepointManager(Bench())
    manager.enable("vmm:vm_create")
    assert manager.is_enabled("vmm:vm_create")
    assert [tp.name for tp in manager.list_tracepoints() if tp.enabled] == ["vmm:vm_create"]
    manager.disable("vmm:vm_create")
    assert not any(tp.enabled for tp in manager.list_tracepoints())


def test_enabling_a_subsystem() -> None:
    manager = TracepointManager(Bench())
    sizes = Counter(row.name.split(":")[0] for row in rows())
    assert manager.enable_subsystem("vmm") == sizes["vmm"]
    assert Counter(tp.subsystem for tp in manager.list_tracepoints() if tp.enabled) == {"vmm": sizes["vmm"]}
    assert manager.enable_subsystem("shell") == sizes["shell"]
    assert manager.disable_subsystem("vmm") == sizes["vmm"]
    assert {tp.subsystem for tp in manager.list_tracepoints() if tp.enabled} == {"shell"}


def test_an_unknown_subsystem_names_the_nearest() -> None:
    manager = TracepointManager(Bench())
    for use in (manager.enable_subsystem, manager.disable_subsystem):
        with pytest.raises(NotFound, match="no subsystem shel; did you mean shell"):
            use("shel")


@pytest.mark.parametrize("name", ["vmm:nothing", "nothing", ""])
def test_what_there_is_not_is_not_enabled(name: str) -> None:
    assert not TracepointManager(Bench()).is_enabled(name)


@pytest.mark.parametrize("name", ["", "vm_boot", "vmm:vm_reboot", "vmm:\ud800", "\ud800"])
def test_a_table_does_not_contain_what_there_is_not(name: str) -> None:
    bench = Bench()
    assert name not in bench.tracepoints
    assert bench.tracepoints.get(name) is None
    assert not TracepointManager(bench).is_enabled(name)


def test_what_is_got_fires_and_has_its_format() -> None:
    bench = Bench()
    manager = TracepointManager(bench)
    manager.get("vmm:vm_boot").fire(vm_id=1, duration_ns=5)
    assert bench.stats["vmm:vm_boot"].count == 1
    assert manager.get("vmm:vm_boot").format().splitlines()[:2] == ["name: vm_boot", "ID: 2"]


def test_a_manager_of_a_closed_bench_says_so() -> None:
    bench = Bench()
    manager = TracepointManager(bench)
    bench.close()
    with pytest.raises(BenchClosed):
        manager.enable("vmm:vm_boot")
    with pytest.raises(BenchClosed):
        manager.is_enabled("vmm:vm_boot")


def test_a_name_that_the_module_has_not_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean TracepointManager"):
        _ = tracepoint.TracepointManger


# The functions of each tracepoint


def values_of(row: Row) -> list[int]:
    """A different value for each field, the most negative for a signed one."""
    return [-(2**63) if kind == "i64" else 1000 + 7 * n for n, (_, kind, _) in enumerate(row.fields)]


def record_of(row: Row) -> bytes:
    """The record by the table."""
    record = bytearray(row.size)
    struct.pack_into("<H", record, 0, row.id)
    for (_, kind, offset), value in zip(row.fields, values_of(row), strict=True):
        struct.pack_into(f"<{CODES[kind]}", record, offset, value)
    return bytes(record)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.event)
def test_each_has_functions_to_fire_and_listen(row: Row) -> None:
    """Seed: `trace_<event>` takes the fields in order, `register_trace_<event>` and `unregister_trace_<event>`."""
    trace = getattr(tracepoints, f"trace_{row.event}")
    assert list(inspect.signature(trace).parameters) == [*(name for name, _, _ in row.fields), "time_ns", "cpu"]
    assert row.name in (trace.__doc__ or "")
    axebpf.init()
    heard: list[Event] = []
    listener = getattr(tracepoints, f"register_trace_{row.event}")(heard.append)
    trace(*values_of(row))
    trace(**{name: value for (name, _, _), value in zip(row.fields, values_of(row), strict=True)}, time_ns=5, cpu=3)
    assert getattr(tracepoints, f"unregister_trace_{row.event}")(listener)
    trace(*values_of(row))
    assert [event.record for event in heard] == [record_of(row)] * 2
    assert [(event.name, event.time_ns, event.cpu) for event in heard] == [(row.name, 10**9, 0), (row.name, 5, 3)]


def test_the_functions_need_a_default_bench() -> None:
    from axebpf.tracepoints import register_trace_vm_boot, trace_vm_boot

    with pytest.raises(NotInitialized):
        trace_vm_boot(1, 2)
    with pytest.raises(NotInitialized):
        register_trace_vm_boot(print)
    with axebpf.init() as bench:
        trace_vm_boot(1, 2)
        assert bench.stats["vmm:vm_boot"].count == 1
    with pytest.raises(NotInitialized):
        trace_vm_boot(1, 2)


def test_wrong_values_are_refused_as_by_fire() -> None:
    axebpf.init()
    with pytest.raises(FieldError, match="vm_id is u32 and takes 0 to 4294967295, not -1"):
        tracepoints.trace_vm_boot(-1, 2)
    with pytest.raises(FieldError, match="vmm:vm_boot"):
        tracepoints.trace_vm_boot(1)


def test_a_listener_is_ended_by_its_own_tracepoint_and_once() -> None:
    axebpf.init()
    listener = tracepoints.register_trace_vm_boot(print)
    with pytest.raises(NotFound, match="not one of vmm:vm_create"):
        tracepoints.unregister_trace_vm_create(listener)
    assert tracepoints.unregister_trace_vm_boot(listener)
    assert not tracepoints.unregister_trace_vm_boot(listener)


def test_a_function_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean trace_vm_boot"):
        _ = tracepoints.trace_vm_bot
    with pytest.raises(AttributeError, match="no attribute 'trace_'"):
        _ = tracepoints.trace_
    with pytest.raises(AttributeError, match="did you mean VmBoot"):
        _ = tracepoints.VmBoots
    assert {"trace_vm_boot", "unregister_trace_shell_init", "stats", "VmBoot"} <= set(dir(tracepoints))
