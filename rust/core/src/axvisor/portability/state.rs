//! What is known before an instruction: registers, and what the function has put on its stack.

use super::value::{Own, Value};
use crate::isa::Reg;

/// Parts of the frame that are kept in mind: as many as words fit.
const MOST_SPILLS: usize = 64;

/// A part of the own frame of which something is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spill {
    /// Distance from r10.
    at: i32,
    /// Bytes.
    size: i32,
    value: Value,
}

impl Spill {
    fn overlaps(&self, at: i32, size: i32) -> bool {
        self.at < at.saturating_add(size) && at < self.at + self.size
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Where the function begins.
    pub(super) function: usize,
    registers: [Value; Reg::COUNT],
    /// In order of their places.
    spills: Vec<Spill>,
    /// Somebody else may have the address of the frame.
    pub(super) shared: bool,
}

impl State {
    /// At the beginning of a function.
    pub(super) fn entry(function: usize) -> State {
        let mut registers: [Value; Reg::COUNT] = Default::default();
        registers[Reg::R10.index()] = Value::own(0);
        State { function, registers, spills: Vec::new(), shared: false }
    }

    pub(super) fn get(&self, reg: Reg) -> &Value {
        &self.registers[reg.index()]
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        self.registers[reg.index()] = value;
    }

    /// Of a call, r0 is what it returned, and r1 to r5 are nothing.
    pub(super) fn after_call(&mut self, r0: Value) {
        self.registers[..6].fill_with(Value::default);
        self.registers[0] = r0;
    }

    /// What joining it with another one takes, in instructions walked.
    pub(super) fn weight(&self) -> usize {
        1 + self.spills.len() * self.spills.len() / 8
    }

    /// What both know; none of two functions.
    pub(super) fn join(&self, other: &State) -> Option<State> {
        if self.function != other.function {
            return None;
        }
        let registers = std::array::from_fn(|i| self.registers[i].join(&other.registers[i]));
        let mut spills = Vec::new();
        let (mine, theirs) = (&self.spills, &other.spills);
        for (one, others) in [(mine, theirs), (theirs, mine)] {
            for spill in one {
                let same = others.iter().find(|other| (other.at, other.size) == (spill.at, spill.size));
                // What is only on one way may be there, and is not surely.
                let value = same.map_or_else(Value::default, |same| same.value.clone()).join(&spill.value);
                let known = spills.iter().any(|known: &Spill| (known.at, known.size) == (spill.at, spill.size));
                if !known && !value.is_plain() {
                    spills.push(Spill { value, ..*spill });
                }
            }
        }
        spills.sort_by_key(|spill| (spill.at, spill.size));
        Some(State { function: self.function, registers, spills, shared: self.shared || other.shared })
    }

    /// Stores a value at a place in the frame, over what was there; false where there is no room to keep it in mind.
    pub(super) fn spill(&mut self, at: i32, size: i32, value: Value) -> bool {
        self.spills.retain(|spill| spill.at < at || at + size < spill.at + spill.size);
        for spill in &mut self.spills {
            if spill.overlaps(at, size) {
                forget(&mut spill.value);
            }
        }
        if value.is_plain() {
            return true;
        }
        if self.spills.len() >= MOST_SPILLS {
            return !value.may_point() && value.outcome.is_none();
        }
        self.spills.push(Spill { at, size, value });
        self.spills.sort_by_key(|spill| (spill.at, spill.size));
        true
    }

    /// What a load from a place in the frame may give; and results of calls of which it loads a part.
    pub(super) fn load(&self, at: i32, size: i32) -> (Value, Vec<&Value>) {
        let (mut whole, mut parts) = (None::<Value>, Vec::new());
        for spill in self.spills.iter().filter(|spill| spill.overlaps(at, size)) {
            if (spill.at, spill.size) == (at, size) {
                whole = Some(whole.map_or_else(|| spill.value.clone(), |value| value.join(&spill.value)));
            } else {
                parts.push(&spill.value);
            }
        }
        (whole.unwrap_or_default(), parts)
    }

    /// The number of four bytes at a place in the frame.
    pub(super) fn number_at(&self, at: i32) -> Option<u32> {
        let mut found = self.spills.iter().filter(|spill| spill.overlaps(at, 4));
        match (found.next(), found.next()) {
            (Some(spill), None) if spill.at == at && spill.size >= 4 => spill.value.number.map(|number| number as u32),
            _ => None,
        }
    }

    /// Values in a part of the frame; all of it without a place.
    pub(super) fn spilled(&self, part: Option<(i32, i32)>) -> impl Iterator<Item = &Value> {
        self.spills.iter().filter(move |spill| part.is_none_or(|(at, size)| spill.overlaps(at, size))).map(|s| &s.value)
    }

    /// Something is stored in a part of the frame, or anywhere in it: what was there may be there no more.
    pub(super) fn overwrite(&mut self, part: Option<(i32, i32)>) {
        for spill in &mut self.spills {
            if part.is_none_or(|(at, size)| spill.overlaps(at, size)) {
                forget(&mut spill.value);
            }
        }
        self.spills.retain(|spill| !spill.value.is_plain());
    }

    /// Every value that there is.
    pub(super) fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        self.registers.iter_mut().chain(self.spills.iter_mut().map(|spill| &mut spill.value))
    }
}

/// Takes away what is sure of a value.
fn forget(value: &mut Value) {
    (value.on_stack, value.map, value.number, value.not_zero) = (false, None, None, false);
    if let Own::At(_) = value.own {
        value.own = Own::Anywhere;
    }
}
