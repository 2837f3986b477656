//! Calls that give a helper a map of a kind that it is not for, found before the program runs.
//!
//! Linux's verifier refuses them, on the ways that it follows. Here registers are followed as far as a map or a number
//! that is known when the program is loaded is in them, on all ways that these numbers leave: a program may have calls
//! for a kind that its map does not have, behind a test of a constant that was set when it was loaded. Where a way
//! depends on such a constant that is not known here, it is not followed further. So nothing is found that Linux's
//! verifier does not meet; what is not found is a fault of the run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::table::{self, ArgKind, HelperError};
use crate::isa::{AluOp, AtomicOp, Imm64, JumpOp, Op, Reg, Size, Source, Width, decode, starts};
use crate::map::{BPF_F_RDONLY_PROG, MapSpec};
use crate::program::Program;

/// Instructions that are followed before it is given up.
const MOST_WORK: usize = 1 << 20;

/// What is known of the maps of a program when it is loaded.
pub trait KnownMaps {
    /// The map of a slot.
    fn spec(&self, slot: usize) -> Option<&MapSpec>;

    /// Bytes of the value of a map that no program writes to; none where they are not known yet.
    fn constant(&self, slot: usize, offset: u64, size: usize) -> Option<u64> {
        let _ = (slot, offset, size);
        None
    }
}

/// What is in a register.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    /// Anything.
    Unknown,
    /// A number that Linux knows when it verifies, and we do not.
    Settled,
    Number(u64),
    /// The map of a slot.
    Map(usize),
    /// An address in the value of a map.
    Memory(usize, u64),
}

impl Value {
    fn is_constant(self) -> bool {
        matches!(self, Value::Number(_) | Value::Settled)
    }
}

#[derive(Clone, PartialEq)]
struct State {
    registers: [Value; 11],
    /// What was stored in eight bytes of the frame, by offset.
    stack: BTreeMap<i16, Value>,
}

impl State {
    const NOTHING: State = State { registers: [Value::Unknown; 11], stack: BTreeMap::new() };

    fn get(&self, register: Reg) -> Value {
        self.registers[usize::from(register.number())]
    }

    fn set(&mut self, register: Reg, value: Value) {
        self.registers[usize::from(register.number())] = value;
    }

    fn source(&self, source: Source) -> Value {
        match source {
            Source::Reg(register) => self.get(register),
            #[expect(clippy::cast_sign_loss, reason = "immediates are sign-extended (RFC 9669 §4)")]
            Source::Imm(value) => Value::Number(i64::from(value) as u64),
        }
    }

    /// What a call leaves: it may write to the stack.
    fn clobber(&mut self) {
        self.registers[..6].fill(Value::Unknown);
        self.stack.clear();
    }

    /// Ways meet: what differs is not known. Whether that changed anything.
    fn join(&mut self, other: &State) -> bool {
        let before = self.clone();
        for (mine, theirs) in self.registers.iter_mut().zip(other.registers) {
            if *mine != theirs {
                *mine = Value::Unknown;
            }
        }
        self.stack.retain(|at, value| other.stack.get(at) == Some(value));
        *self != before
    }

    fn store(&mut self, base: Reg, offset: i16, size: Size, value: Value) {
        if base != Reg::R10 {
            // It may be a copy of r10.
            self.stack.clear();
            return;
        }
        let (start, len) = (i32::from(offset), i32::from(size.bytes()));
        self.stack.retain(|at, _| i32::from(*at) + 8 <= start || start + len <= i32::from(*at));
        if size == Size::Double && value != Value::Unknown {
            self.stack.insert(offset, value);
        }
    }
}

struct Walk<'a> {
    maps: &'a dyn KnownMaps,
    ops: HashMap<usize, (Op, usize)>,
    /// Where ways meet, and what is known there.
    before: HashMap<usize, Option<State>>,
    todo: BTreeSet<usize>,
    found: BTreeMap<usize, HelperError>,
}

