//! Entries that are things with numbers: maps, programs. On Linux the bpf(2) side puts them there by descriptor and
//! reads their ids; a bench has one number for both.
//!
//! [`Numbered`] is an array of them, in which most entries are empty. What the things are is for who keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::errno::Errno;
use crate::map::access::{self, Access, BPF_ANY};
use crate::map::lock::Lock;
use crate::map::{Entries as Batch, Map, MapSpec, values};
use crate::memory::Bytes;
use crate::program::ProgramType;

/// What has numbers, as a bench knows it.
pub trait Objects {
    /// The map of a number.
    ///
    /// # Errors
    /// `EBADF` where there is none.
    fn map(&self, number: u32) -> Result<Arc<dyn Map>, Errno>;

    /// Type and name of the program of a number.
    ///
    /// # Errors
    /// `EBADF` where there is none.
    fn program(&self, number: u32) -> Result<(Option<ProgramType>, String), Errno>;
}

/// Where nothing has a number.
pub struct NoObjects;

impl Objects for NoObjects {
    fn map(&self, _number: u32) -> Result<Arc<dyn Map>, Errno> {
        Err(Errno::EBADF)
    }

    fn program(&self, _number: u32) -> Result<(Option<ProgramType>, String), Errno> {
        Err(Errno::EBADF)
    }
}

/// Why a thing was not put into a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Linux's answer.
    pub errno: Errno,
    /// What it does not say.
    pub why: Option<String>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal { errno, why: None }
    }
}

/// The number that a value of four bytes is.
pub(super) fn number(value: &[u8]) -> Result<u32, Errno> {
    value.try_into().map(u32::from_le_bytes).map_err(|_| Errno::EINVAL)
}

/// An array of things with numbers, empty at first. Memory is taken by those that are there.
pub(super) struct Numbered<T> {
    pub(super) spec: MapSpec,
    access: Access,
    entries: Lock<BTreeMap<u32, T>>,
}

impl<T> Numbered<T> {
    pub(super) fn new(spec: MapSpec) -> Numbered<T> {
        Numbered { access: Access::new(spec.flags), spec, entries: Lock::default() }
    }

