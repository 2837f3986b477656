//! The entries of a hash: what its lock guards. It finds them, makes and ends them, and drives them out.

use std::ptr::NonNull;

use crate::errno::Errno;
use crate::map::access::{self, BPF_EXIST, BPF_NOEXIST};
use crate::map::cells::Cells;
use crate::map::keys::{Key, SHORT, Short, with_key};
use crate::map::kind::{BPF_F_NO_COMMON_LRU, Rules};
use crate::map::lru::Lru;
use crate::map::lru_linux::LinuxLru;
use crate::map::slots::Slots;
use crate::map::table::Table;
use crate::map::values::ValueLayout;
use crate::map::{Creation, LruOrder, MapSpec};
use crate::memory::Bytes;

/// What the lock of a hash guards.
pub(super) struct State {
    /// Cells of the entries, by tags of their keys.
    table: Table,
    /// Where a long key is copied to while it is entered; empty where keys are short.
    copy: Vec<u64>,
    pub cells: Cells,
    pub slots: Slots,
    pub lru: Option<Order>,
}

/// The order of use of an LRU hash.
pub(super) enum Order {
    Exact(Lru),
    Linux(Box<LinuxLru>),
}

impl Order {
    /// An entry has been used.
    #[inline]
    pub(super) fn touch(&mut self, slot: u32) {
        match self {
            Order::Exact(lru) => lru.touch(slot),
            Order::Linux(lru) => lru.touch(slot),
        }
    }

    /// An entry ends.
    pub(super) fn remove(&mut self, slot: u32) {
        match self {
            Order::Exact(lru) => lru.remove(slot),
            Order::Linux(lru) => lru.remove(slot),
        }
    }
}

/// A cell to write a value to.
pub(super) struct Target {
    pub cell: u32,
    /// Whether the entry is new, so that what the cell holds is of another one.
    pub new: bool,
}

impl State {
    /// No entries yet; memory for all of them at once where `preallocate`.
    pub(super) fn new(
        spec: &MapSpec,
        cpus: u32,
        rules: Rules,
        layout: ValueLayout,
        preallocate: bool,
        with: &Creation<'_>,
    ) -> Result<State, Errno> {
        // One more than entries: the spare that takes the next replaced value.
        let cells = spec.max_entries.checked_add(1).ok_or(Errno::ENOMEM)?;
        let key_size = spec.key_size as usize;
        let words = if key_size > SHORT { key_size.div_ceil(8) } else { 0 };
        let mut copy = Vec::new();
        copy.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
        copy.resize(words, 0);
        Ok(State {
            table: Table::new(if preallocate { spec.max_entries as usize } else { 0 })?,
            copy,
            cells: Cells::new(spec.key_size, layout, cells, preallocate)?,
            slots: Slots::new(spec.max_entries, preallocate)?,
            lru: match with.lru {
                _ if !rules.lru => None,
                LruOrder::Exact => Some(Order::Exact(Lru::new(spec.max_entries)?)),
                LruOrder::Linux => {
                    let shared = spec.flags & BPF_F_NO_COMMON_LRU == 0;
                    Some(Order::Linux(Box::new(LinuxLru::new(spec.max_entries, cpus, shared)?)))
                }
            },
        })
    }

    /// The cell of a key.
    #[inline(always)]
    pub(super) fn find(&self, key: Bytes<'_>) -> Option<u32> {
        with_key!(key, |key| self.look_for(key, key.tag()).ok().map(|(_, cell)| cell))
    }

    /// Place in the table and cell of a key; else the place where it would be.
    #[inline(always)]
    fn look_for(&self, key: impl Key, tag: u32) -> Result<(usize, u32), usize> {
        // SAFETY: the key of a cell, padded to 8.
        self.table.find(tag, |cell| unsafe { key.is_at(self.cells.key(cell)) })
    }

    /// The value of a key of 4, 8 or 16 bytes (`words` of 8) in a map that keeps no order of use and has had memory for
    /// all its cells from the start. Where the key lies on a multiple of 4, which who calls has to ask first, it calls
    /// nothing, and so takes half as long as what can.
    #[inline(always)]
    pub(super) fn plain(&self, key: Bytes<'_>, words: usize, part: usize) -> Option<NonNull<u8>> {
        let at = |cell| self.cells.near_key(cell);
        // SAFETY: the key has so many bytes; a cell has a key, padded to 8.
        let found = unsafe {
            if words == 1 {
                let key = Short::<1>::load(key.as_ptr(), if key.len() == 4 { 4 } else { 8 });
                self.table.find(key.tag(), |cell| key.is_at(at(cell)))
            } else {
                let key = Short::<2>::load(key.as_ptr(), 16);
                self.table.find(key.tag(), |cell| key.is_at(at(cell)))
            }
        };
        NonNull::new(self.cells.value_behind(at(found.ok()?.1), part))
    }

    /// The cell of a key for a new value, by the flags of an update on a CPU.
    #[inline(always)]
    pub(super) fn place(&mut self, cpu: u32, key: Bytes<'_>, flags: u64) -> Result<Target, Errno> {
        access::update_flags(flags)?;
        if let Some(Order::Linux(_)) = self.lru {
            return self.place_as_linux(cpu, key, flags);
        }
        self.settle(key, flags)
    }

