"""The consumer of a ring buffer: callbacks, arrays, wakeups; consuming while programs write; hostile programs.

What the ring holds, byte for byte, and who is woken, is compared with the running kernel in
`rust/core/tests/map_oracle`.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axebpf import Bench, LoadError, MapError, ProgramFault, assemble
from axebpf.bench import Program

NO_WAKEUP, FORCE_WAKEUP = 1, 2
RECORD = 16
"""Bytes that a record of eight takes."""


def ring_of(bench: Bench, size: int = 4096) -> Any:
    return bench.create_map("ringbuf", 0, 0, size, name="RING")


def loaded(bench: Bench, text: str, **maps: Any) -> Program:
    return bench.load_bytes(assemble(text), type="raw_tracepoint", maps=dict(enumerate(maps.values(), 1)))


def writing(bench: Bench, ring: Any) -> Program:
    """A program that outputs a record: the words of its context are the payload, its size, and the flags."""
    return loaded(
        bench,
        """
        r6 = *(u64 *)(r1 +0)
        *(u64 *)(r10 -8) = r6
        r3 = *(u64 *)(r1 +8)
        r4 = *(u64 *)(r1 +16)
        r1 = map[1]
        r2 = r10
        r2 += -8
        call bpf_ringbuf_output
        exit""",
        ring=ring,
    )


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def write(program: Program, number: int, size: int = 8, flags: int = 0) -> int:
    """What the helper returned."""
    r0 = program.run(words(number, size, flags)).r0
    return r0 - (1 << 64) if r0 >> 63 else r0


def number(record: bytes) -> int:
    return int.from_bytes(record, "little")


# Callbacks


def test_a_callback_gets_each_record_in_order_and_at_most_so_many() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    for n in range(5):
        write(program, n)
    given: list[bytes] = []
    assert ring.consume(given.append, most=2) == 2
    assert ring.consume(given.append, 0) == 0
    assert ring.consume(given.append) == 3
    assert ring.consume(given.append) == 0
    assert [number(record) for record in given] == [0, 1, 2, 3, 4]


def test_a_ring_is_cleared() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    for n in range(5):
        write(program, n)
    ring.clear()
    assert (len(ring), ring.available, list(ring)) == (0, 0, [])
    assert write(program, 5) == 0
    assert number(ring.consume()) == 5


def test_where_a_callback_raises_the_rest_stays() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    for n in range(4):
        write(program, n)

    def second_is_bad(record: bytes) -> None:
        if number(record) == 1:
            raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        ring.consume(second_is_bad)
    assert [number(record) for record in ring] == [2, 3]


def test_a_callback_gets_what_is_written_meanwhile() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    given: list[int] = []

    def one_more(record: bytes) -> None:
        given.append(number(record))
        if given[-1] < 3:
            write(program, given[-1] + 1)

    write(program, 0)
    assert ring.consume(one_more) == 4
    assert given == [0, 1, 2, 3]


# Arrays


def test_records_of_one_size_are_an_array_of_any_numpy_type_of_it() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    for n in (1, 0x2_0000_0003):
        write(program, n)
    array = ring.to_numpy([("low", "<u4"), ("high", "<u4")])
    assert array["low"].tolist() == [1, 3]
    assert array["high"].tolist() == [0, 2]
    assert not array.flags.writeable
    assert len(ring) == 0
    assert ring.to_numpy("<u8").tolist() == []


def test_records_of_another_size_stay_in_the_ring() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    for n, size in enumerate((8, 8, 5)):
        write(program, n, size)
    with pytest.raises(MapError, match=r"record 2 of 3 has 5 bytes, uint64 8; none was taken") as caught:
        ring.to_numpy("<u8")
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(MapError, match="its records have no type: say which"):
        ring.to_numpy()
    for no_bytes in ("O", "V0"):
        with pytest.raises(MapError, match="is not the type of bytes"):
            ring.to_numpy(no_bytes)
    assert [len(record) for record in ring] == [8, 8, 5]


def test_a_million_bytes_of_records_come_as_they_were_written() -> None:
    bench = Bench()
    ring = ring_of(bench, 1 << 20)
    program = writing(bench, ring)
    count = (1 << 20) // RECORD - 1
    for n in range(count):
        assert write(program, n) == 0
    assert write(program, 0) == -errno.EAGAIN
    assert np.array_equal(ring.to_numpy("<u8"), np.arange(count, dtype="<u8"))


# Wakeups and positions


def test_a_record_wakes_a_consumer_that_has_caught_up() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    seen = []
    for flags in (0, 0, FORCE_WAKEUP, NO_WAKEUP, NO_WAKEUP | FORCE_WAKEUP, 4):
        write(program, 0, 8, flags)
        seen.append(ring.wakeups)
    assert seen == [1, 1, 2, 2, 3, 3], "the last was refused"
    for _ in ring:
        pass
    write(program, 0, 8, NO_WAKEUP)
    assert ring.wakeups == 3
    ring.consume()
    write(program, 0)
    assert ring.wakeups == 4


def test_positions_count_headers_and_padding() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = writing(bench, ring)
    write(program, 0, 1)
    write(program, 0, 8)
    assert (ring.consumer_position, ring.producer_position, ring.available) == (0, 32, 32)
    ring.consume()
    assert (ring.consumer_position, ring.producer_position, ring.available) == (16, 32, 16)


def test_axvisors_ring_tells_positions_and_no_wakeups() -> None:
    bench = Bench(maps="kbpf", engine="rbpf")
    ring = ring_of(bench)
    program = writing(bench, ring)
    for n in range(3):
        write(program, n)
    assert ring.producer_position == 3 * RECORD
    with pytest.raises(MapError) as caught:
        ring.wakeups  # noqa: B018 (it raises)
    assert caught.value.errno == 524
    assert ring.consume(lambda _: None, 1) == 1
    write(program, 9, 4)
    with pytest.raises(MapError, match=r"record 2 of 3 has 4 bytes"):
        ring.to_numpy("<u8")
    assert len(ring.read()) == 3


def test_other_maps_have_no_positions() -> None:
    bench = Bench()
    events = bench.create_map("perf_event_array", 4, 4, 1)
    for what in ("available", "consumer_position", "producer_position", "wakeups"):
        with pytest.raises(MapError, match="not supported by this kind of map"):
            getattr(events, what)


# Consuming while it is written

RESERVING = """
    r1 = map[1]
    r2 = 8
    r3 = 0
    call bpf_ringbuf_reserve
    if r0 == 0 goto out
    r6 = r0
    *(u64 *)(r6 +0) = 1
    r1 = map[1]
    r2 = r10
    r2 += -8
    *(u64 *)(r10 -8) = 2
    r3 = 8
    r4 = 0
    call bpf_ringbuf_output
    {between}
    r1 = r6
    r2 = 0
    call bpf_ringbuf_{give_up}
    out:
    r0 = 0
    exit"""


@pytest.mark.parametrize("give_up", ["submit", "discard"])
def test_a_helper_in_python_consumes_up_to_the_record_that_is_reserved(give_up: str) -> None:
    bench = Bench()
    ring = ring_of(bench)
    seen: list[Any] = []

    @bench.helper("void look(void)", id=0x10000)
    def look() -> None:
        seen.append((ring.read(), len(ring), ring.available, ring.consume(seen.append)))

    text = RESERVING.format(between="call helper#65536", give_up=give_up)
    loaded(bench, text, ring=ring).run(bytes(8))
    assert seen == [([], 2, 2 * RECORD, 0)]
    assert [number(record) for record in ring] == ([1, 2] if give_up == "submit" else [2])


def test_a_reserved_record_is_out_of_reach_of_another_program() -> None:
    """The address of the record is in a map, where a program of another event finds it while the first one goes on."""
    bench = Bench()
    ring = ring_of(bench)
    note = bench.create_map("array", 4, 8, 1, name="NOTE")
    find = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[1]\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\n"
    body = "r6 = *(u64 *)(r0 +0)\n{use}\nout:\nr0 = 0\nexit"
    uses = {
        "a store": "*(u64 *)(r6 +0) = 9",
        "a load": "r0 = *(u64 *)(r6 +0)",
        "a submit": "r1 = r6\nr2 = 0\ncall bpf_ringbuf_submit",
        "a discard": "r1 = r6\nr2 = 0\ncall bpf_ringbuf_discard",
    }
    others = [loaded(bench, find + body.format(use=use), note=note, ring=ring) for use in uses.values()]
    faults: list[str] = []

    @bench.helper("void meanwhile(u64 record)", id=0x10000)
    def meanwhile(record: int) -> None:
        note[0] = record
        for other in others:
            with pytest.raises(ProgramFault) as caught:
                other.run(bytes(8))
            faults.append(str(caught.value))

    text = RESERVING.format(between="r1 = r6\ncall helper#65536", give_up="submit")
    loaded(bench, text, ring=ring).run(bytes(8))
    assert len(faults) == len(uses)
    for told in faults[:2]:
        assert "no live memory there" in told
    for told in faults[2:]:
        assert "is no reserved record" in told
    assert [number(record) for record in ring] == [1, 2]


def test_a_thread_consumes_while_another_fires_events() -> None:
    bench = Bench()
    ring = ring_of(bench, 1 << 20)
    program = loaded(
        bench,
        "r6 = *(u64 *)(r1 +0)\n*(u64 *)(r10 -8) = r6\nr1 = map[1]\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\n"
        "call bpf_ringbuf_output\nr0 = 0\nexit",
        ring=ring,
    )
    booted = bench.tracepoints["vmm:vm_boot"]
    program.attach("vmm:vm_boot")
    count = 20_000

    def fire() -> None:
        for start in range(0, count, 1000):
            booted.fire_many(vm_id=np.arange(start, start + 1000), duration_ns=0)

    firing = threading.Thread(target=fire)
    given: list[bytes] = []
    firing.start()
    while firing.is_alive():
        ring.consume(given.append, most=100)
    firing.join()
    ring.consume(given.append)
    assert [number(record) for record in given] == list(range(count))


def test_a_program_that_is_stopped_leaves_no_record_reserved() -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = loaded(bench, RESERVING.format(between="r0 = *(u64 *)(r0 +0)", give_up="submit"), ring=ring)
    with pytest.raises(ProgramFault):
        program.run(bytes(8))
    assert [number(record) for record in ring] == [2]
    assert ring.available == 0


@pytest.mark.parametrize("size", [2**32, 2**32 + 8, 2**30, 2**30 - 1, 2**64 - 1, 2**64 - 8, 4089])
def test_what_can_never_fit_is_refused(size: int) -> None:
    bench = Bench()
    ring = ring_of(bench)
    program = loaded(
        bench,
        f"r1 = map[1]\nr2 = {size} ll\nr3 = 0\ncall bpf_ringbuf_reserve\nif r0 == 0 goto none\nr1 = r0\nr2 = 0\n"
        "call bpf_ringbuf_discard\nr0 = 1\nexit\nnone:\nr0 = 0\nexit",
        ring=ring,
    )
    assert program.run(bytes(8)).r0 == 0
    assert ring.producer_position == 0


# Dynptrs

OF_RECORD = "r1 = map[1]\nr2 = {size}\nr3 = 0\nr4 = r10\nr4 += {at}\ncall bpf_ringbuf_reserve_dynptr\n"
OF_VALUE = "r1 = map[2][0]+0\nr2 = {size}\nr3 = 0\nr4 = r10\nr4 += {at}\ncall bpf_dynptr_from_mem\n"
GIVE_UP = "r1 = r10\nr1 += {at}\nr2 = 0\ncall bpf_ringbuf_{how}_dynptr\n"
READ = "r1 = r10\nr1 += -64\nr2 = 8\nr3 = r10\nr3 += {at}\nr4 = 0\nr5 = 0\ncall bpf_dynptr_read\n"
END = "r0 = 0\nexit"

REFUSED = {
    "not given up": (OF_RECORD.format(size=8, at=-16) + END, "the dynptr stack-16 was reserved and neither"),
    "null and not given up": (
        OF_RECORD.format(size=9999, at=-16) + END,
        "the dynptr stack-16 was reserved and neither",
    ),
    "given up twice": (
        OF_RECORD.format(size=8, at=-16) + 2 * GIVE_UP.format(at=-16, how="submit") + END,
        "Expected an initialized dynptr as arg #0: stack-16 is none that a helper has made",
    ),
    "a dynptr of a value given up": (
        OF_VALUE.format(size=8, at=-16) + GIVE_UP.format(at=-16, how="discard") + END,
        "arg 1 is an unacquired reference: stack-16 is no dynptr of bpf_ringbuf_reserve_dynptr",
    ),
    "overwritten": (
        OF_VALUE.format(size=8, at=-16) + "*(u8 *)(r10 -1) = 0\n" + READ.format(at=-16) + END,
        "Expected an initialized dynptr as arg #2: stack-16 was one, which the program has overwritten",
    ),
    "copied elsewhere": (
        OF_VALUE.format(size=8, at=-16)
        + "r1 = *(u64 *)(r10 -16)\n*(u64 *)(r10 -40) = r1\nr1 = *(u64 *)(r10 -8)\n*(u64 *)(r10 -32) = r1\n"
        + READ.format(at=-40)
        + END,
        "stack-40 is none that a helper has made",
    ),
    "made up": (
        "r1 = map[2][0]+0\n*(u64 *)(r10 -16) = r1\n*(u64 *)(r10 -8) = 64\n" + READ.format(at=-16) + END,
        "stack-16 is none that a helper has made",
    ),
    "of an older one's bytes": (
        OF_VALUE.format(size=8, at=-16)
        + "r6 = *(u64 *)(r10 -16)\nr7 = *(u64 *)(r10 -8)\n"
        + OF_VALUE.format(size=4, at=-16)
        + "*(u64 *)(r10 -16) = r6\n*(u64 *)(r10 -8) = r7\n"
        + READ.format(at=-16)
        + END,
        "stack-16 was one, which the program has overwritten",
    ),
    "half over another": (
        OF_VALUE.format(size=8, at=-16) + OF_VALUE.format(size=8, at=-24) + READ.format(at=-16) + END,
        "stack-16 is none that a helper has made",
    ),
    "over one that is to be given up": (
        OF_RECORD.format(size=8, at=-16) + OF_VALUE.format(size=8, at=-8 - 16) + END,
        "cannot overwrite referenced dynptr: stack-16 was reserved and neither submitted nor discarded",
    ),
    "not on a multiple of 8": (OF_VALUE.format(size=8, at=-20) + END, "cannot pass in dynptr at an offset: stack-20"),
    "beyond the frame": (OF_VALUE.format(size=8, at=-8) + END, "cannot pass in dynptr at an offset: stack-8"),
    "not on the stack": (
        OF_VALUE.format(size=8, at=-16).replace("r4 = r10\nr4 += -16", "r4 = r1") + END,
        r"VALUE\[0\]\+0 is not on the stack, and a dynptr lies there",
    ),
    "of the stack": (
        "*(u64 *)(r10 -32) = 0\n" + OF_VALUE.format(size=8, at=-16).replace("map[2][0]+0", "r10\nr1 += -32") + END,
        "Unsupported reg type for bpf_dynptr_from_mem data: stack-32 is no value of a map",
    ),
    "of nothing": (
        OF_VALUE.format(size=0, at=-16).replace("map[2][0]+0", "4096") + END,
        "Unsupported reg type for bpf_dynptr_from_mem data: 0x1000 is no value of a map",
    ),
    "longer than the value": (OF_VALUE.format(size=65, at=-16) + END, "reaches past the end of this memory"),
    "of a record of its own": (
        OF_RECORD.format(size=64, at=-16).replace("map[1]", "map[2]") + END,
        "cannot pass map_type 2 into func bpf_ringbuf_reserve_dynptr#198: VALUE is a array map",
    ),
    "a record of a dynptr submitted by its address": (
        OF_RECORD.format(size=8, at=-16)
        + "r1 = r10\nr1 += -16\nr2 = 0\nr3 = 8\ncall bpf_dynptr_data\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit\n"
        + END,
        r"RING\[record at 0\]\+0 is no reserved record",
    ),
    "its data after it was given up": (
        OF_RECORD.format(size=8, at=-16)
        + "r1 = r10\nr1 += -16\nr2 = 0\nr3 = 8\ncall bpf_dynptr_data\nr6 = r0\n*(u64 *)(r6 +0) = 1\n"
        + GIVE_UP.format(at=-16, how="submit")
        + "r0 = *(u64 *)(r6 +0)\n"
        + END,
        "no live memory there",
    ),
    "in the frame of a function that has returned": (
        "call make\nr0 = 0\nexit\nmake:\n" + OF_RECORD.format(size=8, at=-16) + END,
        "was reserved and neither submitted nor discarded",
    ),
}
"""What Linux's verifier refuses, and what is said here: when it is loaded, or as a fault."""


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED)
def test_a_dynptr_leads_nowhere_but_where_it_was_made_for(text: str, told: str) -> None:
    bench = Bench()
    ring = ring_of(bench)
    value = bench.create_map("array", 4, 64, 1, name="VALUE")
    with pytest.raises((LoadError, ProgramFault), match=told):
        loaded(bench, text, ring=ring, value=value).run(bytes(8))
    ring.read()
    assert ring.available == 0, "nothing is left reserved"


