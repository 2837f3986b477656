//! `tp.fire(...)`: a function that takes its arguments without making a tuple or a dictionary of them.
//!
//! PyO3 builds a dictionary for `**kwargs`; a test that fires events one by one would spend most of its time there.
//! So this is a C function of the vectorcall convention (`METH_FASTCALL | METH_KEYWORDS`), which abi3 has since 3.10.

use std::ffi::c_int;
use std::os::raw::c_char;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use axebpf_core::event::{FieldType, Place, TracepointSpec, Value};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use pyo3::{Borrowed, ffi};

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
            let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<Tracepoint>();
            let names = (!names.is_null()).then(|| Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>());
            let positional = usize::try_from(positional).unwrap_or(0);
            let count = positional + names.as_ref().map_or(0, |names| names.len());
            let args = if count == 0 { &[] } else { std::slice::from_raw_parts(args, count) };
            fire_one(&slf, args, positional, names.as_deref())
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

/// Records up to this size are built on the stack; all of AxVisor's are.
const SMALL: usize = 64;

/// Bytes on the boundary that a record has.
#[repr(align(8))]
struct Aligned([u8; SMALL]);

/// Where an argument of a call goes.
#[derive(Clone, Copy)]
enum Goes {
    /// Into a field, which may be a number.
    Field(usize, Option<Place>),
    Time,
    Cpu,
}

/// Where the arguments of a call go: worked out once for each tuple of names, which is a constant of the calling code.
pub(crate) struct Plan {
    /// Kept, so that no other tuple can have its address.
    names: Py<PyTuple>,
    positional: usize,
    /// One for each argument, the positional ones first.
    goes: Vec<Goes>,
    /// The names as text.
    words: Vec<String>,
}

impl Plan {
    /// Whether it is that of a call site; `names` is then the same tuple.
    fn fits(&self, positional: usize, names: Option<&Bound<'_, PyTuple>>) -> bool {
        self.positional == positional
            && names.map_or(self.words.is_empty(), |names| self.names.as_ptr() == names.as_ptr())
    }

    /// Checks the names: each a field or `time_ns` or `cpu`, none twice, every field there.
    fn new(
        tracepoint: &Tracepoint,
        positional: usize,
        names: &Bound<'_, PyTuple>,
        words: Vec<String>,
    ) -> PyResult<Plan> {
        let py = names.py();
        let spec = &*tracepoint.spec;
        let fields = spec.fields().len();
        if positional > fields {
            let text = format!("fire() takes the {fields} fields of {}, {positional} values were given", spec.name());
            return Err(PyTypeError::new_err(text));
        }
        let mut given = vec![false; fields];
        given[..positional].fill(true);
        let field = |index: usize| Goes::Field(index, spec.place(index));
        let mut goes: Vec<Goes> = (0..positional).map(field).collect();
        for word in &words {
            goes.push(match word.as_str() {
                "time_ns" => Goes::Time,
                "cpu" => Goes::Cpu,
                name => {
                    let index = spec.field_index(name).map_err(Error::from)?;
                    if std::mem::replace(&mut given[index], true) {
                        return Err(PyTypeError::new_err(format!("{}: two values for {name}", spec.name())));
                    }
                    field(index)
                }
            });
        }
        let missing: Vec<&str> =
            spec.fields().iter().zip(&given).filter(|(_, given)| !**given).map(|(field, _)| &*field.name).collect();
        if !missing.is_empty() {
            let message = format!("no value for {}; every field of the event needs one", missing.join(", "));
            let place = PyString::new(py, spec.name()).into_any();
            return Err(exception(py, "FieldError", (message,), &[("tracepoint", place)]));
        }
        Ok(Plan { names: names.clone().unbind(), positional, goes, words })
    }
}

/// The plans of a tracepoint's call sites. They are kept as long as the tracepoint, so that the common case, the call
/// site of the last call, takes no lock.
#[derive(Default)]
pub(crate) struct Plans {
    last: AtomicPtr<Plan>,
    #[expect(clippy::vec_box, reason = "`last` points to them")]
    all: Mutex<Vec<Box<Plan>>>,
}

