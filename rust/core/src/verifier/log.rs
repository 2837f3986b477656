//! The log of a path, in the form of the kernel's.

use std::fmt::Write as _;

use super::checkpoint::Checkpoints;
use super::error::Refusal;
use super::explore::{Explorer, Next};
use super::state::State;
use super::value::{Slot, Value};
use crate::isa::text::{Names, instruction};

/// Instructions that a log shows.
const SHOWN: usize = 100;
/// Instructions that are followed again to come to them.
const AGAIN: usize = 100_000;

/// Follows the path of a refusal once more, and writes down what its last instructions did.
pub fn of_path(explorer: &mut Explorer<'_>, end: &State, refusal: &Refusal) -> String {
    let mut script = Vec::new();
    let mut at = end.trail;
    while let Some(step) = explorer.trail.get(at as usize) {
        script.push(step.taken);
        at = step.before;
    }
    explorer.script = Some(script);
    explorer.checkpoints = Checkpoints::new(explorer.structure.len());
    let mut lines: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    let mut state = explorer.entry();
    for _ in 0..AGAIN {
        let (before, insn) = (state.clone(), state.at);
        let Some(op) = explorer.structure.op(insn) else { break };
        let names = explorer.program.maps.clone();
        let map = |slot: i32| usize::try_from(slot).ok().and_then(|slot| names.get(slot)).map(String::as_str);
        let helper = |id: u32| crate::helper::by_id(id).map(|helper| helper.name);
        let text = instruction(&op, &Names { helper: &helper, map: &map });
        let code = explorer.program.insns.get(insn).map_or(0, |insn| insn.code);
        let next = explorer.step(&mut state);
        let mut line = format!("{insn}: ({code:02x}) {text}");
        if next.is_ok() {
            let changes = changes(&before, &state);
            if !changes.is_empty() {
                line = format!("{line:<38} ;{changes}");
            }
        }
        lines.push_back(line);
        if lines.len() > SHOWN {
            lines.pop_front();
        }
        if !matches!(next, Ok(Next::On)) || insn == end.at && explorer.script.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
    }
    let mut log = String::new();
    for line in lines {
        let _ = writeln!(log, "{line}");
    }
    let _ = writeln!(log, "{}", refusal.linux);
    log
}

/// Registers and stack slots of the function that runs, as far as they differ.
fn changes(before: &State, after: &State) -> String {
    let mut text = String::new();
    let entered = before.frames.len() != after.frames.len();
    let (old, new) = (before.frame(), after.frame());
    for (number, (old, new)) in old.registers.iter().zip(&new.registers).enumerate() {
        if *new != Value::Unset && (entered || old != new) {
            let _ = write!(text, " R{number}={new}");
        }
    }
    for (index, slot) in new.stack.iter().enumerate() {
        if *slot != Slot::FRESH && (entered || old.slot(index) != *slot) {
            let _ = write!(text, " fp-{}={slot}", 8 * (index + 1));
        }
    }
    text
}
