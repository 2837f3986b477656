//! Which rows of the table of gaps a program meets, and at which instructions.

use std::collections::BTreeMap;

use super::outcome::{Form, Outcome, Rows};
use super::value::{Places, Value};
use crate::axvisor::gaps::{Call, GAPS, Sign};
use crate::program::ProgramType;

const _: () = assert!(GAPS.len() <= Rows::BITS as usize, "a row has a bit");

/// Rows whose sign is one of these.
fn rows(which: impl Fn(&Sign) -> bool) -> Rows {
    let bits = GAPS.iter().enumerate().filter(|(_, gap)| gap.sign.as_ref().is_some_and(&which));
    bits.fold(0, |rows, (row, _)| rows | 1 << row)
}

/// Rows by their sign, for those that are asked for at every instruction.
pub(super) struct BySign {
    context_load: Rows,
    context_store: Rows,
    pub(super) value_store: Rows,
    pub(super) stale_value: Rows,
    pub(super) shared_frame: Rows,
    pub(super) former_frame: Rows,
    pub(super) ninth_frame: Rows,
    pub(super) zero_divisor: Rows,
    length: Rows,
}

pub(super) struct Met {
    pub(super) by: BySign,
    /// By instruction and row; and what the values come from that it is about.
    pub(super) found: BTreeMap<(usize, usize), Places>,
}

impl Met {
    pub(super) fn new() -> Met {
        let by = BySign {
            context_load: rows(|sign| matches!(sign, Sign::ContextLoad)),
            context_store: rows(|sign| matches!(sign, Sign::ContextStore)),
            value_store: rows(|sign| matches!(sign, Sign::ValueStore)),
            stale_value: rows(|sign| matches!(sign, Sign::StaleValue)),
            shared_frame: rows(|sign| matches!(sign, Sign::SharedFrame)),
            former_frame: rows(|sign| matches!(sign, Sign::FormerFrame)),
            ninth_frame: rows(|sign| matches!(sign, Sign::NinthFrame)),
            zero_divisor: rows(|sign| matches!(sign, Sign::ZeroDivisor)),
            length: rows(|sign| matches!(sign, Sign::Length)),
        };
        Met { by, found: BTreeMap::new() }
    }

    /// The instruction meets these rows.
    pub(super) fn rows(&mut self, at: usize, mut rows: Rows, from: Places) {
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            rows &= rows - 1;
            let places = self.found.entry((at, row)).or_default();
            *places = places.join(from);
        }
    }

    /// The context of a program of this type is accessed.
    pub(super) fn context(&mut self, at: usize, of: Option<ProgramType>, stored: bool) {
        use ProgramType::{Axvisor, Kprobe, Mem, PerfEvent, RawTracepoint, Tracepoint};
        let rows = match of {
            // Theirs is TraceContext, or memory of the caller's, on both targets.
            None | Some(Axvisor | Mem) => 0,
            Some(Tracepoint | RawTracepoint | Kprobe | PerfEvent) if stored => self.by.context_store,
            Some(_) => self.by.context_load,
        };
        self.rows(at, rows, Places::Nowhere);
    }

    /// r2 as a program of type `mem` gets it.
    pub(super) fn length(&self) -> Value {
        let outcome = Outcome { errno: 0, success: self.by.length, form: Form::Flag, from: Places::Nowhere };
        Value { outcome: Some(Box::new(outcome)), ..Value::default() }
    }

    /// A helper is called; what its result is.
    pub(super) fn call(&mut self, at: usize, call: &Call<'_>) -> Option<Outcome> {
        let met = rows(|sign| matches!(sign, Sign::Call(condition) if condition(call)));
        self.rows(at, met, Places::Nowhere);
        let errno = rows(|sign| matches!(sign, Sign::Errno(condition) if condition(call)));
        let success = rows(|sign| matches!(sign, Sign::Success(condition) if condition(call)));
        let is_any = errno | success != 0;
        is_any.then_some(Outcome { errno, success, form: Form::Whole, from: Places::One(at) })
    }
}
