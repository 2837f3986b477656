//! What the verifier's tests share: the maps of their programs, cases as data, verdicts of ours and of the kernel.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each test binary uses its part

#[path = "../map_oracle/function_info.rs"]
pub mod function_info;
#[path = "../map_oracle/kernel.rs"]
pub mod kernel;
pub mod linux;
#[path = "../random/mod.rs"]
mod random;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axebpf_core::isa::asm::Symbols;
use axebpf_core::isa::{Insn, assemble_with};
use axebpf_core::map::{BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, Map, MapKind, MapSpec, create_with};
use axebpf_core::program::{Program, ProgramType, Subprogram};
use axebpf_core::verifier::{MapFacts, Options, VerifiedProgram, VerifierError, verify};
pub use random::Random;

/// What is in the map RODATA: two numbers, then a format.
pub const RODATA: &[u8; 16] = b"\x05\0\0\0\xff\xff\xff\xff%d:%d\0xy";

const fn row(
    name: &'static str,
    kind: MapKind,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
) -> (&'static str, MapKind, u32, u32, u32, u32) {
    (name, kind, key_size, value_size, max_entries, flags)
}

/// The maps that every program of these tests has, by slot.
const MAPS: [(&str, MapKind, u32, u32, u32, u32); 17] = [
    row("ARRAY", MapKind::Array, 4, 16, 4, 0),
    row("ONE", MapKind::Array, 4, 64, 1, 0),
    row("HASH", MapKind::Hash, 8, 16, 4, 0),
    row("RING", MapKind::RingBuf, 0, 0, 4096, 0),
    row("RODATA", MapKind::Array, 4, 16, 1, BPF_F_RDONLY_PROG),
    row("PERCPU", MapKind::PercpuArray, 4, 8, 2, 0),
    row("QUEUE", MapKind::Queue, 0, 8, 2, 0),
    row("PROGS", MapKind::ProgArray, 4, 4, 2, 0),
    row("EVENTS", MapKind::PerfEventArray, 4, 4, 2, 0),
    row("OUTER", MapKind::ArrayOfMaps, 4, 4, 2, 0),
    row("PREFIXES", MapKind::LpmTrie, 8, 8, 4, BPF_F_NO_PREALLOC),
    row("BLOOM", MapKind::BloomFilter, 0, 8, 4, 0),
    row("WRITEONLY", MapKind::Array, 4, 16, 1, BPF_F_WRONLY_PROG),
    row("READONLY", MapKind::Hash, 4, 8, 4, BPF_F_RDONLY_PROG),
    row("UNFROZEN", MapKind::Array, 4, 16, 1, BPF_F_RDONLY_PROG),
    row("LRU", MapKind::LruHash, 4, 8, 4, 0),
    row("PCHASH", MapKind::PercpuHash, 4, 8, 4, 0),
];
/// The map whose maps are like the first one.
const OF_MAPS: usize = 9;
/// The map that is frozen.
const FROZEN: usize = 4;

fn spec((name, kind, key_size, value_size, max_entries, flags): (&str, MapKind, u32, u32, u32, u32)) -> MapSpec {
    MapSpec { name: name.to_owned(), kind, key_size, value_size, max_entries, flags, extra: 0 }
}

/// The specs of the maps.
pub fn specs() -> Vec<MapSpec> {
    MAPS.into_iter().map(spec).collect()
}

/// The maps, as a bench of one CPU makes them; the map of maps has one in it.
pub fn maps() -> Vec<Arc<dyn Map>> {
    let inner = create_with(spec(MAPS[0]), 1, None).unwrap();
    let maps: Vec<Arc<dyn Map>> = specs()
        .into_iter()
        .map(|spec| {
            let inner = spec.kind.is_of_maps().then_some(&*inner);
            create_with(spec, 1, inner).unwrap()
        })
        .collect();
    maps[FROZEN].update_user(&[0; 4], RODATA, 0).unwrap();
    maps[FROZEN].freeze().unwrap();
    maps
}

/// What the verifier is told of them.
pub fn facts() -> Vec<MapFacts> {
    let constant = |slot: usize| (slot == FROZEN).then(|| RODATA.to_vec());
    maps().iter().enumerate().map(|(slot, map)| MapFacts::new(&**map, constant(slot))).collect()
}

/// A program with those maps.
pub fn program(insns: Vec<Insn>, program_type: ProgramType, license: &str) -> Program {
    Program {
        name: "test".to_owned(),
        section: String::new(),
        program_type: Some(program_type),
        target: None,
        insns,
        maps: MAPS.iter().map(|row| row.0.to_owned()).collect(),
        subprograms: vec![Subprogram { name: "test".to_owned(), start: 0 }],
        lines: Vec::new(),
        license: license.to_owned(),
    }
}

/// Our verdict.
pub fn ours(program: &Program, facts: &[MapFacts]) -> Result<VerifiedProgram, Box<VerifierError>> {
    verify(Arc::new(program.clone()), facts, &Options::default())
}

/// Assembles; helpers and maps go by their names.
pub fn assemble(text: &str) -> Vec<Insn> {
    let helper = |name: &str| axebpf_core::helper::by_name(name).ok().map(|helper| helper.id);
    let map = |name: &str| MAPS.iter().position(|row| row.0 == name).map(|slot| slot as i32);
    let symbols = Symbols { helper: &helper, map: &map };
    assemble_with(text, &symbols).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A case: a program, and what Linux says to it.
#[derive(Clone, Debug)]
pub struct Case {
    pub file: String,
    pub name: String,
    pub program_type: ProgramType,
    pub license: String,
    /// What Linux says where it refuses it.
    pub linux: Result<(), String>,
    /// Our verdict where it is another: the rule (none where we accept it), and why.
    pub differs: Option<String>,
    /// The rule that it breaks, by its title.
    pub rule: Option<String>,
    pub text: String,
}

impl Case {
    pub fn program(&self) -> Program {
        program(assemble(&self.text), self.program_type, &self.license)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/verifier")
}

/// All cases; the folder's README says how they are written.
pub fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files.iter().flat_map(|file| parse(file)).collect()
}

fn parse(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap();
    let file = file.file_stem().unwrap().to_string_lossy().into_owned();
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case {
                file: file.clone(),
                name: name.to_owned(),
                program_type: ProgramType::Tracepoint,
                license: "GPL".to_owned(),
                linux: Err(String::new()),
                differs: None,
                rule: None,
                text: String::new(),
            });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match line.split_once(": ").or(line.strip_suffix(':').map(|key| (key, ""))) {
            Some(("type", name)) => case.program_type = ProgramType::from_name(name).unwrap(),
            Some(("license", license)) => case.license = license.to_owned(),
            Some(("linux", "accept")) => case.linux = Ok(()),
            Some(("linux", words)) => case.linux = Err(words.strip_prefix("reject ").unwrap_or(words).to_owned()),
            Some(("rule", rule)) => case.rule = Some(rule.to_owned()),
            Some(("differs", why)) => case.differs = Some(why.to_owned()),
            _ => {
                case.text.push_str(line);
                case.text.push('\n');
            }
        }
    }
    cases
}
