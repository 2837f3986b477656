//! What kbpf-basic asks of the kernel around it.
//!
//! `KernelAuxiliaryOps` has no `self`, so the little state that an answer needs is the thread's: where the memory of
//! the ring buffer lies that is being created. Everything that kbpf-basic would do by file descriptor or with user
//! memory is refused: no part of axebpf comes here by those ways.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kbpf_basic::map::{PerCpuVariants, PerCpuVariantsOps, UnifiedMap};
use kbpf_basic::preprocessor::EbpfInst;
use kbpf_basic::{BpfError, BpfResult, KernelAuxiliaryOps, PollWaker};

use crate::errno::Errno;
use crate::memory::Arena;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;

thread_local! {
    /// Where `vmap` has put the ring buffer that this thread is creating.
    static MAPPED: Cell<usize> = const { Cell::new(0) };
    /// The number of the page that `alloc_page` gave last. Pages are numbers only: their memory comes with `vmap`.
    static LAST_PAGE: Cell<usize> = const { Cell::new(0) };
}

/// The address that the last `vmap` of this thread has returned.
pub(super) fn last_mapped() -> usize {
    MAPPED.get()
}

/// Calls into kbpf-basic: its error as an errno, its panic too.
pub(super) fn guarded<T>(call: impl FnOnce() -> BpfResult<T>) -> Result<T, Errno> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| Errno(error.code())),
        Err(_) => Err(Errno::ENOTRECOVERABLE),
    }
}

/// The kernel that kbpf-basic runs in.
#[derive(Debug)]
pub(super) struct Kernel;

impl KernelAuxiliaryOps for Kernel {
    fn get_unified_map_from_ptr<F, R>(ptr: *const u8, func: F) -> BpfResult<R>
    where
        F: FnOnce(&mut UnifiedMap) -> BpfResult<R>,
    {
        // SAFETY: only `ring.rs` comes here, with the address of a map that it holds a mutable reference to and does
        // not use until this returns.
        func(unsafe { &mut *ptr.cast_mut().cast::<UnifiedMap>() })
    }

    fn get_unified_map_from_fd<F, R>(_map_fd: u32, _func: F) -> BpfResult<R>
    where
        F: FnOnce(&mut UnifiedMap) -> BpfResult<R>,
    {
        Err(BpfError::EPERM)
    }

    fn get_unified_map_ptr_from_fd(_map_fd: u32) -> BpfResult<*const u8> {
        Err(BpfError::EPERM)
    }

    fn translate_instruction(_instruction: Vec<u8>) -> BpfResult<Vec<impl EbpfInst>> {
        Err::<Vec<NoInstruction>, _>(BpfError::EPERM)
    }

    fn copy_from_user(_src: *const u8, _size: usize, _dst: &mut [u8]) -> BpfResult<()> {
        Err(BpfError::EPERM)
    }

    fn copy_to_user(_dest: *mut u8, _size: usize, _src: &[u8]) -> BpfResult<()> {
        Err(BpfError::EPERM)
    }

    fn current_cpu_id() -> u32 {
        0
    }

    fn perf_event_output(_ctx: *mut std::ffi::c_void, _fd: u32, _flags: u32, _data: &[u8]) -> BpfResult<()> {
        Err(BpfError::EPERM)
    }

    fn string_from_user_cstr(_ptr: *const u8) -> BpfResult<String> {
        Err(BpfError::EPERM)
    }

    fn ebpf_write_str(_str: &str) -> BpfResult<()> {
        Err(BpfError::EPERM)
    }

    fn ebpf_time_ns() -> BpfResult<u64> {
        Err(BpfError::EPERM)
    }

    fn alloc_page() -> BpfResult<usize> {
        LAST_PAGE.set(LAST_PAGE.get() + 1);
        Ok(LAST_PAGE.get())
    }

    fn free_page(_page: usize) {}

    /// Memory for a ring buffer: its pages, and its data pages once more behind them.
    ///
    /// AxVisor maps the data pages twice, so that a record that wraps is contiguous. Here the second time is memory of
    /// its own: a record is read where it was written, and what it has behind the wrap is nobody else's.
    fn vmap(pages: &[usize]) -> BpfResult<usize> {
        let len = pages.len().checked_mul(PAGE).and_then(|len| len.checked_add(2 * PAGE)).ok_or(BpfError::ENOMEM)?;
        let arena = Arena::new(len).map_err(|_| BpfError::ENOMEM)?;
        let start = (arena.address() as usize + PAGE).next_multiple_of(PAGE);
        let owner = Box::into_raw(Box::new(arena));
        // SAFETY: there is at least a page of the arena before `start`, on whose boundary this lies.
        unsafe { ((start - size_of::<usize>()) as *mut *mut Arena).write(owner) };
        MAPPED.set(start);
        Ok(start)
    }

    fn unmap(start: usize) {
        // SAFETY: kbpf-basic gives back what `vmap` gave it, once; the arena's own address lies before it.
        drop(unsafe { Box::from_raw(((start - size_of::<usize>()) as *const *mut Arena).read()) });
    }
}

/// An instruction that there is none of.
#[derive(Clone)]
enum NoInstruction {}

impl EbpfInst for NoInstruction {
    fn opc(&self) -> u8 {
        match *self {}
    }
    fn imm(&self) -> i32 {
        match *self {}
    }
    fn src(&self) -> u8 {
        match *self {}
    }
    fn set_imm(&mut self, _imm: i32) {
        match *self {}
    }
    fn to_array(&self) -> [u8; 8] {
        match *self {}
    }
}

/// AxVisor's loader has no per-CPU maps.
#[derive(Debug)]
pub(super) struct NoPerCpu;

impl PerCpuVariantsOps for NoPerCpu {
    fn create<T: Clone + Sync + Send + 'static>(_value: T) -> Option<Box<dyn PerCpuVariants<T>>> {
        None
    }

    fn num_cpus() -> u32 {
        1
    }
}

/// Nobody waits for a ring buffer: the bench looks into it.
#[derive(Debug)]
pub(super) struct NobodyWaits;

impl PollWaker for NobodyWaits {
    fn wake_up(&self) {}
}
