//! One tracepoint with a field of each type, its records, and random expressions about them.
#![allow(dead_code)] // each test binary uses its part

pub mod cases;

use std::fmt::Write;
use std::sync::Arc;

use axebpf_core::event::{FieldSpec, Stamp, TracepointSpec, Value};

use crate::random::Random;

/// Bytes of the field `text`.
pub const TEXT: usize = 16;

/// The numbers: name and type.
pub const NUMBERS: [(&str, &str); 8] = [
    ("a8", "u8"),
    ("b8", "i8"),
    ("a16", "u16"),
    ("b16", "i16"),
    ("a32", "u32"),
    ("err", "i32"),
    ("a64", "u64"),
    ("b64", "i64"),
];

pub fn spec() -> Arc<TracepointSpec> {
    let numbers = NUMBERS.iter().map(|(name, ty)| FieldSpec::new(*name, ty.parse().unwrap()));
    let text = FieldSpec::new("text", format!("[char; {TEXT}]").parse().unwrap());
    Arc::new(TracepointSpec::new("axf:rec", 77, numbers.chain([text]).collect()).unwrap())
}

/// Least and greatest value of a type.
pub fn limits(ty: &str) -> (i128, i128) {
    let bits: u32 = ty[1..].parse().unwrap();
    if ty.starts_with('i') { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// An event: the numbers in order, and the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub numbers: [i128; 8],
    pub text: Vec<u8>,
}

impl Row {
    pub fn encode(&self, spec: &TracepointSpec, pid: i32) -> Vec<u8> {
        let mut values: Vec<Value<'_>> = self.numbers.iter().map(|&number| Value::Int(number)).collect();
        values.push(Value::Bytes(&self.text));
        let mut record = vec![0; spec.record_size()];
        spec.encode(pid, &values, &mut record).unwrap();
        record
    }

    pub fn random(random: &mut Random, dialect: Dialect) -> Row {
        let mut row = Row::default();
        for (number, (_, ty)) in row.numbers.iter_mut().zip(NUMBERS) {
            *number = value(random, ty, dialect);
        }
        // A byte is left for the NUL that Linux wants.
        row.text = word(random, b"abc*?[]!\\-9", TEXT as u64);
        row
    }
}

/// Whose expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Linux's, outside what it gets wrong.
    Linux,
    /// What tp-lexer understands as Linux does.
    TpLexer,
}

pub fn stamp(cpu: u32, comm: &str) -> Stamp {
    let mut stamp = Stamp { cpu, ..Stamp::default() };
    stamp.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    stamp
}

/// A number of a type: a few small ones, the limits, and what is next to a power of two.
fn value(random: &mut Random, ty: &str, dialect: Dialect) -> i128 {
    let (mut min, mut max) = limits(ty);
    if dialect == Dialect::TpLexer {
        // It compares as i64, and reads no number below -i64::MAX.
        (min, max) = (min.max((-i64::MAX).into()), max.min(i64::MAX.into()));
    }
    let number = match random.below(8) {
        0 => min,
        1 => max,
        2 | 3 => i128::from(random.below(5)) - 2,
        4 => (1 << random.below(64)) + i128::from(random.below(3)) - 1,
        5 => -(1 << random.below(64)) + i128::from(random.below(3)) - 1,
        _ => i128::from(random.next() as i64),
    };
    if (min..=max).contains(&number) { number } else { number.rem_euclid(max - min + 1) + min }
}

fn word(random: &mut Random, letters: &[u8], below: u64) -> Vec<u8> {
    let len = random.below(below).min(random.below(below));
    (0..len).map(|_| random.pick(letters)).collect()
}

/// A number as text.
fn literal(random: &mut Random, number: i128, dialect: Dialect) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let size = number.unsigned_abs();
    match random.below(4) {
        0 => format!("{sign}{size:#x}"),
        1 => format!("{sign}0X{size:X}"),
        2 if dialect == Dialect::Linux && size < 1 << 60 => format!("{sign}0{size:o}"),
        _ => format!("{sign}{size}"),
    }
}

