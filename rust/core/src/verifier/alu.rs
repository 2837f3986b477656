//! Arithmetic: on numbers, and on addresses (rule 6).

use super::Rule;
use super::checkpoint::Need;
use super::error::Refusal;
use super::explore::Explorer;
use super::scalar::{Scalar, of_size};
use super::state::State;
use super::value::{Kind, Number, Pointer, Value};
use crate::isa::{AluOp, Reg, Size, Source, SwapOrder, Width};

/// What an offset of an address stays below (measured).
const MOST_OFFSET: i64 = 1 << 29;

impl Explorer<'_> {
    /// A value that will be in two places: numbers get an id in common.
    pub fn shared(&mut self, value: Value) -> Value {
        match value {
            Value::Number(mut number)
                if number.scalar.as_constant().is_none() && (number.id == 0 || number.plus != 0 || number.narrow) =>
            {
                number.unlink();
                number.id = self.fresh_id();
                Value::Number(number)
            }
            other => other,
        }
    }

    /// `dst = src`.
    pub fn copy(&mut self, state: &mut State, width: Width, dst: Reg, src: Source) -> Result<(), Refusal> {
        let value = self.source(state, src)?;
        self.need(state, &value, Need::Kind);
        let value = match (width, value) {
            (Width::W64, value) => {
                let shared = self.shared(value);
                if let Source::Reg(src) = src {
                    state.set(src, shared);
                }
                shared
            }
            (Width::W32, Value::Number(number)) => {
                let fits = number.scalar.unsigned.max <= u64::from(u32::MAX);
                let mut copied = number;
                if fits && let Source::Reg(src) = src {
                    let shared = self.shared(value);
                    state.set(src, shared);
                    if let Value::Number(shared) = shared {
                        copied = shared;
                    }
                } else {
                    copied.unlink();
                }
                copied.scalar = copied.scalar.low32();
                Value::Number(copied)
            }
            (Width::W32, _) => Value::Number(Number::new(Scalar::UNKNOWN.low32(), 0)),
        };
        state.set(dst, value);
        Ok(())
    }

    /// `dst = (s8)src` and its like.
    pub fn sign_extend(
        &mut self,
        state: &mut State,
        width: Width,
        from: Size,
        dst: Reg,
        src: Reg,
    ) -> Result<(), Refusal> {
        let value = self.read(state, src)?;
        let result = match value {
            Value::Number(number) => {
                let fits = number.scalar.unsigned.max < 1 << (from.bits() - 1);
                let mut result = number;
                if fits {
                    let shared = self.shared(value);
                    state.set(src, shared);
                    if let Value::Number(shared) = shared {
                        result = shared;
                    }
                } else {
                    result.unlink();
                }
                result.scalar = number.scalar.sign_extended(width, from);
                result
            }
            _ => Number::new(Scalar::UNKNOWN.sign_extended(width, from), 0),
        };
        self.need_kind(state, &value);
        state.set(dst, Value::Number(result));
        Ok(())
    }

    /// `dst = -dst`.
    pub fn negate(&mut self, state: &mut State, width: Width, dst: Reg) -> Result<(), Refusal> {
        let value = self.read(state, dst)?;
        self.need_kind(state, &value);
        let result = match value {
            Value::Number(number) => Number::new(number.scalar.negated(width), number.from),
            _ => Number::new(Scalar::UNKNOWN, 0),
        };
        state.set(dst, Value::Number(result));
        Ok(())
    }

    /// `dst = bswap16 dst` and its like.
    pub fn swap(&mut self, state: &mut State, order: SwapOrder, size: Size, dst: Reg) -> Result<(), Refusal> {
        let value = self.read(state, dst)?;
        self.need_kind(state, &value);
        let swaps = order != SwapOrder::Little;
        let result = match value {
            Value::Number(number) => Number::new(number.scalar.swapped(size, swaps), number.from),
            _ => Number::new(of_size(size, false), 0),
        };
        state.set(dst, Value::Number(result));
        Ok(())
    }

    /// `dst = dst op src`.
    pub fn arithmetic(
        &mut self,
        state: &mut State,
        width: Width,
        op: AluOp,
        dst: Reg,
        src: Source,
    ) -> Result<(), Refusal> {
        let right = self.source(state, src)?;
        if let (AluOp::And | AluOp::Or, true) = (op, right.is_constant()) {
            self.split(state, width, dst)?;
        }
        let left = self.read(state, dst)?;
        self.need_kind(state, &left);
        self.need_kind(state, &right);
        let refuse = |linux: String, what: &str| {
            let mut refusal = Refusal::new(Rule::PointerArithmetic, state.at, linux, what).about(&[dst]);
            if let Source::Reg(src) = src {
                refusal = refusal.about(&[src]);
            }
            Err(refusal)
        };
        let (number, symbol) = (dst.number(), op.symbol());
        let result = match (left, right) {
            (Value::Number(a), Value::Number(b)) => {
                let mut result = Number::new(a.scalar.arithmetic(width, op, &b.scalar), a.from | b.from);
                // A constant more, or less, than a number that others are equal to.
                if let (AluOp::Add | AluOp::Sub, Some(constant)) = (op, b.scalar.as_constant())
                    && a.id != 0
                    && (a.plus, a.narrow) == (0, false)
                    && let Some(plus) = difference(op, width, constant)
                {
                    (result.id, result.plus, result.narrow) = (a.id, plus, width == Width::W32);
                }
                Value::Number(result)
            }
            (Value::Pointer(_), Value::Pointer(_)) => match op {
                AluOp::Sub => Value::UNKNOWN,
                _ => {
                    return refuse(
                        format!("R{number} pointer {symbol} pointer prohibited"),
                        "two addresses can only be subtracted",
                    );
                }
            },
            (Value::Pointer(_), _) | (_, Value::Pointer(_)) if width == Width::W32 => match op {
                AluOp::Sub => Value::UNKNOWN,
                _ => {
                    return refuse(
                        format!("R{number} 32-bit pointer arithmetic prohibited"),
                        "half an address is none; the operation has 32 bits",
                    );
                }
            },
            (Value::Pointer(pointer), Value::Number(by)) => self.displaced(state, pointer, op, by, dst, dst)?,
            (Value::Number(by), Value::Pointer(pointer)) => {
                if op == AluOp::Sub {
                    return refuse(
                        format!("R{number} tried to subtract pointer from scalar"),
                        "an address is subtracted from a number",
                    );
                }
                let base = if let Source::Reg(src) = src { src } else { dst };
                self.displaced(state, pointer, op, by, base, dst)?
            }
            _ => Value::UNKNOWN,
        };
        state.set(dst, result);
        Ok(())
    }

    /// A number that is 0 or has all bits set, as comparisons without a branch make it: each is followed by itself.
    fn split(&mut self, state: &mut State, width: Width, dst: Reg) -> Result<(), Refusal> {
        let Value::Number(number) = state.get(dst) else { return Ok(()) };
        let Scalar { signed, signed32, unsigned, .. } = number.scalar;
        let other = if (signed.min, signed.max) == (-1, 0) {
            u64::MAX
        } else if (signed32.min, signed32.max) == (-1, 0)
            && (width == Width::W32 || unsigned.max <= u64::from(u32::MAX))
        {
            u32::MAX.into()
        } else {
            return Ok(());
        };
        self.need_exact(state, &Value::Number(number));
        let mut zero = state.clone();
        zero.set(dst, Value::constant(0).made_of(number.from));
        state.set(dst, Value::constant(other).made_of(number.from));
        self.fork(state, zero, true).map(|_| ())
    }

    /// An address, plus or minus a number.
    fn displaced(
        &mut self,
        state: &State,
        pointer: Pointer,
        op: AluOp,
        by: Number,
        base: Reg,
        dst: Reg,
    ) -> Result<Value, Refusal> {
        let refuse =
            |linux: String, what: String| Refusal::new(Rule::PointerArithmetic, state.at, linux, what).about(&[base]);
        let (name, number) = (pointer.linux_name(), dst.number());
        if pointer.or_null {
            let linux = format!("R{number} pointer arithmetic on {name} prohibited, null-check it first");
            let what = "the address may be null, and null plus something would pass a later test".to_owned();
            return Err(Refusal::new(Rule::Null, state.at, linux, what)
                .about(&[base])
                .hint("test it first: if (!p) return 0;"));
        }
        let constant = by.scalar.as_constant();
        let fixed = matches!(pointer.kind, Kind::Map(_) | Kind::PacketEnd);
        if fixed && constant != Some(0) {
            return Err(refuse(
                format!("R{number} pointer arithmetic on {name} prohibited"),
                format!("{} has no parts that an address could be of", self.in_words(state, base)),
            ));
        }
        match op {
            AluOp::Add | AluOp::Sub => {}
            AluOp::And | AluOp::Or | AluOp::Xor => {
                return Err(refuse(
                    format!("R{number} bitwise operator {} on pointer prohibited", op.symbol()),
                    "an address takes the addition and subtraction of numbers only".to_owned(),
                ));
            }
            _ => {
                return Err(refuse(
                    format!("R{number} pointer arithmetic with {} operator prohibited", op.symbol()),
                    "an address takes the addition and subtraction of numbers only".to_owned(),
                ));
            }
        }
        self.need_exact(state, &Value::Number(by));
        Self::sane(state, name, &by.scalar, by.plus, dst)?;
        if op == AluOp::Sub && matches!(pointer.kind, Kind::Stack { .. }) {
            return Err(refuse(
                format!("R{number} subtraction from stack pointer prohibited"),
                "add a negative number instead".to_owned(),
            ));
        }
        let mut result = pointer;
        result.from |= by.from;
        let fixed = constant.and_then(|by| {
            let by = by.cast_signed();
            let by = if op == AluOp::Sub { by.checked_neg()? } else { by };
            i32::try_from(i64::from(pointer.offset).checked_add(by)?).ok()
        });
        match fixed {
            Some(offset) => result.offset = offset,
            None => {
                result.variable = pointer.variable.arithmetic(Width::W64, op, &by.scalar);
                if let Kind::Packet { range } | Kind::PacketMeta { range } = &mut result.kind {
                    *range = 0;
                    result.id = self.fresh_id();
                }
            }
        }
        Self::sane(state, name, &result.variable, result.offset, dst)?;
        Ok(Value::Pointer(result))
    }

    /// Whether the parts of an offset are small enough to be added up.
    fn sane(state: &State, name: &str, part: &Scalar, offset: i32, reg: Reg) -> Result<(), Refusal> {
        let refuse = |linux: String| {
            let what = "an offset of an address is a number between -536870912 and 536870912, and known to be one";
            Err(Refusal::new(Rule::PointerArithmetic, state.at, linux, what)
                .about(&[reg])
                .hint("bound the number before it is added: if (i >= 64) return 0;"))
        };
        let least = part.signed.min;
        let beyond = |number: i64| number <= -MOST_OFFSET || number >= MOST_OFFSET;
        if let Some(constant) = part.as_constant().filter(|constant| beyond(constant.cast_signed())) {
            return refuse(format!("math between {name} pointer and {} is not allowed", constant.cast_signed()));
        }
        if beyond(offset.into()) {
            return refuse(format!("{name} pointer offset {offset} is not allowed"));
        }
        if least == i64::MIN {
            return refuse(format!("math between {name} pointer and register with unbounded min value is not allowed"));
        }
        if beyond(least) {
            return refuse(format!("value {least} makes {name} pointer be out of bounds"));
        }
        Ok(())
    }
}

/// How much an addition of a constant adds, if that is little.
fn difference(op: AluOp, width: Width, constant: u64) -> Option<i32> {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is added")]
    let constant = if width == Width::W32 { i64::from(constant as i32) } else { constant.cast_signed() };
    let constant = if op == AluOp::Sub { constant.checked_neg()? } else { constant };
    i32::try_from(constant).ok()
}
