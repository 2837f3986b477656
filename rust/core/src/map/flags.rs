//! The flags of bpf(2)'s operations by kind, which say what was wrong with those that were answered `EINVAL`.

use crate::map::access::{BPF_ANY, BPF_EXIST, BPF_F_LOCK, BPF_NOEXIST};
use crate::map::kind::{Keys, MapKind};

/// An operation that takes flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `BPF_MAP_LOOKUP_ELEM` and `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    Lookup,
    /// `BPF_MAP_UPDATE_ELEM`.
    Update,
    /// The four batch commands.
    Batch,
}

const ANY: (&str, u64) = ("BPF_ANY", BPF_ANY);
const NOEXIST: (&str, u64) = ("BPF_NOEXIST", BPF_NOEXIST);
const EXIST: (&str, u64) = ("BPF_EXIST", BPF_EXIST);

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Operation::Lookup => "a look-up",
            Operation::Update => "an update",
            Operation::Batch => "a batch",
        }
    }

    /// The values that the flags may have, but for `BPF_F_LOCK`, which goes with each where the value has a lock.
    fn taken(self, kind: MapKind) -> &'static [(&'static str, u64)] {
        match (self, kind, kind.rules()) {
            (Operation::Update, MapKind::Queue | MapKind::Stack, _) => &[ANY, EXIST],
            (Operation::Update, _, Some(rules)) if rules.keys == Keys::None => &[ANY],
            (Operation::Update, _, Some(rules)) if rules.by_number && rules.keys == Keys::Index => &[ANY],
            (Operation::Update, ..) => &[ANY, NOEXIST, EXIST],
            (Operation::Lookup | Operation::Batch, ..) => &[ANY],
        }
    }
}

/// What is wrong with flags; `None` where an operation on maps of this kind takes them.
#[must_use]
pub fn unknown_flags(kind: MapKind, operation: Operation, flags: u64) -> Option<String> {
    let taken = operation.taken(kind);
    if taken.iter().any(|(_, value)| *value == flags) {
        return None;
    }
    if taken.iter().any(|(_, value)| value | BPF_F_LOCK == flags) {
        return Some(format!("BPF_F_LOCK ({BPF_F_LOCK}) is for values that have a bpf_spin_lock"));
    }
    let names: Vec<_> = taken.iter().map(|(name, value)| format!("{name} ({value})")).collect();
    let one_of = if names.len() == 1 { "" } else { "one of " };
    let (name, kind) = (operation.name(), kind.name());
    Some(format!("unknown flags {flags:#x}: {name} of {kind} maps takes {one_of}{}", names.join(", ")))
}
