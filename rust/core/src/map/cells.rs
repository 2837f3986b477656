//! Cells: where a hash keeps its keys and values, at addresses that never change.
//!
//! A cell is the key padded to 8 bytes, then the value, one padded part a CPU. Cells lie in pieces that double in
//! size: one piece for a preallocated map, more as they are needed otherwise.

use crate::errno::Errno;
use crate::map::create::MAX_BYTES;
use crate::map::keys::{Key, with_key};
use crate::map::slots::Slots;
use crate::map::values::ValueLayout;
use crate::memory::{Arena, Bytes, Window};

/// Cells of the first piece of a map that grows, at most, and bytes of it, if one cell has no more.
const FIRST_PIECE: usize = 64;
const FIRST_BYTES: usize = 1 << 20;

/// The cells of one hash map.
pub(super) struct Cells {
    pub layout: ValueLayout,
    key_size: usize,
    /// Bytes before the value.
    key_stride: usize,
    /// Bytes of a cell.
    stride: usize,
    /// Cells that there may ever be.
    limit: usize,
    /// Cells of the first piece at most, a power of two, and its logarithm.
    first: usize,
    first_log2: u32,
    near: Arena,
    /// The pieces behind the first.
    far: Vec<Arena>,
}

/// What an address in a cell is.
pub(super) struct Place {
    pub cell: u32,
    /// Offset of the address in the cell's value part, or in the key.
    pub offset: usize,
    /// The part of the value, or the key.
    pub part: Option<usize>,
}

impl Cells {
    /// Room for `limit` cells, all of it at once where `preallocate`.
    pub(super) fn new(key_size: u32, layout: ValueLayout, limit: u32, preallocate: bool) -> Result<Cells, Errno> {
        let key_size = key_size as usize;
        let key_stride = key_size.next_multiple_of(8);
        let stride = layout.stride.checked_mul(layout.cpus).and_then(|value| value.checked_add(key_stride));
        let limit = limit as usize;
        let stride = stride.ok_or(Errno::ENOMEM)?;
        let few = (FIRST_BYTES / stride).clamp(1, FIRST_PIECE);
        let first = if preallocate { limit.next_power_of_two() } else { 1 << few.ilog2() };
        let near = Arena::new(first.min(limit).checked_mul(stride).ok_or(Errno::ENOMEM)?)?;
        Ok(Cells {
            layout,
            key_size,
            key_stride,
            stride,
            limit,
            first,
            first_log2: first.ilog2(),
            near,
            far: Vec::new(),
        })
    }

    /// Makes sure that there is memory for a cell, the one after the last at most.
    pub(super) fn grow(&mut self, cell: u32) -> Result<(), Errno> {
        let (piece, _) = self.piece_of(cell);
        if piece > self.far.len() {
            let before = (self.first << piece) - self.first;
            let cells = (self.first << piece).min(self.limit - before);
            let bytes = |cells: usize| cells.checked_mul(self.stride).ok_or(Errno::ENOMEM);
            if bytes(before + cells)? as u64 > MAX_BYTES {
                return Err(Errno::ENOMEM);
            }
            self.far.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.far.push(Arena::new(bytes(cells)?)?);
        }
        Ok(())
    }

    /// The piece of a cell and its index in the piece: piece `n` has `first << n` cells.
    #[inline]
    fn piece_of(&self, cell: u32) -> (usize, usize) {
        let shifted = cell as usize + self.first;
        let piece = shifted.ilog2() - self.first_log2;
        (piece as usize, shifted - (self.first << piece))
    }

    /// The key of a cell that has been grown to.
    #[inline(always)]
    pub(super) fn key(&self, cell: u32) -> *mut u8 {
        let index = cell as usize;
        if index < self.first { self.near_key(cell) } else { self.far_key(cell) }
    }

    /// The key of a cell of the first piece, which has all cells where memory was made for all at once.
    #[inline(always)]
    pub(super) fn near_key(&self, cell: u32) -> *mut u8 {
        debug_assert!((cell as usize) < self.first);
        self.near.as_ptr().wrapping_add(cell as usize * self.stride)
    }

    #[inline(never)]
    fn far_key(&self, cell: u32) -> *mut u8 {
        let (piece, index) = self.piece_of(cell);
        self.far[piece - 1].as_ptr().wrapping_add(index * self.stride)
    }

    /// A part of the value of a cell that has been grown to.
    #[inline(always)]
    pub(super) fn value(&self, cell: u32, part: usize) -> *mut u8 {
        debug_assert!(part < self.layout.cpus);
        self.value_behind(self.key(cell), part)
    }

    /// A part of the value behind the key of a cell.
    #[inline(always)]
    pub(super) fn value_behind(&self, key: *mut u8, part: usize) -> *mut u8 {
        key.wrapping_add(self.key_stride + part * self.layout.stride)
    }

    /// Copies a key of the key size into a cell.
    pub(super) fn set_key(&self, cell: u32, key: Bytes<'_>) {
        debug_assert_eq!(key.len(), self.key_size);
        // SAFETY: the key of a cell, padded to 8.
        with_key!(key, |key| unsafe { key.store(self.key(cell)) });
    }

    /// Brings a cell near.
    #[inline(always)]
    pub(super) fn touch(&self, cell: u32) {
        // SAFETY: the first byte of a key.
        let _first = unsafe { self.key(cell).read_volatile() };
    }

    /// The key of a cell.
    #[inline(always)]
    pub(super) fn key_bytes(&self, cell: u32) -> Bytes<'_> {
        // SAFETY: a cell has a key of the key size.
        unsafe { Bytes::from_raw(self.key(cell), self.key_size) }
    }

    /// The key of a cell, appended to `out`.
    pub(super) fn append_key(&self, cell: u32, out: &mut Vec<u8>) {
        // SAFETY: a key is 8-aligned and padded to 8.
        unsafe { super::values::append(self.key(cell), self.key_size, out) };
    }

    /// The value around an address, if it lies in one that has come into use.
    pub(super) fn window(&self, slots: &Slots, address: u64, writable: bool) -> Option<Window> {
        let Place { cell, offset, part } = self.locate(address)?;
        let inside = part.is_some() && offset < self.layout.size && slots.is_used(cell);
        inside.then(|| Window { start: address - offset as u64, len: self.layout.size as u64, writable })
    }

    /// What an address is, if it lies in a cell.
    pub(super) fn locate(&self, address: u64) -> Option<Place> {
        let pieces = std::iter::once(&self.near).chain(&self.far);
        let found = pieces.enumerate().find_map(|(piece, arena)| Some((piece, arena.offset_of(address)?)));
        let (piece, offset) = found?;
        let (index, offset) = (offset / self.stride, offset % self.stride);
        let cell = u32::try_from((self.first << piece) - self.first + index).ok()?;
        Some(match offset.checked_sub(self.key_stride) {
            None => Place { cell, offset, part: None },
            Some(offset) => {
                let stride = self.layout.stride;
                Place { cell, offset: offset % stride, part: Some(offset / stride) }
            }
        })
    }
}
