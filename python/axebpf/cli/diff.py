"""`axebpf diff`: the same events on target linux and on target axvisor, and what is not the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from axebpf.bench import MAP_LIBRARIES, TARGETS, Comparison
from axebpf.bench.comparison import Difference, Refusal
from axebpf.cli.bundle import bundled
from axebpf.cli.check import finding_json, line_json
from axebpf.cli.console import Screen
from axebpf.cli.options import AsJson, Variables, WorkloadOptions, one_of
from axebpf.cli.progress import progress
from axebpf.cli.run import variable
from axebpf.cli.session import Session
from axebpf.cli.values import plain
from axebpf.errors import ProgramFault

__all__ = ["diff"]

_SIDE = "What target linux is compared with"


@bundled
def diff(
    files: Annotated[list[str], typer.Argument(metavar="OBJECT", help="Object files (.bpf.o).")],
    workload: WorkloadOptions,
    target: Annotated[
        str | None, one_of(TARGETS, "--target", "Target; axvisor, or linux with another engine or other maps.", _SIDE)
    ] = None,
    engine: Annotated[str, one_of(("auto", "rbpf"), "--engine", "AxVisor's VM, with Linux's helpers.", _SIDE)] = "auto",
    map_library: Annotated[
        str, one_of(("auto", *MAP_LIBRARIES), "--maps", "AxVisor's maps, with Linux's helpers.", _SIDE)
    ] = "auto",
    variables: Variables = None,
    as_json: AsJson = False,
) -> None:
    """Run the same events on target linux and on target axvisor, and show what is not the same, and why.

    Return values, faults and maps are compared. Exit code 0: nothing differs; 1: something does, or one of them refuses
    a program.
    """
    session = Session.open(workload.on, workload.parameters, seed=workload.seed or 0)
    session.load(files, dict(map(variable, variables or [])))
    session.attach()
    programs = [attachment.program for attachment in session.attachments if attachment.link is not None]
    events, given = session.source.given
    with progress(session.source.expected) as told:
        found = session.bench.compare(
            programs, events, target=target, engine=engine, maps=map_library, progress=told, **given
        )
    screen = Screen()
    if as_json:
        screen.json(session.source.json() | _json(found))
    else:
        screen.text(f"{found}\n")
    if not found:
        raise typer.Exit(1)


def _json(found: Comparison) -> dict[str, Any]:
    """Everything, as `axebpf diff --json` prints it."""
    return {
        "sides": list(found.sides),
        "equal": found.equal,
        "events": found.events,
        "first": None if found.first is None else _first(found.first),
        "programs": {
            name: {"runs": list(of.runs), "faults": list(of.faults), "different": of.different}
            for name, of in found.programs.items()
        },
        "maps": {
            name: {
                "entries": list(of.entries),
                "different": of.different,
                "keys": [{"key": plain(key), "values": list(map(plain, both))} for key, both in of.keys.items()],
            }
            for name, of in found.maps.items()
        },
        "unread": list(found.unread),
        "refused": {side: _refusal(refusal) for side, refusal in found.refused.items()},
    }


def _first(first: Difference) -> dict[str, Any]:
    event = first.event
    return {
        "number": first.number,
        "event": None
        if event is None
        else {"name": event.name, "time_ns": event.time_ns, "cpu": event.cpu, "fields": _fields(event.fields)},
        "program": first.program,
        "map": first.map,
        "key": plain(first.key),
        "values": [_value(value) if first.map is None else plain(value) for value in first.values],
        "instruction": first.insn,
        "text": first.text,
        "source": line_json(first.line),
        "reason": None if first.reason is None else finding_json(first.reason),
    }


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event as JSON has them."""
    return {name: plain(value) for name, value in fields.items()}


def _value(value: Any) -> Any:
    """How a run ended; None where there was none."""
    if isinstance(value, ProgramFault):
        return {"fault": value.what, "instruction": value.instruction, "source": line_json(value.source)}
    return None if value is None else {"returned": value}


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {"message": refusal.message, "gap": refusal.gap, "reasons": list(map(finding_json, refusal.reasons))}
