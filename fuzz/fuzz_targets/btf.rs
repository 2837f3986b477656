//! Any bytes as `.BTF`, and what is left of them as `.BTF.ext`: the first two bytes say where one ends.
#![no_main]

use axebpf_core::btf::{Btf, BtfExt};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk() else { return };
    let (types, ext) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    let Ok(btf) = Btf::parse(types) else { return };
    for (id, _) in btf.types().take(1000) {
        if let (Ok(layout), Ok(size)) = (btf.layout(id), btf.size_of(id)) {
            assert_eq!(layout.size(), u64::from(size));
        }
        let _ = btf.c_declaration(id);
    }
    if let Ok(ext) = BtfExt::parse(ext, &btf) {
        for (_, section) in ext.sections() {
            assert!(section.lines.is_sorted_by(|a, b| a.offset < b.offset));
            section.relocations.iter().for_each(|relocation| assert!(!relocation.describe(&btf).is_empty()));
        }
    }
});
