//! The runner of the speed anchors: runs every `mem` program of a folder of objects, no Python in the loop.
//!
//! ```text
//! BENCH_OBJ=FOLDER cargo run --release -p axebpf-core --example anchors -- --engine interpreter [PROGRAM…]
//! ```
//!
//! What it reads and prints is said in the docstring of `benches/anchors/bench.py`, which calls it.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axebpf_core::engine::{Input, Interpreter, Runnable, Stack};
use axebpf_core::helper::{Host, Task, VmContext};
use axebpf_core::map::{self, BPF_RB_AVAIL_DATA, Map, MapKind, MapSet};
use axebpf_core::memory::{Arena, Window};
use axebpf_core::object::{Object, ObjectProgram};
use axebpf_core::program::{Program, ProgramType};

/// Offered by `--engine`.
const ENGINES: [&str; 1] = ["interpreter"];
/// CPU time of a measurement, about.
const MEASURE_NS: f64 = 40e6;
/// CPU time before it, at least.
const WARM_UP_NS: f64 = 10e6;
/// Runs between two looks at the clock where a ring buffer is drained: long enough for the look to vanish.
const PIECE: u32 = 512;
/// Instructions of one run: more than any of the programs has.
const BUDGET: u64 = 1 << 24;

/// A world in which nothing happens.
struct Nowhere;

impl Host for Nowhere {
    fn now(&self) -> u64 {
        0
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn random(&self) -> u32 {
        4
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn vm_context(&self) -> VmContext {
        VmContext::default()
    }
    fn print(&self, text: &str) {
        eprintln!("anchors: printed: {text}");
    }
}

/// Thread CPU time and wall time, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Times {
    cpu: f64,
    wall: f64,
}

/// A clock of both.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Times {
        let mut cpu = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock is one that every system has, and the structure is ours.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut cpu) };
        Times { cpu: cpu.tv_sec as f64 * 1e9 + cpu.tv_nsec as f64, wall: self.0.elapsed().as_nanos() as f64 }
    }
}

/// A program on a fresh buffer with fresh maps.
struct Anchor {
    runnable: Box<dyn Runnable>,
    stack: Stack,
    buffer: Arena,
    rings: Vec<Arc<dyn Map>>,
    clock: Clock,
    /// Low 32 bits that the first run returned.
    first: Option<u32>,
}

impl Anchor {
    fn new(object: &Object, program: &Program, buffer: &[u8]) -> Result<Anchor, Box<dyn Error>> {
        let mut maps = MapSet::default();
        for name in &program.maps {
            let def = object.map(name).ok_or_else(|| format!("{} has no map {name}", object.file))?;
            let map = map::create(def.spec()?, Host::cpus(&Nowhere))?;
            // SAFETY: this program has one thread.
            unsafe { map.set_alone(true) };
            if let Some(initial) = &def.initial {
                map.update_user(&[0; 4], initial, 0)?;
            }
            maps.0.push(map);
        }
        let rings = maps.0.iter().filter(|map| map.spec().kind == MapKind::RingBuf).cloned().collect();
        let arena = Arena::new(buffer.len())?;
        // SAFETY: a fresh arena of this length.
        unsafe { std::ptr::copy_nonoverlapping(buffer.as_ptr(), arena.as_ptr(), buffer.len()) };
        Ok(Anchor {
            runnable: Interpreter.load(Arc::new(program.clone()), maps)?,
            stack: Stack::new(0)?,
            buffer: arena,
            rings,
            clock: Clock(Instant::now()),
            first: None,
        })
    }

    /// Runs it so many times, without a look at anything.
    fn run(&mut self, times: u32) -> Result<Times, Box<dyn Error>> {
        let (start, len) = (self.buffer.address(), self.buffer.len() as u64);
        let context = Window { start, len, writable: true };
        let input = Input { args: [start, len], context, extra: &[], host: &Nowhere, budget: BUDGET, alone: true };
        let before = self.clock.now();
        let mut last = 0;
        for _ in 0..times {
            // SAFETY: the context is an arena of this anchor, into which nobody holds references.
            last = unsafe { self.runnable.run(&mut self.stack, &input) }.result?;
            self.first.get_or_insert(last as u32);
        }
        std::hint::black_box(last);
        let after = self.clock.now();
        Ok(Times { cpu: after.cpu - before.cpu, wall: after.wall - before.wall })
    }

