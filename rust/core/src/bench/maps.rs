//! The maps of a bench, which it has to itself.
//!
//! They are told that they are alone ([`Map::set_alone`]): a bench is used by one thread at a time, and so are they,
//! because nothing lets them out of it. A [`BenchMap`] stays on the bench's thread, as the bench does; whoever moves a
//! bench to another thread has to say that its maps move with it.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::{Bench, BenchError};
use crate::errno::Errno;
use crate::map::{Map, MapSpec};

/// A map of a bench: the bpf(2) side of it, on the thread that has the bench.
///
/// ```compile_fail
/// fn to_another_thread<T: Send>() {}
/// to_another_thread::<axebpf_core::bench::Bench>();
/// ```
pub struct BenchMap {
    pub(super) map: Arc<dyn Map>,
    /// Number of the load that made it; none for a map made by hand.
    pub object: Option<usize>,
    /// BTF type of the key.
    pub key_type: Option<u32>,
    /// BTF type of the value.
    pub value_type: Option<u32>,
    /// It is neither `Send` nor `Sync`.
    local: PhantomData<*const ()>,
}

impl BenchMap {
    pub(super) fn new(map: Arc<dyn Map>, object: Option<usize>, types: (Option<u32>, Option<u32>)) -> BenchMap {
        let (key_type, value_type) = types;
        BenchMap { map, object, key_type, value_type, local: PhantomData }
    }

    /// The map itself.
    ///
    /// # Safety
    /// While the bench or another map of it may be in use by one thread, no other may call this one.
    #[must_use]
    pub unsafe fn shared(&self) -> &Arc<dyn Map> {
        &self.map
    }

    /// What it was created from.
    #[must_use]
    pub fn spec(&self) -> &MapSpec {
        self.map.spec()
    }

    /// As [`Map::lookup_user`].
    ///
    /// # Errors
    /// Linux's, by kind and flags.
    pub fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.map.lookup_user(key, flags, out)
    }

    /// As [`Map::update_user`].
    ///
    /// # Errors
    /// Linux's, by kind and flags; `EPERM` when frozen.
    pub fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.map.update_user(key, value, flags)
    }

    /// As [`Map::delete_user`].
    ///
    /// # Errors
    /// Linux's, by kind; `EPERM` when frozen.
    pub fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        self.map.delete_user(key)
    }

    /// As [`Map::next_key_user`].
    ///
    /// # Errors
    /// `ENOENT` at the end; kinds without keys: `EINVAL` or `ENOTSUPP`.
    pub fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.map.next_key_user(key, out)
    }

    /// As [`Map::dump_user`].
    ///
    /// # Errors
    /// As [`BenchMap::next_key_user`].
    pub fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.map.dump_user(keys, values)
    }

    /// As [`Map::consume_user`].
    ///
    /// # Errors
    /// `ENOTSUPP` for kinds that are no ring buffer.
    pub fn consume_user(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        self.map.consume_user(out)
    }

    /// As [`Map::wakeups_user`].
    ///
    /// # Errors
    /// `ENOTSUPP` for kinds that are no ring buffer.
    pub fn wakeups_user(&self) -> Result<u64, Errno> {
        self.map.wakeups_user()
    }

    /// Entries in the map now, as [`Map::len`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl Bench {
    /// Adds a map that belongs to no object.
    ///
    /// # Errors
    /// [`BenchError::Map`] where Linux would refuse it too.
    pub fn create_map(&self, spec: MapSpec) -> Result<usize, BenchError> {
        self.create_map_with(spec, None)
    }

    /// As [`Bench::create_map`]; `inner` is what the maps of a map of maps must be like.
    ///
    /// # Errors
    /// As [`Bench::create_map`].
    pub fn create_map_with(&self, spec: MapSpec, inner: Option<&dyn Map>) -> Result<usize, BenchError> {
        let map = self.options.create_map(spec, inner, None)?;
        Ok(self.add_map(BenchMap::new(map, None, (None, None))))
    }

    pub(super) fn add_map(&self, map: BenchMap) -> usize {
        if self.shared.get() {
            // SAFETY: to be used by several threads is always sound, and nobody uses it yet.
            unsafe { map.map.set_alone(false) };
        }
        let mut maps = self.maps.borrow_mut();
        maps.push(Some(Rc::new(map)));
        maps.len() - 1
    }

    /// A map, by its number.
    #[must_use]
    pub fn map(&self, index: usize) -> Option<Rc<BenchMap>> {
        self.maps.borrow().get(index)?.clone()
    }

    /// Lets go of a map, whose memory is freed with the last program that uses it. Its number is not given again.
    pub fn remove_map(&self, index: usize) {
        if let Some(map) = self.maps.borrow_mut().get_mut(index) {
            *map = None;
        }
    }
}
