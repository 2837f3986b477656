//! Events: what a tracepoint's record looks like, how it is filled, shown, counted and kept.
//!
//! [`TracepointSpec`] has the layout; it encodes one event ([`TracepointSpec::store_int`]) or columns of them
//! ([`Batch`]). A [`Record`] is the encoded event, read as programs, statistics and the trace need it.

pub mod batch;
pub mod context;
pub mod error;
pub mod field;
pub mod filter;
pub mod format;
pub mod histogram;
pub mod record;
pub mod registry;
pub mod ring;
pub mod statistics;
pub mod text;
pub mod tracepoint;

pub use batch::{Batch, Column};
pub use context::{RAW_ARGUMENTS, TRACE_CONTEXT_SIZE};
pub use error::EventError;
pub use field::{Display, FieldSpec, FieldType, Form, Place, Role, Scalar};
pub use filter::{Filter, FilterError, FilterProblem};
pub use histogram::Histogram;
pub use record::{Record, Value};
pub use registry::{Registry, Slot};
pub use ring::{AXVISOR_COMM, Entry, Payload, Stamp, TraceRing};
pub use statistics::Statistics;
pub use text::Style;
pub use tracepoint::{Field, HEADER_SIZE, TracepointSpec};
