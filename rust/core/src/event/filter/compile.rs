//! An expression into a predicate: `!` before `&&` before `||`, parentheses to any depth.
//!
//! Open parentheses are on a stack of their own, so depth costs memory and no calls. A part of an expression is a run of
//! steps with two lists of ways out that lead nowhere yet. The lists are threaded through the ways themselves, so
//! joining two of them takes no time, and each way is set once.

use super::error::{FilterError, FilterProblem};
use super::predicate::{NO, Predicate, Step, YES};
use super::term::{Terms, Tested};

/// No way out: the end of a list.
const NONE: u32 = u32::MAX;

/// Ways out of a part, linked from the first to the last. A way is a step's number times two, plus one for `otherwise`.
#[derive(Clone, Copy)]
struct Exits {
    first: u32,
    last: u32,
}

/// A part of an expression: steps from `start` on.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    holds: Exits,
    fails: Exits,
}

impl Part {
    const fn negated(self, negated: bool) -> Part {
        if negated { Part { start: self.start, holds: self.fails, fails: self.holds } } else { self }
    }
}

/// An open parenthesis, or the whole.
struct Level {
    /// Where the parenthesis is.
    at: usize,
    /// Whether `!` stands before it.
    negated: bool,
    /// Terms joined by `||` so far.
    or: Option<Part>,
    /// Terms joined by `&&` so far, behind the last `||`.
    and: Option<Part>,
}

impl Level {
    const fn new(at: usize, negated: bool) -> Level {
        Level { at, negated, or: None, and: None }
    }
}

/// Compiles what the reader has; the fields that it looks at are then in `terms.uses`.
pub(super) fn compile(terms: &mut Terms<'_>) -> Result<Predicate, FilterError> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::new(0, false);
    // The operator that waits for its right side.
    let mut waiting: Option<(usize, &'static str)> = None;
    loop {
        let mut negated = false;
        let mut part = loop {
            let at = terms.reader.position();
            if terms.reader.take("!") {
                negated = !negated;
            } else if terms.reader.take("(") {
                outer.push(std::mem::replace(&mut level, Level::new(at, negated)));
                (negated, waiting) = (false, None);
            } else if terms.reader.at_end() || terms.reader.sees(")") {
                return Err(nothing(terms, at, waiting, &outer));
            } else {
                let tested = terms.term()?;
                break push(&mut terms.predicate, tested).negated(negated);
            }
        };
        waiting = loop {
            let steps = &mut terms.predicate.steps;
            let at = terms.reader.position();
            // `&&` binds whatever follows.
            part = join(steps, level.and.take(), part, true);
            if terms.reader.take("&&") {
                level.and = Some(part);
                break Some((at, "&&"));
            }
            part = join(steps, level.or.take(), part, false);
            if terms.reader.take("||") {
                level.or = Some(part);
                break Some((at, "||"));
            }
            if terms.reader.at_end() {
                let Some(_) = outer.pop() else {
                    set(&mut terms.predicate.steps, part.holds, YES);
                    set(&mut terms.predicate.steps, part.fails, NO);
                    return Ok(std::mem::take(&mut terms.predicate));
                };
                return Err(terms.reader.error(level.at, FilterProblem::Unclosed));
            }
            if !terms.reader.take(")") {
                let found = terms.reader.found();
                return Err(terms.reader.error(at, FilterProblem::Unexpected { found }));
            }
            let Some(outside) = outer.pop() else { return Err(terms.reader.error(at, FilterProblem::Unopened)) };
            part = part.negated(level.negated);
            level = outside;
        };
    }
}

/// The error where a comparison should begin and nothing is there.
fn nothing(terms: &Terms<'_>, at: usize, waiting: Option<(usize, &'static str)>, outer: &[Level]) -> FilterError {
    if let Some((at, operator)) = waiting {
        return terms.reader.error(at, FilterProblem::Dangling { operator });
    }
    if terms.reader.sees(")") && outer.is_empty() {
        return terms.reader.error(at, FilterProblem::Unopened);
    }
    terms.reader.error(at, FilterProblem::FieldExpected { found: terms.reader.found() })
}

fn push(predicate: &mut Predicate, (test, negated): Tested) -> Part {
    // An expression of `MAX_FILTER` bytes has fewer steps than a way's number can count.
    let start = predicate.steps.len() as u32;
    predicate.steps.push(Step { test, then: NONE, otherwise: NONE });
    let one = |way: u32| Exits { first: way, last: way };
    Part { start, holds: one(2 * start), fails: one(2 * start + 1) }.negated(negated)
}

/// `left && right` (`all`) or `left || right`; without a left side the right one.
fn join(steps: &mut [Step], left: Option<Part>, right: Part, all: bool) -> Part {
    let Some(left) = left else { return right };
    let (onward, done) = if all { (left.holds, left.fails) } else { (left.fails, left.holds) };
    set(steps, onward, right.start);
    if all {
        Part { start: left.start, holds: right.holds, fails: append(steps, done, right.fails) }
    } else {
        Part { start: left.start, holds: append(steps, done, right.holds), fails: right.fails }
    }
}

fn way(steps: &mut [Step], way: u32) -> Option<&mut u32> {
    let step = steps.get_mut(way as usize / 2)?;
    Some(if way.is_multiple_of(2) { &mut step.then } else { &mut step.otherwise })
}

fn append(steps: &mut [Step], front: Exits, back: Exits) -> Exits {
    if let Some(last) = way(steps, front.last) {
        *last = back.first;
    }
    Exits { first: front.first, last: back.last }
}

/// Lets all ways of a list lead to a step.
fn set(steps: &mut [Step], exits: Exits, target: u32) {
    let mut next = exits.first;
    while let Some(place) = way(steps, next) {
        next = std::mem::replace(place, target);
    }
}
