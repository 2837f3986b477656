//! `Bench`, `Tracepoint` and `Link`: the bench behind its lock.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use axebpf_core::bench::{self, BenchError, CustomHelpers, EngineKind, LoadOptions, MapLibrary, Options};
use axebpf_core::clock::ClockMode;
use axebpf_core::event::{self, Slot, Stamp};
use axebpf_core::fault::{Fault, Foreign};
use axebpf_core::helper::VmContext;
use axebpf_core::map::{LruOrder, MapKind, MapSpec};
use axebpf_core::memory::Memory;
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::columns::{Columns, Numbers};
use crate::error::{Error, exception};
use crate::fire::Plans;
use crate::map::Map;
use crate::object::Object;
use crate::program::Program;
use crate::recording::Recording;
use crate::runs::TakenRuns;
use crate::spec::TracepointSpec;
use crate::statistics::Statistics;

/// A bench, and the lock that lets one thread at a time use it, re-entrantly.
pub(crate) struct Shared {
    lock: ReentrantMutex<Movable>,
    closed: AtomicBool,
    /// What whoever closed it has to say about that.
    why: OnceLock<String>,
}

/// A bench that any thread may use which has the lock.
pub(crate) struct Movable(bench::Bench);

// SAFETY: a bench stays on its thread because its maps do, which must not be called by two threads at once. Here they
// are not: a `Map` calls its map under the lock of the bench.
unsafe impl Send for Movable {}

impl Deref for Movable {
    type Target = bench::Bench;

    fn deref(&self) -> &bench::Bench {
        &self.0
    }
}

impl Shared {
    /// The bench, once no other thread uses it.
    ///
    /// Whoever waits holds no GIL, because the thread that has the bench may need it to go on.
    #[inline]
    pub(crate) fn enter(&self, py: Python<'_>) -> PyResult<ReentrantMutexGuard<'_, Movable>> {
        self.check_open(py)?;
        self.lock.try_lock().map_or_else(|| self.wait(py), Ok)
    }

    #[cold]
    fn wait(&self, py: Python<'_>) -> PyResult<ReentrantMutexGuard<'_, Movable>> {
        loop {
            py.detach(|| drop(self.lock.lock()));
            self.check_open(py)?;
            if let Some(bench) = self.lock.try_lock() {
                return Ok(bench);
            }
        }
    }

    /// Does something with a tracepoint of the bench.
    pub(crate) fn with<T>(
        &self,
        py: Python<'_>,
        slot: Slot,
        use_it: impl FnOnce(&bench::Bench, &bench::Tracepoint) -> T,
    ) -> PyResult<T> {
        let bench = self.enter(py)?;
        let tracepoint = bench.tracepoint(slot).map_err(Error::from)?;
        Ok(use_it(&bench, tracepoint))
    }

    /// Fires a batch without the GIL.
    fn detached(
        &self,
        py: Python<'_>,
        fire: impl FnOnce(&bench::Bench) -> Result<bench::Fired, BenchError> + Send,
    ) -> PyResult<usize> {
        self.check_open(py)?;
        let fired = py.detach(|| {
            let bench = self.lock.lock();
            // It may have been closed while this waited.
            if self.closed.load(Relaxed) { Err(BenchError::Closed) } else { fire(&bench) }
        });
        match fired {
            Ok(bench::Fired { events, error: None }) => Ok(events),
            Ok(bench::Fired { error: Some(BenchError::Closed), .. }) | Err(BenchError::Closed) => {
                Err(self.is_closed(py))
            }
            Ok(bench::Fired { error: Some(error), .. }) | Err(error) => Err(Error(error).into()),
        }
    }

    /// Lets Ctrl-C, and whoever closes the bench, end a batch.
    fn pause(&self) -> Result<(), BenchError> {
        if self.closed.load(Relaxed) {
            return Err(BenchError::Closed);
        }
        Python::attach(|py| py.check_signals()).map_err(foreign)
    }

    fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        if self.closed.load(Relaxed) { Err(self.is_closed(py)) } else { Ok(()) }
    }

    #[cold]
    fn is_closed(&self, py: Python<'_>) -> PyErr {
        let why = self.why.get().map_or_else(String::new, |why| format!(": {why}"));
        exception(py, "BenchClosed", (format!("the bench is closed{why}"),), &[])
    }
}

/// An exception on its way through the core.
fn carried(error: PyErr) -> Foreign {
    Foreign(Arc::new(error))
}

fn foreign(error: PyErr) -> BenchError {
    BenchError::Foreign(carried(error))
}

struct PythonHelpers {
    functions: Py<PyDict>,
}

impl CustomHelpers for PythonHelpers {
    fn has(&self, id: u32) -> bool {
        Python::attach(|py| self.functions.bind(py).contains(id).unwrap_or(false))
    }

