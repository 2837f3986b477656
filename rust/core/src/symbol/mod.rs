//! Symbols: which function an address lies in, and where a name is.
//!
//! A [`SymbolTable`] is read from a kallsyms blob of the `ksym` crate ([`SymbolTable::from_blob`]), from the text of `nm`,
//! `System.map` and `/proc/kallsyms` ([`SymbolTable::from_text`]), or from an ELF file ([`SymbolTable::from_elf`]).
//! Nothing in it changes afterwards.

mod blob;
mod elf;
mod error;
mod table;
mod text;

pub use blob::BlobStyle;
pub use error::{Place, SymbolError, SymbolReason};
pub use table::{Found, MAX_NAMES, Range, Symbol, SymbolTable};
