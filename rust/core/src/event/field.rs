//! Fields of a tracepoint: types, how they are shown, what they mean.

use std::fmt;
use std::str::FromStr;

use super::error::EventError;

/// A type of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are Rust's
pub enum Scalar {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    Bool,
}

/// Smallest and largest value by type, in the order of [`Scalar`].
const LIMITS: [(i64, u64); 9] = [
    (0, u8::MAX as u64),
    (0, u16::MAX as u64),
    (0, u32::MAX as u64),
    (0, u64::MAX),
    (i8::MIN as i64, i8::MAX as u64),
    (i16::MIN as i64, i16::MAX as u64),
    (i32::MIN as i64, i32::MAX as u64),
    (i64::MIN, i64::MAX as u64),
    (0, 1),
];

/// Bytes by type, in the order of [`Scalar`].
const SIZES: [u8; 9] = [1, 2, 4, 8, 1, 2, 4, 8, 1];

impl Scalar {
    /// All of them.
    pub const ALL: [Scalar; 9] = [
        Scalar::U8,
        Scalar::U16,
        Scalar::U32,
        Scalar::U64,
        Scalar::I8,
        Scalar::I16,
        Scalar::I32,
        Scalar::I64,
        Scalar::Bool,
    ];

    /// Bytes, which are the alignment too.
    #[inline]
    #[must_use]
    pub const fn size(self) -> usize {
        // From a table: on the path of every event a jump by type would be guessed wrong now and then.
        SIZES[self as usize] as usize
    }

    /// Whether there are negative values.
    #[inline]
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64)
    }

    /// Smallest value.
    #[inline]
    #[must_use]
    pub const fn min(self) -> i128 {
        LIMITS[self as usize].0 as i128
    }

    /// Largest value.
    #[inline]
    #[must_use]
    pub const fn max(self) -> i128 {
        LIMITS[self as usize].1 as i128
    }

    /// Whether a number is in range.
    #[inline]
    pub(super) const fn holds(self, value: i64) -> bool {
        let (min, max) = LIMITS[self as usize];
        // Below zero only the lower limit matters, from zero on only the upper one.
        if value < 0 { value >= min } else { value as u64 <= max }
    }

    /// Rust's name, which is AxVisor's.
    #[must_use]
    pub const fn rust_name(self) -> &'static str {
        match self {
            Scalar::U8 => "u8",
            Scalar::U16 => "u16",
            Scalar::U32 => "u32",
            Scalar::U64 => "u64",
            Scalar::I8 => "i8",
            Scalar::I16 => "i16",
            Scalar::I32 => "i32",
            Scalar::I64 => "i64",
            Scalar::Bool => "bool",
        }
    }

    /// The kernel's name in C.
    #[must_use]
    pub const fn c_name(self) -> &'static str {
        match self {
            Scalar::I8 => "s8",
            Scalar::I16 => "s16",
            Scalar::I32 => "s32",
            Scalar::I64 => "s64",
            other => other.rust_name(),
        }
    }

    /// Reads a value from the first bytes, which must be there, extended to 64 bits by its sign.
    #[inline]
    pub(super) fn load(self, bytes: &[u8]) -> u64 {
        match self {
            Scalar::U8 | Scalar::Bool => u64::from(bytes[0]),
            Scalar::U16 => u64::from(u16::from_le_bytes(first(bytes))),
            Scalar::U32 => u64::from(u32::from_le_bytes(first(bytes))),
            Scalar::U64 | Scalar::I64 => u64::from_le_bytes(first(bytes)),
            Scalar::I8 => i64::from(bytes[0] as i8) as u64,
            Scalar::I16 => i64::from(i16::from_le_bytes(first(bytes))) as u64,
            Scalar::I32 => i64::from(i32::from_le_bytes(first(bytes))) as u64,
        }
    }

    /// Reads a value from the first bytes, which must be there.
    pub(super) fn value(self, bytes: &[u8]) -> i128 {
        let raw = self.load(bytes);
        if self.is_signed() { i128::from(raw as i64) } else { i128::from(raw) }
    }

    /// Writes the low bytes of a number over the first bytes, which must be there.
    #[inline]
    pub(super) fn store(self, value: i128, bytes: &mut [u8]) {
        let raw = (value as u64).to_le_bytes();
        match self.size() {
            1 => bytes[0] = raw[0],
            2 => bytes[..2].copy_from_slice(&raw[..2]),
            4 => bytes[..4].copy_from_slice(&raw[..4]),
            _ => bytes[..8].copy_from_slice(&raw),
        }
    }
}

/// Where a number stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) offset: usize,
    pub(super) scalar: Scalar,
}

impl Place {
    /// Reads it, extended to 64 bits by its sign.
    ///
    /// No field lies in the 8 bytes of the header, so the 8 bytes that end with it are there; read and shifted, they
    /// need no branch on the size.
    #[inline]
    pub(super) fn load(self, record: &[u8]) -> u64 {
        let end = self.offset + self.scalar.size();
        let raw = u64::from_le_bytes(first(&record[end - 8..end]));
        let shift = 64 - 8 * self.scalar.size() as u32;
        if self.scalar.is_signed() { ((raw as i64) >> shift) as u64 } else { raw >> shift }
    }

    /// Writes it, if it is in range and the record reaches so far; otherwise false.
    #[inline]
    #[must_use]
    pub fn store(self, value: i64, record: &mut [u8]) -> bool {
        let fits = self.scalar.holds(value);
        let place = record.get_mut(self.offset..self.offset + self.scalar.size()).filter(|_| fits);
        let raw = value.to_le_bytes();
        match place {
            Some(place) if place.len() == 4 => place.copy_from_slice(&raw[..4]),
            Some(place) if place.len() == 8 => place.copy_from_slice(&raw),
            Some([a]) => *a = raw[0],
            Some(place) => place.copy_from_slice(&raw[..2]),
            None => return false,
        }
        true
    }
}

