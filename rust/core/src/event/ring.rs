//! The trace: the last so many events and printed lines.
//!
//! Each CPU has a ring of its own, and all rings share one budget of entries. When it is used up, the oldest entry of a
//! ring makes room: of the CPU that writes, if that has its equal share already, or else of the CPU that has most. So
//! one busy CPU may fill the whole trace, but cannot push out what the others wrote within their shares.

/// No slot.
const NONE: u32 = u32::MAX;

/// The largest budget.
pub const MAX_ENTRIES: usize = NONE as usize;

/// When, where and in which task something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// CPU.
    pub cpu: u32,
    /// Thread.
    pub pid: i32,
    /// Its name, zero-padded; all zero where unknown.
    pub comm: [u8; 16],
}

/// The comm that AxVisor shows for everything that happens in the hypervisor.
pub const AXVISOR_COMM: [u8; 16] = *b"axvisor\0\0\0\0\0\0\0\0\0";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The record of a tracepoint; its first two bytes say of which.
    Record(&'a [u8]),
    /// A line that a program printed, as it printed it.
    Print(&'a str),
}

/// An entry of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When, where, who.
    pub stamp: Stamp,
    /// What.
    pub payload: Payload<'a>,
    /// Its number among all entries ever written, from 0.
    pub sequence: u64,
}

/// The trace of a bench.
#[derive(Clone, Debug)]
pub struct TraceRing {
    budget: usize,
    /// Entries, in use or free; as many as were ever in use at once. Their buffers are kept for reuse.
    slots: Vec<Slot>,
    /// First of the free slots, linked by `next`.
    free: u32,
    len: usize,
    /// At least one.
    cpus: Vec<Queue>,
    written: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    stamp: Stamp,
    sequence: u64,
    print: bool,
    bytes: Vec<u8>,
    /// The next entry of the same CPU.
    next: u32,
}

#[derive(Clone, Debug)]
struct Queue {
    oldest: u32,
    newest: u32,
    len: usize,
    lost: u64,
}

const EMPTY: Queue = Queue { oldest: NONE, newest: NONE, len: 0, lost: 0 };

impl TraceRing {
    /// A trace of at most `entries` entries (and at most [`MAX_ENTRIES`]), written by `cpus` CPUs. Without entries it
    /// loses everything.
    #[must_use]
    pub fn new(entries: usize, cpus: u32) -> TraceRing {
        TraceRing {
            budget: entries.min(MAX_ENTRIES),
            slots: Vec::new(),
            free: NONE,
            len: 0,
            cpus: vec![EMPTY; cpus.max(1) as usize],
            written: 0,
        }
    }

