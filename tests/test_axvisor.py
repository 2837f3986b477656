"""`Bench(target="axvisor")`, `engine="rbpf"` and `maps="kbpf"` from Python."""

from __future__ import annotations

import errno
import struct
from pathlib import Path
from typing import Any

import axebpf.examples
import pytest
from axebpf import AxebpfError, Bench, LoadError, MapError, ProgramFault, assemble

PROGRAMS = Path(__file__).parent / "fixtures" / "axvisor"

EXAMPLES = Path(axebpf.examples.__file__).parent

LINUX_SIDES: list[dict[str, Any]] = [{}, {"engine": "rbpf"}, {"maps": "kbpf"}, {"engine": "rbpf", "maps": "kbpf"}]
"""Benches on which a program is what it is on Linux."""

COUNT = """
    *(u32 *)(r10 -4) = 0
    r2 = r10
    r2 += -4
    r1 = map[3]
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r1 = *(u64 *)(r0 +0)
    r1 += 1
    *(u64 *)(r0 +0) = r1
out:
    r0 = 0
    exit
"""
"""Counts through the pointer to a looked-up value."""


def counted(bench: Bench) -> int:
    counter = bench.create_map("array", 4, 8, 1, name="COUNTER")
    program = bench.load_bytes(assemble(COUNT), maps={3: counter})
    for _ in range(3):
        program.run(bytes(64))
    return int(counter[0])


def test_axvisor_loses_a_store_through_a_looked_up_value_and_its_vm_and_maps_alone_do_not() -> None:
    assert [counted(Bench(**side)) for side in LINUX_SIDES] == [3, 3, 3, 3]
    assert counted(Bench(target="axvisor")) == 0


def test_a_program_written_for_axvisor_counts_the_same_on_every_side() -> None:
    for side in [*LINUX_SIDES, {"target": "axvisor"}]:
        with Bench(**side) as bench:
            loaded = bench.load(PROGRAMS / "printk.bpf.o")
            loaded["printk"].attach("vmm:vcpu_run_exit")
            for duration in range(5):
                bench.tracepoints["vmm:vcpu_run_exit"].fire(vm_id=1, vcpu_id=0, exit_reason=0, duration_ns=duration)
            assert loaded.maps["COUNTER_MAP"].to_dict() == {21: 5}, side


def test_every_program_gets_trace_context_on_axvisor() -> None:
    # Of a tracepoint program on Linux, offset 16 is exit_reason; in TraceContext it is vm_id.
    text = "r6 = *(u32 *)(r1 +16)\n*(u32 *)(r10 -4) = 0\n*(u64 *)(r10 -16) = r6\nr2 = r10\nr2 += -4\nr3 = r10\n"
    text += "r3 += -16\nr4 = 0\nr1 = map[3]\ncall bpf_map_update_elem\nr0 = 0\nexit"
    for target, expected in (("linux", 7), ("axvisor", 3)):
        with Bench(target=target) as bench:
            seen = bench.create_map("array", 4, 8, 1)
            bench.load_bytes(assemble(text), type="tracepoint", maps={3: seen}).attach("vmm:vcpu_run_exit")
            bench.tracepoints["vmm:vcpu_run_exit"].fire(vm_id=3, vcpu_id=0, exit_reason=7, duration_ns=1)
            assert seen[0] == expected, target


def test_trace_and_format_are_in_the_form_of_the_target() -> None:
    for target, line, field in (
        ("linux", "vm_destroy: vm_id=1", "unsigned short"),
        ("axvisor", "vm_destroy(vm_id=1)", "u16"),
    ):
        with Bench(target=target) as bench:
            destroy = bench.tracepoints["vmm:vm_destroy"]
            destroy.enabled = True
            destroy.fire(vm_id=1)
            assert line in bench.trace.text()
            assert f"{field} common_type" in destroy.format()


def test_axvisor_takes_no_other_engine_or_maps() -> None:
    for other in ({"engine": "interpreter"}, {"maps": "own"}):
        with pytest.raises(LoadError, match="target axvisor is the engine rbpf over the maps kbpf, not"):
            Bench(target="axvisor", **other)
    assert repr(Bench(target="axvisor", engine="rbpf", maps="kbpf")).startswith("<Bench: target axvisor, engine rbpf,")


def test_unknown_words_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(LoadError, match="no engine 'rbfp'; engines are auto, interpreter, rbpf; did you mean rbpf"):
        Bench(engine="rbfp")
    with pytest.raises(LoadError, match='target is "axvisr"; it may be linux, axvisor'):
        Bench(target="axvisr")
    with pytest.raises(LoadError, match='maps is "x"; it may be auto, kbpf'):
        Bench(maps="x")


