//! Loops on rbpf: which are shown to end, with how many instructions, and what is said of those that are not.
#![cfg(feature = "axvisor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;

use std::sync::Arc;

use axebpf_core::axvisor::{HelperLayer, Rbpf};
use axebpf_core::map::{Map, MapKind, MapSet};
use engine_support::{assemble, map, program};

const LIMIT: u64 = 1 << 24;

fn load(text: &str, helpers: HelperLayer, budget: u64) -> Result<(), String> {
    let maps: [Arc<dyn Map>; 1] = [map("M", MapKind::Array, 4, 64, 4, 0)];
    let program = Arc::new(program(assemble(text), &maps));
    let loaded = Rbpf { helpers, budget: Some(budget) }.load(program, MapSet(maps.to_vec()));
    loaded.map(|_| ()).map_err(|error| error.to_string())
}

/// That it is taken, and needs so many instructions.
#[track_caller]
fn takes(text: &str, instructions: u64) {
    for helpers in [HelperLayer::Linux, HelperLayer::Axvisor] {
        assert_eq!(load(text, helpers, instructions), Ok(()), "{text}");
        let told = load(text, helpers, instructions - 1).expect_err(text);
        assert!(told.contains("the limit"), "{told}\n{text}");
    }
}

/// What is said of a program that is not taken.
fn told(text: &str) -> String {
    load(text, HelperLayer::Linux, LIMIT).expect_err(text)
}

#[test]
fn a_counter_ends_a_loop_as_rbpf_counts_and_compares() {
    let cases = [
        // Up, down, by more than one, by doubling; a register as bound.
        ("r1 = 0\na:\nr1 += 1\nif r1 != 16 goto a\nr0 = 0\nexit", 1 + 2 * 16 + 2),
        ("r1 = 16\na:\nr1 -= 1\nif r1 s> -1 goto a\nr0 = 0\nexit", 1 + 2 * 17 + 2),
        ("r1 = 1\nr2 = 100\na:\nr1 *= 2\nif r1 < r2 goto a\nr0 = 0\nexit", 2 + 2 * 7 + 2),
        (
            "r1 = -64\na:\nr1 s>>= 1\nif r1 != -1 goto b\nr0 = 0\nexit\nb:\nif r1 s< -2 goto a\nr0 = 0\nexit",
            1 + 3 * 5 + 2,
        ),
        // 32 bits that wrap around.
        ("w1 = -4\na:\nw1 += 1\nif w1 != 0 goto a\nr0 = 0\nexit", 1 + 2 * 4 + 2),
        // The test comes first, and the way out is a jump.
        ("r1 = 0\na:\nif r1 == 3 goto b\nr1 += 1\ngoto a\nb:\nr0 = 0\nexit", 1 + 3 * 3 + 1 + 2),
        // 64 bits against a negative constant: rbpf clears its upper half, so that this is left at once.
        ("r1 = -3\na:\nr1 += 1\nif r1 < -1 goto a\nr0 = 0\nexit", 1 + 2 + 2),
        // A remainder by zero leaves the upper half, and a sign-extending move only moves.
        (
            "r1 = 0x100000002 ll\nr2 = 0\nw1 %= w2\nr1 >>= 32\na:\nr1 -= 1\nif r1 s>= 0 goto a\nr0 = 0\nexit",
            4 + 2 * 2 + 2,
        ),
        ("r1 = 0x80\nr1 = (s8)r1\na:\nr1 -= 0x40\nif r1 != 0 goto a\nr0 = 0\nexit", 2 + 2 * 2 + 2),
        // Signed division divides as an unsigned one there.
        ("r1 = -8\na:\nr1 s/= 2\nif r1 s< 0 goto a\nr0 = 0\nexit", 1 + 2 + 2),
    ];
    for (text, instructions) in cases {
        takes(text, instructions);
    }
}

#[test]
fn loops_within_loops_and_functions_are_multiplied() {
    takes(
        "r1 = 0\na:\nr2 = 0\nb:\nr2 += 1\nif r2 != 5 goto b\nr1 += 1\nif r1 != 3 goto a\nr0 = 0\nexit",
        1 + 3 * (1 + 5 * 2 + 2) + 2,
    );
    // r6 to r9 are the caller's again when a function ends, and the function has its own frame.
    let text = "r6 = 0\n*(u64 *)(r10 -8) = 3\na:\ncall f\nr6 += 1\nr1 = *(u64 *)(r10 -8)\nif r6 != r1 goto a\nr0 = 0\nexit\n\
                f:\nr6 = 2\n*(u64 *)(r10 -8) = 1\ng:\nr6 -= 1\nif r6 != 0 goto g\nr0 = 0\nexit";
    takes(text, 2 + 3 * (4 + 2 + 2 * 2 + 2) + 2);
    // A function that says how to go on.
    takes("r1 = 0\na:\ncall f\nr1 = r0\nif r1 != 4 goto a\nexit\nf:\nr0 = r1\nr0 += 1\nexit", 1 + 4 * 6 + 1);
}

