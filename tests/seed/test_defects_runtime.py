"""Defects of the seed's helpers, runtime, maps, attach, events and of the crates below it that do not come back.

Each test's first line names the file where the defect was, and the defect.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import axebpf
import pytest
from axebpf import AttachError, Bench, LoadError, MapError, NotFound, ProgramFault, attach, maps, runtime
from axebpf.context import ProbeType, TraceContext
from axebpf.event import TraceEvent, event_name_for_id, get_event_name, register_event_name
from axebpf.maps import MapDef, MapType
from axebpf.runtime import EbpfProgram
from axebpf.trace import Event
from axebpf.tracepoints import hypervisor_helpers as hv

pytestmark = pytest.mark.usefixtures("default_bench")

BOOT, EXIT = "vmm:vm_boot", "vmm:vcpu_run_exit"
RETURN = axebpf.assemble("r0 = 0\nexit")


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def run(text: str, context: bytearray | None = None) -> int:
    """r0 of a program, signed."""
    made = EbpfProgram(axebpf.assemble(text))
    r0 = made.execute() if context is None else made.execute_with_context(context)
    return r0 - (1 << 64) if r0 >> 63 else r0


def lookup(number: int, key: int, at: int = -4) -> str:
    """Instructions that look a 4-byte key up and go to `out` where it is missing; the key lies on the stack."""
    return f"""
        r1 = map[{number}]
        w2 = {key}
        *(u32 *)(r10 {at:+}) = r2
        r2 = r10
        r2 += {at}
        call bpf_map_lookup_elem
        if r0 == 0 goto out
    """


def counter(number: int) -> str:
    """A program that adds 1 to entry 0 of an array."""
    return f"{lookup(number, 0)} w1 = 1\n lock *(u64 *)(r0 +0) += r1\nout:\n r0 = 0\n exit"


# helpers.rs


def test_two_lookups_do_not_share_a_buffer() -> None:
    """helpers.rs, lookup: one static buffer for all programs and maps, which a second lookup overwrote."""
    number, other = (maps.create(MapDef(MapType.ARRAY, 4, 8, 2)) for _ in range(2))
    maps.update_elem(number, u32(0), u64(11))
    maps.update_elem(number, u32(1), u64(22))
    maps.update_elem(other, u32(0), u64(33))
    looks = [lookup(number, 0), "r6 = r0", lookup(number, 1), "r7 = r0", lookup(other, 0)]
    values = [f"r1 = *(u64 *)({pointer} +0)\n r8 *= 100\n r8 += r1" for pointer in ("r0", "r7", "r6")]
    assert run("\n".join(["r8 = 0", *looks, *values, "r0 = r8", "out:", "exit"])) == 332211


def test_a_value_above_512_bytes_is_whole() -> None:
    """helpers.rs, lookup: values were cut after 512 bytes."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 4096, 1))
    maps.update_elem(number, u32(0), bytes(4088) + u64(77))
    assert run(f"{lookup(number, 0)} r0 = *(u64 *)(r0 +4088)\nout:\n exit") == 77


def test_the_tail_of_another_value_is_not_seen() -> None:
    """helpers.rs, lookup: a short value was followed by the stale rest of a longer one of another map."""
    long, short = (maps.create(MapDef(MapType.HASH_MAP, 4, size, 4)) for size in (64, 8))
    maps.update_elem(long, u32(0), b"\xaa" * 64)
    maps.update_elem(short, u32(0), u64(1))
    with pytest.raises(ProgramFault, match=r"load of 8 bytes at map1.*no live memory there"):
        run(f"{lookup(long, 0)}{lookup(short, 0)} r0 = *(u64 *)(r0 +8)\nout:\n exit")


