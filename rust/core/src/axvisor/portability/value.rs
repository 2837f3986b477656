//! What is known of the value of a register, or of a part of the stack, before the program runs.

use super::outcome::Outcome;

/// Places in the program that something may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Places {
    /// None.
    #[default]
    Nowhere,
    /// The instruction in this slot.
    One(usize),
    /// Several.
    Several,
}

impl Places {
    pub(super) fn is_any(self) -> bool {
        self != Places::Nowhere
    }

    pub(super) fn join(self, other: Places) -> Places {
        match (self, other) {
            (Places::Nowhere, places) | (places, Places::Nowhere) => places,
            (a, b) if a == b => a,
            _ => Places::Several,
        }
    }
}

/// Distances from r10 beyond this one are as good as any.
const FAR: i32 = 1 << 16;

/// Where in the function's own frame a value may point to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Own {
    /// Not there.
    #[default]
    No,
    /// At this distance from r10.
    At(i32),
    /// Anywhere.
    Anywhere,
}

impl Own {
    fn join(self, other: Own) -> Own {
        match (self, other) {
            (Own::No, own) | (own, Own::No) => own,
            (a, b) if a == b => a,
            _ => Own::Anywhere,
        }
    }
}

/// A value. What it *may* be grows where ways meet; what it *is* (`on_stack`, `map`, `number`, `not_zero`) is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    /// May point into the context.
    pub(super) context: bool,
    /// May point into a value that was looked up there.
    pub(super) looked_up: Places,
    /// The slot of the map that it was looked up in, where that is one.
    pub(super) looked_up_in: Option<usize>,
    /// That map may have changed since.
    pub(super) stale: bool,
    /// May point into the function's own frame.
    pub(super) own: Own,
    /// May point into the frame of a caller.
    pub(super) foreign: bool,
    /// May point into the frame of a function that has returned.
    pub(super) former: bool,
    /// May be the result of a call that is another on AxVisor.
    pub(super) outcome: Option<Box<Outcome>>,
    /// Points into the own frame on every way.
    pub(super) on_stack: bool,
    /// Is the map in this slot.
    pub(super) map: Option<usize>,
    /// Is this number.
    pub(super) number: Option<i64>,
    /// Its lower half is not 0.
    pub(super) not_zero: bool,
}

impl Value {
    pub(super) fn number(number: i64) -> Value {
        Value { number: Some(number), not_zero: number as u32 != 0, ..Value::default() }
    }

    /// An address in the own frame.
    pub(super) fn own(at: i32) -> Value {
        Value { own: Own::At(at), on_stack: true, ..Value::default() }
    }

    /// Whether it may be an address that matters.
    pub(super) fn may_point(&self) -> bool {
        self.context || self.looked_up.is_any() || self.own != Own::No || self.foreign || self.former
    }

    /// Whether nothing is known of it.
    pub(super) fn is_plain(&self) -> bool {
        !self.may_point() && self.outcome.is_none() && self.map.is_none() && self.number.is_none()
    }

    /// The distance from r10, where it is an address in the own frame on every way.
    pub(super) fn stack_offset(&self) -> Option<i32> {
        match self.own {
            Own::At(at) if self.on_stack => Some(at),
            _ => None,
        }
    }

    pub(super) fn join(&self, other: &Value) -> Value {
        let both = |a: Option<usize>, b: Option<usize>| if a == b { a } else { None };
        let looked_up_in = match (self.looked_up.is_any(), other.looked_up.is_any()) {
            (true, true) => both(self.looked_up_in, other.looked_up_in),
            (true, false) => self.looked_up_in,
            _ => other.looked_up_in,
        };
        let outcome = match (&self.outcome, &other.outcome) {
            (Some(a), Some(b)) => Some(Box::new(a.join(b))),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Value {
            context: self.context || other.context,
            looked_up: self.looked_up.join(other.looked_up),
            looked_up_in,
            stale: self.stale || other.stale,
            own: self.own.join(other.own),
            foreign: self.foreign || other.foreign,
            former: self.former || other.former,
            outcome,
            on_stack: self.on_stack && other.on_stack,
            map: both(self.map, other.map),
            number: if self.number == other.number { self.number } else { None },
            not_zero: self.not_zero && other.not_zero,
        }
    }

    /// The address `by` bytes on; of what is no address, nothing is known. An unknown distance is none.
    pub(super) fn moved(&self, by: Option<i64>) -> Value {
        let own = match (self.own, by.and_then(|by| i32::try_from(by).ok())) {
            (Own::No, _) => Own::No,
            (Own::At(at), Some(by)) => match at.checked_add(by) {
                Some(at) if (-FAR..=FAR).contains(&at) => Own::At(at),
                _ => Own::Anywhere,
            },
            _ => Own::Anywhere,
        };
        Value { own, outcome: None, map: None, number: None, not_zero: false, ..self.clone() }
    }

    /// As another function sees it: what is this one's own frame is a caller's there.
    pub(super) fn handed_on(&self) -> Value {
        let foreign = self.foreign || self.own != Own::No;
        Value { own: Own::No, foreign, on_stack: false, ..self.clone() }
    }

    /// As the caller sees what a function returns: its frame is gone, a caller's may be its own.
    pub(super) fn returned(&self) -> Value {
        let own = if self.foreign { Own::Anywhere } else { Own::No };
        Value { own, former: self.former || self.own != Own::No, on_stack: false, ..self.clone() }
    }

    /// The address alone, without what else is known.
    pub(super) fn address(&self) -> Value {
        Value { outcome: None, map: None, number: None, not_zero: false, ..self.clone() }
    }
}
