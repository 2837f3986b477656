//! Ring buffer: records of any length, reserved and committed by programs, consumed in order by the bench.
//!
//! Layout of a record (Linux's `bpf_ringbuf_hdr`): `len: u32` with the busy bit 31 and the discard bit 30,
//! `pg_off: u32` (pages from the start of the ring to the header), payload; all padded to 8. Positions are u64 that
//! only grow. Linux maps the data area twice, so that a record that wraps is contiguous; here the arena is twice as
//! long and a wrapping record runs on into the second half, whose mirror in the first half then stays unused.

use parking_lot::Mutex;
use std::ptr::NonNull;

use crate::errno::Errno;
use crate::map::access::Access;
use crate::map::{Map, MapSpec};
use crate::memory::{Arena, Bytes, Region, Window};

/// The record is reserved and not yet committed.
const BUSY: u32 = 1 << 31;
/// The record was discarded: the consumer passes over it.
const DISCARD: u32 = 1 << 30;
/// Bytes of a record's header.
const HEADER: u64 = 8;
/// The largest payload (`UINT_MAX / 4`).
const MAX_PAYLOAD: u64 = u32::MAX as u64 / 4;
/// Page size, for `pg_off`.
const PAGE: u64 = 4096;

/// `bpf_ringbuf_query`: bytes not yet consumed.
pub const BPF_RB_AVAIL_DATA: u64 = 0;
/// `bpf_ringbuf_query`: bytes of the ring.
pub const BPF_RB_RING_SIZE: u64 = 1;
/// `bpf_ringbuf_query`: consumer position.
pub const BPF_RB_CONS_POS: u64 = 2;
/// `bpf_ringbuf_query`: producer position.
pub const BPF_RB_PROD_POS: u64 = 3;

/// A ring buffer.
pub(super) struct RingBuf {
    spec: MapSpec,
    access: Access,
    arena: Arena,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    consumer: u64,
    producer: u64,
    /// Records reserved and not yet committed, by position.
    reserved: Vec<Reserved>,
    /// Records that the consumer will still get or that are reserved.
    records: usize,
}

#[derive(Clone, Copy)]
struct Reserved {
    position: u64,
    payload: u32,
}

impl RingBuf {
    /// An empty ring of `max_entries` bytes.
    pub(super) fn new(spec: MapSpec) -> Result<RingBuf, Errno> {
        let arena = Arena::new((spec.max_entries as usize).checked_mul(2).ok_or(Errno::ENOMEM)?)?;
        Ok(RingBuf { access: Access::new(spec.flags), arena, ring: Mutex::default(), spec })
    }

    fn size(&self) -> u64 {
        u64::from(self.spec.max_entries)
    }

    /// Offset in the arena of the record at a position.
    fn offset(&self, position: u64) -> u64 {
        position & (self.size() - 1)
    }

    fn header(&self, position: u64) -> *mut u32 {
        // The header is 8 bytes on a multiple of 8 below the size, so inside the first half and aligned.
        self.arena.as_ptr().wrapping_add(self.offset(position) as usize).cast()
    }

    /// The reserved record whose bytes, header included, hold an address: its index in `ring.reserved`, and the
    /// offset from its header.
    fn find(&self, ring: &Ring, address: u64) -> Option<(usize, u64)> {
        let offset = self.arena.offset_of(address)? as u64;
        // The position of this byte of the ring, if it is one that is in use.
        let position = ring.consumer + (offset.wrapping_sub(ring.consumer) & (self.size() - 1));
        let index = ring.reserved.partition_point(|record| record.position <= position).checked_sub(1)?;
        let record = ring.reserved[index];
        // The other half of the arena has a byte of the same position: only one is the record's.
        let within = offset.checked_sub(self.offset(record.position))?;
        (within < HEADER + u64::from(record.payload)).then_some((index, within))
    }
}

/// Bytes that a record takes in the ring.
fn padded(payload: u64) -> u64 {
    (HEADER + payload).next_multiple_of(8)
}

impl Region for RingBuf {
    fn window(&self, address: u64) -> Option<Window> {
        let ring = self.ring.lock();
        let (index, within) = self.find(&ring, address)?;
        let start = address - within.checked_sub(HEADER)?;
        Some(Window { start, len: u64::from(ring.reserved[index].payload), writable: true })
    }

