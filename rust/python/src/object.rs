//! `Object`: what is in a `.bpf.o`.

use axebpf_core::btf::{IntEncoding, LayoutMember, TypeLayout};
use axebpf_core::object;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::error::Error;
use crate::portability::{self, Report};
use crate::program::{lines, subprograms};

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Object(pub(crate) object::Object);

#[pymethods]
impl Object {
    #[new]
    fn new(py: Python<'_>, data: Vec<u8>, file: String) -> PyResult<Object> {
        let object = py.detach(|| object::Object::parse(&data, &file)).map_err(Error::from)?;
        Ok(Object(object))
    }

    #[getter]
    fn file(&self) -> &str {
        &self.0.file
    }

    #[getter]
    fn license(&self) -> &str {
        &self.0.license
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings.clone()
    }

    /// A dictionary a map definition.
    #[getter]
    fn maps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let out = PyList::empty(py);
        for map in &self.0.maps {
            let entry = PyDict::new(py);
            entry.set_item("name", &map.name)?;
            entry.set_item("section", &map.section)?;
            entry.set_item("type", map.map_kind().map(|kind| kind.name()))?;
            entry.set_item("type_number", map.kind)?;
            entry.set_item("key_size", map.key_size)?;
            entry.set_item("value_size", map.value_size)?;
            entry.set_item("max_entries", map.max_entries)?;
            entry.set_item("flags", map.flags)?;
            entry.set_item("key", layout(py, &self.0.key_layout(map).map_err(Error::from)?)?)?;
            entry.set_item("value", layout(py, &self.0.value_layout(map).map_err(Error::from)?)?)?;
            entry.set_item("data", map.initial.is_some())?;
            out.append(entry)?;
        }
        Ok(out)
    }

    /// The layout of a structure, union or typedef of a name.
    fn layout<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyTuple>> {
        let named = self.0.btf.as_deref().and_then(|btf| {
            let named = |id| btf.name(id).is_ok_and(|of| of == name);
            btf.types().map(|(id, _)| id).filter(|id| named(*id)).find_map(|id| btf.layout(id).ok())
        });
        match named {
            Some(found) => layout(py, &found),
            None => {
                let message = format!("{} has no type {name}", self.0.file);
                Err(crate::error::exception(py, "NotFound", (message,), &[]))
            }
        }
    }

    /// A dictionary a global variable.
    #[getter]
    fn globals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let out = PyList::empty(py);
        for global in self.0.globals() {
            let entry = PyDict::new(py);
            entry.set_item("name", &global.name)?;
            entry.set_item("map", &global.map)?;
            entry.set_item("offset", global.offset)?;
            entry.set_item("size", global.size)?;
            let known = match (&self.0.btf, global.btf_type) {
                (Some(btf), Some(id)) => btf.layout(id).ok(),
                _ => None,
            };
            let known = known.unwrap_or(TypeLayout::Bytes { size: global.size });
            entry.set_item("layout", layout(py, &known)?)?;
            out.append(entry)?;
        }
        Ok(out)
    }

    /// The report on the program at a place in `programs`; none for one that cannot be linked. See `portability.rs`.
    fn portability(&self, py: Python<'_>, program: usize, target: &str) -> PyResult<Option<Report>> {
        let target = portability::target(py, target)?;
        let Some(program) = self.0.programs.get(program) else { return Ok(None) };
        let found = py.detach(|| axebpf_core::bench::portability_of(&self.0, program, target));
        Ok(found.map(portability::report))
    }

    /// A dictionary a program; `refused` is the reason why it cannot be loaded.
    #[getter]
    fn programs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let out = PyList::empty(py);
        for program in &self.0.programs {
            let entry = PyDict::new(py);
            entry.set_item("name", &program.name)?;
            entry.set_item("section", &program.section)?;
            entry.set_item("type", program.program_type.map(|of| of.name()))?;
            entry.set_item("target", &program.target)?;
            entry.set_item("autoload", program.autoload)?;
            match &program.program {
                Ok(program) => {
                    let code: Vec<u8> = program.insns.iter().flat_map(|insn| insn.to_bytes()).collect();
                    entry.set_item("insns", PyBytes::new(py, &code))?;
                    entry.set_item("maps", &program.maps)?;
                    entry.set_item("lines", lines(program))?;
                    entry.set_item("subprograms", subprograms(program))?;
                    entry.set_item("refused", py.None())?;
                }
                Err(error) => {
                    entry.set_item("insns", py.None())?;
                    for name in ["maps", "lines", "subprograms"] {
                        entry.set_item(name, PyList::empty(py))?;
                    }
                    entry.set_item("refused", error.to_string())?;
                }
            }
            out.append(entry)?;
        }
        Ok(out)
    }
}

/// A type as nested tuples, of which `axebpf.maps` makes codecs: `("int", size, signed, meaning)`,
/// `("float", size)`, `("enum", size, signed, name, values)`, `("pointer",)`, `("array", element, len)`,
/// `("struct" | "union", size, name, [(name, bit_offset, bitfield_size, type)])`, `("bytes", size)`.
fn layout<'py>(py: Python<'py>, of: &TypeLayout) -> PyResult<Bound<'py, PyTuple>> {
    let members = |members: &[LayoutMember]| -> PyResult<Bound<'py, PyList>> {
        let out = PyList::empty(py);
        for member in members {
            out.append((&member.name, member.bit_offset, member.bitfield_size, layout(py, &member.layout)?))?;
        }
        Ok(out)
    };
    match of {
        TypeLayout::Int { size, signed, encoding } => {
            let meaning = match encoding {
                IntEncoding::Bool => "bool",
                IntEncoding::Char => "char",
                _ => "number",
            };
            ("int", *size, *signed, meaning).into_pyobject(py)
        }
        TypeLayout::Float { size } => ("float", *size).into_pyobject(py),
        TypeLayout::Enum { name, size, signed, values } => {
            ("enum", *size, *signed, name, values.clone()).into_pyobject(py)
        }
        TypeLayout::Pointer => ("pointer",).into_pyobject(py),
        TypeLayout::Array { element, len } => ("array", layout(py, element)?, *len).into_pyobject(py),
        TypeLayout::Struct { name, size, members: of } => ("struct", *size, name, members(of)?).into_pyobject(py),
        TypeLayout::Union { name, size, members: of } => ("union", *size, name, members(of)?).into_pyobject(py),
        TypeLayout::Bytes { size } => ("bytes", *size).into_pyobject(py),
    }
}
