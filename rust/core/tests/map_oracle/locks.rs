//! Spin locks in values: where Linux sees one, which maps may have them, what bpf(2) does with them, and what its verifier
//! says of programs that use them wrongly.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use axebpf_core::btf::Btf;
use axebpf_core::errno::Errno;
use axebpf_core::isa::opcode::imm64;
use axebpf_core::isa::{Insn, Op, decode};
use axebpf_core::map::{
    BPF_EXIST, BPF_F_LOCK, BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, BPF_NOEXIST,
    Creation, Map, MapKind, MapSpec, Objects, create_as,
};
use axebpf_core::program::ProgramType;

use crate::engine_support::{Lab, assemble, program, told};
use crate::kernel::{self, Attr, KernelMap, Program, RAW_TRACEPOINT, XDP};
use crate::map_support::{Random, spec};

/// Types as `.BTF` has them (kernel document `bpf/btf.rst`), written one by one.
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    last: u32,
}

/// The types that every case has, by number.
const WORD: u32 = 1;
const LONG: u32 = 2;
const LOCK: u32 = 3;

impl Writer {
    fn new() -> Writer {
        let mut writer = Writer { types: Vec::new(), strings: vec![0], last: 0 };
        assert_eq!(writer.add("word", 1 << 24, 4, &[32]), WORD);
        assert_eq!(writer.add("long", 1 << 24, 8, &[64]), LONG);
        assert_eq!(writer.structure("bpf_spin_lock", 4, &[(WORD, 0)]), LOCK);
        writer
    }

    fn text(&mut self, text: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(text.bytes().chain([0]));
        if text.is_empty() { 0 } else { at }
    }

    /// A type: its name, `info`, size or type, and what follows.
    fn add(&mut self, name: &str, info: u32, size: u32, rest: &[u32]) -> u32 {
        let name = self.text(name);
        self.types.extend([name, info, size].iter().chain(rest).flat_map(|word| word.to_le_bytes()));
        self.last += 1;
        self.last
    }

    /// A structure (kind 4) or union (5) with members of a type, at a byte.
    fn members(&mut self, kind: u32, name: &str, size: u32, members: &[(u32, u32)]) -> u32 {
        let member = self.text("m");
        let rest: Vec<u32> = members.iter().flat_map(|(id, at)| [member, *id, at * 8]).collect();
        self.add(name, kind << 24 | members.len() as u32, size, &rest)
    }

    fn structure(&mut self, name: &str, size: u32, members: &[(u32, u32)]) -> u32 {
        self.members(4, name, size, members)
    }

    fn array(&mut self, of: u32, len: u32) -> u32 {
        self.add("", 3 << 24, 0, &[of, WORD, len])
    }

    fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let header = [0x1_eb9f, 24, 0, types, types, strings].map(u32::to_le_bytes).concat();
        [header, self.types, self.strings].concat()
    }
}

/// BTF in the kernel.
fn load(btf: &[u8]) -> Result<OwnedFd, i32> {
    const BTF_LOAD: i64 = 18;
    let mut log = vec![0_u8; 65536];
    let attr = Attr::new().u64(0, btf.as_ptr() as u64).u64(8, log.as_mut_ptr() as u64);
    { attr.u32(16, btf.len() as u32).u32(20, log.len() as u32).u32(24, 1) }.call(BTF_LOAD).map(kernel::owned)
}

/// A value of 16 bytes with a lock at 0 or 8, in the kernel.
fn types_with_lock(at: u32) -> (OwnedFd, u32) {
    let mut writer = Writer::new();
    let value = writer.structure("value", 16, &if at == 0 { [(LOCK, 0), (LONG, 8)] } else { [(LONG, 0), (LOCK, 8)] });
    (load(&writer.finish()).expect("types"), value)
}

/// The same map on both sides, with a lock in its values or none.
fn both(spec: &MapSpec, lock: Option<u32>) -> (Arc<dyn Map>, KernelMap) {
    let with = Creation { spin_lock: lock, ..Creation::default() };
    let ours = create_as(spec.clone(), 1, &with).expect("a valid spec");
    let (btf, value) = types_with_lock(lock.unwrap_or(0));
    let types = [btf.as_raw_fd() as u32, WORD, value];
    (ours, KernelMap::create_typed(spec, 1, 0, if lock.is_some() { types } else { [0; 3] }).expect("a valid spec"))
}

