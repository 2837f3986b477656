"""The C header, compiled: offsets and sizes are those of the table, for BPF and for the host."""

import enum
import shutil
import subprocess
from pathlib import Path

import pytest
from axebpf.errors import DeclarationError
from axebpf.tracepoint import Tracepoint, bool_, char, field, i64, u8, u64
from axebpf.tracepoints import BUILTIN, header

TABLE = Path(__file__).parent / "data" / "tracepoints.txt"
COMPILERS = [
    ("clang-14", "-target", "bpf"),
    ("clang-19", "-target", "bpf"),
    ("clang-14",),
    ("gcc", "-std=c11"),
    ("gcc", "-std=gnu17", "-DWITH_LINUX_TYPES"),
    ("gcc", "-std=gnu17", "-DWITH_LINUX_TYPES_BEHIND"),
]
CONTEXT = {
    "tracepoint_id": 0,
    "timestamp_ns": 8,
    "vm_id": 16,
    "vcpu_id": 20,
    "arg0": 24,
    "arg1": 32,
    "arg2": 40,
    "arg3": 48,
    "probe_type": 56,
}
PREAMBLE = """
#ifdef WITH_LINUX_TYPES
#include <linux/types.h>
#endif
#include "vmm.h"
#include "vmm.h"
#ifdef WITH_LINUX_TYPES_BEHIND
#include <linux/types.h>
#endif
#define AT(type, member, offset) _Static_assert(__builtin_offsetof(type, member) == offset, #type "." #member)
#define SIZE(type, size) _Static_assert(sizeof(type) == size, #type)
"""


def asserts() -> str:
    """One assertion for every number of the table, on both structures of each tracepoint."""
    lines = ["SIZE(struct axvisor_trace_context, 64);"]
    lines += [f"AT(struct axvisor_trace_context, {name}, {offset});" for name, offset in CONTEXT.items()]
    for row in TABLE.read_text().splitlines():
        if not row or row.startswith("#"):
            continue
        name, _, size, *fields = row.split()
        plain, raw = f"struct {name.replace(':', '_')}", f"struct trace_event_raw_{name.split(':')[1]}"
        lines += [f"SIZE({plain}, {size});", f"SIZE({raw}, {size});", f"AT({raw}, ent.pid, 4);"]
        common = ("common_type:u16@0", "common_flags:u8@2", "common_preempt_count:u8@3", "common_pid:i32@4")
        for text in (*common, *fields):
            member, kind, offset = text.split("=")[0].replace("@", ":").split(":")
            bits = int(kind[1:])
            minus_one = f"((__typeof__((({plain} *) 0)->{member})) -1 < 0) == {int(kind[0] == 'i')}"
            lines.append(f"AT({plain}, {member}, {offset}); SIZE((({plain} *) 0)->{member}, {bits // 8});")
            lines.append(f'_Static_assert({minus_one}, "sign of {name} {member}");')
            if text in fields:
                lines.append(f"AT({raw}, {member}, {offset});")
    return "\n".join(lines)


