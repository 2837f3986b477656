"""The seed's README, statement by statement, in its Python form.

Cargo features, `cargo test` lines and crates are replaced: macros and features became classes and a whole package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import struct
import subprocess
import sys
from types import ModuleType
from typing import Any

import axebpf
import pytest
from axebpf import Bench, ExitReason, tracepoints

from .conftest import rows

ROWS = {row.name: row for row in rows()}


def module(name: str, *needed: str) -> Any:
    """A module of the seed, by its name there, which has these functions."""
    found: ModuleType = importlib.import_module(f"axebpf.{name}")
    assert [function for function in needed if not hasattr(found, function)] == []
    return found


def run(bench: Bench, text: str, **maps: Any) -> int:
    """What a program returns."""
    given = dict(enumerate(maps.values()))
    return bench.load_bytes(axebpf.assemble(text), type="tracepoint", maps=given).run(bytes(16)).r0


# Overview and features


def test_the_platform_abstracts_over_the_kernels_operations_and_can_be_tested() -> None:
    """Features: platform abstraction."""
    from axebpf.platform import MockPlatform, PlatformOps, RealPlatform

    assert isinstance(MockPlatform(Bench()), PlatformOps)
    assert isinstance(RealPlatform(Bench(clock="real")), PlatformOps)


def test_symbols_are_resolved() -> None:
    """Features: symbol table management."""
    symbols = module("symbols", "SymbolTable")
    table = symbols.SymbolTable.from_text("1000 T start\n1040 t stop\n")
    assert (table.lookup_addr("stop"), table.lookup_symbol(0x1010).name) == (0x1040, "start")


def test_tracepoints_are_static_instrumentation_points_for_events_of_the_vmm() -> None:
    """Features: tracepoint framework."""
    bench = axebpf.init()
    bench.enable("vmm:*")
    tracepoints.trace_vm_boot(vm_id=1, duration_ns=5)
    assert bench.trace.text().endswith("vm_boot: vm_id=1 duration_ns=5\n")


def test_programs_are_executed_with_maps() -> None:
    """Features: eBPF runtime."""
    bench = Bench()
    counter = bench.create_map("array", 4, 8, 1)
    text = """
        r1 = map[0]
        *(u32 *)(r10 -4) = 0
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        w1 = 1
        lock *(u64 *)(r0 +0) += r1
        r0 = *(u64 *)(r0 +0)
    out:
        exit
    """
    assert [run(bench, text, counter=counter) for _ in range(3)] == [1, 2, 3]
    assert counter[0] == 3


def test_a_program_of_the_runtime_is_loaded_run_and_unloaded() -> None:
    """Features: eBPF runtime, by the seed's own functions."""
    runtime = module("runtime", "EbpfProgram", "load_program", "run_program", "unload_program")
    axebpf.init()
    id = runtime.load_program(runtime.EbpfProgram(axebpf.assemble("r0 = 42\nexit")))
    assert runtime.run_program(id) == 42
    runtime.unload_program(id)


# Module structure

MODULES = [
    "platform",
    "symbols",
    "tracepoint",
    "runtime",
    "maps",
    "helpers",
    "attach",
    "kops",
    "examples",
    "tracepoints",
    "tracepoints.definitions",
    "tracepoints.stats",
    "tracepoints.histogram",
    "tracepoints.hypervisor_helpers",
]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_this_name(name: str) -> None:
    """Module structure: a file for each subject, and the package reaches it without an import of its own."""
    assert (module(name).__doc__ or "").strip()
    code = f"import axebpf; print(axebpf.{name}.__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == (f"axebpf.{name}", 0), ran.stderr


def test_the_entry_point_initializes() -> None:
    """Module structure: lib.rs, the entry point."""
    assert axebpf.init() is axebpf.default_bench()


def test_the_manager_is_in_tracepoint() -> None:
    """Module structure: tracepoint.rs has TracepointManager."""
    from axebpf.tracepoint import TracepointManager

    assert TracepointManager(Bench()).count() == 29


@pytest.mark.parametrize(
    ("seed", "kind", "key_size"),
    [("Array", "array", 4), ("HashMap", "hash", 8), ("LruHash", "lru_hash", 8), ("Queue", "queue", 0)],
)
def test_maps_of_this_kind(seed: str, kind: str, key_size: int) -> None:
    """Module structure: maps.rs has Array, HashMap, LRU, Queue."""
    table = Bench().create_map(kind, key_size, 8, 4)
    value = struct.pack("<Q", 7)
    if kind == "queue":
        table.push(value)
        assert table.peek() == 7
    else:
        table.update({(2).to_bytes(key_size, "little"): 7})
        assert table.lookup((2).to_bytes(key_size, "little")) == value


