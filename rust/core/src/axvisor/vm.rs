//! rbpf's interpreter as an engine.
//!
//! A program is given to rbpf as it is, but for this: `lddw` of maps and globals are resolved, as a loader does; every
//! call of a helper has the number of its place in the program for its id, because rbpf's helpers cannot tell who
//! called them; and three instructions stand before it, which tell where rbpf has put the stack and leave every
//! register as it was.
//!
//! What cannot be shown to end is refused ([`super::flow`]), and so is what would make rbpf panic. What it can touch
//! is its own stack, a copy of the context, and a block of copies of map values ([`super::copies`]).
//!
//! Safety goes before fidelity, and what differs from rbpf in AxVisor is: a program that may loop is refused, one that
//! calls at more than 255 places and more than 255 helpers too; the context can be stored to and is only copied back
//! where its type allows that; a fault of a helper stops the run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::copies::{Copies, Reachable};
use super::flow::{CALL, Flow, LDDW, Reach};
use super::helpers::{HELPERS, NAME};
use super::run::{Active, Does, RESERVE, SITES, Site, Stop, bare_of};
use crate::engine::{EngineError, Input, Observer, Outcome, ProgramFault, Runnable, Stack};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::helper::{self, ArgKind, CUSTOM_HELPERS, MAP_HANDLE_STRIDE, MAP_HANDLES, ReturnKind};
use crate::isa::{Imm64, Insn, Op, Reg, decode};
use crate::map::{BPF_F_RDONLY_PROG, MapKind, MapSet};
use crate::memory::{Bytes, Window};
use crate::program::Program;

/// What errors call rbpf.
const RBPF: &str = "rbpf 0.4.1, AxVisor's VM,";
/// The most memory for copies of values that a run gets.
const MOST_COPIES: u64 = 64 << 20;
/// Memory for copies where nothing says how much is needed.
const LOOP_COPIES: u64 = 1 << 20;
/// Memory for a ring-buffer record whose size is not known.
const RECORD: u64 = 1 << 16;

/// `r5 = r10; call 0; r5 = 0`: r0 and r5 are 0 before and after.
const PROLOGUE: [Insn; 3] = [
    Insn { code: 0xbf, dst: 5, src: 10, off: 0, imm: 0 },
    Insn { code: CALL, dst: 0, src: 0, off: 0, imm: 0 },
    Insn { code: 0xb7, dst: 5, src: 0, off: 0, imm: 0 },
];

/// Whose helpers a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperLayer {
    /// Linux's, with values that are live memory of their map.
    Linux,
    /// AxVisor's: [`super::HELPERS`].
    Axvisor,
}

/// rbpf's interpreter.
#[derive(Clone, Copy, Debug)]
pub struct Rbpf {
    /// Helpers.
    pub helpers: HelperLayer,
    /// Instructions that a run may need at most; none lets programs loop, which nothing then stops: for a process that
    /// somebody else can end.
    pub budget: Option<u64>,
}

