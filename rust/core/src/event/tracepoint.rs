//! A tracepoint: name, id, fields, and the C layout of its record.
//!
//! The record is a structure as the kernel has it: the 8-byte common header (`common_type` u16, `common_flags` u8,
//! `common_preempt_count` u8, `common_pid` i32), then the fields, each on its natural boundary, padded at the end to the
//! alignment of the whole.

use super::context::ContextPlan;
use super::error::EventError;
use super::field::{Display, FieldSpec, FieldType, Form, Role, Scalar};
use crate::nearest::nearest;

/// Bytes of the common header: where the first field may begin.
pub const HEADER_SIZE: usize = 8;

/// Bytes of the largest record: a tracepoint program reads its context below offset 8192.
pub const MAX_RECORD_SIZE: usize = 8191;

/// The common fields of every record: C type, name, offset, number type. (Linux's `format` files.)
pub(super) const COMMON_FIELDS: [(&str, &str, usize, Scalar); 4] = [
    ("unsigned short", "common_type", 0, Scalar::U16),
    ("unsigned char", "common_flags", 2, Scalar::U8),
    ("unsigned char", "common_preempt_count", 3, Scalar::U8),
    ("int", "common_pid", 4, Scalar::I32),
];

/// Words that C keeps for itself: a field of that name would make the header of the tracepoint unreadable.
#[rustfmt::skip]
const C_KEYWORDS: [&str; 33] = [
    "auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof",
    "static", "struct", "switch", "typedef", "union", "unsigned", "void",
];

/// A field in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Type.
    pub ty: FieldType,
    /// How it is shown.
    pub display: Display,
    /// What it means.
    pub role: Role,
    /// Offset in the record.
    pub offset: usize,
}

impl Field {
    /// What stands before the value where it is shown.
    #[must_use]
    pub fn label(&self) -> &str {
        self.display.label.as_deref().unwrap_or(&self.name)
    }
}

/// What a tracepoint is, apart from what is attached to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracepointSpec {
    name: String,
    colon: usize,
    id: u16,
    fields: Vec<Field>,
    record_size: usize,
    duration: Option<usize>,
    pub(super) context: ContextPlan,
}

impl TracepointSpec {
    /// Lays out a tracepoint.
    ///
    /// # Errors
    /// One of [`EventError`]'s first group for a definition that cannot be.
    pub fn new(name: &str, id: u16, fields: Vec<FieldSpec>) -> Result<TracepointSpec, EventError> {
        let colon = match name.split_once(':') {
            Some((subsystem, event)) if is_identifier(subsystem) && is_identifier(event) => subsystem.len(),
            _ => return Err(EventError::InvalidName { name: name.to_owned() }),
        };
        let mut names = std::collections::HashSet::new();
        for field in &fields {
            check_field(name, field)?;
            if !names.insert(field.name.as_str()) {
                return Err(EventError::DuplicateField { tracepoint: name.to_owned(), field: field.name.clone() });
            }
        }
        let mut durations = (0..fields.len()).filter(|&i| fields[i].role == Role::Duration);
        let duration = durations.next();
        if let (Some(first), Some(second)) = (duration, durations.next()) {
            return Err(EventError::TwoDurations {
                tracepoint: name.to_owned(),
                first: fields[first].name.clone(),
                second: fields[second].name.clone(),
            });
        }

        // A field has at most 2^35 bytes: the sum cannot overflow before it is too large.
        let mut end = HEADER_SIZE as u64;
        let mut align = 4;
        let mut placed = Vec::with_capacity(fields.len());
        for FieldSpec { name: field, ty, display, role } in fields {
            let offset = end.next_multiple_of(ty.align());
            end = offset + ty.size();
            align = align.max(ty.align());
            let size = end.next_multiple_of(align);
            if size > MAX_RECORD_SIZE as u64 {
                return Err(EventError::RecordTooLarge { tracepoint: name.to_owned(), size, max: MAX_RECORD_SIZE });
            }
            placed.push(Field { name: field, ty, display, role, offset: offset as usize });
        }
        let record_size = end.next_multiple_of(align) as usize;
        let context = ContextPlan::new(&placed, duration);
        Ok(TracepointSpec { name: name.to_owned(), colon, id, fields: placed, record_size, duration, context })
    }

