//! Words, signs, numbers and quoted text of an expression, from left to right.

use winnow::LocatingSlice;
use winnow::error::EmptyError;
use winnow::prelude::*;
use winnow::stream::Location;
use winnow::token::{any, literal, one_of, take_till, take_while};

use super::error::{FilterError, FilterProblem};

/// What compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    LessEqual,
    Less,
    GreaterEqual,
    Greater,
    And,
    Like,
}

impl Operator {
    /// All, a longer one before its own beginning.
    const ALL: [Operator; 8] = [
        Operator::Equal,
        Operator::Unequal,
        Operator::LessEqual,
        Operator::Less,
        Operator::GreaterEqual,
        Operator::Greater,
        Operator::And,
        Operator::Like,
    ];

    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::Unequal => "!=",
            Operator::LessEqual => "<=",
            Operator::Less => "<",
            Operator::GreaterEqual => ">=",
            Operator::Greater => ">",
            Operator::And => "&",
            Operator::Like => "~",
        }
    }
}

/// A word and the byte at which it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'t> {
    pub(super) at: usize,
    pub(super) text: &'t str,
}

/// A number as written, and its value unless that has more than 127 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'t> {
    pub(super) word: Word<'t>,
    pub(super) value: Option<i128>,
}

type Lexed<T> = Result<T, EmptyError>;

/// An expression and how far it has been read.
pub(super) struct Reader<'t> {
    tracepoint: &'t str,
    text: &'t str,
    input: LocatingSlice<&'t str>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(tracepoint: &'t str, text: &'t str) -> Reader<'t> {
        Reader { tracepoint, text, input: LocatingSlice::new(text) }
    }

    pub(super) fn error(&self, position: usize, problem: FilterProblem) -> FilterError {
        let problem = Box::new(problem);
        FilterError { tracepoint: self.tracepoint.to_owned(), text: self.text.to_owned(), position, problem }
    }

    /// Skips blanks; where it stands then, in bytes.
    pub(super) fn position(&mut self) -> usize {
        let _: Lexed<&str> = take_while(0.., is_blank).parse_next(&mut self.input);
        self.input.current_token_start()
    }

    fn rest(&self) -> &'t str {
        &self.input
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Whether this comes next.
    pub(super) fn sees(&self, sign: &str) -> bool {
        self.rest().starts_with(sign)
    }

    /// Takes a sign, if it comes next.
    pub(super) fn take(&mut self, sign: &'static str) -> bool {
        let taken: Lexed<&str> = literal(sign).parse_next(&mut self.input);
        taken.is_ok()
    }

    /// Takes an operator, if one comes next; `&&` is none.
    pub(super) fn operator(&mut self) -> Option<Operator> {
        let comes_next = |operator: &Operator| self.sees(operator.symbol());
        let operator = Operator::ALL.into_iter().find(comes_next).filter(|_| !self.sees("&&"))?;
        self.take(operator.symbol()).then_some(operator)
    }

    /// Takes letters, digits and underscores, if they come next.
    pub(super) fn word(&mut self) -> Option<Word<'t>> {
        let at = self.position();
        let word: Lexed<&str> = take_while(1.., is_word).parse_next(&mut self.input);
        word.ok().map(|text| Word { at, text })
    }

    /// Takes a number as Linux reads one: `0x` and hexadecimal digits, `0` and octal ones, decimal ones; with `-`.
    pub(super) fn number(&mut self, field: &str) -> Result<Number<'t>, FilterError> {
        let at = self.position();
        let begins = one_of(('0'..='9', '-'));
        let number: Lexed<&str> = (begins, take_while(0.., is_word)).take().parse_next(&mut self.input);
        let Ok(text) = number else {
            let (field, found) = (field.to_owned(), self.found());
            return Err(self.error(at, FilterProblem::ValueExpected { field, expected: "a number", found }));
        };
        let (negative, size) = text.strip_prefix('-').map_or((false, text), |size| (true, size));
        let (digits, radix) = match size.strip_prefix("0x").or_else(|| size.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None if size.starts_with('0') => (size, 8),
            None => (size, 10),
        };
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Err(self.error(at, FilterProblem::BadNumber { literal: shortened(text) }));
        }
        let value = i128::from_str_radix(digits, radix).ok();
        Ok(Number { word: Word { at, text }, value: value.map(|size| if negative { -size } else { size }) })
    }

    /// Takes a text in single or double quotes. Nothing in it is special but the quote that ends it.
    pub(super) fn quoted(&mut self, field: &str) -> Result<Word<'t>, FilterError> {
        let at = self.position();
        let quote = self.rest().chars().next().filter(|c| matches!(c, '"' | '\''));
        let Some(quote) = quote else {
            let (field, found) = (field.to_owned(), self.found());
            return Err(self.error(at, FilterProblem::ValueExpected { field, expected: "a text in quotes", found }));
        };
        let text: Lexed<(char, &str, char)> = (any, take_till(0.., quote), quote).parse_next(&mut self.input);
        let Ok((_, text, _)) = text else { return Err(self.error(at, FilterProblem::UnterminatedText)) };
        match text.find('\0') {
            Some(nul) => Err(self.error(at + 1 + nul, FilterProblem::NulInText)),
            None => Ok(Word { at, text }),
        }
    }

    /// Takes the list of `CPUS{list}`, if that comes next.
    pub(super) fn cpu_list(&mut self) -> Result<Option<Word<'t>>, FilterError> {
        let at = self.position();
        if !self.take("CPUS{") {
            return Ok(None);
        }
        let start = self.input.current_token_start();
        let list: Lexed<(&str, char)> = (take_till(0.., '}'), '}').parse_next(&mut self.input);
        match list {
            Ok((text, _)) => Ok(Some(Word { at: start, text })),
            Err(_) => Err(self.error(at, FilterProblem::UnterminatedCpus)),
        }
    }

    /// What comes next, as an error shows it.
    pub(super) fn found(&self) -> String {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return "the end".to_owned() };
        let end = match first {
            first if is_word(first) => rest.find(|c| !is_word(c)),
            first => rest.find(|c| is_blank(c) || is_word(c) || "()".contains(c)).map(|end| end.max(first.len_utf8())),
        };
        shortened(&rest[..end.unwrap_or(rest.len())])
    }
}

/// The beginning of a text, without anything that would upset a terminal.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 32;
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() { shown + "…" } else { shown }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// C's white space.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}
