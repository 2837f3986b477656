//! Functions of the executable sections, and which of them are programs.

use std::collections::{HashMap, HashSet};

use super::elf::{Elf, Place, SymbolKind, limit};
use super::error::{LoadError, LoadReason};
use crate::isa::Insn;

const MAX_FUNCTIONS: u64 = 4096;
/// Most instruction slots in all executable sections.
pub(super) const MAX_INSNS: u64 = 1_000_000;
/// Opcodes of the instructions that refer to symbols.
pub(super) const LDDW: u8 = 0x18;
pub(super) const CALL: u8 = 0x85;
/// `BPF_PSEUDO_CALL`, `BPF_PSEUDO_FUNC`: the source field of a call of a function, and of a pointer to one.
pub(super) const PSEUDO_CALL: u8 = 1;
pub(super) const PSEUDO_FUNC: u8 = 4;

pub(super) struct Function {
    pub name: String,
    pub section: usize,
    /// First instruction slot in its section.
    pub start: usize,
    /// Slots.
    pub len: usize,
    local: bool,
}

pub(super) struct Functions {
    /// In order of sections, and of place in them.
    pub all: Vec<Function>,
    by_start: HashMap<(usize, i64), usize>,
}

impl Functions {
    pub(super) fn find(elf: &Elf<'_>) -> Result<Functions, LoadError> {
        let mut all = Vec::new();
        let mut insns = 0;
        for (index, section) in elf.sections.iter().enumerate() {
            if section.executable && section.size > 0 {
                insns += section.size / 8;
                limit(elf.file, "instructions", insns, MAX_INSNS).map_err(|e| e.section(&section.name))?;
                find_in(elf, index, &mut all)?;
                limit(elf.file, "functions", all.len() as u64, MAX_FUNCTIONS).map_err(|e| e.section(&section.name))?;
            }
        }
        let covered = all.iter().map(|function: &Function| function.len as u64).sum();
        limit(elf.file, "instructions in overlapping functions", covered, 4 * MAX_INSNS)?;
        let mut by_start = HashMap::new();
        for (index, function) in all.iter().enumerate() {
            by_start.entry((function.section, function.start as i64)).or_insert(index);
        }
        Ok(Functions { all, by_start })
    }

    /// The function that begins at an instruction slot of a section.
    pub(super) fn at(&self, section: usize, slot: i64) -> Option<usize> {
        self.by_start.get(&(section, slot)).copied()
    }

    /// The programs: global functions outside `.text`, and `static` ones there that no other function refers to.
    /// In an object that has only `.text`, its global functions.
    pub(super) fn entries(&self, elf: &Elf<'_>) -> Vec<usize> {
        let text = |function: &Function| {
            let name = &*elf.sections[function.section].name;
            name == ".text" || name.starts_with(".text.")
        };
        let all = || self.all.iter().enumerate();
        let only_text = self.all.iter().all(text);
        let some_global = self.all.iter().any(|function| !function.local);
        let used = if all().any(|(_, f)| f.local && !text(f)) { self.used(elf) } else { HashSet::new() };
        all()
            .filter(|(index, function)| match (only_text, text(function)) {
                (true, _) => !function.local || !some_global,
                (false, true) => false,
                (false, false) => !function.local || !used.contains(index),
            })
            .map(|(index, _)| index)
            .collect()
    }

    /// Functions that another one calls or takes the address of.
    fn used(&self, elf: &Elf<'_>) -> HashSet<usize> {
        let mut used = HashSet::new();
        for (index, function) in self.all.iter().enumerate() {
            let section = &elf.sections[function.section];
            let mut slot = 0;
            while let Some(insn) = function.insn(section.data, slot) {
                let at = function.start + slot;
                slot += if insn.code == LDDW { 2 } else { 1 };
                let byte = at as u64 * 8;
                let relocation = section.relocations.partition_point(|&(offset, _)| offset < byte);
                let relocation = section.relocations.get(relocation).filter(|&&(offset, _)| offset == byte);
                let target = match (relocation, insn.code) {
                    (Some(&(_, symbol)), LDDW | CALL) => {
                        elf.symbols.get(symbol as usize).and_then(|symbol| match symbol.place {
                            Place::Section(section) => Some((section, target_slot(insn, symbol.value)?)),
                            _ => None,
                        })
                    }
                    (None, CALL) if insn.src == PSEUDO_CALL => {
                        Some((function.section, at as i64 + 1 + i64::from(insn.imm)))
                    }
                    _ => None,
                };
                let target = target.and_then(|(section, slot)| self.at(section, slot));
                used.extend(target.filter(|&target| target != index));
            }
        }
        used
    }
}

/// The instruction slot that a relocated call or function pointer means; `value` is that of the symbol.
pub(super) fn target_slot(insn: Insn, value: u64) -> Option<i64> {
    let value = i64::try_from(value).ok()?;
    let byte = match insn.code {
        CALL => value.checked_add((i64::from(insn.imm) + 1) * 8)?,
        _ => value.checked_add(i64::from(insn.imm))?,
    };
    (byte % 8 == 0).then_some(byte / 8)
}

impl Function {
    /// An instruction of this function, in its section's bytes.
    pub(super) fn insn(&self, section: &[u8], slot: usize) -> Option<Insn> {
        if slot >= self.len {
            return None;
        }
        section.get((self.start + slot) * 8..)?.first_chunk().copied().map(Insn::from_bytes)
    }
}

fn find_in(elf: &Elf<'_>, index: usize, all: &mut Vec<Function>) -> Result<(), LoadError> {
    let section = &elf.sections[index];
    let of = |wanted: &dyn Fn(&super::elf::Symbol<'_>) -> bool| -> Vec<_> {
        elf.symbols_of(index).filter(|symbol| wanted(symbol)).collect()
    };
    // Compilers write functions; assemblers may write bare labels, of which the global ones count first.
    let mut symbols = of(&|symbol| symbol.kind == SymbolKind::Function);
    if symbols.is_empty() {
        symbols = of(&|symbol| symbol.kind == SymbolKind::Label && !symbol.local);
    }
    if symbols.is_empty() {
        symbols = of(&|symbol| symbol.kind == SymbolKind::Label && !is_block_label(&symbol.name));
    }
    let add = |name: &str, start: u64, end: u64, local: bool| {
        let whole = start.is_multiple_of(8) && end.is_multiple_of(8) && start < end && end <= section.size;
        if !whole {
            let reason = LoadReason::Function { name: name.to_owned(), start, end, found: section.size };
            return Err(elf.error(reason).section(&section.name).offset(start));
        }
        Ok(Function {
            name: name.to_owned(),
            section: index,
            start: (start / 8) as usize,
            len: ((end - start) / 8) as usize,
            local,
        })
    };
    if symbols.is_empty() {
        all.push(add(&section.name, 0, section.size, false)?);
    }
    let mut next = section.size;
    let mut found = Vec::with_capacity(symbols.len());
    for (n, symbol) in symbols.iter().enumerate().rev() {
        if let Some(behind) = symbols.get(n + 1)
            && behind.value > symbol.value
        {
            next = behind.value;
        }
        let end = if symbol.size > 0 { symbol.value.saturating_add(symbol.size) } else { next };
        found.push(add(&symbol.name, symbol.value, end, symbol.local)?);
    }
    all.extend(found.into_iter().rev());
    Ok(())
}

/// Labels that LLVM gives to basic blocks.
fn is_block_label(name: &str) -> bool {
    name.starts_with("LBB") || name.starts_with(".L")
}
