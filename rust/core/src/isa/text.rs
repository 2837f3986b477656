//! Instructions as text, in the notation of Linux's verifier log and of `bpftool prog dump xlated`.
//!
//! It differs from the kernel's only where that would lose something: a 64-bit constant ends in ` ll` (as clang writes
//! it), `lddw` of a map shows the descriptor or slot instead of an address, a slot that is no instruction is
//! `.8byte`, and in a whole program jumps have labels. [`assemble`](super::assemble()) reads all of it back.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::Insn;
use super::decode::decode;
use super::encode::encode;
use super::op::{Imm64, Op, Reg, Source, SwapOrder};
use super::opcode::{AluOp, AtomicOp, JumpOp, Size, Width};

/// Where the text gets names from, so that `isa` needs no table of helpers or maps.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Name of a helper by id.
    pub helper: &'a dyn Fn(u32) -> Option<&'a str>,
    /// Name of a map by what `lddw` has in `imm`: a descriptor, or in a linked program the slot.
    pub map: &'a dyn Fn(i32) -> Option<&'a str>,
}

impl Names<'_> {
    /// No names: helpers print as `unknown#5`, maps as `map[0]`.
    #[must_use]
    pub const fn none() -> Self {
        Names { helper: &|_| None, map: &|_| None }
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// One instruction; jumps show their distance (`goto pc+3`).
#[must_use]
pub fn instruction(op: &Op, names: &Names<'_>) -> String {
    Text { op, names, label: None }.to_string()
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text { op: self, names: &Names::none(), label: None }.fmt(f)
    }
}

/// A whole program, one instruction a line, with labels named after the slot that they stand at.
///
/// A slot that is no instruction, or an `exit` with an unused `off`, prints as `.8byte` with its bytes as a
/// little-endian number, and the reason as a comment. A target outside the program or inside an instruction stays a distance.
#[must_use]
pub fn disassemble(insns: &[Insn], names: &Names<'_>) -> String {
    let mut lines = Vec::new();
    let mut at = 0;
    while at < insns.len() {
        let decoded = decode(insns, at);
        lines.push((at, decoded));
        at += decoded.map_or(1, |(_, slots)| slots);
    }
    let starts: BTreeSet<usize> = lines.iter().map(|&(at, _)| at).collect();
    let label_of = |at: usize, op: &Op| {
        let target = usize::try_from(at as i64 + 1 + i64::from(op.target()?)).ok()?;
        starts.contains(&target).then_some(target)
    };
    let labels: BTreeSet<usize> =
        lines.iter().filter_map(|(at, decoded)| label_of(*at, &decoded.as_ref().ok()?.0)).collect();

    let mut text = String::new();
    for (at, decoded) in &lines {
        if labels.contains(at) {
            let _ = writeln!(text, "L{at}:");
        }
        // Writing to a String cannot fail.
        let _ = match decoded {
            Ok((op, 1)) if encode(op).0 != insns[*at] => writeln!(text, "    {} ; {op}", raw(insns[*at])),
            Ok((op, _)) => writeln!(text, "    {}", Text { op, names, label: label_of(*at, op) }),
            Err(error) => writeln!(text, "    {} ; {error}", raw(insns[*at])),
        };
    }
    text
}

fn raw(insn: Insn) -> String {
    format!(".8byte {:#018x}", u64::from_le_bytes(insn.to_bytes()))
}

/// Characters of names and words.
pub(super) fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')
}

/// Stands before a kernel function's id, where a helper has its name.
pub(super) const KFUNC: &str = "kfunc";

struct Text<'a, 'n> {
    op: &'a Op,
    names: &'a Names<'n>,
    label: Option<usize>,
}

