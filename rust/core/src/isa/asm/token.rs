//! Words, signs, numbers and registers of the assembler, and the error of all its parsers.

use std::borrow::Cow;

use winnow::LocatingSlice;
use winnow::combinator::{alt, preceded};
use winnow::error::ParserError;
use winnow::prelude::*;
use winnow::stream::Location;
use winnow::token::{literal, take_while};

use super::super::op::{Reg, Source};
use super::super::opcode::Width;
use super::super::text::is_name_character;

/// A name and the byte of the line at which it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) at: usize,
    pub(super) text: &'a str,
}

/// Where and why a line does not fit the grammar. Of several attempts the one that came furthest counts.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) at: usize,
    /// Words and signs that would fit there.
    pub(super) literals: Vec<Cow<'static, str>>,
    /// Kinds of things that would fit there.
    pub(super) kinds: Vec<&'static str>,
    /// What to say instead of listing all of them.
    pub(super) summary: Option<&'static str>,
}

impl Expected {
    pub(super) fn kind(at: usize, kind: &'static str) -> Expected {
        Expected { at, literals: Vec::new(), kinds: vec![kind], summary: None }
    }

    fn literal(at: usize, literal: &'static str) -> Expected {
        Expected { at, literals: vec![Cow::Borrowed(literal)], kinds: Vec::new(), summary: None }
    }
}

impl<'a> ParserError<In<'a>> for Expected {
    type Inner = Expected;

    fn from_input(input: &In<'a>) -> Expected {
        Expected { at: input.current_token_start(), literals: Vec::new(), kinds: Vec::new(), summary: None }
    }

    fn or(mut self, other: Expected) -> Expected {
        if self.at != other.at {
            return if self.at > other.at { self } else { other };
        }
        self.literals.extend(other.literals);
        self.kinds.extend(other.kinds);
        self.summary = self.summary.or(other.summary);
        self
    }

    fn into_inner(self) -> Result<Expected, Expected> {
        Ok(self)
    }
}

/// Says `summary` where the parser fails at its very start, instead of listing all that could stand there.
pub(super) fn summed_up<'a, O>(
    summary: &'static str,
    mut parser: impl Parser<In<'a>, O, Expected>,
) -> impl FnMut(&mut In<'a>) -> Res<O> {
    move |input| {
        let start = input.current_token_start();
        parser.parse_next(input).map_err(|mut error| {
            if error.at == start {
                error.summary = Some(summary);
            }
            error
        })
    }
}

pub(super) type In<'a> = LocatingSlice<&'a str>;
pub(super) type Res<T> = Result<T, Expected>;

pub(super) fn spaces(input: &mut In<'_>) -> Res<()> {
    take_while(0.., char::is_whitespace).void().parse_next(input)
}

/// A parser that consumes nothing where it fails, and then fails with `error`.
pub(super) fn leaf<'a, O>(
    mut parser: impl FnMut(&mut In<'a>) -> Option<O>,
    error: impl Fn(usize) -> Expected,
) -> impl FnMut(&mut In<'a>) -> Res<O> {
    move |input| {
        let (start, at) = (input.checkpoint(), input.current_token_start());
        match parser(input) {
            Some(value) => {
                spaces(input)?;
                Ok(value)
            }
            None => {
                input.reset(&start);
                Err(error(at))
            }
        }
    }
}

pub(super) fn raw_word<'a>(input: &mut In<'a>) -> Option<&'a str> {
    take_while::<_, _, Expected>(1.., is_name_character).parse_next(input).ok()
}

pub(super) fn keyword<'a>(keyword: &'static str) -> impl FnMut(&mut In<'a>) -> Res<()> {
    leaf(move |i| (raw_word(i)? == keyword).then_some(()), move |at| Expected::literal(at, keyword))
}

pub(super) fn token<'a>(token: &'static str) -> impl FnMut(&mut In<'a>) -> Res<()> {
    leaf(
        move |i| literal::<_, _, Expected>(token).parse_next(i).ok().map(|_| ()),
        move |at| Expected::literal(at, token),
    )
}

/// A word that a table knows.
pub(super) fn one_of<'a, O: Copy>(
    kind: &'static str,
    known: impl Fn(&str) -> Option<O>,
) -> impl FnMut(&mut In<'a>) -> Res<O> {
    leaf(move |i| known(raw_word(i)?), move |at| Expected::kind(at, kind))
}

/// The longest sign of a table that comes next.
pub(super) fn sign<'a, O: Copy>(
    kind: &'static str,
    table: &'static [O],
    symbol: impl Fn(O) -> &'static str,
) -> impl FnMut(&mut In<'a>) -> Res<O> {
    leaf(
        move |i| {
            let rest: &str = i.as_ref();
            let fitting = table.iter().copied().filter(|&o| rest.starts_with(symbol(o)));
            let longest = fitting.max_by_key(|&o| symbol(o).len())?;
            literal::<_, _, Expected>(symbol(longest)).parse_next(i).ok()?;
            Some(longest)
        },
        move |at| Expected::kind(at, kind),
    )
}