#[inline]
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

/// A type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// One number.
    Scalar(Scalar),
    /// Text of at most so many bytes, NUL-padded: `char name[n]`.
    Text(u32),
    /// So many numbers.
    Array(Scalar, u32),
}

impl FieldType {
    /// Bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            FieldType::Scalar(scalar) => scalar.size() as u64,
            FieldType::Text(len) => len as u64,
            FieldType::Array(scalar, len) => scalar.size() as u64 * len as u64,
        }
    }

    /// Alignment in a C structure.
    #[must_use]
    pub const fn align(self) -> u64 {
        match self {
            FieldType::Scalar(scalar) | FieldType::Array(scalar, _) => scalar.size() as u64,
            FieldType::Text(_) => 1,
        }
    }

    /// The number type, if it is one number.
    #[must_use]
    pub const fn scalar(self) -> Option<Scalar> {
        match self {
            FieldType::Scalar(scalar) => Some(scalar),
            FieldType::Text(_) | FieldType::Array(..) => None,
        }
    }
}

/// Rust's notation: `u32`, `[u64; 4]`; a text is `[char; 16]`.
impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::Scalar(scalar) => f.write_str(scalar.rust_name()),
            FieldType::Text(len) => write!(f, "[char; {len}]"),
            FieldType::Array(scalar, len) => write!(f, "[{}; {len}]", scalar.rust_name()),
        }
    }
}

/// Reads what [`fmt::Display`] writes.
impl FromStr for FieldType {
    type Err = EventError;

    fn from_str(text: &str) -> Result<FieldType, EventError> {
        let scalar = |name: &str| Scalar::ALL.into_iter().find(|scalar| scalar.rust_name() == name);
        let array = || {
            let (element, len) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(';')?;
            let len = len.trim().parse().ok()?;
            match element.trim() {
                "char" => Some(FieldType::Text(len)),
                name => Some(FieldType::Array(scalar(name)?, len)),
            }
        };
        scalar(text)
            .map(FieldType::Scalar)
            .or_else(array)
            .ok_or_else(|| EventError::UnknownType { text: text.to_owned() })
    }
}

/// In which form a value is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Numbers in decimal, text as it is; an array as `{1,2,3}`.
    #[default]
    Decimal,
    /// Numbers as `0x1f`, negative ones in two's complement of their width.
    Hex,
    /// An unsigned number divided by `divisor`, without the remainder, and a unit behind it.
    Scaled {
        /// Not zero.
        divisor: u64,
        /// Unit, such as `MB`.
        suffix: String,
    },
}

/// How a field is shown in the trace: `label=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Display {
    /// What stands before the value, if not the field's name.
    pub label: Option<String>,
    /// Form of the value.
    pub form: Form,
}

/// What a field means to the bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    #[default]
    None,
    /// How long the thing took, in nanoseconds: feeds statistics and histogram.
    Duration,
}

/// A field as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Name: a C identifier.
    pub name: String,
    /// Type.
    pub ty: FieldType,
    /// How it is shown.
    pub display: Display,
    /// What it means.
    pub role: Role,
}

impl FieldSpec {
    /// A field shown as `name=value` in decimal.
    #[must_use]
    pub fn new(name: impl Into<String>, ty: FieldType) -> FieldSpec {
        FieldSpec { name: name.into(), ty, display: Display::default(), role: Role::None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn limits_are_those_of_the_rust_types() {
        let limits = |scalar: Scalar| (scalar.min(), scalar.max());
        assert_eq!(limits(Scalar::U8), (i128::from(u8::MIN), i128::from(u8::MAX)));
        assert_eq!(limits(Scalar::U16), (i128::from(u16::MIN), i128::from(u16::MAX)));
        assert_eq!(limits(Scalar::U32), (i128::from(u32::MIN), i128::from(u32::MAX)));
        assert_eq!(limits(Scalar::U64), (i128::from(u64::MIN), i128::from(u64::MAX)));
        assert_eq!(limits(Scalar::I8), (i128::from(i8::MIN), i128::from(i8::MAX)));
        assert_eq!(limits(Scalar::I16), (i128::from(i16::MIN), i128::from(i16::MAX)));
        assert_eq!(limits(Scalar::I32), (i128::from(i32::MIN), i128::from(i32::MAX)));
        assert_eq!(limits(Scalar::I64), (i128::from(i64::MIN), i128::from(i64::MAX)));
        assert_eq!(limits(Scalar::Bool), (0, 1));
    }

    #[test]
    fn limits_survive_store_and_load() {
        for scalar in Scalar::ALL {
            for value in [scalar.min(), scalar.max(), 0, 1] {
                let mut bytes = [0xaa; 9];
                scalar.store(value, &mut bytes);
                assert_eq!(scalar.value(&bytes), value, "{scalar:?}");
                assert_eq!(bytes[scalar.size()], 0xaa, "{scalar:?} writes its own bytes only");
            }
        }
    }

    #[test]
    fn types_are_read_as_they_are_written() {
        for text in ["u8", "i64", "bool", "[char; 16]", "[u32; 4]"] {
            assert_eq!(text.parse::<FieldType>().unwrap().to_string(), text);
        }
        assert_eq!("[u8;3]".parse(), Ok(FieldType::Array(Scalar::U8, 3)));
        for text in ["", "int", "u128", "char", "[u8]", "[u8; x]", "[u8; 4294967296]", "[[u8; 1]; 2]", "[u8; 4"] {
            assert_eq!(text.parse::<FieldType>(), Err(EventError::UnknownType { text: text.to_owned() }));
        }
    }
}
