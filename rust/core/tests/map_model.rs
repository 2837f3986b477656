//! Random operations against plain models; no kernel needed. Errnos are those of `map_oracle`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod map_support;

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{
    BPF_EXIST, BPF_F_LOCK, BPF_F_NO_PREALLOC, BPF_F_WRONLY, BPF_NOEXIST, Entries, Map, MapKind, MapSpec, create,
    delete_batch, lookup_and_delete_batch, lookup_batch, update_batch,
};
use axebpf_core::memory::{Bytes, BytesMut};
use map_support::{Random, get, spec, walk};

/// A map as a bench has it: alone.
fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> Arc<dyn Map> {
    let map = map_support::map(kind, key_size, value_size, max_entries, flags);
    // SAFETY: a test has its map to itself, on one thread.
    unsafe { map.set_alone(true) };
    map
}

fn bytes(slice: &[u8]) -> Bytes<'_> {
    Bytes::from(slice)
}

/// The value of eight bytes that a program on CPU 0 finds.
fn peek(map: &dyn Map, key: &[u8]) -> Option<u64> {
    // SAFETY: a value of eight bytes, 8-aligned, of a map that is alive.
    map.lookup(0, bytes(key)).map(|value| unsafe { value.cast::<u64>().read() })
}

/// A hash of `capacity` entries as a sorted map, for a long random run.
fn hash_like(kind: MapKind, key_size: u32, capacity: u32, flags: u32, operations: usize) {
    let ours = map(kind, key_size, 8, capacity, flags);
    let mut model: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut random = Random(u64::from(capacity) + u64::from(key_size));
    for _ in 0..operations {
        let mut key = vec![0x77; key_size as usize];
        let number = random.below(u64::from(capacity) * 3 / 2 + 2).to_le_bytes();
        let common = number.len().min(key.len());
        key[..common].copy_from_slice(&number[..common]);
        let value = random.next();
        match random.below(8) {
            0..4 => {
                let flags = random.pick(&[0, BPF_NOEXIST, BPF_EXIST, 3]);
                let expected = match (flags, model.contains_key(&key)) {
                    (3, _) => Err(Errno::EINVAL),
                    (BPF_NOEXIST, true) => Err(Errno::EEXIST),
                    (BPF_EXIST, false) => Err(Errno::ENOENT),
                    (_, false) if model.len() == capacity as usize => Err(Errno::E2BIG),
                    _ => Ok(()),
                };
                if expected.is_ok() {
                    model.insert(key.clone(), value);
                }
                assert_eq!(ours.update(0, bytes(&key), bytes(&value.to_le_bytes()), flags), expected);
            }
            4..6 => assert_eq!(peek(ours.as_ref(), &key), model.get(&key).copied()),
            _ => {
                let expected = model.remove(&key).map(|_| ()).ok_or(Errno::ENOENT);
                assert_eq!(ours.delete(bytes(&key)), expected);
            }
        }
        assert_eq!(ours.len(), model.len());
    }
    let mut keys = walk(ours.as_ref());
    keys.sort();
    assert_eq!(keys, model.keys().cloned().collect::<Vec<_>>());
    for (key, value) in &model {
        assert_eq!(peek(ours.as_ref(), key), Some(*value));
    }
}

#[test]
fn hashes() {
    for key_size in [1, 3, 4, 7, 8, 12, 16, 40, 1001] {
        for flags in [0, BPF_F_NO_PREALLOC] {
            hash_like(MapKind::Hash, key_size, 60, flags, 4000);
            hash_like(MapKind::PercpuHash, key_size, 60, flags, 4000);
        }
    }
}

#[test]
fn a_hash_grows_over_many_pieces() {
    hash_like(MapKind::Hash, 8, 5000, BPF_F_NO_PREALLOC, 60_000);
    hash_like(MapKind::Hash, 8, 5000, 0, 60_000);
}

/// Keys from the least to the most recently used.
#[derive(Default)]
struct LruModel(Vec<(u64, u64)>);

impl LruModel {
    fn take(&mut self, key: u64) -> Option<u64> {
        let at = self.0.iter().position(|(other, _)| *other == key)?;
        Some(self.0.remove(at).1)
    }
}

