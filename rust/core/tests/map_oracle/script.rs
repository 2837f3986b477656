//! Random programs that call the helpers of maps, as assembler text.

use std::fmt::Write as _;

use axebpf_core::map::{Keys, MapKind, MapSpec};

use crate::kernel;
use crate::map_support::Random;

/// Calls of one program.
pub const CALLS: usize = 40;
/// Results of one program, eight bytes each.
pub const RESULTS: usize = 160;
/// Where key and value are, below r10; eight bytes each suffice for what follows them.
const KEY: i32 = -32;
const VALUE: i32 = -64;
/// Where a callback adds up, and how many visits it has left.
const SUM: i32 = -80;
const VISITS: i32 = SUM + 8;
/// Keys of a map of maps that programs look up.
pub const INNER_KEYS: u64 = 5;

/// A program that is being written: r6 is its context, r9 where its results go.
pub struct Script<'r> {
    text: String,
    random: &'r mut Random,
    /// The map that it works on; where that is in a map of maps, what it is like.
    spec: &'r MapSpec,
    /// What names that map.
    map: &'static str,
    results: usize,
    labels: usize,
    /// Functions that are called back.
    callbacks: String,
}

/// A random program that works on a map of these; it is `map[0]` or, if `inner`, looked up there each time. `map[1]`
/// is for the results.
pub fn write(random: &mut Random, spec: &MapSpec, inner: bool) -> String {
    let (text, callbacks) = (String::new(), String::new());
    let map = if inner { "r7" } else { "map[0]" };
    let mut script = Script { text, random, spec, map, results: 0, labels: 0, callbacks };
    script.write(inner);
    script.text + &script.callbacks
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
        self.line(&format!("r1 = {}\ncall {helper}", self.map));
    }

    /// A register is a result.
    fn keep(&mut self, register: &str) {
        assert!(self.results < RESULTS - 1);
        self.line(&format!("*(u64 *)(r9 +{}) = {register}", 8 * self.results));
        self.results += 1;
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("label{}", self.labels)
    }

    /// Does something only where r0 is a pointer.
    fn where_found(&mut self, body: impl FnOnce(&mut Self)) {
        let label = self.label();
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
        match self.random.below(22) {
            20..22 if self.can_be_walked() => self.for_each(),
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

    fn can_be_walked(&self) -> bool {
        self.spec.kind != MapKind::LpmTrie
    }

    /// Walks with a callback that adds up keys and values and may write to them, end the walk or delete what it is at.
    fn for_each(&mut self) {
        let (name, last) = (self.label(), self.last());
        self.put(SUM, &[0; 8]);
        // Only arrays have the same order on both sides.
        let ordered = self.spec.kind.rules().unwrap().keys == Keys::Index;
        let visits = if ordered { 1 + self.random.below(12) } else { 1 << 20 };
        // A number that Linux's verifier does not know: it would follow every visit. The last result stays zero.
        self.line(&format!("r1 = *(u64 *)(r9 +{})\nr1 += {visits}\n*(u64 *)(r10 {VISITS}) = r1", 8 * (RESULTS - 1)));
        let mut body = format!("{name}:\nr6 = r4\nr5 = *(u64 *)(r3 +{last})\n");
        if self.random.once_in(2) {
            let add = self.random.next() as u32 >> 1;
            writeln!(body, "r5 += {add}\n*(u64 *)(r3 +{last}) = r5").unwrap();
        }
        writeln!(body, "r0 = *(u8 *)(r2 +0)\nr5 += r0\nr0 = *(u64 *)(r6 +0)\nr0 += r5\n*(u64 *)(r6 +0) = r0").unwrap();
        if self.random.once_in(4) {
            // Deletes those whose key has a bit that is not set, or set.
            let (end, bit) = (self.label(), self.random.pick(&["r0 != 0", "r0 == 0"]));
            writeln!(body, "r0 = *(u8 *)(r2 +0)\nr0 &= 1\nif {bit} goto {end}").unwrap();
            writeln!(body, "call bpf_map_delete_elem\nr1 = *(u64 *)(r6 +0)\nr1 += r0\n*(u64 *)(r6 +0) = r1").unwrap();
            writeln!(body, "{end}:").unwrap();
        }
        writeln!(body, "r1 = *(u64 *)(r6 +8)\nr1 += -1\n*(u64 *)(r6 +8) = r1\nr0 = 0").unwrap();
        writeln!(body, "if r1 != 0 goto +1\nr0 = 1\nexit").unwrap();
        self.callbacks += &body;
        let flags = format!("r4 = {}", self.random.pick(&[0, 0, 0, 0, 0, 0, 1, 2, 4]));
        let arguments = [&format!("r2 = subprog[{name}]"), "r3 = r10", &format!("r3 += {SUM}"), &flags];
        self.call(&arguments, "bpf_for_each_map_elem");
        self.line(&format!("r1 = *(u64 *)(r10 {SUM})"));
        self.keep("r1");
    }

    /// A record of some bytes of the value.
    fn perf_output(&mut self) {
        let value = self.random.next().to_le_bytes().repeat(4);
        self.put(VALUE, &value);
        let flags =
            self.random.pick(&[u64::from(u32::MAX), u64::from(u32::MAX), u64::from(u32::MAX), 0, 1, 7, 1 << 32]);
        let size = self.random.below(33);
        self.line(&format!("r1 = r6\nr2 = {}\nr3 = {flags:#x} ll\nr4 = r10\nr4 += {VALUE}\nr5 = {size}", self.map));
        self.line("call bpf_perf_event_output");
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

    fn one_call(&mut self) {
        match (self.spec.kind, self.spec.kind.rules().unwrap().keys) {
            (MapKind::RingBuf, _) => self.ring(),
            (MapKind::PerfEventArray, _) => self.perf_output(),
            (_, Keys::None) => self.ordered(),
            _ => self.keyed(),
        }
        self.keep("r0");
    }

    fn write(&mut self, inner: bool) {
        self.line("r6 = r1\nr9 = map[1][0]+0");
        self.put(VALUE, &[0; 32]);
        for _ in 0..CALLS {
            if !inner {
                self.one_call();
                continue;
            }
            let key = self.random.below(INNER_KEYS) as u32;
            self.put(KEY, &key.to_le_bytes());
            let [a, b] = Self::KEY_ARGUMENT;
            self.line(&format!("{a}\n{b}\nr1 = map[0]\ncall bpf_map_lookup_elem"));
            self.where_found(|script| {
                script.line("r7 = r0");
                script.one_call();
            });
        }
        self.line("r0 = 0\nexit");
    }
}
