//! Random programs on the interpreter and on the running kernel: the same registers, stack and memory at the end.
//!
//! Skipped, with the reason, where the kernel cannot be asked.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;
#[path = "helper_world/linux.rs"]
mod linux;

use axebpf_core::isa::{AluOp, AtomicOp, Imm64, Insn, JumpOp, Op, Reg, Size, Source, SwapOrder, Width, encode};
use axebpf_core::map::MapKind;
use engine_support::{Lab, Random, map, program};
use linux::Kernel;

/// Programs compared, and their seed.
const PROGRAMS: u32 = 20_000;
const SEED: u64 = 2026;

/// Bytes of the map that the programs work on; 0 to 79 are the registers at the begin, from `RESULTS` on what is in
/// registers and stack at the end.
const MAP_BYTES: usize = 8192;
const SCRATCH: u32 = 80;
const SCRATCH_LEN: u64 = 120;
const RESULTS: u32 = 256;
const USED: usize = 512;

/// Stack that programs use at random, below r10.
const SLOTS: i16 = 8;
/// Below it, counters of loops, then registers at the end.
const COUNTERS: i16 = -8 * SLOTS;
const SAVED: i16 = COUNTERS - 32;

fn reg(number: u64) -> Reg {
    Reg::new(number as u8).unwrap()
}

/// Something that random programs are full of and that matters to arithmetic.
fn constant(random: &mut Random) -> u64 {
    let edges = [0, 1, 2, 7, 8, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000];
    let edge = match random.below(4) {
        0 => random.next(),
        1 => random.next() >> random.below(64),
        2 => u64::from(random.pick(&[0xffff_ffff_u32, 0x8000_0000, 0x7fff_ffff])),
        _ => random.pick(&edges),
    };
    if random.once_in(3) { edge.wrapping_neg() } else { edge }
}

struct Generator<'r> {
    random: &'r mut Random,
    insns: Vec<Insn>,
    /// Calls of the function, whose place is not known yet.
    calls: Vec<usize>,
    in_function: bool,
}

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
const SIZES: [Size; 4] = [Size::Byte, Size::Half, Size::Word, Size::Double];

