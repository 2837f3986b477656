//! Batch commands of bpf(2): several entries a call, on any map whose kind has them.
//!
//! As on Linux 6.18, a call that stops at an entry leaves the entries before it done and says how many those are. The
//! order of the checks is Linux's: permissions, whether the kind has the command, flags, then the entries.
//!
//! Where a walk goes on is the caller's to hand back, and opaque. Linux ends a batch of a hash at the end of one of its
//! buckets, gives fewer entries than asked for where the next bucket would not fit, and `ENOSPC` where the first does
//! not. Here every entry is a bucket of its own, so that a batch is as long as was asked for.

use crate::errno::Errno;
use crate::map::access::{self, BPF_F_LOCK};
use crate::map::uses::Command;
use crate::map::{Map, MapSpec, NoObjects, Objects, Refusal};

/// Entries that a batch has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Keys, one behind the other.
    pub keys: Vec<u8>,
    /// Values as `BPF_MAP_LOOKUP_ELEM` gives them, one behind the other.
    pub values: Vec<u8>,
    /// How many.
    pub count: u32,
    /// Where the walk goes on.
    pub next: Vec<u8>,
}

/// What every command checks first.
fn begin(map: &dyn Map, command: Command, flags: u64) -> Result<(), Errno> {
    map.begin_batch_user(command.reads(), command.writes())?;
    if !map.spec().kind.has(command) {
        return Err(Errno::ENOTSUPP);
    }
    access::known(flags)?;
    if flags & BPF_F_LOCK != 0 && map.spin_lock().is_none() { Err(Errno::EINVAL) } else { Ok(()) }
}

/// `BPF_MAP_LOOKUP_BATCH`: appends at most `count` entries to `out`, from where the batch before has ended (`from`, its
/// [`Entries::next`]), or from the first.
///
/// # Errors
/// `ENOENT` at the end of the walk, also when entries were read; `EINVAL` for flags; `EPERM`; `ENOTSUPP` for kinds
/// without it.
pub fn lookup_batch(
    map: &dyn Map,
    from: Option<&[u8]>,
    count: u32,
    flags: u64,
    out: &mut Entries,
) -> Result<(), Errno> {
    begin(map, Command::LookupBatch, flags)?;
    if count == 0 { Ok(()) } else { map.walk_user(from, count, false, out) }
}

/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`: as [`lookup_batch`], and the entries are taken out.
///
/// # Errors
/// As [`lookup_batch`].
pub fn lookup_and_delete_batch(
    map: &dyn Map,
    from: Option<&[u8]>,
    count: u32,
    flags: u64,
    out: &mut Entries,
) -> Result<(), Errno> {
    begin(map, Command::LookupAndDeleteBatch, flags)?;
    if count == 0 { Ok(()) } else { map.walk_user(from, count, true, out) }
}

/// `BPF_MAP_UPDATE_BATCH`: creates or replaces entries, as `BPF_MAP_UPDATE_ELEM` does with `BPF_ANY`, one after the
/// other; how many were done, and why not all.
///
/// # Errors
/// Those of an update; `EINVAL` for flags (also `BPF_NOEXIST` and `BPF_EXIST`), and where there is not a value for each
/// key; `ENOTSUPP` for kinds without it.
pub fn update_batch(map: &dyn Map, entries: &[(&[u8], &[u8])], flags: u64) -> Result<(), (u32, Errno)> {
    update_batch_by_number(map, entries, flags, &NoObjects).map_err(|(done, refusal)| (done, refusal.errno))
}

/// As [`update_batch`], where things have numbers: for a kind that holds things, each value is the number of one.
///
/// # Errors
/// As [`update_batch`], and those of [`Map::update_by_number`].
pub fn update_batch_by_number(
    map: &dyn Map,
    entries: &[(&[u8], &[u8])],
    flags: u64,
    objects: &dyn Objects,
) -> Result<(), (u32, Refusal)> {
    begin(map, Command::UpdateBatch, flags).map_err(|errno| (0, errno.into()))?;
    one_by_one(entries, |(key, value)| map.update_by_number(key, value, flags, objects))
}

/// `BPF_MAP_DELETE_BATCH`: deletes entries one after the other; how many were, and why not all.
///
/// # Errors
/// Those of a delete; `EINVAL` for flags; `ENOTSUPP` for kinds without it.
pub fn delete_batch(map: &dyn Map, keys: &[&[u8]], flags: u64) -> Result<(), (u32, Errno)> {
    begin(map, Command::DeleteBatch, flags).map_err(|errno| (0, errno))?;
    one_by_one(keys, |key| map.delete_user(key))
}

fn one_by_one<T, E>(items: &[T], each: impl Fn(&T) -> Result<(), E>) -> Result<(), (u32, E)> {
    (0..).zip(items).try_for_each(|(done, item)| each(item).map_err(|why| (done, why)))
}

/// A walk in batches that goes on behind the last key; where that key is gone, from the first, as `next_key` does.
pub(super) fn walk_by_key<M: Map + ?Sized>(
    map: &M,
    from: Option<&[u8]>,
    count: u32,
    remove: bool,
    out: &mut Entries,
) -> Result<(), Errno> {
    let MapSpec { key_size, .. } = *map.spec();
    let mut last = from.map(<[u8]>::to_vec);
    let mut result = Ok(());
    while out.count < count {
        let mut key = Vec::new();
        key.try_reserve_exact(key_size as usize).map_err(|_| Errno::ENOMEM)?;
        out.keys.try_reserve(key_size as usize).map_err(|_| Errno::ENOMEM)?;
        result = map.next_key_user(last.as_deref(), &mut key);
        if result.is_err() {
            break;
        }
        let read = match remove {
            true => map.lookup_and_delete_user(&key, 0, &mut out.values),
            false => map.lookup_user(&key, 0, &mut out.values),
        };
        match read {
            Ok(()) => {
                out.keys.extend_from_slice(&key);
                out.count += 1;
            }
            // Another thread was faster.
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        last = Some(key);
    }
    if out.count > 0 {
        out.next = last.unwrap_or_default();
    }
    result
}