/// A global variable's section, which a program gets a copy of.
struct Global {
    map: usize,
    /// Its value.
    origin: std::ptr::NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: the address of a value of a map that the program owns too; nothing is tied to a thread.
unsafe impl Send for Global {}
// SAFETY: as above; it is only read.
unsafe impl Sync for Global {}

/// A `lddw` of an address in a global variable's section.
struct Patch {
    /// Slot of the `lddw`, the prologue counted.
    at: usize,
    global: usize,
    offset: u32,
}

/// The program for one block of copies.
struct Prepared {
    code: Vec<u8>,
    copies: Copies,
}

struct Loaded {
    program: Arc<Program>,
    maps: MapSet,
    helpers: HelperLayer,
    insns: Vec<Insn>,
    sites: Vec<Site>,
    globals: Vec<Global>,
    patches: Vec<Patch>,
    /// Whether it has the address of a global variable that is nowhere.
    lost_globals: bool,
    room: usize,
    /// Ready for the next runs: one each, so that a run within a run has its own.
    idle: Mutex<Vec<Prepared>>,
}

fn refused(insn: usize, what: impl Into<String>) -> EngineError {
    EngineError::Unsupported { insn, what: what.into() }
}

impl Rbpf {
    /// Makes a program ready to run over its maps, one for each name in `program.maps`.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for what rbpf, or the helper layer, does not have, and for a program whose end
    /// cannot be shown; [`EngineError::Helper`] where Linux refuses a helper; [`EngineError::Map`].
    pub fn load(&self, program: Arc<Program>, maps: MapSet) -> Result<Box<dyn Runnable>, EngineError> {
        if program.insns.is_empty() {
            return Err(EngineError::Empty { program: program.name.clone() });
        }
        accepted(&program)?;
        let mut loader = Loader {
            rbpf: *self,
            sites: vec![Site { id: 0, insn: 0, does: Does::Begin }],
            globals: Vec::new(),
            patches: Vec::new(),
            lost_globals: false,
            insns: PROLOGUE.iter().chain(&program.insns).copied().collect(),
            program: &program,
            maps: &maps,
        };
        loader.resolve()?;
        let largest = maps.0.iter().map(|map| u64::from(map.spec().value_size).next_multiple_of(8)).max().unwrap_or(0);
        let flow = Flow::new(&program.insns, PROLOGUE.len());
        let reach = match self.budget {
            None => {
                flow.check_jumps()?;
                Reach { instructions: 0, copies: LOOP_COPIES.max(2 * largest) }
            }
            Some(_) => flow.reach(|at| loader.copies_at(at, largest))?,
        };
        if let Some(budget) = self.budget
            && reach.instructions > budget
        {
            let most = reach.instructions;
            let what = format!(
                "{RBPF} may need {most} instructions for one run and nothing stops it; the limit is {budget} (Bench(budget=…))"
            );
            return Err(refused(0, what));
        }
        let Loader { sites, globals, patches, lost_globals, insns, .. } = loader;
        let whole: u64 = globals.iter().map(|global| (global.len as u64).next_multiple_of(8)).sum();
        if whole > MOST_COPIES {
            let what = format!("{whole} bytes of global variables; a run on {RBPF} has room for {MOST_COPIES}");
            return Err(refused(0, what));
        }
        let room = reach.copies.min(MOST_COPIES) + whole + NAME as u64;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let helpers = self.helpers;
        let idle = Mutex::default();
        let loaded = Loaded { program, maps, helpers, insns, sites, globals, patches, lost_globals, room, idle };
        let ready = loaded.prepare().map_err(|errno| refused(0, format!("copies of its values: {errno}")))?;
        loaded.idle.lock().push(ready);
        Ok(Box::new(loaded))
    }
}

/// Whether rbpf takes the program.
fn accepted(program: &Program) -> Result<(), EngineError> {
    let bytes: Vec<u8> = program.insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let text = match catch_unwind(|| rbpf::EbpfVmRaw::new(Some(&bytes)).map(|_| ()).map_err(|error| error.to_string()))
    {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(text)) => text,
        Err(payload) => panic_text(&*payload),
    };
    // Only that the last instruction is no jump is said without a place.
    let insn = behind(&text, "insn #").map_or(program.insns.len() - 1, |insn| insn as usize);
    let text = text.trim_start_matches("[Verifier] Error: ");
    let text = text.split(" (insn #").next().unwrap_or(text);
    Err(refused(insn, format!("{RBPF} refuses it: {text}")))
}

