//! Several threads on one map: nothing is lost, the structure stays whole. Run under AddressSanitizer too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod map_support;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use axebpf_core::map::{BPF_F_NO_PREALLOC, Map, MapKind, create};
use axebpf_core::memory::{Bytes, BytesMut};
use map_support::{Random, get, map, spec, walk};

const THREADS: u32 = 4;
const ROUNDS: u64 = 20_000;

fn each_thread(work: impl Fn(u32) + Sync) {
    thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        // One by one: ThreadSanitizer does not see how a scope waits for what it has started.
        handles.into_iter().for_each(|handle| handle.join().expect("no thread fails"));
    });
}

/// The counter that a program's atomic add would use.
fn counter<'m>(map: &'m dyn Map, cpu: u32, key: &[u8]) -> Option<&'m AtomicU64> {
    // SAFETY: a value of eight bytes, 8-aligned, that lives as long as the map; only atomics touch it meanwhile.
    map.lookup(cpu, Bytes::from(key)).map(|value| unsafe { AtomicU64::from_ptr(value.as_ptr().cast()) })
}

#[test]
fn counters_add_up() {
    for kind in [MapKind::Array, MapKind::PercpuArray, MapKind::Hash, MapKind::PercpuHash, MapKind::LruPercpuHash] {
        let map = create(spec(kind, 4, 8, 16, 0), THREADS).expect("a valid spec");
        for key in 0..16_u32 {
            if !kind.name().ends_with("array") {
                map.update(0, Bytes::from(&key.to_le_bytes()[..]), Bytes::from(&[0; 8][..]), 0).expect("room");
            }
        }
        each_thread(|cpu| {
            for n in 0..ROUNDS {
                let key = (n as u32 % 16).to_le_bytes();
                counter(map.as_ref(), cpu, &key).expect("it exists").fetch_add(1, Ordering::Relaxed);
                if n % 64 == 0 {
                    get(map.as_ref(), &key).expect("it exists");
                }
            }
        });
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        assert_eq!(map.dump_user(&mut keys, &mut values), Ok(16));
        let sum: u64 = values.chunks(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).sum();
        assert_eq!(sum, u64::from(THREADS) * ROUNDS, "{kind:?}");
    }
}

#[test]
fn a_hash_survives_everything_at_once() {
    for (kind, flags) in [
        (MapKind::Hash, 0),
        (MapKind::Hash, BPF_F_NO_PREALLOC),
        (MapKind::PercpuHash, 0),
        (MapKind::LruHash, 0),
        (MapKind::LruPercpuHash, 0),
    ] {
        let map = create(spec(kind, 8, 8, 300, flags), THREADS).expect("a valid spec");
        each_thread(|cpu| {
            let mut random = Random(u64::from(cpu));
            for n in 0..ROUNDS {
                let key = random.below(500).to_le_bytes();
                let key = Bytes::from(&key[..]);
                match random.below(8) {
                    // The map may be full, and a key gone: only the structure is at stake.
                    0..3 => drop(map.update(cpu, key, Bytes::from(&n.to_le_bytes()[..]), 0)),
                    3..5 => drop(map.delete(key)),
                    5 => {
                        let Some(value) = counter(map.as_ref(), cpu, &key.to_vec()) else { continue };
                        value.fetch_add(1, Ordering::Relaxed);
                        let address = value.as_ptr() as u64;
                        assert_eq!(map.window(address).expect("a value").start, address);
                    }
                    6 if n % 256 == 0 => {
                        map.for_each(cpu, &mut |_, _| ControlFlow::Continue(())).expect("a hash");
                        map.dump_user(&mut Vec::new(), &mut Vec::new()).expect("a hash");
                    }
                    _ => drop(get(map.as_ref(), &key.to_vec())),
                }
            }
        });
        let keys = walk(map.as_ref());
        assert_eq!(keys.len(), map.len());
        for key in &keys {
            assert!(get(map.as_ref(), key).is_ok(), "every key of a walk is found");
            map.delete_user(key).expect("it exists");
        }
        assert!(map.is_empty());
    }
}

#[test]
fn a_trie_survives_everything_at_once() {
    let trie = map(MapKind::LpmTrie, 8, 8, 100, BPF_F_NO_PREALLOC);
    each_thread(|thread| {
        let mut random = Random(u64::from(thread));
        for n in 0..ROUNDS {
            let bits = random.next() & 0x8080_8080;
            let key = (random.below(33) | bits << 32).to_le_bytes();
            let key = Bytes::from(&key[..]);
            match random.below(8) {
                // It may be full, and a key gone: only the structure is at stake.
                0..3 => drop(trie.update(0, key, Bytes::from(&n.to_le_bytes()[..]), 0)),
                3..5 => drop(trie.delete(key)),
                5..7 => {
                    let Some(value) = counter(trie.as_ref(), 0, &key.to_vec()) else { continue };
                    value.fetch_add(1, Ordering::Relaxed);
                    let address = value.as_ptr() as u64;
                    assert_eq!(trie.window(address).expect("a value").start, address);
                }
                _ => drop(trie.dump_user(&mut Vec::new(), &mut Vec::new())),
            }
        }
    });
    let keys = walk(trie.as_ref());
    assert_eq!(keys.len(), trie.len());
    for key in &keys {
        trie.delete_user(key).expect("it exists");
    }
    assert!(trie.is_empty());
}

