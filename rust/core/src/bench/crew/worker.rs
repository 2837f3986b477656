//! One thread of a crew.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender};

use super::merge::{Lines, Written};
use super::plan::Plan;
use super::source::{Row, Source};
use super::stop_at;
use super::tally::{Place, Tally};
use crate::bench::{Bench, BenchError, mix};

/// Events after which a worker says how far it has come.
const STRETCH: usize = 4096;

/// What a worker shares with the others.
#[derive(Clone, Copy)]
pub(super) struct Common<'c> {
    pub plan: &'c Plan,
    /// The first row that is not fired any more.
    pub stop: &'c AtomicUsize,
    /// What the random numbers of all CPUs begin with.
    pub seed: u64,
}

/// A worker and its bench.
pub(super) struct Worker<'c> {
    common: Common<'c>,
    bench: Bench,
    /// State of the random numbers of each CPU: the same whichever worker has it.
    random: Vec<u64>,
    /// Rows fired since the last stretch, and the instructions that the bench had executed after each.
    rows: Vec<usize>,
    after: Vec<u64>,
    /// Entries of the trace so far.
    written: u64,
    lines: Lines,
    send: Sender<Written>,
    /// The other lines of this worker.
    pool: &'c Receiver<Lines>,
    tally: Tally,
}

impl<'c> Worker<'c> {
    /// Fires the events of the CPUs that are `mine`. The pool is filled once all workers are there.
    pub(super) fn work(
        common: Common<'c>,
        source: &impl Source,
        mine: impl Fn(u32) -> bool,
        send: Sender<Written>,
        pool: &'c Receiver<Lines>,
    ) -> Tally {
        // Without lines, not all of them could be started.
        let Ok(lines) = pool.recv() else { return Tally::default() };
        let bench = match common.plan.bench() {
            Ok(bench) => bench,
            Err(error) => {
                stop_at(common.stop, 0);
                return Tally::of_failed(Box::new(error));
            }
        };
        let random = (0..u64::from(bench.options.cpus)).map(|cpu| mix(common.seed ^ mix(cpu + 1))).collect();
        let (rows, after) = (Vec::with_capacity(STRETCH), Vec::with_capacity(STRETCH));
        let tally = Tally::new(common.plan, &bench);
        let mut worker = Worker { common, bench, random, rows, after, written: 0, lines, send, pool, tally };
        source.walk(mine, |row| worker.fire(&row));
        worker.end_stretch();
        worker.send_lines(Lines::default());
        worker.tally.count(&worker.bench);
        worker.tally
    }

    #[inline]
    fn fire(&mut self, row: &Row<'_>) -> ControlFlow<()> {
        if row.nth >= self.common.stop.load(Relaxed) {
            return ControlFlow::Break(());
        }
        let Some(tracepoint) = self.bench.tracepoints.get(row.which) else { return ControlFlow::Break(()) };
        let random = &mut self.random[row.stamp.cpu as usize];
        self.bench.random.set(*random);
        let fired = self.bench.fire(tracepoint, &row.stamp, row.record);
        *random = self.bench.random.get();
        self.rows.push(row.nth);
        self.after.push(self.bench.instructions.get());
        self.tally.fired(row);
        let written = self.bench.trace.get_mut().written();
        if written != self.written {
            self.take_lines(row);
        }
        if let Err(error) = fired {
            return self.fail(row.nth, error);
        }
        self.tally.events += 1;
        if self.rows.len() == STRETCH {
            self.end_stretch();
        }
        ControlFlow::Continue(())
    }

    #[cold]
    fn fail(&mut self, row: usize, error: Box<BenchError>) -> ControlFlow<()> {
        stop_at(self.common.stop, row);
        self.tally.failed = Some((row, error));
        ControlFlow::Break(())
    }

    /// Notes in which rows what happened last has happened, and says how far it has come.
    fn end_stretch(&mut self) {
        let (rows, after) = (&self.rows, &self.after);
        let place = |at| Place { row: rows.get(after.partition_point(|after| *after < at)).copied().unwrap_or(0), at };
        self.tally.note_places(&self.bench, place);
        self.rows.clear();
        self.after.clear();
        match self.lines.first_row() {
            None => self.say(self.tally.next_row(), None),
            // Others may wait for these; where there are no spare ones, they are being read already.
            Some(first) => match self.pool.try_recv() {
                Ok(spare) => self.send_lines(spare),
                Err(_) => self.say(first, None),
            },
        }
    }

    #[cold]
    fn take_lines(&mut self, row: &Row<'_>) {
        let trace = self.bench.trace.get_mut();
        self.lines.take(row.nth, row.stamp.cpu, trace);
        self.written = trace.written();
        if self.lines.are_many() {
            let spare = self.pool.recv().unwrap_or_default();
            self.send_lines(spare);
        }
    }

    fn send_lines(&mut self, spare: Lines) {
        let lines = std::mem::replace(&mut self.lines, spare);
        self.say(self.tally.next_row(), Some(lines));
    }

    fn say(&self, before: usize, lines: Option<Lines>) {
        // Whoever merges is there until all workers have ended.
        let _said = self.send.send(Written { before, lines });
    }
}
