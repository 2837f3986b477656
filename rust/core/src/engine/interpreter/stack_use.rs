//! How much of its frames a program may use: what a fresh frame must be filled in.
//!
//! The answer follows from where addresses of the stack may go: r10, what is moved from it and added to it, what is
//! stored and loaded again, what functions and callbacks are given. Where an address is computed in another way, it may
//! be anywhere in the frame. Too small an answer would let a program see what an earlier run left there, and do no
//! other harm; an address that another program left in a map, or a helper of the user's in memory, is a case of that.

use crate::engine::profile::Flow;
use crate::helper::CUSTOM_HELPERS;
use crate::isa::{AluOp, AtomicOp, Op, Reg, Source, Width};
use crate::memory::FRAME;

/// What a register may hold: 0 for no address of the stack, else 1 and how far below the frame's end at the most.
type Depth = u16;

const ANYWHERE: Depth = FRAME as Depth + 1;
/// How often the state before an instruction may change before what changes counts as anywhere in the frame.
const PATIENCE: u8 = 8;

type State = [Depth; Reg::COUNT];

/// The address `by` bytes from one at `depth`.
fn moved(depth: Depth, by: i64) -> Depth {
    if depth == 0 { 0 } else { (i64::from(depth) - 1 - by).clamp(0, FRAME as i64) as Depth + 1 }
}

/// Ways of addresses that do not follow the flow of control.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Ways {
    /// The deepest address that was stored: what is loaded may be one.
    stored: Depth,
    /// The deepest one that a helper was given: it may hand it to a callback.
    given: Depth,
    /// What functions leave in r0 to r5.
    left: [Depth; 6],
}

struct Analysis<'a> {
    instructions: &'a [Op],
    flow: &'a [Flow],
    /// The state before each instruction, as far as it is reached.
    before: Vec<Option<State>>,
    changes: Vec<u8>,
    todo: Vec<usize>,
    ways: Ways,
    deepest: Depth,
}

/// Bytes of a frame, from its end, that the program may use. `flow` says what each instruction does with control,
/// `functions` where functions begin whose address is taken.
pub(super) fn stack_use(instructions: &[Op], flow: &[Flow], functions: &[usize]) -> u32 {
    let n = instructions.len();
    let (before, changes, todo) = (vec![None; n], vec![0; n], Vec::new());
    let mut analysis = Analysis { instructions, flow, before, changes, todo, ways: Ways::default(), deepest: 0 };
    for last in [false, false, true] {
        let ways = analysis.ways;
        analysis.reach(0, entry([0; 5]));
        for &function in functions {
            analysis.reach(function, entry([ways.given; 5]));
        }
        while let Some(index) = analysis.todo.pop() {
            analysis.step(index);
        }
        if analysis.ways == ways {
            break;
        }
        if last {
            return FRAME as u32;
        }
        analysis.before.fill(None);
        analysis.changes.fill(0);
    }
    u32::from(analysis.deepest.saturating_sub(1))
}

/// The state at the begin of a function.
fn entry([r1, r2, r3, r4, r5]: [Depth; 5]) -> State {
    [0, r1, r2, r3, r4, r5, 0, 0, 0, 0, 1]
}

