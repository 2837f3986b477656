//! What is known at a moment of a run: registers, frames, and what the stack holds.
//!
//! What is not known is *anything*, and to forget is always right. So what may change something in a way that is not
//! followed here forgets it: a store to an address that may be the stack's forgets the stack, and so does a helper that
//! may store; a helper forgets r0 to r5, though rbpf leaves all but r0, and so does the end of a local call.

use super::values::{Value, computed, jumps};
use super::{Around, Lends};
use crate::axvisor::flow::{CALL, DEPTHS, EXIT, Flow, LDDW, Next};
use crate::isa::Insn;
use crate::isa::opcode::{Size, class};

/// Bytes of rbpf's stack, which all frames share.
const STACK: i64 = 512;
/// How far below its caller's a function's r10 is.
const FRAME: i64 = 256;
/// The frame pointer.
pub(super) const R10: usize = 10;
/// The `origin` of r1 at the entry.
const ENTRY: u32 = u32::MAX;

/// Where a function goes back to, and r6 to r9 of its caller.
#[derive(Clone)]
struct Frame {
    back: usize,
    saved: [Value; 4],
}

/// Eight bytes of the stack, of which something is known.
#[derive(Clone, Copy)]
enum Word {
    /// Those bytes of which the mask has a bit.
    Bytes { mask: u8, bytes: [u8; 8] },
    /// All of them, which are an address.
    Address(Value),
}

/// What is known before an instruction.
#[derive(Clone)]
pub(super) struct State {
    /// Slot of the instruction.
    pub(super) at: usize,
    registers: [Value; 11],
    frames: Vec<Frame>,
    /// Words by number, ascending; word 0 is the lowest of the stack.
    words: Vec<(u8, Word)>,
}

/// What an instruction does.
pub(super) enum Step {
    /// Control goes to where the state says.
    On,
    /// It goes there or, for all that is known, jumps to this slot.
    Either(usize),
    /// The run ends.
    End,
}

/// Bytes of a load or store.
fn size_of_access(insn: Insn) -> i64 {
    Size::from_code(insn.code & Size::MASK).map_or(8, Size::bytes).into()
}

/// The words below r10 that an access at an offset from it touches; the lowest bit is the word right below.
pub(super) fn words_of(offset: i64, insn: Insn) -> u64 {
    let last = offset + size_of_access(insn) - 1;
    let bit = |offset: i64| if (-STACK..0).contains(&offset) { 1 << ((-1 - offset) / 8) } else { 0 };
    bit(offset) | bit(last)
}

/// Whether a store at an offset from r10 is of a whole word.
pub(super) fn is_whole_word(offset: i64, insn: Insn) -> bool {
    size_of_access(insn) == 8 && offset % 8 == 0
}

impl State {
    /// At the first instruction.
    pub(super) fn entry() -> State {
        let mut registers = [Value::Anything; 11];
        registers[1] = Value::Lent { origin: ENTRY, len: 0, offset: 0 };
        registers[R10] = Value::Stack(0);
        State { at: 0, registers, frames: Vec::new(), words: Vec::new() }
    }

    pub(super) fn register(&self, number: u8) -> Value {
        self.registers.get(usize::from(number)).copied().unwrap_or(Value::Anything)
    }

    fn set(&mut self, number: u8, value: Value) {
        if let Some(register) = self.registers.get_mut(usize::from(number)) {
            *register = value;
        }
    }

