//! Which kinds of map go with which helpers and types of program: rule 17.
//!
//! Linux's answers, measured; kinds and helpers that a bench does not have are left out.

use super::Rule;
use super::error::Refusal;
use super::value::MapFacts;
use crate::helper::by_id;
use crate::isa::{Imm64, Op, decode, starts};
use crate::map::{BPF_F_RDONLY_PROG, MapKind, MapSpec};
use crate::program::{Program, ProgramType};

const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const DELETE: u32 = 3;
const TAIL_CALL: u32 = 12;
const PERF_OUTPUT: u32 = 25;
const PUSH: u32 = 87;
const POP: u32 = 88;
const PEEK: u32 = 89;
const RING_OUTPUT: u32 = 130;
const RING_RESERVE: u32 = 131;
const RING_QUERY: u32 = 134;
const FOR_EACH: u32 = 164;
const LOOKUP_PERCPU: u32 = 195;

/// Whether a helper takes a map of a kind.
fn fits(helper: u32, kind: MapKind) -> bool {
    let stored = matches!(
        kind,
        MapKind::Hash
            | MapKind::Array
            | MapKind::PercpuHash
            | MapKind::PercpuArray
            | MapKind::LruHash
            | MapKind::LruPercpuHash
            | MapKind::LpmTrie
    );
    match helper {
        LOOKUP => stored || kind.is_of_maps(),
        UPDATE | DELETE => stored,
        TAIL_CALL => kind == MapKind::ProgArray,
        PERF_OUTPUT => kind == MapKind::PerfEventArray,
        PUSH | PEEK => matches!(kind, MapKind::Queue | MapKind::Stack | MapKind::BloomFilter),
        POP => matches!(kind, MapKind::Queue | MapKind::Stack),
        RING_OUTPUT | RING_RESERVE | RING_QUERY => kind == MapKind::RingBuf,
        FOR_EACH => stored && kind != MapKind::LpmTrie,
        LOOKUP_PERCPU => kind.is_per_cpu(),
        // A helper that is not listed takes what it is given, and says at run time what it thinks of it.
        _ => true,
    }
}

/// Whether a helper may be given a map.
pub fn check_helper(at: usize, helper: u32, spec: &MapSpec) -> Result<(), Refusal> {
    let name = by_id(helper).map_or("", |helper| helper.name);
    if spec.flags & BPF_F_RDONLY_PROG != 0 && matches!(helper, UPDATE | DELETE | PUSH | POP) {
        let what = format!("{} was created with BPF_F_RDONLY_PROG: programs only read it", spec.name);
        return Err(Refusal::new(Rule::Access, at, "write into map forbidden", what));
    }
    if fits(helper, spec.kind) {
        return Ok(());
    }
    let linux = format!("cannot pass map_type {} into func {name}#{helper}", spec.kind as u32);
    let what = format!("{} is a {}, which {name} does not take", spec.name, spec.kind.title());
    Err(Refusal::new(Rule::MapKind, at, linux, what))
}

/// Whether a type of program may use the maps that its instructions name.
pub fn check_program(program: &Program, program_type: ProgramType, maps: &[MapFacts]) -> Result<(), Refusal> {
    if program_type != ProgramType::Syscall {
        return Ok(());
    }
    for at in starts(&program.insns) {
        let Ok((Op::LoadImm64 { value: Imm64::Map(slot) | Imm64::MapValue { map: slot, .. }, .. }, _)) =
            decode(&program.insns, at)
        else {
            continue;
        };
        let Some(facts) = usize::try_from(slot).ok().and_then(|slot| maps.get(slot)) else { continue };
        let kind = facts.spec.kind;
        let sleepable = !matches!(
            kind,
            MapKind::LpmTrie
                | MapKind::PerfEventArray
                | MapKind::ProgArray
                | MapKind::StackTrace
                | MapKind::BloomFilter
        );
        if !sleepable {
            let linux = "Sleepable programs can only use array, hash, ringbuf and local storage maps";
            let what = format!("{} is a {}; programs of type syscall may sleep", facts.spec.name, kind.title());
            return Err(Refusal::new(Rule::MapKind, at, linux, what));
        }
    }
    Ok(())
}
