//! What bounds a run (instructions, frames, the end of the program), and what is refused before it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine_support;

use axebpf_core::engine::EngineError;
use axebpf_core::fault::Fault;
use axebpf_core::isa::Insn;
use axebpf_core::map::MapKind;
use axebpf_core::program::ProgramType;
use engine_support::{Counter, Lab, assemble, map, program, told};

/// Programs that end, and how many instructions they execute: counted by hand.
const ENDING: [(&str, u64); 10] = [
    ("r0 = 1\nexit", 2),
    ("r0 = 0x100000000 ll\nexit", 2),
    ("r0 = r1\nr0 += 1\nexit", 3),
    ("r3 = 5\nr3 += -1\nif r3 != 0 goto -2\nr0 = r3\nexit", 1 + 5 * 2 + 2),
    ("r3 = 700\nloop:\nr4 = r3\nr4 += 1\nr3 += -1\nif r3 != 0 goto loop\nr0 = 0\nexit", 1 + 700 * 4 + 2),
    ("goto +1\nexit\nr0 = 0\ngoto -3", 4),
    ("call f\ncall f\nexit\nf:\nr0 = 3\nexit", 2 * 3 + 1),
    ("r1 = 600\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop#181\nexit\nf:\nr0 = 0\nexit", 4 + 1 + 600 * 2 + 1),
    (
        "r1 = 600\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop#181\nexit\n\
         f:\nr0 = 0\nif r1 == 3 goto last\nexit\nlast:\nr0 = 1\nexit",
        5 + 3 * 3 + 4 + 1,
    ),
    ("r3 = 511\nr3 += -1\nif r3 != 0 goto -2\ncall bpf_get_smp_processor_id#8\nr0 = 0\nexit", 1 + 511 * 2 + 3),
];

#[test]
fn the_budget_is_exact() {
    for (text, instructions) in ENDING {
        let mut lab = Lab::new(text);
        for budget in [instructions, instructions + 1, u64::MAX] {
            lab.budget = budget;
            let outcome = lab.run();
            assert!(outcome.result.is_ok(), "{budget}: {}\n{text}", told(&outcome));
            assert_eq!(outcome.instructions, instructions, "{text}");
        }
        for budget in [instructions - 1, instructions / 2, 1, 0] {
            lab.budget = budget;
            let outcome = lab.run();
            let fault = outcome.result.unwrap_err();
            assert_eq!(fault.fault, Fault::Budget { limit: budget }, "{text}");
            assert_eq!(outcome.instructions, budget, "{text}");
        }
    }
}

/// Stopping after every possible number of instructions stops where a single step would be then.
#[test]
fn a_run_out_of_budget_is_stopped_at_the_next_instruction() {
    for (text, instructions) in ENDING {
        let mut lab = Lab::new(text);
        let mut steps = Counter { keep: true, ..Counter::default() };
        assert!(lab.observe(&mut steps).result.is_ok());
        for budget in 0..instructions {
            lab.budget = budget;
            let fault = lab.run().result.unwrap_err();
            assert_eq!(fault.insn, steps.steps[budget as usize].0, "after {budget} instructions of\n{text}");
        }
    }
}

#[test]
fn endless_programs_end() {
    for text in ["goto -1", "loop:\nr0 = 0\nif r0 == 0 goto loop\nexit", "r1 = 1\ngoto +0\ngoto -2"] {
        assert_eq!(Lab::new(text).run().result.unwrap_err().fault, Fault::Budget { limit: 1 << 20 }, "{text}");
    }
    // A callback that never ends, in a loop that would call it 2^23 times.
    let text = "r1 = 8388608\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop#181\nexit\nf:\nr0 = 0\nexit";
    let outcome = Lab::new(text).run();
    assert_eq!((outcome.result.unwrap_err().fault, outcome.instructions), (Fault::Budget { limit: 1 << 20 }, 1 << 20));
}

#[test]
fn may_goto_ends_an_endless_loop() {
    let mut lab = Lab::new("r0 = 0\nloop:\nmay_goto out\nr0 += 1\ngoto loop\nout:\nexit");
    lab.budget = 1 << 26;
    assert_eq!(lab.run().result, Ok(8 << 20), "BPF_MAX_LOOPS turns");
}

#[test]
fn eight_frames_and_no_more() {
    // f calls itself r1 times.
    let text = |calls: u32| {
        format!("r1 = {calls}\ncall f\nexit\nf:\nif r1 == 1 goto end\nr1 += -1\ncall f\nend:\nr0 = r10\nexit")
    };
    for calls in 1..8 {
        assert!(Lab::new(&text(calls)).run().result.is_ok(), "{calls}");
    }
    let fault = Lab::new(&text(8)).run().result.unwrap_err();
    assert_eq!((fault.insn, fault.fault), (5, Fault::CallDepth { depth: 9 }));
    let fault = Lab::new("call -1").run().result.unwrap_err();
    assert_eq!((fault.insn, fault.fault), (0, Fault::CallDepth { depth: 9 }));
}

