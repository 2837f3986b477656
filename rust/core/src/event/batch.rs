//! Many events at once: columns into records, chunk by chunk.
//!
//! A column is checked once, by its extremes and only where its type is wider than the field. Then each chunk is filled
//! field by field, in a loop that knows both types.

use super::error::EventError;
use super::field::{FieldType, Scalar};
use super::record::Value;
use super::tracepoint::{Field, TracepointSpec};

/// Bytes of a chunk of records, about: what stays in the first-level cache between filling and use.
const CHUNK_BYTES: usize = 4 * 1024;

/// Records of the largest chunk.
const CHUNK_ROWS: usize = 4096;

/// The values of one field for many events.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the first eight are slices of the type in their name
pub enum Column<'a> {
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    /// Truth values as bytes: any but 0 is true.
    Bool(&'a [u8]),
    /// Rows of `width` bytes, for a field that is an array: texts, shorter than the field if need be, or the elements of
    /// an array in little-endian order.
    Rows {
        /// All rows, one after the other.
        bytes: &'a [u8],
        /// Bytes of a row, not zero.
        width: usize,
    },
    /// The same value in every row.
    Same(Value<'a>),
}

/// Evaluates the body with `$s` bound to the slice of a column of numbers; the other kinds have arms of their own.
macro_rules! with_numbers {
    ($column:expr, $s:ident => $body:expr, $($rest:tt)*) => {
        match $column {
            Column::U8($s) => $body,
            Column::U16($s) => $body,
            Column::U32($s) => $body,
            Column::U64($s) => $body,
            Column::I8($s) => $body,
            Column::I16($s) => $body,
            Column::I32($s) => $body,
            Column::I64($s) => $body,
            $($rest)*
        }
    };
}

impl Column<'_> {
    /// Rows; None where the column goes with any number of them.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        with_numbers!(self, numbers => Some(numbers.len()),
            Column::Bool(bytes) => Some(bytes.len()),
            Column::Rows { bytes, width } => Some(bytes.len().checked_div(*width).unwrap_or(0)),
            Column::Same(_) => None,
        )
    }
}

/// Columns that fit their fields, being turned into records.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    spec: &'a TracepointSpec,
    columns: Vec<Column<'a>>,
    rows: usize,
    chunk_rows: usize,
    records: Vec<u8>,
}

impl TracepointSpec {
    /// Checks columns, one a field, in order. Where none has rows of its own, there is one event.
    ///
    /// # Errors
    /// [`EventError::ColumnLength`] for columns of unequal length, and those of [`TracepointSpec::store`].
    pub fn batch<'a>(&'a self, pid: i32, columns: &[Column<'a>]) -> Result<Batch<'a>, EventError> {
        self.check_count(columns.len())?;
        let mut lengths = self.fields().iter().zip(columns).filter_map(|(field, column)| Some((field, column.rows()?)));
        let (first, rows) = lengths.next().map_or((None, 1), |(field, rows)| (Some(field), rows));
        if let (Some((field, found)), Some(first)) = (lengths.find(|&(_, found)| found != rows), first) {
            return Err(EventError::ColumnLength {
                tracepoint: self.name().to_owned(),
                field: field.name.clone(),
                found,
                other: first.name.clone(),
                expected: rows,
            });
        }
        let mut record = vec![0; self.record_size()];
        self.begin(pid, &mut record)?;
        for (index, (field, column)) in self.fields().iter().zip(columns).enumerate() {
            match column {
                Column::Same(value) => self.store(index, *value, &mut record)?,
                column => self.check_column(field, column)?,
            }
        }
        // What is the same in all records is written here, once.
        let chunk_rows = (CHUNK_BYTES / self.record_size()).clamp(1, CHUNK_ROWS);
        let records = record.repeat(chunk_rows.min(rows));
        Ok(Batch { spec: self, columns: columns.to_vec(), rows, chunk_rows, records })
    }

    fn check_column(&self, field: &Field, column: &Column<'_>) -> Result<(), EventError> {
        match (field.ty, column) {
            (_, Column::Same(_)) => Ok(()),
            (FieldType::Scalar(_), Column::Bool(_)) => Ok(()),
            (FieldType::Text(len), Column::Rows { width, .. }) => {
                self.check_width(field, *width, (1..=len as usize).contains(width))
            }
            (FieldType::Array(scalar, _), Column::Rows { bytes, width }) => {
                self.check_width(field, *width, *width as u64 == field.ty.size())?;
                match bytes.iter().position(|&byte| byte > 1) {
                    Some(at) if scalar == Scalar::Bool => {
                        Err(self.out_of_range(field, scalar, i128::from(bytes[at]), Some(at / width)))
                    }
                    _ => Ok(()),
                }
            }
            (FieldType::Scalar(_), Column::Rows { .. }) => Err(self.wrong_type(field, "rows of bytes")),
            (FieldType::Text(_) | FieldType::Array(..), Column::Bool(_)) => Err(self.wrong_type(field, "truth values")),
            (FieldType::Text(_) | FieldType::Array(..), _) => Err(self.wrong_type(field, "a column of numbers")),
            (FieldType::Scalar(scalar), column) => {
                with_numbers!(column, numbers => self.check_range(field, scalar, numbers),
                    _ => Ok(()),
                )
            }
        }
    }

    fn check_width(&self, field: &Field, found: usize, fits: bool) -> Result<(), EventError> {
        if fits {
            return Ok(());
        }
        Err(EventError::ValueLength {
            tracepoint: self.name().to_owned(),
            field: field.name.clone(),
            ty: field.ty,
            found,
        })
    }

    fn check_range<T: Number>(&self, field: &Field, scalar: Scalar, numbers: &[T]) -> Result<(), EventError> {
        let fits = |number: T| (scalar.min()..=scalar.max()).contains(&number.into());
        if fits(T::MIN) && fits(T::MAX) {
            return Ok(());
        }
        let extremes = |(low, high): (T, T), &number: &T| (low.min(number), high.max(number));
        let (low, high) = numbers.iter().fold((T::MAX, T::MIN), extremes);
        if numbers.is_empty() || fits(low) && fits(high) {
            return Ok(());
        }
        match numbers.iter().position(|&number| !fits(number)) {
            Some(row) => Err(self.out_of_range(field, scalar, numbers[row].into(), Some(row))),
            None => Ok(()),
        }
    }
}

impl Batch<'_> {
    /// Events.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of a record.
    #[must_use]
    pub fn record_size(&self) -> usize {
        self.spec.record_size()
    }

