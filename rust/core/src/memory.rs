//! The memory that a run may touch: arenas, windows, and the check of every access.
//!
//! Programs use host addresses. An access is legal when it lies, with its whole width, inside one
//! *window*: the live stack frames, the context, one map value, one reserved ring-buffer record.
//! [`Memory`] keeps the windows hit last, so that the common check is one to three comparisons.

pub mod relaxed;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::errno::Errno;
use crate::fault::Fault;
use crate::held::{Held, Record};
use relaxed::Word;

/// A stretch of memory that may be accessed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Whether a program may store to it.
    pub writable: bool,
}

/// Something that owns memory which programs reach by address: a map, a set of maps.
pub trait Region: Send + Sync {
    /// The window of the one object (map value, record) around `address`, if it is live memory of this region.
    ///
    /// The window must stay valid memory for as long as the region lives.
    fn window(&self, address: u64) -> Option<Window>;

    /// Why an access of `size` bytes at an address is refused, where there is more to say than that no window has them.
    fn forbids(&self, address: u64, size: u64) -> Option<&'static str> {
        let _ = (address, size);
        None
    }

    /// A stable name for an address of this region, such as `EXITS[3]+8`.
    fn describe(&self, address: u64) -> Option<String>;
}

/// Zeroed memory at a stable address, freed on drop.
///
/// Its contents are reached by raw pointers only: programs and the bench share it.
#[derive(Debug)]
pub struct Arena {
    /// What the allocator gave; the arena begins at the next multiple of [`Arena::ALIGN`].
    block: NonNull<u8>,
    layout: Layout,
    start: *mut u8,
    len: usize,
}

// SAFETY: an arena is plain memory owned by nobody else; who accesses it when is for the map that owns it to order.
unsafe impl Send for Arena {}
// SAFETY: as above: a shared reference gives out an address, no access.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena begins on a cache line.
    pub const ALIGN: usize = 64;
    /// What the allocator aligns to by itself. Asked for more, it would write the zeroes, and so use all the memory
    /// at once, where zeroed pages of the system come only as they are touched.
    const BLOCK_ALIGN: usize = 16;

    /// Allocates `len` zeroed bytes on a 64-byte boundary. Memory of a large arena is used as it is touched.
    ///
    /// # Errors
    /// `ENOMEM` where the allocator has no such block.
    pub fn new(len: usize) -> Result<Arena, Errno> {
        let len = len.max(1);
        let size = len.checked_add(Arena::ALIGN - Arena::BLOCK_ALIGN).ok_or(Errno::ENOMEM)?;
        let layout = Layout::from_size_align(size, Arena::BLOCK_ALIGN).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Errno::ENOMEM)?;
        let skip = block.as_ptr().align_offset(Arena::ALIGN);
        // At most `ALIGN - BLOCK_ALIGN` bytes are skipped, which is what was added.
        Ok(Arena { block, layout, start: block.as_ptr().wrapping_add(skip), len })
    }

    /// First byte.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.start
    }

    /// Address of the first byte, as a program sees it.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: an arena has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Offset of an address in this arena.
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<usize> {
        let offset = usize::try_from(address.wrapping_sub(self.address())).ok()?;
        (offset < self.len()).then_some(offset)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout and freed nowhere else.
        unsafe { dealloc(self.block.as_ptr(), self.layout) }
    }
}

/// Bytes to read that somebody else may also reach by address: a key or value in program memory, or a slice.
///
/// Unlike `&[u8]` it does not promise that nobody writes to them meanwhile, so a key may lie inside the very map
/// that is being changed.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    start: *const u8,
    len: usize,
    owner: PhantomData<&'a [u8]>,
}