/// The number behind a mark in a text of rbpf's, decimal or with 0x.
fn behind(text: &str, mark: &str) -> Option<u64> {
    let rest = &text[text.find(mark)? + mark.len()..];
    match rest.strip_prefix("0x") {
        Some(hex) => {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            u64::from_str_radix(&hex[..end], 16).ok()
        }
        None => rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok(),
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

/// A program on its way to rbpf.
struct Loader<'a> {
    rbpf: Rbpf,
    program: &'a Program,
    maps: &'a MapSet,
    insns: Vec<Insn>,
    sites: Vec<Site>,
    globals: Vec<Global>,
    patches: Vec<Patch>,
    lost_globals: bool,
}

impl Loader<'_> {
    /// Makes calls to call sites and addresses of maps to numbers.
    fn resolve(&mut self) -> Result<(), EngineError> {
        let program = self.program;
        let calls = program.insns.iter().filter(|insn| insn.code == CALL && insn.src == 0).count();
        let shared = calls >= SITES;
        let mut at = 0;
        while at < program.insns.len() {
            let insn = program.insns[at];
            let wide = insn.code == LDDW;
            if wide && insn.src != 0 {
                self.address(at)?;
            } else if insn.code == CALL && insn.src == 0 {
                self.call(at, insn.imm as u32, shared)?;
            }
            at += if wide { 2 } else { 1 };
        }
        Ok(())
    }

    fn call(&mut self, at: usize, id: u32, shared: bool) -> Result<(), EngineError> {
        let known = self.sites.iter().position(|site| shared && site.id == id);
        let site = match known {
            Some(site) => site,
            None => {
                let does = self.does(at, id)?;
                if self.sites.len() == SITES {
                    let most = SITES - 1;
                    return Err(refused(
                        at,
                        format!("more than {most} different helpers, the most that this bench gives rbpf"),
                    ));
                }
                self.sites.push(Site { id, insn: at, does });
                self.sites.len() - 1
            }
        };
        self.insns[PROLOGUE.len() + at].imm = i32::try_from(site).unwrap_or(i32::MAX);
        Ok(())
    }

    fn does(&self, at: usize, id: u32) -> Result<Does, EngineError> {
        if self.rbpf.helpers == HelperLayer::Axvisor {
            if let Some(helper) = HELPERS.iter().find(|helper| helper.id == id) {
                return Ok(Does::Axvisor(helper.run));
            }
            let name = helper::by_id(id).map_or_else(String::new, |helper| format!(" ({})", helper.name));
            let ids = HELPERS.map(|helper| helper.id.to_string()).join(", ");
            return Err(refused(at, format!("helper {id}{name}: AxVisor does not have it; it has {ids}")));
        }
        if id >= CUSTOM_HELPERS {
            return Ok(Does::Custom);
        }
        let checked = helper::check(id, self.program.program_type, self.program.is_gpl_compatible());
        let found = checked.map_err(|source| EngineError::Helper { insn: at, source })?;
        let Some(implementation) = &found.implementation else {
            return Err(refused(at, format!("helper {}#{id}", found.name)));
        };
        if implementation.args.contains(&ArgKind::Callback) {
            return Err(refused(
                at,
                format!("helper {}#{id} calls the program back, which rbpf cannot do", found.name),
            ));
        }
        Ok(Does::Linux(implementation.run, implementation.result))
    }

    fn address(&mut self, at: usize) -> Result<(), EngineError> {
        let (op, _) = decode(&self.program.insns, at).map_err(|source| EngineError::Decode { insn: at, source })?;
        let Op::LoadImm64 { value, .. } = op else { return Ok(()) };
        let number = match value {
            Imm64::Value(number) => number,
            Imm64::Map(slot) => MAP_HANDLES + self.map(at, slot)? as u64 * MAP_HANDLE_STRIDE,
            Imm64::MapValue { map, offset } => {
                let map = self.map(at, map)?;
                if self.rbpf.helpers == HelperLayer::Axvisor {
                    // Its loader puts the map's descriptor here and leaves the offset behind it; nothing has an address.
                    self.lost_globals = true;
                    map as u64 | u64::from(offset) << 32
                } else {
                    let global = self.global(at, map, offset)?;
                    self.patches.push(Patch { at: PROLOGUE.len() + at, global, offset });
                    0
                }
            }
            Imm64::Function { .. } => {
                return Err(refused(at, format!("the address of a function: {RBPF} takes it for a number")));
            }
            Imm64::BtfId { .. } | Imm64::MapIndex(_) | Imm64::MapIndexValue { .. } => {
                return Err(refused(at, format!("a `lddw` of this kind: {RBPF} takes it for a number")));
            }
        };
        let wide = PROLOGUE.len() + at;
        set_lddw(&mut self.insns, wide, number);
        Ok(())
    }

    fn map(&self, at: usize, slot: i32) -> Result<usize, EngineError> {
        usize::try_from(slot).ok().filter(|&slot| slot < self.maps.0.len()).ok_or_else(|| EngineError::Map {
            insn: at,
            what: format!("map {slot}: this program has {} maps", self.maps.0.len()),
        })
    }

    fn global(&mut self, at: usize, slot: usize, offset: u32) -> Result<usize, EngineError> {
        if let Some(index) = self.globals.iter().position(|global| global.map == slot) {
            return Ok(index);
        }
        let map = &self.maps.0[slot];
        let spec = map.spec();
        let missing = |what: String| EngineError::Map { insn: at, what: format!("{}: {what}", spec.name) };
        if offset >= spec.value_size {
            return Err(missing(format!("offset {offset} of a value of {} bytes", spec.value_size)));
        }
        let one = spec.kind == MapKind::Array && spec.max_entries == 1;
        let value = if one { map.lookup(0, Bytes::from(&[0; 4][..])) } else { None };
        let origin =
            value.ok_or_else(|| missing("only an array of one entry has a value at a fixed address".to_owned()))?;
        let writable = spec.flags & BPF_F_RDONLY_PROG == 0;
        self.globals.push(Global { map: slot, origin, len: spec.value_size as usize, writable });
        Ok(self.globals.len() - 1)
    }

    /// Bytes of copies that the instruction in a slot may need.
    fn copies_at(&self, at: usize, largest: u64) -> u64 {
        let insn = self.program.insns[at];
        if insn.code != CALL || insn.src != 0 {
            return 0;
        }
        let site = usize::try_from(self.insns[PROLOGUE.len() + at].imm).ok().and_then(|site| self.sites.get(site));
        match site.map(|site| (site.does, site.id)) {
            Some((Does::Linux(_, ReturnKind::MapValueOrNull), _) | (Does::Axvisor(_), 1)) => largest,
            Some((Does::Linux(_, ReturnKind::RingRecordOrNull), _)) => RECORD,
            _ => 0,
        }
    }
}

