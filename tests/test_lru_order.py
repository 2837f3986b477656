"""`Bench(lru="linux")`: what full LRU maps drive out. `tests/map_oracle` compares with the kernel itself."""

import pytest
from axebpf import Bench, assemble
from axebpf.errors import LoadError

NO_COMMON_LRU = 2


def entries_after(inserts: int, size: int, flags: int, lru: str) -> int:
    """How many entries a map of two CPUs has after so many new keys."""
    with Bench(cpus=2, lru=lru) as bench:
        table = bench.create_map("lru_hash", 8, 8, size, flags)
        for key in range(inserts):
            table[key] = 0
        return len(table)


@pytest.mark.parametrize(
    ("size", "flags", "inserts", "left"),
    [
        # Counted on Linux 6.18 with two CPUs: the insertion that first drove entries out, and what was left then.
        (4, 0, 5, 4),
        (4, NO_COMMON_LRU, 3, 1),
        (64, 0, 65, 49),
        (64, NO_COMMON_LRU, 33, 29),
        (256, 0, 257, 193),
        (256, NO_COMMON_LRU, 129, 125),
        (1024, 0, 1025, 897),
        (1024, NO_COMMON_LRU, 513, 509),
    ],
)
def test_a_full_map_makes_room_for_several(size: int, flags: int, inserts: int, left: int) -> None:
    assert entries_after(inserts - 1, size, flags, "linux") == inserts - 1
    assert entries_after(inserts, size, flags, "linux") == left
    assert entries_after(inserts, size, flags, "exact") == min(inserts, size)


LOOK_UP = """
*(u64 *)(r10 -8) = 3
r2 = r10
r2 += -8
r1 = map[0]
call bpf_map_lookup_elem
r0 = 0
exit
"""


@pytest.mark.parametrize(("by_program", "stays"), [(True, True), (False, False)])
def test_a_look_up_of_a_program_keeps_an_entry_and_one_of_the_bench_does_not(by_program: bool, stays: bool) -> None:
    with Bench(cpus=2, lru="linux") as bench:
        table = bench.create_map("lru_hash", 8, 8, 64)
        look_up = bench.load_bytes(assemble(LOOK_UP), type="raw_tracepoint", maps={0: table})
        for key in range(64):
            table[key] = key
        if by_program:
            look_up.run(bytes(8))
        assert table[3] == 3
        table[64] = 0
        assert (3 in table, 4 in table) == (stays, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lru": "linus"}, r"no order 'linus' of LRU maps; they are exact, linux; did you mean linux\?"),
        (
            {"lru": "linux", "maps": "kbpf"},
            "lru='linux' is for axebpf's own maps; those of kbpf have an order of their own",
        ),
        ({"lru": "linux", "target": "axvisor"}, "lru='linux' is for axebpf's own maps"),
    ],
)
def test_orders_that_there_are_not(options: dict[str, str], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        Bench(**options)  # type: ignore[arg-type]


def test_a_comparison_with_axvisor_begins_with_an_order_that_there_is() -> None:
    with Bench(lru="linux") as bench:
        table = bench.create_map("lru_hash", 8, 8, 64)
        look_up = bench.load_bytes(assemble(LOOK_UP), type="tracepoint", maps={0: table})
        look_up.attach("vmm:vm_boot")
        assert bench.compare(look_up, "boot", vms=1, duration_s=0.1)
