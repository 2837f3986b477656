//! Random sequences of helper calls, each a program from the assembler that runs in a bench and, as a raw tracepoint
//! program, in the kernel: the same results of every call, and the same entries at the end.

use std::os::fd::AsRawFd;

use axebpf_core::bench::{Bench, ByHand, Options};
use axebpf_core::isa::Insn;
use axebpf_core::isa::opcode::imm64;
use axebpf_core::map::{
    BPF_F_NO_PREALLOC, BPF_F_ZERO_SEED, BUFFER, Entries, Holds, Map, MapKind, MapSpec, create, lookup_batch,
};

use crate::engine_support::assemble;
use crate::kernel::{self, KernelMap, Program, Ring};
use crate::map_support::{Random, spec, spec as spec_of};
use crate::operations;
use crate::perf;
use crate::script::{self, CALLS, INNER_KEYS, RESULTS};

/// The instructions with descriptors in place of slots.
pub fn with_descriptors(insns: &[Insn], fds: &[i32]) -> Vec<[u8; 8]> {
    let names_map = |insn: &Insn| insn.code == 0x18 && [imm64::MAP_FD, imm64::MAP_VALUE].contains(&insn.src);
    let patched =
        insns.iter().map(|insn| if names_map(insn) { Insn { imm: fds[insn.imm as usize], ..*insn } } else { *insn });
    patched.map(Insn::to_bytes).collect()
}

/// A map of a bench, by its number, and the kernel's.
struct Both {
    spec: MapSpec,
    ours: usize,
    theirs: KernelMap,
    ring: Option<Ring>,
    /// The perf events of its CPUs.
    events: Vec<perf::Event>,
}

impl Both {
    fn new(bench: &Bench, spec: &MapSpec, inner: Option<&Both>) -> Both {
        let template = inner.map(|inner| create(inner.spec.clone(), 1).unwrap());
        let ours = bench.create_map_with(spec.clone(), template.as_deref()).expect("a valid spec");
        let inner = inner.map_or(0, |inner| inner.theirs.fd());
        let theirs = KernelMap::create_with(spec, kernel::cpus(), inner).expect("a valid spec");
        let ring = (spec.kind == MapKind::RingBuf).then(|| theirs.ring(spec.max_entries as usize));
        // A bench has opened a buffer for each CPU.
        let events = if spec.kind == MapKind::PerfEventArray { spec.max_entries.min(kernel::cpus()) } else { 0 };
        let events: Vec<_> = (0..events).map(|cpu| perf::Event::open(cpu as i32, BUFFER as usize)).collect();
        let both = Both { spec: spec.clone(), ours, theirs, ring, events };
        for (cpu, event) in (0_u32..).zip(&both.events) {
            both.theirs.update(&cpu.to_le_bytes(), &event.fd.as_raw_fd().to_le_bytes(), 0).unwrap();
        }
        both
    }

    fn with<T>(&self, bench: &Bench, body: impl FnOnce(&dyn Map) -> T) -> T {
        let map = bench.map(self.ours).expect("it is there");
        // SAFETY: on the bench's thread, and for this call.
        body(&**unsafe { map.shared() })
    }

    /// The same entries on both sides; the records of a ring buffer and of perf events are taken.
    fn compare(&mut self, bench: &Bench, text: &str) {
        let map = bench.map(self.ours).expect("it is there");
        // SAFETY: on the bench's thread, and for this call.
        let ours = &**unsafe { map.shared() };
        let what = format!("{:?}\n{text}", self.spec);
        if let Some(ring) = &mut self.ring {
            // Beyond eight bytes records hold what was in the ring before.
            let short = |record: &[u8]| (record.len(), record.get(..8).map(<[u8]>::to_vec));
            loop {
                let mut out = Vec::new();
                let record = ours.consume_user(&mut out).expect("a ring buffer").then_some(out);
                assert_eq!(record.as_deref().map(short), ring.next().as_deref().map(short), "{what}");
                if record.is_none() {
                    return;
                }
            }
        }
        if let (Some(events), Holds::Events(ours)) = (self.events.first(), ours.holds()) {
            let (theirs, _) = events.read();
            let ours: Vec<_> = std::iter::from_fn(|| ours.read(Some(0)).map(|record| record.data)).collect();
            assert_eq!(ours.len(), theirs.len(), "{what}");
            // Theirs have up to seven bytes of padding.
            ours.iter().zip(&theirs).for_each(|(ours, theirs)| assert_eq!(ours[..], theirs[..ours.len()], "{what}"));
        }
        if self.spec.key_size > 0 && !self.spec.kind.rules().unwrap().by_number {
            let mut entries = Entries::default();
            let _end = lookup_batch(ours, None, u32::MAX, 0, &mut entries);
            let mut values = Vec::new();
            for key in entries.keys.chunks(self.spec.key_size as usize) {
                values.extend(self.theirs.lookup(key, 0).expect("it is there too"));
            }
            assert_eq!(entries.values, values, "{what}");
            assert_eq!(self.theirs.walk(None, 4096, false, 0).1.count, entries.count, "{what}");
        }
    }
}

/// Puts a map at a key of a map of maps, or none.
fn put(bench: &Bench, outer: &Both, key: u32, inner: Option<&Both>) {
    let key = key.to_le_bytes();
    let Some(inner) = inner else {
        let ours = outer.with(bench, |outer| outer.delete_user(&key)).map_err(|errno| errno.0);
        assert_eq!(ours, outer.theirs.delete(&key));
        return;
    };
    let number = (inner.ours as u32).to_le_bytes();
    // SAFETY: a map of this bench.
    outer.with(bench, |outer| unsafe { bench.update_map(outer, &key, &number, 0) }).unwrap();
    outer.theirs.update(&key, &inner.theirs.fd().to_le_bytes(), 0).unwrap();
}

