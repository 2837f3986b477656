//! What a run sees of its bench: the time and CPU of its event, the task, the VM.

use std::sync::Arc;

use super::Bench;
use crate::clock::ClockMode;
use crate::event::{Record, Stamp};
use crate::fault::{Fault, Foreign};
use crate::helper::{Host, Run, Task, VmContext};
use crate::memory::Memory;

/// Runs helpers that the user has defined.
pub trait CustomHelpers: Send {
    /// Runs the helper `id`.
    ///
    /// # Errors
    /// [`Fault::Helper`] where there is none, [`Fault::Foreign`] where it failed.
    fn call(&self, id: u32, args: [u64; 5], memory: &mut Memory<'_>) -> Result<u64, Box<Fault>>;

    /// Whether there is one.
    fn has(&self, id: u32) -> bool;
}

/// Where the VM of a run comes from.
pub(super) enum Vm<'a> {
    /// The fields of an event.
    Of(&'a Record<'a>),
    /// Who runs a program by hand.
    Given(VmContext),
}

/// The world of one event.
pub(super) struct EventHost<'a> {
    pub(super) bench: &'a Bench,
    pub(super) stamp: &'a Stamp,
    pub(super) vm: Vm<'a>,
    pub(super) cookie: u64,
}

impl EventHost<'_> {
    /// Whether no other thread uses the maps of the bench.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        !self.bench.shared.get()
    }
}

impl Host for EventHost<'_> {
    fn now(&self) -> u64 {
        // A bench with a clock of its own stands still during an event, so that the answer is the same every time.
        if self.bench.options.clock == ClockMode::Real { self.bench.clock.now() } else { self.stamp.time_ns }
    }

    fn cpu(&self) -> u32 {
        self.stamp.cpu
    }

    fn cpus(&self) -> u32 {
        self.bench.options.cpus
    }

    fn random(&self) -> u32 {
        (self.bench.next_random() >> 32) as u32
    }

    fn task(&self) -> Task {
        let pid = u32::try_from(self.stamp.pid).unwrap_or(0);
        Task { pid, tgid: pid, uid: 0, gid: 0, comm: self.stamp.comm }
    }

    fn vm_context(&self) -> VmContext {
        match &self.vm {
            Vm::Of(record) => record.vm_context(self.bench.cpus[self.stamp.cpu as usize].vm.get()),
            Vm::Given(context) => *context,
        }
    }

    fn print(&self, text: &str) {
        self.bench.trace.borrow_mut().push_print(*self.stamp, text);
        if let Some(lines) = &mut *self.bench.printed.borrow_mut() {
            // A loop that prints must not fill memory; the trace has the same bound.
            if lines.len() < self.bench.options.trace_entries {
                lines.push(text.to_owned());
            }
        }
    }

    fn attach_cookie(&self) -> u64 {
        self.cookie
    }

    fn tracepoint_name(&self, id: u32) -> Option<String> {
        let registry = self.bench.registry.borrow();
        let spec = registry.by_id(u16::try_from(id).ok()?).ok().and_then(|slot| registry.spec(slot));
        spec.map(|spec| spec.name().to_owned())
    }

    fn tail_call(&self, program: u32, run: &mut Run<'_>) -> Option<Result<u64, Box<Fault>>> {
        let program = self.bench.programs.get(program as usize)?;
        let runnable = program.runnable()?;
        let result = runnable.take_over(run, program.arguments(run.memory.context_start(), run.memory.context()));
        program.ended_within(self.bench.instructions.get().wrapping_add(run.budget.wrapping_sub(run.left as u64)));
        Some(result.map_err(|stopped| Box::new(Fault::TailCalled(Foreign(Arc::new(*stopped))))))
    }

    fn custom_helper(&self, id: u32, args: [u64; 5], memory: &mut Memory<'_>) -> Result<u64, Box<Fault>> {
        match &*self.bench.helpers.borrow() {
            Some(helpers) => helpers.call(id, args, memory),
            None => Err(Box::new(Fault::Helper { id, what: "this bench has no helpers of its own".to_owned() })),
        }
    }
}
