//! Pairs of instructions that compilers emit all the time, each executed by one handler.
//!
//! The second instruction still stands behind the first as itself, with its own operands and counter: jumps lead to
//! it, and a chain may end between the two. What handlers owe each other is said in [`super::handlers`].

use super::handlers::{Binary, Registers, Test, go, jump, next};
use super::machine::{Machine, Op};
use crate::memory::Memory;

/// `dst = src`, `dst = dst ○ imm`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn moved_imm<B: Binary>(
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
    r.set(first.dst, B::on64(moved, unsafe { (*second).imm }));
    let n = n - 1;
    next!(second, m, mem, n)
}

/// `dst = src`, `dst = dst ○ other`, where `other` is not `dst`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn moved_reg<B: Binary>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: as in `moved_imm`.
    let (first, second, r) = unsafe { (&*pc, pc.add(1), Registers(&raw mut (*m).r)) };
    let moved = r.get(first.src);
    if n == 0 {
        r.set(first.dst, moved);
        return second;
    }
    // SAFETY: an op.
    let other = r.get(unsafe { (*second).src });
    r.set(first.dst, B::on64(moved, other));
    let n = n - 1;
    next!(second, m, mem, n)
}

/// `dst = dst ○ imm`, `if a ○ imm goto`: the end of a loop.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn step_jump_imm<B: Binary, T: Test>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: as in `moved_imm`.
    let (first, second, r) = unsafe { (&*pc, pc.add(1), Registers(&raw mut (*m).r)) };
    r.set(first.dst, B::on64(r.get(first.dst), first.imm));
    if n == 0 {
        return second;
    }
    let n = n - 1;
    // SAFETY: an op.
    let test = unsafe { &*second };
    if T::on64(r.get(test.dst), test.imm) {
        jump!(second, m, mem, n)
    }
    next!(second, m, mem, n)
}

/// `dst = dst ○ imm`, `if a ○ b goto`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn step_jump_reg<B: Binary, T: Test>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: as in `moved_imm`.
    let (first, second, r) = unsafe { (&*pc, pc.add(1), Registers(&raw mut (*m).r)) };
    r.set(first.dst, B::on64(r.get(first.dst), first.imm));
    if n == 0 {
        return second;
    }
    let n = n - 1;
    // SAFETY: an op.
    let test = unsafe { &*second };
    if T::on64(r.get(test.dst), r.get(test.src)) {
        jump!(second, m, mem, n)
    }
    next!(second, m, mem, n)
}
