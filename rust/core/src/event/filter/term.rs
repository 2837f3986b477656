//! One comparison: what its words mean for a tracepoint, and the test that comes of it.

use super::cpus;
use super::error::{FilterError, FilterProblem};
use super::pattern::{MAX_PATTERN, Pattern};
use super::predicate::{Between, Predicate, Test};
use super::reader::{Number, Operator, Reader, Word, shortened};
use crate::event::field::{FieldType, Scalar};
use crate::event::tracepoint::{COMMON_FIELDS, TracepointSpec};
use crate::nearest::nearest;

/// What an event has beside its record, in the spellings that Linux knows.
const STAMP_FIELDS: [(&str, Subject); 5] = [
    ("cpu", Subject::Cpu),
    ("CPU", Subject::Cpu),
    ("common_cpu", Subject::Cpu),
    ("comm", Subject::Comm),
    ("COMM", Subject::Comm),
];

/// Bytes of the name of a task.
const COMM_SIZE: usize = 16;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// A number of the record, at an offset.
    Number(usize, Scalar),
    /// A text of the record: offset, bytes.
    Text(usize, usize),
    /// The CPU of the event: an `int`, as on Linux.
    Cpu,
    /// The name of the event's task.
    Comm,
}

/// A number that is compared.
#[derive(Clone, Copy)]
struct Place {
    /// Where the 8 bytes begin that it is in.
    at: usize,
    /// Bits below it.
    shift: usize,
    /// Its own bits, not shifted.
    bits: u64,
    scalar: Scalar,
}

impl Place {
    /// The 8 bytes that end with the number, so that it is in their upper bits and signed numbers are in order when
    /// counted round; only of the numbers in the header, which are not signed, the first 8 bytes.
    fn of(subject: Subject) -> Option<Place> {
        match subject {
            Subject::Number(offset, scalar) => {
                let at = (offset + scalar.size()).saturating_sub(8);
                Some(Place { at, shift: 8 * (offset - at), bits: u64::MAX >> (64 - 8 * scalar.size()), scalar })
            }
            Subject::Cpu => Some(Place { at: 0, shift: 0, bits: u64::MAX, scalar: Scalar::I32 }),
            Subject::Text(..) | Subject::Comm => None,
        }
    }

    /// The greatest number that its bytes can make.
    const fn unsigned_max(self) -> i128 {
        (u64::MAX >> (64 - 8 * self.scalar.size())) as i128
    }

    /// The numbers that `operator value` is true of (`!=`: false of), among those from `min` to `max`.
    fn between(self, mask: u64, operator: Operator, value: i128, (min, max): (i128, i128)) -> Between {
        let (low, high) = match operator {
            Operator::Less => (min, value - 1),
            Operator::LessEqual => (min, value),
            Operator::Greater => (value + 1, max),
            Operator::GreaterEqual => (value, max),
            Operator::Equal | Operator::Unequal | Operator::And | Operator::Like => (value, value),
        };
        let (low, high) = (low.max(min), high.min(max));
        if low > high {
            return Between::NEVER;
        }
        let up = |number: i128| (number as u64) << self.shift;
        Between { mask: (mask & self.bits) << self.shift, low: up(low), span: up(high - low) }
    }
}

/// A test, and whether it is to fail rather than to hold.
pub(super) type Tested = (Test, bool);

/// Reads comparisons of the fields of one tracepoint.
pub(super) struct Terms<'t> {
    pub(super) spec: &'t TracepointSpec,
    /// CPUs that a list may name.
    pub(super) cpus: u32,
    pub(super) reader: Reader<'t>,
    pub(super) predicate: Predicate,
    /// Which fields are looked at.
    pub(super) uses: Vec<bool>,
}