/// A type of a value of 16 bytes, and what it is.
type Case = (&'static str, fn(&mut Writer) -> u32);

const CASES: [Case; 21] = [
    ("at the front", |w| w.structure("v", 16, &[(LOCK, 0), (WORD, 4), (LONG, 8)])),
    ("behind", |w| w.structure("v", 16, &[(LONG, 0), (LOCK, 8), (WORD, 12)])),
    ("at the end", |w| w.structure("v", 16, &[(LONG, 0), (WORD, 8), (LOCK, 12)])),
    ("two", |w| w.structure("v", 16, &[(LOCK, 0), (LOCK, 4), (LONG, 8)])),
    ("not on a multiple of four", |w| w.structure("v", 16, &[(LOCK, 2), (LONG, 8)])),
    ("in a structure", |w| {
        let inner = w.structure("inner", 8, &[(LOCK, 0), (WORD, 4)]);
        w.structure("v", 16, &[(LONG, 0), (inner, 8)])
    }),
    ("not on a multiple of four in a structure", |w| {
        let inner = w.structure("inner", 5, &[(LOCK, 1)]);
        w.structure("v", 16, &[(inner, 0), (LONG, 8)])
    }),
    ("deep in structures", |w| {
        let deepest = (0..31).fold(LOCK, |inner, n| w.structure(&format!("s{n}"), 4, &[(inner, 0)]));
        w.structure("v", 16, &[(LONG, 0), (deepest, 8)])
    }),
    ("too deep in structures", |w| {
        let deepest = (0..32).fold(LOCK, |inner, n| w.structure(&format!("s{n}"), 4, &[(inner, 0)]));
        w.structure("v", 16, &[(LONG, 0), (deepest, 8)])
    }),
    ("an array of one", |w| {
        let array = w.array(LOCK, 1);
        w.structure("v", 16, &[(array, 0), (LONG, 8)])
    }),
    ("an array of one of one", |w| {
        let array = w.array(LOCK, 1);
        let array = w.array(array, 1);
        w.structure("v", 16, &[(LONG, 0), (array, 8)])
    }),
    ("an array of two", |w| {
        let array = w.array(LOCK, 2);
        w.structure("v", 16, &[(array, 0), (LONG, 8)])
    }),
    ("an array of one structure", |w| {
        let inner = w.structure("inner", 8, &[(LOCK, 0), (WORD, 4)]);
        let array = w.array(inner, 1);
        w.structure("v", 16, &[(LONG, 0), (array, 8)])
    }),
    ("an array of two structures", |w| {
        let inner = w.structure("inner", 8, &[(LOCK, 0), (WORD, 4)]);
        let array = w.array(inner, 2);
        w.structure("v", 16, &[(array, 0)])
    }),
    ("by a typedef", |w| {
        let named = w.add("named", 8 << 24, LOCK, &[]);
        w.structure("v", 16, &[(named, 0), (LONG, 8)])
    }),
    ("volatile", |w| {
        let named = w.add("", 9 << 24, LOCK, &[]);
        w.structure("v", 16, &[(named, 0), (LONG, 8)])
    }),
    ("in a union", |w| {
        let union = w.members(5, "u", 8, &[(LOCK, 0), (LONG, 0)]);
        w.structure("v", 16, &[(union, 0), (LONG, 8)])
    }),
    ("a pointer to one", |w| {
        let pointer = w.add("", 2 << 24, LOCK, &[]);
        w.structure("v", 16, &[(pointer, 0), (LONG, 8)])
    }),
    ("of another size", |w| {
        let large = w.structure("bpf_spin_lock", 8, &[(WORD, 0)]);
        w.structure("v", 16, &[(large, 0), (LONG, 8)])
    }),
    ("in a value that has a typedef", |w| {
        let value = w.structure("v", 16, &[(LOCK, 0), (LONG, 8)]);
        w.add("named", 8 << 24, value, &[])
    }),
    ("in the element of an array that is the value", |w| {
        let value = w.structure("v", 16, &[(LOCK, 0), (LONG, 8)]);
        w.array(value, 1)
    }),
];

#[test]
fn where_a_lock_is() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    for (what, case) in CASES {
        let mut writer = Writer::new();
        let value = case(&mut writer);
        let btf = writer.finish();
        let ours = Btf::parse(&btf).expect("BTF").spin_locks(value).expect("a type");
        let Ok(theirs) = load(&btf) else {
            assert!(ours.len() > 1 || !ours[0].is_multiple_of(4), "{what}: {ours:?}");
            continue;
        };
        let types = [theirs.as_raw_fd() as u32, WORD, value];
        let map = KernelMap::create_typed(&spec(MapKind::Array, 4, 16, 1, 0), 1, 0, types).expect("a valid map");
        map.update(&[0; 4], &[0xff; 16], 0).expect("an array");
        // The lock is what an update does not change.
        let found = map.lookup(&[0; 4], 0).expect("an array");
        let theirs: Vec<u32> =
            (0..).zip(found.chunks(4)).filter(|(_, word)| *word == [0; 4]).map(|(n, _)| 4 * n).collect();
        assert_eq!(ours, theirs, "{what}");
    }
}

