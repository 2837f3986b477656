//! Dynptrs: pointers to memory whose size the program need not know when it is verified.
//!
//! What the program has of one is 16 bytes on its stack that mean nothing: the run knows what they stand for, by where
//! they are. So nothing that a program writes there leads it anywhere; it only makes the helpers refuse. What they refuse
//! is what Linux's verifier refuses; the first words are its words.

use super::inner::InnerMaps;
use super::{Run, wrong_map};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::held::{DYNPTR, Dynptr, Record};
use crate::map::MapKind;
use crate::memory::{BytesMut, Region, Window};

/// The largest size of a dynptr.
const MAX_SIZE: u32 = (1 << 24) - 1;

const FROM_MEM: u32 = 197;
const RESERVE: u32 = 198;
const SUBMIT: u32 = 199;
const DISCARD: u32 = 200;
const READ: u32 = 201;
const WRITE: u32 = 202;
const DATA: u32 = 203;

fn refused(id: u32, what: String) -> Box<Fault> {
    Box::new(Fault::Helper { id, what })
}

impl<'r> Run<'r> {
    /// The bytes of the stack at an address that may hold a dynptr: a multiple of 8 below the end of one frame.
    fn dynptr_slot(&mut self, id: u32, at: u64) -> Result<BytesMut<'r>, Box<Fault>> {
        let below = self.memory.below_frame_end(at);
        if below.is_some_and(|below| below >= DYNPTR && below.is_multiple_of(8)) {
            return self.memory.bytes_mut(at, DYNPTR as usize);
        }
        let place = self.memory.describe(at);
        let what = match below {
            Some(_) => format!(
                "cannot pass in dynptr at an offset: {place} is no multiple of 8 with {DYNPTR} bytes in its frame, which a \
                 dynptr takes"
            ),
            None => format!("{place} is not on the stack, and a dynptr lies there"),
        };
        Err(refused(id, what))
    }

    /// Makes a dynptr in a place of the stack; null where `start` is 0.
    fn make_dynptr(&mut self, id: u32, at: u64, start: u64, size: u32, of_record: bool) -> Result<(), Box<Fault>> {
        let mut slot = self.dynptr_slot(id, at)?;
        let [one, two] = self.memory.held.make_dynptr(at, start, size, of_record).map(u64::to_ne_bytes);
        slot.fill_from(&[one, two].concat());
        Ok(())
    }

    /// That a place of the stack can take a new dynptr.
    fn vacant(&mut self, id: u32, at: u64) -> Result<(), Box<Fault>> {
        self.dynptr_slot(id, at)?;
        match self.memory.held.dynptrs_around(at).find(|(_, dynptr)| dynptr.of_record) {
            None => Ok(()),
            Some((other, _)) => {
                let place = self.memory.describe(other);
                let what = format!(
                    "cannot overwrite referenced dynptr: {place} was reserved and neither submitted nor discarded"
                );
                Err(refused(id, what))
            }
        }
    }

    /// The dynptr in a place of the stack, which is argument number `n`.
    fn dynptr(&mut self, id: u32, n: u32, at: u64) -> Result<Dynptr, Box<Fault>> {
        self.dynptr_slot(id, at)?;
        let missing = |run: &Run<'_>, why: &str| {
            let place = run.memory.describe(at);
            // The verifier counts from 0.
            Err(refused(id, format!("Expected an initialized dynptr as arg #{}: {place} {why}", n - 1)))
        };
        let Some(dynptr) = self.memory.held.dynptr(at) else {
            return missing(self, "is none that a helper has made");
        };
        let [one, two] = dynptr.token.map(u64::to_ne_bytes);
        if self.memory.bytes(at, DYNPTR as usize)?.to_vec() != [one, two].concat() {
            return missing(self, "was one, which the program has overwritten");
        }
        Ok(dynptr)
    }

    /// The value of a map around an address.
    fn map_window(&self, address: u64) -> Option<Window> {
        let inner = || self.inner.into_iter().flat_map(InnerMaps::newest_first);
        self.maps.window(address).or_else(|| inner().find_map(|map| map.window(address)))
    }
}

impl Dynptr {
    /// Where `len` bytes from an offset on are.
    fn part(&self, offset: u32, len: u32) -> Result<u64, Errno> {
        if len > self.size || offset > self.size - len {
            return Err(Errno::E2BIG);
        }
        Ok(self.start + u64::from(offset))
    }
}

/// `bpf_dynptr_from_mem(data, size, flags, ptr)`: `E2BIG` from 2^24 on, `EINVAL` for flags; both leave a null dynptr.
/// The memory is that of a map's value.
pub(super) fn from_mem(run: &mut Run<'_>, [data, size, flags, ptr, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    run.vacant(FROM_MEM, ptr)?;
    run.memory.bytes_mut(data, size as usize)?;
    // Nothing of a value may also begin where it ends.
    if run.map_window(data).or_else(|| run.map_window(data.wrapping_sub(1)).filter(|_| size == 0)).is_none() {
        let place = run.memory.describe(data);
        let what = format!("Unsupported reg type for bpf_dynptr_from_mem data: {place} is no value of a map");
        return Err(refused(FROM_MEM, what));
    }
    let size = size as u32;
    let result = match (size, flags) {
        (size, _) if size > MAX_SIZE => Err(Errno::E2BIG),
        (_, 0) => Ok(()),
        _ => Err(Errno::EINVAL),
    };
    let (start, size) = if result.is_ok() { (data, size) } else { (0, 0) };
    run.make_dynptr(FROM_MEM, ptr, start, size, false)?;
    Ok(result.map_or_else(Errno::to_r0, |()| 0))
}

