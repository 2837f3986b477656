//! The path of an event through its programs: order, recursion, what comes and goes meanwhile, what stops a batch.
//!
//! What Linux 6.18 does was measured with the same programs: order of attachment, limits, and who runs in whom.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use axebpf_core::bench::{Bench, BenchError, ByHand, CustomHelpers, Listener, Options, Tracepoint};
use axebpf_core::event::{Column, EventError, FieldSpec, Stamp, TracepointSpec, Value};
use axebpf_core::fault::Fault;
use axebpf_core::isa::{Insn, assemble};
use axebpf_core::map::{MapKind, MapSpec};
use axebpf_core::memory::Memory;

type Deed = Box<dyn Fn(&Bench)>;

thread_local! {
    /// The bench of this test's thread, for its helpers.
    static BENCH: RefCell<Option<Rc<Bench>>> = const { RefCell::new(None) };
    /// What helper `DO` does, once.
    static DEED: RefCell<Option<Deed>> = const { RefCell::new(None) };
}

/// `fire(n, cpu)`: fires `vmm:eN` on a CPU.
const FIRE: u32 = 0x10000;
/// `mark(n)`: appends n to the marks.
const MARK: u32 = 0x10001;
/// `do()`: what `DEED` says.
const DO: u32 = 0x10002;

struct Helpers(Arc<Mutex<Vec<u64>>>);

impl CustomHelpers for Helpers {
    fn call(&self, id: u32, args: [u64; 5], _memory: &mut Memory<'_>) -> Result<u64, Box<Fault>> {
        let bench = BENCH.with_borrow(|bench| bench.clone().unwrap());
        match id {
            FIRE => {
                let tracepoint = bench.tracepoint_named(&format!("vmm:e{}", args[0])).unwrap();
                fire(&bench, tracepoint, args[1] as u32).unwrap();
            }
            MARK => self.0.lock().unwrap().push(args[0]),
            _ => {
                if let Some(deed) = DEED.take() {
                    deed(&bench);
                }
            }
        }
        Ok(0)
    }

    fn has(&self, id: u32) -> bool {
        (FIRE..=DO).contains(&id)
    }
}

fn fire(bench: &Bench, tracepoint: &Tracepoint, cpu: u32) -> Result<(), Box<BenchError>> {
    let spec = tracepoint.spec();
    let mut record = vec![0; spec.record_size()];
    spec.encode(0, &[Value::Int(7), Value::Int(9)], &mut record).unwrap();
    bench.fire(tracepoint, &bench.stamp(None, Some(cpu)).unwrap(), &record)
}

/// A bench with the tracepoints `vmm:e0` to `vmm:e2`, each of two u64 fields, and the marks of its helpers.
fn bench() -> (Rc<Bench>, Arc<Mutex<Vec<u64>>>) {
    let bench = Rc::new(Bench::new(Options::default()).unwrap());
    for id in 0..3 {
        let fields = ["a", "b"].map(|name| FieldSpec::new(name, "u64".parse().unwrap()));
        bench.define(TracepointSpec::new(&format!("vmm:e{id}"), id + 1, fields.to_vec()).unwrap()).unwrap();
    }
    let marks = Arc::new(Mutex::new(Vec::new()));
    bench.set_helpers(Box::new(Helpers(marks.clone())));
    BENCH.set(Some(bench.clone()));
    DEED.set(None);
    (bench, marks)
}

fn load(bench: &Bench, program_type: &str, text: &str) -> usize {
    let code: Vec<u8> = assemble(text).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    bench.load_bytes("test", &code, program_type, "GPL", &[]).unwrap()
}

/// A program that marks a number and returns it.
fn marker(bench: &Bench, number: u64) -> usize {
    load(bench, "tracepoint", &format!("r1 = {number}\ncall mark#{MARK}\nr0 = {number}\nexit"))
}

/// A program that fires `vmm:eN` on a CPU, between two accesses of its stack.
fn firing(bench: &Bench, program_type: &str, event: u32, cpu: u32) -> usize {
    let text = format!(
        "*(u64 *)(r10 -8) = 5\nr1 = {event}\nr2 = {cpu}\ncall fire#{FIRE}\nr0 = *(u64 *)(r10 -8)\nif r0 == 5 goto +1\n\
         r0 = *(u64 *)(r0 +0)\nr0 = 0\nexit"
    );
    load(bench, program_type, &text)
}

