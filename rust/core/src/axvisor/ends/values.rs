//! What is known of a number in a register, and what rbpf makes of it.
//!
//! Numbers are computed as rbpf 0.4.1 computes them, which is not always as Linux does ([`crate::axvisor::GAPS`]): a
//! 64-bit comparison with a negative constant clears the constant's upper half, `s/` and `s%` divide as unsigned ones,
//! a sign-extending move only moves, and `w %= 0` leaves the whole register.

use crate::isa::Insn;
use crate::isa::opcode::{AluOp, JumpOp, OPERATION_MASK, SOURCE_REGISTER, alu, class};

/// Addresses of lent memory are only told from the stack's below this: a null pointer plus less is no address at all.
const NULL_PAGE: i64 = 4096;

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    Anything,
    /// All.
    Number(u64),
    /// An address: that many bytes from the end of rbpf's stack.
    Stack(i64),
    /// `offset` bytes from what the instruction in slot `origin` gave last: null, or `len` bytes beside the stack.
    Lent { origin: u32, len: u32, offset: i64 },
}

impl Value {
    /// What it is with a number added.
    pub(super) fn plus(self, number: u64) -> Value {
        match self {
            Value::Anything => Value::Anything,
            Value::Number(to) => Value::Number(to.wrapping_add(number)),
            Value::Stack(offset) => Value::Stack(offset.wrapping_add(number.cast_signed())),
            Value::Lent { origin, len, offset } => {
                Value::Lent { origin, len, offset: offset.wrapping_add(number.cast_signed()) }
            }
        }
    }

    /// How far it is from an address of the same memory.
    fn minus(self, other: Value) -> Option<i64> {
        match (self, other) {
            (Value::Stack(a), Value::Stack(b)) => Some(a.wrapping_sub(b)),
            (Value::Lent { origin, offset: a, .. }, Value::Lent { origin: same, offset: b, .. }) if origin == same => {
                Some(a.wrapping_sub(b))
            }
            _ => None,
        }
    }

    /// Whether an access of `size` bytes there surely touches nothing of the stack.
    pub(super) fn is_beside_the_stack(self, size: i64) -> bool {
        match self {
            Value::Lent { len, offset, .. } => {
                0 <= offset && offset.saturating_add(size) <= i64::from(len).min(NULL_PAGE)
            }
            _ => false,
        }
    }
}

/// The constant of an instruction, as most of rbpf's 64-bit instructions take it.
fn extended(insn: Insn) -> u64 {
    i64::from(insn.imm).cast_unsigned()
}

/// Whether the second operand is a register.
pub(super) fn has_register(insn: Insn) -> bool {
    insn.code & SOURCE_REGISTER != 0
}

/// The operation of an arithmetic instruction: `off` does not count, so there is no signed division.
pub(super) fn operation(insn: Insn) -> Option<AluOp> {
    AluOp::from_code(u16::from(insn.code & OPERATION_MASK))
}

/// What an arithmetic instruction leaves in its register.
pub(super) fn computed(insn: Insn, dst: Value, src: Value) -> Value {
    let is_wide = insn.code & class::MASK == class::ALU64;
    let src = if has_register(insn) { src } else { Value::Number(extended(insn)) };
    let Some(operation) = operation(insn) else {
        let Value::Number(number) = dst else { return Value::Anything };
        return unary(insn, is_wide, number).map_or(Value::Anything, Value::Number);
    };
    match (operation, is_wide, dst, src) {
        (AluOp::Mov, true, ..) => src,
        (AluOp::Mov, false, _, Value::Number(src)) => Value::Number(u64::from(src as u32)),
        (_, true, Value::Number(dst), Value::Number(src)) => Value::Number(wide(operation, dst, src)),
        (_, false, Value::Number(dst), Value::Number(src)) => Value::Number(narrow(operation, dst, src)),
        (AluOp::Add, true, address, Value::Number(number)) | (AluOp::Add, true, Value::Number(number), address) => {
            address.plus(number)
        }
        (AluOp::Sub, true, address, Value::Number(number)) => address.plus(number.wrapping_neg()),
        (AluOp::Sub, true, ..) => dst.minus(src).map_or(Value::Anything, |far| Value::Number(far.cast_unsigned())),
        _ => Value::Anything,
    }
}

