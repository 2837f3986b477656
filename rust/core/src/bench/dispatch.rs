//! The path of an event: statistics, trace, programs, listeners.

use std::sync::Arc;

use super::host::{EventHost, Vm};
use super::{Bench, BenchError, BenchProgram, Link, Listening, MAX_LINKS, Tracepoint};
use crate::engine::{Input, Outcome, Runnable, Stack};
use crate::event::{AXVISOR_COMM, Filter, HEADER_SIZE, RAW_ARGUMENTS, Record, Stamp, TRACE_CONTEXT_SIZE};
use crate::memory::Window;
use crate::program::ProgramType;

/// Something outside the core that wants to see events.
pub trait Listener: Send + Sync {
    /// An event has happened and its programs have run.
    ///
    /// # Errors
    /// Ends the batch; the caller gets the error.
    fn event(&self, tracepoint: &Tracepoint, stamp: &Stamp, record: &[u8]) -> Result<(), BenchError>;
}

/// Bytes on the boundary that the C type of a context has.
#[repr(align(8))]
struct Aligned<T>(T);

impl Bench {
    /// The stamp of an event that happens now, on the current CPU or the given one, at the given time or the clock's.
    ///
    /// # Errors
    /// [`BenchError::Clock`] for a CPU that there is not.
    #[inline]
    pub fn stamp(&self, time_ns: Option<u64>, cpu: Option<u32>) -> Result<Stamp, Box<BenchError>> {
        let cpu = match cpu {
            Some(cpu) => {
                self.clock.check_cpu(cpu).map_err(BenchError::from)?;
                cpu
            }
            None => self.clock.cpu(),
        };
        let time_ns = time_ns.unwrap_or_else(|| self.clock.tick());
        Ok(Stamp { time_ns, cpu, pid: 0, comm: AXVISOR_COMM })
    }

    /// An event happens: `record` is its bytes, header included.
    ///
    /// # Errors
    /// [`BenchError::Fault`] where a program was stopped, after everything else has been done; a listener's error.
    #[inline]
    pub fn fire(&self, tracepoint: &Tracepoint, stamp: &Stamp, record: &[u8]) -> Result<(), Box<BenchError>> {
        let event = tracepoint.spec.record(record).map_err(BenchError::from)?;
        tracepoint.fired.set(tracepoint.fired.get().wrapping_add(1));
        if self.options.statistics {
            let mut statistics = tracepoint.statistics.borrow_mut();
            match event.duration() {
                Some(duration) => statistics.record_duration(stamp.time_ns, duration),
                None => statistics.record_hit(stamp.time_ns),
            }
        }
        if tracepoint.enabled.get()
            && tracepoint.filter.borrow().as_ref().is_none_or(|filter| passes(filter, &event, stamp))
        {
            self.trace.borrow_mut().push_record(*stamp, record);
        }
        // Programs attached while this event is on its way see the next one.
        let links = tracepoint.links.borrow().len();
        if links == 0 && tracepoint.listening.get() == 0 {
            return Ok(());
        }
        self.dispatching.set(self.dispatching.get() + 1);
        let mut result = if links > 0 { self.run_links(tracepoint, links, stamp, &event) } else { Ok(()) };
        if tracepoint.listening.get() > 0 {
            result = result.and(self.tell_listeners(tracepoint, stamp, &event));
        }
        self.dispatching.set(self.dispatching.get() - 1);
        if tracepoint.gone.get() && self.dispatching.get() == 0 {
            // Links that went away meanwhile were only marked.
            tracepoint.gone.set(false);
            tracepoint.links.borrow_mut().retain(|link| !link.gone);
        }
        result
    }

