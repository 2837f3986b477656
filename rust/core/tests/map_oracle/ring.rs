//! Ring buffers, byte for byte: positions, headers, payloads and what lies between them; and who is woken.

use std::fmt::Write as _;
use std::sync::Arc;

use axebpf_core::map::{BPF_RB_PROD_POS, Map, MapKind, create};
use axebpf_core::memory::Bytes;

use crate::engine_support::assemble;
use crate::kernel::{self, KernelMap, Program, Ring, Waiter};
use crate::map_support::{Random, spec};
use crate::operations;
use crate::sequences::with_descriptors;

/// Operations of one program; the log of the verifier has no room for many more.
const STEPS: usize = 40;
/// Records that a program may have reserved at once.
const HELD: usize = 5;
/// Bytes of the array that programs get their payloads from.
const SOURCE: usize = 9000;
/// Results of one program, eight bytes each; then one word in which pointers become numbers.
const RESULTS: usize = 3 * STEPS;

/// A program for the kernel that is being written, while the same is done to our ring.
struct Script<'a> {
    ring: &'a Arc<dyn Map>,
    random: &'a mut Random,
    text: String,
    expected: Vec<u64>,
    /// The records reserved now: their address in our ring, and their size.
    held: [Option<(u64, usize)>; HELD],
    source: &'a mut [u8],
    steps: usize,
}

impl Script<'_> {
    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").unwrap();
    }

    /// A register is a result.
    fn keep(&mut self, register: &str, expected: u64) {
        self.line(&format!("*(u64 *)(r9 +{}) = {register}", 8 * self.expected.len()));
        self.expected.push(expected);
    }

    /// The header of the record whose address is in the last word of the results is a result.
    fn keep_header(&mut self, record: u64) {
        let (at, word) = (8 * self.expected.len(), 8 * RESULTS);
        self.line(&format!(
            "r1 = r9\nr1 += {at}\nr2 = 8\nr3 = *(u64 *)(r9 +{word})\nr3 += -8\ncall bpf_probe_read_kernel"
        ));
        // SAFETY: the header of a record lies before it in the ring's arena.
        self.expected.push(unsafe { ((record - 8) as *const u64).read() });
    }

    /// Ends the program, with a number that is not 0, where it goes another way than it should.
    fn or_end(&mut self, condition: &str, first: &str) {
        let label = format!("as_expected{}", self.steps);
        self.line(&format!("if {condition} goto {label}\n{first}"));
        for slot in 0..HELD {
            if self.held[slot].is_some() {
                self.line(&format!("r1 = *(u64 *)(r10 -{})\nr2 = 0\ncall bpf_ringbuf_discard", 8 * slot + 8));
            }
        }
        self.line(&format!("r0 = {}\nexit\n{label}:", self.steps + 1));
    }

    fn size(&mut self, most: u64) -> usize {
        let near = [0, 1, 7, 8, 9, 15, 16, 17, 4079, 4080, 4081];
        let size = match self.random.below(8) {
            0 => self.random.below(most),
            1 => self.random.pick(&near),
            2 => self.random.pick(&[1 << 30, (1 << 30) - 1, (1 << 30) + 1, u64::from(u32::MAX) / 4 - 7]),
            _ => self.random.below(200),
        };
        if size > most && size < 1 << 29 { most as usize } else { size as usize }
    }

    fn reserve(&mut self) {
        let Some(slot) = self.held.iter().position(Option::is_none) else { return self.commit() };
        let size = self.size(SOURCE as u64);
        self.line(&format!("r1 = map[0]\nr2 = {size}\nr3 = 0\ncall bpf_ringbuf_reserve"));
        let Ok(record) = self.ring.reserve(size as u64) else {
            return self.or_end("r0 == 0", "r1 = r0\nr2 = 0\ncall bpf_ringbuf_discard");
        };
        self.or_end("r0 != 0", "");
        let address = record.as_ptr() as u64;
        self.held[slot] = Some((address, size));
        self.line(&format!("*(u64 *)(r10 -{}) = r0\n*(u64 *)(r9 +{}) = r0", 8 * slot + 8, 8 * RESULTS));
        for _ in 0..self.random.below(4) {
            if size >= 8 {
                let (value, offset) = (self.random.next(), self.random.below(size as u64 / 8) * 8);
                self.line(&format!("r1 = {value:#x} ll\n*(u64 *)(r0 +{offset}) = r1"));
                // SAFETY: inside the reserved record.
                unsafe { record.as_ptr().add(offset as usize).cast::<u64>().write(value) };
            }
        }
        self.keep_header(address);
    }

    fn commit(&mut self) {
        let open: Vec<usize> = (0..HELD).filter(|slot| self.held[*slot].is_some()).collect();
        if !open.is_empty() {
            let slot = self.random.pick(&open);
            self.give_up(slot);
        }
    }

    fn give_up(&mut self, slot: usize) {
        let (address, _) = self.held[slot].take().expect("it is reserved");
        let (flags, discard) = (self.random.pick(&[0, 1, 2, 3, 0x7c]), self.random.once_in(4));
        self.ring.commit(address, flags, discard).expect("it is reserved");
        let helper = if discard { "discard" } else { "submit" };
        self.line(&format!("r1 = *(u64 *)(r10 -{})\n*(u64 *)(r9 +{}) = r1", 8 * slot + 8, 8 * RESULTS));
        self.line(&format!("r2 = {flags}\ncall bpf_ringbuf_{helper}"));
        self.keep_header(address);
    }

    fn output(&mut self) {
        let size = self.size(SOURCE as u64).min(SOURCE);
        let (value, offset) = (self.random.next(), self.random.below(SOURCE as u64 / 8) * 8);
        self.source[offset as usize..][..8].copy_from_slice(&value.to_le_bytes());
        let flags = self.random.pick(&[0, 0, 1, 2, 3, 4, 1 << 32]);
        self.line(&format!("r2 = map[2][0]+0\nr1 = {value:#x} ll\n*(u64 *)(r2 +{offset}) = r1"));
        self.line(&format!("r1 = map[0]\nr3 = {size}\nr4 = {flags:#x} ll\ncall bpf_ringbuf_output"));
        let result = match flags {
            0..4 => self.ring.output(Bytes::from(&self.source[..size]), flags).map_err(|errno| errno.0),
            _ => Err(libc::EINVAL),
        };
        self.keep("r0", result.map_or_else(|errno| i64::from(-errno) as u64, |()| 0));
    }

    fn query(&mut self) {
        let what = self.random.below(5);
        self.line(&format!("r1 = map[0]\nr2 = {what}\ncall bpf_ringbuf_query"));
        let expected = self.ring.query(what);
        self.keep("r0", expected);
    }

    fn write(&mut self) {
        self.line("r9 = map[1][0]+0");
        while self.steps < STEPS {
            match self.random.below(10) {
                0..4 => self.reserve(),
                4..7 => self.commit(),
                7..9 => self.output(),
                _ => self.query(),
            }
            self.steps += 1;
        }
        for slot in 0..HELD {
            if self.held[slot].is_some() {
                self.give_up(slot);
            }
        }
        self.line("r0 = 0\nexit");
    }
}