    /// Records in a full chunk.
    #[must_use]
    pub const fn chunk_rows(&self) -> usize {
        self.chunk_rows
    }

    /// The records of the rows from `first` on: a full chunk, or what there is. Empty at the end.
    pub fn chunk(&mut self, first: usize) -> &[u8] {
        let last = self.rows.min(first.saturating_add(self.chunk_rows));
        let first = first.min(last);
        let records = &mut self.records[..(last - first) * self.spec.record_size()];
        for (field, column) in self.spec.fields().iter().zip(&self.columns) {
            let place = Place { stride: self.spec.record_size(), offset: field.offset };
            with_numbers!(column, numbers => place.numbers(field.ty, numbers[first..last].iter().copied(), records),
                Column::Bool(bytes) => place.truths(field.ty, bytes[first..last].iter().copied(), records),
                Column::Rows { bytes, width } => {
                    place.rows(bytes[first * width..last * width].chunks_exact(*width), records);
                }
                Column::Same(_) => {}
            );
        }
        records
    }

    /// The records of these rows, at most a full chunk of them.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn pick(&mut self, rows: &[usize]) -> &[u8] {
        let rows = &rows[..rows.len().min(self.chunk_rows).min(self.rows)];
        let records = &mut self.records[..rows.len() * self.spec.record_size()];
        for (field, column) in self.spec.fields().iter().zip(&self.columns) {
            let place = Place { stride: self.spec.record_size(), offset: field.offset };
            with_numbers!(column, numbers => place.numbers(field.ty, rows.iter().map(|&row| numbers[row]), records),
                Column::Bool(bytes) => place.truths(field.ty, rows.iter().map(|&row| bytes[row]), records),
                Column::Rows { bytes, width } => {
                    place.rows(rows.iter().map(|row| &bytes[row * width..][..*width]), records);
                }
                Column::Same(_) => {}
            );
        }
        records
    }
}

/// Where a field lies in a run of records.
#[derive(Clone, Copy)]
struct Place {
    stride: usize,
    offset: usize,
}

impl Place {
    fn numbers<T: Number>(self, ty: FieldType, numbers: impl Iterator<Item = T>, records: &mut [u8]) {
        match ty.size() {
            1 => self.scatter(numbers.map(|n| [n.low_bits() as u8]), records),
            2 => self.scatter(numbers.map(|n| (n.low_bits() as u16).to_le_bytes()), records),
            4 => self.scatter(numbers.map(|n| (n.low_bits() as u32).to_le_bytes()), records),
            _ => self.scatter(numbers.map(|n| n.low_bits().to_le_bytes()), records),
        }
    }

