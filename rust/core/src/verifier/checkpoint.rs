//! Places that a path is compared with later paths at, so that what was followed once is not followed again.
//!
//! A checkpoint holds the state of a path at one instruction. Each value there is numbered; what is computed from it
//! later carries the number ([`Origins`]). When something depends on a value (its kind: it must be a number; its exact
//! range: it is an index), the numbers say which values of the checkpoint that were, and through [`Checkpoint::inputs`]
//! which ones of the checkpoint before. Once every path from a checkpoint has ended, a later path that comes there ends
//! as well if it agrees in the values that anything depended on: all that could follow has been seen.

use super::scalar::Scalar;
use super::state::State;
use super::value::{Byte, Kind, Origins, Pointer, Slot, Value};

/// The number of values that share the last one: where there are more, they all count as depended on.
const LAST: u32 = Origins::BITS - 1;
/// No checkpoint.
pub const NONE: u32 = u32::MAX;
/// Memory that checkpoints may take, in bytes; beyond it, states that were of no use go, and then no more are kept.
const MEMORY: usize = 128 << 20;
/// Checkpoints that a path is compared with at one instruction, the latest first.
const COMPARED: usize = 128;

/// How much depends on a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Need {
    /// That it is a number.
    Kind,
    /// What it can be.
    Exact,
}

/// See the module.
struct Checkpoint {
    /// What was known; none once it was dropped.
    state: Option<State>,
    at: usize,
    parent: u32,
    /// Of which values of the parent each numbered value was made.
    inputs: Vec<Origins>,
    /// Values whose kind matters.
    kinds: Origins,
    /// Values that matter exactly.
    exact: Origins,
    /// Paths from here that have not ended.
    pending: u32,
    /// Paths that ended here.
    hits: u32,
}

/// All checkpoints of a verification.
#[derive(Default)]
pub struct Checkpoints {
    all: Vec<Checkpoint>,
    /// By instruction: those from which every path has ended, and the others.
    done: Vec<Vec<u32>>,
    open: Vec<Vec<u32>>,
    /// Bytes of the states, about.
    memory: usize,
    /// Whether there is no memory for more.
    is_full: bool,
    /// How many states were saved.
    pub saved: u32,
}

/// Which ids of one state stand for which of another.
#[derive(Default)]
struct Ids(Vec<(u32, u32)>);

impl Ids {
    fn agree(&mut self, old: u32, new: u32) -> bool {
        if old == 0 {
            return true;
        }
        if new == 0 {
            return false;
        }
        match self.0.iter().find(|(a, b)| *a == old || *b == new) {
            Some(pair) => *pair == (old, new),
            None => {
                self.0.push((old, new));
                true
            }
        }
    }
}

/// Bytes of a state.
fn size_of_state(state: &State) -> usize {
    let frames = state.frames.iter();
    frames.map(|frame| size_of_val(&**frame) + frame.stack.len() * size_of::<Slot>()).sum()
}

/// Bytes of what stays of a checkpoint.
fn size_of_inputs(state: &State) -> usize {
    let values = state.frames.iter().map(|frame| frame.registers.len() + frame.stack.len()).sum::<usize>();
    size_of::<Checkpoint>() + values.min(LAST as usize) * size_of::<Origins>()
}

impl Checkpoints {
    pub fn new(slots: usize) -> Checkpoints {
        Checkpoints { done: vec![Vec::new(); slots], open: vec![Vec::new(); slots], ..Checkpoints::default() }
    }

    /// Something depends on values of the latest checkpoint of a path.
    pub fn demand(&mut self, mut checkpoint: u32, mut origins: Origins, need: Need) {
        while origins != 0 && checkpoint != NONE {
            let at = &mut self.all[checkpoint as usize];
            let known = if need == Need::Exact { at.exact } else { at.kinds };
            let mut fresh = origins & !known;
            at.kinds |= fresh;
            if need == Need::Exact {
                at.exact |= fresh;
            }
            origins = 0;
            while fresh != 0 {
                origins |= at.inputs.get(fresh.trailing_zeros() as usize).copied().unwrap_or(0);
                fresh &= fresh - 1;
            }
            checkpoint = at.parent;
        }
    }

