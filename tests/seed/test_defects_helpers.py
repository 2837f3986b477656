"""Defects of the seed's helpers, and of the interpreter below them, that do not come back.

Each test's first line names the file where the defect was, and the defect.
"""

from __future__ import annotations

import errno
import struct

import axebpf
import pytest
from axebpf import Bench, LoadError, ProgramFault, attach, maps, runtime
from axebpf.maps import MapDef, MapType
from axebpf.runtime import EbpfProgram
from axebpf.trace import Event
from axebpf.tracepoints import hypervisor_helpers as hv

from .programs import counter, lookup, run, u32, u64

pytestmark = pytest.mark.usefixtures("default_bench")

EXIT = "vmm:vcpu_run_exit"


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
