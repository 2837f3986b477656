//! Helpers: one table (id, name, prototype, implementation); files by subject.

mod dynptr;
mod format;
mod hypervisor;
mod inner;
mod iterate;
mod map;
mod misuse;
mod perf;
mod print;
mod probe;
mod ring;
mod rows;
mod spin;
mod string;
mod table;
mod tail;
mod task;
mod time;

pub use inner::{InnerMaps, WithInner};
pub use misuse::{KnownMaps, forbidden_maps, misused_maps};
pub use spin::{SPIN_LOCK, SPIN_UNLOCK};
pub use table::{
    ArgKind, CUSTOM_HELPERS, Helper, HelperError, Implementation, ProgramTypes, ReturnKind, all, by_id, by_name, check,
    check_map,
};
pub use tail::{MAX_TAIL_CALLS, TAIL_CALL, tail_call_target};

use crate::errno::Errno;
use crate::fault::Fault;
use crate::map::{Map, MapSet};
use crate::memory::Memory;

/// The task that an event happened in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Thread id.
    pub pid: u32,
    /// Process id.
    pub tgid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Name, zero-padded.
    pub comm: [u8; 16],
}

/// What the hypervisor was doing when an event fired: the seed's helpers 100 to 102.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmContext {
    /// VM, or 0.
    pub vm_id: u32,
    /// vCPU, or 0.
    pub vcpu_id: u32,
    /// Exit reason, or 0.
    pub exit_reason: u64,
}

/// What helpers know of the world: given by the bench to every run.
pub trait Host {
    /// Nanoseconds since boot.
    fn now(&self) -> u64;
    /// CPU of the event.
    fn cpu(&self) -> u32;
    /// CPUs of the bench: how many values a per-CPU map has for each key.
    fn cpus(&self) -> u32 {
        1
    }
    /// Next 32 random bits of the bench.
    fn random(&self) -> u32;
    /// The task of the event.
    fn task(&self) -> Task;
    /// VM, vCPU and exit reason of the event.
    fn vm_context(&self) -> VmContext;
    /// A line of `bpf_trace_printk`, without a newline added.
    fn print(&self, text: &str);
    /// Cookie of the link that the program runs for, or 0.
    fn attach_cookie(&self) -> u64 {
        0
    }
    /// Reads memory that is not the program's (guest or hypervisor memory that the bench simulates).
    ///
    /// # Errors
    /// `EFAULT` where there is none.
    fn probe_read(&self, address: u64, out: &mut [u8]) -> Result<(), Errno> {
        let _ = (address, out);
        Err(Errno::EFAULT)
    }
    /// Name of the symbol at an address with its offset, for `%ps` and `%pB`.
    fn symbol(&self, address: u64) -> Option<String> {
        let _ = address;
        None
    }
    /// Name of the tracepoint of an id (`vmm:vm_boot`), for AxVisor's helper 10.
    fn tracepoint_name(&self, id: u32) -> Option<String> {
        let _ = id;
        None
    }
    /// Runs the program of a number in place of the function of `run` that tail-calls it: in its frame, on the context
    /// and the instructions of that run. None where there is no such program any more.
    ///
    /// # Errors
    /// [`Fault::TailCalled`] with whatever stops it.
    fn tail_call(&self, program: u32, run: &mut Run<'_>) -> Option<Result<u64, Box<Fault>>> {
        let _ = (program, run);
        None
    }
    /// Runs a helper that the user has defined (ids from 0x10000).
    ///
    /// # Errors
    /// [`Fault::Helper`] where there is none of that id, [`Fault::Foreign`] where it failed.
    fn custom_helper(&self, id: u32, args: [u64; 5], memory: &mut Memory<'_>) -> Result<u64, Box<Fault>> {
        let _ = (args, memory);
        Err(Box::new(Fault::Helper { id, what: "there is no such helper".to_owned() }))
    }
}