#[test]
fn which_maps_may_have_one() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (btf, value) = types_with_lock(8);
    for kind in MapKind::offered().filter(|kind| !kind.is_of_maps()) {
        for flags in [0, BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG] {
            let keyless = matches!(kind, MapKind::Queue | MapKind::Stack | MapKind::RingBuf | MapKind::BloomFilter);
            let (key_size, key) = if keyless {
                (0, 0)
            } else if kind == MapKind::LpmTrie {
                (8, LONG)
            } else {
                (4, WORD)
            };
            let by_number = kind.rules().is_some_and(|rules| rules.by_number);
            let (value_size, entries) = if kind == MapKind::RingBuf { (0, 4096) } else { (16, 4) };
            let spec = spec(kind, key_size, if by_number { 4 } else { value_size }, entries, flags);
            let with = Creation { spin_lock: Some(8), ..Creation::default() };
            let ours = create_as(spec.clone(), 1, &with).err().map_or(0, |error| error.errno().0);
            let theirs = KernelMap::create_typed(&spec, 1, 0, [btf.as_raw_fd() as u32, key, value]).err().unwrap_or(0);
            assert_eq!(ours, theirs, "{spec:?}");
        }
    }
}

fn errno<T>(result: Result<T, Errno>) -> Result<T, i32> {
    result.map_err(|errno| errno.0)
}

#[test]
fn random_operations_of_bpf2() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut random = Random(1);
    for (kind, flags) in [(MapKind::Array, 0), (MapKind::Hash, 0), (MapKind::Hash, BPF_F_NO_PREALLOC)] {
        for lock in [None, Some(0), Some(8)] {
            let spec = spec(kind, 4, 16, 5, flags);
            let (ours, theirs) = both(&spec, lock);
            for n in 0..2000 {
                let (key, value) = (random.below(7) as u32, [random.next(), random.next()]);
                let (key, value) = (key.to_le_bytes(), value.map(u64::to_le_bytes).concat());
                let locked = random.pick(&[0, 0, BPF_F_LOCK]);
                let flags = locked | random.pick(&[0, 0, 0, BPF_NOEXIST, BPF_EXIST, 3, 8]);
                let what = format!("operation {n} on {key:?} with flags {flags} and a lock at {lock:?} in {spec:?}");
                match random.below(6) {
                    0..3 => assert_eq!(
                        errno(ours.update_user(&key, &value, flags)),
                        theirs.update(&key, &value, flags),
                        "{what}"
                    ),
                    3 => {
                        let mut out = Vec::new();
                        let found = errno(ours.lookup_and_delete_user(&key, flags, &mut out)).map(|()| out);
                        assert_eq!(found, theirs.lookup_and_delete(&key, flags), "{what}");
                    }
                    _ => {
                        let mut out = Vec::new();
                        let found = errno(ours.lookup_user(&key, flags, &mut out)).map(|()| out);
                        assert_eq!(found, theirs.lookup(&key, flags), "{what}");
                    }
                }
            }
        }
    }
}

/// A value of the map in slot 0 into r6, one of the map in slot 1 into r7.
const VALUES: &str = "\
*(u32 *)(r10 -4) = 1
r2 = r10
r2 += -4
r1 = map[0]
call bpf_map_lookup_elem
if r0 == 0 goto out
r6 = r0
r2 = r10
r2 += -4
r1 = map[1]
call bpf_map_lookup_elem
if r0 == 0 goto out
r7 = r0
";

