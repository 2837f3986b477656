//! Map definitions: BTF `.maps`, and legacy `maps` sections of `struct bpf_map_def`.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use super::data;
use super::elf::{Elf, Place, Section, SymbolKind, limit};
use super::error::{LoadError, LoadReason};
use crate::btf::{Btf, BtfError, BtfKind, TypeId};
use crate::map::{MapKind, MapSpec, SPIN_LOCK};

const MAX_MAPS: u64 = 4096;
const MAX_VALUES: u64 = 65_536;
/// Bytes of `struct bpf_map_def`, and the most that any loader's variant of it has.
const LEGACY: RangeInclusive<u64> = 20..=64;
/// The page size that a ring buffer's capacity is rounded to.
const PAGE: u32 = 4096;

/// The definition of a map in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapDef {
    /// Name, unique within the object; a data section's is that of the section (`.rodata`).
    pub name: String,
    /// ELF section.
    pub section: String,
    /// `enum bpf_map_type`, also where axebpf has no such kind: see [`MapDef::spec`].
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Capacity in entries; for a ring buffer, bytes, rounded up to a power of two of pages as libbpf does.
    pub max_entries: u32,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// `map_extra`.
    pub extra: u64,
    /// `pinning` (`LIBBPF_PIN_*`); kept, not acted upon.
    pub pinning: u32,
    /// `numa_node`; kept, not acted upon.
    pub numa_node: Option<u32>,
    /// BTF type of a key.
    pub key_type: Option<TypeId>,
    /// BTF type of a value; for a data section, the section.
    pub value_type: Option<TypeId>,
    /// Where in a value its spin lock lies (`struct bpf_spin_lock`), in bytes.
    pub spin_lock: Option<u32>,
    /// For a map of maps, what its inner maps look like.
    pub inner: Option<Box<MapDef>>,
    /// For a data section, its bytes.
    pub initial: Option<Vec<u8>>,
    /// Whether the map is to be frozen once it has its initial value.
    pub frozen: bool,
    /// For a map of maps or programs: index, and name of the map or program to put there.
    pub values: Vec<(u32, String)>,
}

/// A map kind that axebpf does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("map {map}: axebpf has no map kind {kind} (enum bpf_map_type)")]
pub struct UnknownMapKind {
    /// Map.
    pub map: String,
    /// The number.
    pub kind: u32,
}

impl MapDef {
    /// Its kind, if axebpf knows it.
    #[must_use]
    pub fn map_kind(&self) -> Option<MapKind> {
        MapKind::from_number(self.kind)
    }

    /// What a map is created from.
    ///
    /// # Errors
    /// axebpf has no such kind.
    pub fn spec(&self) -> Result<MapSpec, UnknownMapKind> {
        let kind = self.map_kind().ok_or_else(|| UnknownMapKind { map: self.name.clone(), kind: self.kind })?;
        Ok(MapSpec {
            name: self.name.clone(),
            kind,
            key_size: self.key_size,
            value_size: self.value_size,
            max_entries: self.max_entries,
            flags: self.flags,
            extra: self.extra,
        })
    }
}

/// The maps of an object, and where they lie.
#[derive(Default)]
pub(super) struct Maps {
    pub defs: Vec<MapDef>,
    /// Defined maps by section and offset.
    pub defined: HashMap<(usize, u64), usize>,
    /// Data sections.
    pub data: HashMap<usize, usize>,
}

pub(super) fn read(elf: &Elf<'_>, btf: Option<&Btf>, warnings: &mut Vec<String>) -> Result<Maps, LoadError> {
    let mut maps = Maps::default();
    let mut pointers = Vec::new();
    if let Some((index, section)) = elf.section(".maps")
        && section.size > 0
    {
        let btf = btf.ok_or_else(|| elf.error(LoadReason::MapsWithoutBtf).section(".maps"))?;
        read_btf_maps(elf, btf, index, &mut maps, &mut pointers)?;
    }
    for (index, section) in elf.sections.iter().enumerate() {
        if (section.name == "maps" || section.name.starts_with("maps/")) && !section.executable {
            read_legacy_maps(elf, index, &mut maps, warnings)?;
        }
    }
    for (section, def) in data::maps(elf, btf, warnings)? {
        maps.data.insert(section, maps.defs.len());
        maps.defs.push(def);
    }
    limit(elf.file, "maps", maps.defs.len() as u64, MAX_MAPS)?;
    unique_names(elf, &mut maps)?;
    let mut count = 0;
    for values in pointers {
        let read = read_values(elf, &maps, &values)?;
        count += read.len() as u64;
        limit(elf.file, "initial map entries", count, MAX_VALUES)?;
        maps.defs[values.map].values = read;
    }
    Ok(maps)
}

