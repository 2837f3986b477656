//! Every access is checked with its whole width, at both ends of every kind of memory.
//!
//! What is legal follows from one rule, computed here by itself: all bytes of the access lie in one live object.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;

use std::sync::Arc;

use axebpf_core::engine::Outcome;
use axebpf_core::fault::Fault;
use axebpf_core::map::{BPF_F_RDONLY_PROG, Map, MapKind};
use engine_support::{Lab, assemble, map, program, told};

/// Instructions that access memory at `{at}` = base register and offset: text, bytes, whether they store.
const ACCESSES: [(&str, u64, bool); 24] = [
    ("r0 = *(u8 *)({at})", 1, false),
    ("r0 = *(u16 *)({at})", 2, false),
    ("r0 = *(u32 *)({at})", 4, false),
    ("r0 = *(u64 *)({at})", 8, false),
    ("r0 = *(s8 *)({at})", 1, false),
    ("r0 = *(s16 *)({at})", 2, false),
    ("r0 = *(s32 *)({at})", 4, false),
    ("r0 = load_acquire((u8 *)({at}))", 1, false),
    ("r0 = load_acquire((u16 *)({at}))", 2, false),
    ("r0 = load_acquire((u32 *)({at}))", 4, false),
    ("r0 = load_acquire((u64 *)({at}))", 8, false),
    ("*(u8 *)({at}) = 1", 1, true),
    ("*(u16 *)({at}) = 1", 2, true),
    ("*(u32 *)({at}) = 1", 4, true),
    ("*(u64 *)({at}) = 1", 8, true),
    ("*(u8 *)({at}) = r3", 1, true),
    ("*(u64 *)({at}) = r3", 8, true),
    ("store_release((u16 *)({at}), r3)", 2, true),
    ("store_release((u64 *)({at}), r3)", 8, true),
    ("lock *(u32 *)({at}) += r3", 4, true),
    ("lock *(u64 *)({at}) += r3", 8, true),
    ("r3 = atomic_fetch_xor((u32 *)({at}), r3)", 4, true),
    ("r0 = atomic64_cmpxchg((u64 *)({at}), r0, r3)", 8, true),
    ("r3 = atomic_xchg((u32 *)({at}), r3)", 4, true),
];

/// An object that programs access: how a program gets its address into r6, and which offsets of it are live.
struct Object {
    setup: String,
    maps: Vec<Arc<dyn Map>>,
    live: std::ops::Range<i64>,
    writable: bool,
    /// Bytes of the context, and how many of them are hidden.
    context: (usize, u64),
    /// The name of an offset in it.
    place: fn(i64) -> String,
}

fn fault(outcome: &Outcome) -> (usize, &Fault) {
    let fault = outcome.result.as_ref().expect_err("a fault");
    (fault.insn, &fault.fault)
}

/// Whether it is an atomic instruction off its boundary, which only the context takes: nobody else has that, and where
/// it lies is the host's matter. (Linux's verifier refuses it anywhere: "misaligned value access".)
fn is_misaligned(text: &str, size: u64, offset: i64) -> bool {
    (text.contains("atomic") || text.contains("lock")) && !offset.unsigned_abs().is_multiple_of(size)
}

/// Every access at every offset round both ends of an object.
fn sweep(object: &Object) {
    let Object { live, .. } = object;
    let ends = [live.start - 9..live.start + 9, live.end - 9..live.end + 9];
    for (text, size, stores) in ACCESSES {
        for offset in ends.iter().cloned().flatten() {
            let access = text.replace("{at}", &format!("r6 {offset:+}"));
            let code = format!("{}\nr0 = 0\nr3 = 0\n{access}\nr0 = 77\nexit", object.setup);
            let insns = assemble(&code);
            let insn = insns.len() - 3;
            let mut lab = Lab::load(program(insns, &object.maps), &object.maps, object.context.0.max(1)).unwrap();
            (lab.context_len, lab.hidden) = (object.context.0 as u64, object.context.1);
            lab.writable = object.writable;
            let outcome = lab.run();
            let inside = live.start <= offset && offset + size as i64 <= live.end;
            let misaligned = is_misaligned(text, size, offset) && object.context.0 == 0;
            if inside && (object.writable || !stores) && !misaligned {
                assert_eq!(told(&outcome), "0x4d", "{code}");
                continue;
            }
            let (at, fault) = fault(&outcome);
            let Fault::Memory { size: bytes, write, place, why, .. } = fault else { panic!("{fault}\n{code}") };
            assert_eq!((at, *bytes, *write), (insn, size, stores), "{code}");
            if inside && !object.writable {
                assert_eq!(*why, "this memory is read-only", "{code}");
            } else if inside {
                assert!(why.starts_with("misaligned: "), "{code}");
            }
            if live.contains(&offset) {
                assert_eq!(*place, (object.place)(offset), "{code}");
            }
        }
    }
}

