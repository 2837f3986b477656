"""`axebpf run` and `axebpf demo`: what they show is what the same run gives in Python."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench, ExitReason
from axebpf.examples import example
from axebpf.hypervisor import Chunk, Stream

AXVISOR = Path(__file__).parent / "fixtures" / "axvisor"
EXITS = example("exits.bpf.o")
SHORT = ("--seconds", "0.5", "--seed", "5")


@pytest.fixture(scope="module")
def same() -> Any:
    """The run of the examples that the tests below ask the command line for, made in Python."""
    bench = Bench(cpus=2, seed=5)
    progs = {}
    for name in ("exits.bpf.o", "latency.bpf.o", "slow_exits.bpf.o"):
        rodata = {"threshold_ns": 9_000_000} if name == "slow_exits.bpf.o" else None
        progs[name] = bench.load(example(name), rodata=rodata)
        progs[name].attach()
    bench.enable("vmm:vcpu_run_exit")
    result = bench.run("boot", seed=5, duration_s=0.5)
    return bench, progs, result


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def table(out: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading; cells have no blanks in them, or are numbers in the end."""
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(heading))
    rows = []
    for line in lines[start + 1 :]:
        if not line or line.startswith("  "):
            if rows and not line:
                break
            if line.startswith("   ") or re.match(r"  +\S+ +\S", line):
                rows.append(line.split())
            continue
        rows.append(line.split())
    return rows


def test_the_map_is_the_one_of_the_same_run_in_python(cli: Any, same: Any) -> None:
    _, progs, _ = same
    ran = cli("run", EXITS, *SHORT)
    assert (ran.code, ran.err) == (0, "")
    rows = table(ran.out, "EXITS: hash, ")
    assert rows[0] == ["VM_ID", "EXIT_REASON", "COUNT", "TOTAL_NS", "MAX_NS"]
    shown = {(int(vm), ExitReason[reason]): tuple(map(int, rest)) for vm, reason, *rest in rows[1:]}
    assert progs["exits.bpf.o"].maps["EXITS"] == shown
    assert [row[0] for row in rows[1:]] == sorted(row[0] for row in rows[1:])
    assert f"EXITS: hash, {len(shown)} of 1024 entries, exits.bpf.o" in ran.out
    assert "\x1b" not in ran.out


def test_it_says_what_it_read_and_ran(cli: Any, same: Any) -> None:
    _, progs, result = same
    out = cli("run", EXITS, *SHORT, "--set", "threshold_ns=0").out
    assert f"{EXITS}: 1 program, 1 map, licence GPL\n  variables: threshold_ns = 0\n" in out
    assert "boot: vms=2, vcpus=1, seed=5, arch=aarch64, duration_s=0.5\n" in out
    events = f"{result.events:,}".replace(",", " ")
    assert f"  {events} events, the last {result.time_ns / 1e9:.1f} s after power-on\n" in out
    (program,) = table(out, "Programs")[1:]
    stats = progs["exits.bpf.o"]["on_exit"].stats
    mean = f"{stats.instructions / stats.runs:.1f}"
    assert program == [
        "on_exit",
        "exits.bpf.o",
        "vmm:vcpu_run_exit",
        str(stats.runs),
        mean,
        str(stats.worst_instructions),
        "0",
        "0",
    ]