    fn truths(self, ty: FieldType, truths: impl Iterator<Item = u8>, records: &mut [u8]) {
        match ty.size() {
            1 => self.scatter(truths.map(|b| [u8::from(b != 0)]), records),
            2 => self.scatter(truths.map(|b| u16::from(b != 0).to_le_bytes()), records),
            4 => self.scatter(truths.map(|b| u32::from(b != 0).to_le_bytes()), records),
            _ => self.scatter(truths.map(|b| u64::from(b != 0).to_le_bytes()), records),
        }
    }

    fn rows<'b>(self, rows: impl Iterator<Item = &'b [u8]>, records: &mut [u8]) {
        for (record, row) in records.chunks_exact_mut(self.stride).zip(rows) {
            record[self.offset..][..row.len()].copy_from_slice(row);
        }
    }

    #[inline]
    fn scatter<const N: usize>(self, values: impl Iterator<Item = [u8; N]>, records: &mut [u8]) {
        for (record, value) in records.chunks_exact_mut(self.stride).zip(values) {
            record[self.offset..self.offset + N].copy_from_slice(&value);
        }
    }
}

/// An element of a column.
trait Number: Copy + Ord + Into<i128> {
    const MIN: Self;
    const MAX: Self;

    /// Extended to 64 bits by its sign.
    fn low_bits(self) -> u64;
}

macro_rules! numbers {
    ($($ty:ident)*) => {
        $(impl Number for $ty {
            const MIN: $ty = $ty::MIN;
            const MAX: $ty = $ty::MAX;

            #[inline]
            fn low_bits(self) -> u64 {
                self as u64
            }
        })*
    };
}

