//! Maps of maps, program arrays and perf event arrays against the kernel's: random operations of bpf(2) with things of
//! which each side has its own.

use std::sync::{Arc, Mutex};
use std::thread;

use axebpf_core::errno::Errno;
use axebpf_core::map::{
    BPF_F_INNER_MAP, BPF_F_WRONLY, Entries, Map, MapKind, MapSpec, create_with, delete_batch, lookup_and_delete_batch,
    lookup_batch, update_batch_by_number,
};

use crate::flag_sets::{shares, with_all_flags};
use crate::kernel::{self, KernelMap};
use crate::map_support::{Random, spec};
use crate::operations;
use crate::things::Things;

/// Operations on one map; then comes another one.
const SEQUENCE: usize = 250;
/// Sequences at a time. Linux waits for a grace period after each change of a map of maps; those of many threads are
/// one.
const THREADS: usize = 64;

fn errno<T>(result: Result<T, Errno>) -> Result<T, i32> {
    result.map_err(|errno| errno.0)
}

fn out(call: impl FnOnce(&mut Vec<u8>) -> Result<(), Errno>) -> Result<Vec<u8>, i32> {
    let mut out = Vec::new();
    errno(call(&mut out)).map(|()| out)
}

fn key(random: &mut Random) -> [u8; 4] {
    (random.below(8) as u32).to_le_bytes()
}

/// A map on both sides, and what there is to put into it.
struct Pair<'t> {
    things: &'t Things,
    ours: Arc<dyn Map>,
    theirs: KernelMap,
}

