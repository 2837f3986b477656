//! The table of helpers: what a row says, how it is found, who may call it.

use std::fmt;

use super::HelperFn;
use super::rows::ROWS;
use crate::map::{MapKind, MapSpec, MapUse};
use crate::nearest::{hint, nearest};
use crate::program::ProgramType;

/// A helper that Linux names, whether this bench offers it or not.
#[derive(Debug)]
pub struct Helper {
    /// The number that a `call` instruction has as its `imm`.
    pub id: u32,
    /// Name, as `bpf-helpers(7)` gives it.
    pub name: &'static str,
    /// Whether only programs with a GPL-compatible licence may call it.
    pub gpl_only: bool,
    /// Types of program that may call it.
    pub types: ProgramTypes,
    /// What this bench does for it; `None` where it does not offer it.
    pub implementation: Option<Implementation>,
}

impl Helper {
    /// The C declaration, for an offered helper.
    #[must_use]
    pub fn prototype(&self) -> Option<String> {
        let Implementation { returns, params, .. } = self.implementation.as_ref()?;
        let space = if returns.ends_with('*') { "" } else { " " };
        Some(format!("{returns}{space}{}({params})", self.name))
    }
}

/// How an offered helper is called, and the function that does it.
#[derive(Debug)]
pub struct Implementation {
    /// C type of the result.
    pub returns: &'static str,
    /// C parameters.
    pub params: &'static str,
    /// Kinds of the arguments in r1 and up; registers behind them are not looked at.
    pub args: &'static [ArgKind],
    /// What is done with the map among the arguments; none where there is none.
    pub map_use: Option<MapUse>,
    /// Kind of r0.
    pub result: ReturnKind,
    /// The function.
    pub run: HelperFn,
}

impl Implementation {
    /// Whether it is for maps of this kind; false where it takes no map.
    #[must_use]
    pub fn takes(&self, kind: MapKind) -> bool {
        self.map_use.is_some_and(|map_use| kind.takes(map_use))
    }
}

/// What a helper expects of an argument. A size is that of the memory argument before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ArgKind {
    /// Any initialised value.
    Anything,
    /// The context of the program.
    Context,
    /// A map.
    MapPtr,
    /// Initialised memory of the key size of the map in r1.
    MapKey,
    /// Initialised memory of the value size of the map in r1.
    MapValue,
    /// Memory of the value size of the map in r1, which the helper fills.
    MapValueOut,
    /// Initialised memory of the size that follows.
    MemRead,
    /// As `MemRead`, or null where the size is 0.
    MemReadOrNull,
    /// Memory of the size that follows, which the helper fills.
    MemWrite,
    /// As `MemWrite`, or null where the size is 0.
    MemWriteOrNull,
    /// A bounded size, at least 1.
    Size,
    /// A bounded size.
    SizeOrZero,
    /// A constant: the size of the memory that is returned.
    AllocSize,
    /// A NUL-terminated string in a read-only, frozen map.
    ConstString,
    /// A record that `bpf_ringbuf_reserve` returned; the program gives it up.
    RingRecord,
    /// A function of the program.
    Callback,
    /// Memory of the stack, or null: what a callback gets as its context.
    StackOrNull,
    /// Writable memory of a map's value, of the size that follows: what a dynptr is made of.
    DynptrMemory,
    /// 16 bytes of the stack for a dynptr of memory. One that is there goes, unless it must be given up.
    NewLocalDynptr,
    /// 16 bytes of the stack for a dynptr of a ring-buffer record, which the program must give up, be it null.
    NewRingDynptr,
    /// A dynptr of a ring-buffer record; the program gives it up.
    RingDynptr,
    /// A dynptr.
    Dynptr,
    /// A spin lock in a map's value.
    SpinLock,
}

impl ArgKind {
    /// Whether it is a dynptr, or the place for one.
    #[must_use]
    pub const fn is_dynptr(self) -> bool {
        matches!(self, ArgKind::NewLocalDynptr | ArgKind::NewRingDynptr | ArgKind::RingDynptr | ArgKind::Dynptr)
    }
}

/// What a helper leaves in r0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReturnKind {
    /// Nothing of meaning.
    Void,
    /// A number; where the helper can fail, a negative errno.
    Integer,
    /// A value of the map in r1, or null.
    MapValueOrNull,
    /// A writable record of the size in r2, or null; it must be submitted or discarded.
    RingRecordOrNull,
    /// Writable memory of the size in r3, or null: of the dynptr in r1, for as long as that is there.
    DynptrMemoryOrNull,
}

/// A set of program types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgramTypes(u16);

impl ProgramTypes {
    /// The set of these types.
    #[must_use]
    pub const fn of(types: &[ProgramType]) -> ProgramTypes {
        let mut bits = 0;
        let mut i = 0;
        while i < types.len() {
            bits |= 1 << types[i] as u16;
            i += 1;
        }
        ProgramTypes(bits)
    }

    /// The types of either set.
    #[must_use]
    pub const fn and(self, other: ProgramTypes) -> ProgramTypes {
        ProgramTypes(self.0 | other.0)
    }

    /// Whether the type is one of them.
    #[must_use]
    pub const fn contains(self, program_type: ProgramType) -> bool {
        self.0 & (1 << program_type as u16) != 0
    }
}

/// The types' `SEC` prefixes, separated by commas; a phrase for the empty set.
impl fmt::Display for ProgramTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            ProgramType::ALL.iter().filter(|(t, _)| self.contains(*t)).map(|(_, name)| *name).collect();
        if names.is_empty() {
            f.write_str("no type of program that this bench runs")
        } else {
            f.write_str(&names.join(", "))
        }
    }
}

