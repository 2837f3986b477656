"""`axebpf exec`: the plugin of bpf_conformance, which runs one program on one piece of memory.

The program comes in hexadecimal on standard input, the memory as the argument. r0 goes to standard output in
hexadecimal digits, lower case and without a prefix, as the plugins of that suite print it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from axebpf.bench import ENGINES, Bench
from axebpf.errors import AxebpfError, LoadError

__all__ = ["HELP", "main", "run"]

HELP = "Runs a program given in hexadecimal on standard input, and prints r0: a bpf_conformance plugin."


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="axebpf exec", description=HELP)
    parser.add_argument("--engine", choices=("auto", *ENGINES), default="auto", help="what runs the program")
    parser.add_argument(
        "memory", nargs="?", default="", metavar="MEMORY_HEX", help="memory: r1 points to it, r2 is its length"
    )
    parser.epilog = "Exit codes: 0 r0 was printed, 1 the program was refused or stopped, 2 usage."
    given = parser.parse_args(arguments)
    try:
        print(f"{run(sys.stdin.read(), given.memory, engine=given.engine):x}")
    except AxebpfError as error:
        print(f"axebpf exec: {error}", file=sys.stderr)
        return 1
    return 0


def run(program: str, memory: str = "", *, engine: str = "auto") -> int:
    """r0 of a program, both given in hexadecimal. Raises LoadError, ProgramFault.

    >>> run("b7 00 00 00 2a 00 00 00  95 00 00 00 00 00 00 00")
    42
    """
    code, data = _bytes(program, "the program on standard input"), _bytes(memory, "the memory")
    with Bench(engine=engine, cpus=1) as bench:
        return bench.load_bytes(code, type="mem").run(data).r0


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
