//! Every way in which an object can be refused: a test a variant, and the words that a person needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;

use axebpf_core::btf::BtfError;
use axebpf_core::object::{LoadReason, UnknownMapKind};
use object_fixtures::refusals::*;
use object_fixtures::*;

#[test]
fn the_writer_writes_what_is_accepted() {
    let object = parse(&good().0.finish()).unwrap();
    let program = object.programs[0].program.as_ref().unwrap();
    assert_eq!((program.name.as_str(), program.insns.len()), ("program", 3));
}

#[test]
fn an_object_may_lie_at_any_address() {
    let data = good().0.finish();
    for shift in 0..8 {
        let shifted = [&vec![0; shift][..], &data].concat();
        parse(&shifted[shift..]).unwrap();
    }
}

#[test]
fn not_elf() {
    for data in [&b""[..], b"\x7fEL", b"#!/bin/sh\n", b"BC\xc0\xde"] {
        let error = refused(data);
        assert!(matches!(*error.reason, LoadReason::NotElf { .. }), "{error}");
        says(&error, &["clang", "-target bpf"]);
    }
    says(&refused(b"#!/bin/sh\n"), &["23 21 2f 62", "#!/bin/s"]);
    says(&refused(b""), &["empty"]);
}

#[test]
fn class_of_32_bits() {
    let mut data = good().0.finish();
    data[4] = 1;
    assert_eq!(*refused(&data).reason, LoadReason::Class { found: 1 });
}

#[test]
fn byte_order_of_big_endian() {
    let mut data = good().0.finish();
    data[5] = 2;
    let error = refused(&data);
    assert_eq!(*error.reason, LoadReason::ByteOrder { found: 2 });
    says(&error, &["-target bpfel"]);
}

#[test]
fn foreign_machine() {
    let mut data = good().0.finish();
    data[18..20].copy_from_slice(&62_u16.to_le_bytes());
    says(&refused(&data), &["this is an object for EM_X86_64"]);
    data[18..20].copy_from_slice(&9999_u16.to_le_bytes());
    assert_eq!(*refused(&data).reason, LoadReason::Machine { found: "machine 9999".into() });
    data[18..20].copy_from_slice(&0_u16.to_le_bytes());
    parse(&data).unwrap(); // EM_NONE: old compilers
}

#[test]
fn not_relocatable() {
    let mut data = good().0.finish();
    data[16] = 2;
    assert_eq!(*refused(&data).reason, LoadReason::NotRelocatable { found: 2 });
}

#[test]
fn malformed() {
    let data = good().0.finish();
    for cut in [20, 63, 64, 100, data.len() - 64, data.len() - 1] {
        let error = refused(&data[..cut]);
        assert!(matches!(*error.reason, LoadReason::Malformed { .. }), "{cut}: {error}");
    }
}

#[test]
fn relocations_with_addends() {
    let (mut elf, section) = good();
    elf.addends(section);
    let error = refused(&elf.finish());
    assert_eq!((&*error.reason, error.section.as_deref()), (&LoadReason::Addends, Some("tp/vmm/a")));
}

#[test]
fn too_many() {
    let what = |data: &[u8]| match *refused(data).reason {
        LoadReason::TooMany { what, found, limit } => {
            assert!(found > limit);
            (what, limit)
        }
        other => panic!("{other}"),
    };
    let (mut elf, _) = good();
    elf.zeros(".bss", 1 << 62);
    elf.zeros(".bss.more", u64::MAX);
    assert_eq!(what(&elf.finish()), ("bytes of data sections", 64 << 20));

    let (mut elf, _) = good();
    elf.code("big", &vec![0; 8_000_000]);
    assert_eq!(what(&elf.finish()), ("instructions", 1_000_000));

    let mut elf = ElfWriter::new();
    let section = elf.code("many", &vec![0x95; 8 * 4097]);
    for n in 0..4097 {
        elf.symbol(&format!("f{n}"), FUNCTION | GLOBAL, section, n * 8, 8);
    }
    assert_eq!(what(&elf.finish()), ("functions", 4096));

    let mut elf = ElfWriter::new();
    let section = elf.code("over", &vec![0; 800_000]);
    for n in 0..4000 {
        elf.symbol(&format!("f{n}"), FUNCTION | GLOBAL, section, 0, 800_000);
    }
    assert_eq!(what(&elf.finish()), ("instructions in overlapping functions", 4_000_000));

    let (mut elf, _) = good();
    for n in 0..4097 {
        elf.section(&format!("data{n}"), PROGBITS, ALLOC, &[1]);
    }
    assert_eq!(what(&elf.finish()), ("maps", 4096));

    let (mut elf, _) = good();
    for _ in 0..262_145 {
        elf.symbol("", 0, 0, 0, 0);
    }
    assert_eq!(what(&elf.finish()), ("symbols", 262_144));

    assert_eq!(what(&vec![0; (256 << 20) + 1]), ("bytes", 256 << 20));
}

