//! Random programs: what the verifier accepts runs without a fault, it says what the running kernel says, and anything at
//! all as instructions gets a verdict.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::duplicate_mod)] // each support module has the random numbers for itself

mod engine_support;
#[path = "verifier_support/generator.rs"]
mod generator;
mod verifier_support;

use std::collections::BTreeMap;

use axebpf_core::fault::Fault;
use axebpf_core::isa::{Insn, Names, disassemble};
use axebpf_core::map::Map;
use axebpf_core::program::ProgramType;
use axebpf_core::verifier::{Options, verify};
use engine_support::Lab;
use verifier_support::linux::Oracle;
use verifier_support::{Random, facts, maps, ours, program};

/// How many of something, unless the environment says otherwise.
fn count(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

fn text(insns: &[Insn]) -> String {
    disassemble(insns, &Names::none())
}

fn random_program(random: &mut Random) -> Vec<Insn> {
    generator::program(random, 40)
}

#[test]
fn what_is_accepted_runs_without_a_fault() {
    let mut random = Random(count("AXEBPF_SEED", 7));
    let facts = facts();
    let (mut accepted, mut runs) = (0_u64, 0_u64);
    let programs = count("AXEBPF_PROGRAMS", 20_000);
    for number in 0..programs {
        let insns = random_program(&mut random);
        let program = program(insns.clone(), ProgramType::Tracepoint, "GPL");
        if ours(&program, &facts).is_err() {
            continue;
        }
        accepted += 1;
        let maps = maps();
        let mut lab = match Lab::load(program, &maps, 512) {
            Ok(lab) => lab,
            Err(error) => panic!("program {number} is not taken: {error}\n{}", text(&insns)),
        };
        lab.budget = 1 << 16;
        lab.writable = false;
        for _ in 0..4 {
            fill(&mut random, &maps);
            let context = random.bytes(512);
            lab.put(&context);
            runs += 1;
            if let Err(fault) = lab.run().result
                && fault.fault != (Fault::Budget { limit: lab.budget })
            {
                panic!("program {number} was accepted: {fault}\n{}", text(&insns));
            }
            while maps[3].consume_user(&mut Vec::new()).unwrap() {}
        }
    }
    println!("{accepted} of {programs} programs were accepted; {runs} runs without a fault");
    assert!(accepted * 10 > programs * 3 && accepted * 10 < programs * 9, "{accepted} of {programs} accepted");
}

/// Anything in the maps.
fn fill(random: &mut Random, maps: &[std::sync::Arc<dyn Map>]) {
    for key in 0..4_u32 {
        maps[0].update_user(&key.to_le_bytes(), &random.bytes(16), 0).unwrap();
    }
    maps[1].update_user(&[0; 4], &random.bytes(64), 0).unwrap();
    for key in [0_u64, 1, 7, 8] {
        maps[2].update_user(&key.to_le_bytes(), &random.bytes(16), 0).unwrap();
    }
}

#[test]
fn verdicts_on_random_programs_are_those_of_the_running_kernel() {
    let oracle = match Oracle::open(&facts()) {
        Ok(oracle) => oracle,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let mut random = Random(count("AXEBPF_SEED", 11));
    let facts = facts();
    let programs = count("AXEBPF_PROGRAMS", 5_000);
    let show = count("AXEBPF_SHOW", 5);
    let (mut both_accept, mut both_refuse) = (0_u64, 0_u64);
    let (mut only_ours, mut only_theirs) = (Vec::new(), Vec::new());
    let mut reasons: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for number in 0..programs {
        let insns = random_program(&mut random);
        let program = program(insns.clone(), ProgramType::Tracepoint, "GPL");
        let (us, them) = (ours(&program, &facts), oracle.accepts(&program));
        match (us, them) {
            (Ok(_), true) => both_accept += 1,
            (Err(error), false) => {
                both_refuse += 1;
                let same =
                    oracle.verdict(&program).is_err_and(|log| log.contains(error.linux.split(" id=").next().unwrap()));
                let entry = reasons.entry(error.rule.title()).or_default();
                entry.0 += 1;
                entry.1 += u64::from(same);
            }
            (Ok(_), false) => {
                let log = oracle.verdict(&program).err().unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                only_ours.push(format!("{number}: {}\n{}", last.join(" < "), text(&insns)));
            }
            (Err(error), true) => only_theirs.push(format!("{number}: {error}\n{}", text(&insns))),
        }
    }
    let (accepts, refusals) = (both_accept + only_theirs.len() as u64, both_refuse + only_ours.len() as u64);
    println!(
        "{programs} programs: Linux accepts {accepts}, of which we refuse {}; it refuses {refusals}, of which we accept {}",
        only_theirs.len(),
        only_ours.len()
    );
    println!("refusals by rule, and of those in Linux's words: {reasons:?}");
    for shown in only_ours.iter().take(show as usize) {
        println!("--- only we accept {shown}");
    }
    for shown in only_theirs.iter().take(show as usize) {
        println!("--- only Linux accepts {shown}");
    }
    assert!(only_ours.is_empty(), "{} programs that Linux refuses are accepted", only_ours.len());
    assert!(only_theirs.len() as u64 * 100 <= accepts, "{} of {accepts}", only_theirs.len());
    assert!(accepts * 10 >= programs * 3 && accepts * 10 <= programs * 7, "{accepts} of {programs} accepted");
}

#[test]
fn anything_at_all_gets_a_verdict() {
    let mut random = Random(3);
    let facts = facts();
    let options = Options { limit: 20_000, ..Options::default() };
    let types = ProgramType::ALL.map(|(program_type, _)| program_type);
    let mut accepted = 0;
    for number in 0..count("AXEBPF_PROGRAMS", 60_000) {
        let mut insns = match number % 3 {
            0 => (0..1 + random.below(12)).map(|_| Insn::from_bytes(random.next().to_le_bytes())).collect(),
            _ => random_program(&mut random),
        };
        for _ in 0..random.below(4) {
            let at = random.below(insns.len() as u64) as usize;
            match random.below(6) {
                0 => insns[at] = Insn::from_bytes(random.next().to_le_bytes()),
                1 => insns[at].off = random.next() as i16,
                2 => insns[at].imm = random.next() as i32,
                3 => insns[at].dst = random.below(12) as u8,
                4 => insns[at].src = random.below(12) as u8,
                _ => drop(insns.remove(at)),
            }
            if insns.is_empty() {
                break;
            }
        }
        let program = program(insns, random.pick(&types), "GPL");
        let verdict = verify(std::sync::Arc::new(program), &facts, &options);
        accepted += u64::from(verdict.is_ok_and(|verified| verified.processed <= 20_000));
    }
    println!("{accepted} were accepted");
    assert!(accepted > 0);
}
