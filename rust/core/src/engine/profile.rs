//! How often each instruction of a program was executed, from counts of jumps alone.
//!
//! An interpreter that counted every instruction would pay for each. Counting only entries, taken jumps and faults is
//! enough: in one pass from the front, what reaches an instruction is what fell through from the one before it, plus
//! the jumps that were taken to it; what goes on from it is that, less the jumps taken and the runs stopped there.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What an instruction does with control. Numbers are indexes of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Goes on to the next.
    Next,
    /// Jumps there when its condition holds, else goes on.
    Branch(usize),
    /// Always jumps there.
    Jump(usize),
    /// Calls the function there, then goes on.
    Call(usize),
    /// Ends a function.
    Exit,
}

/// Entries and faults of one program; the jumps are counted where they are taken.
#[derive(Debug)]
pub(super) struct Counters {
    /// Runs and callbacks begun at each instruction.
    entered: Vec<AtomicU64>,
    /// Runs stopped at each instruction: it was begun, and nothing after it.
    stopped: Vec<AtomicU64>,
    /// Where the latest run or callback ended; `usize::MAX` before the first.
    ended: AtomicUsize,
}

/// Concurrent runs of one program may lose a count.
#[inline(always)]
fn bump(counters: &[AtomicU64], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

impl Counters {
    /// Counters of a program of `n` instructions.
    pub(super) fn new(n: usize) -> Counters {
        let zeros = || std::iter::repeat_with(AtomicU64::default).take(n).collect();
        Counters { entered: zeros(), stopped: zeros(), ended: AtomicUsize::new(usize::MAX) }
    }

    /// One more run or callback begins at `index`.
    #[inline]
    pub(super) fn enter(&self, index: usize) {
        bump(&self.entered, index);
    }

    /// One more run was stopped at `index`.
    pub(super) fn stop(&self, index: usize) {
        bump(&self.stopped, index);
    }

    /// The run that was stopped at `index` had not begun it: it came there, and does not count. What came and what left
    /// are added up in [`Counters::counts`], so that less may have entered than left.
    pub(super) fn leave(&self, index: usize) {
        if let (Some(entered), Some(stopped)) = (self.entered.get(index), self.stopped.get(index)) {
            entered.store(entered.load(Relaxed).wrapping_sub(1), Relaxed);
            stopped.store(stopped.load(Relaxed).wrapping_sub(1), Relaxed);
        }
    }

    /// A run, or a callback in it, ended at `index`. Of a run and its callbacks, the run is the last to say so.
    #[inline(always)]
    pub(super) fn end(&self, index: usize) {
        self.ended.store(index, Relaxed);
    }

    /// Where the latest run ended; `usize::MAX` before the first.
    pub(super) fn ended(&self) -> usize {
        self.ended.load(Relaxed)
    }

    /// Executions of each instruction, given how often each jump was taken.
    pub(super) fn counts(&self, flow: &[Flow], taken: &[u64]) -> Vec<u64> {
        let mut reached: Vec<u64> = self.entered.iter().map(|c| c.load(Relaxed)).collect();
        for (flow, taken) in flow.iter().zip(taken) {
            if let Flow::Branch(to) | Flow::Jump(to) | Flow::Call(to) = *flow
                && let Some(count) = reached.get_mut(to)
            {
                *count = count.wrapping_add(*taken);
            }
        }
        for index in 0..reached.len() {
            let through = match flow[index] {
                Flow::Next | Flow::Call(_) => reached[index],
                Flow::Branch(_) => reached[index].saturating_sub(taken[index]),
                Flow::Jump(_) | Flow::Exit => 0,
            };
            let through = through.saturating_sub(self.stopped[index].load(Relaxed));
            if let Some(next) = reached.get_mut(index + 1) {
                *next = next.wrapping_add(through);
            }
        }
        reached
    }

    /// Every counter.
    pub(super) fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.entered.iter().chain(&self.stopped)
    }

    /// Forgets everything.
    pub(super) fn reset(&self) {
        for counter in self.all() {
            counter.store(0, Relaxed);
        }
    }
}
