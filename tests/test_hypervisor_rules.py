"""The simulated hypervisor is believable: one test for each rule that a real one keeps, for every workload.

The expectations (ids, ranges, orders, encodings) are typed here, not taken from the simulator's tables.
"""

import functools
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from axebpf.hypervisor import WORKLOADS, Chunk, workload
from axebpf.tracepoints import BUILTIN

HYPERCALL, EXTERNAL_INTERRUPT, NESTED_PAGE_FAULT, HALT, CPU_UP, CPU_DOWN = 0, 7, 8, 9, 10, 11
SYSTEM_DOWN, NOTHING, FAIL_ENTRY, SEND_IPI = 12, 13, 14, 15
INVALID, CREATED, FREE, READY, RUNNING = 0, 1, 2, 3, 4
CLEAN, DOWN, FORCED, FAULT = 0, 1, 2, 3
CPU_ON, CPU_OFF, SYSTEM_OFF = 0xC4000003, 0x84000002, 0x84000008
SECOND = 1_000_000_000
ARCHITECTURES = ("aarch64", "x86_64", "riscv64")

Event = dict[str, Any]

# VMs, vCPUs, seed and the rest
CONFIGURATIONS: dict[str, list[tuple[int, int, int, dict[str, Any]]]] = {
    "boot": [(2, 1, 0, {"duration_s": 5.3}), (1, 8, 1, {"duration_s": 0.3}), (3, 2, 2, {"duration_s": 0.1})],
    "steady": [(2, 1, 0, {"duration_s": 2.0}), (2, 3, 3, {"duration_s": 0.5})],
    "smp-boot": [(1, 4, 0, {"duration_s": 0.2}), (2, 2, 4, {"duration_s": 0.1})],
    "irq-storm": [(2, 1, 0, {"duration_s": 0.3, "rate": 5000}), (1, 2, 5, {"duration_s": 0.1})],
    "mmio-heavy": [(1, 1, 0, {"duration_s": 0.2}), (2, 2, 6, {"duration_s": 0.1, "rate": 5000})],
    "hypercalls": [(1, 1, 0, {"duration_s": 0.2}), (2, 2, 7, {"duration_s": 0.1, "rate": 5000})],
    "shutdown": [(4, 1, 0, {"duration_s": 0.5}), (4, 3, 8, {"duration_s": 0.1}), (2, 8, 9, {"reason": "forced"})],
    "mixed": [(3, 2, 0, {"duration_s": 0.3}), (1, 1, 10, {"duration_s": 0.4})],
}
FROM_POWER_ON = {"boot", "smp-boot", "mixed"}
TO_THE_END = FROM_POWER_ON | {"shutdown"}


def endings(name: str, arch: str, vms: int, parameters: dict[str, Any]) -> list[int]:
    """Why each VM stops: no vCPU of x86-64 can switch itself off, and nobody is at the shell in mixed."""
    if "reason" in parameters:
        return [{"system-down": DOWN, "forced": FORCED, "fault": FAULT, "clean": CLEAN}[parameters["reason"]]] * vms
    ways = {"mixed": [DOWN, FAULT, CLEAN], "shutdown": [DOWN, FORCED, FAULT, CLEAN]}.get(name, [DOWN])
    ways = [way for way in ways if way != CLEAN or arch != "x86_64"]
    return [ways[k % len(ways)] for k in range(vms)]


class Run:
    """A finished workload: all events as dicts in order, and the same by tracepoint."""

    def __init__(self, name: str, arch: str, vms: int, vcpus: int, seed: int, parameters: dict[str, Any]) -> None:
        self.name, self.arch, self.vms, self.vcpus = name, arch, vms, vcpus
        self.created, self.ended = name in FROM_POWER_ON, name in TO_THE_END
        self.endings = endings(name, arch, vms, parameters)
        self.stream = workload(name, arch=arch, vms=vms, vcpus=vcpus, seed=seed, **parameters)
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


RUNS = [
    (name, arch, k) for name, all_of in CONFIGURATIONS.items() for arch in ARCHITECTURES for k in range(len(all_of))
]


@functools.cache
def finished(name: str, arch: str, number: int) -> Run:
    vms, vcpus, seed, parameters = CONFIGURATIONS[name][number]
    return Run(name, arch, vms, vcpus, seed, parameters)


