//! A program of another engine over maps that lend copies of their values.

use std::sync::Arc;

use crate::engine::{Input, Observer, Outcome, ProgramFault, Runnable, Stack};
use crate::helper::Run;
use crate::map::MapSet;
use crate::program::Program;

/// Tells the maps when runs begin and end.
pub struct Lending {
    runnable: Box<dyn Runnable>,
    maps: MapSet,
}

impl Lending {
    /// `runnable` over `maps`, which it was loaded with.
    #[must_use]
    pub fn new(runnable: Box<dyn Runnable>, maps: MapSet) -> Lending {
        Lending { runnable, maps }
    }

    fn lend<T>(&self, run: impl FnOnce() -> T) -> T {
        /// Takes back what was lent, also when a helper panics.
        struct Back<'a>(&'a MapSet);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.0.iter().for_each(|map| map.end_run());
            }
        }
        self.maps.0.iter().for_each(|map| map.begin_run());
        let _back = Back(&self.maps);
        run()
    }
}

impl Runnable for Lending {
    fn program(&self) -> &Arc<Program> {
        self.runnable.program()
    }

    unsafe fn run(&self, stack: &mut Stack, input: &Input<'_>) -> Outcome {
        // SAFETY: the caller's promise is the same.
        self.lend(|| unsafe { self.runnable.run(stack, input) })
    }

    unsafe fn observe(&self, stack: &mut Stack, input: &Input<'_>, observer: &mut dyn Observer) -> Outcome {
        // SAFETY: the caller's promise is the same.
        self.lend(|| unsafe { self.runnable.observe(stack, input, observer) })
    }

    fn take_over(&self, run: &mut Run<'_>, args: [u64; 2]) -> Result<u64, Box<ProgramFault>> {
        self.lend(|| self.runnable.take_over(run, args))
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
