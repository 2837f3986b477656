"""`axebpf dump`: what is in an object file, after relocation."""

from __future__ import annotations

import struct
from typing import Annotated, Any

import typer
from rich.text import Text

from axebpf import _native
from axebpf.cli.console import Column, Screen
from axebpf.cli.objects import read_object

__all__ = ["dump"]

_LDDW = 0x18
_MAP, _MAP_VALUE = 1, 2
"""What the source register of `lddw` says of its number: a map, the value of a map (BPF_PSEUDO_MAP_FD, …_VALUE)."""


def dump(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An object file (.bpf.o).")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every instruction in its parts.")] = False,
) -> None:
    """Show the maps and the linked instructions of an object file, with its source lines."""
    found = read_object(file)
    screen = Screen()
    if as_json:
        screen.json(
            {
                "file": file,
                "license": found.license,
                "warnings": found.warnings,
                "maps": [_json_map(entry) for entry in found.maps],
                "programs": [_json_program(entry) for entry in found.programs],
            }
        )
        return
    screen.heading(file, f"licence {found.license or 'none'}")
    for warning in found.warnings:
        screen.line(f"  passed over: {warning}", "yellow")
    screen.line()
    if found.maps:
        columns = [Column("map", style="bold"), Column("type"), Column("key", right=True), Column("value", right=True)]
        columns += [Column("entries", right=True), Column("flags", right=True)]
        screen.table(columns, [_map_row(entry) for entry in found.maps], indent=0)
        screen.line()
    for entry in found.programs:
        _show_program(screen, entry)


def _map_row(entry: dict[str, Any]) -> tuple[str, ...]:
    sizes = (str(entry[name]) for name in ("key_size", "value_size", "max_entries"))
    return (entry["name"], _map_type(entry), *sizes, f"{entry['flags']:#x}")


def _map_type(entry: dict[str, Any]) -> str:
    return entry["type"] or f"type {entry['type_number']}"


def _json_map(entry: dict[str, Any]) -> dict[str, Any]:
    shown = ("name", "type", "type_number", "key_size", "value_size", "max_entries", "flags", "section")
    return {name: entry[name] for name in shown}


def _json_program(entry: dict[str, Any]) -> dict[str, Any]:
    """A program; `instructions` is null, and `refused` says why, where it cannot be linked."""
    code: bytes | None = entry["insns"]
    return {
        **{name: entry[name] for name in ("section", "name", "type", "target", "refused")},
        "subprograms": [{"name": name, "insn": insn} for name, insn in entry["subprograms"]],
        "instructions": None if code is None else _instructions(code, entry["maps"]),
    }


def _instructions(code: bytes, maps: list[str]) -> list[dict[str, Any]]:
    """Each 8-byte slot in its parts: `struct bpf_insn`.

    An `lddw` that loads a map has `map`, one that loads an address in the value of a map `map` and `value_offset`;
    their `imm` is the place of the map among the program's maps, where the kernel has a file descriptor.
    """
    found: list[dict[str, Any]] = []
    second = False
    for opcode, registers, off, imm in struct.iter_unpack("<BBhi", code):
        part = {"code": opcode, "dst": registers & 15, "src": registers >> 4, "off": off, "imm": imm}
        if second and found[-1]["src"] == _MAP_VALUE:
            found[-1]["value_offset"] = imm & 0xFFFFFFFF
        second = not second and opcode == _LDDW
        if second and part["src"] in (_MAP, _MAP_VALUE):
            part["map"] = maps[imm]
        found.append(part)
    return found


def _show_program(screen: Screen, entry: dict[str, Any]) -> None:
    """Instructions under the source lines that they were made from."""
    if entry["insns"] is None:
        screen.heading(entry["name"], f'SEC("{entry["section"]}")')
        screen.line(f"  refused: {entry['refused']}", "red")
        screen.line()
        return
    screen.heading(entry["name"], f'SEC("{entry["section"]}"), {len(entry["insns"]) // 8} instructions')
    lines = {insn: (file, line, text) for insn, file, line, _, text in entry["lines"]}
    functions = {insn: name for name, insn in entry["subprograms"]}
    slot, before = 0, None
    for text in _native.disassemble(entry["insns"], entry["maps"]).splitlines():
        if not text.startswith(" "):
            screen.line(Text(f"       {text}", "dim"))
            continue
        if functions.get(slot, entry["name"]) != entry["name"]:
            screen.line(Text(f"  {functions[slot]}:", "bold"))
        if slot in lines and lines[slot] != before:
            before = lines[slot]
            file, number, source = before
            screen.line(Text(f"  ; {source.strip()}", "green").append(f"  {file}:{number}", "dim"))
        screen.line(f"  {slot:4} {text}")
        slot += 2 if entry["insns"][8 * slot] == _LDDW else 1
    screen.line()
