//! Ring buffers.

use super::Run;
use crate::errno::Errno;
use crate::fault::Fault;
use crate::memory::Window;

/// `BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP`: the flags that `bpf_ringbuf_output` takes.
const WAKEUP_FLAGS: u64 = 1 | 2;

/// `bpf_ringbuf_output(ringbuf, data, size, flags)`: `EINVAL` for other flags, `EAGAIN` where there is no room, also
/// where there never can be.
pub(super) fn output(run: &mut Run<'_>, [ringbuf, data, size, flags, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(ringbuf, 130)?;
    let data = run.memory.bytes(data, size as usize)?;
    if flags & !WAKEUP_FLAGS != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    let record = match map.reserve(size) {
        Ok(record) => record,
        Err(errno) => return Ok(errno.to_r0()),
    };
    // SAFETY: a reserved record has `size` writable bytes (`Map::reserve`), as many as `data` has.
    unsafe { data.copy_to(record.as_ptr()) };
    Ok(map.commit(record.as_ptr() as u64, flags, false).map_or_else(Errno::to_r0, |()| 0))
}

/// `bpf_ringbuf_reserve(ringbuf, size, flags)`: a record, or null where there is no room or `flags` is not 0.
pub(super) fn reserve(run: &mut Run<'_>, [ringbuf, size, flags, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(ringbuf, 131)?;
    if flags != 0 {
        return Ok(0);
    }
    let Ok(record) = map.reserve(size) else { return Ok(0) };
    let start = record.as_ptr() as u64;
    // SAFETY: a reserved record is `size` writable bytes of a map (`Map::reserve`), which the run borrows for as long
    // as its memory.
    unsafe { run.memory.expect(Window { start, len: size, writable: true }) };
    run.memory.reserved(start);
    Ok(start)
}

impl Run<'_> {
    /// The fault of a run that has ended with a record reserved. Linux's verifier refuses a program that can ("Unreleased
    /// reference").
    #[cold]
    #[must_use]
    pub fn unreleased(&self) -> Box<Fault> {
        let record = self.memory.outstanding().first().map_or_else(String::new, |record| self.memory.describe(*record));
        let what = format!(
            "{record} was reserved and neither submitted nor discarded; on every path to exit the program must do one of \
             them"
        );
        Box::new(Fault::Helper { id: 131, what })
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

fn commit(run: &mut Run<'_>, record: u64, flags: u64, discard: bool) -> Result<u64, Box<Fault>> {
    if run.commit(record, flags, discard).is_ok() {
        run.memory.released(record);
        return Ok(0);
    }
    let what = if record == 0 {
        "its record is null: bpf_ringbuf_reserve found no room, which the program must test".to_owned()
    } else {
        let place = run.memory.describe(record);
        format!(
            "{place} is no reserved record: a record that bpf_ringbuf_reserve returned is submitted or discarded once"
        )
    };
    Err(Box::new(Fault::Helper { id: if discard { 133 } else { 132 }, what }))
}

/// `bpf_ringbuf_query(ringbuf, what)`: 0 bytes not consumed, 1 size, 2 consumer position, 3 producer position.
pub(super) fn query(run: &mut Run<'_>, [ringbuf, what, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.map(ringbuf, 134)?.query(what))
}
