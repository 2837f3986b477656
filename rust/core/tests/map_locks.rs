//! Spin locks in values without a kernel to ask: that they exclude, what is refused, what is in reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "engine_support/mod.rs"]
mod engine_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use axebpf_core::engine::Observer;
use axebpf_core::errno::Errno;
use axebpf_core::fault::Fault;
use axebpf_core::map::{
    BPF_F_LOCK, BPF_F_RDONLY_PROG, Creation, Entries, Map, MapKind, MapSpec, SpinLock, create_as, lookup_batch,
    update_batch,
};
use axebpf_core::memory::Bytes;
use engine_support::{Lab, assemble, program, told};

fn spec(kind: MapKind, flags: u32) -> MapSpec {
    MapSpec { name: "M".to_owned(), kind, key_size: 4, value_size: 24, max_entries: 2, flags, extra: 0 }
}

fn map(kind: MapKind, lock: u32) -> Arc<dyn Map> {
    create_as(spec(kind, 0), 1, &Creation { spin_lock: Some(lock), ..Creation::default() }).expect("a valid spec")
}

#[test]
fn what_cannot_have_one() {
    for (spec, lock, name, text) in [
        (
            spec(MapKind::PercpuHash, 0),
            8,
            "EOPNOTSUPP",
            "map M: values of percpu_hash maps cannot have a bpf_spin_lock; those of array and hash maps can",
        ),
        (
            spec(MapKind::Array, BPF_F_RDONLY_PROG),
            8,
            "EACCES",
            "map M: values with a bpf_spin_lock must be readable and writable for programs; leave out BPF_F_RDONLY_PROG",
        ),
        (
            spec(MapKind::Hash, 0),
            21,
            "EINVAL",
            "map M: a bpf_spin_lock lies on a multiple of 4 within the value's 24 bytes; found it at 21",
        ),
        (
            spec(MapKind::Hash, 0),
            24,
            "EINVAL",
            "map M: a bpf_spin_lock lies on a multiple of 4 within the value's 24 bytes; found it at 24",
        ),
    ] {
        let with = Creation { spin_lock: Some(lock), ..Creation::default() };
        let error = create_as(spec, 1, &with).err().expect("it is refused");
        assert_eq!((error.errno().name(), error.to_string().as_str()), (name, text));
    }
}

#[test]
fn windows_are_what_lies_beside_the_lock() {
    for (kind, lock) in [(MapKind::Array, 0), (MapKind::Array, 8), (MapKind::Hash, 12), (MapKind::Hash, 20)] {
        let map = map(kind, lock);
        let key = Bytes::from(&[0; 4][..]);
        map.update(0, key, Bytes::from(&[0; 24][..]), 0).expect("room");
        let value = map.lookup(0, key).expect("it exists").as_ptr() as u64;
        for offset in 0..24 {
            let (lock, window) = (u64::from(lock), map.window(value + offset));
            let expected = match offset {
                _ if offset < lock => Some((value, lock)),
                _ if offset < lock + 4 => None,
                _ => Some((value + lock + 4, 20 - lock)),
            };
            assert_eq!(window.map(|window| (window.start, window.len)), expected, "{kind:?} {lock} {offset}");
            assert_eq!(map.value_around(value + offset).map(|whole| (whole.start, whole.len)), Some((value, 24)));
        }
    }
}

/// The lock of a value.
fn lock_of(map: &dyn Map) -> SpinLock<'_> {
    let value = map.lookup(0, Bytes::from(&[0; 4][..])).expect("it exists");
    // SAFETY: the lock of a value of a map that is alive.
    unsafe { SpinLock::at(value.as_ptr().wrapping_add(map.spin_lock().expect("one") as usize)) }
}

#[test]
fn no_copy_touches_a_lock_and_nobody_sees_it() {
    for kind in [MapKind::Array, MapKind::Hash] {
        let map = map(kind, 8);
        let (key, ones, mut shown) = ([0; 4], [1; 24], [1; 24]);
        shown[8..12].fill(0);
        map.update_user(&key, &ones, 0).expect("room");
        let lock = lock_of(map.as_ref());
        lock.take().expect("it is free");
        let mut out = Vec::new();
        map.lookup_user(&key, 0, &mut out).expect("it exists");
        assert_eq!(out, shown, "{kind:?}");
        if kind == MapKind::Array {
            map.update(0, Bytes::from(&key[..]), Bytes::from(&[2; 24][..]), 0).expect("room");
            map.update_user(&key, &ones, 0).expect("room");
        }
        // With the lock held by somebody who does not let go, whoever waits for it gives up.
        assert_eq!(map.lookup_user(&key, BPF_F_LOCK, &mut out), Err(Errno::EBUSY), "{kind:?}");
        lock.release();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        map.dump_user(&mut keys, &mut values).expect("readable");
        assert_eq!(values[..24], shown, "{kind:?}");
        let mut entries = Entries::default();
        let _end = lookup_batch(map.as_ref(), None, 1, BPF_F_LOCK, &mut entries);
        assert_eq!(entries.values, shown, "{kind:?}");
        assert_eq!(update_batch(map.as_ref(), &[(&key, &ones)], BPF_F_LOCK), Ok(()));
    }
}

