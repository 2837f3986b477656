//! Random operations of bpf(2) on both sides: the same result, errno and content.

use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{
    BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_WRONLY, Map, MapKind, MapSpec, create,
};

use crate::kernel::{self, KernelMap};
use crate::map_support::{Random, spec, walk};

/// Operations on one map.
const OPERATIONS: usize = 2500;

struct Pair {
    spec: MapSpec,
    ours: Arc<dyn Map>,
    theirs: KernelMap,
}

fn number<T>(result: Result<T, Errno>) -> Result<T, i32> {
    result.map_err(|errno| errno.0)
}

fn with_out(call: impl FnOnce(&mut Vec<u8>) -> Result<(), Errno>) -> Result<Vec<u8>, i32> {
    let mut out = Vec::new();
    number(call(&mut out)).map(|()| out)
}

impl Pair {
    fn new(spec: MapSpec) -> Pair {
        let cpus = kernel::cpus();
        let ours = create(spec.clone(), cpus).expect("a valid spec");
        let theirs = KernelMap::create(&spec, cpus).expect("a valid spec");
        Pair { spec, ours, theirs }
    }

    fn has_order(&self) -> bool {
        !matches!(self.spec.kind, MapKind::Hash | MapKind::PercpuHash | MapKind::LruHash | MapKind::LruPercpuHash)
    }

    fn key(&self, random: &mut Random) -> Vec<u8> {
        let mut key = vec![0x5a; self.spec.key_size as usize];
        let n = random.below(20);
        if self.spec.kind.name().ends_with("array") {
            return (n as u32).to_le_bytes().to_vec();
        }
        if let Some(last) = key.last_mut() {
            *last = n as u8;
        }
        key
    }

    fn value(&self, random: &mut Random) -> Vec<u8> {
        let size = self.spec.value_size as usize;
        let per_cpu = size.next_multiple_of(8) * kernel::cpus() as usize;
        random.bytes(if self.spec.kind.is_per_cpu() { per_cpu } else { size })
    }

    fn next_key(&self, key: Option<&[u8]>) {
        let ours = with_out(|out| self.ours.next_key_user(key, out));
        let theirs = self.theirs.next_key(key);
        if self.has_order() || self.ours.is_empty() || ours == Err(libc::EPERM) {
            assert_eq!(ours, theirs, "next of {key:?} in {:?}", self.spec);
        } else if theirs == self.theirs.next_key(None) {
            // They start at their first: for no key or a missing one, so do we.
            let gone = key.is_none_or(|key| self.theirs.lookup(key, 0).is_err());
            assert!(!gone || ours == with_out(|out| self.ours.next_key_user(None, out)));
        }
    }

    /// All entries, sorted: the order of a hash is each side's own.
    fn compare_content(&self) {
        let Ok(first) = self.theirs.next_key(None) else { return };
        let mut theirs = vec![first];
        while let Some(next) = theirs.last().and_then(|key| self.theirs.next_key(Some(key)).ok()) {
            theirs.push(next);
        }
        let mut ours = walk(self.ours.as_ref());
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        assert_eq!(self.ours.dump_user(&mut keys, &mut values), Ok(ours.len()));
        assert_eq!(keys, ours.concat(), "a dump has the order of a walk");
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "keys of {:?}", self.spec);
        for key in &ours {
            let value = with_out(|out| self.ours.lookup_user(key, 0, out));
            assert_eq!(value, self.theirs.lookup(key, 0), "{key:?} of {:?}", self.spec);
        }
    }

    fn step(&self, random: &mut Random) -> String {
        let key = self.key(random);
        let flags = random.pick(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 8, 1 << 40]);
        let read_flags = random.pick(&[0, 0, 0, 0, 0, 0, 1, 2, 4, 5]);
        let what = format!("key {key:x?} flags {flags} or {read_flags} in {:?}", self.spec);
        match random.below(100) {
            0..40 => {
                let value = self.value(random);
                let ours = number(self.ours.update_user(&key, &value, flags));
                assert_eq!(ours, self.theirs.update(&key, &value, flags), "update {what}");
            }
            40..65 => {
                let ours = with_out(|out| self.ours.lookup_user(&key, read_flags, out));
                assert_eq!(ours, self.theirs.lookup(&key, read_flags), "lookup {what}");
            }
            65..80 => {
                let ours = number(self.ours.delete_user(&key));
                assert_eq!(ours, self.theirs.delete(&key), "delete {what}");
            }
            80..90 => {
                let ours = with_out(|out| self.ours.lookup_and_delete_user(&key, read_flags, out));
                assert_eq!(ours, self.theirs.lookup_and_delete(&key, read_flags), "take {what}");
            }
            90..97 => self.next_key(Some(&key).filter(|key| !key.is_empty()).map(Vec::as_slice)),
            97..99 => self.next_key(None),
            _ => self.compare_content(),
        }
        what
    }

    fn run(&self, seed: u64) {
        let mut random = Random(seed);
        let frozen_at = if seed.is_multiple_of(3) { OPERATIONS * 3 / 4 } else { OPERATIONS };
        for n in 0..OPERATIONS {
            if n == frozen_at {
                for _ in 0..2 {
                    assert_eq!(number(self.ours.freeze()), self.theirs.freeze(), "freeze {:?}", self.spec);
                }
            }
            self.step(&mut random);
        }
        self.compare_content();
    }
}