def test_programs_are_attached() -> None:
    """Module structure: attach.rs manages attachments; a fired event runs the program."""
    bench = Bench()
    program = bench.load_bytes(axebpf.assemble("r0 = 0\nexit"), type="tracepoint")
    link = program.attach("vmm:vm_boot")
    bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1)
    link.detach()
    bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1)
    assert program.stats.runs == 1


def test_attaching_by_name_and_id() -> None:
    """Module structure: attach.rs, by the seed's own functions."""
    attach = module("attach", "attach", "detach", "get_attached")
    runtime = module("runtime", "EbpfProgram", "load_program")
    axebpf.init()
    id = runtime.load_program(runtime.EbpfProgram(axebpf.assemble("r0 = 0\nexit")))
    attach.attach("vmm:vm_boot", id)
    assert attach.get_attached("vmm:vm_boot") == id
    assert attach.detach("vmm:vm_boot") == id


def test_kernel_operations_are_ax_kops() -> None:
    """Module structure: kops.rs has AxKops."""
    bench = axebpf.init()
    assert axebpf.kops.AxKops().time_now() == bench.clock.now


def test_a_class_stands_for_the_macros() -> None:
    """Module structure: macros.rs; a declaration is a class, which is equal to the built-in ones."""

    class VmPause(axebpf.Tracepoint, name="vmm:vm_pause", id=210):
        """A VM was paused."""

        vm_id: axebpf.u32

    bench = Bench()
    bench.define(VmPause).fire(vm_id=2)
    assert bench.stats["vmm:vm_pause"].count == 1


def test_there_are_examples() -> None:
    """Module structure: examples/."""
    from axebpf.examples import example

    assert list(Bench().load(example("exits.bpf.o"))) == ["on_exit"]


def test_statistics_are_built_in() -> None:
    """Module structure: stats.rs, the built-in statistics collector."""
    axebpf.init()
    tracepoints.trace_vm_boot(1, 300)
    assert tracepoints.stats.stats_manager()["vmm:vm_boot"].snapshot().total_ns == 300


def test_latencies_have_a_distribution() -> None:
    """Module structure: histogram.rs, latency distribution histograms."""
    histogram = tracepoints.histogram.LatencyHistogram()
    histogram.record(5_000)
    assert histogram.snapshot().buckets == (0, 1, 0, 0, 0, 0, 0, 0)


# Dependencies: what each crate was for


def test_filter_expressions() -> None:
    """Dependencies: tp-lexer, tracepoint filter expressions."""
    bench = axebpf.init()
    boots = bench.tracepoints["vmm:vm_boot"]
    boots.enabled, boots.filter = True, "vm_id & 1 == 1 && duration_ns > 10"
    for vm_id, duration_ns in ((1, 5), (2, 50), (3, 50)):
        boots.fire(vm_id=vm_id, duration_ns=duration_ns)
    assert [event.vm_id for event in bench.trace.records()] == [3]


def test_a_symbol_table_is_generated_and_looked_up() -> None:
    """Dependencies: ksym, symbol table generation and lookup."""
    symbols = module("symbols", "init", "lookup_symbol", "lookup_addr")
    axebpf.init()
    symbols.init(symbols.SymbolTable.from_text("1000 T start\n").to_blob(), 0x1000, 0x2000)
    assert (symbols.lookup_symbol(0x1004).name, symbols.lookup_addr("start")) == ("start", 0x1000)


# Usage


def test_everything_is_there_without_choosing_features() -> None:
    """Usage: Cargo.toml and feature flags; a plain install has what the default features had."""
    requires = importlib.metadata.requires("axebpf") or []
    plain = {re.split(r"[<>=! ;\[]", line)[0] for line in requires if "extra ==" not in line}
    names = [f"axebpf.{name}" for name in MODULES if importlib.util.find_spec(f"axebpf.{name}")]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names!r}];"
        "print(*{name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = {name for name in ran.stdout.split() if not name.startswith(("_", "axebpf", "sitecustomize"))}
    assert foreign <= plain


