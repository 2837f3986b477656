//! Recordings: what a kernel's tracer wrote, turned into the events of a bench.
//!
//! ```text
//! bytes ─▶ lines ─▶ ftrace: one line's head and text ─▶ rules: which event it becomes ─▶ Events: encoded records
//!              └──▶ csv: rows under a header ─────────────────────────────────────────▶
//! ```
//!
//! A recording comes in pieces of any size and may be larger than memory: [`Reader`] keeps one unfinished line, a table
//! of threads and one of event names, each bounded. What it cannot read it counts and reports; it never gives up on a
//! text because of one line. A table of values ([`Form::Csv`]) is exact by contrast: what does not fit is an error.

mod csv;
mod error;
mod events;
pub mod ftrace;
mod lines;
mod names;
mod reader;
mod rules;
mod template;
mod threads;

pub use error::RecordingError;
pub use events::Events;
pub use lines::{LONGEST_LINE, Lines, Piece};
pub use names::NameCount;
pub use reader::{Form, Reader, Report};
pub use rules::{Bits, MAX_MARKS, Pick, Rule, Source, Target};
pub use template::{Capture, MAX_CAPTURES, Template};
