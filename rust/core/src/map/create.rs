//! Creating a map: every check of `BPF_MAP_CREATE`, in an order that gives Linux's errno.
//!
//! Limits measured on Linux 6.18, x86-64.

use std::sync::Arc;

use crate::errno::Errno;
use crate::map::array::Array;
use crate::map::bloom::Bloom;
use crate::map::error::MapError;
use crate::map::hash::Hash;
use crate::map::kind::{
    BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY,
    BPF_F_WRONLY_PROG, Keys, MapKind, Rules,
};
use crate::map::lpm::{self, Lpm};
use crate::map::of_maps::{ArrayOfMaps, HashOfMaps, Shape};
use crate::map::perf::PerfEventArray;
use crate::map::programs::ProgArray;
use crate::map::queue::Queue;
use crate::map::ringbuf::RingBuf;
use crate::map::{Map, MapSpec, spin};

/// The most memory that one map may take, in bytes: beyond it creation answers `ENOMEM`, as Linux does on a machine
/// that has no more. Memory is only used where entries are.
pub const MAX_BYTES: u64 = 16 << 30;

/// The largest array value (`INT_MAX`).
const ARRAY_VALUE: u64 = i32::MAX as u64;
/// The largest per-CPU value, padded to 8.
const PER_CPU_VALUE: u64 = 32 << 10;
/// The largest queue or bloom filter value.
const QUEUE_VALUE: u64 = 4 << 20;
/// The largest key and value of a hash entry together: a block of 4 MiB less Linux's own 48 bytes, exclusive.
const HASH_ENTRY: u64 = (4 << 20) - 48 - 1;
/// The largest value of a trie: a block of 4 MiB less the largest key and Linux's own 20 bytes.
const TRIE_VALUE: u32 = (4 << 20) - lpm::KEY_SIZES.1 - 20;
/// The most hash functions of a bloom filter.
const BLOOM_HASHES: u64 = 15;
/// The largest capacity of a hash.
const HASH_ENTRIES: u64 = 1 << 28;
/// A ring buffer is a power of two of whole pages.
const PAGE: u32 = 4096;

/// Creates a map for a bench of `cpus` CPUs (at least one). Its values are zero.
///
/// # Errors
/// The rule that `spec` breaks; [`MapError::errno`] is Linux's answer.
pub fn create(spec: MapSpec, cpus: u32) -> Result<Arc<dyn Map>, MapError> {
    create_with(spec, cpus, None)
}

/// As [`create`]; `inner` is what the maps of a map of maps must be like.
///
/// # Errors
/// As [`create`], and for an `inner` that is missing, of no use, or cannot be an inner map.
pub fn create_with(spec: MapSpec, cpus: u32, inner: Option<&dyn Map>) -> Result<Arc<dyn Map>, MapError> {
    create_as(spec, cpus, &Creation { inner, ..Creation::default() })
}

/// Which entries an LRU map drives out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LruOrder {
    /// The one that was used least recently.
    #[default]
    Exact,
    /// Those that Linux 6.18 would: several at a time, by an approximate order of use.
    Linux,
}

/// What a map is created with besides its spec.
#[derive(Clone, Copy, Default)]
pub struct Creation<'m> {
    /// What the maps of a map of maps must be like.
    pub inner: Option<&'m dyn Map>,
    /// Of an LRU map.
    pub lru: LruOrder,
    /// Where in each value a `struct bpf_spin_lock` lies, in bytes.
    pub spin_lock: Option<u32>,
}

/// As [`create`], with all that a map can be created with.
///
/// # Errors
/// As [`create_with`].
pub fn create_as(mut spec: MapSpec, cpus: u32, with: &Creation<'_>) -> Result<Arc<dyn Map>, MapError> {
    let inner = with.inner;
    let Some(rules) = spec.kind.rules() else {
        return Err(MapError::Unsupported { map: spec.name, kind: spec.kind });
    };
    check(&spec, rules)?;
    let shape = Shape::of_inner(&spec, inner)?;
    if let Some(lock) = with.spin_lock {
        spin::check(&spec, lock)?;
    }
    let cpus = cpus.max(1);
    if spec.flags & BPF_F_NO_COMMON_LRU != 0 {
        // Linux deals the entries out to the CPUs evenly.
        spec.max_entries = spec.max_entries.div_ceil(cpus).saturating_mul(cpus);
    }
    let value_cpus = if rules.per_cpu { cpus } else { 1 };
    let bytes = footprint(&spec, rules, value_cpus);
    let memory = |map: String| MapError::Memory { map, bytes, limit: MAX_BYTES };
    if bytes > MAX_BYTES {
        return Err(memory(spec.name));
    }
    let name = spec.name.clone();
    let created: Result<Arc<dyn Map>, Errno> = match (spec.kind, rules.keys, shape) {
        (_, Keys::Index, Some(shape)) => Ok(Arc::new(ArrayOfMaps::new(spec, shape))),
        (_, _, Some(shape)) => HashOfMaps::new(spec, shape, rules).map(|map| Arc::new(map) as _),
        (MapKind::ProgArray, ..) => Ok(Arc::new(ProgArray::new(spec))),
        (MapKind::PerfEventArray, ..) => Ok(Arc::new(PerfEventArray::new(spec))),
        (MapKind::RingBuf, ..) => RingBuf::new(spec).map(|map| Arc::new(map) as _),
        (MapKind::BloomFilter, ..) => Bloom::new(spec).map(|map| Arc::new(map) as _),
        (_, Keys::None, _) => Queue::new(spec).map(|map| Arc::new(map) as _),
        (_, Keys::Index, _) => Array::new(spec, value_cpus, with).map(|map| Arc::new(map) as _),
        (_, Keys::Bytes, _) => Hash::new(spec, cpus, rules, with).map(|map| Arc::new(map) as _),
        (_, Keys::Prefix, _) => Lpm::new(spec).map(|map| Arc::new(map) as _),
    };
    // The only thing that can still fail is an allocation.
    created.map_err(|_| memory(name))
}

