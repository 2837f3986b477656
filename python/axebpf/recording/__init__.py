"""Recordings of a hypervisor: ftrace text and tables, and the rules by which their events become the bench's.

`bench.replay` fires them; `kvm.RULES` is the table for Linux's KVM, `Rule` makes a table of one's own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from axebpf.errors import RecordingError, did_you_mean
from axebpf.recording import kvm
from axebpf.recording.rules import VCPU, VM, Rule, Value, bits, named, place, ranges, since, table

__all__ = [
    "FORMATS",
    "VCPU",
    "VM",
    "Recording",
    "Rule",
    "Value",
    "bits",
    "kvm",
    "named",
    "place",
    "ranges",
    "since",
    "table",
]

FORMATS = ("ftrace", "csv")
"""What a recording may be written as."""

_PIECE = 1 << 18


class Recording:
    r"""Where the bytes of a recording come from, and what they are written as.

    `source` is a path, the bytes, or a file open for reading. `format` is `"ftrace"` or `"csv"`; without it, a name
    that ends with `.csv` or a header that has a column `time_ns` or `time` says `csv`. Raises RecordingError.

    >>> Recording(b"event,time_ns,vm_id\nvmm:vm_destroy,1000,1\n").format
    'csv'
    """

    name: str
    """File name, for messages."""
    format: str
    """`ftrace` or `csv`."""
    again: bool
    """Whether it can be read more than once: bytes and ordinary files can, pipes and tracefs cannot."""

    def __init__(self, source: Any, format: str | None = None) -> None:
        if format is not None and format not in FORMATS:
            near = did_you_mean(format, FORMATS) or f"; the formats are {' and '.join(FORMATS)}"
            raise RecordingError(f"no format {format!r}{near}")
        self._path: str | None = None
        self._data = b""
        self._stream: BinaryIO | None = None
        self._first = b""
        if isinstance(source, (bytes, bytearray, memoryview)):
            self.name, self._data, self.again = "<bytes>", bytes(source), True
        elif isinstance(source, (str, os.PathLike)):
            self._path = self.name = os.fspath(source)
            self.again = self._open()
        elif hasattr(source, "read"):
            self.name, self._stream, self.again = str(getattr(source, "name", "<stream>")), source, False
        else:
            kind = type(source).__name__
            raise RecordingError(f"a recording is a path, bytes or a file open for reading, not {kind}")
        if self._stream is not None:
            self._first = self._read()
        self.format = format or self._guess()

    def _open(self) -> bool:
        """Opens the file; True where it can be opened again with the same contents."""
        try:
            stream = open(self.name, "rb", buffering=0)  # noqa: PTH123, SIM115 (kept open where it can be read once only)
            status = os.fstat(stream.fileno())
            # The files of tracefs say that they are ordinary and empty; reading trace_pipe takes events away.
            if stat.S_ISREG(status.st_mode) and status.st_size:
                with stream:
                    self._first = stream.read(_PIECE)
                return True
        except OSError as error:
            raise RecordingError(f"cannot be read: {error.strerror}", file=self.name) from error
        self._stream = stream
        return False

    def _read(self) -> bytes:
        """The next piece of what can be read only once; empty at the end."""
        assert self._stream is not None
        try:
            # What there is, without waiting for more.
            piece = getattr(self._stream, "read1", self._stream.read)(_PIECE)
        except OSError as error:
            raise RecordingError(f"cannot be read: {error.strerror}", file=self.name) from error
        if isinstance(piece, str):
            return piece.encode("utf-8", "surrogateescape")
        return piece or b""

    def _guess(self) -> str:
        if self.name.lower().endswith(".csv"):
            return "csv"
        first = (self._first or self._data[:_PIECE]).lstrip().split(b"\n", 1)[0].removeprefix(b"\xef\xbb\xbf")
        columns = {cell.strip(b' "\r') for cell in first.split(b",")}
        comment = first.startswith(b"#")
        return "csv" if not comment and len(columns) > 1 and columns & {b"time_ns", b"time"} else "ftrace"

    def pieces(self) -> Iterator[bytes]:
        """The bytes, piece by piece: from the beginning, or what was not read yet of what can be read only once.

        Raises RecordingError.
        """
        if self._path is not None and self.again:
            try:
                with open(self._path, "rb", buffering=0) as stream:  # noqa: PTH123 (pathlib is slow to import)
                    while piece := stream.read(_PIECE):
                        yield piece
            except OSError as error:
                raise RecordingError(f"cannot be read: {error.strerror}", file=self.name) from error
        elif self.again:
            for start in range(0, len(self._data), _PIECE):
                yield self._data[start : start + _PIECE]
        else:
            piece, self._first = self._first, b""
            try:
                while piece:
                    yield piece
                    piece = self._read()
            finally:
                # What was given open stays open.
                if self._path is not None and self._stream is not None:
                    self._stream.close()

    def cpus(self, declared: Any = None) -> int:
        """How many CPUs its events are on: the largest number, and one. Reads it once; raises RecordingError.

        `declared` are the tracepoints whose fields a table may have, as `Bench.define` takes them; AxVisor's if not
        given.
        """
        from axebpf import _native
        from axebpf.tracepoints import BUILTIN

        specs = [_native.TracepointSpec(d.event_name, d.id, d.declaration()) for d in declared or BUILTIN]
        reader = _native.Recording(self.name, specs, [], self.format == "csv", "", 0)
        if not self.again:
            raise RecordingError("this can be read only once, so its CPUs cannot be counted first", file=self.name)
        for piece in self.pieces():
            reader.survey(piece, False)
        reader.survey(b"", True)
        return max(1, int(reader.report()["cpus"]))

    def __repr__(self) -> str:
        return f"<Recording {self.name}, {self.format}>"
