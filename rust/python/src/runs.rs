//! What runs of attached programs came to, on its way to Python.

use axebpf_core::bench::Run;
use axebpf_core::fault::Fault;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::error::program_fault;

/// Faults that are given with their message; of the others, only that and where.
const FAULTS: usize = 64;

/// 16 bytes a run, and of some runs, by their place, the fault and the steps.
pub(crate) type TakenRuns<'py> = (Bound<'py, PyBytes>, Vec<(usize, Py<PyAny>)>, Vec<(usize, Bound<'py, PyList>)>);

/// Each run as program (u32), kind of the fault or 0 (u32), and `r0` or the slot of the instruction (u64).
pub(crate) fn taken(py: Python<'_>, runs: Vec<Run>) -> PyResult<TakenRuns<'_>> {
    let mut rows = Vec::with_capacity(16 * runs.len());
    let (mut faults, mut stepped) = (Vec::new(), Vec::new());
    for (place, run) in runs.into_iter().enumerate() {
        let (kind, value) = match &run.result {
            Ok(r0) => (0, *r0),
            Err(fault) => (kind(&fault.fault), fault.insn as u64),
        };
        // A bench has no more programs than its memory holds.
        rows.extend_from_slice(&(run.program as u32).to_le_bytes());
        rows.extend_from_slice(&kind.to_le_bytes());
        rows.extend_from_slice(&value.to_le_bytes());
        if let (Err(fault), true) = (&run.result, faults.len() < FAULTS) {
            faults.push((place, program_fault(py, fault).into_value(py).into_any()));
        }
        if !run.steps.is_empty() {
            stepped.push((place, crate::program::steps(py, run.steps)?));
        }
    }
    Ok((PyBytes::new(py, &rows), faults, stepped))
}

/// A number for each kind of fault, from 1.
const fn kind(fault: &Fault) -> u32 {
    match fault {
        Fault::Memory { .. } => 1,
        Fault::Budget { .. } => 2,
        Fault::CallDepth { .. } => 3,
        Fault::OffTheEnd { .. } => 4,
        Fault::Instruction { .. } => 5,
        Fault::Helper { .. } => 6,
        Fault::Foreign(_) => 7,
        Fault::TailCalled(_) => 8,
    }
}
