"""The commands, their exit codes, and what becomes of errors."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from axebpf.cli import check, execute
from axebpf.cli.demo import demo
from axebpf.cli.doctor import doctor
from axebpf.cli.dump import dump
from axebpf.cli.replay import replay
from axebpf.cli.run import run
from axebpf.cli.stat import stat
from axebpf.cli.symbols import symbols
from axebpf.cli.trace import trace
from axebpf.cli.tracepoints import format_file, header_file, list_tracepoints
from axebpf.errors import AxebpfError

__all__ = ["app"]

EXIT_CODES = "Exit codes: 0 done, 1 refused or stopped (standard error says why), 2 usage, 130 ended with Ctrl-C."


class _Commands(TyperGroup):
    """Turns what axebpf raises on purpose into one message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AxebpfError as error:
            print(f"axebpf: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    help="The test bench for eBPF tracing of a hypervisor.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"axebpf {version('axebpf')}")
        raise typer.Exit


@app.callback()
def options(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """The options of `axebpf` itself."""


app.command("demo", epilog=EXIT_CODES)(demo)
app.command("run", epilog=EXIT_CODES)(run)
app.command("replay", epilog=EXIT_CODES)(replay)
app.command("stat", epilog=EXIT_CODES)(stat)
app.command("trace", epilog=EXIT_CODES)(trace)
app.command("list", epilog=EXIT_CODES)(list_tracepoints)
app.command("format", epilog=EXIT_CODES)(format_file)
app.command("header", epilog=EXIT_CODES)(header_file)
app.command("dump", epilog=EXIT_CODES)(dump)
app.command("check", help=check.HELP, epilog=check.EXIT_CODES)(check.check)
app.command("doctor", epilog=EXIT_CODES)(doctor)
app.command("symbols", epilog=EXIT_CODES)(symbols)


@app.command(
    "exec",
    help=execute.HELP,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def execute_program(context: typer.Context) -> None:
    """What `axebpf.cli.main` does without coming here; so that the list of commands has it."""
    raise typer.Exit(execute.main(context.args))
