"""`bpf_object`: C beside the test, compiled by clang where something that it depends on has changed.

Objects are kept in pytest's cache, each with digests of the source and of all headers that it included. Flags and
compiler are part of the place that an object has there. `pytest --cache-clear` forgets them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from axebpf.errors import AxebpfError
from axebpf.toolchain import clangs, compiles_for_bpf
from axebpf.tracepoints import BUILTIN
from axebpf.tracepoints.header import header

__all__ = ["ObjectError", "ObjectFactory"]

SOURCE, OBJECT = ".bpf.c", ".bpf.o"

FLAGS = ("-O2", "-g", "-target", "bpf")

INSTALL = (
    "apt install clang libbpf-dev (Debian, Ubuntu), dnf install clang libbpf-devel (Fedora), "
    "or name a clang in the environment variable CLANG"
)

PACKAGES = {"bpf/": "libbpf-dev (Fedora: libbpf-devel)", "linux/": "linux-libc-dev (Fedora: kernel-headers)"}
"""Where the headers come from that a tracing program includes, by their folder."""


class ObjectError(AxebpfError):
    """No object of that name, no compiler for it, or an error that the compiler found.

    >>> print(ObjectError("there is no exits.bpf.c"))
    there is no exits.bpf.c
    """


class ObjectFactory:
    """The fixture `bpf_object`: gives the path of an object by the name of its source, or by its own.

    Names begin in `folder`, that of the test module; objects are kept in `cache`.
    """

    def __init__(self, folder: Path, cache: Path, config: pytest.Config) -> None:
        self._folder, self._cache, self._config = folder, cache, config

    def __repr__(self) -> str:
        return f"<bpf_object of {self._folder}>"

    def __call__(self, name: str | os.PathLike[str], *flags: str) -> Path:
        """The path of the object. `flags` go to the compiler behind its own.

        Fails the test, with the compiler's message and without a traceback, where there can be none.
        """
        try:
            return self._find(self._folder / name, flags)
        except ObjectError as error:
            refused = str(error)
        pytest.fail(refused, pytrace=False)

    def _find(self, path: Path, flags: tuple[str, ...]) -> Path:
        if not path.name.endswith((SOURCE, OBJECT)):
            raise ObjectError(f"{path.name}: expected the name of a source, *{SOURCE}, or of an object, *{OBJECT}")
        if not path.is_file():
            source = path.with_name(path.name.removesuffix(OBJECT) + SOURCE)
            hint = f"; bpf_object({source.name!r}) compiles the source" if source.is_file() else ""
            raise ObjectError(f"there is no {path.name} in {path.parent}{hint}")
        if path.name.endswith(OBJECT):
            if flags:
                raise ObjectError(f"{path.name} is compiled already: {' '.join(flags)} can only go with its source")
            return path
        # Sources do not change during a run.
        made = self._config.stash.setdefault(_MADE, {})
        if (path, flags) not in made:
            made[path, flags] = self._make(path, flags)
        return made[path, flags]

    def _make(self, source: Path, flags: tuple[str, ...]) -> Path:
        # Compiled from there and by this name, it has in errors, faults and failing tests the name that the user knows.
        root = self._config.rootpath if source.is_relative_to(self._config.rootpath) else source.parent
        name = str(source.relative_to(root))
        command = [*FLAGS, *_includes(self._cache), *flags, f"-fdebug-prefix-map={root}=.", name]
        for compiler in clangs():
            kept = _Kept(self._cache, compiler, root, name, command)
            if kept.is_current():
                return kept.object
        without = []
        for compiler in clangs():
            if compiles_for_bpf(compiler):
                return _Kept(self._cache, compiler, root, name, command).make()
            without.append(compiler)
        why = f"{' and '.join(without)} cannot compile for BPF" if without else "there is no clang"
        if not without and os.environ.get("CLANG"):
            why = f"CLANG names {os.environ['CLANG']}, which there is not"
        return _object_beside(source, why=why)


_MADE: pytest.StashKey[dict[tuple[Path, tuple[str, ...]], Path]] = pytest.StashKey()
"""Objects of this run by source and flags."""


def _object_beside(source: Path, *, why: str) -> Path:
    """The object beside a source that cannot be compiled, unless it is older."""
    beside = source.with_name(source.name.removesuffix(SOURCE) + OBJECT)
    if not beside.is_file():
        raise ObjectError(f"{source.name} must be compiled, and {why}: {INSTALL}")
    if beside.stat().st_mtime_ns < source.stat().st_mtime_ns:
        raise ObjectError(f"{beside.name} is older than {source.name}, which cannot be compiled: {why}: {INSTALL}")
    return beside


def _includes(cache: Path) -> list[str]:
    """Flags that find `vmm.h`, as `axebpf header` writes it, and the headers of the machine."""
    generated = cache / "include" / "vmm.h"
    text = header(BUILTIN)
    if not generated.is_file() or generated.read_text() != text:
        _write(generated, text)
    # Debian's asm/types.h is where clang does not look for another machine's.
    machine = Path(f"/usr/include/{platform.machine()}-linux-gnu")
    return ["-idirafter", str(generated.parent), *(["-idirafter", str(machine)] if machine.is_dir() else [])]


def _write(path: Path, text: str) -> None:
    """Writes a file at once: another process of the same run (pytest-xdist) may be about to read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


