//! Loads and stores of memory that other threads may be changing: relaxed atomics, where plain ones would be undefined.
//!
//! What is aligned is never torn. What is not is moved in pieces that are, down to bytes, and may be seen half old and
//! half new, as on Linux. Pieces of different sizes that meet in one place are more than Rust's rules speak of; on the
//! processors that there are, each is what it says. No value here is ever a reference, and nothing is ordered.
//!
//! Memory that is only read may be read-only: a relaxed load of eight bytes at most writes nothing.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// A number of 1, 2, 4 or 8 bytes in memory.
pub trait Word: Copy {
    /// Loads it.
    ///
    /// # Safety
    /// `from` must be valid for reads, and whoever writes there meanwhile must do so by atomics, or outside of Rust.
    unsafe fn load(from: *const Self) -> Self;

    /// Stores it.
    ///
    /// # Safety
    /// `to` must be valid for writes, and whoever reads or writes there meanwhile must do so by atomics, or outside of
    /// Rust.
    unsafe fn store(self, to: *mut Self);
}

macro_rules! words {
    ($($type:ident as $atomic:ident of $unsigned:ident;)*) => {$(
        impl Word for $type {
            #[inline(always)]
            unsafe fn load(from: *const Self) -> Self {
                if !from.is_aligned() {
                    // One by one and here: a call would cost those who do not make it.
                    let mut bytes = [0; size_of::<Self>()];
                    for (at, byte) in bytes.iter_mut().enumerate() {
                        // SAFETY: inside the number.
                        *byte = unsafe { byte_at(from.cast_mut().cast(), at) }.load(Relaxed);
                    }
                    return Self::from_ne_bytes(bytes);
                }
                // SAFETY: aligned and valid.
                unsafe { $atomic::from_ptr(from.cast_mut().cast()) }.load(Relaxed) as Self
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut Self) {
                if !to.is_aligned() {
                    for (at, byte) in self.to_ne_bytes().into_iter().enumerate() {
                        // SAFETY: inside the number.
                        unsafe { byte_at(to.cast(), at) }.store(byte, Relaxed);
                    }
                    return;
                }
                // SAFETY: aligned and valid.
                unsafe { $atomic::from_ptr(to.cast()) }.store(self as $unsigned, Relaxed);
            }
        }
    )*};
}

/// The byte at an index.
///
/// # Safety
/// As for [`Word`], of that byte.
#[inline(always)]
unsafe fn byte_at<'a>(start: *mut u8, at: usize) -> &'a AtomicU8 {
    // SAFETY: the caller's promise.
    unsafe { AtomicU8::from_ptr(start.wrapping_add(at)) }
}

words! {
    u8 as AtomicU8 of u8; u16 as AtomicU16 of u16; u32 as AtomicU32 of u32; u64 as AtomicU64 of u64;
    i8 as AtomicU8 of u8; i16 as AtomicU16 of u16; i32 as AtomicU32 of u32;
}

/// Bytes that can be moved at once between two addresses that are as far apart as these: 8, 4 or 1.
fn step(from: *const u8, to: *mut u8) -> usize {
    match (from as usize ^ to as usize) & 7 {
        0 => 8,
        4 => 4,
        _ => 1,
    }
}

/// Copies `len` bytes; the two may overlap. Aligned pieces of 8 bytes (4, where the two are aligned to no more) are not
/// torn.
///
/// # Safety
/// `from` must be valid for reads of `len` bytes, `to` for writes; others may use both meanwhile as [`Word`] says.
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    let one = |at: usize| {
        // SAFETY: the caller of the closure stays below `len`.
        unsafe { u8::load(from.wrapping_add(at)).store(to.wrapping_add(at)) };
    };
    if (to as usize).wrapping_sub(from as usize) < len {
        // The front of `to` is the end of `from`.
        (0..len).rev().for_each(one);
        return;
    }
    let step = step(from, to);
    let head = (from as usize).wrapping_neg() % step;
    let (head, mut at) = (head.min(len), 0);
    while at < head {
        one(at);
        at += 1;
    }
    while len - at >= step {
        let (from, to) = (from.wrapping_add(at), to.wrapping_add(at));
        // SAFETY: `step` bytes from there on are inside both, on their boundary.
        unsafe {
            match step {
                8 => u64::load(from.cast()).store(to.cast()),
                4 => u32::load(from.cast()).store(to.cast()),
                _ => u8::load(from).store(to),
            }
        }
        at += step;
    }
    (at..len).for_each(one);
}

/// Zeroes `len` bytes.
///
/// # Safety
/// `to` must be valid for writes of `len` bytes; others may use it meanwhile as [`Word`] says.
pub unsafe fn zero(to: *mut u8, len: usize) {
    let mut at = 0;
    while at < len {
        let place = to.wrapping_add(at);
        // SAFETY: inside `len`.
        unsafe {
            if len - at >= 8 && place.cast::<u64>().is_aligned() {
                0_u64.store(place.cast());
                at += 8;
            } else {
                0_u8.store(place);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Bytes on a boundary of 8.
    #[repr(align(8))]
    struct Block([u8; 96]);

    fn block() -> Block {
        Block(std::array::from_fn(|n| (n as u8).wrapping_mul(37) ^ 0x91))
    }

    #[test]
    fn words_are_their_bytes_at_any_address() {
        for at in 0..16 {
            let mut block = block();
            let place = block.0.as_mut_ptr().wrapping_add(at);
            let expected = u64::from_ne_bytes(block.0[at..at + 8].try_into().unwrap());
            // SAFETY: inside the block.
            unsafe {
                assert_eq!(u64::load(place.cast()), expected);
                assert_eq!(u32::load(place.cast()), expected as u32);
                assert_eq!(i16::load(place.cast()), expected as i16);
                0x1122_3344_5566_7788_u64.store(place.cast());
                assert_eq!(u64::load(place.cast()), 0x1122_3344_5566_7788);
                (-2_i32).store(place.cast());
            }
            let mut after = self::block().0;
            after[at..at + 8].copy_from_slice(&0x1122_3344_5566_7788_u64.to_ne_bytes());
            after[at..at + 4].copy_from_slice(&(-2_i32).to_ne_bytes());
            assert_eq!(block.0, after);
        }
    }

    #[test]
    fn copies_are_those_of_slices_wherever_they_go() {
        for from in 0..20 {
            for to in 0..20 {
                for len in 0..70 {
                    let (mut block, mut expected) = (block(), block());
                    expected.0.copy_within(from..from + len, to);
                    let start = block.0.as_mut_ptr();
                    // SAFETY: both are inside the block.
                    unsafe { copy(start.wrapping_add(from), start.wrapping_add(to), len) };
                    assert_eq!(block.0, expected.0, "{len} from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn zeroes_go_as_far_as_they_should() {
        for at in 0..16 {
            for len in 0..40 {
                let (mut block, mut expected) = (block(), block());
                expected.0[at..at + len].fill(0);
                // SAFETY: inside the block.
                unsafe { zero(block.0.as_mut_ptr().wrapping_add(at), len) };
                assert_eq!(block.0, expected.0);
            }
        }
    }
}
