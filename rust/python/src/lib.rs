//! `axebpf._native`: converts, calls the core, converts back; nothing else.
//!
//! Its reference is `python/axebpf/_native.pyi`.

mod bench;
mod columns;
mod error;
mod filter;
mod fire;
mod map;
mod map_kinds;
mod object;
mod portability;
mod program;
mod recording;
mod runs;
mod spec;
mod statistics;
mod symbol;
mod trace;
mod values;

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::bench::Bench;
    #[pymodule_export]
    use super::bench::Link;
    #[pymodule_export]
    use super::bench::Tracepoint;
    #[pymodule_export]
    use super::filter::Filter;
    #[pymodule_export]
    use super::map::Map;
    #[pymodule_export]
    use super::map_kinds::map_kinds;
    #[pymodule_export]
    use super::object::Object;
    #[pymodule_export]
    use super::portability::gaps;
    #[pymodule_export]
    use super::program::Program;
    #[pymodule_export]
    use super::program::assemble;
    #[pymodule_export]
    use super::program::disassemble;
    #[pymodule_export]
    use super::program::helpers;
    #[pymodule_export]
    use super::recording::Recording;
    #[pymodule_export]
    use super::spec::TracepointSpec;
    #[pymodule_export]
    use super::statistics::Histogram;
    #[pymodule_export]
    use super::statistics::Statistics;
    #[pymodule_export]
    use super::statistics::histogram_buckets;
    #[pymodule_export]
    use super::symbol::SymbolTable;
    #[pymodule_export]
    use super::values::Values;
}
