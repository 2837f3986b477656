"""Lines of ftrace text: of the files `trace` and `trace_pipe`, of `trace-cmd report`, of `perf script`.

Format of the kernel's files: `Documentation/trace/ftrace.rst`, "Output format"; the others differ in which columns they
leave out. A line is

    comm-pid   (tgid)  [cpu]  flags  seconds.micros:  event: text

where tgid (option `record-tgid`) and flags may be missing, and AxVisor writes `event(text)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, NamedTuple

__all__ = ["Entry", "Lost", "Skipped", "is_ftrace", "read"]

MAX_LINE = 1 << 16
"""Bytes of a line; the kernel's are shorter than a page. What is longer is passed over."""

_LINE = re.compile(
    r"(?<=[-/ ])(?P<pid>\d{1,10}) +(?:\( *(?P<tgid>\d{1,10}|-+)\) +)?"
    r"\[(?P<cpu>\d{1,6})\] +(?:[^\s:]{4,8} +)?(?P<seconds>\d{1,18})(?:\.(?P<fraction>\d{6}(?:\d{3})?))?: +"
    r"(?P<event>[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?)(?:: *(?P<text>.*)|\((?P<inside>.*)\) *)",
    re.DOTALL | re.ASCII,
)
"""From the number of the thread to the end; before it stand the task's name, which may be anything, and a dash."""
_LOST = re.compile(r".*\[LOST (\d{1,18}) EVENTS?\]")
# What the tools say beside the events.
_ASIDE = re.compile(r"cpus=\d|version = |CPU \d+ is empty|CPU:\d+ \[|trace-cmd: |\s*$")


class Entry(NamedTuple):
    """One event of a recording."""

    line: int
    """Number of the line, from 1."""
    pid: int
    tgid: int | None
    """The process, where the recording has it."""
    cpu: int
    time_ns: int
    event: str
    """The event's name, as written: with or without its subsystem."""
    text: str
    """Its fields as the trace shows them."""


class Lost(NamedTuple):
    """Events that the recorder says it lost."""

    events: int


class Skipped(NamedTuple):
    """A line that is none of ftrace's, or is cut off."""

    line: int
    text: str


def is_ftrace(line: str) -> bool:
    """Whether this may be the first line of such a text.

    >>> is_ftrace("# tracer: nop"), is_ftrace("  qemu-12 [000] d..1. 1.000001: kvm_entry: vcpu 0"), is_ftrace("a,b")
    (True, True, False)
    """
    return line.startswith("#") or bool(_LINE.search(line) or _LOST.match(line) or _ASIDE.match(line))


def _parse(number: int, line: str) -> Entry | Lost | Skipped | None:
    """What a line is; None for comments and what the tools say beside the events.

    >>> _parse(7, " CPU 1/KVM-4242  [003] d..1.   12.000345: kvm_exit: reason HLT rip 0x5")
    Entry(line=7, pid=4242, tgid=None, cpu=3, time_ns=12000345000, event='kvm_exit', text='reason HLT rip 0x5')
    >>> _parse(1, "CPU:2 [LOST 17 EVENTS]")
    Lost(events=17)
    """
    if line.startswith("#"):
        return None
    found = _LINE.search(line)
    if found is None:
        lost = _LOST.match(line)
        if lost is not None:
            return Lost(int(lost[1]))
        return None if _ASIDE.match(line) else Skipped(number, line)
    pid, tgid, cpu, seconds, fraction, event, text, inside = found.groups()
    # Clocks without a point count nanoseconds or something of their own: then these are the times.
    time = int(seconds) if fraction is None else int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
    process = int(tgid) if tgid is not None and tgid[0] != "-" else None
    return Entry(number, int(pid), process, int(cpu), time, event, text if inside is None else inside)


def read(stream: IO[bytes]) -> Iterator[Entry | Lost | Skipped]:
    """Reads lines one by one, whatever their number; bytes that are no UTF-8 become U+FFFD."""
    number = 0
    while data := stream.readline(MAX_LINE):
        number += 1
        whole = data
        while len(data) == MAX_LINE and not data.endswith(b"\n"):
            data = stream.readline(MAX_LINE)
        if data is not whole:
            yield Skipped(number, whole[:100].decode(errors="replace"))
            continue
        entry = _parse(number, whole.rstrip(b"\r\n").decode(errors="replace"))
        if entry is not None:
            yield entry