    /// # Safety
    /// As for [`Map::set_alone`].
    pub(super) unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.entries.set_alone(alone) };
    }

    fn index(&self, key: &[u8]) -> Result<Option<u32>, Errno> {
        access::sized(key, 4)?;
        Ok(Bytes::from(key).as_u32().filter(|index| *index < self.spec.max_entries))
    }

    /// Hands the entry of an index to `read`, if there is one.
    pub(super) fn with<R>(&self, index: u32, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.entries.lock().get(&index).map(read)
    }

    /// What `read` makes of each entry.
    pub(super) fn all<R>(&self, read: impl FnMut(&T) -> R) -> Vec<R> {
        self.entries.lock().values().map(read).collect()
    }

    /// `BPF_MAP_UPDATE_ELEM` of a value of four bytes, of whose number `make` makes the entry. Returns the old one.
    pub(super) fn update<E: From<Errno>>(
        &self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        make: impl FnOnce(u32) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        self.access.update(flags)?;
        let number = number(value)?;
        let index = self.index(key)?;
        if flags != BPF_ANY {
            return Err(Errno::EINVAL.into());
        }
        let (index, entry) = (index.ok_or(Errno::E2BIG)?, make(number)?);
        Ok(self.entries.lock().insert(index, entry))
    }

    /// Puts an entry there by index, as the bpf(2) side may.
    pub(super) fn put(&self, index: u32, entry: T) -> Result<(), Errno> {
        self.access.write()?;
        if index >= self.spec.max_entries {
            return Err(Errno::E2BIG);
        }
        self.entries.lock().insert(index, entry);
        Ok(())
    }

    /// Hands all entries to `use_it`.
    pub(super) fn each(&self, use_it: impl FnMut(&T)) {
        self.entries.lock().values().for_each(use_it);
    }

    /// Empties all entries that `gone` is true of.
    pub(super) fn forget(&self, gone: impl Fn(&T) -> bool) {
        self.entries.lock().retain(|_, entry| !gone(entry));
    }

    /// `BPF_MAP_LOOKUP_ELEM`: `number` of the entry.
    pub(super) fn lookup(
        &self,
        key: &[u8],
        flags: u64,
        out: &mut Vec<u8>,
        number: impl FnOnce(&T) -> u32,
    ) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        let index = self.index(key)?.ok_or(Errno::ENOENT)?;
        let number = self.with(index, number).ok_or(Errno::ENOENT)?;
        out.extend_from_slice(&number.to_le_bytes());
        Ok(())
    }

    /// `BPF_MAP_LOOKUP_ELEM` of a kind that has nothing to read.
    pub(super) fn lookup_nothing(&self, flags: u64) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        Err(Errno::ENOTSUPP)
    }

    /// `BPF_MAP_DELETE_ELEM`.
    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.access.write()?;
        let index = self.index(key)?.ok_or(Errno::E2BIG)?;
        let gone = self.entries.lock().remove(&index);
        gone.map(drop).ok_or(Errno::ENOENT)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`, which none of these kinds has.
    pub(super) fn lookup_and_delete(&self, flags: u64) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)?;
        Err(Errno::ENOTSUPP)
    }

    /// `BPF_MAP_GET_NEXT_KEY`: of all indices, empty entries too, as Linux does.
    pub(super) fn next_key(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        let next = match key {
            None => 0,
            Some(key) => self.index(key)?.map_or(0, |index| index + 1),
        };
        if next == self.spec.max_entries {
            return Err(Errno::ENOENT);
        }
        out.extend_from_slice(&next.to_le_bytes());
        Ok(())
    }

    /// Before a batch command.
    pub(super) fn begin_batch(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.access.batch(read, write)
    }

    /// The next entries of a walk in batches, behind the index `from`; empty ones are passed over.
    pub(super) fn walk(
        &self,
        from: Option<&[u8]>,
        count: u32,
        out: &mut Batch,
        number: impl Fn(&T) -> u32,
    ) -> Result<(), Errno> {
        // An index that is out of range starts again at the first, as it does for `next_key`.
        let from = from.map_or(Ok(None), |from| self.index(from))?;
        let first = from.map_or(0, |from| from + 1);
        let entries = self.entries.lock();
        let most = count.saturating_sub(out.count) as usize;
        values::make_room(&mut out.keys, most.min(entries.len()), 4)?;
        values::make_room(&mut out.values, most.min(entries.len()), 4)?;
        for (index, entry) in entries.range(first..).take(most) {
            out.keys.extend_from_slice(&index.to_le_bytes());
            out.values.extend_from_slice(&number(entry).to_le_bytes());
            out.count += 1;
            out.next = index.to_le_bytes().to_vec();
        }
        if out.count == count {
            return Ok(());
        }
        if out.count > 0 {
            // The empty entries up to the end were passed over too.
            out.next = (self.spec.max_entries - 1).to_le_bytes().to_vec();
        }
        Err(Errno::ENOENT)
    }

    pub(super) fn freeze(&self) -> Result<(), Errno> {
        self.access.freeze()
    }

    /// The entries that are not empty, by index, with their numbers.
    pub(super) fn dump(
        &self,
        keys: &mut Vec<u8>,
        values: &mut Vec<u8>,
        number: impl Fn(&T) -> u32,
    ) -> Result<usize, Errno> {
        self.access.read()?;
        let entries = self.entries.lock();
        values::make_room(keys, entries.len(), 4)?;
        values::make_room(values, entries.len(), 4)?;
        for (index, entry) in &*entries {
            keys.extend_from_slice(&index.to_le_bytes());
            values.extend_from_slice(&number(entry).to_le_bytes());
        }
        Ok(entries.len())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

/// The methods of [`Map`] that are the same for all kinds over a `self.array`: a [`Numbered`].
macro_rules! numbered_map {
    () => {
        fn spec(&self) -> &MapSpec {
            &self.array.spec
        }

        fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
            self.update_by_number(key, value, flags, &NoObjects).map_err(|refusal| refusal.errno)
        }

        fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
            self.array.delete(key)
        }

        fn lookup_and_delete_user(&self, _key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
            self.array.lookup_and_delete(flags)
        }

        fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
            self.array.next_key(key, out)
        }

        fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
            self.array.begin_batch(read, write)
        }

        fn freeze(&self) -> Result<(), Errno> {
            self.array.freeze()
        }
    };
}

/// No address is memory of a map whose entries are things.
macro_rules! no_memory {
    ($map:ty) => {
        impl Region for $map {
            fn window(&self, _address: u64) -> Option<Window> {
                None
            }

            fn describe(&self, _address: u64) -> Option<String> {
                None
            }
        }
    };
}

pub(super) use {no_memory, numbered_map};