    /// One more path from the checkpoint is to be followed.
    pub fn fork(&mut self, checkpoint: u32) {
        if let Some(at) = self.all.get_mut(checkpoint as usize) {
            at.pending += 1;
        }
    }

    /// A path has ended.
    pub fn ended(&mut self, mut checkpoint: u32) {
        while let Some(at) = self.all.get_mut(checkpoint as usize) {
            at.pending -= 1;
            if at.pending > 0 {
                return;
            }
            let open = &mut self.open[at.at];
            if let Some(index) = open.iter().rposition(|number| *number == checkpoint) {
                open.remove(index);
            }
            if at.state.is_some() {
                self.done[at.at].push(checkpoint);
            }
            checkpoint = at.parent;
        }
    }

    /// Saves the state of a path, and numbers its values. Where memory is short, the path goes on without.
    pub fn save(&mut self, state: &mut State) {
        let bytes = size_of_state(state) + size_of_inputs(state);
        if self.memory + bytes > MEMORY {
            if !self.is_full {
                self.drop_useless();
            }
            self.is_full |= self.memory + bytes > MEMORY;
            if self.is_full {
                return;
            }
        }
        self.memory += bytes;
        self.saved += 1;
        let mut ids: Vec<u32> = Vec::new();
        state.each(|value, _| {
            if value.id() != 0 {
                ids.push(value.id());
            }
        });
        ids.sort_unstable();
        let is_single = |id: u32| {
            let first = ids.partition_point(|other| *other < id);
            ids.get(first + 1) != Some(&id)
        };
        let mut inputs: Vec<Origins> = Vec::new();
        let mut overflowed = 0;
        let mut number = |origins: Origins| -> Origins {
            if inputs.len() < LAST as usize {
                inputs.push(origins);
                1 << (inputs.len() - 1)
            } else {
                overflowed |= origins;
                1 << LAST
            }
        };
        for frame in &mut state.frames {
            let frame = std::rc::Rc::make_mut(frame);
            for value in &mut frame.registers {
                if *value != Value::Unset {
                    *value = value.made_of(number(value.from()));
                }
                if let Value::Number(of) = value
                    && is_single(of.id)
                {
                    of.unlink();
                }
            }
            for slot in &mut frame.stack {
                if *slot == Slot::FRESH {
                    continue;
                }
                let origins = number(slot.origins());
                slot.from = origins;
                slot.value = slot.value.made_of(origins);
                if let Value::Number(of) = &mut slot.value
                    && is_single(of.id)
                {
                    of.unlink();
                }
            }
        }
        self.demand(state.checkpoint, overflowed, Need::Exact);
        let last: Origins = 1 << LAST;
        let number = u32::try_from(self.all.len()).unwrap_or(NONE - 1);
        let parent = std::mem::replace(&mut state.checkpoint, number);
        (state.steps, state.jumps) = (0, 0);
        self.open[state.at].push(number);
        self.all.push(Checkpoint {
            state: Some(state.clone()),
            at: state.at,
            parent,
            inputs,
            kinds: last,
            exact: last,
            pending: 1,
            hits: 0,
        });
    }

    /// Frees the states at which no path has ended.
    fn drop_useless(&mut self) {
        for done in &mut self.done {
            done.retain(|number| {
                let at = &mut self.all[*number as usize];
                if at.hits == 0
                    && let Some(state) = at.state.take()
                {
                    self.memory -= size_of_state(&state);
                    return false;
                }
                true
            });
        }
    }

