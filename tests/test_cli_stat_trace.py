"""`axebpf stat` and `axebpf trace`: what they show is what the same run gives in Python."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, Event
from axebpf.examples import example

SHORT = ("--seconds", "0.5", "--seed", "5")
AXVISOR = Path(__file__).parent / "fixtures" / "axvisor"
AXEBPF = [sys.executable, "-c", "import sys; from axebpf.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def same() -> Bench:
    """The same run, made in Python, with all its events in the trace."""
    bench = Bench(cpus=2, seed=5, trace_entries=1 << 19)
    bench.enable()
    bench.run("boot", seed=5, duration_s=0.5)
    assert bench.trace.lost == 0
    return bench


def test_stat_has_a_line_for_each_tracepoint_that_fired_the_most_frequent_first(cli: Any, same: Bench) -> None:
    ran = cli("stat", *SHORT)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.partition("Tracepoints\n")[2].splitlines()
    rows = [line.split() for line in lines[1:] if line]
    counts = [(row[0], int(row[1])) for row in rows]
    assert dict(counts) == {name: s.count for name, s in same.stats.items()}
    assert [count for _, count in counts] == sorted((count for _, count in counts), reverse=True)
    exits = next(row for row in rows if row[0] == "vmm:vcpu_run_exit")
    s = same.stats["vmm:vcpu_run_exit"]
    assert [int(exits[place]) for place in (2, 3, 6, 7)] == [s.min_ns, s.avg_ns, s.max_ns, s.last_timestamp_ns]


def test_stat_shows_the_top_and_the_histograms_asked_for(cli: Any, same: Bench) -> None:
    ran = cli("stat", *SHORT, "--top", 2, "--hist", "vmm:hyperc*", "--hist", "vcpu_create")
    assert f"Tracepoints: {len(same.stats) - 2} more have fired" in ran.out
    calls = same.stats["vmm:hypercall"]
    assert f"vmm:hypercall: {calls.samples} durations" in ran.out
    assert f"vmm:vcpu_create: {same.stats['vmm:vcpu_create'].count} events, none with a duration" in ran.out


def test_stat_as_json(cli: Any, same: Bench) -> None:
    shown = json.loads(cli("stat", *SHORT, "--json", "--top", 3).out)
    assert shown["workload"]["parameters"]["seed"] == 5
    assert len(shown["statistics"]) == 3
    for name, numbers in shown["statistics"].items():
        assert {**numbers, "buckets": tuple(numbers["buckets"])} == vars(same.stats[name])


def test_trace_shows_every_event_as_the_trace_of_the_bench(cli: Any, same: Bench) -> None:
    ran = cli("trace", *SHORT)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == same.trace.text()


def test_trace_of_some_tracepoints_in_the_form_of_axvisor(cli: Any, same: Bench) -> None:
    ran = cli("trace", *SHORT, "vm_*", "shell:*", "--target", "axvisor")
    wanted = [line for line in same.trace.text(target="axvisor").splitlines() if ": vm_" in line or ": shell_" in line]
    assert ran.out.splitlines() == wanted


def test_trace_ends_after_so_many_lines(cli: Any, same: Bench) -> None:
    ran = cli("trace", *SHORT, "-n", 7)
    assert (ran.code, ran.out) == (0, "".join(same.trace.text().splitlines(keepends=True)[:7]))


def test_what_programs_print_stands_between_the_events(cli: Any, same: Bench) -> None:
    ran = cli("trace", *SHORT, "vcpu_run_exit", "--load", example("slow_exits.bpf.o"), "-n", 50)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 50
    refused = cli("trace", *SHORT, "--load", AXVISOR / "kprobe_noop.bpf.o")
    assert refused.code == 1
    assert "no program is attached to a tracepoint" in refused.err


def test_trace_shows_only_what_passes_a_filter(cli: Any, same: Bench) -> None:
    ran = cli("trace", *SHORT, "--filter", "duration_ns > 5000000 && vm_id == 2")
    long = [
        entry.name.split(":")[1]
        for entry in same.trace.records()
        if isinstance(entry, Event)
        and entry.fields.get("vm_id") == 2
        and entry.fields.get("duration_ns", 0) > 5_000_000
    ]
    assert [line.split(": ")[1] for line in ran.out.splitlines()] == long
    assert long


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["trace", "--filter", "durations > 1"], "no field durations\n  durations > 1\n  ^"),
        (["trace", "vm_boots"], "no tracepoint matches vm_boots; did you mean vm_boot?"),
        (["stat", "--hist", "vm_boots"], "no tracepoint matches vm_boots; did you mean vm_boot?"),
        (["stat", "--on", "bot"], "no workload bot; did you mean boot?"),
        (["trace", "--vms", "9"], "vms is 9; boot takes 1 to 8"),
    ],
)
def test_what_is_refused(cli: Any, arguments: list[str], text: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert text in ran.err


@pytest.mark.parametrize("how_long", [("--events", "700000"), ("--on", "irq-storm", "--seconds", "12")], ids=" ".join)
def test_a_long_run_shows_how_far_it_is_on_a_terminal_and_nothing_in_a_pipe(how_long: tuple[str, ...]) -> None:
    arguments = [*AXEBPF, "stat", *how_long]
    terminal, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=child, env=environment, text=True) as ran:
        os.close(child)
        said = b""
        try:
            while part := os.read(terminal, 1 << 16):
                said += part
        except OSError:  # Linux says so when the other end is closed
            pass
        assert ran.stdout is not None
        out = ran.stdout.read()
    os.close(terminal)
    assert ran.returncode == 0
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said.decode())
    assert re.search(r"[1-9][\d ]* events +\d+\.\d+ M/s +\S+ \d\d:\d\d", plain), "the last is the time left"
    assert "M/s" not in out
    quiet = subprocess.run([*AXEBPF, "stat", "--events", "30000"], capture_output=True, text=True, check=True)
    assert quiet.stderr == ""
