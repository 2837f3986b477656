//! How much stack functions take that call each other: rule 19.

use super::Rule;
use super::error::Refusal;
use super::structure::Structure;
use crate::isa::{Imm64, Op};
use crate::memory::FRAME;
use crate::program::ProgramType;

/// What a frame is rounded up to (measured).
const GRAIN: u32 = 16;
/// Stack that the callers of a function may use which makes a tail call (measured).
const BELOW_TAIL_CALL: u32 = 256;

/// Checks every chain of calls; `used` is the stack of each function by number. No function calls itself by then.
///
/// # Errors
/// The call that goes too deep.
pub fn check(structure: &Structure, program_type: ProgramType, used: &[u32]) -> Result<(), Refusal> {
    // Tracing programs run each function on a stack of its own where it uses much.
    let on_own_stacks = matches!(
        program_type,
        ProgramType::Tracepoint
            | ProgramType::RawTracepoint
            | ProgramType::Kprobe
            | ProgramType::PerfEvent
            | ProgramType::Axvisor
            | ProgramType::Mem
    );
    let count = structure.functions.len();
    let mut calls: Vec<Vec<(usize, usize)>> = vec![Vec::new(); count];
    let mut tail_calls = vec![None; count];
    for (slot, op) in structure.instructions() {
        let function = structure.function_of(slot);
        match op {
            Op::CallLocal { offset } | Op::LoadImm64 { value: Imm64::Function { offset }, .. } => {
                if let Some(to) = Structure::target(slot, offset) {
                    calls[function].push((slot, structure.function_of(to)));
                }
            }
            Op::CallHelper { id: crate::helper::TAIL_CALL } => tail_calls[function] = Some(slot),
            _ => {}
        }
    }
    // Stack used before each function begins, on the worst chain; functions are taken once per chain, of at most eight.
    let mut open = vec![(0, 0_u32, 1)];
    let mut worst = vec![None::<u32>; count];
    while let Some((function, before, depth)) = open.pop() {
        let own = used.get(function).copied().unwrap_or(0);
        let total = before + own.next_multiple_of(GRAIN);
        if let Some(slot) = tail_calls[function]
            && function != 0
            && before >= BELOW_TAIL_CALL
        {
            let linux =
                format!("tail_calls are not allowed when call stack of previous frames is {before} bytes. Too large");
            let what = format!(
                "a tail call from a function needs callers that use less than {BELOW_TAIL_CALL} bytes of stack"
            );
            return Err(Refusal::new(Rule::TailCall, slot, linux, what));
        }
        if !on_own_stacks && u64::from(total) > FRAME {
            let linux = format!("combined stack size of {depth} calls is {total}. Too large");
            let what = format!(
                "the functions in progress share {FRAME} bytes of stack in a program of type {}",
                program_type.name()
            );
            return Err(Refusal::new(Rule::CallDepth, structure.functions[function], linux, what));
        }
        // A chain that comes here with no more than an earlier one adds nothing.
        if worst[function].is_some_and(|worst| before <= worst) || depth > crate::memory::FRAMES {
            continue;
        }
        worst[function] = Some(before);
        open.extend(calls[function].iter().map(|(_, callee)| (*callee, total, depth + 1)));
    }
    Ok(())
}
