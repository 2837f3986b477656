//! Rules: which event of a recording becomes which event of the bench, and where its fields come from.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::RecordingError;
use super::template::{Capture, Captures, Template};
use crate::event::{EventError, FieldType, Form, Scalar, TracepointSpec, Value};
use crate::nearest::nearest;

/// The most marks that all rules together set.
pub const MAX_MARKS: usize = 16;

/// A rule, as it is given.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Event: `system:event`.
    pub event: String,
    /// Forms of its text; the first that fits counts. Without one, every text fits.
    pub texts: Vec<String>,
    /// What it becomes; None for an event that is known and left out.
    pub becomes: Option<Target>,
    /// It is left out where the recording has one of these events.
    pub unless: Vec<String>,
    /// The time of the event is remembered under this name, for its thread.
    pub sets: Option<String>,
    /// What was remembered under these names is forgotten.
    pub clears: Vec<String>,
    /// The event waits until its thread sets this mark, and happens then: it is the end of what it reports.
    pub until: Option<String>,
    /// Whether it happens in the thread of its vCPU, and not in one that acts on a VM from outside.
    pub on_vcpu: bool,
}

/// What a rule makes of an event.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `subsystem:event`.
    pub tracepoint: String,
    /// Where each field comes from.
    pub fields: Vec<(String, Source)>,
}

/// Where the value of a field comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is always the same.
    Constant(i128),
    /// A place of the text; a number is shifted to the left.
    Place {
        /// Name of the place.
        place: String,
        /// By how many bits.
        shift: u32,
    },
    /// What a table has for the text or number in a place.
    Named {
        /// Name of the place.
        place: String,
        /// By text.
        texts: Vec<(String, Pick)>,
        /// By number.
        numbers: Vec<(i128, Pick)>,
        /// For what is in neither; without it, the rule does not apply then.
        other: Option<i128>,
    },
    /// What the first range that holds the number in a place says.
    Ranges {
        /// Name of the place.
        place: String,
        /// First, last, value.
        ranges: Vec<(i128, i128, i128)>,
        /// For a number in none.
        other: i128,
    },
    /// What the first set bit of the number in a place says.
    Bits(Bits),
    /// Number of the VM.
    Vm,
    /// Number of the vCPU.
    Vcpu,
    /// Nanoseconds since a mark of the thread.
    Since(String),
}

/// A choice by bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Name of the place that holds the number.
    pub place: String,
    /// Bit and value.
    pub bits: Vec<(u32, i128)>,
    /// Where none of them is set.
    pub other: i128,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This.
    Is(i128),
    /// It depends.
    Bits(Bits),
}

/// A rule, ready for use.
#[derive(Debug)]
pub(super) struct Compiled {
    templates: Vec<Template>,
    /// How many places they have.
    places: usize,
    pub(super) becomes: Option<(usize, Vec<Filler>)>,
    pub(super) unless: Vec<String>,
    pub(super) sets: Option<usize>,
    pub(super) clears: Vec<usize>,
    pub(super) until: Option<usize>,
    pub(super) on_vcpu: bool,
    /// The place that says which vCPU the thread is.
    vcpu: Option<usize>,
    /// Whether the thread matters.
    pub(super) threaded: bool,
    /// Whether the recording has an event that replaces it.
    pub(super) left_out: bool,
}

/// How a field is filled.
#[derive(Debug)]
pub(super) enum Filler {
    Constant(i128),
    Place {
        slot: usize,
        shift: u32,
    },
    Named {
        slot: usize,
        texts: HashMap<Vec<u8>, Chosen, RandomState>,
        numbers: HashMap<i128, Chosen, RandomState>,
        other: Option<i128>,
    },
    Ranges {
        slot: usize,
        ranges: Vec<(i128, i128, i128)>,
        other: i128,
    },
    Bits(Choice),
    Vm,
    Vcpu,
    Since(usize),
    /// A number as the trace shows it: in units, and hexadecimal ones without their sign.
    Shown {
        slot: usize,
        scale: i128,
        wraps: Option<Scalar>,
    },
    /// Several of them: `{1,2,3}`.
    Array {
        slot: usize,
        wraps: Option<Scalar>,
    },
}