#[test]
fn a_callback_takes_a_frame_too() {
    // bpf_loop in the eighth frame has none left for its callback.
    let text = |calls: u32| {
        format!(
            "r1 = {calls}\ncall f\nexit\nf:\nif r1 == 1 goto end\nr1 += -1\ncall f\nexit\nend:\nr1 = 1\nr2 = subprog[g]\n\
             r3 = 0\nr4 = 0\ncall bpf_loop#181\nexit\ng:\nr0 = 0\nexit"
        )
    };
    assert!(Lab::new(&text(6)).run().result.is_ok());
    assert_eq!(Lab::new(&text(7)).run().result.unwrap_err().fault, Fault::CallDepth { depth: 9 });
    // And callbacks that loop themselves.
    let text = "r1 = 1\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop#181\nr0 = 0\nexit\n\
                f:\nr1 = 1\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop#181\nr0 = 0\nexit";
    assert_eq!(Lab::new(text).run().result.unwrap_err().fault, Fault::CallDepth { depth: 9 });
}

#[test]
fn registers_and_frames_of_callers_are_kept() {
    let text = "r6 = 6\nr7 = 7\nr8 = 8\nr9 = 9\n*(u64 *)(r10 -8) = 10\ncall f\nr0 = *(u64 *)(r10 -8)\nr0 += r6\nr0 += r7\n\
                r0 += r8\nr0 += r9\nexit\nf:\nr6 = 0\nr7 = 0\nr8 = 0\nr9 = 0\n*(u64 *)(r10 -8) = 99\nexit";
    assert_eq!(Lab::new(text).run().result, Ok(40));
    let text = "r6 = 6\nr1 = 3\nr2 = subprog[f]\nr3 = r10\nr3 += -8\n*(u64 *)(r10 -8) = 0\nr4 = 0\ncall bpf_loop#181\n\
                r0 = *(u64 *)(r10 -8)\nr0 += r6\nexit\n\
                f:\nr6 = *(u64 *)(r2 +0)\nr6 += 100\nr6 += r1\n*(u64 *)(r2 +0) = r6\n*(u64 *)(r10 -8) = 1\nr0 = 0\nexit";
    assert_eq!(Lab::new(text).run().result, Ok(309));
}

#[test]
fn falling_off_the_end_names_the_last_instruction() {
    let off = "the last instruction is neither exit nor a jump";
    for (text, insn) in [("r0 = 0", 0), ("r0 = 0\nr1 = 1", 1), ("r0 = 0x1 ll", 0), ("if r1 == 5 goto -1", 0)] {
        let mut lab = Lab::new(text);
        for budget in [1 << 20, insn + 1] {
            lab.budget = budget;
            let outcome = lab.run();
            let fault = outcome.result.unwrap_err();
            assert_eq!((fault.insn as u64, outcome.instructions), (insn, insn + 1), "{text}");
            assert_eq!(fault.fault, Fault::OffTheEnd { what: off.to_owned() }, "{text}");
        }
    }
    // A call as the last instruction: its function returns to nowhere.
    let fault = Lab::new("goto +2\nr0 = 0\nexit\ncall -3").run().result.unwrap_err();
    assert_eq!((fault.insn, fault.fault), (3, Fault::OffTheEnd { what: off.to_owned() }));
}

fn refused(insns: Vec<Insn>, change: impl FnOnce(&mut axebpf_core::program::Program)) -> EngineError {
    let mut program = program(insns, &[]);
    change(&mut program);
    Lab::load(program, &[], 8).err().expect("a refusal")
}

#[test]
fn jumps_and_calls_lead_to_instructions() {
    for (text, insn, what, target) in [
        ("goto +2\nr0 = 0\nexit", 0, "jump", 3),
        ("goto -2\nr0 = 0\nexit", 0, "jump", -1),
        ("r0 = 0\nif r0 == 0 goto +1\nexit", 1, "jump", 3),
        ("if w0 s< w1 goto -7\nexit", 0, "jump", -6),
        ("gotol +100000\nexit", 0, "jump", 100_001),
        ("call +7\nexit", 0, "call", 8),
        ("r0 = 0\ncall -3\nexit", 1, "call", -1),
        ("r0 = subprog[+5]\nexit", 0, "function pointer", 6),
        // Into the second slot of a lddw.
        ("goto +1\nr0 = 0x5 ll\nexit", 0, "jump", 2),
        ("call +1\nr0 = 0x5 ll\nexit", 0, "call", 2),
        ("r0 = subprog[+2]\nr0 = 0x5 ll\nexit", 0, "function pointer", 3),
    ] {
        let expected = EngineError::Target { insn, what, target };
        assert_eq!(refused(assemble(text), |_| ()), expected, "{text}");
    }
}

