//! Which maps go with which helpers and types of program: rule 17, from the table of kinds.

use super::Rule;
use super::error::Refusal;
use super::value::MapFacts;
use crate::helper::{by_id, check_map};
use crate::isa::{Imm64, Op, decode, starts};
use crate::map::{BPF_F_RDONLY_PROG, MapSpec, MapUse};
use crate::program::{Program, ProgramType};

/// Whether a helper may be given a map.
pub fn check_helper(at: usize, helper: u32, spec: &MapSpec) -> Result<(), Refusal> {
    let row = by_id(helper).and_then(|helper| helper.implementation.as_ref()?.map_use);
    let writes = matches!(row, Some(MapUse::Update | MapUse::Delete | MapUse::Push | MapUse::Pop));
    if spec.flags & BPF_F_RDONLY_PROG != 0 && writes {
        let what = format!("{} was created with BPF_F_RDONLY_PROG: programs only read it", spec.name);
        return Err(Refusal::new(Rule::Access, at, "write into map forbidden", what));
    }
    check_map(helper, spec).map_err(|error| {
        let text = error.to_string();
        let (linux, what) = text.split_once(": ").unwrap_or((&text, ""));
        Refusal::new(Rule::MapKind, at, linux, what)
    })
}

/// Whether a type of program may use the maps that its instructions name.
pub fn check_program(program: &Program, program_type: ProgramType, maps: &[MapFacts]) -> Result<(), Refusal> {
    for at in starts(&program.insns) {
        let Ok((Op::LoadImm64 { value: Imm64::Map(slot) | Imm64::MapValue { map: slot, .. }, .. }, _)) =
            decode(&program.insns, at)
        else {
            continue;
        };
        let Some(facts) = usize::try_from(slot).ok().and_then(|slot| maps.get(slot)) else { continue };
        let kind = facts.spec.kind;
        if facts.has_lock {
            let what = format!("values of {} have a bpf_spin_lock, which is not followed here", facts.spec.name);
            return Err(Refusal::new(Rule::MapKind, at, "spin locks are not supported", what));
        }
        if !kind.rules().is_some_and(|rules| rules.may_be_used_by(program_type)) {
            let linux = "Sleepable programs can only use array, hash, ringbuf and local storage maps";
            let what = format!("{} is a {}; programs of type syscall may sleep", facts.spec.name, kind.title());
            return Err(Refusal::new(Rule::MapKind, at, linux, what));
        }
    }
    Ok(())
}