impl<'a> Bytes<'a> {
    /// Bytes at an address.
    ///
    /// # Safety
    /// `start` must be valid for reads of `len` bytes for the whole of `'a`.
    #[must_use]
    pub const unsafe fn from_raw(start: *const u8, len: usize) -> Bytes<'a> {
        Bytes { start, len, owner: PhantomData }
    }

    /// First byte.
    #[must_use]
    pub const fn as_ptr(self) -> *const u8 {
        self.start
    }

    /// Length.
    #[must_use]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The byte at an index, if there is one.
    #[inline]
    #[must_use]
    pub fn get(self, index: usize) -> Option<u8> {
        // SAFETY: `self` is valid for reads of its length.
        (index < self.len).then(|| unsafe { u8::load(self.start.add(index)) })
    }

    /// The bytes before an index and those from it on, if there are as many.
    #[inline]
    #[must_use]
    pub fn split_at(self, index: usize) -> Option<(Bytes<'a>, Bytes<'a>)> {
        let rest = self.len.checked_sub(index)?;
        Some((Bytes { len: index, ..self }, Bytes { start: self.start.wrapping_add(index), len: rest, ..self }))
    }

    /// Eight bytes from an index on as a big-endian number, if there are as many.
    #[inline]
    #[must_use]
    pub fn be_u64_at(self, index: usize) -> Option<u64> {
        let inside = self.len >= 8 && index <= self.len - 8;
        // SAFETY: eight bytes from there on are readable.
        inside.then(|| u64::from_be(unsafe { u64::load(self.start.add(index).cast()) }))
    }

    /// A copy.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        let mut out = vec![0; self.len];
        // SAFETY: `self` is valid for reads of its length, `out` is a fresh block of that length.
        unsafe { relaxed::copy(self.start, out.as_mut_ptr(), self.len) };
        out
    }

    /// Copies all bytes to `to`; the two may overlap.
    ///
    /// # Safety
    /// `to` must be valid for writes of `self.len()` bytes.
    pub unsafe fn copy_to(self, to: *mut u8) {
        // SAFETY: the caller answers for `to`; `copy` allows an overlap.
        unsafe { relaxed::copy(self.start, to, self.len) };
    }

    /// The first four bytes as a little-endian number, if there are exactly four.
    #[must_use]
    pub fn as_u32(self) -> Option<u32> {
        // SAFETY: four bytes are readable.
        (self.len == 4).then(|| u32::from_le(unsafe { u32::load(self.start.cast()) }))
    }
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(slice: &'a [u8]) -> Bytes<'a> {
        Bytes { start: slice.as_ptr(), len: slice.len(), owner: PhantomData }
    }
}

/// Bytes to write that somebody else may also reach by address.
#[derive(Debug)]
pub struct BytesMut<'a> {
    start: *mut u8,
    len: usize,
    owner: PhantomData<&'a mut [u8]>,
}

impl<'a> BytesMut<'a> {
    /// Bytes at an address.
    ///
    /// # Safety
    /// `start` must be valid for writes of `len` bytes for the whole of `'a`.
    #[must_use]
    pub const unsafe fn from_raw(start: *mut u8, len: usize) -> BytesMut<'a> {
        BytesMut { start, len, owner: PhantomData }
    }

    /// First byte.
    #[must_use]
    pub const fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start
    }

    /// Length.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `from` to the front; bytes that do not fit are left out.
    pub fn fill_from(&mut self, from: &[u8]) {
        self.write_at(0, from);
    }

    /// Copies `from` to an index; bytes that do not fit are left out.
    pub fn write_at(&mut self, index: usize, from: &[u8]) {
        let n = from.len().min(self.len.saturating_sub(index));
        // SAFETY: `n` bytes are readable in `from` and writable here from the index on; `copy` allows an overlap.
        unsafe { relaxed::copy(from.as_ptr(), self.start.wrapping_add(index), n) };
    }

    /// Zeroes all bytes from `from` on.
    pub fn zero_from(&mut self, from: usize) {
        if from < self.len {
            // SAFETY: inside the writable bytes.
            unsafe { relaxed::zero(self.start.add(from), self.len - from) };
        }
    }
}

