//! What a refusal tells: the instruction, its line, the registers, the way there, what would help.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod verifier_support;

use std::sync::Arc;

use axebpf_core::program::{ProgramType, SourceLine};
use axebpf_core::verifier::{LIMIT, Options, Rule, VerifierError, verify};
use verifier_support::{assemble, facts, program};

/// Refuses a program of which each line of text is a source line.
fn refused(text: &str) -> VerifierError {
    let mut program = program(assemble(text), ProgramType::Tracepoint, "GPL");
    let mut slot = 0;
    for (number, line) in (1..).zip(text.lines()) {
        program.lines.push(SourceLine {
            insn: slot,
            file: "exits.bpf.c".into(),
            line: number,
            column: 3,
            text: format!("  {line};").into(),
        });
        slot += if line.contains("map[") { 2 } else { usize::from(!line.ends_with(':')) };
    }
    let error = verify(Arc::new(program), &facts(), &Options::default()).expect_err("a rule is broken");
    *error
}

const LOOK_UP: &str = "*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr1 = map[HASH]\ncall bpf_map_lookup_elem\n";

#[test]
fn a_missing_test_is_told_with_its_line_and_the_way_out() {
    let error = refused(&format!("{LOOK_UP}r0 = *(u64 *)(r0 +0)\nexit"));
    assert_eq!((error.rule, error.insn), (Rule::Null, 6));
    assert_eq!(error.line.as_ref().map(|line| line.line), Some(6));
    assert_eq!(
        error.to_string(),
        "test, instruction 6: R0 invalid mem access 'map_value_or_null': r0 may be null (rule 8, null test)\n  \
         exits.bpf.c:6: r0 = *(u64 *)(r0 +0);\n                 ^\n  \
         r0 is the address of a value of HASH (16 bytes), or null\n  \
         test it before it is used: if (!p) return 0;"
    );
}

#[test]
fn the_branches_that_led_there_are_told() {
    let text = "r6 = map[ONE][0]+0\ncall bpf_get_prandom_u32\nr0 &= 127\nif r0 == 9 goto A\nif r0 > 64 goto B\nr6 += r0\n\
                r0 = *(u8 *)(r6 +0)\nA:\nB:\nr0 = 0\nexit";
    let error = refused(text);
    assert_eq!(error.rule, Rule::MapValue);
    let path: Vec<(usize, bool)> = error.path.iter().map(|branch| (branch.insn, branch.taken)).collect();
    assert_eq!(path, [(4, false), (5, false)]);
    let told = error.to_string();
    assert!(told.contains("exits.bpf.c:4: if r0 == 9 goto A; (not taken)"), "{told}");
    assert!(told.contains("r6 is the address of a value of ONE (64 bytes) at 0…64"), "{told}");
    assert!(told.contains("bound the index to the number of elements"), "{told}");
    assert!(error.log.contains("5: (25) if r0 > 0x40 goto pc+2"), "{}", error.log);
    assert!(error.log.ends_with("invalid access to map value, value_size=64 off=64 size=1\n"), "{}", error.log);
}

#[test]
fn where_the_budget_went_is_told() {
    let error = refused("r0 = 0\nL:\nr0 += 1\nif r0 < 2000000000 goto L\nexit");
    assert_eq!((error.rule, error.processed), (Rule::Termination, LIMIT + 1));
    let told = error.to_string();
    assert!(
        told.contains("most of them went round exits.bpf.c:4: if r0 < 2000000000 goto L; (500000 times)"),
        "{told}"
    );
    assert!(told.contains("bpf_loop()"), "{told}");
}

#[test]
fn a_log_of_a_long_path_shows_its_end() {
    let error = refused("r0 = 0\nL:\nr0 += 1\nif r0 < 5000 goto L\nr0 = r9\nexit");
    assert_eq!(error.rule, Rule::Initialised);
    assert!(error.log.lines().count() <= 101 && error.log.ends_with("R9 !read_ok\n"), "{}", error.log);
    assert!(error.path.len() <= 16);
}

#[test]
fn many_branches_take_little() {
    // 1250 branches, each of which adds something or not: 2^1250 paths, which meet again.
    let branch =
        |n: usize| format!("r2 = *(u8 *)(r6 +{})\nif r2 == {} goto J{n}\nr7 += {n}\nJ{n}:\n", 8 + n % 64, n % 7);
    let branches: String = (0..1250).map(branch).collect();
    let text = format!("r6 = r1\nr7 = 0\n{branches}r0 = 0\nexit");
    let program = program(assemble(&text), ProgramType::Tracepoint, "GPL");
    let verified = verify(Arc::new(program), &facts(), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    assert!(verified.processed < 40_000, "{} instructions", verified.processed);
    assert!(verified.executed.iter().all(|executed| *executed));
    assert_eq!(verified.context_reach, 72);
}

#[test]
fn code_that_no_run_executes_is_told() {
    let text = "r2 = map[RODATA][0]+0\nr3 = *(u32 *)(r2 +0)\nif r3 == 5 goto L\nr0 = 1\nexit\nL:\nr0 = 0\nexit";
    let program = program(assemble(text), ProgramType::Tracepoint, "GPL");
    let verified = verify(Arc::new(program), &facts(), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(verified.executed, [true, false, true, true, false, false, true, true]);
}

#[test]
fn a_limit_of_the_callers_own_is_kept() {
    let program = program(assemble("r0 = 0\nL:\nr0 += 1\nif r0 < 100 goto L\nexit"), ProgramType::Tracepoint, "GPL");
    let verdict = |limit: u32| verify(Arc::new(program.clone()), &facts(), &Options { limit, ..Options::default() });
    assert_eq!(verdict(150).unwrap_err().rule, Rule::Termination);
    assert_eq!(verdict(300).unwrap().processed, 202);
}
