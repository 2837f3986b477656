"""The workload boot is believable: one test for each rule that a real hypervisor keeps.

The expectations (ids, ranges, orders, encodings) are typed here, not taken from the simulator's tables.
"""

import functools
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from axebpf.errors import HypervisorError
from axebpf.hypervisor import WORKLOADS, Chunk, workload
from axebpf.tracepoints import BUILTIN

HYPERCALL, EXTERNAL_INTERRUPT, HALT, CPU_UP, SYSTEM_DOWN, NOTHING, SEND_IPI = 0, 7, 9, 10, 12, 13, 15
CREATED, FREE, READY, RUNNING = 1, 2, 3, 4
CPU_ON, SYSTEM_OFF = 0xC4000003, 0x84000008
SECOND = 1_000_000_000

Event = dict[str, Any]


class Run:
    """A finished workload: all events as dicts in order, and the same by tracepoint."""

    def __init__(self, arch: str, vms: int, vcpus: int, **parameters: Any) -> None:
        self.arch, self.vms, self.vcpus = arch, vms, vcpus
        self.stream = workload("boot", arch=arch, vms=vms, vcpus=vcpus, **parameters)
        self.chunks = list(self.stream)
        self.events = [event for chunk in self.chunks for event in events_of(chunk)]
        self.by_name: dict[str, list[Event]] = {tp.event: [] for tp in BUILTIN}
        for position, event in enumerate(self.events):
            event["position"] = position
            self.by_name[event["event"]].append(event)

    def __getitem__(self, event: str) -> list[Event]:
        return self.by_name[event]

    def of_vcpu(self, event: str) -> dict[tuple[int, int], list[Event]]:
        """The events of a tracepoint by (vm_id, vcpu_id)."""
        found: dict[tuple[int, int], list[Event]] = {key: [] for key in self.all_vcpus}
        for e in self[event]:
            found[e["vm_id"], e["vcpu_id"]].append(e)
        return found

    @property
    def all_vcpus(self) -> list[tuple[int, int]]:
        return list(itertools.product(range(1, self.vms + 1), range(self.vcpus)))


def events_of(chunk: Chunk) -> list[Event]:
    seen = dict.fromkeys(chunk.names, 0)
    columns = {n: {f: c.tolist() for f, c in fields.items()} for n, fields in chunk.columns.items()}
    events = []
    for index, time, cpu in zip(chunk.order.tolist(), chunk.time_ns.tolist(), chunk.cpu.tolist(), strict=True):
        name = chunk.names[index]
        event: Event = {"event": name.split(":")[1], "time": time, "on": cpu}
        event |= {field: column[seen[name]] for field, column in columns[name].items()}
        seen[name] += 1
        events.append(event)
    assert all(len(c) == seen[n] for n, fields in columns.items() for c in fields.values())
    return events


CONFIGURATIONS = [
    ("aarch64", 2, 1, 5.8, 0),
    ("aarch64", 1, 8, 0.6, 1),
    ("aarch64", 3, 2, 5.3, 2),
    ("aarch64", 2, 4, 0.1, 3),
    ("x86_64", 2, 1, 5.8, 0),
    ("x86_64", 2, 3, 1.0, 4),
    ("x86_64", 8, 1, 0.1, 5),
]


@functools.cache
def finished(arch: str, vms: int, vcpus: int, duration_s: float, seed: int) -> Run:
    return Run(arch, vms, vcpus, duration_s=duration_s, seed=seed)


@pytest.fixture(params=CONFIGURATIONS, ids=lambda c: f"{c[0]}-{c[1]}x{c[2]}")
def run(request: pytest.FixtureRequest) -> Run:
    return finished(*request.param)


def only(run: Run, arch: str) -> None:
    if run.arch != arch:
        pytest.skip(f"a rule of {arch}")


def smp(run: Run) -> None:
    if run.vcpus == 1:
        pytest.skip("a rule for several vCPUs")


# The shape of the stream


