//! What a program on rbpf reaches in place of memory of maps: copies in memory of the run's own.
//!
//! rbpf checks only the first byte of an access to memory that is neither its stack nor the context, and it must be
//! told of that memory before it begins. So it is told of one block, and values are copied into it as they are looked
//! up. Behind the block come eight bytes more, so that an access which begins at its last byte stays in memory of ours.
//!
//! With Linux's helpers a copy is *linked* to the value that it is of: what the program stores into it is stored into
//! the value before the next helper runs and at the end of the run, and what a helper changes is seen in the copy.
//! Two look-ups of one value give one copy. With AxVisor's helpers every look-up gives a copy that is linked to nothing.
//!
//! Safety goes before fidelity here. AxVisor has one buffer of 512 bytes for all look-ups: a second one overwrites the
//! first, and a longer value is cut. And what Linux refuses is let pass: an access that begins in one copy and ends in
//! the next, or in a part of the block that was not given out. No memory but the run's own is touched.

use std::ptr::NonNull;

use parking_lot::Mutex;

use crate::errno::Errno;
use crate::fault::Fault;
use crate::helper::{InnerMaps, WithInner};
use crate::map::{MapSet, read_value, write_value};
use crate::memory::{Arena, Region, Window};

/// Bytes behind the block that an access which begins in it may touch.
const BEHIND: usize = 8;

/// A copy.
struct Copied {
    /// Offset in the block, a multiple of 8.
    offset: usize,
    len: usize,
    /// The value that it is of.
    origin: NonNull<u8>,
    /// What both held when they were made equal last; none if they are not kept equal.
    linked: Option<Vec<u8>>,
    writable: bool,
}

// SAFETY: the address of a value is only used by the run that looked it up.
unsafe impl Send for Copied {}

#[derive(Default)]
struct State {
    used: usize,
    copied: Vec<Copied>,
}

/// The block of one run.
pub(super) struct Copies {
    arena: Arena,
    room: usize,
    state: Mutex<State>,
}

impl Copies {
    /// A block of `room` bytes, of which nothing is given out.
    pub(super) fn new(room: usize) -> Result<Copies, Errno> {
        let room = room.next_multiple_of(8);
        Ok(Copies { arena: Arena::new(room + BEHIND)?, room, state: Mutex::default() })
    }

    /// All of the block.
    pub(super) fn block(&self) -> std::ops::Range<u64> {
        self.arena.address()..self.arena.address() + self.room as u64
    }

    /// Gives out memory that is no copy.
    pub(super) fn take(&self, len: usize) -> Option<u64> {
        let mut state = self.state.lock();
        let (offset, end) = (state.used, state.used.checked_add(len.max(1).next_multiple_of(8))?);
        if end > self.room {
            return None;
        }
        state.used = end;
        Some(self.arena.address() + offset as u64)
    }

    /// The copy of a value: the one that is linked to it if there is one, else a new one.
    ///
    /// # Safety
    /// `origin` must be 8-aligned and valid for reads and writes of `len` bytes rounded up to 8, until the run ends.
    pub(super) unsafe fn copy(&self, origin: NonNull<u8>, len: usize, link: bool, writable: bool) -> Option<u64> {
        let known = |copied: &&Copied| link && copied.linked.is_some() && copied.origin == origin && copied.len == len;
        if let Some(copied) = self.state.lock().copied.iter().find(known) {
            return Some(self.arena.address() + copied.offset as u64);
        }
        let address = self.take(len)?;
        let offset = (address - self.arena.address()) as usize;
        let mut bytes = Vec::new();
        // SAFETY: the caller answers for the value; the copy was given out with this length.
        unsafe {
            read_value(origin.as_ptr(), len, &mut bytes);
            write_value(address as *mut u8, bytes.as_ptr(), len);
        }
        let linked = link.then_some(bytes);
        self.state.lock().copied.push(Copied { offset, len, origin, linked, writable });
        Some(address)
    }