impl Pair<'_> {
    fn spec(&self) -> &MapSpec {
        self.ours.spec()
    }

    /// Whether both sides walk in the same order.
    fn has_order(&self) -> bool {
        self.spec().kind != MapKind::HashOfMaps
    }

    fn update(&self, random: &mut Random, flags: u64) {
        let (key, (number, fd)) = (key(random), self.things.pick(random));
        let ours = self.ours.update_by_number(&key, &number.to_le_bytes(), flags, self.things);
        let theirs = self.theirs.update(&key, &fd.to_le_bytes(), flags);
        assert_eq!(ours.map_err(|refusal| refusal.errno.0), theirs, "{number} at {key:?}, {flags}, {:?}", self.spec());
    }

    fn lookup(&self, key: &[u8], flags: u64) {
        let theirs = self.theirs.lookup(key, flags).map(|id| self.things.place_of(&id));
        assert_eq!(out(|out| self.ours.lookup_user(key, flags, out)), theirs, "{key:?}, {flags}, {:?}", self.spec());
    }

    fn delete(&self, random: &mut Random) {
        let key = key(random);
        assert_eq!(errno(self.ours.delete_user(&key)), self.theirs.delete(&key), "{key:?} of {:?}", self.spec());
    }

    fn lookup_and_delete(&self, random: &mut Random, flags: u64) {
        let key = key(random);
        let taken = out(|out| self.ours.lookup_and_delete_user(&key, flags, out));
        assert_eq!(taken, self.theirs.lookup_and_delete(&key, flags), "take {key:?}, {flags}, {:?}", self.spec());
    }

    fn next_key(&self, random: &mut Random) {
        let key = key(random);
        let key = Some(&key[..]).filter(|_| self.has_order() && random.below(3) > 0);
        let (ours, theirs) = (out(|out| self.ours.next_key_user(key, out)), self.theirs.next_key(key));
        if self.has_order() {
            assert_eq!(ours, theirs, "next of {key:?} of {:?}", self.spec());
        } else {
            assert_eq!(ours.map(drop), theirs.map(drop), "the first of {:?}", self.spec());
        }
    }

    /// All that is there, each by itself.
    fn content(&self) {
        if self.spec().flags & BPF_F_WRONLY != 0 || self.spec().kind == MapKind::PerfEventArray {
            return;
        }
        let (mut keys, mut numbers) = (Vec::new(), Vec::new());
        assert_eq!(self.ours.dump_user(&mut keys, &mut numbers), Ok(self.ours.len()));
        for (key, number) in keys.chunks(4).zip(numbers.chunks(4)) {
            let theirs = self.theirs.lookup(key, 0).map(|id| self.things.place_of(&id));
            assert_eq!(theirs.as_deref(), Ok(number), "{key:?} of {:?}", self.spec());
        }
        for key in (0..8_u32).map(u32::to_le_bytes) {
            self.lookup(&key, 0);
        }
    }

    /// The next entries of a walk on one side, by the places of what is in it.
    fn walk(
        &self,
        ours: bool,
        from: Option<&[u8]>,
        count: u32,
        remove: bool,
        flags: u64,
    ) -> (Result<(), i32>, Entries) {
        if ours {
            let read = if remove { lookup_and_delete_batch } else { lookup_batch };
            let mut out = Entries::default();
            (errno(read(&*self.ours, from, count, flags, &mut out)), out)
        } else {
            let (result, mut out) = self.theirs.walk(from, count as usize, remove, flags);
            out.values = out.values.chunks(4).flat_map(|id| self.things.place_of(id)).collect();
            (result, out)
        }
    }

    /// Keys and numbers, sorted where the order is each side's own.
    fn entries(&self, entries: &Entries) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = entries.keys.chunks(4).zip(entries.values.chunks(4));
        let mut all: Vec<_> = pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        if !self.has_order() {
            all.sort();
        }
        all
    }

    /// One batch: from a key or the first where both sides walk by key, else of all entries.
    fn one_batch(&self, random: &mut Random, remove: bool, flags: u64) {
        let from = key(random);
        let from = Some(&from[..]).filter(|_| self.has_order() && random.once_in(2));
        let count = if self.has_order() { random.below(8) as u32 } else { random.pick(&[0, 100]) };
        let [ours, theirs] = [true, false].map(|side| self.walk(side, from, count, remove, flags));
        let what = format!("batch of {count} from {from:x?}, remove {remove}, flags {flags} in {:?}", self.spec());
        assert_eq!(ours.0, theirs.0, "{what}");
        assert_eq!(self.entries(&ours.1), self.entries(&theirs.1), "{what}");
        if self.has_order() && ours.1.count > 0 {
            assert_eq!(ours.1.next, theirs.1.next, "{what}");
        }
    }

    /// A walk in small batches to the end.
    fn many_batches(&self, random: &mut Random, remove: bool) {
        let first = 1 + random.below(4) as u32;
        let [ours, theirs] = [true, false].map(|side| {
            let (mut from, mut count, mut all) = (None::<Vec<u8>>, first, Entries::default());
            loop {
                let (result, part) = self.walk(side, from.as_deref(), count, remove, 0);
                all.keys.extend(part.keys);
                all.values.extend(part.values);
                match result {
                    Ok(()) => from = Some(part.next),
                    // A bucket with more entries than that.
                    Err(libc::ENOSPC) if !side => count *= 2,
                    Err(errno) => break (errno, self.entries(&all)),
                }
            }
        });
        assert_eq!(ours, theirs, "batches of {first} of {:?}, remove {remove}", self.spec());
    }

    fn update_batch(&self, random: &mut Random, flags: u64) {
        let picked = |random: &mut Random| (key(random), self.things.pick(random));
        let entries: Vec<_> = (0..random.below(6)).map(|_| picked(random)).collect();
        let ours: Vec<_> = entries.iter().map(|(key, (number, _))| (*key, number.to_le_bytes())).collect();
        let theirs: Vec<_> = entries.iter().map(|(key, (_, fd))| (*key, fd.to_le_bytes())).collect();
        let [ours, theirs] = [&ours, &theirs]
            .map(|entries| entries.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>());
        let ours = update_batch_by_number(&*self.ours, &ours, flags, self.things);
        let ours = ours.map_err(|(done, refusal)| (done, refusal.errno.0));
        assert_eq!(ours, self.theirs.update_batch(&theirs, flags), "{entries:x?}, {flags}, {:?}", self.spec());
    }

    fn delete_batch(&self, random: &mut Random, flags: u64) {
        let keys: Vec<_> = (0..random.below(6)).map(|_| key(random)).collect();
        let keys: Vec<_> = keys.iter().map(|key| &key[..]).collect();
        let ours = delete_batch(&*self.ours, &keys, flags).map_err(|(done, errno)| (done, errno.0));
        assert_eq!(ours, self.theirs.delete_batch(&keys, flags), "delete {keys:x?}, {flags}, {:?}", self.spec());
    }

    fn step(&self, random: &mut Random) {
        let flags = random.pick(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 8]);
        let read_flags = random.pick(&[0, 0, 0, 0, 1, 4]);
        match random.below(120) {
            0..45 => self.update(random, flags),
            45..70 => self.lookup(&key(random), read_flags),
            70..85 => self.delete(random),
            85..90 => self.lookup_and_delete(random, read_flags),
            90..97 => self.next_key(random),
            97..100 => self.content(),
            100..103 => self.one_batch(random, false, read_flags),
            103 => self.one_batch(random, true, read_flags),
            104..107 => self.many_batches(random, false),
            107 => self.many_batches(random, true),
            108..116 => self.update_batch(random, read_flags),
            _ => self.delete_batch(random, read_flags),
        }
    }

    fn run(&self, seed: u64, steps: usize) {
        let mut random = Random(seed);
        let frozen_at = if seed.is_multiple_of(3) { steps * 3 / 4 } else { steps };
        for n in 0..steps {
            if n == frozen_at {
                for _ in 0..2 {
                    assert_eq!(errno(self.ours.freeze()), self.theirs.freeze(), "freeze {:?}", self.spec());
                }
            }
            self.step(&mut random);
        }
        self.content();
    }
}