def test_chunks_are_bounded_and_whole(run: Run) -> None:
    dtypes = {tp.event_name: {f.name: np.dtype(f.type.numpy) for f in tp.fields} for tp in BUILTIN}
    for chunk in run.chunks:
        assert 0 < len(chunk) <= 65_536
        assert len(chunk) == len(chunk.order) == len(chunk.time_ns) == len(chunk.cpu)
        assert (chunk.order.dtype, chunk.time_ns.dtype, chunk.cpu.dtype) == (np.uint16, np.uint64, np.uint32)
        assert chunk.names == run.chunks[0].names
        counts = np.bincount(chunk.order, minlength=len(chunk.names))
        assert list(chunk.columns) == chunk.names
        for name, columns in chunk.columns.items():
            assert {field: column.dtype for field, column in columns.items()} == dtypes[name]
            assert {len(column) for column in columns.values()} == {counts[chunk.names.index(name)]}


def test_a_long_run_comes_in_many_full_chunks() -> None:
    sizes = [len(chunk) for chunk in workload("boot", vms=2, vcpus=4, events=400_000)]
    assert max(sizes) <= 65_536
    assert sum(sizes) / len(sizes) > 5_000


def test_all_in_the_order_of_time(run: Run) -> None:
    times = [event["time"] for event in run.events]
    assert times == sorted(times)


# Identities


def test_vm_ids_count_from_1_and_vcpus_from_0(run: Run) -> None:
    assert {e["vm_id"] for e in run.events if "vm_id" in e} == set(range(1, run.vms + 1))
    assert {(e["vm_id"], e["vcpu_id"]) for e in run.events if "vcpu_id" in e} == set(run.all_vcpus)


def test_every_vcpu_keeps_to_its_own_cpu(run: Run) -> None:
    cpus: dict[tuple[int, int], set[int]] = {key: set() for key in run.all_vcpus}
    for event in run.events:
        if event["event"] in ("vcpu_run_enter", "vcpu_run_exit", "external_interrupt", "hypercall", "vcpu_halt"):
            cpus[event["vm_id"], event["vcpu_id"]].add(event["on"])
    assert all(len(own) == 1 for own in cpus.values())
    assert len({cpu for own in cpus.values() for cpu in own}) == len(cpus), "no two share one"
    assert {event["on"] for event in run.events} == set(range(run.stream.cpus))


def test_a_cpu_does_one_thing_at_a_time(run: Run) -> None:
    """Between enter and exit, only what belongs to that run happens on its CPU; times are strictly increasing."""
    inside: dict[int, Event | None] = {}
    last: dict[int, int] = {}
    for event in run.events:
        cpu = event["on"]
        assert event["time"] > last.get(cpu, -1)
        last[cpu] = event["time"]
        entered = inside.get(cpu)
        if entered is not None:
            assert event["event"] in ("vcpu_state_change", "device_access", "page_fault", "vcpu_run_exit")
            assert event["vm_id"] == entered["vm_id"]
        if event["event"] in ("vcpu_run_enter", "vcpu_run_exit"):
            inside[cpu] = event if event["event"] == "vcpu_run_enter" else None


# Runs


def test_enter_and_exit_alternate_and_the_duration_is_between_them(run: Run) -> None:
    entered: dict[tuple[int, int], int | None] = dict.fromkeys(run.all_vcpus)
    for event in run.events:
        key = (event.get("vm_id", 0), event.get("vcpu_id", 0))
        if event["event"] == "vcpu_run_enter":
            assert entered[key] is None
            entered[key] = event["time"]
        elif event["event"] == "vcpu_run_exit":
            begun = entered[key]
            assert begun is not None
            assert event["duration_ns"] == event["time"] - begun
            entered[key] = None
    assert set(entered.values()) == {None}


