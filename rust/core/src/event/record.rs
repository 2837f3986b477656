//! One event: values into a record, and back.

use super::error::EventError;
use super::field::{FieldType, Place, Scalar};
use super::tracepoint::{Field, HEADER_SIZE, TracepointSpec};

/// A value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, or a bool as 0 or 1.
    Int(i128),
    /// A text, or an array of `u8`.
    Bytes(&'a [u8]),
    /// An array of numbers.
    Ints(&'a [i128]),
}

impl Value<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Value::Int(_) => "a number",
            Value::Bytes(_) => "bytes",
            Value::Ints(_) => "numbers",
        }
    }
}

impl TracepointSpec {
    /// Zeroes a record and writes its header; the fields are stored next.
    ///
    /// # Errors
    /// [`EventError::RecordSize`] for a buffer of another size than a record's.
    #[inline]
    pub fn begin(&self, pid: i32, record: &mut [u8]) -> Result<(), EventError> {
        record.fill(0);
        self.begin_zeroed(pid, record)
    }

    /// As [`TracepointSpec::begin`], for a record that is all zeroes already.
    ///
    /// # Errors
    /// [`EventError::RecordSize`] for a buffer of another size than a record's.
    #[inline]
    pub fn begin_zeroed(&self, pid: i32, record: &mut [u8]) -> Result<(), EventError> {
        self.check_size(record.len())?;
        record[0..2].copy_from_slice(&self.id().to_le_bytes());
        record[4..HEADER_SIZE].copy_from_slice(&pid.to_le_bytes());
        Ok(())
    }

    /// Stores a number into a field of a record that was begun.
    ///
    /// # Errors
    /// [`EventError::OutOfRange`]; [`EventError::ValueType`] for an array; [`EventError::FieldCount`] for an index beyond
    /// the fields; [`EventError::RecordSize`].
    #[inline]
    pub fn store_int(&self, index: usize, value: i128, record: &mut [u8]) -> Result<(), EventError> {
        self.check_size(record.len())?;
        let field = self.field_at(index)?;
        let FieldType::Scalar(scalar) = field.ty else { return Err(self.wrong_type(field, Value::Int(value).kind())) };
        if value < scalar.min() || value > scalar.max() {
            return Err(self.out_of_range(field, scalar, value, None));
        }
        scalar.store(value, &mut record[field.offset..]);
        Ok(())
    }

    /// Where a field stands that is one number: [`Place::store`] is [`TracepointSpec::store_int`] for the common case.
    #[inline]
    #[must_use]
    pub fn place(&self, index: usize) -> Option<Place> {
        let field = self.fields().get(index)?;
        let FieldType::Scalar(scalar) = field.ty else { return None };
        Some(Place { offset: field.offset, scalar })
    }