impl<'a> From<&'a mut [u8]> for BytesMut<'a> {
    fn from(slice: &'a mut [u8]) -> BytesMut<'a> {
        BytesMut { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }
}

/// A window in the form in which one comparison checks an access of 1, 2, 4 or 8 bytes.
#[derive(Clone, Copy, Debug)]
struct Cached {
    start: u64,
    /// `limit[log2 n]`: how many offsets an access of `n` bytes may begin at.
    limit: [u64; 4],
}

impl Cached {
    const NONE: Cached = Cached { start: 0, limit: [0; 4] };

    #[inline(always)]
    const fn new(start: u64, len: u64) -> Cached {
        Cached { start, limit: [len, len.saturating_sub(1), len.saturating_sub(3), len.saturating_sub(7)] }
    }

    #[inline(always)]
    const fn holds<const LOG2: usize>(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.limit[LOG2]
    }
}

/// How far behind the context or around the stack an address is still named by it.
const NEAR: u64 = 1 << 16;

/// Bytes of one stack frame (Linux: 512).
pub const FRAME: u64 = 512;
/// Frames of one run (Linux: 8).
pub const FRAMES: usize = 8;

/// What one run may touch, with the check of every access.
pub struct Memory<'r> {
    stack: Cached,
    read: Cached,
    write: Cached,
    context: Cached,
    context_writable: bool,
    /// What the program takes for the context's first byte; the window may begin behind it.
    context_start: u64,
    extra: Vec<Window>,
    /// What the run must give up, and its dynptrs.
    pub(crate) held: Held,
    /// Whether some values have parts that are not accessible.
    has_gaps: bool,
    /// Whether nobody else uses this memory meanwhile.
    alone: bool,
    regions: &'r dyn Region,
    /// It stays on the thread of its run, which the regions may count on.
    local: PhantomData<*const ()>,
}

impl<'r> Memory<'r> {
    /// The memory of a run: its stack block, its context, and everything that `regions` owns.
    ///
    /// `context` is what may be accessed of the context; `context_start` is the address that the program is given for
    /// it (of a record, the first 8 bytes are not for programs; 0 where there is no context). Only the first frame of
    /// `stack` is live until [`Memory::set_frames`] says otherwise.
    ///
    /// # Safety
    /// `stack` (as many frames as [`Memory::set_frames`] and [`Memory::enter_frame`] make live), `context`, and what lies
    /// from `context_start` to it, must be valid memory for the whole of `'r`, writable where they say so. While the run
    /// lasts, nobody may hold a Rust reference into what is writable, nor a mutable one into the rest.
    #[inline(always)] // so that it is made where it stays
    #[must_use]
    pub unsafe fn new(stack: Window, context: Window, context_start: u64, regions: &'r dyn Region) -> Memory<'r> {
        Memory {
            stack: Cached::new(stack.start, FRAME),
            context: Cached::new(context.start, context.len),
            read: Cached::NONE,
            write: Cached::NONE,
            context_writable: context.writable,
            context_start,
            extra: Vec::new(),
            held: Held::NOTHING,
            has_gaps: false,
            alone: false,
            regions,
            local: PhantomData,
        }
    }

    /// The memory of a program that goes on in the place of this one: the same stack, whose first `depth` frames are live,
    /// the same context, and what `regions` owns.
    #[must_use]
    pub fn pass_on<'s>(&self, depth: usize, regions: &'s dyn Region) -> Memory<'s>
    where
        'r: 's,
    {
        let mut memory = Memory {
            stack: self.stack,
            context: self.context,
            read: Cached::NONE,
            write: Cached::NONE,
            context_writable: self.context_writable,
            context_start: self.context_start,
            extra: self.extra.clone(),
            held: Held::NOTHING,
            has_gaps: false,
            alone: self.alone,
            regions,
            local: PhantomData,
        };
        memory.set_frames(depth);
        memory
    }

    /// Says that nobody else uses the memory of this run meanwhile, so that its atomic instructions may be plain ones.
    ///
    /// # Safety
    /// It must be so: no other thread may access memory of `regions` while the run lasts.
    #[inline(always)]
    pub unsafe fn set_alone(&mut self) {
        self.alone = true;
    }