fn lru(kind: MapKind, capacity: u32) {
    let ours = map(kind, 8, 8, capacity, 0);
    let per_cpu = kind == MapKind::LruPercpuHash;
    let mut model = LruModel::default();
    let mut random = Random(u64::from(capacity));
    for _ in 0..20_000 {
        let (key, value) = (random.below(u64::from(capacity) * 2), random.next());
        let key_bytes = key.to_le_bytes();
        let step = random.below(10);
        match step {
            // Either side's update is a use.
            0..5 => {
                let result = if step == 4 {
                    let parts = [value.to_le_bytes(), [0; 8]].concat();
                    let parts = &parts[..if per_cpu { 16 } else { 8 }];
                    ours.update_user(&key_bytes, parts, 0)
                } else {
                    ours.update(0, bytes(&key_bytes), bytes(&value.to_le_bytes()), 0)
                };
                assert_eq!(result, Ok(()));
                if model.take(key).is_none() && model.0.len() == capacity as usize {
                    model.0.remove(0);
                }
                model.0.push((key, value));
            }
            // A program's look-up is one.
            5..7 => {
                let found = model.take(key);
                model.0.extend(found.map(|value| (key, value)));
                assert_eq!(peek(ours.as_ref(), &key_bytes), found);
            }
            // The bench's is not.
            7 => {
                let expected = model.0.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
                let found = get(ours.as_ref(), &key_bytes).ok();
                assert_eq!(found.map(|value| u64::from_le_bytes(value[..8].try_into().unwrap())), expected);
            }
            8 => assert_eq!(ours.delete(bytes(&key_bytes)).ok(), model.take(key).map(|_| ())),
            _ => {
                let mut out = Vec::new();
                let taken = ours.lookup_and_delete_user(&key_bytes, 0, &mut out).ok();
                assert_eq!(taken, model.take(key).map(|_| ()));
            }
        }
        assert_eq!(ours.len(), model.0.len());
    }
    let mut keys = walk(ours.as_ref());
    keys.sort();
    let mut expected: Vec<_> = model.0.iter().map(|(key, _)| key.to_le_bytes().to_vec()).collect();
    expected.sort();
    assert_eq!(keys, expected);
}

#[test]
fn lru_hashes_evict_the_least_recently_used() {
    for capacity in [1, 2, 3, 64, 200] {
        lru(MapKind::LruHash, capacity);
        lru(MapKind::LruPercpuHash, capacity);
    }
}

#[test]
fn queues_and_stacks() {
    for kind in [MapKind::Queue, MapKind::Stack] {
        for capacity in [1_u32, 2, 7, 64] {
            let ours = map(kind, 0, 5, capacity, 0);
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            let mut random = Random(u64::from(capacity));
            for _ in 0..5000 {
                let value = random.bytes(5);
                if random.below(2) == 0 {
                    let flags = random.pick(&[0, 0, 0, BPF_NOEXIST, BPF_EXIST, 3]);
                    let full = model.len() == capacity as usize;
                    let expected = match flags {
                        BPF_NOEXIST | 3 => Err(Errno::EINVAL),
                        0 if full => Err(Errno::E2BIG),
                        _ => Ok(()),
                    };
                    if expected.is_ok() {
                        if full {
                            model.pop_front();
                        }
                        model.push_back(value.clone());
                    }
                    assert_eq!(ours.push(bytes(&value), flags), expected);
                } else {
                    let remove = random.below(2) == 0;
                    let next = if kind == MapKind::Queue { model.front() } else { model.back() }.cloned();
                    if remove && kind == MapKind::Queue {
                        model.pop_front();
                    } else if remove {
                        model.pop_back();
                    }
                    let mut out = [0xaa; 5];
                    let result = ours.pop(BytesMut::from(&mut out[..]), remove);
                    assert_eq!(result, next.as_ref().map(|_| ()).ok_or(Errno::ENOENT));
                    assert_eq!(out.to_vec(), next.unwrap_or(vec![0; 5]));
                }
                assert_eq!(ours.len(), model.len());
            }
            let mut values = Vec::new();
            assert_eq!(ours.dump_user(&mut Vec::new(), &mut values), Ok(model.len()));
            let mut expected: Vec<_> = model.into_iter().collect();
            if kind == MapKind::Stack {
                expected.reverse();
            }
            assert_eq!(values, expected.concat(), "a dump is in the order of pops");
        }
    }
}

