//! Damaged objects: thousands of deterministic mutations of three real ones must give an error or an object that keeps
//! its promises, and never a panic.
//!
//! The objects are `object_sources/*.c` by clang 19:
//! `clang-19 -O2 -g -target bpf -fdebug-compilation-dir=. -c globals.c`, then `llvm-strip-19 -g`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;
mod random;

use axebpf_core::object::Object;
use object_fixtures::promises::check;
use random::Random;

const OBJECTS: [(&str, &[u8]); 3] = [
    ("globals.bpf.o", include_bytes!("object_files/globals.bpf.o")),
    ("map_in_map.bpf.o", include_bytes!("object_files/map_in_map.bpf.o")),
    ("callbacks.bpf.o", include_bytes!("object_files/callbacks.bpf.o")),
];
const MUTANTS: usize = 4000;

/// Numbers that readers get wrong.
const EXTREMES: [u64; 10] =
    [0, 1, 7, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];

fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    let mut below = |limit: usize| random.below(limit as u64) as usize;
    let at = below(data.len());
    match below(8) {
        0 => data.truncate(at),
        1..=3 => data[at] ^= 1 << below(8),
        4 | 5 => {
            let width = 1 << below(4);
            let value = EXTREMES[below(EXTREMES.len())].to_le_bytes();
            let at = (at & !(width - 1)).min(data.len() - width);
            data[at..at + width].copy_from_slice(&value[..width]);
        }
        6 => {
            let from = below(data.len());
            let len = below(64).min(data.len() - at).min(data.len() - from);
            data.copy_within(from..from + len, at);
        }
        _ => {
            // The headers and relocations at the end decide most; aim there.
            let tail = data.len() - data.len().min(1 + below(2048));
            data[tail] = below(256) as u8;
        }
    }
    if data.len() < 16 {
        data.resize(16, 0);
    }
}

#[test]
fn damaged_objects_are_refused_or_sound() {
    for (name, original) in OBJECTS {
        let (mut refused, mut partly, mut accepted) = (0, 0, 0);
        for seed in 0..MUTANTS {
            let mut random = Random(seed as u64);
            let mut data = original.to_vec();
            (0..1 + seed % 4).for_each(|_| mutate(&mut data, &mut random));
            let outcome = std::panic::catch_unwind(|| {
                let object = Object::parse(&data, name);
                if let Ok(object) = &object {
                    check(object);
                }
                object.map(|object| object.programs.iter().all(|program| program.program.is_ok()))
            });
            match outcome {
                Ok(Err(error)) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
                Ok(Ok(false)) => partly += 1,
                Ok(Ok(true)) => accepted += 1,
                Err(_) => panic!("{name}, mutant {seed}"),
            }
        }
        // Mutations that all miss, or all break the header, would test nothing.
        assert!(refused > 400 && partly > 50 && accepted > 400, "{name}: {refused} {partly} {accepted}");
    }
}
