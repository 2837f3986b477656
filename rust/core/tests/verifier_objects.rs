//! Programs in C, compiled for each version of the instruction set: ours and the running kernel's verdict on the
//! programs of the benchmarks and the examples.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;
mod verifier_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axebpf_core::object::Object;
use axebpf_core::verifier::{MapFacts, Options, verify};
use object_fixtures::{clang, compile_to, scratch};
use verifier_support::linux::{Oracle, number_of};

/// Folders of programs that Linux loads.
const FOLDERS: [&str; 2] = ["benches/anchors/programs", "python/axebpf/examples"];

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = FOLDERS.iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".bpf.c"));
    files.sort();
    files
}

#[test]
fn programs_in_c_have_the_verdict_of_linux() {
    let Some(clang) = clang() else { return };
    // The buffer of those of type `mem`.
    let options = Options { context_size: Some(256), ..Options::default() };
    let (mut programs, mut asked) = (0, 0);
    let mut wrong = Vec::new();
    for source in sources() {
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        for cpu in ["v1", "v2", "v3", "v4"] {
            // Without the instructions of v3, the frames of this one do not fit a stack.
            if name == "helpers.bpf.c" && matches!(cpu, "v1" | "v2") {
                continue;
            }
            let output = scratch(&format!("{name}.o"));
            compile_to(clang, &source, &["-I/usr/include/x86_64-linux-gnu", &format!("-mcpu={cpu}")], &output);
            let object = Object::parse(&std::fs::read(&output).unwrap(), &name).unwrap();
            for found in &object.programs {
                let program = found.program.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
                let facts = MapFacts::of_object(&object, program).unwrap();
                let place = format!("{name} -mcpu={cpu}, {}", found.name);
                let started = Instant::now();
                let verdict = verify(Arc::new(program.clone()), &facts, &options);
                let took = started.elapsed();
                programs += 1;
                match &verdict {
                    Ok(verified) => {
                        println!("{place}: {} instructions, {} states, {took:?}", verified.processed, verified.states)
                    }
                    Err(error) => println!("{place}: {error}"),
                }
                let uses_own = program.insns.iter().any(|insn| insn.code == 0x85 && (100..=102).contains(&insn.imm));
                let expected = if program.program_type.is_some_and(|of| number_of(of).is_some()) && !uses_own {
                    match Oracle::open(&facts) {
                        Ok(oracle) => {
                            asked += 1;
                            oracle.verdict(program)
                        }
                        Err(_) => Ok(()),
                    }
                } else {
                    Ok(())
                };
                if verdict.is_ok() != expected.is_ok() {
                    wrong.push(format!(
                        "{place}: ours {:?}, Linux {expected:?}",
                        verdict.map_err(|error| error.to_string()).map(|_| ())
                    ));
                }
            }
        }
    }
    println!("{programs} programs, {asked} of them asked of the kernel");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