    fn call(&self, id: u32, args: [u64; 5], memory: &mut Memory<'_>) -> Result<u64, Box<Fault>> {
        Python::attach(|py| {
            let Some(function) = self.functions.bind(py).get_item(id).map_err(foreign_fault)? else {
                return Err(Box::new(Fault::Helper { id, what: "this bench has no helper of that id".to_owned() }));
            };
            crate::program::call_helper(&function, args, memory).map_err(foreign_fault)?
        })
    }
}

fn foreign_fault(error: PyErr) -> Box<Fault> {
    Box::new(Fault::Foreign(carried(error)))
}

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Bench {
    shared: Arc<Shared>,
    helpers: Py<PyDict>,
}

/// `clock=`: `"manual"`, `"real"`, or nanoseconds an event.
#[derive(FromPyObject)]
enum ClockArgument {
    Step(u64),
    Name(String),
}

/// What one of the words stands for that an argument may be.
pub(crate) fn choice<T: Copy>(py: Python<'_>, argument: &str, given: &str, choices: &[(&str, T)]) -> PyResult<T> {
    let found = choices.iter().find(|(name, _)| *name == given).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("{argument} is {given:?}; it may be {}", names.join(", "));
        exception(py, "LoadError", (message,), &[])
    })
}

#[pymethods]
impl Bench {
    #[new]
    #[pyo3(signature = (
        *, cpus, clock, seed, statistics, trace_entries, budget,
        target="linux", engine="auto", maps="auto", lru="exact", endless=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of one Python call")]
    fn new(
        py: Python<'_>,
        cpus: u32,
        clock: ClockArgument,
        seed: u64,
        statistics: bool,
        trace_entries: usize,
        budget: u64,
        target: &str,
        engine: &str,
        maps: &str,
        lru: &str,
        endless: bool,
    ) -> PyResult<Bench> {
        let target = crate::portability::target(py, target)?;
        let engines =
            [("auto", EngineKind::Interpreter), ("interpreter", EngineKind::Interpreter), ("rbpf", EngineKind::Rbpf)];
        let engine = choice(py, "engine", engine, &engines)?;
        let maps = choice(py, "maps", maps, &[("auto", MapLibrary::Own), ("kbpf", MapLibrary::Kbpf)])?;
        let lru = choice(py, "lru", lru, &[("exact", LruOrder::Exact), ("linux", LruOrder::Linux)])?;
        let clock = match clock {
            ClockArgument::Step(ns) => ClockMode::Step(ns),
            ClockArgument::Name(name) if name == "manual" => ClockMode::Manual,
            ClockArgument::Name(name) if name == "real" => ClockMode::Real,
            ClockArgument::Name(name) => {
                let message = format!("clock is {name:?}; expected \"manual\", \"real\" or a number of ns an event");
                return Err(exception(py, "ClockError", (message,), &[]));
            }
        };
        let options =
            Options { cpus, clock, seed, statistics, trace_entries, budget, target, engine, maps, lru, endless };
        let bench = bench::Bench::new(options).map_err(Error::from)?;
        let helpers = PyDict::new(py).unbind();
        bench.set_helpers(Box::new(PythonHelpers { functions: helpers.clone_ref(py) }));
        Ok(Bench {
            shared: Arc::new(Shared {
                lock: ReentrantMutex::new(Movable(bench)),
                closed: AtomicBool::new(false),
                why: OnceLock::new(),
            }),
            helpers,
        })
    }