fn wide(operation: AluOp, dst: u64, src: u64) -> u64 {
    match operation {
        AluOp::Add => dst.wrapping_add(src),
        AluOp::Sub => dst.wrapping_sub(src),
        AluOp::Mul => dst.wrapping_mul(src),
        AluOp::Div | AluOp::SDiv => dst.checked_div(src).unwrap_or(0),
        AluOp::Or => dst | src,
        AluOp::And => dst & src,
        AluOp::Lsh => dst << (src & 63),
        AluOp::Rsh => dst >> (src & 63),
        AluOp::Mod | AluOp::SMod => dst.checked_rem(src).unwrap_or(dst),
        AluOp::Xor => dst ^ src,
        AluOp::Mov => src,
        AluOp::Arsh => (dst.cast_signed() >> (src & 63)).cast_unsigned(),
    }
}

fn narrow(operation: AluOp, dst: u64, src: u64) -> u64 {
    let (low, by) = (dst as u32, src as u32);
    let result = match operation {
        AluOp::Add => low.wrapping_add(by),
        AluOp::Sub => low.wrapping_sub(by),
        AluOp::Mul => low.wrapping_mul(by),
        AluOp::Div | AluOp::SDiv => low.checked_div(by).unwrap_or(0),
        AluOp::Or => low | by,
        AluOp::And => low & by,
        AluOp::Lsh => low.wrapping_shl(by),
        AluOp::Rsh => low.wrapping_shr(by),
        AluOp::Mod | AluOp::SMod if by == 0 => return dst,
        AluOp::Mod | AluOp::SMod => low % by,
        AluOp::Xor => low ^ by,
        AluOp::Mov => by,
        AluOp::Arsh => low.cast_signed().wrapping_shr(by).cast_unsigned(),
    };
    u64::from(result)
}

/// Negation, `le` and `be`.
fn unary(insn: Insn, is_wide: bool, number: u64) -> Option<u64> {
    let is_big = insn.code & SOURCE_REGISTER != 0;
    Some(match (insn.code & OPERATION_MASK, insn.imm) {
        // Of the least number rbpf panics, if it is built to.
        (alu::NEG, _) if is_wide => number.cast_signed().checked_neg()?.cast_unsigned(),
        (alu::NEG, _) => u64::from((number as u32).wrapping_neg()),
        (alu::END, 16) if is_big => u64::from((number as u16).to_be()),
        (alu::END, 16) => u64::from((number as u16).to_le()),
        (alu::END, 32) if is_big => u64::from((number as u32).to_be()),
        (alu::END, 32) => u64::from((number as u32).to_le()),
        (alu::END, 64) if is_big => number.to_be(),
        (alu::END, 64) => number.to_le(),
        _ => return None,
    })
}

/// Whether a conditional jump jumps, where that is known.
pub(super) fn jumps(insn: Insn, dst: Value, src: Value) -> Option<bool> {
    let operation = JumpOp::from_code(insn.code & OPERATION_MASK)?;
    let is_wide = insn.code & class::MASK == class::JMP;
    let src = match operation {
        _ if has_register(insn) => src,
        JumpOp::Set | JumpOp::SGt | JumpOp::SGe | JumpOp::SLt | JumpOp::SLe => Value::Number(extended(insn)),
        // Of these rbpf clears the upper half.
        JumpOp::Eq | JumpOp::Ne | JumpOp::Gt | JumpOp::Ge | JumpOp::Lt | JumpOp::Le => {
            Value::Number(u64::from(insn.imm.cast_unsigned()))
        }
    };
    match (dst, src) {
        (Value::Number(dst), Value::Number(src)) if is_wide => {
            Some(compared(operation, dst, src, dst.cast_signed(), src.cast_signed()))
        }
        (Value::Number(dst), Value::Number(src)) => {
            let (dst, src) = (dst as u32, src as u32);
            Some(compared(operation, dst.into(), src.into(), dst.cast_signed().into(), src.cast_signed().into()))
        }
        // Two addresses of one memory are equal where their distance is 0. More is not known of where it lies.
        _ if is_wide => match (operation, dst.minus(src)?) {
            (JumpOp::Eq, far) => Some(far == 0),
            (JumpOp::Ne, far) => Some(far != 0),
            _ => None,
        },
        _ => None,
    }
}

/// Compares two numbers, which are given without and with their signs.
fn compared(operation: JumpOp, a: u64, b: u64, signed_a: i64, signed_b: i64) -> bool {
    match operation {
        JumpOp::Eq => a == b,
        JumpOp::Gt => a > b,
        JumpOp::Ge => a >= b,
        JumpOp::Set => a & b != 0,
        JumpOp::Ne => a != b,
        JumpOp::SGt => signed_a > signed_b,
        JumpOp::SGe => signed_a >= signed_b,
        JumpOp::Lt => a < b,
        JumpOp::Le => a <= b,
        JumpOp::SLt => signed_a < signed_b,
        JumpOp::SLe => signed_a <= signed_b,
    }
}
