"""`bench.twin.Twin`: the same programs, maps and places in a fresh bench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axebpf import AttachError, Bench, BenchClosed, LoadError, MapError, Tracepoint, assemble, u32
from axebpf.bench import Program
from axebpf.bench.twin import Twin
from axebpf.examples import example

DATA = Path(__file__).parent / "data"

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
            made[number] = [number, number + 1] if made.is_per_cpu else number
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


def jumping(bench: Bench, jumps: Any, name: str) -> Program:
    """A program that tail-calls what is at index 1, and returns 5 where nothing is."""
    text = "r2 = map[1]\nr3 = 1\ncall bpf_tail_call\nr0 = 5\nexit"
    return bench.load_bytes(assemble(text), type="tracepoint", maps={1: jumps}, name=name)


def test_programs_that_are_tail_called_come_along() -> None:
    bench = Bench()
    jumps = bench.create_map("prog_array", 4, 4, 4, name="JUMPS")
    bench.load_bytes(assemble("r0 = 0\nexit"), type="tracepoint", name="elsewhere")
    counted = bench.create_map("hash", 8, 8, 4, name="COUNTED")
    counted[7] = 8
    text = "r1 = map[3]\nr0 = 42\nexit"
    called = bench.load_bytes(assemble(text), type="tracepoint", maps={3: counted}, name="called")
    called.attach("vmm:vm_boot")
    caller = jumping(bench, jumps, "caller")
    jumps[1] = called
    with Twin(bench, [caller]) as twin:
        assert sorted(twin.bench.programs) == ["called", "caller"]
        assert dict(twin.bench.maps["JUMPS"]) == {1: twin.programs[called.id]}
        assert twin.bench.maps["COUNTED"] == {7: 8}
        assert twin.programs[caller.id].run(bytes(16)).r0 == 42
        assert [link.program.name for link in twin.links] == []
    assert jumps[1] is called


def test_maps_of_maps_hold_the_new_maps() -> None:
    bench = Bench()
    like, other = (bench.create_map("hash", 4, 8, 4, name=name) for name in ("LIKE", "OTHER"))
    other[1] = 2
    outer = bench.create_map("hash_of_maps", 4, 4, 4, inner=like, name="OUTER")
    outer[9] = other
    program = bench.load_bytes(assemble("r1 = map[1]\nr0 = 0\nexit"), type="tracepoint", maps={1: outer})
    with Twin(bench, [program]) as twin:
        assert dict(twin.bench.maps["OUTER"]) == {9: twin.bench.maps["OTHER"]}
        assert twin.bench.maps["OTHER"] == {1: 2}
    bench.maps.destroy(other)
    with pytest.raises(MapError, match="OTHER: it is in a map of maps and no longer in the bench"):
        Twin(bench, [program])


@pytest.mark.parametrize(("kind", "called"), [("maps_of_maps", "on_exit"), ("tail_calls", "on_hypercall")])
def test_what_an_object_puts_into_its_maps_is_there_unless_it_was_taken_out(
    compile_bpf: Callable[..., Path], kind: str, called: str
) -> None:
    bench = Bench()
    progs = bench.load(compile_bpf(kind, (DATA / f"{kind}.c").read_text()))
    outer = bench.maps["BY_NUMBER" if kind == "maps_of_maps" else "JUMPS"]
    del outer[0]
    held = {key: thing.name for key, thing in outer.items()}
    with Twin(bench, [progs[called]]) as twin:
        again = twin.bench.maps[outer.name]
        assert {key: thing.name for key, thing in again.items()} == held
        assert held


@pytest.mark.parametrize("kind", ["prog_array", "perf_event_array", "hash_of_maps"])
def test_a_map_that_axvisor_does_not_have_is_refused_by_name(kind: str) -> None:
    bench = Bench()
    like = bench.create_map("hash", 4, 8, 4, name="LIKE") if kind == "hash_of_maps" else None
    used = bench.create_map(kind, 4, 4, 4, inner=like, name="USED")
    program = bench.load_bytes(assemble("r1 = map[1]\nr0 = 0\nexit"), type="tracepoint", maps={1: used})
    with pytest.raises(MapError, match=f"USED: AxVisor has no {kind} maps"):
        Twin(bench, [program], target="axvisor")


def test_two_programs_that_share_an_empty_map_share_one_again() -> None:
    bench = Bench()
    shared = bench.create_map("hash", 8, 8, 4, name="SHARED")
    first, second = (
        bench.load_bytes(assemble("r1 = map[1]\nr0 = 0\nexit"), type="tracepoint", maps={1: shared}) for _ in range(2)
    )
    with Twin(bench, [first, second]) as twin:
        assert twin.programs[first.id].maps[0] is twin.programs[second.id].maps[0]
