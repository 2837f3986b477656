//! Slots to typed instructions.

use super::Insn;
use super::op::{Imm64, Op, Reg, Source, SwapOrder};
use super::opcode::{
    AluOp, AtomicOp, JumpOp, OPERATION_MASK, SOURCE_REGISTER, Size, Width, alu, call, class, imm64, jump, mode, ordered,
};

/// A field of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    /// Destination register.
    Dst,
    /// Source register.
    Src,
    /// Offset.
    Off,
    /// Immediate.
    Imm,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Field::Dst => "dst",
            Field::Src => "src",
            Field::Off => "off",
            Field::Imm => "imm",
        })
    }
}

/// Why a slot is no instruction. `insn` is always the index of the slot that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no slot of that index.
    #[error("insn {insn}: past the end of the program, which has {len} instructions")]
    OffTheEnd {
        /// Index asked for.
        insn: usize,
        /// Slots of the program.
        len: usize,
    },
    /// The opcode is not defined.
    #[error("insn {insn}: opcode {code:#04x} is not defined; class {class} has no such instruction")]
    UnknownOpcode {
        /// Slot.
        insn: usize,
        /// Opcode.
        code: u8,
        /// Name of its class.
        class: &'static str,
    },
    /// A register that does not exist.
    #[error("insn {insn}: opcode {code:#04x} has {field} r{found}; the registers are r0 to r10")]
    Register {
        /// Slot.
        insn: usize,
        /// Opcode.
        code: u8,
        /// `Dst` or `Src`.
        field: Field,
        /// Number found.
        found: u8,
    },
    /// A field that the instruction does not use is not zero.
    #[error("insn {insn}: opcode {code:#04x} does not use {field}, which must be 0; found {found}")]
    Reserved {
        /// Slot.
        insn: usize,
        /// Opcode; of `lddw` for its second slot too.
        code: u8,
        /// Field.
        field: Field,
        /// Value found.
        found: i32,
    },
    /// A field that selects a variant of the instruction has a value without meaning.
    #[error("insn {insn}: opcode {code:#04x} with {field} {found} is not defined; {field} is {expected}")]
    Variant {
        /// Slot.
        insn: usize,
        /// Opcode.
        code: u8,
        /// Field.
        field: Field,
        /// Value found.
        found: i32,
        /// The values that have a meaning.
        expected: &'static str,
    },
    /// An atomic read-modify-write of one or two bytes.
    #[error("insn {insn}: an atomic operation on {bytes} bytes is not defined; it takes 4 or 8")]
    AtomicSize {
        /// Slot.
        insn: usize,
        /// Bytes.
        bytes: u8,
    },
    /// The program ends after the first slot of `lddw`.
    #[error("insn {insn}: the program ends inside this lddw, which takes two slots")]
    CutOff {
        /// First slot.
        insn: usize,
    },
    /// The second slot of `lddw` has more than an immediate.
    #[error(
        "insn {insn}: the second slot of lddw holds only imm; found opcode {:#04x}, dst {}, src {}, off {}",
        found.code, found.dst, found.src, found.off
    )]
    SecondSlot {
        /// Second slot.
        insn: usize,
        /// Its contents.
        found: Insn,
    },
}

/// Decodes the instruction at slot `at`, and says how many slots it takes.
///
/// Strict: refuses what Linux's verifier refuses of a single instruction's encoding, unused fields that are not zero
/// included (RFC 9669 §3.1; Linux overlooks the `off` of `exit`, and so does this). A write to r10, a constant divisor of 0 and a constant shift beyond the width are
/// encoded well; refusing those is the verifier's business.
///
/// # Errors
/// [`DecodeError`], with the slot that is wrong.
pub fn decode(insns: &[Insn], at: usize) -> Result<(Op, usize), DecodeError> {
    let insn = *insns.get(at).ok_or(DecodeError::OffTheEnd { insn: at, len: insns.len() })?;
    let op = decode_slots(Slot { insn, at }, insns.get(at + 1).copied())?;
    Ok((op, op.slots()))
}

