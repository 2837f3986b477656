//! Random sequences of helper calls, each a program from the assembler that runs on the interpreter and, as a raw
//! tracepoint program, in the kernel: the same results of every call, and the same entries at the end.

use std::fmt::Write as _;
use std::sync::Arc;

use axebpf_core::isa::Insn;
use axebpf_core::isa::opcode::imm64;
use axebpf_core::map::{
    BPF_F_NO_PREALLOC, BPF_F_ZERO_SEED, Entries, Keys, Map, MapKind, MapSpec, create, lookup_batch,
};

use crate::engine_support::{Lab, assemble, program, told};
use crate::kernel::{self, KernelMap, Program};
use crate::map_support::{Random, spec, spec as spec_of};

/// Helper calls of one kind, about: `AXEBPF_OPERATIONS` asks for more.
pub fn operations() -> usize {
    std::env::var("AXEBPF_OPERATIONS").map_or(1000, |n| n.parse().unwrap())
}

/// Calls of one program.
const CALLS: usize = 40;
/// Results of one program, eight bytes each.
const RESULTS: usize = 160;
/// Where key and value are, below r10; eight bytes each suffice for what follows them.
const KEY: i32 = -32;
const VALUE: i32 = -64;

/// A program that is being written. r9 is where its results go.
struct Script<'r> {
    text: String,
    random: &'r mut Random,
    spec: &'r MapSpec,
    results: usize,
    labels: usize,
}