/// `bpf_ringbuf_reserve_dynptr(ringbuf, size, flags, ptr)`: `EINVAL` for flags and where there is no room, `E2BIG` from
/// 2^24 on; all leave a null dynptr, which must be submitted or discarded too.
pub(super) fn reserve(run: &mut Run<'_>, [ringbuf, size, flags, ptr, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(ringbuf, RESERVE)?;
    if map.spec().kind != MapKind::RingBuf {
        wrong_map(map, RESERVE)?;
    }
    run.vacant(RESERVE, ptr)?;
    let size = size as u32;
    let reserved = if flags != 0 {
        Err(Errno::EINVAL)
    } else if size > MAX_SIZE {
        Err(Errno::E2BIG)
    } else {
        map.reserve(size.into()).map_err(|_| Errno::EINVAL)
    };
    match reserved {
        Ok(record) => {
            let start = record.as_ptr() as u64;
            // SAFETY: a reserved record is `size` writable bytes of a map (`Map::reserve`), which the run borrows for as
            // long as its memory.
            unsafe { run.memory.hold(Record { start, len: size.into(), ring: ringbuf, of_dynptr: true }) };
            run.make_dynptr(RESERVE, ptr, start, size, true)?;
            Ok(0)
        }
        Err(errno) => {
            run.make_dynptr(RESERVE, ptr, 0, 0, true)?;
            Ok(errno.to_r0())
        }
    }
}

/// `bpf_ringbuf_submit_dynptr(ptr, flags)`.
pub(super) fn submit(run: &mut Run<'_>, [ptr, flags, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    commit(run, ptr, flags, SUBMIT)
}

/// `bpf_ringbuf_discard_dynptr(ptr, flags)`.
pub(super) fn discard(run: &mut Run<'_>, [ptr, flags, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    commit(run, ptr, flags, DISCARD)
}

fn commit(run: &mut Run<'_>, ptr: u64, flags: u64, id: u32) -> Result<u64, Box<Fault>> {
    let dynptr = run.dynptr(id, 1, ptr)?;
    if !dynptr.of_record {
        let place = run.memory.describe(ptr);
        let what = format!("arg 1 is an unacquired reference: {place} is no dynptr of bpf_ringbuf_reserve_dynptr");
        return Err(refused(id, what));
    }
    run.memory.held.forget_dynptr(ptr);
    run.memory.bytes_mut(ptr, DYNPTR as usize)?.zero_from(0);
    if let Some(record) = run.memory.give_up(dynptr.start) {
        let committed = run.map(record.ring, id)?.commit(record.start, flags, id == DISCARD);
        committed.map_err(|errno| refused(id, format!("its record is gone: {errno}")))?;
    }
    Ok(0)
}

/// `bpf_dynptr_read(dst, len, src, offset, flags)`: `EINVAL` for flags and from a null dynptr, then `E2BIG` where the
/// bytes are not all inside.
pub(super) fn read(run: &mut Run<'_>, [dst, len, src, offset, flags]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let dynptr = run.dynptr(READ, 3, src)?;
    let mut to = run.memory.bytes_mut(dst, len as usize)?;
    if dynptr.start == 0 || flags != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    let from = match dynptr.part(offset as u32, len as u32) {
        Ok(start) => run.memory.bytes(start, to.len())?,
        Err(errno) => return Ok(errno.to_r0()),
    };
    // SAFETY: `to` has as many writable bytes.
    unsafe { from.copy_to(to.as_mut_ptr()) };
    Ok(0)
}

/// `bpf_dynptr_write(dst, offset, src, len, flags)`: `EINVAL` to a null dynptr, `E2BIG` where the bytes do not all fit
/// inside, then `EINVAL` for flags.
pub(super) fn write(run: &mut Run<'_>, [dst, offset, src, len, flags]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let dynptr = run.dynptr(WRITE, 1, dst)?;
    let from = run.memory.bytes(src, len as usize)?;
    if dynptr.start == 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    let start = match dynptr.part(offset as u32, len as u32) {
        Ok(start) if flags == 0 => start,
        Ok(_) => return Ok(Errno::EINVAL.to_r0()),
        Err(errno) => return Ok(errno.to_r0()),
    };
    let mut to = run.memory.bytes_mut(start, from.len())?;
    // SAFETY: `to` has as many writable bytes.
    unsafe { from.copy_to(to.as_mut_ptr()) };
    Ok(0)
}

/// `bpf_dynptr_data(ptr, offset, len)`: the bytes themselves, or null where they are not all inside.
pub(super) fn data(run: &mut Run<'_>, [ptr, offset, len, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let dynptr = run.dynptr(DATA, 1, ptr)?;
    if dynptr.start == 0 {
        return Ok(0);
    }
    Ok(dynptr.part(offset as u32, len as u32).unwrap_or(0))
}