    /// As [`Anchor::run`], with the records in ring buffers consumed in between, while no time is taken.
    fn run_drained(&mut self, times: u32) -> Result<Times, Box<dyn Error>> {
        let mut total = Times::default();
        let mut left = times;
        while left > 0 {
            let piece = left.min(PIECE);
            let Times { cpu, wall } = self.run(piece)?;
            total = Times { cpu: total.cpu + cpu, wall: total.wall + wall };
            left -= piece;
            for ring in &self.rings {
                // Nothing was dropped where there is room for more than one run writes.
                let room = u64::from(ring.spec().max_entries).saturating_sub(ring.query(BPF_RB_AVAIL_DATA));
                if room < 8192 {
                    return Err(format!("{}: the ring ran full", ring.spec().name).into());
                }
                let mut record = Vec::new();
                while ring.consume_user(&mut record)? {
                    record.clear();
                }
            }
        }
        Ok(total)
    }

    /// Leaves no room in the ring buffers.
    fn fill(&self) -> Result<(), Box<dyn Error>> {
        for ring in &self.rings {
            for size in [4096, 8] {
                while let Ok(record) = ring.reserve(size) {
                    ring.commit(record.as_ptr() as u64, 0, false)?;
                }
            }
        }
        Ok(())
    }

    /// Nanoseconds of a run.
    fn measure(&mut self, drained: bool) -> Result<Times, Box<dyn Error>> {
        let run = if drained { Anchor::run_drained } else { Anchor::run };
        let mut times = 1;
        let mut warm = run(self, times)?;
        while warm.cpu < WARM_UP_NS {
            times *= 2;
            warm = run(self, times)?;
        }
        let times = ((MEASURE_NS / warm.cpu * f64::from(times)) as u32).max(1);
        let Times { cpu, wall } = run(self, times)?;
        Ok(Times { cpu: cpu / f64::from(times), wall: wall / f64::from(times) })
    }
}

/// `mem/NAME` is NAME, `mem16/NAME` is `NAME_x16`; other sections are not for this runner.
fn name_of(program: &ObjectProgram) -> Option<String> {
    let (prefix, name) = program.section.split_once('/')?;
    match prefix.strip_prefix("mem")? {
        "" => Some(name.to_owned()),
        times => Some(format!("{name}_x{times}")),
    }
}

struct Arguments {
    engine: String,
    /// Names of programs; none for all.
    programs: Vec<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { engine: ENGINES[0].to_owned(), programs: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--engine" => parsed.engine = args.next().ok_or("--engine: which?")?,
            option if option.starts_with('-') => return Err(format!("unknown option {option}; there is --engine")),
            _ => parsed.programs.push(arg),
        }
    }
    if ENGINES.contains(&parsed.engine.as_str()) {
        Ok(parsed)
    } else {
        Err(format!("no engine {}; there is {}", parsed.engine, ENGINES.join(", ")))
    }
}

fn run_object(path: &Path, arguments: &Arguments, folder: &Path) -> Result<(), Box<dyn Error>> {
    let object = Object::parse(&fs::read(path)?, &path.display().to_string())?;
    let input = fs::read(folder.join("input.bin"))?;
    let event = fs::read(folder.join("event.bin"))?;
    // The tracing-like programs are those that also come 16 times.
    let tracing = object.programs.iter().any(|program| program.section.starts_with("mem16/"));
    for program in object.programs.iter().filter(|program| program.program_type == Some(ProgramType::Mem)) {
        let Some(name) = name_of(program) else { continue };
        if !arguments.programs.is_empty() && !arguments.programs.contains(&name) {
            continue;
        }
        let linked = program.program.as_ref().map_err(Clone::clone)?;
        let mut anchor = Anchor::new(&object, linked, if tracing { &event } else { &input })?;
        let has_ring = !anchor.rings.is_empty();
        let print = |suffix: &str, times: Times, first: Option<u32>| {
            let Times { cpu, wall } = times;
            println!("run axebpf-{} {name}{suffix} {cpu:.3} {wall:.3} {}", arguments.engine, first.unwrap_or(0));
        };
        print("", anchor.measure(has_ring)?, anchor.first);
        if has_ring {
            let mut full = Anchor::new(&object, linked, &event)?;
            full.fill()?;
            print(":full", full.measure(false)?, full.first);
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let folder = std::env::var_os("BENCH_OBJ").ok_or("BENCH_OBJ is not set: the folder of the compiled programs")?;
    let folder = Path::new(&folder);
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut objects: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    objects.retain(|path| path.to_string_lossy().ends_with(".bpf.o"));
    objects.sort();
    for path in objects {
        run_object(&path, &arguments, folder).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
