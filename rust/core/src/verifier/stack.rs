//! The stack: rule 9.

use std::ops::Range;

use super::Rule;
use super::access::Access;
use super::checkpoint::Need;
use super::error::Refusal;
use super::explore::Explorer;
use super::scalar::of_size;
use super::state::{State, forget};
use super::value::{Byte, Kind, Number, Pointer, SLOT, Value};
use crate::isa::{Size, Source, Width};
use crate::memory::FRAME;

/// What a variable offset stays below, either way (measured).
const MOST_VARIABLE: i64 = 1 << 29;

/// A byte below the end of a frame: its slot, and its place in there.
fn place(offset: i64) -> (usize, usize) {
    let slot = (-offset - 1).div_euclid(SLOT);
    let byte = offset.rem_euclid(SLOT);
    (usize::try_from(slot).unwrap_or(0), usize::try_from(byte).unwrap_or(0))
}

impl Explorer<'_> {
    /// The offsets at which an access to a stack can begin.
    pub fn check_stack(&mut self, state: &State, pointer: &Pointer, access: Access) -> Result<Range<i64>, Refusal> {
        let Access { base, offset, size, write } = access;
        let fixed = i64::from(pointer.offset) + i64::from(offset);
        let (verb, number) = (if write { "write to" } else { "read from" }, base.number());
        let bottom = -FRAME.cast_signed();
        let refuse = |linux: String, what: String| Err(Refusal::new(Rule::Stack, state.at, linux, what).about(&[base]));
        let is_inside = |least: i64, most: i64| least >= bottom && most + i64::from(size) <= 0;
        let frame = "a frame is the 512 bytes below r10";
        let (least, most) = match pointer.variable.as_constant() {
            Some(variable) => {
                let at = fixed.wrapping_add(variable.cast_signed());
                if !is_inside(at, at) {
                    let what = format!("{size} bytes at r10{at:+}; {frame}");
                    return refuse(format!("invalid {verb} stack R{number} off={at} size={size}"), what);
                }
                (at, at)
            }
            None => {
                let signed = pointer.variable.signed;
                if signed.max >= MOST_VARIABLE || signed.min <= -MOST_VARIABLE {
                    let linux = format!("invalid unbounded variable-offset {verb} stack R{number}");
                    return refuse(linux, format!("the offset has no bounds; {frame}"));
                }
                let (least, most) = (fixed + signed.min, fixed + signed.max);
                if !is_inside(least, most) {
                    let linux = format!(
                        "invalid variable-offset {verb} stack R{number} var_off={} off={least} size={size}",
                        pointer.variable.bits
                    );
                    return refuse(linux, format!("{size} bytes at r10{least:+} to r10{most:+} are possible; {frame}"));
                }
                (least, most)
            }
        };
        if let Kind::Stack { frame } = pointer.kind
            && let Some(frame) = state.frames.get(frame)
        {
            let function = self.structure.function_of(frame.function);
            if let Some(used) = self.stack_use.get_mut(function) {
                *used = (*used).max(u32::try_from(-least).unwrap_or(0));
            }
        }
        Ok(least..most + 1)
    }

    fn frame_of(pointer: &Pointer) -> usize {
        if let Kind::Stack { frame } = pointer.kind { frame } else { 0 }
    }

    /// What a load from a stack gives.
    pub fn load_stack(
        &mut self,
        state: &mut State,
        pointer: Pointer,
        access: Access,
        signed: bool,
    ) -> Result<Value, Refusal> {
        let starts = self.check_stack(state, &pointer, access)?;
        let number = Self::frame_of(&pointer);
        let size = i64::from(access.size);
        let unknown = || Value::Number(Number::new(of_size(bytes(access.size), signed), 0));
        if starts.end - starts.start > 1 {
            let frame = &state.frames[number];
            let mut origins = 0;
            let zero = (starts.start..starts.end - 1 + size).all(|offset| {
                let (slot, byte) = place(offset);
                let slot = frame.slot(slot);
                origins |= slot.origins();
                slot.bytes[byte] == Byte::Zero
            });
            return Ok(if zero { Value::constant(0).made_of(origins) } else { unknown() });
        }
        let (index, byte) = place(starts.start);
        let slot = state.frames[number].slot(index);
        let read = &slot.bytes[byte..byte + access.size as usize];
        let (stored, origins) = (slot.value_size(), slot.origins());
        if let Value::Pointer(_) = slot.value
            && read.contains(&Byte::OfValue)
        {
            if access.size == 8 {
                return Ok(slot.value.made_of(origins));
            }
            let what = format!("r10{:+} holds an address; {size} bytes of it are read", starts.start);
            return Err(Refusal::new(Rule::Stack, state.at, "invalid size of register fill", what));
        }
        // The beginning of what was stored.
        if byte == 0 && read.len() <= stored {
            let shared = self.shared(slot.value);
            state.frame_at(number).slot_mut(index).value = shared;
            if let Value::Number(mut loaded) = shared {
                let kept = loaded.scalar.unsigned.max <= super::scalar::mask(access.size);
                let fits =
                    if signed { loaded.scalar.unsigned.max <= super::scalar::mask(access.size) >> 1 } else { kept };
                if !fits {
                    loaded.unlink();
                }
                loaded.scalar = if access.size == 8 {
                    loaded.scalar
                } else if signed {
                    loaded.scalar.sign_extended(Width::W64, bytes(access.size))
                } else {
                    loaded.scalar.truncated(bytes(access.size))
                };
                loaded.from = origins;
                return Ok(Value::Number(loaded));
            }
        }
        let is_zero = |byte: &Byte| *byte == Byte::Zero || *byte == Byte::OfValue && slot.value.is_zero();
        if read.iter().all(is_zero) {
            return Ok(Value::constant(0).made_of(origins));
        }
        Ok(unknown())
    }

    /// A store to a stack.
    pub fn store_stack(
        &mut self,
        state: &mut State,
        pointer: Pointer,
        access: Access,
        value: Value,
        src: Source,
    ) -> Result<(), Refusal> {
        let starts = self.check_stack(state, &pointer, access)?;
        self.need(state, &value, Need::Kind);
        let number = Self::frame_of(&pointer);
        let at = state.at;
        if starts.end - starts.start > 1 {
            return self.spoil_stack(state, pointer, access);
        }
        let (index, byte) = place(starts.start);
        if let Value::Pointer(stored) = value {
            if access.size != 8 {
                let what = format!("{} of the 8 bytes of an address are stored", access.size);
                return Err(Refusal::new(Rule::Stack, at, "invalid size of register spill", what)
                    .hint("an address is stored on the stack whole: as a u64"));
            }
            if matches!(stored.kind, Kind::Stack { .. }) && number + 1 != state.frames.len() {
                let what = "the address would still be there when the stack that it is of has ended";
                let linux = "cannot spill pointers to stack into stack frame of the caller";
                return Err(Refusal::new(Rule::Stack, at, linux, what));
            }
        }
        if byte != 0 {
            let slot = state.frame_at(number).slot_mut(index);
            forget(slot, 0);
            let written = if value.is_zero() { Byte::Zero } else { Byte::Any };
            slot.bytes[byte..byte + access.size as usize].fill(written);
            slot.from |= if value.is_zero() { value.from() } else { 0 };
            return Ok(());
        }
        let fits = access.size == 8
            || matches!(value, Value::Number(number) if number.scalar.unsigned.max <= super::scalar::mask(access.size));
        let mut stored = value;
        if fits && let Source::Reg(src) = src {
            stored = self.shared(value);
            state.set(src, stored);
        }
        if let (Value::Number(number), true) = (&mut stored, access.size < 8) {
            if !fits {
                number.unlink();
            }
            number.scalar = number.scalar.truncated(bytes(access.size));
        }
        let slot = state.frame_at(number).slot_mut(index);
        forget(slot, 0);
        if access.size == 8 {
            slot.from = 0;
        }
        slot.bytes[..access.size as usize].fill(Byte::OfValue);
        slot.value = stored;
        Ok(())
    }

    /// Bytes of a stack become anything: a helper or an atomic instruction writes them, or a store that may go to others.
    pub fn spoil_stack(&mut self, state: &mut State, pointer: Pointer, access: Access) -> Result<(), Refusal> {
        let starts = self.check_stack(state, &pointer, access)?;
        let number = Self::frame_of(&pointer);
        let frame = state.frame_at(number);
        for offset in starts.start..starts.end - 1 + i64::from(access.size) {
            let (index, byte) = place(offset);
            let slot = frame.slot_mut(index);
            forget(slot, 0);
            slot.bytes[byte] = Byte::Any;
        }
        Ok(())
    }

    /// A number that certainly lies at an offset of a stack, if its bytes are those of a constant.
    pub fn constant_on_stack(state: &State, pointer: &Pointer, size: u32) -> Option<(u64, u128)> {
        let offset = pointer.constant_offset()?;
        let frame = state.frames.get(Self::frame_of(pointer))?;
        if offset >= 0 || offset < -FRAME.cast_signed() {
            return None;
        }
        let (index, byte) = place(offset);
        let slot = frame.slot(index);
        let read = slot.bytes.get(byte..byte + size as usize)?;
        if read.iter().all(|byte| *byte == Byte::Zero) {
            return Some((0, slot.origins()));
        }
        let stored = super::state::number(&slot.value)?;
        // As Linux counts: from there on as many bytes of one value as are read, though they may be its upper ones. A
        // constant that is a small number is zero there.
        let rest = slot.bytes.iter().skip(byte).take_while(|byte| **byte == Byte::OfValue).count();
        (rest == size as usize).then_some(())?;
        Some((stored.scalar.as_constant()?, slot.origins()))
    }
}

/// The size of so many bytes.
fn bytes(size: u32) -> Size {
    match size {
        1 => Size::Byte,
        2 => Size::Half,
        4 => Size::Word,
        _ => Size::Double,
    }
}
