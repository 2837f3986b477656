//! What a program may do on rbpf before it runs: how far it can go.
//!
//! Nothing stops rbpf once it runs. So a program is taken only where its end can be shown. Where no way through a
//! function leads back to where it was, the longest way is found here: what is reached by local calls is counted with
//! them; recursion ends by itself, because rbpf stops at the ninth frame. Loops are followed ([`super::ends`]). rbpf's
//! verifier has passed the program, so its opcodes and jumps are known to be such as rbpf executes.
//!
//! rbpf works out where a jump leads in 16 bits with a sign: beyond instruction 32767 it panics or goes somewhere
//! else. Such a jump is refused too, and so is a way that leads off the end.

use super::ends::{self, Around};
use crate::engine::EngineError;
use crate::isa::Insn;
use crate::isa::opcode::class;

/// Frames that rbpf allows: the entry and eight calls.
pub(super) const DEPTHS: usize = 9;

/// What a program needs at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Instructions.
    pub instructions: u64,
    /// Bytes of copies of map values.
    pub copies: u64,
}

impl Reach {
    pub(super) fn plus(self, other: Reach) -> Reach {
        Reach {
            instructions: self.instructions.saturating_add(other.instructions),
            copies: self.copies.saturating_add(other.copies),
        }
    }

    pub(super) fn minus(self, other: Reach) -> Reach {
        Reach {
            instructions: self.instructions.saturating_sub(other.instructions),
            copies: self.copies.saturating_sub(other.copies),
        }
    }

    /// The more of both.
    pub(super) fn max(self, other: Reach) -> Reach {
        Reach { instructions: self.instructions.max(other.instructions), copies: self.copies.max(other.copies) }
    }
}

pub(super) const LDDW: u8 = 0x18;
pub(super) const CALL: u8 = 0x85;
pub(super) const EXIT: u8 = 0x95;
pub(super) const JA: u8 = 0x05;

/// Where control goes from an instruction.
#[derive(Clone, Copy)]
pub(super) struct Next {
    /// The instruction behind it.
    pub through: Option<usize>,
    /// Where it jumps to.
    pub jump: Option<usize>,
    /// The function that it calls.
    pub call: Option<usize>,
}

/// The program as a graph.
pub(super) struct Flow<'a> {
    insns: &'a [Insn],
    /// Slots that rbpf has before the program.
    prologue: usize,
}

pub(super) fn refused(insn: usize, what: impl Into<String>) -> EngineError {
    EngineError::Unsupported { insn, what: what.into() }
}

impl<'a> Flow<'a> {
    pub(super) fn new(insns: &'a [Insn], prologue: usize) -> Flow<'a> {
        Flow { insns, prologue }
    }

    pub(super) fn insns(&self) -> &'a [Insn] {
        self.insns
    }

    /// Where control goes from the instruction in a slot.
    pub(super) fn next(&self, at: usize) -> Result<Next, EngineError> {
        let insn = self.insns[at];
        let behind = at + if insn.code == LDDW { 2 } else { 1 };
        let through = (behind < self.insns.len()).then_some(behind);
        let fall = || through.ok_or_else(|| refused(at, "the program runs off its end behind this instruction"));
        let is_jump = matches!(insn.code & 7, class::JMP | class::JMP32) && insn.code != CALL && insn.code != EXIT;
        if insn.code == EXIT {
            return Ok(Next { through: None, jump: None, call: None });
        }
        if insn.code == CALL && insn.src == 1 {
            let target = (at + 1).checked_add_signed(insn.imm as isize);
            let call = target.filter(|&to| self.insns.get(to).is_some_and(|insn| insn.code != 0));
            let call = call.ok_or_else(|| refused(at, "a call to where no instruction begins"))?;
            return Ok(Next { through: Some(fall()?), jump: None, call: Some(call) });
        }
        if !is_jump {
            return Ok(Next { through: Some(fall()?), jump: None, call: None });
        }
        let target = (at + 1).checked_add_signed(insn.off as isize).filter(|&to| to < self.insns.len());
        let target = target.ok_or_else(|| refused(at, "a jump out of the program"))?;
        let limit = i16::MAX as usize - self.prologue;
        if at + 1 > limit || target > limit {
            let what = format!(
                "a jump from {at} to {target}: rbpf works out jumps in 16 bits and goes wrong beyond instruction {limit}; \
                 this runs on target linux"
            );
            return Err(refused(at, what));
        }
        let through = if insn.code == JA { None } else { Some(fall()?) };
        Ok(Next { through, jump: Some(target), call: None })
    }

    /// That no jump which control reaches is one that rbpf misses, and no way leads off the end.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] at that instruction.
    pub(super) fn check_jumps(&self) -> Result<(), EngineError> {
        self.order().map(|_| ())
    }

    /// The longest way through the program, if all of them end. One with loops must stay within the budget.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] at the jump back of a loop that cannot be shown to end, or at a jump whose target
    /// rbpf misses.
    pub(super) fn reach(&self, around: &impl Around, budget: u64) -> Result<Reach, EngineError> {
        let (order, circles) = self.order()?;
        if circles {
            return ends::reach(self, &order, around, budget);
        }
        // What is left to do from each slot on, by depth of calls; deeper ones first, since calls lead there.
        let mut deeper = vec![Reach::default(); self.insns.len()];
        for _ in 0..DEPTHS {
            let mut left = vec![Reach::default(); self.insns.len()];
            for &at in &order {
                let next = self.next(at)?;
                let ahead = [next.through, next.jump].into_iter().flatten().map(|to| left[to]);
                let ahead = ahead.fold(Reach::default(), Reach::max);
                let called = next.call.map_or(Reach::default(), |to| deeper[to]);
                left[at] = ahead.plus(called).plus(Reach { instructions: 1, copies: around.copies(at) });
            }
            deeper = left;
        }
        Ok(deeper.first().copied().unwrap_or_default())
    }

