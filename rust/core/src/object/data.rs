//! Data sections and the global variables in them.

use std::collections::HashMap;

use super::elf::{Elf, Place, Section, SymbolKind, limit};
use super::error::{LoadError, LoadReason};
use super::maps::{MapDef, Maps};
use crate::btf::{Btf, BtfKind, Linkage};
use crate::map::{BPF_F_RDONLY_PROG, MapKind};

/// Most bytes that the data sections of one object may have.
const MAX_DATA: u64 = 64 << 20;
const MAX_VARIABLES: u64 = 65_536;

/// A global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Name, as in C.
    pub name: String,
    /// The data section, which is a map of one element.
    pub map: String,
    /// Bytes from the start of the section.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Its type, where the object has BTF.
    pub btf_type: Option<u32>,
}

/// Whether a section holds variables.
fn is_data(section: &Section<'_>) -> bool {
    let name = &*section.name;
    let named = [".data", ".rodata", ".bss"]
        .iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    let other = !name.is_empty()
        && !name.starts_with('.')
        && !matches!(name, "license" | "version" | "maps")
        && !name.starts_with("maps/");
    section.allocated && !section.executable && section.size > 0 && (named || other)
}

/// The data sections as maps, with their ELF sections.
pub(super) fn maps(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    warnings: &mut Vec<String>,
) -> Result<Vec<(usize, MapDef)>, LoadError> {
    let mut types = HashMap::new();
    if let Some(btf) = btf {
        for (id, _) in btf.types().filter(|(_, ty)| matches!(ty.kind, BtfKind::DataSection { .. })) {
            types.entry(btf.name(id).map_err(|e| elf.error(e.into()))?).or_insert(id);
        }
    }
    let mut total = 0_u64;
    let mut maps = Vec::new();
    for (index, section) in elf.sections.iter().enumerate().filter(|(_, section)| is_data(section)) {
        total = total.saturating_add(section.size);
        limit(elf.file, "bytes of data sections", total, MAX_DATA).map_err(|e| e.section(&section.name))?;
        if let Some(&(offset, symbol)) = section.relocations.first() {
            let symbol = elf.symbols.get(symbol as usize).map_or_else(String::new, |symbol| elf.symbol_name(symbol));
            warnings.push(format!(
                "{}: section {}, offset {offset:#x}: a pointer to {symbol} in an initial value stays as it is stored; \
                 libbpf does not relocate data either",
                elf.file, section.name
            ));
        }
        // A section of a name of its own is read-only if the compiler made it so.
        let named = section.name.starts_with('.');
        let frozen = if named { section.name.starts_with(".rodata") } else { !section.writable };
        let value_type = types.get(&*section.name).copied();
        let locks = match (btf, value_type) {
            (Some(btf), Some(value)) if !frozen => btf.spin_locks(value).map_err(|e| elf.error(e.into()))?,
            _ => Vec::new(),
        };
        let mut initial = section.data.to_vec();
        initial.resize(section.size as usize, 0);
        maps.push((
            index,
            MapDef {
                name: section.name.to_string(),
                section: section.name.to_string(),
                kind: MapKind::Array as u32,
                key_size: 4,
                value_size: section.size as u32,
                max_entries: 1,
                flags: if frozen { BPF_F_RDONLY_PROG } else { 0 },
                value_type,
                // Of several, Linux knows none.
                spin_lock: if let [lock] = locks[..] { Some(lock) } else { None },
                initial: Some(initial),
                frozen,
                ..MapDef::default()
            },
        ));
    }
    Ok(maps)
}

