//! Objects that clang compiled, feature by feature; where libbpf is no judge, the source says what must come out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;

use axebpf_core::btf::TypeLayout;
use axebpf_core::object::{ExternKind, LoadReason, Object, ObjectProgram};
use axebpf_core::program::{Program, ProgramType};
use object_fixtures::{clang, clangs, compile, sources};

fn parse(clang: &str, source: &str, options: &[&str]) -> Object {
    Object::parse(&compile(clang, source, options), source).unwrap()
}

fn linked<'o>(object: &'o Object, name: &str) -> &'o Program {
    let program = object.program(name).unwrap_or_else(|| panic!("no program {name}"));
    program.program.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

fn names(program: &Program) -> Vec<&str> {
    program.subprograms.iter().map(|subprogram| subprogram.name.as_str()).collect()
}

/// The constants that a function moves or adds, which tell functions of a source apart.
fn constants(program: &Program, subprogram: &str) -> Vec<i32> {
    let index = program.subprograms.iter().position(|s| s.name == subprogram).unwrap();
    let start = program.subprograms[index].start;
    let end = program.subprograms.get(index + 1).map_or(program.insns.len(), |next| next.start);
    program.insns[start..end].iter().filter(|insn| matches!(insn.code, 0x07 | 0xb7)).map(|insn| insn.imm).collect()
}

/// Names of the functions that a function calls, in order, through the relative targets of its calls.
fn callees<'p>(program: &'p Program, caller: &str) -> Vec<&'p str> {
    let index = program.subprograms.iter().position(|s| s.name == caller).unwrap();
    let start = program.subprograms[index].start;
    let end = program.subprograms.get(index + 1).map_or(program.insns.len(), |next| next.start);
    (start..end)
        .filter(|&at| program.insns[at].code == 0x85 && program.insns[at].src == 1)
        .map(|at| (at as i64 + 1 + i64::from(program.insns[at].imm)) as usize)
        .map(|target| program.subprograms.iter().find(|s| s.start == target).unwrap().name.as_str())
        .collect()
}

#[test]
fn programs_know_their_type_and_target() {
    let Some(clang) = clang() else { return };
    let object = parse(clang, "globals.c", &[]);
    let [exit, boot] = &object.programs[..] else { panic!("{:?}", object.programs) };
    let what = |p: &ObjectProgram| (p.name.clone(), p.section.clone(), p.program_type, p.target.clone());
    let expected = (
        "on_exit".to_owned(),
        "tracepoint/vmm/vcpu_run_exit".to_owned(),
        Some(ProgramType::Tracepoint),
        Some("vmm:vcpu_run_exit".to_owned()),
    );
    assert_eq!(what(exit), expected);
    let expected = (
        "on_boot".to_owned(),
        "raw_tp/vm_boot".to_owned(),
        Some(ProgramType::RawTracepoint),
        Some("vm_boot".to_owned()),
    );
    assert_eq!(what(boot), expected);
    assert_eq!(object.license, "GPL");
    let program = linked(&object, "on_exit");
    assert!(program.is_gpl_compatible());
    assert_eq!((&program.target, program.program_type), (&exit.target, exit.program_type));
}

#[test]
fn a_program_has_the_maps_it_uses_in_order_of_use() {
    for clang in clangs() {
        let object = parse(clang, "maps.c", &[]);
        let all: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
        assert_eq!(all.len(), 5, "{all:?}");
        assert_eq!(linked(&object, "first").maps, ["EXITS", "BYTES", "RING"]);
        assert_eq!(linked(&object, "second").maps, ["LRU", "RING", "EXITS"]);
        let slots = |name: &str| -> Vec<i32> {
            let program = linked(&object, name);
            program.insns.iter().filter(|insn| insn.code == 0x18 && insn.src == 1).map(|insn| insn.imm).collect()
        };
        assert_eq!(slots("second"), [0, 1, 0, 2]);
        let bytes = object.map("BYTES").unwrap();
        assert_eq!((bytes.pinning, bytes.numa_node, bytes.key_type), (1, Some(0), None));
    }
}

#[test]
fn keys_and_values_have_layouts() {
    let Some(clang) = clang() else { return };
    let object = parse(clang, "maps.c", &[]);
    let exits = object.map("EXITS").unwrap();
    let TypeLayout::Struct { name, size: 8, members } = object.key_layout(exits).unwrap() else { panic!() };
    assert_eq!(name, "key");
    let members: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.bit_offset)).collect();
    assert_eq!(members, [("vm_id", 0), ("vcpu_id", 32)]);
    let TypeLayout::Struct { size: 32, members, .. } = object.value_layout(exits).unwrap() else { panic!() };
    assert_eq!(members[2].name, "reasons");
    assert!(matches!(members[2].layout, TypeLayout::Array { len: 4, .. }));
    let bytes = object.map("BYTES").unwrap();
    assert_eq!(object.value_layout(bytes).unwrap(), TypeLayout::Bytes { size: 16 });
    let lru = object.map("LRU").unwrap();
    assert!(matches!(object.value_layout(lru).unwrap(), TypeLayout::Int { size: 4, signed: false, .. }));
}