def test_the_basic_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Usage: the basic example, with `global_` for a keyword of Python."""
    from axebpf.tracepoint import TracepointManager

    axebpf.init()

    mgr = TracepointManager.global_()
    for tp in mgr.list_tracepoints():
        print(f"{tp.name}: {'on' if tp.enabled else 'off'}")

    mgr.enable("vmm:vm_create")

    shown = capsys.readouterr().out.splitlines()
    assert sorted(shown) == sorted(f"{name}: off" for name in ROWS)
    assert mgr.is_enabled("vmm:vm_create")
    tracepoints.trace_vm_create(vm_id=1, vcpu_num=2, memory_size=64 << 20)
    assert axebpf.default_bench().trace.text().endswith("vm_create: vm_id=1 vcpus=2 memory=64MB\n")


def test_tests_run_without_a_kernel_on_the_mock_platform() -> None:
    """Usage: running tests; what is made without options is a mock, which starts at 1 s on CPU 0 and stands still."""
    axebpf.init()
    current = axebpf.platform.current()
    assert isinstance(current, axebpf.platform.MockPlatform)
    assert [(current.time_ns(), current.cpu_id()) for _ in range(2)] == [(1_000_000_000, 0)] * 2


# Defined tracepoints

GROUPS = {
    "VM lifecycle": (0, ["vm_create", "vm_boot", "vm_shutdown", "vm_destroy"]),
    "vCPU lifecycle": (1, ["vcpu_create", "vcpu_destroy", "vcpu_state_change"]),
    "vCPU runtime": (
        2,
        ["vcpu_run_enter", "vcpu_run_exit", "hypercall", "external_interrupt", "vcpu_halt", "cpu_up", "ipi_send"],
    ),
    "memory": (3, ["memory_map", "memory_unmap", "page_fault"]),
    "devices and IRQs": (4, ["device_access", "irq_inject", "irq_handle"]),
    "system initialization": (5, ["vmm_init", "vhal_init", "config_load", "image_load"]),
    "timer": (6, ["timer_tick", "timer_event", "task_switch"]),
    "shell": (10, ["shell_init", "shell_command"]),
}
"""The groups of the README, the tens of their ids, their events: of the subsystem shell in the last, or else vmm."""

LISTED = [
    (tens, f"{'shell' if group == 'shell' else 'vmm'}:{event}")
    for group, (tens, events) in GROUPS.items()
    for event in events
]


def test_the_readme_lists_29_and_there_are_no_others() -> None:
    """Defined tracepoints: all of them."""
    assert len(LISTED) == 29
    assert sorted(name for _, name in LISTED) == sorted(Bench().tracepoints)


@pytest.mark.parametrize(("tens", "name"), LISTED, ids=[name for _, name in LISTED])
def test_a_tracepoint_of_this_name(tens: int, name: str) -> None:
    """Defined tracepoints: its group, its meaning, and that it is there to be fired, counted and traced."""
    bench = axebpf.init()
    handle = bench.tracepoints[name]
    assert handle.id // 10 == tens, "the ids of a group lie together"
    assert handle.doc.endswith(".")
    handle.enabled = True
    handle.fire(*[1] * len(ROWS[name].fields))
    assert bench.stats[name].count == 1
    assert [event.name for event in bench.trace.records()] == [name]


# Helpers

STANDARD = {
    1: "bpf_map_lookup_elem",
    2: "bpf_map_update_elem",
    3: "bpf_map_delete_elem",
    5: "bpf_ktime_get_ns",
    6: "bpf_trace_printk",
    8: "bpf_get_smp_processor_id",
}
HYPERVISOR = {100: "bpf_get_current_vm_id", 101: "bpf_get_current_vcpu_id", 102: "bpf_get_exit_reason"}

KEY_AND_VALUE = """
    r6 = map[0]
    *(u64 *)(r10 -8) = 42
    *(u64 *)(r10 -16) = 12345
"""
LOOKUP = """
    r1 = r6
    r2 = r10
    r2 += -8
    call bpf_map_lookup_elem
    if r0 == 0 goto gone
    r0 = *(u64 *)(r0 +0)
gone:
    exit
"""
UPDATE = """
    r1 = r6
    r2 = r10
    r2 += -8
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem
"""
DELETE = """
    r1 = r6
    r2 = r10
    r2 += -8
    call bpf_map_delete_elem
