//! What a bench is like: Linux, or AxVisor; and whose VM and whose maps it uses.

use std::sync::Arc;

use super::{BenchError, Options};
use crate::engine::{EngineError, Interpreter, Runnable};
use crate::map::{self, BUFFER, Creation, Holds, Map, MapSet, MapSpec};
use crate::program::{Program, ProgramType};

/// Which hypervisor, or kernel, programs are run for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Linux: its helpers, its contexts.
    #[default]
    Linux,
    /// AxVisor: rbpf and kbpf-basic, its own helper layer, its `TraceContext` for programs of every type.
    Axvisor,
}

/// What runs programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// The checked interpreter.
    #[default]
    Interpreter,
    /// The crate rbpf's interpreter.
    Rbpf,
}

/// Whose maps there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapLibrary {
    /// Ours, exact to Linux.
    #[default]
    Own,
    /// The crate kbpf-basic's.
    Kbpf,
}

impl Options {
    /// The options with what the target decides.
    ///
    /// # Errors
    /// [`BenchError::NotBuilt`] where this build has no rbpf and kbpf-basic.
    pub(super) fn settle(mut self) -> Result<Options, BenchError> {
        if self.target == Target::Axvisor {
            (self.engine, self.maps) = (EngineKind::Rbpf, MapLibrary::Kbpf);
        }
        let own = (EngineKind::Interpreter, MapLibrary::Own);
        if !cfg!(feature = "axvisor") && (self.engine, self.maps) != own {
            let what = match (self.target, self.engine) {
                (Target::Axvisor, _) => "the target axvisor",
                (_, EngineKind::Rbpf) => "the engine rbpf",
                _ => "the map library kbpf-basic",
            };
            return Err(BenchError::NotBuilt { what });
        }
        Ok(self)
    }

    /// What decides the context of a program: its type; on AxVisor all get the same.
    pub(super) fn runs_as(&self, program_type: Option<ProgramType>) -> Option<ProgramType> {
        if self.target == Target::Axvisor { Some(ProgramType::Axvisor) } else { program_type }
    }

    /// A map, with `spin_lock` as [`Creation`] has it: AxVisor's library knows no types of values, and makes one without.
    /// A perf event array comes with a buffer for each CPU, as a reader opens them.
    pub(super) fn create_map(
        &self,
        spec: MapSpec,
        inner: Option<&dyn Map>,
        spin_lock: Option<u32>,
    ) -> Result<Arc<dyn Map>, BenchError> {
        #[cfg(feature = "axvisor")]
        if self.maps == MapLibrary::Kbpf {
            let (target, known) = (self.target, spec.clone());
            return crate::axvisor::create_map(spec).map_err(|error| match target {
                Target::Linux => error.into(),
                Target::Axvisor => BenchError::RefusedMap {
                    map: known.name.clone(),
                    errno: error.errno(),
                    finding: Box::new(crate::axvisor::refused_map(&error, &known)),
                },
            });
        }
        let map = map::create_as(spec, self.cpus, &Creation { inner, lru: self.lru, spin_lock })?;
        if let Holds::Events(events) = map.holds() {
            // Fewer entries than CPUs, or one that the bench may not write to: as many as there can be.
            for cpu in 0..self.cpus {
                if events.open(cpu, BUFFER).is_err() {
                    break;
                }
            }
        }
        // SAFETY: nobody else has it yet, and a bench lets no map out to another thread (`maps.rs`).
        unsafe { map.set_alone(true) };
        Ok(map)
    }

    /// A program that the engine does not take.
    pub(super) fn refused(&self, program: &Program, source: EngineError) -> BenchError {
        let line = source.insn().and_then(|insn| program.line_of(insn));
        let (name, section) = (program.name.clone(), program.section.clone());
        #[cfg(feature = "axvisor")]
        if self.target == Target::Axvisor && source.insn().is_some() {
            let finding = Box::new(crate::axvisor::refused_program(program, &source));
            return BenchError::Refused { program: name, section, line: line.cloned(), finding };
        }
        BenchError::Engine {
            program: name,
            section,
            line: line.map(|line| format!("{}:{}: {}", line.file, line.line, line.text.trim())),
            source: Box::new(source),
        }
    }

    #[cfg(feature = "axvisor")]
    pub(super) fn make_ready(&self, program: Arc<Program>, maps: MapSet) -> Result<Box<dyn Runnable>, EngineError> {
        use crate::axvisor::{HelperLayer, Lending, Rbpf};
        if self.engine == EngineKind::Rbpf {
            let helpers = match self.target {
                Target::Linux => HelperLayer::Linux,
                Target::Axvisor => HelperLayer::Axvisor,
            };
            let budget = (!self.endless).then_some(self.budget);
            return Rbpf { helpers, budget }.load(program, maps);
        }
        let runnable = Interpreter.load(program, maps.clone())?;
        Ok(match self.maps {
            MapLibrary::Own => runnable,
            MapLibrary::Kbpf => Box::new(Lending::new(runnable, maps)),
        })
    }

    #[cfg(not(feature = "axvisor"))]
    pub(super) fn make_ready(&self, program: Arc<Program>, maps: MapSet) -> Result<Box<dyn Runnable>, EngineError> {
        Interpreter.load(program, maps)
    }
}
