//! Follows contexts, looked-up values, stack and results of calls through a program.
//!
//! Ways that meet are joined: what may be, is taken to be. So a gap that a program meets on some way is found, and one
//! may be found that no run meets. Functions are walked once for all their callers. What goes into memory that a
//! function shares with others is known by one value, [`Walk::escaped`].

use std::collections::{BTreeMap, BTreeSet};

use super::met::Met;
use super::outcome::alu;
use super::state::State;
use super::value::{Own, Places, Value};
use crate::isa::{AluOp, Imm64, Insn, JumpOp, Op, Reg, Size, Source, Width, decode_lenient};
use crate::map::MapSpec;
use crate::program::ProgramType;

/// Work that a program may take, in instructions walked; a comparison of a result counts for more.
const MOST_WORK: usize = 4_000_000;
/// What trying all errnos counts for.
pub(super) const ERRNOS_WORK: usize = 64;
/// Frames that Linux allows, the entry's among them.
const FRAMES: usize = 8;

/// Instructions before which what is known is kept.
const MOST_STATES: usize = 1 << 15;

/// The program cannot be followed.
pub(super) struct Lost(pub(super) &'static str);

/// An instruction that changes nothing.
const NOTHING: Op = Op::Ja { offset: 0 };

const TOO_LARGE: Lost = Lost("it is too large");

/// Which maps a function changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// By name.
    maps: BTreeSet<String>,
    /// Others too.
    any: bool,
}

#[derive(Default)]
struct Function {
    /// What it may return; none where it is not known to.
    returns: Option<Value>,
    /// Frames above its own, at most; counted up to one more than there can be.
    depth: usize,
    /// Where it calls others.
    calls: BTreeSet<usize>,
    changes: Changes,
    /// Where it is called.
    callers: BTreeSet<usize>,
}

pub(super) struct Walk<'a> {
    pub(super) insns: &'a [Insn],
    pub(super) maps: &'a [Option<&'a MapSpec>],
    pub(super) program_type: Option<ProgramType>,
    pub(super) met: Met,
    /// The state before instructions at which ways meet.
    before: BTreeMap<usize, State>,
    todo: BTreeSet<usize>,
    functions: BTreeMap<usize, Function>,
    /// What may be in memory that several functions reach.
    pub(super) escaped: Value,
    /// How far below r10 an access goes, and in which function.
    pub(super) deepest: BTreeMap<usize, (usize, i32)>,
    /// Instructions that are reached.
    pub(super) reached: Vec<bool>,
    pub(super) work: usize,
}