    /// All slots that control reaches, each behind those that it leads to within its function, and whether there are
    /// ways that lead back, for which this cannot be.
    fn order(&self) -> Result<(Vec<usize>, bool), EngineError> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.insns.len()];
        let mut order = Vec::with_capacity(self.insns.len());
        let mut functions = vec![0];
        let mut circles = false;
        while let Some(function) = functions.pop() {
            if marks[function] != Mark::New {
                continue;
            }
            // The slot, and how many of its ways have been taken.
            let mut path = vec![(function, 0_u8)];
            marks[function] = Mark::Open;
            while let Some((at, taken)) = path.last_mut() {
                let (at, way) = (*at, *taken);
                *taken += 1;
                let next = self.next(at)?;
                let to = match way {
                    0 => next.through,
                    1 => next.jump,
                    2 => {
                        functions.extend(next.call);
                        None
                    }
                    _ => {
                        marks[at] = Mark::Done;
                        order.push(at);
                        path.pop();
                        continue;
                    }
                };
                match to.map(|to| (to, marks[to])) {
                    Some((to, Mark::New)) => {
                        marks[to] = Mark::Open;
                        path.push((to, 0));
                    }
                    Some((_, Mark::Open)) => circles = true,
                    _ => {}
                }
            }
        }
        Ok((order, circles))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::axvisor::ends::Lends;
    use crate::isa::assemble;

    /// Helpers that need 100 bytes each.
    struct Helpers<'a>(&'a [Insn]);

    impl Around for Helpers<'_> {
        fn copies(&self, at: usize) -> u64 {
            u64::from(self.0[at].code == CALL && self.0[at].src == 0) * 100
        }
        fn stores(&self, _at: usize) -> bool {
            true
        }
        fn lends(&self, _at: usize) -> Lends {
            Lends::Nothing
        }
        fn value_size(&self, _map: u64) -> Option<u32> {
            None
        }
        fn global(&self, _at: usize) -> Option<u32> {
            None
        }
    }

    fn reach(text: &str) -> Result<(u64, u64), String> {
        let insns = assemble(text).unwrap();
        match Flow::new(&insns, 3).reach(&Helpers(&insns), u64::MAX) {
            Ok(Reach { instructions, copies }) => Ok((instructions, copies)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_longest_way_counts() {
        assert_eq!(reach("r0 = 0\nexit"), Ok((2, 0)));
        assert_eq!(reach("r0 = 7 ll\nif r0 == 1 goto +2\ncall ns#5\ncall ns#5\nexit"), Ok((5, 200)));
        assert_eq!(reach("call f\ncall f\nexit\nf:\ncall ns#5\nr0 = 1\nexit"), Ok((9, 200)));
    }

    #[test]
    fn calls_within_calls_multiply_and_recursion_ends_at_the_ninth_frame() {
        // f calls itself twice, in eight frames: 2^8 - 1 runs of 3 instructions, and two calls that rbpf stops.
        let (instructions, _) = reach("call f\nexit\nf:\ncall f\ncall f\nexit").unwrap();
        assert_eq!(instructions, 2 + 3 * 255);
    }

    #[test]
    fn the_longest_way_through_a_loop_counts() {
        // Three turns of four instructions, in one of which there is a call; then the other way.
        let text = "r6 = 0\na:\nr6 += 1\nif r1 == 5 goto +1\ncall ns#5\nif r6 != 3 goto a\nr0 = 0\nexit";
        assert_eq!(reach(text), Ok((1 + 3 * 4 + 2, 300)));
        // A function that calls itself, with two turns in each of eight frames; rbpf stops at the call of the ninth.
        let text = "call f\nexit\nf:\nr6 = 2\na:\nr6 -= 1\nif r6 != 0 goto a\ncall f\nexit";
        assert_eq!(reach(text), Ok((1 + 8 * (1 + 2 * 2 + 1), 0)));
    }

    #[test]
    fn jumps_that_rbpf_misses_are_refused() {
        let circle = assemble("a:\nr0 = 1\nif r0 == 0 goto a\nexit").unwrap();
        assert!(Flow::new(&circle, 3).check_jumps().is_ok());
        let off_the_end = assemble("a:\nr0 = 1\nif r0 == 0 goto a").unwrap();
        assert!(Flow::new(&off_the_end, 3).check_jumps().is_err());
        let far = |nops: usize| format!("goto a\n{}a:\nr0 = 0\nexit", "r0 = 0\n".repeat(nops));
        assert!(reach(&far(32_760)).is_ok());
        assert!(reach(&far(32_764)).unwrap_err().contains("a jump from 0 to 32765: rbpf works out jumps in 16 bits"));
    }

    #[test]
    fn a_way_off_the_end_is_refused() {
        assert!(reach("r0 = 0\nif r0 == 0 goto -2").unwrap_err().contains("runs off its end"));
    }
}
