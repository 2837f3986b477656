//! Which entries an LRU map keeps: in Linux's order the same ones as the kernel's, after every operation.

use std::collections::BTreeSet;

use axebpf_core::map::{
    BPF_EXIST, BPF_F_NO_COMMON_LRU, BPF_NOEXIST, Creation, Entries, LruOrder, MapKind, MapSpec, create_as, lookup_batch,
};
use axebpf_core::memory::Bytes;

use crate::kernel::{self, KernelMap};
use crate::map_support::{Random, spec};
use crate::programs::{Programs, r0};

/// The keys of a map as one set.
fn keys(entries: &Entries) -> BTreeSet<u64> {
    entries.keys.as_chunks().0.iter().map(|key| u64::from_le_bytes(*key)).collect()
}

/// Random operations on the CPUs; every `apart` of them, the keys that are there.
fn compare(spec: &MapSpec, on: &[u32], seed: u64, operations: usize, apart: usize) {
    let cpus = kernel::cpus();
    let with = Creation { lru: LruOrder::Linux, ..Creation::default() };
    let ours = create_as(spec.clone(), cpus, &with).expect("a valid spec");
    let theirs = KernelMap::create(spec, cpus).expect("a valid spec");
    let programs = Programs::new(&theirs, spec.kind);
    let mut random = Random(seed);
    let size = u64::from(spec.max_entries);
    let mut newest = 0;
    let mut log = Vec::new();
    for n in 0..operations {
        // Phases: keys ever new, keys out of few, keys out of many.
        let key = match n / (3 * size as usize) % 3 {
            0 => {
                newest += 1;
                if random.once_in(3) { newest - random.below(newest.min(size)) } else { newest }
            }
            1 => random.below(size),
            _ => random.below(3 * size),
        };
        let (cpu, bytes) = (random.pick(on), key.to_le_bytes());
        let flags = random.pick(&[0, 0, 0, 0, 0, 0, BPF_EXIST, BPF_NOEXIST]);
        let value = vec![0; spec.value_size as usize * if spec.kind.is_per_cpu() { cpus as usize } else { 1 }];
        let args = [key, 0, flags];
        let (what, here, there) = match random.below(12) {
            0..6 => {
                let here = ours.update(cpu, Bytes::from(&bytes[..]), Bytes::from(&[0; 8][..]), flags);
                ("update", r0(here), programs.update.run(cpu, args))
            }
            6..9 => {
                let here = ours.lookup(cpu, Bytes::from(&bytes[..])).is_some();
                ("look-up", i32::from(here), i32::from(programs.lookup.run(cpu, args) == 0))
            }
            9 => {
                let here = ours.update_user(&bytes, &value, flags);
                ("update by bpf(2)", r0(here), theirs.update(&bytes, &value, flags).map_or_else(|errno| -errno, |()| 0))
            }
            10 => {
                let here = ours.lookup_user(&bytes, 0, &mut Vec::new());
                ("look-up by bpf(2)", r0(here), theirs.lookup(&bytes, 0).map_or_else(|errno| -errno, |_| 0))
            }
            _ => ("deletion", r0(ours.delete(Bytes::from(&bytes[..]))), programs.delete.run(cpu, args)),
        };
        log.push((what, key, cpu, flags));
        let last = &log[log.len().saturating_sub(40)..];
        assert_eq!(here, there, "operation {n} of seed {seed} in {spec:?}: {last:?}");
        if n % apart == 0 {
            let mut found = Entries::default();
            let _end = lookup_batch(ours.as_ref(), None, u32::MAX, 0, &mut found);
            let (_, expected) = theirs.walk(None, spec.max_entries as usize + 8, false, 0);
            let (found, expected) = (keys(&found), keys(&expected));
            let differ: Vec<_> = found.symmetric_difference(&expected).collect();
            assert!(differ.is_empty(), "{differ:?} after {n} operations of seed {seed} in {spec:?}: {last:?}");
        }
    }
}

#[test]
fn linux_order_on_one_cpu() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    for kind in [MapKind::LruHash, MapKind::LruPercpuHash] {
        for flags in [0, BPF_F_NO_COMMON_LRU] {
            for (size, apart) in
                [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (9, 1), (64, 3), (200, 7), (1024, 50), (4096, 400)]
            {
                let operations = 2000.max(20 * size as usize);
                compare(&spec(kind, 8, 8, size, flags), &[0], u64::from(size), operations, apart);
            }
        }
    }
}

#[test]
fn linux_order_on_two_cpus() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    for kind in [MapKind::LruHash, MapKind::LruPercpuHash] {
        for flags in [0, BPF_F_NO_COMMON_LRU] {
            for (size, apart) in [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (64, 3), (600, 20)] {
                let operations = 2000.max(20 * size as usize);
                compare(&spec(kind, 8, 8, size, flags), &[0, 1], u64::from(size), operations, apart);
            }
        }
    }
}
