//! What is known of a number: its bits, and ranges of it as an unsigned and as a signed number of 64 and 32 bits.
//!
//! Each of the five says something of the others; [`Scalar::synced`] carries it over. `arith` has the operations of the
//! instruction set, `compare` what a conditional jump teaches.

mod arith;
mod compare;
mod tnum;

use std::fmt;

pub use arith::of_size;
pub use compare::{outcome, refined};
pub use tnum::Tnum;
use tnum::low_bits;

/// A range of numbers, ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Range<T> {
    /// Least.
    pub min: T,
    /// Greatest.
    pub max: T,
}

impl<T: Copy> Range<T> {
    const fn new(min: T, max: T) -> Range<T> {
        Range { min, max }
    }
}

impl<T: Copy + Ord> Range<T> {
    fn narrow(&mut self, min: T, max: T) {
        self.min = self.min.max(min);
        self.max = self.max.min(max);
    }

    fn includes(self, other: Range<T>) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    fn is_empty(self) -> bool {
        self.min > self.max
    }

    fn is_apart(self, other: Range<T>) -> bool {
        self.max < other.min || other.max < self.min
    }
}

/// A set of 64-bit numbers: those that all five descriptions allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scalar {
    /// Bits.
    pub bits: Tnum,
    /// As an unsigned number.
    pub unsigned: Range<u64>,
    /// As a signed number.
    pub signed: Range<i64>,
    /// The low half as an unsigned number.
    pub unsigned32: Range<u32>,
    /// The low half as a signed number.
    pub signed32: Range<i32>,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "halves of numbers"
)]
impl Scalar {
    /// Any number.
    pub const UNKNOWN: Scalar = Scalar {
        bits: Tnum::UNKNOWN,
        unsigned: Range::new(0, u64::MAX),
        signed: Range::new(i64::MIN, i64::MAX),
        unsigned32: Range::new(0, u32::MAX),
        signed32: Range::new(i32::MIN, i32::MAX),
    };

    /// One number.
    #[must_use]
    pub const fn constant(value: u64) -> Scalar {
        let (signed, low) = (value as i64, value as u32);
        Scalar {
            bits: Tnum::constant(value),
            unsigned: Range::new(value, value),
            signed: Range::new(signed, signed),
            unsigned32: Range::new(low, low),
            signed32: Range::new(low as i32, low as i32),
        }
    }

    /// Any number of so many bits (1 to 64), zero-extended.
    #[must_use]
    pub fn of_bits(bits: u32) -> Scalar {
        Scalar { bits: Tnum::UNKNOWN.low(bits), ..Scalar::UNKNOWN }.synced()
    }

    /// Any number from `min` to `max`, unsigned.
    #[must_use]
    pub fn between(min: u64, max: u64) -> Scalar {
        Scalar { unsigned: Range::new(min, max), ..Scalar::UNKNOWN }.synced()
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_constant(&self) -> Option<u64> {
        self.bits.is_constant().then_some(self.bits.value)
    }

    /// Whether there is no such number: what is known contradicts itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unsigned.is_empty() || self.signed.is_empty() || self.unsigned32.is_empty() || self.signed32.is_empty()
    }