    #[pyo3(signature = (why=None))]
    fn close(&self, py: Python<'_>, why: Option<String>) -> PyResult<()> {
        if !self.closed() {
            if let Some(why) = why {
                // Of two threads that close it, the first one's reason stays.
                self.shared.why.get_or_init(|| why);
            }
            // A batch on its way ends at its next pause; what it calls is let go of here.
            let helpers = self.helpers.bind(py);
            self.shared.closed.store(true, Relaxed);
            py.detach(|| self.shared.lock.lock().forget_listeners());
            helpers.clear();
        }
        Ok(())
    }

    #[getter]
    fn closed(&self) -> bool {
        self.shared.closed.load(Relaxed)
    }

    #[getter]
    fn helpers(&self, py: Python<'_>) -> Py<PyDict> {
        self.helpers.clone_ref(py)
    }

    fn define(&self, py: Python<'_>, spec: &TracepointSpec) -> PyResult<Py<Tracepoint>> {
        let bench = self.shared.enter(py)?;
        let slot = bench.define((*spec.0).clone()).map_err(Error::from)?.slot();
        Tracepoint::new(py, &self.shared, slot, spec)
    }

    /// Slot numbers by subsystem, then by event.
    fn sorted(&self, py: Python<'_>) -> PyResult<Vec<usize>> {
        Ok(self.shared.enter(py)?.sorted().into_iter().map(|slot| slot.0).collect())
    }

    /// The slot of a name.
    fn slot(&self, py: Python<'_>, name: &str) -> PyResult<usize> {
        let bench = self.shared.enter(py)?;
        Ok(bench.tracepoint_named(name).map_err(Error::from)?.slot().0)
    }

    /// The slots that took the filter; all of them without a text.
    #[pyo3(signature = (slots, text))]
    fn set_filters(&self, py: Python<'_>, slots: Vec<usize>, text: Option<&str>) -> PyResult<Vec<usize>> {
        let slots: Vec<Slot> = slots.into_iter().map(Slot).collect();
        let taken = self.shared.enter(py)?.set_filters(&slots, text).map_err(Error::from)?;
        Ok(taken.into_iter().map(|slot| slot.0).collect())
    }

