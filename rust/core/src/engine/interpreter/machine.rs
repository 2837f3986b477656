//! What a run is made of, and the loop that starts chains of handlers.
//!
//! Each op holds the function that executes it; that function ends by calling the one of the next op. A processor
//! predicts the many small jumps of such a *threaded* interpreter far better than the one jump of a `match` in a
//! loop (here twice the speed), and an optimised build turns the calls into jumps. Nothing depends on that: a chain
//! ends after [`CHAIN`] instructions and goes back to the loop, so the host stack stays small in any build. The
//! same count is the instruction budget, and a chain of one is a single step.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Active, Code};
use crate::fault::Fault;
use crate::helper::Run;
use crate::memory::{FRAME, FRAMES, Memory};

/// Executes the op at `pc`, then those that follow it, `n` more instructions at the most.
///
/// Returns the op that comes next, with the reason for the return in `machine.state`.
///
/// # Safety
/// `pc` must point to an op of the code that `machine` runs; `machine` and `memory` must be valid and not be
/// referenced by anything else; `memory` must be that of `machine.run`.
pub(super) type Handler = unsafe fn(*const Op, *mut Machine<'_>, *mut Memory<'_>, i64) -> *const Op;

/// An instruction in the form in which it is executed. A `lddw` is one.
#[repr(C)]
pub(super) struct Op {
    pub(super) run: Handler,
    /// Immediate, extended as the instruction wants it; of a helper call, the index in [`Code::helpers`].
    pub(super) imm: u64,
    /// Displacement of a load or store; of a jump or call, how many bytes of ops to go from this one.
    pub(super) off: i32,
    /// Destination register, at most 10.
    pub(super) dst: u8,
    /// Source register, at most 10.
    pub(super) src: u8,
    /// How often this jump was taken, or this call made.
    pub(super) taken: AtomicU64,
}

