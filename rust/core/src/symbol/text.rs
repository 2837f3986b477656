//! Text: what `nm`, `System.map` and `/proc/kallsyms` print, a line a symbol.
//!
//! `ADDRESS TYPE NAME`, and `ADDRESS SIZE TYPE NAME` of `nm -S`. The address is hexadecimal, with or without 0x; behind
//! the name a kernel module may follow as `[module]`. Names may contain blanks, as demangled ones do.

use memchr::memchr_iter;

use super::error::{SymbolError, SymbolReason, excerpt};
use super::table::{Builder, Range, SymbolTable};

/// What a line is.
enum Line<'d> {
    Symbol {
        address: u64,
        size: u64,
        kind: u8,
        name: &'d [u8],
        module: Option<&'d [u8]>,
    },
    /// A symbol without an address.
    Undefined,
    /// Nothing, or a comment.
    Blank,
    Malformed,
}

impl SymbolTable {
    /// Reads a text. Lines that are not understood are passed over and counted ([`SymbolTable::skipped`]), and so are
    /// symbols that have no address ([`SymbolTable::undefined`]). Any order will do; symbols of one address keep theirs.
    ///
    /// # Errors
    ///
    /// `NoSymbols`, where lines are not understood and none is a symbol; `TooLarge`.
    pub fn from_text(text: &[u8], range: Range) -> Result<SymbolTable, SymbolError> {
        let mut builder = Builder::new(memchr_iter(b'\n', text).count() + 1);
        let mut first_malformed = None;
        let (mut start, mut number) = (0, 0);
        for end in memchr_iter(b'\n', text).chain(std::iter::once(text.len())) {
            let line = &text[start..end];
            start = end + 1;
            number += 1;
            match parse(line) {
                Line::Symbol { address, size, kind, name, module } => {
                    let pushed = match module {
                        Some(module) => builder.push(address, size, kind, &[name, b" [", module, b"]"]),
                        None => builder.push(address, size, kind, &[name]),
                    };
                    pushed.map_err(|reason| SymbolError::line(number, reason))?;
                }
                Line::Undefined => builder.undefined += 1,
                Line::Blank => {}
                Line::Malformed => {
                    builder.skipped += 1;
                    first_malformed.get_or_insert((number, line));
                }
            }
        }
        let table = builder.finish(range);
        match first_malformed {
            Some((number, line)) if table.is_empty() => {
                Err(SymbolError::line(number, SymbolReason::NoSymbols { found: excerpt(line) }))
            }
            _ => Ok(table),
        }
    }

    /// The text of `/proc/kallsyms`, which `from_text` reads back. Sizes are no part of it.
    ///
    /// # Errors
    ///
    /// `NoText`, where a name or a type has characters that a line cannot have.
    pub fn to_text(&self) -> Result<Vec<u8>, SymbolError> {
        let mut out = Vec::new();
        for symbol in self.iter() {
            let outer_blank = symbol.name.first() == Some(&b' ') || symbol.name.last() == Some(&b' ');
            if outer_blank || symbol.name.iter().any(u8::is_ascii_control) || !symbol.kind.is_ascii_graphic() {
                let kind = symbol.kind.escape_ascii().to_string();
                return Err(SymbolReason::NoText { name: excerpt(symbol.name), kind }.into());
            }
            out.extend_from_slice(format!("{:016x} ", symbol.address).as_bytes());
            out.extend_from_slice(&[symbol.kind, b' ']);
            out.extend_from_slice(symbol.name);
            if let Some(module) = symbol.module {
                out.extend_from_slice(b"\t[");
                out.extend_from_slice(module);
                out.push(b']');
            }
            out.push(b'\n');
        }
        Ok(out)
    }
}

fn parse(line: &[u8]) -> Line<'_> {
    let line = line.trim_ascii();
    if line.is_empty() || line[0] == b'#' {
        return Line::Blank;
    }
    let (first, rest) = word(line);
    let (second, after) = word(rest);
    let Some(address) = hexadecimal(first) else {
        let undefined = matches!(first, b"U" | b"w" | b"v") && !second.is_empty();
        return if undefined { Line::Undefined } else { Line::Malformed };
    };
    let (size, kind, name) = match second {
        [kind] if kind.is_ascii_graphic() => (0, *kind, after),
        _ => match (hexadecimal(second), word(after)) {
            (Some(size), ([kind], name)) if kind.is_ascii_graphic() => (size, *kind, name),
            _ => return Line::Malformed,
        },
    };
    // The module stands behind a tab in /proc/kallsyms; behind a blank the table knows it by itself.
    let (name, module) = match memchr::memrchr(b'\t', name) {
        Some(tab) => match name[tab + 1..].strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
            Some(module) => (name[..tab].trim_ascii_end(), Some(module)),
            None => (name, None),
        },
        None => (name, None),
    };
    Line::Symbol { address, size, kind, name, module }
}

/// The first word and what follows the blanks behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

fn hexadecimal(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X")).unwrap_or(text);
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | u64::from(char::from(digit).to_digit(16)?)))
}