    fn now(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.shared.enter(py)?.clock().now())
    }

    fn set_time(&self, py: Python<'_>, ns: u64) -> PyResult<()> {
        Ok(self.shared.enter(py)?.clock().set(ns).map_err(Error::from)?)
    }

    fn advance(&self, py: Python<'_>, ns: u64) -> PyResult<()> {
        Ok(self.shared.enter(py)?.clock().advance(ns).map_err(Error::from)?)
    }

    fn cpu(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.shared.enter(py)?.clock().cpu())
    }

    fn set_cpu(&self, py: Python<'_>, cpu: u32) -> PyResult<()> {
        Ok(self.shared.enter(py)?.clock().set_cpu(cpu).map_err(Error::from)?)
    }

    fn cpus(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.shared.enter(py)?.clock().cpus())
    }

    /// VM, vCPU and exit reason of what a CPU is doing.
    fn vm_context(&self, py: Python<'_>, cpu: u32) -> PyResult<(u32, u32, u64)> {
        let VmContext { vm_id, vcpu_id, exit_reason } = self.shared.enter(py)?.vm_context(cpu).map_err(Error::from)?;
        Ok((vm_id, vcpu_id, exit_reason))
    }

    fn set_vm_context(&self, py: Python<'_>, cpu: u32, vm: (u32, u32, u64)) -> PyResult<()> {
        let (vm_id, vcpu_id, exit_reason) = vm;
        let vm = VmContext { vm_id, vcpu_id, exit_reason };
        Ok(self.shared.enter(py)?.set_vm_context(cpu, vm).map_err(Error::from)?)
    }

    #[pyo3(signature = (name, kind, key_size, value_size, max_entries, flags, extra, inner=None))]
    #[expect(clippy::too_many_arguments, reason = "what bpf(2) takes")]
    fn create_map(
        &self,
        py: Python<'_>,
        name: String,
        kind: &str,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        flags: u32,
        extra: u64,
        inner: Option<PyRef<'_, Map>>,
    ) -> PyResult<Map> {
        let kind = MapKind::from_name(kind).ok_or_else(|| {
            let offered: Vec<&str> = MapKind::offered().map(MapKind::name).collect();
            let (offered, hint) = (offered.join(", "), MapKind::hint(kind));
            let message = format!("no kind of map is called {kind:?}; the kinds are {offered}{hint}");
            crate::error::map_error(py, axebpf_core::errno::Errno::EINVAL, &name, &message)
        })?;
        let spec = MapSpec { name, kind, key_size, value_size, max_entries, flags, extra };
        if let Some(inner) = inner.as_ref().filter(|inner| !inner.belongs_to(&self.shared)) {
            let message = format!("the inner map {} belongs to another bench", inner.core().spec().name);
            return Err(crate::error::map_error(py, axebpf_core::errno::Errno::EBADF, &spec.name, &message));
        }
        let bench = self.shared.enter(py)?;
        let index = bench.create_map_with(spec, inner.as_ref().map(|inner| inner.core())).map_err(Error::from)?;
        Map::of(&bench, &self.shared, index)
    }

    /// Programs and maps of an object.
    fn load(
        &self,
        py: Python<'_>,
        object: &Object,
        globals: Vec<(String, Vec<u8>)>,
        max_entries: Vec<(String, u32)>,
        types: Vec<(String, String)>,
        only: Option<Vec<String>>,
    ) -> PyResult<(Vec<Program>, Vec<Map>)> {
        let bench = self.shared.enter(py)?;
        let options = LoadOptions { globals, max_entries, types, only };
        let loaded = bench.load(&object.0, &options).map_err(Error::from)?;
        let programs = loaded.programs.iter().map(|&index| Program::of(&bench, &self.shared, index));
        let maps = loaded.maps.iter().map(|&index| Map::of(&bench, &self.shared, index));
        Ok((programs.collect::<PyResult<_>>()?, maps.collect::<PyResult<_>>()?))
    }

    fn load_bytes(
        &self,
        py: Python<'_>,
        name: String,
        code: &[u8],
        program_type: &str,
        license: String,
        maps: Vec<(i32, PyRef<'_, Map>)>,
    ) -> PyResult<Program> {
        if let Some((fd, _)) = maps.iter().find(|(_, map)| !map.belongs_to(&self.shared)) {
            let message = format!("the map given for descriptor {fd} belongs to another bench");
            return Err(exception(py, "LoadError", (message,), &[]));
        }
        let bench = self.shared.enter(py)?;
        let maps: Vec<(i32, usize)> = maps.iter().map(|(fd, map)| (*fd, map.index())).collect();
        let index = bench.load_bytes(&name, code, program_type, &license, &maps).map_err(Error::from)?;
        Program::of(&bench, &self.shared, index)
    }

    /// Fires events of several tracepoints in one order.
    #[pyo3(signature = (tracepoints, order, times, cpus, columns, threads=1))]
    #[expect(clippy::too_many_arguments, reason = "columns of one batch")]
    fn fire_mixed(
        &self,
        py: Python<'_>,
        tracepoints: Vec<PyRef<'_, Tracepoint>>,
        order: &Bound<'_, PyAny>,
        times: &Bound<'_, PyAny>,
        cpus: &Bound<'_, PyAny>,
        columns: Vec<Bound<'_, PyList>>,
        threads: usize,
    ) -> PyResult<usize> {
        if tracepoints.iter().any(|tracepoint| !Arc::ptr_eq(&tracepoint.shared, &self.shared)) {
            return Err(exception(py, "NotFound", ("a tracepoint of another bench",), &[]));
        }
        let order = Numbers::<u16>::copy(order, "order")?;
        let times = Numbers::<u64>::copy(times, "time_ns")?;
        let cpus = Numbers::<u32>::copy(cpus, "cpu")?;
        let columns = columns.iter().map(Columns::copy).collect::<PyResult<Vec<_>>>()?;
        let slots: Vec<Slot> = tracepoints.iter().map(|tracepoint| tracepoint.slot).collect();
        self.shared.detached(py, |bench| {
            let mut batches = Vec::with_capacity(slots.len());
            for (slot, columns) in slots.iter().zip(&columns) {
                batches.push((bench.tracepoint(*slot)?, columns.as_core()));
            }
            let crew = bench.crew(threads)?;
            crew.fire_mixed(&batches, &order.0, &times.0, &cpus.0, &mut || self.shared.pause())
        })
    }

    /// Fires the events of a recording's last piece, at most so many.
    #[pyo3(signature = (tracepoints, recording, most=None, threads=1))]
    fn fire_recorded(
        &self,
        py: Python<'_>,
        tracepoints: Vec<PyRef<'_, Tracepoint>>,
        recording: &Recording,
        most: Option<usize>,
        threads: usize,
    ) -> PyResult<usize> {
        if tracepoints.iter().any(|tracepoint| !Arc::ptr_eq(&tracepoint.shared, &self.shared)) {
            return Err(exception(py, "NotFound", ("a tracepoint of another bench",), &[]));
        }
        let slots: Vec<Slot> = tracepoints.iter().map(|tracepoint| tracepoint.slot).collect();
        // Taken out, so that whoever hears of an event may use the recording.
        let events = recording.take(most.unwrap_or(usize::MAX));
        self.shared.detached(py, |bench| {
            let tracepoints = slots.iter().map(|slot| bench.tracepoint(*slot)).collect::<Result<Vec<_>, _>>()?;
            bench.crew(threads)?.fire_recorded(&tracepoints, &events, &mut || self.shared.pause())
        })
    }

    /// Whether events of any tracepoint could be fired on so many threads, as things are.
    fn check_threads(&self, py: Python<'_>, threads: i64) -> PyResult<()> {
        let bench = self.shared.enter(py)?;
        let tracepoints = bench.sorted().into_iter().filter_map(|slot| bench.tracepoint(slot).ok());
        check_threads(&bench, threads, tracepoints)
    }

    /// Keeps what each run of an attached program comes to, and its first instructions.
    #[pyo3(signature = (steps=0))]
    fn keep_runs(&self, py: Python<'_>, steps: usize) -> PyResult<()> {
        self.shared.enter(py)?.keep_runs(steps);
        Ok(())
    }

    /// See `runs.rs`.
    fn take_runs<'py>(&self, py: Python<'py>) -> PyResult<TakenRuns<'py>> {
        crate::runs::taken(py, self.shared.enter(py)?.take_runs())
    }

    /// See `trace.rs`.
    fn trace_text(&self, py: Python<'_>, target: &str, header: bool) -> PyResult<String> {
        crate::trace::text(py, &*self.shared.enter(py)?, target, header)
    }

    fn trace_records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        crate::trace::records(py, &*self.shared.enter(py)?)
    }

    fn trace_push(&self, py: Python<'_>, record: &[u8], comm: Option<&[u8]>) -> PyResult<()> {
        let comm = comm.map(|comm| {
            let mut name = [0; 16];
            let len = comm.len().min(name.len() - 1);
            name[..len].copy_from_slice(&comm[..len]);
            name
        });
        Ok(self.shared.enter(py)?.push_record(record, comm).map_err(Error::from)?)
    }

    fn trace_clear(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.enter(py)?.with_trace(|trace, _| trace.clear());
        Ok(())
    }

    /// Entries kept, written, and lost by each CPU.
    fn trace_counts(&self, py: Python<'_>) -> PyResult<(usize, u64, Vec<u64>)> {
        Ok(self.shared.enter(py)?.with_trace(|trace, _| (trace.len(), trace.written(), trace.lost().collect())))
    }

    fn reset_statistics(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.enter(py)?.reset_statistics();
        Ok(())
    }
}

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Tracepoint {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: Slot,
    pub(crate) spec: Arc<event::TracepointSpec>,
    /// How the last calls of `fire` named their arguments.
    pub(crate) plans: Plans,
}

