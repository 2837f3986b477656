//! Engines: what runs a program.
//!
//! An engine turns a [`Program`] and its maps into a [`Runnable`]; the bench runs that at every event.

mod interpreter;
mod profile;

use std::sync::Arc;

use crate::errno::Errno;
use crate::fault::Fault;
use crate::helper::{HelperError, Host, Run, TAIL_CALL};
use crate::isa::decode::DecodeError;
use crate::memory::{Arena, FRAME, FRAMES, Window};
use crate::program::{Program, SourceLine};

pub use interpreter::Interpreter;

/// Why an engine cannot take a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No instructions at all.
    #[error("the program {program} has no instructions")]
    Empty {
        /// Program.
        program: String,
    },
    /// An instruction that is none, or that the engine does not offer.
    #[error("instruction {insn}: {source}")]
    Decode {
        /// Slot of the instruction.
        insn: usize,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A jump or call to a place where no instruction begins.
    #[error("instruction {insn}: {what} to slot {target}, where no instruction of this program begins")]
    Target {
        /// Slot of the jump.
        insn: usize,
        /// `jump`, `call` or `function pointer`.
        what: &'static str,
        /// Where it leads.
        target: i64,
    },
    /// A helper that the program may not call, or that is not offered.
    #[error("instruction {insn}: {source}")]
    Helper {
        /// Slot of the call.
        insn: usize,
        /// Why.
        source: HelperError,
    },
    /// A map slot, or an offset into a map's value, that is not there.
    #[error("instruction {insn}: {what}")]
    Map {
        /// Slot of the instruction.
        insn: usize,
        /// What is missing.
        what: String,
    },
    /// An instruction, pseudo source or helper that this engine does not offer.
    #[error("instruction {insn}: {what}")]
    Unsupported {
        /// Slot of the instruction.
        insn: usize,
        /// Which.
        what: String,
    },
}

impl EngineError {
    /// Slot of the instruction that it is about.
    #[must_use]
    pub const fn insn(&self) -> Option<usize> {
        match self {
            EngineError::Empty { .. } => None,
            EngineError::Decode { insn, .. }
            | EngineError::Target { insn, .. }
            | EngineError::Helper { insn, .. }
            | EngineError::Map { insn, .. }
            | EngineError::Unsupported { insn, .. } => Some(*insn),
        }
    }
}

/// A fault with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct ProgramFault {
    /// Program.
    pub program: String,
    /// Slot of the instruction that was stopped.
    pub insn: usize,
    /// Its source line, where the object has line information.
    pub line: Option<SourceLine>,
    /// What happened.
    pub fault: Fault,
}

impl ProgramFault {
    fn text(&self) -> String {
        let place =
            self.line.as_ref().map_or_else(String::new, |l| format!("\n  {}:{}: {}", l.file, l.line, l.text.trim()));
        format!("{}, instruction {}: {}{place}", self.program, self.insn, self.fault)
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `r0` at the entry's `exit`, or what stopped the run.
    pub result: Result<u64, Box<ProgramFault>>,
    /// Instructions executed, subprograms and callbacks included; 0 where the engine counts none.
    pub instructions: u64,
    /// Helpers called, by subprograms and callbacks too; one that stopped the run is among them.
    pub calls: u64,
}

/// How often what was executed, as a program that was made ready counts it: to be added to the counts of the same program
/// made ready elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Counters in an order that only its engine knows.
    counters: Vec<u64>,
    /// Where the latest run ended; `usize::MAX` before the first.
    ended: usize,
}

/// The stack of one CPU: eight frames, fresh ones filled with a pattern.
#[derive(Debug)]
pub struct Stack {
    arena: Arena,
    /// What a fresh frame holds, so that the use of uninitialised stack shows and is the same in every run.
    pattern: u64,
}

impl Stack {
    /// Bytes of a stack.
    pub const SIZE: u64 = FRAME * FRAMES as u64;

