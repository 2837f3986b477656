//! What the verifier is told beside the program: helpers of the user's, the size of the context.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod verifier_support;

use std::sync::Arc;

use axebpf_core::helper::{ArgKind, CUSTOM_HELPERS, ReturnKind};
use axebpf_core::program::ProgramType;
use axebpf_core::verifier::{Options, Rule, verify};
use verifier_support::{assemble, facts, program};

/// The broken rule, or none.
fn broken(text: &str, program_type: ProgramType, options: &Options) -> Option<Rule> {
    let program = program(assemble(text), program_type, "GPL");
    verify(Arc::new(program), &facts(), options).err().map(|error| error.rule)
}

#[test]
fn helpers_of_the_users_own_are_those_that_are_told() {
    let mut options = Options::default();
    let call = |offset: i32, behind: &str| {
        format!("*(u64 *)(r10 -8) = r1\nr1 = r10\nr1 += {offset}\nr2 = 8\ncall own#{CUSTOM_HELPERS}\n{behind}\nexit")
    };
    let fine = call(-16, "r2 = *(u64 *)(r10 -8)\nr2 = *(u64 *)(r2 +8)");
    assert_eq!(broken(&fine, ProgramType::Tracepoint, &options), Some(Rule::Helper));
    options.custom_helpers.insert(CUSTOM_HELPERS, (vec![ArgKind::MemWrite, ArgKind::Size], ReturnKind::Integer));
    assert_eq!(broken(&fine, ProgramType::Tracepoint, &options), None);
    // What it writes over is no address any more.
    let spoilt = call(-8, "r2 = *(u64 *)(r10 -8)\nr2 = *(u64 *)(r2 +8)");
    assert_eq!(broken(&spoilt, ProgramType::Tracepoint, &options), Some(Rule::Dereference));
    assert_eq!(broken(&call(-4, "r0 = 0"), ProgramType::Tracepoint, &options), Some(Rule::Stack));
    let without = format!("r1 = 5\nr2 = 8\ncall own#{CUSTOM_HELPERS}\nr0 = 0\nexit");
    assert_eq!(broken(&without, ProgramType::Tracepoint, &options), Some(Rule::Argument));
}

#[test]
fn the_buffer_of_a_program_of_type_mem_is_as_long_as_is_told() {
    let options = |size: u32| Options { context_size: Some(size), ..Options::default() };
    let text = "r0 = *(u64 *)(r1 +8)\n*(u64 *)(r1 +8) = r2\nexit";
    assert_eq!(broken(text, ProgramType::Mem, &options(16)), None);
    assert_eq!(broken(text, ProgramType::Mem, &options(15)), Some(Rule::Memory));
    assert_eq!(broken(text, ProgramType::Mem, &Options::default()), Some(Rule::Memory));
    // Its length is in r2, and is known.
    let last = "r1 += r2\nr0 = *(u8 *)(r1 -1)\nexit";
    assert_eq!(broken(last, ProgramType::Mem, &options(16)), None);
    assert_eq!(broken(&last.replace("-1", "+0"), ProgramType::Mem, &options(16)), Some(Rule::Memory));
}

#[test]
fn a_context_may_be_shorter_than_the_type_allows() {
    let options = |size: u32| Options { context_size: Some(size), ..Options::default() };
    let text = "r0 = *(u64 *)(r1 +24)\nexit";
    for program_type in [ProgramType::Tracepoint, ProgramType::RawTracepoint, ProgramType::Syscall] {
        assert_eq!(broken(text, program_type, &Options::default()), None, "{program_type:?}");
        assert_eq!(broken(text, program_type, &options(32)), None, "{program_type:?}");
        assert_eq!(broken(text, program_type, &options(31)), Some(Rule::Context), "{program_type:?}");
    }
}

#[test]
fn the_context_of_axvisor_is_its_trace_context() {
    let options = Options::default();
    for (text, rule) in [
        ("r0 = *(u64 *)(r1 +56)\nexit", None),
        ("r0 = *(u32 *)(r1 +3)\nexit", None),
        ("*(u32 *)(r1 +60) = 1\nr0 = 0\nexit", None),
        ("r0 = *(u64 *)(r1 +60)\nexit", Some(Rule::Context)),
    ] {
        assert_eq!(broken(text, ProgramType::Axvisor, &options), rule, "{text}");
    }
}
