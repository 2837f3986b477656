//! Which runs of a program took the most: of all its runs, and of those since somebody began to watch.

use std::cell::{Cell, RefCell};

use crate::engine::Outcome;
use crate::event::Stamp;

/// A run that took more of something than any before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorstRun {
    /// How many instructions, or helper calls; 0 where no run had any.
    pub count: u64,
    /// Time of its event.
    pub time_ns: u64,
    /// The CPU that this was on.
    pub cpu: u32,
}

/// The runs of a program that took the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorstRuns {
    /// By instructions; the first of equals.
    pub instructions: WorstRun,
    /// By helper calls; the first of equals.
    pub calls: WorstRun,
}

impl WorstRuns {
    fn see(&mut self, outcome: &Outcome, stamp: &Stamp) {
        let see = |worst: &mut WorstRun, count: u64| {
            if count > worst.count {
                *worst = WorstRun { count, time_ns: stamp.time_ns, cpu: stamp.cpu };
            }
        };
        see(&mut self.instructions, outcome.instructions);
        see(&mut self.calls, outcome.calls);
    }
}

/// Keeps the worst runs of one program, for several who watch it: watches may overlap in any way.
#[derive(Debug, Default)]
pub(super) struct Worst {
    /// A run that takes no more than this is the worst to nobody: what the path of an event looks at.
    instructions: Cell<u64>,
    /// As `instructions`.
    calls: Cell<u64>,
    all: Cell<WorstRuns>,
    watches: RefCell<Vec<(u64, WorstRuns)>>,
    next: Cell<u64>,
}

impl Worst {
    /// A run is over.
    #[inline]
    pub(super) fn see(&self, outcome: &Outcome, stamp: &Stamp) {
        if outcome.instructions > self.instructions.get() || outcome.calls > self.calls.get() {
            self.note(outcome, stamp);
        }
    }

    #[cold]
    fn note(&self, outcome: &Outcome, stamp: &Stamp) {
        let mut all = self.all.get();
        all.see(outcome, stamp);
        self.all.set(all);
        for (_, worst) in &mut *self.watches.borrow_mut() {
            worst.see(outcome, stamp);
        }
        self.settle();
    }

    /// The limits are those of whoever has seen the least.
    fn settle(&self) {
        let all = self.all.get();
        let (mut instructions, mut calls) = (all.instructions.count, all.calls.count);
        for (_, worst) in &*self.watches.borrow() {
            instructions = instructions.min(worst.instructions.count);
            calls = calls.min(worst.calls.count);
        }
        self.instructions.set(instructions);
        self.calls.set(calls);
    }

    /// Of all runs.
    pub(super) fn all(&self) -> WorstRuns {
        self.all.get()
    }

    /// Begins a watch; returns its number.
    pub(super) fn watch(&self) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        self.watches.borrow_mut().push((id, WorstRuns::default()));
        self.settle();
        id
    }

    /// Of the runs that ended since a watch began. None where there is no such watch.
    pub(super) fn watched(&self, id: u64) -> Option<WorstRuns> {
        self.watches.borrow().iter().find(|(of, _)| *of == id).map(|(_, worst)| *worst)
    }

    /// Ends a watch.
    pub(super) fn unwatch(&self, id: u64) {
        self.watches.borrow_mut().retain(|(of, _)| *of != id);
        self.settle();
    }
}
