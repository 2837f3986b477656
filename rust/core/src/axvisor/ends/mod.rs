//! Whether a program with loops ends on rbpf, and after how many instructions at most.
//!
//! The program is followed from its beginning with what is known of registers and stack ([`known`]): a conditional jump
//! on known numbers goes one way, any other goes both. Where ways meet, what is known there is remembered, but for what
//! does not matter ([`mod@matters`]): what was followed to its end once is not followed again, and what comes back to
//! where it is on its own way is a loop that cannot be shown to end. Since all that rbpf can do is followed, a program
//! whose ways all end ends on rbpf too, and the longest of them is the most that it takes there.
//!
//! So a loop costs its turns times its body. Programs for which that is more than [`MOST_FOLLOWED`] instructions, or
//! [`MOST_MEMORY`] bytes of what is to be remembered, are refused too.

mod known;
mod matters;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::flow::{Flow, Reach, refused};
use crate::engine::EngineError;
use known::{State, Step};
use matters::{ARGUMENTS, Matter, matters};
use values::{Value, has_register};

/// Instructions that are followed.
const MOST_FOLLOWED: u64 = 4_000_000;
/// Bytes for what is remembered; half as many may come on top while a table grows.
const MOST_MEMORY: usize = 64 << 20;

/// What r0 is after a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lends {
    /// A number, or nothing that is known.
    Nothing,
    /// Null or a copy of a value of the map in r1.
    Value,
    /// Null or a record of the size in r2.
    Record,
}

/// What a program finds around it.
pub(super) trait Around {
    /// Bytes of copies that the instruction in a slot may need.
    fn copies(&self, at: usize) -> u64;
    /// Whether the helper called in a slot may store into the stack.
    fn stores(&self, at: usize) -> bool;
    /// What the helper called in a slot gives.
    fn lends(&self, at: usize) -> Lends;
    /// Bytes of a value of a map, by what a program has for the map.
    fn value_size(&self, map: u64) -> Option<u32>;
    /// Bytes at the address that the `lddw` in a slot loads, where the loader puts one there.
    fn global(&self, at: usize) -> Option<u32>;
}

/// The most that a program with loops needs, if it ends. `reached` are the slots that control reaches.
///
/// # Errors
/// [`EngineError::Unsupported`] at the jump back of a loop that cannot be shown to end, or to end within the budget.
pub(super) fn reach(
    flow: &Flow<'_>,
    reached: &[usize],
    around: &impl Around,
    budget: u64,
) -> Result<Reach, EngineError> {
    let mut meets = vec![false; flow.insns().len()];
    for &at in reached {
        if let Some(to) = flow.next(at)?.jump {
            meets[to] = true;
        }
    }
    let search = Search {
        flow,
        around,
        matters: matters(flow, reached, around)?,
        turns: vec![0; meets.len()],
        meets,
        numbers: HashMap::new(),
        met: Vec::new(),
        path: Vec::new(),
        packed: Vec::new(),
        spent: Reach::default(),
        followed: 0,
        memory: 0,
        budget,
    };
    search.run()
}

/// A point on the way that is followed.
struct Point {
    /// Where ways meet, or the jump where they part.
    at: usize,
    /// Slot from which control came.
    came: usize,
    kind: Kind,
    /// What it took to come here from the beginning.
    spent: Reach,
    /// The most that a way from the beginning to an end took, of those that came here as this one did.
    most: Reach,
}

enum Kind {
    /// Ways meet; the number of the state.
    Meeting(u32),
    /// They part: the state behind the jump, until that way is followed too, and what was not known at the jump.
    Parting { other: Option<Box<State>>, unknown: Unknown },
}

impl Point {
    /// The jump at which ways part, and what is not known there.
    fn parting(&self) -> Option<(usize, Unknown)> {
        match self.kind {
            Kind::Parting { unknown, .. } => Some((self.at, unknown)),
            Kind::Meeting(_) => None,
        }
    }
}

/// Which operands of a jump are no known numbers.
#[derive(Clone, Copy)]
struct Unknown {
    dst: bool,
    src: bool,
}

struct Search<'a, A> {
    flow: &'a Flow<'a>,
    around: &'a A,
    /// What matters before each slot.
    matters: Vec<Matter>,
    /// Whether a jump leads to a slot.
    meets: Vec<bool>,
    /// The states that have been met, by number.
    numbers: HashMap<Box<[u64]>, u32>,
    /// The most that it takes from each on; none while it is on the way that is followed.
    met: Vec<Option<Reach>>,
    path: Vec<Point>,
    packed: Vec<u64>,
    /// What the way that is followed has taken.
    spent: Reach,
    /// How often the jump in each slot has led back.
    turns: Vec<u64>,
    followed: u64,
    memory: usize,
    budget: u64,
}

