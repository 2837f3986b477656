//! The shape of a program: instructions, functions, where jumps lead.

use super::Rule;
use super::error::Refusal;
use crate::isa::{AluOp, Imm64, Insn, Op, Reg, Source, Width, decode};

/// Most instruction slots of a program (`BPF_COMPLEXITY_LIMIT_INSNS`).
pub const MAX_SLOTS: usize = 1_000_000;

/// A program whose instructions are well formed, and all lead somewhere and are led to.
pub struct Structure {
    /// The instruction that begins at each slot; none at the second slot of `lddw`.
    ops: Vec<Option<Op>>,
    /// First slots of the functions, ascending; the entry's is 0.
    pub functions: Vec<usize>,
    /// Slots at which paths may meet.
    meets: Vec<bool>,
}

impl Structure {
    /// The instruction at a slot.
    #[must_use]
    pub fn op(&self, slot: usize) -> Option<Op> {
        self.ops.get(slot).copied().flatten()
    }

    /// Slots of the program.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether several paths may come to this slot.
    #[must_use]
    pub fn is_meeting_point(&self, slot: usize) -> bool {
        self.meets.get(slot).copied().unwrap_or(false)
    }

    /// Every instruction with its slot.
    pub fn instructions(&self) -> impl Iterator<Item = (usize, Op)> {
        self.ops.iter().enumerate().filter_map(|(slot, op)| op.map(|op| (slot, op)))
    }

    /// Number of the function that a slot belongs to.
    #[must_use]
    pub fn function_of(&self, slot: usize) -> usize {
        self.functions.partition_point(|start| *start <= slot).saturating_sub(1)
    }

    /// Where an instruction at a slot points.
    #[must_use]
    pub fn target(slot: usize, offset: i32) -> Option<usize> {
        usize::try_from(i64::try_from(slot).ok()? + 1 + i64::from(offset)).ok()
    }

    /// Checks rules 1, 2, 4 and 5: what can be said of the instructions without running them.
    ///
    /// # Errors
    /// The first slot that breaks one.
    pub fn new(insns: &[Insn]) -> Result<Structure, Refusal> {
        if insns.is_empty() || insns.len() > MAX_SLOTS {
            let what = format!("a program has 1 to {MAX_SLOTS} instruction slots; this one has {}", insns.len());
            return Err(Refusal::new(Rule::Encoding, 0, "invalid program length", what));
        }
        let mut ops = vec![None; insns.len()];
        let mut slot = 0;
        while slot < insns.len() {
            let (op, slots) = decode(insns, slot).map_err(|error| {
                Refusal::new(Rule::Encoding, slot, "unknown opcode or reserved field", error.to_string())
            })?;
            plain(slot, &op)?;
            ops[slot] = Some(op);
            slot += slots;
        }
        let mut structure = Structure { ops, functions: vec![0], meets: vec![false; insns.len()] };
        structure.find_functions()?;
        structure.check_ends()?;
        structure.check_jumps()?;
        structure.check_reached()?;
        Ok(structure)
    }

    fn find_functions(&mut self) -> Result<(), Refusal> {
        let mut functions = vec![0];
        for (slot, op) in self.instructions() {
            let offset = match op {
                Op::CallLocal { offset } | Op::LoadImm64 { value: Imm64::Function { offset }, .. } => offset,
                _ => continue,
            };
            match Structure::target(slot, offset).filter(|to| self.op(*to).is_some()) {
                Some(to) => functions.push(to),
                None => {
                    let to = i64::try_from(slot).unwrap_or(i64::MAX).saturating_add(1 + i64::from(offset));
                    let what = format!("it names a function at slot {to}, where no instruction begins");
                    return Err(Refusal::new(Rule::Flow, slot, format!("call to invalid destination {to}"), what));
                }
            }
        }
        functions.sort_unstable();
        functions.dedup();
        self.functions = functions;
        Ok(())
    }

    /// The slots of a function: from its first to the next one's.
    fn end_of(&self, function: usize) -> usize {
        self.functions.get(function + 1).copied().unwrap_or(self.ops.len())
    }

