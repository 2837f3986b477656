//! The table of gaps: where AxVisor does something else than Linux.
//!
//! A row is a fact about the versions that it names, with a program that shows it. `tests/axvisor_gaps.rs` runs every
//! row on both sides and fails where the gap is not there any more: then the row goes. It also runs the conformance
//! vectors and fails where one is wrong that no row is about.

mod call;
mod rows;

use crate::isa::Insn;
use crate::map::{MapKind, MapSpec};

pub use crate::portability::Effect;

pub use call::{Argument, Call};
pub use rows::GAPS;

/// What of AxVisor a gap is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The VM; seen with the engine rbpf and Linux's helpers too.
    Vm,
    /// The maps; seen with the maps kbpf and Linux's helpers too.
    Maps,
    /// The helper layer.
    Helpers,
    /// The loader.
    Loader,
    /// What a program gets in r1.
    Context,
}

impl Part {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Part::Vm => "vm",
            Part::Maps => "maps",
            Part::Helpers => "helpers",
            Part::Loader => "loader",
            Part::Context => "context",
        }
    }
}

/// What shows a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// r0 of a run by hand, with 16 bytes of memory (0x01 to 0x10) in r1.
    Result,
    /// What the program stores in the first entry of `map[0]` at an event `vmm:vcpu_run_exit` with the number 21 that
    /// has `vm_id` 1, `vcpu_id` 2, `exit_reason` 3, `duration_ns` 400, at time 5000.
    Event,
}

/// How a program is seen to meet a gap, where an instruction alone does not show it: what the report follows through
/// the program.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// A load from the context of a program that is written for another one than `TraceContext`.
    ContextLoad,
    /// A store to a context that is read-only on Linux.
    ContextStore,
    /// A store through a looked-up value.
    ValueStore,
    /// A load through a value that was looked up before a map was changed.
    StaleValue,
    /// An access to stack that frames share.
    SharedFrame,
    /// An access to the frame of a function that has returned.
    FormerFrame,
    /// A call that may make a ninth frame.
    NinthFrame,
    /// A division of lower halves by a register that may be 0.
    ZeroDivisor,
    /// A use of r2 as a program of type `mem` gets it.
    Length,
    /// A call of a helper.
    Call(fn(&Call<'_>) -> bool),
    /// The result of a call, where it is used for more than to tell success from failure.
    Errno(fn(&Call<'_>) -> bool),
    /// The result of a call, however it is used.
    Success(fn(&Call<'_>) -> bool),
    /// A map.
    Map(fn(&MapSpec) -> bool),
}

/// A map that a program of the table uses: kind, bytes of a key and of a value, entries.
pub type GapMap = (MapKind, u32, u32, u32);

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Its name.
    pub name: &'static str,
    /// Where it is.
    pub part: Part,
    /// What becomes of a program.
    pub effect: Effect,
    /// The instruction, call or access.
    pub what: &'static str,
    /// What Linux does.
    pub linux: &'static str,
    /// What AxVisor does.
    pub axvisor: &'static str,
    /// What a program can do instead; empty where there is nothing.
    pub instead: &'static str,
    /// The version that has it.
    pub version: &'static str,
    /// Whether the instruction in a slot meets it, where an instruction alone can.
    pub insn: Option<fn(&[Insn], usize) -> bool>,
    /// How it is seen in a program otherwise, or more exactly.
    pub sign: Option<Sign>,
    /// `map[0]` of the program.
    pub map: Option<GapMap>,
    /// A program that shows it.
    pub asm: &'static str,
    /// How it is seen.
    pub shown: Shown,
    /// What it comes to on Linux: a number in hexadecimal, or words of the error.
    pub on_linux: &'static str,
    /// What it comes to on AxVisor.
    pub on_axvisor: &'static str,
}
