//! A build without the feature `axvisor` says so, and how to get it.
#![cfg(not(feature = "axvisor"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axebpf_core::bench::{Bench, BenchError, EngineKind, MapLibrary, Options, Target};
use axebpf_core::portability::Verdict;

#[test]
fn what_is_not_built_is_refused_by_name() {
    let cases = [
        (Options { target: Target::Axvisor, ..Options::default() }, "the target axvisor is not in this build"),
        (Options { engine: EngineKind::Rbpf, ..Options::default() }, "the engine rbpf is not in this build"),
        (Options { maps: MapLibrary::Kbpf, ..Options::default() }, "the map library kbpf-basic is not in this build"),
    ];
    for (options, expected) in cases {
        let Err(error) = Bench::new(options) else { panic!("{expected}") };
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(error.to_string().contains("--features axvisor"), "{error}");
        assert!(matches!(error, BenchError::NotBuilt { .. }));
    }
}

#[test]
fn a_report_on_axvisor_says_that_it_is_not_built() {
    let bench = Bench::new(Options::default()).unwrap();
    let exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
    let program = bench.load_bytes("program", &exit, "axvisor", "GPL", &[]).unwrap();
    let found = bench.portability(program, Target::Axvisor).unwrap();
    assert_eq!(Verdict::of(&found), Verdict::Unknown);
    assert!(found[0].reason.contains("--features axvisor"), "{found:?}");
}
