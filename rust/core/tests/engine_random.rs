//! Random programs: none makes the engine panic, run on, or touch memory that is not the program's.
//!
//! Under AddressSanitizer it is seen that none touches memory that is nobody's:
//! `RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test -p axebpf-core --target x86_64-unknown-linux-gnu --test
//! engine_random`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use axebpf_core::isa::{Insn, decode};
use axebpf_core::map::{BPF_F_RDONLY_PROG, Map, MapKind};
use engine_support::{Lab, Random, kind, map, program};

const GUARD: usize = 64;
const CONTEXT: usize = 48;

fn maps() -> Vec<Arc<dyn Map>> {
    let maps = vec![
        map("ARRAY", MapKind::Array, 4, 12, 3, 0),
        map("ONE", MapKind::Array, 4, 24, 1, 0),
        map("FIXED", MapKind::Array, 4, 16, 1, BPF_F_RDONLY_PROG),
        map("HASH", MapKind::Hash, 4, 8, 4, 0),
        map("LRU", MapKind::LruHash, 4, 4, 4, 0),
        map("QUEUE", MapKind::Queue, 0, 8, 2, 0),
        map("RING", MapKind::RingBuf, 0, 0, 4096, 0),
        map("PERCPU", MapKind::PercpuArray, 4, 8, 2, 0),
    ];
    for key in 0..2_u32 {
        maps[3].update_user(&key.to_le_bytes(), &[key as u8; 8], 0).unwrap();
    }
    maps
}

/// Helpers that an engine calls with what happens to be in the registers.
const HELPERS: [i32; 26] =
    [1, 2, 3, 4, 5, 6, 7, 8, 14, 16, 45, 87, 88, 89, 100, 101, 112, 113, 115, 130, 131, 132, 134, 164, 177, 181];

/// A slot that is an instruction, most of the time; what it names is there, most of the time.
fn insn(random: &mut Random, left: usize) -> Vec<Insn> {
    let small = |random: &mut Random| random.below(17) as i32 - 8;
    match random.below(16) {
        0 => vec![Insn { code: 0x95, ..Insn::default() }],
        1 => {
            let id = random.pick(&HELPERS);
            vec![Insn { code: 0x85, imm: id, ..Insn::default() }]
        }
        2 => {
            // A map, a value of one, or a function.
            let (src, imm, second) = match random.below(3) {
                0 => (1, random.below(9) as i32, 0),
                1 => (2, 1 + random.below(2) as i32, random.below(16) as i32),
                _ => (4, random.below(left as u64 + 2) as i32 - 1, 0),
            };
            let dst = random.below(6) as u8;
            vec![Insn { code: 0x18, dst, src, off: 0, imm }, Insn { imm: second, ..Insn::default() }]
        }
        3 => vec![Insn { code: 0x85, src: 1, imm: random.below(left as u64 + 1) as i32, ..Insn::default() }],
        // r = r10, r += a little: what most addresses are.
        4 => {
            let dst = random.below(6) as u8;
            let by = -8 * (random.below(70) as i32);
            vec![
                Insn { code: 0xbf, dst, src: 10, ..Insn::default() },
                Insn { code: 0x07, dst, imm: by, ..Insn::default() },
            ]
        }
        _ => loop {
            let off = if random.once_in(8) { random.next() as i16 } else { small(random) as i16 };
            let imm = if random.once_in(4) { random.next() as i32 } else { small(random) };
            let registers = random.next();
            let (dst, src) = ((registers % 11) as u8, (registers >> 32) as u8 % 11);
            let insn = Insn { code: random.next() as u8, dst, src, off, imm };
            // Immediates say which atomic, and zero is what most instructions want in fields that they do not use.
            for insn in [insn, Insn { src: 0, ..insn }, Insn { off: 0, ..insn }, Insn { imm: 0, ..insn }] {
                if insn.code != 0x18 && insn.code != 0x85 && decode(&[insn], 0).is_ok() {
                    return vec![insn];
                }
            }
        },
    }
}

/// Loads a program, with `r0 = 0` in place of what the engine does not take.
fn load(mut insns: Vec<Insn>, maps: &[Arc<dyn Map>]) -> Option<Lab> {
    for _ in 0..12 {
        match Lab::load(program(insns.clone(), maps), maps, 2 * GUARD + CONTEXT) {
            Ok(lab) => return Some(lab),
            Err(error) => insns[error.insn()?] = Insn { code: 0xb7, ..Insn::default() },
        }
    }
    None
}

/// Runs a program, if the engine takes it, and looks at what must not have changed. The kind of its end.
fn run(insns: Vec<Insn>, maps: &[Arc<dyn Map>]) -> &'static str {
    let Some(mut lab) = load(insns, maps) else { return "refused" };
    let shown = lab.runnable.program().insns.clone();
    lab.put(&[0xee; 2 * GUARD + CONTEXT]);
    (lab.context_len, lab.hidden, lab.budget) = ((GUARD + CONTEXT) as u64, GUARD as u64, 300);
    let outcome = lab.run();
    assert!(outcome.instructions <= 300);
    lab.context_len = (2 * GUARD + CONTEXT) as u64;
    let bytes = lab.bytes();
    let clean = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xee);
    assert!(clean(&bytes[..GUARD]) && clean(&bytes[GUARD + CONTEXT..]), "{shown:?}");
    let mut fixed = Vec::new();
    maps[2].lookup_user(&[0; 4], 0, &mut fixed).unwrap();
    assert_eq!(fixed, [0; 16], "{shown:?}");
    outcome.result.map_or_else(|fault| kind(&fault.fault), |_| "exit")
}

#[test]
fn programs_of_random_instructions() {
    let mut random = Random(77);
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    let mut maps = maps();
    for number in 0..200_000 {
        if number % 1000 == 0 {
            maps = self::maps();
        }
        let length = 1 + random.below(24) as usize;
        let mut insns = Vec::new();
        while insns.len() < length {
            let left = length - insns.len();
            insns.extend(insn(&mut random, left));
        }
        if !random.once_in(8) {
            insns.push(Insn { code: 0x95, ..Insn::default() });
        }
        *ends.entry(run(insns, &maps)).or_default() += 1;
        while maps[6].consume_user(&mut Vec::new()).unwrap() {}
    }
    let all = ["exit", "memory", "budget", "call_depth", "off_the_end", "helper"];
    assert!(all.iter().all(|end| ends.get(end).is_some_and(|count| *count > 500)), "{ends:?}");
    assert!(ends["refused"] < 50_000, "{ends:?}");
}

#[test]
fn programs_of_random_bytes() {
    let mut random = Random(78);
    let maps = maps();
    for _ in 0..100_000 {
        let insns = (0..1 + random.below(12)).map(|_| Insn::from_bytes(random.next().to_le_bytes())).collect();
        run(insns, &maps);
    }
}
