//! One hypervisor under test: clock, CPUs, tracepoints, maps, programs and trace, and the path of an event through them.
//!
//! A bench is used by one thread at a time (the binding holds a lock round it and its maps), but re-entrantly: a program
//! may call a helper of the user's, which fires another event. So every method takes `&self`, what never goes away sits
//! in append-only lists, and what changes sits in cells that are not borrowed while foreign code runs.

mod batch;
mod crew;
mod dispatch;
mod error;
mod filter;
mod host;
mod known_maps;
mod load;
mod maps;
mod objects;
mod portability;
mod program;
mod reach;
mod runs;
mod target;
mod worst;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use elsa::FrozenVec;

pub use batch::{Fired, MixedColumns, Pause};
pub use crew::Crew;
pub use dispatch::Listener;
pub use error::BenchError;
pub use host::CustomHelpers;
pub use load::{LoadOptions, Loaded};
pub use maps::BenchMap;
pub use portability::portability_of;
pub use program::{BenchProgram, ByHand, Counts, HandRun, LastRun};
pub use runs::{Run, Step, Steps};
pub use target::{EngineKind, MapLibrary, Target};
pub use worst::{WorstRun, WorstRuns};

use crate::clock::{Clock, ClockMode};
use crate::engine::Stack;
use crate::event::{Filter, Registry, Slot, Stamp, Statistics, TraceRing, TracepointSpec};
use crate::helper::VmContext;
use crate::map::LruOrder;

/// What a bench is made from.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// CPUs, from 1.
    pub cpus: u32,
    /// What moves the clock.
    pub clock: ClockMode,
    /// Seed of the random numbers and of the pattern in fresh stacks.
    pub seed: u64,
    /// Whether events are counted and timed.
    pub statistics: bool,
    /// Entries of the trace.
    pub trace_entries: usize,
    /// Instructions that one run may execute.
    pub budget: u64,
    /// What programs are run for; AxVisor decides engine and maps itself.
    pub target: Target,
    /// What runs them.
    pub engine: EngineKind,
    /// Whose maps there are.
    pub maps: MapLibrary,
    /// Which entries its own LRU maps drive out; kbpf-basic's have a rule of theirs.
    pub lru: LruOrder,
    /// Lets programs that may loop run on rbpf, which nothing stops: for a process that somebody else can end.
    pub endless: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cpus: 4,
            clock: ClockMode::Manual,
            seed: 0,
            statistics: true,
            trace_entries: 65536,
            budget: 1 << 24,
            target: Target::Linux,
            engine: EngineKind::Interpreter,
            maps: MapLibrary::Own,
            lru: LruOrder::Exact,
            endless: false,
        }
    }
}

/// Programs of one tracepoint at most (Linux: `BPF_TRACE_MAX_PROGS`).
pub const MAX_LINKS: usize = 64;

/// A program attached to a tracepoint.
#[derive(Clone, Debug)]
struct Link {
    id: u64,
    /// Index of the program.
    program: usize,
    cookie: u64,
    /// Which events it runs at, if not all.
    filter: Option<Box<Filter>>,
    /// Detached while an event was on its way: passed over, and removed when none is.
    gone: bool,
}

/// Something that sees the events of a tracepoint.
#[derive(Clone)]
struct Listening {
    id: u64,
    listener: Arc<dyn Listener>,
    /// Which events it sees, if not all.
    filter: Option<Arc<Filter>>,
}

/// A tracepoint with what is attached to it.
pub struct Tracepoint {
    spec: Arc<TracepointSpec>,
    slot: Slot,
    enabled: Cell<bool>,
    /// Which of its events enter the trace, if not all.
    filter: RefCell<Option<Box<Filter>>>,
    fired: Cell<u64>,
    statistics: RefCell<Statistics>,
    links: RefCell<Vec<Link>>,
    /// Whether some of the links are gone and wait to be removed.
    gone: Cell<bool>,
    listeners: RefCell<Vec<Listening>>,
    /// How many those are.
    listening: Cell<usize>,
}

impl Tracepoint {
    fn new(spec: Arc<TracepointSpec>, slot: Slot) -> Tracepoint {
        Tracepoint {
            spec,
            slot,
            enabled: Cell::new(false),
            filter: RefCell::default(),
            fired: Cell::new(0),
            statistics: RefCell::default(),
            links: RefCell::default(),
            gone: Cell::new(false),
            listeners: RefCell::default(),
            listening: Cell::new(0),
        }
    }

