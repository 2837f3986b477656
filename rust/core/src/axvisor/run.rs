//! One run on rbpf: its state, and the way from its bare helper functions back to it.
//!
//! rbpf calls `fn(u64, u64, u64, u64, u64) -> u64` and nothing else. So the run is found through the thread, and which
//! call it is through the function: each call in a program has its own of [`SITES`] functions. What a helper cannot
//! return, a fault, leaves as an unwinding that [`super::vm`] catches around rbpf; no panic hook hears of it.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};

use super::copies::{Copies, Reachable};
use super::helpers::{AxvisorFn, Call, NAME};
use crate::fault::Fault;
use crate::helper::{Code, HelperFn, ReturnKind, Run};
use crate::map::{BPF_F_RDONLY_PROG, MapSet};
use crate::memory::{FRAME, Memory, Window};

use crate::engine::Input;

/// A helper as rbpf calls it.
pub(super) type Bare = fn(u64, u64, u64, u64, u64) -> u64;

/// What a call site does.
#[derive(Clone, Copy)]
pub(super) enum Does {
    /// What is before the program: says where the stack is.
    Begin,
    /// A helper of Linux's table.
    Linux(HelperFn, ReturnKind),
    /// A helper that the user has defined.
    Custom,
    /// A helper of AxVisor's.
    Axvisor(AxvisorFn),
}

/// A place in a program that calls a helper.
#[derive(Clone, Copy)]
pub(super) struct Site {
    /// Id of the helper.
    pub id: u32,
    /// Slot of the call; of the first one, where there are so many that those of a helper share its site.
    pub insn: usize,
    pub does: Does,
}

/// How many call sites there can be. An unrolled loop makes many of few.
pub(super) const SITES: usize = 1024;

thread_local! {
    /// The run that rbpf is executing on this thread: an `Active`.
    static ACTIVE: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

fn bare<const SITE: usize>(a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
    let active = ACTIVE.get().cast::<Active<'_>>();
    // SAFETY: `Active::enter` sets the pointer for as long as rbpf executes, during which it refers to a live `Active`,
    // and takes it back; rbpf calls this function only while it executes. An `Active` is only ever borrowed shared.
    let Some(active) = (unsafe { active.as_ref() }) else { return u64::MAX };
    match active.call(SITE, [a, b, c, d, e]) {
        Ok(r0) => r0,
        Err(fault) => {
            active.stopped.replace(Some(fault));
            resume_unwind(Box::new(Stop))
        }
    }
}

/// What unwinds through rbpf when a helper stops the run; the fault is in the run.
pub(super) struct Stop;

macro_rules! rows {
    ($($row:literal)*) => { [$([
        bare::<{ $row * 16 }>, bare::<{ $row * 16 + 1 }>, bare::<{ $row * 16 + 2 }>, bare::<{ $row * 16 + 3 }>,
        bare::<{ $row * 16 + 4 }>, bare::<{ $row * 16 + 5 }>, bare::<{ $row * 16 + 6 }>, bare::<{ $row * 16 + 7 }>,
        bare::<{ $row * 16 + 8 }>, bare::<{ $row * 16 + 9 }>, bare::<{ $row * 16 + 10 }>, bare::<{ $row * 16 + 11 }>,
        bare::<{ $row * 16 + 12 }>, bare::<{ $row * 16 + 13 }>, bare::<{ $row * 16 + 14 }>, bare::<{ $row * 16 + 15 }>,
    ]),*] };
}

static BARE: [[Bare; 16]; SITES / 16] = rows!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
);

/// The function of a call site, which must be below [`SITES`].
pub(super) fn bare_of(site: usize) -> Bare {
    BARE[site / 16][site % 16]
}

/// The block of copies is full.
pub(super) fn no_room() -> Box<Fault> {
    Box::new(Fault::Instruction {
        what:
            "the run has looked up more values than it has room for copies of; rbpf cannot be given more while it runs"
                .to_owned(),
    })
}

