//! Calls of helpers: rules 15 and 16.

use super::Rule;
use super::access::Access;
use super::call::forget_arguments;
use super::error::Refusal;
use super::explore::{Explorer, Next};
use super::maps;
use super::scalar::Scalar;
use super::state::{Callback, Reserved, State};
use super::value::{Kind, MapRef, Number, Pointer, Value};
use crate::helper::{ArgKind, CUSTOM_HELPERS, ReturnKind, TAIL_CALL, check};
use crate::isa::Reg;
use crate::map::MapKind;

/// What a size stays below (measured).
const MOST_BYTES: u64 = 1 << 29;
const LOOKUP: u32 = 1;
const BPF_LOOP: u32 = 181;
/// Helpers that return the length of a string, at most the size that they are given, or an errno.
const READ_STRING: [u32; 3] = [45, 114, 115];
/// Most that an errno is below zero.
const MAX_ERRNO: i64 = 4095;

/// What the arguments of a call have shown so far.
#[derive(Default)]
struct Call {
    id: u32,
    name: String,
    map: Option<MapRef>,
    /// An index that is a constant.
    index: Option<u64>,
    size: u32,
    /// The greatest size, of memory whose size is a number.
    most: u64,
    released: Option<u32>,
    callback: Option<usize>,
    /// Memory that awaits its size: its register, and whether it is written.
    memory: Option<(Reg, bool)>,
}

