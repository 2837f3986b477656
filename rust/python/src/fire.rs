//! `tp.fire(...)`: a function that takes its arguments without making a tuple or a dictionary of them.
//!
//! PyO3 builds a dictionary for `**kwargs`; a test that fires events one by one would spend most of its time there.
//! So this is a C function of the vectorcall convention (`METH_FASTCALL | METH_KEYWORDS`), which abi3 has since 3.10.

use std::ffi::c_int;
use std::os::raw::c_char;
use std::ptr;

use axebpf_core::event::{FieldType, Value};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};
use pyo3::{PyTypeInfo, ffi};

use crate::bench::{Tracepoint, wrong_type};
use crate::error::{Error, exception};

/// A method definition, which the functions made from it point to for ever.
struct Definition(ffi::PyMethodDef);

// SAFETY: the definition is never written to, and its pointers are to static data.
unsafe impl Sync for Definition {}

static FIRE: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"fire".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: fire },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS as c_int,
    ml_doc: c"fire(*fields, time_ns=None, cpu=None)\n--\n\nFires one event: every field by keyword, or in order."
        .as_ptr() as *const c_char,
});

/// The `fire` of a tracepoint.
pub(crate) fn function<'py>(tracepoint: &Bound<'py, Tracepoint>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the definition is static; the function keeps a reference to the tracepoint, its `self`. The definition is
    // only read, although the C signature says otherwise.
    unsafe {
        let definition = (&raw const FIRE.0).cast_mut();
        let function = ffi::PyCFunction_NewEx(definition, tracepoint.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(tracepoint.py(), function)
    }
}

