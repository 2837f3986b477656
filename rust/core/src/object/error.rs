//! Why an object, or one of its programs, cannot be loaded.

use std::fmt;

use crate::btf::BtfError;

/// An object or program that cannot be loaded: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The file, as its name was given.
    pub file: String,
    /// ELF section, where the trouble is in one.
    pub section: Option<String>,
    /// Byte offset within the section, or within the file where there is no section.
    pub offset: Option<u64>,
    /// Function, and the instruction slot within it, where the trouble is in one.
    pub function: Option<(String, usize)>,
    /// What is wrong.
    pub reason: Box<LoadReason>,
}

impl LoadError {
    pub(super) fn new(file: &str, reason: LoadReason) -> LoadError {
        LoadError { file: file.to_owned(), section: None, offset: None, function: None, reason: Box::new(reason) }
    }

    pub(super) fn section(mut self, name: &str) -> LoadError {
        self.section = Some(name.to_owned());
        self
    }

    pub(super) fn offset(mut self, offset: u64) -> LoadError {
        self.offset = Some(offset);
        self
    }

    pub(super) fn function(mut self, name: &str, insn: usize) -> LoadError {
        self.function = Some((name.to_owned(), insn));
        self
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(section) = &self.section {
            write!(f, "section {section}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, "{}offset {offset:#x}", if self.section.is_some() { ", " } else { "" })?;
        }
        if let Some((function, insn)) = &self.function {
            write!(f, ", function {function}, instruction {insn}")?;
        }
        if self.section.is_some() || self.offset.is_some() {
            write!(f, ": ")?;
        }
        write!(f, "{}", self.reason)
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.reason)
    }
}

/// What kind of symbol an object leaves to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternKind {
    /// A `__kconfig` variable.
    Kconfig,
    /// A `__ksym` variable.
    Ksym,
    /// A kernel function.
    Kfunc,
    /// BTF does not say.
    Unknown,
}

impl fmt::Display for ExternKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExternKind::Kconfig => "a kernel configuration value (__kconfig)",
            ExternKind::Ksym => "a kernel variable (__ksym)",
            ExternKind::Kfunc => "a kernel function (kfunc)",
            ExternKind::Unknown => "a symbol that no section of the object defines",
        })
    }
}