impl Script<'_> {
    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").unwrap();
    }

    /// Bytes on the stack.
    fn put(&mut self, at: i32, bytes: &[u8]) {
        for (chunk, at) in bytes.chunks(8).zip((at..).step_by(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.line(&format!("r1 = {:#x} ll\n*(u64 *)(r10 {at}) = r1", u64::from_le_bytes(word)));
        }
    }

    fn put_key(&mut self) {
        let n = self.random.below(12) as u32;
        let key = match self.spec.kind.rules().unwrap().keys {
            Keys::None => return,
            Keys::Prefix => {
                let len = self.random.pick(&[0_u32, 1, 7, 8, 9, 16, 24, 31, 32, 33]);
                let bits = self.random.pick(&[0, 1, 0x80, 0xff, 0x0180, 0xff80, 0x8000_0080, 0xffff_ffff_u32]);
                [len.to_le_bytes(), bits.to_le_bytes()].concat()
            }
            Keys::Index => n.to_le_bytes().to_vec(),
            Keys::Bytes => {
                let mut key = vec![0; self.spec.key_size as usize];
                key[0] = n as u8;
                key
            }
        };
        self.put(KEY, &key);
    }

    fn put_value(&mut self) {
        // So few that a filter knows some.
        let value = vec![self.random.below(16) as u8; self.spec.value_size.max(8) as usize];
        self.put(VALUE, &value);
    }

    fn flags(&mut self) -> u64 {
        self.random.pick(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 8, 1 << 40])
    }

    fn call(&mut self, arguments: &[&str], helper: &str) {
        for line in arguments {
            self.line(line);
        }
        self.line(&format!("r1 = map[0]\ncall {helper}"));
    }

    /// A register is a result.
    fn keep(&mut self, register: &str) {
        assert!(self.results < RESULTS);
        self.line(&format!("*(u64 *)(r9 +{}) = {register}", 8 * self.results));
        self.results += 1;
    }

    /// Does something only where r0 is a pointer.
    fn where_found(&mut self, body: impl FnOnce(&mut Self)) {
        let label = format!("none{}", self.labels);
        self.labels += 1;
        self.line(&format!("if r0 == 0 goto {label}"));
        body(self);
        self.line(&format!("{label}:"));
    }

    const KEY_ARGUMENT: [&'static str; 2] = ["r2 = r10", "r2 += -32"];

    fn look_up(&mut self) {
        self.put_key();
        self.call(&Self::KEY_ARGUMENT, "bpf_map_lookup_elem");
    }

    /// The last eight bytes of the value.
    fn last(&self) -> u32 {
        self.spec.value_size - 8
    }

    fn update(&mut self) {
        self.put_value();
        let flags = format!("r4 = {:#x} ll", self.flags());
        let [a, b] = Self::KEY_ARGUMENT;
        self.call(&[a, b, "r3 = r10", "r3 += -64", &flags], "bpf_map_update_elem");
    }

    fn keyed(&mut self) {
        let last = self.last();
        let read = format!("r0 = *(u64 *)(r0 +{last})");
        match self.random.below(20) {
            0..6 => {
                self.put_key();
                self.update();
            }
            6..9 => {
                self.look_up();
                self.where_found(|script| script.line(&read));
            }
            9..11 => {
                self.look_up();
                let new = self.random.next();
                self.where_found(|script| script.line(&format!("r1 = {new:#x} ll\n*(u64 *)(r0 +{last}) = r1\nr0 = 1")));
            }
            // A pointer from before an update of its key, or its deletion.
            11..14 => {
                self.look_up();
                self.where_found(|script| {
                    script.line("r8 = r0");
                    script.update();
                    script.keep("r0");
                    script.line(&format!("r0 = *(u64 *)(r8 +{last})"));
                });
            }
            14 => {
                self.look_up();
                self.where_found(|script| {
                    script.line("r8 = r0");
                    script.call(&Self::KEY_ARGUMENT, "bpf_map_delete_elem");
                    script.keep("r0");
                    script.line(&format!("r0 = *(u64 *)(r8 +{last})"));
                });
            }
            15..17 if self.spec.kind.is_per_cpu() => {
                self.put_key();
                let cpu = format!("r3 = {}", self.random.below(u64::from(kernel::cpus()) + 2));
                let [a, b] = Self::KEY_ARGUMENT;
                self.call(&[a, b, &cpu], "bpf_map_lookup_percpu_elem");
                self.where_found(|script| script.line(&read));
            }
            _ => {
                self.put_key();
                self.call(&Self::KEY_ARGUMENT, "bpf_map_delete_elem");
            }
        }
    }

    fn ordered(&mut self) {
        self.put_value();
        let take = ["r2 = r10", "r2 += -64"];
        let bloom = self.spec.kind == MapKind::BloomFilter;
        match self.random.below(5) {
            0..2 => {
                let flags = format!("r3 = {:#x} ll", if bloom && self.random.once_in(2) { 0 } else { self.flags() });
                self.call(&[&take[..], &[&flags]].concat(), "bpf_map_push_elem");
            }
            n => {
                let helper = if n == 2 && !bloom { "bpf_map_pop_elem" } else { "bpf_map_peek_elem" };
                self.call(&take, helper);
                self.line("r1 = *(u64 *)(r10 -64)");
                self.keep("r1");
            }
        }
    }

    fn ring(&mut self) {
        let size = self.random.pick(&[8, 16, 100, 1000, 3000]);
        match self.random.below(8) {
            0..4 => {
                self.call(&[&format!("r2 = {size}"), "r3 = 0"], "bpf_ringbuf_reserve");
                let (value, discard) = (self.random.next(), self.random.once_in(4));
                self.where_found(|script| {
                    script.line(&format!("r1 = {value:#x} ll\n*(u64 *)(r0 +0) = r1\nr1 = r0\nr2 = 0"));
                    script.line(if discard { "call bpf_ringbuf_discard" } else { "call bpf_ringbuf_submit" });
                    script.line("r0 = 1");
                });
            }
            4..6 => {
                self.put_value();
                let flags = format!("r4 = {}", self.random.below(6));
                let size = format!("r3 = {}", self.random.below(9));
                self.call(&["r2 = r10", "r2 += -64", &size, &flags], "bpf_ringbuf_output");
            }
            _ => {
                let what = format!("r2 = {}", self.random.below(6));
                self.call(&[&what], "bpf_ringbuf_query");
            }
        }
    }

    fn write(&mut self) {
        self.line("r9 = map[1][0]+0");
        self.put(VALUE, &[0; 32]);
        for _ in 0..CALLS {
            match self.spec.kind.rules().unwrap().keys {
                Keys::None if self.spec.kind == MapKind::RingBuf => self.ring(),
                Keys::None => self.ordered(),
                _ => self.keyed(),
            }
            self.keep("r0");
        }
        self.line("r0 = 0\nexit");
    }
}

