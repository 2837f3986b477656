//! Hash maps: plain and per CPU, with and without LRU.
//!
//! Entries live in [`Cells`] at stable addresses; a table finds the cell of a key, [`Slots`] keep the order of walks.
//! As on Linux, an update of an existing key of a plain hash gives the entry another cell: a pointer from an earlier
//! look-up then sees the old value until that cell is used again. A per-CPU value is changed in place.
//!
//! One lock guards the structure; values are reached without it. No lock is held while a callback runs.

mod state;

use std::ops::ControlFlow;
use std::ptr::NonNull;

use crate::errno::Errno;
use crate::map::access::{self, Access, BPF_F_LOCK, BPF_NOEXIST};
use crate::map::kind::{BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, Rules};
use crate::map::lock::Lock;
use crate::map::spin::{self, SpinLock};
use crate::map::values::{self, ValueLayout};
use crate::map::{Creation, Entries, Map, MapSpec, Visit};
use crate::memory::{Bytes, Region, Window};
use state::{State, Target};

/// The CPU whose nodes the bpf(2) side takes in Linux's order of use: here it has none of its own.
const USER_CPU: u32 = 0;

/// A hash map of any of the four kinds.
pub(super) struct Hash {
    spec: MapSpec,
    access: Access,
    layout: ValueLayout,
    /// Words of a key, where a look-up takes no more than [`State::plain`]; else 0.
    plain_words: usize,
    state: Lock<State>,
}

impl Hash {
    /// An empty map for a bench of `cpus` CPUs.
    pub(super) fn new(spec: MapSpec, cpus: u32, rules: Rules, with: &Creation<'_>) -> Result<Hash, Errno> {
        let parts = if rules.per_cpu { cpus } else { 1 };
        let layout = ValueLayout::new(spec.value_size, parts, rules.per_cpu).with_lock(with.spin_lock);
        let preallocate = spec.flags & BPF_F_NO_PREALLOC == 0;
        let state = State::new(&spec, cpus, rules, layout, preallocate, with)?;
        let access = Access::new(spec.flags).with_lock(layout.lock.is_some());
        let plain_words = match spec.key_size {
            4 | 8 | 16 if preallocate && !rules.lru => spec.key_size.div_ceil(8) as usize,
            _ => 0,
        };
        Ok(Hash { access, layout, plain_words, state: Lock::new(state), spec })
    }

    /// What bpf(2) checks before it looks at the value of an update.
    pub(super) fn may_update(&self, flags: u64) -> Result<(), Errno> {
        self.access.update(flags)
    }

