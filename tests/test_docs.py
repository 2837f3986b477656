"""What README.md and the pages of docs/ show is run.

- `python` blocks run one after the other, a page in one namespace. Where a line is `print(...)  # text`, the text must
  have been printed by the block; `…` in it stands for anything.
- `console` blocks run line by line, what follows `$ `, in a folder that has `python/axebpf/examples`, a recording
  `trace.txt`, a program `exits.bpf.o` and those blocks before, of any language, that have a title:
  `title="calls.bpf.c"` makes a block that file.
- `c` blocks compile without a warning.
- `py`, `text` and others that say nothing to a reader about running them are only shown.

The tutorial, in which a test fails on purpose, has a test of its own.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from axebpf.examples import example

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page != TUTORIAL)]
RUN, SHOWN = {"python", "console", "c"}, {"py", "text", "toml", "yaml"}

NOT_RUN = {
    "make": "builds the environment that runs this test",
    "source": "enters the environment that runs this test",
    "trace-cmd": "reads a recording in its own binary form",
    "pip": "changes the environment that runs this test",
}
"""Commands that a page may show and that are left out here, with the reason."""

PRINTED = {"README.md": ["vcpu_run_exit: vm_id=1 vcpu_id=0 exit_reason=0 duration_ns=1200", "struct vmm_vm_pause"]}
"""What else a page's Python must have printed."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    where: str
    language: str
    title: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What is typed in a `console` block; a line that ends in a backslash goes on in the next."""
        typed = re.findall(r"^\$ ((?:.*\\\n)*.*)$", self.text, re.MULTILINE)
        return [line for line in typed if shlex.split(line, comments=True)[0] not in NOT_RUN]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; the files that they include as `make docs` does are in them."""
    text = page.read_text()
    found = []
    for fence in re.finditer(r"^```(\w*)([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        title = re.search(r'title="([^"/]+)"', fence[2])
        body = re.sub(r'^--8<-- "(.*)"$', lambda name: (ROOT / name[1]).read_text(), fence[3], flags=re.MULTILINE)
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(f"{page.relative_to(ROOT)}:{line}", fence[1], title[1] if title else "", body))
    return found


def having(what: Callable[[Block], object]) -> pytest.MarkDecorator:
    """Pages with such blocks."""
    pages = [page for page in PAGES if any(what(block) for block in blocks(page))]
    return pytest.mark.parametrize("page", pages, ids=[str(page.relative_to(ROOT)) for page in pages])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like a clone's root, as far as the pages use it, with a recording and a program of the reader's."""
    shutil.copytree(example("vmm.h").parent, tmp_path / "python" / "axebpf" / "examples")
    shutil.copy(example("exits.bpf.o"), tmp_path)
    shutil.copy(ROOT / "tests" / "data" / "recordings" / "guest.trace.txt", tmp_path / "trace.txt")
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_no_block_goes_unseen(page: Path) -> None:
    fences = re.findall(r"^ *```", page.read_text(), re.MULTILINE)
    found = blocks(page)
    assert len(fences) == 2 * len(found), "a block that is indented, or not closed"
    for block in found:
        assert block.language in RUN | SHOWN, block.where
        if block.language == "py":
            compile(block.text, block.where, "exec")
        assert block.language != "console" or "$ " in block.text, f"{block.where}: no command in it"


@having(lambda block: block.language == "python")
def test_python(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "page"}
    printed = ""
    for block in blocks(page):
        if block.language != "python":
            continue
        exec(compile(block.text, block.where, "exec"), names)
        now = capsys.readouterr().out
        for claim in re.findall(r"^ *print\(.*\)  # (.*)$", block.text, re.MULTILINE):
            assert re.search(".*".join(map(re.escape, claim.split("…"))), now), f"{block.where}: {claim}"
        printed += now
    for text in PRINTED.get(str(page.relative_to(ROOT)), []):
        assert text in printed


@having(lambda block: block.commands if block.language == "console" else [])
def test_commands(page: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    shown = blocks(page)
    commands = [shlex.split(line, comments=True)[0] for block in shown for line in block.commands]
    tools = {
        "axebpf": "-c 'from axebpf.cli import main; raise SystemExit(main())'",
        "pytest": "-m pytest",
        "python": "",
    }
    programs = {name: f"{shlex.quote(sys.executable)} {arguments}" for name, arguments in tools.items()}
    if "clang" in commands:
        programs["clang"] = shlex.quote(request.getfixturevalue("clang"))
        if not Path("/usr/include/bpf/bpf_helpers.h").exists():
            pytest.skip("no headers of libbpf (install libbpf-dev)")
    path = folder / "bin"
    path.mkdir()
    for name, command in programs.items():
        (path / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    for block in shown:
        if block.title:
            (folder / block.title).write_text(block.text)
        elif block.language == "console" and block.commands:
            script = "set -e\n" + "\n".join(block.commands)
            ran = subprocess.run(
                ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, f"{block.where}\n{ran.stdout}\n{ran.stderr}"


@having(lambda block: block.language == "c")
def test_c_compiles_without_a_warning(page: Path, folder: Path, clang: str) -> None:
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("no headers of libbpf (install libbpf-dev)")
    head = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
    include = ["-I", "python/axebpf/examples", f"-I/usr/include/{platform.machine()}-linux-gnu"]
    for block in blocks(page):
        if block.language == "c":
            whole = "<linux/bpf.h>" in block.text  # otherwise a part, or a header that is not used here
            text = block.text if whole else head + block.text
            warnings = ["-Wall", "-Werror", *([] if whole else ["-Wno-unused-function"])]
            command = [clang, "-O2", "-g", "-target", "bpf", "-mcpu=v3", *warnings, *include]
            command += ["-x", "c", "-c", "-o", "/dev/null", "-"]
            compiled = subprocess.run(command, input=text, cwd=folder, capture_output=True, text=True, check=False)
            assert compiled.returncode == 0, f"{block.where}\n{compiled.stderr}"
