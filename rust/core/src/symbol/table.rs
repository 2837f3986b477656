//! The table itself: lookup by address, by name, by a part of a name.

use std::cmp::Reverse;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use memchr::memmem;

use super::error::{SymbolError, SymbolReason};
use crate::nearest::nearest;

/// Bytes that the names of a table may take together. Names of a damaged file may overlap, and tokens of a blob stand
/// for longer names: so it bounds the memory that a small input can ask for.
pub const MAX_NAMES: usize = 256 << 20;

/// Stands behind each name, so that nothing is found across two names.
const END_OF_NAME: u8 = 0;
/// Addresses for each of which one is kept in `coarse`.
const BLOCK: usize = 64;
/// No further symbol of the same name.
const NONE: u32 = u32::MAX;

/// The addresses that a table answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: Option<u64>,
}

impl Range {
    /// From `stext` up to and without `etext`; without end where that is `None`.
    ///
    /// # Errors
    ///
    /// `Range`, where the end lies before the start.
    pub fn new(stext: u64, etext: Option<u64>) -> Result<Range, SymbolError> {
        match etext {
            Some(etext) if etext < stext => Err(SymbolReason::Range { stext, etext }.into()),
            end => Ok(Range { start: stext, end }),
        }
    }

    /// All addresses.
    pub const ALL: Range = Range { start: 0, end: None };

    /// First address.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// One past the last address, if there is a last one.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        self.end
    }

    fn contains(self, address: u64) -> bool {
        address >= self.start && self.end.is_none_or(|end| address < end)
    }
}

/// A symbol of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'t> {
    /// Its name, mostly UTF-8.
    pub name: &'t [u8],
    /// The kernel module that it belongs to, if any.
    pub module: Option<&'t [u8]>,
    /// Where it begins.
    pub address: u64,
    /// Bytes up to its end: what the ELF file says, else up to the next address with a symbol, else up to the end of
    /// the table's range; 0 where there is none of these.
    pub size: u64,
    /// The letter that `nm` gives its type.
    pub kind: u8,
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'t> {
    /// The symbol that it lies in.
    pub symbol: Symbol<'t>,
    /// Bytes from the symbol's beginning.
    pub offset: u64,
}

/// Symbols in the order of their addresses.
pub struct SymbolTable {
    addresses: Vec<u64>,
    /// The first address of each block: few enough to stay in the cache, so that only the last steps of a search go to
    /// memory.
    coarse: Vec<u64>,
    /// The letter of each symbol's type.
    kinds: Vec<u8>,
    /// Bytes of each symbol as the source gives them, 0 where it does not; empty where it gives none.
    sizes: Vec<u64>,
    /// Where each name begins in `names`, and the end of the last.
    starts: Vec<u32>,
    /// Names in the order of addresses, with the module as `name [module]`.
    names: Vec<u8>,
    range: Range,
    /// Of each name, the symbol with the lowest address.
    by_name: HashTable<u32>,
    /// The next symbol of the same name.
    next: Vec<u32>,
    hasher: RandomState,
    skipped: usize,
    undefined: usize,
}

impl SymbolTable {
    /// How many symbols there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The addresses that it answers for.
    #[must_use]
    pub fn range(&self) -> Range {
        self.range
    }

    /// Lines of the text that were not understood.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Symbols that the source names without an address, because another file defines them.
    #[must_use]
    pub fn undefined(&self) -> usize {
        self.undefined
    }

