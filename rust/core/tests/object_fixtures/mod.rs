//! What the tests of objects share: compiling the C sources, a writer of ELF files, a generator of numbers.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod promises;
pub mod refusals;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The compilers that objects are tested with, where installed.
pub const CLANGS: [&str; 3] = ["clang-14", "clang-19", "clang"];

pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/object_sources")
}

/// A path of this test run's own.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("object-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory.join(format!("{}-{name}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Major version of a compiler.
pub fn version(clang: &str) -> u32 {
    let output = Command::new(clang).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_once("version ").unwrap().1.split('.').next().unwrap();
    number.parse().unwrap()
}

pub fn installed(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The installed compilers; says so where there are none.
pub fn clangs() -> Vec<&'static str> {
    let found: Vec<_> = CLANGS.into_iter().filter(|clang| installed(clang)).collect();
    if found.is_empty() {
        eprintln!("skipped: none of {CLANGS:?} is installed");
    }
    found
}

/// The newest installed compiler.
pub fn clang() -> Option<&'static str> {
    clangs().into_iter().max_by_key(|clang| version(clang))
}

/// Compiles a source file of `object_sources`, or any other; panics with the compiler's words where it fails.
pub fn compile_to(clang: &str, source: &Path, options: &[&str], output: &Path) {
    let result = Command::new(clang)
        .args(["-O2", "-g", "-Wall", "-target", "bpf", "-I"])
        .arg(sources())
        .args(options)
        .args(["-c", "-o"])
        .arg(output)
        .arg(source)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{clang} {options:?} {}: {text}", source.display());
}

pub fn compile(clang: &str, source: &str, options: &[&str]) -> Vec<u8> {
    let output = scratch(&format!("{source}.o"));
    compile_to(clang, &sources().join(source), options, &output);
    std::fs::read(output).unwrap()
}

pub const PROGBITS: u32 = 1;
pub const NOBITS: u32 = 8;
pub const RELA: u32 = 4;
pub const WRITE: u64 = 1;
pub const ALLOC: u64 = 2;
pub const EXEC: u64 = 4;
pub const FUNCTION: u8 = 2;
pub const OBJECT: u8 = 1;
pub const LABEL: u8 = 0;
pub const SECTION: u8 = 3;
pub const GLOBAL: u8 = 1 << 4;
pub const ABSOLUTE: u16 = 0xfff1;
pub const COMMON: u16 = 0xfff2;

/// Writes an ELF object of sections, symbols and relocations, right or wrong.
#[derive(Default)]
pub struct ElfWriter {
    sections: Vec<WrittenSection>,
    symbols: Vec<u8>,
    names: Vec<u8>,
}

struct WrittenSection {
    name: String,
    kind: u32,
    flags: u64,
    data: Vec<u8>,
    size: Option<u64>,
    link: u32,
    info: u32,
}

impl ElfWriter {
    pub fn new() -> ElfWriter {
        ElfWriter { names: vec![0], symbols: vec![0; 24], ..ElfWriter::default() }
    }

    /// Adds a section; returns its index.
    pub fn section(&mut self, name: &str, kind: u32, flags: u64, data: &[u8]) -> u16 {
        let data = data.to_vec();
        self.sections.push(WrittenSection { name: name.into(), kind, flags, data, size: None, link: 0, info: 0 });
        self.sections.len() as u16
    }

    /// Adds an executable section.
    pub fn code(&mut self, name: &str, code: &[u8]) -> u16 {
        self.section(name, PROGBITS, ALLOC | EXEC, code)
    }

    /// Adds `.bss` of a size.
    pub fn zeros(&mut self, name: &str, size: u64) -> u16 {
        let index = self.section(name, NOBITS, ALLOC | WRITE, &[]);
        self.sections[usize::from(index) - 1].size = Some(size);
        index
    }

    /// Adds a symbol; returns its index. Local ones come first in a right file; no reader here minds.
    pub fn symbol(&mut self, name: &str, info: u8, section: u16, value: u64, size: u64) -> u32 {
        let index = self.symbols.len() / 24;
        self.symbols.extend((self.names.len() as u32).to_le_bytes());
        self.symbols.extend([info, 0]);
        self.symbols.extend(section.to_le_bytes());
        self.symbols.extend(value.to_le_bytes());
        self.symbols.extend(size.to_le_bytes());
        self.names.extend(name.bytes().chain([0]));
        index as u32
    }

