//! What each run of an attached program came to: kept while somebody asks for it, as whoever compares two benches does.

use super::host::EventHost;
use super::{Bench, BenchError, BenchProgram};
use crate::engine::{Observer, ProgramFault, Runnable, Stack};
use crate::event::Record;
use crate::fault::Fault;

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

impl Bench {
    /// From now on, keeps what each run of an attached program comes to, and its first `steps` instructions where its
    /// engine shows them. A fault is kept too, and stops no batch any more.
    ///
    /// They take memory until [`Bench::take_runs`].
    pub fn keep_runs(&self, steps: usize) {
        self.kept.borrow_mut().steps = steps;
        self.keeps_runs.set(true);
    }

    /// As a run at an event whose outcome nobody keeps, and keeps it. What a helper of the user's raises stays an error.
    #[cold]
    pub(super) fn run_kept(
        &self,
        stack: &mut Stack,
        program: usize,
        of: &BenchProgram,
        runnable: &dyn Runnable,
        host: &EventHost<'_>,
        event: &Record<'_>,
    ) -> Result<(), Box<BenchError>> {
        let mut steps = Steps::new(self.kept.borrow().steps);
        let observer = (steps.most > 0 && runnable.is_observable()).then_some(&mut steps as &mut dyn Observer);
        let Some(outcome) = self.run_at(stack, of, runnable, host, event, observer) else { return Ok(()) };
        let result = outcome.result;
        if let Err(fault) = &result
            && matches!(fault.fault, Fault::Foreign(_))
        {
            return Err(Box::new(BenchError::Fault(fault.clone())));
        }
        self.kept.borrow_mut().runs.push(Run { program, result, steps: steps.kept });
        Ok(())
    }

    /// The runs since the last time, in the order of their ends. There are none where they are not kept.
    #[must_use]
    pub fn take_runs(&self) -> Vec<Run> {
        std::mem::take(&mut self.kept.borrow_mut().runs)
    }
}
