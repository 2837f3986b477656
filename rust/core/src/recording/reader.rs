//! The reader: a recording in pieces, twice if it can be; events out.
//!
//! The first time ([`Reader::survey`]) only heads are read: which events there are and how many CPUs, so that a rule can
//! say what replaces what and nothing is fired of a recording that does not fit. The second time the events are made.

use std::cell::Cell;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::RecordingError;
use super::csv::Table;
use super::events::Events;
use super::ftrace::{COMM_LEN, Head, Line, parse};
use super::lines::{Lines, Piece};
use super::names::{NameCount, Names, Use};
use super::rules::{Around, Compiled, Filler, Rule, Unfilled, fill, own_text};
use super::template::{Captures, Template};
use super::threads::{Held, Thread, Threads};
use crate::event::{EventError, Stamp, TracepointSpec};

/// Problems that are kept with their lines.
const PROBLEMS: usize = 20;

/// Lines without any event after which a file is given up.
const HOPELESS: u64 = 100_000;

/// Bytes of a line that a message shows.
const SHOWN: usize = 80;

/// What a recording is written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines of ftrace, trace-cmd or perf.
    Text,
    /// Rows under a header, separated by commas. Without a column `event`, all are of this tracepoint.
    Csv {
        /// `subsystem:event`.
        event: Option<String>,
    },
}

/// What was read, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines.
    pub lines: u64,
    /// Lines (or rows) that are events.
    pub events: u64,
    /// Lines that no event could be read from, comments and empty ones aside.
    pub skipped: u64,
    /// Events that the recorder says it lost, where it says how many.
    pub lost: u64,
    /// Events that are earlier than the one before them on their CPU.
    pub backwards: u64,
    /// Durations that are unknown, because their beginning is not in the recording; they are 0.
    pub unpaired: u64,
    /// Time of the first event.
    pub first_ns: Option<u64>,
    /// Time of the last event.
    pub last_ns: Option<u64>,
    /// CPUs that the events are on: the largest number, and one.
    pub cpus: u32,
    /// What was wrong, with the line; at most 20.
    pub problems: Vec<(u64, String)>,
    /// How many more there were.
    pub more_problems: u64,
}

impl Report {
    fn problem(&mut self, line: u64, what: impl FnOnce() -> String) {
        if self.problems.len() < PROBLEMS {
            self.problems.push((line, what()));
        } else {
            self.more_problems += 1;
        }
    }
}

/// Reads a recording.
#[derive(Debug)]
pub struct Reader {
    tracepoints: Vec<TracepointSpec>,
    /// By tracepoint: its own text, where that can be read back.
    own: Vec<Option<(Template, Vec<Filler>)>>,
    rules: Vec<Compiled>,
    names: Names,
    form: Form,
    table: Option<Table>,
    lines: Lines,
    threads: Threads,
    report: Report,
    events: Events,
    /// CPUs of the bench.
    cpus: u32,
    surveying: bool,
    begun: bool,
    /// Whether a line says that this is a recording, even without an event.
    known: bool,
    /// The first line that is no event.
    strange: Option<(u64, String)>,
    last_on_cpu: HashMap<u32, u64, RandomState>,
    held: u64,
}

impl Reader {
    /// A reader for a bench that has these tracepoints, and this many CPUs.
    ///
    /// # Errors
    /// A rule that cannot be.
    pub fn new(
        tracepoints: Vec<TracepointSpec>,
        rules: &[Rule],
        form: Form,
        cpus: u32,
    ) -> Result<Reader, RecordingError> {
        let most = usize::from(u16::MAX);
        for (what, found) in [("rules", rules.len()), ("tracepoints", tracepoints.len())] {
            if found > most {
                return Err(RecordingError::TooMany { what, found, max: most });
            }
        }
        let mut marks = Vec::new();
        let compiled = rules.iter().map(|rule| Compiled::new(rule, &tracepoints, &mut marks));
        let compiled = compiled.collect::<Result<_, _>>()?;
        let names = Names::new(rules.iter().map(|rule| &*rule.event), &tracepoints);
        Ok(Reader {
            own: tracepoints.iter().map(own_text).collect(),
            tracepoints,
            rules: compiled,
            names,
            form,
            table: None,
            lines: Lines::default(),
            threads: Threads::default(),
            report: Report::default(),
            events: Events::default(),
            cpus,
            surveying: false,
            begun: false,
            known: false,
            strange: None,
            last_on_cpu: HashMap::default(),
            held: 0,
        })
    }