#[test]
fn no_programs() {
    let mut elf = ElfWriter::new();
    elf.section(".data", PROGBITS, ALLOC | WRITE, &[1, 2, 3]);
    let error = refused(&elf.finish());
    assert_eq!(*error.reason, LoadReason::NoPrograms);
    says(&error, &["SEC("]);
    assert_eq!(*refused(&ElfWriter::new().finish()).reason, LoadReason::NoPrograms);
}

#[test]
fn bad_btf() {
    let (mut elf, _) = good();
    elf.section(".BTF", PROGBITS, 0, b"nonsense, and long enough to be a header");
    let error = refused(&elf.finish());
    let expected = BtfError::Magic { section: ".BTF", found: *b"no" };
    assert_eq!((&*error.reason, error.section.as_deref()), (&LoadReason::Btf(expected), Some(".BTF")));
}

#[test]
fn maps_without_btf() {
    let (mut elf, _) = good();
    elf.section(".maps", PROGBITS, ALLOC | WRITE, &[0; 32]);
    let error = refused(&elf.finish());
    assert_eq!((&*error.reason, error.section.as_deref()), (&LoadReason::MapsWithoutBtf, Some(".maps")));
    says(&error, &["-g"]);
}

/// Compiles a map definition beside a program; `None` without a compiler.
fn with_map(definition: &str) -> Option<Vec<u8>> {
    let clang = clang()?;
    let source = scratch("map.c");
    let program = "SEC(\"tp/vmm/a\") int program(void *c) { return map_lookup(&MAP, c) != 0; }";
    std::fs::write(&source, format!("#include \"bench.h\"\n{definition}\n{program}\n")).unwrap();
    let output = scratch("map.o");
    compile_to(clang, &source, &["-Wno-unused"], &output);
    Some(std::fs::read(output).unwrap())
}

fn map_struct(fields: &str) -> String {
    format!("struct {{ {fields} }} MAP SEC(\".maps\");")
}

#[test]
fn unknown_map_field() {
    let Some(data) = with_map(&map_struct("__uint(type, 2); __uint(max_entrys, 4);")) else { return };
    let error = refused(&data);
    let expected =
        LoadReason::UnknownMapField { map: "MAP".into(), field: "max_entrys".into(), nearest: "max_entries" };
    assert_eq!((&*error.reason, error.section.as_deref()), (&expected, Some(".maps")));
    says(&error, &["did you mean max_entries?"]);
}

const VALUES: &str = "of maps in a map of maps, of programs in a program array, and nowhere else";

#[test]
fn map_field_of_another_form() {
    let cases = [
        ("int type;", "type", "__uint(…)"),
        ("__uint(type, 2); int key;", "key", "__type(…)"),
        ("__uint(type, 2); __type(key, u32); __uint(key_size, 8);", "key_size", "the size of the type"),
        ("__uint(type, 12); __uint(values, 3);", "values", "__array(values, …) of a map definition or of programs"),
        (
            "__uint(type, 12); int (*values[3])(void);",
            "values",
            "__array(values, …) of a map definition or of programs",
        ),
        ("int (*values[0])(void *); __uint(type, 3);", "values", "the last member"),
        ("__uint(type, 1); __array(values, int(void *));", "values", VALUES),
        ("__uint(type, 12); __array(values, int(void *));", "values", VALUES),
        ("__uint(type, 3); __array(values, struct { __uint(type, 1); });", "values", VALUES),
        (
            "__uint(type, 12); __array(values, struct { __uint(type, 1); __uint(pinning, 1); });",
            "pinning",
            "none for an inner map",
        ),
    ];
    for (fields, field, expected) in cases {
        let Some(data) = with_map(&map_struct(fields)) else { return };
        match *refused(&data).reason {
            LoadReason::MapField { map, field: found, expected: form, .. } => {
                assert_eq!((map.as_str(), found.as_str(), form), ("MAP", field, expected));
            }
            other => panic!("{other}"),
        }
    }
    let Some(data) = with_map("int MAP SEC(\".maps\");") else { return };
    assert!(matches!(*refused(&data).reason, LoadReason::MapField { .. }));
}

#[test]
fn map_without_type() {
    let Some(data) = with_map(&map_struct("__uint(max_entries, 4);")) else { return };
    assert_eq!(*refused(&data).reason, LoadReason::MapWithoutType { map: "MAP".into() });
}

#[test]
fn unknown_map_kind() {
    let Some(data) = with_map(&map_struct("__uint(type, 777); __uint(max_entries, 4);")) else { return };
    let object = parse(&data).unwrap();
    let map = object.map("MAP").unwrap();
    assert_eq!((map.kind, map.map_kind()), (777, None));
    assert_eq!(map.spec().unwrap_err(), UnknownMapKind { map: "MAP".into(), kind: 777 });
}

#[test]
fn capacity_of_a_ring_buffer_is_whole_pages() {
    for (stated, expected) in [(1, 4096), (4096, 4096), (4097, 8192), (12288, 16384), (0, 0)] {
        let Some(data) = with_map(&map_struct(&format!("__uint(type, 27); __uint(max_entries, {stated});"))) else {
            return;
        };
        assert_eq!(parse(&data).unwrap().map("MAP").unwrap().max_entries, expected, "{stated}");
    }
}

