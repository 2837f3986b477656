//! The conformance vectors of `tests/data/isa`: well-formed, assembled as they say, and at least one for every
//! instruction. `tests/data/isa/README.md` describes them; engines run them in tests of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axebpf_core::isa::{AluOp, AtomicOp, Imm64, Insn, Names, Op, assemble, decode, disassemble, encode};
use serde_json::{Map, Value};

const FIELDS: [&str; 10] = ["name", "section", "asm", "memory", "r0", "fault", "memory_after", "linux", "note", "code"];
const FAULTS: [&str; 6] = ["memory", "budget", "call_depth", "off_the_end", "instruction", "helper"];

/// Every vector, with the name of its file.
fn vectors() -> Vec<(String, Map<String, Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/isa");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            all.extend(
                file["vectors"].as_array().unwrap().iter().map(|v| (stem.clone(), v.as_object().unwrap().clone())),
            );
        }
    }
    all
}

fn program(vector: &Map<String, Value>) -> Vec<Insn> {
    let lines: Vec<&str> = vector["asm"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assemble(&lines.join("\n")).unwrap_or_else(|error| panic!("{}: {error}", vector["name"]))
}

fn is_hex(value: &Value) -> bool {
    value.as_str().is_some_and(|hex| hex.len() % 2 == 0 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[test]
fn the_text_assembles_to_the_code() {
    for (file, vector) in vectors() {
        let code: String =
            program(&vector).iter().flat_map(|insn| insn.to_bytes()).map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            vector["code"].as_str().unwrap(),
            code,
            "{file}: {}: `code` of this text is the right one",
            vector["name"]
        );
    }
}

#[test]
fn the_code_disassembles_to_what_assembles_to_it() {
    for (_, vector) in vectors() {
        let program = program(&vector);
        assert_eq!(assemble(&disassemble(&program, &Names::none())).unwrap(), program, "{}", vector["name"]);
    }
}

#[test]
fn every_vector_is_well_formed() {
    let mut names = BTreeSet::new();
    for (file, vector) in vectors() {
        let name = vector["name"].as_str().unwrap().to_owned();
        let unknown: Vec<_> = vector.keys().filter(|key| !FIELDS.contains(&key.as_str())).collect();
        assert!(unknown.is_empty(), "{name}: unknown fields {unknown:?}");
        assert!(vector["section"].is_string(), "{name}");
        match (vector.get("r0"), vector.get("fault")) {
            (Some(r0), None) => {
                let digits = r0.as_str().and_then(|r0| r0.strip_prefix("0x")).unwrap();
                assert!(u64::from_str_radix(digits, 16).is_ok(), "{name}: r0 {digits}");
            }
            (None, Some(fault)) => assert!(FAULTS.contains(&fault.as_str().unwrap()), "{name}: fault {fault}"),
            _ => panic!("{name}: one of r0 and fault"),
        }
        for key in ["memory", "memory_after"] {
            assert!(vector.get(key).is_none_or(is_hex), "{name}: {key}");
        }
        let length = |key| vector.get(key).map(|hex: &Value| hex.as_str().unwrap().len());
        assert!(
            length("memory_after").is_none() || length("memory_after") == length("memory"),
            "{name}: lengths differ"
        );
        if let Some(linux) = vector.get("linux") {
            let keys: Vec<_> = linux.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(matches!(keys[..], ["refuses"] | ["direct"] | ["type"]), "{name}: linux {keys:?}");
        }
        assert!(names.insert(name.clone()), "{file}: the name {name} is there twice");
    }
    assert!(names.len() >= 200);
}

/// What tells instructions apart: the opcode, and the field that selects a variant.
fn kind(op: &Op) -> (u8, i32) {
    let insn = encode(op).0;
    let variant = match op {
        Op::Alu { op: AluOp::SDiv | AluOp::SMod, .. } | Op::MovSx { .. } => i32::from(insn.off),
        Op::Swap { .. } | Op::Atomic { .. } | Op::LoadAcquire { .. } | Op::StoreRelease { .. } => insn.imm,
        Op::CallHelper { .. } | Op::CallLocal { .. } | Op::CallKfunc { .. } | Op::LoadImm64 { .. } => insn.src.into(),
        _ => 0,
    };
    (insn.code, variant)
}

/// Every kind of instruction that needs nothing but the program: no map, no kernel symbol.
fn every_kind() -> BTreeMap<(u8, i32), Op> {
    let atomics = AtomicOp::ALL.iter().map(|op| op.code());
    let imms: Vec<i32> = atomics.chain([16, 32, 64, 0x100, 0x110]).collect();
    let mut kinds = BTreeMap::new();
    for code in 0..=255u8 {
        for (src, off) in [(0, 0), (1, 0), (2, 0), (4, 0), (0, 1), (0, 8), (0, 16), (0, 32)] {
            for &imm in &imms {
                let slots = [Insn { code, dst: 0, src, off, imm }, Insn::default()];
                if let Ok((op, _)) = decode(&slots, 0) {
                    kinds.insert(kind(&op), op);
                }
            }
        }
    }
    kinds.retain(|_, op| match op {
        Op::CallKfunc { .. } => false,
        Op::LoadImm64 { value, .. } => matches!(value, Imm64::Value(_) | Imm64::Function { .. }),
        _ => true,
    });
    kinds
}

#[test]
fn every_instruction_has_a_vector() {
    let mut seen = BTreeSet::new();
    for (_, vector) in vectors() {
        let program = program(&vector);
        let mut at = 0;
        while at < program.len() {
            let width = match decode(&program, at) {
                Ok((op, width)) => {
                    seen.insert(kind(&op));
                    width
                }
                Err(_) => 1,
            };
            at += width;
        }
    }
    let kinds = every_kind();
    assert!(kinds.len() > 150, "{}", kinds.len());
    let missing: Vec<String> =
        kinds.iter().filter(|(kind, _)| !seen.contains(kind)).map(|(_, op)| op.to_string()).collect();
    assert!(missing.is_empty(), "no vector for {missing:#?}");
}

/// Programs that decode, but that no machine may run whatever their data.
const DECODABLE: [&str; 10] = [
    "write_to_r10",
    "add_to_r10",
    "load_into_r10",
    "lddw_into_r10",
    "packet_load_absolute",
    "packet_load_indirect",
    "packet_load_word",
    "packet_load_half",
    "packet_load_byte_indirect",
    "packet_load_word_indirect",
];

#[test]
fn refused_slots_do_not_decode_and_all_others_do() {
    for (file, vector) in vectors() {
        let program = program(&vector);
        let mut at = 0;
        let mut fails = false;
        while at < program.len() && !fails {
            match decode(&program, at) {
                Ok((_, width)) => at += width,
                Err(_) => fails = true,
            }
        }
        let name = vector["name"].as_str().unwrap();
        assert_eq!(fails, file == "refused" && !DECODABLE.contains(&name), "{name}");
    }
}
