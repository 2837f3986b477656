//! Pairs of instructions that compilers emit all the time, each executed by one handler.
//!
//! The second instruction still stands behind the first as itself, with its own operands and counter: jumps lead to
//! it, and a chain may end between the two. What handlers owe each other is said in [`super::handlers`].

use super::handlers::{Add, Binary, Registers, Test, go, jump, next};
use super::machine::{Machine, Op};
use crate::memory::Memory;

/// Where the second instruction of a pair has its second operand from.
pub(super) trait Operand {
    fn of(op: &Op, r: Registers) -> u64;
}

/// Its constant.
pub(super) struct Imm;

impl Operand for Imm {
    #[inline(always)]
    fn of(op: &Op, _r: Registers) -> u64 {
        op.imm
    }
}

/// Its source register.
pub(super) struct Reg;

impl Operand for Reg {
    #[inline(always)]
    fn of(op: &Op, r: Registers) -> u64 {
        r.get(op.src)
    }
}

/// `dst = src`, `dst = dst ○ operand`, where the operand is not `dst`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn moved<B: Binary, O: Operand>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: `pc` is an op, with the second of the pair behind it, and `m` a machine that nothing else refers to.
    let (first, second, r) = unsafe { (&*pc, pc.add(1), Registers(&raw mut (*m).r)) };
    let moved = r.get(first.src);
    if n == 0 {
        r.set(first.dst, moved);
        return second;
    }
    // SAFETY: an op.
    let operand = O::of(unsafe { &*second }, r);
    r.set(first.dst, B::on64(moved, operand));
    let n = n - 1;
    next!(second, m, mem, n)
}

/// `dst += imm`, `if a ○ operand goto`: the end of a loop.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn step_jump<T: Test, O: Operand>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: as in `moved`.
    let (first, second, r) = unsafe { (&*pc, pc.add(1), Registers(&raw mut (*m).r)) };
    r.set(first.dst, Add::on64(r.get(first.dst), first.imm));
    if n == 0 {
        return second;
    }
    let n = n - 1;
    // SAFETY: an op.
    let test = unsafe { &*second };
    if T::on64(r.get(test.dst), O::of(test, r)) {
        jump!(second, m, mem, n)
    }
    next!(second, m, mem, n)
}