    /// Runs the programs of the first `links` links.
    fn run_links(
        &self,
        tracepoint: &Tracepoint,
        links: usize,
        stamp: &Stamp,
        event: &Record<'_>,
    ) -> Result<(), Box<BenchError>> {
        let mut result = Ok(());
        let mut stack = self.take_stack()?;
        for index in 0..links {
            let link = tracepoint.links.borrow().get(index).map(|l| (l.program, l.cookie, l.gone, l.filter.is_some()));
            if let Some((program, cookie, false, filtered)) = link
                && (!filtered || passes_link(tracepoint, index, event, stamp))
                && let Some(of) = self.programs.get(program)
            {
                let run = if self.keeps_runs.get() {
                    self.run_kept(&mut stack, program, of, cookie, stamp, event)
                } else {
                    self.run_link(&mut stack, of, cookie, stamp, event)
                };
                result = result.and(run);
            }
        }
        self.give_back(stack);
        result
    }

    #[cold]
    fn tell_listeners(
        &self,
        tracepoint: &Tracepoint,
        stamp: &Stamp,
        event: &Record<'_>,
    ) -> Result<(), Box<BenchError>> {
        let mut result = Ok(());
        // A copy, because they may come and go while one of them runs.
        let listeners = tracepoint.listeners.borrow().clone();
        for Listening { id, listener, filter } in listeners {
            let is_there = tracepoint.listeners.borrow().iter().any(|listening| listening.id == id);
            if is_there && filter.is_none_or(|filter| passes(&filter, event, stamp)) {
                let heard = listener.event(tracepoint, stamp, event.bytes());
                result = result.and(heard.map_err(Box::new));
            }
        }
        result
    }

    #[inline]
    fn run_link(
        &self,
        stack: &mut Stack,
        program: &BenchProgram,
        cookie: u64,
        stamp: &Stamp,
        event: &Record<'_>,
    ) -> Result<(), Box<BenchError>> {
        let Some(runnable) = program.runnable() else { return Ok(()) };
        let host = EventHost { bench: self, stamp, vm: Vm::Of(event), cookie };
        match self.run_at(stack, program, &*runnable, &host, event) {
            Some(Outcome { result: Err(fault), .. }) => Err(Box::new(BenchError::Fault(fault))),
            _ => Ok(()),
        }
    }

    /// Runs a program at an event and counts that; none where it is passed over.
    #[inline(always)] // a part of `run_link`, which is on the path of every event
    pub(super) fn run_at(
        &self,
        stack: &mut Stack,
        program: &BenchProgram,
        runnable: &dyn Runnable,
        host: &EventHost<'_>,
        event: &Record<'_>,
    ) -> Option<Outcome> {
        let cpu = &self.cpus[host.stamp.cpu as usize];
        let budget = self.options.budget;
        let outcome = match program.runs_as {
            Some(ProgramType::RawTracepoint) => {
                let _guard = program.begin_alone(host.stamp.cpu)?;
                run_raw(runnable, stack, host, event, budget)
            }
            Some(ProgramType::Axvisor) => {
                let _guard = program.begin(&cpu.active)?;
                run_axvisor(runnable, stack, host, event, budget)
            }
            _ => {
                let _guard = program.begin(&cpu.active)?;
                let start = event.bytes().as_ptr() as u64;
                let hidden = HEADER_SIZE as u64;
                let len = event.bytes().len() as u64 - hidden;
                let context = Window { start: start + hidden, len, writable: false };
                let input = Input { args: [start, 0], context, extra: &[], host, budget, alone: host.is_alone() };
                // SAFETY: the context is the record behind its header, borrowed for the run and not written to.
                unsafe { runnable.run(stack, &input) }
            }
        };
        self.instructions.set(self.instructions.get().wrapping_add(outcome.instructions));
        program.end(&outcome, host.stamp, self.instructions.get());
        Some(outcome)
    }

    /// Attaches a program to a tracepoint, behind those that are there; returns the number of the link.
    ///
    /// # Errors
    /// [`BenchError::AttachType`], [`BenchError::AlreadyAttached`], [`BenchError::TooManyPrograms`],
    /// [`BenchError::NoProgram`].
    pub fn attach(&self, tracepoint: &Tracepoint, program: usize, cookie: u64) -> Result<u64, BenchError> {
        self.attach_filtered(tracepoint, program, cookie, None)
    }

