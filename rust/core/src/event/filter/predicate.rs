//! The compiled form: tests in a row, each with where to go on if it holds and where if not.
//!
//! A comparison of a number is one test, whatever its operator: the bits of the field lie between two bounds, counted
//! round from the lower one. So an evaluation is a loop over a short array, without calls, boxes or a stack.

use super::pattern::Pattern;
use crate::event::ring::Stamp;

/// "Go on" past the last test: the answer.
pub(super) const YES: u32 = u32::MAX;
/// The other answer.
pub(super) const NO: u32 = u32::MAX - 1;

/// One test.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// Bits of the 8 bytes of the record at `at`.
    Bits { at: u16, bits: Between },
    /// The CPU of the event.
    Cpu { bits: Between },
    /// Whether a number of the record, in the bits of `mask` shifted down, is in a set of CPUs.
    Member { at: u16, shift: u8, mask: u64, set: u32 },
    /// Whether the CPU of the event is in a set.
    CpuMember { set: u32 },
    /// Text of the record.
    Text { at: u16, len: u16, pattern: u32 },
    /// The name of the task.
    Comm { pattern: u32 },
}

/// Whether masked bits, as an unsigned number, are at most `span` above `low`, counted round at 2^64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Between {
    pub(super) mask: u64,
    pub(super) low: u64,
    pub(super) span: u64,
}

impl Between {
    /// Holds for no bits at all.
    pub(super) const NEVER: Between = Between { mask: 0, low: 1, span: 0 };

    #[inline]
    const fn hold(self, bits: u64) -> bool {
        (bits & self.mask).wrapping_sub(self.low) <= self.span
    }
}

/// A test and its two ways on: a step, [`YES`] or [`NO`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) test: Test,
    pub(super) then: u32,
    pub(super) otherwise: u32,
}

/// Steps, and what their tests refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Predicate {
    /// Every way on leads forward, so an evaluation takes each step once at most.
    pub(super) steps: Vec<Step>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) sets: Vec<Vec<u64>>,
}

impl Predicate {
    /// The answer for an event. A record that is too short to have a field answers no.
    #[inline]
    pub(super) fn holds(&self, record: &[u8], stamp: &Stamp) -> bool {
        let mut at = 0;
        while let Some(step) = self.steps.get(at as usize) {
            let holds = match step.test {
                Test::Bits { at, bits } => word(record, at).is_some_and(|word| bits.hold(word)),
                ref other => self.holds_otherwise(other, record, stamp),
            };
            at = if holds { step.then } else { step.otherwise };
        }
        at == YES
    }

    /// Whether a test looks at the CPU of an event.
    pub(super) fn uses_cpu(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.test, Test::Cpu { .. } | Test::CpuMember { .. }))
    }

    #[inline(never)]
    fn holds_otherwise(&self, test: &Test, record: &[u8], stamp: &Stamp) -> bool {
        let is_member = |set: u32, cpu: u64| {
            let word = self.sets.get(set as usize).zip(usize::try_from(cpu / 64).ok());
            word.and_then(|(set, word)| set.get(word)).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
        };
        let is_like = |pattern: u32, text: &[u8]| self.patterns.get(pattern as usize).is_some_and(|p| p.is_like(text));
        match *test {
            Test::Bits { at, bits } => word(record, at).is_some_and(|word| bits.hold(word)),
            Test::Cpu { bits } => bits.hold(u64::from(stamp.cpu)),
            Test::Member { at, shift, mask, set } => {
                word(record, at).is_some_and(|word| is_member(set, (word & mask) >> shift))
            }
            Test::CpuMember { set } => is_member(set, stamp.cpu.into()),
            Test::Text { at, len, pattern } => {
                let (at, len) = (usize::from(at), usize::from(len));
                record.get(at..at + len).is_some_and(|text| is_like(pattern, text))
            }
            Test::Comm { pattern } => is_like(pattern, &stamp.comm),
        }
    }
}

#[inline]
fn word(record: &[u8], at: u16) -> Option<u64> {
    let at = usize::from(at);
    record.get(at..at + 8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
