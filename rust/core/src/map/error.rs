//! Why a map cannot be created.

use crate::errno::Errno;
use crate::map::MapSpec;
use crate::map::kind::{MapKind, flag_text};

/// Why [`create`](crate::map::create) refused. `map` is the name of the map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Linux has this kind, axebpf does not.
    #[error("map {map}: axebpf has no {} maps, which Linux has; it has {}", kind.name(), offered())]
    Unsupported {
        /// Name of the map.
        map: String,
        /// The kind asked for.
        kind: MapKind,
    },
    /// AxVisor does not have this kind.
    #[error("map {map}: AxVisor has no {} maps; its loader takes {kinds}", kind.name())]
    NotOnAxvisor {
        /// Name of the map.
        map: String,
        /// The kind asked for.
        kind: MapKind,
        /// Kinds that it has.
        kinds: String,
    },
    /// kbpf-basic refuses the sizes or flags.
    #[error(
        "map {map}: kbpf-basic, AxVisor's, refuses {} maps of {} bytes a key, {} a value, {} entries and flags {}",
        spec.kind.name(), spec.key_size, spec.value_size, spec.max_entries, flag_text(spec.flags)
    )]
    NotByKbpf {
        /// Name of the map.
        map: String,
        /// What was asked for.
        spec: Box<MapSpec>,
        /// Its answer.
        errno: Errno,
    },
    /// More bytes than kbpf-basic can have, or than there are; it would panic or end the process.
    #[error(
        "map {map}: {what} of {} maps of kbpf-basic, AxVisor's, is at most {limit} bytes, and what there is; found {bytes}",
        kind.name()
    )]
    KbpfMemory {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// What is too large.
        what: &'static str,
        /// Bytes needed.
        bytes: u64,
        /// The most that it can have.
        limit: u64,
    },
    /// A creation flag that the kind does not know.
    #[error(
        "map {map}: {} is not a flag of {} maps; allowed: {}",
        flag_text(flags & !allowed), kind.name(), flag_text(*allowed)
    )]
    Flags {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// Flags asked for.
        flags: u32,
        /// Flags that the kind knows.
        allowed: u32,
    },
    /// Two flags that exclude each other, such as read-only and write-only.
    #[error("map {map}: {} exclude each other", flag_text(*flags))]
    FlagPair {
        /// Name of the map.
        map: String,
        /// The two flags.
        flags: u32,
    },
    /// `BPF_F_NO_PREALLOC` on an LRU map, which must own its memory.
    #[error("map {map}: {} maps are always preallocated; leave out BPF_F_NO_PREALLOC", kind.name())]
    Preallocated {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
    },
    /// No `BPF_F_NO_PREALLOC` on a trie, which takes memory as entries come.
    #[error("map {map}: {} maps take memory as entries come; add BPF_F_NO_PREALLOC", kind.name())]
    NotPreallocated {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
    },
    /// More hash functions than a bloom filter may have.
    #[error(
        "map {map}: map_extra of a bloom_filter map is how many hash functions it has, at most {limit} (0: 5), \
         found {extra}"
    )]
    Hashes {
        /// Name of the map.
        map: String,
        /// What was given.
        extra: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// `map_extra` on a kind that does not use it.
    #[error("map {map}: {} maps take no map_extra, found {extra:#x}", kind.name())]
    Extra {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// What was given.
        extra: u64,
    },
    /// A key size that the kind does not allow.
    #[error("map {map}: key size of {} maps must be {expected}, found {size}", kind.name())]
    KeySize {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// Bytes asked for.
        size: u32,
        /// What is allowed.
        expected: &'static str,
    },
    /// A value size that the kind does not allow.
    #[error("map {map}: value size of {} maps must be {expected}, found {size}", kind.name())]
    ValueSize {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// Bytes asked for.
        size: u32,
        /// What is allowed.
        expected: &'static str,
    },
    /// A `max_entries` that the kind does not allow.
    #[error("map {map}: max_entries of {} maps must be {expected}, found {entries}", kind.name())]
    Entries {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// What was asked for.
        entries: u32,
        /// What is allowed.
        expected: &'static str,
    },
    /// A map of maps without a map that says what its inner maps are like.
    #[error("map {map}: {} maps need an inner map, which those that are put there must be like", kind.name())]
    NoInner {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
    },
    /// An inner map for a kind that has none.
    #[error("map {map}: {} maps have no inner maps; array_of_maps and hash_of_maps have", kind.name())]
    NotOfMaps {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
    },
    /// A kind that cannot be in a map of maps.
    #[error("map {map}: {} maps cannot be inner maps{}", inner.name(), if inner.is_of_maps() { ": one level is all" } else { "" })]
    InnerKind {
        /// Name of the map.
        map: String,
        /// Kind of the inner map.
        inner: MapKind,
    },
    /// A spin lock in the values of a kind that has none.
    #[error("map {map}: values of {} maps cannot have a bpf_spin_lock; those of array and hash maps can", kind.name())]
    SpinLockKind {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
    },
    /// A spin lock in values that programs may not read, or not write.
    #[error("map {map}: values with a bpf_spin_lock must be readable and writable for programs; leave out {}", flag_text(*flags))]
    SpinLockAccess {
        /// Name of the map.
        map: String,
        /// The flags that forbid it.
        flags: u32,
    },
    /// A spin lock outside its value, or across two words.
    #[error(
        "map {map}: a bpf_spin_lock lies on a multiple of 4 within the value's {value_size} bytes; found it at {offset}"
    )]
    SpinLockPlace {
        /// Name of the map.
        map: String,
        /// Where it was to be.
        offset: u32,
        /// Bytes of a value.
        value_size: u32,
    },
    /// A size beyond Linux's limit.
    #[error("map {map}: {what} of {} maps is at most {limit}, found {found}", kind.name())]
    TooBig {
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// Which size.
        what: &'static str,
        /// What was asked for.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The map would need more memory than there is, or than a map may take.
    #[error("map {map}: no memory for {bytes} bytes (a map may take {limit})")]
    Memory {
        /// Name of the map.
        map: String,
        /// Bytes needed.
        bytes: u64,
        /// The most that a map may take.
        limit: u64,
    },
}

