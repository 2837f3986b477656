//! kbpf-basic's maps behind the bench's: what they answer, what is refused, and that nothing breaks.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "random/mod.rs"]
mod random;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::Arc;

use axebpf_core::axvisor::{KINDS, create_map};
use axebpf_core::errno::Errno;
use axebpf_core::map::{BPF_EXIST, BPF_NOEXIST, Map, MapError, MapKind, MapSpec};
use axebpf_core::memory::{Bytes, BytesMut};
use random::Random;

fn spec(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec { name: "M".into(), kind, key_size, value_size, max_entries, flags: 0, extra: 0 }
}

fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> Arc<dyn Map> {
    create_map(spec(kind, key_size, value_size, max_entries)).unwrap()
}

fn errno(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> Option<Errno> {
    create_map(spec(kind, key_size, value_size, max_entries)).err().map(|error| error.errno())
}

fn value_of(map: &dyn Map, key: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    map.lookup_user(key, 0, &mut out).map(|()| out)
}

fn look_up(map: &dyn Map, key: &[u8]) -> NonNull<u8> {
    map.lookup(0, Bytes::from(key)).unwrap()
}

/// Stores a byte through a looked-up value, as a program does.
fn store(value: NonNull<u8>, byte: u8) {
    // SAFETY: a looked-up value of at least a byte, which stays until the run ends.
    unsafe { value.as_ptr().write(byte) };
}

fn load(value: NonNull<u8>) -> u8 {
    // SAFETY: as above.
    unsafe { value.as_ptr().read() }
}

#[test]
fn what_would_panic_or_end_the_process_is_refused() {
    let none = 0;
    let cases = [
        (MapKind::Array, 4, 65536, 65536, Some(Errno::ENOMEM)),
        (MapKind::Array, 4, u32::MAX, 2, Some(Errno::ENOMEM)),
        (MapKind::Array, 4, 1, u32::MAX, None),
        (MapKind::Array, 4, 8, 0, Some(Errno::EINVAL)),
        (MapKind::Array, 8, 8, 1, Some(Errno::EINVAL)),
        (MapKind::Array, 4, 0, u32::MAX, Some(Errno::EINVAL)),
        (MapKind::Hash, 4, 8, 0, Some(Errno::EINVAL)),
        (MapKind::Hash, 0, 8, 4, Some(Errno::EINVAL)),
        (MapKind::Hash, 64 << 20, 64 << 20, u32::MAX, None),
        (MapKind::Hash, (64 << 20) + 1, 8, 1, Some(Errno::ENOMEM)),
        (MapKind::Hash, 8, u32::MAX, 1, Some(Errno::ENOMEM)),
        (MapKind::LruHash, 4, 8, 0, Some(Errno::EINVAL)),
        (MapKind::LruHash, 4, 8, u32::MAX, Some(Errno::ENOMEM)),
        (MapKind::LruHash, 4, 8, 1 << 20, None),
        (MapKind::Queue, none, 8, 0, Some(Errno::EINVAL)),
        (MapKind::Queue, none, 8, u32::MAX, Some(Errno::ENOMEM)),
        (MapKind::Queue, 4, 8, 4, Some(Errno::EINVAL)),
        (MapKind::RingBuf, none, none, 0, Some(Errno::EINVAL)),
        (MapKind::RingBuf, none, none, 4095, Some(Errno::EINVAL)),
        (MapKind::RingBuf, none, none, 3 * 4096, Some(Errno::EINVAL)),
        (MapKind::RingBuf, none, none, u32::MAX, Some(Errno::EINVAL)),
        (MapKind::RingBuf, 4, none, 4096, Some(Errno::EINVAL)),
        (MapKind::RingBuf, none, none, 1 << 31, None),
        (MapKind::PercpuHash, 4, 8, 4, Some(Errno::EPERM)),
        (MapKind::Stack, none, 8, 4, Some(Errno::EPERM)),
    ];
    for (kind, key_size, value_size, max_entries, expected) in cases {
        assert_eq!(
            errno(kind, key_size, value_size, max_entries),
            expected,
            "{kind:?} {key_size} {value_size} {max_entries}"
        );
    }
    let unknown_flag = MapSpec { flags: 1 << 31, ..spec(MapKind::Hash, 4, 8, 4) };
    assert_eq!(create_map(unknown_flag).err().map(|error| error.errno()), Some(Errno::EINVAL));
}

#[test]
fn errors_name_the_map_and_whose_it_is() {
    let told = |spec| create_map(spec).err().unwrap().to_string();
    assert_eq!(
        told(spec(MapKind::Stack, 0, 8, 4)),
        "map M: AxVisor has no stack maps; its loader takes array, hash, lru_hash, queue, ringbuf"
    );
    assert_eq!(
        told(spec(MapKind::Hash, 4, 8, 0)),
        "map M: kbpf-basic refuses hash maps of 4 bytes a key, 8 a value, 0 entries and flags 0x0"
    );
    assert_eq!(
        told(spec(MapKind::Array, 4, 65536, 65536)),
        "map M: the size of array maps of kbpf-basic, AxVisor's, is at most 4294967295 bytes, and what there is; found \
         4294967296"
    );
    assert!(matches!(create_map(spec(MapKind::Hash, 4, 8, 0)).err(), Some(MapError::NotByKbpf { .. })));
}

#[test]
fn a_store_through_a_value_is_seen_by_everything_that_asks_the_map() {
    for kind in [MapKind::Array, MapKind::Hash, MapKind::LruHash] {
        let map = map(kind, 4, 1, 3);
        let key = [1, 0, 0, 0];
        map.update_user(&key, &[5], 0).unwrap();
        map.begin_run();
        let value = look_up(&*map, &key);
        assert_eq!(load(value), 5);
        store(value, 6);
        assert_eq!(value_of(&*map, &key), Ok(vec![6]));
        store(value, 7);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        map.dump_user(&mut keys, &mut values).unwrap();
        assert!(values.contains(&7), "{values:?}");
        store(value, 8);
        let mut seen = Vec::new();
        map.for_each(0, &mut |_, value| {
            seen.push(load(value));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(seen.contains(&8), "{seen:?}");
        // The other way round.
        map.update_user(&key, &[9], 0).unwrap();
        assert_eq!(load(value), 9);
        store(value, 10);
        map.end_run();
        assert_eq!(value_of(&*map, &key), Ok(vec![10]));
    }
}

#[test]
fn a_value_that_was_deleted_stays_memory_and_is_not_in_the_map() {
    for kind in [MapKind::Hash, MapKind::LruHash] {
        let map = map(kind, 1, 1, 3);
        map.update_user(b"k", &[5], 0).unwrap();
        map.begin_run();
        let value = look_up(&*map, b"k");
        map.delete(Bytes::from(&b"k"[..])).unwrap();
        store(value, 6);
        assert_eq!((value_of(&*map, b"k"), load(value)), (Err(Errno::ENOENT), 6));
        assert_eq!(map.window(value.as_ptr() as u64).unwrap().len, 1);
        map.end_run();
        assert_eq!((value_of(&*map, b"k"), map.len()), (Err(Errno::ENOENT), 0));
        assert_eq!(map.window(value.as_ptr() as u64), None);
    }
}

#[test]
fn runs_within_runs_keep_values_until_the_last_has_ended() {
    let map = map(MapKind::Hash, 1, 1, 3);
    map.update_user(b"k", &[5], 0).unwrap();
    map.begin_run();
    let value = look_up(&*map, b"k");
    map.begin_run();
    assert_eq!(look_up(&*map, b"k"), value);
    map.end_run();
    store(value, 6);
    map.end_run();
    assert_eq!(value_of(&*map, b"k"), Ok(vec![6]));
}

#[test]
fn a_store_does_not_make_an_entry_of_an_lru_the_most_recent_one() {
    let keys = |map: &dyn Map| {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        map.dump_user(&mut keys, &mut values).unwrap();
        keys
    };
    let map = map(MapKind::LruHash, 1, 1, 4);
    for key in [b"a", b"b", b"c", b"d"] {
        map.update_user(key, &[1], 0).unwrap();
    }
    map.begin_run();
    let a = look_up(&*map, b"a");
    look_up(&*map, b"c");
    look_up(&*map, b"b");
    assert_eq!(keys(&*map), b"bcad");
    store(a, 9);
    assert_eq!(keys(&*map), b"bcad");
    map.end_run();
    assert_eq!(value_of(&*map, b"a"), Ok(vec![9]));
}

#[test]
fn a_queue_is_pushed_peeked_and_popped() {
    let map = map(MapKind::Queue, 0, 2, 2);
    for value in [b"ab", b"cd", b"ef"] {
        map.push(Bytes::from(&value[..]), 0).unwrap(); // the third drives out the first
    }
    assert_eq!((map.len(), value_of(&*map, b"")), (2, Ok(b"cd".to_vec())));
    for _ in 0..2 {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        assert_eq!(map.dump_user(&mut keys, &mut values), Ok(2));
        assert_eq!((keys.as_slice(), values.as_slice()), (&b""[..], &b"cdef"[..]), "and all are still there");
    }
    map.begin_run();
    let oldest = look_up(&*map, b"");
    store(oldest, b'x');
    map.end_run();
    let mut out = [0; 2];
    map.pop(BytesMut::from(&mut out[..]), false).unwrap();
    assert_eq!(&out, b"cd");
    map.pop(BytesMut::from(&mut out[..]), true).unwrap();
    let mut popped = Vec::new();
    map.lookup_and_delete_user(b"", 0, &mut popped).unwrap();
    assert_eq!((&out, popped.as_slice()), (b"cd", &b"ef"[..]));
    assert_eq!(map.pop(BytesMut::from(&mut out[..]), true), Err(Errno::ENOENT));
    assert_eq!(out, [0; 2]);
}

#[test]
fn records_are_committed_only_where_one_was_reserved() {
    let map = map(MapKind::RingBuf, 0, 0, 4096);
    let record = map.reserve(16).unwrap().as_ptr() as u64;
    for wrong in [0, 1, record + 8, record - 8, u64::MAX] {
        assert_eq!(map.commit(wrong, 0, false), Err(Errno::EINVAL));
    }
    assert_eq!(map.commit(record, 4, false), Err(Errno::EINVAL), "unknown flags");
    map.commit(record, 2, false).unwrap();
    assert_eq!(map.commit(record, 0, false), Err(Errno::EINVAL));
    for size in [4096, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(map.reserve(size), Err(Errno::EAGAIN));
    }
}

/// What a run does to a map must do to a model of it; `AXEBPF_OPERATIONS` says how often.
#[test]
fn random_operations_agree_with_a_model_and_break_nothing() {
    let operations: usize = std::env::var("AXEBPF_OPERATIONS").map_or(60_000, |n| n.parse().unwrap());
    let mut random = Random(5);
    let per_map = 600;
    for turn in 0..operations / per_map {
        let kind = KINDS[turn % KINDS.len()];
        let sizes = [1, 2, 3, 4, 7, 8, 9, 16, 100, 4096];
        let mut size = || sizes[random.below(sizes.len() as u64) as usize];
        let (key_size, value_size) = match kind {
            MapKind::Array => (4, size()),
            MapKind::Queue => (0, size()),
            MapKind::RingBuf => (0, 0),
            _ => (size(), size()),
        };
        let entries = if kind == MapKind::RingBuf { 4096 << random.below(2) } else { 1 + random.below(6) as u32 };
        let map = map(kind, key_size, value_size, entries);
        match kind {
            MapKind::RingBuf => ring_operations(&*map, &mut random, per_map),
            _ => Model::new(&*map).operate(&mut random, per_map),
        }
    }
}

/// The values that a map of kbpf-basic must have.
struct Model<'a> {
    map: &'a dyn Map,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What was looked up in this run.
    held: Vec<(Vec<u8>, NonNull<u8>)>,
}

impl<'a> Model<'a> {
    fn new(map: &'a dyn Map) -> Model<'a> {
        let mut values = BTreeMap::new();
        if map.spec().kind == MapKind::Array {
            for index in 0..map.spec().max_entries {
                values.insert(index.to_le_bytes().to_vec(), vec![0; map.spec().value_size as usize]);
            }
        }
        Model { map, values, held: Vec::new() }
    }

    fn operate(mut self, random: &mut Random, operations: usize) {
        let (kind, entries) = (self.map.spec().kind, self.map.spec().max_entries as usize);
        self.map.begin_run();
        for _ in 0..operations {
            let mut key = vec![0; self.map.spec().key_size as usize];
            if let Some(first) = key.first_mut() {
                *first = random.below(8) as u8;
            }
            let value = vec![random.below(256) as u8; self.map.spec().value_size as usize];
            let flags = [0, 0, 0, BPF_NOEXIST, BPF_EXIST, 3, 4, 8][random.below(8) as usize];
            match random.below(12) {
                0..=3 => {
                    let by_user = random.below(2) == 0;
                    let updated = if by_user {
                        self.map.update_user(&key, &value, flags)
                    } else {
                        self.map.update(0, Bytes::from(&*key), Bytes::from(&*value), flags)
                    };
                    if updated.is_ok() && kind != MapKind::Queue {
                        if kind == MapKind::LruHash && !self.values.contains_key(&key) && self.values.len() == entries {
                            self.evict();
                        }
                        self.values.insert(key, value);
                    }
                }
                4..=6 => match self.map.lookup(0, Bytes::from(&*key)) {
                    Some(found) => {
                        if kind != MapKind::Queue {
                            assert_eq!(self.bytes(found), self.values[&key]);
                        }
                        self.held.push((key, found));
                    }
                    None => assert!(kind == MapKind::Queue || !self.values.contains_key(&key)),
                },
                7..=8 => {
                    // A store through a pointer, perhaps one whose entry is gone.
                    if let Some((key, at)) =
                        self.held.get(random.below(self.held.len().max(1) as u64) as usize).cloned()
                    {
                        let offset = random.below(u64::from(self.map.spec().value_size)) as usize;
                        // SAFETY: inside a value that was looked up in this run.
                        unsafe { at.as_ptr().add(offset).write(0xee) };
                        if kind != MapKind::Queue
                            && let Some(value) = self.values.get_mut(&key)
                        {
                            // The newest lookup of a key gives the same memory as all before it.
                            value[offset] = 0xee;
                        }
                    }
                }
                9 => {
                    if self.map.delete(Bytes::from(&*key)).is_ok() && kind != MapKind::Queue {
                        // What was held of it is dead: a later entry of the key is another one to the model.
                        self.values.remove(&key);
                        self.held.retain(|(of, _)| *of != key);
                    }
                }
                10 => {
                    let mut next = Vec::new();
                    let _end = self.map.next_key_user(Some(&key), &mut next);
                    let mut out = Vec::new();
                    if self.map.lookup_and_delete_user(&key, flags, &mut out).is_ok() && kind != MapKind::Queue {
                        assert_eq!(self.values.remove(&key), Some(out));
                        self.held.retain(|(of, _)| *of != key);
                    }
                }
                _ => {
                    let mut out = value;
                    let _empty = self.map.pop(BytesMut::from(&mut *out), random.below(2) == 0);
                    if random.below(20) == 0 {
                        self.map.end_run();
                        self.held.clear();
                        self.map.begin_run();
                    }
                }
            }
            if kind != MapKind::Queue {
                self.compare();
            }
        }
        self.map.end_run();
    }

    fn bytes(&self, value: NonNull<u8>) -> Vec<u8> {
        // SAFETY: a looked-up value has the map's value size.
        unsafe { Bytes::from_raw(value.as_ptr(), self.map.spec().value_size as usize) }.to_vec()
    }

    /// An LRU map has dropped an entry: the one that is not there.
    fn evict(&mut self) {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        self.map.dump_user(&mut keys, &mut values).unwrap();
        let size = self.map.spec().key_size as usize;
        let gone = self.values.keys().find(|key| !keys.chunks(size).any(|there| there == *key)).unwrap().clone();
        self.values.remove(&gone);
        self.held.retain(|(of, _)| *of != gone);
    }

    fn compare(&self) {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        assert_eq!(self.map.dump_user(&mut keys, &mut values), Ok(self.values.len()));
        let (key_size, value_size) = (self.map.spec().key_size as usize, self.map.spec().value_size as usize);
        let there: BTreeMap<_, _> = keys.chunks(key_size).zip(values.chunks(value_size)).collect();
        assert!(self.values.iter().all(|(key, value)| there.get(&**key) == Some(&&**value)), "{:?}", self.map.spec());
        assert_eq!(self.map.len(), self.values.len());
    }
}

fn ring_operations(map: &dyn Map, random: &mut Random, operations: usize) {
    let mut reserved: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
    let mut sent: std::collections::VecDeque<Option<Vec<u8>>> = std::collections::VecDeque::new();
    for _ in 0..operations {
        match random.below(4) {
            // One record at a time, so that the order of commits is that of the records.
            0..=1 if reserved.is_empty() => {
                let size = random.below(1200) as usize;
                if let Ok(record) = map.reserve(size as u64) {
                    let byte = random.below(256) as u8;
                    // SAFETY: a reserved record has that many bytes.
                    unsafe { record.as_ptr().write_bytes(byte, size) };
                    reserved.push((record, size, byte));
                }
            }
            0..=2 => {
                if let Some((record, size, byte)) = reserved.pop() {
                    let discard = random.below(3) == 0;
                    map.commit(record.as_ptr() as u64, random.below(3), discard).unwrap();
                    sent.push_back((!discard).then(|| vec![byte; size]));
                }
            }
            _ => {
                let mut out = Vec::new();
                let taken = map.consume_user(&mut out).unwrap();
                let next = loop {
                    match sent.pop_front() {
                        Some(None) => {}
                        other => break other.flatten(),
                    }
                };
                assert_eq!(taken.then_some(out), next);
            }
        }
    }
}