#[test]
fn globals_are_listed_with_place_and_type() {
    for clang in clangs() {
        let object = parse(clang, "globals.c", &[]);
        let btf = object.btf.as_ref().unwrap();
        let value = |name: &str| -> (String, u64) {
            let global = object.globals().iter().find(|global| global.name == name).unwrap();
            let start = global.offset as usize;
            let bytes = &object.map(&global.map).unwrap().initial.as_ref().unwrap()[start..];
            let mut word = [0; 8];
            let size = (global.size as usize).min(8);
            word[..size].copy_from_slice(&bytes[..size]);
            assert_eq!(btf.size_of(global.btf_type.unwrap()).unwrap(), global.size, "{name}");
            (global.map.clone(), u64::from_le_bytes(word))
        };
        let expected = [
            ("threshold_ns", ".rodata", 5000),
            ("flags", ".rodata", 0x03_0201),
            ("counter", ".data", 7),
            ("origin", ".data", 1),
            ("zeroed", ".bss", 0),
            ("hidden_zero", ".bss", 0),
            ("hidden_data", ".data", 99),
            ("own_data", ".data.own", 11),
            ("own_rodata", ".rodata.own", 12),
        ];
        for (name, map, number) in expected {
            assert_eq!(value(name), (map.to_owned(), number), "{name} by {clang}");
        }
        let flags = |map: &str| {
            let map = object.map(map).unwrap();
            (map.flags, map.frozen, map.spec().unwrap().max_entries)
        };
        assert_eq!(flags(".rodata"), (128, true, 1));
        assert_eq!(flags(".rodata.own"), (128, true, 1));
        assert_eq!(flags(".bss"), (0, false, 1));
        assert_eq!(flags(".data.own"), (0, false, 1));
    }
}

#[test]
fn globals_without_types_come_from_the_symbols() {
    let Some(clang) = clang() else { return };
    let object = parse(clang, "globals.c", &["-g0"]);
    assert!(object.btf.is_none());
    let with = parse(clang, "globals.c", &[]);
    let place = |object: &Object| -> Vec<_> {
        let globals = object.globals().iter();
        // A compiler's own constants (`on_boot.text`) have a symbol, but are no variables in BTF.
        let globals = globals.filter(|global| !global.name.contains(".text"));
        globals.map(|global| (global.name.clone(), global.map.clone(), global.offset, global.size)).collect()
    };
    assert_eq!(place(&object), place(&with));
    assert!(object.globals().iter().all(|global| global.btf_type.is_none()));
    assert_eq!(linked(&object, "on_exit").insns, linked(&with, "on_exit").insns);
    assert!(linked(&object, "on_exit").lines.is_empty());
}

#[test]
fn data_sections_of_any_name_are_maps() {
    for clang in clangs() {
        let object = parse(clang, "custom_data.c", &[]);
        let map = |name: &str| object.map(name).unwrap();
        assert_eq!(map("tuning").initial.as_deref(), Some(&21_u32.to_le_bytes()[..]));
        assert_eq!(map("limits").initial.as_deref(), Some(&22_u32.to_le_bytes()[..]));
        assert_eq!((map("tuning").frozen, map("limits").frozen), (false, true));
        let program = linked(&object, "handler");
        assert_eq!(program.maps, ["tuning", "limits"]);
        assert_eq!(program.program_type, None);
    }
}

#[test]
fn static_maps_are_told_apart() {
    for clang in clangs() {
        for options in [&["-mcpu=v1"], &["-mcpu=v3"]] {
            let object = parse(clang, "static_maps.c", options);
            let entries = |program: &str| {
                let maps = &linked(&object, program).maps;
                assert_eq!(maps.len(), 1, "{program}: {maps:?}");
                object.map(&maps[0]).unwrap().max_entries
            };
            let all = ["uses_first", "uses_second", "one", "two"].map(entries);
            assert_eq!(all, [1, 2, 3, 4], "{clang}");
            assert_eq!(linked(&object, "one").maps, ["one.LOCAL"]);
            assert_eq!(linked(&object, "uses_first").maps, ["FIRST"]);
        }
    }
}

