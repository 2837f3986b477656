//! What an engine says of a run beyond its result: counts by instruction, single steps, what fresh stacks hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;

use std::collections::BTreeMap;
use std::fmt::Write;

use axebpf_core::engine::Stack;
use axebpf_core::fault::Fault;
use axebpf_core::isa::Insn;
use engine_support::{Counter, Lab, PATTERN, Random, kind};

/// A program of functions that call each other as they like, loop, call back, fault and fall off the end. Its budget
/// ends it where nothing else does.
fn any_program(random: &mut Random) -> String {
    let lines = 4 + random.below(60);
    let functions = 1 + random.below(4);
    let mut text = String::new();
    let label = |random: &mut Random| format!("l{}", random.below(lines));
    for line in 0..lines {
        for function in 0..functions {
            if line == function * lines / functions {
                writeln!(text, "f{function}:").unwrap();
            }
        }
        writeln!(text, "l{line}:").unwrap();
        let (a, b) = (random.below(10), random.below(11));
        let imm = random.below(5) as i64 - 2;
        let line = match random.below(24) {
            0..4 => format!("r{a} = {imm}"),
            4..8 => format!("r{a} += {imm}"),
            8 => format!("r{a} = r{b}"),
            9 => format!("r{a} -= r{b}"),
            10 => format!("w{a} ^= {imm}"),
            11 => format!("r{a} = {:#x} ll", random.next()),
            12..14 => format!("if r{a} != {imm} goto {}", label(random)),
            14 => format!("if r{a} s< r{b} goto {}", label(random)),
            15 => format!("if w{a} > {imm} goto {}", label(random)),
            16 => format!("goto {}", label(random)),
            17 => format!("may_goto {}", label(random)),
            18 => format!("call f{}", random.below(functions)),
            19 => "exit".to_owned(),
            20 => format!("*(u64 *)(r10 -{}) = r{a}", 8 + 8 * random.below(4)),
            21 => format!("r{a} = *(u64 *)(r10 -{})", 8 + 8 * random.below(4)),
            // A fault, most of the time.
            22 if random.once_in(3) => format!("r{a} = *(u8 *)(r{b} -{})", 1 + random.below(9)),
            22 => "call bpf_get_smp_processor_id#8".to_owned(),
            _ => {
                let function = random.below(functions);
                let turns = random.below(4);
                writeln!(text, "r1 = {turns}\nr2 = subprog[f{function}]\nr3 = 5\nr4 = 0").unwrap();
                "call bpf_loop#181".to_owned()
            }
        };
        writeln!(text, "{line}").unwrap();
    }
    if !random.once_in(4) {
        text.push_str("r0 = 3\nexit\n");
    }
    text
}

fn nonzero(counts: Vec<(usize, u64)>) -> BTreeMap<usize, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// RFC 9669: `call` with `src` 0 calls a helper by its number.
fn calls_helper(insn: &Insn) -> bool {
    (insn.code, insn.src) == (0x85, 0)
}

#[test]
fn counts_are_those_of_a_slow_count() {
    let mut random = Random(11);
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut deep, mut called) = (0, 0);
    for _ in 0..6000 {
        let text = any_program(&mut random);
        // Observed and not, on the same stack and context: programs also compute with addresses.
        let mut lab = Lab::new(&text);
        let budgets: [u64; 3] = std::array::from_fn(|_| 1 + random.below(2000));
        let mut all = BTreeMap::new();
        let mut outcomes = Vec::new();
        for budget in budgets {
            lab.budget = budget;
            let mut observer = Counter::default();
            let outcome = lab.observe(&mut observer);
            assert_eq!(observer.total, outcome.instructions, "{text}");
            let calls = observer.counts.iter().filter(|(insn, _)| calls_helper(&lab.runnable.program().insns[**insn]));
            assert_eq!(calls.map(|(_, count)| count).sum::<u64>(), outcome.calls, "{text}");
            called += u64::from(outcome.calls > 3);
            for (insn, count) in observer.counts {
                *all.entry(insn).or_default() += count;
            }
            let end = outcome.result.as_ref().map_or_else(|fault| kind(&fault.fault), |_| "exit");
            *ends.entry(end).or_default() += 1;
            deep += u32::from(observer.deepest >= 4 && outcome.result.is_err());
            outcomes.push(outcome);
        }
        assert_eq!(nonzero(lab.runnable.counts()), all, "observed\n{text}");
        lab.runnable.reset_counts();
        assert!(nonzero(lab.runnable.counts()).is_empty());
        for (budget, outcome) in budgets.into_iter().zip(outcomes) {
            lab.budget = budget;
            assert_eq!(lab.run(), outcome, "{text}");
        }
        assert_eq!(nonzero(lab.runnable.counts()), all, "{text}");
    }
    let enough = ["exit", "memory", "budget", "call_depth", "off_the_end"].iter().all(|end| ends[end] > 100);
    assert!(enough && deep > 100, "the programs end in too few ways: {ends:?}, {deep} of them deep");
    assert!(called > 100, "only {called} runs call helpers often");
}