/// A run in progress.
pub(super) struct Active<'a> {
    pub(super) sites: &'a [Site],
    pub(super) copies: &'a Copies,
    pub(super) reachable: &'a Reachable<'a>,
    pub(super) maps: &'a MapSet,
    pub(super) input: &'a Input<'a>,
    /// The context as rbpf has it, and where it begins.
    pub(super) context: (Window, u64),
    /// The buffer for names of tracepoints; 0 with Linux's helpers.
    pub(super) name: u64,
    run: RefCell<Option<Run<'a>>>,
    /// The site that was called last.
    site: Cell<usize>,
    stopped: RefCell<Option<Box<Fault>>>,
}

/// rbpf runs a program from its beginning and nothing else.
struct NeverCalledBack;

impl Code for NeverCalledBack {
    fn call(&self, _run: &mut Run<'_>, _target: u64, _args: [u64; 5]) -> Result<u64, Box<Fault>> {
        Err(Box::new(Fault::Instruction { what: "rbpf cannot be called back".to_owned() }))
    }
}

impl<'a> Active<'a> {
    pub(super) fn new(
        sites: &'a [Site],
        reachable: &'a Reachable<'a>,
        input: &'a Input<'a>,
        context: (Window, u64),
        name: u64,
    ) -> Active<'a> {
        let Reachable { copies, maps, .. } = *reachable;
        let (run, site, stopped) = (RefCell::default(), Cell::new(0), RefCell::default());
        Active { sites, copies, reachable, maps, input, context, name, run, site, stopped }
    }

    /// Executes with this run as the thread's.
    pub(super) fn enter<T>(&self, execute: impl FnOnce() -> T) -> T {
        struct Restore(*const ());
        impl Drop for Restore {
            fn drop(&mut self) {
                ACTIVE.set(self.0);
            }
        }
        let _restore = Restore(ACTIVE.replace(ptr::from_ref(self).cast()));
        execute()
    }

    /// The fault with which a helper has stopped the run, and the instruction that called it.
    pub(super) fn stopped(&self) -> Option<(usize, Box<Fault>)> {
        let fault = self.stopped.take()?;
        Some((self.sites.get(self.site.get()).map_or(0, |site| site.insn), fault))
    }

    /// A stable name for an address.
    pub(super) fn describe(&self, address: u64) -> String {
        match &*self.run.borrow() {
            Some(run) => run.memory.describe(address),
            None => format!("{address:#x}"),
        }
    }

    /// Gives up the ring-buffer records that the run still has reserved: a busy one would stop every consumer of the ring.
    /// Returns the fault that this is at its end.
    pub(super) fn give_up(&self) -> Option<Box<Fault>> {
        let mut run = self.run.borrow_mut();
        let run = run.as_mut().filter(|run| run.owes())?;
        let fault = run.unreleased();
        run.give_up();
        Some(fault)
    }

    /// How many helpers the run has called.
    pub(super) fn calls(&self) -> u64 {
        self.run.borrow().as_ref().map_or(0, |run| run.calls)
    }

    /// Slot of the first call of a helper.
    pub(super) fn call_of(&self, id: u32) -> usize {
        self.sites.iter().find(|site| site.id == id).map_or(0, |site| site.insn)
    }

    #[inline(never)] // one, not one for each site
    fn call(&self, number: usize, args: [u64; 5]) -> Result<u64, Box<Fault>> {
        self.site.set(number);
        let Some(site) = self.sites.get(number).copied() else {
            return Err(Box::new(Fault::Instruction { what: "a call that the program does not have".to_owned() }));
        };
        let mut run = self.run.borrow_mut();
        if let Some(run) = &mut *run {
            run.calls += 1;
        }
        match (site.does, &mut *run) {
            (Does::Begin, _) => {
                *run = Some(self.begin(args[4]));
                Ok(0)
            }
            (Does::Axvisor(function), Some(run)) => {
                function(&mut Call { run, copies: self.copies, name: self.name }, args)
            }
            (Does::Linux(function, kind), Some(run)) => self.linux(run, site.id, function, kind, args),
            (Does::Custom, Some(run)) => {
                self.write_back()?;
                let r0 = run.host.custom_helper(site.id, args, &mut run.memory)?;
                self.write_back()?;
                self.copies.refresh();
                Ok(r0)
            }
            (_, None) => Err(Box::new(Fault::Instruction { what: "a call before the run began".to_owned() })),
        }
    }

    /// What helpers work on, now that it is known where rbpf's stack is: `top` is r10.
    fn begin(&self, top: u64) -> Run<'a> {
        let stack = Window { start: top - FRAME, len: FRAME, writable: true };
        let (context, start) = self.context;
        // SAFETY: rbpf has 512 bytes below r10, its one stack, for as long as it executes, and no more frames are
        // made live. The context is this run's own buffer. Both are only reached by address.
        let mut memory = unsafe { Memory::new(stack, context, start, self.reachable) };
        for &window in self.input.extra {
            // SAFETY: whoever gave the input answers for it.
            unsafe { memory.allow(window) };
        }
        if self.name != 0 {
            // SAFETY: memory of the run's block of copies.
            unsafe { memory.allow(Window { start: self.name, len: NAME as u64, writable: true }) };
        }
        let left = i64::try_from(self.input.budget).unwrap_or(i64::MAX);
        Run {
            memory,
            maps: self.maps,
            host: self.input.host,
            code: &NeverCalledBack,
            depth: 1,
            left,
            calls: 0,
            budget: self.input.budget,
            pattern: 0,
            tail_calls: 0,
            inner: Some(self.reachable.inner),
        }
    }

    /// Stores what the program has changed in its copies.
    pub(super) fn write_back(&self) -> Result<(), Box<Fault>> {
        self.copies.write_back().map_err(|address| self.reachable.read_only(address))
    }

    /// A helper of Linux's, between two moments at which copies and values are equal.
    fn linux(
        &self,
        run: &mut Run<'a>,
        id: u32,
        function: HelperFn,
        kind: ReturnKind,
        mut args: [u64; 5],
    ) -> Result<u64, Box<Fault>> {
        self.write_back()?;
        let given_up = matches!(id, SUBMIT | DISCARD).then_some(args[0]);
        if let Some(record) = given_up {
            args[0] = self.copies.origin(record).unwrap_or(record);
        }
        let r0 = function(run, args)?;
        self.write_back()?;
        self.copies.refresh();
        if let Some(record) = given_up {
            self.copies.unlink(record);
        }
        let (len, writable) = match kind {
            ReturnKind::MapValueOrNull => {
                if run.is_inner_map(r0) {
                    return Ok(r0);
                }
                let spec = run.map(args[0], id)?.spec();
                (spec.value_size as usize, spec.flags & BPF_F_RDONLY_PROG == 0)
            }
            ReturnKind::RingRecordOrNull => (args[1] as usize, true),
            // The loader lets no program through that has dynptrs.
            ReturnKind::DynptrMemoryOrNull => return Ok(r0),
            ReturnKind::Void | ReturnKind::Integer => return Ok(r0),
        };
        let Some(origin) = NonNull::new(r0 as *mut u8) else { return Ok(0) };
        // SAFETY: a value or record that a map has handed out stays valid memory until the map is dropped, or, where it
        // lends copies, until the run has ended (`Map`); both are 8-aligned and padded to 8.
        unsafe { self.copies.copy(origin, len, true, writable) }.ok_or_else(no_room)
    }
}

/// `bpf_ringbuf_reserve`.
pub(super) const RESERVE: u32 = 131;
/// `bpf_ringbuf_submit`, which gives its record up.
const SUBMIT: u32 = 132;
/// `bpf_ringbuf_discard`, which does too.
const DISCARD: u32 = 133;