/// The instructions with descriptors in place of slots.
pub fn for_kernel(insns: &[Insn], fds: &[i32]) -> Vec<[u8; 8]> {
    let names_map = |insn: &Insn| insn.code == 0x18 && [imm64::MAP_FD, imm64::MAP_VALUE].contains(&insn.src);
    let patched =
        insns.iter().map(|insn| if names_map(insn) { Insn { imm: fds[insn.imm as usize], ..*insn } } else { *insn });
    patched.map(Insn::to_bytes).collect()
}

fn compare(spec: &MapSpec, seed: u64) {
    let cpus = kernel::cpus();
    let results = spec_of(MapKind::Array, 4, 8 * RESULTS as u32, 1, 0);
    let ours = [spec, &results].map(|spec| create(spec.clone(), cpus).expect("a valid spec"));
    let theirs = [spec, &results].map(|spec| KernelMap::create(spec, cpus).expect("a valid spec"));
    let mut ring = (spec.kind == MapKind::RingBuf).then(|| theirs[0].ring(spec.max_entries as usize));
    let mut random = Random(seed);
    for _ in 0..operations().div_ceil(CALLS) {
        let mut script = Script { text: String::new(), random: &mut random, spec, results: 0, labels: 0 };
        script.write();
        let text = script.text;
        let insns = assemble(&text);
        let there = Program::load(&for_kernel(&insns, &[theirs[0].fd(), theirs[1].fd()]));
        let mut here = Lab::load(program(insns, &ours), &ours, 64).expect("it loads");
        assert_eq!(told(&here.run()), "0x0", "{text}");
        assert_eq!(there.run(0, [0; 3]), 0);
        let mut found = Vec::new();
        ours[1].lookup_user(&[0; 4], 0, &mut found).expect("an array");
        let expected = theirs[1].lookup(&[0; 4], 0).expect("an array");
        let words = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<_>>();
        assert_eq!(words(&found), words(&expected), "{spec:?}\n{text}");
        if let Some(ring) = &mut ring {
            consume(&ours[0], ring);
        } else if spec.key_size > 0 {
            let mut entries = Entries::default();
            let _end = lookup_batch(ours[0].as_ref(), None, u32::MAX, 0, &mut entries);
            let mut values = Vec::new();
            for key in entries.keys.chunks(spec.key_size as usize) {
                values.extend(theirs[0].lookup(key, 0).expect("it is there too"));
            }
            assert_eq!(entries.values, values, "{spec:?}\n{text}");
            assert_eq!(theirs[0].walk(None, 4096, false, 0).1.count, entries.count, "{spec:?}\n{text}");
        }
    }
}

/// All records; beyond eight bytes they hold what was in the ring before.
fn consume(ours: &Arc<dyn Map>, theirs: &mut kernel::Ring) {
    let short = |record: &[u8]| (record.len(), record.get(..8).map(<[u8]>::to_vec));
    loop {
        let mut out = Vec::new();
        let record = ours.consume_user(&mut out).expect("a ring buffer").then_some(out);
        assert_eq!(record.as_deref().map(short), theirs.next().as_deref().map(short));
        if record.is_none() {
            return;
        }
    }
}

fn compare_all(specs: &[MapSpec]) {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    for (seed, spec) in (0..).zip(specs) {
        compare(spec, seed);
    }
}

#[test]
fn arrays() {
    compare_all(&[MapKind::Array, MapKind::PercpuArray].map(|kind| spec(kind, 4, 24, 9, 0)));
}

#[test]
fn hashes() {
    for flags in [0, BPF_F_NO_PREALLOC] {
        compare_all(&[MapKind::Hash, MapKind::PercpuHash].map(|kind| spec(kind, 5, 16, 9, flags)));
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