/// A plan that is kept, or one for this call only.
enum PlanRef<'a> {
    Kept(&'a Plan),
    Own(Plan),
}

impl std::ops::Deref for PlanRef<'_> {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        match self {
            PlanRef::Kept(plan) => plan,
            PlanRef::Own(plan) => plan,
        }
    }
}

impl Plans {
    /// Plans that are kept at the most; code that makes its keywords anew for each call would fill memory.
    const MOST: usize = 64;

    #[inline]
    fn get(
        &self,
        tracepoint: &Tracepoint,
        positional: usize,
        names: Option<&Bound<'_, PyTuple>>,
        py: Python<'_>,
    ) -> PyResult<PlanRef<'_>> {
        // SAFETY: null, or a box of `all`, which is neither moved nor dropped before `self`.
        match unsafe { self.last.load(Ordering::Acquire).as_ref() } {
            Some(plan) if plan.fits(positional, names) => Ok(PlanRef::Kept(plan)),
            _ => self.search(tracepoint, positional, names, py),
        }
    }

    #[cold]
    fn search(
        &self,
        tracepoint: &Tracepoint,
        positional: usize,
        names: Option<&Bound<'_, PyTuple>>,
        py: Python<'_>,
    ) -> PyResult<PlanRef<'_>> {
        let keep = |plan: &Plan| {
            self.last.store(ptr::from_ref(plan).cast_mut(), Ordering::Release);
            // SAFETY: a box of `all`, which is neither moved nor dropped before `self`, and is only read.
            PlanRef::Kept(unsafe { &*ptr::from_ref(plan) })
        };
        let empty = PyTuple::empty(py);
        let names = names.unwrap_or(&empty);
        let words = names.extract::<Vec<String>>()?;
        {
            // By text, because the tuple of `fire(**row)` is a new one each time.
            let all = self.all.lock();
            if let Some(plan) = all.iter().find(|plan| plan.positional == positional && plan.words == words) {
                return Ok(keep(plan));
            }
        }
        // Not under the lock: this may run Python code, and another thread that waits for the lock holds the GIL.
        let plan = Plan::new(tracepoint, positional, names, words)?;
        let mut all = self.all.lock();
        if all.len() >= Plans::MOST {
            return Ok(PlanRef::Own(plan));
        }
        all.push(Box::new(plan));
        let last = all.len() - 1;
        Ok(keep(&all[last]))
    }
}

/// Fires one event.
///
/// # Safety
/// `args` must point to live objects.
unsafe fn fire_one(
    slf: &Bound<'_, Tracepoint>,
    args: &[*mut ffi::PyObject],
    positional: usize,
    names: Option<&Bound<'_, PyTuple>>,
) -> PyResult<()> {
    let py = slf.py();
    let tracepoint = slf.get();
    let spec = &*tracepoint.spec;
    let mut small = Aligned([0; SMALL]);
    let mut large = Vec::new();
    let size = spec.record_size();
    let record = if size <= SMALL {
        &mut small.0[..size]
    } else {
        large.resize(size, 0);
        &mut large[..]
    };
    spec.begin_zeroed(0, record).map_err(Error::from)?;

    // Converting an argument may run Python code, which may fire again: the plan is not borrowed meanwhile.
    let plan = tracepoint.plans.get(tracepoint, positional, names, py)?;
    let (mut time_ns, mut cpu) = (None, None);
    for (&value, goes) in args.iter().zip(&plan.goes) {
        // SAFETY: an argument of the call, borrowed for its duration.
        let value = unsafe { Borrowed::from_ptr(py, value) };
        match *goes {
            Goes::Field(field, place) => store_field(spec, field, place, &value, record)?,
            Goes::Time if value.is_none() => {}
            Goes::Time => time_ns = Some(stamp(spec, "time_ns", &value, u64::MAX)?),
            Goes::Cpu if value.is_none() => {}
            Goes::Cpu => cpu = Some(stamp(spec, "cpu", &value, u32::MAX)?),
        }
    }
    tracepoint.fire_record(py, record, time_ns, cpu)
}

