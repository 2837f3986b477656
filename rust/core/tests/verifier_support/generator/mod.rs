//! Random programs that mostly keep the rules: the generator knows roughly what each register holds, and errs sometimes.

mod memory;

use axebpf_core::isa::{AluOp, Imm64, Insn, JumpOp, Op, Reg, Size, Source, Width, encode};

use super::verifier_support::Random;

/// What the generator takes a register for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Holds {
    Nothing,
    Number,
    /// A number below this one.
    Below(u32),
    Context,
    /// An address in the map ONE.
    One,
    /// A looked-up value of the map HASH or ARRAY.
    Value,
    /// An address on the stack.
    Stack,
}

/// The map slots of the support module.
const ARRAY: i32 = 0;
const ONE: i32 = 1;
const HASH: i32 = 2;
const RING: i32 = 3;
const RODATA: i32 = 4;
/// Bytes of the map ONE.
const ONE_BYTES: u32 = 64;
/// Bytes of a value of HASH and ARRAY.
const VALUE_BYTES: u32 = 16;

const SIZES: [Size; 4] = [Size::Byte, Size::Half, Size::Word, Size::Double];
const COMPARISONS: [JumpOp; 11] = [
    JumpOp::Eq,
    JumpOp::Gt,
    JumpOp::Ge,
    JumpOp::Set,
    JumpOp::Ne,
    JumpOp::SGt,
    JumpOp::SGe,
    JumpOp::Lt,
    JumpOp::Le,
    JumpOp::SLt,
    JumpOp::SLe,
];
const OPERATIONS: [AluOp; 13] = [
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
    AluOp::Arsh,
    AluOp::SDiv,
    AluOp::SMod,
];

pub struct Generator<'r> {
    random: &'r mut Random,
    pub insns: Vec<Insn>,
    holds: [Holds; 10],
    /// What the slots below r10 hold, if they were written.
    slots: [Holds; 8],
    /// Jumps whose target is the end of the function.
    to_end: Vec<usize>,
    /// Calls of the function, and addresses of the callback, whose places are not known yet.
    calls: Vec<usize>,
    callbacks: Vec<usize>,
    in_function: bool,
    /// Once in how many chances it errs.
    errs: u64,
}

fn reg(number: usize) -> Reg {
    Reg::new(number as u8).unwrap()
}

