//! Batches on several threads: what comes of them is what one thread makes of them, and what cannot be is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crew_world;
mod random;

use axebpf_core::bench::{Bench, BenchError, Fired, Options};
use axebpf_core::clock::ClockMode;
use axebpf_core::event::{Column, FieldSpec, FieldType, Scalar, TracepointSpec};
use axebpf_core::map::MapKind;
use crew_world::{Batch, CPUS, PER_CPU, SHARED, World, dump, load, map, shown};
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

#[test]
fn a_fault_is_the_one_that_one_thread_meets() {
    let mut batch = Batch::random(&mut Random(5), 10_000);
    let last = batch.n[0].len();
    for at in [last / 2, last / 2 + 1, last - 1] {
        batch.n[0][at] = 1_234_567;
    }
    let one = World::new(Options::default());
    let expected = one.fire(&batch, 1);
    let stopped = expected.error.unwrap().to_string();
    for threads in THREADS {
        let several = World::new(Options::default());
        let fired = several.fire(&batch, threads);
        assert_eq!(fired.error.unwrap().to_string(), stopped);
        // All that happened before it has happened, and on other CPUs perhaps more.
        assert!((expected.events..10_000).contains(&fired.events), "{} of {}", fired.events, expected.events);
        let runs = |world: &World| world.bench.program(world.programs[0]).unwrap().counts().runs;
        assert!(runs(&several) >= runs(&one));
        let (counted, fired) = (several.counted(PER_CPU).iter().sum::<u64>(), runs(&several));
        assert_eq!(counted, fired);
    }
}

/// Fires `n` by CPU from `vmm:a` and `vmm:b` at once, a program at each; every number comes once, and ascends on each CPU.
fn produce_and_consume(kind: MapKind, threads: usize) {
    let bench = Bench::new(Options { cpus: CPUS, ..Options::default() }).unwrap();
    for (id, name) in ["vmm:a", "vmm:b"].into_iter().enumerate() {
        let fields = vec![FieldSpec::new("n", FieldType::Scalar(Scalar::U64))];
        bench.define(TracepointSpec::new(name, id as u16 + 1, fields).unwrap()).unwrap();
    }
    let each = 3_000;
    let numbers = bench.create_map(map("NUMBERS", kind, 0, each * CPUS)).unwrap();
    let log = bench.create_map(map("LOG", MapKind::PercpuArray, 4, each * CPUS)).unwrap();
    let count = bench.create_map(map("COUNT", MapKind::PercpuArray, 4, 1)).unwrap();
    let maps = [(0, numbers), (1, log), (2, count)];
    let push = "r2 = r1\nr2 += 8\nr1 = *(u64 *)(r1 +8)\n*(u64 *)(r10 -8) = r1\nr2 = r10\nr2 += -8\nr1 = map[0]\nr3 = 0\n\
                call bpf_map_push_elem#87\nexit";
    // What is popped goes into the log of the CPU, behind what is there.
    let pop = "r2 = r10\nr2 += -8\nr1 = map[0]\ncall bpf_map_pop_elem#88\nif r0 != 0 goto out\n\
               *(u32 *)(r10 -12) = 0\nr2 = r10\nr2 += -12\nr1 = map[2]\ncall bpf_map_lookup_elem#1\nif r0 == 0 goto out\n\
               r1 = *(u64 *)(r0 +0)\n*(u32 *)(r10 -12) = r1\nr1 += 1\n*(u64 *)(r0 +0) = r1\n\
               r2 = r10\nr2 += -12\nr3 = r10\nr3 += -8\nr1 = map[1]\nr4 = 0\ncall bpf_map_update_elem#2\nout:\nr0 = 0\nexit";
    for (name, text) in [("vmm:a", push), ("vmm:b", pop)] {
        let program = load(&bench, name, "tracepoint", text, &maps);
        bench.attach(bench.tracepoint_named(name).unwrap(), program, 0).unwrap();
    }
    let mut batch = Batch::default();
    let mut random = Random(kind as u64);
    let mut next = [0; CPUS as usize];
    while batch.n[0].len() < (each * CPUS) as usize {
        let cpu = random.below(CPUS.into());
        if next[cpu as usize] < each && random.once_in(2) {
            next[cpu as usize] += 1;
            batch.order.push(0);
            batch.n[0].push(cpu << 32 | u64::from(next[cpu as usize]));
        } else {
            batch.order.push(1);
            batch.n[1].push(0);
        }
        batch.cpus.push(cpu as u32);
        batch.times.push(0);
    }
    let columns = [0, 1]
        .map(|which| (bench.tracepoint_named(["vmm:a", "vmm:b"][which]).unwrap(), vec![Column::U64(&batch.n[which])]));
    let crew = bench.crew(threads).unwrap();
    let fired = crew.fire_mixed(&columns, &batch.order, &batch.times, &batch.cpus, &mut || Ok(())).unwrap();
    assert_eq!((fired.events, fired.error.is_none()), (batch.order.len(), true));

    // By consumer; what is left is what would be popped next.
    let (counts, logs) = (numbers_of(&bench, count), numbers_of(&bench, log));
    let mut consumers: Vec<Vec<u64>> = (0..CPUS as usize)
        .map(|cpu| (0..counts[cpu] as usize).map(|nth| logs[nth * CPUS as usize + cpu]).collect())
        .collect();
    consumers.push(numbers_of(&bench, numbers));
    let mut all: Vec<u64> = consumers.concat();
    all.sort_unstable();
    let mut pushed = batch.n[0].clone();
    pushed.sort_unstable();
    assert!(all == pushed, "{kind:?}: every number that was pushed is popped once, or left");
    if kind == MapKind::Queue {
        for consumer in &consumers {
            for producer in 0..u64::from(CPUS) {
                let of: Vec<u64> = consumer.iter().copied().filter(|number| number >> 32 == producer).collect();
                assert!(of.is_sorted(), "what one CPU pushed comes out in its order");
            }
        }
    }
}

