//! Arrays, shared and per CPU: every entry exists from the start, and none can be deleted.
//!
//! There is no lock: entries never move, and a value is copied in 8-byte atomic pieces.

use std::ops::ControlFlow;
use std::ptr::NonNull;

use crate::errno::Errno;
use crate::map::access::{self, Access, BPF_F_LOCK, BPF_NOEXIST};
use crate::map::kind::BPF_F_RDONLY_PROG;
use crate::map::spin::{self, SpinLock};
use crate::map::values::{self, ValueLayout};
use crate::map::{Creation, Map, MapSpec, Table, Visit};
use crate::memory::{Arena, Bytes, Region, Window};

/// An array or per-CPU array.
pub(super) struct Array {
    spec: MapSpec,
    access: Access,
    layout: ValueLayout,
    /// Distance of the values of two CPUs: whole cache lines, so that CPUs do not disturb each other.
    plane: usize,
    arena: Arena,
}

impl Array {
    /// An array with zero values; `cpus` is 1 for a shared one.
    pub(super) fn new(spec: MapSpec, cpus: u32, with: &Creation<'_>) -> Result<Array, Errno> {
        let layout = ValueLayout::new(spec.value_size, cpus, spec.kind.is_per_cpu()).with_lock(with.spin_lock);
        let plane = layout.stride.checked_mul(spec.max_entries as usize).ok_or(Errno::ENOMEM)?.next_multiple_of(64);
        let arena = Arena::new(plane.checked_mul(layout.cpus).ok_or(Errno::ENOMEM)?)?;
        let access = Access::new(spec.flags).with_lock(layout.lock.is_some());
        Ok(Array { access, layout, plane, arena, spec })
    }

    /// The value of entry `index` on the CPU of a part. Both must be in range.
    #[inline]
    fn value(&self, index: u32, part: usize) -> *mut u8 {
        debug_assert!(index < self.spec.max_entries && part < self.layout.cpus);
        self.arena.as_ptr().wrapping_add(part * self.plane + index as usize * self.layout.stride)
    }

    #[inline]
    fn index(&self, key: Bytes<'_>) -> Option<u32> {
        key.as_u32().filter(|index| *index < self.spec.max_entries)
    }

    fn user_index(&self, key: &[u8]) -> Result<Option<u32>, Errno> {
        access::sized(key, 4)?;
        Ok(self.index(Bytes::from(key)))
    }

    /// Index, part and offset in the value of an address; the offset may lie in the padding.
    fn locate(&self, address: u64) -> Option<(u32, usize, usize)> {
        let offset = self.arena.offset_of(address)?;
        let (part, rest) = (offset / self.plane, offset % self.plane);
        let index = u32::try_from(rest / self.layout.stride).ok().filter(|index| *index < self.spec.max_entries)?;
        Some((index, part, rest % self.layout.stride))
    }

    /// The index, if an update with these flags may write there. The checks come in Linux's order.
    #[inline]
    fn writable(&self, index: Option<u32>, flags: u64) -> Result<u32, Errno> {
        access::update_flags(flags & !BPF_F_LOCK)?;
        let index = index.ok_or(Errno::E2BIG)?;
        if flags & BPF_NOEXIST != 0 {
            return Err(Errno::EEXIST);
        }
        self.access.lock(flags)?;
        Ok(index)
    }

    /// Does something with an entry, under its lock where the flags say so.
    #[inline]
    fn guarded(&self, index: u32, flags: u64, work: impl FnOnce()) -> Result<(), Errno> {
        match self.layout.lock {
            Some(lock) if flags & BPF_F_LOCK != 0 => {
                // SAFETY: inside a value of this arena, on a multiple of four; no window has it.
                unsafe { SpinLock::at(self.value(index, 0).wrapping_add(lock as usize)) }.under(work)
            }
            _ => {
                work();
                Ok(())
            }
        }
    }
}

impl Region for Array {
    fn window(&self, address: u64) -> Option<Window> {
        spin::beside(self.value_around(address)?, self.layout.lock, address)
    }

    fn forbids(&self, address: u64, size: u64) -> Option<&'static str> {
        spin::touched(self.value_around(address)?, self.layout.lock?, address, size)
    }

    fn describe(&self, address: u64) -> Option<String> {
        let (index, part, offset) = self.locate(address)?;
        let cpu = if self.layout.per_cpu { format!("@cpu{part}") } else { String::new() };
        Some(format!("{}[{index}]{cpu}+{offset}", self.spec.name))
    }
}