    /// `subsystem:event`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part before the colon.
    #[must_use]
    pub fn subsystem(&self) -> &str {
        &self.name[..self.colon]
    }

    /// The part behind the colon.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.name[self.colon + 1..]
    }

    /// Number: `common_type` of the records, `ID:` of the format, `tracepoint_id` of the TraceContext.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Fields in the order of their declaration, which is that of their offsets.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Bytes of a record.
    #[must_use]
    pub const fn record_size(&self) -> usize {
        self.record_size
    }

    /// The field with the duration, if there is one.
    #[must_use]
    pub fn duration(&self) -> Option<&Field> {
        self.duration.map(|i| &self.fields[i])
    }

    /// Index of a field.
    ///
    /// # Errors
    /// [`EventError::UnknownField`], which names the nearest one.
    pub fn field_index(&self, name: &str) -> Result<usize, EventError> {
        self.fields.iter().position(|field| field.name == name).ok_or_else(|| EventError::UnknownField {
            tracepoint: self.name.clone(),
            field: name.to_owned(),
            nearest: nearest(name, self.fields.iter().map(|field| field.name.as_str())),
        })
    }
}

fn check_field(tracepoint: &str, field: &FieldSpec) -> Result<(), EventError> {
    let (tracepoint, name, ty) = (tracepoint.to_owned(), field.name.clone(), field.ty);
    if !is_identifier(&name) || C_KEYWORDS.contains(&name.as_str()) {
        return Err(EventError::InvalidFieldName { tracepoint, field: name });
    }
    if name == "time_ns" || name == "cpu" || name.starts_with("common_") {
        return Err(EventError::ReservedFieldName { tracepoint, field: name });
    }
    if ty.size() == 0 {
        return Err(EventError::EmptyArray { tracepoint, field: name });
    }
    let unsigned = ty.scalar().is_some_and(|scalar| !scalar.is_signed() && scalar != Scalar::Bool);
    if field.role == Role::Duration && !unsigned {
        return Err(EventError::DurationType { tracepoint, field: name, ty });
    }
    let why = match field.display.form {
        Form::Hex if matches!(ty, FieldType::Text(_)) => Some("hex is for numbers"),
        Form::Scaled { .. } if !unsigned => Some("a divisor is for unsigned integers"),
        Form::Scaled { divisor: 0, .. } => Some("the divisor is zero"),
        _ => None,
    };
    if let Some(why) = why {
        return Err(EventError::DisplayForm { tracepoint, field: name, ty, why });
    }
    let suffix = if let Form::Scaled { suffix, .. } = &field.display.form { Some(suffix) } else { None };
    let bad = |text: &str| text.chars().any(|c| c.is_control() || "%\"\\{}".contains(c));
    let label = field.display.label.as_ref().filter(|label| label.is_empty() || bad(label));
    if let Some(text) = label.or(suffix.filter(|suffix| bad(suffix))) {
        return Err(EventError::DisplayText { tracepoint, field: name, text: text.clone() });
    }
    Ok(())
}

