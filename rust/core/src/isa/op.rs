//! One decoded instruction.

use std::fmt;

use super::opcode::{AluOp, AtomicOp, JumpOp, Size, Width};

/// A register, r0 to r10.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(u8);

impl Reg {
    /// Return value.
    pub const R0: Reg = Reg(0);
    /// First argument; the context at entry.
    pub const R1: Reg = Reg(1);
    /// The packet, for the legacy packet loads.
    pub const R6: Reg = Reg(6);
    /// Frame pointer, read-only.
    pub const R10: Reg = Reg(10);
    /// How many there are.
    pub const COUNT: usize = 11;

    /// The register of a number, if it is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Reg> {
        if (number as usize) < Reg::COUNT { Some(Reg(number)) } else { None }
    }

    /// The number, for the instruction's field.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number, below [`Reg::COUNT`], for an array of registers.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The second operand of arithmetic and comparisons, or what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended to the width of the operation (RFC 9669 §4.1, §4.3).
    Imm(i32),
}

/// What a byte swap does (RFC 9669 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SwapOrder {
    /// `le16` …: to little endian; on a little-endian host only the upper bits are cleared.
    Little,
    /// `be16` …: to big endian.
    Big,
    /// `bswap16` …: always swaps.
    Swap,
}

/// What `lddw` loads (RFC 9669 §5.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Imm64 {
    /// A constant.
    Value(u64),
    /// A map, by descriptor (in a linked program: by slot).
    Map(i32),
    /// The address `offset` bytes into a map's only value.
    MapValue {
        /// Descriptor or slot.
        map: i32,
        /// Byte offset.
        offset: u32,
    },
    /// A kernel variable.
    BtfId {
        /// Its BTF id.
        id: i32,
        /// Descriptor of the module's BTF, 0 for the kernel's own.
        btf_fd: i32,
    },
    /// A function of the same program, relative to the next slot.
    Function {
        /// Slots from the slot after the first of `lddw`.
        offset: i32,
    },
    /// A map, by index into the loader's table.
    MapIndex(i32),
    /// The address `offset` bytes into the only value of a map given by index.
    MapIndexValue {
        /// Index.
        index: i32,
        /// Byte offset.
        offset: u32,
    },
}

/// One instruction.
///
/// Jump and call offsets count slots from the slot after the instruction. Everything that [`decode`](super::decode())
/// returns encodes back to the same slots, but an `exit` whose unused `off` is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// `dst = dst op src`.
    Alu {
        /// Width.
        width: Width,
        /// Operation.
        op: AluOp,
        /// Destination and first operand.
        dst: Reg,
        /// Second operand.
        src: Source,
    },
    /// `dst = -dst`.
    Neg {
        /// Width.
        width: Width,
        /// Operand and destination.
        dst: Reg,
    },
    /// Move that sign-extends the low `from` bits of `src` to `width`.
    MovSx {
        /// Width.
        width: Width,
        /// Byte, half or, where `width` is 64, word.
        from: Size,
        /// Destination.
        dst: Reg,
        /// Source.
        src: Reg,
    },
    /// Byte swap of the low `size` bits; the bits above are cleared.
    Swap {
        /// Direction.
        order: SwapOrder,
        /// Half, word or double.
        size: Size,
        /// Operand and destination.
        dst: Reg,
    },
    /// `lddw`: takes two slots.
    LoadImm64 {
        /// Destination.
        dst: Reg,
        /// What is loaded.
        value: Imm64,
    },
    /// `dst = *(size *)(base + offset)`.
    Load {
        /// Bytes loaded; not `Double` where `signed`.
        size: Size,
        /// Whether to sign-extend to 64 bits instead of zero-extending.
        signed: bool,
        /// Destination.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Added to the address.
        offset: i16,
    },
    /// `*(size *)(base + offset) = src`.
    Store {
        /// Bytes stored.
        size: Size,
        /// Address.
        base: Reg,
        /// Added to the address.
        offset: i16,
        /// What is stored; a constant is sign-extended to 64 bits first.
        src: Source,
    },
    /// Atomic read-modify-write of `*(width *)(base + offset)`.
    Atomic {
        /// Width; a 32-bit fetch clears the upper half of the register that it sets.
        width: Width,
        /// Operation.
        op: AtomicOp,
        /// Address.
        base: Reg,
        /// Added to the address.
        offset: i16,
        /// Operand; the old value's destination for the fetching ones but compare-and-exchange, which uses r0.
        src: Reg,
    },
    /// Load that later accesses cannot overtake.
    LoadAcquire {
        /// Bytes loaded, zero-extended.
        size: Size,
        /// Destination.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Added to the address.
        offset: i16,
    },
    /// Store that cannot overtake earlier accesses.
    StoreRelease {
        /// Bytes stored.
        size: Size,
        /// Address.
        base: Reg,
        /// Added to the address.
        offset: i16,
        /// What is stored.
        src: Reg,
    },
    /// Legacy: r0 = packet data at a constant offset, in host order; r6 is the packet (RFC 9669 §5.5).
    LoadAbs {
        /// Byte, half or word.
        size: Size,
        /// Offset into the packet.
        offset: i32,
    },
    /// Legacy: r0 = packet data at `src + offset`.
    LoadInd {
        /// Byte, half or word.
        size: Size,
        /// Register added to the offset.
        src: Reg,
        /// Offset into the packet.
        offset: i32,
    },
    /// `goto`.
    Ja {
        /// Slots from the next one.
        offset: i16,
    },
    /// `gotol`.
    JaLong {
        /// Slots from the next one.
        offset: i32,
    },
    /// Jumps if `dst op src`.
    Jump {
        /// Width of the comparison.
        width: Width,
        /// Comparison.
        op: JumpOp,
        /// First operand.
        dst: Reg,
        /// Second operand.
        src: Source,
        /// Slots from the next one.
        offset: i16,
    },
    /// Jumps once the program has used up its iterations, else falls through (Linux 6.9).
    MayGoto {
        /// Slots from the next one.
        offset: i16,
    },
    /// Calls a helper.
    CallHelper {
        /// Helper id.
        id: u32,
    },
    /// Calls a function of the same program.
    CallLocal {
        /// Slots from the next one.
        offset: i32,
    },
    /// Calls a kernel function.
    CallKfunc {
        /// Its BTF id.
        btf_id: i32,
        /// Index of the module's BTF in the loader's table, 0 for the kernel's own.
        btf_index: i16,
    },
    /// `callx`: calls the helper whose id is in a register. No Linux takes it.
    CallRegister {
        /// Register that holds the id.
        target: Reg,
    },
    /// Returns from the function.
    Exit,
}