#[test]
fn maps_of_maps_and_programs_keep_their_entries() {
    for clang in clangs() {
        let object = parse(clang, "map_in_map.c", &[]);
        let outer = object.map("OUTER").unwrap();
        assert_eq!(outer.values, [(0, "INNER_B".to_owned()), (3, "INNER_A".to_owned())]);
        let inner = outer.inner.as_ref().unwrap();
        assert_eq!((inner.kind, inner.key_size, inner.value_size, inner.max_entries), (2, 4, 8, 5));
        let jumps = object.map("JUMPS").unwrap();
        assert_eq!((jumps.values.as_slice(), &jumps.inner), (&[(1, "target".to_owned())][..], &None));
        let inner = object.map("BY_KEY").unwrap().inner.as_ref().unwrap();
        assert_eq!((inner.kind, inner.key_size, inner.value_size, inner.max_entries), (1, 8, 4, 6));
    }
}

#[test]
fn legacy_maps_are_read() {
    for clang in clangs() {
        for debug in ["-g", "-g0"] {
            let object = parse(clang, "legacy_maps.c", &[debug]);
            let map = |name: &str| {
                let map = object.map(name).unwrap();
                (map.kind, map.key_size, map.value_size, map.max_entries, map.flags)
            };
            assert_eq!(map("COUNTS"), (1, 8, 16, 32, 1));
            assert_eq!(map("TABLE"), (2, 4, 8, 64, 0));
            assert_eq!(map("PINNED"), (2, 4, 4, 1, 0));
            assert_eq!(object.maps.len(), 3);
            assert_eq!(linked(&object, "program").maps, ["TABLE", "COUNTS", "PINNED"]);
            let [warning] = &object.warnings[..] else { panic!("{:?}", object.warnings) };
            assert!(warning.contains("PINNED"), "{warning}");
        }
    }
}

#[test]
fn functions_of_several_sections_are_linked() {
    for clang in clangs() {
        let object = parse(clang, "two_texts.c", &[]);
        let all: Vec<_> = object.programs.iter().map(|program| program.name.as_str()).collect();
        assert_eq!(all, ["handler", "unused_but_kept"]);
        let program = linked(&object, "handler");
        assert_eq!(names(program), ["handler", "beside", "far", "near", "calls_near"]);
        assert_eq!(callees(program, "handler"), ["beside", "near", "calls_near"]);
        assert_eq!(callees(program, "beside"), ["far"]);
        assert_eq!(callees(program, "calls_near"), ["near"]);
        for (function, constant) in [("beside", 44), ("far", 22), ("near", 11), ("calls_near", 33)] {
            assert!(constants(program, function).contains(&constant), "{function}");
        }
        assert_eq!(names(linked(&object, "unused_but_kept")), ["unused_but_kept", "far"]);
    }
}

#[test]
fn functions_may_call_each_other_in_a_circle() {
    let Some(clang) = clang() else { return };
    let object = parse(clang, "subprograms.c", &[]);
    let third = linked(&object, "third");
    assert!(callees(third, "odd").contains(&"even") && callees(third, "even").contains(&"odd"));
    assert_eq!(names(linked(&object, "alone")), ["alone"]);
}

#[test]
fn pointers_to_functions_are_relative() {
    for clang in clangs() {
        let object = parse(clang, "callbacks.c", &[]);
        let program = linked(&object, "entry");
        let targets: Vec<_> = (0..program.insns.len())
            .filter(|&at| program.insns[at].code == 0x18 && program.insns[at].src == 4)
            .map(|at| (at as i64 + 1 + i64::from(program.insns[at].imm)) as usize)
            .map(|target| program.subprograms.iter().find(|s| s.start == target).unwrap().name.as_str())
            .collect();
        assert_eq!(targets, ["each", "step", "step"]);
        assert_eq!(program.maps, ["TABLE"]);
    }
}

#[test]
fn an_object_of_text_only_has_its_global_functions_as_programs() {
    let Some(clang) = clang() else { return };
    let source = object_fixtures::scratch("text_only.c");
    let text = "static __attribute__((noinline)) int inner(int x) { asm volatile(\"\"); return x + 1; }\n\
                int outer(int x) { return inner(x) * 2; }\nint other(int x) { return x; }\n";
    std::fs::write(&source, text).unwrap();
    let output = object_fixtures::scratch("text_only.o");
    object_fixtures::compile_to(clang, &source, &[], &output);
    let object = Object::parse(&std::fs::read(output).unwrap(), "text_only.o").unwrap();
    let all: Vec<_> = object.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(all, ["outer", "other"]);
    assert_eq!(names(linked(&object, "outer")), ["outer", "inner"]);
    assert_eq!(object.license, "");
}