    /// Stores what the program has changed in its copies into the values.
    ///
    /// # Errors
    /// The address of the first byte that was changed in a value which the program may only read.
    pub(super) fn write_back(&self) -> Result<(), u64> {
        let mut now = Vec::new();
        for copied in &mut self.state.lock().copied {
            let Some(known) = &mut copied.linked else { continue };
            now.clear();
            // SAFETY: the copy was given out with this length, and the arena is 8-aligned.
            unsafe { read_value(self.arena.as_ptr().add(copied.offset), copied.len, &mut now) };
            if now == *known {
                continue;
            }
            if !copied.writable {
                let changed = now.iter().zip(&*known).position(|(now, known)| now != known).unwrap_or(0);
                return Err(copied.origin.as_ptr() as u64 + changed as u64);
            }
            known.copy_from_slice(&now);
            // SAFETY: whoever asked for the copy has answered for the value.
            unsafe { write_value(copied.origin.as_ptr(), now.as_ptr(), copied.len) };
        }
        Ok(())
    }

    /// Makes the copies what the values are now.
    pub(super) fn refresh(&self) {
        let mut now = Vec::new();
        for copied in &mut self.state.lock().copied {
            let Some(known) = &mut copied.linked else { continue };
            now.clear();
            // SAFETY: as in `write_back`.
            unsafe { read_value(copied.origin.as_ptr(), copied.len, &mut now) };
            if now != *known {
                known.copy_from_slice(&now);
                // SAFETY: as in `write_back`.
                unsafe { write_value(self.arena.as_ptr().add(copied.offset), now.as_ptr(), copied.len) };
            }
        }
    }

    /// The address of the value whose linked copy begins here.
    pub(super) fn origin(&self, address: u64) -> Option<u64> {
        let offset = address.wrapping_sub(self.arena.address());
        let state = self.state.lock();
        let copied = state.copied.iter().find(|c| c.linked.is_some() && c.offset as u64 == offset)?;
        Some(copied.origin.as_ptr() as u64)
    }

    /// The copy that begins here is linked no longer: its ring-buffer record was given up.
    pub(super) fn unlink(&self, address: u64) {
        let offset = address.wrapping_sub(self.arena.address());
        for copied in &mut self.state.lock().copied {
            if copied.offset as u64 == offset {
                copied.linked = None;
            }
        }
    }

    /// Makes the block what it was at first.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.copied.clear();
        // What was not given out, and the bytes behind the block, can have been stored to as well; finding out where
        // would cost more than most runs take, so only what was given out is made new.
        let used = std::mem::take(&mut state.used);
        // SAFETY: `used` is at most the room of the arena.
        unsafe { std::ptr::write_bytes(self.arena.as_ptr(), 0, used) };
    }

    fn find(&self, address: u64) -> Option<(Window, u64)> {
        let offset = usize::try_from(address.checked_sub(self.arena.address())?).ok()?;
        let state = self.state.lock();
        let index = state.copied.partition_point(|copied| copied.offset <= offset).checked_sub(1)?;
        let copied = state.copied.get(index).filter(|copied| offset - copied.offset < copied.len)?;
        let start = self.arena.address() + copied.offset as u64;
        Some((Window { start, len: copied.len as u64, writable: copied.writable }, copied.origin.as_ptr() as u64))
    }
}

/// The memory of a run behind its stack and context, as helpers check and name it.
pub(super) struct Reachable<'a> {
    pub(super) copies: &'a Copies,
    pub(super) maps: &'a MapSet,
    pub(super) inner: &'a InnerMaps,
}

impl Reachable<'_> {
    fn of_maps(&self) -> WithInner<'_> {
        WithInner { maps: self.maps, inner: self.inner }
    }

    /// A store into a value that the program may only read, at an address of the value.
    pub(super) fn read_only(&self, address: u64) -> Box<Fault> {
        let place = self.describe(address).unwrap_or_else(|| "a map value".to_owned());
        let why = "this memory is read-only (rbpf has none such: seen at the call or exit behind the store)";
        Box::new(Fault::Memory { address, size: 1, write: true, place, why })
    }
}

impl Region for Reachable<'_> {
    fn window(&self, address: u64) -> Option<Window> {
        self.copies.find(address).map(|(window, _)| window)
    }

    fn describe(&self, address: u64) -> Option<String> {
        if let Some((window, origin)) = self.copies.find(address) {
            return self.of_maps().describe(origin + (address - window.start));
        }
        let block = self.copies.block();
        if block.contains(&address) {
            return Some(format!("the block of looked-up values+{}", address - block.start));
        }
        self.of_maps().describe(address) // a value itself, which no program sees
    }
}