/// What a program does with the values, whose lock is at 0, and how the verifier's complaint begins; empty for none.
const PROGRAMS: [(&str, &str); 17] = [
    ("r1 = r6\ncall bpf_spin_lock\n*(u64 *)(r6 +8) = 1\nr1 = r6\ncall bpf_spin_unlock", ""),
    ("r1 = r6\ncall bpf_spin_lock\nr1 = *(u32 *)(r6 +4)\n*(u64 *)(r6 +8) = r1\nr1 = r6\ncall bpf_spin_unlock", ""),
    (
        "r1 = r6\ncall bpf_spin_lock\nr1 = r6\ncall bpf_spin_unlock\nr1 = r7\ncall bpf_spin_lock\nr1 = r7\ncall bpf_spin_unlock",
        "",
    ),
    ("r1 = r6\ncall bpf_spin_lock\nr1 = r6\ncall bpf_spin_lock", "function calls are not allowed while holding a lock"),
    ("r1 = r6\ncall bpf_spin_lock\nr1 = r7\ncall bpf_spin_lock", "function calls are not allowed while holding a lock"),
    ("r1 = r6\ncall bpf_spin_lock\ncall bpf_ktime_get_ns", "function calls are not allowed while holding a lock"),
    ("r1 = r6\ncall bpf_spin_unlock", "bpf_spin_unlock without taking a lock"),
    ("r1 = r6\ncall bpf_spin_lock\nr1 = r7\ncall bpf_spin_unlock", "bpf_spin_unlock of different lock"),
    ("r1 = r6\ncall bpf_spin_lock", "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region"),
    ("r1 = r6\nr1 += 8\ncall bpf_spin_lock", "off 8 doesn't point to 'struct bpf_spin_lock' that is at 0"),
    ("r1 = *(u32 *)(r6 +0)", "bpf_spin_lock cannot be accessed directly by load/store"),
    ("r1 = *(u64 *)(r6 +0)", "bpf_spin_lock cannot be accessed directly by load/store"),
    ("r1 = *(u8 *)(r6 +3)", "bpf_spin_lock cannot be accessed directly by load/store"),
    ("*(u32 *)(r6 +0) = 1", "bpf_spin_lock cannot be accessed directly by load/store"),
    ("r1 = 1\nlock *(u32 *)(r6 +0) += r1", "bpf_spin_lock cannot be accessed directly by load/store"),
    ("r2 = r6\nr1 = map[0]\ncall bpf_map_lookup_elem", "bpf_spin_lock cannot be accessed directly by load/store"),
    ("r1 = *(u8 *)(r6 +4)\nr2 = *(u64 *)(r6 +8)", ""),
];

/// The instructions with descriptors in place of slots.
fn for_kernel(insns: &[Insn], maps: &[&KernelMap]) -> Vec<[u8; 8]> {
    let patched = insns.iter().map(|insn| match (insn.code, insn.src) {
        (0x18, imm64::MAP_FD) => Insn { imm: maps[insn.imm as usize].fd(), ..*insn },
        _ => *insn,
    });
    patched.map(Insn::to_bytes).collect()
}

#[test]
fn what_the_verifier_says_stops_a_run() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let spec = spec(MapKind::Array, 4, 16, 2, 0);
    for (body, complaint) in PROGRAMS {
        let (first, second) = (both(&spec, Some(0)), both(&spec, Some(0)));
        let insns = assemble(&format!("{VALUES}{body}\nout:\nr0 = 0\nexit"));
        let theirs = Program::load_as(XDP, &for_kernel(&insns, &[&first.1, &second.1]));
        let maps = [first.0, second.0];
        let mut lab = Lab::load(program(insns, &maps), &maps, 64).expect("it loads");
        let ours = told(&lab.run());
        match theirs {
            Ok(_) => assert_eq!(("", ours.as_str()), (complaint, "0x0"), "{body}"),
            Err((_, log)) => {
                assert!(!complaint.is_empty() && log.contains(complaint), "{body}: {log}");
                assert!(ours.contains(complaint), "{body}: {ours}");
            }
        }
        // Whatever became of the run, the locks are free.
        for map in &maps {
            assert_eq!(map.update_user(&1_u32.to_le_bytes(), &[0; 16], BPF_F_LOCK), Ok(()), "{body}");
        }
    }
}

#[test]
fn a_value_without_a_lock_cannot_be_locked() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (ours, theirs) = both(&spec(MapKind::Array, 4, 16, 2, 0), None);
    let insns =
        assemble(&format!("{VALUES}r1 = r6\ncall bpf_spin_lock\nr1 = r6\ncall bpf_spin_unlock\nout:\nr0 = 0\nexit"));
    let (_, log) = Program::load_as(XDP, &for_kernel(&insns, &[&theirs, &theirs])).err().expect("it is refused");
    let maps = [ours.clone(), ours];
    let told = told(&Lab::load(program(insns, &maps), &maps, 64).expect("it loads").run());
    // There, the map has no name.
    assert!(log.contains("map '' has to have BTF in order to use bpf_spin_lock"), "{log}");
    assert!(told.contains("map 'M' has to have BTF in order to use bpf_spin_lock"), "{told}");
}