fn context(len: usize, hidden: u64, writable: bool) -> Object {
    Object {
        setup: "r6 = r1".to_owned(),
        maps: Vec::new(),
        live: hidden as i64..len as i64,
        writable,
        context: (len, hidden),
        place: |offset| format!("ctx+{offset}"),
    }
}

#[test]
fn the_context_ends_where_it_ends() {
    for len in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 40, 256] {
        sweep(&context(len, 0, true));
    }
}

#[test]
fn a_read_only_context_takes_no_store() {
    sweep(&context(24, 0, false));
    sweep(&context(5, 0, false));
}

#[test]
fn a_tracepoint_s_common_header_is_out_of_reach() {
    sweep(&context(32, 8, false));
}

#[test]
fn the_stack_is_512_bytes_a_frame() {
    let place: fn(i64) -> String = |offset| format!("stack{offset}");
    let setup = "r6 = r10".to_owned();
    let maps = Vec::new;
    sweep(&Object { setup, maps: maps(), live: -512..0, writable: true, context: (0, 0), place });
    // A function reaches its caller's frame, which is the 512 bytes before its own, as far as the engine is concerned.
    let setup = "call f\nexit\nf:\nr6 = r10".to_owned();
    let place: fn(i64) -> String =
        |offset| if offset < -512 { format!("stack{}", offset + 512) } else { format!("stack[frame 1]{offset}") };
    sweep(&Object { setup, maps: maps(), live: -1024..0, writable: true, context: (0, 0), place });
}

#[test]
fn the_frame_of_a_function_is_gone_with_it() {
    let text = "call f\nr0 = *(u64 *)(r0 +0)\nexit\nf:\nr0 = r10\nr0 += -8\n*(u64 *)(r0 +0) = 5\nexit";
    assert_eq!(
        told(&Lab::new(text).run()),
        "test, instruction 1: load of 8 bytes at stack+504: no live memory there\n  test.c:2: slot 1"
    );
}

/// Looks a key of four zero bytes up in map 0.
const LOOKUP: &str = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[0]\ncall bpf_map_lookup_elem#1\n\
                      if r0 != 0 goto +2\nr0 = 1\nexit\nr6 = r0";

fn value(kind: MapKind, size: u32, flags: u32) -> Object {
    // One entry: what lies behind it is not the next one.
    let map = map("EXITS", kind, 4, size, 1, flags);
    let place: fn(i64) -> String = match kind {
        MapKind::PercpuArray => |offset| format!("EXITS[0]@cpu0+{offset}"),
        _ => |offset| format!("EXITS[0]+{offset}"),
    };
    let setup = LOOKUP.to_owned();
    let writable = flags & BPF_F_RDONLY_PROG == 0;
    Object { setup, maps: vec![map], live: 0..size.into(), writable, context: (0, 0), place }
}

#[test]
fn a_value_ends_before_its_padding() {
    for size in [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 31] {
        for kind in [MapKind::Array, MapKind::PercpuArray] {
            sweep(&value(kind, size, 0));
        }
    }
}

#[test]
fn the_values_of_a_hash_are_apart() {
    let map = map("EXITS", MapKind::Hash, 4, 8, 8, 0);
    for key in 0..8_u32 {
        map.update_user(&key.to_le_bytes(), &[0; 8], 0).unwrap();
    }
    for (text_of, size, _) in ACCESSES {
        for offset in -8..16 {
            let access = text_of.replace("{at}", &format!("r6 {offset:+}"));
            let text = format!("{LOOKUP}\nr0 = 0\nr3 = 0\n{access}\nr0 = 77\nexit");
            let outcome = Lab::with(&text, std::slice::from_ref(&map), 1).run();
            let inside = 0 <= offset && offset + size as i64 <= 8 && !is_misaligned(text_of, size, offset);
            assert_eq!(outcome.result.is_ok(), inside, "{}\n{text}", told(&outcome));
        }
    }
}

#[test]
fn a_read_only_map_takes_no_store() {
    sweep(&value(MapKind::Array, 8, BPF_F_RDONLY_PROG));
    sweep(&value(MapKind::Array, 3, BPF_F_RDONLY_PROG));
}