/// Every call of a helper with a map that is not for it, by slot.
#[must_use]
pub fn misused_maps(program: &Program, maps: &dyn KnownMaps) -> Vec<(usize, HelperError)> {
    let mut ops = HashMap::new();
    let mut before = HashMap::from([(0, None)]);
    let mut at = 0;
    while at < program.insns.len() {
        // What is no instruction is refused by others.
        let Ok((op, width)) = decode(&program.insns, at) else { return Vec::new() };
        before.extend(target(at, &op).map(|to| (to, None)));
        ops.insert(at, (op, width));
        at += width;
    }
    let mut walk = Walk { maps, ops, before, todo: BTreeSet::new(), found: BTreeMap::new() };
    walk.reach(0, &State::NOTHING);
    let mut work = 0;
    while let Some(start) = walk.todo.pop_first() {
        let Some(mut state) = walk.before.get(&start).and_then(Clone::clone) else { continue };
        let mut next = Some(start);
        while let Some(at) = next {
            work += 1;
            if work > MOST_WORK {
                return walk.found.into_iter().collect();
            }
            next = walk.step(at, &mut state);
            if let Some(at) = next
                && walk.before.contains_key(&at)
            {
                walk.reach(at, &state);
                next = None;
            }
        }
    }
    walk.found.into_iter().collect()
}

/// Every use of a map that programs of this type may not use, by slot, with the reason.
#[must_use]
pub fn forbidden_maps(program: &Program, maps: &dyn KnownMaps) -> Vec<(usize, String)> {
    let Some(of) = program.program_type else { return Vec::new() };
    let forbidden = |at: usize| {
        let (Op::LoadImm64 { value: Imm64::Map(slot), .. }, _) = decode(&program.insns, at).ok()? else { return None };
        let MapSpec { name, kind, .. } = maps.spec(usize::try_from(slot).ok()?)?;
        let (may, kind, of) = (kind.rules()?.may_be_used_by(of), kind.name(), of.name());
        let why = format!(
            "{name} is a {kind} map, which programs of type {of} may not use (Linux: Sleepable programs can only use \
             array, hash, ringbuf and local storage maps)"
        );
        (!may).then_some((at, why))
    };
    starts(&program.insns).filter_map(forbidden).collect()
}

/// The slot that an instruction points to.
fn target(at: usize, op: &Op) -> Option<usize> {
    let behind = at.checked_add(1)?;
    op.target().and_then(|offset| behind.checked_add_signed(offset as isize))
}

