//! Atomic read-modify-write instructions other than the plain addition (RFC 9669 §5.3).

#![expect(clippy::cast_possible_truncation, reason = "32-bit atomics use the low halves of registers")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use super::machine::Op;
use crate::isa::opcode::atomic as code;

macro_rules! apply {
    ($(#[$doc:meta])* $name:ident, $int:ty, $atomic:ty) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `at` must be valid for reads and writes, and reached by raw accesses only.
        pub(super) unsafe fn $name(op: &Op, at: *mut $int, r: &mut [u64; 11]) {
            let source = op.src as usize;
            let operand = r[source] as $int;
            let operation = op.imm as i32;
            let old = if (at as usize) % size_of::<$int>() == 0 {
                // SAFETY: valid (the caller's word) and aligned.
                let cell = unsafe { <$atomic>::from_ptr(at) };
                match operation & !code::FETCH {
                    code::ADD => cell.fetch_add(operand, SeqCst),
                    code::OR => cell.fetch_or(operand, SeqCst),
                    code::AND => cell.fetch_and(operand, SeqCst),
                    code::XOR => cell.fetch_xor(operand, SeqCst),
                    _ if operation == code::XCHG => cell.swap(operand, SeqCst),
                    _ => match cell.compare_exchange(r[0] as $int, operand, SeqCst, SeqCst) {
                        Ok(old) | Err(old) => old,
                    },
                }
            } else {
                // x86 does unaligned atomics as well; here one thread runs the bench, so a plain update is one.
                // SAFETY: valid (the caller's word).
                let old = unsafe { at.read_unaligned() };
                let new = match operation & !code::FETCH {
                    code::ADD => old.wrapping_add(operand),
                    code::OR => old | operand,
                    code::AND => old & operand,
                    code::XOR => old ^ operand,
                    _ if operation == code::XCHG => operand,
                    _ if old == r[0] as $int => operand,
                    _ => old,
                };
                // SAFETY: as above.
                unsafe { at.write_unaligned(new) };
                old
            };
            if operation == code::CMPXCHG {
                r[0] = u64::from(old);
            } else if operation & code::FETCH != 0 {
                r[source] = u64::from(old);
            }
        }
    };
}

apply!(
    /// An atomic on four bytes; a fetched value is zero-extended.
    apply32,
    u32,
    AtomicU32
);
apply!(
    /// An atomic on eight bytes.
    apply64,
    u64,
    AtomicU64
);