/// The lines of a program must be lines of the source, and a call's line must be the call's.
#[test]
fn source_lines_follow_the_linked_instructions() {
    let text = std::fs::read_to_string(sources().join("subprograms.c")).unwrap();
    let text: Vec<&str> = text.lines().collect();
    for clang in clangs() {
        let object = parse(clang, "subprograms.c", &[]);
        for program in object.programs.iter().map(|program| program.program.as_ref().unwrap()) {
            assert!(!program.lines.is_empty());
            assert!(program.lines.is_sorted_by(|a, b| a.insn < b.insn));
            for line in program.lines.iter().filter(|line| line.file.ends_with("subprograms.c")) {
                assert_eq!(&*line.text, text[line.line as usize - 1], "{}", program.name);
            }
            for subprogram in &program.subprograms {
                let line = program.line_of(subprogram.start).unwrap();
                let heads = |line: &str| {
                    line.contains(&format!("{}(", subprogram.name)) && !line.starts_with('\t') && !line.ends_with(';')
                };
                let head = text.iter().position(|line| heads(line)).unwrap();
                let tail = head + text[head..].iter().position(|&line| line == "}").unwrap();
                assert!((head + 1..=tail + 1).contains(&(line.line as usize)), "{}: {line:?}", subprogram.name);
            }
            for at in
                (0..program.insns.len()).filter(|&at| program.insns[at].code == 0x85 && program.insns[at].src == 1)
            {
                let target = (at as i64 + 1 + i64::from(program.insns[at].imm)) as usize;
                let callee = &program.subprograms.iter().find(|s| s.start == target).unwrap().name;
                let line = program.line_of(at).unwrap();
                assert!(line.text.contains(&format!("{callee}(")), "{}: {callee} at {line:?}", program.name);
            }
        }
    }
}

#[test]
fn a_program_that_needs_a_kernel_is_refused_alone() {
    for clang in clangs() {
        let object = parse(clang, "externs.c", &[]);
        linked(&object, "plain");
        let expected = [
            ("kconfig", "kconfig", "CONFIG_HZ", ExternKind::Kconfig),
            ("ksym", "ksym", "bpf_prog_active", ExternKind::Ksym),
            ("kfunc", "kfunc", "bpf_rcu_read_lock", ExternKind::Kfunc),
            ("through_a_call", "deep", "bpf_rcu_read_lock", ExternKind::Kfunc),
            ("unknown", "unknown", "nowhere", ExternKind::Unknown),
        ];
        for (program, function, symbol, kind) in expected {
            let error = object.program(program).unwrap().program.as_ref().unwrap_err();
            assert_eq!(*error.reason, LoadReason::Extern { symbol: symbol.to_owned(), kind }, "{program}");
            assert_eq!(error.function.as_ref().unwrap().0, function);
            let section = if function == "deep" { ".text" } else { "tp/vmm/a" };
            assert_eq!((error.file.as_str(), error.section.as_deref()), ("externs.c", Some(section)));
            assert!(error.to_string().contains(symbol), "{error}");
        }
    }
}

#[test]
fn a_core_relocation_is_refused_by_name() {
    for clang in clangs() {
        let object = parse(clang, "core.c", &[]);
        linked(&object, "plain");
        let error = object.program("relocatable").unwrap().program.as_ref().unwrap_err();
        let LoadReason::CoRe { what } = &*error.reason else { panic!("{error}") };
        assert_eq!(what, "byte offset of the field 0:1 of struct vcpu");
        assert_eq!(error.section.as_deref(), Some("kprobe/handle_exit"));
        assert_eq!(error.function.as_ref().unwrap().0, "relocatable");
    }
}

#[test]
fn pointers_in_initial_values_are_warned_about() {
    let Some(clang) = clang() else { return };
    let source = object_fixtures::scratch("pointer.c");
    let text = "int target = 1; int *pointer = &target;\n\
                __attribute__((section(\"tp/vmm/a\"))) int program(void *c) { return *pointer; }\n";
    std::fs::write(&source, text).unwrap();
    let output = object_fixtures::scratch("pointer.o");
    object_fixtures::compile_to(clang, &source, &[], &output);
    let object = Object::parse(&std::fs::read(output).unwrap(), "pointer.o").unwrap();
    let [warning] = &object.warnings[..] else { panic!("{:?}", object.warnings) };
    assert!(warning.contains(".data") && warning.contains("target"), "{warning}");
}

/// The seed parsed a copy that was to be aligned, and need not have been.
#[test]
fn an_object_may_lie_at_any_address() {
    let data = include_bytes!("object_files/globals.bpf.o");
    let parse = |data: &[u8]| format!("{:?}", Object::parse(data, "globals.bpf.o").unwrap());
    let aligned = parse(data);
    for skew in 1..8 {
        let moved = [&[0; 8][..skew], data].concat();
        assert_eq!(parse(&moved[skew..]), aligned, "{skew}");
    }
}