/// The bytes of our ring, by the address of a record in it.
fn bytes(ring: &dyn Map, size: usize) -> Vec<u8> {
    let position = ring.query(BPF_RB_PROD_POS);
    let record = ring.reserve(0).expect("the ring is empty").as_ptr() as u64;
    let start = record - 8 - position % size as u64;
    // SAFETY: the arena begins there.
    let bytes = unsafe { Bytes::from_raw(start as *const u8, size) }.to_vec();
    ring.commit(record, 1, true).expect("it is reserved");
    assert!(!ring.consume_user(&mut Vec::new()).expect("a ring buffer"));
    bytes
}

fn compare(size: u32, seed: u64) {
    let specs = [
        spec(MapKind::RingBuf, 0, 0, size, 0),
        spec(MapKind::Array, 4, 8 * RESULTS as u32 + 8, 1, 0),
        spec(MapKind::Array, 4, SOURCE as u32, 1, 0),
    ];
    let ours = create(specs[0].clone(), 1).expect("a valid spec");
    let theirs = specs.each_ref().map(|spec| KernelMap::create(spec, 1).expect("a valid spec"));
    let mut ring = theirs[0].ring(size as usize);
    let (mut random, mut source) = (Random(seed), vec![0; SOURCE]);
    // The program that does what `bytes` does.
    let probe = "r1 = map[0]\nr2 = 0\nr3 = 0\ncall bpf_ringbuf_reserve\nif r0 == 0 goto out\nr1 = r0\nr2 = 1\n\
                 call bpf_ringbuf_discard\nout:\nr0 = 0\nexit";
    let fds = theirs.each_ref().map(KernelMap::fd);
    let probe = Program::load(&with_descriptors(&assemble(probe), &fds));
    for _ in 0..operations(1000).div_ceil(STEPS) {
        let mut script = Script {
            ring: &ours,
            random: &mut random,
            text: String::new(),
            expected: Vec::new(),
            held: [None; HELD],
            source: &mut source,
            steps: 0,
        };
        script.write();
        let Script { text, expected, .. } = script;
        let program = Program::load(&with_descriptors(&assemble(&text), &fds));
        assert_eq!(program.run(0, [0; 3]), 0, "{text}");
        let found = theirs[1].lookup(&[0; 4], 0).expect("an array");
        let found: Vec<u64> = found.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        assert_eq!(found[..expected.len()], expected, "{text}");
        let all = random.once_in(4);
        let some = random.below(6) as usize;
        consume(&ours, &mut ring, if all { usize::MAX } else { some });
        if all {
            let found = bytes(ours.as_ref(), size as usize);
            assert_eq!(probe.run(0, [0; 3]), 0);
            assert_eq!(ring.next(), None);
            // The header of the empty record, which ours had when its bytes were read, is not yet committed.
            let ours = ours.query(BPF_RB_PROD_POS);
            assert_eq!(ring.positions(), [ours; 2]);
            let mut there = ring.bytes();
            let header = (ours - 8) as usize % size as usize;
            there[header..][..4].copy_from_slice(&found[header..][..4]);
            assert!(there == found, "the bytes of the ring differ: {text}");
        }
    }
}

