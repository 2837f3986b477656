//! What each run of an attached program came to: kept while somebody asks for it, as whoever compares two benches does.

use std::sync::Arc;

use parking_lot::Mutex;

use super::host::{EventHost, Vm};
use super::{Bench, BenchError, BenchProgram};
use crate::engine::{Input, Observer, Outcome, ProgramFault, Runnable, Stack};
use crate::event::{Record, Stamp};
use crate::fault::Fault;
use crate::program::Program;

/// One run of a program at an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of the program.
    pub program: usize,
    /// `r0`, or what stopped it.
    pub result: Result<u64, Box<ProgramFault>>,
    /// Its first instructions, where they were asked for.
    pub steps: Vec<Step>,
}

/// An instruction of a run, before it was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its slot.
    pub insn: usize,
    /// Frames in use; 1 in the program itself.
    pub depth: usize,
    /// r0 to r10.
    pub registers: [u64; 11],
}

/// An observer that keeps the first instructions of a run.
#[derive(Debug)]
pub struct Steps {
    kept: Vec<Step>,
    most: usize,
}

impl Steps {
    /// Keeps at most so many.
    #[must_use]
    pub const fn new(most: usize) -> Steps {
        Steps { kept: Vec::new(), most }
    }

    /// The instructions.
    #[must_use]
    pub fn into_vec(self) -> Vec<Step> {
        self.kept
    }
}

impl Observer for Steps {
    fn before(&mut self, insn: usize, registers: &[u64; 11], depth: usize) -> Result<(), Box<Fault>> {
        if self.kept.len() < self.most {
            self.kept.push(Step { insn, depth, registers: *registers });
        }
        Ok(())
    }
}

/// The runs that are kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    runs: Vec<Run>,
    /// Instructions of each run that are kept too.
    steps: usize,
}

/// A program whose runs keep their first instructions.
struct Watched<'a> {
    runnable: &'a dyn Runnable,
    steps: Mutex<Steps>,
}

impl Runnable for Watched<'_> {
    fn program(&self) -> &Arc<Program> {
        self.runnable.program()
    }

    unsafe fn run(&self, stack: &mut Stack, input: &Input<'_>) -> Outcome {
        // SAFETY: the caller's promise is the same.
        unsafe { self.runnable.observe(stack, input, &mut *self.steps.lock()) }
    }

    unsafe fn observe(&self, stack: &mut Stack, input: &Input<'_>, observer: &mut dyn Observer) -> Outcome {
        // SAFETY: the caller's promise is the same.
        unsafe { self.runnable.observe(stack, input, observer) }
    }

    fn is_observable(&self) -> bool {
        self.runnable.is_observable()
    }

    fn counts(&self) -> Vec<(usize, u64)> {
        self.runnable.counts()
    }

    fn last(&self) -> Option<usize> {
        self.runnable.last()
    }

    fn reset_counts(&self) {
        self.runnable.reset_counts();
    }
}

impl Bench {
    /// From now on, keeps what each run of an attached program comes to, and its first `steps` instructions where its
    /// engine shows them. A fault is kept too, and stops no batch any more.
    ///
    /// They take memory until [`Bench::take_runs`].
    pub fn keep_runs(&self, steps: usize) {
        self.kept.borrow_mut().steps = steps;
        self.keeps_runs.set(true);
    }

    /// Runs a program at an event and keeps what it comes to. What a helper of the user's raises stays an error.
    #[cold]
    pub(super) fn run_kept(
        &self,
        stack: &mut Stack,
        program: usize,
        of: &BenchProgram,
        cookie: u64,
        stamp: &Stamp,
        event: &Record<'_>,
    ) -> Result<(), Box<BenchError>> {
        let Some(runnable) = of.runnable() else { return Ok(()) };
        let host = EventHost { bench: self, stamp, vm: Vm::Of(event), cookie };
        let most = self.kept.borrow().steps;
        let watched = Watched { runnable: &*runnable, steps: Mutex::new(Steps::new(most)) };
        let seen: &dyn Runnable = if most > 0 && runnable.is_observable() { &watched } else { &*runnable };
        let Some(Outcome { result, .. }) = self.run_at(stack, of, seen, &host, event) else { return Ok(()) };
        if let Err(fault) = &result
            && matches!(fault.fault, Fault::Foreign(_))
        {
            return Err(Box::new(BenchError::Fault(fault.clone())));
        }
        self.kept.borrow_mut().runs.push(Run { program, result, steps: watched.steps.into_inner().kept });
        Ok(())
    }

    /// The runs since the last time, in the order of their ends. There are none where they are not kept.
    #[must_use]
    pub fn take_runs(&self) -> Vec<Run> {
        std::mem::take(&mut self.kept.borrow_mut().runs)
    }
}