/// Runs every spec with each set of flags that its kind takes, in short sequences.
fn compare(things: &Things, specs: &[MapSpec], inner: Option<(&dyn Map, i32)>) {
    let our_inner = inner.map(|(ours, _)| ours);
    let maps: Vec<_> = specs.iter().flat_map(|spec| with_all_flags(spec, our_inner)).collect();
    let shares = shares(&maps, operations(20_000));
    let sequences = maps.iter().zip(shares).flat_map(|(spec, steps)| {
        let starts = (0..steps).step_by(SEQUENCE);
        starts.map(move |start| (spec, SEQUENCE.min(steps - start)))
    });
    let sequences = Mutex::new(sequences.enumerate());
    let one_after_the_other = || {
        kernel::pin();
        loop {
            let Some((seed, (spec, steps))) = sequences.lock().unwrap().next() else { return };
            let ours = create_with(spec.clone(), 1, our_inner).unwrap();
            let theirs = KernelMap::create_with(spec, 1, inner.map_or(0, |(_, theirs)| theirs)).unwrap();
            Pair { things, ours, theirs }.run(seed as u64, steps);
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(one_after_the_other);
        }
    });
}

fn compare_maps_of_maps(kind: MapKind) {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (other, more) = (spec(MapKind::Array, 4, 16, 4, 0), spec(MapKind::Array, 4, 8, 9, 0));
    let inner_flag = |spec: &MapSpec| MapSpec { flags: BPF_F_INNER_MAP, ..spec.clone() };
    let shape = spec(MapKind::Array, 4, 8, 4, 0);
    for shape in [shape.clone(), inner_flag(&shape)] {
        let things = Things::with_maps(&[shape.clone(), shape.clone(), other.clone(), inner_flag(&more), shape]);
        let (ours, theirs) = &things.maps[0];
        compare(&things, &[spec(kind, 4, 4, 5, 0)], Some((&**ours, theirs.fd())));
    }
}

#[test]
fn arrays_of_maps() {
    compare_maps_of_maps(MapKind::ArrayOfMaps);
}

#[test]
fn hashes_of_maps() {
    compare_maps_of_maps(MapKind::HashOfMaps);
}

#[test]
fn program_arrays() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let things = Things::with_programs();
    compare(&things, &[4, 5, 6, 7].map(|entries| spec(MapKind::ProgArray, 4, 4, entries, 0)), None);
}

#[test]
fn perf_event_arrays_without_events() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let things = Things::default();
    compare(&things, &[spec(MapKind::PerfEventArray, 4, 4, 5, 0)], None);
}
