//! AxVisor's side of a bench: the VM and the maps that it runs programs on, as they are published, and its helpers.
//!
//! - [`Rbpf`]: the interpreter of `rbpf` 0.4.1 as an engine;
//! - [`create_map`]: the maps of `kbpf-basic` 0.5.5, and [`Lending`] for engines that run over them;
//! - [`HELPERS`]: AxVisor's helper layer;
//! - [`GAPS`]: what of all this differs from Linux;
//! - [`findings`]: what of that a program meets.
//!
//! Both crates are used as they are, safely: no program, key or order of calls can corrupt, hang or end the process.
//! How is said in each file, and so is every place where that makes something different from AxVisor. It rests on
//! unwinding: a build with `panic = "abort"` ends with the first fault of a helper.

mod cells;
mod copies;
mod ends;
mod flow;
mod gaps;
mod helpers;
mod lending;
mod load;
mod maps;
mod ops;
mod portability;
mod ring;
mod run;
mod vm;

pub use gaps::{Argument, Call, Effect, GAPS, Gap, GapMap, Part, Shown, Sign};
pub use helpers::{AxvisorHelper, HELPERS};
pub use lending::Lending;
pub use load::{HelperLayer, Rbpf};
pub use maps::{KINDS, create as create_map};
pub use portability::{findings, refused_map, refused_program};
