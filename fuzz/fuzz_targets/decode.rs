//! Any bytes as instructions: what decodes encodes to slots that decode to the same, and has a text.
#![no_main]

use axebpf_core::isa::{Insn, Names, decode, encode, text};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let insns: Vec<Insn> = data.as_chunks().0.iter().map(|&bytes| Insn::from_bytes(bytes)).collect();
    for at in 0..insns.len() {
        let Ok((op, slots)) = decode(&insns, at) else { continue };
        let (first, second) = encode(&op);
        let again: Vec<Insn> = std::iter::once(first).chain(second).collect();
        assert_eq!(again.len(), slots);
        assert_eq!(decode(&again, 0), Ok((op, slots)));
        assert!(!text::instruction(&op, &Names::none()).is_empty());
    }
});
