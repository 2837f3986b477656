//! A program of a bench: what the engine made of it, its counters, its guard against recursion.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;

use super::host::{EventHost, Vm};
use super::reach::context_reach;
use super::worst::{Worst, WorstRuns};
use super::{Bench, BenchError};
use crate::engine::{Input, Observer, Outcome, ProgramFault, Runnable, Tally};
use crate::event::Stamp;
use crate::helper::VmContext;
use crate::map::MapSet;
use crate::memory::Window;
use crate::program::{Program, ProgramType};

/// What a program has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs begun, by events and by hand.
    pub runs: u64,
    /// Events passed over because the program, or one guarded with it, was running on that CPU.
    pub misses: u64,
    /// Runs that a fault stopped.
    pub faults: u64,
    /// Instructions executed; none on rbpf, which counts none.
    pub instructions: Option<u64>,
    /// Helpers called, by subprograms and callbacks too.
    pub calls: u64,
    /// The runs that took the most; on rbpf, the worst by instructions is not known.
    pub worst: WorstRuns,
}

/// How the latest run of a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// Slot of its last instruction: the `exit`, or the one that was stopped.
    pub insn: usize,
    /// Instructions that all programs of the bench had executed by then: says which of two programs ended later.
    pub at: u64,
}

/// A program of a bench.
pub struct BenchProgram {
    program: Arc<Program>,
    /// The type whose context and guard it gets.
    pub(super) runs_as: Option<ProgramType>,
    /// Gone once it is unloaded and no run of it is going on.
    runnable: RefCell<Option<Box<dyn Runnable>>>,
    /// Its maps, until it is unloaded.
    maps: RefCell<MapSet>,
    unloaded: Cell<bool>,
    /// How far into its context it reads, and at which instruction.
    pub(super) reach: (u64, usize),
    /// Number of the load that made it; none for raw instructions.
    pub object: Option<usize>,
    pub(super) links: Cell<usize>,
    runs: Cell<u64>,
    misses: Cell<u64>,
    faults: Cell<u64>,
    instructions: Cell<u64>,
    calls: Cell<u64>,
    worst: Worst,
    /// Whether its engine counts instructions.
    counted: bool,
    /// Instructions that the bench had executed when its latest run ended.
    ended: Cell<u64>,
    /// Where its latest run ended, once it is unloaded.
    last: Cell<Option<usize>>,
    /// CPUs on which it is running, for the types that guard each program by itself.
    running: RefCell<Vec<u32>>,
}

/// A program runs that is guarded with all others of its CPU.
pub(super) struct OnCpu<'a>(&'a Cell<u32>);

impl Drop for OnCpu<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A program runs that guards itself.
pub(super) struct Alone<'a>(&'a RefCell<Vec<u32>>, u32);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().retain(|on| *on != self.1);
    }
}

impl BenchProgram {
    pub(super) fn new(
        program: Arc<Program>,
        runs_as: Option<ProgramType>,
        runnable: Box<dyn Runnable>,
        maps: MapSet,
        object: Option<usize>,
    ) -> BenchProgram {
        let reach = context_reach(&program.insns);
        BenchProgram::with(program, runs_as, Some(runnable), maps, object, reach)
    }

    /// As [`BenchProgram::new`]; without a runnable, one that is unloaded.
    pub(super) fn with(
        program: Arc<Program>,
        runs_as: Option<ProgramType>,
        runnable: Option<Box<dyn Runnable>>,
        maps: MapSet,
        object: Option<usize>,
        reach: (u64, usize),
    ) -> BenchProgram {
        let counted = runnable.as_ref().is_some_and(|runnable| runnable.is_observable());
        BenchProgram {
            program,
            runs_as,
            unloaded: Cell::new(runnable.is_none()),
            runnable: RefCell::new(runnable),
            maps: RefCell::new(maps),
            reach,
            object,
            links: Cell::new(0),
            runs: Cell::new(0),
            misses: Cell::new(0),
            faults: Cell::new(0),
            instructions: Cell::new(0),
            calls: Cell::new(0),
            worst: Worst::default(),
            counted,
            ended: Cell::new(0),
            last: Cell::new(None),
            running: RefCell::default(),
        }
    }

    /// Instructions, lines, maps.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Function name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Type, if it has one.
    #[must_use]
    pub fn program_type(&self) -> Option<ProgramType> {
        self.program.program_type
    }

    /// Slot of each instruction and how often it was executed so far; nothing once the program is unloaded.
    ///
    /// # Errors
    /// [`BenchError::NotObservable`] where it runs on rbpf.
    pub fn profile(&self) -> Result<Vec<(usize, u64)>, BenchError> {
        match self.runnable() {
            None => Ok(Vec::new()),
            Some(runnable) if runnable.is_observable() => Ok(runnable.counts()),
            Some(_) => Err(BenchError::NotObservable { program: self.name().to_owned() }),
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            runs: self.runs.get(),
            misses: self.misses.get(),
            faults: self.faults.get(),
            instructions: self.counted.then_some(self.instructions.get()),
            calls: self.calls.get(),
            worst: self.worst.all(),
        }
    }

