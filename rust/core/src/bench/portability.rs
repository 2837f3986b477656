//! What becomes of a program on each target, whatever the bench is.

use std::sync::Arc;

use super::{Bench, BenchError, BenchMap, Options, Target};
use crate::map::MapSpec;
use crate::object::{Object, ObjectProgram};
use crate::portability::{Effect, Finding, Maps, Verdict, linux};
use crate::program::Program;

/// What becomes of a program on the targets, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portability {
    /// Findings on target linux.
    pub linux: Vec<Finding>,
    /// Findings on target axvisor.
    pub axvisor: Vec<Finding>,
}

impl Portability {
    /// Each target's name, verdict and findings.
    #[must_use]
    pub fn targets(&self) -> [(&'static str, Verdict, &[Finding]); 2] {
        [("linux", Verdict::of(&self.linux), &self.linux), ("axvisor", Verdict::of(&self.axvisor), &self.axvisor)]
    }
}

#[cfg(feature = "axvisor")]
fn axvisor(program: &Arc<Program>, maps: &Maps<'_>, budget: u64) -> Vec<Finding> {
    crate::axvisor::findings(program, maps, Some(budget))
}

#[cfg(not(feature = "axvisor"))]
fn axvisor(_: &Arc<Program>, _: &Maps<'_>, _: u64) -> Vec<Finding> {
    vec![Finding {
        gap: None,
        effect: Effect::Unknown,
        insn: None,
        what: "the program".to_owned(),
        reason: BenchError::NotBuilt { what: "the target axvisor" }.to_string(),
        instead: "",
    }]
}

impl Bench {
    /// What becomes of one of its programs on each target.
    ///
    /// # Errors
    /// [`BenchError::NoProgram`] where it is gone.
    pub fn portability(&self, index: usize) -> Result<Portability, BenchError> {
        let found = self.program(index).filter(|of| of.runnable().is_some());
        let program = found.ok_or(BenchError::NoProgram { index })?;
        let used = program.maps();
        let others: Vec<Arc<BenchMap>> = self.maps.borrow().iter().flatten().cloned().collect();
        let of_object = others.iter().filter(|map| map.object.is_some() && map.object == program.object);
        let mut all: Vec<&MapSpec> = used.0.iter().map(|map| map.spec()).collect();
        for spec in of_object.map(|map| map.map.spec()) {
            if !all.iter().any(|known| known.name == spec.name) {
                all.push(spec);
            }
        }
        let slots: Vec<Option<&MapSpec>> = used.0.iter().map(|map| Some(map.spec())).collect();
        // On the bench's own target they are there.
        let maps = |target| {
            let there = self.options.target == target;
            Maps { slots: slots.clone(), all: if there { Vec::new() } else { all.clone() } }
        };
        let (program, budget) = (program.program(), self.options.budget);
        Ok(Portability {
            linux: linux(program, &maps(Target::Linux)),
            axvisor: axvisor(program, &maps(Target::Axvisor), budget),
        })
    }
}

/// What becomes of a program of an object on each target, without a bench; none where it cannot be linked.
#[must_use]
pub fn portability_of(object: &Object, program: &ObjectProgram) -> Option<Portability> {
    let program = Arc::new(program.program.clone().ok()?);
    let specs: Vec<Option<MapSpec>> = object.maps.iter().map(|def| def.spec().ok()).collect();
    let all: Vec<&MapSpec> = specs.iter().flatten().collect();
    let slots = program.maps.iter().map(|name| all.iter().find(|spec| spec.name == *name).copied()).collect();
    let maps = Maps { slots, all };
    let (mut linux, mut axvisor) = (linux(&program, &maps), axvisor(&program, &maps, Options::default().budget));
    for error in object.maps.iter().filter_map(|def| def.spec().err()) {
        for found in [&mut linux, &mut axvisor] {
            found.retain(|finding| finding.effect != Effect::Unknown);
            found.push(Finding::refused_map(&error.map, &error));
        }
    }
    Some(Portability { linux, axvisor })
}
