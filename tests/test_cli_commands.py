"""The command line but for `run` and `demo`: list, format, header, dump, and what all commands share."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from axebpf import _native, assemble
from axebpf.examples import example
from axebpf.tracepoints import BUILTIN
from axebpf.tracepoints.header import header

AXEBPF = [sys.executable, "-c", "import sys; from axebpf.cli import main; sys.exit(main())"]
COMMANDS = ["demo", "run", "replay", "stat", "trace", "list", "format", "header", "dump", "check", "doctor", "exec"]


def test_the_installed_script_is_this_command() -> None:
    script = Path(sys.executable).with_name("axebpf")
    ran = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"axebpf {version('axebpf')}\n"


def test_the_package_is_this_command_too() -> None:
    ran = subprocess.run([sys.executable, "-m", "axebpf", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"axebpf {version('axebpf')}\n"


def test_help_names_all_commands_and_the_exit_codes(cli: Any) -> None:
    ran = cli("--help")
    assert ran.code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", ran.out)
    assert "Exit codes: 0 done, 1 refused or stopped" in " ".join(ran.out.split())
    for command in COMMANDS[:-1]:
        ran = cli(command, "--help")
        assert ran.code == 0
        assert "Exit codes: 0 done" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["list", "--nonsense"], ["format"], ["run"], ["dump"], ["format", "vm_boot", "--target", "kvm"]],
    ids=" ".join,
)
def test_usage_errors_are_exit_2(cli: Any, arguments: list[str]) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Usage: axebpf" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "vmm:vcpu_exit"], "no tracepoint matches vmm:vcpu_exit; did you mean vmm:vcpu_run_exit?"),
        (["format", "vcpu_exit"], "no tracepoint matches vcpu_exit; did you mean vcpu_run_exit?"),
        (["header", "kvm:*"], "no tracepoint matches kvm:*"),
        (["dump", "nowhere.bpf.o"], "nowhere.bpf.o: cannot be read: No such file or directory"),
        (["dump", __file__], f"{__file__}: not an ELF object"),
        (["run", "nowhere.bpf.o"], "nowhere.bpf.o: cannot be read: No such file or directory"),
        (["header", "-o", "/nowhere/vmm.h"], "/nowhere/vmm.h: cannot be written: No such file or directory"),
    ],
)
def test_what_is_refused_is_exit_1_and_one_message(cli: Any, arguments: list[str], message: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"axebpf: {message}")
    assert ran.err.count("\n") == 1


def test_ctrl_c_is_exit_130(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axebpf.cli.tracepoints.find", lambda pattern: signal.raise_signal(signal.SIGINT))
    assert cli("list") == (130, "", "")


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([*AXEBPF, "header"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (-signal.SIGPIPE, "")


def test_output_survives_an_encoding_without_our_signs() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "COLUMNS": "100"}
    ran = subprocess.run([*AXEBPF, "list"], capture_output=True, text=True, env=environment, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "vcpu_run_exit" in ran.stdout


# list


def test_the_list_is_plain_when_piped(cli: Any) -> None:
    ran = cli("list")
    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert lines[0].split() == ["TRACEPOINT", "ID", "FIELDS", "MEANING"]
    assert [line.split()[0] for line in lines[1:]] == [tp.event_name for tp in BUILTIN]
    assert "\x1b" not in ran.out
    assert all(line == line.rstrip() for line in lines)
    (exit_line,) = (line for line in lines if "vmm:vcpu_run_exit" in line)
    assert exit_line.split()[1:6] == [
        "21",
        "vm_id:u32",
        "vcpu_id:u32",
        "exit_reason:u32(ExitReason)",
        "duration_ns:u64(ns)",
    ]
    columns = {line.index(tp.doc) for line, tp in zip(lines[1:], BUILTIN, strict=True)}
    assert columns == {lines[0].index("MEANING")}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("vmm:vm_*", ["vmm:vm_create", "vmm:vm_boot", "vmm:vm_shutdown", "vmm:vm_destroy"]),
        ("shell:*", ["shell:shell_command", "shell:shell_init"]),
        ("vm_b??t", ["vmm:vm_boot"]),
        ("vmm:vm_boot", ["vmm:vm_boot"]),
        ("vm_boot", ["vmm:vm_boot"]),
    ],
)
def test_patterns_go_with_and_without_the_subsystem(cli: Any, pattern: str, names: list[str]) -> None:
    assert [line.split()[0] for line in cli("list", pattern).out.splitlines()[1:]] == names


def test_the_list_as_json(cli: Any) -> None:
    found = json.loads(cli("list", "--json").out)
    assert [entry["name"] for entry in found] == [tp.event_name for tp in BUILTIN]
    by_name = {entry["name"]: entry for entry in found}
    exits = by_name["vmm:vcpu_run_exit"]
    assert (exits["id"], exits["size"]) == (21, 32)
    assert [(f["name"], f["type"], f["offset"], f["size"]) for f in exits["fields"]] == [
        ("vm_id", "u32", 8, 4),
        ("vcpu_id", "u32", 12, 4),
        ("exit_reason", "u32", 16, 4),
        ("duration_ns", "u64", 24, 8),
    ]
    assert exits["fields"][2]["values"]["SYSTEM_DOWN"] == 12
    assert (exits["fields"][3]["unit"], exits["fields"][3]["role"]) == ("ns", "duration")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_list_on_a_terminal_fits_it(cli: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    out = cli("list").out
    assert "\x1b[" in out
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in out
    for tp in BUILTIN:
        assert any(line.startswith(f"{tp.event_name} ") for line in lines)


# format and header


@pytest.mark.parametrize("target", ["linux", "axvisor"])
def test_format_shows_the_format_file(cli: Any, target: str) -> None:
    for tp in BUILTIN:
        spec = _native.TracepointSpec(tp.event_name, tp.id, tp.declaration())
        assert cli("format", tp.event_name, "--target", target) == (0, spec.format(target), "")
    assert cli("format", "vm_boot").out.startswith("name: vm_boot\nID: 2\nformat:\n\tfield:unsigned short common_type;")
    assert "field: u32 vm_id offset: 8;" in cli("format", "vm_boot", "--target=axvisor").out


def test_header_writes_to_standard_output_or_a_file(cli: Any, tmp_path: Path) -> None:
    everything = header(BUILTIN)
    assert cli("header") == (0, everything, "")
    path = tmp_path / "vmm.h"
    assert cli("header", "vmm:vm_boot", "-o", path) == (0, "", "")
    text = path.read_text()
    assert "struct trace_event_raw_vm_boot {" in text
    assert "vcpu_run_exit" not in text


# dump


def slots(text: str) -> list[dict[str, int]]:
    names = ("code", "registers", "off", "imm")
    parts = [dict(zip(names, part, strict=True)) for part in struct.iter_unpack("<BBhi", assemble(text))]
    return [
        {"code": p["code"], "dst": p["registers"] & 15, "src": p["registers"] >> 4, "off": p["off"], "imm": p["imm"]}
        for p in parts
    ]


def test_dump_as_json_has_maps_and_linked_instructions(cli: Any) -> None:
    found = json.loads(cli("dump", "--json", example("slow_exits.bpf.o")).out)
    maps = {entry["name"]: entry for entry in found["maps"]}
    assert list(maps) == ["SLOW", ".rodata", ".bss"]
    assert (maps["SLOW"]["type"], maps["SLOW"]["max_entries"], maps["SLOW"]["flags"]) == ("ringbuf", 65536, 0)
    assert (maps[".rodata"]["key_size"], maps[".rodata"]["value_size"], maps[".rodata"]["flags"]) == (4, 8, 0x80)
    (program,) = found["programs"]
    assert (program["section"], program["name"]) == ("tracepoint/vmm/vcpu_run_exit", "on_exit")
    assert (program["type"], program["target"], program["refused"]) == ("tracepoint", "vmm:vcpu_run_exit", None)
    loads = [insn for insn in program["instructions"] if "map" in insn]
    assert [(insn["map"], insn["src"], insn.get("value_offset")) for insn in loads] == [
        (".rodata", 2, 0),
        ("SLOW", 1, None),
        (".bss", 2, 0),
    ]
    parts = ("code", "dst", "src", "off", "imm")
    plain = [{name: insn[name] for name in parts} for insn in program["instructions"]]
    text = _native.Object(example("slow_exits.bpf.o").read_bytes(), "").programs[0]
    assert (
        b"".join(struct.pack("<BBhi", i["code"], i["dst"] | i["src"] << 4, i["off"], i["imm"]) for i in plain)
        == text["insns"]
    )
    assert plain[-1] == slots("exit")[0]
    assert plain[:2] == slots("r6 = r1\nr1 = *(u64 *)(r6 +24)")
    functions = {entry["name"]: entry["insn"] for entry in program["subprograms"]}
    (call,) = (place for place, insn in enumerate(plain) if insn["code"] == 0x85 and insn["src"] == 1)
    assert functions["fill"] == call + 1 + plain[call]["imm"]


def test_dump_shows_instructions_under_their_source_lines(cli: Any) -> None:
    out = cli("dump", example("slow_exits.bpf.o")).out
    lines = out.splitlines()
    assert lines[0].endswith("slow_exits.bpf.o: licence GPL")
    assert lines[2].split() == ["MAP", "TYPE", "KEY", "VALUE", "ENTRIES", "FLAGS"]
    assert lines[3].split() == ["SLOW", "ringbuf", "0", "0", "65536", "0x0"]
    source = example("slow_exits.bpf.c").read_text().splitlines()
    shown = re.findall(r"^  ; (.*)  \S*slow_exits\.bpf\.c:(\d+)$", out, re.MULTILINE)
    assert len(shown) > 10
    assert all(source[int(number) - 1].strip() == text for text, number in shown)
    statement = "slow->time_ns = bpf_ktime_get_ns();"
    number = [line.strip() for line in source].index(statement) + 1
    place = lines.index(f"  ; {statement}  ./slow_exits.bpf.c:{number}")
    assert "call bpf_ktime_get_ns#5" in "\n".join(lines[place + 1 : place + 5])
    assert "  fill:" in lines
    assert re.search(r"^ +6 +r1 = map\[SLOW#1\]$", out, re.MULTILINE)


def test_dump_says_why_a_program_cannot_be_linked(cli: Any, compile_bpf: Any) -> None:
    text = "extern int LINUX_KERNEL_VERSION __kconfig;"
    text += 'SEC("tracepoint/vmm/vm_boot") int asks(void *ctx) { return LINUX_KERNEL_VERSION; }'
    text += 'SEC("tracepoint/vmm/vm_boot") int plain(void *ctx) { return 0; }'
    path = compile_bpf("asks", text)
    ran = cli("dump", path)
    assert ran.code == 0
    assert "refused: " in ran.out
    assert "LINUX_KERNEL_VERSION is a kernel configuration value" in ran.out
    programs = {entry["name"]: entry for entry in json.loads(cli("dump", "--json", path).out)["programs"]}
    assert programs["asks"]["instructions"] is None
    assert "LINUX_KERNEL_VERSION" in programs["asks"]["refused"]
    assert len(programs["plain"]["instructions"]) == 2