fn pattern(random: &mut Random, dialect: Dialect) -> String {
    let mut out = String::new();
    for _ in 0..random.below(6) {
        match random.below(if dialect == Dialect::Linux { 12 } else { 8 }) {
            0 | 1 => out.push('*'),
            2 => out.push('?'),
            3 => out.push_str(random.pick(&["[ab]", "[a-c]", "[!a]", "[!b-c]", "[a-bc]"])),
            4..=7 => out.push(random.pick(&['a', 'b', 'c', 'a'])),
            8 => out.push_str(random.pick(&["[]a]", "[a-]", "[^a]", "[c-a]", "[", "[a", "[!]", "[a-b-c]"])),
            9 => out.push_str(random.pick(&["\\*", "\\a", "\\[", "\\\\"])),
            // A digit in front, be it behind `!`, is not a pattern to Linux.
            10 if !matches!(out.as_str(), "" | "!") => out.push('9'),
            _ => out.push(random.pick(&['!', ']', '-', '?'])),
        }
    }
    out
}

fn text_term(random: &mut Random, dialect: Dialect, out: &mut String) {
    let quote = random.pick(&['"', '\'']);
    if random.once_in(2) {
        let pattern = pattern(random, dialect);
        write!(out, "text ~ {quote}{pattern}{quote}").unwrap();
    } else {
        let letters: &[u8] = if dialect == Dialect::Linux { b"abc*?[]!\\-9" } else { b"abc*?" };
        let word = String::from_utf8(word(random, letters, 4)).unwrap();
        let operator = random.pick(&["==", "!="]);
        write!(out, "text {operator} {quote}{word}{quote}").unwrap();
    }
}

/// A comparison; its constants are often near to what is in the row.
fn term(random: &mut Random, row: &Row, dialect: Dialect, out: &mut String) {
    const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
    let index = random.below(9) as usize;
    let Some((name, ty)) = NUMBERS.get(index) else { return text_term(random, dialect, out) };
    let (min, max) = limits(ty);
    let near = |random: &mut Random| match random.below(2) {
        0 => (row.numbers[index] + i128::from(random.below(3)) - 1).clamp(min, max),
        _ => value(random, ty, dialect),
    };
    let number = near(random);
    let number = if dialect == Dialect::TpLexer { number.clamp((-i64::MAX).into(), i64::MAX.into()) } else { number };
    let (open, close) = (random.pick(&["", " ", "\t"]), random.pick(&["", " "]));
    let operator = random.pick(&COMPARISONS);
    let plain = random.below(4) > 0;
    let written = literal(random, number, dialect);
    match (plain, dialect) {
        (true, _) => write!(out, "{name}{open}{operator}{close}{written}").unwrap(),
        (false, Dialect::Linux) => write!(out, "{name}{open}&{close}{written}").unwrap(),
        (false, Dialect::TpLexer) => {
            // What is left of a number under a mask that is not negative is not negative either.
            let value = match random.below(2) {
                0 => row.numbers[index] & number,
                _ => value(random, ty, dialect),
            };
            let value = value.clamp(if number < 0 { (-i64::MAX).into() } else { 0 }, max);
            let value = literal(random, value, dialect);
            write!(out, "{name}{open}&{close}{written} {operator} {value}").unwrap();
        }
    }
}

/// An expression of a few comparisons, joined and nested.
pub fn expression(random: &mut Random, row: &Row, dialect: Dialect) -> String {
    let mut out = String::new();
    write_expression(random, row, dialect, 3, &mut out);
    out
}

fn write_expression(random: &mut Random, row: &Row, dialect: Dialect, depth: u32, out: &mut String) {
    let operands = 1 + random.below(if depth == 3 { 4 } else { 3 });
    for operand in 0..operands {
        if operand > 0 {
            out.push_str(random.pick(&[" && ", "||", " || ", "&&"]));
        }
        while dialect == Dialect::Linux && random.once_in(5) {
            out.push_str(random.pick(&["!", "! "]));
        }
        if depth > 0 && random.once_in(4) {
            out.push('(');
            write_expression(random, row, dialect, depth - 1, out);
            out.push(')');
        } else {
            term(random, row, dialect, out);
        }
    }
}