impl Walk<'_> {
    /// A way leads to a slot at which ways meet.
    fn reach(&mut self, at: usize, state: &State) {
        let changed = match self.before.get_mut(&at) {
            Some(Some(known)) => known.join(state),
            Some(unseen) => {
                *unseen = Some(state.clone());
                true
            }
            None => false,
        };
        if changed {
            self.todo.insert(at);
        }
    }

    /// Follows one instruction; the slot where the way goes on without a jump.
    fn step(&mut self, at: usize, state: &mut State) -> Option<usize> {
        // Ways off the end are refused by others.
        let (op, width) = *self.ops.get(&at)?;
        let target = target(at, &op);
        match op {
            Op::Alu { width, op, dst, src } => {
                let value = alu(width, op, state.get(dst), state.source(src));
                state.set(dst, value);
            }
            Op::Neg { dst, .. } | Op::Swap { dst, .. } => state.set(dst, computed_of(state.get(dst))),
            Op::MovSx { dst, src, .. } => state.set(dst, computed_of(state.get(src))),
            Op::LoadImm64 { dst, value } => {
                let value = match value {
                    Imm64::Value(value) => Value::Number(value),
                    Imm64::Map(slot) => usize::try_from(slot).map_or(Value::Unknown, Value::Map),
                    Imm64::MapValue { map, offset } => {
                        usize::try_from(map).map_or(Value::Unknown, |map| Value::Memory(map, offset.into()))
                    }
                    _ => Value::Unknown,
                };
                state.set(dst, value);
                // Of `lddw`, only that of a function has one.
                if let Some(function) = target {
                    self.reach(function, &State::NOTHING);
                }
            }
            Op::Load { size, signed, dst, base, offset } => {
                let value = self.load(state, size, base, offset);
                state.set(dst, if signed { computed_of(value) } else { value });
            }
            Op::LoadAcquire { dst, .. } => state.set(dst, Value::Unknown),
            Op::Store { size, base, offset, src } => {
                let value = state.source(src);
                state.store(base, offset, size, value);
            }
            Op::StoreRelease { size, base, offset, .. } => state.store(base, offset, size, Value::Unknown),
            Op::Atomic { op, base, offset, src, .. } => {
                state.store(base, offset, Size::Double, Value::Unknown);
                match op {
                    AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {}
                    AtomicOp::Cmpxchg => state.set(Reg::R0, Value::Unknown),
                    _ => state.set(src, Value::Unknown),
                }
            }
            Op::Jump { width, op, dst, src, .. } => match decide(width, op, state.get(dst), state.source(src)) {
                Way::Both => self.reach(target?, state),
                Way::Jump => {
                    self.reach(target?, state);
                    return None;
                }
                Way::Through => {}
                Way::NotKnownHere => return None,
            },
            Op::MayGoto { .. } => self.reach(target?, state),
            Op::Ja { .. } | Op::JaLong { .. } => {
                self.reach(target?, state);
                return None;
            }
            Op::CallHelper { id } => {
                if let Some(error) = self.misuse(id, state) {
                    self.found.insert(at, error);
                }
                state.clobber();
            }
            Op::CallLocal { .. } => {
                let mut callee = State::NOTHING;
                callee.registers[1..6].copy_from_slice(&state.registers[1..6]);
                self.reach(target?, &callee);
                state.clobber();
            }
            Op::CallKfunc { .. } | Op::CallRegister { .. } | Op::LoadAbs { .. } | Op::LoadInd { .. } => state.clobber(),
            Op::Exit => return None,
        }
        Some(at + width)
    }

    fn load(&self, state: &State, size: Size, base: Reg, offset: i16) -> Value {
        match state.get(base) {
            _ if base == Reg::R10 => match (size, state.stack.get(&offset)) {
                (Size::Double, Some(value)) => *value,
                _ => Value::Unknown,
            },
            Value::Memory(map, start) if self.is_constant(map) => {
                let at = start.wrapping_add_signed(offset.into());
                self.maps.constant(map, at, size.bytes().into()).map_or(Value::Settled, Value::Number)
            }
            _ => Value::Unknown,
        }
    }

    fn is_constant(&self, map: usize) -> bool {
        self.maps.spec(map).is_some_and(|spec| spec.flags & BPF_F_RDONLY_PROG != 0)
    }

    fn misuse(&self, id: u32, state: &State) -> Option<HelperError> {
        let helper = table::by_id(id)?;
        let row = helper.implementation.as_ref()?;
        let argument = row.args.iter().position(|kind| *kind == ArgKind::MapPtr)?;
        let Value::Map(slot) = *state.registers.get(argument + 1)? else { return None };
        table::check_map(id, self.maps.spec(slot)?).err()
    }
}

fn alu(width: Width, op: AluOp, a: Value, b: Value) -> Value {
    let number = match (op, a, b) {
        (AluOp::Mov, _, Value::Number(b)) => b,
        (AluOp::Mov, _, b) if width == Width::W64 => return b,
        (AluOp::Mov, _, b) => return computed_of(b),
        (AluOp::Add, Value::Memory(map, offset), Value::Number(more)) if width == Width::W64 => {
            return Value::Memory(map, offset.wrapping_add(more));
        }
        (AluOp::Add, Value::Number(a), Value::Number(b)) => a.wrapping_add(b),
        (AluOp::Sub, Value::Number(a), Value::Number(b)) => a.wrapping_sub(b),
        (AluOp::And, Value::Number(a), Value::Number(b)) => a & b,
        (AluOp::Or, Value::Number(a), Value::Number(b)) => a | b,
        (AluOp::Xor, Value::Number(a), Value::Number(b)) => a ^ b,
        _ => return computed(a, b),
    };
    Value::Number(if width == Width::W32 { number & 0xffff_ffff } else { number })
}

/// What is computed of two values, in a way that is not followed.
fn computed(a: Value, b: Value) -> Value {
    if a.is_constant() && b.is_constant() { Value::Settled } else { Value::Unknown }
}

/// What is computed of a value.
fn computed_of(a: Value) -> Value {
    computed(a, a)
}

enum Way {
    Both,
    Jump,
    Through,
    NotKnownHere,
}

fn decide(width: Width, op: JumpOp, a: Value, b: Value) -> Way {
    let (a, b) = match (a, b) {
        (Value::Number(a), Value::Number(b)) => (a, b),
        (a, b) if a.is_constant() && b.is_constant() => return Way::NotKnownHere,
        _ => return Way::Both,
    };
    if op.holds(width, a, b) { Way::Jump } else { Way::Through }
}