/// Runs every spec, and each again read-only and write-only where the kind allows that.
fn compare(specs: &[MapSpec]) {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    let mut maps = 0;
    for (n, spec) in specs.iter().enumerate() {
        for extra in [0, BPF_F_RDONLY, BPF_F_WRONLY] {
            let flags = spec.flags | extra;
            if spec.kind.rules().is_some_and(|rules| flags & !rules.flags != 0) {
                continue;
            }
            Pair::new(MapSpec { flags, ..spec.clone() }).run(n as u64);
            maps += 1;
        }
    }
    assert!(maps * OPERATIONS >= 10_000, "{maps} maps");
}

#[test]
fn arrays() {
    compare(&[1, 5, 8, 24].map(|value| spec(MapKind::Array, 4, value, 13, 0)));
}

#[test]
fn per_cpu_arrays() {
    compare(&[1, 5, 8, 24].map(|value| spec(MapKind::PercpuArray, 4, value, 13, 0)));
}

#[test]
fn hashes() {
    let sizes = [(1, 1), (4, 8), (5, 5), (8, 8), (13, 24)];
    compare(&sizes.map(|(key, value)| spec(MapKind::Hash, key, value, 9, 0)));
    compare(&sizes.map(|(key, value)| spec(MapKind::Hash, key, value, 9, BPF_F_NO_PREALLOC)));
}

#[test]
fn per_cpu_hashes() {
    let sizes = [(1, 1), (4, 8), (5, 5), (8, 8), (13, 24)];
    compare(&sizes.map(|(key, value)| spec(MapKind::PercpuHash, key, value, 9, 0)));
    compare(&sizes.map(|(key, value)| spec(MapKind::PercpuHash, key, value, 9, BPF_F_NO_PREALLOC)));
}

/// With so much room that nothing is driven out: Linux's order of eviction is not ours.
#[test]
fn lru_hashes() {
    for flags in [0, BPF_F_NO_COMMON_LRU] {
        compare(&[(4, 8), (8, 8), (13, 5)].map(|(key, value)| spec(MapKind::LruHash, key, value, 1024, flags)));
        compare(&[(4, 8), (8, 8), (13, 5)].map(|(key, value)| spec(MapKind::LruPercpuHash, key, value, 1024, flags)));
    }
}

#[test]
fn queues_and_stacks() {
    compare(&[1, 5, 8, 24].map(|value| spec(MapKind::Queue, 0, value, 5, 0)));
    compare(&[1, 5, 8, 24].map(|value| spec(MapKind::Stack, 0, value, 5, 0)));
}

#[test]
fn ring_buffers() {
    compare(&[1_u32, 2, 4, 8].map(|pages| spec(MapKind::RingBuf, 0, 0, pages * 4096, 0)));
}