#[test]
fn walks_go_in_the_order_of_insertion() {
    let order = |flags| {
        let map = map(MapKind::Hash, 4, 8, 500, flags);
        for n in 0..300_u32 {
            let key = n.wrapping_mul(0x9e37_79b9).to_le_bytes();
            map.update(0, bytes(&key), bytes(&[0; 8]), 0).expect("room");
        }
        // An update moves nothing.
        map.update(0, bytes(&0_u32.to_le_bytes()), bytes(&[1; 8]), 0).expect("it exists");
        walk(map.as_ref())
    };
    let expected: Vec<_> = (0..300_u32).map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes().to_vec()).collect();
    assert_eq!(order(0), expected);
    assert_eq!(order(BPF_F_NO_PREALLOC), expected);
}

#[test]
fn next_key_of_a_deleted_key_starts_again() {
    let map = map(MapKind::Hash, 1, 1, 4, 0);
    for key in [b"a", b"b", b"c"] {
        map.update_user(key, b"x", 0).expect("room");
    }
    map.delete_user(b"b").expect("it exists");
    let mut next = Vec::new();
    map.next_key_user(Some(b"b"), &mut next).expect("there are keys");
    assert_eq!(next, b"a");
    assert_eq!(map.next_key_user(Some(b"ab"), &mut next), Err(Errno::EINVAL));
}

#[test]
fn lengths_from_the_bench_are_checked() {
    for kind in [MapKind::Hash, MapKind::PercpuHash, MapKind::LruHash] {
        let map = map(kind, 8, 8, 4, 0);
        assert_eq!(get(map.as_ref(), &[0; 7]), Err(Errno::EINVAL));
        assert_eq!(map.update_user(&[0; 8], &[0; 9], 0), Err(Errno::EINVAL));
        assert_eq!(map.update_user(&[0; 9], &[0; 8], 0), Err(Errno::EINVAL));
        assert_eq!(map.delete_user(&[]), Err(Errno::EINVAL));
    }
    let array = map(MapKind::Array, 4, 8, 4, 0);
    assert_eq!(get(array.as_ref(), &[0; 8]), Err(Errno::EINVAL));
    assert_eq!(array.update_user(&[0; 4], &[0; 7], 0), Err(Errno::EINVAL));
    let queue = map(MapKind::Queue, 0, 8, 4, 0);
    assert_eq!(queue.update_user(&[], &[0; 7], 0), Err(Errno::EINVAL));
    assert_eq!(queue.update_user(&[0], &[0; 8], 0), Err(Errno::EINVAL));
}

