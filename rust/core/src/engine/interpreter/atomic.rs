//! Atomic read-modify-write instructions other than the plain addition (RFC 9669 §5.3).

#![expect(clippy::cast_possible_truncation, reason = "32-bit atomics use the low halves of registers")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use super::machine::Op;
use crate::isa::AtomicOp;
use crate::memory::relaxed::Word;

macro_rules! apply {
    ($(#[$doc:meta])* $name:ident, $int:ty, $atomic:ty) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `at` must be valid for reads and writes, and reached by relaxed accesses only; aligned, or `exclusive`: that
        /// nobody else reaches it meanwhile.
        pub(super) unsafe fn $name(op: &Op, at: *mut $int, exclusive: bool, r: &mut [u64; 11]) {
            let source = op.src as usize;
            let operand = r[source] as $int;
            let Some(operation) = AtomicOp::from_code(op.imm as i32) else { return };
            let old = if !exclusive {
                // SAFETY: valid (the caller's word) and aligned.
                let cell = unsafe { <$atomic>::from_ptr(at) };
                match operation {
                    AtomicOp::Add | AtomicOp::FetchAdd => cell.fetch_add(operand, SeqCst),
                    AtomicOp::Or | AtomicOp::FetchOr => cell.fetch_or(operand, SeqCst),
                    AtomicOp::And | AtomicOp::FetchAnd => cell.fetch_and(operand, SeqCst),
                    AtomicOp::Xor | AtomicOp::FetchXor => cell.fetch_xor(operand, SeqCst),
                    AtomicOp::Xchg => cell.swap(operand, SeqCst),
                    AtomicOp::Cmpxchg => match cell.compare_exchange(r[0] as $int, operand, SeqCst, SeqCst) {
                        Ok(old) | Err(old) => old,
                    },
                }
            } else {
                // SAFETY: valid (the caller's word).
                let old = unsafe { <$int>::load(at) };
                let new = match operation {
                    AtomicOp::Add | AtomicOp::FetchAdd => old.wrapping_add(operand),
                    AtomicOp::Or | AtomicOp::FetchOr => old | operand,
                    AtomicOp::And | AtomicOp::FetchAnd => old & operand,
                    AtomicOp::Xor | AtomicOp::FetchXor => old ^ operand,
                    AtomicOp::Xchg => operand,
                    AtomicOp::Cmpxchg if old == r[0] as $int => operand,
                    AtomicOp::Cmpxchg => old,
                };
                // SAFETY: as above.
                unsafe { new.store(at) };
                old
            };
            match operation {
                AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {}
                AtomicOp::Cmpxchg => r[0] = u64::from(old),
                _ => r[source] = u64::from(old),
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
