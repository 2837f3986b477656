//! Values in memory: how they are laid out for one CPU or several, and how they are copied.
//!
//! A value begins on 8 bytes and takes a multiple of 8. Programs and the bench reach it by address and without a
//! lock, so copies go through relaxed atomic stores and loads of 8 bytes: an aligned 8-byte field is never torn,
//! while a longer value may be seen half old and half new, as on Linux.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::errno::Errno;
use crate::map::spin::SPIN_LOCK;
use crate::memory::relaxed::{self, Word};

/// The value of one entry: one part a CPU, each padded to 8 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueLayout {
    /// Bytes of a value, as declared.
    pub size: usize,
    /// Bytes that it takes.
    pub stride: usize,
    /// Parts: the CPUs of a per-CPU map, else 1.
    pub cpus: usize,
    /// Whether the bpf(2) side sees all CPUs, padded, rather than one plain value.
    pub per_cpu: bool,
    /// Where in a value a spin lock lies, which no copy touches.
    pub lock: Option<u32>,
}

impl ValueLayout {
    pub(super) fn new(value_size: u32, cpus: u32, per_cpu: bool) -> ValueLayout {
        let size = value_size as usize;
        ValueLayout { size, stride: size.next_multiple_of(8), cpus: cpus as usize, per_cpu, lock: None }
    }

    /// The same with a spin lock in the value, which is then one that all CPUs share.
    pub(super) fn with_lock(self, lock: Option<u32>) -> ValueLayout {
        ValueLayout { lock, ..self }
    }

    /// Copies a value to a part, but for its lock.
    ///
    /// # Safety
    /// As [`store`], for as many bytes as a value has.
    #[inline]
    pub(super) unsafe fn store(&self, to: *mut u8, from: *const u8) {
        match self.lock {
            // SAFETY: the caller answers for it.
            None => unsafe { store(to, from, self.size) },
            // SAFETY: likewise.
            Some(lock) => unsafe { store_beside(to, from, self.size, lock as usize) },
        }
    }

    /// Bytes of a value as bpf(2) reads and writes it.
    pub(super) fn user_size(&self) -> usize {
        if self.per_cpu { self.stride * self.cpus } else { self.size }
    }

    /// Bytes of a part as bpf(2) reads and writes it.
    fn user_part(&self) -> usize {
        if self.per_cpu { self.stride } else { self.size }
    }

    /// The part of a program on `cpu`.
    pub(super) fn part(&self, cpu: u32) -> Option<usize> {
        let part = if self.per_cpu { cpu as usize } else { 0 };
        (part < self.cpus).then_some(part)
    }

    /// Appends the parts that `part` locates to `out`, as bpf(2) reads them.
    ///
    /// # Safety
    /// `part` must give 8-aligned addresses that are valid for reads of `stride` bytes.
    pub(super) unsafe fn append(&self, part: impl Fn(usize) -> *mut u8, out: &mut Vec<u8>) {
        for cpu in 0..self.cpus {
            // SAFETY: the caller answers for every part; `user_part` is at most `stride`.
            unsafe { append(part(cpu), self.user_part(), out) };
        }
        if let Some(lock) = self.lock {
            let place = out.len() - self.size + lock as usize;
            out[place..place + SPIN_LOCK as usize].fill(0);
        }
    }

    /// Stores a value as bpf(2) writes it (`user_size` bytes; shorter ones are not stored).
    ///
    /// # Safety
    /// `part` must give 8-aligned addresses that are valid for writes of `stride` bytes.
    pub(super) unsafe fn store_user(&self, part: impl Fn(usize) -> *mut u8, value: &[u8]) {
        if self.lock.is_some() {
            // SAFETY: the caller answers for the part; who calls has checked the length.
            unsafe { self.store(part(0), value.as_ptr()) };
            return;
        }
        for (cpu, bytes) in value.chunks_exact(self.user_part()).take(self.cpus).enumerate() {
            // SAFETY: the caller answers for every part; `bytes` is a slice of `user_part` bytes.
            unsafe { store(part(cpu), bytes.as_ptr(), bytes.len()) };
        }
    }
}

