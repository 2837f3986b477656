//! The conformance vectors on rbpf: what is wrong or refused is in the table of gaps, and nothing else is.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "classic_vectors/mod.rs"]
mod classic_vectors;

use std::path::Path;

use axebpf_core::axvisor::{Effect, GAPS, Gap, Part};
use axebpf_core::bench::{Bench, BenchError, ByHand, EngineKind, Options, Target};
use classic_vectors::{Classic, classic, from_hex};

/// A program, and what is right.
struct Vector {
    name: String,
    code: Vec<u8>,
    memory: Vec<u8>,
    /// None: it must be refused or stopped.
    r0: Option<u64>,
    /// The memory afterwards, where it is known.
    after: Option<Vec<u8>>,
}

/// Those of `tests/data/isa`, but for the one that never ends.
fn own() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/isa");
    let mut vectors = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let ends = file["vectors"].as_array().unwrap().iter().filter(|vector| vector["fault"] != "budget");
        vectors.extend(ends.map(|vector| {
            let hex = |field: &str| vector.get(field).map(|hex| from_hex(hex.as_str().unwrap()));
            let memory = hex("memory").unwrap_or_default();
            let r0 = vector["r0"].as_str().map(|text| u64::from_str_radix(&text[2..], 16).unwrap());
            Vector {
                name: vector["name"].as_str().unwrap().to_owned(),
                code: hex("code").unwrap(),
                after: Some(hex("memory_after").unwrap_or_else(|| memory.clone())),
                memory,
                r0,
            }
        }));
    }
    vectors
}

enum Came {
    Right,
    Refused(String),
    Wrong(String),
}

/// A bench with this engine, and the vector in it.
fn load(vector: &Vector, engine: EngineKind) -> Result<(Bench, usize), BenchError> {
    let bench = Bench::new(Options { engine, endless: true, ..Options::default() })?;
    let program = bench.load_bytes("vector", &vector.code, "mem", "GPL", &[])?;
    Ok((bench, program))
}

fn on_rbpf(vector: &Vector) -> Came {
    let mut memory = vector.memory.clone();
    let result = load(vector, EngineKind::Rbpf)
        .and_then(|(bench, program)| Ok(bench.run_program(program, &mut memory, ByHand::default(), None)?.result?));
    match result {
        Ok(r0) if vector.r0 == Some(r0) && vector.after.as_ref().is_none_or(|after| memory == *after) => Came::Right,
        Ok(r0) => Came::Wrong(format!("{r0:#x}")),
        Err(_) if vector.r0.is_none() => Came::Right,
        Err(error @ BenchError::Fault(_)) => Came::Wrong(error.to_string()),
        Err(error) => Came::Refused(error.to_string()),
    }
}

/// The rows about the VM that a vector meets, by the report on its portability.
fn rows(vector: &Vector) -> Vec<&'static Gap> {
    // What is wrong on rbpf is loaded by it, and what it refuses is right on Linux.
    let loaded = load(vector, EngineKind::Rbpf).or_else(|_| load(vector, EngineKind::Interpreter));
    let report = loaded.and_then(|(bench, program)| bench.portability(program, Target::Axvisor));
    let names: Vec<&str> = report.iter().flatten().filter_map(|finding| finding.gap).collect();
    vm().filter(|gap| names.contains(&gap.name)).collect()
}

fn vm() -> impl Iterator<Item = &'static Gap> {
    GAPS.iter().filter(|gap| gap.part == Part::Vm)
}

/// How many of the vectors are wrong, and how many refused; each must fall under a row, and each that falls under a
/// row of what is refused must be.
fn check(vectors: &[Vector]) -> (usize, usize) {
    let (mut wrong, mut refused, mut unknown) = (0, 0, Vec::new());
    for vector in vectors {
        let (name, rows) = (&vector.name, rows(vector));
        let must = rows.iter().find(|gap| gap.effect == Effect::Refused && vector.r0.is_some());
        match on_rbpf(vector) {
            Came::Refused(_) if must.is_some() => refused += 1,
            Came::Wrong(_) if !rows.is_empty() && must.is_none() => wrong += 1,
            Came::Right if must.is_none() => {}
            Came::Refused(told) | Came::Wrong(told) => unknown.push(format!("{name}: {told}, not {:x?}", vector.r0)),
            Came::Right => unknown.push(format!("{name}: right, in spite of \"{}\"", must.unwrap().name)),
        }
    }
    assert!(unknown.is_empty(), "{} of {}:\n{}", unknown.len(), vectors.len(), unknown.join("\n"));
    (wrong, refused)
}

#[test]
fn of_our_vectors_those_are_wrong_that_meet_a_gap_of_the_table_and_no_others() {
    let vectors = own();
    assert_eq!((vectors.len(), check(&vectors)), (595, (79, 63)));
}

#[test]
fn of_the_classic_vectors_too() {
    let Some(programs) = classic() else { return };
    let vector = |Classic { name, code, memory, r0 }| Vector { name, code, memory, after: None, r0: Some(r0) };
    let vectors: Vec<Vector> = programs.into_iter().map(vector).collect();
    assert_eq!((vectors.len(), check(&vectors)), (225, (31, 28)));
}

#[test]
fn every_gap_of_the_vm_has_vectors_of_ours_that_show_it() {
    let wrong = own().into_iter().filter(|vector| !matches!(on_rbpf(vector), Came::Right));
    let shown: Vec<&str> = wrong.flat_map(|vector| rows(&vector)).map(|gap| gap.name).collect();
    let not: Vec<&str> = vm().map(|gap| gap.name).filter(|name| !shown.contains(name)).collect();
    assert_eq!(not, [""; 0]);
}
