//! What a filter costs an event, beside tp-lexer's: the same expressions over the same records, in the same run.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cpu_time;

use std::hint::black_box;
use std::sync::Arc;

use axebpf_core::event::{Column, FieldSpec, Filter, Stamp, TracepointSpec, Value};
use cpu_time::{CpuTime, each};
use criterion::{Criterion, criterion_group, criterion_main};
use tp_lexer::{BufContext, FieldClassifier, Schema, compile_with_schema};

/// Records that an iteration asks about, so that no answer is known beforehand.
const RECORDS: usize = 1024;

const EXPRESSIONS: [(&str, &str); 5] = [
    ("one term", "duration_ns > 1000"),
    ("two terms", "duration_ns > 1000 && vm_id == 1"),
    ("mask and term", "exit_reason & 0x3 == 2 || vm_id == 1"),
    ("four terms", "(vm_id == 1 || vm_id == 2) && duration_ns > 1000 && exit_reason != 3"),
    ("pattern", "who ~ 'vcpu*1'"),
];

fn spec() -> Arc<TracepointSpec> {
    let fields =
        [("vm_id", "u32"), ("vcpu_id", "u32"), ("exit_reason", "u32"), ("duration_ns", "u64"), ("who", "[char; 16]")];
    let fields = fields.map(|(name, ty)| FieldSpec::new(name, ty.parse().unwrap())).to_vec();
    Arc::new(TracepointSpec::new("vmm:vcpu_run_exit", 21, fields).unwrap())
}

fn schema(spec: &TracepointSpec) -> Schema {
    let fields = spec.fields().iter().map(|field| {
        let ty = match field.ty.size() {
            4 => u32::FIELD_TYPE,
            8 => u64::FIELD_TYPE,
            _ => tp_lexer::FieldType::Bytes,
        };
        (&*field.name.clone().leak(), ty, field.offset, field.ty.size() as usize)
    });
    Schema::new(fields.collect::<Vec<_>>().leak())
}

/// Numbers as a linear congruence gives them.
fn numbers() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(1_u32), |n| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))).map(|n| n >> 16)
}

fn records(spec: &TracepointSpec) -> Vec<u8> {
    let mut numbers = numbers();
    let mut next = |below: u32| i128::from(numbers.next().unwrap() % below);
    let mut records = vec![0; RECORDS * spec.record_size()];
    for record in records.chunks_exact_mut(spec.record_size()) {
        let name = format!("vcpu{}/{}", next(9), next(4));
        let values = [next(4), next(4), next(13), next(2000)].map(Value::Int);
        let values = [&values[..], &[Value::Bytes(name.as_bytes())]].concat();
        spec.encode(0, &values, record).unwrap();
    }
    records
}

fn records_one_by_one(criterion: &mut Criterion<CpuTime>) {
    let spec = spec();
    let schema = schema(&spec);
    let records = records(&spec);
    for (name, text) in EXPRESSIONS {
        let mut group = criterion.benchmark_group(name);
        group.throughput(each(RECORDS));
        let ours = Filter::compile(&spec, text, 4).unwrap();
        let theirs = compile_with_schema(text, schema).unwrap();
        let stamp = Stamp::default();
        let pass = |record: &[u8]| ours.matches(&spec.record(record).unwrap(), &stamp);
        let records = || records.chunks_exact(spec.record_size());
        let count = records().filter(|record| pass(record)).count();
        assert_eq!(records().filter(|record| theirs.evaluate(&BufContext::new(record, &schema))).count(), count);
        group.bench_function("ours", |b| {
            b.iter(|| records().filter(|record| pass(black_box(record))).count());
        });
        group.bench_function("tp-lexer", |b| {
            b.iter(|| records().filter(|record| theirs.evaluate(&BufContext::new(black_box(record), &schema))).count());
        });
        group.finish();
    }
}

fn columns(criterion: &mut Criterion<CpuTime>) {
    const ROWS: usize = 100_000;
    let spec = spec();
    let duration: Vec<u64> = numbers().map(|n| u64::from(n % 2000)).take(ROWS).collect();
    let vm: Vec<u32> = numbers().map(|n| n % 4).take(ROWS).collect();
    let columns = [Some(Column::U32(&vm)), None, None, Some(Column::U64(&duration)), None];
    let filter = Filter::compile(&spec, "duration_ns > 1000 && vm_id == 1", 4).unwrap();
    let mut group = criterion.benchmark_group("columns");
    group.throughput(each(ROWS));
    group.bench_function("two terms", |b| {
        b.iter(|| filter.select(black_box(&columns), None, &Stamp::default()).unwrap());
    });
    group.finish();
}

fn compile(criterion: &mut Criterion<CpuTime>) {
    let spec = spec();
    criterion.bench_function("compile/four terms", |b| {
        b.iter(|| Filter::compile(&spec, black_box(EXPRESSIONS[3].1), 4).unwrap());
    });
}

criterion_group! {
    name = benches;
    config = cpu_time::criterion();
    targets = records_one_by_one, columns, compile
}
criterion_main!(benches);