#[derive(Debug)]
pub(super) enum Chosen {
    Is(i128),
    Bits(Choice),
}

#[derive(Debug)]
pub(super) struct Choice {
    slot: usize,
    bits: Vec<(u32, i128)>,
    other: i128,
}

/// What fillers need besides the text.
pub(super) struct Around<'t> {
    pub(super) vm: u32,
    pub(super) vcpu: u32,
    /// Nanoseconds since a mark; zero where it was not set.
    pub(super) since: &'t dyn Fn(usize) -> u64,
}

impl Compiled {
    /// Compiles a rule; `marks` has the names of all marks so far.
    pub(super) fn new(
        rule: &Rule,
        tracepoints: &[TracepointSpec],
        marks: &mut Vec<String>,
    ) -> Result<Compiled, RecordingError> {
        let mut places = Vec::new();
        let mut templates = Vec::with_capacity(rule.texts.len());
        for text in &rule.texts {
            let (event, text) = (|| rule.event.clone(), || text.clone());
            let template = Template::new(&text(), &mut places);
            templates.push(template.map_err(|why| RecordingError::Template { event: event(), text: text(), why })?);
        }
        let mut mark = |name: &String| mark_of(name, marks);
        let (sets, until) = (rule.sets.as_ref().map(&mut mark), rule.until.as_ref().map(&mut mark));
        let clears = rule.clears.iter().map(&mut mark).collect();
        let becomes = match &rule.becomes {
            None => None,
            Some(target) => Some(fillers(rule, target, tracepoints, &places, &mut mark)?),
        };
        if marks.len() > MAX_MARKS {
            return Err(RecordingError::TooMany { what: "marks", found: marks.len(), max: MAX_MARKS });
        }
        let vcpu = places.iter().position(|place| place == "vcpu").filter(|_| rule.on_vcpu);
        let of_thread = |filler: &Filler| matches!(filler, Filler::Vm | Filler::Vcpu | Filler::Since(_));
        let threaded = sets.is_some()
            || until.is_some()
            || vcpu.is_some()
            || becomes.as_ref().is_some_and(|(_, fillers)| fillers.iter().any(of_thread));
        Ok(Compiled {
            templates,
            places: places.len(),
            becomes,
            unless: rule.unless.clone(),
            sets,
            clears,
            until,
            on_vcpu: rule.on_vcpu,
            vcpu,
            threaded,
            left_out: false,
        })
    }

    /// The values of a text, if it has one of the rule's forms.
    pub(super) fn captures<'a>(&self, text: &'a [u8]) -> Option<Captures<'a>> {
        let mut captures = Captures::default();
        if self.templates.is_empty() {
            return Some(captures);
        }
        for template in &self.templates {
            if template.matches(text, &mut captures) {
                return Some(captures);
            }
            // What did not match may have filled some places.
            captures[..self.places].fill(Capture::None);
        }
        None
    }

    /// Which vCPU the text says the thread is.
    pub(super) fn stated_vcpu(&self, captures: &Captures<'_>) -> Option<u32> {
        match captures[self.vcpu?] {
            Capture::Number(vcpu) => u32::try_from(vcpu).ok(),
            _ => None,
        }
    }
}

fn mark_of(name: &String, marks: &mut Vec<String>) -> usize {
    marks.iter().position(|mark| mark == name).unwrap_or_else(|| {
        marks.push(name.clone());
        marks.len() - 1
    })
}