/// As [`decode`], but takes the unused fields that Linux wants to be zero for zero, as most other virtual machines do.
///
/// # Errors
/// [`DecodeError`], never its `Reserved`.
pub fn decode_lenient(insns: &[Insn], at: usize) -> Result<(Op, usize), DecodeError> {
    let mut insn = *insns.get(at).ok_or(DecodeError::OffTheEnd { insn: at, len: insns.len() })?;
    let mut second = insns.get(at + 1).copied();
    loop {
        let (slot, field) = match decode_slots(Slot { insn, at }, second) {
            Ok(op) => return Ok((op, op.slots())),
            Err(DecodeError::Reserved { insn: slot, field, .. }) => (slot, field),
            Err(error) => return Err(error),
        };
        // A field is cleared once, so this ends.
        let wrong = if slot == at { Some(&mut insn) } else { second.as_mut() };
        match (wrong, field) {
            (Some(insn), Field::Dst) => insn.dst = 0,
            (Some(insn), Field::Src) => insn.src = 0,
            (Some(insn), Field::Off) => insn.off = 0,
            (Some(insn), Field::Imm) => insn.imm = 0,
            (None, _) => return Err(DecodeError::CutOff { insn: at }),
        }
    }
}

/// A slot with its place, for the errors.
#[derive(Clone, Copy)]
struct Slot {
    insn: Insn,
    at: usize,
}

impl Slot {
    fn unknown(self) -> DecodeError {
        const CLASSES: [&str; 8] = ["ld", "ldx", "st", "stx", "alu", "jmp", "jmp32", "alu64"];
        let class = CLASSES[usize::from(self.insn.code & class::MASK)];
        DecodeError::UnknownOpcode { insn: self.at, code: self.insn.code, class }
    }

    fn value(self, field: Field) -> i32 {
        match field {
            Field::Dst => i32::from(self.insn.dst),
            Field::Src => i32::from(self.insn.src),
            Field::Off => i32::from(self.insn.off),
            Field::Imm => self.insn.imm,
        }
    }

    fn variant(self, field: Field, expected: &'static str) -> DecodeError {
        DecodeError::Variant { insn: self.at, code: self.insn.code, field, found: self.value(field), expected }
    }

    /// The fields that the instruction does not use.
    fn unused(self, fields: &[Field]) -> Result<(), DecodeError> {
        match fields.iter().find(|&&field| self.value(field) != 0) {
            None => Ok(()),
            Some(&field) => {
                Err(DecodeError::Reserved { insn: self.at, code: self.insn.code, field, found: self.value(field) })
            }
        }
    }

    fn dst(self) -> Result<Reg, DecodeError> {
        self.register(Field::Dst, self.insn.dst)
    }

    fn src(self) -> Result<Reg, DecodeError> {
        self.register(Field::Src, self.insn.src)
    }

    fn register(self, field: Field, number: u8) -> Result<Reg, DecodeError> {
        Reg::new(number).ok_or(DecodeError::Register { insn: self.at, code: self.insn.code, field, found: number })
    }

    fn has_source_register(self) -> bool {
        self.insn.code & SOURCE_REGISTER != 0
    }

    /// The second operand, by the source bit; the field of the other kind is unused.
    fn source(self) -> Result<Source, DecodeError> {
        if self.has_source_register() {
            self.unused(&[Field::Imm])?;
            Ok(Source::Reg(self.src()?))
        } else {
            self.unused(&[Field::Src])?;
            Ok(Source::Imm(self.insn.imm))
        }
    }

    fn size(self) -> Result<Size, DecodeError> {
        Size::from_code(self.insn.code & Size::MASK).ok_or(self.unknown())
    }
}

fn decode_slots(slot: Slot, second: Option<Insn>) -> Result<Op, DecodeError> {
    match slot.insn.code & class::MASK {
        class::LD => decode_ld(slot, second),
        class::LDX => decode_ldx(slot),
        class::ST => decode_st(slot),
        class::STX => decode_stx(slot),
        class::ALU => decode_alu(slot, Width::W32),
        class::ALU64 => decode_alu(slot, Width::W64),
        class::JMP => decode_jump(slot, Width::W64),
        _ => decode_jump(slot, Width::W32),
    }
}

