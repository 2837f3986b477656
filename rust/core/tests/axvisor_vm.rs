//! Programs on rbpf, over our maps and kbpf-basic's, with Linux's helpers and AxVisor's.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::rc::Rc;

use axebpf_core::bench::{Bench, BenchError, ByHand, CustomHelpers, EngineKind, HandRun, MapLibrary, Options, Target};
use axebpf_core::event::{FieldSpec, TracepointSpec, Value};
use axebpf_core::fault::Fault;
use axebpf_core::isa::{Insn, assemble};
use axebpf_core::map::{BPF_F_RDONLY_PROG, LruOrder, MapKind, MapSpec};
use axebpf_core::memory::Memory;

const LINUX: Options = Options {
    cpus: 2,
    clock: axebpf_core::clock::ClockMode::Manual,
    seed: 0,
    statistics: false,
    trace_entries: 64,
    budget: 1 << 20,
    target: Target::Linux,
    engine: EngineKind::Interpreter,
    maps: MapLibrary::Own,
    lru: LruOrder::Exact,
    endless: false,
};
const RBPF: Options = Options { engine: EngineKind::Rbpf, ..LINUX };
const KBPF: Options = Options { maps: MapLibrary::Kbpf, ..LINUX };
const RBPF_KBPF: Options = Options { engine: EngineKind::Rbpf, maps: MapLibrary::Kbpf, ..LINUX };
const AXVISOR: Options = Options { target: Target::Axvisor, ..LINUX };
/// Benches on which a program is what it is on Linux.
const LINUX_SIDES: [Options; 4] = [LINUX, RBPF, KBPF, RBPF_KBPF];

fn bench(options: Options) -> Bench {
    let bench = Bench::new(options).unwrap();
    let fields = ["vm_id", "b"].map(|name| FieldSpec::new(name, "u64".parse().unwrap()));
    bench.define(TracepointSpec::new("vmm:e", 7, fields.to_vec()).unwrap()).unwrap();
    bench
}

fn map(bench: &Bench, kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> usize {
    let spec = MapSpec { name: "M".into(), kind, key_size, value_size, max_entries, flags, extra: 0 };
    bench.create_map(spec).unwrap()
}

fn load_as(bench: &Bench, program_type: &str, maps: &[usize], text: &str) -> Result<usize, BenchError> {
    let code: Vec<u8> =
        assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}")).into_iter().flat_map(Insn::to_bytes).collect();
    let maps: Vec<(i32, usize)> = maps.iter().enumerate().map(|(fd, index)| (fd as i32, *index)).collect();
    bench.load_bytes("test", &code, program_type, "GPL", &maps)
}

