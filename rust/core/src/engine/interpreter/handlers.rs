//! One function an instruction: what [`super::machine::Op::run`] points to.
//!
//! Every handler has the same four arguments, in registers: the op, the machine, the memory, and how many more
//! instructions the chain may execute. What a caller owes is said once, at [`super::machine::Handler`]; the functions
//! here rely on that and on what the decoder has checked: registers are at most 10, every jump leads to an op, and an op
//! that goes on has one behind it.

#![expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::machine::{Caller, MAY_GOTO_LIMIT, Machine, Op, State};
use super::{arith, atomic};
use crate::fault::Fault;
use crate::helper::{self, Helper, Run, SPIN_LOCK, SPIN_UNLOCK, TAIL_CALL};
use crate::memory::relaxed::Word;
use crate::memory::{FRAMES, Memory};

/// Goes on with the op at `$to`, or ends the chain.
macro_rules! go {
    ($to:expr, $m:ident, $mem:ident, $n:ident) => {{
        let to: *const Op = $to;
        if $n == 0 {
            return to;
        }
        // SAFETY: `to` is an op; the rest is passed on as it was promised.
        return unsafe { ((*to).run)(to, $m, $mem, $n - 1) };
    }};
}

/// Goes on with the next op.
macro_rules! next {
    ($pc:ident, $m:ident, $mem:ident, $n:ident) => {
        // SAFETY: an op that goes on has one behind it.
        go!(unsafe { $pc.add(1) }, $m, $mem, $n)
    };
}

/// Takes the jump of the op at `$pc`.
macro_rules! jump {
    ($pc:ident, $m:ident, $mem:ident, $n:ident) => {{
        // SAFETY: `pc` is an op.
        let op = unsafe { &*$pc };
        op.count();
        // SAFETY: the decoder has checked that the jump leads to an op.
        go!(unsafe { $pc.byte_offset(op.off as isize) }, $m, $mem, $n)
    }};
}

pub(super) use {go, jump, next};

