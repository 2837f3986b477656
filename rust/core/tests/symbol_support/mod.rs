//! Blobs put together by hand, part by part, so that each part can be wrong.
#![allow(dead_code)] // each test binary uses its part

use axebpf_core::symbol::{Range, Symbol, SymbolError, SymbolTable};

/// The parts of a blob.
#[derive(Clone, Default)]
pub struct Blob {
    pub addresses: Vec<u64>,
    pub starts: Vec<u32>,
    pub order: Vec<u32>,
    pub names: Vec<u8>,
    pub token_table: Vec<u8>,
    pub tokens: Vec<u32>,
}

impl Blob {
    /// Symbols of type `T` with their payloads, in this order, which is taken for that of their names too.
    pub fn new(symbols: &[(u64, &[u8])]) -> Blob {
        let mut blob = Blob::default();
        for (index, (address, payload)) in (0..).zip(symbols) {
            blob.addresses.push(*address);
            blob.starts.push(blob.names.len() as u32);
            blob.order.push(index);
            blob.names.push(b'T');
            blob.names.extend((payload.len() as u16).to_le_bytes());
            blob.names.extend(*payload);
        }
        blob
    }

    pub fn with_tokens(mut self, texts: &[&[u8]]) -> Blob {
        for text in texts {
            self.tokens.push(self.token_table.len() as u32);
            self.token_table.extend(*text);
        }
        self
    }

    /// The blob of an older ksym.
    pub fn old(&self) -> Vec<u8> {
        let mut out = (self.addresses.len() as u64).to_le_bytes().to_vec();
        out.extend(self.addresses.iter().flat_map(|address| address.to_le_bytes()));
        out.extend(self.starts.iter().chain(&self.order).flat_map(|number| number.to_le_bytes()));
        for bytes in [&self.names, &self.token_table] {
            out.resize(out.len().next_multiple_of(8), 0);
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend((self.tokens.len() as u64).to_le_bytes());
        out.extend(self.tokens.iter().flat_map(|start| start.to_le_bytes()));
        out
    }

    /// The blob of ksym 0.6.
    pub fn new_style(&self) -> Vec<u8> {
        let old = self.old();
        [&(old.len() as u64 + 8).to_le_bytes()[..], &old].concat()
    }

    pub fn read(&self) -> Result<SymbolTable, SymbolError> {
        SymbolTable::from_blob(&self.old(), Range::ALL)
    }
}

pub fn range(stext: u64, etext: u64) -> Range {
    Range::new(stext, Some(etext)).unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Name, offset and size of what is at an address.
pub fn at(table: &SymbolTable, address: u64) -> Option<(String, u64, u64)> {
    table.lookup_address(address).map(|found| (text(found.symbol.name), found.offset, found.symbol.size))
}

pub fn names(table: &SymbolTable) -> Vec<String> {
    table.iter().map(|symbol| text(symbol.name)).collect()
}

/// What every table keeps to, whatever it was read from.
pub fn check(table: &SymbolTable) {
    assert!(table.iter().map(|symbol| symbol.address).is_sorted());
    assert_eq!(table.iter().count(), table.len());
    for symbol in table.iter().take(200) {
        let Symbol { name, address, .. } = symbol;
        assert!(table.lookup_name(name).is_some_and(|lowest| lowest <= address));
        assert!(table.named(name).any(|found| found == symbol));
        assert!(table.search(name).any(|found| found == symbol));
        if let Some(found) = table.lookup_address(address) {
            assert_eq!((found.symbol.address, found.offset), (address, 0));
        }
        let _ = table.lookup_address(address.wrapping_add(1));
        let _ = table.lookup_address(address.wrapping_sub(1));
    }
    for address in [0, 1, u64::MAX] {
        assert!(table.lookup_address(address).is_none_or(|found| found.symbol.address + found.offset == address));
    }
}
