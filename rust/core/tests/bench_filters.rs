//! What a filter of a bench keeps out, and what it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use axebpf_core::bench::{Bench, BenchError, Listener, Options, Tracepoint};
use axebpf_core::event::{Column, FieldSpec, FilterProblem, Slot, Stamp, TracepointSpec, Value};
use axebpf_core::isa::{Insn, assemble};

/// `vmm:a` has the field `n`, `vmm:b` and `vmm:c` have `m` too, `vmm:c` a narrow one.
fn bench() -> Bench {
    let bench = Bench::new(Options::default()).unwrap();
    let field = |(name, ty): (&str, &str)| FieldSpec::new(name, ty.parse().unwrap());
    let tracepoints: [(&str, &[(&str, &str)]); 3] =
        [("vmm:a", &[("n", "u32")]), ("vmm:b", &[("n", "u32"), ("m", "u64")]), ("vmm:c", &[("n", "u32"), ("m", "u8")])];
    for (id, (name, fields)) in (1..).zip(tracepoints) {
        bench.define(TracepointSpec::new(name, id, fields.iter().copied().map(field).collect()).unwrap()).unwrap();
    }
    bench
}

fn tracepoint<'b>(bench: &'b Bench, name: &str) -> &'b Tracepoint {
    bench.tracepoint_named(name).unwrap()
}

/// Fires `vmm:a` with these numbers, as a batch.
fn fire(bench: &Bench, numbers: &[u32]) {
    let fired = bench.fire_rows(tracepoint(bench, "vmm:a"), &[Column::U32(numbers)], None, None, &mut || Ok(()));
    assert_eq!(fired.unwrap().events, numbers.len());
}

/// The numbers in the trace.
fn traced(bench: &Bench) -> Vec<u32> {
    bench.with_trace(|trace, _| {
        let numbers = trace.iter().map(|entry| match entry.payload {
            axebpf_core::event::Payload::Record(bytes) => u32::from_le_bytes(*bytes[8..].first_chunk().unwrap()),
            axebpf_core::event::Payload::Print(text) => panic!("{text}"),
        });
        numbers.collect()
    })
}

fn program(bench: &Bench) -> usize {
    let code: Vec<u8> = assemble("r0 = 0\nexit").unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    bench.load_bytes("test", &code, "tracepoint", "GPL", &[]).unwrap()
}

/// Numbers of the events that it has seen.
#[derive(Default)]
struct Ear(Mutex<Vec<u32>>);

impl Listener for Ear {
    fn event(&self, _: &Tracepoint, _: &Stamp, record: &[u8]) -> Result<(), BenchError> {
        self.0.lock().unwrap().push(u32::from_le_bytes(*record[8..].first_chunk().unwrap()));
        Ok(())
    }
}

#[test]
fn a_filter_gates_the_trace_and_nothing_else() {
    let bench = bench();
    let a = tracepoint(&bench, "vmm:a");
    let program = program(&bench);
    let ear = Arc::new(Ear::default());
    bench.attach(a, program, 0).unwrap();
    bench.listen(a, ear.clone());
    bench.set_enabled(a, true);
    bench.set_filter(a, Some("n > 2")).unwrap();
    fire(&bench, &[1, 2, 3, 4]);
    assert_eq!(traced(&bench), [3, 4]);
    assert_eq!((a.fired(), bench.statistics(a).count()), (4, 4));
    assert_eq!(bench.program(program).unwrap().counts().runs, 4);
    assert_eq!(*ear.0.lock().unwrap(), [1, 2, 3, 4]);
    bench.set_filter(a, None).unwrap();
    fire(&bench, &[1]);
    bench.set_enabled(a, false);
    fire(&bench, &[5]);
    assert_eq!(traced(&bench), [3, 4, 1]);
}

#[test]
fn a_link_and_a_listener_have_filters_of_their_own() {
    let bench = bench();
    let a = tracepoint(&bench, "vmm:a");
    let (all, some) = (program(&bench), program(&bench));
    let ear = Arc::new(Ear::default());
    bench.attach_filtered(a, some, 0, Some("n & 1 && cpu == 0")).unwrap();
    bench.attach_filtered(a, all, 0, None).unwrap();
    bench.listen_filtered(a, ear.clone(), Some("n >= 3 && comm == 'axvisor'")).unwrap();
    fire(&bench, &[1, 2, 3, 4]);
    let mut record = [0; 12];
    a.spec().encode(0, &[Value::Int(7)], &mut record).unwrap();
    bench.fire(a, &bench.stamp(None, Some(1)).unwrap(), &record).unwrap();
    let runs = |index| bench.program(index).unwrap().counts().runs;
    assert_eq!((runs(some), runs(all)), (2, 5));
    assert_eq!(*ear.0.lock().unwrap(), [3, 4, 7]);
}

#[test]
fn a_filter_that_cannot_be_changes_nothing() {
    let bench = bench();
    let a = tracepoint(&bench, "vmm:a");
    bench.set_filter(a, Some("n > 2")).unwrap();
    let error = bench.set_filter(a, Some("n > 2 && k")).unwrap_err();
    assert!(matches!(error, BenchError::Filter(error) if error.position == 9));
    assert_eq!(a.filter().as_deref(), Some("n > 2"));
    assert!(bench.attach_filtered(a, program(&bench), 0, Some("n")).is_err());
    assert!(bench.listen_filtered(a, Arc::new(Ear::default()), Some("n")).is_err());
    assert_eq!(a.links(), 0);
    // The bench has 4 CPUs.
    assert!(bench.set_filter(a, Some("cpu & CPUS{4}")).is_err());
    for clear in [Some("0"), Some(" 0\n"), None] {
        bench.set_filter(a, Some("n > 2")).unwrap();
        bench.set_filter(a, clear).unwrap();
        assert_eq!(a.filter(), None);
    }
}

#[test]
fn of_many_tracepoints_those_take_a_filter_that_can() {
    let bench = bench();
    let slots = bench.sorted();
    let filters = || slots.iter().map(|&slot| bench.tracepoint(slot).unwrap().filter()).collect::<Vec<_>>();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(bench.set_filters(&slots, Some("n == 1")).unwrap(), slots);
    assert_eq!(bench.set_filters(&slots, Some("m == 300")).unwrap(), [Slot(1)]);
    assert_eq!(filters(), [text("n == 1"), text("m == 300"), text("n == 1")]);
    let problem = |text: &str| match bench.set_filters(&slots, Some(text)).unwrap_err() {
        BenchError::Filter(error) => (error.tracepoint, *error.problem),
        error => panic!("{error}"),
    };
    // The first that is about more than a field that is not there.
    assert!(matches!(problem("m == -1"), (name, FilterProblem::OutOfRange { .. }) if name == "vmm:b"));
    assert!(matches!(problem("k == -1"), (name, FilterProblem::UnknownField { .. }) if name == "vmm:a"));
    assert_eq!(filters(), [text("n == 1"), text("m == 300"), text("n == 1")]);
    let error = bench.set_filters(&[slots[0], Slot(9)], Some("n == 2")).unwrap_err();
    assert!(matches!(error, BenchError::NoTracepoint { slot: 9 }));
    assert_eq!(bench.set_filters(&slots, None).unwrap(), slots);
    assert_eq!(filters(), [None, None, None]);
}
