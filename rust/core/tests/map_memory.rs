//! What of a map's memory programs may touch, how addresses are named, and how long pointers live.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod map_support;

use std::collections::BTreeSet;
use std::ptr::NonNull;

use axebpf_core::errno::Errno;
use axebpf_core::map::{
    BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, Creation, Entries, LruOrder, Map, MapKind, create_as,
    lookup_and_delete_batch,
};
use axebpf_core::memory::{Arena, Bytes, Window};
use map_support::{Random, get, map, spec};

fn address(value: Option<NonNull<u8>>) -> u64 {
    value.expect("it exists").as_ptr() as u64
}

fn put(map: &dyn Map, key: &[u8]) -> u64 {
    let value = vec![0; map.spec().value_size as usize];
    map.update(0, Bytes::from(key), Bytes::from(value.as_slice()), 0).expect("room");
    address(map.lookup(0, Bytes::from(key)))
}

/// Walks every byte of memory near `around` and gives the windows found there.
fn windows(map: &dyn Map, around: u64, bytes: u64) -> BTreeSet<(u64, u64)> {
    let mut found = BTreeSet::new();
    for address in around.saturating_sub(bytes)..around + bytes {
        if let Some(Window { start, len, .. }) = map.window(address) {
            assert!(address >= start && address < start + len, "a window holds the address asked for");
            found.insert((start, len));
        }
    }
    found
}

#[test]
fn a_window_is_one_value_without_key_and_padding() {
    for (kind, flags) in [
        (MapKind::Hash, 0),
        (MapKind::Hash, BPF_F_NO_PREALLOC),
        (MapKind::LruHash, 0),
        (MapKind::PercpuHash, 0),
        (MapKind::LruPercpuHash, 0),
        (MapKind::Array, 0),
        (MapKind::PercpuArray, 0),
    ] {
        let map = map(kind, 4, 13, 3, flags);
        let mut expected = BTreeSet::new();
        for n in 0..3_u32 {
            let key = n.to_le_bytes();
            if !kind.name().ends_with("array") {
                put(map.as_ref(), &key);
            }
            for cpu in 0..if kind.is_per_cpu() { 2 } else { 1 } {
                expected.insert((address(map.lookup(cpu, Bytes::from(&key[..]))), 13));
            }
        }
        let (first, _) = *expected.first().expect("values");
        let mut found = windows(map.as_ref(), first, 400);
        // The spare cell of a hash, which an update may hand out, is a value too.
        found.retain(|window| expected.contains(window) || map.describe(window.0).expect("ours").contains("slot"));
        assert!(found.is_superset(&expected) && found.len() <= expected.len() + 2, "{kind:?}");
        assert!(map.window(first - 1).is_none(), "key or nothing: {kind:?}");
        assert!(map.window(first + 13).is_none(), "padding: {kind:?}");
        assert!(map.window(first).expect("a value").writable);
        assert_eq!(map.lookup(2, Bytes::from(&[0; 4][..])).is_some(), !kind.is_per_cpu(), "no third CPU");
    }
}

