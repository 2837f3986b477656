"""Firing events one by one and in columns: what the values become, and what is refused."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest
from axebpf import Bench, ClockError, ExitReason, FieldError, Tracepoint, bool_, char, field, i8, u8, u16, u32, u64
from axebpf.bench import TracepointHandle
from axebpf.trace import Event

GOOD = {"vm_id": 1, "vcpu_id": 2, "exit_reason": 3, "duration_ns": 4}


class Whole(Tracepoint, name="test:whole", id=1000):
    """Every kind of field."""

    small: u8
    minus: i8
    flag: bool_
    comm: char[8]  # type: ignore[valid-type]
    words: u16[3]  # type: ignore[valid-type]
    last: u64 = field(role="duration")


@pytest.fixture
def exits() -> TracepointHandle:
    tracepoint = Bench().tracepoints["vmm:vcpu_run_exit"]
    tracepoint.enabled = True
    return tracepoint


def seen(tracepoint: TracepointHandle) -> list[Event]:
    return [record for record in tracepoint._bench.trace.records() if isinstance(record, Event)]


def fields(tracepoint: TracepointHandle) -> list[dict[str, Any]]:
    return [event.fields for event in seen(tracepoint)]


def test_values_arrive_in_the_fields_that_they_are_named_or_placed_for(exits: TracepointHandle) -> None:
    exits.fire(1, 2, 3, 4)
    exits.fire(**GOOD)
    exits.fire(duration_ns=4, exit_reason=3, vcpu_id=2, vm_id=1)
    exits.fire(1, 2, duration_ns=4, exit_reason=3)
    assert fields(exits) == [GOOD] * 4
    assert exits.fired == 4


class Index:
    def __index__(self) -> int:
        return 7


class Broken:
    def __index__(self) -> int:
        raise RuntimeError("no index today")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (2**32 - 1, 2**32 - 1),
        (True, 1),
        (np.uint32(9), 9),
        (np.int64(9), 9),
        (ExitReason.HALT, 9),
        (Index(), 7),
    ],
    ids=repr,
)
def test_anything_that_is_an_integer_is_taken(exits: TracepointHandle, value: Any, number: int) -> None:
    exits.fire(**{**GOOD, "vm_id": value})
    assert fields(exits) == [{**GOOD, "vm_id": number}]


@pytest.mark.parametrize("value", [-1, 2**32, 2**64, -(2**64), 2**127, 2**200, np.int64(-1), np.uint64(2**63)])
def test_a_number_out_of_range_is_a_field_error(exits: TracepointHandle, value: int) -> None:
    with pytest.raises(FieldError, match="vmm:vcpu_run_exit: vm_id is u32") as caught:
        exits.fire(**{**GOOD, "vm_id": value})
    assert (caught.value.tracepoint, caught.value.field) == ("vmm:vcpu_run_exit", "vm_id")
    if abs(value) < 2**64:
        assert "0 to 4294967295" in str(caught.value)
        assert str(value) in str(caught.value)
    assert exits.fired == 0
    exits.fire(**GOOD)
    assert fields(exits) == [GOOD]


@pytest.mark.parametrize("value", ["1", 1.0, None, b"1", [1], np.float64(1), np.bool_(True)], ids=repr)
def test_what_is_no_integer_is_a_type_error_that_names_the_field(exits: TracepointHandle, value: object) -> None:
    with pytest.raises(TypeError, match="vcpu_run_exit: vcpu_id takes an integer, not"):
        exits.fire(**{**GOOD, "vcpu_id": value})
    assert exits.fired == 0


def test_an_exception_of_index_comes_out(exits: TracepointHandle) -> None:
    with pytest.raises(RuntimeError, match="no index today"):
        exits.fire(**{**GOOD, "vm_id": Broken()})
    assert exits.fired == 0


@pytest.mark.parametrize(
    ("value", "fits"),
    [(-(2**63), True), (2**63 - 1, True), (2**63, False), (-(2**63) - 1, False)],
)
def test_a_signed_field_takes_its_whole_range(value: int, fits: bool) -> None:
    calls = Bench().tracepoints["vmm:hypercall"]
    calls.enabled = True
    if fits:
        calls.fire(1, 0, 2, value, 5)
        assert seen(calls)[0].ret_val == value
    else:
        with pytest.raises(FieldError, match="ret_val is i64 and takes -9223372036854775808 to 9223372036854775807"):
            calls.fire(1, 0, 2, value, 5)


def test_missing_unknown_and_doubled_fields(exits: TracepointHandle) -> None:
    with pytest.raises(FieldError, match="no value for vcpu_id, duration_ns"):
        exits.fire(vm_id=1, exit_reason=2)
    with pytest.raises(FieldError, match=r"vcpu_run_exit: has no field vcpu; did you mean vcpu_id\?") as caught:
        exits.fire(**GOOD, vcpu=1)
    assert caught.value.field == "vcpu"
    with pytest.raises(FieldError, match="has no field common_type"):
        exits.fire(**GOOD, common_type=1)
    with pytest.raises(TypeError, match="two values for vm_id"):
        exits.fire(1, 2, 3, vm_id=1, duration_ns=4)
    with pytest.raises(TypeError, match="takes the 4 fields of vmm:vcpu_run_exit, 5 values"):
        exits.fire(1, 2, 3, 4, 5)
    with pytest.raises(FieldError, match="no value for vm_id"):
        exits.fire()
    assert exits.fired == 0


def test_many_different_calls_are_understood(exits: TracepointHandle) -> None:
    """The order of keywords is remembered by call site; more orders than are remembered still work."""
    names = list(GOOD)
    for turn in range(200):
        order = sorted(names, key=lambda name, turn=turn: (hash((name, turn)), name))
        exits.fire(**{"".join(name): GOOD[name] for name in order})
    assert fields(exits) == [GOOD] * 200


def test_time_and_cpu_are_of_the_event_or_of_the_bench() -> None:
    bench = Bench(cpus=4, clock=1000)
    exits = bench.tracepoints["vmm:vcpu_run_exit"]
    exits.enabled = True
    bench.clock.set(50_000)
    exits.fire(**GOOD)
    bench.cpu = 3
    exits.fire(**GOOD)
    exits.fire(**GOOD, time_ns=7, cpu=1)
    exits.fire(**GOOD, time_ns=np.uint64(8), cpu=None)
    exits.fire(**GOOD, time_ns=None)
    stamps = sorted((event.time_ns, event.cpu) for event in seen(exits))
    step = stamps[3][0] - stamps[2][0]
    assert step == 1000
    assert stamps == [(7, 1), (8, 3), (stamps[2][0], 0), (stamps[2][0] + 1000, 3), (stamps[2][0] + 2000, 3)]
    assert stamps[2][0] in (50_000, 51_000)


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"time_ns": -5}, FieldError, "time_ns takes 0 to 18446744073709551615, not -5"),
        ({"time_ns": 2**64}, FieldError, "time_ns takes 0 to"),
        ({"time_ns": "now"}, TypeError, "time_ns takes an integer, not str"),
        ({"cpu": -1}, FieldError, "cpu takes 0 to"),
        ({"cpu": 4}, ClockError, "there is no CPU 4: this bench has CPUs 0 to 3"),
        ({"cpu": 0.5}, TypeError, "cpu takes an integer, not float"),
    ],
)
def test_a_time_or_cpu_that_cannot_be(
    exits: TracepointHandle, keywords: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        exits.fire(**GOOD, **keywords)
    assert exits.fired == 0


def test_every_kind_of_field_can_be_fired() -> None:
    bench = Bench()
    whole = bench.define(Whole)
    whole.enabled = True
    whole.fire(255, -128, True, b"axvisor", [1, 2, 65535], 9)
    whole.fire(small=0, minus=127, flag=0, comm="text", words=(0, 0, 0), last=2**64 - 1)
    first, second = seen(whole)
    assert first.fields == {
        "small": 255,
        "minus": -128,
        "flag": True,
        "comm": b"axvisor",
        "words": [1, 2, 65535],
        "last": 9,
    }
    assert second.fields == {
        "small": 0,
        "minus": 127,
        "flag": False,
        "comm": b"text",
        "words": [0, 0, 0],
        "last": 2**64 - 1,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("comm", b"123456789"),
        ("words", [1, 2]),
        ("words", [1, 2, 65536]),
        ("words", [1, 2, -1]),
        ("flag", 2),
        ("small", 256),
    ],
)
def test_arrays_and_flags_refuse_what_they_cannot_hold(name: str, value: object) -> None:
    whole = Bench().define(Whole)
    good: dict[str, Any] = {"small": 1, "minus": 1, "flag": True, "comm": b"x", "words": [1, 2, 3], "last": 1}
    with pytest.raises(FieldError, match=f"test:whole: {name}") as caught:
        whole.fire(**{**good, name: value})
    assert caught.value.field == name
    whole.fire(**good)


# Columns


def test_columns_of_any_integer_type_are_events_in_order(exits: TracepointHandle) -> None:
    kinds = [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64, ">u4", ">i8"]
    for kind in kinds:
        fired = exits.fire_many(
            vm_id=np.array([1, 2, 3], kind), vcpu_id=0, exit_reason=[7, 8, 9], duration_ns=np.array([5, 6, 7], kind)
        )
        assert fired == 3
    one = [(1, 0, 7, 5), (2, 0, 8, 6), (3, 0, 9, 7)]
    assert [tuple(event.fields.values()) for event in seen(exits)] == one * len(kinds)


def test_strided_boolean_and_enum_columns(exits: TracepointHandle) -> None:
    exits.fire_many(
        vm_id=np.arange(10, dtype=np.uint32)[::5],
        vcpu_id=np.array([True, False]),
        exit_reason=[ExitReason.HALT, ExitReason.CPU_UP],
        duration_ns=np.array([2**64 - 1, 0], np.uint64),
    )
    assert [tuple(event.fields.values()) for event in seen(exits)] == [(0, 1, 9, 2**64 - 1), (5, 0, 10, 0)]


def test_single_values_go_with_any_number_of_rows(exits: TracepointHandle) -> None:
    assert exits.fire_many(**GOOD) == 1
    assert exits.fire_many(**{**GOOD, "vm_id": []}) == 0
    assert exits.fire_many(**{**GOOD, "vm_id": np.full(70_000, 6)}) == 70_000
    assert exits.fired == 70_001


def test_times_and_cpus_of_columns(exits: TracepointHandle) -> None:
    exits.fire_many(**{**GOOD, "vm_id": [1, 2]}, time_ns=[10, 20], cpu=[3, 0])
    exits.fire_many(**{**GOOD, "vm_id": [3, 4]}, time_ns=30, cpu=1)
    assert [(e.vm_id, e.time_ns, e.cpu) for e in seen(exits)] == [(1, 10, 3), (2, 20, 0), (3, 30, 1), (4, 30, 1)]


def test_a_structured_array_is_a_table(exits: TracepointHandle) -> None:
    rows = np.zeros(3, exits.dtype)
    rows["vm_id"], rows["duration_ns"] = [1, 2, 3], [10, 20, 30]
    assert exits.fire_many(rows) == 3
    assert exits.fire_many(rows, vm_id=9, time_ns=[1, 2, 3]) == 3
    assert sorted((e.vm_id, e.duration_ns) for e in seen(exits)) == [
        (1, 10),
        (2, 20),
        (3, 30),
        (9, 10),
        (9, 20),
        (9, 30),
    ]


class ArrowColumn:
    def __init__(self, values: list[int]) -> None:
        self.values = values

    def to_numpy(self) -> np.ndarray[Any, Any]:
        return np.array(self.values, np.uint32)


class ArrowTable:
    """What `fire_many` knows of an Arrow table."""

    def __init__(self, **columns: list[int]) -> None:
        self.columns = columns
        self.column_names = list(columns)

    def __getitem__(self, name: str) -> ArrowColumn:
        return ArrowColumn(self.columns[name])


def test_a_table_like_arrows(exits: TracepointHandle) -> None:
    table = ArrowTable(vm_id=[1, 2], vcpu_id=[0, 1], exit_reason=[7, 7], duration_ns=[5, 6], time_ns=[100, 200])
    assert exits.fire_many(table) == 2
    assert [(e.vm_id, e.vcpu_id, e.time_ns) for e in seen(exits)] == [(1, 0, 100), (2, 1, 200)]
    with pytest.raises(TypeError, match="expected a structured array or a table with column_names, not dict"):
        exits.fire_many({"vm_id": [1]})


def test_array_fields_in_columns() -> None:
    whole = Bench().define(Whole)
    whole.enabled = True
    whole.fire_many(
        small=[1, 2], minus=[-1, 1], flag=[False, True], comm=[b"a", b"bc"], words=[[1, 2, 3], [4, 5, 6]], last=0
    )
    assert [(e.fields["comm"], e.words, e.flag) for e in seen(whole)] == [
        (b"a", [1, 2, 3], False),
        (b"bc", [4, 5, 6], True),
    ]
    arrow = pytest.importorskip("pyarrow")
    words = arrow.array([[7, 8, 9]], arrow.list_(arrow.uint32(), 3))
    whole.fire_many(arrow.table({"words": words}), small=1, minus=1, flag=1, comm=[b"d"], last=0)
    assert seen(whole)[-1].words == [7, 8, 9]


@pytest.mark.parametrize(
    ("columns", "text", "name"),
    [
        ({"vm_id": [1, 2], "exit_reason": [1, 2, 3]}, "unequal length: vm_id has 2, exit_reason has 3", None),
        ({"vm_id": [1, 2], "time_ns": [1]}, "unequal length: vm_id has 2, time_ns has 1", None),
        ({"vm_id": [1, -1]}, r"vm_id is u32 and takes 0 to 4294967295, not -1 \(row 1\)", "vm_id"),
        ({"vm_id": [2**32, 1]}, r"vm_id is u32 and takes 0 to 4294967295, not 4294967296 \(row 0\)", "vm_id"),
        ({"vm_id": -1}, "vm_id is u32 and takes 0 to 4294967295, not -1", "vm_id"),
        ({"duration_ns": np.array([5, -5])}, r"duration_ns is u64 and takes .* not -5 \(row 1\)", "duration_ns"),
        ({"vm_id": [1.0, 2.0]}, "vm_id has a column of float64", "vm_id"),
        ({"vm_id": ["1"]}, "vm_id has a column of <U1", "vm_id"),
        ({"vm_id": np.zeros((2, 2), int)}, "2 dimensions; expected one dimension of integers", "vm_id"),
        ({"vm_id": [1, 2**70]}, f"vm_id is u32 and takes .* not {2**70}", "vm_id"),
        ({"vm_id": [1, None]}, "vm_id has a column of object", "vm_id"),
        ({"time_ns": [-5]}, "time_ns is u64", "time_ns"),
        ({"cpu": [2**32]}, "cpu is u32", "cpu"),
        ({"vcpu": [1]}, r"no field vcpu; did you mean vcpu_id\?", "vcpu"),
    ],
)
def test_columns_that_cannot_be_are_refused_before_the_first_event(
    exits: TracepointHandle, columns: dict[str, Any], text: str, name: str | None
) -> None:
    with pytest.raises(FieldError, match=text) as caught:
        exits.fire_many(**{**GOOD, **columns})
    assert caught.value.tracepoint == "vmm:vcpu_run_exit"
    assert caught.value.field == name
    assert exits.fired == 0
    assert exits.fire_many(**GOOD) == 1


def test_a_missing_column_is_named(exits: TracepointHandle) -> None:
    with pytest.raises(FieldError, match="no column for vcpu_id, duration_ns"):
        exits.fire_many(vm_id=[1], exit_reason=[1])


def test_an_unknown_cpu_in_a_column_is_refused_before_the_first_event(exits: TracepointHandle) -> None:
    with pytest.raises(ClockError, match="there is no CPU 9"):
        exits.fire_many(**{**GOOD, "vm_id": [1, 2, 3]}, cpu=[0, 9, 1])
    assert exits.fired == 0


def test_a_column_that_changes_while_its_events_are_fired_does_no_harm(exits: TracepointHandle) -> None:
    column = np.arange(1000, dtype=np.uint32)
    exits.on(lambda event: column.fill(7))
    exits.fire_many(**{**GOOD, "vm_id": column})
    assert [event.vm_id for event in seen(exits)] == list(range(1000))


class Letter(enum.IntEnum):
    A = 1


def test_names_of_ones_own_tracepoints_do_not_mix() -> None:
    class Other(Tracepoint, name="test:letters", id=1001):
        """Two fields."""

        letter: u32 = field(enum=Letter)
        vm_id: u32

    bench = Bench()
    letters = bench.define(Other)
    letters.enabled = True
    letters.fire(Letter.A, vm_id=3)
    assert fields(letters) == [{"letter": 1, "vm_id": 3}]
    assert bench.trace.text().rstrip().endswith("letters: letter=1 vm_id=3")
