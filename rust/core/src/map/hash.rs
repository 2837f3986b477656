//! Hash maps: plain and per CPU, with and without LRU.
//!
//! Entries live in [`Cells`] at stable addresses; a table finds the cell of a key, [`Slots`] keep the order of walks.
//! As on Linux, an update of an existing key of a plain hash gives the entry another cell: a pointer from an earlier
//! look-up then sees the old value until that cell is used again. A per-CPU value is changed in place.
//!
//! One lock guards the structure; values are reached without it. No lock is held while a callback runs.

use std::ops::ControlFlow;
use std::ptr::NonNull;

use hashbrown::HashTable;

use crate::errno::Errno;
use crate::map::access::{self, Access, BPF_EXIST, BPF_F_LOCK, BPF_NOEXIST};
use crate::map::cells::Cells;
use crate::map::kind::{BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, Rules};
use crate::map::lock::Lock;
use crate::map::lru::Lru;
use crate::map::lru_linux::LinuxLru;
use crate::map::slots::Slots;
use crate::map::spin::{self, SpinLock};
use crate::map::values::{self, ValueLayout};
use crate::map::{Creation, Entries, LruOrder, Map, MapSpec, Visit};
use crate::memory::{Bytes, Region, Window};

/// The CPU whose nodes the bpf(2) side takes in Linux's order of use: here it has none of its own.
const USER_CPU: u32 = 0;

/// A hash map of any of the four kinds.
pub(super) struct Hash {
    spec: MapSpec,
    access: Access,
    layout: ValueLayout,
    state: Lock<State>,
}

struct State {
    /// Cells of the entries, by hash of their keys.
    table: HashTable<u32>,
    cells: Cells,
    slots: Slots,
    lru: Option<Order>,
}

/// The order of use of an LRU hash.
enum Order {
    Exact(Lru),
    Linux(Box<LinuxLru>),
}

impl Order {
    /// An entry has been used.
    #[inline]
    fn touch(&mut self, slot: u32) {
        match self {
            Order::Exact(lru) => lru.touch(slot),
            Order::Linux(lru) => lru.touch(slot),
        }
    }

    /// An entry ends.
    fn remove(&mut self, slot: u32) {
        match self {
            Order::Exact(lru) => lru.remove(slot),
            Order::Linux(lru) => lru.remove(slot),
        }
    }
}

/// A cell to write a value to.
struct Target {
    cell: u32,
    /// Whether the entry is new, so that what the cell holds is of another one.
    new: bool,
}

impl State {
    /// The cell of a key.
    #[inline]
    fn find(&self, key: Bytes<'_>) -> Option<u32> {
        // SAFETY: `Hash` lets only keys of the key size pass.
        let hash = unsafe { self.cells.hash(key.as_ptr()) };
        // SAFETY: as above.
        self.table.find(hash, |cell| unsafe { self.cells.has_key(*cell, key.as_ptr()) }).copied()
    }