#[test]
fn a_record_is_as_long_as_it_was_reserved() {
    for size in 1..=17 {
        let ring = map("RING", MapKind::RingBuf, 0, 0, 4096, 0);
        for (text, bytes, _) in ACCESSES {
            for offset in (-9..9).chain(size - 9..size + 9) {
                let access = text.replace("{at}", &format!("r6 {offset:+}"));
                let code = format!(
                    "r1 = map[0]\nr2 = {size}\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 != 0 goto +2\nr0 = 1\nexit\n\
                     r6 = r0\nr0 = 0\nr3 = 0\n{access}\nr1 = r6\nr2 = 0\ncall bpf_ringbuf_submit#132\nr0 = 77\nexit"
                );
                let outcome = Lab::with(&code, std::slice::from_ref(&ring), 1).run();
                let inside = 0 <= offset && offset + bytes as i64 <= size && !is_misaligned(text, bytes, offset);
                assert_eq!(outcome.result.is_ok(), inside, "{}\n{code}", told(&outcome));
                while ring.consume_user(&mut Vec::new()).unwrap() {}
            }
        }
    }
}

#[test]
fn a_submitted_record_is_out_of_reach() {
    let ring = [map("RING", MapKind::RingBuf, 0, 0, 4096, 0)];
    let text = "r1 = map[0]\nr2 = 16\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 != 0 goto +1\nexit\nr6 = r0\n\
                *(u64 *)(r6 +8) = 5\nr1 = r6\nr2 = 0\ncall bpf_ringbuf_submit#132\nr0 = *(u64 *)(r6 +8)\nexit";
    let outcome = Lab::with(text, &ring, 1).run();
    let (insn, fault) = fault(&outcome);
    assert!(matches!(fault, Fault::Memory { size: 8, write: false, .. }) && insn == 12, "{}", told(&outcome));
}

#[test]
fn addresses_do_not_wrap() {
    for (text, size, _) in ACCESSES {
        // The last bytes of the address space, and its first ones through the offset.
        for (base, offset) in [(-1_i64, 0), (-4, 0), (-8, 0), (-8, 8), (0, 0), (8, -8), (i64::MIN, 0), (i64::MAX, 1)] {
            let access = text.replace("{at}", &format!("r6 {offset:+}"));
            let code = format!("r6 = {:#x} ll\nr0 = 0\nr3 = 0\n{access}\nexit", base as u64);
            let outcome = Lab::new(&code).run();
            let Fault::Memory { address, size: bytes, place, .. } = fault(&outcome).1 else { panic!("{code}") };
            let expected = base.wrapping_add(offset) as u64;
            assert_eq!((*address, *bytes, place.clone()), (expected, size, format!("{expected:#x}")), "{code}");
        }
        // One byte before the context, reached from its first byte by an addition that wraps.
        let access = text.replace("{at}", "r1 +0");
        let code = format!("r2 = -1\nr1 += r2\nr0 = 0\nr3 = 0\n{access}\nexit");
        assert!(matches!(fault(&Lab::new(&code).run()), (4, Fault::Memory { .. })), "{code}");
    }
}

#[test]
fn unaligned_accesses_are_exact() {
    let bytes: Vec<u8> = (0..24).map(|n: u8| n.wrapping_mul(37) ^ 0x91).collect();
    for offset in 0..16 {
        for (letter, size) in [('u', 8), ('u', 16), ('u', 32), ('u', 64), ('s', 8), ('s', 16), ('s', 32)] {
            let mut expected = [0; 8];
            expected[..size / 8].copy_from_slice(&bytes[offset..offset + size / 8]);
            let mut expected = u64::from_le_bytes(expected);
            if letter == 's' {
                expected = ((expected << (64 - size)) as i64 >> (64 - size)) as u64;
            }
            let mut lab = Lab::with(&format!("r0 = *({letter}{size} *)(r1 +{offset})\nexit"), &[], 24);
            lab.put(&bytes);
            assert_eq!(lab.run().result, Ok(expected));
        }
        let text =
            format!("r3 = 0x1122334455667788 ll\nr3 = atomic64_fetch_add((u64 *)(r1 +{offset}), r3)\nr0 = r3\nexit");
        let mut lab = Lab::with(&text, &[], 24);
        lab.put(&bytes);
        let old = u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
        assert_eq!(lab.run().result, Ok(old), "{text}");
        let mut expected = bytes.clone();
        expected[offset..offset + 8].copy_from_slice(&old.wrapping_add(0x1122_3344_5566_7788).to_le_bytes());
        assert_eq!(lab.bytes(), expected, "{text}");
    }
}

