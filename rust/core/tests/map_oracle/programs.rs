//! Random helper calls on both sides: the kernel's through raw tracepoint programs that it runs on request, with the
//! key, value and flags as arguments.

use std::ptr::NonNull;
use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{BPF_F_NO_PREALLOC, Map, MapKind, MapSpec, create};
use axebpf_core::memory::{Bytes, BytesMut};

use crate::kernel::{self, KernelMap, Program};
use crate::map_support::{Random, spec, walk};
use crate::operations;

/// What a program returns where a look-up finds nothing.
const MISSING: i32 = -1000;

/// A slot: opcode, destination, source, offset, immediate.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let (off, imm) = (off.to_le_bytes(), imm.to_le_bytes());
    [code, dst | src << 4, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

fn mov(dst: u8, src: u8) -> [u8; 8] {
    insn(0xbf, dst, src, 0, 0)
}

fn set(dst: u8, imm: i32) -> [u8; 8] {
    insn(0xb7, dst, 0, 0, imm)
}

fn add(dst: u8, imm: i32) -> [u8; 8] {
    insn(0x07, dst, 0, 0, imm)
}

fn call(helper: i32) -> [u8; 8] {
    insn(0x85, 0, 0, 0, helper)
}

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// The programs over one map. In each, r6 is the first argument (key), r7 the second (value), r8 the third (flags);
/// the key is at r10-8 and the value at r10-16.
pub struct Programs {
    pub lookup: Program,
    add: Program,
    lookup_percpu: Option<Program>,
    pub update: Program,
    held: Program,
    pub delete: Program,
}

fn program(map: &KernelMap, body: &[[u8; 8]]) -> Program {
    let mut insns = vec![insn(0x79, 6, 1, 0, 0), insn(0x79, 7, 1, 8, 0), insn(0x79, 8, 1, 16, 0)];
    insns.extend([insn(0x7b, 10, 6, -8, 0), insn(0x7b, 10, 7, -16, 0)]);
    for step in body {
        // A call is preceded by its map.
        if step[0] == 0x85 {
            insns.extend([insn(0x18, 1, 1, 0, map.fd()), insn(0, 0, 0, 0, 0)]);
        }
        insns.push(*step);
    }
    insns.push(EXIT);
    Program::load(&insns)
}

/// r2 = the key, r3 = the value, r4 = flags.
fn key_value_flags() -> [[u8; 8]; 5] {
    [mov(2, 10), add(2, -8), mov(3, 10), add(3, -16), mov(4, 8)]
}

/// Return [`MISSING`] unless r0 is a pointer.
fn or_missing() -> [[u8; 8]; 3] {
    [insn(0x55, 0, 0, 2, 0), set(0, MISSING), EXIT]
}

const READ: [u8; 8] = [0x79, 0, 0, 0, 0, 0, 0, 0];

impl Programs {
    pub fn new(map: &KernelMap, kind: MapKind) -> Programs {
        let lookup = [&[mov(2, 10), add(2, -8), call(1)][..], &or_missing()].concat();
        let update = [&key_value_flags()[..], &[call(2)]].concat();
        let percpu = [&[mov(2, 10), add(2, -8), mov(3, 7), call(195)][..], &or_missing(), &[READ]].concat();
        // An atomic add to the value; returns what it was before.
        let add_value = [insn(0xdb, 0, 7, 0, 1), mov(0, 7)];
        // The value as a pointer from before an update shows it after.
        let held = [&lookup[..], &[mov(9, 0)], &update, &[insn(0x79, 0, 9, 0, 0)]].concat();
        Programs {
            lookup: program(map, &[&lookup[..], &[READ]].concat()),
            add: program(map, &[&lookup[..], &add_value].concat()),
            lookup_percpu: kind.is_per_cpu().then(|| program(map, &percpu)),
            update: program(map, &update),
            held: program(map, &held),
            delete: program(map, &[mov(2, 10), add(2, -8), call(3)]),
        }
    }
}

fn read(value: Option<NonNull<u8>>) -> i32 {
    // SAFETY: a value of eight bytes, 8-aligned, of a map that is alive.
    value.map_or(MISSING, |value| unsafe { value.cast::<u64>().read() } as i32)
}

pub fn r0(result: Result<(), Errno>) -> i32 {
    result.map_or_else(|errno| errno.to_r0() as i32, |()| 0)
}

/// A key as a number.
fn key(kind: MapKind, random: &mut Random) -> u64 {
    if kind != MapKind::LpmTrie {
        return random.below(12);
    }
    let bits = random.pick(&[0_u64, 1, 0x80, 0xff80, 0x8000_0080, 0xffff_ffff]);
    bits << 32 | random.pick(&[0, 1, 8, 9, 31, 32, 33])
}

fn keyed(spec: &MapSpec, seed: u64) {
    let cpus = kernel::cpus();
    let ours: Arc<dyn Map> = create(spec.clone(), cpus).expect("a valid spec");
    // SAFETY: this thread has the map to itself, as a bench has its maps.
    unsafe { ours.set_alone(true) };
    let theirs = KernelMap::create(spec, cpus).expect("a valid spec");
    let programs = Programs::new(&theirs, spec.kind);
    let mut random = Random(seed);
    for _ in 0..operations(4000) {
        let (number, value) = (key(spec.kind, &mut random), random.next());
        let flags = random.pick(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1 << 40]);
        let cpu = random.below(u64::from(cpus)) as u32;
        let (key_bytes, value_bytes) = (number.to_le_bytes(), value.to_le_bytes());
        let key = Bytes::from(&key_bytes[..spec.key_size as usize]);
        let (new, args) = (Bytes::from(&value_bytes[..]), [number, value, flags]);
        let what = format!("key {number} value {value:#x} flags {flags} cpu {cpu} in {spec:?}");
        match random.below(12) {
            0..4 => assert_eq!(r0(ours.update(cpu, key, new, flags)), programs.update.run(cpu, args), "update {what}"),
            4..6 => assert_eq!(read(ours.lookup(cpu, key)), programs.lookup.run(cpu, args), "lookup {what}"),
            6 => {
                let found = ours.lookup(cpu, key);
                let expected = read(found);
                if let Some(found) = found {
                    // SAFETY: as in `read`.
                    unsafe { found.cast::<u64>().write(found.cast::<u64>().read().wrapping_add(value)) };
                }
                assert_eq!(expected, programs.add.run(cpu, args), "add {what}");
            }
            7 => {
                let Some(program) = &programs.lookup_percpu else { continue };
                let other = random.below(u64::from(cpus) + 2);
                let theirs = program.run(cpu, [number, other, 0]);
                assert_eq!(read(ours.lookup(other as u32, key)), theirs, "lookup_percpu {other} {what}");
            }
            8 => {
                let held = ours.lookup(cpu, key);
                if held.is_some() {
                    // Its result shows in the value.
                    let _ = ours.update(cpu, key, new, flags);
                }
                assert_eq!(read(held), programs.held.run(cpu, args), "held {what}");
            }
            9 => {
                let mut out = Vec::new();
                let ours = ours.lookup_user(&key.to_vec(), 0, &mut out).map(|()| out).map_err(|errno| errno.0);
                assert_eq!(ours, theirs.lookup(&key.to_vec(), 0), "bpf(2) lookup {what}");
            }
            _ => assert_eq!(r0(ours.delete(key)), programs.delete.run(cpu, args), "delete {what}"),
        }
    }
    let count = walk(ours.as_ref()).len();
    assert_eq!(theirs.walk(None, 4096, false, 0).1.count as usize, count);
}

