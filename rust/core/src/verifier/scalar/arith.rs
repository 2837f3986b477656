//! What arithmetic makes of what is known of its operands (RFC 9669 §4.1, §4.2).
//!
//! Each operation is computed on the bits and on the ranges for themselves; syncing lets the better one win. What Linux
//! does not follow (shifts by a register that is no constant, divisions, byte swaps) gives an unknown number here too:
//! a bench that knew more would accept what Linux refuses.

use super::{Range, Scalar, Tnum};
use crate::isa::{AluOp, Size, Width};

impl Scalar {
    /// `self op other`; for a move, `other`.
    #[must_use]
    pub fn arithmetic(&self, width: Width, op: AluOp, other: &Scalar) -> Scalar {
        let wide = match op {
            AluOp::Mov => *other,
            AluOp::Add => self.sum(other),
            AluOp::Sub => self.difference(other),
            AluOp::Mul => self.product(other),
            AluOp::And => self.and(other),
            AluOp::Or => self.or(other),
            AluOp::Xor => Scalar { bits: self.bits.xor(other.bits), ..Scalar::UNKNOWN },
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => match self.shifted(width, op, other) {
                Some(shifted) => shifted,
                // Not even that the upper half is zero, as for a division (measured).
                None => return Scalar::UNKNOWN,
            },
            AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => return Scalar::UNKNOWN,
        };
        match width {
            Width::W64 => wide.synced(),
            // The low half of the result depends on the low halves alone.
            Width::W32 => Scalar { bits: wide.bits.low(32), ..Scalar::low_half_of(&wide) }.synced().low32(),
        }
    }

    /// Nothing known but the low half's ranges.
    const fn low_half_of(wide: &Scalar) -> Scalar {
        Scalar { unsigned32: wide.unsigned32, signed32: wide.signed32, ..Scalar::UNKNOWN }
    }

    /// `-self`.
    #[must_use]
    pub fn negated(&self, width: Width) -> Scalar {
        Scalar::constant(0).arithmetic(width, AluOp::Sub, self)
    }

    /// The low `from` bits, sign-extended to `width`.
    ///
    /// As Linux has it: of a range whose ends differ only in those bits, the extended ends, where they have one sign;
    /// of any other, all numbers of so many bits.
    #[must_use]
    pub fn sign_extended(&self, width: Width, from: Size) -> Scalar {
        let bits = u32::from(from.bits());
        let extend = |number: i64| number << (64 - bits) >> (64 - bits);
        let result = match self.as_constant() {
            Some(constant) => Scalar::constant(extend(constant.cast_signed()).cast_unsigned()),
            None => {
                let ends = match width {
                    Width::W64 => self.signed,
                    Width::W32 => Range::new(self.signed32.min.into(), self.signed32.max.into()),
                };
                let (low, high) = (extend(ends.min), extend(ends.max));
                let mut result = Scalar::UNKNOWN;
                result.signed = if ends.min >> bits == ends.max >> bits && (low < 0) == (high < 0) {
                    Range::new(low, high)
                } else {
                    Range::new(-1 << (bits - 1), (1 << (bits - 1)) - 1)
                };
                result.synced()
            }
        };
        if width == Width::W32 { result.low32() } else { result }
    }

    fn sum(&self, other: &Scalar) -> Scalar {
        let mut sum = Scalar { bits: self.bits.add(other.bits), ..Scalar::UNKNOWN };
        // Where both ends overflow, all between does, and the ends are those of the result.
        let (min, low_carry) = self.unsigned.min.overflowing_add(other.unsigned.min);
        let (max, high_carry) = self.unsigned.max.overflowing_add(other.unsigned.max);
        if low_carry == high_carry {
            sum.unsigned = Range::new(min, max);
        }
        if let (Some(min), Some(max)) =
            (self.signed.min.checked_add(other.signed.min), self.signed.max.checked_add(other.signed.max))
        {
            sum.signed = Range::new(min, max);
        }
        let (min, low_carry) = self.unsigned32.min.overflowing_add(other.unsigned32.min);
        let (max, high_carry) = self.unsigned32.max.overflowing_add(other.unsigned32.max);
        if low_carry == high_carry {
            sum.unsigned32 = Range::new(min, max);
        }
        if let (Some(min), Some(max)) =
            (self.signed32.min.checked_add(other.signed32.min), self.signed32.max.checked_add(other.signed32.max))
        {
            sum.signed32 = Range::new(min, max);
        }
        sum
    }

