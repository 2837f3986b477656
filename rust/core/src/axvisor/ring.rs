//! kbpf-basic's ring buffer, reached as its helpers and its consumers reach it.
//!
//! Its functions are private; what is public is the table of helpers, in which each is cast to the type of a helper.
//! They are cast back here. Its consumers are processes that map the ring into their memory, so the consumer here
//! reads the mapped pages: the consumer's position, the producer's, the data (Linux's layout).

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kbpf_basic::helper::{RawBPFHelperFn, init_helper_functions};
use kbpf_basic::map::UnifiedMap;

use super::ops::{Kernel, PAGE, guarded};
use crate::errno::Errno;

/// The record is reserved and not yet committed.
const BUSY: u32 = 1 << 31;
/// The record was discarded.
const DISCARD: u32 = 1 << 30;
/// Bytes of a record's header.
const HEADER: u64 = 8;

/// kbpf-basic's own functions, by what they do.
struct Functions {
    reserve: fn(*mut c_void, u64, u64) -> *mut u8,
    submit: fn(*const u8, u64) -> i64,
    discard: fn(*const u8, u64) -> i64,
    query: fn(*mut c_void, u64) -> u64,
}

static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();

fn functions() -> Result<&'static Functions, Errno> {
    let find = || {
        let table: BTreeMap<u32, RawBPFHelperFn> = init_helper_functions::<Kernel>();
        // The ids are Linux's: bpf_ringbuf_reserve, _submit, _discard, _query.
        let [reserve, submit, discard, query] = [131, 132, 133, 134].map(|id| table.get(&id).copied());
        // SAFETY: kbpf-basic 0.5.5, the one version that Cargo.toml allows, has put functions of exactly these types
        // into its table under these ids.
        unsafe {
            Some(Functions {
                reserve: std::mem::transmute::<RawBPFHelperFn, fn(*mut c_void, u64, u64) -> *mut u8>(reserve?),
                submit: std::mem::transmute::<RawBPFHelperFn, fn(*const u8, u64) -> i64>(submit?),
                discard: std::mem::transmute::<RawBPFHelperFn, fn(*const u8, u64) -> i64>(discard?),
                query: std::mem::transmute::<RawBPFHelperFn, fn(*mut c_void, u64) -> u64>(query?),
            })
        }
    };
    FUNCTIONS.get_or_init(find).as_ref().ok_or(Errno::EOPNOTSUPP)
}

/// Where a ring buffer lies, and which of its records are reserved.
#[derive(Debug)]
pub(super) struct Ring {
    /// Address of its first page, behind which come the consumer's, the producer's and the data.
    start: usize,
    /// Bytes of data, a power of two.
    size: u64,
    /// Reserved records: address and length of the payload.
    reserved: Vec<(u64, u64)>,
}

impl Ring {
    /// The ring of `size` bytes that `vmap` has put at `start`.
    pub(super) fn new(start: usize, size: u32) -> Ring {
        Ring { start, size: u64::from(size), reserved: Vec::new() }
    }

    fn position(&self, page: usize) -> &AtomicU64 {
        // SAFETY: kbpf-basic has the position at the start of this page, aligned, and accesses it as an atomic; the
        // pages live as long as the map, which owns this too.
        unsafe { AtomicU64::from_ptr((self.start + page * PAGE) as *mut u64) }
    }

    fn consumer(&self) -> &AtomicU64 {
        self.position(1)
    }

    fn producer(&self) -> u64 {
        self.position(2).load(Ordering::Acquire)
    }

    /// Address of the record at a position.
    fn record(&self, position: u64) -> usize {
        self.start + 3 * PAGE + (position & (self.size - 1)) as usize
    }

    fn header(&self, position: u64) -> u32 {
        // SAFETY: a header lies at each position between consumer and producer: 8 aligned bytes below `size`, which
        // kbpf-basic accesses as atomics once they are there.
        unsafe { AtomicU32::from_ptr(self.record(position) as *mut u32) }.load(Ordering::Acquire)
    }

    pub(super) fn reserve(&mut self, map: &mut UnifiedMap, size: u64) -> Result<u64, Errno> {
        let reserve = functions()?.reserve;
        let record = guarded(|| Ok(reserve(std::ptr::from_mut(map).cast(), size, 0)))? as u64;
        if record == 0 {
            return Err(Errno::EAGAIN);
        }
        self.reserved.push((record, size));
        Ok(record)
    }

    /// kbpf-basic takes any address for that of a record; only those that it gave are handed to it.
    pub(super) fn commit(&mut self, record: u64, flags: u64, discard: bool) -> Result<(), Errno> {
        let index = self.reserved.iter().position(|(start, _)| *start == record).ok_or(Errno::EINVAL)?;
        let functions = functions()?;
        let commit = if discard { functions.discard } else { functions.submit };
        let errno = guarded(|| Ok(commit(record as *const u8, flags)))?;
        if errno != 0 {
            return Err(Errno(i32::try_from(errno.abs()).unwrap_or(Errno::EINVAL.0)));
        }
        self.reserved.remove(index);
        Ok(())
    }

    pub(super) fn query(&self, map: &mut UnifiedMap, what: u64) -> u64 {
        let Ok(functions) = functions() else { return 0 };
        guarded(|| Ok((functions.query)(std::ptr::from_mut(map).cast(), what))).unwrap_or(0)
    }

    /// The reserved record around an address.
    pub(super) fn find(&self, address: u64) -> Option<(u64, u64)> {
        self.reserved.iter().copied().find(|(start, len)| address.wrapping_sub(*start) < *len)
    }

    /// Records that a consumer will still get, busy ones among them.
    pub(super) fn len(&self) -> usize {
        let (mut position, producer) = (self.consumer().load(Ordering::Acquire), self.producer());
        let mut records = 0;
        while position < producer {
            let word = self.header(position);
            records += usize::from(word & DISCARD == 0);
            position += padded(word & !(BUSY | DISCARD));
        }
        records
    }

    /// Sizes of the records that [`Ring::consume`] would give, the oldest first.
    pub(super) fn sizes(&self) -> Vec<u32> {
        let (mut position, producer) = (self.consumer().load(Ordering::Acquire), self.producer());
        let mut sizes = Vec::new();
        while position < producer {
            let word = self.header(position);
            if word & BUSY != 0 {
                break;
            }
            sizes.extend((word & DISCARD == 0).then_some(word));
            position += padded(word & !DISCARD);
        }
        sizes
    }

    /// Takes the oldest record, if it is not busy.
    pub(super) fn consume(&mut self, out: &mut Vec<u8>) -> bool {
        loop {
            let position = self.consumer().load(Ordering::Acquire);
            if position >= self.producer() {
                return false;
            }
            let word = self.header(position);
            if word & BUSY != 0 {
                return false;
            }
            let payload = word & !DISCARD;
            if word & DISCARD == 0 {
                let old = out.len();
                out.resize(old + payload as usize, 0);
                // SAFETY: the payload follows its header, as far as twice the ring's data goes; `out` is a block apart.
                unsafe {
                    let from = (self.record(position) as u64 + HEADER) as *const u8;
                    std::ptr::copy_nonoverlapping(from, out.as_mut_ptr().add(old), payload as usize);
                }
            }
            self.consumer().store(position + padded(payload), Ordering::Release);
            if word & DISCARD == 0 {
                return true;
            }
        }
    }
}

/// Bytes that a record takes in the ring.
fn padded(payload: u32) -> u64 {
    (HEADER + u64::from(payload)).next_multiple_of(8)
}
