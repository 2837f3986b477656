//! Filters: which events enter the trace, run a program or reach a listener.
//!
//! The language is that of Linux's event filters: `field op value`, joined by `&&` before `||`, with `!` and
//! parentheses.
//!
//! | value | operators |
//! | --- | --- |
//! | a number: `10`, `-1`, `0x1f`, `017` (octal) | `==` `!=` `<` `<=` `>` `>=`; `&` (a bit of the mask is set) |
//! | behind `field & mask`, a number | `==` `!=` `<` `<=` `>` `>=`, as in AxVisor's filters (tp-lexer) |
//! | a text in `"` or `'` | `==` `!=`; `~` is a pattern of `*`, `?`, `[a-z]`, `[!a-z]`, `\`; with `!` in front it must not fit |
//! | `CPUS{0,2-3}` | `&` (is one of them); `==` `!=` where it names one CPU |
//!
//! Fields are those of the tracepoint, the `common_…` ones of its header, and `cpu` and `comm` of the event. A number is
//! compared with the width and the sign of its field.
//!
//! Where this differs from Linux 6.18, on purpose: a constant that the field cannot hold is an error (Linux cuts it
//! off); so is `&&` or `||` with nothing behind it (Linux ignores it); a pattern may begin with a digit, and `*end` finds
//! the end of any text (Linux: of texts of variable length only); `cpu & 1` looks at the bit (Linux: never true);
//! `-0` is zero. From tp-lexer: numbers of 64 bits are compared as such, a leading 0 is octal, and text stands in
//! quotes.

mod compile;
mod cpus;
mod error;
mod pattern;
mod predicate;
mod reader;
mod term;

use std::sync::Arc;

pub use error::{FilterError, FilterProblem};
pub use pattern::MAX_PATTERN;

use super::batch::Column;
use super::error::EventError;
use super::field::FieldType;
use super::record::{Record, Value};
use super::ring::Stamp;
use super::tracepoint::TracepointSpec;
use predicate::Predicate;
use reader::Reader;
use term::Terms;

/// The longest filter, in bytes. (Linux: a page.)
pub const MAX_FILTER: usize = 1 << 19;

/// A filter of the events of one tracepoint.
#[derive(Clone, Debug)]
pub struct Filter {
    spec: Arc<TracepointSpec>,
    text: String,
    predicate: Predicate,
    uses: Vec<bool>,
}

