//! The trace as text and as records.

use axebpf_core::bench::Bench;
use axebpf_core::event::{Payload, text as lines};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

/// What `cat trace` shows (with the header) or `cat trace_pipe` (without).
pub(crate) fn text(_py: Python<'_>, bench: &Bench, target: &str, header: bool) -> PyResult<String> {
    let style = crate::spec::style(target)?;
    Ok(bench.with_trace(|trace, registry| {
        let mut out = String::new();
        if header {
            lines::write_header(style, trace.len(), trace.written(), bench.options().cpus, &mut out);
        }
        let mut fields = String::new();
        for entry in trace.iter() {
            match entry.payload {
                Payload::Print(text) => {
                    lines::write_line(style, &entry.stamp, (0, 0), lines::PRINT_EVENT, text, &mut out);
                }
                Payload::Record(bytes) => {
                    let Ok(spec) = registry.of_record(bytes) else { continue };
                    let Ok(record) = spec.record(bytes) else { continue };
                    fields.clear();
                    lines::write_fields(&record, &mut fields);
                    lines::write_line(style, &entry.stamp, record.flags(), spec.event(), &fields, &mut out);
                }
            }
        }
        out
    }))
}

/// What an entry holds, copied out of the trace.
enum Copied {
    Record(Option<String>, Vec<u8>),
    Print(String),
}

/// A tuple an entry: time, CPU, pid, comm, name of the tracepoint or None, record bytes or printed text.
pub(crate) fn records<'py>(py: Python<'py>, bench: &Bench) -> PyResult<Bound<'py, PyList>> {
    // Making Python objects may run a finalizer, which may fire an event: the trace is not borrowed by then.
    let entries: Vec<_> = bench.with_trace(|trace, registry| {
        let copy = |payload| match payload {
            Payload::Print(text) => Copied::Print(text.to_owned()),
            Payload::Record(bytes) => {
                Copied::Record(registry.of_record(bytes).ok().map(|spec| spec.name().to_owned()), bytes.to_vec())
            }
        };
        trace.iter().map(|entry| (entry.stamp, copy(entry.payload))).collect()
    });
    let out = PyList::empty(py);
    for (stamp, copied) in entries {
        let comm = stamp.comm.split(|&byte| byte == 0).next().unwrap_or_default();
        let comm = String::from_utf8_lossy(comm).into_owned();
        let (name, payload) = match copied {
            Copied::Print(text) => (None, PyString::new(py, &text).into_any()),
            Copied::Record(name, bytes) => (name, PyBytes::new(py, &bytes).into_any()),
        };
        out.append((stamp.time_ns, stamp.cpu, stamp.pid, comm, name, payload))?;
    }
    Ok(out)
}
