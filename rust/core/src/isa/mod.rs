//! The instruction set: RFC 9669, versions 1 to 4, all conformance groups, and what Linux has added since
//! (load-acquire, store-release, `may_goto`).
//!
//! [`opcode`] has the numbers, [`decode()`] makes typed [`Op`]s of slots, [`encode()`] slots of those, [`text`] prints
//! them as the kernel does, [`asm`] reads that back.

pub mod asm;
pub mod decode;
pub mod encode;
pub mod op;
pub mod opcode;
pub mod text;

pub use asm::{AsmError, assemble, assemble_with};
pub use decode::{DecodeError, decode, decode_lenient};
pub use encode::encode;
pub use op::{Imm64, Op, Reg, Source, SwapOrder};
pub use opcode::{AluOp, AtomicOp, JumpOp, Size, Width};
pub use text::{Names, disassemble};

/// The slots at which instructions begin: all but the second ones of `lddw`.
pub fn starts(insns: &[Insn]) -> impl Iterator<Item = usize> {
    const LDDW: u8 = opcode::class::LD | opcode::mode::IMM | Size::Double.code();
    let behind = |at: usize| at + if insns.get(at).is_some_and(|insn| insn.code == LDDW) { 2 } else { 1 };
    std::iter::successors(Some(0), move |at| Some(behind(*at))).take_while(|at| *at < insns.len())
}

/// One 8-byte instruction slot, fields as in memory (RFC 9669 §3).
///
/// `lddw` takes two slots; the second holds only `imm`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Insn {
    /// Opcode.
    pub code: u8,
    /// Destination register, 0 to 15.
    pub dst: u8,
    /// Source register or pseudo source, 0 to 15.
    pub src: u8,
    /// Signed offset.
    pub off: i16,
    /// Signed immediate.
    pub imm: i32,
}

impl Insn {
    /// Reads a slot from its little-endian bytes.
    #[must_use]
    pub const fn from_bytes(b: [u8; 8]) -> Insn {
        Insn {
            code: b[0],
            dst: b[1] & 15,
            src: b[1] >> 4,
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// Writes a slot as little-endian bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        [self.code, (self.dst & 15) | (self.src << 4), off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }
}