/// Makes the `lddw` in a slot load a number.
fn set_lddw(insns: &mut [Insn], at: usize, number: u64) {
    insns[at].src = Reg::R0.number();
    insns[at].imm = number as i32;
    insns[at + 1].imm = (number >> 32) as i32;
}

impl Loaded {
    /// The program with a block of its own.
    fn prepare(&self) -> Result<Prepared, Errno> {
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

    /// Runs it on a block.
    ///
    /// # Safety
    /// As of [`Runnable::run`].
    unsafe fn execute(
        &self,
        Prepared { code, copies }: &Prepared,
        input: &Input<'_>,
    ) -> Result<u64, Box<ProgramFault>> {
        let reachable = Reachable { copies, maps: &self.maps };
        let Some(_bases) = self.place_globals(copies) else { return Err(self.fault(0, *super::run::no_room())) };
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
            result = result.and(Err(self.fault(0, *fault)));
        }
        // A run that was stopped must not leave a busy record, which would stop every consumer of the ring.
        if let Some((records, fault)) = active.unreleased() {
            result = result.and_then(|_| Err(self.fault(active.call_of(RESERVE), *fault)));
            for record in records {
                let _given_up = self.maps.0.iter().any(|map| map.commit(record, 0, true).is_ok());
            }
        }
        if input.context.writable {
            let from = (start as u64 + hidden) as *const u8;
            // SAFETY: the caller answers for the context; the words have as many bytes behind the hidden ones.
            unsafe {
                std::ptr::copy_nonoverlapping(from, input.context.start as *mut u8, input.context.len as usize);
            }
        }
        result
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
                return Outcome { result: Err(self.fault(0, Fault::Instruction { what })), instructions: 0 };
            }
        };
        self.maps.0.iter().for_each(|map| map.begin_run());
        // SAFETY: the caller's promise is the same.
        let result = unsafe { self.execute(&prepared, input) };
        prepared.copies.clear();
        self.idle.lock().push(prepared);
        self.maps.0.iter().for_each(|map| map.end_run());
        Outcome { result, instructions: 0 }
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

    fn reset_counts(&self) {}
}
