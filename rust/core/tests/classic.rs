//! The published classic conformance programs, on the engine that a bench takes by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "classic_vectors/mod.rs"]
mod classic_vectors;

use axebpf_core::bench::{Bench, ByHand, Options};
use classic_vectors::{Classic, classic};

#[test]
fn every_classic_program_gives_its_result() {
    let Some(programs) = classic() else { return };
    let mut wrong = Vec::new();
    for Classic { name, code, mut memory, r0: expected } in programs {
        let bench = Bench::new(Options::default()).unwrap();
        let found = match bench.load_bytes(&name, &code, "mem", "GPL", &[]) {
            Err(error) => error.to_string(),
            Ok(program) => match bench.run_program(program, &mut memory, ByHand::default(), None).unwrap().result {
                Ok(r0) if r0 == expected => continue,
                Ok(r0) => format!("{r0:#x}"),
                Err(fault) => fault.to_string(),
            },
        };
        wrong.push(format!("{name}: expected {expected:#x}, got {found}"));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