impl<'t> Terms<'t> {
    /// Reads `field op value`, `field & mask`, `field & mask op value` or `field op CPUS{list}`.
    pub(super) fn term(&mut self) -> Result<Tested, FilterError> {
        let start = self.reader.position();
        let Some(field) = self.reader.word() else {
            let found = self.reader.found();
            return Err(self.reader.error(start, FilterProblem::FieldExpected { found }));
        };
        let subject = self.subject(field)?;
        let at = self.reader.position();
        let Some(operator) = self.reader.operator() else {
            let (field, found) = (field.text.to_owned(), self.reader.found());
            return Err(self.reader.error(at, FilterProblem::OperatorExpected { field, found }));
        };
        self.reader.position();
        match Place::of(subject) {
            None => self.text(field, subject, operator, at),
            Some(place) => {
                if operator == Operator::Like {
                    let field = field.text.to_owned();
                    return Err(self.reader.error(at, FilterProblem::OperatorForNumber { field }));
                }
                if let Some(list) = self.reader.cpu_list()? {
                    return self.cpu_set(subject, place, operator, at, list);
                }
                self.number(field, subject, place, operator)
            }
        }
    }

    fn subject(&mut self, field: Word<'t>) -> Result<Subject, FilterError> {
        if let Some(index) = self.spec.fields().iter().position(|known| known.name == field.text) {
            self.uses[index] = true;
            let known = &self.spec.fields()[index];
            return match known.ty {
                FieldType::Scalar(scalar) => Ok(Subject::Number(known.offset, scalar)),
                FieldType::Text(len) => Ok(Subject::Text(known.offset, len as usize)),
                ty @ FieldType::Array(..) => {
                    let problem = FilterProblem::NumericArray { field: known.name.clone(), ty };
                    Err(self.reader.error(field.at, problem))
                }
            };
        }
        if let Some(&(_, subject)) = STAMP_FIELDS.iter().find(|(name, _)| *name == field.text) {
            return Ok(subject);
        }
        if let Some(&(_, _, offset, scalar)) = COMMON_FIELDS.iter().find(|(_, name, ..)| *name == field.text) {
            return Ok(Subject::Number(offset, scalar));
        }
        if field.text.starts_with(|c: char| c.is_ascii_digit()) {
            let found = shortened(field.text);
            return Err(self.reader.error(field.at, FilterProblem::FieldExpected { found }));
        }
        // First of all the same name in other letters: Linux has CPU and cpu, so one may well try.
        let own = self.spec.fields().iter().map(|field| field.name.as_str());
        let known =
            own.chain(COMMON_FIELDS.iter().map(|(_, name, ..)| *name)).chain(STAMP_FIELDS.map(|(name, _)| name));
        let same = known.clone().find(|name| name.eq_ignore_ascii_case(field.text)).map(str::to_owned);
        let nearest = same.or_else(|| nearest(field.text, known));
        let problem = FilterProblem::UnknownField { field: shortened(field.text), nearest };
        Err(self.reader.error(field.at, problem))
    }

    fn number(
        &mut self,
        field: Word<'t>,
        subject: Subject,
        place: Place,
        operator: Operator,
    ) -> Result<Tested, FilterError> {
        let number = self.reader.number(field.text)?;
        let scalar = place.scalar;
        let of_type = || match subject {
            Subject::Cpu => "is an int, which is".to_owned(),
            _ => format!("is {}, which is", scalar.rust_name()),
        };
        if operator != Operator::And {
            let value = self.within(field, of_type(), number, scalar.min(), scalar.max())?;
            // A bool is a byte: whatever is in it, if not 0, is more than 0.
            let range = (scalar.min(), if scalar.is_signed() { scalar.max() } else { place.unsigned_max() });
            let bits = place.between(u64::MAX, operator, value, range);
            return Ok((numeric(subject, place, bits), operator == Operator::Unequal));
        }
        // A mask may be written as bits or as a negative number, so that what it leaves is one or the other.
        let most = place.unsigned_max();
        let what = format!("is {}, whose mask is", scalar.rust_name());
        let mask = self.within(field, what, number, scalar.min(), most)?;
        let range = if mask < 0 { (scalar.min(), scalar.max()) } else { (0, most) };
        self.reader.position();
        let comparison = if self.reader.sees("~") || self.reader.sees("&") { None } else { self.reader.operator() };
        let Some(operator) = comparison else {
            let bits = Between { mask: (mask as u64 & place.bits) << place.shift, low: 1, span: u64::MAX - 1 };
            return Ok((numeric(subject, place, bits), false));
        };
        let value = self.reader.number(field.text)?;
        let value = self.within(field, "under this mask is".to_owned(), value, range.0, range.1)?;
        let bits = place.between(mask as u64, operator, value, range);
        Ok((numeric(subject, place, bits), operator == Operator::Unequal))
    }

