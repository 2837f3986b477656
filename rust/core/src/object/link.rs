//! Linking: a program's functions one behind the other, calls and references resolved.
//!
//! The order is libbpf's: a function is appended when the first call or pointer to it is met, and its own calls are
//! followed before the caller's next instruction.

use std::collections::HashMap;

use super::elf::{Elf, Place, Symbol};
use super::error::{ExternKind, LoadError, LoadReason};
use super::function::{CALL, Functions, LDDW, MAX_INSNS, PSEUDO_CALL, PSEUDO_FUNC, target_slot};
use super::line::{self, Texts};
use super::maps::Maps;
use crate::btf::{Btf, BtfError, BtfExt, BtfKind, Linkage};
use crate::isa::Insn;
use crate::program::{Program, ProgramType, SourceLine, Subprogram};

/// Most functions in one program (`BPF_MAX_SUBPROGS`), and most maps (`MAX_USED_MAPS`): the kernel's limits.
const MAX_SUBPROGRAMS: u64 = 256;
const MAX_USED_MAPS: u64 = 64;
/// Most instruction slots in all programs of an object.
const MAX_LINKED: u64 = 4_000_000;
/// `BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE`: the source field of a reference to a map, and to its value.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
/// `BPF_PSEUDO_KFUNC_CALL`.
const PSEUDO_KFUNC: u8 = 2;

pub(super) struct Linker<'a> {
    elf: &'a Elf<'a>,
    btf: Option<&'a Btf>,
    ext: &'a BtfExt,
    functions: &'a Functions,
    maps: &'a Maps,
    license: &'a str,
    texts: Texts,
    /// Slots linked so far, in all programs.
    linked: u64,
    externs: HashMap<&'a str, ExternKind>,
}

/// What an instruction refers to.
enum Reference {
    Function(usize),
    Map(usize),
    Value { map: usize, offset: u32 },
}

/// A program in the making.
#[derive(Default)]
struct Draft {
    insns: Vec<Insn>,
    /// Base and function, ascending.
    placed: Vec<(usize, usize)>,
    /// Base by function.
    bases: HashMap<usize, usize>,
    references: Vec<(usize, Reference)>,
}

/// A function whose instructions are being followed.
struct Frame {
    function: usize,
    base: usize,
    slot: usize,
}