    /// Executes the instruction in a slot.
    pub(super) fn execute(&mut self, insn: Insn, next: Next, flow: &Flow<'_>, around: &impl Around) -> Step {
        let (dst, src) = (self.register(insn.dst), self.register(insn.src));
        let mut to = next.through.unwrap_or(self.at);
        match insn.code & class::MASK {
            class::ALU | class::ALU64 => self.set(insn.dst, computed(insn, dst, src)),
            _ if insn.code == LDDW => {
                let value = self.wide(insn, flow, around);
                self.set(insn.dst, value);
            }
            class::LDX => {
                let value = self.load(src.plus(offset(insn)), size_of_access(insn));
                self.set(insn.dst, value);
            }
            class::STX => self.store(insn, dst, src),
            class::ST => self.store(insn, dst, Value::Number(i64::from(insn.imm).cast_unsigned())),
            class::JMP | class::JMP32 if insn.code == CALL => match next.call {
                Some(function) => {
                    if self.frames.len() + 1 == DEPTHS {
                        return Step::End;
                    }
                    let saved = [6, 7, 8, 9].map(|number| self.register(number));
                    self.frames.push(Frame { back: to, saved });
                    self.registers[R10] = self.registers[R10].plus(FRAME.wrapping_neg().cast_unsigned());
                    to = function;
                }
                None => self.call(around),
            },
            class::JMP | class::JMP32 if insn.code == EXIT => {
                let Some(frame) = self.frames.pop() else { return Step::End };
                self.registers[6..R10].copy_from_slice(&frame.saved);
                self.registers[R10] = self.registers[R10].plus(FRAME.cast_unsigned());
                self.registers[1..6].fill(Value::Anything);
                to = frame.back;
            }
            class::JMP | class::JMP32 => match (next.jump, next.through) {
                (Some(target), None) => to = target,
                (Some(target), Some(_)) => match jumps(insn, dst, src) {
                    Some(true) => to = target,
                    Some(false) => {}
                    None => {
                        self.at = to;
                        return Step::Either(target);
                    }
                },
                (None, _) => {}
            },
            // Loads of packets, which rbpf has too.
            _ => self.set(0, Value::Anything),
        }
        self.at = to;
        Step::On
    }

    fn wide(&mut self, insn: Insn, flow: &Flow<'_>, around: &impl Around) -> Value {
        if let Some(len) = around.global(self.at) {
            return self.lent(len);
        }
        let upper = flow.insns().get(self.at + 1).map_or(0, |second| second.imm);
        Value::Number(u64::from(insn.imm.cast_unsigned()) | u64::from(upper.cast_unsigned()) << 32)
    }

    /// The address of memory beside the stack, from the instruction that is executed. What it gave before is another.
    fn lent(&mut self, len: u32) -> Value {
        let origin = self.at as u32;
        let is_old = |value: &Value| matches!(value, Value::Lent { origin: of, .. } if *of == origin);
        let saved = self.frames.iter_mut().flat_map(|frame| &mut frame.saved);
        for value in self.registers.iter_mut().chain(saved).filter(|value| is_old(value)) {
            *value = Value::Anything;
        }
        self.words.retain(|(_, word)| !matches!(word, Word::Address(value) if is_old(value)));
        Value::Lent { origin, len, offset: 0 }
    }

    fn call(&mut self, around: &impl Around) {
        let len = match (around.lends(self.at), self.registers[1], self.registers[2]) {
            (Lends::Value, Value::Number(map), _) => around.value_size(map),
            (Lends::Record, _, Value::Number(size)) => u32::try_from(size).ok(),
            _ => None,
        };
        if around.stores(self.at) {
            self.words.clear();
        }
        self.registers[..6].fill(Value::Anything);
        if let Some(len) = len {
            self.registers[0] = self.lent(len);
        }
    }

    fn store(&mut self, insn: Insn, to: Value, value: Value) {
        let (to, size) = (to.plus(offset(insn)), size_of_access(insn));
        let Value::Stack(start) = to else {
            if !to.is_beside_the_stack(size) {
                self.words.clear();
            }
            return;
        };
        let is_address = matches!(value, Value::Stack(_) | Value::Lent { .. });
        if is_address && is_whole_word(start, insn) {
            if let Some(number) = word(start) {
                self.put(number, Some(Word::Address(value)));
            }
            return;
        }
        let bytes = match value {
            Value::Number(number) => Some(in_memory(number, size)),
            _ => None,
        };
        for (index, offset) in (start..start.saturating_add(size)).enumerate() {
            let Some(number) = word(offset) else { continue };
            let (mut mask, mut known) = match self.word(number) {
                Some(Word::Bytes { mask, bytes }) => (mask, bytes),
                Some(Word::Address(_)) | None => (0, [0; 8]),
            };
            let byte = offset.rem_euclid(8) as usize;
            (mask, known[byte]) = match bytes {
                Some(bytes) => (mask | 1 << byte, bytes[index]),
                None => (mask & !(1 << byte), 0),
            };
            self.put(number, (mask != 0).then_some(Word::Bytes { mask, bytes: known }));
        }
    }