/// Bytes of a frame that is left for a function on AxVisor.
fn room(depth: usize, calls: bool) -> i32 {
    match (depth, calls) {
        (0, false) => 512,
        (0 | 1, _) => 256,
        _ => 0,
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        insns: &'a [Insn],
        maps: &'a [Option<&'a MapSpec>],
        program_type: Option<ProgramType>,
    ) -> Walk<'a> {
        Walk {
            insns,
            maps,
            program_type,
            met: Met::new(),
            before: BTreeMap::new(),
            todo: BTreeSet::new(),
            functions: BTreeMap::new(),
            escaped: Value::default(),
            deepest: BTreeMap::new(),
            reached: vec![false; insns.len()],
            work: 0,
        }
    }

    /// Walks all ways from the entry.
    pub(super) fn run(&mut self) -> Result<(), Lost> {
        let mut entry = State::entry(0);
        entry.set(Reg::R1, Value { context: true, ..Value::default() });
        if self.program_type == Some(ProgramType::Mem)
            && let Some(r2) = Reg::new(2)
        {
            entry.set(r2, self.met.length());
        }
        self.functions.entry(0).or_default();
        self.flow(0, entry)?;
        loop {
            let escaped = self.escaped.clone();
            while let Some(at) = self.todo.pop_first() {
                if let Some(state) = self.before.get(&at).cloned() {
                    self.walk(at, state)?;
                }
            }
            if self.escaped == escaped {
                break;
            }
            self.todo.extend(self.before.keys());
        }
        for (&at, &(function, offset)) in &self.deepest {
            let found = self.functions.get(&function).is_some_and(|f| -offset > room(f.depth, !f.calls.is_empty()));
            if found {
                self.met.rows(at, self.met.by.shared_frame, Places::Nowhere);
            }
        }
        Ok(())
    }

    /// Control reaches an instruction at which ways may meet.
    fn flow(&mut self, to: usize, state: State) -> Result<(), Lost> {
        self.work += state.weight();
        let joined = match self.before.get(&to) {
            None if self.before.len() == MOST_STATES => return Err(TOO_LARGE),
            None => state,
            Some(before) => {
                let joined = before.join(&state).ok_or(Lost("it jumps from one function into another"))?;
                if joined == *before {
                    return Ok(());
                }
                joined
            }
        };
        self.before.insert(to, joined);
        self.todo.insert(to);
        Ok(())
    }

    fn walk(&mut self, from: usize, mut state: State) -> Result<(), Lost> {
        let mut at = from;
        loop {
            self.work += 1;
            if self.work > MOST_WORK {
                return Err(TOO_LARGE);
            }
            let Some(reached) = self.reached.get_mut(at) else { return Ok(()) };
            *reached = true;
            // What is no instruction is refused; rbpf goes on behind what it takes for one.
            let (op, slots) = decode_lenient(self.insns, at).unwrap_or((NOTHING, 1));
            let next = at + slots;
            let target = |offset: i64| usize::try_from(at as i64 + 1 + offset).ok();
            match op {
                Op::Exit => {
                    return self.exit(at, &state);
                }
                Op::Ja { .. } | Op::JaLong { .. } => {
                    let to = op.target().and_then(|offset| target(offset.into()));
                    return to.map_or(Ok(()), |to| self.flow(to, state));
                }
                Op::MayGoto { offset } => {
                    if let Some(to) = target(offset.into()) {
                        self.flow(to, state.clone())?;
                    }
                }
                Op::Jump { width, op, dst, src, offset } => {
                    let taken = self.jump(at, &mut state, (width, op, dst, src));
                    if let Some(to) = target(offset.into()) {
                        self.flow(to, taken)?;
                    }
                }
                Op::CallLocal { offset } => {
                    if from != at {
                        // So that it can be come back to.
                        return self.flow(at, state);
                    }
                    let Some(function) = target(offset.into()) else { return Ok(()) };
                    if !self.call(at, function, &mut state)? {
                        return Ok(());
                    }
                }
                Op::CallHelper { id } => self.helper(at, id, &mut state),
                _ => self.step(at, op, &mut state),
            }
            if self.before.contains_key(&next) {
                return self.flow(next, state);
            }
            at = next;
        }
    }

    /// Instructions behind which comes the next one.
    fn step(&mut self, at: usize, op: Op, state: &mut State) {
        match op {
            Op::Alu { width, op, dst, src } => self.alu(at, state, (width, op, dst, src)),
            Op::Neg { dst, .. } | Op::Swap { dst, .. } => {
                self.used(at, state.get(dst));
                state.set(dst, Value::default());
            }
            Op::MovSx { dst, src, .. } => {
                self.used(at, state.get(src));
                state.set(dst, Value::default());
            }
            Op::LoadImm64 { dst, value } => {
                let value = match value {
                    Imm64::Value(number) => Value::number(number as i64),
                    Imm64::Map(slot) => Value { map: usize::try_from(slot).ok(), ..Value::default() },
                    _ => Value::default(),
                };
                state.set(dst, value);
            }
            Op::Load { size, dst, base, offset, .. } | Op::LoadAcquire { size, dst, base, offset } => {
                let value = self.load(at, state, base, offset, size);
                state.set(dst, value);
            }
            Op::Store { size, base, offset, src } => {
                let value = operand(state, src);
                self.store(at, state, (base, offset, size), value);
            }
            Op::StoreRelease { size, base, offset, src } => {
                let value = state.get(src).clone();
                self.store(at, state, (base, offset, size), value);
            }
            Op::Atomic { width, op, base, offset, src } => {
                let size = if width == Width::W64 { Size::Double } else { Size::Word };
                let loaded = self.load(at, state, base, offset, size);
                self.used(at, &loaded);
                let value = state.get(src).clone();
                self.used(at, &value);
                self.store(at, state, (base, offset, size), value.address());
                // The old value, whichever register gets it.
                let _ = op;
                state.set(src, state.get(src).join(&loaded.address()));
                state.set(Reg::R0, state.get(Reg::R0).join(&loaded.address()));
            }
            Op::CallKfunc { .. } | Op::CallRegister { .. } => {
                self.escape_all(at, state);
                state.after_call(Value::default());
            }
            _ => state.set(Reg::R0, Value::default()),
        }
    }

    fn alu(&mut self, at: usize, state: &mut State, (width, op, dst, src): (Width, AluOp, Reg, Source)) {
        let with = operand(state, src);
        let mine = state.get(dst).clone();
        if op == AluOp::Mod && width == Width::W32 && !with.not_zero {
            self.met.rows(at, self.met.by.zero_divisor, Places::Nowhere);
        }
        let value = match (op, width) {
            (AluOp::Mov, Width::W64) => with,
            (AluOp::Mov, Width::W32) => {
                let number = with.number.map(|number| i64::from(number as u32));
                let outcome = with.outcome.as_ref().and_then(|outcome| {
                    self.work += ERRNOS_WORK;
                    outcome.computed(Width::W32, AluOp::Add, 0)
                });
                if outcome.is_none() {
                    self.used(at, &with);
                }
                Value { number, not_zero: with.not_zero, outcome: outcome.map(Box::new), ..Value::default() }
            }
            _ => {
                let number = match (mine.number, with.number) {
                    (Some(a), Some(b)) => alu(width, op, a as u64, b as u64).map(|number| number as i64),
                    _ => None,
                };
                let outcome = match (&mine.outcome, with.number) {
                    (Some(outcome), Some(with)) => {
                        self.work += ERRNOS_WORK;
                        outcome.computed(width, op, with as u64)
                    }
                    _ => None,
                };
                if outcome.is_none() {
                    self.used(at, &mine);
                }
                self.used(at, &with);
                let address = match (op, width) {
                    (AluOp::Add, Width::W64) => mine.moved(with.number).join(&with.moved(mine.number)),
                    (AluOp::Sub, Width::W64) => {
                        mine.moved(with.number.and_then(i64::checked_neg)).join(&with.moved(None))
                    }
                    (_, Width::W64) => mine.moved(None).join(&with.moved(None)),
                    (_, Width::W32) => Value::default(),
                };
                let on_stack = matches!(op, AluOp::Add | AluOp::Sub) && mine.on_stack && !with.may_point();
                let not_zero = number.is_some_and(|number| number as u32 != 0);
                Value { number, outcome: outcome.map(Box::new), on_stack, not_zero, ..address }
            }
        };
        state.set(dst, value);
    }

    /// The state where the jump is taken; `state` becomes that where it is not.
    fn jump(&mut self, at: usize, state: &mut State, (width, op, dst, src): (Width, JumpOp, Reg, Source)) -> State {
        let with = operand(state, src);
        let mine = state.get(dst).clone();
        let mut taken = state.clone();
        match (&mine.outcome, with.number) {
            (Some(outcome), Some(number)) => {
                self.work += ERRNOS_WORK;
                let told = outcome.compared(width, op, number as u64);
                self.met.rows(at, told.rows, outcome.from);
                if let Some(jumps) = told.success_if {
                    let success = if jumps { &mut taken } else { &mut *state };
                    success.set(dst, Value { outcome: None, ..mine.clone() });
                }
            }
            _ => self.used(at, &mine),
        }
        self.used(at, &with);
        if width == Width::W32 && with.number.is_some_and(|number| number as u32 == 0) {
            let other = match op {
                JumpOp::Eq => Some(&mut *state),
                JumpOp::Ne | JumpOp::Gt => Some(&mut taken),
                _ => None,
            };
            if let Some(other) = other {
                other.set(dst, Value { not_zero: true, ..other.get(dst).clone() });
            }
        }
        taken
    }

    /// A use of a value for what it is.
    pub(super) fn used(&mut self, at: usize, value: &Value) {
        if let Some(outcome) = &value.outcome {
            self.met.rows(at, outcome.rows(), outcome.from);
        }
    }

    /// Maps are changed: what was looked up in them is not what they hold.
    pub(super) fn changed(&mut self, state: &mut State, changes: &Changes) {
        let maps = self.maps;
        let named = |slot: usize| maps.get(slot).copied().flatten().map(|spec| spec.name.as_str());
        let concerns = |value: &Value| {
            let name = value.looked_up_in.and_then(named);
            changes.any || (!changes.maps.is_empty() && name.is_none_or(|name| changes.maps.contains(name)))
        };
        for value in state.values().filter(|value| value.looked_up.is_any()) {
            value.stale |= concerns(value);
        }
        if self.escaped.looked_up.is_any() {
            self.escaped.stale |= concerns(&self.escaped);
        }
        let function = self.functions.entry(state.function).or_default();
        let before = function.changes.clone();
        self.work += before.maps.len();
        function.changes.maps.extend(changes.maps.iter().cloned());
        function.changes.any |= changes.any;
        if function.changes != before {
            let callers = function.callers.clone();
            self.todo.extend(callers);
        }
    }

    /// The map of a handle, or all.
    pub(super) fn changes_of(&self, map: &Value) -> Changes {
        match self.map_of(map) {
            Some(spec) => Changes { maps: BTreeSet::from([spec.name.clone()]), any: false },
            None => Changes { any: true, ..Changes::default() },
        }
    }

    fn exit(&mut self, at: usize, state: &State) -> Result<(), Lost> {
        let r0 = state.get(Reg::R0);
        if state.function == 0 {
            self.used(at, r0);
        }
        let returned = r0.returned();
        let function = self.functions.entry(state.function).or_default();
        let joined = function.returns.as_ref().map_or_else(|| returned.clone(), |before| before.join(&returned));
        if function.returns.as_ref() != Some(&joined) {
            function.returns = Some(joined);
            let callers = function.callers.clone();
            self.todo.extend(callers);
        }
        Ok(())
    }

    /// A call of a function of the program; false where it is not known to return.
    fn call(&mut self, at: usize, to: usize, state: &mut State) -> Result<bool, Lost> {
        let mut entry = State::entry(to);
        for number in 1..=5 {
            let Some(reg) = Reg::new(number) else { continue };
            let value = state.get(reg).clone();
            if value.own != Own::No {
                self.share(at, state);
                if let Own::At(offset) = value.own {
                    let known = self.deepest.entry(at).or_insert((state.function, offset));
                    known.1 = known.1.min(offset);
                }
            }
            entry.set(reg, value.handed_on());
        }
        let caller = self.functions.entry(state.function).or_default();
        caller.calls.insert(at);
        let depth = (caller.depth + 1).min(FRAMES + 1);
        let callee = self.functions.entry(to).or_default();
        callee.callers.insert(at);
        let deeper = depth > callee.depth;
        callee.depth = callee.depth.max(depth);
        let (returns, changes) = (callee.returns.clone(), callee.changes.clone());
        if deeper {
            // Functions that it calls are deeper too.
            self.todo.extend(&callee.calls);
        }
        if depth >= FRAMES {
            self.met.rows(at, self.met.by.ninth_frame, Places::Nowhere);
        }
        self.flow(to, entry)?;
        if state.shared {
            state.overwrite(None);
        }
        if changes != Changes::default() {
            self.changed(state, &changes);
        }
        let Some(r0) = returns else { return Ok(false) };
        state.after_call(r0);
        Ok(true)
    }

    /// The map of a handle, where it is known.
    pub(super) fn map_of(&self, value: &Value) -> Option<&'a MapSpec> {
        value.map.and_then(|slot| self.maps.get(slot).copied().flatten())
    }
}

fn operand(state: &State, source: Source) -> Value {
    match source {
        Source::Reg(reg) => state.get(reg).clone(),
        Source::Imm(number) => Value::number(number.into()),
    }
}
