//! `Values`: the memory of a map's values, as NumPy reads it without a copy.

use std::ffi::c_int;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::map::Map;

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Values {
    /// Keeps the memory, which views of it outlive the bench by.
    map: Py<Map>,
    stride: usize,
    plane: usize,
}

impl Values {
    pub(crate) fn new(map: Py<Map>, stride: usize, plane: usize) -> Values {
        Values { map, stride, plane }
    }
}

#[pymethods]
impl Values {
    #[getter]
    fn stride(&self) -> usize {
        self.stride
    }

    #[getter]
    fn plane(&self) -> usize {
        self.plane
    }

    /// # Safety
    /// Called by Python's buffer protocol only: `view` is a `Py_buffer` to be filled in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill in"));
        }
        let py = slf.py();
        let table = slf.get().map.get().table(py)?;
        let len = isize::try_from(table.len)?;
        // SAFETY: `view` is to be filled in (see above). The memory stays where it is as long as the map lives, which
        // `slf` keeps, and the view keeps `slf`. It is offered for reading only (`readonly` is 1, so that a request
        // for a writable view is refused). Programs may write to it meanwhile, from another thread too: whoever reads
        // then sees the old bytes or the new ones, as a process sees that has mapped an array of Linux's; no Rust
        // reference to these bytes exists that this could break, since the map itself reaches them by pointer only.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), table.start.as_ptr().cast(), len, 1, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
    }
}
