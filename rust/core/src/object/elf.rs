//! Sections, symbols and relocations of an ELF file, checked and bounded.

use std::borrow::Cow;

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::SectionIndex;
use object::read::SymbolIndex;
use object::read::elf::{FileHeader as _, Rel as _, SectionHeader as _, Sym as _};

use super::error::{LoadError, LoadReason};

type Header = FileHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

const MAX_FILE: u64 = 256 << 20;
const MAX_SECTIONS: u64 = 65_536;
const MAX_SYMBOLS: u64 = 262_144;
const MAX_RELOCATIONS: u64 = 4_000_000;
/// Longest section or symbol name.
const MAX_NAME: usize = 1024;

/// What of an ELF file a loader needs.
pub(super) struct Elf<'d> {
    pub file: &'d str,
    /// By ELF index; 0 is the empty section.
    pub sections: Vec<Section<'d>>,
    /// By ELF index; 0 is the empty symbol.
    pub symbols: Vec<Symbol<'d>>,
    /// Indices of the named symbols of each section, ascending by value.
    by_section: Vec<Vec<usize>>,
}

pub(super) struct Section<'d> {
    pub name: Cow<'d, str>,
    /// Contents; empty where the file holds none (`.bss`) or no program can see them.
    pub data: &'d [u8],
    /// Bytes in memory.
    pub size: u64,
    pub executable: bool,
    pub allocated: bool,
    pub writable: bool,
    /// Byte offset and symbol index, ascending.
    pub relocations: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Undefined,
    Section(usize),
    Common,
    Absolute,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SymbolKind {
    Function,
    Object,
    Section,
    /// No type: an assembler's label.
    Label,
    Other,
}

pub(super) struct Symbol<'d> {
    pub name: Cow<'d, str>,
    pub place: Place,
    /// Bytes from the start of its section.
    pub value: u64,
    pub size: u64,
    pub kind: SymbolKind,
    pub local: bool,
}

impl<'d> Elf<'d> {
    pub(super) fn parse(data: &'d [u8], file: &'d str) -> Result<Elf<'d>, LoadError> {
        let header = header(data, file)?;
        let malformed =
            |what: &dyn std::fmt::Display| LoadError::new(file, LoadReason::Malformed { what: what.to_string() });
        let headers = header.section_headers(LE, data).map_err(|e| malformed(&e))?;
        limit(file, "sections", headers.len() as u64, MAX_SECTIONS)?;
        let strings = header.shstrndx(LE, data).map_err(|e| malformed(&e))?;
        let strings = match headers.get(strings as usize) {
            Some(strings) => strings.data(LE, data).map_err(|e| malformed(&format!("section names: {e}")))?,
            None => &[],
        };
        let mut sections = Vec::with_capacity(headers.len());
        for (index, header) in headers.iter().enumerate() {
            let name = name(strings, header.sh_name(LE))
                .ok_or_else(|| malformed(&format!("the name of section {index} lies outside the names")))?;
            let flags = header.sh_flags(LE).0;
            let allocated = flags & elf::SHF_ALLOC.0 != 0;
            let nobits = header.sh_type(LE) == elf::SHT_NOBITS;
            let wanted = allocated || matches!(&*name, ".BTF" | ".BTF.ext");
            let contents = match wanted && !nobits {
                true => {
                    header.data(LE, data).map_err(|_| malformed(&"its contents lie outside the file").section(&name))?
                }
                false => &[],
            };
            sections.push(Section {
                data: contents,
                size: if nobits { header.sh_size(LE) } else { contents.len() as u64 },
                executable: !nobits && flags & elf::SHF_EXECINSTR.0 != 0,
                allocated,
                writable: flags & elf::SHF_WRITE.0 != 0,
                relocations: Vec::new(),
                name,
            });
        }
        let mut relocations = 0;
        for header in headers {
            let target = header.sh_info(LE) as usize;
            let Some(section) = sections.get_mut(target).filter(|section| section.allocated) else { continue };
            if header.sh_type(LE) == elf::SHT_RELA && header.sh_size(LE) > 0 {
                return Err(LoadError::new(file, LoadReason::Addends).section(&section.name));
            }
            let rel = header.rel(LE, data).map_err(|e| malformed(&e).section(&section.name))?;
            let Some((rel, _)) = rel else { continue };
            relocations += rel.len() as u64;
            limit(file, "relocations", relocations, MAX_RELOCATIONS)?;
            section.relocations.extend(rel.iter().map(|rel| (rel.r_offset(LE), rel.r_sym(LE))));
        }
        for section in &mut sections {
            section.relocations.sort_by_key(|&(offset, _)| offset);
        }
        let symbols = symbols(header, data, file)?;
        let mut by_section = vec![Vec::new(); sections.len()];
        for (index, symbol) in symbols.iter().enumerate().filter(|(_, symbol)| !symbol.name.is_empty()) {
            if let Place::Section(section) = symbol.place
                && let Some(list) = by_section.get_mut(section)
            {
                list.push(index);
            }
        }
        for list in &mut by_section {
            list.sort_by_key(|&index| symbols[index].value);
        }
        Ok(Elf { file, sections, symbols, by_section })
    }

    /// The named symbols of a section, ascending by value.
    pub(super) fn symbols_of(&self, section: usize) -> impl Iterator<Item = &Symbol<'d>> {
        self.by_section[section].iter().map(|&index| &self.symbols[index])
    }

    pub(super) fn error(&self, reason: LoadReason) -> LoadError {
        LoadError::new(self.file, reason)
    }

    /// A section by name, the first of them.
    pub(super) fn section(&self, name: &str) -> Option<(usize, &Section<'d>)> {
        self.sections.iter().enumerate().find(|(_, section)| section.name == name)
    }

    /// What a person knows a symbol by: its name, or that of its section.
    pub(super) fn symbol_name(&self, symbol: &Symbol<'d>) -> String {
        match symbol.place {
            Place::Section(section) if symbol.name.is_empty() => {
                self.sections.get(section).map_or_else(String::new, |section| section.name.to_string())
            }
            _ => symbol.name.to_string(),
        }
    }
}

