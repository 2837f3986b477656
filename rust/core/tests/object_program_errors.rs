//! Every way in which one program of an object can be refused: a test a variant, and the words that a person needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;

use axebpf_core::object::{ExternKind, LoadReason};
use object_fixtures::refusals::*;
use object_fixtures::*;

#[test]
fn too_many_in_one_program() {
    // The first function calls 299 others: the call in slot n goes to slot 300 + n.
    let mut code: Vec<u8> = (0..299).flat_map(|_| insn(0x85, 0, 1, 0, 299)).collect();
    (0..300).for_each(|_| code.extend(exit()));
    let mut elf = ElfWriter::new();
    let entry = elf.code("tp/vmm/a", &code);
    elf.symbol("program", FUNCTION | GLOBAL, entry, 0, 300 * 8);
    for n in 0..299 {
        elf.symbol(&format!("f{n}"), FUNCTION, entry, (300 + n) * 8, 8);
    }
    let error = program_refused(&elf.finish());
    let expected = LoadReason::TooMany { what: "functions in one program", found: 257, limit: 256 };
    assert_eq!(*error.reason, expected);

    let mut elf = ElfWriter::new();
    let code: Vec<u8> = (0..65).flat_map(|_| lddw(1, 0, 0, 0)).collect();
    let entry = elf.code("tp/vmm/a", &code);
    elf.symbol("program", FUNCTION | GLOBAL, entry, 0, code.len() as u64);
    let mut relocations = Vec::new();
    for n in 0..65_u64 {
        let data = elf.section(&format!("data{n}"), PROGBITS, ALLOC, &[1]);
        relocations.push((n * 16, elf.symbol("", SECTION, data, 0, 0)));
    }
    elf.relocations(entry, &relocations);
    let error = program_refused(&elf.finish());
    assert_eq!(*error.reason, LoadReason::TooMany { what: "maps used by one program", found: 65, limit: 64 });
}

/// Many programs that share a large function: the whole is bounded, the first ones load.
#[test]
fn too_many_instructions_in_all() {
    let mut elf = ElfWriter::new();
    let large = elf.code(".text", &[vec![0; 799_992], exit().to_vec()].concat());
    let function = elf.symbol("large", FUNCTION | GLOBAL, large, 0, 800_000);
    let code: Vec<u8> = (0..100).flat_map(|_| [insn(0x85, 0, 1, 0, -1), exit()].concat()).collect();
    let section = elf.code("tp/vmm/a", &code);
    let mut relocations = Vec::new();
    for n in 0..100 {
        elf.symbol(&format!("p{n}"), FUNCTION | GLOBAL, section, n * 16, 16);
        relocations.push((n * 16, function));
    }
    elf.relocations(section, &relocations);
    let object = parse(&elf.finish()).unwrap();
    let loaded = object.programs.iter().filter(|program| program.program.is_ok()).count();
    assert_eq!(loaded, 39); // 4,000,000 slots at 100,002 each
    let error = object.programs[99].program.as_ref().unwrap_err();
    assert!(matches!(*error.reason, LoadReason::TooMany { limit: 4_000_000, .. }), "{error}");
}

/// A chain of calls as deep as functions may be.
#[test]
fn a_deep_chain_of_calls_is_linked() {
    let mut elf = ElfWriter::new();
    let mut code: Vec<u8> = (0..255).flat_map(|_| [insn(0x85, 0, 1, 0, 1), exit()].concat()).collect();
    code.extend(exit());
    let section = elf.code("tp/vmm/a", &code);
    elf.symbol("entry", FUNCTION | GLOBAL, section, 0, 16);
    for n in 1..256 {
        elf.symbol(&format!("f{n}"), FUNCTION, section, n * 16, if n < 255 { 16 } else { 8 });
    }
    let object = parse(&elf.finish()).unwrap();
    let program = object.programs[0].program.as_ref().unwrap();
    assert_eq!((program.subprograms.len(), program.insns.len()), (256, 511));
}

#[test]
fn half_instruction() {
    let error = program_refused(&with_code(&lddw(0, 0, 1, 0)[..8], &[], &[]));
    assert_eq!(*error.reason, LoadReason::HalfInstruction);
    assert_eq!(error.function, Some(("program".into(), 0)));
}

#[test]
fn relocation_at_another_instruction() {
    let code = three();
    let error = program_refused(&with_code(&code, &[("x", OBJECT | GLOBAL, 0, 0)], &[(8, 2)]));
    assert_eq!(*error.reason, LoadReason::Relocation { symbol: "x".into(), found: 0xb7 });
    assert_eq!((error.offset, &error.function), (Some(8), &Some(("program".into(), 1))));
    says(&error, &["section tp/vmm/a", "offset 0x8", "function program, instruction 1", "0xb7"]);
}

