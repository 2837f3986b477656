//! Why a recording, or a rule for one, is refused.

use crate::event::EventError;
use crate::nearest::hint;

/// An error of the recording room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    // Rules
    /// A template that cannot be matched.
    #[error("the rule for {event}: the text {text:?} cannot be matched: {why}")]
    Template {
        /// Event of the rule.
        event: String,
        /// The template.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A field is to be taken from a place that no template names.
    #[error("the rule for {event} takes {field} from {{{capture}}}, which its text does not have{}", hint(nearest.as_ref()))]
    NoCapture {
        /// Event of the rule.
        event: String,
        /// Field to be filled.
        field: String,
        /// Place named.
        capture: String,
        /// The place whose name looks most like it.
        nearest: Option<String>,
    },
    /// A rule leaves a field of its tracepoint without a value, or fills one twice.
    #[error("the rule for {event} gives {tracepoint}.{field} {found} values; a field takes one")]
    FieldSource {
        /// Event of the rule.
        event: String,
        /// Tracepoint that it becomes.
        tracepoint: String,
        /// Field.
        field: String,
        /// Values that the rule has for it.
        found: usize,
    },
    /// A rule for a tracepoint that there is not, or a field that it does not have.
    #[error("the rule for {event}: {error}")]
    Target {
        /// Event of the rule.
        event: String,
        /// What there is not.
        error: Box<EventError>,
    },
    /// More of something than the tables have room for.
    #[error("{found} {what}; the rules may have {max}")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many at most.
        max: usize,
    },

    // Recordings
    /// A file that is known and no text.
    #[error("this is {what}, not text; {instead}")]
    Binary {
        /// What it is.
        what: &'static str,
        /// How it becomes text.
        instead: &'static str,
    },
    /// Nothing in it is an event.
    #[error("no event in {lines} line(s): expected ftrace text (trace, trace_pipe, trace-cmd report, perf script) or a table with a header{}", first.as_ref().map_or_else(String::new, |text| format!("; the first line that is none: {text}")))]
    NoEvents {
        /// Lines read.
        lines: u64,
        /// Number of the first line that could not be read; 0 where all are comments or empty.
        line: u64,
        /// Its beginning.
        first: Option<String>,
    },
    /// An event on a CPU that the bench does not have.
    #[error("an event on CPU {cpu}; this bench has {cpus}: make it with Bench(cpus={})", u64::from(*cpu) + 1)]
    Cpu {
        /// Line.
        line: u64,
        /// CPU.
        cpu: u32,
        /// CPUs of the bench.
        cpus: u32,
    },

    // Tables
    /// A column that is needed and missing.
    #[error("no column {column}: {why}{}", hint(nearest.as_ref()))]
    NoColumn {
        /// Line that needs it.
        line: u64,
        /// Column.
        column: String,
        /// What for.
        why: String,
        /// The column whose name looks most like it.
        nearest: Option<String>,
    },
    /// A column that no event has a use for.
    #[error("the column {column} is no field of any tracepoint here{}", hint(nearest.as_ref()))]
    UnknownColumn {
        /// Line of the header.
        line: u64,
        /// Column.
        column: String,
        /// The field whose name looks most like it.
        nearest: Option<String>,
    },
    /// Two columns of one name.
    #[error("two columns are called {column}")]
    DuplicateColumn {
        /// Line of the header.
        line: u64,
        /// Column.
        column: String,
    },
    /// A row with more or fewer cells than the header.
    #[error("{found} cells under {expected} columns{}", if found < expected { ": is the file cut off?" } else { "" })]
    Row {
        /// Line.
        line: u64,
        /// Cells of the row.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
    /// A cell that cannot be read.
    #[error("the column {column} has {text:?}; expected {expected}")]
    Cell {
        /// Line.
        line: u64,
        /// Column.
        column: String,
        /// The cell.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A value that does not fit its field.
    #[error("{error}")]
    Value {
        /// Line.
        line: u64,
        /// Why not.
        error: Box<EventError>,
    },
    /// A row that is too long to be one.
    #[error("a row of more than {max} bytes or columns: a quote that is never closed?")]
    LongRow {
        /// Line where it begins.
        line: u64,
        /// The limit.
        max: usize,
    },
}

impl RecordingError {
    /// The line of the recording that the error is about, from 1.
    #[must_use]
    pub const fn line(&self) -> Option<u64> {
        match self {
            RecordingError::NoEvents { line: 0, .. } => None,
            RecordingError::NoEvents { line, .. }
            | RecordingError::Cpu { line, .. }
            | RecordingError::NoColumn { line, .. }
            | RecordingError::UnknownColumn { line, .. }
            | RecordingError::DuplicateColumn { line, .. }
            | RecordingError::Row { line, .. }
            | RecordingError::Cell { line, .. }
            | RecordingError::Value { line, .. }
            | RecordingError::LongRow { line, .. } => Some(*line),
            _ => None,
        }
    }
}