def test_the_bytes_of_a_dynptr_say_nothing_of_our_memory() -> None:
    """What stands on the stack is the same in every run and every bench."""

    def on_stack() -> int:
        bench = Bench()
        text = OF_VALUE.format(size=8, at=-16) + "r0 = *(u64 *)(r10 -16)\nexit"
        program = loaded(bench, text, ring=ring_of(bench), value=bench.create_map("array", 4, 64, 1, name="VALUE"))
        return program.run(bytes(8)).r0

    assert on_stack() == on_stack()


def test_a_dynptr_is_passed_to_a_function() -> None:
    bench = Bench()
    value = bench.create_map("array", 4, 64, 1, name="VALUE")
    value[0] = words(5) + bytes(56)
    text = (
        OF_VALUE.format(size=64, at=-16) + "r1 = r10\nr1 += -16\ncall read\nexit\n"
        "read:\nr3 = r1\nr1 = r10\nr1 += -8\nr2 = 8\nr4 = 0\nr5 = 0\ncall bpf_dynptr_read\nr0 = *(u64 *)(r10 -8)\nexit"
    )
    assert loaded(bench, text, ring=ring_of(bench), value=value).run(bytes(8)).r0 == 5


@pytest.mark.parametrize("how", ["submit", "discard"])
def test_many_dynptrs_at_once(how: str) -> None:
    bench = Bench()
    ring = ring_of(bench)
    places = range(-512, 0, 16)
    text = "".join(OF_RECORD.format(size=8, at=at) for at in places)
    text += "".join(GIVE_UP.format(at=at, how=how) for at in places[::2])
    text += "".join(GIVE_UP.format(at=at, how="submit") for at in places[1::2])
    program = loaded(bench, text + END, ring=ring)
    for _ in range(3):
        assert program.run(bytes(8)).r0 == 0
        assert len(ring.read()) == (32 if how == "submit" else 16)