/// Gives maps of equal names (two functions' `static` maps) the names of their symbols.
fn unique_names(elf: &Elf<'_>, maps: &mut Maps) -> Result<(), LoadError> {
    let mut count: HashMap<String, usize> = HashMap::new();
    for def in &maps.defs {
        *count.entry(def.name.clone()).or_default() += 1;
    }
    if maps.defs.len() > count.len() {
        for symbol in &elf.symbols {
            let Place::Section(section) = symbol.place else { continue };
            let Some(&map) = maps.defined.get(&(section, symbol.value)) else { continue };
            let def = &mut maps.defs[map];
            if symbol.kind == SymbolKind::Object && count.get(&def.name).is_some_and(|&n| n > 1) {
                def.name = symbol.name.to_string();
            }
        }
    }
    let mut seen = HashSet::new();
    for def in &maps.defs {
        if !seen.insert(&*def.name) {
            return Err(elf.error(LoadReason::DuplicateMap { map: def.name.clone() }).section(&def.section));
        }
    }
    Ok(())
}

/// Where the initial entries of a map are: bytes of a section.
struct Values {
    map: usize,
    section: usize,
    start: u64,
    end: u64,
}

fn read_btf_maps(
    elf: &Elf<'_>,
    btf: &Btf,
    index: usize,
    maps: &mut Maps,
    pointers: &mut Vec<Values>,
) -> Result<(), LoadError> {
    let section = &elf.sections[index];
    let error = |reason: LoadReason| elf.error(reason).section(&section.name);
    let (_, variables) = btf
        .data_section(&section.name)
        .map_err(|e| error(e.into()))?
        .ok_or_else(|| error(LoadReason::MapsWithoutBtf))?;
    let mut variables = variables.to_vec();
    variables.sort_by_key(|variable| variable.offset);
    for variable in variables {
        let error = |reason: LoadReason| error(reason).offset(variable.offset.into());
        let BtfKind::Variable { target, .. } = btf.get(variable.type_id).map_err(|e| error(e.into()))?.kind else {
            continue;
        };
        let name = btf.name(variable.type_id).map_err(|e| error(e.into()))?;
        let mut def = MapDef { name: name.to_owned(), section: section.name.to_string(), ..MapDef::default() };
        let values = Definition { btf, map: name }.read(target, &mut def, false).map_err(error)?;
        let map = maps.defs.len();
        if let Some(values) = values {
            let start = u64::from(variable.offset) + u64::from(values);
            let end = u64::from(variable.offset) + u64::from(variable.size);
            pointers.push(Values { map, section: index, start, end });
        }
        maps.defined.insert((index, variable.offset.into()), map);
        maps.defs.push(def);
        limit(elf.file, "maps", maps.defs.len() as u64, MAX_MAPS)?;
    }
    Ok(())
}

/// The fields that a map definition may have.
const FIELDS: [&str; 11] = [
    "type",
    "key",
    "key_size",
    "value",
    "value_size",
    "max_entries",
    "map_flags",
    "map_extra",
    "numa_node",
    "pinning",
    "values",
];

/// Reads one structure of `__uint`, `__type` and `__array` members (`bpf_helpers.h` writes them).
struct Definition<'b> {
    btf: &'b Btf,
    map: &'b str,
}