def test_what_axvisor_refuses_names_it_and_leaves_the_bench_usable() -> None:
    with Bench(target="axvisor") as bench:
        with pytest.raises(LoadError, match=r"instruction 1: a loop .* AxVisor's VM, once it runs"):
            bench.load_bytes(assemble("a:\nr0 = 0\ngoto a\nexit"))
        with pytest.raises(LoadError, match=r"helper 7 \(bpf_get_prandom_u32\): AxVisor does not have it"):
            bench.load_bytes(assemble("call bpf_get_prandom_u32\nexit"))
        with pytest.raises(
            LoadError, match=r"instruction 0: rbpf 0\.4\.1, AxVisor's VM, refuses it: unknown eBPF opcode"
        ):
            bench.load_bytes(assemble("r0 = bswap16 r0\nexit"))
        for size, expected in ((0, errno.EINVAL), (2**32 - 1, errno.ENOMEM)):
            with pytest.raises(MapError, match="kbpf-basic") as caught:
                bench.create_map("lru_hash", 4, 8, size)
            assert caught.value.errno == expected
        with pytest.raises(MapError, match="is at most 4294967295 bytes"):
            bench.create_map("array", 4, 65536, 65536)
        with pytest.raises(MapError, match="AxVisor has no percpu_hash maps"):
            bench.create_map("percpu_hash", 4, 8, 4)
        assert not bench.maps
        assert bench.load_bytes(assemble("r0 = 5\nexit")).run(bytes(64)).r0 == 5


def test_a_loop_that_surely_ends_runs_within_the_budget() -> None:
    program = assemble("r0 = 0\nr1 = 0\na:\nr0 += r1\nr1 += 1\nif r1 != 10 goto a\nexit")
    with Bench(target="axvisor", budget=33) as bench:
        assert bench.load_bytes(program).run(bytes(64)).r0 == sum(range(10))
    with (
        Bench(target="axvisor", budget=32) as bench,
        pytest.raises(LoadError, match=r"instruction 4: a loop .* may need more than 32 instructions for one run"),
    ):
        bench.load_bytes(program)


def test_map_errors_are_those_of_kbpf_basic() -> None:
    with Bench(target="axvisor") as bench:
        table = bench.create_map("hash", 4, 8, 1)
        table[1] = 2
        with pytest.raises(MapError) as caught:
            table[2] = 3
        assert caught.value.errno == errno.ENOMEM
        assert table.to_dict() == {1: 2}
        table.delete(struct.pack("<I", 9))  # a missing key is no error there


def test_a_global_variable_cannot_be_set_on_axvisor() -> None:
    with_globals = EXAMPLES / "slow_exits.bpf.o"
    name = next(iter(Bench().load(with_globals).globals))
    told = f"the variable {name}: AxVisor's loader drops what global variables hold"
    with Bench(target="axvisor") as bench, pytest.raises(LoadError, match=told):
        bench.load(with_globals, rodata={name: 1})


def test_a_fault_names_the_place_and_not_the_address() -> None:
    program = assemble("r0 = *(u64 *)(r10 +8)\nexit")
    told = set()
    for _ in range(3):
        with pytest.raises(ProgramFault, match=r"load of 8 bytes at stack\+8: no live memory there") as caught:
            Bench(target="axvisor").load_bytes(program).run(bytes(64))
        told.add(str(caught.value))
    assert len(told) == 1


def test_rbpf_counts_nothing_and_takes_no_steps() -> None:
    program = Bench(engine="rbpf").load_bytes(assemble("r0 = 1\nexit"))
    assert program.run(bytes(64)).instructions is None
    for ask in (program.profile, program.steps):
        with pytest.raises(
            AxebpfError, match="program runs on the engine rbpf, which shows and counts no instructions"
        ):
            ask()


def test_a_python_helper_writes_into_a_looked_up_value_on_rbpf() -> None:
    for side in LINUX_SIDES:
        with Bench(**side) as bench:

            @bench.helper("u64 fill(void *to, u32 to__sz)", id=0x10000)
            def fill(to: bytearray) -> int:
                to[:] = b"abcdefgh"
                return 0

            text = COUNT.replace(
                "r1 = *(u64 *)(r0 +0)\n    r1 += 1\n    *(u64 *)(r0 +0) = r1", "r1 = r0\nr2 = 8\ncall f#65536"
            )
            counter = bench.create_map("array", 4, 8, 1)
            bench.load_bytes(assemble(text), maps={3: counter}).run(bytes(64))
            assert counter.lookup(bytes(4)) == b"abcdefgh", side
