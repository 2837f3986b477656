//! What becomes of a program on each target, whatever the bench is.

use std::rc::Rc;
use std::sync::Arc;

use super::{Bench, BenchError, BenchMap, Options, Target};
use crate::map::MapSpec;
use crate::object::{Object, ObjectProgram};
use crate::portability::{Effect, Finding, Maps, linux};
use crate::program::Program;

fn findings(program: &Arc<Program>, maps: &Maps<'_>, target: Target, budget: u64) -> Vec<Finding> {
    match target {
        Target::Linux => linux(program, maps),
        Target::Axvisor => axvisor(program, maps, budget),
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
    /// What is found of one of its programs on a target, be it the bench's own or the other.
    ///
    /// # Errors
    /// [`BenchError::NoProgram`] where it is gone.
    pub fn portability(&self, index: usize, target: Target) -> Result<Vec<Finding>, BenchError> {
        let found = self.program(index).filter(|of| of.runnable().is_some());
        let program = found.ok_or(BenchError::NoProgram { index })?;
        let used = program.maps();
        let slots: Vec<Option<&MapSpec>> = used.0.iter().map(|map| Some(map.spec())).collect();
        let others: Vec<Rc<BenchMap>> = self.maps.borrow().iter().flatten().cloned().collect();
        let mut all = Vec::new();
        // On the bench's own target they are there.
        if target != self.options.target {
            all.extend(slots.iter().copied().flatten());
            let of_object = others.iter().filter(|map| map.object.is_some() && map.object == program.object);
            for spec in of_object.map(|map| map.map.spec()) {
                if !all.iter().any(|known| known.name == spec.name) {
                    all.push(spec);
                }
            }
        }
        Ok(findings(program.program(), &Maps { slots, all }, target, self.options.budget))
    }
}

/// What is found of a program of an object on a target, without a bench; none where it cannot be linked.
#[must_use]
pub fn portability_of(object: &Object, program: &ObjectProgram, target: Target) -> Option<Vec<Finding>> {
    let program = Arc::new(program.program.clone().ok()?);
    let specs: Vec<Option<MapSpec>> = object.maps.iter().map(|def| def.spec().ok()).collect();
    let all: Vec<&MapSpec> = specs.iter().flatten().collect();
    let slots = program.maps.iter().map(|name| all.iter().find(|spec| spec.name == *name).copied()).collect();
    let mut found = findings(&program, &Maps { slots, all }, target, Options::default().budget);
    let unknown = object.maps.iter().filter_map(|def| def.spec().err());
    let unknown: Vec<Finding> = unknown.map(|error| Finding::refused_map(&error.map, &error)).collect();
    if !unknown.is_empty() {
        found.retain(|finding| finding.effect != Effect::Unknown);
        found.extend(unknown);
    }
    Some(found)
}
