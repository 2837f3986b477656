"""Tracing programs that come with axebpf: C source beside the object that clang made of it.

>>> from axebpf.examples import example
>>> example("exits.bpf.o").name
'exits.bpf.o'
"""

from __future__ import annotations

from pathlib import Path

from axebpf.errors import NotFound, did_you_mean

__all__ = ["available", "example"]

_FOLDER = Path(__file__).parent


def example(name: str) -> Path:
    """The path of an example file. Raises NotFound, which names the nearest one."""
    names = _names()
    if name not in names:
        raise NotFound(f"no example {name}{did_you_mean(name, names)}")
    return _FOLDER / name


def available() -> list[str]:
    """Names of all objects, sorted.

    >>> "exits.bpf.o" in available()
    True
    """
    return [name for name in _names() if name.endswith(".bpf.o")]


def _names() -> list[str]:
    return sorted(path.name for path in _FOLDER.iterdir() if path.is_file() and path.suffix != ".py")
