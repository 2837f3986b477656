//! Any bytes as a blob, a text and an ELF file: an error, or a table that keeps its promises and writes what it reads.
#![no_main]

#[path = "../../rust/core/tests/symbol_support/mod.rs"]
mod symbol_support;

use axebpf_core::symbol::{BlobStyle, Range, SymbolTable};
use symbol_support::check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for read in [SymbolTable::from_blob, SymbolTable::from_text, SymbolTable::from_elf] {
        let table = match read(data, Range::ALL) {
            Ok(table) => table,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        check(&table);
        let same = |again: &SymbolTable| {
            let rows = |table: &SymbolTable| {
                table.iter().map(|s| (s.address, s.kind, s.name.to_vec(), s.module.map(<[u8]>::to_vec))).collect::<Vec<_>>()
            };
            assert_eq!(rows(again), rows(&table));
        };
        if let Ok(text) = table.to_text() {
            same(&SymbolTable::from_text(&text, Range::ALL).unwrap());
        }
        for style in [BlobStyle::Ksym06, BlobStyle::Ksym] {
            if let Ok(blob) = table.to_blob(style) {
                same(&SymbolTable::from_blob(&blob, Range::ALL).unwrap());
            }
        }
    }
});