impl Op {
    /// Counts a taken jump. Concurrent runs of one program may lose a count.
    #[inline(always)]
    pub(super) fn count(&self) {
        self.taken.store(self.taken.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// Instructions of one chain.
const CHAIN: i64 = 512;

/// How often `may_goto` goes on in one frame before it leaves the loop (Linux's `BPF_MAX_LOOPS`).
pub(super) const MAY_GOTO_LIMIT: u32 = 8 << 20;

/// Where a call goes back to, and what it must restore.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    /// The op of the call.
    pub(super) call: *const Op,
    /// r6 to r9.
    pub(super) saved: [u64; 4],
    /// `may_goto`s left in the caller's frame.
    pub(super) may_goto: u32,
}

/// Why a chain came back.
pub(super) enum State {
    /// It has used up its instructions.
    Running,
    /// The first frame has exited.
    Exited,
    /// The op it came back with was stopped.
    Stopped(Box<Fault>),
    /// The op it came back with tail-calls the program of this number.
    TailCall(u32),
}

/// One activation of the interpreter: the entry, or a function that a helper calls back.
pub(super) struct Machine<'r> {
    /// r0 to r10.
    pub(super) r: [u64; 11],
    pub(super) run: *mut Run<'r>,
    pub(super) code: *const Code,
    /// What fresh frames are filled with, as the run has it.
    pub(super) pattern: u64,
    /// Frames in use when this activation began, its own included.
    pub(super) bottom: usize,
    pub(super) may_goto: u32,
    pub(super) state: State,
    /// Instructions granted to the chain and not yet taken from the run's budget.
    pub(super) granted: i64,
    /// One for each frame above `bottom`, by `depth - 1` of the caller; written by the call before anyone reads it.
    pub(super) callers: [MaybeUninit<Caller>; FRAMES],
}

/// Stopped at this op.
pub(super) struct Stop {
    pub(super) index: usize,
    pub(super) fault: Box<Fault>,
}

/// Runs from the op `entry` to the `exit` of that frame, which is already counted in `run.depth`.
///
/// Where it is `OBSERVED`, the observer sees each instruction first.
#[inline(always)] // as `Active::enter`
pub(super) fn execute<'r, const OBSERVED: bool>(
    active: &Active<'_>,
    run: &mut Run<'r>,
    entry: usize,
    args: [u64; 5],
) -> Result<u64, Stop> {
    let code = active.code;
    let bottom = run.depth;
    let r10 = run.memory.enter_frame(bottom, run.pattern, code.stack_use);
    let mut machine = Machine {
        r: [0, args[0], args[1], args[2], args[3], args[4], 0, 0, 0, 0, r10],
        run: std::ptr::from_mut(run),
        code: std::ptr::from_ref(code),
        pattern: run.pattern,
        bottom,
        may_goto: MAY_GOTO_LIMIT,
        state: State::Running,
        granted: 0,
        callers: [const { MaybeUninit::uninit() }; FRAMES],
    };
    code.counters.enter(entry);
    let base = code.ops.as_ptr();
    // SAFETY: `entry` is the index of an op.
    let mut pc = unsafe { base.add(entry) };
    let machine: *mut Machine<'r> = &raw mut machine;
    loop {
        // SAFETY: `machine` was made above and `run` is the caller's; handlers use them only while they run, and no
        // reference to either is held across a call of one.
        let (left, depth) = unsafe { ((*(*machine).run).left, (*(*machine).run).depth) };
        let mut chain = CHAIN.min(left);
        // SAFETY: as above; handlers return pointers to ops only.
        if chain <= 0 && unsafe { index_of(code, pc) } < code.slots.len() {
            // SAFETY: as above.
            return Err(unsafe {
                refuse(machine, code, pc, Box::new(Fault::Budget { limit: (*(*machine).run).budget }))
            });
        }
        if OBSERVED {
            chain = 1;
            // SAFETY: as above; the registers are copied.
            let (index, registers) = unsafe { (index_of(code, pc), (*machine).r) };
            if let (Some(observer), Some(&slot)) = (&active.observer, code.slots.get(index))
                && let Err(fault) = observer.borrow_mut().before(slot, &registers, depth)
            {
                // SAFETY: as above.
                return Err(unsafe { refuse(machine, code, pc, fault) });
            }
        }
        // Behind the last instruction is an op that takes nothing from the budget.
        let chain = chain.max(1);
        // SAFETY: `pc` points to an op; machine and memory are those of this run and unreferenced during the call.
        unsafe {
            let memory = &raw mut (*(*machine).run).memory;
            (*machine).granted = chain;
            pc = ((*pc).run)(pc, machine, memory, chain - 1);
            (*(*machine).run).left -= (*machine).granted;
        }
        // SAFETY: the chain is over; nothing else refers to the machine.
        match unsafe { std::mem::replace(&mut (*machine).state, State::Running) } {
            State::Running => {}
            State::Exited => {
                // SAFETY: as above; handlers return pointers to ops only.
                let (exit, r0) = unsafe { (index_of(code, pc), (*machine).r[0]) };
                code.counters.end(exit);
                return Ok(r0);
            }
            // SAFETY: as above.
            State::Stopped(fault) => return Err(unsafe { unwind(machine, code, pc, fault) }),
            // SAFETY: as above.
            State::TailCall(program) => match unsafe { tail_call(machine, code, pc, program) }? {
                Went::Exited(r0) => return Ok(r0),
                Went::On(next) => pc = next,
            },
        }
    }
}

/// Where a run is after a tail call.
enum Went {
    /// The first frame has exited.
    Exited(u64),
    /// At this op.
    On(*const Op),
}

