//! What a report says of one program on one target: findings, and the verdict that follows from them.
//!
//! [`linux()`] makes the findings of target linux; those of target axvisor come from its table of gaps
//! (`axvisor::findings`). `bench` puts both together.

mod linux;

use crate::map::{self, MapKind, MapSet, MapSpec};

pub use linux::linux;

/// What becomes of a program on a target because of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is not loaded, or a map of it is not created.
    Refused,
    /// It runs and comes to something else than on Linux, or is stopped; or that cannot be ruled out.
    Differs,
    /// Nothing here can say.
    Unknown,
}

impl Effect {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Effect::Refused => "refused",
            Effect::Differs => "differs",
            Effect::Unknown => "unknown",
        }
    }
}

/// One reason why a program does not simply run on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The row of the table of gaps that it is about, by its name.
    pub gap: Option<&'static str>,
    /// What becomes of the program.
    pub effect: Effect,
    /// Slot of the instruction; none where it is about the program or a map as a whole.
    pub insn: Option<usize>,
    /// The instruction, call, access or map.
    pub what: String,
    /// What the target does with it.
    pub reason: String,
    /// What can be done instead; empty where there is nothing.
    pub instead: &'static str,
}

impl Finding {
    /// A map that is refused, with the words of the error.
    #[must_use]
    pub fn refused_map(map: &str, error: &dyn std::error::Error) -> Finding {
        let (what, text) = (format!("map {map}"), error.to_string());
        let reason = text.strip_prefix(&format!("{what}: ")).unwrap_or(&text).to_owned();
        Finding { gap: None, effect: Effect::Refused, insn: None, what, reason, instead: "" }
    }
}

/// What becomes of a program on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs, and comes to the same as on Linux.
    Runs,
    /// It is not loaded.
    Refused,
    /// It runs and comes, or may come, to something else.
    Differs,
    /// Nothing here can say.
    Unknown,
}

impl Verdict {
    /// The verdict of findings: the gravest of their effects.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Verdict {
        let any = |effect| findings.iter().any(|finding| finding.effect == effect);
        if any(Effect::Refused) {
            Verdict::Refused
        } else if any(Effect::Differs) {
            Verdict::Differs
        } else if any(Effect::Unknown) {
            Verdict::Unknown
        } else {
            Verdict::Runs
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Runs => "runs",
            Verdict::Refused => Effect::Refused.name(),
            Verdict::Differs => Effect::Differs.name(),
            Verdict::Unknown => Effect::Unknown.name(),
        }
    }
}

/// The largest value of a map that only stands for another.
const OUTLINE: u32 = 16 << 20;

/// The maps that a program needs.
#[derive(Clone, Debug, Default)]
pub struct Maps<'a> {
    /// Those that its instructions name, by slot; none of a kind that has no name here.
    pub slots: Vec<Option<&'a MapSpec>>,
    /// Those that must be created before it is loaded: all of its object. Empty where they are there.
    pub all: Vec<&'a MapSpec>,
}

impl Maps<'_> {
    /// Maps that stand for those of a program where an engine only looks at it: the size of their values counts, and
    /// memory is taken for one.
    pub(crate) fn outlines(&self) -> Option<MapSet> {
        let outline = |spec: &Option<&MapSpec>| {
            let (name, value_size) = spec.map_or((String::new(), 8), |spec| (spec.name.clone(), spec.value_size));
            let (kind, key_size, max_entries) = (MapKind::Array, 4, 1);
            let value_size = value_size.clamp(1, OUTLINE);
            map::create(MapSpec { name, kind, key_size, value_size, max_entries, flags: 0, extra: 0 }, 1).ok()
        };
        self.slots.iter().map(outline).collect::<Option<Vec<_>>>().map(MapSet)
    }
}
