//! What is known of a call of a helper before the program runs.

use crate::axvisor::helpers::PROBE;
use crate::map::{BPF_EXIST, BPF_NOEXIST, Keys, MapKind, MapSpec};

/// What is known of an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// The number, where it is the same on every way.
    pub number: Option<i64>,
    /// The number of four bytes in memory that it points to, where that is the same on every way.
    pub points_to: Option<u32>,
    /// Whether it can only point to memory that there is.
    pub is_memory: bool,
}

/// A call of a helper in a program.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The helper.
    pub id: u32,
    /// The map in r1; none where that is not known.
    pub map: Option<&'a MapSpec>,
    /// r1 to r5.
    pub args: [Argument; 5],
}

impl Call<'_> {
    /// Whether it may be a call of this helper on a map of one of these kinds.
    #[must_use]
    pub fn on(&self, id: u32, kinds: &[MapKind]) -> bool {
        self.id == id && self.map.is_none_or(|map| kinds.contains(&map.kind))
    }

    /// Whether it is one of the helpers that read memory at any address.
    #[must_use]
    pub fn is_probe_read(&self) -> bool {
        matches!(self.id, 4 | 113)
    }

    /// Whether the size that such a helper is given may be one that AxVisor refuses.
    #[must_use]
    pub fn may_read_nothing(&self) -> bool {
        self.args[1].number.is_none_or(|size| !(1..=PROBE).contains(&u64::from(size as u32)))
    }

    /// Whether the flags in an argument may have one of these values.
    #[must_use]
    pub fn flags_may_be(&self, argument: usize, which: impl Fn(u64) -> bool) -> bool {
        self.args[argument].number.is_none_or(|flags| which(flags as u64))
    }

    /// Whether the index in r2 may lie behind the end of an array.
    #[must_use]
    pub fn may_be_out_of_range(&self) -> bool {
        let (Some(map), Some(index)) = (self.map, self.args[1].points_to) else { return true };
        index >= map.max_entries
    }

    /// Whether an update may fail on Linux.
    #[must_use]
    pub fn update_may_fail(&self) -> bool {
        let array = self.map.is_some_and(|map| map.kind.rules().is_some_and(|rules| rules.keys == Keys::Index));
        !array || self.may_be_out_of_range() || self.flags_may_be(3, |flags| flags == BPF_NOEXIST || flags > BPF_EXIST)
    }
}