def test_a_store_through_a_lookup_reaches_the_map() -> None:
    """helpers.rs, lookup: it gave a copy, so a store in place was lost."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
    program = EbpfProgram(axebpf.assemble(counter(number)))
    for _ in range(3):
        program.execute()
    assert maps.lookup_elem(number, u32(0)) == u64(3)


@pytest.mark.parametrize(
    ("call", "place"),
    [
        ("r2 = {wild} ll\n call bpf_map_lookup_elem", "load of 4 bytes"),
        ("r2 = {wild} ll\n call bpf_map_delete_elem", "load of 4 bytes"),
        ("r2 = {wild} ll\n r3 = r10\n r3 += -8\n r4 = 0\n call bpf_map_update_elem", "load of 4 bytes"),
        ("r2 = r10\n r2 += -4\n r3 = {wild} ll\n r4 = 0\n call bpf_map_update_elem", "load of 8 bytes"),
        ("r2 = r10\n r2 += -2\n call bpf_map_lookup_elem", "load of 4 bytes at stack-2"),
        ("r1 = {wild} ll\n r2 = 8\n r3 = r10\n call bpf_probe_read", "store of 8 bytes"),
    ],
    ids=["lookup", "delete", "update key", "update value", "half a key", "probe_read"],
)
def test_a_pointer_of_the_program_is_checked(call: str, place: str) -> None:
    """helpers.rs: pointers that the program gave were followed unchecked: any memory could be read and written."""
    number = maps.create(MapDef(MapType.HASH_MAP, 4, 8, 4))
    own = b"not the program's"
    text = f"r1 = 0\n *(u64 *)(r10 -8) = r1\n r1 = map[{number}]\n {call}\n exit"
    with pytest.raises(ProgramFault, match=place):
        run(text.format(wild=hex(id(own))))


def test_printk_takes_text_of_any_bytes_by_its_size(default_bench: Bench) -> None:
    """helpers.rs, trace_printk: unchecked UTF-8; format and size were not looked at."""

    def printk(format: bytes, size: int) -> int:
        number = hex(int.from_bytes(format.ljust(8, b"\0"), "little"))
        store = f"r1 = {number} ll\n *(u64 *)(r10 -8) = r1\n r1 = r10\n r1 += -8"
        return run(f"{store}\n r2 = {size}\n r3 = 7\n call bpf_trace_printk\n exit")

    assert printk(b"n=%d\0xyz", 8) == 3
    assert printk(b"\xff\xfe", 8) == 2
    assert printk(b"abcdefgh", 8) == -errno.EINVAL
    with pytest.raises(ProgramFault, match="load of 9 bytes at stack-8"):
        printk(b"n=%d", 9)
    lines = [entry.text.strip() for entry in default_bench.trace.records() if not isinstance(entry, Event)]
    assert lines == ["n=7", "\ufffd\ufffd"]


def test_keys_have_the_map_s_size() -> None:
    """helpers.rs at first: every key was 8 bytes, so that arrays, whose keys are 4, always failed."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 2))
    maps.update_elem(number, u32(1), u64(5))
    # The 4 bytes behind the key are not 0.
    text = f"r1 = -1\n *(u64 *)(r10 -8) = r1\n {lookup(number, 1, -8)} r0 = *(u64 *)(r0 +0)\nout:\n exit"
    assert run(text) == 5


def test_a_value_of_0_is_not_a_missing_one() -> None:
    """helpers.rs at first: lookup gave the value, 0 for a missing one."""
    number = maps.create(MapDef(MapType.HASH_MAP, 4, 8, 4))
    maps.update_elem(number, u32(1), u64(0))
    for key, found in ((1, 1), (2, 0)):
        assert run(f"{lookup(number, key)} r0 = 1\nout:\n exit") == found


@pytest.mark.parametrize(
    ("prepare", "call", "code"),
    [
        ([], "r4 = 2", errno.ENOENT),
        ([0], "r4 = 1", errno.EEXIST),
        ([1, 2], "r4 = 0", errno.E2BIG),
        ([], "r4 = 77", errno.EINVAL),
    ],
)
def test_a_failure_has_its_errno(prepare: list[int], call: str, code: int) -> None:
    """helpers.rs: every failure was -1 or 1."""
    number = maps.create(MapDef(MapType.HASH_MAP, 4, 8, 2))
    for key in prepare:
        maps.update_elem(number, u32(key), u64(0))
    key_and_value = "r1 = 0\n *(u64 *)(r10 -8) = r1\n r2 = r10\n r2 += -8\n r3 = r2"
    assert run(f"{key_and_value}\n r1 = map[{number}]\n {call}\n call bpf_map_update_elem\n exit") == -code


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