    /// Looks through a piece for what [`Reader::report`] and [`Reader::names`] then say. After the `last` one, the
    /// reader stands at the beginning again.
    ///
    /// # Errors
    /// As [`Reader::feed`].
    pub fn survey(&mut self, piece: &[u8], last: bool) -> Result<(), RecordingError> {
        self.surveying = true;
        let read = self.read(piece, last);
        self.surveying = false;
        read
    }

    /// Begins to make events, with what [`Reader::survey`] has found.
    pub fn begin(&mut self) {
        for rule in &mut self.rules {
            rule.left_out = rule.unless.iter().any(|event| self.names.has(event));
        }
        self.names.reset();
        self.report = Report::default();
        self.lines = Lines::default();
        self.threads = Threads::default();
        self.table = None;
        self.last_on_cpu.clear();
        self.events.clear();
        (self.begun, self.known, self.strange, self.held) = (false, false, None, 0);
    }

    /// Makes the events of a piece; they are in [`Reader::events`] until the next one.
    ///
    /// # Errors
    /// A file that is no text, in which nothing is an event, that has an event on a CPU that the bench does not have; a
    /// table that does not fit. The events before that are in [`Reader::events`].
    pub fn feed(&mut self, piece: &[u8], last: bool) -> Result<(), RecordingError> {
        self.events.clear();
        self.read(piece, last)
    }

    /// The events of the last piece.
    #[must_use]
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// Takes the first events of the last piece out, at most so many.
    #[must_use]
    pub fn take_events(&mut self, most: usize) -> Events {
        self.events.take(most)
    }

    /// What was read so far.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The names of the events so far.
    pub fn names(&self) -> impl Iterator<Item = &NameCount> {
        self.names.seen()
    }

