//! What an event costs: its encoding, and its way through a bench with and without a program.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cpu_time;

use std::hint::black_box;

use axebpf_core::bench::{Bench, Options};
use axebpf_core::event::{Column, FieldSpec, Role, Stamp, TracepointSpec, Value};
use axebpf_core::isa::assemble;
use axebpf_core::map::{MapKind, MapSpec};
use cpu_time::{CpuTime, each};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// Events of a batch.
const ROWS: usize = 10_000;

/// Counts the exits of each reason in the array that is descriptor 1.
const COUNT: &str = "
    r1 = *(u32 *)(r1 +16)
    *(u32 *)(r10 -4) = r1
    r2 = r10
    r2 += -4
    r1 = map[1]
    call bpf_map_lookup_elem#1
    if r0 == 0x0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
out:
    r0 = 0
    exit
";

fn vcpu_run_exit() -> TracepointSpec {
    let mut fields = ["vm_id", "vcpu_id", "exit_reason"].map(|name| FieldSpec::new(name, "u32".parse().unwrap()));
    let duration = FieldSpec { role: Role::Duration, ..FieldSpec::new("duration_ns", "u64".parse().unwrap()) };
    let fields = fields.iter_mut().map(|field| field.clone()).chain([duration]).collect();
    TracepointSpec::new("vmm:vcpu_run_exit", 21, fields).unwrap()
}

fn bench(statistics: bool, program: Option<(&str, &str)>) -> Bench {
    let bench = Bench::new(Options { statistics, ..Options::default() }).unwrap();
    bench.define(vcpu_run_exit()).unwrap();
    if let Some((program_type, text)) = program {
        let spec = MapSpec {
            name: "EXITS".to_owned(),
            kind: MapKind::Array,
            key_size: 4,
            value_size: 8,
            max_entries: 64,
            flags: 0,
            extra: 0,
        };
        let map = bench.create_map(spec).unwrap();
        let code: Vec<u8> = assemble(text).unwrap().into_iter().flat_map(axebpf_core::isa::Insn::to_bytes).collect();
        let program = bench.load_bytes("count", &code, program_type, "GPL", &[(1, map)]).unwrap();
        bench.attach(bench.tracepoint_named("vmm:vcpu_run_exit").unwrap(), program, 0).unwrap();
    }
    bench
}

struct Columns {
    vm: Vec<u32>,
    vcpu: Vec<u32>,
    reason: Vec<u32>,
    duration: Vec<u64>,
}

impl Columns {
    fn new() -> Columns {
        let rows = 0..ROWS as u32;
        Columns {
            vm: rows.clone().map(|row| row % 3).collect(),
            vcpu: rows.clone().map(|row| row % 8).collect(),
            reason: rows.clone().map(|row| row.wrapping_mul(2_654_435_761) >> 27).collect(),
            duration: rows.map(|row| u64::from(row.wrapping_mul(2_654_435_761) >> 12)).collect(),
        }
    }

    fn as_columns(&self) -> [Column<'_>; 4] {
        [Column::U32(&self.vm), Column::U32(&self.vcpu), Column::U32(&self.reason), Column::U64(&self.duration)]
    }
}

fn encode(criterion: &mut Criterion<CpuTime>) {
    let spec = vcpu_run_exit();
    let mut record = vec![0; spec.record_size()];
    criterion.bench_function("encode/one", |b| {
        let values = [1, 2, 3, 4000].map(Value::Int);
        b.iter(|| spec.encode(0, black_box(&values), &mut record).unwrap());
    });
    let columns = Columns::new();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(each(ROWS));
    group.bench_function("columns", |b| {
        b.iter_batched(
            || spec.batch(0, &columns.as_columns()).unwrap(),
            |mut batch| {
                for first in (0..batch.rows()).step_by(batch.chunk_rows()) {
                    black_box(batch.chunk(first));
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn fire(criterion: &mut Criterion<CpuTime>) {
    let spec = vcpu_run_exit();
    let mut record = vec![0; spec.record_size()];
    spec.encode(0, &[1, 2, 3, 4000].map(Value::Int), &mut record).unwrap();
    let columns = Columns::new();
    let exit = "r0 = 0\nexit";
    let cases = [
        ("no statistics, no program", false, None),
        ("no program", true, None),
        ("empty program", true, Some(("tracepoint", exit))),
        ("counting program", true, Some(("tracepoint", COUNT))),
        ("empty raw_tracepoint", true, Some(("raw_tracepoint", exit))),
    ];
    for (name, statistics, program) in cases {
        let bench = bench(statistics, program);
        let tracepoint = bench.tracepoint_named("vmm:vcpu_run_exit").unwrap();
        let stamp: Stamp = bench.stamp(None, None).unwrap();
        criterion.bench_function(&format!("fire one/{name}"), |b| {
            b.iter(|| bench.fire(tracepoint, &stamp, black_box(&record)).unwrap());
        });
        let mut group = criterion.benchmark_group("fire columns");
        group.throughput(each(ROWS));
        group.bench_function(name, |b| {
            b.iter(|| {
                let fired = bench.fire_rows(tracepoint, &columns.as_columns(), None, None, &mut || Ok(())).unwrap();
                assert_eq!(fired.events, ROWS);
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = cpu_time::criterion();
    targets = encode, fire
}
criterion_main!(benches);
