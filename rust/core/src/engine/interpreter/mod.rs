//! The checked interpreter: the whole instruction set, every access checked, every instruction counted.
//!
//! It runs unverified code safely. `decode` turns instructions into ops once, `select` says which handler executes each,
//! `machine` starts chains of them, `handlers` has one function an instruction and `pairs` some for two, `arith` and
//! `atomic` hold what RFC 9669 says of the odd cases.

mod arith;
mod atomic;
mod decode;
mod handlers;
mod machine;
mod pairs;
mod select;
mod stack_use;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::profile::{Counters, Flow};
use super::{EngineError, Input, Observer, Outcome, ProgramFault, Runnable, Stack, Tally};
use crate::fault::Fault;
use crate::helper::{Code as Callable, FUNCTIONS, HelperFn, InnerMaps, Run, WithInner};
use crate::map::{Holds, Map, MapSet};
use crate::memory::{FRAMES, Memory, Region};
use crate::program::{Program, ProgramType};
use machine::Op;

/// The checked interpreter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

impl Interpreter {
    /// Makes a program ready to run over its maps, one for each name in `program.maps`.
    ///
    /// # Errors
    /// Where an instruction cannot be decoded, leads outside the program, or names a map or helper that is not there.
    pub fn load(&self, program: Arc<Program>, maps: MapSet) -> Result<Box<dyn Runnable>, EngineError> {
        let code = decode::decode(&program, &maps)?;
        let of_maps = maps.0.iter().any(|map| map.spec().kind.is_of_maps());
        let locks = maps.0.iter().any(|map| has_locks(&**map));
        Ok(Box::new(Interpreted { program, maps, of_maps, locks, code }))
    }
}

/// Whether the values of a map, or of a map in it, have spin locks.
fn has_locks(map: &dyn Map) -> bool {
    match map.holds() {
        Holds::Maps(maps) => maps.shape().spin_lock.is_some(),
        _ => map.spin_lock().is_some(),
    }
}

/// A decoded program.
struct Code {
    /// Its ops; behind the last instruction comes [`handlers::off_the_end`].
    ops: Vec<Op>,
    /// Slot of each op.
    slots: Vec<usize>,
    /// Op of each slot, for function pointers; `usize::MAX` for the second half of a `lddw`.
    index_of: Vec<usize>,
    /// Helpers that it calls.
    helpers: Vec<HelperFn>,
    /// What each op does with control.
    flow: Vec<Flow>,
    /// Bytes of a frame, from its end, that the program may use: what fresh frames are filled in.
    stack_use: u32,
    counters: Counters,
    program_type: Option<ProgramType>,
    gpl_compatible: bool,
}

struct Interpreted {
    program: Arc<Program>,
    maps: MapSet,
    /// Whether some of them are of maps.
    of_maps: bool,
    /// Whether some of them, or of the maps in them, have values with spin locks.
    locks: bool,
    code: Code,
}

/// A run in progress.
struct Active<'a> {
    code: &'a Code,
    /// Op at which the innermost frame was stopped.
    stopped: Cell<Option<usize>>,
    observer: Option<RefCell<&'a mut dyn Observer>>,
}

impl Active<'_> {
    #[inline(always)] // a run that nobody observes pays nothing for it
    fn enter<const OBSERVED: bool>(&self, run: &mut Run<'_>, entry: usize, args: [u64; 5]) -> Result<u64, Box<Fault>> {
        machine::execute::<OBSERVED>(self, run, entry, args).map_err(|stop| {
            // A fault in a callback passes through the helper that called it: the innermost place is the one to show.
            if self.stopped.get().is_none() {
                self.stopped.set(Some(stop.index));
            }
            stop.fault
        })
    }
}

impl Callable for Active<'_> {
    fn call(&self, run: &mut Run<'_>, target: u64, args: [u64; 5]) -> Result<u64, Box<Fault>> {
        let slot = usize::try_from(target.wrapping_sub(FUNCTIONS)).unwrap_or(usize::MAX);
        let entry = match self.code.index_of.get(slot) {
            Some(&index) if index != usize::MAX => index,
            _ => {
                return Err(Box::new(Fault::Instruction {
                    what: format!("a helper was to call back {target:#x}, which is no function of this program"),
                }));
            }
        };
        if run.depth >= FRAMES {
            return Err(Box::new(Fault::CallDepth { depth: run.depth + 1 }));
        }
        run.depth += 1;
        let result = match self.observer {
            Some(_) => self.enter::<true>(run, entry, args),
            None => self.enter::<false>(run, entry, args),
        };
        run.depth -= 1;
        run.memory.set_frames(run.depth);
        if result.is_ok() && run.holds_lock() {
            return Err(run.unreleased());
        }
        result
    }
}

