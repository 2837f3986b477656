//! The table of kinds: Linux's numbers and names, and the rules of creation for the kinds that axebpf has.
//!
//! `create`, the error texts and the documentation are derived from it. Flags and sizes: measured on Linux 6.18.

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

/// Creation flags as text: names joined by `|`, unnamed bits as one number.
#[must_use]
pub fn flag_text(flags: u32) -> String {
    let mut parts: Vec<String> =
        FLAG_NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
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

/// The rules of creation of a kind that axebpf has.
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
}

const PROG_ACCESS: u32 = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
const ACCESS: u32 = BPF_F_RDONLY | BPF_F_WRONLY | PROG_ACCESS;
const HASH: u32 = BPF_F_ZERO_SEED | ACCESS;
const NUMBERED: u32 = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;

const fn rules(title: &'static str, flags: u32, keys: Keys) -> Rules {
    Rules { title, flags, keys, per_cpu: false, lru: false, by_number: false }
}

const fn per_cpu(rules: Rules) -> Rules {
    Rules { per_cpu: true, ..rules }
}

const fn lru(rules: Rules) -> Rules {
    Rules { lru: true, flags: rules.flags | BPF_F_NO_COMMON_LRU, ..rules }
}

const fn by_number(rules: Rules) -> Rules {
    Rules { by_number: true, ..rules }
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

            /// The rules of creation, for a kind that axebpf has.
            #[must_use]
            pub const fn rules(self) -> Option<Rules> {
                match self { $(MapKind::$kind => $rules,)* }
            }
        }
    };
}

kinds! {
    Hash = 1, "hash", Some(rules("hash map", HASH | BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE, Keys::Bytes));
    Array = 2, "array",
        Some(rules("array", BPF_F_NUMA_NODE | ACCESS | BPF_F_MMAPABLE | BPF_F_INNER_MAP, Keys::Index));
    ProgArray = 3, "prog_array", Some(by_number(rules("program array", NUMBERED, Keys::Index)));
    PerfEventArray = 4, "perf_event_array",
        Some(by_number(rules("perf event array", NUMBERED | BPF_F_PRESERVE_ELEMS, Keys::Index)));
    PercpuHash = 5, "percpu_hash", Some(per_cpu(rules("per-CPU hash map", HASH | BPF_F_NO_PREALLOC, Keys::Bytes)));
    PercpuArray = 6, "percpu_array", Some(per_cpu(rules("per-CPU array", ACCESS, Keys::Index)));
    StackTrace = 7, "stack_trace", None;
    CgroupArray = 8, "cgroup_array", None;
    LruHash = 9, "lru_hash", Some(lru(rules("LRU hash map", HASH | BPF_F_NUMA_NODE, Keys::Bytes)));
    LruPercpuHash = 10, "lru_percpu_hash", Some(lru(per_cpu(rules("per-CPU LRU hash map", HASH, Keys::Bytes))));
    LpmTrie = 11, "lpm_trie",
        Some(rules("longest-prefix trie", BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | ACCESS, Keys::Prefix));
    ArrayOfMaps = 12, "array_of_maps", Some(by_number(rules("array of maps", NUMBERED, Keys::Index)));
    HashOfMaps = 13, "hash_of_maps",
        Some(by_number(rules("hash of maps", HASH | BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE, Keys::Bytes)));
    Devmap = 14, "devmap", None;
    Sockmap = 15, "sockmap", None;
    Cpumap = 16, "cpumap", None;
    Xskmap = 17, "xskmap", None;
    Sockhash = 18, "sockhash", None;
    CgroupStorage = 19, "cgroup_storage", None;
    ReuseportSockarray = 20, "reuseport_sockarray", None;
    PercpuCgroupStorage = 21, "percpu_cgroup_storage", None;
    Queue = 22, "queue", Some(rules("queue", BPF_F_NUMA_NODE | ACCESS, Keys::None));
    Stack = 23, "stack", Some(rules("stack", BPF_F_NUMA_NODE | ACCESS, Keys::None));
    SkStorage = 24, "sk_storage", None;
    DevmapHash = 25, "devmap_hash", None;
    StructOps = 26, "struct_ops", None;
    RingBuf = 27, "ringbuf", Some(rules("ring buffer", BPF_F_NUMA_NODE, Keys::None));
    InodeStorage = 28, "inode_storage", None;
    TaskStorage = 29, "task_storage", None;
    BloomFilter = 30, "bloom_filter", Some(rules("bloom filter", BPF_F_NUMA_NODE | HASH, Keys::None));
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

    /// The kinds that axebpf has, by number.
    pub fn offered() -> impl Iterator<Item = MapKind> {
        MapKind::ALL.iter().copied().filter(|kind| kind.rules().is_some())
    }
}
