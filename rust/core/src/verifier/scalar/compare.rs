//! What a comparison tells of its operands, and when its outcome is known.

use super::{Range, Scalar, Tnum, low_bits};
use crate::isa::{JumpOp, Width};

/// The opposite comparison: true where the other is false. `Set` has none.
const fn opposite(op: JumpOp) -> Option<JumpOp> {
    Some(match op {
        JumpOp::Eq => JumpOp::Ne,
        JumpOp::Ne => JumpOp::Eq,
        JumpOp::Gt => JumpOp::Le,
        JumpOp::Le => JumpOp::Gt,
        JumpOp::Ge => JumpOp::Lt,
        JumpOp::Lt => JumpOp::Ge,
        JumpOp::SGt => JumpOp::SLe,
        JumpOp::SLe => JumpOp::SGt,
        JumpOp::SGe => JumpOp::SLt,
        JumpOp::SLt => JumpOp::SGe,
        JumpOp::Set => return None,
    })
}

/// Lowers the greatest value of `a` and raises the least of `b` to what `a < b` (or `a <= b`) allows.
fn less<T: Copy + Ord + Step>(a: &mut Range<T>, b: &mut Range<T>, or_equal: bool) {
    let (most, least) = if or_equal { (Some(b.max), Some(a.min)) } else { (b.max.before(), a.min.after()) };
    match (most, least) {
        (Some(most), Some(least)) => {
            a.max = a.max.min(most);
            b.min = b.min.max(least);
        }
        // Nothing is less than the least number, nor more than the greatest.
        _ => *a = T::NOTHING,
    }
}

/// Neighbours of a number.
trait Step: Sized {
    const NOTHING: Range<Self>;
    fn before(self) -> Option<Self>;
    fn after(self) -> Option<Self>;
}

macro_rules! step {
    ($($ty:ty)*) => {
        $(impl Step for $ty {
            const NOTHING: Range<$ty> = Range::new(<$ty>::MAX, <$ty>::MIN);
            fn before(self) -> Option<$ty> {
                self.checked_sub(1)
            }
            fn after(self) -> Option<$ty> {
                self.checked_add(1)
            }
        })*
    };
}
step!(u64 i64 u32 i32);

fn cut<T: Copy + Ord + Step>(range: &mut Range<T>, value: T) {
    if range.min == value
        && let Some(next) = value.after()
    {
        range.min = next;
    }
    if range.max == value
        && let Some(next) = value.before()
    {
        range.max = next;
    }
}

/// Bits of the low half, with anything above it.
fn low_half(bits: Tnum) -> Tnum {
    Tnum { value: bits.value & low_bits(32), mask: bits.mask | !low_bits(32) }
}

/// What both operands can be where `a op b` has turned out as `holds`. Empty ones where it cannot.
#[must_use]
pub fn refined(width: Width, op: JumpOp, a: &Scalar, b: &Scalar, holds: bool) -> (Scalar, Scalar) {
    let op = match (holds, opposite(op)) {
        (true, _) => op,
        (false, Some(opposite)) => opposite,
        (false, None) => return without_common_bits(width, a, b),
    };
    let (mut left, mut right) = (*a, *b);
    let wide = width == Width::W64;
    match op {
        JumpOp::Eq if wide => {
            let both = a.intersect(b);
            return (both, both);
        }
        JumpOp::Eq => {
            left = Scalar { unsigned32: b.unsigned32, signed32: b.signed32, bits: low_half(b.bits), ..Scalar::UNKNOWN };
            right =
                Scalar { unsigned32: a.unsigned32, signed32: a.signed32, bits: low_half(a.bits), ..Scalar::UNKNOWN };
            return (a.intersect(&left), b.intersect(&right));
        }
        JumpOp::Ne => {
            differ(width, a, &mut right);
            differ(width, b, &mut left);
        }
        JumpOp::Set => {
            common_bit(width, a, &mut right);
            common_bit(width, b, &mut left);
        }
        JumpOp::Lt | JumpOp::Le if wide => less(&mut left.unsigned, &mut right.unsigned, op == JumpOp::Le),
        JumpOp::Gt | JumpOp::Ge if wide => less(&mut right.unsigned, &mut left.unsigned, op == JumpOp::Ge),
        JumpOp::SLt | JumpOp::SLe if wide => less(&mut left.signed, &mut right.signed, op == JumpOp::SLe),
        JumpOp::SGt | JumpOp::SGe if wide => less(&mut right.signed, &mut left.signed, op == JumpOp::SGe),
        JumpOp::Lt | JumpOp::Le => less(&mut left.unsigned32, &mut right.unsigned32, op == JumpOp::Le),
        JumpOp::Gt | JumpOp::Ge => less(&mut right.unsigned32, &mut left.unsigned32, op == JumpOp::Ge),
        JumpOp::SLt | JumpOp::SLe => less(&mut left.signed32, &mut right.signed32, op == JumpOp::SLe),
        JumpOp::SGt | JumpOp::SGe => less(&mut right.signed32, &mut left.signed32, op == JumpOp::SGe),
    }
    (left.synced(), right.synced())
}