    fn difference(&self, other: &Scalar) -> Scalar {
        let mut difference = Scalar { bits: self.bits.sub(other.bits), ..Scalar::UNKNOWN };
        let (min, low_borrow) = self.unsigned.min.overflowing_sub(other.unsigned.max);
        let (max, high_borrow) = self.unsigned.max.overflowing_sub(other.unsigned.min);
        if low_borrow == high_borrow {
            difference.unsigned = Range::new(min, max);
        }
        if let (Some(min), Some(max)) =
            (self.signed.min.checked_sub(other.signed.max), self.signed.max.checked_sub(other.signed.min))
        {
            difference.signed = Range::new(min, max);
        }
        let (min, low_borrow) = self.unsigned32.min.overflowing_sub(other.unsigned32.max);
        let (max, high_borrow) = self.unsigned32.max.overflowing_sub(other.unsigned32.min);
        if low_borrow == high_borrow {
            difference.unsigned32 = Range::new(min, max);
        }
        if let (Some(min), Some(max)) =
            (self.signed32.min.checked_sub(other.signed32.max), self.signed32.max.checked_sub(other.signed32.min))
        {
            difference.signed32 = Range::new(min, max);
        }
        difference
    }

    fn product(&self, other: &Scalar) -> Scalar {
        let mut product = Scalar { bits: self.bits.mul(other.bits), ..Scalar::UNKNOWN };
        // The factors of an unsigned product grow together; of a signed one, an end is the product of two ends.
        if let (Some(min), Some(max)) =
            (self.unsigned.min.checked_mul(other.unsigned.min), self.unsigned.max.checked_mul(other.unsigned.max))
        {
            product.unsigned = Range::new(min, max);
        }
        let ends = [self.signed.min, self.signed.max]
            .map(|a| [a.checked_mul(other.signed.min), a.checked_mul(other.signed.max)]);
        if let [[Some(a), Some(b)], [Some(c), Some(d)]] = ends {
            product.signed = Range::new(a.min(b).min(c).min(d), a.max(b).max(c).max(d));
        }
        if let (Some(min), Some(max)) = (
            self.unsigned32.min.checked_mul(other.unsigned32.min),
            self.unsigned32.max.checked_mul(other.unsigned32.max),
        ) {
            product.unsigned32 = Range::new(min, max);
        }
        let ends = [self.signed32.min, self.signed32.max]
            .map(|a| [a.checked_mul(other.signed32.min), a.checked_mul(other.signed32.max)]);
        if let [[Some(a), Some(b)], [Some(c), Some(d)]] = ends {
            product.signed32 = Range::new(a.min(b).min(c).min(d), a.max(b).max(c).max(d));
        }
        product
    }

    fn and(&self, other: &Scalar) -> Scalar {
        let mut result = Scalar { bits: self.bits.and(other.bits), ..Scalar::UNKNOWN };
        result.unsigned.max = self.unsigned.max.min(other.unsigned.max);
        result.unsigned32.max = self.unsigned32.max.min(other.unsigned32.max);
        result
    }

    fn or(&self, other: &Scalar) -> Scalar {
        let mut result = Scalar { bits: self.bits.or(other.bits), ..Scalar::UNKNOWN };
        result.unsigned.min = self.unsigned.min.max(other.unsigned.min);
        result.unsigned32.min = self.unsigned32.min.max(other.unsigned32.min);
        result
    }

