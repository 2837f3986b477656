//! The conformance vectors of `tests/data/isa` on the interpreter: result or fault, and the memory after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;

use std::path::Path;

use axebpf_core::isa::Insn;
use engine_support::{Lab, kind, program, refused_for, told};
use serde_json::Value;

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn bytes(vector: &Value, field: &str) -> Option<Vec<u8>> {
    vector.get(field).map(|hex| from_hex(hex.as_str().unwrap()))
}

/// What is wrong with it, if anything.
fn check(vector: &Value) -> Result<(), String> {
    let code = bytes(vector, "code").unwrap();
    let insns: Vec<Insn> = code.chunks_exact(8).map(|slot| Insn::from_bytes(slot.try_into().unwrap())).collect();
    let memory = bytes(vector, "memory");
    let expected_fault = vector.get("fault").map(|fault| fault.as_str().unwrap());
    let mut program = program(insns, &[]);
    program.lines.clear();
    let mut lab = match Lab::load(program, &[], memory.as_ref().map_or(1, Vec::len)) {
        Ok(lab) => lab,
        // A program that can only fault may be refused.
        Err(error) if expected_fault.is_some_and(|fault| refused_for(&error).contains(&fault)) => return Ok(()),
        Err(error) => return Err(format!("refused: {error}")),
    };
    // `may_goto` alone may take 2^23 turns.
    lab.budget = 1 << 26;
    match &memory {
        Some(memory) => lab.put(memory),
        None => lab.context_len = 0,
    }
    let outcome = lab.run();
    match (&outcome.result, expected_fault) {
        (Err(fault), Some(expected)) if kind(&fault.fault) == expected => {}
        (Ok(_), None) if told(&outcome) == vector["r0"].as_str().unwrap() => {}
        _ => return Err(told(&outcome)),
    }
    let after = bytes(vector, "memory_after").or(memory).unwrap_or_default();
    if lab.bytes() == after { Ok(()) } else { Err(format!("memory is {:02x?}", lab.bytes())) }
}

#[test]
fn every_vector_ends_as_the_standard_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/isa");
    let (mut wrong, mut run) = (Vec::new(), 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            run += 1;
            if let Err(what) = check(vector) {
                wrong.push(format!("{}: {what}, not {} {}", vector["name"], vector["r0"], vector["fault"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {run} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(run > 300, "{run}");
}