fn tracepoint(bench: &Bench, number: u32) -> &Tracepoint {
    bench.tracepoint_named(&format!("vmm:e{number}")).unwrap()
}

/// Runs and misses of a program.
fn counts(bench: &Bench, program: usize) -> (u64, u64) {
    let counts = bench.program(program).unwrap().counts();
    assert_eq!(counts.faults, 0);
    (counts.runs, counts.misses)
}

fn taken(marks: &Mutex<Vec<u64>>) -> Vec<u64> {
    std::mem::take(&mut marks.lock().unwrap())
}

#[test]
fn who_runs_in_whom() {
    let (bench, _) = bench();
    // As measured on Linux: A fires what B (tracepoint), C and D (raw tracepoint) are attached to; D fires it again.
    let a = firing(&bench, "tracepoint", 1, 0);
    let b = load(&bench, "tracepoint", "r0 = 0\nexit");
    let c = load(&bench, "raw_tracepoint", "*(u64 *)(r10 -8) = 6\nr0 = 0\nexit");
    let d = firing(&bench, "raw_tracepoint", 1, 0);
    bench.attach(tracepoint(&bench, 0), a, 0).unwrap();
    for program in [b, c, d] {
        bench.attach(tracepoint(&bench, 1), program, 0).unwrap();
    }
    for _ in 0..3 {
        fire(&bench, tracepoint(&bench, 0), 0).unwrap();
    }
    assert_eq!([a, b, c, d].map(|program| counts(&bench, program)), [(3, 0), (0, 6), (6, 0), (3, 3)]);
    // Not from within another program, B runs, but not in what D causes: raw tracepoint programs do not guard others.
    fire(&bench, tracepoint(&bench, 1), 0).unwrap();
    assert_eq!([b, c, d].map(|program| counts(&bench, program)), [(2, 6), (8, 0), (4, 4)]);
}

#[test]
fn a_program_that_fires_its_own_event_is_skipped() {
    let (bench, _) = bench();
    for program_type in ["tracepoint", "axvisor", "raw_tracepoint"] {
        let program = firing(&bench, program_type, 0, 0);
        bench.attach(tracepoint(&bench, 0), program, 0).unwrap();
        fire(&bench, tracepoint(&bench, 0), 0).unwrap();
        assert_eq!(counts(&bench, program), (1, 1), "{program_type}");
        bench.unload(program, true).unwrap();
    }
    assert_eq!(tracepoint(&bench, 0).fired(), 6);
}

#[test]
fn guards_are_those_of_a_cpu() {
    let (bench, _) = bench();
    let a = firing(&bench, "tracepoint", 1, 3);
    let b = load(&bench, "tracepoint", "r0 = 0\nexit");
    bench.attach(tracepoint(&bench, 0), a, 0).unwrap();
    bench.attach(tracepoint(&bench, 1), b, 0).unwrap();
    fire(&bench, tracepoint(&bench, 0), 0).unwrap();
    assert_eq!(counts(&bench, b), (1, 0), "on another CPU than A");
    fire(&bench, tracepoint(&bench, 0), 3).unwrap();
    assert_eq!(counts(&bench, b), (1, 1), "on the same");
}

#[test]
fn by_hand_a_program_always_runs_and_its_events_do_not() {
    let (bench, _) = bench();
    let inner = load(&bench, "tracepoint", "r0 = 0\nexit");
    bench.attach(tracepoint(&bench, 1), inner, 0).unwrap();
    let a = firing(&bench, "tracepoint", 1, 0);
    let run = bench.run_program(a, &mut [0; 24], ByHand::default(), None).unwrap();
    assert_eq!(run.result, Ok(0));
    assert_eq!((counts(&bench, a), counts(&bench, inner)), ((1, 0), (0, 1)));
    // From within a program that runs for an event.
    DEED.set(Some(Box::new(move |bench| {
        assert_eq!(bench.run_program(inner, &mut [0; 24], ByHand::default(), None).unwrap().result, Ok(0));
    })));
    let does = load(&bench, "tracepoint", &format!("call do#{DO}\nr0 = 0\nexit"));
    bench.attach(tracepoint(&bench, 0), does, 0).unwrap();
    fire(&bench, tracepoint(&bench, 0), 0).unwrap();
    assert_eq!(counts(&bench, inner), (1, 1));
    // The guard ends with the run.
    fire(&bench, tracepoint(&bench, 1), 0).unwrap();
    assert_eq!(counts(&bench, inner), (2, 1));
}