    fn check_ends(&self) -> Result<(), Refusal> {
        for function in 0..self.functions.len() {
            let end = self.end_of(function);
            let last = (0..end).rev().find(|slot| self.ops[*slot].is_some()).unwrap_or(0);
            if !matches!(self.op(last), Some(Op::Exit | Op::Ja { .. } | Op::JaLong { .. })) {
                let what = "behind it the function is over: its last instruction must be exit, or a jump that is always \
                            taken";
                return Err(Refusal::new(Rule::Flow, last, "last insn is not an exit or jmp", what));
            }
        }
        Ok(())
    }

    fn check_jumps(&mut self) -> Result<(), Refusal> {
        for slot in 0..self.ops.len() {
            let Some(op) = self.ops[slot] else { continue };
            let (Op::Ja { .. } | Op::JaLong { .. } | Op::Jump { .. } | Op::MayGoto { .. }, Some(offset)) =
                (op, op.target())
            else {
                // What a call returns to, others may return to as well.
                if let (Op::CallLocal { .. } | Op::CallHelper { .. }, Some(next)) = (op, self.meets.get_mut(slot + 1)) {
                    *next |= matches!(op, Op::CallLocal { .. });
                }
                continue;
            };
            let function = self.function_of(slot);
            let range = self.functions[function]..self.end_of(function);
            let to = Structure::target(slot, offset).filter(|to| range.contains(to));
            match to.filter(|to| self.op(*to).is_some()) {
                Some(to) => {
                    self.meets[to] = true;
                    if let Op::MayGoto { .. } = op {
                        self.meets[slot] = true;
                    }
                }
                None => {
                    let to = i64::try_from(slot).unwrap_or(i64::MAX).saturating_add(1 + i64::from(offset));
                    let linux = format!("jump out of range from insn {slot} to {to}");
                    let what = "a jump leads to an instruction of the same function";
                    return Err(Refusal::new(Rule::Flow, slot, linux, what));
                }
            }
        }
        for start in &self.functions[1..] {
            self.meets[*start] = true;
        }
        Ok(())
    }

    fn check_reached(&self) -> Result<(), Refusal> {
        let mut reached = vec![false; self.ops.len()];
        let mut open = vec![0];
        while let Some(slot) = open.pop() {
            if std::mem::replace(&mut reached[slot], true) {
                continue;
            }
            let Some(op) = self.op(slot) else { continue };
            if let Some(to) = op.target().and_then(|offset| Structure::target(slot, offset)) {
                open.push(to);
            }
            if !matches!(op, Op::Exit | Op::Ja { .. } | Op::JaLong { .. }) {
                open.push(slot + op.slots());
            }
        }
        match self.instructions().find(|(slot, _)| !reached[*slot]) {
            None => Ok(()),
            Some((slot, _)) => {
                let what = "no path leads to it; Linux takes no program with instructions that cannot be reached";
                Err(Refusal::new(Rule::Flow, slot, format!("unreachable insn {slot}"), what))
            }
        }
    }
}

/// Rules 4 and 5, which an instruction keeps or breaks by itself.
fn plain(slot: usize, op: &Op) -> Result<(), Refusal> {
    if op.written() == Some(Reg::R10) {
        let what = "r10 is the end of the stack frame; copy it to another register to change it";
        return Err(Refusal::new(Rule::FramePointer, slot, "frame pointer is read only", what));
    }
    let Op::Alu { width, op, src: Source::Imm(imm), .. } = *op else { return Ok(()) };
    match op {
        AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod if imm == 0 => {
            Err(Refusal::new(Rule::Constants, slot, "div by zero", "it divides by the constant 0"))
        }
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
            let bits = if width == Width::W32 { 32 } else { 64 };
            if (0..bits).contains(&imm) {
                return Ok(());
            }
            let what = format!("it shifts a number of {bits} bits by {imm}; 0 to {} is possible", bits - 1);
            Err(Refusal::new(Rule::Constants, slot, format!("invalid shift {imm}"), what))
        }
        _ => Ok(()),
    }
}
