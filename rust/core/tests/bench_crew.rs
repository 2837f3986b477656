//! Batches on several threads: what comes of them is what one thread makes of them, and what cannot be is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crew_world;
mod random;

use axebpf_core::bench::Options;
use axebpf_core::clock::ClockMode;
use axebpf_core::event::Column;
use crew_world::{Batch, CPUS, World, shown};
use random::Random;

const THREADS: [usize; 4] = [2, 3, 5, 64];

/// Fires the same batches on one thread and on several, and compares all that there is to see.
fn same(options: Options, batches: &[Batch]) {
    let one = World::new(options);
    let watch = one.bench.program(one.programs[0]).unwrap().watch();
    let fired: Vec<usize> = batches.iter().map(|batch| one.fire(batch, 1).events).collect();
    let expected = shown(&one);
    let worst = one.bench.program(one.programs[0]).unwrap().watched(watch);
    for threads in THREADS {
        let several = World::new(options);
        let watch = several.bench.program(several.programs[0]).unwrap().watch();
        for (batch, events) in batches.iter().zip(&fired) {
            let done = several.fire(batch, threads);
            assert!(done.error.is_none());
            assert_eq!(done.events, *events);
        }
        shown(&several).expect(&expected, &format!("{threads} threads"));
        assert_eq!(several.bench.program(several.programs[0]).unwrap().watched(watch), worst);
    }
}

#[test]
fn several_threads_do_what_one_does() {
    let mut random = Random(1);
    for rows in [0, 1, 2, 17, 100, 1_000, 20_000] {
        let batches: Vec<Batch> = (0..3).map(|_| Batch::random(&mut random, rows)).collect();
        same(Options::default(), &batches);
    }
}

#[test]
fn a_trace_that_is_too_small_loses_the_same_entries() {
    let mut random = Random(2);
    for trace_entries in [0, 1, 2, 7, 100, 1_000] {
        let batches: Vec<Batch> = (0..2).map(|_| Batch::random(&mut random, 3_000)).collect();
        same(Options { trace_entries, ..Options::default() }, &batches);
    }
}

#[test]
fn without_statistics_there_are_none() {
    let batch = Batch::random(&mut Random(3), 500);
    same(Options { statistics: false, ..Options::default() }, &[batch]);
}

/// Rows without times have those of the clock, in their order; without CPUs they are all on the current one.
#[test]
fn rows_take_their_times_and_cpus_from_the_clock() {
    let mut random = Random(4);
    for clock in [ClockMode::Manual, ClockMode::Step(30)] {
        let rows = 10_000;
        let n: Vec<u64> = (0..rows).map(|_| random.below(4096)).collect();
        let cpus: Vec<u32> = (0..rows).map(|_| random.below(CPUS.into()) as u32).collect();
        let times: Vec<u64> = (0..rows).map(|_| random.below(1 << 40)).collect();
        for (times, cpus) in [(None, Some(&*cpus)), (Some(&*times), Some(&*cpus)), (None, None)] {
            let fire = |threads: usize| {
                let world = World::new(Options { clock, ..Options::default() });
                world.bench.clock().set_cpu(3).unwrap();
                let b = world.bench.tracepoint_named("vmm:b").unwrap();
                let columns = [Column::U64(&n), Column::Same(axebpf_core::event::Value::Int(5))];
                for _ in 0..2 {
                    let crew = world.bench.crew(threads).unwrap();
                    let fired = crew.fire_rows(b, &columns, times, cpus, &mut || Ok(())).unwrap();
                    assert_eq!(fired.events, rows as usize);
                }
                shown(&world)
            };
            let expected = fire(1);
            for threads in THREADS {
                fire(threads).expect(&expected, &format!("{threads} threads"));
            }
        }
    }
}
