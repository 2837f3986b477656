//! Anything at all as instructions: a verdict, and no panic.
#![no_main]

use std::sync::Arc;

use axebpf_core::isa::Insn;
use axebpf_core::program::{Program, ProgramType};
use axebpf_core::verifier::{Options, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, code)) = bytes.split_first() else { return };
    let (program_type, _) = ProgramType::ALL[usize::from(*first) % ProgramType::ALL.len()];
    let program = Program {
        name: "fuzzed".to_owned(),
        section: String::new(),
        program_type: Some(program_type),
        target: None,
        insns: code.as_chunks::<8>().0.iter().map(|slot| Insn::from_bytes(*slot)).collect(),
        maps: Vec::new(),
        subprograms: Vec::new(),
        lines: Vec::new(),
        license: "GPL".to_owned(),
    };
    let options = Options { limit: 20_000, ..Options::default() };
    drop(verify(Arc::new(program), &[], &options));
});