/// Defines a handler: `|op, r| …` is what it does before the next op.
macro_rules! simple {
    ($(#[$doc:meta])* $name:ident $(<$($generic:ident: $bound:ident),*>)?, |$op:ident, $r:ident| $body:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As of every handler: see [`super::machine::Handler`].
        pub(super) unsafe fn $name $(<$($generic: $bound),*>)? (
            pc: *const Op,
            m: *mut Machine<'_>,
            mem: *mut Memory<'_>,
            n: i64,
        ) -> *const Op {
            // SAFETY: `pc` is an op and `m` a machine that nothing else refers to.
            let ($op, $r) = unsafe { (&*pc, Registers(&raw mut (*m).r)) };
            $body;
            next!(pc, m, mem, n)
        }
    };
}

/// The registers of a machine, indexed by an op's fields.
#[derive(Clone, Copy)]
pub(super) struct Registers(pub(super) *mut [u64; 11]);

impl Registers {
    #[inline(always)]
    pub(super) fn get(self, register: u8) -> u64 {
        debug_assert!(register <= 10);
        // SAFETY: the decoder lets no register above 10 through; the machine is alive while a handler runs.
        unsafe { *self.0.cast::<u64>().add(register as usize) }
    }

    #[inline(always)]
    pub(super) fn set(self, register: u8, value: u64) {
        debug_assert!(register <= 10);
        // SAFETY: as in `get`.
        unsafe { *self.0.cast::<u64>().add(register as usize) = value }
    }
}

/// Stops the run at the op `pc`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
#[cold]
#[inline(never)]
unsafe fn stop(pc: *const Op, m: *mut Machine<'_>, n: i64, fault: Box<Fault>) -> *const Op {
    // SAFETY: the machine is valid and nothing else refers to it.
    let machine = unsafe { &mut *m };
    machine.state = State::Stopped(fault);
    machine.granted -= n;
    pc
}

// Arithmetic.

/// Defines a trait of functions of two operands, on 64 and on 32 bits, and its members.
macro_rules! two_operands {
    (
        $(#[$doc:meta])* $of:ident: $to64:ty, $to32:ty;
        $($name:ident: |$a:ident, $b:ident| $on64:expr, $on32:expr;)*
    ) => {
        $(#[$doc])*
        pub(super) trait $of {
            fn on64(a: u64, b: u64) -> $to64;
            fn on32(a: u32, b: u32) -> $to32;
        }
        $(
            pub(super) struct $name;
            impl $of for $name {
                #[inline(always)]
                fn on64($a: u64, $b: u64) -> $to64 { $on64 }
                #[inline(always)]
                fn on32($a: u32, $b: u32) -> $to32 { $on32 }
            }
        )*
    };
}

two_operands! {
    /// An operation.
    Binary: u64, u32;

    Add: |a, b| a.wrapping_add(b), a.wrapping_add(b);
    Sub: |a, b| a.wrapping_sub(b), a.wrapping_sub(b);
    Mul: |a, b| a.wrapping_mul(b), a.wrapping_mul(b);
    Div: |a, b| arith::div64(a, b), arith::div32(a, b);
    Mod: |a, b| arith::mod64(a, b), arith::mod32(a, b);
    SDiv: |a, b| arith::sdiv64(a, b), arith::sdiv32(a, b);
    SMod: |a, b| arith::smod64(a, b), arith::smod32(a, b);
    Or: |a, b| a | b, a | b;
    And: |a, b| a & b, a & b;
    Xor: |a, b| a ^ b, a ^ b;
    Lsh: |a, b| a << (b & 63), a << (b & 31);
    Rsh: |a, b| a >> (b & 63), a >> (b & 31);
    Arsh: |a, b| ((a as i64) >> (b & 63)) as u64, ((a as i32) >> (b & 31)) as u32;
    Mov: |_a, b| b, b;
    // One operand: the second is not used.
    Neg: |a, _b| a.wrapping_neg(), a.wrapping_neg();
}

simple!(
    /// `dst = dst ○ imm`.
    alu64_imm<B: Binary>, |op, r| r.set(op.dst, B::on64(r.get(op.dst), op.imm)));
simple!(
    /// `dst = dst ○ src`.
    alu64_reg<B: Binary>, |op, r| r.set(op.dst, B::on64(r.get(op.dst), r.get(op.src))));
simple!(
    /// The same on the low halves; the high half of `dst` becomes zero.
    alu32_imm<B: Binary>, |op, r| r.set(op.dst, u64::from(B::on32(r.get(op.dst) as u32, op.imm as u32))));
simple!(
    /// As [`alu32_imm`], with a register.
    alu32_reg<B: Binary>, |op, r| r.set(op.dst, u64::from(B::on32(r.get(op.dst) as u32, r.get(op.src) as u32))));

/// A function of one 64-bit value: sign extensions and byte swaps.
pub(super) trait Unary {
    fn of(a: u64) -> u64;
}

macro_rules! unary {
    ($($name:ident: |$a:ident| $of:expr;)*) => {$(
        pub(super) struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn of($a: u64) -> u64 { $of }
        }
    )*};
}

unary! {
    Sign8: |a| a as i8 as u64;
    Sign16: |a| a as i16 as u64;
    Sign32: |a| a as i32 as u64;
    Sign8To32: |a| u64::from(a as i8 as u32);
    Sign16To32: |a| u64::from(a as i16 as u32);
    Le16: |a| u64::from((a as u16).to_le());
    Le32: |a| u64::from((a as u32).to_le());
    Le64: |a| a.to_le();
    Be16: |a| u64::from((a as u16).to_be());
    Be32: |a| u64::from((a as u32).to_be());
    Be64: |a| a.to_be();
    Swap16: |a| u64::from((a as u16).swap_bytes());
    Swap32: |a| u64::from((a as u32).swap_bytes());
    Swap64: |a| a.swap_bytes();
}

simple!(
    /// `dst = f(src)`; a byte swap has `src` equal to `dst`.
    unary<U: Unary>, |op, r| r.set(op.dst, U::of(r.get(op.src))));
simple!(
    /// `dst = imm`, all 64 bits.
    load_imm64, |op, r| r.set(op.dst, op.imm));

// Jumps.

two_operands! {
    /// A condition.
    Test: bool, bool;

    Eq: |a, b| a == b, a == b;
    Ne: |a, b| a != b, a != b;
    Gt: |a, b| a > b, a > b;
    Ge: |a, b| a >= b, a >= b;
    Lt: |a, b| a < b, a < b;
    Le: |a, b| a <= b, a <= b;
    Set: |a, b| a & b != 0, a & b != 0;
    SGt: |a, b| a as i64 > b as i64, a as i32 > b as i32;
    SGe: |a, b| a as i64 >= b as i64, a as i32 >= b as i32;
    SLt: |a, b| (a as i64) < b as i64, (a as i32) < b as i32;
    SLe: |a, b| a as i64 <= b as i64, a as i32 <= b as i32;
}

macro_rules! branch {
    ($(#[$doc:meta])* $name:ident, |$op:ident, $r:ident| $holds:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As of every handler: see [`super::machine::Handler`].
        pub(super) unsafe fn $name<T: Test>(
            pc: *const Op,
            m: *mut Machine<'_>,
            mem: *mut Memory<'_>,
            n: i64,
        ) -> *const Op {
            // SAFETY: `pc` is an op and `m` a machine that nothing else refers to.
            let ($op, $r) = unsafe { (&*pc, Registers(&raw mut (*m).r)) };
            if $holds {
                jump!(pc, m, mem, n)
            }
            next!(pc, m, mem, n)
        }
    };
}

branch!(
    /// Jumps when `dst ○ imm`.
    jump64_imm, |op, r| T::on64(r.get(op.dst), op.imm));
branch!(
    /// Jumps when `dst ○ src`.
    jump64_reg, |op, r| T::on64(r.get(op.dst), r.get(op.src)));
branch!(
    /// Jumps when `dst ○ imm` on the low halves.
    jump32_imm, |op, r| T::on32(r.get(op.dst) as u32, op.imm as u32));
branch!(
    /// Jumps when `dst ○ src` on the low halves.
    jump32_reg, |op, r| T::on32(r.get(op.dst) as u32, r.get(op.src) as u32));

/// Jumps.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn ja(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
    jump!(pc, m, mem, n)
}

/// Goes on until the frame has done so `MAY_GOTO_LIMIT` times, then jumps.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn may_goto(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
    // SAFETY: the machine is valid and nothing else refers to it.
    let left = unsafe { &mut (*m).may_goto };
    if *left == 0 {
        jump!(pc, m, mem, n)
    }
    *left -= 1;
    next!(pc, m, mem, n)
}

// Memory.

/// Something that a load or store moves.
pub(super) trait Value: Word {
    /// `log2` of its size.
    const LOG2: usize;
    /// Extended to a register.
    fn extend(self) -> u64;
    /// The low part of a register.
    fn low(register: u64) -> Self;
}

macro_rules! value {
    ($($type:ty: $log2:literal, $wide:ty;)*) => {$(
        impl Value for $type {
            const LOG2: usize = $log2;
            #[inline(always)]
            fn extend(self) -> u64 { self as $wide as u64 }
            #[inline(always)]
            fn low(register: u64) -> Self { register as Self }
        }
    )*};
}

value! {
    u8: 0, u64; u16: 1, u64; u32: 2, u64; u64: 3, u64;
    i8: 0, i64; i16: 1, i64; i32: 2, i64;
}

/// `LOG2` of a value as a constant of the check that it selects.
macro_rules! with_log2 {
    ($value:ident, $memory:expr, $check:ident, $address:expr) => {
        match $value::LOG2 {
            0 => $memory.$check::<0>($address),
            1 => $memory.$check::<1>($address),
            2 => $memory.$check::<2>($address),
            _ => $memory.$check::<3>($address),
        }
    };
}

/// Looks for the window of an access that missed the cached ones, and does the op again or stops there.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
#[cold]
#[inline(never)]
unsafe fn miss<const WRITE: bool>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
    address: u64,
    size: u64,
) -> *const Op {
    // SAFETY: the memory is valid and nothing else refers to it.
    match unsafe { (*mem).find(address, size, WRITE) } {
        // The window is a cached one now, so that the op does not come here again.
        // SAFETY: as it was promised to the handler that missed.
        Ok(()) => unsafe { ((*pc).run)(pc, m, mem, n) },
        // SAFETY: likewise.
        Err(fault) => unsafe { stop(pc, m, n, fault) },
    }
}

