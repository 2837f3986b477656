//! Instructions to ops: once, when a program is loaded.

use super::Code;
use super::handlers as h;
use super::machine::{Handler, Op as Ready};
use super::select::{self, alu, jump, load, load_acquire, sign_extension, store, store_release, swap};
use super::stack_use::stack_use;
use crate::engine::EngineError;
use crate::engine::profile::{Counters, Flow};
use crate::helper::{
    self, CUSTOM_HELPERS, FUNCTIONS, HelperFn, MAP_HANDLE_STRIDE, MAP_HANDLES, SPIN_LOCK, SPIN_UNLOCK, TAIL_CALL,
};
use crate::isa::{AtomicOp, Imm64, Op, Reg, Source, Width, decode as decode_op};
use crate::map::{MapKind, MapSet};
use crate::memory::{Bytes, FRAME};
use crate::program::Program;

/// What an instruction becomes, before its jump is linked.
struct Draft {
    run: Handler,
    imm: u64,
    off: i32,
    dst: u8,
    src: u8,
}

impl Draft {
    fn new(run: Handler, dst: Reg, src: Reg, off: i16, imm: u64) -> Draft {
        Draft { run, imm, off: i32::from(off), dst: dst.number(), src: src.number() }
    }

    /// With a register or constant as its second operand.
    fn with(source: Source, imm: Handler, reg: Handler, dst: Reg, off: i16) -> Draft {
        match source {
            Source::Imm(value) => Draft::new(imm, dst, Reg::R0, off, extend(value)),
            Source::Reg(src) => Draft::new(reg, dst, src, off, 0),
        }
    }
}

#[expect(clippy::cast_sign_loss, reason = "immediates are sign-extended (RFC 9669 §4)")]
const fn extend(imm: i32) -> u64 {
    imm as i64 as u64
}

struct Decoder<'a> {
    program: &'a Program,
    maps: &'a MapSet,
    helpers: Vec<HelperFn>,
    /// Whether it may hold a spin lock, under which it calls nothing.
    locks: bool,
}

/// Decodes a whole program, and checks that every jump, call, map and helper it names is there.
pub(super) fn decode(program: &Program, maps: &MapSet) -> Result<Code, EngineError> {
    if program.insns.is_empty() {
        return Err(EngineError::Empty { program: program.name.clone() });
    }
    let mut instructions = Vec::new();
    let mut slots = Vec::new();
    let mut index_of = vec![usize::MAX; program.insns.len()];
    let mut at = 0;
    while at < program.insns.len() {
        let (op, width) = decode_op(&program.insns, at).map_err(|source| EngineError::Decode { insn: at, source })?;
        index_of[at] = slots.len();
        slots.push(at);
        instructions.push(op);
        at += width;
    }

    let takes_lock = |op: &Op| matches!(op, Op::CallHelper { id: SPIN_LOCK } | Op::CallRegister { .. });
    let locks = instructions.iter().any(takes_lock);
    let mut decoder = Decoder { program, maps, helpers: Vec::new(), locks };
    let mut ops = Vec::with_capacity(instructions.len() + 1);
    let mut flow = Vec::with_capacity(instructions.len());
    let mut functions = Vec::new();
    for (index, op) in instructions.iter().enumerate() {
        let insn = slots[index];
        let target = op.target().map(|offset| target(insn, offset, op, &index_of)).transpose()?;
        let mut draft = decoder.draft(insn, op, target)?;
        if let (Some(to), true) = (target, is_jump(op)) {
            draft.off = distance(index, to).ok_or_else(|| EngineError::Unsupported {
                insn,
                what: "a jump over more than 67 million instructions".to_owned(),
            })?;
        }
        if let (Op::LoadImm64 { .. }, Some(to)) = (op, target) {
            functions.push(to);
        }
        flow.push(match (op, target) {
            (Op::Jump { .. } | Op::MayGoto { .. }, Some(to)) => Flow::Branch(to),
            (Op::Ja { .. } | Op::JaLong { .. }, Some(to)) => Flow::Jump(to),
            (Op::CallLocal { .. }, Some(to)) => Flow::Call(to),
            (Op::Exit, _) => Flow::Exit,
            _ => Flow::Next,
        });
        ops.push(ready(draft));
    }
    ops.push(ready(Draft::new(h::off_the_end, Reg::R0, Reg::R0, 0, 0)));
    join(&instructions, &mut ops);
    let stack_use = stack_use(&instructions, &flow, &functions);
    let counters = Counters::new(slots.len());
    Ok(Code {
        ops,
        slots,
        index_of,
        helpers: decoder.helpers,
        flow,
        stack_use,
        counters,
        program_type: program.program_type,
        gpl_compatible: program.is_gpl_compatible(),
    })
}

