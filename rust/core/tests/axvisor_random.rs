//! Random programs on rbpf over both kinds of maps: whatever they do, the bench goes on.
//!
//! Under AddressSanitizer (`RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --target …`) it shows that no
//! access leaves memory of ours. `AXEBPF_OPERATIONS` says how many helper calls there are to be, about.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "random/mod.rs"]
mod random;

use std::fmt::Write;

use axebpf_core::axvisor::KINDS;
use axebpf_core::bench::{Bench, BenchError, ByHand, EngineKind, MapLibrary, Options, Target};
use axebpf_core::fault::Fault;
use axebpf_core::isa::{Insn, assemble};
use axebpf_core::map::{MapKind, MapSpec};
use random::Random;

/// Calls of helpers in one program.
const CALLS: u64 = 12;

/// An offset that is mostly near.
fn offset(random: &mut Random) -> i64 {
    let most = random.pick(&[8, 16, 600, 5000]);
    random.below(2 * most) as i64 - most as i64
}

/// What may be an address: the context, the stack, what helpers returned, a number.
const POINTERS: [&str; 5] = ["r6", "r10", "r7", "r8", "r9"];

/// A program that looks up, stores, loads and calls at random. r6 is the context, r7 and r8 what helpers returned.
fn program(random: &mut Random, maps: u64, helpers: &[u32]) -> String {
    let mut text = "r6 = r1\nr7 = r10\nr7 += -64\nr8 = r7\nr9 = 4096\n".to_owned();
    let size = |random: &mut Random| random.pick(&["u8", "u16", "u32", "u64"]);
    let mut reserved = false;
    for _ in 0..CALLS {
        for _ in 0..random.below(4) {
            let size = size(random);
            // Most accesses are to memory that is there, or a run would end at once.
            let (at, near) = match random.below(60) {
                0 => (random.pick(&POINTERS), offset(random)),
                1..=20 => ("r6", random.below(26) as i64),
                _ => ("r10", -8 - random.below(480) as i64),
            };
            match random.below(4) {
                0 => writeln!(text, "*({size} *)({at} {near:+}) = {}", random.below(300)),
                1 => writeln!(text, "r0 = *({size} *)({at} {near:+})"),
                2 => writeln!(text, "*({size} *)(r10 {:+}) = r0", -8 * (1 + random.below(60) as i64)),
                _ => writeln!(text, "*({size} *)(r7 +{}) = 7", random.below(12)),
            }
            .unwrap();
        }
        writeln!(text, "*(u64 *)(r10 -8) = {}\nr1 = map[{}]", random.below(4), random.below(maps)).unwrap();
        for register in 2..=5 {
            match random.below(60) {
                0 => writeln!(text, "r{register} = {}", random.below(64)),
                1 => writeln!(text, "r{register} = {}\nr{register} += {}", random.pick(&POINTERS), offset(random)),
                2..=9 => writeln!(text, "r{register} = r7"),
                _ => writeln!(text, "r{register} = r10\nr{register} += {}", -8 * (1 + random.below(4) as i64)),
            }
            .unwrap();
        }
        let mut helper = random.pick(helpers);
        // A record that is not reserved would end nearly every run.
        let gives_up = matches!(helper, 132 | 133);
        if gives_up && !reserved && !random.once_in(30) {
            helper = 131;
        }
        reserved = (reserved && !gives_up) || helper == 131;
        match helper {
            // Sizes and flags that are some, where the helper has them.
            4 | 45 | 113 => writeln!(text, "r1 = r10\nr1 += -16\nr2 = {}", random.below(17)),
            16 => writeln!(text, "r1 = r7\nr2 = {}", random.below(9)),
            130 => writeln!(text, "r3 = {}\nr4 = {}", random.below(9), random.below(4)),
            131 => writeln!(text, "r2 = {}\nr3 = 0", random.below(1500)),
            132 | 133 => writeln!(text, "r1 = r8\nr2 = 0"),
            _ => writeln!(text, "r4 = {}", random.below(4)),
        }
        .unwrap();
        let result = if helper == 131 { 8 } else { 7 };
        writeln!(text, "call x#{helper}\nif r0 s< 4096 goto +1\nr{result} = r0").unwrap();
    }
    text + "r0 = 0\nexit"
}

fn bench(options: Options, random: &mut Random) -> (Bench, Vec<(i32, usize)>) {
    let bench = Bench::new(options).unwrap();
    let maps = KINDS.iter().enumerate().map(|(fd, &kind)| {
        let value_size = random.pick(&[1, 3, 8, 12, 4096]);
        let (key_size, value_size, max_entries) = match kind {
            MapKind::Array => (4, value_size, 3),
            MapKind::Queue => (0, value_size, 3),
            MapKind::RingBuf => (0, 0, 4096),
            _ => (random.pick(&[1, 4, 8]), value_size, 3),
        };
        let spec = MapSpec { name: format!("M{fd}"), kind, key_size, value_size, max_entries, flags: 0, extra: 0 };
        (fd as i32, bench.create_map(spec).unwrap())
    });
    let maps = maps.collect();
    (bench, maps)
}

#[test]
fn random_programs_end_in_a_result_or_a_fault() {
    let operations: u64 = std::env::var("AXEBPF_OPERATIONS").map_or(40_000, |n| n.parse().unwrap());
    let mut random = Random(11);
    let linux = Options { engine: EngineKind::Rbpf, ..Options::default() };
    let sides = [
        (linux, &[1, 2, 3, 4, 16, 45, 87, 88, 89, 113, 130, 131, 132, 133, 134][..]),
        (Options { maps: MapLibrary::Kbpf, ..linux }, &[1, 1, 2, 2, 3, 4, 87, 88, 89, 130, 131, 132, 133, 134][..]),
        (Options { target: Target::Axvisor, ..linux }, &[1, 1, 2, 2, 3, 4, 6, 10, 113][..]),
    ];
    let (mut ended, mut faults) = (0, 0);
    let mut done = 0;
    while done < operations {
        for (options, helpers) in sides {
            let (bench, maps) = bench(options, &mut random);
            for _ in 0..5 {
                let text = program(&mut random, KINDS.len() as u64, helpers);
                let insns = assemble(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                let code: Vec<u8> = insns.into_iter().flat_map(Insn::to_bytes).collect();
                let program = match bench.load_bytes("random", &code, "mem", "GPL", &maps) {
                    Ok(program) => program,
                    Err(BenchError::Engine { .. }) => continue,
                    Err(error) => panic!("{error}\n{text}"),
                };
                for _ in 0..3 {
                    done += CALLS;
                    let mut context = [0; 33];
                    match bench.run_program(program, &mut context, ByHand::default(), None).unwrap().result {
                        Ok(_) => ended += 1,
                        Err(fault) => {
                            faults += 1;
                            let broken =
                                matches!(&fault.fault, Fault::Instruction { what } if what.contains("panicked"));
                            assert!(!broken, "{fault}\n{text}");
                        }
                    }
                }
            }
        }
    }
    // Most runs end by an access to where nothing is, many calls on.
    assert!(ended * 6 > faults, "of the programs, a good part must get to their end: {ended} did, {faults} did not");
}
