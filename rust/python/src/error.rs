//! Errors of the core to the exceptions of `axebpf.errors`.

use axebpf_core::bench::BenchError;
use axebpf_core::clock::ClockError;
use axebpf_core::engine::ProgramFault;
use axebpf_core::errno::Errno;
use axebpf_core::event::{EventError, FilterError};
use axebpf_core::fault::{Fault, Foreign};
use axebpf_core::object::LoadError;
use axebpf_core::portability::Finding;
use axebpf_core::program::SourceLine;
use axebpf_core::symbol::{Place, SymbolError};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// An error on its way to Python.
pub(crate) struct Error(pub(crate) BenchError);

macro_rules! from_core {
    ($($type:ty),*) => {$(
        impl From<$type> for Error {
            fn from(error: $type) -> Error {
                Error(error.into())
            }
        }
    )*};
}

from_core!(BenchError, EventError, FilterError, LoadError, ClockError);

impl From<Box<BenchError>> for Error {
    fn from(error: Box<BenchError>) -> Error {
        Error(*error)
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        Python::attach(|py| to_python(py, &error.0))
    }
}

/// The exception of a class of `axebpf.errors`, made from positional and keyword arguments.
pub(crate) fn exception<'py>(
    py: Python<'py>,
    class: &str,
    args: impl pyo3::IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
    keywords: &[(&str, Bound<'py, PyAny>)],
) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let class = py.import("axebpf.errors")?.getattr(class)?;
        let dict = PyDict::new(py);
        for (name, value) in keywords {
            dict.set_item(name, value)?;
        }
        Ok(PyErr::from_value(class.call(args.into_pyobject(py)?, Some(&dict))?))
    };
    make().unwrap_or_else(|error| error)
}

pub(crate) fn text<'py>(py: Python<'py>, value: &str) -> Bound<'py, PyAny> {
    pyo3::types::PyString::new(py, value).into_any()
}

pub(crate) fn number<'py>(py: Python<'py>, value: u64) -> Bound<'py, PyAny> {
    match value.into_pyobject(py) {
        Ok(value) => value.into_any(),
        Err(never) => match never {},
    }
}

/// An errno of an operation on a map.
pub(crate) fn map_error(py: Python<'_>, errno: Errno, map: &str, what: &str) -> PyErr {
    exception(py, "MapError", (errno.0, what), &[("map", text(py, map))])
}

/// What is wrong with a symbol table.
pub(crate) fn symbol_error(py: Python<'_>, error: &SymbolError) -> PyErr {
    let place = error.place.map(|place| match place {
        Place::Line(line) => ("line", number(py, line as u64)),
        Place::Offset(offset) => ("offset", number(py, offset)),
    });
    exception(py, "SymbolError", (error.reason.to_string(),), place.as_slice())
}

fn to_python(py: Python<'_>, error: &BenchError) -> PyErr {
    let message = error.to_string();
    match error {
        BenchError::Clock(_) => exception(py, "ClockError", (message,), &[]),
        BenchError::Event(error) => event(py, error),
        BenchError::Filter(error) => filter(py, error),
        BenchError::Map(error) => exception(py, "MapError", (error.errno().0, message), &[]),
        BenchError::UnknownMapKind(_) => exception(py, "MapError", (Errno::EINVAL.0, message), &[]),
        BenchError::Load(error) => load(py, error),
        BenchError::Fault(fault) => program_fault(py, fault),
        BenchError::Entry { map, errno, .. } => {
            exception(py, "MapError", (errno.0, message), &[("map", text(py, map))])
        }
        BenchError::Errno(errno) => exception(py, "MapError", (errno.0, errno.text()), &[]),
        BenchError::Engine { section, .. } if section.is_empty() => exception(py, "LoadError", (message,), &[]),
        BenchError::Engine { section, .. } => exception(py, "LoadError", (message,), &[("section", text(py, section))]),
        BenchError::MissingMap { .. }
        | BenchError::CodeLength { .. }
        | BenchError::WrongSize { .. }
        | BenchError::SpinLockType { .. }
        | BenchError::ProgArrayType { .. } => exception(py, "LoadError", (message,), &[]),
        BenchError::Refused { program, section, line, finding } => {
            let mut keywords = refused(py, finding);
            keywords.push(("program", text(py, program)));
            keywords.extend((!section.is_empty()).then(|| ("section", text(py, section))));
            keywords.extend(finding.insn.map(|insn| ("instruction", number(py, insn as u64))));
            keywords.extend(line.as_ref().and_then(|line| Some(("source", source_line(py, line)?))));
            exception(py, "PortabilityError", (message,), &keywords)
        }
        BenchError::RefusedMap { map, errno, finding } => {
            let mut keywords = refused(py, finding);
            keywords.push(("map", text(py, map)));
            exception(py, "MapPortabilityError", (errno.0, message), &keywords)
        }
        BenchError::NotBuilt { .. } => exception(py, "LoadError", (message,), &[]),
        BenchError::NoSuch { object, .. } | BenchError::GlobalLost { object, .. } => {
            // The exception puts the file in front of its message by itself.
            let rest = message.strip_prefix(object.as_str()).map_or(&*message, str::trim_start);
            let class = if matches!(error, BenchError::GlobalLost { .. }) { "PortabilityError" } else { "LoadError" };
            exception(py, class, (rest,), &[("file", text(py, object))])
        }
        BenchError::Attached { .. }
        | BenchError::AttachType { .. }
        | BenchError::AlreadyAttached { .. }
        | BenchError::TooManyPrograms { .. }
        | BenchError::ContextTooShort { .. }
        | BenchError::Detached
        | BenchError::NoProgram { .. } => exception(py, "AttachError", (message,), &[]),
        BenchError::NotObservable { .. } => exception(py, "AxebpfError", (message,), &[]),
        BenchError::NoThreads | BenchError::OneThread { .. } | BenchError::NoThread { .. } => {
            exception(py, "ThreadsError", (message,), &[])
        }
        BenchError::NoTracepoint { .. } => exception(py, "NotFound", (message,), &[]),
        BenchError::Closed => exception(py, "BenchClosed", (message,), &[]),
        BenchError::Foreign(error) => carried(py, error),
    }
}