    /// As [`Bench::attach`], for the events only that a filter lets through.
    ///
    /// # Errors
    /// [`BenchError::Filter`], and those of [`Bench::attach`].
    pub fn attach_filtered(
        &self,
        tracepoint: &Tracepoint,
        program: usize,
        cookie: u64,
        filter: Option<&str>,
    ) -> Result<u64, BenchError> {
        let filter = self.compile_filter(tracepoint, filter)?.map(Box::new);
        let bench_program = self
            .programs
            .get(program)
            .filter(|p| p.runnable().is_some())
            .ok_or(BenchError::NoProgram { index: program })?;
        let program_type = bench_program.runs_as;
        let name = || bench_program.name().to_owned();
        if !matches!(program_type, Some(ProgramType::Tracepoint | ProgramType::RawTracepoint | ProgramType::Axvisor)) {
            return Err(BenchError::AttachType { program: name(), program_type });
        }
        let mut links = tracepoint.links.borrow_mut();
        let spec = tracepoint.spec.clone();
        let tracepoint = || spec.name().to_owned();
        if links.iter().any(|link| !link.gone && link.program == program) {
            return Err(BenchError::AlreadyAttached { program: name(), tracepoint: tracepoint() });
        }
        if links.iter().filter(|link| !link.gone).count() >= MAX_LINKS {
            return Err(BenchError::TooManyPrograms { tracepoint: tracepoint(), max: MAX_LINKS });
        }
        let size = match program_type {
            Some(ProgramType::RawTracepoint) => 8 * spec.fields().len().min(RAW_ARGUMENTS),
            Some(ProgramType::Axvisor) => TRACE_CONTEXT_SIZE,
            _ => spec.record_size(),
        };
        let (reach, insn) = bench_program.reach;
        if reach > size as u64 {
            let (program, tracepoint, size) = (name(), tracepoint(), size as u64);
            let line = bench_program.program().line_of(insn);
            let line = line.map(|line| format!("{}:{}: {}", line.file, line.line, line.text.trim()));
            return Err(BenchError::ContextTooShort { program, tracepoint, reach, size, line });
        }
        let id = self.new_id();
        links.push(Link { id, program, cookie, filter, gone: false });
        bench_program.links.set(bench_program.links.get() + 1);
        Ok(id)
    }

    /// Whether what [`Bench::attach`] attached still is.
    #[must_use]
    pub fn is_attached(&self, tracepoint: &Tracepoint, id: u64) -> bool {
        tracepoint.links.borrow().iter().any(|link| link.id == id && !link.gone)
    }

    /// Detaches what [`Bench::attach`] attached.
    ///
    /// # Errors
    /// [`BenchError::Detached`] where that is done already.
    pub fn detach(&self, tracepoint: &Tracepoint, id: u64) -> Result<(), BenchError> {
        let mut links = tracepoint.links.borrow_mut();
        let link = links.iter_mut().find(|link| link.id == id && !link.gone).ok_or(BenchError::Detached)?;
        link.gone = true;
        if let Some(program) = self.programs.get(link.program) {
            program.links.set(program.links.get() - 1);
        }
        if self.dispatching.get() == 0 {
            links.retain(|link| !link.gone);
        } else {
            tracepoint.gone.set(true);
        }
        Ok(())
    }

    /// Lets something see the events of a tracepoint; returns its number.
    pub fn listen(&self, tracepoint: &Tracepoint, listener: Arc<dyn Listener>) -> u64 {
        self.add_listener(tracepoint, listener, None)
    }

    /// As [`Bench::listen`], for the events only that a filter lets through.
    ///
    /// # Errors
    /// [`BenchError::Filter`].
    pub fn listen_filtered(
        &self,
        tracepoint: &Tracepoint,
        listener: Arc<dyn Listener>,
        filter: Option<&str>,
    ) -> Result<u64, BenchError> {
        let filter = self.compile_filter(tracepoint, filter)?.map(Arc::new);
        Ok(self.add_listener(tracepoint, listener, filter))
    }

