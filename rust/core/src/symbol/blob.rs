//! The blob of the `ksym` crate, as AxVisor carries it in its `.kallsyms` section.
//!
//! Little-endian; every part is aligned relative to the start. `ksym` 0.6 begins with a u64, the length of the whole
//! blob; older ones do not. Then:
//!
//! | part | |
//! | --- | --- |
//! | u64 | n, the number of symbols |
//! | u64 × n | addresses, ascending |
//! | u32 × n | where each name begins in the names |
//! | u32 × n | the symbols in the order of their names |
//! | u64, bytes | length of the names, names |
//! | u64, bytes | length of the token table, token table |
//! | u64, u32 × m | the number of tokens, where each begins in the token table |
//!
//! A name is a type (u8), a length (u16) and that many bytes. Where these begin with the byte ff they begin with a token,
//! `ff id ff`, or `ff high low ff` from 256 on: the rest of the name follows the token's text. There are 512 tokens at
//! most. `ff 01 ff ff` is token 511, and not token 1 before the byte ff, because names that have tokens are UTF-8.
//!
//! A blob of zeros is a table without symbols: AxVisor's build leaves one where it has no symbols yet.

use super::error::{SymbolError, SymbolReason, excerpt};
use super::table::{Builder, Range, SymbolTable};

/// Marks a token, at both its ends.
const TOKEN: u8 = 0xff;
/// Type and length, before each name.
const NAME_HEAD: usize = 3;
/// Bytes that a symbol takes at least: address, place of the name, order by name, an empty name.
const SYMBOL_BYTES: u64 = 8 + 4 + 4 + NAME_HEAD as u64;

/// Bytes of a blob of `ksym` 0.6 without symbols.
const SMALLEST: usize = 40;

/// Which blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobStyle {
    /// Of `ksym` 0.6: begins with its length.
    Ksym06,
    /// Of `ksym` before 0.6, as AxVisor uses it.
    Ksym,
}

impl SymbolTable {
    /// Reads a blob of either style; zeros may follow it.
    ///
    /// The order by name is checked and then made anew, so that a wrong one hides no symbol.
    ///
    /// # Errors
    ///
    /// Whatever `SymbolReason` has for blobs, with the offset.
    pub fn from_blob(data: &[u8], range: Range) -> Result<SymbolTable, SymbolError> {
        let first = Reader { data, at: 0 }.number("the number of symbols")?;
        // A number of symbols has their addresses, names and order behind it: nothing but zeros follows a length only.
        let whole = usize::try_from(first).ok().filter(|&len| len >= SMALLEST).and_then(|len| data.get(..len));
        match whole {
            Some(whole) if data[whole.len()..].iter().all(|&byte| byte == 0) => read(whole, 8, range),
            _ => read(data, 0, range),
        }
    }

    /// Writes a blob, without tokens. Names of modules are written as `name [module]`.
    ///
    /// `ksym` itself cuts names off at 4096 bytes and cannot find symbols without a name; `from_blob` does both right.
    ///
    /// # Errors
    ///
    /// `NameTooLong`, `NameMark`.
    pub fn to_blob(&self, style: BlobStyle) -> Result<Vec<u8>, SymbolError> {
        let mut names = Vec::new();
        let mut starts = Vec::with_capacity(self.len());
        for (index, symbol) in self.iter().enumerate() {
            let name = self.full_name(index);
            if name.first() == Some(&TOKEN) {
                return Err(SymbolReason::NameMark { name: excerpt(name) }.into());
            }
            let Ok(len) = u16::try_from(name.len()) else {
                return Err(SymbolReason::NameTooLong { name: excerpt(name), found: name.len() }.into());
            };
            starts.push(names.len() as u32);
            names.push(symbol.kind);
            names.extend_from_slice(&len.to_le_bytes());
            names.extend_from_slice(name);
        }
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_by_key(|&index| self.full_name(index as usize));

        let mut out = match style {
            BlobStyle::Ksym06 => vec![0; 8],
            BlobStyle::Ksym => Vec::new(),
        };
        out.extend_from_slice(&(self.len() as u64).to_le_bytes());
        out.extend(self.iter().flat_map(|symbol| symbol.address.to_le_bytes()));
        out.extend(starts.iter().chain(&order).flat_map(|number| number.to_le_bytes()));
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend_from_slice(&(names.len() as u64).to_le_bytes());
        out.extend_from_slice(&names);
        out.resize(out.len().next_multiple_of(8), 0);
        // No tokens: the length of their table, and their number.
        out.extend_from_slice(&[0; 16]);
        if style == BlobStyle::Ksym06 {
            let len = out.len() as u64;
            out[..8].copy_from_slice(&len.to_le_bytes());
        }
        Ok(out)
    }
}

struct Reader<'d> {
    data: &'d [u8],
    at: usize,
}

impl<'d> Reader<'d> {
    /// The next `count` elements of `width` bytes, and the offset of the first.
    fn array(&mut self, what: &'static str, count: u64, width: usize) -> Result<(usize, &'d [u8]), SymbolError> {
        let start = self.at.next_multiple_of(width);
        let end = count.saturating_mul(width as u64).saturating_add(start as u64);
        let found = usize::try_from(end).ok().and_then(|end| self.data.get(start..end));
        let Some(found) = found else {
            return Err(SymbolError::at(start, SymbolReason::Truncated { what, end, len: self.data.len() }));
        };
        self.at = start + found.len();
        Ok((start, found))
    }