impl Filter {
    /// Compiles an expression. `cpus` is how many CPUs there are for `CPUS{…}` to name.
    ///
    /// # Errors
    /// [`FilterError`]: what is wrong, and where in the text.
    ///
    /// ```
    /// use axebpf_core::event::{FieldSpec, Filter, Stamp, TracepointSpec, Value};
    ///
    /// let fields = ["vm_id", "reason"].map(|name| FieldSpec::new(name, "u32".parse().unwrap()));
    /// let spec = std::sync::Arc::new(TracepointSpec::new("vmm:exit", 1, fields.to_vec())?);
    /// let filter = Filter::compile(&spec, "vm_id == 1 && !(reason & 0x4)", 4)?;
    /// let mut record = vec![0; spec.record_size()];
    /// spec.encode(0, &[Value::Int(1), Value::Int(3)], &mut record)?;
    /// assert!(filter.matches(&spec.record(&record)?, &Stamp::default()));
    ///
    /// let error = Filter::compile(&spec, "vm_id == 1 && vmid == 2", 4).unwrap_err();
    /// assert_eq!(error.position, 14);
    /// assert_eq!(error.problem.to_string(), "no field vmid; did you mean vm_id?");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compile(spec: &Arc<TracepointSpec>, text: &str, cpus: u32) -> Result<Filter, FilterError> {
        let refuse = |text: &str, problem| FilterError {
            tracepoint: spec.name().to_owned(),
            text: text.to_owned(),
            position: 0,
            problem: Box::new(problem),
        };
        if text.len() > MAX_FILTER {
            return Err(refuse("", FilterProblem::TooLong { len: text.len(), max: MAX_FILTER }));
        }
        if text.trim().is_empty() {
            return Err(refuse(text, FilterProblem::Empty));
        }
        let reader = Reader::new(spec.name(), text);
        let uses = vec![false; spec.fields().len()];
        let mut terms = Terms { spec, cpus, reader, predicate: Predicate::default(), uses };
        let predicate = compile::compile(&mut terms)?;
        Ok(Filter { uses: terms.uses, spec: spec.clone(), text: text.to_owned(), predicate })
    }

    /// The expression, as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tracepoint that it is for.
    #[must_use]
    pub fn spec(&self) -> &Arc<TracepointSpec> {
        &self.spec
    }

    /// Whether it looks at a field, by the field's index.
    #[must_use]
    pub fn uses(&self, field: usize) -> bool {
        self.uses.get(field).copied().unwrap_or(false)
    }

    /// Whether it looks at the CPU of an event.
    #[must_use]
    pub fn uses_cpu(&self) -> bool {
        self.predicate.uses_cpu()
    }

    /// Whether an event passes; `record` is of this filter's tracepoint.
    #[inline]
    #[must_use]
    pub fn matches(&self, record: &Record<'_>, stamp: &Stamp) -> bool {
        self.predicate.holds(record.bytes(), stamp)
    }

    /// Which of many events pass: one answer for each row of the columns, which are one a field, in order; a column that
    /// the filter does not look at may be left out. The events happen at `stamp`, or on the CPUs of a column. Where no
    /// column has rows of its own, there is an answer for each CPU, or one.
    ///
    /// # Errors
    /// [`EventError`] for columns that do not fit their fields or each other.
    pub fn select(
        &self,
        columns: &[Option<Column<'_>>],
        cpus: Option<&[u32]>,
        stamp: &Stamp,
    ) -> Result<Vec<bool>, EventError> {
        let longest = self.spec.fields().iter().map(|field| field.ty.size()).max().unwrap_or(0);
        let zeros = vec![0; usize::try_from(longest).unwrap_or(0)];
        let columns: Vec<Column<'_>> = self
            .spec
            .fields()
            .iter()
            .zip(columns)
            .map(|(field, column)| column.unwrap_or(Column::Same(zero(field.ty, &zeros))))
            .collect();
        let mut batch = self.spec.batch(stamp.pid, &columns)?;
        let size = self.spec.record_size();
        let mut passed = Vec::with_capacity(batch.rows());
        if columns.iter().all(|column| column.rows().is_none()) {
            // One record, on each of the CPUs.
            let record = batch.chunk(0);
            self.append(std::iter::repeat_n(record, cpus.map_or(1, <[u32]>::len)), cpus, stamp, &mut passed);
            return Ok(passed);
        }
        while passed.len() < batch.rows() {
            let records = batch.chunk(passed.len()).chunks_exact(size);
            self.append(records, cpus, stamp, &mut passed);
        }
        Ok(passed)
    }

    /// As [`Filter::select`], for records one behind the other.
    #[must_use]
    pub fn select_records(&self, records: &[u8], cpus: Option<&[u32]>, stamp: &Stamp) -> Vec<bool> {
        let mut passed = Vec::with_capacity(records.len() / self.spec.record_size());
        self.append(records.chunks_exact(self.spec.record_size()), cpus, stamp, &mut passed);
        passed
    }

    fn append<'r>(
        &self,
        records: impl Iterator<Item = &'r [u8]>,
        cpus: Option<&[u32]>,
        stamp: &Stamp,
        passed: &mut Vec<bool>,
    ) {
        let mut stamp = *stamp;
        for record in records {
            if let Some(cpu) = cpus.and_then(|cpus| cpus.get(passed.len())) {
                stamp.cpu = *cpu;
            }
            passed.push(self.predicate.holds(record, &stamp));
        }
    }
}

/// The value of a field that nobody looks at.
fn zero(ty: FieldType, zeros: &[i128]) -> Value<'_> {
    match ty {
        FieldType::Scalar(_) => Value::Int(0),
        FieldType::Text(_) => Value::Bytes(&[]),
        FieldType::Array(_, len) => Value::Ints(zeros.get(..len as usize).unwrap_or_default()),
    }
}
