"""Object files as the command line takes them."""

from __future__ import annotations

from pathlib import Path

from axebpf import _native
from axebpf.errors import LoadError

__all__ = ["read_object"]


def read_object(file: str) -> _native.Object:
    """What is in an object file. Raises LoadError."""
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise LoadError(f"cannot be read: {error.strerror}", file=file) from error
    return _native.Object(data, file)
