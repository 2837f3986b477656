//! What can be wrong with a tracepoint's definition, with an event, or with a name.

use super::field::FieldType;
use crate::nearest::hint;

/// An error of the event room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    // Definitions
    /// A tracepoint's name is not of the form `subsystem:event`.
    #[error("{name:?} is no name of a tracepoint: expected subsystem:event, such as vmm:vcpu_run_exit")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A field's name cannot be a member of a C structure.
    #[error("{tracepoint}: {field:?} cannot be the name of a field: expected a C identifier that is no keyword")]
    InvalidFieldName {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
    },
    /// A field's name has a meaning of its own.
    #[error("{tracepoint}: no field can be called {field}: time_ns, cpu and common_… belong to every event")]
    ReservedFieldName {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
    },
    /// Two fields of one name.
    #[error("{tracepoint}: two fields are called {field}")]
    DuplicateField {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
    },
    /// No type is written like this.
    #[error("{text:?} is no type of a field: expected u8 to u64, i8 to i64, bool, or an array such as [char; 16]")]
    UnknownType {
        /// The text.
        text: String,
    },
    /// An array without elements.
    #[error("{tracepoint}: the array {field} has no elements")]
    EmptyArray {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
    },
    /// More bytes than a program can reach.
    #[error("{tracepoint}: the record has {size} bytes; programs reach at most {max}")]
    RecordTooLarge {
        /// Tracepoint.
        tracepoint: String,
        /// Its size.
        size: u64,
        /// The largest possible.
        max: usize,
    },
    /// A duration that is no unsigned integer.
    #[error("{tracepoint}: {field} cannot be the duration: it is {ty}, expected an unsigned integer")]
    DurationType {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
        /// Its type.
        ty: FieldType,
    },
    /// More than one duration.
    #[error("{tracepoint}: {first} and {second} cannot both be the duration")]
    TwoDurations {
        /// Tracepoint.
        tracepoint: String,
        /// The first field of that role.
        first: String,
        /// The second.
        second: String,
    },
    /// A field cannot be shown in the form asked for.
    #[error("{tracepoint}: {field} is {ty} and cannot be shown like this: {why}")]
    DisplayForm {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
        /// Its type.
        ty: FieldType,
        /// What that form needs.
        why: &'static str,
    },
    /// A label or suffix that would break the format.
    #[error(
        "{tracepoint}: {text:?} cannot be shown beside {field}: a label or suffix has no %, \", \\, braces or control characters, and a label is not empty"
    )]
    DisplayText {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
        /// The label or suffix.
        text: String,
    },

    // Events
    /// A field that the tracepoint does not have.
    #[error("{tracepoint} has no field {field}{}", hint(nearest.as_ref()))]
    UnknownField {
        /// Tracepoint.
        tracepoint: String,
        /// Field asked for.
        field: String,
        /// The field that looks most like it.
        nearest: Option<String>,
    },
    /// Too many values or too few.
    #[error("{tracepoint} has {expected} fields; {found} values were given")]
    FieldCount {
        /// Tracepoint.
        tracepoint: String,
        /// Fields.
        expected: usize,
        /// Values.
        found: usize,
    },
    /// A number that does not fit.
    #[error("{tracepoint}: {field} is {ty} and takes {min} to {max}, not {value}{}", row.map(|row| format!(" (row {row})")).unwrap_or_default())]
    OutOfRange {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
        /// Its type.
        ty: FieldType,
        /// The value.
        value: i128,
        /// Smallest value.
        min: i128,
        /// Largest value.
        max: i128,
        /// Row of a column.
        row: Option<usize>,
    },
    /// A value of another kind.
    #[error("{tracepoint}: {field} is {ty} and takes {expected}, not {found}")]
    ValueType {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
        /// Its type.
        ty: FieldType,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
    /// An array or text of another length.
    #[error("{tracepoint}: {field} is {ty}; {found} were given")]
    ValueLength {
        /// Tracepoint.
        tracepoint: String,
        /// Field.
        field: String,
        /// Its type.
        ty: FieldType,
        /// Elements given.
        found: usize,
    },
    /// A buffer or record of another size.
    #[error("a record of {tracepoint} has {expected} bytes, not {found}")]
    RecordSize {
        /// Tracepoint.
        tracepoint: String,
        /// Size of its records.
        expected: usize,
        /// Size found.
        found: usize,
    },
    /// Bytes that are too few for the header of a record.
    #[error("a record begins with a header of {expected} bytes; this one has {found} in all")]
    NoHeader {
        /// Bytes.
        found: usize,
        /// Size of a header.
        expected: usize,
    },
    /// Columns of unequal length.
    #[error("{tracepoint}: the column {field} has {found} rows, the column {other} has {expected}")]
    ColumnLength {
        /// Tracepoint.
        tracepoint: String,
        /// Field of the column.
        field: String,
        /// Its rows.
        found: usize,
        /// Field of the first column.
        other: String,
        /// Its rows.
        expected: usize,
    },

    // Names
    /// No tracepoint of that name.
    #[error("no tracepoint {name}{}", hint(nearest.as_ref()))]
    NotFound {
        /// Name asked for.
        name: String,
        /// The tracepoint whose name looks most like it.
        nearest: Option<String>,
    },
    /// No tracepoint of that id.
    #[error("no tracepoint has id {id}")]
    UnknownId {
        /// Id asked for.
        id: u16,
    },
    /// No tracepoint of that subsystem.
    #[error("no subsystem {subsystem}{}", hint(nearest.as_ref()))]
    UnknownSubsystem {
        /// Subsystem asked for.
        subsystem: String,
        /// The one that looks most like it.
        nearest: Option<String>,
    },
    /// The name is taken.
    #[error("{name} is defined already, with id {id}")]
    DuplicateName {
        /// Name.
        name: String,
        /// Id of the tracepoint that has it.
        id: u16,
    },
    /// The id is taken.
    #[error("{name} cannot have id {id}: {holder} has it")]
    DuplicateId {
        /// Name of the new tracepoint.
        name: String,
        /// Id.
        id: u16,
        /// Name of the tracepoint that has it.
        holder: String,
    },
}