impl Tracepoint {
    fn new(py: Python<'_>, shared: &Arc<Shared>, slot: Slot, spec: &TracepointSpec) -> PyResult<Py<Tracepoint>> {
        Py::new(py, Tracepoint { shared: shared.clone(), slot, spec: spec.0.clone(), plans: Plans::default() })
    }

    /// One event, already encoded.
    pub(crate) fn fire_record(
        &self,
        py: Python<'_>,
        record: &[u8],
        time_ns: Option<u64>,
        cpu: Option<u32>,
    ) -> PyResult<()> {
        let bench = self.shared.enter(py)?;
        let tracepoint = bench.tracepoint(self.slot).map_err(Error::from)?;
        let stamp = bench.stamp(time_ns, cpu).map_err(Error::from)?;
        bench.fire(tracepoint, &stamp, record).map_err(Error::from)?;
        Ok(())
    }
}

#[pymethods]
impl Tracepoint {
    /// The function behind `tp.fire`.
    fn fire_function<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        crate::fire::function(slf)
    }

    #[pyo3(signature = (columns, times=None, cpus=None, threads=1))]
    fn fire_rows(
        &self,
        py: Python<'_>,
        columns: &Bound<'_, PyList>,
        times: Option<&Bound<'_, PyAny>>,
        cpus: Option<&Bound<'_, PyAny>>,
        threads: usize,
    ) -> PyResult<usize> {
        let columns = Columns::copy(columns)?;
        let times = times.map(|times| Numbers::<u64>::copy(times, "time_ns")).transpose()?;
        let cpus = cpus.map(|cpus| Numbers::<u32>::copy(cpus, "cpu")).transpose()?;
        let slot = self.slot;
        self.shared.detached(py, |bench| {
            let tracepoint = bench.tracepoint(slot)?;
            bench.crew(threads)?.fire_rows(
                tracepoint,
                &columns.as_core(),
                times.as_ref().map(|times| &*times.0),
                cpus.as_ref().map(|cpus| &*cpus.0),
                &mut || self.shared.pause(),
            )
        })
    }

    /// Whether its events could be fired on so many threads, as things are.
    fn check_threads(&self, py: Python<'_>, threads: i64) -> PyResult<()> {
        self.shared.with(py, self.slot, |bench, tracepoint| check_threads(bench, threads, [tracepoint]))?
    }

    #[getter]
    fn enabled(&self, py: Python<'_>) -> PyResult<bool> {
        self.shared.with(py, self.slot, |_, tracepoint| tracepoint.is_enabled())
    }

    fn set_enabled(&self, py: Python<'_>, enabled: bool) -> PyResult<()> {
        self.shared.with(py, self.slot, |bench, tracepoint| bench.set_enabled(tracepoint, enabled))
    }

    #[getter]
    fn filter(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.shared.with(py, self.slot, |_, tracepoint| tracepoint.filter())
    }

    #[pyo3(signature = (text))]
    fn set_filter(&self, py: Python<'_>, text: Option<&str>) -> PyResult<()> {
        let set = self.shared.with(py, self.slot, |bench, tracepoint| bench.set_filter(tracepoint, text))?;
        Ok(set.map_err(Error::from)?)
    }

    /// Events fired, and programs attached.
    fn counts(&self, py: Python<'_>) -> PyResult<(u64, usize)> {
        self.shared.with(py, self.slot, |_, tracepoint| (tracepoint.fired(), tracepoint.links()))
    }

    /// The statistics as a dictionary.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let statistics = self.shared.with(py, self.slot, bench::Bench::statistics)?;
        crate::statistics::values(py, &statistics)
    }

    /// The statistics themselves, to record by hand.
    fn recorder(&self) -> Statistics {
        Statistics::of(&self.shared, self.slot)
    }

    /// The interpolated value of a percentile, given in millionths.
    fn interpolated(&self, py: Python<'_>, millionths: u32) -> PyResult<Option<u64>> {
        Ok(self.shared.with(py, self.slot, bench::Bench::statistics)?.interpolated(millionths))
    }

    #[pyo3(signature = (program, cookie=0, filter=None))]
    fn attach(&self, py: Python<'_>, program: &Program, cookie: u64, filter: Option<&str>) -> PyResult<Link> {
        if !program.belongs_to(&self.shared) {
            let message = format!("{} belongs to another bench", program.name());
            return Err(exception(py, "AttachError", (message,), &[]));
        }
        let attach =
            |bench: &bench::Bench, at: &bench::Tracepoint| bench.attach_filtered(at, program.index, cookie, filter);
        let id = self.shared.with(py, self.slot, attach)?.map_err(Error::from)?;
        Ok(Link { shared: self.shared.clone(), slot: self.slot, id })
    }

    /// Calls `function(record, time_ns, cpu)` at each event that passes; returns the number of the listener.
    #[pyo3(signature = (function, filter=None))]
    fn listen(&self, py: Python<'_>, function: Py<PyAny>, filter: Option<&str>) -> PyResult<u64> {
        let listener = Arc::new(Callback { function });
        let listen = |bench: &bench::Bench, at: &bench::Tracepoint| bench.listen_filtered(at, listener, filter);
        Ok(self.shared.with(py, self.slot, listen)?.map_err(Error::from)?)
    }

    fn stop_listening(&self, py: Python<'_>, listener: u64) -> PyResult<bool> {
        self.shared.with(py, self.slot, |bench, tracepoint| bench.stop_listening(tracepoint, listener))
    }
}

