//! The assembler: [`text`](super::text) back to slots.
//!
//! One instruction a line; a label (`L3:`) stands before an instruction or on a line of its own; `;` and `//` start a
//! comment. Numbers are decimal, or hexadecimal with `0x`; a 32-bit constant above 0x7fffffff is written in
//! hexadecimal and means these bits. Beyond what [`disassemble`](super::disassemble()) prints it takes jump distances
//! without `pc` (`goto +3`), helpers and maps by name alone where [`Symbols`] knows them, and any label's name.

mod grammar;
mod token;

use std::collections::HashMap;

use super::Insn;
use super::encode::encode;
use super::op::{Imm64, Op};
use grammar::{Item, Reference};
use token::{Expected, Name};

/// Names that a program may use for numbers.
#[derive(Clone, Copy)]
pub struct Symbols<'a> {
    /// Id of a helper by name.
    pub helper: &'a dyn Fn(&str) -> Option<u32>,
    /// Descriptor or slot of a map by name.
    pub map: &'a dyn Fn(&str) -> Option<i32>,
}

impl Symbols<'_> {
    /// No names: helpers are written `name#id`, maps `map[0]`.
    #[must_use]
    pub const fn none() -> Self {
        Symbols { helper: &|_| None, map: &|_| None }
    }
}

impl std::fmt::Debug for Symbols<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols").finish_non_exhaustive()
    }
}

/// What is wrong with an assembler text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}; found {found}")]
pub struct AsmError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What would fit there, with the nearest valid word where one is near.
    pub what: String,
    /// What stands there.
    pub found: String,
}

/// Assembles a program that uses no names but labels.
///
/// # Errors
/// The first line that is wrong.
pub fn assemble(text: &str) -> Result<Vec<Insn>, AsmError> {
    assemble_with(text, &Symbols::none())
}

/// Assembles a program; helpers and maps may go by the names that `symbols` knows.
///
/// # Errors
/// The first line that is wrong.
pub fn assemble_with(text: &str, symbols: &Symbols<'_>) -> Result<Vec<Insn>, AsmError> {
    let mut items = Vec::new();
    let mut labels: HashMap<&str, (usize, Place<'_>)> = HashMap::new();
    let mut slots = 0;
    for (index, line) in text.lines().enumerate() {
        let place = Place { line: index + 1, text: without_comment(line) };
        let parsed = grammar::line(place.text).map_err(|expected| place.misfit(&expected))?;
        if let Some(label) = parsed.label
            && let Some((_, first)) = labels.insert(label.text, (slots, place))
        {
            return Err(place.error(label.at, format!("this label stands already in line {}", first.line)));
        }
        if let Some(item) = parsed.item {
            let width = if let Item::Op(op, _) = &item { op.slots() } else { 1 };
            items.push((place, slots, item));
            slots += width;
        }
    }

    let mut insns = Vec::with_capacity(slots);
    for (place, at, item) in items {
        match item {
            Item::Raw(value) => insns.push(Insn::from_bytes(value.to_le_bytes())),
            Item::Op(op, reference) => {
                let op = match reference {
                    Some(reference) => resolve(place, at, op, reference, &labels, symbols)?,
                    None => op,
                };
                let (first, second) = encode(&op);
                insns.push(first);
                insns.extend(second);
            }
        }
    }
    Ok(insns)
}

fn without_comment(line: &str) -> &str {
    let end = [line.find(';'), line.find("//")].into_iter().flatten().min();
    &line[..end.unwrap_or(line.len())]
}

/// Fills the field of `op` that a name stands for.
fn resolve(
    place: Place<'_>,
    at: usize,
    op: Op,
    reference: Reference<'_>,
    labels: &HashMap<&str, (usize, Place<'_>)>,
    symbols: &Symbols<'_>,
) -> Result<Op, AsmError> {
    let to_label = |name: Name<'_>, slot: usize| {
        op.with_target(slot as i64 - (at as i64 + 1))
            .ok_or_else(|| place.error(name.at, "this label is further than the jump reaches; gotol reaches it".into()))
    };
    match reference {
        Reference::Label(name) => match labels.get(name.text) {
            Some(&(slot, _)) => to_label(name, slot),
            None => Err(place.unknown(name, "label", labels)),
        },
        Reference::Callee(name) => match (labels.get(name.text), (symbols.helper)(name.text)) {
            (Some(&(slot, _)), _) => to_label(name, slot),
            (None, Some(id)) => Ok(Op::CallHelper { id }),
            (None, None) => Err(place.unknown(name, "label or helper (write helpers as name#id)", labels)),
        },
        Reference::Helper(name) => match ((symbols.helper)(name.text), op) {
            (Some(known), Op::CallHelper { id }) if known != id => {
                Err(place.error(name.at, format!("this helper has the id {known}, not {id}")))
            }
            _ => Ok(op),
        },
        Reference::Map(name) => {
            let slot = (symbols.map)(name.text)
                .ok_or_else(|| place.error(name.at, "expected a known map's name or its number".into()))?;
            Ok(match op {
                Op::LoadImm64 { dst, value: Imm64::MapValue { offset, .. } } => {
                    Op::LoadImm64 { dst, value: Imm64::MapValue { map: slot, offset } }
                }
                Op::LoadImm64 { dst, .. } => Op::LoadImm64 { dst, value: Imm64::Map(slot) },
                other => other,
            })
        }
    }
}

/// A line, for the errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    line: usize,
    text: &'a str,
}

