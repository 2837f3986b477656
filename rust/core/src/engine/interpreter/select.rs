//! Which handler executes an instruction.

use super::handlers as h;
use super::machine::Handler;
use super::pairs::{self, Imm, Reg};
use crate::isa::{AluOp, JumpOp, Op, Size, Source, SwapOrder, Width};

/// Evaluates `$e` with `$b` as the [`h::Binary`] of an operation.
macro_rules! with_binary {
    ($op:expr, $b:ident => $e:expr) => {
        with_binary!($op, $b => $e; Add Sub Mul Div Or And Lsh Rsh Mod Xor Mov Arsh SDiv SMod)
    };
    ($op:expr, $b:ident => $e:expr; $($name:ident)*) => {
        match $op {
            $(AluOp::$name => {
                type $b = h::$name;
                $e
            })*
        }
    };
}

/// Evaluates `$e` with `$t` as the [`h::Test`] of a condition.
macro_rules! with_test {
    ($op:expr, $t:ident => $e:expr) => { with_test!($op, $t => $e; Eq Ne Gt Ge Lt Le Set SGt SGe SLt SLe) };
    ($op:expr, $t:ident => $e:expr; $($name:ident)*) => {
        match $op {
            $(JumpOp::$name => {
                type $t = h::$name;
                $e
            })*
        }
    };
}

/// With a constant, and with a register, as the second operand.
type Choice = (Handler, Handler);

pub(super) fn alu(width: Width, op: AluOp) -> Choice {
    match width {
        Width::W64 => with_binary!(op, B => (h::alu64_imm::<B>, h::alu64_reg::<B>)),
        Width::W32 => with_binary!(op, B => (h::alu32_imm::<B>, h::alu32_reg::<B>)),
    }
}

pub(super) fn jump(width: Width, op: JumpOp) -> Choice {
    match width {
        Width::W64 => with_test!(op, T => (h::jump64_imm::<T>, h::jump64_reg::<T>)),
        Width::W32 => with_test!(op, T => (h::jump32_imm::<T>, h::jump32_reg::<T>)),
    }
}

/// The handler of two instructions that stand behind each other, where there is one for both.
pub(super) fn pair(first: &Op, second: &Op) -> Option<Handler> {
    let ((imm, reg), src) = match (*first, *second) {
        (
            Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Source::Reg(_) },
            Op::Alu { width: Width::W64, op, dst: also, src },
        ) if dst == also && src != Source::Reg(dst) => {
            (with_binary!(op, B => (pairs::moved::<B, Imm> as Handler, pairs::moved::<B, Reg> as Handler)), src)
        }
        (
            Op::Alu { width: Width::W64, op: AluOp::Add, src: Source::Imm(_), .. },
            Op::Jump { width: Width::W64, op, src, .. },
        ) => (with_test!(op, T => (pairs::step_jump::<T, Imm> as Handler, pairs::step_jump::<T, Reg> as Handler)), src),
        _ => return None,
    };
    Some(if matches!(src, Source::Imm(_)) { imm } else { reg })
}

pub(super) fn sign_extension(width: Width, from: Size) -> Handler {
    match (width, from) {
        (Width::W64, Size::Byte) => h::unary::<h::Sign8>,
        (Width::W64, Size::Half) => h::unary::<h::Sign16>,
        (Width::W64, _) => h::unary::<h::Sign32>,
        (Width::W32, Size::Byte) => h::unary::<h::Sign8To32>,
        (Width::W32, _) => h::unary::<h::Sign16To32>,
    }
}

pub(super) fn swap(order: SwapOrder, size: Size) -> Handler {
    match (order, size) {
        (SwapOrder::Little, Size::Half) => h::unary::<h::Le16>,
        (SwapOrder::Little, Size::Word) => h::unary::<h::Le32>,
        (SwapOrder::Little, _) => h::unary::<h::Le64>,
        (SwapOrder::Big, Size::Half) => h::unary::<h::Be16>,
        (SwapOrder::Big, Size::Word) => h::unary::<h::Be32>,
        (SwapOrder::Big, _) => h::unary::<h::Be64>,
        (SwapOrder::Swap, Size::Half) => h::unary::<h::Swap16>,
        (SwapOrder::Swap, Size::Word) => h::unary::<h::Swap32>,
        (SwapOrder::Swap, _) => h::unary::<h::Swap64>,
    }
}

pub(super) fn load(size: Size, signed: bool) -> Handler {
    match (size, signed) {
        (Size::Byte, false) => h::load::<u8, false>,
        (Size::Half, false) => h::load::<u16, false>,
        (Size::Word, false) => h::load::<u32, false>,
        (Size::Double, _) => h::load::<u64, false>,
        (Size::Byte, true) => h::load::<i8, false>,
        (Size::Half, true) => h::load::<i16, false>,
        (Size::Word, true) => h::load::<i32, false>,
    }
}

pub(super) fn load_acquire(size: Size) -> Handler {
    match size {
        Size::Byte => h::load::<u8, true>,
        Size::Half => h::load::<u16, true>,
        Size::Word => h::load::<u32, true>,
        Size::Double => h::load::<u64, true>,
    }
}

pub(super) fn store(size: Size) -> (Handler, Handler) {
    match size {
        Size::Byte => (h::store_imm::<u8>, h::store_reg::<u8, false>),
        Size::Half => (h::store_imm::<u16>, h::store_reg::<u16, false>),
        Size::Word => (h::store_imm::<u32>, h::store_reg::<u32, false>),
        Size::Double => (h::store_imm::<u64>, h::store_reg::<u64, false>),
    }
}

pub(super) fn store_release(size: Size) -> Handler {
    match size {
        Size::Byte => h::store_reg::<u8, true>,
        Size::Half => h::store_reg::<u16, true>,
        Size::Word => h::store_reg::<u32, true>,
        Size::Double => h::store_reg::<u64, true>,
    }
}