#[test]
fn a_counter_in_the_stack_is_known_until_something_may_store_over_it() {
    let count = |between: &str| {
        format!(
            "*(u32 *)(r10 -4) = 0\nr6 = r1\na:\n{between}\nr1 = *(u32 *)(r10 -4)\nr1 += 1\n*(u32 *)(r10 -4) = r1\n\
             if r1 != 8 goto a\nr0 = 0\nexit"
        )
    };
    // What is stored beside it, and what looks up by it.
    let lookup = "r1 = map[0]\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem";
    takes(&count("*(u32 *)(r10 -8) = 7"), 2 + 8 * 5 + 2);
    takes(&count(lookup), 2 + 8 * 8 + 2);
    takes(&count("call bpf_ktime_get_ns"), 2 + 8 * 5 + 2);
    takes(&count(&format!("{lookup}\nif r0 == 0 goto +1\n*(u64 *)(r0 +56) = 1")), 2 + 8 * 10 + 2);
    takes(
        &count("r2 = r10\nr2 += -16\n*(u64 *)(r10 -24) = r2\nr3 = *(u64 *)(r10 -24)\n*(u64 *)(r3 +0) = 1"),
        2 + 8 * 9 + 2,
    );
    let lost = [
        // A store to what may be anywhere, or beyond a value.
        "*(u8 *)(r6 +0) = 1".to_owned(),
        "r2 = *(u64 *)(r6 +0)\n*(u64 *)(r2 +0) = 1".to_owned(),
        format!("{lookup}\nif r0 == 0 goto +1\n*(u64 *)(r0 +60) = 1"),
        format!("{lookup}\nif r0 == 0 goto +1\n*(u64 *)(r0 -8) = 1"),
        // A store over it: at a known place, from a helper, from a function.
        "*(u64 *)(r10 -11) = r6".to_owned(),
        "r1 = r10\nr1 += -4\nr2 = 4\nr3 = r6\ncall bpf_probe_read".to_owned(),
        "call x#65536".to_owned(),
    ];
    for between in lost {
        let said = told(&count(&between));
        assert!(said.contains("tests r1, which is no constant here"), "{said}\n{between}");
    }
    let said = told(&format!("{}\nf:\n*(u8 *)(r1 +0) = 1\nexit", count("r1 = r10\nr1 += -4\ncall f")));
    assert!(said.contains("it comes back here with everything as it was"), "{said}");
}

#[test]
fn what_a_helper_gives_is_not_what_was_in_r0_before() {
    let said = told("a:\nr0 = 3\ncall bpf_ktime_get_ns\nif r0 != 3 goto a\nexit");
    assert!(said.contains("tests r0, which is no constant here"), "{said}");
}

#[test]
fn addresses_end_loops_where_they_are_of_the_same_memory() {
    let walk = |from: &str| {
        format!("{from}\nr2 = r1\nr2 += 32\na:\nr3 = *(u8 *)(r1 +0)\nr1 += 8\nif r1 != r2 goto a\nr0 = 0\nexit")
    };
    takes(&walk("r1 += 0"), 3 + 4 * 3 + 2);
    takes(&walk("r1 = r10\nr1 += -32"), 4 + 4 * 3 + 2);
    let lookup = "*(u32 *)(r10 -4) = 1\nr1 = map[0]\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\nr1 = r0";
    takes(&walk(lookup), 8 + 4 * 3 + 2);
    // What the same call gave before is another address.
    let text = format!("r7 = 0\nr6 = 0\na:\n{lookup}\nr1 = r6\nr6 = r0\nif r1 != r6 goto a\nr0 = 0\nexit");
    let said = told(&text);
    assert!(said.contains("tests r1 and r6, which are no constants here"), "{said}");
}

#[test]
fn what_does_not_matter_is_followed_once() {
    // 2^40 sums, or 40 ways out with a number each, none of which a loop tests.
    let sums = "r6 = 0\nr7 = 0\na:\ncall bpf_ktime_get_ns\nif r0 == 0 goto +1\nr7 |= r6\nr7 *= 3\nr6 += 1\n\
                if r6 != 40 goto a\nr0 = r7\nexit";
    takes(sums, 2 + 40 * 6 + 2);
    // Eight times 40 ways out.
    let search = |n: usize| {
        format!(
            "r6 = 0\na{n}:\ncall bpf_ktime_get_ns\nif r0 == 0 goto b{n}\nr6 += 1\nif r6 != 40 goto a{n}\nb{n}:\n\
             *(u64 *)(r10 -{}) = r6\n",
            8 * (n + 1)
        )
    };
    let text = format!("{}r0 = 0\nexit", (0..8).map(search).collect::<String>());
    takes(&text, 8 * (1 + 40 * 4 + 1) + 2);
}

