//! What a crew fires: events in one order, of which each worker takes those of its CPUs.

use std::ops::ControlFlow;

use crate::bench::batch::Encoded;
use crate::clock::{Clock, ClockMode};
use crate::event::{AXVISOR_COMM, Batch, Stamp};
use crate::recording::Events;

/// Rows that are looked through at a time.
const WINDOW: usize = 2048;

/// An event of a source.
pub(super) struct Row<'r> {
    /// Its place in the order.
    pub nth: usize,
    /// Number of its tracepoint.
    pub which: usize,
    pub stamp: Stamp,
    pub record: &'r [u8],
}

/// Events in one order.
pub(super) trait Source: Sync {
    /// The CPU of each.
    fn cpus(&self) -> impl Iterator<Item = u32>;

    /// Hands those to `fire` whose CPU is `mine`, in their order, until it breaks off. CPUs have been checked.
    fn walk(&self, mine: impl Fn(u32) -> bool, fire: impl FnMut(Row<'_>) -> ControlFlow<()>);

    /// All is over, and this the last event that was fired.
    fn settle(&self, last: Option<usize>) {
        let _ = last;
    }
}

/// The times of rows.
pub(super) struct Times<'a> {
    /// One for each; of a row without, the clock's.
    pub given: &'a [u64],
    pub clock: &'a Clock,
    /// What that shows at the beginning.
    pub start: u64,
}

impl Times<'_> {
    fn of(&self, row: usize) -> u64 {
        self.given.get(row).copied().unwrap_or_else(|| match self.clock.mode() {
            ClockMode::Manual => self.start,
            ClockMode::Step(ns) => self.start.wrapping_add(ns.wrapping_mul(row as u64 + 1)),
            ClockMode::Real => self.clock.now(),
        })
    }
}

/// Rows of one tracepoint.
pub(super) struct Rows<'a> {
    pub batch: Batch<'a>,
    pub times: Times<'a>,
    /// One for each row; of a row without, `cpu`.
    pub cpus: &'a [u32],
    pub cpu: u32,
}

impl Rows<'_> {
    fn cpu_of(&self, row: usize) -> u32 {
        self.cpus.get(row).copied().unwrap_or(self.cpu)
    }
}

impl Source for Rows<'_> {
    fn cpus(&self) -> impl Iterator<Item = u32> {
        (0..self.batch.rows()).map(|row| self.cpu_of(row))
    }

    fn walk(&self, mine: impl Fn(u32) -> bool, mut fire: impl FnMut(Row<'_>) -> ControlFlow<()>) {
        let mut batch = self.batch.clone();
        let (chunk, size) = (batch.chunk_rows(), batch.record_size());
        let mut picked = [0; WINDOW];
        for first in (0..batch.rows()).step_by(WINDOW) {
            let mut count = 0;
            for row in first..batch.rows().min(first + WINDOW) {
                // Without a branch: nobody could guess it.
                picked[count] = row;
                count += usize::from(mine(self.cpu_of(row)));
            }
            for rows in picked[..count].chunks(chunk) {
                for (&nth, record) in rows.iter().zip(batch.pick(rows).chunks_exact(size)) {
                    let stamp =
                        Stamp { time_ns: self.times.of(nth), cpu: self.cpu_of(nth), pid: 0, comm: AXVISOR_COMM };
                    if fire(Row { nth, which: 0, stamp, record }).is_break() {
                        return;
                    }
                }
            }
        }
    }

    fn settle(&self, last: Option<usize>) {
        // Rows with times of their own do not move the clock.
        let ticked = last.map_or(0, |last| (last + 1).saturating_sub(self.times.given.len()));
        if let ClockMode::Step(ns) = self.times.clock.mode() {
            let moved = self.times.clock.advance(ns.wrapping_mul(ticked as u64));
            debug_assert!(moved.is_ok(), "not a real clock");
        }
    }
}

/// Rows of several tracepoints.
pub(super) struct Mixed<'a> {
    encoded: &'a [Encoded],
    order: &'a [u16],
    times: &'a [u64],
    cpus: &'a [u32],
}

impl<'a> Mixed<'a> {
    /// The events up to the first whose tracepoint has no row left.
    pub(super) fn new(encoded: &'a [Encoded], order: &'a [u16], times: &'a [u64], cpus: &'a [u32]) -> Mixed<'a> {
        let mut next = vec![0; encoded.len()];
        let rows = order.iter().take_while(|which| Encoded::next(encoded, &mut next, **which).is_some()).count();
        let rows = rows.min(times.len()).min(cpus.len());
        Mixed { encoded, order: &order[..rows], times, cpus: &cpus[..rows] }
    }
}

impl Source for Mixed<'_> {
    fn cpus(&self) -> impl Iterator<Item = u32> {
        self.cpus.iter().copied()
    }

    fn walk(&self, mine: impl Fn(u32) -> bool, mut fire: impl FnMut(Row<'_>) -> ControlFlow<()>) {
        let mut next = vec![0; self.encoded.len()];
        for (nth, ((&which, &time_ns), &cpu)) in self.order.iter().zip(self.times).zip(self.cpus).enumerate() {
            let Some(record) = Encoded::next(self.encoded, &mut next, which) else { return };
            let stamp = Stamp { time_ns, cpu, pid: 0, comm: AXVISOR_COMM };
            if mine(cpu) && fire(Row { nth, which: which as usize, stamp, record }).is_break() {
                return;
            }
        }
    }
}

/// Events of a recording.
pub(super) struct Recorded<'a> {
    events: &'a Events,
    rows: usize,
}

impl<'a> Recorded<'a> {
    /// The events up to the first of a tracepoint that is none of so many.
    pub(super) fn new(events: &'a Events, tracepoints: usize) -> Recorded<'a> {
        let rows = events.iter().take_while(|(which, ..)| *which < tracepoints).count();
        Recorded { events, rows }
    }
}

impl Source for Recorded<'_> {
    fn cpus(&self) -> impl Iterator<Item = u32> {
        self.events.iter().take(self.rows).map(|(_, stamp, _)| stamp.cpu)
    }

    fn walk(&self, mine: impl Fn(u32) -> bool, mut fire: impl FnMut(Row<'_>) -> ControlFlow<()>) {
        for (nth, (which, stamp, record)) in self.events.iter().take(self.rows).enumerate() {
            if mine(stamp.cpu) && fire(Row { nth, which, stamp: *stamp, record }).is_break() {
                return;
            }
        }
    }
}