/// `dst = *(V *)(src + off)`. With `ACQUIRE`, later accesses stay behind it.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn load<V: Value, const ACQUIRE: bool>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: `pc` is an op and `m` a machine that nothing else refers to.
    let (op, r) = unsafe { (&*pc, Registers(&raw mut (*m).r)) };
    let address = r.get(op.src).wrapping_add(op.off as i64 as u64);
    // SAFETY: the memory is valid and nothing else refers to it.
    if !with_log2!(V, unsafe { &*mem }, may_load, address) {
        // SAFETY: passed on as it was promised.
        return unsafe { miss::<false>(pc, m, mem, n, address, size_of::<V>() as u64) };
    }
    // SAFETY: the check found the bytes in live memory, which nobody reaches but by relaxed accesses.
    let value = unsafe { V::load(address as *const V) };
    if ACQUIRE {
        fence(Ordering::Acquire);
    }
    r.set(op.dst, value.extend());
    next!(pc, m, mem, n)
}

/// # Safety
/// As of every handler: see [`super::machine::Handler`].
#[inline(always)]
unsafe fn store<V: Value>(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64, value: u64) -> *const Op {
    // SAFETY: `pc` is an op and `m` a machine that nothing else refers to.
    let (op, r) = unsafe { (&*pc, Registers(&raw mut (*m).r)) };
    let address = r.get(op.dst).wrapping_add(op.off as i64 as u64);
    // SAFETY: the memory is valid and nothing else refers to it.
    if !with_log2!(V, unsafe { &*mem }, may_store, address) {
        // SAFETY: passed on as it was promised.
        return unsafe { miss::<true>(pc, m, mem, n, address, size_of::<V>() as u64) };
    }
    // SAFETY: the check found the bytes in live, writable memory, which nobody reaches but by relaxed accesses.
    unsafe { V::low(value).store(address as *mut V) };
    next!(pc, m, mem, n)
}