def test_a_run_is_guest_time_and_inner_exits(run: Run) -> None:
    """In a run the vCPU is RUNNING (guest) or READY (an inner exit is handled); the handling has its events within."""
    inside: dict[tuple[int, int], list[Event]] = {}
    inner = 0
    for event in run.events:
        key = (event.get("vm_id", 0), event.get("vcpu_id", -1))
        if event["event"] == "vcpu_run_enter":
            inside[key] = []
        elif event["event"] == "vcpu_state_change" and key in inside:
            inside[key].append(event)
        elif event["event"] == "vcpu_run_exit":
            changes = inside.pop(key)
            assert [c["new_state"] for c in changes] == [RUNNING, READY] * (len(changes) // 2)
            guest = sum(b["time"] - a["time"] for a, b in zip(changes[::2], changes[1::2], strict=True))
            handled = sum(b["time"] - a["time"] for a, b in zip(changes[1:-1:2], changes[2::2], strict=True))
            around = event["duration_ns"] - guest - handled
            assert 0 < around < 1_000, "entering and leaving take less than a microsecond"
            inner += len(changes) // 2 - 1
    assert inner >= len(run["device_access"]) + len(run["page_fault"])


def test_states_follow_each_other(run: Run) -> None:
    legal = {(CREATED, FREE), (FREE, READY), (READY, RUNNING), (RUNNING, READY), (READY, FREE)}
    for changes in run.of_vcpu("vcpu_state_change").values():
        assert {(c["old_state"], c["new_state"]) for c in changes} == legal
        assert (changes[0]["old_state"], changes[0]["new_state"]) == (CREATED, FREE)
        assert all(a["new_state"] == b["old_state"] for a, b in itertools.pairwise(changes))
        assert changes[-1]["new_state"] == FREE


def test_each_run_is_bound_before_and_unbound_after(run: Run) -> None:
    for (vm_id, vcpu_id), exits in run.of_vcpu("vcpu_run_exit").items():
        changes = run.of_vcpu("vcpu_state_change")[vm_id, vcpu_id]
        steps = Counter((c["old_state"], c["new_state"]) for c in changes)
        assert steps[FREE, READY] == steps[READY, FREE] == len(exits)


REASONS = {
    "aarch64": {HYPERCALL, EXTERNAL_INTERRUPT, SYSTEM_DOWN, NOTHING},
    "x86_64": {HYPERCALL, EXTERNAL_INTERRUPT, SYSTEM_DOWN, NOTHING, HALT},
}


def test_exit_reasons_are_those_that_reach_the_loop(run: Run) -> None:
    """Accesses to devices and registers, and resolved faults, are inner exits; aarch64 never halts."""
    more = {CPU_UP} | ({SEND_IPI} if run.arch == "aarch64" else set()) if run.vcpus > 1 else set()
    seen = {e["exit_reason"] for e in run["vcpu_run_exit"]}
    assert seen <= REASONS[run.arch] | more
    assert seen >= {EXTERNAL_INTERRUPT, SYSTEM_DOWN} | ({CPU_UP} if run.vcpus > 1 else set())


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_a_boot_shows_every_tracepoint_of_its_architecture(arch: str) -> None:
    run = finished(arch, 2, 3, 1.0, 4)
    absent = {name for name, events in run.by_name.items() if not events}
    assert absent == ({"vcpu_halt"} if arch == "aarch64" else set())
    expected = REASONS[arch] | {CPU_UP} | ({SEND_IPI} if arch == "aarch64" else set())
    assert {e["exit_reason"] for e in run["vcpu_run_exit"]} == expected


# Boot and start


def test_vm_k_runs_5_seconds_after_the_one_before(run: Run) -> None:
    first = {vm: min(e["time"] for e in run["vcpu_run_enter"] if e["vm_id"] == vm) for vm in range(1, run.vms + 1)}
    for vm in range(2, run.vms + 1):
        assert abs(first[vm] - first[vm - 1] - 5 * SECOND) < 1_000


def test_secondaries_are_started_before_they_run(run: Run) -> None:
    smp(run)
    assert Counter((e["vm_id"], e["target_vcpu"]) for e in run["cpu_up"]) == Counter(
        (vm, vcpu) for vm, vcpu in run.all_vcpus if vcpu
    )
    enters, exits = run.of_vcpu("vcpu_run_enter"), run.of_vcpu("vcpu_run_exit")
    for up in run["cpu_up"]:
        assert up["source_vcpu"] == 0
        assert up["time"] < enters[up["vm_id"], up["target_vcpu"]][0]["time"]
        before = [e for e in exits[up["vm_id"], 0] if e["time"] < up["time"]][-1]
        assert before["exit_reason"] == CPU_UP
        assert 100_000 <= up["time"] - before["time"] <= 1_002_000, "a task is spawned in 0.1 to 1 ms"


def test_cpu_on_is_a_psci_call_on_aarch64(run: Run) -> None:
    only(run, "aarch64")
    calls = [e for e in run["hypercall"] if e["nr"] == CPU_ON]
    assert [e["vcpu_id"] for e in calls] == [0] * len(run["cpu_up"])
    assert all(e["ret_val"] == 0 for e in calls)
    for call, up in zip(calls, run["cpu_up"], strict=True):
        assert 0 < call["time"] - up["time"] < 1_000


def test_the_order_of_the_start(run: Run) -> None:
    begin = [e["event"] for e in run.events[: 1 + run.stream.cpus]]
    assert begin == ["vmm_init"] + ["vhal_init"] * run.stream.cpus
    assert run["vmm_init"][0]["cpu_count"] == run.stream.cpus
    assert [(e["cpu_id"], e["on"]) for e in run["vhal_init"]] == [(cpu, cpu) for cpu in range(run.stream.cpus)]
    for vm in range(1, run.vms + 1):
        own = [e["event"] for e in run.events if e.get("vm_id") == vm]
        start = [name for name, _ in itertools.groupby(own[: own.index("vcpu_run_enter")])]
        assert start == [
            "config_load",
            "vm_create",
            "memory_map",
            "image_load",
            "vcpu_create",
            "memory_map",
            "vcpu_state_change",
            "vm_boot",
            "vcpu_state_change",
        ]
    created = [e["position"] for e in run["vm_create"]]
    assert max(created) < min(e["position"] for e in run["vm_boot"]), "all are loaded before the first is booted"
    assert all(e["vcpu_num"] == run.vcpus for e in run["vm_create"])


def test_loading_takes_as_long_as_the_image_is_large(run: Run) -> None:
    for load in run["image_load"]:
        if load["image_size"] >= 1 << 20:
            assert 0.3e9 < load["image_size"] / (load["duration_ns"] / SECOND) < 1.7e9


def test_a_duration_has_passed_when_it_is_reported(run: Run) -> None:
    assert all(e["duration_ns"] <= e["time"] for e in run.events if "duration_ns" in e)
    assert 10e6 <= run["vmm_init"][0]["duration_ns"] <= 100e6


# The end


def test_the_primary_switches_off_and_the_others_leave_at_their_next_exit(run: Run) -> None:
    exits = run.of_vcpu("vcpu_run_exit")
    for vm in range(1, run.vms + 1):
        downs = [e for e in run["vcpu_run_exit"] if e["vm_id"] == vm and e["exit_reason"] == SYSTEM_DOWN]
        assert [e["vcpu_id"] for e in downs] == [0]
        assert exits[vm, 0][-1] is downs[0]
        for vcpu in range(1, run.vcpus):
            assert sum(e["time"] > downs[0]["time"] for e in exits[vm, vcpu]) == 1


def test_the_last_vcpu_to_leave_stops_the_vm(run: Run) -> None:
    assert [e["reason"] for e in run["vm_shutdown"]] == [1] * run.vms
    for stop in run["vm_shutdown"]:
        own = [e for e in run.events if e.get("vm_id") == stop["vm_id"] and e["position"] < stop["position"]]
        assert own[-1]["on"] == stop["on"]
        down = next(e for e in own if e["event"] == "vcpu_run_exit" and e["exit_reason"] == SYSTEM_DOWN)
        assert stop["duration_ns"] == stop["time"] - down["time"]
        later = {e["event"] for e in run.events[stop["position"] + 1 :] if e.get("vm_id") == stop["vm_id"]}
        assert later == {"vcpu_destroy", "memory_unmap", "vm_destroy"}


def test_system_off_is_a_psci_call_on_aarch64(run: Run) -> None:
    only(run, "aarch64")
    calls = [e for e in run["hypercall"] if e["nr"] == SYSTEM_OFF]
    assert [(e["vm_id"], e["vcpu_id"]) for e in calls] == [(vm, 0) for vm in range(1, run.vms + 1)]


def test_the_shell_comes_when_all_have_stopped_and_deletes_them(run: Run) -> None:
    shell = run["shell_init"][0]["position"]
    assert shell > run["vm_shutdown"][-1]["position"]
    end = [name for name, _ in itertools.groupby(e["event"] for e in run.events[shell:])]
    delete = ["vcpu_destroy", "memory_unmap", "vm_destroy", "shell_command"]
    assert end == ["shell_init", "shell_command"] + delete * run.vms
    assert [e["cmd_id"] for e in run["shell_command"]] == [7] + [6] * run.vms
    for command, destroy in zip(run["shell_command"][1:], run["vm_destroy"], strict=True):
        assert command["time"] - command["duration_ns"] < destroy["time"] < command["time"]


def test_what_was_made_is_unmade(run: Run) -> None:
    for made, unmade, keys in (
        ("vm_create", "vm_destroy", ["vm_id"]),
        ("vcpu_create", "vcpu_destroy", ["vm_id", "vcpu_id"]),
        ("memory_map", "memory_unmap", ["vm_id", "gpa", "size"]),
    ):
        first, second = (sorted(tuple(e[k] for k in keys) for e in run[name]) for name in (made, unmade))
        assert first == second


# Memory and devices


def test_memory_of_vms_is_disjoint(run: Run) -> None:
    ram = [e for e in run["memory_map"] if e["flags"] == 0xF]
    assert [e["vm_id"] for e in ram] == list(range(1, run.vms + 1))
    regions = sorted((e["hpa"], e["hpa"] + e["size"]) for e in run["memory_map"])
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(regions))
    assert {e["flags"] for e in run["memory_map"]} == {0xF, 0x1B}
    assert all(e["gpa"] % 4096 == e["hpa"] % 4096 == e["size"] % 4096 == 0 for e in run["memory_map"])
    if run.arch == "aarch64":
        assert all(e["gpa"] == e["hpa"] for e in run["memory_map"]), "identity"


