//! The table of kinds of maps.

use axebpf_core::helper;
use axebpf_core::map::{Command, MapKind, flag_names};
use axebpf_core::program::ProgramType;
use pyo3::prelude::*;

/// See [`map_kinds`].
type Row = (u32, &'static str, Option<Rules>);

/// Title, keys, whether it is per CPU, names of flags, helpers, commands and program types.
type Rules = (&'static str, &'static str, bool, [Vec<&'static str>; 4]);

/// Number, name, and what is known of each kind that axebpf has.
#[pyfunction]
pub(crate) fn map_kinds() -> Vec<Row> {
    MapKind::ALL.iter().map(|kind| (*kind as u32, kind.name(), rules(*kind))).collect()
}

fn rules(kind: MapKind) -> Option<Rules> {
    let rules = kind.rules()?;
    let flags = flag_names(rules.flags).collect();
    let helpers = helper::all().iter().filter(|row| row.implementation.as_ref().is_some_and(|row| row.takes(kind)));
    let commands = Command::ALL.iter().filter(|(command, _)| kind.has(*command));
    let types = ProgramType::ALL.iter().filter(|(of, _)| rules.may_be_used_by(*of));
    let names = [
        flags,
        helpers.map(|row| row.name).collect(),
        commands.map(|(_, name)| *name).collect(),
        types.map(|(_, name)| *name).collect(),
    ];
    Some((rules.title, rules.keys.name(), rules.per_cpu, names))
}