    /// Stores a value into a field of a record that was begun. A text may be shorter than its field; one that fills it
    /// has no NUL at its end.
    ///
    /// # Errors
    /// As [`TracepointSpec::store_int`]; [`EventError::ValueLength`] for an array of another length, or too long a text.
    pub fn store(&self, index: usize, value: Value<'_>, record: &mut [u8]) -> Result<(), EventError> {
        self.check_size(record.len())?;
        let field = self.field_at(index)?;
        let check_length = |found: usize, fits: bool| {
            let tracepoint = || self.name().to_owned();
            let error =
                || EventError::ValueLength { tracepoint: tracepoint(), field: field.name.clone(), ty: field.ty, found };
            if fits { Ok(()) } else { Err(error()) }
        };
        match (field.ty, value) {
            (_, Value::Int(value)) => self.store_int(index, value, record),
            (FieldType::Text(len), Value::Bytes(text)) => {
                check_length(text.len(), text.len() <= len as usize)?;
                let place = &mut record[field.offset..][..len as usize];
                place[..text.len()].copy_from_slice(text);
                place[text.len()..].fill(0);
                Ok(())
            }
            (FieldType::Array(Scalar::U8, len), Value::Bytes(bytes)) => {
                check_length(bytes.len(), bytes.len() == len as usize)?;
                record[field.offset..][..bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
            (FieldType::Array(scalar, len), Value::Ints(values)) => {
                check_length(values.len(), values.len() == len as usize)?;
                if let Some(value) = values.iter().find(|&&value| value < scalar.min() || value > scalar.max()) {
                    return Err(self.out_of_range(field, scalar, *value, None));
                }
                for (place, &value) in record[field.offset..].chunks_exact_mut(scalar.size()).zip(values) {
                    scalar.store(value, place);
                }
                Ok(())
            }
            (_, value) => Err(self.wrong_type(field, value.kind())),
        }
    }

    /// Encodes an event: one value a field, in order.
    ///
    /// # Errors
    /// As [`TracepointSpec::store`].
    pub fn encode(&self, pid: i32, values: &[Value<'_>], record: &mut [u8]) -> Result<(), EventError> {
        self.check_count(values.len())?;
        self.begin(pid, record)?;
        values.iter().enumerate().try_for_each(|(i, &value)| self.store(i, value, record))
    }

    /// A record to read. Bytes beyond the record's size, such as a recording's padding, are left out.
    ///
    /// # Errors
    /// [`EventError::RecordSize`] where there are too few.
    #[inline]
    pub fn record<'a>(&'a self, bytes: &'a [u8]) -> Result<Record<'a>, EventError> {
        match bytes.get(..self.record_size()) {
            Some(bytes) => Ok(Record { spec: self, bytes }),
            None => Err(self.wrong_size(bytes.len())),
        }
    }

    #[inline]
    fn check_size(&self, len: usize) -> Result<(), EventError> {
        if len == self.record_size() { Ok(()) } else { Err(self.wrong_size(len)) }
    }

    #[inline]
    fn field_at(&self, index: usize) -> Result<&Field, EventError> {
        self.fields().get(index).ok_or_else(|| self.wrong_count(index.saturating_add(1)))
    }

    pub(super) fn check_count(&self, found: usize) -> Result<(), EventError> {
        if found == self.fields().len() { Ok(()) } else { Err(self.wrong_count(found)) }
    }

    #[cold]
    fn wrong_count(&self, found: usize) -> EventError {
        EventError::FieldCount { tracepoint: self.name().to_owned(), expected: self.fields().len(), found }
    }

    #[cold]
    fn wrong_size(&self, found: usize) -> EventError {
        EventError::RecordSize { tracepoint: self.name().to_owned(), expected: self.record_size(), found }
    }

    #[cold]
    pub(super) fn wrong_type(&self, field: &Field, found: &'static str) -> EventError {
        EventError::ValueType {
            tracepoint: self.name().to_owned(),
            field: field.name.clone(),
            ty: field.ty,
            expected: match field.ty {
                FieldType::Scalar(_) => "a number",
                FieldType::Text(_) => "bytes",
                FieldType::Array(Scalar::U8, _) => "numbers or bytes",
                FieldType::Array(..) => "numbers",
            },
            found,
        }
    }

    #[cold]
    pub(super) fn out_of_range(&self, field: &Field, scalar: Scalar, value: i128, row: Option<usize>) -> EventError {
        EventError::OutOfRange {
            tracepoint: self.name().to_owned(),
            field: field.name.clone(),
            ty: field.ty,
            value,
            min: scalar.min(),
            max: scalar.max(),
            row,
        }
    }
}

/// The bytes of an event, long enough for its tracepoint.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub(super) spec: &'a TracepointSpec,
    pub(super) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Its tracepoint.
    #[must_use]
    pub const fn spec(&self) -> &'a TracepointSpec {
        self.spec
    }

    /// Header and fields.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The task that it happened in.
    #[must_use]
    pub fn pid(&self) -> i32 {
        Scalar::I32.load(&self.bytes[4..]) as i32
    }

    /// `common_flags` and `common_preempt_count`: what the CPU was doing. Zero in records that the bench has made.
    #[must_use]
    pub fn flags(&self) -> (u8, u8) {
        (self.bytes[2], self.bytes[3])
    }

    /// The number of a field, if it is one number.
    #[must_use]
    pub fn int(&self, field: &Field) -> Option<i128> {
        Some(field.ty.scalar()?.value(self.bytes.get(field.offset..)?))
    }

    /// The elements of an array of numbers; empty for other fields.
    pub fn ints(&self, field: &Field) -> impl Iterator<Item = i128> + use<'a> {
        let (scalar, len) = match field.ty {
            FieldType::Array(scalar, len) => (scalar, len as usize),
            FieldType::Scalar(_) | FieldType::Text(_) => (Scalar::U8, 0),
        };
        let bytes = self.bytes.get(field.offset..).unwrap_or_default();
        bytes.chunks_exact(scalar.size()).take(len).map(move |bytes| scalar.value(bytes))
    }

    /// The bytes of a text up to its NUL; empty for other fields.
    #[must_use]
    pub fn text(&self, field: &Field) -> &'a [u8] {
        let len = if let FieldType::Text(len) = field.ty { len as usize } else { 0 };
        let bytes = self.bytes.get(field.offset..field.offset + len).unwrap_or_default();
        bytes.split(|&b| b == 0).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::field::FieldSpec;
    use super::*;

    fn spec() -> TracepointSpec {
        let fields = [
            ("vm_id", "u32"),
            ("delta", "i16"),
            ("on", "bool"),
            ("who", "[char; 5]"),
            ("v", "[u16; 2]"),
            ("raw", "[u8; 2]"),
        ];
        let fields = fields.iter().map(|(name, ty)| FieldSpec::new(*name, ty.parse().unwrap())).collect();
        TracepointSpec::new("vmm:probe", 0x1234, fields).unwrap()
    }