#[test]
fn lookup_update_delete() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    for (seed, flags) in [(1, 0), (2, BPF_F_NO_PREALLOC)] {
        for kind in [MapKind::Hash, MapKind::PercpuHash] {
            keyed(&spec(kind, 8, 8, 7, flags), seed);
        }
    }
    for kind in [MapKind::Array, MapKind::PercpuArray] {
        keyed(&spec(kind, 4, 8, 7, 0), 3);
    }
    for kind in [MapKind::LruHash, MapKind::LruPercpuHash] {
        keyed(&spec(kind, 8, 8, 1024, 0), 4);
    }
    keyed(&spec(MapKind::LpmTrie, 8, 8, 12, BPF_F_NO_PREALLOC), 5);
}

#[test]
fn push_pop_peek() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    for kind in [MapKind::Queue, MapKind::Stack] {
        let spec = spec(kind, 0, 8, 5, 0);
        let ours = create(spec.clone(), 1).expect("a valid spec");
        let theirs = KernelMap::create(&spec, 1).expect("a valid spec");
        let push = program(&theirs, &[mov(2, 10), add(2, -16), mov(3, 8), call(87)]);
        // What the buffer holds afterwards, or the error if that is zero.
        let take = [mov(2, 10), add(2, -16), call(0), insn(0x79, 1, 10, -16, 0), insn(0x15, 1, 0, 1, 0), mov(0, 1)];
        let with = |helper| take.map(|step| if step[0] == 0x85 { call(helper) } else { step });
        let (pop, peek) = (program(&theirs, &with(88)), program(&theirs, &with(89)));
        let mut random = Random(5);
        for _ in 0..operations(10_000) {
            let (value, flags) = (random.next() | 1, random.pick(&[0, 0, 0, 1, 2, 3, 4, 1 << 40]));
            let args = [0, value, flags];
            match random.below(5) {
                0..2 => {
                    let ours = ours.push(Bytes::from(&value.to_le_bytes()[..]), flags);
                    assert_eq!(r0(ours), push.run(0, args), "push flags {flags}");
                }
                step => {
                    let remove = step == 2;
                    let mut buffer = value.to_le_bytes();
                    let result = ours.pop(BytesMut::from(&mut buffer[..]), remove);
                    let shown = match u64::from_le_bytes(buffer) {
                        0 => r0(result),
                        value => value as i32,
                    };
                    assert_eq!(shown, if remove { &pop } else { &peek }.run(0, args), "take, remove {remove}");
                }
            }
        }
    }
}

