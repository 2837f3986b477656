"""Defects of the seed's maps, and of the crate below them, that do not come back.

Each test's first line names the file where the defect was, and the defect.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import axebpf
import pytest
from axebpf import Bench, MapError, ProgramFault, attach, maps, runtime
from axebpf.maps import MapDef, MapType
from axebpf.runtime import EbpfProgram

from .programs import counter, lookup, run, u32, u64

pytestmark = pytest.mark.usefixtures("default_bench")

BOOT = "vmm:vm_boot"


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
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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


# runtime_example.rs


def test_the_example_s_map() -> None:
    """runtime_example.rs: it panicked over an array with keys of 8 bytes, which is an error that says so."""
    with pytest.raises(MapError) as caught:
        maps.create(MapDef(MapType.ARRAY, 8, 8, 16))
    assert caught.value.errno == errno.EINVAL
