//! Random sequences of calls with dynptrs, on the interpreter and in the kernel: the same results, values and records.

use std::fmt::Write as _;
use std::sync::Arc;

use axebpf_core::map::{Map, MapKind, MapSpec, create};

use crate::engine_support::{Lab, assemble, program, told};
use crate::kernel::{self, KernelMap, Program};
use crate::map_support::{Random, spec};
use crate::operations;
use crate::sequences::with_descriptors;

/// Calls of one program.
const CALLS: usize = 40;
/// Results of one program, eight bytes each.
const RESULTS: usize = 3 * CALLS;
/// Places of dynptrs, below r10.
const SLOTS: [i32; 3] = [-16, -40, -56];
/// Where the buffer is that is read to and written from, and its bytes.
const BUFFER: i32 = -192;
const BUFFER_LEN: u64 = 128;
/// Bytes of the value that dynptrs are made of.
const VALUE: u64 = 1 << 25;

#[derive(Clone, Copy, PartialEq)]
enum Slot {
    Empty,
    Local,
    OfRecord,
}

struct Script<'r> {
    text: String,
    random: &'r mut Random,
    slots: [Slot; SLOTS.len()],
    results: usize,
    labels: usize,
}

impl Script<'_> {
    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").unwrap();
    }

    fn keep(&mut self, register: &str) {
        assert!(self.results < RESULTS);
        self.line(&format!("*(u64 *)(r9 +{}) = {register}", 8 * self.results));
        self.results += 1;
    }

    fn slot(&mut self, which: impl Fn(Slot) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..SLOTS.len()).filter(|slot| which(self.slots[*slot])).collect();
        if found.is_empty() { None } else { Some(self.random.pick(&found)) }
    }

    fn flags(&mut self) -> u64 {
        self.random.pick(&[0, 0, 0, 0, 0, 0, 1, 2, 1 << 32])
    }

    fn make(&mut self) {
        let Some(slot) = self.slot(|slot| slot != Slot::OfRecord) else { return self.give_up() };
        let (at, flags) = (SLOTS[slot], self.flags());
        if self.random.once_in(2) {
            let offset = self.random.pick(&[0, 0, 8, 13, VALUE - 64, VALUE]);
            let size = self.random.pick(&[0, 1, 8, 64, 100, 4096, (1 << 24) - 1, 1 << 24, VALUE]).min(VALUE - offset);
            self.line(&format!("r1 = map[2][0]+0\nr1 += {offset}\nr2 = {size}"));
            self.line(&format!("r3 = {flags} ll\nr4 = r10\nr4 += {at}\ncall bpf_dynptr_from_mem"));
            self.slots[slot] = Slot::Local;
        } else {
            let size =
                self.random.pick(&[0, 1, 8, 17, 100, 1000, 3000, 4080, 4081, (1 << 24) - 1, 1 << 24, 0xffff_ffff]);
            let high = self.random.pick(&[0, 0, 1_u64 << 32]);
            self.line(&format!("r1 = map[0]\nr2 = {} ll\nr3 = {flags} ll", size | high));
            self.line(&format!("r4 = r10\nr4 += {at}\ncall bpf_ringbuf_reserve_dynptr"));
            self.slots[slot] = Slot::OfRecord;
        }
        self.keep("r0");
    }

    fn give_up(&mut self) {
        let Some(slot) = self.slot(|slot| slot == Slot::OfRecord) else { return };
        self.slots[slot] = Slot::Empty;
        let helper = self.random.pick(&["submit", "submit", "discard"]);
        let flags = self.random.pick(&[0, 1, 2, 0x7c]);
        self.line(&format!("r1 = r10\nr1 += {}\nr2 = {flags}\ncall bpf_ringbuf_{helper}_dynptr", SLOTS[slot]));
    }

    fn offset(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.random.pick(&[1 << 24, (1 << 24) - 8, u64::from(u32::MAX), 1 << 32, (1 << 32) + 8, u64::MAX]),
            _ => self.random.below(110),
        }
    }

    /// A stretch of the buffer: where, and how long.
    fn stretch(&mut self) -> (i32, u64) {
        let from = self.random.below(BUFFER_LEN / 8) * 8;
        let len = self.random.below(BUFFER_LEN - from + 1);
        (BUFFER + from as i32, len)
    }

    fn access(&mut self) {
        let Some(slot) = self.slot(|slot| slot != Slot::Empty) else { return self.make() };
        let (at, offset, flags) = (SLOTS[slot], self.offset(), self.flags());
        let (buffer, len) = self.stretch();
        match self.random.below(4) {
            0 => {
                self.line(&format!("r1 = r10\nr1 += {buffer}\nr2 = {len}\nr3 = r10\nr3 += {at}"));
                self.line(&format!("r4 = {offset} ll\nr5 = {flags} ll\ncall bpf_dynptr_read"));
                self.keep("r0");
                self.line(&format!("r1 = *(u64 *)(r10 {})", buffer.min(-72)));
                self.keep("r1");
            }
            1 => {
                let value = self.random.next();
                self.line(&format!("r1 = {value:#x} ll\n*(u64 *)(r10 {}) = r1", buffer.min(-72)));
                self.line(&format!("r1 = r10\nr1 += {at}\nr2 = {offset} ll\nr3 = r10\nr3 += {buffer}\nr4 = {len}"));
                self.line(&format!("r5 = {flags} ll\ncall bpf_dynptr_write"));
                self.keep("r0");
            }
            // From the value that it may be made of, to overlap.
            2 => {
                self.line(&format!("r1 = r10\nr1 += {at}\nr2 = {offset} ll\nr3 = map[2][0]+0\nr4 = {len}"));
                self.line(&format!("r5 = {flags} ll\ncall bpf_dynptr_write"));
                self.keep("r0");
            }
            _ => {
                let value = self.random.next();
                let label = format!("none{}", self.labels);
                self.labels += 1;
                self.line(&format!("r1 = r10\nr1 += {at}\nr2 = {offset} ll\nr3 = {len}\ncall bpf_dynptr_data"));
                self.line(&format!("if r0 == 0 goto {label}"));
                if len >= 8 {
                    let last = len - 8;
                    self.line(&format!("r2 = *(u64 *)(r0 +{last})\nr1 = {value:#x} ll\n*(u64 *)(r0 +0) = r1"));
                    self.line("r0 = r2");
                } else {
                    self.line("r0 = 1");
                }
                self.line(&format!("{label}:"));
                self.keep("r0");
            }
        }
    }

    fn write(&mut self) {
        self.line("r9 = map[1][0]+0");
        for at in (BUFFER..BUFFER + BUFFER_LEN as i32).step_by(8) {
            let value = self.random.next();
            self.line(&format!("r1 = {value:#x} ll\n*(u64 *)(r10 {at}) = r1"));
        }
        for _ in 0..CALLS {
            match self.random.below(8) {
                0..2 => self.make(),
                2 => self.give_up(),
                _ => self.access(),
            }
        }
        for _ in 0..SLOTS.len() {
            self.give_up();
        }
        self.line("r0 = 0\nexit");
    }
}