#[test]
fn programs_run_in_the_order_of_their_attachment() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 0);
    // Returns of 0 and 1 stop nothing.
    let programs = [1, 2, 3].map(|number| marker(&bench, number));
    let first = bench.attach(event, programs[0], 0).unwrap();
    for program in &programs[1..] {
        bench.attach(event, *program, 0).unwrap();
    }
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [1, 2, 3]);
    bench.detach(event, first).unwrap();
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [2, 3]);
    bench.attach(event, programs[0], 0).unwrap();
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [2, 3, 1], "attached again, it goes last");
    assert!(matches!(bench.detach(event, first), Err(BenchError::Detached)));
}

#[test]
fn the_limits_of_attachment() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 0);
    let programs: Vec<usize> = (0..65).map(|number| marker(&bench, number)).collect();
    bench.attach(event, programs[0], 0).unwrap();
    assert!(matches!(bench.attach(event, programs[0], 0), Err(BenchError::AlreadyAttached { .. })), "EEXIST");
    bench.attach(tracepoint(&bench, 1), programs[0], 0).unwrap();
    for program in &programs[1..64] {
        bench.attach(event, *program, 0).unwrap();
    }
    let refused = bench.attach(event, programs[64], 0);
    assert!(matches!(refused, Err(BenchError::TooManyPrograms { max: 64, .. })), "E2BIG");
    assert_eq!(event.links(), 64);
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), (0..64).collect::<Vec<u64>>());

    for program_type in ["kprobe", "xdp", "syscall", "mem"] {
        let program = load(&bench, program_type, "r0 = 0\nexit");
        assert!(matches!(bench.attach(event, program, 0), Err(BenchError::AttachType { .. })), "{program_type}");
    }
    assert!(matches!(bench.attach(event, 1000, 0), Err(BenchError::NoProgram { index: 1000 })));
}

#[test]
fn attachment_looks_how_far_a_program_reads() {
    let (bench, _) = bench();
    // A record of 8 + 2 * 8 bytes, and two arguments (measured: EACCES, EINVAL).
    for (program_type, offset, fits) in [
        ("tracepoint", 16, true),
        ("tracepoint", 24, false),
        ("raw_tracepoint", 8, true),
        ("raw_tracepoint", 16, false),
        ("axvisor", 56, true),
    ] {
        let program = load(&bench, program_type, &format!("r0 = *(u64 *)(r1 +{offset})\nr0 = 0\nexit"));
        let attached = bench.attach(tracepoint(&bench, 2), program, 0);
        assert_eq!(attached.is_ok(), fits, "{program_type} {offset}");
        assert!(fits || matches!(attached, Err(BenchError::ContextTooShort { .. })));
    }
    fire(&bench, tracepoint(&bench, 2), 0).unwrap();
}

#[test]
fn what_comes_during_an_event_sees_the_next_one() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 0);
    let does = load(&bench, "tracepoint", &format!("call do#{DO}\nr1 = 1\ncall mark#{MARK}\nr0 = 0\nexit"));
    let later = marker(&bench, 2);
    bench.attach(event, does, 0).unwrap();
    DEED.set(Some(Box::new(move |bench| {
        bench.attach(tracepoint(bench, 0), later, 0).unwrap();
    })));
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [1]);
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [1, 2]);
}

#[test]
fn what_goes_during_an_event_is_not_run_any_more() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 0);
    let does = load(&bench, "tracepoint", &format!("call do#{DO}\nr1 = 1\ncall mark#{MARK}\nr0 = 0\nexit"));
    let own = bench.attach(event, does, 0).unwrap();
    let links: Vec<u64> = [2, 3, 4].map(|number| bench.attach(event, marker(&bench, number), 0).unwrap()).into();
    DEED.set(Some(Box::new(move |bench| {
        let event = tracepoint(bench, 0);
        bench.detach(event, links[1]).unwrap();
        bench.detach(event, own).unwrap();
        assert_eq!(event.links(), 2);
        assert!(matches!(bench.detach(event, own), Err(BenchError::Detached)));
        // An event within the event: its end must not take away what the outer one still walks over.
        fire(bench, event, 1).unwrap();
    })));
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [2, 4, 1, 2, 4]);
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [2, 4]);
}