    /// The cell of a key for a new value, by the flags of an update on a CPU.
    #[inline]
    fn place(&mut self, cpu: u32, key: Bytes<'_>, flags: u64) -> Result<Target, Errno> {
        access::update_flags(flags)?;
        if let Some(Order::Linux(_)) = self.lru {
            self.place_as_linux(cpu, key, flags)
        } else {
            self.settle(key, flags)
        }
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

    fn settle(&mut self, key: Bytes<'_>, flags: u64) -> Result<Target, Errno> {
        let State { table, cells, slots, lru } = self;
        // SAFETY: `Hash` lets only keys of the key size pass.
        let hash = unsafe { cells.hash(key.as_ptr()) };
        // SAFETY: as above.
        let entry = table.find_mut(hash, |cell| unsafe { cells.has_key(*cell, key.as_ptr()) });
        let Some(entry) = entry else {
            return if flags == BPF_EXIST { Err(Errno::ENOENT) } else { self.insert(key) };
        };
        if flags == BPF_NOEXIST {
            return Err(Errno::EEXIST);
        }
        if let Some(lru) = lru {
            lru.touch(slots.slot(*entry));
        }
        if !cells.layout.per_cpu {
            let fresh = slots.exchange(*entry);
            // SAFETY: the key of another cell.
            unsafe { cells.set_key(fresh, cells.key(*entry)) };
            *entry = fresh;
        }
        Ok(Target { cell: *entry, new: false })
    }

    /// A cell for a key that has none.
    fn insert(&mut self, key: Bytes<'_>) -> Result<Target, Errno> {
        if self.table.try_reserve(1, |cell| self.cells.hash_of(*cell)).is_err() {
            return Err(Errno::ENOMEM);
        }
        let (slot, cell) = match self.slots.take(|cell| self.cells.grow(cell))? {
            Some(taken) => taken,
            None => {
                let Some(Order::Exact(lru)) = &self.lru else { return Err(Errno::E2BIG) };
                let oldest = lru.oldest().ok_or(Errno::E2BIG)?;
                self.evict(self.slots.cell(oldest));
                // The slot just freed is the next to be taken.
                self.slots.take(|_| Ok(()))?.ok_or(Errno::E2BIG)?
            }
        };
        // SAFETY: `Hash` lets only keys of the key size pass.
        unsafe { self.cells.set_key(cell, key.as_ptr()) };
        // From the copy: the caller's bytes are a program's, and may change at any moment.
        let hash = self.cells.hash_of(cell);
        self.table.insert_unique(hash, cell, |cell| self.cells.hash_of(*cell));
        if let Some(Order::Exact(lru)) = &mut self.lru {
            lru.insert(slot);
        }
        Ok(Target { cell, new: true })
    }

    /// Ends the entry of a key, after `last` has seen its cell.
    fn remove(&mut self, key: Bytes<'_>, last: impl FnOnce(&State, u32)) -> Result<(), Errno> {
        // SAFETY: `Hash` lets only keys of the key size pass.
        let hash = unsafe { self.cells.hash(key.as_ptr()) };
        // SAFETY: as above.
        let same = |cell: &u32| unsafe { self.cells.has_key(*cell, key.as_ptr()) };
        let Ok(entry) = self.table.find_entry(hash, same) else { return Err(Errno::ENOENT) };
        let (cell, _) = entry.remove();
        last(self, cell);
        self.release(cell);
        Ok(())
    }

    /// Drives out the entry of a cell.
    fn evict(&mut self, cell: u32) {
        if let Ok(entry) = self.table.find_entry(self.cells.hash_of(cell), |other| *other == cell) {
            entry.remove();
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
    fn append_value(&self, cell: u32, out: &mut Vec<u8>) {
        // SAFETY: the parts of a cell's value: 8-aligned, `stride` bytes each.
        unsafe { self.cells.layout.append(|part| self.cells.value(cell, part), out) };
    }
}

impl Hash {
    /// An empty map for a bench of `cpus` CPUs.
    pub(super) fn new(spec: MapSpec, cpus: u32, rules: Rules, with: &Creation<'_>) -> Result<Hash, Errno> {
        let parts = if rules.per_cpu { cpus } else { 1 };
        let layout = ValueLayout::new(spec.value_size, parts, rules.per_cpu).with_lock(with.spin_lock);
        let preallocate = spec.flags & BPF_F_NO_PREALLOC == 0;
        // One more than entries: the spare that takes the next replaced value.
        let cells = spec.max_entries.checked_add(1).ok_or(Errno::ENOMEM)?;
        let mut state = State {
            table: HashTable::new(),
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
        };
        state.cells.grow(0)?;
        if preallocate {
            state.table.try_reserve(spec.max_entries as usize, |_| 0).map_err(|_| Errno::ENOMEM)?;
        }
        let access = Access::new(spec.flags).with_lock(layout.lock.is_some());
        Ok(Hash { access, layout, state: Lock::new(state), spec })
    }

    /// What bpf(2) checks before it looks at the value of an update.
    pub(super) fn may_update(&self, flags: u64) -> Result<(), Errno> {
        self.access.update(flags)
    }

    /// What bpf(2) checks before it takes an entry.
    pub(super) fn may_take(&self, flags: u64) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)
    }

    /// Does something with the value of a cell, under its lock where the flags say so.
    #[inline]
    fn guarded<T>(&self, state: &State, cell: u32, flags: u64, work: impl FnOnce() -> T) -> Result<T, Errno> {
        match self.layout.lock {
            // SAFETY: inside a value of a cell, on a multiple of four; no window has it.
            Some(lock) if flags & BPF_F_LOCK != 0 => {
                unsafe { SpinLock::at(state.cells.value(cell, 0).wrapping_add(lock as usize)) }.under(work)
            }
            _ => Ok(work()),
        }
    }

    /// An update with `BPF_F_LOCK`, which changes a value where it is, under its lock. A new one is nobody's yet.
    #[cold]
    fn update_under_lock(&self, key: Bytes<'_>, value: *const u8, flags: u64) -> Result<(), Errno> {
        self.access.lock(flags)?;
        let rest = flags & !BPF_F_LOCK;
        access::update_flags(rest)?;
        let mut state = self.state.lock();
        let (cell, flags) = match state.find(key) {
            Some(_) if rest == BPF_NOEXIST => return Err(Errno::EEXIST),
            Some(cell) => (cell, flags),
            None => (state.place(USER_CPU, key, rest)?.cell, rest),
        };
        // SAFETY: a value of a cell: 8-aligned, `stride` bytes; `value` is readable for `size` bytes.
        self.guarded(&state, cell, flags, || unsafe { self.layout.store(state.cells.value(cell, 0), value) })
    }

    #[inline]
    fn is_key(&self, key: Bytes<'_>) -> bool {
        key.len() == self.spec.key_size as usize
    }

    fn user_key<'k>(&self, key: &'k [u8]) -> Result<Bytes<'k>, Errno> {
        access::sized(key, self.spec.key_size as usize)?;
        Ok(Bytes::from(key))
    }
}

