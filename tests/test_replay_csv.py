"""Tables: rows under a header are events; what does not fit is an error with its line and column."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axebpf import Bench, RecordingError, Tracepoint, char, i64, u16, u32
from axebpf.examples import example
from axebpf.recording import Recording

HEAD = "event,time_ns,cpu,vm_id,vcpu_id,exit_reason,duration_ns\n"


def table(*rows: str, head: str = HEAD) -> bytes:
    return (head + "".join(f"{row}\n" for row in rows)).encode()


def fields(bench: Bench) -> list[tuple[Any, ...]]:
    return [(e.name, e.time_ns, e.cpu, *e.fields.values()) for e in bench.trace.records()]


def test_a_table_gives_what_python_reads_from_it() -> None:
    rng = np.random.default_rng(5)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEAD.strip().split(","))
    rows = [
        ("vmm:vcpu_run_exit", 1000 * n, int(rng.integers(2)), *(int(v) for v in rng.integers(0, 1 << 32, 3)), int(ns))
        for n, ns in enumerate(rng.integers(0, 1 << 63, 5000))
    ]
    writer.writerows(rows)
    bench = Bench(cpus=2)
    bench.enable("*")
    result = bench.replay(out.getvalue().encode())
    assert fields(bench) == rows
    assert (result.events, result.lines, result.first_ns, result.time_ns) == (5000, 5001, 0, 4_999_000)


def test_programs_count_what_the_table_has() -> None:
    rng = np.random.default_rng(6)
    vm, reason = rng.integers(1, 4, 3000), rng.integers(0, 16, 3000)
    rows = [f"vcpu_run_exit,{n},0,{v},0,{r},7" for n, (v, r) in enumerate(zip(vm, reason, strict=True))]
    bench = Bench(cpus=1)
    bench.load(example("exits.bpf.o")).attach()
    bench.replay(table(*rows))
    pairs, counts = np.unique(np.stack([vm, reason]), axis=1, return_counts=True)
    expected = {(int(v), int(r)): (int(n), 7 * int(n), 7) for (v, r), n in zip(pairs.T, counts, strict=True)}
    assert bench.maps["EXITS"] == expected


def test_columns_may_stand_in_any_order_and_be_quoted() -> None:
    head = '"duration_ns","time","event","vm_id","comm","pid"\n'
    bench = Bench()
    bench.enable("*")
    bench.replay(table('0x10,1.5,"vmm:vm_boot", 7 ,"a, b",42', '3,"1.500000001",vm_boot,8,c,1', head=head))
    assert [(e.time_ns, e.cpu, e.pid, e.comm, *e.fields.values()) for e in bench.trace.records()] == [
        (1_500_000_000, 0, 42, "a, b", 7, 16),
        (1_500_000_001, 0, 1, "c", 8, 3),
    ]


def test_events_have_cells_for_their_own_fields_only() -> None:
    head = "time_ns,event,vm_id,vcpu_id,duration_ns\n"
    bench = Bench()
    bench.enable("*")
    bench.replay(table("1,vm_boot,1,,5", "2,vcpu_halt,1,3,", "3,vm_destroy,9,,", head=head))
    assert fields(bench) == [
        ("vmm:vm_boot", 1, 0, 1, 5),
        ("vmm:vcpu_halt", 2, 0, 1, 3),
        ("vmm:vm_destroy", 3, 0, 9),
    ]


def test_one_event_for_all_rows() -> None:
    bench = Bench()
    assert bench.replay(b"time_ns,vm_id\n1,2\n3,4\n", event="vmm:vm_destroy").by_tracepoint == {"vmm:vm_destroy": 2}


class Sampled(Tracepoint, name="test:sampled", id=301):
    """Every kind of field that is not one unsigned number."""

    back: i64
    name: char[4]  # type: ignore[valid-type]
    values: u16[2]  # type: ignore[valid-type]
    last: u32


def test_fields_of_every_kind() -> None:
    bench = Bench()
    bench.define(Sampled).enabled = True
    head = "time_ns,event,back,name,values,last\n"
    bench.replay(table('1,sampled,-9223372036854775808,abcd,"{1,0xffff}",0', head=head))
    (event,) = bench.trace.records()
    assert event.fields == {"back": -(1 << 63), "name": b"abcd", "values": [1, 0xFFFF], "last": 0}


def test_the_form_is_found_out_or_said(tmp_path: Path) -> None:
    data = table("vm_destroy,1,0,1,,,")
    assert Recording(data).format == "csv"
    assert Recording(b"\xef\xbb\xbf" + data).format == "csv"
    named = tmp_path / "a.CSV"
    named.write_bytes(b"event,when\n")
    assert Recording(named).format == "csv"
    assert Recording(b"# tracer: nop, time_ns\n").format == "ftrace"
    assert Bench().replay(b"\xef\xbb\xbf" + data).events == 1
    assert Bench().replay(data.replace(b"\n", b"\r\n")).events == 1
    assert Bench().replay(data.rstrip()).events == 1, "the last row of a table needs no end"
    assert Bench().replay(io.BytesIO(data), format="csv").events == 1


def test_events_without_a_tracepoint_are_counted() -> None:
    result = Bench().replay(table("vm_destroy,1,0,1,,,", "nobody:knows,2,0,1,,,", "kvm:kvm_eoi,2,0,1,,,"))
    assert (result.events, result.unmapped) == (1, {"nobody:knows": 1, "kvm:kvm_eoi": 1})


ROW = "vcpu_run_exit,1,0,1,0,2,3"

BAD = {
    ", line 1: no column time_ns: when each event happened, or time in seconds; did you mean time_n?": "event,time_n\n",
    ", line 1: no column event: which tracepoint each row is of; did you mean events?": "events,time_ns\n",
    ", line 1: the column durations_ns is no field of any tracepoint here; did you mean duration_ns?": (
        "event,time_ns,durations_ns\n"
    ),
    ", line 1: two columns are called vm_id": "event,time_ns,vm_id,vm_id\n",
    ", line 3: no column vcpu_id: a field of vmm:vcpu_halt; did you mean vcpu_num?": (
        "event,time_ns,vm_id,vcpu_num\nvm_destroy,1,1,\nvcpu_halt,1,1,\n"
    ),
    ", line 3: 3 cells under 7 columns: is the file cut off?": f"{HEAD}{ROW}\nvcpu_run_exit,2,0",
    ", line 2: 8 cells under 7 columns": f"{HEAD}{ROW},9\n",
    ', line 2: the column time_ns has "1.5"; expected a time in nanoseconds': (
        f"{HEAD}{ROW.replace(',1,0', ',1.5,0')}\n"
    ),
    ', line 2: the column time has "now"; expected a time in seconds, such as 12.000345678': (
        "event,time,vm_id\nvm_destroy,now,1\n"
    ),
    ', line 2: the column cpu has "-1"; expected the number of a CPU': f"{HEAD}{ROW.replace(',0,1,0', ',-1,1,0')}\n",
    ', line 2: the column pid has ""; expected the number of a thread': "event,time_ns,pid,vm_id\nvm_destroy,1,,1\n",
    ', line 4: the column vm_id has "one"; expected a whole number, decimal or 0x and hexadecimal': (
        f"{HEAD}{ROW}\n\n{ROW.replace('0,1,0', '0,one,0')}\n"
    ),
    ", line 2: vmm:vcpu_run_exit: vm_id is u32 and takes 0 to 4294967295, not 4294967296": (
        f"{HEAD}{ROW.replace('0,1,0', '0,4294967296,0')}\n"
    ),
    ": its events are on 9 CPUs, this bench has 4; make it with Bench(cpus=9)": (
        f"{HEAD}{ROW.replace(',1,0,', ',1,8,')}\n"
    ),
    ", line 3: a row of more than 1048576 bytes or columns: a quote that is never closed?": (
        f'{HEAD}{ROW}\n"' + "x,\n" * 400_000
    ),
    ", line 1: a row of more than 4096 bytes or columns: a quote that is never closed?": "time_ns" + "," * 5000 + "\n",
}


@pytest.mark.parametrize("message", BAD)
def test_a_table_that_does_not_fit_is_refused_before_the_first_event(message: str) -> None:
    bench = Bench()
    with pytest.raises(RecordingError) as refused:
        bench.replay(BAD[message].encode(), format="csv")
    assert str(refused.value) == f"<bytes>{message}"
    assert sum(tp.fired for tp in bench.tracepoints.values()) == 0
    assert bench.replay(table(ROW)).events == 1


def test_an_empty_table_is_no_recording() -> None:
    with pytest.raises(RecordingError, match="no event in 0 line"):
        Bench().replay(b"", format="csv")
    assert Bench().replay(HEAD.encode()).events == 0
