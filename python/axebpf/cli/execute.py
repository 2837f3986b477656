"""`axebpf exec`: the plugin of bpf_conformance, which runs one program on one piece of memory.

The program comes in hexadecimal on standard input, the memory as the argument. r0 goes to standard output in
hexadecimal digits, lower case and without a prefix, as the plugins of that suite print it.

Nothing stops the engine rbpf once it runs, so it runs in a process of its own, which a time limit ends.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from axebpf.bench import ENGINES, Bench
from axebpf.errors import AxebpfError, LoadError, ProgramFault

__all__ = ["HELP", "main", "run"]

LIMIT = 10.0
"""Seconds that a program may run on the engine rbpf."""

FAULT = 3
"""Exit code of the process that runs rbpf, where the program was stopped."""

HELP = "Runs a program given in hexadecimal on standard input, and prints r0: a bpf_conformance plugin."


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="axebpf exec", description=HELP)
    parser.add_argument(
        "--engine", choices=("auto", *ENGINES), default="auto", help="what runs the program (%(default)s)"
    )
    parser.add_argument(
        "--limit", type=_seconds, default=LIMIT, metavar="SECONDS", help="time for the engine rbpf (%(default)g)"
    )
    parser.add_argument(
        "memory", nargs="?", default="", metavar="MEMORY_HEX", help="memory: r1 points to it, r2 is its length"
    )
    parser.epilog = (
        "The instructions of a section of an object in hexadecimal, for a program without maps: llvm-objcopy -O binary "
        "--only-section=SECTION prog.bpf.o prog.bin && xxd -p prog.bin. "
        "Exit codes: 0 r0 was printed, 1 the program was refused or stopped, 2 usage."
    )
    given = parser.parse_args(arguments)
    try:
        print(f"{run(sys.stdin.read(), given.memory, engine=given.engine, limit=given.limit):x}")
    except AxebpfError as error:
        print(f"axebpf exec: {error}", file=sys.stderr)
        return 1
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:  # what a wait can take
        raise ValueError(text)
    return seconds


def run(program: str, memory: str = "", *, engine: str = "auto", limit: float = LIMIT) -> int:
    """r0 of a program, both given in hexadecimal. Raises LoadError, ProgramFault.

    On the engine rbpf it may run for `limit` seconds.

    >>> run("b7 00 00 00 2a 00 00 00  95 00 00 00 00 00 00 00")
    42
    """
    code, data = _bytes(program, "the program on standard input"), _bytes(memory, "the memory")
    if engine == "rbpf":
        return _in_a_process(code, data, limit)
    with Bench(engine=engine, cpus=1) as bench:
        return bench.load_bytes(code, type="mem").run(data).r0


def _in_a_process(code: bytes, data: bytes, limit: float) -> int:
    import subprocess

    start = f"import sys; sys.path[:] = {sys.path!r}; from axebpf.cli.execute import child; sys.exit(child())"
    given = f"{code.hex()}\n{data.hex()}\n"
    try:
        ran = subprocess.run(
            [sys.executable, "-c", start], input=given, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise ProgramFault(f"it ran longer than {limit:g} s on the engine rbpf; an endless loop?") from None
    message = ran.stderr.strip()
    if ran.returncode == 0:
        return int(ran.stdout, 16)
    if ran.returncode == FAULT:
        raise ProgramFault(message)
    if ran.returncode < 0:
        message = f"the process that ran rbpf was ended by signal {-ran.returncode}"
    raise LoadError(message)


def child() -> int:
    """What the process does that runs rbpf: program and memory come in two lines of hexadecimal."""
    code, data = (bytes.fromhex(line) for line in sys.stdin.read().splitlines())
    try:
        with Bench(engine="rbpf", cpus=1, endless=True) as bench:
            print(f"{bench.load_bytes(code, type='mem').run(data).r0:x}")
    except AxebpfError as error:
        print(error, file=sys.stderr)
        return FAULT if isinstance(error, ProgramFault) else 1
    return 0


def _bytes(text: str, what: str) -> bytes:
    digits = "".join(text.split())
    try:
        return bytes.fromhex(digits)
    except ValueError:
        pass
    for place, digit in enumerate(digits):
        if digit not in "0123456789abcdefABCDEF":
            raise LoadError(f"{what} is no hexadecimal: {digit!r} is digit {place + 1}")
    raise LoadError(f"{what} has {len(digits)} hexadecimal digits; two make a byte")