/// Copies `len` bytes to a value.
///
/// # Safety
/// `to` must be 8-aligned and valid for writes of `len` bytes, `from` valid for reads of `len` bytes; they may be
/// the same address, but not overlap otherwise.
#[inline]
pub(crate) unsafe fn store(to: *mut u8, from: *const u8, len: usize) {
    let whole = len & !7;
    let mut at = 0;
    while at < whole {
        // SAFETY: `at + 8 <= len` bytes are readable at `from`; the target is aligned and writable (see above).
        unsafe {
            let word = u64::load(from.add(at).cast());
            AtomicU64::from_ptr(to.add(at).cast()).store(word, Relaxed);
        }
        at += 8;
    }
    while at < len {
        // SAFETY: `at < len`.
        unsafe { u8::load(from.add(at)).store(to.add(at)) };
        at += 1;
    }
}

/// Copies `len` bytes to a value but for the four of the spin lock at `lock`, a multiple of four inside them.
///
/// # Safety
/// As [`store`].
#[cold]
unsafe fn store_beside(to: *mut u8, from: *const u8, len: usize, lock: usize) {
    let word = lock & !7;
    // The half of the word that is not the lock; there may be less of it, or none.
    let half = word + 4 - (lock - word);
    // SAFETY: both pieces are inside the value and begin on 8 bytes; the half is four bytes, on a multiple of four.
    unsafe {
        store(to, from, word);
        if half + 4 <= len {
            u32::load(from.add(half).cast()).store(to.add(half).cast());
        } else {
            for at in half..len {
                u8::load(from.add(at)).store(to.add(at));
            }
        }
        if word + 8 < len {
            store(to.add(word + 8), from.add(word + 8), len - word - 8);
        }
    }
}

/// Copies `len` bytes of a value to where a program wants them.
///
/// # Safety
/// `from` must be 8-aligned and valid for reads of `len` bytes, `to` valid for writes of `len` bytes, elsewhere.
#[inline]
pub(super) unsafe fn load(to: *mut u8, from: *const u8, len: usize) {
    if len == size_of::<u64>() {
        // SAFETY: the caller answers for it. A call for so few bytes would take longer than all the rest.
        unsafe { u64::load(from.cast()).store(to.cast()) };
    } else {
        // SAFETY: as above.
        unsafe { relaxed::copy(from, to, len) };
    }
}

/// Zeroes `len` bytes of a value.
///
/// # Safety
/// `to` must be 8-aligned and valid for writes of `len` bytes, a multiple of 8.
pub(super) unsafe fn zero(to: *mut u8, len: usize) {
    for at in (0..len).step_by(8) {
        // SAFETY: aligned and inside `len` (see above).
        unsafe { AtomicU64::from_ptr(to.add(at).cast()).store(0, Relaxed) };
    }
}

/// Room in `out` for `count` times `len` bytes, which [`append`] then takes one after the other.
///
/// # Errors
/// `ENOMEM` where there is none.
pub(super) fn make_room(out: &mut Vec<u8>, count: usize, len: usize) -> Result<(), Errno> {
    let bytes = count.checked_mul(len).and_then(|bytes| bytes.checked_add(8));
    out.try_reserve(bytes.ok_or(Errno::ENOMEM)?).map_err(|_| Errno::ENOMEM)
}

/// Appends `len` bytes of a value to `out`.
///
/// # Safety
/// `from` must be 8-aligned and valid for reads and writes of `len` bytes rounded up to 8.
#[inline]
pub(crate) unsafe fn append(from: *mut u8, len: usize, out: &mut Vec<u8>) {
    // Room for the padding too, so that every word is written whole.
    out.reserve(len.next_multiple_of(8));
    let end = out.len();
    for at in (0..len).step_by(8) {
        // SAFETY: aligned and inside the padded value (see above).
        let word = unsafe { AtomicU64::from_ptr(from.add(at).cast()) }.load(Relaxed);
        // SAFETY: inside the room that was reserved.
        unsafe { out.as_mut_ptr().add(end + at).cast::<u64>().write_unaligned(word) };
    }
    // SAFETY: as many bytes have been written behind the end.
    unsafe { out.set_len(end + len) };
}