    const VALUES: [Value<'_>; 6] = [
        Value::Int(0xaabb_ccdd),
        Value::Int(-2),
        Value::Int(1),
        Value::Bytes(b"abc"),
        Value::Ints(&[1, 0xfffe]),
        Value::Bytes(&[7, 8]),
    ];

    #[test]
    fn a_record_is_a_packed_c_structure_with_zero_padding() {
        let spec = spec();
        let mut record = vec![0xee; spec.record_size()];
        spec.encode(-2, &VALUES, &mut record).unwrap();
        let expected = b"\x34\x12\0\0\xfe\xff\xff\xff\xdd\xcc\xbb\xaa\xfe\xff\x01abc\0\0\x01\0\xfe\xff\x07\x08\0\0";
        assert_eq!(record, expected);
    }

    #[test]
    fn a_record_gives_back_its_values() {
        let spec = spec();
        let mut bytes = vec![0; spec.record_size()];
        spec.encode(17, &VALUES, &mut bytes).unwrap();
        bytes.push(0);
        let record = spec.record(&bytes).unwrap();
        assert_eq!((record.pid(), record.flags(), record.bytes().len()), (17, (0, 0), spec.record_size()));
        let fields = spec.fields();
        assert_eq!(
            fields[..3].iter().map(|f| record.int(f)).collect::<Vec<_>>(),
            [Some(0xaabb_ccdd), Some(-2), Some(1)]
        );
        assert_eq!((record.text(&fields[3]), record.int(&fields[3])), (&b"abc"[..], None));
        assert_eq!(record.ints(&fields[4]).collect::<Vec<_>>(), [1, 0xfffe]);
        assert_eq!((record.ints(&fields[0]).count(), record.text(&fields[0])), (0, &b""[..]));
        let short = &bytes[..spec.record_size() - 1];
        assert!(matches!(spec.record(short), Err(EventError::RecordSize { expected: 28, found: 27, .. })));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let spec = spec();
        let mut record = vec![0; spec.record_size()];
        spec.begin(0, &mut record).unwrap();
        let clean = record.clone();
        for (index, value) in [(0, 1 << 32), (0, -1), (1, 32768), (1, -32769), (2, 2), (0, i128::MAX), (0, i128::MIN)] {
            let error = spec.store_int(index, value, &mut record).unwrap_err();
            assert!(matches!(error, EventError::OutOfRange { value: v, row: None, .. } if v == value));
        }
        let error = spec.store_int(0, 1 << 32, &mut record).unwrap_err();
        assert_eq!(error.to_string(), "vmm:probe: vm_id is u32 and takes 0 to 4294967295, not 4294967296");
        let error = spec.store(4, Value::Ints(&[0, 65536]), &mut record).unwrap_err();
        assert!(matches!(error, EventError::OutOfRange { value: 65536, max: 65535, .. }));
        assert_eq!(record, clean, "a refused value changes nothing");
    }

    #[test]
    fn values_of_the_wrong_kind_or_length_are_refused() {
        let spec = spec();
        let mut record = vec![0; spec.record_size()];
        for (index, value) in [
            (0, Value::Bytes(b"")),
            (1, Value::Ints(&[1])),
            (3, Value::Int(1)),
            (3, Value::Ints(&[1])),
            (4, Value::Bytes(b"abcd")),
            (4, Value::Int(0)),
        ] {
            assert!(matches!(spec.store(index, value, &mut record), Err(EventError::ValueType { .. })), "{value:?}");
        }
        for (index, value, len) in [
            (3, Value::Bytes(b"abcdef"), 6),
            (4, Value::Ints(&[1]), 1),
            (5, Value::Bytes(b"abc"), 3),
            (5, Value::Ints(&[]), 0),
        ] {
            let error = spec.store(index, value, &mut record).unwrap_err();
            assert!(matches!(error, EventError::ValueLength { found, .. } if found == len), "{value:?}");
        }
        assert_eq!(spec.store(3, Value::Bytes(b"abcde"), &mut record), Ok(()));
        assert_eq!(spec.store(5, Value::Ints(&[1, 2]), &mut record), Ok(()));
    }

    #[test]
    fn a_value_for_each_field_and_a_buffer_of_the_size() {
        let spec = spec();
        let mut record = vec![0; spec.record_size()];
        let error = spec.encode(0, &VALUES[..5], &mut record).unwrap_err();
        assert!(matches!(error, EventError::FieldCount { expected: 6, found: 5, .. }));
        assert!(matches!(spec.store_int(6, 0, &mut record), Err(EventError::FieldCount { found: 7, .. })));
        record.push(0);
        assert!(matches!(spec.begin(0, &mut record), Err(EventError::RecordSize { found: 29, .. })));
        assert!(matches!(spec.store_int(0, 0, &mut record), Err(EventError::RecordSize { .. })));
        assert!(matches!(spec.store(0, Value::Int(0), &mut []), Err(EventError::RecordSize { .. })));
    }
}