impl Generator<'_> {
    fn push(&mut self, op: Op) {
        let (first, second) = encode(&op);
        self.insns.push(first);
        self.insns.extend(second);
    }

    fn errs(&mut self) -> bool {
        self.random.once_in(self.errs)
    }

    fn mov(&mut self, dst: usize, src: Source) {
        self.push(Op::Alu { width: Width::W64, op: AluOp::Mov, dst: reg(dst), src });
    }

    fn alu(&mut self, width: Width, op: AluOp, dst: usize, src: Source) {
        self.push(Op::Alu { width, op, dst: reg(dst), src });
    }

    fn call(&mut self, id: u32) {
        self.push(Op::CallHelper { id });
        self.holds[1..6].fill(Holds::Nothing);
    }

    /// Some register that holds what is wanted; any one when erring.
    fn find(&mut self, wanted: impl Fn(Holds) -> bool) -> Option<usize> {
        if self.errs() {
            return Some(self.random.below(10) as usize);
        }
        let found: Vec<usize> = (0..10).filter(|number| wanted(self.holds[*number])).collect();
        if found.is_empty() { None } else { Some(found[self.random.below(found.len() as u64) as usize]) }
    }

    fn number(&mut self) -> Option<usize> {
        self.find(|holds| matches!(holds, Holds::Number | Holds::Below(_)))
    }

    fn destination(&mut self) -> usize {
        // The registers that live through calls more often.
        if self.random.once_in(2) { 6 + self.random.below(4) as usize } else { self.random.below(10) as usize }
    }

    fn constant(&mut self) -> i32 {
        let edges = [0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 127, 255, -1, -8, i32::MAX, i32::MIN];
        match self.random.below(4) {
            0 => self.random.next() as i32,
            _ => self.random.pick(&edges),
        }
    }

    fn set_number(&mut self) {
        let dst = self.destination();
        match self.random.below(5) {
            0 | 1 => {
                let constant = self.constant();
                self.mov(dst, Source::Imm(constant));
            }
            2 => {
                let value = Imm64::Value(self.random.next() >> self.random.below(64));
                self.push(Op::LoadImm64 { dst: reg(dst), value });
            }
            3 => {
                self.call(7);
                self.holds[0] = Holds::Number;
                if dst != 0 {
                    self.mov(dst, Source::Reg(Reg::R0));
                }
            }
            _ => {
                let Some(base) = self.find(|holds| holds == Holds::Context) else { return };
                let size = self.random.pick(&SIZES);
                let bytes = u64::from(size.bytes());
                let offset = (8 + self.random.below(8) * bytes).next_multiple_of(bytes) as i16;
                self.push(Op::Load { size, signed: false, dst: reg(dst), base: reg(base), offset });
            }
        }
        self.holds[dst] = Holds::Number;
    }

    fn arithmetic(&mut self) {
        let Some(dst) = self.number() else { return };
        let width = self.random.pick(Width::ALL);
        let op = self.random.pick(&OPERATIONS);
        let src = match self.number().filter(|_| self.random.once_in(2)) {
            Some(src) => Source::Reg(reg(src)),
            None => {
                let (imm, bits) = (self.constant(), if width == Width::W32 { 31 } else { 63 });
                Source::Imm(match op {
                    AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => imm & bits,
                    AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod if imm == 0 => 3,
                    _ => imm,
                })
            }
        };
        self.alu(width, op, dst, src);
        self.holds[dst] = Holds::Number;
    }

    fn unary(&mut self) {
        let Some(src) = self.number() else { return };
        let dst = self.destination();
        let width = self.random.pick(Width::ALL);
        match self.random.below(3) {
            0 => self.push(Op::Neg { width, dst: reg(src) }),
            1 => {
                let from = self.random.pick(if width == Width::W32 { &SIZES[..2] } else { &SIZES[..3] });
                self.push(Op::MovSx { width, from, dst: reg(dst), src: reg(src) });
                self.holds[dst] = Holds::Number;
                return;
            }
            _ => {
                self.alu(width, AluOp::Mov, dst, Source::Reg(reg(src)));
                self.holds[dst] = if width == Width::W64 { self.holds[src] } else { Holds::Number };
                return;
            }
        }
        self.holds[src] = Holds::Number;
    }

    /// Makes a number smaller than something, in one of the ways that programs do.
    fn bound(&mut self) -> Option<usize> {
        let index = self.number()?;
        let limit = 1 << self.random.below(8);
        match self.random.below(5) {
            0 | 1 => {
                let width = self.random_width();
                self.alu(width, AluOp::And, index, Source::Imm(limit - 1));
            }
            2 => {
                let shift = 64 - limit.trailing_zeros();
                self.alu(Width::W64, AluOp::Rsh, index, Source::Imm(shift.min(63) as i32));
                self.holds[index] = Holds::Below((limit as u32).max(2));
                return Some(index);
            }
            3 => {
                self.leave(Width::W64, JumpOp::Ge, index, limit);
            }
            _ => {
                self.alu(Width::W32, AluOp::Mov, index, Source::Reg(reg(index)));
                self.leave(Width::W32, JumpOp::Ge, index, limit);
            }
        }
        self.holds[index] = Holds::Below(limit as u32);
        Some(index)
    }

    fn random_width(&mut self) -> Width {
        self.random.pick(Width::ALL)
    }

    /// A jump to the end of the function.
    fn leave(&mut self, width: Width, op: JumpOp, dst: usize, imm: i32) {
        self.to_end.push(self.insns.len());
        self.push(Op::Jump { width, op, dst: reg(dst), src: Source::Imm(imm), offset: 0 });
    }

    /// Code that is gone over or not.
    fn condition(&mut self, depth: u32) {
        let Some(dst) = self.number() else { return };
        let (op, width) = (self.random.pick(&COMPARISONS), self.random_width());
        let src = match self.number().filter(|_| self.random.once_in(3)) {
            Some(src) => Source::Reg(reg(src)),
            None => Source::Imm(self.constant()),
        };
        let at = self.insns.len();
        self.push(Op::Jump { width, op, dst: reg(dst), src, offset: 0 });
        let (holds, slots) = (self.holds, self.slots);
        self.block(depth + 1);
        self.insns[at].off = (self.insns.len() - at - 1) as i16;
        self.join(holds, slots);
    }

    /// What two ways that meet both leave.
    fn join(&mut self, holds: [Holds; 10], slots: [Holds; 8]) {
        let both = |one: &mut Holds, other: Holds| {
            *one = match (*one, other) {
                (one, other) if one == other => one,
                (Holds::Number | Holds::Below(_), Holds::Number | Holds::Below(_)) => Holds::Number,
                _ => Holds::Nothing,
            }
        };
        self.holds.iter_mut().zip(holds).for_each(|(one, other)| both(one, other));
        self.slots.iter_mut().zip(slots).for_each(|(one, other)| both(one, other));
    }

    /// A loop of a few turns, counted in a slot of its own or ended by `may_goto`.
    fn turns(&mut self, depth: u32) {
        let offset = -80 - 8 * depth as i16;
        let turns = 1 + self.random.below(6) as i32;
        self.push(Op::Store { size: Size::Double, base: Reg::R10, offset, src: Source::Imm(turns) });
        // What the loop changes is not known at its beginning.
        let (holds, slots) = (self.holds, self.slots);
        let keep = |holds: Holds| if matches!(holds, Holds::Below(_)) { Holds::Number } else { holds };
        self.holds = holds.map(keep);
        self.slots = slots.map(keep);
        let start = self.insns.len();
        let ends_itself = self.random.once_in(3);
        if ends_itself {
            self.push(Op::MayGoto { offset: 0 });
        }
        self.block(depth + 1);
        let counter = self.random.below(6) as usize;
        let at = |from: usize, to: usize| (to as i64 - from as i64 - 1) as i16;
        if ends_itself {
            let back = at(self.insns.len(), start);
            self.push(Op::Ja { offset: back });
            self.insns[start].off = at(start, self.insns.len());
        } else {
            self.push(Op::Load { size: Size::Double, signed: false, dst: reg(counter), base: Reg::R10, offset });
            self.alu(Width::W64, AluOp::Add, counter, Source::Imm(-1));
            self.push(Op::Store { size: Size::Double, base: Reg::R10, offset, src: Source::Reg(reg(counter)) });
            self.holds[counter] = Holds::Number;
            let back = at(self.insns.len(), start);
            let src = Source::Imm(0);
            self.push(Op::Jump { width: Width::W64, op: JumpOp::Ne, dst: reg(counter), src, offset: back });
        }
        self.join(holds, slots);
    }

    fn call_function(&mut self) {
        if self.in_function {
            return;
        }
        if self.random.once_in(3) {
            let turns = 1 + self.random.below(5) as i32;
            self.mov(1, Source::Imm(turns));
            self.callbacks.push(self.insns.len());
            self.push(Op::LoadImm64 { dst: reg(2), value: Imm64::Function { offset: 0 } });
            self.mov(3, Source::Reg(Reg::R10));
            self.alu(Width::W64, AluOp::Add, 3, Source::Imm(-8));
            self.push(Op::Store { size: Size::Double, base: Reg::R10, offset: -8, src: Source::Imm(3) });
            self.mov(4, Source::Imm(0));
            self.call(181);
            self.slots[0] = Holds::Number;
        } else {
            for argument in 1..3 {
                if self.holds[argument] == Holds::Nothing {
                    self.mov(argument, Source::Imm(5));
                }
            }
            self.calls.push(self.insns.len());
            self.push(Op::CallLocal { offset: 0 });
            self.holds[1..6].fill(Holds::Nothing);
        }
        self.holds[0] = Holds::Number;
    }

    fn block(&mut self, depth: u32) {
        let most = if depth == 0 { 12 } else { 4 };
        for _ in 0..1 + self.random.below(most) {
            match self.random.below(24) {
                0..3 => self.set_number(),
                3..6 => self.arithmetic(),
                6 => self.unary(),
                7 => drop(self.bound()),
                8..11 => self.map_memory(),
                11..14 => self.stack_memory(),
                14..16 => self.value_memory(),
                16 => self.look_up(),
                17 => self.ring(),
                18 => self.probe(),
                19 | 20 if depth < 3 => self.condition(depth),
                21 if depth < 2 => self.turns(depth),
                22 => self.call_function(),
                _ => self.arithmetic(),
            }
        }
    }

    /// The end of a function.
    fn end(&mut self) {
        for at in std::mem::take(&mut self.to_end) {
            self.insns[at].off = (self.insns.len() - at - 1) as i16;
        }
        self.mov(0, Source::Imm(0));
        self.push(Op::Exit);
    }
}