    /// Whether everything that can follow has been seen from a checkpoint that is done: then the path ends here.
    pub fn is_seen(&mut self, state: &State) -> bool {
        let found = self.done[state.at].iter().rev().take(COMPARED).copied().find(|number| {
            let at = &self.all[*number as usize];
            at.state.as_ref().is_some_and(|old| covers(old, state, at.kinds, at.exact))
        });
        let Some(number) = found else { return false };
        let at = &mut self.all[number as usize];
        at.hits += 1;
        let (kinds, exact) = (at.kinds, at.exact);
        let mut needed = (0, 0);
        if let Some(old) = &at.state {
            each_pair(old, state, |old, new| {
                if old & kinds != 0 {
                    needed.0 |= new;
                }
                if old & exact != 0 {
                    needed.1 |= new;
                }
            });
        }
        self.demand(state.checkpoint, needed.0, Need::Kind);
        self.demand(state.checkpoint, needed.1, Need::Exact);
        // The one that was of use is looked at first the next time.
        let done = &mut self.done[state.at];
        if let Some(index) = done.iter().rposition(|other| *other == number) {
            done.remove(index);
            done.push(number);
        }
        true
    }

    /// Whether the path has been here before with the same in every register and stack slot: it will never end.
    pub fn is_repeated(&self, state: &State) -> bool {
        self.open[state.at].iter().rev().take(4).any(|number| {
            let at = &self.all[*number as usize];
            at.state.as_ref().is_some_and(|old| {
                old.turns == state.turns
                    && covers(old, state, Origins::MAX, Origins::MAX)
                    && covers(state, old, Origins::MAX, Origins::MAX)
            })
        })
    }

    /// Whether an earlier turn of a loop that something else ends had all that this one has. First, numbers that have
    /// changed since the latest turn and that nothing depends on become unknown, so that some turn will have.
    pub fn is_turn_seen(&mut self, state: &mut State) -> bool {
        let earlier: Vec<u32> = self.open[state.at].iter().rev().take(COMPARED).copied().collect();
        if let Some(at) = earlier.first().map(|number| &self.all[*number as usize])
            && let Some(old) = &at.state
            && old.frames.len() == state.frames.len()
        {
            widen(old, state, at.exact);
        }
        let covering = earlier.iter().find_map(|number| {
            let old = self.all[*number as usize].state.as_ref();
            old.filter(|old| covers(old, state, Origins::MAX, Origins::MAX))
        });
        let Some(old) = covering else { return false };
        let (kinds, exact) = relied_on(old, state);
        self.demand(state.checkpoint, kinds, Need::Kind);
        self.demand(state.checkpoint, exact, Need::Exact);
        true
    }
}

/// What a turn that ends because `old` covers it relies on: of values that `old` knows nothing of, their kind; of all
/// others, what they are, since what matters behind `old` is not known yet.
fn relied_on(old: &State, new: &State) -> (Origins, Origins) {
    let (mut kinds, mut exact) = (0, 0);
    let mut rely = |old: &Value, origins: Origins| match old {
        Value::Unset => {}
        Value::Number(number) if number.scalar == Scalar::UNKNOWN && number.id == 0 => kinds |= origins,
        _ => exact |= origins,
    };
    let mut zeroes = 0;
    for (old, new) in old.frames.iter().zip(&new.frames) {
        for (old, new) in old.registers.iter().zip(&new.registers) {
            rely(old, new.from());
        }
        for (old, new) in old.stack.iter().zip(&new.stack) {
            rely(&old.value, new.origins());
            if old.bytes.contains(&Byte::Zero) {
                zeroes |= new.origins();
            }
        }
    }
    (kinds, exact | zeroes)
}

/// The origins of values at the same place in both states.
fn each_pair(old: &State, new: &State, mut visit: impl FnMut(Origins, Origins)) {
    for (old, new) in old.frames.iter().zip(&new.frames) {
        for (old, new) in old.registers.iter().zip(&new.registers) {
            visit(old.from(), new.from());
        }
        for (old, new) in old.stack.iter().zip(&new.stack) {
            visit(old.origins(), new.origins());
        }
    }
}