numbers!(u8 u16 u32 u64 i8 i16 i32 i64);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::field::FieldSpec;
    use super::*;

    fn spec(fields: &[(&str, &str)]) -> TracepointSpec {
        let fields = fields.iter().map(|(name, ty)| FieldSpec::new(*name, ty.parse().unwrap())).collect();
        TracepointSpec::new("vmm:probe", 5, fields).unwrap()
    }

    fn all(batch: &mut Batch<'_>) -> Vec<u8> {
        let step = batch.chunk_rows();
        (0..=batch.rows()).step_by(step).flat_map(|first| batch.chunk(first).to_vec()).collect()
    }

    /// Each row encoded by itself, which is another way to the same bytes.
    fn one_by_one(spec: &TracepointSpec, pid: i32, rows: impl Iterator<Item = Vec<i128>>) -> Vec<u8> {
        rows.flat_map(|row| {
            let mut record = vec![0; spec.record_size()];
            let values: Vec<Value<'_>> = row.into_iter().map(Value::Int).collect();
            spec.encode(pid, &values, &mut record).unwrap();
            record
        })
        .collect()
    }

    #[test]
    fn a_batch_is_its_events_one_by_one() {
        let spec = spec(&[("a", "u32"), ("b", "u8"), ("c", "i64"), ("d", "bool"), ("e", "u16"), ("f", "i16")]);
        let rows = 3000;
        let a: Vec<u64> = (0..rows).map(|i| i * 1_431_655).collect();
        let b: Vec<i16> = (0..rows).map(|i| (i % 256) as i16).collect();
        let c: Vec<i32> = (0..rows).map(|i| -(i as i32)).collect();
        let d: Vec<u8> = (0..rows).map(|i| (i % 3 * 100) as u8).collect();
        let e: Vec<u8> = (0..rows).map(|i| (i % 251) as u8).collect();
        let columns = [
            Column::U64(&a),
            Column::I16(&b),
            Column::I32(&c),
            Column::Bool(&d),
            Column::U8(&e),
            Column::Same(Value::Int(-7)),
        ];
        let mut batch = spec.batch(42, &columns).unwrap();
        assert!(batch.chunk_rows() < rows as usize, "more than one chunk");
        let expected = one_by_one(
            &spec,
            42,
            (0..rows as usize)
                .map(|i| vec![a[i].into(), b[i].into(), c[i].into(), i128::from(d[i] != 0), e[i].into(), -7]),
        );
        assert!(all(&mut batch) == expected);
        assert_eq!(batch.chunk(rows as usize), b"");
        assert_eq!(batch.chunk(usize::MAX), b"");
        assert_eq!(batch.chunk(2999), &expected[2999 * spec.record_size()..]);
    }

    #[test]
    fn every_column_type_fills_every_field_size() {
        for scalar in Scalar::ALL {
            let spec = TracepointSpec::new("a:b", 1, vec![FieldSpec::new("x", FieldType::Scalar(scalar))]).unwrap();
            let columns = [
                Column::U8(&[0, 1]),
                Column::U16(&[0, 1]),
                Column::U32(&[0, 1]),
                Column::U64(&[0, 1]),
                Column::I8(&[0, 1]),
                Column::I16(&[0, 1]),
                Column::I32(&[0, 1]),
                Column::I64(&[0, 1]),
                Column::Bool(&[0, 9]),
            ];
            for column in columns {
                let found = all(&mut spec.batch(0, &[column]).unwrap());
                assert_eq!(found, one_by_one(&spec, 0, [vec![0], vec![1]].into_iter()), "{scalar:?} {column:?}");
            }
        }
    }

    #[test]
    fn the_first_row_out_of_range_is_named() {
        let spec = spec(&[("vm", "u32")]);
        for (column, value, row) in [
            (Column::I64(&[1, 2, -1, -5]), -1, 2),
            (Column::U64(&[0, 1 << 32]), 1 << 32, 1),
            (Column::I8(&[-128]), -128, 0),
        ] {
            let error = spec.batch(0, &[column]).unwrap_err();
            assert!(matches!(error, EventError::OutOfRange { value: v, row: Some(r), .. } if v == value && r == row));
        }
        assert!(spec.batch(0, &[Column::I64(&[0, u32::MAX.into()])]).is_ok());
        let error = spec.batch(0, &[Column::U64(&[7, 1 << 40])]).unwrap_err();
        assert_eq!(error.to_string(), "vmm:probe: vm is u32 and takes 0 to 4294967295, not 1099511627776 (row 1)");
        assert!(matches!(
            spec.batch(0, &[Column::Same(Value::Int(-1))]),
            Err(EventError::OutOfRange { row: None, .. })
        ));
    }

    #[test]
    fn columns_have_one_length() {
        let spec = spec(&[("s", "u8"), ("a", "u8"), ("b", "u8")]);
        let same = Column::Same(Value::Int(1));
        let error = spec.batch(0, &[same, Column::U8(&[1, 2]), Column::U16(&[1])]).unwrap_err();
        assert_eq!(error.to_string(), "vmm:probe: the column b has 1 rows, the column a has 2");
        assert!(matches!(spec.batch(0, &[same]), Err(EventError::FieldCount { expected: 3, found: 1, .. })));
        assert_eq!(spec.batch(0, &[same; 3]).unwrap().rows(), 1);
        let mut empty = spec.batch(0, &[same, Column::U8(&[]), Column::I64(&[])]).unwrap();
        assert_eq!((empty.rows(), empty.chunk(0)), (0, &b""[..]));
    }

    #[test]
    fn arrays_are_rows_of_bytes() {
        let spec = spec(&[("who", "[char; 4]"), ("v", "[u16; 2]"), ("on", "[bool; 1]")]);
        let who = Column::Rows { bytes: b"ab\0c", width: 2 };
        let v = Column::Rows { bytes: &[1, 0, 2, 0, 3, 0, 4, 0], width: 4 };
        let on = Column::Rows { bytes: &[0, 1], width: 1 };
        let mut batch = spec.batch(0, &[who, v, on]).unwrap();
        let expected = b"\x05\0\0\0\0\0\0\0ab\0\0\x01\0\x02\0\0\0\0\0\x05\0\0\0\0\0\0\0\0c\0\0\x03\0\x04\0\x01\0\0\0";
        assert_eq!(all(&mut batch), expected);
        let (one, two) = (Column::Same(Value::Ints(&[0])), Column::Same(Value::Ints(&[0, 0])));
        for (columns, len) in [
            ([Column::Rows { bytes: b"abcde", width: 5 }, two, one], 5),
            ([Column::Rows { bytes: b"", width: 0 }, two, one], 0),
            ([Column::Same(Value::Bytes(b"x")), Column::Rows { bytes: &[1, 0], width: 2 }, one], 2),
        ] {
            let error = spec.batch(0, &columns).unwrap_err();
            assert!(matches!(error, EventError::ValueLength { found, .. } if found == len), "{error}");
        }
        let error = spec.batch(0, &[who, v, Column::Rows { bytes: &[0, 2], width: 1 }]).unwrap_err();
        assert!(matches!(error, EventError::OutOfRange { value: 2, row: Some(1), .. }));
    }

    #[test]
    fn columns_of_the_wrong_kind_are_refused() {
        let spec = spec(&[("n", "u32"), ("who", "[char; 4]"), ("v", "[u16; 2]")]);
        let (n, text, v) =
            (Column::U8(&[1]), Column::Rows { bytes: b"a", width: 1 }, Column::Rows { bytes: b"abcd", width: 4 });
        assert!(spec.batch(0, &[n, text, v]).is_ok());
        for columns in [[text, text, v], [n, n, v], [n, text, Column::Bool(&[1])], [n, Column::Same(Value::Int(1)), v]]
        {
            assert!(matches!(spec.batch(0, &columns), Err(EventError::ValueType { .. })));
        }
    }
}
