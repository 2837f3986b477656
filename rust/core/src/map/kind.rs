//! The table of kinds: Linux's numbers and names, and for the kinds that axebpf has the rules of creation and of use.
//!
//! `create`, batches, what programs may do with a map, the error texts and the documentation are derived from it. All of
//! it was measured on Linux 6.18, and `tests/map_oracle` measures it again.

use crate::map::uses::{Command, MapUse, Uses};
use crate::nearest;
use crate::program::ProgramType;

/// `BPF_F_NO_PREALLOC`: memory is taken as entries come.
pub const BPF_F_NO_PREALLOC: u32 = 1 << 0;
/// `BPF_F_NO_COMMON_LRU`: an equal part of the entries for each CPU, with an order of use of its own. In our exact order
/// it only rounds the capacity.
pub const BPF_F_NO_COMMON_LRU: u32 = 1 << 1;
/// `BPF_F_NUMA_NODE`: a node to allocate on. Accepted; a bench has one node.
pub const BPF_F_NUMA_NODE: u32 = 1 << 2;
/// `BPF_F_RDONLY`: the bpf(2) side may not write.
pub const BPF_F_RDONLY: u32 = 1 << 3;
/// `BPF_F_WRONLY`: the bpf(2) side may not read.
pub const BPF_F_WRONLY: u32 = 1 << 4;
/// `BPF_F_ZERO_SEED`: a fixed hash seed. Ours is always fixed.
pub const BPF_F_ZERO_SEED: u32 = 1 << 6;
/// `BPF_F_RDONLY_PROG`: programs may not write.
pub const BPF_F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_WRONLY_PROG`: programs may not read.
pub const BPF_F_WRONLY_PROG: u32 = 1 << 8;
/// `BPF_F_MMAPABLE`: user space may map the values. Accepted; a bench reads them anyway.
pub const BPF_F_MMAPABLE: u32 = 1 << 10;
/// `BPF_F_PRESERVE_ELEMS`: perf events outlive the descriptor that put them there. Accepted; a bench's always do.
pub const BPF_F_PRESERVE_ELEMS: u32 = 1 << 11;
/// `BPF_F_INNER_MAP`: the capacity may differ from that of the template of a map of maps.
pub const BPF_F_INNER_MAP: u32 = 1 << 12;

/// Every creation flag with its name, for messages.
const FLAG_NAMES: [(u32, &str); 11] = [
    (BPF_F_NO_PREALLOC, "BPF_F_NO_PREALLOC"),
    (BPF_F_NO_COMMON_LRU, "BPF_F_NO_COMMON_LRU"),
    (BPF_F_NUMA_NODE, "BPF_F_NUMA_NODE"),
    (BPF_F_RDONLY, "BPF_F_RDONLY"),
    (BPF_F_WRONLY, "BPF_F_WRONLY"),
    (BPF_F_ZERO_SEED, "BPF_F_ZERO_SEED"),
    (BPF_F_RDONLY_PROG, "BPF_F_RDONLY_PROG"),
    (BPF_F_WRONLY_PROG, "BPF_F_WRONLY_PROG"),
    (BPF_F_MMAPABLE, "BPF_F_MMAPABLE"),
    (BPF_F_PRESERVE_ELEMS, "BPF_F_PRESERVE_ELEMS"),
    (BPF_F_INNER_MAP, "BPF_F_INNER_MAP"),
];

/// Names of the creation flags that are among these.
pub fn flag_names(flags: u32) -> impl Iterator<Item = &'static str> {
    FLAG_NAMES.iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, name)| *name)
}

/// Creation flags as text: names joined by `|`, unnamed bits as one number.
#[must_use]
pub fn flag_text(flags: u32) -> String {
    let mut parts: Vec<String> = flag_names(flags).map(str::to_owned).collect();
    let rest = FLAG_NAMES.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    if rest != 0 || parts.is_empty() {
        parts.push(format!("{rest:#x}"));
    }
    parts.join("|")
}

/// How the entries of a kind are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// By an index of four bytes.
    Index,
    /// By any bytes.
    Bytes,
    /// By the longest prefix: how many leading bits count (`u32`), then the bits.
    Prefix,
    /// By order only, or not at all: the key size is 0.
    None,
}

impl Keys {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Keys::Index => "index",
            Keys::Bytes => "bytes",
            Keys::Prefix => "prefix",
            Keys::None => "none",
        }
    }
}

/// The rules of creation and of use of a kind that axebpf has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// What a person calls it.
    pub title: &'static str,
    /// Creation flags allowed.
    pub flags: u32,
    /// Keys.
    pub keys: Keys,
    /// Whether each CPU has its own value.
    pub per_cpu: bool,
    /// Whether a new key drives out the least recently used one when the map is full.
    pub lru: bool,
    /// Whether an entry is something that has a number: a map, a program. Its value is those four bytes.
    pub by_number: bool,
    /// What can be done with it.
    pub uses: Uses,
    /// Whether programs that may sleep, as `syscall` programs do, can use it.
    pub sleepable: bool,
}

use Command::{DeleteBatch, LookupAndDelete, LookupAndDeleteBatch, LookupBatch, UpdateBatch};
use MapUse::{Delete, ForEach, Lookup, LookupPercpu, Peek, PerfOutput, Pop, Push, Ring, TailCall, Update};

const BY_INDEX: Uses = Uses::of(&[Lookup, Update, Delete, ForEach], &[LookupBatch, UpdateBatch]);
const BY_KEY: Uses = BY_INDEX.and(Uses::of(&[], &[LookupAndDelete, LookupAndDeleteBatch, DeleteBatch]));
const BY_PREFIX: Uses = Uses::of(&[Lookup, Update, Delete], &[LookupBatch, UpdateBatch, DeleteBatch]);
const OF_OTHER_CPUS: Uses = Uses::of(&[LookupPercpu], &[]);
const MAPS_BY_INDEX: Uses = Uses::of(&[Lookup], &[LookupBatch, UpdateBatch]);
const MAPS_BY_KEY: Uses = MAPS_BY_INDEX.and(Uses::of(&[], &[LookupAndDeleteBatch, DeleteBatch]));
const IN_ORDER: Uses = Uses::of(&[Push, Pop, Peek], &[LookupAndDelete]);
const FILTER: Uses = Uses::of(&[Push, Peek], &[]);
const PROGRAMS: Uses = Uses::of(&[TailCall], &[]);
const EVENTS: Uses = Uses::of(&[PerfOutput], &[]);
const RECORDS: Uses = Uses::of(&[Ring], &[]);

const PROG_ACCESS: u32 = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
const ACCESS: u32 = BPF_F_RDONLY | BPF_F_WRONLY | PROG_ACCESS;
const HASH: u32 = BPF_F_ZERO_SEED | ACCESS;
const NUMBERED: u32 = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;

/// The rules of a kind whose maps have one value for all CPUs, as large as one likes, and let programs sleep.
const fn rules(title: &'static str, keys: Keys, uses: Uses, flags: u32) -> Rules {
    Rules { title, flags, keys, per_cpu: false, lru: false, by_number: false, uses, sleepable: true }
}

impl Rules {
    const fn per_cpu(self) -> Rules {
        Rules { per_cpu: true, uses: self.uses.and(OF_OTHER_CPUS), ..self }
    }

    const fn lru(self) -> Rules {
        Rules { lru: true, flags: self.flags | BPF_F_NO_COMMON_LRU, ..self }
    }

    const fn by_number(self) -> Rules {
        Rules { by_number: true, ..self }
    }

    const fn not_sleepable(self) -> Rules {
        Rules { sleepable: false, ..self }
    }

    /// Whether programs of a type may use it. Linux keeps programs that may sleep from some kinds: of the types here,
    /// those are of type `syscall`.
    #[must_use]
    pub fn may_be_used_by(self, program_type: ProgramType) -> bool {
        self.sleepable || program_type != ProgramType::Syscall
    }
}

macro_rules! kinds {
    ($($kind:ident = $number:literal, $name:literal, $rules:expr;)*) => {
        /// The kinds of map that Linux numbers (`enum bpf_map_type`).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        #[allow(missing_docs)] // the names are Linux's
        pub enum MapKind { $($kind = $number,)* }

        impl MapKind {
            /// Every kind, by number.
            pub const ALL: &[MapKind] = &[$(MapKind::$kind,)*];

            /// The kernel's name in lower case (`lru_hash`).
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(MapKind::$kind => $name,)* }
            }

            /// Its rules, for a kind that axebpf has.
            #[must_use]
            pub const fn rules(self) -> Option<Rules> {
                match self { $(MapKind::$kind => $rules,)* }
            }
        }
    };
}

kinds! {
    Hash = 1, "hash", Some(rules("hash map", Keys::Bytes, BY_KEY, HASH | BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE));
    Array = 2, "array",
        Some(rules("array", Keys::Index, BY_INDEX, BPF_F_NUMA_NODE | ACCESS | BPF_F_MMAPABLE | BPF_F_INNER_MAP));
    ProgArray = 3, "prog_array",
        Some(rules("program array", Keys::Index, PROGRAMS, NUMBERED).by_number().not_sleepable());
    PerfEventArray = 4, "perf_event_array",
        Some(rules("perf event array", Keys::Index, EVENTS, NUMBERED | BPF_F_PRESERVE_ELEMS)
            .by_number().not_sleepable());
    PercpuHash = 5, "percpu_hash",
        Some(rules("per-CPU hash map", Keys::Bytes, BY_KEY, HASH | BPF_F_NO_PREALLOC).per_cpu());
    PercpuArray = 6, "percpu_array", Some(rules("per-CPU array", Keys::Index, BY_INDEX, ACCESS).per_cpu());
    StackTrace = 7, "stack_trace", None;
    CgroupArray = 8, "cgroup_array", None;
    LruHash = 9, "lru_hash", Some(rules("LRU hash map", Keys::Bytes, BY_KEY, HASH | BPF_F_NUMA_NODE).lru());
    LruPercpuHash = 10, "lru_percpu_hash",
        Some(rules("per-CPU LRU hash map", Keys::Bytes, BY_KEY, HASH).per_cpu().lru());
    LpmTrie = 11, "lpm_trie",
        Some(rules("longest-prefix trie", Keys::Prefix, BY_PREFIX, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | ACCESS)
            .not_sleepable());
    ArrayOfMaps = 12, "array_of_maps", Some(rules("array of maps", Keys::Index, MAPS_BY_INDEX, NUMBERED).by_number());
    HashOfMaps = 13, "hash_of_maps",
        Some(rules("hash of maps", Keys::Bytes, MAPS_BY_KEY, HASH | BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE).by_number());
    Devmap = 14, "devmap", None;
    Sockmap = 15, "sockmap", None;
    Cpumap = 16, "cpumap", None;
    Xskmap = 17, "xskmap", None;
    Sockhash = 18, "sockhash", None;
    CgroupStorage = 19, "cgroup_storage", None;
    ReuseportSockarray = 20, "reuseport_sockarray", None;
    PercpuCgroupStorage = 21, "percpu_cgroup_storage", None;
    Queue = 22, "queue", Some(rules("queue", Keys::None, IN_ORDER, BPF_F_NUMA_NODE | ACCESS));
    Stack = 23, "stack", Some(rules("stack", Keys::None, IN_ORDER, BPF_F_NUMA_NODE | ACCESS));
    SkStorage = 24, "sk_storage", None;
    DevmapHash = 25, "devmap_hash", None;
    StructOps = 26, "struct_ops", None;
    RingBuf = 27, "ringbuf", Some(rules("ring buffer", Keys::None, RECORDS, BPF_F_NUMA_NODE));
    InodeStorage = 28, "inode_storage", None;
    TaskStorage = 29, "task_storage", None;
    BloomFilter = 30, "bloom_filter",
        Some(rules("bloom filter", Keys::None, FILTER, BPF_F_NUMA_NODE | HASH).not_sleepable());
    UserRingBuf = 31, "user_ringbuf", None;
    CgrpStorage = 32, "cgrp_storage", None;
    Arena = 33, "arena", None;
}

impl MapKind {
    /// The kind of a number of `enum bpf_map_type`.
    #[must_use]
    pub fn from_number(number: u32) -> Option<MapKind> {
        MapKind::ALL.iter().copied().find(|kind| *kind as u32 == number)
    }

    /// The kind of a name in lower case (`lru_hash`).
    #[must_use]
    pub fn from_name(name: &str) -> Option<MapKind> {
        MapKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// `; did you mean …?` for a name that no kind has, of the kinds that axebpf has; or nothing.
    #[must_use]
    pub fn hint(name: &str) -> String {
        nearest::hint(nearest::nearest(name, MapKind::offered().map(MapKind::name)).as_ref())
    }

    /// What a person calls it (`LRU hash map`); the kernel's name where axebpf has no such map.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.rules().map_or(self.name(), |rules| rules.title)
    }

    /// Whether a value is kept for each CPU.
    #[must_use]
    pub fn is_per_cpu(self) -> bool {
        self.rules().is_some_and(|rules| rules.per_cpu)
    }

    /// Whether its values are maps.
    #[must_use]
    pub const fn is_of_maps(self) -> bool {
        matches!(self, MapKind::ArrayOfMaps | MapKind::HashOfMaps)
    }

    /// Whether Linux takes BTF types for its keys and values.
    pub(super) const fn has_types(self) -> bool {
        match self {
            MapKind::Queue | MapKind::Stack | MapKind::RingBuf => false,
            _ => match self.rules() {
                Some(rules) => !rules.by_number,
                None => false,
            },
        }
    }

    /// Whether a helper may do this with maps of this kind.
    #[must_use]
    pub fn takes(self, map_use: MapUse) -> bool {
        self.rules().is_some_and(|rules| rules.uses.by_helper(map_use))
    }

    /// Whether maps of this kind have a command of bpf(2).
    #[must_use]
    pub fn has(self, command: Command) -> bool {
        self.rules().is_some_and(|rules| rules.uses.by_command(command))
    }

    /// The kinds that axebpf has, by number.
    pub fn offered() -> impl Iterator<Item = MapKind> {
        MapKind::ALL.iter().copied().filter(|kind| kind.rules().is_some())
    }
}