impl Place<'_> {
    fn error(self, at: usize, what: String) -> AsmError {
        let column = self.text[..at].chars().count() + 1;
        AsmError { line: self.line, column, what, found: self.found(at) }
    }

    /// The word or sign at a byte of the line.
    fn found(self, at: usize) -> String {
        let rest = self.text[at..].trim_start();
        let word = rest.find(|c| !super::text::is_name_character(c)).unwrap_or(rest.len());
        let sign = rest.chars().next().map_or(0, char::len_utf8);
        match &rest[..word.max(sign)] {
            "" => "the end of the line".to_owned(),
            found => format!("`{found}`"),
        }
    }

    fn misfit(self, expected: &Expected) -> AsmError {
        let rest = &self.text[expected.at..];
        let word = &rest[..rest.find(|c| !super::text::is_name_character(c)).unwrap_or(rest.len())];
        let mut choices: Vec<String> = match expected.summary {
            Some(summary) => vec![summary.to_owned()],
            None => {
                let kinds = expected.kinds.iter().map(|&kind| kind.to_owned());
                kinds.chain(expected.literals.iter().map(|literal| format!("`{literal}`"))).collect()
            }
        };
        choices.dedup();
        let mut what = format!("expected {}", choices.join(" or "));
        if let Some(near) = nearest(word, expected.literals.iter().map(AsRef::as_ref)) {
            what.push_str(&format!("; did you mean `{near}`?"));
        }
        self.error(expected.at, what)
    }

    fn unknown(self, name: Name<'_>, kind: &str, labels: &HashMap<&str, (usize, Place<'_>)>) -> AsmError {
        let mut what = format!("there is no such {kind}");
        let mut known: Vec<_> = labels.iter().map(|(&label, &(slot, _))| (slot, label)).collect();
        known.sort_unstable();
        if let Some(near) = nearest(name.text, known.into_iter().map(|(_, label)| label)) {
            what.push_str(&format!("; did you mean `{near}`?"));
        }
        self.error(name.at, what)
    }
}

/// The candidate most like a word, the first of equals, if one is like it at all.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likenesses = candidates.map(|c| (strsim::normalized_damerau_levenshtein(word, c), c));
    let best = likenesses.filter(|&(likeness, _)| likeness >= 0.5).reduce(|a, b| if b.0 > a.0 { b } else { a });
    best.map(|(_, candidate)| candidate)
}