    /// Entries that may be kept at once.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.budget
    }

    /// Entries kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries written since the trace was made or cleared, lost and consumed ones included.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Entries of each CPU that made room for others.
    pub fn lost(&self) -> impl ExactSizeIterator<Item = u64> {
        self.cpus.iter().map(|queue| queue.lost)
    }

    /// Writes a record. A CPU beyond the last is taken for the last.
    #[inline]
    pub fn push_record(&mut self, stamp: Stamp, record: &[u8]) {
        self.push(stamp, record, false);
    }

    /// Writes a printed line.
    pub fn push_print(&mut self, stamp: Stamp, text: &str) {
        self.push(stamp, text.as_bytes(), true);
    }

    fn push(&mut self, stamp: Stamp, bytes: &[u8], print: bool) {
        let sequence = self.written;
        self.written += 1;
        let cpu = (stamp.cpu as usize).min(self.cpus.len() - 1);
        let Some(id) = self.free_slot(cpu) else {
            self.cpus[cpu].lost += 1;
            return;
        };
        let slot = &mut self.slots[id as usize];
        (slot.stamp, slot.sequence, slot.print, slot.next) = (stamp, sequence, print, NONE);
        slot.bytes.clear();
        slot.bytes.extend_from_slice(bytes);
        let queue = &mut self.cpus[cpu];
        let newest = std::mem::replace(&mut queue.newest, id);
        queue.len += 1;
        match newest {
            NONE => queue.oldest = id,
            newest => self.slots[newest as usize].next = id,
        }
        self.len += 1;
    }

    /// A slot to write to: a free one, a new one, or that of an entry which makes room.
    fn free_slot(&mut self, cpu: usize) -> Option<u32> {
        if self.len == self.budget {
            let share = self.budget / self.cpus.len();
            let full = |queue: &Queue| queue.len > 0 && queue.len >= share;
            let victim =
                if full(&self.cpus[cpu]) { cpu } else { (0..self.cpus.len()).max_by_key(|&cpu| self.cpus[cpu].len)? };
            self.release_oldest(victim)?;
            self.cpus[victim].lost += 1;
        }
        if self.free != NONE {
            let id = self.free;
            self.free = self.slots[id as usize].next;
            return Some(id);
        }
        let id = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot { stamp: Stamp::default(), sequence: 0, print: false, bytes: Vec::new(), next: NONE });
        Some(id)
    }

    /// Takes the oldest entry out of a CPU's ring. Its slot is free then, and its contents stay until that is reused.
    fn release_oldest(&mut self, cpu: usize) -> Option<u32> {
        let queue = &mut self.cpus[cpu];
        let id = queue.oldest;
        let slot = self.slots.get_mut(id as usize)?;
        queue.oldest = slot.next;
        if queue.oldest == NONE {
            queue.newest = NONE;
        }
        queue.len -= 1;
        slot.next = self.free;
        self.free = id;
        self.len -= 1;
        Some(id)
    }

    /// The CPU whose oldest entry is the first of all, by time and then by sequence.
    fn first_cpu(&self) -> Option<usize> {
        let head = |cpu: usize| {
            let slot = self.slots.get(self.cpus[cpu].oldest as usize)?;
            Some((slot.stamp.time_ns, slot.sequence, cpu))
        };
        (0..self.cpus.len()).filter_map(head).min().map(|(.., cpu)| cpu)
    }

    fn entry(&self, id: u32) -> Option<Entry<'_>> {
        let slot = self.slots.get(id as usize)?;
        // Printed lines come in as `str`, so there is nothing that could be lost here.
        let text = || std::str::from_utf8(&slot.bytes).unwrap_or_default();
        let payload = if slot.print { Payload::Print(text()) } else { Payload::Record(&slot.bytes) };
        Some(Entry { stamp: slot.stamp, payload, sequence: slot.sequence })
    }

    /// All entries by time, those of one time by sequence. Entries of one CPU stay in the order in which they were
    /// written, even if its clock was set back in between.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        use std::cmp::Reverse;
        let key = |id: u32| self.slots.get(id as usize).map(|slot| Reverse((slot.stamp.time_ns, slot.sequence, id)));
        let mut heads: std::collections::BinaryHeap<_> =
            self.cpus.iter().filter_map(|queue| key(queue.oldest)).collect();
        std::iter::from_fn(move || {
            let Reverse((.., id)) = heads.pop()?;
            heads.extend(key(self.slots[id as usize].next));
            self.entry(id)
        })
    }

    /// Takes the first entry out of the trace, in the order of [`TraceRing::iter`].
    pub fn consume(&mut self) -> Option<Entry<'_>> {
        let cpu = self.first_cpu()?;
        let id = self.release_oldest(cpu)?;
        self.entry(id)
    }

    /// Forgets all entries, and what was lost and written.
    pub fn clear(&mut self) {
        *self = TraceRing::new(self.budget, self.cpus.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn at(time_ns: u64, cpu: u32) -> Stamp {
        Stamp { time_ns, cpu, pid: 1, comm: *b"axvisor\0\0\0\0\0\0\0\0\0" }
    }

    fn sequences(ring: &TraceRing) -> Vec<u64> {
        ring.iter().map(|entry| entry.sequence).collect()
    }

    fn lost(ring: &TraceRing) -> Vec<u64> {
        ring.lost().collect()
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let mut ring = TraceRing::new(4, 2);
        ring.push_record(at(7, 1), b"\x15\0rest");
        ring.push_print(at(9, 0), "hello");
        let entries: Vec<Entry<'_>> = ring.iter().collect();
        assert_eq!(entries[0], Entry { stamp: at(7, 1), payload: Payload::Record(b"\x15\0rest"), sequence: 0 });
        assert_eq!(entries[1], Entry { stamp: at(9, 0), payload: Payload::Print("hello"), sequence: 1 });
        assert_eq!((ring.len(), ring.written(), lost(&ring)), (2, 2, vec![0, 0]));
    }

    #[test]
    fn cpus_are_merged_by_time_then_by_sequence() {
        let mut ring = TraceRing::new(16, 3);
        for (time, cpu) in [(30, 0), (10, 1), (10, 2), (20, 1), (30, 2), (5, 0)] {
            ring.push_record(at(time, cpu), b"");
        }
        // The last one was written by CPU 0 behind its entry of time 30, and stays behind it.
        assert_eq!(sequences(&ring), [1, 2, 3, 0, 5, 4]);
        let consumed: Vec<u64> = std::iter::from_fn(|| ring.consume().map(|entry| entry.sequence)).collect();
        assert_eq!(consumed, [1, 2, 3, 0, 5, 4]);
        assert!(ring.is_empty());
    }

    #[test]
    fn one_cpu_may_use_the_whole_budget_and_loses_its_oldest() {
        let mut ring = TraceRing::new(4, 2);
        (0..7).for_each(|time| ring.push_record(at(time, 1), &[time as u8]));
        assert_eq!((sequences(&ring), lost(&ring), ring.written()), (vec![3, 4, 5, 6], vec![0, 3], 7));
        let bytes: Vec<Payload<'_>> = ring.iter().map(|entry| entry.payload).collect();
        assert_eq!(bytes[0], Payload::Record(&[3]));
    }

    #[test]
    fn a_busy_cpu_leaves_the_share_of_the_others() {
        let mut ring = TraceRing::new(6, 3);
        (0..6).for_each(|time| ring.push_record(at(time, 0), b""));
        ring.push_record(at(6, 1), b"");
        ring.push_record(at(7, 1), b"");
        assert_eq!((sequences(&ring), lost(&ring)), (vec![2, 3, 4, 5, 6, 7], vec![2, 0, 0]));
        (8..100).for_each(|time| ring.push_record(at(time, 0), b""));
        assert_eq!((sequences(&ring), lost(&ring)), (vec![6, 7, 96, 97, 98, 99], vec![94, 0, 0]));
        ring.push_record(at(100, 1), b"");
        assert_eq!(lost(&ring), [94, 1, 0], "at its share, a CPU makes room by itself");
    }

    #[test]
    fn every_entry_is_kept_lost_or_consumed() {
        // A queue of queues, written in another way, says what must be left.
        let (budget, cpus) = (10, 4);
        let mut ring = TraceRing::new(budget, cpus);
        let mut model: Vec<Vec<u64>> = vec![vec![]; cpus as usize];
        let mut random = 1_u64;
        for sequence in 0..5000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            if random >> 60 == 0 {
                let first = model.iter_mut().filter(|q| !q.is_empty()).min_by_key(|q| q[0]).map(|q| q.remove(0));
                assert_eq!(ring.consume().map(|entry| entry.sequence), first);
            }
            let cpu = (random >> 40) as usize % 7 % cpus as usize;
            if model.iter().map(Vec::len).sum::<usize>() == budget {
                let most = (0..4).rev().max_by_key(|&i| (model[i].len(), i)).unwrap();
                let victim = if model[cpu].len() >= budget / 4 { cpu } else { most };
                model[victim].remove(0);
            }
            model[cpu].push(sequence);
            ring.push_record(at(sequence, cpu as u32), &sequence.to_le_bytes());
            let mut expected: Vec<u64> = model.concat();
            expected.sort_unstable();
            assert_eq!(sequences(&ring), expected);
            assert_eq!(ring.len(), expected.len());
        }
        assert!(ring.slots.len() <= budget, "slots are used again");
        assert!(ring.iter().all(|entry| entry.payload == Payload::Record(&entry.sequence.to_le_bytes())));
    }

    #[test]
    fn without_a_budget_everything_is_lost() {
        let mut ring = TraceRing::new(0, 2);
        ring.push_record(at(1, 1), b"x");
        assert_eq!((ring.len(), ring.written(), lost(&ring), ring.consume()), (0, 1, vec![0, 1], None));
        let mut tiny = TraceRing::new(1, 4);
        tiny.push_record(at(1, 3), b"x");
        tiny.push_record(at(2, 0), b"y");
        assert_eq!((sequences(&tiny), lost(&tiny)), (vec![1], vec![0, 0, 0, 1]));
    }

    #[test]
    fn clear_forgets() {
        let mut ring = TraceRing::new(1, 1);
        ring.push_record(at(1, 0), b"x");
        ring.push_record(at(2, 9), b"y");
        assert_eq!(ring.iter().next().map(|entry| entry.stamp.cpu), Some(9), "a CPU beyond the last is kept as given");
        ring.clear();
        assert_eq!((ring.len(), ring.written(), lost(&ring), ring.capacity()), (0, 0, vec![0], 1));
    }
}