    /// Name, id, fields, layout.
    #[must_use]
    pub fn spec(&self) -> &Arc<TracepointSpec> {
        &self.spec
    }

    /// Its place in the bench.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether its events enter the trace.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.get()
    }

    /// Events so far.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.fired.get()
    }

    /// Programs attached.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.borrow().iter().filter(|link| !link.gone).count()
    }
}

/// What one CPU is doing.
#[derive(Debug, Default)]
struct Cpu {
    /// Programs of the types that Linux guards together (`bpf_prog_active`) that are running.
    active: Cell<u32>,
    /// The VM that it works for: what helpers answer where an event does not say.
    vm: Cell<VmContext>,
}

/// One hypervisor under test. It stays on its thread, because its maps do ([`BenchMap`]).
pub struct Bench {
    options: Options,
    clock: Clock,
    random: Cell<u64>,
    registry: RefCell<Registry>,
    tracepoints: FrozenVec<Box<Tracepoint>>,
    maps: RefCell<Vec<Option<Rc<BenchMap>>>>,
    programs: FrozenVec<Box<BenchProgram>>,
    loads: Cell<usize>,
    next_link: Cell<u64>,
    trace: RefCell<TraceRing>,
    cpus: Vec<Cpu>,
    /// A stack for the next run; nested runs make their own.
    stack: Cell<Option<Box<Stack>>>,
    /// Events on their way, nested ones included.
    dispatching: Cell<u32>,
    /// Whether a crew is at work, so that other threads use the maps too.
    shared: Cell<bool>,
    /// Instructions executed by programs so far.
    instructions: Cell<u64>,
    /// Where printed lines go besides the trace, while a program is run by hand.
    printed: RefCell<Option<Vec<String>>>,
    helpers: RefCell<Option<Box<dyn CustomHelpers>>>,
    /// Whether outcomes of runs are kept.
    keeps_runs: Cell<bool>,
    kept: RefCell<runs::Kept>,
}

impl Bench {
    /// A bench without tracepoints.
    ///
    /// # Errors
    /// [`BenchError::Clock`] for a number of CPUs that cannot be; [`BenchError::NotBuilt`] for a target, engine or maps
    /// that this build does not have.
    pub fn new(options: Options) -> Result<Bench, BenchError> {
        let options = options.settle()?;
        let clock = Clock::new(options.clock, options.cpus)?;
        Ok(Bench {
            options,
            clock,
            random: Cell::new(options.seed),
            registry: RefCell::default(),
            tracepoints: FrozenVec::new(),
            maps: RefCell::default(),
            programs: FrozenVec::new(),
            loads: Cell::new(0),
            next_link: Cell::new(1),
            trace: RefCell::new(TraceRing::new(options.trace_entries, options.cpus)),
            cpus: std::iter::repeat_with(Cpu::default).take(options.cpus as usize).collect(),
            stack: Cell::new(None),
            dispatching: Cell::new(0),
            shared: Cell::new(false),
            instructions: Cell::new(0),
            printed: RefCell::new(None),
            helpers: RefCell::new(None),
            keeps_runs: Cell::new(false),
            kept: RefCell::default(),
        })
    }

    /// What it was made from.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its clock and CPUs.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds a tracepoint, disabled and without programs.
    ///
    /// # Errors
    /// [`BenchError::Event`] for a name or id that is taken.
    pub fn define(&self, spec: TracepointSpec) -> Result<&Tracepoint, BenchError> {
        let mut registry = self.registry.borrow_mut();
        let slot = registry.define(spec)?;
        let Some(spec) = registry.spec(slot).cloned() else {
            return Err(BenchError::NoTracepoint { slot: slot.0 });
        };
        drop(registry);
        Ok(self.tracepoints.push_get(Box::new(Tracepoint::new(spec, slot))))
    }

    /// The tracepoint in a slot.
    ///
    /// # Errors
    /// [`BenchError::NoTracepoint`] where there is none.
    #[inline]
    pub fn tracepoint(&self, slot: Slot) -> Result<&Tracepoint, BenchError> {
        self.tracepoints.get(slot.0).ok_or_else(|| BenchError::NoTracepoint { slot: slot.0 })
    }

    /// The tracepoint of a name.
    ///
    /// # Errors
    /// [`BenchError::Event`], which names the nearest one.
    pub fn tracepoint_named(&self, name: &str) -> Result<&Tracepoint, BenchError> {
        let slot = self.registry.borrow().by_name(name)?;
        self.tracepoint(slot)
    }

