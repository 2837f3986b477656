"""`axebpf.tracepoints.hypervisor_helpers`. A test that answers one of the seed's names it."""

from __future__ import annotations

import axebpf
import pytest
from axebpf import Bench, ClockError, FieldError, attach, maps, runtime
from axebpf.maps import MapDef, MapType
from axebpf.runtime import EbpfProgram
from axebpf.tracepoints import hypervisor_helpers as hv

pytestmark = pytest.mark.usefixtures("default_bench")

MAX32, MAX64 = 2**32 - 1, 2**64 - 1


def answers() -> tuple[int, ...]:
    """What the three helpers answer a program that is run by hand."""
    return tuple(EbpfProgram(axebpf.assemble(f"call helper#{number}\nexit")).execute() for number in (100, 101, 102))


def test_the_numbers() -> None:
    """Seed: the constants; the list has 3."""
    assert (hv.BPF_GET_CURRENT_VM_ID, hv.BPF_GET_CURRENT_VCPU_ID, hv.BPF_GET_EXIT_REASON) == (100, 101, 102)
    assert hv.HYPERVISOR_HELPERS == (100, 101, 102)


def test_got_by_number() -> None:
    """Seed: Some for 100 to 102, None for 999 and 1."""
    names = [helper.name for number in (100, 101, 102) if (helper := hv.get_hypervisor_helper(number)) is not None]
    assert names == ["bpf_get_current_vm_id", "bpf_get_current_vcpu_id", "bpf_get_exit_reason"]
    assert hv.get_hypervisor_helper(999) is hv.get_hypervisor_helper(1) is None


@pytest.mark.parametrize("context", [(42, 7, 0x1234), (MAX32, MAX32, MAX64), (0, 0, 0)])
def test_what_is_set_is_read_back(context: tuple[int, int, int]) -> None:
    """Seed: set (42, 7, 0x1234), greatest values, zeros; each helper gives its own."""
    hv.set_current_context(*context)
    assert hv.current_context() == context
    assert answers() == context
    helpers = [hv.get_hypervisor_helper(number) for number in hv.HYPERVISOR_HELPERS]
    assert tuple(helper() for helper in helpers if helper is not None) == context


def test_cleared_and_overwritten() -> None:
    """Seed: clear gives zeros, a second set replaces the first."""
    hv.set_current_context(1, 2, 3)
    hv.set_current_context(4, 5, 6)
    assert answers() == (4, 5, 6)
    hv.clear_current_context()
    assert answers() == (0, 0, 0)


def test_arguments_are_not_looked_at() -> None:
    """Seed: arguments are ignored, u64::MAX too."""
    hv.set_current_context(42, 7, 9)
    for number, answer in zip(hv.HYPERVISOR_HELPERS, (42, 7, 9), strict=True):
        helper = hv.get_hypervisor_helper(number)
        assert helper is not None
        assert helper(1, 2, 3, 4, 5) == helper(MAX64, MAX64, MAX64, MAX64, MAX64) == answer


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ((-1, 0, 0), "vm_id is -1; a u32 holds 0 to 4294967295"),
        ((0, MAX32 + 1, 0), "vcpu_id is 4294967296"),
        ((0, 0, MAX64 + 1), "exit_reason is 18446744073709551616; a u64"),
    ],
)
def test_what_does_not_fit_is_refused(context: tuple[int, int, int], message: str) -> None:
    hv.set_current_context(1, 2, 3)
    with pytest.raises(FieldError, match=message):
        hv.set_current_context(*context)
    assert hv.current_context() == (1, 2, 3)


def test_an_event_knows_better_than_its_cpu(default_bench: Bench) -> None:
    """An event's own fields are the answer; of a field that it has not, the CPU's."""
    seen = maps.create(MapDef(MapType.ARRAY, 4, 8, 3))
    store = "".join(
        f"""
        call helper#{number}
        *(u64 *)(r10 -16) = r0
        r1 = {index}
        *(u32 *)(r10 -4) = r1
        r1 = map[{seen}]
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem
        """
        for index, number in enumerate((100, 101, 102))
    )
    number = runtime.load_program(EbpfProgram(axebpf.assemble(f"{store}\nr0 = 0\nexit")))
    hv.set_current_context(90, 91, 92)
    for event, values, answer in (
        ("vmm:vcpu_run_exit", (1, 2, 7, 500), (1, 2, 7)),
        ("vmm:vcpu_halt", (3, 4), (3, 4, 92)),
        ("vmm:vm_boot", (5, 500), (5, 91, 92)),
        ("vmm:timer_tick", (500,), (90, 91, 92)),
    ):
        attach.attach(event, number)
        default_bench.tracepoints[event].fire(*values)
        assert tuple(int.from_bytes(value, "little") for _, value in maps.iter_entries(seen)) == answer
        attach.detach(event)


def test_a_run_by_hand_may_say_otherwise(default_bench: Bench) -> None:
    hv.set_current_context(1, 2, 3)
    vcpu = default_bench.load_bytes(axebpf.assemble("call bpf_get_current_vcpu_id\nexit"))
    assert vcpu.run().r0 == 2
    assert vcpu.run(vcpu_id=9).r0 == 9
    assert vcpu.run(vm_id=9).r0 == 0
    assert vcpu.run(cpu=1).r0 == 0


def test_a_cpu_that_there_is_not(default_bench: Bench) -> None:
    with pytest.raises(ClockError):
        default_bench._native.set_vm_context(4, (0, 0, 0))
    with pytest.raises(ClockError):
        default_bench._native.vm_context(4)
