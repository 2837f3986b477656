//! rbpf's interpreter, run on a program that [`super::load`] has made ready.
//!
//! What it can touch is its own stack, a copy of the context, and a block of copies of map values ([`super::copies`]).
//!
//! Safety goes before fidelity: the context can be stored to, and is only copied back where its type allows that; a
//! fault of a helper stops the run; the VM is made anew for each run, as AxVisor does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::copies::{Copies, Reachable};
use super::helpers::NAME;
use super::load::{HelperLayer, PROLOGUE};
use super::run::{Active, RESERVE, Site, Stop, bare_of};
use crate::engine::{Input, Observer, Outcome, ProgramFault, Runnable, Stack};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::helper::InnerMaps;
use crate::isa::opcode::{class, jump};
use crate::isa::{Insn, Reg};
use crate::map::MapSet;
use crate::memory::Window;
use crate::program::Program;

/// What errors call rbpf.
pub(super) const RBPF: &str = "rbpf 0.4.1, AxVisor's VM,";

/// A global variable's section, which a program gets a copy of.
pub(super) struct Global {
    pub(super) map: usize,
    /// Its value.
    pub(super) origin: std::ptr::NonNull<u8>,
    pub(super) len: usize,
    pub(super) writable: bool,
}

// SAFETY: the address of a value of a map that the program owns too; nothing is tied to a thread.
unsafe impl Send for Global {}
// SAFETY: as above; it is only read.
unsafe impl Sync for Global {}

/// A `lddw` of an address in a global variable's section.
pub(super) struct Patch {
    /// Slot of the `lddw`, the prologue counted.
    pub(super) at: usize,
    pub(super) global: usize,
    pub(super) offset: u32,
}

/// The program for one block of copies.
pub(super) struct Prepared {
    code: Vec<u8>,
    copies: Copies,
}

pub(super) struct Loaded {
    pub(super) program: Arc<Program>,
    pub(super) maps: MapSet,
    pub(super) helpers: HelperLayer,
    pub(super) insns: Vec<Insn>,
    pub(super) sites: Vec<Site>,
    pub(super) globals: Vec<Global>,
    pub(super) patches: Vec<Patch>,
    /// Whether it has the address of a global variable that is nowhere.
    pub(super) lost_globals: bool,
    pub(super) room: usize,
    /// Ready for the next runs: one each, so that a run within a run has its own.
    pub(super) idle: Mutex<Vec<Prepared>>,
}

/// The number behind a mark in a text of rbpf's, decimal or with 0x.
pub(super) fn behind(text: &str, mark: &str) -> Option<u64> {
    let rest = &text[text.find(mark)? + mark.len()..];
    match rest.strip_prefix("0x") {
        Some(hex) => {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            u64::from_str_radix(&hex[..end], 16).ok()
        }
        None => rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok(),
    }
}

pub(super) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

/// Makes the `lddw` in a slot load a number.
pub(super) fn set_lddw(insns: &mut [Insn], at: usize, number: u64) {
    insns[at].src = Reg::R0.number();
    insns[at].imm = number as i32;
    insns[at + 1].imm = (number >> 32) as i32;
}

impl Loaded {
    /// The program with a block of its own.
    pub(super) fn prepare(&self) -> Result<Prepared, Errno> {
        let copies = Copies::new(self.room)?;
        let bases = self.place_globals(&copies).ok_or(Errno::ENOMEM)?;
        let mut insns = self.insns.clone();
        for patch in &self.patches {
            set_lddw(&mut insns, patch.at, bases[patch.global] + u64::from(patch.offset));
        }
        copies.clear();
        Ok(Prepared { code: insns.iter().flat_map(|insn| insn.to_bytes()).collect(), copies })
    }

    /// Copies the globals to the beginning of an empty block: to the same addresses every time.
    fn place_globals(&self, copies: &Copies) -> Option<Vec<u64>> {
        let place = |global: &Global| {
            // SAFETY: the value of an array, which the program's maps keep; it is 8-aligned and padded to 8.
            unsafe { copies.copy(global.origin, global.len, true, global.writable) }
        };
        self.globals.iter().map(place).collect()
    }

