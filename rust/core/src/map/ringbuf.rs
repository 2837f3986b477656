//! Ring buffer: records of any length, reserved and committed by programs, consumed in order by the bench.
//!
//! Layout of a record (Linux's `bpf_ringbuf_hdr`): `len: u32` with the busy bit 31 and the discard bit 30,
//! `pg_off: u32` (pages from the start of the kernel's ring to the header), payload; all padded to 8. Positions are u64
//! that only grow. Linux maps the data area twice, so that a record that wraps is contiguous. Here the arena is longer by
//! the longest record: one that wraps runs on into the part behind the end, which is made equal to the beginning when it
//! is reserved, and the beginning to that when it is committed.

use std::collections::BTreeMap;
use std::ptr::{NonNull, copy_nonoverlapping};

use crate::errno::Errno;
use crate::map::access::Access;
use crate::map::lock::Lock;
use crate::map::{Map, MapSpec, values};
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
/// Pages of the kernel's ring before its data: its own, the consumer's, the producer's.
const PAGES_BEFORE: u64 = 3;

/// `bpf_ringbuf_query`: bytes not yet consumed.
pub const BPF_RB_AVAIL_DATA: u64 = 0;
/// `bpf_ringbuf_query`: bytes of the ring.
pub const BPF_RB_RING_SIZE: u64 = 1;
/// `bpf_ringbuf_query`: consumer position.
pub const BPF_RB_CONS_POS: u64 = 2;
/// `bpf_ringbuf_query`: producer position.
pub const BPF_RB_PROD_POS: u64 = 3;

/// A commit wakes nobody.
pub const BPF_RB_NO_WAKEUP: u64 = 1;
/// A commit wakes the consumer, wherever that is.
pub const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// A ring buffer.
pub(super) struct RingBuf {
    spec: MapSpec,
    access: Access,
    arena: Arena,
    ring: Lock<Ring>,
}

struct Ring {
    consumer: u64,
    producer: u64,
    /// The record that was reserved last, if it is not yet committed: nearly always the next to be.
    newest: Option<Record>,
    /// Payload of each of the other records that are reserved and not yet committed, by position.
    older: BTreeMap<u64, u32>,
    /// Records that the consumer will still get or that are reserved.
    records: usize,
    wakeups: u64,
}

/// A record.
#[derive(Clone, Copy)]
struct Record {
    position: u64,
    payload: u32,
}

impl Record {
    /// The position behind it.
    fn end(self) -> u64 {
        self.position + padded(self.payload.into())
    }
}

impl Ring {
    /// The last record reserved and not yet committed that begins at or before a position.
    fn at_or_before(&self, position: u64) -> Option<Record> {
        let older = || self.older.range(..=position).next_back();
        self.newest
            .filter(|newest| newest.position <= position)
            .or_else(|| older().map(|(&position, &payload)| Record { position, payload }))
    }
}

impl RingBuf {
    /// An empty ring of `max_entries` bytes.
    pub(super) fn new(spec: MapSpec) -> Result<RingBuf, Errno> {
        let size = u64::from(spec.max_entries);
        let arena = Arena::new(usize::try_from(size + size.min(padded(MAX_PAYLOAD))).map_err(|_| Errno::ENOMEM)?)?;
        let ring = Ring { consumer: 0, producer: 0, newest: None, older: BTreeMap::new(), records: 0, wakeups: 0 };
        Ok(RingBuf { access: Access::new(spec.flags), arena, ring: Lock::new(ring), spec })
    }

    fn size(&self) -> u64 {
        u64::from(self.spec.max_entries)
    }

    /// Offset in the arena of the record at a position.
    fn offset(&self, position: u64) -> u64 {
        position & (self.size() - 1)
    }

    fn header(&self, position: u64) -> *mut u64 {
        // The header is 8 bytes on a multiple of 8 below the size, so before the part behind the end, and aligned.
        self.arena.as_ptr().wrapping_add(self.offset(position) as usize).cast()
    }