impl Generator<'_> {
    fn push(&mut self, op: Op) {
        let (first, second) = encode(&op);
        self.insns.push(first);
        self.insns.extend(second);
    }

    fn register(&mut self) -> Reg {
        reg(self.random.below(10))
    }

    fn mov(&mut self, dst: Reg, src: Source) {
        self.push(Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src });
    }

    /// The address of a byte of the map.
    fn address(&mut self, dst: Reg, offset: u32) {
        self.push(Op::LoadImm64 { dst, value: Imm64::MapValue { map: 0, offset } });
    }

    fn alu(&mut self) {
        let (width, dst) = (self.random.pick(&WIDTHS), self.register());
        let ops = [
            AluOp::Add,
            AluOp::Sub,
            AluOp::Mul,
            AluOp::Div,
            AluOp::Or,
            AluOp::And,
            AluOp::Lsh,
            AluOp::Rsh,
            AluOp::Mod,
            AluOp::Xor,
            AluOp::Mov,
            AluOp::Arsh,
            AluOp::SDiv,
            AluOp::SMod,
        ];
        let op = self.random.pick(&ops);
        let src = if self.random.once_in(2) {
            Source::Reg(self.register())
        } else {
            // What Linux's verifier refuses: a division by the constant zero, a shift by the width or more.
            let imm = constant(self.random) as i32;
            let bits = if width == Width::W32 { 31 } else { 63 };
            Source::Imm(match op {
                AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => imm & bits,
                AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod if imm == 0 => 3,
                _ => imm,
            })
        };
        self.push(Op::Alu { width, op, dst, src });
    }

    fn unary(&mut self) {
        let (dst, src) = (self.register(), self.register());
        let op = match self.random.below(3) {
            0 => Op::Neg { width: self.random.pick(&WIDTHS), dst },
            1 => {
                let width = self.random.pick(&WIDTHS);
                let sizes: &[Size] =
                    if width == Width::W32 { &[Size::Byte, Size::Half] } else { &[Size::Byte, Size::Half, Size::Word] };
                Op::MovSx { width, from: self.random.pick(sizes), dst, src }
            }
            _ => {
                let order = self.random.pick(&[SwapOrder::Little, SwapOrder::Big, SwapOrder::Swap]);
                Op::Swap { order, size: self.random.pick(&[Size::Half, Size::Word, Size::Double]), dst }
            }
        };
        self.push(op);
    }

    /// A load, store or atomic at `base + offset`, where there are `size` bytes.
    fn access(&mut self, base: Reg, offset: i16, size: Size) {
        let other = loop {
            let other = self.register();
            if other != base {
                break other;
            }
        };
        let width = if size == Size::Word { Width::W32 } else { Width::W64 };
        let op = match self.random.below(7) {
            0 => Op::Load { size, signed: false, dst: other, base, offset },
            1 => Op::Load { size, signed: size != Size::Double, dst: other, base, offset },
            2 => Op::Store { size, base, offset, src: Source::Reg(other) },
            3 => Op::Store { size, base, offset, src: Source::Imm(constant(self.random) as i32) },
            4 => Op::LoadAcquire { size, dst: other, base, offset },
            5 => Op::StoreRelease { size, base, offset, src: other },
            _ if matches!(size, Size::Word | Size::Double) => {
                let ops = [
                    AtomicOp::Add,
                    AtomicOp::Or,
                    AtomicOp::And,
                    AtomicOp::Xor,
                    AtomicOp::FetchAdd,
                    AtomicOp::FetchOr,
                    AtomicOp::FetchAnd,
                    AtomicOp::FetchXor,
                    AtomicOp::Xchg,
                    AtomicOp::Cmpxchg,
                ];
                Op::Atomic { width, op: self.random.pick(&ops), base, offset, src: other }
            }
            _ => Op::Store { size, base, offset, src: Source::Reg(other) },
        };
        self.push(op);
    }

    fn memory(&mut self) {
        let size = self.random.pick(&SIZES);
        let bytes = u64::from(size.bytes());
        if self.random.once_in(2) {
            let places = 8 * SLOTS as u64 / bytes;
            let offset = -(((1 + self.random.below(places)) * bytes) as i16);
            return self.access(Reg::R10, offset, size);
        }
        let base = self.register();
        let offset = self.random.below((SCRATCH_LEN - 8) / bytes) * bytes;
        self.address(base, SCRATCH + offset as u32);
        self.access(base, 0, size);
        // An address is not to be seen in the results.
        let imm = constant(self.random) as i32;
        self.mov(base, Source::Imm(imm));
    }

    fn condition(&mut self) -> usize {
        let ops = [
            JumpOp::Eq,
            JumpOp::Ne,
            JumpOp::Gt,
            JumpOp::Ge,
            JumpOp::Lt,
            JumpOp::Le,
            JumpOp::Set,
            JumpOp::SGt,
            JumpOp::SGe,
            JumpOp::SLt,
            JumpOp::SLe,
        ];
        let (op, width, dst) = (self.random.pick(&ops), self.random.pick(&WIDTHS), self.register());
        let src = if self.random.once_in(2) {
            Source::Reg(self.register())
        } else {
            Source::Imm(constant(self.random) as i32)
        };
        self.push(Op::Jump { width, op, dst, src, offset: 0 });
        self.insns.len() - 1
    }

    /// The jump at `from` leads to what comes next.
    fn land(&mut self, from: usize) {
        self.insns[from].off = (self.insns.len() - from - 1) as i16;
    }

    fn block(&mut self, depth: i16) {
        for _ in 0..1 + self.random.below(if depth == 0 { 14 } else { 5 }) {
            match self.random.below(20) {
                0..8 => self.alu(),
                8..11 => self.unary(),
                11..15 => self.memory(),
                15 => {
                    let (dst, value) = (self.register(), Imm64::Value(constant(self.random)));
                    self.push(Op::LoadImm64 { dst, value });
                }
                16 if depth < 3 => {
                    let over = self.condition();
                    self.block(depth + 1);
                    self.land(over);
                }
                17 if depth < 3 => {
                    let to_else = self.condition();
                    self.block(depth + 1);
                    self.push(Op::Ja { offset: 0 });
                    let to_end = self.insns.len() - 1;
                    self.land(to_else);
                    self.block(depth + 1);
                    self.land(to_end);
                }
                18 if depth < 2 => self.turns(depth),
                19 if !self.in_function => self.call(),
                _ => self.alu(),
            }
        }
    }

    /// A loop of a few turns, counted on the stack.
    fn turns(&mut self, depth: i16) {
        let offset = COUNTERS - 8 * (1 + depth);
        let turns = 1 + self.random.below(4) as i32;
        self.push(Op::Store { size: Size::Double, base: Reg::R10, offset, src: Source::Imm(turns) });
        let start = self.insns.len();
        self.block(depth + 1);
        let counter = self.register();
        self.push(Op::Load { size: Size::Double, signed: false, dst: counter, base: Reg::R10, offset });
        self.push(Op::Alu { width: Width::W64, op: AluOp::Add, dst: counter, src: Source::Imm(-1) });
        self.push(Op::Store { size: Size::Double, base: Reg::R10, offset, src: Source::Reg(counter) });
        let back = start as i64 - self.insns.len() as i64 - 1;
        let (width, src) = (Width::W64, Source::Imm(0));
        self.push(Op::Jump { width, op: JumpOp::Ne, dst: counter, src, offset: back as i16 });
    }

    fn call(&mut self) {
        self.calls.push(self.insns.len());
        self.push(Op::CallLocal { offset: 0 });
        // To the verifier, r1 to r5 hold nothing now.
        for register in 1..6 {
            let imm = constant(self.random) as i32;
            self.mov(reg(register), Source::Imm(imm));
        }
    }

    /// r0 and r6 to r9 from the arguments, and something in every slot of the stack.
    fn function(&mut self) {
        for (register, argument) in [(0, 5), (6, 1), (7, 2), (8, 3), (9, 4)] {
            self.mov(reg(register), Source::Reg(reg(argument)));
        }
        self.fill_stack();
        self.block(1);
        self.push(Op::Exit);
    }

    fn fill_stack(&mut self) {
        for slot in 1..=SLOTS {
            let src = Source::Reg(reg(slot as u64));
            self.push(Op::Store { size: Size::Double, base: Reg::R10, offset: -8 * slot, src });
        }
    }
}