#[test]
fn a_program_may_unload_itself() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 0);
    let does = load(&bench, "tracepoint", &format!("call do#{DO}\nr1 = 1\ncall mark#{MARK}\nr0 = 0\nexit"));
    bench.attach(event, does, 0).unwrap();
    assert!(matches!(bench.unload(does, false), Err(BenchError::Attached { links: 1, .. })));
    DEED.set(Some(Box::new(move |bench| bench.unload(does, true).unwrap())));
    fire(&bench, event, 0).unwrap();
    assert_eq!((taken(&marks), event.links()), (vec![1], 0), "the run goes on to its end");
    assert!(matches!(bench.run_program(does, &mut [], ByHand::default(), None), Err(BenchError::NoProgram { .. })));
    assert!(matches!(bench.attach(event, does, 0), Err(BenchError::NoProgram { .. })));
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [0_u64; 0]);
}

#[test]
fn a_fault_stops_one_program_and_no_other() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 0);
    let faulty = load(&bench, "tracepoint", "r0 = *(u64 *)(r1 +8)\nif r0 != 7 goto +1\nr0 = *(u64 *)(r0 +0)\nexit");
    bench.attach(event, marker(&bench, 1), 0).unwrap();
    bench.attach(event, faulty, 0).unwrap();
    bench.attach(event, marker(&bench, 2), 0).unwrap();
    bench.set_enabled(event, true);
    let error = *fire(&bench, event, 0).unwrap_err();
    let BenchError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!(fault.insn, 2);
    assert_eq!(taken(&marks), [1, 2]);
    let counts = bench.program(faulty).unwrap().counts();
    assert_eq!((counts.runs, counts.faults, counts.instructions), (1, 1, Some(3)));
    assert_eq!((event.fired(), bench.with_trace(|trace, _| trace.len())), (1, 1), "the event has happened");

    // In a batch, the events before it have gone through.
    let (a, b) = ([1, 2, 7, 3], [0; 4]);
    let fired = bench.fire_rows(event, &[Column::U64(&a), Column::U64(&b)], None, None, &mut || Ok(())).unwrap();
    assert_eq!(fired.events, 2);
    assert!(matches!(fired.error, Some(BenchError::Fault(_))));
    assert_eq!(taken(&marks), [1, 2, 1, 2, 1, 2]);
    // And the bench goes on.
    let fired = bench.fire_rows(event, &[Column::U64(&[1, 2]), Column::U64(&[0; 2])], None, None, &mut || Ok(()));
    assert_eq!(fired.unwrap().events, 2);
}

#[test]
fn a_batch_can_be_ended_and_counts_what_went_through() {
    let (bench, _) = bench();
    let event = tracepoint(&bench, 0);
    let rows = 100_000;
    let (a, b) = (vec![1; rows], vec![2; rows]);
    let columns = [Column::U64(&a), Column::U64(&b)];
    let mut left = 2;
    let fired = bench.fire_rows(event, &columns, None, None, &mut || {
        left -= 1;
        if left == 0 { Err(BenchError::Closed) } else { Ok(()) }
    });
    let fired = fired.unwrap();
    assert!(matches!(fired.error, Some(BenchError::Closed)));
    assert_eq!(fired.events as u64, event.fired());
    assert!(fired.events > 0 && fired.events < rows);
    // A program that takes long is asked after more often.
    let slow = load(&bench, "tracepoint", "r1 = 100000\nr1 += -1\nif r1 != 0 goto -2\nr0 = 0\nexit");
    bench.attach(event, slow, 0).unwrap();
    let fired = bench.fire_rows(event, &columns, None, None, &mut || Err(BenchError::Closed)).unwrap();
    assert!(fired.events < 1000, "{}", fired.events);
    // Mixed batches likewise.
    let before = event.fired();
    let order = vec![0; 100];
    let (times, cpus) = (vec![5; 100], vec![0; 100]);
    let columns = vec![Column::U64(&a[..100]), Column::U64(&b[..100])];
    let fired = bench.fire_mixed(&[(event, columns)], &order, &times, &cpus, &mut || Err(BenchError::Closed)).unwrap();
    assert!(matches!(fired.error, Some(BenchError::Closed)));
    assert_eq!(fired.events as u64, event.fired() - before);
}