    /// Whether a number is one of its own.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.includes(&Scalar::constant(number))
    }

    /// Whether each number that `other` allows is one of its own, as far as each of the five descriptions can tell.
    #[must_use]
    pub fn includes(&self, other: &Scalar) -> bool {
        self.unsigned.includes(other.unsigned)
            && self.signed.includes(other.signed)
            && self.unsigned32.includes(other.unsigned32)
            && self.signed32.includes(other.signed32)
            && self.bits.includes(other.bits)
    }

    /// The numbers that both allow; [`Scalar::is_empty`] where there are none.
    #[must_use]
    pub fn intersect(&self, other: &Scalar) -> Scalar {
        let Some(bits) = self.bits.intersect(other.bits) else { return Scalar::EMPTY };
        let mut both = *self;
        both.bits = bits;
        both.unsigned.narrow(other.unsigned.min, other.unsigned.max);
        both.signed.narrow(other.signed.min, other.signed.max);
        both.unsigned32.narrow(other.unsigned32.min, other.unsigned32.max);
        both.signed32.narrow(other.signed32.min, other.signed32.max);
        both.synced()
    }

    /// No number.
    const EMPTY: Scalar = Scalar { unsigned: Range::new(1, 0), ..Scalar::UNKNOWN };

    /// The low half, zero-extended: what a 32-bit operation leaves.
    #[must_use]
    pub fn low32(&self) -> Scalar {
        Scalar {
            bits: self.bits.low(32),
            unsigned: Range::new(self.unsigned32.min.into(), self.unsigned32.max.into()),
            signed: Range::new(self.unsigned32.min.into(), self.unsigned32.max.into()),
            ..*self
        }
        .synced()
    }

    /// Carries over what each description says of the others, as far as that helps.
    #[must_use]
    pub fn synced(mut self) -> Scalar {
        // What the third round would find is rare; stopping early is sound.
        for _ in 0..3 {
            let before = self;
            self.ranges_from_bits();
            self.ranges_from_ranges();
            if !self.bits_from_ranges() || self.is_empty() {
                return Scalar::EMPTY;
            }
            if self == before {
                break;
            }
        }
        self
    }

    fn ranges_from_bits(&mut self) {
        let Tnum { value, mask } = self.bits;
        const SIGN: u64 = 1 << 63;
        const SIGN32: u32 = 1 << 31;
        self.unsigned.narrow(value, value | mask);
        self.signed.narrow((value | mask & SIGN) as i64, (value | mask & !SIGN) as i64);
        let (value, mask) = (value as u32, mask as u32);
        self.unsigned32.narrow(value, value | mask);
        self.signed32.narrow((value | mask & SIGN32) as i32, (value | mask & !SIGN32) as i32);
    }

    fn ranges_from_ranges(&mut self) {
        // The low half of a range that does not run through all low halves.
        let Range { min, max } = self.unsigned;
        if max.wrapping_sub(min) <= u64::from(u32::MAX) {
            if min as u32 <= max as u32 {
                self.unsigned32.narrow(min as u32, max as u32);
            }
            if min as i32 <= max as i32 {
                self.signed32.narrow(min as i32, max as i32);
            }
        }
        let Range { min, max } = self.signed;
        if (max as u64).wrapping_sub(min as u64) <= u64::from(u32::MAX) {
            if min as u32 <= max as u32 {
                self.unsigned32.narrow(min as u32, max as u32);
            }
            if min as i32 <= max as i32 {
                self.signed32.narrow(min as i32, max as i32);
            }
        }
        // A range that does not cross the sign is one of the other kind too.
        if self.unsigned32.min as i32 <= self.unsigned32.max as i32 {
            self.signed32.narrow(self.unsigned32.min as i32, self.unsigned32.max as i32);
        }
        if self.signed32.min as u32 <= self.signed32.max as u32 {
            self.unsigned32.narrow(self.signed32.min as u32, self.signed32.max as u32);
        }
        if self.unsigned.min as i64 <= self.unsigned.max as i64 {
            self.signed.narrow(self.unsigned.min as i64, self.unsigned.max as i64);
        }
        if self.signed.min as u64 <= self.signed.max as u64 {
            self.unsigned.narrow(self.signed.min as u64, self.signed.max as u64);
        }
        // The upper half of an end stays as it is; its low half can be no less, and no more, than that of any number.
        const HIGH: u64 = !low_bits(32);
        let (low_min, low_max) = (u64::from(self.unsigned32.min), u64::from(self.unsigned32.max));
        self.unsigned.narrow(self.unsigned.min & HIGH | low_min, self.unsigned.max & HIGH | low_max);
        let (min, max) = (self.signed.min as u64, self.signed.max as u64);
        self.signed.narrow((min & HIGH | low_min) as i64, (max & HIGH | low_max) as i64);
        // A number that fits 32 signed bits is its own low half.
        if self.signed.min >= i64::from(i32::MIN) && self.signed.max <= i64::from(i32::MAX) {
            self.signed.narrow(self.signed32.min.into(), self.signed32.max.into());
        }
    }

    /// False where bits and ranges have nothing in common.
    fn bits_from_ranges(&mut self) -> bool {
        if self.is_empty() {
            return false;
        }
        let wide = Tnum::range(self.unsigned.min, self.unsigned.max);
        let low = Tnum::range(self.unsigned32.min.into(), self.unsigned32.max.into());
        let low = Tnum { value: low.value, mask: low.mask | !low_bits(32) };
        match self.bits.intersect(wide).and_then(|bits| bits.intersect(low)) {
            Some(bits) => {
                self.bits = bits;
                true
            }
            None => false,
        }
    }
}

/// What a person is told: a number, or a range in the form that is the shorter one.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = self.as_constant() {
            return if value < 1 << 32 { write!(f, "{value}") } else { write!(f, "{}", value.cast_signed()) };
        }
        let Range { min, max } = self.unsigned;
        let signed = self.signed;
        if (min, max) != (0, u64::MAX) {
            write!(f, "{min}…{max}")
        } else if (signed.min, signed.max) != (i64::MIN, i64::MAX) {
            write!(f, "{}…{}", signed.min, signed.max)
        } else {
            f.write_str("any number")
        }
    }
}

/// As the kernel's log has it.
impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = self.as_constant() {
            return write!(f, "{}", value.cast_signed());
        }
        let mut parts = Vec::new();
        let unknown = Scalar::UNKNOWN;
        let mut part = |name: &str, value: String, is_known: bool| {
            if is_known {
                parts.push(format!("{name}={value}"));
            }
        };
        part("smin", self.signed.min.to_string(), self.signed.min != unknown.signed.min);
        part("smax", self.signed.max.to_string(), self.signed.max != unknown.signed.max);
        part("umin", self.unsigned.min.to_string(), self.unsigned.min != unknown.unsigned.min);
        part("umax", self.unsigned.max.to_string(), self.unsigned.max != unknown.unsigned.max);
        part("smin32", self.signed32.min.to_string(), self.signed32.min != unknown.signed32.min);
        part("smax32", self.signed32.max.to_string(), self.signed32.max != unknown.signed32.max);
        part("umin32", self.unsigned32.min.to_string(), self.unsigned32.min != unknown.unsigned32.min);
        part("umax32", self.unsigned32.max.to_string(), self.unsigned32.max != unknown.unsigned32.max);
        part("var_off", self.bits.to_string(), self.bits != Tnum::UNKNOWN);
        f.write_str(&parts.join(","))
    }
}

/// The largest number of so many bytes.
#[must_use]
pub const fn mask(bytes: u32) -> u64 {
    low_bits(8 * bytes)
}
