//! Programs that give helpers maps of a kind that they are not for: a bench refuses those that the kernel refuses, and no
//! others; what cannot be seen before a run is a fault of it.

use axebpf_core::bench::{Bench, ByHand, Options};
use axebpf_core::map::{BPF_F_RDONLY_PROG, MapKind, MapSpec};

use crate::engine_support::assemble;
use crate::kernel::{self, KernelMap, Program};
use crate::map_support::spec;
use crate::sequences::with_descriptors;

/// `map[0]` to `map[2]`: a queue, a hash, and constants, of which the first word is 0 and the second 1.
fn specs() -> [MapSpec; 3] {
    let named = |name: &str, spec: MapSpec| MapSpec { name: name.to_owned(), ..spec };
    [
        named("JOBS", spec(MapKind::Queue, 0, 8, 4, 0)),
        named("COUNTS", spec(MapKind::Hash, 4, 8, 4, 0)),
        named(".rodata", spec(MapKind::Array, 4, 8, 1, BPF_F_RDONLY_PROG)),
    ]
}

const CONSTANTS: [u8; 8] = [0, 0, 0, 0, 1, 0, 0, 0];

/// What the bench finds.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Found {
    /// Nothing: Linux takes it.
    Nothing,
    /// What Linux finds, when it is loaded.
    AtLoad,
    /// What Linux finds, when it runs.
    AtRun,
}
use Found::{AtLoad, AtRun, Nothing};

/// A pop of the queue or of another map that is in r1, into the stack.
const POP: &str = "r2 = r10\nr2 += -16\ncall bpf_map_pop_elem\n";
const END: &str = "r0 = 0\nexit\n";

/// Name, what is found, the program; `POP` and `END` stand for the above.
const CASES: [(&str, Found, &str); 21] = [
    ("the right map", Nothing, "r1 = map[0]\nPOP END"),
    ("the wrong map", AtLoad, "r1 = map[1]\nPOP END"),
    ("by way of another register", AtLoad, "r6 = map[1]\nr1 = r6\nPOP END"),
    ("kept over a call", AtLoad, "r6 = map[1]\ncall bpf_ktime_get_ns\nr1 = r6\nPOP END"),
    ("by way of the stack", AtLoad, "r1 = map[1]\n*(u64 *)(r10 -8) = r1\nr1 = *(u64 *)(r10 -8)\nPOP END"),
    ("on one of two ways", AtLoad, "r1 = map[1]\nr6 = *(u64 *)(r6 +0)\nif r6 == 0 goto none\nPOP none:\nEND"),
    (
        "the right one on both ways",
        Nothing,
        "r1 = map[0]\nr6 = *(u64 *)(r6 +0)\nif r6 == 0 goto on\nr1 = map[0]\non:\nPOP END",
    ),
    ("behind a test of a number", Nothing, "r3 = 0\nif r3 == 0 goto none\nr1 = map[1]\nPOP none:\nEND"),
    ("behind a test that a number passes", AtLoad, "r3 = 1\nif r3 == 0 goto none\nr1 = map[1]\nPOP none:\nEND"),
    ("behind a test of 32 bits", Nothing, "r3 = 0x100000000 ll\nif w3 == 0 goto none\nr1 = map[1]\nPOP none:\nEND"),
    ("behind a test with a sign", Nothing, "r3 = -1\nif r3 s< 0 goto none\nr1 = map[1]\nPOP none:\nEND"),
    (
        "behind a test of a constant",
        Nothing,
        "r3 = map[2][0]+0\nr3 = *(u32 *)(r3 +0)\nif r3 == 0 goto none\nr1 = map[1]\nPOP none:\nEND",
    ),
    (
        "behind a test that a constant passes",
        AtLoad,
        "r3 = map[2][0]+0\nr3 = *(u32 *)(r3 +4)\nif r3 == 0 goto none\nr1 = map[1]\nPOP none:\nEND",
    ),
    (
        "behind a test of a bit of a constant",
        Nothing,
        "r3 = map[2][0]+4\nr3 = *(u8 *)(r3 -4)\nr3 &= 1\nif r3 != 1 goto none\nr1 = map[1]\nPOP none:\nEND",
    ),
    (
        "behind a test of what is computed of constants",
        AtRun,
        "r3 = map[2][0]+0\nr3 = *(u32 *)(r3 +4)\nr3 <<= 3\nif r3 == 0 goto none\nr1 = map[1]\nPOP none:\nEND",
    ),
    ("in a function", AtLoad, "r1 = map[1]\ncall f\nEND f:\nPOP END"),
    ("in a function that is given two maps", AtRun, "r1 = map[0]\ncall f\nr1 = map[1]\ncall f\nEND f:\nPOP END"),
    ("in a callback", AtLoad, "r1 = 1\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop\nEND f:\nr1 = map[1]\nPOP END"),
    ("behind a loop", AtLoad, "r6 = 0\nagain:\nr6 += 1\nif r6 < 9 goto again\nr1 = map[1]\nPOP END"),
    (
        "behind a loop that is counted down",
        AtLoad,
        "r6 = 9\nagain:\nr6 -= 1\nif r6 != 0 goto again\nr1 = map[1]\nPOP END",
    ),
    ("nothing that is reached", Nothing, "r3 = 5\nif r3 > 4 goto none\nr1 = map[1]\nPOP none:\nEND"),
];

fn text(case: &str) -> String {
    // Stack that helpers read is written first.
    let start = "r6 = r1\n*(u64 *)(r10 -16) = 0\n";
    start.to_owned() + &case.replace("POP ", POP).replace("END", END)
}

#[test]
fn what_a_bench_finds() {
    for (name, found, case) in CASES {
        let bench = Bench::new(Options::default()).unwrap();
        let maps = specs().map(|spec| bench.create_map(spec).unwrap());
        bench.map(maps[2]).unwrap().update_user(&[0; 4], &CONSTANTS, 0).unwrap();
        let code = with_descriptors(&assemble(&text(case)), &[0, 1, 2]).concat();
        let numbers = [(0, maps[0]), (1, maps[1]), (2, maps[2])];
        let loaded = bench.load_bytes("p", &code, "raw_tracepoint", "GPL", &numbers);
        let why = "cannot pass map_type 1 into func bpf_map_pop_elem#88: COUNTS is a hash map, and it takes a queue or \
                   stack map";
        let seen = match loaded {
            Err(error) => {
                assert!(error.to_string().contains(why), "{error}");
                AtLoad
            }
            Ok(program) => match bench.run_program(program, &mut [0; 24], ByHand::default(), None).unwrap().result {
                Ok(_) => Nothing,
                Err(fault) => {
                    assert!(fault.to_string().contains(why), "{fault}");
                    AtRun
                }
            },
        };
        assert_eq!(seen, found, "{name}");
    }
}

#[test]
fn what_linux_finds() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let maps = specs().map(|spec| KernelMap::create(&spec, 1).unwrap());
    maps[2].update(&[0; 4], &CONSTANTS, 0).unwrap();
    maps[2].freeze().unwrap();
    let fds = [maps[0].fd(), maps[1].fd(), maps[2].fd()];
    for (name, found, case) in CASES {
        let loaded = Program::load_as(kernel::RAW_TRACEPOINT, &with_descriptors(&assemble(&text(case)), &fds));
        match loaded {
            Ok(_) => assert_eq!(found, Nothing, "{name}"),
            Err((_, log)) => {
                assert_ne!(found, Nothing, "{name}: {log}");
                assert!(log.contains("cannot pass map_type 1 into func bpf_map_pop_elem#88"), "{name}: {log}");
            }
        }
    }
}