    /// Whether nobody else uses this memory meanwhile.
    #[inline(always)]
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// The address that the program was given for its context; 0 where there is none.
    #[must_use]
    pub fn context_start(&self) -> u64 {
        self.context_start
    }

    /// Makes another stretch of memory accessible, such as the packet of an `xdp` context.
    ///
    /// # Safety
    /// As for the context in [`Memory::new`].
    pub unsafe fn allow(&mut self, window: Window) {
        self.extra.push(window);
    }

    /// Makes a ring-buffer record that the run has reserved accessible, to this run alone, until it gives it up.
    ///
    /// # Safety
    /// The record must be writable memory of its ring buffer until then, and afterwards valid memory for the whole of `'r`.
    #[inline]
    pub unsafe fn hold(&mut self, record: Record) {
        self.held.hold(record);
        // SAFETY: the caller answers for it.
        unsafe { self.expect(Window { start: record.start, len: record.len, writable: true }) };
    }

    /// The run gives up the record that begins at an address, if it holds one.
    #[inline]
    pub fn give_up(&mut self, start: u64) -> Option<Record> {
        let record = self.held.give_up(start)?;
        self.forget(start);
        Some(record)
    }

    /// Takes back what [`Memory::allow`] made accessible.
    pub fn disallow(&mut self, window: Window) {
        if let Some(index) = self.extra.iter().rposition(|w| *w == window) {
            self.extra.remove(index);
        }
        self.forget(window.start);
    }

    /// Forgets a window that [`Memory::expect`] or an access remembered, because it is no longer live.
    #[inline]
    pub fn forget(&mut self, start: u64) {
        for cached in [&mut self.read, &mut self.write] {
            if cached.start == start {
                *cached = Cached::NONE;
            }
        }
    }

    /// How far below the end of its frame an address of the live stack is: for r10 - 16, 16.
    #[must_use]
    pub fn below_frame_end(&self, address: u64) -> Option<u64> {
        let offset = address.wrapping_sub(self.stack.start);
        (offset < self.stack.limit[0]).then(|| FRAME - offset % FRAME)
    }