#[test]
fn an_instruction_that_was_never_reached_counts_nothing() {
    let mut lab = Lab::new("r0 = 0x1 ll\nif r0 == 1 goto +1\nr0 = 2\nexit");
    lab.run();
    lab.run();
    assert_eq!(lab.runnable.counts(), [(0, 2), (2, 2), (3, 0), (4, 2)], "a lddw is one instruction of two slots");
}

#[test]
fn single_steps_show_registers_and_depth() {
    let text = "r6 = r1\nr0 = 5\ncall f\nr0 += 1\nexit\nf:\nr0 += r2\nexit";
    let mut lab = Lab::new(text);
    let mut steps = Counter { keep: true, ..Counter::default() };
    let r0 = lab.observe(&mut steps).result.unwrap();
    let context = lab.context.address();
    let r10 = steps.steps[0].1[10];
    let at = |insn: usize, r0: u64, r6: u64, depth: usize| {
        let mut registers = [0; 11];
        (registers[0], registers[1], registers[2], registers[6]) = (r0, context, 64, r6);
        registers[10] = r10 + 512 * (depth as u64 - 1);
        (insn, registers, depth)
    };
    let expected = [
        at(0, 0, 0, 1),
        at(1, 0, context, 1),
        at(2, 5, context, 1),
        at(5, 5, context, 2),
        at(6, 69, context, 2),
        at(3, 69, context, 1),
        at(4, 70, context, 1),
    ];
    assert_eq!(steps.steps, expected);
    assert_eq!(r0, 70);
}

#[test]
fn callbacks_are_stepped_through_too() {
    let text = "r1 = 2\nr2 = subprog[f]\nr3 = 9\nr4 = 0\ncall bpf_loop#181\nexit\nf:\nr0 = 0\nexit";
    let mut steps = Counter { keep: true, ..Counter::default() };
    Lab::new(text).observe(&mut steps).result.unwrap();
    let path: Vec<(usize, usize)> = steps.steps.iter().map(|(insn, _, depth)| (*insn, *depth)).collect();
    assert_eq!(path, [(0, 1), (1, 1), (3, 1), (4, 1), (5, 1), (7, 2), (8, 2), (7, 2), (8, 2), (6, 1)]);
    let arguments: Vec<[u64; 2]> = steps.steps.iter().filter(|s| s.0 == 7).map(|s| [s.1[1], s.1[2]]).collect();
    assert_eq!(arguments, [[0, 9], [1, 9]], "the callback gets the turn and the context");
}

#[test]
fn an_error_of_the_observer_ends_the_run_before_the_instruction() {
    let text = "*(u64 *)(r1 +0) = 1\ncall f\nexit\nf:\n*(u64 *)(r1 +8) = 1\n*(u64 *)(r1 +16) = 1\nexit";
    let mut lab = Lab::new(text);
    let mut observer = Counter { stop_at: Some(3), ..Counter::default() };
    let outcome = lab.observe(&mut observer);
    let fault = outcome.result.unwrap_err();
    assert_eq!((fault.insn, fault.fault), (4, Fault::Instruction { what: "enough".to_owned() }));
    assert_eq!(outcome.instructions, 3);
    assert_eq!((lab.bytes()[8], lab.bytes()[16]), (1, 0));
    assert_eq!(nonzero(lab.runnable.counts()), BTreeMap::from([(0, 1), (1, 1), (3, 1)]));
    // The next run is whole again.
    assert!(lab.run().result.is_ok());
    assert_eq!(lab.bytes()[16], 1);
}