def test_page_faults_are_in_the_vms_memory(run: Run) -> None:
    ram = {e["vm_id"]: (e["gpa"], e["gpa"] + e["size"]) for e in run["memory_map"] if e["flags"] == 0xF}
    for fault in run["page_fault"]:
        low, high = ram[fault["vm_id"]]
        assert low <= fault["gpa"] < high
        assert fault["access_type"] in (1, 2, 4)


# device id, first address, bytes, whether every vCPU has one, bytes of an access
DEVICES = {
    "aarch64": [
        (0x21, 0x0800_0000, 0x1_0000, False, 4),
        (0x22, 0x0808_0000, 0x2_0000, False, 4),
        (0x20, 0x080A_0000, 0x2_0000, True, 4),
    ],
    "x86_64": [(2, 0x3F8, 8, False, 1), (0x24, 0x40, 4, False, 1), (0x23, 0xFEC0_0000, 0x1000, False, 4)],
}


def test_accesses_go_to_emulated_ranges(run: Run) -> None:
    ranges = {
        device: range(base, base + size * (run.vcpus if each else 1), width)
        for device, base, size, each, width in DEVICES[run.arch]
    }
    for access in run["device_access"]:
        assert access["addr"] in ranges[access["device_id"]]
        assert access["is_write"] in (0, 1)
    mapped = [(e["gpa"], e["gpa"] + e["size"]) for e in run["memory_map"] if e["flags"] == 0x1B]
    assert all(r.stop <= low or r.start >= high for r in ranges.values() for low, high in mapped), (
        "or they would not exit"
    )


