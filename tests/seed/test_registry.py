"""`axebpf.tracepoints.registry`: names and ids of the default bench's tracepoints."""

from __future__ import annotations

import axebpf
import pytest
from axebpf import DeclarationError, InvalidName, NotInitialized
from axebpf.tracepoints import registry

from .conftest import rows


def test_all_29_are_listed_by_id() -> None:
    axebpf.init()
    assert registry.list_all() == sorted((row.id, row.name) for row in rows())


def test_names_and_ids_lead_to_each_other() -> None:
    axebpf.init()
    for row in rows():
        assert (registry.get_id(row.name), registry.get_name(row.id)) == (row.id, row.name)


@pytest.mark.parametrize("id", [0, 5, 102, -1, 70_000])
def test_an_unknown_id_has_no_name(id: int) -> None:
    axebpf.init()
    assert registry.get_name(id) is None


@pytest.mark.parametrize("name", ["vmm:nothing", "vm_boot", ""])
def test_an_unknown_name_has_no_id(name: str) -> None:
    axebpf.init()
    assert registry.get_id(name) is None


def test_what_is_registered_is_a_tracepoint() -> None:
    bench = axebpf.init()
    registry.register(200, "vmm:vm_pause")
    assert registry.list_all()[-1] == (200, "vmm:vm_pause")
    bench.enable("vmm:vm_pause")
    bench.tracepoints["vmm:vm_pause"].fire()
    assert bench.trace.records()[0].record == bytes([200, 0, 0, 0, 0, 0, 0, 0])


def test_to_register_the_same_again_does_nothing() -> None:
    bench = axebpf.init()
    registry.register(2, "vmm:vm_boot")
    assert len(bench.tracepoints) == 29


def test_a_taken_id_or_name_is_refused() -> None:
    """The seed's registry replaced an entry; the decision here is one id space, whose ids do not change."""
    axebpf.init()
    with pytest.raises(DeclarationError, match="vmm:vm_boot has it"):
        registry.register(2, "vmm:vm_pause")
    with pytest.raises(DeclarationError, match="vmm:vm_boot is defined already, with id 2"):
        registry.register(200, "vmm:vm_boot")
    assert registry.list_all() == sorted((row.id, row.name) for row in rows())


def test_bad_names_and_ids_are_refused() -> None:
    axebpf.init()
    with pytest.raises(InvalidName, match="subsystem:event"):
        registry.register(200, "vm_pause")
    for id in (0, -1, 65_536):
        with pytest.raises(DeclarationError, match="1 to 65535"):
            registry.register(id, "vmm:vm_pause")


def test_it_needs_a_default_bench() -> None:
    with pytest.raises(NotInitialized):
        registry.list_all()
    with pytest.raises(NotInitialized):
        registry.register(200, "vmm:vm_pause")
