//! `Statistics` and `Histogram`, for who records by hand.

use std::sync::Arc;

use axebpf_core::event::histogram::{BOUNDS_NS, LABELS};
use axebpf_core::event::{self, Slot};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::bench::Shared;

/// The percentiles that statistics and histogram show, in millionths.
const PERCENTILES: [(&str, u32); 3] = [("p50_ns", 500_000), ("p90_ns", 900_000), ("p99_ns", 990_000)];

/// What statistics say, as a dictionary.
pub(crate) fn values<'py>(py: Python<'py>, statistics: &event::Statistics) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("count", statistics.count())?;
    out.set_item("samples", statistics.samples())?;
    out.set_item("total_ns", statistics.total_ns())?;
    out.set_item("min_ns", statistics.min_ns())?;
    out.set_item("max_ns", statistics.max_ns())?;
    out.set_item("avg_ns", statistics.avg_ns())?;
    out.set_item("last_timestamp_ns", statistics.last_timestamp_ns())?;
    add_histogram(&out, statistics.histogram())?;
    Ok(out)
}

/// Percentiles and buckets into a dictionary.
fn add_histogram(out: &Bound<'_, PyDict>, histogram: &event::Histogram) -> PyResult<()> {
    for (name, millionths) in PERCENTILES {
        out.set_item(name, histogram.percentile(millionths))?;
    }
    out.set_item("buckets", histogram.buckets().to_vec())
}

/// Upper bound and label of each bucket.
#[pyfunction]
pub(crate) fn histogram_buckets() -> Vec<(u64, &'static str)> {
    BOUNDS_NS.into_iter().zip(LABELS).collect()
}

/// Where statistics are kept.
enum Place {
    Here(Mutex<event::Statistics>),
    Of(Arc<Shared>, Slot),
}

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Statistics(Place);

impl Statistics {
    /// Those of a tracepoint.
    pub(crate) fn of(shared: &Arc<Shared>, slot: Slot) -> Statistics {
        Statistics(Place::Of(shared.clone(), slot))
    }

    fn with<T>(&self, py: Python<'_>, use_it: impl FnOnce(&mut event::Statistics) -> T) -> PyResult<T> {
        match &self.0 {
            Place::Here(statistics) => Ok(use_it(&mut statistics.lock())),
            Place::Of(shared, slot) => shared.with(py, *slot, |bench, at| bench.with_statistics(at, use_it)),
        }
    }
}

#[pymethods]
impl Statistics {
    #[new]
    fn new() -> Statistics {
        Statistics(Place::Here(Mutex::default()))
    }

    fn record_hit(&self, py: Python<'_>, time_ns: u64) -> PyResult<()> {
        self.with(py, |statistics| statistics.record_hit(time_ns))
    }

    fn record_duration(&self, py: Python<'_>, time_ns: u64, duration_ns: u64) -> PyResult<()> {
        self.with(py, |statistics| statistics.record_duration(time_ns, duration_ns))
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        values(py, &self.with(py, |statistics| statistics.clone())?)
    }

    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, event::Statistics::reset)
    }
}

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Histogram(Mutex<event::Histogram>);

#[pymethods]
impl Histogram {
    #[new]
    fn new() -> Histogram {
        Histogram(Mutex::default())
    }

    fn record(&self, ns: u64) {
        self.0.lock().record(ns);
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        let histogram = *self.0.lock();
        out.set_item("total", histogram.total())?;
        add_histogram(&out, &histogram)?;
        Ok(out)
    }

    fn reset(&self) {
        self.0.lock().reset();
    }
}