/// The code that a run executes, as helpers see it: they can call a function of it back.
pub trait Code {
    /// Calls the function whose address (an `lddw` with `src` 4) is `target`, in a new frame.
    ///
    /// # Errors
    /// Whatever stops the callee.
    fn call(&self, run: &mut Run<'_>, target: u64, args: [u64; 5]) -> Result<u64, Box<Fault>>;
}

/// One run of a program: what its helpers work on.
pub struct Run<'r> {
    /// Memory it may touch.
    pub memory: Memory<'r>,
    /// Its maps, by slot.
    pub maps: &'r MapSet,
    /// The bench around it.
    pub host: &'r dyn Host,
    /// The code being run.
    pub code: &'r dyn Code,
    /// Frames in use; the entry has 1.
    pub depth: usize,
    /// Instructions left before [`Fault::Budget`].
    pub left: i64,
    /// Helpers called so far.
    pub calls: u64,
    /// Instructions that it was given.
    pub budget: u64,
    /// What fresh frames are filled with.
    pub pattern: u64,
    /// Tail calls made.
    pub tail_calls: u32,
    /// Where inner maps go that it looks up; none where none of its maps has any.
    pub inner: Option<&'r InnerMaps>,
}

/// What a map argument looks like to a program: `MAP_HANDLES + slot * MAP_HANDLE_STRIDE`. Not an address of memory.
pub const MAP_HANDLES: u64 = 0xffff_b000_0000_0000;
/// Distance of two map handles.
pub const MAP_HANDLE_STRIDE: u64 = 256;
/// What a function pointer looks like to a program: `FUNCTIONS + slot`, the slot of its first instruction.
pub const FUNCTIONS: u64 = 0xffff_c000_0000_0000;

/// The slot of the map that a program has this handle of; there may be no such map.
#[inline]
#[must_use]
pub fn map_slot(handle: u64) -> Option<usize> {
    let offset = handle.wrapping_sub(MAP_HANDLES);
    let slot = offset.is_multiple_of(MAP_HANDLE_STRIDE).then_some(offset / MAP_HANDLE_STRIDE)?;
    usize::try_from(slot).ok()
}

impl<'r> Run<'r> {
    /// The map that a helper argument names.
    ///
    /// # Errors
    /// [`Fault::Helper`] where it names none.
    #[inline]
    pub fn map(&self, handle: u64, helper: u32) -> Result<&'r dyn Map, Box<Fault>> {
        match map_slot(handle).and_then(|slot| self.maps.0.get(slot)) {
            Some(map) => Ok(map.as_ref()),
            None => self.inner_map(handle).ok_or_else(|| no_map(handle, helper)),
        }
    }
}

#[cold]
fn no_map(handle: u64, helper: u32) -> Box<Fault> {
    let args = table::by_id(helper).and_then(|helper| helper.implementation.as_ref()).map_or(&[][..], |row| row.args);
    let argument = if args.first() == Some(&ArgKind::MapPtr) { "first" } else { "second" };
    let what = format!("its {argument} argument is {handle:#x}, which is no map of this program");
    Box::new(Fault::Helper { id: helper, what })
}

/// The fault of a helper that was given a map of a kind that it is not for; none where it is for it.
#[cold]
fn wrong_map(map: &dyn Map, helper: u32) -> Result<(), Box<Fault>> {
    let what = |error: HelperError| Box::new(Fault::Helper { id: helper, what: error.to_string() });
    check_map(helper, map.spec()).map_err(what)
}

/// What a helper that has failed leaves in r0; a fault where the map is of a kind that it is not for.
#[cold]
fn failed(map: &dyn Map, helper: u32, errno: Errno) -> Result<u64, Box<Fault>> {
    wrong_map(map, helper).map(|()| errno.to_r0())
}

/// A helper: arguments r1 to r5 in, r0 out.
pub type HelperFn = fn(&mut Run<'_>, [u64; 5]) -> Result<u64, Box<Fault>>;
