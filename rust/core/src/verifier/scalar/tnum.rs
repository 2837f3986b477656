//! Tristate numbers: which bits of a value are known.
//!
//! Addition, subtraction and multiplication are those of Vishwanathan, Shachnai, Narayana, Nagarakatte: "Sound, Precise,
//! and Fast Abstract Interpretation with Tristate Numbers" (CGO 2022).

use std::fmt;

/// A set of 64-bit values: those that have `value` in all bits but the ones of `mask`, which may be anything.
///
/// No bit is set in both.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tnum {
    /// The known bits.
    pub value: u64,
    /// The unknown bits.
    pub mask: u64,
}

impl Tnum {
    /// Any value.
    pub const UNKNOWN: Tnum = Tnum { value: 0, mask: u64::MAX };

    /// One value.
    #[must_use]
    pub const fn constant(value: u64) -> Tnum {
        Tnum { value, mask: 0 }
    }

    /// The smallest one that has all values of `min..=max` (`min` is at most `max`).
    #[must_use]
    pub const fn range(min: u64, max: u64) -> Tnum {
        let differing = 64 - (min ^ max).leading_zeros();
        let mask = low_bits(differing);
        Tnum { value: min & !mask, mask }
    }

    /// Whether it is one value.
    #[must_use]
    pub const fn is_constant(self) -> bool {
        self.mask == 0
    }

    /// Whether `number` is one of its values.
    #[must_use]
    pub const fn contains(self, number: u64) -> bool {
        number & !self.mask == self.value
    }

    /// Whether all values of `other` are its own.
    #[must_use]
    pub const fn includes(self, other: Tnum) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    /// The values that both have; none where they have none in common.
    #[must_use]
    pub const fn intersect(self, other: Tnum) -> Option<Tnum> {
        if (self.value ^ other.value) & !self.mask & !other.mask != 0 {
            return None;
        }
        let mask = self.mask & other.mask;
        Some(Tnum { value: (self.value | other.value) & !mask, mask })
    }

    /// Sums, modulo 2^64.
    #[must_use]
    pub const fn add(self, other: Tnum) -> Tnum {
        let masks = self.mask.wrapping_add(other.mask);
        let values = self.value.wrapping_add(other.value);
        let carried = masks.wrapping_add(values) ^ values;
        let mask = carried | self.mask | other.mask;
        Tnum { value: values & !mask, mask }
    }

    /// Differences, modulo 2^64.
    #[must_use]
    pub const fn sub(self, other: Tnum) -> Tnum {
        let values = self.value.wrapping_sub(other.value);
        let most = values.wrapping_add(self.mask);
        let least = values.wrapping_sub(other.mask);
        let mask = (most ^ least) | self.mask | other.mask;
        Tnum { value: values & !mask, mask }
    }

    /// Products, modulo 2^64.
    #[must_use]
    pub const fn mul(self, other: Tnum) -> Tnum {
        let value = self.value.wrapping_mul(other.value);
        let (mut left, mut right) = (self, other);
        let mut unknown = Tnum::constant(0);
        while left.value | left.mask != 0 {
            if left.value & 1 != 0 {
                unknown = unknown.add(Tnum { value: 0, mask: right.mask });
            } else if left.mask & 1 != 0 {
                unknown = unknown.add(Tnum { value: 0, mask: right.value | right.mask });
            }
            left = left.shift_right(1);
            right = right.shift_left(1);
        }
        Tnum::constant(value).add(unknown)
    }

    /// Bitwise and.
    #[must_use]
    pub const fn and(self, other: Tnum) -> Tnum {
        let value = self.value & other.value;
        let possible = (self.value | self.mask) & (other.value | other.mask);
        Tnum { value, mask: possible & !value }
    }

    /// Bitwise or.
    #[must_use]
    pub const fn or(self, other: Tnum) -> Tnum {
        let value = self.value | other.value;
        Tnum { value, mask: (self.mask | other.mask) & !value }
    }

    /// Bitwise exclusive or.
    #[must_use]
    pub const fn xor(self, other: Tnum) -> Tnum {
        let mask = self.mask | other.mask;
        Tnum { value: (self.value ^ other.value) & !mask, mask }
    }

    /// Shifted left by less than 64.
    #[must_use]
    pub const fn shift_left(self, by: u32) -> Tnum {
        Tnum { value: self.value << by, mask: self.mask << by }
    }

    /// Shifted right by less than 64, zeroes coming in.
    #[must_use]
    pub const fn shift_right(self, by: u32) -> Tnum {
        Tnum { value: self.value >> by, mask: self.mask >> by }
    }

    /// Shifted right by less than 64, copies of the sign coming in.
    #[must_use]
    pub const fn shift_right_signed(self, by: u32) -> Tnum {
        // An unknown sign makes all that comes in unknown: the mask is shifted as the value is.
        Tnum {
            value: (self.value.cast_signed() >> by).cast_unsigned(),
            mask: (self.mask.cast_signed() >> by).cast_unsigned(),
        }
    }

    /// The low `bits` bits, the others zero.
    #[must_use]
    pub const fn low(self, bits: u32) -> Tnum {
        Tnum { value: self.value & low_bits(bits), mask: self.mask & low_bits(bits) }
    }

    /// The low `bits` bits (1 to 64), sign-extended.
    #[must_use]
    pub const fn sign_extended(self, bits: u32) -> Tnum {
        self.shift_left(64 - bits).shift_right_signed(64 - bits)
    }
}

/// A number whose low `bits` bits (0 to 64) are set.
pub(super) const fn low_bits(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// `(value; mask)`, as the kernel's log has it.
impl fmt::Display for Tnum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:#x}; {:#x})", self.value, self.mask)
    }
}

impl fmt::Debug for Tnum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
