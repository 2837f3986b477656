//! Helpers against the running kernel. Skipped, with the reason, where it cannot be asked (no root, another version).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod helper_world;
#[path = "helper_world/linux.rs"]
mod linux;

use axebpf_core::helper::{self, HelperError};
use axebpf_core::program::ProgramType;
use helper_world::World;
use helper_world::formats::{Arg, cases};
use linux::{EXIT, Insn, Kernel, Trace, call, insn, mov, number};

/// The kernel, or a message why the test is skipped.
macro_rules! oracle {
    ($open:expr) => {
        match $open {
            Ok(oracle) => oracle,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return;
            }
        }
    };
}

#[test]
fn formats_print_in_linux_what_the_cases_say() {
    let kernel = oracle!(Kernel::open());
    let trace = oracle!(Trace::open());
    const STRINGS: usize = 4096;
    for case in cases() {
        let mut memory = [&case.format[..], b"\0"].concat();
        let size = memory.len();
        memory.resize(STRINGS, 0);
        let vector = case.args.len() > 3;
        // r1 format, r2 size; then r3 to r5 the arguments, or r3 where on the stack they are and r4 their length.
        let mut code: Vec<Insn> = Vec::new();
        for (index, arg) in (0..).zip(&case.args) {
            match arg {
                Arg::Number(value) => code.extend(number(6, *value)),
                Arg::String(bytes) => {
                    code.extend(kernel.memory(6, memory.len() as i32));
                    memory.extend_from_slice(bytes);
                    memory.push(0);
                }
            }
            code.push(match vector {
                true => insn(0x7b, 10, 6, -96 + 8 * index, 0),
                false => insn(0xbf, 3 + index as u8, 6, 0, 0),
            });
        }
        if vector {
            let len = 8 * case.args.len() as i32;
            code.extend([insn(0xbf, 3, 10, 0, 0), insn(0x07, 3, 0, 0, -96), mov(4, len)]);
        } else {
            code.extend((case.args.len() as u8..3).map(|index| mov(3 + index, 0)));
        }
        code.extend(kernel.memory(1, 0));
        code.extend([mov(2, size as i32), call(if vector { 177 } else { 6 }), EXIT]);
        kernel.put(&memory);
        trace.clear();
        assert_eq!(kernel.run(&code), case.result, "{case:?}");
        let expected = (case.result >= 0).then_some(case.text.clone());
        assert_eq!(trace.printed(), expected, "{case:?}");
    }
}

#[test]
fn probes_fail_as_in_linux() {
    let kernel = oracle!(Kernel::open());
    let world = World::new();
    let addresses = [
        8,
        0x10000,
        0x7fff_ffff_efff,
        0x7fff_ffff_f000,
        0x7fff_ffff_ffff,
        0x8000_0000_0000,
        0x000d_ead0_0000_0000,
        0xdead_0000_0000_0000,
        0xffff_7fff_ffff_ffff,
        0xffff_8000_0000_0000,
        0xffff_ffff_ff60_0000,
        0xffff_ffff_ffff_f000,
        0xffff_ffff_ffff_fffc,
    ];
    for (id, address, size) in [4, 45, 112, 113, 114, 115]
        .into_iter()
        .flat_map(|id| addresses.map(|address| (id, address)))
        .flat_map(|(id, address)| [0_u64, 1, 8].map(|size| (id, address, size)))
    {
        let dirty = [0xaa; 16];
        kernel.put(&dirty);
        let mut code = kernel.memory(1, 0).to_vec();
        code.push(mov(2, size as i32));
        code.extend(number(3, address));
        code.extend([call(id), EXIT]);
        let expected = (kernel.run(&code), kernel.get()[..16].to_vec());
        world.put(0, &dirty);
        let ours = (world.value(id, &[world.at(0), size, address]), world.get(0, 16));
        assert_eq!(ours, expected, "helper {id}, {size} bytes at {address:#x}");
    }
}

#[test]
fn probed_strings_are_cut_as_in_linux() {
    let kernel = oracle!(Kernel::open());
    let world = World::new();
    let memory = [&[0xaa; 64][..], b"hello\0behind"].concat();
    for (id, size) in [45, 115].into_iter().flat_map(|id| (0..12_u64).map(move |size| (id, size))) {
        kernel.put(&memory);
        let mut code = [kernel.memory(1, 0), kernel.memory(3, 64)].concat();
        code.extend([mov(2, size as i32), call(id), EXIT]);
        let expected = (kernel.run(&code), kernel.get()[..64].to_vec());
        world.put(0, &memory);
        let ours = (world.value(id, &[world.at(0), size, world.at(64)]), world.get(0, 64));
        assert_eq!(ours, expected, "helper {id}, {size} bytes");
    }
}

#[test]
fn who_may_call_what_is_as_in_linux() {
    let kernel = oracle!(Kernel::open());
    let types = [
        (ProgramType::SocketFilter, 1),
        (ProgramType::Kprobe, 2),
        (ProgramType::Tracepoint, 5),
        (ProgramType::Xdp, 6),
        (ProgramType::PerfEvent, 7),
        (ProgramType::RawTracepoint, 17),
        (ProgramType::Syscall, linux::SYSCALL),
    ];
    let seeds = 100..=102;
    for row in helper::all().iter().filter(|row| !seeds.contains(&row.id)) {
        for (program_type, number) in types {
            let log = |license: &str| match kernel.load(number, &[call(row.id), EXIT], license) {
                Ok(_) => String::new(),
                Err(log) => log,
            };
            let refused = log("GPL").contains("cannot use helper");
            // The table has one flag a helper; for this one Linux has two.
            let exception = row.name == "bpf_get_stackid" && program_type == ProgramType::PerfEvent;
            let gpl_only = !refused && (exception || log("MIT").contains("GPL-restricted"));
            let expected = (refused, gpl_only);
            let ours = |gpl| helper::check(row.id, Some(program_type), gpl);
            let refused = matches!(ours(true), Err(HelperError::WrongType { .. }));
            let gpl_only = matches!(ours(false), Err(HelperError::GplOnly { .. }));
            assert_eq!((refused, gpl_only), expected, "{}#{} from {program_type:?}", row.name, row.id);
        }
    }
}

#[test]
fn an_unknown_helper_is_refused_in_linuxs_words() {
    let kernel = oracle!(Kernel::open());
    for id in [212, 300] {
        let log = kernel.load(linux::SYSCALL, &[call(id), EXIT], "GPL").unwrap_err();
        let ours = helper::check(id, Some(ProgramType::Syscall), true).unwrap_err().to_string();
        let words = ours.split(": ").next().unwrap();
        assert!(log.contains(words), "{words}: {log}");
    }
}