impl fmt::Display for Text<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.op {
            Op::Alu { width, op, dst, src } => {
                write!(f, "{} {} {}", register(width, dst), op.symbol(), operand(width, src))
            }
            Op::Neg { width, dst } => write!(f, "{0} = -{0}", register(width, dst)),
            Op::MovSx { width, from, dst, src } => {
                write!(f, "{} = ({}){}", register(width, dst), from.signed_name(), register(width, src))
            }
            Op::Swap { order, size, dst } => write!(f, "{dst} = {}{} {dst}", order.name(), size.bits()),
            Op::LoadImm64 { dst, value } => {
                write!(f, "{dst} = ")?;
                self.imm64(f, value)
            }
            Op::Load { size, signed, dst, base, offset } => {
                let name = if signed { size.signed_name() } else { size.name() };
                write!(f, "{dst} = *({name} *)({base} {offset:+})")
            }
            Op::Store { size, base, offset, src } => {
                write!(f, "*({} *)({base} {offset:+}) = {}", size.name(), operand(Width::W64, src))
            }
            Op::Atomic { width, op, base, offset, src } => atomic(f, width, op, base, offset, src),
            Op::LoadAcquire { size, dst, base, offset } => {
                write!(f, "{dst} = load_acquire(({} *)({base} {offset:+}))", size.name())
            }
            Op::StoreRelease { size, base, offset, src } => {
                write!(f, "store_release(({} *)({base} {offset:+}), {src})", size.name())
            }
            Op::LoadAbs { size, offset } => write!(f, "r0 = *({} *)skb[{offset}]", size.name()),
            Op::LoadInd { size, src, offset } => write!(f, "r0 = *({} *)skb[{src} + {offset}]", size.name()),
            Op::Ja { offset } => write!(f, "goto {}", self.target(offset.into())),
            Op::JaLong { offset } => write!(f, "gotol {}", self.target(offset)),
            Op::MayGoto { offset } => write!(f, "may_goto {}", self.target(offset.into())),
            Op::Jump { width, op, dst, src, offset } => {
                write!(f, "if {} {} ", register(width, dst), op.symbol())?;
                match src {
                    Source::Reg(src) => f.write_str(&register(width, src))?,
                    Source::Imm(imm) => write!(f, "{imm:#x}")?,
                }
                write!(f, " goto {}", self.target(offset.into()))
            }
            Op::CallHelper { id } => {
                let name = (self.names.helper)(id).filter(|name| is_name(name)).unwrap_or("unknown");
                write!(f, "call {name}#{}", id as i32)
            }
            Op::CallLocal { offset } => write!(f, "call {}", self.target(offset)),
            Op::CallKfunc { btf_id, btf_index: 0 } => write!(f, "call {KFUNC}#{btf_id}"),
            Op::CallKfunc { btf_id, btf_index } => write!(f, "call {KFUNC}#{btf_id} btf#{btf_index}"),
            Op::CallRegister { target } => write!(f, "callx {target}"),
            Op::Exit => f.write_str("exit"),
        }
    }
}

impl Text<'_, '_> {
    fn target(&self, offset: i32) -> String {
        match self.label {
            Some(slot) => format!("L{slot}"),
            None => format!("pc{offset:+}"),
        }
    }

    fn imm64(&self, f: &mut fmt::Formatter<'_>, value: Imm64) -> fmt::Result {
        let map = |map: i32| match (self.names.map)(map).filter(|name| is_name(name)) {
            Some(name) => format!("map[{name}#{map}]"),
            None => format!("map[{map}]"),
        };
        match value {
            Imm64::Value(value) => write!(f, "{value:#x} ll"),
            Imm64::Map(slot) => f.write_str(&map(slot)),
            Imm64::MapValue { map: slot, offset } => write!(f, "{}[0]+{offset}", map(slot)),
            Imm64::BtfId { id, btf_fd } => write!(f, "btf[{id}][{btf_fd}]"),
            Imm64::Function { .. } if self.label.is_some() => write!(f, "subprog[{}]", self.target(0)),
            Imm64::Function { offset } => write!(f, "subprog[{offset:+}]"),
            Imm64::MapIndex(index) => write!(f, "map[idx:{index}]"),
            Imm64::MapIndexValue { index, offset } => write!(f, "map[idx:{index}][0]+{offset}"),
        }
    }
}

/// Whether a name can be read back; others are left out of the text.
fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c| is_name_character(c) && !c.is_ascii_digit());
    starts_well && name.chars().all(is_name_character) && name != KFUNC
}

fn register(width: Width, reg: Reg) -> String {
    match width {
        Width::W32 => format!("w{}", reg.number()),
        Width::W64 => format!("r{}", reg.number()),
    }
}

