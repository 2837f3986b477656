//! Ring buffers.

use super::{Run, failed, wrong_map};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::held::Record;
use crate::map::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, MapKind};

/// The flags that `bpf_ringbuf_output` takes.
const WAKEUP_FLAGS: u64 = BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP;

/// `bpf_ringbuf_output(ringbuf, data, size, flags)`: `EINVAL` for other flags, `EAGAIN` where there is no room, also
/// where there never can be.
pub(super) fn output(run: &mut Run<'_>, [ringbuf, data, size, flags, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(ringbuf, 130)?;
    let data = run.memory.bytes(data, size as usize)?;
    if flags & !WAKEUP_FLAGS != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    map.output(data, flags).map_or_else(|errno| failed(map, 130, errno), |()| Ok(0))
}

/// `bpf_ringbuf_reserve(ringbuf, size, flags)`: a record, or null where there is no room or `flags` is not 0.
pub(super) fn reserve(run: &mut Run<'_>, [ringbuf, size, flags, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(ringbuf, 131)?;
    if flags != 0 {
        return Ok(0);
    }
    let Ok(record) = map.reserve(size) else { return wrong_map(map, 131).map(|()| 0) };
    let start = record.as_ptr() as u64;
    // SAFETY: a reserved record is `size` writable bytes of a map (`Map::reserve`), which the run borrows for as long
    // as its memory.
    unsafe { run.memory.hold(Record { start, len: size, ring: ringbuf, of_dynptr: false }) };
    Ok(start)
}

impl Run<'_> {
    /// Whether the program has something that it must give up before it ends: a ring-buffer record, or a dynptr of one, or a
    /// spin lock.
    #[inline]
    #[must_use]
    pub fn owes(&self) -> bool {
        self.memory.held.owes()
    }

    /// The fault of a run that has ended with something that it [owes](Run::owes). Linux's verifier refuses a program that
    /// can ("Unreleased reference").
    #[cold]
    #[must_use]
    pub fn unreleased(&self) -> Box<Fault> {
        if let Some(fault) = self.still_locked() {
            return fault;
        }
        let by_itself = self.memory.held.records().find(|record| !record.of_dynptr);
        let (id, what) = match (by_itself, self.memory.held.owed_dynptr()) {
            (None, Some(at)) => (198, format!("the dynptr {}", self.memory.describe(at))),
            (record, _) => (131, record.map_or_else(String::new, |record| self.memory.describe(record.start))),
        };
        let what = format!(
            "{what} was reserved and neither submitted nor discarded; on every path to exit the program must do one of \
             them"
        );
        Box::new(Fault::Helper { id, what })
    }

    /// Discards the records that the run still holds: a busy one would stop every consumer of its ring. Lets go of its spin
    /// lock, for which others would wait.
    #[cold]
    pub fn give_up(&mut self) {
        self.let_go();
        for record in self.memory.held.records() {
            if let Ok(map) = self.map(record.ring, 133) {
                let _given_up = map.commit(record.start, 0, true);
            }
        }
    }
}

/// `bpf_ringbuf_submit(record, flags)`.
pub(super) fn submit(run: &mut Run<'_>, [record, flags, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    commit(run, record, flags, false)
}

/// `bpf_ringbuf_discard(record, flags)`.
pub(super) fn discard(run: &mut Run<'_>, [record, flags, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    commit(run, record, flags, true)
}

#[inline]
fn commit(run: &mut Run<'_>, start: u64, flags: u64, discard: bool) -> Result<u64, Box<Fault>> {
    let helper = if discard { 133 } else { 132 };
    match run.memory.held.record(start) {
        Some(Record { ring, of_dynptr: false, .. }) => {
            run.memory.give_up(start);
            let done = run.map(ring, helper)?.commit(start, flags, discard);
            done.map(|()| 0).map_err(|_| not_held(run, start, helper))
        }
        _ => Err(not_held(run, start, helper)),
    }
}

#[cold]
fn not_held(run: &Run<'_>, record: u64, helper: u32) -> Box<Fault> {
    let what = if record == 0 {
        "its record is null: bpf_ringbuf_reserve found no room, which the program must test".to_owned()
    } else {
        let place = run.memory.describe(record);
        format!(
            "{place} is no reserved record: a record that bpf_ringbuf_reserve returned is submitted or discarded once, by \
             the program that reserved it"
        )
    };
    Box::new(Fault::Helper { id: helper, what })
}

/// `bpf_ringbuf_query(ringbuf, what)`: 0 bytes not consumed, 1 size, 2 consumer position, 3 producer position.
pub(super) fn query(run: &mut Run<'_>, [ringbuf, what, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(ringbuf, 134)?;
    if map.spec().kind != MapKind::RingBuf {
        wrong_map(map, 134)?;
    }
    Ok(map.query(what))
}
