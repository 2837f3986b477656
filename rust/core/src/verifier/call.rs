//! Calls of the program's own functions, by itself and by helpers, and their ends: rules 19, 20 and 21.

use std::rc::Rc;

use super::Rule;
use super::checkpoint::Need;
use super::error::Refusal;
use super::explore::{Explorer, Next};
use super::state::{Callback, Frame, State};
use super::structure::Structure;
use super::value::{Kind, MapRef, Pointer, Value};
use crate::isa::Reg;
use crate::memory::FRAMES;

impl Explorer<'_> {
    /// `call` of a function of the program.
    pub fn call_local(&mut self, state: &mut State, offset: i32) -> Result<Next, Refusal> {
        let at = state.at;
        let start = Structure::target(at, offset).unwrap_or(usize::MAX);
        let mut frame = self.new_frame(state, start)?;
        frame.registers[1..6].copy_from_slice(&state.frame().registers[1..6]);
        forget_arguments(state);
        state.set(Reg::R0, Value::Unset);
        state.frames.push(Rc::new(frame));
        state.jumps += 1;
        state.at = start;
        Ok(Next::On)
    }

    fn new_frame(&self, state: &State, start: usize) -> Result<Frame, Refusal> {
        let depth = state.frames.len();
        if depth >= FRAMES {
            let linux = format!("the call stack of {} frames is too deep !", depth + 1);
            let what = format!("{FRAMES} functions may be in progress, and this call makes one more");
            return Err(Refusal::new(Rule::CallDepth, state.at, linux, what));
        }
        Ok(Frame::new(depth, start, state.at))
    }

    /// A helper calls a function of the program, or not (any more): both are followed. `start` is its first instruction.
    pub fn call_back(
        &mut self,
        state: &mut State,
        callback: Callback,
        start: usize,
        map: Option<MapRef>,
    ) -> Result<Next, Refusal> {
        let at = state.at;
        let times = state.get(Reg::R1);
        if callback == Callback::Loop {
            self.need(state, &times, Need::Exact);
            // As often as the loop can be gone through it has been.
            if matches!(times, Value::Number(times) if state.frame().turns >= times.scalar.unsigned.max) {
                self.helper_returns(state);
                return Ok(Next::On);
            }
        }
        let mut inside = state.clone();
        let mut frame = self.new_frame(&inside, start)?;
        frame.callback = Some(callback);
        let context = state.frame().registers[3];
        match (callback, map) {
            (Callback::ForEach, Some(map)) => {
                let of = |kind: Kind| Value::Pointer(Pointer::new(kind));
                frame.registers[1] = of(Kind::Map(map));
                frame.registers[2] = of(Kind::MapKey(map));
                frame.registers[3] = of(Kind::MapValue(map));
                frame.registers[4] = context;
            }
            _ => {
                frame.registers[1] = Value::UNKNOWN;
                frame.registers[2] = context;
            }
        }
        frame.reserved = state.reserved.len();
        inside.frame_mut().turns += 1;
        inside.frames.push(Rc::new(frame));
        inside.at = start;
        inside.jumps += 1;
        inside.turns += 1;
        self.helper_returns(state);
        state.at = at;
        if !self.fork(state, inside, true)? {
            state.at = at + 1;
        }
        Ok(Next::On)
    }

    /// A helper that calls back is done.
    fn helper_returns(&self, state: &mut State) {
        state.frame_mut().turns = 0;
        forget_arguments(state);
        state.set(Reg::R0, Value::UNKNOWN);
        state.at += 1;
    }

    /// `exit`.
    pub fn exit(&mut self, state: &mut State) -> Result<Next, Refusal> {
        let at = state.at;
        let depth = state.frames.len();
        if state.frame().callback.is_none() {
            if depth > 1 {
                return self.return_to_caller(state);
            }
            self.all_given_back(state, 0, "at exit")?;
            let result = self.read(state, Reg::R0)?;
            self.need_kind(state, &result);
            return Ok(Next::End);
        }
        let result = self.read(state, Reg::R0)?;
        self.need(state, &result, Need::Exact);
        let fits = matches!(result, Value::Number(number) if number.scalar.unsigned.max <= 1);
        if !fits {
            let linux = "At callback return the register R0 should have been in [0, 1]";
            let what = format!("a callback returns 0 to go on or 1 to stop; r0 is {}", self.in_words(state, Reg::R0));
            return Err(Refusal::new(Rule::Callback, at, linux, what).about(&[Reg::R0]));
        }
        self.all_given_back(state, state.frame().reserved, "at the end of the callback")?;
        let called_at = state.frame().called_at;
        state.frames.pop();
        // The helper decides again: one more call, or none.
        state.at = called_at;
        Ok(Next::On)
    }

    fn return_to_caller(&mut self, state: &mut State) -> Result<Next, Refusal> {
        let result = state.get(Reg::R0);
        if let Value::Pointer(Pointer { kind: Kind::Stack { .. }, .. }) = result {
            let what = "the function returns an address of a stack; its own ends here";
            let linux = "cannot return stack pointer to the caller";
            return Err(Refusal::new(Rule::Return, state.at, linux, what).about(&[Reg::R0]));
        }
        let called_at = state.frame().called_at;
        state.frames.pop();
        state.set(Reg::R0, result);
        state.at = called_at + 1;
        Ok(Next::On)
    }

    /// Rule 18: nothing is reserved that was not before.
    pub fn all_given_back(&self, state: &State, before: usize, when: &str) -> Result<(), Refusal> {
        let Some(reserved) = state.reserved.get(before) else { return Ok(()) };
        let linux = format!("Unreleased reference id={} alloc_insn={}", reserved.id, reserved.insn);
        let place = match self.program.line_of(reserved.insn) {
            Some(line) => format!("{}:{}", line.file, line.line),
            None => format!("instruction {}", reserved.insn),
        };
        let what = format!("the record reserved at {place} is still reserved {when}");
        Err(Refusal::new(Rule::Reference, state.at, linux, what)
            .hint("submit or discard the record on every path: bpf_ringbuf_submit() or bpf_ringbuf_discard()"))
    }
}

/// What a call leaves of the arguments.
pub fn forget_arguments(state: &mut State) {
    state.frame_mut().registers[1..6].fill(Value::Unset);
}
