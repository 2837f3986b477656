//! Names of events: what becomes of each, and how often it was seen.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::event::TracepointSpec;

/// The most names that are told apart; what comes after them is counted together.
const MAX_NAMES: usize = 4096;

/// How often an event was seen, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameCount {
    /// `system:event`, or `event` where the recording does not say the system.
    pub name: String,
    /// Lines.
    pub seen: u64,
    /// Those that nothing here has a use for, or whose text has an unknown form.
    pub unmapped: u64,
    /// Those that a rule leaves out knowingly.
    pub passed_over: u64,
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing.
    None,
    /// What these rules say.
    Rules(Vec<usize>),
    /// It is an event of this tracepoint, as its own text shows it.
    Tracepoint(usize),
}

#[derive(Debug)]
struct Name {
    system: Vec<u8>,
    count: NameCount,
    becomes: Use,
}

/// All names, by event and then by system.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_event: HashMap<Vec<u8>, Vec<usize>, RandomState>,
    all: Vec<Name>,
}

impl Names {
    /// Names of the rules' events first, then of the tracepoints that no rule has taken.
    pub(super) fn new<'r>(rules: impl Iterator<Item = &'r str>, tracepoints: &[TracepointSpec]) -> Names {
        let mut names = Names::default();
        for (index, name) in rules.enumerate() {
            let at = names.add(name);
            match &mut names.all[at].becomes {
                Use::Rules(rules) => rules.push(index),
                becomes => *becomes = Use::Rules(vec![index]),
            }
        }
        for (index, spec) in tracepoints.iter().enumerate() {
            let at = names.add(spec.name());
            if names.all[at].becomes == Use::None {
                names.all[at].becomes = Use::Tracepoint(index);
            }
        }
        names
    }

    /// The number of `system:event` or `event`, which is added if need be.
    fn add(&mut self, name: &str) -> usize {
        let (system, event) = name.split_once(':').unwrap_or(("", name));
        self.find(system.as_bytes(), event.as_bytes())
    }

    /// The number of a name. Without a system, it is the first one of that event.
    pub(super) fn find(&mut self, system: &[u8], event: &[u8]) -> usize {
        let of_event = self.by_event.get(event).map_or(&[][..], |all| all);
        let fits = |&&at: &&usize| system.is_empty() || self.all[at].system == system;
        if let Some(&at) = of_event.iter().find(fits) {
            return at;
        }
        let mut name = String::from_utf8_lossy(event).into_owned();
        if !system.is_empty() {
            name = format!("{}:{name}", String::from_utf8_lossy(system));
        }
        let (system, event) = match self.all.len() {
            MAX_NAMES.. => return MAX_NAMES - 1,
            at if at == MAX_NAMES - 1 => {
                "(other events)".clone_into(&mut name);
                (&[][..], &b"(other events)"[..])
            }
            _ => (system, event),
        };
        let at = self.all.len();
        self.by_event.entry(event.to_vec()).or_default().push(at);
        let count = NameCount { name, ..NameCount::default() };
        self.all.push(Name { system: system.to_vec(), count, becomes: Use::None });
        at
    }

    pub(super) fn becomes(&self, at: usize) -> &Use {
        &self.all[at].becomes
    }

    pub(super) fn count(&mut self, at: usize) -> &mut NameCount {
        &mut self.all[at].count
    }

    /// Whether an event of that name was seen.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|known| known.count.name == name && known.count.seen > 0)
    }

    /// The names that were seen, in the order of their first appearance among those not known before.
    pub(super) fn seen(&self) -> impl Iterator<Item = &NameCount> {
        self.all.iter().map(|name| &name.count).filter(|count| count.seen > 0)
    }

    /// Forgets what was counted.
    pub(super) fn reset(&mut self) {
        for name in &mut self.all {
            (name.count.seen, name.count.unmapped, name.count.passed_over) = (0, 0, 0);
        }
    }
}