impl Definition<'_> {
    fn wrong(&self, field: &str, expected: &'static str, found: impl Into<String>) -> LoadReason {
        LoadReason::MapField { map: self.map.to_owned(), field: field.to_owned(), expected, found: found.into() }
    }

    fn kind(&self, id: TypeId) -> Result<&BtfKind, LoadReason> {
        Ok(&self.btf.get(self.btf.resolve(id)?)?.kind)
    }

    /// Returns the byte offset of `values`, if the definition has them.
    fn read(&self, id: TypeId, def: &mut MapDef, inner: bool) -> Result<Option<u32>, LoadReason> {
        let members = match self.kind(id)? {
            BtfKind::Struct { members, .. } => members,
            other => return Err(self.wrong("the definition", "a structure", format!("a {}", other.word()))),
        };
        let (mut values, mut kind) = (None, None);
        let (mut key_size, mut value_size) = (None, None);
        for (n, member) in members.iter().enumerate() {
            let field = self.btf.name_at(member.name)?;
            let id = member.type_id;
            if n == FIELDS.len() {
                return Err(self.wrong("the definition", "each field once", format!("{} fields", members.len())));
            }
            match field {
                "type" => kind = Some(self.number(field, id)?),
                "key_size" => key_size = Some(self.number(field, id)?),
                "value_size" => value_size = Some(self.number(field, id)?),
                "max_entries" => def.max_entries = self.number(field, id)?,
                "map_flags" => def.flags = self.number(field, id)?,
                "map_extra" => def.extra = self.long_number(field, id)?,
                "numa_node" => def.numa_node = Some(self.number(field, id)?),
                "pinning" => def.pinning = self.number(field, id)?,
                "key" => (def.key_type, def.key_size) = self.sized_type(field, id)?,
                "value" => (def.value_type, def.value_size) = self.sized_type(field, id)?,
                "values" if !inner => {
                    if n + 1 < members.len() {
                        let next = self.btf.name_at(members[n + 1].name)?;
                        return Err(self.wrong(field, "the last member", format!("before {next}")));
                    }
                    values = Some(member.bit_offset / 8);
                    def.value_size = 4;
                    def.inner = self.inner(field, id, def)?.map(Box::new);
                }
                _ => return Err(self.unknown(field)),
            }
        }
        for (field, stated, size, typed) in [
            ("key_size", key_size, &mut def.key_size, def.key_type.is_some()),
            ("value_size", value_size, &mut def.value_size, def.value_type.is_some() || values.is_some()),
        ] {
            match stated {
                Some(stated) if typed && stated != *size => {
                    return Err(self.wrong(
                        field,
                        "the size of the type",
                        format!("{stated}, but the type has {size}"),
                    ));
                }
                Some(stated) => *size = stated,
                None => {}
            }
        }
        def.kind = kind.ok_or_else(|| LoadReason::MapWithoutType { map: self.map.to_owned() })?;
        if values.is_some() {
            let of = if def.inner.is_some() { "maps" } else { "programs" };
            let fits = match def.map_kind() {
                Some(MapKind::ProgArray) => def.inner.is_none(),
                kind => kind.is_some_and(MapKind::is_of_maps) && def.inner.is_some(),
            };
            if !fits {
                let kind = def.map_kind().map_or_else(|| def.kind.to_string(), |kind| kind.name().to_owned());
                let expected = "of maps in a map of maps, of programs in a program array, and nowhere else";
                return Err(self.wrong("values", expected, format!("{of}, and the type {kind}")));
            }
        }
        if let Some(value) = def.value_type {
            def.spin_lock = spin_lock(self.btf, value)?.map_err(|found| self.wrong("value", ONE_LOCK, found))?;
        }
        if inner && def.pinning != 0 {
            return Err(self.wrong("pinning", "none for an inner map", def.pinning.to_string()));
        }
        if def.kind == MapKind::RingBuf as u32 || def.kind == MapKind::UserRingBuf as u32 {
            def.max_entries = whole_pages(def.max_entries);
        }
        Ok(values)
    }

    /// `__uint(name, value)`: a pointer to an array of `value` elements.
    fn number(&self, field: &str, id: TypeId) -> Result<u32, LoadReason> {
        if let &BtfKind::Pointer { target } = self.kind(id)?
            && let &BtfKind::Array { len, .. } = self.kind(target)?
        {
            return Ok(len);
        }
        Err(self.wrong(field, "__uint(…)", format!("a {}", self.kind(id)?.word())))
    }

    /// `__uint(name, value)`, or `__ulong(name, value)`: an enumeration of one value.
    fn long_number(&self, field: &str, id: TypeId) -> Result<u64, LoadReason> {
        match self.kind(id)? {
            BtfKind::Enum { values, .. } if values.len() == 1 => Ok(values[0].value as u64),
            _ => self.number(field, id).map(u64::from),
        }
    }

    /// `__type(name, type)`: a pointer to the type.
    fn sized_type(&self, field: &str, id: TypeId) -> Result<(Option<TypeId>, u32), LoadReason> {
        match self.kind(id)? {
            &BtfKind::Pointer { target } => Ok((Some(target), self.btf.size_of(target)?)),
            other => Err(self.wrong(field, "__type(…)", format!("a {}", other.word()))),
        }
    }

    /// `__array(values, …)`: an array of pointers to maps, whose definition this returns, or to programs.
    fn inner(&self, field: &str, id: TypeId, outer: &MapDef) -> Result<Option<MapDef>, LoadReason> {
        const EXPECTED: &str = "__array(values, …) of a map definition or of programs";
        let &BtfKind::Array { element, len, .. } = self.kind(id)? else {
            return Err(self.wrong(field, EXPECTED, format!("a {}", self.kind(id)?.word())));
        };
        if len != 0 {
            return Err(self.wrong(field, EXPECTED, format!("an array of {len} elements")));
        }
        let &BtfKind::Pointer { target } = self.kind(element)? else {
            return Err(self.wrong(field, EXPECTED, format!("an array of {}", self.kind(element)?.word())));
        };
        match self.kind(target)? {
            BtfKind::Struct { .. } => {
                let name = format!("{}.inner", outer.name);
                let mut inner = MapDef { name, section: outer.section.clone(), ..MapDef::default() };
                self.read(target, &mut inner, true)?;
                Ok(Some(inner))
            }
            BtfKind::Prototype { .. } => Ok(None),
            other => Err(self.wrong(field, EXPECTED, format!("an array of pointers to {}", other.word()))),
        }
    }

    fn unknown(&self, field: &str) -> LoadReason {
        let nearest = FIELDS.iter().min_by_key(|known| distance(known, field)).copied().unwrap_or(FIELDS[0]);
        LoadReason::UnknownMapField { map: self.map.to_owned(), field: field.to_owned(), nearest }
    }
}

