//! What workers write to the trace, brought into the order of the batch as they go.
//!
//! A worker collects what its events write, with their rows, and sends it on when that is much; from time to time it says
//! how far it has come. Whoever merges always takes the entry of the least row, and waits for the worker that could
//! still write an earlier one. Each worker has so many [`Lines`] and gets them back when they are read, so that one that
//! is far ahead waits, and memory is bounded.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::stop_at;
use crate::bench::{Bench, BenchError, Pause};
use crate::event::{Payload, Stamp, TraceRing};

/// [`Lines`] of each worker.
pub(super) const POOL: usize = 4;

/// Bytes of lines that are sent on, about.
const MUCH: usize = 1 << 20;

/// How often a batch can be ended.
const PATIENCE: Duration = Duration::from_millis(50);

/// Entries of the trace.
#[derive(Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    bytes: Vec<u8>,
}

struct Line {
    row: usize,
    stamp: Stamp,
    what: What,
    /// Where its bytes end.
    end: usize,
}

#[derive(Clone, Copy)]
enum What {
    Record,
    Print,
    /// So many entries of the CPU, none of which can still be in the trace when those behind them are.
    Lost(u64),
}

impl Lines {
    /// Takes everything out of a worker's trace that an event has written.
    pub(super) fn take(&mut self, row: usize, cpu: u32, trace: &mut TraceRing) {
        let lost = trace.lost().sum();
        if lost > 0 {
            let stamp = Stamp { cpu, ..Stamp::default() };
            self.lines.push(Line { row, stamp, what: What::Lost(lost), end: self.bytes.len() });
        }
        while let Some(entry) = trace.consume() {
            let (what, bytes) = match entry.payload {
                Payload::Record(bytes) => (What::Record, bytes),
                Payload::Print(text) => (What::Print, text.as_bytes()),
            };
            self.bytes.extend_from_slice(bytes);
            self.lines.push(Line { row, stamp: entry.stamp, what, end: self.bytes.len() });
        }
        if lost > 0 {
            trace.clear();
        }
    }

    /// Row of the first of them.
    pub(super) fn first_row(&self) -> Option<usize> {
        self.lines.first().map(|line| line.row)
    }

    /// Whether they should be sent on.
    pub(super) fn are_many(&self) -> bool {
        self.bytes.len() + self.lines.len() * size_of::<Line>() >= MUCH
    }

    /// Writes one to the trace of the bench.
    fn write(&self, nth: usize, trace: &mut TraceRing) {
        let Some(Line { stamp, what, end, .. }) = self.lines.get(nth) else { return };
        let start = nth.checked_sub(1).and_then(|before| self.lines.get(before)).map_or(0, |before| before.end);
        let bytes = self.bytes.get(start..*end).unwrap_or_default();
        match what {
            What::Record => trace.push_record(*stamp, bytes),
            What::Print => trace.push_print(*stamp, std::str::from_utf8(bytes).unwrap_or_default()),
            What::Lost(count) => (0..*count).for_each(|_| trace.push_print(*stamp, "")),
        }
    }
}

/// What a worker says.
pub(super) struct Written {
    /// Of the rows before this one nothing comes any more.
    pub before: usize,
    pub lines: Option<Lines>,
}

/// One worker's.
struct Stream {
    receive: Receiver<Written>,
    /// Takes back what has been read.
    give: Sender<Lines>,
    /// What is being read, and how many of it have been.
    lines: Option<Lines>,
    read: usize,
    before: usize,
    over: bool,
}

impl Stream {
    /// The row of its next entry, and whether that is there; none at the end.
    fn next(&self) -> Option<(usize, bool)> {
        let next = self.lines.as_ref().and_then(|lines| lines.lines.get(self.read));
        match next {
            Some(line) => Some((line.row, true)),
            None => (!self.over).then_some((self.before, false)),
        }
    }

    /// Waits for what the worker says next, for a while.
    fn wait(&mut self) {
        if let Some(mut lines) = self.lines.take() {
            lines.lines.clear();
            lines.bytes.clear();
            // Where the worker is gone, nobody needs them.
            let _returned = self.give.send(lines);
        }
        match self.receive.recv_timeout(PATIENCE) {
            Ok(Written { before, lines }) => (self.before, self.lines, self.read) = (before, lines, 0),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.over = true,
        }
    }
}

/// All workers'.
#[derive(Default)]
pub(super) struct Merge(Vec<Stream>);

impl Merge {
    pub(super) fn add(&mut self, receive: Receiver<Written>, give: Sender<Lines>) {
        self.0.push(Stream { receive, give, lines: None, read: 0, before: 0, over: false });
    }

    /// Gives each worker its lines, with which it begins.
    pub(super) fn begin(&self, each: usize) {
        for stream in &self.0 {
            for _ in 0..each {
                // A worker that is gone already has said why.
                let _given = stream.give.send(Lines::default());
            }
        }
    }

    /// Writes to the trace until all workers have ended. `pause` is called now and then.
    ///
    /// # Errors
    /// That of `pause`, after the workers have ended early.
    pub(super) fn run(&mut self, bench: &Bench, stop: &AtomicUsize, pause: &mut Pause<'_>) -> Result<(), BenchError> {
        let mut result = Ok(());
        let mut paused = Instant::now();
        let next = |streams: &[Stream]| {
            let nexts = streams.iter().enumerate().filter_map(|(at, stream)| Some((stream.next()?, at)));
            nexts.min_by_key(|((row, _), _)| *row).map(|((_, is_there), at)| (at, is_there))
        };
        while let Some((at, is_there)) = next(&self.0) {
            let stream = &mut self.0[at];
            if is_there {
                if let Some(lines) = &stream.lines {
                    lines.write(stream.read, &mut bench.trace.borrow_mut());
                }
                stream.read += 1;
                continue;
            }
            stream.wait();
            if result.is_ok() && paused.elapsed() >= PATIENCE {
                result = pause();
                paused = Instant::now();
                if result.is_err() {
                    stop_at(stop, 0);
                }
            }
        }
        result
    }
}