fn decode_alu(slot: Slot, width: Width) -> Result<Op, DecodeError> {
    let operation = slot.insn.code & OPERATION_MASK;
    if operation == alu::NEG {
        if slot.has_source_register() {
            return Err(slot.unknown());
        }
        slot.unused(&[Field::Src, Field::Off, Field::Imm])?;
        return Ok(Op::Neg { width, dst: slot.dst()? });
    }
    if operation == alu::END {
        return decode_swap(slot, width);
    }
    let plain = AluOp::from_code(u16::from(operation)).ok_or(slot.unknown())?;
    let op = match (plain, slot.insn.off) {
        (_, 0) => plain,
        (AluOp::Div, 1) => AluOp::SDiv,
        (AluOp::Mod, 1) => AluOp::SMod,
        (AluOp::Div | AluOp::Mod, _) => return Err(slot.variant(Field::Off, "0, or 1 for the signed one")),
        (AluOp::Mov, _) if slot.has_source_register() => return decode_movsx(slot, width),
        _ => {
            slot.unused(&[Field::Off])?;
            plain
        }
    };
    let src = slot.source()?;
    Ok(Op::Alu { width, op, dst: slot.dst()?, src })
}

fn decode_movsx(slot: Slot, width: Width) -> Result<Op, DecodeError> {
    let from = match (slot.insn.off, width) {
        (8, _) => Size::Byte,
        (16, _) => Size::Half,
        (32, Width::W64) => Size::Word,
        (_, Width::W64) => return Err(slot.variant(Field::Off, "0, or 8, 16 or 32 to sign-extend")),
        (_, Width::W32) => return Err(slot.variant(Field::Off, "0, or 8 or 16 to sign-extend")),
    };
    slot.unused(&[Field::Imm])?;
    Ok(Op::MovSx { width, from, dst: slot.dst()?, src: slot.src()? })
}

fn decode_swap(slot: Slot, width: Width) -> Result<Op, DecodeError> {
    let order = match (width, slot.has_source_register()) {
        (Width::W32, false) => SwapOrder::Little,
        (Width::W32, true) => SwapOrder::Big,
        (Width::W64, false) => SwapOrder::Swap,
        (Width::W64, true) => return Err(slot.unknown()),
    };
    let size = match Size::from_bits(slot.insn.imm) {
        Some(size @ (Size::Half | Size::Word | Size::Double)) => size,
        _ => return Err(slot.variant(Field::Imm, "16, 32 or 64")),
    };
    slot.unused(&[Field::Src, Field::Off])?;
    Ok(Op::Swap { order, size, dst: slot.dst()? })
}

fn decode_ld(slot: Slot, second: Option<Insn>) -> Result<Op, DecodeError> {
    let size = slot.size()?;
    match (slot.insn.code & mode::MASK, size) {
        (mode::IMM, Size::Double) => decode_imm64(slot, second),
        (mode::ABS, Size::Byte | Size::Half | Size::Word) => {
            slot.unused(&[Field::Dst, Field::Src, Field::Off])?;
            Ok(Op::LoadAbs { size, offset: slot.insn.imm })
        }
        (mode::IND, Size::Byte | Size::Half | Size::Word) => {
            slot.unused(&[Field::Dst, Field::Off])?;
            Ok(Op::LoadInd { size, src: slot.src()?, offset: slot.insn.imm })
        }
        _ => Err(slot.unknown()),
    }
}

fn decode_imm64(slot: Slot, second: Option<Insn>) -> Result<Op, DecodeError> {
    let second = second.ok_or(DecodeError::CutOff { insn: slot.at })?;
    if second != (Insn { imm: second.imm, ..Insn::default() }) {
        return Err(DecodeError::SecondSlot { insn: slot.at + 1, found: second });
    }
    slot.unused(&[Field::Off])?;
    let (low, high) = (slot.insn.imm, second.imm);
    let no_high = || match high {
        0 => Ok(()),
        found => Err(DecodeError::Reserved { insn: slot.at + 1, code: slot.insn.code, field: Field::Imm, found }),
    };
    let value = match slot.insn.src {
        imm64::VALUE => Imm64::Value(u64::from(low as u32) | u64::from(high as u32) << 32),
        imm64::MAP_FD => {
            no_high()?;
            Imm64::Map(low)
        }
        imm64::MAP_VALUE => Imm64::MapValue { map: low, offset: high as u32 },
        imm64::BTF_ID => Imm64::BtfId { id: low, btf_fd: high },
        imm64::FUNC => {
            no_high()?;
            Imm64::Function { offset: low }
        }
        imm64::MAP_IDX => {
            no_high()?;
            Imm64::MapIndex(low)
        }
        imm64::MAP_IDX_VALUE => Imm64::MapIndexValue { index: low, offset: high as u32 },
        _ => return Err(slot.variant(Field::Src, "0 to 6, a pseudo source")),
    };
    Ok(Op::LoadImm64 { dst: slot.dst()?, value })
}

