//! The verifier: whether Linux would load a program, and if not, why.
//!
//! It follows every path of a program and keeps, for each register and stack slot, what can be in it. Written from
//! Linux's documentation of its verifier, RFC 9669 and the verdicts of Linux 6.18; the mode is that of a process with
//! CAP_BPF and CAP_PERFMON. These are the rules, and each refusal names the one that is broken:

rules! {
    /// Every slot is an instruction, with zero in the fields that it does not use. Kernel functions, kernel variables
    /// and calls by register are not for programs of a bench.
    1 Encoding = "encoding";
    /// Jumps stay within their function and lead to instructions; functions end in `exit` or a jump; everything can be
    /// reached.
    2 Flow = "control flow";
    /// A register is read only where it has been set on every path; a call leaves r1 to r5 unset.
    3 Initialised = "initialised registers";
    /// r10 is not written to.
    4 FramePointer = "frame pointer";
    /// No division by the constant 0, no constant shift by the width or more.
    5 Constants = "constant operands";
    /// An address takes the addition and subtraction of bounded numbers, if it is of something that has offsets; every
    /// other arithmetic on it is refused, or makes a number of it.
    6 PointerArithmetic = "pointer arithmetic";
    /// Memory is accessed through an address.
    7 Dereference = "dereference";
    /// What may be null is tested before it is used.
    8 Null = "null test";
    /// Stack accesses stay in the 512 bytes of their frame, and an address is stored and loaded there whole.
    9 Stack = "stack";
    /// The context is accessed at constant offsets, as the type of program allows.
    10 Context = "context";
    /// Accesses to a map's value stay inside it.
    11 MapValue = "map value";
    /// Programs do not write what is read-only to them, nor read what is write-only.
    12 Access = "access rights";
    /// Accesses to other memory (records of ring buffers, keys, buffers, packets) stay inside it.
    13 Memory = "memory bounds";
    /// Stack, context and atomic accesses are aligned to their size.
    14 Alignment = "alignment";
    /// A helper is one that exists, and is for this type of program and its licence.
    15 Helper = "helper";
    /// A helper gets arguments of the kinds that it takes.
    16 Argument = "helper argument";
    /// A map is of a kind that the helper and the type of program can use.
    17 MapKind = "map kind";
    /// What is reserved is given back on every path, once.
    18 Reference = "references";
    /// At most eight functions are in progress, on stacks of 512 bytes in all (for tracing programs: each).
    19 CallDepth = "calls";
    /// A function that a helper calls returns 0 or 1.
    20 Callback = "callbacks";
    /// r0 is a set value at `exit`, and no address of a stack that ends there.
    21 Return = "return value";
    /// A tail call is not made from a function whose callers use much stack.
    22 TailCall = "tail calls";
    /// The program ends, and can be followed within the limit of instructions.
    23 Termination = "termination";
}

mod access;
mod alu;
mod branch;
mod call;
mod checkpoint;
mod context;
mod depth;
mod error;
mod explore;
mod helper;
mod log;
mod maps;
mod packet;
mod rules;
pub mod scalar;
mod stack;
mod state;
mod step;
mod structure;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::helper::{ArgKind, ReturnKind};
use crate::program::Program;

pub use error::{Branch, VerifierError};
use rules::rules;
pub use value::MapFacts;

/// Instructions that a verification may follow, as on Linux.
pub const LIMIT: u32 = 1_000_000;

/// What the verifier is told beside the program and its maps.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the context; of a program of type `mem`, of its buffer. Without it, as much as the type may have.
    pub context_size: Option<u32>,
    /// Instructions that it may follow.
    pub limit: u32,
    /// Helpers of the user's, by id: what they take and return.
    pub custom_helpers: BTreeMap<u32, (Vec<ArgKind>, ReturnKind)>,
}

impl Default for Options {
    fn default() -> Options {
        Options { context_size: None, limit: LIMIT, custom_helpers: BTreeMap::new() }
    }
}

/// A program that keeps all rules.
#[derive(Clone, Debug)]
pub struct VerifiedProgram {
    program: Arc<Program>,
    /// Instructions that were followed.
    pub processed: u32,
    /// States that were kept to compare with.
    pub states: u32,
    /// Whether some path executes the instruction that begins at a slot.
    pub executed: Vec<bool>,
    /// Bytes of the context that it accesses, from the beginning to the last one.
    pub context_reach: u32,
}

impl VerifiedProgram {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }
}

/// Verifies a program over its maps, one for each name in `program.maps`.
///
/// ```
/// # use std::sync::Arc;
/// # use axebpf_core::{isa::assemble, program::{Program, ProgramType}, verifier::{Options, Rule, verify}};
/// let program = |text: &str| Arc::new(Program {
///     name: "on_exit".to_owned(),
///     section: "tracepoint/vmm/vcpu_run_exit".to_owned(),
///     program_type: Some(ProgramType::Tracepoint),
///     target: None,
///     insns: assemble(text).unwrap(),
///     maps: vec![],
///     subprograms: vec![],
///     lines: vec![],
///     license: "GPL".to_owned(),
/// });
/// assert!(verify(program("r0 = *(u64 *)(r1 +8)\nexit"), &[], &Options::default()).is_ok());
/// let error = verify(program("r0 = *(u64 *)(r2 +8)\nexit"), &[], &Options::default()).unwrap_err();
/// assert_eq!(error.rule, Rule::Initialised);
/// ```
///
/// # Errors
/// The first broken rule, with the path that leads there.
pub fn verify(
    program: Arc<Program>,
    maps: &[MapFacts],
    options: &Options,
) -> Result<VerifiedProgram, Box<VerifierError>> {
    explore::verify(program, maps, options)
}