/// `*(V *)(dst + off) = imm`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn store_imm<V: Value>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: passed on as it was promised.
    unsafe { store::<V>(pc, m, mem, n, (*pc).imm) }
}

/// `*(V *)(dst + off) = src`. With `RELEASE`, earlier accesses stay before it.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn store_reg<V: Value, const RELEASE: bool>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    if RELEASE {
        fence(Ordering::Release);
    }
    // SAFETY: passed on as it was promised.
    unsafe { store::<V>(pc, m, mem, n, Registers(&raw mut (*m).r).get((*pc).src)) }
}

/// An atomic instruction at an address that is no multiple of its size: stops there, but in the context, which no other
/// run has.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`]; the bytes must be live, writable memory.
#[cold]
#[inline(never)]
unsafe fn misaligned<const SIZE: u64>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
    address: u64,
) -> *const Op {
    // SAFETY: the memory is valid and nothing else refers to it.
    if let Some(fault) = unsafe { &*mem }.misaligned(address, SIZE) {
        // SAFETY: passed on as it was promised.
        return unsafe { stop(pc, m, n, fault) };
    }
    // SAFETY: `pc` is an op and `m` a machine that nothing else refers to; nobody else has the context.
    unsafe {
        let (op, r) = (&*pc, &mut (*m).r);
        if SIZE == 4 {
            atomic::apply32(op, address as *mut u32, true, r);
        } else {
            atomic::apply64(op, address as *mut u64, true, r);
        }
    }
    next!(pc, m, mem, n)
}

