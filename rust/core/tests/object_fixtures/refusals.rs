//! What the tests of refused objects and programs share.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use axebpf_core::object::{LoadError, Object};

use super::{ElfWriter, FUNCTION, GLOBAL, exit, insn};

/// Three instructions: `r0 = 0; r0 = 1; exit`.
pub fn three() -> Vec<u8> {
    [insn(0xb7, 0, 0, 0, 0), insn(0xb7, 0, 0, 0, 1), exit()].concat()
}

/// A good object of one program, as a writer, with the index of its section.
pub fn good() -> (ElfWriter, u16) {
    let mut elf = ElfWriter::new();
    let section = elf.code("tp/vmm/a", &three());
    elf.symbol("program", FUNCTION | GLOBAL, section, 0, 24);
    (elf, section)
}

pub fn parse(data: &[u8]) -> Result<Object, LoadError> {
    Object::parse(data, "x.bpf.o")
}

/// Why an object is refused as a whole.
#[track_caller]
pub fn refused(data: &[u8]) -> LoadError {
    let error = parse(data).unwrap_err();
    assert_eq!(error.file, "x.bpf.o");
    assert!(error.to_string().starts_with("x.bpf.o: "), "{error}");
    error
}

/// Why the only program of an object is refused.
#[track_caller]
pub fn program_refused(data: &[u8]) -> LoadError {
    let object = parse(data).unwrap();
    let [program] = &object.programs[..] else { panic!("{:?}", object.programs) };
    program.program.clone().unwrap_err()
}

#[track_caller]
pub fn says(error: &LoadError, words: &[&str]) {
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

/// An object of one program with code, symbols `(name, info, section, value)` from index 2 on, and relocations.
pub fn with_code(code: &[u8], symbols: &[(&str, u8, u16, u64)], relocations: &[(u64, u32)]) -> Vec<u8> {
    let mut elf = ElfWriter::new();
    let section = elf.code("tp/vmm/a", code);
    elf.symbol("program", FUNCTION | GLOBAL, section, 0, code.len() as u64);
    for &(name, info, section, value) in symbols {
        elf.symbol(name, info, section, value, 0);
    }
    elf.relocations(section, relocations);
    elf.finish()
}