    /// [`State::place`] in Linux's order of use: each update takes a node first, which may drive out entries, also the
    /// very one that is to be updated; an update that fails, or changes a value in place, gives it back.
    #[cold]
    fn place_as_linux(&mut self, cpu: u32, key: Bytes<'_>, flags: u64) -> Result<Target, Errno> {
        let in_place = self.cells.layout.per_cpu;
        let node = if in_place && flags == BPF_EXIST { None } else { Some(self.take_node(cpu)?) };
        let placed = self.settle(key, flags);
        if let (Some(Order::Linux(lru)), Some(node)) = (&mut self.lru, node) {
            match &placed {
                Ok(Target { cell, new: true }) => lru.bind(node, self.slots.slot(*cell)),
                Ok(Target { cell, new: false }) if !in_place => lru.exchange(node, self.slots.slot(*cell)),
                _ => lru.give_back(node),
            }
        }
        placed
    }

    /// A node of Linux's order of use, once the entries are gone that make room for it.
    fn take_node(&mut self, cpu: u32) -> Result<u32, Errno> {
        let Some(Order::Linux(lru)) = &mut self.lru else { return Err(Errno::ENOMEM) };
        let node = lru.take(cpu);
        while let Some(Order::Linux(lru)) = &mut self.lru
            && let Some(slot) = lru.next_evicted()
        {
            self.evict(self.slots.cell(slot));
        }
        node.ok_or(Errno::ENOMEM)
    }

    #[inline(always)]
    fn settle(&mut self, key: Bytes<'_>, flags: u64) -> Result<Target, Errno> {
        let key = self.steady(key);
        with_key!(key, |key| self.place_key(key, flags))
    }

    /// A key that does not change while it is entered, as a program's may at any moment: short ones are loaded once.
    #[inline(always)]
    fn steady<'k>(&mut self, key: Bytes<'k>) -> Bytes<'k> {
        if self.copy.is_empty() {
            return key;
        }
        let copy = self.copy.as_mut_ptr().cast::<u8>();
        // SAFETY: the copy has the key size, and `Hash` lets only keys of that pass.
        unsafe { key.copy_to(copy) };
        // SAFETY: the copy lives as long as the state, and is used while that is locked.
        unsafe { Bytes::from_raw(copy, key.len()) }
    }

    #[inline(always)]
    fn place_key(&mut self, key: impl Key, flags: u64) -> Result<Target, Errno> {
        let tag = key.tag();
        let (place, cell) = match self.look_for(key, tag) {
            Ok(_) if flags == BPF_NOEXIST => return Err(Errno::EEXIST),
            Ok(found) => found,
            Err(_) if flags == BPF_EXIST => return Err(Errno::ENOENT),
            Err(vacant) => return self.insert(key, tag, vacant),
        };
        if let Some(lru) = &mut self.lru {
            lru.touch(self.slots.slot(cell));
        }
        if self.cells.layout.per_cpu {
            return Ok(Target { cell, new: false });
        }
        let fresh = self.slots.exchange(cell);
        // SAFETY: the key of a cell, padded to 8.
        unsafe { key.store(self.cells.key(fresh)) };
        self.table.replace(place, tag, fresh);
        Ok(Target { cell: fresh, new: false })
    }

    /// A cell for a key that has none.
    #[inline]
    fn insert(&mut self, key: impl Key, tag: u32, vacant: usize) -> Result<Target, Errno> {
        let mut moved = self.table.reserve()?;
        let (slot, cell) = match self.slots.take(|cell| self.cells.grow(cell))? {
            Some(taken) => taken,
            None => {
                let Some(Order::Exact(lru)) = &self.lru else { return Err(Errno::E2BIG) };
                let oldest = lru.oldest().ok_or(Errno::E2BIG)?;
                self.evict(self.slots.cell(oldest));
                moved = true;
                // The slot just freed is the next to be taken.
                self.slots.take(|_| Ok(()))?.ok_or(Errno::E2BIG)?
            }
        };
        // SAFETY: the key of a cell, padded to 8.
        unsafe { key.store(self.cells.key(cell)) };
        let place = if moved { self.table.vacant(tag) } else { vacant };
        self.table.insert(place, tag, cell);
        if let Some(Order::Exact(lru)) = &mut self.lru {
            lru.insert(slot);
        }
        Ok(Target { cell, new: true })
    }

    /// Ends the entry of a key, after `last` has seen its cell.
    #[inline]
    pub(super) fn remove(&mut self, key: Bytes<'_>, last: impl FnOnce(&State, u32)) -> Result<(), Errno> {
        let found = with_key!(key, |key| self.look_for(key, key.tag()));
        let (place, cell) = found.map_err(|_| Errno::ENOENT)?;
        self.table.remove(place);
        last(self, cell);
        self.release(cell);
        Ok(())
    }

    /// Drives out the entry of a cell.
    pub(super) fn evict(&mut self, cell: u32) {
        let tag = with_key!(self.cells.key_bytes(cell), |key| key.tag());
        if let Ok((place, _)) = self.table.find(tag, |other| other == cell) {
            self.table.remove(place);
        }
        self.release(cell);
    }

    /// Makes the slot of a cell that the table no longer has a free one.
    fn release(&mut self, cell: u32) {
        let slot = self.slots.slot(cell);
        if let Some(lru) = &mut self.lru {
            lru.remove(slot);
        }
        self.slots.release(slot);
    }

    /// Appends the value of a cell, as bpf(2) reads it.
    pub(super) fn append_value(&self, cell: u32, out: &mut Vec<u8>) {
        // SAFETY: the parts of a cell's value: 8-aligned, `stride` bytes each.
        unsafe { self.cells.layout.append(|part| self.cells.value(cell, part), out) };
    }
}