fn load(bench: &Bench, maps: &[usize], text: &str) -> usize {
    load_as(bench, "axvisor", maps, text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn run(bench: &Bench, program: usize) -> HandRun {
    bench.run_program(program, &mut [0; 64], ByHand::default(), None).unwrap()
}

/// What stopped a run.
fn fault(bench: &Bench, program: usize) -> String {
    run(bench, program).result.unwrap_err().to_string()
}

fn value(bench: &Bench, map: usize, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bench.map(map).unwrap().lookup_user(key, 0, &mut out).unwrap();
    out
}

fn number(bench: &Bench, map: usize, key: u32) -> u64 {
    u64::from_le_bytes(value(bench, map, &key.to_le_bytes()).try_into().unwrap())
}

fn fire(bench: &Bench, values: [i128; 2]) -> Result<(), BenchError> {
    let tracepoint = bench.tracepoint_named("vmm:e").unwrap();
    let spec = tracepoint.spec();
    let mut record = vec![0; spec.record_size()];
    spec.encode(0, &values.map(Value::Int), &mut record).unwrap();
    bench.fire(tracepoint, &bench.stamp(Some(99), None).unwrap(), &record).map_err(|error| *error)
}

/// r0 = the looked-up value of key 0, or the end of the program.
const LOOKUP: &str = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[0]\ncall lookup#1\nif r0 != 0 goto +1\nexit\n";

/// Counts in the value of key 0 through the pointer to it.
fn count() -> String {
    format!("{LOOKUP}r1 = *(u64 *)(r0 +0)\nr1 += 1\n*(u64 *)(r0 +0) = r1\nr0 = 9\nexit")
}

#[test]
fn a_store_through_a_looked_up_value_is_kept_with_linux_helpers_and_lost_with_axvisors() {
    for options in LINUX_SIDES {
        let bench = bench(options);
        let counter = map(&bench, MapKind::Array, 4, 8, 1, 0);
        let program = load(&bench, &[counter], &count());
        for turn in 1..=3 {
            assert_eq!(run(&bench, program).result, Ok(9));
            assert_eq!(number(&bench, counter, 0), turn, "{options:?}");
        }
    }
    let bench = bench(AXVISOR);
    let counter = map(&bench, MapKind::Array, 4, 8, 1, 0);
    let program = load(&bench, &[counter], &count());
    assert_eq!(run(&bench, program).result, Ok(9));
    assert_eq!(number(&bench, counter, 0), 0);
}

#[test]
fn a_program_counts_by_updates_at_events_on_axvisor() {
    let bench = bench(AXVISOR);
    let counts = map(&bench, MapKind::Hash, 4, 8, 4, 0);
    // The key is the tracepoint id of TraceContext; the value counts.
    let text = "r6 = *(u32 *)(r1 +0)\n*(u32 *)(r10 -4) = r6\n*(u64 *)(r10 -16) = 1\nr2 = r10\nr2 += -4\nr1 = map[0]\n\
                call lookup#1\nif r0 == 0 goto +3\nr1 = *(u64 *)(r0 +0)\nr1 += 1\n*(u64 *)(r10 -16) = r1\nr2 = r10\n\
                r2 += -4\nr3 = r10\nr3 += -16\nr1 = map[0]\nr4 = 0\ncall update#2\nexit";
    // Programs of every type get TraceContext there, and attach.
    for program_type in ["axvisor", "tracepoint", "raw_tracepoint", "kprobe"] {
        let program = load_as(&bench, program_type, &[counts], text).unwrap();
        bench.attach(bench.tracepoint_named("vmm:e").unwrap(), program, 0).unwrap();
    }
    for _ in 0..3 {
        fire(&bench, [1, 2]).unwrap();
    }
    assert_eq!(number(&bench, counts, 7), 12);
}

#[test]
fn pointers_to_one_value_are_one_and_see_what_helpers_change() {
    // r6 and r0 point to the value of key 0; each adds 1; then an update sets 40, and r6 adds 2.
    let text = format!(
        "{LOOKUP}r6 = r0\n{LOOKUP}r1 = *(u64 *)(r0 +0)\nr1 += 1\n*(u64 *)(r0 +0) = r1\nr1 = *(u64 *)(r6 +0)\nr1 += 1\n\
         *(u64 *)(r6 +0) = r1\nr7 = *(u64 *)(r0 +0)\n*(u64 *)(r10 -16) = 40\nr2 = r10\nr2 += -4\nr3 = r10\nr3 += -16\n\
         r4 = 0\nr1 = map[0]\ncall update#2\nr1 = *(u64 *)(r6 +0)\nr1 += 2\n*(u64 *)(r6 +0) = r1\nr0 = r7\nexit"
    );
    for options in LINUX_SIDES {
        for kind in [MapKind::Array, MapKind::Hash, MapKind::LruHash] {
            // Only an array's update is in place: of a hash, r6 points to the old element afterwards.
            let bench = bench(options);
            let counter = map(&bench, kind, 4, 8, 2, 0);
            bench.map(counter).unwrap().update_user(&[0; 4], &5_u64.to_le_bytes(), 0).unwrap();
            let program = load(&bench, &[counter], &text);
            assert_eq!(run(&bench, program).result, Ok(7), "{options:?} {kind:?}");
            if kind == MapKind::Array {
                assert_eq!(number(&bench, counter, 0), 42, "{options:?}");
            }
        }
    }
}

#[test]
fn what_a_helper_writes_into_a_looked_up_value_is_in_the_map() {
    // bpf_get_current_comm(value, 8).
    let text = format!("{LOOKUP}r1 = r0\nr2 = 8\ncall comm#16\nr0 = 0\nexit");
    for options in LINUX_SIDES {
        let bench = bench(options);
        let names = map(&bench, MapKind::Array, 4, 8, 1, 0);
        let program = load(&bench, &[names], &text);
        run(&bench, program).result.unwrap();
        assert_eq!(value(&bench, names, &[0; 4]), b"axvisor\0", "{options:?}");
    }
}

#[test]
fn what_was_stored_before_a_fault_stays() {
    let text = format!("{LOOKUP}*(u64 *)(r0 +0) = 3\nr1 = 0\nr0 = *(u64 *)(r1 +0)\nexit");
    for options in LINUX_SIDES {
        let bench = bench(options);
        let kept = map(&bench, MapKind::Array, 4, 8, 1, 0);
        let program = load(&bench, &[kept], &text);
        let told = fault(&bench, program);
        assert!(told.contains("load of 8 bytes at 0x0: no live memory there"), "{told}");
        assert!(told.contains("instruction 10"), "{told}");
        assert_eq!(number(&bench, kept, 0), 3, "{options:?}");
    }
}

#[test]
fn globals_are_memory_that_every_run_has() {
    let text = "r1 = map[0][0]+8\nr2 = *(u32 *)(r1 +0)\nr2 += 1\n*(u32 *)(r1 +0) = r2\nr0 = map[0][0]+0\nr0 = *(u8 *)(r0 +0)\nexit";
    for options in LINUX_SIDES {
        let bench = bench(options);
        let data = map(&bench, MapKind::Array, 4, 12, 1, 0);
        let initial = [5, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0];
        bench.map(data).unwrap().update_user(&[0; 4], &initial, 0).unwrap();
        let program = load(&bench, &[data], text);
        for _ in 0..2 {
            assert_eq!(run(&bench, program).result, Ok(5), "{options:?}");
        }
        assert_eq!(value(&bench, data, &[0; 4])[8], 12, "{options:?}");
        // What the bench changes between two runs, the next one sees.
        bench.map(data).unwrap().update_user(&[0; 4], &[6; 12], 0).unwrap();
        assert_eq!(run(&bench, program).result, Ok(6), "{options:?}");
    }
}

#[test]
fn a_store_into_a_read_only_value_is_a_fault_and_changes_nothing() {
    for options in LINUX_SIDES {
        let bench = bench(options);
        let data = map(&bench, MapKind::Array, 4, 8, 1, BPF_F_RDONLY_PROG);
        // rbpf has no read-only memory: the store is seen at the next call of a helper, or else at the exit.
        let store = "r1 = map[0][0]+3\n*(u8 *)(r1 +0) = 1\n";
        for (behind, seen) in [("r0 = 0\nexit", 4), ("call cpu#8\nexit", 3)] {
            let program = load(&bench, &[data], &format!("{store}{behind}"));
            let fault = run(&bench, program).result.unwrap_err();
            let told = fault.to_string();
            assert!(
                told.contains("at M[0x0]+3: this memory is read-only") || told.contains("at M[0]+3: this"),
                "{told}"
            );
            assert_eq!(fault.insn, if options.engine == EngineKind::Rbpf { seen } else { 2 }, "{options:?}");
            assert_eq!(number(&bench, data, 0), 0, "{options:?}");
        }
    }
}

#[test]
fn a_fault_of_a_helper_names_its_call_among_many() {
    let text = format!("r6 = r1\n{}r1 = r6\nr2 = 8\nr3 = 8\ncall probe_read#4\nexit", "call ns#5\n".repeat(1000));
    for options in [RBPF, RBPF_KBPF, AXVISOR] {
        let bench = bench(options);
        let text = if options.target == Target::Axvisor { text.clone() } else { text.replace("r1 = r6", "r1 = 8") };
        let program = load(&bench, &[], &text);
        assert_eq!(run(&bench, program).result.unwrap_err().insn, 1004, "{options:?}");
    }
    // Beyond 1023 calls, those of a helper share a place, and the first is named.
    let bench = bench(AXVISOR);
    let twice = format!("{}{text}", "r1 = r10\nr1 += -8\nr2 = 8\nr3 = r10\nr3 += -8\ncall probe_read#4\n".repeat(30));
    let program = load(&bench, &[], &twice.replacen("r6 = r1", "r6 = r10\nr6 += -8", 1));
    assert_eq!(run(&bench, program).result.unwrap_err().insn, 5);
}

#[test]
fn an_access_that_begins_at_the_last_byte_of_all_stays_in_memory_of_ours() {
    // rbpf lets 8 bytes pass that begin anywhere in the block that values are copied into: behind the value come 64 bytes
    // for a name, or nothing. Under AddressSanitizer this test says more; where an allocation ends depends on its size.
    for options in [RBPF, RBPF_KBPF, AXVISOR] {
        for value_size in (1..256).step_by(8) {
            let bench = bench(options);
            let values = map(&bench, MapKind::Array, 4, value_size, 1, 0);
            let before = value(&bench, values, &[0; 4]);
            let padded = value_size.next_multiple_of(8);
            let last = if options.target == Target::Axvisor { padded - 1 } else { padded + 63 };
            for (at, inside) in [(last - 6, true), (last, true), (last + 1, false)] {
                let text = format!("{LOOKUP}*(u64 *)(r0 +{at}) = 7\nr0 = *(u64 *)(r0 +{at})\nexit");
                let outcome = run(&bench, load(&bench, &[values], &text)).result;
                assert_eq!(outcome.is_ok(), inside, "{options:?} {value_size} {at}: {outcome:?}");
            }
            if last - 6 >= value_size {
                assert_eq!(value(&bench, values, &[0; 4]), before);
            }
        }
    }
}

#[test]
fn a_loop_is_refused_unless_somebody_else_can_end_it() {
    let text = "r2 = *(u64 *)(r1 +0)\nr0 = 0\na:\nr0 += 1\nr0 += r2\nif r0 < 10 goto a\nexit";
    for options in [RBPF, RBPF_KBPF, AXVISOR] {
        let side = bench(options);
        let told = load_as(&side, "axvisor", &[], text).unwrap_err().to_string();
        assert!(told.contains("instruction 4: a loop") && told.contains("AxVisor's VM"), "{told}");
        assert!(load_as(&side, "axvisor", &[], "a:\ngoto +0\ngoto a\nexit").is_err());
        // The bench goes on.
        let program = load(&side, &[], "r0 = 4\nexit");
        assert_eq!(run(&side, program).result, Ok(4));

        let side = bench(Options { endless: true, ..options });
        let program = load(&side, &[], text);
        assert_eq!(run(&side, program).result, Ok(10));
    }
}

#[test]
fn a_run_that_may_be_longer_than_the_budget_is_refused() {
    let bench = bench(Options { budget: 1000, ..RBPF });
    // Eight frames that call the next one three times: 3^8 runs of the last.
    let text: String = (0..8).map(|n| format!("f{n}:\n{}exit\n", format!("call f{}\n", n + 1).repeat(3))).collect();
    let told = load_as(&bench, "axvisor", &[], &format!("{text}f8:\nr0 = 0\nexit")).unwrap_err().to_string();
    assert!(told.contains("may need 26242 instructions") && told.contains("the limit is 1000"), "{told}");
}

#[test]
fn what_rbpf_does_not_have_is_refused_with_its_place() {
    let cases = [
        ("r0 = 0\nlock *(u64 *)(r10 -8) += r0\nexit", "instruction 1: rbpf 0.4.1, AxVisor's VM, refuses it: XADD"),
        ("r0 = 0\nr0 = bswap32 r0\nexit", "instruction 1: rbpf 0.4.1, AxVisor's VM, refuses it: unknown eBPF opcode"),
        ("r0 = 0\nr0 += 1", "instruction 1: rbpf 0.4.1, AxVisor's VM, refuses it: program does not end"),
        ("r0 = 0\nif r0 == 0 goto -2", "instruction 1: the program runs off its end"),
        ("r3 = 0\nr2 = subprog[f]\nr0 = 0\nexit\nf:\nexit", "instruction 1: the address of a function"),
        ("call for_each#164\nexit", "instruction 0: helper bpf_for_each_map_elem#164 calls the program back"),
        ("call x#9999\nexit", "invalid func unknown#9999"),
    ];
    let bench = bench(RBPF);
    for (text, expected) in cases {
        let told = load_as(&bench, "axvisor", &[], text).unwrap_err().to_string();
        assert!(told.contains(expected), "{text}: {told}");
    }
    let far = format!("goto a\n{}a:\nr0 = 0\nexit", "r0 = 0\n".repeat(32_766));
    let told = load_as(&bench, "axvisor", &[], &far).unwrap_err().to_string();
    assert!(told.contains("rbpf works out jumps in 16 bits"), "{told}");
    assert_eq!(run(&bench, load(&bench, &[], "r0 = 1\nexit")).result, Ok(1));
}

#[test]
fn a_helper_unknown_to_axvisor_is_refused_by_name() {
    let bench = bench(AXVISOR);
    let told = load_as(&bench, "axvisor", &[], "r0 = 0\ncall x#7\nexit").unwrap_err().to_string();
    assert!(told.contains("instruction 1: helper 7 (bpf_get_prandom_u32): AxVisor does not have it"), "{told}");
    let told = load_as(&bench, "axvisor", &[], "call x#65536\nexit").unwrap_err().to_string();
    assert!(told.contains("helper 65536: AxVisor does not have it"), "{told}");
}

#[test]
fn more_calls_than_call_sites_are_shared_by_helper() {
    let bench = bench(RBPF);
    let text = format!("r6 = 0\n{}r0 = r6\nexit", "call cpu#8\nr6 += 1\nr6 += r0\n".repeat(1100));
    assert_eq!(run(&bench, load(&bench, &[], &text)).result, Ok(1100));
}

#[test]
fn pointers_that_a_helper_is_given_are_checked() {
    let cases = [
        ("r1 = map[0]\nr2 = 64\ncall lookup#1\nexit", "load of 4 bytes at 0x40: no live memory there"),
        ("r1 = map[0]\nr2 = r10\nr2 += -2\ncall lookup#1\nexit", "load of 4 bytes at stack-2: reaches past the end"),
        ("r1 = 5\nr2 = r10\nr2 += -4\ncall lookup#1\nexit", "its first argument is 0x5, which is no map"),
        (
            "r1 = r10\nr2 = 16\nr3 = r10\nr3 += -8\ncall probe_read#4\nexit",
            "store of 16 bytes at stack+0: no live memory",
        ),
    ];
    for options in [RBPF, RBPF_KBPF, AXVISOR] {
        let bench = bench(options);
        let map = map(&bench, MapKind::Hash, 4, 8, 1, 0);
        for (text, expected) in cases {
            let told = fault(&bench, load(&bench, &[map], text));
            assert!(told.contains(expected), "{options:?} {text}: {told}");
        }
        assert_eq!(run(&bench, load(&bench, &[], "r0 = 1\nexit")).result, Ok(1));
    }
}

#[test]
fn a_context_that_may_only_be_read_stays_as_it_is() {
    let bench = bench(RBPF);
    let seen = map(&bench, MapKind::Array, 4, 8, 1, 0);
    let keep = format!("r6 = *(u64 *)(r1 +8)\n{LOOKUP}*(u64 *)(r0 +0) = r6\nr0 = 0\nexit");
    for text in ["*(u64 *)(r1 +8) = 77\nr0 = 0\nexit", &keep] {
        let program = load_as(&bench, "tracepoint", &[seen], text).unwrap();
        bench.attach(bench.tracepoint_named("vmm:e").unwrap(), program, 0).unwrap();
    }
    fire(&bench, [5, 6]).unwrap();
    assert_eq!(number(&bench, seen, 0), 5);

    // Of type mem, it is written back.
    let program = load_as(&bench, "mem", &[], "*(u8 *)(r1 +1) = 9\nr0 = *(u8 *)(r1 +2)\nexit").unwrap();
    let mut memory = [1, 2, 3];
    let ran = bench.run_program(program, &mut memory, ByHand::default(), None).unwrap();
    assert_eq!((ran.result, memory), (Ok(3), [1, 9, 3]));
}

#[test]
fn ring_buffer_records_reach_the_ring() {
    // 16 bytes reserved, filled and submitted; 8 discarded; 5 bytes by bpf_ringbuf_output.
    let text = "r1 = map[0]\nr2 = 16\nr3 = 0\ncall reserve#131\nif r0 != 0 goto +1\nexit\nr1 = 0x1122334455667788 ll\n\
                *(u64 *)(r0 +0) = r1\n*(u64 *)(r0 +8) = 7\nr1 = r0\nr2 = 0\ncall submit#132\n\
                r1 = map[0]\nr2 = 8\nr3 = 0\ncall reserve#131\nif r0 != 0 goto +1\nexit\nr1 = r0\nr2 = 0\ncall discard#133\n\
                *(u64 *)(r10 -8) = 0x61\nr1 = map[0]\nr2 = r10\nr2 += -8\nr3 = 5\nr4 = 0\ncall output#130\n\
                r1 = map[0]\nr2 = 0\ncall query#134\nexit";
    for options in LINUX_SIDES {
        let bench = bench(options);
        let ring = map(&bench, MapKind::RingBuf, 0, 0, 4096, 0);
        let program = load(&bench, &[ring], text);
        // Enough to wrap around several times.
        for _ in 0..500 {
            assert_eq!(run(&bench, program).result, Ok(56), "{options:?}");
            let map = bench.map(ring).unwrap();
            assert_eq!(map.len(), 2);
            let mut taken = Vec::new();
            assert_eq!(map.consume_user(&mut taken), Ok(true));
            assert_eq!(taken, [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 7, 0, 0, 0, 0, 0, 0, 0], "{options:?}");
            taken.clear();
            assert_eq!((map.consume_user(&mut taken), taken.as_slice()), (Ok(true), &b"a\0\0\0\0"[..]));
            assert_eq!((map.consume_user(&mut taken), map.len()), (Ok(false), 0));
        }
    }
}

#[test]
fn a_record_that_a_run_leaves_behind_is_discarded_and_a_wrong_one_is_a_fault() {
    for options in LINUX_SIDES {
        let bench = bench(options);
        let ring = map(&bench, MapKind::RingBuf, 0, 0, 4096, 0);
        let leaves = load(&bench, &[ring], "r1 = map[0]\nr2 = 8\nr3 = 0\ncall reserve#131\nr0 = 0\nexit");
        let told = fault(&bench, leaves);
        assert!(told.contains("M[record") && told.contains("neither submitted nor discarded"), "{options:?}: {told}");
        let wrong = load(&bench, &[ring], "r1 = r10\nr1 += -16\nr2 = 0\ncall submit#132\nexit");
        let told = fault(&bench, wrong);
        assert!(told.contains("stack-16 is no reserved record"), "{told}");
        let map = bench.map(ring).unwrap();
        let mut taken = Vec::new();
        assert_eq!((map.len(), map.consume_user(&mut taken)), (0, Ok(false)), "{options:?}");
    }
}

thread_local! {
    static BENCH: RefCell<Option<Rc<Bench>>> = const { RefCell::new(None) };
}

/// Helper 0x10000 fires `vmm:e` again while its argument is not 0; 0x10001 panics.
struct Nested;

impl CustomHelpers for Nested {
    fn call(&self, id: u32, args: [u64; 5], _memory: &mut Memory<'_>) -> Result<u64, Box<Fault>> {
        assert_eq!(id, 0x10000, "this one panics");
        let bench = BENCH.with_borrow(|bench| bench.clone().unwrap());
        if args[0] > 0 {
            fire(&bench, [i128::from(args[0]) - 1, 0]).unwrap();
        }
        Ok(args[0])
    }

    fn has(&self, id: u32) -> bool {
        (0x10000..=0x10001).contains(&id)
    }
}

#[test]
fn a_run_within_a_run_has_its_own_memory_and_shares_the_maps() {
    for options in [RBPF, RBPF_KBPF] {
        let bench = Rc::new(bench(options));
        bench.set_helpers(Box::new(Nested));
        BENCH.set(Some(bench.clone()));
        let counter = map(&bench, MapKind::Array, 4, 8, 1, 0);
        // Counts before and after the nested event, through a pointer looked up before it. A raw tracepoint program is
        // not in the way of others, so each of three nests in the last.
        let text = format!(
            "r6 = *(u64 *)(r1 +0)\n{LOOKUP}r7 = r0\nr1 = *(u64 *)(r7 +0)\nr1 += 1\n*(u64 *)(r7 +0) = r1\nr1 = r6\n\
             call fire#65536\nr1 = *(u64 *)(r7 +0)\nr1 += 1\n*(u64 *)(r7 +0) = r1\nr0 = 0\nexit"
        );
        for _ in 0..3 {
            let program = load_as(&bench, "raw_tracepoint", &[counter], &text).unwrap();
            bench.attach(bench.tracepoint_named("vmm:e").unwrap(), program, 0).unwrap();
        }
        fire(&bench, [2, 0]).unwrap();
        let runs: u64 = (0..3).map(|index| bench.program(index).unwrap().counts().runs).sum();
        assert_eq!(number(&bench, counter, 0), 2 * runs, "{options:?}");
        assert!(runs > 3);
        BENCH.set(None);
    }
}

#[test]
fn a_panic_on_the_way_through_rbpf_is_an_error() {
    let bench = bench(RBPF);
    bench.set_helpers(Box::new(Nested));
    let told = fault(&bench, load(&bench, &[], "call panics#65537\nexit"));
    assert!(
        told.contains("rbpf 0.4.1, AxVisor's VM, failed: it panicked: ") && told.contains("this one panics"),
        "{told}"
    );
    assert_eq!(run(&bench, load(&bench, &[], "r0 = 1\nexit")).result, Ok(1));
}

#[test]
fn axvisors_own_helpers_answer_as_there() {
    let bench = bench(AXVISOR);
    let how = ByHand {
        time_ns: Some(123),
        cpu: Some(1),
        vm: Some(axebpf_core::helper::VmContext { vm_id: 4, vcpu_id: 5, exit_reason: 6 }),
    };
    let told = |text: &str| bench.run_program(load(&bench, &[], text), &mut [], how, None).unwrap();
    for (id, expected) in [(5, 123), (8, 1), (100, 4), (101, 5), (102, 6)] {
        assert_eq!(told(&format!("call x#{id}\nexit")).result, Ok(expected));
    }
    // The name of tracepoint 7 is in a buffer, NUL-terminated; there is none of id 8.
    assert_eq!(
        told("r1 = 7\ncall name#10\nr0 = *(u64 *)(r0 +0)\nexit").result,
        Ok(u64::from_le_bytes(*b"vmm:e\0\0\0"))
    );
    assert_eq!(told("r1 = 8\ncall name#10\nexit").result, Ok(0));
    let printed = told("r1 = 7\ncall name#10\nr1 = r0\nr2 = 255\ncall printk#6\nexit");
    assert_eq!((printed.result, printed.printed), (Ok(0), vec!["vmm:e 0xff".to_owned()]));
    let printed = told("r1 = r10\nr1 += -8\nr2 = 3\nr3 = 16\ncall printk#6\nexit");
    assert_eq!(printed.printed, ["stack-8 0x3 0x10"]);
    // probe_read copies what the run can reach, up to 4096 bytes.
    let read = |size: u32| {
        format!("*(u64 *)(r10 -8) = 66\nr1 = r10\nr1 += -16\nr2 = {size}\nr3 = r10\nr3 += -8\ncall x#113\n")
    };
    assert_eq!(told(&format!("{}r0 = *(u64 *)(r10 -16)\nexit", read(8))).result, Ok(66));
    for size in [0, 4097] {
        assert_eq!(told(&format!("{}exit", read(size))).result, Ok(u64::MAX));
    }
    // Without a context, r1 is 0.
    assert_eq!(told("r0 = r1\nexit").result, Ok(0));
}

#[test]
fn each_look_up_on_axvisor_is_a_copy_of_its_own() {
    // The first copy keeps what was stored into it when the second is made.
    let text = format!(
        "{LOOKUP}r6 = r0\n*(u64 *)(r6 +0) = 8\n{LOOKUP}r0 = *(u64 *)(r0 +0)\nr1 = *(u64 *)(r6 +0)\nr0 += r1\nexit"
    );
    let bench = bench(AXVISOR);
    let values = map(&bench, MapKind::Array, 4, 8, 1, 0);
    bench.map(values).unwrap().update_user(&[0; 4], &100_u64.to_le_bytes(), 0).unwrap();
    assert_eq!(run(&bench, load(&bench, &[values], &text)).result, Ok(108));
}

#[test]
fn rbpf_is_not_stepped_through_and_has_no_profile() {
    struct Ignore;
    impl axebpf_core::engine::Observer for Ignore {
        fn before(&mut self, _insn: usize, _registers: &[u64; 11], _depth: usize) -> Result<(), Box<Fault>> {
            Ok(())
        }
    }
    let bench = bench(RBPF);
    let program = load(&bench, &[], "r0 = 0\nexit");
    let told = bench.run_program(program, &mut [], ByHand::default(), Some(&mut Ignore)).unwrap_err();
    assert!(matches!(told, BenchError::NotObservable { .. }), "{told}");
    let told = bench.program(program).unwrap().profile().unwrap_err();
    assert!(
        told.to_string().starts_with("test runs on the engine rbpf, which shows and counts no instructions"),
        "{told}"
    );
}
