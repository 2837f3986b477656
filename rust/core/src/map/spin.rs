//! Spin locks in values: a `struct bpf_spin_lock` in the BTF of a map's values, a word of four bytes.
//!
//! Programs take it with helper 93, bpf(2) and updates with `BPF_F_LOCK`. No copy of a value touches the word: an update
//! leaves it as it is, and whoever reads a value finds zero there. What may have one, and every errno, was measured on
//! Linux 6.18.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::errno::Errno;
use crate::map::MapSpec;
use crate::map::error::MapError;
use crate::map::kind::{BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, MapKind};
use crate::memory::Window;

/// Bytes of a lock, and what its offset is a multiple of.
pub const SPIN_LOCK: u32 = 4;

/// How long a thread waits, giving way to others, before it gives up. Who holds a lock calls nothing and soon lets go,
/// unless its run is being looked at instruction by instruction.
const PATIENCE: Duration = Duration::from_secs(1);

/// Words of a lock.
const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// A lock in a value.
#[derive(Clone, Copy, Debug)]
pub struct SpinLock<'m>(&'m AtomicU32);

impl<'m> SpinLock<'m> {
    /// The lock at an address.
    ///
    /// # Safety
    /// Four bytes on a multiple of four that stay valid memory for the whole of `'m`, and that nobody reaches but as a lock.
    #[must_use]
    pub unsafe fn at(address: *mut u8) -> SpinLock<'m> {
        // SAFETY: the caller answers for it.
        SpinLock(unsafe { AtomicU32::from_ptr(address.cast()) })
    }

    /// Takes the lock, once whoever has it lets go.
    ///
    /// # Errors
    /// `EBUSY` where nobody lets go.
    pub fn take(self) -> Result<(), Errno> {
        patiently(|| self.try_take().then_some(()))
    }

    /// Takes the lock, if nobody has it.
    pub(super) fn try_take(self) -> bool {
        self.0.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Lets go of the lock.
    pub fn release(self) {
        self.0.store(FREE, Ordering::Release);
    }

    /// Does something that does not panic under the lock.
    ///
    /// # Errors
    /// As [`SpinLock::take`].
    pub(super) fn under<T>(self, work: impl FnOnce() -> T) -> Result<T, Errno> {
        self.take()?;
        let done = work();
        self.release();
        Ok(done)
    }
}

/// Tries until something comes of it, and lets other threads go before each further try.
///
/// # Errors
/// `EBUSY` where nothing ever does.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> Result<T, Errno> {
    let mut since = None;
    loop {
        if let Some(done) = attempt() {
            return Ok(done);
        }
        if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err(Errno::EBUSY);
        }
        thread::yield_now();
    }
}

/// The part of a value that programs may touch around an address: all that is before its lock, or all that is behind it.
pub(super) fn beside(value: Window, lock: Option<u32>, address: u64) -> Option<Window> {
    let Some(lock) = lock else { return Some(value) };
    let (lock, offset) = (u64::from(lock), address - value.start);
    let behind = lock + u64::from(SPIN_LOCK);
    if offset < lock {
        Some(Window { len: lock, ..value })
    } else if offset >= behind {
        Some(Window { start: value.start + behind, len: value.len - behind, ..value })
    } else {
        None
    }
}

/// What [`crate::memory::Region::forbids`] answers of a value with a lock: an access that touches it is refused.
pub(super) fn touched(value: Window, lock: u32, address: u64, size: u64) -> Option<&'static str> {
    let lock = value.start + u64::from(lock);
    let touches = address < lock + u64::from(SPIN_LOCK) && address.saturating_add(size) > lock;
    touches.then_some("bpf_spin_lock cannot be accessed directly by load/store")
}

/// Whether values of such a map may have a lock at this offset.
pub(super) fn check(spec: &MapSpec, lock: u32) -> Result<(), MapError> {
    let (map, kind) = (|| spec.name.clone(), spec.kind);
    let access = spec.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG);
    // What Linux looks at first, where it takes types.
    if access != 0 && kind.has_types() {
        return Err(MapError::SpinLockAccess { map: map(), flags: access });
    }
    if !matches!(kind, MapKind::Array | MapKind::Hash) {
        return Err(MapError::SpinLockKind { map: map(), kind });
    }
    let fits = lock.is_multiple_of(SPIN_LOCK) && lock.checked_add(SPIN_LOCK).is_some_and(|end| end <= spec.value_size);
    if fits { Ok(()) } else { Err(MapError::SpinLockPlace { map: map(), offset: lock, value_size: spec.value_size }) }
}