/// The tracepoint of a rule, and how its fields are filled, in their order.
fn fillers(
    rule: &Rule,
    target: &Target,
    tracepoints: &[TracepointSpec],
    places: &[String],
    mark: &mut impl FnMut(&String) -> usize,
) -> Result<(usize, Vec<Filler>), RecordingError> {
    let wrong = |error| RecordingError::Target { event: rule.event.clone(), error: Box::new(error) };
    let which = tracepoints.iter().position(|spec| spec.name() == target.tracepoint).ok_or_else(|| {
        let nearest = nearest(&target.tracepoint, tracepoints.iter().map(TracepointSpec::name));
        wrong(EventError::NotFound { name: target.tracepoint.clone(), nearest })
    })?;
    let spec = &tracepoints[which];
    for (field, _) in &target.fields {
        spec.field_index(field).map_err(wrong)?;
    }
    let mut fillers = Vec::with_capacity(spec.fields().len());
    for field in spec.fields() {
        let mut sources = target.fields.iter().filter(|(name, _)| *name == field.name);
        let (Some((_, source)), None) = (sources.next(), sources.next()) else {
            return Err(RecordingError::FieldSource {
                event: rule.event.clone(),
                tracepoint: target.tracepoint.clone(),
                field: field.name.clone(),
                found: target.fields.iter().filter(|(name, _)| *name == field.name).count(),
            });
        };
        let slot = |place: &String| {
            places.iter().position(|known| known == place).ok_or_else(|| RecordingError::NoCapture {
                event: rule.event.clone(),
                field: field.name.clone(),
                capture: place.clone(),
                nearest: nearest(place, places.iter().map(String::as_str)),
            })
        };
        let choice = |bits: &Bits| {
            Ok::<_, RecordingError>(Choice { slot: slot(&bits.place)?, bits: bits.bits.clone(), other: bits.other })
        };
        let chosen = |pick: &Pick| {
            Ok::<_, RecordingError>(match pick {
                Pick::Is(value) => Chosen::Is(*value),
                Pick::Bits(bits) => Chosen::Bits(choice(bits)?),
            })
        };
        fillers.push(match source {
            Source::Constant(value) => Filler::Constant(*value),
            Source::Place { place, shift } => Filler::Place { slot: slot(place)?, shift: *shift },
            Source::Named { place, texts, numbers, other } => Filler::Named {
                slot: slot(place)?,
                texts: texts
                    .iter()
                    .map(|(text, pick)| Ok((text.clone().into_bytes(), chosen(pick)?)))
                    .collect::<Result<_, _>>()?,
                numbers: numbers.iter().map(|(number, pick)| Ok((*number, chosen(pick)?))).collect::<Result<_, _>>()?,
                other: *other,
            },
            Source::Ranges { place, ranges, other } => {
                Filler::Ranges { slot: slot(place)?, ranges: ranges.clone(), other: *other }
            }
            Source::Bits(bits) => Filler::Bits(choice(bits)?),
            Source::Vm => Filler::Vm,
            Source::Vcpu => Filler::Vcpu,
            Source::Since(name) => Filler::Since(mark(name)),
        });
    }
    Ok((which, fillers))
}

/// The text of a tracepoint's own events as a template (`event::text` writes it), and how its fields are filled.
///
/// None for a tracepoint with more fields than a template has places.
pub(super) fn own_text(spec: &TracepointSpec) -> Option<(Template, Vec<Filler>)> {
    let mut template = Template::default();
    let mut fillers = Vec::with_capacity(spec.fields().len());
    for (slot, field) in spec.fields().iter().enumerate() {
        (slot < super::MAX_CAPTURES).then_some(())?;
        let space = if slot == 0 { "" } else { " " };
        template.literal(format!("{space}{}=", field.label()).as_bytes());
        let wraps = |scalar: Scalar| (field.display.form == Form::Hex && scalar.is_signed()).then_some(scalar);
        fillers.push(match (field.ty, &field.display.form) {
            (FieldType::Text(_), _) => {
                template.text(slot);
                Filler::Place { slot, shift: 0 }
            }
            (FieldType::Array(scalar, _), _) => {
                template.text(slot);
                Filler::Array { slot, wraps: wraps(scalar) }
            }
            (FieldType::Scalar(_), Form::Scaled { divisor, suffix }) => {
                template.number(slot, false);
                template.literal(suffix.as_bytes());
                Filler::Shown { slot, scale: i128::from(*divisor), wraps: None }
            }
            (FieldType::Scalar(scalar), form) => {
                template.number(slot, *form == Form::Hex);
                Filler::Shown { slot, scale: 1, wraps: wraps(scalar) }
            }
        });
    }
    Some((template, fillers))
}