impl Op {
    /// Slots that the instruction takes.
    #[must_use]
    pub const fn slots(&self) -> usize {
        if matches!(self, Op::LoadImm64 { .. }) { 2 } else { 1 }
    }

    /// The register that the instruction sets, apart from the r0 of calls and of compare-and-exchange.
    #[must_use]
    pub const fn written(&self) -> Option<Reg> {
        match *self {
            Op::Alu { dst, .. }
            | Op::Neg { dst, .. }
            | Op::MovSx { dst, .. }
            | Op::Swap { dst, .. }
            | Op::LoadImm64 { dst, .. }
            | Op::Load { dst, .. }
            | Op::LoadAcquire { dst, .. } => Some(dst),
            Op::Atomic { op, src, .. } => match op {
                AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor | AtomicOp::Cmpxchg => None,
                AtomicOp::FetchAdd | AtomicOp::FetchOr | AtomicOp::FetchAnd | AtomicOp::FetchXor | AtomicOp::Xchg => {
                    Some(src)
                }
            },
            _ => None,
        }
    }

    /// Where the instruction points inside the program, in slots from the slot after its first: the target of a jump
    /// or a local call, or the function that `lddw` takes the address of.
    #[must_use]
    pub const fn target(&self) -> Option<i32> {
        match *self {
            Op::Ja { offset } | Op::Jump { offset, .. } | Op::MayGoto { offset } => Some(offset as i32),
            Op::JaLong { offset }
            | Op::CallLocal { offset }
            | Op::LoadImm64 { value: Imm64::Function { offset }, .. } => Some(offset),
            _ => None,
        }
    }

    /// The same instruction pointing elsewhere; `None` where the distance does not fit its field.
    ///
    /// An instruction without a target stays as it is.
    #[must_use]
    pub fn with_target(mut self, target: i64) -> Option<Op> {
        match &mut self {
            Op::Ja { offset } | Op::Jump { offset, .. } | Op::MayGoto { offset } => *offset = target.try_into().ok()?,
            Op::JaLong { offset }
            | Op::CallLocal { offset }
            | Op::LoadImm64 { value: Imm64::Function { offset }, .. } => *offset = target.try_into().ok()?,
            _ => {}
        }
        Some(self)
    }
}
