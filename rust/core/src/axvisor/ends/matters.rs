//! What of the registers and of the stack matters for the end of a loop.
//!
//! A value matters where a conditional jump within a loop may test what becomes of it, or where it says which memory is
//! stored to or given by a helper. All else is forgotten where ways meet: to forget is always right, and ways that
//! differ in nothing that matters are then followed once. What matters in vain only costs time.

use super::known::{R10, is_whole_word, words_of};
use super::values::{has_register, operation};
use super::{Around, Lends};
use crate::axvisor::flow::{CALL, EXIT, Flow, JA, LDDW, Next};
use crate::engine::EngineError;
use crate::isa::opcode::{AluOp, class};

/// Passes over the program after which everything is said to matter.
const PASSES: usize = 100;

/// What matters before an instruction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Matter {
    /// A bit for each of r0 to r9.
    pub(super) registers: u16,
    /// A bit for each word below r10, the lowest for the highest.
    pub(super) words: u64,
}

const ALL: Matter = Matter { registers: u16::MAX, words: u64::MAX };
/// r0 to r5, which a call does not leave as they were.
const LEFT_BY_CALLS: u16 = 0b11_1111;
/// r1 to r5.
pub(super) const ARGUMENTS: u16 = 0b11_1110;

impl Matter {
    fn has(self, register: u8) -> bool {
        self.registers & 1 << register != 0
    }

    fn add(&mut self, register: u8) {
        self.registers |= 1 << register;
    }

    fn drop(&mut self, register: u8) {
        self.registers &= !(1 << register);
    }

    fn or(self, other: Matter) -> Matter {
        Matter { registers: self.registers | other.registers, words: self.words | other.words }
    }
}

/// The slots that may be part of a loop: those between a jump back and its target, and the functions called from there.
fn within_loops(flow: &Flow<'_>, reached: &[usize]) -> Result<Vec<bool>, EngineError> {
    let len = flow.insns().len();
    let mut edges = vec![0_i64; len + 1];
    for &at in reached {
        if let Some(to) = flow.next(at)?.jump.filter(|&to| to <= at) {
            edges[to] += 1;
            edges[at + 1] -= 1;
        }
    }
    let mut depth = 0;
    let mut within: Vec<bool> = edges[..len]
        .iter()
        .map(|edge| {
            depth += edge;
            depth > 0
        })
        .collect();
    let mut called = Vec::new();
    for &at in reached.iter().filter(|&&at| within[at]) {
        called.extend(flow.next(at)?.call);
    }
    let mut seen = vec![false; len];
    while let Some(at) = called.pop() {
        if !std::mem::replace(&mut seen[at], true) {
            within[at] = true;
            let Next { through, jump, call } = flow.next(at)?;
            called.extend([through, jump, call].into_iter().flatten());
        }
    }
    Ok(within)
}

/// What matters before each slot. `reached` are those that control reaches, mostly behind those that they lead to.
pub(super) fn matters(flow: &Flow<'_>, reached: &[usize], around: &impl Around) -> Result<Vec<Matter>, EngineError> {
    let within = within_loops(flow, reached)?;
    let mut before = vec![Matter::default(); flow.insns().len()];
    // Whether r0 matters where a function ends.
    let mut result = false;
    for _ in 0..PASSES {
        let mut changed = false;
        for &at in reached {
            let Next { through, jump, call } = flow.next(at)?;
            let ahead = [through, jump].into_iter().flatten().map(|to| before[to]).fold(Matter::default(), Matter::or);
            result |= call.is_some() && ahead.has(0);
            let now = match call {
                Some(function) => Matter {
                    registers: ahead.registers & !LEFT_BY_CALLS | before[function].registers & ARGUMENTS,
                    words: ahead.words,
                },
                None => before_one(flow, at, ahead, within[at], result, around),
            };
            changed |= now != before[at];
            before[at] = now;
        }
        if !changed {
            return Ok(before);
        }
    }
    Ok(vec![ALL; before.len()])
}

/// What matters before an instruction that is no call of a function, from what does behind it.
fn before_one(
    flow: &Flow<'_>,
    at: usize,
    ahead: Matter,
    is_within: bool,
    result: bool,
    around: &impl Around,
) -> Matter {
    let insn = flow.insns()[at];
    let (dst, src) = (insn.dst, insn.src);
    let mut now = ahead;
    match insn.code & class::MASK {
        class::ALU | class::ALU64 if ahead.has(dst) => match (operation(insn), has_register(insn)) {
            (Some(AluOp::Mov), false) => now.drop(dst),
            (Some(AluOp::Mov), true) => {
                now.drop(dst);
                now.add(src);
            }
            (Some(_), true) => now.add(src),
            _ => {}
        },
        class::ALU | class::ALU64 => {}
        _ if insn.code == LDDW => now.drop(dst),
        class::LDX => {
            now.drop(dst);
            if ahead.has(dst) && usize::from(src) == R10 {
                now.words |= words_of(insn.off.into(), insn);
            }
        }
        class::ST | class::STX => {
            let (is_known, words) = (usize::from(dst) == R10, words_of(insn.off.into(), insn));
            if is_known && is_whole_word(insn.off.into(), insn) {
                now.words &= !words;
            }
            if !is_known {
                now.add(dst);
            }
            if insn.code & class::MASK == class::STX && (!is_known && ahead.words != 0 || ahead.words & words != 0) {
                now.add(src);
            }
        }
        class::JMP if insn.code == CALL => {
            now.registers &= !LEFT_BY_CALLS;
            match around.lends(at) {
                Lends::Nothing => {}
                Lends::Value => now.add(1),
                Lends::Record => now.add(2),
            }
        }
        class::JMP if insn.code == EXIT => {
            if result {
                now.add(0);
            }
        }
        class::JMP | class::JMP32 => {
            if is_within && insn.code != JA {
                now.add(dst);
                if has_register(insn) {
                    now.add(src);
                }
            }
        }
        _ => now.drop(0),
    }
    now
}