    /// The position of the byte at an address, if that is of the ring: the first that is not consumed.
    fn position_of(&self, ring: &Ring, address: u64) -> Option<u64> {
        let offset = self.arena.offset_of(address)? as u64;
        Some(ring.consumer + (offset.wrapping_sub(ring.consumer) & (self.size() - 1)))
    }

    /// Takes the record whose header is at an address out of those reserved, if it is not the newest.
    #[cold]
    fn take_older(&self, ring: &mut Ring, header: u64) -> Option<Record> {
        // Behind the end there are no headers.
        let in_ring = header.wrapping_sub(self.arena.address()) < self.size();
        let position = self.position_of(ring, header).filter(|_| in_ring)?;
        ring.older.remove(&position).map(|payload| Record { position, payload })
    }

    /// How many bytes of a record lie behind the end.
    fn behind_end(&self, Record { position, payload }: Record) -> usize {
        (self.offset(position) + HEADER + u64::from(payload)).saturating_sub(self.size()) as usize
    }

    /// The beginning of the ring and the part behind its end: the same bytes on Linux.
    fn twins(&self) -> [*mut u8; 2] {
        [self.arena.as_ptr(), self.arena.as_ptr().wrapping_add(self.size() as usize)]
    }

    /// The room for a record, taken; its header is the caller's to write.
    #[inline]
    fn take_room(&self, ring: &mut Ring, size: u64) -> Result<Record, Errno> {
        // One byte of the ring always stays unused, as on Linux.
        if size > MAX_PAYLOAD || ring.producer + padded(size) - ring.consumer > self.size() - 1 {
            return Err(Errno::EAGAIN);
        }
        let record = Record { position: ring.producer, payload: size as u32 };
        ring.producer += padded(size);
        ring.records += 1;
        Ok(record)
    }

    /// Writes the header of a record, whose length has these bits besides.
    #[inline]
    fn write_header(&self, Record { position, payload }: Record, bits: u32) {
        let page = PAGES_BEFORE + self.offset(position) / PAGE;
        let header = page << 32 | u64::from(payload | bits);
        // SAFETY: the header lies in the arena, aligned; the lock, which the caller holds, orders everyone who reads or
        // writes headers, and no program reaches one: what it reaches are payloads of records that it has reserved.
        unsafe { self.header(position).write(header.to_le()) };
    }

    /// The first submitted record from a position on, past those that are discarded; else where one may come to be.
    fn submitted(&self, ring: &Ring, mut position: u64) -> Result<Record, u64> {
        while position < ring.producer {
            // SAFETY: the header of a record lies in the arena, aligned, written by `write_header`; the lock is held.
            let word = u64::from_le(unsafe { self.header(position).read() }) as u32;
            if word & BUSY != 0 {
                break;
            }
            let record = Record { position, payload: word & !DISCARD };
            if word & DISCARD == 0 {
                return Ok(record);
            }
            position = record.end();
        }
        Err(position)
    }

    /// Whether the commit of the record at a position wakes the consumer: by default where that has come up to it.
    #[inline]
    fn notify(ring: &mut Ring, position: u64, flags: u64) {
        let wakes = flags & BPF_RB_FORCE_WAKEUP != 0 || (flags & BPF_RB_NO_WAKEUP == 0 && ring.consumer == position);
        ring.wakeups += u64::from(wakes);
    }
}

/// Bytes that a record takes in the ring.
fn padded(payload: u64) -> u64 {
    (HEADER + payload).next_multiple_of(8)
}

impl Region for RingBuf {
    /// None: a record is for the run that has reserved it, and that run knows where.
    fn window(&self, _address: u64) -> Option<Window> {
        None
    }

    fn describe(&self, address: u64) -> Option<String> {
        let offset = self.arena.offset_of(address)? as u64;
        let ring = self.ring.lock();
        let record = self.position_of(&ring, address).and_then(|position| {
            let Record { position: start, payload } = ring.at_or_before(position)?;
            let within = position.checked_sub(start + HEADER)?;
            (within < payload.into()).then(|| format!("{}[record at {start}]+{within}", self.spec.name))
        });
        Some(record.unwrap_or_else(|| format!("{}[ring]+{}", self.spec.name, offset % self.size())))
    }
}

