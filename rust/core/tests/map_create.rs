//! Creation: what is refused, with which errno and which words. The sizes are those measured on Linux 6.18; the
//! oracle test asks a running kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod map_support;

use axebpf_core::map::{MapError, MapKind, MapSpec, create, create_with, flag_text};
use map_support::spec;

fn errno(kind: &str, key: u32, value: u32, entries: u32, flags: u32) -> &'static str {
    let kind = MapKind::from_name(kind).expect("a kind");
    create(spec(kind, key, value, entries, flags), 2).map_or_else(|error| error.errno().name(), |_| "OK")
}

/// Kind, key size, value size, entries, Linux's answer.
const SIZES: &[(&str, u32, u32, u32, &str)] = &[
    ("array", 4, 8, 0, "EINVAL"),
    ("array", 4, 0, 1, "EINVAL"),
    ("array", 8, 8, 1, "EINVAL"),
    ("array", 4, 8, u32::MAX, "ENOMEM"),
    ("array", 4, 65536, 65536, "OK"),
    ("array", 4, 2_147_483_647, 1, "OK"),
    ("array", 4, 2_147_483_648, 1, "E2BIG"),
    ("array", 4, 4_194_304, 1, "OK"),
    ("hash", 0, 8, 1, "EINVAL"),
    ("hash", 8, 0, 1, "EINVAL"),
    ("hash", 8, 8, 0, "EINVAL"),
    ("hash", 8, 8, u32::MAX, "E2BIG"),
    ("hash", 8, 8, 1 << 31, "E2BIG"),
    ("hash", 513, 8, 1, "OK"),
    ("hash", 1_048_576, 8, 1, "OK"),
    ("hash", 8, 4_194_304, 1, "E2BIG"),
    ("hash", 8, 4_194_240, 1, "OK"),
    ("hash", u32::MAX, 8, 1, "E2BIG"),
    ("percpu_array", 4, 32768, 1, "OK"),
    ("percpu_array", 4, 32769, 1, "E2BIG"),
    ("percpu_hash", 4, 32768, 1, "OK"),
    ("percpu_hash", 4, 32776, 1, "E2BIG"),
    ("queue", 4, 8, 4, "EINVAL"),
    ("queue", 0, 0, 4, "EINVAL"),
    ("queue", 0, 8, 0, "EINVAL"),
    ("queue", 0, 8, u32::MAX, "ENOMEM"),
    ("queue", 0, 4_194_304, 4, "OK"),
    ("queue", 0, 8_388_608, 1, "E2BIG"),
    ("ringbuf", 0, 0, 4095, "EINVAL"),
    ("ringbuf", 0, 0, 12288, "EINVAL"),
    ("ringbuf", 0, 0, 2048, "EINVAL"),
    ("ringbuf", 0, 8, 4096, "EINVAL"),
    ("ringbuf", 4, 0, 4096, "EINVAL"),
    ("ringbuf", 0, 0, 0, "EINVAL"),
    ("ringbuf", 0, 0, 1 << 31, "OK"),
    ("bloom_filter", 4, 8, 4, "EINVAL"),
    ("bloom_filter", 0, 0, 4, "EINVAL"),
    ("bloom_filter", 0, 8, 0, "EINVAL"),
    ("bloom_filter", 0, 4_194_304, 4, "OK"),
    ("bloom_filter", 0, 4_194_305, 4, "E2BIG"),
    ("bloom_filter", 0, 8, u32::MAX, "OK"),
];

#[test]
fn sizes() {
    for (kind, key, value, entries, expected) in SIZES {
        assert_eq!(errno(kind, *key, *value, *entries, 0), *expected, "{kind} {key} {value} {entries}");
    }
    // Linux looks at this pair of flags before the size.
    assert_eq!(errno("bloom_filter", 0, 4_194_305, 4, 0x18), "EINVAL");
}

/// Of tries, which all need `BPF_F_NO_PREALLOC`.
const TRIES: &[(u32, u32, u32, &str)] = &[
    (4, 8, 4, "EINVAL"),
    (5, 8, 4, "OK"),
    (260, 8, 4, "OK"),
    (261, 8, 4, "EINVAL"),
    (8, 0, 4, "EINVAL"),
    (8, 8, 0, "EINVAL"),
    (8, 8, u32::MAX, "OK"),
    (5, 4_194_024, 1, "OK"),
    (5, 4_194_025, 1, "EINVAL"),
];