# Hypercalls


def test_hypercall_numbers(run: Run) -> None:
    psci = set(range(0x8400_0000, 0x8400_0020)) | set(range(0xC400_0000, 0xC400_0020))
    numbers = {e["nr"] for e in run["hypercall"]}
    assert numbers <= set(range(7)) | (psci if run.arch == "aarch64" else set()), "x86-64 has no PSCI"
    assert {e["ret_val"] for e in run["hypercall"]} <= {0, -1}


def test_bad_hypercalls_get_minus_1() -> None:
    """Of PSCI the loop acts on CPU_ON, CPU_OFF and SYSTEM_OFF alone; a subscription may come too early."""
    run = finished("aarch64", 2, 1, 5.8, 0)
    failed = {e["nr"] for e in run["hypercall"] if e["ret_val"] == -1}
    assert failed == {0x8400_0000, 0x8400_000A, 4}
    for call in run["hypercall"]:
        if call["nr"] >= 0x8400_0000:
            assert (call["ret_val"] == 0) == (call["nr"] in (CPU_ON, SYSTEM_OFF))


def test_every_hypercall_exit_is_answered(run: Run) -> None:
    exits = Counter(e["exit_reason"] for e in run["vcpu_run_exit"])
    psci = exits[CPU_UP] + exits[SYSTEM_DOWN] if run.arch == "aarch64" else 0
    assert len(run["hypercall"]) == exits[HYPERCALL] + psci


