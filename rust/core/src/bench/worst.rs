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

impl WorstRun {
    /// Returns whether it is this one now.
    fn see(&mut self, run: WorstRun) -> bool {
        let more = run.count > self.count;
        if more {
            *self = run;
        }
        more
    }
}

impl WorstRuns {
    /// One run, in both ways; or the worst of many.
    fn see(&mut self, runs: WorstRuns) -> (bool, bool) {
        (self.instructions.see(runs.instructions), self.calls.see(runs.calls))
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
    /// Instructions that the bench had executed when the two of `all` ended.
    at: Cell<(u64, u64)>,
    watches: RefCell<Vec<(u64, WorstRuns)>>,
    next: Cell<u64>,
}

impl Worst {
    /// A run is over, the bench having executed so many instructions.
    #[inline]
    pub(super) fn see(&self, outcome: &Outcome, stamp: &Stamp, at: u64) {
        if outcome.instructions > self.instructions.get() || outcome.calls > self.calls.get() {
            let run = |count| WorstRun { count, time_ns: stamp.time_ns, cpu: stamp.cpu };
            self.note(WorstRuns { instructions: run(outcome.instructions), calls: run(outcome.calls) }, at);
        }
    }

    /// As [`Worst::see`], of the worst of runs that somebody else has seen.
    #[cold]
    pub(super) fn note(&self, runs: WorstRuns, at: u64) {
        let (mut all, mut ended) = (self.all.get(), self.at.get());
        let (instructions, calls) = all.see(runs);
        if instructions {
            ended.0 = at;
        }
        if calls {
            ended.1 = at;
        }
        self.all.set(all);
        self.at.set(ended);
        for (_, worst) in &mut *self.watches.borrow_mut() {
            worst.see(runs);
        }
        self.settle();
    }

    /// Instructions that the bench had executed when the worst of all runs ended: by instructions, by helper calls.
    pub(super) fn at(&self) -> (u64, u64) {
        self.at.get()
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
