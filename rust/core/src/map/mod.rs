//! Maps: one file a kind, one trait, one table of kinds.
//!
//! [`create`] makes a map of a [`MapSpec`]; everything else goes through [`Map`].

mod access;
mod array;
mod batch;
mod bloom;
mod cells;
mod create;
mod error;
mod flags;
mod hash;
mod keys;
mod kind;
mod lock;
mod lpm;
mod lru;
mod lru_linux;
mod numbered;
mod of_maps;
mod perf;
mod prefixes;
mod programs;
mod queue;
mod ringbuf;
mod slots;
mod spin;
mod table;
mod uses;
mod values;

use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::errno::Errno;
use crate::memory::{Bytes, BytesMut, Region, Window};

pub use access::{BPF_ANY, BPF_EXIST, BPF_F_LOCK, BPF_NOEXIST};
pub use batch::{Entries, delete_batch, lookup_and_delete_batch, lookup_batch, update_batch, update_batch_by_number};
pub use create::{Creation, LruOrder, MAX_BYTES, create, create_as, create_with};
pub use error::MapError;
pub use flags::{Operation, unknown_flags};
pub use kind::{
    BPF_F_INNER_MAP, BPF_F_MMAPABLE, BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_F_PRESERVE_ELEMS,
    BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY, BPF_F_WRONLY_PROG, BPF_F_ZERO_SEED, Keys, MapKind, Rules,
    flag_names, flag_text,
};
pub use numbered::{NoObjects, Objects, Refusal};
pub use of_maps::{Inner, OfMaps, Shape};
pub use perf::{BPF_F_CURRENT_CPU, BPF_F_INDEX_MASK, BUFFER, MAX_DATA, PerfEventArray, PerfRecord};
pub use programs::ProgArray;
pub use spin::{SPIN_LOCK, SpinLock};
#[cfg(feature = "axvisor")]
pub(crate) use values::{append as read_value, store as write_value};

pub use uses::{Command, MapUse, Uses};

pub use ringbuf::{
    BPF_RB_AVAIL_DATA, BPF_RB_CONS_POS, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_PROD_POS, BPF_RB_RING_SIZE,
};

/// What a map is created from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Name, unique within its object.
    pub name: String,
    /// Kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value as declared; storage may be padded.
    pub value_size: u32,
    /// Capacity in entries; for a ring buffer, bytes.
    pub max_entries: u32,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// `map_extra`: of a bloom filter, how many hash functions (0: 5).
    pub extra: u64,
}

/// What the entries of a map are.
#[derive(Clone, Copy)]
pub enum Holds<'m> {
    /// Bytes.
    Values,
    /// Maps.
    Maps(&'m dyn OfMaps),
    /// Programs.
    Programs(&'m ProgArray),
    /// Buffers for records, one a CPU.
    Events(&'m PerfEventArray),
}

/// Where a map keeps its values that has them in one place: the value of entry `i` on CPU `c` begins at
/// `start + i * stride + c * plane`, and stays there as long as the map lives.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The first byte.
    pub start: NonNull<u8>,
    /// Bytes in all.
    pub len: usize,
    /// From one entry to the next.
    pub stride: usize,
    /// From one CPU to the next.
    pub plane: usize,
}

/// What `for_each` calls with each entry: key, value. `Break` ends the walk.
pub type Visit<'v> = dyn FnMut(Bytes<'_>, NonNull<u8>) -> ControlFlow<()> + 'v;

/// A map, shared by programs and the bench. Every method may be called from any thread, unless the map is told that it
/// is alone ([`Map::set_alone`]).
///
/// The first group of methods is what the helpers do, on behalf of a program on `cpu`; the `*_user` group is what
/// bpf(2) does. A pointer that [`Map::lookup`] or [`Map::reserve`] returned stays valid memory until the map is
/// dropped, whatever is updated or deleted meanwhile; of a map that lends copies, until the runs have ended that were
/// going on ([`Map::begin_run`]).
///
/// Key and value lengths are the caller's to get right in the first group (helpers take them from [`Map::spec`]);
/// the `*_user` group checks them and answers `EINVAL`.
pub trait Map: Region {
    /// What it was created from.
    fn spec(&self) -> &MapSpec;