# Interrupts and timers


def test_every_interrupt_exit_is_handled(run: Run) -> None:
    exits = [e for e in run["vcpu_run_exit"] if e["exit_reason"] == EXTERNAL_INTERRUPT]
    assert len(run["external_interrupt"]) == len(run["irq_handle"]) == len(exits)
    by_cpu = {cpu: [e for e in run["irq_handle"] if e["on"] == cpu] for cpu in range(run.stream.cpus)}
    for key, interrupts in run.of_vcpu("external_interrupt").items():
        own = [e for e in exits if (e["vm_id"], e["vcpu_id"]) == key]
        for exited, interrupt, handled in zip(own, interrupts, by_cpu[own[0]["on"]], strict=True):
            assert exited["time"] < interrupt["time"] < handled["time"]
            assert handled["duration_ns"] == handled["time"] - interrupt["time"]
            assert interrupt["vector"] == (0 if run.arch == "aarch64" else handled["irq_num"])


def test_interrupt_numbers(run: Run) -> None:
    host, guest = (26, 30) if run.arch == "aarch64" else (0xF0, 0xEC)
    handled = Counter(e["irq_num"] for e in run["irq_handle"])
    injected = Counter(e["irq_num"] for e in run["irq_inject"])
    assert handled[host] == len(run["timer_tick"]) + len(run["timer_event"])
    assert injected[guest] == len(run["timer_event"])
    ipis = Counter(e["vector"] for e in run["ipi_send"])
    assert injected - ipis - Counter({guest: injected[guest]}) == handled - Counter({host: handled[host]})
    assert all(vector < 16 if run.arch == "aarch64" else 0xF0 < vector < 0x100 for vector in ipis)


def test_the_host_ticks_100_times_a_second(run: Run) -> None:
    assert all(e["timestamp"] == e["time"] for e in run["timer_tick"])
    ticks = Counter(e["on"] for e in run["timer_tick"])
    for enters in run.of_vcpu("vcpu_run_enter").values():
        lived = (enters[-1]["time"] - enters[0]["time"]) / SECOND
        assert abs(ticks[enters[0]["on"]] - 100 * lived) < 3


def test_ipis_go_to_another_vcpu_that_runs(run: Run) -> None:
    smp(run)
    first = {key: enters[0]["time"] for key, enters in run.of_vcpu("vcpu_run_enter").items()}
    injected = {(e["vm_id"], e["vcpu_id"], e["irq_num"], e["on"], e["time"]) for e in run["irq_inject"]}
    for ipi in run["ipi_send"]:
        assert ipi["target_cpu"] in set(range(run.vcpus)) - {ipi["vcpu_id"]}
        assert first[ipi["vm_id"], ipi["target_cpu"]] < ipi["time"]
        assert (ipi["vm_id"], ipi["target_cpu"], ipi["vector"], ipi["on"], ipi["time"] + 50) in injected


