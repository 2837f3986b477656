//! The table of gaps: where AxVisor does something else than Linux.
//!
//! A row is a fact about the versions that it names, with a program that shows it. `tests/axvisor_gaps.rs` runs every
//! row on both sides and fails where the gap is not there any more: then the row goes. It also runs the conformance
//! vectors and fails where one is wrong that no row is about.

mod rows;

use crate::isa::Insn;
use crate::map::MapKind;

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

/// What becomes of a program that meets a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is not loaded, or the map not created.
    Refused,
    /// It runs and comes to something else, or is stopped.
    Differs,
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