const ADD: &str = "\
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[0]
call bpf_map_lookup_elem
if r0 == 0 goto out
r6 = r0
r1 = r6
r1 += 8
call bpf_spin_lock
r1 = *(u64 *)(r6 +0)
r1 += 1
*(u64 *)(r6 +0) = r1
r1 = *(u64 *)(r6 +16)
r1 += 1
*(u64 *)(r6 +16) = r1
r1 = r6
r1 += 8
call bpf_spin_unlock
r0 = 0
out:
exit
";

#[test]
fn a_lock_excludes() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 3000;
    for kind in [MapKind::Array, MapKind::Hash] {
        let map = map(kind, 8);
        map.update_user(&[0; 4], &[0; 24], 0).expect("room");
        let maps = [map.clone()];
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut lab = Lab::load(program(assemble(ADD), &maps), &maps, 64).expect("it loads");
                        for _ in 0..ROUNDS {
                            assert_eq!(told(&lab.run()), "0x0");
                        }
                    })
                })
                .collect();
            // Both counters are the same whenever somebody looks under the lock.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut out = Vec::new();
                    map.lookup_user(&[0; 4], BPF_F_LOCK, &mut out).expect("it exists");
                    assert_eq!(out[..8], out[16..]);
                }
            });
            for writer in writers {
                writer.join().expect("no panic");
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut out = Vec::new();
        map.lookup_user(&[0; 4], 0, &mut out).expect("it exists");
        let count = (THREADS * ROUNDS).to_le_bytes();
        assert_eq!((&out[..8], &out[16..]), (&count[..], &count[..]), "{kind:?}");
    }
}

/// Ends a run when it is under the lock.
struct StopsUnderLock;

impl Observer for StopsUnderLock {
    fn before(&mut self, insn: usize, _registers: &[u64; 11], _depth: usize) -> Result<(), Box<Fault>> {
        let under = insn == 12;
        if under { Err(Box::new(Fault::Instruction { what: "enough".to_owned() })) } else { Ok(()) }
    }
}

#[test]
fn a_run_that_is_stopped_lets_go() {
    let maps = [map(MapKind::Array, 8)];
    let mut lab = Lab::load(program(assemble(ADD), &maps), &maps, 64).expect("it loads");
    assert!(told(&lab.observe(&mut StopsUnderLock)).contains("enough"));
    lock_of(maps[0].as_ref()).take().expect("it is free");
}

/// What a program calls, and how, while it holds the lock of r6.
const CALLS: [&str; 5] = [
    "r1 = 1\nr2 = subprog[callback]\nr3 = 0\nr4 = 0\ncall bpf_loop",
    "call helper#65536",
    "r5 = 7\ncallx r5",
    "r1 = r9\nr2 = map[1]\nr3 = 0\ncall bpf_tail_call",
    "r2 = r10\nr2 += -4\nr1 = map[0]\ncall bpf_map_delete_elem",
];

#[test]
fn nothing_is_called_under_a_lock() {
    let programs = create_as(MapSpec { value_size: 4, ..spec(MapKind::ProgArray, 0) }, 1, &Creation::default());
    let maps = [map(MapKind::Array, 8), programs.expect("a valid spec")];
    let before = ADD.split("r1 = *(u64 *)(r6 +0)").next().expect("a part");
    for call in CALLS {
        let text = format!("r9 = r1\n{before}{call}\nout:\nr0 = 0\nexit\ncallback:\nr0 = 0\nexit");
        let mut lab =
            Lab::load(program(assemble(&text), &maps), &maps, 64).unwrap_or_else(|error| panic!("{error}: {call}"));
        let told = told(&lab.run());
        assert!(
            told.contains("function calls are not allowed while holding a lock: the program holds M[0]+8"),
            "{told}"
        );
    }
}

#[test]
fn a_callback_gives_its_lock_back() {
    let maps = [map(MapKind::Array, 8)];
    let before = ADD.split("r1 = *(u64 *)(r6 +0)").next().expect("a part");
    let text = format!(
        "r1 = 3\nr2 = subprog[callback]\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\ncallback:\n{before}r0 = 0\nout:\nexit"
    );
    let mut lab = Lab::load(program(assemble(&text), &maps), &maps, 64).expect("it loads");
    let told = told(&lab.run());
    assert!(told.contains("inside bpf_spin_lock-ed region: the program still holds M[0]+8"), "{told}");
    lock_of(maps[0].as_ref()).take().expect("it is free");
}

#[test]
fn a_lock_that_nobody_gives_back_stops_a_run() {
    let maps = [map(MapKind::Array, 8)];
    lock_of(maps[0].as_ref()).take().expect("it is free");
    let told = told(&Lab::load(program(assemble(ADD), &maps), &maps, 64).expect("it loads").run());
    assert!(told.contains("bpf_spin_lock of M[0]+8: it waited for a long time, and nobody lets go of it"), "{told}");
}

#[test]
fn what_is_no_value_of_a_map_has_no_lock() {
    let maps = [map(MapKind::Array, 8)];
    for (address, place) in [("r1 = r10\nr1 += -8", "stack-8"), ("r1 = 64", "0x40")] {
        let text = format!("{address}\ncall bpf_spin_lock\nr0 = 0\nexit");
        let told = told(&Lab::load(program(assemble(&text), &maps), &maps, 64).expect("it loads").run());
        assert!(told.contains(&format!("its argument is {place}, which is in no value of a map")), "{told}");
    }
}