fn numbers_of(bench: &Bench, map: usize) -> Vec<u64> {
    let mut values = Vec::new();
    bench.map(map).unwrap().dump_user(&mut Vec::new(), &mut values).unwrap();
    values.chunks(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).collect()
}

#[test]
fn queues_and_stacks_lose_nothing_and_give_nothing_twice() {
    for kind in [MapKind::Queue, MapKind::Stack] {
        for threads in THREADS {
            produce_and_consume(kind, threads);
        }
    }
}

#[test]
fn an_lru_hash_that_all_update_is_full_and_has_what_belongs_to_its_keys() {
    let world = World::new(Options::default());
    let lru = world.bench.create_map(map("LRU", MapKind::LruHash, 8, 100)).unwrap();
    let text = "r1 = *(u64 *)(r1 +8)\nr1 &= 1023\n*(u64 *)(r10 -8) = r1\nr1 *= 77\n*(u64 *)(r10 -16) = r1\nr2 = r10\nr2 += -8\n\
                r3 = r10\nr3 += -16\nr1 = map[0]\nr4 = 0\ncall bpf_map_update_elem#2\nexit";
    let program = load(&world.bench, "updates", "tracepoint", text, &[(0, lru)]);
    world.bench.attach(world.bench.tracepoint_named("vmm:a").unwrap(), program, 0).unwrap();
    assert!(world.fire(&Batch::random(&mut Random(6), 20_000), 5).error.is_none());
    let (keys, values) = dump(&world.bench, lru);
    assert_eq!(keys.len(), 800);
    for (key, value) in keys.chunks(8).zip(values.chunks(8)) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        assert_eq!(number(value), number(key) * 77);
    }
}

#[test]
fn a_value_of_eight_bytes_is_never_half_of_another() {
    let world = World::new(Options::default());
    let torn = world.bench.create_map(map("TORN", MapKind::Array, 4, 1)).unwrap();
    let text = "r6 = *(u64 *)(r1 +8)\nr6 &= 1\nr6 = -r6\n*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[0]\n\
                call bpf_map_lookup_elem#1\nif r0 == 0 goto out\nr9 = 200\nagain:\n*(u64 *)(r0 +0) = r6\nr6 ^= -1\n\
                r1 = *(u64 *)(r0 +0)\nif r1 == 0 goto whole\nif r1 == -1 goto whole\nr0 = *(u64 *)(r1 +0)\nwhole:\n\
                r9 += -1\nif r9 != 0 goto again\nout:\nr0 = 0\nexit";
    let program = load(&world.bench, "torn", "tracepoint", text, &[(0, torn)]);
    world.bench.attach(world.bench.tracepoint_named("vmm:a").unwrap(), program, 0).unwrap();
    assert!(world.fire(&Batch::random(&mut Random(7), 5_000), 5).error.is_none());
}