def test_latency_of_every_tracepoint_and_histogram_of_those_with_programs(cli: Any, same: Any) -> None:
    bench, _, _ = same
    out = cli("run", EXITS, *SHORT).out
    rows = {row[0]: row[1:] for row in table(out, "Latency")[1:]}
    expected = {name: s for name, s in bench.stats.items() if s.samples}
    assert set(rows) == set(expected)
    for name, s in expected.items():
        assert rows[name][:3] == [str(s.samples), str(s.min_ns), str(s.avg_ns)]
        assert rows[name][5] == str(s.max_ns)
        assert list(map(int, rows[name][6:])) == list(s.buckets)
    exits = bench.stats["vmm:vcpu_run_exit"]
    lines = out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("vmm:vcpu_run_exit: "))
    counts, bars = [], []
    for line in lines[start + 2 : start + 10]:
        found = re.search(r"(\d+) +[\d.]+ %( +#+)?$", line)
        assert found is not None
        counts.append(int(found[1]))
        bars.append(len((found[2] or "").strip()))
    assert counts == list(exits.buckets)
    largest = max(counts)
    assert bars == [-(-40 * count // largest) for count in counts]


def test_the_trace_is_linuxs_text(cli: Any, same: Any) -> None:
    bench, _, _ = same
    out = cli("run", EXITS, *SHORT, "--trace", 3).out
    shown = out[out.index("Trace: ") :].splitlines()
    assert shown[0] == f"Trace: the last 3 of {bench.trace.written} lines"
    assert shown[1:4] == bench.trace.text().splitlines()[-3:]
    assert "Trace" not in cli("run", EXITS, *SHORT, "--trace", 0).out
    lifecycle = cli("run", EXITS, *SHORT, "--trace", 50, "--enable", "vmm:vm_*", "--enable", "shell_init").out
    events = re.findall(r"^ +axvisor-0 .*?: (\w+): ", lifecycle, re.MULTILINE)
    assert set(events) == {"vm_create", "vm_boot", "vm_shutdown", "vm_destroy", "shell_init"}


def test_everything_as_json(cli: Any, same: Any) -> None:
    bench, progs, result = same
    objects = [example(name) for name in ("exits.bpf.o", "latency.bpf.o")]
    found = json.loads(cli("run", *objects, *SHORT, "--json").out)
    assert found["workload"]["name"] == "boot"
    assert found["workload"]["parameters"]["seed"] == 5
    assert (found["events"], found["by_tracepoint"]) == (result.events, result.by_tracepoint)
    assert found["time_ns"] == result.time_ns
    assert (found["interrupted"], found["error"]) == (False, None)
    assert [entry["globals"] for entry in found["objects"]] == [{"threshold_ns": 0}, {}]
    assert [entry["attached"] for entry in found["programs"]] == ["vmm:vcpu_run_exit"] * 2
    assert found["programs"][0]["instructions"] == progs["exits.bpf.o"]["on_exit"].stats.instructions
    maps = {entry["name"]: entry for entry in found["maps"]}
    exits = {(e["key"]["vm_id"], e["key"]["exit_reason"]): tuple(e["value"].values()) for e in maps["EXITS"]["entries"]}
    assert progs["exits.bpf.o"].maps["EXITS"] == exits
    latency = {entry["key"]: entry["value"] for entry in maps["LATENCY"]["entries"]}
    assert maps["LATENCY"]["type"] == "percpu_array"
    expected = progs["latency.bpf.o"].maps["LATENCY"]
    assert {key: tuple(value["cpus"]) for key, value in latency.items()} == {
        k: v for k, v in expected.items() if any(v)
    }
    assert all(value["sum"] == sum(value["cpus"]) for value in latency.values())
    statistics = bench.stats["vmm:vcpu_run_exit"]
    assert found["latency"]["vmm:vcpu_run_exit"]["buckets"] == list(statistics.buckets)
    assert found["trace"]["lines"] == bench.trace.text().splitlines()[-10:]
    assert (found["trace"]["written"], found["trace"]["lost"]) == (bench.trace.written, 0)


def test_records_of_a_ring_are_typed_on_demand(cli: Any, same: Any) -> None:
    _, progs, _ = same
    records = list(progs["slow_exits.bpf.o"].maps["SLOW"].typed("slow_exit"))
    assert len(records) > 5
    slow = ("run", example("slow_exits.bpf.o"), *SHORT, "--set", "threshold_ns=9000000")
    out = cli(*slow, "--map", "SLOW=slow_exit", "--rows", 5).out
    rows = table(out, f"SLOW: ringbuf, {len(records)} records")
    assert rows[0] == ["#", "TIME_NS", "DURATION_NS", "VM_ID", "VCPU_ID", "EXIT_REASON", "CPU"]
    for place, record in enumerate(records[:5]):
        reason = ExitReason(record.exit_reason).name
        assert rows[1 + place] == [str(place), *map(str, record[:4]), reason, str(record.cpu)]
    assert f"  {len(records) - 5} more; --rows N shows more of them" in out
    raw = json.loads(cli(*slow, "--json").out)["maps"][0]["entries"]
    assert len(raw) == len(records)
    assert raw[0] == {
        "hex": b"".join(n.to_bytes(w, "little") for n, w in zip(records[0], (8, 8, 4, 4, 4, 4), strict=True)).hex()
    }


def test_per_cpu_arrays_show_each_cpu_and_the_sum_and_leave_out_zeros(cli: Any, same: Any) -> None:
    _, progs, _ = same
    latency = progs["latency.bpf.o"].maps["LATENCY"]
    out = cli("run", example("latency.bpf.o"), *SHORT, "--rows", 1000).out
    rows = table(out, "LATENCY: percpu_array")
    assert rows[0] == ["KEY", "CPU0", "CPU1", "SUM"]
    shown = {int(row[0]): (int(row[1]), int(row[2])) for row in rows[1:] if len(row) == 4}
    assert shown == {key: value for key, value in latency.items() if any(value)}
    assert f"  {latency.max_entries - len(shown)} entries are zero and left out" in out


def test_what_cannot_be_attached_is_said_and_the_rest_runs(cli: Any) -> None:
    ran = cli("run", AXVISOR / "kprobe_noop.bpf.o", AXVISOR / "stats.bpf.o", *SHORT)
    assert ran.code == 0
    reason = "section 'kprobe/do_sys_openat2' names no tracepoint"
    assert f"  kprobe_noop.bpf.o: kprobe_noop is not attached: {reason}\n" in ran.out
    assert table(ran.out, "STATS_MAP: hash")[1][0] == "21"
    alone = cli("run", AXVISOR / "kprobe_noop.bpf.o", *SHORT)
    assert (alone.code, alone.out) == (1, "")
    assert alone.err.startswith("axebpf: no program is attached to a tracepoint, so there is nothing to run\n")
    assert reason in alone.err


def test_a_fault_shows_what_was_done_so_far_and_is_exit_1(cli: Any) -> None:
    ran = cli("run", EXITS, *SHORT, "--budget", 20)
    assert ran.code == 1
    assert ran.err.startswith("axebpf: on_exit: the program ran more than 20 instructions")
    assert "exits.bpf.c:" in ran.err
    assert ", then stopped by a fault" in ran.out
    (program,) = table(ran.out, "Programs")[1:]
    assert program[3:] == ["1", "20.0", "20", "0", "1"]
    found = cli("run", EXITS, *SHORT, "--budget", 20, "--json")
    assert found.code == 1
    assert "more than 20 instructions" in json.loads(found.out)["error"]


def test_ctrl_c_shows_what_was_done_so_far_and_is_exit_130(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Stream.__iter__

    def interrupted(stream: Stream) -> Iterator[Chunk]:
        for number, chunk in enumerate(whole(stream)):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            yield chunk

    monkeypatch.setattr(Stream, "__iter__", interrupted)
    ran = cli("run", EXITS, "--events", 200_000)
    assert ran.code == 130
    assert ran.err == ""
    assert ", then interrupted" in ran.out
    assert table(ran.out, "EXITS: hash")[1][1] in ExitReason.__members__
    found = cli("run", EXITS, "--events", 200_000, "--json")
    assert found.code == 130
    assert json.loads(found.out)["interrupted"] is True


def test_lost_lines_of_the_trace_are_said(cli: Any) -> None:
    out = cli("run", EXITS, "--events", 120_000, "--vms", 4, "--enable", "*", "--trace", 1).out
    lost = re.search(r"^  (\d+) lines of the trace made room for later ones \(it keeps (\d+)\)$", out, re.MULTILINE)
    assert lost is not None
    written = re.search(r"the last 1 of (\d+) lines", out)
    assert written is not None
    assert int(lost[1]) + int(lost[2]) == int(written[1])
    assert "Lost" not in cli("run", EXITS, *SHORT).out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--on", "boo"], 1, "no workload boo; did you mean boot?"),
        (["--vms", "9"], 1, "vms is 9; boot takes 1 to 8"),
        (["--arch", "arch64"], 1, "did you mean aarch64?"),
        (["--seconds", "1", "--events", "1000"], 1, "give one"),
        (["--set", "treshold_ns=1"], 1, "no global variable treshold_ns; did you mean threshold_ns?"),
        (["--set", "threshold_ns=-1"], 1, "the variable threshold_ns: u64 holds 0 to"),
        (["--map", "EXIT"], 1, "no map EXIT; did you mean EXITS?"),
        (["--map", "EXITS=exit_key"], 1, "EXITS is no ring buffer"),
        (["--enable", "vmm:vcpu_exit"], 1, "did you mean vmm:vcpu_run_exit?"),
        (["--set", "threshold_ns"], 2, "is not NAME=VALUE"),
        (["--set", "threshold_ns=a lot"], 2, "expected a number, a list"),
        (["--engine", "jit"], 2, "Invalid value for --engine:"),
        (["--budget", "0"], 2, "Invalid value for '--budget'"),
        (["--vms", "two"], 2, "Invalid value for '--vms'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_and_what_is_misused(cli: Any, arguments: list[str], code: int, text: str) -> None:
    ran = (
        cli("run", EXITS, "--seconds", "0.1", *arguments)
        if "--seconds" not in arguments
        else cli("run", EXITS, *arguments)
    )
    assert (ran.code, ran.out) == (code, "")
    assert text in " ".join(re.sub(r"[│╭╮╰╯─]", " ", ran.err).split())


def test_the_same_seed_shows_the_same(cli: Any) -> None:
    first, again = (cli("run", EXITS, *SHORT).out for _ in range(2))
    assert first == again != cli("run", EXITS, "--seconds", "0.5", "--seed", "6").out


# On a terminal


@pytest.fixture(params=[80, 100, 120])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cli: Any) -> Any:
    """Runs a command as on a terminal of that width; gives its lines without colours."""

    def terminal(*arguments: object) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv("FORCE_COLOR", "1")
            patch.setenv("COLUMNS", str(request.param))
            ran = cli(*arguments)
        assert (ran.code, ran.err) == (0, "")
        assert "\x1b[" in ran.out
        lines = plain(ran.out).splitlines()
        assert max(map(len, lines)) <= request.param
        assert "…" not in plain(ran.out)
        return lines

    return terminal


def test_the_demo_on_a_terminal(terminal: Any) -> None:
    lines = terminal("demo", "--seed", 3)
    headings = [line.split("  ")[0] for line in lines if line and not line.startswith(" ")]
    assert headings == ["axebpf demo", "Programs", "EXITS", "vmm:vcpu_run_exit", "LATENCY", "SLOW", "Trace", "Next"]
    bench = Bench(cpus=2, seed=3)
    progs = bench.load(EXITS)
    progs.attach()
    result = bench.run("boot", vms=2, seed=3)
    assert lines[1].strip().startswith(f"{result.events:,} events".replace(",", " "))
    rows = lines[headings_place(lines, "EXITS") + 3 :]
    shown = {}
    for line in rows[: len(progs.maps["EXITS"])]:
        found = re.match(r" +(\d) +([A-Z_]+) +([\d ]*\d) {2}", line)
        assert found is not None
        shown[int(found[1]), ExitReason[found[2]]] = int(found[3].replace(" ", ""))
    assert shown == {key: value.count for key, value in progs.maps["EXITS"].items()}
    assert any("█" in line for line in rows)
    assert any(line.lstrip().startswith("axebpf run ") for line in lines[headings_place(lines, "Next") :])


def headings_place(lines: list[str], heading: str) -> int:
    return next(place for place, line in enumerate(lines) if line.startswith(heading))


def test_run_on_a_terminal_has_units(terminal: Any) -> None:
    lines = terminal("run", EXITS, *SHORT, "--trace", 4)
    assert any(re.search(r"EXTERNAL_INTERRUPT +[\d ]+ +[\d.]+ (ms|s|µs)", line) for line in lines)
    assert any(re.match(r" +100 µs-1 ms +[\d ]+ +[\d.]+ % +█", line) for line in lines)


def test_the_demo_in_a_pipe_is_plain(cli: Any) -> None:
    ran = cli("demo")
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    assert table(ran.out, "EXITS: ")[0] == ["VM", "EXIT", "REASON", "COUNT", "AVG", "MAX"]
    assert "vcpu_run_exit: vm_id=" in ran.out
    assert cli("demo", "--arch", "x86_64").out != ran.out
    assert cli("demo", "--arch", "riscv").code == 1
