//! Queue (first in, first out) and stack (last in, first out): one ring of values, without keys.
//!
//! Programs see copies only, so no address of it is ever live program memory.

use crate::errno::Errno;
use crate::map::access::{self, Access, BPF_EXIST, BPF_NOEXIST};
use crate::map::kind::MapKind;
use crate::map::lock::Lock;
use crate::map::values;
use crate::map::{Map, MapSpec};
use crate::memory::{Arena, Bytes, BytesMut, Region, Window};

/// A queue or stack.
pub(super) struct Queue {
    spec: MapSpec,
    access: Access,
    stride: usize,
    arena: Arena,
    ring: Lock<Ring>,
}

/// Which values of the ring are in use.
#[derive(Default)]
struct Ring {
    /// Slot of the oldest.
    oldest: u32,
    /// How many.
    len: u32,
}

impl Queue {
    /// An empty queue or stack, by the kind of `spec`.
    pub(super) fn new(spec: MapSpec) -> Result<Queue, Errno> {
        let stride = (spec.value_size as usize).next_multiple_of(8);
        let arena = Arena::new(stride.checked_mul(spec.max_entries as usize).ok_or(Errno::ENOMEM)?)?;
        Ok(Queue { access: Access::new(spec.flags), stride, arena, ring: Lock::default(), spec })
    }

    #[inline]
    fn slot(&self, ring: &Ring, nth: u32) -> u32 {
        // Neither is more than the capacity, so that once around is enough.
        let (slot, entries) = (u64::from(ring.oldest) + u64::from(nth), u64::from(self.spec.max_entries));
        (if slot < entries { slot } else { slot - entries }) as u32
    }

    #[inline]
    fn value(&self, slot: u32) -> *mut u8 {
        debug_assert!(slot < self.spec.max_entries);
        self.arena.as_ptr().wrapping_add(slot as usize * self.stride)
    }

    /// Hands the next value to `read`, and takes it out where `remove`.
    #[inline]
    fn take<T>(&self, remove: bool, read: impl FnOnce(*mut u8) -> T) -> Option<T> {
        let mut ring = self.ring.lock();
        let last = ring.len.checked_sub(1)?;
        let next = if self.spec.kind == MapKind::Stack { self.slot(&ring, last) } else { ring.oldest };
        let result = read(self.value(next));
        if remove {
            if self.spec.kind == MapKind::Queue {
                ring.oldest = self.slot(&ring, 1);
            }
            ring.len = last;
        }
        Some(result)
    }

    fn take_user(&self, key: &[u8], remove: bool, out: &mut Vec<u8>) -> Result<(), Errno> {
        access::sized(key, 0)?;
        let size = self.spec.value_size as usize;
        values::make_room(out, 1, size)?;
        // SAFETY: a value of the arena: 8-aligned, `stride` bytes.
        self.take(remove, |value| unsafe { values::append(value, size, out) }).ok_or(Errno::ENOENT)
    }
}

impl Region for Queue {
    fn window(&self, _address: u64) -> Option<Window> {
        None
    }

    fn describe(&self, address: u64) -> Option<String> {
        let offset = self.arena.offset_of(address)?;
        Some(format!("{}[slot {}]+{}", self.spec.name, offset / self.stride, offset % self.stride))
    }
}

impl Map for Queue {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.ring.set_alone(alone) };
    }

    fn push(&self, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        if flags == BPF_NOEXIST || flags > BPF_EXIST || value.len() != self.spec.value_size as usize {
            return Err(Errno::EINVAL);
        }
        let mut ring = self.ring.lock();
        if ring.len == self.spec.max_entries {
            if flags != BPF_EXIST {
                return Err(Errno::E2BIG);
            }
            ring.oldest = self.slot(&ring, 1);
            ring.len -= 1;
        }
        let slot = self.slot(&ring, ring.len);
        // SAFETY: a value of the arena: 8-aligned, `value_size` bytes. No program can name it, so `value` lies apart.
        unsafe { values::store(self.value(slot), value.as_ptr(), value.len()) };
        ring.len += 1;
        Ok(())
    }

    fn pop(&self, mut out: BytesMut<'_>, remove: bool) -> Result<(), Errno> {
        let size = self.spec.value_size as usize;
        if out.len() != size {
            return Err(Errno::EINVAL);
        }
        // SAFETY: a value of the arena, of `size` bytes, as many as are writable in `out`; no value overlaps it.
        let copy = |value: *mut u8| unsafe { values::load(out.as_mut_ptr(), value, size) };
        if self.take(remove, copy).is_none() {
            out.zero_from(0);
            return Err(Errno::ENOENT);
        }
        Ok(())
    }

    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        self.take_user(key, false, out)
    }

    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.access.update(flags)?;
        access::sized(key, 0)?;
        self.push(Bytes::from(value), flags)
    }

    fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        self.access.write()?;
        access::sized(key, 0)?;
        Err(Errno::EINVAL)
    }

    fn lookup_and_delete_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)?;
        self.take_user(key, true, out)
    }

    fn next_key_user(&self, _key: Option<&[u8]>, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        Err(Errno::EINVAL)
    }

    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.access.batch(read, write)
    }

    fn freeze(&self) -> Result<(), Errno> {
        self.access.freeze()
    }

    /// All values in the order in which they would be popped, without keys; nothing is removed.
    fn dump_user(&self, _keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.access.read()?;
        let ring = self.ring.lock();
        values::make_room(values, ring.len as usize, self.spec.value_size as usize)?;
        for nth in 0..ring.len {
            let nth = if self.spec.kind == MapKind::Stack { ring.len - 1 - nth } else { nth };
            // SAFETY: a value of the arena: 8-aligned, `stride` bytes.
            unsafe { values::append(self.value(self.slot(&ring, nth)), self.spec.value_size as usize, values) };
        }
        Ok(ring.len as usize)
    }

    fn len(&self) -> usize {
        self.ring.lock().len as usize
    }
}
