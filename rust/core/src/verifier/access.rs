//! Loads and stores: what an address is of decides which rule holds.

use super::Rule;
use super::error::Refusal;
use super::explore::Explorer;
use super::scalar::{Scalar, of_size};
use super::state::State;
use super::value::{Kind, MapRef, Number, Pointer, Value};
use crate::isa::{AtomicOp, Reg, Size, Source, Width};
use crate::map::{BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG};

/// What a variable offset has to stay below (measured).
const MOST_VARIABLE: u64 = 1 << 29;

/// An access through a register.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The register.
    pub base: Reg,
    /// Added to it.
    pub offset: i32,
    /// Bytes.
    pub size: u32,
    /// Whether it writes.
    pub write: bool,
}

impl Access {
    fn of(base: Reg, offset: i16, size: Size, write: bool) -> Access {
        Access { base, offset: offset.into(), size: size.bytes().into(), write }
    }
}

impl Explorer<'_> {
    /// `dst = *(size *)(base + offset)`.
    pub fn load(
        &mut self,
        state: &mut State,
        size: Size,
        signed: bool,
        dst: Reg,
        base: Reg,
        offset: i16,
    ) -> Result<(), Refusal> {
        let loaded = self.load_value(state, Access::of(base, offset, size, false), size, signed)?;
        state.set(dst, loaded);
        Ok(())
    }

    /// What a load gives.
    fn load_value(&mut self, state: &mut State, access: Access, size: Size, signed: bool) -> Result<Value, Refusal> {
        let pointer = self.address(state, access)?;
        self.same_on_every_path(state, &pointer, access.base)?;
        match pointer.kind {
            Kind::Stack { .. } => self.load_stack(state, pointer, access, signed),
            Kind::MapValue(map) => {
                self.check_object(state, &pointer, access)?;
                Ok(self.known_constant(map, &pointer, access, signed).unwrap_or_else(|| Self::unknown(size, signed)))
            }
            Kind::Context => self.load_context(state, &pointer, access, size, signed),
            _ => {
                self.check_object(state, &pointer, access)?;
                Ok(Self::unknown(size, signed))
            }
        }
    }

    /// Linux rewrites accesses to the context, so an instruction is one on every path or on none.
    fn same_on_every_path(&mut self, state: &State, pointer: &Pointer, base: Reg) -> Result<(), Refusal> {
        let is_context = pointer.kind == Kind::Context;
        match self.of_context.get_mut(state.at) {
            Some(seen @ None) => *seen = Some(is_context),
            Some(Some(seen)) if *seen != is_context => {
                let linux = "same insn cannot be used with different pointers";
                let what = "on one path this instruction accesses the context, on another one something else";
                return Err(Refusal::new(Rule::Context, state.at, linux, what).about(&[base]));
            }
            _ => {}
        }
        Ok(())
    }

    fn unknown(size: Size, signed: bool) -> Value {
        Value::Number(Number::new(of_size(size, signed), 0))
    }

    /// What a frozen, read-only map holds there.
    fn known_constant(&self, map: MapRef, pointer: &Pointer, access: Access, signed: bool) -> Option<Value> {
        let facts = self.maps.get(map.slot).filter(|_| !map.inner)?;
        if facts.spec.flags & BPF_F_RDONLY_PROG == 0 {
            return None;
        }
        let start = usize::try_from(pointer.constant_offset()? + i64::from(access.offset)).ok()?;
        let bytes = facts.constant.as_ref()?.get(start..start + access.size as usize)?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let number = u64::from_le_bytes(word);
        let unused = 64 - 8 * access.size;
        let number = if signed { ((number << unused).cast_signed() >> unused).cast_unsigned() } else { number };
        Some(Value::constant(number))
    }

    /// `load_acquire`.
    pub fn load_acquire(
        &mut self,
        state: &mut State,
        size: Size,
        dst: Reg,
        base: Reg,
        offset: i16,
    ) -> Result<(), Refusal> {
        self.not_for_atomics(state, base, "BPF_ATOMIC loads from")?;
        self.aligned(state, Access::of(base, offset, size, false))?;
        self.load(state, size, false, dst, base, offset)
    }

    /// `*(size *)(base + offset) = src`.
    pub fn store(&mut self, state: &mut State, size: Size, base: Reg, offset: i16, src: Source) -> Result<(), Refusal> {
        let value = self.source(state, src)?;
        let access = Access::of(base, offset, size, true);
        let pointer = self.address(state, access)?;
        self.same_on_every_path(state, &pointer, access.base)?;
        match pointer.kind {
            Kind::Stack { .. } => self.store_stack(state, pointer, access, value, src),
            Kind::Context => {
                self.need_kind(state, &value);
                self.store_context(state, &pointer, access)
            }
            _ => {
                self.need_kind(state, &value);
                self.check_object(state, &pointer, access)
            }
        }
    }

    /// `store_release`.
    pub fn store_release(
        &mut self,
        state: &mut State,
        size: Size,
        base: Reg,
        offset: i16,
        src: Reg,
    ) -> Result<(), Refusal> {
        self.not_for_atomics(state, base, "BPF_ATOMIC stores into")?;
        self.aligned(state, Access::of(base, offset, size, true))?;
        self.store(state, size, base, offset, Source::Reg(src))
    }

    /// An atomic read-modify-write: both a load and a store.
    pub fn atomic(
        &mut self,
        state: &mut State,
        width: Width,
        op: AtomicOp,
        base: Reg,
        offset: i16,
        src: Reg,
    ) -> Result<(), Refusal> {
        let size = if width == Width::W32 { Size::Word } else { Size::Double };
        let operand = self.read(state, src)?;
        self.need_kind(state, &operand);
        if op == AtomicOp::Cmpxchg {
            let compared = self.read(state, Reg::R0)?;
            self.need_kind(state, &compared);
        }
        self.read(state, base)?;
        self.not_for_atomics(state, base, "BPF_ATOMIC stores into")?;
        let read = Access::of(base, offset, size, false);
        self.aligned(state, read)?;
        let old = self.load_value(state, read, size, false)?;
        // What is fetched is there before the address is used a second time.
        match op {
            AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {}
            AtomicOp::Cmpxchg => state.set(Reg::R0, old),
            _ => state.set(src, old),
        }
        let write = Access { write: true, ..read };
        self.aligned(state, write)?;
        let pointer = self.address(state, write)?;
        match pointer.kind {
            Kind::Stack { .. } => self.spoil_stack(state, pointer, write),
            _ => self.check_object(state, &pointer, write),
        }
    }

    fn not_for_atomics(&self, state: &State, base: Reg, what: &str) -> Result<(), Refusal> {
        let Value::Pointer(pointer) = self.read(state, base)? else { return Ok(()) };
        if matches!(pointer.kind, Kind::Context | Kind::Packet { .. } | Kind::PacketMeta { .. }) {
            let linux = format!("{what} R{} {} is not allowed", base.number(), pointer.linux_name());
            let why = "an atomic instruction works on the stack, on values of maps and on records";
            return Err(Refusal::new(Rule::Alignment, state.at, linux, why).about(&[base]));
        }
        Ok(())
    }

    /// The address that an access goes through, which is of memory.
    pub fn address(&mut self, state: &State, access: Access) -> Result<Pointer, Refusal> {
        let Access { base, .. } = access;
        let value = self.read(state, base)?;
        let linux = || format!("R{} invalid mem access '{}'", base.number(), value.linux_name());
        let pointer = match value {
            Value::Pointer(pointer) => pointer,
            _ => {
                let what = format!("r{} is no address: it is {}", base.number(), self.in_words(state, base));
                let refusal = Refusal::new(Rule::Dereference, state.at, linux(), what).about(&[base]);
                return Err(if value.is_zero() {
                    refusal.hint("this path is the one on which it is null; return there")
                } else {
                    refusal.hint("memory outside the program is read by bpf_probe_read_kernel()")
                });
            }
        };
        if pointer.or_null {
            let what = format!("r{} may be null", base.number());
            return Err(Refusal::new(Rule::Null, state.at, linux(), what)
                .about(&[base])
                .hint("test it before it is used: if (!p) return 0;"));
        }
        if matches!(pointer.kind, Kind::Map(_) | Kind::Function { .. } | Kind::PacketEnd) {
            let what = format!("{} is not memory of the program", self.in_words(state, base));
            return Err(Refusal::new(Rule::Dereference, state.at, linux(), what).about(&[base]));
        }
        if matches!(pointer.kind, Kind::Stack { .. }) {
            self.aligned(state, access)?;
        }
        self.need_exact(state, &value);
        Ok(pointer)
    }

    /// Rule 14.
    fn aligned(&self, state: &State, access: Access) -> Result<(), Refusal> {
        let Access { base, offset, size, .. } = access;
        let (bits, fixed, kind) = match self.read(state, base)? {
            Value::Pointer(pointer) => (
                pointer.variable.bits,
                pointer.offset,
                match pointer.kind {
                    Kind::Stack { .. } => "stack ",
                    Kind::MapValue(_) => "value ",
                    Kind::Context => "context ",
                    _ => "",
                },
            ),
            Value::Number(number) => (number.scalar.bits, 0, ""),
            Value::Unset => return Ok(()),
        };
        let total = bits.add(super::scalar::Tnum::constant((i64::from(fixed) + i64::from(offset)).cast_unsigned()));
        if (total.value | total.mask) & u64::from(size - 1) == 0 {
            return Ok(());
        }
        let shown = if bits.is_constant() { bits.value.to_string() } else { bits.to_string() };
        let linux = format!("misaligned {kind}access off {shown}+{fixed}+{offset} size {size}");
        let what = format!("{size} bytes at an address that is not always a multiple of {size}");
        let refusal = Refusal::new(Rule::Alignment, state.at, linux, what).about(&[base]);
        Err(refusal.hint("on the stack and for atomic instructions, Linux wants accesses aligned to their size"))
    }

    /// An access to an object whose size is known: a value, a key, a record, a buffer.
    pub fn check_object(&mut self, state: &State, pointer: &Pointer, access: Access) -> Result<(), Refusal> {
        let at = state.at;
        let (limit, rule, what) = match pointer.kind {
            Kind::MapValue(map) => {
                let spec = self.spec(map);
                let (value_size, name) = (spec.value_size, spec.name.clone());
                let forbidden = if access.write { BPF_F_RDONLY_PROG } else { BPF_F_WRONLY_PROG };
                if spec.flags & forbidden != 0 {
                    let (verb, flag) = if access.write {
                        ("write into", "BPF_F_RDONLY_PROG")
                    } else {
                        ("read from", "BPF_F_WRONLY_PROG")
                    };
                    let offset = i64::from(pointer.offset) + i64::from(access.offset);
                    let linux =
                        format!("{verb} map forbidden, value_size={value_size} off={offset} size={}", access.size);
                    let what = format!("{name} was created with {flag}");
                    let refusal = Refusal::new(Rule::Access, at, linux, what).about(&[access.base]);
                    return Err(if access.write {
                        refusal.hint("constants (in C: const volatile globals) are for reading")
                    } else {
                        refusal
                    });
                }
                (value_size, Rule::MapValue, format!("the value of {name}"))
            }
            Kind::MapKey(map) => {
                if access.write {
                    let linux = format!("write to change key R{} not allowed", access.base.number());
                    let what = "a callback reads the key that it is given";
                    return Err(Refusal::new(Rule::Access, at, linux, what).about(&[access.base]));
                }
                let spec = self.spec(map);
                (spec.key_size, Rule::Memory, format!("the key of {}", spec.name))
            }
            Kind::Record { size } => (size, Rule::Memory, "the record".to_owned()),
            Kind::Memory { size } => (size, Rule::Memory, "the buffer".to_owned()),
            Kind::Packet { range } | Kind::PacketMeta { range } => {
                return self.check_packet(state, pointer, access, range);
            }
            _ => {
                let what = format!("{} is not memory", self.in_words(state, access.base));
                let linux = format!("R{} invalid mem access '{}'", access.base.number(), pointer.linux_name());
                return Err(Refusal::new(Rule::Dereference, at, linux, what).about(&[access.base]));
            }
        };
        Self::within(at, pointer, access, limit, rule, &what)
    }

    /// Whether an access stays in `0..limit` whatever the offset is.
    fn within(
        at: usize,
        pointer: &Pointer,
        access: Access,
        limit: u32,
        rule: Rule,
        object: &str,
    ) -> Result<(), Refusal> {
        let Access { base, offset, size, .. } = access;
        let fixed = i64::from(pointer.offset) + i64::from(offset);
        let variable = &pointer.variable;
        let number = base.number();
        let place = match rule {
            Rule::MapValue => format!("map value, value_size={limit}"),
            _ => format!("memory, mem_size={limit}"),
        };
        let refuse = |linux: String, what: String| Err(Refusal::new(rule, at, linux, what).about(&[base]));
        let is_inside = |start: i64| start >= 0 && start + i64::from(size) <= i64::from(limit);
        let least = variable.signed.min.saturating_add(fixed);
        if variable.signed.min < 0 && (least < 0 || variable.signed.min < -(1 << 31)) {
            let what = format!("the offset may be {least}: {object} has {limit} bytes, from 0 on");
            let linux =
                format!("R{number} min value is negative, either use unsigned index or do a if (index >=0) check.");
            return refuse(linux, what).map_err(|refusal| {
                refusal.hint("make the index unsigned, or test that it is not negative, in the register that is added")
            });
        }
        let outside = |start: i64, which: &str| {
            let what = format!("{size} bytes at offset {start} {which}; {object} has {limit} bytes");
            refuse(format!("invalid access to {place} off={start} size={size}"), what)
        };
        if !is_inside(least) {
            return outside(least, if variable.as_constant().is_some() { "do not lie inside" } else { "are possible" });
        }
        if variable.unsigned.max >= MOST_VARIABLE {
            let linux = format!("R{number} unbounded memory access, make sure to bounds check any such access");
            let what = format!("the offset has no upper bound; {object} has {limit} bytes");
            return refuse(linux, what).map_err(|refusal| {
                refusal
                    .hint("bound the index that is added: if (i >= N) return 0; or i &= N - 1 (in the same register)")
            });
        }
        let most = variable.unsigned.max.cast_signed() + fixed;
        if !is_inside(most) {
            return outside(most, "are possible")
                .map_err(|refusal| refusal.hint("bound the index to the number of elements"));
        }
        Ok(())
    }

    /// Memory of a helper's: `size` bytes from where a register points to. Of the stack, it becomes anything if written.
    pub fn check_region(&mut self, state: &mut State, access: Access) -> Result<(), Refusal> {
        let value = self.read(state, access.base)?;
        let Value::Pointer(pointer) = value else { return Ok(()) };
        self.need_exact(state, &value);
        match pointer.kind {
            Kind::Stack { .. } if access.size == 0 => Ok(()),
            Kind::Stack { .. } if access.write => self.spoil_stack(state, pointer, access),
            Kind::Stack { .. } => self.check_stack(state, &pointer, access).map(|_| ()),
            _ => self.check_object(state, &pointer, access),
        }
    }

    /// A number that a register holds.
    pub fn number_in(state: &State, reg: Reg) -> Option<Scalar> {
        super::state::number(&state.get(reg)).map(|number| number.scalar)
    }
}
