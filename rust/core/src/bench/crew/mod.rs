//! A batch on several threads: each takes the events of some of the CPUs, in their order.
//!
//! A bench is for one thread. So each thread of a crew makes a bench of its own out of a [`Plan`] ([`worker`]): the same
//! tracepoints, links and filters, every program that may run made ready once more with counters of its own, and
//! nothing shared but the maps. What the workers have counted is added to the bench at the end, and what they have
//! written to the trace as they go ([`merge`]), in the order of the batch: it all is as if one thread had fired it, but
//! for what programs find in maps that CPUs share, and for random numbers, which come from a stream a CPU.

mod merge;
mod plan;
mod source;
mod tally;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

use super::batch::{Encoded, Fired, MixedColumns, Pause};
use super::{Bench, BenchError, Tracepoint};
use crate::event::Column;
use crate::map::Map;
use crate::recording::Events;
use merge::{Lines, Merge, POOL, Written};
use plan::Plan;
use source::{Mixed, Recorded, Rows, Source, Times};
use tally::{Tally, collect};
use worker::{Common, Worker};

/// Who fires batches on several threads.
pub struct Crew<'b> {
    bench: &'b Bench,
    threads: usize,
}

/// A crew is at work on a bench: until this is dropped, its maps are used by several threads.
struct AtWork<'b> {
    bench: &'b Bench,
    /// What these are, be it in the bench or only in use by a program.
    maps: Vec<Arc<dyn Map>>,
}

impl<'b> AtWork<'b> {
    /// Before the threads are started.
    fn begin(bench: &'b Bench) -> AtWork<'b> {
        let maps = bench.all_maps();
        // SAFETY: to be used by several threads is always sound; the caller is in none of the maps (`plan::free`).
        maps.iter().for_each(|map| unsafe { map.set_alone(false) });
        bench.shared.set(true);
        AtWork { bench, maps }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.bench.shared.set(false);
        // Some may have come meanwhile.
        for map in self.maps.iter().chain(&self.bench.all_maps()) {
            // SAFETY: the threads have ended, so that the maps are again for whoever has the bench (`maps.rs`).
            unsafe { map.set_alone(true) };
        }
    }
}

impl Bench {
    /// Who fires batches on so many threads, or as many as there are CPUs in a batch, if those are fewer. On one, that is
    /// the bench itself.
    ///
    /// # Errors
    /// [`BenchError::NoThreads`] for none.
    pub fn crew(&self, threads: usize) -> Result<Crew<'_>, BenchError> {
        if threads == 0 { Err(BenchError::NoThreads) } else { Ok(Crew { bench: self, threads }) }
    }

    /// Every map that its programs or its user can reach, but for those in maps of maps.
    fn all_maps(&self) -> Vec<Arc<dyn Map>> {
        let own = self.maps.borrow().iter().flatten().map(|map| map.map.clone()).collect::<Vec<_>>();
        let programs = (0..self.programs.len()).filter_map(|index| self.programs.get(index));
        own.into_iter().chain(programs.flat_map(|program| program.maps().0)).collect()
    }
}

