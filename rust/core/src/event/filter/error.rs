//! What can be wrong with a filter expression, and where.

use crate::event::field::FieldType;
use crate::nearest::hint;

/// A filter expression that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tracepoint}: {problem} (byte {position} of the filter)")]
pub struct FilterError {
    /// The tracepoint that it was for.
    pub tracepoint: String,
    /// The expression; empty where it was too long to keep.
    pub text: String,
    /// Where in it, in bytes: always on the boundary of a character.
    pub position: usize,
    /// What.
    pub problem: Box<FilterProblem>,
}

/// What is wrong at the place that [`FilterError`] names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterProblem {
    /// No expression at all.
    #[error("the filter is empty; expected a comparison, such as duration_ns > 1000")]
    Empty,
    /// More text than anybody writes.
    #[error("the filter has {len} bytes; it may have {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The largest.
        max: usize,
    },
    /// Something else where a comparison begins.
    #[error("expected a field, ( or !, found {found}")]
    FieldExpected {
        /// What stands there.
        found: String,
    },
    /// A field that the tracepoint does not have.
    #[error("no field {field}{}", hint(nearest.as_ref()))]
    UnknownField {
        /// Field asked for.
        field: String,
        /// The field that looks most like it.
        nearest: Option<String>,
    },
    /// A field of several numbers.
    #[error("{field} is {ty}: a filter compares single numbers and text, not arrays of numbers")]
    NumericArray {
        /// Field.
        field: String,
        /// Its type.
        ty: FieldType,
    },
    /// Something else behind a field.
    #[error("expected one of == != < <= > >= & ~ after {field}, found {found}")]
    OperatorExpected {
        /// Field.
        field: String,
        /// What stands there.
        found: String,
    },
    /// An operator that text has not.
    #[error("{field} is text and takes ==, != and ~, not {operator}")]
    OperatorForText {
        /// Field.
        field: String,
        /// The operator.
        operator: &'static str,
    },
    /// The operator of patterns beside a number.
    #[error("~ is for text, and {field} is a number")]
    OperatorForNumber {
        /// Field.
        field: String,
    },
    /// An operator that a list of CPUs has not.
    #[error("CPUS{{…}} takes &, == and !=, not {operator}")]
    OperatorForCpus {
        /// The operator.
        operator: &'static str,
    },
    /// Something else behind an operator.
    #[error("{field} is compared with {expected}, found {found}")]
    ValueExpected {
        /// Field.
        field: String,
        /// What is compared with it.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A word of digits and letters that is no number.
    #[error("{literal} is no number: expected decimal digits, 0x and hexadecimal ones, or 0 and octal ones")]
    BadNumber {
        /// The word.
        literal: String,
    },
    /// A constant that the field cannot have.
    #[error("{field} {what} {min} to {max}, never {literal}")]
    OutOfRange {
        /// Field.
        field: String,
        /// `is u32, which is` or the like.
        what: String,
        /// The constant as written.
        literal: String,
        /// Smallest value.
        min: i128,
        /// Largest value.
        max: i128,
    },
    /// A text without its second quote.
    #[error("the text that begins here has no closing quote")]
    UnterminatedText,
    /// A text with a NUL, at which every text ends.
    #[error("a text ends at a NUL, so none can be compared with")]
    NulInText,
    /// A text longer than the field.
    #[error("{field} holds {max} bytes, so it never is a text of {found}")]
    TextTooLong {
        /// Field.
        field: String,
        /// Bytes of the text.
        found: usize,
        /// Bytes of the field.
        max: usize,
    },
    /// A pattern longer than Linux takes.
    #[error("a pattern has at most {max} bytes, this one has {found}")]
    PatternTooLong {
        /// Its length.
        found: usize,
        /// The largest.
        max: usize,
    },
    /// A list of CPUs without its brace.
    #[error("this list of CPUs has no closing }}")]
    UnterminatedCpus,
    /// A list of CPUs that cannot be read, or names a CPU that there is not.
    #[error("{item} is no CPU from 0 to {last}: expected a list such as CPUS{{0,2-3}}")]
    CpuList {
        /// The part of the list.
        item: String,
        /// The last CPU.
        last: u32,
    },
    /// `&&` or `||` with nothing behind it.
    #[error("nothing follows {operator}; expected another comparison")]
    Dangling {
        /// The operator.
        operator: &'static str,
    },
    /// `(` without `)`.
    #[error("this parenthesis is not closed")]
    Unclosed,
    /// `)` without `(`.
    #[error("this parenthesis closes nothing")]
    Unopened,
    /// Something else behind a comparison.
    #[error("expected &&, || or the end, found {found}")]
    Unexpected {
        /// What stands there.
        found: String,
    },
}
