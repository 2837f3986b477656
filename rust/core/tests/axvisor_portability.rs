//! The report on target axvisor: it finds every row of the table of gaps in the row's own program, agrees with what the
//! target refuses, and says nothing of programs that have nothing of it.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;

use std::path::Path;
use std::sync::Arc;

use axebpf_core::axvisor::{Effect, GAPS, Gap, GapMap, Shown, findings};
use axebpf_core::bench::{Bench, ByHand, Options, Target};
use axebpf_core::isa::{Insn, assemble};
use axebpf_core::map::{MapKind, MapSpec};
use axebpf_core::portability::{Finding, Maps, Verdict};
use axebpf_core::program::{Program, ProgramType};
use random::Random;

const BUDGET: u64 = 1 << 24;

fn spec((kind, key_size, value_size, max_entries): GapMap) -> MapSpec {
    MapSpec { name: "MAP".into(), kind, key_size, value_size, max_entries, flags: 0, extra: 0 }
}

fn report(insns: Vec<Insn>, program_type: &str, map: Option<GapMap>) -> Vec<Finding> {
    let map = map.map(spec);
    let program = Program {
        name: "program".into(),
        section: String::new(),
        program_type: ProgramType::from_name(program_type),
        target: None,
        insns,
        maps: map.iter().map(|map| map.name.clone()).collect(),
        subprograms: Vec::new(),
        lines: Vec::new(),
        license: "GPL".into(),
    };
    let maps = Maps { slots: map.iter().map(Some).collect(), all: map.iter().collect() };
    findings(&Arc::new(program), &maps, Some(BUDGET))
}

fn of(text: &str, program_type: &str, map: Option<GapMap>) -> Vec<Finding> {
    report(assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}")), program_type, map)
}

/// Instruction and row of each finding.
fn places(found: &[Finding]) -> Vec<(Option<usize>, &str)> {
    found.iter().map(|finding| (finding.insn, finding.gap.unwrap_or(""))).collect()
}

/// The type that a row's program is of, as where the rows are run.
fn type_of(gap: &Gap) -> &'static str {
    if gap.shown == Shown::Event || gap.name == "read-only context" { "tracepoint" } else { "mem" }
}

#[test]
fn every_row_is_found_in_its_own_program() {
    for gap in GAPS {
        let found = of(gap.asm, type_of(gap), gap.map);
        let row = found.iter().find(|finding| finding.gap == Some(gap.name));
        let row = row.unwrap_or_else(|| panic!("{}: {found:?}", gap.name));
        assert_eq!(row.effect, gap.effect, "{}", gap.name);
        assert_eq!(row.instead, gap.instead, "{}", gap.name);
        assert!(gap.insn.is_some() || gap.sign.is_some(), "{}", gap.name);
    }
}

#[test]
fn a_row_is_found_at_its_instruction() {
    let hash = Some((MapKind::Hash, 4, 8, 1));
    let key = "*(u32 *)(r10 -4) = 7\nr1 = map[0]\nr2 = r10\nr2 += -4\n";
    // A pointer that was spilled, moved and handed to a function.
    let text = format!(
        "{key}call bpf_map_lookup_elem#1\nif r0 == 0 goto out\n*(u64 *)(r10 -16) = r0\nr1 = *(u64 *)(r10 -16)\nr1 += 4\n\
         call f\nout:\nr0 = 0\nexit\nf:\n*(u32 *)(r1 +0) = 1\nr0 = 0\nexit"
    );
    assert_eq!(places(&of(&text, "axvisor", hash)), [(Some(13), "store through a looked-up value")]);
    // What a function returns.
    let text = format!(
        "call f\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 +0)\nr1 += 1\n*(u64 *)(r0 +0) = r1\nout:\nr0 = 0\nexit\nf:\n\
         {key}call bpf_map_lookup_elem#1\nexit"
    );
    assert_eq!(places(&of(&text, "axvisor", hash)), [(Some(4), "store through a looked-up value")]);
    // A pointer in a structure of the caller's.
    let text = format!(
        "{key}call bpf_map_lookup_elem#1\n*(u64 *)(r10 -16) = r0\nr1 = r10\nr1 += -16\ncall f\nr0 = 0\nexit\nf:\n\
         r2 = *(u64 *)(r1 +0)\nif r2 == 0 goto out\n*(u64 *)(r2 +0) = 1\nout:\nr0 = 0\nexit"
    );
    assert_eq!(places(&of(&text, "axvisor", hash)), [(Some(14), "store through a looked-up value")]);
}

