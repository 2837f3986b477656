"""Declaring tracepoints: what a class body may say, and what is refused with which advice."""

from __future__ import annotations

import enum
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar

import axebpf.tracepoint as tp
import pytest
from axebpf.errors import DeclarationError, InvalidName, TracepointError
from axebpf.tracepoint import Tracepoint, bool_, char, field, i32, parse_type, u8, u16, u32, u64


class Reason(enum.IntEnum):
    GOOD = 0


class Sample(Tracepoint, name="own:sample", id=1000):
    """First line.

    Second paragraph.
    """

    limit: ClassVar[int] = 5
    vm_id: u32
    reason: u16 = field(enum=Reason, label="why")
    flag: bool_
    comm: char[16]  # type: ignore[valid-type]
    args: Annotated[Any, u64[4]]  # type: ignore[type-arg]
    delta: tp.i64 = field(unit="ns", hex=True)
    duration_ns: u64 = field(unit="ns", role="duration", scale=1000, suffix="us")


def test_class_attributes() -> None:
    assert (Sample.event_name, Sample.subsystem, Sample.event, Sample.id) == ("own:sample", "own", "sample", 1000)
    assert Sample.doc == "First line.\n\nSecond paragraph."
    assert Sample.limit == 5


def test_declaration_is_what_the_core_is_told() -> None:
    plain = {"hex": False, "label": None, "scale": 1, "suffix": ""}
    assert Sample.declaration() == [
        ("vm_id", "u32", plain, ""),
        ("reason", "u16", plain | {"label": "why"}, ""),
        ("flag", "bool", plain, ""),
        ("comm", "char[16]", plain, ""),
        ("args", "u64[4]", plain, ""),
        ("delta", "i64", plain | {"hex": True}, ""),
        ("duration_ns", "u64", plain | {"scale": 1000, "suffix": "us"}, "duration"),
    ]


def test_fields_keep_meaning_and_unit() -> None:
    by_name = {f.name: f for f in Sample.fields}
    assert by_name["reason"].enum is Reason
    assert by_name["duration_ns"].unit == "ns"
    assert not hasattr(Sample, "reason"), "a field leaves nothing in the class that could be taken for a value"


def test_types_that_were_imported_in_a_function() -> None:
    import axebpf.tracepoint as local
    from axebpf.tracepoint import i16 as i16

    class Local(Tracepoint, name="own:local", id=1001):
        a: local.u32
        b: i16
        c: local.u64[2]  # type: ignore[type-arg]
        d: local.bool_

    assert [f.type.text for f in Local.fields] == ["u32", "i16", "u64[2]", "bool"]


def test_annotations_that_are_objects() -> None:
    """A module without `from __future__ import annotations` has the types themselves."""
    source = """
    from axebpf.tracepoint import Tracepoint, u32, u64, char, field
    class Eager(Tracepoint, name="own:eager", id=1002):
        vm_id: u32
        comm: char[8]
        duration_ns: u64 = field(role="duration")
    """
    module = ModuleType("eager_declarations")
    sys.modules[module.__name__] = module
    try:
        exec(compile(textwrap.dedent(source), "eager", "exec", dont_inherit=True), vars(module))
    finally:
        del sys.modules[module.__name__]
    assert [f.type.text for f in module.Eager.fields] == ["u32", "char[8]", "u64"]


def test_a_tracepoint_without_fields() -> None:
    class Bare(Tracepoint, name="own:bare", id=1003):
        pass

    assert Bare.fields == ()
    assert Bare.doc == ""