class _Kept:
    """The place of an object in the cache, for one compiler and its flags."""

    def __init__(self, cache: Path, compiler: str, root: Path, name: str, command: list[str]) -> None:
        self._compiler, self._root, self._name, self._command = compiler, root, name, command
        state = Path(compiler).stat()  # of the compiler itself, not of a link to it
        about = [compiler, str(state.st_size), str(state.st_mtime_ns), str(root), *command]
        folder = cache / hashlib.sha256("\0".join(about).encode()).hexdigest()[:32]
        self.object = folder / (Path(name).name.removesuffix(SOURCE) + OBJECT)
        """The object's path, whether it is there or not."""
        self._inputs = folder / "inputs.json"

    def is_current(self) -> bool:
        """Whether the object is there, and everything that it was made of is what it was."""
        try:
            inputs = json.loads(self._inputs.read_text())
        except (OSError, ValueError):
            return False
        return self.object.is_file() and bool(inputs == self._digests(list(inputs["files"])))

    def make(self) -> Path:
        """Compiles. Raises ObjectError with what the compiler says."""
        folder = self.object.parent
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            fresh, rule = Path(work) / self.object.name, Path(work) / "rule"
            command = [self._compiler, *self._command, "-c", "-o", str(fresh), "-MD", "-MF", str(rule)]
            ran = subprocess.run(command, cwd=self._root, capture_output=True, text=True, errors="replace", check=False)
            if ran.returncode != 0:
                missing = re.search(r"fatal error: '((?:bpf|linux)/)[^']*' file not found", ran.stderr)
                hint = f"\n<{missing[1]}...> is in the package {PACKAGES[missing[1]]}" if missing else ""
                raise ObjectError(f"{self._name} does not compile:\n{ran.stderr.rstrip()}{hint}")
            inputs = self._digests(_prerequisites(rule.read_text()))
            folder.mkdir(exist_ok=True)
            fresh.replace(self.object)
        _write(self._inputs, json.dumps(inputs))
        return self.object

    def _digests(self, names: list[str]) -> dict[str, object]:
        """What the object depends on: files by digest, and which headers lie beside the source.

        A header that is new there may come before one of the same name elsewhere.
        """
        paths = {name: self._root / name for name in names}
        return {
            "files": {n: hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for n, p in paths.items()},
            "headers": sorted(path.name for path in (self._root / self._name).parent.glob("*.h")),
        }


def _prerequisites(rule: str) -> list[str]:
    r"""The files that a rule for make names: clang writes a blank as `\ `, `#` as `\#`, `$` as `$$`.

    >>> _prerequisites("a.o: a.c \\\n  my\\ files/b.h")
    ['a.c', 'my files/b.h']
    """
    names = re.split(r"(?<!\\)\s+", rule.replace("\\\n", " ").partition(": ")[2].strip())
    return [re.sub(r"\\([ #])", r"\1", name).replace("$$", "$") for name in names]