impl Map for RingBuf {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.ring.set_alone(alone) };
    }

    fn update(&self, _cpu: u32, _key: Bytes<'_>, _value: Bytes<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn delete(&self, _key: Bytes<'_>) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn output(&self, data: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let mut ring = self.ring.lock();
        let record = self.take_room(&mut ring, data.len() as u64)?;
        let (header, behind) = (self.header(record.position), self.behind_end(record));
        // SAFETY: the payload lies behind its header in the arena, which holds what wraps; the lock orders everyone who
        // reads or writes records that are not reserved. `copy_to` allows an overlap.
        unsafe { data.copy_to(header.cast::<u8>().add(HEADER as usize)) };
        if behind > 0 {
            let [beginning, part] = self.twins();
            // SAFETY: both are that long, and a record is shorter than the ring, so they do not overlap.
            unsafe { copy_nonoverlapping(part, beginning, behind) };
        }
        self.write_header(record, 0);
        Self::notify(&mut ring, record.position, flags);
        Ok(())
    }

    fn reserve(&self, size: u64) -> Result<NonNull<u8>, Errno> {
        let mut ring = self.ring.lock();
        let record = self.take_room(&mut ring, size)?;
        self.write_header(record, BUSY);
        if let Some(older) = ring.newest.replace(record) {
            ring.older.insert(older.position, older.payload);
        }
        let behind = self.behind_end(record);
        if behind > 0 {
            let [beginning, part] = self.twins();
            // SAFETY: as in `output`.
            unsafe { copy_nonoverlapping(beginning, part, behind) };
        }
        let payload = self.header(record.position).cast::<u8>().wrapping_add(HEADER as usize);
        NonNull::new(payload).ok_or(Errno::EFAULT)
    }

    /// Like Linux, which checks flags in `bpf_ringbuf_output` only, this takes any; those that mean nothing do nothing.
    fn commit(&self, record: u64, flags: u64, discard: bool) -> Result<(), Errno> {
        let mut ring = self.ring.lock();
        let header = record.wrapping_sub(HEADER);
        let reserved = match ring.newest {
            Some(newest) if self.header(newest.position) as u64 == header => ring.newest.take(),
            _ => self.take_older(&mut ring, header),
        };
        let reserved = reserved.ok_or(Errno::EINVAL)?;
        let behind = self.behind_end(reserved);
        if behind > 0 {
            let [beginning, part] = self.twins();
            // SAFETY: as in `output`.
            unsafe { copy_nonoverlapping(part, beginning, behind) };
        }
        self.write_header(reserved, if discard { DISCARD } else { 0 });
        if discard {
            ring.records -= 1;
        }
        Self::notify(&mut ring, reserved.position, flags);
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

    fn wakeups_user(&self) -> Result<u64, Errno> {
        Ok(self.ring.lock().wakeups)
    }

    fn record_sizes_user(&self, out: &mut Vec<u32>) -> Result<(), Errno> {
        let ring = self.ring.lock();
        let mut position = ring.consumer;
        while let Ok(record) = self.submitted(&ring, position) {
            position = record.end();
            out.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            out.push(record.payload);
        }
        Ok(())
    }

    fn consume_user(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        let mut ring = self.ring.lock();
        let record = match self.submitted(&ring, ring.consumer) {
            Ok(record) => record,
            Err(end) => {
                ring.consumer = end;
                return Ok(false);
            }
        };
        values::make_room(out, 1, record.payload as usize)?;
        // SAFETY: the payload follows its header in the arena, which holds what wraps, and no program reaches a record that
        // is submitted; `out` is a block apart.
        out.extend_from_slice(unsafe {
            let start = self.header(record.position).cast::<u8>().add(HEADER as usize);
            std::slice::from_raw_parts(start, record.payload as usize)
        });
        ring.consumer = record.end();
        ring.records -= 1;
        Ok(true)
    }
}