def test_no_ipis_on_a_single_vcpu(run: Run) -> None:
    if run.vcpus == 1:
        assert not run["ipi_send"]
        assert not run["cpu_up"]
    else:
        assert len(run["cpu_up"]) == run.vms * (run.vcpus - 1)


def test_halts_on_x86_let_the_idle_task_run(run: Run) -> None:
    only(run, "x86_64")
    halts = [e for e in run["vcpu_run_exit"] if e["exit_reason"] == HALT]
    assert len(run["vcpu_halt"]) == len(halts) > 0
    assert len(run["task_switch"]) == 2 * len(halts) + 2 * len(run.all_vcpus)


def test_tasks_are_switched_from_the_one_that_ran(run: Run) -> None:
    for _, switches in itertools.groupby(sorted(run["task_switch"], key=lambda e: e["on"]), key=lambda e: e["on"]):
        own = list(switches)
        assert all(a["to_task"] == b["from_task"] for a, b in itertools.pairwise(own))
        assert own[0]["from_task"] == own[-1]["to_task"], "idle before and after"
        assert all(e["from_task"] != e["to_task"] and e["to_task"] >= 0xFFFF_8000_0000_0000 for e in own)


# Latencies: bounds in ns for the median, and for the longest


LATENCIES = {
    "hypercall": (500, 3_000, 100_000),
    "irq_handle": (1_000, 5_000, 100_000),
    "page_fault": (2_000, 15_000, 210_000),
}


@pytest.mark.parametrize("event", LATENCIES)
@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_latencies_are_skewed_with_a_tail(arch: str, event: str) -> None:
    low, high, longest = LATENCIES[event]
    columns = [chunk.columns[f"vmm:{event}"] for chunk in workload("boot", arch=arch, vms=1, events=500_000)]
    seen = [c["duration_ns"][c["nr"] < 7] if event == "hypercall" else c["duration_ns"] for c in columns]
    values = np.concatenate(seen)
    median = float(np.median(values))
    assert low <= median <= high
    assert values.max() <= longest
    logs = np.log(values)
    assert values.mean() > median
    assert 0.2 < logs.std() < 1.0
    assert values.max() > 4 * median, "the tail"


def test_runs_are_between_microseconds_and_the_tick(run: Run) -> None:
    durations = np.array([e["duration_ns"] for e in run["vcpu_run_exit"]])
    assert durations.min() > 500
    assert durations.max() < 20_000_000
    assert len(set(np.floor(np.log10(durations)))) >= 3, "a histogram of them has several buckets"


# Parameters


def test_the_default_is_a_boot_of_two_vms_of_a_size_to_look_at() -> None:
    stream = workload("boot")
    assert dict(stream.parameters) == {
        "vms": 2,
        "vcpus": 1,
        "seed": 0,
        "arch": "aarch64",
        "duration_s": 5.8,
        "events": None,
    }
    assert 10_000 <= sum(map(len, stream)) <= 50_000
    assert stream.cpus == 2


def digest(chunks: list[Chunk]) -> list[bytes]:
    columns = [c.tobytes() for chunk in chunks for fields in chunk.columns.values() for c in fields.values()]
    return columns + [part.tobytes() for chunk in chunks for part in (chunk.order, chunk.time_ns, chunk.cpu)]


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_the_seed_decides_everything(arch: str) -> None:
    stream = workload("boot", arch=arch, vcpus=2, duration_s=0.5, seed=7)
    first = digest(list(stream))
    assert digest(list(stream)) == first, "a second iteration starts anew"
    assert digest(list(workload("boot", arch=arch, vcpus=2, duration_s=0.5, seed=7))) == first
    assert digest(list(workload("boot", arch=arch, vcpus=2, duration_s=0.5, seed=8))) != first


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
@pytest.mark.parametrize(("vms", "vcpus", "events"), [(1, 1, 5_000), (2, 1, 100_000), (2, 4, 300_000), (8, 2, 200_000)])
def test_about_as_many_events_as_asked_for(arch: str, vms: int, vcpus: int, events: int) -> None:
    stream = workload("boot", arch=arch, vms=vms, vcpus=vcpus, events=events)
    assert abs(sum(map(len, stream)) / events - 1) < 0.15