impl Crew<'_> {
    /// Whether it could fire events of these tracepoints, as things are.
    ///
    /// # Errors
    /// [`BenchError::OneThread`] where it could not.
    pub fn check<'t>(&self, tracepoints: impl IntoIterator<Item = &'t Tracepoint>) -> Result<(), BenchError> {
        if self.threads == 1 {
            return Ok(());
        }
        Plan::new(self.bench, tracepoints).map(drop)
    }

    /// As [`Bench::fire_rows`].
    ///
    /// # Errors
    /// As there; [`BenchError::OneThread`] for what only one thread can do, [`BenchError::Clock`] for a CPU that there is
    /// not. All of them before the first event.
    pub fn fire_rows(
        &self,
        tracepoint: &Tracepoint,
        columns: &[Column<'_>],
        times: Option<&[u64]>,
        cpus: Option<&[u32]>,
        pause: &mut Pause<'_>,
    ) -> Result<Fired, BenchError> {
        if self.threads == 1 {
            return self.bench.fire_rows(tracepoint, columns, times, cpus, pause);
        }
        let clock = &self.bench.clock;
        let times = Times { given: times.unwrap_or_default(), clock, start: clock.now() };
        let rows =
            Rows { batch: tracepoint.spec.batch(0, columns)?, times, cpus: cpus.unwrap_or_default(), cpu: clock.cpu() };
        self.fire(&[tracepoint], &rows, pause)
    }

    /// As [`Bench::fire_mixed`].
    ///
    /// # Errors
    /// As of [`Crew::fire_rows`].
    pub fn fire_mixed(
        &self,
        batches: &[MixedColumns<'_>],
        order: &[u16],
        times: &[u64],
        cpus: &[u32],
        pause: &mut Pause<'_>,
    ) -> Result<Fired, BenchError> {
        if self.threads == 1 {
            return self.bench.fire_mixed(batches, order, times, cpus, pause);
        }
        let tracepoints: Vec<&Tracepoint> = batches.iter().map(|(tracepoint, _)| *tracepoint).collect();
        let encoded = Encoded::all(batches)?;
        self.fire(&tracepoints, &Mixed::new(&encoded, order, times, cpus), pause)
    }

    /// As [`Bench::fire_recorded`].
    ///
    /// # Errors
    /// As of [`Crew::fire_rows`].
    pub fn fire_recorded(
        &self,
        tracepoints: &[&Tracepoint],
        recorded: &Events,
        pause: &mut Pause<'_>,
    ) -> Result<Fired, BenchError> {
        if self.threads == 1 {
            return self.bench.fire_recorded(tracepoints, recorded, pause);
        }
        self.fire(tracepoints, &Recorded::new(recorded, tracepoints.len()), pause)
    }

    /// Fires the events of a source. A fault ends the batch: everything before its event happens, and what other workers
    /// have done behind it by then has happened too.
    fn fire<S: Source>(
        &self,
        tracepoints: &[&Tracepoint],
        source: &S,
        pause: &mut Pause<'_>,
    ) -> Result<Fired, BenchError> {
        let bench = self.bench;
        let plan = Plan::new(bench, tracepoints.iter().copied())?;
        let (owners, workers) = self.share_out(source)?;
        if workers == 0 {
            return Ok(Fired { events: 0, error: None });
        }
        let _at_work = AtWork::begin(bench);
        let stop = AtomicUsize::new(usize::MAX);
        let common = Common { plan: &plan, stop: &stop, seed: bench.next_random() };
        let owners = &*owners;
        let done = thread::scope(|scope| {
            let mut merge = Merge::default();
            let mut handles = Vec::with_capacity(workers);
            for me in 0..workers {
                let (send, receive) = mpsc::channel::<Written>();
                let (give, take) = mpsc::channel::<Lines>();
                let work = move || Worker::work(common, source, |cpu| owners[cpu as usize] == me, send, &take);
                let builder = thread::Builder::new().name(format!("axebpf-{me}"));
                // None has begun where one cannot be started: each waits for its lines.
                let started = builder.spawn_scoped(scope, work);
                handles.push(started.map_err(|error| BenchError::NoThread { why: error.to_string() })?);
                merge.add(receive, give);
            }
            merge.begin(POOL);
            let paused = merge.run(bench, &stop, pause);
            let joined = handles.into_iter().map(|handle| match handle.join() {
                Ok(tally) => tally,
                // A fault of ours: the worker has said what it is.
                Err(panic) => std::panic::resume_unwind(panic),
            });
            let tallies: Vec<Tally> = joined.collect();
            Ok::<_, BenchError>((tallies, paused))
        });
        let (tallies, paused) = done?;
        source.settle(tallies.iter().filter_map(|tally| tally.last_row).max());
        collect(bench, tracepoints, &tallies);
        let events = tallies.iter().map(|tally| tally.events).sum();
        // The one that a single thread would have met.
        let failed = tallies.into_iter().filter_map(|tally| tally.failed).min_by_key(|(row, _)| *row);
        let error = paused.err().or(failed.map(|(_, error)| *error));
        Ok(Fired { events, error })
    }

    /// Which worker each CPU goes to, and how many workers there are: the busiest CPU first, to whoever has least.
    fn share_out(&self, source: &impl Source) -> Result<(Vec<usize>, usize), BenchError> {
        let cpus = self.bench.options.cpus as usize;
        let mut events = vec![0_usize; cpus];
        for cpu in source.cpus() {
            match events.get_mut(cpu as usize) {
                Some(count) => *count += 1,
                None => self.bench.clock.check_cpu(cpu)?,
            }
        }
        let mut busiest: Vec<usize> = (0..cpus).filter(|cpu| events[*cpu] > 0).collect();
        busiest.sort_by_key(|cpu| std::cmp::Reverse(events[*cpu]));
        let mut work = vec![0_usize; self.threads.min(busiest.len())];
        let mut owners = vec![usize::MAX; cpus];
        for cpu in busiest {
            let least = work.iter().enumerate().min_by_key(|(_, work)| **work);
            let Some(worker) = least.map(|(worker, _)| worker) else { break };
            work[worker] += events[cpu];
            owners[cpu] = worker;
        }
        Ok((owners, work.len()))
    }
}

/// Ends a batch at a row: no event from it on is begun any more.
fn stop_at(stop: &AtomicUsize, row: usize) {
    stop.fetch_min(row, Relaxed);
}
