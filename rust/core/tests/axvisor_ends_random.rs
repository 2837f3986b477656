//! Random programs with loops: what is taken ends on rbpf, and within the instructions that are said to be enough.
//!
//! rbpf counts nothing. So each program is there twice: as it is, to be judged; and with a call before each piece of it
//! that says how many instructions come now. That call leaves r1 to r10 as they are, and the programs have nothing in
//! r0. The helper ends a run that has gone on for longer than the limit, so that nothing hangs where a loop was taken
//! that should not have been. rbpf itself is the judge here, in all that it does differently from Linux.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::sync::Arc;

use axebpf_core::axvisor::{HelperLayer, Rbpf};
use axebpf_core::engine::{Input, Stack};
use axebpf_core::fault::Fault;
use axebpf_core::helper::{Host, Task, VmContext};
use axebpf_core::map::{Map, MapKind, MapSet};
use axebpf_core::memory::{Arena, Memory, Window};
use engine_support::{Random, assemble, map, program};

/// Instructions that a run may take.
const LIMIT: u64 = 3000;
/// The helper of this number plus `n` counts `n` instructions.
const COUNT: u32 = 0x10000;
/// The helper that stores to the address in r1, or returns a number.
const ANYTHING: u32 = 0x20000;
const FUNCTIONS: u64 = 2;

/// A program in pieces.
enum Piece {
    Label(String),
    /// Instructions that are executed one after the other.
    Code(String, u64),
}

struct Maker {
    random: Random,
    pieces: Vec<Piece>,
    labels: u64,
    /// Registers and words of the stack that loops count in, which other code mostly leaves alone.
    counters: Vec<String>,
}

impl Maker {
    fn code(&mut self, text: &str) {
        self.pieces.push(Piece::Code(text.to_owned(), text.lines().count() as u64));
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("L{}", self.labels)
    }

    fn place(&mut self, label: &str) {
        self.pieces.push(Piece::Label(label.to_owned()));
    }

    fn number(&mut self) -> i64 {
        match self.random.below(4) {
            0 => self.random.below(40) as i64 - 20,
            1 => self.random.next() as i32 as i64,
            _ => self.random.pick(&[-1, 0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 0x7fff_ffff, -0x8000_0000, -2, -8]),
        }
    }

    /// A register for data: r1 to r8. r9 has the context.
    fn register(&mut self) -> String {
        loop {
            let register = format!("{}", 1 + self.random.below(8));
            if !self.counters.contains(&register) || self.random.once_in(8) {
                return register;
            }
        }
    }

