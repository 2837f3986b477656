//! Random programs that tail-call each other, on both sides: the same results, and each ran as often.

use axebpf_core::bench::{Bench, ByHand, Options};
use axebpf_core::map::MapKind;

use crate::kernel::{self, KernelMap, Program};
use crate::map_support::{Random, spec};
use crate::operations;

const PROGRAMS: usize = 5;
/// Entries of the program array: some stay empty.
const ENTRIES: u32 = 8;
/// The descriptors that programs name on our side.
const JUMPS: i32 = 1;
const SEEN: i32 = 2;

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let (off, imm) = (off.to_le_bytes(), imm.to_le_bytes());
    [code, dst | src << 4, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

/// Counts itself, tries these tail calls, and returns a number of its own.
fn code(number: i32, calls: &[i32], jumps: i32, seen: i32) -> Vec<[u8; 8]> {
    let map = |register, fd| [insn(0x18, register, 1, 0, fd), insn(0, 0, 0, 0, 0)];
    let mut code = vec![insn(0xbf, 6, 1, 0, 0), insn(0x62, 10, 0, -4, number)];
    code.extend([insn(0xbf, 2, 10, 0, 0), insn(0x07, 2, 0, 0, -4)]);
    code.extend(map(1, seen));
    code.extend([insn(0x85, 0, 0, 0, 1), insn(0x15, 0, 0, 2, 0), insn(0xb7, 1, 0, 0, 1), insn(0xdb, 0, 1, 0, 0)]);
    for index in calls {
        code.push(insn(0xbf, 1, 6, 0, 0));
        code.extend(map(2, jumps));
        code.extend([insn(0xb7, 3, 0, 0, *index), insn(0x85, 0, 0, 0, 12)]);
    }
    code.extend([insn(0xb7, 0, 0, 0, 100 + number), insn(0x95, 0, 0, 0, 0)]);
    code
}

#[test]
fn random_programs() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut random = Random(3);
    let mut limited = 0;
    for _ in 0..operations(2000).div_ceil(10) {
        let array = spec(MapKind::ProgArray, 4, 4, ENTRIES, 0);
        let counts = spec(MapKind::Array, 4, 8, PROGRAMS as u32, 0);
        let (jumps, seen) = (KernelMap::create(&array, 1).unwrap(), KernelMap::create(&counts, 1).unwrap());
        let bench = Bench::new(Options::default()).unwrap();
        let maps = [(JUMPS, bench.create_map(array).unwrap()), (SEEN, bench.create_map(counts).unwrap())];
        let map = |nth: usize| bench.map(maps[nth].1).unwrap();
        let mut both = Vec::new();
        for number in 0..PROGRAMS as i32 {
            let calls: Vec<i32> = (0..random.below(4)).map(|_| random.below(10) as i32 - 1).collect();
            let theirs = Program::load(&code(number, &calls, jumps.fd(), seen.fd()));
            let ours = code(number, &calls, JUMPS, SEEN).concat();
            both.push((bench.load_bytes("p", &ours, "raw_tracepoint", "GPL", &maps).unwrap(), theirs));
        }
        for _ in 0..6 {
            let (index, which) = (random.below(ENTRIES.into()) as u32, random.below(PROGRAMS as u64) as usize);
            let (ours, theirs) = (both[which].0 as u32, both[which].1.fd());
            let map = map(0);
            // SAFETY: a map of this bench, on this thread.
            unsafe { bench.update_map(&**map.shared(), &index.to_le_bytes(), &ours.to_le_bytes(), 0) }.unwrap();
            jumps.update(&index.to_le_bytes(), &theirs.to_le_bytes(), 0).unwrap();
        }
        for (ours, theirs) in &both {
            let run = bench.run_program(*ours, &mut [0; 24], ByHand::default(), None).unwrap();
            assert_eq!(run.result.unwrap() as i32, theirs.run(0, [0; 3]));
        }
        for number in 0..PROGRAMS as u32 {
            let mut ours = Vec::new();
            map(1).lookup_user(&number.to_le_bytes(), 0, &mut ours).unwrap();
            assert_eq!(Ok(&ours), seen.lookup(&number.to_le_bytes(), 0).as_ref(), "program {number}");
            limited += u64::from_le_bytes(ours.try_into().unwrap()) / 34;
        }
    }
    assert!(limited > 10, "some run met the limit: {limited}");
}
