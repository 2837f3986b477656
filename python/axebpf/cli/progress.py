"""How far a long run has come, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from axebpf.bench import Progress

__all__ = ["progress"]

_MANY = 250_000  # events; a shorter run is over before one could read anything


@contextmanager
def progress(total: int | None = None) -> Iterator[Callable[[Progress], None] | None]:
    """What `bench.run` tells its progress to: events, events a second, and with a `total` the time left.

    It is shown on standard error while the run lasts, where that is a terminal; elsewhere there is nothing to tell.
    """
    if not sys.stderr.isatty():
        yield None
        return
    import time

    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    left = [BarColumn(), TimeRemainingColumn(compact=True)] if total is not None else []
    columns = [SpinnerColumn(), TextColumn("{task.fields[events]} events"), TextColumn("{task.fields[rate]}/s"), *left]
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=total, events="0", rate="-")
    begun = time.monotonic()

    def show(so_far: Progress) -> None:
        if so_far.events < _MANY:
            return
        spent = max(time.monotonic() - begun, 1e-9)
        bar.update(
            task,
            completed=so_far.events,
            events=f"{so_far.events:,}".replace(",", " "),
            rate=f"{so_far.events / spent / 1e6:.2f} M",
        )
        bar.start()  # once is enough, more does no harm

    try:
        yield show
    finally:
        bar.stop()