#[test]
fn relocation_within_an_instruction() {
    let code = [lddw(1, 0, 0, 0), exit().to_vec()].concat();
    let symbols = [("x", OBJECT | GLOBAL, 0, 0)];
    for relocations in [&[(4, 2)][..], &[(8, 2)], &[(0, 2), (0, 2)], &[(0, 2), (8, 2)]] {
        let error = program_refused(&with_code(&code, &symbols, relocations));
        assert_eq!(*error.reason, LoadReason::RelocationOffset { symbol: "x".into() }, "{relocations:?}");
    }
}

#[test]
fn relocation_against_no_symbol() {
    let code = [lddw(1, 0, 0, 0), exit().to_vec()].concat();
    let error = program_refused(&with_code(&code, &[], &[(0, 99)]));
    assert_eq!(*error.reason, LoadReason::NoSymbol { found: 99, count: 2 });
}

#[test]
fn special_section() {
    let code = [lddw(1, 0, 0, 0), exit().to_vec()].concat();
    for (section, words) in [(COMMON, "common"), (ABSOLUTE, "absolute"), (500, "does not exist")] {
        let error = program_refused(&with_code(&code, &[("x", OBJECT | GLOBAL, section, 0)], &[(0, 2)]));
        assert!(matches!(*error.reason, LoadReason::SpecialSection { .. }), "{error}");
        says(&error, &[words, "x has no section"]);
    }
}

/// An object whose program refers to byte `at` of a section.
fn with_reference(section: &str, flags: u64, at: i32) -> Vec<u8> {
    let mut elf = ElfWriter::new();
    let code = [lddw(1, 0, at, 0), exit().to_vec()].concat();
    let entry = elf.code("tp/vmm/a", &code);
    let data = elf.section(section, PROGBITS, flags, &[0; 8]);
    elf.symbol("program", FUNCTION | GLOBAL, entry, 0, 24);
    let symbol = elf.symbol("", SECTION, data, 0, 0);
    elf.relocations(entry, &[(0, symbol)]);
    elf.finish()
}

#[test]
fn reference_to_no_map() {
    let error = program_refused(&with_reference(".debug_str", ALLOC, 4));
    let expected = LoadReason::NoMap { symbol: ".debug_str".into(), target: ".debug_str".into(), at: 4 };
    assert_eq!(*error.reason, expected);
}

#[test]
fn reference_behind_the_data() {
    parse(&with_reference(".data", ALLOC | WRITE, 7)).unwrap().programs[0].program.as_ref().unwrap();
    for at in [8, -1] {
        let error = program_refused(&with_reference(".data", ALLOC | WRITE, at));
        let expected = LoadReason::DataOffset { map: ".data".into(), at: i64::from(at) as u64, size: 8 };
        assert_eq!(*error.reason, expected);
    }
}

#[test]
fn call_to_no_function() {
    let code = [insn(0x85, 0, 1, 0, 5), exit()].concat();
    let error = program_refused(&with_code(&code, &[], &[]));
    assert_eq!(*error.reason, LoadReason::NoFunction { what: "call", target: "tp/vmm/a".into(), at: 6 });
    let code = [lddw(1, 4, 0, 0), exit().to_vec()].concat();
    let error = program_refused(&with_code(&code, &[], &[]));
    assert_eq!(*error.reason, LoadReason::NoFunction { what: "function pointer", target: "tp/vmm/a".into(), at: 1 });
    // By a relocation into the middle of a function.
    let code = [insn(0x85, 0, 1, 0, 0), exit()].concat();
    let error = program_refused(&with_code(&code, &[("x", LABEL, 1, 0)], &[(0, 2)]));
    assert_eq!(*error.reason, LoadReason::NoFunction { what: "call", target: "tp/vmm/a".into(), at: 1 });
}

#[test]
fn extern_symbol() {
    let code = [insn(0x85, 0, 1, 0, -1), exit()].concat();
    let error = program_refused(&with_code(&code, &[("bpf_something", LABEL | GLOBAL, 0, 0)], &[(0, 2)]));
    let expected = LoadReason::Extern { symbol: "bpf_something".into(), kind: ExternKind::Unknown };
    assert_eq!(*error.reason, expected);
}

#[test]
fn core_relocation() {
    let Some(clang) = clang() else { return };
    let object = parse(&compile(clang, "core.c", &[])).unwrap();
    let error = object.program("relocatable").unwrap().program.as_ref().unwrap_err();
    assert!(matches!(*error.reason, LoadReason::CoRe { .. }));
    says(error, &["struct vcpu", "preserve_access_index"]);
}

#[test]
fn numbers_of_a_kernel() {
    for (code, what) in [
        (lddw(1, 1, 3, 0), "a reference to a map or kernel object"),
        (lddw(1, 2, 3, 0), "a reference to a map or kernel object"),
        (lddw(1, 6, 3, 0), "a reference to a map or kernel object"),
        (insn(0x85, 0, 2, 0, 3).to_vec(), "a call of a kernel function"),
    ] {
        let error = program_refused(&with_code(&[code, exit().to_vec()].concat(), &[], &[]));
        assert_eq!(*error.reason, LoadReason::Unrelocated { what, imm: 3 });
    }
}
