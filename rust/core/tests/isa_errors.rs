//! Every way in which a slot or a text is refused, and what the refusal says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axebpf_core::isa::asm::Symbols;
use axebpf_core::isa::decode::Field;
use axebpf_core::isa::{DecodeError, Insn, Op, Reg, Size, SwapOrder, assemble, assemble_with, decode, decode_lenient};

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, dst, src, off, imm }
}

fn refused(insns: &[Insn]) -> (DecodeError, String) {
    let error = decode(insns, 0).unwrap_err();
    (error, error.to_string())
}

#[test]
fn off_the_end() {
    let error = decode(&[insn(0x95, 0, 0, 0, 0)], 3).unwrap_err();
    assert_eq!(error, DecodeError::OffTheEnd { insn: 3, len: 1 });
    assert_eq!(error.to_string(), "insn 3: past the end of the program, which has 1 instructions");
}

#[test]
fn unknown_opcode() {
    let (error, text) = refused(&[insn(0x99, 1, 2, 0, 0)]);
    assert_eq!(error, DecodeError::UnknownOpcode { insn: 0, code: 0x99, class: "ldx" });
    assert_eq!(text, "insn 0: opcode 0x99 is not defined; class ldx has no such instruction");
}

#[test]
fn register() {
    let (error, text) = refused(&[insn(0xb7, 11, 0, 0, 0)]);
    assert_eq!(error, DecodeError::Register { insn: 0, code: 0xb7, field: Field::Dst, found: 11 });
    assert_eq!(text, "insn 0: opcode 0xb7 has dst r11; the registers are r0 to r10");
    let (error, _) = refused(&[insn(0xbf, 0, 15, 0, 0)]);
    assert_eq!(error, DecodeError::Register { insn: 0, code: 0xbf, field: Field::Src, found: 15 });
}

#[test]
fn reserved() {
    let (error, text) = refused(&[insn(0x95, 0, 0, 0, 7)]);
    assert_eq!(error, DecodeError::Reserved { insn: 0, code: 0x95, field: Field::Imm, found: 7 });
    assert_eq!(text, "insn 0: opcode 0x95 does not use imm, which must be 0; found 7");
}

#[test]
fn reserved_in_the_second_slot_of_lddw() {
    let (error, _) = refused(&[insn(0x18, 0, 1, 0, 3), insn(0, 0, 0, 0, 9)]);
    assert_eq!(error, DecodeError::Reserved { insn: 1, code: 0x18, field: Field::Imm, found: 9 });
}

#[test]
fn variant() {
    let (error, text) = refused(&[insn(0xd4, 0, 0, 0, 24)]);
    assert!(matches!(error, DecodeError::Variant { insn: 0, code: 0xd4, field: Field::Imm, found: 24, .. }));
    assert_eq!(text, "insn 0: opcode 0xd4 with imm 24 is not defined; imm is 16, 32 or 64");
}

#[test]
fn atomic_size() {
    let (error, text) = refused(&[insn(0xd3, 1, 2, 0, 0)]);
    assert_eq!(error, DecodeError::AtomicSize { insn: 0, bytes: 1 });
    assert_eq!(text, "insn 0: an atomic operation on 1 bytes is not defined; it takes 4 or 8");
}

#[test]
fn cut_off() {
    let (error, text) = refused(&[insn(0x18, 0, 0, 0, 0)]);
    assert_eq!(error, DecodeError::CutOff { insn: 0 });
    assert_eq!(text, "insn 0: the program ends inside this lddw, which takes two slots");
}

#[test]
fn second_slot() {
    let second = insn(0x95, 0, 0, 0, 0);
    let (error, text) = refused(&[insn(0x18, 0, 0, 0, 0), second]);
    assert_eq!(error, DecodeError::SecondSlot { insn: 1, found: second });
    assert_eq!(text, "insn 1: the second slot of lddw holds only imm; found opcode 0x95, dst 0, src 0, off 0");
}

#[test]
fn lenient_decoding_takes_unused_fields_for_zero_and_nothing_else() {
    let program = [insn(0x95, 1, 2, 0, 4), insn(0xd4, 2, 5, 6, 16), insn(0x18, 0, 1, 7, 3), insn(0, 0, 0, 0, 9)];
    assert_eq!(decode_lenient(&program, 0), Ok((Op::Exit, 1)));
    let dst = Reg::new(2).unwrap();
    assert_eq!(decode_lenient(&program, 1), Ok((Op::Swap { order: SwapOrder::Little, size: Size::Half, dst }, 1)));
    assert_eq!(decode_lenient(&program, 2).unwrap(), decode(&assemble("r0 = map[3]").unwrap(), 0).unwrap());
    assert!(matches!(decode_lenient(&[insn(0xd4, 0, 0, 0, 24)], 0), Err(DecodeError::Variant { .. })));
}