/// Refuses more than `limit` of something.
pub(super) fn limit(file: &str, what: &'static str, found: u64, limit: u64) -> Result<(), LoadError> {
    if found > limit {
        return Err(LoadError::new(file, LoadReason::TooMany { what, found, limit }));
    }
    Ok(())
}

/// The file header, if this is an object that we read.
fn header<'d>(data: &'d [u8], file: &str) -> Result<&'d Header, LoadError> {
    let refuse = |reason| Err(LoadError::new(file, reason));
    limit(file, "bytes", data.len() as u64, MAX_FILE)?;
    if !data.starts_with(&elf::ELFMAG) {
        return refuse(LoadReason::NotElf { found: first_bytes(data) });
    }
    match data.get(4) {
        None | Some(2) => {}
        Some(&found) => return refuse(LoadReason::Class { found }),
    }
    match data.get(5) {
        None | Some(1) => {}
        Some(&found) => return refuse(LoadReason::ByteOrder { found }),
    }
    let header = match Header::parse(data) {
        Ok(header) => header,
        Err(e) => return refuse(LoadReason::Malformed { what: e.to_string() }),
    };
    let machine = header.e_machine(LE);
    if machine != elf::EM_BPF && machine != elf::EM_NONE {
        return refuse(LoadReason::Machine { found: machine_name(machine) });
    }
    if header.e_type(LE) != elf::ET_REL {
        return refuse(LoadReason::NotRelocatable { found: header.e_type(LE).0 });
    }
    Ok(header)
}

fn machine_name(machine: elf::Machine) -> String {
    let known = [
        (elf::EM_386, "EM_386"),
        (elf::EM_ARM, "EM_ARM"),
        (elf::EM_X86_64, "EM_X86_64"),
        (elf::EM_AARCH64, "EM_AARCH64"),
        (elf::EM_RISCV, "EM_RISCV"),
        (elf::EM_LOONGARCH, "EM_LOONGARCH"),
    ];
    let name = known.iter().find(|(number, _)| *number == machine);
    name.map_or_else(|| format!("machine {}", machine.0), |(_, name)| (*name).to_owned())
}

/// The first bytes of a file for a message: hex, and as text where they are printable.
fn first_bytes(data: &[u8]) -> String {
    let first = &data[..data.len().min(8)];
    if first.is_empty() {
        return "nothing (the file is empty)".to_owned();
    }
    let hex: Vec<String> = first.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} (\"{}\")", hex.join(" "), first.escape_ascii())
}

/// The string at an offset; `None` where it runs out of the table or is too long to be a name.
fn name(strings: &[u8], offset: u32) -> Option<Cow<'_, str>> {
    if offset == 0 {
        return Some(Cow::Borrowed(""));
    }
    let rest = strings.get(offset as usize..)?;
    let end = rest.iter().take(MAX_NAME + 1).position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]))
}

fn symbols<'d>(header: &Header, data: &'d [u8], file: &str) -> Result<Vec<Symbol<'d>>, LoadError> {
    let malformed =
        |what: &dyn std::fmt::Display| LoadError::new(file, LoadReason::Malformed { what: what.to_string() });
    let sections = header.sections(LE, data).map_err(|e| malformed(&e))?;
    let table = sections.symbols(LE, data, elf::SHT_SYMTAB).map_err(|e| malformed(&e))?;
    limit(file, "symbols", table.len() as u64, MAX_SYMBOLS)?;
    let strings = match table.string_section() {
        SectionIndex(0) => &[],
        index => {
            let section = sections.section(index).map_err(|e| malformed(&e))?;
            section.data(LE, data).map_err(|e| malformed(&format!("symbol names: {e}")))?
        }
    };
    let mut symbols = Vec::with_capacity(table.len());
    for (index, symbol) in table.symbols().iter().enumerate() {
        let place = match symbol.st_shndx(LE) {
            elf::SHN_UNDEF => Place::Undefined,
            elf::SHN_COMMON => Place::Common,
            _ => match table.symbol_section(LE, symbol, SymbolIndex(index)).map_err(|e| malformed(&e))? {
                Some(section) => Place::Section(section.0),
                None => Place::Absolute,
            },
        };
        let kind = match symbol.st_type() {
            elf::STT_FUNC => SymbolKind::Function,
            elf::STT_OBJECT => SymbolKind::Object,
            elf::STT_SECTION => SymbolKind::Section,
            elf::STT_NOTYPE => SymbolKind::Label,
            _ => SymbolKind::Other,
        };
        symbols.push(Symbol {
            name: name(strings, symbol.st_name(LE))
                .ok_or_else(|| malformed(&format!("the name of symbol {index} lies outside the names")))?,
            place,
            value: symbol.st_value(LE),
            size: symbol.st_size(LE),
            kind,
            local: symbol.st_bind() == elf::STB_LOCAL,
        });
    }
    Ok(symbols)
}