#[test]
fn an_arena_is_zero_and_begins_on_a_cache_line() {
    for len in [0, 1, 63, 4096, 1 << 20] {
        let arena = Arena::new(len).expect("memory");
        assert_eq!((arena.address() % 64, arena.len()), (0, len.max(1)));
        assert_eq!(arena.offset_of(arena.address() + arena.len() as u64), None);
        // SAFETY: the bytes of the arena, which nobody writes.
        let bytes = unsafe { std::slice::from_raw_parts(arena.as_ptr(), arena.len()) };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn read_only_for_programs() {
    let array = map(MapKind::Array, 4, 8, 1, BPF_F_RDONLY_PROG);
    let value = address(array.lookup(0, Bytes::from(&[0; 4][..])));
    assert_eq!(array.window(value), Some(Window { start: value, len: 8, writable: false }));
    assert_eq!(array.update_user(&[0; 4], &[1; 8], 0), Ok(()), "the bench may write");
}

#[test]
fn no_program_reaches_a_queue() {
    let queue = map(MapKind::Queue, 0, 8, 4, 0);
    assert_eq!(queue.lookup(0, Bytes::from(&[][..])), None);
}

#[test]
fn addresses_have_stable_names() {
    let array = map(MapKind::Array, 4, 12, 4, 0);
    let value = address(array.lookup(0, Bytes::from(&3_u32.to_le_bytes()[..])));
    assert_eq!(array.describe(value + 8).as_deref(), Some("M[3]+8"));
    assert_eq!(array.describe(value + 12).as_deref(), Some("M[3]+12"), "padding");
    assert_eq!(array.describe(8), None);

    let array = map(MapKind::PercpuArray, 4, 8, 4, 0);
    let value = address(array.lookup(1, Bytes::from(&2_u32.to_le_bytes()[..])));
    assert_eq!(array.describe(value).as_deref(), Some("M[2]@cpu1+0"));

    let hash = map(MapKind::Hash, 8, 8, 4, 0);
    let value = put(hash.as_ref(), &0x1_0000_0002_u64.to_le_bytes());
    assert_eq!(hash.describe(value + 4).as_deref(), Some("M[0x100000002]+4"));
    assert_eq!(hash.describe(value - 8).as_deref(), Some("M[0x100000002].key+0"));
    hash.delete(Bytes::from(&0x1_0000_0002_u64.to_le_bytes()[..])).expect("it exists");
    assert_eq!(hash.describe(value + 4).as_deref(), Some("M[slot 1]+4"));

    let hash = map(MapKind::LruPercpuHash, 12, 8, 4, 0);
    put(hash.as_ref(), &[1; 12]);
    let value = address(hash.lookup(1, Bytes::from(&[1; 12][..])));
    assert_eq!(hash.describe(value).as_deref(), Some("M[slot 1]@cpu1+0"));

    let trie = map(MapKind::LpmTrie, 8, 8, 4, BPF_F_NO_PREALLOC);
    let value = put(trie.as_ref(), &[12, 0, 0, 0, 10, 0x50, 0, 0]);
    assert_eq!(trie.describe(value + 4).as_deref(), Some("M[0a50/12]+4"));
    assert_eq!(trie.describe(value - 8).as_deref(), Some("M[0a50/12].key+0"));

    let ring = map(MapKind::RingBuf, 0, 0, 4096, 0);
    ring.reserve(9).expect("room");
    let record = ring.reserve(16).expect("room").as_ptr() as u64;
    assert_eq!(ring.describe(record + 5).as_deref(), Some("M[record at 24]+5"));
    assert_eq!(ring.describe(record - 8).as_deref(), Some("M[ring]+24"));
}

#[test]
fn a_pointer_stays_valid_and_a_deleted_value_is_reused_first() {
    for flags in [0, BPF_F_NO_PREALLOC] {
        let hash = map(MapKind::Hash, 8, 8, 10_000, flags);
        let first = put(hash.as_ref(), &1_u64.to_le_bytes());
        let held = put(hash.as_ref(), &2_u64.to_le_bytes());
        for n in 3..9000_u64 {
            put(hash.as_ref(), &n.to_le_bytes());
        }
        assert_eq!(address(hash.lookup(0, Bytes::from(&1_u64.to_le_bytes()[..]))), first, "nothing moves");
        for n in [5, 2_u64] {
            hash.delete(Bytes::from(&n.to_le_bytes()[..])).expect("it exists");
        }
        assert_eq!(hash.window(held), Some(Window { start: held, len: 8, writable: true }));
        assert_eq!(put(hash.as_ref(), &77_777_u64.to_le_bytes()), held, "as on Linux");
    }
}

#[test]
fn values_of_a_trie_stay_where_they_are() {
    let trie = map(MapKind::LpmTrie, 8, 12, 1000, BPF_F_NO_PREALLOC);
    let key = |n: u32| [32_u32.to_le_bytes(), n.to_be_bytes()].concat();
    let held: Vec<_> = (0..1000).map(|n| put(trie.as_ref(), &key(n))).collect();
    for (n, held) in (0..).zip(&held) {
        assert_eq!(address(trie.lookup(0, Bytes::from(&key(n)[..]))), *held, "nothing moves");
        assert_eq!(trie.window(*held + 11), Some(Window { start: *held, len: 12, writable: true }));
        assert_eq!(trie.window(*held + 12), None, "padding");
        trie.delete(Bytes::from(&key(n)[..])).expect("it exists");
        assert!(trie.window(*held).is_some(), "still memory");
    }
    let again = put(trie.as_ref(), &key(7));
    assert_eq!(again, held[999], "what was freed last");
}

#[test]
fn an_update_leaves_the_old_value_to_who_holds_it() {
    // As `map_oracle` sees on Linux: a plain hash gives the entry new memory, a per-CPU one does not.
    for (kind, seen, flags) in [
        (MapKind::Hash, 1, 0),
        (MapKind::LruHash, 1, 0),
        (MapKind::PercpuHash, 2, 0),
        (MapKind::LruPercpuHash, 2, 0),
        (MapKind::LpmTrie, 1, BPF_F_NO_PREALLOC),
    ] {
        let map = map(kind, 5, 8, 4, flags);
        let key = Bytes::from(&[8, 0, 0, 0, 0][..]);
        map.update(0, key, Bytes::from(&1_u64.to_le_bytes()[..]), 0).expect("room");
        let held = map.lookup(0, key).expect("it exists");
        map.update(0, key, Bytes::from(&2_u64.to_le_bytes()[..]), 0).expect("it exists");
        // SAFETY: a value of eight bytes, 8-aligned, of a map that is alive.
        assert_eq!(unsafe { held.cast::<u64>().read() }, seen, "{kind:?}");
    }
}

#[test]
fn a_value_can_be_the_key_and_value_of_its_own_map() {
    let hash = map(MapKind::Hash, 8, 8, 4, 0);
    let own = put(hash.as_ref(), &0_u64.to_le_bytes());
    // SAFETY: a value of eight bytes of a map that is alive.
    let bytes = unsafe { Bytes::from_raw(own as *const u8, 8) };
    for _ in 0..3 {
        hash.update(0, bytes, bytes, 0).expect("it exists");
        assert_eq!(get(hash.as_ref(), &[0; 8]), Ok(vec![0; 8]));
    }
    hash.delete(bytes).expect("it exists");
    hash.update(0, bytes, bytes, 0).expect("room");
    assert_eq!(get(hash.as_ref(), &[0; 8]), Ok(vec![0; 8]));
}

#[test]
fn a_new_key_of_a_program_is_zero_on_the_other_cpus() {
    for kind in [MapKind::PercpuHash, MapKind::LruPercpuHash] {
        let map = map(kind, 4, 8, 1, 0);
        map.update_user(&[1; 4], &[0xff; 16], 0).expect("room");
        map.delete_user(&[1; 4]).expect("it exists");
        map.update(1, Bytes::from(&[2; 4][..]), Bytes::from(&[5; 8][..]), 0).expect("room");
        assert_eq!(get(map.as_ref(), &[2; 4]), Ok([[0; 8], [5; 8]].concat()));
        assert_eq!(get(map.as_ref(), &[1; 4]), Err(Errno::ENOENT));
    }
}

#[test]
fn a_value_stays_memory_whatever_becomes_of_its_entry() {
    const KEYS: u64 = 12;
    for (kind, flags, lru) in [
        (MapKind::Array, 0, LruOrder::Exact),
        (MapKind::PercpuArray, 0, LruOrder::Exact),
        (MapKind::Hash, 0, LruOrder::Exact),
        (MapKind::Hash, BPF_F_NO_PREALLOC, LruOrder::Exact),
        (MapKind::PercpuHash, 0, LruOrder::Exact),
        (MapKind::PercpuHash, BPF_F_NO_PREALLOC, LruOrder::Exact),
        (MapKind::LruHash, 0, LruOrder::Exact),
        (MapKind::LruHash, 0, LruOrder::Linux),
        (MapKind::LruHash, BPF_F_NO_COMMON_LRU, LruOrder::Linux),
        (MapKind::LruPercpuHash, 0, LruOrder::Exact),
        (MapKind::LruPercpuHash, 0, LruOrder::Linux),
        (MapKind::LpmTrie, BPF_F_NO_PREALLOC, LruOrder::Exact),
    ] {
        let indexed = kind.name().ends_with("array");
        let key_of = |n: u64| match kind {
            MapKind::LpmTrie => [(16 + n as u32).to_le_bytes(), [10, n as u8, 0, 0]].concat(),
            _ => (n as u32).to_le_bytes().to_vec(),
        };
        let entries = if kind == MapKind::LpmTrie || indexed { KEYS as u32 } else { 5 };
        let spec = spec(kind, key_of(0).len() as u32, 16, entries, flags);
        let map = create_as(spec, 2, &Creation { lru, ..Creation::default() }).expect("a valid spec");
        let mut random = Random(7);
        let mut held = BTreeSet::new();
        for _ in 0..4000 {
            let (key, cpu) = (key_of(random.below(KEYS)), random.below(2) as u32);
            let bytes = Bytes::from(key.as_slice());
            // What comes of each shows in what is held.
            match random.below(10) {
                0..4 => drop(map.update(cpu, bytes, Bytes::from(&[1; 16][..]), random.below(3))),
                4 => drop(map.delete(bytes)),
                5 => drop(map.update_user(&key, &[2; 32][..if kind.is_per_cpu() { 32 } else { 16 }], 0)),
                6 => drop(map.lookup_and_delete_user(&key, 0, &mut Vec::new())),
                7 if random.once_in(8) => {
                    let _end = lookup_and_delete_batch(map.as_ref(), None, 2, 0, &mut Entries::default());
                }
                _ => held.extend(map.lookup(cpu, bytes).map(|value| value.as_ptr() as u64)),
            }
            for value in &held {
                assert_eq!(
                    map.window(*value),
                    Some(Window { start: *value, len: 16, writable: true }),
                    "{kind:?} {lru:?}"
                );
                // SAFETY: the window that was just found; nobody else uses the map.
                unsafe { (*value as *mut u64).write((*value as *mut u64).read() + 1) };
            }
        }
        assert!(held.len() >= 5, "{kind:?} {lru:?}: {held:?}");
    }
}
