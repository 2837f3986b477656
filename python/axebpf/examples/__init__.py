"""Tracing programs that come with axebpf: C source beside the object that clang made of it.

>>> from axebpf.examples import example
>>> example("exits.bpf.o").name
'exits.bpf.o'
"""

from __future__ import annotations

from pathlib import Path

from axebpf.errors import NotFound, did_you_mean

__all__ = ["example"]

_FOLDER = Path(__file__).parent


def example(name: str) -> Path:
    """The path of an example file. Raises NotFound, which names the nearest one."""
    found = _FOLDER / name
    names = [path.name for path in _FOLDER.iterdir() if path.suffix != ".py"]
    if name not in names:
        raise NotFound(f"no example {name}{did_you_mean(name, names)}")
    return found