#[test]
fn a_helper_s_arguments_are_checked_as_a_whole() {
    let maps = [map("EXITS", MapKind::Array, 4, 8, 8, 0)];
    for (key, value, result) in [
        (-4, -16, "0x0"),
        (-3, -16, "test, instruction 8: load of 4 bytes at stack-3: reaches past the end of this memory"),
        (-4, -7, "test, instruction 8: load of 8 bytes at stack-7: reaches past the end of this memory"),
        (-513, -8, "test, instruction 8: load of 4 bytes at stack-513: no live memory there"),
    ] {
        let text = format!(
            "*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += {key}\nr3 = r10\nr3 += {value}\nr1 = map[0]\nr4 = 0\n\
             call bpf_map_update_elem#2\nexit"
        );
        let told = told(&Lab::with(&text, &maps, 1).run());
        assert_eq!(told.lines().next().unwrap(), result, "{text}");
    }
}

#[test]
fn a_fault_names_instruction_place_and_source_line() {
    let maps = [map("EXITS", MapKind::Array, 4, 16, 8, 0)];
    let third = "*(u32 *)(r10 -4) = 3\nr2 = r10\nr2 += -4\nr1 = map[0]\ncall bpf_map_lookup_elem#1\n\
                 r1 = *(u64 *)(r0 +9)\nexit";
    for (text, expected) in [
        (
            "r1 = r10\nr0 = *(u64 *)(r1 -516)\nexit",
            "test, instruction 1: load of 8 bytes at stack-516: no live memory there\n  test.c:2: slot 1",
        ),
        (
            "r0 = 1\n*(u32 *)(r1 +62) = 7\nexit",
            "test, instruction 1: store of 4 bytes at ctx+62: reaches past the end of this memory\n  test.c:2: slot 1",
        ),
        (
            third,
            "test, instruction 6: load of 8 bytes at EXITS[3]+9: reaches past the end of this memory\n  test.c:7: slot 6",
        ),
        (
            "r1 = 16\nr0 = *(u8 *)(r1 +4)\nexit",
            "test, instruction 1: load of 1 bytes at 0x14: no live memory there\n  test.c:2: slot 1",
        ),
    ] {
        assert_eq!(told(&Lab::with(text, &maps, 64).run()), expected);
    }
}

/// Alone, an atomic instruction is a load and a store, and does the same.
#[test]
fn atomic_instructions_do_the_same_where_nobody_else_is() {
    let updates = ["+=", "|=", "&=", "^="].map(|sign| format!("lock *(u{{bits}} *)(r6 +{{at}}) {sign} r3"));
    let fetches = ["fetch_add", "fetch_or", "fetch_and", "fetch_xor", "xchg"]
        .map(|name| format!("r3 = {{atomic}}_{name}((u{{bits}} *)(r6 +{{at}}), r3)"));
    let exchange = "r0 = {atomic}_cmpxchg((u{bits} *)(r6 +{at}), r0, r3)".to_owned();
    for text in updates.iter().chain(&fetches).chain([&exchange]) {
        for (bits, atomic, at) in [("32", "atomic", 4), ("64", "atomic64", 8)] {
            let access = text.replace("{bits}", bits).replace("{atomic}", atomic).replace("{at}", &at.to_string());
            // The value that is compared with is there once, and once it is not.
            for old in [0x1122_3344_u64, 0x8877_6655_4433_2211] {
                let seen = [false, true].map(|alone| {
                    let map = map("EXITS", MapKind::Array, 4, 24, 1, 0);
                    map.update_user(&[0; 4], &[0x8877_6655_4433_2211_u64.to_le_bytes(); 3].concat(), 0).unwrap();
                    let text = format!(
                        "{LOOKUP}\nr0 = {old:#x} ll\nr3 = 0xf0f0f0f0f0f0f0f1 ll\n{access}\nr1 = 31\nr0 *= r1\nr0 ^= r3\nexit"
                    );
                    let mut lab = Lab::with(&text, std::slice::from_ref(&map), 1);
                    lab.alone = alone;
                    let mut value = Vec::new();
                    let result = lab.run().result;
                    map.lookup_user(&[0; 4], 0, &mut value).unwrap();
                    (result, value)
                });
                assert!(seen[0].0.is_ok());
                assert_eq!(seen[0], seen[1], "{access}");
            }
        }
    }
}
