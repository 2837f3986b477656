//! The table of a hash: finds the cell of a key.
//!
//! It is an array of words, a power of two of them, at most two thirds in use: 0, or the tag of a key (the upper half of
//! its hash) above and its cell plus one below. The topmost bits of the tag are the place where a key would like to be;
//! it is there or behind, with no empty word in between. Taking one out moves those behind it up, so that nothing is left
//! of it, however often entries come and go.
//!
//! A table of control bytes, such as hashbrown's, looks at sixteen of them at once, and waits for each that has just been
//! written: there an insert and a delete in a row take 20 ns by that alone.

use crate::errno::Errno;
use crate::memory::Arena;

/// An empty word.
const EMPTY: u64 = 0;
/// Words of the smallest table.
const SMALLEST: usize = 64;

/// Cells by tags of their keys.
pub(super) struct Table {
    words: Arena,
    /// Number of words less one.
    mask: usize,
    /// What is left of a tag when it is shifted by this is a place.
    shift: u32,
    len: usize,
}

impl Table {
    /// An empty table with room for `entries`.
    pub(super) fn new(entries: usize) -> Result<Table, Errno> {
        let words = (entries + entries / 2 + 1).next_power_of_two().max(SMALLEST);
        let bytes = words.checked_mul(size_of::<u64>()).ok_or(Errno::ENOMEM)?;
        Ok(Table { words: Arena::new(bytes)?, mask: words - 1, shift: u32::BITS - words.ilog2(), len: 0 })
    }

    #[inline(always)]
    fn word(&self, place: usize) -> *mut u64 {
        self.words.as_ptr().cast::<u64>().wrapping_add(place & self.mask)
    }

    #[inline(always)]
    fn get(&self, place: usize) -> u64 {
        // SAFETY: a word of the arena, which nobody else has a pointer to.
        unsafe { self.word(place).read() }
    }

    #[inline(always)]
    fn set(&mut self, place: usize, word: u64) {
        // SAFETY: as above.
        unsafe { self.word(place).write(word) };
    }

    /// Where a key of this tag would like to be.
    #[inline(always)]
    fn home(&self, tag: u32) -> usize {
        (tag >> self.shift) as usize
    }

    /// Place and cell of the key of this tag whose cell `same` knows; else the place where it would be put.
    #[inline(always)]
    pub(super) fn find(&self, tag: u32, same: impl Fn(u32) -> bool) -> Result<(usize, u32), usize> {
        let mut place = self.home(tag);
        loop {
            let word = self.get(place);
            if word == EMPTY {
                return Err(place);
            }
            let cell = (word as u32).wrapping_sub(1);
            if (word >> 32) as u32 == tag && same(cell) {
                return Ok((place, cell));
            }
            place = (place + 1) & self.mask;
        }
    }

    /// Makes room for one more. A place that was found before is then no longer one where it returns true.
    #[inline]
    pub(super) fn reserve(&mut self) -> Result<bool, Errno> {
        let full = 3 * (self.len + 1) > 2 * (self.mask + 1);
        if full {
            self.grow()?;
        }
        Ok(full)
    }

    #[cold]
    fn grow(&mut self) -> Result<(), Errno> {
        let mut larger = Table::new(self.mask + 1)?;
        for place in 0..=self.mask {
            let word = self.get(place);
            if word != EMPTY {
                let vacant = larger.vacant((word >> 32) as u32);
                larger.set(vacant, word);
            }
        }
        larger.len = self.len;
        *self = larger;
        Ok(())
    }

    /// The place where a key of this tag is put that is not there.
    pub(super) fn vacant(&self, tag: u32) -> usize {
        self.find(tag, |_| false).map_or_else(|place| place, |(place, _)| place)
    }

    /// Puts a key to the place that was found for it, once there is room.
    #[inline]
    pub(super) fn insert(&mut self, place: usize, tag: u32, cell: u32) {
        debug_assert!(self.get(place) == EMPTY);
        self.replace(place, tag, cell);
        self.len += 1;
    }

    /// Gives a key another cell.
    #[inline]
    pub(super) fn replace(&mut self, place: usize, tag: u32, cell: u32) {
        self.set(place, u64::from(tag) << 32 | (u64::from(cell) + 1));
    }

    /// Takes out the key of a place.
    #[inline]
    pub(super) fn remove(&mut self, place: usize) {
        let (mut hole, mut next) = (place, place);
        loop {
            next = (next + 1) & self.mask;
            let word = self.get(next);
            if word == EMPTY {
                break;
            }
            // It may move up as far as its home.
            let home = self.home((word >> 32) as u32);
            if next.wrapping_sub(home) & self.mask >= next.wrapping_sub(hole) & self.mask {
                self.set(hole, word);
                hole = next;
            }
        }
        self.set(hole, EMPTY);
        self.len -= 1;
    }
}
