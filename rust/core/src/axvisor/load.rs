//! A program made ready for rbpf.
//!
//! rbpf is given the program as it is, but for this: `lddw` of maps and globals are resolved, as a loader does; every
//! call of a helper has the number of its place in the program for its id, because rbpf's helpers cannot tell who
//! called them; and three instructions stand before it, which tell where rbpf has put the stack and leave every
//! register as it was.
//!
//! What cannot be shown to end is refused ([`super::flow`], [`super::ends`]), and so is what would make rbpf panic,
//! and a program that calls more than 1023 different helpers from more than 1023 places.

use std::panic::catch_unwind;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ends::{Around, Lends};
use super::flow::{CALL, Flow, LDDW, Reach, refused};
use super::helpers::{HELPERS, LOOKUP, NAME};
use super::run::{Does, SITES, Site};
use super::vm::{Global, Loaded, Patch, RBPF, behind, panic_text, set_lddw};
use crate::engine::{EngineError, Runnable};
use crate::helper::{self, ArgKind, CUSTOM_HELPERS, MAP_HANDLE_STRIDE, MAP_HANDLES, ReturnKind, TAIL_CALL};
use crate::isa::{Imm64, Insn, Op, decode};
use crate::map::{BPF_F_RDONLY_PROG, Holds, Map, MapKind, MapSet};
use crate::memory::Bytes;
use crate::program::Program;

/// The most memory for copies of values that a run gets.
const MOST_COPIES: u64 = 64 << 20;
/// Memory for copies where nothing says how much is needed.
const LOOP_COPIES: u64 = 1 << 20;
/// Memory for a ring-buffer record whose size is not known.
const RECORD: u64 = 1 << 16;

/// `r5 = r10; call 0; r5 = 0`: r0 and r5 are 0 before and after.
pub(super) const PROLOGUE: [Insn; 3] = [
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

/// Bytes of the values that a look-up in a map, or in its inner maps, gives.
fn value_size(map: &dyn Map) -> u64 {
    let spec = if let Holds::Maps(maps) = map.holds() { &maps.shape().template } else { map.spec() };
    spec.value_size.into()
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
        let largest = maps.0.iter().map(|map| value_size(&**map).next_multiple_of(8)).max().unwrap_or(0);
        let mut loader = Loader {
            rbpf: *self,
            sites: vec![Site { id: 0, insn: 0, does: Does::Begin }],
            globals: Vec::new(),
            patches: Vec::new(),
            lost_globals: false,
            insns: PROLOGUE.iter().chain(&program.insns).copied().collect(),
            program: &program,
            maps: &maps,
            largest,
        };
        loader.resolve()?;
        let flow = Flow::new(&loader.insns[PROLOGUE.len()..], PROLOGUE.len());
        let reach = match self.budget {
            None => {
                flow.check_jumps()?;
                Reach { instructions: 0, copies: LOOP_COPIES.max(2 * largest) }
            }
            Some(budget) => flow.reach(&loader, budget)?,
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
    /// Bytes that a copy of a value takes at most.
    largest: u64,
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
        if id == TAIL_CALL {
            let what =
                format!("helper {}#{id}: {RBPF} runs one program to its end; tail calls are Linux's", found.name);
            return Err(refused(at, what));
        }
        if implementation.args.contains(&ArgKind::Callback) {
            return Err(refused(
                at,
                format!("helper {}#{id} calls the program back, which rbpf cannot do", found.name),
            ));
        }
        if implementation.args.contains(&ArgKind::SpinLock) {
            let what =
                format!("helper {}#{id}: {RBPF} works on copies of values, in which there are no locks", found.name);
            return Err(refused(at, what));
        }
        if implementation.args.iter().any(|kind| kind.is_dynptr()) {
            let what = format!("helper {}#{id}: {RBPF} knows no dynptrs; they are Linux's", found.name);
            return Err(refused(at, what));
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
        let map = &self.maps.0[slot];
        let spec = map.spec();
        let missing = |what: String| EngineError::Map { insn: at, what: format!("{}: {what}", spec.name) };
        if offset >= spec.value_size {
            return Err(missing(format!("offset {offset} of a value of {} bytes", spec.value_size)));
        }
        if let Some(index) = self.globals.iter().position(|global| global.map == slot) {
            return Ok(index);
        }
        let one = spec.kind == MapKind::Array && spec.max_entries == 1;
        let value = if one { map.lookup(0, Bytes::from(&[0; 4][..])) } else { None };
        let origin =
            value.ok_or_else(|| missing("only an array of one entry has a value at a fixed address".to_owned()))?;
        let writable = spec.flags & BPF_F_RDONLY_PROG == 0;
        self.globals.push(Global { map: slot, origin, len: spec.value_size as usize, writable });
        Ok(self.globals.len() - 1)
    }

    /// The call site that the instruction in a slot is.
    fn site(&self, at: usize) -> Option<&Site> {
        let insn = self.insns[PROLOGUE.len() + at];
        let number = (insn.code == CALL && insn.src == 0).then_some(insn.imm)?;
        self.sites.get(usize::try_from(number).ok()?)
    }
}

impl Around for Loader<'_> {
    fn copies(&self, at: usize) -> u64 {
        match self.lends(at) {
            Lends::Nothing => 0,
            Lends::Value => self.largest,
            Lends::Record => RECORD,
        }
    }

    fn stores(&self, at: usize) -> bool {
        let writes = |kind: &ArgKind| {
            matches!(
                kind,
                ArgKind::MapValueOut
                    | ArgKind::MemWrite
                    | ArgKind::MemWriteOrNull
                    | ArgKind::Callback
                    | ArgKind::StackOrNull
            )
        };
        match self.site(at).map(|site| (site.does, site.id)) {
            Some((Does::Linux(..), id)) => {
                let implementation = helper::by_id(id).and_then(|helper| helper.implementation.as_ref());
                implementation.is_none_or(|implementation| implementation.args.iter().any(writes))
            }
            Some((Does::Axvisor(_), id)) => HELPERS.iter().any(|helper| helper.id == id && helper.stores),
            Some((Does::Begin | Does::Custom, _)) | None => true,
        }
    }

    fn lends(&self, at: usize) -> Lends {
        match self.site(at).map(|site| (site.does, site.id)) {
            Some((Does::Linux(_, ReturnKind::MapValueOrNull), _) | (Does::Axvisor(_), LOOKUP)) => Lends::Value,
            Some((Does::Linux(_, ReturnKind::RingRecordOrNull), _)) => Lends::Record,
            _ => Lends::Nothing,
        }
    }

    fn value_size(&self, map: u64) -> Option<u32> {
        let slot = helper::map_slot(map)?;
        // A look-up in a map of maps gives no memory.
        self.maps.0.get(slot).filter(|map| !map.spec().kind.is_of_maps()).map(|map| map.spec().value_size)
    }

    fn global(&self, at: usize) -> Option<u32> {
        let index = self.patches.binary_search_by_key(&(PROLOGUE.len() + at), |patch| patch.at).ok()?;
        let patch = &self.patches[index];
        u32::try_from(self.globals[patch.global].len).ok()?.checked_sub(patch.offset)
    }
}