    /// Address of the first byte of the stack block. Frame `n` ends at `stack_start() + (n + 1) * FRAME`.
    #[inline(always)]
    #[must_use]
    pub fn stack_start(&self) -> u64 {
        self.stack.start
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> Window {
        Window { start: self.context.start, len: self.context.limit[0], writable: self.context_writable }
    }

    /// Makes the first `depth` frames the live ones, fills the upper `bytes` of the last of them with `pattern`, and
    /// returns its end: r10.
    #[inline]
    pub fn enter_frame(&mut self, depth: usize, pattern: u64, bytes: u32) -> u64 {
        assert!((1..=FRAMES).contains(&depth) && u64::from(bytes) <= FRAME);
        self.set_frames(depth);
        let end = self.stack.start + FRAME * depth as u64;
        let words = (bytes as usize).div_ceil(8);
        let start = (end as *mut u64).wrapping_sub(words);
        for word in 0..words {
            // SAFETY: inside a frame of the stack block, which `new` was promised to be valid and unreferenced.
            unsafe { start.add(word).write_unaligned(pattern) };
        }
        end
    }

    /// Makes the first `n` frames the live ones.
    #[inline]
    pub fn set_frames(&mut self, n: usize) {
        self.stack = Cached::new(self.stack.start, FRAME * n as u64);
    }

    /// Remembers a window that the next accesses will probably hit: a helper calls it with the value it returns.
    ///
    /// # Safety
    /// The window must be valid memory for the whole of `'r`.
    #[inline]
    pub unsafe fn expect(&mut self, window: Window) {
        let cached = Cached::new(window.start, window.len);
        self.read = cached;
        if window.writable {
            self.write = cached;
        }
    }

    /// Says that values of the maps may have spin locks, which loads and stores must not touch: windows are asked for.
    pub fn set_gaps(&mut self) {
        self.has_gaps = true;
    }

    /// As [`Memory::expect`], for the whole value of a map.
    ///
    /// # Safety
    /// As for [`Memory::expect`].
    #[inline]
    pub unsafe fn expect_value(&mut self, value: Window) {
        if !self.has_gaps {
            // SAFETY: the caller answers for it.
            unsafe { self.expect(value) };
        }
    }

    /// Whether `1 << LOG2` bytes at `address` are known to be loadable. Where not, [`Memory::find`] knows.
    #[inline(always)]
    #[must_use]
    pub fn may_load<const LOG2: usize>(&self, address: u64) -> bool {
        self.stack.holds::<LOG2>(address) || self.read.holds::<LOG2>(address) || self.context.holds::<LOG2>(address)
    }

    /// Whether `1 << LOG2` bytes at `address` are known to be storable. Where not, [`Memory::find`] knows.
    #[inline(always)]
    #[must_use]
    pub fn may_store<const LOG2: usize>(&self, address: u64) -> bool {
        self.stack.holds::<LOG2>(address)
            || self.write.holds::<LOG2>(address)
            || (self.context_writable && self.context.holds::<LOG2>(address))
    }

    /// Bytes to read, for a helper's argument. No bytes at any address are fine.
    ///
    /// # Errors
    /// [`Fault::Memory`] where not all of them may be read.
    #[inline]
    pub fn bytes(&mut self, address: u64, len: usize) -> Result<Bytes<'r>, Box<Fault>> {
        self.check_range(address, len as u64, false)?;
        // SAFETY: the check found the range inside memory that lives for the whole of 'r.
        Ok(unsafe { Bytes::from_raw(address as *const u8, len) })
    }

