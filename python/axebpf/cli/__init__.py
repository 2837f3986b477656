"""The command `axebpf`.

This file imports next to nothing, because `axebpf exec` is started once for each vector of a conformance run: the
other commands, and typer and rich with them, are in `axebpf.cli.app`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code, which `axebpf --help` explains."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character of ours shows another one, and is no reason to fail.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    # Whoever reads our output may stop early (`axebpf list | head`): then end quietly, as other tools do.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        if arguments[:1] == ["exec"]:
            from axebpf.cli import execute

            return execute.main(arguments[1:])
        from axebpf.cli.app import app

        app(arguments, prog_name="axebpf")
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # What goes wrong with files and maps is reported where it happens: this is the output itself.
        print(f"axebpf: standard output: {error.strerror}", file=sys.stderr)
        # The interpreter flushes once more at its end, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