    /// Begins to watch which of its runs take the most, from now on; returns the number of the watch.
    #[must_use]
    pub fn watch(&self) -> u64 {
        self.worst.watch()
    }

    /// The worst of the runs that ended since [`BenchProgram::watch`]. None where that has ended.
    #[must_use]
    pub fn watched(&self, watch: u64) -> Option<WorstRuns> {
        self.worst.watched(watch)
    }

    /// Ends what [`BenchProgram::watch`] began, if that is not done already.
    pub fn unwatch(&self, watch: u64) {
        self.worst.unwatch(watch);
    }

    /// Its maps, by slot.
    pub(super) fn maps(&self) -> MapSet {
        self.maps.borrow().clone()
    }

    /// How its latest run ended; none before the first.
    #[must_use]
    pub fn last_run(&self) -> Option<LastRun> {
        let insn = self.runnable().and_then(|runnable| runnable.last()).or(self.last.get())?;
        Some(LastRun { insn, at: self.ended.get() })
    }

    /// What the engine made of it; none once it is unloaded.
    #[must_use]
    #[inline]
    pub fn runnable(&self) -> Option<Ref<'_, dyn Runnable>> {
        if self.unloaded.get() {
            return None;
        }
        Ref::filter_map(self.runnable.borrow(), |runnable| runnable.as_deref()).ok()
    }

    /// Begins a run on a CPU, unless a program is running there. What is passed over is counted, as Linux does.
    #[inline]
    pub(super) fn begin<'a>(&self, active: &'a Cell<u32>) -> Option<OnCpu<'a>> {
        if active.get() > 0 {
            self.misses.set(self.misses.get() + 1);
            return None;
        }
        active.set(1);
        self.runs.set(self.runs.get() + 1);
        Some(OnCpu(active))
    }

    /// Begins a run of a raw tracepoint program, which only this program itself can be in the way of.
    pub(super) fn begin_alone(&self, cpu: u32) -> Option<Alone<'_>> {
        let mut running = self.running.borrow_mut();
        if running.contains(&cpu) {
            self.misses.set(self.misses.get() + 1);
            return None;
        }
        running.push(cpu);
        self.runs.set(self.runs.get() + 1);
        Some(Alone(&self.running, cpu))
    }

    /// What it is given in r1 and r2: its context, and of a program of type `mem` the length of that.
    pub(super) fn arguments(&self, start: u64, context: Window) -> [u64; 2] {
        [start, if matches!(self.runs_as, Some(ProgramType::Mem) | None) { context.len } else { 0 }]
    }

    /// Its part of the run of a program that has tail-called it is over, the bench having executed so many instructions.
    pub(super) fn ended_within(&self, at: u64) {
        self.ended.set(at);
    }

    /// Instructions that the bench had executed when its latest run ended; 0 before the first.
    pub(super) fn ended(&self) -> u64 {
        self.ended.get()
    }

    /// As [`Worst::at`].
    pub(super) fn worst_at(&self) -> (u64, u64) {
        self.worst.at()
    }

    /// Adds what it has done on another bench, made ready there once more; the worst runs are for [`BenchProgram::note_worst`].
    pub(super) fn add(&self, counts: &Counts, profile: &Tally) {
        let add = |counter: &Cell<u64>, more: u64| counter.set(counter.get().wrapping_add(more));
        add(&self.runs, counts.runs);
        add(&self.misses, counts.misses);
        add(&self.faults, counts.faults);
        add(&self.instructions, counts.instructions.unwrap_or(0));
        add(&self.calls, counts.calls);
        if let Some(runnable) = self.runnable() {
            runnable.add(profile);
        }
    }

    /// As [`Worst::note`].
    pub(super) fn note_worst(&self, runs: WorstRuns, at: u64) {
        self.worst.note(runs, at);
    }

    /// Its latest run is one on another bench, if it has not ended before one that is known already.
    pub(super) fn ended_elsewhere(&self, profile: &Tally, at: u64) {
        if at > self.ended.get() {
            self.ended.set(at);
            if let Some(runnable) = self.runnable() {
                runnable.end_as(profile);
            }
        }
    }

    /// The run of this event is over, the bench having executed so many instructions.
    #[inline]
    pub(super) fn end(&self, outcome: &Outcome, stamp: &Stamp, at: u64) {
        self.ended.set(at);
        self.calls.set(self.calls.get().wrapping_add(outcome.calls));
        self.worst.see(outcome, stamp, at);
        self.instructions.set(self.instructions.get().wrapping_add(outcome.instructions));
        self.faults.set(self.faults.get() + u64::from(outcome.result.is_err()));
    }
}

