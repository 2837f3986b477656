//! The symbol table of an ELF file, with the letters that `nm` gives to types.

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::SymbolIndex;
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym as _};

use super::error::{SymbolError, SymbolReason, excerpt};
use super::table::{Builder, Range, SymbolTable};

impl SymbolTable {
    /// Reads the symbols of an ELF file of 32 or 64 bits, either byte order, any machine: those of `.symtab`, else
    /// those of `.dynsym`.
    ///
    /// It takes what `nm` lists with an address: functions, objects and labels; but not thread-local variables, whose
    /// values are no addresses. Of several symbols of one address the longest comes first, then the file's order.
    ///
    /// # Errors
    ///
    /// `NotElf`, `Malformed`, `Stripped`, `TooLarge`.
    pub fn from_elf(data: &[u8], range: Range) -> Result<SymbolTable, SymbolError> {
        if !data.starts_with(&elf::ELFMAG) {
            let found = excerpt(&data[..data.len().min(8)]);
            return Err(SymbolError::at(0, SymbolReason::NotElf { found }));
        }
        match data.get(4) {
            Some(1) => read::<FileHeader32<Endianness>>(data, range),
            Some(2) => read::<FileHeader64<Endianness>>(data, range),
            found => {
                let what = match found {
                    Some(class) => format!("the class is {class}, expected 1 (32 bits) or 2 (64 bits)"),
                    None => "the file ends before its class".to_owned(),
                };
                Err(SymbolError::at(4, SymbolReason::Malformed { what }))
            }
        }
    }
}

fn read<H: FileHeader<Endian = Endianness>>(data: &[u8], range: Range) -> Result<SymbolTable, SymbolError> {
    let malformed = |what: object::Error| SymbolError::from(SymbolReason::Malformed { what: what.to_string() });
    let header = H::parse(data).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let sections = header.sections(endian, data).map_err(malformed)?;
    let mut table = sections.symbols(endian, data, elf::SHT_SYMTAB).map_err(malformed)?;
    if table.is_empty() {
        table = sections.symbols(endian, data, elf::SHT_DYNSYM).map_err(malformed)?;
    }
    if table.is_empty() {
        return Err(SymbolReason::Stripped.into());
    }
    let strings = sections.section(table.string_section()).and_then(|section| section.data(endian, data));
    let strings = strings.map_err(malformed)?;
    let letters = section_letters::<H>(&sections, endian);
    let machine = header.e_machine(endian);
    let marks = [elf::EM_ARM, elf::EM_AARCH64, elf::EM_RISCV].contains(&machine);
    let mut builder = Builder::new(table.len());
    for (index, symbol) in table.iter().enumerate().skip(1) {
        if matches!(symbol.st_type(), elf::STT_FILE | elf::STT_SECTION | elf::STT_TLS) {
            continue;
        }
        let section = match symbol.st_shndx(endian) {
            elf::SHN_UNDEF | elf::SHN_COMMON => {
                builder.undefined += 1;
                continue;
            }
            _ => table.symbol_section(endian, symbol, SymbolIndex(index)).map_err(malformed)?,
        };
        let local = match section {
            None => b'a',
            Some(section) => letters.get(section.0).copied().unwrap_or(b'?'),
        };
        let kind = match (symbol.st_type(), symbol.st_bind()) {
            (elf::STT_GNU_IFUNC, _) => b'i',
            (elf::STT_OBJECT, elf::STB_WEAK) => b'V',
            (_, elf::STB_WEAK) => b'W',
            (_, elf::STB_GNU_UNIQUE) => b'u',
            (_, elf::STB_LOCAL) => local,
            _ => local.to_ascii_uppercase(),
        };
        let name = strings.get(symbol.st_name(endian) as usize..).unwrap_or_default();
        // What these machines' assemblers mark code and data with, and compilers their jumps.
        if marks && (name.starts_with(b"$") || name.starts_with(b".L")) {
            continue;
        }
        let Some(end) = memchr::memchr(0, name) else {
            let what = format!("the name of symbol {index} does not end within the names");
            return Err(SymbolReason::Malformed { what }.into());
        };
        if end == 0 {
            continue;
        }
        let mut address: u64 = symbol.st_value(endian).into();
        if machine == elf::EM_ARM && symbol.st_type() == elf::STT_FUNC {
            // The lowest bit says that it is Thumb code.
            address &= !1;
        }
        builder.push(address, symbol.st_size(endian).into(), kind, &[&name[..end]])?;
    }
    Ok(builder.finish(range))
}

/// The letter of the local symbols of each section.
fn section_letters<H: FileHeader<Endian = Endianness>>(sections: &SectionTable<'_, H>, endian: Endianness) -> Vec<u8> {
    let letter = |section: &H::SectionHeader| {
        let flags = section.sh_flags(endian);
        let has = |flag: elf::SectionFlags| flags.0 & flag.0 != 0;
        let name = sections.section_name(endian, section).unwrap_or_default();
        match () {
            () if has(elf::SHF_ALLOC) && has(elf::SHF_EXECINSTR) => b't',
            () if section.sh_type(endian) == elf::SHT_NOBITS => b'b',
            () if has(elf::SHF_WRITE) => b'd',
            () if has(elf::SHF_ALLOC) => b'r',
            () if name.starts_with(b".debug") => b'N',
            () => b'n',
        }
    };
    sections.iter().map(letter).collect()
}