/// What Linux takes: it refuses the types of an object with others (E2BIG, EFAULT).
const ONE_LOCK: &str = "at most one struct bpf_spin_lock, on a multiple of 4";

/// Where values of a type have their spin lock, if they have one; else what is wrong, in words.
pub(super) fn spin_lock(btf: &Btf, value: TypeId) -> Result<Result<Option<u32>, String>, BtfError> {
    Ok(match *btf.spin_locks(value)? {
        [] => Ok(None),
        [lock] if lock.is_multiple_of(SPIN_LOCK) => Ok(Some(lock)),
        [lock] => Err(format!("one at byte {lock}")),
        [first, second, ..] => Err(format!("one at byte {first} and one at byte {second}")),
    })
}

/// Edits (insertions, deletions, replacements) between two names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A ring buffer's capacity: the next power of two of pages; 0, and what is too large for that, stays.
fn whole_pages(bytes: u32) -> u32 {
    match bytes {
        0 => 0,
        _ => bytes.checked_next_power_of_two().unwrap_or(bytes).max(PAGE),
    }
}

/// The initial entries of a map: relocations in its `values`.
fn read_values(elf: &Elf<'_>, maps: &Maps, values: &Values) -> Result<Vec<(u32, String)>, LoadError> {
    let section = &elf.sections[values.section];
    let relocations = &section.relocations;
    let first = relocations.partition_point(|&(offset, _)| offset < values.start);
    let mut out = Vec::new();
    let inside = relocations[first..].iter().take_while(|&&(offset, _)| offset < values.end);
    for &(offset, symbol) in inside.take(MAX_VALUES as usize + 1) {
        let slot = ((offset - values.start) / 8) as u32;
        let programs = maps.defs[values.map].kind == MapKind::ProgArray as u32;
        match value_name(elf, maps, section, offset, symbol, programs) {
            Ok(name) if (offset - values.start).is_multiple_of(8) => out.push((slot, name)),
            Ok(symbol) | Err(symbol) => {
                let map = maps.defs[values.map].name.clone();
                let reason = LoadReason::MapValue { map, slot, symbol };
                return Err(elf.error(reason).section(&section.name).offset(offset));
            }
        }
    }
    Ok(out)
}