unsafe extern "C" fn fire(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // A panic must not cross into C; there is none to be expected, and it ends as a PanicException like PyO3's.
    let caught = std::panic::catch_unwind(|| {
        // SAFETY: the interpreter calls this with the GIL held.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: vectorcall: `args` are `positional` arguments and one for each name, borrowed for the call; `slf` is
        // the tracepoint that `function` has set.
        let result = unsafe {
            let slf = Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Tracepoint>();
            let names = (!names.is_null()).then(|| Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>());
            let positional = usize::try_from(positional).unwrap_or(0);
            let count = positional + names.as_ref().map_or(0, |names| names.len());
            let args = if count == 0 { &[] } else { std::slice::from_raw_parts(args, count) };
            fire_one(&slf, args, positional, names.as_ref())
        };
        match result {
            Ok(()) => py.None().into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    });
    caught.unwrap_or_else(|_| {
        // SAFETY: the interpreter calls this with the GIL held.
        let py = unsafe { Python::assume_attached() };
        pyo3::panic::PanicException::new_err("firing an event panicked: a bug of axebpf").restore(py);
        ptr::null_mut()
    })
}

/// Records up to this size are built on the stack.
const SMALL: usize = 256;

/// Bytes on the boundary that a record has.
#[repr(align(8))]
struct Aligned([u8; SMALL]);

unsafe fn fire_one(
    slf: &Bound<'_, Tracepoint>,
    args: &[*mut ffi::PyObject],
    positional: usize,
    names: Option<&Bound<'_, PyTuple>>,
) -> PyResult<()> {
    let py = slf.py();
    let tracepoint = slf.get();
    let spec = &*tracepoint.spec;
    let fields = tracepoint.names.len();
    let mut small = Aligned([0; SMALL]);
    let mut large = Vec::new();
    let size = spec.record_size();
    let record = if size <= SMALL {
        &mut small.0[..size]
    } else {
        large.resize(size, 0);
        &mut large[..]
    };
    spec.begin(0, record).map_err(Error::from)?;

    if positional > fields {
        let message = format!("fire() takes the {fields} fields of {}, {positional} values were given", spec.name());
        return Err(PyTypeError::new_err(message));
    }
    // A bit for each field that has its value; a record has at most 8183 bytes of fields.
    let mut given = [0_u64; 128];
    let mut count = 0;
    let mut store = |index: usize, value: *mut ffi::PyObject, record: &mut [u8]| -> PyResult<()> {
        // SAFETY: an argument of the call, borrowed for its duration.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        let bit = 1 << (index % 64);
        if given[index / 64] & bit != 0 {
            let name = &spec.fields()[index].name;
            return Err(PyTypeError::new_err(format!("{}: two values for {name}", spec.name())));
        }
        given[index / 64] |= bit;
        count += 1;
        store_field(tracepoint, index, &value, record)
    };
    for (index, &value) in args[..positional].iter().enumerate() {
        store(index, value, record)?;
    }
    let mut time_ns = None;
    let mut cpu = None;
    if let Some(names) = names {
        for (position, &value) in args[positional..].iter().enumerate() {
            // SAFETY: a tuple of that many names.
            let name = unsafe { ffi::PyTuple_GetItem(names.as_ptr(), position as ffi::Py_ssize_t) };
            // Callers mostly name the fields in their order, and the compiler interns names.
            let expected = positional + position;
            let same = |index: &usize| tracepoint.names[*index].as_ptr() == name;
            let index = Some(expected).filter(|index| *index < fields && same(index)).or_else(|| (0..fields).find(same));
            if let Some(index) = index {
                store(index, value, record)?;
                continue;
            }
            // SAFETY: the names of keyword arguments are strings; the value is an argument of the call.
            let (name, value) = unsafe {
                (Bound::from_borrowed_ptr(py, name).cast_into_unchecked::<PyString>(), Bound::from_borrowed_ptr(py, value))
            };
            match &*name.to_string_lossy() {
                "time_ns" if !value.is_none() => time_ns = Some(value.extract()?),
                "cpu" if !value.is_none() => cpu = Some(value.extract()?),
                "time_ns" | "cpu" => {}
                name => {
                    let index = spec.field_index(name).map_err(Error::from)?;
                    store(index, value.as_ptr(), record)?;
                }
            }
        }
    }
    if count < fields {
        let missing = spec.fields().iter().enumerate().filter(|(index, _)| given[index / 64] & (1 << (index % 64)) == 0);
        let missing: Vec<&str> = missing.map(|(_, field)| &*field.name).collect();
        let message = format!("no value for {}; every field of the event needs one", missing.join(", "));
        let place = PyString::new(py, spec.name()).into_any();
        return Err(exception(py, "FieldError", (message,), &[("tracepoint", place)]));
    }
    tracepoint.fire_record(py, record, time_ns, cpu)
}

#[inline]
fn store_field(tracepoint: &Tracepoint, index: usize, value: &Bound<'_, PyAny>, record: &mut [u8]) -> PyResult<()> {
    let spec = &*tracepoint.spec;
    if let FieldType::Scalar(_) = spec.fields()[index].ty {
        let number = integer(value)?;
        return Ok(spec.store_int(index, number, record).map_err(Error::from)?);
    }
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_str()?.as_bytes();
        return Ok(spec.store(index, Value::Bytes(text), record).map_err(Error::from)?);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(spec.store(index, Value::Bytes(bytes.as_bytes()), record).map_err(Error::from)?);
    }
    let mut numbers = Vec::new();
    for item in value.try_iter()? {
        numbers.push(integer(&item?)?);
    }
    Ok(spec.store(index, Value::Ints(&numbers), record).map_err(Error::from)?)
}

/// An integer, or anything with `__index__`, of at most 64 bits; larger ones are out of every field's range.
#[inline]
fn integer(value: &Bound<'_, PyAny>) -> PyResult<i128> {
    let py = value.py();
    if PyInt::is_type_of(value) {
        // SAFETY: an int, by the check.
        let number = unsafe { ffi::PyLong_AsLongLong(value.as_ptr()) };
        if number != -1 || PyErr::take(py).is_none() {
            return Ok(i128::from(number));
        }
    }
    value.extract::<i128>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(py) {
            return exception(py, "FieldError", ("a number of more than 128 bits fits no field",), &[]);
        }
        wrong_type("a field takes an integer", value)
    })
}