#[test]
fn mixed_batches_keep_their_order() {
    let (bench, marks) = bench();
    let of = |number: u64| {
        load(&bench, "tracepoint", &format!("r1 = *(u64 *)(r1 +8)\nr1 += {number}\ncall mark#{MARK}\nr0 = 0\nexit"))
    };
    bench.attach(tracepoint(&bench, 0), of(100), 0).unwrap();
    bench.attach(tracepoint(&bench, 1), of(200), 0).unwrap();
    let (a, b, zero) = ([1, 2, 3], [4, 5], [0; 3]);
    let batches = [
        (tracepoint(&bench, 0), vec![Column::U64(&a), Column::U64(&zero)]),
        (tracepoint(&bench, 1), vec![Column::U64(&b), Column::U64(&zero[..2])]),
    ];
    let order = [1, 0, 0, 1, 0];
    let fired = bench.fire_mixed(&batches, &order, &[9; 5], &[0, 1, 2, 3, 0], &mut || Ok(())).unwrap();
    assert!(fired.error.is_none() && fired.events == 5);
    assert_eq!(taken(&marks), [204, 101, 102, 205, 103]);
    // A CPU that there is not ends it there.
    let fired = bench.fire_mixed(&batches, &order, &[9; 5], &[0, 1, 4, 3, 0], &mut || Ok(())).unwrap();
    assert!(matches!(fired.error, Some(BenchError::Clock(_))));
    assert_eq!((fired.events, taken(&marks)), (2, vec![204, 101]));
}

struct Ear(Mutex<Vec<u8>>, u64);

impl Listener for Ear {
    fn event(&self, _: &Tracepoint, _: &Stamp, record: &[u8]) -> Result<(), BenchError> {
        self.0.lock().unwrap().push(record[8]);
        BENCH.with_borrow(|bench| {
            let bench = bench.as_ref().unwrap();
            // Once: the second time it is gone.
            assert!(bench.stop_listening(tracepoint(bench, 0), self.1));
        });
        if record[8] == 7 { Ok(()) } else { Err(BenchError::Closed) }
    }
}

#[test]
fn listeners_hear_an_event_after_its_programs_and_may_go() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 0);
    bench.attach(event, marker(&bench, 1), 0).unwrap();
    // Numbers of links and listeners are given in turn.
    let number = bench.attach(event, marker(&bench, 2), 0).unwrap() + 1;
    let ear = Arc::new(Ear(Mutex::default(), number));
    assert_eq!(bench.listen(event, ear.clone()), number);
    fire(&bench, event, 0).unwrap();
    assert_eq!((taken(&marks), ear.0.lock().unwrap().clone()), (vec![1, 2], vec![7]));
    fire(&bench, event, 0).unwrap();
    assert_eq!(ear.0.lock().unwrap().len(), 1);
    assert!(!bench.stop_listening(event, number));
    // An error of a listener is the event's.
    let number = bench.listen(event, Arc::new(Ear(Mutex::default(), number + 1)));
    assert_eq!(number, ear.1 + 1);
    let fired = bench.fire_rows(event, &[Column::U64(&[5, 5]), Column::U64(&[0; 2])], None, None, &mut || Ok(()));
    let fired = fired.unwrap();
    assert!(matches!(fired.error, Some(BenchError::Closed)) && fired.events == 0);
}