macro_rules! atomic_handlers {
    ($($add:ident, $other:ident, $int:ty, $atomic:ty, $log2:literal, $apply:ident;)*) => {$(
        /// `lock *(dst + off) += src`.
        ///
        /// # Safety
        /// As of every handler: see [`super::machine::Handler`].
        pub(super) unsafe fn $add(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
            // SAFETY: `pc` is an op and `m` a machine that nothing else refers to.
            let (op, r) = unsafe { (&*pc, Registers(&raw mut (*m).r)) };
            let address = r.get(op.dst).wrapping_add(op.off as i64 as u64);
            // SAFETY: the memory is valid and nothing else refers to it.
            if !unsafe { &*mem }.may_store::<$log2>(address) {
                // SAFETY: passed on as it was promised.
                return unsafe { miss::<true>(pc, m, mem, n, address, 1 << $log2) };
            }
            let (at, more) = (address as *mut $int, r.get(op.src) as $int);
            if !at.is_aligned() {
                // SAFETY: passed on as it was promised; the check found the bytes in live, writable memory.
                return unsafe { misaligned::<{ 1 << $log2 }>(pc, m, mem, n, address) };
            }
            // SAFETY: live, writable, aligned memory that is reached by relaxed accesses only.
            unsafe {
                if (*mem).is_alone() {
                    <$int>::load(at).wrapping_add(more).store(at);
                } else {
                    <$atomic>::from_ptr(at).fetch_add(more, Ordering::Relaxed);
                }
            }
            next!(pc, m, mem, n)
        }

        /// Any other atomic; `imm` says which.
        ///
        /// # Safety
        /// As of every handler: see [`super::machine::Handler`].
        pub(super) unsafe fn $other(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
            // SAFETY: `pc` is an op and `m` a machine that nothing else refers to.
            let (op, r) = unsafe { (&*pc, &mut (*m).r) };
            let address = r[op.dst as usize].wrapping_add(op.off as i64 as u64);
            // SAFETY: the memory is valid and nothing else refers to it.
            if !unsafe { &*mem }.may_store::<$log2>(address) {
                // SAFETY: passed on as it was promised.
                return unsafe { miss::<true>(pc, m, mem, n, address, 1 << $log2) };
            }
            let at = address as *mut $int;
            if !at.is_aligned() {
                // SAFETY: as in the addition.
                return unsafe { misaligned::<{ 1 << $log2 }>(pc, m, mem, n, address) };
            }
            // SAFETY: as in the addition.
            unsafe { atomic::$apply(op, at, (*mem).is_alone(), r) };
            next!(pc, m, mem, n)
        }
    )*};
}

atomic_handlers! {
    atomic_add32, atomic32, u32, AtomicU32, 2, apply32;
    atomic_add64, atomic64, u64, AtomicU64, 3, apply64;
}

// Calls.

/// Calls a helper, with the instructions done so far taken from the run's budget: the helper may call back. One that
/// may not be called `UNDER_LOCK` is not, where the program holds a spin lock.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
#[inline(always)]
unsafe fn call<const UNDER_LOCK: bool>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
    function: impl FnOnce(&mut Run<'_>, [u64; 5]) -> Result<u64, Box<Fault>>,
) -> *const Op {
    // One by one: the program has just stored them so, and a wider load would wait until they are in the cache.
    // SAFETY: registers 1 to 5 of a machine that is valid.
    let args = [1, 2, 3, 4, 5].map(|register| unsafe { (&raw const (*m).r[register]).read_volatile() });
    // SAFETY: the machine is valid; the helper gets the run, in which it finds the memory, and nothing else of it.
    let result = unsafe {
        let run = &mut *(*m).run;
        run.left -= (*m).granted - n;
        run.calls += 1;
        if !UNDER_LOCK && run.holds_lock() { Err(run.calls_under_lock()) } else { function(run, args) }
    };
    // SAFETY: as above; the helper has returned.
    let machine = unsafe { &mut *m };
    // SAFETY: likewise.
    let left = unsafe { (*machine.run).left };
    let n = n.min(left.max(0));
    machine.granted = n;
    match result {
        Ok(value) => {
            machine.r[0] = value;
            next!(pc, m, mem, n)
        }
        // SAFETY: passed on as it was promised.
        Err(fault) => unsafe { stop(pc, m, n, fault) },
    }
}

/// Calls the helper that the instruction names; `UNDER_LOCK` as in [`call`], which only a program that takes locks needs.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn call_helper<const UNDER_LOCK: bool>(
    pc: *const Op,
    m: *mut Machine<'_>,
    mem: *mut Memory<'_>,
    n: i64,
) -> *const Op {
    // SAFETY: `pc` is an op, its `imm` the index of a helper of the code, which outlives the machine.
    unsafe {
        let code = &*(*m).code;
        let function = *code.helpers.get_unchecked((*pc).imm as usize);
        call::<UNDER_LOCK>(pc, m, mem, n, function)
    }
}

/// Tail-calls a program, or goes on where there is none.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn tail_call(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
    // SAFETY: the machine is valid and nothing else refers to it.
    let (machine, run) = unsafe { (&mut *m, &mut *(*m).run) };
    let [_, r1, r2, r3, r4, r5, ..] = machine.r;
    run.calls += 1;
    match helper::tail_call_target(run, [r1, r2, r3, r4, r5]) {
        Ok(Some(program)) => {
            // From the loop, where no chain is on the host's stack.
            machine.state = State::TailCall(program);
            machine.granted -= n;
            pc
        }
        Ok(None) => {
            machine.r[0] = 0;
            next!(pc, m, mem, n)
        }
        // SAFETY: passed on as it was promised.
        Err(fault) => unsafe { stop(pc, m, n, fault) },
    }
}