    /// What its entries are.
    fn holds(&self) -> Holds<'_> {
        Holds::Values
    }

    /// Where in each of its values a spin lock lies, in bytes.
    fn spin_lock(&self) -> Option<u32> {
        None
    }

    /// The whole value around an address, its spin lock included, if it is live memory of this map.
    fn value_around(&self, address: u64) -> Option<Window> {
        self.window(address)
    }

    /// `bpf_map_lookup_elem`: the value on `cpu`. Promotes in an LRU. None for a kind without values by key.
    fn lookup(&self, cpu: u32, key: Bytes<'_>) -> Option<NonNull<u8>> {
        let _ = (cpu, key);
        None
    }

    /// `bpf_map_update_elem`.
    ///
    /// # Errors
    /// Linux's, by kind and flags; kinds without it: `EINVAL`.
    fn update(&self, cpu: u32, key: Bytes<'_>, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let _ = (cpu, key, value, flags);
        Err(Errno::EINVAL)
    }

    /// `bpf_map_delete_elem`.
    ///
    /// # Errors
    /// Linux's, by kind; kinds without it: `EINVAL`.
    fn delete(&self, key: Bytes<'_>) -> Result<(), Errno> {
        let _ = key;
        Err(Errno::EINVAL)
    }

    /// `bpf_map_push_elem`.
    ///
    /// # Errors
    /// `E2BIG` when full without `BPF_EXIST`, `EINVAL` for other flags; kinds without it: `EINVAL`.
    fn push(&self, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let _ = (value, flags);
        Err(Errno::EINVAL)
    }

    /// `bpf_map_pop_elem`, or `bpf_map_peek_elem` where not `remove`. An empty map zeroes `out`.
    ///
    /// # Errors
    /// `ENOENT` when empty; kinds without it: `EINVAL`.
    fn pop(&self, out: BytesMut<'_>, remove: bool) -> Result<(), Errno> {
        let _ = (out, remove);
        Err(Errno::EINVAL)
    }

    /// `bpf_map_peek_elem` of a bloom filter: whether the value may be in it.
    ///
    /// # Errors
    /// `ENOENT` where it surely is not; kinds without it: `EINVAL`.
    fn contains(&self, value: Bytes<'_>) -> Result<(), Errno> {
        let _ = value;
        Err(Errno::EINVAL)
    }

    /// `bpf_for_each_map_elem`: calls `visit` with each entry (values of `cpu`); returns how many were visited.
    /// `visit` may call back into this map.
    ///
    /// # Errors
    /// `EINVAL` for kinds without it.
    fn for_each(&self, cpu: u32, visit: &mut Visit<'_>) -> Result<u64, Errno> {
        let _ = (cpu, visit);
        Err(Errno::EINVAL)
    }

    /// `bpf_ringbuf_output`: a record of these bytes, submitted.
    ///
    /// # Errors
    /// As [`Map::reserve`].
    fn output(&self, data: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let record = self.reserve(data.len() as u64)?;
        // SAFETY: a reserved record has as many writable bytes.
        unsafe { data.copy_to(record.as_ptr()) };
        self.commit(record.as_ptr() as u64, flags, false)
    }

    /// `bpf_ringbuf_reserve`: `size` writable bytes, until submitted or discarded. Whoever reserved them reaches them, and
    /// no other run: [`Region::window`] does not tell of them.
    ///
    /// # Errors
    /// `EAGAIN` when there is no room, now or ever; kinds without it: `EINVAL`.
    fn reserve(&self, size: u64) -> Result<NonNull<u8>, Errno> {
        let _ = size;
        Err(Errno::EINVAL)
    }

    /// `bpf_ringbuf_submit`, or `_discard`, of a record that [`Map::reserve`] returned.
    ///
    /// # Errors
    /// `EINVAL` for an address that is not a reserved record of this map.
    fn commit(&self, record: u64, flags: u64, discard: bool) -> Result<(), Errno> {
        let _ = (record, flags, discard);
        Err(Errno::EINVAL)
    }

    /// `bpf_ringbuf_query`.
    fn query(&self, what: u64) -> u64 {
        let _ = what;
        0
    }

    /// `BPF_MAP_LOOKUP_ELEM`: appends the value to `out`; a per-CPU map appends one value a CPU, each padded to 8.
    ///
    /// # Errors
    /// Linux's, by kind and flags.
    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno>;

    /// `BPF_MAP_LOOKUP_ELEM` of a bloom filter, which reads the value where others write it: whether it may be in it.
    ///
    /// # Errors
    /// `ENOENT` where it surely is not; else Linux's, by flags; kinds without it: `EINVAL`.
    fn contains_user(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        let _ = (value, flags);
        Err(Errno::EINVAL)
    }

    /// `BPF_MAP_UPDATE_ELEM`; for a per-CPU map, one padded value a CPU.
    ///
    /// # Errors
    /// Linux's, by kind and flags; `EPERM` when frozen.
    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno>;

    /// `BPF_MAP_UPDATE_ELEM` where things have numbers: for a kind that holds things, the value is the number of one.
    ///
    /// # Errors
    /// As [`Map::update_user`]; `EBADF` for a number that nothing has, `EINVAL` for a thing that does not belong there.
    fn update_by_number(&self, key: &[u8], value: &[u8], flags: u64, objects: &dyn Objects) -> Result<(), Refusal> {
        let _ = objects;
        Ok(self.update_user(key, value, flags)?)
    }

    /// `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    /// Linux's, by kind; `EPERM` when frozen.
    fn delete_user(&self, key: &[u8]) -> Result<(), Errno>;

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`, which for a queue or stack is pop.
    ///
    /// # Errors
    /// `ENOTSUPP` for kinds without it.
    fn lookup_and_delete_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        let _ = (key, flags, out);
        Err(Errno::ENOTSUPP)
    }

    /// `BPF_MAP_GET_NEXT_KEY`: appends the key after `key` (the first one without it, or where `key` is gone).
    ///
    /// # Errors
    /// `ENOENT` at the end; kinds without keys: `EINVAL` or `ENOTSUPP`.
    fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno>;

    /// Whether a batch command that reads, or writes, may begin; [`lookup_batch`] and its like ask before all else.
    ///
    /// # Errors
    /// `EPERM` by creation flags and freezing; `ENOTSUPP` for a map that has no batches at all.
    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        let _ = (read, write);
        Err(Errno::ENOTSUPP)
    }

    /// The next entries of a walk in batches, appended to `out`: at most `count`, from where `from` says (the
    /// [`Entries::next`] of the batch before; without it, from the first). They are taken out where `remove`.
    ///
    /// # Errors
    /// `ENOENT` when the walk has reached its end, also with entries in `out`.
    fn walk_user(&self, from: Option<&[u8]>, count: u32, remove: bool, out: &mut Entries) -> Result<(), Errno> {
        batch::walk_by_key(self, from, count, remove, out)
    }

    /// `BPF_MAP_FREEZE`: no more writes from the bench; programs may still write.
    ///
    /// # Errors
    /// `EPERM` when it is frozen already.
    fn freeze(&self) -> Result<(), Errno>;

    /// All entries as key and value (as [`Map::lookup_user`] gives it), in `next_key` order, appended to one
    /// buffer each: what tables and arrays are built from. Returns how many.
    ///
    /// # Errors
    /// As `next_key_user`.
    fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno>;

    /// Where its values lie, for the bench to read them without a copy, as Linux maps an array (`BPF_F_MMAPABLE`).
    ///
    /// # Errors
    /// `EPERM` where the bench may not read; `ENOTSUPP` for kinds that have their values here and there.
    fn table_user(&self) -> Result<Table, Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// Entries in the map now: for arrays, the capacity; for a ring buffer, records not yet consumed; for a bloom
    /// filter, which cannot tell, how often something was added.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says whether it is *alone*: whether one thread at a time uses it. It may then leave out what only threads need
    /// that use it at once; a map that [`create`] has made is not alone. A map of maps hands it on to its maps.
    ///
    /// # Safety
    /// While it is alone, all calls of it, and of what it lends ([`Map::holds`]), come from one thread at a time, and
    /// happen before those of the next. No other call is going on while this one is.
    unsafe fn set_alone(&self, alone: bool) {
        let _ = alone;
    }

    /// A run begins that may look values up. A map whose memory programs cannot reach by itself lends them copies,
    /// until as many runs have ended ([`Map::end_run`]).
    fn begin_run(&self) {}

    /// A run has ended: what its program has stored through looked-up values is in the map.
    fn end_run(&self) {}

    /// Appends the sizes of the records that [`Map::consume_user`] would give, the oldest first.
    ///
    /// # Errors
    /// `ENOTSUPP` for kinds that are no ring buffer.
    fn record_sizes_user(&self, out: &mut Vec<u32>) -> Result<(), Errno> {
        let _ = out;
        Err(Errno::ENOTSUPP)
    }

    /// How often commits to a ring buffer have woken its consumer, whether one waited or not.
    ///
    /// # Errors
    /// `ENOTSUPP` for other kinds, and for a ring buffer that does not know.
    fn wakeups_user(&self) -> Result<u64, Errno> {
        Err(Errno::ENOTSUPP)
    }

    /// Removes the oldest submitted record of a ring buffer and appends its payload to `out`; false when there is
    /// none. Discarded records are passed over; a busy one stops the consumer.
    ///
    /// # Errors
    /// `ENOTSUPP` for other kinds.
    fn consume_user(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        let _ = out;
        Err(Errno::ENOTSUPP)
    }
}

/// The maps of one program, by the slot that its instructions name.
#[derive(Clone, Default)]
pub struct MapSet(pub Vec<Arc<dyn Map>>);

impl Region for MapSet {
    fn window(&self, address: u64) -> Option<Window> {
        self.0.iter().find_map(|map| map.window(address))
    }

    fn forbids(&self, address: u64, size: u64) -> Option<&'static str> {
        self.0.iter().find_map(|map| map.forbids(address, size))
    }

    fn describe(&self, address: u64) -> Option<String> {
        self.0.iter().find_map(|map| map.describe(address))
    }
}
