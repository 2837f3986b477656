//! Memory in random programs: maps, the stack, records, what helpers write.

use super::{ARRAY, Generator, HASH, Holds, ONE, ONE_BYTES, RING, RODATA, SIZES, VALUE_BYTES, reg};
use axebpf_core::isa::{AluOp, AtomicOp, Imm64, JumpOp, Op, Reg, Size, Source, Width};

impl Generator<'_> {
    /// An access to an object of so many bytes at a register, of which an offset below `before` may have been added.
    pub(super) fn access(&mut self, base: usize, bytes: u32, before: u32) {
        let size = self.random.pick(&SIZES);
        let room = bytes.saturating_sub(before.saturating_sub(1)).saturating_sub(u32::from(size.bytes()));
        if bytes < before + u32::from(size.bytes()) && !self.errs() {
            return;
        }
        let mut offset = self.random.below(u64::from(room) + 1) as i16;
        // The last place, and the one behind it, tell most.
        if self.random.once_in(3) {
            offset = room as i16 + i16::from(self.random.once_in(8));
        }
        if self.errs() {
            offset += self.random.below(9) as i16 - 4;
        }
        let other = self.number();
        let (base, dst) = (reg(base), self.destination());
        match (self.random.below(5), other) {
            (0 | 1, _) | (_, None) => {
                let signed = size != Size::Double && self.random.once_in(3);
                self.push(Op::Load { size, signed, dst: reg(dst), base, offset });
                self.holds[dst] = Holds::Number;
            }
            (2, Some(other)) => self.push(Op::Store { size, base, offset, src: Source::Reg(reg(other)) }),
            (3, Some(other)) if matches!(size, Size::Word | Size::Double) => {
                let width = if size == Size::Word { Width::W32 } else { Width::W64 };
                let op = self.random.pick(&[AtomicOp::Add, AtomicOp::FetchAdd, AtomicOp::Xchg, AtomicOp::FetchOr]);
                let aligned = (offset as u16 / u16::from(size.bytes()) * u16::from(size.bytes())) as i16;
                self.push(Op::Atomic { width, op, base, offset: aligned, src: reg(other) });
            }
            _ => {
                let imm = self.constant();
                self.push(Op::Store { size, base, offset, src: Source::Imm(imm) });
            }
        }
    }

    /// An access to the map ONE, at a constant or a bounded index.
    pub(super) fn map_memory(&mut self) {
        let base = self.destination();
        let offset = if self.random.once_in(2) { 0 } else { self.random.below(40) as u32 };
        let map = if self.random.once_in(8) { RODATA } else { ONE };
        self.push(Op::LoadImm64 { dst: reg(base), value: Imm64::MapValue { map, offset: offset % VALUE_BYTES } });
        self.holds[base] = if map == ONE { Holds::One } else { Holds::Nothing };
        if map == RODATA {
            let (dst, size) = (self.destination(), self.random.pick(&SIZES[..3]));
            let signed = self.random.once_in(2);
            self.push(Op::Load { size, signed, dst: reg(dst), base: reg(base), offset: 0 });
            self.holds[dst] = Holds::Number;
            return;
        }
        let offset = offset % VALUE_BYTES;
        let bytes = ONE_BYTES - offset;
        if self.random.once_in(3) {
            return self.access(base, bytes, 1);
        }
        let bounded = self.find(|holds| matches!(holds, Holds::Below(_)));
        let index = match bounded.filter(|_| self.random.once_in(2)) {
            Some(index) => Some(index),
            None => self.bound(),
        };
        let Some(index) = index.filter(|index| *index != base) else { return };
        let limit = match self.holds[index] {
            Holds::Below(limit) => limit,
            _ => 8,
        };
        let op = if self.random.once_in(8) { AluOp::Sub } else { AluOp::Add };
        self.alu(Width::W64, op, base, Source::Reg(reg(index)));
        self.access(base, bytes, limit);
        self.holds[base] = Holds::Nothing;
    }

    pub(super) fn stack_memory(&mut self) {
        let slot = self.random.below(8) as usize;
        let offset = -8 * (slot as i16 + 1);
        match self.random.below(8) {
            0..3 => {
                let Some(src) = self.find(|holds| holds != Holds::Nothing) else { return };
                let size = if self.random.once_in(4) { self.random.pick(&SIZES) } else { Size::Double };
                self.push(Op::Store { size, base: Reg::R10, offset, src: Source::Reg(reg(src)) });
                self.slots[slot] = if size == Size::Double { self.holds[src] } else { Holds::Number };
            }
            3..6 => {
                let dst = self.destination();
                let size = if self.random.once_in(4) { self.random.pick(&SIZES) } else { Size::Double };
                if self.slots[slot] == Holds::Nothing && !self.random.once_in(4) {
                    return;
                }
                let is_address = !matches!(self.slots[slot], Holds::Number | Holds::Below(_) | Holds::Nothing);
                let size = if is_address && !self.errs() { Size::Double } else { size };
                self.push(Op::Load { size, signed: false, dst: reg(dst), base: Reg::R10, offset });
                self.holds[dst] = if size == Size::Double { self.slots[slot] } else { Holds::Number };
                if self.holds[dst] == Holds::Nothing {
                    self.holds[dst] = Holds::Number;
                }
            }
            6 => {
                // A part of a slot is overwritten.
                let size = self.random.pick(&SIZES[..3]);
                let within = self.random.below(8 / u64::from(size.bytes())) as i16 * i16::from(size.bytes());
                let imm = self.constant();
                self.push(Op::Store { size, base: Reg::R10, offset: offset + within, src: Source::Imm(imm) });
                self.slots[slot] = Holds::Number;
            }
            _ => {
                // At an index.
                let Some(index) = self.bound() else { return };
                let base = self.destination();
                if base == index {
                    return;
                }
                let mask = if self.errs() { 63 } else { 56 };
                self.alu(Width::W64, AluOp::And, index, Source::Imm(mask));
                self.mov(base, Source::Reg(Reg::R10));
                self.alu(Width::W64, AluOp::Add, base, Source::Imm(-64));
                self.alu(Width::W64, AluOp::Add, base, Source::Reg(reg(index)));
                let offset = if self.errs() { 8 } else { 0 };
                if self.random.once_in(2) {
                    let dst = self.destination();
                    self.push(Op::Load { size: Size::Double, signed: false, dst: reg(dst), base: reg(base), offset });
                    self.holds[dst] = Holds::Number;
                } else {
                    self.push(Op::Store { size: Size::Double, base: reg(base), offset, src: Source::Imm(7) });
                    self.slots.fill(Holds::Number);
                }
                if self.holds[base] != Holds::Number {
                    self.holds[base] = Holds::Nothing;
                }
            }
        }
    }

    pub(super) fn look_up(&mut self) {
        let map = self.random.pick(&[HASH, ARRAY]);
        let key = self.constant();
        self.push(Op::Store { size: Size::Double, base: Reg::R10, offset: -8, src: Source::Imm(key) });
        self.slots[0] = Holds::Number;
        self.mov(2, Source::Reg(Reg::R10));
        self.alu(Width::W64, AluOp::Add, 2, Source::Imm(-8));
        self.push(Op::LoadImm64 { dst: Reg::R1, value: Imm64::Map(map) });
        self.call(1);
        let to = 6 + self.random.below(4) as usize;
        if self.random.once_in(2) {
            self.mov(to, Source::Reg(Reg::R0));
            self.holds[to] = Holds::Value;
        }
        if !self.errs() {
            self.leave(Width::W64, JumpOp::Eq, 0, 0);
        }
        self.holds[0] = Holds::Value;
    }

    pub(super) fn value_memory(&mut self) {
        let Some(base) = self.find(|holds| holds == Holds::Value) else { return self.look_up() };
        self.access(base, VALUE_BYTES, 1);
    }

    pub(super) fn ring(&mut self) {
        self.push(Op::LoadImm64 { dst: Reg::R1, value: Imm64::Map(RING) });
        self.mov(2, Source::Imm(16));
        self.mov(3, Source::Imm(0));
        self.call(131);
        let null = self.insns.len();
        if !self.errs() {
            self.push(Op::Jump { width: Width::W64, op: JumpOp::Eq, dst: Reg::R0, src: Source::Imm(0), offset: 0 });
        }
        self.mov(9, Source::Reg(Reg::R0));
        self.holds[9] = Holds::Value;
        self.holds[0] = Holds::Nothing;
        for _ in 0..self.random.below(3) {
            self.access(9, VALUE_BYTES, 1);
            // It may have been loaded over.
            if self.holds[9] != Holds::Value {
                break;
            }
        }
        if !self.errs() {
            self.mov(1, Source::Reg(reg(9)));
            self.mov(2, Source::Imm(0));
            let id = if self.random.once_in(2) { 132 } else { 133 };
            self.call(id);
        }
        self.holds[9] = Holds::Nothing;
        if self.insns[null].code == 0x15 {
            self.insns[null].off = (self.insns.len() - null - 1) as i16;
        }
    }

    /// Reads something into the stack.
    pub(super) fn probe(&mut self) {
        let Some(size) = self.bound().filter(|size| *size > 0) else { return };
        let limit = match self.holds[size] {
            Holds::Below(limit) => limit,
            _ => 8,
        };
        self.mov(2, Source::Reg(reg(size)));
        self.mov(1, Source::Reg(Reg::R10));
        let room = (limit.next_multiple_of(8)).min(64) as i32;
        let room = if self.errs() { 8 } else { room };
        self.alu(Width::W64, AluOp::Add, 1, Source::Imm(-room));
        self.mov(3, Source::Imm(0));
        self.call(113);
        self.holds[0] = Holds::Number;
        self.slots.fill(Holds::Number);
    }
}
