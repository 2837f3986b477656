//! `Recording`: a reader of recordings, and the rules that it goes by.

use axebpf_core::recording::{Bits, Events, Form, Pick, Reader, RecordingError, Rule, Source, Target};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::error::exception;
use crate::spec::TracepointSpec;

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Recording {
    reader: Mutex<Reader>,
    file: String,
}

type RuleArgument<'py> = (
    String,
    Vec<String>,
    Option<(String, Vec<(String, Bound<'py, PyTuple>)>)>,
    Vec<String>,
    Option<String>,
    Vec<String>,
    Option<String>,
    bool,
);

#[pymethods]
impl Recording {
    #[new]
    fn new(
        py: Python<'_>,
        file: String,
        tracepoints: Vec<PyRef<'_, TracepointSpec>>,
        rules: Vec<RuleArgument<'_>>,
        csv: bool,
        event: Option<String>,
        cpus: u32,
    ) -> PyResult<Recording> {
        let tracepoints = tracepoints.iter().map(|spec| (*spec.0).clone()).collect();
        let rules = rules.into_iter().map(rule).collect::<PyResult<Vec<_>>>()?;
        let form = if csv { Form::Csv { event } } else { Form::Text };
        let reader = Reader::new(tracepoints, &rules, form, cpus).map_err(|error| raised(py, None, &error))?;
        Ok(Recording { reader: Mutex::new(reader), file })
    }

    fn survey(&self, py: Python<'_>, piece: &[u8], last: bool) -> PyResult<()> {
        let read = py.detach(|| self.reader.lock().survey(piece, last));
        read.map_err(|error| raised(py, Some(&self.file), &error))
    }

    fn begin(&self) {
        self.reader.lock().begin();
    }

    fn feed(&self, py: Python<'_>, piece: &[u8], last: bool) -> PyResult<()> {
        let read = py.detach(|| self.reader.lock().feed(piece, last));
        read.map_err(|error| raised(py, Some(&self.file), &error))
    }

    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let reader = self.reader.lock();
        let report = reader.report();
        let dict = PyDict::new(py);
        dict.set_item("lines", report.lines)?;
        dict.set_item("events", report.events)?;
        dict.set_item("skipped", report.skipped)?;
        dict.set_item("lost", report.lost)?;
        dict.set_item("backwards", report.backwards)?;
        dict.set_item("unpaired", report.unpaired)?;
        dict.set_item("first_ns", report.first_ns)?;
        dict.set_item("last_ns", report.last_ns)?;
        dict.set_item("cpus", report.cpus)?;
        dict.set_item("problems", &report.problems)?;
        dict.set_item("more_problems", report.more_problems)?;
        Ok(dict)
    }

    /// Name, lines, lines unmapped, lines passed over.
    fn names(&self) -> Vec<(String, u64, u64, u64)> {
        let reader = self.reader.lock();
        reader.names().map(|name| (name.name.clone(), name.seen, name.unmapped, name.passed_over)).collect()
    }
}

impl Recording {
    /// The first events of the last piece, at most so many, which the recording then no longer has.
    pub(crate) fn take(&self, most: usize) -> Events {
        self.reader.lock().take_events(most)
    }
}

fn raised(py: Python<'_>, file: Option<&str>, error: &RecordingError) -> PyErr {
    let mut keywords = Vec::new();
    if let Some(file) = file.and_then(|file| file.into_pyobject(py).ok()) {
        keywords.push(("file", file.into_any()));
    }
    if let Some(line) = error.line().and_then(|line| line.into_pyobject(py).ok()) {
        keywords.push(("line", line.into_any()));
    }
    exception(py, "RecordingError", (error.to_string(),), &keywords)
}

fn rule((event, texts, becomes, unless, sets, clears, until, on_vcpu): RuleArgument<'_>) -> PyResult<Rule> {
    let becomes = match becomes {
        None => None,
        Some((tracepoint, fields)) => {
            let fields = fields.into_iter().map(|(field, value)| Ok((field, source(&value)?))).collect::<PyResult<_>>();
            Some(Target { tracepoint, fields: fields? })
        }
    };
    Ok(Rule { event, texts, becomes, unless, sets, clears, until, on_vcpu })
}

/// A source is a tuple: its kind, then what belongs to that.
fn source(tuple: &Bound<'_, PyTuple>) -> PyResult<Source> {
    let kind: String = tuple.get_item(0)?.extract()?;
    Ok(match kind.as_str() {
        "constant" => Source::Constant(tuple.get_item(1)?.extract()?),
        "place" => Source::Place { place: tuple.get_item(1)?.extract()?, shift: tuple.get_item(2)?.extract()? },
        "named" => {
            let entries: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = tuple.get_item(2)?.extract()?;
            let (mut texts, mut numbers) = (Vec::new(), Vec::new());
            for (key, value) in entries {
                let value = pick(&value)?;
                match key.extract::<i128>() {
                    Ok(number) => numbers.push((number, value)),
                    Err(_) => texts.push((key.extract()?, value)),
                }
            }
            Source::Named { place: tuple.get_item(1)?.extract()?, texts, numbers, other: tuple.get_item(3)?.extract()? }
        }
        "ranges" => Source::Ranges {
            place: tuple.get_item(1)?.extract()?,
            ranges: tuple.get_item(2)?.extract()?,
            other: tuple.get_item(3)?.extract()?,
        },
        "bits" => Source::Bits(bits(tuple)?),
        "vm" => Source::Vm,
        "vcpu" => Source::Vcpu,
        "since" => Source::Since(tuple.get_item(1)?.extract()?),
        other => return Err(PyValueError::new_err(format!("no source is called {other}"))),
    })
}

fn pick(value: &Bound<'_, PyAny>) -> PyResult<Pick> {
    match value.cast::<PyTuple>() {
        Ok(tuple) => Ok(Pick::Bits(bits(tuple)?)),
        Err(_) => Ok(Pick::Is(value.extract()?)),
    }
}

fn bits(tuple: &Bound<'_, PyTuple>) -> PyResult<Bits> {
    Ok(Bits {
        place: tuple.get_item(1)?.extract()?,
        bits: tuple.get_item(2)?.extract()?,
        other: tuple.get_item(3)?.extract()?,
    })
}
