//! Runs that are kept: what each came to, its first instructions, and faults that stop nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axebpf_core::bench::{Bench, Options, Run};
use axebpf_core::event::{Column, FieldSpec, TracepointSpec};
use axebpf_core::fault::Fault;
use axebpf_core::isa::{Insn, assemble};

/// A bench with `vmm:e`, whose one field is a u64.
fn bench() -> Bench {
    let bench = Bench::new(Options::default()).unwrap();
    let fields = vec![FieldSpec::new("n", "u64".parse().unwrap())];
    bench.define(TracepointSpec::new("vmm:e", 1, fields).unwrap()).unwrap();
    bench
}

fn attach(bench: &Bench, program_type: &str, text: &str) -> usize {
    let code: Vec<u8> = assemble(text).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    let program = bench.load_bytes("test", &code, program_type, "GPL", &[]).unwrap();
    bench.attach(bench.tracepoint_named("vmm:e").unwrap(), program, 0).unwrap();
    program
}

/// Fires an event for each number; returns how many there were.
fn fire(bench: &Bench, numbers: &[u64]) -> usize {
    let tracepoint = bench.tracepoint_named("vmm:e").unwrap();
    let fired = bench.fire_rows(tracepoint, &[Column::U64(numbers)], None, None, &mut || Ok(())).unwrap();
    assert!(fired.error.is_none());
    fired.events
}

/// Program, and the return value or the instruction at which it was stopped.
fn ends(runs: &[Run]) -> Vec<(usize, Result<u64, usize>)> {
    runs.iter().map(|run| (run.program, run.result.clone().map_err(|fault| fault.insn))).collect()
}

/// Returns the field; stopped at instruction 2 where it is 5.
const FIVE: &str = "r0 = *(u64 *)(r1 +8)\nif r0 != 5 goto +1\nr0 = *(u64 *)(r0 +0)\nexit";

#[test]
fn what_each_run_came_to_is_kept_in_order_and_a_fault_stops_nothing() {
    let bench = bench();
    let five = attach(&bench, "tracepoint", FIVE);
    let raw = attach(&bench, "raw_tracepoint", "r0 = *(u64 *)(r1 +0)\nr0 += 1\nexit");
    let axvisor = attach(&bench, "axvisor", "r0 = *(u64 *)(r1 +24)\nr0 += 2\nexit");
    assert_eq!(fire(&bench, &[1]), 1);
    assert_eq!(bench.take_runs(), [], "nobody has asked yet");

    bench.keep_runs(0);
    assert_eq!(fire(&bench, &[4, 5]), 2);
    let runs = bench.take_runs();
    let expected = [(five, Ok(4)), (raw, Ok(5)), (axvisor, Ok(6)), (five, Err(2)), (raw, Ok(6)), (axvisor, Ok(7))];
    assert_eq!(ends(&runs), expected);
    assert!(matches!(&runs[3].result, Err(fault) if matches!(fault.fault, Fault::Memory { address: 5, size: 8, .. })));
    assert!(runs.iter().all(|run| run.steps.is_empty()));
    // They count as any other.
    let counts = bench.program(five).unwrap().counts();
    assert_eq!((counts.runs, counts.faults, counts.instructions), (3, 1, Some(3 + 3 + 3)));
    assert_eq!(bench.take_runs(), []);
}

#[test]
fn the_first_instructions_of_a_run_are_kept_where_they_are_wanted() {
    let bench = bench();
    for (program_type, text) in [
        ("tracepoint", "r6 = *(u64 *)(r1 +8)\nr0 = 3\nr0 += r6\nexit"),
        ("raw_tracepoint", "r6 = *(u64 *)(r1 +0)\nr0 = 3\nr0 += r6\nexit"),
        ("axvisor", "r6 = *(u64 *)(r1 +24)\nr0 = 3\nr0 += r6\nexit"),
    ] {
        attach(&bench, program_type, text);
    }
    bench.keep_runs(3);
    fire(&bench, &[40]);
    for run in bench.take_runs() {
        assert_eq!(run.result, Ok(43));
        assert_eq!(run.steps.iter().map(|step| (step.insn, step.depth)).collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
        assert_eq!([run.steps[1].registers[6], run.steps[2].registers[0]], [40, 3]);
    }
    bench.keep_runs(0);
    fire(&bench, &[40]);
    assert!(bench.take_runs().iter().all(|run| run.steps.is_empty()));
}
