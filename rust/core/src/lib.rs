//! The core of axebpf: everything that a bench for eBPF tracing programs needs, without Python.
//!
//! Rooms, lowest floor first; a room uses only rooms of lower floors:
//!
//! `errno fault isa btf clock memory held nearest` → `map program symbol` → `object helper` → `verifier` →
//! `engine` → `portability` → `axvisor event` → `recording kvm` → `bench`

pub mod btf;
pub mod clock;
pub mod errno;
pub mod fault;
pub mod held;
pub mod isa;
pub mod memory;
mod nearest;

pub mod map;
pub mod program;
pub mod symbol;

pub mod helper;
pub mod object;

pub mod verifier;

pub mod engine;

pub mod portability;

#[cfg(feature = "axvisor")]
pub mod axvisor;
pub mod event;

pub mod recording;

pub mod bench;
