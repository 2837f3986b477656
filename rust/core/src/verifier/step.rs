//! One instruction of a path.

use super::Rule;
use super::checkpoint::Need;
use super::error::Refusal;
use super::explore::{Explorer, Next};
use super::scalar::Scalar;
use super::state::State;
use super::structure::Structure;
use super::value::{Kind, MapRef, Pointer, Value};
use crate::isa::{AluOp, Imm64, Op, Reg, Source};
use crate::map::MapKind;

impl Explorer<'_> {
    /// Follows the instruction that a path has come to.
    pub fn step(&mut self, state: &mut State) -> Result<Next, Refusal> {
        let at = state.at;
        let Some(op) = self.structure.op(at) else {
            return Err(Refusal::new(Rule::Flow, at, format!("unreachable insn {at}"), "no instruction begins here"));
        };
        state.steps += 1;
        match op {
            Op::Alu { width, op: AluOp::Mov, dst, src } => self.copy(state, width, dst, src)?,
            Op::Alu { width, op, dst, src } => self.arithmetic(state, width, op, dst, src)?,
            Op::Neg { width, dst } => self.negate(state, width, dst)?,
            Op::MovSx { width, from, dst, src } => self.sign_extend(state, width, from, dst, src)?,
            Op::Swap { order, size, dst } => self.swap(state, order, size, dst)?,
            Op::LoadImm64 { dst, value } => {
                let value = self.constant(at, value)?;
                state.set(dst, value);
            }
            Op::Load { size, signed, dst, base, offset } => self.load(state, size, signed, dst, base, offset)?,
            Op::LoadAcquire { size, dst, base, offset } => self.load_acquire(state, size, dst, base, offset)?,
            Op::Store { size, base, offset, src } => self.store(state, size, base, offset, src)?,
            Op::StoreRelease { size, base, offset, src } => self.store_release(state, size, base, offset, src)?,
            Op::Atomic { width, op, base, offset, src } => self.atomic(state, width, op, base, offset, src)?,
            Op::LoadAbs { size, .. } => self.load_legacy(state, size, None)?,
            Op::LoadInd { size, src, .. } => self.load_legacy(state, size, Some(src))?,
            Op::Ja { offset } => return self.jump(state, offset.into()),
            Op::JaLong { offset } => return self.jump(state, offset),
            Op::Jump { width, op, dst, src, offset } => {
                return self.branch(state, width, op, dst, src, offset.into());
            }
            Op::MayGoto { offset } => {
                // The way out is followed first: what matters behind the loop is then known in it.
                state.jumps += 1;
                let mut on = state.clone();
                on.at = at + 1;
                on.turns += 1;
                if !self.fork(state, on, false)? {
                    state.at = Structure::target(at, offset.into()).unwrap_or(usize::MAX);
                }
                return Ok(Next::On);
            }
            Op::CallHelper { id } => return self.call_helper(state, id),
            Op::CallLocal { offset } => return self.call_local(state, offset),
            Op::CallKfunc { btf_id, .. } => {
                let what =
                    format!("it calls the kernel function with BTF id {btf_id}; a bench has no kernel functions");
                return Err(Refusal::new(Rule::Encoding, at, "calling kernel function is not allowed", what));
            }
            Op::CallRegister { .. } => {
                let what = "a call by register: Linux has no such instruction";
                return Err(Refusal::new(Rule::Encoding, at, "unknown opcode 8d", what));
            }
            Op::Exit => return self.exit(state),
        }
        state.at = at + op.slots();
        Ok(Next::On)
    }

    fn jump(&mut self, state: &mut State, offset: i32) -> Result<Next, Refusal> {
        state.jumps += 1;
        state.at = Structure::target(state.at, offset).unwrap_or(usize::MAX);
        Ok(Next::On)
    }

    /// A register that must have been set.
    pub fn read(&self, state: &State, reg: Reg) -> Result<Value, Refusal> {
        match state.get(reg) {
            Value::Unset => {
                let linux = format!("R{} !read_ok", reg.number());
                let refusal = Refusal::new(Rule::Initialised, state.at, linux, Self::why_unset(reg)).about(&[reg]);
                Err(match reg.number() {
                    1..=5 => refusal.hint("a call takes r1 to r5 with it; keep what is needed after it in r6 to r9"),
                    0 => refusal.hint("set r0 (in C: return a value) on every path"),
                    _ => refusal,
                })
            }
            value => Ok(value),
        }
    }

    fn why_unset(reg: Reg) -> String {
        format!("r{} has not been set on this path", reg.number())
    }

    /// The second operand of an instruction.
    pub fn source(&self, state: &State, source: Source) -> Result<Value, Refusal> {
        match source {
            Source::Imm(imm) => Ok(Value::constant(i64::from(imm).cast_unsigned())),
            Source::Reg(reg) => self.read(state, reg),
        }
    }

    /// What `lddw` loads.
    fn constant(&mut self, at: usize, value: Imm64) -> Result<Value, Refusal> {
        let map_error = |linux: &str, what: String| Err(Refusal::new(Rule::MapKind, at, linux, what));
        let slot = |slot: i32| usize::try_from(slot).ok().filter(|slot| *slot < self.maps.len());
        match value {
            Imm64::Value(value) => Ok(Value::constant(value)),
            Imm64::Map(map) => match slot(map) {
                Some(slot) => Ok(Value::Pointer(Pointer::new(Kind::Map(MapRef { slot, inner: false })))),
                None => map_error("fd is not pointing to valid bpf_map", format!("the program has no map {map}")),
            },
            Imm64::MapValue { map, offset } => {
                let Some(slot) = slot(map) else {
                    return map_error("fd is not pointing to valid bpf_map", format!("the program has no map {map}"));
                };
                let spec = &self.maps[slot].spec;
                if spec.kind != MapKind::Array || spec.max_entries != 1 {
                    let what = format!("{}: only the value of an array of one entry has a fixed address", spec.name);
                    return map_error("invalid access to map value pointer", what);
                }
                if offset >= spec.value_size {
                    let what = format!("{}: byte {offset} of a value of {} bytes", spec.name, spec.value_size);
                    return map_error("invalid access to map value pointer", what);
                }
                let mut pointer = Pointer::new(Kind::MapValue(MapRef { slot, inner: false }));
                pointer.offset = i32::try_from(offset).unwrap_or(i32::MAX);
                Ok(Value::Pointer(pointer))
            }
            Imm64::Function { offset } => {
                let start = Structure::target(at, offset).unwrap_or(0);
                Ok(Value::Pointer(Pointer::new(Kind::Function { start })))
            }
            Imm64::BtfId { id, .. } => {
                let what =
                    format!("the address of the kernel variable with BTF id {id}; a bench has no kernel variables");
                Err(Refusal::new(Rule::Encoding, at, "invalid pseudo btf_id", what))
            }
            Imm64::MapIndex(_) | Imm64::MapIndexValue { .. } => {
                let what = "a map by its index in a loader's table, which there is none of";
                Err(Refusal::new(Rule::Encoding, at, "fd_idx without fd_array is invalid", what))
            }
        }
    }

    /// What a register holds, in words.
    pub fn in_words(&self, state: &State, reg: Reg) -> String {
        match state.get(reg) {
            Value::Unset => "not set".to_owned(),
            Value::Number(number) => match number.scalar.as_constant() {
                Some(_) => format!("the number {}", number.scalar),
                None => format!("a number: {}", number.scalar),
            },
            Value::Pointer(pointer) => self.pointer_in_words(&pointer),
        }
    }

    fn pointer_in_words(&self, pointer: &Pointer) -> String {
        let of = match pointer.kind {
            Kind::Context => "the context".to_owned(),
            Kind::Stack { frame } => format!("the stack of frame {frame}"),
            Kind::Map(map) => format!("the map {}", self.spec(map).name),
            Kind::MapValue(map) => {
                let spec = self.spec(map);
                format!("a value of {} ({} bytes)", spec.name, spec.value_size)
            }
            Kind::MapKey(map) => format!("a key of {} ({} bytes)", self.spec(map).name, self.spec(map).key_size),
            Kind::Record { size } => format!("a reserved record of {size} bytes"),
            Kind::Memory { size } => format!("a buffer of {size} bytes"),
            Kind::Function { start } => format!("the function at instruction {start}"),
            Kind::Packet { range } => format!("packet data, of which {range} bytes are known to be there"),
            Kind::PacketMeta { range } => format!("packet metadata, of which {range} bytes are known to be there"),
            Kind::PacketEnd => "the end of the packet".to_owned(),
        };
        let or_null = if pointer.or_null { ", or null" } else { "" };
        let at = match pointer.constant_offset() {
            Some(0) => String::new(),
            Some(offset) => format!(" at {offset:+}"),
            None => {
                let total = pointer.variable.arithmetic(
                    crate::isa::Width::W64,
                    AluOp::Add,
                    &Scalar::constant(i64::from(pointer.offset).cast_unsigned()),
                );
                format!(" at {total}")
            }
        };
        format!("the address of {of}{at}{or_null}")
    }

    /// The spec of a map that a program knows.
    pub fn spec(&self, map: MapRef) -> &crate::map::MapSpec {
        let facts = &self.maps[map.slot];
        match &facts.inner {
            Some(inner) if map.inner => inner,
            _ => &facts.spec,
        }
    }

    /// Something depends on what a value can be.
    pub fn need_exact(&mut self, state: &State, value: &Value) {
        self.need(state, value, Need::Exact);
    }

    /// Something depends on the kind of a value.
    pub fn need_kind(&mut self, state: &State, value: &Value) {
        let need = if matches!(value, Value::Pointer(_)) { Need::Exact } else { Need::Kind };
        self.need(state, value, need);
    }
}