@pytest.mark.parametrize("name", ["", "vmm", "vmm:", ":event", "vmm:a:b", "vmm: a", "vmm:a-b", "1vmm:a", "vmm:é"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidName, match=r"Bad: the name '.*' is not subsystem:event"):

        class Bad(Tracepoint, name=name, id=1):
            pass


@pytest.mark.parametrize("id", [0, -1, 65536, True, "7", 1.5])
def test_bad_ids(id: Any) -> None:
    with pytest.raises(DeclarationError, match=r"own:bad: the id is .*; it must be 1 to 65535"):

        class Bad(Tracepoint, name="own:bad", id=id):
            pass


def body(**annotations: Any) -> dict[str, Any]:
    return {"__annotations__": annotations, "__module__": __name__}


def declare(namespace: dict[str, Any]) -> Any:
    return type("Bad", (Tracepoint,), namespace, name="own:bad", id=1004)


UNKNOWN_TYPES = [
    ("uint32", r"x has the unknown type uint32; did you mean u32\?"),
    ("u23", r"unknown type u23; did you mean u32\?"),
    (int, r"unknown type int; did you mean u64 or i64\?"),
    ("int", r"unknown type int; did you mean u64 or i64\?"),
    (bool, r"unknown type bool; did you mean bool_\?"),
    (str, r"unknown type str; did you mean char\[16\]\?"),
    ("float", r"unknown type float; did you mean u64 \(records have no floats\)\?"),
    ("list[int]", r"unknown type list\[int\]"),
    ("u32 +", r"unknown type u32 \+"),
    ("char", r"x is a char without a length; did you mean char\[16\] or u8\?"),
    (char, r"char without a length"),
]


@pytest.mark.parametrize(("kind", "message"), UNKNOWN_TYPES)
def test_unknown_types(kind: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match="own:bad: .*" + message):
        declare(body(x=kind))


@pytest.mark.parametrize("count", [0, -1, 4097, 1.5, True, "4"])
def test_bad_lengths(count: Any) -> None:
    with pytest.raises(DeclarationError, match="the length of an array is 1 to 4096"):
        _ = char[count]


def test_no_arrays_of_arrays_or_bools() -> None:
    with pytest.raises(DeclarationError, match=r"no arrays of u64\[4\]"):
        _ = u64[4][4]  # type: ignore[type-arg]
    with pytest.raises(DeclarationError, match="no arrays of bool"):
        _ = bool_[4]  # type: ignore[type-arg]


def test_lengths_in_strings_are_checked_too() -> None:
    with pytest.raises(DeclarationError, match="the length of an array is 1 to 4096"):
        declare(body(x="char[5000]"))


FIELD_NAMES = [
    ("time_ns", r"no field may be called time_ns.*event_time_ns\?"),
    ("cpu", r"no field may be called cpu"),
    ("ent", r"no field may be called ent"),
    ("common_pid", r"common_\* are the header's fields; did you mean pid\?"),
    ("int", r"int cannot be the name of a field in C; did you mean int_value\?"),
    ("_x", r"_x cannot be the name of a field in C; did you mean x_value\?"),
    ("naïve", r"cannot be the name of a field in C"),
]


@pytest.mark.parametrize(("name", "message"), FIELD_NAMES)
def test_names_that_no_field_may_have(name: str, message: str) -> None:
    with pytest.raises(DeclarationError, match="own:bad: .*" + message):
        declare(body(**{name: u32}))


OPTIONS: list[tuple[Any, dict[str, Any], str]] = [
    (u32, {"enum": int}, "enum=<class 'int'> is no IntEnum or IntFlag"),
    (u32, {"enum": enum.Enum}, "is no IntEnum or IntFlag"),
    (u32, {"role": "time"}, "role='time'; the one role is 'duration'"),
    (u32, {"scale": 0}, "scale=0; it must be a whole number from 1"),
    (u32, {"scale": 0.5}, "scale=0.5"),
    (char[16], {"hex": True}, r"for single integers, not for char\[16\]"),
    (u64[4], {"role": "duration"}, r"not for u64\[4\]"),  # type: ignore[type-arg]
    (bool_, {"enum": Reason}, "not for bool"),
    (char[16], {"scale": 2}, "not for char"),
    (i32, {"role": "duration"}, r"a duration is unsigned; did you mean u64\?"),
    (u32, {"label": "100%"}, "label='100%' must be ASCII without quotes, backslash and percent"),
    (u32, {"suffix": '"'}, "suffix="),
    (u32, {"unit": "µs"}, "unit="),
    (u32, {"label": "a\nb"}, "label="),
]


@pytest.mark.parametrize(("kind", "options", "message"), OPTIONS)
def test_options_that_do_not_fit(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match="own:bad: x: .*" + message):
        declare(body(x=kind) | {"x": field(**options)})


def test_dtype_of_arrays_and_padding() -> None:
    """NumPy's align=True computes a C layout by itself."""
    pytest.importorskip("axebpf._native", reason="the native module is not built")
    np = pytest.importorskip("numpy")
    members = [("common_type", "u2"), ("common_flags", "u1"), ("common_preempt_count", "u1"), ("common_pid", "i4")]
    members += [("vm_id", "u4"), ("reason", "u2"), ("flag", "?"), ("comm", "S16"), ("args", "u8", 4)]
    members += [("delta", "i8"), ("duration_ns", "u8")]
    expected = np.dtype(members, align=True)
    assert dict(Sample.dtype.fields or {}) == dict(expected.fields)
    assert Sample.dtype.itemsize == expected.itemsize


def test_two_durations() -> None:
    with pytest.raises(DeclarationError, match="a and b have role duration; one field may"):
        declare(body(a=u64, b=u64) | {"a": field(role="duration"), "b": field(role="duration")})


def test_a_default_is_no_field() -> None:
    with pytest.raises(DeclarationError, match="x = 0: a field has no default"):
        declare(body(x=u32) | {"x": 0})


def test_field_without_a_type() -> None:
    with pytest.raises(DeclarationError, match=r"x has no type; write x: u32 = field\(\.\.\.\)"):
        declare(body() | {"x": field(hex=True)})


def test_a_declared_tracepoint_is_not_inherited() -> None:
    with pytest.raises(DeclarationError, match="Child: a tracepoint inherits from Tracepoint alone"):

        class Child(Sample, name="own:child", id=1005):
            pass


def test_declaration_errors_are_caught_as_tracepoint_errors() -> None:
    with pytest.raises(TracepointError):
        parse_type("u31")


@pytest.mark.parametrize(("kind", "low", "high"), [(u8, 0, 255), (i32, -(2**31), 2**31 - 1), (u64, 0, 2**64 - 1)])
def test_ranges(kind: Any, low: int, high: int) -> None:
    assert (kind.minimum, kind.maximum) == (low, high)


TYPED = """
from typing import Annotated
import enum
from axebpf.tracepoint import Tracepoint, bool_, char, field, u32, u64
class Reason(enum.IntEnum):
    HYPERCALL = 0
class VcpuRunExit(Tracepoint, name="vmm:vcpu_run_exit", id=21):
    vm_id: u32
    exit_reason: u32 = field(enum=Reason)
    flag: bool_
    comm: Annotated[bytes, char[16]]
    duration_ns: u64 = field(unit="ns", role="duration")
names: list[str] = [f.name for f in VcpuRunExit.fields]
name: str = VcpuRunExit.event_name
text: str = VcpuRunExit.c_struct()
"""


def test_mypy_accepts_declarations(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    (tmp_path / "declared.py").write_text(TYPED + "wrong: int = VcpuRunExit.event\n")
    package = Path(tp.__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "declared.py"]
    environment = {"MYPYPATH": str(package), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if line.startswith("declared.py")]
    assert len(errors) == 1, done.stdout + done.stderr  # the one that was put there, so that the test can fail
    assert 'expression has type "str", variable has type "int"' in errors[0]