    /// A shift by a constant less than the width; by anything else, unknown.
    fn shifted(&self, width: Width, op: AluOp, by: &Scalar) -> Option<Scalar> {
        let bits = if width == Width::W32 { 32 } else { 64 };
        let by = match width {
            Width::W64 => by.as_constant(),
            Width::W32 => by.low32().as_constant(),
        };
        let by = by.and_then(|by| u32::try_from(by).ok()).filter(|by| *by < bits)?;
        let (bits, wide, low) = match op {
            AluOp::Lsh => (self.bits.shift_left(by), self.shifted_left(by), self.shifted_left32(by)),
            AluOp::Rsh if width == Width::W64 => {
                let unsigned = Range::new(self.unsigned.min >> by, self.unsigned.max >> by);
                (self.bits.shift_right(by), Scalar { unsigned, ..Scalar::UNKNOWN }, Scalar::UNKNOWN)
            }
            AluOp::Rsh => {
                let unsigned32 = Range::new(self.unsigned32.min >> by, self.unsigned32.max >> by);
                (self.bits.low(32).shift_right(by), Scalar::UNKNOWN, Scalar { unsigned32, ..Scalar::UNKNOWN })
            }
            _ if width == Width::W64 => {
                let signed = Range::new(self.signed.min >> by, self.signed.max >> by);
                (self.bits.shift_right_signed(by), Scalar { signed, ..Scalar::UNKNOWN }, Scalar::UNKNOWN)
            }
            _ => {
                let signed32 = Range::new(self.signed32.min >> by, self.signed32.max >> by);
                let bits = self.bits.sign_extended(32).shift_right_signed(by).low(32);
                (bits, Scalar::UNKNOWN, Scalar { signed32, ..Scalar::UNKNOWN })
            }
        };
        Some(Scalar { bits, unsigned32: low.unsigned32, signed32: low.signed32, ..wide })
    }

    fn shifted_left(&self, by: u32) -> Scalar {
        let mut result = Scalar::UNKNOWN;
        let Range { min, max } = self.unsigned;
        if max <= u64::MAX >> by {
            result.unsigned = Range::new(min << by, max << by);
        }
        let Range { min, max } = self.signed;
        if min >= i64::MIN >> by && max <= i64::MAX >> by {
            result.signed = Range::new(min << by, max << by);
        }
        // The low half, moved to the upper one, is a signed number there.
        if by == 32 {
            result.signed = Range::new(i64::from(self.signed32.min) << 32, i64::from(self.signed32.max) << 32);
        }
        result
    }

    fn shifted_left32(&self, by: u32) -> Scalar {
        let mut result = Scalar::UNKNOWN;
        let Range { min, max } = self.unsigned32;
        if by < 32 && max <= u32::MAX >> by {
            result.unsigned32 = Range::new(min << by, max << by);
        }
        result
    }
}

/// Any number of so many bytes, as a load extends it.
#[must_use]
pub fn of_size(size: Size, signed: bool) -> Scalar {
    let bits = u32::from(size.bits());
    if signed {
        Scalar::UNKNOWN.sign_extended(Width::W64, size)
    } else {
        Scalar { bits: Tnum::UNKNOWN.low(bits), ..Scalar::UNKNOWN }.synced()
    }
}

impl Scalar {
    /// The low `size` bytes, in the other order where it `swaps`.
    #[must_use]
    pub fn swapped(&self, size: Size, swaps: bool) -> Scalar {
        let bits = u32::from(size.bits());
        let low = self.bits.low(bits);
        let turn = |number: u64| if swaps { number.swap_bytes() >> (64 - bits) } else { number };
        let bits = Tnum { value: turn(low.value), mask: turn(low.mask) };
        let mut result = Scalar { bits, ..Scalar::UNKNOWN };
        if size == Size::Double && !swaps {
            result = *self;
        }
        result.synced()
    }

    /// The low bytes, zero-extended; a number that fits stays what it is.
    #[must_use]
    pub fn truncated(&self, size: Size) -> Scalar {
        match size {
            Size::Double => *self,
            Size::Word => self.low32(),
            _ if self.unsigned.max <= super::mask(size.bytes().into()) => *self,
            _ => Scalar { bits: self.bits.low(size.bits().into()), ..Scalar::UNKNOWN }.synced(),
        }
    }
}
