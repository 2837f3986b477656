"""The exceptions: what each can be caught as, what it carries, what it prints, and that it survives pickling."""

import errno
import pickle
from typing import Any

import pytest
from axebpf import errors

SAMPLES: list[tuple[errors.AxebpfError, tuple[type[BaseException], ...], str]] = [
    (errors.AxebpfError("plain"), (Exception,), "plain"),
    (errors.AxebpfError(), (Exception,), "AxebpfError"),
    (errors.LoadError("bad"), (), "bad"),
    (errors.LoadError("bad", file="a.o", section=".text", offset=16), (), "a.o, section .text, offset 0x10: bad"),
    (errors.LoadError("bad", offset=0), (), "offset 0x0: bad"),
    (errors.ProgramFault("loops for ever"), (), "loops for ever"),
    (errors.ProgramFault("writes", program="p", instruction=0), (), "p: writes (instruction 0)"),
    (errors.ProgramFault("writes", address=0x1000), (), "writes at 0x1000"),
    (errors.ProgramFault("writes", address=0x1000, place="stack-16"), (), "writes at stack-16"),
    (errors.ProgramFault("writes to ctx+8", place="ctx+8"), (), "writes to ctx+8"),
    (errors.ProgramFault("reads", source=("a.c", 3, 0, "")), (), "reads\n  a.c:3"),
    (
        errors.ProgramFault("reads", program="p", instruction=4, source=("a.c", 3, 7, "x = *p;")),
        (),
        "p: reads\n  a.c:3:7 (instruction 4)\n    x = *p;",
    ),
    (errors.MapError(errno.E2BIG, "full"), (OSError,), "full (E2BIG)"),
    (errors.MapError(524, "no batches", map="M"), (OSError,), "M: no batches (ENOTSUPP)"),
    (errors.MapError(4000, "odd"), (OSError,), "odd (errno 4000)"),
    (errors.PortabilityError("p: a loop"), (errors.LoadError,), "p: a loop"),
    (
        errors.PortabilityError(
            "p: instruction 4: a loop; instead: unroll it",
            file="a.o",
            section="kprobe/f",
            program="p",
            instruction=4,
            source=("a.c", 3, 7, "x = *p;"),
            reason="a loop",
            instead="unroll it",
            gap="loops",
        ),
        (errors.LoadError,),
        "a.o, section kprobe/f: p: instruction 4: a loop; instead: unroll it",
    ),
    (
        errors.MapPortabilityError(errno.EPERM, "map M: no such kind", map="M", reason="no such kind", gap="kinds"),
        (errors.PortabilityError, errors.MapError, errors.LoadError, OSError),
        "map M: no such kind (EPERM)",
    ),
    (
        errors.MapPortabilityError(errno.ENOMEM, "map M: too large", file="a.o"),
        (),
        "a.o: map M: too large (ENOMEM)",
    ),
    (
        errors.KeyNotFound(errno.ENOENT, "no key 1", map="M"),
        (errors.MapError, OSError, KeyError),
        "M: no key 1 (ENOENT)",
    ),
    (errors.NotFound("no tracepoint a:b"), (errors.TracepointError, KeyError), "no tracepoint a:b"),
    (errors.InvalidName("a"), (errors.TracepointError, ValueError), "a"),
    (errors.DeclarationError("a"), (errors.TracepointError, TypeError), "a"),
    (errors.FieldError("too big", tracepoint="a:b", field="x"), (errors.TracepointError, ValueError), "a:b: too big"),
    (errors.FieldError("too big"), (errors.TracepointError,), "too big"),
    (errors.AttachError("twice", program="p", target="a:b"), (), "p to a:b: twice"),
    (errors.AttachError("twice", target="a:b"), (), "a:b: twice"),
    (errors.AttachError("twice"), (), "twice"),
    (errors.ThreadsError("a batch is fired on one thread"), (ValueError,), "a batch is fired on one thread"),
    (errors.ClockError("there is no CPU 9"), (ValueError,), "there is no CPU 9"),
    (errors.BenchClosed(), (), "the bench is closed"),
    (errors.HelperError("taken", helper="h"), (), "h: taken"),
    (errors.HelperError("taken"), (), "taken"),
    (errors.HypervisorError("vms is 0", workload="boot", parameter="vms", value=0), (ValueError,), "vms is 0"),
    (
        errors.NotInitialized(),
        (errors.TracepointError, RuntimeError),
        "not initialized: call axebpf.init() first",
    ),
    (
        errors.AlreadyInitialized(),
        (errors.TracepointError, RuntimeError),
        "already initialized: close the default bench before axebpf.init() is given other options",
    ),
    (errors.FilterError("odd"), (errors.TracepointError, ValueError), "odd"),
    (errors.FilterError("odd", text="x ==", position=4, tracepoint="a:b"), (), "a:b: odd\n  x ==\n      ^"),
    (
        errors.FilterError("odd", text="x == 1\n&& \ty", position=11),
        (),
        "odd\n  &&  y\n      ^",
    ),
    (errors.SymbolError("bad"), (ValueError,), "bad"),
    (errors.SymbolError("bad", line=3, offset=16), (), "line 3: offset 0x10: bad"),
    (errors.RecordingError("bad"), (ValueError,), "bad"),
    (errors.RecordingError("bad", file="a", line=3, offset=16), (), "a, line 3, offset 0x10: bad"),
]


@pytest.mark.parametrize(("error", "bases", "text"), SAMPLES, ids=lambda value: type(value).__name__)
def test_caught_as_and_printed(error: errors.AxebpfError, bases: tuple[type[BaseException], ...], text: str) -> None:
    assert isinstance(error, (errors.AxebpfError, *bases))
    for base in bases:
        assert isinstance(error, base)
    assert str(error) == text


@pytest.mark.parametrize(("error", "bases", "text"), SAMPLES, ids=lambda value: type(value).__name__)
def test_pickled(error: errors.AxebpfError, bases: Any, text: str) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == text


def test_every_class_is_tried_above() -> None:
    classes = {getattr(errors, name) for name in errors.__all__}
    exceptions = {cls for cls in classes if isinstance(cls, type) and issubclass(cls, BaseException)}
    untried = {errors.TracepointError, errors.PortabilityWarning}
    assert exceptions - {type(error) for error, _, _ in SAMPLES} == untried
    assert issubclass(errors.PortabilityWarning, UserWarning)


def test_attributes() -> None:
    fault = errors.ProgramFault("w", program="p", instruction=1, source=("a.c", 3, 7, "x"), address=5, place="stack-8")
    assert (fault.what, fault.program, fault.instruction, fault.address, fault.place) == ("w", "p", 1, 5, "stack-8")
    assert fault.source is not None
    assert fault.source.line == 3
    error = errors.KeyNotFound(errno.ENOENT, "no key", map="M")
    assert (error.errno, error.strerror, error.map) == (errno.ENOENT, "no key", "M")
    refused = errors.HypervisorError("vms is 0", workload="boot", parameter="vms", value=0)
    assert (refused.workload, refused.parameter, refused.value) == ("boot", "vms", 0)


def test_the_nearest_name() -> None:
    assert (
        errors.did_you_mean("vmm:vcpu_exit", ["vmm:vm_boot", "vmm:vcpu_run_exit"])
        == "; did you mean vmm:vcpu_run_exit?"
    )
    assert errors.did_you_mean("qqq", iter(["vmm:vm_boot"])) == ""
