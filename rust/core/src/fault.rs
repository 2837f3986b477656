//! What can stop a running program.

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
    #[error("the program ran more than {limit} instructions; an endless loop? (Bench(budget=…) raises the limit)")]
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
    /// The user interrupted the run.
    #[error("interrupted")]
    Interrupted,
    /// A helper or callback written by the user failed; the binding keeps its error.
    #[error("{what}")]
    Foreign {
        /// Text of the error.
        what: String,
    },
}