#[test]
fn for_each_visits_each_entry_once_whatever_the_callback_does() {
    for kind in [MapKind::Hash, MapKind::PercpuHash, MapKind::LruHash, MapKind::LruPercpuHash] {
        let map = map(kind, 4, 8, 64, 0);
        for n in 0..40_u32 {
            map.update(0, bytes(&n.to_le_bytes()), bytes(&[0; 8]), 0).expect("room");
        }
        let mut seen = Vec::new();
        let visited = map.for_each(0, &mut |key, _| {
            let n = key.as_u32().expect("four bytes");
            seen.push(n);
            // Replace this one, delete the next, and ask for the one after.
            assert_eq!(map.update(0, bytes(&n.to_le_bytes()), bytes(&[1; 8]), 0), Ok(()));
            assert_eq!(map.delete(bytes(&(n + 1).to_le_bytes())), if n < 39 { Ok(()) } else { Err(Errno::ENOENT) });
            assert_eq!(map.lookup(0, bytes(&(n + 2).to_le_bytes())).is_some(), n + 2 < 40);
            ControlFlow::Continue(())
        });
        assert_eq!((visited, seen), (Ok(20), (0..40).step_by(2).collect()), "{kind:?}");

        let mut left = 3;
        let visited = map.for_each(0, &mut |_, _| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(visited, Ok(3), "the one that ends the walk counts");
    }
    let array = map(MapKind::Array, 4, 8, 5, 0);
    assert_eq!(array.for_each(0, &mut |_, _| ControlFlow::Continue(())), Ok(5));
    assert_eq!(array.for_each(0, &mut |_, _| ControlFlow::Break(())), Ok(1));
    let queue = map(MapKind::Queue, 0, 8, 5, 0);
    assert_eq!(queue.for_each(0, &mut |_, _| ControlFlow::Continue(())), Err(Errno::EINVAL));
}

/// The bits of a prefix, as characters.
fn bits(key: &[u8]) -> String {
    let (len, bytes) = key.split_first_chunk().expect("a length");
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    bits.chars().take(u32::from_le_bytes(*len) as usize).collect()
}

/// Longer prefixes before those that they fall under, else 0 before 1.
fn walk_order(a: &str, b: &str) -> Ordering {
    if a.starts_with(b) || b.starts_with(a) { b.len().cmp(&a.len()) } else { a.cmp(b) }
}

#[test]
fn tries() {
    for (bytes_of_bits, seed) in [(1_usize, 1_u64), (4, 2), (8, 3), (9, 4), (16, 5), (19, 6), (256, 7)] {
        let capacity = 40;
        let ours = map(MapKind::LpmTrie, 4 + bytes_of_bits as u32, 8, capacity, BPF_F_NO_PREALLOC);
        let mut model: BTreeMap<String, (Vec<u8>, u64)> = BTreeMap::new();
        let mut random = Random(seed);
        for _ in 0..6000 {
            let most = 8 * bytes_of_bits as u64;
            let len = if random.once_in(4) { most } else { random.below(most + 2) };
            let mut data = vec![0; bytes_of_bits];
            data[random.below(bytes_of_bits as u64) as usize] = random.pick(&[0, 1, 0x40, 0x80, 0xff]);
            let key = [&(len as u32).to_le_bytes()[..], &data].concat();
            let (prefix, value) = (bits(&key), random.next());
            match random.below(8) {
                0..4 => {
                    let flags = random.pick(&[0, 0, BPF_NOEXIST, BPF_EXIST, 3]);
                    let expected = match (flags, model.contains_key(&prefix)) {
                        (3, _) => Err(Errno::EINVAL),
                        _ if len > most => Err(Errno::EINVAL),
                        (BPF_NOEXIST, true) => Err(Errno::EEXIST),
                        (BPF_EXIST, false) => Err(Errno::ENOENT),
                        (_, false) if model.len() == capacity as usize => Err(Errno::ENOSPC),
                        _ => Ok(()),
                    };
                    if expected.is_ok() {
                        model.insert(prefix, (key.clone(), value));
                    }
                    assert_eq!(ours.update(0, bytes(&key), bytes(&value.to_le_bytes()), flags), expected);
                }
                4..6 => {
                    let under = model.iter().filter(|(other, _)| prefix.starts_with(other.as_str()));
                    let longest = under.max_by_key(|(other, _)| other.len()).map(|(_, (_, value))| *value);
                    assert_eq!(peek(ours.as_ref(), &key), longest.filter(|_| len <= most), "{key:?}");
                }
                _ => {
                    let expected = if len > most { Err(Errno::EINVAL) } else { Err(Errno::ENOENT) };
                    let expected =
                        if len > most { expected } else { model.remove(&prefix).map_or(expected, |_| Ok(())) };
                    assert_eq!(ours.delete(bytes(&key)), expected);
                }
            }
            assert_eq!(ours.len(), model.len());
            if random.once_in(50) {
                let mut order: Vec<_> = model.iter().collect();
                order.sort_by(|(a, _), (b, _)| walk_order(a, b));
                let keys: Vec<_> = order.iter().map(|(_, (key, _))| key.clone()).collect();
                assert_eq!(walk(ours.as_ref()), keys, "each key as it was last written");
                let (mut dumped, mut values) = (Vec::new(), Vec::new());
                assert_eq!(ours.dump_user(&mut dumped, &mut values), Ok(keys.len()));
                assert_eq!(dumped, keys.concat());
            }
        }
    }
}

#[test]
fn a_filter_never_forgets_and_is_seldom_wrong() {
    for extra in [0, 1, 3, 15] {
        let filter = create(MapSpec { extra, ..spec(MapKind::BloomFilter, 0, 12, 1000, 0) }, 2).expect("a valid spec");
        let mut random = Random(extra);
        let added: Vec<_> = (0..1000).map(|_| random.bytes(12)).collect();
        for (n, value) in added.iter().enumerate() {
            assert_eq!(filter.push(bytes(value), 0), Ok(()));
            assert_eq!(filter.len(), n + 1);
        }
        assert!(added.iter().all(|value| filter.contains(bytes(value)) == Ok(())));
        let wrong = (0..10_000).filter(|_| filter.contains(bytes(&random.bytes(12))).is_ok()).count();
        // With k hashes and at least 1.4 k bits a value, a bit is set with 1 - exp(-1/1.4), or 0.51, at most.
        let limit = 10_000.0 * 0.52_f64.powi(if extra == 0 { 5 } else { extra as i32 }) * 1.2 + 10.0;
        assert!((wrong as f64) < limit, "{wrong} of 10000 with {extra}");
        assert_eq!(filter.push(bytes(&[0; 12]), BPF_EXIST), Err(Errno::EINVAL));
        assert_eq!(filter.push(bytes(&[0; 11]), 0), Err(Errno::EINVAL));
        assert_eq!(filter.contains_user(&[0; 13], 0), Err(Errno::EINVAL));
        assert_eq!(filter.contains_user(&[0; 12], BPF_F_LOCK), Err(Errno::EINVAL));
        assert_eq!(filter.lookup_user(&[], 0, &mut Vec::new()), Err(Errno::EINVAL), "it has no values to give");
        assert_eq!(filter.delete_user(&[]), Err(Errno::EOPNOTSUPP));
    }
}

/// All entries in batches of `count`, with how many each had.
fn in_batches(map: &dyn Map, count: u32, remove: bool) -> (Vec<u32>, Vec<u8>) {
    let read = if remove { lookup_and_delete_batch } else { lookup_batch };
    let (mut counts, mut keys, mut from) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    loop {
        let mut part = Entries::default();
        let result = read(map, from.as_deref(), count, 0, &mut part);
        counts.push(part.count);
        assert_eq!(part.values.len(), 8 * part.count as usize);
        keys.extend(part.keys);
        match result {
            Ok(()) => from = Some(part.next),
            Err(errno) => {
                assert_eq!(errno, Errno::ENOENT);
                return (counts, keys);
            }
        }
    }
}

#[test]
fn batches_of_a_hash_end_at_its_last_entry_and_survive_deletes() {
    let hash = map(MapKind::Hash, 4, 8, 10, 0);
    let keys: Vec<_> = (0..6_u32).map(u32::to_le_bytes).collect();
    let entries: Vec<_> = keys.iter().map(|key| (&key[..], &[7; 8][..])).collect();
    assert_eq!(update_batch(hash.as_ref(), &entries, 0), Ok(()));
    assert_eq!(in_batches(hash.as_ref(), 4, false), (vec![4, 2], keys.concat()));
    assert_eq!(in_batches(hash.as_ref(), 3, false).0, vec![3, 3], "it knows that there is no more");
    let mut first = Entries::default();
    assert_eq!(lookup_batch(hash.as_ref(), None, 2, 0, &mut first), Ok(()));
    assert_eq!(delete_batch(hash.as_ref(), &[&keys[1], &keys[3]], 0), Ok(()));
    let mut rest = Entries::default();
    assert_eq!(lookup_batch(hash.as_ref(), Some(&first.next), 9, 0, &mut rest), Err(Errno::ENOENT));
    assert_eq!(rest.keys, [keys[2], keys[4], keys[5]].concat());
    assert_eq!(lookup_batch(hash.as_ref(), Some(b"?"), 9, 0, &mut rest), Err(Errno::EINVAL));
    assert_eq!(in_batches(hash.as_ref(), 3, true).0, vec![3, 1]);
    assert!(hash.is_empty());
}

#[test]
fn batches_of_an_array_end_behind_its_last_entry() {
    let array = map(MapKind::Array, 4, 8, 6, 0);
    assert_eq!(in_batches(array.as_ref(), 3, false).0, vec![3, 3, 0], "only the next key says that there is none");
    let mut none = Entries::default();
    assert_eq!(lookup_and_delete_batch(array.as_ref(), None, 3, 0, &mut none), Err(Errno::ENOTSUPP));
    assert_eq!(delete_batch(array.as_ref(), &[], 0), Err((0, Errno::ENOTSUPP)));
}

#[test]
fn a_batch_that_stops_says_how_far_it_came() {
    let hash = map(MapKind::Hash, 1, 1, 2, 0);
    let entries = [(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"c", b"3"), (b"d", b"4")];
    assert_eq!(update_batch(hash.as_ref(), &entries, 0), Err((2, Errno::E2BIG)));
    assert_eq!(delete_batch(hash.as_ref(), &[b"a", b"x", b"b"], 0), Err((1, Errno::ENOENT)));
    assert_eq!(walk(hash.as_ref()), [b"b"]);
    for flags in [BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK] {
        assert_eq!(update_batch(hash.as_ref(), &entries, flags), Err((0, Errno::EINVAL)));
    }
    let hidden = map(MapKind::Hash, 1, 1, 2, BPF_F_WRONLY);
    assert_eq!(lookup_batch(hidden.as_ref(), None, 1, 0, &mut Entries::default()), Err(Errno::EPERM));
}