# maps.rs, map_ops.rs, kbpf-basic's maps


def test_a_hash_has_a_capacity() -> None:
    """maps.rs: a hash map took more entries than it was made for."""
    number = maps.create(MapDef(MapType.HASH_MAP, 4, 8, 2))
    for key in range(2):
        maps.update_elem(number, u32(key), u64(key))
    with pytest.raises(MapError) as caught:
        maps.update_elem(number, u32(2), u64(2))
    assert caught.value.errno == errno.E2BIG
    assert len(maps.iter_entries(number)) == 2


def test_keys_and_values_have_their_length() -> None:
    """maps.rs: keys and values of a hash were taken at any length."""
    number = maps.create(MapDef(MapType.HASH_MAP, 4, 8, 2))
    for key, value in ((u64(1), u64(1)), (b"", u64(1)), (u32(1), u32(1)), (u32(1), b"")):
        with pytest.raises(MapError, match="bytes, this map's have"):
            maps.update_elem(number, key, value)
    for use in (maps.lookup_elem, maps.delete_elem):
        with pytest.raises(MapError, match="the key has 8 bytes"):
            use(number, u64(1))


def test_flags_are_looked_at() -> None:
    """maps.rs: the flags of an update were ignored."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 2))
    for flags, code in ((1, errno.EEXIST), (1 << 40, errno.EINVAL)):
        with pytest.raises(MapError) as caught:
            maps.update_elem(number, u32(0), u64(1), flags)
        assert caught.value.errno == code


def test_an_array_s_value_has_its_own_size() -> None:
    """maps.rs: elements were rounded up to 8 bytes and read beyond their end."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 5, 2))
    maps.update_elem(number, u32(0), b"abcde")
    assert maps.lookup_elem(number, u32(0)) == b"abcde"
    with pytest.raises(MapError):
        maps.update_elem(number, u32(0), b"abcdefgh")
    with pytest.raises(ProgramFault, match="load of 8 bytes"):
        run(f"{lookup(number, 0)} r0 = *(u64 *)(r0 +0)\nout:\n exit")


def test_the_size_of_an_array_does_not_wrap() -> None:
    """maps.rs: the size of an array was worked out in 32 bits, so that 4 GiB were none."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 1 << 16, 1 << 16))
    maps.update_elem(number, u32((1 << 16) - 1), b"\x11" * (1 << 16))
    assert maps.lookup_elem(number, u32(0)) == bytes(1 << 16)
    assert maps.lookup_elem(number, u32((1 << 16) - 1)) == b"\x11" * (1 << 16)
    with pytest.raises(MapError) as caught:
        maps.create(MapDef(MapType.ARRAY, 4, 1 << 20, 1 << 20))
    assert caught.value.errno == errno.ENOMEM


def test_a_large_queue_takes_memory_as_it_fills() -> None:
    """maps.rs: queues and LRU hashes took the memory of all entries at once."""
    before = resident()
    queue = maps.create(MapDef(MapType.QUEUE, 0, 4096, 1 << 18))
    maps.update_elem(queue, b"", bytes(4096))
    assert resident() - before < 64 << 20  # of 1 GiB
    assert maps.lookup_elem(queue, b"") == bytes(4096)


def test_a_destroyed_map_gives_its_memory_back() -> None:
    """maps.rs, destroy: it must free, or a bench that makes and destroys maps grows without bound."""
    before = resident()
    for _ in range(8):
        number = maps.create(MapDef(MapType.ARRAY, 4, 1 << 20, 32))
        for index in range(32):
            maps.update_elem(number, u32(index), b"\x11" * (1 << 20))
        maps.destroy(number)
    assert resident() - before < 64 << 20  # of 8 times 32 MiB


def resident() -> int:
    """Bytes of memory that this process has."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("no /proc/self/statm says how much memory is resident")
    return int(statm.read_text().split()[1]) * 4096