/// Why a program may not call a helper. The first words are those of Linux's verifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperError {
    /// No helper has this number.
    #[error(
        "invalid func unknown#{id}: Linux's helpers are 1 to {}; helpers of your own begin at {CUSTOM_HELPERS:#x}",
        ROWS.len()
    )]
    UnknownId {
        /// The number.
        id: u32,
    },
    /// No helper has this name.
    #[error("no helper {name}{}", hint(nearest.as_ref()))]
    UnknownName {
        /// The name as given.
        name: String,
        /// The name that is most like it.
        nearest: Option<String>,
    },
    /// The helper is not for this type of program.
    #[error(
        "program of this type cannot use helper {name}#{id}: a program of type {} calls it, and it is for {types}",
        ProgramTypes::of(&[*program_type])
    )]
    WrongType {
        /// Helper id.
        id: u32,
        /// Helper name.
        name: &'static str,
        /// Type of the program.
        program_type: ProgramType,
        /// Types that may call it.
        types: ProgramTypes,
    },
    /// The helper is for GPL-compatible programs.
    #[error(
        "cannot call GPL-restricted function from non-GPL compatible program: {name}#{id} needs a license such as \
         \"GPL\" or \"Dual MIT/GPL\" in the object's section \"license\""
    )]
    GplOnly {
        /// Helper id.
        id: u32,
        /// Helper name.
        name: &'static str,
    },
    /// The helper is not for maps of this kind.
    #[error(
        "cannot pass map_type {} into func {name}#{id}: {map} is a {} map, and it takes a {} map",
        *kind as u32, kind.name(), kinds_of(*takes)
    )]
    WrongMap {
        /// Helper id.
        id: u32,
        /// Helper name.
        name: &'static str,
        /// Name of the map.
        map: String,
        /// Its kind.
        kind: MapKind,
        /// What the helper does with maps.
        takes: MapUse,
    },
    /// Linux has the helper, this bench does not.
    #[error(
        "{name}#{id} is not offered by this bench; one of your own (id from {CUSTOM_HELPERS:#x}) can stand in for it"
    )]
    NotOffered {
        /// Helper id.
        id: u32,
        /// Helper name.
        name: &'static str,
    },
}

/// The kinds with which this can be done: `queue, stack or bloom_filter`.
fn kinds_of(map_use: MapUse) -> String {
    let mut kinds: Vec<&str> = MapKind::offered().filter(|kind| kind.takes(map_use)).map(MapKind::name).collect();
    match (kinds.pop(), kinds.is_empty()) {
        (Some(last), false) => format!("{} or {last}", kinds.join(", ")),
        (last, _) => last.unwrap_or_default().to_owned(),
    }
}

/// First id of the helpers that users define; [`Host::custom_helper`](super::Host::custom_helper) runs them.
pub const CUSTOM_HELPERS: u32 = 0x10000;

const _: () = {
    let mut i = 0;
    while i < ROWS.len() {
        assert!(ROWS[i].id as usize == i + 1, "rows ascend by id without a gap");
        i += 1;
    }
};

/// All helpers that Linux names, ascending by id.
#[must_use]
pub fn all() -> &'static [Helper] {
    ROWS
}

/// The helper of a number, offered or not.
#[inline]
#[must_use]
pub fn by_id(id: u32) -> Option<&'static Helper> {
    ROWS.get((id as usize).wrapping_sub(1))
}

/// The helper of a name, offered or not.
///
/// # Errors
/// [`HelperError::UnknownName`], with the nearest name.
pub fn by_name(name: &str) -> Result<&'static Helper, HelperError> {
    ROWS.iter().find(|helper| helper.name == name).ok_or_else(|| {
        let nearest = nearest(name, ROWS.iter().map(|helper| helper.name));
        HelperError::UnknownName { name: name.to_owned(), nearest }
    })
}

/// The helper of a number, if a program of this type and licence may call it here.
///
/// Without a program type, every type's helpers are allowed. Ids from [`CUSTOM_HELPERS`] are not in the table.
///
/// # Errors
/// All of [`HelperError`] but `UnknownName` and `WrongMap`, asked in Linux's order.
pub fn check(id: u32, program_type: Option<ProgramType>, gpl_compatible: bool) -> Result<&'static Helper, HelperError> {
    let helper = by_id(id).ok_or(HelperError::UnknownId { id })?;
    let Helper { name, types, .. } = *helper;
    if let Some(program_type) = program_type
        && !types.contains(program_type)
    {
        return Err(HelperError::WrongType { id, name, program_type, types });
    }
    if helper.gpl_only && !gpl_compatible {
        return Err(HelperError::GplOnly { id, name });
    }
    if helper.implementation.is_none() {
        return Err(HelperError::NotOffered { id, name });
    }
    Ok(helper)
}

/// Whether a helper may be given this map, where it takes one.
///
/// # Errors
/// [`HelperError::WrongMap`].
pub fn check_map(id: u32, map: &MapSpec) -> Result<(), HelperError> {
    let row = by_id(id).and_then(|helper| Some((helper.name, helper.implementation.as_ref()?.map_use?)));
    match row {
        Some((name, takes)) if !map.kind.takes(takes) => {
            Err(HelperError::WrongMap { id, name, map: map.name.clone(), kind: map.kind, takes })
        }
        _ => Ok(()),
    }
}