    /// A stack whose fresh frames hold `pattern`.
    ///
    /// # Errors
    /// `ENOMEM` where there is no memory.
    pub fn new(pattern: u64) -> Result<Stack, Errno> {
        #[expect(clippy::cast_possible_truncation, reason = "4096")]
        let arena = Arena::new(Stack::SIZE as usize)?;
        Ok(Stack { arena, pattern })
    }

    fn window(&self) -> Window {
        Window { start: self.arena.address(), len: Stack::SIZE, writable: true }
    }
}

/// What a run is given: registers, memory, and the world around it.
pub struct Input<'r> {
    /// `r1` and `r2` at the entry.
    pub args: [u64; 2],
    /// The context.
    pub context: Window,
    /// Further memory that the program may touch.
    pub extra: &'r [Window],
    /// The bench around it.
    pub host: &'r dyn Host,
    /// Instructions it may execute before [`Fault::Budget`].
    pub budget: u64,
    /// Whether no other thread uses the maps meanwhile: atomic instructions then need no locked ones of the machine.
    pub alone: bool,
}

/// What sees every instruction of a run before it is executed.
pub trait Observer {
    /// The instruction in slot `insn` comes next, with these registers (r0 to r10) and call depth (entry: 1).
    ///
    /// # Errors
    /// Ends the run.
    fn before(&mut self, insn: usize, registers: &[u64; 11], depth: usize) -> Result<(), Box<Fault>>;
}

/// A program made ready by an engine.
pub trait Runnable: Send + Sync {
    /// The program.
    fn program(&self) -> &Arc<Program>;

    /// Runs it once.
    ///
    /// # Safety
    /// `input.context` and `input.extra` must be valid memory, writable where they say so, and nobody may hold
    /// Rust references into them during the run. Where `input.alone`, no other thread may use the maps during the run.
    unsafe fn run(&self, stack: &mut Stack, input: &Input<'_>) -> Outcome;

    /// Runs it once, showing every instruction to `observer`.
    ///
    /// # Safety
    /// As for [`Runnable::run`].
    unsafe fn observe(&self, stack: &mut Stack, input: &Input<'_>, observer: &mut dyn Observer) -> Outcome;

    /// Goes on with a run of another program of this engine, which has tail-called this one: in its frame, on its
    /// context, with `args` in r1 and r2, and with the instructions that are left to it. Where this program shows its
    /// instructions, they are counted here; an observer of the run does not see them.
    ///
    /// # Errors
    /// What stops it.
    fn take_over(&self, run: &mut Run<'_>, args: [u64; 2]) -> Result<u64, Box<ProgramFault>> {
        let _ = (run, args);
        let (program, what) = (self.program().name.clone(), "its engine takes over no runs".to_owned());
        Err(Box::new(ProgramFault { program, insn: 0, line: None, fault: Fault::Helper { id: TAIL_CALL, what } }))
    }

    /// Whether it shows and counts instructions; where not, [`Runnable::observe`] shows none, and there are no counts.
    fn is_observable(&self) -> bool {
        true
    }

    /// Slot of each instruction and how often it was executed so far, ascending. A `lddw` is one instruction; one that
    /// was stopped by a fault counts.
    fn counts(&self) -> Vec<(usize, u64)>;

    /// Slot of the last instruction of the latest run: the `exit` that ended it, or the one that was stopped. None
    /// before the first, and where the engine does not show its instructions.
    fn last(&self) -> Option<usize>;

    /// Forgets all counts.
    fn reset_counts(&self);

    /// Its counts, for [`Runnable::add`]; empty where it shows no instructions.
    fn tally(&self) -> Tally {
        Tally::default()
    }

    /// Adds the counts of the same program made ready elsewhere.
    fn add(&self, tally: &Tally) {
        let _ = tally;
    }

    /// Takes the latest run of the same program made ready elsewhere for its own.
    fn end_as(&self, tally: &Tally) {
        let _ = tally;
    }
}
