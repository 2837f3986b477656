//! What becomes of a program on AxVisor, before it runs.
//!
//! The rows of the table of gaps say how they are seen: [`Gap::insn`] in an instruction alone, [`Gap::sign`] in what
//! [`walk`] has followed through the program. What AxVisor refuses is asked of what refuses it on target axvisor: the
//! engine's loader and the creation of maps. So a report and a load cannot disagree.

mod access;
mod calls;
mod met;
mod outcome;
mod state;
mod value;
mod walk;

use std::sync::Arc;

use self::value::Places;
use self::walk::{Lost, Walk};
use super::gaps::{Call, Effect, GAPS, Gap, Sign};
use super::{HelperLayer, Rbpf, create_map};
use crate::engine::EngineError;
use crate::helper;
use crate::isa::{Op, decode, starts};
use crate::map::{MapError, MapSpec};
use crate::portability::{Finding, Maps};
use crate::program::Program;

/// What becomes of a program on target axvisor: in the order of its instructions, and behind them what is about maps.
/// `budget` is the bench's.
#[must_use]
pub fn findings(program: &Arc<Program>, maps: &Maps<'_>, budget: Option<u64>) -> Vec<Finding> {
    let mut walk = Walk::new(&program.insns, &maps.slots, program.program_type);
    let walked = walk.run();
    let mut met = std::mem::take(&mut walk.met.found);
    for at in starts(&program.insns) {
        for (row, gap) in GAPS.iter().enumerate() {
            // What the walk has not seen does not happen, if it has seen all; refused it is all the same.
            let seen = walked.is_err() || walk.reached[at] || gap.effect == Effect::Refused;
            let by_itself = gap.sign.is_none() || walked.is_err();
            if seen && by_itself && gap.insn.is_some_and(|meets| meets(&program.insns, at)) {
                met.entry((at, row)).or_default();
            }
        }
    }
    let mut found: Vec<Finding> =
        met.into_iter().map(|((at, row), from)| meets(program, &GAPS[row], at, from)).collect();
    let rbpf = Rbpf { helpers: HelperLayer::Axvisor, budget };
    if let Some(error) = maps.outlines().and_then(|maps| rbpf.load(program.clone(), maps).err()) {
        let refused = refused_program(program, &error);
        if !found.iter().any(|known| known.effect == Effect::Refused && known.insn == refused.insn) {
            let place = found.partition_point(|known| known.insn <= refused.insn);
            found.insert(place, refused);
        }
    }
    if let Err(Lost(why)) = walked {
        found.push(Finding {
            gap: None,
            effect: Effect::Unknown,
            insn: None,
            what: "the program".to_owned(),
            reason: format!("{why}: what it does with its context, looked-up values and results is not known"),
            instead: "",
        });
    }
    found.extend(maps.all.iter().filter_map(|spec| Some(refused_map(&create_map((*spec).clone()).err()?, spec))));
    found
}

/// A row that an instruction meets.
fn meets(program: &Program, gap: &Gap, at: usize, from: Places) -> Finding {
    let what = match decode(&program.insns, at) {
        Ok((Op::CallHelper { id }, _)) if gap.effect == Effect::Refused => helper_name(id),
        _ => gap.what.to_owned(),
    };
    let of = match from {
        Places::Nowhere => String::new(),
        Places::One(call) if call == at => String::new(),
        Places::One(call) => format!(" (the call at instruction {call})"),
        Places::Several => " (of one of several calls)".to_owned(),
    };
    Finding {
        gap: Some(gap.name),
        effect: gap.effect,
        insn: Some(at),
        what,
        reason: format!("Linux: {}; AxVisor: {}{of}", gap.linux, gap.axvisor),
        instead: gap.instead,
    }
}

fn helper_name(id: u32) -> String {
    helper::by_id(id).map_or_else(|| format!("helper {id}"), |helper| format!("helper {id} ({})", helper.name))
}

/// Why target axvisor refuses a program, from the error of its engine.
#[must_use]
pub fn refused_program(program: &Program, error: &EngineError) -> Finding {
    let insn = error.insn();
    let refuses = |gap: &&Gap| {
        let Some(at) = insn else { return false };
        let by_insn = gap.insn.is_some_and(|meets| meets(&program.insns, at));
        let by_call = match (gap.sign, decode(&program.insns, at)) {
            (Some(Sign::Call(meets)), Ok((Op::CallHelper { id }, _))) => {
                meets(&Call { id, map: None, args: Default::default() })
            }
            _ => false,
        };
        gap.effect == Effect::Refused && (by_insn || by_call)
    };
    let gap = GAPS.iter().find(refuses);
    let text = error.to_string();
    let place = insn.map_or_else(String::new, |insn| format!("instruction {insn}: "));
    Finding {
        gap: gap.map(|gap| gap.name),
        effect: Effect::Refused,
        insn,
        what: gap.map_or("the program", |gap| gap.what).to_owned(),
        reason: text.strip_prefix(&place).unwrap_or(&text).to_owned(),
        instead: gap.map_or("", |gap| gap.instead),
    }
}

/// Why target axvisor refuses a map, from the error of its creation.
#[must_use]
pub fn refused_map(error: &MapError, spec: &MapSpec) -> Finding {
    let gap = GAPS.iter().find(|gap| matches!(gap.sign, Some(Sign::Map(is)) if is(spec)));
    Finding {
        gap: gap.map(|gap| gap.name),
        instead: gap.map_or("", |gap| gap.instead),
        ..Finding::refused_map(&spec.name, error)
    }
}