/// The time or the CPU of an event.
fn stamp<'py, T>(spec: &TracepointSpec, name: &str, value: &Bound<'py, PyAny>, max: T) -> PyResult<T>
where
    T: std::fmt::Display + for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let py = value.py();
    value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(py) {
            let shown = value.str().map_or_else(|_| "another number".to_owned(), |text| text.to_string());
            let message = format!("{name} takes 0 to {max}, not {shown}");
            return field_error(py, spec, name, message);
        }
        if error.is_instance_of::<PyTypeError>(py) {
            return wrong_type(&format!("{}: {name} takes an integer", spec.name()), value);
        }
        error
    })
}

#[cold]
fn field_error(py: Python<'_>, spec: &TracepointSpec, field: &str, message: String) -> PyErr {
    let text = |text: &str| PyString::new(py, text).into_any();
    exception(py, "FieldError", (message,), &[("tracepoint", text(spec.name())), ("field", text(field))])
}

#[inline]
fn store_field(
    spec: &TracepointSpec,
    index: usize,
    place: Option<Place>,
    value: &Bound<'_, PyAny>,
    record: &mut [u8],
) -> PyResult<()> {
    // SAFETY: a live object; the GIL is held. A number that fails here is looked at again below.
    let number = unsafe { ffi::PyLong_AsLongLong(value.as_ptr()) };
    if number != -1 && place.is_some_and(|place| place.store(number, record)) {
        return Ok(());
    }
    // Where the conversion failed it has left an exception.
    drop(PyErr::take(value.py()));
    store_other(spec, index, value, record)
}

/// What is no integer of 64 bits, or does not fit.
#[cold]
fn store_other(spec: &TracepointSpec, index: usize, value: &Bound<'_, PyAny>, record: &mut [u8]) -> PyResult<()> {
    if let FieldType::Scalar(_) = spec.fields()[index].ty {
        let number = integer(spec, index, value)?;
        return Ok(spec.store_int(index, number, record).map_err(Error::from)?);
    }
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.extract::<String>()?;
        return Ok(spec.store(index, Value::Bytes(text.as_bytes()), record).map_err(Error::from)?);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(spec.store(index, Value::Bytes(bytes.as_bytes()), record).map_err(Error::from)?);
    }
    let mut numbers = Vec::new();
    for item in value.try_iter()? {
        numbers.push(integer(spec, index, &item?)?);
    }
    Ok(spec.store(index, Value::Ints(&numbers), record).map_err(Error::from)?)
}

/// An integer, or anything with `__index__`.
#[inline]
fn integer(spec: &TracepointSpec, index: usize, value: &Bound<'_, PyAny>) -> PyResult<i128> {
    // SAFETY: a live object; the GIL is held.
    let number = unsafe { ffi::PyLong_AsLongLong(value.as_ptr()) };
    if number == -1
        && let Some(error) = PyErr::take(value.py())
    {
        return large_integer(spec, index, value, &error);
    }
    Ok(i128::from(number))
}

/// What does not fit 64 signed bits, or is no integer.
#[cold]
fn large_integer(spec: &TracepointSpec, index: usize, value: &Bound<'_, PyAny>, error: &PyErr) -> PyResult<i128> {
    let py = value.py();
    let field = &spec.fields()[index];
    if error.is_instance_of::<PyOverflowError>(py) {
        return value.extract::<i128>().map_err(|_| {
            let message = format!("{} is {}; a number of more than 128 bits does not fit", field.name, field.ty);
            field_error(py, spec, &field.name, message)
        });
    }
    if !error.is_instance_of::<PyTypeError>(py) {
        return Err(error.clone_ref(py));
    }
    Err(wrong_type(&format!("{}: {} takes an integer", spec.name(), field.name), value))
}