#[test]
fn each_type_gets_its_context() {
    let (bench, marks) = bench();
    let event = tracepoint(&bench, 1);
    let marking = |loads: &str| format!("r6 = r1\n{loads}\ncall mark#{MARK}\nr0 = 0\nexit");
    for (program_type, loads) in [
        ("tracepoint", "r1 = *(u64 *)(r6 +8)\nr2 = *(u64 *)(r6 +16)\nr1 *= 10\nr1 += r2"),
        ("raw_tracepoint", "r1 = *(u64 *)(r6 +0)\nr2 = *(u64 *)(r6 +8)\nr1 *= 10\nr1 += r2"),
        // A TraceContext: id at 0, arguments from 24 on; and writable.
        ("axvisor", "r1 = *(u64 *)(r6 +24)\n*(u64 *)(r6 +24) = 1\nr2 = *(u64 *)(r6 +32)\nr1 *= 10\nr1 += r2"),
        ("axvisor", "r1 = *(u32 *)(r6 +0)\nr1 += 1000\nr2 = *(u64 *)(r6 +24)\nr1 += r2"),
    ] {
        let program = load(&bench, program_type, &marking(loads));
        bench.attach(event, program, 0).unwrap();
    }
    fire(&bench, event, 0).unwrap();
    assert_eq!(taken(&marks), [79, 79, 79, 1009]);
    // The header is not for tracepoint programs, nor is any context but the TraceContext to be written.
    for (program_type, access) in [
        ("tracepoint", "r0 = *(u32 *)(r1 +4)"),
        ("tracepoint", "*(u64 *)(r1 +8) = 1"),
        ("raw_tracepoint", "*(u64 *)(r1 +0) = 1"),
    ] {
        let program = load(&bench, program_type, &format!("{access}\nr0 = 0\nexit"));
        let id = bench.attach(tracepoint(&bench, 2), program, 0).unwrap();
        let error = fire(&bench, tracepoint(&bench, 2), 0).unwrap_err();
        assert!(matches!(*error, BenchError::Fault(_)), "{program_type} {access}");
        bench.detach(tracepoint(&bench, 2), id).unwrap();
    }
}

#[test]
fn maps_of_programs_and_bench_are_the_same() {
    let (bench, _) = bench();
    let spec = MapSpec {
        name: "COUNTS".to_owned(),
        kind: MapKind::PercpuArray,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        extra: 0,
    };
    let map = bench.create_map(spec).unwrap();
    let text = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[9]\ncall bpf_map_lookup_elem#1\nif r0 == 0 goto +2\n\
                r1 = 1\nlock *(u64 *)(r0 +0) += r1\nr0 = 0\nexit";
    let code: Vec<u8> = assemble(text).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    let program = bench.load_bytes("count", &code, "tracepoint", "GPL", &[(9, map)]).unwrap();
    bench.attach(tracepoint(&bench, 0), program, 0).unwrap();
    let (a, b) = ([1; 10], [2; 10]);
    let cpus = [0, 1, 1, 3, 3, 3, 0, 1, 3, 3];
    let columns = [Column::U64(&a), Column::U64(&b)];
    bench.fire_rows(tracepoint(&bench, 0), &columns, None, Some(&cpus), &mut || Ok(())).unwrap();
    let mut values = Vec::new();
    bench.map(map).unwrap().lookup_user(&[0; 4], 0, &mut values).unwrap();
    let values: Vec<u64> = values.chunks(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).collect();
    assert_eq!(values, [2, 3, 0, 5]);
}

#[test]
fn what_is_recorded_by_hand_is_recorded_and_not_fired() {
    let (bench, _) = bench();
    let e0 = tracepoint(&bench, 0);
    let program = load(&bench, "tracepoint", "r0 = 0\nexit");
    bench.attach(e0, program, 0).unwrap();
    bench.with_statistics(e0, |statistics| statistics.record_duration(20, 500));
    assert_eq!(bench.statistics(e0).total_ns(), 500);

    let mut record = vec![0; e0.spec().record_size()];
    e0.spec().encode(-7, &[Value::Int(1), Value::Int(2)], &mut record).unwrap();
    bench.clock().set_cpu(2).unwrap();
    bench.push_record(&record, Some(*b"idle\0\0\0\0\0\0\0\0\0\0\0\0")).unwrap();
    let Err(BenchError::Event(error)) = bench.push_record(&record[..9], None) else { panic!("9 bytes are no record") };
    assert!(matches!(*error, EventError::RecordSize { found: 9, .. }));
    let stamps: Vec<Stamp> = bench.with_trace(|trace, _| trace.iter().map(|entry| entry.stamp).collect());
    let [stamp] = stamps[..] else { panic!("{stamps:?}") };
    assert_eq!((stamp.time_ns, stamp.cpu, stamp.pid, &stamp.comm[..5]), (1_000_000_000, 2, -7, &b"idle\0"[..]));
    assert_eq!((e0.fired(), counts(&bench, program)), (0, (0, 0)));
}
