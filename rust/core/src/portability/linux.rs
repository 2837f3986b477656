//! Target linux: what a real Linux, or this bench in its place, is known to refuse.
//!
//! - a type of program that Linux does not have;
//! - an instruction that is none, and a call by register;
//! - AxVisor's helpers 100 to 102 and helpers of one's own; helpers that are not for the program's type or licence;
//! - maps that cannot be created, that programs of this type may not use, or that helpers are given which are not for
//!   them.
//!
//! There is no verifier yet, so nothing else can be said: what is not refused is unknown.

use std::sync::Arc;

use super::{Effect, Finding, Maps};
use crate::engine::Interpreter;
use crate::helper::{self, CUSTOM_HELPERS, HelperError, KnownMaps, forbidden_maps, misused_maps};
use crate::isa::{Op, decode, starts};
use crate::map::{self, MapSpec};
use crate::program::{Program, ProgramType};

/// The helpers of AxVisor that Linux knows by other names.
const AXVISOR_HELPERS: std::ops::RangeInclusive<u32> = 100..=102;

fn refused(insn: Option<usize>, what: impl Into<String>, reason: impl Into<String>, instead: &'static str) -> Finding {
    Finding { gap: None, effect: Effect::Refused, insn, what: what.into(), reason: reason.into(), instead }
}

/// What is known of a program on Linux.
#[must_use]
pub fn linux(program: &Arc<Program>, maps: &Maps<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = program_type(program).into_iter().collect();
    for at in starts(&program.insns) {
        match decode(&program.insns, at) {
            Ok((op, _)) => found.extend(instruction(program, at, op)),
            Err(error) => found.push(refused(Some(at), "an instruction that is none", error.to_string(), "")),
        }
    }
    let of_maps = forbidden_maps(program, maps).into_iter();
    let of_helpers = misused_maps(program, maps).into_iter().map(|(insn, error)| (insn, error.to_string()));
    found.extend(of_maps.chain(of_helpers).map(|(insn, why)| refused(Some(insn), "a map of that kind", why, "")));
    // What else the engine refuses: jumps out of the program, addresses in maps that have none.
    if let Some(error) = maps.outlines().and_then(|maps| Interpreter.load(program.clone(), maps).err())
        && !found.iter().any(|known| known.insn == error.insn())
    {
        found.push(refused(error.insn(), "the program", error.to_string(), ""));
    }
    for spec in &maps.all {
        if let Err(error) = map::create((*spec).clone(), 1) {
            found.push(Finding::refused_map(&spec.name, &error));
        }
    }
    if found.is_empty() {
        found.push(Finding {
            gap: None,
            effect: Effect::Unknown,
            insn: None,
            what: "the program".to_owned(),
            reason: "no verifier yet: nothing was found that Linux is known to refuse; whether its verifier takes the \
                     program is not known"
                .to_owned(),
            instead: "load it into a Linux kernel (bpftool prog load)",
        });
    }
    found
}

impl KnownMaps for Maps<'_> {
    fn spec(&self, slot: usize) -> Option<&MapSpec> {
        self.slots.get(slot).copied().flatten()
    }
}

fn program_type(program: &Program) -> Option<Finding> {
    let what = "the program's type";
    match program.program_type {
        None => Some(refused(
            None,
            what,
            format!("the section {:?} names no type of program, and Linux takes none without", program.section),
            "name one that Linux has, such as SEC(\"tracepoint/vmm/vm_boot\")",
        )),
        Some(of @ (ProgramType::Axvisor | ProgramType::Mem)) => Some(refused(
            None,
            what,
            format!("Linux has no programs of type {}", of.name()),
            "write SEC(\"tracepoint/…\") or SEC(\"raw_tracepoint/…\") for Linux",
        )),
        Some(_) => None,
    }
}

fn instruction(program: &Program, at: usize, op: Op) -> Option<Finding> {
    match op {
        Op::CallRegister { .. } => {
            Some(refused(Some(at), "call by register", "Linux's verifier refuses it", "call the helper by its number"))
        }
        Op::CallHelper { id } if AXVISOR_HELPERS.contains(&id) => Some(refused(
            Some(at),
            helper_name(id),
            format!("it is AxVisor's: helper {id} of Linux is another one, which tracing programs may not call"),
            "take the number from the event's record",
        )),
        Op::CallHelper { id } if id >= CUSTOM_HELPERS => Some(refused(
            Some(at),
            format!("helper {id:#x}"),
            "it is a helper of one's own (@bench.helper), which Linux does not have",
            "",
        )),
        Op::CallHelper { id } => {
            let error = helper::check(id, program.program_type, program.is_gpl_compatible()).err()?;
            let instead = match error {
                HelperError::GplOnly { .. } => "give the object a licence such as \"GPL\" or \"Dual MIT/GPL\"",
                _ => "",
            };
            Some(refused(Some(at), helper_name(id), error.to_string(), instead))
        }
        _ => None,
    }
}

fn helper_name(id: u32) -> String {
    helper::by_id(id).map_or_else(|| format!("helper {id}"), |helper| format!("helper {id} ({})", helper.name))
}