/// How to run a program by hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand {
    /// Nanoseconds since boot; none for the clock's.
    pub time_ns: Option<u64>,
    /// CPU; none for the current one.
    pub cpu: Option<u32>,
    /// What the helpers 100 to 102 say; none for what the CPU is doing.
    pub vm: Option<VmContext>,
}

/// What a run by hand came to.
#[derive(Debug)]
pub struct HandRun {
    /// `r0`, or what stopped it.
    pub result: Result<u64, Box<ProgramFault>>,
    /// Instructions executed; none on rbpf, which counts none.
    pub instructions: Option<u64>,
    /// Helpers called.
    pub calls: u64,
    /// Lines printed.
    pub printed: Vec<String>,
}

impl Bench {
    /// Runs a program once with these bytes as its context, which it may change where its type allows that. With an
    /// observer, that sees each instruction.
    ///
    /// # Errors
    /// [`BenchError::NoProgram`] where it is gone, [`BenchError::Clock`] for a CPU that there is not,
    /// [`BenchError::NotObservable`] for an observer of rbpf. A fault is in the result.
    pub fn run_program(
        &self,
        index: usize,
        context: &mut [u8],
        how: ByHand,
        observer: Option<&mut dyn Observer>,
    ) -> Result<HandRun, BenchError> {
        let program = self.programs.get(index).ok_or(BenchError::NoProgram { index })?;
        let runnable = program.runnable().ok_or(BenchError::NoProgram { index })?;
        if observer.is_some() && !runnable.is_observable() {
            return Err(BenchError::NotObservable { program: program.name().to_owned() });
        }
        let stamp = self.stamp(how.time_ns.or(Some(self.clock.now())), how.cpu).map_err(|error| *error)?;
        let vm = how.vm.unwrap_or_else(|| self.cpus[stamp.cpu as usize].vm.get());
        let host = EventHost { bench: self, stamp: &stamp, vm: Vm::Given(vm), cookie: 0 };
        let program_type = program.runs_as;
        let start = if context.is_empty() { 0 } else { context.as_mut_ptr() as u64 };
        let hidden = match program_type {
            Some(ProgramType::Tracepoint) => crate::event::HEADER_SIZE.min(context.len()),
            _ => 0,
        };
        let writable = !matches!(program_type, Some(ProgramType::Tracepoint | ProgramType::RawTracepoint));
        let len = context.len() as u64;
        let window = Window { start: start + hidden as u64, len: len - hidden as u64, writable };
        let args = program.arguments(start, window);
        let input = Input {
            args,
            context: window,
            extra: &[],
            host: &host,
            budget: self.options.budget,
            alone: host.is_alone(),
        };

        let active = &self.cpus[stamp.cpu as usize].active;
        let outer = self.printed.replace(Some(Vec::new()));
        // By hand, a program runs whatever else is running, as BPF_PROG_TEST_RUN does; events that it causes do not.
        active.set(active.get() + 1);
        let ran = self.take_stack().map(|mut stack| {
            // SAFETY: the context is borrowed mutably for the whole run and not touched before its end.
            let outcome = unsafe {
                match observer {
                    Some(observer) => runnable.observe(&mut stack, &input, observer),
                    None => runnable.run(&mut stack, &input),
                }
            };
            self.give_back(stack);
            outcome
        });
        active.set(active.get() - 1);
        let printed = self.printed.replace(outer).unwrap_or_default();
        let outcome = ran.map_err(|error| *error)?;
        self.instructions.set(self.instructions.get().wrapping_add(outcome.instructions));
        program.runs.set(program.runs.get() + 1);
        program.end(&outcome, &stamp, self.instructions.get());
        let instructions = program.counted.then_some(outcome.instructions);
        Ok(HandRun { result: outcome.result, instructions, calls: outcome.calls, printed })
    }

    /// Takes a program out of the bench. Its number is not given again.
    ///
    /// # Errors
    /// [`BenchError::Attached`] where it is attached and not `force`; [`BenchError::NoProgram`] where it is gone.
    pub fn unload(&self, index: usize, force: bool) -> Result<(), BenchError> {
        let program =
            self.programs.get(index).filter(|p| p.runnable().is_some()).ok_or(BenchError::NoProgram { index })?;
        let links = program.links.get();
        if links > 0 && !force {
            return Err(BenchError::Attached { program: program.name().to_owned(), links });
        }
        self.detach_all(index);
        self.forget_program(index);
        program.last.set(program.runnable().and_then(|runnable| runnable.last()));
        program.unloaded.set(true);
        program.maps.take();
        // A program that unloads itself, through a helper, is freed with the bench.
        if let Ok(mut runnable) = program.runnable.try_borrow_mut() {
            *runnable = None;
        }
        Ok(())
    }
}
