//! What a bench refuses.

use crate::clock::ClockError;
use crate::engine::{EngineError, ProgramFault};
use crate::errno::Errno;
use crate::event::{EventError, FilterError};
use crate::fault::Foreign;
use crate::map::MapError;
use crate::object::{LoadError, UnknownMapKind};
use crate::portability::Finding;
use crate::program::{ProgramType, SourceLine};

/// Why a bench could not do something.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A clock or CPU that cannot be.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// rbpf and kbpf-basic are not in this build.
    #[error(
        "{what} is not in this build: it was made without the feature axvisor; a wheel, pip install from the sources or \
         make have it (Rust: axebpf-core with --features axvisor)"
    )]
    NotBuilt {
        /// What was asked for.
        what: &'static str,
    },
    /// A program that target axvisor refuses.
    #[error(
        "{program}: {}{}{}{}", finding.insn.map_or_else(String::new, |insn| format!("instruction {insn}: ")),
        finding.reason, way_out(finding),
        line.as_ref().map_or_else(String::new, |line| format!("\n  {}:{}: {}", line.file, line.line, line.text.trim()))
    )]
    Refused {
        /// Program.
        program: String,
        /// Its section.
        section: String,
        /// Source line of the instruction, where there is one.
        line: Option<SourceLine>,
        /// What is refused, and why.
        finding: Box<Finding>,
    },
    /// A map that target axvisor refuses.
    #[error("{}: {}{}", finding.what, finding.reason, way_out(finding))]
    RefusedMap {
        /// Map.
        map: String,
        /// What it is refused with.
        errno: Errno,
        /// Why.
        finding: Box<Finding>,
    },
    /// AxVisor's loader drops the contents of data sections.
    #[error("{object} the variable {name}: AxVisor's loader drops what global variables hold; give it by a map")]
    GlobalLost {
        /// Object file.
        object: String,
        /// Variable.
        name: String,
    },
    /// A tracepoint, field or value that cannot be.
    #[error(transparent)]
    Event(Box<EventError>),
    /// A filter that cannot be.
    #[error(transparent)]
    Filter(Box<FilterError>),
    /// A map that cannot be.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A kind of map that Linux does not number.
    #[error(transparent)]
    UnknownMapKind(#[from] UnknownMapKind),
    /// Raw instructions that are not whole slots.
    #[error("{program}: {bytes} bytes are no whole number of 8-byte instructions")]
    CodeLength {
        /// Program.
        program: String,
        /// Its length.
        bytes: usize,
    },
    /// An object that cannot be loaded.
    #[error(transparent)]
    Load(Box<LoadError>),
    /// A program that the engine does not take.
    #[error("{program}: {source}{}", line.as_ref().map_or_else(String::new, |line| format!("\n  {line}")))]
    Engine {
        /// Program.
        program: String,
        /// Its section.
        section: String,
        /// Source line, where there is one: `file:line: text`.
        line: Option<String>,
        /// Why.
        source: Box<EngineError>,
    },
    /// A program was stopped.
    #[error(transparent)]
    Fault(#[from] Box<ProgramFault>),
    /// A map operation, or memory for something.
    #[error(transparent)]
    Errno(#[from] Errno),
    /// Code outside the core failed.
    #[error("{0}")]
    Foreign(Foreign),
    /// The bench was closed while a batch was on its way.
    #[error("the bench is closed")]
    Closed,
    /// A program reads beyond the record of the tracepoint (Linux: EACCES), or more arguments than a raw one has.
    #[error(
        "{program} reads its context up to byte {reach}, but {tracepoint} gives it {size} bytes (EACCES): a read past \
         the end of the structure, or another header than today's, which axebpf header writes{}",
        line.as_ref().map_or_else(String::new, |line| format!("\n  {line}"))
    )]
    ContextTooShort {
        /// Program.
        program: String,
        /// Tracepoint.
        tracepoint: String,
        /// End of the last byte that it reads.
        reach: u64,
        /// Bytes that there are.
        size: u64,
        /// Source line of the widest read, where there is one.
        line: Option<String>,
    },
    /// A batch on no threads.
    #[error("a batch is fired on one thread or more, not on none")]
    NoThreads,
    /// Something that only one thread can do, before the first event.
    #[error("{what}; fire it with threads=1")]
    OneThread {
        /// Which, and why.
        what: String,
    },
    /// The system starts no more threads; none has begun.
    #[error("a thread of this batch could not be started: {why}; fire it with fewer")]
    NoThread {
        /// What the system says.
        why: String,
    },
    /// There is no tracepoint in this slot.
    #[error("this bench has no tracepoint number {slot}")]
    NoTracepoint {
        /// Slot asked for.
        slot: usize,
    },
    /// There is no program of this number, or it has been unloaded.
    #[error("this bench has no program number {index}, or it has been unloaded")]
    NoProgram {
        /// Number asked for.
        index: usize,
    },
    /// The engine does not show or count instructions.
    #[error("{program} runs on the engine rbpf, which shows and counts no instructions; the engine interpreter does")]
    NotObservable {
        /// Program.
        program: String,
    },
    /// A program is still attached.
    #[error("{program} is still attached to {} tracepoint(s); detach it, or unload it with force=True", links)]
    Attached {
        /// Program.
        program: String,
        /// How many links it has.
        links: usize,
    },
    /// A program of this type does not go to a tracepoint.
    #[error("{program} is of type {}, which does not attach to a tracepoint; tracepoint, raw_tracepoint and axvisor do", type_name(*program_type))]
    AttachType {
        /// Program.
        program: String,
        /// Its type.
        program_type: Option<ProgramType>,
    },
    /// Linux attaches a program only once to a tracepoint.
    #[error("{program} is attached to {tracepoint} already (EEXIST)")]
    AlreadyAttached {
        /// Program.
        program: String,
        /// Tracepoint.
        tracepoint: String,
    },
    /// A tracepoint takes 64 programs.
    #[error("{tracepoint} has {max} programs already, Linux's limit (E2BIG)")]
    TooManyPrograms {
        /// Tracepoint.
        tracepoint: String,
        /// The limit.
        max: usize,
    },
    /// A link that is gone.
    #[error("this link is detached already")]
    Detached,
    /// The programs of a program array, and those that tail-call through it, are of one type.
    #[error(
        "{program} is of type {}, and the program array {map} is for programs of type {} (EINVAL): those in it and those that \
         tail-call through it are of one type, that of the first",
        type_name(*program_type), type_name(*owner)
    )]
    ProgArrayType {
        /// Program.
        program: String,
        /// Program array.
        map: String,
        /// Type of the program.
        program_type: Option<ProgramType>,
        /// Type of the array.
        owner: Option<ProgramType>,
    },
    /// A program that may not use spin locks has a map whose values have one.
    #[error(
        "{program}: {} progs cannot use bpf_spin_lock yet (EINVAL), and the values of its map {map} have one: a program of \
         type {} may use such a map only out of a map of maps",
        if *program_type == ProgramType::SocketFilter { "socket filter" } else { "tracing" }, program_type.name()
    )]
    SpinLockType {
        /// Program.
        program: String,
        /// Map.
        map: String,
        /// Type of the program.
        program_type: ProgramType,
    },
    /// What an object puts into a map of maps or programs cannot be there.
    #[error("{object} the map {map}: entry {slot} cannot be {name}: {why} ({})", errno.name())]
    Entry {
        /// Object file.
        object: String,
        /// Map.
        map: String,
        /// Index, or key.
        slot: u32,
        /// Map or program that was to be put there.
        name: String,
        /// Linux's answer.
        errno: Errno,
        /// What is wrong with it.
        why: String,
    },
    /// A map that a program names and nobody gave.
    #[error("{program} uses the map {map}, which was not given")]
    MissingMap {
        /// Program.
        program: String,
        /// Map.
        map: String,
    },
    /// An override that names nothing in the object.
    #[error("{object} has no {what} {name}{}", nearest.as_ref().map_or_else(String::new, |n| format!("; did you mean {n}?")))]
    NoSuch {
        /// Object file.
        object: String,
        /// `map`, `variable`, `program`.
        what: &'static str,
        /// Name as given.
        name: String,
        /// The name that is most like it.
        nearest: Option<String>,
    },
    /// An override of the wrong size.
    #[error("{name} has {expected} bytes, not {found}")]
    WrongSize {
        /// Variable.
        name: String,
        /// Its size.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
}

fn way_out(finding: &Finding) -> String {
    if finding.instead.is_empty() { String::new() } else { format!("; instead: {}", finding.instead) }
}

// An error is moved up through every caller: the large ones are boxed.
impl From<EventError> for BenchError {
    fn from(error: EventError) -> BenchError {
        BenchError::Event(Box::new(error))
    }
}

impl From<FilterError> for BenchError {
    fn from(error: FilterError) -> BenchError {
        BenchError::Filter(Box::new(error))
    }
}

impl From<LoadError> for BenchError {
    fn from(error: LoadError) -> BenchError {
        BenchError::Load(Box::new(error))
    }
}

fn type_name(program_type: Option<ProgramType>) -> &'static str {
    program_type.map_or("unknown (its section names none)", ProgramType::name)
}
