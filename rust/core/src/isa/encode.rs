//! Typed instructions to slots.

use super::Insn;
use super::op::{Imm64, Op, Reg, Source, SwapOrder};
use super::opcode::{AluOp, SOURCE_REGISTER, Size, Width, alu, call, class, imm64, jump, mode, ordered};

/// The slot of an instruction, and the second one of `lddw`.
///
/// An `Op` that [`decode`](super::decode()) cannot make (a swap of 8 bits, a sign-extending load of 8 bytes) gives a slot
/// that it refuses.
#[must_use]
pub fn encode(op: &Op) -> (Insn, Option<Insn>) {
    if let Op::LoadImm64 { dst, value } = *op {
        let (src, low, high) = imm64_parts(value);
        let code = class::LD | mode::IMM | Size::Double.code();
        let first = Insn { code, dst: dst.number(), src, off: 0, imm: low };
        return (first, Some(Insn { imm: high, ..Insn::default() }));
    }
    (encode_single(op), None)
}

fn imm64_parts(value: Imm64) -> (u8, i32, i32) {
    match value {
        Imm64::Value(value) => (imm64::VALUE, value as i32, (value >> 32) as i32),
        Imm64::Map(map) => (imm64::MAP_FD, map, 0),
        Imm64::MapValue { map, offset } => (imm64::MAP_VALUE, map, offset as i32),
        Imm64::BtfId { id, btf_fd } => (imm64::BTF_ID, id, btf_fd),
        Imm64::Function { offset } => (imm64::FUNC, offset, 0),
        Imm64::MapIndex(index) => (imm64::MAP_IDX, index, 0),
        Imm64::MapIndexValue { index, offset } => (imm64::MAP_IDX_VALUE, index, offset as i32),
    }
}

fn encode_single(op: &Op) -> Insn {
    match *op {
        Op::Alu { width, op, dst, src } => with_source(alu_class(width) | op.code() as u8, dst, src, alu_offset(op)),
        Op::Neg { width, dst } => Insn { code: alu_class(width) | alu::NEG, dst: dst.number(), ..Insn::default() },
        Op::MovSx { width, from, dst, src } => {
            let code = alu_class(width) | AluOp::Mov.code() as u8;
            with_source(code, dst, Source::Reg(src), i16::from(from.bits()))
        }
        Op::Swap { order, size, dst } => {
            let code = alu::END
                | match order {
                    SwapOrder::Little => class::ALU,
                    SwapOrder::Big => class::ALU | SOURCE_REGISTER,
                    SwapOrder::Swap => class::ALU64,
                };
            Insn { code, dst: dst.number(), imm: i32::from(size.bits()), ..Insn::default() }
        }
        Op::Load { size, signed, dst, base, offset } => {
            let mode = if signed { mode::MEMSX } else { mode::MEM };
            memory(class::LDX | mode | size.code(), dst, base, offset, 0)
        }
        Op::Store { size, base, offset, src: Source::Reg(src) } => {
            memory(class::STX | mode::MEM | size.code(), base, src, offset, 0)
        }
        Op::Store { size, base, offset, src: Source::Imm(imm) } => {
            memory(class::ST | mode::MEM | size.code(), base, Reg::R0, offset, imm)
        }
        Op::Atomic { width, op, base, offset, src } => atomic(atomic_size(width), base, src, offset, op.code()),
        Op::LoadAcquire { size, dst, base, offset } => atomic(size, dst, base, offset, ordered::LOAD_ACQUIRE),
        Op::StoreRelease { size, base, offset, src } => atomic(size, base, src, offset, ordered::STORE_RELEASE),
        Op::LoadAbs { size, offset } => {
            Insn { code: class::LD | mode::ABS | size.code(), imm: offset, ..Insn::default() }
        }
        Op::LoadInd { size, src, offset } => {
            Insn { code: class::LD | mode::IND | size.code(), src: src.number(), imm: offset, ..Insn::default() }
        }
        Op::Ja { offset } => Insn { code: class::JMP | jump::JA, off: offset, ..Insn::default() },
        Op::JaLong { offset } => Insn { code: class::JMP32 | jump::JA, imm: offset, ..Insn::default() },
        Op::Jump { width, op, dst, src, offset } => {
            let class = if width == Width::W64 { class::JMP } else { class::JMP32 };
            with_source(class | op.code(), dst, src, offset)
        }
        Op::MayGoto { offset } => Insn { code: class::JMP | jump::JCOND, off: offset, ..Insn::default() },
        Op::CallHelper { id } => calling(call::HELPER, id as i32, 0),
        Op::CallLocal { offset } => calling(call::LOCAL, offset, 0),
        Op::CallKfunc { btf_id, btf_index } => calling(call::KFUNC, btf_id, btf_index),
        Op::CallRegister { target } => {
            Insn { code: class::JMP | jump::CALL | SOURCE_REGISTER, dst: target.number(), ..Insn::default() }
        }
        Op::Exit => Insn { code: class::JMP | jump::EXIT, ..Insn::default() },
        Op::LoadImm64 { .. } => encode(op).0,
    }
}

const fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => class::ALU,
        Width::W64 => class::ALU64,
    }
}

const fn alu_offset(op: AluOp) -> i16 {
    (op.code() >> 8) as i16
}

const fn atomic_size(width: Width) -> Size {
    match width {
        Width::W32 => Size::Word,
        Width::W64 => Size::Double,
    }
}

fn with_source(code: u8, dst: Reg, src: Source, off: i16) -> Insn {
    let dst = dst.number();
    match src {
        Source::Reg(src) => Insn { code: code | SOURCE_REGISTER, dst, src: src.number(), off, imm: 0 },
        Source::Imm(imm) => Insn { code, dst, src: 0, off, imm },
    }
}

fn memory(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
    Insn { code, dst: dst.number(), src: src.number(), off, imm }
}

fn atomic(size: Size, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
    memory(class::STX | mode::ATOMIC | size.code(), dst, src, off, imm)
}

fn calling(src: u8, imm: i32, off: i16) -> Insn {
    Insn { code: class::JMP | jump::CALL, dst: 0, src, off, imm }
}
