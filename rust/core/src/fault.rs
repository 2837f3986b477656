//! What can stop a running program.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An error of code outside the core, carried through it as it is.
#[derive(Clone, Debug)]
pub struct Foreign(pub Arc<dyn Error + Send + Sync>);

impl Foreign {
    /// The error, if it is of this type.
    #[must_use]
    pub fn downcast<E: Error + 'static>(&self) -> Option<&E> {
        let error: &(dyn Error + 'static) = &*self.0;
        error.downcast_ref()
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Equal if it is the very same error.
impl PartialEq for Foreign {
    fn eq(&self, other: &Foreign) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Foreign {}

/// Why a run ended before the program's own `exit`.
///
/// An engine adds the instruction and, where the object has line information, the source line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A load or store outside every live region, or a store into a read-only one.
    #[error("{} of {size} bytes at {place}: {why}", if *write { "store" } else { "load" })]
    Memory {
        /// The address as the program computed it.
        address: u64,
        /// Bytes accessed.
        size: u64,
        /// Whether it was a store.
        write: bool,
        /// Stable name of the address (`stack-16`, `EXITS[3]+8`, `0x10`).
        place: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The instruction budget is used up.
    #[error(
        "the program ran more than {limit} instructions; an endless loop? (a larger budget, Bench(budget=…) or --budget, raises the limit)"
    )]
    Budget {
        /// Instructions allowed.
        limit: u64,
    },
    /// More than eight nested calls.
    #[error("the call stack of {depth} frames is too deep; Linux allows 8")]
    CallDepth {
        /// Frames in use.
        depth: usize,
    },
    /// Execution left the program.
    #[error("execution ran off the end of the program: {what}")]
    OffTheEnd {
        /// Jump, call or fall-through that left it.
        what: String,
    },
    /// An instruction that cannot be executed.
    #[error("cannot execute this instruction: {what}")]
    Instruction {
        /// Which and why.
        what: String,
    },
    /// A helper that does not exist, or that this bench cannot offer.
    #[error("helper {id}: {what}")]
    Helper {
        /// Helper id.
        id: u32,
        /// Why it cannot be called, or what is wrong with the arguments.
        what: String,
    },
    /// A program that this one has tail-called was stopped. It carries the fault with its place, which the engine makes
    /// that of the run.
    #[error("{0}")]
    TailCalled(Foreign),
    /// A helper or callback written by the user failed.
    #[error("{0}")]
    Foreign(Foreign),
}
