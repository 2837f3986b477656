"""`bench.twin.Twin`: the same programs, maps and places in a fresh bench."""

from __future__ import annotations

import pytest
from axebpf import AttachError, Bench, BenchClosed, LoadError, MapError, Tracepoint, assemble, u32
from axebpf.bench.twin import Twin
from axebpf.examples import example

COUNT = """
    r6 = r1
    call bpf_get_attach_cookie
    *(u64 *)(r10 -8) = r0
    r1 = map[5]
    r2 = r10
    r2 += -8
    r3 = r2
    r4 = 0
    call bpf_map_update_elem
    r0 = 0
    exit
"""
"""Stores its cookie under itself."""


class Sleep(Tracepoint, name="vmm:sleep", id=300):
    """A VM sleeps."""

    vm_id: u32


def test_programs_places_cookies_filters_and_own_tracepoints_are_the_same() -> None:
    bench = Bench(cpus=2, seed=5)
    bench.define(Sleep)
    seen = bench.create_map("hash", 8, 8, 16, name="SEEN")
    program = bench.load_bytes(assemble(COUNT), type="tracepoint", maps={5: seen}, name="count")
    program.attach("vmm:sleep", cookie=7, filter="vm_id == 1")
    program.attach("vmm:vm_destroy", cookie=8)
    program.attach("vmm:vm_boot", cookie=9).detach()
    with Twin(bench, [program], cpus=3) as twin:
        assert (twin.bench.cpus, twin.bench.target) == (3, "linux")
        for vm in (1, 2):
            twin.bench.tracepoints["vmm:sleep"].fire(vm_id=vm)
        assert twin.bench.maps["SEEN"] == {7: 7}
        twin.bench.tracepoints["vmm:vm_destroy"].fire(vm_id=1)
        twin.bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1)
        assert twin.bench.maps["SEEN"] == {7: 7, 8: 8}
        assert twin.maps[seen.id] is twin.bench.maps["SEEN"]
        assert twin.programs[program.id].stats.runs == 2
    assert twin.bench.closed
    assert not bench.closed
    assert (len(seen), program.stats.runs, bench.tracepoints["vmm:sleep"].fired) == (0, 0, 0)


def test_an_object_is_loaded_again_with_its_options_and_its_maps_as_they_are_now() -> None:
    bench = Bench()
    progs = bench.load(example("exits.bpf.o"), rodata={"threshold_ns": 123}, max_entries={"EXITS": 77})
    bench.maps["EXITS"][3, 4] = (5, 6, 7)
    with Twin(bench, progs.values()) as twin:
        exits = twin.bench.maps["EXITS"]
        assert (exits.max_entries, exits.to_dict()) == (77, {(3, 4): (5, 6, 7)})
        assert twin.bench.maps[".rodata"].lookup(bytes(4)) == bench.maps[".rodata"].lookup(bytes(4))
        # Attached nowhere: then where the section says.
        assert [link.tracepoint.name for link in twin.links] == [progs["on_exit"].target]
        twin.bench.tracepoints["vmm:vcpu_run_exit"].fire(vm_id=3, vcpu_id=0, exit_reason=4, duration_ns=1000)
        assert exits[3, 4] == (6, 1006, 1000)
    assert bench.maps["EXITS"][3, 4] == (5, 6, 7)


@pytest.mark.parametrize("kind", ["array", "hash", "lru_hash", "percpu_array", "percpu_hash", "queue", "stack"])
def test_maps_begin_with_what_they_hold(kind: str) -> None:
    bench = Bench(cpus=2)
    keyed = kind not in ("queue", "stack")
    made = bench.create_map(kind, 4 if keyed else 0, 8, 4)
    for number in (3, 1, 2):
        if keyed:
            made[number] = [number, number + 1] if made.per_cpu else number
        else:
            made.append(number)
    nothing = bench.load_bytes(assemble("r1 = map[9]\nr0 = 0\nexit"), type="tracepoint", maps={9: made})
    with Twin(bench, [nothing]) as twin:
        again = twin.maps[made.id]
        assert list(again._entries()) == list(made._entries())
        assert again.max_entries == 4


def test_raw_instructions_may_use_the_map_of_an_object() -> None:
    bench = Bench()
    exits = bench.load(example("exits.bpf.o")).maps["EXITS"]
    program = bench.load_bytes(assemble("r1 = map[1]\nr0 = 0\nexit"), type="tracepoint", maps={1: exits})
    with Twin(bench, [program]) as twin:
        assert [made.name for made in twin.programs[program.id].maps] == ["EXITS"]
        assert twin.maps[exits.id] is twin.bench.maps["EXITS"]
        assert list(twin.bench.programs) == ["program"]


def test_what_the_new_bench_refuses_is_an_error_and_the_old_one_goes_on() -> None:
    bench = Bench()
    swap = bench.load_bytes(assemble("r0 = 1\nr0 = bswap16 r0\nexit"), type="tracepoint")
    values = bench.create_map("percpu_array", 4, 8, 1)
    user = bench.load_bytes(assemble("r1 = map[1]\nr0 = 0\nexit"), type="tracepoint", maps={1: values})
    with pytest.raises(LoadError, match="unknown eBPF opcode 0xd7"):
        Twin(bench, [swap], target="axvisor")
    with pytest.raises(MapError, match="AxVisor has no percpu_array maps"):
        Twin(bench, [user], target="axvisor")
    assert swap.run(bytes(16)).r0 == 0x100


def test_programs_of_another_bench_unloaded_ones_and_a_closed_bench_are_refused() -> None:
    bench = Bench()
    program = bench.load_bytes(assemble("r0 = 0\nexit"), type="tracepoint", name="gone")
    with pytest.raises(AttachError, match="gone: it is not in this bench"):
        Twin(Bench(), [program])
    program.unload()
    with pytest.raises(AttachError, match="gone: it is not in this bench"):
        Twin(bench, [program])
    bench.close()
    with pytest.raises(BenchClosed):
        Twin(bench, [])