def test_duration_is_the_life_of_a_vm() -> None:
    run = finished("aarch64", 2, 1, 5.8, 0)
    for vm in (1, 2):
        first = next(e for e in run["vcpu_run_enter"] if e["vm_id"] == vm)
        off = next(e for e in run["vcpu_run_exit"] if e["vm_id"] == vm and e["exit_reason"] == SYSTEM_DOWN)
        assert abs((off["time"] - first["time"]) / SECOND - 5.8) < 0.001


def test_numpys_numbers_are_numbers() -> None:
    parameters = workload("boot", vms=np.int64(1), seed=np.uint8(3), duration_s=np.float32(0.5)).parameters
    assert (parameters["vms"], parameters["seed"], parameters["duration_s"]) == (1, 3, 0.5)
    assert type(parameters["vms"]) is int
    assert workload("boot", duration_s=1).parameters["duration_s"] == 1.0


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"vms": 0}, "vms is 0; boot takes 1 to 8"),
    ({"vms": 9}, "vms is 9; boot takes 1 to 8"),
    ({"vms": 2.0}, "vms is 2.0; boot takes 1 to 8"),
    ({"vms": True}, "vms is True; boot takes 1 to 8"),
    ({"vms": "2"}, "vms is '2'; boot takes 1 to 8"),
    ({"vms": None}, "vms is None; boot takes 1 to 8"),
    ({"vcpus": -1}, "vcpus is -1; boot takes 1 to 8"),
    ({"seed": -1}, "seed is -1; boot takes whole numbers from 0"),
    ({"seed": 0.5}, "seed is 0.5; boot takes whole numbers from 0"),
    ({"arch": "x86-64"}, "arch is 'x86-64'; boot takes aarch64 or x86_64; did you mean x86_64?"),
    ({"arch": 64}, "arch is 64; boot takes aarch64 or x86_64"),
    ({"duration_s": 0}, "duration_s is 0; boot takes 0.1 to 3600"),
    ({"duration_s": float("nan")}, "duration_s is nan; boot takes 0.1 to 3600"),
    ({"duration_s": 10**400}, f"duration_s is {10**400}; boot takes 0.1 to 3600"),
    ({"duration_s": "1"}, "duration_s is '1'; boot takes 0.1 to 3600"),
    ({"events": 0}, "events is 0; boot takes whole numbers from 1"),
    ({"duration_s": 1, "events": 5}, "duration_s and events both say how long boot runs; give one"),
    ({"vm": 1}, "boot has no parameter vm; did you mean vms?"),
    ({"qq": 1}, "boot has no parameter qq; it has vms, vcpus, seed, arch, duration_s, events"),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED, ids=lambda value: str(value)[:30])
def test_refused_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(HypervisorError) as caught:
        workload("boot", **parameters)
    assert str(caught.value) == message
    assert caught.value.workload == "boot"
    assert caught.value.parameter in parameters
    assert caught.value.value is parameters[caught.value.parameter]


def test_events_out_of_range_name_the_range() -> None:
    with pytest.raises(HypervisorError, match=r"events is 10; boot takes \d+ to \d+ with vms=2, vcpus=1, arch=aarch64"):
        workload("boot", events=10)


def test_unknown_workloads() -> None:
    with pytest.raises(HypervisorError, match=r"no workload bot; did you mean boot\?"):
        workload("bot")
    with pytest.raises(HypervisorError, match="no workload zzz; there is boot"):
        workload("zzz")


def test_every_workload_says_what_it_takes() -> None:
    for name, known in WORKLOADS.items():
        assert known.name == name
        assert known.doc
        for parameter in known.parameters:
            assert parameter.doc
            assert parameter.check(name, parameter.default) == parameter.default