    fn read(&mut self, piece: &[u8], last: bool) -> Result<(), RecordingError> {
        if !self.begun {
            binary(piece)?;
            self.begun = true;
        }
        if let Form::Csv { event } = &self.form {
            let table = self.table.get_or_insert_with(|| Table::new(event.clone()));
            let mut out = super::csv::Out {
                tracepoints: &self.tracepoints,
                names: &mut self.names,
                events: &mut self.events,
                report: &mut self.report,
                cpus: if self.surveying { u32::MAX } else { self.cpus },
            };
            let read = table.feed(piece, last, &mut out);
            if self.surveying {
                self.events.clear();
            }
            read?;
            self.known |= table.has_header();
        } else {
            let mut lines = std::mem::take(&mut self.lines);
            let read = lines.feed(piece, last, |number, piece| self.line(number, piece));
            self.report.lines = lines.number();
            self.lines = lines;
            read?;
        }
        if last {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RecordingError> {
        if !self.surveying {
            let waiting = self.threads.interrupt();
            let now = self.report.last_ns.unwrap_or_default();
            for held in waiting {
                release(&self.tracepoints, &mut self.events, &mut self.report, held, now, None);
            }
        }
        if self.report.events > 0 || self.known {
            return Ok(());
        }
        Err(self.no_events())
    }

    fn no_events(&self) -> RecordingError {
        let (line, first) = self.strange.clone().map_or((0, None), |(line, text)| (line, Some(text)));
        RecordingError::NoEvents { lines: self.report.lines, line, first }
    }

    fn line(&mut self, number: u64, piece: Piece<'_>) -> Result<(), RecordingError> {
        self.report.lines = number;
        match piece {
            Piece::Line(line) => match parse(line) {
                Line::Event(head) => return self.event(number, &head),
                Line::Nothing => {}
                Line::Header => self.known = true,
                Line::Lost { cpu, events } => self.lost(number, cpu, events),
                Line::Unknown => self.skip(number, line, "is no event"),
            },
            Piece::Cut(line) => match parse(line) {
                Line::Nothing | Line::Header => {}
                _ => self.skip(number, line, "is cut off, it has no end"),
            },
            Piece::TooLong => self.skip(number, b"", "is too long for a line of a trace"),
        }
        if self.report.events == 0 && self.report.skipped >= HOPELESS {
            return Err(self.no_events());
        }
        Ok(())
    }

    fn skip(&mut self, number: u64, line: &[u8], why: &str) {
        self.report.skipped += 1;
        let shown = || shown(line);
        if self.strange.is_none() {
            self.strange = Some((number, shown()));
        }
        self.report.problem(number, || format!("{why}: {}", shown()));
    }

    fn lost(&mut self, number: u64, cpu: u32, events: Option<u64>) {
        self.report.lost = self.report.lost.saturating_add(events.unwrap_or_default());
        let count = events.map_or_else(String::new, |events| format!("{events} "));
        self.report.problem(number, || format!("the recorder lost {count}events of CPU {cpu}"));
        if !self.surveying {
            // What began before the gap may have ended in it.
            let now = self.report.last_ns.unwrap_or_default();
            for held in self.threads.interrupt() {
                release(&self.tracepoints, &mut self.events, &mut self.report, held, now, None);
            }
        }
    }

    fn event(&mut self, number: u64, head: &Head<'_>) -> Result<(), RecordingError> {
        let report = &mut self.report;
        report.events += 1;
        if head.cpu >= self.cpus && !self.surveying {
            return Err(RecordingError::Cpu { line: number, cpu: head.cpu, cpus: self.cpus });
        }
        report.cpus = report.cpus.max(head.cpu.saturating_add(1));
        report.first_ns.get_or_insert(head.time_ns);
        let name = self.names.find(head.system, head.event);
        self.names.count(name).seen += 1;
        if self.surveying {
            report.last_ns = Some(head.time_ns);
            return Ok(());
        }
        let before = self.last_on_cpu.insert(head.cpu, head.time_ns);
        if let Some(before) = before.filter(|&before| before > head.time_ns) {
            report.backwards += 1;
            let back = before - head.time_ns;
            report.problem(number, || format!("the clock of CPU {} goes back by {back} ns", head.cpu));
        }
        report.last_ns = Some(head.time_ns);
        match self.names.becomes(name) {
            Use::None => self.names.count(name).unmapped += 1,
            Use::Tracepoint(which) => {
                let which = *which;
                self.own(number, name, which, head);
            }
            Use::Rules(_) => self.apply(number, name, head),
        }
        Ok(())
    }

    /// An event of one of the bench's tracepoints, in its own words.
    fn own(&mut self, number: u64, name: usize, which: usize, head: &Head<'_>) {
        let (spec, events) = (&self.tracepoints[which], &mut self.events);
        let mut captures = Captures::default();
        let fields = self.own[which].as_ref().filter(|(template, _)| template.matches(head.text, &mut captures));
        let pushed = fields.map(|(_, fillers)| {
            let around = Around { vm: 0, vcpu: 0, since: &|_| 0 };
            events.push(which as u16, spec, stamp(head), |record| fill(spec, fillers, &captures, &around, record))
        });
        match pushed {
            Some(Ok(())) => {}
            Some(Err(Unfilled::Value(error))) => self.unread(number, name, head, Some(&error)),
            Some(Err(Unfilled::NoEntry)) | None => self.unread(number, name, head, None),
        }
    }

    #[cold]
    fn unread(&mut self, number: u64, name: usize, head: &Head<'_>, error: Option<&EventError>) {
        let count = self.names.count(name);
        count.unmapped += 1;
        let event = count.name.clone();
        self.report.problem(number, || match error {
            Some(error) => format!("{event} does not fit: {error}"),
            None => format!("{event} has a text of an unknown form: {}", shown(head.text)),
        });
    }

    /// An event that rules say something about.
    fn apply(&mut self, number: u64, name: usize, head: &Head<'_>) {
        let (mut fitted, mut fired, mut failed) = (false, false, None);
        let mut next = 0;
        while let Use::Rules(rules) = self.names.becomes(name)
            && let Some(&index) = rules.get(next)
        {
            next += 1;
            let rule = &self.rules[index];
            let Some(captures) = rule.captures(head.text) else { continue };
            match if rule.left_out { Ok(false) } else { self.apply_one(index, &captures, head) } {
                Ok(event) => (fitted, fired) = (true, fired | event),
                Err(Unfilled::NoEntry) => {}
                Err(Unfilled::Value(error)) => failed = Some(error),
            }
        }
        if !fired && (failed.is_some() || !fitted) {
            self.unread(number, name, head, failed.as_deref());
        } else if !fired {
            self.names.count(name).passed_over += 1;
        }
    }

    /// True where the rule makes an event of it.
    fn apply_one(&mut self, index: usize, captures: &Captures<'_>, head: &Head<'_>) -> Result<bool, Unfilled> {
        let (rule, events) = (&self.rules[index], &mut self.events);
        let (now, stamp) = (head.time_ns, stamp(head));
        let (mut thread, vm) = if rule.threaded && rule.on_vcpu {
            (self.threads.of_vcpu(head, rule.stated_vcpu(captures)), 0)
        } else {
            (None, self.threads.vm_near(head))
        };
        // What waits for this event has ended with it.
        if let (Some(thread), Some(sets)) = (thread.as_deref_mut(), rule.sets)
            && let Some(held) = thread.held.take_if(|held| held.until == sets)
        {
            release(&self.tracepoints, events, &mut self.report, *held, now, Some(thread));
        }
        let (mut made, mut waiting) = (Ok(false), None);
        if let Some((which, fillers)) = &rule.becomes {
            let spec = &self.tracepoints[*which];
            let until = rule.until.filter(|until| thread.as_deref().is_some_and(|thread| thread.sets(*until)));
            let unpaired = Cell::new(0);
            let begun = thread.as_deref();
            let since = |mark: usize| {
                let duration = begun.and_then(|thread| now.checked_sub(thread.mark(mark)?));
                if duration.is_none() && until.is_none() {
                    unpaired.set(unpaired.get() + 1);
                }
                duration.unwrap_or_default()
            };
            let (vm, vcpu) = begun.map_or((vm, 0), |thread| (thread.vm, thread.vcpu));
            let around = Around { vm, vcpu, since: &since };
            let fill = |record: &mut [u8]| fill(spec, fillers, captures, &around, record);
            made = match until {
                Some(until) => wait(spec, stamp, fill).map(|record| {
                    let marks = fillers.iter().enumerate();
                    let since = marks.filter_map(|(field, filler)| Some((field, filler.mark()?))).collect();
                    self.held += 1;
                    waiting = Some(Held { which: *which, stamp, record, since, until, order: self.held });
                    true
                }),
                None => events.push(*which as u16, spec, stamp, fill).map(|()| true),
            };
            self.report.unpaired += unpaired.get();
        }
        if let Some(thread) = thread
            && made.is_ok()
        {
            if let Some(held) = waiting
                && let Some(before) = thread.held.replace(Box::new(held))
            {
                release(&self.tracepoints, events, &mut self.report, *before, now, Some(thread));
            }
            rule.clears.iter().for_each(|&mark| thread.clear(mark));
            rule.sets.into_iter().for_each(|mark| thread.set(mark, now));
        }
        made
    }
}

/// The record of an event that will happen later.
fn wait(
    spec: &TracepointSpec,
    stamp: Stamp,
    fill: impl FnOnce(&mut [u8]) -> Result<(), Unfilled>,
) -> Result<Vec<u8>, Unfilled> {
    let mut record = vec![0; spec.record_size()];
    spec.begin_zeroed(stamp.pid, &mut record)?;
    fill(&mut record)?;
    Ok(record)
}

/// An event that has waited happens now.
fn release(
    tracepoints: &[TracepointSpec],
    events: &mut Events,
    report: &mut Report,
    mut held: Held,
    now: u64,
    thread: Option<&Thread>,
) {
    let spec = &tracepoints[held.which];
    for &(field, mark) in &held.since {
        let duration = thread.and_then(|thread| now.checked_sub(thread.mark(mark)?));
        report.unpaired += u64::from(duration.is_none());
        let stored = spec.store_int(field, i128::from(duration.unwrap_or_default()), &mut held.record);
        // A field too small for it keeps what it had when the event began to wait.
        report.unpaired += u64::from(stored.is_err());
    }
    held.stamp.time_ns = now;
    events.push_record(held.which as u16, held.stamp, &held.record);
}

fn stamp(head: &Head<'_>) -> Stamp {
    let mut comm = [0; 16];
    let name = &head.comm[..head.comm.len().min(COMM_LEN)];
    comm[..name.len()].copy_from_slice(name);
    Stamp { time_ns: head.time_ns, cpu: head.cpu, pid: head.pid, comm }
}

/// The beginning of a line, fit for a message.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let mut text: String = text.trim().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.len() > SHOWN {
        text.push('…');
    }
    text
}

/// Files that begin like this are no text.
fn binary(start: &[u8]) -> Result<(), RecordingError> {
    const KNOWN: [(&[u8], &str, &str); 5] = [
        (b"\x17\x08\x44tracing", "a trace.dat of trace-cmd", "trace-cmd report FILE > FILE.txt makes text of it"),
        (b"PERFILE2", "a perf.data", "perf script -i FILE > FILE.txt makes text of it"),
        (b"\x7fELF", "an object file", "the recording comes first, then the objects"),
        (b"\x1f\x8b", "compressed with gzip", "gunzip it first"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unzstd it first"),
    ];
    match KNOWN.iter().find(|(magic, ..)| start.starts_with(magic)) {
        Some(&(_, what, instead)) => Err(RecordingError::Binary { what, instead }),
        None => Ok(()),
    }
}