def test_a_program_keeps_its_map_while_others_come() -> None:
    """map_ops.rs, get_unified_map_ptr_from_fd: a pointer into a vector that grew dangled."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
    program = EbpfProgram(axebpf.assemble(counter(number)))
    program.execute()
    for _ in range(200):
        maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
    program.execute()
    assert maps.lookup_elem(number, u32(0)) == u64(2)


def test_a_program_keeps_a_destroyed_map() -> None:
    """map_ops.rs, register_map: a number given again turned old programs to a new map."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
    text = f"{lookup(number, 0)} r1 = *(u64 *)(r0 +0)\n r1 += 1\n *(u64 *)(r0 +0) = r1\n r0 = r1\nout:\n exit"
    loaded = runtime.load_program(EbpfProgram(axebpf.assemble(text)))
    assert runtime.run_program(loaded) == 1
    maps.destroy(number)
    other = maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
    assert runtime.run_program(loaded) == 2
    assert maps.lookup_elem(other, u32(0)) == u64(0)


def test_the_same_map_is_used_while_a_program_uses_it(default_bench: Bench) -> None:
    """map_ops.rs, MAP_REGISTRY: spin locks that a second entry on the same CPU took for ever."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 1))

    @default_bench.helper("u64 look(void)", id=0x10000)
    def look() -> int:
        maps.update_elem(number, u32(0), u64(5))
        maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
        default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)
        return int.from_bytes(maps.lookup_elem(number, u32(0)) or b"", "little")

    text = f"{lookup(number, 0)} r6 = r0\n call look#65536\n r0 = *(u64 *)(r6 +0)\nout:\n exit"
    assert EbpfProgram(axebpf.assemble(text)).execute() == 5


def test_records_of_a_ring_are_there_when_the_event_is_over(default_bench: Bench) -> None:
    """maps.rs, create of a ring: nobody could wait for a record. Here nobody has to, events are synchronous."""
    number = maps.create(MapDef(MapType.RING_BUF, 0, 0, 4096))
    record = "r2 = 7\n *(u64 *)(r10 -8) = r2\n r2 = r10\n r2 += -8\n r3 = 8\n r4 = 0"
    code = axebpf.assemble(f"r1 = map[{number}]\n {record}\n call bpf_ringbuf_output\n exit")
    attach.attach(BOOT, runtime.load_program(EbpfProgram(code)))
    default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=0)
    assert default_bench.maps.by_id[number].read() == [u64(7)]


def test_a_ring_takes_records_of_any_length_and_a_failure_is_negative() -> None:
    """kbpf-basic, bpf_ringbuf_output: lengths that 8 does not divide panicked; a later errno was positive."""
    number = maps.create(MapDef(MapType.RING_BUF, 0, 0, 4096))
    ring = axebpf.default_bench().maps.by_id[number]
    output = "r2 = r1\n r1 = map[{number}]\n r3 = {size}\n r4 = {flags}\n call bpf_ringbuf_output\n exit"
    data = bytearray(range(64))
    for size in range(1, 18):
        assert run(output.format(number=number, size=size, flags=0), data) == 0
        assert ring.read() == [bytes(range(size))]
    assert run(output.format(number=number, size=5000, flags=0), bytearray(5000)) == -errno.EAGAIN
    assert run(output.format(number=number, size=8, flags=77), data) == -errno.EINVAL


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


# hypervisor_helpers.rs


def test_each_cpu_has_its_context(default_bench: Bench) -> None:
    """hypervisor_helpers.rs: one context for all CPUs."""
    for cpu in range(4):
        default_bench.cpu = cpu
        hv.set_current_context(10 + cpu, cpu, 0)
    vm = EbpfProgram(axebpf.assemble("call bpf_get_current_vm_id\nexit"))
    for cpu in range(4):
        default_bench.cpu = cpu
        assert vm.execute() == 10 + cpu
        assert hv.current_context() == (10 + cpu, cpu, 0)


def test_an_event_within_a_run_leaves_its_context_alone(default_bench: Bench) -> None:
    """hypervisor_helpers.rs: the context was not nested: an event within another changed the outer one's."""
    inner: list[int] = []

    @default_bench.helper("u64 inside(void)", id=0x10000)
    def inside() -> int:
        default_bench.tracepoints[EXIT].fire(vm_id=9, vcpu_id=9, exit_reason=9, duration_ns=0)
        inner.append(hv.current_context().vm_id)
        return 0

    hv.set_current_context(1, 2, 3)
    text = "call inside#65536\n call bpf_get_current_vm_id\n exit"
    assert EbpfProgram(axebpf.assemble(text)).execute() == 1
    assert inner == [1]


