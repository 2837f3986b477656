//! Templates of an event's text: what stands around the values.
//!
//! `vcpu {vcpu} reason {reason:s} rip 0x{} info1 {info1}` has literals and places: a number (`{vcpu}`: decimal, or
//! hexadecimal behind `0x`), a hexadecimal number (`{x:x}`, with or without `0x`), a text up to the next literal
//! (`{reason:s}`), and something that is passed over (`{}`). What follows the template in the text does not matter.

use memchr::memmem::Finder;

/// The most places that the templates of a rule have.
pub const MAX_CAPTURES: usize = 16;

/// What stood in a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture<'a> {
    /// The template that matched does not have it.
    #[default]
    None,
    /// A number.
    Number(i128),
    /// A text.
    Text(&'a [u8]),
}

/// Values by place.
pub type Captures<'a> = [Capture<'a>; MAX_CAPTURES];

#[derive(Clone, Debug)]
enum Part {
    Literal(Vec<u8>),
    Number {
        slot: usize,
        hex: bool,
    },
    /// Up to the literal, which is the next part and is found here; to the end without one.
    Text {
        slot: Option<usize>,
        until: Option<Box<Finder<'static>>>,
    },
}

/// A compiled template.
#[derive(Clone, Debug, Default)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Compiles a text; `places` has the names of the places seen so far, and takes the new ones.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn new(text: &str, places: &mut Vec<String>) -> Result<Template, &'static str> {
        let mut template = Template::default();
        let mut rest = text;
        loop {
            let (literal, behind) = rest.split_once('{').map_or((rest, None), |(literal, rest)| (literal, Some(rest)));
            if literal.contains('}') {
                return Err("a } without its {");
            }
            template.literal(literal.as_bytes());
            let Some(behind) = behind else { return Ok(template) };
            let (place, behind) = behind.split_once('}').ok_or("a { without its }")?;
            rest = behind;
            let (name, kind) = place.split_once(':').unwrap_or((place, ""));
            if name.contains('{') || (name.is_empty() && !kind.is_empty()) {
                return Err("a place is {name}, {name:x}, {name:s} or {}");
            }
            if let Some(Part::Text { until: None, .. }) = template.parts.last() {
                return Err("a text needs a literal behind it, or the end");
            }
            if name.is_empty() {
                template.parts.push(Part::Text { slot: None, until: None });
                continue;
            }
            let slot = slot_of(name, places).ok_or("more than 16 places")?;
            match kind {
                "" | "x" => template.number(slot, kind == "x"),
                "s" => template.text(slot),
                _ => return Err("a place is {name}, {name:x}, {name:s} or {}"),
            }
        }
    }

    pub(super) fn literal(&mut self, literal: &[u8]) {
        if literal.is_empty() {
            return;
        }
        if let Some(Part::Text { until, .. }) = self.parts.last_mut() {
            *until = Some(Box::new(Finder::new(literal).into_owned()));
        }
        self.parts.push(Part::Literal(literal.to_vec()));
    }

    pub(super) fn number(&mut self, slot: usize, hex: bool) {
        self.parts.push(Part::Number { slot, hex });
    }

    pub(super) fn text(&mut self, slot: usize) {
        self.parts.push(Part::Text { slot: Some(slot), until: None });
    }

    /// Whether a text is of this form; its values then are in `captures`.
    #[must_use]
    pub fn matches<'a>(&self, text: &'a [u8], captures: &mut Captures<'a>) -> bool {
        let mut rest = text;
        for part in &self.parts {
            match part {
                Part::Literal(literal) => match rest.strip_prefix(&**literal) {
                    Some(behind) => rest = behind,
                    None => return false,
                },
                Part::Number { slot, hex } => match number(rest, *hex) {
                    Some((value, behind)) => {
                        captures[*slot] = Capture::Number(value);
                        rest = behind;
                    }
                    None => return false,
                },
                Part::Text { slot, until } => {
                    let end = match until {
                        Some(finder) => match finder.find(rest) {
                            Some(end) => end,
                            None => return false,
                        },
                        None => rest.len(),
                    };
                    if let Some(slot) = slot {
                        captures[*slot] = Capture::Text(&rest[..end]);
                    }
                    rest = &rest[end..];
                }
            }
        }
        true
    }
}

/// The place of a name; None where there is no room for another.
fn slot_of(name: &str, places: &mut Vec<String>) -> Option<usize> {
    if let Some(slot) = places.iter().position(|place| place == name) {
        return Some(slot);
    }
    (places.len() < MAX_CAPTURES).then(|| places.push(name.to_owned()))?;
    Some(places.len() - 1)
}

/// A number of 64 bits, with its sign, and what follows it.
pub(super) fn number(text: &[u8], hex: bool) -> Option<(i128, &[u8])> {
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let prefixed = digits.strip_prefix(b"0x").filter(|rest| rest.first().is_some_and(u8::is_ascii_hexdigit));
    let (digits, radix) = match prefixed {
        Some(rest) => (rest, 16),
        None => (digits, if hex { 16 } else { 10 }),
    };
    let mut value: u64 = 0;
    let mut end = 0;
    while let Some(digit) = digits.get(end).and_then(|&b| char::from(b).to_digit(radix)) {
        value = value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))?;
        end += 1;
    }
    let value = i128::from(value);
    (end > 0).then(|| (if negative { -value } else { value }, &digits[end..]))
}