/// A batch that lasts until somebody ends it.
fn endless(world: &World) -> Batch {
    let text = "r0 = 0\nagain:\nr0 += 1\nif r0 < 1000000 goto again\nr0 = 0\nexit";
    let program = load(&world.bench, "slow", "tracepoint", text, &[]);
    world.bench.attach(world.bench.tracepoint_named("vmm:a").unwrap(), program, 0).unwrap();
    Batch::random(&mut Random(8), 100_000)
}

#[test]
fn a_batch_ends_when_its_caller_says_so() {
    let world = World::new(Options::default());
    let batch = endless(&world);
    let crew = world.bench.crew(3).unwrap();
    let columns = batch.columns(&world.bench);
    let fired = crew.fire_mixed(&columns, &batch.order, &batch.times, &batch.cpus, &mut || Err(BenchError::Closed));
    let Fired { events, error } = fired.unwrap();
    assert!(matches!(error, Some(BenchError::Closed)));
    assert!(events < 100_000);
    let fired: u64 = ["vmm:a", "vmm:b"].map(|name| world.bench.tracepoint_named(name).unwrap().fired()).iter().sum();
    assert_eq!(fired, events as u64);
}

/// Whoever ends a batch, a handler of a signal say, may use the bench meanwhile: all but a second crew.
#[test]
fn the_bench_can_be_used_while_a_crew_is_at_work() {
    let world = World::new(Options::default());
    let batch = endless(&world);
    let crew = world.bench.crew(3).unwrap();
    let b = world.bench.tracepoint_named("vmm:b").unwrap();
    let columns = batch.columns(&world.bench);
    let counter = world.bench.map(world.maps[PER_CPU as usize]).unwrap();
    let one = [Column::U64(&[5]), Column::U64(&[0])];
    let mut fired = 0;
    let mut pause = || {
        let second = world.bench.crew(2).unwrap().fire_rows(b, &one, None, Some(&[4]), &mut || Ok(()));
        let Err(BenchError::OneThread { what }) = second else { panic!("a second crew") };
        assert_eq!(what, "another batch on several threads is on its way");
        let made = world.bench.create_map(map("MADE", MapKind::Hash, 4, 1)).unwrap();
        world.bench.map(made).unwrap().update_user(&[0; 4], &[1; 8], 0).unwrap();
        fired += world.bench.fire_rows(b, &one, None, None, &mut || Ok(())).unwrap().events;
        assert_eq!(counter.len(), 1);
        if fired < 3 { Ok(()) } else { Err(BenchError::Closed) }
    };
    let done = crew.fire_mixed(&columns, &batch.order, &batch.times, &batch.cpus, &mut pause).unwrap();
    assert!(matches!(done.error, Some(BenchError::Closed)));
    let runs = world.bench.program(world.programs[0]).unwrap().counts().runs;
    assert_eq!(runs, (done.events + fired) as u64);
    assert_eq!(world.counted(SHARED).iter().sum::<u64>(), runs);
    assert!(world.fire(&Batch::random(&mut Random(9), 10), 2).error.is_none());
}

#[test]
fn what_only_one_thread_can_do_is_refused() {
    let world = World::new(Options::default());
    assert!(matches!(world.bench.crew(0), Err(BenchError::NoThreads)));
    let batch = Batch::random(&mut Random(10), 10);
    let crew = world.bench.crew(2).unwrap();
    world.bench.keep_runs(0);
    let Err(BenchError::OneThread { what }) = batch.fire(&world.bench, &crew) else { panic!("runs are kept") };
    assert_eq!(what, "what each run comes to is being kept, one after the other");
    let mut batch = batch.clone();
    batch.cpus[7] = CPUS;
    let world = World::new(Options::default());
    let crew = world.bench.crew(2).unwrap();
    assert!(matches!(batch.fire(&world.bench, &crew), Err(BenchError::Clock(_))));
    assert_eq!(world.bench.instructions(), 0, "before the first event");
}

