//! Columns from Python: one-dimensional buffers of integers (NumPy arrays, `array.array`, Arrow buffers); single
//! integers, which go with any number of rows; and for array fields bytes with their number a row.
//!
//! Their contents are copied while the GIL is held, so that no other thread can change them while events are fired.

use axebpf_core::event::{Column, Value};
use pyo3::buffer::{Element, PyBuffer};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList};

use crate::bench::wrong_type;

/// Numbers of one type.
pub(crate) struct Numbers<T>(pub(crate) Vec<T>);

impl<T: Element> Numbers<T> {
    /// A copy of a buffer of exactly this type.
    pub(crate) fn copy(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Numbers<T>> {
        let buffer = PyBuffer::<T>::get(object)
            .map_err(|_| wrong_type(&format!("{name} must be a buffer of {}", std::any::type_name::<T>()), object))?;
        Ok(Numbers(buffer.to_vec(object.py())?))
    }
}

enum Owned {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Scalar(i128),
    Rows(Vec<u8>, usize),
}

/// The columns of one tracepoint, in the order of its fields.
pub(crate) struct Columns(Vec<Owned>);

impl Columns {
    pub(crate) fn copy(list: &Bound<'_, PyList>) -> PyResult<Columns> {
        list.iter().map(|object| copy(&object)).collect::<PyResult<_>>().map(Columns)
    }

    pub(crate) fn as_core(&self) -> Vec<Column<'_>> {
        self.0.iter().map(Owned::as_core).collect()
    }
}

/// Columns of some of the fields of one tracepoint, in order; None for the others.
pub(crate) struct SomeColumns(Vec<Option<Owned>>);

impl SomeColumns {
    pub(crate) fn copy(list: &Bound<'_, PyList>) -> PyResult<SomeColumns> {
        let column = |object: Bound<'_, PyAny>| if object.is_none() { Ok(None) } else { copy(&object).map(Some) };
        list.iter().map(column).collect::<PyResult<_>>().map(SomeColumns)
    }

    pub(crate) fn as_core(&self) -> Vec<Option<Column<'_>>> {
        self.0.iter().map(|column| column.as_ref().map(Owned::as_core)).collect()
    }
}

impl Owned {
    fn as_core(&self) -> Column<'_> {
        match self {
            &Owned::Scalar(value) => Column::Same(Value::Int(value)),
            Owned::Rows(bytes, width) => Column::Rows { bytes, width: *width },
            Owned::U8(v) => Column::U8(v),
            Owned::U16(v) => Column::U16(v),
            Owned::U32(v) => Column::U32(v),
            Owned::U64(v) => Column::U64(v),
            Owned::I8(v) => Column::I8(v),
            Owned::I16(v) => Column::I16(v),
            Owned::I32(v) => Column::I32(v),
            Owned::I64(v) => Column::I64(v),
        }
    }
}

fn copy(object: &Bound<'_, PyAny>) -> PyResult<Owned> {
    if object.is_instance_of::<PyInt>() {
        return Ok(Owned::Scalar(object.extract()?));
    }
    if let Ok((bytes, width)) = object.extract::<(Vec<u8>, usize)>() {
        return Ok(Owned::Rows(bytes, width));
    }
    macro_rules! try_type {
        ($($variant:ident $type:ty),*) => {$(
            if let Ok(buffer) = PyBuffer::<$type>::get(object) {
                return Ok(Owned::$variant(buffer.to_vec(object.py())?));
            }
        )*};
    }
    try_type!(U32 u32, U64 u64, I64 i64, I32 i32, U16 u16, U8 u8, I16 i16, I8 i8);
    Err(wrong_type("a column must be an integer or a buffer of integers", object))
}