/// `other` is not `constant`, where that is one.
fn differ(width: Width, constant: &Scalar, other: &mut Scalar) {
    if let (Width::W64, Some(value)) = (width, constant.as_constant()) {
        if other.as_constant() == Some(value) {
            *other = Scalar::EMPTY;
            return;
        }
        cut(&mut other.unsigned, value);
        cut(&mut other.signed, value.cast_signed());
    }
    if width == Width::W32 && constant.unsigned32.min == constant.unsigned32.max {
        let value = constant.unsigned32.min;
        if other.unsigned32.min == other.unsigned32.max && other.unsigned32.min == value {
            *other = Scalar::EMPTY;
            return;
        }
        cut(&mut other.unsigned32, value);
        cut(&mut other.signed32, value.cast_signed());
    }
}

/// `other` has a bit in common with `constant`, where that is one.
fn common_bit(width: Width, constant: &Scalar, other: &mut Scalar) {
    let Some(value) = constant_of(width, constant) else { return };
    if value.is_power_of_two() {
        match other.bits.intersect(Tnum { value, mask: !value }) {
            Some(bits) => other.bits = bits,
            None => *other = Scalar::EMPTY,
        }
    }
}

fn constant_of(width: Width, scalar: &Scalar) -> Option<u64> {
    match width {
        Width::W64 => scalar.as_constant(),
        Width::W32 => (scalar.unsigned32.min == scalar.unsigned32.max).then_some(u64::from(scalar.unsigned32.min)),
    }
}

/// Neither has a bit that the other, as a constant, has.
fn without_common_bits(width: Width, a: &Scalar, b: &Scalar) -> (Scalar, Scalar) {
    let clear = |of: &Scalar, constant: &Scalar| match constant_of(width, constant) {
        Some(value) => match of.bits.intersect(Tnum { value: 0, mask: !value }) {
            Some(bits) => Scalar { bits, ..*of }.synced(),
            None => Scalar::EMPTY,
        },
        None => *of,
    };
    (clear(a, b), clear(b, a))
}

/// How `a op b` turns out, where that is the same for all numbers.
#[must_use]
pub fn outcome(width: Width, op: JumpOp, a: &Scalar, b: &Scalar) -> Option<bool> {
    let known = |holds: bool, fails: bool| match (holds, fails) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    match (op, width) {
        (JumpOp::Eq, _) => equal(width, a, b),
        (JumpOp::Ne, _) => equal(width, a, b).map(|equal| !equal),
        (JumpOp::Set, _) => {
            let (left, right) = match width {
                Width::W64 => (a.bits, b.bits),
                Width::W32 => (a.bits.low(32), b.bits.low(32)),
            };
            let common = left.and(right);
            known(common.value != 0, common.mask == 0)
        }
        (JumpOp::Gt, Width::W64) => known(a.unsigned.min > b.unsigned.max, a.unsigned.max <= b.unsigned.min),
        (JumpOp::Ge, Width::W64) => known(a.unsigned.min >= b.unsigned.max, a.unsigned.max < b.unsigned.min),
        (JumpOp::SGt, Width::W64) => known(a.signed.min > b.signed.max, a.signed.max <= b.signed.min),
        (JumpOp::SGe, Width::W64) => known(a.signed.min >= b.signed.max, a.signed.max < b.signed.min),
        (JumpOp::Gt, Width::W32) => known(a.unsigned32.min > b.unsigned32.max, a.unsigned32.max <= b.unsigned32.min),
        (JumpOp::Ge, Width::W32) => known(a.unsigned32.min >= b.unsigned32.max, a.unsigned32.max < b.unsigned32.min),
        (JumpOp::SGt, Width::W32) => known(a.signed32.min > b.signed32.max, a.signed32.max <= b.signed32.min),
        (JumpOp::SGe, Width::W32) => known(a.signed32.min >= b.signed32.max, a.signed32.max < b.signed32.min),
        (JumpOp::Lt, _) => outcome(width, JumpOp::Gt, b, a),
        (JumpOp::Le, _) => outcome(width, JumpOp::Ge, b, a),
        (JumpOp::SLt, _) => outcome(width, JumpOp::SGt, b, a),
        (JumpOp::SLe, _) => outcome(width, JumpOp::SGe, b, a),
    }
}

fn equal(width: Width, a: &Scalar, b: &Scalar) -> Option<bool> {
    let wide = width == Width::W64;
    if let (Some(left), Some(right)) = (constant_of(width, a), constant_of(width, b))
        && left == right
    {
        return Some(true);
    }
    let apart = a.unsigned32.is_apart(b.unsigned32)
        || a.signed32.is_apart(b.signed32)
        || wide && (a.unsigned.is_apart(b.unsigned) || a.signed.is_apart(b.signed));
    let bits = if wide { a.bits.intersect(b.bits) } else { a.bits.low(32).intersect(b.bits.low(32)) };
    (apart || bits.is_none()).then_some(false)
}
