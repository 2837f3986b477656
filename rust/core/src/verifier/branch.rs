//! Conditional jumps: which ways are possible, and what each one teaches.

use super::checkpoint::Need;
use super::error::Refusal;
use super::explore::{Explorer, Next};
use super::packet;
use super::scalar::{Scalar, outcome, refined};
use super::state::State;
use super::structure::Structure;
use super::value::{Kind, Number, Pointer, Value};
use crate::isa::{AluOp, JumpOp, Reg, Source, Width};

impl Explorer<'_> {
    /// Follows a conditional jump.
    pub fn branch(
        &mut self,
        state: &mut State,
        width: Width,
        op: JumpOp,
        dst: Reg,
        src: Source,
        offset: i32,
    ) -> Result<Next, Refusal> {
        let right = self.source(state, src)?;
        let left = self.read(state, dst)?;
        state.jumps += 1;
        let at = state.at;
        let target = Structure::target(at, offset).unwrap_or(usize::MAX);
        let known = match (left, right) {
            (Value::Number(a), Value::Number(b)) => known(width, op, &a.scalar, &b.scalar),
            // What cannot be null is not 0.
            (Value::Pointer(pointer), other) | (other, Value::Pointer(pointer))
                if width == Width::W64 && other.is_zero() && never_null(&pointer) =>
            {
                match op {
                    JumpOp::Eq => Some(false),
                    JumpOp::Ne => Some(true),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(taken) = known {
            self.need(state, &left, Need::Exact);
            self.need(state, &right, Need::Exact);
            state.at = if taken { target } else { at + 1 };
            return Ok(Next::On);
        }
        self.need_kind(state, &left);
        self.need_kind(state, &right);
        let mut taken = state.clone();
        self.learn(&mut taken, width, op, (left, dst), (right, src), true);
        taken.at = target;
        let mut other = state.clone();
        self.learn(&mut other, width, op, (left, dst), (right, src), false);
        // Both ways are followed, the one that goes on first.
        std::mem::swap(state, &mut other);
        if !self.fork(state, taken, true)? {
            state.at = at + 1;
        }
        Ok(Next::On)
    }

    /// What the state learns where a comparison has turned out as `holds`.
    fn learn(
        &mut self,
        state: &mut State,
        width: Width,
        op: JumpOp,
        (left, dst): (Value, Reg),
        (right, src): (Value, Source),
        holds: bool,
    ) {
        match (left, right) {
            // A register compared with itself says nothing of it to Linux.
            (Value::Number(_), Value::Number(_)) if src == Source::Reg(dst) => {}
            (Value::Number(a), Value::Number(b)) => {
                let (x, y) = refined(width, op, &a.scalar, &b.scalar, holds);
                if x.is_empty() || y.is_empty() {
                    return;
                }
                let from = a.from | b.from;
                if x != a.scalar {
                    learn_number(state, dst, &a, x, from);
                }
                if let Source::Reg(src) = src
                    && y != b.scalar
                {
                    learn_number(state, src, &b, y, from);
                }
            }
            // Linux takes a comparison with the constant for a test, and none with a register.
            (Value::Pointer(pointer), _) if pointer.or_null && width == Width::W64 && src == Source::Imm(0) => {
                let is_null = match op {
                    JumpOp::Eq => holds,
                    JumpOp::Ne => !holds,
                    _ => return,
                };
                self.learn_null(state, &pointer, is_null);
            }
            (Value::Pointer(_), Value::Pointer(_)) if width == Width::W64 => {
                packet::learn(state, op, &left, &right, holds);
            }
            _ => {}
        }
    }

    /// Whether addresses of an id are null.
    fn learn_null(&mut self, state: &mut State, pointer: &Pointer, is_null: bool) {
        let id = pointer.id;
        let same = |value: &Value| matches!(value, Value::Pointer(other) if other.or_null && other.id == id);
        if is_null {
            state.reserved.retain(|reserved| reserved.id != id);
            state.change(same, |value| Value::constant(0).made_of(value.from()));
        } else {
            state.change(same, |value| match *value {
                Value::Pointer(mut pointer) => {
                    pointer.or_null = false;
                    if !matches!(pointer.kind, Kind::Record { .. }) {
                        pointer.id = 0;
                    }
                    Value::Pointer(pointer)
                }
                other => other,
            });
        }
    }
}

/// Which way a comparison of numbers goes, where that is known.
fn known(width: Width, op: JumpOp, a: &Scalar, b: &Scalar) -> Option<bool> {
    if let Some(known) = outcome(width, op, a, b) {
        return Some(known);
    }
    // Each way must leave both something to be.
    let possible = |holds: bool| {
        let (a, b) = refined(width, op, a, b, holds);
        !a.is_empty() && !b.is_empty()
    };
    match (possible(true), possible(false)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// A number is found to be of `scalar`, and so are those that differ from it by a constant.
fn learn_number(state: &mut State, reg: Reg, number: &Number, scalar: Scalar, from: u128) {
    state.set(reg, Value::Number(Number { scalar, from, ..*number }));
    if number.id == 0 {
        return;
    }
    let linked = |value: &Value| matches!(value, Value::Number(other) if other.id == number.id);
    state.change(linked, |value| match *value {
        Value::Number(mut other) => {
            let by = i64::from(other.plus) - i64::from(number.plus);
            // Of 32 bits of a sum, nothing is known of the whole number.
            let width = match (number.narrow, other.narrow) {
                (false, false) => Width::W64,
                (_, true) => Width::W32,
                (true, false) => return Value::Number(other),
            };
            let moved = scalar.arithmetic(width, AluOp::Add, &Scalar::constant(by.cast_unsigned()));
            let both = other.scalar.intersect(&moved);
            if !both.is_empty() {
                other.scalar = both;
            }
            other.from |= from;
            Value::Number(other)
        }
        other => other,
    });
}

/// Whether Linux counts an address as one that is not null (measured).
const fn never_null(pointer: &Pointer) -> bool {
    !pointer.or_null
        && matches!(
            pointer.kind,
            Kind::MapValue(_) | Kind::MapKey(_) | Kind::Map(_) | Kind::Record { .. } | Kind::Memory { .. }
        )
}