/// Writes into BTF where variables lie and how large their sections are: compilers leave both open.
///
/// The offset of a `static` variable is right as it stands; a global one's is that of its symbol.
pub(super) fn place_variables(elf: &Elf<'_>, btf: &mut Btf) -> Result<(), LoadError> {
    let mut symbols = HashMap::new();
    for symbol in &elf.symbols {
        if let (Place::Section(section), false) = (symbol.place, symbol.kind == SymbolKind::Section) {
            symbols.entry((section, &*symbol.name)).or_insert(symbol.value);
        }
    }
    let mut sections = HashMap::new();
    for (index, section) in elf.sections.iter().enumerate() {
        sections.entry(&*section.name).or_insert(index);
    }
    let mut count = 0;
    let mut placed = Vec::new();
    for (id, ty) in btf.types() {
        let BtfKind::DataSection { variables, .. } = &ty.kind else { continue };
        let btf_error = |e: crate::btf::BtfError| elf.error(e.into()).section(".BTF");
        let Some(&index) = sections.get(btf.name(id).map_err(btf_error)?) else { continue };
        let section = &elf.sections[index];
        count += variables.len() as u64;
        limit(elf.file, "global variables", count, MAX_VARIABLES)?;
        let size = u32::try_from(section.size).unwrap_or(u32::MAX);
        let mut offsets = Vec::with_capacity(variables.len());
        for variable in variables {
            let name = btf.name(variable.type_id).map_err(btf_error)?;
            let offset = match btf.get(variable.type_id).map_err(btf_error)?.kind {
                BtfKind::Variable { linkage: Linkage::Global, .. } => {
                    symbols.get(&(index, name)).copied().unwrap_or(variable.offset.into())
                }
                _ => variable.offset.into(),
            };
            let fits = u32::try_from(offset).ok().filter(|at| size.checked_sub(variable.size) >= Some(*at));
            let Some(offset) = fits else {
                let reason =
                    LoadReason::Variable { variable: name.to_owned(), size: variable.size.into(), found: section.size };
                return Err(elf.error(reason).section(&section.name).offset(offset));
            };
            offsets.push(offset);
        }
        placed.push((id, size, offsets));
    }
    for (id, size, offsets) in placed {
        btf.place_variables(id, size, &offsets);
    }
    Ok(())
}

/// The variables of the data sections: from BTF where it describes the section, else from the symbols.
pub(super) fn globals(elf: &Elf<'_>, btf: Option<&Btf>, maps: &Maps) -> Result<Vec<Global>, LoadError> {
    let mut globals = Vec::new();
    let mut untyped = HashMap::new();
    for (&section, &map) in &maps.data {
        let def = &maps.defs[map];
        let Some((btf, id)) = btf.zip(def.value_type) else {
            untyped.insert(section, def);
            continue;
        };
        let error = |e: crate::btf::BtfError| elf.error(e.into()).section(&def.section);
        let BtfKind::DataSection { variables, .. } = &btf.get(id).map_err(error)?.kind else { continue };
        for variable in variables {
            if let BtfKind::Variable { target, .. } = btf.get(variable.type_id).map_err(error)?.kind {
                globals.push(Global {
                    name: btf.name(variable.type_id).map_err(error)?.to_owned(),
                    map: def.name.clone(),
                    offset: variable.offset,
                    size: variable.size,
                    btf_type: Some(target),
                });
            }
        }
    }
    for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == SymbolKind::Object) {
        let Place::Section(section) = symbol.place else { continue };
        let Some(def) = untyped.get(&section) else { continue };
        let found = u64::from(def.value_size);
        if symbol.value > found || symbol.size > found - symbol.value {
            let reason = LoadReason::Variable { variable: symbol.name.to_string(), size: symbol.size, found };
            return Err(elf.error(reason).section(&def.section).offset(symbol.value));
        }
        limit(elf.file, "global variables", globals.len() as u64 + 1, MAX_VARIABLES)?;
        globals.push(Global {
            name: symbol.name.to_string(),
            map: def.name.clone(),
            offset: symbol.value as u32,
            size: symbol.size as u32,
            btf_type: None,
        });
    }
    globals.sort_by(|a, b| (&a.map, a.offset, &a.name).cmp(&(&b.map, b.offset, &b.name)));
    Ok(globals)
}