fn check(spec: &MapSpec, rules: Rules) -> Result<(), MapError> {
    let MapSpec { kind, key_size, value_size, max_entries: entries, flags, extra, .. } = *spec;
    let map = || spec.name.clone();
    let key = |expected| Err(MapError::KeySize { map: map(), kind, size: key_size, expected });
    let value = |expected| Err(MapError::ValueSize { map: map(), kind, size: value_size, expected });
    let capacity = |expected| Err(MapError::Entries { map: map(), kind, entries, expected });
    let at_most = |what, found, limit| {
        if found > limit { Err(MapError::TooBig { map: map(), kind, what, found, limit }) } else { Ok(()) }
    };

    let no_pair =
        |pair| if flags & pair == pair { Err(MapError::FlagPair { map: map(), flags: pair }) } else { Ok(()) };

    if kind == MapKind::BloomFilter {
        // What Linux looks at first.
        no_pair(BPF_F_RDONLY | BPF_F_WRONLY)?;
        at_most("the value size", value_size.into(), QUEUE_VALUE)?;
    } else if extra != 0 {
        return Err(MapError::Extra { map: map(), kind, extra });
    }
    let unknown = |late: u32| match flags & !(rules.flags | late) {
        0 => Ok(()),
        _ => Err(MapError::Flags { map: map(), kind, flags, allowed: rules.flags }),
    };
    // For an LRU, Linux looks at these two only after the others, and at the first of them first.
    unknown(if rules.lru { BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE } else { 0 })?;
    no_pair(BPF_F_RDONLY | BPF_F_WRONLY)?;
    no_pair(BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)?;
    if rules.lru && flags & BPF_F_NO_PREALLOC != 0 {
        return Err(MapError::Preallocated { map: map(), kind });
    }
    unknown(0)?;
    no_pair(BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE)?;
    if rules.keys == Keys::Prefix && flags & BPF_F_NO_PREALLOC == 0 {
        return Err(MapError::NotPreallocated { map: map(), kind });
    }
    match rules.keys {
        Keys::Index if key_size != 4 => return key("4, an index"),
        Keys::Bytes if key_size == 0 => return key("at least 1"),
        Keys::Prefix if !(lpm::KEY_SIZES.0..=lpm::KEY_SIZES.1).contains(&key_size) => {
            return key("5 to 260: how many bits count in 4 bytes, then the bits");
        }
        Keys::None if key_size != 0 => return key("0"),
        _ => {}
    }
    if kind == MapKind::RingBuf {
        if value_size != 0 {
            return value("0");
        }
        if !entries.is_power_of_two() || entries % PAGE != 0 {
            return capacity("the bytes of the ring: a power of two, at least 4096");
        }
        return Ok(());
    }
    if rules.by_number && value_size != 4 {
        return value("4, a number");
    }
    if value_size == 0 {
        return value("at least 1");
    }
    if entries == 0 {
        return capacity("at least 1");
    }
    if rules.keys == Keys::Prefix && value_size > TRIE_VALUE {
        return value("1 to 4194024");
    }
    let (key_size, value_size) = (u64::from(key_size), u64::from(value_size));
    if rules.per_cpu {
        at_most("the value size", value_size, PER_CPU_VALUE)?;
    }
    match rules.keys {
        Keys::Index => at_most("the value size", value_size, ARRAY_VALUE),
        Keys::None if kind == MapKind::BloomFilter && extra > BLOOM_HASHES => {
            Err(MapError::Hashes { map: map(), extra, limit: BLOOM_HASHES })
        }
        Keys::None => at_most("the value size", value_size, QUEUE_VALUE),
        Keys::Prefix => Ok(()),
        Keys::Bytes => {
            at_most("key size + value size", key_size + value_size, HASH_ENTRY)?;
            at_most("max_entries", u64::from(entries), HASH_ENTRIES)
        }
    }
}

/// Bytes that the map takes at once, without its bookkeeping.
fn footprint(spec: &MapSpec, rules: Rules, value_cpus: u32) -> u64 {
    let pad = |bytes: u32| u64::from(bytes).next_multiple_of(8);
    let entry = match spec.kind {
        // A ring buffer has its data area twice, so that a record that wraps is contiguous.
        MapKind::RingBuf => 2,
        MapKind::BloomFilter => return Bloom::bytes(spec),
        // It takes memory as entries come, and no more than a map may.
        _ if spec.flags & BPF_F_NO_PREALLOC != 0 => 0,
        _ if rules.keys == Keys::Bytes => {
            pad(spec.key_size).saturating_add(pad(spec.value_size).saturating_mul(u64::from(value_cpus)))
        }
        _ => pad(spec.value_size).saturating_mul(u64::from(value_cpus)),
    };
    entry.saturating_mul(u64::from(spec.max_entries))
}
