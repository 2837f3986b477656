//! Slots, typed instructions and text say the same thing: each turns into the others and back without loss.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use axebpf_core::isa::{Insn, Names, Op, assemble, decode, disassemble, encode, text};
use proptest::prelude::*;

const OFFSETS: [i16; 9] = [0, 1, 2, 8, 16, 32, -1, i16::MAX, i16::MIN];
const IMMEDIATES: [i32; 24] = [
    0,
    1,
    2,
    5,
    16,
    32,
    64,
    -1,
    8,
    0x40,
    0x41,
    0x50,
    0x51,
    0xa0,
    0xa1,
    0xe0,
    0xe1,
    0xf0,
    0xf1,
    0x100,
    0x110,
    i32::MAX,
    i32::MIN,
    0x1234_5678,
];

/// Every opcode with every register and the values above in the other fields, as one-instruction programs.
fn every_insn() -> impl Iterator<Item = [Insn; 2]> {
    let fields = (0..=255u8).flat_map(|code| (0..=255u8).map(move |registers| (code, registers & 15, registers >> 4)));
    fields.flat_map(|(code, dst, src)| {
        OFFSETS.into_iter().flat_map(move |off| {
            IMMEDIATES.into_iter().map(move |imm| {
                // The second slot matters to lddw only; whether it is zero varies with the first.
                let second = Insn { imm: if off == 0 && imm < 0 { imm } else { 0 }, ..Insn::default() };
                [Insn { code, dst, src, off, imm }, second]
            })
        })
    })
}

fn slots(op: &Op) -> Vec<Insn> {
    let (first, second) = encode(op);
    std::iter::once(first).chain(second).collect()
}

#[test]
fn every_instruction_round_trips_through_op_and_text() {
    let mut opcodes = BTreeSet::new();
    let mut texts = Vec::new();
    let mut expected = Vec::new();
    for program in every_insn() {
        let Ok((op, width)) = decode(&program, 0) else { continue };
        if op == Op::Exit && program[0].off != 0 {
            continue; // the one field that Linux overlooks
        }
        opcodes.insert(program[0].code);
        assert_eq!(width, op.slots());
        let again = slots(&op);
        assert_eq!(again, program[..width], "{op:?}");
        assert_eq!(decode(&again, 0), Ok((op, width)));
        texts.push(text::instruction(&op, &Names::none()));
        expected.extend(again);
    }
    // 60 opcodes of arithmetic (12 operations, two widths, two sources; neg and swaps five), 44 + 6 of jumps, …
    assert_eq!(opcodes.len(), 12 * 4 + 5 + 11 * 4 + 6 + 1 + 6 + 4 + 3 + 4 + 4 + 4, "{opcodes:x?}");
    assert_eq!(assemble(&texts.join("\n")).unwrap(), expected);
}

#[test]
fn texts_of_different_instructions_differ() {
    let mut seen = std::collections::HashMap::new();
    for program in every_insn() {
        let Ok((op, _)) = decode(&program, 0) else { continue };
        let text = text::instruction(&op, &Names::none());
        if let Some(other) = seen.insert(text.clone(), op) {
            assert_eq!(other, op, "both are {text}");
        }
    }
}

/// A slot that decodes more often than pure noise would.
fn likely_insn() -> impl Strategy<Value = Insn> {
    let off = prop_oneof![Just(0i16), -8..8i16, any::<i16>()];
    let imm = prop_oneof![Just(0i32), -8..8i32, prop::sample::select(&IMMEDIATES[..]), any::<i32>()];
    (any::<u8>(), 0..12u8, prop_oneof![Just(0u8), 0..12u8], off, imm).prop_map(|(code, dst, src, off, imm)| Insn {
        code,
        dst,
        src,
        off,
        imm,
    })
}