/// A program that is entered with anything, and ends with its registers and stack in the map.
fn random_program(random: &mut Random) -> Vec<Insn> {
    let mut generator = Generator { random, insns: Vec::new(), calls: Vec::new(), in_function: false };
    generator.address(Reg::new(9).unwrap(), 0);
    for register in 0..10 {
        let (dst, offset) = (reg(register), 8 * register as i16);
        generator.push(Op::Load { size: Size::Double, signed: false, dst, base: reg(9), offset });
    }
    generator.fill_stack();
    generator.block(0);
    let word = Size::Double;
    for register in 0..10 {
        let offset = SAVED - 8 * register as i16;
        generator.push(Op::Store { size: word, base: Reg::R10, offset, src: Source::Reg(reg(register)) });
    }
    generator.address(Reg::R1, RESULTS);
    let saved = (0..10).map(|register| SAVED - 8 * register).chain((1..=SLOTS).map(|slot| -8 * slot));
    for (index, offset) in (0..).zip(saved) {
        generator.push(Op::Load { size: word, signed: false, dst: Reg::R0, base: Reg::R10, offset });
        generator.push(Op::Store { size: word, base: Reg::R1, offset: 8 * index, src: Source::Reg(Reg::R0) });
    }
    generator.mov(Reg::R0, Source::Imm(0));
    generator.push(Op::Exit);
    if !generator.calls.is_empty() {
        let function = generator.insns.len();
        generator.in_function = true;
        generator.function();
        for call in std::mem::take(&mut generator.calls) {
            generator.insns[call].imm = (function - call - 1) as i32;
        }
    }
    generator.insns
}

/// With the kernel's map in place of ours.
fn for_kernel(kernel: &Kernel, insns: &[Insn]) -> Vec<linux::Insn> {
    let mut slots: Vec<linux::Insn> = insns.iter().map(|insn| insn.to_bytes()).collect();
    for (index, insn) in insns.iter().enumerate() {
        if insn.code == 0x18 && insn.src == 2 {
            slots[index..index + 2].copy_from_slice(&kernel.memory(insn.dst, insns[index + 1].imm));
        }
    }
    slots
}

#[test]
fn random_programs_end_as_on_linux() {
    let kernel = match Kernel::open() {
        Ok(kernel) => kernel,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let mut random = Random(SEED);
    let (mut compared, mut refused) = (0, 0);
    while compared < PROGRAMS {
        let insns = random_program(&mut random);
        let mut memory = Vec::new();
        while memory.len() < USED {
            memory.extend(constant(&mut random).to_le_bytes());
        }
        kernel.put(&memory);
        memory.resize(MAP_BYTES, 0);
        if let Err(error) = kernel.try_run(&for_kernel(&kernel, &insns)) {
            refused += 1;
            assert!(refused < 100 + compared / 4, "{refused} refused: {error}");
            continue;
        }
        let ours = [map("M", MapKind::Array, 4, MAP_BYTES as u32, 1, 0)];
        ours[0].update_user(&[0; 4], &memory, 0).unwrap();
        let mut lab = Lab::load(program(insns.clone(), &ours), &ours, 8).unwrap();
        let outcome = lab.run();
        let text = || axebpf_core::isa::disassemble(&insns, &axebpf_core::isa::Names::none());
        assert!(outcome.result.is_ok(), "program {compared}: {:?}\n{}", outcome.result, text());
        let mut found = Vec::new();
        ours[0].lookup_user(&[0; 4], 0, &mut found).unwrap();
        let theirs = kernel.get();
        assert!(
            found[..USED] == theirs[..USED],
            "program {compared}: ours {:x?}\nLinux {:x?}\nfrom {:x?}\n{}",
            &found[..USED],
            &theirs[..USED],
            &memory[..USED],
            text()
        );
        compared += 1;
    }
    println!("{compared} programs compared, {refused} refused by the verifier");
}
