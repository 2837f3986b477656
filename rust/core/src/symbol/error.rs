//! Why a symbol table cannot be read or written.

use std::fmt;

/// A symbol table that cannot be read or written: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolError {
    /// Where in the input.
    pub place: Option<Place>,
    /// What is wrong.
    pub reason: SymbolReason,
}

/// Where in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a text, from 1.
    Line(usize),
    /// A byte of a blob or an ELF file.
    Offset(u64),
}

impl SymbolError {
    pub(super) fn at(offset: usize, reason: SymbolReason) -> SymbolError {
        SymbolError { place: Some(Place::Offset(offset as u64)), reason }
    }

    pub(super) fn line(line: usize, reason: SymbolReason) -> SymbolError {
        SymbolError { place: Some(Place::Line(line)), reason }
    }
}

impl From<SymbolReason> for SymbolError {
    fn from(reason: SymbolReason) -> SymbolError {
        SymbolError { place: None, reason }
    }
}

impl fmt::Display for SymbolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place::Line(line)) => write!(f, "line {line}: ")?,
            Some(Place::Offset(offset)) => write!(f, "offset {offset:#x}: ")?,
            None => {}
        }
        write!(f, "{}", self.reason)
    }
}

impl std::error::Error for SymbolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// What is wrong with a symbol table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymbolReason {
    /// The end of the text lies before its start.
    #[error("etext {etext:#x} lies below stext {stext:#x}; give the addresses of _stext and _etext in this order")]
    Range {
        /// First address.
        stext: u64,
        /// One past the last.
        etext: u64,
    },
    /// The names, written out, would take more memory than a table may have.
    #[error("the names of the symbols take more than {limit} bytes together")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A part of a blob that does not fit into it.
    #[error("{what} would end at {end}, behind the end of the blob at {len}; is it cut off?")]
    Truncated {
        /// The part.
        what: &'static str,
        /// Where it would end.
        end: u64,
        /// Bytes of the blob.
        len: usize,
    },
    /// More symbols than the blob has room for.
    #[error("{found} symbols do not fit into {len} bytes; is this a kallsyms blob, and whole?")]
    Count {
        /// `num_syms`.
        found: u64,
        /// Bytes of the blob.
        len: usize,
    },
    /// Addresses out of order.
    #[error("the address of symbol {index} is {found:#x}, below the {before:#x} before it; addresses must ascend")]
    Descending {
        /// Which symbol, in the order of addresses.
        index: usize,
        /// Its address.
        found: u64,
        /// That of the symbol before it.
        before: u64,
    },
    /// A name that lies elsewhere than behind the one before it.
    #[error("the name of symbol {index} begins at {found} of the names, expected {from} to {to}")]
    NameOffset {
        /// Which symbol, in the order of addresses.
        index: usize,
        /// Where its name is said to begin.
        found: u32,
        /// Where the name before it ends.
        from: usize,
        /// The last place at which a name could begin.
        to: usize,
    },
    /// A name that is longer than what is left of the names.
    #[error("the name of symbol {index} has {found} bytes, but only {room} are left of the names")]
    NameLength {
        /// Which symbol, in the order of addresses.
        index: usize,
        /// Its length.
        found: u16,
        /// Bytes left.
        room: usize,
    },
    /// An entry of the order by name that names no symbol.
    #[error("entry {index} of the order by name is symbol {found}, but there are {count} symbols")]
    Sequence {
        /// Which entry.
        index: usize,
        /// What it says.
        found: u32,
        /// How many symbols there are.
        count: usize,
    },
    /// A token whose text does not lie in the token table.
    #[error("token {index} begins at {found} of the token table, expected {from} to {to}")]
    TokenOffset {
        /// Which token.
        index: usize,
        /// Where it is said to begin.
        found: u32,
        /// Where the token before it begins.
        from: usize,
        /// Bytes of the token table.
        to: usize,
    },
    /// A name that uses a token that does not exist.
    #[error("the name of symbol {index} begins with token {found}, but there are {count} tokens")]
    NoToken {
        /// Which symbol, in the order of addresses.
        index: usize,
        /// The token's number.
        found: u16,
        /// How many tokens there are.
        count: usize,
    },
    /// A name that begins with the mark of a token (ff), which nothing ends.
    #[error("the name of symbol {index} begins with ff, the mark of a token, but no second ff ends its number")]
    TokenMark {
        /// Which symbol, in the order of addresses.
        index: usize,
    },
    /// Something behind the end of the table that is no padding.
    #[error("the table ends here, but the {len} bytes behind it are not zero; is this a kallsyms blob?")]
    Trailing {
        /// How many.
        len: usize,
    },
    /// A text in which no line is a symbol.
    #[error("no symbol in this text: \"{found}\" is not `ADDRESS TYPE NAME`, as nm and /proc/kallsyms print it")]
    NoSymbols {
        /// The first line that is none, shortened.
        found: String,
    },
    /// Not an ELF file at all.
    #[error("not an ELF file: it begins with \"{found}\", expected \"\\x7fELF\"")]
    NotElf {
        /// The first bytes, escaped.
        found: String,
    },
    /// A table that lies outside the ELF file, or contradicts itself.
    #[error("malformed ELF: {what}; is the file truncated?")]
    Malformed {
        /// What.
        what: String,
    },
    /// An ELF file without symbols.
    #[error("no symbols: the file has neither .symtab nor .dynsym; give the one that was not stripped")]
    Stripped,
    /// A name that the blob's format has no room for.
    #[error("the name of {name} has {found} bytes; a blob holds names of up to 65535")]
    NameTooLong {
        /// The name, shortened.
        name: String,
        /// Its bytes.
        found: usize,
    },
    /// A name that would be taken for a token.
    #[error("the name {name} begins with the byte ff, which marks a token in a blob; write it as text")]
    NameMark {
        /// The name, escaped.
        name: String,
    },
    /// A name or type that would not be read back from a text.
    #[error("symbol {name} of type {kind} cannot be a line of text: it has control characters or outer blanks")]
    NoText {
        /// The name, escaped.
        name: String,
        /// The type, escaped.
        kind: String,
    },
}

/// Some bytes for a message: escaped, and not too many.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    if bytes.len() > SHOWN { format!("{shown}…") } else { shown }
}
