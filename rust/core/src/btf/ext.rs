//! `.BTF.ext`: function records, source lines and CO-RE records, by ELF section.

use std::collections::HashMap;

use super::parse::{Words, header_len, part};
use super::{Btf, BtfError, BtfKind, TypeId};

const SECTION: &str = ".BTF.ext";
/// Bytes of `struct btf_ext_header` without the CO-RE part, which older compilers leave out.
const HEADER: usize = 24;
/// Most groups of records in one part; compilers write one an ELF section.
const MAX_SECTIONS: usize = 16_384;

/// All records of one object.
#[derive(Clone, Debug, Default)]
pub struct BtfExt {
    sections: HashMap<String, ExtSection>,
}

/// The records of one ELF section, ascending by instruction offset.
#[derive(Clone, Debug, Default)]
pub struct ExtSection {
    /// Functions.
    pub functions: Vec<FunctionInfo>,
    /// Source lines; at most one an offset.
    pub lines: Vec<LineInfo>,
    /// CO-RE relocations.
    pub relocations: Vec<CoreRelocation>,
}

/// Where a function begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Bytes from the start of the ELF section.
    pub offset: u32,
    /// Its `Function` type.
    pub type_id: TypeId,
}

/// Where a source line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Bytes from the start of the ELF section.
    pub offset: u32,
    /// String offset of the file name.
    pub file: u32,
    /// String offset of the line's text.
    pub text: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 where unknown.
    pub column: u32,
}

/// A CO-RE relocation: an instruction that depends on the target's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRelocation {
    /// Bytes from the start of the ELF section.
    pub offset: u32,
    /// The type whose target is looked for.
    pub type_id: TypeId,
    /// String offset of the access path (`0:1:2`), or of the enumerator's index.
    pub access: u32,
    /// `enum bpf_core_relo_kind`.
    pub kind: u32,
}

impl BtfExt {
    /// Reads the contents of a `.BTF.ext` section; `btf` has its strings.
    ///
    /// # Errors
    /// Not BTF, big-endian, or records that lie outside the section.
    pub fn parse(data: &[u8], btf: &Btf) -> Result<BtfExt, BtfError> {
        let header = header_len(data, SECTION, HEADER)?;
        let mut ext = BtfExt::default();
        let mut read = |at: usize, what: &'static str, size: usize, put: &dyn Fn(&mut ExtSection, Words<'_>)| {
            let range = part(data, SECTION, what, header, Words(data).at(at), Words(data).at(at + 4))?;
            ext.read(data, range, what, size, btf, put)
        };
        read(8, "function records", 8, &|section, w| {
            section.functions.push(FunctionInfo { offset: w.at(0), type_id: w.at(4) });
        })?;
        read(16, "line records", 16, &|section, w| {
            section.lines.push(LineInfo {
                offset: w.at(0),
                file: w.at(4),
                text: w.at(8),
                line: w.at(12) >> 10,
                column: w.at(12) & 0x3ff,
            });
        })?;
        if header >= HEADER + 8 {
            read(24, "CO-RE records", 16, &|section, w| {
                section.relocations.push(CoreRelocation {
                    offset: w.at(0),
                    type_id: w.at(4),
                    access: w.at(8),
                    kind: w.at(12),
                });
            })?;
        }
        for section in ext.sections.values_mut() {
            section.functions.sort_by_key(|record| record.offset);
            section.lines.sort_by_key(|record| record.offset);
            section.lines.dedup_by_key(|record| record.offset);
            section.relocations.sort_by_key(|record| record.offset);
        }
        Ok(ext)
    }

    fn read(
        &mut self,
        data: &[u8],
        range: std::ops::Range<usize>,
        part: &'static str,
        expected: usize,
        btf: &Btf,
        put: &dyn Fn(&mut ExtSection, Words<'_>),
    ) -> Result<(), BtfError> {
        if range.is_empty() {
            return Ok(());
        }
        let end = range.end;
        let cut = |at: usize, count: u32| BtfError::Records { part, offset: at, count, end };
        let mut at = range.start;
        if end - at < 4 {
            return Err(cut(at, 0));
        }
        let found = Words(data).at(at);
        if (found as usize) < expected {
            return Err(BtfError::RecordSize { part, offset: at, expected, found });
        }
        let size = found as usize;
        at += 4;
        let mut groups = 0;
        while at < end {
            groups += 1;
            if groups > MAX_SECTIONS {
                return Err(BtfError::TooMany { section: SECTION, what: "groups of records", limit: MAX_SECTIONS });
            }
            if end - at < 8 {
                return Err(cut(at, 0));
            }
            let (name, count) = (Words(data).at(at), Words(data).at(at + 4));
            at += 8;
            let bytes = size.checked_mul(count as usize).filter(|&n| n <= end - at).ok_or_else(|| cut(at, count))?;
            let name = btf.name_at(name)?;
            let section = self.sections.entry(name.to_owned()).or_default();
            data[at..at + bytes].chunks_exact(size).for_each(|record| put(section, Words(record)));
            at += bytes;
        }
        Ok(())
    }

    /// The records of an ELF section.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&ExtSection> {
        self.sections.get(name)
    }

    /// The sections that have records, in no order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &ExtSection)> {
        self.sections.iter().map(|(name, section)| (name.as_str(), section))
    }
}

impl CoreRelocation {
    /// What is asked, in the words of the kernel's document (`bpf/llvm_reloc.rst`, "CO-RE Relocations").
    #[must_use]
    pub const fn question(&self) -> &'static str {
        match self.kind {
            0 => "byte offset of the field",
            1 => "byte size of the field",
            2 => "existence of the field",
            3 => "signedness of the field",
            4 => "left shift of the bit field",
            5 => "right shift of the bit field",
            6 => "local id of the type",
            7 => "target id of the type",
            8 => "existence of the type",
            9 => "size of the type",
            10 => "existence of the enumerator",
            11 => "value of the enumerator",
            12 => "match of the type",
            _ => "unknown CO-RE question",
        }
    }

    /// What is asked of which type, such as ``byte offset of the field 0:1 of struct task_struct``.
    #[must_use]
    pub fn describe(&self, btf: &Btf) -> String {
        let access = btf.name_at(self.access).unwrap_or("?");
        let word = match btf.get(self.type_id).map(|ty| &ty.kind) {
            Ok(BtfKind::Struct { .. }) => "struct ",
            Ok(BtfKind::Union { .. }) => "union ",
            Ok(BtfKind::Enum { .. }) => "enum ",
            _ => "",
        };
        let name = btf.name(self.type_id).ok().filter(|name| !name.is_empty());
        let name = name.map_or_else(|| format!("type {}", self.type_id), str::to_owned);
        match self.kind {
            6..=9 | 12 => format!("{} {word}{name}", self.question()),
            _ => format!("{} {access} of {word}{name}", self.question()),
        }
    }
}
