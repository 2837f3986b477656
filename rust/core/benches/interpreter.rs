//! What instructions cost in the interpreter: loops of arithmetic and of memory, calls of helpers and of functions.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cpu_time;

use std::sync::Arc;

use axebpf_core::engine::{Input, Interpreter, Runnable, Stack};
use axebpf_core::helper::{Host, Task, VmContext};
use axebpf_core::isa::assemble;
use axebpf_core::map::{MapKind, MapSet, MapSpec, create};
use axebpf_core::memory::{Arena, Window};
use axebpf_core::program::{Program, ProgramType};
use cpu_time::{CpuTime, each};
use criterion::{Criterion, criterion_group, criterion_main};

/// Turns of each loop.
const TURNS: usize = 1000;

/// Name, what a turn does (r6 is the context, r7 a number), and functions behind the program.
const LOOPS: [(&str, &str, &str); 8] = [
    ("arithmetic", "r7 *= 31\nr7 ^= r9\nr8 = r7\nr8 >>= 7\nr7 += r8", ""),
    ("arithmetic on 32 bits", "w7 *= 31\nw7 ^= w9\nw8 = w7\nw8 >>= 7\nw7 += w8", ""),
    ("branches", "if r7 & 1 goto +1\nr7 += 3\nr7 >>= 1\nif r7 > 5 goto +1\nr7 = r9", ""),
    ("context", "r8 = r9\nr8 &= 63\nr8 += r6\nr7 = *(u8 *)(r8 +0)\n*(u8 *)(r8 +64) = r7", ""),
    ("stack", "*(u64 *)(r10 -8) = r7\nr8 = *(u32 *)(r10 -8)\n*(u32 *)(r10 -12) = r8\nr7 = *(u64 *)(r10 -16)", ""),
    ("helper", "call bpf_get_smp_processor_id#8\nr7 += r0", ""),
    (
        "array lookup",
        "r8 = r9\nr8 &= 63\n*(u32 *)(r10 -4) = r8\nr2 = r10\nr2 += -4\nr1 = map[0]\ncall bpf_map_lookup_elem#1\n\
         if r0 == 0 goto +2\nr8 = 1\nlock *(u64 *)(r0 +0) += r8",
        "",
    ),
    ("function", "r1 = r7\nr2 = r9\ncall f\nr7 = r0", "f:\nr0 = r1\nr0 += r2\nexit"),
];

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
    fn print(&self, _text: &str) {}
}

fn load(text: &str) -> Box<dyn Runnable> {
    let spec = MapSpec {
        name: "COUNTS".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 64,
        flags: 0,
        extra: 0,
    };
    let program = Program {
        name: "bench".to_owned(),
        section: String::new(),
        program_type: Some(ProgramType::Mem),
        target: None,
        insns: assemble(text).unwrap(),
        maps: vec![spec.name.clone()],
        subprograms: Vec::new(),
        lines: Vec::new(),
        license: "GPL".to_owned(),
    };
    Interpreter.load(Arc::new(program), MapSet(vec![create(spec, 1).unwrap()])).unwrap()
}

fn run(runnable: &dyn Runnable, stack: &mut Stack, context: &Arena) -> u64 {
    let (start, len) = (context.address(), context.len() as u64);
    let window = Window { start, len, writable: true };
    let input = Input { args: [start, len], context: window, extra: &[], host: &Nowhere, budget: 1 << 24, alone: true };
    // SAFETY: the context is an arena, into which nobody holds references.
    unsafe { runnable.run(stack, &input) }.result.unwrap()
}

fn loops(criterion: &mut Criterion<CpuTime>) {
    let (mut stack, context) = (Stack::new(0).unwrap(), Arena::new(256).unwrap());
    let empty = load("r0 = 0\nexit");
    criterion.bench_function("run/empty", |b| b.iter(|| run(&*empty, &mut stack, &context)));
    let mut group = criterion.benchmark_group("turn");
    group.throughput(each(TURNS));
    for (name, turn, functions) in LOOPS {
        let program = load(&format!(
            "r6 = r1\nr7 = 12345\nr8 = 0\nr9 = {TURNS}\nagain:\n{turn}\nr9 += -1\nif r9 != 0 goto again\nr0 = r7\nexit\n\
             {functions}"
        ));
        group.bench_function(name, |b| b.iter(|| run(&*program, &mut stack, &context)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = cpu_time::criterion();
    targets = loops
}
criterion_main!(benches);