impl<'a> Linker<'a> {
    pub(super) fn new(
        elf: &'a Elf<'a>,
        btf: Option<&'a Btf>,
        ext: &'a BtfExt,
        functions: &'a Functions,
        maps: &'a Maps,
        license: &'a str,
    ) -> Result<Linker<'a>, LoadError> {
        let externs = match btf {
            Some(btf) => externs(btf).map_err(|e| elf.error(e.into()).section(".BTF"))?,
            None => HashMap::new(),
        };
        Ok(Linker { elf, btf, ext, functions, maps, license, texts: Texts::default(), linked: 0, externs })
    }

    /// Links the program that begins with function `entry`.
    pub(super) fn link(
        &mut self,
        entry: usize,
        program_type: Option<ProgramType>,
        target: Option<&str>,
    ) -> Result<Program, LoadError> {
        let mut draft = Draft::default();
        let mut frames = vec![self.place(entry, &mut draft)?];
        while let Some(frame) = frames.last_mut() {
            let (function, slot, at) = (frame.function, frame.slot, frame.base + frame.slot);
            if slot >= self.functions.all[function].len {
                frames.pop();
                continue;
            }
            let insn = draft.insns[at];
            frame.slot += if insn.code == LDDW { 2 } else { 1 };
            let reference =
                self.reference(function, slot, insn).map_err(|reason| self.error(function, slot, reason))?;
            let Some(reference) = reference else { continue };
            if let Reference::Function(callee) = reference
                && !draft.bases.contains_key(&callee)
            {
                frames.push(self.place(callee, &mut draft)?);
            }
            draft.references.push((at, reference));
        }
        self.finish(entry, draft, program_type, target)
    }

    /// Where something is wrong with an instruction.
    fn error(&self, function: usize, slot: usize, reason: LoadReason) -> LoadError {
        let function = &self.functions.all[function];
        self.elf
            .error(reason)
            .section(&self.elf.sections[function.section].name)
            .offset((function.start + slot) as u64 * 8)
            .function(&function.name, slot)
    }

    /// Appends a function's instructions.
    fn place(&mut self, index: usize, draft: &mut Draft) -> Result<Frame, LoadError> {
        let function = &self.functions.all[index];
        let section = &self.elf.sections[function.section];
        let base = draft.insns.len();
        self.linked += function.len as u64;
        let limits = [
            ("instructions in one program", (base + function.len) as u64, MAX_INSNS),
            ("functions in one program", draft.placed.len() as u64 + 1, MAX_SUBPROGRAMS),
            ("instructions in all programs, with their functions", self.linked, MAX_LINKED),
        ];
        for (what, found, limit) in limits {
            if found > limit {
                return Err(self.error(index, 0, LoadReason::TooMany { what, found, limit }));
            }
        }
        self.texts.count(function.name.len()).map_err(|reason| self.error(index, 0, reason))?;
        if let (Some(btf), Some(records)) = (self.btf, self.ext.section(&section.name)) {
            let start = function.start as u64 * 8;
            let records = &records.relocations;
            let first = records.partition_point(|record| u64::from(record.offset) < start);
            if let Some(record) = records.get(first)
                && u64::from(record.offset) - start < function.len as u64 * 8
            {
                let slot = record.offset as usize / 8 - function.start;
                return Err(self.error(index, slot, LoadReason::CoRe { what: record.describe(btf) }));
            }
        }
        draft.insns.extend((0..function.len).filter_map(|slot| function.insn(section.data, slot)));
        draft.placed.push((base, index));
        draft.bases.insert(index, base);
        Ok(Frame { function: index, base, slot: 0 })
    }

    /// What an instruction refers to, by its relocation or by its own fields.
    fn reference(&self, function: usize, slot: usize, insn: Insn) -> Result<Option<Reference>, LoadReason> {
        let function = &self.functions.all[function];
        let section = &self.elf.sections[function.section];
        let at = function.start + slot;
        let width = if insn.code == LDDW { 2 } else { 1 };
        if slot + width > function.len {
            return Err(LoadReason::HalfInstruction);
        }
        let (from, to) = (at as u64 * 8, (at + width) as u64 * 8);
        let first = section.relocations.partition_point(|&(offset, _)| offset < from);
        let mut inside = section.relocations[first..].iter().take_while(|&&(offset, _)| offset < to);
        let Some(&(offset, number)) = inside.next() else {
            return self.unrelocated(function.section, at, insn);
        };
        let symbol = self
            .elf
            .symbols
            .get(number as usize)
            .ok_or(LoadReason::NoSymbol { found: number, count: self.elf.symbols.len() })?;
        if offset != from || inside.next().is_some() {
            return Err(LoadReason::RelocationOffset { symbol: self.elf.symbol_name(symbol) });
        }
        if !matches!(insn.code, LDDW | CALL) {
            return Err(LoadReason::Relocation { symbol: self.elf.symbol_name(symbol), found: insn.code });
        }
        self.relocated(symbol, insn).map(Some)
    }

    fn unrelocated(&self, section: usize, at: usize, insn: Insn) -> Result<Option<Reference>, LoadReason> {
        let what = match (insn.code, insn.src) {
            (CALL, PSEUDO_CALL) => "call",
            (LDDW, PSEUDO_FUNC) => "function pointer",
            (CALL, PSEUDO_KFUNC) => {
                return Err(LoadReason::Unrelocated { what: "a call of a kernel function", imm: insn.imm });
            }
            (LDDW, 1..) => {
                return Err(LoadReason::Unrelocated { what: "a reference to a map or kernel object", imm: insn.imm });
            }
            _ => return Ok(None),
        };
        self.function_at(what, section, at as i64 + 1 + i64::from(insn.imm)).map(Some)
    }

    fn function_at(&self, what: &'static str, section: usize, at: i64) -> Result<Reference, LoadReason> {
        let target = || self.elf.sections.get(section).map_or_else(|| "?".to_owned(), |s| s.name.to_string());
        let function = self.functions.at(section, at);
        function.map(Reference::Function).ok_or_else(|| LoadReason::NoFunction { what, target: target(), at })
    }

    fn relocated(&self, symbol: &Symbol<'_>, insn: Insn) -> Result<Reference, LoadReason> {
        let name = || self.elf.symbol_name(symbol);
        let index = match symbol.place {
            Place::Section(index) => index,
            Place::Undefined => {
                let kind = self.externs.get(&*symbol.name).copied().unwrap_or(ExternKind::Unknown);
                return Err(LoadReason::Extern { symbol: name(), kind });
            }
            Place::Common => return Err(LoadReason::SpecialSection { symbol: name(), found: "a common symbol" }),
            Place::Absolute => return Err(LoadReason::SpecialSection { symbol: name(), found: "an absolute value" }),
        };
        let section = self
            .elf
            .sections
            .get(index)
            .ok_or_else(|| LoadReason::SpecialSection { symbol: name(), found: "a section that does not exist" })?;
        if insn.code == CALL || section.executable {
            let what = if insn.code == CALL { "call" } else { "function pointer" };
            let at = target_slot(insn, symbol.value).unwrap_or(-1);
            return self.function_at(what, index, at);
        }
        let at = symbol.value.wrapping_add(i64::from(insn.imm) as u64);
        if let Some(&map) = self.maps.defined.get(&(index, at)) {
            return Ok(Reference::Map(map));
        }
        let Some(&map) = self.maps.data.get(&index) else {
            return Err(LoadReason::NoMap { symbol: name(), target: section.name.to_string(), at });
        };
        match u32::try_from(at).ok().filter(|_| at < section.size) {
            Some(offset) => Ok(Reference::Value { map, offset }),
            None => {
                let map = section.name.to_string();
                Err(LoadReason::DataOffset { map, at, size: section.size })
            }
        }
    }

    /// Writes references into the instructions and gathers what belongs to the program.
    fn finish(
        &mut self,
        entry: usize,
        mut draft: Draft,
        program_type: Option<ProgramType>,
        target: Option<&str>,
    ) -> Result<Program, LoadError> {
        let mut slots = HashMap::new();
        let mut names = Vec::new();
        let mut bytes = 0;
        draft.references.sort_by_key(|&(at, _)| at);
        for (at, reference) in &draft.references {
            let at = *at;
            let mut slot_of = |map: usize| {
                *slots.entry(map).or_insert_with(|| {
                    names.push(self.maps.defs[map].name.clone());
                    bytes += self.maps.defs[map].name.len();
                    names.len() as i32 - 1
                })
            };
            match *reference {
                Reference::Function(callee) => {
                    draft.insns[at].imm = draft.bases[&callee] as i32 - at as i32 - 1;
                    if draft.insns[at].code == CALL {
                        draft.insns[at].src = PSEUDO_CALL;
                    } else {
                        draft.insns[at].src = PSEUDO_FUNC;
                        draft.insns[at + 1].imm = 0;
                    }
                }
                Reference::Map(map) => {
                    draft.insns[at].src = PSEUDO_MAP;
                    draft.insns[at].imm = slot_of(map);
                    draft.insns[at + 1].imm = 0;
                }
                Reference::Value { map, offset } => {
                    draft.insns[at].src = PSEUDO_MAP_VALUE;
                    draft.insns[at].imm = slot_of(map);
                    draft.insns[at + 1].imm = offset as i32;
                }
            }
            let found = names.len() as u64;
            if found > MAX_USED_MAPS {
                let reason = LoadReason::TooMany { what: "maps used by one program", found, limit: MAX_USED_MAPS };
                return Err(self.error(entry, 0, reason));
            }
        }
        let lines = self.lines(&draft, bytes).map_err(|reason| self.error(entry, 0, reason))?;
        let function = &self.functions.all[entry];
        let subprogram =
            |&(start, function): &(usize, usize)| Subprogram { name: self.functions.all[function].name.clone(), start };
        Ok(Program {
            name: function.name.clone(),
            section: self.elf.sections[function.section].name.to_string(),
            program_type,
            target: target.map(str::to_owned),
            insns: draft.insns,
            maps: names,
            subprograms: draft.placed.iter().map(subprogram).collect(),
            lines,
            license: self.license.to_owned(),
        })
    }

    fn lines(&mut self, draft: &Draft, names: usize) -> Result<Vec<SourceLine>, LoadReason> {
        self.texts.count(names)?;
        let mut lines = Vec::new();
        if let Some(btf) = self.btf {
            for &(base, function) in &draft.placed {
                let function = &self.functions.all[function];
                let section = &self.elf.sections[function.section].name;
                let slots = function.start..function.start + function.len;
                line::rebase(self.ext, btf, section, slots, base, &mut self.texts, &mut lines)?;
            }
        }
        Ok(lines)
    }
}

/// What BTF says of the symbols that the kernel should provide.
fn externs(btf: &Btf) -> Result<HashMap<&str, ExternKind>, BtfError> {
    let mut externs = HashMap::new();
    for (id, ty) in btf.types() {
        match &ty.kind {
            BtfKind::DataSection { variables, .. } => {
                let kind = match btf.name(id)? {
                    ".kconfig" => ExternKind::Kconfig,
                    ".ksyms" => ExternKind::Ksym,
                    _ => continue,
                };
                for variable in variables {
                    // A kernel function stands in `.ksyms` too.
                    if let BtfKind::Variable { .. } = btf.get(variable.type_id)?.kind {
                        externs.insert(btf.name(variable.type_id)?, kind);
                    }
                }
            }
            BtfKind::Function { linkage: Linkage::Extern, .. } => {
                externs.insert(btf.name(id)?, ExternKind::Kfunc);
            }
            _ => {}
        }
    }
    Ok(externs)
}
