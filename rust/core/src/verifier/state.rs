//! What is known at one place of one path: frames, registers, stack, reservations.

use std::rc::Rc;

use super::value::{Byte, Kind, Number, Origins, Pointer, SLOTS, Slot, Value};
use crate::isa::Reg;

/// A function in progress.
#[derive(Clone, Debug)]
pub struct Frame {
    /// r0 to r10.
    pub registers: [Value; Reg::COUNT],
    /// The stack below r10, the slot next to it first; as far down as the function has reached.
    pub stack: Vec<Slot>,
    /// First slot of the function.
    pub function: usize,
    /// The call that it returns to.
    pub called_at: usize,
    /// What it is called by, if a helper calls it.
    pub callback: Option<Callback>,
    /// How many records were reserved when a helper called it.
    pub reserved: usize,
    /// How often the helper that it is calling has called back.
    pub turns: u64,
}

/// A function that a helper calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callback {
    /// `bpf_loop`.
    Loop,
    /// `bpf_for_each_map_elem`.
    ForEach,
}

impl Frame {
    /// A fresh one, whose r10 is the end of its stack.
    #[must_use]
    pub fn new(number: usize, function: usize, called_at: usize) -> Frame {
        let mut registers = [Value::Unset; Reg::COUNT];
        registers[Reg::R10.index()] = Value::Pointer(Pointer::new(Kind::Stack { frame: number }));
        Frame { registers, stack: Vec::new(), function, called_at, callback: None, reserved: 0, turns: 0 }
    }

    /// A stack slot.
    #[must_use]
    pub fn slot(&self, index: usize) -> Slot {
        self.stack.get(index).copied().unwrap_or(Slot::FRESH)
    }

    /// A stack slot to write to.
    pub fn slot_mut(&mut self, index: usize) -> &mut Slot {
        let index = index.min(SLOTS - 1);
        if self.stack.len() <= index {
            self.stack.resize(index + 1, Slot::FRESH);
        }
        &mut self.stack[index]
    }
}

/// A record that is reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Id of the pointers to it.
    pub id: u32,
    /// The call that reserved it.
    pub insn: usize,
    /// The frame that made the call.
    pub frame: usize,
}

/// A place on a path.
#[derive(Clone, Debug)]
pub struct State {
    /// The next instruction.
    pub at: usize,
    /// Functions in progress, the entry first; shared with other states until they change.
    pub frames: Vec<Rc<Frame>>,
    /// Records that are reserved.
    pub reserved: Vec<Reserved>,
    /// The latest checkpoint on the path.
    pub checkpoint: u32,
    /// The latest branch taken on the path.
    pub trail: u32,
    /// Instructions and jumps since the checkpoint.
    pub steps: u32,
    /// Jumps since the checkpoint.
    pub jumps: u32,
    /// Turns of loops that end by themselves: those of `may_goto` and of helpers that call back.
    pub turns: u32,
}

impl State {
    /// The function that runs.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// The function that runs, to be changed.
    pub fn frame_mut(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        Rc::make_mut(&mut self.frames[last])
    }

    /// Some frame, to be changed.
    pub fn frame_at(&mut self, number: usize) -> &mut Frame {
        Rc::make_mut(&mut self.frames[number])
    }

    /// A register of the function that runs.
    #[must_use]
    pub fn get(&self, reg: Reg) -> Value {
        self.frame().registers[reg.index()]
    }

    /// Sets a register.
    pub fn set(&mut self, reg: Reg, value: Value) {
        self.frame_mut().registers[reg.index()] = value;
    }

    /// Every value, in an order that depends on frames and the lengths of their stacks only.
    pub fn each(&self, mut visit: impl FnMut(&Value, Option<&Slot>)) {
        for frame in &self.frames {
            for value in &frame.registers[..Reg::COUNT - 1] {
                visit(value, None);
            }
            for slot in &frame.stack {
                visit(&slot.value, Some(slot));
            }
        }
    }

    /// Changes values: registers, and those that lie whole on the stack. Frames without such a one stay shared.
    pub fn change(&mut self, matches: impl Fn(&Value) -> bool, mut change: impl FnMut(&Value) -> Value) {
        for frame in &mut self.frames {
            let touched = frame.registers.iter().chain(frame.stack.iter().map(|slot| &slot.value)).any(&matches);
            if !touched {
                continue;
            }
            let frame = Rc::make_mut(frame);
            let values = frame.registers.iter_mut().chain(frame.stack.iter_mut().map(|slot| &mut slot.value));
            for value in values.filter(|value| matches(value)) {
                *value = change(value);
            }
            for slot in &mut frame.stack {
                if slot.value == Value::Unset {
                    forget(slot, 0);
                }
            }
        }
    }
}

/// Bytes of a value that is no longer there are anything.
pub fn forget(slot: &mut Slot, origins: Origins) {
    slot.from |= origins | slot.value.from();
    slot.value = Value::Unset;
    for byte in &mut slot.bytes {
        if *byte == Byte::OfValue {
            *byte = Byte::Any;
        }
    }
}

/// A number of a register, if it holds one.
#[must_use]
pub fn number(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => Some(number),
        _ => None,
    }
}