/// Calls the helper of the user's whose id is `imm`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn call_custom(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
    // SAFETY: `pc` is an op; the rest is passed on as it was promised.
    unsafe {
        let id = (*pc).imm as u32;
        call::<false>(pc, m, mem, n, |run, args| run.host.custom_helper(id, args, &mut run.memory))
    }
}

/// Calls the helper whose id is in `dst`.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn call_register(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
    // SAFETY: `pc` is an op and `m` a machine that nothing else refers to; the code outlives it.
    let (id, code) = unsafe { (Registers(&raw mut (*m).r).get((*pc).dst), &*(*m).code) };
    if id == u64::from(TAIL_CALL) {
        // SAFETY: passed on as it was promised.
        return unsafe { tail_call(pc, m, mem, n) };
    }
    let what = match u32::try_from(id).map(|id| helper::check(id, code.program_type, code.gpl_compatible)) {
        Ok(Ok(Helper { implementation: Some(implementation), .. })) => {
            if matches!(id as u32, SPIN_LOCK | SPIN_UNLOCK) {
                // SAFETY: passed on as it was promised.
                return unsafe { call::<true>(pc, m, mem, n, implementation.run) };
            }
            // SAFETY: passed on as it was promised.
            return unsafe { call::<false>(pc, m, mem, n, implementation.run) };
        }
        Ok(Err(error)) => error.to_string(),
        _ => format!("call by register: {id:#x} is the id of no helper that can be called"),
    };
    // SAFETY: passed on as it was promised.
    unsafe { stop(pc, m, n, Box::new(Fault::Helper { id: id as u32, what })) }
}

/// Calls a function of the program.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn call_local(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
    // SAFETY: the machine is valid and nothing else refers to it; `code` outlives it.
    let (machine, run, code) = unsafe { (&mut *m, &mut *(*m).run, &*(*m).code) };
    if run.depth >= FRAMES {
        // SAFETY: passed on as it was promised.
        return unsafe { stop(pc, m, n, Box::new(Fault::CallDepth { depth: run.depth + 1 })) };
    }
    let [.., r6, r7, r8, r9, _] = machine.r;
    machine.callers[run.depth - 1] =
        MaybeUninit::new(Caller { call: pc, saved: [r6, r7, r8, r9], may_goto: machine.may_goto });
    run.depth += 1;
    machine.may_goto = MAY_GOTO_LIMIT;
    machine.r[10] = run.memory.enter_frame(run.depth, machine.pattern, code.stack_use);
    jump!(pc, m, mem, n)
}

/// Ends a function: back to its caller, or out of the machine.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn exit(pc: *const Op, m: *mut Machine<'_>, mem: *mut Memory<'_>, n: i64) -> *const Op {
    // SAFETY: the machine is valid and nothing else refers to it.
    let (machine, run) = unsafe { (&mut *m, &mut *(*m).run) };
    if run.depth == machine.bottom {
        if run.depth == 1 && run.owes() {
            // SAFETY: passed on as it was promised.
            return unsafe { stop(pc, m, n, run.unreleased()) };
        }
        machine.state = State::Exited;
        machine.granted -= n;
        return pc;
    }
    // SAFETY: the run of this machine, in a frame above the bottom.
    go!(unsafe { machine.return_to_caller(run) }, m, mem, n)
}

/// Behind the last instruction.
///
/// # Safety
/// As of every handler: see [`super::machine::Handler`].
pub(super) unsafe fn off_the_end(pc: *const Op, m: *mut Machine<'_>, _mem: *mut Memory<'_>, n: i64) -> *const Op {
    let what = "the last instruction is neither exit nor a jump".to_owned();
    // It is no instruction of the program: the one before it, which there is, is where it went wrong.
    // SAFETY: the decoder lets no empty program through; the rest is passed on as it was promised.
    unsafe { stop(pc.sub(1), m, n + 1, Box::new(Fault::OffTheEnd { what })) }
}