fn is_identifier(text: &str) -> bool {
    let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    rest_ok && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn field(text: &str) -> FieldSpec {
        let (name, ty) = text.split_once(':').unwrap();
        FieldSpec::new(name, ty.parse().unwrap())
    }

    fn define(fields: Vec<FieldSpec>) -> Result<TracepointSpec, EventError> {
        TracepointSpec::new("vmm:probe", 7, fields)
    }

    #[test]
    fn a_name_has_two_parts() {
        let spec = TracepointSpec::new("vmm:vcpu_run_exit", 21, vec![]).unwrap();
        assert_eq!((spec.subsystem(), spec.event(), spec.id(), spec.record_size()), ("vmm", "vcpu_run_exit", 21, 8));
        for name in ["", "vmm", ":", "vmm:", ":x", "vmm:a:b", "vmm:a b", "vmm:1a", "vmm:ä"] {
            let error = TracepointSpec::new(name, 1, vec![]).unwrap_err();
            assert_eq!(error, EventError::InvalidName { name: name.to_owned() });
        }
    }

    #[test]
    fn field_names_are_identifiers_and_unique() {
        for name in ["", "a-b", "1a", "int", "bool"] {
            let error = define(vec![FieldSpec::new(name, FieldType::Scalar(Scalar::U8))]).unwrap_err();
            assert!(matches!(error, EventError::InvalidFieldName { field, .. } if field == name));
        }
        for name in ["time_ns", "cpu", "common_pid", "common_x"] {
            let error = define(vec![FieldSpec::new(name, FieldType::Scalar(Scalar::U8))]).unwrap_err();
            assert!(matches!(error, EventError::ReservedFieldName { field, .. } if field == name));
        }
        let error = define(vec![field("a:u8"), field("b:u8"), field("a:u64")]).unwrap_err();
        assert!(matches!(error, EventError::DuplicateField { field, .. } if field == "a"));
    }

    #[test]
    fn an_unknown_field_names_the_nearest() {
        let spec = define(vec![field("vm_id:u32"), field("duration_ns:u64")]).unwrap();
        assert_eq!(spec.field_index("duration_ns"), Ok(1));
        let error = spec.field_index("duration").unwrap_err();
        assert_eq!(error.to_string(), "vmm:probe has no field duration; did you mean duration_ns?");
        assert_eq!(spec.field_index("zzz").unwrap_err().to_string(), "vmm:probe has no field zzz");
    }

    #[test]
    fn a_record_stays_within_reach_of_programs() {
        assert_eq!(define(vec![field("a:[char; 8180]")]).unwrap().record_size(), 8188);
        for (ty, size) in [("[char; 8184]", 8192), ("[u64; 4294967295]", 8 + 8 * u64::from(u32::MAX))] {
            let error = define(vec![field(&format!("a:{ty}"))]).unwrap_err();
            assert!(matches!(error, EventError::RecordTooLarge { size: s, max: 8191, .. } if s == size), "{error}");
        }
        assert!(matches!(define(vec![field("a:[u8; 0]")]), Err(EventError::EmptyArray { .. })));
    }

    #[test]
    fn a_duration_is_one_unsigned_integer() {
        let with = |name: &str, ty: &str| FieldSpec { role: Role::Duration, ..field(&format!("{name}:{ty}")) };
        let spec = define(vec![field("a:u32"), with("d", "u64")]).unwrap();
        assert_eq!(spec.duration().unwrap().name, "d");
        for ty in ["i64", "bool", "[u64; 1]", "[char; 8]"] {
            assert!(matches!(define(vec![with("d", ty)]), Err(EventError::DurationType { .. })));
        }
        let error = define(vec![with("d", "u64"), with("e", "u32")]).unwrap_err();
        assert!(matches!(error, EventError::TwoDurations { first, second, .. } if first == "d" && second == "e"));
    }

    #[test]
    fn display_must_suit_the_type() {
        let scaled = |divisor, suffix: &str| Form::Scaled { divisor, suffix: suffix.to_owned() };
        let with = |ty: &str, form| {
            let display = Display { label: None, form };
            define(vec![FieldSpec { display, ..field(&format!("a:{ty}")) }])
        };
        assert!(with("u64", scaled(1024, "µs")).is_ok());
        for (ty, form) in [
            ("[char; 8]", Form::Hex),
            ("i64", scaled(2, "")),
            ("bool", scaled(2, "")),
            ("[u64; 2]", scaled(2, "")),
            ("u64", scaled(0, "")),
        ] {
            assert!(matches!(with(ty, form), Err(EventError::DisplayForm { .. })));
        }
        for text in ["%", "a\"", "\\", "a\n", "{"] {
            assert!(matches!(with("u64", scaled(2, text)), Err(EventError::DisplayText { .. })));
            let display = Display { label: Some(text.to_owned()), form: Form::Decimal };
            let error = define(vec![FieldSpec { display, ..field("a:u8") }]).unwrap_err();
            assert!(matches!(error, EventError::DisplayText { text: t, .. } if t == text));
        }
        let display = Display { label: Some(String::new()), form: Form::Decimal };
        assert!(define(vec![FieldSpec { display, ..field("a:u8") }]).is_err());
    }
}
