//! Numbers of the instruction set, each written once (RFC 9669 §3 to §5; Linux for what came after it).
//!
//! An opcode byte is class (3 bits), then for arithmetic and jumps the source bit and a 4-bit operation, for loads and
//! stores a 2-bit size and a 3-bit mode.

/// Instruction classes, the low three bits of an opcode (RFC 9669 §3.2).
pub mod class {
    /// Bits of an opcode that hold the class.
    pub const MASK: u8 = 0x07;
    /// Loads of constants, and the legacy packet loads.
    pub const LD: u8 = 0x00;
    /// Loads from memory.
    pub const LDX: u8 = 0x01;
    /// Stores of an immediate.
    pub const ST: u8 = 0x02;
    /// Stores of a register, and atomics.
    pub const STX: u8 = 0x03;
    /// 32-bit arithmetic.
    pub const ALU: u8 = 0x04;
    /// Jumps that compare 64 bits, calls, exit.
    pub const JMP: u8 = 0x05;
    /// Jumps that compare 32 bits.
    pub const JMP32: u8 = 0x06;
    /// 64-bit arithmetic.
    pub const ALU64: u8 = 0x07;
}

/// The source bit of arithmetic and jumps: set where the second operand is the source register (RFC 9669 §4).
pub const SOURCE_REGISTER: u8 = 0x08;

/// Bits of an arithmetic or jump opcode that hold the operation.
pub const OPERATION_MASK: u8 = 0xf0;

/// Modes of loads and stores (RFC 9669 §5).
pub mod mode {
    /// Bits of an opcode that hold the mode.
    pub const MASK: u8 = 0xe0;
    /// `lddw`: a 64-bit constant in two slots.
    pub const IMM: u8 = 0x00;
    /// Legacy packet load at a constant offset.
    pub const ABS: u8 = 0x20;
    /// Legacy packet load at a register's offset.
    pub const IND: u8 = 0x40;
    /// Memory.
    pub const MEM: u8 = 0x60;
    /// Memory, sign-extending.
    pub const MEMSX: u8 = 0x80;
    /// Atomics.
    pub const ATOMIC: u8 = 0xc0;
}

/// Operations of the arithmetic classes that have a form of their own; the others are [`AluOp`] (RFC 9669 §4.1).
pub mod alu {
    /// Negation.
    pub const NEG: u8 = 0x80;
    /// Byte swaps.
    pub const END: u8 = 0xd0;
}

/// Operations of the jump classes that are no comparison; the others are [`JumpOp`] (RFC 9669 §4.3).
pub mod jump {
    /// Jump always: `off` in class JMP, `imm` in class JMP32.
    pub const JA: u8 = 0x00;
    /// Call.
    pub const CALL: u8 = 0x80;
    /// Return.
    pub const EXIT: u8 = 0x90;
    /// Conditional pseudo jump; with `src` 0 it is `may_goto` (Linux 6.9).
    pub const JCOND: u8 = 0xe0;
}

/// `src` of a call (RFC 9669 §4.3.1; Linux names in capitals).
pub mod call {
    /// A helper, by its id in `imm`.
    pub const HELPER: u8 = 0;
    /// A function of the same program, relative in `imm`: `BPF_PSEUDO_CALL`.
    pub const LOCAL: u8 = 1;
    /// A kernel function, by its BTF id in `imm`: `BPF_PSEUDO_KFUNC_CALL`.
    pub const KFUNC: u8 = 2;
}

/// `src` of `lddw` (RFC 9669 §5.4; Linux names in capitals).
pub mod imm64 {
    /// The constant itself.
    pub const VALUE: u8 = 0;
    /// A map by descriptor: `BPF_PSEUDO_MAP_FD`.
    pub const MAP_FD: u8 = 1;
    /// An address inside a map's only value: `BPF_PSEUDO_MAP_VALUE`.
    pub const MAP_VALUE: u8 = 2;
    /// A kernel variable by BTF id: `BPF_PSEUDO_BTF_ID`.
    pub const BTF_ID: u8 = 3;
    /// A function of the same program: `BPF_PSEUDO_FUNC`.
    pub const FUNC: u8 = 4;
    /// A map by index into the loader's table: `BPF_PSEUDO_MAP_IDX`.
    pub const MAP_IDX: u8 = 5;
    /// As `MAP_VALUE`, by index: `BPF_PSEUDO_MAP_IDX_VALUE`.
    pub const MAP_IDX_VALUE: u8 = 6;
}

/// `imm` of an atomic instruction that is no read-modify-write; the others are [`AtomicOp`] (Linux 6.15).
pub mod ordered {
    /// `BPF_LOAD_ACQ`.
    pub const LOAD_ACQUIRE: i32 = 0x100;
    /// `BPF_STORE_REL`.
    pub const STORE_RELEASE: i32 = 0x110;
}