fn ready(draft: Draft) -> Ready {
    let Draft { run, imm, off, dst, src } = draft;
    Ready { run, imm, off, dst, src, taken: std::sync::atomic::AtomicU64::new(0) }
}

const fn is_jump(op: &Op) -> bool {
    matches!(op, Op::Jump { .. } | Op::MayGoto { .. } | Op::Ja { .. } | Op::JaLong { .. } | Op::CallLocal { .. })
}

/// Offset and size of an access that names the frame pointer itself.
fn frame_access(op: &Op) -> Option<(i32, i32)> {
    let (base, offset, bytes) = match *op {
        Op::Load { size, base, offset, .. }
        | Op::Store { size, base, offset, .. }
        | Op::LoadAcquire { size, base, offset, .. }
        | Op::StoreRelease { size, base, offset, .. } => (base, offset, size.bytes()),
        Op::Atomic { width, base, offset, .. } => (base, offset, if width == Width::W32 { 4 } else { 8 }),
        _ => return None,
    };
    (base == Reg::R10).then_some((i32::from(offset), i32::from(bytes)))
}

/// Index of the instruction that one at slot `insn` leads to.
fn target(insn: usize, offset: i32, op: &Op, index_of: &[usize]) -> Result<usize, EngineError> {
    let slot = i64::try_from(insn).unwrap_or(i64::MAX).saturating_add(1 + i64::from(offset));
    let index = usize::try_from(slot).ok().and_then(|slot| index_of.get(slot)).copied();
    index.filter(|&index| index != usize::MAX).ok_or(EngineError::Target {
        insn,
        what: match op {
            Op::CallLocal { .. } => "call",
            Op::LoadImm64 { .. } => "function pointer",
            _ => "jump",
        },
        target: slot,
    })
}

/// Bytes of ops from one to another.
fn distance(from: usize, to: usize) -> Option<i32> {
    let ops = i64::try_from(to).ok()? - i64::try_from(from).ok()?;
    i32::try_from(ops.checked_mul(i64::try_from(size_of::<Ready>()).ok()?)?).ok()
}

