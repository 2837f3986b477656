//! The table of helpers: lookups and who may call what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axebpf_core::helper::{self, ArgKind, HelperError, ReturnKind};
use axebpf_core::program::ProgramType;

const TYPES: [ProgramType; 9] = [
    ProgramType::Tracepoint,
    ProgramType::RawTracepoint,
    ProgramType::Kprobe,
    ProgramType::PerfEvent,
    ProgramType::Syscall,
    ProgramType::Xdp,
    ProgramType::SocketFilter,
    ProgramType::Axvisor,
    ProgramType::Mem,
];

#[test]
fn helpers_are_found_by_number_and_name() {
    for row in helper::all() {
        assert!(std::ptr::eq(helper::by_id(row.id).unwrap(), row));
        assert!(std::ptr::eq(helper::by_name(row.name).unwrap(), row));
    }
    assert_eq!(helper::by_id(1).unwrap().name, "bpf_map_lookup_elem");
    assert_eq!(helper::by_id(211).unwrap().name, "bpf_cgrp_storage_delete");
    for id in [0, 212, 300, helper::CUSTOM_HELPERS, u32::MAX] {
        assert!(helper::by_id(id).is_none());
    }
}

#[test]
fn an_unknown_name_gets_the_nearest_one() {
    let error = helper::by_name("bpf_map_lookup").unwrap_err();
    assert_eq!(error.to_string(), "no helper bpf_map_lookup; did you mean bpf_map_lookup_elem?");
    assert!(matches!(helper::by_name("").unwrap_err(), HelperError::UnknownName { .. }));
}

#[test]
fn an_unknown_number_is_refused() {
    let error = helper::check(300, None, true).unwrap_err();
    assert_eq!(error, HelperError::UnknownId { id: 300 });
    assert!(error.to_string().starts_with("invalid func unknown#300: Linux's helpers are 1 to 211"));
}

#[test]
fn a_helper_of_another_type_is_refused() {
    let error = helper::check(4, Some(ProgramType::Xdp), true).unwrap_err();
    assert!(matches!(error, HelperError::WrongType { id: 4, program_type: ProgramType::Xdp, .. }));
    assert_eq!(
        error.to_string(),
        "program of this type cannot use helper bpf_probe_read#4: a program of type xdp calls it, and it is for \
         tracepoint, raw_tracepoint, kprobe, perf_event, syscall, axvisor, mem"
    );
    let error = helper::check(9, Some(ProgramType::Kprobe), false).unwrap_err();
    assert!(error.to_string().ends_with("and it is for no type of program that this bench runs"), "{error}");
}

#[test]
fn a_gpl_helper_is_refused_without_gpl() {
    let error = helper::check(6, Some(ProgramType::Tracepoint), false).unwrap_err();
    assert_eq!(error, HelperError::GplOnly { id: 6, name: "bpf_trace_printk" });
    let text = error.to_string();
    assert!(text.starts_with("cannot call GPL-restricted function from non-GPL compatible program: "), "{text}");
    assert!(helper::check(6, Some(ProgramType::Tracepoint), true).is_ok());
    assert!(helper::check(1, Some(ProgramType::Tracepoint), false).is_ok());
}

#[test]
fn a_helper_that_is_not_offered_is_named() {
    let error = helper::check(109, None, true).unwrap_err();
    assert_eq!(error, HelperError::NotOffered { id: 109, name: "bpf_send_signal" });
    assert!(error.to_string().starts_with("bpf_send_signal#109 is not offered by this bench"));
}

#[test]
fn the_seeds_helpers_are_for_every_type_and_licence() {
    for (id, name) in [(100, "bpf_get_current_vm_id"), (101, "bpf_get_current_vcpu_id"), (102, "bpf_get_exit_reason")] {
        for program_type in TYPES {
            assert_eq!(helper::check(id, Some(program_type), false).unwrap().name, name);
        }
    }
}

#[test]
fn axvisor_programs_are_as_tracepoint_and_mem_as_syscall_programs() {
    for row in helper::all() {
        assert_eq!(row.types.contains(ProgramType::Axvisor), row.types.contains(ProgramType::Tracepoint));
        assert_eq!(row.types.contains(ProgramType::Mem), row.types.contains(ProgramType::Syscall));
    }
}

#[test]
fn the_helpers_of_tracing_programs_are_offered() {
    let ids = [
        1..=8,
        12..=12,
        14..=16,
        25..=25,
        35..=35,
        42..=42,
        45..=45,
        87..=89,
        100..=102,
        112..=115,
        118..=118,
        125..=125,
        130..=134,
    ]
    .into_iter()
    .flatten()
    .chain([164, 165, 174, 177, 181, 182, 195, 208])
    .chain(197..=203);
    for id in ids {
        assert!(helper::check(id, Some(ProgramType::Tracepoint), true).is_ok(), "{id}");
    }
}

#[test]
fn prototypes_agree_with_the_kinds_of_their_arguments() {
    let by_id = |id| helper::by_id(id).unwrap();
    assert_eq!(by_id(1).prototype().unwrap(), "void *bpf_map_lookup_elem(void *map, const void *key)");
    assert_eq!(by_id(5).prototype().unwrap(), "__u64 bpf_ktime_get_ns(void)");
    assert_eq!(by_id(109).prototype(), None);
    for row in helper::all() {
        let Some(offered) = &row.implementation else { continue };
        let params: Vec<&str> = offered.params.split(", ").filter(|p| !matches!(*p, "void" | "...")).collect();
        assert_eq!(params.len(), offered.args.len(), "{}", row.name);
        for (param, kind) in params.iter().zip(offered.args) {
            let pointer = param.contains('*');
            let scalar = matches!(kind, ArgKind::Size | ArgKind::SizeOrZero | ArgKind::AllocSize);
            assert!(*kind == ArgKind::Anything || pointer != scalar, "{}: {param} is {kind:?}", row.name);
        }
        let pointer = matches!(
            offered.result,
            ReturnKind::MapValueOrNull | ReturnKind::RingRecordOrNull | ReturnKind::DynptrMemoryOrNull
        );
        assert_eq!(offered.returns.ends_with('*'), pointer, "{}", row.name);
        // bpf_tail_call has a C result and leaves nothing in r0.
        let void = offered.returns == "void" || row.id == helper::TAIL_CALL;
        assert_eq!(void, offered.result == ReturnKind::Void, "{}", row.name);
        for (index, kind) in offered.args.iter().enumerate() {
            let memory = [
                ArgKind::MemRead,
                ArgKind::MemReadOrNull,
                ArgKind::MemWrite,
                ArgKind::MemWriteOrNull,
                ArgKind::DynptrMemory,
            ];
            if matches!(kind, ArgKind::Size | ArgKind::SizeOrZero) {
                assert!(memory.contains(&offered.args[index - 1]), "{}: a size of no memory", row.name);
            }
        }
    }
}
