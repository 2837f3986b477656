//! The `format` file of a tracepoint, in Linux's form (as tracefs prints it; libtraceevent, trace-cmd and perf read it)
//! or AxVisor's.

use std::fmt::Write;

use super::field::{FieldType, Form, Scalar};
use super::text::Style;
use super::tracepoint::{COMMON_FIELDS, Field, TracepointSpec};

/// The text of the `format` file.
#[must_use]
pub fn format(style: Style, spec: &TracepointSpec) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "name: {}\nID: {}\nformat:", spec.event(), spec.id());
    match style {
        Style::Linux => linux(spec, &mut out),
        Style::Axvisor => axvisor(spec, &mut out),
    }
    out
}

fn linux(spec: &TracepointSpec, out: &mut String) {
    for (ty, name, offset, scalar) in COMMON_FIELDS {
        linux_field(&format!("{ty} {name}"), offset, scalar.size() as u64, scalar.is_signed(), out);
    }
    out.push('\n');
    for field in spec.fields() {
        let signed = matches!(field.ty, FieldType::Scalar(s) | FieldType::Array(s, _) if s.is_signed());
        linux_field(&c_declaration(field), field.offset, field.ty.size(), signed, out);
    }
    let shown =
        spec.fields().iter().map(|f| format!("{}={}", f.label(), c_conversion(f))).collect::<Vec<_>>().join(" ");
    let _ = write!(out, "\nprint fmt: \"{shown}\"");
    spec.fields().iter().for_each(|f| c_arguments(f, out));
    out.push('\n');
}

fn linux_field(declaration: &str, offset: usize, size: u64, signed: bool, out: &mut String) {
    let signed = u8::from(signed);
    let _ = writeln!(out, "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};");
}

/// `u32 vm_id`, `char comm[16]`.
fn c_declaration(field: &Field) -> String {
    let name = &field.name;
    match field.ty {
        FieldType::Scalar(scalar) => format!("{} {name}", scalar.c_name()),
        FieldType::Text(len) => format!("char {name}[{len}]"),
        FieldType::Array(scalar, len) => format!("{} {name}[{len}]", scalar.c_name()),
    }
}

/// The printf conversions of a field's value.
fn c_conversion(field: &Field) -> String {
    match (field.ty, &field.display.form) {
        (FieldType::Text(_), _) => "%s".to_owned(),
        (FieldType::Scalar(scalar), Form::Scaled { suffix, .. }) => format!("{}{suffix}", c_number(scalar, false)),
        (FieldType::Scalar(scalar), form) => c_number(scalar, *form == Form::Hex),
        // Element by element: what `__print_array` prints depends on who prints it.
        (FieldType::Array(scalar, len), form) => {
            format!("{{{}}}", vec![c_number(scalar, *form == Form::Hex); len as usize].join(","))
        }
    }
}

/// The printf conversion of a number.
///
/// Signed numbers below 32 bits have the length in the conversion: libtraceevent does not extend them by their sign.
fn c_number(scalar: Scalar, hex: bool) -> String {
    let length = match scalar {
        Scalar::I8 => "hh",
        Scalar::I16 => "h",
        Scalar::U64 | Scalar::I64 => "ll",
        _ => "",
    };
    let letter = match scalar {
        _ if hex => 'x',
        Scalar::Bool => 'd',
        _ if scalar.is_signed() => 'd',
        _ => 'u',
    };
    format!("{}%{length}{letter}", if hex { "0x" } else { "" })
}

/// `, REC->vm_id`.
fn c_arguments(field: &Field, out: &mut String) {
    let name = &field.name;
    let _ = match (field.ty, &field.display.form) {
        (FieldType::Array(_, len), _) => (0..len).try_for_each(|i| write!(out, ", REC->{name}[{i}]")),
        (_, Form::Scaled { divisor, .. }) => write!(out, ", REC->{name} / {divisor}"),
        _ => write!(out, ", REC->{name}"),
    };
}

fn axvisor(spec: &TracepointSpec, out: &mut String) {
    for (_, name, offset, scalar) in COMMON_FIELDS {
        let (ty, size, signed) = (scalar.rust_name(), scalar.size(), u8::from(scalar.is_signed()));
        let _ = writeln!(out, "\tfield: {ty} {name}; offset: {offset}; size: {size}; signed: {signed};");
    }
    out.push('\n');
    for Field { name, ty, offset, .. } in spec.fields() {
        // A text is an array of bytes to Rust, and only a single number counts as signed.
        let rust = if let FieldType::Text(len) = ty { format!("[u8; {len}]") } else { ty.to_string() };
        let signed = u8::from(ty.scalar().is_some_and(Scalar::is_signed));
        let _ = writeln!(out, "\tfield: {rust} {name} offset: {offset}; size: {}; signed: {signed};", ty.size());
    }
    let shown =
        spec.fields().iter().map(|f| format!("{}={}", f.label(), rust_placeholder(f))).collect::<Vec<_>>().join(" ");
    let _ = write!(out, "\nprint fmt: \"format_args!(\"{shown}\"");
    spec.fields().iter().for_each(|f| rust_arguments(f, out));
    out.push_str(")\"\n");
}

