"""Fixtures that find the oracles: what can say from outside whether axebpf is right.

A test that needs an oracle takes its fixture, and is skipped with a reason where the oracle is absent.
"""

import ctypes
import errno
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

# A run in the background of a shell inherits an ignored SIGINT, and Python then installs no handler.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def types(compile_bpf: Callable[..., Path]) -> Path:
    """The object whose maps have keys and values of every sort of type."""
    return compile_bpf("types", (ROOT / "tests" / "data" / "types.c").read_text())


@pytest.fixture(scope="session")
def clang() -> str:
    """Path of a clang that compiles for BPF; the environment variable CLANG names another than the first found."""
    for name in filter(None, (os.environ.get("CLANG"), "clang", "clang-19", "clang-14")):
        path = shutil.which(name)
        if path is None:
            continue
        targets = subprocess.run([path, "--print-targets"], capture_output=True, text=True, check=False).stdout
        if any(line.split()[:1] == ["bpfel"] for line in targets.splitlines()):
            return path
    pytest.skip("no clang with the BPF target (install clang, or name it in CLANG)")


class Ran(NamedTuple):
    """What a command of the command line came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ran]]:
    """Runs `axebpf ARGUMENTS` in this process; standard output is no terminal."""
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    from axebpf.cli import main

    def cli(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    broken_pipe = signal.getsignal(signal.SIGPIPE)
    yield cli
    signal.signal(signal.SIGPIPE, broken_pipe)


@pytest.fixture(scope="session")
def compile_bpf(clang: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles C (a name, the text behind the usual head, a target) for BPF and gives the path of the object."""
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("no headers of libbpf (install libbpf-dev)")
    folder = tmp_path_factory.mktemp("objects")
    head = '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nchar LICENSE[] SEC("license") = "GPL";\n'

    def compile_bpf(name: str, text: str, target: str = "bpf") -> Path:
        source, out = folder / f"{name}.bpf.c", folder / f"{name}.bpf.o"
        source.write_text(head + text)
        include = f"/usr/include/{platform.machine()}-linux-gnu"
        flags = ["-O2", "-g", "-target", target, "-mcpu=v3", "-idirafter", include]
        subprocess.run([clang, *flags, "-c", source.name, "-o", out.name], cwd=folder, check=True)
        return out

    return compile_bpf


@pytest.fixture(scope="session")
def root_bpf() -> str:
    """Release of the running kernel, where bpf(2) lets this process load programs; a test may pin itself to it."""
    system, machine = platform.system(), platform.machine()
    call_numbers = {"x86_64": 321, "aarch64": 280}
    if system != "Linux" or machine not in call_numbers:
        pytest.skip(f"asks the Linux kernel on x86-64 or arm64, this is {system} on {machine}")
    reason = _why_no_bpf(call_numbers[machine])
    if reason is not None:
        pytest.skip(f"bpf(2) is not to be had here: {reason}")
    return platform.release()


def _why_no_bpf(call_number: int) -> str | None:
    """Create a queue map, which unlike an array needs the privilege that programs need."""
    map_create, queue = 0, 22
    attributes = (ctypes.c_uint32 * 4)(queue, 0, 8, 1)  # type, key size, value size, entries
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(call_number, map_create, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if fd < 0:
        code = ctypes.get_errno()
        return f"{errno.errorcode.get(code, code)}: {os.strerror(code)}"
    os.close(fd)
    return None


@pytest.fixture(scope="session")
def classic_vectors() -> Path:
    """The instruction vectors that are kept beside the project and not committed with it.

    The environment variable AXEBPF_SHARED names their folder's parent; without it, `shared` beside the checkout.
    """
    shared = Path(os.environ.get("AXEBPF_SHARED", ROOT.parent / "shared"))
    vectors = shared / "conformance" / "classic.json"
    if not vectors.is_file():
        pytest.skip(f"no conformance/classic.json in {shared} (AXEBPF_SHARED names another folder)")
    return vectors