    /// The symbol at a place in the order of addresses.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Symbol<'_>> {
        let address = *self.addresses.get(index)?;
        let (name, module) = split_module(self.full_name(index));
        Some(Symbol { name, module, address, size: self.size(index), kind: self.kinds[index] })
    }

    /// All symbols in the order of addresses; those of one address in the order of the source.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The symbol that an address lies in: the one with the greatest address that is not above it. Of several at that
    /// address the first, as Linux does.
    ///
    /// None outside the table's range, below the first symbol, and behind the end of a symbol whose size is known.
    #[must_use]
    pub fn lookup_address(&self, address: u64) -> Option<Found<'_>> {
        if !self.range.contains(address) {
            return None;
        }
        let last = self.not_above(address).checked_sub(1)?;
        let start = self.addresses[last];
        let first = match last.checked_sub(1) {
            Some(before) if self.addresses[before] == start => {
                self.addresses[..last].partition_point(|&other| other < start)
            }
            _ => last,
        };
        let offset = address - start;
        match self.sizes.get(first) {
            Some(&size) if size > 0 && offset >= size => None,
            _ => self.get(first).map(|symbol| Found { symbol, offset }),
        }
    }

    /// The lowest address of a symbol of that name, wherever it lies. The module is no part of the name.
    #[must_use]
    pub fn lookup_name(&self, name: &[u8]) -> Option<u64> {
        self.named(name).next().map(|symbol| symbol.address)
    }

    /// All symbols of that name in the order of addresses.
    pub fn named(&self, name: &[u8]) -> impl Iterator<Item = Symbol<'_>> {
        let hash = self.hasher.hash_one(name);
        let first = self.by_name.find(hash, |&index| self.name(index as usize) == name).copied();
        std::iter::successors(first, |&index| Some(self.next[index as usize]).filter(|&next| next != NONE))
            .filter_map(|index| self.get(index as usize))
    }

    /// The symbols whose `name` or `name [module]` contains `part`, in the order of addresses.
    pub fn search(&self, part: &[u8]) -> impl Iterator<Item = Symbol<'_>> {
        let finder = memmem::Finder::new(part).into_owned();
        // Where to look on, and in which symbol that is.
        let (mut from, mut index) = (0, 0);
        std::iter::from_fn(move || {
            while index < self.len() {
                let found = from + finder.find(self.names.get(from..)?)?;
                index += self.starts[index..].partition_point(|&start| start as usize <= found) - 1;
                let end = self.starts[index + 1] as usize;
                // Only a part with the byte that ends a name can reach over it.
                if found + finder.needle().len() < end {
                    from = end;
                    index += 1;
                    return self.get(index - 1);
                }
                from = found + 1;
            }
            None
        })
    }

    /// The name that looks most like one, if any does.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.iter().filter_map(|symbol| str::from_utf8(symbol.name).ok()))
    }

    /// How many symbols begin at an address or below it.
    fn not_above(&self, address: u64) -> usize {
        let blocks = self.coarse.partition_point(|&first| first <= address);
        let from = blocks.saturating_sub(1) * BLOCK;
        let block = &self.addresses[from..self.addresses.len().min(from + BLOCK)];
        from + block.partition_point(|&start| start <= address)
    }

    /// The name with its module, as it is kept and searched.
    pub(super) fn full_name(&self, index: usize) -> &[u8] {
        &self.names[self.starts[index] as usize..self.starts[index + 1] as usize - 1]
    }

    fn name(&self, index: usize) -> &[u8] {
        split_module(self.full_name(index)).0
    }

    fn size(&self, index: usize) -> u64 {
        if let Some(&size) = self.sizes.get(index).filter(|&&size| size > 0) {
            return size;
        }
        let start = self.addresses[index];
        let rest = &self.addresses[index + 1..];
        let end = match rest.first() {
            Some(&next) if next == start => rest.get(rest.partition_point(|&other| other == start)).copied(),
            next => next.copied(),
        };
        end.or(self.range.end).map_or(0, |end| end.saturating_sub(start))
    }
}

/// `name [module]` to its parts.
fn split_module(full: &[u8]) -> (&[u8], Option<&[u8]>) {
    // Nearly every name ends here.
    let Some(inner) = full.strip_suffix(b"]") else { return (full, None) };
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let start = inner.iter().rposition(|byte| !is_letter(byte)).map_or(0, |before| before + 1);
    match inner[..start].strip_suffix(b" [") {
        Some(name) if !name.is_empty() && start < inner.len() => (name, Some(&inner[start..])),
        _ => (full, None),
    }
}