#[test]
fn the_context_is_followed_and_that_of_axvisor_is_as_it_is_there() {
    let text =
        "r6 = r1\ncall bpf_ktime_get_ns#5\n*(u64 *)(r10 -8) = r6\nr1 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r1 +16)\nexit";
    for of_type in ["tracepoint", "raw_tracepoint", "kprobe"] {
        assert_eq!(places(&of(text, of_type, None)), [(Some(4), "record of a tracepoint")], "{of_type}");
    }
    assert!(of(text, "axvisor", None).is_empty());
    let read = "r3 = r1\nr1 = r10\nr1 += -8\nr2 = 8\ncall bpf_probe_read_kernel#113\nr0 = 0\nexit";
    let found = of(read, "tracepoint", None);
    assert_eq!(places(&found), [(Some(4), "bpf_probe_read of a bad address"), (Some(4), "record of a tracepoint")]);
}

#[test]
fn results_that_only_tell_success_from_failure_are_as_on_linux() {
    let hash = Some((MapKind::Hash, 4, 8, 1));
    let update = "*(u64 *)(r10 -8) = 7\nr1 = map[0]\nr2 = r10\nr2 += -8\nr3 = r2\nr4 = 0\ncall bpf_map_update_elem#2\n";
    for told in [
        "if r0 == 0 goto +0\nr0 = 0\nexit",
        "if w0 s< 0 goto +0\nr0 = 0\nexit",
        "r0 <<= 32\nr0 s>>= 32\nif r0 s> -1 goto +0\nr0 = 0\nexit",
        "w0 >>= 31\nexit",
        "*(u32 *)(r10 -12) = r0\nr1 = *(u32 *)(r10 -12)\nif w1 != 0 goto +0\nr0 = 0\nexit",
    ] {
        assert_eq!(of(&format!("{update}{told}"), "axvisor", hash), [], "{told}");
    }
    for (told, at) in [
        ("exit", 8),
        ("if w0 == -17 goto +0\nr0 = 0\nexit", 8),
        ("r0 = -r0\nr0 = 0\nexit", 8),
        ("r6 = r0\nr0 = 0\nr6 += 3\nexit", 10),
        ("*(u64 *)(r10 -16) = r0\nr2 = r10\nr2 += -16\nr1 = map[0]\ncall bpf_map_lookup_elem#1\nr0 = 0\nexit", 13),
    ] {
        let found = of(&format!("{update}{told}"), "axvisor", hash);
        assert_eq!(places(&found), [(Some(at), "hash full"), (Some(at), "errno of a helper")], "{told}");
    }
}

