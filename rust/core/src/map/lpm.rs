//! Longest-prefix-match trie: a key says how many of its leading bits count, as the address of a network does, and a
//! look-up finds the entry with the longest prefix that the key falls under.
//!
//! A key is a `u32` of how many bits count and then the bits, the first highest in the first byte. [`Prefixes`] find the
//! entry; key and value live in [`Cells`] at stable addresses. As in a hash, an update of an entry gives it another
//! cell: a pointer from an earlier look-up then sees the old value until that cell is used again.
//!
//! One lock guards the structure; values are reached without it.

use std::ptr::NonNull;

use crate::errno::Errno;
use crate::map::access::{self, Access, BPF_EXIST, BPF_NOEXIST};
use crate::map::cells::Cells;
use crate::map::create::MAX_BYTES;
use crate::map::kind::BPF_F_RDONLY_PROG;
use crate::map::lock::Lock;
use crate::map::prefixes::{LENGTH, Prefix, Prefixes, Slot};
use crate::map::slots::Slots;
use crate::map::values::{self, ValueLayout};
use crate::map::{Map, MapSpec};
use crate::memory::{Bytes, Region, Window};

/// The smallest and the largest key: 1 to 256 bytes of bits.
pub(super) const KEY_SIZES: (u32, u32) = (5, 260);

/// A trie.
pub(super) struct Lpm {
    spec: MapSpec,
    access: Access,
    layout: ValueLayout,
    state: Lock<State>,
}

struct State {
    prefixes: Prefixes,
    cells: Cells,
    slots: Slots,
}

/// A copy of a key. The caller's bytes are a program's, and may change at any moment.
struct Key([u8; KEY_SIZES.1 as usize], usize);

impl Key {
    fn bytes(&self) -> Bytes<'_> {
        Bytes::from(&self.0[..self.1])
    }
}

impl State {
    /// The cell of an entry that is new, by the flags of an update.
    fn take(&mut self, flags: u64, max_entries: u32) -> Result<u32, Errno> {
        if flags == BPF_EXIST {
            return Err(Errno::ENOENT);
        }
        if self.slots.len() == max_entries {
            return Err(Errno::ENOSPC);
        }
        // Fewer slots than entries: a map may not take more memory.
        let taken = self.slots.take(|cell| self.cells.grow(cell))?;
        taken.map(|(_, cell)| cell).ok_or(Errno::ENOMEM)
    }

    /// The cell of a key for a new value, by the flags of an update.
    fn place(&mut self, key: &Key, flags: u64, max_entries: u32) -> Result<u32, Errno> {
        access::update_flags(flags)?;
        let prefix = Prefix::new(key.bytes()).ok_or(Errno::EINVAL)?;
        let cell = match self.prefixes.find(&prefix)? {
            Slot::Entry(_) if flags == BPF_NOEXIST => return Err(Errno::EEXIST),
            Slot::Entry(held) => {
                let fresh = self.slots.exchange(self.prefixes.cell(&held));
                self.prefixes.replace(&held, &prefix, fresh);
                fresh
            }
            Slot::Vacant(vacant) => {
                let cell = self.take(flags, max_entries)?;
                self.prefixes.insert(vacant, &prefix, cell);
                cell
            }
        };
        self.cells.set_key(cell, key.bytes());
        Ok(cell)
    }

    fn append_value(&self, cell: u32, out: &mut Vec<u8>) {
        // SAFETY: the part of a cell's value: 8-aligned, `stride` bytes.
        unsafe { self.cells.layout.append(|part| self.cells.value(cell, part), out) };
    }
}

impl Lpm {
    /// An empty trie.
    pub(super) fn new(spec: MapSpec) -> Result<Lpm, Errno> {
        let layout = ValueLayout::new(spec.value_size, 1, false);
        let entry = (spec.key_size as usize).next_multiple_of(8) + layout.stride;
        let most = u32::try_from(MAX_BYTES / entry as u64).unwrap_or(u32::MAX);
        let entries = spec.max_entries.min(most).min(u32::MAX - 1);
        let state = State {
            prefixes: Prefixes::new(spec.key_size as usize - LENGTH),
            // One more than entries: the spare that takes the next replaced value.
            cells: Cells::new(spec.key_size, layout, entries + 1, false)?,
            slots: Slots::new(entries, false)?,
        };
        Ok(Lpm { access: Access::new(spec.flags), layout, state: Lock::new(state), spec })
    }

    /// A copy of a key, if it has the key size.
    fn copy(&self, key: Bytes<'_>) -> Result<Key, Errno> {
        if key.len() != self.spec.key_size as usize {
            return Err(Errno::EINVAL);
        }
        let mut copy = Key([0; KEY_SIZES.1 as usize], key.len());
        // SAFETY: a key is at most as long as the copy (`create` has checked the key size).
        unsafe { key.copy_to(copy.0.as_mut_ptr()) };
        Ok(copy)
    }