/// Takes symbols in the order of the source.
pub(super) struct Builder {
    addresses: Vec<u64>,
    kinds: Vec<u8>,
    sizes: Vec<u64>,
    starts: Vec<u32>,
    names: Vec<u8>,
    has_sizes: bool,
    pub skipped: usize,
    pub undefined: usize,
}

impl Builder {
    /// With room for about as many symbols.
    pub(super) fn new(symbols: usize) -> Builder {
        let mut starts = Vec::with_capacity(symbols + 1);
        starts.push(0);
        Builder {
            addresses: Vec::with_capacity(symbols),
            kinds: Vec::with_capacity(symbols),
            sizes: Vec::new(),
            starts,
            names: Vec::new(),
            has_sizes: false,
            skipped: 0,
            undefined: 0,
        }
    }

    /// Adds a symbol whose name, and module as ` [module]`, is put together from parts. `size` is 0 where the source
    /// does not give it.
    pub(super) fn push(&mut self, address: u64, size: u64, kind: u8, name: &[&[u8]]) -> Result<(), SymbolReason> {
        let len: usize = name.iter().map(|part| part.len()).sum();
        if len >= MAX_NAMES - self.names.len() {
            return Err(SymbolReason::TooLarge { limit: MAX_NAMES });
        }
        name.iter().for_each(|part| self.names.extend_from_slice(part));
        self.names.push(END_OF_NAME);
        self.starts.push(self.names.len() as u32);
        if size > 0 && !self.has_sizes {
            self.sizes.resize(self.addresses.len(), 0);
            self.has_sizes = true;
        }
        if self.has_sizes {
            self.sizes.push(size);
        }
        self.addresses.push(address);
        self.kinds.push(kind);
        Ok(())
    }

    /// Sorts, and makes the index of names. Of the symbols of one address the longest comes first, then as they came.
    pub(super) fn finish(mut self, range: Range) -> SymbolTable {
        self.sort();
        let mut table = SymbolTable {
            next: vec![NONE; self.addresses.len()],
            coarse: self.addresses.iter().step_by(BLOCK).copied().collect(),
            addresses: self.addresses,
            kinds: self.kinds,
            sizes: self.sizes,
            starts: self.starts,
            names: self.names,
            range,
            by_name: HashTable::new(),
            hasher: RandomState::default(),
            skipped: self.skipped,
            undefined: self.undefined,
        };
        table.index_names();
        table
    }

    fn sort(&mut self) {
        let key = |index: usize| (self.addresses[index], Reverse(self.sizes.get(index).copied().unwrap_or(0)));
        let mut order: Vec<u32> = (0..self.addresses.len() as u32).collect();
        if order.is_sorted_by_key(|&index| key(index as usize)) {
            return;
        }
        order.sort_by_key(|&index| key(index as usize));
        let mut sorted = Builder::new(order.len());
        sorted.names.reserve(self.names.len());
        for index in order.into_iter().map(|index| index as usize) {
            let name = self.starts[index] as usize..self.starts[index + 1] as usize;
            sorted.names.extend_from_slice(&self.names[name]);
            sorted.starts.push(sorted.names.len() as u32);
            sorted.addresses.push(self.addresses[index]);
            sorted.kinds.push(self.kinds[index]);
            sorted.sizes.extend(self.sizes.get(index));
        }
        (sorted.skipped, sorted.undefined) = (self.skipped, self.undefined);
        *self = sorted;
    }
}

impl SymbolTable {
    fn index_names(&mut self) {
        let mut by_name = HashTable::with_capacity(self.len());
        let mut next = std::mem::take(&mut self.next);
        // From the end, so that the lowest address comes last and stands first.
        for index in (0..self.len() as u32).rev() {
            let name = self.name(index as usize);
            let hash = self.hasher.hash_one(name);
            let same = |&other: &u32| self.name(other as usize) == name;
            match by_name.find_mut(hash, same) {
                Some(first) => next[index as usize] = std::mem::replace(first, index),
                None => {
                    by_name.insert_unique(hash, index, |&other| self.hasher.hash_one(self.name(other as usize)));
                }
            }
        }
        self.by_name = by_name;
        self.next = next;
    }
}