#[test]
fn a_filter_loses_nothing() {
    let filter = map(MapKind::BloomFilter, 0, 8, 100_000, 0);
    each_thread(|thread| {
        for n in 0..ROUNDS {
            let value = (n << 8 | u64::from(thread)).to_le_bytes();
            filter.push(Bytes::from(&value[..]), 0).expect("it takes any");
        }
    });
    assert_eq!(filter.len() as u64, u64::from(THREADS) * ROUNDS);
    for value in (0..ROUNDS).flat_map(|n| (0..u64::from(THREADS)).map(move |thread| n << 8 | thread)) {
        assert_eq!(filter.contains(Bytes::from(&value.to_le_bytes()[..])), Ok(()));
    }
}

#[test]
fn a_map_that_was_alone_is_safe_for_threads_again() {
    let per_thread = 500_u64;
    for kind in [MapKind::Hash, MapKind::LruHash, MapKind::LpmTrie, MapKind::Queue, MapKind::BloomFilter] {
        let key_size = if matches!(kind, MapKind::Queue | MapKind::BloomFilter) { 0 } else { 12 };
        let flags = if kind == MapKind::LpmTrie { BPF_F_NO_PREALLOC } else { 0 };
        let map = create(spec(kind, key_size, 8, 10_000, flags), THREADS).expect("a valid spec");
        let add = |n: u64| {
            let (value, prefix) = (n.to_le_bytes(), [&64_u32.to_le_bytes()[..], &n.to_be_bytes()].concat());
            let value = Bytes::from(&value[..]);
            let added = if key_size == 0 { map.push(value, 0) } else { map.update(0, (&prefix[..]).into(), value, 0) };
            added.expect("there is room");
        };
        for round in 0..3 {
            let first = round * (u64::from(THREADS) + 1) * per_thread;
            // SAFETY: this thread has the map to itself until it says that it has not.
            unsafe { map.set_alone(true) };
            (first..first + per_thread).for_each(add);
            // SAFETY: nobody else is using the map.
            unsafe { map.set_alone(false) };
            each_thread(|thread| {
                let first = first + u64::from(thread + 1) * per_thread;
                (first..first + per_thread).for_each(add);
            });
        }
        let added = 3 * (u64::from(THREADS) + 1) * per_thread;
        assert_eq!(map.len() as u64, added, "{kind:?}");
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        if kind == MapKind::BloomFilter {
            assert!((0..added).all(|n| map.contains(Bytes::from(&n.to_le_bytes()[..])).is_ok()));
            continue;
        }
        map.dump_user(&mut keys, &mut values).expect("it can be walked");
        let mut all: Vec<u64> = values.chunks(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..added), "{kind:?}");
    }
}

#[test]
fn every_value_pushed_is_popped_once() {
    for kind in [MapKind::Queue, MapKind::Stack] {
        let queue = map(kind, 0, 8, 128, 0);
        let (pushed, popped) = (AtomicU64::new(0), AtomicU64::new(0));
        each_thread(|thread| {
            for n in 0..ROUNDS {
                let value = n * u64::from(THREADS) + u64::from(thread);
                if queue.push(Bytes::from(&value.to_le_bytes()[..]), 0).is_ok() {
                    pushed.fetch_add(value, Ordering::Relaxed);
                }
                let mut out = [0; 8];
                if queue.pop(BytesMut::from(&mut out[..]), true).is_ok() {
                    popped.fetch_add(u64::from_le_bytes(out), Ordering::Relaxed);
                }
            }
        });
        assert!(queue.is_empty());
        assert_eq!(pushed.into_inner(), popped.into_inner());
    }
}

#[test]
fn a_ring_is_consumed_while_it_is_written() {
    let ring = map(MapKind::RingBuf, 0, 0, 4096, 0);
    let (written, read) = (AtomicU64::new(0), AtomicU64::new(0));
    each_thread(|thread| {
        for n in 0..ROUNDS {
            if thread == 0 {
                let mut out = Vec::new();
                if ring.consume_user(&mut out).expect("a ring buffer") {
                    read.fetch_add(u64::from_le_bytes(out[..8].try_into().unwrap()), Ordering::Relaxed);
                }
            } else if let Ok(record) = ring.reserve(8 + n % 32) {
                // SAFETY: a reserved record of at least eight bytes, 8-aligned.
                unsafe { record.cast::<u64>().write(n) };
                written.fetch_add(n, Ordering::Relaxed);
                ring.commit(record.as_ptr() as u64, 0, false).expect("it is reserved");
            }
        }
    });
    let mut out = Vec::new();
    while ring.consume_user(&mut out).expect("a ring buffer") {
        read.fetch_add(u64::from_le_bytes(out[..8].try_into().unwrap()), Ordering::Relaxed);
        out.clear();
    }
    assert_eq!(written.into_inner(), read.into_inner());
}
