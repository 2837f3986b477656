//! Our maps against those of the running kernel. Skipped, with the reason, where bpf(2) is not there or not 6.18.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::duplicate_mod)] // the random numbers come with both support modules

mod create;
mod dynptr;
#[path = "../engine_support/mod.rs"]
mod engine_support;
mod flag_sets;
mod function_info;
mod kernel;
mod locks;
mod lru;
#[path = "../map_support/mod.rs"]
mod map_support;
mod misuse;
mod numbered;
mod perf;
mod programs;
mod ring;
mod script;
mod sequences;
mod shapes;
mod tail_calls;
mod things;
mod user;
mod uses;

/// How many operations a test does, which usually is so many: `AXEBPF_OPERATIONS` asks for more.
fn operations(usual: usize) -> usize {
    std::env::var("AXEBPF_OPERATIONS").map_or(usual, |n| n.parse().unwrap())
}