    /// An offset of the stack, with a size.
    fn slot(&mut self) -> (&'static str, i64) {
        loop {
            let (size, bytes) = self.random.pick(&[("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8), ("u64", 8)]);
            let offset = match self.random.below(8) {
                0 => -(self.random.below(60) as i64) - 8,
                1 => -256 - 8 * self.random.below(4) as i64,
                _ => -8 * (1 + self.random.below(6) as i64) + (8 - bytes) * self.random.below(2) as i64,
            };
            let name = format!("{}", (offset.div_euclid(8)) * 8);
            if !self.counters.contains(&name) || self.random.once_in(8) {
                return (size, offset);
            }
        }
    }

    /// An offset of the stack: often that of a counter.
    fn aim(&mut self) -> i64 {
        let counter = self.counters.iter().find_map(|place| place.parse::<i64>().ok().filter(|&word| word < 0));
        counter.filter(|_| self.random.once_in(2)).unwrap_or_else(|| self.slot().1)
    }

    fn operand(&mut self, width: char) -> String {
        if self.random.once_in(3) { format!("{width}{}", self.register()) } else { self.number().to_string() }
    }

    fn arithmetic(&mut self, register: &str) -> String {
        let width = self.random.pick(&['r', 'r', 'w']);
        match self.random.below(14) {
            0 => format!("{width}{register} = -{width}{register}"),
            1 => {
                let swap = self.random.pick(&["le16", "le32", "le64", "be16", "be32", "be64"]);
                format!("r{register} = {swap} r{register}")
            }
            2 => format!("r{register} = (s{})r{}", self.random.pick(&[8, 16, 32]), self.register()),
            3 => {
                let shift = self.random.pick(&["<<=", ">>=", "s>>="]);
                let by = self.random.below(if width == 'r' { 64 } else { 32 });
                format!("{width}{register} {shift} {by}")
            }
            n => {
                let all = ["+=", "-=", "+=", "*=", "/=", "%=", "|=", "&=", "^=", "=", "s/=", "s%="];
                let operation = if n < 9 { self.random.pick(&all[..3]) } else { self.random.pick(&all) };
                format!("{width}{register} {operation} {}", self.operand(width))
            }
        }
    }

    fn condition(&mut self, register: &str) -> String {
        let width = self.random.pick(&['r', 'r', 'w']);
        let comparison = self.random.pick(&["==", "!=", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"]);
        format!("{width}{register} {comparison} {}", self.operand(width))
    }

    fn step(&mut self, depth: usize) {
        let register = self.register();
        match self.random.below(16) {
            0..=2 => {
                let text = self.arithmetic(&register);
                self.code(&text);
            }
            3 => {
                let number = self.number();
                self.code(&format!("r{register} = {number}"));
            }
            4 | 5 => {
                let (size, offset) = self.slot();
                let what = if self.random.once_in(2) { format!("r{register}") } else { self.number().to_string() };
                self.code(&format!("*({size} *)(r10 {offset:+}) = {what}"));
            }
            6 | 7 => {
                let (size, offset) = self.slot();
                self.code(&format!("r{register} = *({size} *)(r10 {offset:+})"));
            }
            8 => {
                // By an address of the stack, perhaps from the stack.
                let ((size, offset), number) = (self.slot(), self.number());
                self.code(&format!("r{register} = r10\nr{register} += {offset}"));
                if self.random.once_in(2) {
                    let (_, spill) = self.slot();
                    self.code(&format!("*(u64 *)(r10 {spill:+}) = r{register}"));
                    self.step(3);
                    self.code(&format!("r{register} = *(u64 *)(r10 {spill:+})"));
                }
                if self.random.once_in(2) {
                    self.code(&format!("*({size} *)(r{register} +0) = {number}"));
                } else {
                    self.code(&format!("r{register} = *({size} *)(r{register} +0)"));
                }
            }
            9 => {
                // A helper that may store to where a counter is, or elsewhere.
                let offset = self.aim();
                self.code(&format!("r1 = r10\nr1 += {offset}\ncall x#{ANYTHING}\nr{register} = r0"));
            }
            14 => {
                // A store there, by an address that has been in memory of which nothing is known.
                let (offset, number) = (self.aim(), self.number());
                self.code(&format!("r{register} = *(u64 *)(r9 +0)\n*(u8 *)(r{register} {offset:+}) = {number}"));
            }
            10 => {
                let (_, key) = self.slot();
                let (offset, number) = (self.random.pick(&[0, 8, 56, 56, 60, 64, -4]), self.random.below(5));
                self.code(&format!(
                    "*(u32 *)(r10 {key:+}) = {number}\nr1 = map[0]\nr2 = r10\nr2 += {key}\ncall bpf_map_lookup_elem\n\
                     r{register} = r0"
                ));
                let end = self.label();
                self.code(&format!("if r{register} == 0 goto {end}"));
                self.code(&format!("*(u32 *)(r{register} {offset:+}) = 9"));
                self.place(&end);
            }
            11 => {
                let offset = 8 + self.random.below(49);
                self.code(&format!("r{register} = *(u8 *)(r9 +{offset})"));
            }
            12 if depth < 3 => self.loop_(depth),
            13 if depth < 2 => {
                let function = self.random.below(FUNCTIONS);
                self.code(&format!("call f{function}"));
            }
            _ if depth < 4 => {
                let end = self.label();
                let condition = self.condition(&register);
                self.code(&format!("if {condition} goto {end}"));
                for _ in 0..=self.random.below(2) {
                    self.step(depth + 1);
                }
                if self.random.once_in(12) {
                    self.code("exit");
                }
                self.place(&end);
            }
            _ => self.code("r8 += 1"),
        }
    }

    /// Something that counts, and is tested; mostly it comes to its end.
    fn loop_(&mut self, depth: usize) {
        let register = self.register();
        let in_stack = self.random.once_in(3);
        let size = self.random.pick(&["u64", "u64", "u32", "u8"]);
        let word = -8 * (1 + self.random.below(6) as i64);
        self.counters.push(if in_stack { word.to_string() } else { register.clone() });
        let step = self.random.pick(&[1, 1, 1, 2, 3, -1, -1, -2]);
        let turns = 1 + self.random.below(if depth == 0 { 30 } else { 6 }) as i64;
        let from = self.random.pick(&[0, 0, 5, -3, 0x7fff_fff0, -0x8000_0000]);
        let width = self.random.pick(&['r', 'r', 'r', 'w']);
        let start = format!("{width}{register} = {from}");
        let (load, store) =
            (format!("r{register} = *({size} *)(r10 {word:+})"), format!("*({size} *)(r10 {word:+}) = r{register}"));
        let back = self.label();
        self.code(&start);
        if in_stack {
            self.code(&store);
        }
        self.place(&back);
        for _ in 0..self.random.below(4) {
            self.step(depth + 1);
        }
        if in_stack {
            self.code(&load);
        }
        let update = match self.random.below(10) {
            0 => self.arithmetic(&register),
            _ => format!("{width}{register} += {step}"),
        };
        if self.random.once_in(10) {
            // Counted only sometimes.
            let (end, other) = (self.label(), self.register());
            let condition = self.condition(&other);
            self.code(&format!("if {condition} goto {end}"));
            self.code(&update);
            self.place(&end);
        } else {
            self.code(&update);
        }
        if in_stack {
            self.code(&store);
        }
        let end = (from + step * turns) as i32;
        let condition = match self.random.below(12) {
            0 => self.condition(&register),
            1 => {
                let other = self.register();
                self.code(&format!("r{other} = {end}"));
                format!("{width}{register} != {width}{other}")
            }
            2..=6 => format!("{width}{register} {} {end}", if step > 0 { "s<" } else { "s>" }),
            _ => format!("{width}{register} != {end}"),
        };
        self.code(&format!("if {condition} goto {back}"));
        self.counters.pop();
    }

    /// The program, as it is and counted.
    fn make(mut self) -> (String, String) {
        self.code("r9 = r1\n*(u64 *)(r9 +0) = r10");
        for register in 1..9 {
            if self.random.once_in(2) {
                let number = self.number();
                self.code(&format!("r{register} = {number}"));
            }
        }
        for _ in 0..=self.random.below(2) {
            self.loop_(0);
        }
        self.code("exit");
        for function in 0..FUNCTIONS {
            self.place(&format!("f{function}"));
            // Registers 1 to 5 may hold numbers of the caller, r6 to r9 do.
            for _ in 0..self.random.below(4) {
                self.step(1);
            }
            self.code("exit");
        }
        let (mut plain, mut counted) = (String::new(), String::new());
        for piece in &self.pieces {
            match piece {
                Piece::Label(name) => {
                    writeln!(plain, "{name}:").unwrap();
                    writeln!(counted, "{name}:").unwrap();
                }
                Piece::Code(text, instructions) => {
                    writeln!(plain, "{text}").unwrap();
                    writeln!(counted, "call x#{}\n{text}", u64::from(COUNT) + instructions).unwrap();
                }
            }
        }
        (plain, counted)
    }
}

/// Counts, and answers [`ANYTHING`].
struct World {
    executed: Cell<u64>,
    random: RefCell<Random>,
}

impl Host for World {
    fn now(&self) -> u64 {
        7
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn random(&self) -> u32 {
        4
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn vm_context(&self) -> VmContext {
        VmContext::default()
    }
    fn print(&self, _text: &str) {}
    fn custom_helper(&self, id: u32, args: [u64; 5], memory: &mut Memory<'_>) -> Result<u64, Box<Fault>> {
        if id < ANYTHING {
            self.executed.set(self.executed.get() + u64::from(id - COUNT));
            let more = self.executed.get() <= LIMIT;
            return if more { Ok(0) } else { Err(Box::new(Fault::Instruction { what: "the limit".to_owned() })) };
        }
        let mut random = self.random.borrow_mut();
        let number = random.pick(&[0, 1, 2, 3, 5, 16, u64::MAX, 1 << 31]);
        if random.once_in(2)
            && let Ok(mut to) = memory.bytes_mut(args[0], 8)
        {
            to.fill_from(&number.to_le_bytes());
        }
        Ok(number)
    }
}

fn load(
    text: &str,
    maps: &[Arc<dyn Map>],
    budget: Option<u64>,
) -> Result<Box<dyn axebpf_core::engine::Runnable>, String> {
    let program = Arc::new(program(assemble(text), maps));
    Rbpf { helpers: HelperLayer::Linux, budget }.load(program, MapSet(maps.to_vec())).map_err(|error| error.to_string())
}

/// Instructions that one run of the counted program takes on rbpf.
fn run(text: &str, maps: &[Arc<dyn Map>], seed: u64) -> Option<u64> {
    let runnable = load(text, maps, None).ok()?;
    let world = World { executed: Cell::new(0), random: RefCell::new(Random(seed)) };
    let context = Arena::new(64).unwrap();
    let bytes = Random(seed).bytes(64);
    // SAFETY: inside the arena, into which nobody holds references.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), context.as_ptr(), bytes.len()) };
    let window = Window { start: context.address(), len: 64, writable: true };
    let input = Input {
        args: [context.address(), 64],
        context: window,
        extra: &[],
        host: &world,
        budget: 1 << 40,
        alone: false,
    };
    // SAFETY: the context is an arena, into which nobody holds references.
    let _outcome = unsafe { runnable.run(&mut Stack::new(0).unwrap(), &input) };
    Some(world.executed.get())
}

#[test]
fn what_is_taken_ends_on_rbpf_within_what_is_said() {
    let programs: u64 = std::env::var("AXEBPF_PROGRAMS").map_or(1500, |n| n.parse().unwrap());
    let maps: [Arc<dyn Map>; 1] = [map("M", MapKind::Array, 4, 64, 4, 0)];
    let (mut taken, mut turned, mut exact, mut endless, mut refused) = (0, 0, 0, 0, 0);
    for seed in 0..programs {
        let maker = Maker { random: Random(seed), pieces: Vec::new(), labels: 0, counters: Vec::new() };
        let (plain, counted) = maker.make();
        let is_taken = load(&plain, &maps, Some(LIMIT)).is_ok();
        let runs = if is_taken { 3 } else { 1 };
        let Some(executed) = (0..runs).map(|n| run(&counted, &maps, 7 * seed + n)).max().flatten() else { continue };
        if !is_taken {
            refused += 1;
            endless += u64::from(executed > LIMIT);
            continue;
        }
        taken += 1;
        assert!(executed <= LIMIT, "program {seed} was taken and did not end:\n{plain}");
        let fewer = load(&plain, &maps, Some(executed - 1));
        assert!(fewer.is_err(), "program {seed} took {executed}, and fewer were said to be enough:\n{plain}");
        exact += u64::from(load(&plain, &maps, Some(executed)).is_ok());
        turned += u64::from(executed > plain.lines().filter(|line| !line.ends_with(':')).count() as u64);
    }
    eprintln!("{taken} taken ({turned} turned, {exact} exact), {refused} refused ({endless} did not end)");
    assert!(taken > programs / 4 && turned > taken / 4 && exact > taken / 4, "most loops must be taken, and turn");
}