/// The map, or of a program array the function, that a pointer in `.maps` refers to, or what else it refers to.
fn value_name(
    elf: &Elf<'_>,
    maps: &Maps,
    section: &Section<'_>,
    offset: u64,
    symbol: u32,
    programs: bool,
) -> Result<String, String> {
    let Some(symbol) = elf.symbols.get(symbol as usize) else { return Err(format!("symbol {symbol}")) };
    let Place::Section(target) = symbol.place else { return Err(elf.symbol_name(symbol)) };
    // A static symbol's relocation names the section, and the pointer holds the offset in it.
    let stored = section.data.get(offset as usize..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    let at = symbol.value.wrapping_add(u64::from_le_bytes(stored));
    if let (Some(&map), false) = (maps.defined.get(&(target, at)), programs) {
        return Ok(maps.defs[map].name.clone());
    }
    let inside = elf.sections.get(target).map(|_| elf.symbols_of(target));
    let function =
        inside.and_then(|mut symbols| symbols.find(|other| other.kind == SymbolKind::Function && other.value == at));
    match function {
        Some(function) if programs => Ok(function.name.to_string()),
        _ => Err(elf.symbol_name(symbol)),
    }
}

/// What program arrays hold are programs of the object, not functions that those call.
pub(super) fn check_programs(elf: &Elf<'_>, maps: &Maps, is_program: &dyn Fn(&str) -> bool) -> Result<(), LoadError> {
    for def in maps.defs.iter().filter(|def| def.kind == MapKind::ProgArray as u32) {
        if let Some((slot, symbol)) = def.values.iter().find(|(_, name)| !is_program(name)) {
            let reason = LoadReason::MapValue { map: def.name.clone(), slot: *slot, symbol: symbol.clone() };
            return Err(elf.error(reason).section(&def.section));
        }
    }
    Ok(())
}

/// `struct bpf_map_def` definitions: type, key size, value size, entries, flags.
fn read_legacy_maps(elf: &Elf<'_>, index: usize, maps: &mut Maps, warnings: &mut Vec<String>) -> Result<(), LoadError> {
    let section = &elf.sections[index];
    let mut symbols: Vec<_> =
        elf.symbols_of(index).filter(|symbol| matches!(symbol.kind, SymbolKind::Object | SymbolKind::Label)).collect();
    symbols.dedup_by_key(|symbol| symbol.value);
    for (n, symbol) in symbols.iter().enumerate() {
        let next = symbols.get(n + 1).map_or(section.size, |next| next.value);
        let end = if symbol.size > 0 { symbol.value.saturating_add(symbol.size) } else { next };
        let bytes = section.data.get(symbol.value as usize..end as usize).unwrap_or_default();
        if !LEGACY.contains(&(bytes.len() as u64)) {
            let reason = LoadReason::LegacyMap { map: symbol.name.to_string(), found: bytes.len() as u64 };
            return Err(elf.error(reason).section(&section.name).offset(symbol.value));
        }
        let (words, _) = bytes.as_chunks();
        let words: Vec<u32> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
        if words[5..].iter().any(|&word| word != 0) {
            warnings.push(format!(
                "{}: section {}, offset {:#x}: map {}: what follows its flags (id, pinning, inner map) is ignored",
                elf.file, section.name, symbol.value, symbol.name
            ));
        }
        maps.defined.insert((index, symbol.value), maps.defs.len());
        maps.defs.push(MapDef {
            name: symbol.name.to_string(),
            section: section.name.to_string(),
            kind: words[0],
            key_size: words[1],
            value_size: words[2],
            max_entries: words[3],
            flags: words[4],
            ..MapDef::default()
        });
        limit(elf.file, "maps", maps.defs.len() as u64, MAX_MAPS)?;
    }
    Ok(())
}