/// What target axvisor refuses, as keywords.
fn refused<'py>(py: Python<'py>, finding: &Finding) -> Vec<(&'static str, Bound<'py, PyAny>)> {
    let mut keywords = vec![("reason", text(py, &finding.reason)), ("instead", text(py, finding.instead))];
    keywords.extend(finding.gap.map(|gap| ("gap", text(py, gap))));
    keywords
}

/// File, line, column and text of a source line.
fn source_line<'py>(py: Python<'py>, line: &SourceLine) -> Option<Bound<'py, PyAny>> {
    let source = (&*line.file, line.line, line.column, line.text.trim()).into_pyobject(py);
    source.ok().map(Bound::into_any)
}

fn event(py: Python<'_>, error: &EventError) -> PyErr {
    use EventError as E;
    let message = error.to_string();
    let (class, tracepoint, field) = match error {
        E::InvalidName { .. } => ("InvalidName", None, None),
        E::NotFound { .. } | E::UnknownId { .. } | E::UnknownSubsystem { .. } => ("NotFound", None, None),
        E::UnknownField { tracepoint, field, .. }
        | E::OutOfRange { tracepoint, field, .. }
        | E::ValueType { tracepoint, field, .. }
        | E::ValueLength { tracepoint, field, .. } => ("FieldError", Some(tracepoint), Some(field)),
        E::FieldCount { tracepoint, .. } => ("FieldError", Some(tracepoint), None),
        _ if crate::spec::is_definition(error) => ("DeclarationError", None, None),
        _ => ("FieldError", None, None),
    };
    let mut keywords = Vec::new();
    keywords.extend(tracepoint.map(|tracepoint| ("tracepoint", text(py, tracepoint))));
    keywords.extend(field.map(|field| ("field", text(py, field))));
    // The exception puts the tracepoint in front of its message by itself.
    let rest = tracepoint.and_then(|tracepoint| message.strip_prefix(tracepoint.as_str()));
    let message = rest.map_or(&*message, |rest| rest.trim_start_matches([':', ' ']));
    exception(py, class, (message,), &keywords)
}

fn filter(py: Python<'_>, error: &FilterError) -> PyErr {
    // Python counts characters.
    let position = error.text.get(..error.position).map_or(0, |before| before.chars().count());
    let mut keywords = vec![("tracepoint", text(py, &error.tracepoint))];
    if !error.text.is_empty() {
        keywords.extend([("text", text(py, &error.text)), ("position", number(py, position as u64))]);
    }
    exception(py, "FilterError", (error.problem.to_string(),), &keywords)
}

fn load(py: Python<'_>, error: &LoadError) -> PyErr {
    let mut keywords = vec![("file", text(py, &error.file))];
    keywords.extend(error.section.as_deref().map(|section| ("section", text(py, section))));
    keywords.extend(error.offset.map(|offset| ("offset", number(py, offset))));
    let mut message = error.reason.to_string();
    if let Some((function, insn)) = &error.function {
        message = format!("function {function}, instruction {insn}: {message}");
    }
    exception(py, "LoadError", (message,), &keywords)
}

/// The exception that a callback or helper has raised.
fn carried(py: Python<'_>, error: &Foreign) -> PyErr {
    match error.downcast::<PyErr>() {
        Some(error) => error.clone_ref(py),
        None => PyRuntimeError::new_err(error.to_string()),
    }
}

/// The exception of a stopped run.
pub(crate) fn program_fault(py: Python<'_>, fault: &ProgramFault) -> PyErr {
    if let Fault::Foreign(error) = &fault.fault {
        return carried(py, error);
    }
    let mut keywords = vec![("program", text(py, &fault.program)), ("instruction", number(py, fault.insn as u64))];
    if let Fault::Memory { address, place, .. } = &fault.fault {
        keywords.push(("address", number(py, *address)));
        keywords.push(("place", text(py, place)));
    }
    if let Some(source) = fault.line.as_ref().and_then(|line| source_line(py, line)) {
        keywords.push(("source", source));
    }
    exception(py, "ProgramFault", (fault.fault.to_string(),), &keywords)
}