/// The placeholders of a field's value in Rust's `format_args!`.
fn rust_placeholder(field: &Field) -> String {
    let number = if field.display.form == Form::Hex { "{:#x}" } else { "{}" };
    match (field.ty, &field.display.form) {
        (FieldType::Scalar(_), Form::Scaled { suffix, .. }) => format!("{{}}{suffix}"),
        (FieldType::Array(_, len), _) => format!("{{{{{}}}}}", vec![number; len as usize].join(",")),
        _ => number.to_owned(),
    }
}

/// `, __entry.vm_id`.
fn rust_arguments(field: &Field, out: &mut String) {
    let name = &field.name;
    let _ = match field.ty {
        FieldType::Array(_, len) => (0..len).try_for_each(|i| write!(out, ", __entry.{name}[{i}]")),
        FieldType::Text(_) => write!(out, ", String::from_utf8_lossy(&__entry.{name})"),
        FieldType::Scalar(_) => write!(out, ", __entry.{name}"),
    };
    if let Form::Scaled { divisor, .. } = field.display.form {
        rust_division(divisor, out);
    }
}

/// ` / 1024 / 1024`: AxVisor writes binary units as their steps.
fn rust_division(divisor: u64, out: &mut String) {
    let mut rest = divisor;
    while rest >= 1024 && rest.is_multiple_of(1024) {
        out.push_str(" / 1024");
        rest /= 1024;
    }
    if rest != 1 || divisor == 1 {
        let _ = write!(out, " / {rest}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::field::{Display, FieldSpec};
    use super::*;

    fn vm_create() -> TracepointSpec {
        let display = |label: &str, form| Display { label: Some(label.to_owned()), form };
        let scaled = Form::Scaled { divisor: 1024 * 1024, suffix: "MB".to_owned() };
        let u32 = FieldType::Scalar(Scalar::U32);
        let u64 = FieldType::Scalar(Scalar::U64);
        let fields = vec![
            FieldSpec::new("vm_id", u32),
            FieldSpec { display: display("vcpus", Form::Decimal), ..FieldSpec::new("vcpu_num", u32) },
            FieldSpec { display: display("memory", scaled), ..FieldSpec::new("memory_size", u64) },
        ];
        TracepointSpec::new("vmm:vm_create", 1, fields).unwrap()
    }

    #[test]
    fn linux_form() {
        let expected = "name: vm_create
ID: 1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:u32 vm_id;\toffset:8;\tsize:4;\tsigned:0;
\tfield:u32 vcpu_num;\toffset:12;\tsize:4;\tsigned:0;
\tfield:u64 memory_size;\toffset:16;\tsize:8;\tsigned:0;

print fmt: \"vm_id=%u vcpus=%u memory=%lluMB\", REC->vm_id, REC->vcpu_num, REC->memory_size / 1048576
";
        assert_eq!(format(Style::Linux, &vm_create()), expected);
    }

    #[test]
    fn axvisor_form() {
        let expected = "name: vm_create
ID: 1
format:
\tfield: u16 common_type; offset: 0; size: 2; signed: 0;
\tfield: u8 common_flags; offset: 2; size: 1; signed: 0;
\tfield: u8 common_preempt_count; offset: 3; size: 1; signed: 0;
\tfield: i32 common_pid; offset: 4; size: 4; signed: 1;

\tfield: u32 vm_id offset: 8; size: 4; signed: 0;
\tfield: u32 vcpu_num offset: 12; size: 4; signed: 0;
\tfield: u64 memory_size offset: 16; size: 8; signed: 0;

print fmt: \"format_args!(\"vm_id={} vcpus={} memory={}MB\", __entry.vm_id, __entry.vcpu_num, __entry.memory_size / 1024 / 1024)\"
";
        assert_eq!(format(Style::Axvisor, &vm_create()), expected);
    }

    #[test]
    fn arrays_are_shown_by_their_elements() {
        let field = |name: &str, ty: &str, form| {
            let display = Display { label: None, form };
            FieldSpec { display, ..FieldSpec::new(name, ty.parse().unwrap()) }
        };
        let fields = vec![field("who", "[char; 4]", Form::Decimal), field("v", "[i16; 2]", Form::Hex)];
        let spec = TracepointSpec::new("vmm:probe", 1, fields).unwrap();
        let last_lines = |style| format(style, &spec).lines().skip(8).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            last_lines(Style::Linux),
            [
                "\tfield:char who[4];\toffset:8;\tsize:4;\tsigned:0;",
                "\tfield:s16 v[2];\toffset:12;\tsize:4;\tsigned:1;",
                "",
                "print fmt: \"who=%s v={0x%hx,0x%hx}\", REC->who, REC->v[0], REC->v[1]",
            ]
        );
        assert_eq!(
            last_lines(Style::Axvisor),
            [
                "\tfield: [u8; 4] who offset: 8; size: 4; signed: 0;",
                "\tfield: [i16; 2] v offset: 12; size: 4; signed: 0;",
                "",
                "print fmt: \"format_args!(\"who={} v={{{:#x},{:#x}}}\", String::from_utf8_lossy(&__entry.who), __entry.v[0], __entry.v[1])\"",
            ]
        );
    }

    #[test]
    fn divisions_keep_their_value() {
        for (divisor, text) in [(1, " / 1"), (1000, " / 1000"), (1024, " / 1024"), (3 << 20, " / 1024 / 1024 / 3")] {
            let mut out = String::new();
            rust_division(divisor, &mut out);
            assert_eq!(out, text);
        }
    }
}
