"""Values with a `struct bpf_spin_lock`: objects that have them, and their maps from Python.

What Linux answers, and what its verifier says, is compared with the running kernel in `rust/core/tests/map_oracle`.
"""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from axebpf import Bench, LoadError, MapError, ProgramFault

LOCK = 4
"""BPF_F_LOCK."""

TWO = """
struct account { __u64 from; struct bpf_spin_lock lock; __u32 to; };
struct { __uint(type, BPF_MAP_TYPE_%s); __uint(max_entries, 4); __type(key, __u32); __type(value, struct account); }
ACCOUNTS SEC(".maps");

SEC("%s") int move(void *ctx)
{
    __u32 key = 1;
    struct account *account = bpf_map_lookup_elem(&ACCOUNTS, &key);
    if (!account)
        return 0;
    bpf_spin_lock(&account->lock);
    account->from -= 3;
    account->to += 3;
    bpf_spin_unlock(&account->lock);
    return 1;
}
"""


def test_a_program_changes_a_value_under_its_lock(compile_bpf: Callable[..., Path]) -> None:
    with Bench() as bench:
        loaded = bench.load(compile_bpf("move", TWO % ("HASH", "xdp")))
        accounts = loaded.maps["ACCOUNTS"]
        accounts[1] = (10, (77,), 0)
        assert loaded["move"].run(bytes(24)).r0 == 1
        # Nobody writes the lock, and nobody sees it.
        assert accounts[1] == (7, (0,), 3)
        key = (1).to_bytes(4, "little")
        value = accounts.lookup(key, LOCK)
        accounts.update(key, value, LOCK)
        assert accounts.lookup_and_delete(key, LOCK) == value
        # So nobody has to give one.
        accounts[2] = {"from": 1, "to": 2}
        assert accounts[2] == (1, (0,), 2)
        with pytest.raises(MapError, match="struct account needs from too"):
            accounts[3] = {"to": 2}


@pytest.mark.parametrize(
    ("section", "words"),
    [("tracepoint/vmm/vm_boot", "tracing"), ("raw_tp/vm_boot", "tracing"), ("socket", "socket filter")],
)
def test_programs_that_may_not_lock(compile_bpf: Callable[..., Path], section: str, words: str) -> None:
    path = compile_bpf(words.replace(" ", "_") + section[0], TWO % ("ARRAY", section))
    with Bench() as bench, pytest.raises(LoadError, match=f"move: {words} progs cannot use bpf_spin_lock yet"):
        bench.load(path)


def test_maps_that_may_not_have_one(compile_bpf: Callable[..., Path]) -> None:
    with (
        Bench() as bench,
        pytest.raises(MapError, match="values of lru_hash maps cannot have a bpf_spin_lock") as caught,
    ):
        bench.load(compile_bpf("lru", TWO % ("LRU_HASH", "xdp")))
    assert caught.value.errno == errno.EOPNOTSUPP


INNER = """
struct account { struct bpf_spin_lock lock; __u32 taken; __u64 sum; };
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
               __type(key, __u32); __type(value, struct account); } FIRST SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 1); __type(key, __u32);
         __array(values, struct inner); } OUTER SEC(".maps") = { .values = { &FIRST } };

SEC("raw_tp/vm_boot") int on_boot(void *ctx)
{
    __u32 key = 0;
    void *inner = bpf_map_lookup_elem(&OUTER, &key);
    struct account *account = inner ? bpf_map_lookup_elem(inner, &key) : 0;
    if (!account)
        return 0;
    bpf_spin_lock(&account->lock);
    account->taken++;
    account->sum += 5;
    bpf_spin_unlock(&account->lock);
    return 0;
}
"""


def test_a_tracing_program_finds_one_in_a_map_of_maps(compile_bpf: Callable[..., Path]) -> None:
    with Bench() as bench:
        loaded = bench.load(compile_bpf("inner", INNER))
        loaded.attach()
        for _ in range(3):
            bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=1)
        assert loaded.maps["FIRST"][0] == ((0,), 3, 15)


FORGETS = TWO.replace("bpf_spin_unlock(&account->lock);", "")


def test_a_program_that_does_not_unlock_is_stopped(compile_bpf: Callable[..., Path]) -> None:
    with Bench() as bench:
        loaded = bench.load(compile_bpf("forgets", FORGETS % ("ARRAY", "xdp")))
        for _ in range(2):  # the lock is free again
            with pytest.raises(
                ProgramFault, match=r"inside bpf_spin_lock-ed region: the program still holds ACCOUNTS\[1\]\+8"
            ):
                loaded["move"].run(bytes(24))


GLOBAL = """
struct bpf_spin_lock lock SEC(".data.locked");
__u64 counted SEC(".data.locked");

SEC("xdp") int count(void *ctx)
{
    bpf_spin_lock(&lock);
    counted++;
    bpf_spin_unlock(&lock);
    return 2;
}
"""


def test_a_lock_may_be_a_global_variable(compile_bpf: Callable[..., Path]) -> None:
    with Bench() as bench:
        loaded = bench.load(compile_bpf("global", GLOBAL))
        for _ in range(2):
            assert loaded["count"].run(bytes(24)).r0 == 2
        assert loaded.globals["counted"] == 2


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("struct bpf_spin_lock a; struct bpf_spin_lock b; __u64 n;", "one at byte 0 and one at byte 4"),
        ("__u16 a; struct bpf_spin_lock lock; __u16 b; __u64 n;", "one at byte 2"),
    ],
)
def test_values_that_linux_refuses(compile_bpf: Callable[..., Path], value: str, found: str) -> None:
    head, _ = (TWO % ("ARRAY", "xdp")).split('SEC("xdp")')
    head = head.replace("__u64 from; struct bpf_spin_lock lock; __u32 to; };", value + " } __attribute__((packed));")
    program = 'SEC("xdp") int use(void *ctx) { return !bpf_map_lookup_elem(&ACCOUNTS, ctx); }'
    path = compile_bpf(f"wrong{len(found)}", head + program)
    with pytest.raises(LoadError, match=f"value is {found}, expected at most one struct"), Bench() as bench:
        bench.load(path)


def test_a_map_made_by_hand_has_none() -> None:
    with Bench() as bench, pytest.raises(MapError) as caught:
        bench.create_map("array", 4, 8, 1).lookup(bytes(4), LOCK)
    assert caught.value.errno == errno.EINVAL