/// Whether all that `new` can be was followed from `old`, as far as the values of these origins go.
fn covers(old: &State, new: &State, kinds: Origins, exact: Origins) -> bool {
    if old.frames.len() != new.frames.len() || old.reserved.len() != new.reserved.len() {
        return false;
    }
    let mut ids = Ids::default();
    let reserved = old.reserved.iter().zip(&new.reserved);
    if !reserved.into_iter().all(|(old, new)| old.frame == new.frame && ids.agree(old.id, new.id)) {
        return false;
    }
    let need = |origins: Origins| match origins {
        // What was not made of anything counts too where all does.
        _ if exact == Origins::MAX || origins & exact != 0 => Some(Need::Exact),
        _ if origins & kinds != 0 => Some(Need::Kind),
        _ => None,
    };
    old.frames.iter().zip(&new.frames).all(|(old, new)| {
        let same = old.function == new.function
            && old.called_at == new.called_at
            && old.callback == new.callback
            && old.turns <= new.turns;
        same && old
            .registers
            .iter()
            .zip(&new.registers)
            .all(|(old, new)| need(old.from()).is_none_or(|need| value_covers(old, new, need, &mut ids)))
            && old.stack.iter().enumerate().all(|(index, slot)| {
                need(slot.origins()).is_none_or(|need| slot_covers(slot, &new.slot(index), need, &mut ids))
            })
    })
}

fn value_covers(old: &Value, new: &Value, need: Need, ids: &mut Ids) -> bool {
    match (old, new) {
        (Value::Unset, _) => true,
        (Value::Number(_), Value::Number(_)) if need == Need::Kind => true,
        (Value::Number(old), Value::Number(new)) => {
            let same_link = old.plus == new.plus && old.narrow == new.narrow;
            old.scalar.includes(&new.scalar) && same_link && ids.agree(old.id, new.id)
        }
        (Value::Pointer(old), Value::Pointer(new)) => pointer_covers(old, new, ids),
        _ => false,
    }
}

fn pointer_covers(old: &Pointer, new: &Pointer, ids: &mut Ids) -> bool {
    let same = match (old.kind, new.kind) {
        // More bytes are known to be there.
        (Kind::Packet { range: old }, Kind::Packet { range: new })
        | (Kind::PacketMeta { range: old }, Kind::PacketMeta { range: new }) => old <= new,
        (old, new) => old == new,
    };
    same && old.or_null == new.or_null
        && old.offset == new.offset
        && old.variable.includes(&new.variable)
        && ids.agree(old.id, new.id)
}

fn slot_covers(old: &Slot, new: &Slot, need: Need, ids: &mut Ids) -> bool {
    if old.value_size() > 0 {
        return match old.value {
            // Bytes that are numbers are as good as a number.
            Value::Number(_) if need == Need::Kind => !matches!(new.value, Value::Pointer(_)),
            _ => old.value_size() == new.value_size() && value_covers(&old.value, &new.value, need, ids),
        };
    }
    need == Need::Kind
        || old.bytes.iter().enumerate().all(|(index, byte)| {
            *byte != Byte::Zero
                || new.bytes[index] == Byte::Zero
                || new.bytes[index] == Byte::OfValue && new.value.is_zero()
        })
}

/// Numbers of `new` that differ from those of `old` become unknown, but for those that something depends on exactly.
fn widen(old: &State, new: &mut State, exact: Origins) {
    for (old, new) in old.frames.iter().zip(&mut new.frames) {
        let new = std::rc::Rc::make_mut(new);
        for (old, new) in old.registers.iter().zip(&mut new.registers) {
            widen_value(old, new, exact);
        }
        for (old, new) in old.stack.iter().zip(&mut new.stack) {
            if old.origins() & exact != 0 {
                continue;
            }
            widen_value(&old.value, &mut new.value, exact);
            for (old, new) in old.bytes.iter().zip(&mut new.bytes) {
                if *new == Byte::Zero && *old != Byte::Zero {
                    *new = Byte::Any;
                }
            }
        }
    }
}

fn widen_value(old: &Value, new: &mut Value, exact: Origins) {
    if let (Value::Number(old), Value::Number(number)) = (old, &*new)
        && old.from & exact == 0
        && (old.scalar, old.id == 0, old.plus) != (number.scalar, number.id == 0, number.plus)
    {
        *new = Value::UNKNOWN.made_of(number.from);
    }
}