#[test]
fn sizes_of_tries() {
    for (key, value, entries, expected) in TRIES {
        assert_eq!(errno("lpm_trie", *key, *value, *entries, 1), *expected, "{key} {value} {entries}");
    }
    for bit in 0..32 {
        let expected = if [0, 2, 3, 4, 7, 8].contains(&bit) { "OK" } else { "EINVAL" };
        assert_eq!(errno("lpm_trie", 8, 8, 4, 1 | 1 << bit), expected, "bit {bit}");
    }
}

#[test]
fn hash_functions_of_bloom_filters() {
    for (extra, expected) in [(0, "OK"), (3, "OK"), (15, "OK"), (16, "EINVAL"), (255, "EINVAL"), (1 << 32, "EINVAL")] {
        let spec = MapSpec { extra, ..spec(MapKind::BloomFilter, 0, 8, 4, 0) };
        let answer = create(spec, 2).map_or_else(|error| error.errno().name(), |_| "OK");
        assert_eq!(answer, expected, "{extra}");
    }
}

/// Kind, key size, value size, entries, the flag bits accepted.
const FLAGS: &[(&str, u32, u32, u32, &[u32])] = &[
    ("array", 4, 8, 4, &[2, 3, 4, 7, 8, 10, 12]),
    ("hash", 8, 8, 4, &[0, 2, 3, 4, 6, 7, 8]),
    ("percpu_array", 4, 8, 4, &[3, 4, 7, 8]),
    ("percpu_hash", 8, 8, 4, &[0, 3, 4, 6, 7, 8]),
    ("lru_hash", 8, 8, 4, &[1, 2, 3, 4, 6, 7, 8]),
    ("lru_percpu_hash", 8, 8, 4, &[1, 3, 4, 6, 7, 8]),
    ("queue", 0, 8, 4, &[2, 3, 4, 7, 8]),
    ("stack", 0, 8, 4, &[2, 3, 4, 7, 8]),
    ("ringbuf", 0, 0, 4096, &[2]),
    ("bloom_filter", 0, 8, 4, &[2, 3, 4, 6, 7, 8]),
];

#[test]
fn flags() {
    for (kind, key, value, entries, accepted) in FLAGS {
        for bit in 0..32 {
            let expected = match bit {
                _ if accepted.contains(&bit) => "OK",
                0 if kind.starts_with("lru") => "ENOTSUPP",
                _ => "EINVAL",
            };
            assert_eq!(errno(kind, *key, *value, *entries, 1 << bit), expected, "{kind} bit {bit}");
        }
        for pair in [0x18, 0x180, 6] {
            assert_eq!(errno(kind, *key, *value, *entries, pair), "EINVAL", "{kind} {pair:#x}");
        }
    }
}

fn refusal(spec: MapSpec) -> MapError {
    create(spec, 2).err().expect("refused")
}