#[test]
fn assembler_errors() {
    let cases = [
        ("r0 = 0\nexti", "line 2, column 1: expected an instruction or a label; did you mean `exit`?; found `exti`"),
        (
            "r0 = r11",
            "line 1, column 6: expected a register r0 to r10, a number, memory, a byte swap or an atomic operation; found `r11`",
        ),
        ("r11 = 0", "line 1, column 1: expected an instruction or a label; found `r11`"),
        ("w0 = r1", "line 1, column 6: expected a 32-bit register, w0 to w10 or a 32-bit number"),
        ("r0 += 5 6", "line 1, column 9: expected the end of the line; found `6`"),
        ("r0 += 4294967296", "line 1, column 7: expected a register, r0 to r10 or a 32-bit number"),
        ("r0 = 4294967296", "line 1, column 16: expected `ll`; found the end of the line"),
        ("r0 ?= 1", "line 1, column 4: expected an operator such as `=` or `+=`; found `?`"),
        ("r0 = *(u65 *)(r1 +0)", "line 1, column 8: expected u8, u16, u32 or u64 or s8, s16 or s32; found `u65`"),
        ("r0 = *(u64 *)(r1 +40000)", "line 1, column 19: expected an offset, -32768 to 32767; found `40000`"),
        ("if r1 ~ 5 goto +1", "line 1, column 7: expected a comparison such as `==` or `s>`; found `~`"),
        ("if r1 == 5 got +1", "line 1, column 12: expected `goto`; did you mean `goto`?; found `got`"),
        ("goto done\ndome:\nexit", "line 1, column 6: there is no such label; did you mean `dome`?; found `done`"),
        ("x:\nx:\nexit", "line 2, column 1: this label stands already in line 1; found `x`"),
        ("call bpf_nothing", "line 1, column 6: there is no such label or helper (write helpers as name#id); found"),
        ("r0 = map[EXITS]", "line 1, column 10: expected a known map's name or its number; found `EXITS`"),
        ("r1 = -r2", "line 1, column 7: expected the same register again"),
        (
            "r0 = le8 r0",
            "line 1, column 6: expected a register r0 to r10, a number, memory, a byte swap or an atomic operation; did you mean `le16`?; found `le8`",
        ),
        (
            "r0 = atomic64_fetch_ad((u64 *)(r1 +0), r0)",
            "line 1, column 6: expected a register r0 to r10, a number, memory, a byte swap or an atomic operation; did you mean `atomic64_fetch_add`?",
        ),
        ("call 5", "line 1, column 6: expected a helper as name#id, a label or a distance such as pc+3; found `5`"),
        ("gotoo x", "line 1, column 1: expected an instruction or a label; did you mean `goto`?; found `gotoo`"),
        ("lock *(u8 *)(r1 +0) += r2", "line 1, column 8: expected u32 or u64; found `u8`"),
        ("r3 = atomic64_xchg((u64 *)(r1 +0), r2)", "line 1, column 36: expected the register that is assigned to"),
        ("goto +40000", "line 1, column 6: expected a distance from -32768 to 32767 (gotol jumps further); found `+`"),
        ("é", "line 1, column 1: expected an instruction or a label; found `é`"),
    ];
    for (text, message) in cases {
        let error = assemble(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text:?}:\n  {error}\nis not\n  {message}");
    }
}

#[test]
fn a_label_out_of_reach() {
    let text = format!("goto far\n{}far:\nexit\n", "r0 = 0\n".repeat(40_000));
    let error = assemble(&text).unwrap_err();
    assert_eq!((error.line, error.column), (1, 6));
    assert!(error.what.contains("gotol"), "{error}");
    assert!(assemble(&text.replace("goto", "gotol")).is_ok());
}

#[test]
fn symbols_stand_for_numbers() {
    let symbols = Symbols {
        helper: &|name| (name == "bpf_ktime_get_ns").then_some(5),
        map: &|name| (name == "EXITS").then_some(7),
    };
    let named = "call bpf_ktime_get_ns\nr1 = map[EXITS]\nr2 = map[EXITS][0]+16";
    let numbered = "call x#5\nr1 = map[7]\nr2 = map[7][0]+16";
    assert_eq!(assemble_with(named, &symbols), assemble(numbered));
    let error = assemble_with("call bpf_ktime_get_ns#6", &symbols).unwrap_err();
    assert_eq!(error.what, "this helper has the id 5, not 6");
}