def test_the_reason_of_an_exit_is_the_event_s(default_bench: Bench) -> None:
    """hypervisor_helpers.rs: the exit reason was always 0."""
    number = maps.create(MapDef(MapType.ARRAY, 4, 8, 1))
    text = f"call bpf_get_exit_reason\n r6 = r0\n {lookup(number, 0)} *(u64 *)(r0 +0) = r6\nout:\n r0 = 0\n exit"
    attach.attach(EXIT, runtime.load_program(EbpfProgram(axebpf.assemble(text))))
    default_bench.tracepoints[EXIT].fire(vm_id=1, vcpu_id=0, exit_reason=axebpf.ExitReason.HALT, duration_ns=0)
    assert maps.lookup_elem(number, u32(0)) == u64(axebpf.ExitReason.HALT)


# rbpf's interpreter


def test_an_immediate_of_a_64_bit_jump_is_extended_by_its_sign() -> None:
    """rbpf: 64-bit jumps extended their immediate by zeros."""
    assert run("r1 = -1\n r0 = 1\n if r1 == -1 goto out\n r0 = 0\nout:\n exit") == 1
    assert run("r1 = 5\n r0 = 1\n if r1 < -1 goto out\n r0 = 0\nout:\n exit") == 1


def test_a_32_bit_remainder_by_0_clears_the_upper_half() -> None:
    """rbpf: a 32-bit modulo by zero kept the upper 32 bits."""
    assert run("r0 = 0x1122334455667788 ll\n w1 = 0\n w0 %= w1\n exit") == 0x55667788


def test_an_access_is_checked_to_its_last_byte() -> None:
    """rbpf: of an access to the extra ranges only the first byte was checked."""
    for at, size in ((57, "u64"), (61, "u32"), (63, "u16")):
        with pytest.raises(ProgramFault, match=rf"load of . bytes at ctx\+{at}"):
            run(f"r0 = *({size} *)(r1 +{at})\n exit", bytearray(64))
    assert run("r0 = *(u64 *)(r1 +56)\n exit", bytearray(64)) == 0


def test_legacy_packet_loads_are_refused() -> None:
    """rbpf: LD_ABS and LD_IND always checked 8 bytes. Linux refuses them in tracing programs, and so are they here."""
    for size in ("u8", "u16", "u32"):
        with pytest.raises(LoadError, match="legacy packet load"):
            run(f"r0 = *({size} *)skb[0]\n exit")


def test_a_program_of_more_than_65536_instructions() -> None:
    """rbpf: arithmetic on the instruction pointer in 16 bits."""
    body = axebpf.assemble("r0 += 1") * 70_000
    code = axebpf.assemble("r0 = 0") + body + axebpf.assemble("exit")
    assert EbpfProgram(code).execute() == 70_000
    far = struct.pack("<BBhi", 0x06, 0, 0, 70_000)  # gotol +70000
    assert EbpfProgram(axebpf.assemble("r0 = 5") + far + body + axebpf.assemble("exit")).execute() == 5


# examples, tests


def test_the_example_s_map() -> None:
    """runtime_example.rs: it panicked over an array with keys of 8 bytes, which is an error that says so."""
    with pytest.raises(MapError) as caught:
        maps.create(MapDef(MapType.ARRAY, 8, 8, 16))
    assert caught.value.errno == errno.EINVAL
