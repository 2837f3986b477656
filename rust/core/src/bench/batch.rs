//! Batches of events, one after the other on one thread. [`super::crew`] splits the same ones up.

use super::{Bench, BenchError, Tracepoint};
use crate::event::Column;
use crate::recording::Events;

/// What became of a batch.
#[derive(Debug)]
pub struct Fired {
    /// Events that have gone through; the one that failed is not among them.
    pub events: usize,
    /// What stopped the batch.
    pub error: Option<BenchError>,
}

/// Lets the caller of a batch end it: with Ctrl-C, say.
pub type Pause<'p> = dyn FnMut() -> Result<(), BenchError> + 'p;

/// When to call [`Pause`]: after so many events, or so many instructions, whichever is sooner.
struct Patience {
    events: u32,
    instructions: u64,
}

impl Patience {
    const EVENTS: u32 = 1 << 14;
    const INSTRUCTIONS: u64 = 1 << 22;

    fn new(bench: &Bench) -> Patience {
        Patience { events: 0, instructions: bench.instructions() }
    }

    #[inline]
    fn wait(&mut self, bench: &Bench, pause: &mut Pause<'_>) -> Result<(), Box<BenchError>> {
        self.events += 1;
        if self.events < Patience::EVENTS
            && bench.instructions().wrapping_sub(self.instructions) < Patience::INSTRUCTIONS
        {
            return Ok(());
        }
        *self = Patience::new(bench);
        Ok(pause()?)
    }
}

/// The columns of one tracepoint, of which events in a common order each take the next row.
pub type MixedColumns<'a> = (&'a Tracepoint, Vec<Column<'a>>);

/// All records of one tracepoint.
pub(super) struct Encoded {
    size: usize,
    records: Vec<u8>,
}

impl Encoded {
    /// Those of each of the columns.
    pub(super) fn all(batches: &[MixedColumns<'_>]) -> Result<Vec<Encoded>, BenchError> {
        let encode = |(tracepoint, columns): &MixedColumns<'_>| {
            let mut batch = tracepoint.spec.batch(0, columns)?;
            let size = tracepoint.spec.record_size();
            let mut records = Vec::with_capacity(batch.rows().saturating_mul(size));
            for first in (0..batch.rows()).step_by(batch.chunk_rows().max(1)) {
                records.extend_from_slice(batch.chunk(first));
            }
            Ok(Encoded { size, records })
        };
        batches.iter().map(encode).collect()
    }

    /// The next record of the columns of a number; `next` says how many bytes of each are used up. None at their end.
    #[inline]
    pub(super) fn next<'a>(all: &'a [Encoded], next: &mut [usize], which: u16) -> Option<&'a [u8]> {
        let (Encoded { size, records }, start) = (all.get(which as usize)?, next.get_mut(which as usize)?);
        let end = *start + size;
        let record = records.get(*start..end)?;
        *start = end;
        Some(record)
    }
}

impl Bench {
    #[inline]
    fn fire_at(
        &self,
        tracepoint: &Tracepoint,
        record: &[u8],
        time_ns: Option<u64>,
        cpu: Option<u32>,
    ) -> Result<(), Box<BenchError>> {
        let stamp = self.stamp(time_ns, cpu)?;
        self.fire(tracepoint, &stamp, record)
    }

    /// Fires an event for each row of the columns, at these times and on these CPUs. `pause` is called now and then.
    ///
    /// # Errors
    /// [`BenchError::Event`] for columns that do not fit, before the first event; what stops the batch is in the
    /// result.
    pub fn fire_rows(
        &self,
        tracepoint: &Tracepoint,
        columns: &[Column<'_>],
        times: Option<&[u64]>,
        cpus: Option<&[u32]>,
        pause: &mut Pause<'_>,
    ) -> Result<Fired, BenchError> {
        let spec = tracepoint.spec.clone();
        let mut batch = spec.batch(0, columns)?;
        let size = spec.record_size();
        let mut patience = Patience::new(self);
        let mut events = 0;
        while events < batch.rows() {
            for record in batch.chunk(events).chunks_exact(size) {
                let time = times.and_then(|times| times.get(events)).copied();
                let cpu = cpus.and_then(|cpus| cpus.get(events)).copied();
                if let Err(error) = self.fire_at(tracepoint, record, time, cpu) {
                    return Ok(Fired { events, error: Some(*error) });
                }
                events += 1;
                if let Err(error) = patience.wait(self, pause) {
                    return Ok(Fired { events, error: Some(*error) });
                }
            }
        }
        Ok(Fired { events, error: None })
    }

    /// Fires events of several tracepoints in one order: event `i` is the next row of `batches[order[i]]`.
    ///
    /// # Errors
    /// [`BenchError::Event`] for columns that do not fit, before the first event; what stops the batch is in the
    /// result. The batch ends early where a tracepoint has no row left.
    pub fn fire_mixed(
        &self,
        batches: &[MixedColumns<'_>],
        order: &[u16],
        times: &[u64],
        cpus: &[u32],
        pause: &mut Pause<'_>,
    ) -> Result<Fired, BenchError> {
        let encoded = Encoded::all(batches)?;
        let mut next = vec![0; encoded.len()];
        let mut patience = Patience::new(self);
        for (event, ((&which, &time), &cpu)) in order.iter().zip(times).zip(cpus).enumerate() {
            let Some(record) = Encoded::next(&encoded, &mut next, which) else {
                return Ok(Fired { events: event, error: None });
            };
            let (tracepoint, _) = &batches[which as usize];
            if let Err(error) = self.fire_at(tracepoint, record, Some(time), Some(cpu)) {
                return Ok(Fired { events: event, error: Some(*error) });
            }
            if let Err(error) = patience.wait(self, pause) {
                return Ok(Fired { events: event + 1, error: Some(*error) });
            }
        }
        Ok(Fired { events: order.len().min(times.len()).min(cpus.len()), error: None })
    }

    /// Fires the events of a recording, as they stand there; `tracepoints` are those that its reader was made for.
    ///
    /// # Errors
    /// What stops the batch is in the result: [`BenchError::Clock`] for a CPU that there is not, too. It ends early at an
    /// event of a tracepoint that was not given.
    pub fn fire_recorded(
        &self,
        tracepoints: &[&Tracepoint],
        recorded: &Events,
        pause: &mut Pause<'_>,
    ) -> Result<Fired, BenchError> {
        let mut patience = Patience::new(self);
        for (event, (which, stamp, record)) in recorded.iter().enumerate() {
            let Some(tracepoint) = tracepoints.get(which) else {
                return Ok(Fired { events: event, error: None });
            };
            if let Err(error) = self.clock.check_cpu(stamp.cpu) {
                return Ok(Fired { events: event, error: Some(error.into()) });
            }
            if let Err(error) = self.fire(tracepoint, stamp, record) {
                return Ok(Fired { events: event, error: Some(*error) });
            }
            if let Err(error) = patience.wait(self, pause) {
                return Ok(Fired { events: event + 1, error: Some(*error) });
            }
        }
        Ok(Fired { events: recorded.len(), error: None })
    }
}
