//! Our maps against those of the running kernel. Skipped, with the reason, where bpf(2) is not there or not 6.18.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::duplicate_mod)] // the random numbers come with both support modules

mod create;
mod dynptr;
#[path = "../engine_support/mod.rs"]
mod engine_support;
mod kernel;
mod lru;
#[path = "../map_support/mod.rs"]
mod map_support;
mod numbered;
mod perf;
mod programs;
mod ring;
mod sequences;
mod tail_calls;
mod user;
