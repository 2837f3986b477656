//! The published classic conformance programs (bpf_conformance), on every engine: read where they are present, from
//! `conformance/classic.json` in the folder that `AXEBPF_SHARED` names, by default `../shared` beside the checkout.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use axebpf_core::bench::{Bench, ByHand, Options};

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn every_classic_program_gives_its_result() {
    let shared = std::env::var_os("AXEBPF_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(shared.join("conformance/classic.json")) else {
        println!("skipped: no conformance/classic.json beside the checkout; AXEBPF_SHARED names its folder");
        return;
    };
    let programs: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for (name, case) in programs.as_object().unwrap() {
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        let bench = Bench::new(Options::default()).unwrap();
        let expected = u64::from_str_radix(text("result").trim_start_matches("0x"), 16).unwrap();
        let found = match bench.load_bytes(name, &from_hex(&text("code")), "mem", "GPL", &[]) {
            Err(error) => error.to_string(),
            Ok(program) => {
                let mut memory = from_hex(&text("mem"));
                match bench.run_program(program, &mut memory, ByHand::default(), None).unwrap().result {
                    Ok(r0) if r0 == expected => continue,
                    Ok(r0) => format!("{r0:#x}"),
                    Err(fault) => fault.to_string(),
                }
            }
        };
        wrong.push(format!("{name}: expected {expected:#x}, got {found}"));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} wrong:\n{}",
        wrong.len(),
        programs.as_object().unwrap().len(),
        wrong.join("\n")
    );
}