impl MapError {
    /// What `BPF_MAP_CREATE` answers on Linux.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            MapError::Unsupported { .. } => Errno::EOPNOTSUPP,
            MapError::NotOnAxvisor { .. } => Errno::EPERM,
            MapError::NotByKbpf { errno, .. } => *errno,
            MapError::InnerKind { inner, .. } if inner.is_of_maps() => Errno::EINVAL,
            MapError::Preallocated { .. } | MapError::InnerKind { .. } => Errno::ENOTSUPP,
            // Of kinds that can have no types of their values, Linux does not say that it is the lock.
            MapError::SpinLockKind { kind, .. } if kind.has_types() => Errno::EOPNOTSUPP,
            MapError::SpinLockAccess { .. } => Errno::EACCES,
            MapError::TooBig { .. } => Errno::E2BIG,
            MapError::Memory { .. } | MapError::KbpfMemory { .. } => Errno::ENOMEM,
            MapError::Flags { .. }
            | MapError::FlagPair { .. }
            | MapError::NotPreallocated { .. }
            | MapError::Hashes { .. }
            | MapError::Extra { .. }
            | MapError::KeySize { .. }
            | MapError::ValueSize { .. }
            | MapError::NoInner { .. }
            | MapError::NotOfMaps { .. }
            | MapError::SpinLockKind { .. }
            | MapError::SpinLockPlace { .. }
            | MapError::Entries { .. } => Errno::EINVAL,
        }
    }
}

fn offered() -> String {
    MapKind::offered().map(MapKind::name).collect::<Vec<_>>().join(", ")
}