/// What is wrong with an object or program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadReason {
    /// Not an ELF file at all.
    #[error(
        "not an ELF object: it begins with {found}, expected 7f 45 4c 46; \
         compile with clang -O2 -g -target bpf -c prog.c -o prog.bpf.o"
    )]
    NotElf {
        /// The first bytes, in hex and as text.
        found: String,
    },
    /// An ELF file of 32 bits, or of a class that does not exist.
    #[error("ELF class {found}, expected 2 (64 bits); compile with clang -target bpf")]
    Class {
        /// `EI_CLASS`.
        found: u8,
    },
    /// A big-endian object, or a byte order that does not exist.
    #[error("byte order {found}, expected 1 (little-endian); compile with -target bpfel")]
    ByteOrder {
        /// `EI_DATA`; 2 is big-endian.
        found: u8,
    },
    /// An object for another machine.
    #[error("this is an object for {found}, expected EM_BPF; compile with clang -target bpf")]
    Machine {
        /// The machine's ELF name.
        found: String,
    },
    /// Not a relocatable object.
    #[error("this is an ELF file of type {found}, expected ET_REL (1): give the object that clang -c wrote")]
    NotRelocatable {
        /// `e_type`.
        found: u16,
    },
    /// A table or section that lies outside the file, or contradicts itself.
    #[error("malformed ELF: {what}; is the file truncated?")]
    Malformed {
        /// What.
        what: String,
    },
    /// Relocations with addends, which BPF objects do not have.
    #[error("relocations with addends (SHT_RELA); BPF objects have SHT_REL; was the object made by clang -target bpf?")]
    Addends,
    /// More than a loader should take.
    #[error("{found} {what}, at most {limit} are accepted")]
    TooMany {
        /// Of what there are too many.
        what: &'static str,
        /// How many.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// No function in any executable section.
    #[error("no programs: no executable section has a function; does the source have SEC(\"…\") functions?")]
    NoPrograms,
    /// Bad type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A `.maps` section without types.
    #[error("the maps of this section are described by BTF, which the object lacks; compile with -g")]
    MapsWithoutBtf,
    /// A map definition with a field that we do not know.
    #[error("map {map}: unknown field {field}; did you mean {nearest}?")]
    UnknownMapField {
        /// Map.
        map: String,
        /// Field.
        field: String,
        /// The known field that is nearest.
        nearest: &'static str,
    },
    /// A field of a map definition that is declared in another way.
    #[error("map {map}: {field} is {found}, expected {expected}")]
    MapField {
        /// Map.
        map: String,
        /// Field.
        field: String,
        /// How it should be declared.
        expected: &'static str,
        /// How it is.
        found: String,
    },
    /// A map definition that lacks its `type`.
    #[error("map {map}: its type is not given; add __uint(type, BPF_MAP_TYPE_…)")]
    MapWithoutType {
        /// Map.
        map: String,
    },
    /// Two maps of one name.
    #[error("two maps are called {map}; rename one")]
    DuplicateMap {
        /// The name.
        map: String,
    },
    /// A legacy map definition of the wrong length.
    #[error("map {map}: a definition of {found} bytes, expected 20 to 64 (struct bpf_map_def)")]
    LegacyMap {
        /// Map.
        map: String,
        /// Bytes.
        found: u64,
    },
    /// An entry of a map's `values` that is no map, or for a program array no program.
    #[error(
        "map {map}: entry {slot} of its values refers to {symbol}, which is not what it holds: maps of this object, or its programs"
    )]
    MapValue {
        /// Map.
        map: String,
        /// Index.
        slot: u32,
        /// What it refers to.
        symbol: String,
    },
    /// A variable that does not lie in its section.
    #[error("variable {variable} of {size} bytes does not lie in a section of {found} bytes")]
    Variable {
        /// Variable.
        variable: String,
        /// Its bytes.
        size: u64,
        /// Bytes of the section.
        found: u64,
    },
    /// A function that is not whole instructions within its section.
    #[error("function {name} has bytes {start}..{end}, expected whole instructions of 8 within {found} bytes")]
    Function {
        /// Function.
        name: String,
        /// First byte.
        start: u64,
        /// One past the last.
        end: u64,
        /// Bytes of the section.
        found: u64,
    },
    /// A `lddw` whose second half is missing.
    #[error("the function ends within a 16-byte instruction (lddw)")]
    HalfInstruction,
    /// A relocation that no instruction can take.
    #[error(
        "a relocation against {symbol} at an instruction of opcode {found:#04x}, expected lddw (0x18) or call (0x85)"
    )]
    Relocation {
        /// Symbol.
        symbol: String,
        /// Opcode.
        found: u8,
    },
    /// A relocation at no instruction's first byte.
    #[error("a relocation against {symbol} within an instruction, expected one at its first byte")]
    RelocationOffset {
        /// Symbol.
        symbol: String,
    },
    /// A relocation against a symbol that does not exist.
    #[error("a relocation against symbol {found}, but the object has {count} symbols")]
    NoSymbol {
        /// Symbol index.
        found: u32,
        /// How many there are.
        count: usize,
    },
    /// A symbol of a special section: common, absolute.
    #[error("{symbol} has no section ({found}); give a global variable an initial value, or compile with -fno-common")]
    SpecialSection {
        /// Symbol.
        symbol: String,
        /// What it is instead.
        found: &'static str,
    },
    /// A reference to data that is no map and no data section.
    #[error("reference to {symbol}, byte {at} of section {target}, where no map and no data begins")]
    NoMap {
        /// Symbol.
        symbol: String,
        /// Section that it lies in.
        target: String,
        /// Offset in it.
        at: u64,
    },
    /// A reference behind the end of a data section.
    #[error("reference to byte {at} of {map}, which has {size} bytes; Linux refuses it too")]
    DataOffset {
        /// Data section.
        map: String,
        /// Offset, as the 32-bit number in the instruction.
        at: u64,
        /// Its bytes.
        size: u64,
    },
    /// A call or function pointer into nowhere.
    #[error("{what} to instruction {at} of section {target}, where no function begins")]
    NoFunction {
        /// `call`, `function pointer`.
        what: &'static str,
        /// Section.
        target: String,
        /// Instruction slot in it.
        at: i64,
    },
    /// A symbol that the kernel should provide.
    #[error("{symbol} is {kind}; axebpf cannot provide it yet: remove it, or pass the value in a global variable")]
    Extern {
        /// Symbol.
        symbol: String,
        /// What kind.
        kind: ExternKind,
    },
    /// An instruction that depends on the target's types.
    #[error(
        "a CO-RE relocation ({what}); axebpf cannot resolve it yet: \
         compile against plain structures, without preserve_access_index and bpf_core_read"
    )]
    CoRe {
        /// Question and type.
        what: String,
    },
    /// A pseudo source without a relocation: a number that only a kernel could know.
    #[error("{what} without a relocation: its number {imm} means nothing outside the kernel that it came from")]
    Unrelocated {
        /// The instruction in words.
        what: &'static str,
        /// The number.
        imm: i32,
    },
}
