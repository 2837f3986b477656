"""`axebpf doctor`: what works on this machine, and how to get the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from axebpf.cli.console import Column, Screen
from axebpf.toolchain import clangs, compiles_for_bpf

__all__ = ["Finding", "doctor", "findings"]

_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_DEBIAN, _PIP, _AGAIN = "apt install {}", "pip install '{}'", "pip install --force-reinstall axebpf"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    name: str
    found: bool
    detail: str
    """Version and place, or why it is not there."""
    purpose: str
    """What it is for."""
    needed: bool = False
    """Whether axebpf does nothing without it."""
    remedy: str = ""
    """What to type to get it, where it is not there."""


def findings() -> Iterator[Finding]:
    """Looks for everything that axebpf uses, what it cannot do without first."""
    yield Finding("Python", True, f"{platform.python_version()}, {sys.executable}", "runs axebpf", needed=True)
    yield _core()
    yield _target_axvisor()
    for name, purpose in (("numpy", "columns of events, arrays of maps"), ("rich", "the command line")):
        yield _package(name, name, purpose, needed=True)
    yield _package("pyarrow", "axebpf[arrow]", "Arrow tables: to_arrow()")
    yield _package("pytest", "pytest", "tests of your own programs")
    yield _clang()
    yield _header("bpf/bpf_helpers.h", "libbpf-dev", "the headers that programs include")
    yield _header("linux/bpf.h", "linux-libc-dev", "the headers that programs include")
    yield _tool("trace-cmd", "records a real KVM guest for axebpf replay")
    yield _tracefs()
    yield _kvm()


def _core() -> Finding:
    purpose = "runs programs: target linux"
    try:
        from axebpf import Bench, assemble

        with Bench() as bench:
            result = bench.load_bytes(assemble("w0 = 42\nexit"), type="mem").run(b"").r0
    except ImportError as error:
        return Finding("core", False, str(error), purpose, needed=True, remedy=_AGAIN)
    detail = f"axebpf {version('axebpf')}, {platform.system()} {platform.machine()}"
    if result != 42:
        return Finding("core", False, f"{detail}: a program that returns 42 returned {result}", purpose, needed=True)
    return Finding("core", True, detail, purpose, needed=True)


def _target_axvisor() -> Finding:
    name, purpose = "target axvisor", "runs programs as AxVisor does: --target axvisor"
    try:
        from axebpf import AxebpfError, Bench

        with Bench(target="axvisor") as bench:
            return Finding(name, True, f"engine {bench.engine}, maps {bench.map_library}", purpose)
    except (ImportError, AxebpfError) as error:  # a build without it
        return Finding(name, False, str(error), purpose, remedy=_AGAIN)


def _package(name: str, requirement: str, purpose: str, needed: bool = False) -> Finding:
    remedy = _PIP.format(requirement)
    if importlib.util.find_spec(name) is None:
        return Finding(name, False, "not installed", purpose, needed, remedy)
    try:
        return Finding(name, True, version(name), purpose, needed)
    except PackageNotFoundError:
        return Finding(name, True, "of an unknown version", purpose, needed)


def _clang() -> Finding:
    purpose, remedy = "compiles programs", _DEBIAN.format("clang")
    without = ""
    for path in clangs():
        if compiles_for_bpf(path):
            first = _output(path, "--version").partition("\n")[0]
            return Finding("clang", True, f"{first}, {path}", purpose)
        without = f"{path} has no BPF target"
    named = os.environ.get("CLANG")
    absent = f"CLANG is {named}, which is not there" if named else "not found; CLANG may name one"
    return Finding("clang", False, without or absent, purpose, remedy=remedy)


def _output(*command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout


def _header(name: str, package: str, purpose: str) -> Finding:
    for folder in ("/usr/include", "/usr/local/include"):
        if Path(folder, name).is_file():
            return Finding(name, True, folder, purpose)
    return Finding(name, False, "not in /usr/include", purpose, remedy=_DEBIAN.format(package))


def _tool(name: str, purpose: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path is not None, path or "not found", purpose, remedy="" if path else _DEBIAN.format(name))


def _tracefs() -> Finding:
    purpose = "the kernel's own events, for recordings"
    for folder in _TRACEFS:
        if _readable(lambda folder=folder: os.listdir(f"{folder}/events")):  # type: ignore[misc]  # noqa: PTH208
            return Finding("tracefs", True, folder, purpose)
    if platform.system() != "Linux":
        return Finding("tracefs", False, f"there is none on {platform.system()}", purpose)
    if os.geteuid() != 0:
        return Finding("tracefs", False, "may be read by root only", purpose, remedy="sudo")
    return Finding("tracefs", False, "not mounted", purpose, remedy=f"mount -t tracefs tracefs {_TRACEFS[0]}")


def _kvm() -> Finding:
    purpose, device = "a real guest to record", "/dev/kvm"
    if os.access(device, os.R_OK | os.W_OK):
        return Finding("KVM", True, device, purpose)
    if not Path(device).exists():
        return Finding("KVM", False, f"no {device}: no virtualization here, or its module is not loaded", purpose)
    return Finding("KVM", False, f"{device} may not be opened", purpose, remedy="usermod -aG kvm $USER")


def _readable(look: Callable[[], object]) -> bool:
    try:
        return bool(look())
    except OSError:
        return False


def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Look at what works on this machine, and say how to get the rest. Exit code 1 where axebpf itself cannot run."""
    found = list(findings())
    screen = Screen()
    if as_json:
        screen.json([asdict(finding) for finding in found])
    else:
        columns = [Column(""), Column("part", style="bold"), Column("what there is", wrap=True)]
        columns += [Column("for", wrap=True), Column("to get it")]
        screen.table(columns, [(_mark(f), f.name, f.detail, f.purpose, f.remedy) for f in found], indent=0)
    if any(f.needed and not f.found for f in found):
        raise typer.Exit(1)


def _mark(finding: Finding) -> Text:
    if finding.found:
        return Text("ok", "green")
    return Text("missing", "bold red") if finding.needed else Text("-", "yellow")