    /// Runs it on a block: `r0` or what stopped it, and how many helpers it called.
    ///
    /// # Safety
    /// As of [`Runnable::run`].
    unsafe fn execute(
        &self,
        Prepared { code, copies }: &Prepared,
        input: &Input<'_>,
    ) -> (Result<u64, Box<ProgramFault>>, u64) {
        let inner = InnerMaps::default();
        let reachable = Reachable { copies, maps: &self.maps, inner: &inner };
        let Some(_bases) = self.place_globals(copies) else { return (Err(self.fault(0, *super::run::no_room())), 0) };
        let name = if self.helpers == HelperLayer::Axvisor { copies.take(NAME).unwrap_or(0) } else { 0 };

        // The context is a copy, so that what may not be stored to is not: rbpf has no read-only memory.
        let hidden = if input.context.len == 0 || input.args[0] == 0 {
            0
        } else {
            input.context.start.saturating_sub(input.args[0])
        };
        let first = input.context.start - hidden;
        let len = (hidden + input.context.len) as usize;
        let mut words = vec![0_u64; len.div_ceil(8)];
        let start = words.as_mut_ptr().cast::<u8>();
        // SAFETY: the caller answers for the context and what lies between it and r1; the words have `len` bytes.
        unsafe { std::ptr::copy_nonoverlapping(first as *const u8, start, len) };
        let window = Window { start: start as u64 + hidden, len: input.context.len, writable: input.context.writable };
        let active = Active::new(&self.sites, &reachable, input, (window, start as u64), name);

        // SAFETY: `len` bytes of the words, to which nothing else refers while this lives.
        let memory = unsafe { std::slice::from_raw_parts_mut(start, len) };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut vm = rbpf::EbpfVmRaw::new(Some(code))?;
            vm.register_allowed_memory(copies.block());
            for site in 0..self.sites.len() {
                vm.register_helper(site as u32, bare_of(site))?;
            }
            active.enter(|| vm.execute_program(memory))
        }));
        let mut result = match ran {
            Ok(Ok(r0)) => Ok(r0),
            Ok(Err(error)) => Err(self.error(&active, &error.to_string())),
            Err(payload) => Err(match active.stopped() {
                Some((insn, fault)) if payload.is::<Stop>() => self.fault(insn, *fault),
                _ => {
                    let what = format!("{RBPF} failed: {}", panic_text(&*payload));
                    self.fault(0, Fault::Instruction { what })
                }
            }),
        };
        // What was stored before the end stays, whatever the end was.
        if let Err(fault) = active.write_back() {
            result = result.and(Err(self.fault(self.exit(), *fault)));
        }
        if let Some(fault) = active.give_up() {
            result = result.and_then(|_| Err(self.fault(active.call_of(RESERVE), *fault)));
        }
        if input.context.writable {
            let from = (start as u64 + hidden) as *const u8;
            // SAFETY: the caller answers for the context; the words have as many bytes behind the hidden ones.
            unsafe {
                std::ptr::copy_nonoverlapping(from, input.context.start as *mut u8, input.context.len as usize);
            }
        }
        (result, active.calls())
    }

    /// Slot of the entry's first `exit`, its only one where a compiler made it.
    fn exit(&self) -> usize {
        self.program.insns.iter().position(|insn| insn.code == class::JMP | jump::EXIT).unwrap_or(0)
    }

    /// What rbpf has said, in our words.
    fn error(&self, active: &Active<'_>, text: &str) -> Box<ProgramFault> {
        let insn = behind(text, "insn #").unwrap_or(0) as usize;
        let insn = insn.saturating_sub(1 + PROLOGUE.len());
        if text.contains("too many nested calls") {
            return self.fault(insn, Fault::CallDepth { depth: 10 });
        }
        let access = (behind(text, "addr "), behind(text, "size "));
        let (true, (Some(address), Some(size))) = (text.contains("out of bounds memory"), access) else {
            let what = format!("{RBPF} stopped: {}", text.lines().next().unwrap_or(text));
            return self.fault(insn, Fault::Instruction { what });
        };
        let write = text.contains("memory store");
        let lost = self.lost_globals && (address as u32 as usize) < self.maps.0.len();
        let why = if lost { "AxVisor's loader gives global variables no memory" } else { "no live memory there" };
        let place = if lost { format!("{address:#x}") } else { active.describe(address) };
        self.fault(insn, Fault::Memory { address, size, write, place, why })
    }

    fn fault(&self, insn: usize, fault: Fault) -> Box<ProgramFault> {
        let line = self.program.line_of(insn).cloned();
        Box::new(ProgramFault { program: self.program.name.clone(), insn, line, fault })
    }
}

impl Runnable for Loaded {
    fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// rbpf counts no instructions, so the outcome has none.
    unsafe fn run(&self, _stack: &mut Stack, input: &Input<'_>) -> Outcome {
        let idle = self.idle.lock().pop();
        let prepared = match idle.map_or_else(|| self.prepare(), Ok) {
            Ok(prepared) => prepared,
            Err(errno) => {
                let what = format!("copies of its values: {errno}");
                return Outcome { result: Err(self.fault(0, Fault::Instruction { what })), instructions: 0, calls: 0 };
            }
        };
        self.maps.0.iter().for_each(|map| map.begin_run());
        // SAFETY: the caller's promise is the same.
        let (result, calls) = unsafe { self.execute(&prepared, input) };
        prepared.copies.clear();
        self.idle.lock().push(prepared);
        self.maps.0.iter().for_each(|map| map.end_run());
        Outcome { result, instructions: 0, calls }
    }

    unsafe fn observe(&self, stack: &mut Stack, input: &Input<'_>, _observer: &mut dyn Observer) -> Outcome {
        // SAFETY: the caller's promise is the same.
        unsafe { self.run(stack, input) }
    }

    /// rbpf shows nothing and counts nothing.
    fn is_observable(&self) -> bool {
        false
    }

    fn counts(&self) -> Vec<(usize, u64)> {
        Vec::new()
    }

    fn last(&self) -> Option<usize> {
        None
    }

    fn reset_counts(&self) {}
}