/// Runs another program in place of the function whose op at `pc` calls it; where there is none, that op goes on.
///
/// # Safety
/// As for [`unwind`]; the op at `pc` must have one behind it.
#[cold]
unsafe fn tail_call(machine: *mut Machine<'_>, code: &Code, pc: *const Op, program: u32) -> Result<Went, Stop> {
    // SAFETY: the caller's promise; the run outlives its machines.
    let (run, index, bottom) = unsafe { (&mut *(*machine).run, index_of(code, pc), (*machine).bottom) };
    run.tail_calls += 1;
    match run.host.tail_call(program, run) {
        None => {
            run.tail_calls -= 1;
            // SAFETY: the caller's promise; nothing else refers to the machine.
            unsafe { (*machine).r[0] = 0 };
            // SAFETY: the caller's promise.
            Ok(Went::On(unsafe { pc.add(1) }))
        }
        // SAFETY: the caller's promise.
        Some(Err(fault)) => Err(unsafe { unwind(machine, code, pc, fault) }),
        Some(Ok(r0)) => {
            // For the profile: it was begun, and nothing after it.
            code.counters.stop(index);
            if run.depth == bottom {
                code.counters.end(index);
                return Ok(Went::Exited(r0));
            }
            // SAFETY: nothing else refers to the machine.
            let machine = unsafe { &mut *machine };
            machine.r[0] = r0;
            // SAFETY: a frame above the bottom was made by a call.
            Ok(Went::On(unsafe { machine.return_to_caller(run) }))
        }
    }
}

impl Machine<'_> {
    /// Leaves the innermost frame: restores what its caller has, and gives the op behind the call.
    ///
    /// # Safety
    /// `run` must be that of this machine, and deeper than `bottom`.
    #[inline(always)]
    pub(super) unsafe fn return_to_caller(&mut self, run: &mut Run<'_>) -> *const Op {
        run.depth -= 1;
        run.memory.set_frames(run.depth);
        // SAFETY: the call that made this frame has written the entry.
        let caller = unsafe { self.callers[run.depth - 1].assume_init() };
        self.r[6..10].copy_from_slice(&caller.saved);
        self.r[10] = run.memory.stack_start() + run.depth as u64 * FRAME;
        self.may_goto = caller.may_goto;
        // SAFETY: a call goes on, so it has an op behind it.
        unsafe { caller.call.add(1) }
    }
}

/// Index of the op at `pc`.
///
/// # Safety
/// `pc` must point to an op of `code`.
unsafe fn index_of(code: &Code, pc: *const Op) -> usize {
    // SAFETY: both are in the vector of ops.
    usize::try_from(unsafe { pc.offset_from(code.ops.as_ptr()) }).unwrap_or(0)
}

/// Stops before the op at `pc`.
///
/// # Safety
/// As for [`unwind`].
#[cold]
unsafe fn refuse(machine: *mut Machine<'_>, code: &Code, pc: *const Op, fault: Box<Fault>) -> Stop {
    // SAFETY: passed on as it was promised.
    let stop = unsafe { unwind(machine, code, pc, fault) };
    code.counters.leave(stop.index);
    stop
}

/// Notes for the profile that the op at `pc`, and the call in each frame below it, did not go on.
///
/// # Safety
/// `pc` must point to an op of `code`; `machine` must be valid and nothing else refer to it or its run.
#[cold]
unsafe fn unwind(machine: *mut Machine<'_>, code: &Code, pc: *const Op, fault: Box<Fault>) -> Stop {
    // SAFETY: the caller's promise.
    let index = unsafe { index_of(code, pc) };
    code.counters.stop(index);
    // SAFETY: the caller's promise.
    let machine = unsafe { &mut *machine };
    // SAFETY: the run outlives its machines.
    let run = unsafe { &mut *machine.run };
    while run.depth > machine.bottom {
        run.depth -= 1;
        // SAFETY: the call that made this frame has written the entry.
        let caller = unsafe { machine.callers[run.depth - 1].assume_init() };
        // SAFETY: `call` points to an op of this code.
        code.counters.stop(unsafe { index_of(code, caller.call) });
    }
    run.memory.set_frames(run.depth);
    Stop { index, fault }
}
