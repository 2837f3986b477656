//! A program as it is loaded: instructions, maps, source lines, type.

use std::sync::Arc;

use crate::isa::Insn;

/// Program types by the name of their `SEC` prefix, with Linux's numbers where it has them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProgramType {
    /// `tracepoint/sys/event`, `tp/…`: context is the record.
    Tracepoint,
    /// `raw_tracepoint/…`, `raw_tp/…`: context is an array of u64.
    RawTracepoint,
    /// `kprobe/…`, `kretprobe/…`: context is the registers.
    Kprobe,
    /// `perf_event`.
    PerfEvent,
    /// `syscall`: any context, writable.
    Syscall,
    /// `xdp`.
    Xdp,
    /// `socket`.
    SocketFilter,
    /// `axvisor/…`: context is the 64-byte TraceContext; helpers as for tracepoint programs.
    Axvisor,
    /// `mem/…`: r1 = a writable buffer, r2 = its length; helpers as for syscall programs.
    Mem,
}

impl ProgramType {
    /// Every type with its name: the prefix of its sections.
    pub const ALL: [(ProgramType, &'static str); 9] = [
        (ProgramType::Tracepoint, "tracepoint"),
        (ProgramType::RawTracepoint, "raw_tracepoint"),
        (ProgramType::Kprobe, "kprobe"),
        (ProgramType::PerfEvent, "perf_event"),
        (ProgramType::Syscall, "syscall"),
        (ProgramType::Xdp, "xdp"),
        (ProgramType::SocketFilter, "socket"),
        (ProgramType::Axvisor, "axvisor"),
        (ProgramType::Mem, "mem"),
    ];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        ProgramType::ALL.iter().find(|(of, _)| *of == self).map_or("", |(_, name)| name)
    }

    /// Whether its programs may use maps whose values have spin locks. Measured on Linux 6.18, which refuses them to
    /// tracing programs and to socket filters.
    #[must_use]
    pub const fn may_lock(self) -> bool {
        matches!(self, ProgramType::Syscall | ProgramType::Xdp | ProgramType::Mem)
    }

    /// The type of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<ProgramType> {
        ProgramType::ALL.iter().find(|(_, of)| *of == name).map(|(of, _)| *of)
    }
}

/// A source line of an instruction, from `.BTF.ext`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// Instruction slot from which on the line holds.
    pub insn: usize,
    /// File.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 where unknown.
    pub column: u32,
    /// The line's text, as the compiler stored it.
    pub text: Arc<str>,
}

/// A subprogram within a program's instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subprogram {
    /// Name.
    pub name: String,
    /// First slot.
    pub start: usize,
}

/// Instructions with everything that is needed to run them, linked and relocated.
///
/// `lddw` of a map has `src` 1 and, as `imm`, the map's slot in `maps`; of a map's value (a global) `src` 2, the slot
/// as `imm` and the offset as the second slot's `imm`; of a function `src` 4 and the relative target as `imm`. A
/// bpf-to-bpf call has `src` 1 and the relative target as `imm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Function name.
    pub name: String,
    /// ELF section, or empty for raw instructions.
    pub section: String,
    /// Type, if the section or the caller names one.
    pub program_type: Option<ProgramType>,
    /// Event or symbol that the section names (`vmm:vcpu_run_exit`), if any.
    pub target: Option<String>,
    /// Instruction slots, subprograms behind the entry.
    pub insns: Vec<Insn>,
    /// Names of the maps that instructions refer to, by slot.
    pub maps: Vec<String>,
    /// Entry and subprograms, ascending by start.
    pub subprograms: Vec<Subprogram>,
    /// Source lines, ascending by instruction.
    pub lines: Vec<SourceLine>,
    /// Licence string of the object.
    pub license: String,
}

impl Program {
    /// The source line of an instruction slot.
    #[must_use]
    pub fn line_of(&self, insn: usize) -> Option<&SourceLine> {
        self.lines[..self.lines.partition_point(|l| l.insn <= insn)].last()
    }

    /// Whether GPL-only helpers may be called.
    ///
    /// The strings that Linux takes for GPL-compatible (`include/linux/license.h` names them; measured).
    #[must_use]
    pub fn is_gpl_compatible(&self) -> bool {
        matches!(
            self.license.as_str(),
            "GPL" | "GPL v2" | "GPL and additional rights" | "Dual BSD/GPL" | "Dual MIT/GPL" | "Dual MPL/GPL"
        )
    }
}
