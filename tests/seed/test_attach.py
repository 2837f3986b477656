"""`axebpf.attach`: the seed's functions. A test that answers one of the seed's names it."""

from __future__ import annotations

import axebpf
import pytest
from axebpf import AttachError, Bench, InvalidName, NotFound, NotInitialized, attach, runtime
from axebpf.attach import AttachmentInfo
from axebpf.runtime import EbpfProgram

pytestmark = pytest.mark.usefixtures("default_bench")

BOOT, EXIT = "vmm:vm_boot", "vmm:vcpu_run_exit"
UNKNOWN = 99999


@pytest.fixture
def number() -> int:
    return load("counts")


def load(name: str) -> int:
    return runtime.load_program(EbpfProgram(axebpf.assemble("r0 = 0\nexit"), name))


def runs(name: str) -> int:
    return axebpf.default_bench().programs[name].stats.runs


def test_an_attached_program_runs_at_each_event(default_bench: Bench, number: int) -> None:
    """Seed: attach is Ok. There it was bookkeeping at first; here the program runs (decision: attach runs it)."""
    attach.attach(BOOT, number)
    for _ in range(3):
        default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=5)
    assert runs("counts") == 3
    assert not default_bench.tracepoints[BOOT].enabled
    attach.detach(BOOT)
    default_bench.tracepoints[BOOT].fire(vm_id=1, duration_ns=5)
    assert runs("counts") == 3


def test_an_unknown_program() -> None:
    """Seed: attaching 99999 is ProgramNotFound, whose text has the number."""
    with pytest.raises(AttachError, match=f"{BOOT}: no program {UNKNOWN}") as caught:
        attach.attach(BOOT, UNKNOWN)
    assert caught.value.target == BOOT
    assert attach.attachment_count() == 0


def test_a_second_program_is_refused(number: int) -> None:
    """Seed: a second attach is AlreadyAttached, whose text has the name."""
    attach.attach(BOOT, number)
    for second in (number, load("other")):
        with pytest.raises(AttachError, match=rf"{BOOT}: counts \(program {number}\) is attached already"):
            attach.attach(BOOT, second)
    assert attach.get_attached(BOOT) == number


def test_detach_gives_the_number(number: int) -> None:
    """Seed: detach returns the program's id."""
    attach.attach(BOOT, number)
    assert attach.detach(BOOT) == number


def test_detaching_where_nothing_is() -> None:
    """Seed: detach of an unattached name is NotAttached, whose text has the name."""
    with pytest.raises(AttachError, match=f"{BOOT}: no program is attached") as caught:
        attach.detach(BOOT)
    assert caught.value.target == BOOT


def test_what_is_attached(number: int) -> None:
    """Seed: get_attached of an attached and of another name, and after detach."""
    attach.attach(BOOT, number)
    assert (attach.get_attached(BOOT), attach.get_attached(EXIT)) == (number, None)
    attach.detach(BOOT)
    assert attach.get_attached(BOOT) is None


def test_listed_by_tracepoint_and_counted(number: int) -> None:
    """Seed: the list, and the count after attach and detach."""
    other = load("other")
    attach.attach(BOOT, number)
    attach.attach(EXIT, number)
    attach.attach("shell:shell_init", other)
    assert attach.list_attachments() == [
        AttachmentInfo("shell:shell_init", other, "other"),
        AttachmentInfo(EXIT, number, "counts"),
        AttachmentInfo(BOOT, number, "counts"),
    ]
    assert attach.attachment_count() == 3
    attach.detach(EXIT)
    assert attach.attachment_count() == 2


def test_attached_again_after_detach(number: int) -> None:
    """Seed: the same program, and another, are attached again after detach."""
    for again in (number, number, load("other")):
        attach.attach(BOOT, again)
        assert attach.detach(BOOT) == again


def test_a_tracepoint_that_there_is_not(number: int) -> None:
    """The seed's TracepointNotFound, which it never gave."""
    uses = (lambda name: attach.attach(name, number), attach.detach, attach.get_attached)
    for use in uses:
        with pytest.raises(NotFound, match=r"did you mean vmm:vcpu_run_exit\?"):
            use("vmm:vcpu_exit")
        with pytest.raises(InvalidName, match="subsystem:event"):
            use("vcpu_run_exit")


def test_links_beside_it(default_bench: Bench, number: int) -> None:
    """Decision: several programs a tracepoint; these functions do not see the links of others."""
    with default_bench.programs["counts"].attach(EXIT):
        assert attach.list_attachments() == []
        with pytest.raises(AttachError, match=f"{EXIT}: no program is attached"):
            attach.detach(EXIT)
        attach.attach(EXIT, load("other"))
        default_bench.tracepoints[EXIT].fire(1, 0, 0, 5)
    assert (runs("counts"), runs("other")) == (1, 1)


def test_a_program_of_an_object_is_attached_by_its_number(default_bench: Bench) -> None:
    from axebpf.examples import example

    on_exit = default_bench.load(example("exits.bpf.o"))["on_exit"]
    attach.attach(EXIT, on_exit.id)
    default_bench.tracepoints[EXIT].fire(1, 0, 7, 5_000)
    assert default_bench.maps["EXITS"][1, 7].count == 1


def test_what_does_not_suit_is_refused_and_not_listed(number: int) -> None:
    kprobe = runtime.load_program(EbpfProgram(axebpf.assemble("r0 = 0\nexit"), type="kprobe"))
    with pytest.raises(AttachError, match="of type kprobe, which does not attach to a tracepoint"):
        attach.attach(BOOT, kprobe)
    assert attach.list_attachments() == []


def test_a_new_default_bench_starts_without(default_bench: Bench, number: int) -> None:
    attach.attach(BOOT, number)
    default_bench.close()
    with pytest.raises(NotInitialized):
        attach.list_attachments()
    axebpf.init()
    assert attach.list_attachments() == []
