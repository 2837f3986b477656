"""Programs of a bench, and their links to tracepoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Self

from axebpf import _native
from axebpf.errors import AttachError, BenchClosed, ProgramFault, SourceLine
from axebpf.source_lines import SourceLines

if TYPE_CHECKING:
    from axebpf.bench import Bench
    from axebpf.bench.handle import Declared, TracepointHandle
    from axebpf.bench.origin import Origin
    from axebpf.maps import Map
    from axebpf.portability import Portability

__all__ = ["LastRun", "Link", "Program", "ProgramRun", "ProgramStats", "Step", "WorstRun"]


class WorstRun(NamedTuple):
    """The run of a program that took the most of something; the first of equals."""

    amount: int
    """How many instructions, or helper calls."""
    time_ns: int
    """Time of its event."""
    cpu: int
    """The CPU that this was on."""


_LDDW = 0x18
"""The instruction that takes two slots."""


class ProgramStats(NamedTuple):
    r"""What a program has done, since it was loaded or, in a `RunResult`, during that run.

    What a program costs the hypervisor at each event is bounded by its worst run, which a test can hold it to:

    >>> from axebpf import Bench, assemble
    >>> bench = Bench()
    >>> long_if_slow = "r1 = *(u64 *)(r1 +16)\nif r1 < 1000 goto out\ncall bpf_get_smp_processor_id\nout:\nr0 = 0\nexit"
    >>> program = bench.load_bytes(assemble(long_if_slow), type="tracepoint", name="on_boot")
    >>> link = program.attach("vmm:vm_boot")
    >>> result = bench.run("boot", vms=1, seed=1, duration_s=0.1)
    >>> stats = result.programs["on_boot"]
    >>> assert stats.worst_instructions <= 5 and stats.worst_calls <= 1
    """

    runs: int
    """Runs begun."""
    misses: int
    """Events passed over because a program was running on that CPU already (recursion, as on Linux)."""
    faults: int
    """Runs that a fault stopped."""
    instructions: int | None
    """Instructions executed, subprograms and callbacks included; None on the engine rbpf, which counts none."""
    calls: int
    """Helpers called, by subprograms and callbacks too."""
    worst_by_instructions: WorstRun | None = None
    """The run with the most instructions; None before the first, and on the engine rbpf."""
    worst_by_calls: WorstRun | None = None
    """The run with the most helper calls; None where no run called any."""

    @property
    def worst_instructions(self) -> int | None:
        """The most instructions of one run; None on the engine rbpf."""
        if self.instructions is None:
            return None
        return 0 if self.worst_by_instructions is None else self.worst_by_instructions.amount

    @property
    def worst_calls(self) -> int:
        """The most helper calls of one run."""
        return 0 if self.worst_by_calls is None else self.worst_by_calls.amount

    @property
    def instructions_per_run(self) -> float | None:
        """Instructions of a run on average; None without a run, and on the engine rbpf."""
        return None if self.instructions is None or not self.runs else self.instructions / self.runs

    @property
    def calls_per_run(self) -> float | None:
        """Helper calls of a run on average; None without a run."""
        return self.calls / self.runs if self.runs else None


def stats_of(
    counts: tuple[int, int, int, int | None, int], worst: Iterable[tuple[int, int, int] | None]
) -> ProgramStats:
    """What the core has counted, and the worst runs by instructions and by helper calls."""
    return ProgramStats(*counts, *(None if run is None else WorstRun(*run) for run in worst))


class ProgramRun(NamedTuple):
    """What a run by hand came to."""

    r0: int
    """The return value, as an unsigned 64-bit number."""
    instructions: int | None
    """Instructions executed; None on the engine rbpf, which counts none."""
    calls: int
    """Helpers called."""
    printed: tuple[str, ...]
    """Lines of `bpf_printk`."""
    ctx: bytes
    """The context after the run."""


class LastRun(NamedTuple):
    """How the latest run of a program ended."""

    insn: int
    """Slot of its last instruction: the `exit`, or the one that a fault stopped."""
    line: SourceLine | None
    """The source line of that; None where the object has no lines."""
    at: int
    """Instructions that the whole bench had executed by then: of two programs, the greater one ended later."""


class Step(NamedTuple):
    """One instruction of a run, before it was executed."""

    insn: int
    """Its slot."""
    depth: int
    """Frames in use; 1 in the program itself."""
    registers: tuple[int, ...]
    """r0 to r10."""
    source: str
    """Source line as `file:line: text`, or empty."""


class Link:
    """A program attached to a tracepoint; also a context manager that detaches."""

    def __init__(
        self,
        native: _native.Link,
        program: Program,
        tracepoint: TracepointHandle,
        filter: str | None = None,
        cookie: int = 0,
    ) -> None:
        self._native = native
        self.cookie = cookie
        """What `bpf_get_attach_cookie` returns."""
        self.filter = filter
        """Which events it runs at, as it was given to `attach`; None for all."""
        self.program = program
        """The program."""
        self.tracepoint = tracepoint
        """Where it is attached."""

    @property
    def attached(self) -> bool:
        """Whether it still is; unloading a program with `force` detaches it too."""
        try:
            return self._native.attached
        except BenchClosed:
            return False

    def detach(self) -> None:
        """Detaches the program from the next event on. Raises AttachError when that is done already."""
        self._native.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.attached:
            self.detach()

    def __repr__(self) -> str:
        state = "attached to" if self.attached else "detached from"
        return f"<Link: {self.program.name} {state} {self.tracepoint.name}>"


class Program:
    """A program of a bench."""

    def __init__(self, bench: Bench, native: _native.Program, maps: Iterable[Map], origin: Origin) -> None:
        self._bench = bench
        self._native = native
        self._origin = origin
        self.maps = tuple(maps)
        """The maps that it uses, data sections among them."""
        self.loaded = True
        """Whether it is still in its bench."""
        bench._program_of[native.id] = self

    @property
    def name(self) -> str:
        """Function name."""
        return self._native.name

    @property
    def id(self) -> int:
        """Its number in the bench; never given twice."""
        return self._native.id

    @property
    def type(self) -> str | None:
        """Program type by its `SEC` prefix, such as `tracepoint`; None where the section names none."""
        return self._native.type

    @property
    def section(self) -> str:
        """ELF section."""
        return self._native.section

    @property
    def target(self) -> str | None:
        """What the section names: `vmm:vcpu_run_exit`."""
        return self._native.target

    @property
    def stats(self) -> ProgramStats:
        """What it has done so far.

        What it has tail-called is part of its runs and what they took; `profile` is of its own instructions.
        """
        return stats_of(self._native.counts(), self._native.worst())

    @property
    def last_run(self) -> LastRun | None:
        """How its latest run ended; None before the first."""
        last = self._native.last_run()
        return None if last is None else LastRun(last[0], SourceLines(self._native.lines).at(last[0]), last[1])

    @property
    def portability(self) -> Mapping[str, Portability]:
        r"""What becomes of it on each target, whatever the target of its bench is: verdict and findings, by target.

        It is worked out when it is asked for. Raises AttachError where the program is unloaded.

        >>> from axebpf import Bench, assemble
        >>> program = Bench().load_bytes(assemble("call bpf_get_current_vm_id\nexit"), type="tracepoint")
        >>> {target: report.verdict for target, report in program.portability.items()}
        {'linux': 'refused', 'axvisor': 'runs'}
        """
        from axebpf.bench import TARGETS

        return {target: self._portability(target) for target in TARGETS}

    def _portability(self, target: str) -> Portability:
        """The report on one target."""
        from axebpf.portability import report

        return report(self._native.portability(target), self._native.lines)

    def attach(
        self,
        tracepoint: str | TracepointHandle | Declared | None = None,
        *,
        cookie: int = 0,
        filter: str | None = None,
    ) -> Link:
        """Runs the program at each event of a tracepoint: the one that its section names, or the one given.

        `cookie` is what `bpf_get_attach_cookie` returns. With a `filter` it runs at those events only that pass, in the
        language of `TracepointHandle.filter`, which gates the trace and no programs. Raises AttachError as Linux
        refuses: a type that does not attach to tracepoints, the same program twice, the 65th program; FilterError;
        NotFound for an unknown tracepoint.
        """
        if tracepoint is None:
            if self.target is None or (":" not in self.target and self.type != "raw_tracepoint"):
                raise AttachError(
                    f'section {self.section!r} names no tracepoint; say which: attach("vmm:vcpu_run_exit"), or write '
                    'SEC("tracepoint/vmm/vcpu_run_exit") before the function',
                    program=self.name,
                )
            tracepoint = self.target
        handle = self._bench._handle(tracepoint)
        link = Link(handle._native.attach(self._native, cookie, filter), self, handle, filter, cookie)
        self._bench._links = [*(other for other in self._bench._links if other.attached), link]
        return link

    def run(
        self,
        ctx: bytes = b"",
        *,
        time_ns: int | None = None,
        cpu: int | None = None,
        vm_id: int | None = None,
        vcpu_id: int | None = None,
        exit_reason: int | None = None,
    ) -> ProgramRun:
        """Runs it once on a context: of a tracepoint program the record, header included; of others what r1 points to.

        Of an empty context r1 is 0. `vm_id`, `vcpu_id` and `exit_reason` are what the helpers 100 to 102 answer, 0
        where one of them is not given; where none is, they answer what the CPU is doing, which
        `axebpf.tracepoints.hypervisor_helpers` says. Raises ProgramFault.
        """
        given = (vm_id, vcpu_id, exit_reason)
        vm = None if given == (None, None, None) else (vm_id or 0, vcpu_id or 0, exit_reason or 0)
        r0, fault, instructions, calls, printed, after = self._native.run(bytes(ctx), time_ns, cpu, vm)
        if fault is not None:
            raise fault
        assert r0 is not None
        return ProgramRun(r0, instructions, calls, tuple(printed), after)

    def steps(self, ctx: bytes = b"", *, limit: int = 100_000, cpu: int | None = None) -> list[Step]:
        """Runs it once as `run` does, and gives each instruction with the registers before it, up to `limit`.

        Those of programs that it tail-calls are left out; their `profile` counts them. A run that a fault stops gives
        the steps up to there; the last one is the faulting instruction. Raises AxebpfError on the engine rbpf, which
        shows no instructions.
        """
        (_, fault, *_), steps = self._native.steps(bytes(ctx), limit, None, cpu)
        if fault is not None and not isinstance(fault, ProgramFault):
            raise fault  # of a helper written in Python
        lines = SourceLines(self._native.lines)
        return [Step(insn, depth, registers, lines.text(insn)) for insn, depth, registers in steps]

    def profile(self) -> list[tuple[int, int, str]]:
        """Each instruction's slot, how often it was executed so far, and its source line.

        Raises AxebpfError on the engine rbpf, which counts none.
        """
        lines = SourceLines(self._native.lines)
        return [(insn, count, lines.text(insn)) for insn, count in self._native.profile()]

    def line_counts(self) -> list[tuple[SourceLine, int]]:
        """Each source line, in their order, and how often it ran so far."""
        ran = dict(self._native.profile())
        counts: dict[SourceLine, int] = {}
        # Only instructions with which a part of a line begins: behind it may stand some that are of no line.
        for slot, file, number, _, text in self._native.lines:
            line = SourceLine(file, number, 0, text.strip())
            counts[line] = max(ran.get(slot, 0), counts.get(line, 0))
        return sorted(counts.items())

    def reset_profile(self) -> None:
        """Forgets how often each instruction was executed."""
        self._native.reset_profile()

    def disassemble(self) -> str:
        """The instructions in the kernel's notation."""
        return self._native.text()

    def _instruction(self, insn: int) -> str:
        """The instruction in a slot in the kernel's notation."""
        code = self._native.insns[8 * insn :]
        return _native.disassemble(code[: 16 if code[0] == _LDDW else 8], self._native.maps).strip()

    def _line(self, insn: int) -> SourceLine | None:
        """The source line of the instruction in a slot."""
        return SourceLines(self._native.lines).at(insn)

    def _again(self) -> Program:
        """A second program of the same instructions, on the same maps, that is not among the bench's `programs` yet."""
        return Program(self._bench, self._native.load_again(), self.maps, self._origin)

    def unload(self, *, force: bool = False) -> None:
        """Takes it out of the bench, and out of program arrays.

        Raises AttachError while it is attached; `force=True` detaches it.
        """
        self._native.unload(force)
        self.loaded = False
        self._bench._programs.remove(self)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {self.type or 'no type'}, {len(self._native.insns) // 8} instructions>"


def unique_names(named: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Names by number; one that is taken gets the number too: `count`, `count#7`."""
    names: dict[int, str] = {}
    for number, name in named:
        names[number] = f"{name}#{number}" if name in names.values() else name
    return names
