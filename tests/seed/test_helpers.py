"""`axebpf.helpers`: the seed's helpers by number. A test that answers one of the seed's names it."""

from __future__ import annotations

import errno
import struct

import axebpf
import pytest
from axebpf import Bench, ProgramFault, helpers, maps
from axebpf.helpers import SUPPORTED_HELPERS, get_helper
from axebpf.maps import MapDef, MapType
from axebpf.runtime import EbpfProgram

pytestmark = pytest.mark.usefixtures("default_bench")

SEED = {
    "BPF_MAP_LOOKUP_ELEM": 1,
    "BPF_MAP_UPDATE_ELEM": 2,
    "BPF_MAP_DELETE_ELEM": 3,
    "BPF_KTIME_GET_NS": 5,
    "BPF_TRACE_PRINTK": 6,
    "BPF_GET_SMP_PROCESSOR_ID": 8,
}
"""The standard helpers of the seed's README."""
LATER = {"BPF_PROBE_READ": 4, "BPF_PROBE_READ_KERNEL": 113}
"""Those that its later revision has besides, under Linux's numbers."""


def run(text: str, context: bytearray | None = None) -> int:
    made = EbpfProgram(axebpf.assemble(text))
    r0 = made.execute() if context is None else made.execute_with_context(context)
    return r0 - (1 << 64) if r0 >> 63 else r0


def test_the_numbers_are_linux_s() -> None:
    """Seed: the id constants."""
    assert {name: getattr(helpers, name) for name in SEED | LATER} == SEED | LATER


def test_the_seed_s_helpers_are_supported() -> None:
    """Seed: exactly 6 helpers are supported (9 later).

    Here those and the rest of Linux's tracing helpers, rows of one table (decision: Linux's helper ABI).
    """
    assert set(SEED.values()) | set(LATER.values()) | {100, 101, 102} <= set(SUPPORTED_HELPERS)
    assert list(SUPPORTED_HELPERS) == sorted(set(SUPPORTED_HELPERS))
    for number in SUPPORTED_HELPERS:
        found = get_helper(number)
        assert found is not None
        assert found.id == number
        assert f" {found.name}(" in found.prototype.replace("*", " ")


@pytest.mark.parametrize("number", SEED.values())
def test_a_helper_is_got_by_its_number(number: int) -> None:
    """Seed: get_helper is Some for 1, 2, 3, 5, 6, 8."""
    found = get_helper(number)
    assert found is not None
    assert found.name.upper() in SEED
    assert {"tracepoint", "axvisor"} <= set(found.types)


@pytest.mark.parametrize("number", [0, 999, -1, 10, helpers.CUSTOM_HELPERS])
def test_what_is_not_offered_is_none(number: int) -> None:
    """Seed: get_helper(999) is None. Its 10, get_tracepoint_name, is another helper on Linux, not offered here."""
    assert get_helper(number) is None
    assert helpers.BPF_L3_CSUM_REPLACE == 10


def test_an_unknown_constant_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"did you mean BPF_KTIME_GET_NS\?"):
        _ = helpers.BPF_KTIME_GET_N
    assert "BPF_KTIME_GET_NS" in dir(helpers)


STEPS = """
    r1 = map[{number}]
    r2 = 42
    *(u64 *)(r10 -8) = r2
    r2 = r10
    r2 += -8
    {rest}
    exit
"""


def test_updated_looked_up_and_deleted_by_a_program() -> None:
    """Seed: update (42 to 12345) is 0, lookup 12345, delete 0, lookup 0, by keys and values in registers.

    Here they are pointers (decision: Linux's helper ABI), and a second delete is ENOENT (decision: Linux's map errors).
    """
    number = maps.create(MapDef(MapType.HASH_MAP, 8, 8, 64))
    update = """
        r3 = 12345
        *(u64 *)(r10 -16) = r3
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem
    """
    lookup = "call bpf_map_lookup_elem\n if r0 == 0 goto out\n r0 = *(u64 *)(r0 +0)\nout:"
    delete = "call bpf_map_delete_elem"
    assert run(STEPS.format(number=number, rest=update)) == 0
    assert run(STEPS.format(number=number, rest=lookup)) == 12345
    assert run(STEPS.format(number=number, rest=delete)) == 0
    assert run(STEPS.format(number=number, rest=lookup)) == 0
    assert run(STEPS.format(number=number, rest=delete)) == -errno.ENOENT


def test_printk_interprets_its_format(default_bench: Bench) -> None:
    """Seed: printk returns 0 and prints numbers; here it returns the length of the line, as on Linux."""
    text = """
        r1 = 0x000a782520646c25 ll
        *(u64 *)(r10 -8) = r1
        r1 = r10
        r1 += -8
        r2 = 8
        r3 = -5
        r4 = 255
        call bpf_trace_printk
        exit
    """
    assert run(text) == len("-5 ff\n")
    assert [entry.text.strip() for entry in default_bench.trace.records()] == ["-5 ff"]


def test_time_and_cpu_are_those_of_the_bench(default_bench: Bench) -> None:
    """Seed: ktime is the platform's time, the processor id its CPU."""
    default_bench.clock.set(5_000)
    default_bench.cpu = 3
    now, cpu = get_helper(helpers.BPF_KTIME_GET_NS), get_helper(helpers.BPF_GET_SMP_PROCESSOR_ID)
    assert now is not None
    assert cpu is not None
    assert (now(), cpu()) == (5_000, 3)


def test_a_helper_is_called_with_registers() -> None:
    """The seed's helpers are functions of five numbers: those that take no pointer are here too."""
    now = get_helper(helpers.BPF_KTIME_GET_NS)
    assert now is not None
    assert now(1, 2, 3, 4, 5) == now(2**64 - 1) == now(-1) == 1_000_000_000
    with pytest.raises(TypeError, match="given 6 arguments; a call has at most 5"):
        now(1, 2, 3, 4, 5, 6)
    lookup = get_helper(helpers.BPF_MAP_LOOKUP_ELEM)
    assert lookup is not None
    with pytest.raises(ProgramFault, match="its first argument is 0x1, which is no map of this program"):
        lookup(1, 2)


def test_kernel_memory_is_not_there() -> None:
    """Seed: probe_read and probe_read_kernel copy; of an address that is no memory they give EFAULT."""
    text = "r1 = r10\nr1 += -8\nr2 = 8\nr3 = {address} ll\ncall {helper}\nexit"
    for helper in ("bpf_probe_read", "bpf_probe_read_kernel"):
        assert run(text.format(address="0xffffffff81000000", helper=helper)) == -errno.EFAULT
    own = "r3 = r1\nr1 = r10\nr1 += -8\nr2 = 8\ncall bpf_probe_read_kernel\nr0 = *(u64 *)(r10 -8)\nexit"
    assert run(own, bytearray(struct.pack("<Q", 77))) == 77
