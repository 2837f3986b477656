//! Random programs: what the verifier accepts runs without a fault, it says what the running kernel says, and anything at
//! all as instructions gets a verdict.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "verifier_support/generator/mod.rs"]
mod generator;
mod verifier_support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use axebpf_core::engine::{Input, Interpreter, Stack};
use axebpf_core::fault::Fault;
use axebpf_core::helper::{Host, Task, VmContext};
use axebpf_core::isa::{Insn, Names, disassemble};
use axebpf_core::map::{Map, MapSet};
use axebpf_core::memory::{Arena, Window};
use axebpf_core::program::ProgramType;
use axebpf_core::verifier::{Options, verify};
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

/// Bytes of the context, and instructions of a run.
const CONTEXT: usize = 512;
const BUDGET: u64 = 1 << 16;

/// A host whose random numbers are as telling as what is in the maps.
struct World(RefCell<Random>);

impl Host for World {
    fn now(&self) -> u64 {
        7
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn random(&self) -> u32 {
        let bytes = telling_bytes(&mut self.0.borrow_mut(), 4);
        u32::from_le_bytes(bytes.try_into().unwrap())
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn vm_context(&self) -> VmContext {
        VmContext::default()
    }
    fn print(&self, _text: &str) {}
}

/// Bytes that are often at the ends of what a mask or a comparison lets through.
fn telling_bytes(random: &mut Random, len: usize) -> Vec<u8> {
    let whole = if random.once_in(3) { Some(random.pick(&[0_u8, 0xff])) } else { None };
    let byte = |random: &mut Random| match whole {
        Some(byte) if !random.once_in(8) => byte,
        _ if random.once_in(2) => random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
        _ => random.next() as u8,
    };
    (0..len).map(|_| byte(random)).collect()
}

#[test]
fn what_is_accepted_runs_without_a_fault() {
    let mut random = Random(count("AXEBPF_SEED", 7));
    let facts = facts();
    let (mut accepted, mut runs) = (0_u64, 0_u64);
    let programs = count("AXEBPF_PROGRAMS", 20_000);
    let (mut stack, context) = (Stack::new(random.next()).unwrap(), Arena::new(CONTEXT).unwrap());
    for number in 0..programs {
        let insns = random_program(&mut random);
        let program = program(insns.clone(), ProgramType::Tracepoint, "GPL");
        if ours(&program, &facts).is_err() {
            continue;
        }
        accepted += 1;
        let maps = maps();
        let runnable = match Interpreter.load(Arc::new(program), MapSet(maps.clone())) {
            Ok(runnable) => runnable,
            Err(error) => panic!("program {number} is not taken: {error}\n{}", text(&insns)),
        };
        for _ in 0..4 {
            fill(&mut random, &maps);
            let bytes = telling_bytes(&mut random, CONTEXT);
            // SAFETY: an arena of this size, into which nobody holds references.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), context.as_ptr(), CONTEXT) };
            let start = context.address();
            let window = Window { start: start + 8, len: CONTEXT as u64 - 8, writable: false };
            let world = World(RefCell::new(Random(random.next())));
            let input =
                Input { args: [start, 0], context: window, extra: &[], host: &world, budget: BUDGET, alone: true };
            runs += 1;
            // SAFETY: the context is an arena, into which nobody holds references.
            let outcome = unsafe { runnable.run(&mut stack, &input) };
            if let Err(fault) = outcome.result
                && fault.fault != (Fault::Budget { limit: BUDGET })
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
fn fill(random: &mut Random, maps: &[Arc<dyn Map>]) {
    for key in 0..4_u32 {
        maps[0].update_user(&key.to_le_bytes(), &telling_bytes(random, 16), 0).unwrap();
    }
    maps[1].update_user(&[0; 4], &telling_bytes(random, 64), 0).unwrap();
    for key in [0_u64, 1, 7, 8] {
        maps[2].update_user(&key.to_le_bytes(), &telling_bytes(random, 16), 0).unwrap();
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
        let verdict = verify(Arc::new(program), &facts, &options);
        accepted += u64::from(verdict.is_ok_and(|verified| verified.processed <= 20_000));
    }
    println!("{accepted} were accepted");
    assert!(accepted > 0);
}
