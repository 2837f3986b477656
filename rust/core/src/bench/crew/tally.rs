//! What the workers of a crew have counted, added to the bench as if one thread had counted it.

use super::plan::Plan;
use super::source::Row;
use crate::bench::{Bench, BenchError, Counts, Tracepoint, WorstRuns};
use crate::engine;
use crate::event::Statistics;

/// When something happened: in which row, and how many instructions its worker had executed by then; 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub row: usize,
    pub at: u64,
}

/// What one worker has counted.
#[derive(Default)]
pub(super) struct Tally {
    /// Events that have gone through.
    pub events: usize,
    /// The last row that it has fired.
    pub last_row: Option<usize>,
    /// The row that was stopped.
    pub failed: Option<(usize, Box<BenchError>)>,
    instructions: u64,
    tracepoints: Vec<OfTracepoint>,
    programs: Vec<OfProgram>,
}

#[derive(Default)]
struct OfTracepoint {
    last_row: Option<usize>,
    fired: u64,
    statistics: Statistics,
}

#[derive(Default)]
struct OfProgram {
    index: usize,
    counts: Counts,
    profile: engine::Tally,
    /// When its latest run ended.
    ended: Place,
    /// When its worst runs ended: by instructions, by helper calls.
    worst: (Place, Place),
}

impl Tally {
    /// Of a worker that has done nothing yet, with this bench.
    pub(super) fn new(plan: &Plan, bench: &Bench) -> Tally {
        Tally {
            tracepoints: (0..bench.tracepoints.len()).map(|_| OfTracepoint::default()).collect(),
            programs: plan.needed().map(|index| OfProgram { index, ..OfProgram::default() }).collect(),
            ..Tally::default()
        }
    }

    /// Of a worker that could not begin.
    pub(super) fn of_failed(error: Box<BenchError>) -> Tally {
        Tally { failed: Some((0, error)), ..Tally::default() }
    }

    /// The first row behind those that it has fired.
    pub(super) fn next_row(&self) -> usize {
        self.last_row.map_or(0, |last| last + 1)
    }

    /// An event has been fired.
    #[inline]
    pub(super) fn fired(&mut self, row: &Row<'_>) {
        self.last_row = Some(row.nth);
        if let Some(tracepoint) = self.tracepoints.get_mut(row.which) {
            tracepoint.last_row = Some(row.nth);
        }
    }

    /// Notes in which rows what is the latest or the worst happened; `place` knows of what is new since the last time.
    pub(super) fn note_places(&mut self, bench: &Bench, place: impl Fn(u64) -> Place) {
        let note = |of: &mut Place, at: u64| {
            if at != of.at {
                *of = place(at);
            }
        };
        for of in &mut self.programs {
            if let Some(program) = bench.programs.get(of.index) {
                let (instructions, calls) = program.worst_at();
                note(&mut of.ended, program.ended());
                note(&mut of.worst.0, instructions);
                note(&mut of.worst.1, calls);
            }
        }
    }

    /// Takes the counts of a worker's bench, which has done its work.
    pub(super) fn count(&mut self, bench: &Bench) {
        self.instructions = bench.instructions();
        for (which, of) in self.tracepoints.iter_mut().enumerate() {
            if let Some(tracepoint) = bench.tracepoints.get(which) {
                (of.fired, of.statistics) = (tracepoint.fired(), bench.statistics(tracepoint));
            }
        }
        for of in &mut self.programs {
            if let Some(program) = bench.programs.get(of.index) {
                of.counts = program.counts();
                of.profile = program.runnable().map(|runnable| runnable.tally()).unwrap_or_default();
            }
        }
    }
}

/// Adds what workers have counted to the bench that they worked for; `tracepoints` in the order of the plan.
pub(super) fn collect(bench: &Bench, tracepoints: &[&Tracepoint], tallies: &[Tally]) {
    // The last event of a tracepoint is that of the last row.
    let counted = tallies.iter().flat_map(|tally| tally.tracepoints.iter().zip(tracepoints));
    let mut counted: Vec<_> = counted.filter(|(of, _)| of.last_row.is_some()).collect();
    counted.sort_by_key(|(of, _)| of.last_row);
    for (of, tracepoint) in counted {
        tracepoint.fired.set(tracepoint.fired.get().wrapping_add(of.fired));
        tracepoint.statistics.borrow_mut().add(&of.statistics);
    }

    let executed = tallies.iter().fold(0, |sum: u64, tally| sum.wrapping_add(tally.instructions));
    let instructions = bench.instructions.get().wrapping_add(executed);
    bench.instructions.set(instructions);
    let mut programs: Vec<&OfProgram> = tallies.iter().flat_map(|tally| &tally.programs).collect();
    programs.retain(|of| of.counts.runs > 0 || of.counts.misses > 0 || of.ended.at > 0);
    for of in &programs {
        if let Some(program) = bench.programs.get(of.index) {
            program.add(&of.counts, &of.profile);
        }
    }
    // Of equal runs, the first is the worst.
    let worst = |of: &&OfProgram| {
        let WorstRuns { instructions, calls } = of.counts.worst;
        let one = WorstRuns { instructions, ..WorstRuns::default() };
        let other = WorstRuns { calls, ..WorstRuns::default() };
        [(of.worst.0, of.index, one), (of.worst.1, of.index, other)]
    };
    let mut runs: Vec<(Place, usize, WorstRuns)> = programs.iter().flat_map(worst).collect();
    runs.sort_by_key(|(place, ..)| *place);
    for (_, index, runs) in runs {
        if let Some(program) = bench.programs.get(index) {
            program.note_worst(runs, instructions);
        }
    }
    // Which run ended when is told by instructions executed before. Each of these has executed one at least, so that there
    // is a number for each behind all that were given before.
    programs.retain(|of| of.ended.at > 0);
    programs.sort_by_key(|of| of.ended);
    let mut later = 0;
    let mut next = None;
    for of in programs.iter().rev() {
        if next.is_some_and(|next| next != of.ended) {
            later += 1;
        }
        next = Some(of.ended);
        if let Some(program) = bench.programs.get(of.index) {
            program.ended_elsewhere(&of.profile, instructions.wrapping_sub(later));
        }
    }
}