@pytest.fixture(params=RUNS, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}")
def run(request: pytest.FixtureRequest) -> Run:
    return finished(*request.param)


def of(*names: str, arch: str = "", number: int = -1) -> Any:
    """Restricts a rule to some workloads, an architecture."""
    chosen = [r for r in RUNS if r[0] in names and arch in ("", r[1]) and number in (-1, r[2])]
    return pytest.mark.parametrize("run", chosen, indirect=True, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}")


from_power_on = of(*FROM_POWER_ON)
to_the_end = of(*TO_THE_END)


def test_every_workload_keeps_the_rules() -> None:
    assert set(CONFIGURATIONS) == set(WORKLOADS)


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
    for (vm_id, vcpu_id), own in cpus.items():
        assert own == {(vm_id - 1) * run.vcpus + vcpu_id}, "the one that it is bound to"
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
            last = INVALID if event["exit_reason"] in (NESTED_PAGE_FAULT, FAIL_ENTRY) else READY
            assert [c["new_state"] for c in changes] == [*([RUNNING, READY] * (len(changes) // 2))[:-1], last]
            guest = sum(b["time"] - a["time"] for a, b in zip(changes[::2], changes[1::2], strict=True))
            handled = sum(b["time"] - a["time"] for a, b in zip(changes[1:-1:2], changes[2::2], strict=True))
            around = event["duration_ns"] - guest - handled
            assert 0 < around < 1_000, "entering and leaving take less than a microsecond"
            inner += len(changes) // 2 - 1
    assert inner >= len(run["device_access"]) + len(run["page_fault"])


def test_states_follow_each_other(run: Run) -> None:
    legal = {(FREE, READY), (READY, RUNNING), (RUNNING, READY), (READY, FREE)}
    for (vm_id, vcpu_id), changes in run.of_vcpu("vcpu_state_change").items():
        failed = run.ended and run.endings[vm_id - 1] == FAULT and vcpu_id == 0
        expected = legal | ({(CREATED, FREE)} if run.created else set()) | ({(RUNNING, INVALID)} if failed else set())
        assert {(c["old_state"], c["new_state"]) for c in changes} == expected
        first = (CREATED, FREE) if run.created else (FREE, READY)
        assert (changes[0]["old_state"], changes[0]["new_state"]) == first
        assert all(a["new_state"] == b["old_state"] for a, b in itertools.pairwise(changes))
        assert changes[-1]["new_state"] == (INVALID if failed else FREE)


def test_each_run_is_bound_before_and_unbound_after(run: Run) -> None:
    for (vm_id, vcpu_id), exits in run.of_vcpu("vcpu_run_exit").items():
        changes = run.of_vcpu("vcpu_state_change")[vm_id, vcpu_id]
        steps = Counter((c["old_state"], c["new_state"]) for c in changes)
        assert steps[FREE, READY] == len(exits)
        assert steps[READY, FREE] == len(exits) - steps[RUNNING, INVALID], "a run that fails is not unbound"


REASONS = {
    "aarch64": {HYPERCALL, EXTERNAL_INTERRUPT, NOTHING},
    "x86_64": {HYPERCALL, EXTERNAL_INTERRUPT, NOTHING, HALT},
    "riscv64": {HYPERCALL, EXTERNAL_INTERRUPT, NOTHING, HALT},
}
LAST = {DOWN: SYSTEM_DOWN, FAULT: NESTED_PAGE_FAULT, CLEAN: CPU_DOWN}


def test_exit_reasons_are_those_that_reach_the_loop(run: Run) -> None:
    """Accesses to devices and registers, and resolved faults, are inner exits; aarch64 never halts."""
    expected = set(REASONS[run.arch])
    if run.vcpus > 1:
        expected |= ({CPU_UP} if run.created else set()) | ({SEND_IPI} if run.arch == "aarch64" else set())
    if run.ended:
        expected |= {LAST[way] for way in run.endings if way != FORCED}
    if run.arch == "x86_64" and NESTED_PAGE_FAULT in expected:
        expected = expected - {NESTED_PAGE_FAULT} | {FAIL_ENTRY}
    seen = {e["exit_reason"] for e in run["vcpu_run_exit"]}
    assert seen <= expected
    assert seen >= expected - {HYPERCALL, NOTHING, HALT, SEND_IPI}, "those are rare while there is little to do"


@of("boot", "mixed", number=0)
def test_a_whole_life_shows_every_tracepoint_of_its_architecture(run: Run) -> None:
    absent = {name for name, events in run.by_name.items() if not events}
    assert absent - ({"cpu_up", "ipi_send"} if run.vcpus == 1 else set()) == (
        {"vcpu_halt"} if run.arch == "aarch64" else set()
    )


@of("steady", "irq-storm", "mmio-heavy", "hypercalls")
def test_vms_that_run_already_are_not_made_again(run: Run) -> None:
    lifecycle = {"vmm_init", "vhal_init", "config_load", "vm_create", "memory_map", "image_load", "vcpu_create"}
    lifecycle |= {"vm_boot", "cpu_up", "vm_shutdown", "vcpu_destroy", "memory_unmap", "vm_destroy"}
    lifecycle |= {"shell_init", "shell_command"}
    assert not [name for name in lifecycle if run[name]]


# Boot and start


@from_power_on
def test_vm_k_runs_5_seconds_after_the_one_before(run: Run) -> None:
    first = {vm: min(e["time"] for e in run["vcpu_run_enter"] if e["vm_id"] == vm) for vm in range(1, run.vms + 1)}
    for vm in range(2, run.vms + 1):
        assert abs(first[vm] - first[vm - 1] - 5 * SECOND) < 1_000


@from_power_on
def test_secondaries_are_started_before_they_run(run: Run) -> None:
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


@of(*FROM_POWER_ON, arch="aarch64")
def test_cpu_on_is_a_psci_call_on_aarch64(run: Run) -> None:
    calls = [e for e in run["hypercall"] if e["nr"] == CPU_ON]
    assert [e["vcpu_id"] for e in calls] == [0] * len(run["cpu_up"])
    assert all(e["ret_val"] == 0 for e in calls)
    for call, up in zip(calls, run["cpu_up"], strict=True):
        assert 0 < call["time"] - up["time"] < 1_000


@from_power_on
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


@from_power_on
def test_loading_takes_as_long_as_the_image_is_large(run: Run) -> None:
    for load in run["image_load"]:
        if load["image_size"] >= 1 << 20:
            assert 0.3e9 < load["image_size"] / (load["duration_ns"] / SECOND) < 1.7e9


def test_a_duration_has_passed_when_it_is_reported(run: Run) -> None:
    assert all(e["duration_ns"] <= e["time"] for e in run.events if "duration_ns" in e)
    assert all(10e6 <= e["duration_ns"] <= 100e6 for e in run["vmm_init"])


# The end


@to_the_end
def test_the_vcpus_leave_as_their_vm_ends(run: Run) -> None:
    """The primary switches off, or fails, or the shell's command comes: the others leave at their next exit."""
    exits, last = run.of_vcpu("vcpu_run_exit"), {CPU_DOWN, SYSTEM_DOWN, NESTED_PAGE_FAULT, FAIL_ENTRY}
    for vm, way in zip(range(1, run.vms + 1), run.endings, strict=True):
        own = [exits[vm, vcpu] for vcpu in range(run.vcpus)]
        final = [[e for e in of_vcpu if e["exit_reason"] in last] for of_vcpu in own]
        assert all(events in ([], [of_vcpu[-1]]) for events, of_vcpu in zip(final, own, strict=True))
        if way == CLEAN:
            assert all(events for events in final), "each by itself"
            times = [of_vcpu[-1]["time"] for of_vcpu in own]
            assert times == sorted(times, reverse=True), "the primary last"
            continue
        if way == FORCED:
            assert not any(final)
            begun = next(e for e in run["vm_shutdown"] if e["vm_id"] == vm)
            begun = begun["time"] - begun["duration_ns"]
        else:
            assert [bool(events) for events in final] == [True] + [False] * (run.vcpus - 1)
            begun = own[0][-1]["time"]
        for of_vcpu in own if way == FORCED else own[1:]:
            assert sum(e["time"] > begun for e in of_vcpu) == 1


@to_the_end
def test_the_last_vcpu_to_leave_stops_the_vm(run: Run) -> None:
    assert [e["reason"] for e in sorted(run["vm_shutdown"], key=lambda e: e["vm_id"])] == run.endings
    for stop in run["vm_shutdown"]:
        cpus = range((stop["vm_id"] - 1) * run.vcpus, stop["vm_id"] * run.vcpus)
        idle = {e["on"]: e["time"] for e in run["task_switch"] if e["on"] in cpus}
        assert stop["on"] == max(cpus, key=lambda cpu: idle[cpu]), "its task is the last to end"
        assert 0 < idle[stop["on"]] - stop["time"] < 1_000
        own = [e for e in run.events if e.get("vm_id") == stop["vm_id"] and e["position"] < stop["position"]]
        if stop["reason"] in (DOWN, FAULT):
            down = [e for e in own if e["event"] == "vcpu_run_exit" and e["vcpu_id"] == 0][-1]
            assert stop["duration_ns"] == stop["time"] - down["time"]
        later = {e["event"] for e in run.events[stop["position"] + 1 :] if e.get("vm_id") == stop["vm_id"]}
        assert later == {"vcpu_destroy", "memory_unmap", "vm_destroy"}


@of("shutdown")
def test_the_shell_stops_by_a_command_of_its_own_cpu(run: Run) -> None:
    commands = [e for e in run["shell_command"] if e["cmd_id"] == 2]
    forced = [e for e in run["vm_shutdown"] if e["reason"] == FORCED]
    assert len(commands) == len(forced) > 0
    assert {e["on"] for e in run["shell_command"]} == {run.vms * run.vcpus}
    for command, stop in zip(commands, forced, strict=True):
        assert command["time"] - command["duration_ns"] == stop["time"] - stop["duration_ns"]


@of(*TO_THE_END, arch="aarch64")
def test_switching_off_is_a_psci_call_on_aarch64(run: Run) -> None:
    calls = Counter((e["nr"], e["vm_id"], e["vcpu_id"]) for e in run["hypercall"] if e["nr"] in (CPU_OFF, SYSTEM_OFF))
    ends = list(enumerate(run.endings, start=1))
    system = {(SYSTEM_OFF, vm, 0) for vm, way in ends if way == DOWN}
    cpus = {(CPU_OFF, vm, vcpu) for vm, way in ends if way == CLEAN for vcpu in range(run.vcpus)}
    assert calls == Counter(system | cpus)


@to_the_end
def test_the_shell_deletes_them_when_all_have_stopped(run: Run) -> None:
    shell = run["vm_shutdown"][-1]["position"] + 1
    end = [name for name, _ in itertools.groupby(e["event"] for e in run.events[shell:] if e["event"] != "task_switch")]
    delete = ["vcpu_destroy", "memory_unmap", "vm_destroy", "shell_command"]
    late = ["shell_command"] if run.endings[-1] == FORCED else []
    begin = ["shell_init"] if run.created else late
    assert end in (begin + ["shell_command"] + delete * run.vms, ["shell_command"] + delete * run.vms)
    listed, *commands = [e for e in run["shell_command"] if e["cmd_id"] != 2]
    assert (listed["cmd_id"], [e["cmd_id"] for e in commands]) == (7, [6] * run.vms)
    for command, destroy in zip(commands, run["vm_destroy"], strict=True):
        assert command["time"] - command["duration_ns"] < destroy["time"] < command["time"]


@to_the_end
def test_what_was_made_is_unmade(run: Run) -> None:
    assert Counter(e["vm_id"] for e in run["vm_destroy"]) == Counter(range(1, run.vms + 1))
    assert Counter((e["vm_id"], e["vcpu_id"]) for e in run["vcpu_destroy"]) == Counter(run.all_vcpus)
    for made, unmade, keys in (
        ("vm_create", "vm_destroy", ["vm_id"]),
        ("vcpu_create", "vcpu_destroy", ["vm_id", "vcpu_id"]),
        ("memory_map", "memory_unmap", ["vm_id", "gpa", "size"]),
    ):
        first, second = (sorted(tuple(e[k] for k in keys) for e in run[name]) for name in (made, unmade))
        assert first == second or not run.created


# Memory and devices


@from_power_on
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
    size = 256 << 20
    for fault in run["page_fault"]:
        low = {"aarch64": 0x8000_0000 + (fault["vm_id"] - 1) * size, "x86_64": 0, "riscv64": 0x8000_0000}[run.arch]
        assert low <= fault["gpa"] < low + size
        assert fault["access_type"] in (1, 2, 4)


# device id, first address, bytes, whether every vCPU has one, bytes of an access
DEVICES = {
    "aarch64": [
        (0x21, 0x0800_0000, 0x1_0000, False, 4),
        (0x22, 0x0808_0000, 0x2_0000, False, 4),
        (0x20, 0x080A_0000, 0x2_0000, True, 4),
    ],
    "x86_64": [(2, 0x3F8, 8, False, 1), (0x24, 0x40, 4, False, 1), (0x23, 0xFEC0_0000, 0x1000, False, 4)],
    "riscv64": [(0x30, 0x0C00_0000, 0x60_0000, False, 4), (2, 0x1000_0000, 0x100, False, 1)],
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
    assert numbers <= set(range(7)) | (psci if run.arch == "aarch64" else set()), "no PSCI elsewhere"
    assert {e["ret_val"] for e in run["hypercall"]} <= {0, -1}


def test_bad_hypercalls_get_minus_1() -> None:
    """Of PSCI the loop acts on CPU_ON, CPU_OFF and SYSTEM_OFF alone; a subscription may come too early."""
    run = finished("boot", "aarch64", 0)
    failed = {e["nr"] for e in run["hypercall"] if e["ret_val"] == -1}
    assert failed == {0x8400_0000, 0x8400_000A, 4}
    for call in run["hypercall"]:
        if call["nr"] >= 0x8400_0000:
            assert (call["ret_val"] == 0) == (call["nr"] in (CPU_ON, CPU_OFF, SYSTEM_OFF))


def test_every_hypercall_exit_is_answered(run: Run) -> None:
    exits = Counter(e["exit_reason"] for e in run["vcpu_run_exit"])
    psci = exits[CPU_UP] + exits[CPU_DOWN] + exits[SYSTEM_DOWN] if run.arch == "aarch64" else 0
    assert len(run["hypercall"]) == exits[HYPERCALL] + psci


# Interrupts and timers


def test_every_interrupt_exit_is_handled(run: Run) -> None:
    exits = run.of_vcpu("vcpu_run_exit")
    by_cpu = {cpu: [e for e in run["irq_handle"] if e["on"] == cpu] for cpu in range(run.stream.cpus)}
    for key, interrupts in run.of_vcpu("external_interrupt").items():
        own = [e for e in exits[key] if e["exit_reason"] == EXTERNAL_INTERRUPT]
        handling = by_cpu[exits[key][0]["on"]]
        if run.arch == "riscv64":  # the timer's interrupts end a run too, but with nothing to do
            timers = [e for e in handling if e["irq_num"] == 5]
            handling = [e for e in handling if e["irq_num"] != 5]
            nothing = np.array([e["time"] for e in exits[key] if e["exit_reason"] == NOTHING])
            before = np.searchsorted(nothing, [e["time"] - e["duration_ns"] for e in timers]) - 1
            assert len(set(before.tolist())) == len(timers), "a Nothing exit for each"
        for exited, interrupt, handled in zip(own, interrupts, handling, strict=True):
            assert exited["time"] < interrupt["time"] < handled["time"]
            assert handled["duration_ns"] == handled["time"] - interrupt["time"]
            vectors = {"aarch64": 0, "x86_64": handled["irq_num"], "riscv64": (1 << 63) + 9}
            assert interrupt["vector"] == vectors[run.arch]


# of the hypervisor's timer, of the guest's, and those of IPIs
INTERRUPTS = {"aarch64": (26, 30, range(16)), "x86_64": (0xF0, 0xEC, range(0xF1, 0x100)), "riscv64": (5, 6, [2])}


def test_interrupt_numbers(run: Run) -> None:
    host, guest, ipi_vectors = INTERRUPTS[run.arch]
    handled = Counter(e["irq_num"] for e in run["irq_handle"])
    injected = Counter(e["irq_num"] for e in run["irq_inject"])
    assert handled[host] == len(run["timer_tick"]) + len(run["timer_event"])
    assert injected[guest] == len(run["timer_event"])
    ipis = Counter((e["vm_id"], e["target_cpu"], e["vector"], e["on"]) for e in run["ipi_send"])
    sent = Counter((e["vm_id"], e["vcpu_id"], e["irq_num"], e["on"]) for e in run["irq_inject"])
    devices = Counter({key: n for key, n in (sent - ipis).items() if key[2] != guest})
    by_number: Counter[int] = Counter()
    for (_, _, irq, _), n in devices.items():
        by_number[irq] += n
    assert by_number == handled - Counter({host: handled[host]})
    assert all(e["vector"] in ipi_vectors for e in run["ipi_send"])


@of(*WORKLOADS, arch="riscv64")
def test_a_guest_tick_is_two_nothing_exits_on_riscv64(run: Run) -> None:
    """The timer's interrupt, and the SBI call that sets the timer again."""
    exits = run.of_vcpu("vcpu_run_exit")
    cpus = {key: own[0]["on"] for key, own in exits.items()}
    handled = Counter(e["on"] for e in run["irq_handle"] if e["irq_num"] == 5)
    nothing = {key: sum(e["exit_reason"] == NOTHING for e in own) for key, own in exits.items()}
    expirations = Counter(e["on"] for e in run["irq_inject"] if e["irq_num"] == 6)
    for key, cpu in cpus.items():
        assert nothing[key] >= handled[cpu] + expirations[cpu] - 1, "the last call may come too late"


def test_the_host_ticks_100_times_a_second(run: Run) -> None:
    assert all(e["timestamp"] == e["time"] for e in run["timer_tick"])
    ticks = Counter(e["on"] for e in run["timer_tick"])
    for enters in run.of_vcpu("vcpu_run_enter").values():
        lived = (enters[-1]["time"] - enters[0]["time"]) / SECOND
        assert abs(ticks[enters[0]["on"]] - 100 * lived) < 3


def test_ipis_go_to_another_vcpu_that_runs(run: Run) -> None:
    runs = {key: (enters[0]["time"], enters[-1]["time"]) for key, enters in run.of_vcpu("vcpu_run_enter").items()}
    injected = {(e["vm_id"], e["vcpu_id"], e["irq_num"], e["on"], e["time"]) for e in run["irq_inject"]}
    for ipi in run["ipi_send"]:
        assert ipi["target_cpu"] in set(range(run.vcpus)) - {ipi["vcpu_id"]}
        first, last = runs[ipi["vm_id"], ipi["target_cpu"]]
        assert ipi["time"] < last + SECOND // 50
        assert first < ipi["time"] or not run.created
        assert (ipi["vm_id"], ipi["target_cpu"], ipi["vector"], ipi["on"], ipi["time"] + 50) in injected


def test_no_ipis_on_a_single_vcpu(run: Run) -> None:
    assert not run["ipi_send"] if run.vcpus == 1 else run["ipi_send"] or not run.created
    assert len(run["cpu_up"]) == (run.vms * (run.vcpus - 1) if run.created else 0)


def test_halts_let_the_idle_task_run(run: Run) -> None:
    halts = [e for e in run["vcpu_run_exit"] if e["exit_reason"] == HALT]
    assert len(run["vcpu_halt"]) == len(halts)
    assert bool(halts) == (run.arch != "aarch64")
    around = (run.created + run.ended) * len(run.all_vcpus)
    assert len(run["task_switch"]) == 2 * len(halts) + around


def test_tasks_are_switched_from_the_one_that_ran(run: Run) -> None:
    for _, switches in itertools.groupby(sorted(run["task_switch"], key=lambda e: e["on"]), key=lambda e: e["on"]):
        own = list(switches)
        assert all(a["to_task"] == b["from_task"] for a, b in itertools.pairwise(own))
        if run.created:
            assert own[0]["from_task"] == own[-1]["to_task"], "idle before and after"
        assert all(e["from_task"] != e["to_task"] and e["to_task"] >= 0xFFFF_8000_0000_0000 for e in own)


# Latencies: bounds in ns for the median, and for the longest


LATENCIES = {
    "hypercall": (500, 3_000, 100_000),
    "irq_handle": (1_000, 5_000, 100_000),
    "page_fault": (2_000, 15_000, 210_000),
}


@pytest.mark.parametrize("event", LATENCIES)
@pytest.mark.parametrize("arch", ARCHITECTURES)
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
    buckets = set(np.floor(np.log10(durations)))
    assert len(buckets) >= 3 or not run.created, "a histogram of them has several buckets"