impl Explorer<'_> {
    /// `call` of a helper.
    pub fn call_helper(&mut self, state: &mut State, id: u32) -> Result<Next, Refusal> {
        let at = state.at;
        let (name, args, result) = self.signature(at, id)?;
        let mut call = Call { id, name, ..Call::default() };
        for (reg, &kind) in [1, 2, 3, 4, 5].into_iter().filter_map(Reg::new).zip(&args) {
            self.argument(state, reg, kind, &mut call)?;
        }
        if let Some(start) = call.callback {
            let callback = if id == BPF_LOOP { Callback::Loop } else { Callback::ForEach };
            return self.call_back(state, callback, start, call.map);
        }
        if id == TAIL_CALL {
            self.all_given_back(state, 0, "when the tail call goes on in another program")?;
        }
        if let Some(id) = call.released {
            state.reserved.retain(|reserved| reserved.id != id);
            // Nothing of the record is left to the program.
            let same = |value: &Value| matches!(value, Value::Pointer(pointer) if pointer.id == id);
            state.change(same, |_| Value::UNKNOWN);
        }
        forget_arguments(state);
        let value = self.result(state, &call, result);
        state.set(Reg::R0, value);
        state.at = at + 1;
        Ok(Next::On)
    }

    /// Name, arguments and result of a helper that the program may call.
    fn signature(&self, at: usize, id: u32) -> Result<(String, Vec<ArgKind>, ReturnKind), Refusal> {
        if id >= CUSTOM_HELPERS {
            return match self.options.custom_helpers.get(&id) {
                Some((args, result)) => Ok((format!("{id:#x}"), args.clone(), *result)),
                None => {
                    let what = format!("no helper {id:#x} is defined");
                    Err(Refusal::new(Rule::Helper, at, format!("invalid func unknown#{id}"), what))
                }
            };
        }
        let helper = check(id, Some(self.program_type), self.program.is_gpl_compatible()).map_err(|error| {
            let text = error.to_string();
            let (linux, what) = text.split_once(": ").unwrap_or((&text, "see the table of helpers"));
            Refusal::new(Rule::Helper, at, linux, what)
        })?;
        match &helper.implementation {
            Some(implementation) => Ok((helper.name.to_owned(), implementation.args.to_vec(), implementation.result)),
            None => Err(Refusal::new(Rule::Helper, at, format!("unknown func {}#{id}", helper.name), "not offered")),
        }
    }

    fn wrong(&self, state: &State, reg: Reg, call: &Call, expected: &str, what: &str) -> Refusal {
        let found = state.get(reg).linux_name();
        let linux = format!("R{} type={found} expected={expected}", reg.number());
        let words = self.in_words(state, reg);
        let what = format!("{} takes {what} in r{}, which is {words}", call.name, reg.number());
        let is_null = matches!(state.get(reg), Value::Pointer(pointer) if pointer.or_null);
        let rule = if is_null { Rule::Null } else { Rule::Argument };
        let refusal = Refusal::new(rule, state.at, linux, what).about(&[reg]);
        if is_null { refusal.hint("test it before it is used: if (!p) return 0;") } else { refusal }
    }

    fn argument(&mut self, state: &mut State, reg: Reg, kind: ArgKind, call: &mut Call) -> Result<(), Refusal> {
        let value = self.read(state, reg)?;
        self.need_kind(state, &value);
        let pointer = match value {
            Value::Pointer(pointer) => Some(pointer),
            _ => None,
        };
        match kind {
            ArgKind::Anything => Ok(()),
            ArgKind::Context => match pointer {
                Some(Pointer { kind: Kind::Context, .. }) => self.unmoved(state, reg, call),
                Some(Pointer { kind: Kind::Memory { .. }, .. }) => Ok(()),
                _ => Err(self.wrong(state, reg, call, "ctx", "the context")),
            },
            ArgKind::MapPtr => match pointer {
                Some(Pointer { kind: Kind::Map(map), or_null: false, .. }) => {
                    maps::check_helper(state.at, call.id, self.spec(map)).map_err(|refusal| refusal.about(&[reg]))?;
                    call.map = Some(map);
                    Ok(())
                }
                _ => Err(self.wrong(state, reg, call, "map_ptr", "a map")),
            },
            ArgKind::MapKey => {
                let size = call.map.map_or(0, |map| self.spec(map).key_size);
                self.memory(state, reg, size, false, call)?;
                if let Some(pointer) = pointer.filter(|pointer| matches!(pointer.kind, Kind::Stack { .. }))
                    && size == 4
                    && let Some((index, origins)) = Self::constant_on_stack(state, &pointer, 4)
                {
                    call.index = Some(index);
                    self.need_origins(state, origins, super::checkpoint::Need::Exact);
                }
                Ok(())
            }
            ArgKind::MapValue | ArgKind::MapValueOut => {
                let size = call.map.map_or(0, |map| self.spec(map).value_size);
                self.memory(state, reg, size, kind == ArgKind::MapValueOut, call)
            }
            ArgKind::MemRead | ArgKind::MemWrite => {
                self.expect_memory(state, reg, call)?;
                call.memory = Some((reg, kind == ArgKind::MemWrite));
                Ok(())
            }
            ArgKind::MemReadOrNull | ArgKind::MemWriteOrNull => {
                if !value.is_zero() {
                    self.expect_memory(state, reg, call)?;
                } else {
                    self.need_exact(state, &value);
                }
                call.memory = Some((reg, kind == ArgKind::MemWriteOrNull));
                Ok(())
            }
            ArgKind::Size | ArgKind::SizeOrZero => self.size(state, reg, kind == ArgKind::SizeOrZero, call),
            ArgKind::AllocSize => {
                self.need_exact(state, &value);
                let constant = Self::number_in(state, reg).and_then(|scalar| scalar.as_constant());
                match constant.and_then(|size| u32::try_from(size).ok()) {
                    Some(size) => {
                        call.size = size;
                        Ok(())
                    }
                    None => {
                        let linux = format!("R{} is not a known constant", reg.number());
                        let what = format!(
                            "the size of a record is a constant; r{} is {}",
                            reg.number(),
                            self.in_words(state, reg)
                        );
                        Err(Refusal::new(Rule::Argument, state.at, linux, what)
                            .about(&[reg])
                            .hint("records of varying size go through bpf_ringbuf_output()"))
                    }
                }
            }
            ArgKind::ConstString => self.constant_string(state, reg, call),
            ArgKind::RingRecord => self.record(state, reg, call),
            ArgKind::Callback => match pointer {
                Some(Pointer { kind: Kind::Function { start }, .. }) => {
                    call.callback = Some(start);
                    Ok(())
                }
                _ => Err(self.wrong(state, reg, call, "func", "a function of the program")),
            },
            ArgKind::DynptrMemory
            | ArgKind::NewLocalDynptr
            | ArgKind::NewRingDynptr
            | ArgKind::RingDynptr
            | ArgKind::Dynptr
            | ArgKind::SpinLock => {
                let linux = format!("unknown func {}#{}", call.name, call.id);
                Err(Refusal::new(Rule::Helper, state.at, linux, "dynptrs and spin locks are not followed here"))
            }
            ArgKind::StackOrNull => match pointer {
                Some(Pointer { kind: Kind::Stack { .. }, .. }) => Ok(()),
                None if value.is_zero() => {
                    self.need_exact(state, &value);
                    Ok(())
                }
                _ => Err(self.wrong(state, reg, call, "fp", "an address on the stack, or null")),
            },
        }
    }

    /// An argument that is memory.
    fn expect_memory(&self, state: &State, reg: Reg, call: &Call) -> Result<(), Refusal> {
        match state.get(reg) {
            Value::Pointer(pointer)
                if !pointer.or_null
                    && matches!(
                        pointer.kind,
                        Kind::Stack { .. }
                            | Kind::MapValue(_)
                            | Kind::MapKey(_)
                            | Kind::Record { .. }
                            | Kind::Memory { .. }
                            | Kind::Packet { .. }
                            | Kind::PacketMeta { .. }
                    ) =>
            {
                Self::packet_for_helper(state, reg, call.id)
            }
            _ => {
                let expected = "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_";
                Err(self.wrong(state, reg, call, expected, "memory (the stack, a map's value, a record)"))
            }
        }
    }

    fn memory(&mut self, state: &mut State, reg: Reg, size: u32, write: bool, call: &Call) -> Result<(), Refusal> {
        self.expect_memory(state, reg, call)?;
        self.check_region(state, Access { base: reg, offset: 0, size, write })
    }

    /// A size, and the memory before it.
    fn size(&mut self, state: &mut State, reg: Reg, or_zero: bool, call: &mut Call) -> Result<(), Refusal> {
        let Value::Number(number) = state.get(reg) else {
            return Err(self.wrong(state, reg, call, "scalar", "a size"));
        };
        self.need_exact(state, &Value::Number(number));
        let (at, name) = (state.at, reg.number());
        let Scalar { signed, unsigned, .. } = number.scalar;
        let shown = self.in_words(state, reg);
        if signed.min < 0 {
            let linux = format!("R{name} min value is negative, either use unsigned or 'var &= const'");
            return Err(Refusal::new(
                Rule::Argument,
                at,
                linux,
                format!("the size may be negative: r{name} is {shown}"),
            )
            .about(&[reg])
            .hint("make the size unsigned, and bound it in the register that is passed"));
        }
        if unsigned.min == 0 && !or_zero {
            let linux = format!("R{name} invalid zero-sized read: u64=[{},{}]", unsigned.min, unsigned.max);
            return Err(Refusal::new(Rule::Argument, at, linux, format!("{} takes at least one byte", call.name))
                .about(&[reg])
                .hint("test that the size is not 0"));
        }
        if unsigned.max >= MOST_BYTES {
            let linux = format!("R{name} unbounded memory access, use 'var &= const' or 'if (var < const)'");
            return Err(Refusal::new(
                Rule::Argument,
                at,
                linux,
                format!("the size has no upper bound: r{name} is {shown}"),
            )
            .about(&[reg])
            .hint("bound the size by that of the memory: if (n > sizeof(buf)) n = sizeof(buf);"));
        }
        call.most = unsigned.max;
        let Some((memory, write)) = call.memory.take() else { return Ok(()) };
        let size = u32::try_from(unsigned.max).unwrap_or(u32::MAX);
        if let Value::Number(_) = state.get(memory) {
            if size == 0 {
                return Ok(());
            }
            let linux = format!("R{} type=scalar expected=fp", memory.number());
            let what = format!("{} gets null, with a size that may be {size}", call.name);
            return Err(Refusal::new(Rule::Argument, at, linux, what).about(&[memory, reg]));
        }
        self.check_region(state, Access { base: memory, offset: 0, size, write })
            .map_err(|refusal| refusal.about(&[reg]))
    }

    /// An address that no offset was added to.
    fn unmoved(&self, state: &State, reg: Reg, call: &Call) -> Result<(), Refusal> {
        match state.get(reg) {
            Value::Pointer(pointer) if pointer.constant_offset() == Some(0) => Ok(()),
            Value::Pointer(pointer) => {
                let offset = pointer.offset;
                let linux = format!(
                    "dereference of modified {} ptr R{} off={offset} disallowed",
                    pointer.linux_name(),
                    reg.number()
                );
                let what = format!("{} takes the address as it was given, with nothing added", call.name);
                Err(Refusal::new(Rule::Argument, state.at, linux, what).about(&[reg]))
            }
            _ => Ok(()),
        }
    }

    fn constant_string(&mut self, state: &mut State, reg: Reg, call: &Call) -> Result<(), Refusal> {
        let value = state.get(reg);
        self.need_exact(state, &value);
        let Value::Pointer(pointer @ Pointer { kind: Kind::MapValue(map), or_null: false, .. }) = value else {
            return Err(self.wrong(state, reg, call, "map_value", "a string that is a constant"));
        };
        let refuse = |linux: String, what: &str| {
            Err(Refusal::new(Rule::Argument, state.at, linux, what)
                .about(&[reg])
                .hint("a string literal in .rodata: static const char fmt[] = \"…\";"))
        };
        let number = reg.number();
        let facts = self.maps.get(map.slot).filter(|_| !map.inner);
        let Some(bytes) = facts.and_then(|facts| facts.constant.as_ref()) else {
            return refuse(
                format!("R{number} does not point to a readonly map'"),
                "the string lies in a map that can change",
            );
        };
        let Some(offset) = pointer.constant_offset() else {
            return refuse(format!("R{number} is not a constant address'"), "the string is at an address that varies");
        };
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        match rest {
            Some(rest) if rest.contains(&0) => Ok(()),
            Some(rest) if !rest.is_empty() => {
                refuse("string is not zero-terminated".to_owned(), "it has no NUL at its end")
            }
            _ => refuse(format!("R{number} invalid access to map value"), "the string is not inside the map's value"),
        }
    }

    /// A record that is given back.
    fn record(&mut self, state: &mut State, reg: Reg, call: &mut Call) -> Result<(), Refusal> {
        let value = state.get(reg);
        self.need_exact(state, &value);
        let Value::Pointer(pointer @ Pointer { kind: Kind::Record { .. }, or_null: false, .. }) = value else {
            return Err(self.wrong(state, reg, call, "ringbuf_mem", "a record that bpf_ringbuf_reserve returned"));
        };
        self.unmoved(state, reg, call)?;
        let owned = state.reserved.iter().find(|reserved| reserved.id == pointer.id);
        let outside = state.frames.iter().rposition(|frame| frame.callback.is_some()).unwrap_or(0);
        match owned {
            Some(reserved) if reserved.frame >= outside => {
                call.released = Some(pointer.id);
                Ok(())
            }
            _ => {
                let linux = format!("release of reference id={} is not allowed here", pointer.id);
                let what = "the record was reserved outside the callback, which may run several times";
                Err(Refusal::new(Rule::Reference, state.at, linux, what).about(&[reg]))
            }
        }
    }

    /// What is in r0 behind the call.
    fn result(&mut self, state: &mut State, call: &Call, result: ReturnKind) -> Value {
        match result {
            ReturnKind::Void => Value::Unset,
            ReturnKind::Integer if READ_STRING.contains(&call.id) => {
                let mut scalar = Scalar::UNKNOWN;
                scalar.signed.min = -MAX_ERRNO;
                scalar.signed.max = call.most.cast_signed();
                Value::Number(Number::new(scalar.synced(), 0))
            }
            // Of a dynptr, which `argument` refuses.
            ReturnKind::Integer | ReturnKind::DynptrMemoryOrNull => Value::UNKNOWN,
            ReturnKind::MapValueOrNull => {
                let Some(map) = call.map else { return Value::UNKNOWN };
                let spec = self.spec(map);
                if spec.kind.is_of_maps() {
                    let mut pointer = Pointer::new(Kind::Map(MapRef { slot: map.slot, inner: true }));
                    (pointer.or_null, pointer.id) = (true, self.fresh_id());
                    return Value::Pointer(pointer);
                }
                // A value at an index that is always there.
                let always = call.id == LOOKUP
                    && !map.inner
                    && matches!(spec.kind, MapKind::Array | MapKind::PercpuArray)
                    && call.index.is_some_and(|index| index < u64::from(spec.max_entries));
                let mut pointer = Pointer::new(Kind::MapValue(map));
                if !always {
                    (pointer.or_null, pointer.id) = (true, self.fresh_id());
                }
                Value::Pointer(pointer)
            }
            ReturnKind::RingRecordOrNull => {
                let id = self.fresh_id();
                state.reserved.push(Reserved { id, insn: state.at, frame: state.frames.len() - 1 });
                let mut pointer = Pointer::new(Kind::Record { size: call.size });
                (pointer.or_null, pointer.id) = (true, id);
                Value::Pointer(pointer)
            }
        }
    }
}