fn decode_ldx(slot: Slot) -> Result<Op, DecodeError> {
    let size = slot.size()?;
    let signed = match (slot.insn.code & mode::MASK, size) {
        (mode::MEM, _) => false,
        (mode::MEMSX, Size::Byte | Size::Half | Size::Word) => true,
        _ => return Err(slot.unknown()),
    };
    slot.unused(&[Field::Imm])?;
    Ok(Op::Load { size, signed, dst: slot.dst()?, base: slot.src()?, offset: slot.insn.off })
}

fn decode_st(slot: Slot) -> Result<Op, DecodeError> {
    let size = slot.size()?;
    if slot.insn.code & mode::MASK != mode::MEM {
        return Err(slot.unknown());
    }
    slot.unused(&[Field::Src])?;
    Ok(Op::Store { size, base: slot.dst()?, offset: slot.insn.off, src: Source::Imm(slot.insn.imm) })
}

fn decode_stx(slot: Slot) -> Result<Op, DecodeError> {
    let (size, offset) = (slot.size()?, slot.insn.off);
    match (slot.insn.code & mode::MASK, slot.insn.imm) {
        (mode::MEM, _) => {
            slot.unused(&[Field::Imm])?;
            Ok(Op::Store { size, base: slot.dst()?, offset, src: Source::Reg(slot.src()?) })
        }
        (mode::ATOMIC, ordered::LOAD_ACQUIRE) => {
            Ok(Op::LoadAcquire { size, dst: slot.dst()?, base: slot.src()?, offset })
        }
        (mode::ATOMIC, ordered::STORE_RELEASE) => {
            Ok(Op::StoreRelease { size, base: slot.dst()?, offset, src: slot.src()? })
        }
        (mode::ATOMIC, imm) => {
            let width = match size {
                Size::Word => Width::W32,
                Size::Double => Width::W64,
                Size::Byte | Size::Half => {
                    return Err(DecodeError::AtomicSize { insn: slot.at, bytes: size.bytes() });
                }
            };
            let op = AtomicOp::from_code(imm).ok_or(slot.variant(
                Field::Imm,
                "an atomic operation: 0x00, 0x40, 0x50, 0xa0 (1 more to fetch), 0xe1, 0xf1, 0x100 or 0x110",
            ))?;
            Ok(Op::Atomic { width, op, base: slot.dst()?, offset, src: slot.src()? })
        }
        _ => Err(slot.unknown()),
    }
}

fn decode_jump(slot: Slot, width: Width) -> Result<Op, DecodeError> {
    let Insn { code, src, off, imm, .. } = slot.insn;
    if let Some(op) = JumpOp::from_code(code & OPERATION_MASK) {
        let src = slot.source()?;
        return Ok(Op::Jump { width, op, dst: slot.dst()?, src, offset: off });
    }
    match (code & OPERATION_MASK, width, slot.has_source_register()) {
        (jump::JA, Width::W64, false) => {
            slot.unused(&[Field::Dst, Field::Src, Field::Imm])?;
            Ok(Op::Ja { offset: off })
        }
        (jump::JA, Width::W32, false) => {
            slot.unused(&[Field::Dst, Field::Src, Field::Off])?;
            Ok(Op::JaLong { offset: imm })
        }
        (jump::JCOND, Width::W64, false) => {
            slot.unused(&[Field::Dst, Field::Src, Field::Imm])?;
            Ok(Op::MayGoto { offset: off })
        }
        (jump::EXIT, Width::W64, false) => {
            // Not `off`: Linux 6.18 does not look at it.
            slot.unused(&[Field::Dst, Field::Src, Field::Imm])?;
            Ok(Op::Exit)
        }
        (jump::CALL, Width::W64, true) => {
            slot.unused(&[Field::Src, Field::Off, Field::Imm])?;
            Ok(Op::CallRegister { target: slot.dst()? })
        }
        (jump::CALL, Width::W64, false) => {
            slot.unused(&[Field::Dst])?;
            if src == call::KFUNC {
                return Ok(Op::CallKfunc { btf_id: imm, btf_index: off });
            }
            slot.unused(&[Field::Off])?;
            match src {
                call::HELPER => Ok(Op::CallHelper { id: imm as u32 }),
                call::LOCAL => Ok(Op::CallLocal { offset: imm }),
                _ => Err(slot.variant(Field::Src, "0 for a helper, 1 for a local function or 2 for a kernel function")),
            }
        }
        _ => Err(slot.unknown()),
    }
}
