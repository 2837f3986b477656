"""Defects of the seed's programs, attachments, events and contexts that do not come back.

Each test's first line names the file where the defect was, and the defect.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import axebpf
import pytest
from axebpf import AttachError, Bench, LoadError, NotFound, ProgramFault, attach, maps, runtime
from axebpf.context import ProbeType, TraceContext
from axebpf.event import TraceEvent, event_name_for_id, get_event_name, register_event_name
from axebpf.maps import MapDef, MapType
from axebpf.runtime import EbpfProgram
from axebpf.trace import Event
from axebpf.tracepoints import hypervisor_helpers as hv

pytestmark = pytest.mark.usefixtures("default_bench")

BOOT = "vmm:vm_boot"
RETURN = axebpf.assemble("r0 = 0\nexit")


# runtime.rs


def test_hypervisor_helpers_are_reachable(default_bench: Bench) -> None:
    """runtime.rs, execute: the helpers 100 to 102 were never registered, so no program could call them."""
    made = EbpfProgram(axebpf.assemble("call bpf_get_current_vm_id\nexit"))
    hv.set_current_context(7, 0, 0)
    number = runtime.load_program(made)
    assert made.execute() == made.execute_with_context(bytearray(8)) == runtime.run_program(number) == 7
    attach.attach(BOOT, number)
    default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)
    assert default_bench.programs["program"].stats.faults == 0


def test_a_bad_program_is_refused_when_it_is_loaded_not_at_each_event() -> None:
    """runtime.rs, load_program: nothing was checked at load, everything again at each event."""
    for code in (b"\xff" * 8, bytes.fromhex("0500ff7f00000000") + RETURN):
        with pytest.raises(LoadError):
            runtime.load_program(EbpfProgram(code))
    assert runtime.program_count() == 0


def test_an_endless_program_is_stopped(default_bench: Bench) -> None:
    """runtime.rs, execute: no instruction budget."""
    default_bench.close()
    bench = axebpf.init(budget=1000)
    number = runtime.load_program(EbpfProgram(axebpf.assemble("here:\n goto here\n exit")))
    with pytest.raises(ProgramFault, match="more than 1000 instructions"):
        runtime.run_program(number)
    attach.attach(BOOT, number)
    with pytest.raises(ProgramFault, match="more than 1000 instructions"):
        bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)


def test_a_missing_program_leaves_no_maps() -> None:
    """runtime.rs, parse_elf: the maps leaked where the program named was missing."""
    data = (Path(__file__).parent.parent / "fixtures" / "axvisor" / "stats.bpf.o").read_bytes()
    with pytest.raises(NotFound):
        EbpfProgram(data, "no_such")
    assert maps.count() == 0


def test_global_data_of_an_object_is_there(compile_bpf: Callable[..., Path]) -> None:
    """runtime.rs, parse_elf: the contents of .rodata and .data were dropped."""
    text = """
    const volatile __u64 constant = 40; __u64 variable = 2;
    SEC("axvisor") __u64 sum(void *ctx) { return constant + variable++; }
    """
    made = EbpfProgram(compile_bpf("globals", text).read_bytes())
    assert [made.execute(), made.execute()] == [42, 43]


def test_an_attached_program_is_not_unloaded_from_under_its_tracepoint(default_bench: Bench) -> None:
    """runtime.rs, unload_program: the attachment stayed; a program loaded later got the number and ran instead."""
    number = runtime.load_program(EbpfProgram(RETURN, "first"))
    attach.attach(BOOT, number)
    with pytest.raises(AttachError, match="first is still attached"):
        runtime.unload_program(number)
    runtime.unload_program(number, force=True)
    assert (attach.get_attached(BOOT), attach.attachment_count()) == (None, 0)
    second = runtime.load_program(EbpfProgram(RETURN, "second"))
    assert second != number
    default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)
    assert default_bench.programs["second"].stats.runs == 0


def test_numbers_are_not_given_again() -> None:
    """runtime.rs, maps.rs, map_ops.rs: the lowest free number was taken again."""
    programs, tables = [], []
    for _ in range(4):
        programs.append(runtime.load_program(EbpfProgram(RETURN)))
        runtime.unload_program(programs[-1])
        tables.append(maps.create(MapDef(MapType.ARRAY, 4, 8, 1)))
        maps.destroy(tables[-1])
    assert len(set(programs)) == len(set(tables)) == 4


# attach.rs


def test_a_tracepoint_must_exist() -> None:
    """attach.rs, attach: any name was taken."""
    number = runtime.load_program(EbpfProgram(RETURN))
    for name in ("vmm:vm_boots", "no:such"):
        with pytest.raises(NotFound, match=f"no tracepoint {name}|{name}"):
            attach.attach(name, number)
    assert attach.list_attachments() == []


# event.rs


def test_an_event_is_delivered_once(default_bench: Bench) -> None:
    """event.rs, consume_events: the ring was never used; had it been, each event would have come twice."""
    seen: list[Event] = []
    default_bench.enable("vmm:*")
    default_bench.tracepoints[BOOT].on(seen.append)
    default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)
    assert (len(seen), len(default_bench.trace)) == (1, 1)


def test_a_second_init_leaks_nothing(default_bench: Bench) -> None:
    """event.rs, init_ringbuf_with_size: a second call leaked the first ring."""
    maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
    assert axebpf.init() is default_bench
    assert maps.count() == 1


def test_events_that_find_no_room_are_counted(default_bench: Bench) -> None:
    """event.rs, fallback_push: events were lost silently."""
    default_bench.close()
    with axebpf.init(trace_entries=4, cpus=1) as bench:
        bench.enable(BOOT)
        bench.tracepoints[BOOT].fire_many(vm_id=range(10), duration_ns=0)
        assert (len(bench.trace), bench.trace.lost, bench.trace.written) == (4, 6, 10)


def test_numbers_of_events_are_not_cut() -> None:
    """event.rs, TraceEvent: addresses were cut to 32 bits and met the numbers of tracepoints; VMs to 16, CPUs to 8."""
    event = TraceEvent(0, ProbeType.HPROBE, 21)
    for wrong in (event._replace(event_id=(1 << 32) + 21), event._replace(vm_id=1 << 16), event._replace(cpu_id=256)):
        with pytest.raises(axebpf.FieldError, match="holds 0 to"):
            wrong.as_bytes()


def test_an_unknown_name_is_not_number_0() -> None:
    """event.rs: unknown names had the id 0."""
    assert get_event_name(0) is None
    first = register_event_name("first")
    assert (get_event_name(first), get_event_name(first + 1), event_name_for_id(0)) == ("first", None, None)


def test_each_probe_has_its_name() -> None:
    """event.rs: all hprobes had the name `hprobe`."""
    names = [register_event_name(f"hprobe:{symbol}") for symbol in ("vm_exit", "vm_enter")]
    assert [get_event_name(name) for name in names] == ["hprobe:vm_exit", "hprobe:vm_enter"]


def test_statistics_are_kept_by_tracepoint(default_bench: Bench) -> None:
    """event.rs, get_or_create_stats: it leaked one for each id that it met, without bound."""
    default_bench.tracepoints[BOOT].fire_many(vm_id=range(1000), duration_ns=0)
    assert list(default_bench.stats) == [BOOT]


def test_a_program_that_fires_its_own_tracepoint_is_not_run_again(default_bench: Bench) -> None:
    """event.rs, emit_event: no guard against recursion."""
    depth = 0

    @default_bench.helper("u64 again(void)", id=0x10000)
    def again() -> int:
        nonlocal depth
        depth += 1
        default_bench.tracepoints[BOOT].fire(vm_id=2, duration_ns=0)
        return 0

    number = runtime.load_program(EbpfProgram(axebpf.assemble("call again#65536\nexit"), "recursive"))
    attach.attach(BOOT, number)
    default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)
    stats = default_bench.programs["recursive"].stats
    assert (depth, stats.runs, stats.misses, default_bench.tracepoints[BOOT].fired) == (1, 1, 1, 2)


# context.rs


def test_padding_is_zero() -> None:
    """context.rs, event.rs, as_bytes: padding was uninitialised memory."""
    context = TraceContext(2**32 - 1, 2**64 - 1, 2**32 - 1, 2**32 - 1, (2**64 - 1,) * 4, 2**32 - 1).as_bytes()
    event = TraceEvent(2**64 - 1, 255, 2**32 - 1, 255, 65535, 65535, (2**64 - 1,) * 4, 2**64 - 1).as_bytes()
    assert [at for at, byte in enumerate(context) if byte == 0] == [4, 5, 6, 7, 60, 61, 62, 63]
    assert [at for at, byte in enumerate(event) if byte == 0] == [19, 20, 21, 22, 23]


def test_contexts_and_events_have_one_numbering_of_probes(default_bench: Bench) -> None:
    """context.rs, event.rs: two tables of codes that contradicted each other."""
    events: list[Event] = []
    default_bench.tracepoints[BOOT].on(events.append)
    default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)
    assert TraceContext.of(events[0]).probe_type == TraceEvent.of(events[0]).probe_type == ProbeType.TRACEPOINT
