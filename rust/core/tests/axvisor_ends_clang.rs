//! Loops in C, compiled by each clang that is installed: which are shown to end on rbpf, and that they do.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;
mod object_fixtures;

use std::sync::Arc;

use axebpf_core::axvisor::{HelperLayer, Rbpf};
use axebpf_core::map::{MapSet, create};
use axebpf_core::object::Object;
use engine_support::{Lab, told};
use object_fixtures::{clangs, compile};

const LIMIT: u64 = 1 << 20;
const CONTEXT: usize = 64;

/// Whose bound is in data that the program reads: the counter of one, and the number that the other halves.
const NOT_SHOWN: [&str; 2] = ["unbounded", "log2_unbounded"];

#[test]
fn loops_with_constant_bounds_are_taken_and_need_no_more_than_is_said() {
    for clang in clangs() {
        for cpu in ["v1", "v2", "v3"] {
            let object = Object::parse(&compile(clang, "loops.c", &[&format!("-mcpu={cpu}")]), "loops.c").unwrap();
            let maps: Vec<_> = object.maps.iter().map(|map| create(map.spec().unwrap(), 1).unwrap()).collect();
            assert_eq!(object.programs.len(), 14);
            for found in &object.programs {
                let program = found.program.as_ref().unwrap_or_else(|error| panic!("{error}"));
                let maps: Vec<_> = program
                    .maps
                    .iter()
                    .map(|name| maps.iter().find(|map| map.spec().name == *name).unwrap().clone())
                    .collect();
                let place = format!("{clang} -mcpu={cpu}: {}", found.name);
                let back = program.insns.iter().any(|insn| insn.code & 7 >= 5 && insn.code != 0x85 && insn.off < 0);
                assert!(back, "{place} has no loop any more");
                let load = |budget| {
                    let rbpf = Rbpf { helpers: HelperLayer::Linux, budget: Some(budget) };
                    rbpf.load(Arc::new(program.clone()), MapSet(maps.clone())).map_err(|error| error.to_string())
                };
                if NOT_SHOWN.contains(&found.name.as_str()) {
                    let said = load(LIMIT).err().unwrap_or_else(|| panic!("{place} is taken"));
                    assert!(said.contains("cannot be shown to end") && said.contains("no constant"), "{place}: {said}");
                    continue;
                }

                // The interpreter counts, on contexts of many kinds; rbpf comes to the same where nothing is kept in maps.
                let mut most = 0;
                for seed in 0..64_u8 {
                    let bytes: Vec<u8> = (0..CONTEXT as u8).map(|n| n.wrapping_mul(seed).wrapping_add(seed)).collect();
                    let run = |runnable: Option<_>| {
                        let mut lab = Lab::load(program.clone(), &maps, CONTEXT).unwrap();
                        lab.runnable = runnable.unwrap_or(lab.runnable);
                        lab.put(&bytes);
                        lab.run()
                    };
                    let counted = run(None);
                    most = most.max(counted.instructions);
                    let on_rbpf = run(Some(load(LIMIT).unwrap_or_else(|error| panic!("{place}: {error}"))));
                    if maps.is_empty() {
                        assert_eq!(told(&on_rbpf), told(&counted), "{place}");
                    }
                }
                assert!(load(most - 1).is_err(), "{place} needs {most}, and fewer are said to be enough");
            }
        }
    }
}