/// Eight threads count in maps of every sharing, for so many seconds as `AXEBPF_SECONDS` says; a moment without it.
#[test]
fn eight_threads_count_exactly() {
    const EIGHT: u32 = 8;
    let seconds = std::env::var("AXEBPF_SECONDS").map_or(0.2, |text| text.parse().expect("AXEBPF_SECONDS is a number"));
    let bench = Bench::new(Options { cpus: EIGHT, ..Options::default() }).unwrap();
    let fields = vec![FieldSpec::new("n", FieldType::Scalar(Scalar::U64))];
    bench.define(TracepointSpec::new("vmm:a", 1, fields).unwrap()).unwrap();
    let a = bench.tracepoint_named("vmm:a").unwrap();
    let look_up = "r6 = *(u64 *)(r1 +8)\nr6 &= 63\n*(u64 *)(r10 -8) = r6\nr2 = r10\nr2 += -8\nr1 = map[0]\n\
                   call bpf_map_lookup_elem#1\nif r0 == 0 goto new\nr1 = 1\n";
    // A key that is not there is made with nothing in it, by whoever is first.
    let make = "new:\n*(u64 *)(r10 -16) = 0\nr1 = map[0]\nr2 = r10\nr2 += -8\nr3 = r10\nr3 += -16\nr4 = 1\n\
                call bpf_map_update_elem#2\nr1 = map[0]\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem#1\n\
                if r0 == 0 goto out\nr1 = 1\n";
    let shared = "lock *(u64 *)(r0 +0) += r1\n";
    let fetched = "r2 = r0\nr0 = *(u64 *)(r2 +0)\nagain:\nr3 = r0\nr4 = r0\nr4 += 1\n\
                   r0 = atomic64_cmpxchg((u64 *)(r2 +0), r0, r4)\nif r0 != r3 goto again\n";
    let own = "r2 = *(u64 *)(r0 +0)\nr2 += r1\n*(u64 *)(r0 +0) = r2\n";
    let kinds = [
        (MapKind::Array, shared),
        (MapKind::Array, fetched),
        (MapKind::PercpuArray, own),
        (MapKind::Hash, shared),
        (MapKind::PercpuHash, own),
        (MapKind::LruHash, shared),
        (MapKind::LruPercpuHash, own),
    ];
    let mut maps = Vec::new();
    for (nth, (kind, count)) in kinds.into_iter().enumerate() {
        let key_size = if matches!(kind, MapKind::Array | MapKind::PercpuArray) { 4 } else { 8 };
        // An LRU has more room than keys: nothing is driven out.
        let counts = bench.create_map(map(&format!("MAP{nth}"), kind, key_size, 128)).unwrap();
        let text =
            format!("{look_up}{count}r0 = 0\nexit\n{make}{}out:\nr0 = 0\nexit", count.replace("again", "once_more"));
        let program = load(&bench, &format!("{kind:?}{nth}"), "tracepoint", &text, &[(0, counts)]);
        bench.attach(a, program, 0).unwrap();
        maps.push((kind, counts));
    }
    // The same keys on all CPUs, at about the same time.
    let n: Vec<u64> = (0..1 << 15).map(|n| n / u64::from(EIGHT)).collect();
    let cpus: Vec<u32> = (0..EIGHT).cycle().take(n.len()).collect();
    let crew = bench.crew(EIGHT as usize).unwrap();
    let begun = std::time::Instant::now();
    let mut events = 0;
    while events == 0 || begun.elapsed().as_secs_f64() < seconds {
        let fired = crew.fire_rows(a, &[Column::U64(&n)], None, Some(&cpus), &mut || Ok(())).unwrap();
        assert!(fired.error.is_none());
        events += fired.events as u64;
    }
    for (kind, counts) in maps {
        assert_eq!(numbers_of(&bench, counts).iter().sum::<u64>(), events, "{kind:?}");
    }
    eprintln!("{events} events in {:.1} s", begun.elapsed().as_secs_f64());
}
