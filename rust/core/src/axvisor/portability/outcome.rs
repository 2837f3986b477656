//! Results of helpers that are others on AxVisor, and what a program finds out about them.
//!
//! A failure is an errno, -4095 to -1, on Linux and -1 on AxVisor. Whoever only asks whether it was one sees no
//! difference. So a computation or comparison with a constant is tried with every errno: where all of them come to the
//! same, the errno does not matter.

use super::value::Places;
use crate::isa::{AluOp, JumpOp, Width};

/// Rows of the table of gaps, a bit each.
pub(super) type Rows = u128;

/// What was computed from the result so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing.
    Whole,
    /// Its lower half, with zeroes above.
    Low,
    /// Its lower half, in the upper one.
    High,
    /// Something that is the same for every errno.
    Flag,
    /// One of several.
    Mixed,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Rows that it meets where it is used for more than to tell success from failure.
    pub(super) errno: Rows,
    /// Rows that it meets however it is used.
    pub(super) success: Rows,
    pub(super) form: Form,
    /// The calls.
    pub(super) from: Places,
}

/// What a comparison finds out.
pub(super) struct Told {
    /// Rows that it meets.
    pub(super) rows: Rows,
    /// The value is 0, a success, where the jump is taken, or where it is not.
    pub(super) success_if: Option<bool>,
}

/// What a helper may fail with.
fn errnos() -> std::ops::RangeInclusive<i64> {
    -4095..=-1
}

impl Form {
    fn of(self, result: i64) -> u64 {
        match self {
            Form::Whole | Form::Flag | Form::Mixed => result as u64,
            Form::Low => u64::from(result as u32),
            Form::High => (result as u64) << 32,
        }
    }
}

impl Outcome {
    pub(super) fn join(&self, other: &Outcome) -> Outcome {
        let form = if self.form == other.form { self.form } else { Form::Mixed };
        let (errno, success) = (self.errno | other.errno, self.success | other.success);
        Outcome { errno, success, form, from: self.from.join(other.from) }
    }

    /// All rows that any use meets.
    pub(super) fn rows(&self) -> Rows {
        if self.form == Form::Flag { self.success } else { self.errno | self.success }
    }

    /// What a computation with a constant makes of it; none where that is one more use of it.
    pub(super) fn computed(&self, width: Width, op: AluOp, with: u64) -> Option<Outcome> {
        if self.form == Form::Flag {
            return Some(self.clone());
        }
        if self.form == Form::Mixed {
            return None;
        }
        let to = |result: i64| alu(width, op, self.form.of(result), with);
        let first = to(-1)?;
        let form = if errnos().all(|errno| to(errno) == Some(first)) {
            Form::Flag
        } else {
            let same = |form: Form| errnos().chain([0]).all(|result| to(result) == Some(form.of(result)));
            [Form::Whole, Form::Low, Form::High].into_iter().find(|form| same(*form))?
        };
        Some(Outcome { form, ..self.clone() })
    }

    /// What a jump that compares it with a constant finds out.
    pub(super) fn compared(&self, width: Width, op: JumpOp, with: u64) -> Told {
        if matches!(self.form, Form::Flag | Form::Mixed) {
            return Told { rows: self.rows(), success_if: None };
        }
        let taken = |result: i64| op.holds(width, self.form.of(result), with);
        let failed = taken(-1);
        if !errnos().all(|errno| taken(errno) == failed) {
            return Told { rows: self.rows(), success_if: None };
        }
        let success = taken(0);
        Told { rows: self.success, success_if: (success != failed).then_some(success) }
    }
}

/// The result of an operation, for those that results of calls are put through.
pub(super) fn alu(width: Width, op: AluOp, a: u64, b: u64) -> Option<u64> {
    let (a, b, bits) = match width {
        Width::W64 => (a, b, 64),
        Width::W32 => (u64::from(a as u32), u64::from(b as u32), 32),
    };
    let by = (b % bits) as u32;
    let out = match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Lsh => a << by,
        AluOp::Rsh => a >> by,
        AluOp::Arsh if width == Width::W64 => ((a as i64) >> by) as u64,
        AluOp::Arsh => u64::from(((a as i32) >> by) as u32),
        AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => return None,
    };
    Some(if width == Width::W32 { u64::from(out as u32) } else { out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(form: Form) -> Outcome {
        Outcome { errno: 1, success: 2, form, from: Places::One(0) }
    }

    #[test]
    fn asking_for_failure_does_not_see_the_errno() {
        let whole = result(Form::Whole);
        for (op, with) in [(JumpOp::Eq, 0), (JumpOp::Ne, 0), (JumpOp::SLt, 0), (JumpOp::SGt, u64::MAX)] {
            assert_eq!(whole.compared(Width::W64, op, with).rows, 2, "{op:?}");
            assert_eq!(whole.compared(Width::W32, op, with).rows, 2, "{op:?}");
        }
        for (op, with) in [(JumpOp::Eq, -17_i64), (JumpOp::Eq, -1), (JumpOp::SLt, -1), (JumpOp::Set, 3)] {
            assert_eq!(whole.compared(Width::W64, op, with as u64).rows, 3, "{op:?} {with}");
        }
        assert_eq!(whole.compared(Width::W64, JumpOp::Ne, 0).success_if, Some(false));
        assert_eq!(whole.compared(Width::W64, JumpOp::SGe, 0).success_if, Some(true));
    }

    #[test]
    fn a_lower_half_compared_in_64_bits_is_never_negative() {
        assert_eq!(result(Form::Low).compared(Width::W64, JumpOp::SLt, 0).success_if, None);
        assert_eq!(result(Form::Low).compared(Width::W32, JumpOp::SLt, 0).success_if, Some(false));
    }

    #[test]
    fn the_sign_alone_and_the_sign_extended_in_two_shifts_are_no_use_of_the_errno() {
        let form = |of: Option<Outcome>| of.map(|outcome| outcome.form);
        assert_eq!(form(result(Form::Whole).computed(Width::W64, AluOp::Rsh, 63)), Some(Form::Flag));
        assert_eq!(form(result(Form::Low).computed(Width::W32, AluOp::Arsh, 31)), Some(Form::Flag));
        assert_eq!(form(result(Form::Low).computed(Width::W64, AluOp::Lsh, 32)), Some(Form::High));
        assert_eq!(form(result(Form::High).computed(Width::W64, AluOp::Arsh, 32)), Some(Form::Whole));
        assert_eq!(form(result(Form::Whole).computed(Width::W64, AluOp::Add, 17)), None);
    }
}
