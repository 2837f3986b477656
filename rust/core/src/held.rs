//! What a run holds until it gives it up: ring-buffer records, dynptrs on its stack, a spin lock.

use std::collections::BTreeMap;

use crate::memory::Window;

/// A ring-buffer record that a run has reserved and neither submitted nor discarded. Its bytes are that run's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// First byte of the payload.
    pub start: u64,
    /// Bytes of the payload.
    pub len: u64,
    /// Handle of the ring buffer, as the program has it.
    pub ring: u64,
    /// Whether it is a dynptr's: the program gives that up, not the record.
    pub of_dynptr: bool,
}

impl Record {
    fn window(&self) -> Window {
        Window { start: self.start, len: self.len, writable: true }
    }
}

/// Where a dynptr leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dynptr {
    /// First byte; 0 where making it has failed, which leaves a null dynptr.
    pub start: u64,
    /// Bytes.
    pub size: u32,
    /// Whether it is of a ring-buffer record (which there is none of, where it is null): it must be submitted or discarded.
    pub of_record: bool,
    /// What the program's stack holds for it.
    pub token: [u64; 2],
}

/// Bytes of a dynptr on the stack of a program.
pub const DYNPTR: u64 = 16;

/// What a run holds. Most hold nothing or one record, which costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Held {
    newest: Option<Record>,
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    /// The other records, by address.
    older: BTreeMap<u64, Record>,
    /// Dynptrs, by their address on the stack.
    dynptrs: BTreeMap<u64, Dynptr>,
    /// How many dynptrs there have been.
    made: u64,
    /// Address of the spin lock that it has taken.
    lock: Option<u64>,
}

impl Held {
    pub(crate) const NOTHING: Held = Held { newest: None, rest: None };

    #[inline]
    pub(crate) fn hold(&mut self, record: Record) {
        if let Some(older) = self.newest.replace(record) {
            self.rest.get_or_insert_default().older.insert(older.start, older);
        }
    }

    /// Gives a record up.
    #[inline]
    pub(crate) fn give_up(&mut self, start: u64) -> Option<Record> {
        if self.newest.is_some_and(|newest| newest.start == start) {
            return self.newest.take();
        }
        self.rest.as_mut()?.older.remove(&start)
    }

    /// The record that begins at an address.
    #[inline]
    pub(crate) fn record(&self, start: u64) -> Option<Record> {
        match self.newest {
            Some(newest) if newest.start == start => Some(newest),
            _ => self.rest.as_ref()?.older.get(&start).copied(),
        }
    }

    /// The bytes of the record around an address.
    pub(crate) fn window(&self, address: u64) -> Option<Window> {
        let inside = |record: &&Record| address.wrapping_sub(record.start) < record.len;
        if let Some(newest) = self.newest.as_ref().filter(inside) {
            return Some(newest.window());
        }
        let (_, record) = self.rest.as_ref()?.older.range(..=address).next_back()?;
        Some(record).filter(inside).map(Record::window)
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        let older = self.rest.iter().flat_map(|rest| rest.older.values());
        older.chain(&self.newest).copied()
    }

    /// Whether there is something that the program must give up before it ends.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.newest.is_some() || self.rest.as_ref().is_some_and(|rest| rest.owes())
    }

    /// Address of the spin lock that is held.
    #[inline]
    pub(crate) fn lock(&self) -> Option<u64> {
        self.rest.as_ref()?.lock
    }

    /// Notes that a spin lock is held, or none.
    pub(crate) fn set_lock(&mut self, lock: Option<u64>) {
        self.rest.get_or_insert_default().lock = lock;
    }

    /// Address on the stack of a dynptr that must be given up.
    pub(crate) fn owed_dynptr(&self) -> Option<u64> {
        let of_record = |(at, dynptr): (&u64, &Dynptr)| dynptr.of_record.then_some(*at);
        self.rest.as_ref()?.dynptrs.iter().find_map(of_record)
    }

    /// The dynptr at an address of the stack.
    pub(crate) fn dynptr(&self, at: u64) -> Option<Dynptr> {
        self.rest.as_ref()?.dynptrs.get(&at).copied()
    }

    /// The dynptrs that share a byte with one at an address of the stack, and their addresses.
    pub(crate) fn dynptrs_around(&self, at: u64) -> impl Iterator<Item = (u64, Dynptr)> {
        let around = at.saturating_sub(DYNPTR - 1)..at.saturating_add(DYNPTR);
        self.rest.iter().flat_map(move |rest| rest.dynptrs.range(around.clone())).map(|(at, dynptr)| (*at, *dynptr))
    }

    /// Makes a dynptr at an address of the stack, in place of those that it overlaps. Returns its token, which no other of
    /// this run has.
    pub(crate) fn make_dynptr(&mut self, at: u64, start: u64, size: u32, of_record: bool) -> [u64; 2] {
        /// What the first word of a token begins with: no address of memory, and no small number.
        const TOKENS: u64 = 0xffff_9000_0000_0000;
        let overlapped: Vec<u64> = self.dynptrs_around(at).map(|(at, _)| at).collect();
        let rest = self.rest.get_or_insert_default();
        for at in overlapped {
            rest.dynptrs.remove(&at);
        }
        let token = [TOKENS | rest.made, !rest.made];
        rest.made += 1;
        rest.dynptrs.insert(at, Dynptr { start, size, of_record, token });
        token
    }

    /// Forgets the dynptr at an address of the stack.
    pub(crate) fn forget_dynptr(&mut self, at: u64) {
        if let Some(rest) = &mut self.rest {
            rest.dynptrs.remove(&at);
        }
    }
}

impl Rest {
    fn owes(&self) -> bool {
        self.lock.is_some() || !self.older.is_empty() || self.dynptrs.values().any(|dynptr| dynptr.of_record)
    }
}