/// Programs that a bench runs before it is replaced: it keeps a little of each.
const PROGRAMS: usize = 100;

/// Runs programs with so many calls on a map of this spec; in a map of maps of `outer` kind, on three of them.
fn compare(spec: &MapSpec, outer: Option<MapKind>, seed: u64, calls: usize) {
    let mut random = Random(seed);
    let mut left = calls.div_ceil(CALLS);
    while left > 0 {
        let bench = Bench::new(Options { cpus: kernel::cpus(), ..Options::default() }).unwrap();
        let mut maps: Vec<_> =
            (0..if outer.is_some() { 3 } else { 1 }).map(|_| Both::new(&bench, spec, None)).collect();
        let results = Both::new(&bench, &spec_of(MapKind::Array, 4, 8 * RESULTS as u32, 1, 0), None);
        let outer = outer.map(|kind| Both::new(&bench, &spec_of(kind, 4, 4, 8, 0), maps.first()));
        for _ in 0..left.min(PROGRAMS) {
            if let Some(outer) = &outer {
                let place = random.below(4) as usize;
                put(&bench, outer, random.below(INNER_KEYS) as u32, maps.get(place));
            }
            let text = script::write(&mut random, spec, outer.is_some());
            let insns = assemble(&text);
            let main = outer.as_ref().unwrap_or(&maps[0]);
            let there = Program::load(&with_descriptors(&insns, &[main.theirs.fd(), results.theirs.fd()]));
            let code = with_descriptors(&insns, &[0, 1]).concat();
            let numbers = [(0, main.ours), (1, results.ours)];
            let here = bench.load_bytes("p", &code, "raw_tracepoint", "GPL", &numbers).unwrap();
            let run =
                bench.run_program(here, &mut [0; 24], ByHand { cpu: Some(0), ..ByHand::default() }, None).unwrap();
            assert_eq!(run.result.map_err(|fault| fault.to_string()), Ok(0), "{text}");
            assert_eq!(there.run(0, [0; 3]), 0);
            bench.unload(here, false).unwrap();
            let mut found = Vec::new();
            results.with(&bench, |ours| ours.lookup_user(&[0; 4], 0, &mut found)).expect("an array");
            let expected = results.theirs.lookup(&[0; 4], 0).expect("an array");
            let words =
                |bytes: &[u8]| bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<_>>();
            assert_eq!(words(&found), words(&expected), "{spec:?}\n{text}");
            maps.iter_mut().for_each(|map| map.compare(&bench, &text));
        }
        left = left.saturating_sub(PROGRAMS);
    }
}

/// Each kind with as many calls as were asked for, over all its specs.
fn compare_all(specs: &[MapSpec]) {
    compare_in(None, specs);
}

fn compare_in(outer: Option<MapKind>, specs: &[MapSpec]) {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    for (seed, spec) in (0..).zip(specs) {
        // In a map of maps all kinds are one.
        let alike = specs.iter().filter(|other| outer.is_some() || other.kind == spec.kind).count();
        compare(spec, outer, seed, operations(4000).div_ceil(alike));
    }
}

#[test]
fn arrays() {
    compare_all(&[MapKind::Array, MapKind::PercpuArray].map(|kind| spec(kind, 4, 24, 9, 0)));
}

#[test]
fn hashes() {
    for kind in [MapKind::Hash, MapKind::PercpuHash] {
        compare_all(&[0, BPF_F_NO_PREALLOC].map(|flags| spec(kind, 5, 16, 9, flags)));
    }
    // With room for all: Linux's order of eviction is not ours.
    compare_all(&[MapKind::LruHash, MapKind::LruPercpuHash].map(|kind| spec(kind, 24, 8, 1024, 0)));
}

#[test]
fn tries() {
    compare_all(&[3, 20].map(|entries| spec(MapKind::LpmTrie, 8, 16, entries, BPF_F_NO_PREALLOC)));
}

#[test]
fn queues_stacks_and_filters() {
    compare_all(&[MapKind::Queue, MapKind::Stack].map(|kind| spec(kind, 0, 24, 4, 0)));
    compare_all(&[spec(MapKind::BloomFilter, 0, 8, 4, BPF_F_ZERO_SEED)]);
}

#[test]
fn ring_buffers() {
    compare_all(&[4096, 16384].map(|bytes| spec(MapKind::RingBuf, 0, 0, bytes, 0)));
}

#[test]
fn perf_event_arrays() {
    compare_all(&[1, 3].map(|entries| spec(MapKind::PerfEventArray, 4, 4, entries, 0)));
}

#[test]
fn inner_maps() {
    let specs = [
        spec(MapKind::Array, 4, 16, 9, 0),
        spec(MapKind::PercpuArray, 4, 16, 9, 0),
        spec(MapKind::Hash, 5, 16, 9, 0),
        spec(MapKind::LruHash, 8, 8, 1024, 0),
        spec(MapKind::LpmTrie, 8, 16, 20, BPF_F_NO_PREALLOC),
        spec(MapKind::Queue, 0, 24, 4, 0),
        spec(MapKind::Stack, 0, 24, 4, 0),
        spec(MapKind::RingBuf, 0, 0, 4096, 0),
    ];
    for outer in [MapKind::ArrayOfMaps, MapKind::HashOfMaps] {
        compare_in(Some(outer), &specs);
    }
}