    /// Adds relocations of a section, as offset and symbol index.
    pub fn relocations(&mut self, section: u16, relocations: &[(u64, u32)]) {
        let mut data = Vec::new();
        for &(offset, symbol) in relocations {
            data.extend(offset.to_le_bytes());
            data.extend((u64::from(symbol) << 32 | 1).to_le_bytes());
        }
        let name = format!(".rel{section}");
        let written =
            WrittenSection { name, kind: 9, flags: 0, data, size: None, link: u32::MAX, info: section.into() };
        self.sections.push(written);
    }

    /// Adds an empty-handed relocation section with addends.
    pub fn addends(&mut self, section: u16) {
        let name = format!(".rela{section}");
        let data = vec![0; 24];
        self.sections.push(WrittenSection {
            name,
            kind: RELA,
            flags: 0,
            data,
            size: None,
            link: u32::MAX,
            info: section.into(),
        });
    }

    pub fn finish(mut self) -> Vec<u8> {
        let symtab = self.sections.len() as u32 + 1;
        let (symbols, names) = (std::mem::take(&mut self.symbols), std::mem::take(&mut self.names));
        for section in self.sections.iter_mut().filter(|section| section.link == u32::MAX) {
            section.link = symtab;
        }
        let tail = [(".symtab", 2, symbols, symtab + 1), (".strtab", 3, names, 0), (".shstrtab", 3, Vec::new(), 0)];
        for (name, kind, data, link) in tail {
            self.sections.push(WrittenSection { name: name.into(), kind, flags: 0, data, size: None, link, info: 1 });
        }
        let mut strings = vec![0];
        let mut offsets = Vec::new();
        for section in &self.sections {
            offsets.push(strings.len() as u32);
            strings.extend(section.name.bytes().chain([0]));
        }
        self.sections.last_mut().unwrap().data = strings;
        let mut file = vec![0; 64];
        let mut headers = vec![0; 64];
        for (section, name) in self.sections.iter().zip(offsets) {
            file.resize(file.len().next_multiple_of(8), 0);
            headers.extend(name.to_le_bytes());
            headers.extend(section.kind.to_le_bytes());
            headers.extend(section.flags.to_le_bytes());
            headers.extend(0_u64.to_le_bytes());
            headers.extend((file.len() as u64).to_le_bytes());
            headers.extend(section.size.unwrap_or(section.data.len() as u64).to_le_bytes());
            headers.extend(section.link.to_le_bytes());
            headers.extend(section.info.to_le_bytes());
            headers.extend(8_u64.to_le_bytes());
            headers.extend((if section.kind == 2 { 24_u64 } else { 16 }).to_le_bytes());
            file.extend(&section.data);
        }
        file.resize(file.len().next_multiple_of(8), 0);
        let table = file.len() as u64;
        file.extend(headers);
        file[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        file[16..18].copy_from_slice(&1_u16.to_le_bytes());
        file[18..20].copy_from_slice(&247_u16.to_le_bytes());
        file[20..24].copy_from_slice(&1_u32.to_le_bytes());
        file[40..48].copy_from_slice(&table.to_le_bytes());
        file[52..54].copy_from_slice(&64_u16.to_le_bytes());
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        file[60..62].copy_from_slice(&(self.sections.len() as u16 + 1).to_le_bytes());
        file[62..64].copy_from_slice(&(self.sections.len() as u16).to_le_bytes());
        file
    }
}

/// An instruction's bytes.
pub fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    axebpf_core::isa::Insn { code, dst, src, off, imm }.to_bytes()
}

/// `lddw dst, imm`, with a source.
pub fn lddw(dst: u8, src: u8, low: i32, high: i32) -> Vec<u8> {
    [insn(0x18, dst, src, 0, low), insn(0, 0, 0, 0, high)].concat()
}

/// `exit`.
pub fn exit() -> [u8; 8] {
    insn(0x95, 0, 0, 0, 0)
}

/// A section of BTF from types and strings.
pub fn btf_section(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut data = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
        data.extend(word.to_le_bytes());
    }
    data.extend(types);
    data.extend(strings);
    data
}
