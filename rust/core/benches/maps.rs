//! What the operations of maps cost, by kind and number of entries.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cpu_time;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axebpf_core::map::{Map, MapKind, MapSpec, create};
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

fn map(kind: MapKind, max_entries: u32) -> Arc<dyn Map> {
    let (key_size, value_size) = match kind {
        MapKind::RingBuf => (0, 0),
        MapKind::Queue | MapKind::Stack => (0, 16),
        _ => (4, 16),
    };
    create(MapSpec { name: "M".to_owned(), kind, key_size, value_size, max_entries, flags: 0, extra: 0 }, 4).unwrap()
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
    targets = keyed, queues
}
criterion_main!(benches);