/// A program that is given the context of a tracepoint in r1; it errs once in `errs` chances.
pub fn program(random: &mut Random, errs: u64) -> Vec<Insn> {
    let mut generator = Generator {
        random,
        insns: Vec::new(),
        holds: [Holds::Nothing; 10],
        slots: [Holds::Nothing; 8],
        to_end: Vec::new(),
        calls: Vec::new(),
        callbacks: Vec::new(),
        in_function: false,
        errs,
    };
    generator.holds[1] = Holds::Context;
    if generator.random.once_in(2) {
        generator.mov(6, Source::Reg(Reg::R1));
        generator.holds[6] = Holds::Context;
    }
    generator.set_number();
    generator.block(0);
    generator.end();
    let calls = std::mem::take(&mut generator.calls);
    if !calls.is_empty() {
        let start = generator.insns.len();
        generator.in_function = true;
        (generator.holds, generator.slots) = ([Holds::Nothing; 10], [Holds::Nothing; 8]);
        generator.holds[1] = Holds::Number;
        generator.set_number();
        generator.block(1);
        generator.end();
        for call in calls {
            generator.insns[call].imm = (start - call - 1) as i32;
        }
    }
    let callbacks = std::mem::take(&mut generator.callbacks);
    if !callbacks.is_empty() {
        let start = generator.insns.len();
        generator.in_function = true;
        (generator.holds, generator.slots) = ([Holds::Nothing; 10], [Holds::Nothing; 8]);
        generator.holds[1] = Holds::Number;
        generator.holds[2] = Holds::Stack;
        generator.mov(7, Source::Reg(reg(2)));
        generator.push(Op::Load { size: Size::Double, signed: false, dst: reg(8), base: reg(7), offset: 0 });
        generator.holds[8] = Holds::Number;
        generator.block(2);
        if generator.holds[7] == Holds::Nothing && generator.random.once_in(2) {
            generator.push(Op::Store { size: Size::Double, base: reg(7), offset: 0, src: Source::Reg(reg(8)) });
        }
        generator.end();
        for callback in callbacks {
            generator.insns[callback].imm = (start - callback - 1) as i32;
        }
    }
    generator.insns
}
