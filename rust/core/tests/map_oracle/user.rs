//! Random operations of bpf(2) on both sides: the same result, errno and content.

use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{
    BPF_F_NO_PREALLOC, BPF_F_ZERO_SEED, Entries, Keys, Map, MapKind, MapSpec, create, delete_batch,
    lookup_and_delete_batch, lookup_batch, update_batch,
};

use crate::flag_sets::{shares, with_all_flags};
use crate::kernel::{self, KernelMap};
use crate::map_support::{Random, spec, walk};
use crate::operations;

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
        self.keys() != Keys::Bytes
    }

    fn keys(&self) -> Keys {
        self.spec.kind.rules().expect("a kind that is offered").keys
    }

    /// A prefix of any length, sometimes too long, of bits that are mostly those of others.
    fn prefix(&self, random: &mut Random) -> Vec<u8> {
        let bytes = self.spec.key_size as usize - 4;
        let most = 8 * bytes as u64;
        let len = match random.below(16) {
            0 => random.pick(&[most + 1, u64::from(u32::MAX)]),
            1..=3 => most,
            4..=6 => random.below(most.min(9)),
            7 => 64.min(most),
            _ => random.below(most + 1),
        };
        let mut bits = vec![random.pick(&[0, 0xff]); bytes];
        let part = random.pick(&[0, 1, bytes / 2, bytes - 1]).min(bytes - 1);
        bits[part] = random.pick(&[0, 0x80, 0xc0, 0xa5, 1]);
        if random.once_in(8) {
            bits = random.bytes(bytes);
        }
        [&(len as u32).to_le_bytes()[..], &bits].concat()
    }

    fn key(&self, random: &mut Random) -> Vec<u8> {
        let mut key = vec![0x5a; self.spec.key_size as usize];
        let n = random.below(20);
        match self.keys() {
            Keys::Index => return (n as u32).to_le_bytes().to_vec(),
            Keys::Prefix => return self.prefix(random),
            Keys::Bytes | Keys::None => {}
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

    fn read_batch(&self, from: Option<&[u8]>, count: usize, remove: bool, flags: u64) -> (Result<(), i32>, Entries) {
        let read = if remove { lookup_and_delete_batch } else { lookup_batch };
        let mut out = Entries::default();
        (number(read(self.ours.as_ref(), from, count as u32, flags, &mut out)), out)
    }

    /// Keys and values, sorted where the order is each side's own.
    fn entries(&self, entries: &Entries) -> Vec<(Vec<u8>, Vec<u8>)> {
        let value_size = entries.values.len() / (entries.count as usize).max(1);
        let keys = entries.keys.chunks(self.spec.key_size.max(1) as usize).map(<[u8]>::to_vec);
        let mut all: Vec<_> = keys.zip(entries.values.chunks(value_size.max(1)).map(<[u8]>::to_vec)).collect();
        if !self.has_order() {
            all.sort();
        }
        all
    }

    /// One batch, from a key or the first, where both sides walk by key; else of all entries.
    fn one_batch(&self, random: &mut Random, remove: bool, flags: u64) {
        let by_key = self.has_order();
        let from = (by_key && self.spec.key_size > 0 && random.once_in(2)).then(|| self.key(random));
        let count = if by_key { random.below(16) as usize } else { random.pick(&[0, 100]) };
        let (ours, our_entries) = self.read_batch(from.as_deref(), count, remove, flags);
        let (theirs, their_entries) = self.theirs.walk(from.as_deref(), count, remove, flags);
        let what = format!("batch of {count} from {from:x?}, remove {remove}, flags {flags} in {:?}", self.spec);
        assert_eq!(ours, theirs, "{what}");
        assert_eq!(self.entries(&our_entries), self.entries(&their_entries), "{what}");
        if by_key && our_entries.count > 0 {
            assert_eq!(our_entries.next, their_entries.next, "{what}");
        }
    }

    /// A walk in small batches to the end.
    fn many_batches(&self, random: &mut Random, remove: bool) {
        let mut all = [Entries::default(), Entries::default()];
        for (side, all) in all.iter_mut().enumerate() {
            let (mut from, mut count) = (None::<Vec<u8>>, 1 + random.below(5) as usize);
            loop {
                let (result, part) = match side {
                    0 => self.read_batch(from.as_deref(), count, remove, 0),
                    _ => self.theirs.walk(from.as_deref(), count, remove, 0),
                };
                all.keys.extend(part.keys);
                all.values.extend(part.values);
                all.count += part.count;
                match result {
                    Ok(()) => from = Some(part.next),
                    // A bucket with more entries than that.
                    Err(libc::ENOSPC) if side == 1 => count *= 2,
                    Err(errno) => {
                        all.next = errno.to_le_bytes().to_vec();
                        break;
                    }
                }
            }
        }
        let [ours, theirs] = &all;
        assert_eq!(ours.next, theirs.next, "how it ends in {:?}", self.spec);
        assert_eq!(self.entries(ours), self.entries(theirs), "batches of {:?}", self.spec);
    }

    fn write_batch(&self, random: &mut Random, flags: u64) {
        let number = |result: Result<(), (u32, Errno)>| result.map_err(|(done, errno)| (done, errno.0));
        let count = random.below(6) as usize;
        let keys: Vec<_> = (0..count).map(|_| self.key(random)).collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        if random.once_in(3) {
            let ours = number(delete_batch(self.ours.as_ref(), &keys, flags));
            let theirs = self.theirs.delete_batch(&keys, flags);
            assert_eq!(ours, theirs, "delete {keys:x?} with flags {flags} in {:?}", self.spec);
            return;
        }
        let values: Vec<_> = (0..count).map(|_| self.value(random)).collect();
        let entries: Vec<_> = keys.into_iter().zip(values.iter().map(Vec::as_slice)).collect();
        let ours = number(update_batch(self.ours.as_ref(), &entries, flags));
        let theirs = self.theirs.update_batch(&entries, flags);
        assert_eq!(ours, theirs, "update {entries:x?} with flags {flags} in {:?}", self.spec);
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
        match random.below(110) {
            100..102 => self.one_batch(random, false, read_flags),
            102 => self.one_batch(random, true, read_flags),
            103..105 => self.many_batches(random, false),
            105 if random.once_in(8) => self.many_batches(random, true),
            106..110 => self.write_batch(random, read_flags),
            40..65 if self.spec.kind == MapKind::BloomFilter => {
                let value = self.value(random);
                let ours = number(self.ours.contains_user(&value, read_flags));
                assert_eq!(ours, self.theirs.contains(&value, read_flags), "contains {value:x?} {what}");
            }
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
            99 => self.compare_content(),
            _ => {}
        }
        what
    }

    fn run(&self, seed: u64, operations: usize) {
        let mut random = Random(seed);
        let frozen_at = if seed.is_multiple_of(3) { operations * 3 / 4 } else { operations };
        for n in 0..operations {
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

/// Runs every spec with each set of flags that the kind takes.
fn compare(specs: &[MapSpec]) {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    let maps: Vec<_> = specs.iter().flat_map(|spec| with_all_flags(spec, None)).collect();
    for (seed, (spec, operations)) in (0..).zip(maps.iter().zip(shares(&maps, operations(20_000)))) {
        Pair::new(spec.clone()).run(seed, operations);
    }
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
    compare(&[(1, 1), (4, 8), (5, 5), (8, 8), (13, 24)].map(|(key, value)| spec(MapKind::Hash, key, value, 9, 0)));
}

#[test]
fn per_cpu_hashes() {
    compare(
        &[(1, 1), (4, 8), (5, 5), (8, 8), (13, 24)].map(|(key, value)| spec(MapKind::PercpuHash, key, value, 9, 0)),
    );
}

/// With so much room that nothing is driven out: Linux's order of eviction is not ours.
#[test]
fn lru_hashes() {
    compare(&[(4, 8), (8, 8), (13, 5)].map(|(key, value)| spec(MapKind::LruHash, key, value, 1024, 0)));
}

#[test]
fn per_cpu_lru_hashes() {
    compare(&[(4, 8), (8, 8), (13, 5)].map(|(key, value)| spec(MapKind::LruPercpuHash, key, value, 1024, 0)));
}

#[test]
fn queues() {
    compare(&[1, 5, 8, 24].map(|value| spec(MapKind::Queue, 0, value, 5, 0)));
}

#[test]
fn stacks() {
    compare(&[1, 5, 8, 24].map(|value| spec(MapKind::Stack, 0, value, 5, 0)));
}

#[test]
fn ring_buffers() {
    compare(&[1_u32, 2, 4, 8].map(|pages| spec(MapKind::RingBuf, 0, 0, pages * 4096, 0)));
}

#[test]
fn tries() {
    let sizes = [(5, 1, 60), (8, 8, 60), (12, 5, 60), (20, 8, 60), (23, 24, 60), (260, 3, 60), (8, 8, 1), (8, 8, 5)];
    compare(&sizes.map(|(key, value, entries)| spec(MapKind::LpmTrie, key, value, entries, BPF_F_NO_PREALLOC)));
}

/// With a seed that both sides know, they are wrong about the same values.
#[test]
fn bloom_filters() {
    let filters = [(1, 1, 0), (4, 8, 0), (8, 60, 3), (13, 60, 1), (12, 1000, 15), (24, 1000, 2), (31, 4000, 0)];
    compare(&filters.map(|(value, entries, extra)| MapSpec {
        extra,
        ..spec(MapKind::BloomFilter, 0, value, entries, BPF_F_ZERO_SEED)
    }));
}