pub(super) fn name<'a>(input: &mut In<'a>) -> Res<Name<'a>> {
    let at = input.current_token_start();
    leaf(
        |i| raw_word(i).filter(|word| !word.starts_with(|c: char| c.is_ascii_digit())),
        |at| Expected::kind(at, "a label or name"),
    )(input)
    .map(|text| Name { at, text })
}

/// What a number may be.
#[derive(Clone, Copy)]
pub(super) struct Range {
    kind: &'static str,
    least: i128,
    /// Largest in decimal.
    most: i128,
    /// Largest in hexadecimal, where all bits of the field may be written.
    most_hex: i128,
}

impl Range {
    pub(super) const BITS16: Range =
        Range { kind: "an offset, -32768 to 32767", least: -0x8000, most: 0x7fff, most_hex: 0x7fff };
    pub(super) const DISTANCE: Range = Range {
        kind: "a distance, -2147483648 to 2147483647",
        least: -0x8000_0000,
        most: 0x7fff_ffff,
        most_hex: 0x7fff_ffff,
    };
    pub(super) const BITS32: Range = Range {
        kind: "a 32-bit number, -2147483648 to 2147483647 or up to 0xffffffff",
        least: -0x8000_0000,
        most: 0x7fff_ffff,
        most_hex: 0xffff_ffff,
    };
    pub(super) const UNSIGNED32: Range =
        Range { kind: "a number, 0 to 0xffffffff", least: 0, most: 0xffff_ffff, most_hex: 0xffff_ffff };
    pub(super) const BITS64: Range =
        Range { kind: "a 64-bit number", least: i64::MIN as i128, most: u64::MAX as i128, most_hex: u64::MAX as i128 };
}

fn raw_number(input: &mut In<'_>, range: Range) -> Option<i128> {
    let negative = literal::<_, _, Expected>("-").parse_next(input).is_ok();
    let word = raw_word(input)?;
    let (digits, radix, most) = match word.strip_prefix("0x") {
        Some(digits) => (digits, 16, range.most_hex),
        None => (word, 10, range.most),
    };
    // Everything that fits is below 2^64, so u64 is wide enough.
    let size = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -size } else { size };
    (range.least..=most).contains(&value).then_some(value)
}

pub(super) fn number<'a>(range: Range) -> impl FnMut(&mut In<'a>) -> Res<i128> {
    leaf(move |i| raw_number(i, range), move |at| Expected::kind(at, range.kind))
}

/// A number with its sign, `+8` or `-8`, blanks allowed between.
pub(super) fn signed<'a>(range: Range) -> impl FnMut(&mut In<'a>) -> Res<i128> {
    move |input| {
        alt((preceded(token("+"), number(range)), number(Range { most: -1, most_hex: -1, ..range }))).parse_next(input)
    }
}

pub(super) fn imm32(input: &mut In<'_>) -> Res<i32> {
    // From 0x80000000 on the bits are meant.
    number(Range::BITS32)(input).map(|value| value as i32)
}

pub(super) fn any_register(input: &mut In<'_>) -> Res<(Width, Reg)> {
    one_of("a register, r0 to r10 or w0 to w10", |word| {
        let (width, digits) = match word.split_at_checked(1)? {
            ("r", digits) => (Width::W64, digits),
            ("w", digits) => (Width::W32, digits),
            _ => return None,
        };
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        Some((width, Reg::new(digits.parse().ok()?)?))
    })(input)
}

pub(super) fn register<'a>(width: Width) -> impl FnMut(&mut In<'a>) -> Res<Reg> {
    move |input| {
        let kind = match width {
            Width::W32 => "a 32-bit register, w0 to w10",
            Width::W64 => "a register, r0 to r10",
        };
        let (start, at) = (input.checkpoint(), input.current_token_start());
        match any_register(input) {
            Ok((found, reg)) if found == width => Ok(reg),
            _ => {
                input.reset(&start);
                Err(Expected::kind(at, kind))
            }
        }
    }
}

pub(super) fn reg64(input: &mut In<'_>) -> Res<Reg> {
    register(Width::W64)(input)
}

/// The register that the notation repeats.
pub(super) fn again<'a>(width: Width, reg: Reg) -> impl FnMut(&mut In<'a>) -> Res<()> {
    move |input| {
        let (start, at) = (input.checkpoint(), input.current_token_start());
        match any_register(input) {
            Ok(found) if found == (width, reg) => Ok(()),
            _ => {
                input.reset(&start);
                Err(Expected::kind(at, "the same register again"))
            }
        }
    }
}

pub(super) fn operand<'a>(width: Width) -> impl FnMut(&mut In<'a>) -> Res<Source> {
    move |input| alt((register(width).map(Source::Reg), imm32.map(Source::Imm))).parse_next(input)
}
