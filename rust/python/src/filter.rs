//! `Filter`: a filter apart from any bench.

use axebpf_core::clock::MAX_CPUS;
use axebpf_core::event::{self, Stamp};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::columns::{Numbers, SomeColumns};
use crate::error::Error;
use crate::spec::TracepointSpec;

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Filter(event::Filter);

/// CPU, thread and its name: what an event has beside its record.
#[derive(FromPyObject)]
struct StampArgument(u32, i32, Vec<u8>);

impl StampArgument {
    fn stamp(&self) -> PyResult<Stamp> {
        let mut comm = [0; 16];
        let place = comm.get_mut(..self.2.len());
        let place = place.ok_or_else(|| PyValueError::new_err("the name of a task has at most 16 bytes"))?;
        place.copy_from_slice(&self.2);
        Ok(Stamp { time_ns: 0, cpu: self.0, pid: self.1, comm })
    }
}

#[pymethods]
impl Filter {
    #[new]
    fn new(spec: &TracepointSpec, text: &str) -> PyResult<Filter> {
        Ok(Filter(event::Filter::compile(&spec.0, text, MAX_CPUS).map_err(Error::from)?))
    }

    #[getter]
    fn text(&self) -> &str {
        self.0.text()
    }

    /// The tracepoint's own fields that it looks at.
    #[getter]
    fn fields(&self) -> Vec<String> {
        let fields = self.0.spec().fields().iter().enumerate();
        fields.filter(|(index, _)| self.0.uses(*index)).map(|(_, field)| field.name.clone()).collect()
    }

    #[getter]
    fn uses_cpu(&self) -> bool {
        self.0.uses_cpu()
    }

    fn matches(&self, record: &[u8], stamp: StampArgument) -> PyResult<bool> {
        let record = self.0.spec().record(record).map_err(Error::from)?;
        Ok(self.0.matches(&record, &stamp.stamp()?))
    }

    /// A byte a row: 1 where it passes.
    fn select<'py>(
        &self,
        py: Python<'py>,
        columns: &Bound<'py, PyList>,
        cpus: Option<&Bound<'py, PyAny>>,
        stamp: StampArgument,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let columns = SomeColumns::copy(columns)?;
        let cpus = cpus.map(|cpus| Numbers::<u32>::copy(cpus, "cpu")).transpose()?;
        let stamp = stamp.stamp()?;
        let passed = py.detach(|| {
            let passed = self.0.select(&columns.as_core(), cpus.as_ref().map(|cpus| &*cpus.0), &stamp);
            passed.map_err(Box::new)
        });
        Ok(bytes(py, passed.map_err(|error| Error::from(*error))?))
    }

    /// As `select`, for records one behind the other.
    fn select_records<'py>(
        &self,
        py: Python<'py>,
        records: &[u8],
        cpus: Option<&Bound<'py, PyAny>>,
        stamp: StampArgument,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let cpus = cpus.map(|cpus| Numbers::<u32>::copy(cpus, "cpu")).transpose()?;
        let stamp = stamp.stamp()?;
        let passed = self.0.select_records(records, cpus.as_ref().map(|cpus| &*cpus.0), &stamp);
        Ok(bytes(py, passed))
    }
}

fn bytes(py: Python<'_>, passed: Vec<bool>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, &passed.into_iter().map(u8::from).collect::<Vec<u8>>())
}
