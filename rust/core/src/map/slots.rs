//! Slots: which entries of a hash exist, and in what order.
//!
//! A slot is an entry's place in the order of walks; it keeps it while its key lives. The slot freed last is the next
//! to be used, so that a pointer held after a delete aliases the next insert, as on Linux.

use crate::errno::Errno;

/// No slot, for a cell that belongs to no entry.
const NONE: u32 = u32::MAX;

/// The slots of one hash map and the cells bound to them. One cell, the spare, belongs to none.
pub(super) struct Slots {
    limit: u32,
    /// The cell of each slot used so far; a free slot keeps its cell.
    cell_of: Vec<u32>,
    /// The slot of each cell.
    slot_of: Vec<u32>,
    free: Vec<u32>,
    live: Vec<u64>,
    len: u32,
    spare: u32,
}

impl Slots {
    /// No entries yet, `limit` at most; memory for all of them at once where `preallocate`.
    pub(super) fn new(limit: u32, preallocate: bool) -> Result<Slots, Errno> {
        let mut slots = Slots {
            limit,
            cell_of: Vec::new(),
            slot_of: vec![NONE],
            free: Vec::new(),
            live: Vec::new(),
            len: 0,
            spare: 0,
        };
        if preallocate {
            slots.reserve(limit as usize)?;
        }
        Ok(slots)
    }

    /// Room for `more` slots that were never used, and for freeing them.
    fn reserve(&mut self, more: usize) -> Result<(), Errno> {
        let out_of_memory = |_| Errno::ENOMEM;
        self.cell_of.try_reserve(more).map_err(out_of_memory)?;
        self.slot_of.try_reserve(more).map_err(out_of_memory)?;
        self.live.try_reserve(more.div_ceil(64)).map_err(out_of_memory)?;
        let all = self.cell_of.len() + more;
        self.free.try_reserve(all - self.free.len()).map_err(out_of_memory)
    }

    /// Entries that exist.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Slots used so far: every entry's slot is below.
    pub(super) fn used(&self) -> u32 {
        self.cell_of.len() as u32
    }

    /// A slot for a new entry, with its cell: the one freed last, or one never used, or none if the map is full.
    /// `grow` provides the memory of a cell that was never used.
    pub(super) fn take(&mut self, grow: impl FnOnce(u32) -> Result<(), Errno>) -> Result<Option<(u32, u32)>, Errno> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.used() == self.limit => return Ok(None),
            None => {
                let (slot, cell) = (self.used(), self.used() + 1);
                self.reserve(1)?;
                grow(cell)?;
                self.cell_of.push(cell);
                self.slot_of.push(slot);
                if slot % 64 == 0 {
                    self.live.push(0);
                }
                slot
            }
        };
        self.live[slot as usize / 64] |= 1 << (slot % 64);
        self.len += 1;
        Ok(Some((slot, self.cell(slot))))
    }

    /// Ends an entry.
    pub(super) fn release(&mut self, slot: u32) {
        debug_assert!(self.is_live(slot));
        self.live[slot as usize / 64] &= !(1 << (slot % 64));
        self.len -= 1;
        self.free.push(slot);
    }

    /// Gives the entry of a cell the spare cell in its place, and returns it; `cell` becomes the spare.
    pub(super) fn exchange(&mut self, cell: u32) -> u32 {
        let (slot, fresh) = (self.slot(cell), self.spare);
        self.cell_of[slot as usize] = fresh;
        self.slot_of[fresh as usize] = slot;
        self.slot_of[cell as usize] = NONE;
        self.spare = cell;
        fresh
    }

    /// The cell of a slot that was used.
    #[inline]
    pub(super) fn cell(&self, slot: u32) -> u32 {
        self.cell_of[slot as usize]
    }

    /// The slot of an entry's cell.
    #[inline]
    pub(super) fn slot(&self, cell: u32) -> u32 {
        self.slot_of[cell as usize]
    }

    /// Whether a cell has come into use, for an entry or as the spare. Its value then stays accessible.
    pub(super) fn is_used(&self, cell: u32) -> bool {
        (cell as usize) < self.slot_of.len()
    }

    /// Whether a cell is that of an entry now.
    pub(super) fn is_live_cell(&self, cell: u32) -> bool {
        self.slot_of.get(cell as usize).is_some_and(|slot| *slot != NONE && self.is_live(*slot))
    }

    fn is_live(&self, slot: u32) -> bool {
        self.live.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// The cells of all entries, in the order of walks, 64 at most at a time.
    pub(super) fn chunks(&self) -> impl Iterator<Item = ([u32; 64], usize)> {
        self.live.iter().zip(self.cell_of.chunks(64)).map(|(word, cells)| {
            let (mut live, mut left, mut count) = ([NONE; 64], *word, 0);
            while left != 0 {
                live[count] = cells[left.trailing_zeros() as usize];
                left &= left - 1;
                count += 1;
            }
            (live, count)
        })
    }

    /// The first entry at or behind a slot.
    pub(super) fn next_live(&self, from: u32) -> Option<u32> {
        let mut index = from as usize / 64;
        let mut word = self.live.get(index)? & (u64::MAX << (from % 64));
        while word == 0 {
            index += 1;
            word = *self.live.get(index)?;
        }
        Some(index as u32 * 64 + word.trailing_zeros())
    }
}