#[test]
fn a_loop_that_is_not_shown_to_end_is_told_with_its_place_and_its_reason() {
    let cases = [
        (
            "r2 = *(u64 *)(r1 +0)\nr3 = 0\na:\nr3 += 1\nif r3 < r2 goto a\nr0 = 0\nexit",
            "instruction 3: a loop (from here control goes back to instruction 2) that cannot be shown to end (instruction \
             3, which could end it, tests r2, which is no constant here",
        ),
        (
            "r2 = *(u64 *)(r1 +0)\nr3 = *(u64 *)(r1 +8)\na:\nif r3 == r2 goto b\nr3 += 1\ngoto a\nb:\nr0 = 0\nexit",
            "instruction 4: a loop (from here control goes back to instruction 2) that cannot be shown to end (instruction \
             2, which could end it, tests r3 and r2, which are no constants here",
        ),
        (
            "r6 = 0\na:\ncall bpf_ktime_get_ns\nif r0 == 0 goto +1\nr6 += 1\nif r6 != 9 goto a\nr0 = 0\nexit",
            "instruction 4: a loop (from here control goes back to instruction 1) that cannot be shown to end (there is a \
             way through it that changes nothing which could end it; instruction 2 tests r0, which is no constant here",
        ),
        (
            "r1 = 0\na:\nr1 += 2\nr1 &= 7\nif r1 != 3 goto a\nr0 = 0\nexit",
            "instruction 3: a loop (from here control goes back to instruction 1) that cannot be shown to end (it comes \
             back here with everything as it was",
        ),
        ("a:\nr0 = 0\ngoto a\nexit", "instruction 1: a loop (from here control goes back to instruction 0)"),
        ("call f\nexit\nf:\nr0 = 0\ng:\ngoto h\nh:\nr0 += 1\ngoto g", "instruction 5: a loop"),
        // The inner loop ends; the outer one is named.
        (
            "r6 = 0\na:\nr2 = 0\nb:\nr2 += 1\nif r2 != 5 goto b\ncall bpf_ktime_get_ns\nif r0 != 0 goto a\nexit",
            "instruction 5: a loop (from here control goes back to instruction 1) that cannot be shown to end (instruction \
             5, which could end it, tests r0",
        ),
        // Its counter is known in each turn, and the inner loop's turns are more.
        (
            "r2 = *(u64 *)(r1 +0)\nr3 = 0\na:\nr4 = 0\nb:\nr4 += 1\nif r4 != 4 goto b\nr3 += 1\nif r3 < r2 goto a\nexit",
            "instruction 6: a loop (from here control goes back to instruction 2) that cannot be shown to end (instruction \
             6, which could end it, tests r2, which is no constant here)",
        ),
    ];
    for (text, start) in cases {
        let said = told(text);
        assert!(said.starts_with(start), "{said}\n{text}");
        assert!(said.contains("nothing stops rbpf, AxVisor's VM, once it runs"), "{said}");
        assert!(said.contains("#pragma unroll") && said.contains("axebpf exec --engine rbpf"), "{said}");
    }
}

#[test]
fn loops_that_are_too_long_are_told_with_the_limit() {
    let turns = |n: u32| format!("r1 = 0\na:\nr1 += 1\nif r1 != {n} goto a\nr0 = 0\nexit");
    takes(&turns(100_000), 200_003);
    let said = load(&turns(1000), HelperLayer::Linux, 500).unwrap_err();
    let expected = "instruction 2: a loop (from here control goes back to instruction 1; 249 times so far) with which the program may need more \
                    than 500 instructions for one run";
    assert!(said.starts_with(expected), "{said}");
    let said = told(&turns(100_000_000));
    assert!(
        said.starts_with("instruction 2: a loop (from here control goes back to instruction 1; ")
            && said.contains("of too many turns"),
        "{said}"
    );
}

#[test]
fn too_many_ways_through_a_body_are_told_of_its_loop_before_its_first_turn() {
    let mut text = "r6 = 0\na:\n".to_owned();
    for k in 0..39 {
        text += &format!("r8 = *(u8 *)(r1 +0)\nif r8 == {k} goto +1\nr6 += {}\n", 1_u32 << k.min(29));
    }
    text += "if r6 < 5 goto a\nr0 = 0\nexit";
    let said = told(&text);
    let back = 1 + 39 * 3;
    let start = format!("instruction {back}: a loop (from here control goes back to instruction 1)");
    assert!(said.starts_with(&start), "{said}");
}