    fn add_listener(&self, tracepoint: &Tracepoint, listener: Arc<dyn Listener>, filter: Option<Arc<Filter>>) -> u64 {
        let id = self.new_id();
        tracepoint.listeners.borrow_mut().push(Listening { id, listener, filter });
        tracepoint.listening.set(tracepoint.listening.get() + 1);
        id
    }

    /// Ends what [`Bench::listen`] began; false where that is done already.
    pub fn stop_listening(&self, tracepoint: &Tracepoint, listener: u64) -> bool {
        let mut listeners = tracepoint.listeners.borrow_mut();
        let index = listeners.iter().position(|listening| listening.id == listener);
        let removed = index.map(|index| listeners.remove(index));
        tracepoint.listening.set(listeners.len());
        // What it drops may call back.
        drop(listeners);
        removed.is_some()
    }

    /// Ends all listening: what a bench does that is closed.
    pub fn forget_listeners(&self) {
        for slot in 0..self.tracepoints.len() {
            if let Some(tracepoint) = self.tracepoints.get(slot) {
                tracepoint.listening.set(0);
                let listeners = tracepoint.listeners.take();
                drop(listeners);
            }
        }
    }

    fn new_id(&self) -> u64 {
        let id = self.next_link.get();
        self.next_link.set(id + 1);
        id
    }

    /// Detaches a program from everything.
    pub(super) fn detach_all(&self, program: usize) {
        for slot in 0..self.tracepoints.len() {
            let Some(tracepoint) = self.tracepoints.get(slot) else { continue };
            let id = tracepoint.links.borrow().iter().find(|l| l.program == program && !l.gone).map(|l| l.id);
            if let Some(id) = id {
                let detached = self.detach(tracepoint, id);
                debug_assert!(detached.is_ok(), "found just before");
            }
        }
    }
}

/// Whether a filter lets an event through.
#[inline(never)] // most events meet none
fn passes(filter: &Filter, event: &Record<'_>, stamp: &Stamp) -> bool {
    filter.matches(event, stamp)
}

/// Whether the filter of a link lets an event through.
#[cold]
fn passes_link(tracepoint: &Tracepoint, link: usize, event: &Record<'_>, stamp: &Stamp) -> bool {
    let links = tracepoint.links.borrow();
    links.get(link).and_then(|link| link.filter.as_ref()).is_none_or(|filter| passes(filter, event, stamp))
}

/// Runs a program on the arguments of a raw tracepoint.
#[inline(never)] // keeps the array out of the frame of the others
fn run_raw(
    runnable: &dyn Runnable,
    stack: &mut Stack,
    host: &EventHost<'_>,
    event: &Record<'_>,
    budget: u64,
) -> Outcome {
    let arguments = Aligned(event.raw_arguments());
    let len = 8 * event.spec().fields().len().min(arguments.0.len());
    let start = arguments.0.as_ptr() as u64;
    let context = Window { start, len: len as u64, writable: false };
    let input = Input { args: [start, 0], context, extra: &[], host, budget, alone: host.is_alone() };
    // SAFETY: the context is the array above, which lives on and is not written to.
    unsafe { runnable.run(stack, &input) }
}

/// Runs a program on AxVisor's trace context.
#[inline(never)] // as `run_raw`
fn run_axvisor(
    runnable: &dyn Runnable,
    stack: &mut Stack,
    host: &EventHost<'_>,
    event: &Record<'_>,
    budget: u64,
) -> Outcome {
    let mut trace = Aligned(event.trace_context(host.stamp.time_ns));
    let start = trace.0.as_mut_ptr() as u64;
    let context = Window { start, len: TRACE_CONTEXT_SIZE as u64, writable: true };
    let input = Input { args: [start, 0], context, extra: &[], host, budget, alone: host.is_alone() };
    // SAFETY: the context is the array above, which lives on; nothing else refers to it.
    unsafe { runnable.run(stack, &input) }
}