#[test]
fn which_programs_may_use_them() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (_, theirs) = both(&spec(MapKind::Array, 4, 16, 2, 0), Some(0));
    let insns = assemble(&format!("{VALUES}out:\nr0 = 0\nexit"));
    assert!(insns.iter().enumerate().all(|(at, _)| !matches!(decode(&insns, at), Ok((Op::CallHelper { id: 93 }, _)))));
    let code = for_kernel(&insns, &[&theirs, &theirs]);
    for (of, number) in [
        (ProgramType::SocketFilter, 1),
        (ProgramType::Kprobe, 2),
        (ProgramType::Tracepoint, 5),
        (ProgramType::Xdp, XDP),
        (ProgramType::PerfEvent, 7),
        (ProgramType::RawTracepoint, RAW_TRACEPOINT),
    ] {
        let refused = Program::load_as(number, &code).err().map(|(_, log)| log);
        assert_eq!(of.may_lock(), refused.is_none(), "{of:?}: {refused:?}");
        assert!(refused.is_none_or(|log| log.contains("progs cannot use bpf_spin_lock yet")));
    }
}

/// One map, as the thing of number 0.
struct One(Arc<dyn Map>);

impl Objects for One {
    fn map(&self, _number: u32) -> Result<Arc<dyn Map>, Errno> {
        Ok(self.0.clone())
    }

    fn program(&self, _number: u32) -> Result<(Option<ProgramType>, String), Errno> {
        Err(Errno::EBADF)
    }
}

#[test]
fn inner_maps_have_the_lock_where_the_template_has_it() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let inner = spec(MapKind::Array, 4, 16, 2, 0);
    let outer = spec(MapKind::ArrayOfMaps, 4, 4, 2, 0);
    let locks = [None, Some(0), Some(8)];
    for template in locks {
        let (our_template, their_template) = both(&inner, template);
        let ours =
            create_as(outer.clone(), 1, &Creation { inner: Some(&*our_template), ..Creation::default() }).unwrap();
        let theirs = KernelMap::create_with(&outer, 1, their_template.fd()).unwrap();
        for lock in locks {
            let (our_map, their_map) = both(&inner, lock);
            let here = ours.update_by_number(&[0; 4], &[0; 4], 0, &One(our_map)).map_err(|refusal| refusal.errno.0);
            assert_eq!(here, theirs.update(&[0; 4], &their_map.fd().to_le_bytes(), 0), "{lock:?} in {template:?}");
        }
    }
}

/// A tracing program that finds a value with a lock in an inner map, and adds to it under the lock.
const THROUGH_INNER: &str = "\
*(u32 *)(r10 -4) = 1
r2 = r10
r2 += -4
r1 = map[0]
call bpf_map_lookup_elem
if r0 == 0 goto out
r1 = r0
r2 = r10
r2 += -4
call bpf_map_lookup_elem
if r0 == 0 goto out
r6 = r0
r1 = r6
call bpf_spin_lock
r1 = *(u64 *)(r6 +8)
r1 += 5
*(u64 *)(r6 +8) = r1
r1 = r6
call bpf_spin_unlock
r0 = 7
out:
exit
";

#[test]
fn a_tracing_program_may_lock_values_of_inner_maps() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (our_inner, their_inner) = both(&spec(MapKind::Hash, 4, 16, 2, 0), Some(0));
    let outer = spec(MapKind::ArrayOfMaps, 4, 4, 2, 0);
    let ours = create_as(outer.clone(), 1, &Creation { inner: Some(&*our_inner), ..Creation::default() }).unwrap();
    let theirs = KernelMap::create_with(&outer, 1, their_inner.fd()).unwrap();
    let key = 1_u32.to_le_bytes();
    our_inner.update_user(&key, &[1; 16], 0).unwrap();
    their_inner.update(&key, &[1; 16], 0).unwrap();
    ours.update_by_number(&key, &[0; 4], 0, &One(our_inner.clone())).unwrap();
    theirs.update(&key, &their_inner.fd().to_le_bytes(), 0).unwrap();
    let insns = assemble(THROUGH_INNER);
    let there = Program::load(&for_kernel(&insns, &[&theirs]));
    let maps = [ours];
    let mut tracing = program(insns, &maps);
    tracing.program_type = Some(ProgramType::RawTracepoint);
    let mut here = Lab::load(tracing, &maps, 64).expect("it loads");
    for _ in 0..3 {
        assert_eq!(told(&here.run()), format!("{:#x}", there.run(0, [0; 3])));
    }
    let mut found = Vec::new();
    our_inner.lookup_user(&key, BPF_F_LOCK, &mut found).unwrap();
    assert_eq!(Ok(found), their_inner.lookup(&key, BPF_F_LOCK));
}
