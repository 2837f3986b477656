//! How far into its context a program reads: what an attachment compares with the record.

use crate::isa::{AluOp, Insn, Op, Reg, Source, Width, decode};

/// End of the last byte that a program loads at a constant offset of its context, as far as that can be told, and the
/// slot of that load.
///
/// A register counts as the context where it holds it on every path (a move of r1, or of such a register). What is
/// reached through arithmetic is left out; the run checks it.
pub(super) fn context_reach(insns: &[Insn]) -> (u64, usize) {
    let mut known: Vec<Option<u16>> = vec![None; insns.len()];
    let mut work = Vec::new();
    let mut reach = (0, 0);
    flow(&mut known, &mut work, 0, 1 << Reg::R1.number());
    // Registers are only ever taken out of a set, so every slot is visited at most a dozen times.
    while let Some(at) = work.pop() {
        let (Some(held), Ok((op, slots))) = (known[at], decode(insns, at)) else { continue };
        let mut after = held;
        let is_context = |reg: Reg| held & (1 << reg.number()) != 0;
        let set = |after: &mut u16, reg: Reg, context: bool| {
            *after = (*after & !(1 << reg.number())) | u16::from(context) << reg.number();
        };
        match op {
            Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Source::Reg(src) } => {
                set(&mut after, dst, is_context(src));
            }
            Op::Alu { dst, .. }
            | Op::Neg { dst, .. }
            | Op::MovSx { dst, .. }
            | Op::Swap { dst, .. }
            | Op::LoadImm64 { dst, .. }
            | Op::LoadAcquire { dst, .. } => set(&mut after, dst, false),
            Op::Load { size, dst, base, offset, .. } => {
                if let (true, Ok(offset)) = (is_context(base), u64::try_from(offset)) {
                    reach = reach.max((offset + u64::from(size.bytes()), at));
                }
                set(&mut after, dst, false);
            }
            Op::Atomic { src, .. } => set(&mut after, src, false),
            Op::CallHelper { .. } | Op::CallLocal { .. } | Op::CallKfunc { .. } | Op::CallRegister { .. } => {
                after &= !0b11_1111;
            }
            _ => {}
        }
        let next = at + slots;
        let jumps = !matches!(op, Op::CallLocal { .. } | Op::LoadImm64 { .. });
        if let (true, Some(offset)) = (jumps, op.target())
            && let Some(to) = (at + 1).checked_add_signed(offset as isize)
        {
            flow(&mut known, &mut work, to, after);
        }
        if !matches!(op, Op::Exit | Op::Ja { .. } | Op::JaLong { .. }) {
            flow(&mut known, &mut work, next, after);
        }
    }
    reach
}

/// Control reaches `to` with these registers holding the context.
fn flow(known: &mut [Option<u16>], work: &mut Vec<usize>, to: usize, held: u16) {
    let Some(slot) = known.get_mut(to) else { return };
    let merged = slot.map_or(held, |before| before & held);
    if *slot != Some(merged) {
        *slot = Some(merged);
        work.push(to);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::isa::assemble;

    fn reach(text: &str) -> u64 {
        context_reach(&assemble(text).unwrap()).0
    }

    #[test]
    fn loads_from_the_context_and_its_copies_count() {
        assert_eq!(reach("r0 = *(u32 *)(r1 +16)\nexit"), 20);
        assert_eq!(reach("r6 = r1\ncall bpf_ktime_get_ns#5\nr0 = *(u64 *)(r6 +24)\nexit"), 32);
        assert_eq!(reach("r0 = 0\nexit"), 0);
    }

    #[test]
    fn what_may_be_something_else_does_not_count() {
        // r6 is the context on one path only; after the call r1 is nothing.
        let text = "r6 = 0\nr2 = *(u32 *)(r1 +8)\nif r2 == 0 goto a\nr6 = r1\na:\nr0 = *(u64 *)(r6 +64)\nexit";
        assert_eq!(reach(text), 12);
        assert_eq!(reach("call bpf_ktime_get_ns#5\nr0 = *(u64 *)(r1 +64)\nexit"), 0);
    }
}
