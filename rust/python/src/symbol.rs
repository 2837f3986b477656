//! `SymbolTable`: symbols by address and by name.

use axebpf_core::symbol::{self, BlobStyle, Found, Range, Symbol, SymbolError};
use pyo3::exceptions::{PyOverflowError, PyUnicodeEncodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::error::symbol_error;

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct SymbolTable(symbol::SymbolTable);

type Read = fn(&[u8], Range) -> Result<symbol::SymbolTable, SymbolError>;

fn read(py: Python<'_>, read: Read, data: &[u8], stext: u64, etext: Option<u64>) -> PyResult<SymbolTable> {
    let table = py.detach(|| read(data, Range::new(stext, etext)?)).map_err(|error| symbol_error(py, &error))?;
    Ok(SymbolTable(table))
}

/// Bytes that are no UTF-8 become lone surrogates, as in the names of files.
fn text<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match str::from_utf8(name) {
        Ok(name) => Ok(PyString::new(py, name)),
        Err(_) => PyString::from_encoded_object(&PyBytes::new(py, name), Some(c"utf-8"), Some(c"surrogateescape")),
    }
}

/// Does something with the bytes of a name; `None` where it stands for no bytes at all.
fn with_bytes<T>(name: &Bound<'_, PyString>, use_it: impl FnOnce(&[u8]) -> T) -> PyResult<Option<T>> {
    if let Ok(name) = name.to_str() {
        return Ok(Some(use_it(name.as_bytes())));
    }
    match name.call_method1("encode", ("utf-8", "surrogateescape")) {
        Ok(bytes) => Ok(Some(use_it(bytes.cast::<PyBytes>()?.as_bytes()))),
        Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(name.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Name, address, size, offset, type.
fn row<'py>(py: Python<'py>, symbol: &Symbol<'_>, offset: u64) -> PyResult<Bound<'py, PyTuple>> {
    let kind = char::from(symbol.kind);
    (text(py, symbol.name)?, symbol.address, symbol.size, offset, kind).into_pyobject(py)
}

#[pymethods]
impl SymbolTable {
    #[staticmethod]
    fn from_blob(py: Python<'_>, data: &[u8], stext: u64, etext: Option<u64>) -> PyResult<SymbolTable> {
        read(py, symbol::SymbolTable::from_blob, data, stext, etext)
    }

    #[staticmethod]
    fn from_text(py: Python<'_>, data: &[u8], stext: u64, etext: Option<u64>) -> PyResult<SymbolTable> {
        read(py, symbol::SymbolTable::from_text, data, stext, etext)
    }

    #[staticmethod]
    fn from_elf(py: Python<'_>, data: &[u8], stext: u64, etext: Option<u64>) -> PyResult<SymbolTable> {
        read(py, symbol::SymbolTable::from_elf, data, stext, etext)
    }

    #[getter]
    fn range(&self) -> (u64, Option<u64>) {
        (self.0.range().start(), self.0.range().end())
    }

    #[getter]
    fn skipped(&self) -> usize {
        self.0.skipped()
    }

    #[getter]
    fn undefined(&self) -> usize {
        self.0.undefined()
    }

    fn lookup_symbol<'py>(&self, addr: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = addr.py();
        let addr = match addr.extract::<u64>() {
            Ok(addr) => addr,
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.0.lookup_address(addr).map(|Found { symbol, offset }| row(py, &symbol, offset)).transpose()
    }

    fn lookup_addr(&self, name: &Bound<'_, PyString>) -> PyResult<Option<u64>> {
        Ok(with_bytes(name, |name| self.0.lookup_name(name))?.flatten())
    }

    fn named<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let found = with_bytes(name, |bytes| self.0.named(bytes).map(|found| row(name.py(), &found, 0)).collect())?;
        found.unwrap_or_else(|| Ok(Vec::new()))
    }

    fn search<'py>(&self, part: &Bound<'py, PyString>, limit: usize) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let rows = |bytes: &[u8]| self.0.search(bytes).take(limit).map(|found| row(part.py(), &found, 0)).collect();
        with_bytes(part, rows)?.unwrap_or_else(|| Ok(Vec::new()))
    }

    fn module<'py>(&self, name: &Bound<'py, PyString>, addr: u64) -> PyResult<Option<Bound<'py, PyString>>> {
        let module = with_bytes(name, |name| self.0.named(name).find(|found| found.address == addr)?.module)?;
        module.flatten().map(|module| text(name.py(), module)).transpose()
    }

    fn nearest(&self, name: &str) -> Option<String> {
        self.0.nearest(name)
    }

    fn get<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.0.get(index).map(|symbol| row(py, &symbol, 0)).transpose()
    }

    fn to_blob<'py>(&self, py: Python<'py>, style: &str) -> PyResult<Bound<'py, PyBytes>> {
        let style = match style {
            "ksym-0.6" => BlobStyle::Ksym06,
            "ksym" => BlobStyle::Ksym,
            _ => return Err(PyValueError::new_err(format!("style is {style:?}; expected \"ksym-0.6\" or \"ksym\""))),
        };
        let blob = py.detach(|| self.0.to_blob(style)).map_err(|error| symbol_error(py, &error))?;
        Ok(PyBytes::new(py, &blob))
    }

    fn to_text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let written = py.detach(|| self.0.to_text()).map_err(|error| symbol_error(py, &error))?;
        text(py, &written)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}
