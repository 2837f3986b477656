//! Maps and programs of a bench come and go: who keeps a map, what a program loaded once more shares; what a CPU is
//! doing when nobody says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Weak};

use axebpf_core::bench::{Bench, BenchError, ByHand, Options};
use axebpf_core::helper::VmContext;
use axebpf_core::isa::{Insn, assemble};
use axebpf_core::map::{Map, MapKind, MapSpec};

fn bench() -> Bench {
    Bench::new(Options::default()).unwrap()
}

fn array(bench: &Bench) -> (usize, Weak<dyn Map>) {
    let (kind, name) = (MapKind::Array, "COUNT".to_owned());
    let spec = MapSpec { name, kind, key_size: 4, value_size: 8, max_entries: 1, flags: 0, extra: 0 };
    let index = bench.create_map(spec).unwrap();
    let map = bench.map(index).unwrap();
    // SAFETY: nobody calls the map by this.
    let weak = Arc::downgrade(unsafe { map.shared() });
    (index, weak)
}

fn load(bench: &Bench, text: &str, maps: &[(i32, usize)]) -> usize {
    let code: Vec<u8> = assemble(text).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    bench.load_bytes("program", &code, "axvisor", "GPL", maps).unwrap()
}

fn run(bench: &Bench, program: usize) -> u64 {
    bench.run_program(program, &mut [], ByHand::default(), None).unwrap().result.unwrap()
}

/// Adds 1 to the only value of the map, and returns it.
const COUNT: &str = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[0]\ncall bpf_map_lookup_elem#1\nr6 = r0\nr0 = 1\n\
                     if r6 == 0 goto +3\nr1 = 1\nlock *(u64 *)(r6 +0) += r1\nr0 = *(u64 *)(r6 +0)\nexit";

#[test]
fn a_map_lives_as_long_as_the_last_program_that_uses_it() {
    let bench = bench();
    let (map, weak) = array(&bench);
    let program = load(&bench, COUNT, &[(0, map)]);
    let again = bench.load_again(program).unwrap();
    bench.remove_map(map);
    assert!(bench.map(map).is_none());
    assert_eq!([run(&bench, program), run(&bench, again)], [1, 2]);
    bench.unload(program, false).unwrap();
    assert_eq!(run(&bench, again), 3);
    assert!(weak.upgrade().is_some());
    bench.unload(again, false).unwrap();
    assert!(weak.upgrade().is_none());
    // Nobody gets its number.
    assert_ne!(array(&bench).0, map);
}

#[test]
fn a_program_is_not_loaded_with_a_map_that_is_gone() {
    let bench = bench();
    let (map, _) = array(&bench);
    bench.remove_map(map);
    let code: Vec<u8> = assemble(COUNT).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    let error = bench.load_bytes("program", &code, "axvisor", "GPL", &[(0, map)]).unwrap_err();
    assert!(matches!(error, BenchError::MissingMap { .. }), "{error}");
    bench.remove_map(99);
}

#[test]
fn a_program_loaded_again_has_counters_of_its_own() {
    let bench = bench();
    let program = load(&bench, "r0 = 7\nexit", &[]);
    let again = bench.load_again(program).unwrap();
    assert_eq!(run(&bench, again), 7);
    let runs = |index: usize| bench.program(index).unwrap().counts().runs;
    assert_eq!([runs(program), runs(again)], [0, 1]);
    bench.unload(program, false).unwrap();
    for gone in [program, 99] {
        assert!(matches!(bench.load_again(gone), Err(BenchError::NoProgram { index }) if index == gone));
    }
}

#[test]
fn each_cpu_has_its_vm() {
    let bench = bench();
    let program = load(&bench, "call bpf_get_exit_reason#102\nexit", &[]);
    for cpu in 0..4 {
        bench.set_vm_context(cpu, VmContext { vm_id: 1, vcpu_id: cpu, exit_reason: 10 + u64::from(cpu) }).unwrap();
    }
    for cpu in 0..4 {
        let how = ByHand { cpu: Some(cpu), ..ByHand::default() };
        let ran = bench.run_program(program, &mut [], how, None).unwrap();
        assert_eq!(ran.result.unwrap(), 10 + u64::from(cpu));
        assert_eq!(bench.vm_context(cpu).unwrap().vcpu_id, cpu);
    }
    assert!(matches!(bench.set_vm_context(4, VmContext::default()), Err(BenchError::Clock(_))));
    assert!(matches!(bench.vm_context(4), Err(BenchError::Clock(_))));
}

#[test]
fn an_empty_context_is_at_0() {
    let bench = bench();
    assert_eq!(run(&bench, load(&bench, "r0 = r1\nexit", &[])), 0);
}