impl Decoder<'_> {
    fn draft(&mut self, insn: usize, op: &Op, target: Option<usize>) -> Result<Draft, EngineError> {
        if let Some((offset, size)) = frame_access(op)
            && (offset < -(FRAME as i32) || offset + size > 0)
        {
            return Err(unsupported(
                insn,
                format!("{size} bytes at r10{offset:+}: a frame is the {FRAME} bytes below r10"),
            ));
        }
        if op.written() == Some(Reg::R10) {
            return Err(unsupported(insn, "a write to r10: the frame pointer is read only"));
        }
        let zero = Reg::R0;
        Ok(match *op {
            Op::Alu { width, op, dst, src } => {
                let (imm, reg) = alu(width, op);
                Draft::with(src, imm, reg, dst, 0)
            }
            Op::Neg { width: Width::W64, dst } => Draft::new(h::alu64_imm::<h::Neg>, dst, zero, 0, 0),
            Op::Neg { width: Width::W32, dst } => Draft::new(h::alu32_imm::<h::Neg>, dst, zero, 0, 0),
            Op::MovSx { width, from, dst, src } => Draft::new(sign_extension(width, from), dst, src, 0, 0),
            Op::Swap { order, size, dst } => Draft::new(swap(order, size), dst, dst, 0, 0),
            Op::LoadImm64 { dst, value } => Draft::new(h::load_imm64, dst, zero, 0, self.imm64(insn, value, target)?),
            Op::Load { size, signed, dst, base, offset } => Draft::new(load(size, signed), dst, base, offset, 0),
            Op::LoadAcquire { size, dst, base, offset } => Draft::new(load_acquire(size), dst, base, offset, 0),
            Op::Store { size, base, offset, src } => {
                let (imm, reg) = store(size);
                Draft::with(src, imm, reg, base, offset)
            }
            Op::StoreRelease { size, base, offset, src } => Draft::new(store_release(size), base, src, offset, 0),
            Op::Atomic { width, op, base, offset, src } => {
                let run: Handler = match (width, op) {
                    (Width::W32, AtomicOp::Add) => h::atomic_add32,
                    (Width::W64, AtomicOp::Add) => h::atomic_add64,
                    (Width::W32, _) => h::atomic32,
                    (Width::W64, _) => h::atomic64,
                };
                Draft::new(run, base, src, offset, extend(op.code()))
            }
            Op::Ja { .. } | Op::JaLong { .. } => Draft::new(h::ja, zero, zero, 0, 0),
            Op::Jump { width, op, dst, src, .. } => {
                let (imm, reg) = jump(width, op);
                Draft::with(src, imm, reg, dst, 0)
            }
            Op::MayGoto { .. } => Draft::new(h::may_goto, zero, zero, 0, 0),
            Op::CallHelper { id } if id >= CUSTOM_HELPERS => Draft::new(h::call_custom, zero, zero, 0, u64::from(id)),
            Op::CallHelper { id: TAIL_CALL } => {
                self.helper(insn, TAIL_CALL)?;
                Draft::new(h::tail_call, zero, zero, 0, 0)
            }
            Op::CallHelper { id } => {
                self.helpers.push(self.helper(insn, id)?);
                let unguarded = !self.locks || matches!(id, SPIN_LOCK | SPIN_UNLOCK);
                let run: Handler = if unguarded { h::call_helper::<true> } else { h::call_helper::<false> };
                Draft::new(run, zero, zero, 0, (self.helpers.len() - 1) as u64)
            }
            Op::CallLocal { .. } => Draft::new(h::call_local, zero, zero, 0, 0),
            Op::CallRegister { target } => Draft::new(h::call_register, target, zero, 0, 0),
            Op::Exit => Draft::new(h::exit, zero, zero, 0, 0),
            Op::CallKfunc { btf_id, .. } => {
                return Err(unsupported(insn, format!("a call of the kernel function with BTF id {btf_id}")));
            }
            Op::LoadAbs { .. } | Op::LoadInd { .. } => {
                return Err(unsupported(insn, "a legacy packet load (LD_ABS, LD_IND); there is no packet here"));
            }
        })
    }

    fn helper(&self, insn: usize, id: u32) -> Result<HelperFn, EngineError> {
        let program = self.program;
        let helper = helper::check(id, program.program_type, program.is_gpl_compatible())
            .map_err(|source| EngineError::Helper { insn, source })?;
        let missing = || unsupported(insn, format!("helper {}#{id}", helper.name));
        helper.implementation.as_ref().map(|implementation| implementation.run).ok_or_else(missing)
    }

    /// The 64 bits that a `lddw` loads: a constant, a handle, or the address of a global.
    fn imm64(&self, insn: usize, value: Imm64, target: Option<usize>) -> Result<u64, EngineError> {
        match value {
            Imm64::Value(value) => Ok(value),
            Imm64::Map(slot) => {
                let slot = self.slot(insn, slot)?;
                Ok(MAP_HANDLES + slot as u64 * MAP_HANDLE_STRIDE)
            }
            Imm64::MapValue { map, offset } => {
                let map = &self.maps.0[self.slot(insn, map)?];
                let spec = map.spec();
                let missing = |what: &str| EngineError::Map { insn, what: format!("{}: {what}", spec.name) };
                if offset >= spec.value_size {
                    return Err(missing(&format!("offset {offset} of a value of {} bytes", spec.value_size)));
                }
                let one = spec.kind == MapKind::Array && spec.max_entries == 1;
                let value = if one { map.lookup(0, Bytes::from(&[0; 4][..])) } else { None };
                let value =
                    value.ok_or_else(|| missing("only an array of one entry has a value at a fixed address"))?;
                Ok(value.as_ptr() as u64 + u64::from(offset))
            }
            Imm64::Function { .. } => {
                // The target is an index; what programs are given is the slot.
                let slot = self.slot_of_function(insn, value, target)?;
                Ok(FUNCTIONS + slot as u64)
            }
            Imm64::BtfId { id, .. } => {
                Err(unsupported(insn, format!("the address of the kernel variable of BTF id {id}")))
            }
            Imm64::MapIndex(_) | Imm64::MapIndexValue { .. } => {
                Err(unsupported(insn, "a map given by index into a loader's table, which is gone by now"))
            }
        }
    }

    fn slot(&self, insn: usize, slot: i32) -> Result<usize, EngineError> {
        usize::try_from(slot).ok().filter(|&slot| slot < self.maps.0.len()).ok_or_else(|| EngineError::Map {
            insn,
            what: format!("map {slot}: this program has {} maps", self.maps.0.len()),
        })
    }

    fn slot_of_function(&self, insn: usize, value: Imm64, target: Option<usize>) -> Result<usize, EngineError> {
        match (value, target) {
            (Imm64::Function { offset }, Some(_)) => Ok(insn.wrapping_add(1).wrapping_add_signed(offset as isize)),
            _ => Err(unsupported(insn, "a function pointer without a function")),
        }
    }
}

fn unsupported(insn: usize, what: impl Into<String>) -> EngineError {
    EngineError::Unsupported { insn, what: what.into() }
}

/// Joins pairs of instructions that compilers emit all the time. The second op stays where it is, for jumps to it.
fn join(instructions: &[Op], ops: &mut [Ready]) {
    for (pair, first) in instructions.windows(2).zip(ops) {
        if let [a, b] = pair
            && let Some(run) = select::pair(a, b)
        {
            first.run = run;
        }
    }
}