struct Callback {
    function: Py<PyAny>,
}

impl bench::Listener for Callback {
    fn event(&self, _: &bench::Tracepoint, stamp: &Stamp, record: &[u8]) -> Result<(), BenchError> {
        Python::attach(|py| {
            self.function.call1(py, (PyBytes::new(py, record), stamp.time_ns, stamp.cpu)).map(drop).map_err(foreign)
        })
    }
}

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Link {
    shared: Arc<Shared>,
    slot: Slot,
    id: u64,
}

#[pymethods]
impl Link {
    /// Whether the program is still attached.
    #[getter]
    fn attached(&self, py: Python<'_>) -> PyResult<bool> {
        self.shared.with(py, self.slot, |bench, tracepoint| bench.is_attached(tracepoint, self.id))
    }

    fn detach(&self, py: Python<'_>) -> PyResult<()> {
        let detached = self.shared.with(py, self.slot, |bench, tracepoint| bench.detach(tracepoint, self.id))?;
        Ok(detached.map_err(Error::from)?)
    }
}

fn check_threads<'t>(
    bench: &bench::Bench,
    threads: i64,
    tracepoints: impl IntoIterator<Item = &'t bench::Tracepoint>,
) -> PyResult<()> {
    let threads = usize::try_from(threads).unwrap_or(0);
    Ok(bench.crew(threads).and_then(|crew| crew.check(tracepoints)).map_err(Error::from)?)
}

/// What a wrong type of argument is answered with.
pub(crate) fn wrong_type(what: &str, found: &Bound<'_, PyAny>) -> PyErr {
    let found = found.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("{what}, not {found}"))
}