#[test]
fn duplicate_map() {
    let (mut elf, _) = good();
    elf.section(".data", PROGBITS, ALLOC | WRITE, &[1]);
    elf.section(".data", PROGBITS, ALLOC | WRITE, &[2]);
    assert_eq!(*refused(&elf.finish()).reason, LoadReason::DuplicateMap { map: ".data".into() });
}

#[test]
fn legacy_map_of_another_length() {
    let (mut elf, _) = good();
    let maps = elf.section("maps", PROGBITS, ALLOC | WRITE, &[1; 12]);
    elf.symbol("COUNTS", OBJECT | GLOBAL, maps, 0, 12);
    let error = refused(&elf.finish());
    assert_eq!(*error.reason, LoadReason::LegacyMap { map: "COUNTS".into(), found: 12 });
}

#[test]
fn map_value_that_is_no_map() {
    let definition = "extern int nowhere; struct { __uint(type, 3); __uint(key_size, 4); __uint(max_entries, 1); \
                      __array(values, int(void *)); } MAP SEC(\".maps\") = { .values = { [0] = (void *)&nowhere } };";
    let Some(data) = with_map(definition) else { return };
    let error = refused(&data);
    let expected = LoadReason::MapValue { map: "MAP".into(), slot: 0, symbol: "nowhere".into() };
    assert_eq!(*error.reason, expected);
}

#[test]
fn map_value_of_the_wrong_sort() {
    // A map in a program array, a program in a map of maps, and a function that is no program.
    let jumps = "__uint(type, 3); __uint(key_size, 4); __uint(max_entries, 1); __array(values, int(void *));";
    let inner = "struct inner { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, u64); };";
    let maps = "__uint(type, 12); __type(key, u32); __uint(max_entries, 1); __array(values, struct inner);";
    for (before, fields, symbol) in [
        (format!("{inner} struct inner OTHER SEC(\".maps\");"), jumps, "OTHER"),
        (format!("{inner} int program(void *);"), maps, "program"),
        ("NOINLINE int helper(void *ctx) { return 1; }".to_owned(), jumps, "helper"),
    ] {
        let definition = format!(
            "{before} struct {{ {fields} }} MAP SEC(\".maps\") = {{ .values = {{ [0] = (void *)&{symbol} }} }};"
        );
        let Some(data) = with_map(&definition) else { return };
        let expected = LoadReason::MapValue { map: "MAP".into(), slot: 0, symbol: symbol.into() };
        assert_eq!(*refused(&data).reason, expected);
    }
}

#[test]
fn variable_outside_its_section() {
    let (mut elf, _) = good();
    let data = elf.section(".data", PROGBITS, ALLOC | WRITE, &[0; 8]);
    elf.symbol("inside", OBJECT | GLOBAL, data, 0, 8);
    elf.symbol("outside", OBJECT | GLOBAL, data, 4, 8);
    let error = refused(&elf.finish());
    assert_eq!(*error.reason, LoadReason::Variable { variable: "outside".into(), size: 8, found: 8 });
    assert_eq!((error.section.as_deref(), error.offset), (Some(".data"), Some(4)));
}

#[test]
fn function_of_half_instructions_or_outside() {
    for (value, size) in [(0, 20), (4, 8), (0, 32), (16, 16), (u64::MAX - 7, 16), (24, 0)] {
        let mut elf = ElfWriter::new();
        let section = elf.code("tp/vmm/a", &three());
        elf.symbol("program", FUNCTION | GLOBAL, section, value, size);
        let error = refused(&elf.finish());
        assert!(matches!(*error.reason, LoadReason::Function { found: 24, .. }), "{error}");
    }
}

#[test]
fn functions_are_found_by_labels_or_sections_too() {
    let names = |elf: ElfWriter| -> Vec<(String, usize)> {
        let object = parse(&elf.finish()).unwrap();
        object.programs.iter().map(|p| (p.name.clone(), p.program.as_ref().unwrap().insns.len())).collect()
    };
    let mut elf = ElfWriter::new();
    let section = elf.code("tp/vmm/a", &three());
    elf.symbol("first", LABEL | GLOBAL, section, 0, 0);
    elf.symbol("LBB0_1", LABEL, section, 8, 0);
    elf.symbol("second", LABEL | GLOBAL, section, 16, 0);
    assert_eq!(names(elf), [("first".into(), 2), ("second".into(), 1)]);

    let mut elf = ElfWriter::new();
    let section = elf.code("tp/vmm/a", &three());
    elf.symbol("local", LABEL, section, 0, 0);
    elf.symbol("LBB0_1", LABEL, section, 8, 0);
    assert_eq!(names(elf), [("local".into(), 3)]);

    let mut elf = ElfWriter::new();
    elf.code("mem/sum", &three());
    assert_eq!(names(elf), [("mem/sum".into(), 3)]);
}

#[test]
fn a_question_mark_means_on_request() {
    let mut elf = ElfWriter::new();
    elf.code("?tp/vmm/a", &three());
    let object = parse(&elf.finish()).unwrap();
    assert!(!object.programs[0].autoload && object.programs[0].target.as_deref() == Some("vmm:a"));
}