impl Interpreted {
    /// Runs the program from its beginning.
    ///
    /// # Safety
    /// As of [`Runnable::run`].
    #[inline(always)] // as `enter`; a program without maps of maps and spin locks pays nothing for them
    unsafe fn start<const OBSERVED: bool, const RARE: bool>(
        &self,
        stack: &mut Stack,
        input: &Input<'_>,
        observer: Option<&mut dyn Observer>,
    ) -> Outcome {
        let active = Active {
            code: &self.code,
            stopped: Cell::new(None),
            observer: observer.map(|observer| RefCell::new(observer as &mut dyn Observer)),
        };
        let inner = if RARE { Some(InnerMaps::default()) } else { None };
        let reach = inner.as_ref().map(|inner| WithInner { maps: &self.maps, inner });
        let budget = i64::try_from(input.budget).unwrap_or(i64::MAX);
        let mut run = Run {
            // SAFETY: the stack is borrowed for the whole run; the caller answers for the context.
            memory: unsafe { Memory::new(stack.window(), input.context, input.args[0], self.regions(reach.as_ref())) },
            maps: &self.maps,
            host: input.host,
            code: &active,
            depth: 1,
            left: budget,
            calls: 0,
            budget: input.budget,
            pattern: stack.pattern,
            tail_calls: 0,
            inner: inner.as_ref(),
        };
        if RARE && self.locks {
            run.memory.set_gaps();
        }
        if input.alone {
            // SAFETY: the caller answers for it.
            unsafe { run.memory.set_alone() };
        }
        for &window in input.extra {
            // SAFETY: the caller answers for it.
            unsafe { run.memory.allow(window) };
        }
        let args = [input.args[0], input.args[1], 0, 0, 0];
        let result = active.enter::<OBSERVED>(&mut run, 0, args);
        if run.owes() {
            run.give_up();
        }
        let instructions = budget.wrapping_sub(run.left).unsigned_abs();
        Outcome { result: result.map_err(|fault| self.place(&active, *fault)), instructions, calls: run.calls }
    }

    /// What programs reach besides stack and context.
    #[inline(always)]
    fn regions<'a>(&'a self, with_inner: Option<&'a WithInner<'a>>) -> &'a dyn Region {
        match with_inner {
            Some(reach) => reach,
            None => &self.maps,
        }
    }

    /// Every counter of the profile.
    fn counters(&self) -> impl Iterator<Item = &AtomicU64> {
        self.code.counters.all().chain(self.code.ops.iter().map(|op| &op.taken))
    }

    #[cold]
    fn place(&self, active: &Active<'_>, fault: Fault) -> Box<ProgramFault> {
        let index = active.stopped.get().unwrap_or(0);
        self.code.counters.end(index);
        if let Fault::TailCalled(carried) = &fault
            && let Some(placed) = carried.downcast::<ProgramFault>()
        {
            return Box::new(placed.clone());
        }
        let insn = self.code.slots.get(index).copied().unwrap_or(0);
        Box::new(ProgramFault {
            program: self.program.name.clone(),
            insn,
            line: self.program.line_of(insn).cloned(),
            fault,
        })
    }
}

impl Runnable for Interpreted {
    fn program(&self) -> &Arc<Program> {
        &self.program
    }

    unsafe fn run(&self, stack: &mut Stack, input: &Input<'_>) -> Outcome {
        if self.of_maps || self.locks {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.start::<false, true>(stack, input, None) };
        }
        // SAFETY: likewise.
        unsafe { self.start::<false, false>(stack, input, None) }
    }

    unsafe fn observe(&self, stack: &mut Stack, input: &Input<'_>, observer: &mut dyn Observer) -> Outcome {
        // SAFETY: the caller's promise is the same.
        unsafe { self.start::<true, true>(stack, input, Some(observer)) }
    }

    fn take_over(&self, run: &mut Run<'_>, [r1, r2]: [u64; 2]) -> Result<u64, Box<ProgramFault>> {
        let active = Active { code: &self.code, stopped: Cell::new(None), observer: None };
        let inner = self.of_maps.then(InnerMaps::default);
        let reach = inner.as_ref().map(|inner| WithInner { maps: &self.maps, inner });
        let mut own = Run {
            memory: run.memory.pass_on(run.depth, self.regions(reach.as_ref())),
            maps: &self.maps,
            code: &active,
            inner: inner.as_ref(),
            ..*run
        };
        if self.locks {
            own.memory.set_gaps();
        }
        let mut result = active.enter::<false>(&mut own, 0, [r1, r2, 0, 0, 0]);
        if own.owes() {
            result = result.and_then(|_| Err(own.unreleased()));
            own.give_up();
        }
        (run.left, run.calls, run.tail_calls) = (own.left, own.calls, own.tail_calls);
        // Its frames are no longer live.
        run.memory.set_frames(run.depth);
        result.map_err(|fault| self.place(&active, *fault))
    }

    fn counts(&self) -> Vec<(usize, u64)> {
        let taken: Vec<u64> = self.code.ops.iter().map(|op| op.taken.load(Relaxed)).collect();
        self.code.slots.iter().copied().zip(self.code.counters.counts(&self.code.flow, &taken)).collect()
    }

    fn last(&self) -> Option<usize> {
        self.code.slots.get(self.code.counters.ended()).copied()
    }

    fn reset_counts(&self) {
        self.code.counters.reset();
        for op in &self.code.ops {
            op.taken.store(0, Relaxed);
        }
    }

    fn tally(&self) -> Tally {
        let counters = self.counters().map(|counter| counter.load(Relaxed)).collect();
        Tally { counters, ended: self.code.counters.ended() }
    }

    fn add(&self, tally: &Tally) {
        for (counter, more) in self.counters().zip(&tally.counters) {
            counter.store(counter.load(Relaxed).wrapping_add(*more), Relaxed);
        }
    }

    fn end_as(&self, tally: &Tally) {
        self.code.counters.end(tally.ended);
    }
}
