"""Programs of a bench, and their links to tracepoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from axebpf.errors import AttachError, BenchClosed, ProgramFault

if TYPE_CHECKING:
    from axebpf import _native
    from axebpf.bench import Bench
    from axebpf.bench.handle import Declared, TracepointHandle

__all__ = ["Link", "Program", "ProgramRun", "ProgramStats", "Step"]


class ProgramStats(NamedTuple):
    """What a program has done."""

    runs: int
    """Runs begun."""
    misses: int
    """Events passed over because a program was running on that CPU already (recursion, as on Linux)."""
    faults: int
    """Runs that a fault stopped."""
    instructions: int
    """Instructions executed, those on the engine rbpf excepted, which counts none."""


class ProgramRun(NamedTuple):
    """What a run by hand came to."""

    r0: int
    """The return value, as an unsigned 64-bit number."""
    instructions: int
    """Instructions executed; 0 on the engine rbpf, which counts none."""
    printed: tuple[str, ...]
    """Lines of `bpf_printk`."""
    ctx: bytes
    """The context after the run."""


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

    def __init__(self, native: _native.Link, program: Program, tracepoint: TracepointHandle) -> None:
        self._native = native
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

    def __init__(self, bench: Bench, native: _native.Program) -> None:
        self._bench = bench
        self._native = native
        self.loaded = True
        """Whether it is still in its bench."""

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
        """What it has done so far."""
        return ProgramStats(*self._native.counts())

    def attach(self, tracepoint: str | TracepointHandle | Declared | None = None, *, cookie: int = 0) -> Link:
        """Runs the program at each event of a tracepoint: the one that its section names, or the one given.

        `cookie` is what `bpf_get_attach_cookie` returns. Raises AttachError as Linux refuses: a type that does not
        attach to tracepoints, the same program twice, the 65th program; NotFound for an unknown tracepoint.
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
        return Link(handle._native.attach(self._native, cookie), self, handle)

    def run(
        self,
        ctx: bytes = b"",
        *,
        time_ns: int | None = None,
        cpu: int | None = None,
        vm_id: int = 0,
        vcpu_id: int = 0,
        exit_reason: int = 0,
    ) -> ProgramRun:
        """Runs it once on a context: of a tracepoint program the record, header included; of others what r1 points to.

        `vm_id`, `vcpu_id` and `exit_reason` are what the helpers 100 to 102 answer. Raises ProgramFault.
        """
        values = (vm_id, vcpu_id, exit_reason)
        r0, fault, instructions, printed, after = self._native.run(bytes(ctx), time_ns, cpu, values)
        if fault is not None:
            raise fault
        assert r0 is not None
        return ProgramRun(r0, instructions, tuple(printed), after)

    def steps(self, ctx: bytes = b"", *, limit: int = 100_000, cpu: int | None = None) -> list[Step]:
        """Runs it once as `run` does, and gives each instruction with the registers before it, up to `limit`.

        A run that a fault stops gives the steps up to there; the last one is the faulting instruction. Raises
        AxebpfError on the engine rbpf, which shows no instructions.
        """
        (_, fault, *_), steps = self._native.steps(bytes(ctx), limit, None, cpu, (0, 0, 0))
        if fault is not None and not isinstance(fault, ProgramFault):
            raise fault  # of a helper written in Python
        lines = self._native.lines
        return [Step(insn, depth, registers, _source(lines, insn)) for insn, depth, registers in steps]

    def profile(self) -> list[tuple[int, int, str]]:
        """Each instruction's slot, how often it was executed so far, and its source line.

        Raises AxebpfError on the engine rbpf, which counts none.
        """
        lines = self._native.lines
        return [(insn, count, _source(lines, insn)) for insn, count in self._native.profile()]

    def reset_profile(self) -> None:
        """Forgets how often each instruction was executed."""
        self._native.reset_profile()

    def disassemble(self) -> str:
        """The instructions in the kernel's notation."""
        return self._native.text()

    def unload(self, *, force: bool = False) -> None:
        """Takes it out of the bench. Raises AttachError while it is attached; `force=True` detaches it."""
        self._native.unload(force)
        self.loaded = False
        self._bench._programs.remove(self)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {self.type or 'no type'}, {len(self._native.insns) // 8} instructions>"


def _source(lines: list[tuple[int, str, int, int, str]], insn: int) -> str:
    found = ""
    for slot, file, line, _, text in lines:
        if slot > insn:
            break
        found = f"{file}:{line}: {text.strip()}"
    return found