/// So many records, the same on both sides.
fn consume(ours: &Arc<dyn Map>, theirs: &mut Ring, most: usize) {
    for _ in 0..most {
        let mut out = Vec::new();
        let record = ours.consume_user(&mut out).expect("a ring buffer").then_some(out);
        let positions = |ring: &dyn Map| [2, 3].map(|what| ring.query(what));
        assert_eq!(record, theirs.next());
        assert_eq!(positions(ours.as_ref()), theirs.positions());
        if record.is_none() {
            return;
        }
    }
}

#[test]
fn every_byte_of_a_ring() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    for (seed, size) in [4096, 8192, 65536].into_iter().enumerate() {
        compare(size, seed as u64);
    }
}

/// What wakes a consumer that waits on the ring with epoll counts as a wakeup, and nothing else does.
#[test]
fn who_is_woken() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    kernel::pin();
    let spec = spec(MapKind::RingBuf, 0, 0, 4096, 0);
    let ours = create(spec.clone(), 1).expect("a valid spec");
    let theirs = KernelMap::create(&spec, 1).expect("a valid spec");
    let mut ring = theirs.ring(4096);
    let load = |text: &str| Program::load(&with_descriptors(&assemble(text), &[theirs.fd()]));
    // The flags are arguments of the program.
    let output = load(
        "r4 = *(u64 *)(r1 +0)\n*(u64 *)(r10 -8) = 0\nr1 = map[0]\nr2 = r10\nr2 += -8\nr3 = 8\n\
         call bpf_ringbuf_output\nexit",
    );
    // Two records, of which one is discarded, committed in this order or the other.
    let reserve = "r8 = r1\nr1 = map[0]\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve\nif r0 == 0 goto out\nr6 = r0\n\
                   r1 = map[0]\nr2 = 16\nr3 = 0\ncall bpf_ringbuf_reserve\nr7 = r0\nif r0 == 0 goto one\n";
    let submit = |record: &str, argument| {
        let helper = if record == "r6" { "submit" } else { "discard" };
        format!("r1 = {record}\nr2 = *(u64 *)(r8 +{argument})\ncall bpf_ringbuf_{helper}\n")
    };
    let end = "r0 = 0\nexit\none:\nr1 = r6\nr2 = 1\ncall bpf_ringbuf_discard\nout:\nr0 = 1\nexit";
    let two = [["r6", "r7"], ["r7", "r6"]]
        .map(|[one, other]| load(&format!("{reserve}{}{}{end}", submit(one, 0), submit(other, 8))));
    let waiter = Waiter::new(&theirs);
    let mut random = Random(6);
    let mut wakeups = 0;
    for step in 0..operations(1000) {
        let flags = [0, 0, 1, 2, 3, 0x7c].map(|flags| if random.once_in(2) { flags } else { random.below(4) });
        let flags = [random.pick(&flags), random.pick(&flags)];
        match random.below(8) {
            0..3 => {
                let there = output.run(0, [flags[0], 0, 0]);
                let here = match flags[0] {
                    0..4 => ours.output(Bytes::from(&[0; 8][..]), flags[0]).map_err(|errno| errno.0),
                    _ => Err(libc::EINVAL),
                };
                assert_eq!(there, here.map_or_else(|errno| -errno, |()| 0), "step {step}");
            }
            which @ 3..5 => {
                let which = which as usize - 3;
                let here = ours.reserve(8).map(|one| (one, ours.reserve(16)));
                let commit = |record: std::ptr::NonNull<u8>, flags, discard| {
                    ours.commit(record.as_ptr() as u64, flags, discard).expect("it is reserved");
                };
                let done = match here {
                    Err(_) => false,
                    Ok((one, Err(_))) => {
                        commit(one, 1, true);
                        false
                    }
                    Ok((one, Ok(other))) => {
                        let order = [(one, false), (other, true)];
                        let (first, second) = (order[which], order[1 - which]);
                        commit(first.0, flags[0], first.1);
                        commit(second.0, flags[1], second.1);
                        true
                    }
                };
                assert_eq!(two[which].run(0, [flags[0], flags[1], 0]), i32::from(!done), "step {step}");
            }
            _ => consume(&ours, &mut ring, random.below(3) as usize),
        }
        let now = ours.wakeups_user().expect("a ring buffer");
        assert_eq!(now > wakeups, waiter.woken(), "step {step}");
        wakeups = now;
    }
}