/// Why a record is not filled.
#[derive(Debug)]
pub(super) enum Unfilled {
    /// The text has no value for a field, or a table has none for the value: the rule is not for this event.
    NoEntry,
    /// A value that the field cannot hold.
    Value(Box<EventError>),
}

impl From<EventError> for Unfilled {
    fn from(error: EventError) -> Unfilled {
        Unfilled::Value(Box::new(error))
    }
}

impl Filler {
    /// The mark since which it counts.
    pub(super) fn mark(&self) -> Option<usize> {
        if let Filler::Since(mark) = self { Some(*mark) } else { None }
    }
}

/// Fills the fields of a record.
pub(super) fn fill(
    spec: &TracepointSpec,
    fillers: &[Filler],
    captures: &Captures<'_>,
    around: &Around<'_>,
    record: &mut [u8],
) -> Result<(), Unfilled> {
    for (index, filler) in fillers.iter().enumerate() {
        let value = match filler {
            Filler::Constant(value) => *value,
            Filler::Vm => i128::from(around.vm),
            Filler::Vcpu => i128::from(around.vcpu),
            Filler::Since(mark) => i128::from((around.since)(*mark)),
            Filler::Place { slot, shift } => match captures[*slot] {
                Capture::Number(value) => value.checked_shl(*shift).unwrap_or_default(),
                Capture::Text(text) => {
                    spec.store(index, Value::Bytes(text), record)?;
                    continue;
                }
                Capture::None => return Err(Unfilled::NoEntry),
            },
            Filler::Named { slot, texts, numbers, other } => {
                let chosen = match captures[*slot] {
                    Capture::Text(text) => texts.get(text),
                    Capture::Number(number) => numbers.get(&number),
                    Capture::None => None,
                };
                match (chosen, other) {
                    (Some(Chosen::Is(value)), _) | (None, Some(value)) => *value,
                    (Some(Chosen::Bits(choice)), _) => choose(choice, captures),
                    (None, None) => return Err(Unfilled::NoEntry),
                }
            }
            Filler::Ranges { slot, ranges, other } => {
                let Capture::Number(number) = captures[*slot] else { return Err(Unfilled::NoEntry) };
                let found = ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&number));
                found.map_or(*other, |(_, _, value)| *value)
            }
            Filler::Bits(choice) => choose(choice, captures),
            Filler::Shown { slot, scale, wraps } => match captures[*slot] {
                Capture::Number(value) => wrapped(value, *wraps).saturating_mul(*scale),
                _ => return Err(Unfilled::NoEntry),
            },
            Filler::Array { slot, wraps } => {
                let Capture::Text(text) = captures[*slot] else { return Err(Unfilled::NoEntry) };
                let Some(values) = array(text, *wraps) else { return Err(Unfilled::NoEntry) };
                spec.store(index, Value::Ints(&values), record)?;
                continue;
            }
        };
        let place = spec.place(index).zip(i64::try_from(value).ok());
        let stored = place.is_some_and(|(place, value)| place.store(value, record));
        if !stored {
            spec.store_int(index, value, record)?;
        }
    }
    Ok(())
}

/// A template without the place leaves the choice open.
fn choose(choice: &Choice, captures: &Captures<'_>) -> i128 {
    let Capture::Number(number) = captures[choice.slot] else { return choice.other };
    let set = choice.bits.iter().find(|(bit, _)| number.checked_shr(*bit).is_some_and(|rest| rest & 1 != 0));
    set.map_or(choice.other, |(_, value)| *value)
}

/// A signed number from its two's complement.
fn wrapped(value: i128, wraps: Option<Scalar>) -> i128 {
    match wraps {
        Some(scalar) if value > scalar.max() => value - (1 << (8 * scalar.size())),
        _ => value,
    }
}

/// `{1,2,3}`.
pub(super) fn array(text: &[u8], wraps: Option<Scalar>) -> Option<Vec<i128>> {
    let inside = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    inside
        .split(|&b| b == b',')
        .map(|item| match super::template::number(item.trim_ascii(), false) {
            Some((value, [])) => Some(wrapped(value, wraps)),
            _ => None,
        })
        .collect()
}
