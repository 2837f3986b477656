//! What the workers of a crew make their benches from.

use std::sync::Arc;

use crate::bench::load::custom_calls;
use crate::bench::{Bench, BenchError, BenchProgram, EngineKind, Link, MapLibrary, Options, Tracepoint};
use crate::clock::Clock;
use crate::event::{Filter, Registry, Slot, TraceRing, TracepointSpec};
use crate::helper::VmContext;
use crate::map::{Holds, MapSet};
use crate::program::{Program, ProgramType};

/// A bench, as far as events of some tracepoints need one.
pub(super) struct Plan {
    options: Options,
    clock: Clock,
    registry: Registry,
    /// What each CPU is doing.
    vms: Vec<VmContext>,
    /// In the order in which they were given.
    tracepoints: Vec<PlannedTracepoint>,
    /// All programs of the bench, so that they keep their numbers.
    programs: Vec<PlannedProgram>,
}

struct PlannedTracepoint {
    spec: Arc<TracepointSpec>,
    slot: Slot,
    enabled: bool,
    filter: Option<Box<Filter>>,
    links: Vec<Link>,
}

struct PlannedProgram {
    program: Arc<Program>,
    runs_as: Option<ProgramType>,
    maps: MapSet,
    reach: (u64, usize),
    /// Whether it may run.
    needed: bool,
}

impl Plan {
    /// The plan of a bench for events of these tracepoints.
    ///
    /// # Errors
    /// [`BenchError::OneThread`] for what only one thread can do.
    pub(super) fn new<'t>(
        bench: &Bench,
        tracepoints: impl IntoIterator<Item = &'t Tracepoint>,
    ) -> Result<Plan, BenchError> {
        free(bench)?;
        let tracepoints: Vec<&Tracepoint> = tracepoints.into_iter().collect();
        if let Some(heard) = tracepoints.iter().find(|tracepoint| tracepoint.listening.get() > 0) {
            return Err(one_thread(format!(
                "something listens to {}, and hears its events one after the other",
                heard.spec.name()
            )));
        }
        let needed = needed(bench, &tracepoints);
        let programs = (0..bench.programs.len()).filter_map(|index| bench.programs.get(index));
        let programs = programs.zip(needed).map(|(of, needed)| plan_program(of, needed)).collect::<Result<_, _>>()?;
        let tracepoints = tracepoints.into_iter().map(|tracepoint| PlannedTracepoint {
            spec: tracepoint.spec.clone(),
            slot: tracepoint.slot,
            enabled: tracepoint.enabled.get(),
            filter: tracepoint.filter.borrow().clone(),
            links: tracepoint.links.borrow().clone(),
        });
        Ok(Plan {
            options: bench.options,
            clock: bench.clock.copy(),
            registry: bench.registry.borrow().clone(),
            vms: bench.cpus.iter().map(|cpu| cpu.vm.get()).collect(),
            tracepoints: tracepoints.collect(),
            programs,
        })
    }

    /// A bench of its own for a worker. Its tracepoints have the numbers in which they were given; its trace is one queue,
    /// in the order of writing.
    pub(super) fn bench(&self) -> Result<Bench, BenchError> {
        let mut bench = Bench::new(self.options)?;
        bench.clock = self.clock.copy();
        bench.registry = self.registry.clone().into();
        bench.trace = TraceRing::new(self.options.trace_entries, 1).into();
        bench.shared.set(true);
        for (cpu, vm) in bench.cpus.iter().zip(&self.vms) {
            cpu.vm.set(*vm);
        }
        for PlannedTracepoint { spec, slot, enabled, filter, links } in &self.tracepoints {
            let tracepoint = Tracepoint::new(spec.clone(), *slot);
            tracepoint.enabled.set(*enabled);
            *tracepoint.filter.borrow_mut() = filter.clone();
            *tracepoint.links.borrow_mut() = links.clone();
            bench.tracepoints.push(Box::new(tracepoint));
        }
        for PlannedProgram { program, runs_as, maps, reach, needed } in &self.programs {
            let ready = needed.then(|| self.options.make_ready(program.clone(), maps.clone())).transpose();
            let runnable = ready.map_err(|source| self.options.refused(program, source))?;
            let ready = BenchProgram::with(program.clone(), *runs_as, runnable, maps.clone(), None, *reach);
            bench.programs.push(Box::new(ready));
        }
        Ok(bench)
    }

    /// Numbers of the programs that may run.
    pub(super) fn needed(&self) -> impl Iterator<Item = usize> {
        self.programs.iter().enumerate().filter(|(_, program)| program.needed).map(|(index, _)| index)
    }
}

fn one_thread(what: String) -> BenchError {
    BenchError::OneThread { what }
}

/// Whether a bench, as it is, can be worked for by several threads.
fn free(bench: &Bench) -> Result<(), BenchError> {
    let running = bench.dispatching.get() > 0 || bench.cpus.iter().any(|cpu| cpu.active.get() > 0);
    let what = if bench.options.engine != EngineKind::Interpreter {
        "rbpf counts nothing and keeps what it has compiled for one thread"
    } else if bench.options.maps != MapLibrary::Own {
        "kbpf-basic's maps are for one thread"
    } else if bench.shared.get() {
        "another batch on several threads is on its way"
    } else if running {
        "this batch is fired from within an event or a program"
    } else if bench.keeps_runs.get() {
        "what each run comes to is being kept, one after the other"
    } else {
        return Ok(());
    };
    Err(one_thread(what.to_owned()))
}

/// By number, whether a program may run at events of these tracepoints: attached, or reached by tail calls.
fn needed(bench: &Bench, tracepoints: &[&Tracepoint]) -> Vec<bool> {
    let mut needed = vec![false; bench.programs.len()];
    let mut reached = Vec::new();
    for tracepoint in tracepoints {
        reached.extend(tracepoint.links.borrow().iter().filter(|link| !link.gone).map(|link| link.program));
    }
    while let Some(index) = reached.pop() {
        let Some(program) = bench.programs.get(index).filter(|program| program.runnable().is_some()) else { continue };
        if std::mem::replace(&mut needed[index], true) {
            continue;
        }
        for map in &program.maps().0 {
            if let Holds::Programs(array) = map.holds() {
                reached.extend(array.programs().into_iter().map(|number| number as usize));
            }
        }
    }
    needed
}

fn plan_program(of: &BenchProgram, needed: bool) -> Result<PlannedProgram, BenchError> {
    let program = of.program().clone();
    if needed && let Some((insn, id)) = custom_calls(&program).next() {
        let (name, line) = (&program.name, program.line_of(insn));
        let line =
            line.map_or_else(String::new, |line| format!("\n  {}:{}: {}", line.file, line.line, line.text.trim()));
        return Err(one_thread(format!(
            "{name}, instruction {insn}, calls helper {id:#x}, one of your own, which is called by one thread{line}"
        )));
    }
    let maps = if needed { of.maps() } else { MapSet::default() };
    Ok(PlannedProgram { program, runs_as: of.runs_as, maps, reach: of.reach, needed })
}
