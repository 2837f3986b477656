"""`axebpf replay`, and `--on` with a recording: what they show is what the same replay gives in Python."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from axebpf import Bench
from axebpf.examples import example

RECORDINGS = Path(__file__).parent / "data" / "recordings"
GUEST = RECORDINGS / "guest.trace.txt"
EXITS = example("exits.bpf.o")

BOOT = "  axvisor-0       [00{cpu}] .....     1.000000: vm_boot: vm_id=1 duration_ns=1500\n"


@pytest.fixture(scope="module")
def same() -> Any:
    """The replay that the tests below ask the command line for, made in Python."""
    bench = Bench(cpus=2)
    bench.load(EXITS).attach()
    bench.enable("vmm:vcpu_run_exit")
    return bench, bench.replay(GUEST)


def test_the_json_is_the_replay_in_python(cli: Any, same: Any) -> None:
    bench, result = same
    ran = cli("replay", GUEST, EXITS, "--json", "--trace", "5")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["recording"] == {
        "file": str(GUEST),
        "format": "ftrace",
        "cpus": 2,
        "first_ns": result.first_ns,
        "lines": GUEST.read_text().count("\n"),
        "skipped": 0,
        "lost_by_recorder": 0,
        "backwards": 0,
        "unpaired": 0,
        "recorded": result.recorded,
        "unmapped": result.unmapped,
        "passed_over": result.passed_over,
        "problems": [],
    }
    assert (found["events"], found["by_tracepoint"]) == (result.events, result.by_tracepoint)
    (exits,) = found["maps"]
    entries = {tuple(entry["key"].values()): tuple(entry["value"].values()) for entry in exits["entries"]}
    assert entries == {tuple(key): tuple(value) for key, value in bench.maps["EXITS"].items()}
    assert found["programs"][0]["runs"] == result.by_tracepoint["vmm:vcpu_run_exit"]
    assert found["trace"]["lines"] == bench.trace.text().splitlines()[-5:]


def test_every_event_of_the_recording_has_a_row(cli: Any, same: Any) -> None:
    _, result = same
    ran = cli("replay", GUEST, EXITS)
    assert ran.code == 0
    rows = re.findall(r"^(kvm\S+) +(\d+) +(\d+) +(\d+) +(\d+)$", ran.out, re.MULTILINE)
    expected = [
        (
            name,
            str(seen),
            str(seen - result.passed_over.get(name, 0) - result.unmapped.get(name, 0)),
            str(result.passed_over.get(name, 0)),
            str(result.unmapped.get(name, 0)),
        )
        for name, seen in result.recorded.items()
    ]
    assert rows == expected
    assert f"{GUEST}: a recording, ftrace\n  {result.events} events in 100 ms" in ran.out


def test_run_on_a_recording_is_the_same_as_replay(cli: Any) -> None:
    assert cli("run", EXITS, "--on", GUEST) == cli("replay", GUEST, EXITS)


def test_without_an_object_it_shows_what_is_in_the_recording(cli: Any) -> None:
    ran = cli("replay", RECORDINGS / "guest.perf.txt")
    assert ran.code == 0
    assert "Recording: 693 lines; what its events became" in ran.out
    assert "Programs" not in ran.out


def test_what_was_wrong_is_shown(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(BOOT.format(cpu=0) + "CPU:0 [LOST 3 EVENTS]\nwhat?\n" + BOOT.format(cpu=0)[:-9])
    ran = cli("replay", path)
    assert ran.code == 0
    for line in (
        "  2 lines could not be read",
        "  3 events lost by the recorder",
        "  line 3: is no event: what?",
        "  line 4: is cut off, it has no end: axvisor-0",
    ):
        assert line in ran.out


def test_the_bench_has_as_many_cpus_as_the_recording(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text(BOOT.format(cpu=0) + BOOT.format(cpu=9))
    ran = cli("replay", path, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["recording"]["cpus"] == 10


def test_a_table_and_standard_input(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "boots.csv"
    path.write_text("time_ns,vm_id,duration_ns\n1,1,5\n2,2,7\n")
    ran = cli("replay", path, "--event", "vmm:vm_boot", "--json")
    assert json.loads(ran.out)["by_tracepoint"] == {"vmm:vm_boot": 2}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BOOT.format(cpu=0).encode())))
    ran = cli("replay", "-", "--json")
    assert json.loads(ran.out)["by_tracepoint"] == {"vmm:vm_boot": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["replay", "nothing.txt"], 1, "axebpf: nothing.txt: cannot be read: No such file or directory"),
        (["replay", EXITS], 1, f"axebpf: {EXITS}: this is an object file, not text; the recording comes first"),
        (["replay", GUEST, "--format", "cvs"], 1, "axebpf: no format 'cvs'; did you mean csv?"),
        (["replay", GUEST, "--set", "a=1"], 2, "there is no object whose variable could be set"),
        (["run", EXITS, "--on", GUEST, "--vms", "2"], 1, "a recording has no parameter vms; workloads have"),
        (["run", EXITS, "--on", "boo"], 1, "no workload boo; did you mean boot?"),
    ],
    ids=lambda value: str(value)[-30:] if isinstance(value, list) else None,
)
def test_what_cannot_be_replayed_says_why(cli: Any, arguments: list[Any], code: int, message: str) -> None:
    ran = cli(*arguments)
    assert ran.code == code
    assert message in ran.err.replace("\n", " ") or message in re.sub(r"[│\s]+", " ", ran.err)