def test_a_program_in_c_writes_a_record_of_any_length(compile_bpf: Callable[..., Path]) -> None:
    source = """
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } RING SEC(".maps");
char text[64] = "hypervisor";
SEC("raw_tracepoint/vm_boot") int on_boot(struct bpf_raw_tracepoint_args *args)
{
    struct bpf_dynptr record;
    __u32 length = args->args[0];
    if (bpf_ringbuf_reserve_dynptr(&RING, length, 0, &record) == 0) {
        bpf_dynptr_write(&record, 0, text, 4, 0);
        char *rest = bpf_dynptr_data(&record, 4, 3);
        if (rest)
            rest[0] = rest[1] = rest[2] = '!';
    }
    bpf_ringbuf_submit_dynptr(&record, 0);
    return 0;
}
"""
    bench = Bench()
    progs = bench.load(compile_bpf("of_any_length", source))
    for length in (3, 4, 6, 7, 9, 5000):
        progs["on_boot"].run(words(length))
    assert progs.maps["RING"].read() == [bytes(3), b"hype", b"hype\0\0", b"hype!!!", b"hype!!!\0\0"]


def test_rbpf_knows_no_dynptrs() -> None:
    bench = Bench(engine="rbpf")
    value = bench.create_map("array", 4, 64, 1, name="VALUE")
    with pytest.raises(Exception, match=r"rbpf.* knows no dynptrs; they are Linux's"):
        loaded(bench, OF_VALUE.format(size=8, at=-16) + END, ring=ring_of(bench), value=value)