impl Map for Array {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn spin_lock(&self) -> Option<u32> {
        self.layout.lock
    }

    fn value_around(&self, address: u64) -> Option<Window> {
        let (_, _, offset) = self.locate(address)?;
        (offset < self.layout.size).then(|| Window {
            start: address - offset as u64,
            len: self.layout.size as u64,
            writable: self.spec.flags & BPF_F_RDONLY_PROG == 0,
        })
    }

    #[inline]
    fn lookup(&self, cpu: u32, key: Bytes<'_>) -> Option<NonNull<u8>> {
        NonNull::new(self.value(self.index(key)?, self.layout.part(cpu)?))
    }

    fn update(&self, cpu: u32, key: Bytes<'_>, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let index = self.writable(self.index(key), flags)?;
        let part = self.layout.part(cpu).ok_or(Errno::EINVAL)?;
        if value.len() != self.layout.size {
            return Err(Errno::EINVAL);
        }
        // SAFETY: a value of this arena, 8-aligned, of `size` bytes; `value` is readable for that length. Both lie in
        // windows of one value each, so they are the same value or apart.
        self.guarded(index, flags, || unsafe { self.layout.store(self.value(index, part), value.as_ptr()) })
    }

    fn for_each(&self, cpu: u32, visit: &mut Visit<'_>) -> Result<u64, Errno> {
        let part = self.layout.part(cpu).ok_or(Errno::EINVAL)?;
        for index in 0..self.spec.max_entries {
            let key = index.to_le_bytes();
            let value = NonNull::new(self.value(index, part)).ok_or(Errno::EFAULT)?;
            if visit(Bytes::from(key.as_slice()), value) == ControlFlow::Break(()) {
                return Ok(u64::from(index) + 1);
            }
        }
        Ok(u64::from(self.spec.max_entries))
    }

    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        let index = self.user_index(key)?.ok_or(Errno::ENOENT)?;
        values::make_room(out, 1, self.layout.user_size())?;
        // SAFETY: all parts of an entry lie in the arena, 8-aligned, `stride` bytes each.
        self.guarded(index, flags, || unsafe { self.layout.append(|part| self.value(index, part), out) })
    }

    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.access.update(flags)?;
        access::sized(value, self.layout.user_size())?;
        let index = self.writable(self.user_index(key)?, flags)?;
        // SAFETY: all parts of an entry lie in the arena, 8-aligned, `stride` bytes each.
        self.guarded(index, flags, || unsafe { self.layout.store_user(|part| self.value(index, part), value) })
    }

    fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        self.access.write()?;
        self.user_index(key)?;
        Err(Errno::EINVAL)
    }

    fn lookup_and_delete_user(&self, _key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)?;
        Err(Errno::ENOTSUPP)
    }

    fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        let next = match key {
            None => 0,
            // An index out of range starts again at the first.
            Some(key) => self.user_index(key)?.map_or(0, |index| index + 1),
        };
        if next == self.spec.max_entries {
            return Err(Errno::ENOENT);
        }
        out.extend_from_slice(&next.to_le_bytes());
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
        let entries = self.spec.max_entries as usize;
        values::make_room(keys, entries, size_of::<u32>())?;
        values::make_room(values, entries, self.layout.user_size())?;
        for index in 0..self.spec.max_entries {
            keys.extend_from_slice(&index.to_le_bytes());
            // SAFETY: as in `lookup_user`.
            unsafe { self.layout.append(|part| self.value(index, part), values) };
        }
        Ok(entries)
    }

    fn table_user(&self) -> Result<Table, Errno> {
        self.access.read()?;
        if self.layout.lock.is_some() {
            // Locks are not for user space to see: Linux does not map such an array either.
            return Err(Errno::ENOTSUPP);
        }
        let start = NonNull::new(self.arena.as_ptr()).ok_or(Errno::EFAULT)?;
        Ok(Table { start, len: self.arena.len(), stride: self.layout.stride, plane: self.plane })
    }

    fn len(&self) -> usize {
        self.spec.max_entries as usize
    }
}