    fn number(&mut self, what: &'static str) -> Result<u64, SymbolError> {
        let (_, bytes) = self.array(what, 1, 8)?;
        Ok(u64::from_le_bytes(bytes.as_chunks().0[0]))
    }

    /// Bytes behind their number, and the offset of the first.
    fn bytes(&mut self, length: &'static str, what: &'static str) -> Result<(usize, &'d [u8]), SymbolError> {
        let len = self.number(length)?;
        self.array(what, len, 1)
    }
}

fn read(data: &[u8], at: usize, range: Range) -> Result<SymbolTable, SymbolError> {
    let mut reader = Reader { data, at };
    let count = reader.number("the number of symbols")?;
    // Before anything is multiplied by it.
    if count > data.len() as u64 / SYMBOL_BYTES {
        return Err(SymbolError::at(at, SymbolReason::Count { found: count, len: data.len() }));
    }
    let (addresses_at, addresses) = reader.array("the addresses", count, 8)?;
    let (starts_at, starts) = reader.array("the places of the names", count, 4)?;
    let (order_at, order) = reader.array("the order by name", count, 4)?;
    let (names_at, names) = reader.bytes("the length of the names", "the names")?;
    let (_, token_table) = reader.bytes("the length of the token table", "the token table")?;
    let token_count = reader.number("the number of tokens")?;
    let (tokens_at, tokens) = reader.array("the places of the tokens", token_count, 4)?;
    if data[reader.at..].iter().any(|&byte| byte != 0) {
        return Err(SymbolError::at(reader.at, SymbolReason::Trailing { len: data.len() - reader.at }));
    }

    let count = count as usize;
    if let Some((index, found)) = numbers(order).enumerate().find(|&(_, found)| found as usize >= count) {
        return Err(SymbolError::at(order_at + 4 * index, SymbolReason::Sequence { index, found, count }));
    }
    let tokens = Tokens::read(tokens_at, tokens, token_table)?;
    let mut builder = Builder::new(count);
    let (mut before, mut end) = (0, 0);
    let addresses = addresses.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes));
    for (index, (address, start)) in addresses.zip(numbers(starts)).enumerate() {
        if address < before {
            let reason = SymbolReason::Descending { index, found: address, before };
            return Err(SymbolError::at(addresses_at + 8 * index, reason));
        }
        let head = names.get(start as usize..).and_then(|rest| rest.first_chunk::<NAME_HEAD>());
        let Some(&[kind, len @ ..]) = head.filter(|_| start as usize >= end) else {
            let to = names.len().saturating_sub(NAME_HEAD);
            let reason = SymbolReason::NameOffset { index, found: start, from: end, to };
            return Err(SymbolError::at(starts_at + 4 * index, reason));
        };
        let name_at = start as usize + NAME_HEAD;
        let len = u16::from_le_bytes(len);
        end = name_at + usize::from(len);
        let at = names_at + name_at;
        let Some(name) = names.get(name_at..end) else {
            let reason = SymbolReason::NameLength { index, found: len, room: names.len() - name_at };
            return Err(SymbolError::at(at, reason));
        };
        let (token, rest) = tokens.split(index, name).map_err(|reason| SymbolError::at(at, reason))?;
        builder.push(address, 0, kind, &[token, rest]).map_err(|reason| SymbolError::at(at, reason))?;
        before = address;
    }
    Ok(builder.finish(range))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes))
}

/// The texts of the tokens.
struct Tokens<'d>(Vec<&'d [u8]>);

impl<'d> Tokens<'d> {
    fn read(at: usize, starts: &[u8], table: &'d [u8]) -> Result<Tokens<'d>, SymbolError> {
        let starts: Vec<u32> = numbers(starts).collect();
        let mut texts = Vec::with_capacity(starts.len());
        let mut from = 0;
        for (index, &found) in starts.iter().enumerate() {
            let end = starts.get(index + 1).map_or(table.len(), |&next| next as usize);
            let start = found as usize;
            if start < from || start > table.len() {
                let reason = SymbolReason::TokenOffset { index, found, from, to: table.len() };
                return Err(SymbolError::at(at + 4 * index, reason));
            }
            // Where the next one is wrong, that is said of the next one.
            texts.push(table.get(start..end).unwrap_or_default());
            from = start;
        }
        Ok(Tokens(texts))
    }

    /// The text of the token that a name begins with, and the rest of the name.
    fn split<'n>(&self, index: usize, name: &'n [u8]) -> Result<(&'d [u8], &'n [u8]), SymbolReason> {
        let (id, rest) = match *name {
            [TOKEN, high, low, TOKEN, ref rest @ ..]
                if high > 0 && (low != TOKEN || wide(high, low) < self.0.len()) =>
            {
                (wide(high, low), rest)
            }
            [TOKEN, id, TOKEN, ref rest @ ..] => (usize::from(id), rest),
            [TOKEN, ..] => return Err(SymbolReason::TokenMark { index }),
            _ => return Ok((&[], name)),
        };
        match self.0.get(id) {
            Some(text) => Ok((text, rest)),
            None => Err(SymbolReason::NoToken { index, found: id as u16, count: self.0.len() }),
        }
    }
}

fn wide(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high, low]))
}