    fn describe(&self, address: u64) -> Option<String> {
        let offset = self.arena.offset_of(address)? as u64;
        let ring = self.ring.lock();
        Some(match self.find(&ring, address) {
            Some((index, within)) if within >= HEADER => {
                format!("{}[record at {}]+{}", self.spec.name, ring.reserved[index].position, within - HEADER)
            }
            _ => format!("{}[ring]+{}", self.spec.name, offset % self.size()),
        })
    }
}

impl Map for RingBuf {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn update(&self, _cpu: u32, _key: Bytes<'_>, _value: Bytes<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn delete(&self, _key: Bytes<'_>) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn reserve(&self, size: u64) -> Result<NonNull<u8>, Errno> {
        let mut ring = self.ring.lock();
        // One byte of the ring always stays unused, as on Linux.
        if size > MAX_PAYLOAD || ring.producer + padded(size) - ring.consumer > self.size() - 1 {
            return Err(Errno::EAGAIN);
        }
        let payload = size as u32;
        let position = ring.producer;
        let header = self.header(position);
        // SAFETY: the header lies in the arena, aligned; the lock orders everyone who reads or writes headers.
        unsafe {
            header.write((payload | BUSY).to_le());
            header.add(1).write(((self.offset(position) / PAGE) as u32).to_le());
        }
        ring.producer += padded(size);
        ring.records += 1;
        ring.reserved.push(Reserved { position, payload });
        NonNull::new(header.cast::<u8>().wrapping_add(HEADER as usize)).ok_or(Errno::EFAULT)
    }

    /// The wakeup flags (1 no wakeup, 2 force it) have nothing to wake here; like Linux, which checks them in
    /// `bpf_ringbuf_output` only, this takes any.
    fn commit(&self, record: u64, _flags: u64, discard: bool) -> Result<(), Errno> {
        let mut ring = self.ring.lock();
        let index = match self.find(&ring, record.wrapping_sub(HEADER)) {
            Some((index, 0)) => index,
            _ => return Err(Errno::EINVAL),
        };
        let Reserved { position, payload } = ring.reserved.remove(index);
        let word = if discard { payload | DISCARD } else { payload };
        // SAFETY: as in `reserve`.
        unsafe { self.header(position).write(word.to_le()) };
        if discard {
            ring.records -= 1;
        }
        Ok(())
    }

    fn query(&self, what: u64) -> u64 {
        let ring = self.ring.lock();
        match what {
            BPF_RB_AVAIL_DATA => ring.producer - ring.consumer,
            BPF_RB_RING_SIZE => self.size(),
            BPF_RB_CONS_POS => ring.consumer,
            BPF_RB_PROD_POS => ring.producer,
            _ => 0,
        }
    }

    fn lookup_user(&self, _key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        Err(Errno::ENOTSUPP)
    }

    fn update_user(&self, _key: &[u8], _value: &[u8], flags: u64) -> Result<(), Errno> {
        self.access.update(flags)?;
        Err(Errno::ENOTSUPP)
    }

    fn delete_user(&self, _key: &[u8]) -> Result<(), Errno> {
        self.access.write()?;
        Err(Errno::ENOTSUPP)
    }

    fn lookup_and_delete_user(&self, _key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)?;
        Err(Errno::ENOTSUPP)
    }

    fn next_key_user(&self, _key: Option<&[u8]>, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        Err(Errno::ENOTSUPP)
    }

    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.access.batch(read, write)
    }

    fn freeze(&self) -> Result<(), Errno> {
        self.access.freeze()
    }

    fn dump_user(&self, _keys: &mut Vec<u8>, _values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.access.read()?;
        Err(Errno::ENOTSUPP)
    }

    fn len(&self) -> usize {
        self.ring.lock().records
    }

    fn consume_user(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        let mut ring = self.ring.lock();
        while ring.consumer < ring.producer {
            let header = self.header(ring.consumer);
            // SAFETY: the header of a record lies in the arena, aligned, written by `reserve`; the lock is held.
            let word = u32::from_le(unsafe { header.read() });
            if word & BUSY != 0 {
                return Ok(false);
            }
            let payload = (word & !DISCARD) as usize;
            ring.consumer += padded(payload as u64);
            if word & DISCARD == 0 {
                let old = out.len();
                out.resize(old + payload, 0);
                // SAFETY: the payload follows its header in the arena, whose second half holds what wraps; `out` is
                // a block apart.
                unsafe {
                    let from = header.cast::<u8>().add(HEADER as usize);
                    std::ptr::copy_nonoverlapping(from, out.as_mut_ptr().add(old), payload);
                }
                ring.records -= 1;
                return Ok(true);
            }
        }
        Ok(false)
    }
}
