r"""Programs on tracepoints by number and name, one a tracepoint, as the seed has them, on the default bench.

Beside these, `Program.attach` attaches any number of programs to a tracepoint and gives a `Link` for each; neither
sees what the other has attached. An attached program runs at each event.

>>> import axebpf
>>> from axebpf import attach, runtime
>>> bench = axebpf.init()
>>> number = runtime.load_program(runtime.EbpfProgram(axebpf.assemble("r0 = 0\nexit"), "nothing"))
>>> attach.attach("vmm:vm_boot", number)
>>> bench.tracepoints["vmm:vm_boot"].fire(vm_id=1, duration_ns=20_000)
>>> bench.programs["nothing"].stats.runs
1
>>> attach.detach("vmm:vm_boot") == number
True
>>> bench.close()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from axebpf._default import default_bench, kept
from axebpf.errors import AttachError, NotFound
from axebpf.runtime import _loaded

if TYPE_CHECKING:
    from axebpf.bench import Link

__all__ = ["AttachmentInfo", "attach", "attachment_count", "detach", "get_attached", "list_attachments"]


class AttachmentInfo(NamedTuple):
    """A program on a tracepoint."""

    tracepoint: str
    """`subsystem:event`."""
    prog_id: int
    """Number of the program."""
    prog_name: str
    """Its name."""


def attach(tracepoint: str, prog_id: int) -> None:
    """Runs a loaded program at each event of a tracepoint.

    Raises AttachError where there is no such program, a program is attached there by this function, or the program's
    type or context does not suit; NotFound and InvalidName for a tracepoint that there is not.
    """
    links, name = _attached(tracepoint)
    try:
        program = _loaded(prog_id)
    except NotFound as error:
        raise AttachError(str(error), target=name) from None
    if name in links:
        there = links[name].program
        raise AttachError(
            f"{there.name} (program {there.id}) is attached already; detach it first, or use Program.attach",
            program=program.name,
            target=name,
        )
    links[name] = program.attach(name)


def detach(tracepoint: str) -> int:
    """Detaches what `attach` has attached there, from the next event on, and gives its number.

    Raises AttachError where that is nothing; NotFound and InvalidName for a tracepoint that there is not.
    """
    links, name = _attached(tracepoint)
    if name not in links:
        raise AttachError("no program is attached by attach()", target=name)
    link = links.pop(name)
    link.detach()
    return link.program.id


def get_attached(tracepoint: str) -> int | None:
    """Number of the program that `attach` has attached there. Raises NotFound, InvalidName."""
    links, name = _attached(tracepoint)
    return links[name].program.id if name in links else None


def list_attachments() -> list[AttachmentInfo]:
    """What `attach` has attached, by tracepoint."""
    return [AttachmentInfo(name, link.program.id, link.program.name) for name, link in sorted(_live().items())]


def attachment_count() -> int:
    """How many those are."""
    return len(_live())


def _links() -> dict[str, Link]:
    return {}


def _live() -> dict[str, Link]:
    """Links by tracepoint, without those that unloading a program has ended."""
    links = kept(_links)
    for name in [name for name, link in links.items() if not link.attached]:
        del links[name]
    return links


def _attached(tracepoint: str) -> tuple[dict[str, Link], str]:
    """Those, and the name of a tracepoint that exists."""
    return _live(), default_bench().tracepoints[tracepoint].name