impl Analysis<'_> {
    /// Control comes to an instruction in this state.
    fn reach(&mut self, index: usize, state: State) {
        let (Some(before), Some(changes)) = (self.before.get_mut(index), self.changes.get_mut(index)) else { return };
        let Some(before) = before else {
            *before = Some(state);
            self.todo.push(index);
            return;
        };
        let mut changed = false;
        for (old, new) in before.iter_mut().zip(state) {
            if new > *old {
                *old = if *changes < PATIENCE { new } else { ANYWHERE };
                changed = true;
            }
        }
        if changed {
            *changes = changes.saturating_add(1);
            self.todo.push(index);
        }
    }

    fn step(&mut self, index: usize) {
        let Some(Some(mut state)) = self.before.get(index).copied() else { return };
        self.execute(&self.instructions[index], &mut state);
        let next = index + 1;
        match self.flow[index] {
            Flow::Next => self.reach(next, state),
            Flow::Branch(to) => {
                self.reach(to, state);
                self.reach(next, state);
            }
            Flow::Jump(to) => self.reach(to, state),
            Flow::Call(to) => {
                let [_, r1, r2, r3, r4, r5, ..] = state;
                self.reach(to, entry([r1, r2, r3, r4, r5]));
                for (register, left) in state.iter_mut().zip(self.ways.left) {
                    *register = (*register).max(left);
                }
                self.reach(next, state);
            }
            Flow::Exit => {
                for (left, register) in self.ways.left.iter_mut().zip(state) {
                    *left = (*left).max(register);
                }
            }
        }
    }

    fn store(&mut self, depth: Depth) {
        self.ways.stored = self.ways.stored.max(depth);
    }

    fn access(&mut self, base: Depth, offset: i16) {
        self.deepest = self.deepest.max(moved(base, i64::from(offset)));
    }

    fn execute(&mut self, op: &Op, state: &mut State) {
        match *op {
            Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Source::Reg(src) } => {
                state[dst.index()] = state[src.index()];
            }
            Op::Alu { op: AluOp::Mov, dst, .. } => state[dst.index()] = 0,
            Op::Alu { width: Width::W64, op: AluOp::Add, dst, src: Source::Imm(imm) } => {
                state[dst.index()] = moved(state[dst.index()], i64::from(imm));
            }
            Op::Alu { width: Width::W64, op: AluOp::Sub, dst, src: Source::Imm(imm) } => {
                state[dst.index()] = moved(state[dst.index()], -i64::from(imm));
            }
            Op::Alu { dst, src, .. } => {
                let other = if let Source::Reg(src) = src { state[src.index()] } else { 0 };
                if state[dst.index()].max(other) > 0 {
                    state[dst.index()] = ANYWHERE;
                }
            }
            Op::Neg { dst, .. } | Op::Swap { dst, .. } if state[dst.index()] > 0 => state[dst.index()] = ANYWHERE,
            Op::MovSx { dst, src, .. } => state[dst.index()] = if state[src.index()] > 0 { ANYWHERE } else { 0 },
            Op::LoadImm64 { dst, .. } => state[dst.index()] = 0,
            Op::Load { dst, base, offset, .. } | Op::LoadAcquire { dst, base, offset, .. } => {
                self.access(state[base.index()], offset);
                state[dst.index()] = self.ways.stored;
            }
            Op::Store { base, offset, src, .. } => {
                self.access(state[base.index()], offset);
                if let Source::Reg(src) = src {
                    self.store(state[src.index()]);
                }
            }
            Op::StoreRelease { base, offset, src, .. } => {
                self.access(state[base.index()], offset);
                self.store(state[src.index()]);
            }
            Op::Atomic { op, base, offset, src, .. } => {
                self.access(state[base.index()], offset);
                // An atomic on an address that was stored may make any other of it.
                if self.ways.stored.max(state[src.index()]) > 0 {
                    self.store(ANYWHERE);
                }
                let fetched = match op {
                    AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => return,
                    AtomicOp::Cmpxchg => Reg::R0,
                    _ => src,
                };
                state[fetched.index()] = self.ways.stored;
            }
            Op::CallHelper { .. } | Op::CallKfunc { .. } | Op::CallRegister { .. } => {
                let given = state[1..6].iter().copied().max().unwrap_or(0);
                self.deepest = self.deepest.max(given);
                self.ways.given = self.ways.given.max(given);
                // Linux's helpers return no address of the stack; one of the user's may.
                let own = !matches!(op, Op::CallHelper { id } if *id < CUSTOM_HELPERS);
                state[0] = if own { given } else { 0 };
            }
            Op::LoadAbs { .. } | Op::LoadInd { .. } => state[0] = 0,
            Op::Neg { .. }
            | Op::Swap { .. }
            | Op::Ja { .. }
            | Op::JaLong { .. }
            | Op::Jump { .. }
            | Op::MayGoto { .. }
            | Op::CallLocal { .. }
            | Op::Exit => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use crate::engine::interpreter::decode::decode;
    use crate::isa::assemble;
    use crate::map::MapSet;
    use crate::program::{Program, ProgramType};

    fn of(text: &str) -> u32 {
        let program = Program {
            name: "test".to_owned(),
            section: String::new(),
            program_type: Some(ProgramType::Mem),
            target: None,
            insns: assemble(text).unwrap(),
            maps: Vec::new(),
            subprograms: Vec::new(),
            lines: Vec::new(),
            license: "GPL".to_owned(),
        };
        decode(&program, &MapSet::default()).unwrap().stack_use
    }

    #[test]
    fn what_is_reached_by_constants_is_counted_exactly() {
        assert_eq!(of("r0 = 0\nexit"), 0);
        assert_eq!(of("*(u64 *)(r10 -24) = r1\nr0 = *(u64 *)(r10 -16)\nexit"), 24);
        assert_eq!(of("r2 = r10\nr2 += -8\nr2 += -8\nr0 = *(u64 *)(r2 -8)\nexit"), 24);
        assert_eq!(of("r2 = r10\nr2 -= 32\nr2 += 8\nr0 = *(u8 *)(r2 +1)\nexit"), 23);
        assert_eq!(of("r2 = r10\nr2 += -40\nr0 = r2\nexit"), 0, "an address that nothing uses");
        assert_eq!(of("*(u64 *)(r1 -24) = r1\nr2 *= r2\nr2 += r1\nr0 = 0\nexit"), 0, "no address of the stack");
        assert_eq!(of("r2 = r10\nr2 += -40\nif r1 == 0x0 goto +1\nr2 = r1\nr0 = *(u64 *)(r2 +0)\nexit"), 40);
        let helper = "r1 = r10\nr1 += -48\nr2 = 48\nr3 = 0\ncall bpf_probe_read_kernel#113\n";
        assert_eq!(of(&format!("{helper}r0 += r1\n*(u64 *)(r10 -8) = r0\nr0 = *(u64 *)(r10 -8)\nexit")), 48);
    }

    #[test]
    fn a_computed_address_may_be_anywhere() {
        for text in [
            "r2 = r10\nr2 += r1\nr0 = *(u64 *)(r2 -8)\nexit",
            "r2 = r10\nr1 += r2\nr0 = *(u64 *)(r1 -8)\nexit",
            "r2 = r10\nr2 &= -64\nr0 = *(u64 *)(r2 +0)\nexit",
            "r2 = -8\nr2 += r10\nr0 = *(u64 *)(r2 +0)\nexit",
            "r2 = r10\nr3 = 9\nloop:\nr2 += -8\nr3 += -1\nif r3 != 0x0 goto loop\nr0 = *(u64 *)(r2 +0)\nexit",
        ] {
            assert_eq!(of(text), 512, "{text}");
        }
    }

    #[test]
    fn addresses_go_through_memory_functions_and_callbacks() {
        assert_eq!(
            of("r2 = r10\nr2 += -56\n*(u64 *)(r10 -8) = r2\nr3 = *(u64 *)(r10 -8)\nr0 = *(u64 *)(r3 -8)\nexit"),
            64
        );
        assert_eq!(of("r1 = r10\nr1 += -72\ncall pc+1\nexit\nr0 = *(u64 *)(r1 +0)\nexit"), 72);
        assert_eq!(of("call pc+2\nr0 = *(u64 *)(r0 +0)\nexit\nr0 = r10\nr0 += -80\nexit"), 80);
        let callback = "r1 = 2\nr2 = subprog[called]\nr3 = r10\nr3 += -88\nr4 = 0\ncall bpf_loop#181\nexit\n";
        assert_eq!(of(&format!("{callback}called:\nr0 = *(u64 *)(r2 -8)\nexit")), 96);
        let given = "r1 = r10\nr1 += -24\n";
        assert_eq!(of(&format!("{given}call own#65536\nr0 = *(u64 *)(r0 -8)\nexit")), 32, "it may return its argument");
        assert_eq!(
            of(&format!("{given}r2 = 16\ncall bpf_get_current_comm#16\nr0 = *(u64 *)(r0 -8)\nexit")),
            24,
            "Linux's do not"
        );
    }
}