    /// What bpf(2) checks before it takes an entry.
    pub(super) fn may_take(&self, flags: u64) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)
    }

    /// Does something with an entry under its value's lock, which whoever waits for it does not hold up: a program that
    /// has it asks the map where it may store.
    #[cold]
    fn under_lock<T>(
        &self,
        find: impl Fn(&State) -> Result<u32, Errno>,
        work: impl FnOnce(&mut State, u32) -> T,
    ) -> Result<T, Errno> {
        let at = self.layout.lock.ok_or(Errno::EINVAL)? as usize;
        let mut work = Some(work);
        spin::patiently(|| {
            let mut state = self.state.lock();
            let cell = match find(&state) {
                Ok(cell) => cell,
                Err(errno) => return Some(Err(errno)),
            };
            // SAFETY: inside a value of a cell, on a multiple of four; no window has it.
            let lock = unsafe { SpinLock::at(state.cells.value(cell, 0).wrapping_add(at)) };
            if !lock.try_take() {
                return None;
            }
            let done = work.take().map(|work| work(&mut state, cell));
            lock.release();
            done.map(Ok)
        })?
    }

    /// An update with `BPF_F_LOCK`, which changes a value where it is, under its lock. A new one is nobody's yet.
    #[cold]
    fn update_under_lock(&self, key: Bytes<'_>, value: *const u8, flags: u64) -> Result<(), Errno> {
        self.access.lock(flags)?;
        let flags = flags & !BPF_F_LOCK;
        access::update_flags(flags)?;
        // SAFETY: a value of a cell: 8-aligned, `stride` bytes; `value` is readable for `size` bytes.
        let store = |state: &mut State, cell| unsafe { self.layout.store(state.cells.value(cell, 0), value) };
        loop {
            let existing = |state: &State| match state.find(key) {
                Some(_) if flags == BPF_NOEXIST => Err(Errno::EEXIST),
                cell => cell.ok_or(Errno::ENOENT),
            };
            match self.under_lock(existing, store) {
                Err(Errno::ENOENT) => {}
                done => return done,
            }
            let mut state = self.state.lock();
            // Unless another thread has added it meanwhile.
            if state.find(key).is_none() {
                let Target { cell, .. } = state.place(USER_CPU, key, flags)?;
                store(&mut state, cell);
                return Ok(());
            }
        }
    }

    /// [`Map::walk_user`] where values have locks: each is read under its own. It is not told whether it should, and to
    /// take them is never wrong.
    fn walk_under_locks(&self, mut from: u32, count: u32, remove: bool, out: &mut Entries) -> Result<(), Errno> {
        let next = |state: &State, from| state.slots.next_live(from).ok_or(Errno::ENOENT);
        while out.count < count {
            self.room_for(1, &mut out.keys, &mut out.values)?;
            let read = |state: &mut State, cell| {
                state.cells.append_key(cell, &mut out.keys);
                state.append_value(cell, &mut out.values);
                let slot = state.slots.slot(cell);
                if remove {
                    state.evict(cell);
                }
                slot
            };
            match self.under_lock(|state| next(state, from).map(|slot| state.slots.cell(slot)), read) {
                Ok(slot) => from = slot + 1,
                Err(Errno::ENOENT) => break,
                Err(errno) => return Err(errno),
            }
            out.count += 1;
        }
        out.next = from.to_le_bytes().to_vec();
        next(&self.state.lock(), from).map(drop)
    }

    /// Makes room for so many entries more.
    fn room_for(&self, entries: usize, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<(), Errno> {
        values::make_room(keys, entries, self.spec.key_size as usize)?;
        values::make_room(values, entries, self.layout.user_size())
    }

    /// As `lookup`, of any map.
    #[inline(never)]
    fn look_up(&self, part: usize, key: Bytes<'_>) -> Option<NonNull<u8>> {
        let mut state = self.state.lock();
        let cell = state.find(key)?;
        let State { lru, slots, cells, .. } = &mut *state;
        if let Some(lru) = lru {
            lru.touch(slots.slot(cell));
        }
        NonNull::new(cells.value(cell, part))
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

    #[inline]
    fn lookup(&self, cpu: u32, key: Bytes<'_>) -> Option<NonNull<u8>> {
        let part = self.layout.part(cpu).filter(|_| self.is_key(key))?;
        // Only a key that is aligned is loaded without a call.
        if self.plain_words > 0
            && key.as_ptr().cast::<u32>().is_aligned()
            && let Some(state) = self.state.lock_alone()
        {
            return state.plain(key, self.plain_words, part);
        }
        self.look_up(part, key)
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
        values::make_room(out, 1, self.layout.user_size())?;
        let find = |state: &State| state.find(key).ok_or(Errno::ENOENT);
        if flags & BPF_F_LOCK != 0 {
            return self.under_lock(find, |state, cell| state.append_value(cell, out));
        }
        let state = self.state.lock();
        state.append_value(find(&state)?, out);
        Ok(())
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
        values::make_room(out, 1, self.layout.user_size())?;
        if flags & BPF_F_LOCK != 0 {
            let taken = |state: &mut State, cell| {
                state.append_value(cell, out);
                state.evict(cell);
            };
            return self.under_lock(|state| state.find(key).ok_or(Errno::ENOENT), taken);
        }
        self.state.lock().remove(key, |state, cell| state.append_value(cell, out))
    }

    fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        let key = key.map(|key| self.user_key(key)).transpose()?;
        let state = self.state.lock();
        // A key that is gone starts again at the first.
        let from = key.and_then(|key| state.find(key)).map_or(0, |cell| state.slots.slot(cell) + 1);
        let slot = state.slots.next_live(from).ok_or(Errno::ENOENT)?;
        values::make_room(out, 1, self.spec.key_size as usize)?;
        state.cells.append_key(state.slots.cell(slot), out);
        Ok(())
    }

    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.access.batch(read, write)
    }

    /// A batch ends before a slot, which is where the next begins, whatever is deleted meanwhile.
    fn walk_user(&self, from: Option<&[u8]>, count: u32, remove: bool, out: &mut Entries) -> Result<(), Errno> {
        let from = from.map(|from| from.try_into().map(u32::from_le_bytes).map_err(|_| Errno::EINVAL)).transpose()?;
        let mut from = from.unwrap_or(0);
        if self.layout.lock.is_some() {
            return self.walk_under_locks(from, count, remove, out);
        }
        let mut state = self.state.lock();
        while out.count < count {
            let Some(slot) = state.slots.next_live(from) else { break };
            let cell = state.slots.cell(slot);
            self.room_for(1, &mut out.keys, &mut out.values)?;
            state.cells.append_key(cell, &mut out.keys);
            state.append_value(cell, &mut out.values);
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
        let entries = state.slots.len() as usize;
        self.room_for(entries, keys, values)?;
        for (cells, count) in state.slots.chunks() {
            // All that are far away are waited for at once, and so before they are copied one by one.
            cells[..count].iter().for_each(|cell| state.cells.touch(*cell));
            cells[..count].iter().for_each(|cell| state.cells.append_key(*cell, keys));
            cells[..count].iter().for_each(|cell| state.append_value(*cell, values));
        }
        Ok(entries)
    }

    fn len(&self) -> usize {
        self.state.lock().slots.len() as usize
    }
}
