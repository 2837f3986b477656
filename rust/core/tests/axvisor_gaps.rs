//! The table of gaps: every row is there, on both sides.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axebpf_core::axvisor::{Effect, GAPS, Gap, Part, Shown};
use axebpf_core::bench::{Bench, BenchError, ByHand, EngineKind, MapLibrary, Options, Target};
use axebpf_core::event::{FieldSpec, Role, TracepointSpec, Value};
use axebpf_core::isa::{Insn, assemble};
use axebpf_core::map::MapSpec;

const BYTES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

fn exit_tracepoint() -> TracepointSpec {
    let fields = [("vm_id", "u32"), ("vcpu_id", "u32"), ("exit_reason", "u32"), ("duration_ns", "u64")];
    let field = |(name, ty): (&str, &str)| FieldSpec {
        role: if name == "duration_ns" { Role::Duration } else { Role::None },
        ..FieldSpec::new(name, ty.parse().unwrap())
    };
    TracepointSpec::new("vmm:vcpu_run_exit", 21, fields.map(field).to_vec()).unwrap()
}

/// What the row's program comes to on a bench: a number, or the error.
fn told(gap: &Gap, options: Options) -> String {
    run(gap, options).unwrap_or_else(|error| error.to_string())
}

fn run(gap: &Gap, options: Options) -> Result<String, BenchError> {
    let bench = Bench::new(options)?;
    let tracepoint = bench.define(exit_tracepoint())?;
    let mut maps = Vec::new();
    if let Some((kind, key_size, value_size, max_entries)) = gap.map {
        let spec = MapSpec { name: "MAP".into(), kind, key_size, value_size, max_entries, flags: 0, extra: 0 };
        maps.push((0, bench.create_map(spec)?));
    }
    let insns = assemble(gap.asm).unwrap_or_else(|error| panic!("{}: {error}\n{}", gap.name, gap.asm));
    let code: Vec<u8> = insns.into_iter().flat_map(Insn::to_bytes).collect();
    let read_only = gap.shown == Shown::Event || gap.name == "read-only context";
    let program_type = if read_only { "tracepoint" } else { "mem" };
    let program = bench.load_bytes("gap", &code, program_type, "GPL", &maps)?;
    let value = match gap.shown {
        Shown::Result => bench.run_program(program, &mut BYTES.clone(), ByHand::default(), None)?.result?,
        Shown::Event => {
            bench.attach(tracepoint, program, 0)?;
            let spec = tracepoint.spec();
            let mut record = vec![0; spec.record_size()];
            spec.encode(0, &[1, 2, 3, 400].map(Value::Int), &mut record)?;
            let stamp = bench.stamp(Some(5000), None).map_err(|error| *error)?;
            bench.fire(tracepoint, &stamp, &record).map_err(|error| *error)?;
            let mut value = Vec::new();
            bench.map(maps[0].1).unwrap().lookup_user(&[0; 4], 0, &mut value)?;
            u64::from_le_bytes(value.try_into().unwrap())
        }
    };
    Ok(format!("{value:#x}"))
}

/// The bench that shows a gap of this part alone.
fn gap_side(part: Part) -> Options {
    let linux = Options::default();
    match part {
        Part::Vm => Options { engine: EngineKind::Rbpf, ..linux },
        Part::Maps => Options { maps: MapLibrary::Kbpf, ..linux },
        Part::Helpers | Part::Loader | Part::Context => Options { target: Target::Axvisor, ..linux },
    }
}

fn is(told: &str, expected: &str) -> bool {
    if expected.starts_with("0x") { told == expected } else { told.contains(expected) }
}

#[test]
fn every_gap_of_the_table_is_there() {
    let mut wrong = Vec::new();
    for gap in GAPS {
        let (linux, axvisor) = (told(gap, Options::default()), told(gap, gap_side(gap.part)));
        if !is(&linux, gap.on_linux) {
            wrong.push(format!("{}: on Linux {linux}, not {}", gap.name, gap.on_linux));
        }
        if !is(&axvisor, gap.on_axvisor) {
            wrong.push(format!("{}: on AxVisor {axvisor}, not {}", gap.name, gap.on_axvisor));
        }
        assert_ne!(gap.on_linux, gap.on_axvisor, "{}", gap.name);
        let refused = !gap.on_axvisor.starts_with("0x") && told_at_load(gap);
        if (gap.effect == Effect::Refused) != refused {
            wrong.push(format!("{}: {:?}, but {axvisor}", gap.name, gap.effect));
        }
        for text in [gap.what, gap.linux, gap.axvisor, gap.version] {
            assert!(!text.is_empty(), "{}", gap.name);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), GAPS.len(), wrong.join("\n"));
}

/// Whether the program, or its map, is refused rather than stopped.
fn told_at_load(gap: &Gap) -> bool {
    !matches!(run(gap, gap_side(gap.part)), Err(BenchError::Fault(_)) | Ok(_))
}

#[test]
fn gaps_of_the_vm_and_the_maps_are_there_on_the_whole_target_too() {
    // Programs of the target get another context and other errnos, so only those are compared that need neither.
    for gap in GAPS.iter().filter(|gap| matches!(gap.part, Part::Vm) && gap.name != "length of memory in r2") {
        let on_target = told(gap, Options { target: Target::Axvisor, ..Options::default() });
        assert!(is(&on_target, gap.on_axvisor), "{}: {on_target}", gap.name);
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = GAPS.iter().map(|gap| gap.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}