    /// All slots, by subsystem, then by event.
    #[must_use]
    pub fn sorted(&self) -> Vec<Slot> {
        self.registry.borrow().sorted().collect()
    }

    /// Says whether events of a tracepoint enter the trace.
    pub fn set_enabled(&self, tracepoint: &Tracepoint, enabled: bool) {
        tracepoint.enabled.set(enabled);
        self.registry.borrow_mut().set_enabled(tracepoint.slot, enabled);
    }

    /// What the statistics of a tracepoint say now.
    #[must_use]
    pub fn statistics(&self, tracepoint: &Tracepoint) -> Statistics {
        tracepoint.statistics.borrow().clone()
    }

    /// Does something with the statistics of a tracepoint. It must not fire events.
    pub fn with_statistics<T>(&self, tracepoint: &Tracepoint, use_it: impl FnOnce(&mut Statistics) -> T) -> T {
        use_it(&mut tracepoint.statistics.borrow_mut())
    }

    /// Forgets the statistics of all tracepoints.
    pub fn reset_statistics(&self) {
        for slot in 0..self.tracepoints.len() {
            if let Some(tracepoint) = self.tracepoints.get(slot) {
                tracepoint.statistics.borrow_mut().reset();
            }
        }
    }

    /// Does something with the trace. It must not fire events.
    pub fn with_trace<T>(&self, use_it: impl FnOnce(&mut TraceRing, &Registry) -> T) -> T {
        use_it(&mut self.trace.borrow_mut(), &self.registry.borrow())
    }

    /// Adds a record to the trace as it is: now, on the current CPU, in the task of its header's pid, which is called
    /// `comm` (without one, pid 0 is the hypervisor and any other unknown). Nothing else sees it.
    ///
    /// # Errors
    /// [`BenchError::Event`] for an id that no tracepoint has, or too few bytes for one of its records; padding is cut.
    pub fn push_record(&self, record: &[u8], comm: Option<[u8; 16]>) -> Result<(), BenchError> {
        let registry = self.registry.borrow();
        let record = registry.of_record(record)?.record(record)?;
        let comm = comm.unwrap_or(if record.pid() == 0 { crate::event::AXVISOR_COMM } else { [0; 16] });
        let stamp = Stamp { time_ns: self.clock.now(), cpu: self.clock.cpu(), pid: record.pid(), comm };
        self.trace.borrow_mut().push_record(stamp, record.bytes());
        Ok(())
    }

    /// What a CPU is doing, for helpers that ask.
    ///
    /// # Errors
    /// [`BenchError::Clock`] for a CPU that there is not.
    pub fn vm_context(&self, cpu: u32) -> Result<VmContext, BenchError> {
        self.clock.check_cpu(cpu)?;
        Ok(self.cpus[cpu as usize].vm.get())
    }

    /// Says what a CPU is doing.
    ///
    /// # Errors
    /// [`BenchError::Clock`] for a CPU that there is not.
    pub fn set_vm_context(&self, cpu: u32, vm: VmContext) -> Result<(), BenchError> {
        self.clock.check_cpu(cpu)?;
        self.cpus[cpu as usize].vm.set(vm);
        Ok(())
    }

    /// A program, by its number.
    #[must_use]
    pub fn program(&self, index: usize) -> Option<&BenchProgram> {
        self.programs.get(index)
    }

    /// Instructions executed by programs so far: what a caller looks at to interrupt long work in time.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.instructions.get()
    }

    /// Sets what runs helpers of the user's; not from within one of them.
    pub fn set_helpers(&self, helpers: Box<dyn CustomHelpers>) {
        *self.helpers.borrow_mut() = Some(helpers);
    }

    /// The next random number: SplitMix64 (Steele, Lea and Flood, 2014), which any seed suits.
    fn next_random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.set(state);
        mix(state)
    }

    /// A stack to run on.
    #[inline]
    fn take_stack(&self) -> Result<Box<Stack>, Box<BenchError>> {
        self.stack.take().map_or_else(|| self.new_stack(), Ok)
    }

    #[cold]
    fn new_stack(&self) -> Result<Box<Stack>, Box<BenchError>> {
        Ok(Box::new(Stack::new(mix(!self.options.seed)).map_err(BenchError::from)?))
    }

    #[inline]
    fn give_back(&self, stack: Box<Stack>) {
        self.stack.set(Some(stack));
    }
}

const fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