    /// A key of bpf(2), and its prefix, if it is one.
    fn user_prefix<'k>(&self, key: &'k [u8]) -> Result<Option<Prefix<'k>>, Errno> {
        access::sized(key, self.spec.key_size as usize)?;
        Ok(Prefix::new(Bytes::from(key)))
    }
}

/// A prefix as a person reads it: the bits in hex, cut behind the last byte that counts, and how many count.
fn shown(key: &[u8]) -> Option<String> {
    let (len, bits) = key.split_first_chunk::<LENGTH>()?;
    let len = u32::from_le_bytes(*len);
    let digits: String = bits.iter().take(len.div_ceil(8) as usize).map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{digits}/{len}"))
}

impl Region for Lpm {
    fn window(&self, address: u64) -> Option<Window> {
        let state = self.state.lock();
        state.cells.window(&state.slots, address, self.spec.flags & BPF_F_RDONLY_PROG == 0)
    }

    fn describe(&self, address: u64) -> Option<String> {
        let state = self.state.lock();
        let place = state.cells.locate(address)?;
        let mut key = Vec::new();
        if state.slots.is_live_cell(place.cell) {
            state.cells.append_key(place.cell, &mut key);
        }
        let entry = shown(&key).unwrap_or_else(|| format!("slot {}", place.cell));
        let part = if place.part.is_none() { ".key" } else { "" };
        Some(format!("{}[{entry}]{part}+{}", self.spec.name, place.offset))
    }
}

impl Map for Lpm {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.state.set_alone(alone) };
    }

    fn lookup(&self, _cpu: u32, key: Bytes<'_>) -> Option<NonNull<u8>> {
        if key.len() != self.spec.key_size as usize {
            return None;
        }
        let prefix = Prefix::new(key)?;
        let state = self.state.lock();
        NonNull::new(state.cells.value(state.prefixes.longest(&prefix)?, 0))
    }

    fn update(&self, _cpu: u32, key: Bytes<'_>, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let key = self.copy(key)?;
        if value.len() != self.layout.size {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.lock();
        let cell = state.place(&key, flags, self.spec.max_entries)?;
        // SAFETY: a value of a cell: 8-aligned, `stride` bytes; `value` is readable for `size` bytes. Both lie in
        // windows of one value each, so they are the same value or apart.
        unsafe { values::store(state.cells.value(cell, 0), value.as_ptr(), self.layout.size) };
        Ok(())
    }

    fn delete(&self, key: Bytes<'_>) -> Result<(), Errno> {
        let key = self.copy(key)?;
        let prefix = Prefix::new(key.bytes()).ok_or(Errno::EINVAL)?;
        let mut state = self.state.lock();
        let cell = state.prefixes.remove(&prefix).ok_or(Errno::ENOENT)?;
        let slot = state.slots.slot(cell);
        state.slots.release(slot);
        Ok(())
    }

    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        let prefix = self.user_prefix(key)?.ok_or(Errno::ENOENT)?;
        let state = self.state.lock();
        let cell = state.prefixes.longest(&prefix).ok_or(Errno::ENOENT)?;
        values::make_room(out, 1, self.layout.user_size())?;
        state.append_value(cell, out);
        Ok(())
    }

    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.access.update(flags)?;
        self.update(0, Bytes::from(key), Bytes::from(value), flags)
    }

    fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        self.access.write()?;
        self.delete(Bytes::from(key))
    }

    fn lookup_and_delete_user(&self, key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)?;
        access::sized(key, self.spec.key_size as usize)?;
        Err(Errno::ENOTSUPP)
    }

    /// Longer prefixes come before those that they fall under; a key that is gone starts again at the first.
    fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        let prefix = key.map(|key| self.user_prefix(key)).transpose()?.flatten();
        let state = self.state.lock();
        let mut walk = match &prefix {
            Some(prefix) => state.prefixes.walk_behind(prefix),
            None => state.prefixes.walk(),
        };
        state.cells.append_key(walk.next().ok_or(Errno::ENOENT)?, out);
        Ok(())
    }

    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.access.batch(read, write)
    }

    fn freeze(&self) -> Result<(), Errno> {
        self.access.freeze()
    }

    fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.access.read()?;
        let state = self.state.lock();
        let entries = state.slots.len() as usize;
        values::make_room(keys, entries, self.spec.key_size as usize)?;
        values::make_room(values, entries, self.layout.user_size())?;
        for cell in state.prefixes.walk() {
            state.cells.append_key(cell, keys);
            state.append_value(cell, values);
        }
        Ok(entries)
    }

    fn len(&self) -> usize {
        self.state.lock().slots.len() as usize
    }
}