    /// Bytes to write, for a helper's argument. No bytes at any address are fine.
    ///
    /// # Errors
    /// [`Fault::Memory`] where not all of them may be written.
    #[inline]
    pub fn bytes_mut(&mut self, address: u64, len: usize) -> Result<BytesMut<'r>, Box<Fault>> {
        self.check_range(address, len as u64, true)?;
        // SAFETY: the check found the range inside memory that lives for the whole of 'r and may be written.
        Ok(unsafe { BytesMut::from_raw(address as *mut u8, len) })
    }

    /// How many of `most` bytes from `address` on a probe may read: as [`Memory::readable`], and the part of the context
    /// that is hidden from loads (the common header of a record).
    #[must_use]
    pub fn probeable(&self, address: u64, most: usize) -> usize {
        let hidden = self.context.start.wrapping_sub(self.context_start);
        let offset = address.wrapping_sub(self.context_start);
        if self.context_start != 0 && offset < hidden {
            let rest = hidden + self.context.limit[0] - offset;
            return usize::try_from(rest).unwrap_or(most).min(most);
        }
        self.readable(address, most)
    }

    /// Bytes that [`Memory::probeable`] has found.
    ///
    /// # Errors
    /// [`Fault::Memory`] where not all of them may be read.
    pub fn probe(&mut self, address: u64, len: usize) -> Result<Bytes<'r>, Box<Fault>> {
        if self.probeable(address, len) < len {
            return Err(self.fault(address, len as u64, false, "no live memory there"));
        }
        // SAFETY: memory of one window, or of the context with its hidden head, all of which live for the whole of 'r.
        Ok(unsafe { Bytes::from_raw(address as *const u8, len) })
    }

    /// How many of `most` bytes from `address` on may be read: for strings whose end is not known.
    #[must_use]
    pub fn readable(&self, address: u64, most: usize) -> usize {
        self.lookup(address).map_or(0, |window| {
            let rest = window.len - (address - window.start);
            usize::try_from(rest).unwrap_or(most).min(most)
        })
    }

    /// A stable name for an address: `stack-16`, `ctx+8`, `EXITS[3]+8`, or the number itself.
    #[must_use]
    pub fn describe(&self, address: u64) -> String {
        let below = |frame: u64| self.stack.start + (frame + 1) * FRAME - address;
        let frame = address.wrapping_sub(self.stack.start) / FRAME;
        let live = self.stack.limit[0] / FRAME;
        if frame < live {
            return if frame == 0 {
                format!("stack-{}", below(0))
            } else {
                format!("stack[frame {frame}]-{}", below(frame))
            };
        }
        let offset = address.wrapping_sub(self.context_start);
        let end = self.context.start.wrapping_add(self.context.limit[0]).wrapping_sub(self.context_start);
        if self.context_start != 0 && offset <= end {
            return format!("ctx+{offset}");
        }
        if let Some(name) = self.regions.describe(address) {
            return name;
        }
        // No memory of this run. What is just behind the context or around the stack is named by the nearest of them, so
        // that the name is the same wherever the host has put them.
        let top = self.stack.start + live * FRAME;
        let (under, above) = (self.stack.start.wrapping_sub(address), address.wrapping_sub(top));
        let behind = if self.context_start == 0 { u64::MAX } else { offset - end };
        let nearest = behind.min(under).min(above);
        if nearest >= NEAR {
            format!("{address:#x}")
        } else if nearest == under {
            format!("stack-{}", top - address)
        } else if nearest == above {
            format!("stack+{above}")
        } else {
            format!("ctx+{offset}")
        }
    }

    #[inline]
    fn check_range(&mut self, address: u64, len: u64, write: bool) -> Result<(), Box<Fault>> {
        let inside = |cached: &Cached| {
            let offset = address.wrapping_sub(cached.start);
            offset < cached.limit[0] && len <= cached.limit[0] - offset
        };
        if len == 0 || inside(&self.stack) || inside(if write { &self.write } else { &self.read }) {
            return Ok(());
        }
        self.find(address, len, write)
    }

    fn lookup(&self, address: u64) -> Option<Window> {
        let inside = |w: &&Window| address.wrapping_sub(w.start) < w.len;
        let live = Window { start: self.stack.start, len: self.stack.limit[0], writable: true };
        let known = [live, self.context()].iter().chain(&self.extra).find(inside).copied();
        known.or_else(|| self.held.window(address)).or_else(|| self.regions.window(address))
    }

    /// Looks for the window of an access of `size` bytes, and remembers it as the one hit last.
    ///
    /// # Errors
    /// [`Fault::Memory`] where no live window holds it, or where it may not be written.
    #[cold]
    #[inline(never)]
    pub fn find(&mut self, address: u64, size: u64, write: bool) -> Result<(), Box<Fault>> {
        let Some(window) = self.lookup(address) else {
            return Err(self.fault(address, size, write, "no live memory there"));
        };
        if size > window.len - (address - window.start) {
            return Err(self.fault(address, size, write, "reaches past the end of this memory"));
        }
        if write && !window.writable {
            return Err(self.fault(address, size, write, "this memory is read-only"));
        }
        if write {
            self.write = Cached::new(window.start, window.len);
        } else {
            self.read = Cached::new(window.start, window.len);
        }
        Ok(())
    }

    /// The fault of an atomic instruction whose address is no multiple of its size; none in the context, which no other
    /// run has, and where the host decides what is aligned. Linux's verifier refuses it everywhere.
    #[cold]
    #[must_use]
    pub fn misaligned(&self, address: u64, size: u64) -> Option<Box<Fault>> {
        let offset = address.wrapping_sub(self.context.start);
        let why = "misaligned: the address of an atomic instruction is a multiple of its size";
        (offset >= self.context.limit[0]).then(|| self.fault(address, size, true, why))
    }

    fn fault(&self, address: u64, size: u64, write: bool, why: &'static str) -> Box<Fault> {
        let why = self.regions.forbids(address, size).unwrap_or(why);
        Box::new(Fault::Memory { address, size, write, place: self.describe(address), why })
    }
}
