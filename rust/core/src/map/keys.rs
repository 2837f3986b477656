//! Keys of a hash on their way: loaded once, then hashed and compared as numbers.
//!
//! They are loaded four bytes at a time: clang writes a key of two `u32` with two stores, and one load of both, right
//! behind them, would wait for the stores to reach the cache (7 ns). In its cell a key is whole: padded with zeroes to 8
//! bytes, stored and loaded by 8. Others may write to it where it comes from, and programs that walk a map read it in its
//! cell without a lock, so all but the comparison, which the lock orders with the stores, is relaxed.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::memory::relaxed::Word;

/// Bytes of a word of a key.
const WORD: usize = size_of::<u64>();
/// Bytes of the longest key that is taken in registers.
pub(super) const SHORT: usize = 2 * WORD;

/// A key that was loaded, or can be at any time with the same result.
pub(super) trait Key: Copy {
    /// What a table finds it by: the upper half of its hash, which is the same in every run.
    fn tag(self) -> u32;

    /// Whether a cell has this key.
    ///
    /// # Safety
    /// `own` must be 8-aligned and valid for reads of the key size, padded to 8.
    unsafe fn is_at(self, own: *const u8) -> bool;

    /// Copies it to a cell.
    ///
    /// # Safety
    /// `own` must be 8-aligned and valid for writes of the key size, padded to 8.
    unsafe fn store(self, own: *mut u8);
}

/// A key of at most `N` words, in registers.
#[derive(Clone, Copy)]
pub(super) struct Short<const N: usize>([u64; N]);

impl<const N: usize> Short<N> {
    /// # Safety
    /// `start` must be valid for reads of `len` bytes, which are more than `N - 1` words and at most `N`.
    #[inline(always)]
    pub(super) unsafe fn load(start: *const u8, len: usize) -> Short<N> {
        let mut words = [0; N];
        for (n, word) in words.iter_mut().enumerate() {
            // SAFETY: all words but the last are whole, and the last has what is left.
            *word = unsafe { load(start.add(n * WORD), (len - n * WORD).min(WORD)) };
        }
        Short(words)
    }
}

impl<const N: usize> Key for Short<N> {
    #[inline(always)]
    fn tag(self) -> u32 {
        tag(self.0)
    }

    #[inline(always)]
    unsafe fn is_at(self, own: *const u8) -> bool {
        // SAFETY: the cell has as many words.
        (0..N).all(|n| unsafe { own.cast::<u64>().add(n).read() } == self.0[n])
    }

    #[inline(always)]
    unsafe fn store(self, own: *mut u8) {
        for (n, word) in self.0.into_iter().enumerate() {
            // SAFETY: the cell has as many words.
            unsafe { word.store(own.cast::<u64>().add(n)) };
        }
    }
}

/// A longer key, where it lies.
#[derive(Clone, Copy)]
pub(super) struct Long {
    start: *const u8,
    len: usize,
}

impl Long {
    /// # Safety
    /// `start` must be valid for reads of `len` bytes for as long as the key is used.
    pub(super) unsafe fn new(start: *const u8, len: usize) -> Long {
        Long { start, len }
    }

    fn words(self) -> impl Iterator<Item = u64> {
        // SAFETY: inside the key.
        (0..self.len).step_by(WORD).map(move |at| unsafe { load(self.start.add(at), (self.len - at).min(WORD)) })
    }
}

impl Key for Long {
    #[inline(never)]
    fn tag(self) -> u32 {
        tag(self.words())
    }

    #[inline(never)]
    unsafe fn is_at(self, own: *const u8) -> bool {
        // SAFETY: the cell has as many words.
        self.words().enumerate().all(|(n, word)| unsafe { own.cast::<u64>().add(n).read() } == word)
    }

    #[inline(never)]
    unsafe fn store(self, own: *mut u8) {
        for (n, word) in self.words().enumerate() {
            // SAFETY: the cell has as many words.
            unsafe { word.store(own.cast::<u64>().add(n)) };
        }
    }
}

#[inline(always)]
fn tag(words: impl IntoIterator<Item = u64>) -> u32 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    words.into_iter().for_each(|word| hasher.write_u64(word));
    (hasher.finish() >> 32) as u32
}

/// Up to 8 bytes of a key, the rest zero.
///
/// # Safety
/// `start` must be valid for reads of `len` bytes, at most 8.
#[inline(always)]
unsafe fn load(start: *const u8, len: usize) -> u64 {
    // The compiler does not make one load of two that are atomic.
    // SAFETY: the caller answers for the bytes.
    let half = |at: usize| u64::from(unsafe { u32::load(start.add(at).cast()) });
    match len {
        4 if start.cast::<u32>().is_aligned() => half(0),
        8 if start.cast::<u32>().is_aligned() => half(0) | half(4) << 32,
        // SAFETY: as above.
        _ => unsafe { load_bytes(start, len) },
    }
}

/// # Safety
/// As [`load`].
#[cold]
#[inline(never)]
unsafe fn load_bytes(start: *const u8, len: usize) -> u64 {
    // SAFETY: the caller answers for it.
    (0..len).fold(0, |word, at| word | u64::from(unsafe { u8::load(start.add(at)) }) << (8 * at))
}

/// Does `$body` with `$key`: the [`Key`] of these [`Bytes`](crate::memory::Bytes).
macro_rules! with_key {
    ($bytes:expr, |$key:ident| $body:expr) => {{
        let (start, len) = ($bytes.as_ptr(), $bytes.len());
        if len <= 8 {
            // SAFETY: `Bytes` are readable; an empty key is no word at all.
            let $key = unsafe { $crate::map::keys::Short::<1>::load(start, len) };
            $body
        } else if len <= 16 {
            // SAFETY: `Bytes` are readable.
            let $key = unsafe { $crate::map::keys::Short::<2>::load(start, len) };
            $body
        } else {
            // SAFETY: `Bytes` are readable.
            let $key = unsafe { $crate::map::keys::Long::new(start, len) };
            $body
        }
    }};
}

pub(super) use with_key;