    fn load(&self, from: Value, size: i64) -> Value {
        let Value::Stack(start) = from else { return Value::Anything };
        let mut loaded = [0; 8];
        for (index, offset) in (start..start.saturating_add(size)).enumerate() {
            let byte = offset.rem_euclid(8) as usize;
            match word(offset).and_then(|number| self.word(number)) {
                Some(Word::Bytes { mask, bytes }) if mask & 1 << byte != 0 => loaded[index] = bytes[byte],
                Some(Word::Address(value)) if size == 8 && byte == 0 && index == 0 => return value,
                _ => return Value::Anything,
            }
        }
        Value::Number(from_memory(loaded, size))
    }

    fn word(&self, number: u8) -> Option<Word> {
        let index = self.words.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.words.get(index).map(|(_, word)| *word)
    }

    fn put(&mut self, number: u8, word: Option<Word>) {
        match (self.words.binary_search_by_key(&number, |(number, _)| *number), word) {
            (Ok(index), Some(word)) => self.words[index].1 = word,
            (Ok(index), None) => drop(self.words.remove(index)),
            (Err(index), Some(word)) => self.words.insert(index, (number, word)),
            (Err(_), None) => {}
        }
    }

    /// Forgets all registers but some, and all words below r10 but some.
    pub(super) fn keep(&mut self, registers: u16, words: u64) {
        for (number, register) in self.registers.iter_mut().enumerate().take(R10) {
            if registers & 1 << number == 0 {
                *register = Value::Anything;
            }
        }
        let Value::Stack(top) = self.registers[R10] else { return };
        self.words.retain(|(number, _)| {
            // The last byte of the word, seen from r10; what is above belongs to callers.
            let last = i64::from(*number) * 8 + 7 - STACK - top;
            last >= 0 || words & 1_u64.checked_shl((-1 - last) as u32 / 8).unwrap_or(0) != 0
        });
    }

    /// All of it in a few numbers: equal ones for equal states, and only for them.
    pub(super) fn packed(&self, out: &mut Vec<u64>) {
        out.clear();
        out.push((self.at as u64) << 8 | self.frames.len() as u64);
        pack(&self.registers, 0, out);
        for frame in &self.frames {
            pack(&frame.saved, frame.back as u64, out);
        }
        for (number, word) in &self.words {
            match word {
                Word::Bytes { mask, bytes } => {
                    out.extend([u64::from(*number) << 8 | u64::from(*mask), u64::from_le_bytes(*bytes)]);
                }
                Word::Address(value) => {
                    out.push(u64::from(*number) << 8);
                    pack(&[*value], 0, out);
                }
            }
        }
    }

    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<State>()
            + self.frames.capacity() * size_of::<Frame>()
            + self.words.capacity() * size_of::<(u8, Word)>()
    }
}

/// Values behind a number that says of what kind each is; `with` is put in its upper half.
fn pack(values: &[Value], with: u64, out: &mut Vec<u64>) {
    let head = out.len();
    out.push(0);
    let mut kinds = 0;
    for value in values {
        kinds = kinds << 2
            | match *value {
                Value::Anything => 0,
                Value::Number(number) => {
                    out.push(number);
                    1
                }
                Value::Stack(offset) => {
                    out.push(offset.cast_unsigned());
                    2
                }
                Value::Lent { origin, len, offset } => {
                    out.extend([u64::from(origin) << 32 | u64::from(len), offset.cast_unsigned()]);
                    3
                }
            };
    }
    out[head] = with << 32 | kinds;
}

/// The number of the word that a byte lies in, if it is one of the stack's.
fn word(offset: i64) -> Option<u8> {
    (-STACK..0).contains(&offset).then_some(((offset + STACK) / 8) as u8)
}

fn offset(insn: Insn) -> u64 {
    i64::from(insn.off).cast_unsigned()
}

/// A number as `size` bytes of memory hold it.
fn in_memory(number: u64, size: i64) -> [u8; 8] {
    let mut bytes = [0; 8];
    match size {
        1 => bytes[0] = number as u8,
        2 => bytes[..2].copy_from_slice(&(number as u16).to_ne_bytes()),
        4 => bytes[..4].copy_from_slice(&(number as u32).to_ne_bytes()),
        _ => bytes = number.to_ne_bytes(),
    }
    bytes
}

/// The number that `size` bytes of memory hold.
fn from_memory(bytes: [u8; 8], size: i64) -> u64 {
    let [a, b, c, d, ..] = bytes;
    match size {
        1 => a.into(),
        2 => u16::from_ne_bytes([a, b]).into(),
        4 => u32::from_ne_bytes([a, b, c, d]).into(),
        _ => u64::from_ne_bytes(bytes),
    }
}