#[test]
fn what_is_no_instruction_is_refused() {
    let empty = EngineError::Empty { program: "test".to_owned() };
    assert_eq!(refused(Vec::new(), |_| ()), empty);
    let mut checked = 0;
    for code in 0..=255 {
        let insn = Insn { code, ..Insn::default() };
        if axebpf_core::isa::decode(&[insn, Insn::default()], 0).is_err() {
            let insns = [assemble("r0 = 0"), vec![insn], assemble("exit")].concat();
            assert!(matches!(refused(insns, |_| ()), EngineError::Decode { insn: 1, .. }), "{code:#x}");
            checked += 1;
        }
    }
    assert!(checked > 100);
    // Register 11, and half a lddw.
    let insns = vec![Insn { code: 0xb7, dst: 11, ..Insn::default() }];
    assert!(matches!(refused(insns, |_| ()), EngineError::Decode { insn: 0, .. }));
    let insns = vec![Insn { code: 0x18, ..Insn::default() }];
    assert!(matches!(refused(insns, |_| ()), EngineError::Decode { insn: 0, .. }));
}

#[test]
fn helpers_are_refused_as_linux_does() {
    let text = |id: u32| assemble(&format!("r0 = 0\ncall helper#{id}\nexit"));
    let said = |id: u32, program_type: ProgramType, license: &str| {
        let error = refused(text(id), |program| {
            program.program_type = Some(program_type);
            program.license = license.to_owned();
        });
        let EngineError::Helper { insn: 1, source } = error else { panic!("{error}") };
        source.to_string()
    };
    assert!(said(9999, ProgramType::Tracepoint, "GPL").contains("9999"));
    // 28 is bpf_csum_diff: for packets only. 6 is bpf_trace_printk: for GPL only.
    assert!(said(28, ProgramType::Tracepoint, "GPL").contains("tracepoint"));
    assert!(said(6, ProgramType::Tracepoint, "Proprietary").contains("GPL"));
}

#[test]
fn a_call_by_register_is_checked_when_it_is_made() {
    let lab = |id: u64, license: &str| {
        let mut program = program(assemble(&format!("r3 = {id:#x} ll\ncallx r3\nexit")), &[]);
        program.license = license.to_owned();
        told(&Lab::load(program, &[], 8).unwrap().run())
    };
    assert_eq!(lab(8, "GPL"), "0x0", "bpf_get_smp_processor_id");
    for (id, license) in [(9999, "GPL"), (28, "GPL"), (6, "Proprietary"), (1 << 32 | 8, "GPL"), (u64::MAX, "GPL")] {
        let text = lab(id, license);
        assert!(text.starts_with("test, instruction 2: helper "), "{text}");
    }
}

#[test]
fn maps_that_are_not_there_are_refused() {
    let maps = [map("A", MapKind::Array, 4, 8, 1, 0), map("B", MapKind::Array, 4, 8, 2, 0)];
    for (text, part) in [
        ("r0 = map[2]\nexit", "this program has 2 maps"),
        ("r0 = map[-1]\nexit", "this program has 2 maps"),
        ("r0 = map[0][0]+8\nexit", "A: offset 8 of a value of 8 bytes"),
        ("r0 = map[1][0]+0\nexit", "only an array of one entry"),
    ] {
        let error = Lab::load(program(assemble(text), &maps), &maps, 8).err().expect("a refusal");
        assert!(matches!(error, EngineError::Map { insn: 0, .. }) && error.to_string().contains(part), "{error}");
    }
    let text = "r1 = map[0][0]+4\n*(u32 *)(r1 +0) = 9\nr0 = map[0][0]+0\nr0 = *(u64 *)(r0 +0)\nexit";
    assert_eq!(Lab::with(text, &maps, 8).run().result, Ok(9 << 32));
}

#[test]
fn what_only_a_kernel_has_is_refused() {
    for (text, part) in [
        ("r0 = *(u8 *)skb[4]\nexit", "packet"),
        ("r10 = 5\nexit", "r10"),
        ("r0 = btf[7][0]\nexit", "BTF id 7"),
        ("*(u64 *)(r10 -520) = 1\nexit", "512 bytes below r10"),
    ] {
        let error = refused(assemble(text), |_| ());
        assert!(matches!(error, EngineError::Unsupported { .. }) && error.to_string().contains(part), "{error}");
    }
}

/// Handlers call each other, and only an optimised build turns that into jumps: a chain of 512 is the deepest.
#[test]
fn the_host_s_stack_stays_small_in_any_build() {
    // In each of eight frames a chain that is nearly as long as it may be, then a loop that calls back.
    let text = format!(
        "call f\nexit\nf:\n{}r1 = 1\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop#181\nr0 = 0\nexit",
        "r0 = r1\nw0 ^= 3\nr0 = *(u8 *)(r10 -1)\nr0 s/= 3\n".repeat(126)
    );
    let run = move || assert_eq!(Lab::new(&text).run().result.unwrap_err().fault, Fault::CallDepth { depth: 9 });
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run);
    thread.unwrap().join().unwrap();
}

/// Bytes of stack that suffice for the deepest run: a thread has 2 MiB unless it was asked for more.
const STACK: usize = 1 << 20;
