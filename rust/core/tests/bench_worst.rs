//! Which runs of a program took the most, of all of them and since somebody began to watch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;

use axebpf_core::bench::{Bench, BenchError, Options, WorstRun, WorstRuns};
use axebpf_core::event::{FieldSpec, Stamp, TracepointSpec, Value};
use axebpf_core::isa::{Insn, assemble};
use random::Random;

/// Turns the first loop `a` times and the second `b` times, which calls a helper each time.
const PROGRAM: &str = "r6 = *(u64 *)(r1 +8)\nr7 = *(u64 *)(r1 +16)\n\
                       a:\nif r6 == 0 goto b\nr6 += -1\ngoto a\n\
                       b:\nif r7 == 0 goto out\ncall bpf_get_smp_processor_id#8\nr7 += -1\ngoto b\n\
                       out:\nr0 = 0\nexit";

/// Instructions of a run, by hand: two loads, both loops with the test that ends them, and the last two.
fn instructions(a: u64, b: u64) -> u64 {
    2 + (3 * a + 1) + (4 * b + 1) + 2
}

struct World {
    bench: Bench,
    program: usize,
}

impl World {
    fn new(options: Options) -> World {
        let bench = Bench::new(options).unwrap();
        let fields = ["a", "b"].map(|name| FieldSpec::new(name, "u64".parse().unwrap()));
        bench.define(TracepointSpec::new("vmm:e", 1, fields.to_vec()).unwrap()).unwrap();
        let code: Vec<u8> = assemble(PROGRAM).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
        let program = bench.load_bytes("test", &code, "tracepoint", "GPL", &[]).unwrap();
        bench.attach(bench.tracepoint_named("vmm:e").unwrap(), program, 0).unwrap();
        World { bench, program }
    }

    fn fire(&self, a: u64, b: u64, time_ns: u64, cpu: u32) -> Result<(), Box<BenchError>> {
        let tracepoint = self.bench.tracepoint_named("vmm:e").unwrap();
        let mut record = vec![0; tracepoint.spec().record_size()];
        let values = [a, b].map(|value| Value::Int(value.into()));
        tracepoint.spec().encode(0, &values, &mut record).unwrap();
        let stamp: Stamp = self.bench.stamp(Some(time_ns), Some(cpu)).unwrap();
        self.bench.fire(tracepoint, &stamp, &record)
    }

    fn worst(&self) -> WorstRuns {
        self.bench.program(self.program).unwrap().counts().worst
    }
}

/// The first of the greatest.
fn greatest(runs: &[WorstRun]) -> WorstRun {
    let most = runs.iter().map(|run| run.count).max().unwrap_or(0);
    if most == 0 { WorstRun::default() } else { *runs.iter().find(|run| run.count == most).unwrap() }
}

fn expected(runs: &[(u64, u64, u64, u32)]) -> WorstRuns {
    let by = |count: fn(u64, u64) -> u64| {
        let runs: Vec<WorstRun> =
            runs.iter().map(|&(a, b, time_ns, cpu)| WorstRun { count: count(a, b), time_ns, cpu }).collect();
        greatest(&runs)
    };
    WorstRuns { instructions: by(instructions), calls: by(|_, b| b) }
}

#[test]
fn counts_are_those_of_the_paths_taken() {
    let world = World::new(Options::default());
    assert_eq!(world.worst(), WorstRuns::default());
    for (time, (a, b)) in [(0, 0), (9, 0), (0, 2), (1, 1)].into_iter().enumerate() {
        world.fire(a, b, 100 + time as u64, time as u32).unwrap();
    }
    let counts = world.bench.program(world.program).unwrap().counts();
    assert_eq!((counts.runs, counts.instructions, counts.calls), (4, Some(6 + 33 + 14 + 13), 3));
    let (long, calling) = (WorstRun { count: 33, time_ns: 101, cpu: 1 }, WorstRun { count: 2, time_ns: 102, cpu: 2 });
    assert_eq!(counts.worst, WorstRuns { instructions: long, calls: calling });
}

#[test]
fn a_run_that_was_stopped_counts_as_far_as_it_came() {
    let world = World::new(Options { budget: 50, ..Options::default() });
    assert!(matches!(*world.fire(0, 1000, 7, 3).unwrap_err(), BenchError::Fault(_)));
    // 2 loads and a test, then 47 of the second loop's instructions, of which every fourth from the second is a call.
    let at = |count| WorstRun { count, time_ns: 7, cpu: 3 };
    assert_eq!(world.worst(), WorstRuns { instructions: at(50), calls: at(12) });
}

#[test]
fn watches_overlap_as_they_like() {
    let mut random = Random(3);
    for _ in 0..200 {
        let world = World::new(Options::default());
        let program = world.bench.program(world.program).unwrap();
        let (mut runs, mut watches) = (Vec::new(), Vec::new());
        for time in 0..60 {
            match random.below(6) {
                0 => watches.push((program.watch(), runs.len())),
                1 if !watches.is_empty() => {
                    let (watch, _) = watches.swap_remove(random.below(watches.len() as u64) as usize);
                    program.unwatch(watch);
                    assert_eq!(program.watched(watch), None);
                }
                _ => {
                    let run = (random.below(12), random.below(8), time, random.below(4) as u32);
                    world.fire(run.0, run.1, run.2, run.3).unwrap();
                    runs.push(run);
                }
            }
            assert_eq!(world.worst(), expected(&runs));
            for (watch, since) in &watches {
                assert_eq!(program.watched(*watch), Some(expected(&runs[*since..])));
            }
        }
    }
}