/// Bytes that a state takes when it is met, but for its numbers; vectors and the table may have twice what they need.
const MET: usize = 2 * (size_of::<(Box<[u64]>, u32)>() + size_of::<Option<Reach>>() + size_of::<Point>());

impl<A: Around> Search<'_, A> {
    fn run(mut self) -> Result<Reach, EngineError> {
        let mut state = State::entry();
        let mut came = 0;
        loop {
            let mut total = self.follow(&mut state, came)?;
            self.check_budget(total)?;
            loop {
                let Some(mut point) = self.path.pop() else { return Ok(total) };
                point.most = point.most.max(total);
                if let Kind::Parting { other, .. } = &mut point.kind
                    && let Some(other) = other.take()
                {
                    self.memory -= other.bytes();
                    self.spent = point.spent;
                    came = point.at;
                    state = *other;
                    self.path.push(point);
                    break;
                }
                if let Kind::Meeting(number) = point.kind {
                    self.met[number as usize] = Some(point.most.minus(point.spent));
                }
                total = point.most;
            }
        }
    }

    /// Follows a way until it ends, or meets what has been followed to its end. Returns what all of it takes.
    fn follow(&mut self, state: &mut State, mut came: usize) -> Result<Reach, EngineError> {
        loop {
            let at = state.at;
            if self.meets[at]
                && let Some(ahead) = self.meet(state, came)?
            {
                return Ok(self.spent.plus(ahead));
            }
            let (insn, next) = (self.flow.insns()[at], self.flow.next(at)?);
            self.followed += 1;
            self.check_effort()?;
            self.spent = self.spent.plus(Reach { instructions: 1, copies: self.around.copies(at) });
            self.check_budget(self.spent)?;
            if next.call.is_some() {
                let Matter { registers, words } = next.through.map_or(Matter::default(), |back| self.matters[back]);
                state.keep(registers | ARGUMENTS, words);
            }
            let is_unknown = |register| !matches!(state.register(register), Value::Number(_));
            let unknown = Unknown { dst: is_unknown(insn.dst), src: has_register(insn) && is_unknown(insn.src) };
            match state.execute(insn, next, self.flow, self.around) {
                Step::On => {}
                Step::End => return Ok(self.spent),
                Step::Either(to) => {
                    let mut other = Box::new(state.clone());
                    other.at = to;
                    self.memory += other.bytes();
                    let kind = Kind::Parting { other: Some(other), unknown };
                    self.path.push(Point { at, came, kind, spent: self.spent, most: Reach::default() });
                }
            }
            came = at;
        }
    }

    /// At a slot where ways meet: what it takes from here on, if that is known.
    fn meet(&mut self, state: &mut State, came: usize) -> Result<Option<Reach>, EngineError> {
        self.turns[came] += u64::from(self.is_back(came, state.at));
        let Matter { registers, words } = self.matters[state.at];
        state.keep(registers, words);
        state.packed(&mut self.packed);
        if let Some(&number) = self.numbers.get(self.packed.as_slice()) {
            return match self.met[number as usize] {
                Some(ahead) => Ok(Some(ahead)),
                None => Err(self.circle(number, state.at, came)),
            };
        }
        let number = self.met.len() as u32;
        self.memory += MET + size_of_val(self.packed.as_slice());
        self.numbers.insert(self.packed.as_slice().into(), number);
        self.met.push(None);
        let kind = Kind::Meeting(number);
        self.path.push(Point { at: state.at, came, kind, spent: self.spent, most: Reach::default() });
        Ok(None)
    }

    /// Whether control comes from one slot to the other by a jump back.
    fn is_back(&self, came: usize, at: usize) -> bool {
        at <= came && self.flow.next(came).is_ok_and(|next| next.jump == Some(at))
    }

    /// The error that control comes from slot `came` to `at` with a state that is on its way already.
    fn circle(&self, number: u32, at: usize, came: usize) -> EngineError {
        let begins = |point: &Point| matches!(point.kind, Kind::Meeting(of) if of == number);
        let begin = self.path.iter().rposition(begins).map_or(0, |index| index + 1);
        let turn = &self.path[begin..];
        // The jumps back of one turn: the one that leads farthest is that of the outermost loop.
        let arrivals = turn.iter().filter(|point| matches!(point.kind, Kind::Meeting(_)));
        let arrivals = arrivals.map(|point| (point.at, point.came)).chain([(at, came)]);
        let (to, from) = arrivals.filter(|(to, from)| self.is_back(*from, *to)).min().unwrap_or((at, came));
        let mut partings = turn.iter().filter_map(Point::parting);
        let why = match (self.untold_end(turn, to, from), partings.next()) {
            (Some(why), _) => why,
            (None, Some((slot, unknown))) => format!(
                "there is a way through it that changes nothing which could end it; instruction {slot} tests {}",
                self.tested(slot, unknown)
            ),
            (None, None) => "it comes back here with everything as it was".to_owned(),
        };
        endless(from, to, &why)
    }

    /// Whether an instruction may lead out of a loop.
    fn leaves(&self, slot: usize, to: usize, from: usize) -> bool {
        let next = self.flow.next(slot).ok();
        next.is_some_and(|next| [next.through, next.jump].into_iter().flatten().any(|way| way < to || way > from))
    }

    /// Which jump could end a loop and tests what is not known, by the points of one turn.
    fn untold_end(&self, turn: &[Point], to: usize, from: usize) -> Option<String> {
        let mut partings = turn.iter().filter_map(Point::parting);
        let (slot, unknown) = partings.find(|(slot, _)| self.leaves(*slot, to, from))?;
        Some(format!("instruction {slot}, which could end it, tests {}", self.tested(slot, unknown)))
    }

    /// The error that a limit is reached. That is told of a loop which no known number could have ended, if there is one.
    fn too_much(&self, what: &str) -> EngineError {
        // Where on the way each jump back has led to the last time, and the time before.
        let mut turns: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
        for (index, point) in self.path.iter().enumerate() {
            if matches!(point.kind, Kind::Meeting(_)) && self.is_back(point.came, point.at) {
                let (before, last) = turns.entry((point.at, point.came)).or_default();
                (*before, *last) = (*last, index + 1);
            }
        }
        for ((to, from), (begin, end)) in turns {
            let turn = &self.path[begin..end];
            let partings: BTreeSet<usize> = turn.iter().filter_map(Point::parting).map(|(slot, _)| slot).collect();
            let is_known_end = |slot: &usize| {
                let jumps = self.flow.next(*slot).is_ok_and(|next| next.jump.is_some() && next.through.is_some());
                jumps && self.leaves(*slot, to, from) && !partings.contains(slot)
            };
            if begin > 0
                && !(to..=from).any(|slot| is_known_end(&slot))
                && let Some(why) = self.untold_end(turn, to, from)
            {
                return endless(from, to, &why);
            }
        }
        // The jump back that was taken most often; where none was yet, the ways through the body are too many, and it is
        // the last one.
        let back = |from: usize| self.flow.next(from).ok()?.jump.filter(|to| *to <= from).map(|to| (from, to));
        let taken = self.turns.iter().enumerate().filter(|(_, turns)| **turns > 0).max_by_key(|(_, turns)| **turns);
        let (from, to, taken) = match taken {
            Some((from, turns)) => {
                let to = self.flow.next(from).ok().and_then(|next| next.jump).unwrap_or(from);
                (from, to, format!("; {turns} times so far"))
            }
            None => {
                let (from, to) = (0..self.turns.len()).rev().find_map(back).unwrap_or((0, 0));
                (from, to, String::new())
            }
        };
        let head = format!("a loop (from here control goes back to instruction {to}{taken})");
        refused(from, format!("{head} {what}: {NEVER_STOPPED}. {WAY_OUT}"))
    }

    /// The registers of a jump that are no known numbers.
    fn tested(&self, slot: usize, unknown: Unknown) -> String {
        let insn = self.flow.insns()[slot];
        match (unknown.dst, unknown.src) {
            (true, true) if insn.dst != insn.src => {
                format!("r{} and r{}, which are no constants here", insn.dst, insn.src)
            }
            (false, true) => format!("r{}, which is no constant here", insn.src),
            _ => format!("r{}, which is no constant here", insn.dst),
        }
    }

    fn check_budget(&self, needed: Reach) -> Result<(), EngineError> {
        if needed.instructions <= self.budget {
            return Ok(());
        }
        let what = format!(
            "with which the program may need more than {} instructions for one run, the limit (Bench(budget=…))",
            self.budget
        );
        Err(self.too_much(&what))
    }

    fn check_effort(&self) -> Result<(), EngineError> {
        if self.followed <= MOST_FOLLOWED && self.memory <= MOST_MEMORY {
            return Ok(());
        }
        let what = format!(
            "of too many turns, or with too many ways through it, to show that the program ends: {} instructions have been \
             followed",
            self.followed
        );
        Err(self.too_much(&what))
    }
}

/// The error that a loop may not end.
fn endless(from: usize, to: usize, why: &str) -> EngineError {
    let head = format!("a loop (from here control goes back to instruction {to}) that cannot be shown to end");
    refused(from, format!("{head} ({why}): {NEVER_STOPPED}. {WAY_OUT}"))
}

const NEVER_STOPPED: &str = "nothing stops rbpf, AxVisor's VM, once it runs";
/// What a person can do about a loop.
const WAY_OUT: &str = "Let it count from a constant to a constant, with few turns, or unroll it (#pragma unroll); the \
                       program runs on target linux, and its bare instructions, if it uses no maps, in a process of \
                       their own (axebpf exec --engine rbpf)";
