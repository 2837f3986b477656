//! Bloom filter: a set of bits that knows which values were surely not added. Nothing can be taken out.
//!
//! Every value sets `map_extra` bits (5 where that is 0), each by a hash of its own. How many bits there are, and which
//! a value sets, is Linux's: a filter with `BPF_F_ZERO_SEED` takes the same values for present that Linux's does, wrongly
//! present ones too. Without the flag Linux hashes from a random number; here it is 0 then too.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::errno::Errno;
use crate::map::access::{self, Access};
use crate::map::lock::Alone;
use crate::map::{Map, MapSpec};
use crate::memory::relaxed::Word;
use crate::memory::{Arena, Bytes, Region, Window};

/// Hash functions of a filter whose `map_extra` is 0.
const HASHES: u32 = 5;
/// The most bits that Linux computes; beyond, a filter has 2^32.
const COMPUTED_BITS: u64 = 1 << 31;

/// A bloom filter.
pub(super) struct Bloom {
    spec: MapSpec,
    access: Access,
    hashes: u32,
    /// Number of bits less one.
    mask: u32,
    bits: Arena,
    added: AtomicUsize,
    alone: Alone,
}

impl Bloom {
    /// An empty filter.
    pub(super) fn new(spec: MapSpec) -> Result<Bloom, Errno> {
        let bits = bits(&spec);
        let bytes = usize::try_from(bits / 8).map_err(|_| Errno::ENOMEM)?;
        Ok(Bloom {
            access: Access::new(spec.flags),
            hashes: hashes(&spec),
            mask: (bits - 1) as u32,
            bits: Arena::new(bytes)?,
            added: AtomicUsize::new(0),
            alone: Alone::default(),
            spec,
        })
    }

    /// Bytes that its bits take.
    pub(super) fn bytes(spec: &MapSpec) -> u64 {
        bits(spec) / 8
    }

    /// The word of the bit that the hash function of a number gives a value, and the bit in it.
    fn bit(&self, value: Bytes<'_>, function: u32) -> (&AtomicU64, u64) {
        let bit = hash(value, function) & self.mask;
        let word = self.bits.as_ptr().wrapping_add((bit / 64 * 8) as usize);
        // SAFETY: the bit is below their number, a multiple of 64, so the word is in the arena; it is 8-aligned and, as
        // no program can name it, reached by atomics only.
        (unsafe { AtomicU64::from_ptr(word.cast()) }, 1 << (bit % 64))
    }

    fn has_size(&self, value: Bytes<'_>) -> Result<(), Errno> {
        if value.len() == self.spec.value_size as usize { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

fn hashes(spec: &MapSpec) -> u32 {
    // `create` has checked it.
    if spec.extra == 0 { HASHES } else { spec.extra as u32 }
}

/// Bits of a filter: entries × hashes × 7/5 (about 1/ln 2), a power of two, and never less than a word.
fn bits(spec: &MapSpec) -> u64 {
    // Linux computes in 32 bits, and takes 2^32 for what does not fit.
    let product = spec.max_entries.checked_mul(hashes(spec)).and_then(|product| (product / 5).checked_mul(7));
    match product.map(u64::from) {
        Some(bits) if bits <= COMPUTED_BITS => bits.next_power_of_two().max(64),
        _ => 1 << 32,
    }
}

/// Bob Jenkins's `lookup3` hash (in the public domain) of the bytes as Linux starts it: three times 0xdeadbeef plus
/// length and seed.
fn hash(value: Bytes<'_>, seed: u32) -> u32 {
    let (start, len) = (value.as_ptr(), value.len());
    let mut state = [0xdead_beef_u32.wrapping_add(len as u32).wrapping_add(seed); 3];
    let mut at = 0;
    while len - at > 12 {
        for (n, part) in state.iter_mut().enumerate() {
            // SAFETY: more than twelve bytes from `at` on are inside the value.
            let word = unsafe { u32::load(start.add(at + 4 * n).cast()) };
            *part = part.wrapping_add(u32::from_le(word));
        }
        mix(&mut state);
        at += 12;
    }
    for (n, part) in state.iter_mut().enumerate() {
        // SAFETY: below `len`.
        let byte = |at: usize| if at < len { unsafe { u8::load(start.add(at)) } } else { 0 };
        *part = part.wrapping_add(u32::from_le_bytes([0, 1, 2, 3].map(|k| byte(at + 4 * n + k))));
    }
    finish(state)
}

fn mix([a, b, c]: &mut [u32; 3]) {
    for shifts in [[4, 6, 8], [16, 19, 4]] {
        *a = a.wrapping_sub(*c) ^ c.rotate_left(shifts[0]);
        *c = c.wrapping_add(*b);
        *b = b.wrapping_sub(*a) ^ a.rotate_left(shifts[1]);
        *a = a.wrapping_add(*c);
        *c = c.wrapping_sub(*b) ^ b.rotate_left(shifts[2]);
        *b = b.wrapping_add(*a);
    }
}

fn finish([mut a, mut b, mut c]: [u32; 3]) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

impl Region for Bloom {
    fn window(&self, _address: u64) -> Option<Window> {
        None
    }

    fn describe(&self, address: u64) -> Option<String> {
        let offset = self.bits.offset_of(address)?;
        Some(format!("{}[bits]+{offset}", self.spec.name))
    }
}

impl Map for Bloom {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.alone.set(alone) };
    }

    fn delete(&self, _key: Bytes<'_>) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn push(&self, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        self.has_size(value)?;
        if flags != access::BPF_ANY {
            return Err(Errno::EINVAL);
        }
        let alone = self.alone.get();
        for function in 0..self.hashes {
            let (word, bit) = self.bit(value, function);
            if alone {
                word.store(word.load(Relaxed) | bit, Relaxed);
            } else {
                word.fetch_or(bit, Relaxed);
            }
        }
        if alone {
            self.added.store(self.added.load(Relaxed).wrapping_add(1), Relaxed);
        } else {
            self.added.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn contains(&self, value: Bytes<'_>) -> Result<(), Errno> {
        self.has_size(value)?;
        let set = (0..self.hashes).all(|function| {
            let (word, bit) = self.bit(value, function);
            word.load(Relaxed) & bit != 0
        });
        if set { Ok(()) } else { Err(Errno::ENOENT) }
    }

    /// It cannot say what is in it; [`Map::contains_user`] is told what to look for.
    fn lookup_user(&self, key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        access::sized(key, 0)?;
        Err(Errno::EINVAL)
    }

    fn contains_user(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        self.access.lookup(flags)?;
        self.contains(Bytes::from(value))
    }

    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.access.update(flags)?;
        access::sized(key, 0)?;
        self.push(Bytes::from(value), flags)
    }

    fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        self.access.write()?;
        access::sized(key, 0)?;
        Err(Errno::EOPNOTSUPP)
    }

    fn lookup_and_delete_user(&self, key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.lookup_and_delete(flags)?;
        access::sized(key, 0)?;
        Err(Errno::ENOTSUPP)
    }

    fn next_key_user(&self, _key: Option<&[u8]>, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.access.read()?;
        Err(Errno::EOPNOTSUPP)
    }

    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.access.batch(read, write)
    }

    fn freeze(&self) -> Result<(), Errno> {
        self.access.freeze()
    }

    fn dump_user(&self, _keys: &mut Vec<u8>, _values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.access.read()?;
        Err(Errno::EOPNOTSUPP)
    }

    fn len(&self) -> usize {
        self.added.load(Relaxed)
    }
}