def compile_c(directory: Path, source: str, compiler: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    (directory / "test.c").write_text(source)
    command = [
        *compiler,
        "-Wall",
        "-Wextra",
        "-Wno-type-limits",
        "-Werror",
        "-g",
        "-O2",
        "-c",
        "test.c",
        "-o",
        "test.o",
    ]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("compiler", COMPILERS, ids=" ".join)
def test_layouts(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    (tmp_path / "vmm.h").write_text(header(BUILTIN))
    done = compile_c(tmp_path, PREAMBLE + asserts(), compiler)
    assert done.returncode == 0, done.stderr


def test_a_wrong_offset_is_noticed(tmp_path: Path) -> None:
    """The assertions above can fail."""
    (tmp_path / "vmm.h").write_text(header(BUILTIN))
    done = compile_c(tmp_path, PREAMBLE + "AT(struct vmm_vcpu_run_exit, duration_ns, 20);", ("gcc",))
    assert "duration_ns" in done.stderr


PROGRAM = """
__attribute__((section("tracepoint/vmm/vcpu_run_exit"), used))
int on_exit(struct trace_event_raw_vcpu_run_exit *ctx)
{
    btf_trace_vcpu_run_exit declared = 0;
    (void) declared;
    if (ctx->exit_reason == VMM_EXIT_REASON_SEND_IPI && bpf_get_current_vm_id() == 1)
        return bpf_get_exit_reason() + bpf_get_current_vcpu_id();
    return ctx->duration_ns > 5;
}
_Static_assert(VMM_EXIT_REASON_SEND_IPI == 15, "exit reason");
_Static_assert(VMM_VCPU_STATE_BLOCKED == 5, "state");
_Static_assert(VMM_ACCESS_TYPE_EXECUTE == 4, "access");
_Static_assert(VMM_DEVICE_TYPE_GPPT_ITS == 0x22, "device");
"""


@pytest.mark.parametrize("clang", ["clang-14", "clang-19"])
@pytest.mark.parametrize("vmlinux", [False, True], ids=["alone", "behind vmlinux.h"])
def test_a_program(tmp_path: Path, clang: str, vmlinux: bool) -> None:
    (tmp_path / "vmm.h").write_text(header(BUILTIN))
    include = '#include "vmm.h"\n'
    if vmlinux:
        if shutil.which("bpftool") is None or not Path("/sys/kernel/btf/vmlinux").exists():
            pytest.skip("no bpftool, or a kernel without BTF")
        dump = ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"]
        (tmp_path / "vmlinux.h").write_text(subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
        include = '#pragma clang diagnostic push\n#pragma clang diagnostic ignored "-Wall"\n#include "vmlinux.h"\n'
        include += '#pragma clang diagnostic pop\n#include "vmm.h"\n'
    flags = ("-Wno-missing-declarations",) if vmlinux else ()
    done = compile_c(tmp_path, include + PROGRAM, (clang, "-target", "bpf", *flags))
    assert done.returncode == 0, done.stderr


def test_helpers_are_called_by_their_ids(tmp_path: Path) -> None:
    """`call 100` is opcode 0x85 with the id as immediate: clang must have made one of each."""
    (tmp_path / "vmm.h").write_text(header(BUILTIN))
    source = '#include "vmm.h"\n__attribute__((section("t"), used)) int f(void)\n{\n'
    source += "    return bpf_get_current_vm_id() + bpf_get_current_vcpu_id() + bpf_get_exit_reason();\n}\n"
    assert compile_c(tmp_path, source, ("clang-14", "-target", "bpf")).returncode == 0
    code = (tmp_path / "test.o").read_bytes()
    for helper in (100, 101, 102):
        assert bytes([0x85, 0, 0, 0, helper, 0, 0, 0]) in code


class Colour(enum.IntEnum):
    RED = 1
    BLUE = -2


class Everything(Tracepoint, name="own:everything", id=300):
    """Every kind of type; ends a comment early: */"""

    flag: bool_
    comm: char[16]  # type: ignore[valid-type]
    args: u64[3]  # type: ignore[type-arg]
    small: u8
    signed_value: i64
    colour: i64 = field(enum=Colour)


def test_other_types(tmp_path: Path) -> None:
    (tmp_path / "vmm.h").write_text(header([Everything]))
    checks = "AT(struct own_everything, flag, 8); AT(struct own_everything, comm, 9);"
    checks += "AT(struct own_everything, args, 32); AT(struct own_everything, small, 56);"
    checks += "AT(struct own_everything, signed_value, 64); SIZE(struct own_everything, 80);"
    checks += '_Static_assert(OWN_COLOUR_BLUE == -2, "enum"); SIZE(struct trace_event_raw_everything, 80);'
    checks += "\nstatic void take(void *a, _Bool b, const char *c, const __u64 *d, __u8 e, __s64 f, __s64 g) "
    checks += "{ (void) a; (void) b; (void) c; (void) d; (void) e; (void) f; (void) g; }\n"
    checks += "btf_trace_everything pointer = take;\n"
    done = compile_c(tmp_path, PREAMBLE + checks, ("gcc",))
    assert done.returncode == 0, done.stderr


class Pause(Tracepoint, name="vmm:pause", id=301):
    pass


class OtherPause(Tracepoint, name="other:pause", id=302):
    pass


class Ambiguous(Tracepoint, name="vmm_other:pause", id=303):
    pass


class Clash(Tracepoint, name="vmm:other_pause", id=304):
    pass


def test_an_event_of_two_subsystems_is_qualified(tmp_path: Path) -> None:
    text = header([Pause, OtherPause])
    assert "struct trace_event_raw_vmm_pause {" in text
    assert "struct trace_event_raw_other_pause {" in text
    assert "(*btf_trace_other_pause)" in text
    (tmp_path / "vmm.h").write_text(text)
    assert compile_c(tmp_path, PREAMBLE, ("gcc",)).returncode == 0


def test_names_that_meet_in_c_are_refused() -> None:
    with pytest.raises(DeclarationError, match="vmm:other_pause and vmm_other:pause would both be struct"):
        header([Ambiguous, Clash])
    with pytest.raises(DeclarationError, match="vmm:pause and vmm:pause"):
        header([Pause, Pause])


def test_enumerations_that_meet_in_c_are_refused() -> None:
    class ExitReason(enum.IntEnum):
        MINE = 0

    class Own(Tracepoint, name="vmm:own", id=305):
        exit_reason: u8 = field(enum=ExitReason)

    with pytest.raises(DeclarationError, match="vmm:own: two enumerations would be enum vmm_exit_reason"):
        header([*BUILTIN, Own])


def test_the_examples_include_todays_header() -> None:
    from axebpf.examples import example
    from axebpf.tracepoints import BUILTIN, header

    assert example("vmm.h").read_text() == header(BUILTIN), "run: axebpf header > python/axebpf/examples/vmm.h"
