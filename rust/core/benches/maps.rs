//! What the operations of maps cost, by kind and number of entries.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cpu_time;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axebpf_core::map::{BPF_F_NO_PREALLOC, Map, MapKind, MapSpec, create};
use axebpf_core::memory::{Bytes, BytesMut};
use cpu_time::{CpuTime, each};
use criterion::{Criterion, criterion_group, criterion_main};

/// Operations in a row.
const BATCH: usize = 1000;
const SIZES: [u32; 5] = [100, 1000, 10_000, 100_000, 1_000_000];
const KINDS: [MapKind; 6] = [
    MapKind::Array,
    MapKind::PercpuArray,
    MapKind::Hash,
    MapKind::PercpuHash,
    MapKind::LruHash,
    MapKind::LruPercpuHash,
];

/// A map as a bench has it.
fn alone(spec: MapSpec) -> Arc<dyn Map> {
    let map = create(spec, 4).unwrap();
    // SAFETY: one thread measures.
    unsafe { map.set_alone(true) };
    map
}

fn map(kind: MapKind, max_entries: u32) -> Arc<dyn Map> {
    let (key_size, value_size) = match kind {
        MapKind::RingBuf => (0, 0),
        MapKind::Queue | MapKind::Stack | MapKind::BloomFilter => (0, 16),
        _ => (4, 16),
    };
    alone(MapSpec { name: "M".to_owned(), kind, key_size, value_size, max_entries, flags: 0, extra: 0 })
}

/// Keys in an order that no prefetcher guesses.
fn keys(max_entries: u32) -> Vec<[u8; 4]> {
    let scattered = (0..BATCH as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % u64::from(max_entries));
    scattered.map(|key| (key as u32).to_le_bytes()).collect()
}

fn keyed(criterion: &mut Criterion<CpuTime>) {
    for kind in KINDS {
        for size in SIZES {
            let map = map(kind, size);
            let value = [7; 16];
            for key in 0..size {
                map.update(0, Bytes::from(&key.to_le_bytes()[..]), Bytes::from(&value[..]), 0).unwrap();
            }
            let keys = keys(size);
            let mut group = criterion.benchmark_group(format!("{}/{size}", kind.name()));
            group.throughput(each(BATCH));
            group.bench_function("lookup", |b| {
                b.iter(|| {
                    for key in &keys {
                        black_box(map.lookup(0, Bytes::from(&key[..])));
                    }
                });
            });
            group.bench_function("update", |b| {
                b.iter(|| {
                    for key in &keys {
                        map.update(0, Bytes::from(&key[..]), Bytes::from(&value[..]), 0).unwrap();
                    }
                });
            });
            if !matches!(kind, MapKind::Array | MapKind::PercpuArray) {
                group.bench_function("delete and insert", |b| {
                    b.iter(|| {
                        for key in &keys {
                            // An LRU may have driven it out by itself.
                            let _gone = map.delete(Bytes::from(&key[..]));
                            map.update(0, Bytes::from(&key[..]), Bytes::from(&value[..]), 0).unwrap();
                        }
                    });
                });
            }
            group.finish();
        }
    }
}

/// Routes of IPv4, two thirds of them /24, looked up by whole addresses.
fn tries(criterion: &mut Criterion<CpuTime>) {
    for size in SIZES {
        let spec = MapSpec {
            name: "M".to_owned(),
            kind: MapKind::LpmTrie,
            key_size: 8,
            value_size: 16,
            max_entries: size,
            flags: BPF_F_NO_PREALLOC,
            extra: 0,
        };
        let map = alone(spec);
        let scattered = |n: u32| n.wrapping_mul(0x9e37_79b9);
        let key = |len: u32, n: u32| [len.to_le_bytes(), scattered(n).to_be_bytes()].concat();
        let route = |n: u32| key(if n.is_multiple_of(3) { 12 + n % 12 } else { 24 }, n);
        for n in 0..size {
            map.update(0, Bytes::from(&route(n)[..]), Bytes::from(&[7; 16][..]), 0).unwrap();
        }
        let step = (size / BATCH as u32).max(1);
        let numbers: Vec<u32> = (0..BATCH as u32).map(|n| n * step % size).collect();
        let addresses: Vec<_> = numbers.iter().map(|n| key(32, *n)).collect();
        let routes: Vec<_> = numbers.iter().map(|n| route(*n)).collect();
        let mut group = criterion.benchmark_group(format!("lpm_trie/{size}"));
        group.throughput(each(BATCH));
        group.bench_function("lookup", |b| {
            b.iter(|| {
                for key in &addresses {
                    black_box(map.lookup(0, Bytes::from(&key[..])));
                }
            });
        });
        group.bench_function("update", |b| {
            b.iter(|| {
                for key in &routes {
                    map.update(0, Bytes::from(&key[..]), Bytes::from(&[7; 16][..]), 0).unwrap();
                }
            });
        });
        group.finish();
    }
}

fn queues(criterion: &mut Criterion<CpuTime>) {
    for kind in [MapKind::Queue, MapKind::Stack] {
        let map = map(kind, 1024);
        let mut group = criterion.benchmark_group(kind.name());
        group.throughput(each(BATCH));
        group.bench_function("push and pop", |b| {
            let mut out = [0; 16];
            b.iter(|| {
                for _ in 0..BATCH {
                    map.push(Bytes::from(&[7; 16][..]), 0).unwrap();
                    map.pop(BytesMut::from(&mut out[..]), true).unwrap();
                }
            });
        });
        group.finish();
    }
    let filter = map(MapKind::BloomFilter, 1 << 20);
    let mut group = criterion.benchmark_group(MapKind::BloomFilter.name());
    group.throughput(each(BATCH));
    group.bench_function("push and peek", |b| {
        b.iter(|| {
            for n in 0..BATCH {
                let n = n as u8;
                filter.push(Bytes::from(&[n; 16][..]), 0).unwrap();
                filter.contains(Bytes::from(&[n; 16][..])).unwrap();
            }
        });
    });
    group.finish();
    let ring = map(MapKind::RingBuf, 1 << 20);
    let mut group = criterion.benchmark_group(MapKind::RingBuf.name());
    group.throughput(each(BATCH));
    group.bench_function("reserve, submit and consume", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            for _ in 0..BATCH {
                let record = ring.reserve(64).unwrap();
                ring.commit(record.as_ptr() as u64, 0, false).unwrap();
            }
            while ring.consume_user(&mut out).unwrap() {
                out.clear();
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = cpu_time::criterion()
        .warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200)).sample_size(20);
    targets = keyed, tries, queues
}
criterion_main!(benches);