/// Reads all of its frame, adds it up in r0, and leaves something else there, in each of eight frames.
fn reads_its_stack() -> String {
    let mut text =
        "r1 = 8\nr6 = 0\ncall f\nexit\nf:\nr6 = 0\nif r1 == 1 goto end\nr1 += -1\ncall f\nr6 = r0\nend:\n".to_owned();
    for word in 1..=64 {
        writeln!(text, "r2 = *(u64 *)(r10 -{0})\nr2 *= {word}\nr6 += r2\n*(u64 *)(r10 -{0}) = {word}", 8 * word)
            .unwrap();
    }
    text.push_str("r0 = r6\nexit");
    text.replacen("r1 = 8", "r1 = 7", 1)
}

#[test]
fn fresh_frames_hold_the_pattern_in_every_run() {
    let weights: u64 = (1..=64).sum();
    for pattern in [PATTERN, 0, 1, u64::MAX] {
        let mut lab = Lab::new(&reads_its_stack());
        lab.stack = Stack::new(pattern).unwrap();
        for _ in 0..3 {
            let expected = pattern.wrapping_mul(7).wrapping_mul(weights);
            assert_eq!(lab.run().result, Ok(expected), "seven frames, each word of them");
        }
    }
}

#[test]
fn callbacks_and_later_calls_get_fresh_frames() {
    let text = "r6 = 0\ncall f\nr6 += r0\ncall f\nr6 += r0\nr1 = 1\nr2 = subprog[g]\nr3 = r10\nr3 += -8\n*(u64 *)(r10 -8) = 0\n\
                r4 = 0\ncall bpf_loop#181\nr0 = *(u64 *)(r10 -8)\nr0 += r6\nexit\n\
                f:\nr0 = *(u64 *)(r10 -16)\n*(u64 *)(r10 -16) = 1\nexit\n\
                g:\nr3 = *(u64 *)(r10 -16)\n*(u64 *)(r2 +0) = r3\nr0 = 0\nexit";
    assert_eq!(Lab::new(text).run().result, Ok(PATTERN.wrapping_mul(3)));
}

/// Programs that use their stack in every way: on a stack that other runs have used, they do what they do on a new one.
#[test]
fn nothing_is_seen_of_what_an_earlier_run_left() {
    let mut random = Random(5);
    let dirt = reads_its_stack();
    for _ in 0..3000 {
        let mut text = String::from("r2 = r10\nr3 = r10\nr4 = r10\nr6 = 0\nr7 = 8\n");
        for _ in 0..2 + random.below(14) {
            let (a, b) = (2 + random.below(3), 2 + random.below(3));
            let by = 8 * random.below(9) as i64 - 48;
            let line = match random.below(12) {
                0..3 => format!("r{a} += {by}"),
                3 => format!("r{a} -= {}", -by),
                4 => format!("r{a} = r{b}"),
                5 => format!("r{a} = r10"),
                6 => format!("r{a} += r7"),
                7 => format!("r{a} &= -64"),
                8 => format!("*(u64 *)(r10 -8) = r{a}\nr{b} = *(u64 *)(r10 -8)"),
                9 => format!("r5 = *(u64 *)(r{a} -8)\nr5 ^= r10\nr6 += r5"),
                10 => format!("r5 = 0\nr{a} += -8\nr5 += 1\nif r5 != {} goto -3", 1 + random.below(20)),
                _ => format!("r1 = r{a}\ncall sum"),
            };
            writeln!(text, "{line}").unwrap();
        }
        text.push_str("r5 = *(u64 *)(r2 -8)\nr5 ^= r10\nr0 = r6\nr0 += r5\nexit\n");
        text.push_str("sum:\nr5 = *(u64 *)(r1 -16)\nr5 ^= r10\nr6 += r5\nr5 = *(u64 *)(r10 -24)\nexit");
        // The same stack, so that addresses are the same too.
        let mut lab = Lab::new(&text);
        let first = lab.run();
        let mut other = Lab::new(&dirt);
        std::mem::swap(&mut lab.stack, &mut other.stack);
        other.run();
        std::mem::swap(&mut lab.stack, &mut other.stack);
        assert_eq!(lab.run(), first, "{text}");
    }
}
