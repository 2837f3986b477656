//! `TracepointSpec`: a declaration with its layout.

use std::sync::Arc;

use axebpf_core::event::{self, Display, EventError, FieldSpec, Form, Role, Style};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::Error;

/// How a field is shown.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct DisplayArgument {
    hex: bool,
    label: Option<String>,
    scale: u64,
    suffix: String,
}

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct TracepointSpec(pub(crate) Arc<event::TracepointSpec>);

/// `char[16]`, as Python and C write it, to the notation of the core.
fn field_type(text: &str) -> PyResult<event::FieldType> {
    let parsed = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((element, len)) if !element.is_empty() => format!("[{element}; {len}]").parse(),
        _ => text.parse(),
    };
    Ok(parsed.map_err(Error::from)?)
}

/// Whether an error is about a definition, not about an event or a name.
pub(crate) fn is_definition(error: &EventError) -> bool {
    use EventError as E;
    matches!(
        error,
        E::InvalidFieldName { .. }
            | E::ReservedFieldName { .. }
            | E::DuplicateField { .. }
            | E::UnknownType { .. }
            | E::EmptyArray { .. }
            | E::RecordTooLarge { .. }
            | E::DurationType { .. }
            | E::TwoDurations { .. }
            | E::DisplayForm { .. }
            | E::DisplayText { .. }
            | E::DuplicateName { .. }
            | E::DuplicateId { .. }
    )
}

pub(crate) fn style(target: &str) -> PyResult<Style> {
    match target {
        "linux" => Ok(Style::Linux),
        "axvisor" => Ok(Style::Axvisor),
        _ => Err(PyValueError::new_err(format!("target is {target:?}; expected \"linux\" or \"axvisor\""))),
    }
}

#[pymethods]
impl TracepointSpec {
    #[new]
    fn new(name: &str, id: u16, fields: Vec<(String, String, DisplayArgument, String)>) -> PyResult<TracepointSpec> {
        let fields = fields.into_iter().map(|(name, ty, display, role)| {
            let form = match display {
                DisplayArgument { hex: true, .. } => Form::Hex,
                DisplayArgument { scale, suffix, .. } if scale > 1 || !suffix.is_empty() => {
                    Form::Scaled { divisor: scale, suffix }
                }
                _ => Form::Decimal,
            };
            let role = match role.as_str() {
                "" => Role::None,
                "duration" => Role::Duration,
                _ => return Err(PyValueError::new_err(format!("role is {role:?}; expected \"duration\" or \"\""))),
            };
            let ty = field_type(&ty)?;
            Ok(FieldSpec { name, ty, display: Display { label: display.label, form }, role })
        });
        let fields = fields.collect::<PyResult<Vec<_>>>()?;
        let spec = event::TracepointSpec::new(name, id, fields).map_err(Error::from)?;
        Ok(TracepointSpec(Arc::new(spec)))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn id(&self) -> u16 {
        self.0.id()
    }

    #[getter]
    fn size(&self) -> usize {
        self.0.record_size()
    }

    /// Name, type, offset, size, signedness of each field.
    #[getter]
    fn fields(&self) -> Vec<(String, String, usize, u64, bool)> {
        let field = |f: &event::Field| {
            let signed = f.ty.scalar().is_some_and(event::Scalar::is_signed);
            (f.name.clone(), f.ty.to_string(), f.offset, f.ty.size(), signed)
        };
        self.0.fields().iter().map(field).collect()
    }

    /// The text of the `format` file.
    fn format(&self, target: &str) -> PyResult<String> {
        Ok(event::format::format(style(target)?, &self.0))
    }

    /// The fields of a record as the trace shows them.
    fn text(&self, record: &[u8]) -> PyResult<String> {
        let mut out = String::new();
        event::text::write_fields(&self.0.record(record).map_err(Error::from)?, &mut out);
        Ok(out)
    }

    /// AxVisor's TraceContext of a record.
    fn trace_context<'py>(&self, py: Python<'py>, record: &[u8], time_ns: u64) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.0.record(record).map_err(Error::from)?.trace_context(time_ns)))
    }
}