    fn within(
        &self,
        field: Word<'t>,
        what: String,
        number: Number<'t>,
        min: i128,
        max: i128,
    ) -> Result<i128, FilterError> {
        if let Some(value) = number.value.filter(|value| (min..=max).contains(value)) {
            return Ok(value);
        }
        let (field, literal) = (field.text.to_owned(), shortened(number.word.text));
        Err(self.reader.error(number.word.at, FilterProblem::OutOfRange { field, what, literal, min, max }))
    }

    fn text(
        &mut self,
        field: Word<'t>,
        subject: Subject,
        operator: Operator,
        operator_at: usize,
    ) -> Result<Tested, FilterError> {
        if !matches!(operator, Operator::Equal | Operator::Unequal | Operator::Like) {
            let (field, operator) = (field.text.to_owned(), operator.symbol());
            return Err(self.reader.error(operator_at, FilterProblem::OperatorForText { field, operator }));
        }
        let quoted = self.reader.quoted(field.text)?;
        let found = quoted.text.len();
        let max = if let Subject::Text(_, len) = subject { len } else { COMM_SIZE };
        let (negated, pattern) = match operator {
            Operator::Like if found > MAX_PATTERN => {
                let problem = FilterProblem::PatternTooLong { found, max: MAX_PATTERN };
                return Err(self.reader.error(quoted.at, problem));
            }
            Operator::Like => Pattern::glob(quoted.text.as_bytes()),
            _ if found > max => {
                let problem = FilterProblem::TextTooLong { field: field.text.to_owned(), found, max };
                return Err(self.reader.error(quoted.at, problem));
            }
            operator => (operator == Operator::Unequal, Pattern::Exact(quoted.text.as_bytes().into())),
        };
        let patterns = &mut self.predicate.patterns;
        let number = patterns.len() as u32;
        patterns.push(pattern);
        let test = match subject {
            Subject::Text(at, len) => Test::Text { at: at as u16, len: len as u16, pattern: number },
            _ => Test::Comm { pattern: number },
        };
        Ok((test, negated))
    }

    /// A number is in a set of CPUs (`&`), or is the one that the set consists of (`==`, `!=`).
    fn cpu_set(
        &mut self,
        subject: Subject,
        place: Place,
        operator: Operator,
        operator_at: usize,
        list: Word<'t>,
    ) -> Result<Tested, FilterError> {
        if !matches!(operator, Operator::And | Operator::Equal | Operator::Unequal) {
            let operator = operator.symbol();
            return Err(self.reader.error(operator_at, FilterProblem::OperatorForCpus { operator }));
        }
        let set = match cpus::parse(list.text, self.cpus) {
            Ok(set) => set,
            Err((at, item)) => {
                let item = if item.trim().is_empty() { "an empty list".to_owned() } else { shortened(item) };
                let last = self.cpus.saturating_sub(1);
                return Err(self.reader.error(list.at + at, FilterProblem::CpuList { item, last }));
            }
        };
        let negated = operator == Operator::Unequal;
        let run = cpus::run(&set).map(|(first, last)| (i128::from(first), i128::from(last)));
        let is_one = run.is_some_and(|(first, last)| first == last);
        if operator != Operator::And && !is_one {
            // As on Linux: a number is never a set of several.
            return Ok((numeric(subject, place, Between::NEVER), negated));
        }
        if let Some(run) = run {
            let most = place.scalar.max();
            let within = place.between(u64::MAX, Operator::GreaterEqual, run.0, (run.0, run.1.min(most)));
            return Ok((numeric(subject, place, within), negated));
        }
        let sets = &mut self.predicate.sets;
        let number = sets.len() as u32;
        sets.push(set);
        let test = match subject {
            Subject::Cpu => Test::CpuMember { set: number },
            _ => {
                let mask = place.bits << place.shift;
                Test::Member { at: place.at as u16, shift: place.shift as u8, mask, set: number }
            }
        };
        Ok((test, false))
    }
}

// A record has at most `MAX_RECORD_SIZE` bytes, so an offset in it fits 16 bits.
fn numeric(subject: Subject, place: Place, bits: Between) -> Test {
    match subject {
        Subject::Cpu => Test::Cpu { bits },
        _ => Test::Bits { at: place.at as u16, bits },
    }
}