/// Defines an enum of codes with its numbers, and the way back from a number.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $int:ty { $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every one, in the order of the numbers' table.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The number.
            #[must_use]
            pub const fn code(self) -> $int {
                match self { $($name::$variant => $value,)* }
            }

            /// The one with this number, if there is one.
            #[must_use]
            pub const fn from_code(code: $int) -> Option<$name> {
                match code { $($value => Some($name::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// Binary arithmetic (RFC 9669 §4.1). The number is the operation, and 0x100 × `off` for the signed variants.
    AluOp: u16 {
        /// Addition.
        Add = 0x00,
        /// Subtraction.
        Sub = 0x10,
        /// Multiplication.
        Mul = 0x20,
        /// Unsigned division; by zero gives 0.
        Div = 0x30,
        /// Bitwise or.
        Or = 0x40,
        /// Bitwise and.
        And = 0x50,
        /// Left shift; the amount is masked to the width.
        Lsh = 0x60,
        /// Logical right shift; the amount is masked to the width.
        Rsh = 0x70,
        /// Unsigned remainder; by zero leaves the destination.
        Mod = 0x90,
        /// Bitwise exclusive or.
        Xor = 0xa0,
        /// Move.
        Mov = 0xb0,
        /// Arithmetic right shift; the amount is masked to the width.
        Arsh = 0xc0,
        /// Signed division, truncating; by zero gives 0.
        SDiv = 0x130,
        /// Signed remainder, with the dividend's sign; by zero leaves the destination.
        SMod = 0x190,
    }
}

codes! {
    /// Comparisons that jump (RFC 9669 §4.3).
    JumpOp: u8 {
        /// Equal.
        Eq = 0x10,
        /// Unsigned greater.
        Gt = 0x20,
        /// Unsigned greater or equal.
        Ge = 0x30,
        /// Any common bit set.
        Set = 0x40,
        /// Not equal.
        Ne = 0x50,
        /// Signed greater.
        SGt = 0x60,
        /// Signed greater or equal.
        SGe = 0x70,
        /// Unsigned less.
        Lt = 0xa0,
        /// Unsigned less or equal.
        Le = 0xb0,
        /// Signed less.
        SLt = 0xc0,
        /// Signed less or equal.
        SLe = 0xd0,
    }
}

codes! {
    /// Atomic read-modify-write (RFC 9669 §5.3). The number is `imm`; bit 0 is `FETCH`.
    AtomicOp: i32 {
        /// Addition.
        Add = 0x00,
        /// Or.
        Or = 0x40,
        /// And.
        And = 0x50,
        /// Exclusive or.
        Xor = 0xa0,
        /// Addition; the source register gets the old value.
        FetchAdd = 0x01,
        /// Or; the source register gets the old value.
        FetchOr = 0x41,
        /// And; the source register gets the old value.
        FetchAnd = 0x51,
        /// Exclusive or; the source register gets the old value.
        FetchXor = 0xa1,
        /// The source register and the memory swap values.
        Xchg = 0xe1,
        /// Stores the source register if the memory equals r0; r0 gets the old value in any case.
        Cmpxchg = 0xf1,
    }
}

codes! {
    /// Sizes of memory accesses, as the opcode has them (RFC 9669 §5).
    Size: u8 {
        /// One byte, `u8`.
        Byte = 0x10,
        /// Two bytes, `u16`.
        Half = 0x08,
        /// Four bytes, `u32`.
        Word = 0x00,
        /// Eight bytes, `u64`.
        Double = 0x18,
    }
}

impl JumpOp {
    /// Whether the comparison of two registers holds; of 32 bits, that of their lower halves.
    #[must_use]
    #[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "the comparison is of these bits")]
    pub fn holds(self, width: Width, a: u64, b: u64) -> bool {
        let (a, b, signed_a, signed_b) = match width {
            Width::W64 => (a, b, a as i64, b as i64),
            Width::W32 => (u64::from(a as u32), u64::from(b as u32), i64::from(a as i32), i64::from(b as i32)),
        };
        match self {
            JumpOp::Eq => a == b,
            JumpOp::Ne => a != b,
            JumpOp::Gt => a > b,
            JumpOp::Ge => a >= b,
            JumpOp::Lt => a < b,
            JumpOp::Le => a <= b,
            JumpOp::Set => a & b != 0,
            JumpOp::SGt => signed_a > signed_b,
            JumpOp::SGe => signed_a >= signed_b,
            JumpOp::SLt => signed_a < signed_b,
            JumpOp::SLe => signed_a <= signed_b,
        }
    }
}

impl Size {
    /// Bits of an opcode that hold the size.
    pub const MASK: u8 = 0x18;

    /// Bytes accessed.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        match self {
            Size::Byte => 1,
            Size::Half => 2,
            Size::Word => 4,
            Size::Double => 8,
        }
    }

    /// Bits accessed.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.bytes() * 8
    }

    /// The size of so many bits.
    #[must_use]
    pub const fn from_bits(bits: i32) -> Option<Size> {
        match bits {
            8 => Some(Size::Byte),
            16 => Some(Size::Half),
            32 => Some(Size::Word),
            64 => Some(Size::Double),
            _ => None,
        }
    }
}

/// Width of arithmetic, comparisons and atomics. A 32-bit result clears the upper half of its register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// 32 bits: `w` registers.
    W32,
    /// 64 bits: `r` registers.
    W64,
}

impl Width {
    /// Both.
    pub const ALL: &'static [Width] = &[Width::W32, Width::W64];
}
