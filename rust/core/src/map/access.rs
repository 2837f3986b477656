//! What bpf(2) checks before it reaches a map: permissions, freezing, flags; and the flags of an update.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::errno::Errno;
use crate::map::kind::{BPF_F_RDONLY, BPF_F_WRONLY};

/// `BPF_ANY`: create or replace.
pub const BPF_ANY: u64 = 0;
/// `BPF_NOEXIST`: create only.
pub const BPF_NOEXIST: u64 = 1;
/// `BPF_EXIST`: replace only; for a queue or stack: drop the oldest entry when full.
pub const BPF_EXIST: u64 = 2;
/// `BPF_F_LOCK`: under the value's spin lock; refused where it has none.
pub const BPF_F_LOCK: u64 = 4;

/// Permissions of the bpf(2) side. The order of the checks is Linux's, so the errno is too.
#[derive(Debug)]
pub(super) struct Access {
    readable: bool,
    writable: bool,
    /// Whether the values have spin locks.
    lockable: bool,
    frozen: AtomicBool,
}

impl Access {
    pub(super) fn new(flags: u32) -> Access {
        Access {
            readable: flags & BPF_F_WRONLY == 0,
            writable: flags & BPF_F_RDONLY == 0,
            lockable: false,
            frozen: AtomicBool::new(false),
        }
    }

    /// For values that have a spin lock, or not.
    pub(super) fn with_lock(self, lockable: bool) -> Access {
        Access { lockable, ..self }
    }

    /// `EINVAL` where a lock is asked for that the values do not have.
    #[inline]
    pub(super) fn lock(&self, flags: u64) -> Result<(), Errno> {
        if flags & BPF_F_LOCK == 0 || self.lockable { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Before anything that reads.
    pub(super) fn read(&self) -> Result<(), Errno> {
        if self.readable { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Before anything that writes.
    pub(super) fn write(&self) -> Result<(), Errno> {
        if self.writable && !self.frozen.load(Ordering::Acquire) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Before `BPF_MAP_LOOKUP_ELEM`.
    pub(super) fn lookup(&self, flags: u64) -> Result<(), Errno> {
        known(flags)?;
        self.read()?;
        self.lock(flags)
    }

    /// Before `BPF_MAP_UPDATE_ELEM`.
    pub(super) fn update(&self, flags: u64) -> Result<(), Errno> {
        self.write()?;
        self.lock(flags)
    }

    /// Before `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    pub(super) fn lookup_and_delete(&self, flags: u64) -> Result<(), Errno> {
        known(flags)?;
        self.read()?;
        self.write()?;
        self.lock(flags)
    }

    /// Before a batch command.
    pub(super) fn batch(&self, read: bool, write: bool) -> Result<(), Errno> {
        if read {
            self.read()?;
        }
        if write { self.write() } else { Ok(()) }
    }

    /// `BPF_MAP_FREEZE`.
    pub(super) fn freeze(&self) -> Result<(), Errno> {
        if self.writable && !self.frozen.swap(true, Ordering::AcqRel) { Ok(()) } else { Err(Errno::EPERM) }
    }
}

pub(super) fn known(flags: u64) -> Result<(), Errno> {
    if flags & !BPF_F_LOCK == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `EINVAL` unless a key or value that a caller of bpf(2) gave has the map's size.
pub(super) fn sized(given: &[u8], size: usize) -> Result<(), Errno> {
    if given.len() == size { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The flags that an update of a keyed map may have, before the key is looked at.
#[inline]
pub(super) fn update_flags(flags: u64) -> Result<(), Errno> {
    if flags > BPF_EXIST { Err(Errno::EINVAL) } else { Ok(()) }
}