#[test]
fn every_refusal_names_the_rule() {
    let good = spec(MapKind::Hash, 8, 8, 4, 0);
    let cases = [
        (
            MapSpec { kind: MapKind::StackTrace, ..good.clone() },
            "EOPNOTSUPP",
            "map M: axebpf has no stack_trace maps, which Linux has; it has hash, array, prog_array, perf_event_array, percpu_hash, \
             percpu_array, lru_hash, lru_percpu_hash, lpm_trie, array_of_maps, hash_of_maps, queue, stack, ringbuf, \
             bloom_filter",
        ),
        (
            MapSpec { flags: 0x2400, ..good.clone() },
            "EINVAL",
            "map M: BPF_F_MMAPABLE|0x2000 is not a flag of hash maps; allowed: BPF_F_NO_PREALLOC|BPF_F_NUMA_NODE|\
             BPF_F_RDONLY|BPF_F_WRONLY|BPF_F_ZERO_SEED|BPF_F_RDONLY_PROG|BPF_F_WRONLY_PROG",
        ),
        (MapSpec { flags: 0x18, ..good.clone() }, "EINVAL", "map M: BPF_F_RDONLY|BPF_F_WRONLY exclude each other"),
        (
            spec(MapKind::ArrayOfMaps, 4, 4, 4, 0),
            "EINVAL",
            "map M: array_of_maps maps need an inner map, which those that are put there must be like",
        ),
        (
            spec(MapKind::ProgArray, 4, 8, 4, 0),
            "EINVAL",
            "map M: value size of prog_array maps must be 4, a number, found 8",
        ),
        (
            MapSpec { kind: MapKind::LruHash, flags: 1, ..good.clone() },
            "ENOTSUPP",
            "map M: lru_hash maps are always preallocated; leave out BPF_F_NO_PREALLOC",
        ),
        (MapSpec { extra: 5, ..good.clone() }, "EINVAL", "map M: hash maps take no map_extra, found 0x5"),
        (
            MapSpec { kind: MapKind::Array, ..good.clone() },
            "EINVAL",
            "map M: key size of array maps must be 4, an index, found 8",
        ),
        (
            MapSpec { value_size: 0, ..good.clone() },
            "EINVAL",
            "map M: value size of hash maps must be at least 1, found 0",
        ),
        (
            spec(MapKind::RingBuf, 0, 0, 5000, 0),
            "EINVAL",
            "map M: max_entries of ringbuf maps must be the bytes of the ring: a power of two, at least 4096, found 5000",
        ),
        (
            MapSpec { kind: MapKind::LpmTrie, ..good.clone() },
            "EINVAL",
            "map M: lpm_trie maps take memory as entries come; add BPF_F_NO_PREALLOC",
        ),
        (
            MapSpec { extra: 16, ..spec(MapKind::BloomFilter, 0, 8, 4, 0) },
            "EINVAL",
            "map M: map_extra of a bloom_filter map is how many hash functions it has, at most 15 (0: 5), found 16",
        ),
        (
            MapSpec { kind: MapKind::PercpuHash, value_size: 40000, ..good.clone() },
            "E2BIG",
            "map M: the value size of percpu_hash maps is at most 32768, found 40000",
        ),
        (
            MapSpec { max_entries: 1 << 28, value_size: 1024, ..good },
            "ENOMEM",
            "map M: no memory for 277025390592 bytes (a map may take 17179869184)",
        ),
    ];
    for (spec, errno, text) in cases {
        let error = refusal(spec);
        assert_eq!((error.errno().name(), error.to_string().as_str()), (errno, text));
    }
}

#[test]
fn kinds_have_linux_s_numbers_and_names() {
    for (number, name) in [(1, "hash"), (9, "lru_hash"), (22, "queue"), (27, "ringbuf"), (33, "arena")] {
        let kind = MapKind::from_number(number).expect("a kind");
        assert_eq!((kind.name(), MapKind::from_name(name)), (name, Some(kind)));
    }
    assert_eq!((MapKind::from_number(0), MapKind::from_number(99)), (None, None));
    assert_eq!(MapKind::from_name("HASH"), None);
    assert_eq!(MapKind::LruHash.title(), "LRU hash map");
    assert_eq!(flag_text(0), "0x0");
}

#[test]
fn one_lru_list_a_cpu_rounds_the_capacity_up() {
    // Measured: five entries on two CPUs become six.
    let map = create(spec(MapKind::LruHash, 8, 8, 5, 2), 2).expect("a valid spec");
    assert_eq!(map.spec().max_entries, 6);
}

/// Outer and inner kind, Linux's answer and the words.
const INNER: &[(&str, &str, &str, &str)] = &[
    ("array_of_maps", "hash", "OK", ""),
    ("hash_of_maps", "perf_event_array", "OK", ""),
    ("hash", "hash", "EINVAL", "map M: hash maps have no inner maps; array_of_maps and hash_of_maps have"),
    ("hash_of_maps", "prog_array", "ENOTSUPP", "map M: prog_array maps cannot be inner maps"),
    ("array_of_maps", "hash_of_maps", "EINVAL", "map M: hash_of_maps maps cannot be inner maps: one level is all"),
];

#[test]
fn inner_maps() {
    let of = |kind: &str| spec(MapKind::from_name(kind).expect("a kind"), 4, 4, 4, 0);
    let leaf = create(of("array"), 1).expect("a valid spec");
    for (outer, inner, errno, text) in INNER {
        let inner = of(inner);
        let template = inner.kind.is_of_maps().then_some(&*leaf);
        let inner = create_with(inner, 1, template).expect("a valid spec");
        match create_with(of(outer), 1, Some(&*inner)) {
            Ok(map) => assert_eq!((*errno, map.len()), ("OK", 0)),
            Err(error) => assert_eq!((error.errno().name(), error.to_string().as_str()), (*errno, *text)),
        }
    }
}
