"""The conformance vectors through `axebpf exec --engine rbpf`: what is wrong or refused is in the table of gaps.

Ours are in `tests/data/isa`, the classic ones beside the project. A process for each takes long, so that the code of
that process runs all of them in one, and some are run by the command itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from axebpf import AxebpfError, Bench, LoadError, ProgramFault
from axebpf.cli.execute import FAULT, run
from axebpf.portability import GAPS

DATA = Path(__file__).parent / "data" / "isa"

SERVE = """
import contextlib, io, json, sys
from axebpf.cli.execute import child
given = sys.stdin.readlines()
answers = sys.stdout
for program, memory in zip(given[::2], given[1::2]):
    sys.stdin, out, error = io.StringIO(program + memory), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = child()
    print(json.dumps([code, out.getvalue().strip(), error.getvalue().strip()]), file=answers, flush=True)
"""
"""What the process of `axebpf exec --engine rbpf` does, for many; each answer is out before the next one."""


class Vector(NamedTuple):
    """A program, its memory, and r0; none where it must be refused or stopped."""

    name: str
    code: str
    memory: str
    r0: int | None


class Came(NamedTuple):
    """What the process came to: its exit code, r0 in hexadecimal, the error."""

    code: int
    r0: str
    error: str

    def is_right(self, vector: Vector) -> bool:
        return int(self.r0, 16) == vector.r0 if self.code == 0 else vector.r0 is None


def own() -> list[Vector]:
    files = [json.loads(path.read_text())["vectors"] for path in sorted(DATA.glob("*.json"))]
    return [
        Vector(
            vector["name"], vector["code"], vector.get("memory", ""), int(vector["r0"], 16) if "r0" in vector else None
        )
        for vectors in files
        for vector in vectors
    ]


def classic(path: Path) -> list[Vector]:
    vectors = json.loads(path.read_text()).items()
    return [Vector(name, vector["code"], vector["mem"], int(vector["result"], 16)) for name, vector in vectors]


def in_a_process(vectors: Sequence[Vector]) -> list[Came]:
    start = f"import sys; sys.path[:] = {sys.path!r}\n{SERVE}"
    given = "".join(f"{vector.code}\n{vector.memory}\n" for vector in vectors)
    ran = subprocess.run(
        [sys.executable, "-c", start], input=given, capture_output=True, text=True, check=False, timeout=300
    )
    answers = [Came(*json.loads(line)) for line in ran.stdout.splitlines()]
    last = vectors[len(answers)].name if len(answers) < len(vectors) else "the last one"
    assert ran.returncode == 0, f"{last}: the process was ended with {ran.returncode}: {ran.stderr}"
    assert len(answers) == len(vectors)
    return answers


VM = {gap.name: gap.effect for gap in GAPS if gap.part == "vm"}
"""Rows of the table that are about the VM, and what becomes of a program: the command gives Linux's helpers."""


def effects(vector: Vector) -> set[str]:
    """What `Program.portability` says that becomes of it by a row of the table."""
    for engine in ("rbpf", "interpreter"):  # what is wrong on rbpf is loaded by it, what it refuses is right on Linux
        try:
            with Bench(engine=engine, endless=True) as bench:
                report = bench.load_bytes(bytes.fromhex(vector.code), type="mem").portability["axvisor"]
                return {VM[finding.gap] for finding in report.findings if finding.gap in VM}
        except LoadError:
            pass
    return set()


def check(vectors: Sequence[Vector]) -> tuple[int, int]:
    """How many are wrong or stopped, and how many refused."""
    wrong, refused, unexplained = 0, 0, []
    for vector, came in zip(vectors, in_a_process(vectors), strict=True):
        known, is_refused = effects(vector), came.code not in (0, FAULT)
        if came.is_right(vector):
            # By a row it may differ, and it does not with this memory; refused it would be with any.
            if vector.r0 is not None and "refused" in known:
                unexplained.append(f"{vector.name}: right, and the table has it refused")
            continue
        wrong, refused = wrong + (not is_refused), refused + is_refused
        if ("refused" if is_refused else "differs") not in known:
            unexplained.append(f"{vector.name}: {came}, not {vector.r0}; the table has {known}")
    assert unexplained == []
    return wrong, refused


def test_of_our_vectors_those_are_wrong_that_the_table_has_and_no_others() -> None:
    vectors = own()
    assert (len(vectors), check(vectors)) == (596, (79, 63))


def test_of_the_classic_vectors_too(classic_vectors: Path) -> None:
    vectors = classic(classic_vectors)
    assert (len(vectors), check(vectors)) == (225, (31, 28))


def by_the_command(vector: Vector) -> Came:
    try:
        return Came(0, f"{run(vector.code, vector.memory, engine='rbpf'):x}", "")
    except AxebpfError as error:
        return Came(FAULT if isinstance(error, ProgramFault) else 1, "", str(error))


def test_the_command_comes_to_the_same_as_its_process() -> None:
    vectors = own()
    came = in_a_process(vectors)
    for code in (0, 1, FAULT):
        some = [(vector, answer) for vector, answer in zip(vectors, came, strict=True) if answer.code == code]
        assert len(some) > 20
        for vector, answer in some[:: len(some) // 4]:
            assert by_the_command(vector) == answer


def test_an_end_of_the_process_is_noticed() -> None:
    # Nothing of AxVisor's does it here, so something else does.
    vectors = [Vector("good", "9500000000000000", "", 0), Vector("bad", "no hexadecimal", "", 0)]
    with pytest.raises(AssertionError, match="bad: the process was ended with 1"):
        in_a_process(vectors)
