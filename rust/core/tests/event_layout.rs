//! The layout of records: as the table says, and as a C compiler lays the same structures out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod event_definitions;

use std::fmt::Write;
use std::process::Command;

use axebpf_core::event::{FieldType, TracepointSpec};
use event_definitions::{Random, definitions, random_spec};

#[test]
fn the_29_records_are_laid_out_as_the_hypervisor_has_them() {
    let definitions = definitions();
    assert_eq!(definitions.len(), 29);
    for definition in definitions {
        let spec = &definition.spec;
        let offsets: Vec<usize> = spec.fields().iter().map(|field| field.offset).collect();
        assert_eq!((spec.record_size(), offsets), (definition.size, definition.offsets), "{}", spec.name());
        assert_eq!(spec.duration().is_some(), spec.fields().iter().any(|f| f.name == "duration_ns"), "{}", spec.name());
    }
}

#[test]
fn a_c_compiler_lays_records_out_the_same() {
    let mut random = Random(1);
    let mut specs: Vec<TracepointSpec> = definitions().into_iter().map(|definition| definition.spec).collect();
    specs.extend((1000..1200).map(|id| random_spec(&mut random, id)));

    let mut source =
        String::from("#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
    let mut main = String::new();
    let mut expected = String::new();
    for spec in &specs {
        let id = spec.id();
        let members: String = spec.fields().iter().map(|field| member(&field.name, field.ty)).collect();
        let common = "unsigned short common_type; unsigned char common_flags, common_preempt_count; int common_pid;";
        writeln!(source, "struct record{id} {{ {common} {members}}};").unwrap();
        writeln!(main, "printf(\"{id} %zu\\n\", sizeof(struct record{id}));").unwrap();
        writeln!(expected, "{id} {}", spec.record_size()).unwrap();
        for field in spec.fields() {
            let name = &field.name;
            writeln!(main, "printf(\"{name} %zu\\n\", offsetof(struct record{id}, {name}));").unwrap();
            writeln!(expected, "{name} {}", field.offset).unwrap();
        }
    }
    writeln!(source, "int main(void) {{ {main} return 0; }}").unwrap();

    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, program) = (directory.join("event_layout.c"), directory.join("event_layout"));
    std::fs::write(&file, source).unwrap();
    let compiler = match Command::new("cc").arg("-o").arg(&program).arg(&file).output() {
        Ok(compiler) => compiler,
        Err(error) => return eprintln!("skipped: no C compiler (cc): {error}"),
    };
    assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));
    let output = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// A C declaration by the standard's own type names.
fn member(name: &str, ty: FieldType) -> String {
    let c_type = |rust: &str| match (rust, rust.split_at(1)) {
        ("bool", _) => "bool".to_owned(),
        (_, ("u", bits)) => format!("uint{bits}_t"),
        (_, (_, bits)) => format!("int{bits}_t"),
    };
    match ty {
        FieldType::Scalar(scalar) => format!("{} {name}; ", c_type(scalar.rust_name())),
        FieldType::Text(len) => format!("char {name}[{len}]; "),
        FieldType::Array(scalar, len) => format!("{} {name}[{len}]; ", c_type(scalar.rust_name())),
    }
}