fn operand(width: Width, source: Source) -> String {
    match source {
        Source::Reg(reg) => register(width, reg),
        Source::Imm(imm) => imm.to_string(),
    }
}

fn atomic(f: &mut fmt::Formatter<'_>, width: Width, op: AtomicOp, base: Reg, offset: i16, src: Reg) -> fmt::Result {
    let (size, prefix) = match width {
        Width::W32 => ("u32", "atomic"),
        Width::W64 => ("u64", "atomic64"),
    };
    match op.symbol() {
        AtomicText::Lock(symbol) => write!(f, "lock *({size} *)({base} {offset:+}) {symbol} {src}"),
        AtomicText::Fetch(name) if op == AtomicOp::Cmpxchg => {
            write!(f, "r0 = {prefix}_{name}(({size} *)({base} {offset:+}), r0, {src})")
        }
        AtomicText::Fetch(name) => write!(f, "{src} = {prefix}_{name}(({size} *)({base} {offset:+}), {src})"),
    }
}

/// How an atomic operation is written.
pub(super) enum AtomicText {
    /// `lock *(u64 *)(r1 +0) += r2`, with this operator.
    Lock(&'static str),
    /// `r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)`, with this name after `atomic_` or `atomic64_`.
    Fetch(&'static str),
}

impl AtomicOp {
    pub(super) const fn symbol(self) -> AtomicText {
        match self {
            AtomicOp::Add => AtomicText::Lock("+="),
            AtomicOp::Or => AtomicText::Lock("|="),
            AtomicOp::And => AtomicText::Lock("&="),
            AtomicOp::Xor => AtomicText::Lock("^="),
            AtomicOp::FetchAdd => AtomicText::Fetch("fetch_add"),
            AtomicOp::FetchOr => AtomicText::Fetch("fetch_or"),
            AtomicOp::FetchAnd => AtomicText::Fetch("fetch_and"),
            AtomicOp::FetchXor => AtomicText::Fetch("fetch_xor"),
            AtomicOp::Xchg => AtomicText::Fetch("xchg"),
            AtomicOp::Cmpxchg => AtomicText::Fetch("cmpxchg"),
        }
    }
}

impl AluOp {
    /// The operator in the kernel's notation.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            AluOp::Add => "+=",
            AluOp::Sub => "-=",
            AluOp::Mul => "*=",
            AluOp::Div => "/=",
            AluOp::Or => "|=",
            AluOp::And => "&=",
            AluOp::Lsh => "<<=",
            AluOp::Rsh => ">>=",
            AluOp::Mod => "%=",
            AluOp::Xor => "^=",
            AluOp::Mov => "=",
            AluOp::Arsh => "s>>=",
            AluOp::SDiv => "s/=",
            AluOp::SMod => "s%=",
        }
    }
}

impl JumpOp {
    /// The operator in the kernel's notation.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            JumpOp::Eq => "==",
            JumpOp::Gt => ">",
            JumpOp::Ge => ">=",
            JumpOp::Set => "&",
            JumpOp::Ne => "!=",
            JumpOp::SGt => "s>",
            JumpOp::SGe => "s>=",
            JumpOp::Lt => "<",
            JumpOp::Le => "<=",
            JumpOp::SLt => "s<",
            JumpOp::SLe => "s<=",
        }
    }
}

impl Size {
    /// `u8`, `u16`, `u32` or `u64`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Size::Byte => "u8",
            Size::Half => "u16",
            Size::Word => "u32",
            Size::Double => "u64",
        }
    }

    /// `s8`, `s16`, `s32` or `s64`.
    #[must_use]
    pub const fn signed_name(self) -> &'static str {
        match self {
            Size::Byte => "s8",
            Size::Half => "s16",
            Size::Word => "s32",
            Size::Double => "s64",
        }
    }
}

impl SwapOrder {
    /// All three.
    pub const ALL: &'static [SwapOrder] = &[SwapOrder::Little, SwapOrder::Big, SwapOrder::Swap];

    /// `le`, `be` or `bswap`, to be followed by the bits.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SwapOrder::Little => "le",
            SwapOrder::Big => "be",
            SwapOrder::Swap => "bswap",
        }
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.number())
    }
}