fn specs() -> [MapSpec; 3] {
    [
        spec(MapKind::RingBuf, 0, 0, 8192, 0),
        spec(MapKind::Array, 4, 8 * RESULTS as u32, 1, 0),
        spec(MapKind::Array, 4, VALUE as u32, 1, 0),
    ]
}

#[test]
fn every_result_of_every_call() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    let specs = specs();
    let ours = specs.each_ref().map(|spec| create(spec.clone(), 1).expect("a valid spec"));
    let theirs = specs.each_ref().map(|spec| KernelMap::create(spec, 1).expect("a valid spec"));
    let mut ring = theirs[0].ring(specs[0].max_entries as usize);
    let mut random = Random(7);
    for _ in 0..operations(1000).div_ceil(CALLS) {
        let mut script =
            Script { text: String::new(), random: &mut random, slots: [Slot::Empty; 3], results: 0, labels: 0 };
        script.write();
        let (text, results) = (script.text, script.results);
        let insns = assemble(&text);
        let there = Program::load(&with_descriptors(&insns, &theirs.each_ref().map(KernelMap::fd)));
        let mut here = Lab::load(program(insns, &ours), &ours, 64).expect("it loads");
        assert_eq!(told(&here.run()), "0x0", "{text}");
        assert_eq!(there.run(0, [0; 3]), 0);
        let words = |bytes: Vec<u8>| -> Vec<u64> {
            bytes.as_chunks().0[..results].iter().map(|word| u64::from_le_bytes(*word)).collect()
        };
        assert_eq!(words(value(&ours[1])), words(theirs[1].lookup(&[0; 4], 0).expect("an array")), "{text}");
        assert!(value(&ours[2]) == theirs[2].lookup(&[0; 4], 0).expect("an array"), "the values differ: {text}");
        loop {
            let mut out = Vec::new();
            let record = ours[0].consume_user(&mut out).expect("a ring buffer").then_some(out);
            let end = record.is_none();
            assert_eq!(record, ring.next(), "{text}");
            if end {
                break;
            }
        }
    }
}

fn value(map: &Arc<dyn Map>) -> Vec<u8> {
    let mut out = Vec::new();
    map.lookup_user(&[0; 4], 0, &mut out).expect("an array");
    out
}