proptest! {
    #[test]
    fn any_slots_survive_disassembly(program in prop::collection::vec(likely_insn(), 0..40)) {
        let listing = disassemble(&program, &Names::none());
        prop_assert_eq!(assemble(&listing).map_err(|e| TestCaseError::fail(format!("{e}\n{listing}")))?, program);
    }

    #[test]
    fn decodable_programs_survive_disassembly_with_names(program in prop::collection::vec(likely_insn(), 0..200)) {
        let mut kept = Vec::new();
        for at in 0..program.len() {
            if let Ok((op, _)) = decode(&program[at..], 0) {
                kept.extend(slots(&op));
            }
        }
        let names = Names {
            helper: &|id| [None, Some("bpf_map_lookup_elem"), Some("not a name"), Some("5"), Some(""), Some("kfunc")][id as usize % 6],
            map: &|slot| [None, Some("EXITS"), Some(".rodata"), Some("5")][slot as usize % 4],
        };
        let listing = disassemble(&kept, &names);
        prop_assert!(!listing.contains(".8byte"), "{}", listing);
        prop_assert_eq!(assemble(&listing).map_err(|e| TestCaseError::fail(format!("{e}\n{listing}")))?, kept);
    }

    #[test]
    fn the_assembler_takes_any_text_without_panic(text in "(?s)[rw0-9a-z=+*/\\-<>&|^%!s(){}\\[\\]#:,;. \\n\t\u{e9}]{0,120}") {
        let _ = assemble(&text);
    }

    #[test]
    fn a_damaged_line_gives_an_error_inside_it(at in 0usize..30, c in any::<char>()) {
        let line = "r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)";
        let damaged: String = line.chars().enumerate().map(|(i, old)| if i == at { c } else { old }).collect();
        if let Err(error) = assemble(&damaged) {
            prop_assert!(error.line <= damaged.lines().count());
            prop_assert!(error.column <= damaged.chars().count() + 1, "{}", error);
        }
    }
}

#[test]
fn labels_stand_where_jumps_point() {
    let source = "    r1 = subprog[L6]
    if r1 == 0x0 goto L5
    call L6
    gotol L5
L5:
    exit
L6:
    r0 = 0
    may_goto L6
    exit
";
    let program = assemble(source).unwrap();
    assert_eq!(disassemble(&program, &Names::none()), source);
}

#[test]
fn targets_that_are_no_instruction_stay_distances() {
    let program = assemble("goto +1\nr0 = 0x1 ll\ngoto +7\ngoto -6\n").unwrap();
    assert_eq!(disassemble(&program, &Names::none()), "    goto pc+1\n    r0 = 0x1 ll\n    goto pc+7\n    goto pc-6\n");
}

#[test]
fn a_slot_that_is_no_instruction_is_kept_with_the_reason() {
    let program = assemble(".8byte 0xff\nexit\n").unwrap();
    let listing = disassemble(&program, &Names::none());
    assert!(listing.starts_with("    .8byte 0x00000000000000ff ; insn 0: opcode 0xff is not defined"), "{listing}");
    assert_eq!(assemble(&listing).unwrap(), program);
}

#[test]
fn an_exit_with_an_offset_is_kept() {
    let program = [Insn { off: 3, ..encode(&Op::Exit).0 }];
    let listing = disassemble(&program, &Names::none());
    assert_eq!(listing, "    .8byte 0x0000000000030095 ; exit\n");
    assert_eq!(assemble(&listing).unwrap(), program);
}

/// Where the shared folder of the project is: `AXEBPF_SHARED`, or beside the workspace.
fn shared() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("AXEBPF_SHARED").map_or_else(beside, PathBuf::from)
}

#[test]
fn published_vectors_round_trip() {
    let path = shared().join("conformance/classic.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no {} (set AXEBPF_SHARED to the folder that has conformance/)", path.display());
        return;
    };
    let vectors: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() >= 225);
    for (name, vector) in &vectors {
        let program = from_hex(vector["code"].as_str().unwrap());
        let listing = disassemble(&program, &Names::none());
        assert!(!listing.contains(".8byte"), "{name}:\n{listing}");
        assert_eq!(assemble(&listing).unwrap(), program, "{name}:\n{listing}");
    }
}

fn from_hex(hex: &str) -> Vec<Insn> {
    let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(16).map(|at| Insn::from_bytes(std::array::from_fn(|i| byte(at + 2 * i)))).collect()
}