"""


@pytest.mark.parametrize(("id", "name"), [*STANDARD.items(), *HYPERVISOR.items()])
def test_a_helper_of_this_id_and_name(id: int, name: str) -> None:
    """eBPF helpers: both tables; a call by name is a call of the id."""
    named, numbered = axebpf.assemble(f"call {name}\nexit"), axebpf.assemble(f"call {name}#{id}\nexit")
    assert named == numbered
    assert struct.unpack_from("<BBhi", named)[3] == id


def test_helpers_1_to_3_work_on_a_map() -> None:
    """eBPF helpers: lookup, update and delete of map elements."""
    bench = Bench()
    table = bench.create_map("hash", 8, 8, 4)
    assert run(bench, KEY_AND_VALUE + LOOKUP, table=table) == 0
    assert run(bench, KEY_AND_VALUE + UPDATE + LOOKUP, table=table) == 12345
    assert table == {42: 12345}
    assert run(bench, KEY_AND_VALUE + DELETE + "exit", table=table) == 0
    assert table == {}


def test_helper_5_tells_the_time() -> None:
    """eBPF helpers: the current time in ns."""
    bench = axebpf.init()
    axebpf.platform.set_mock_time(1_234)
    assert run(bench, "call bpf_ktime_get_ns\nexit") == 1_234


def test_helper_6_prints() -> None:
    """eBPF helpers: debug print."""
    bench = axebpf.init()
    (text,) = struct.unpack("<Q", b"n=%d\0\0\0\0")
    code = f"r1 = {text} ll\n*(u64 *)(r10 -8) = r1\nr1 = r10\nr1 += -8\nr2 = 5\nr3 = 7\ncall bpf_trace_printk\nexit"
    assert run(bench, code) == len("n=7")
    assert bench.trace.text().endswith(": bpf_trace_printk: n=7\n")


def test_helper_8_tells_the_cpu() -> None:
    """eBPF helpers: the current CPU's id."""
    bench = axebpf.init()
    axebpf.platform.set_mock_cpu_id(2)
    assert run(bench, "call bpf_get_smp_processor_id\nexit") == 2


@pytest.mark.parametrize(("name", "answer"), list(zip(HYPERVISOR.values(), (42, 7, ExitReason.HALT), strict=True)))
def test_helpers_100_to_102_tell_of_the_event(name: str, answer: int) -> None:
    """eBPF helpers: the current VM, vCPU and exit reason."""
    bench = axebpf.init()
    seen = bench.create_map("array", 4, 8, 1)
    text = f"""
        call {name}
        *(u64 *)(r10 -16) = r0
        *(u32 *)(r10 -4) = 0
        r1 = map[0]
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem
        r0 = 0
        exit
    """
    bench.load_bytes(axebpf.assemble(text), type="tracepoint", maps={0: seen}).attach("vmm:vcpu_run_exit")
    tracepoints.trace_vcpu_run_exit(42, 7, ExitReason.HALT, 1_000)
    assert seen[0] == answer


def test_the_standard_helpers_are_in_helpers() -> None:
    """eBPF helpers: the standard table, by the seed's own function."""
    helpers = module("helpers", "get_helper")
    assert [id for id in STANDARD if helpers.get_helper(id) is None] == []
    assert helpers.get_helper(999) is None


def test_the_hypervisor_helpers_are_in_hypervisor_helpers() -> None:
    """eBPF helpers: the hypervisor's table, by the seed's own function."""
    helpers = module("tracepoints.hypervisor_helpers", "get_hypervisor_helper")
    assert [id for id in HYPERVISOR if helpers.get_hypervisor_helper(id) is None] == []
    assert helpers.get_hypervisor_helper(1) is None


# Architecture


def test_the_kernels_platform_has_real_time() -> None:
    """Architecture: kernel mode."""
    axebpf.init(clock="real")
    before = axebpf.platform.time_ns()
    while axebpf.platform.time_ns() == before:
        pass
    assert axebpf.platform.time_ns() > before


def test_the_tests_platform_can_be_configured() -> None:
    """Architecture: test mode, and its code block."""
    from axebpf.platform import cpu_id, set_mock_cpu_id, set_mock_time, time_ns

    set_mock_time(1_000_000_000)  # 1 second
    set_mock_cpu_id(2)

    assert (time_ns(), cpu_id()) == (1_000_000_000, 2)


# Licence


def test_the_licence() -> None:
    """License: GPL-3.0-or-later or Apache-2.0."""
    assert importlib.metadata.metadata("axebpf")["License-Expression"] == "GPL-3.0-or-later OR Apache-2.0"
