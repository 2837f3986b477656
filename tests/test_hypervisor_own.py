"""Workloads of one's own: what they yield comes out in order, and what cannot be right is refused where it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from axebpf import Bench, ExitReason, FieldError, HypervisorError, NotFound, Tracepoint, bool_, char, u32, u64
from axebpf.hypervisor import Events, Range, Workload, define, workload
from axebpf.tracepoints import VcpuRunExit, VmBoot


class Sample(Tracepoint, name="own:sample", id=300):
    """Every kind of field."""

    name: char[8]  # type: ignore[valid-type]
    numbers: u64[2]  # type: ignore[valid-type]
    flag: bool_
    number: u32


def boots(times: Any, **more: Any) -> Events:
    return Events(VmBoot, time_ns=times, **{"vm_id": 1, "duration_ns": 5, **more})


def sample(**fields: Any) -> Events:
    return Events(Sample, **{"time_ns": 3, "name": [b"x"], "numbers": [[7, 8]], "flag": 1, "number": 0, **fields})


def of(*stretches: Any, cpus: int = 1) -> Workload:
    @define("of", cpus=cpus)
    def made() -> Iterator[Any]:
        yield from stretches

    return made


def seen(made: Workload, bench: Bench | None = None, **parameters: Any) -> list[tuple[int, int, str]]:
    """Time, CPU and name of each event that a bench is given."""
    bench = bench or Bench(cpus=8)
    found: list[tuple[int, int, str]] = []
    for handle in bench.tracepoints.values():
        handle.on(lambda event: found.append((event.time_ns, event.cpu, event.name)))
    result = bench.run(made, **parameters)
    assert result.events == len(found)
    return found


def test_columns_and_single_values_are_fired_at_their_times_and_cpus() -> None:
    exits = Events(
        "vmm:vcpu_run_exit",
        time_ns=np.array([20, 40], dtype=np.uint64),
        cpu=[1, 0],
        vm_id=np.array([1, 2], dtype=np.uint8),
        vcpu_id=0,
        exit_reason=ExitReason.HALT,
        duration_ns=[3, (1 << 64) - 1],
    )
    bench = Bench()
    kept = bench.tracepoints["vmm:vcpu_run_exit"]
    events: list[Any] = []
    kept.on(events.append)
    assert bench.run(of([boots([30, 10]), exits], cpus=2)).by_tracepoint == {"vmm:vcpu_run_exit": 2, "vmm:vm_boot": 2}
    assert [(e.time_ns, e.cpu, e.vm_id, e.vcpu_id, e.exit_reason, e.duration_ns) for e in events] == [
        (20, 1, 1, 0, 9, 3),
        (40, 0, 2, 0, 9, (1 << 64) - 1),
    ]
    assert [t for t, _, _ in seen(of([boots([30, 10]), exits], cpus=2))] == [10, 20, 30, 40]


def test_events_of_one_time_keep_the_order_of_their_columns() -> None:
    bench = Bench()
    found: list[int] = []
    bench.tracepoints["vmm:vm_boot"].on(lambda event: found.append(event.vm_id))
    bench.run(of([boots([7] * 3, vm_id=[3, 1, 2]), boots(7, vm_id=9)]))
    assert found == [3, 1, 2, 9]


def test_many_events_come_in_chunks() -> None:
    made = of(boots(np.arange(200_000)))
    chunks = list(made())
    assert [len(chunk) for chunk in chunks] == [65_536, 65_536, 65_536, 200_000 - 3 * 65_536]
    assert np.array_equal(np.concatenate([chunk.time_ns for chunk in chunks]), np.arange(200_000))


def test_a_stretch_at_a_time_is_held() -> None:
    made: list[int] = []

    @define()
    def endless() -> Iterator[Events]:
        for start in range(0, 10**9, 10_000):
            made.append(start)
            yield boots(start + np.arange(10_000))

    chunks = iter(endless())
    assert [len(next(chunks)) for _ in range(3)] == [10_000] * 3
    assert len(made) == 3


def test_a_tracepoint_of_ones_own_with_fields_of_every_kind() -> None:
    samples = of(
        Events(
            Sample, time_ns=[1, 2], name=[b"ab", b"12345678"], numbers=[[1, 2], [3, 4]], flag=[True, False], number=5
        ),
        sample(),
    )
    bench = Bench()
    with pytest.raises(NotFound):
        bench.run(samples)
    found: list[Any] = []
    bench.define(Sample).on(lambda e: found.append((e.name, bytes(e.fields["name"]), *e.numbers, e.flag, e.number)))
    bench.run(samples)
    assert [(name, *rest) for _, name, *rest in found] == [
        (b"ab", 1, 2, True, 5),
        (b"12345678", 3, 4, False, 5),
        (b"x", 7, 8, True, 0),
    ]


def test_parameters_come_from_the_signature() -> None:
    given: list[Any] = []

    @define("name-of-mine", cpus=3)
    def anything(
        count: Annotated[int, "how many", Range(1, 10)] = 2,
        share: Annotated[float, Range(high=1)] = 0.5,
        kind: Literal["a", "b"] = "a",
        text: str = "",
        plain=4,  # type: ignore[no-untyped-def]
    ) -> Iterator[Events]:
        """What it is about.

        More.
        """
        given.append((count, share, kind, text, plain))
        yield boots(np.arange(count))

    assert (anything.name, anything.doc) == ("name-of-mine", "What it is about.")
    assert [(p.name, p.type, p.default, p.doc, p.low, p.high, p.choices) for p in anything.parameters] == [
        ("count", int, 2, "how many", 1, 10, ()),
        ("share", float, 0.5, "", None, 1, ()),
        ("kind", str, "a", "", None, None, ("a", "b")),
        ("text", str, "", "", None, None, ()),
        ("plain", int, 4, "", None, None, ()),
    ]
    stream = anything(count=3, kind="b", share=1)
    assert (stream.workload, stream.cpus) == ("name-of-mine", 3)
    assert stream.parameters == {"count": 3, "share": 1.0, "kind": "b", "text": "", "plain": 4}
    assert [len(chunk) for chunk in stream] == [3] == [len(chunk) for chunk in stream]
    assert given == [(3, 1.0, "b", "", 4)] * 2, "each iteration calls the function"
    for parameters, message in (
        ({"count": 11}, "count is 11; name-of-mine takes 1 to 10"),
        ({"share": 2}, "share is 2; name-of-mine takes numbers up to 1"),
        ({"kind": "c"}, "kind is 'c'; name-of-mine takes a or b"),
        ({"text": 5}, "text is 5; name-of-mine takes a text"),
        ({"plain": 0.5}, "plain is 0.5; name-of-mine takes whole numbers"),
        ({"cuont": 1}, "name-of-mine has no parameter cuont; did you mean count?"),
    ):
        with pytest.raises(HypervisorError) as caught:
            Bench().run(anything, **parameters)
        assert str(caught.value) == message


def test_a_bench_takes_a_name_a_workload_or_a_stream() -> None:
    bench = Bench()
    made = of(boots([1, 2, 3]))
    assert bench.run(made).events == bench.run(made()).events == bench.run(workload(made)).events == 3
    assert bench.run("smp-boot", duration_s=0.1).events == bench.run(workload("smp-boot", duration_s=0.1)).events
    with pytest.raises(HypervisorError, match="this stream of of has its parameters already; seed is for the workload"):
        bench.run(made(), seed=1)
    with pytest.raises(HypervisorError, match="no workload 5"):
        bench.run(5)  # type: ignore[arg-type]


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: define(cpus=0), "cpus is 0; a workload has whole numbers from 1"),
    (lambda: define(cpus=True), "cpus is True; a workload has whole numbers from 1"),
    (
        lambda: seen(of(boots([5]), boots([4]))),
        "of yields events at 4 ns after some at 5 ns; yield them in order, or in one list",
    ),
    (lambda: seen(of(boots(0, cpu=2), cpus=2)), "of has events on CPU 2 and 2 CPUs; define it with cpus=3"),
    (lambda: seen(of([1])), "of yields int; expected Events, or a list of them"),
    (lambda: seen(of(7)), "of yields int; expected Events, or a list of them"),
    (
        lambda: seen(of(boots(0), cpus=9)),
        "of needs 9 CPUs with these parameters, this bench has 8; make it with Bench(cpus=9)",
    ),
]


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: Events("vmm:vcpu_exit", time_ns=0), NotFound, "did you mean vmm:vcpu_run_exit?"),
    (lambda: Events(Tracepoint, time_ns=0), NotFound, "no built-in tracepoint <class 'axebpf.tracepoint.Tracepoint'>"),
    (lambda: boots(0, vm_ids=1), FieldError, "vmm:vm_boot: no field vm_ids; did you mean vm_id?"),
    (lambda: Events(VmBoot, time_ns=0, vm_id=1), FieldError, "vmm:vm_boot: no column for duration_ns"),
    (lambda: boots([1, 2], vm_id=[1]), FieldError, "columns of unequal length: time_ns has 2, vm_id has 1"),
    (lambda: boots(0, cpu=[0, 1], vm_id=[1] * 3), FieldError, "columns of unequal length: cpu has 2, vm_id has 3"),
    (lambda: boots(0, vm_id=-1), FieldError, "vm_id is u32 and takes 0 to 4294967295, not -1"),
    (
        lambda: boots(0, vm_id=[0, 1 << 32]),
        FieldError,
        "vm_id is u32 and takes 0 to 4294967295, not 4294967296 (row 1)",
    ),
    (lambda: boots(-5), FieldError, "time_ns is u64 and takes 0 to 18446744073709551615, not -5"),
    (lambda: boots([1 << 63, 1]), FieldError, "time_ns takes 0 to 9223372036854775807, not 9223372036854775808"),
    (
        lambda: boots([1, 1 << 70]),
        FieldError,
        f"time_ns is u64 and takes 0 to 18446744073709551615, not {1 << 70} (row 1)",
    ),
    (lambda: boots([-1, 1 << 63]), FieldError, "time_ns is u64 and takes 0 to 18446744073709551615, not -1 (row 0)"),
    (
        lambda: boots([0.5]),
        FieldError,
        "time_ns has a column of float64 of 1 dimensions; expected one dimension of integers",
    ),
    (lambda: boots([1, None]), FieldError, "time_ns has a column of object of 1 dimensions; expected one dimension"),
    (lambda: boots("1"), FieldError, "time_ns has a column of <U1 of 0 dimensions; expected one dimension of integers"),
    (
        lambda: boots([[1]]),
        FieldError,
        "time_ns has a column of int64 of 2 dimensions; expected one dimension of integers",
    ),
    (lambda: boots(0, cpu=-1), FieldError, "cpu is u32 and takes 0 to 4294967295, not -1"),
    (lambda: sample(name=[b"123456789"]), FieldError, "name is char[8] and takes texts of so many bytes, not |S9"),
    (
        lambda: sample(name=b"a"),
        FieldError,
        "name is char[8], whose column has one dimension; this one has the shape ()",
    ),
    (lambda: sample(numbers=[1, 2]), FieldError, "numbers is u64[2], whose column has two dimensions, 2 a row"),
    (lambda: sample(numbers=np.array([[1, -2]])), FieldError, "numbers is u64[2] and takes 0 to 18446744073709551615"),
    (lambda: sample(numbers=[[1, 2.5]]), FieldError, "numbers has a column of float64 of 2 dimensions; expected two"),
    (lambda: sample(numbers=[["1", "2"]]), FieldError, "numbers has a column of <U1 of 2 dimensions; expected two"),
    (lambda: sample(numbers=[[1, 2], [3]]), FieldError, "numbers is u64[2], and no column of it can be made of this"),
    (lambda: sample(numbers=[[1, 2, 3]]), FieldError, "numbers is u64[2], whose column has two dimensions, 2 a row"),
    (lambda: sample(flag=2), FieldError, "flag is bool and takes 0 to 1, not 2"),
]


@pytest.mark.parametrize(("make", "kind", "message"), WRONG, ids=[message[:60] for *_, message in WRONG])
def test_columns_that_do_not_fit_are_refused_where_they_are_made(
    make: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_what_cannot_be_right_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(HypervisorError) as caught:
        make()
    assert str(caught.value) == message


def no_default(count: int) -> Iterator[Events]:
    yield boots(count)


def of_a_list(times: list[int] = [1]) -> Iterator[Events]:  # noqa: B006
    yield boots(times)


def of_anything(**more: int) -> Iterator[Events]:
    yield boots(more["time"])


def beyond(count: Annotated[int, Range(1, 3)] = 4) -> Iterator[Events]:
    yield boots(count)


def flagged(on: bool = True) -> Iterator[Events]:
    yield boots(int(on))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            no_default,
            "the parameter count of no-default is count: int; expected an int, a float or a str, and a default",
        ),
        (of_a_list, "the parameter times of of-a-list is times: list[int] = [1]; expected an int, a float or a str"),
        (of_anything, "the parameter more of of-anything is **more: int; expected an int, a float or a str"),
        (beyond, "count is 4; beyond takes 1 to 3"),
        (flagged, "the parameter on of flagged is on: bool = True; expected an int, a float or a str"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_functions_that_are_no_workloads(function: Callable[..., Iterator[Events]], message: str) -> None:
    with pytest.raises(HypervisorError) as caught:
        define()(function)
    assert str(caught.value).startswith(message)


def test_no_events_are_no_error() -> None:
    assert seen(of()) == seen(of([], boots([]), [boots([])])) == []


def test_an_error_of_the_function_comes_out_as_it_is_and_the_bench_goes_on() -> None:
    @define()
    def broken() -> Iterator[Events]:
        yield boots([1, 2])
        raise ZeroDivisionError("mine")

    bench = Bench()
    with pytest.raises(ZeroDivisionError, match="mine"):
        bench.run(broken)
    assert bench.tracepoints["vmm:vm_boot"].fired == 2
    assert bench.run(of(boots(3))).events == 1


def test_events_show_what_they_are() -> None:
    events = Events(VcpuRunExit, time_ns=range(3), vm_id=1, vcpu_id=0, exit_reason=0, duration_ns=1)
    assert (len(events), repr(events)) == (3, "<3 events of vmm:vcpu_run_exit>")
    assert {name: column.tolist() for name, column in events.columns.items()}["vm_id"] == [1, 1, 1]