#[test]
fn an_update_that_cannot_fail_has_no_errno() {
    let update = |index: u32, flags: i32| {
        let text = format!(
            "*(u32 *)(r10 -4) = {index}\n*(u64 *)(r10 -16) = 1\nr1 = map[0]\nr2 = r10\nr2 += -4\nr3 = r10\nr3 += -16\n\
             r4 = {flags}\ncall bpf_map_update_elem#2\nexit"
        );
        of(&text, "axvisor", Some((MapKind::Array, 4, 8, 4)))
    };
    assert_eq!(update(3, 0), []);
    let rows = |found: Vec<Finding>| found.iter().map(|f| f.gap.unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(rows(update(4, 0)), ["array index out of range", "errno of a helper"]);
    assert_eq!(rows(update(3, 1)), ["errno of a helper"]);
    assert_eq!(rows(update(3, 3)), ["unknown flags of an array", "errno of a helper"]);
}

#[test]
fn a_divisor_that_was_tested_is_not_zero() {
    let divide =
        |test: &str| of(&format!("r1 = *(u32 *)(r1 +0)\n{test}r0 = -1\nw0 %= w1\nout:\nr0 = 0\nexit"), "axvisor", None);
    assert_eq!(places(&divide("")), [(Some(2), "32-bit remainder by zero")]);
    assert_eq!(divide("if w1 == 0 goto out\n"), []);
    assert_eq!(of("r0 = -1\nw0 %= 10\nr0 = 0\nexit", "axvisor", None), []);
}

#[test]
fn ways_that_meet_are_joined_and_loops_end() {
    let hash = Some((MapKind::Hash, 4, 8, 1));
    let text = "r7 = r1\nr6 = r10\nr6 += -8\nif r1 == 0 goto l\nr1 = map[0]\nr2 = r6\ncall bpf_map_lookup_elem#1\nr6 = r0\n\
                l:\n*(u64 *)(r6 +0) = 1\nr6 += 8\nr7 += 1\nif r7 != 0 goto l\nr0 = 0\nexit";
    let found = of(text, "axvisor", hash);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(places(&found)[0], (Some(9), "store through a looked-up value"));
    assert!(found[1].insn == Some(12) && found[1].reason.starts_with("a loop"), "{found:?}");
}

#[test]
fn values_looked_up_before_a_change_of_another_map_are_as_they_were() {
    let specs = ["A", "B"].map(|name| MapSpec { name: name.into(), ..spec((MapKind::Hash, 4, 8, 4)) });
    let told = |changed: u8| {
        let text = format!(
            "*(u64 *)(r10 -8) = 7\nr1 = map[0]\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem#1\nr6 = r0\nr1 = map[{changed}]\n\
             r2 = r10\nr2 += -8\ncall bpf_map_delete_elem#3\nif r6 == 0 goto +1\nr0 = *(u64 *)(r6 +0)\nr0 = 0\nexit"
        );
        let program = Program {
            name: "program".into(),
            section: String::new(),
            program_type: Some(ProgramType::Axvisor),
            target: None,
            insns: assemble(&text).unwrap(),
            maps: specs.iter().map(|map| map.name.clone()).collect(),
            subprograms: Vec::new(),
            lines: Vec::new(),
            license: "GPL".into(),
        };
        let maps = Maps { slots: specs.iter().map(Some).collect(), all: specs.iter().collect() };
        let found = findings(&Arc::new(program), &maps, Some(BUDGET));
        places(&found).into_iter().map(|(insn, row)| (insn, row.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(told(0), [(Some(13), "value looked up before an update".to_owned())]);
    assert_eq!(told(1), []);
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn the_report_refuses_what_the_target_refuses_and_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/isa");
    let mut programs: Vec<(String, Vec<u8>, Option<GapMap>)> = Vec::new();
    for gap in GAPS {
        let code = assemble(gap.asm).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
        programs.push((gap.name.to_owned(), code, gap.map));
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            for vector in file["vectors"].as_array().unwrap() {
                let name = vector["name"].as_str().unwrap().to_owned();
                programs.push((name, from_hex(vector["code"].as_str().unwrap()), None));
            }
        }
    }
    // And instructions at random, of those that a way can be found through.
    let mut random = Random(5);
    for number in 0..2000 {
        let mut code = Vec::new();
        for _ in 0..random.below(24) {
            let codes =
                [0x07, 0x0f, 0x18, 0x55, 0x61, 0x63, 0x67, 0x7a, 0x7b, 0x79, 0x85, 0x95, 0xb4, 0xb7, 0xbc, 0xbf, 0xc5];
            let insn = Insn {
                code: random.pick(&codes),
                dst: random.below(11) as u8,
                src: random.below(11) as u8 * u8::from(random.below(4) > 0),
                off: random.below(7) as i16 * random.pick(&[1, -8, 1 << 12]),
                imm: random.pick(&[0, 1, 2, 3, 4, 6, -8, 32, i32::MIN, i32::MAX]),
            };
            code.extend(insn.to_bytes());
        }
        code.extend(assemble("r0 = 0\nexit").unwrap().into_iter().flat_map(Insn::to_bytes));
        programs.push((format!("random {number}"), code, None));
    }
    let mut counts = [0, 0];
    for (name, code, map) in programs {
        let insns = code.chunks_exact(8).map(|slot| Insn::from_bytes(slot.try_into().unwrap())).collect();
        let found = report(insns, "mem", map);
        let bench = Bench::new(Options { target: Target::Axvisor, budget: BUDGET, ..Options::default() }).unwrap();
        let maps = map.map(|map| bench.create_map(spec(map)));
        let loaded = match maps {
            Some(Err(error)) => Err(error),
            maps => {
                let maps: Vec<(i32, usize)> = maps.into_iter().map(|map| (0, map.unwrap())).collect();
                bench.load_bytes("program", &code, "mem", "GPL", &maps)
            }
        };
        let refused = Verdict::of(&found) == Verdict::Refused;
        assert_eq!(refused, loaded.is_err(), "{name}: {found:#?}\n{loaded:?}");
        if let Ok(index) = loaded {
            assert_eq!(bench.portability(index, Target::Axvisor).unwrap(), found, "{name}");
        }
        counts[usize::from(refused)] += 1;
    }
    assert!(counts[0] > 300 && counts[1] > 100, "{counts:?}");
}

#[test]
fn a_program_that_cannot_be_followed_is_unknown() {
    // Two functions that run into each other.
    let text = "call f\ncall g\nexit\nf:\nif r1 == 0 goto in\nr0 = 0\nexit\ng:\nr0 = 0\nin:\nr0 = 1\nexit";
    let found = of(text, "axvisor", None);
    assert_eq!(Verdict::of(&found), Verdict::Unknown, "{found:?}");
    assert!(found[0].reason.starts_with("it jumps from one function into another"));
    // One after another, functions whose ways fork at each instruction.
    let many = "if r1 == 0 goto +0\n".repeat(40_000) + "r0 = 0\nexit";
    let found = of(&many, "axvisor", None);
    assert!(found.iter().any(|f| f.effect == Effect::Unknown && f.reason.starts_with("it is too large")), "{found:?}");
}

/// A program of pieces chosen at random, all of which a verifier would take: look-ups, updates and deletes in `map[0]`,
/// and what can be done with their results. r6 and r7 are numbers, r8 is a looked-up value or 0.
fn pieces(random: &mut Random) -> String {
    let mut text = "r6 = 1\nr7 = 2\nr8 = 0\n*(u64 *)(r10 -24) = 0\n".to_owned();
    for label in 0..=random.below(8) {
        let key = random.below(2);
        let at_key = format!("*(u32 *)(r10 -4) = {key}\nr1 = map[0]\nr2 = r10\nr2 += -4\n");
        let flags = random.pick(&[0, 0, 0, 1, 2, 3]);
        let value = format!("*(u64 *)(r10 -16) = r6\nr3 = r10\nr3 += -16\nr4 = {flags}\n");
        let result = random.pick(&[
            "",
            "",
            "",
            "",
            "if r0 == 0 goto +1\nr6 += 1\n",
            "if w0 s>= 0 goto +1\nr6 += 1\n",
            "r0 <<= 32\nr0 s>>= 63\nr6 ^= r0\n",
            "*(u64 *)(r10 -32) = r0\nr1 = *(u64 *)(r10 -32)\nr6 ^= r1\n",
            "w7 = w0\n",
            "if r0 == -17 goto +1\nr6 += 2\n",
        ]);
        let found = random.pick(&["r7 = *(u64 *)(r0 +0)\n", "r8 = r0\n", "r8 = r0\n", "*(u64 *)(r0 +0) = r6\n"]);
        let held = random.pick(&[
            "r7 = *(u64 *)(r8 +0)\n",
            "r6 = *(u32 *)(r8 +0)\n",
            "*(u64 *)(r10 -24) = r8\n",
            "*(u32 *)(r8 +4) = r7\n",
        ]);
        text += &match random.below(7) {
            0 | 1 => format!("{at_key}call bpf_map_lookup_elem#1\nif r0 == 0 goto l{label}\n{found}l{label}:\n"),
            2 => format!("{at_key}{value}call bpf_map_update_elem#2\n{result}"),
            3 => format!("{at_key}call bpf_map_delete_elem#3\n{result}"),
            4 => format!("if r8 == 0 goto l{label}\n{held}l{label}:\n"),
            5 => "r8 = *(u64 *)(r10 -24)\n".to_owned(),
            _ => {
                random.pick(&["w6 %= w7\n", "r6 += -3\n", "r7 = (s8)r6\n", "if r6 > -5 goto +1\nr7 += 1\n"]).to_owned()
            }
        };
    }
    text + "r0 = r6\nr0 ^= r7\nexit"
}

/// What a program comes to: r0 of two runs, or that one was stopped, and the values in the map; or why it is not loaded.
type Outcome = Result<(Vec<Option<u64>>, Vec<u8>), String>;

fn comes_to(text: &str, map: GapMap, target: Target) -> Outcome {
    let bench = Bench::new(Options { target, ..Options::default() }).unwrap();
    let code: Vec<u8> = assemble(text).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    let created = bench.create_map(spec(map)).unwrap();
    let program = bench.load_bytes("program", &code, "axvisor", "GPL", &[(0, created)]).map_err(|e| e.to_string())?;
    let run = || bench.run_program(program, &mut [0; 64], ByHand::default(), None).unwrap().result.ok();
    let results = vec![run(), run()];
    let mut entries = Vec::new();
    for key in 0..4_u32 {
        let mut value = Vec::new();
        let _missing = bench.map(created).unwrap().lookup_user(&key.to_le_bytes(), 0, &mut value);
        entries.push(value);
    }
    Ok((results, entries.concat()))
}

#[test]
fn programs_that_run_come_to_the_same_on_both_targets() {
    let mut random = Random(7);
    let (mut runs, mut differ) = (0, 0);
    for _ in 0..3000 {
        let kind = random.pick(&[MapKind::Hash, MapKind::LruHash, MapKind::Array]);
        let map = (kind, 4, 8, random.pick(&[1, 2, 4]));
        let text = pieces(&mut random);
        let verdict = Verdict::of(&of(&text, "axvisor", Some(map)));
        let [linux, axvisor] = [Target::Linux, Target::Axvisor].map(|target| comes_to(&text, map, target));
        assert_ne!(verdict, Verdict::Refused, "{axvisor:?}\n{text}");
        if linux != axvisor {
            assert_eq!(verdict, Verdict::Differs, "{map:?}: {linux:?}, {axvisor:?}\n{text}");
            differ += 1;
        }
        runs += usize::from(verdict == Verdict::Runs);
    }
    assert!(runs > 300 && differ > 300, "{runs} run, {differ} differ");
}