#[test]
fn ring_buffer() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    const SIZES: [i32; 12] = [0, 1, 7, 8, 9, 100, 1000, 2000, 4079, 4080, 4081, 5000];
    for seed in 0..4 {
        let spec = spec(MapKind::RingBuf, 0, 0, 4096 << (seed & 1), 0);
        let ours = create(spec.clone(), 1).expect("a valid spec");
        let theirs = KernelMap::create(&spec, 1).expect("a valid spec");
        // Reserve, write the argument where it fits, then submit or discard with flags that mean nothing.
        let commit = SIZES.map(|size| {
            [132, 133].map(|helper| {
                let write = if size >= 8 { insn(0x7b, 0, 7, 0, 0) } else { mov(7, 7) };
                let mut body = vec![set(2, size), set(3, 0), call(131)];
                body.extend(or_missing());
                body.extend([write, mov(9, 0)]);
                let prologue = [insn(0x79, 7, 1, 8, 0)];
                let tail = [mov(1, 9), set(2, 0x7c), call(helper), set(0, 0), EXIT];
                Program::load(&[&prologue[..], &with_map(&theirs, &body), &tail].concat())
            })
        });
        let query = program(&theirs, &[mov(2, 6), call(134)]);
        let mut consumer = theirs.ring(spec.max_entries as usize);
        let mut random = Random(seed);
        for _ in 0..operations(5000) {
            match random.below(8) {
                0..4 => {
                    let (which, value) = (random.below(SIZES.len() as u64) as usize, random.next());
                    let discard = random.below(4) == 0;
                    let record = ours.reserve(SIZES[which] as u64);
                    let done = record.map(|record| {
                        if SIZES[which] >= 8 {
                            // SAFETY: a reserved record of at least eight bytes, 8-aligned.
                            unsafe { record.cast::<u64>().write(value) };
                        }
                        ours.commit(record.as_ptr() as u64, 0x7c, discard).expect("it is reserved");
                    });
                    let result = commit[which][usize::from(discard)].run(0, [0, value, 0]);
                    assert_eq!(if done.is_ok() { 0 } else { MISSING }, result, "{} bytes", SIZES[which]);
                }
                4 => {
                    let what = random.below(6);
                    assert_eq!(ours.query(what) as i32, query.run(0, [what, 0, 0]), "query {what}");
                }
                _ => {
                    let mut out = Vec::new();
                    let ours = ours.consume_user(&mut out).expect("a ring buffer").then_some(out);
                    // Beyond the eight bytes written, a record holds what was in the ring before.
                    let short = |record: Option<Vec<u8>>| {
                        record.map(|record| (record.len(), record.get(..8).map(<[u8]>::to_vec)))
                    };
                    assert_eq!(short(ours), short(consumer.next()));
                }
            }
        }
    }
}

fn with_map(map: &KernelMap, body: &[[u8; 8]]) -> Vec<[u8; 8]> {
    let load = [insn(0x18, 1, 1, 0, map.fd()), insn(0, 0, 0, 0, 0)];
    body.iter().flat_map(|step| if step[0] == 0x85 { [&load[..], &[*step]].concat() } else { vec![*step] }).collect()
}
