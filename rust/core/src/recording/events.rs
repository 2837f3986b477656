//! Events of several tracepoints in one order, each encoded once.

use crate::event::{Stamp, TracepointSpec};

/// A run of events: which tracepoint each is of, when, where and in which thread, and its record.
#[derive(Clone, Debug, Default)]
pub struct Events {
    which: Vec<u16>,
    stamps: Vec<Stamp>,
    records: Vec<u8>,
    /// Where the records end that are whole.
    ends: Vec<usize>,
}

impl Events {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.which.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.which.is_empty()
    }

    /// Each event: index of its tracepoint, stamp, record.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Stamp, &[u8])> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let places = starts.zip(&self.ends).map(|(&start, &end)| &self.records[start..end]);
        self.which.iter().zip(&self.stamps).zip(places).map(|((&which, stamp), record)| (which as usize, stamp, record))
    }

    /// Takes the first ones out, at most so many.
    #[must_use]
    pub fn take(&mut self, most: usize) -> Events {
        if most >= self.len() {
            return std::mem::take(self);
        }
        let end = most.checked_sub(1).map_or(0, |last| self.ends[last]);
        let ends = self.ends.drain(..most).collect();
        for rest in &mut self.ends {
            *rest -= end;
        }
        Events {
            which: self.which.drain(..most).collect(),
            stamps: self.stamps.drain(..most).collect(),
            records: self.records.drain(..end).collect(),
            ends,
        }
    }

    /// Forgets them, and keeps the memory.
    pub fn clear(&mut self) {
        self.which.clear();
        self.stamps.clear();
        self.records.clear();
        self.ends.clear();
    }

    /// Adds an event whose fields `fill` stores into the record. Where it fails, there is no event.
    pub(super) fn push<E>(
        &mut self,
        which: u16,
        spec: &TracepointSpec,
        stamp: Stamp,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.records.len();
        self.records.resize(start + spec.record_size(), 0);
        let record = &mut self.records[start..];
        let begun = spec.begin_zeroed(stamp.pid, record);
        debug_assert_eq!(begun, Ok(()), "the record has its size");
        let filled = fill(record);
        if filled.is_err() {
            self.records.truncate(start);
            return filled;
        }
        self.which.push(which);
        self.stamps.push(stamp);
        self.ends.push(self.records.len());
        Ok(())
    }

    /// Adds an event that is encoded already.
    pub(super) fn push_record(&mut self, which: u16, stamp: Stamp, record: &[u8]) {
        self.records.extend_from_slice(record);
        self.which.push(which);
        self.stamps.push(stamp);
        self.ends.push(self.records.len());
    }
}