impl Region for Hash {
    fn window(&self, address: u64) -> Option<Window> {
        spin::beside(self.value_around(address)?, self.layout.lock, address)
    }

    fn forbids(&self, address: u64, size: u64) -> Option<&'static str> {
        spin::touched(self.value_around(address)?, self.layout.lock?, address, size)
    }

    fn describe(&self, address: u64) -> Option<String> {
        let state = self.state.lock();
        let place = state.cells.locate(address)?;
        let key_size = self.spec.key_size as usize;
        let key = if key_size <= 8 && state.slots.is_live_cell(place.cell) {
            let mut key = Vec::with_capacity(8);
            state.cells.append_key(place.cell, &mut key);
            format!("{:#x}", key.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
        } else {
            format!("slot {}", place.cell)
        };
        let part = match place.part {
            None => ".key".to_owned(),
            Some(part) if self.layout.per_cpu => format!("@cpu{part}"),
            Some(_) => String::new(),
        };
        Some(format!("{}[{key}]{part}+{}", self.spec.name, place.offset))
    }
}

impl Map for Hash {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.state.set_alone(alone) };
    }

    fn spin_lock(&self) -> Option<u32> {
        self.layout.lock
    }

    fn value_around(&self, address: u64) -> Option<Window> {
        let state = self.state.lock();
        state.cells.window(&state.slots, address, self.spec.flags & BPF_F_RDONLY_PROG == 0)
    }

    fn lookup(&self, cpu: u32, key: Bytes<'_>) -> Option<NonNull<u8>> {
        let part = self.layout.part(cpu).filter(|_| self.is_key(key))?;
        let mut state = self.state.lock();
        let cell = state.find(key)?;
        let State { lru, slots, cells, .. } = &mut *state;
        if let Some(lru) = lru {
            lru.touch(slots.slot(cell));
        }
        NonNull::new(cells.value(cell, part))
    }

    fn update(&self, cpu: u32, key: Bytes<'_>, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let part = self.layout.part(cpu).ok_or(Errno::EINVAL)?;
        if !self.is_key(key) || value.len() != self.layout.size {
            return Err(Errno::EINVAL);
        }
        if flags & BPF_F_LOCK != 0 {
            return self.update_under_lock(key, value.as_ptr(), flags);
        }
        let mut state = self.state.lock();
        let Target { cell, new } = state.place(cpu, key, flags)?;
        // SAFETY: a value of a cell: 8-aligned, `stride` bytes; `value` is readable for `size` bytes. Both lie in
        // windows of one value each, so they are the same value or apart.
        unsafe { self.layout.store(state.cells.value(cell, part), value.as_ptr()) };
        // A key that is new by a program is zero on the other CPUs. Last, as `value` may lie in this very cell.
        for other in (0..self.layout.cpus).filter(|other| new && *other != part) {
            // SAFETY: as above.
            unsafe { values::zero(state.cells.value(cell, other), self.layout.stride) };
        }
        Ok(())
    }

    fn delete(&self, key: Bytes<'_>) -> Result<(), Errno> {
        if !self.is_key(key) {
            return Err(Errno::EINVAL);
        }
        self.state.lock().remove(key, |_, _| ())
    }

    /// An entry that is deleted before its turn is not visited; one that is added may be. The key is the map's own:
    /// read it before anything that could delete the entry.
    fn for_each(&self, cpu: u32, visit: &mut Visit<'_>) -> Result<u64, Errno> {
        let part = self.layout.part(cpu).ok_or(Errno::EINVAL)?;
        let (mut visited, mut from) = (0, 0);
        loop {
            let (slot, key, value) = {
                let state = self.state.lock();
                let Some(slot) = state.slots.next_live(from) else { break };
                let cell = state.slots.cell(slot);
                (slot, state.cells.key(cell), state.cells.value(cell, part))
            };
            // SAFETY: a key of this map stays valid memory for as long as the map lives.
            let key = unsafe { Bytes::from_raw(key, self.spec.key_size as usize) };
            visited += 1;
            if visit(key, NonNull::new(value).ok_or(Errno::EFAULT)?) == ControlFlow::Break(()) {
                break;
            }
            from = slot + 1;
        }
        Ok(visited)
    }

    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        let key = self.user_key(key)?;
        let state = self.state.lock();
        let cell = state.find(key).ok_or(Errno::ENOENT)?;
        self.guarded(&state, cell, flags, || state.append_value(cell, out))
    }

    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.access.update(flags)?;
        let key = self.user_key(key)?;
        access::sized(value, self.layout.user_size())?;
        if flags & BPF_F_LOCK != 0 {
            return self.update_under_lock(key, value.as_ptr(), flags);
        }
        let mut state = self.state.lock();
        let Target { cell, .. } = state.place(USER_CPU, key, flags)?;
        // SAFETY: the parts of a cell's value: 8-aligned, `stride` bytes each.
        unsafe { self.layout.store_user(|part| state.cells.value(cell, part), value) };
        Ok(())
    }

    fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        self.access.write()?;
        self.delete(self.user_key(key)?)
    }

    fn lookup_and_delete_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)?;
        let key = self.user_key(key)?;
        let mut state = self.state.lock();
        let cell = state.find(key).ok_or(Errno::ENOENT)?;
        self.guarded(&state, cell, flags, || state.append_value(cell, out))?;
        state.remove(key, |_, _| ())
    }

    fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        let key = key.map(|key| self.user_key(key)).transpose()?;
        let state = self.state.lock();
        // A key that is gone starts again at the first.
        let from = key.and_then(|key| state.find(key)).map_or(0, |cell| state.slots.slot(cell) + 1);
        let slot = state.slots.next_live(from).ok_or(Errno::ENOENT)?;
        state.cells.append_key(state.slots.cell(slot), out);
        Ok(())
    }

    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.access.batch(read, write)
    }

    /// A batch ends before a slot, which is where the next begins, whatever is deleted meanwhile.
    fn walk_user(&self, from: Option<&[u8]>, count: u32, remove: bool, out: &mut Entries) -> Result<(), Errno> {
        let from = from.map(|from| from.try_into().map(u32::from_le_bytes).map_err(|_| Errno::EINVAL)).transpose()?;
        let mut state = self.state.lock();
        let mut from = from.unwrap_or(0);
        while out.count < count {
            let Some(slot) = state.slots.next_live(from) else { break };
            let cell = state.slots.cell(slot);
            state.cells.append_key(cell, &mut out.keys);
            // A walk is not told whether under their locks. To take them, where there are any, is never wrong.
            self.guarded(&state, cell, BPF_F_LOCK, || state.append_value(cell, &mut out.values))?;
            if remove {
                state.evict(cell);
            }
            out.count += 1;
            from = slot + 1;
        }
        out.next = from.to_le_bytes().to_vec();
        state.slots.next_live(from).map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn freeze(&self) -> Result<(), Errno> {
        self.access.freeze()
    }

    fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.access.read()?;
        let state = self.state.lock();
        let mut from = 0;
        while let Some(slot) = state.slots.next_live(from) {
            let cell = state.slots.cell(slot);
            state.cells.append_key(cell, keys);
            state.append_value(cell, values);
            from = slot + 1;
        }
        Ok(state.slots.len() as usize)
    }

    fn len(&self) -> usize {
        self.state.lock().slots.len() as usize
    }
}
